# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Works on many items concurrently."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from .._hub.errors import HubError, not_understood
from .._hub.threads import in_background, wait_for

R = TypeVar("R")
T = TypeVar("T")

SPREAD = 0.7
"""Seconds within which the workers of `map_concurrently` start, for requests that keep a hub busy."""
_MIN_ITEMS_PER_WORKER = 4
"""With fewer items for each worker, a staggered start costs more time than it saves."""


class _Pace:
    """Decides when the next item may start: at the earliest ``spread / workers`` seconds after the last start.

    The gap is at most half of the average time of an item, divided by the number of workers, so that no worker waits
    for its next item.
    """

    def __init__(self, workers: int, spread: float) -> None:
        self._workers, self._spread = workers, spread
        self._last_start, self._ended, self._seconds = 0.0, 0, 0.0
        self._changed, self._is_over = threading.Condition(), False

    def wait_for_start(self) -> bool:
        """Wait until the next item may start. Returns False if no further item is to start."""
        with self._changed:
            while not self._is_over and (left := self._last_start + self._gap() - time.monotonic()) > 0:
                self._changed.wait(left)
            self._last_start = time.monotonic()
            return not self._is_over

    def record_end(self, seconds: float) -> None:
        """Record that an item has ended after this time."""
        with self._changed:
            self._ended += 1
            self._seconds += seconds
            self._changed.notify_all()

    def stop(self) -> None:
        """Start no further item."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _gap(self) -> float:
        spread = min(self._spread, self._seconds / self._ended / 2) if self._ended else self._spread
        return spread / self._workers


def map_concurrently(work: Callable[[T], R], items: Sequence[T], concurrency: int, spread: float = 0.0) -> list[R]:
    """Return the results of ``work`` for all items, in their order. At most ``concurrency`` items run at a time.

    If there are many more items than workers, the workers start within ``spread`` seconds, one after the other.
    Otherwise requests of equal length start and finish together, and the hub alternates between idle and overloaded.

    Raises the first exception of ``work`` again. After it no further item starts, and this function waits for the items
    that have started. If an exception interrupts the wait itself, such as a task's timeout, this function waits for
    nothing.
    """
    if len(items) == 1:
        return [work(items[0])]
    workers = min(concurrency, len(items))
    pace = _Pace(workers, spread if len(items) > _MIN_ITEMS_PER_WORKER * workers else 0.0)
    results: dict[int, R] = {}
    positions = iter(range(len(items)))

    def work_on() -> None:
        for position in positions:  # the workers share it: each position is taken once
            if not pace.wait_for_start():
                return
            start = time.monotonic()
            try:
                results[position] = work(items[position])
            except BaseException:
                pace.stop()
                raise
            pace.record_end(time.monotonic() - start)

    # A pool of `concurrent.futures` always waits for its threads, so this does not use one.
    running = [in_background(work_on) for _number in range(workers)]
    try:
        wait_for(running)
        for worker in running:
            worker.result()
    finally:
        pace.stop()
    return [results[position] for position in range(len(items))]


def catch_failures(work: Callable[[T], R]) -> Callable[[T], R | HubError]:
    """Return a function that does the same work and returns a `HubError` instead of raising it."""

    def catching(item: T) -> R | HubError:
        try:
            return work(item)
        except HubError as error:
            return error
        except Exception as error:
            # An unexpected exception must not hide what was done for the other items.
            return not_understood(error)

    return catching
