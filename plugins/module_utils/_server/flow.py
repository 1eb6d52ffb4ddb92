# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_server`: servers to their desired states, many at a time, with the truth about each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from .._hub.client import HubClient
from .._hub.errors import (
    Conflict,
    HubError,
    Invalid,
    MissingScope,
    NotFound,
    RateLimited,
)
from .._hub.threads import SPREAD, each
from .._path.plan import Many, Plan, Report, repeated
from .._path.progress import Counter
from . import model as _servers
from . import stop as _stopping
from .claim import Claim
from .model import Server, ServerSpec
from .start import Spawn

_DONE = {"started": "ready", "restarted": "ready", "stopped": "stopped", "absent": "absent"}
"""The state that a server has in the end, by the one that is asked for."""

_REFUSALS = (Conflict, Invalid, MissingScope, NotFound, RateLimited)
"""Failures of a request that has changed nothing."""

_QUICK = 1.0
"""Seconds. A server that has not answered for longer was given its time."""

Present = Callable[[str], dict[str, Server]]
"""What the hub has of a user's servers, by name. Raises `HubError`."""


class ServersFlow:
    """The declared servers, worked concurrently."""

    def __init__(self, hub: HubClient, wanted: Sequence[ServerSpec], report: Report, *, concurrency: int) -> None:
        twice = repeated([one.title for one in wanted])
        if twice is not None:
            raise Invalid(f"The {twice} is declared twice.", "Declare each server once.")
        self._hub = hub
        self._wanted = wanted
        self._report = report
        self._concurrency = concurrency
        self._found: dict[str, dict[str, Server] | HubError] = {}
        self._items = [ServerFlow(hub, one, self._present, report if len(wanted) == 1 else None) for one in wanted]
        self._many = Many("servers", self._items, concurrency, SPREAD)

    def plan(self) -> Plan:
        if any(one.runs and one.wait for one in self._wanted):
            self._hub.connection.check_servers()
        # A user's servers are one request, however many of them are declared.
        users = list(dict.fromkeys(one.user for one in self._wanted))
        try:
            self._hub.dialect  # noqa: B018 - asked for once, before many ask for it at the same time
        except HubError as error:
            self._found = dict.fromkeys(users, error)
        else:
            self._found = dict(zip(users, each(self._read, users, self._concurrency), strict=True))
        return self._many.plan()

    def apply(self, plan: Plan) -> dict[str, Any]:
        result = self._applied(plan)
        # One that turns out to be there already, or that the hub refuses, has been planned and not done.
        pairs = zip(plan.parts, result["servers"], strict=True)
        done = [part.actions for part, item in pairs if isinstance(part, Plan) and item["changed"]]
        return {**result, "actions": [action.shown() for actions in done for action in actions]}

    def _applied(self, plan: Plan) -> dict[str, Any]:
        if len(self._items) < 2:
            return self._many.apply(plan)
        words = {_DONE[one.state] for one in self._wanted}
        lost = sum(isinstance(part, HubError) for part in plan.parts)
        with Counter(
            self._report, len(self._items), words.pop() if len(words) == 1 else "done", failed=lost
        ) as counter:
            for item in self._items:
                item.counter = counter
            return self._many.apply(plan)

    def _read(self, user: str) -> dict[str, Server] | HubError:
        try:
            return _servers.read_all(self._hub, user)
        except HubError as error:
            return error

    def _present(self, user: str) -> dict[str, Server]:
        found = self._found[user]
        if isinstance(found, HubError):
            raise found.with_message(found.message)  # of several servers of the user, each has a failure of its own
        return found


