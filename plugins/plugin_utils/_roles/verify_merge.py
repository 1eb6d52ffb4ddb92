# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes one report of the reports that several plays with the role verify have written, such as the slices of a job.

A hub that no report has, or none that is new enough, has failed. A report that is damaged fails the merge, because
nobody knows what it said. Nothing here reads a file or the clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...module_utils._hub.connection import parse_duration
from ...module_utils._hub.errors import HubError
from ...module_utils._verify.phases import FAILED, SKIPPED, join_verdicts
from .checks import one_line
from .verify_history import LONGEST_REPORT, MOST_HOSTS, join_histories, read_earlier
from .verify_report import (
    NO_REPORT,
    NOT_RUN,
    OLD_REPORT,
    SCHEMA,
    VERSION,
    make_empty_row,
    make_report,
    read_report,
)
from .verify_values import VERDICTS, read_mapping, read_name, read_seconds, read_time, time_text, timestamp

Report = dict[str, Any]
Row = dict[str, Any]

MOST_NAMES = 10
"""Hosts that the sentence of a failure names."""


def merge(
    reports: Mapping[str, str],
    hosts: Any,
    now: Any,
    ansible_version: Any = "",
    earlier: Any = None,
    keep: Any = 10,
    max_age: Any = None,
) -> Report:
    """Return one report, in the form that `collect` in verify_report.py returns.

    ``reports`` has the content of each ``report.json`` by its path. ``hosts`` are those that must have a row. ``now``
    is in seconds since 1970. ``earlier`` is the merged report before, and ``keep`` is how many runs of a host the
    history keeps. A row that began longer ago than ``max_age`` counts as failed; without it, no row does.

    Of a host in several reports, the newest row counts, and a row with a result counts before one without. Raises
    ValueError with a sentence that names the file, if a report is not one or is damaged.
    """
    longest_age = _read_age(max_age)
    read = [_read(path, text) for path, text in reports.items()]
    expected = [read_name(host) for host in read_names(hosts)]
    newest = _find_newest(read)
    if not newest and not expected:
        raise ValueError(f"No report has a hub: {one_line(', '.join(reports)) or 'there is none'}. Verify the hubs.")
    order = [*dict.fromkeys([*expected, *sorted(newest)])]
    began, ended = _find_times(read, newest, now, longest_age)
    rows = [_judge(host, newest.get(host), now, longest_age, max_age) for host in order]
    history, successes = join_histories(
        [read_earlier(earlier), *((report["history"], report["last_success"]) for report in read)],
        [row for row in newest.values() if row["not_verified"] not in NOT_RUN],
        keep,
    )
    return make_report(time_text(began), round(ended - began, 3), ansible_version, rows, history, successes)


def merge_failure(report: Mapping[str, Any]) -> str:
    """Return the sentence with which a merge fails. It is empty if no hub has failed."""
    failed = [hub["host"] for hub in report["hubs"] if hub["verdict"] == FAILED]
    if not failed:
        return ""
    more = f" and {len(failed) - MOST_NAMES} more" if len(failed) > MOST_NAMES else ""
    names = one_line(", ".join(failed[:MOST_NAMES]), 2000)
    return f"{len(failed)} of {len(report['hubs'])} hubs are not verified: {names}{more}."


def read_names(value: Any) -> list[str]:
    """Return a list of texts from a list, or from text with commas, as a command line has it."""
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return [str(name) for name in value] if isinstance(value, Sequence) else []


def _read_age(value: Any) -> float | None:
    if value in (None, ""):
        return None
    try:
        return parse_duration(value, "verify_merge_max_age")
    except HubError as error:
        raise ValueError(f"{error.message} {error.hint}") from None


# What a file holds


