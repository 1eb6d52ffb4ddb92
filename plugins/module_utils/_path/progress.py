# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line every few seconds on how far the work on many things is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .plan import Report


class Counter:
    """Counts those of ``total`` that are done, have failed or are under way, and reports it while it is entered.

    ``done`` is the word for what came off, such as "ready"; ``failed`` are those that failed before the work began.
    """

    def __init__(self, report: Report, total: int, done: str, *, failed: int = 0, seconds: float = 3.0) -> None:
        self._report = report
        self._total = total
        self._word = done
        self._seconds = seconds
        self._done, self._failed, self._pending = 0, failed, 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    @property
    def line(self) -> str:
        with self._lock:
            return f"{self._done}/{self._total} {self._word}, {self._failed} failed, {self._pending} pending"

    @contextmanager
    def one(self) -> Iterator[None]:
        """One of them is under way within the block, and has failed if that raises."""
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
        self._thread.start()
        return self

    def __exit__(self, *_exc: Any) -> None:
        self._over.set()
        self._thread.join()
        self._report(self.line)

    def _tell(self) -> None:
        while not self._over.wait(self._seconds):
            self._report(self.line)
