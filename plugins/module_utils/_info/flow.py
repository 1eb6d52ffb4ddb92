# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of `hub_info`: reads what a hub is, who owns the token, and what the hub has. It changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .._hub.client import HubClient
from .._hub.errors import MissingScope, NotFound
from .._hub.models import Token, User
from .._hub.scopes import READ_SERVERS, split_scope
from .._hub.times import parse_time, whole_seconds
from .._path.plan import Flow, Plan, Report, Result
from .everything import LIST_USERS, READ_TOKENS, describe_hub, describe_own_token, read_everything, read_tokens

GATHER = ("users", "servers", "groups", "services", "routes", "tokens")
ALL = "all"
"""Reads everything that the token may see, and names what it may not see."""


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
        if ALL in wanted.gather:
            return Plan((), {}, {}, predicted=self._read_everything())
        token = self._describe_own_token()
        answer: dict[str, Any] = {"hub": describe_hub(hub, token), "token": token, **dict.fromkeys(GATHER)}
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

    def _read_everything(self) -> dict[str, Any]:
        """Return the answer for `ALL`. Raises `MissingScope` for a part that is named beside `ALL` and is not whole."""
        self._check_required_scopes()
        found = read_everything(self._hub)
        for each in found.unreadable:
            if each.name in self._wanted.gather:
                raise MissingScope(each.message, f"Mint it with {each.scope}, or leave {each.name} out of gather.")
        now, hidden = time.time(), {each.name for each in found.unreadable}
        shown = [user for user in found.users or () if user.servers is not None]
        return {
            "hub": found.hub,
            "token": found.token,
            "users": _list(found.users and (user.model for user in found.users)),
            "servers": None
            if "servers" in hidden and not shown
            else [
                {**server, "stopped": bool(user.model["servers"][server["server_name"]].get("stopped"))}
                for user in shown
                for server in _describe_servers(user)
            ],
            "groups": _list(found.groups),
            "services": _list(found.services),
            "routes": _list(found.routes),
            "tokens": _list(found.tokens and (_describe_token(user, token, now) for user, token in found.tokens)),
            "unreadable": _list(asdict(each) for each in found.unreadable),
        }

    def _describe_own_token(self) -> dict[str, Any] | None:
        """Return the token's owner and what the token may do, or None if there is no token and nothing needs one."""
        hub, wanted = self._hub, self._wanted
        if not hub.connection.api_token and not wanted.gather and not wanted.require_scopes:
            return None
        self._check_required_scopes()
        return describe_own_token(hub)

    def _check_required_scopes(self) -> None:
        """Raise `MissingScope` if the token lacks a scope that the task requires."""
        owner, missing = self._hub.owner, self._hub.missing_scopes(self._wanted.require_scopes)
        if missing:
            held = ", ".join(self._hub.held_scopes) or "none"
            raise MissingScope(
                f"The token of {owner.title} lacks {', '.join(missing)}; it holds {held}.",
                "Mint it with the missing scopes, or have an admin grant them to its owner.",
            )

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
        needed = (READ_TOKENS, LIST_USERS) if self._wanted.users is None else (READ_TOKENS,)
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
        found = read_tokens(self._hub, unique)
        return [
            _describe_token(user, token, now)
            for user, tokens in zip(unique, found, strict=True)
            for token in self._check_found(user, tokens)
        ]

    def _check_found(self, user: str, tokens: list[Token] | NotFound) -> list[Token]:
        """Return the user's tokens. Raises `NotFound` for a user whom the task names."""
        if not isinstance(tokens, NotFound):
            return tokens
        # The hub answers the same for users whose tokens this token may not see.
        if not {READ_TOKENS, f"{READ_TOKENS}!user={user}"} & set(self._hub.held_scopes):
            raise MissingScope(
                f"The token's scope '{READ_TOKENS}' does not cover user '{user}', or there is no such user.",
                f"Check the name, or mint the token with {READ_TOKENS}, or with {READ_TOKENS}!user={user}.",
            )
        if self._wanted.users is not None:
            raise tokens
        return []  # somebody has deleted the user since the list was read


def _list(items: Iterable[Any] | None) -> list[Any] | None:
    return None if items is None else list(items)


def _describe_servers(user: User) -> list[dict[str, Any]]:
    """Return the user's servers as the result shows them."""
    keys = ("ready", "pending", "url", "started", "last_activity", "user_options")
    return [
        {"user": user.name, "server_name": name, **{key: model.get(key) for key in keys}}
        for name, model in (user.model.get("servers") or {}).items()
    ]


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
