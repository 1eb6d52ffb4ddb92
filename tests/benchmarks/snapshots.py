# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots: what hub_snapshot costs, and ansible.builtin.uri with the same requests to the same hub.

Each side is `ansible-playbook` with one task, from start to end. What the start alone takes is in the table, too. A
request with uri takes about half a second, so both sides first read the hub while it has few users. Then hub_snapshot
reads it with all of them. `make bench` prints the tables.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen

import requests
from support.benchmarking import OPEN_METRICS, Cost, measure_process, print_table, start_playbook
from support.hubs import Hub, running_hub
from support.runner import Runner

USERS, FEW, SHARE = 5000, 50, 10
"""How many users the hub has in the end and at first. One in SHARE has a server, and each has a token."""
PAGES = {"Accept": "application/jupyterhub-pagination+json"}
GOAL = "The goal is 10 s and 150 MB."


def populate(hub: Hub, users: list[str]) -> None:
    """Create the users, a token of each, and the servers of some."""
    for first in range(0, len(users), 500):
        body = {"usernames": users[first : first + 500]}
        requests.post(f"{hub.api}/users", headers=hub.headers, json=body, timeout=300).raise_for_status()
    with requests.Session() as session, ThreadPoolExecutor(4) as threads:

        def mint(user: str) -> None:
            body = {"note": "nightly", "scopes": [f"servers!user={user}"]}
            answer = session.post(f"{hub.api}/users/{user}/tokens", headers=hub.headers, json=body, timeout=300)
            answer.raise_for_status()

        list(threads.map(mint, users))
    servers = [{"user": user, "user_options": {"colour": "red"}} for user in users[::SHARE]]
    started = Runner("program", hub)("hub_server", servers=servers, concurrency=20)
    assert not started["failed"], started["msg"]


def start_snapshot(hub: Hub, folder: Path) -> Popen[bytes]:
    return start_playbook(hub, folder, [{"hubops.jupyterhub.hub_snapshot": {"path": str(folder / "snapshot.json")}}])


def start_uri(hub: Hub, folder: Path, users: list[str]) -> Popen[bytes]:
    """Start a playbook that sends the requests of hub_snapshot with ansible.builtin.uri. All users are in one page."""
    pages = ["users?include_stopped_servers=1&limit=200", "groups?limit=200", "services?limit=200", "proxy?limit=200"]
    paths = ["", "user", "info", *pages, *(f"users/{user}/tokens" for user in users)]
    headers = {"Authorization": "token {{ lookup('ansible.builtin.env', 'JUPYTERHUB_API_TOKEN') }}", **PAGES}
    options = {"url": f"{hub.api}/{{{{ item }}}}", "headers": headers, "return_content": True}
    return start_playbook(hub, folder, [{"ansible.builtin.uri": options, "loop": paths}])


def measure_least(hub: Hub, start: Callable[[], Popen[bytes]]) -> Cost:
    """Return the cost of the faster of two runs. The first one also reads programs from the disk."""
    return min((measure_process(hub, start()) for _run in range(2)), key=lambda cost: cost.seconds)


def row(side: str, cost: Cost, start: float, ratio: str) -> list[str]:
    return [
        side, f"{cost.seconds:.1f}", f"{start:.1f}", ratio, str(cost.requests), f"{cost.hub_seconds:.1f}",
        f"{cost.megabytes:.0f}",
    ]  # fmt: skip


def main() -> None:
    head = ["side", "s", "of it start", "ratio", "requests", "hub CPU s", "MB"]
    with tempfile.TemporaryDirectory() as name, running_hub(Path(name), config=OPEN_METRICS) as hub:
        folder, everybody = Path(name), [f"u{number}" for number in range(USERS)]
        few = everybody[:FEW]
        populate(hub, few)
        nothing = [{"ansible.builtin.debug": {"msg": ""}}]
        start = measure_least(hub, lambda: start_playbook(hub, folder, nothing)).seconds
        theirs = measure_least(hub, lambda: start_uri(hub, folder, few))
        ours = measure_least(hub, lambda: start_snapshot(hub, folder))
        ratio = f"{theirs.seconds / ours.seconds:.1f}"
        rows = [row("hub_snapshot", ours, start, ratio), row("uri", theirs, start, "1.0")]
        print_table(f"{FEW} users, a token of each, {len(few[::SHARE])} servers", head, rows)

        populate(hub, everybody[FEW:])
        cost = measure_process(hub, start_snapshot(hub, folder))
        found = json.loads((folder / "snapshot.json").read_text())
        minted = sum(not token["issued_for"] for token in found["tokens"])
        assert (len(found["users"]), minted, found["unreadable"]) == (USERS, USERS, [])
        title = f"{USERS} users, a token of each, {len(found['servers'])} servers. {GOAL}"
        print_table(title, head, [row("hub_snapshot", cost, start, "-")])
        size = (folder / "snapshot.json").stat().st_size / 1e6
        print(f"\nThe file has {size:.1f} MB. {found['seconds']:.1f} s of it are the requests.")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        USERS, FEW = (int(each) for each in sys.argv[1:3])  # a smaller hub, for a quick run
    main()
