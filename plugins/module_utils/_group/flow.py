# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of `hub_group`: creates, changes and deletes groups of users."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._hub.client import HubClient
from .._hub.connection import build_api_path, check_json
from .._hub.errors import Conflict, HubError, Invalid, MissingScope, NotFound
from .._hub.models import Group
from .._path.batch import Batch, Item
from .._path.plan import Action, Plan, Report, Result, find_duplicate
from .._path.workers import map_concurrently
from . import model

_LIST_USERS, _READ_USER = "list:users", "read:users:name"
_FEW_USERS = 200
"""Up to so many users are read one by one. More are looked up in the list of all users."""
_READERS = 10
"""Users who are read at the same time."""
_ATTEMPTS = 5
"""How often a group is changed and read, if each time somebody else has changed it in another way."""


@dataclass(frozen=True)
class GroupSpec:
    """The desired state of one group. Raises `Invalid` for names and properties that no request can carry."""

    name: str
    state: str = "present"
    users: tuple[str, ...] | None = None
    """The members. None leaves them alone."""
    append: bool = False
    """Whether the group may have other members, too."""
    properties: dict[str, Any] | None = None
    """None leaves them alone."""

    def __post_init__(self) -> None:
        build_api_path("groups", self.name)
        for user in self.users or ():
            build_api_path("users", user)
        check_json(self.properties, f"properties of {self.title}")

    @property
    def title(self) -> str:
        """The group's name in a sentence."""
        return model.group_title(self.name)


class UserNames:
    """Tells which users the hub does not have, as far as the token may see it."""

    def __init__(self, hub: HubClient) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._all: frozenset[str] | None = None

    def find_unknown(self, names: Sequence[str]) -> list[str]:
        """Return those of the names that no user has. Those that the token may not see are not among them."""
        if len(names) > _FEW_USERS and _LIST_USERS in self._hub.held_scopes:
            with self._lock:
                if self._all is None:
                    self._all = frozenset(user.name for user in self._hub.list_users(overlaps=True))
            return [name for name in names if name not in self._all]
        visible = [name for name in names if model.has_scope(self._hub, _READ_USER, name, "user")]
        found = map_concurrently(self._has, visible, _READERS)
        return [name for name, is_there in zip(visible, found, strict=True) if not is_there]

    def has(self, name: str) -> bool:
        """Return whether the token sees a user of this name."""
        return model.has_scope(self._hub, _READ_USER, name, "user") and self._has(name)

    def _has(self, name: str) -> bool:
        try:
            self._hub.read_user(name, scope=_READ_USER)
        except NotFound:
            return False
        return True


def group_batch(
    hub: HubClient, specs: Sequence[GroupSpec], report: Report, *, concurrency: int, is_single: bool
) -> Batch:
    """Return the flow of `hub_group`: the declared groups, at most ``concurrency`` at a time.

    If ``is_single``, the result has the group also under the key ``group``. Raises `Invalid` for a group that is
    declared twice.
    """
    duplicate = find_duplicate([spec.title for spec in specs])
    if duplicate is not None:
        raise Invalid(f"The {duplicate} is declared twice.", "Declare each group once.")
    users = UserNames(hub)
    return Batch(
        "groups",
        [GroupFlow(hub, spec, users) for spec in specs],
        concurrency,
        prepare=hub.read_version,
        summarize=lambda answers: {"group": answers[0] if is_single else None},
        report=report,
    )


