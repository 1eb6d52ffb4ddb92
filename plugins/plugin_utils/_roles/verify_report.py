# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the role verify: what `hub_verify` found out about the hub of each host of a play, in one form.

Each host has its row, whatever happened to it. Everything in a report is safe to encode and of limited size, and each
key has one type, so that what shows a report need not look twice. docs/docsite/rst/verify_report.rst describes it.
Nothing here reads the clock: a time is a parameter, in seconds since 1970.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils._verify.phases import FAILED, PASSED, SKIPPED, join_verdicts
from .verify_history import LONGEST_REPORT, History, add_run, read_earlier
from .verify_values import (
    VERDICTS,
    read_boolean,
    read_data,
    read_line,
    read_list,
    read_mapping,
    read_name,
    read_seconds,
    read_time,
    read_url,
    read_verdict,
    time_text,
)

SCHEMA = "hubops.jupyterhub/verify-report"
VERSION = 1
"""Changes if a program that reads a report would have to change. A new key does not change it."""

HOST_UNREACHABLE, NO_RESULT, TASK_FAILED, TASK_SKIPPED = "host_unreachable", "no_result", "task_failed", "task_skipped"
NO_REPORT, OLD_REPORT = "no_report", "old_report"
"""Why nothing is known about the hub of a host: the values of ``not_verified``. The last two are those of a merge."""
NOT_RUN = (NO_RESULT, NO_REPORT, OLD_REPORT)
"""Those that come from no run on the hub of the host, so the history has no run of them."""

_SENTENCES = {
    HOST_UNREACHABLE: "Ansible did not reach the host, so its hub was not verified: {msg} Look at the connection "
    "variables of the host.",
    NO_RESULT: "The host failed or was unreachable before its turn, or its turn is still to come (serial). Its hub was "
    "not verified. Look at the tasks of this host in the output of the play.",
    TASK_FAILED: "hub_verify failed before it verified anything: {msg}",
    TASK_SKIPPED: "The task with hub_verify was skipped, so the hub was not verified.",
    NO_REPORT: "No report has this host. The job that verifies its hub has not run, has not ended, or was killed. Look "
    "at that job, and at verify_reports.",
    OLD_REPORT: "The newest report on this hub is too old: {msg} Look at the job that verifies the hub.",
}


def read_hosts(hosts: Iterable[str], hostvars: Mapping[str, Any], given_url: Any = "") -> dict[str, dict[str, Any]]:
    """Return what `collect` needs, from the variables of the hosts.

    ``hosts`` are all hosts of the play. The variables are ``verify_result``, the registered result of hub_verify, and
    ``hub_url``. ``given_url`` is the address of a hub whose host does not set ``hub_url``.
    """
    return {
        str(host): {
            "result": read_variable(hostvars, host, "verify_result"),
            "hub_url": read_variable(hostvars, host, "hub_url") or given_url,
        }
        for host in hosts
    }


def read_variable(hostvars: Mapping[str, Any], host: str, name: str) -> Any:
    """Return a variable of a host, None if it has no value."""
    try:
        return hostvars[host].get(name)
    except Exception:  # Ansible renders the variable now, and the user's template may fail
        return None


def collect(
    hosts: Mapping[str, Mapping[str, Any]],
    began: Any,
    now: Any,
    ansible_version: Any = "",
    earlier: Any = None,
    keep: Any = 10,
) -> dict[str, Any]:
    """Return the content of ``report.json``.

    ``hosts`` has for each host of the play the ``result`` of hub_verify (None if there is none) and the ``hub_url``
    that the user set. ``earlier`` is the report of the run before, as text or as data, and ``keep`` is how many runs
    the history keeps. ``began`` and ``now`` are in seconds since 1970.
    """
    began_text = time_text(began)
    hubs = [_hub_row(host, read_mapping(facts), began_text) for host, facts in read_mapping(hosts).items()]
    # With `serial`, each batch writes the report. A host whose turn is still to come, or never came, has made no run.
    history, successes = add_run([hub for hub in hubs if hub["not_verified"] not in NOT_RUN], earlier, keep)
    seconds = round(max(read_seconds(now) - read_seconds(began), 0.0), 3)
    return make_report(began_text, seconds, ansible_version, hubs, history, successes)


