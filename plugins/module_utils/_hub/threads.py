# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads that work in the background, so that the caller can stop waiting for them at any time."""

from __future__ import annotations

import errno
import hashlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from math import inf
from typing import Any, TypeVar

T = TypeVar("T")

_SIGNAL_PAUSE = 0.2
"""Seconds after which the main thread looks at the latest whether a signal has come, see `wait_for`."""
_LOCK_PAUSE = 0.02
"""Seconds between two attempts to take a lock, see `hold_lock`."""


def in_background(work: Callable[[], T]) -> Future[T]:
    """Run ``work`` in a daemon thread and return its future.

    A caller that no longer needs the result does not have to wait for the thread.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # the future raises it again where the result is read
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def wait_for(futures: Iterable[Future[Any]], timeout: float = inf) -> bool:
    """Wait until all futures are done, at most ``timeout`` seconds. Return whether they are.

    The main thread wakes up now and then. The system may give a signal such as that of Ctrl-C to any thread, Python
    handles it in the main thread only, and nothing wakes that up.
    """
    pending, deadline = set(futures), time.monotonic() + timeout
    longest = _SIGNAL_PAUSE if threading.current_thread() is threading.main_thread() else inf
    while pending:
        left = min(deadline - time.monotonic(), longest)
        if left <= 0:
            break
        pending = wait(pending, None if left == inf else left).not_done
    return all(each.done() for each in pending)


def iterate_until(
    deadline: float, items: Iterator[T], first_silence: float = inf, next_silence: float = inf
) -> Iterator[T | None]:
    """Yield the items as they arrive. Stop at the ``deadline`` (of `time.monotonic`), even while waiting for an item.

    A socket's own timeout starts again at each byte, and a hub writes to its progress stream every few seconds. So that
    timeout does not limit the time of the whole stream.

    Yields None each time that no item arrives for ``first_silence`` seconds, or for ``next_silence`` seconds after an
    item. After a None, the shorter of the two times counts until the next item arrives.
    """
    arrived: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()
    closed = threading.Event()

    def read() -> None:
        try:
            for item in items:
                arrived.put((item,))
                if closed.is_set():
                    return
        finally:
            arrived.put(None)

    in_background(read)
    silence = first_silence
    try:
        while (remaining := deadline - time.monotonic()) > 0:
            try:
                item = arrived.get(timeout=min(remaining, silence))
            except queue.Empty:
                if silence >= remaining:
                    return
                silence = min(first_silence, silence)
                yield None
                continue
            if item is None:
                return
            yield item[0]
            silence = next_silence
    finally:
        closed.set()


@contextmanager
def hold_lock(name: str, patience: float) -> Iterator[bool]:
    """Hold the lock of this name, which all threads and processes of this machine share, within the block.

    The block also runs without the lock if another holder keeps it for longer than ``patience`` seconds. The value of
    the context manager is False then. A system without abstract socket addresses has no locks, and the value is True.
    Linux has them. An address is free again as soon as its process ends, however it ends.
    """
    address = f"\0hubops-jupyterhub-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()}"
    deadline, is_free = time.monotonic() + patience, False
    with socket.socket(socket.AF_UNIX) as lock:
        while not is_free:
            try:
                lock.bind(address)
                is_free = True
            except OSError as error:
                is_free = error.errno != errno.EADDRINUSE
            if not is_free:
                if time.monotonic() >= deadline:
                    break
                time.sleep(_LOCK_PAUSE)
        yield is_free
