# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_verify` that a signal ends in each of its phases: nothing is left on the hub.

One run has many checks, each in another phase when the signal comes. Ansible is started, not forked, since signals
reach its processes by their groups. A proxy in front of the hub shows what the run asks for, and holds some requests
back, so that their phases do not end by themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from support.fakes.tunnel import Traffic, tunnel
from support.hubs import SHORT_WAITS, Hub, HubPool
from support.playbooks import ansible_bin, oldest_ansible_bin, processes_using
from support.runner import CONNECTIONS, Runner, runner_environment, task
from support.waiting import wait_until

TERMINALS = (
    SHORT_WAITS
    + "c.Spawner.args = [each for each in c.Spawner.args if 'terminals' not in each]\n"
    + "c.Spawner.args.append('--FileContentsManager.delete_to_trash=False')\n"
)
LARGE = 10_000_000
"""Bytes that come back in the phase websocket before the connection is idle."""
ENDLESS = "10m"
"""A time that no run of this file takes."""
LONG_WAITS = {"timeout": ENDLESS, "request_timeout": ENDLESS}
"""Options with which a check stays in its phase, also on a slow machine that takes a minute to start all servers."""

_numbers = count(1)


# What the run asks for


class Recorder:
    """What a run asks for, by its time. It holds back the requests that match a pattern of ``held``."""

    def __init__(self, held: Sequence[str]) -> None:
        self._held: dict[str, int] = dict.fromkeys(held, 1)
        """The patterns, each with the number of the request that is held back: the first or the second that matches."""
        self._changed = threading.Condition()
        self._is_open = False
        self._released: set[str] = set()
        self.requests: list[tuple[float, str]] = []
        self.large_messages = 0

    def see(self, method: str, path: str) -> None:
        request = f"{method} {path.partition('?')[0]}"
        with self._changed:
            self.requests.append((time.monotonic(), request))
            for pattern in list(self._held):
                if re.search(pattern, request):
                    self._held[pattern] -= 1
                    if not self._held[pattern]:
                        self._changed.wait_for(lambda pattern=pattern: self._is_open or pattern in self._released)

    def hold(self, *patterns: str) -> None:
        self._held |= dict.fromkeys(patterns, 1)

    def hold_second(self, pattern: str) -> None:
        self._held[pattern] = 2

    def see_traffic(self, traffic: Traffic) -> bool:
        if traffic.received > LARGE and not hasattr(traffic, "seen"):
            traffic.seen = True  # type: ignore[attr-defined]
            self.large_messages += 1
        return False

    def release(self, *patterns: str) -> None:
        """Pass on what is held back, or only the requests that match one of these patterns."""
        with self._changed:
            self._released |= set(patterns)
            self._is_open = not patterns
            self._changed.notify_all()

    def times(self, pattern: str) -> list[float]:
        """The times of the requests that match."""
        return [at for at, request in list(self.requests) if re.search(pattern, request)]


@contextlib.contextmanager
def recording(hub: Hub, *held: str) -> Iterator[tuple[Recorder, str]]:
    recorder = Recorder(held)
    with tunnel(hub.url, recorder.see_traffic, recorder.see) as url:
        try:
            yield recorder, url
        finally:
            recorder.release()


# A run of Ansible


