# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the role verify: each host has its row, and nothing is a pass that is none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_files import FILES, file_content
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_history import read_earlier
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_metrics import HELP as METRICS
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_report import collect, read_hosts
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_stats import stats
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_summary import host_failure, table
from jsonschema import Draft202012Validator
from support import verify_results as sample

DOCS = Path(__file__).resolve().parents[4] / "docs"
SCHEMA: dict[str, Any] = json.loads((DOCS / "verify-report.schema.json").read_text())
NOT_VERIFIED = [reason for reason in SCHEMA["$defs"]["hub"]["properties"]["not_verified"]["enum"] if reason]


def row_of(result: Any, **facts: Any) -> dict[str, Any]:
    """The row of a host with this result."""
    report = collect({"a": {"result": result, "hub_url": "https://given/", **facts}}, sample.BEGAN, sample.BEGAN + 1)
    [row] = report["hubs"]
    assert report["verdict"] == row["verdict"]
    validate(report)
    found: dict[str, Any] = row
    return found


def failure_of(result: Any, host: str = "a") -> str:
    """The sentence with which the role fails for a host with this result."""
    return host_failure(host, {host: {"verify_result": result, "hub_url": "https://given/"}})


def validate(report: Any) -> None:
    """Check a report by its published schema, and that it has no other keys."""

    def closed(schema: Any) -> Any:
        if isinstance(schema, list):
            return [closed(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        names = {"additionalProperties": False} if "properties" in schema else {}
        return names | {name: closed(item) for name, item in schema.items()}

    Draft202012Validator(closed(SCHEMA)).validate(json.loads(json.dumps(report, allow_nan=False)))


# Each host has its row


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_the_page_in_docs_names_each_key_and_each_metric() -> None:
    page = (DOCS / "docsite" / "rst" / "verify_report.rst").read_text()

    def keys(schema: Any) -> set[str]:
        if isinstance(schema, list):
            return set().union(*map(keys, schema))
        return (
            set(schema.get("properties", {})).union(*map(keys, schema.values())) if isinstance(schema, dict) else set()
        )

    of_failures = set(SCHEMA["$defs"]["failure"]["properties"])  # which have a page of their own
    named = [*(keys(SCHEMA) - of_failures), *METRICS, *FILES, *(str(each) for each in NOT_VERIFIED)]
    assert [name for name in named if f"``{name}``" not in page] == []


@pytest.mark.parametrize("name", sample.REPORTS)
def test_a_report_has_the_published_form(name: str) -> None:
    report = sample.REPORTS[name]()
    validate(report)
    assert json.loads(file_content(report, "report.json")) == report
    assert file_content(report, "report.json").isascii()


def test_each_host_has_its_row() -> None:
    report = sample.each_kind()
    assert {hub["host"]: (hub["verdict"], hub["not_verified"]) for hub in report["hubs"]} == {
        "passes": ("passed", None),
        "warns": ("warned", None),
        "raises": ("failed", None),
        "no-room": ("failed", None),
        "old": ("failed", None),
        "checked": ("skipped", None),
        "invalid": ("failed", "task_failed"),
        "crashed": ("failed", "task_failed"),
        "away": ("failed", "host_unreachable"),
        "lost": ("failed", "no_result"),
        "left-out": ("skipped", "task_skipped"),
    }
    assert report["counts"]["hubs"] == {"total": 11, "passed": 1, "warned": 1, "skipped": 2, "failed": 7}
    assert report["counts"]["checks"] == {"total": 7, "passed": 3, "warned": 1, "skipped": 1, "failed": 2}
    messages = {hub["host"]: hub["message"] for hub in report["hubs"]}
    assert messages["passes"] == ""
    assert messages["warns"].startswith("token: The token ends in 2 days.")
    assert messages["raises"].startswith("gpu notebooks: Cell 3 of course/01-intro.ipynb raises")
    assert messages["old"].startswith("hub: The hub runs JupyterHub 5.5.3")
    assert messages["invalid"].startswith("hub_verify failed before it verified anything: hub_url: 'ftp://hub'")
    assert "Connection refused. Look at" in messages["away"]
    assert messages["lost"].startswith("The host failed or was unreachable before its turn")


def test_the_failure_is_that_of_the_first_phase_that_failed() -> None:
    codes = {hub["host"]: (hub["failure"] or {}).get("code") for hub in sample.each_kind()["hubs"]}
    assert codes == dict.fromkeys(codes) | {
        "raises": "invalid", "no-room": "spawn_failed", "old": "conflict", "invalid": "invalid",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "passed"),
        ({"failed": True, "msg": "It broke."}, "failed"),
        ({"failed": "True"}, "failed"),
        ({"verdict": "failed"}, "failed"),
        ({"verdict": "warned"}, "warned"),
        ({"verdict": "skipped"}, "skipped"),
        ({"verdict": "PASSED"}, "failed"),
        ({"verdict": None}, "failed"),
        ({"hub": {}}, "failed"),
        ({"hub": "passed"}, "failed"),
        ({"checks": None}, "passed"),
        ({"checks": [{}]}, "failed"),
        ({"checks": ["passed"]}, "failed"),
        ({"checks": [{"name": "lab", "verdict": "passed", "phases": [{"name": "x", "verdict": "odd"}]}]}, "failed"),
    ],
)
def test_nothing_but_good_is_a_pass(change: dict[str, Any], verdict: str) -> None:
    row = row_of(sample.passed() | change)
    assert row["verdict"] == verdict
    assert bool(row["message"]) == (verdict != "passed")
    report = sample.report_of({"a": sample.passed() | change})
    assert bool(failure_of(sample.passed() | change)) == (verdict == "failed")
    assert any(f" {verdict} " in line.lower() for line in table(report)[:-1])
    assert table(report)[-1].startswith(verdict.upper())


