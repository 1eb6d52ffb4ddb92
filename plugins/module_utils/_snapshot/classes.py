# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the versions of two hubs, and the classes of their authenticators and spawners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._hub.errors import quoted
from .difference import CHANGED, Difference, Pair

_HUB = "hub"
"""The name of the hub itself in a difference."""


def compare_classes(pair: Pair) -> Iterator[Difference]:
    """Yield whether the hub has another version, and whether its authenticator or its spawner is another."""
    old, new = pair.before.hub.get("version"), pair.after.hub.get("version")
    if old != new:
        message = f"The hub runs JupyterHub {quoted(str(new))} now; it ran {quoted(str(old))}."
        yield Difference(CHANGED, "version", _HUB, message, "version", old, new)
    for kind in ("authenticator", "spawner"):
        before, after = pair.before.hub.get(kind), pair.after.hub.get(kind)
        if before is not None and after is not None:
            # The classes of JupyterHub itself have the hub's version.
            is_of_hub = (before.get("version"), after.get("version")) == (old, new)
            yield from _compare_class(kind, before, after, ("class",) if is_of_hub else ("class", "version"))


def _compare_class(
    kind: str, before: dict[str, Any], after: dict[str, Any], fields: tuple[str, ...]
) -> Iterator[Difference]:
    """Yield that a class is another, or that the package with the class has another version."""
    for field in fields:
        old, new = before.get(field), after.get(field)
        if old != new:
            what = f"the {kind}" if field == "class" else f"the version of the {kind} {quoted(str(after.get('class')))}"
            message = f"{what[0].upper()}{what[1:]} is {quoted(str(new))} now; it was {quoted(str(old))}."
            yield Difference(CHANGED, kind, _HUB, message, field, old, new)
            return
