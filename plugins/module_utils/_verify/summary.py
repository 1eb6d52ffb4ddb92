# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verification says about itself: one line for the hub and for each check, and the failure of the task.

All functions are pure. ``answer`` is the result of the task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._hub.errors import printable
from .phases import FAILED, WARNED

_SHOWN = 300
"""Characters of a message that a line shows."""


def summarize(answer: Mapping[str, Any]) -> list[str]:
    """Return one line for the hub and one for each check, each with its first failure or warning."""
    hub = answer["hub"]
    lines = [_describe(f"hub {hub['url']}", hub["verdict"], hub["phases"])]
    for check in answer["checks"]:
        line = _describe(check["name"], check["verdict"], check["phases"], f" in {check['seconds']:.1f} s")
        left = " The server may still be running: stop it with hub_server." if check["server_left"] else ""
        lines.append(line + left)
    return lines


def _describe(name: str, verdict: str, phases: list[dict[str, Any]], seconds: str = "") -> str:
    line = f"{printable(name, _SHOWN)}: {verdict}{seconds}"
    for wanted in (FAILED, WARNED):
        for phase in phases:
            if phase["verdict"] == wanted:
                return f"{line}, {phase['name']}: {printable(phase['message'], _SHOWN)}"
    return line


def describe_failure(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a failed task, or none if no phase has failed."""
    failed = list(_list_failures(answer))
    if not failed:
        return {}
    where, first = failed[0]
    more = f" {len(failed)} phases have failed; the summary names them." if len(failed) > 1 else ""
    failure = {**first, "message": f"{where} failed: {first['message']}{more}"}
    return {"failed": True, "msg": f"{failure['message']} {failure['hint']}", "failure": failure}


def _list_failures(answer: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each phase that has failed, as where that is in a sentence, and its failure."""
    for phase in answer["hub"]["phases"]:
        if phase["verdict"] == FAILED:
            yield f"The phase {phase['name']}", phase["failure"]
    for check in answer["checks"]:
        for phase in check["phases"]:
            if phase["verdict"] == FAILED:
                yield f"The phase {phase['name']} of check '{printable(check['name'], _SHOWN)}'", phase["failure"]
