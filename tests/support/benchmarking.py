# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures for tests/benchmarks what a process costs a hub and this machine, and prints tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import requests
from support.hubs import REPOSITORY, Hub

OPEN_METRICS = "c.JupyterHub.authenticate_prometheus = False\n"
"""Configuration for `running_hub`: lets anybody read the hub's metrics, which count its requests."""


@dataclass
class Cost:
    seconds: float = 0.0
    requests: int = 0
    hub_seconds: float = 0.0
    megabytes: float = 0.0


def copy_collection(revision: str, folder: Path) -> Path:
    """Copy the collection as it was at this revision. Returns the path for Ansible's collections."""
    target = folder / revision / "ansible_collections" / "hubops" / "jupyterhub"
    target.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", revision, "plugins", "roles", "playbooks", "meta", "galaxy.yml"],
        cwd=REPOSITORY, check=True, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    subprocess.run(["tar", "-x", "-C", target], input=archive, check=True)
    return folder / revision


def start_playbook(
    hub: Hub, folder: Path, tasks: list[dict[str, Any]], collections: Path | None = None
) -> Popen[bytes]:
    """Start a playbook with these tasks, as the hub's admin. ``collections`` has another version of the collection."""
    path = folder / "playbook.yml"
    path.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    env = {**os.environ, "JUPYTERHUB_URL": hub.url, "JUPYTERHUB_API_TOKEN": hub.admin_token}
    env |= {"ANSIBLE_COLLECTIONS_PATH": str(collections)} if collections else {}
    program = Path(sys.prefix) / "bin" / "ansible-playbook"
    return Popen([program, path], env=env, stdout=DEVNULL, stderr=DEVNULL)


def count_requests(hub: Hub) -> int:
    """The number of requests that the hub has answered, by its own metrics."""
    lines = requests.get(f"{hub.url}hub/metrics", timeout=120).text.splitlines()
    counts = [line for line in lines if line.startswith("jupyterhub_request_duration_seconds_count")]
    return sum(int(float(line.rpartition(" ")[2])) for line in counts)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def measure(hub: Hub) -> Iterator[Cost]:
    cost = Cost()
    requests_before, cpu_before, began = count_requests(hub), cpu_seconds(hub.pid), time.monotonic()
    yield cost
    cost.seconds = time.monotonic() - began
    cost.hub_seconds = cpu_seconds(hub.pid) - cpu_before
    cost.requests = count_requests(hub) - requests_before - 1  # the request for the metrics itself


def wait_and_get_peak_memory(process: Popen[bytes]) -> float:
    """Wait for the process. Returns the peak memory (MB) of the largest process: it or one of Ansible's workers."""
    most = 0.0
    while process.poll() is None:
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                found = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            except OSError:
                continue  # the process has ended
            if str(process.pid) in (found["Pid"].strip(), found["PPid"].strip()) and "VmHWM" in found:
                most = max(most, int(found["VmHWM"].split()[0]) / 1024)
        time.sleep(0.2)
    assert process.returncode == 0
    return most


def measure_process(hub: Hub, process: Popen[bytes]) -> Cost:
    """Wait for a process that has just been started, and return what it cost."""
    with measure(hub) as cost:
        cost.megabytes = wait_and_get_peak_memory(process)
    return cost


def print_table(title: str, head: list[str], rows: list[list[str]]) -> None:
    print(f"\n{title}:\n")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in (head, ["-" * width for width in widths], *rows):
        name, *figures = (text.rjust(width) for text, width in zip(row, widths, strict=True))
        print(f"| {' | '.join([name.strip().ljust(widths[0]), *figures])} |", flush=True)
