# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verification of a fleet costs in AWX: the playbook verify, beside the same with tasks of the module uri.

Both sides run as jobs of ansible-runner (transmit, worker, process), in turn, against one hub with light servers. Each
host of the inventory has an account of its own, whose server the job starts and stops. The tasks of uri ask who the
account is, start the server, wait until it is ready, stop it, and wait until it is gone. They write no report. The
seconds of CPU are those of the three programs and all that they start, and not those of the hub. `make bench` prints
the tables.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.benchmarking import print_table
from support.hubs import Hub, running_hub
from support.playbooks import mint
from support.runner_jobs import Hosts, run_job, slice_hosts

SIZES = (10, 50)
FORKS = 20


@dataclass
class Cost:
    """What a job cost, for each hub."""

    events: float
    kilobytes: float
    seconds: float
    cpu_seconds: float
    artifact: int
    """Characters, for all hubs together."""

    def shown(self) -> list[str]:
        return [
            f"{self.events:.1f}", f"{self.kilobytes:.1f}", f"{self.seconds:.2f}", f"{self.cpu_seconds:.2f}",
            str(self.artifact),
        ]  # fmt: skip


def uri_tasks() -> list[dict[str, Any]]:
    """The tasks that verify a start and a stop with requests of their own."""
    api = "{{ hub_url }}hub/api"
    user = f"{api}/users/{{{{ user }}}}"
    server = f"{user}/server"

    def ask(name: str, url: str, keywords: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        headers = {"Authorization": "token {{ verify_api_token }}"}
        return {"name": name, "ansible.builtin.uri": {"url": url, "headers": headers, **options}, **(keywords or {})}

    def wait_for(condition: str) -> dict[str, Any]:
        return {"register": "found", "retries": 60, "delay": 1, "until": condition}

    return [
        ask("Ask who the account is", f"{api}/user"),
        ask("Start the server", server, method="POST", status_code=[201, 202]),
        ask("Wait for it", user, wait_for("found.json.servers['']['ready'] | default(false)")),
        ask("Stop the server", server, method="DELETE", status_code=[202, 204]),
        ask("Wait for its end", user, wait_for("not found.json.servers")),
    ]


def measure(folder: Path, playbook: str, hosts: Hosts) -> Cost:
    folder.mkdir()
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    job = run_job(folder, playbook, {}, {}, f"--forks={FORKS}", hosts=hosts)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert job.rc == 0, job.stdout[-5000:]
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = sum(len(json.dumps(event)) for event in job.events)
    return Cost(
        len(job.events) / len(hosts), size / 1000 / len(hosts), seconds / len(hosts), cpu_seconds / len(hosts),
        len(json.dumps(job.artifacts)),
    )  # fmt: skip


def make_hosts(hub: Hub) -> Hosts:
    def member(number: int) -> dict[str, Any]:
        user = f"user{number}"
        return {"hub_url": hub.url, "user": user, "verify_api_token": mint(hub, user), "verify_checks": [{}]}

    with ThreadPoolExecutor(8) as threads:
        found = [*threads.map(member, range(max(SIZES)))]
    return {f"hub-teach-{number:02}": variables for number, variables in enumerate(found)}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uri = folder / "uri.yml"
        play = {
            "hosts": "all", "connection": "local", "gather_facts": False, "tasks": uri_tasks(),
            "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        }  # fmt: skip
        uri.write_text(json.dumps([play]))
        (folder / "hub").mkdir()
        with running_hub(folder / "hub") as hub:
            whole, rows = make_hosts(hub), []
            for size in SIZES:
                hosts = slice_hosts(whole, 1, len(whole) // size)
                ours = measure(folder / f"ours{size}", "hubops.jupyterhub.verify", hosts)
                theirs = measure(folder / f"uri{size}", str(uri), hosts)
                rows += [[f"{size} hubs, verify", *ours.shown()], [f"{size} hubs, uri", *theirs.shown()]]
                ratios = [
                    theirs.events / ours.events, theirs.kilobytes / ours.kilobytes, theirs.seconds / ours.seconds,
                    theirs.cpu_seconds / ours.cpu_seconds,
                ]  # fmt: skip
                rows.append([f"{size} hubs, uri / verify", *(f"{ratio:.1f}" for ratio in ratios), ""])
            head = ["for each hub", "events", "kB of events", "seconds", "CPU s", "artifact (all hubs)"]
            print_table(f"Jobs of ansible-runner with {FORKS} forks", head, rows)


if __name__ == "__main__":
    main()
