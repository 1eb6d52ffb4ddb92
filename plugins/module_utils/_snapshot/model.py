# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot: what a hub had at one moment, without secrets.

The parts are plain data, as the file of a snapshot has them (``docs/snapshot.schema.json``). A part is None if the
token could not read it, and so is a field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .._hub.models import Model, Token, User
from .._info.everything import Everything

Items = dict[str, dict[str, Any]]
"""The items of a part by their names."""

PARTS = ("users", "servers", "groups", "services", "tokens", "routes")
"""The parts that a token may not be able to read. Their order is that of the file."""
_SERVER_FIELDS = ("ready", "pending", "stopped", "started", "last_activity", "user_options")


@dataclass(frozen=True)
class Snapshot:
    """What a hub had at one moment."""

    taken: str
    """When, such as ``2026-11-26T18:00:00Z``."""
    seconds: float
    """How long it took to read the hub."""
    hub: dict[str, Any]
    """``url``, ``version``, ``authenticator`` and ``spawner``."""
    reader: dict[str, Any]
    """``kind``, ``name`` and ``scopes`` of the token that read the hub."""
    unreadable: list[dict[str, Any]]
    """What the token could not read, or only in part: ``name``, ``scope`` and ``message``."""
    users: Items | None
    servers: dict[str, Items] | None
    """The servers that the hub knows, by the names of their users and by their own."""
    groups: Items | None
    services: Items | None
    tokens: list[dict[str, Any]] | None
    routes: list[dict[str, Any]] | None
    verification: dict[str, Any] | None
    """The row of this hub in the report of a verification."""

    def count(self) -> dict[str, int | None]:
        """Return how many items each part has, and how many servers run. None for a part that could not be read."""
        every = None if self.servers is None else [each for those in self.servers.values() for each in those.values()]
        return {
            **{name: None if (part := getattr(self, name)) is None else len(part) for name in PARTS},
            "servers": None if every is None else len(every),
            "running": None if every is None else sum(map(is_running, every)),
        }

    def describe_hub(self) -> dict[str, Any]:
        """Return when it was taken and of which hub, as the result of a task has it."""
        return {"taken": self.taken, "url": self.hub.get("url"), "version": self.hub.get("version")}


def build_snapshot(
    found: Everything, taken: str, seconds: float, verification: dict[str, Any] | None = None
) -> Snapshot:
    """Return the snapshot of what was read at the time ``taken``, which took so many ``seconds``."""
    users = None if found.users is None else sorted(found.users, key=lambda user: user.name)
    return Snapshot(
        taken,
        round(seconds, 3),
        {
            **{name: found.hub[name] for name in ("url", "version")},
            **{name: _describe_class(found.hub.get(name)) for name in ("authenticator", "spawner")},
        },
        {name: found.token.get(name) for name in ("kind", "name", "scopes")},
        [asdict(each) for each in found.unreadable],
        None if users is None else {user.name: _describe_user(user) for user in users},
        None if users is None or not _shows_servers(users) else _describe_servers(users),
        None if found.groups is None else {name: _describe_group(model) for name, model in _models(found.groups)},
        None if found.services is None else {name: _describe_service(model) for name, model in _models(found.services)},
        None if found.tokens is None else [_describe_token(user, token) for user, token in _sort_tokens(found.tokens)],
        None if found.routes is None else [dict(route) for route in found.routes],
        verification,
    )


def is_running(server: Mapping[str, Any]) -> bool:
    """Return whether a server runs or is about to run."""
    return bool(server.get("ready")) or server.get("pending") not in (None, "", "stop")


def _sort_tokens(tokens: Iterable[tuple[str, Token]]) -> list[tuple[str, Token]]:
    """Return the tokens by the names of their users, the oldest first."""
    return sorted(tokens, key=lambda each: (each[0], each[1].created_at, each[1].id))


def _models(models: Iterable[Model]) -> list[tuple[str, Model]]:
    """Return the models of groups or services with their names, sorted by name."""
    return sorted(((str(model.get("name")), model) for model in models), key=lambda each: each[0])


def _shows_servers(users: Iterable[User]) -> bool:
    """Return whether the token may read the servers of a user. A hub without users hides nothing."""
    shown = [user.servers is not None for user in users]
    return any(shown) or not shown


def _sorted(names: Any) -> list[Any] | None:
    return sorted(names) if isinstance(names, list | tuple) else None


def _describe_class(model: Any) -> dict[str, str | None] | None:
    return None if model is None else {name: _text_or_none(model.get(name)) for name in ("class", "version")}


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _bool_or_none(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _describe_user(user: User) -> dict[str, Any]:
    return {
        "admin": user.admin,
        "roles": _sorted(user.model.get("roles")),
        "groups": _sorted(user.groups),
        "created": user.created,
        "last_activity": user.last_activity,
    }


def _describe_servers(users: Iterable[User]) -> dict[str, Items]:
    return {
        user.name: {
            name: {
                **{field: model.get(field) for field in _SERVER_FIELDS},
                "stopped": _bool_or_none(model.get("stopped")),
            }
            for name, model in sorted(user.model["servers"].items())
        }
        for user in users
        if user.servers
    }


def _describe_group(model: Model) -> dict[str, Any]:
    # A group from before JupyterHub 3.1 has null for its properties, which means that it has none.
    properties = (model["properties"] or {}) if "properties" in model else None
    return {"users": _sorted(model.get("users")), "properties": properties, "roles": _sorted(model.get("roles"))}


def _describe_service(model: Model) -> dict[str, Any]:
    """Return a service. Its command and its info are left out, because both may contain secrets."""
    url = model.get("url")
    return {
        "admin": model.get("admin"),
        "roles": _sorted(model.get("roles")),
        "url": re.sub(r"//[^/@]*@", "//", url) if isinstance(url, str) else None,
        "display": _bool_or_none(model.get("display")),
    }


def _describe_token(user: str, token: Token) -> dict[str, Any]:
    return {
        "user": user,
        "id": token.id,
        "note": token.note,
        "scopes": None if token.scopes is None else list(token.scopes),
        "created": token.created,
        "expires_at": token.expires_at,
        "last_activity": token.last_activity,
        "issued_for": token.issued_for,
    }
