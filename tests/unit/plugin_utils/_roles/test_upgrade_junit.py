# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A comparison as JUnit's XML, read by a parser that others wrote."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.upgrade_junit import MOST_SHOWN, PARTS, junit
from junitparser import Failure, JUnitXml, Skipped
from support import upgrade_results as sample

from .test_verify_junit import ATTRIBUTES


def cases(report: dict[str, Any], host: str = "teaching") -> dict[str, Any]:
    """The cases of the suite of a host."""
    suites = {suite.name: suite for suite in JUnitXml.fromstring(junit(report).encode())}
    return {case.name: case for case in suites[host]}


@pytest.mark.parametrize("name", sample.COMPARISONS)
def test_another_parser_counts_what_the_file_says(name: str) -> None:
    report = sample.COMPARISONS[name]()
    read = JUnitXml.fromstring(junit(report).encode())
    written = {suite.name: (suite.tests, suite.failures, suite.errors, suite.skipped) for suite in read}
    total = (read.tests, read.failures, read.errors)
    for suite in read:
        suite.update_statistics()
    assert {suite.name: (suite.tests, suite.failures, suite.errors, suite.skipped) for suite in read} == written
    read.update_statistics()
    assert (read.tests, read.failures, read.errors) == total
    assert [*written] == [hub["host"] for hub in report["hubs"]]
    for hub in report["hubs"]:
        assert bool(written[hub["host"]][1]) == (hub["verdict"] == "failed")


@pytest.mark.parametrize("name", sample.COMPARISONS)
def test_each_element_has_the_attributes_of_the_schemas(name: str) -> None:
    for element in ElementTree.fromstring(junit(sample.COMPARISONS[name]())).iter():
        assert set(element.attrib) == ATTRIBUTES[element.tag]


def test_each_part_of_a_hub_is_a_case() -> None:
    found = cases(sample.report_of({"teaching": sample.with_losses()}))
    assert [*found] == [*PARTS, "users.auth_state"]
    failed = {name for name, case in found.items() if any(isinstance(each, Failure) for each in case.result)}
    assert failed == {"users", "tokens", "servers"}
    [failure] = found["servers"].result
    assert failure.type == "lost"
    assert failure.message == "lost: Named server 'lab' of user 'alice' is gone. And 1 more."
    assert "lost: Option 'gpu' of the server of 'carol' is gone." in failure.text
    [skipped] = found["users.auth_state"].result
    assert isinstance(skipped, Skipped)
    assert "6.1.1" in found["hub"].system_out
    assert found["services"].system_out == "no difference"


def test_what_does_not_fail_the_role_fails_no_case() -> None:
    found = cases(sample.report_of({"teaching": sample.with_losses()}, fail_on=[]))
    assert not [case for case in found.values() if any(isinstance(each, Failure) for each in case.result)]
    found = cases(sample.report_of({"teaching": sample.with_losses()}, fail_on=["changed"]))
    [failure] = found["hub"].result
    assert failure.type == "changed"


def test_a_hub_that_was_not_compared_has_one_case() -> None:
    report = sample.each_kind()
    for host, code in (("no-snapshot", "invalid"), ("away", "host_unreachable"), ("missing", "no_result")):
        [case] = cases(report, host).values()
        [failure] = case.result
        assert (case.name, failure.type) == ("compare", code)
    [case] = cases(report, "left-out").values()
    assert isinstance(case.result[0], Skipped)


def test_a_failure_that_no_part_shows_has_a_case() -> None:
    found = cases(sample.report_of({"teaching": sample.compared()}, fail_on=["gone"]))
    [failure] = found["compare"].result
    assert failure.message.startswith("upgrade_fail_on has 'gone'.")


def test_an_unknown_kind_has_a_case_and_a_long_list_says_what_is_left_out() -> None:
    result = sample.compared(*(sample.difference("lost", "planet", str(n), f"Planet {n}.") for n in range(500)))
    found = cases(sample.report_of({"teaching": result}))
    [failure] = found["other"].result
    assert failure.message == "lost: Planet 0. And 499 more."
    assert failure.text.splitlines()[-1] == f"and {500 - MOST_SHOWN} more"
