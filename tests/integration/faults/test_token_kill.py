# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_token` in a process that is killed: at each moment of each request, and at each step in the file system.

This file is also that process's program (`main`): it forks one process for each run that it is asked for.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_token import MODULE
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._action import VaultCipher
from support.fakes.cutting_proxy import Exchange, cutting_proxy
from support.hubs import Hub
from support.runner import Runner

NARROW, WIDE = ["read:users:name!user"], ["read:users:name!user", "read:servers!user"]
STEPS = ("open", "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.symlink", "tempfile.mkstemp")
"""Events that Python tells its audit hooks right before it does what they say."""

_numbers = itertools.count(1)


# The process that runs the module


def main() -> None:
    """For each line, ``{options, folder, step}``: a process that runs the module. Its id goes out first, then its end.

    It kills itself right before the step of that number that it does in the folder.
    """
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            report(run(order))
            os._exit(0)
        report({"pid": pid})
        report({"ended": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})


def report(line: dict[str, Any]) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def run(order: dict[str, Any]) -> dict[str, Any]:
    steps: list[str] = []

    def step(name: str) -> None:
        steps.append(name)
        if len(steps) == order["step"]:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in STEPS and any(order["folder"] in str(each) for each in arguments):
            step(f"{event} {arguments}")

    def fsync(handle: int) -> None:
        step("before fsync")
        really(handle)
        step("after fsync")

    really, os.fsync = os.fsync, fsync
    sys.addaudithook(hook)
    checked = ArgumentSpecValidator(MODULE.argument_spec, **MODULE.rules).validate(order["options"])
    assert not checked.error_messages, checked.error_messages
    result = MODULE.run(
        checked.validated_parameters, check_mode=False, verbosity=3, report=lambda line: None, cipher=VaultCipher()
    )
    return {"result": result, "steps": steps}


# Its side in the tests


