# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of `hub_info`: reads what a hub is, who owns the token, and what the hub has. It changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from .._hub.client import HIDDEN_CODES, HubClient
from .._hub.errors import (
    HubError,
    Invalid,
    MissingScope,
    NotFound,
)
from .._hub.models import Token, User
from .._hub.scopes import READ_SERVERS, split_scope
from .._hub.times import parse_time, whole_seconds
from .._path.plan import Flow, Plan, Report, Result
from .._path.workers import map_concurrently

GATHER = ("users", "servers", "groups", "services", "routes", "tokens")
_LIST_USERS, _READ_TOKENS = "list:users", "read:tokens"
_CONCURRENCY = 10
"""Users whose tokens are read at the same time. A hub works on one request at a time, so this only uses the pauses
between requests."""


@dataclass(frozen=True)
class InfoSpec:
    """What to read. ``users`` are names; None means all users, which needs ``list:users``."""

    gather: tuple[str, ...] = ()
    users: tuple[str, ...] | None = None
    require_scopes: tuple[str, ...] = ()


class InfoFlow(Flow):
    """Reads what the task asks for. Nothing changes, so the plan has no actions and holds all that was read."""

    def __init__(self, hub: HubClient, wanted: InfoSpec, report: Report) -> None:
        self._hub = hub
        self._wanted = wanted

    def plan(self) -> Plan:
        hub, wanted = self._hub, self._wanted
        token = self._describe_own_token()
        answer: dict[str, Any] = {"hub": self._describe_hub(token), "token": token, **dict.fromkeys(GATHER)}
        if "tokens" in wanted.gather:
            self._check_token_scopes()
        users: list[User] = []
        if {"users", "servers"} & set(wanted.gather) or ("tokens" in wanted.gather and wanted.users is None):
            users = self._read_users()
            if "users" in wanted.gather:
                answer["users"] = [user.model for user in users]
            if "servers" in wanted.gather:
                answer["servers"] = [server for user in users for server in _describe_servers(user)]
        if "tokens" in wanted.gather:
            answer["tokens"] = self._read_tokens(users)
        if "groups" in wanted.gather:
            answer["groups"] = list(hub.pages("groups", scope="list:groups", what="list of groups"))
        if "services" in wanted.gather:
            answer["services"] = list(hub.pages("services", scope="list:services", what="list of services"))
        if "routes" in wanted.gather:
            answer["routes"] = list(hub.pages("proxy", scope="proxy", what="proxy's table of routes"))
        return Plan((), {}, {}, predicted=answer)

    def apply(self, plan: Plan) -> Result:
        return Result(plan.predicted)

    def _describe_hub(self, token: dict[str, Any] | None) -> dict[str, Any]:
        """Return the hub's address, version and scope names, and its classes if the token may read them."""
        hub = self._hub
        details: dict[str, Any] = {}
        if token and "read:hub" in token["scopes"]:
            try:
                details = hub.get("info", scope="read:hub", what="hub's details")
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

    def _describe_own_token(self) -> dict[str, Any] | None:
        """Return the token's owner and what the token may do, or None if there is no token and nothing needs one.

        Raises `MissingScope` if the token lacks a scope of ``require_scopes``.
        """
        hub, wanted = self._hub, self._wanted
        if not hub.connection.api_token and not wanted.gather and not wanted.require_scopes:
            return None
        owner = hub.owner
        missing = hub.missing_scopes(wanted.require_scopes)
        if missing:
            held = ", ".join(hub.held_scopes) or "none"
            raise MissingScope(
                f"The token of {owner.title} lacks {', '.join(missing)}; it holds {held}.",
                "Mint it with the missing scopes, or have an admin grant them to its owner.",
            )
        token = hub.read_own_token()
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

    def _read_users(self) -> list[User]:
        """Return the named users, or all. Raises `MissingScope` if their servers are needed and hidden."""
        hub, names = self._hub, self._wanted.users
        users = [*hub.list_users()] if names is None else [hub.read_user(name, scope="read:users") for name in names]
        if "servers" in self._wanted.gather and any(user.servers is None for user in users):
            # The hub leaves out what a token may not read; an empty list would mean that nothing runs.
            raise MissingScope("The token may not read the servers of every user.", f"Mint it with {READ_SERVERS}.")
        return users

    def _check_token_scopes(self) -> None:
        """Raise one `MissingScope` for all scopes that the list of tokens needs and the token lacks for everybody."""
        held = self._hub.held_scopes
        names = {split_scope(scope)[0] for scope in held}
        needed = (_READ_TOKENS, _LIST_USERS) if self._wanted.users is None else (_READ_TOKENS,)
        missing = [scope for scope in needed if scope not in names]
        if missing:
            raise MissingScope(
                f"The token lacks {', '.join(missing)} for the list of tokens; it holds {', '.join(held) or 'none'}.",
                f"Mint it with {' and '.join(missing)}, or have an admin grant them to its owner.",
            )

    def _read_tokens(self, users: list[User]) -> list[dict[str, Any]]:
        """Return the tokens of the named users, or of these users if the task names none."""
        named = self._wanted.users
        unique = list(dict.fromkeys(named if named is not None else (user.name for user in users)))
        now = time.time()
        found = map_concurrently(self._read_tokens_of, unique, _CONCURRENCY)
        return [
            _describe_token(user, token, now) for user, tokens in zip(unique, found, strict=True) for token in tokens
        ]

    def _read_tokens_of(self, user: str) -> list[Token]:
        """Return a user's tokens. Raises `NotFound` for a user whom the task names."""
        what = f"user '{user}'"
        try:
            return self._hub.list_tokens(user)
        except NotFound:
            # The hub answers the same for users whose tokens this token may not see.
            if not {_READ_TOKENS, f"{_READ_TOKENS}!user={user}"} & set(self._hub.held_scopes):
                raise MissingScope(
                    f"The token's scope '{_READ_TOKENS}' does not cover {what}, or there is no such user.",
                    f"Check the name, or mint the token with {_READ_TOKENS}, or with {_READ_TOKENS}!user={user}.",
                ) from None
            if self._wanted.users is not None:
                raise
            return []  # somebody has deleted the user since the list was read


