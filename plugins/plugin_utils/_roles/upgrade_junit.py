# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A comparison of hubs before and after an upgrade for CI, as JUnit's XML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from ...module_utils._verify.phases import FAILED, PASSED, SKIPPED
from .verify_junit import add_element, count_cases, xml_text

PARTS: dict[str, tuple[str, ...]] = {
    "hub": ("version", "authenticator", "spawner", "unreadable"),
    "users": ("user", "admin"),
    "roles": ("role", "scope"),
    "groups": ("group", "membership", "property"),
    "services": ("service",),
    "tokens": ("token",),
    "servers": ("server", "option"),
    "verification": ("check", "start_time", "package", "kernel"),
}
"""The parts of a hub, and the kinds of differences that belong to each."""
OTHER = "other"
"""The part of a kind that none of the others has."""
MOST_SHOWN = 200
"""Differences that one case lists."""

Case = dict[str, Any]


def junit(report: Mapping[str, Any]) -> str:
    """Return the report of a comparison as JUnit's XML: a hub is a suite, and a part of a hub is a case.

    A case fails if one of its differences has a severity that fails the role. What was not compared is a case that is
    skipped. A hub that was not compared has one case.
    """
    suites = [(hub, _cases(hub)) for hub in report["hubs"]]
    every = [case for _hub, cases in suites for case in cases]
    root = ElementTree.Element("testsuites")
    root.attrib.update(
        {"name": "hubops.jupyterhub.upgrade", "time": "0.000"}
        | {name: number for name, number in count_cases(every).items() if name != "skipped"}
    )
    for number, (hub, cases) in enumerate(suites):
        suite = add_element(
            root, "testsuite", name=hub["host"], id=number, package="hubops.jupyterhub.upgrade", hostname=hub["host"],
            timestamp=report["written"].rstrip("Z"), time="0.000", **count_cases(cases),
        )  # fmt: skip
        properties = add_element(suite, "properties")
        facts = {
            "hub_url": hub["url"], "version_before": hub["before"]["version"], "version_after": hub["after"]["version"],
            "snapshot": hub["before"]["taken"] or "", "verdict": hub["verdict"],
        }  # fmt: skip
        for name, value in facts.items():
            add_element(properties, "property", name=name, value=value)
        for case in cases:
            _add_case(suite, hub, case)
    ElementTree.indent(root)
    return f"{ElementTree.tostring(root, encoding='UTF-8').decode()}\n"


def _cases(hub: Mapping[str, Any]) -> list[Case]:
    if hub["not_run"]:
        message, code = hub["message"], (hub["failure"] or {}).get("code") or hub["not_run"]
        return [{"name": "compare", "verdict": hub["verdict"], "message": message, "code": code, "lines": []}]
    part_of = {kind: part for part, kinds in PARTS.items() for kind in kinds}
    found: dict[str, list[Mapping[str, Any]]] = {part: [] for part in (*PARTS, OTHER)}
    for each in hub["differences"]:
        found[part_of.get(each["kind"], OTHER)].append(each)
    cases = [_case_of(part, each, hub["fail_on"]) for part, each in found.items() if part != OTHER or each]
    if hub["verdict"] == FAILED and FAILED not in [case["verdict"] for case in cases]:
        # A failure that no part shows must not get lost.
        lines = [hub["message"]]
        cases.insert(
            0, {"name": "compare", "verdict": FAILED, "message": hub["message"], "code": "invalid", "lines": lines}
        )
    return cases + [
        {"name": each["name"], "verdict": SKIPPED, "message": each["message"], "code": "", "lines": []}
        for each in hub["not_compared"]
    ]


def _case_of(part: str, differences: list[Mapping[str, Any]], fail_on: list[str]) -> Case:
    failing = [each for each in differences if each["severity"] in fail_on]
    shown = [*failing, *(each for each in differences if each["severity"] not in fail_on)]
    lines = [f"{each['severity']}: {each['message']}" for each in shown[:MOST_SHOWN]]
    if len(shown) > MOST_SHOWN:
        lines.append(f"and {len(shown) - MOST_SHOWN} more")
    more = f" And {len(failing) - 1} more." if len(failing) > 1 else ""
    message = f"{lines[0]}{more}" if failing else ""
    verdict = FAILED if failing else PASSED
    code = failing[0]["severity"] if failing else ""
    return {"name": part, "verdict": verdict, "message": message, "code": code, "lines": lines}


def _add_case(suite: ElementTree.Element, hub: Mapping[str, Any], case: Case) -> None:
    element = add_element(suite, "testcase", classname=f"{hub['host']}.compare", name=case["name"], time="0.000")
    text = xml_text("\n".join(case["lines"]))
    if case["verdict"] == SKIPPED:
        add_element(element, "skipped", message=case["message"])
    elif case["verdict"] == FAILED:
        add_element(element, "failure", type=case["code"], message=case["message"]).text = text
    else:
        add_element(element, "system-out").text = text or "no difference"
