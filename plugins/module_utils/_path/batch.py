# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs many flows as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from .._hub.errors import HubError, Invalid
from .plan import Action, Flow, Plan, Report, Result
from .progress import Counter
from .workers import catch_failures, map_concurrently

Outcomes = Sequence[Result | HubError]
"""The results or failures of all items, in their order."""


class Item(Flow):
    """A flow that is one of many. Its answer has the same keys, whether it succeeds or fails."""

    name: str
    """Its name in a sentence, such as "token 'ci' of user 'alice'"."""

    def initial_answer(self) -> dict[str, Any]:
        """Return the answer of an item about which nothing is known yet."""
        raise NotImplementedError


@dataclass(frozen=True)
class Batch(Flow):
    """Works on its items concurrently. An item that fails stops no other item. The task fails at its end.

    The result lists the answers of all items under ``noun``. Each answer also has ``changed`` and ``failure``.
    """

    noun: str
    items: Sequence[Item]
    concurrency: int
    spread: float = 0.0
    """Seconds within which the first items start to be applied, see `map_concurrently`."""
    runs_last: Callable[[Plan], bool] = lambda plan: False
    """Returns whether an item is applied only after all others."""
    prepare: Callable[[], None] = lambda: None
    """Reads what all items need, before they are planned."""
    take_lock: Callable[[], AbstractContextManager[None]] = nullcontext
    review: Callable[[Outcomes], Outcomes] = lambda outcomes: outcomes
    """Looks at the outcomes when all items have ended, and returns the final ones."""
    summarize: Callable[[list[dict[str, Any]]], dict[str, Any]] = lambda answers: {}
    """Returns what the result says of all items together."""
    report: Report | None = None
    """Shows the progress of more than one item."""
    word: str = "done"
    """The word for an item that has succeeded, in the report."""

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise Invalid("concurrency must be 1 or more.", "Leave it out for 10.")

    def lock(self) -> AbstractContextManager[None]:
        return self.take_lock()

    def plan(self) -> Plan:
        self.prepare()
        parts = map_concurrently(catch_failures(lambda item: item.plan()), self.items, self.concurrency)
        plans = [part for part in parts if isinstance(part, Plan)]
        outcomes = [part if isinstance(part, HubError) else Result(part.predicted, part.actions) for part in parts]
        return Plan(
            tuple(action for plan in plans for action in plan.actions),
            {self.noun: [plan.before for plan in plans]},
            {self.noun: [plan.after for plan in plans]},
            predicted=self._collect(outcomes).answer,
            context=parts,
        )

    def apply(self, plan: Plan) -> Result:
        parts: list[Plan | HubError] = plan.context
        last = {n for n, part in enumerate(parts) if len(parts) > 1 and isinstance(part, Plan) and self.runs_last(part)}
        outcomes: dict[int, Result | HubError] = {}
        with self._count(parts) as counter:

            def work(position: int) -> Result | HubError:
                part = parts[position]
                if isinstance(part, HubError):
                    return part
                with counter.count_one():
                    return self.items[position].apply(part)

            for wave in ([n for n in range(len(parts)) if n not in last], sorted(last)):
                done = map_concurrently(catch_failures(work), wave, self.concurrency, self.spread)
                outcomes |= dict(zip(wave, done, strict=True))
        return self._collect(self.review([outcomes[position] for position in range(len(parts))]))

    def _count(self, parts: Sequence[Plan | HubError]) -> Counter:
        failed = sum(isinstance(part, HubError) for part in parts)
        return Counter(self.report if len(parts) > 1 else None, len(parts), self.word, failed=failed)

    def _collect(self, outcomes: Outcomes) -> Result:
        """Return all answers as one result, with the first failure for the whole, if there is one."""
        answers: list[dict[str, Any]] = []
        actions: list[Action] = []
        failures: list[tuple[str, HubError]] = []
        for item, outcome in zip(self.items, outcomes, strict=True):
            if isinstance(outcome, HubError):
                failures.append((item.name, outcome))
                known = {**item.initial_answer(), "changed": False, **outcome.result}
                answers.append({**known, "failure": outcome.as_failure()})
                actions += outcome.actions
            else:
                answers.append({"changed": outcome.changed, **outcome.answer, "failure": None})
                actions += outcome.actions
        together = {**self.summarize(answers), self.noun: answers}
        if failures:
            name, first = failures[0]
            if len(answers) > 1:
                first = first.with_message(
                    f"{len(failures)} of {len(answers)} {self.noun} failed. The first, {name}: {first.message}"
                )
            # The answers already contain what the first failure knows about its item.
            together = {**first.with_result({}).as_result(), **together, "failure": first.as_failure()}
        return Result(together, tuple(actions), any(answer["changed"] for answer in answers))
