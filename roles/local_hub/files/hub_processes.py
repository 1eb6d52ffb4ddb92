# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the processes of one hub, and end them all.

A hub that was killed leaves its proxy, its servers and their kernels running, each in its own session. All of them have
the hub's state folder in their environment, where this file finds them. This needs the /proc of Linux.
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
GRACE_SECONDS = 20  # for the hub to stop its servers and its proxy


@dataclass(frozen=True)
class Process:
    """A process. Its start time, in clock ticks since boot, tells it from a later process with the same id."""

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
        """The process with this id, or None. A zombie is None: it has ended, even if process 1 never reaps it."""
        try:
            # The name in parentheses may hold any character, so count from its end: field 3 is the state, 22 the start.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else Process(pid, int(fields[19]))


def marked(state: Path) -> list[Process]:
    """The processes of the hub in this folder, also those whose parent has ended."""
    mark = os.fsencode(f"{MARK}={state}")
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # it has ended, or belongs to another user
            continue
        process = Process.find(int(entry.name))
        if process and process.pid != os.getpid() and mark in environment.split(b"\0"):
            found.append(process)
    return found


def descendants(processes: list[Process]) -> list[Process]:
    """The processes that they started, and so on. A hub's services are among them: they do not get its environment."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
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
    """End every process of this hub. The hub gets a signal first and stops its servers; then this kills what is left.

    Returns whether there was any process.
    """
    found = marked(state)
    started = descendants(found)  # now: once its parent has ended, a process is no descendant any more

    def remaining() -> list[Process]:
        # Look again each time: a process that ends may have started another one.
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
            f"The processes {pids} of the hub in {state} do not end: look at them with ps, then stop the hub again."
        )
    return bool(found)
