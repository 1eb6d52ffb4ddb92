# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has happened to the servers and users that a policy has decided on, and what the result says of it."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._hub.errors import HubError, printable, quoted
from .._path.plan import Report
from .._path.progress import Counter
from .._path.workers import SPREAD, catch_failures, map_concurrently
from .._server.model import server_title
from .policy import KEEP_CODES, Decision


@dataclass(frozen=True)
class Outcome:
    """What has happened to a server or a user. ``error`` is why the decision could not be carried out."""

    decision: Decision
    error: HubError | None = None

    @property
    def is_done(self) -> bool:
        """Whether the server was stopped, or the user was deleted."""
        return self.decision.has_to_go and self.error is None


def carry_out(
    decisions: Sequence[Decision], work: Callable[[Decision], Decision], concurrency: int, report: Report, verb: str
) -> list[Outcome]:
    """Carry out the decisions with ``work``, and report the progress with ``verb``, such as "deleted".

    ``work`` stops or deletes one object. It returns the decision that holds in the end.
    """
    todo = [decision for decision in decisions if decision.has_to_go]
    with Counter(report if len(todo) > 1 else None, len(todo), verb) as counter:

        def count(decision: Decision) -> Decision:
            with counter.count_one():
                return work(decision)

        results = iter(map_concurrently(catch_failures(count), todo, concurrency, SPREAD))
        return [_outcome(decision, next(results) if decision.has_to_go else decision) for decision in decisions]


def _outcome(decision: Decision, result: Decision | HubError) -> Outcome:
    return Outcome(decision, result) if isinstance(result, HubError) else Outcome(result)


def join_decisions(decision: Decision, second: Decision) -> Decision:
    """Return the first decision, unless the ``second`` one, which is newer, is to keep the server or the user."""
    if second.has_to_go:
        return decision
    return replace(second, keep_code="used" if second.keep_code == "active" else second.keep_code)


def keep_as_gone(decision: Decision) -> Decision:
    """Return the decision on a server or a user that somebody else has stopped or deleted."""
    return replace(decision, keep_code="gone", reason="it has gone meanwhile")


def title_of(decision: Decision) -> str:
    """Return the name of the server or the user in a sentence."""
    if decision.server_name is None:
        return f"user {quoted(decision.user)}"
    return server_title(decision.user, decision.server_name)


def describe(decision: Decision) -> str:
    """Return the line of the diff for a server or a user."""
    sign, verb = ("-", "goes") if decision.has_to_go else (" ", "stays")
    return printable(f"{sign} {title_of(decision)} {verb}: {decision.reason}")


def count_kept(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Return how many servers or users stay, for each of the `KEEP_CODES`."""
    tally = Tally(outcome.decision.keep_code for outcome in outcomes)
    return {code: tally[code] for code in KEEP_CODES}


def count_done(outcomes: Iterable[Outcome]) -> int:
    """Return how many servers were stopped, or users were deleted."""
    return sum(outcome.is_done for outcome in outcomes)


def describe_failures(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return the result's ``failures``."""
    return [
        {
            **outcome.decision.as_item(),
            "server_name": outcome.decision.server_name,
            "failure": outcome.error.as_failure(),
        }
        for outcome in outcomes
        if outcome.error
    ]


def first_failure(outcomes: Iterable[Outcome], verb: str) -> HubError | None:
    """Return the failure of a task with these outcomes, or None. ``verb`` is what could not be done: "culled"."""
    failed = [(outcome.decision, outcome.error) for outcome in outcomes if outcome.error]
    if not failed:
        return None
    decision, first = failed[0]
    if len(failed) > 1:
        first = first.with_message(
            f"{len(failed)} could not be {verb}. The first, {title_of(decision)}: {first.message}"
        )
    return first.with_result({})