class GroupFlow(Item):
    """Takes one group to its desired state."""

    def __init__(self, hub: HubClient, wanted: GroupSpec, users: UserNames) -> None:
        self._hub = hub
        self._wanted = wanted
        self._users = users
        self.name = wanted.title

    def initial_answer(self) -> dict[str, Any]:
        return {"name": self._wanted.name, "state": None, "users": None, "properties": None}

    def plan(self) -> Plan:
        """Plan to write only what differs. Raises the failure of each write of which it is certain that it fails."""
        group = model.find_group(self._hub, self._wanted.name)
        changes = self._plan_changes(group)
        before = self._describe(group)
        after = self._predict(before) if changes else before
        return Plan(changes, before, after, predicted=after)

    def _plan_changes(self, group: Group | None) -> tuple[Action, ...]:
        """Return the actions that take the group to its desired state.

        Raises `MissingScope` for what the token may not do, and `NotFound` for users whom the hub does not have.
        """
        changes = tuple(self._find_changes(group))
        scopes = {"create": model.CREATE, "delete": model.DELETE}
        for action in changes:
            model.check_scope(self._hub, scopes.get(action.verb, model.CHANGE), [self._wanted.name])
        new = [name for action in changes if action.verb in ("create", "add") for name in action.target]
        removed = [name for action in changes if action.verb == "remove" for name in action.target]
        model.check_lower_case([*new, *removed], self._users.has)
        unknown = self._users.find_unknown(new)
        if unknown:
            raise NotFound(
                f"The hub has no {model.list_names(unknown, 'user')}, so the task does not change {self.name}.",
                "Check the names, or create the users first, for example with hub_user.",
            )
        return changes

    def _find_changes(self, group: Group | None) -> list[Action]:
        wanted = self._wanted
        if wanted.state == "absent":
            return [Action("delete", self.name, "it exists")] if group else []
        users, properties = tuple(dict.fromkeys(wanted.users or ())), wanted.properties
        if group is None:
            first = users[: model.USERS_PER_REQUEST]
            changes = [Action("create", self.name, "the hub does not have it", first), *self._add(users[len(first) :])]
        else:
            changes = [] if wanted.users is None else self._find_changes_of_members(users, self._members(group))
            if properties is not None and group.properties is None:
                raise self._may_not_read("properties")
        present = group.properties if group else {}
        if properties is not None and _as_json(properties) != _as_json(present):
            changes.append(Action("change", self.name, "its properties differ", properties))
        return changes

    def _find_changes_of_members(self, users: Sequence[str], members: Sequence[str]) -> list[Action]:
        declared, present = set(users), set(members)
        others = () if self._wanted.append else [name for name in members if name not in declared]
        removals = [
            Action("remove", self.name, f"it has {model.list_names(some, 'user')} beside those of the task", some)
            for some in _split(others)
        ]
        return [*self._add([name for name in users if name not in present]), *removals]

    def _add(self, users: Sequence[str]) -> list[Action]:
        return [Action("add", self.name, f"it lacks {model.list_names(some, 'user')}", some) for some in _split(users)]

    def _members(self, group: Group) -> tuple[str, ...]:
        if group.users is None:
            raise self._may_not_read("users")
        return group.users

    def _may_not_read(self, what: str) -> HubError:
        return MissingScope(
            f"The token may not read the {what} of {self.name}.",
            f"Mint it with {model.READ}, or with {model.READ}!group={self._wanted.name}.",
        )

    def apply(self, plan: Plan) -> Result:
        """Carry out the plan, and read the group until it is as declared.

        The result does not list an action that somebody else has carried out first. Raises `Conflict` if the group is
        not as declared after the hub has accepted the changes.
        """
        changes, done = plan.actions, list[Action]()
        if not changes:
            return Result(plan.predicted)
        try:
            for _attempt in range(_ATTEMPTS):
                failure = self._write(changes, done)
                group = model.find_group(self._hub, self._wanted.name)
                remaining = self._plan_changes(group)
                if not remaining:
                    return Result(self._describe(group), tuple(done))
                if remaining == changes:
                    # What one write of this task has changed, another task may have changed back. They must not fight.
                    raise failure or self._not_as_declared(remaining)
                changes = remaining
            raise self._not_as_declared(changes)
        except HubError as error:
            raise error.with_result({**error.result, "changed": bool(done)}, done) from None

    def _write(self, changes: Sequence[Action], done: list[Action]) -> HubError | None:
        """Carry out the changes, and add them to ``done``.

        Returns the failure that ends this early if the reason may be that somebody else has created, changed or deleted
        the group or one of its members. Raises all other failures.
        """
        try:
            for action in changes:
                self._write_one(action)
                done.append(action)
        except (Conflict, Invalid, NotFound) as error:
            return error
        return None

    def _write_one(self, action: Action) -> None:
        hub, name = self._hub, self._wanted.name
        if action.verb == "delete":
            hub.write("DELETE", "groups", name, scope=model.DELETE, what=self.name)
        elif action.verb == "create":
            model.create_group(hub, name, action.target)
        elif action.verb == "change":
            what = f"properties of {self.name}"
            hub.write("PUT", "groups", name, "properties", scope=model.CHANGE, what=what, body=action.target)
        else:
            model.change_members(hub, "POST" if action.verb == "add" else "DELETE", name, action.target)

    def _not_as_declared(self, remaining: Sequence[Action]) -> HubError:
        return Conflict(
            f"The hub accepted the changes, but {self.name} is not as declared: {remaining[0].why}.",
            "Check whether another program or the authenticator manages its groups, or maps the name of a user to "
            "another.",
        )

    def _predict(self, before: dict[str, Any]) -> dict[str, Any]:
        """Return the group as the task will leave it."""
        wanted = self._wanted
        if wanted.state == "absent":
            return self._describe(None)
        is_new = before["state"] == "absent"
        users = [] if is_new else before["users"]
        if wanted.users is not None:
            users = sorted({*wanted.users, *(users if wanted.append else ())})
        properties = wanted.properties if wanted.properties is not None else {} if is_new else before["properties"]
        return {"name": wanted.name, "state": "present", "users": users, "properties": properties}

    def _describe(self, group: Group | None) -> dict[str, Any]:
        """Return the group as the result shows it. None is a group that the hub does not have."""
        return {
            "name": self._wanted.name,
            "state": "present" if group else "absent",
            "users": None if group is None or group.users is None else sorted(group.users),
            "properties": group.properties if group else None,
        }


def _split(users: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the users in parts, one for each request."""
    size = model.USERS_PER_REQUEST
    return [tuple(users[start : start + size]) for start in range(0, len(users), size)]


def _as_json(value: dict[str, Any] | None) -> str:
    """Return the text by which properties are compared. To Python, true is 1; to a hub, it is not."""
    return json.dumps(json.loads(json.dumps(value)), sort_keys=True)
