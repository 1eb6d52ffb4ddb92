# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hub's models look like, as far as the flows read them: an answer is compared with that where it comes in.

Whatever passes for a hub may answer anything. What is not of the shape is refused with the name of the field, so that
no flow has to ask what a value is. A field that is not there is none: the hub leaves out what a token may not read.

Source of the models: ``APIHandler`` in JupyterHub's ``apihandlers/base.py``.

"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


class Shape:
    """What a value is to be."""

    def misfit(self, value: Any, place: str = "") -> str | None:
        """Where the value is not so, such as ``servers.lab.ready``, below its own ``place``; None where it is."""
        raise NotImplementedError


@dataclass(frozen=True)
class Plain(Shape):
    """A value of one of these types."""

    types: tuple[type, ...]

    def misfit(self, value: Any, place: str = "") -> str | None:
        # Python takes a truth value for a number.
        fits = isinstance(value, self.types) and (not isinstance(value, bool) or bool in self.types)
        return None if fits else place


@dataclass(frozen=True)
class ListOf(Shape):
    """Any number of one shape."""

    item: Shape

    def misfit(self, value: Any, place: str = "") -> str | None:
        if not isinstance(value, list):
            return place
        return _first(self.item.misfit(item, _below(place, str(number))) for number, item in enumerate(value))


@dataclass(frozen=True)
class MapOf(Shape):
    """An object whose values are all of one shape."""

    value: Shape

    def misfit(self, value: Any, place: str = "") -> str | None:
        if not isinstance(value, dict):
            return place
        return _first(self.value.misfit(item, _below(place, name)) for name, item in value.items())


@dataclass(frozen=True)
class Record(Shape):
    """An object with these fields, by their names, of which some must be there. It may have others."""

    fields: Mapping[str, Shape] = field(default_factory=dict)
    needed: tuple[str, ...] = ()

    def misfit(self, value: Any, place: str = "") -> str | None:
        if not isinstance(value, dict):
            return place
        for name in self.needed:
            if name not in value:
                return _below(place, name)
        there = ((name, shape) for name, shape in self.fields.items() if name in value)
        return _first(shape.misfit(value[name], _below(place, name)) for name, shape in there)


def _first(places: Iterable[str | None]) -> str | None:
    return next((place for place in places if place is not None), None)


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


_NULL = type(None)
_TEXT, _WORD, _FLAG = Plain((str,)), Plain((str, _NULL)), Plain((bool, _NULL))
_OBJECT, _NUMBER, _WORDS = Plain((dict, _NULL)), Plain((int, float, _NULL)), ListOf(Plain((str,)))

OBJECT = Record()
VERSION = Record({"version": _TEXT}, needed=("version",))
SERVER = Record(
    {
        "name": _WORD, "ready": _FLAG, "pending": _WORD, "url": _WORD, "full_url": _WORD, "started": _WORD,
        "last_activity": _WORD, "user_options": _OBJECT,
    }
)  # fmt: skip
USER = Record(
    {
        "name": _TEXT, "admin": _FLAG, "groups": _WORDS, "roles": _WORDS, "servers": MapOf(SERVER), "created": _WORD,
        "last_activity": _WORD, "auth_state": _OBJECT,
    },
    needed=("name",),
)  # fmt: skip
TOKEN = Record(
    {
        "id": _TEXT, "note": _WORD, "scopes": _WORDS, "roles": _WORDS, "created": _WORD, "expires_at": _WORD,
        "last_activity": _WORD, "token": _TEXT,
    },
    needed=("id",),
)  # fmt: skip
TOKENS = Record({"api_tokens": ListOf(TOKEN)}, needed=("api_tokens",))
OWNER = Record(
    {"kind": _TEXT, "name": _TEXT, "scopes": _WORDS, "token_id": _WORD, "admin": _FLAG}, needed=("kind", "name")
)
GROUP = Record({"name": _TEXT, "users": _WORDS}, needed=("name",))
EVENT = Record({"progress": _NUMBER, "message": _WORD, "html_message": _WORD, "failed": _FLAG, "ready": _FLAG})
