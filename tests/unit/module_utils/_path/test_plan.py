# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""plan: the path of every task. Check mode is the same code without `apply`."""

from __future__ import annotations

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import Action, Flow, Plan, Result, run

PLAN = Plan(
    (Action("create", "user 'alice'", "the hub does not have it"),),
    before={"state": "absent"},
    after={"state": "present"},
    predicted={"user": "as predicted"},
)


class FlowOf(Flow):
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.applied: list[Plan] = []

    def plan(self) -> Plan:
        return self._plan

    def apply(self, plan: Plan) -> Result:
        self.applied.append(plan)
        return Result({"user": "as it is"}, plan.actions)


@pytest.mark.parametrize("check_mode", [False, True])
def test_both_modes_give_the_same_shape_and_only_one_applies(check_mode: bool) -> None:
    flow = FlowOf(PLAN)
    assert run(flow, check_mode=check_mode) == {
        "changed": True,
        "user": "as predicted" if check_mode else "as it is",
        "actions": [{"verb": "create", "object": "user 'alice'", "why": "the hub does not have it"}],
        "diff": {"before": {"state": "absent"}, "after": {"state": "present"}},
    }
    assert flow.applied == ([] if check_mode else [PLAN])


def test_an_empty_plan_changes_nothing() -> None:
    result = run(FlowOf(Plan((), {}, {})), check_mode=True)
    assert (result["changed"], result["actions"]) == (False, [])


def test_a_plan_knows_its_verbs() -> None:
    assert PLAN.has("create")
    assert not PLAN.has("delete")
