# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of users: the desired state of a server, its present state on the hub, and the actions between the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._hub.client import HubClient
from .._hub.connection import build_api_path, check_json
from .._hub.errors import Conflict, Invalid, MissingScope, quoted
from .._hub.models import Server
from .._hub.scopes import READ_SERVERS
from .._hub.versions import Dialect
from .._path.plan import Action

BUSY = ("stop", "check")
"""While one of these is pending, the hub refuses to start the server. A hub checks all its servers when it starts."""


@dataclass(frozen=True)
class ServerSpec:
    """The desired state of one server.

    ``wait_timeout`` is in seconds. If ``user_options`` is None, the hub chooses the options. Raises `Invalid` for a
    name or for options that no request can carry, and for a default server whose state is ``absent``.
    """

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
        build_api_path(*server_path(self.user, self.name))  # checks the names before the first request
        check_json(self.user_options, f"user_options of the {self.title}")
        if self.state == "absent" and not self.name:
            raise Invalid(
                f"The {self.title} is a default server, which a hub cannot remove.",
                "Stop it with state: stopped, or name another server with server_name.",
            )

    @property
    def title(self) -> str:
        """The server's name in a sentence."""
        return server_title(self.user, self.name)

    @property
    def is_to_run(self) -> bool:
        """Whether the server is to run in the end."""
        return self.state in ("started", "restarted")


@dataclass(frozen=True)
class StartOptions:
    """The desired user_options in the two forms that a hub has for them. None leaves the options to the hub."""

    body: dict[str, Any] | None
    """The body of the request to start the server."""
    shown: dict[str, Any] | None
    """The options that the hub shows after that request."""

    @staticmethod
    def of_spec(wanted: ServerSpec, dialect: Dialect) -> StartOptions:
        """Return the options of the desired server for hubs of this ``dialect``."""
        return StartOptions(
            dialect.build_start_body(wanted.user_options, wanted.options_format),
            dialect.predict_user_options(wanted.user_options, wanted.options_format),
        )


def server_title(user: str, name: str) -> str:
    """Return a server's name in a sentence. The default server's ``name`` is empty."""
    return f"server {quoted(name)} of user {quoted(user)}" if name else f"server of user {quoted(user)}"


def server_path(user: str, name: str) -> tuple[str, ...]:
    """Return the parts of a server's path in the hub's API."""
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


def unlisted_server(user: str, name: str) -> Server:
    """Return a server that the hub does not list. Such a server is stopped."""
    return Server(user, name, ready=False, pending=None, url="", exists=False)


def read(hub: HubClient, user: str, name: str) -> Server:
    """Return one server. If the hub does not list it, return `unlisted_server`. Raises what `read_all` raises."""
    return read_all(hub, user).get(name) or unlisted_server(user, name)


def list_running(hub: HubClient, user: str) -> list[str]:
    """Return the names of the user's servers that are not stopped. Raises what `read_all` raises."""
    return [name for name, server in read_all(hub, user).items() if server.state != "stopped"]


def plan_actions(
    wanted: ServerSpec,
    server: Server,
    options: dict[str, Any] | None,
    *,
    has_answered: bool,
    can_cancel_starts: bool = True,
) -> tuple[Action, ...]:
    """Return the actions that take the server to its desired state.

    ``options`` are the desired user_options as the hub shows them, see `StartOptions`. ``has_answered`` says whether a
    server that the hub calls ready answers at its own address. ``can_cancel_starts`` says whether the hub can cancel a
    start.

    Raises `Conflict` if the server has other options and ``on_options_change`` is ``fail``. Also raises it if a start
    must end first and the task does not wait.
    """

    def act(verb: str, why: str) -> Action:
        return Action(verb, wanted.title, why)

    def restart(why: str) -> tuple[Action, ...]:
        return act("stop", why), act("start", why)

    if server.pending == "spawn" and not (can_cancel_starts or wanted.wait or wanted.is_to_run):
        raise Conflict(
            f"The {wanted.title} is starting, and this hub cannot cancel a start.",
            "Set wait: true to wait until the start is over, or run this again when the server is ready.",
        )
    if wanted.state == "absent":
        why = "it is stopped, and its state is kept" if server.state == "stopped" else f"it is {server.state}"
        return (act("remove", why),) if server.exists else ()
    if server.pending == "stop":
        return (act("start", "it is stopping"),) if wanted.is_to_run else ()
    if wanted.state == "stopped":
        return (act("stop", f"it is {server.state}"),) if server.state != "stopped" else ()
    if server.state == "stopped":
        return (act("start", "it is not running"),)
    if wanted.state == "restarted":
        return restart("a restart is asked for")
    if options is not None and (server.user_options or {}) != options:
        if wanted.on_options_change == "fail":
            raise Conflict(
                f"The {wanted.title} is {server.state} with other user_options.",
                "Stop it first, or set on_options_change: restart.",
            )
        if wanted.on_options_change == "restart":
            return restart(f"it is {server.state} with other user_options")
    if server.state == "ready" and not has_answered:
        # Before a hub starts a server, it checks whether the server still runs.
        return (act("start", "the hub says that it is ready, but it does not answer"),)
    return ()


def predict_server(
    wanted: ServerSpec, server: Server, options: dict[str, Any] | None, actions: Sequence[Action]
) -> Server:
    """Return the server as it is after the actions.

    If the task waits, the actions are complete. Otherwise the hub has only begun them. ``options`` are the desired
    user_options as the hub shows them.
    """
    if any(action.verb == "start" for action in actions):
        # The hub uses the options of the last start if the request has none.
        options = (server.user_options or {}) if options is None else options
        ready, pending = (True, None) if wanted.wait else (False, "spawn")
        return replace(server, ready=ready, pending=pending, user_options=options, exists=True)
    if not wanted.wait:
        return replace(server, pending="stop") if actions else server
    if wanted.is_to_run:
        return replace(server, ready=True, pending=None)
    if wanted.state == "absent":
        return unlisted_server(server.user, server.name)
    return replace(server, ready=False, pending=None)
