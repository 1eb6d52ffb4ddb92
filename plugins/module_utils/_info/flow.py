# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hub is, whom a token belongs to, and what the hub has: reads only."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from .._hub.client import HubClient
from .._hub.errors import (
    HubError,
    Invalid,
    MissingScope,
    NotFound,
)
from .._hub.models import Owner, User
from .._hub.schemas import TOKEN
from .._hub.scopes import READ_SERVERS, split_scope
from .._hub.times import parse_time
from .._path.plan import Flow, Plan, Report, Result
from .._path.workers import map_concurrently
from .._token.model import list_of

GATHER = ("users", "servers", "groups", "services", "routes", "tokens")
_LIST, _TOKENS = "list:users", "read:tokens"
_AT_A_TIME = 10
"""Users whose tokens are read concurrently: a hub works on one request after the other, and only waits in between."""


@dataclass(frozen=True)
class InfoSpec:
    """What to look up. ``users`` None is all of them, which needs ``list:users``."""

    gather: tuple[str, ...] = ()
    users: tuple[str, ...] | None = None
    require_scopes: tuple[str, ...] = ()


_NOT_TOLD = ("missing_scope", "not_found", "unauthorized")
"""Failures that mean only that this token is not told."""


class InfoFlow(Flow):
    """`hub_info`: nothing to change, so the plan is empty and all is read in it."""

    def __init__(self, hub: HubClient, wanted: InfoSpec, report: Report) -> None:
        self._hub = hub
        self._wanted = wanted

    def plan(self) -> Plan:
        hub, wanted = self._hub, self._wanted
        token = self._token()
        answer: dict[str, Any] = {"hub": self._about(token), "token": token, **dict.fromkeys(GATHER)}
        if "tokens" in wanted.gather:
            self._may_list_tokens()
        users: list[User] = []
        if {"users", "servers"} & set(wanted.gather) or ("tokens" in wanted.gather and wanted.users is None):
            users = self._users()
            if "users" in wanted.gather:
                answer["users"] = [user.model for user in users]
            if "servers" in wanted.gather:
                answer["servers"] = [server for user in users for server in _servers(user)]
        if "tokens" in wanted.gather:
            answer["tokens"] = self._tokens(users)
        if "groups" in wanted.gather:
            answer["groups"] = list(hub.pages("groups", scope="list:groups", what="list of groups"))
        if "services" in wanted.gather:
            answer["services"] = list(hub.pages("services", scope="list:services", what="list of services"))
        if "routes" in wanted.gather:
            answer["routes"] = list(hub.pages("proxy", scope="proxy", what="proxy's table of routes"))
        return Plan((), {}, {}, predicted=answer)

    def apply(self, plan: Plan) -> Result:
        return Result(plan.predicted)

    def _about(self, token: dict[str, Any] | None) -> dict[str, Any]:
        """What the hub is, with what it tells only those who may know."""
        hub = self._hub
        details: dict[str, Any] = {}
        if token and "read:hub" in token["scopes"]:
            try:
                details = hub.get("info", scope="read:hub", what="hub's details")
            except HubError as error:
                if error.code not in _NOT_TOLD:
                    raise
        try:
            names = dict(hub.dialect.scopes)
        except Invalid:
            names = {}  # of a hub that is too old for anything but to be told so
        return {
            "url": hub.url,
            "version": hub.version,
            "authenticator": _class(details.get("authenticator")),
            "spawner": _class(details.get("spawner")),
            "scope_names": names,
        }

    def _token(self) -> dict[str, Any] | None:
        """Whom the token belongs to. Without one there is only the hub to tell of."""
        hub, wanted = self._hub, self._wanted
        if not hub.connection.api_token and not wanted.gather and not wanted.require_scopes:
            return None
        owner = hub.owner
        lacking = hub.missing_scopes(wanted.require_scopes)
        if lacking:
            held = ", ".join(hub.held_scopes) or "none"
            raise MissingScope(
                f"The token of {owner.title} lacks {', '.join(lacking)}; it holds {held}.",
                "Mint it with the missing scopes, or have an admin grant them to its owner.",
            )
        token = self._token_model(owner)
        return {
            "kind": owner.kind,
            "name": owner.name,
            "admin": owner.admin,
            "scopes": list(hub.held_scopes),
            "id": owner.token_id,
            "note": token.get("note"),
            "created": token.get("created"),
            "expires_at": token.get("expires_at"),
            "expiry_known": bool(token),
        }

    def _token_model(self, owner: Owner) -> dict[str, Any]:
        """What the hub lists of the token itself; empty where it does not tell: of a service's token, before
        JupyterHub 5.0, and of a token that may not read its owner's tokens."""
        if owner.kind != "user" or not owner.token_id:
            return {}
        try:
            return self._hub.get(
                "users", owner.name, "tokens", owner.token_id, scope=_TOKENS, what="the token", schema=TOKEN
            )
        except HubError as error:
            if error.code in _NOT_TOLD:
                return {}
            raise

    def _users(self) -> list[User]:
        hub, names = self._hub, self._wanted.users
        users = [*hub.list_users()] if names is None else [hub.read_user(name, scope="read:users") for name in names]
        if "servers" in self._wanted.gather and any(user.servers is None for user in users):
            # The hub leaves out what a token may not read; an empty list would mean that nothing runs.
            raise MissingScope("The token may not read the servers of every user.", f"Mint it with {READ_SERVERS}.")
        return users

    def _may_list_tokens(self) -> None:
        """Tell all at once what the token lacks, where it holds no such scope for anybody."""
        held = self._hub.held_scopes
        names = {split_scope(scope)[0] for scope in held}
        lacking = [
            scope for scope in (_TOKENS, *((_LIST,) if self._wanted.users is None else ())) if scope not in names
        ]
        if lacking:
            raise MissingScope(
                f"The token lacks {', '.join(lacking)} for the list of tokens; it holds {', '.join(held) or 'none'}.",
                f"Mint it with {' and '.join(lacking)}, or have an admin grant them to its owner.",
            )

    def _tokens(self, listed: list[User]) -> list[dict[str, Any]]:
        """The tokens of the named users, or of those whom the hub has ``listed``."""
        named = self._wanted.users
        unique = list(dict.fromkeys(named if named is not None else (user.name for user in listed)))
        now = time.time()
        found = map_concurrently(self._tokens_of, unique, _AT_A_TIME)
        return [_listed(user, model, now) for user, models in zip(unique, found, strict=True) for model in models]

    def _tokens_of(self, user: str) -> list[dict[str, Any]]:
        what = f"user '{user}'"
        try:
            return list_of(self._hub, user)
        except NotFound:
            # The hub says the same of users whose tokens the token may not see.
            if not {_TOKENS, f"{_TOKENS}!user={user}"} & set(self._hub.held_scopes):
                raise MissingScope(
                    f"The token's scope '{_TOKENS}' does not cover {what}, or there is no such user.",
                    f"Check the name, or mint the token with {_TOKENS}, or with {_TOKENS}!user={user}.",
                ) from None
            if self._wanted.users is not None:
                raise
            return []  # deleted since the list was read


