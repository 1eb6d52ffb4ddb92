# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the role verify as JUnit's XML, read by a parser that others wrote."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_junit import junit
from junitparser import Failure, JUnitXml, Skipped
from support import verify_results as sample

ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {
        "name", "id", "package", "hostname", "timestamp", "time", "tests", "failures", "errors", "skipped",
    },
    "properties": set[str](),
    "property": {"name", "value"},
    "testcase": {"classname", "name", "time"},
    "failure": {"type", "message"},
    "skipped": {"message"},
    "system-out": set[str](),
}  # fmt: skip
"""What the schemas of Jenkins and of Ant's task allow."""


def cases(report: dict[str, Any]) -> dict[str, list[Any]]:
    """The cases of each suite."""
    return {suite.name: [*suite] for suite in JUnitXml.fromstring(junit(report).encode())}


@pytest.mark.parametrize("name", sample.REPORTS)
def test_another_parser_counts_what_the_file_says(name: str) -> None:
    report = sample.REPORTS[name]()
    read = JUnitXml.fromstring(junit(report).encode())
    written = {suite.name: (suite.tests, suite.failures, suite.errors, suite.skipped) for suite in read}
    total = (read.tests, read.failures, read.errors)
    for suite in read:
        suite.update_statistics()
    assert {suite.name: (suite.tests, suite.failures, suite.errors, suite.skipped) for suite in read} == written
    read.update_statistics()
    assert (read.tests, read.failures, read.errors) == total
    assert [*written] == [hub["host"] for hub in report["hubs"]]


@pytest.mark.parametrize("name", sample.REPORTS)
def test_each_element_has_the_attributes_of_the_schemas(name: str) -> None:
    for element in ElementTree.fromstring(junit(sample.REPORTS[name]())).iter():
        assert set(element.attrib) == ATTRIBUTES[element.tag]
        if element.tag == "testsuite":
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", element.attrib["timestamp"])
            assert element[0].tag == "properties"
        if element.tag == "testcase":
            assert len(element) == 1


def test_a_hub_is_a_suite_and_a_phase_is_a_case() -> None:
    found = cases(sample.three_hubs())["research-gpu"]
    names = [(case.classname, case.name) for case in found]
    assert names[:4] == [("research-gpu.hub", name) for name in sample.PHASES_OF_HUB]
    assert ("research-gpu.gpu", "notebooks") in names
    assert ("research-gpu.small profile", "stop") in names
    results = {(case.classname, case.name): case.result for case in found}
    [failure] = results["research-gpu.gpu", "notebooks"]
    assert isinstance(failure, Failure)
    assert failure.type == "invalid"
    assert failure.message.startswith("Cell 3 of course/01-intro.ipynb raises ModuleNotFoundError")
    assert "----> 2 import torch" in failure.text
    [skipped] = results["research-gpu.gpu", "persist"]
    assert isinstance(skipped, Skipped)
    assert results["research-gpu.small profile", "start"] == []


def test_a_host_without_a_result_is_a_failure() -> None:
    found = cases(sample.each_kind())
    for host, kind in (("away", "host_unreachable"), ("lost", "no_result"), ("invalid", "invalid")):
        [case] = found[host]
        assert (case.name, case.result[0].type) == ("verify", kind)
    [case] = found["left-out"]
    assert isinstance(case.result[0], Skipped)


def test_a_failure_that_no_phase_shows_is_a_case() -> None:
    report = sample.report_of({"a": sample.passed() | {"failed": True, "msg": "It broke."}})
    failed = [case.name for case in cases(report)["a"] if case.result]
    assert failed == ["verify"]


def test_the_file_holds_any_text() -> None:
    hostile = "<a b='\"'>&amp; ]]> {{ 7*7 }} \x00\x07\x1b[31m \ud800 \ufffe \u00e9 \U0001f600 \u65e5"
    [[case, *_others]] = cases(sample.report_of({hostile: {"failed": True, "msg": hostile}})).values()
    escaped = "<a b='\"'>&amp; ]]> {{ 7*7 }} \\x00\\x07\\x1b[31m \\ud800 \\ufffe \u00e9 \U0001f600 \u65e5"
    assert escaped in case.result[0].message
    assert escaped in case.classname
    report = sample.one_healthy_hub()
    report["hubs"][0]["host"] = report["hubs"][0]["phases"][0]["message"] = hostile
    kept = "<a b='\"'>&amp; ]]> {{ 7*7 }} [31m   \u00e9 \U0001f600 \u65e5"
    [[case, *_others]] = cases(report).values()
    assert (case.classname, case.system_out) == (f"{kept}.hub", f"passed: {kept}")
