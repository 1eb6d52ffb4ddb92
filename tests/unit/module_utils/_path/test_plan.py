# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_plan: the one path. Check mode is the same code without `apply`."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import Action, Many, Plan, run

PLAN = Plan(
    (Action("create", "user 'alice'", "the hub does not have it"),),
    before={"state": "absent"},
    after={"state": "present"},
    predicted={"user": "as predicted"},
)


class FlowOf:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.applied: list[Plan] = []

    def plan(self) -> Plan:
        return self._plan

    def apply(self, plan: Plan) -> dict[str, Any]:
        self.applied.append(plan)
        return {"user": "as it is"}


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
    assert PLAN.does("create")
    assert not PLAN.does("delete")


# Many


class ItemOf(FlowOf):
    """Fails where it is told to."""

    def __init__(self, name: str, plan: Plan, planning: Exception | None = None, applying: Exception | None = None):
        super().__init__(plan)
        self.name = name
        self._planning = planning
        self._applying = applying

    def unknown(self) -> dict[str, Any]:
        return {"user": None}

    def plan(self) -> Plan:
        if self._planning:
            raise self._planning
        return super().plan()

    def apply(self, plan: Plan) -> dict[str, Any]:
        if self._applying:
            raise self._applying
        return super().apply(plan)


EMPTY = Plan((), {"state": "present"}, {"state": "present"}, predicted={"user": "as predicted"})
NO = Invalid("No.", "Mend it.")


def test_many_are_worked_and_answered_in_their_order() -> None:
    items = [ItemOf("one", PLAN), ItemOf("two", EMPTY)]
    result = run(Many("users", items, 2), check_mode=False)
    assert [user["changed"] for user in result["users"]] == [True, False]
    assert result["users"][0] == {"changed": True, "user": "as it is", "failure": None}
    assert (result["changed"], "failed" in result, len(result["actions"])) == (True, False, 1)
    assert result["diff"]["before"] == {"users": [{"state": "absent"}, {"state": "present"}]}
    assert run(Many("users", items[1:], 2), check_mode=False)["changed"] is False


@pytest.mark.parametrize("check_mode", [False, True])
def test_one_that_cannot_be_planned_ends_no_other(check_mode: bool) -> None:
    items = [ItemOf("one", PLAN), ItemOf("two", PLAN, planning=NO), ItemOf("three", PLAN)]
    result = run(Many("users", items, 2), check_mode=check_mode)
    assert [user["user"] for user in result["users"]][::2] == ["as predicted" if check_mode else "as it is"] * 2
    assert result["users"][1] == {"changed": False, "user": None, "failure": NO.as_failure()}
    assert (result["failed"], result["failure"]["code"], result["changed"]) == (True, "invalid", True)
    assert result["msg"] == "1 of 3 users failed. The first, two: No. Mend it."
    assert len(result["actions"]) == 2


@pytest.mark.parametrize(("error", "code"), [(NO, "invalid"), (KeyError("offset"), "unexpected_answer")])
def test_one_that_cannot_be_applied_ends_no_other(error: Exception, code: str) -> None:
    items = [ItemOf("one", PLAN, applying=error), ItemOf("two", PLAN)]
    result = run(Many("users", items, 2), check_mode=False)
    assert [user["failure"] and user["failure"]["code"] for user in result["users"]] == [code, None]
    assert [user["changed"] for user in result["users"]] == [False, True]


def test_a_single_one_fails_in_its_own_words_with_what_it_did() -> None:
    error = Invalid("No.", "Mend it.", result={"changed": True, "user": "half"})
    result = run(Many("users", [ItemOf("one", PLAN, applying=error)], 1), check_mode=False)
    assert (result["msg"], result["changed"], result["users"][0]["user"]) == ("No. Mend it.", True, "half")


def test_none_at_all() -> None:
    result = run(Many("users", [], 10), check_mode=False)
    assert (result["changed"], result["users"]) == (False, [])
