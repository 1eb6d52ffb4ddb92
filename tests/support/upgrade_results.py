# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of what the modules of the role upgrade return, and of the reports that are drawn up from them.

A sample is a new object at each call, so a test may change it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.upgrade_report import collect
from support.verify_results import BEGAN, HOSTILE_TEXTS, INVALID_OPTIONS, SKIPPED_TASK, UNREACHABLE_HOST, failure


def difference(severity: str, kind: str, name: str, message: str, **more: Any) -> dict[str, Any]:
    return {
        "severity": severity, "kind": kind, "name": name, "field": "", "before": None, "after": None,
        "message": message, **more,
    }  # fmt: skip


def compared(*differences: dict[str, Any], version: str = "6.1.1") -> dict[str, Any]:
    """Return the result of hub_compare for a hub that was upgraded, with these differences besides the version."""
    every = [
        *differences,
        difference("changed", "version", "", "JupyterHub was 5.5.4 and is now 6.1.1.", before="5.5.4", after=version),
    ]
    every.sort(key=lambda each: ("lost", "changed", "new").index(each["severity"]))
    severities = [each["severity"] for each in every]
    return {
        "changed": False, "actions": [], "diff": {"before": {}, "after": {}},
        "before": {
            "path": "/srv/snapshots/teaching/20261126T180000Z.json", "taken": "2026-11-26T18:00:00Z",
            "url": "https://hub.example.org/", "version": "5.5.4",
        },
        "after": {"path": None, "taken": "2026-11-26T19:30:00Z", "url": "https://hub.example.org/", "version": version},
        "counts": {name: severities.count(name) for name in ("lost", "changed", "new")},
        "differences": every,
        "servers": {"survived": ["carol"], "restarted": ["dave"], "stopped": [], "drained": []},
        "starts": [],
        "not_compared": [],
        "summary": ["1 changed"],
    }  # fmt: skip


def with_losses() -> dict[str, Any]:
    """Return the result for a hub that has lost something of each kind."""
    result = compared(
        difference("lost", "user", "bob", "User 'bob' is gone, with 2 tokens and 1 server.", before={"admin": False}),
        difference("lost", "token", "alice/a12", "Token 'reports' (a12) of user 'alice' is gone."),
        difference("lost", "server", "alice/lab", "Named server 'lab' of user 'alice' is gone."),
        difference("lost", "option", "carol", "Option 'gpu' of the server of 'carol' is gone.", field="gpu", before=2),
        difference("changed", "scope", "service ci", "Service 'ci' has start:servers and delete:servers in place of "
                   "servers. JupyterHub 6 splits this scope.", before=["servers"],
                   after=["delete:servers", "start:servers"]),
        difference("changed", "package", "numpy", "Check 'lab' has numpy 2.4.1 in place of 2.1.0.", before="2.1.0",
                   after="2.4.1"),
        difference("changed", "property", "staff", "Property 'quota' of group 'staff' is different.", field="quota",
                   before={"disk": 10, "gpus": [1, 2]}, after={"disk": 20, "gpus": []}),
        difference("changed", "start_time", "lab", "Check 'lab': the server took 4.1 s to start and takes 9.7 s now, "
                   "137% more.", before=4.1, after=9.7, field="seconds"),
        difference("new", "user", "erin", "User 'erin' is new."),
    )  # fmt: skip
    return result | {
        "servers": {"survived": ["carol", "dave/gpu"], "restarted": ["erin"], "stopped": ["frank"],
                    "drained": ["alice", "bob/lab"]},
        "starts": [
            {"check": "lab", "before": 4.1, "after": 9.7, "share": 1.366},
            {"check": "gpu profile", "before": 31.0, "after": 32.2, "share": 0.039},
        ],
        "not_compared": [{"name": "users.auth_state", "message": "Neither token may read it: admin:auth_state."}],
    }  # fmt: skip


def of_a_fleet(number: int) -> dict[str, Any]:
    """Return the result for a hub that has lost many users, and on which many things have changed."""
    names = [f"student-{each:05}" for each in range(number)]
    result = compared(
        *(difference("lost", "user", name, f"User '{name}' is gone.") for name in names),
        *(difference("changed", "role", name, f"Roles of user '{name}' differ.", before=["user"], after=["user", "ta"])
          for name in names),
        *(difference("new", "token", f"{name}/a1", f"Token a1 of user '{name}' is new.") for name in names),
    )  # fmt: skip
    return result | {"servers": {"survived": [], "restarted": [], "stopped": names, "drained": names}}


def compare_failed() -> dict[str, Any]:
    """Return the result of hub_compare if there is no snapshot."""
    why = failure("invalid", "There is no snapshot in /srv/snapshots/x.", "Take one first.")
    return {"failed": True, "changed": False, "msg": f"{why['message']} {why['hint']}", "failure": why}


def hostile_comparison(text: str) -> dict[str, Any]:
    """Return a result with this text in each place where somebody else may write one."""
    result = with_losses()
    for each in result["differences"]:
        each |= {"kind": text, "name": text, "field": text, "message": text, "before": text, "after": {text: [text]}}
    for side in ("before", "after"):
        result[side] = {"path": text, "taken": text, "url": text, "version": text}
    result["servers"] = {name: [text, text] for name in result["servers"]}
    result["starts"] = [{"check": text, "before": text, "after": text, "share": text}]
    result["not_compared"] = [{"name": text, "message": text}]
    return result


