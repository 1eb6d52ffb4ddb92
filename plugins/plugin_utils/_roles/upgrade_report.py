# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the role upgrade: what one of its entry points did on the hub of each host of a play.

Each host has its row, whatever happened to it. Everything in a report is safe to encode, and each key has one type, so
that what shows a report need not look twice. The report of the entry point compare is the content of ``compare.json``,
which docs/docsite/rst/compare_report.rst describes for users. Nothing here reads the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...module_utils._verify.phases import FAILED, PASSED, SKIPPED, WARNED, join_verdicts
from .checks import is_true
from .upgrade import CHANGED, LOST, NEW, SEVERITIES, judge, read_fail_on
from .verify_report import (
    HOST_UNREACHABLE,
    NO_RESULT,
    TASK_FAILED,
    TASK_SKIPPED,
    count_verdicts,
    read_failure,
    read_variable,
)
from .verify_values import (
    read_boolean,
    read_data,
    read_line,
    read_mapping,
    read_name,
    read_seconds,
    read_text,
    read_time,
    read_url,
    time_text,
)

SCHEMA = "hubops.jupyterhub/compare-report"
VERSION = 1
"""Changes if a program that reads a report would have to change. A new key does not change it."""

SNAPSHOT, DRAIN, RESTORE, COMPARE = STEPS = ("snapshot", "drain", "restore", "compare")
"""The entry points of the role."""
_OF_SUCCESS = {SNAPSHOT: "path", DRAIN: "drained", RESTORE: "servers", COMPARE: "differences"}
"""A key that the result of each module has if it says something about the hub."""
_SENTENCES = {
    HOST_UNREACHABLE: "Ansible did not reach the host: {msg} Look at the connection variables of the host.",
    NO_RESULT: "The host failed or was unreachable before its turn, or its turn is still to come (serial). Look at the "
    "tasks of this host in the output of the play.",
    TASK_FAILED: "{msg}",
    TASK_SKIPPED: "The task was skipped.",
}
MOST_DIFFERENCES = 100_000
"""Differences of one hub in a report. What is left out is counted."""

Row = dict[str, Any]


def read_hosts(
    hosts: Iterable[str], hostvars: Mapping[str, Any], step: str, given_url: Any = "", fail_on: Any = (LOST,)
) -> dict[str, dict[str, Any]]:
    """Return what `collect` needs, from the variables of the hosts.

    ``hosts`` are all hosts of the play. The variables are ``upgrade_STEP_result``, the registered result of the module,
    ``hub_url`` and ``upgrade_fail_on``. ``given_url`` and ``fail_on`` are for a host that does not set the last two.
    """
    found = {}
    for host in hosts:
        severities = read_variable(hostvars, host, "upgrade_fail_on")
        found[str(host)] = {
            "result": read_variable(hostvars, host, f"upgrade_{step}_result"),
            "hub_url": read_variable(hostvars, host, "hub_url") or given_url,
            "fail_on": fail_on if severities is None else severities,
        }
    return found


def collect(
    hosts: Mapping[str, Mapping[str, Any]], step: str, now: Any, ansible_version: Any = "", is_check_mode: Any = False
) -> dict[str, Any]:
    """Return the report of an entry point.

    ``hosts`` has for each host of the play the ``result`` of the module (None if there is none), and the ``hub_url``
    and the ``fail_on`` that the user set. ``now`` is in seconds since 1970.
    """
    common = {"is_check_mode": is_true(is_check_mode)}
    hubs = [_read_row(host, step, read_mapping(facts) | common) for host, facts in read_mapping(hosts).items()]
    counts = {"hubs": count_verdicts(hub["verdict"] for hub in hubs)}
    if step == COMPARE:
        counts["differences"] = {name: sum(hub["counts"][name] for hub in hubs) for name in SEVERITIES}
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "step": step,
        "verdict": join_verdicts([hub["verdict"] for hub in hubs]),
        "written": time_text(now),
        "ansible_version": read_name(ansible_version),
        "counts": counts,
        "hubs": hubs,
    }


def _read_row(host: str, step: str, facts: dict[str, Any]) -> Row:
    result = read_mapping(facts.get("result"))
    reason = _find_reason(result, step)
    details, verdict, message = _READERS[step](result, facts)
    failure = read_failure(result.get("failure"))
    if reason:
        msg = read_line(result.get("msg") or "There is no message").rstrip(". ")
        verdict, message = SKIPPED if reason == TASK_SKIPPED else FAILED, _SENTENCES[reason].format(msg=f"{msg}.")
    elif failure:
        verdict, message = FAILED, result.get("msg") or failure["message"]
    return {
        "host": read_name(host),
        "verdict": verdict,
        "not_run": reason,
        "url": details.pop("url", "") or read_url(facts.get("hub_url")),
        "message": "" if verdict == PASSED else read_line(message),
        "failure": failure if verdict == FAILED else None,
        **details,
    }


