# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work beside the caller, which stays in charge of the time."""

from __future__ import annotations

import errno
import hashlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from math import inf
from typing import TypeVar

R = TypeVar("R")
T = TypeVar("T")


def in_background(work: Callable[[], T]) -> Future[T]:
    """Run it in a thread. The thread is a daemon: whoever no longer wants the answer does not wait for it either."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # it is raised again where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


SPREAD = 0.7
"""Seconds for `each` to let one for each of its threads begin within, where hubs take their time for an item."""
_QUEUE_PAUSE = 0.02
"""Seconds between two tries to be `alone`."""
_ROUNDS = 4
"""With fewer items for each of those who work on them, that would cost more than it gains."""


class _Pace:
    """When the next may begin: ``spread`` s divided by ``number`` after the last one, and sooner if items are quick.

    Half of what an item takes on average is spread at most: those who work on them are never short of items then.
    """

    def __init__(self, number: int, spread: float) -> None:
        self._number, self._spread = number, spread
        self._last, self._ended, self._seconds = 0.0, 0, 0.0
        self._changed, self._over = threading.Condition(), False

    def begin(self) -> bool:
        """Wait for the moment to begin; whether there is one."""
        with self._changed:
            while not self._over and (left := self._last + self._gap() - time.monotonic()) > 0:
                self._changed.wait(left)
            self._last = time.monotonic()
            return not self._over

    def end(self, seconds: float) -> None:
        with self._changed:
            self._ended += 1
            self._seconds += seconds
            self._changed.notify_all()

    def give_up(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _gap(self) -> float:
        spread = min(self._spread, self._seconds / self._ended / 2) if self._ended else self._spread
        return spread / self._number


def each(work: Callable[[T], R], items: Sequence[T], concurrency: int, spread: float = 0.0) -> list[R]:
    """The results for all items, in their order, worked at most ``concurrency`` at a time.

    Where there are many more than that, they begin one after the other, all threads within ``spread`` s. Such as begin
    together end together, as long as they take the same time: a hub is idle first, then has them all at once, and
    answers the first with the last.

    An exception of ``work`` is raised again; what has begun by then is waited for, and the rest is left. One that ends
    the wait itself, such as a task's timeout, waits for nothing.
    """
    if len(items) == 1:
        return [work(items[0])]
    number = min(concurrency, len(items))
    pace = _Pace(number, spread if len(items) > _ROUNDS * number else 0.0)
    results: dict[int, R] = {}
    places = iter(range(len(items)))

    def work_on() -> None:
        for place in places:  # shared: each is taken by one of the threads
            if not pace.begin():
                return
            began = time.monotonic()
            try:
                results[place] = work(items[place])
            except BaseException:
                pace.give_up()
                raise
            pace.end(time.monotonic() - began)

    # Not a pool of the library, whose threads would be waited for in any case.
    workers = [in_background(work_on) for _number in range(number)]
    try:
        wait(workers)
        for worker in workers:
            worker.result()
    finally:
        pace.give_up()
    return [results[place] for place in range(len(items))]


def iterate_until(deadline: float, items: Iterator[T], first: float = inf, further: float = inf) -> Iterator[T | None]:
    """The items as they come, and their end at the ``deadline`` (of `time.monotonic`) even while one is awaited.

    A socket's timeout counts from its last byte, and a hub's stream has one every few seconds: it is no deadline. None
    is among them each time that nothing has come for ``first`` s, or once something has, for ``further`` s.
    """
    arrived: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()
    left = threading.Event()

    def read() -> None:
        try:
            for item in items:
                arrived.put((item,))
                if left.is_set():
                    return
        finally:
            arrived.put(None)

    in_background(read)
    silence = first
    try:
        while (remaining := deadline - time.monotonic()) > 0:
            try:
                item = arrived.get(timeout=min(remaining, silence))
            except queue.Empty:
                if silence >= remaining:
                    return
                silence = min(first, silence)
                yield None
                continue
            if item is None:
                return
            yield item[0]
            silence = further
    finally:
        left.set()


@contextmanager
def hold_lock(name: str, patience: float) -> Iterator[None]:
    """Within the block no other thread or process of this machine is in one of the same name.

    After ``patience`` s it is entered all the same, and at once where the system has no such names (Linux has them, as
    abstract addresses of sockets: nothing is left of them, however a process ends).
    """
    address = f"\0hubops-jupyterhub-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()}"
    over = time.monotonic() + patience
    with socket.socket(socket.AF_UNIX) as held:
        while time.monotonic() < over:
            try:
                held.bind(address)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    break
            time.sleep(_QUEUE_PAUSE)
        yield
