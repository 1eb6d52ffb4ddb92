# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of the hub: be there, be an admin or not, be gone.

This file is private to the collection: it may change without notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.module_utils import _servers
from ansible_collections.hubops.jupyterhub.plugins.module_utils._client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import Conflict, MissingScope, NotFound
from ansible_collections.hubops.jupyterhub.plugins.module_utils._plan import Action, Plan, Report

_READ, _WRITE, _DELETE = "read:users", "admin:users", "delete:users"


@dataclass(frozen=True)
class Wanted:
    """The desired state of one user. ``admin`` None leaves it alone. ``wait_timeout``: seconds, a server to stop."""

    user: str
    state: str
    admin: bool | None = None
    wait_timeout: float = 120.0


class UserFlow:
    """`hub_user`: one user to its desired state."""

    def __init__(self, hub: HubClient, wanted: Wanted, report: Report) -> None:
        self._hub = hub
        self._wanted = wanted
        self._report = report
        self._what = f"user '{wanted.user}'"

    def plan(self) -> Plan:
        """Create, change and delete only what differs. Servers go first: see `apply`."""
        found = self._read()
        actions = tuple(self._actions(found))
        before = self._picture(found)
        after = before
        if self._wanted.state == "absent":
            after = self._picture(None)
        elif actions:
            admin = self._wanted.admin if self._wanted.admin is not None else before["admin"]
            after = {**before, "state": "present", "admin": bool(admin)}
        return Plan(actions, before, after, predicted={"user": _answer({**(found or {}), **after})})

    def _actions(self, found: dict[str, Any] | None) -> list[Action]:
        wanted = self._wanted
        if wanted.state == "absent":
            if not found:
                return []
            stops = [
                Action("stop", _servers.title(wanted.user, name), "a hub half-deletes a user whose server runs")
                for name in _servers.read_all(self._hub, wanted.user)
            ]
            return [*stops, Action("delete", self._what, "it exists")]
        if not found:
            return [Action("create", self._what, "the hub does not have it")]
        if wanted.admin is None or found.get("admin") is wanted.admin:
            return []
        if "admin" not in found:
            raise MissingScope(f"The token may not read whether {self._what} is an admin.", f"Mint it with {_READ}.")
        return [Action("change", self._what, "it becomes an admin" if wanted.admin else "it is no longer an admin")]

    def apply(self, plan: Plan) -> dict[str, Any]:
        """Do it. A hub answers 500 to the deletion of a user with an active server, and half-deletes it all the same:
        the authenticator has forgotten the user by then."""
        user, admin = self._wanted.user, self._wanted.admin
        if not plan.changed:
            return plan.predicted
        if plan.does("delete"):
            for name in _servers.read_all(self._hub, user):
                self._report(f"{self._what}: stopping the {_servers.title(user, name)}")
                _servers.stop(self._hub, user, name, self._wanted.wait_timeout)
            self._write("DELETE", scope=_DELETE)
        elif plan.does("create"):
            self._create(bool(admin))
        elif plan.does("change"):
            self._write("PATCH", scope=_WRITE, body={"admin": bool(admin)})
        found = self._read()
        if bool(found) is (self._wanted.state == "absent"):
            raise Conflict(
                f"The hub did as it was asked, and {self._what} is {'still' if found else 'not'} there.",
                "Look for another program that manages the hub's users.",
            )
        return {"user": _answer({**(found or {}), **self._picture(found)})}

    def _create(self, admin: bool) -> None:
        """Create the user at the address of its own: the list's address would change the name to lower case."""
        try:
            self._write("POST", scope=_WRITE, body={"admin": admin})
        except NotFound:
            # A hub's way to say that the scope is there, for others only.
            raise MissingScope(
                f"The token's scope '{_WRITE}' does not cover {self._what}.",
                f"Mint it with {_WRITE}, or with {_WRITE}!user={self._wanted.user}.",
            ) from None

    def _read(self) -> dict[str, Any] | None:
        """The hub's model of the user; None where it is known that there is none."""
        user = self._wanted.user
        try:
            return self._hub.get("users", user, scope=_READ, what=self._what)
        except NotFound:
            # The hub says the same of users whom the token may not see.
            if not self._hub.lacking([f"read:users:name!user={user}"])[0]:
                return None
        raise MissingScope(
            f"The token may not see {self._what}, so nobody can tell whether there is one.",
            f"Mint it with {_READ}!user={user} and what it is to do, such as {_WRITE}!user={user}.",
        )

    def _write(self, method: str, *, scope: str, body: dict[str, Any] | None = None) -> None:
        self._hub.write(method, "users", self._wanted.user, scope=scope, what=self._what, body=body)

    def _picture(self, found: dict[str, Any] | None) -> dict[str, Any]:
        state = "present" if found else "absent"
        return {"name": self._wanted.user, "state": state, "admin": found.get("admin") if found else None}


def _answer(model: dict[str, Any]) -> dict[str, Any]:
    keys = ("name", "state", "admin", "groups", "created", "last_activity")
    return {key: model.get(key) for key in keys}
