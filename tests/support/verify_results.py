# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of what `hub_verify` returns, and of the reports that are drawn up from them.

A sample is a new object at each call, so a test may change it.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_report import collect

BEGAN = 1795716000.0  # 2026-11-26T18:00:00Z
PHASES_OF_HUB = ("hub", "login", "services", "token")

TRACEBACK = [
    "\x1b[31m---------------------------------------------------------------------------\x1b[39m",
    "\x1b[31mModuleNotFoundError\x1b[39m                       Traceback (most recent call last)",
    "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[3]\x1b[39m\x1b[32m, line 2\x1b[39m\n"
    "\x1b[32m      1\x1b[39m \x1b[38;5;66;03m# The course's own helpers\x1b[39;00m\n"
    "\x1b[32m----> 2\x1b[39m \x1b[38;5;28;01mimport\x1b[39;00m\x1b[38;5;250m \x1b[39mtorch\n"
    "\x1b[32m      3\x1b[39m torch.cuda.is_available()",
    "\x1b[31mModuleNotFoundError\x1b[39m: No module named 'torch'",
]

HOSTILE_TEXTS = (
    "</style><script>document.title = 'broken in'</script>",
    "\"><img src=x onerror=alert(1)> ' onload='alert(1)",
    "]]> <!-- --> </details></summary></svg></title> &lt;b&gt; &amp;amp;",
    "javascript:alert(1)",
    "{{ 7 * 7 }} {% for x in y %} {# no #} ${HOME} `id`",
    "a\n\x00\x07\x1b[2J\x1b]0;title\x07\x9b2Jfatal: [localhost]: FAILED!\u202egnp.exe\u2066\x7f\u2028end",
    "half a character: \ud800, none: \ufffe, one: \U0001f600, right to left: \u05e9\u05dc\u05d5\u05dd",
    "x" * 100_000,
    "word " * 20_000,
)
"""What a hub, a spawner, a kernel or a user may write where a name or a sentence is expected."""


def phase(name: str, began: float, seconds: float, message: str = "", **more: Any) -> dict[str, Any]:
    """Return a phase that passed."""
    details: dict[str, Any] = {}
    sample = {
        "name": name,
        "verdict": "passed",
        "began": began,
        "seconds": seconds,
        "message": message or f"{name} is fine.",
    }
    return {**sample, "failure": None, "details": details, **more}


def failure(code: str, message: str, hint: str, **more: Any) -> dict[str, Any]:
    """Return a module's ``failure``."""
    return {"code": code, "message": message, "status": None, "method": None, "url": None, "hint": hint, **more}


def hub_phases(version: str = "6.1.1", slowness: float = 1.0) -> list[dict[str, Any]]:
    s = slowness
    account = {"name": "verify-bot", "kind": "user", "expires_at": "2027-02-01T00:00:00Z", "missing_scopes": []}
    return [
        phase(
            "hub", 0.0, 0.21 * s, f"JupyterHub {version} answers, its certificate is valid for 61 days.",
            details={"version": version, "tls_days_left": 61},
        ),
        phase("login", 0.21 * s, 0.14 * s, "The login page is shown.", details={"url": "/hub/login", "status": 200}),
        phase(
            "services", 0.35 * s, 0.09 * s, "1 service answers: news.",
            details={"services": [{"name": "news", "url": "/services/news/", "status": 200, "problem": None}]},
        ),
        phase(
            "token", 0.44 * s, 0.12 * s, "user verify-bot, valid until 2027-02-01T00:00:00Z.",
            details={"accounts": [{**account, "may_log_in": True}]},
        ),
    ]  # fmt: skip