@dataclass
class Mortal:
    """The process that runs the module, as often as it is asked to."""

    process: subprocess.Popen[str]
    pid: int = 0

    def run(self, options: dict[str, Any], folder: Path, step: int = 0, began: threading.Event | None = None) -> Any:
        """The result and the steps in the folder; None where it was killed."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"options": options, "folder": str(folder), "step": step}) + "\n")
        self.process.stdin.flush()
        reported: dict[str, Any] = {}
        while "ended" not in reported:
            reported |= json.loads(self.process.stdout.readline())
            if "pid" in reported and began:
                self.pid = reported["pid"]
                began.set()
        # One that is killed after its last answer may have told its result before.
        assert reported["ended"] == -signal.SIGKILL or (reported["ended"] == 0 and "result" in reported), reported
        return reported if "result" in reported else None


@pytest.fixture(scope="module")
def mortal() -> Iterator[Mortal]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, __file__], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield Mortal(process)
        assert process.stdin
        process.stdin.close()


@dataclass
class Case:
    """A user, the file that keeps the token, and what the killed run wants of it."""

    runner: Runner
    user: str
    path: Path
    wants: dict[str, Any]

    def options(self, url: str = "", **more: Any) -> dict[str, Any]:
        return {
            "hub_url": url or self.runner.hub.url,
            "api_token": self.runner.hub.admin_token,
            "user": self.user,
            "note": "ci",
            "scopes": NARROW,
            "path": str(self.path),
            **more,
        }

    def kept(self) -> dict[str, Any] | None:
        """What the hub says to the kept secret; None where there is no file. Fails where it does not work."""
        if not self.path.exists():
            return None
        assert self.path.stat().st_mode & 0o777 == 0o600
        secret = self.path.read_text()
        if "format" in self.wants:
            secret = f"{yaml.safe_load(VaultCipher().decrypt(secret, PASSWORD))['token']}\n"
        assert secret.endswith("\n")
        answer = requests.get(
            f"{self.runner.hub.api}/user", headers={"Authorization": f"token {secret.strip()}"}, timeout=120
        )
        assert answer.status_code == 200, "the kept secret does not work"
        who: dict[str, Any] = answer.json()
        return who

    def ours(self) -> list[str]:
        return [token["id"] for token in self.runner.tokens(self.user) if token["note"].startswith("ci [hubops ")]


def new_case(hub: Hub, folder: Path, wants: dict[str, Any], mortal: Mortal, first: bool) -> Case:
    runner = Runner("controller", hub)
    case = Case(runner, f"mortal{next(_numbers)}", Path(), wants)
    case.path = folder / case.user / "token"
    assert runner.api_request("POST", f"users/{case.user}").status_code == 201
    runner.mint(case.user, *NARROW, note="another")
    if not first:
        done = mortal.run(case.options(**without(wants, "rotate", "scopes")), case.path.parent)
        assert not done["result"].get("failed"), done["result"]
    return case


def without(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in names}


PASSWORD = "of the vault"
VAULT = {"format": "vault", "vault_variable": "token", "vault_password": PASSWORD}
WISHES = {
    "first mint": {},
    "rotation": {"rotate": True},
    "other scopes": {"scopes": WIDE},
    "rotation with overlap": {"rotate": True, "overlap": "1h"},
    "other scopes with overlap": {"scopes": WIDE, "overlap": "1h"},
    "first mint in a vault": VAULT,
    "rotation in a vault": {"rotate": True, **VAULT},
}


@pytest.fixture(params=WISHES)
def wish(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def mends(case: Case, mortal: Mortal, wish: str, old: dict[str, Any] | None, killed_at: str) -> None:
    """What a killed run leaves behind works, and one more run makes it whole."""
    kept = case.kept()
    assert kept or not old, "a kept secret went"
    done = mortal.run(case.options(**without(case.wants, "rotate")), case.path.parent)
    assert not done["result"].get("failed"), done["result"]
    now = case.kept()
    assert now
    predecessors: set[str] = set()
    if "overlap" in case.wants and old and now["token_id"] != old["token_id"]:
        predecessors = {old["token_id"]}
    assert set(case.ours()) == {now["token_id"], *predecessors}, (case.ours(), now, old)
    assert [token["note"] for token in case.runner.tokens(case.user) if token["id"] not in case.ours()] == ["another"]
    again = mortal.run(case.options(**without(case.wants, "rotate")), case.path.parent)
    assert again["result"]["changed"] is False, again["result"]["actions"]
    assert os.listdir(case.path.parent) == ["token"]


def each_death(hub: Hub, folder: Path, mortal: Mortal, wish: str, die: Callable[[Case, int], str | None]) -> list[str]:
    """Kill a run at its first moment, another at its second, and so on until one comes to its end."""
    deaths: list[str] = []
    for number in itertools.count(1):
        case = new_case(hub, folder, WISHES[wish], mortal, first=wish.startswith("first mint"))
        old = case.kept()
        died = die(case, number)
        if died is None:
            return deaths
        deaths.append(died)
        try:
            mends(case, mortal, wish, old, died)
        except Exception as error:
            raise AssertionError(f"{wish}, killed at moment {number}, {died}: {error}") from error
    raise AssertionError


def test_killed_at_each_moment_of_each_request(hub_61: Hub, tmp_path: Path, mortal: Mortal, wish: str) -> None:
    def die(case: Case, number: int) -> str | None:
        moments: list[str] = []
        began = threading.Event()

        def watch(moment: str, exchange: Exchange) -> None:
            moments.append(f"{moment}: {exchange}")
            if len(moments) == number:
                assert began.wait(120)
                os.kill(mortal.pid, signal.SIGKILL)
                raise ConnectionError  # the hub hears no more of it

        with cutting_proxy(hub_61.url) as proxy:
            proxy.observer = watch
            done = mortal.run(case.options(proxy.url, **case.wants), case.path.parent, began=began)
        # After the last answer the process may be gone before it can be killed.
        return None if done and len(moments) < number else moments[number - 1]

    deaths = each_death(hub_61, tmp_path, mortal, wish, die)
    assert any("hub_answered: POST" in each for each in deaths)
    assert any("hub_answered: DELETE" in each for each in deaths) == (
        wish in ("rotation", "other scopes", "rotation in a vault")
    )


def test_killed_before_each_step_in_the_file_system(hub_61: Hub, tmp_path: Path, mortal: Mortal, wish: str) -> None:
    def die(case: Case, number: int) -> str | None:
        done = mortal.run(case.options(**case.wants), case.path.parent, step=number)
        return f"step {number}" if done is None else None

    deaths = each_death(hub_61, tmp_path, mortal, wish, die)
    assert len(deaths) > 5


if __name__ == "__main__":
    main()
