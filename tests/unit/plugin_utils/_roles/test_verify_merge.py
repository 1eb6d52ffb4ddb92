# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One report of many: each host has its newest row, and neither a missing nor a damaged report looks like a pass."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles import verify_merge_files
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_files import FILES, file_content
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_merge import merge, merge_failure
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_merge_files import read_reports
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_report import collect
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_stats import stats
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_summary import table
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_values import read_name
from jsonschema import Draft202012Validator
from support import verify_results as sample

SCHEMA = json.loads((Path(__file__).resolve().parents[4] / "docs/verify-report.schema.json").read_text())
NOW = sample.BEGAN + 600


def began(time: str, result: Any) -> Any:
    """A result that began at another time of the day, such as ``17:00``."""
    return result | {"began": f"2026-11-26T{time}:00Z"}


def text_of(results: dict[str, Any], start: float = sample.BEGAN, **more: Any) -> str:
    """The content of the ``report.json`` of a play with these results."""
    hosts = {host: {"result": result} for host, result in results.items()}
    return file_content(collect(hosts, start, start + 20, "2.19.14", **more), "report.json")


def merged(*texts: str, hosts: Any = (), now: float = NOW, **more: Any) -> dict[str, Any]:
    """The merged report of reports with this content, which has the form of a report and can be shown."""
    report = merge({f"{number}/report.json": text for number, text in enumerate(texts)}, hosts, now, "2.19.14", **more)
    Draft202012Validator(SCHEMA).validate(json.loads(file_content(report, "report.json")))
    for name in FILES:
        file_content(report, name).encode()
    assert table(report)
    shown = stats(report)
    assert sum(map(len, shown["hubs"].values())) + shown["left_out"] == len(report["hubs"])
    assert bool(merge_failure(report)) == (report["verdict"] == "failed")
    return report


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {hub["host"]: hub["verdict"] for hub in report["hubs"]}


# Which row counts


def test_each_host_of_each_report_has_its_row() -> None:
    first = {"a": sample.passed(), "c": sample.warned()}
    second = {"b": sample.failed_with_traceback(), "d": sample.UNREACHABLE_HOST}
    report = merged(text_of(first), text_of(second, sample.BEGAN + 100), hosts=["d", "a", "b"])
    assert verdicts(report) == {"d": "failed", "a": "passed", "b": "failed", "c": "warned"}
    assert (report["verdict"], report["counts"]["hubs"]["total"]) == ("failed", 4)
    assert (report["began"], report["seconds"]) == ("2026-11-26T18:00:00Z", 120.0)
    assert merge_failure(report) == "2 of 4 hubs are not verified: d, b."
    rows = {hub["host"]: hub for text in (first, second) for hub in json.loads(text_of(text))["hubs"]}
    assert {hub["host"]: hub for hub in report["hubs"]}["b"] == rows["b"]


def test_a_report_that_is_merged_again_stays_as_it_is() -> None:
    once = merged(text_of({"a": sample.passed(), "b": sample.spawn_failed()}), hosts=["a", "b", "c"])
    again = merged(file_content(once, "report.json"), hosts=["a", "b", "c"])
    assert again["hubs"] == once["hubs"]
    assert (again["history"], again["last_success"]) == (once["history"], once["last_success"])


@pytest.mark.parametrize("is_first", [True, False])
def test_the_newest_row_counts(is_first: bool) -> None:
    old = text_of({"a": began("17:00", sample.spawn_failed()), "b": began("17:00", sample.passed())})
    new = text_of({"a": began("18:00", sample.passed()), "b": began("18:00", sample.spawn_failed())})
    report = merged(*((old, new) if is_first else (new, old)))
    assert verdicts(report) == {"a": "passed", "b": "failed"}
    assert [run["verdict"] for run in report["history"]["a"]] == ["failed", "passed"]
    assert report["last_success"] == {"a": "2026-11-26T18:00:00Z", "b": "2026-11-26T17:00:00Z"}


