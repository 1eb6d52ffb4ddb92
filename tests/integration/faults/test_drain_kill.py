# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_drain` and `hub_restore` in a process that a signal ends in the middle of its work on a real hub.

A proxy in front of the hub sends the signal at a moment of one request. This file is also the program of the process
(`main`). tests/unit/module_utils/_drain/test_killed.py kills the flows at each write, on a hub in memory.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fakes.cutting_proxy import Exchange, cutting_proxy
from support.hub_clock import CLOCK_CONFIG, empty_hub
from support.hubs import HubPool
from support.runner import Runner
from support.waiting import wait_until

NUMBER = 4
"""How many servers each drain stops."""


def main() -> None:
    """Run a module with the options of a line of stdin, and print its result."""
    order = json.loads(sys.stdin.readline())
    module = importlib.import_module(f"ansible_collections.hubops.jupyterhub.plugins.modules.{order['module']}").MODULE
    defaults = {name: option.get("default") for name, option in module.argument_spec.items()}
    result = module.run(
        {**defaults, **order["options"]}, check_mode=False, verbosity=3, report=lambda line: None, secrets=set()
    )
    sys.stdout.write(json.dumps(result))


class Case:
    """An empty hub with some servers, and the record of their drain."""

    def __init__(self, runner: Runner, folder: Path) -> None:
        self.runner = runner
        self.path = folder / "drained.json"
        self.servers: dict[str, dict[str, Any]] = {}

    def start(self, user: str, name: str = "", **options: Any) -> None:
        body = {"user_options": options} if self.runner.hub.version.startswith("6") else options
        place = f"users/{user}/servers/{name}" if name else f"users/{user}/server"
        assert self.runner.api_request("POST", place, body).status_code in (201, 202)
        wait_until(lambda: (self.runner.servers(user).get(name) or {}).get("ready"))
        self.servers[f"{user}/{name}"] = options

    def running(self) -> dict[str, dict[str, Any]]:
        users = self.runner.api_request("GET", "users").json()
        return {
            f"{user['name']}/{name}": server["user_options"]
            for user in users
            for name, server in user["servers"].items()
        }

    def run(self, module: str) -> dict[str, Any]:
        result = self.runner(module, path=str(self.path), concurrency=2)
        assert not result["failed"], result
        return result

    def run_until(self, module: str, ending: signal.Signals, moment: str, method: str, number: int) -> None:
        """Run the module in a process that gets the signal at this moment of the request of this number."""
        requests_seen = []
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with (
            cutting_proxy(self.runner.hub.url) as proxy,
            subprocess.Popen(
                [sys.executable, __file__],
                env=environment,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as process,
        ):

            def watch(now: str, exchange: Exchange) -> None:
                if (now, exchange.method) == (moment, method):
                    requests_seen.append(exchange)
                    if len(requests_seen) == number:
                        process.send_signal(ending)
                        process.wait(120)

            proxy.observer = watch
            options = {"hub_url": proxy.url, "api_token": self.runner.hub.admin_token, "path": str(self.path)}
            output, _errors = process.communicate(
                json.dumps({"module": module, "options": {**options, "concurrency": 2}}) + "\n", 300
            )
            assert len(requests_seen) >= number, output
            assert (process.returncode, output) == (-ending, "")

    def recorded(self) -> dict[str, dict[str, Any]]:
        entries = json.loads(self.path.read_text())["servers"]
        return {f"{each['user']}/{each['server_name']}": each["user_options"] for each in entries}


@pytest.fixture(params=["6.1"])
def case(request: pytest.FixtureRequest, pool: HubPool, tmp_path: Path) -> Iterator[Case]:
    runner = Runner("program", pool.get(request.param, config=CLOCK_CONFIG))
    empty_hub(runner.hub)
    case = Case(runner, tmp_path)
    for number in range(NUMBER // 2):
        user = runner.new_user()
        case.start(user, number=number)
        case.start(user, "lab", profile="gpu", number=number)
    yield case
    empty_hub(runner.hub)


older = pytest.mark.parametrize("case", ["5.5", "4.1"], indirect=True)
SIGNALS = [pytest.param(each, id=each.name) for each in (signal.SIGKILL, signal.SIGINT)]


@pytest.mark.parametrize("ending", SIGNALS)
@pytest.mark.parametrize(
    ("moment", "number"), [("request_received", 1), ("hub_answered", 1), ("request_received", 3), ("hub_answered", 4)]
)
def test_a_drain_that_is_killed_goes_on(case: Case, ending: signal.Signals, moment: str, number: int) -> None:
    case.run_until("hub_drain", ending, moment, "DELETE", number)
    assert case.recorded() == case.servers
    assert case.path.stat().st_mode & 0o777 == 0o600
    # One of those that were stopped is started again by its user, with other options.
    stopped = sorted(set(case.servers) - set(case.running()))
    if stopped:
        user, _slash, name = stopped[0].partition("/")
        case.start(user, name, profile="new")
    done = case.run("hub_drain")
    assert case.running() == {}
    assert case.recorded() == case.servers
    assert (done["started_meanwhile"], done["counts"]["to_restore"]) == ([], NUMBER)
    assert {item["outcome"] for item in case.run("hub_restore")["servers"]} == {"restored"}
    assert case.running() == case.servers


@pytest.mark.parametrize("ending", SIGNALS)
@pytest.mark.parametrize(
    ("moment", "number"), [("request_received", 1), ("hub_answered", 1), ("request_received", 3), ("hub_answered", 4)]
)
def test_a_restore_that_is_killed_goes_on(case: Case, ending: signal.Signals, moment: str, number: int) -> None:
    case.run("hub_drain")
    case.run_until("hub_restore", ending, moment, "POST", number)
    done = case.run("hub_restore")
    assert {item["outcome"] for item in done["servers"]} == {"restored"}, done
    assert case.running() == case.servers
    assert case.run("hub_restore")["changed"] is False


@older
def test_killed_on_older_hubs(case: Case) -> None:
    case.run_until("hub_drain", signal.SIGKILL, "hub_answered", "DELETE", 1)
    case.run("hub_drain")
    assert (case.running(), case.recorded()) == ({}, case.servers)
    case.run_until("hub_restore", signal.SIGKILL, "hub_answered", "POST", 1)
    assert {item["outcome"] for item in case.run("hub_restore")["servers"]} == {"restored"}
    assert case.running() == case.servers


def test_a_drain_is_aborted_and_restored(case: Case) -> None:
    """An operator kills the drain, and starts what it has stopped without a second drain."""
    case.run_until("hub_drain", signal.SIGKILL, "hub_answered", "DELETE", 2)
    done = case.run("hub_restore")
    assert {item["outcome"] for item in done["servers"]} <= {"restored", "already_running"}
    assert case.running() == case.servers


def test_two_runs_at_once(case: Case) -> None:
    """The second one is told so, whatever it is, and the first one is not disturbed."""
    refused = []
    with cutting_proxy(case.runner.hub.url) as proxy:

        def watch(moment: str, exchange: Exchange) -> None:
            if (moment, exchange.method) == ("request_received", "DELETE") and not refused:
                refused.extend(case.runner(module, path=str(case.path)) for module in ("hub_drain", "hub_restore"))

        proxy.observer = watch
        done = case.runner.with_url(proxy.url)("hub_drain", path=str(case.path), concurrency=1)
    assert done["counts"]["drained"] == NUMBER
    assert [each["failure"]["code"] for each in refused] == ["conflict", "conflict"]
    assert "Another run drains or restores" in refused[0]["msg"]


def test_two_drains_with_records_of_their_own(case: Case) -> None:
    """Each server is in one of the records at least, and none is started twice."""
    done = []
    with cutting_proxy(case.runner.hub.url) as proxy:

        def watch(moment: str, exchange: Exchange) -> None:
            if (moment, exchange.method) == ("request_received", "DELETE") and not done:
                done.append(case.runner("hub_drain", path=f"{case.path}.other"))

        proxy.observer = watch
        done.append(case.runner.with_url(proxy.url)("hub_drain", path=str(case.path), concurrency=1))
    assert not [each["msg"] for each in done if each["failed"]]
    assert case.running() == {}
    for path in (str(case.path), f"{case.path}.other"):
        assert not case.runner("hub_restore", path=path)["failed"]
    assert case.running() == case.servers


if __name__ == "__main__":
    main()
