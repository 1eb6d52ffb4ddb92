# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verification has started and must not leave behind, and the signals that end a verification early."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from types import FrameType
from typing import TypeVar

from .._hub.errors import Conflict
from .._hub.threads import in_background

T = TypeVar("T")

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_PARENT_PAUSE = 0.2
"""Seconds between two looks for the parent process."""
_START_PATIENCE = 30.0
"""Seconds that an interrupted task waits to learn whether something was started, before it gives that up."""


class Interrupted(BaseException):
    """The process got a signal to end."""


class LeftOvers:
    """What was started and not ended yet. Many threads use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._undo: dict[object, Callable[[], object]] = {}
        self._is_closed = False

    @contextlib.contextmanager
    def hold(self, undo: Callable[[], object]) -> Iterator[None]:
        """Call ``undo`` if the task is interrupted within the block. Otherwise the block cleans up by itself.

        Raises `Conflict` if the task is interrupted already.
        """
        key = object()
        with self._lock:
            if self._is_closed:
                raise Conflict("The task was interrupted.", "Run it again.")
            self._undo[key] = undo
        try:
            yield
        finally:
            with self._lock:
                self._undo.pop(key, None)

    @contextlib.contextmanager
    def hold_started(self, start: Callable[[], T], end: Callable[[T], object]) -> Iterator[T]:
        """Start something for the block, and ``end`` it if the task is interrupted.

        If the interruption comes before the answer to the start, this waits for the answer. Raises what ``start``
        raises, and `Conflict` if the task is interrupted already.
        """
        started: Future[T] = Future()
        with self.hold(lambda: end(started.result(_START_PATIENCE))):
            try:
                started.set_result(start())
            except BaseException as error:
                started.set_exception(error)
                raise
            yield started.result()

    def undo_all(self, timeout: float) -> None:
        """Undo everything at once, and wait for that at most ``timeout`` seconds. Nothing more can be started."""
        with self._lock:
            self._is_closed = True
            todo = list(self._undo.values())
        wait([in_background(undo) for undo in todo], timeout)


@contextlib.contextmanager
def interruptible(clean_up: Callable[[], object], parent: int) -> Iterator[None]:
    """Raise `Interrupted` within the block for a signal that is to end the process. Then the process ends by it.

    If any exception leaves the block, call ``clean_up`` first, for which neither a further signal nor the end of the
    task's own time matters. A signal that the process ignores, such as SIGHUP after ``nohup``, stays ignored. Outside
    of the main thread no signal is raised, because only the main thread can handle them.

    ansible-core 2.16 does not pass a SIGTERM on to the process that runs a task. So the end of the ``parent`` process
    counts as one. It may have ended before the block.
    """
    is_over, received = threading.Event(), list[int]()
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in _SIGNALS} if is_main else {}
    ending = [number for number, handler in before.items() if handler != signal.SIG_IGN]

    def ignore() -> None:
        for number in ending:
            signal.signal(number, signal.SIG_IGN)

    def handle(number: int, _frame: FrameType | None) -> None:
        ignore()
        received.append(number)
        raise Interrupted

    def watch_parent() -> None:
        while os.getppid() == parent:
            if is_over.wait(_PARENT_PAUSE):
                return
        os.kill(os.getpid(), signal.SIGTERM)

    try:
        for number in ending:
            signal.signal(number, handle)
        if is_main and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
        elif is_main:
            threading.Thread(target=watch_parent, daemon=True).start()
        try:
            yield
        except BaseException:
            ignore()
            with _without_alarm() if is_main else contextlib.nullcontext():
                clean_up()
            raise
    finally:
        is_over.set()
        for number in ending:
            handler = before[number]
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if received:
            os.kill(os.getpid(), received[0])


@contextlib.contextmanager
def _without_alarm() -> Iterator[None]:
    """Ignore the alarm by which Ansible ends a task after its ``timeout``."""
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before if before is not None else signal.SIG_DFL)
