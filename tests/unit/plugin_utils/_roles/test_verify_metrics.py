# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the role verify for Prometheus, read by Prometheus' own programs."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_metrics import (
    count_failures_in_a_row,
    metrics,
    start_medians,
)
from prometheus_client.parser import text_string_to_metric_families
from support import verify_results as sample

PREFIX = "hubops_verify_"
PROMTOOL = shutil.which("promtool")


def samples(report: dict[str, Any]) -> dict[tuple[str, ...], float]:
    """The samples by the metric's name without its prefix, and the values of its labels."""
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(metrics(report)):
        assert family.type == "gauge"
        assert family.documentation
        for each in family.samples:
            key = (each.name.removeprefix(PREFIX), *each.labels.values())
            assert key not in found
            assert each.timestamp is None
            found[key] = each.value
    return found


@pytest.mark.parametrize("name", sample.REPORTS)
def test_each_report_can_be_read(name: str) -> None:
    report = sample.REPORTS[name]()
    read = samples(report)
    for hub in report["hubs"]:
        verdicts = {key[2]: value for key, value in read.items() if key[:2] == ("verdict", hub["host"])}
        assert sum(verdicts.values()) == verdicts[hub["verdict"]] == 1
        assert len(verdicts) == 4
        assert read["seconds", hub["host"]] == hub["seconds"]


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed (Debian's package prometheus has it)")
@pytest.mark.parametrize("name", sample.REPORTS)
def test_promtool_has_nothing_to_say(name: str) -> None:
    text = metrics(sample.REPORTS[name]())
    done = subprocess.run([str(PROMTOOL), "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_last_success_is_that_of_the_history() -> None:
    earlier = {"last_success": {"a": "2026-11-26T17:00:00Z", "elsewhere": "2026-11-25T17:00:00Z"}}
    read = samples(sample.report_of({"a": sample.spawn_failed(), "b": sample.warned(), "never": None}, earlier))
    name = "last_success_timestamp_seconds"
    assert {key[1]: value for key, value in read.items() if key[0] == name} == {
        "a": sample.BEGAN - 3600, "b": sample.BEGAN + 1, "elsewhere": sample.BEGAN - 25 * 3600,
    }  # fmt: skip
    assert read["last_run_timestamp_seconds", "a"] == sample.BEGAN + 1


def test_a_hub_that_is_not_part_of_the_run_keeps_its_verdict() -> None:
    earlier = sample.report_of({"a": sample.passed(), "b": sample.spawn_failed()})
    read = samples(sample.report_of({"a": sample.passed()}, earlier))
    assert read["verdict", "b", "failed"] == 1
    assert read["last_run_timestamp_seconds", "b"] == sample.BEGAN + 1
    assert not [key for key in read if key[0].startswith("check") and key[1] == "b"]


def test_phases_have_the_check_as_a_label() -> None:
    read = samples(sample.three_hubs())
    assert read["check_verdict", "research-gpu", "gpu", "failed"] == 1
    assert read["check_seconds", "research-gpu", "gpu"] == 24.31
    assert read["phase_verdict", "research-gpu", "gpu", "notebooks", "failed"] == 1
    assert read["phase_seconds", "research-gpu", "gpu", "start"] == 6.97
    assert read["phase_verdict", "research-gpu", "token", "passed"] == 1  # of the hub itself


def test_any_name_can_be_a_label() -> None:
    name = 'a"b\\c{d="e"}\n# HELP é \u65e5'
    report = sample.report_of({name: sample.passed()})
    assert ("seconds", name.replace("\n", "\\n")) in samples(report)
    report["hubs"][0]["host"] = name
    assert ("seconds", name) in samples(report)


def test_two_checks_of_one_name_are_one_series() -> None:
    result = sample.passed()
    result["checks"] *= 2
    assert samples(sample.report_of({"a": result}))["check_verdict", "a", "lab", "passed"] == 1


def run(verdict: str = "passed", **checks: float) -> dict[str, Any]:
    return {"began": "2026-11-26T17:00:00Z", "verdict": verdict, "seconds": 9.0, "checks": checks}


@pytest.mark.parametrize(
    ("verdicts", "failures"),
    [
        ("", 0),
        ("passed", 0),
        ("failed", 1),
        ("passed failed", 1),
        ("failed failed", 2),
        ("failed warned failed failed", 2),
        ("failed failed passed", 0),
        ("failed failed warned", 0),
        # A run in which nothing was proven is no success and no failure.
        ("skipped", 0),
        ("failed failed skipped", 2),
        ("passed failed skipped failed skipped", 2),
    ],
)
def test_failures_in_a_row_are_counted_from_the_history(verdicts: str, failures: int) -> None:
    assert count_failures_in_a_row([run(verdict) for verdict in verdicts.split()]) == failures


def test_a_median_needs_three_starts() -> None:
    runs = [run(lab=4.0, gpu=1.0), run("failed", lab=90.0), run(lab=5.0)]
    assert start_medians(runs) == {"lab": 5.0}
    assert start_medians([*runs, run(lab=6.0, gpu=2.0)]) == {"lab": 5.5}
    assert start_medians(runs[:2]) == start_medians([]) == {}


def test_the_median_is_that_of_the_runs_before_the_last_one() -> None:
    """Also of a hub that is not part of this run. A start that failed has no seconds, but it still has a median."""
    earlier = {"history": {"a": [run(lab=each) for each in (3.0, 4.0, 5.0)], "b": [run(lab=2.0)], "c": [run(lab=7.0)]}}
    for number, each in enumerate(earlier["history"]["a"]):
        each["began"] = f"2026-11-26T1{number}:00:00Z"
    report = sample.report_of({"a": sample.passed(slowness=3), "b": sample.spawn_failed()}, earlier)
    read = samples(report)
    assert {key[1:]: value for key, value in read.items() if key[0] == "start_seconds"} == {
        ("a", "lab"): 12.3, ("c", "lab"): 7.0,
    }  # fmt: skip
    assert {key[1:]: value for key, value in read.items() if key[0] == "start_seconds_median"} == {("a", "lab"): 4.0}
    report = sample.report_of({"a": sample.spawn_failed()}, report)
    read = samples(report)
    assert ("start_seconds", "a", "lab") not in read
    assert read["start_seconds_median", "a", "lab"] == 4.0
    assert {key[1]: value for key, value in read.items() if key[0] == "failures_in_a_row"} == {"a": 1, "b": 1, "c": 0}


def test_a_hub_that_has_had_no_turn_counts_no_failure() -> None:
    earlier = sample.report_of({"a": sample.spawn_failed()})
    read = samples(sample.report_of({"a": None, "never": None}, earlier))
    assert {key[1]: value for key, value in read.items() if key[0] == "failures_in_a_row"} == {"a": 1}