def test_a_check_in_which_a_phase_failed_has_failed() -> None:
    result = sample.failed_with_traceback()
    result["checks"][0]["verdict"] = "passed"
    row = row_of(result)
    assert (row["verdict"], row["checks"][0]["verdict"]) == ("failed", "failed")
    assert row["checks"][0]["message"].startswith("notebooks: Cell 3")


def test_the_verdict_on_a_play_is_the_worst_one() -> None:
    good, bad = sample.passed(), sample.spawn_failed()
    verdicts = [
        ([], "skipped"), ([good], "passed"), ([good, sample.warned()], "warned"),
        ([sample.in_check_mode(), sample.warned()], "skipped"), ([good, None], "failed"),
        ([sample.in_check_mode(), bad, good], "failed"),
    ]  # fmt: skip
    for results, verdict in verdicts:
        assert sample.report_of(dict(zip("abc", results, strict=False)))["verdict"] == verdict


def test_numbers_and_booleans_may_be_text() -> None:
    """As ansible-core before 2.19 hands them over."""
    texts = sample.mutated(lambda value: str(value) if isinstance(value, bool | float | int) else value)
    numbers = row_of(sample.failed_with_traceback())
    for before, after in zip(numbers["checks"], row_of(texts)["checks"], strict=True):
        assert [phase["seconds"] for phase in after["phases"]] == [phase["seconds"] for phase in before["phases"]]
        assert (after["server_left"], after["began"]) == (before["server_left"], before["began"])
    report = collect({}, str(sample.BEGAN), str(sample.BEGAN + 2.5), keep="3")
    assert (report["began"], report["seconds"]) == ("2026-11-26T18:00:00Z", 2.5)


ODD: list[Callable[[Any], Any]] = [
    lambda value: None, lambda value: [], lambda value: {}, lambda value: [[value]], lambda value: {"a": value},
    lambda value: -1, lambda value: float("nan"), lambda value: 1e308, lambda value: 10**5000, lambda value: True,
    lambda value: "\ud800\x00", lambda value: b"bytes", lambda value: {1: {2: value}}, lambda value: object(),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ODD)))
def test_a_result_of_another_form_still_has_its_row(number: int) -> None:
    for result in (ODD[number](1), sample.mutated(ODD[number]), {"verdict": "failed", "checks": ODD[number](1)}):
        row = row_of(result, hub_url=ODD[number]("x"))
        assert row["verdict"] == "failed"
        report = collect({"a": {"result": result}}, ODD[number](1), ODD[number](2), ODD[number](3), result, "x")
        for name in FILES:
            file_content(report, name).encode()
        table(report)
        stats(report)


def test_a_result_that_has_no_end_is_cut() -> None:
    result = sample.passed()
    endless: dict[str, Any] = {"more": []}
    endless["more"].append(endless)
    details = {"deep": endless, "long": "x" * 10**6, "many": [0] * 10**5, **{f"key{n}": n for n in range(5000)}}
    result["checks"][0]["phases"][0]["details"] = details
    row = row_of(result)
    assert len(json.dumps(row)) < 100_000


@pytest.mark.parametrize(
    ("given", "shown"),
    [("https://hub/", "https://hub/"), ("https://me:secret@hub/", ""), ("https://hub/?token=x", ""), (None, "")],
)
def test_an_address_that_the_user_set_is_shown_only_if_it_holds_no_secret(given: Any, shown: str) -> None:
    assert row_of(None, hub_url=given)["url"] == shown
    assert row_of(sample.passed(url="https://real/"), hub_url=given)["url"] == "https://real/"


