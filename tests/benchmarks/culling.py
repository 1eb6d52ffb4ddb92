# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Culling: what a pass of hub_cull costs, and one of jupyterhub-idle-culler on the same hub.

Both are whole programs, from start to end: `ansible-playbook` with one task, and a Python that runs one pass of
jupyterhub-idle-culler, which is otherwise a daemon. What the start alone costs is measured, too, and left out of the
ratios. `make bench` prints the tables.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import requests
from support.benchmarking import OPEN_METRICS, Cost, measure_process, print_table, start_playbook
from support.hubs import Hub, running_hub, venv
from support.runner import Runner

USERS, IDLE, CONCURRENCY = 5000, 500, 10
SLOW = 0.7
"""Seconds that a stop takes in the last table: less than a real one takes."""
LONG = 86400

PASS = """
import asyncio, json, logging, sys
from jupyterhub_idle_culler import cull_idle
asyncio.run(cull_idle(logger=logging.getLogger("idle-culler"), **json.loads(sys.argv[1])))
"""


def start_hub_cull(hub: Hub, folder: Path, seconds: int, **options: Any) -> Popen[bytes]:
    options = {"idle_timeout": seconds, "concurrency": CONCURRENCY, **options}
    return start_playbook(hub, folder, [{"hubops.jupyterhub.hub_cull": options}])


def start_idle_culler(hub: Hub, seconds: int) -> Popen[bytes]:
    options = {"url": hub.api, "api_token": hub.admin_token, "inactive_limit": seconds, "concurrency": CONCURRENCY}
    command = [venv("culler") / "bin" / "python", "-c", PASS, json.dumps(options)]
    return Popen(command, stdout=DEVNULL, stderr=DEVNULL)


def measure_starts(hub: Hub, folder: Path) -> tuple[float, float]:
    """The seconds that each program takes to start and do nothing: hub_cull's, and jupyterhub-idle-culler's."""
    nothing = Popen([venv("culler") / "bin" / "python", "-c", "import jupyterhub_idle_culler"])
    theirs = measure_process(hub, nothing).seconds
    return measure_process(hub, start_playbook(hub, folder, [{"ansible.builtin.debug": {"msg": ""}}])).seconds, theirs


def start_all(hub: Hub, users: list[str], stop_seconds: float) -> None:
    options = {"stop_seconds": stop_seconds} if stop_seconds else {}
    servers = [{"user": user} for user in users]
    started = Runner("program", hub)("hub_server", servers=servers, user_options=options, concurrency=20)
    assert not started["failed"], started["msg"]
    time.sleep(2)


def rows(costs: dict[str, Cost], start: dict[str, float]) -> list[list[str]]:
    """The rows of a table. The ratio is of the times without the start of the programs."""
    theirs = costs["idle-culler"].seconds - start["idle-culler"]
    return [
        [
            side, f"{cost.seconds:.1f}", f"{start[side]:.1f}", f"{theirs / max(0.01, cost.seconds - start[side]):.1f}",
            str(cost.requests), f"{cost.hub_seconds:.1f}", f"{cost.megabytes:.0f}",
        ]
        for side, cost in costs.items()
    ]  # fmt: skip


def compare(hub: Hub, folder: Path, title: str, seconds: int, users: list[str], stop_seconds: float | None) -> None:
    """Print the costs of one pass of each side. The servers run before each pass.

    With ``stop_seconds`` of None they already run, and no pass may stop one.
    """
    our_start, their_start = measure_starts(hub, folder)
    sides = {
        "hub_cull": lambda: start_hub_cull(hub, folder, seconds),
        "hub_cull, recheck: false": lambda: start_hub_cull(hub, folder, seconds, recheck=False),
        "idle-culler": lambda: start_idle_culler(hub, seconds),
    }
    costs = {}
    for side, work in sides.items():
        if stop_seconds is not None:
            start_all(hub, users, stop_seconds)
        before = len(users)
        costs[side] = measure_process(hub, work())
        left = sum(bool(found["servers"]) for found in list_users_with_servers(hub))
        assert left == (before if stop_seconds is None else 0), f"{side} left {left}"
    head = ["side", "s", "of it start", "ratio", "requests", "hub CPU s", "MB"]
    print_table(title, head, rows(costs, {side: their_start if side == "idle-culler" else our_start for side in costs}))


def list_users_with_servers(hub: Hub) -> list[dict[str, Any]]:
    """The users that have a server that is ready."""
    headers = {**hub.headers, "Accept": "application/jupyterhub-pagination+json"}
    found: list[dict[str, Any]] = []
    offset: int | None = 0
    while offset is not None:
        params = {"state": "ready", "limit": 200, "offset": offset}
        answer = requests.get(f"{hub.api}/users", headers=headers, params=params, timeout=60).json()
        found += answer["items"]
        offset = (answer["_pagination"]["next"] or {}).get("offset")
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as name, running_hub(Path(name), config=OPEN_METRICS) as hub:
        folder, everybody = Path(name), [f"u{number}" for number in range(USERS)]
        for first in range(0, USERS, 500):
            body = {"usernames": everybody[first : first + 500]}
            requests.post(f"{hub.api}/users", headers=hub.headers, json=body, timeout=300).raise_for_status()
        users = everybody[:: USERS // IDLE]
        setting = f"{USERS} users, {IDLE} of them with a server, {CONCURRENCY} stops at a time"
        start_all(hub, users, 0)
        compare(hub, folder, f"{setting}, nothing is idle", LONG, users, None)
        compare(hub, folder, f"{setting}, all are idle and stop at once", 1, users, 0)
        compare(hub, folder, f"{setting}, all are idle and take {SLOW} s to stop", 1, users, SLOW)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        USERS, IDLE = (int(each) for each in sys.argv[1:3])  # a smaller hub, for a quick run
    main()
