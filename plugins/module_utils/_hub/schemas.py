# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schemas of the hub's models: which fields the flows read, and of which type they are.

A program that is not a JupyterHub may answer anything. Each answer is compared with its schema when it arrives, and the
failure names the field that differs. So no flow has to check the type of a value.

Most fields are optional, because the hub leaves out the fields that a token may not read. Source of the models:
``APIHandler`` in JupyterHub's apihandlers/base.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


class Schema:
    """What a value of JSON must be."""

    def find_mismatch(self, value: Any, path: str = "") -> str | None:
        """Return the path of the first field that differs, such as ``servers.lab.ready``, or None if there is none.

        ``path`` is the path of the value itself. It is empty for a whole answer.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class InstanceOf(Schema):
    """A value of one of these types."""

    types: tuple[type, ...]

    def find_mismatch(self, value: Any, path: str = "") -> str | None:
        # In Python a bool is an int. In JSON it is not.
        fits = isinstance(value, self.types) and (not isinstance(value, bool) or bool in self.types)
        return None if fits else path


@dataclass(frozen=True)
class ListOf(Schema):
    """A list whose items all have one schema."""

    item: Schema

    def find_mismatch(self, value: Any, path: str = "") -> str | None:
        if not isinstance(value, list):
            return path
        return _first(self.item.find_mismatch(item, _join(path, str(number))) for number, item in enumerate(value))


@dataclass(frozen=True)
class MapOf(Schema):
    """An object whose values all have one schema."""

    value: Schema

    def find_mismatch(self, value: Any, path: str = "") -> str | None:
        if not isinstance(value, dict):
            return path
        return _first(self.value.find_mismatch(item, _join(path, name)) for name, item in value.items())


@dataclass(frozen=True)
class Record(Schema):
    """An object with these ``fields``. It may have others. The ``required`` fields must be there."""

    fields: Mapping[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()

    def find_mismatch(self, value: Any, path: str = "") -> str | None:
        if not isinstance(value, dict):
            return path
        for name in self.required:
            if name not in value:
                return _join(path, name)
        present = ((name, schema) for name, schema in self.fields.items() if name in value)
        return _first(schema.find_mismatch(value[name], _join(path, name)) for name, schema in present)


def _first(paths: Iterable[str | None]) -> str | None:
    return next((path for path in paths if path is not None), None)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _optional(*types: type) -> Schema:
    """Return the schema of a value of one of these types, or null."""
    return InstanceOf((*types, type(None)))


_STRING, _STRINGS = InstanceOf((str,)), ListOf(InstanceOf((str,)))
_STRING_OR_NULL, _BOOL_OR_NULL = _optional(str), _optional(bool)
_NUMBER_OR_NULL, _OBJECT_OR_NULL = _optional(int, float), _optional(dict)

OBJECT = Record()
VERSION = Record({"version": _STRING}, required=("version",))
SERVER = Record(
    {
        "name": _STRING_OR_NULL,
        "ready": _BOOL_OR_NULL,
        "pending": _STRING_OR_NULL,
        "url": _STRING_OR_NULL,
        "full_url": _STRING_OR_NULL,
        "started": _STRING_OR_NULL,
        "last_activity": _STRING_OR_NULL,
        "user_options": _OBJECT_OR_NULL,
    }
)
USER = Record(
    {
        "name": _STRING,
        "admin": _BOOL_OR_NULL,
        "groups": _STRINGS,
        "roles": _STRINGS,
        "servers": MapOf(SERVER),
        "created": _STRING_OR_NULL,
        "last_activity": _STRING_OR_NULL,
        "auth_state": _OBJECT_OR_NULL,
    },
    required=("name",),
)
TOKEN = Record(
    {
        "id": _STRING,
        "note": _STRING_OR_NULL,
        "scopes": _STRINGS,
        "roles": _STRINGS,
        "created": _STRING_OR_NULL,
        "expires_at": _STRING_OR_NULL,
        "last_activity": _STRING_OR_NULL,
        "oauth_client": _STRING_OR_NULL,
        "token": _STRING,
    },
    required=("id",),
)
TOKENS = Record({"api_tokens": ListOf(TOKEN)}, required=("api_tokens",))
OWNER = Record(
    {
        "kind": _STRING,
        "name": _STRING,
        "scopes": _STRINGS,
        "token_id": _STRING_OR_NULL,
        "admin": _BOOL_OR_NULL,
    },
    required=("kind", "name"),
)
GROUP = Record(
    {"name": _STRING, "users": _STRINGS, "properties": _OBJECT_OR_NULL, "roles": _STRINGS}, required=("name",)
)
SERVICE = Record(
    {"name": _STRING, "admin": _BOOL_OR_NULL, "roles": _STRINGS, "url": _STRING_OR_NULL}, required=("name",)
)
EVENT = Record(
    {
        "progress": _NUMBER_OR_NULL,
        "message": _STRING_OR_NULL,
        "html_message": _STRING_OR_NULL,
        "failed": _BOOL_OR_NULL,
        "ready": _BOOL_OR_NULL,
    }
)
