# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs tasks of the collection's modules, as a user does with `ansible-playbook`, and returns their results.

    runner = Runner("controller", hub)
    result = runner("hub_user", user="alice")
    results = runner.run([runner.task("hub_user", user="a"), runner.task("hub_user", user="b")]).results

A task goes through a door. There are two: "controller" is the action plugin in Ansible's own process, "module" is the
module on a host. That host is this machine under a connection of another name
(ansible/runner_plugins/connection/other_host.py), so the action plugin hands the task over to the module. Where the
door does not matter, "program" calls in this process what both doors call, without Ansible.

`fork_server` forks the process in which `ansible-playbook` runs.
"""

from __future__ import annotations

import importlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import requests
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from support import fork_server
from support.hubs import Hub
from support.playbooks import ansible_bin

DOORS = ("controller", "module")
PLUGINS = Path(__file__).resolve().parent / "ansible" / "runner_plugins"
CONNECTIONS = {"controller": "local", "module": "other_host"}
DEADLINE = 300.0  # seconds, for a whole playbook: a playbook that hangs fails, and the failure shows its output


@dataclass
class TaskResults:
    """What a user sees of a playbook, and what its tasks registered."""

    results: list[dict[str, Any]] = field(default_factory=list)
    lines: list[tuple[float, str]] = field(default_factory=list)
    """The lines of stdout, each with the time (`time.monotonic`) at which it came."""
    stderr: str = ""
    status: int = 0

    @property
    def stdout(self) -> str:
        return "".join(line for _time, line in self.lines)

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


def task(module: str, keywords: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """A task of the collection. ``keywords`` are the task's keywords, such as check_mode."""
    return {f"hubops.jupyterhub.{module}": options, **(keywords or {})}


_numbers = count(1)