def lab_check(name: str = "lab", slowness: float = 1.0) -> dict[str, Any]:
    """Return a check in which everything is proven and passes."""
    s = slowness
    events = [
        {"seconds": 0.02 * s, "progress": 0, "message": "Server requested"},
        {"seconds": 0.31 * s, "progress": 50, "message": "[Normal] Scheduled: assigned jupyter-verify-bot to node-7"},
        {"seconds": 1.4 * s, "progress": 65, "message": "[Normal] Pulled: Container image already present"},
        {"seconds": 4.0 * s, "progress": 100, "message": "Server ready at /user/verify-bot/"},
    ]  # fmt: skip
    page = {"path": "lab", "url": "https://hub.example.org/user/verify-bot/lab", "status": 200, "title": "JupyterLab"}
    snippet = {"kernel_name": "python3", "seconds": 1.3 * s, "stdout": "42\n", "stderr": "", "result": None}
    phases = [
        phase("start", 0.6 * s, 4.1 * s, "The server is ready after 4.1 s.",
              details={"url": "https://hub.example.org/user/verify-bot/", "events": events, "user_options": {}}),
        phase("page", 4.7 * s, 0.9 * s, "lab: JupyterLab, 14 scripts and styles load.",
              details={"pages": [{**page, "assets": 14, "problem": None}]}),
        phase("code", 5.6 * s, 1.9 * s, "1 snippet has the expected output.",
              details={"snippets": [{**snippet, "error": None, "reason": None}]}),
        phase("packages", 7.5 * s, 0.4 * s, "numpy 2.4.1 and pandas 3.0.2 are installed.",
              details={"python": "3.13.1", "packages": {"numpy": "2.4.1", "pandas": "3.0.2"}}),
        phase("resources", 7.9 * s, 0.2 * s, "4.0 GiB of memory, 12.1 GiB of disk, 2 CPUs.",
              details={"memory": 4294967296, "disk": 12992276070, "cpus": 2.0, "gpus": 0}),
        phase("terminal", 8.1 * s, 0.5 * s, "A terminal runs a command.", details={"seconds": 0.5, "output": "ok"}),
        phase("persist", 8.6 * s, 5.2 * s, "A file is still there after the server was stopped and started.",
              details={"path": "hubops-verify-default.txt"}),
        phase("stop", 13.8 * s, 1.1 * s, "The server is stopped.", details={}),
    ]  # fmt: skip
    return {
        "name": name, "user": "verify-bot", "server_name": "", "url": "https://hub.example.org/user/verify-bot/",
        "verdict": "passed", "began": 0.6 * s, "seconds": 14.3 * s, "server_left": False, "phases": phases,
        "failure": None,
    }  # fmt: skip


def passed(version: str = "6.1.1", slowness: float = 1.0, url: str = "https://hub.example.org/") -> dict[str, Any]:
    """Return the result of a hub on which all is well."""
    phases = hub_phases(version, slowness)
    return {
        "changed": True, "actions": [], "diff": [], "verdict": "passed", "began": "2026-11-26T18:00:01Z",
        "seconds": 14.9 * slowness, "hub": {"url": url, "version": version, "verdict": "passed", "phases": phases},
        "checks": [lab_check(slowness=slowness)], "summary": ["hub: fine", "lab: fine"],
    }  # fmt: skip


def fail_phase(result: dict[str, Any], check: int, name: str, why: dict[str, Any], **details: Any) -> dict[str, Any]:
    """Let a phase of a check fail: those after it are skipped, except for ``stop``."""
    found = result["checks"][check]
    failed = False
    for each in found["phases"]:
        if each["name"] == name:
            failed = True
            each |= {"verdict": "failed", "failure": why, "message": f"{why['message']} {why['hint']}"}
            each["details"] |= details
        elif failed and each["name"] != "stop":
            each |= {
                "verdict": "skipped",
                "seconds": 0.0,
                "message": "Not taken, since a phase before it failed.",
                "details": {},
            }
    found |= {"verdict": "failed", "failure": why}
    return result | {
        "verdict": "failed",
        "failed": True,
        "msg": f"The hub is not verified: {why['message']}",
        "failure": why,
    }


