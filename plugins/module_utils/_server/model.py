# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of users: what the hub says of them, what a desired one takes, and how one is stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .._hub.client import HubClient
from .._hub.connection import api_path
from .._hub.errors import (
    Conflict,
    HubError,
    Invalid,
    MissingScope,
    quoted,
)
from .._hub.schemas import USER
from .._hub.scopes import READ_SERVERS
from .._path.plan import Action

T = TypeVar("T")

BUSY = ("stop", "check")
"""What a hub does with a server meanwhile it refuses to start it. It checks all of them when it has been started."""
PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between two looks at a server: short at first, for the fast hubs, then kinder to the slow ones."""


@dataclass(frozen=True)
class Server:
    """A server as the hub shows it. ``pending`` is the hub's word for what is under way: spawn, stop, ... or None.

    One that is stopped may still be known to the hub (``exists``), with the options and the state of its last start.
    """

    user: str
    name: str
    ready: bool
    pending: str | None
    url: str
    user_options: dict[str, Any] | None = None
    exists: bool = True
    started: str | None = None
    """When its last start began, as the hub says it."""
    owner_since: str | None = None
    """When its user was created, where the token may read that: it tells one hub's users from those of another."""

    @property
    def state(self) -> str:
        if self.pending:
            return "pending"
        return "ready" if self.ready else "stopped"


