# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task would do, as data, and the one path that every task takes.

    desired (validated options) -> present (reads) -> plan (pure) -> check mode stops here -> apply (writes, waits)

This file is private to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

Report = Callable[[str], None]
"""Takes a line on how the work goes, to be shown to whoever waits for it."""


@dataclass(frozen=True)
class Action:
    """One write: its verb, its object, and why it is needed."""

    verb: str
    object: str
    why: str


@dataclass(frozen=True)
class Plan:
    """What is to be done, the pictures before and after it, and the answer if all goes well.

    ``predicted`` is the part of the result that carries the task's noun, as far as it can be known beforehand.
    """

    actions: tuple[Action, ...]
    before: dict[str, Any]
    after: dict[str, Any]
    predicted: dict[str, Any] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return bool(self.actions)

    def does(self, verb: str) -> bool:
        return any(action.verb == verb for action in self.actions)


class Flow(Protocol):
    """One noun's way from the present state to the desired one. ``plan`` reads, ``apply`` writes and waits."""

    def plan(self) -> Plan: ...

    def apply(self, plan: Plan) -> dict[str, Any]: ...


def run(flow: Flow, *, check_mode: bool) -> dict[str, Any]:
    """Take the one path and return the task's result. Raises `HubError`."""
    plan = flow.plan()
    noun = plan.predicted if check_mode else flow.apply(plan)
    return {
        "changed": plan.changed,
        **noun,
        "actions": [asdict(action) for action in plan.actions],
        "diff": {"before": plan.before, "after": plan.after},
    }