@dataclass(frozen=True)
class Runner:
    """Runs tasks through one door, on one hub, with one token: a test names only a module and its options.

    Without ``token`` it uses the hub's admin token, without ``url`` the hub's own address.
    """

    door: str
    hub: Hub
    token: str | None = None
    url: str | None = None

    def task(self, module: str, keywords: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        options.setdefault("hub_url", self.url or self.hub.url)
        options.setdefault("api_token", self.hub.admin_token if self.token is None else self.token)
        return task(module, keywords, **options)

    def run(self, tasks: Sequence[dict[str, Any]], **more: Any) -> TaskResults:
        return run_tasks(self.door, tasks, **more)

    def __call__(self, module: str, keywords: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        return self.run([self.task(module, keywords, **options)]).results[0]

    def check(self, module: str, **options: Any) -> dict[str, Any]:
        return self(module, {"check_mode": True}, **options)

    def with_token(self, token: str) -> Runner:
        return replace(self, token=token)

    def token_works(self) -> bool:
        """Whether the hub accepts this runner's token."""
        headers = {"Authorization": f"token {self.token}"}
        return requests.get(f"{self.hub.api}/user", headers=headers, timeout=120).ok

    def with_url(self, url: str) -> Runner:
        """The same runner with another address of the hub, such as that of a proxy."""
        return replace(self, url=url)

    # Requests that a test sends to the hub itself, as its admin

    def api_request(self, method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(method, f"{self.hub.api}/{path}", json=body, headers=self.hub.headers, timeout=120)

    def new_user_name(self) -> str:
        """A name that no user has yet."""
        return f"user{next(_numbers)}"

    def new_user(self, admin: bool = False) -> str:
        name = self.new_user_name()
        assert self.api_request("POST", f"users/{name}", {"admin": admin}).status_code == 201
        return name

    def delete_users(self, names: Iterable[str]) -> None:
        """Delete many users, so that other tests on the hub have fewer to read."""
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda name: self.api_request("DELETE", f"users/{name}"), names))

    def mint(self, user: str, *scopes: str, **more: Any) -> str:
        answer = self.api_request("POST", f"users/{user}/tokens", {"scopes": list(scopes), "note": "of a test", **more})
        assert answer.status_code == 201, answer.text
        return answer.json()["token"]

    def servers(self, user: str) -> dict[str, dict[str, Any]]:
        """The user's servers that run, start or stop, by name."""
        return self.api_request("GET", f"users/{user}").json()["servers"]

    def tokens(self, user: str) -> list[dict[str, Any]]:
        return self.api_request("GET", f"users/{user}/tokens").json()["api_tokens"]


FAILURE_KEYS = {"code", "message", "status", "method", "url", "hint"}


def assert_failed(result: dict[str, Any], code: str, *words: str) -> dict[str, Any]:
    """Assert that the task failed with this code, that its message contains all ``words``, and that it has a hint.

    Returns the result's `failure`.
    """
    assert result["failed"] is True, result
    assert set(result["failure"]) == FAILURE_KEYS
    failure = result["failure"]
    assert failure["code"] == code, result["msg"]
    assert result["msg"] == f"{failure['message']} {failure['hint']}"
    assert failure["message"].strip()
    assert failure["hint"].strip()
    for each in words:
        assert each in result["msg"], result["msg"]
    return failure


def run_in_process(task: dict[str, Any]) -> dict[str, Any]:
    """Run one task without Ansible: validate its options as both doors do, and run its program."""
    [(module, options)] = [(key, value) for key, value in task.items() if key.startswith("hubops.jupyterhub.")]
    name = f"ansible_collections.hubops.jupyterhub.plugins.modules.{module.rpartition('.')[2]}"
    program = importlib.import_module(name).MODULE
    checked = ArgumentSpecValidator(program.argument_spec, **program.rules).validate(options)
    if checked.error_messages:
        return {"failed": True, "msg": checked.errors.msg}
    result: dict[str, Any] = program.run(
        checked.validated_parameters, check_mode=task.get("check_mode", False), verbosity=0, report=lambda line: None
    )
    return {"failed": False, **result}


def run_tasks(
    door: str,
    tasks: Sequence[dict[str, Any]],
    *,
    env: dict[str, str] | None = None,
    arguments: Sequence[str] = (),
    play: dict[str, Any] | None = None,
    on_line: Callable[[str], None] | None = None,
    merge_stderr: bool = False,
) -> TaskResults:
    """Run the tasks one after the other in one play; a task that fails does not end it.

    ``play`` are more keywords of the play. For ``on_line`` and ``merge_stderr`` see `run_streaming`. Raises
    AssertionError with the output if the play ends before its last task.
    """
    if door == "program":
        return TaskResults(results=[run_in_process(each) for each in tasks])
    with tempfile.TemporaryDirectory(prefix="hubops-runner-") as name:
        folder = Path(name)
        results = folder / "results.json"
        registered = ", ".join(f"result_{number}" for number in range(len(tasks)))
        steps: list[dict[str, Any]] = [
            {"name": f"Task {number}", "ignore_errors": True, "register": f"result_{number}", **each}
            for number, each in enumerate(tasks)
        ]
        options = {"path": str(results), "results": f"{{{{ [{registered}] }}}}"}
        steps.append({"name": "Write the results", "write_results": options})
        # The test's `environment:` and check mode must not reach the task that writes the results.
        steps[-1] |= {"check_mode": False, "environment": {}}
        playbook, inventory = folder / "playbook.json", folder / "hosts"
        playbook.write_text(json.dumps([{"hosts": door, "gather_facts": False, **(play or {}), "tasks": steps}]))
        inventory.write_text(
            "".join(f"{each} ansible_connection={connection}\n" for each, connection in CONNECTIONS.items())
        )
        command = ["ansible-playbook", "-i", str(inventory), *arguments, str(playbook)]
        ran = run_streaming(command, runner_environment(folder, env or {}), on_line, merge_stderr)
        if not results.exists():
            raise AssertionError(f"the playbook ended with {ran.status} before its end:\n{ran.output}")
        ran.results = json.loads(results.read_text())
        return ran


def run_streaming(
    command: list[str],
    env: dict[str, str],
    on_line: Callable[[str], None] | None = None,
    merge_stderr: bool = False,
) -> TaskResults:
    """Run a program of the Ansible under test and read the lines of its output as they come.

    ``on_line`` is called with each line of stdout. ``merge_stderr`` is the shell's `2>&1`.
    """
    ran = TaskResults()
    ours, theirs = os.pipe()
    with open(os.devnull) as nothing, tempfile.TemporaryFile("w+") as stderr, os.fdopen(ours) as stdout:
        streams = (nothing.fileno(), theirs, theirs if merge_stderr else stderr.fileno())
        process = fork_server.start([str(ansible_bin() / command[0]), *command[1:]], Path.cwd(), env, streams)
        os.close(theirs)
        limit = threading.Timer(DEADLINE, process.kill)
        limit.start()
        try:
            for line in stdout:
                ran.lines.append((time.monotonic(), line))
                if on_line:
                    on_line(line)
            ran.status = process.wait()
        finally:
            limit.cancel()
            process.kill()
        stderr.seek(0)
        ran.stderr = stderr.read()
    return ran


def runner_environment(folder: Path, more: dict[str, str]) -> dict[str, str]:
    """The environment of a run: ``more``, and nothing from the environment of the person who runs the tests."""
    taken = {name: os.environ[name] for name in ("ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_CONFIG")}
    return {
        **taken,
        "PATH": f"{ansible_bin()}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ANSIBLE_HOME": str(folder / "ansible"),
        # Not below HOME: for a part of its work Ansible takes the home from the system's list of users.
        "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
        "ANSIBLE_ASYNC_DIR": str(folder / "async"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_ACTION_PLUGINS": str(PLUGINS / "action"),
        "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS / "connection"),
        # A module runs with the Python of the environment that has the libraries it needs.
        "ANSIBLE_PYTHON_INTERPRETER": str(ansible_bin() / "python"),
        **more,
    }
