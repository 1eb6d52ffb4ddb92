# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of the hub: be there, be an admin or not, be in groups, be gone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._hub.client import HubClient
from .._hub.connection import api_path
from .._hub.errors import (
    Conflict,
    HubError,
    Invalid,
    MissingScope,
    NotFound,
)
from .._hub.schemas import GROUP, USER
from .._path.plan import Action, Plan, Report
from .._server import model as _servers
from .._server import stop as _stopping

_READ, _WRITE, _DELETE = "read:users", "admin:users", "delete:users"
_NAME, _JOIN, _CREATE = "read:groups:name", "groups", "admin:groups"
_SEES_GROUPS = (_NAME, "read:groups", "read:roles:groups")
"""Each of them lets a token look at a group."""


@dataclass(frozen=True)
class UserSpec:
    """The desired state of one user. ``admin`` None leaves it alone. ``wait_timeout``: seconds, a server to stop.

    ``groups`` are those that the user is to be a member of, whatever the others are.
    """

    user: str
    state: str
    admin: bool | None = None
    wait_timeout: float = 120.0
    groups: tuple[str, ...] = ()
    create_groups: bool = False


class UserFlow:
    """`hub_user`: one user to its desired state."""

    def __init__(self, hub: HubClient, wanted: UserSpec, report: Report) -> None:
        self._hub = hub
        self._wanted = wanted
        self._report = report
        self._what = f"user '{wanted.user}'"

    def plan(self) -> Plan:
        """Create, change, join and delete only what differs. Servers go first: see `apply`."""
        wanted = self._wanted
        for group in wanted.groups:
            api_path("groups", group)  # a name that no hub can have is told before anything else
        found = self._read()
        actions = tuple(self._actions(found))
        before = self._picture(found)
        after = before
        if wanted.state == "absent":
            after = self._picture(None)
        elif actions:
            kept = before["admin"] if found else False
            admin = kept if wanted.admin is None else wanted.admin
            groups = before["groups"] if found and not wanted.groups else _sorted(before["groups"], wanted.groups)
            after = {**before, "state": "present", "admin": admin, "groups": groups}
        return Plan(actions, before, after, predicted={"user": _answer({**(found or {}), **after})})

    def _actions(self, found: dict[str, Any] | None) -> list[Action]:
        wanted = self._wanted
        if wanted.state == "absent":
            if not found:
                return []
            try:
                names = _servers.running(self._hub, wanted.user)
            except NotFound:
                return []  # somebody else has deleted it meanwhile
            stops = [
                Action("stop", _servers.title(wanted.user, name), "a hub half-deletes a user whose server runs")
                for name in names
            ]
            return [*stops, Action("delete", self._what, "it exists")]
        actions = []
        if not found:
            actions.append(Action("create", self._what, "the hub does not have it"))
        elif wanted.admin is not None and found.get("admin") is not wanted.admin:
            if "admin" not in found:
                raise MissingScope(
                    f"The token may not read whether {self._what} is an admin.", f"Mint it with {_READ}."
                )
            why = "it becomes an admin" if wanted.admin else "it is no longer an admin"
            actions.append(Action("change", self._what, why))
        return [*actions, *self._memberships(found)]

    def _memberships(self, found: dict[str, Any] | None) -> list[Action]:
        """Create the groups that are not there, and join those that the user is no member of. What the token may not
        do is told here, before anything is written."""
        wanted = self._wanted
        if found and wanted.groups and found.get("groups") is None:
            raise MissingScope(f"The token may not read the groups of {self._what}.", f"Mint it with {_READ}.")
        joined = found["groups"] if found and wanted.groups else ()
        groups = [group for group in dict.fromkeys(wanted.groups) if group not in joined]
        there = {group: self._exists(group) for group in groups}
        for group in groups:
            if not there[group] and not wanted.create_groups:
                raise NotFound(
                    f"The hub has no {_group(group)}.", "Check the name, or let it be created with create_groups."
                )
        news = [group for group in groups if not there[group]]
        self._may(_CREATE, news)
        self._may(_JOIN, groups)
        if groups:
            self._check_case()
        return [
            *(Action("create", _group(group), "the hub does not have it") for group in news),
            *(Action("join", _group(group), f"{self._what} is no member") for group in groups),
        ]

    def _exists(self, group: str) -> bool:
        try:
            self._hub.get("groups", group, scope=_NAME, what=_group(group), shape=GROUP)
        except NotFound:
            # The hub says the same of groups that the token may not see.
            held = self._held()
            if not any(scope in held or f"{scope}!group={group}" in held for scope in _SEES_GROUPS):
                raise MissingScope(
                    f"The token may not see {_group(group)}, so nobody can tell whether there is one.",
                    f"Mint it with {_NAME}!group={group} and what it is to do, such as {_JOIN}!group={group}.",
                ) from None
            return False
        return True

    def _may(self, scope: str, groups: list[str]) -> None:
        lacking = [group for group in groups if not {scope, f"{scope}!group={group}"} & self._held()]
        if lacking:
            names, held = ", ".join(map(_group, lacking)), ", ".join(sorted(self._held()))
            raise MissingScope(
                f"The token lacks the scope '{scope}' for {names}; it holds {held or 'none'}.",
                f"Mint it with {scope}, or have an admin grant that scope to its owner.",
            )

    def _held(self) -> set[str]:
        return set(self._hub.lacking(())[1])

    def _check_case(self) -> None:
        """A hub looks up whom it adds to a group by the name in lower case, as most authenticators have it (6.1's
        ``_usernames_to_users``), and would take that other user in."""
        other = self._wanted.user.lower()
        if other != self._wanted.user and self._find(other):
            raise Conflict(
                f"The hub would put user '{other}' into the groups in place of {self._what}.",
                "Use names in lower case: a hub's API for groups knows no others.",
            )

    def apply(self, plan: Plan) -> dict[str, Any]:
        """Do it. Others may do the same at the same moment: what they were first to do is done, and not ours."""
        if not plan.changed:
            return plan.predicted
        groups = {_group(group): group for group in self._wanted.groups}
        done: list[Action] = []
        for action in plan.actions:
            if action.verb == "stop":
                continue  # the deletion does, whatever runs by then
            if action.verb == "delete":
                stopped, deleted = self._delete()
                done += [each for each in plan.actions if each.verb == "stop" and each.object in stopped]
                did = deleted
            elif action.object == self._what:
                did = self._create() if action.verb == "create" else self._change()
            else:
                group = groups[action.object]
                did = self._create_group(group) if action.verb == "create" else self._join(group)
            if did:
                done.append(action)
        found = self._read()
        if bool(found) is (self._wanted.state == "absent"):
            raise Conflict(
                f"The hub did as it was asked, and {self._what} is {'still' if found else 'not'} there.",
                "Look for another program that manages the hub's users.",
            )
        self._check_joined(plan, found or {})
        return {
            "changed": bool(done),
            "actions": [action.shown() for action in done],
            "user": _answer({**(found or {}), **self._picture(found)}),
        }

    def _delete(self) -> tuple[set[str], bool]:
        """Stop the user's servers and delete the user; the titles of those that were stopped, and whether it was us.

        A hub answers 500 to the deletion of a user with an active server, and half-deletes it all the same: the
        authenticator has forgotten the user by then.
        """
        user, stopped = self._wanted.user, set[str]()
        try:
            for name in _servers.running(self._hub, user):
                title = _servers.title(user, name)
                self._report(f"{self._what}: stopping the {title}")
                _stopping.stop(self._hub, user, name, self._wanted.wait_timeout)
                stopped.add(title)
            self._write("DELETE", scope=_DELETE)
        except NotFound:
            return stopped, False
        except HubError:
            # Two deletions at once: the hub may fail one of them in any way.
            if self._read() is None:
                return stopped, False
            raise
        return stopped, True

    def _change(self) -> bool:
        self._write("PATCH", scope=_WRITE, body={"admin": bool(self._wanted.admin)})
        return True

    def _create_group(self, group: str) -> bool:
        try:
            self._write_group(group, scope=_CREATE, what=_group(group))
        except Conflict:
            return False  # somebody else, such as the same task for another user, has created it by now
        return True

    def _join(self, group: str) -> bool:
        what = f"{self._what} in {_group(group)}"
        self._write_group(group, "users", scope=_JOIN, what=what, body={"users": [self._wanted.user]})
        return True

    def _write_group(self, *path: str, scope: str, what: str, body: dict[str, Any] | None = None) -> None:
        try:
            self._hub.write("POST", "groups", *path, scope=scope, what=what, body=body)
        except Invalid as error:
            raise Invalid(
                error.message,
                "Leave groups out where the authenticator manages them; most know names in lower case only.",
                status=error.status, method=error.method, url=error.url, reason=error.reason,
            ) from None  # fmt: skip

    def _check_joined(self, plan: Plan, found: dict[str, Any]) -> None:
        if not plan.does("join"):
            return
        out = [group for group in self._wanted.groups if group not in (found.get("groups") or ())]
        if out:
            raise Conflict(
                f"The hub did as it was asked, and {self._what} is not in {', '.join(map(_group, out))}.",
                "Look whether its authenticator manages groups, or maps the name to that of another user.",
            )

    def _create(self) -> bool:
        """Create the user at the address of its own: the list's address would change the name to lower case."""
        admin = self._wanted.admin
        try:
            self._write("POST", scope=_WRITE, body={"admin": bool(admin)})
        except NotFound:
            # A hub's way to say that the scope is there, for others only.
            raise MissingScope(
                f"The token's scope '{_WRITE}' does not cover {self._what}.",
                f"Mint it with {_WRITE}, or with {_WRITE}!user={self._wanted.user}.",
            ) from None
        except Conflict:
            # Somebody else has created it by now, and not with the same wish, maybe.
            found = self._read()
            return bool(found and admin is not None and found.get("admin") is not admin and self._change())
        return True

    def _read(self) -> dict[str, Any] | None:
        return self._find(self._wanted.user)

    def _find(self, user: str) -> dict[str, Any] | None:
        """The hub's model of a user; None where it is known that there is none."""
        what = f"user '{user}'"
        try:
            return self._hub.get("users", user, scope=_READ, what=what, shape=USER)
        except NotFound:
            # The hub says the same of users whom the token may not see.
            if not self._hub.lacking([f"read:users:name!user={user}"])[0]:
                return None
        raise MissingScope(
            f"The token may not see {what}, so nobody can tell whether there is one.",
            f"Mint it with {_READ}!user={user} and what it is to do, such as {_WRITE}!user={user}.",
        )

    def _write(self, method: str, *, scope: str, body: dict[str, Any] | None = None) -> None:
        self._hub.write(method, "users", self._wanted.user, scope=scope, what=self._what, body=body)

    def _picture(self, found: dict[str, Any] | None) -> dict[str, Any]:
        model = found or {}
        groups = model.get("groups")
        return {
            "name": self._wanted.user,
            "state": "present" if found else "absent",
            "admin": model.get("admin"),
            "groups": None if groups is None else _sorted(groups),
        }


def _group(name: str) -> str:
    return f"group '{name}'"


def _sorted(*groups: Iterable[str] | None) -> list[str]:
    """Names of groups, each once. The order in which a hub lists them is none."""
    return sorted({name for names in groups for name in names or ()})


def _answer(model: dict[str, Any]) -> dict[str, Any]:
    keys = ("name", "state", "admin", "groups", "created", "last_activity")
    return {key: model.get(key) for key in keys}
