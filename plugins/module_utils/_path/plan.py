# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task would do, as data, and the one path that every task takes.

desired (validated options) -> present (reads) -> plan (pure) -> check mode stops here -> apply (writes, waits)

"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from .._hub.errors import (
    HubError,
    Invalid,
    not_understood,
    printable,
)
from .._hub.threads import each

R = TypeVar("R")
T = TypeVar("T")

Report = Callable[[str], None]
"""Takes a line on how the work goes, to be shown to whoever waits for it."""


@dataclass(frozen=True)
class Action:
    """One write: its verb, its object, and why it is needed."""

    verb: str
    object: str
    why: str

    def shown(self) -> dict[str, str]:
        """For the result, where people read it."""
        return {"verb": self.verb, "object": printable(self.object), "why": printable(self.why)}


@dataclass(frozen=True)
class Plan:
    """What is to be done, the pictures before and after it, and the answer if all goes well.

    ``predicted`` is the part of the result that carries the task's noun, as far as it can be known beforehand.
    """

    actions: tuple[Action, ...]
    before: dict[str, Any]
    after: dict[str, Any]
    predicted: dict[str, Any] = field(default_factory=dict)
    parts: tuple[Plan | HubError, ...] = ()
    """Of many: the plan of each, or why it has none."""
    shown: str = ""
    """For a diff: lines on what is to become of each thing, where the pictures only count them."""

    @property
    def changed(self) -> bool:
        return bool(self.actions)

    @property
    def diff(self) -> dict[str, Any]:
        """The result's ``diff``."""
        return {"before": self.before, "after": self.after, **({"prepared": self.shown} if self.shown else {})}

    def does(self, verb: str) -> bool:
        return any(action.verb == verb for action in self.actions)


class Flow(Protocol):
    """One noun's way from the present state to the desired one. ``plan`` reads, ``apply`` writes and waits."""

    def plan(self) -> Plan: ...

    def apply(self, plan: Plan) -> dict[str, Any]: ...


@runtime_checkable
class Exclusive(Flow, Protocol):
    """A flow that another run of it would spoil from its plan to its end."""

    def alone(self) -> AbstractContextManager[None]:
        """Within the block, no other run is."""


class Item(Flow, Protocol):
    """A flow that is one of many. Its answer has the same keys, whatever becomes of it."""

    name: str
    """Its name in a sentence, such as "token 'ci' of user 'alice'"."""

    def unknown(self) -> dict[str, Any]:
        """The answer as long as nothing is known."""


@dataclass(frozen=True)
class Many:
    """Many flows as one, worked concurrently. One that fails ends no other, and the whole then fails at its end.

    ``noun`` is the result's list of all items; each also tells whether it ``changed``, and its ``failure``, or None.
    """

    noun: str
    items: Sequence[Item]
    concurrency: int
    spread: float = 0.0
    """Seconds within which the first of them begin to be applied, see `each`."""
    late: Callable[[Plan], bool] = lambda plan: False
    """Which of them are applied when all others have been."""

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise Invalid("concurrency must be 1 or more.", "Leave it out for 10.")

    def plan(self) -> Plan:
        parts = tuple(each(caught(lambda item: item.plan()), self.items, self.concurrency))
        plans = [part for part in parts if isinstance(part, Plan)]
        answers = [part if isinstance(part, HubError) else _answer(part.predicted, part.changed) for part in parts]
        return Plan(
            tuple(action for plan in plans for action in plan.actions),
            {self.noun: [plan.before for plan in plans]},
            {self.noun: [plan.after for plan in plans]},
            predicted=self._result(answers),
            parts=parts,
        )

    def apply(self, plan: Plan) -> dict[str, Any]:
        def work(pair: tuple[Item, Plan | HubError]) -> dict[str, Any] | HubError:
            item, part = pair
            return part if isinstance(part, HubError) else _answer(item.apply(part), part.changed)

        pairs = list(zip(self.items, plan.parts, strict=True))
        waves: tuple[list[int], list[int]] = ([], [])
        for place, part in enumerate(plan.parts):
            waves[len(pairs) > 1 and isinstance(part, Plan) and self.late(part)].append(place)
        answers: dict[int, dict[str, Any] | HubError] = {}
        for wave in waves:
            done = each(caught(work), [pairs[place] for place in wave], self.concurrency, self.spread)
            answers |= dict(zip(wave, done, strict=True))
        return self._result([answers[place] for place in range(len(pairs))])

    def _result(self, answers: Sequence[dict[str, Any] | HubError]) -> dict[str, Any]:
        """All items' answers; with the first failure for the whole, if there is one."""
        items, failures = [], []
        for item, answer in zip(self.items, answers, strict=True):
            if isinstance(answer, HubError):
                failures.append((item.name, answer))
                answer = {**item.unknown(), "changed": False, **answer.result, "failure": answer.as_failure()}
            items.append(answer)
        result = {"changed": any(item["changed"] for item in items), self.noun: items}
        if not failures:
            return result
        name, first = failures[0]
        if len(items) > 1:
            first = first.with_message(
                f"{len(failures)} of {len(items)} {self.noun} failed. The first, {name}: {first.message}"
            )
        # Without what the first failure knows of its item, which stands among the items.
        told = first.as_result()
        return {**{key: told[key] for key in ("failed", "msg", "failure")}, **result}


def _answer(answer: dict[str, Any], changed: bool) -> dict[str, Any]:
    return {"changed": changed, **answer, "failure": None}


def repeated(names: Iterable[str]) -> str | None:
    """The first of the names that is there twice, if there is one."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def caught(work: Callable[[T], R]) -> Callable[[T], R | HubError]:
    """The same work, with a failure for a result."""

    def catching(item: T) -> R | HubError:
        try:
            return work(item)
        except HubError as error:
            return error
        except Exception as error:
            # What the others did must not be lost with it.
            return not_understood(error)

    return catching


def run(flow: Flow, *, check_mode: bool) -> dict[str, Any]:
    """Take the one path and return the task's result. Raises `HubError`."""
    with flow.alone() if isinstance(flow, Exclusive) else nullcontext():
        plan = flow.plan()
        noun = plan.predicted if check_mode else flow.apply(plan)
    return {
        "changed": plan.changed,
        "actions": [action.shown() for action in plan.actions],
        **noun,  # a flow that may do less than it planned tells of its actions itself
        "diff": plan.diff,
    }
