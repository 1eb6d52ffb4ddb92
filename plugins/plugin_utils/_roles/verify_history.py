# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history in a report of the role verify: what earlier runs found, from the report of the run before.

The earlier report is a file that anybody may have changed. What has another form in it is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils._verify.phases import PASSED, WARNED
from .verify_values import (
    MOST_ITEMS,
    VERDICTS,
    read_list,
    read_mapping,
    read_name,
    read_seconds,
    read_time,
)

History = dict[str, list[dict[str, Any]]]
"""For each host its runs, the newest one last. A run has ``began``, ``verdict``, ``seconds``, and ``checks``: the
seconds that the start of each check's server took."""

LONGEST_REPORT = 64 << 20
"""Characters of an earlier report that is read."""
MOST_HOSTS = 10_000


def read_earlier(report: Any) -> tuple[History, dict[str, str]]:
    """Return the history of an earlier report, and for each host when its last successful run began.

    ``report`` is the content of ``report.json`` as text or as data. Both results are empty if it is no such report.
    """
    if isinstance(report, str):
        try:
            report = json.loads(report) if len(report) <= LONGEST_REPORT else None
        except (ValueError, RecursionError):
            report = None
    content = read_mapping(report)
    history: History = {}
    for host, runs in [*read_mapping(content.get("history")).items()][:MOST_HOSTS]:
        read = [run for run in map(_read_run, read_list(runs)) if run]
        if read:
            history[read_name(host)] = sorted(read, key=lambda run: run["began"])
    successes = [*read_mapping(content.get("last_success")).items()][:MOST_HOSTS]
    return history, {read_name(host): time for host, began in successes if (time := read_time(began))}


def _read_run(value: Any) -> dict[str, Any] | None:
    run = read_mapping(value)
    began, verdict = read_time(run.get("began")), run.get("verdict")
    if not began or verdict not in VERDICTS:
        return None
    checks = [*read_mapping(run.get("checks")).items()][:MOST_ITEMS]
    return {
        "began": began,
        "verdict": verdict,
        "seconds": read_seconds(run.get("seconds")),
        "checks": {read_name(name): read_seconds(seconds) for name, seconds in checks},
    }


def add_run(hubs: list[dict[str, Any]], earlier: Any, keep: Any) -> tuple[History, dict[str, str]]:
    """Return the history with this run, and for each host when its last successful run began.

    ``hubs`` are the rows of this run's report. ``earlier`` is the report of the run before. ``keep`` is how many runs
    of a host are kept, this one included. Hosts that are not part of this run keep their history.
    """
    history, successes = read_earlier(earlier)
    for hub in hubs:
        # The same report may be read twice, for example after a copy of a folder.
        before = [run for run in history.get(hub["host"], []) if run["began"] < hub["began"]]
        history[hub["host"]] = [*before, _run_of(hub)]
        if hub["verdict"] in (PASSED, WARNED):
            successes[hub["host"]] = hub["began"]
    return _keep_last(history, keep), successes


def join_histories(
    parts: Iterable[tuple[History, dict[str, str]]], hubs: Iterable[dict[str, Any]], keep: Any
) -> tuple[History, dict[str, str]]:
    """Return one history of several, and for each host when its last successful run began.

    A part is what `read_earlier` returns. ``hubs`` are rows whose runs the parts need not have. A run is one run in
    however many parts it is. If they differ, the worst verdict counts.
    """
    rows = [
        ({hub["host"]: [_run_of(hub)]}, {hub["host"]: hub["began"]} if hub["verdict"] in (PASSED, WARNED) else {})
        for hub in hubs
    ]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    successes: dict[str, str] = {}
    for history, times in [*parts, *rows]:
        for host, runs in history.items():
            known = found.setdefault(host, {})
            for run in runs:
                other = known.setdefault(run["began"], run)
                if VERDICTS.index(run["verdict"]) > VERDICTS.index(other["verdict"]):
                    known[run["began"]] = run
        for host, began in times.items():
            successes[host] = max(began, successes.get(host, ""))
    joined = {host: [runs[began] for began in sorted(runs)] for host, runs in found.items()}
    return _keep_last(joined, keep), successes


def _keep_last(history: History, keep: Any) -> History:
    """Return the last runs of each host, as many as ``keep`` says."""
    number = int(read_seconds(keep))
    return {host: runs[-number:] for host, runs in history.items() if number}


def _run_of(hub: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "began": hub["began"],
        "verdict": hub["verdict"],
        "seconds": hub["seconds"],
        "checks": {
            check["name"]: phase["seconds"]
            for check in hub["checks"]
            for phase in check["phases"]
            if phase["name"] == "start" and phase["verdict"] in (PASSED, WARNED)
        },
    }