def _describe_servers(user: User) -> list[dict[str, Any]]:
    """Return the user's servers as the result shows them."""
    keys = ("ready", "pending", "url", "started", "last_activity", "user_options")
    return [
        {"user": user.name, "server_name": name, **{key: model.get(key) for key in keys}}
        for name, model in (user.model.get("servers") or {}).items()
    ]


def _describe_class(model: Any) -> dict[str, Any] | None:
    """Return a class of the hub's configuration, or None if the hub does not show it.

    If the hub does not know the version of the class, it says "unknown". The version is None then.
    """
    if not isinstance(model, dict):
        return None
    version = model.get("version")
    return {"class": model.get("class"), "version": None if version == "unknown" else version}


def _describe_token(user: str, token: Token, now: float) -> dict[str, Any]:
    """Return a token of the user as the result shows it. ``now`` is in seconds since 1970."""
    return {
        "user": user,
        "token_id": token.id,
        "note": token.note,
        "scopes": None if token.scopes is None else list(token.scopes),
        "created": token.created,
        "age_seconds": _seconds_between(parse_time(token.created), now),
        "expires_at": token.expires_at,
        "expires_in_seconds": _seconds_between(now, parse_time(token.expires_at)),
        "last_activity": token.last_activity,
        "idle_seconds": _seconds_between(parse_time(token.last_activity), now),
    }


def _seconds_between(start: float | None, end: float | None) -> int | None:
    """Return the whole seconds from ``start`` to ``end``, or None if one of them is None."""
    return whole_seconds(None if start is None or end is None else end - start)
