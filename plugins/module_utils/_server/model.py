# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of users: the desired state of one, what the hub says of it, and the steps between the two."""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any

from .._hub.client import HubClient
from .._hub.connection import build_api_path
from .._hub.errors import Conflict, Invalid, MissingScope, quoted
from .._hub.models import Server
from .._hub.scopes import READ_SERVERS
from .._path.plan import Action

BUSY = ("stop", "check")
"""What a hub may be doing with a server while it refuses to start it. A hub that starts checks all its servers."""


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
        build_api_path(*server_path(self.user, self.name))  # a name that cannot be is told before anything is asked
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
        return server_title(self.user, self.name)

    @property
    def runs(self) -> bool:
        """Whether it is to run in the end."""
        return self.state in ("started", "restarted")


def server_title(user: str, name: str) -> str:
    return f"server {quoted(name)} of user {quoted(user)}" if name else f"server of user {quoted(user)}"


def server_path(user: str, name: str) -> tuple[str, ...]:
    # A trailing slash after `servers` would mean the default server, which has an address of its own.
    return ("users", user, "servers", name) if name else ("users", user, "server")


def read_all(hub: HubClient, user: str) -> dict[str, Server]:
    """Return the user's servers by name, stopped ones included.

    Raises `NotFound` if the hub does not show the user, and `MissingScope` if it does not show the user's servers.
    """
    servers = hub.read_user(user, scope=READ_SERVERS, include_stopped_servers=True).servers
    if servers is None:
        # The hub leaves out what a token may not read. An empty mapping would mean that there are no servers.
        raise MissingScope(
            f"The token may not read the servers of user '{user}'.", f"Mint it with {READ_SERVERS}!user={user}."
        )
    return dict(servers)


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
