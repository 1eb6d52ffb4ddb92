# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a snapshot's file: how it is written, and how each version that was ever written is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._hub.errors import Invalid, quoted
from .._hub.responses import parse_json
from .._hub.schemas import InstanceOf, ListOf, MapOf, Record, Schema
from .._hub.secret_values import mask_secret
from .._hub.times import parse_time
from .model import Snapshot

SCHEMA, VERSION = "hubops.jupyterhub/snapshot", 1
"""The schema of the files, and the version that is written. If VERSION grows, `READERS` keeps the older ones."""


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return the content of the file of a snapshot: one line of JSON, whose beginning says what it is.

    Raises `Invalid` if the verification in the snapshot is not what JSON can hold.
    """
    return f"{_dump({'schema': SCHEMA, 'version': VERSION, **vars(snapshot)})}\n".encode("utf-8", "replace")


def hide_secret(snapshot: Snapshot, secret: str) -> Snapshot:
    """Return the snapshot without the task's own token, which a hub may repeat, such as in the options of a server.

    Raises `Invalid` as `encode_snapshot` does.
    """
    if not secret or _dump(secret)[1:-1] not in _dump(vars(snapshot)):
        return snapshot  # nearly always, and found out a hundred times faster than it is masked
    return Snapshot(**mask_secret(vars(snapshot), secret))


def _dump(value: Any) -> str:
    # Without indentation, because Python writes indented JSON ten times slower.
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str)
    except ValueError as error:  # what the hub answers was JSON
        raise Invalid(
            f"verification is not what JSON can hold: {error}.", "Give it the row of a hub in report.json."
        ) from None


def decode_snapshot(text: bytes, path: str) -> Snapshot:
    """Return the snapshot in the text of the file at ``path``. Raises `Invalid`, which says what is wrong with it."""
    try:
        content = parse_json(text)
    except ValueError as error:
        raise _unusable(path, f"is no snapshot: it is not JSON ({error})") from None
    if not is_snapshot(content):
        raise _unusable(path, f"is no snapshot: its schema is not {SCHEMA}")
    version = content.get("version")
    reader = READERS.get(version) if isinstance(version, int) and not isinstance(version, bool) else None
    if reader is None:
        raise Invalid(
            f"{quoted(path)} is a snapshot of version {quoted(version)}. This version of the collection reads "
            f"{_join_versions()}.",
            "Use the version of the collection that has written it, or a newer one.",
        )
    return reader(content, path)


def is_snapshot(content: Any) -> bool:
    """Return whether the content of a file is that of a snapshot, of whatever version."""
    return isinstance(content, dict) and content.get("schema") == SCHEMA


def _join_versions() -> str:
    return f"version {VERSION}" if len(READERS) == 1 else f"the versions {min(READERS)} to {VERSION}"


def _unusable(path: str, problem: str) -> Invalid:
    return Invalid(
        f"{quoted(path)} {problem}.", "Name a file that hub_snapshot has written, and that nobody has changed since."
    )


@dataclass(frozen=True)
class _OrNull(Schema):
    """Null, or what another schema describes."""

    schema: Schema

    def find_mismatch(self, value: Any, path: str = "") -> str | None:
        return None if value is None else self.schema.find_mismatch(value, path)


_TEXT, _TEXT_OR_NULL = InstanceOf((str,)), InstanceOf((str, type(None)))
_BOOL_OR_NULL, _OBJECT_OR_NULL = InstanceOf((bool, type(None))), InstanceOf((dict, type(None)))
_NAMES_OR_NULL = _OrNull(ListOf(_TEXT))
_CLASS = _OrNull(Record({"class": _TEXT_OR_NULL, "version": _TEXT_OR_NULL}))
_SERVER = Record(
    {
        "ready": _BOOL_OR_NULL,
        "pending": _TEXT_OR_NULL,
        "stopped": _BOOL_OR_NULL,
        "started": _TEXT_OR_NULL,
        "last_activity": _TEXT_OR_NULL,
        "user_options": _OBJECT_OR_NULL,
    }
)
_FIELDS_1: dict[str, Schema] = {
    "taken": _TEXT,
    "seconds": InstanceOf((int, float)),
    "hub": Record(
        {"url": _TEXT, "version": _TEXT, "authenticator": _CLASS, "spawner": _CLASS}, required=("url", "version")
    ),
    "reader": Record({"kind": _TEXT_OR_NULL, "name": _TEXT_OR_NULL, "scopes": _NAMES_OR_NULL}),
    "unreadable": ListOf(Record({"name": _TEXT, "scope": _TEXT_OR_NULL, "message": _TEXT_OR_NULL}, required=("name",))),
    "users": _OrNull(
        MapOf(
            Record(
                {
                    "admin": _BOOL_OR_NULL,
                    "roles": _NAMES_OR_NULL,
                    "groups": _NAMES_OR_NULL,
                    "created": _TEXT_OR_NULL,
                    "last_activity": _TEXT_OR_NULL,
                }
            )
        )
    ),
    "servers": _OrNull(MapOf(MapOf(_SERVER))),
    "groups": _OrNull(MapOf(Record({"users": _NAMES_OR_NULL, "properties": _OBJECT_OR_NULL, "roles": _NAMES_OR_NULL}))),
    "services": _OrNull(
        MapOf(Record({"admin": _BOOL_OR_NULL, "roles": _NAMES_OR_NULL, "url": _TEXT_OR_NULL, "display": _BOOL_OR_NULL}))
    ),
    "tokens": _OrNull(
        ListOf(
            Record(
                {
                    "user": _TEXT,
                    "id": _TEXT,
                    "note": _TEXT_OR_NULL,
                    "scopes": _NAMES_OR_NULL,
                    "created": _TEXT_OR_NULL,
                    "expires_at": _TEXT_OR_NULL,
                    "last_activity": _TEXT_OR_NULL,
                    "issued_for": _TEXT_OR_NULL,
                },
                required=("user", "id"),
            )
        )
    ),
    "routes": _OrNull(ListOf(Record())),
    "verification": _OBJECT_OR_NULL,
}
_SCHEMA_1 = Record(_FIELDS_1, required=tuple(_FIELDS_1))


def _read_1(content: dict[str, Any], path: str) -> Snapshot:
    wrong = _SCHEMA_1.find_mismatch(content)
    if wrong is None and parse_time(content["taken"]) is None:
        wrong = "taken"
    if wrong is not None:
        raise _unusable(path, f"is damaged: its field {quoted(wrong)} is missing or is not what hub_snapshot writes")
    return Snapshot(**{name: content[name] for name in _FIELDS_1})


READERS: dict[int, Callable[[dict[str, Any], str], Snapshot]] = {1: _read_1}
"""How each version of the file is read. A version that was ever released stays here."""
