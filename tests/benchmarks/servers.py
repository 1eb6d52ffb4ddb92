# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers: how soon hub_server tells what became of one, and what many of them cost.

Beside it, in the same run and on the same hub: a script as documents on JupyterHub's REST API have it, which posts,
looks every five seconds for a minute and deletes; and a playbook that does the same with `ansible.builtin.uri`. What
counts is the ratio. `make bench` prints the tables.
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
from support.doors import Runner
from support.hubs import Hub, running_hub
from support.measuring import COUNTING, Cost, cost_of, measured, playbook, table

ROUNDS = 4
MANY, MOST = 200, 1000
SLOW = {"start_seconds": 1, "stop_seconds": 0.5}
"""How long the servers of the second table take: much less than real ones, and not nothing."""
CONFIG = f"""
{COUNTING}
# As the chart of Zero to JupyterHub has it: a request to start is answered at once.
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
"""


# The other sides


@dataclass(frozen=True)
class Script:
    """A script that polls, as an operator would write it from the API's documentation."""

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


def moment(done: Callable[[], bool]) -> tuple[threading.Thread, list[float]]:
    """When this comes true, found out by looking all the time."""
    when: list[float] = []

    def look() -> None:
        while not done():
            time.sleep(0.01)
        when.append(time.monotonic())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    return thread, when


def delays(hub: Hub, options: Callable[[int], dict[str, Any]], over: str) -> tuple[list[float], list[float]]:
    """For each side, the seconds from the moment when the hub knows to the answer: of ours, and of the script."""
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

            thread, when = moment(known)
            work(user, options(number))
            answered = time.monotonic()
            thread.join()
            found[side].append(answered - when[0])
            runner.api("DELETE", f"users/{user}/server")
    return found[0], found[1]


def one(hub: Hub) -> None:
    rows = []
    for what, over, options in (
        # Spread evenly over the script's five seconds, for which moment they end in is chance.
        ("ready", "ready", lambda number: {"start_seconds": 5 * (number + 0.5) / ROUNDS}),
        ("failed", "failed", lambda number: {"start_seconds": 5 * (number + 0.5) / ROUNDS, "fail": "no room"}),
    ):
        ours, script = (statistics.mean(side) for side in delays(hub, options, over))
        rows.append([f"{what} on the hub", f"{ours:.2f}", f"{script:.2f}", f"{script / ours:.0f}"])
    title = f"Seconds from the moment when the hub knows to the answer, mean of {ROUNDS} starts of up to 5 s"
    table(title, ["what it is", "hub_server", "script", "ratio"], rows)


def many(hub: Hub, folder: Path, users: list[str]) -> None:
    def of_playbook(tasks: list[dict[str, Any]]) -> Cost:
        return cost_of(hub, playbook(hub, folder, tasks))

    def of_script() -> Cost:
        with measured(hub) as cost:
            Script(hub).start_and_stop(users, SLOW)
        return cost

    sides = {
        "hub_server, concurrency 10": lambda: of_playbook(our_tasks(users, SLOW, 10)),
        "hub_server, concurrency 50": lambda: of_playbook(our_tasks(users, SLOW, 50)),
        "script in a loop": of_script,
        "ansible.builtin.uri": lambda: of_playbook(uri_tasks(hub, users, SLOW)),
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
    table(title, ["side", "s", "ratio", "requests", "hub CPU s"], rows)


def most(hub: Hub, folder: Path, users: list[str]) -> None:
    cost = cost_of(hub, playbook(hub, folder, our_tasks(users, {}, 10)))
    figures = [f"{cost.seconds:.1f}", str(cost.requests), f"{cost.hub_seconds:.1f}", f"{cost.megabytes:.0f}"]
    title = f"{len(users)} light servers in one call, started and then stopped as fast as the hub does it"
    table(title, ["side", "s", "requests", "hub CPU s", "MB"], [["hub_server, concurrency 10", *figures]])


def main() -> None:
    with tempfile.TemporaryDirectory() as name, running_hub(Path(name), config=CONFIG) as hub:
        folder, users = Path(name), [f"u{number}" for number in range(MOST)]
        created = requests.post(f"{hub.api}/users", headers=hub.headers, json={"usernames": users}, timeout=120)
        created.raise_for_status()
        one(hub)
        many(hub, folder, users[:MANY])
        most(hub, folder, users)


if __name__ == "__main__":
    main()
