# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tasks through a chosen door, as a user runs them: `ansible-playbook`, in a process that `fork_server` forks.

    at = At("controller", hub)
    result = at("hub_user", user="alice")
    results = runner.run([runner.task("hub_user", user="a"), runner.task("hub_user", user="b")]).results

The doors: "controller" is the action in Ansible's own process, "module" the module on a host. That host is this
machine under a connection of another name (doors_plugins/connection/next_door.py), for which an action hands over.
Where the door does not matter there is a third, which costs nothing: "program" runs here what both doors run.
"""

from __future__ import annotations

import importlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import requests
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from support import fork_server
from support.hubs import Hub
from support.playbooks import ansible_bin, eventually

DOORS = ("controller", "module")
until = eventually
PLUGINS = Path(__file__).resolve().parent / "ansible" / "doors_plugins"
CONNECTIONS = {"controller": "local", "module": "next_door"}
DEADLINE = 300.0  # seconds, for a whole playbook: a hang is to end in a failure that shows the output


@dataclass
class Run:
    """What a user sees of a playbook, with the time (`time.monotonic`) of each line, and what its tasks registered."""

    results: list[dict[str, Any]] = field(default_factory=list)
    lines: list[tuple[float, str]] = field(default_factory=list)
    stderr: str = ""
    status: int = 0

    @property
    def stdout(self) -> str:
        return "".join(line for _when, line in self.lines)

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


def task(module: str, keywords: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """A task of the collection; ``keywords`` are the task's own, such as check_mode."""
    return {f"hubops.jupyterhub.{module}": options, **(keywords or {})}


_numbers = count(1)


