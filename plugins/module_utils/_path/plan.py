# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task is going to do, as data, and the one sequence of steps that every task follows.

desired (validated options) -> plan: reads and decides -> check mode stops here -> apply: writes and waits -> result
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from .._hub.errors import printable

Report = Callable[[str], None]
"""Takes one line on the progress of the work and shows it to the user."""


@dataclass(frozen=True)
class Action:
    """One write."""

    verb: str
    object: str
    """The name of its object in a sentence, such as "group 'staff'"."""
    why: str
    """Why it is needed."""
    target: Any = None
    """The object itself, for the flow that applies the action. The result does not show it."""

    def shown(self) -> dict[str, str]:
        """Return the action as the result shows it to people."""
        return {"verb": self.verb, "object": printable(self.object), "why": printable(self.why)}


@dataclass(frozen=True)
class Plan:
    """The actions of a task, the state before and after them, and the result if all goes well."""

    actions: tuple[Action, ...]
    before: dict[str, Any]
    after: dict[str, Any]
    predicted: dict[str, Any] = field(default_factory=dict)
    """The part of the result that describes the objects of the task, as far as it is known before the actions."""
    context: Any = None
    """What ``plan`` has read and decided, for ``apply``. The result does not show it."""
    details: str = ""
    """Lines for a diff that say what happens to each object, if ``before`` and ``after`` only count them."""

    @property
    def changed(self) -> bool:
        return bool(self.actions)

    @property
    def diff(self) -> dict[str, Any]:
        """The result's ``diff``."""
        return {"before": self.before, "after": self.after, **({"prepared": self.details} if self.details else {})}

    def has(self, verb: str) -> bool:
        """Return whether one of the actions has this verb."""
        return any(action.verb == verb for action in self.actions)


@dataclass(frozen=True)
class Result:
    """What a task has done: its part of the task's result, and the actions that it carried out."""

    answer: dict[str, Any]
    actions: tuple[Action, ...] = ()
    is_changed: bool | None = None
    """Whether something has changed on the hub. None means that it has changed if there are actions."""

    @property
    def changed(self) -> bool:
        return bool(self.actions) if self.is_changed is None else self.is_changed


class Flow:
    """Takes objects from their present state to their desired state. `run` handles check mode, so a flow does not."""

    def lock(self) -> AbstractContextManager[None]:
        """Return a context manager that keeps other runs out from the plan to the end, if they would interfere."""
        return nullcontext()

    def plan(self) -> Plan:
        """Read the present state, and return what to do. Raises `HubError`."""
        raise NotImplementedError

    def apply(self, plan: Plan) -> Result:
        """Write what the plan says, wait for its effect, and return what was done. Raises `HubError`."""
        raise NotImplementedError


def run(flow: Flow, *, check_mode: bool) -> dict[str, Any]:
    """Plan and apply the flow, or only plan it in check mode, and return the task's result. Raises `HubError`."""
    with flow.lock():
        plan = flow.plan()
        result = Result(plan.predicted, plan.actions) if check_mode else flow.apply(plan)
    return {
        "changed": result.changed,
        "actions": [action.shown() for action in result.actions],
        **result.answer,
        "diff": plan.diff,
    }


def find_duplicate(names: Iterable[str]) -> str | None:
    """Return the first name that occurs twice, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