@dataclass(frozen=True)
class ServerSpec:
    """The desired state of one server. ``wait_timeout`` is in seconds; ``user_options`` None leaves them to the hub."""

    user: str
    name: str
    state: str
    user_options: dict[str, Any] | None = None
    options_format: str = "auto"
    on_options_change: str = "ignore"
    wait: bool = True
    wait_timeout: float = 300.0
    on_timeout: str = "stop"

    def __post_init__(self) -> None:
        api_path(*path_of(self.user, self.name))  # a name that cannot be is told before anything is asked
        try:
            json.dumps(self.user_options, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise Invalid(
                f"The user_options of the {self.title} cannot travel as JSON: {error}.",
                "Write them with text, numbers, lists and dictionaries. A date is text when it is quoted.",
            ) from None
        if self.state == "absent" and not self.name:
            raise Invalid(
                f"The {self.title} is a default server, which a hub cannot remove.",
                "Stop it with state: stopped, or name a server with server_name.",
            )

    @property
    def title(self) -> str:
        return title(self.user, self.name)

    @property
    def runs(self) -> bool:
        """Whether it is to run in the end."""
        return self.state in ("started", "restarted")


def title(user: str, name: str) -> str:
    return f"server {quoted(name)} of user {quoted(user)}" if name else f"server of user {quoted(user)}"


def path_of(user: str, name: str) -> tuple[str, ...]:
    # A trailing slash after `servers` would mean the default server, which has an address of its own.
    return ("users", user, "servers", name) if name else ("users", user, "server")


def read_all(hub: HubClient, user: str) -> dict[str, Server]:
    """The user's servers, stopped ones included, by name. Raises `NotFound` for a user whom the hub does not show."""
    model = hub.get(
        "users", user, scope=READ_SERVERS, what=f"user {quoted(user)}", shape=USER, include_stopped_servers="1"
    )
    servers = model.get("servers")
    if servers is None:
        # The hub leaves out what a token may not read; an empty mapping would mean that there are none.
        raise MissingScope(
            f"The token may not read the servers of user '{user}'.", f"Mint it with {READ_SERVERS}!user={user}."
        )
    since = model.get("created")
    return {name: _server(hub, user, name, found, since) for name, found in servers.items()}


def _server(hub: HubClient, user: str, name: str, model: dict[str, Any], since: str | None) -> Server:
    url, options = hub.server_url(str(model.get("url") or "")), model.get("user_options")
    ready, pending = bool(model.get("ready")), model.get("pending")
    return Server(user, name, ready, pending, url, options, started=model.get("started"), owner_since=since)


def none_of(user: str, name: str) -> Server:
    """What a server is that the hub does not list."""
    return Server(user, name, ready=False, pending=None, url="", exists=False)


def read(hub: HubClient, user: str, name: str) -> Server:
    """One server; one that the hub does not list is stopped."""
    return read_all(hub, user).get(name) or none_of(user, name)


def running(hub: HubClient, user: str) -> list[str]:
    """The names of the user's servers that are not stopped."""
    return [name for name, server in read_all(hub, user).items() if server.state != "stopped"]


def steps(wanted: ServerSpec, found: Server, answers: bool, cancels: bool = True) -> tuple[Action, ...]:
    """What it takes to the desired state. ``answers``: whether what the hub calls ready does so at its own URL.

    ``cancels``: whether the hub can cancel a start. Raises `Conflict` for a server with other options where that is to
    fail, and for one whose start would have to be waited for where nobody waits.
    """

    def step(verb: str, why: str) -> Action:
        return Action(verb, wanted.title, why)

    def steps_again(why: str) -> tuple[Action, ...]:
        return step("stop", why), step("start", why)

    if found.pending == "spawn" and not (cancels or wanted.wait or wanted.runs):
        raise Conflict(
            f"The {wanted.title} is starting, and this hub cannot cancel a start.",
            "Have its end waited for with wait: true, or try again when it runs.",
        )
    if wanted.state == "absent":
        why = "it is stopped, and its state is kept" if found.state == "stopped" else f"it is {found.state}"
        return (step("remove", why),) if found.exists else ()
    if found.pending == "stop":
        return (step("start", "it is stopping"),) if wanted.runs else ()
    if wanted.state == "stopped":
        return (step("stop", f"it is {found.state}"),) if found.state != "stopped" else ()
    if found.state == "stopped":
        return (step("start", "it is not running"),)
    if wanted.state == "restarted":
        return steps_again("a restart is asked for")
    if _has_others(wanted, found):
        if wanted.on_options_change == "fail":
            raise Conflict(
                f"The {wanted.title} is {found.state} with other user_options.",
                "Stop it first, or set on_options_change: restart.",
            )
        if wanted.on_options_change == "restart":
            return steps_again(f"it is {found.state} with other user_options")
    if found.state == "ready" and not answers:
        # A hub that is asked to start a server looks first whether it still runs, and does both right.
        return (step("start", "the hub says that it is ready, but it does not answer"),)
    return ()


def foreseen(wanted: ServerSpec, found: Server, verbs: Set[str]) -> Server:
    """What the server is after these steps, in the end or, if that is not waited for, when the hub has begun them."""
    if "start" in verbs:
        # Left out, the options are those of the last start.
        options = (found.user_options or {}) if wanted.user_options is None else wanted.user_options
        ready, pending = (True, None) if wanted.wait else (False, "spawn")
        return replace(found, ready=ready, pending=pending, user_options=options, exists=True)
    if not wanted.wait:
        return replace(found, pending="stop") if verbs else found
    if wanted.runs:
        return replace(found, ready=True, pending=None)
    if wanted.state == "absent":
        return none_of(found.user, found.name)
    return replace(found, ready=False, pending=None)


def _has_others(wanted: ServerSpec, found: Server) -> bool:
    return wanted.user_options is not None and (found.user_options or {}) != wanted.user_options


def poll_until(look: Callable[[], T], deadline: float) -> T:
    """Look until there is something to see, ever more slowly, and return it; the last look where the deadline is first.

    A hub that does not answer may be back in a moment. Where it is not by then, its last failure is raised. A look that
    only the deadline has ended is none: the one before it counts.
    """
    pause, last = PAUSE, list[T]()
    while True:
        failure = None
        try:
            found = look()
            if found:
                return found
            last = [found]
        except HubError as error:
            if not is_away(error):
                raise
            failure = error
            last = last if error.cut_short else []
        left = deadline - time.monotonic()
        if left <= 0:
            if failure is not None and not last:
                raise failure
            return last[0]
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE)


def is_away(error: HubError) -> bool:
    """Whether the hub gave no answer, as while it is started again, or asks to look again later."""
    # To a request that changes something, 429 is the hub's own word: it has no room.
    return error.passing and (error.status != 429 or error.method == "GET")