@pytest.mark.parametrize("is_first", [True, False])
def test_of_two_rows_of_one_time_the_worse_one_counts(is_first: bool) -> None:
    texts = [text_of({"a": sample.passed()}), text_of({"a": sample.spawn_failed()})]
    report = merged(*(texts if is_first else reversed(texts)))
    assert verdicts(report) == {"a": "failed"}
    assert [run["verdict"] for run in report["history"]["a"]] == ["failed"]


def test_a_row_without_a_result_counts_only_if_there_is_no_other() -> None:
    """With serial, hosts whose turn is still to come are in the report."""
    whole = text_of({"a": sample.passed(), "b": sample.warned()})
    part = text_of({"a": None, "b": None, "c": None}, sample.BEGAN + 100)
    report = merged(part, whole)
    assert verdicts(report) == {"a": "passed", "b": "warned", "c": "failed"}
    assert report["history"].keys() == {"a", "b"}


# What is missing, and what is old


def test_a_host_without_a_report_has_failed() -> None:
    """The job that should have verified it was killed."""
    report = merged(text_of({"a": sample.passed()}), hosts="a, b")
    [_a, row] = report["hubs"]
    assert (row["host"], row["verdict"], row["not_verified"]) == ("b", "failed", "no_report")
    assert "verify_reports" in row["message"]
    assert "b" not in report["history"]
    assert stats(report)["hubs"]["failed"] == {"b": "- no_report - 0.0"}
    assert verdicts(merged(hosts=["a"])) == {"a": "failed"}


@pytest.mark.parametrize("limit", ["50m", 3000, "3000", "0.8h"])
def test_an_old_row_has_failed(limit: Any) -> None:
    report = merged(
        text_of({"old": began("17:00", sample.passed()), "new": began("18:00", sample.passed())}), max_age=limit
    )
    assert verdicts(report) == {"new": "passed", "old": "failed"}
    row = report["hubs"][1]
    assert (row["not_verified"], row["began"]) == ("old_report", "2026-11-26T17:00:00Z")
    assert "2026-11-26T17:00:00Z" in row["message"]
    assert "verify_merge_max_age" in row["message"]
    # The run itself passed at its time.
    assert [run["verdict"] for run in report["history"]["old"]] == ["passed"]
    assert report["last_success"]["old"] == "2026-11-26T17:00:00Z"


def test_a_row_of_the_future_has_failed() -> None:
    """It would be the newest one for ever."""
    report = merged(text_of({"a": began("23:00", sample.passed())}), max_age="1h")
    assert verdicts(report) == {"a": "failed"}


def test_without_a_limit_no_row_is_old() -> None:
    text = text_of({"a": sample.passed()})
    for limit in (None, ""):
        assert verdicts(merged(text, now=NOW + 1e8, max_age=limit)) == {"a": "passed"}
    for limit in ("soon", 0, -1, [], "1w"):
        with pytest.raises(ValueError, match="verify_merge_max_age"):
            merged(text, max_age=limit)


def test_no_hub_at_all_is_no_pass() -> None:
    with pytest.raises(ValueError, match="No report has a hub"):
        merged(text_of({}))


# The history


def test_the_histories_become_one() -> None:
    first = text_of({"a": began("18:00", sample.passed())}, earlier=sample.history_of(["a", "gone"], 12), keep=20)
    second = text_of({"b": sample.passed()}, earlier=sample.history_of(["b"], 3))
    before = merged(text_of({"a": began("02:00", sample.warned())}))
    report = merged(first, second, earlier=file_content(before, "history.json"), keep=20)
    assert {host: len(runs) for host, runs in report["history"].items()} == {"a": 14, "gone": 12, "b": 4}
    times = [run["began"] for run in report["history"]["a"]]
    assert times == sorted(set(times))
    again = merged(first, second, earlier=report, keep=20)
    assert again["history"] == report["history"]
    short = merged(first, second, earlier=report, keep=2)
    assert {len(runs) for runs in short["history"].values()} == {2}
    assert short["history"]["a"] == report["history"]["a"][-2:]
    assert merged(first, keep=0)["history"] == {}


