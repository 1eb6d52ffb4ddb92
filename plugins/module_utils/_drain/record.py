# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a drain: which servers it stops, with which options, and which of them run again.

`hub_drain` writes the record before it stops the first server, and `hub_restore` before it starts the first one. So a
run that is killed loses nobody. Nothing here sends a request or touches a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .._hub.errors import Invalid, quoted
from .._hub.models import Server
from .._hub.responses import parse_json
from .._hub.schemas import InstanceOf, ListOf, Schema
from .._hub.schemas import Record as Fields
from .._hub.secret_values import mask_secret
from .._server.model import server_title

SCHEMA, VERSION = "hubops.jupyterhub/drained", 1

TO_STOP, STOPPED, FAILED = "to_stop", "stopped", "failed"
"""The values of `Entry.state`."""
PENDING, RESTORING, RESTORED, ALREADY_RUNNING, USER_GONE, PROFILE_GONE = (
    "pending", "restoring", "restored", "already_running", "user_gone", "profile_gone",
)  # fmt: skip
"""The values of `Entry.restore`, with `FAILED`."""
OUTCOMES = (RESTORED, ALREADY_RUNNING, USER_GONE, PROFILE_GONE, FAILED)
"""How the restore of a server may end."""
_UNFINISHED = (PENDING, RESTORING, FAILED)

Key = tuple[str, str]
"""The names of a user and of a server."""


@dataclass(frozen=True)
class Entry:
    """A server that a drain stops. Times are as the hub shows them, and None if it does not."""

    user: str
    server_name: str
    user_created: str | None = None
    user_options: dict[str, Any] | None = None
    started: str | None = None
    last_activity: str | None = None
    state: str = TO_STOP
    """``to_stop``, ``stopped``, or ``failed``. A server to stop that does not run any more has been stopped: its drain
    was killed."""
    stopped_at: str | None = None
    restore: str = PENDING
    """``pending``, ``restoring`` while a restore works on it, or one of the `OUTCOMES`."""
    reason: str | None = None
    """Why its stop or its restore failed, or why it is not started again."""

    @staticmethod
    def from_server(server: Server) -> Entry:
        """Return the entry of a server that is to be stopped."""
        return Entry(
            server.user,
            server.name,
            server.user_created,
            server.user_options,
            server.started,
            server.last_activity,
        )

    @property
    def key(self) -> Key:
        return self.user, self.server_name

    @property
    def title(self) -> str:
        """The server's name in a sentence."""
        return server_title(self.user, self.server_name)

    @property
    def is_finished(self) -> bool:
        """Whether a restore has come to an end with it that is no failure."""
        return self.restore not in _UNFINISHED

    def is_same_start(self, other: Entry) -> bool:
        """Return whether both are of the same start of the server, with the same options."""
        return (self.started, self.user_options) == (other.started, other.user_options)


@dataclass(frozen=True)
class Record:
    """The record of one drain, and of those that added to it."""

    drained: str
    """When it was begun."""
    hub_url: str
    hub_version: str
    entries: Mapping[Key, Entry] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        """Whether all of its servers are restored, as far as that is possible."""
        return all(entry.is_finished for entry in self.entries.values())

    def with_entries(self, entries: Iterable[Entry]) -> Record:
        """Return the record with these entries in place of its own."""
        return replace(self, entries={entry.key: entry for entry in entries})

    def dump(self, secret: str = "") -> str:
        """Return the text of the record's file, with one line for each server. The ``secret`` is masked."""
        hub = {"url": self.hub_url, "version": self.hub_version}
        head = {"schema": SCHEMA, "version": VERSION, "drained": self.drained, "hub": hub}
        lines = [f" {_dump_entry(entry, secret)}" for entry in self.entries.values()]
        servers = "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"
        return f'{_to_json(head)[:-1]}, "servers": {servers}}}\n'


def _dump_entry(entry: Entry, secret: str) -> str:
    """Return an entry as JSON. The hub or a user may have written the secret into the options or the reason."""
    values = {each.name: getattr(entry, each.name) for each in fields(entry)}
    if secret:
        values |= {name: mask_secret(values[name], secret) for name in ("user_options", "reason")}
    return "{" + ", ".join(f'"{name}": {_to_json(value)}' for name, value in values.items()) + "}"


