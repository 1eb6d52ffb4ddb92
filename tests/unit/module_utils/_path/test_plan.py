# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""plan: the path of every task. Check mode is the same code without `apply`."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import (
    Action,
    Flow,
    Plan,
    Result,
    find_duplicate,
    run,
)

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


def test_a_plan_with_details_has_them_in_its_diff() -> None:
    plan = Plan(PLAN.actions, {"users": 1}, {"users": 2}, details="+ alice")
    assert plan.diff == {"before": {"users": 1}, "after": {"users": 2}, "prepared": "+ alice"}


@pytest.mark.parametrize(
    ("actions", "is_changed", "changed"),
    [
        (PLAN.actions, None, True),
        ((), None, False),
        # A flow can know better than its actions.
        (PLAN.actions, False, False),
        ((), True, True),
    ],
)
def test_actions_are_changes_unless_the_flow_says_otherwise(
    actions: tuple[Action, ...], is_changed: bool | None, changed: bool
) -> None:
    assert Result({}, actions, is_changed).changed is changed
    assert Plan(actions, {}, {}).changed is bool(actions)


@pytest.mark.parametrize("value", [PLAN, PLAN.actions[0], Result({})])
def test_what_is_planned_and_done_does_not_change(value: Plan | Action | Result) -> None:
    with pytest.raises(FrozenInstanceError):
        value.actions = ()  # type: ignore[union-attr, misc]


@pytest.mark.parametrize(
    ("names", "duplicate"), [((), None), (("a", "b"), None), (("a", "b", "c", "b", "a"), "b"), (("a", "a"), "a")]
)
def test_the_first_name_that_occurs_twice(names: tuple[str, ...], duplicate: str | None) -> None:
    assert find_duplicate(names) == duplicate
