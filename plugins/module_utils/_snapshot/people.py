# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the users of two snapshots, their admins and roles, and who is in which group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._hub.errors import quoted
from .difference import CHANGED, LOST, NEW, Difference, Pair, compare_keys, compare_sets, is_same_time, show

_ADMIN_ROLE = "admin"
"""The role that a hub gives to each admin and takes from all others."""


def compare_users(pair: Pair) -> Iterator[Difference]:
    """Yield users that are lost, new, or created again, with their admins and roles."""
    for name in pair.find_lost("users"):
        yield Difference(LOST, "user", name, f"User {quoted(name)} is gone.")
    for name in pair.find_new("users"):
        is_admin = (pair.after.users or {}).get(name, {}).get("admin") is True
        admin = " and is an admin" if is_admin else ""
        yield Difference(NEW, "user", name, f"User {quoted(name)} is new{admin}.")
    for name, before, after in pair.pairs("users"):
        old, new = before.get("created"), after.get("created")
        if old is not None and new is not None and not is_same_time(old, new):
            message = f"User {quoted(name)} was deleted and created again."
            yield Difference(CHANGED, "user", name, message, "created", old, new)
        yield from compare_permissions(name, f"User {quoted(name)}", before, after)


def compare_permissions(name: str, title: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    """Yield whether somebody is an admin no more, or now, and which roles are lost and new.

    ``title`` is the name at the beginning of a sentence.
    """
    old, new = before.get("admin"), after.get("admin")
    differs = old is not None and new is not None and old is not new
    if differs:
        severity, message = (LOST, f"{title} is no longer an admin.") if old else (NEW, f"{title} is an admin now.")
        yield Difference(severity, "admin", name, message, "admin", old, new)
    lost, new_ones = compare_sets(before.get("roles"), after.get("roles"))
    for role in lost:
        if not (differs and old and role == _ADMIN_ROLE):
            yield Difference(LOST, "role", name, f"{title} has lost the role {quoted(role)}.", role, True, False)
    for role in new_ones:
        if not (differs and new and role == _ADMIN_ROLE):
            yield Difference(NEW, "role", name, f"{title} has the new role {quoted(role)}.", role, False, True)


def compare_memberships(pair: Pair) -> Iterator[Difference]:
    """Yield who has left a group and who has joined one.

    Both users and groups have the memberships. Those of the groups count for users whose groups cannot be read.
    """
    known = set[str]()
    for user, before, after in pair.pairs("users"):
        if before.get("groups") is not None and after.get("groups") is not None:
            known.add(user)
            lost, new = compare_sets(before["groups"], after["groups"])
            yield from (_describe_loss(user, group) for group in lost if not pair.covers("groups", group))
            yield from (_describe_gain(user, group) for group in new if not pair.covers("groups", group))
    for group, before, after in pair.pairs("groups"):
        lost, new = compare_sets(before.get("users"), after.get("users"))
        for users, describe in ((lost, _describe_loss), (new, _describe_gain)):
            yield from (describe(user, group) for user in users if user not in known and not pair.covers("users", user))


def _describe_loss(user: str, group: str) -> Difference:
    message = f"User {quoted(user)} is no longer in group {quoted(group)}."
    return Difference(LOST, "membership", user, message, group, True, False)


def _describe_gain(user: str, group: str) -> Difference:
    message = f"User {quoted(user)} is in group {quoted(group)} now."
    return Difference(NEW, "membership", user, message, group, False, True)


def compare_groups(pair: Pair) -> Iterator[Difference]:
    """Yield groups that are lost or new, and which properties and roles of the others differ."""
    for name in pair.find_lost("groups"):
        members = _count_members(pair.before.groups, name)
        yield Difference(LOST, "group", name, f"Group {quoted(name)} is gone{members}.")
    for name in pair.find_new("groups"):
        members = _count_members(pair.after.groups, name)
        yield Difference(NEW, "group", name, f"Group {quoted(name)} is new{members}.")
    for name, before, after in pair.pairs("groups"):
        old, new = before.get("properties"), after.get("properties")
        if old is not None and new is not None:
            yield from _compare_properties(name, old, new)
        yield from compare_permissions(f"group {name}", f"Group {quoted(name)}", before, after)


def _compare_properties(name: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    return compare_keys("property", name, f"Group {quoted(name)}: the property", before, after)


def _count_members(groups: dict[str, dict[str, Any]] | None, name: str) -> str:
    users = (groups or {}).get(name, {}).get("users")
    return "" if users is None else f", with {len(users)} member{'s' * (len(users) != 1)}"


def compare_services(pair: Pair) -> Iterator[Difference]:
    """Yield services that are lost or new, and what differs in the others."""
    for name in pair.find_lost("services"):
        yield Difference(LOST, "service", name, f"Service {quoted(name)} is gone.")
    for name in pair.find_new("services"):
        yield Difference(NEW, "service", name, f"Service {quoted(name)} is new.")
    for name, before, after in pair.pairs("services"):
        title = f"Service {quoted(name)}"
        for field, what in (("url", "address"), ("display", "display in the hub's pages")):
            old, new = before.get(field), after.get(field)
            if old is not None and new is not None and old != new:
                message = f"{title}: its {what} was {show(old)} and is {show(new)} now."
                yield Difference(CHANGED, "service", name, message, field, old, new)
        yield from compare_permissions(f"service {name}", title, before, after)