@dataclass(frozen=True)
class Runner:
    """A door, a hub, and a token for it: what most tests need to name a module and its options only."""

    door: str
    hub: Hub
    token: str | None = None
    url: str | None = None

    def task(self, module: str, keywords: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        options.setdefault("hub_url", self.url or self.hub.url)
        options.setdefault("api_token", self.hub.admin_token if self.token is None else self.token)
        return task(module, keywords, **options)

    def run(self, tasks: Sequence[dict[str, Any]], **more: Any) -> Run:
        return run(self.door, tasks, **more)

    def __call__(self, module: str, keywords: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        return self.run([self.task(module, keywords, **options)]).results[0]

    def check(self, module: str, **options: Any) -> dict[str, Any]:
        return self(module, {"check_mode": True}, **options)

    def with_token(self, token: str) -> Runner:
        return replace(self, token=token)

    def works(self) -> bool:
        """Whether the hub accepts the token."""
        headers = {"Authorization": f"token {self.token}"}
        return requests.get(f"{self.hub.api}/user", headers=headers, timeout=120).ok

    def through(self, url: str) -> Runner:
        """The same hub by another address."""
        return replace(self, url=url)

    # What a test does at the hub itself, as its admin

    def api(self, method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(method, f"{self.hub.api}/{path}", json=body, headers=self.hub.headers, timeout=120)

    def new_name(self) -> str:
        """That of a user who is not there yet."""
        return f"user{next(_numbers)}"

    def new_user(self, admin: bool = False) -> str:
        name = self.new_name()
        assert self.api("POST", f"users/{name}", {"admin": admin}).status_code == 201
        return name

    def mint(self, user: str, *scopes: str, **more: Any) -> str:
        answer = self.api("POST", f"users/{user}/tokens", {"scopes": list(scopes), "note": "of a test", **more})
        assert answer.status_code == 201, answer.text
        return answer.json()["token"]

    def servers(self, user: str) -> dict[str, dict[str, Any]]:
        """The user's servers that run or are about to."""
        return self.api("GET", f"users/{user}").json()["servers"]

    def tokens(self, user: str) -> list[dict[str, Any]]:
        return self.api("GET", f"users/{user}/tokens").json()["api_tokens"]


FAILURE = {"code", "message", "status", "method", "url", "hint"}


def failed(result: dict[str, Any], code: str, *says: str) -> dict[str, Any]:
    """The failure of a result that failed as the design wants it: with this code, and these words in its sentence."""
    assert result["failed"] is True, result
    assert set(result["failure"]) == FAILURE
    failure = result["failure"]
    assert failure["code"] == code, result["msg"]
    assert result["msg"] == f"{failure['message']} {failure['hint']}"
    assert failure["message"].strip()
    assert failure["hint"].strip()
    for words in says:
        assert words in result["msg"], result["msg"]
    return failure


def perform(task: dict[str, Any]) -> dict[str, Any]:
    """One task without Ansible around it: its options validated as both doors validate them, and its program."""
    [(module, options)] = [(name, value) for name, value in task.items() if name.startswith("hubops.jupyterhub.")]
    place = f"ansible_collections.hubops.jupyterhub.plugins.modules.{module.rpartition('.')[2]}"
    program = importlib.import_module(place).MODULE
    checked = ArgumentSpecValidator(program.argument_spec, **program.rules).validate(options)
    if checked.error_messages:
        return {"failed": True, "msg": checked.errors.msg}
    result: dict[str, Any] = program.run(
        checked.validated_parameters, check_mode=task.get("check_mode", False), verbosity=0, report=lambda line: None
    )
    return {"failed": False, **result}


def run(
    door: str,
    tasks: Sequence[dict[str, Any]],
    *,
    env: dict[str, str] | None = None,
    arguments: Sequence[str] = (),
    play: dict[str, Any] | None = None,
    on_line: Callable[[str], None] | None = None,
    together: bool = False,
) -> Run:
    """Run the tasks one after the other, whatever becomes of each. ``play`` holds more of the play's keywords."""
    if door == "program":
        return Run(results=[perform(each) for each in tasks])
    with tempfile.TemporaryDirectory(prefix="hubops-doors-") as name:
        folder = Path(name)
        kept = folder / "results.json"
        registered = ", ".join(f"result_{number}" for number in range(len(tasks)))
        steps: list[dict[str, Any]] = [
            {"name": f"Task {number}", "ignore_errors": True, "register": f"result_{number}", **each}
            for number, each in enumerate(tasks)
        ]
        steps.append({"name": "Keep", "keep_results": {"path": str(kept), "results": f"{{{{ [{registered}] }}}}"}})
        # Not the user's `environment:` or module_defaults, which the keeper must not see, nor check mode.
        steps[-1] |= {"check_mode": False, "environment": {}}
        playbook, inventory = folder / "playbook.json", folder / "hosts"
        playbook.write_text(json.dumps([{"hosts": door, "gather_facts": False, **(play or {}), "tasks": steps}]))
        inventory.write_text(
            "".join(f"{each} ansible_connection={connection}\n" for each, connection in CONNECTIONS.items())
        )
        command = ["ansible-playbook", "-i", str(inventory), *arguments, str(playbook)]
        ran = watch(command, environment(folder, env or {}), on_line, together)
        if not kept.exists():
            raise AssertionError(f"the playbook ended with {ran.status} before its end:\n{ran.output}")
        ran.results = json.loads(kept.read_text())
        return ran


def watch(
    command: list[str],
    env: dict[str, str],
    on_line: Callable[[str], None] | None = None,
    together: bool = False,
) -> Run:
    """Run a program of the Ansible under test and take in its lines as they come; ``together`` is a shell's 2>&1."""
    ran = Run()
    ours, theirs = os.pipe()
    with open(os.devnull) as nothing, tempfile.TemporaryFile("w+") as stderr, os.fdopen(ours) as stdout:
        streams = (nothing.fileno(), theirs, theirs if together else stderr.fileno())
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


def environment(folder: Path, more: dict[str, str]) -> dict[str, str]:
    """A bare environment: nothing of whoever runs the tests decides over them."""
    kept = {name: os.environ[name] for name in ("ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_CONFIG")}
    return {
        **kept,
        "PATH": f"{ansible_bin()}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ANSIBLE_HOME": str(folder / "ansible"),
        # Not below HOME, which Ansible takes from the system's list of users for one half of its work.
        "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
        "ANSIBLE_ASYNC_DIR": str(folder / "async"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_ACTION_PLUGINS": str(PLUGINS / "action"),
        "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS / "connection"),
        # A module runs with the Python of that environment, as the libraries that it needs are there.
        "ANSIBLE_PYTHON_INTERPRETER": str(ansible_bin() / "python"),
        **more,
    }
