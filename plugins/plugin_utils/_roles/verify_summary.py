# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads of a report of the role verify: in the terminal, and in a failed task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...module_utils._verify.phases import FAILED, PASSED, SKIPPED, WARNED
from .checks import one_line
from .verify_report import collect, read_hosts

Report = Mapping[str, Any]
"""What `collect` in verify_report.py returns."""

ORDER = (FAILED, WARNED, SKIPPED, PASSED)
"""The verdicts as a reader wants them, the most important one first."""
MOST_ROWS = {PASSED: 30, SKIPPED: 30, WARNED: 50, FAILED: 100}
"""Rows of the table for each verdict."""
WIDTH, WIDTH_OF_FAILURES = 120, 300
"""Characters of a row of the table."""
LONGEST_COLUMN = 32

_SHOWN = {FAILED: "FAILED", WARNED: "warned", SKIPPED: "skipped", PASSED: "passed"}


def sort_hubs(report: Report) -> list[Mapping[str, Any]]:
    """Return the rows of the hubs, failures first, and otherwise in the order of the play."""
    return sorted(report["hubs"], key=lambda hub: ORDER.index(hub["verdict"]))


def count_text(counts: Mapping[str, int], one: str, many: str, none: str = "none verified") -> str:
    """Return a text such as ``3 hubs: 1 failed, 2 passed``. ``one`` and ``many`` are what is counted."""
    parts = [f"{counts[verdict]} {verdict}" for verdict in ORDER if counts[verdict]]
    return f"{counts['total']} {one if counts['total'] == 1 else many}: {', '.join(parts) or none}"


# In the terminal


class Row(NamedTuple):
    """A row of the table."""

    host: str
    check: str
    verdict: str
    seconds: float
    message: str


def table(report: Report, path: Any = "") -> list[str]:
    """Return the lines that end a run in the terminal: one for each check, failures last, then the totals.

    A hub has a line of its own if it is the only one, if it has no checks, or if something is wrong with it. ``path``
    is where the report lies, empty if it was not written.
    """
    rows = [row for hub in report["hubs"] for row in _rows_of(hub, is_only=len(report["hubs"]) == 1)]
    of_host, of_check = (
        min(max((len(name) for name in names), default=0), LONGEST_COLUMN)
        for names in ([row.host for row in rows], [row.check for row in rows])
    )
    lines = []
    for verdict in reversed(ORDER):
        found = [row for row in rows if row.verdict == verdict]
        for row in found[: MOST_ROWS[verdict]]:
            names = f"{cut(row.host, of_host):<{of_host}}  {cut(row.check, of_check):<{of_check}}"
            line = f"{names}  {_SHOWN[verdict]:<7}  {row.seconds:7.1f} s  {row.message}"
            lines.append(cut(line, WIDTH_OF_FAILURES if verdict == FAILED else WIDTH))
        if len(found) > MOST_ROWS[verdict]:
            lines.append(f"and {len(found) - MOST_ROWS[verdict]} more {verdict}")
    place = f", report in {one_line(path)}" if path else ""
    hubs = count_text(report["counts"]["hubs"], "hub", "hubs")
    checks = count_text(report["counts"]["checks"], "check", "checks")
    lines.append(f"{report['verdict'].upper()} in {report['seconds']:.1f} s. {hubs}. {checks}{place}")
    return lines


def _rows_of(hub: Mapping[str, Any], is_only: bool) -> list[Row]:
    rows = []
    for check in hub["checks"]:
        left = "Its server may still run. " if check["server_left"] else ""
        rows.append(Row(hub["host"], check["name"], check["verdict"], check["seconds"], left + check["message"]))
    bad = [phase for verdict in (FAILED, WARNED) for phase in hub["phases"] if phase["verdict"] == verdict]
    seconds = max((phase["began"] + phase["seconds"] for phase in hub["phases"]), default=hub["seconds"])
    if bad:
        verdict, message = bad[0]["verdict"], f"{bad[0]['name']}: {bad[0]['message']}"
    elif hub["verdict"] not in [row.verdict for row in rows]:  # nothing else shows it
        verdict, message = hub["verdict"], hub["message"]
    elif is_only:
        verdict, message = PASSED, ""
    else:
        return rows
    about = f"JupyterHub {hub['version'] or '(unknown version)'} at {hub['url'] or '(no address)'}"
    return [Row(hub["host"], "(hub)", verdict, seconds, message or about), *rows]


def cut(line: str, longest: int) -> str:
    """Return a line of at most ``longest`` characters."""
    line = line.rstrip()
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


# In a failed task


def host_failure(host: str, hostvars: Mapping[str, Any], given_url: Any = "") -> str:
    """Return the sentence with which the role fails for a host. It is empty if the host has not failed.

    This reads the variables of the one host (see `read_hosts`). To render the whole report for each host takes long.
    """
    [hub] = collect(read_hosts([host], hostvars, given_url), 0, 0)["hubs"]
    if hub["verdict"] != FAILED:
        return ""
    left = one_line(", ".join(check["name"] for check in hub["checks"] if check["server_left"]))
    may_run = f" The servers of these checks may still run, stop them with hub_server: {left}." if left else ""
    return f"{hub['url'] or 'The hub'} is not verified, {hub['message']}{may_run}"
