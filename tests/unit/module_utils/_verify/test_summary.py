# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.summary import describe_failure, summarize

FAILURE = {"code": "spawn_failed", "message": "No node.", "status": None, "method": None, "url": None, "hint": "Wait."}


def phase(name: str, verdict: str = "passed", message: str = "") -> dict[str, Any]:
    return {"name": name, "verdict": verdict, "message": message, "failure": FAILURE if verdict == "failed" else None}


def answer(*checks: dict[str, Any], hub: tuple[dict[str, Any], ...] = (phase("hub"),)) -> dict[str, Any]:
    verdict = "failed" if any(each["verdict"] == "failed" for each in hub) else "passed"
    return {"hub": {"url": "https://h/", "verdict": verdict, "phases": list(hub)}, "checks": list(checks)}


def check(name: str, *phases: dict[str, Any], verdict: str = "passed", left: bool = False) -> dict[str, Any]:
    return {"name": name, "verdict": verdict, "seconds": 2.04, "server_left": left, "phases": list(phases)}


def test_one_line_for_the_hub_and_one_for_each_check() -> None:
    warned = check("b", phase("start", "warned", "It was slow."), verdict="warned")
    failed = check("c\n", phase("start"), phase("code", "failed", "It raised."), verdict="failed", left=True)
    assert summarize(answer(check("a", phase("start")), warned, failed)) == [
        "hub https://h/: passed",
        "a: passed in 2.0 s",
        "b: warned in 2.0 s, start: It was slow.",
        "c\\n: failed in 2.0 s, code: It raised. The server may still be running: stop it with hub_server.",
    ]


def test_a_task_without_a_failure_has_no_keys_of_one() -> None:
    assert describe_failure(answer(check("a", phase("start", "warned", "It was slow.")))) == {}


def test_the_first_failure_names_its_phase_and_its_check() -> None:
    failed = check("c", phase("start", "failed", "No node. Wait."), verdict="failed")
    assert describe_failure(answer(failed)) == {
        "failed": True,
        "msg": "The phase start of check 'c' failed: No node. Wait.",
        "failure": {**FAILURE, "message": "The phase start of check 'c' failed: No node."},
    }


def test_the_hub_s_own_failure_comes_first_and_the_others_are_counted() -> None:
    failed = check("c", phase("start", "failed", "No node. Wait."), verdict="failed")
    found = describe_failure(answer(failed, hub=(phase("hub", "failed", "No node. Wait."),)))
    message = "The phase hub failed: No node. 2 phases have failed; the summary names them."
    assert found["failure"]["message"] == message
    assert found["msg"] == f"{message} Wait."