def _find_reason(result: dict[str, Any], step: str) -> str | None:
    """Return why a result says nothing about the hub, None if it says something."""
    if not result:
        return NO_RESULT
    if read_boolean(result.get("unreachable")):
        return HOST_UNREACHABLE
    if _OF_SUCCESS[step] in result:
        return None
    return TASK_SKIPPED if read_boolean(result.get("skipped")) else TASK_FAILED


# What each entry point says about a hub: the keys of its row, the verdict if nothing has failed, and the reason for it


def _read_snapshot(result: dict[str, Any], facts: dict[str, Any]) -> tuple[Row, str, str]:
    hidden = [
        {name: read_line(item.get(name), 500) for name in ("name", "scope", "message")}
        for item in map(read_mapping, _read_items(result.get("unreadable")))
    ]
    row = {
        "url": read_url(read_mapping(result.get("hub")).get("url")),
        "version": read_name(read_mapping(result.get("hub")).get("version")),
        "path": read_line(result.get("path"), 1000),
        "counts": _read_counts(result.get("counts")),
        "unreadable": hidden,
    }
    # Routes are not compared. The purpose upgrade of a service account has no scope to read them.
    names = ", ".join(item["name"] for item in hidden if item["name"] != "routes")
    return row, WARNED if names else PASSED, f"The token may not read all of {names}. A comparison does not cover that."


def _read_drain(result: dict[str, Any], facts: dict[str, Any]) -> tuple[Row, str, str]:
    lists = {
        name: [*map(read_mapping, _read_items(result.get(name)))]
        for name in ("drained", "kept", "gone", "started_meanwhile", "failures")
    }
    # A drain that is refused, such as one of more servers than upgrade_max_stops, lists what it would stop.
    is_refused = result.get("failure") and not lists["failures"] and not read_boolean(result.get("changed"))
    would = facts["is_check_mode"] or is_refused
    groups = [
        *_group("would stop" if would else "stopped", lists["drained"], lambda item: ""),
        *_group_kept(lists["kept"]),
        *_group("gone", lists["gone"], lambda item: ""),
        *_group("started meanwhile", lists["started_meanwhile"], lambda item: ""),
        *_group("failed", lists["failures"], _find_failure),
    ]
    number = len(lists["started_meanwhile"])
    row = {"path": read_line(result.get("path"), 1000), "groups": groups}
    message = f"{number} {'server was' if number == 1 else 'servers were'} started meanwhile. Run this again."
    # The token does not see servers that may still run.
    hidden = [read_line(item.get("message")) for item in map(read_mapping, _read_items(result.get("unreadable")))]
    hidden += [read_line(item.get("reason")) for item in lists["kept"] if read_name(item.get("keep_code")) == "hidden"]
    why = hidden[0] if hidden and not number else message
    return row, WARNED if number or hidden else PASSED, why


def _read_restore(result: dict[str, Any], facts: dict[str, Any]) -> tuple[Row, str, str]:
    items = [*map(read_mapping, _read_items(result.get("servers")))]
    outcomes = {
        "restored": "would start" if facts["is_check_mode"] else "restored", "already_running": "already running",
        "user_gone": "user gone", "profile_gone": "profile gone", "stopped_since": "stopped since", "failed": "failed",
    }  # fmt: skip
    groups = []
    for outcome in dict.fromkeys([*outcomes, *map(_name_outcome, items)]):
        found = [item for item in items if _name_outcome(item) == outcome]
        has_reason = outcome not in ("restored", "user_gone", "done before")
        groups += _group(outcomes.get(outcome, outcome), found, _find_failure if has_reason else lambda item: "")
    numbers = {group["outcome"]: len(group["servers"]) for group in groups}
    number, ended = numbers.get("profile gone", 0), numbers.get("stopped since", 0)
    message = f"{number} {'server has' if number == 1 else 'servers have'} a profile that the hub no longer offers."
    if not number:
        message = f"{ended} {'server was' if ended == 1 else 'servers were'} restored before, and stopped since then."
    other = read_url(result.get("other_hub"))
    if other:
        message = f"The record is of the hub at {other}. Check upgrade_dir, unless the hub has another address now."
    row = {"path": read_line(result.get("path"), 1000), "groups": groups}
    return row, WARNED if number or ended or other else PASSED, message


def _name_outcome(item: Mapping[str, Any]) -> str:
    """Return the outcome of a server. One that an earlier restore has started may have stopped since then."""
    outcome = read_name(item.get("outcome"))
    has_ended = outcome in ("restored", "already_running") and item.get("state") == "stopped"
    if has_ended:
        return "stopped_since"
    return "done before" if outcome == "restored" and not read_boolean(item.get("changed")) else outcome


def _find_failure(item: Mapping[str, Any]) -> str:
    """Return why a server was not stopped or not restored."""
    return read_line(read_mapping(item.get("failure")).get("message") or item.get("reason"))


