# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many flows as one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.batch import Batch, Item
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import Action, Plan, Result, run

ACTION = Action("create", "user 'alice'", "the hub does not have it")
PLAN = Plan((ACTION,), before={"state": "absent"}, after={"state": "present"}, predicted={"user": "as predicted"})


class ItemOf(Item):
    """Fails in ``plan`` or in ``apply``, if the test says so."""

    def __init__(self, name: str, plan: Plan, planning: Exception | None = None, applying: Exception | None = None):
        self._plan = plan
        self.name = name
        self._planning = planning
        self._applying = applying

    def initial_answer(self) -> dict[str, Any]:
        return {"user": None}

    def plan(self) -> Plan:
        if self._planning:
            raise self._planning
        return self._plan

    def apply(self, plan: Plan) -> Result:
        if self._applying:
            raise self._applying
        return Result({"user": "as it is"}, plan.actions)


EMPTY = Plan((), {"state": "present"}, {"state": "present"}, predicted={"user": "as predicted"})
NO = Invalid("No.", "Fix it.")


def test_many_are_worked_and_answered_in_their_order() -> None:
    items = [ItemOf("one", PLAN), ItemOf("two", EMPTY)]
    result = run(Batch("users", items, 2), check_mode=False)
    assert [user["changed"] for user in result["users"]] == [True, False]
    assert result["users"][0] == {"changed": True, "user": "as it is", "failure": None}
    assert (result["changed"], "failed" in result, len(result["actions"])) == (True, False, 1)
    assert result["diff"]["before"] == {"users": [{"state": "absent"}, {"state": "present"}]}
    assert run(Batch("users", items[1:], 2), check_mode=False)["changed"] is False


@pytest.mark.parametrize("check_mode", [False, True])
def test_one_that_cannot_be_planned_ends_no_other(check_mode: bool) -> None:
    items = [ItemOf("one", PLAN), ItemOf("two", PLAN, planning=NO), ItemOf("three", PLAN)]
    result = run(Batch("users", items, 2), check_mode=check_mode)
    assert [user["user"] for user in result["users"]][::2] == ["as predicted" if check_mode else "as it is"] * 2
    assert result["users"][1] == {"changed": False, "user": None, "failure": NO.as_failure()}
    assert (result["failed"], result["failure"]["code"], result["changed"]) == (True, "invalid", True)
    assert result["msg"] == "1 of 3 users failed. The first, two: No. Fix it."
    assert len(result["actions"]) == 2


@pytest.mark.parametrize(("error", "code"), [(NO, "invalid"), (KeyError("offset"), "unexpected_answer")])
def test_one_that_cannot_be_applied_ends_no_other(error: Exception, code: str) -> None:
    items = [ItemOf("one", PLAN, applying=error), ItemOf("two", PLAN)]
    result = run(Batch("users", items, 2), check_mode=False)
    assert [user["failure"] and user["failure"]["code"] for user in result["users"]] == [code, None]
    assert [user["changed"] for user in result["users"]] == [False, True]


def test_a_single_one_fails_in_its_own_words_with_what_it_did() -> None:
    error = Invalid("No.", "Fix it.", result={"changed": True, "user": "half"})
    result = run(Batch("users", [ItemOf("one", PLAN, applying=error)], 1), check_mode=False)
    assert (result["msg"], result["changed"], result["users"][0]["user"]) == ("No. Fix it.", True, "half")


def test_none_at_all() -> None:
    result = run(Batch("users", [], 10), check_mode=False)
    assert (result["changed"], result["users"]) == (False, [])


def test_what_a_failed_item_has_done_is_among_the_actions() -> None:
    error = NO.with_result({"changed": True}, [ACTION])
    result = run(Batch("users", [ItemOf("one", PLAN, applying=error), ItemOf("two", EMPTY)], 2), check_mode=False)
    assert (result["changed"], result["failed"]) == (True, True)
    assert result["actions"] == [ACTION.shown()]
    assert NO.result == {}, "a failure is not changed"


def test_an_item_that_had_less_to_do_than_planned_says_so() -> None:
    class Idle(ItemOf):
        def apply(self, plan: Plan) -> Result:
            return Result({"user": "as it is"})

    result = run(Batch("users", [Idle("one", PLAN)], 2), check_mode=False)
    assert (result["changed"], result["actions"], result["users"][0]["changed"]) == (False, [], False)


def test_items_that_run_last_run_after_all_others() -> None:
    order: list[str] = []

    class Recorded(ItemOf):
        def apply(self, plan: Plan) -> Result:
            order.append(self.name)
            return super().apply(plan)

    last = Plan((ACTION, ACTION), {}, {})
    items = [Recorded("last", last), Recorded("one", PLAN), Recorded("two", PLAN)]
    result = run(Batch("users", items, 1, runs_last=lambda plan: len(plan.actions) == 2), check_mode=False)
    assert order == ["one", "two", "last"]
    assert len(result["users"]) == 3


def test_it_is_prepared_and_summarized_within_its_lock() -> None:
    calls: list[str] = []

    @contextmanager
    def lock() -> Iterator[None]:
        calls.append("locked")
        yield
        calls.append("unlocked")

    batch = Batch(
        "users",
        [ItemOf("one", PLAN)],
        1,
        take_lock=lock,
        prepare=lambda: calls.append("prepared"),
        summarize=lambda answers: {"number": len(answers)},
    )
    assert run(batch, check_mode=False)["number"] == 1
    assert calls == ["locked", "prepared", "unlocked"]