def test_hosts_are_read_from_their_variables() -> None:
    class Broken(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            raise RuntimeError("'undefined' is undefined")

    hostvars = {"a": {"verify_result": {"verdict": "passed"}, "hub_url": "https://a/"}, "b": {}, "c": Broken()}
    assert read_hosts(["a", "b", "c", "d"], hostvars, "https://given/") == {
        "a": {"result": {"verdict": "passed"}, "hub_url": "https://a/"},
        **{host: {"result": None, "hub_url": "https://given/"} for host in "bcd"},
    }


# History


def test_the_history_is_kept_to_a_number_and_ends_with_this_run() -> None:
    earlier = sample.history_of(["a", "other"], runs=5)
    report = sample.report_of({"a": sample.failed_with_traceback(), "new": None}, json.dumps(earlier), keep=3)
    history = report["history"]
    assert history["a"][:2] == earlier["history"]["a"][-2:]
    assert history["a"][2] == {
        "began": "2026-11-26T18:00:01Z", "verdict": "failed", "seconds": 25.33,
        "checks": {"gpu": 6.97, "small profile": 3.28},
    }  # fmt: skip
    assert history["other"] == earlier["history"]["other"][-3:]
    assert "new" not in history  # its turn never came, so there was no run
    assert report["last_success"] == earlier["last_success"]
    again = sample.report_of({"a": sample.passed()}, report, keep=3)
    assert again["last_success"]["a"] == "2026-11-26T18:00:01Z"
    # The run of the same second was read from the report, and is this one now.
    assert again["history"]["a"][:2] == history["a"][:2]
    assert again["history"]["a"][2]["verdict"] == "passed"
    assert "new" not in again["history"]


def test_without_a_history_the_last_success_is_still_known() -> None:
    report = sample.report_of({"a": None}, sample.history_of(["a", "b"]), keep=0)
    assert report["history"] == {}
    assert report["last_success"].keys() == {"a", "b"}


def test_a_start_that_failed_has_no_seconds() -> None:
    report = sample.report_of({"a": sample.spawn_failed()})
    assert report["history"]["a"][0]["checks"] == {}


@pytest.mark.parametrize(
    "earlier",
    [
        None, "", "{", "[]", "null", "[" * 100_000, 5, [], {"history": []}, {"history": {"a": "x"}}, "\ud800",
        {"history": {"a": [None, {}, {"began": "now", "verdict": "passed"}]}, "last_success": {"a": "yesterday"}},
        {"history": {"a": [{"began": "2026-11-26T18:00:00Z", "verdict": "great"}]}, "last_success": 5},
        {"history": {"a": [{"began": "2026-11-26T18:00:00Z\n", "verdict": "passed"}]}},
    ],
)  # fmt: skip
def test_an_earlier_report_that_is_none_is_ignored(earlier: Any) -> None:
    assert read_earlier(earlier) == ({}, {})
    validate(sample.report_of({"a": sample.passed()}, earlier))


def test_a_hostile_earlier_report_does_no_harm() -> None:
    hostile = sample.HOSTILE_TEXTS[5]
    run = {"began": "2026-11-26T17:00:00Z", "verdict": "passed", "seconds": "nan", "checks": {hostile: "x", "b": -1}}
    report = sample.report_of({}, {"history": {hostile: [run | {"more": hostile}]}})
    [[read]] = report["history"].values()
    assert list(read["checks"].values()) == [0.0, 0.0]
    assert all(text.isprintable() for text in [*report["history"], *read["checks"]])


# What people read


def test_one_healthy_hub_is_three_lines() -> None:
    assert table(sample.one_healthy_hub(), "verify-report") == [
        "hub.example.org  (hub)  passed       0.6 s  JupyterHub 6.1.1 at https://hub.example.org/",
        "hub.example.org  lab    passed      14.3 s",
        "PASSED in 16.1 s. 1 hub: 1 passed. 1 check: 1 passed, report in verify-report",
    ]


def test_failures_stand_last_in_the_table() -> None:
    lines = table(sample.each_kind())
    verdicts = [re.split(r"  +", line)[2] for line in lines[:-1]]
    assert verdicts == ["passed"] * 3 + ["skipped"] * 2 + ["warned"] * 2 + ["FAILED"] * 7
    places = {line.index(verdict) for line, verdict in zip(lines, verdicts, strict=False)}
    assert len(places) == 1
    assert lines[-1] == (
        "FAILED in 26.6 s. 11 hubs: 7 failed, 1 warned, 2 skipped, 1 passed. "
        "7 checks: 2 failed, 1 warned, 1 skipped, 3 passed"
    )


def test_a_table_of_a_fleet_is_short() -> None:
    lines = table(sample.hundred_hubs(), "verify-report")
    assert len(lines) < 40
    assert lines[30] == "and 67 more passed"
    many = table(sample.report_of({f"hub-{number}": None for number in range(500)}))
    assert (len(many), many[-2]) == (102, "and 400 more failed")


def test_the_failure_of_a_host_says_what_was_left() -> None:
    result = sample.failed_with_traceback()
    result["checks"][0]["server_left"] = True
    report = sample.report_of({"a": result, "b": sample.passed(), "c": None})
    assert failure_of(result).startswith("https://gpu.example.org/ is not verified, gpu notebooks: Cell 3 of")
    assert failure_of(result).endswith("stop them with hub_server: gpu.")
    assert "Its server may still run." in table(report)[-3]
    assert failure_of(sample.passed()) == ""
    assert failure_of(None).endswith("in the output of the play.")


@pytest.mark.parametrize("text", sample.HOSTILE_TEXTS)
def test_no_text_of_others_begins_a_line(text: str) -> None:
    report = sample.report_of({text: sample.hostile_result(text), "lost": None}, {"history": {text: []}})
    lines = [*table(report, text), failure_of(sample.hostile_result(text), text)]
    assert all(line.isprintable() and len(line) < 3000 for line in lines)
