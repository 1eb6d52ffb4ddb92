# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the role verify for CI, as JUnit's XML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from ...module_utils._verify.phases import FAILED, SKIPPED
from .verify_tracebacks import find_tracebacks

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even as references."""

Case = dict[str, Any]


def junit(report: Mapping[str, Any]) -> str:
    """Return the report as JUnit's XML: a hub is a suite, and a phase is a case.

    A hub that was not verified has one case. A phase that passed with a warning is a case that passed. The attributes
    are those that the schemas of Jenkins and of Ant's task know.
    """
    suites = [(hub, _cases(hub)) for hub in report["hubs"]]
    every = [case for _hub, cases in suites for case in cases]
    root = ElementTree.Element("testsuites")
    root.attrib.update(
        {"name": "hubops.jupyterhub.verify", "time": _seconds(report["seconds"])}
        | {name: number for name, number in count_cases(every).items() if name != "skipped"}
    )
    for number, (hub, cases) in enumerate(suites):
        suite = add_element(
            root, "testsuite", name=hub["host"], id=number, package="hubops.jupyterhub.verify", hostname=hub["host"],
            timestamp=hub["began"].rstrip("Z"), time=_seconds(hub["seconds"]), **count_cases(cases),
        )  # fmt: skip
        properties = add_element(suite, "properties")
        for name, value in (("hub_url", hub["url"]), ("hub_version", hub["version"]), ("verdict", hub["verdict"])):
            add_element(properties, "property", name=name, value=value)
        for case in cases:
            _add_case(suite, case)
    ElementTree.indent(root)
    return f"{ElementTree.tostring(root, encoding='UTF-8').decode()}\n"


def _cases(hub: Mapping[str, Any]) -> list[Case]:
    groups = [("hub", hub["phases"]), *((check["name"], check["phases"]) for check in hub["checks"])]
    cases = [{**phase, "classname": f"{hub['host']}.{group}"} for group, phases in groups for phase in phases]
    # A verdict that no phase shows must not get lost.
    if not cases or (hub["verdict"] in (FAILED, SKIPPED) and hub["verdict"] not in [case["verdict"] for case in cases]):
        code = (hub["failure"] or {}).get("code") or hub["not_verified"]
        failure = {**(hub["failure"] or {"message": hub["message"], "hint": ""}), "code": code}
        facts = {"name": "verify", "details": {}, "failure": failure, "classname": f"{hub['host']}.hub"}
        cases.insert(0, {**facts, "verdict": hub["verdict"], "message": hub["message"], "seconds": hub["seconds"]})
    return cases


def _add_case(suite: ElementTree.Element, case: Case) -> None:
    element = add_element(
        suite, "testcase", classname=case["classname"], name=case["name"], time=_seconds(case["seconds"])
    )
    if case["verdict"] == SKIPPED:
        add_element(element, "skipped", message=case["message"])
    elif case["verdict"] == FAILED:
        failure = case["failure"] or {}
        tracebacks = [f"{title}\n{text}" for title, text in find_tracebacks(case)]
        shown = add_element(element, "failure", type=failure.get("code") or "failed", message=case["message"])
        shown.text = xml_text("\n\n".join([case["message"], *tracebacks]))
    else:
        add_element(element, "system-out").text = xml_text(f"{case['verdict']}: {case['message']}")


def count_cases(cases: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the attributes of a suite that say how many cases it has, and how many of them have which verdict."""
    verdicts = [case["verdict"] for case in cases]
    return {
        "tests": str(len(cases)),
        "failures": str(verdicts.count(FAILED)),
        "errors": "0",
        "skipped": str(verdicts.count(SKIPPED)),
    }


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def add_element(parent: ElementTree.Element, tag: str, /, **attributes: Any) -> ElementTree.Element:
    """Add an element with these attributes to another one, and return it."""
    return ElementTree.SubElement(parent, tag, {name: xml_text(value) for name, value in attributes.items()})


def xml_text(value: Any) -> str:
    """Return the value as text without the characters that XML cannot hold."""
    return _NOT_IN_XML.sub("", str(value))
