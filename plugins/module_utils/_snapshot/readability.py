# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares what two snapshots could read at all. What cannot be read must not look as if nothing had changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .._hub.errors import printable, quoted
from .difference import LOST, Difference, Pair
from .model import PARTS

_FIELDS = {
    "users": ("admin", "created", "groups", "roles"),
    "groups": ("properties", "roles", "users"),
    "services": ("admin", "display", "roles", "url"),
    "tokens": ("created", "scopes"),
}
"""The fields that are compared and that may be hidden, by part."""
_PARTS = [part for part in PARTS if part != "routes"]  # routes are not compared
_COMPARED = ("hub", *_PARTS, *(f"{part}.{field}" for part, fields in _FIELDS.items() for field in fields))


def compare_readability(pair: Pair) -> Iterator[Difference]:
    """Yield what the first snapshot could read and the second one could not."""
    before, after = pair.unreadable
    hidden = _count_hidden(pair)
    for name in _COMPARED:
        # What the first snapshot could read only in part is lost, too, if the second one could read less of it.
        if name in hidden or (name in after and (_has_vanished(pair, name) or not _is_hidden(name, before))):
            yield _describe(name, after.get(name) or {}, hidden.get(name, 0))


def list_not_compared(pair: Pair) -> list[dict[str, str]]:
    """Return what could not be compared because the first snapshot could not read it, with a sentence on each."""
    before, after = pair.unreadable
    return [
        {"name": name, "message": _explain_not_compared(name, before[name], name in after)}
        for name in _COMPARED
        if name in before
    ]


def _has_vanished(pair: Pair, name: str) -> bool:
    """Return whether the first snapshot has at least some of a part, and the second one has nothing of it."""
    return name in PARTS and getattr(pair.before, name) is not None and getattr(pair.after, name) is None


def _is_hidden(name: str, unreadable: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether a snapshot could not read a part or a field. A part includes its fields."""
    return name in unreadable or name.partition(".")[0] in unreadable


def _count_hidden(pair: Pair) -> dict[str, int]:
    """Return for each field how many items had a value in the first snapshot and have none in the second one.

    So a field that only some items hide is found, too, even if nobody has named it.
    """
    found: dict[str, int] = {}
    for part, fields in _FIELDS.items():
        items = _pair_tokens(pair) if part == "tokens" else ((old, new) for _name, old, new in pair.pairs(part))
        for old, new in items:
            for field in fields:
                if old.get(field) is not None and new.get(field) is None:
                    found[f"{part}.{field}"] = found.get(f"{part}.{field}", 0) + 1
    classes = ("authenticator", "spawner")
    if any(pair.before.hub.get(name) is not None and pair.after.hub.get(name) is None for name in classes):
        found["hub"] = 1
    return found


def _pair_tokens(pair: Pair) -> Iterable[tuple[dict[str, Any], dict[str, Any]]]:
    after = {(each["user"], each["id"]): each for each in pair.after.tokens or ()}
    found = ((each, after.get((each["user"], each["id"]))) for each in pair.before.tokens or ())
    return ((old, new) for old, new in found if new is not None)


def _describe(name: str, entry: Mapping[str, Any], hidden: int) -> Difference:
    why = printable(entry.get("message") or "", 500)
    needed = f" It needs {printable(entry['scope'], 200)}." if entry.get("scope") else ""
    count = f" {hidden} {name.partition('.')[0]} have lost it." if hidden and "." in name else ""
    message = f"{quoted(name)} could be read before, and cannot be read now.{count}{f' {why}' if why else ''}{needed}"
    return Difference(LOST, "unreadable", name, message)


def _explain_not_compared(name: str, entry: Mapping[str, Any], is_hidden_now: bool) -> str:
    when = "Neither of the two snapshots" if is_hidden_now else "Only the second snapshot"
    needed = f"; that needs {printable(entry['scope'], 200)}" if entry.get("scope") else ""
    return f"{when} could read all of {quoted(name)}{needed}."