def test_the_run_of_a_report_without_a_history_is_in_it() -> None:
    report = merged(text_of({"a": sample.passed()}, keep=0))
    assert [run["verdict"] for run in report["history"]["a"]] == ["passed"]
    assert report["history"]["a"][0]["checks"] == {"lab": 4.1}


# What is no report


def changed(change: Callable[[dict[str, Any]], Any]) -> str:
    """The content of a report in which something is changed."""
    report = json.loads(text_of({"a": sample.passed(), "b": sample.spawn_failed()}))
    change(report)
    return json.dumps(report)


WHOLE = changed(lambda report: None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        (WHOLE[:-200], "is not complete"),
        ("[" * 100_000, "not JSON"),
        ("null", "not a report"),
        ("[]", "not a report"),
        ("{}", "not a report"),
        (changed(lambda report: report.update(schema="hubops.jupyterhub/compare-report")), "not a report"),
        (changed(lambda report: report.update(version=2)), "version 2"),
        (changed(lambda report: report.update(version="1")), "same release"),
        (changed(lambda report: report.update(hubs=None)), "no list of hubs"),
        (changed(lambda report: report.update(hubs={"a": 1})), "no list of hubs"),
        (changed(lambda report: report.update(hubs=[])), "0 hubs in place of 2"),
        (changed(lambda report: report["hubs"].pop()), "1 hubs in place of 2"),
        (changed(lambda report: report.pop("counts")), "in place of None"),
        (changed(lambda report: report.update(began="today")), "when it began"),
        (changed(lambda report: report["hubs"].__setitem__(0, "a")), "row 1"),
        (changed(lambda report: report["hubs"][1].update(host="")), "row 2"),
        (changed(lambda report: report["hubs"][1].update(host="a")), "two rows"),
        (changed(lambda report: report["hubs"][1].update(verdict="fine")), "row 2"),
        (changed(lambda report: report["hubs"][1].pop("began")), "row 2"),
        (changed(lambda report: report["hubs"][1].update(verdict="passed")), "the verdict on b"),
        (changed(lambda report: report["hubs"][1].update(verdict="skipped")), "the verdict on b"),
        (changed(lambda report: report["hubs"][0].update(phases=[], checks=[])), "the verdict on a"),
        (changed(lambda report: report["hubs"][0].update(not_verified="no_result")), "the verdict on a"),
        (changed(lambda report: report["hubs"][0]["checks"][0].update(verdict="failed")), "the verdict on a"),
        (changed(lambda report: report["hubs"][0]["checks"][0]["phases"].append(7)), "the verdict on a"),
    ],
)  # fmt: skip
def test_a_damaged_report_is_named(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        merge({"good/report.json": WHOLE, "some where/report.json": text}, ["a", "b"], NOW)
    assert "some where/report.json" in str(caught.value)
    assert "good" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", sample.HOSTILE_TEXTS)
def test_hostile_reports_and_names_do_no_harm(text: str) -> None:
    results = {text: sample.hostile_result(text), "a": sample.passed()}
    report = merged(text_of(results), hosts=[text, f"{text}, too", "a"])
    assert [hub["host"] for hub in report["hubs"]][::2] == [read_name(text), "a"]
    assert len(report["hubs"][0]["phases"]) > 0
    assert merge_failure(report).isprintable()
    with pytest.raises(ValueError, match="verify_merge_max_age") as caught:
        merge({text: WHOLE}, [], NOW, max_age=text)
    assert len(str(caught.value)) < 200_000
    with pytest.raises(ValueError, match="not JSON") as caught:
        merge({text: "no"}, [], NOW)
    assert str(caught.value).isprintable()


def test_a_hundred_hubs_are_merged() -> None:
    report = sample.hundred_hubs()
    names = [hub["host"] for hub in report["hubs"]]
    parts = []
    for number in range(4):
        results = {name: sample.passed() for name in names[number::4]}
        parts.append(text_of(results, earlier=sample.history_of([*results])))
    found = merged(*parts, hosts=names)
    assert verdicts(found) == dict.fromkeys(names, "passed")
    assert merge_failure(found) == ""


# The files


def write(path: Path, text: str = WHOLE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_files_folders_and_patterns_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two", "a [b]"):
        write(tmp_path / "slices" / name / "report.json")
    write(tmp_path / "single/report.json")
    (tmp_path / "slices/killed").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "slices"))

    def find(places: Any) -> list[str]:
        return [*read_reports(places, str(tmp_path), str(tmp_path / "merged"))]

    slices = [f"slices/{name}/report.json" for name in ("a [b]", "one", "two")]
    assert find(["slices"]) == find(["slices/*"]) == find(["slices/*/report.json"]) == find([str(tmp_path / "slices")])
    assert find(["slices"]) == find("slices") == find(["~"]) == find(["**/slices"]) == slices
    assert find(["single", "slices/one/report.json"]) == ["single/report.json", "slices/one/report.json"]
    assert find("single,slices/a [b]") == ["single/report.json", "slices/a [b]/report.json"]
    assert find(["slices/one", "slices/*", "slices/../slices/one"])[0] == "slices/one/report.json"
    assert len(find(["slices/one", "slices/*", "slices/../slices/one"])) == 3
    assert read_reports(["single"], str(tmp_path), "/x") == {"single/report.json": WHOLE}


