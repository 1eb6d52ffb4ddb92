# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of `hub_drain`: stops the servers of a hub, and records them so that `hub_restore` can start them again."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from math import inf
from typing import Any

from .._cull import candidates
from .._cull.options import StoppingOptions
from .._cull.outcome import (
    Outcome,
    carry_out,
    describe,
    describe_failures,
    first_failure,
    join_decisions,
    keep_as_gone,
    title_of,
)
from .._cull.policy import Decision, MaxCulls, Policy
from .._hub.client import HubClient
from .._hub.errors import HubError, NotFound, Timeout
from .._hub.models import Owner, Server
from .._hub.polling import is_hub_away, poll_until
from .._hub.scopes import READ_SERVERS
from .._hub.secret_values import hide_secrets
from .._path.plan import Action, Flow, Plan, Report, Result
from .._server import model, stop
from .hub_identity import check_hub
from .record import FAILED, STOPPED, Entry, Key, Record, add_drain
from .record_file import Ledger, RecordFile

ORDERS = ("idle_first", "oldest_first", "name")


@dataclass(frozen=True, kw_only=True)
class DrainOptions(StoppingOptions):
    """How a drain works, apart from its policy."""

    order: str = ORDERS[0]
    max_stops: MaxCulls | None = None


@dataclass(frozen=True)
class _Context:
    """What the plan of a drain passes to `DrainFlow.apply`."""

    decisions: Sequence[Decision]
    """All servers: first those that go, in the order of their stops, then those that somebody else stops, then those
    that stay."""
    servers: Mapping[Key, Server]
    """The servers as the hub has listed them."""
    stored: Record | None
    """The record in the file."""
    record: Record
    """The record to write before the first stop."""
    previous: Mapping[Key, Entry]
    """The entries that earlier drains have left, for the servers that run."""
    unreadable: Sequence[dict[str, str]]
    """What `find_unreadable` returns."""

    @property
    def must_archive(self) -> bool:
        """Whether the file has servers that are all restored, and there is a new record to write."""
        stored = self.stored
        return stored is not None and bool(stored.entries) and stored.is_finished and self.record is not stored


@dataclass
class _Run:
    """What `DrainFlow.apply` knows while it works."""

    context: _Context
    ledger: Ledger
    requested: set[Key] = field(default_factory=set)
    """The servers that this run has told to stop."""


