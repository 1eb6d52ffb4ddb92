# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one call costs: a loop of `hub_info` through each door, and `ansible.builtin.uri` with the same request.

All sides run in turn, against the same hub. The ratios count. `make bench` prints the table.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.hubs import Hub, running_hub
from support.runner import CONNECTIONS, PLUGINS

CALLS, ROUNDS = 20, 5
INFO = {"hubops.jupyterhub.hub_info": {}}
URI = {
    "ansible.builtin.uri": {
        "url": "{{ lookup('env', 'JUPYTERHUB_URL') }}hub/api/user",
        "headers": {"Authorization": "token {{ lookup('env', 'JUPYTERHUB_API_TOKEN') }}"},
    }
}
SIDES = {
    "hub_info, controller's door": ("controller", INFO),
    "hub_info, module's door": ("module", INFO),
    "ansible.builtin.uri": ("controller", URI),
}


def loop_seconds(hub: Hub, folder: Path, door: str, task: dict[str, object], calls: int) -> float:
    """The seconds that a playbook takes which loops over this number of calls."""
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        # A variable, since the implicit localhost has one, which takes precedence over the keyword.
        "vars": {"ansible_connection": CONNECTIONS[door], "ansible_python_interpreter": sys.executable},
        "tasks": [{**task, "loop": list(range(calls))}],
    }
    playbook = folder / "playbook.yml"
    playbook.write_text(json.dumps([play]))
    program = Path(sys.prefix) / "bin" / "ansible-playbook"
    environment = {
        **os.environ,
        "JUPYTERHUB_URL": hub.url,
        "JUPYTERHUB_API_TOKEN": hub.admin_token,
        "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS / "connection"),
    }
    began = time.monotonic()
    subprocess.run([program, playbook], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def main() -> None:
    costs: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as name, running_hub(Path(name)) as hub:
        for _round in range(ROUNDS):
            for side, (door, task) in SIDES.items():
                # Both have the start of Ansible. The difference is the calls after the first.
                one, many = (loop_seconds(hub, Path(name), door, task, calls) for calls in (1, 1 + CALLS))
                costs[side].append((many - one) / CALLS)
    medians = {side: statistics.median(found) for side, found in costs.items()}
    best = medians[next(iter(SIDES))]
    print(f"One call in a loop of {CALLS} on a local connection, median of {ROUNDS} rounds:\n")
    print(f"| {'side':28} | ms a call | times the first |\n| {'-' * 28} | --------: | --------------: |")
    for side, median in medians.items():
        print(f"| {side:28} | {median * 1000:9.1f} | {median / best:15.1f} |")


if __name__ == "__main__":
    main()
