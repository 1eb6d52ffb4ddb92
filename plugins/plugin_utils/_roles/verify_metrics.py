# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the role verify for Prometheus, as a file for the textfile collector of the node exporter."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from ...module_utils._verify.phases import FAILED, SKIPPED
from .verify_values import VERDICTS, timestamp

HELP = {
    "hubops_verify_last_success_timestamp_seconds": "When the last verification began that passed or warned.",
    "hubops_verify_last_run_timestamp_seconds": "When the last verification began.",
    "hubops_verify_verdict": "Whether the last verification of a hub had the verdict.",
    "hubops_verify_seconds": "How long the last verification of a hub took.",
    "hubops_verify_failures_in_a_row": "How many verifications failed since the last one that passed or warned.",
    "hubops_verify_start_seconds": "How long the server of a check took to start in the last verification of the hub.",
    "hubops_verify_start_seconds_median": "The median of the start seconds in the verifications before the last one.",
    "hubops_verify_check_verdict": "Whether a check had the verdict.",
    "hubops_verify_check_seconds": "How long a check took.",
    "hubops_verify_phase_verdict": "Whether a phase of a check, or of the hub itself, had the verdict.",
    "hubops_verify_phase_seconds": "How long a phase of a check, or of the hub itself, took.",
}
"""Each metric, and what it says."""

FEWEST_STARTS = 3
"""Starts of which there is a median. A single slow start does not change the median of three."""

Labels = tuple[tuple[str, str], ...]
Series = dict[str, dict[Labels, float]]
"""For each metric its samples."""


def metrics(report: Mapping[str, Any]) -> str:
    """Return the report as text for Prometheus.

    A hub that the history knows has its samples even if it is not part of this run, because an alert on the age of the
    last success must not end by a run for other hubs.
    """
    series: Series = {name: {} for name in HELP}
    for host, began in report["last_success"].items():
        _add(series, "last_success_timestamp_seconds", timestamp(began), hub=host)
    for hub in report["hubs"]:
        _add_run(series, hub["host"], hub)
        _add_phases(series, hub["host"], "", hub["phases"])
        for check in hub["checks"]:
            _add_verdict(series, "check_verdict", check["verdict"], hub=hub["host"], check=check["name"])
            _add(series, "check_seconds", check["seconds"], hub=hub["host"], check=check["name"])
            _add_phases(series, hub["host"], check["name"], check["phases"])
    for host, runs in report["history"].items():
        _add_run(series, host, runs[-1])  # has no effect if the host is part of this run
        _add(series, "failures_in_a_row", count_failures_in_a_row(runs), hub=host)
        for check, seconds in runs[-1]["checks"].items():
            _add(series, "start_seconds", seconds, hub=host, check=check)
        for check, seconds in start_medians(runs[:-1]).items():
            _add(series, "start_seconds_median", seconds, hub=host, check=check)
    lines = []
    for name, text in HELP.items():
        if series[name]:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
            lines += [_line(name, labels, value) for labels, value in series[name].items()]
    return "".join(f"{line}\n" for line in lines)


def count_failures_in_a_row(runs: list[dict[str, Any]]) -> int:
    """Return how many runs of a host failed since the last one that passed or warned.

    ``runs`` are those of the history, the newest one last. A run that was skipped proves nothing: it is no failure, and
    it does not end a row of failures.
    """
    failures = 0
    for run in reversed(runs):
        if run["verdict"] not in (FAILED, SKIPPED):
            break
        failures += run["verdict"] == FAILED
    return failures


def start_medians(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Return for each check the median of its start seconds in these runs of the history.

    A check whose server started in fewer than `FEWEST_STARTS` of the runs has none.
    """
    seconds: dict[str, list[float]] = {}
    for run in runs:
        for check, taken in run["checks"].items():
            seconds.setdefault(check, []).append(taken)
    return {check: statistics.median(taken) for check, taken in seconds.items() if len(taken) >= FEWEST_STARTS}


def _add_run(series: Series, host: str, run: Mapping[str, Any]) -> None:
    _add(series, "last_run_timestamp_seconds", timestamp(run["began"]), hub=host)
    _add_verdict(series, "verdict", run["verdict"], hub=host)
    _add(series, "seconds", run["seconds"], hub=host)


def _add_phases(series: Series, host: str, check: str, phases: list[Mapping[str, Any]]) -> None:
    for phase in phases:
        labels = {"hub": host, "check": check, "phase": phase["name"]}
        _add_verdict(series, "phase_verdict", phase["verdict"], **labels)
        _add(series, "phase_seconds", phase["seconds"], **labels)


def _add_verdict(series: Series, metric: str, verdict: str, **labels: str) -> None:
    for each in VERDICTS:
        _add(series, metric, float(each == verdict), **labels, verdict=each)


def _add(series: Series, metric: str, value: float, **labels: str) -> None:
    # Prometheus rejects the whole file if two samples have the same labels, as those of two checks of one name.
    series[f"hubops_verify_{metric}"].setdefault(tuple(labels.items()), value)


def _line(name: str, labels: Labels, value: float) -> str:
    # A label without a value is the same as no label.
    shown = ",".join(f'{label}="{_escape(text)}"' for label, text in labels if text)
    return f"{name}{{{shown}}} {float(value):.15g}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