def failed_with_traceback(traceback: Any = None) -> dict[str, Any]:
    """Return the result of a hub on which a notebook raises, and a second check passes with a warning."""
    result = passed("5.5.3", 1.7, "https://gpu.example.org/")
    second = lab_check("small profile", 0.8)
    second["phases"][0] |= {
        "verdict": "warned", "message": "The server is ready after 3.3 s. That is longer than warn_after (3 s)."
    }  # fmt: skip
    result["checks"].append(second | {"verdict": "warned", "user": "verify-two", "server_name": "small"})
    notebook = phase("notebooks", 12.8, 2.6, details={"notebooks": []})
    result["checks"][0]["phases"].insert(3, notebook)
    result["checks"][0] |= {"name": "gpu", "server_left": False}
    why = failure(
        "invalid",
        "Cell 3 of course/01-intro.ipynb raises ModuleNotFoundError: No module named 'torch'.",
        "Install the package in the image of the profile, or tag the cell with raises-exception.",
    )
    error = {"ename": "ModuleNotFoundError", "evalue": "No module named 'torch'", "traceback": traceback or TRACEBACK}
    source = "# The course's own helpers\nimport torch\ntorch.cuda.is_available()"
    return fail_phase(
        result, 0, "notebooks", why,
        notebooks=[{
            "path": "course/01-intro.ipynb", "kernel_name": "python3", "cells": 12, "cells_run": 3, "seconds": 2.5,
            "reason": "exception", "cell": 3, "line": 2, "source": source, "error": error,
        }],
    )  # fmt: skip


def spawn_failed() -> dict[str, Any]:
    """Return the result of a hub whose spawner has no room."""
    result = passed("6.1.1", 1.0, "https://hpc.example.org/")
    why = failure(
        "spawn_failed",
        "The server of user 'verify-bot' did not start: 0/12 nodes are available: 12 Insufficient nvidia.com/gpu.",
        "Look into the hub's log, or choose a profile with user_options that the cluster has room for.",
        status=500, method="POST", url="https://hpc.example.org/hub/api/users/verify-bot/server",
    )  # fmt: skip
    events = [
        {"seconds": 0.1, "progress": 0, "message": "Server requested"},
        {"seconds": 0.4, "progress": 50, "message": "[Warning] FailedScheduling: 0/12 nodes are available"},
        {"seconds": 4.0, "progress": 100, "message": "Spawn failed: 0/12 nodes are available."},
    ]  # fmt: skip
    result = fail_phase(result, 0, "start", why, events=events)
    result["checks"][0]["phases"][-1] |= {"verdict": "skipped", "message": "There is nothing to stop."}
    return result


def wrong_version() -> dict[str, Any]:
    """Return the result of a hub that runs another version than expected, and whose checks pass."""
    result = passed("5.5.3", 1.0)
    why = failure(
        "conflict", "The hub runs JupyterHub 5.5.3, expected was 6.", "Look whether the upgrade went through."
    )
    result["hub"]["phases"][0] |= {"verdict": "failed", "failure": why, "message": f"{why['message']} {why['hint']}"}
    result["hub"]["verdict"] = "failed"
    return result | {"verdict": "failed", "failed": True, "msg": why["message"], "failure": why}


def warned() -> dict[str, Any]:
    """Return the result of a hub whose token ends soon."""
    result = passed("6.1.1", 1.1)
    result["hub"]["phases"][3] |= {
        "verdict": "warned", "message": "The token ends in 2 days. Renew it with the role service_account."
    }  # fmt: skip
    result["hub"]["verdict"] = "warned"
    return result | {"verdict": "warned"}


def in_check_mode() -> dict[str, Any]:
    """Return the result of a run that starts nothing."""
    result = passed()
    for each in result["checks"][0]["phases"]:
        each |= {
            "verdict": "skipped",
            "seconds": 0.0,
            "began": 0.6,
            "message": "Not taken in check mode.",
            "details": {},
        }
    result["checks"][0] |= {"verdict": "skipped", "url": None}
    return result | {"verdict": "skipped"}


UNREACHABLE_HOST: dict[str, Any] = {
    "unreachable": True, "changed": False, "msg": "Failed to connect to the host via ssh: Connection refused",
}  # fmt: skip
INVALID_OPTIONS: dict[str, Any] = {
    "failed": True, "changed": False, "msg": "hub_url: 'ftp://hub' is no address of a hub. Give one with https.",
    "failure": failure("invalid", "hub_url: 'ftp://hub' is no address of a hub.", "Give one with https."),
}  # fmt: skip
MODULE_CRASHED: dict[str, Any] = {
    "failed": True, "changed": False, "rc": 1, "msg": "MODULE FAILURE: No start of json char found",
}  # fmt: skip
SKIPPED_TASK: dict[str, Any] = {"skipped": True, "changed": False, "skip_reason": "Conditional result was False"}


