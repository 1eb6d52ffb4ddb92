# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of `hub_server`: takes servers to their desired states, many at a time, and reports on each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .._hub import polling
from .._hub.client import HubClient
from .._hub.errors import (
    Conflict,
    HubError,
    Invalid,
    MissingScope,
    NotFound,
    RateLimited,
    SpawnFailed,
)
from .._hub.models import Server
from .._path.batch import Batch, Item, Outcomes
from .._path.plan import Plan, Report, Result, find_duplicate
from .._path.workers import SPREAD, catch_failures, map_concurrently
from . import model, stop
from .claim import Claim
from .gate import StartGate
from .model import ServerSpec, StartOptions
from .start import Spawn

_FINAL_STATES = {"started": "ready", "restarted": "ready", "stopped": "stopped", "absent": "absent"}
"""For each desired state, the state that the server has in the end."""

_REFUSALS = (Conflict, Invalid, MissingScope, NotFound, RateLimited)
"""Failures of requests that have changed nothing."""

_QUICK_FAILURE = 1.0
"""Seconds. A probe that fails faster is repeated once: the answer may be that of a proxy that is busy."""


class ServerList:
    """The servers of all declared users, as the hub shows them.

    Reading a user's servers is one request, however many of them are declared.
    """

    def __init__(self, hub: HubClient, specs: Sequence[ServerSpec], concurrency: int) -> None:
        self._hub = hub
        self._specs = specs
        self._concurrency = concurrency
        self._servers: dict[str, dict[str, Server] | HubError] = {}

    def read(self) -> None:
        """Read the servers. `servers_of` raises the failure of a user. Raises `Invalid` if no server can be reached."""
        if any(spec.is_to_run and spec.wait for spec in self._specs):
            self._hub.connection.check_servers()
        users = list(dict.fromkeys(spec.user for spec in self._specs))
        try:
            self._hub.read_version()
        except HubError as error:
            self._servers = dict.fromkeys(users, error)
        else:
            read = catch_failures(partial(model.read_all, self._hub))
            self._servers = dict(zip(users, map_concurrently(read, users, self._concurrency), strict=True))

    def servers_of(self, user: str) -> dict[str, Server]:
        """Return the user's servers by name. Raises the `HubError` with which reading them failed."""
        servers = self._servers[user]
        if isinstance(servers, HubError):
            raise servers
        return servers


def server_batch(hub: HubClient, specs: Sequence[ServerSpec], report: Report, *, concurrency: int) -> Batch:
    """Return the flow of `hub_server`: the declared servers, at most ``concurrency`` at a time.

    All starts go through one gate. Raises `Invalid` for a server that is declared twice.
    """
    duplicate = find_duplicate([spec.title for spec in specs])
    if duplicate is not None:
        raise Invalid(f"The {duplicate} is declared twice.", "Declare each server once.")
    present = ServerList(hub, specs, concurrency)
    final_states = {_FINAL_STATES[spec.state] for spec in specs}
    gate = StartGate(report if len(specs) > 1 else None)
    start_time = time.monotonic()
    return Batch(
        "servers",
        [ServerFlow(hub, spec, present.servers_of, gate, report if len(specs) == 1 else None) for spec in specs],
        concurrency,
        SPREAD,
        prepare=present.read,
        review=partial(_look_again, hub, specs, start_time, concurrency),
        report=report,
        word=final_states.pop() if len(final_states) == 1 else "done",
    )


def _look_again(
    hub: HubClient, specs: Sequence[ServerSpec], start_time: float, concurrency: int, outcomes: Outcomes
) -> Outcomes:
    """Return the outcomes after a last look at the servers, if the hub was away since ``start_time``.

    A hub that restarts may end servers that this task has just seen run.
    """
    ready = [
        isinstance(outcome, Result) and spec.is_to_run and spec.wait and outcome.answer.get("state") == "ready"
        for spec, outcome in zip(specs, outcomes, strict=True)
    ]
    if not any(ready) or not hub.was_away_since(start_time):
        return outcomes
    users = list(dict.fromkeys(spec.user for spec, is_ready in zip(specs, ready, strict=True) if is_ready))
    read = catch_failures(partial(model.read_all, hub))
    found = dict(zip(users, map_concurrently(read, users, concurrency), strict=True))
    reviewed = list[Result | HubError]()
    for spec, outcome, is_ready in zip(specs, outcomes, ready, strict=True):
        servers = found.get(spec.user) if is_ready else None
        server = servers.get(spec.name) if isinstance(servers, dict) else None
        if isinstance(outcome, Result) and isinstance(servers, dict) and (server is None or server.state == "stopped"):
            error = SpawnFailed(
                f"The {spec.title} was ready and has stopped again. The hub was away meanwhile.", "Run this again."
            )
            known = {"changed": outcome.changed, "state": "failed", "url": None, "reason": error.message}
            outcome = error.with_result({**outcome.answer, **known}, outcome.actions)
        reviewed.append(outcome)
    return reviewed


