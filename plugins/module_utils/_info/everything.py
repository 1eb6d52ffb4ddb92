# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads everything that a token may see of a hub, and names what the token may not see.

A hub leaves out what a token may not read, and says nothing about it. So what is missing in its answers is compared
with what they have if the token holds all scopes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from .._hub.client import HIDDEN_CODES, HubClient
from .._hub.errors import HubError, Invalid, MissingScope, NotFound
from .._hub.models import Model, Token, User
from .._hub.schemas import GROUP, SERVICE, Schema
from .._hub.scopes import READ_SERVERS, split_scope
from .._path.workers import map_concurrently

LIST_USERS, READ_TOKENS, READ_HUB = "list:users", "read:tokens", "read:hub"
_CONCURRENCY = 10
"""Users whose tokens are read at the same time. A hub works on one request at a time, so this only uses the pauses
between requests."""

_FIELDS: Mapping[str, Mapping[str, str]] = {
    "users": {
        "admin": "read:users:name",
        "created": "read:users",
        "groups": "read:users:groups",
        "last_activity": "read:users:activity",
        "roles": "read:roles:users",
    },
    "groups": {"properties": "read:groups", "roles": "read:roles:groups", "users": "read:groups"},
    "services": {
        "admin": "read:services:name",
        "command": "read:services",
        "display": "read:services",
        "info": "read:services",
        "prefix": "read:services",
        "roles": "read:roles:services",
        "url": "read:services",
    },
}
"""The narrowest scope with which a hub shows a field, by part and field. Source: the models in the hub's
apihandlers/base.py."""

_OF_OTHERS = "The token may not list all users, so what belongs to the others is missing."

I = TypeVar("I")  # noqa: E741 - an item of a part


@dataclass(frozen=True)
class Unreadable:
    """A part of the hub, or a field of a part, that the token may not read, or may read only in part."""

    name: str
    """Such as ``tokens`` or ``users.groups``."""
    scope: str
    """The scope that shows all of it."""
    message: str


@dataclass(frozen=True)
class Everything:
    """What a token may see. A part is None if the token may see nothing of it.

    No part holds the authentication state of a user or the state of a spawner. Both may contain secrets.
    """

    hub: dict[str, Any]
    """As in the result of `hub_info`."""
    token: dict[str, Any]
    """The task's token, as in the result of `hub_info`."""
    users: tuple[User, ...] | None
    """The users with their servers. Servers that are stopped are among them."""
    groups: tuple[Model, ...] | None
    services: tuple[Model, ...] | None
    routes: tuple[Model, ...] | None
    tokens: tuple[tuple[str, Token], ...] | None
    """The name of each token's user, and the token."""
    unreadable: tuple[Unreadable, ...]
    """What is missing above, sorted by name."""


def read_everything(hub: HubClient) -> Everything:
    """Return everything that the token may see. Raises each failure that is not about permission."""
    return _Reader(hub).read()


