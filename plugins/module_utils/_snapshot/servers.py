# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the servers of two snapshots: which are lost, which run on, and which options are different."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._drain.record import FAILED, PENDING, PROFILE_GONE, RESTORING, USER_GONE, Entry, Record
from .._hub.errors import printable
from .._hub.times import parse_time
from .._server.model import server_title
from .difference import CHANGED, LOST, NEW, Difference, Pair, compare_keys, is_same_time
from .model import is_running

Key = tuple[str, str]
"""The names of a user and of a server."""
_NOT_RESTORED = (PENDING, RESTORING)
_NOT_RESTORABLE = {FAILED: "its restore failed", PROFILE_GONE: "its profile is gone", USER_GONE: "its user was gone"}


@dataclass
class Servers:
    """What has become of the servers that ran when the first snapshot was taken. Names are as `server_name` returns."""

    differences: list[Difference] = field(default_factory=list)
    survived: list[str] = field(default_factory=list)
    """Those that run since before."""
    restarted: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    """Those that do not run, and that no restore starts."""
    drained: list[str] = field(default_factory=list)
    """Those that `hub_drain` has stopped and `hub_restore` is still to start."""

    def shown(self) -> dict[str, list[str]]:
        """Return the lists as the result of a task has them."""
        return {name: sorted(getattr(self, name)) for name in ("survived", "restarted", "stopped", "drained")}


def server_name(key: Key) -> str:
    """Return the name of a server in a report: ``alice/lab``, or ``alice`` for the default server."""
    user, name = key
    return f"{user}/{name}" if name else user


def compare_servers(pair: Pair, record: Record | None) -> Servers:
    """Return how the servers differ. ``record`` is that of a drain between the two snapshots, if there was one.

    A user who is lost or new covers the servers.
    """
    found = Servers()
    if pair.before.servers is None or pair.after.servers is None:
        return found
    before, after = (_index_servers(each) for each in (pair.before.servers, pair.after.servers))
    for key in sorted(before.keys() | after.keys()):
        is_covered = pair.covers("users", key[0])
        if key in before:
            entry = None if is_covered else _find_entry(pair, record, key, before[key])
            differences = _compare_server(found, key, before[key], after.get(key), entry, pair.shows_losses("servers"))
            found.differences += [] if is_covered else differences
        elif pair.shows_news("servers") and not is_covered:
            found.differences.append(Difference(NEW, "server", server_name(key), f"{_title(key)} is new."))
    return found


def _index_servers(servers: Mapping[str, Mapping[str, dict[str, Any]]]) -> dict[Key, dict[str, Any]]:
    return {(user, name): server for user, those in servers.items() for name, server in those.items()}


def _find_entry(pair: Pair, record: Record | None, key: Key, server: Mapping[str, Any]) -> Entry | None:
    """Return the entry of a server in the record of a drain, from the server in the first snapshot.

    An entry of another user of the same name is none, and neither is one that a drain before the first snapshot has
    left: the server was started again since then, and nobody has drained it.
    """
    entry = None if record is None else record.entries.get(key)
    if entry is None or _is_older(entry, server, pair.before.taken):
        return None
    created = (pair.before.users or {}).get(key[0], {}).get("created")
    is_other = entry.user_created and created and not is_same_time(entry.user_created, created)
    return None if is_other else entry


def _is_older(entry: Entry, server: Mapping[str, Any], taken: str) -> bool:
    """Return whether an entry is of an earlier start of the server, which was over when the snapshot was ``taken``."""
    if entry.started and is_same_time(entry.started, server.get("started")):
        return False  # whatever the clocks say
    moment, snapshot_time = parse_time(entry.stopped_at or entry.started), parse_time(taken)
    return moment is not None and snapshot_time is not None and moment < snapshot_time


def _title(key: Key) -> str:
    """Return the server at the beginning of a sentence."""
    title = server_title(*key)
    return title[0].upper() + title[1:]


def _compare_server(
    found: Servers,
    key: Key,
    before: dict[str, Any],
    after: dict[str, Any] | None,
    entry: Entry | None,
    shows_losses: bool,
) -> list[Difference]:
    """Return how a server differs, and add the server to one of the lists of ``found`` if it ran."""
    name, ran, runs = server_name(key), is_running(before), after is not None and is_running(after)
    is_drained = ran and not runs and entry is not None and entry.restore in _NOT_RESTORED
    started = before.get("started"), (after or {}).get("started")
    is_restarted = ran and runs and not is_same_time(*started)
    if ran and (after is not None or shows_losses):  # one that may only be hidden has not stopped
        lists = (found.drained if is_drained else found.stopped, found.restarted if is_restarted else found.survived)
        lists[runs].append(name)
    if after is None and (key[1] or not is_drained):
        message = f"The hub has no {server_title(*key)} any more."
        message += " It was drained, and a restore creates it again." if is_drained else ""
        return [Difference(LOST, "server", name, message)] * shows_losses
    differences = [*_compare_options(key, before, after)] if after is not None else []
    if is_restarted:
        message = f"{_title(key)} was started again."
        differences.append(Difference(CHANGED, "server", name, message, "started", *started))
    elif ran and not runs:
        severity, message = (CHANGED, "was drained and is not restored yet") if is_drained else (LOST, _reason(entry))
        differences.append(Difference(severity, "server", name, f"{_title(key)} {message}.", "running", True, False))
    elif runs and not ran:
        message = f"{_title(key)} runs now."
        differences.append(Difference(NEW, "server", name, message, "running", False, True))
    return differences


def _reason(entry: Entry | None) -> str:
    """Return why a server does not run any more, for the end of a sentence."""
    if entry is None:
        return "ran and does not run now"
    if entry.restore not in _NOT_RESTORABLE:
        return "was drained and restored, and does not run now"
    return f"was drained, and {_NOT_RESTORABLE[entry.restore]}" + (
        f": {printable(entry.reason, 300).rstrip('.')}" if entry.reason else ""
    )


def _compare_options(key: Key, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    """Yield which options differ. A hub shows null for a server without options."""
    old, new = before.get("user_options") or {}, after.get("user_options") or {}
    return compare_keys("option", server_name(key), f"{_title(key)}: the option", old, new)