@dataclass
class Ansible:
    """A started `ansible-playbook` that runs one task of hub_verify, in a session of its own."""

    folder: Path
    door: str
    core: str = "newest"
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, options: dict[str, Any], keywords: dict[str, Any] | None = None) -> Ansible:
        self.folder.mkdir()
        programs = ansible_bin() if self.core == "newest" else oldest_ansible_bin()
        steps = [{"name": "Verify", **task("hub_verify", keywords, **options)}]
        playbook, inventory = self.folder / "playbook.json", self.folder / "hosts"
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": steps}]))
        inventory.write_text(f"{self.door} ansible_connection={CONNECTIONS[self.door]}\n")
        environment = runner_environment(self.folder, {"ANSIBLE_PYTHON_INTERPRETER": str(programs / "python")})
        environment["PATH"] = f"{programs}:{os.environ['PATH']}"
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [programs / "ansible-playbook", "-i", inventory, playbook],
                env=environment, cwd=self.folder, start_new_session=True, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        return self

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def send(self, kind: str) -> float:
        """Send a signal of this kind, and return the time."""
        now = time.monotonic()
        if kind == "SIGINT":  # Ctrl-C
            os.killpg(self.process.pid, signal.SIGINT)
        elif kind == "SIGTERM":  # as systemd's KillMode=process and people do
            os.kill(self.process.pid, signal.SIGTERM)
        elif kind == "SIGTERM to all":  # as systemd and containers do
            self._signal_all(signal.SIGTERM)
        else:
            self._signal_all(signal.SIGKILL)
        return now

    def _signal_all(self, number: int) -> None:
        for pid in processes_using(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(self) -> None:
        """Wait until all of its processes have ended."""
        try:
            self.process.wait(300)
            wait_until(lambda: not processes_using(self.folder), 300)
        finally:
            self.kill()

    def kill(self) -> None:
        self._signal_all(signal.SIGKILL)
        self.process.wait(60)


@contextlib.contextmanager
def started(
    folder: Path, combination: tuple[str, str], options: dict[str, Any], keywords: dict[str, Any] | None = None
) -> Iterator[Ansible]:
    core, door = combination
    ansible = Ansible(folder / f"run{next(_numbers)}", door, core)
    try:
        yield ansible.start(options, keywords)
    except BaseException:
        print(ansible.output)
        raise
    finally:
        ansible.kill()


# Checks in all phases

COMBINATIONS = [(core, door) for core in ("newest", "oldest") for door in ("controller", "module")]
NOT_PASSED_ON = ("oldest", "module")
"""ansible-core 2.16 ends without a word to the module that it has started, if only its own process gets a signal."""


@dataclass(frozen=True)
class Case:
    """A check that stays in a phase until a signal comes."""

    user: str
    options: dict[str, Any]
    is_there: Callable[[], Any]
    """Whether the check has come to its phase."""
    is_deleted_at_once: bool = True
    """Whether its server can be stopped before the proxy passes on what it holds back."""
    release: str = ""
    """The pattern of a request that the proxy passes on right after the signal."""

    @property
    def check(self) -> dict[str, Any]:
        return {"name": self.user, "user": self.user, **self.options}


def in_api(user: str) -> str:
    """A pattern for the end of the address of the user's server in the hub's API."""
    return f"/api/users/{user}/server$"


def run_all(works: Sequence[Callable[[], None]]) -> None:
    """Run all of them at once. Raises the first failure."""
    with ThreadPoolExecutor(len(works)) as threads:
        for each in [threads.submit(work) for work in works]:
            each.result()


def end_early(ansible: Ansible, kind: str, recorder: Recorder, cases: Sequence[Case]) -> None:
    """Send the signal when all checks are in their phases, and check that the hub hears of it before the phases end."""
    for case in cases:
        wait_until(case.is_there)
    at_signal = ansible.send(kind)
    recorder.release(*[case.release for case in cases])
    if kind == "SIGKILL" or (kind == "SIGTERM" and (ansible.core, ansible.door) == NOT_PASSED_ON):
        return

    def deletions(case: Case) -> list[float]:
        return [at - at_signal for at in recorder.times(f"DELETE .*{in_api(case.user)}") if at > at_signal]

    for case in cases:
        if case.is_deleted_at_once:
            wait_until(lambda case=case: deletions(case))
    latest = max(deletions(case)[0] for case in cases if case.is_deleted_at_once)
    print(f"{kind}, {ansible.core}, {ansible.door}: the last DELETE came {latest:.2f} s after the signal")


def verify_again(hub: Hub, cases: Sequence[Case], **more: Any) -> None:
    """Run the checks once more, so that they pass, after a run that was killed."""
    checks = [{"user": case.user, "if_running": "stop", "user_options": {}, **more} for case in cases]
    result = Runner("program", hub)("hub_verify", checks=checks, concurrency=20)
    assert result["verdict"] == "passed", result["summary"]


# With light servers


def light_cases(runner: Runner, recorder: Recorder, gate: Path) -> list[Case]:
    starting, asked, page, stopping = (runner.new_user() for _number in range(4))
    return [
        Case(starting, {"user_options": {"never": True}}, lambda: runner.servers(starting).get("", {}).get("pending")),
        Case(
            asked,
            {"user_options": {"start_seconds": 0.1}},
            lambda: recorder.times(f"POST .*{in_api(asked)}"),
            is_deleted_at_once=False,
        ),
        Case(page, {"page": ["lab"]}, lambda: recorder.times(f"GET .*/user/{page}/lab")),
        Case(
            stopping,
            {"user_options": {"stop_gate": str(gate)}},
            lambda: runner.servers(stopping).get("", {}).get("pending") == "stop",
            is_deleted_at_once=False,  # it was deleted before
        ),
    ]


@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM", "SIGTERM to all", "SIGKILL"])
def test_light_servers(hub_61: Hub, tmp_path: Path, kind: str) -> None:
    runner = Runner("controller", hub_61)

    def interrupt(combination: tuple[str, str]) -> None:
        gate = tmp_path / f"gate{next(_numbers)}"
        with recording(hub_61) as (recorder, url):
            cases = light_cases(runner, recorder, gate)
            recorder.hold(f"POST .*{in_api(cases[1].user)}", f"GET .*/user/{cases[2].user}/lab")
            options = {
                "hub_url": url,
                "api_token": hub_61.admin_token,
                "checks": [case.check for case in cases],
                **LONG_WAITS,
                "wait_timeout": ENDLESS,
            }
            with started(tmp_path, combination, options) as ansible:
                end_early(ansible, kind, recorder, cases)
                if kind == "SIGKILL":
                    ansible.wait()
                    assert runner.servers(cases[2].user)[""]["ready"]
                gate.touch()
                recorder.release()
                if kind == "SIGTERM" and combination == NOT_PASSED_ON:
                    # The module ends by itself, and cancels what would not end.
                    assert ansible.process.wait(120)
                    runner.api_request("DELETE", f"users/{cases[0].user}/server")
                ansible.wait()
                assert ansible.process.returncode, ansible.output
            if kind == "SIGKILL":
                verify_again(hub_61, cases)
            assert [runner.servers(case.user) for case in cases] == [{}] * 4, ansible.output

    run_all([partial(interrupt, each) for each in COMBINATIONS])


@pytest.mark.parametrize("phase", ["hub", "login", "services", "token"])
def test_phases_that_start_nothing(hub_61: Hub, tmp_path: Path, phase: str) -> None:
    """The process whose parent has ended in such a phase ends before it starts anything."""
    runner = Runner("controller", hub_61)
    held = {
        "hub": "GET .*/hub/api/$",
        "login": "GET .*/hub/login",
        "services": "/services/admin",
        "token": "/api/user$",
    }

    def interrupt(combination: tuple[str, str], kind: str) -> None:
        user = runner.new_user()
        with recording(hub_61, held[phase]) as (recorder, url):
            options = {
                "hub_url": url,
                "api_token": hub_61.admin_token,
                "checks": [{"user": user}],
                "login_page": True,
                "services": ["admin"],
            }
            with started(tmp_path, combination, options) as ansible:
                wait_until(lambda: recorder.times(held[phase]))
                ansible.send(kind)
                if combination[0] == "newest" or kind != "SIGTERM":
                    ansible.wait()
                else:
                    assert ansible.process.wait(120)
                    recorder.release()
                    ansible.wait()
        if kind != "SIGTERM" or combination != NOT_PASSED_ON:
            assert recorder.times("^POST") == []
        assert runner.servers(user) == {}

    run_all(
        [
            partial(interrupt, ("newest", "controller"), "SIGINT"),
            partial(interrupt, ("newest", "module"), "SIGTERM"),
            partial(interrupt, ("oldest", "controller"), "SIGTERM"),
            partial(interrupt, ("oldest", "module"), "SIGTERM"),
        ]
    )


def test_a_queued_check_does_not_start_and_a_second_signal_ends_nothing(hub_41: Hub, tmp_path: Path) -> None:
    """JupyterHub 4 cannot cancel a start. So the task waits for its end, whatever comes meanwhile."""
    runner = Runner("controller", hub_41)

    def interrupt(combination: tuple[str, str]) -> None:
        gate, first, second = tmp_path / f"gate{next(_numbers)}", runner.new_user(), runner.new_user()
        with recording(hub_41) as (recorder, url):
            options = {
                "hub_url": url,
                "api_token": hub_41.admin_token,
                "checks": [{"user": first}, {"user": second}],
                "concurrency": 1,
                "user_options": {"start_gate": str(gate)},
            }
            case = Case(first, {}, lambda: runner.servers(first).get("", {}).get("pending") == "spawn")
            with started(tmp_path, combination, options) as ansible:
                end_early(ansible, "SIGINT", recorder, [case])
                for _number in range(3):
                    ansible.send("SIGINT")
                    ansible.send("SIGTERM to all")
                assert processes_using(ansible.folder)
                gate.touch()
                ansible.wait()
        assert recorder.times(f"POST .*{in_api(second)}") == []
        assert (runner.servers(first), runner.servers(second)) == ({}, {})

    run_all([partial(interrupt, each) for each in COMBINATIONS])


def test_checks_that_wait_for_room(pool: HubPool, tmp_path: Path) -> None:
    """The task ends, starts nothing more, and leaves alone what somebody else has started meanwhile."""
    narrow = SHORT_WAITS + "c.JupyterHub.concurrent_spawn_limit = 1\n"
    narrow += 'c.JupyterHub.tornado_settings["spawn_throttle_retry_range"] = (600, 601)\n'
    hub = pool.get(config=narrow)
    runner, gate = Runner("controller", hub), tmp_path / "gate"
    busy, *users = (runner.new_user() for _number in range(4))
    assert runner.api_request("POST", f"users/{busy}/server", {"user_options": {"start_gate": str(gate)}}).ok
    with recording(hub) as (recorder, url):
        checks = [{"user": user} for user in users]
        options = {"hub_url": url, "api_token": hub.admin_token, "checks": checks, "wait_timeout": "1h"}
        with started(tmp_path, ("newest", "controller"), options) as ansible:
            wait_until(lambda: "no room for more starts" in ansible.output)
            gate.touch()
            wait_until(lambda: runner.servers(busy)[""]["ready"])
            assert runner.api_request("POST", f"users/{users[1]}/server").status_code in (201, 202)
            wait_until(lambda: runner.servers(users[1])[""]["ready"])
            at_signal = ansible.send("SIGINT")
            ansible.wait()
        assert [at for at in recorder.times("(POST|DELETE) .*/server") if at > at_signal] == []
    assert [list(runner.servers(user)) for user in users] == [[], [""], []]
    for user in (busy, users[1]):
        runner.api_request("DELETE", f"users/{user}/server")


@pytest.mark.parametrize("combination", [("newest", "controller"), ("oldest", "controller")])
def test_the_end_of_the_tasks_own_timeout(hub_61: Hub, tmp_path: Path, combination: tuple[str, str]) -> None:
    """Also a signal that comes while the task cleans up after its timeout does not end that."""
    runner, gate = Runner("controller", hub_61), tmp_path / "gate"
    users = [runner.new_user() for _number in range(2)]
    with recording(hub_61, f"GET .*/user/{users[1]}/lab") as (recorder, url):
        checks: list[dict[str, Any]] = [
            {"user": users[0], "user_options": {"never": True}},
            {"user": users[1], "user_options": {"stop_gate": str(gate)}, "page": ["lab"]},
        ]
        options = {"hub_url": url, "api_token": hub_61.admin_token, "checks": checks, **LONG_WAITS}
        with started(tmp_path, combination, options, {"timeout": 4}) as ansible:
            for user in users:
                wait_until(lambda user=user: recorder.times(f"DELETE .*{in_api(user)}"))
            wait_until(lambda: runner.servers(users[0]) == {})
            ansible.send("SIGINT")
            assert processes_using(ansible.folder)
            gate.touch()
            ansible.wait()
    assert [runner.servers(user) for user in users] == [{}, {}], ansible.output


# With real servers


@pytest.fixture(scope="module")
def jupyter(pool: HubPool) -> Hub:
    """A hub whose servers have terminals."""
    return pool.get(spawner="server", config=TERMINALS)


def home_of(hub: Hub, user: str) -> Path:
    return hub.state / "homes" / user


def files_of(hub: Hub, cases: Sequence[Case]) -> list[str]:
    return [path.name for case in cases for path in home_of(hub, case.user).glob("hubops-verify-*")]


def add_kernel_that_hangs(hub: Hub, user: str) -> None:
    folder = home_of(hub, user) / ".local" / "share" / "jupyter" / "kernels" / "hangs"
    folder.mkdir(parents=True)
    spec = {"argv": ["/bin/sh", "-c", "exec sleep 600"], "display_name": "hangs", "language": "x"}
    (folder / "kernel.json").write_text(json.dumps(spec))


def sleeping(mark: Path) -> str:
    return f"import time\nopen({str(mark)!r}, 'w').close()\ntime.sleep(600)"


def notebook_of(code: str) -> str:
    cell = {"cell_type": "code", "source": code, "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": [cell]})


