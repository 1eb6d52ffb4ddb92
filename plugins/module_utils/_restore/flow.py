# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of `hub_restore`: starts the servers again that `hub_drain` has stopped, each with its own options."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from .._drain.hub_identity import check_hub, is_other_user, may_see_all_users, read_users
from .._drain.record import ALREADY_RUNNING, FAILED, OUTCOMES, RESTORED, RESTORING, STOPPED, USER_GONE, Entry, Record
from .._drain.record_file import Ledger, RecordFile
from .._hub.client import HubClient
from .._hub.errors import HubError, Invalid, NotFound, not_covered, printable, quoted
from .._hub.models import Server, User
from .._hub.polling import poll_until
from .._hub.scopes import READ_SERVERS, START
from .._hub.secret_values import hide_secrets
from .._path.batch import Batch, Item, Outcomes
from .._path.plan import Flow, Plan, Report, Result
from .._path.workers import catch_failures, map_concurrently
from .._server.flow import server_batch
from .._server.model import ServerSpec, read_all
from .._server.model import read as read_server
from .verdict import find_differences, judge_failure, judge_running

ENDED = "stopped"
"""The state of a server that an earlier restore has started, and that does not run any more."""


class RestoreFlow(Flow):
    """Reads the record of a drain, and starts its servers that do not run. ``wait_timeout`` is in seconds."""

    def __init__(
        self, hub: HubClient, file: RecordFile, report: Report, *, concurrency: int, wait_timeout: float
    ) -> None:
        self._hub = hub
        self._file = file
        self._report = report
        self._concurrency = concurrency
        self._wait_timeout = wait_timeout
        self._start_time = time.monotonic()

    def lock(self) -> AbstractContextManager[None]:
        return self._file.lock()

    def plan(self) -> Plan:
        self._start_time = time.monotonic()
        record = self._file.read()
        if record is None:
            raise Invalid(
                f"There is no record of a drain at {quoted(self._file.path)}.",
                "Check path. hub_drain writes the record, also if it has nothing to stop.",
            )
        ledger = Ledger(self._file, record, is_new=False)
        todo = [entry for entry in record.entries.values() if _is_open(entry)]
        specs = [self._declare(entry) for entry in todo]
        servers = server_batch(self._hub, specs, self._report, concurrency=self._concurrency)
        flows = {entry.key: flow for entry, flow in zip(todo, servers.items, strict=True)}
        users: dict[str, User | HubError] = {}
        present: dict[str, dict[str, Server] | HubError] = {}

        def prepare() -> None:
            servers.prepare()
            users.update(read_users(self._hub, todo, self._concurrency))
            present.update(self._read_servers([each for each in record.entries.values() if not _is_open(each)]))

        items = [
            RestoreItem(self._hub, entry, flows.get(key), users, present, ledger, self._wait_timeout)
            for key, entry in record.entries.items()
        ]
        review = partial(self._review, items, servers.review)
        summarize = partial(self._summarize, record)
        batch = replace(servers, items=items, prepare=prepare, review=review, summarize=summarize, word="done")
        plan = batch.plan()
        check_hub(self._hub, record, self._file.path, self._concurrency, users)
        return replace(plan, context=_Context(batch, items, plan, ledger))

    def apply(self, plan: Plan) -> Result:
        context: _Context = plan.context
        for item, part in zip(context.items, context.plan.context, strict=True):
            item.begin(part)
        result = None
        try:
            with context.ledger:
                result = context.batch.apply(context.plan)
        except HubError as error:
            if result is None:
                raise  # the record could not be written, so nothing has been started
            return replace(result, answer={**error.as_result(), **_without_failure(result.answer)})
        return result

    def _review(
        self, items: Sequence[RestoreItem], review: Callable[[Outcomes], Outcomes], outcomes: Outcomes
    ) -> Outcomes:
        """Return the outcomes after the last look of ``review``, and record the servers that do not run any more.

        ``review`` knows only the servers on which this restore has worked.
        """
        positions = [position for position, item in enumerate(items) if item.is_open]
        reviewed, final = review([outcomes[position] for position in positions]), [*outcomes]
        for position, outcome in zip(positions, reviewed, strict=True):
            if isinstance(outcome, HubError) and outcome is not outcomes[position]:
                final[position] = items[position].record_stop(outcome)
        return final

    def _declare(self, entry: Entry) -> ServerSpec:
        """Return the desired state of a server of the record."""
        options, timeout = entry.user_options, self._wait_timeout
        return ServerSpec(entry.user, entry.server_name, "started", user_options=options, wait_timeout=timeout)

    def _read_servers(self, entries: Sequence[Entry]) -> dict[str, dict[str, Server] | HubError]:
        """Return the servers, by user, of those whose servers an earlier restore has started."""
        names = list(dict.fromkeys(entry.user for entry in entries))
        read = catch_failures(partial(read_all, self._hub))
        return dict(zip(names, map_concurrently(read, names, self._concurrency), strict=True))

    def _summarize(self, record: Record, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        tally = Tally(answer["outcome"] for answer in answers)
        seconds = round(time.monotonic() - self._start_time, 3)
        parts = [f"{tally[RESTORED]} of {len(answers)} servers restored"]
        parts += [f"{tally[outcome]} {outcome.replace('_', ' ')}" for outcome in OUTCOMES[1:]]
        ended = sum(answer["outcome"] in (RESTORED, ALREADY_RUNNING) and answer["state"] == ENDED for answer in answers)
        parts += [f"{ended} stopped since an earlier restore"] if ended else []
        other = record.hub_url if record.hub_url != self._hub.url else None
        parts += [f"the record is of the hub at {printable(other)}"] if other else []
        return {
            "path": self._file.path,
            "other_hub": other,
            "counts": {"servers": len(answers), **{outcome: tally[outcome] for outcome in OUTCOMES}},
            "seconds": seconds,
            "summary": f"{', '.join(parts)}, in {seconds:.1f} s",
        }


@dataclass(frozen=True)
class _Context:
    """What the plan of a restore passes to `RestoreFlow.apply`."""

    batch: Batch
    items: Sequence[RestoreItem]
    plan: Plan
    ledger: Ledger


class RestoreItem(Item):
    """One server of the record. ``flow`` starts it, or is None if an earlier restore has come to its end with it.

    ``users`` are the users by name, as far as the record knows when they were created. ``present`` are the servers, by
    user, of those whose servers an earlier restore has started.
    """

    def __init__(
        self,
        hub: HubClient,
        entry: Entry,
        flow: Item | None,
        users: Mapping[str, User | HubError],
        present: Mapping[str, dict[str, Server] | HubError],
        ledger: Ledger,
        wait_timeout: float,
    ) -> None:
        self._hub = hub
        self._entry = entry
        self._flow = flow
        self._users = users
        self._present = present
        self._ledger = ledger
        self._wait_timeout = wait_timeout
        self.name = entry.title

    def initial_answer(self) -> dict[str, Any]:
        return self._answer(FAILED, None, {})

    def plan(self) -> Plan:
        """Plan to start the server, unless it runs, its user has gone, or it was restored before."""
        entry = self._entry
        if self._flow is None:
            return self._end_again()
        try:
            departure = self._find_departure()
            if departure is not None:
                return self._end(USER_GONE, departure)
            plan = self._flow.plan()
        except HubError as found:
            if isinstance(found, NotFound) and may_see_all_users(self._hub):
                return self._end(USER_GONE, found.message)
            error = _as_hidden(found) if isinstance(found, NotFound) else found
            raise error.with_result(self._answer(FAILED, error.reason or error.message, error.result)) from None
        shown = plan.predicted
        if plan.actions and self._hub.missing_scopes([f"{START}!server={entry.user}/{entry.server_name}"]):
            error = not_covered(self._hub.dialect.translate_scope(START), entry.title, entry.user)
            raise error.with_result(self._answer(FAILED, error.message, shown))
        if not plan.actions and plan.before.get("state") == "ready":
            outcome, reason = self._judge_running(shown.get("user_options"), has_started=False)
            return self._end(outcome, reason, shown)
        return Plan(
            plan.actions,
            {**plan.before, "restore": entry.restore},
            {**plan.after, "restore": RESTORED},
            predicted=self._answer(RESTORED, None, shown),
            context=plan,
        )

    def begin(self, part: Plan | HubError) -> None:
        """Record that the server is about to be started, or that it could not even be looked at."""
        if isinstance(part, HubError):
            self._record(FAILED, part.message)
        elif part.context is not None:
            self._record(RESTORING, None)

    def apply(self, plan: Plan) -> Result:
        if self._flow is None:
            return Result(plan.predicted)
        if plan.context is None:
            self._record(plan.predicted["outcome"], plan.predicted["reason"])
            return Result(plan.predicted)
        deadline = time.monotonic() + self._wait_timeout
        try:
            result = self._flow.apply(plan.context)
        except HubError as error:
            return self._end_failed_start(error, deadline)
        outcome, reason = self._judge_running(result.answer.get("user_options"), has_started=result.changed)
        self._record(outcome, reason)
        return Result(self._answer(outcome, reason, result.answer), result.actions, result.changed)

    def _find_departure(self) -> str | None:
        """Return why the server's user is not the one of the record, or None.

        Raises the failure if that could not be found out. Otherwise the server of another user might start.
        """
        user = self._users.get(self._entry.user)
        if isinstance(user, HubError):
            raise user
        if user is not None and is_other_user(self._entry.user_created, user.created):
            return f"The user was deleted, and created again at {user.created}."
        return None

    def _has_user_gone(self) -> bool:
        """Return whether the user has gone. A token that may not start the user's servers gets a 404 for it, too."""
        try:
            self._hub.read_user(self._entry.user, scope=READ_SERVERS)
        except NotFound:
            return may_see_all_users(self._hub)
        except HubError:
            pass
        return False

    def _judge_running(self, shown: dict[str, Any] | None, *, has_started: bool) -> tuple[str, str | None]:
        """Return the outcome for a server that runs with the options ``shown``, and what to tell of it."""
        wanted = self._hub.dialect.predict_user_options(self._entry.user_options)
        outcome = judge_running(self._entry, wanted, shown, has_started=has_started)
        if outcome == RESTORED:
            return outcome, None
        names = find_differences(wanted, shown)
        if not names and self._entry.state != STOPPED:
            return outcome, "The drain has not stopped it."
        how = f"with other user_options, which differ in {', '.join(names)}" if names else "meanwhile"
        return outcome, printable(f"Somebody has started it {how}.")

    def _end_failed_start(self, error: HubError, deadline: float) -> Result:
        """Return the result of a start that failed because somebody was first, or because something has gone.

        Raises the failure itself if that is not why.
        """
        outcome = judge_failure(error, self._entry)
        if outcome == ALREADY_RUNNING and not self._wait_for_start(deadline):
            outcome = FAILED
            error = error.with_message(f"{error.message} It does not run.").with_hint(
                "Run this again to start it with the options of the record."
            )
        if outcome == USER_GONE and not self._has_user_gone():
            outcome, error = FAILED, _as_hidden(error)
        reason = printable(error.message if outcome in (ALREADY_RUNNING, USER_GONE) else error.reason or error.message)
        self._record(outcome, reason)
        answer = self._answer(outcome, reason, error.result)
        if outcome == FAILED:
            raise error.with_result({**error.result, **answer}, error.actions) from None
        is_changed = bool(error.result.get("changed"))
        return Result(answer, error.actions if is_changed else (), is_changed)

    def _wait_for_start(self, deadline: float) -> bool:
        """Wait for the end of a start that somebody else has begun. Return whether the server runs then."""
        hub, last = self._hub.with_deadline(deadline), list[Server]()

        def has_ended() -> bool:
            last[:] = [read_server(hub, self._entry.user, self._entry.server_name)]
            return last[0].pending is None

        try:
            poll_until(has_ended, deadline)
        except HubError:
            return False
        return bool(last) and last[0].state == "ready"

    @property
    def is_open(self) -> bool:
        """Whether this restore works on the server."""
        return self._flow is not None

    def record_stop(self, error: HubError) -> HubError:
        """Record that the server has stopped again before the end of the task. Return the failure with the outcome."""
        self._record(FAILED, error.message)
        return error.with_result({**error.result, "outcome": FAILED, "reason": printable(error.message)}, error.actions)

    def _record(self, outcome: str, reason: str | None) -> None:
        self._ledger.change(self._entry.key, restore=outcome, reason=reason)

    def _end_again(self) -> Plan:
        """Return the plan for a server that an earlier restore has started. Its user may have stopped it since then."""
        entry, found = self._entry, self._present.get(self._entry.user)
        if not isinstance(found, dict):
            return self._end(entry.restore, entry.reason)
        server = found.get(entry.server_name)
        state = ENDED if server is None else server.state
        reason = "It does not run any more since an earlier restore." if state == ENDED else entry.reason
        return self._end(entry.restore, reason, {"state": state})

    def _end(self, outcome: str, reason: str | None, known: Mapping[str, Any] | None = None) -> Plan:
        """Return the plan for a server with which nothing is to be done. ``known`` is that of `_answer`."""
        names = {"user": self._entry.user, "server_name": self._entry.server_name}
        return Plan(
            (),
            {**names, "restore": self._entry.restore},
            {**names, "restore": outcome},
            predicted=self._answer(outcome, reason, known or {}),
        )

    def _answer(self, outcome: str, reason: str | None, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the server's part of the result. ``known`` is what the flow of `hub_server` says of it."""
        entry = self._entry
        return {
            "user": entry.user,
            "server_name": entry.server_name,
            "outcome": outcome,
            "state": known.get("state"),
            "url": known.get("url"),
            "seconds": known.get("seconds", 0.0),
            "reason": reason,
            "events": known.get("events", []),
            "user_options": hide_secrets(entry.user_options),
        }


def _as_hidden(error: HubError) -> HubError:
    """Return the failure for a user who may have gone, and may also be hidden from the token."""
    scopes = f"{START} and {READ_SERVERS}"
    return error.with_hint(f"Check whether the user has left. If not, restore with a token that holds {scopes} for it.")


def _without_failure(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in ("failed", "msg", "failure")}


def _is_open(entry: Entry) -> bool:
    """Return whether a restore works on the server. It tries again what was refused: the cause may be gone by now."""
    return entry.restore not in (RESTORED, ALREADY_RUNNING)
