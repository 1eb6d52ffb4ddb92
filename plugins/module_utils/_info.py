# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hub is, whom a token belongs to, and what the hub has: reads only.

This file is private to the collection: it may change without notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.module_utils._client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import HubError, MissingScope
from ansible_collections.hubops.jupyterhub.plugins.module_utils._plan import Plan, Report
from ansible_collections.hubops.jupyterhub.plugins.module_utils._scopes import READ_SERVERS

GATHER = ("users", "servers", "groups", "services", "routes")


@dataclass(frozen=True)
class Wanted:
    """What to look up. ``users`` None is all of them, which needs ``list:users``."""

    gather: tuple[str, ...] = ()
    users: tuple[str, ...] | None = None
    require_scopes: tuple[str, ...] = ()


class InfoFlow:
    """`hub_info`: nothing to change, so the plan is empty and all is read in it."""

    def __init__(self, hub: HubClient, wanted: Wanted, report: Report) -> None:
        self._hub = hub
        self._wanted = wanted

    def plan(self) -> Plan:
        hub, wanted = self._hub, self._wanted
        answer: dict[str, Any] = {
            "hub": {"url": hub.url, "version": hub.version},
            "token": self._token(),
            **dict.fromkeys(GATHER),
        }
        if {"users", "servers"} & set(wanted.gather):
            users = self._users()
            if "users" in wanted.gather:
                answer["users"] = users
            if "servers" in wanted.gather:
                answer["servers"] = [server for user in users for server in _servers(user)]
        if "groups" in wanted.gather:
            answer["groups"] = list(hub.pages("groups", scope="list:groups", what="list of groups"))
        if "services" in wanted.gather:
            answer["services"] = list(hub.pages("services", scope="list:services", what="list of services"))
        if "routes" in wanted.gather:
            answer["routes"] = list(hub.pages("proxy", scope="proxy", what="proxy's table of routes"))
        return Plan((), {}, {}, predicted=answer)

    def apply(self, plan: Plan) -> dict[str, Any]:
        return plan.predicted

    def _token(self) -> dict[str, Any] | None:
        """Whom the token belongs to. Without one there is only the hub to tell of."""
        hub, wanted = self._hub, self._wanted
        if not hub.connection.api_token and not wanted.gather and not wanted.require_scopes:
            return None
        identity = hub.identity
        name = str(identity["name"])
        lacking, held = hub.lacking(wanted.require_scopes)
        if lacking:
            owner = f"{identity.get('kind')} '{name}'"
            raise MissingScope(
                f"The token of {owner} lacks {', '.join(lacking)}; it holds {', '.join(held) or 'none'}.",
                "Mint it with the missing scopes, or have an admin grant them to its owner.",
            )
        token = self._token_model(identity)
        return {
            "kind": identity.get("kind"),
            "name": name,
            "admin": identity.get("admin"),
            "scopes": held,
            "id": identity.get("token_id"),
            "note": token.get("note"),
            "created": token.get("created"),
            "expires_at": token.get("expires_at"),
            "expiry_known": bool(token),
        }

    def _token_model(self, identity: dict[str, Any]) -> dict[str, Any]:
        """What the hub lists of the token itself; empty where it does not tell: of a service's token, before
        JupyterHub 5.0, and of a token that may not read its owner's tokens."""
        number = identity.get("token_id")
        if identity.get("kind") != "user" or not number:
            return {}
        name = str(identity.get("name"))
        try:
            return self._hub.get("users", name, "tokens", str(number), scope="read:tokens", what="the token")
        except HubError as error:
            if error.code in ("missing_scope", "not_found", "unauthorized"):
                return {}
            raise

    def _users(self) -> list[dict[str, Any]]:
        hub, names = self._hub, self._wanted.users
        if names is None:
            users = list(hub.pages("users", scope="list:users", what="list of users"))
        else:
            users = [hub.get("users", name, scope="read:users", what=f"user '{name}'") for name in names]
        if "servers" in self._wanted.gather and any("servers" not in user for user in users):
            # The hub leaves out what a token may not read; an empty list would mean that nothing runs.
            raise MissingScope("The token may not read the servers of every user.", f"Mint it with {READ_SERVERS}.")
        return users


def _servers(user: dict[str, Any]) -> list[dict[str, Any]]:
    keys = ("ready", "pending", "url", "started", "last_activity", "user_options")
    return [
        {"user": user.get("name"), "server_name": name, **{key: model.get(key) for key in keys}}
        for name, model in (user.get("servers") or {}).items()
    ]
