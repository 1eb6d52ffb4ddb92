# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows of `hub_snapshot` and `hub_compare`."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import Any

from .._drain.record import Record
from .._drain.record import parse as parse_record
from .._hub.client import HubClient
from .._hub.errors import Invalid, quoted
from .._hub.times import parse_time
from .._info.everything import read_everything
from .._path import private_file
from .._path.plan import Action, Flow, Plan, Report, Result
from .comparison import compare_snapshots
from .formats import hide_secret
from .model import Snapshot, build_snapshot
from .snapshot_file import find_newest, read_file, read_snapshot, write_snapshot
from .summary import summarize
from .verification import USUAL, Slower


@dataclass(frozen=True)
class SnapshotSpec:
    """Where to write the snapshot, and the verification to put into it."""

    path: str
    verification: dict[str, Any] | None = None


@dataclass(frozen=True)
class CompareSpec:
    """What to compare. ``before`` and ``after`` are paths of snapshots, or of folders with snapshots."""

    before: str
    after: str | None = None
    """None for the hub as it is now."""
    verification: dict[str, Any] | None = None
    """The verification of the hub as it is after. None for the one in the snapshot ``after``, if there is one."""
    drained: str | None = None
    """The path of a drain's record. There need not be a file."""
    slower: Slower = USUAL


class SnapshotFlow(Flow):
    """Reads the hub and writes what it has into a file. The hub does not change."""

    def __init__(self, hub: HubClient, wanted: SnapshotSpec, report: Report) -> None:
        self._hub = hub
        self._wanted = wanted

    def plan(self) -> Plan:
        path = self._wanted.path
        private_file.check(path)
        snapshot = take_snapshot(self._hub, self._wanted.verification)
        exists = private_file.exists(path)
        action = Action("write", f"snapshot {quoted(path)}", "it is replaced" if exists else "there is none yet")
        answer = {
            "path": os.path.abspath(path),
            "counts": snapshot.count(),
            "unreadable": snapshot.unreadable,
            "hub": snapshot.hub,
        }
        before = {"state": "present" if exists else "absent"}
        return Plan((action,), before, {"state": "present", "counts": answer["counts"]}, answer, context=snapshot)

    def apply(self, plan: Plan) -> Result:
        write_snapshot(self._wanted.path, plan.context)
        return Result(plan.predicted, plan.actions)


class CompareFlow(Flow):
    """Compares a snapshot with another one, or with the hub as it is now. Nothing changes."""

    def __init__(self, hub: HubClient, wanted: CompareSpec, report: Report) -> None:
        self._hub = hub
        self._wanted = wanted

    def plan(self) -> Plan:
        wanted = self._wanted
        newest = find_newest(wanted.before)
        before = read_snapshot(newest.path)
        record = _read_record(wanted.drained) if wanted.drained is not None else None
        path, after = self._read_after()
        if path is not None:
            _check_pair(wanted.before, newest.path, path)
        if wanted.verification is not None:
            after = replace(after, verification=wanted.verification)
        comparison = compare_snapshots(before, after, record=record, slower=wanted.slower)
        comparison.not_compared[:0] = _find_swap(before, after)
        answer = {
            "before": {"path": newest.path, **before.describe_hub()},
            "after": {"path": path, **after.describe_hub()},
            **comparison.shown(),
            "summary": summarize(before, after, comparison),
        }
        answer["not_compared"] += [
            {"name": each, "message": f"{quoted(each)} is not JSON, so it is not taken for a snapshot."}
            for each in newest.ignored
        ]
        return Plan((), {}, {}, predicted=answer)

    def apply(self, plan: Plan) -> Result:
        return Result(plan.predicted)

    def _read_after(self) -> tuple[str | None, Snapshot]:
        if self._wanted.after is None:
            return None, take_snapshot(self._hub)
        path = find_newest(self._wanted.after).path
        return path, read_snapshot(path)


def take_snapshot(hub: HubClient, verification: dict[str, Any] | None = None) -> Snapshot:
    """Return a snapshot of the hub as it is now, without the task's own token. Raises what `read_everything` raises."""
    taken, began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.monotonic()
    found = read_everything(hub)
    snapshot = build_snapshot(found, taken, time.monotonic() - began, verification)
    return hide_secret(snapshot, hub.connection.api_token)


def _check_pair(before: str, path: str, later_path: str) -> None:
    """Raise `Invalid` if ``before`` is a folder whose newest snapshot is also the later one.

    Nothing would be lost, whatever has become of the hub. Somebody who names one file twice knows that.
    """
    if os.path.isdir(before) and os.path.samefile(path, later_path):
        raise Invalid(
            f"before and after are the same snapshot, {quoted(path)}, so nothing would differ.",
            "Give before the path of the snapshot from before the upgrade. A folder stands for its newest snapshot.",
        )


def _find_swap(before: Snapshot, after: Snapshot) -> list[dict[str, str]]:
    """Return a warning if the second snapshot is older than the first one: what is lost looks new then."""
    first, second = parse_time(before.taken), parse_time(after.taken)
    if first is None or second is None or first <= second:
        return []
    message = f"The snapshot after was taken at {after.taken}, earlier than the snapshot before ({before.taken})."
    return [{"name": "order", "message": f"{message} What was lost between them counts as new."}]


def _read_record(path: str) -> Record | None:
    """Return the record of a drain, or None if there is no file, because nothing was drained."""
    return parse_record(read_file(path, "record"), path) if os.path.lexists(path) else None