def _to_json(value: Any) -> str:
    """Return the value as JSON in one line. With an indent, Python could not write what is nested deeply."""
    return json.dumps(value, ensure_ascii=False)


def parse(text: bytes, path: str) -> Record:
    """Return the record in the text of the file at ``path``. Raises `Invalid`, which says what is wrong with it."""
    try:
        found = parse_json(text)
    except ValueError as error:
        raise _unusable(path, f"is not the record of a drain: it is not JSON ({error})") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise _unusable(path, f"is not the record of a drain: its schema is not {SCHEMA}")
    if found.get("version") != VERSION or InstanceOf((int,)).find_mismatch(found["version"]) is not None:
        raise Invalid(
            f"{quoted(path)} has version {quoted(str(found.get('version')))} of the record. This collection reads "
            f"version {VERSION}.",
            "Use the version of the collection that has written it.",
        )
    wrong = _RECORD.find_mismatch(found)
    if wrong is not None:
        raise _unusable(path, f"is damaged: its field {quoted(wrong)} is not what hub_drain writes")
    entries = [Entry(**{name: each.get(name) for name in _FIELDS}) for each in found["servers"]]
    record = Record(found["drained"], found["hub"]["url"], found["hub"]["version"]).with_entries(entries)
    if len(record.entries) < len(entries):
        raise _unusable(path, "is damaged: it lists a server twice")
    return record


def _unusable(path: str, problem: str) -> Invalid:
    return Invalid(
        f"{quoted(path)} {problem}.", "Put the record back from a copy, correct it, or give path another file."
    )


@dataclass(frozen=True)
class _OneOf(Schema):
    """One of these texts."""

    values: tuple[str, ...]

    def find_mismatch(self, value: Any, path: str = "") -> str | None:
        return None if value in self.values else path


_TEXT, _TEXT_OR_NULL = InstanceOf((str,)), InstanceOf((str, type(None)))
_ENTRY = Fields(
    {
        "user": _TEXT,
        "server_name": _TEXT,
        "user_created": _TEXT_OR_NULL,
        "user_options": InstanceOf((dict, type(None))),
        "started": _TEXT_OR_NULL,
        "last_activity": _TEXT_OR_NULL,
        "state": _OneOf((TO_STOP, STOPPED, FAILED)),
        "stopped_at": _TEXT_OR_NULL,
        "restore": _OneOf((PENDING, RESTORING, *OUTCOMES)),
        "reason": _TEXT_OR_NULL,
    },
    required=("user", "server_name", "state", "restore"),
)
_FIELDS = tuple(_ENTRY.fields)
_RECORD = Fields(
    {
        "drained": _TEXT,
        "hub": Fields({"url": _TEXT, "version": _TEXT}, required=("url", "version")),
        "servers": ListOf(_ENTRY),
    },
    required=("drained", "hub", "servers"),
)


def add_drain(
    entries: Iterable[Entry], to_stop: Iterable[Entry], running: Mapping[Key, bool], hidden: Iterable[str], now: str
) -> dict[Key, Entry]:
    """Return the entries of a record after a drain has decided what ``to_stop``, and before it stops anything.

    ``entries`` are those that earlier drains have left. ``running`` has all servers that run now, and whether each one
    is kept. ``hidden`` are the users whose servers the token may not see, and ``now`` is the time.

    - A server that runs and has to go gets a new entry. If its user has started it again since an earlier drain, the
      newer options win.
    - A server to stop that does not run was stopped by a drain that was killed.
    - A server to stop that runs and is kept needs no entry: nobody has stopped it.
    """
    hidden, after = set(hidden), dict[Key, Entry]()
    for entry in entries:
        if entry.state != STOPPED and entry.user not in hidden:
            if entry.key not in running:
                entry = replace(entry, state=STOPPED, stopped_at=now, reason=None)
            elif running[entry.key]:
                continue
        after[entry.key] = entry
    for entry in to_stop:
        after.pop(entry.key, None)  # so that the entries are in the order of the stops
        after[entry.key] = entry
    return after