class _Reader:
    def __init__(self, hub: HubClient) -> None:
        self._hub = hub
        self._unreadable: dict[str, Unreadable] = {}

    def read(self) -> Everything:
        hub = self._hub
        token = describe_own_token(hub)
        described = describe_hub(hub, token)
        if described["authenticator"] is None:
            self._name_unreadable("hub", READ_HUB, "The token may not read the hub's authenticator and spawner.")
        users = self._read_users()
        groups = self._read_models("groups", GROUP)
        services = self._read_models("services", SERVICE)
        routes = self._read_routes()
        tokens, deleted = self._read_tokens(users)
        return Everything(
            described,
            token,
            None if users is None else tuple(user for user in users if user.name not in deleted),
            groups,
            services,
            routes,
            tokens,
            tuple(sorted(self._unreadable.values(), key=lambda each: each.name)),
        )

    def _read_users(self) -> tuple[User, ...] | None:
        hub = self._hub

        def list_users() -> list[tuple[str, User]]:
            found = hub.list_users(overlaps=True, include_stopped_servers="1")
            return [(user.name, _without_secrets(hub, user)) for user in found]

        def read_user(name: str) -> User:
            return _without_secrets(hub, hub.read_user(name, scope="read:users", include_stopped_servers=True))

        users = self._read_part("users", list_users, read_user, lambda user: user.model)
        filters, misses_users = self._filters(READ_SERVERS), "users" in self._unreadable
        # With a filter for a server, the hub shows the servers of a user, but not all of them.
        is_partial = "" not in filters and (misses_users or not users or "server" in filters)
        if is_partial or any(user.servers is None for user in users or ()):
            self._name_unreadable("servers", READ_SERVERS, self._explain("servers", READ_SERVERS))
        elif misses_users:
            self._name_unreadable("servers", LIST_USERS, _OF_OTHERS)
        return users

    def _read_models(self, part: str, schema: Schema) -> tuple[Model, ...] | None:
        hub, what = self._hub, f"list of {part}"

        def list_all() -> list[tuple[str, Model]]:
            found = hub.pages(part, scope=f"list:{part}", what=what, schema=schema, overlaps=True)
            return [(model["name"], model) for model in found]

        def read_one(name: str) -> Model:
            return hub.get(part, name, scope=f"read:{part}", what=f"{part[:-1]} '{name}'", schema=schema)

        return self._read_part(part, list_all, read_one)

    def _read_part(
        self,
        part: str,
        list_all: Callable[[], Iterable[tuple[str, I]]],
        read_one: Callable[[str], I],
        model_of: Callable[[I], Any] = lambda item: item,
    ) -> tuple[I, ...] | None:
        """Return the items of a part, each once, and name what is missing. None if the token may see no item.

        If the token may not list the items, those that its scopes name are read one by one.
        """
        scope, found = f"list:{part}", dict[str, I]()
        try:
            found = dict(list_all())
            is_complete = "" in self._filters(scope)
        except MissingScope:
            is_complete = False
            for name in self._names_in_filters(part):
                with suppress(MissingScope, NotFound):
                    found[name] = read_one(name)
            if not found:
                self._name_unreadable(part, scope, self._explain(part, scope))
                return None
        if not is_complete:
            self._name_unreadable(part, scope, self._explain(part, scope, has_some=bool(found)))
        for field, needed in _FIELDS[part].items():
            hidden = sum(field not in model_of(item) for item in found.values())
            if hidden or (not found and "" not in self._filters(needed)):
                self._name_unreadable(f"{part}.{field}", needed, self._explain(f"field {field} of {part}", needed))
        return tuple(found.values())

    def _read_routes(self) -> tuple[Model, ...] | None:
        try:
            return tuple(self._hub.pages("proxy", scope="proxy", what="proxy's table of routes"))
        except MissingScope:
            self._name_unreadable("routes", "proxy", self._explain("routes", "proxy"))
            return None

    def _read_tokens(self, users: tuple[User, ...] | None) -> tuple[tuple[tuple[str, Token], ...] | None, set[str]]:
        """Return the tokens with the names of their users, and the names of users who are deleted by now."""
        filters = self._filters(READ_TOKENS)
        names = [user.name for user in users or ()]
        if not {"", "group"} & filters.keys():
            names = sorted(filters.get("user", ()))  # the hub would answer 404 for each other user
        found = dict(zip(names, read_tokens(self._hub, names), strict=True))
        hidden = {name for name, tokens in found.items() if isinstance(tokens, NotFound)}
        if "" not in filters:
            self._name_unreadable("tokens", READ_TOKENS, self._explain("tokens", READ_TOKENS))
        elif "users" in self._unreadable:
            self._name_unreadable("tokens", LIST_USERS, _OF_OTHERS)
        if len(hidden) == len(found) and "tokens" in self._unreadable:
            return None, set()
        tokens = tuple(
            (name, token) for name, those in found.items() if not isinstance(those, NotFound) for token in those
        )
        return tokens, hidden if "" in filters else set()

    def _filters(self, scope: str) -> dict[str, set[str]]:
        """Return the values of the filters with which the token holds the scope, by kind. The kind "" is no filter."""
        filters: dict[str, set[str]] = {}
        for held in self._hub.held_scopes:
            name, kind, value = split_scope(held)
            if name == scope:
                filters.setdefault(kind, set()).add(value)
        return filters

    def _names_in_filters(self, part: str) -> list[str]:
        """Return the items of a part that the filters of the token's scopes name."""
        split = [split_scope(scope) for scope in self._hub.held_scopes]
        return sorted({value for name, kind, value in split if kind == part[:-1] and name.startswith("read:")})

    def _explain(self, what: str, scope: str, *, has_some: bool = False) -> str:
        held = ", ".join(each for each in self._hub.held_scopes if split_scope(each)[0] == scope)
        if held:
            return f"The token may read only some of the {what}: it holds {held}."
        if has_some:
            return f"The token may read only some of the {what}."
        return f"The token may not read the {what}."

    def _name_unreadable(self, name: str, scope: str, message: str) -> None:
        self._unreadable[name] = Unreadable(name, scope, message)


