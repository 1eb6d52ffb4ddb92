# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers: how soon hub_server reports what happened to one server, and what many servers cost.

On the same hub runs a script as the documentation of JupyterHub's REST API suggests it, which posts, polls every five
seconds for a minute and deletes, and a playbook that does the same with `ansible.builtin.uri`. The ratios count.
`make bench` prints the tables.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from support.benchmarking import OPEN_METRICS, Cost, measure, measure_process, print_table, start_playbook
from support.hubs import Hub, running_hub
from support.runner import Runner

ROUNDS = 4
MANY, MOST = 200, 1000
SLOW = {"start_seconds": 1, "stop_seconds": 0.5}
"""How long the servers of the second table take: less than real ones take."""
CONFIG = f"""
{OPEN_METRICS}
# As in the chart Zero to JupyterHub: the hub answers a request to start at once.
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
"""


# What hub_server is compared with


@dataclass(frozen=True)
class Script:
    """A script that polls, as an operator writes it from the API's documentation."""

    hub: Hub

    def start(self, user: str, options: dict[str, Any]) -> bool:
        url = f"{self.hub.api}/users/{user}/server"
        body = {"user_options": options}
        return requests.post(url, headers=self.hub.headers, json=body, timeout=60).status_code in (201, 202)

    def wait(self, user: str, timeout: int = 60) -> bool:
        for _look in range(timeout // 5):
            if requests.get(f"{self.hub.api}/users/{user}", headers=self.hub.headers, timeout=60).json().get("server"):
                return True
            time.sleep(5)
        return False

    def stop(self, user: str) -> bool:
        return requests.delete(f"{self.hub.api}/users/{user}/server", headers=self.hub.headers, timeout=60).ok

    def start_and_stop(self, users: list[str], options: dict[str, Any]) -> None:
        for user in users:
            assert self.start(user, options)
            assert self.wait(user)
            assert self.stop(user)


def uri(hub: Hub, method: str, path: str, **more: Any) -> dict[str, Any]:
    headers = {"Authorization": "token {{ lookup('env', 'JUPYTERHUB_API_TOKEN') }}"}
    return {"ansible.builtin.uri": {"url": f"{hub.api}/{path}", "method": method, "headers": headers, **more}}


def uri_tasks(hub: Hub, users: list[str], options: dict[str, Any]) -> list[dict[str, Any]]:
    """Start all, wait for each, stop all."""
    loop = {"loop": users, "loop_control": {"label": ""}}
    body = {"body_format": "json", "body": {"user_options": options}}
    wait = {"register": "found", "until": "found.json.server is not none", "retries": 60, "delay": 1}
    return [
        {**uri(hub, "POST", "users/{{ item }}/server", status_code=[201, 202], **body), **loop},
        {**uri(hub, "GET", "users/{{ item }}"), **wait, **loop},
        {**uri(hub, "DELETE", "users/{{ item }}/server", status_code=[202, 204]), **loop},
    ]


def our_tasks(users: list[str], options: dict[str, Any], concurrency: int) -> list[dict[str, Any]]:
    common = {"servers": [{"user": user} for user in users], "concurrency": concurrency}
    return [
        {"hubops.jupyterhub.hub_server": {**common, "user_options": options}},
        {"hubops.jupyterhub.hub_server": {**common, "state": "stopped"}},
    ]


# The tables


def watch_for(done: Callable[[], bool]) -> tuple[threading.Thread, list[float]]:
    """Watch for this to become true, in a thread that polls all the time. Returns the thread, and a list that then gets
    the time (`time.monotonic`)."""
    when: list[float] = []

    def look() -> None:
        while not done():
            time.sleep(0.01)
        when.append(time.monotonic())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    return thread, when


def delays(hub: Hub, options: Callable[[int], dict[str, Any]], over: str) -> tuple[list[float], list[float]]:
    """The seconds from when the hub knows the state until each side reports it: hub_server, and the script."""
    runner, script = Runner("program", hub), Script(hub)

    def ours(user: str, chosen: dict[str, Any]) -> None:
        runner("hub_server", user=user, user_options=chosen)

    def scripted(user: str, chosen: dict[str, Any]) -> None:
        if script.start(user, chosen):
            script.wait(user)

    found: list[list[float]] = [[], []]
    for number in range(ROUNDS):
        for side, work in enumerate((ours, scripted)):
            user, seen = runner.new_user(), threading.Event()

            def known(user: str = user, seen: threading.Event = seen) -> bool:
                server = runner.servers(user).get("", {})
                if server.get("pending") == "spawn":
                    seen.set()
                return bool(server.get("ready")) if over == "ready" else seen.is_set() and not server

            thread, when = watch_for(known)
            work(user, options(number))
            answered = time.monotonic()
            thread.join()
            found[side].append(answered - when[0])
            runner.api_request("DELETE", f"users/{user}/server")
    return found[0], found[1]


def compare_delays(hub: Hub) -> None:
    rows = []
    for what, over, options in (
        # The starts end at times spread evenly over the script's five seconds.
        ("ready", "ready", lambda number: {"start_seconds": 5 * (number + 0.5) / ROUNDS}),
        ("failed", "failed", lambda number: {"start_seconds": 5 * (number + 0.5) / ROUNDS, "fail": "no room"}),
    ):
        ours, script = (statistics.mean(side) for side in delays(hub, options, over))
        rows.append([f"{what} on the hub", f"{ours:.2f}", f"{script:.2f}", f"{script / ours:.0f}"])
    title = f"Seconds from when the hub knows the state until it is reported, mean of {ROUNDS} starts of up to 5 s"
    print_table(title, ["what it is", "hub_server", "script", "ratio"], rows)


def compare_many(hub: Hub, folder: Path, users: list[str]) -> None:
    def measure_playbook(tasks: list[dict[str, Any]]) -> Cost:
        return measure_process(hub, start_playbook(hub, folder, tasks))

    def measure_script() -> Cost:
        with measure(hub) as cost:
            Script(hub).start_and_stop(users, SLOW)
        return cost

    sides = {
        "hub_server, concurrency 10": lambda: measure_playbook(our_tasks(users, SLOW, 10)),
        "hub_server, concurrency 50": lambda: measure_playbook(our_tasks(users, SLOW, 50)),
        "script in a loop": measure_script,
        "ansible.builtin.uri": lambda: measure_playbook(uri_tasks(hub, users, SLOW)),
    }
    costs = {side: work() for side, work in sides.items()}
    first = next(iter(costs.values()))
    rows = [
        [
            side,
            f"{cost.seconds:.1f}",
            f"{cost.seconds / first.seconds:.1f}",
            str(cost.requests),
            f"{cost.hub_seconds:.1f}",
        ]
        for side, cost in costs.items()
    ]
    title = "{} light servers, started in {start_seconds} s and stopped in {stop_seconds} s each".format(
        len(users), **SLOW
    )
    print_table(title, ["side", "s", "ratio", "requests", "hub CPU s"], rows)


def measure_most(hub: Hub, folder: Path, users: list[str]) -> None:
    cost = measure_process(hub, start_playbook(hub, folder, our_tasks(users, {}, 10)))
    figures = [f"{cost.seconds:.1f}", str(cost.requests), f"{cost.hub_seconds:.1f}", f"{cost.megabytes:.0f}"]
    title = f"{len(users)} light servers in one call, started and then stopped as fast as the hub does it"
    print_table(title, ["side", "s", "requests", "hub CPU s", "MB"], [["hub_server, concurrency 10", *figures]])


def main() -> None:
    with tempfile.TemporaryDirectory() as name, running_hub(Path(name), config=CONFIG) as hub:
        folder, users = Path(name), [f"u{number}" for number in range(MOST)]
        created = requests.post(f"{hub.api}/users", headers=hub.headers, json={"usernames": users}, timeout=120)
        created.raise_for_status()
        compare_delays(hub)
        compare_many(hub, folder, users[:MANY])
        measure_most(hub, folder, users)


if __name__ == "__main__":
    main()