def _read(path: str, text: str) -> Report:
    """Return a report that is complete. Raises ValueError, with the path, for all else."""
    name = one_line(path)
    if len(text) > LONGEST_REPORT:
        raise ValueError(f"{name} is too large for a report. {_REMEDY}")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{name} is not JSON, or is not complete. {_REMEDY}") from None
    content = read_mapping(data)
    version = content.get("version")
    if content.get("schema") != SCHEMA:
        raise ValueError(f"{name} is not a report of the role verify. {_REMEDY}")
    if version != VERSION:
        raise ValueError(
            f"{name} has the version {one_line(version, 40)} of the report, and this collection reads version "
            f"{VERSION}. Use the same release of the collection for all hubs and for the merge."
        )
    report = read_report(data)
    damage = "it is empty" if report is None else next(_find_damage(content, report), "")
    if report is None or damage:
        raise ValueError(f"{name} is damaged: {damage}. {_REMEDY}")
    return report


_REMEDY = "Verify its hubs again, or take the file away."


def _find_damage(content: Mapping[str, Any], report: Report) -> Iterator[str]:
    """Yield what is wrong with a report. ``report`` is what `read_report` has made of its ``content``."""
    rows = content.get("hubs")
    if not isinstance(rows, list) or len(rows) > MOST_HOSTS:
        yield "it has no list of hubs"
        return
    total = read_mapping(read_mapping(content.get("counts")).get("hubs")).get("total")
    if total != len(rows):
        yield f"it has {len(rows)} hubs in place of {one_line(total, 40)}"
    if not read_time(content.get("began")):
        yield "it does not say when it began"
    names = [hub["host"] for hub in report["hubs"]]
    if len({*names}) != len(names):
        yield "a host has two rows"
    for number, (row, hub) in enumerate(zip(map(read_mapping, rows), report["hubs"], strict=True), 1):
        name = hub["host"]
        if not name or not read_time(row.get("began")) or row.get("verdict") not in VERDICTS:
            yield f"row {number} has no host, no verdict or no time"
        elif not _is_possible(hub):
            yield f"the verdict on {name} is not that of its phases"


def _is_possible(hub: Row) -> bool:
    """Return whether a hub can have its verdict. The worst phase decides, and `hub_verify` takes one in any case."""
    if hub["not_verified"]:
        return bool(hub["verdict"] in (FAILED, SKIPPED))
    parts = [*hub["phases"], *hub["checks"], *(phase for check in hub["checks"] for phase in check["phases"])]
    worst = join_verdicts(part["verdict"] for part in parts) if parts else FAILED
    return bool(join_verdicts([hub["verdict"], worst]) == hub["verdict"])


# Which row counts


def _find_newest(reports: Iterable[Report]) -> dict[str, Row]:
    """Return for each host the row that counts. Of two rows that began at the same time, that is the worse one."""
    found: dict[str, Row] = {}
    for row in (row for report in reports for row in report["hubs"]):
        other = found.get(row["host"])
        if other is None or _rank(row) > _rank(other):
            found[row["host"]] = row
    return found


def _rank(row: Row) -> tuple[bool, str, int]:
    return row["not_verified"] not in NOT_RUN, row["began"], VERDICTS.index(row["verdict"])


def _is_old(began: str, now: Any, longest_age: float | None) -> bool:
    """Return whether a time is too far away. One in the future comes from a clock that is wrong."""
    return longest_age is not None and abs(read_seconds(now) - timestamp(began)) > longest_age


def _judge(host: str, row: Row | None, now: Any, longest_age: float | None, max_age: Any) -> Row:
    """Return the row of a host in the merged report. ``max_age`` is the limit as the user has written it."""
    if row is None:
        return make_empty_row(host, NO_REPORT, {}, "", time_text(now))
    if _is_old(row["began"], now, longest_age):
        msg = f"it began at {row['began']}, and verify_merge_max_age is {one_line(max_age, 40)}"
        return make_empty_row(host, OLD_REPORT, {"msg": msg}, row["url"], row["began"])
    return row


def _find_times(
    reports: Sequence[Report], newest: Mapping[str, Row], now: Any, longest_age: float | None
) -> tuple[float, float]:
    """Return when the first of the reports began whose rows count, and when the last of them ended."""
    used = [
        (float(timestamp(report["began"])), report["seconds"])
        for report in reports
        if any(newest[row["host"]] is row and not _is_old(row["began"], now, longest_age) for row in report["hubs"])
    ]
    if not used:
        return read_seconds(now), read_seconds(now)
    return min(began for began, _seconds in used), max(began + seconds for began, seconds in used)
