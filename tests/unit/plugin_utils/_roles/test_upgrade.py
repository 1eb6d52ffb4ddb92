# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role upgrade decides: names of folders, the verification of a hub, and what fails the role."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.upgrade import (
    find_verification,
    judge,
    name_folder,
    read_fail_on,
)
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_report import read_report
from hypothesis import given, settings
from hypothesis import strategies as st
from support import verify_results as sample
from support.verify_results import HOSTILE_TEXTS

# Folders


@pytest.mark.parametrize(
    ("host", "folder"),
    [
        ("localhost", "localhost"),
        ("hub-1.example_org", "hub-1.example_org"),
        ("..", "%2E."),
        (".", "%2E"),
        ("", "%2E"),
        (".ssh", "%2Essh"),
        ("../../etc/cron.d", "%2E.%2F..%2Fetc%2Fcron.d"),
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("Universität", "Universit%C3%A4t"),
        ("half \ud800", "half%20%ED%A0%80"),
        ("a\nb", "a%0Ab"),
    ],
)
def test_the_folder_of_a_host(host: str, folder: str) -> None:
    assert name_folder(host) == folder


def test_a_long_name_is_cut_and_stays_unique() -> None:
    one, two = name_folder("x" * 5000 + "1"), name_folder("x" * 5000 + "2")
    assert one != two
    assert one[:180] == two[:180] == "x" * 180


@settings(max_examples=300)
@given(st.text(max_size=300), st.text(max_size=300))
def test_each_host_has_a_folder_of_its_own(one: str, two: str) -> None:
    names = [name_folder(host) for host in (one, two)]
    assert (names[0] == names[1]) == (one == two) or not (one.strip(".") and two.strip("."))
    for name in names:
        assert 0 < len(name) < 256
        assert name.isascii()
        assert name[0] != "."
        assert "/" not in name


def test_a_folder_can_be_made_for_each_hostile_name(tmp_path: Path) -> None:
    for text in HOSTILE_TEXTS:
        (tmp_path / name_folder(text)).mkdir()
    assert len([*tmp_path.iterdir()]) == len(HOSTILE_TEXTS)


# What the role verify found


@pytest.mark.parametrize("name", sorted({*sample.REPORTS} - {"hostile"}))  # a text that was cut is cut again
def test_a_report_is_read_as_it_was_written(name: str) -> None:
    report = sample.REPORTS[name]()
    assert read_report(json.dumps(report)) == report
    assert read_report(report) == report


def test_the_verification_of_a_host_is_its_row() -> None:
    report = sample.three_hubs()
    content = json.dumps(report)
    for row in report["hubs"]:
        assert find_verification(content, row["host"]) == row
    assert find_verification(content, "another") is None


def test_a_host_that_was_not_verified_has_no_verification() -> None:
    content = json.dumps(sample.each_kind())
    for host in ("invalid", "crashed", "away", "lost", "left-out"):
        assert find_verification(content, host) is None
    assert find_verification(content, "passes") is not None


def test_a_host_that_could_not_be_verified_is_told_to_a_comparison() -> None:
    content = json.dumps(sample.each_kind())
    for host in ("invalid", "crashed", "away", "lost"):
        row = find_verification(content, host, True)
        assert row is not None
        assert (row["host"], row["verdict"]) == (host, "failed")
    assert find_verification(content, "left-out", True) is None  # the user has skipped it


@pytest.mark.parametrize(
    "content",
    [
        "{", "null", "[]", "7", '"text"', "{}", '{"schema": "hubops.jupyterhub/verify-report"}', 7,
        '{"schema": "hubops.jupyterhub/verify-report", "version": 2, "hubs": []}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_report_is_an_error(content: Any) -> None:
    """Otherwise the comparison would say nothing about starts and packages, and nobody would know why."""
    with pytest.raises(ValueError, match="upgrade_verify_report is not a report"):
        find_verification(content, "localhost")


@pytest.mark.parametrize("content", ["", None, []])
def test_without_a_file_nothing_is_known(content: Any) -> None:
    assert find_verification(content, "localhost") is None


@pytest.mark.parametrize("value", [None, 7, "x", [], {}, [None], {"a": 1}, float("nan"), "x" * 100_000])
def test_a_report_that_somebody_changed_is_read(value: Any) -> None:
    """Whatever is in the place of one of its values, a page can be drawn of it."""
    report = sample.three_hubs()
    del report["hubs"][1:], report["history"]["hpc"]
    whole = read_report(report)
    assert whole is not None
    for path in paths(report):
        changed = copy.deepcopy(report)
        where = changed
        for key in path[:-1]:
            where = where[key]
        where[path[-1]] = value
        read = read_report(changed)
        if path[0] not in ("schema", "version"):
            assert read is not None
            assert read.keys() == whole.keys()
            assert all(row.keys() == whole["hubs"][0].keys() for row in read["hubs"])
            json.dumps(read, allow_nan=False)


def paths(data: Any, depth: int = 5) -> list[list[Any]]:
    """The places of all values in data."""
    if not isinstance(data, (dict, list)) or not depth:
        return []
    items = data.items() if isinstance(data, dict) else enumerate(data)
    return [[key, *rest] for key, value in items for rest in ([], *paths(value, depth - 1))]


# What fails the role


@pytest.mark.parametrize(
    ("value", "severities"),
    [
        (["lost"], ["lost"]),
        (("new", "lost"), ["lost", "new"]),
        ([], []),
        ("[]", []),
        ("lost", ["lost"]),
        ("changed, lost", ["lost", "changed"]),
        ("['lost', \"new\"]", ["lost", "new"]),
        ("lost changed new", ["lost", "changed", "new"]),
    ],
)
def test_what_fails_the_role(value: Any, severities: list[str]) -> None:
    assert read_fail_on(value) == (severities, "")


@pytest.mark.parametrize("value", [None, "", "  "])
def test_an_empty_value_does_not_pass_every_hub(value: Any) -> None:
    """A key without a value in YAML, and an empty field of a survey, are mistakes."""
    severities, complaint = read_fail_on(value)
    assert (severities, complaint.partition(".")[0]) == ([], "upgrade_fail_on is empty")


@pytest.mark.parametrize(
    "value", ["gone", ["lost", "gone"], ["gone\n\x1b[2J"], {"lost": True}, 7, [7], [["lost"]], True]
)
def test_a_wrong_value_is_told(value: Any) -> None:
    severities, complaint = read_fail_on(value)
    assert severities == []
    assert complaint.startswith("upgrade_fail_on has '")
    assert complaint.endswith("Give it a list of lost, changed and new, or [].")
    assert complaint.isprintable()


@pytest.mark.parametrize(
    ("found", "fail_on", "verdict"),
    [
        ([], ["lost", "changed", "new"], "passed"),
        (["changed", "new"], ["lost"], "passed"),
        (["lost"], ["lost"], "failed"),
        (["lost"], [], "warned"),
        (["lost", "new"], ["new"], "failed"),
        (["lost"], ["new"], "warned"),
        (["new"], [], "passed"),
        (["changed"], ["changed"], "failed"),
    ],
)
def test_the_verdict_on_a_comparison(found: list[str], fail_on: list[str], verdict: str) -> None:
    assert judge(found, fail_on) == verdict
