# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A difference between two snapshots of a hub, and the pair of snapshots that is compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .._hub.errors import printable
from .._hub.secret_values import hide_secrets
from .._hub.times import parse_time
from .model import PARTS, Items, Snapshot

LOST, CHANGED, NEW = SEVERITIES = ("lost", "changed", "new")
"""What is not there any more, what is different, and what was not there before. The order is that of a report."""
KINDS = (
    "version", "authenticator", "spawner", "user", "admin", "role", "membership", "group", "property", "service",
    "scope", "token", "server", "option", "check", "start_time", "package", "kernel", "unreadable",
)  # fmt: skip
_FREE = ("option", "property")
"""Kinds whose keys and values are the users' own."""
_LONGEST_VALUE = 2000
"""Characters of a value of a difference. A longer one is shown as a text that is cut off."""


@dataclass(frozen=True)
class Difference:
    """One difference. ``before`` and ``after`` are the values of a field, and None where there is no value."""

    severity: str
    kind: str
    name: str
    """What differs: a user, ``group staff``, ``alice/lab`` (a server), ``alice/a12`` (a token) ..."""
    message: str
    """A sentence for people."""
    field: str = ""
    """The field that differs, empty if the whole thing is lost or new."""
    before: Any = None
    after: Any = None

    def shown(self) -> dict[str, Any]:
        """Return the difference as the result of a task has it."""
        return {
            "severity": self.severity,
            "kind": self.kind,
            "name": self.name,
            "field": self.field,
            "before": _cut(self.before),
            "after": _cut(self.after),
            "message": printable(self.message),
        }


def sort_differences(found: Iterable[Difference]) -> list[Difference]:
    """Return the differences by severity, the worst first, then by kind, name and field."""
    return sorted(found, key=lambda each: (SEVERITIES.index(each.severity), each.kind, each.name, each.field))


def _cut(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= _LONGEST_VALUE else printable(text, _LONGEST_VALUE)


@dataclass(frozen=True)
class Pair:
    """Two snapshots of a hub. A part that one of them could not read is not compared."""

    before: Snapshot
    after: Snapshot

    def items(self, part: str) -> tuple[Items, Items] | None:
        """Return the items of a part in both snapshots, or None if one of them could not read the part."""
        before, after = getattr(self.before, part), getattr(self.after, part)
        return None if before is None or after is None else (before, after)

    @cached_property
    def unreadable(self) -> tuple[dict[str, Mapping[str, Any]], dict[str, Mapping[str, Any]]]:
        """What each of the snapshots could not read, or only in part, by name."""
        first, second = (_index_unreadable(each) for each in (self.before, self.after))
        return first, second

    def shows_losses(self, part: str) -> bool:
        """Return whether an item that is not in the second snapshot is lost.

        It may only be hidden if the second snapshot could not read all of a part that the first one could.
        """
        before, after = self.unreadable
        return part in before or part not in after

    def shows_news(self, part: str) -> bool:
        """Return whether an item that is not in the first snapshot is new. See `shows_losses`."""
        before, after = self.unreadable
        return part in after or part not in before

    def covers(self, part: str, name: str) -> bool:
        """Return whether an item of a part is in one of the snapshots only.

        That is a difference of its own, and it includes what belongs to the item.
        """
        found = self.items(part)
        return found is not None and (name in found[0]) is not (name in found[1])

    def pairs(self, part: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Yield the items of a part that are in both snapshots, with their names, sorted."""
        before, after = self.items(part) or ({}, {})
        for name in sorted(before.keys() & after.keys()):
            yield name, before[name], after[name]

    def find_lost(self, part: str) -> list[str]:
        """Return the names of the items of a part that are lost, sorted."""
        found = self.items(part) if self.shows_losses(part) else None
        return sorted(found[0].keys() - found[1].keys()) if found else []

    def find_new(self, part: str) -> list[str]:
        """Return the names of the items of a part that are new, sorted."""
        found = self.items(part) if self.shows_news(part) else None
        return sorted(found[1].keys() - found[0].keys()) if found else []


def _index_unreadable(snapshot: Snapshot) -> dict[str, Mapping[str, Any]]:
    named: dict[str, Mapping[str, Any]] = {each["name"]: each for each in snapshot.unreadable}
    hidden = [part for part in PARTS if getattr(snapshot, part) is None and part not in named]
    return {**named, **{part: {"name": part, "scope": "", "message": ""} for part in hidden}}


def is_same(before: Any, after: Any) -> bool:
    """Return whether two values of JSON are the same. In Python, True equals 1. In JSON it does not."""
    pairs = [(before, after)]
    while pairs:  # not recursive, because a user may have nested the options deeply
        old, new = pairs.pop()
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            if old.keys() != new.keys():
                return False
            pairs += [(old[name], new[name]) for name in old]
        elif isinstance(old, list) and isinstance(new, list):
            if len(old) != len(new):
                return False
            pairs += zip(old, new, strict=True)
        elif old != new or isinstance(old, bool) is not isinstance(new, bool):
            return False
    return True


def is_same_time(before: Any, after: Any) -> bool:
    """Return whether two times are the same, however they are written."""
    first, second = parse_time(before), parse_time(after)
    return before == after if first is None or second is None else first == second


def compare_sets(before: Iterable[str] | None, after: Iterable[str] | None) -> tuple[list[str], list[str]]:
    """Return the names that are only in the first list and those that are only in the second one, sorted.

    If one of the lists is not known, nothing is.
    """
    if before is None or after is None:
        return [], []
    first, second = set(before), set(after)
    return sorted(first - second), sorted(second - first)


def compare_keys(
    kind: str, name: str, what: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Difference]:
    """Yield the keys that differ in two objects. ``what`` is a key in a sentence, such as "The option of server x"."""
    for key in sorted(before.keys() | after.keys()):
        title = f"{what} '{printable(key, 200)}'"
        old, new = before.get(key), after.get(key)
        if kind in _FREE:
            old, new = (hide_secrets({key: value})[key] for value in (old, new))
        if key not in after:
            yield Difference(LOST, kind, name, f"{title} is gone; it was {show(old)}.", key, old)
        elif key not in before:
            yield Difference(NEW, kind, name, f"{title} is new: {show(new)}.", key, None, new)
        elif not is_same(before[key], after[key]) and is_same(old, new):
            yield Difference(CHANGED, kind, name, f"{title} has another value, which is not shown.", key, old, new)
        elif not is_same(before[key], after[key]):
            yield Difference(CHANGED, kind, name, f"{title} was {show(old)} and is {show(new)} now.", key, old, new)


def show(value: Any) -> str:
    """Return a value of JSON for a sentence."""
    return printable(json.dumps(value, ensure_ascii=False, default=str), 200)
