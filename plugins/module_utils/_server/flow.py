# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_server`: servers to their desired states, many at a time, with the truth about each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
)
from .._hub.models import Server
from .._path.batch import Batch, Item
from .._path.plan import Plan, Report, Result, find_duplicate
from .._path.workers import SPREAD, catch_failures, map_concurrently
from . import model, stop
from .claim import Claim
from .model import ServerSpec
from .start import Spawn

_DONE = {"started": "ready", "restarted": "ready", "stopped": "stopped", "absent": "absent"}
"""The state that a server has in the end, by the one that is asked for."""

_REFUSALS = (Conflict, Invalid, MissingScope, NotFound, RateLimited)
"""Failures of a request that has changed nothing."""

_QUICK = 1.0
"""Seconds. A server that has not answered for longer was given its time."""


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
        """Read them. A user's failure is raised by `servers_of`. Raises `Invalid` if no server can be reached."""
        if any(spec.runs and spec.wait for spec in self._specs):
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
        """Return the user's servers by name. Raises `HubError`."""
        found = self._servers[user]
        if isinstance(found, HubError):
            raise found
        return found


def server_batch(hub: HubClient, specs: Sequence[ServerSpec], report: Report, *, concurrency: int) -> Batch:
    """Return the flow of `hub_server`: the declared servers, at most ``concurrency`` at a time.

    Raises `Invalid` for a server that is declared twice.
    """
    duplicate = find_duplicate([spec.title for spec in specs])
    if duplicate is not None:
        raise Invalid(f"The {duplicate} is declared twice.", "Declare each server once.")
    present = ServerList(hub, specs, concurrency)
    words = {_DONE[spec.state] for spec in specs}
    return Batch(
        "servers",
        [ServerFlow(hub, spec, present.servers_of, report if len(specs) == 1 else None) for spec in specs],
        concurrency,
        SPREAD,
        prepare=present.read,
        report=report,
        word=words.pop() if len(words) == 1 else "done",
    )


@dataclass(frozen=True)
class _Found:
    """What the plan of one server has found."""

    server: Server
    options: dict[str, Any] | None
    """The desired user_options as the hub is going to show them."""
    seconds: float
    """How long it took to find out, which counts as part of the server's time."""


