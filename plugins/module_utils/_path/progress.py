# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports every few seconds how far the work on many items is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .plan import Report


class Counter:
    """Counts the items that are done, have failed, or are under way, and reports the numbers within a ``with`` block.

    ``word`` describes an item that is done, such as "ready". ``failed`` is the number of items that failed before the
    work started. Without a ``report`` it only counts. ``seconds`` is the time between two lines.
    """

    def __init__(self, report: Report | None, total: int, word: str, *, failed: int = 0, seconds: float = 3.0) -> None:
        self._report = report
        self._total = total
        self._word = word
        self._seconds = seconds
        self._done, self._failed, self._pending = 0, failed, 0
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._report_regularly, daemon=True)

    @property
    def line(self) -> str:
        with self._lock:
            return f"{self._done}/{self._total} {self._word}, {self._failed} failed, {self._pending} pending"

    @contextmanager
    def count_one(self) -> Iterator[None]:
        """Count one item. It is under way within the block. It has failed if the block raises, otherwise it is done."""
        with self._lock:
            self._pending += 1
        try:
            yield
        except BaseException:
            with self._lock:
                self._failed += 1
            raise
        else:
            with self._lock:
                self._done += 1
        finally:
            with self._lock:
                self._pending -= 1

    def __enter__(self) -> Counter:
        if self._report is not None:
            self._thread.start()
        return self

    def __exit__(self, *_exc: Any) -> None:
        self._is_over.set()
        if self._report is not None:
            self._thread.join()
            self._report(self.line)

    def _report_regularly(self) -> None:
        while self._report is not None and not self._is_over.wait(self._seconds):
            self._report(self.line)