def report_of(results: dict[str, Any], step: str = "compare", fail_on: Any = ("lost",)) -> dict[str, Any]:
    """Return the report of a play with these results."""
    hosts = {
        host: {"result": result, "hub_url": "https://hub.example.org/", "fail_on": fail_on}
        for host, result in results.items()
    }
    return collect(hosts, step, BEGAN, "2.19.14")


def each_kind() -> dict[str, Any]:
    """Return a report with everything that may have happened to a host."""
    return report_of(
        {
            "same": compared(), "lost-something": with_losses(), "no-snapshot": compare_failed(),
            "invalid": INVALID_OPTIONS, "away": UNREACHABLE_HOST, "missing": None, "left-out": SKIPPED_TASK,
        }
    )  # fmt: skip


def hundred_hubs() -> dict[str, Any]:
    """Return a report of a fleet on which three hubs have lost something, one of them very much."""
    results = {f"hub-{number:03}.campus.example.org": compared() for number in range(100)}
    names = [*results]
    results[names[7]] = results[names[70]] = with_losses()
    results[names[33]] = of_a_fleet(5000)
    return report_of(results)


COMPARISONS: dict[str, Callable[[], dict[str, Any]]] = {
    "nothing-lost": lambda: report_of({"hub.example.org": compared()}),
    "losses": lambda: report_of({"teaching": with_losses()}),
    "losses-allowed": lambda: report_of({"teaching": with_losses(), "research": compared()}, fail_on=[]),
    "each-kind": each_kind,
    "five-thousand-users": lambda: report_of({"teaching": of_a_fleet(5000)}),
    "hundred-hubs": hundred_hubs,
    "hostile": lambda: report_of({f"hub-{n}": hostile_comparison(text) for n, text in enumerate(HOSTILE_TEXTS)}),
    "no-hub": lambda: report_of({}),
}
"""Reports of comparisons that each way to show one must be able to show."""


# The other entry points


def snapshot() -> dict[str, Any]:
    """Return the result of hub_snapshot."""
    return {
        "changed": True, "path": "/srv/snapshots/teaching/20261126T180000Z.json", "unreadable": [],
        "counts": {"users": 120, "servers": 14, "groups": 3, "services": 2, "tokens": 40, "routes": 15},
        "hub": {"url": "https://hub.example.org/", "version": "5.5.4"},
    }  # fmt: skip


def _server(number: int, **more: Any) -> dict[str, Any]:
    """Return a server as the modules list it. Every twelfth one is a named server."""
    return {"user": f"user-{number:02}", "server_name": "" if (number + 1) % 12 else "lab", **more}


def drained(number: int = 12) -> dict[str, Any]:
    """Return the result of hub_drain that has stopped this many servers, and could not stop one."""
    why = failure("timeout", "The server did not stop within 2 min.", "Check the hub's log.")
    return {
        "changed": True, "path": "/srv/snapshots/teaching/drained.json",
        "drained": [_server(each, reason=f"idle {each} min, limit 0 s") for each in range(number)],
        "kept": [
            {"user": "verify-bot", "server_name": "", "keep_code": "excluded", "reason": "excluded"},
            {"user": "monitor-bot", "server_name": "", "keep_code": "excluded", "reason": "excluded"},
            {"user": "alice", "server_name": "", "keep_code": "active", "reason": "idle 4 min, limit 1 h"},
        ],
        "gone": [{"user": "bob", "server_name": "", "reason": "it has gone meanwhile"}],
        "started_meanwhile": [{"user": "carol", "server_name": "", "state": "ready"}],
        "failures": [{"user": "dave", "server_name": "gpu", "reason": "idle 2 h", "failure": why}],
        "failed": True, "msg": "1 of 18 servers failed.", "failure": why,
    }  # fmt: skip


def restored(number: int = 1) -> dict[str, Any]:
    """Return the result of hub_restore that has started this many servers, and told the others apart."""
    why = failure("spawn_failed", "There is no room.", "Wait for a node.")
    return {
        "changed": True, "path": "/srv/snapshots/teaching/drained.json",
        "servers": [
            *({**_server(each), "changed": True, "outcome": "restored"} for each in range(10, 10 + number)),
            {**_server(1), "outcome": "already_running", "reason": "Somebody has started it meanwhile."},
            {**_server(2), "outcome": "user_gone", "reason": "The user has been deleted."},
            {**_server(3), "outcome": "profile_gone", "reason": "There is no profile 'gpu'."},
            {**_server(4), "outcome": "failed", "reason": "There is no room.", "failure": why},
        ],
        "failed": True, "msg": "There is no room. Wait for a node.", "failure": why,
    }  # fmt: skip


def hostile_servers(text: str) -> dict[str, Any]:
    """Return a result of a drain and of a restore with this text in each place where somebody else may write one."""
    why = failure(text, text, text)
    each = {"user": text, "server_name": text, "reason": text, "keep_code": text, "outcome": text, "failure": why}
    lists = ("drained", "kept", "gone", "started_meanwhile", "failures", "servers")
    return {**{name: [each] for name in lists}, "path": text, "msg": text, "failure": why, "changed": True}
