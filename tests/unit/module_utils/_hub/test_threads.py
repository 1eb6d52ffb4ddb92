# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""threads: work beside the caller."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import count

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import threads as _background
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.threads import (
    in_background,
    iterate_until,
    wait_for,
)
from support.fakes.fake_clock import FakeClock

HANG = 60.0
"""Seconds after which a hang becomes a failure."""


def test_the_answer_is_there_when_the_work_is_done() -> None:
    go = threading.Event()
    future = in_background(lambda: go.wait(HANG))
    assert not future.done()
    go.set()
    assert future.result(HANG) is True


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_what_the_work_raises_is_raised_where_the_answer_is_asked_for(error: BaseException) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        in_background(work).result(HANG)
    assert raised.value is error


def test_nobody_waits_for_work_that_is_not_wanted_any_more() -> None:
    threads: list[threading.Thread] = []
    in_background(lambda: threads.append(threading.current_thread())).result(HANG)
    assert threads[0].daemon


def test_a_wait_ends_with_the_work_or_in_time() -> None:
    pending, done = Future[None](), in_background(lambda: None)
    assert wait_for([]) is True
    assert wait_for([done], HANG) is True
    assert wait_for([done, pending], 0.01) is False
    assert in_background(lambda: wait_for([done, pending], 0.01)).result(HANG) is False
    pending.set_result(None)
    assert wait_for([done, pending]) is True


def test_a_wait_notices_a_signal_that_another_thread_got() -> None:
    """The main thread handles it, and nothing wakes it up."""
    noticed = Future[None]()
    before = signal.signal(signal.SIGUSR1, lambda number, frame: noticed.set_result(None))
    try:
        in_background(lambda: (time.sleep(0.1), signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)))
        assert wait_for([noticed], HANG)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_items_come_as_they_come() -> None:
    assert list(iterate_until(time.monotonic() + HANG, iter([1, None, 3]))) == [1, None, 3]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(_background, "time", clock)
    return clock


def test_the_deadline_ends_it_while_an_item_is_awaited(clock: FakeClock) -> None:
    never = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        never.wait(600)
        yield 2

    began, seen = time.monotonic(), []
    for item in iterate_until(clock.now + 600, items()):
        seen.append(item)
        clock.now += 600 - 0.2
    assert seen == [1]
    assert 0.15 < time.monotonic() - began < HANG
    never.set()


def test_the_deadline_ends_it_though_items_keep_coming(clock: FakeClock) -> None:
    def items() -> Iterator[int]:
        for number in count():
            yield number
            time.sleep(0.001)

    seen = []
    for item in iterate_until(clock.now + 100, items()):
        seen.append(item)
        clock.now += 25
    assert seen == [0, 1, 2, 3]


def test_after_the_deadline_there_is_nothing() -> None:
    assert list(iterate_until(time.monotonic() - 1, iter([1, 2]))) == []


def test_a_source_that_breaks_ends() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("cut")

    began = time.monotonic()
    assert list(iterate_until(began + 600, items())) == [1]
    assert time.monotonic() - began < HANG


def test_a_source_that_is_not_wanted_any_more_is_read_no_further() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            for number in range(10**9):
                yield number
                time.sleep(0.001)
        finally:
            closed.set()

    for item in iterate_until(time.monotonic() + HANG, items()):
        assert item == 0
        break
    assert closed.wait(HANG)
