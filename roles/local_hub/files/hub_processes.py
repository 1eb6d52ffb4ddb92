# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the processes of one hub, and ends them all.

A hub that was killed leaves its proxy, its servers and their kernels behind, each in a session of its own. But all
carry the hub's state folder in their environment, and there Linux lets us find them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hub_install import LocalHubError

MARK = "LOCAL_HUB_STATE"
GRACE_SECONDS = 20  # for the hub to stop its servers and its proxy by itself


@dataclass(frozen=True)
class Process:
    """One process, told from a later one of the same id by its start time (in clock ticks since boot)."""

    pid: int
    started: int

    def alive(self) -> bool:
        return Process.find(self.pid) == self

    def kill(self, number: int) -> None:
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    @staticmethod
    def find(pid: int) -> Process | None:
        """None also for a zombie: where process 1 reaps nothing it stays for ever, and it has ended all the same."""
        try:
            # The name in parentheses may hold anything, so count from its end: state is field 3, start time field 22.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else Process(pid, int(fields[19]))


def marked(state: Path) -> list[Process]:
    """The processes of the hub in this folder, whoever their parent is by now."""
    mark = os.fsencode(f"{MARK}={state}")
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # ended meanwhile, or somebody else's
            continue
        process = Process.find(int(entry.name))
        if process and process.pid != os.getpid() and mark in environment.split(b"\0"):
            found.append(process)
    return found


def descendants(processes: list[Process]) -> list[Process]:
    """What they have started, and what that has. A hub gives its services nothing of its environment."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(entry.name))
    found: list[Process] = []
    left = [process.pid for process in processes]
    while left:
        pids = [pid for pid in children.pop(left.pop(), []) if pid != os.getpid()]
        found += filter(None, map(Process.find, pids))
        left += pids
    return found


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def end_all(state: Path, hub: Process | None) -> bool:
    """Leave no process of this hub: first the hub is asked, which stops its servers, then what is left is killed."""
    found = marked(state)
    started = descendants(found)  # now, for whose parent has ended is nobody's

    def remaining() -> list[Process]:
        # Anew each time: what is ending may have started something.
        return list({*marked(state), *(process for process in started if process.alive())})

    if hub in found:
        hub.kill(signal.SIGTERM)
        wait_until(lambda: not hub.alive(), GRACE_SECONDS)
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        left = remaining()
        if not left:
            return bool(found)
        for process in left:
            process.kill(number)
        wait_until(lambda left=left: not any(process.alive() for process in left), 3)
    left = remaining()
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        raise LocalHubError(
            f"The processes {pids} of the hub in {state} do not end: look at them with ps, then stop again."
        )
    return bool(found)