def count_verdicts(verdicts: Iterable[str]) -> dict[str, int]:
    """Return the total number, and the number of each verdict."""
    found = [*verdicts]
    return {"total": len(found), **{verdict: found.count(verdict) for verdict in VERDICTS}}


def _hub_row(host: str, facts: dict[str, Any], began: str) -> dict[str, Any]:
    result, given_url = read_mapping(facts.get("result")), read_url(facts.get("hub_url"))
    not_verified = _reason(result)
    if not_verified:
        return make_empty_row(host, not_verified, result, given_url, began)
    hub = read_mapping(result.get("hub"))
    phases = _phases(hub.get("phases"))
    checks = [_check(check) for check in map(read_mapping, read_list(result.get("checks")))]
    parts = [*phases, *(phase for check in checks for phase in check["phases"])]
    verdict = join_verdicts(
        [
            read_verdict(result.get("verdict")),
            read_verdict(hub.get("verdict")),
            *(check["verdict"] for check in checks),
            # Nothing is a pass in which something failed.
            *(phase["verdict"] for phase in parts if phase["verdict"] == FAILED),
            FAILED if read_boolean(result.get("failed")) else PASSED,
        ]
    )
    where, first = find_phase([("", phases), *((check["name"], check["phases"]) for check in checks)], verdict)
    why = f"{where}: {first['message']}" if first else result.get("msg") or "hub_verify gave no reason."
    return {
        "host": read_name(host),
        "verdict": verdict,
        "not_verified": None,
        "url": read_url(hub.get("url")) or given_url,
        "version": read_name(hub.get("version")),
        "began": read_time(result.get("began")) or began,
        "seconds": read_seconds(result.get("seconds")),
        "message": "" if verdict == PASSED else read_line(why),
        "failure": (first["failure"] if first else read_failure(result.get("failure"))) if verdict == FAILED else None,
        "phases": phases,
        "checks": checks,
    }


def read_report(content: Any) -> dict[str, Any] | None:
    """Return a report as `collect` has returned it, from the content of ``report.json``, as text or as data.

    Return None if it is no report of this version. Somebody may have changed the file, so everything is read again.
    """
    try:
        data = json.loads(content) if isinstance(content, str) and len(content) <= LONGEST_REPORT else content
    except (ValueError, RecursionError):
        return None
    report = read_mapping(data)
    if (report.get("schema"), report.get("version")) != (SCHEMA, VERSION):
        return None
    rows = report.get("hubs")
    hubs = [_read_row(row) for row in map(read_mapping, rows if isinstance(rows, list) else [])]
    began = read_time(report.get("began")) or time_text(0)
    seconds = read_seconds(report.get("seconds"))
    return make_report(began, seconds, report.get("ansible_version"), hubs, *read_earlier(report))