def test_the_merged_report_is_no_part_of_itself(tmp_path: Path) -> None:
    write(tmp_path / "slices/one/report.json")
    write(tmp_path / "slices/all/report.json")
    for folder in ("slices/all", "slices/../slices/all/"):
        assert [*read_reports(["slices"], str(tmp_path), str(tmp_path / folder))] == ["slices/one/report.json"]
    with pytest.raises(ValueError, match="no report at slices/all"):
        read_reports(["slices/all"], str(tmp_path), str(tmp_path / "slices/all"))


@pytest.mark.parametrize("places", [["none"], ["none/*"], ["empty"], ["empty/*"], ["one", "none"], "none", [7], ["\n"]])
def test_a_place_without_a_report_fails(tmp_path: Path, places: Any) -> None:
    write(tmp_path / "one/report.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="verify_reports: there is no report at"):
        read_reports(places, str(tmp_path), str(tmp_path / "merged"))


@pytest.mark.parametrize("places", [[], "", " , ", None, 7, {}])
def test_no_place_fails(tmp_path: Path, places: Any) -> None:
    with pytest.raises(ValueError, match="verify_reports is empty"):
        read_reports(places, str(tmp_path), str(tmp_path / "merged"))


def test_what_is_no_file_of_a_report_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, for whose writer nobody may wait, a device without an end, a link to nowhere, and a file that is huge."""

    def fails(name: str, says: str) -> None:
        with pytest.raises(ValueError, match=says) as caught:
            read_reports([name], str(tmp_path), str(tmp_path / "merged"))
        assert name in str(caught.value)

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder/report.json").mkdir(parents=True)
    fails("pipe", "not a file")
    fails("endless", "not a file")
    fails("link", "No such file")
    fails("loop", "cannot be read")
    fails("folder", "not a file|Is a directory")
    monkeypatch.setattr(verify_merge_files, "LONGEST_REPORT", 10)
    write(tmp_path / "large/report.json")
    fails("large", "too large")
    for number in range(verify_merge_files.MOST_REPORTS + 1):
        write(tmp_path / f"many/{number}/report.json", "{}")
    with pytest.raises(ValueError, match="1001 files"):
        read_reports(["many"], str(tmp_path), str(tmp_path / "merged"))


def test_bytes_that_are_no_text_are_no_report(tmp_path: Path) -> None:
    write(tmp_path / "report.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match=r"report\.json is not JSON"):
        merge(read_reports(["report.json"], str(tmp_path), "/x"), [], NOW)
