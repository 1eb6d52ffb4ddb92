# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verification of a fleet costs: the playbook verify as it is, beside the one before `hub_verify` existed.

The earlier side is a copy of the collection at `EARLIER`, in which the role was a program of tasks. Both sides run in
turn, against the same hub, with light servers: each host of the inventory verifies the start and the stop of its own
user's server. A light server runs no code, so the step of the earlier role that runs code is left out of its copy. The
seconds of CPU are those of ansible-playbook and its workers, and not those of the hub. `make bench` prints the tables.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.benchmarking import copy_collection
from support.hubs import REPOSITORY, Hub, running_hub
from support.playbooks import mint

EARLIER = "c0566a2"
"""The last commit without `hub_verify`."""
SIZES = (1, 5, 20, 100)
MOST_EARLIER = 20
"""The largest fleet for the earlier role, which takes minutes for a hundred hubs."""
FORKS = 20


@dataclass
class Run:
    """What a run of the playbook took, and how many lines it wrote."""

    seconds: float
    cpu_seconds: float
    lines: int


def copy_earlier(folder: Path) -> Path:
    """Copy the collection as it was, without the step that runs code. Returns the path for Ansible's collections."""
    collections = copy_collection(EARLIER, folder)
    steps = collections / "ansible_collections/hubops/jupyterhub/roles/verify/vars/main/main.yml"
    text, number = re.subn(r"  - name: run\n(    .*\n)+", "", steps.read_text())
    assert number == 1
    steps.write_text(text)
    return collections


def run_playbook(hub: Hub, folder: Path, collections: str, hosts: dict[str, Any], variables: dict[str, Any]) -> Run:
    inventory = folder / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    report = folder / "report"
    command = [
        str(Path(sys.prefix) / "bin" / "ansible-playbook"), "-i", str(inventory), "-f", str(FORKS),
        "hubops.jupyterhub.verify", "-e", json.dumps({"verify_report_dir": str(report), **variables}),
    ]  # fmt: skip
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections, "JUPYTERHUB_URL": hub.url}
    output = folder / "output"
    began = time.monotonic()
    with output.open("w") as stream:
        process = subprocess.Popen(command, env=env, stdout=stream, stderr=stream)
        _pid, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    assert status == 0, output.read_text()[-5000:]
    return Run(seconds, usage.ru_utime + usage.ru_stime, len(output.read_text().splitlines()))


def measure_fleets(hub: Hub, folder: Path, sides: dict[str, tuple[str, dict[str, Any]]]) -> None:
    print(f"Fleets of hubs with light servers, {FORKS} forks:\n")
    print("| hubs | side    | seconds | CPU s | CPU s a hub beyond the first | lines a hub |")
    print("| ---: | ------- | ------: | ----: | ---------------------------: | ----------: |")
    first: dict[str, float] = {}
    found: dict[tuple[int, str], Run] = {}
    for size in SIZES:
        hosts = {f"hub{number}": {"verify_api_token": mint(hub, f"user{number}")} for number in range(size)}
        for side, (collections, variables) in sides.items():
            if side == "earlier" and size > MOST_EARLIER:
                continue
            run = found[size, side] = run_playbook(hub, folder, collections, hosts, variables)
            first.setdefault(side, run.cpu_seconds)
            beyond = f"{(run.cpu_seconds - first[side]) / (size - 1):.2f}" if size > 1 else "-"
            print(
                f"| {size:4} | {side:7} | {run.seconds:7.1f} | {run.cpu_seconds:5.1f} | {beyond:>28} "
                f"| {run.lines / size:11.1f} |",
                flush=True,
            )
    earlier, now = found[MOST_EARLIER, "earlier"], found[MOST_EARLIER, "now"]
    print(
        f"\n{MOST_EARLIER} hubs: the earlier role takes {earlier.seconds / now.seconds:.1f} times the seconds, "
        f"{earlier.cpu_seconds / now.cpu_seconds:.1f} times the CPU, and {earlier.lines / now.lines:.1f} times the "
        "lines."
    )


def read_phases(report: dict[str, Any]) -> dict[str, float]:
    """Return the seconds of each phase, or of each step of the earlier role, in a report of one hub."""
    if "steps" in report:
        return {step["name"]: step["seconds"] for step in report["steps"]}
    [hub] = report["hubs"]
    return {phase["name"]: phase["seconds"] for part in (hub, *hub["checks"]) for phase in part["phases"]}


def measure_one_server(hub: Hub, folder: Path, sides: dict[str, tuple[str, dict[str, Any]]]) -> None:
    print("\nOne real server that runs one line of code. The hub's own time is that of the start and the stop:\n")
    print("| side    | seconds | of these the hub's own | beyond it |")
    print("| ------- | ------: | ---------------------: | --------: |")
    hosts = {"hub": {"verify_api_token": mint(hub, "one")}}
    for side, (collections, variables) in sides.items():
        run = run_playbook(hub, folder, collections, hosts, variables)
        phases = read_phases(json.loads((folder / "report" / "report.json").read_text()))
        hub_seconds = phases["start"] + phases["stop"]
        print(f"| {side:7} | {run.seconds:7.1f} | {hub_seconds:22.1f} | {run.seconds - hub_seconds:9.1f} |", flush=True)


def main() -> None:
    now = os.environ["ANSIBLE_COLLECTIONS_PATH"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        earlier = str(copy_earlier(folder))
        (folder / "light").mkdir()
        with running_hub(folder / "light") as hub:
            measure_fleets(hub, folder, {"earlier": (earlier, {}), "now": (now, {"verify_checks": [{}]})})
        whole = folder / EARLIER / "ansible_collections/hubops/jupyterhub/roles/verify/vars/main/main.yml"
        subprocess.run(
            f"git archive {EARLIER} roles/verify/vars/main/main.yml | tar -xO > '{whole}'",
            cwd=REPOSITORY, shell=True, check=True,
        )  # fmt: skip
        (folder / "real").mkdir()
        with running_hub(folder / "real", spawner="server") as hub:
            measure_one_server(hub, folder, {"earlier": (earlier, {}), "now": (now, {})})


if __name__ == "__main__":
    main()