class ServerFlow(Item):
    """One server to its desired state."""

    def __init__(
        self,
        hub: HubClient,
        wanted: ServerSpec,
        servers_of: Callable[[str], dict[str, Server]],
        report: Report | None,
    ) -> None:
        self._hub = hub
        self._wanted = wanted
        self._servers_of = servers_of
        self._report = report
        self._start_time = time.monotonic()
        self._spawn: Spawn | None = None
        self._has_stopped = False
        """Whether this task has stopped the server."""
        self.name = wanted.title

    def initial_answer(self) -> dict[str, Any]:
        return self._answer(model.none_of(self._wanted.user, self._wanted.name), state="failed")

    def plan(self) -> Plan:
        """Start what does not run, and stop what runs. What is under way already is only waited for."""
        wanted, start = self._wanted, time.monotonic()
        deadline = start + wanted.wait_timeout
        found = model.none_of(wanted.user, wanted.name)
        try:
            found = self._servers_of(wanted.user).get(wanted.name) or found
            if found.pending == "check":
                # A hub that starts checks whether its servers have survived. The plan is for what it finds.
                stop.checked(self._hub, wanted.user, wanted.name, deadline)
                found = model.read(self._hub, wanted.user, wanted.name)
            # The hub's options are compared with the options that it would show after a start with the desired ones.
            options = self._hub.dialect.predict_user_options(wanted.user_options, wanted.options_format)
            shown = replace(wanted, user_options=options)
            must_answer = wanted.state == "started" and found.state == "ready"
            # Half of the time is left for the start that follows if it does not answer.
            answers = not must_answer or self._answers(found.url, (time.monotonic() + deadline) / 2)
            actions = model.steps(shown, found, answers, self._hub.dialect.may_cancel_starts)
        except HubError as error:
            raise error.with_result(self._answer(found, state="failed", reason=error.message)) from None
        after = model.foreseen(shown, found, {action.verb for action in actions})
        return Plan(
            actions,
            self._picture(found),
            self._picture(after),
            predicted=self._answer(after),
            context=_Found(found, options, time.monotonic() - start),
        )

    def apply(self, plan: Plan) -> Result:
        found: _Found = plan.context
        self._start_time = time.monotonic() - found.seconds
        runs = self._wanted.runs
        try:
            server = self._run(plan) if runs else self._end(plan)
        except HubError as error:
            has_acted = self._has_started_or_stopped() if runs else plan.changed
            changed = self._has_stopped or (has_acted and not _is_refused(error))
            last = self._spawn.last if self._spawn is not None else found.server
            answer = self._answer(
                last, state=self._state_after(error, found.server), reason=error.reason or error.message
            )
            result = {"changed": changed, **answer, **error.result}
            raise error.with_result(result, plan.actions if result["changed"] else ()) from None
        changed = self._has_started_or_stopped() if runs else plan.changed
        # A server that turns out to be in its state already, or that the hub refuses, was planned for in vain.
        return Result(self._answer(server), plan.actions if changed else (), changed)

    def _answers(self, url: str, deadline: float) -> bool:
        """Whether the server answers. A quick no, such as a proxy's that is busy, is not believed at once."""
        server, start = self._hub.with_deadline(deadline).server(url, self.name), time.monotonic()
        if server.answers():
            return True
        if time.monotonic() - start > _QUICK:
            return False
        time.sleep(polling.PAUSE)
        return server.answers()

    def _run(self, plan: Plan) -> Server:
        wanted, before = self._wanted, plan.context.server
        found = self._stop(before) if plan.has("stop") else before
        # One that starts already is compared, too: whoever began that may have asked for other options.
        ran = before.state == "ready" and not plan.has("stop")
        claim = Claim(plan.context.options, found, asks=plan.has("start") or not ran, ran=ran)
        self._spawn = Spawn(self._hub, wanted, found, self._say, self._start_time, claim)
        # A restart is done where somebody else has started the server again since.
        if plan.has("start") and not stop.is_newer(found, before.started):
            self._spawn.ask()
        return self._spawn.watch() if wanted.wait else self._spawn.result()

    def _has_started_or_stopped(self) -> bool:
        """Return whether this task has stopped or started the server that is to run."""
        return self._has_stopped or (self._spawn is not None and self._spawn.did_start)

    def _end(self, plan: Plan) -> Server:
        """Stop or remove it; what is stopping already is only waited for."""
        wanted, hub = self._wanted, self._hub
        found: Server = plan.context.server
        if wanted.wait and plan.has("stop"):
            return self._stop(found)
        if wanted.wait and plan.has("remove"):
            self._say("removing")
            return stop.remove(hub, wanted.user, wanted.name, wanted.wait_timeout)
        if plan.changed:
            return stop.begin_stop(hub, found, wanted.wait_timeout, remove=plan.has("remove"))
        if wanted.wait and found.state != "stopped":
            self._say("stopping")
            return stop.wait_until_stopped(hub, wanted.user, wanted.name, wanted.wait_timeout)
        return found

    def _stop(self, found: Server) -> Server:
        wanted = self._wanted
        self._say("stopping")
        since = found.started if wanted.runs else None
        server = stop.stop(self._hub, wanted.user, wanted.name, wanted.wait_timeout, since)
        self._has_stopped = not stop.is_newer(server, since)
        return server

    def _say(self, text: str) -> None:
        if self._report is not None:
            self._report(f"{self.name}: {text}")

    def _state_after(self, error: HubError, found: Server) -> str:
        """The state of one that did not come to the desired one."""
        if self._wanted.runs and not _is_refused(error) and self._spawn is not None:
            return "pending" if self._spawn.last.pending else "failed"
        if self._wanted.runs:
            return "failed"
        # Whatever went wrong later, such as a token that expired, it had been told to stop.
        return found.state if _is_refused(error) else "pending"

    def _state(self, server: Server) -> str:
        return "absent" if self._wanted.state == "absent" and not server.exists else server.state

    def _picture(self, server: Server) -> dict[str, Any]:
        picture = {"user": server.user, "server_name": server.name, "state": self._state(server)}
        return picture if self._wanted.user_options is None else {**picture, "user_options": server.user_options}

    def _answer(self, server: Server, *, state: str | None = None, reason: str | None = None) -> dict[str, Any]:
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
    """Whether the request to change something has changed nothing. A refused look comes after it, and says nothing."""
    return isinstance(error, _REFUSALS) and error.method != "GET"
