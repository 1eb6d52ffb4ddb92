# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The spawner's messages during a start."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class EventLog:
    """The spawner's messages, each once, with the seconds since ``start_time`` (of `time.monotonic`)."""

    def __init__(self, start_time: float, report: Callable[[str], None]) -> None:
        self.events: list[dict[str, Any]] = []
        self._seen: set[tuple[Any, str]] = set()
        self._start_time = start_time
        self._report = report

    def add(self, progress: Any, message: str) -> None:
        """Keep and report an event, unless it is known already. The hub sends all events again on each new stream."""
        if (progress, message) in self._seen:
            return
        self._seen.add((progress, message))
        seconds = round(time.monotonic() - self._start_time, 3)
        self.events.append({"seconds": seconds, "progress": progress, "message": message})
        self._report(f"{progress}% {message}" if isinstance(progress, (int, float)) else message)
