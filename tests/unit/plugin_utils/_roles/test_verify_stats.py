# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statistics of a play: each of a hundred hubs has its facts, and what failed is never left out before the rest."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_stats import LONGEST_STATS, stats
from support import verify_results as sample

PHASES = ("start", "page", "code", "packages", "resources", "terminal", "persist", "stop")
CODES = ("spawn_failed", "timeout", "kernel_failed", "unexpected_answer", "hub_error", "invalid")


def read_stats(report: dict[str, Any]) -> dict[str, Any]:
    """The statistics, whose size and form are checked."""
    found = stats(report)
    assert len(json.dumps(found)) <= LONGEST_STATS
    assert [*found] == ["verdict", "summary", "left_out", "hubs"]
    assert [*found["hubs"]] == ["failed", "warned", "skipped", "passed"]
    assert sum(map(len, found["hubs"].values())) + found["left_out"] == report["counts"]["hubs"]["total"]
    return found


def fleet(failed: int, name: str = "hub-teach-{:02}", total: int = 100) -> dict[str, Any]:
    """A report with this many hubs that failed, each in its own way."""
    chance = random.Random(3)
    results = {}
    for number in range(total):
        version = chance.choice(("4.1.6", "5.5.3", "6.1.1"))
        result = sample.passed(version, 1 + number / 10)
        if failed and number % (total / failed) < 1:
            why = sample.failure(chance.choice(CODES), "It did not work: " + "why " * 40, "Do something.")
            result = sample.fail_phase(result, 0, chance.choice(PHASES), why)
        results[name.format(number)] = result
    return sample.report_of(results)


def test_each_hub_has_its_facts() -> None:
    found = read_stats(sample.each_kind())
    assert found["verdict"] == "failed"
    assert found["hubs"] == {
        "failed": {
            "raises": "gpu notebooks invalid 5.5.3 25",
            "no-room": "lab start spawn_failed 6.1.1 15",
            "old": "hub conflict 5.5.3 15",
            "invalid": "- invalid - 0.0",
            "crashed": "- task_failed - 0.0",
            "away": "- host_unreachable - 0.0",
            "lost": "- no_result - 0.0",
        },
        "warned": {"warns": "token - 6.1.1 16"},
        "skipped": {"checked": "lab start - 6.1.1 15", "left-out": "- task_skipped - 0.0"},
        "passed": {"passes": "6.1.1 15"},
    }
    lines = found["summary"].split("\n")
    assert lines[0] == "11 hubs: 7 failed, 1 warned, 2 skipped, 1 passed"
    assert lines[1].startswith("raises failed: gpu notebooks: Cell 3")
    assert (len(lines), lines[-1]) == (5, "and 7 more that did not pass")


@pytest.mark.parametrize("failed", [0, 1, 10, 20, 30])
def test_a_hundred_hubs_have_room(failed: int) -> None:
    """The names have twelve characters."""
    report = fleet(failed)
    found = read_stats(report)
    assert (found["left_out"], len(found["hubs"]["failed"])) == (0, failed)
    for hub in report["hubs"]:
        words = found["hubs"][hub["verdict"]][hub["host"]].split()
        assert words[-2:] == [hub["version"], f"{hub['seconds']:.0f}"]
        if hub["verdict"] == "failed":
            [phase] = [each for each in hub["checks"][0]["phases"] if each["verdict"] == "failed"]
            assert words[:-2] == ["lab", phase["name"], hub["failure"]["code"]]


def test_longer_names_have_room_if_the_hubs_passed() -> None:
    assert read_stats(fleet(0, "hub{:02}.example.edu"))["left_out"] == 0


@pytest.mark.parametrize("total", [100, 1000])
@pytest.mark.parametrize("name", ["hub-{:03}.campus.example.org", "h\u00f6b-{:03}-\U0001f600", '"{:03}"\\' + "x" * 150])
@pytest.mark.parametrize("failed", [0, 30, 100])
def test_hubs_that_passed_are_left_out_first(total: int, name: str, failed: int) -> None:
    report = fleet(failed, name, total)
    found = read_stats(report)
    shown = {verdict: len(hosts) for verdict, hosts in found["hubs"].items()}
    missing = {verdict: report["counts"]["hubs"][verdict] - shown[verdict] for verdict in shown}
    if missing["failed"]:
        assert shown["passed"] == 0
    parts = ", ".join(f"{number} {verdict}" for verdict, number in missing.items() if number)
    assert found["summary"].endswith(f"{found['left_out']} of the hubs are left out here: {parts}") or not parts


@pytest.mark.parametrize("text", sample.HOSTILE_TEXTS)
def test_no_text_of_others_begins_a_line(text: str) -> None:
    report = sample.report_of({text: sample.hostile_result(text), "lost": None}, {"history": {text: []}})
    found = read_stats(report)
    assert len(found["summary"].split("\n")) <= 6
    lines = found["summary"].split("\n")
    lines += [text for hosts in found["hubs"].values() for each in hosts.items() for text in each]
    assert all(line.isprintable() and len(line) < 500 for line in lines)


def test_of_a_long_name_the_phase_stays() -> None:
    result = sample.spawn_failed()
    result["checks"][0]["name"] = "the first lecture of the course about statistics"
    one = read_stats(sample.report_of({"hub": result}))
    assert one["hubs"]["failed"]["hub"].startswith(
        "the first lecture of the course about statistics start spawn_failed "
    )
    many = read_stats(sample.report_of({f"hub-{number:02}": result for number in range(60)}))
    assert many["left_out"] == 0
    assert many["hubs"]["failed"]["hub-59"] == "...statistics start spawn_failed 6.1.1 15"