class DrainFlow(Flow):
    """Lists the servers, decides, records those that have to go, stops them, and lists the servers again."""

    def __init__(self, hub: HubClient, file: RecordFile, policy: Policy, options: DrainOptions, report: Report) -> None:
        self._hub = hub
        self._file = file
        self._policy = replace(policy, takes_pending=True)
        self._options = options
        self._report = report
        self._start_time = time.monotonic()

    def lock(self) -> AbstractContextManager[None]:
        return self._file.lock()

    def plan(self) -> Plan:
        self._start_time = time.monotonic()
        stored = self._file.read()
        owner = candidates.read_owner(self._hub)
        context = self._decide(stored, owner)
        outcomes = [_predict(decision, context) for decision in context.decisions]
        result = self._make_result(outcomes, [], context, context.record, "would be ")
        running = len(context.servers)
        plan = Plan(
            result.actions,
            {"servers": running},
            {"servers": running - sum(decision.has_to_go for decision in context.decisions)},
            predicted={**result.answer, "changed": result.changed},
            context=context,
            details="".join(f"{describe(decision)}\n" for decision in context.decisions),
        )
        refusal = self._find_refusal(len(result.actions), running, owner)
        if refusal is not None:
            raise refusal.with_result({**plan.predicted, "changed": False, "diff": plan.diff}, plan.actions)
        return plan

    def apply(self, plan: Plan) -> Result:
        context: _Context = plan.context
        if context.must_archive and context.stored is not None:
            self._file.archive(context.stored)
        ledger = Ledger(self._file, context.record, is_new=context.record is not context.stored)
        run, options = _Run(context, ledger), self._options
        outcomes, failure, started = list[Outcome](), None, list[dict[str, Any]]()
        try:
            with ledger:
                work = partial(self._stop, run)
                outcomes = carry_out(context.decisions, work, options.concurrency, self._report, "drained")
        except HubError as error:
            if not outcomes:
                raise  # the record could not be written, so nothing has been stopped
            failure = error  # the record could not be written to its end
        failure = failure or first_failure(outcomes, "drained")
        try:
            started = self._list_started(outcomes)
        except HubError as error:
            failure = failure or error.with_message(
                f"The servers that were started meanwhile could not be listed: {error.message}"
            )
        result = self._make_result(outcomes, started, context, ledger.record, "")
        changed = result.changed or bool(run.requested)
        answer = {**failure.as_result(), **result.answer} if failure else result.answer
        return Result(answer, result.actions, changed)

    # Deciding

    def _decide(self, stored: Record | None, owner: Owner | None) -> _Context:
        """List the servers, and decide which of them go, and in which order."""
        options, now = self._options, time.time()
        users = candidates.list_users(self._hub, self._policy, ("active",), options.page_size, options.concurrency)
        servers = {(user.name, name): server for user in users for name, server in (user.servers or {}).items()}
        decided = [
            decision
            for _user, decisions in candidates.decide_servers(users, self._policy, now)
            for decision in decisions
        ]
        going = sort_decisions([decision for decision in decided if decision.has_to_go], options.order)
        ending, staying = list[Decision](), list[Decision]()
        for decision in (decision for decision in decided if not decision.has_to_go):
            server = servers.get(_key(decision))
            if server is not None and server.pending == "stop":
                ending.append(replace(decision, keep_code="", reason="it is stopping"))
            else:
                staying.append(decision)
        base = stored if stored is not None and not stored.is_finished else None
        left = base.entries if base else {}
        is_kept = dict.fromkeys(servers, False) | {_key(decision): True for decision in staying}
        entries = add_drain(
            left.values(),
            [Entry.from_server(servers[_key(decision)]) for decision in going],
            is_kept,
            [user.name for user in users if user.servers is None],
            write_time(now),
        )
        return _Context(
            [*going, *ending, *staying],
            servers,
            stored,
            self._make_record(stored, base, entries),
            {key: entry for key, entry in left.items() if key in servers},
            find_unreadable(owner),
        )

    def _make_record(self, stored: Record | None, base: Record | None, entries: Mapping[Key, Entry]) -> Record:
        """Return the record to write. It is ``stored`` itself if there is nothing new to write.

        ``base`` is ``stored`` if it is not finished. Raises `Conflict` if that is the record of another hub.
        """
        if base is not None:
            check_hub(self._hub, base, self._file.path, self._options.concurrency)
        if stored is not None and (entries == base.entries if base else not entries):
            return stored
        drained = base.drained if base else write_time(time.time())
        return Record(drained, self._hub.url, self._hub.version, entries)

    def _find_refusal(self, number: int, total: int, owner: Owner | None) -> HubError | None:
        """Return why a drain may not stop ``number`` of ``total`` servers, or None."""
        limit = self._options.max_stops
        excess = limit.find_excess(number, total, "servers") if limit is not None else None
        return excess or (candidates.find_missing_scope(owner, *candidates.TO_STOP) if number else None)

    # Stopping

    def _stop(self, run: _Run, decision: Decision) -> Decision:
        """Stop a server, and record what has happened. Return the decision that holds in the end."""
        key = _key(decision)
        try:
            after = self._stop_or_wait(run, key, decision)
        except HubError as error:
            run.ledger.change(key, state=FAILED, reason=error.message)
            raise
        previous = run.context.previous.get(key)
        # A server that an earlier drain was about to stop, and that has gone meanwhile, was stopped by that drain. A
        # hub that restarts may end servers, too. Nobody else starts these again.
        was_ended = previous is not None or self._hub.was_away_since(self._start_time)
        if after.has_to_go or (after.keep_code == "gone" and was_ended):
            run.ledger.change(key, state=STOPPED, stopped_at=write_time(time.time()), reason=None)
        elif previous is not None and previous.state == STOPPED:
            run.ledger.put(previous)  # an earlier drain has stopped it, and nobody has restored it
        else:
            run.ledger.drop(key)
        return after

    def _stop_or_wait(self, run: _Run, key: Key, decision: Decision) -> Decision:
        """Stop a server unless it may stay, or wait until somebody else has stopped it."""
        deadline, server = time.monotonic() + self._options.stop_timeout, run.context.servers[key]
        if server.pending == "stop":
            return self._wait_for_others(server, decision, deadline)
        if self._options.recheck:
            found = self._look_again(key, decision, deadline)
            if isinstance(found, Decision):
                return found
            server = found
        if _hides_options(server):
            server = self._wait_for_options(server, deadline)
        if server.state == "stopped":
            return keep_as_gone(decision)
        entry = Entry.from_server(server)
        if not entry.is_same_start(Entry.from_server(run.context.servers[key])):
            # Somebody has started it again since it was listed. The file must have its options before it stops.
            run.ledger.put(entry)
            run.ledger.save()
        return self._send_stop(run, key, decision, server, deadline)

    def _look_again(self, key: Key, decision: Decision, deadline: float) -> Server | Decision:
        """Return the server as it is now if it still has to go, or else the decision on it."""
        hub = self._hub.with_deadline(deadline)
        [user] = poll_until(lambda: (candidates.read_user(hub, key[0]),), deadline)
        server = (user.servers or {}).get(key[1]) if user else None
        if user is None or server is None or server.state == "stopped":
            return keep_as_gone(decision)
        if server.pending == "stop":
            return self._wait_for_others(server, decision, deadline)
        second = join_decisions(decision, self._policy.decide_server(user, server, time.time()))
        return server if second.has_to_go else second

    def _wait_for_others(self, server: Server, decision: Decision, deadline: float) -> Decision:
        """Wait until a server that is already stopping has stopped. Raises `Timeout`."""
        timeout, option = self._options.stop_timeout, "stop_timeout"
        try:
            stop.wait_until_stopped(self._hub, server.user, server.name, timeout, deadline, option, server.started)
        except NotFound:
            pass  # the user does not exist any more, so the server does not either
        return keep_as_gone(decision)

    def _wait_for_options(self, server: Server, deadline: float) -> Server:
        """Return a starting server when the hub shows the options of its start, or as it is at the ``deadline``."""
        hub, last = self._hub.with_deadline(deadline), [server]

        def look() -> bool:
            last[0] = model.read(hub, server.user, server.name)
            return not _hides_options(last[0])

        poll_until(look, deadline)
        return last[0]

    def _send_stop(self, run: _Run, key: Key, decision: Decision, server: Server, deadline: float) -> Decision:
        """Tell the hub to stop the server, and wait until it has. Return the decision that holds in the end."""
        run.requested.add(key)
        try:
            stopped = stop.stop(self._hub, *key, max(1.0, deadline - time.monotonic()), server.started)
        except NotFound:
            return keep_as_gone(decision)
        except Timeout as error:
            raise error.with_hint("Check the hub's log, or wait longer with stop_timeout.") from None
        except HubError as error:
            if not is_hub_away(error) and (error.status or 0) < 500:
                run.requested.discard(key)
            raise
        if stopped.state != "stopped":
            return replace(decision, keep_code="gone", reason="somebody has started it again meanwhile")
        return decision

    def _list_started(self, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
        """Return the servers that run now although this drain has neither kept them nor failed to stop them."""
        known = {
            _key(outcome.decision)
            for outcome in outcomes
            if outcome.error or not (outcome.decision.has_to_go or outcome.decision.keep_code == "gone")
        }
        users = self._hub.list_users(page_size=self._options.page_size, state="active")
        return [
            {"user": user.name, "server_name": name, "state": server.state, "started": server.started}
            for user in users
            for name, server in (user.servers or {}).items()
            if (user.name, name) not in known and server.pending != "stop"
        ]

    # The result

    def _make_result(
        self,
        outcomes: Sequence[Outcome],
        started: Sequence[Mapping[str, Any]],
        context: _Context,
        record: Record,
        would: str,
    ) -> Result:
        """Return the result of a drain. ``would`` is "would be " for a prediction, and empty for what was done."""
        done = [outcome.decision for outcome in outcomes if outcome.is_done]
        kept = [outcome.decision for outcome in outcomes if not outcome.decision.has_to_go and not outcome.error]
        ended = [decision for decision in kept if decision.keep_code == "gone"]
        kept = [decision for decision in kept if decision.keep_code != "gone"]
        entries, failures = record.entries, describe_failures(outcomes)
        seconds = round(time.monotonic() - self._start_time, 3)
        counts = {
            "servers": len(outcomes),
            "drained": len(done),
            "kept": len(kept),
            "gone": len(ended),
            "failed": len(failures),
            "started_meanwhile": len(started),
            "to_restore": sum(not entry.is_finished for entry in entries.values()),
        }
        answer = {
            "path": self._file.path,
            "drained": [
                {
                    **each.as_item(),
                    "user_options": hide_secrets(entries[_key(each)].user_options) if _key(each) in entries else None,
                }
                for each in done
            ],
            "kept": [{**each.as_item(), "keep_code": each.keep_code} for each in kept],
            "kept_count": dict(sorted(Tally(each.keep_code for each in kept).items())),
            "gone": [each.as_item() for each in ended],
            "started_meanwhile": [*started],
            "failures": failures,
            "unreadable": [*context.unreadable],
            "counts": counts,
            "seconds": seconds,
            "summary": _summarize(counts, would, seconds),
        }
        return Result(answer, tuple(Action("stop", title_of(each), each.reason) for each in done))


def find_unreadable(owner: Owner | None) -> list[dict[str, str]]:
    """Return which servers a drain cannot see, because the token may list or read only some of them.

    ``owner`` is the token's owner, None if the hub does not show it. Each item has ``name``, ``scope`` and ``message``.
    """
    if owner is None or owner.scopes is None:
        return []
    return [
        {"name": name, "scope": scope, "message": f"The token may read only some of the {name}. Other servers may run."}
        for name, scope in (("servers", READ_SERVERS), ("users", "list:users"))
        if scope not in owner.scopes
    ]


def sort_decisions(decisions: Sequence[Decision], order: str) -> list[Decision]:
    """Return the decisions in one of the `ORDERS`. Servers of which the hub does not show the time come last."""

    def rank(decision: Decision) -> tuple[float, str, str]:
        duration = {"idle_first": decision.idle, "oldest_first": decision.age}.get(order, 0.0)
        return (inf if duration is None else -duration, *_key(decision))

    return sorted(decisions, key=rank)


def write_time(seconds: float) -> str:
    """Return seconds since 1970 as a time of the record, which looks like those of a hub."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _key(decision: Decision) -> Key:
    return decision.user, str(decision.server_name)


def _predict(decision: Decision, context: _Context) -> Outcome:
    """Return what is going to happen to a server if nothing changes."""
    server = context.servers.get(_key(decision))
    is_ending = decision.has_to_go and server is not None and server.pending == "stop"
    return Outcome(keep_as_gone(decision) if is_ending else decision)


def _hides_options(server: Server) -> bool:
    """Return whether the hub may still show the options of an earlier start.

    A hub sets ``started`` after the options, and forgets it when a server stops (``User.spawn`` and ``User.stop`` of
    its user.py).
    """
    return server.pending == "spawn" and server.started is None


def _summarize(counts: Mapping[str, int], would: str, seconds: float) -> str:
    parts = [
        f"{counts['drained']} of {counts['servers']} servers {would}drained",
        f"{counts['kept']} kept",
        f"{counts['gone']} gone",
        f"{counts['failed']} failed",
        *([] if would else [f"{counts['started_meanwhile']} started meanwhile"]),
        f"{counts['to_restore']} to restore",
    ]
    return f"{', '.join(parts)}, in {seconds:.1f} s"