class ServerFlow:
    """One server to its desired state."""

    def __init__(self, hub: HubClient, wanted: ServerSpec, present: Present, report: Report | None) -> None:
        self._hub = hub
        self._wanted = wanted
        self._present = present
        self._report = report
        self._began = time.monotonic()
        self._spent = 0.0
        """Seconds that the plan has taken of its time."""
        self._found = _servers.none_of(wanted.user, wanted.name)
        self._spawn: Spawn | None = None
        self._stopped = False
        """Whether this task has stopped it."""
        self.name = wanted.title
        self.counter: Counter | None = None

    def unknown(self) -> dict[str, Any]:
        return self._answer(self._found, state="failed")

    def plan(self) -> Plan:
        """Start what does not run, stop what does; what is under way already is only waited for."""
        wanted, began = self._wanted, time.monotonic()
        deadline = began + wanted.wait_timeout
        try:
            found = self._found = self._present(wanted.user).get(wanted.name) or self._found
            if found.pending == "check":
                # A hub that was started looks whether its servers have outlived that. What it finds is planned for.
                _stopping.checked(self._hub, wanted.user, wanted.name, deadline)
                found = self._found = _servers.read(self._hub, wanted.user, wanted.name)
            # What the hub shows of options is compared with what it would show of these.
            kept = self._hub.dialect.kept(wanted.user_options, wanted.options_format)
            wanted = replace(wanted, user_options=kept)
            asks = wanted.state == "started" and found.state == "ready"
            # Half of the time is left for the start that follows where it does not answer.
            answers = not asks or self._answers(found.url, (time.monotonic() + deadline) / 2)
            self._spent = time.monotonic() - began
            actions = _servers.steps(wanted, found, answers, self._hub.dialect.cancels_starts)
        except HubError as error:
            error.result = self._answer(self._found, state="failed", reason=error.message)
            raise
        after = _servers.foreseen(wanted, found, {action.verb for action in actions})
        return Plan(actions, self._picture(found), self._picture(after), predicted=self._answer(after))

    def apply(self, plan: Plan) -> dict[str, Any]:
        self._began = time.monotonic() - self._spent
        with self.counter.one() if self.counter else nullcontext():
            try:
                answer = self._answer(self._run(plan) if self._wanted.runs else self._end(plan))
                return {**answer, "changed": self._did()} if self._wanted.runs else answer
            except HubError as error:
                did = self._did() if self._wanted.runs else plan.changed
                changed = self._stopped or (did and not _is_refused(error))
                last = self._spawn.last if self._spawn is not None else self._found
                told = self._answer(last, state=self._state_after(error), reason=error.reason or error.message)
                error.result = {"changed": changed, **told, **error.result}
                raise

    def _answers(self, url: str, deadline: float) -> bool:
        """Whether the server answers. A quick no, such as a proxy's that is busy, is not believed at once."""
        hub, asked = self._hub.with_deadline(deadline), time.monotonic()
        if hub.answers(url):
            return True
        if time.monotonic() - asked > _QUICK:
            return False
        time.sleep(_servers.PAUSE)
        return hub.answers(url)

    def _run(self, plan: Plan) -> Server:
        wanted, found = self._wanted, self._found
        if plan.does("stop"):
            found = self._stop()
        # One that starts already is compared, too: whoever began that may have asked for other options.
        ran = self._found.state == "ready" and not plan.does("stop")
        options = self._hub.dialect.kept(wanted.user_options, wanted.options_format)
        claim = Claim(options, found, asks=plan.does("start") or not ran, ran=ran)
        self._spawn = Spawn(self._hub, wanted, found, self._say, self._began, claim)
        # A restart is done where somebody else has started the server again since.
        if plan.does("start") and not _stopping.is_newer(found, self._found.started):
            self._spawn.ask()
        return self._spawn.watch() if wanted.wait else self._spawn.result()

    def _did(self) -> bool:
        """Whether this task has stopped or started the server that is to run."""
        return self._stopped or (self._spawn is not None and self._spawn.did_start)

    def _end(self, plan: Plan) -> Server:
        """Stop or remove it; what is stopping already is only waited for."""
        wanted, hub = self._wanted, self._hub
        if wanted.wait and plan.does("stop"):
            return self._stop()
        if wanted.wait and plan.does("remove"):
            self._say("removing")
            return _stopping.remove(hub, wanted.user, wanted.name, wanted.wait_timeout)
        if plan.changed:
            return _stopping.begin_stop(hub, self._found, wanted.wait_timeout, remove=plan.does("remove"))
        if wanted.wait and self._found.state != "stopped":
            self._say("stopping")
            return _stopping.wait_until_stopped(hub, wanted.user, wanted.name, wanted.wait_timeout)
        return self._found

    def _stop(self) -> Server:
        wanted = self._wanted
        self._say("stopping")
        since = self._found.started if wanted.runs else None
        gone = _stopping.stop(self._hub, wanted.user, wanted.name, wanted.wait_timeout, since)
        self._stopped = not _stopping.is_newer(gone, since)
        return gone

    def _say(self, text: str) -> None:
        if self._report is not None:
            self._report(f"{self.name}: {text}")

    def _state_after(self, error: HubError) -> str:
        """The state of one that did not come to the desired one."""
        if self._wanted.runs and not _is_refused(error) and self._spawn is not None:
            return "pending" if self._spawn.last.pending else "failed"
        if self._wanted.runs:
            return "failed"
        # Whatever went wrong later, such as a token that expired, it had been told to stop.
        return self._found.state if _is_refused(error) else "pending"

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
            "seconds": round(time.monotonic() - self._began, 3),
            "reason": reason,
            "events": self._spawn.events if self._spawn else [],
            "user_options": server.user_options,
        }


def _is_refused(error: HubError) -> bool:
    """Whether the request to change something has changed nothing. A refused look comes after it, and says nothing."""
    return isinstance(error, _REFUSALS) and error.method != "GET"
