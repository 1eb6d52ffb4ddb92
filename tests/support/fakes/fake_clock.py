# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake of the module `time` for tests of code that waits: a pause moves its clock and takes no time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any


class FakeClock:
    """Replaces `time` in the modules under test. It moves only while something sleeps, or when a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds
            self.slept.append(seconds)
        time.sleep(0.001)  # lets other threads run

    def wait_for(self, futures: Iterable[Future[Any]], timeout: float) -> bool:
        """Replaces `wait_for` of _hub/threads: if one of the futures is not done, the whole time passes."""
        if not all(each.done() for each in futures):
            self.sleep(timeout)
        return all(each.done() for each in futures)