def history_of(hosts: list[str], runs: int = 12) -> dict[str, Any]:
    """Return an earlier report with this many runs of each host, an hour apart."""
    chance = random.Random(5)  # always the same runs
    history = {}
    for host in hosts:
        history[host] = [
            {
                "began": f"2026-11-26T{number + 3:02}:00:00Z",
                "verdict": "failed" if chance.random() < 0.1 else "passed",
                "seconds": round(chance.uniform(12, 19), 3),
                "checks": {"lab": round(chance.uniform(3.2, 5.5), 3), "gpu": round(chance.uniform(6, 9), 3)},
            }
            for number in range(runs)
        ]
    return {"history": history, "last_success": {host: runs[-1]["began"] for host, runs in history.items()}}


def report_of(results: dict[str, Any], earlier: Any = None, **more: Any) -> dict[str, Any]:
    """Return the report of a play with these results."""
    hosts = {host: {"result": result, "hub_url": "https://hub.example.org/"} for host, result in results.items()}
    longest = max((result or {}).get("seconds", 0) for result in results.values()) if results else 0
    return collect(hosts, BEGAN, BEGAN + longest + 1.25, "2.19.14", earlier, **more)


def one_healthy_hub() -> dict[str, Any]:
    return report_of({"hub.example.org": passed()}, history_of(["hub.example.org"]))


def three_hubs() -> dict[str, Any]:
    """Return a report in which one hub has failed with a traceback."""
    hosts = ["teaching", "research-gpu", "hpc"]
    results = [passed(), failed_with_traceback(), warned()]
    return report_of(dict(zip(hosts, results, strict=True)), history_of(hosts))


def each_kind() -> dict[str, Any]:
    """Return a report with everything that may have happened to a host."""
    return report_of(
        {
            "passes": passed(), "warns": warned(), "raises": failed_with_traceback(), "no-room": spawn_failed(),
            "old": wrong_version(), "checked": in_check_mode(), "invalid": INVALID_OPTIONS, "crashed": MODULE_CRASHED,
            "away": UNREACHABLE_HOST, "lost": None, "left-out": SKIPPED_TASK,
        },
        history_of(["passes", "raises", "elsewhere"]),
    )  # fmt: skip


def hundred_hubs() -> dict[str, Any]:
    """Return a report of a fleet in which four hubs are not well."""
    hosts = [f"hub-{number:03}.campus.example.org" for number in range(100)]
    results = {host: passed(slowness=1 + number % 7 / 10) for number, host in enumerate(hosts)}
    results[hosts[17]], results[hosts[42]], results[hosts[66]] = failed_with_traceback(), spawn_failed(), warned()
    results[hosts[91]] = UNREACHABLE_HOST
    return report_of(results, history_of(hosts))


def hostile_result(text: str) -> dict[str, Any]:
    """Return a result with this text in each place where somebody else may write one."""
    result = failed_with_traceback([text, text])
    result["checks"].append(
        fail_phase(passed(), 0, "start", failure("spawn_failed", text, text, url=text))["checks"][0]
    )
    fixed = {"began", "verdict"}
    names_of_phases = {each["name"] for check in result["checks"] for each in check["phases"]} | {*PHASES_OF_HUB}

    def replaced(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: replaced(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [replaced(item) for item in value]
        is_text = isinstance(value, str) and key not in fixed and value not in names_of_phases
        return text if is_text else value

    return {**replaced(copy.deepcopy(result)), "verdict": "failed"}


def mutated(change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a failed result in which each value that is no list and no dictionary is changed."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: walk(item) for name, item in value.items()}
        return [walk(item) for item in value] if isinstance(value, list) else change(value)

    changed: dict[str, Any] = walk(failed_with_traceback())
    return changed


REPORTS: dict[str, Callable[[], dict[str, Any]]] = {
    "one-healthy-hub": one_healthy_hub,
    "three-hubs": three_hubs,
    "each-kind": each_kind,
    "hundred-hubs": hundred_hubs,
    "hostile": lambda: report_of({f"hub-{n}": hostile_result(text) for n, text in enumerate(HOSTILE_TEXTS)}),
    "no-hub": lambda: report_of({}),
}
"""Reports that each way to show one must be able to show."""
