# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hub nests too deeply for Ansible is not in a result, whichever entry point the task has gone through."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hubops.jupyterhub.plugins.action.hub_user import ActionModule
from ansible_collections.hubops.jupyterhub.plugins.module_utils._ansible import HubModule, run_module
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import HubFailure
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.responses import TOO_DEEP, parse_json
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import Action, Flow, Plan, Result

SECRET = "s3cr3t-of-the-hub"
DEPTHS = (50, 101, 480, 900, 955)


def nest(depth: int) -> Any:
    """The options of a server: a text with a secret within so many lists."""
    return json.loads(f'{{"x": {"[" * depth}"{SECRET}"{"]" * depth}}}')


def count_levels(value: Any) -> int:
    depth = 0
    while isinstance(value, list):
        value, depth = value[0], depth + 1
    return depth


class DeepFlow(Flow):
    """Finds deeply nested options on the hub, and reads and writes them as the flow of a module does."""

    def __init__(self, hub: Any, options: dict[str, Any], report: Any) -> None:
        self.options = options
        self.depth = options["depth"]

    def plan(self) -> Plan:
        found = parse_json(json.dumps({"users": [{"servers": {"lab": {"user_options": nest(self.depth)}}}]}))
        [user] = found["users"]
        action = Action("stop", "it", "it runs")
        return Plan((action,), {"options": user["servers"]["lab"]["user_options"]}, {}, predicted={"servers": [user]})

    def apply(self, plan: Plan) -> Result:
        if self.options["fails"]:
            known = {**plan.predicted, "diff": plan.diff}
            raise HubFailure("It failed.", "Look.").with_result(known, plan.actions)
        return Result(plan.predicted, plan.actions)


MODULE = HubModule({"depth": {"type": "int"}, "fails": {"type": "bool"}, "given": {"type": "dict"}}, DeepFlow)


def by_module(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> Any:
    with patch_module_args(options), pytest.raises(SystemExit):
        run_module(MODULE)
    return json.loads(capsys.readouterr().out)


def by_action(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> Any:
    action = ActionModule.__new__(ActionModule)
    action.module = MODULE  # type: ignore[misc]
    action._task = SimpleNamespace(args=options, check_mode=False, no_log=False, action="hub_user")
    return json.loads(json.dumps(action._in_process()))


@pytest.mark.parametrize("door", [by_module, by_action])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_result_and_its_diff(door: Any, fails: bool, depth: int, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"hub_url": "http://hub/", "api_token": SECRET, "depth": depth, "fails": fails}
    options["given"] = nest(min(depth, 150))  # Ansible itself cannot validate 480 levels
    limit = sys.getrecursionlimit()
    result = door(options, capsys)
    assert sys.getrecursionlimit() == limit
    assert result.get("failed", False) is fails
    assert result["actions"] == [{"verb": "stop", "object": "it", "why": "it runs"}]
    if fails:
        assert result["failure"]["code"] == "hub_error"
    in_servers = result["servers"][0]["servers"]["lab"]["user_options"]["x"]
    in_diff = result["diff"]["before"]["options"]["x"]
    given = result["invocation"]["module_args"]["given"]["x"]
    for shown in (in_servers, in_diff, given):
        assert count_levels(shown) == depth if depth == 50 else 90 < count_levels(shown) < 100
        assert (TOO_DEEP in str(shown)) is (depth > 100)
    assert SECRET not in str(result)
