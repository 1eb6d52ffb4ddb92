# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of the hub: be there, be an admin or not, be in groups, be gone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._hub.client import HubClient
from .._hub.connection import build_api_path
from .._hub.errors import (
    Conflict,
    HubError,
    Invalid,
    MissingScope,
    NotFound,
)
from .._hub.models import User
from .._path.plan import Action, Flow, Plan, Report, Result
from .._server import model as servers
from .._server import stop

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


class UserFlow(Flow):
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
            build_api_path("groups", group)  # a name that no hub can have is told before anything else
        found = self._read()
        actions = tuple(self._actions(found))
        before = self._picture(found)
        after = before
        if wanted.state == "absent":
            after = self._picture(None)
        elif actions:
            kept = found.admin if found else False
            admin = kept if wanted.admin is None else wanted.admin
            groups = before["groups"] if found and not wanted.groups else _sorted(before["groups"], wanted.groups)
            after = {**before, "state": "present", "admin": admin, "groups": groups}
        return Plan(actions, before, after, predicted={"user": _answer(found, after)})

    def _actions(self, found: User | None) -> list[Action]:
        wanted = self._wanted
        if wanted.state == "absent":
            if not found:
                return []
            try:
                names = servers.running(self._hub, wanted.user)
            except NotFound:
                return []  # somebody else has deleted it meanwhile
            why = "a hub half-deletes a user whose server runs"
            stops = [Action("stop", servers.server_title(wanted.user, name), why, name) for name in names]
            return [*stops, Action("delete", self._what, "it exists")]
        actions = []
        if not found:
            actions.append(Action("create", self._what, "the hub does not have it"))
        elif wanted.admin is not None and found.admin is not wanted.admin:
            if found.admin is None:
                raise MissingScope(
                    f"The token may not read whether {self._what} is an admin.", f"Mint it with {_READ}."
                )
            why = "it becomes an admin" if wanted.admin else "it is no longer an admin"
            actions.append(Action("change", self._what, why))
        return [*actions, *self._memberships(found)]

    def _memberships(self, found: User | None) -> list[Action]:
        """Create the groups that are not there, and join those that the user is no member of. What the token may not
        do is told here, before anything is written."""
        wanted = self._wanted
        if found and wanted.groups and found.groups is None:
            raise MissingScope(f"The token may not read the groups of {self._what}.", f"Mint it with {_READ}.")
        joined = (found.groups or ()) if found else ()
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
            *(Action("create", _group(group), "the hub does not have it", group) for group in news),
            *(Action("join", _group(group), f"{self._what} is no member", group) for group in groups),
        ]

    def _exists(self, group: str) -> bool:
        try:
            self._hub.read_group(group, scope=_NAME)
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
        return set(self._hub.held_scopes)

    def _check_case(self) -> None:
        """A hub looks up whom it adds to a group by the name in lower case, as most authenticators have it (6.1's
        ``_usernames_to_users``), and would take that other user in."""
        other = self._wanted.user.lower()
        if other != self._wanted.user and self._find(other):
            raise Conflict(
                f"The hub would put user '{other}' into the groups in place of {self._what}.",
                "Use names in lower case: a hub's API for groups knows no others.",
            )

    def apply(self, plan: Plan) -> Result:
        """Do it. Others may do the same at the same moment: what they were first to do is done, and not ours."""
        if not plan.changed:
            return Result(plan.predicted)
        done: list[Action] = []
        for action in plan.actions:
            if action.verb == "stop":
                continue  # the deletion does, whatever runs by then
            if action.verb == "delete":
                stopped, deleted = self._delete()
                done += [each for each in plan.actions if each.verb == "stop" and each.target in stopped]
                did = deleted
            elif action.target is None:
                did = self._create() if action.verb == "create" else self._change()
            else:
                did = self._create_group(action.target) if action.verb == "create" else self._join(action.target)
            if did:
                done.append(action)
        found = self._read()
        if bool(found) is (self._wanted.state == "absent"):
            raise Conflict(
                f"The hub did as it was asked, and {self._what} is {'still' if found else 'not'} there.",
                "Look for another program that manages the hub's users.",
            )
        self._check_joined(plan, found)
        return Result({"user": _answer(found, self._picture(found))}, tuple(done))

    def _delete(self) -> tuple[set[str], bool]:
        """Stop the user's servers and delete the user; the names of those that were stopped, and whether it was us.

        A hub answers 500 to the deletion of a user with an active server, and half-deletes it all the same: the
        authenticator has forgotten the user by then.
        """
        user, stopped = self._wanted.user, set[str]()
        try:
            for name in servers.running(self._hub, user):
                title = servers.server_title(user, name)
                self._report(f"{self._what}: stopping the {title}")
                stop.stop(self._hub, user, name, self._wanted.wait_timeout)
                stopped.add(name)
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
            raise error.with_hint(
                "Leave groups out where the authenticator manages them; most know names in lower case only."
            ) from None

    def _check_joined(self, plan: Plan, found: User | None) -> None:
        if not plan.has("join"):
            return
        out = [group for group in self._wanted.groups if group not in ((found and found.groups) or ())]
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
            return bool(found and admin is not None and found.admin is not admin and self._change())
        return True

    def _read(self) -> User | None:
        return self._find(self._wanted.user)

    def _find(self, user: str) -> User | None:
        """Return a user as the hub has it, or None if it is certain that the hub does not have the user."""
        try:
            return self._hub.read_user(user, scope=_READ)
        except NotFound:
            # The hub says the same of users whom the token may not see.
            if not self._hub.missing_scopes([f"read:users:name!user={user}"]):
                return None
        raise MissingScope(
            f"The token may not see user '{user}', so nobody can tell whether there is one.",
            f"Mint it with {_READ}!user={user} and what it is to do, such as {_WRITE}!user={user}.",
        )

    def _write(self, method: str, *, scope: str, body: dict[str, Any] | None = None) -> None:
        self._hub.write(method, "users", self._wanted.user, scope=scope, what=self._what, body=body)

    def _picture(self, found: User | None) -> dict[str, Any]:
        groups = found.groups if found else None
        return {
            "name": self._wanted.user,
            "state": "present" if found else "absent",
            "admin": found.admin if found else None,
            "groups": None if groups is None else _sorted(groups),
        }


def _group(name: str) -> str:
    return f"group '{name}'"


def _sorted(*groups: Iterable[str] | None) -> list[str]:
    """Names of groups, each once. The order in which a hub lists them is none."""
    return sorted({name for names in groups for name in names or ()})


def _answer(found: User | None, picture: dict[str, Any]) -> dict[str, Any]:
    times = {"created": found.created, "last_activity": found.last_activity} if found else {}
    return {**picture, "created": None, "last_activity": None, **times}
