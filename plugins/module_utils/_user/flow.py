# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of `hub_user`: creates, changes and deletes a user, and adds the user to groups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._group import model as group_model
from .._group.model import group_title
from .._hub.client import HubClient
from .._hub.connection import build_api_path
from .._hub.errors import (
    Conflict,
    HubError,
    MissingScope,
    NotFound,
    not_covered,
)
from .._hub.models import User
from .._path.plan import Action, Flow, Plan, Report, Result
from .._server import model as servers
from .._server import stop

_READ, _WRITE, _DELETE = "read:users", "admin:users", "delete:users"


@dataclass(frozen=True)
class UserSpec:
    """The desired state of one user."""

    user: str
    state: str
    admin: bool | None = None
    """None leaves it alone."""
    wait_timeout: float = 120.0
    """Seconds that each server of the user gets to stop before the user is deleted."""
    groups: tuple[str, ...] = ()
    """The groups that the user is to be a member of. Other memberships are left alone."""
    create_groups: bool = False


class UserFlow(Flow):
    """Takes one user to its desired state."""

    def __init__(self, hub: HubClient, wanted: UserSpec, report: Report) -> None:
        self._hub = hub
        self._wanted = wanted
        self._report = report
        self._title = f"user '{wanted.user}'"

    def plan(self) -> Plan:
        """Plan to create, change, join or delete only what differs.

        Before a user is deleted, the user's servers are stopped.
        """
        wanted = self._wanted
        for group in wanted.groups:
            # Raises `Invalid` for a name that no hub can have, before the first request.
            build_api_path("groups", group)
        user = self._read()
        actions = tuple(self._plan_actions(user))
        before = self._describe(user)
        after = before
        if wanted.state == "absent":
            after = self._describe(None)
        elif actions:
            present_admin = user.admin if user else False
            admin = present_admin if wanted.admin is None else wanted.admin
            groups = before["groups"] if user and not wanted.groups else _sorted(before["groups"], wanted.groups)
            after = {**before, "state": "present", "admin": admin, "groups": groups}
        return Plan(actions, before, after, predicted={"user": _answer(user, after)})

    def _plan_actions(self, user: User | None) -> list[Action]:
        wanted = self._wanted
        if wanted.state == "absent":
            if not user:
                return []
            try:
                names = servers.list_running(self._hub, wanted.user)
            except NotFound:
                return []  # somebody else has deleted the user since
            why = "a hub deletes only half of a user whose server runs"
            stops = [Action("stop", servers.server_title(wanted.user, name), why, name) for name in names]
            return [*stops, Action("delete", self._title, "it exists")]
        actions = []
        if not user:
            actions.append(Action("create", self._title, "the hub does not have it"))
        elif wanted.admin is not None and user.admin is not wanted.admin:
            if user.admin is None:
                raise MissingScope(
                    f"The token may not read whether {self._title} is an admin.", f"Mint it with {_READ}."
                )
            why = "it becomes an admin" if wanted.admin else "it is no longer an admin"
            actions.append(Action("change", self._title, why))
        return [*actions, *self._plan_memberships(user)]

    def _plan_memberships(self, user: User | None) -> list[Action]:
        """Return the actions that create missing groups, and add the user to the groups that it is not a member of.

        Raises `MissingScope` for what the token may not do, and `NotFound` for a group that the task may not create.
        Nothing has been written then.
        """
        wanted = self._wanted
        if user and wanted.groups and user.groups is None:
            raise MissingScope(f"The token may not read the groups of {self._title}.", f"Mint it with {_READ}.")
        memberships = (user.groups or ()) if user else ()
        to_join = [group for group in dict.fromkeys(wanted.groups) if group not in memberships]
        to_create = [group for group in to_join if group_model.find_group(self._hub, group) is None]
        if to_create and not wanted.create_groups:
            raise NotFound(
                f"The hub has no {group_title(to_create[0])}.", "Check the name, or set create_groups to create it."
            )
        group_model.check_scope(self._hub, group_model.CREATE, to_create)
        group_model.check_scope(self._hub, group_model.CHANGE, to_join)
        if to_join:
            group_model.check_lower_case([wanted.user], lambda name: self._find(name) is not None)
        return [
            *(Action("create", group_title(group), "the hub does not have it", group) for group in to_create),
            *(Action("join", group_title(group), f"{self._title} is no member", group) for group in to_join),
        ]

    def apply(self, plan: Plan) -> Result:
        """Carry out the plan. The result does not list an action that somebody else has carried out first."""
        if not plan.changed:
            return Result(plan.predicted)
        done: list[Action] = []
        for action in plan.actions:
            if action.verb == "stop":
                continue  # `_delete` stops all servers that run by then
            if action.verb == "delete":
                stopped, is_done = self._delete()
                done += [each for each in plan.actions if each.verb == "stop" and each.target in stopped]
            elif action.target is None:
                is_done = self._create() if action.verb == "create" else self._change()
            else:
                is_done = self._create_group(action.target) if action.verb == "create" else self._join(action.target)
            if is_done:
                done.append(action)
        user = self._read()
        if bool(user) is (self._wanted.state == "absent"):
            raise Conflict(
                f"The hub accepted the change, but {self._title} {'still exists' if user else 'does not exist'}.",
                "Check whether another program manages the hub's users.",
            )
        self._check_joined(plan, user)
        return Result({"user": _answer(user, self._describe(user))}, tuple(done))

    def _delete(self) -> tuple[set[str], bool]:
        """Stop the user's servers and delete the user.

        Return the names of the servers that were stopped, and whether this task has deleted the user.

        A hub answers 500 to the deletion of a user with an active server, and still deletes half of the user: its
        authenticator has forgotten the user by then.
        """
        user, stopped = self._wanted.user, set[str]()
        try:
            for name in servers.list_running(self._hub, user):
                title = servers.server_title(user, name)
                self._report(f"{self._title}: stopping the {title}")
                stop.stop(self._hub, user, name, self._wanted.wait_timeout)
                stopped.add(name)
            self._write("DELETE", scope=_DELETE)
        except NotFound:
            return stopped, False
        except HubError:
            # If two tasks delete a user at the same time, the hub may answer one of them with any failure.
            if self._read() is None:
                return stopped, False
            raise
        return stopped, True

    def _change(self) -> bool:
        """Make the user an admin, or make it no admin. Return True, because this task has changed it."""
        self._write("PATCH", scope=_WRITE, body={"admin": bool(self._wanted.admin)})
        return True

    def _create_group(self, group: str) -> bool:
        """Create the group. Return False if somebody else has created it by now."""
        try:
            group_model.create_group(self._hub, group)
        except Conflict:
            return False  # for example the same task for another user
        return True

    def _join(self, group: str) -> bool:
        """Add the user to the group. Return True, because this task has changed the group."""
        group_model.change_members(self._hub, "POST", group, [self._wanted.user])
        return True

    def _check_joined(self, plan: Plan, user: User | None) -> None:
        """Raise `Conflict` if the user is not a member of all its groups after the plan was carried out."""
        if not plan.has("join"):
            return
        missing = [group for group in self._wanted.groups if group not in ((user and user.groups) or ())]
        if missing:
            raise Conflict(
                f"The hub accepted the change, but {self._title} is not in {', '.join(map(group_title, missing))}.",
                "Check whether its authenticator manages groups, or maps the name to that of another user.",
            )

    def _create(self) -> bool:
        """Create the user. Return whether this task has created or changed it.

        The request goes to the user's own address. That of the list would change the name to lower case.
        """
        admin = self._wanted.admin
        try:
            self._write("POST", scope=_WRITE, body={"admin": bool(admin)})
        except NotFound:
            # The hub answers this if the token holds the scope for other users only. The user need not exist.
            raise not_covered(_WRITE, self._title, self._wanted.user) from None
        except Conflict:
            # Somebody else has created the user by now, perhaps with another value of ``admin``.
            user = self._read()
            return bool(user and admin is not None and user.admin is not admin and self._change())
        return True

    def _read(self) -> User | None:
        return self._find(self._wanted.user)

    def _find(self, name: str) -> User | None:
        """Return a user as the hub has it, or None if it is certain that the hub does not have the user.

        Raises `MissingScope` if the token may not see the user.
        """
        try:
            return self._hub.read_user(name, scope=_READ)
        except NotFound:
            # The hub answers the same for a user whom the token may not see.
            if not self._hub.missing_scopes([f"read:users:name!user={name}"]):
                return None
        raise MissingScope(
            f"The token may not see user '{name}', so the task cannot know whether the user exists.",
            f"Mint it with {_READ}!user={name} and the scopes for the changes, such as {_WRITE}!user={name}.",
        )

    def _write(self, method: str, *, scope: str, body: dict[str, Any] | None = None) -> None:
        try:
            self._hub.write(method, "users", self._wanted.user, scope=scope, what=self._title, body=body)
        except NotFound:
            # The hub answers the same for a user that the scope does not cover.
            if self._read() is not None:
                raise not_covered(scope, self._title, self._wanted.user) from None
            raise

    def _describe(self, user: User | None) -> dict[str, Any]:
        """Return the user as the diff shows it. None is a user that the hub does not have."""
        groups = user.groups if user else None
        return {
            "name": self._wanted.user,
            "state": "present" if user else "absent",
            "admin": user.admin if user else None,
            "groups": None if groups is None else _sorted(groups),
        }


def _sorted(*groups: Iterable[str] | None) -> list[str]:
    """Return the names of groups, each once. The order in which a hub lists them means nothing."""
    return sorted({name for names in groups for name in names or ()})


def _answer(user: User | None, description: dict[str, Any]) -> dict[str, Any]:
    """Return the user as the result shows it: its description, and times that only the hub knows."""
    times = {"created": user.created, "last_activity": user.last_activity} if user else {}
    return {**description, "created": None, "last_activity": None, **times}