def _servers(user: User) -> list[dict[str, Any]]:
    keys = ("ready", "pending", "url", "started", "last_activity", "user_options")
    return [
        {"user": user.name, "server_name": name, **{key: model.get(key) for key in keys}}
        for name, model in (user.model.get("servers") or {}).items()
    ]


def _class(model: Any) -> dict[str, Any] | None:
    """What the hub tells of a class in its configuration. Its word for a version that it does not know is null here."""
    if not isinstance(model, dict):
        return None
    version = model.get("version")
    return {"class": model.get("class"), "version": None if version == "unknown" else version}


def _listed(user: str, model: dict[str, Any], now: float) -> dict[str, Any]:
    created, expires, used = (model.get(key) for key in ("created", "expires_at", "last_activity"))
    scopes = model.get("scopes")
    return {
        "user": user,
        "token_id": model.get("id"),
        "note": model.get("note"),
        "scopes": sorted(map(str, scopes)) if isinstance(scopes, list) else None,
        "created": created,
        "age_seconds": _seconds(parse_time(created), now),
        "expires_at": expires,
        "expires_in_seconds": _seconds(now, parse_time(expires)),
        "last_activity": used,
        "idle_seconds": _seconds(parse_time(used), now),
    }


def _seconds(since: float | None, until: float | None) -> int | None:
    """Whole seconds, never less than none: the hub's clock may be ahead of this machine's. None where one is none."""
    return None if since is None or until is None else max(0, int(until - since))
