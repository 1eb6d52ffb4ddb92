# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts: what two hundred of them cost on a hub that has room for five at a time.

The ideal is measured in the same run. It is the same starts on a hub without a limit, by a task that knows the room,
because its ``concurrency`` is five. A ratio of 1 means that a task without that knowledge takes no longer, and sends no
more requests.

The earlier side is a copy of the collection at `EARLIER`, in which each start that the hub refused waited by itself for
the time that the hub named. It starts fewer servers, because it takes long. `make bench` prints the table.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import requests
from support.benchmarking import (
    OPEN_METRICS,
    Cost,
    copy_collection,
    measure_process,
    print_table,
    start_playbook,
    wait_and_get_peak_memory,
)
from support.hubs import Hub, running_hub

EARLIER = "1251a37"
"""The last commit without a gate for starts."""
ROOM = 5
MANY, FEW = 200, 50
"""How many servers each side starts, and how many the earlier side."""
START_SECONDS = 2
LIMIT = f"c.JupyterHub.concurrent_spawn_limit = {ROOM}\n"


def servers_task(users: list[str], **more: Any) -> dict[str, Any]:
    # The earlier side fails if a start was refused until the end of its time.
    return {
        "hubops.jupyterhub.hub_server": {"servers": [{"user": user} for user in users], **more},
        "ignore_errors": True,
    }


def count_ready(hub: Hub) -> int:
    users = requests.get(f"{hub.api}/users?limit={MANY}", headers=hub.headers, timeout=120).json()
    return sum(server["ready"] for user in users for server in user["servers"].values())


def measure_starts(
    hub: Hub, folder: Path, users: list[str], concurrency: int, collections: Path | None = None
) -> tuple[Cost, int]:
    """Start the servers, count those that are ready, and stop them again. Returns the cost of the start alone."""
    started = servers_task(users, concurrency=concurrency, user_options={"start_seconds": START_SECONDS})
    cost = measure_process(hub, start_playbook(hub, folder, [started], collections))
    ready = count_ready(hub)
    wait_and_get_peak_memory(start_playbook(hub, folder, [servers_task(users, state="stopped")]))
    return cost, ready


def create_users(hub: Hub) -> list[str]:
    users = [f"u{number}" for number in range(MANY)]
    created = requests.post(f"{hub.api}/users", headers=hub.headers, json={"usernames": users}, timeout=120)
    created.raise_for_status()
    return users


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        earlier = copy_collection(EARLIER, folder)
        (folder / "free").mkdir()
        with running_hub(folder / "free", config=OPEN_METRICS) as hub:
            ideal, ready = measure_starts(hub, folder, create_users(hub), ROOM)
            assert ready == MANY
        rows = [
            [
                "no limit, concurrency 5",
                f"{MANY}",
                f"{ready}",
                f"{ideal.seconds:.1f}",
                "1.00",
                f"{ideal.requests}",
                "1.00",
            ]
        ]
        (folder / "narrow").mkdir()
        with running_hub(folder / "narrow", config=OPEN_METRICS + LIMIT) as hub:
            users = create_users(hub)
            for side, number, concurrency, collections in (
                ("now, concurrency 10", MANY, 10, None),
                ("now, concurrency 50", MANY, 50, None),
                ("now, concurrency 50", FEW, 50, None),
                ("earlier, concurrency 50", FEW, 50, earlier),
            ):
                cost, ready = measure_starts(hub, folder, users[:number], concurrency, collections)
                seconds = cost.seconds / (ideal.seconds * number / MANY)
                sent = cost.requests / (ideal.requests * number / MANY)
                rows.append(
                    [
                        side,
                        f"{number}",
                        f"{ready}",
                        f"{cost.seconds:.1f}",
                        f"{seconds:.2f}",
                        f"{cost.requests}",
                        f"{sent:.2f}",
                    ]
                )
    head = ["side", "starts", "ready", "s", "of the ideal", "requests", "of the needed"]
    print_table(f"Starts of {START_SECONDS} s each, with room for {ROOM} at a time", head, rows)


if __name__ == "__main__":
    main()