def _read_compare(result: dict[str, Any], facts: dict[str, Any]) -> tuple[Row, str, str]:
    fail_on, complaint = read_fail_on(facts.get("fail_on"))
    every = [_read_difference(item) for item in map(read_mapping, _read_items(result.get("differences")))]
    counts = {name: sum(each["severity"] == name for each in every) for name in SEVERITIES}
    before, after = (_read_side(result.get(name)) for name in ("before", "after"))
    servers = read_mapping(result.get("servers"))
    row = {
        "url": after["url"],
        "version": after["version"],
        "fail_on": fail_on,
        "before": before,
        "after": after,
        "counts": counts,
        "differences": every[:MOST_DIFFERENCES],
        "servers": {
            name: [*map(read_name, _read_items(servers.get(name)))]
            for name in ("survived", "restarted", "stopped", "drained")
        },
        "starts": [
            {"check": read_name(item.get("check")), **{key: _read_number(item.get(key)) for key in _OF_START}}
            for item in map(read_mapping, _read_items(result.get("starts")))
        ],
        "not_compared": [
            {"name": read_name(item.get("name")), "message": read_line(item.get("message"))}
            for item in map(read_mapping, _read_items(result.get("not_compared")))
        ],
    }
    if complaint:
        return row, FAILED, complaint
    verdict = judge(list_severities(counts), fail_on)
    hidden = [name for name in dict.fromkeys(each["name"] for each in row["not_compared"]) if name != "verification"]
    if verdict == PASSED and hidden:
        # Something may be lost in what the token could not read. A hub need not be verified.
        return row, WARNED, read_line(f"Not compared: {', '.join(hidden)}.")
    return row, verdict, _describe(every, fail_on if verdict == FAILED else [LOST])


_OF_START = ("before", "after", "share")
_READERS = {SNAPSHOT: _read_snapshot, DRAIN: _read_drain, RESTORE: _read_restore, COMPARE: _read_compare}


def list_severities(counts: Mapping[str, int]) -> list[str]:
    """Return what is there at all, in the same order."""
    return [name for name, number in counts.items() if number]


def count_differences(counts: Mapping[str, int]) -> str:
    """Return a text such as ``1 lost, 3 changed``."""
    return ", ".join(f"{counts[name]} {name}" for name in list_severities(counts)) or "no difference"


def _describe(differences: list[Row], severities: Iterable[str]) -> str:
    """Return a sentence on the differences of some severities, of which there is at least one."""
    found = [each for each in differences if each["severity"] in severities]
    more = f" And {len(found) - 1} more." if len(found) > 1 else ""
    return f"{found[0]['severity']}: {found[0]['message']}{more}" if found else ""


def _read_difference(item: dict[str, Any]) -> Row:
    severity = read_text(item.get("severity"))
    return {
        "severity": severity if severity in (LOST, CHANGED, NEW) else LOST,  # an unknown one is as bad as it can be
        "kind": read_name(item.get("kind")),
        "name": read_name(item.get("name")),
        "field": read_name(item.get("field")),
        "before": read_data(item.get("before")),
        "after": read_data(item.get("after")),
        "message": read_line(item.get("message")),
    }


def _read_side(value: Any) -> Row:
    side = read_mapping(value)
    return {
        "path": read_line(side.get("path"), 1000) or None,
        "taken": read_time(side.get("taken")),
        "url": read_url(side.get("url")),
        "version": read_name(side.get("version")),
    }


def _group(outcome: str, items: list[dict[str, Any]], find_reason: Callable[[dict[str, Any]], str]) -> list[Row]:
    """Return the names of servers, grouped by the reason for what happened to them."""
    groups: dict[str, list[str]] = {}
    for item in items:
        groups.setdefault(find_reason(item), []).append(_name_server(item))
    return [{"outcome": outcome, "reason": reason, "servers": sorted(names)} for reason, names in groups.items()]


def _group_kept(items: list[dict[str, Any]]) -> list[Row]:
    """Return the servers that stay, grouped by the code of the reason. If all have the same sentence, that is shown."""
    sentences: dict[str, set[str]] = {}
    for item in items:
        sentences.setdefault(read_name(item.get("keep_code")), set()).add(read_line(item.get("reason")))

    def find_reason(item: dict[str, Any]) -> str:
        code = read_name(item.get("keep_code"))
        return next(iter(sentences[code])) if len(sentences[code]) == 1 else code

    return _group("stays", items, find_reason)


def _name_server(item: Mapping[str, Any]) -> str:
    """Return the name of a server for people: ``alice``, or ``alice/lab`` for a named server."""
    user, name = read_name(item.get("user")), read_name(item.get("server_name"))
    return f"{user}/{name}" if name else user


def _read_items(value: Any) -> list[Any]:
    return [*value] if isinstance(value, list | tuple) else []


def _read_counts(value: Any) -> dict[str, int]:
    """Return how many there are of what could be read. A number that is None is left out."""
    numbers = read_mapping(value).items()
    return {read_name(name): int(read_seconds(number)) for name, number in numbers if number is not None}


def _read_number(value: Any) -> float | None:
    """Return a number with three digits, which may be below zero, None if there is none."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return round(number, 3) if abs(number) < 1e11 else None