def kernel_cases(runner: Runner, recorder: Recorder, folder: Path) -> list[Case]:
    """Checks in the phases that use kernels and terminals."""
    names = ("code", "notebooks", "packages", "paths", "resources", "terminal", "opening", "websocket")
    user = {name: runner.new_user() for name in names}
    marks = {name: folder / f"{name}{next(_numbers)}" for name in ("code", "notebooks")}
    for name in ("packages", "paths"):
        add_kernel_that_hangs(runner.hub, user[name])
    # The request for a kernel and the one for a terminal are still on their way when the signal comes.
    requested, opened = f"POST .*/user/{user['resources']}/api/kernels", f"POST .*/user/{user['opening']}/api/terminals"
    connected = f"GET .*/user/{user['terminal']}/terminals/websocket/"
    recorder.hold(requested, opened, connected)
    sleeping_notebook = notebook_of(sleeping(marks["notebooks"]))

    def opens_kernel(name: str) -> Callable[[], Any]:
        return lambda: recorder.times(f"GET .*/user/{user[name]}/api/kernels/.*/channels")

    return [
        Case(user["code"], {"code": [{"code": sleeping(marks["code"])}]}, marks["code"].exists),
        Case(
            user["notebooks"],
            {"notebooks": [{"path": "a.ipynb", "content": sleeping_notebook, "cell_timeout": ENDLESS}]},
            marks["notebooks"].exists,
        ),
        Case(user["packages"], {"packages": ["pip"], "kernel_name": "hangs"}, opens_kernel("packages")),
        Case(user["paths"], {"paths": [{"path": "~"}], "kernel_name": "hangs"}, opens_kernel("paths")),
        Case(user["resources"], {"resources": {"cpus": 0.1}}, lambda: recorder.times(requested)),
        Case(user["terminal"], {"terminal": True}, lambda: recorder.times(connected)),
        Case(user["opening"], {"terminal": True}, lambda: recorder.times(opened)),
        Case(user["websocket"], {"websocket": True, "websocket_idle": ENDLESS}, lambda: recorder.large_messages >= 1),
    ]