def describe_hub(hub: HubClient, token: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the hub's address, version and scope names, and its classes if the token may read them."""
    details: dict[str, Any] = {}
    if token and READ_HUB in token["scopes"]:
        try:
            details = hub.get("info", scope=READ_HUB, what="hub's details")
        except HubError as error:
            if error.code not in HIDDEN_CODES:
                raise
    try:
        names = dict(hub.dialect.scopes)
    except Invalid:
        names = {}  # the collection does not support a hub that is so old, but it can show the version
    return {
        "url": hub.url,
        "version": hub.version,
        "authenticator": _describe_class(details.get("authenticator")),
        "spawner": _describe_class(details.get("spawner")),
        "scope_names": names,
    }


def describe_own_token(hub: HubClient) -> dict[str, Any]:
    """Return the owner of the task's token, and what the token may do."""
    owner, token = hub.owner, hub.read_own_token()
    return {
        "kind": owner.kind,
        "name": owner.name,
        "admin": owner.admin,
        "scopes": list(hub.held_scopes),
        "id": owner.token_id,
        "note": token.note if token else None,
        "created": token.created if token else None,
        "expires_at": token.expires_at if token else None,
        "expiry_known": token is not None,
    }


def read_tokens(hub: HubClient, users: Sequence[str]) -> list[list[Token] | NotFound]:
    """Return the tokens of each user.

    In their place is the hub's `NotFound` if there is no such user, or if the token may not see the user's tokens.
    """

    def read_tokens_of(user: str) -> list[Token] | NotFound:
        try:
            return hub.list_tokens(user)
        except NotFound as error:
            return error

    return map_concurrently(read_tokens_of, users, _CONCURRENCY)


def _describe_class(model: Any) -> dict[str, Any] | None:
    """Return a class of the hub's configuration, or None if the hub does not show it.

    If the hub does not know the version of the class, it says "unknown". The version is None then.
    """
    if not isinstance(model, dict):
        return None
    version = model.get("version")
    return {"class": model.get("class"), "version": None if version == "unknown" else version}


def _without_secrets(hub: HubClient, user: User) -> User:
    """Return the user without what may contain secrets, and without a default server that was never started.

    A hub lists such a server if its process has looked for it, and not after its next start (``user_model`` in
    JupyterHub's apihandlers/base.py).
    """
    model = {name: value for name, value in user.model.items() if name != "auth_state"}
    if user.servers is None:
        return User.from_model(model, hub.resolve)
    model["servers"] = {
        name: {field: value for field, value in model["servers"][name].items() if field != "state"}
        for name, server in user.servers.items()
        if name or server.state != "stopped" or server.last_activity or server.user_options
    }
    return User.from_model(model, hub.resolve)
