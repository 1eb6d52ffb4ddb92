# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of users: start one, wait for it, stop it, and tell the truth about it.

This file is private to the collection: it may change without notice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.module_utils._background import in_background
from ansible_collections.hubops.jupyterhub.plugins.module_utils._client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._connection import api_path
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import (
    HubError,
    HubFailure,
    Invalid,
    MissingScope,
    NotFound,
    SpawnFailed,
    Timeout,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._plan import Action, Plan, Report
from ansible_collections.hubops.jupyterhub.plugins.module_utils._scopes import READ_SERVERS, START, STOP

_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
"""Seconds between two looks at a server: short at first, for the fast hubs, then kinder to the slow ones."""
_CLEANING = 60.0
"""Seconds that a cancelled spawn gets to be gone."""
_NO_REASON = "the hub gives no reason, which is how it reports that its own start_timeout passed"


@dataclass(frozen=True)
class Server:
    """A server as the hub shows it. ``pending`` is the hub's word for what is under way: spawn, stop, ... or None."""

    user: str
    name: str
    ready: bool
    pending: str | None
    url: str

    @property
    def state(self) -> str:
        if self.pending:
            return "pending"
        return "ready" if self.ready else "stopped"


@dataclass(frozen=True)
class Wanted:
    """The desired state of one server. ``wait_timeout`` is in seconds; ``user_options`` None leaves them to the hub."""

    user: str
    name: str
    state: str
    user_options: dict[str, Any] | None = None
    wait: bool = True
    wait_timeout: float = 300.0
    on_timeout: str = "stop"


def title(user: str, name: str) -> str:
    return f"server '{name}' of user '{user}'" if name else f"server of user '{user}'"


def read_all(hub: HubClient, user: str) -> dict[str, Server]:
    """The user's servers that are not stopped, by name. Raises `NotFound` for a user whom the hub does not show."""
    model = hub.get("users", user, scope=READ_SERVERS, what=f"user '{user}'")
    servers = model.get("servers")
    if not isinstance(servers, dict):
        # The hub leaves out what a token may not read; an empty mapping would mean that nothing runs.
        raise MissingScope(
            f"The token may not read the servers of user '{user}'.", f"Mint it with {READ_SERVERS}!user={user}."
        )
    return {name: _server(hub, user, name, found) for name, found in servers.items()}


def _server(hub: HubClient, user: str, name: str, model: dict[str, Any]) -> Server:
    url = hub.server_url(str(model.get("url") or ""))
    return Server(user, name, bool(model.get("ready")), model.get("pending"), url)


def read(hub: HubClient, user: str, name: str) -> Server:
    """One server; one that the hub does not list is stopped."""
    return read_all(hub, user).get(name) or Server(user, name, ready=False, pending=None, url="")


def _path(user: str, name: str) -> tuple[str, ...]:
    # A trailing slash after `servers` would mean the default server, which has an address of its own.
    return ("users", user, "servers", name) if name else ("users", user, "server")


def stop(hub: HubClient, user: str, name: str, timeout: float) -> None:
    """Stop a server, or cancel its start, and see it gone. Raises `Timeout` where it is not within ``timeout`` s."""
    deadline = time.monotonic() + timeout
    try:
        hub.write("DELETE", *_path(user, name), scope=STOP, what=title(user, name))
    except NotFound:
        pass  # a named server that never was, or that went meanwhile
    except Invalid:
        # JupyterHub 4 cannot cancel a start, and says 400 until it is over, one way or the other.
        if read(hub, user, name).state != "pending":
            raise
        _until(lambda: read(hub, user, name).state != "pending", deadline)
        if read(hub, user, name).state == "ready":
            hub.write("DELETE", *_path(user, name), scope=STOP, what=title(user, name))
    # Both 204 and 202 are looked after: the hub says 204 of stops that it has only begun, too.
    see_gone(hub, user, name, timeout)


def see_gone(hub: HubClient, user: str, name: str, timeout: float) -> None:
    """Wait until the server is stopped. Raises `Timeout` where it is not within ``timeout`` s."""
    if not _until(lambda: read(hub, user, name).state == "stopped", time.monotonic() + timeout):
        raise Timeout(
            f"The {title(user, name)} was told to stop and is still there after {timeout:g} s.",
            "Look into the hub's log, or wait longer with wait_timeout.",
        )


def _until(done: Callable[[], bool], deadline: float) -> bool:
    """Look until it is done, ever more slowly; False where the deadline comes first."""
    pause = _PAUSE
    while not done():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    return True


class ServerFlow:
    """`hub_server`: one server to its desired state."""

    def __init__(self, hub: HubClient, wanted: Wanted, report: Report) -> None:
        self._hub = hub
        self._wanted = wanted
        self._report = report
        self._what = title(wanted.user, wanted.name)
        self._began = time.monotonic()
        self._events: list[dict[str, Any]] = []
        self._asked = False
        """Whether this task has asked for the start: a server that ran before is not its to stop."""

    def plan(self) -> Plan:
        """Start what does not run, stop what does; what is under way already is only waited for."""
        wanted = self._wanted
        try:
            api_path(*_path(wanted.user, wanted.name))  # a name that cannot be is told before anything is asked
            found = self._read()
        except HubError as error:
            error.result = self._answer("failed", reason=error.message)
            raise
        start, why = False, "it is not running"
        if wanted.state == "started":
            if found.pending == "stop":
                start, why = True, "it is stopping"
            elif found.state == "ready" and not self._hub.answers(found.url):
                # A hub that is asked to start a server looks first whether it still runs, and does both right.
                start, why = True, "the hub says that it is ready, but it does not answer"
            else:
                start = found.state == "stopped"
        ends = wanted.state == "stopped" and found.state != "stopped" and found.pending != "stop"
        actions: tuple[Action, ...] = ()
        if start:
            actions = (Action("start", self._what, why),)
        elif ends:
            actions = (Action("stop", self._what, f"it is {found.state}"),)
        after = "ready" if wanted.state == "started" else "stopped"
        if not wanted.wait:
            after = "pending" if actions else found.state
        picture = {"user": wanted.user, "server_name": wanted.name}
        return Plan(
            actions,
            before={**picture, "state": found.state},
            after={**picture, "state": after},
            predicted=self._answer(after, url=found.url or None),
        )

    def apply(self, plan: Plan) -> dict[str, Any]:
        wanted = self._wanted
        self._began = time.monotonic()
        deadline = self._began + wanted.wait_timeout
        try:
            if wanted.state == "stopped":
                return self._stop(plan)
            return self._start(plan, deadline)
        except HubError as error:
            state = "failed" if wanted.state == "started" else "pending"
            told = self._answer(state, reason=error.reason or error.message)
            error.result = {"changed": plan.changed, **told, **error.result}
            raise

    def _stop(self, plan: Plan) -> dict[str, Any]:
        wanted, hub = self._wanted, self._hub
        if plan.before["state"] != "stopped":
            self._say("stopping")
        if plan.does("stop") and wanted.wait:
            stop(hub, wanted.user, wanted.name, wanted.wait_timeout)
        elif plan.does("stop"):
            hub.write("DELETE", *_path(wanted.user, wanted.name), scope=STOP, what=self._what)
        elif wanted.wait:
            see_gone(hub, wanted.user, wanted.name, wanted.wait_timeout)
        return self._answer(self._read().state)

    def _start(self, plan: Plan, deadline: float) -> dict[str, Any]:
        wanted = self._wanted
        posted: Future[None] | None = None
        if plan.does("start"):
            _until(lambda: self._read().pending != "stop", deadline)
            self._asked = plan.before["state"] != "ready"
            self._say("asked to start")
            # The hub holds a POST for up to 10 s (its slow_spawn_timeout); the messages are wanted meanwhile.
            posted = in_background(self._post)
            # The stream still tells of an earlier spawn that failed until the hub has taken up this one.
            _until(lambda: posted.done() or self._read().state != "stopped", deadline)
        if wanted.wait:
            return self._answer("ready", url=self._watch(posted, deadline).url)
        if posted is not None and posted.done():
            self._outcome(posted, deadline)
        found = self._read()
        return self._answer(found.state, url=found.url)

    def _post(self) -> None:
        wanted, hub = self._wanted, self._hub
        body = hub.dialect.body(wanted.user_options)
        hub.write("POST", *_path(wanted.user, wanted.name), scope=START, what=self._what, body=body)

    def _read(self) -> Server:
        return read(self._hub, self._wanted.user, self._wanted.name)

    def _watch(self, posted: Future[None] | None, deadline: float) -> Server:
        """Look at the server, and follow the progress stream between two looks, until it answers or has failed.

        Nothing but the server itself is believed: a POST's 201 can come while it is still pending (JupyterHub 6), and
        a stream that a DELETE ended closes with "ready".
        """
        pause, reason = 0.0, None
        while True:
            found = self._read()
            if found.state == "ready" and self._hub.answers(found.url):
                return found
            if found.state == "stopped" and (posted is None or posted.done()):
                if posted is not None:
                    self._outcome(posted, deadline, reason)
                if reason is None:
                    reason = self._listen(deadline)
                raise self._failed("it stopped while it was waited for" if reason is None else reason)
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._timeout(found, posted)
            # The first stream needs no pause before it; another one does, or a stream that is cut at once would be
            # asked for again and again.
            time.sleep(min(pause, left))
            pause = min(max(pause * 1.5, _PAUSE), _LONGEST_PAUSE)
            if reason is None:
                reason = self._listen(deadline)

    def _listen(self, deadline: float) -> str | None:
        """Take in the stream's events up to its end; the reason where the last one says that the spawn failed."""
        for event in self._hub.events(*_path(self._wanted.user, self._wanted.name), "progress", deadline=deadline):
            message = str(event.get("message") or "")
            if event.get("failed"):
                return message
            self._note(event.get("progress"), message)
            if event.get("ready"):
                break
        return None

    def _note(self, progress: Any, message: str) -> None:
        """Keep an event that was not there before: the hub tells the whole story again on each new stream."""
        if any((event["progress"], event["message"]) == (progress, message) for event in self._events):
            return
        passed = round(time.monotonic() - self._began, 3)
        self._events.append({"seconds": passed, "progress": progress, "message": message})
        self._say(f"{progress}% {message}" if isinstance(progress, (int, float)) else message)

    def _say(self, text: str) -> None:
        self._report(f"{self._what}: {text}")

    def _outcome(self, posted: Future[None], deadline: float, reason: str | None = None) -> None:
        """The POST's own verdict: nothing, or a failure in the words of the stream where it has some."""
        try:
            posted.result()
        except Timeout:
            pass  # the hub's slow_spawn_timeout is longer than our patience; the server tells the rest
        except HubFailure as error:
            # Before JupyterHub 6 the answer says no more than "error"; the stream has the spawner's words.
            raise self._failed(reason or self._listen(deadline) or error.reason, error) from None
        except Invalid as error:
            # Refused, or failed at once: then the stream says the same. What else it says is of an earlier start.
            told = reason or self._listen(deadline) or ""
            if error.reason and error.reason in told:
                raise self._failed(told, error) from None
            error.result = {"changed": False}
            raise

    def _failed(self, reason: str | None, cause: HubError | None = None) -> SpawnFailed:
        said = (reason or "").removeprefix("Spawn failed").lstrip(": ").rstrip(". ")
        said = said or _NO_REASON
        self._say(f"failed: {said}")
        return SpawnFailed(
            f"The {self._what} did not start: {said}.",
            "Mend what the reason names, or look into the hub's log; then start it again.",
            reason=said,
            status=cause.status if cause else None,
            method=cause.method if cause else None,
            url=cause.url if cause else None,
        )

    def _timeout(self, found: Server, posted: Future[None] | None) -> Timeout:
        wanted = self._wanted
        last = self._events[-1]["message"] if self._events else "none"
        told = "the hub says ready, but it does not answer" if found.state == "ready" else f"it is {found.state}"
        after, result = "It was left as it is.", self._answer("pending" if found.pending else "failed")
        if wanted.on_timeout == "stop" and (self._asked or found.pending):
            after, result = "It was stopped.", {"changed": True, **self._answer("failed")}
            try:
                if posted is not None:
                    # A request to start that is still on its way would otherwise arrive after the one to stop.
                    taken_up = time.monotonic() + _CLEANING
                    _until(lambda: posted.done() or self._read().state != "stopped", taken_up)
                stop(self._hub, wanted.user, wanted.name, _CLEANING)
            except HubError as error:
                after = f"It could not be stopped: {error.message}"
        message = (
            f"The {self._what} was not ready after {wanted.wait_timeout:g} s: {told}; last message: {last}. {after}"
        )
        result["servers"][0]["reason"] = message
        hint = "Give it longer with wait_timeout, or look into the hub's log for what it waits for."
        return Timeout(message, hint, result=result)

    def _answer(self, state: str, *, url: str | None = None, reason: str | None = None) -> dict[str, Any]:
        item = {
            "user": self._wanted.user,
            "server_name": self._wanted.name,
            "state": state,
            "url": url if state == "ready" else None,
            "seconds": round(time.monotonic() - self._began, 3),
            "reason": reason,
            "events": self._events,
        }
        return {"servers": [item]}