def persist_cases(runner: Runner, recorder: Recorder) -> list[Case]:
    """Checks in the phase persist: the file is being written, the server restarts, and the file is being read."""
    writing, stopping, starting, reading = (runner.new_user() for _number in range(4))
    requests = [
        f"PUT .*/user/{writing}/api/contents/",
        f"DELETE .*{in_api(stopping)}",
        f"GET .*/user/{reading}/api/contents/",
    ]
    recorder.hold(*requests)
    recorder.hold_second(f"POST .*{in_api(starting)}")
    return [
        Case(writing, {"persist": True}, lambda: recorder.times(requests[0]), release=requests[0]),
        Case(stopping, {"persist": True}, lambda: recorder.times(requests[1])),
        Case(
            starting,
            {"persist": True},
            lambda: len(recorder.times(f"POST .*{in_api(starting)}")) == 2,
            is_deleted_at_once=False,
        ),
        Case(reading, {"persist": True}, lambda: recorder.times(requests[2])),
    ]


@pytest.mark.parametrize(
    ("combination", "kind"),
    [
        (("newest", "controller"), "SIGINT"),
        (("newest", "module"), "SIGTERM"),
        (("oldest", "controller"), "SIGKILL"),
    ],
)
def test_real_servers(jupyter: Hub, tmp_path: Path, combination: tuple[str, str], kind: str) -> None:
    runner = Runner("controller", jupyter)
    with recording(jupyter) as (recorder, url):
        persisting = persist_cases(runner, recorder)
        cases = [*kernel_cases(runner, recorder, tmp_path), *persisting]
        options = {
            "hub_url": url,
            "api_token": jupyter.admin_token,
            "checks": [case.check for case in cases],
            **LONG_WAITS,
            "concurrency": 20,
        }
        with started(tmp_path, combination, options) as ansible:
            end_early(ansible, kind, recorder, cases)
            if kind == "SIGKILL":
                ansible.wait()
                assert len(files_of(jupyter, persisting)) >= 3
            recorder.release()
            ansible.wait()
        if kind == "SIGKILL":
            verify_again(jupyter, cases, persist=True)
        assert [runner.servers(case.user) for case in cases] == [{}] * len(cases), ansible.output
        # Only a running server can remove its file. The next check with persist does.
        left = files_of(jupyter, persisting)
        assert len(left) <= (kind != "SIGKILL"), left
        verify_again(jupyter, persisting[2:3], persist=True)
        assert files_of(jupyter, persisting) == []