@dataclass(frozen=True)
class _Context:
    """What the plan of one server passes to `ServerFlow.apply`."""

    server: Server
    """The server as the plan has found it."""
    options: StartOptions
    seconds: float
    """How long the plan took. This is part of the server's time."""


class ServerFlow(Item):
    """Takes one server to its desired state.

    ``servers_of`` returns the servers of a user by name, and raises `HubError`. ``gate`` is that of the whole task.
    ``report`` takes the progress, if the task shows it for this server.
    """

    def __init__(
        self,
        hub: HubClient,
        wanted: ServerSpec,
        servers_of: Callable[[str], dict[str, Server]],
        gate: StartGate,
        report: Report | None,
    ) -> None:
        self._hub = hub
        self._wanted = wanted
        self._servers_of = servers_of
        self._gate = gate
        self._report = report
        self._start_time = time.monotonic()
        self._spawn: Spawn | None = None
        self._spawn_lock = threading.Lock()
        """Held while `_spawn` is set, so that no start begins after `cancel`."""
        self._is_cancelled = False
        self._has_stopped = False
        """Whether this task has stopped the server."""
        self.name = wanted.title

    def initial_answer(self) -> dict[str, Any]:
        return self._answer(model.unlisted_server(self._wanted.user, self._wanted.name), state="failed")

    def plan(self) -> Plan:
        """Plan to start a server that does not run, or to stop one that runs. What is pending needs no action."""
        wanted, start_time = self._wanted, time.monotonic()
        deadline = start_time + wanted.wait_timeout
        server = model.unlisted_server(wanted.user, wanted.name)
        try:
            server = self._servers_of(wanted.user).get(wanted.name) or server
            if server.pending == "check":
                # A hub that starts checks whether its servers have survived. The plan depends on the outcome.
                stop.wait_for_check(self._hub, wanted.user, wanted.name, deadline)
                server = model.read(self._hub, wanted.user, wanted.name)
            options = StartOptions.of_spec(wanted, self._hub.dialect)
            must_answer = wanted.state == "started" and server.state == "ready"
            # Half of the time is for the probe, and half for the start that follows if the server does not answer.
            has_answered = not must_answer or self._answers(server.url, (time.monotonic() + deadline) / 2)
            actions = model.plan_actions(
                wanted,
                server,
                options.shown,
                has_answered=has_answered,
                can_cancel_starts=self._hub.dialect.may_cancel_starts,
            )
        except HubError as error:
            raise error.with_result(self._answer(server, state="failed", reason=error.message)) from None
        after = model.predict_server(wanted, server, options.shown, actions)
        return Plan(
            actions,
            self._describe(server),
            self._describe(after),
            predicted=self._answer(after),
            context=_Context(server, options, time.monotonic() - start_time),
        )

    def apply(self, plan: Plan) -> Result:
        context: _Context = plan.context
        self._start_time = time.monotonic() - context.seconds
        is_to_run = self._wanted.is_to_run
        try:
            server = self._run(plan, context) if is_to_run else self._stop_or_remove(plan, context.server)
        except HubError as error:
            has_acted = self._has_started_or_stopped() if is_to_run else plan.changed
            changed = self._has_stopped or (has_acted and not _is_refused(error))
            last = self._spawn.server if self._spawn is not None else context.server
            answer = self._answer(
                last, state=self._state_after(error, context.server), reason=error.reason or error.message
            )
            result = {"changed": changed, **answer, **error.result}
            if self._has_stopped and isinstance(error, RateLimited):
                error = error.with_message(f"{error.message} The task has stopped it before, so it does not run now.")
            raise error.with_result(result, plan.actions if result["changed"] else ()) from None
        # The task has done nothing if others were first, or if the hub says that the server already runs.
        changed = self._has_started_or_stopped() if is_to_run else plan.changed
        return Result(self._answer(server), plan.actions if changed else (), changed)

    def _answers(self, url: str, deadline: float) -> bool:
        """Return whether the server answers at its address. A probe that fails quickly is repeated once."""
        server, start_time = self._hub.with_deadline(deadline).server(url, self.name), time.monotonic()
        if server.answers():
            return True
        if time.monotonic() - start_time > _QUICK_FAILURE:
            return False
        time.sleep(polling.PAUSE)
        return server.answers()

    def _run(self, plan: Plan, context: _Context) -> Server:
        """Stop and start the server as planned, and return the running server. Raises `HubError`."""
        wanted, before = self._wanted, context.server
        server = self._stop(before) if plan.has("stop") else before
        ran_before = before.state == "ready" and not plan.has("stop")
        # Somebody else may have begun a pending start, with other options. So the options must match then, too.
        must_match = plan.has("start") or not ran_before
        claim = Claim(context.options.shown, server, must_match=must_match, ran_before=ran_before)
        with self._gate.take_place() as place:
            spawn = Spawn(
                self._hub,
                wanted,
                context.options,
                server,
                claim,
                start_time=self._start_time,
                place=place,
                report=self._report_line,
            )
            with self._spawn_lock:
                if self._is_cancelled:
                    raise Conflict(f"The start of the {wanted.title} was cancelled.", "Run the task again.")
                self._spawn = spawn
            # If somebody else has started the server again meanwhile, the restart is done.
            if plan.has("start") and not stop.is_newer(server, stop.find_start(before)):
                spawn.request()
            return spawn.wait_until_ready() if wanted.wait else spawn.read_result()

    def cancel(self, timeout: float) -> None:
        """Stop the server if this task has started it, within ``timeout`` seconds. Start nothing more.

        Another thread may call this at any time, while `apply` works or after it.
        """
        with self._spawn_lock:
            self._is_cancelled = True
        if self._spawn is not None:
            self._spawn.cancel(timeout)

    @property
    def has_started(self) -> bool:
        """Whether this task has started the server, as far as the task can know."""
        return self._spawn is not None and self._spawn.has_started

    @property
    def server(self) -> Server | None:
        """The server as the hub has shown it last to `apply`, or None if this task has followed no start."""
        return None if self._spawn is None else self._spawn.server

    @property
    def seconds_waited(self) -> float:
        """For how long the start of the server has waited until the hub had room for it."""
        return 0.0 if self._spawn is None else self._spawn.seconds_waited

    def _has_started_or_stopped(self) -> bool:
        """Return whether this task has stopped or started the server that is to run."""
        return self._has_stopped or self.has_started

    def _stop_or_remove(self, plan: Plan, server: Server) -> Server:
        """Stop or remove the server as planned, and return it. Only wait if the hub already stops it."""
        wanted, hub = self._wanted, self._hub
        if wanted.wait and plan.has("stop"):
            return self._stop(server)
        if wanted.wait and plan.has("remove"):
            self._report_line("removing")
            return stop.remove(hub, wanted.user, wanted.name, wanted.wait_timeout)
        if plan.changed:
            return stop.begin_stop(hub, server, wanted.wait_timeout, remove=plan.has("remove"))
        if wanted.wait and server.state != "stopped":
            self._report_line("stopping")
            return stop.wait_until_stopped(hub, wanted.user, wanted.name, wanted.wait_timeout)
        return server

    def _stop(self, server: Server) -> Server:
        """Stop the server and return it. If somebody else has restarted it first, return the running server."""
        wanted = self._wanted
        self._report_line("stopping")
        old_start = stop.find_start(server) if wanted.is_to_run else None
        stopped = stop.stop(self._hub, wanted.user, wanted.name, wanted.wait_timeout, old_start)
        self._has_stopped = not stop.is_newer(stopped, old_start)
        return stopped

    def _report_line(self, text: str) -> None:
        if self._report is not None:
            self._report(f"{self.name}: {text}")

    def _state_after(self, error: HubError, before: Server) -> str:
        """Return the state of a server that has not reached its desired state. ``before`` is the plan's server."""
        if self._wanted.is_to_run and not _is_refused(error) and self._spawn is not None:
            return "pending" if self._spawn.server.pending else "failed"
        if self._wanted.is_to_run:
            return "failed"
        # The hub has accepted the request to stop. Something else went wrong later, for example the token expired.
        return before.state if _is_refused(error) else "pending"

    def _state(self, server: Server) -> str:
        return "absent" if self._wanted.state == "absent" and not server.exists else server.state

    def _describe(self, server: Server) -> dict[str, Any]:
        """Return the server as the diff shows it."""
        shown = {"user": server.user, "server_name": server.name, "state": self._state(server)}
        return shown if self._wanted.user_options is None else {**shown, "user_options": server.user_options}

    def _answer(self, server: Server, *, state: str | None = None, reason: str | None = None) -> dict[str, Any]:
        """Return the server's part of the result. ``state`` replaces the state that the hub shows."""
        state = state or self._state(server)
        return {
            "user": server.user,
            "server_name": server.name,
            "state": state,
            "url": (server.url or None) if state == "ready" else None,
            "seconds": round(time.monotonic() - self._start_time, 3),
            "reason": reason,
            "events": self._spawn.events if self._spawn else [],
            "user_options": server.user_options,
        }


def _is_refused(error: HubError) -> bool:
    """Return whether the hub refused to write, and so has changed nothing. A refused GET does not prove that."""
    return isinstance(error, _REFUSALS) and error.method != "GET"
