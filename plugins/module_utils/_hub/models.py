# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models of a hub's objects: users, servers, tokens, groups, and the owner of a token.

A field is None if the hub does not show it, for example because the token may not read it. Source of the models:
``APIHandler`` in JupyterHub's apihandlers/base.py. See `schemas` for the check of the hub's answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .times import parse_time

Model = Mapping[str, Any]
"""An object of the hub as its API returns it."""


@dataclass(frozen=True)
class Owner:
    """The owner of a token, and what the token may do (the hub's answer to ``GET /user``)."""

    kind: str
    """``user`` or ``service``."""
    name: str
    scopes: tuple[str, ...] | None = None
    """What the token may do. The hub has expanded scopes that include others."""
    token_id: str | None = None
    """None before JupyterHub 5."""
    admin: bool | None = None

    @staticmethod
    def from_model(model: Model) -> Owner:
        scopes = model.get("scopes")
        held = None if scopes is None else tuple(sorted(scopes))
        return Owner(model["kind"], model["name"], held, model.get("token_id"), model.get("admin"))

    @property
    def title(self) -> str:
        """The owner's name in a sentence."""
        return f"{self.kind} '{self.name}'"


@dataclass(frozen=True)
class Server:
    """A server of a user.

    A server that is stopped may still be known to the hub (``exists``), with the options and state of its last start.
    """

    user: str
    name: str
    ready: bool
    pending: str | None
    """What is under way, in the hub's word: ``spawn``, ``stop``, ``check``, or None."""
    url: str
    """Its address: absolute, or empty if it does not run."""
    user_options: dict[str, Any] | None = None
    exists: bool = True
    """Whether the hub lists it."""
    started: str | None = None
    """When its last start began."""
    last_activity: str | None = None
    user_created: str | None = None
    """When its user was created. It differs between users of the same name on two hubs."""

    @property
    def state(self) -> str:
        """``ready``, ``pending``, or ``stopped``."""
        if self.pending:
            return "pending"
        return "ready" if self.ready else "stopped"


@dataclass(frozen=True)
class User:
    """A user of the hub. ``servers`` are by their names; the default server's name is empty."""

    name: str
    model: Model
    """The user as the hub's API returns it, for what has no field here."""
    admin: bool | None = None
    groups: tuple[str, ...] | None = None
    created: str | None = None
    last_activity: str | None = None
    servers: Mapping[str, Server] | None = None

    @staticmethod
    def from_model(model: Model, resolve_url: Callable[[str], str]) -> User:
        """Return the user. ``resolve_url`` returns a server's absolute address for the ``url`` that the hub shows."""
        groups, servers, created = model.get("groups"), model.get("servers"), model.get("created")
        return User(
            model["name"],
            model,
            model.get("admin"),
            None if groups is None else tuple(groups),
            created,
            model.get("last_activity"),
            None
            if servers is None
            else {
                name: Server(
                    model["name"],
                    name,
                    bool(server.get("ready")),
                    server.get("pending"),
                    resolve_url(str(server.get("url") or "")),
                    server.get("user_options"),
                    started=server.get("started"),
                    last_activity=server.get("last_activity"),
                    user_created=created,
                )
                for name, server in servers.items()
            },
        )


@dataclass(frozen=True)
class Token:
    """A token, without its secret."""

    id: str
    note: str | None
    scopes: tuple[str, ...] | None
    """What it may do, sorted. The hub has expanded scopes that include others."""
    created: str | None
    expires_at: str | None
    last_activity: str | None = None
    issued_for: str = ""
    """``server`` or ``oauth`` if the hub has issued it for a server or for an OAuth session, and else empty."""

    @staticmethod
    def from_model(model: Model) -> Token:
        scopes = model.get("scopes")
        return Token(
            model["id"],
            model.get("note"),
            None if scopes is None else tuple(sorted(scopes)),
            model.get("created"),
            model.get("expires_at"),
            model.get("last_activity"),
            _find_purpose(model),
        )

    @property
    def created_at(self) -> float:
        """When it was minted, in seconds since 1970, or 0 if the hub does not show it."""
        return parse_time(self.created) or 0.0

    @property
    def last_used(self) -> float:
        """When it was last used, in seconds since 1970, or 0 if it was never used."""
        return parse_time(self.last_activity) or 0.0


@dataclass(frozen=True)
class Group:
    """A group of users."""

    name: str
    users: tuple[str, ...] | None = None
    properties: dict[str, Any] | None = None

    @staticmethod
    def from_model(model: Model) -> Group:
        users = model.get("users")
        # A group from before JupyterHub 3 has null.
        properties = model["properties"] or {} if "properties" in model else None
        return Group(model["name"], None if users is None else tuple(users), properties)


def _find_purpose(token: Model) -> str:
    """Return what the hub has issued the token for: ``server``, ``oauth``, or nothing that the hub knows of.

    Tokens of OAuth sessions belong to the OAuth client of a server or a service, all others to the hub's own client
    (``token_model`` in JupyterHub's apihandlers/base.py). The hub writes the note of a server's token (``User.spawn``
    in its user.py).
    """
    client = token.get("oauth_client")
    if client and client not in _HUB_CLIENTS:
        return "oauth"
    return "server" if _SERVER_NOTE.fullmatch(token.get("note") or "") else ""


_HUB_CLIENTS = ("JupyterHub", "jupyterhub")
"""The description and the identifier of the hub's own OAuth client (``init_oauth`` in JupyterHub's app.py)."""
_SERVER_NOTE = re.compile(r"Server at /(\S+/)?user/\S+")