@pytest.mark.parametrize("combination", COMBINATIONS[:1])
def test_servers_that_ran_before(jupyter: Hub, tmp_path: Path, combination: tuple[str, str]) -> None:
    """They stay, but no kernel and no terminal of the run stays in them."""
    runner = Runner("controller", jupyter)
    with recording(jupyter) as (recorder, url):
        cases = kernel_cases(runner, recorder, tmp_path)
        servers = [{"user": case.user} for case in cases]
        assert not Runner("program", jupyter)("hub_server", servers=servers, concurrency=10)["failed"]
        before = [runner.servers(case.user) for case in cases]
        options = {
            "hub_url": url,
            "api_token": jupyter.admin_token,
            "checks": [case.check for case in cases],
            **LONG_WAITS,
            "if_running": "use",
            "concurrency": 20,
        }
        with started(tmp_path, combination, options) as ansible:
            for case in cases:
                wait_until(case.is_there)
            ansible.send("SIGINT")
            # The requests for a kernel and for a terminal arrive after the signal.
            wait_until(lambda: recorder.times("DELETE .*/api/kernels/"))
            recorder.release()
            ansible.wait()
    for case, server in zip(cases, before, strict=True):
        assert runner.servers(case.user)[""]["started"] == server[""]["started"]
        for kind in ("kernels", "terminals"):
            found = requests.get(f"{jupyter.url}user/{case.user}/api/{kind}", headers=jupyter.headers, timeout=120)
            assert found.json() == [], (case.options, kind)
    Runner("program", jupyter)("hub_server", servers=[{**each, "state": "stopped"} for each in servers])