def make_report(
    began: str,
    seconds: float,
    ansible_version: Any,
    hubs: list[dict[str, Any]],
    history: History,
    successes: dict[str, str],
) -> dict[str, Any]:
    """Return a report of these rows, with the verdict on all of them and their counts."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "verdict": join_verdicts([hub["verdict"] for hub in hubs]),
        "began": began,
        "seconds": seconds,
        "ansible_version": read_name(ansible_version),
        "counts": {
            "hubs": count_verdicts(hub["verdict"] for hub in hubs),
            "checks": count_verdicts(check["verdict"] for hub in hubs for check in hub["checks"]),
        },
        "hubs": hubs,
        "history": history,
        "last_success": successes,
    }


def _read_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "host": read_name(row.get("host")),
        "verdict": read_verdict(row.get("verdict")),
        "not_verified": read_name(row.get("not_verified")) or None,
        "url": read_url(row.get("url")),
        "version": read_name(row.get("version")),
        "began": read_time(row.get("began")) or time_text(0),
        "seconds": read_seconds(row.get("seconds")),
        "message": read_line(row.get("message")),
        "failure": read_failure(row.get("failure")),
        "phases": _phases(row.get("phases")),
        "checks": [_check(check) for check in map(read_mapping, read_list(row.get("checks")))],
    }


def make_empty_row(host: str, reason: str, result: dict[str, Any], url: str, began: str) -> dict[str, Any]:
    """Return the row of a host about whose hub nothing is known, for one of the reasons above."""
    msg = read_line(result.get("msg") or "There is no message").rstrip(". ")
    return {
        "host": read_name(host),
        "verdict": SKIPPED if reason == TASK_SKIPPED else FAILED,
        "not_verified": reason,
        "url": url,
        "version": "",
        "began": began,
        "seconds": 0.0,
        "message": read_line(_SENTENCES[reason].format(msg=f"{msg}.")),
        "failure": read_failure(result.get("failure")),
        "phases": [],
        "checks": [],
    }


def _reason(result: dict[str, Any]) -> str | None:
    """Return why a result says nothing about the hub, None if it says something."""
    if not result:
        return NO_RESULT
    if read_boolean(result.get("unreachable")):
        return HOST_UNREACHABLE
    if "verdict" in result:
        return None
    return TASK_SKIPPED if read_boolean(result.get("skipped")) else TASK_FAILED


def _check(check: dict[str, Any]) -> dict[str, Any]:
    phases = _phases(check.get("phases"))
    verdict = read_verdict(check.get("verdict"))
    if any(phase["verdict"] == FAILED for phase in phases):
        verdict = FAILED
    _where, first = find_phase([("", phases)], verdict)
    return {
        "name": read_name(check.get("name")),
        "user": read_name(check.get("user")),
        "server_name": read_name(check.get("server_name")),
        "url": read_line(check.get("url"), 500) or None,
        "verdict": verdict,
        "began": read_seconds(check.get("began")),
        "seconds": read_seconds(check.get("seconds")),
        "server_left": read_boolean(check.get("server_left")),
        "message": read_line(f"{first['name']}: {first['message']}") if first and verdict != PASSED else "",
        "failure": (first["failure"] if first else read_failure(check.get("failure"))) if verdict == FAILED else None,
        "phases": phases,
    }


def _phases(value: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": read_name(phase.get("name")),
            "verdict": read_verdict(phase.get("verdict")),
            "began": read_seconds(phase.get("began")),
            "seconds": read_seconds(phase.get("seconds")),
            "message": read_line(phase.get("message")),
            "failure": read_failure(phase.get("failure")),
            "details": read_data(read_mapping(phase.get("details"))),
        }
        for phase in map(read_mapping, read_list(value))
    ]


def read_failure(value: Any) -> dict[str, Any] | None:
    """Return a module's ``failure`` with all of its keys."""
    failure = read_mapping(value)
    if not failure:
        return None
    status = int(read_seconds(failure.get("status")))
    return {
        "code": read_name(failure.get("code")),
        "message": read_line(failure.get("message")),
        "status": status or None,
        "method": read_name(failure.get("method")) or None,
        "url": read_line(failure.get("url"), 500) or None,
        "hint": read_line(failure.get("hint")),
    }


def find_phase(groups: Iterable[tuple[str, list[dict[str, Any]]]], verdict: str) -> tuple[str, dict[str, Any] | None]:
    """Return where the first phase with a verdict is, such as ``lab start``, and the phase."""
    for name, phases in groups:
        for phase in phases:
            if phase["verdict"] == verdict:
                return f"{name} {phase['name']}".strip(), phase
    return "", None
