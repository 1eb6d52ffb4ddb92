# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups of users: what the flows of `hub_group` and `hub_user` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .._hub.client import HubClient
from .._hub.errors import Conflict, Invalid, MissingScope, NotFound
from .._hub.models import Group

READ, READ_NAME = "read:groups", "read:groups:name"
CHANGE, CREATE, DELETE = "groups", "admin:groups", "delete:groups"
_SCOPES_TO_SEE = (READ_NAME, READ, "read:roles:groups")
"""Scopes each of which lets a token see a group."""
USERS_PER_REQUEST = 500
"""The most users whom one request is to add or remove. A hub looks up each user by itself, and answers nobody else
meanwhile: for about a second with so many users."""


def group_title(name: str) -> str:
    """Return the group's name in a sentence."""
    return f"group '{name}'"


def find_group(hub: HubClient, name: str) -> Group | None:
    """Return the group, or None if it is certain that the hub does not have it.

    Raises `MissingScope` if the token may not see whether it has.
    """
    try:
        return hub.read_group(name, scope=READ_NAME)
    except NotFound:
        # The hub answers the same for a group that the token may not see.
        if not any(has_scope(hub, scope, name) for scope in _SCOPES_TO_SEE):
            raise MissingScope(
                f"The token may not see {group_title(name)}, so the task cannot know whether it exists.",
                f"Mint it with {READ_NAME}!group={name} and the scopes for the changes, such as {CHANGE}!group={name}.",
            ) from None
        return None


def has_scope(hub: HubClient, scope: str, name: str, kind: str = "group") -> bool:
    """Return whether the token holds the scope for this group, or for an object of another ``kind``."""
    return bool({scope, f"{scope}!{kind}={name}"} & set(hub.held_scopes))


def check_scope(hub: HubClient, scope: str, groups: Iterable[str]) -> None:
    """Raise `MissingScope` if the token does not hold the scope for all these groups."""
    without_scope = [group for group in groups if not has_scope(hub, scope, group)]
    if without_scope:
        titles, scopes = ", ".join(map(group_title, without_scope)), ", ".join(hub.held_scopes)
        raise MissingScope(
            f"The token lacks the scope '{scope}' for {titles}; it holds {scopes or 'none'}.",
            f"Mint it with {scope}, or have an admin grant that scope to its owner.",
        )


def check_lower_case(names: Iterable[str], is_user: Callable[[str], bool]) -> None:
    """Raise `Conflict` if the hub would take another user in place of one of these.

    When a hub adds a user to a group or removes it, it changes the user's name to lower case, because most
    authenticators have names in lower case (``_usernames_to_users`` in JupyterHub 6.1).
    """
    for name in names:
        other = name.lower()
        if other != name and is_user(other):
            raise Conflict(
                f"The hub would take user '{other}' in place of user '{name}' for its groups.",
                "Use names in lower case: a hub's API for groups knows no others.",
            )


def create_group(hub: HubClient, name: str, users: Sequence[str] = ()) -> None:
    """Create the group with these users. Raises `Conflict` if the hub has it.

    A hub creates no group if it does not know one of the users.
    """
    body = {"users": list(users)} if users else None
    _write(hub, "POST", name, scope=CREATE, what=group_title(name), body=body)


def change_members(hub: HubClient, method: str, name: str, users: Sequence[str]) -> None:
    """Add these users to the group (``method`` is POST) or remove them from it (DELETE).

    A hub changes nothing if it does not know one of the users.
    """
    what = f"{list_names(users, 'user')} in {group_title(name)}"
    _write(hub, method, name, "users", scope=CHANGE, what=what, body={"users": list(users)})


def _write(hub: HubClient, method: str, *path: str, scope: str, what: str, body: dict[str, Any] | None) -> None:
    try:
        hub.write(method, "groups", *path, scope=scope, what=what, body=body)
    except Invalid as error:
        raise error.with_hint(
            "Leave groups to the authenticator if it manages them. Most authenticators know names in lower case only."
        ) from None


def list_names(names: Sequence[str], noun: str) -> str:
    """Return the names for a sentence, such as ``users 'a', 'b' and 7 more``."""
    shown = ", ".join(f"'{name}'" for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{noun}{'s' if len(names) > 1 else ''} {shown}{more}"
