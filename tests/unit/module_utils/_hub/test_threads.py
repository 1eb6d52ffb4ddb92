# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_background: work beside the caller, who stays in charge of the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import count, pairwise
from types import SimpleNamespace

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import threads as _background
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.threads import (
    _Pace,
    each,
    in_background,
    iterate_until,
)
from support.fakes.scripted_hub import Clock

HANG = 60.0
"""Seconds, by which a hang ends in a failure."""


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


def test_items_come_as_they_come() -> None:
    assert list(iterate_until(time.monotonic() + HANG, iter([1, None, 3]))) == [1, None, 3]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_background, "time", clock)
    return clock


def test_the_deadline_ends_it_while_an_item_is_awaited(clock: Clock) -> None:
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


def test_the_deadline_ends_it_though_items_keep_coming(clock: Clock) -> None:
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


def test_each_is_worked_within_the_limit_and_the_results_are_in_order() -> None:
    running, most, lock = 0, 0, threading.Lock()
    four = threading.Barrier(4, timeout=HANG)  # nobody ends before as many work as may

    def work(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        four.wait()
        with lock:
            running -= 1
        return item * item

    assert each(work, range(20), 4) == [item * item for item in range(20)]
    assert most == 4
    assert each(work, [], 4) == []


def test_an_exception_of_one_is_raised_again_when_those_that_run_have_ended() -> None:
    ended: list[int] = []
    other, failing = threading.Event(), threading.Event()
    fails: list[threading.Thread] = []

    def work(item: int) -> None:
        if not item:
            fails.append(threading.current_thread())
            failing.set()
            assert other.wait(HANG)
            raise OSError("broken")
        other.set()
        assert failing.wait(HANG)
        fails[0].join(HANG)
        ended.append(item)

    with pytest.raises(OSError, match="broken"):
        each(work, range(100), 2)
    assert ended == [1]


@pytest.fixture
def moments(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each item has begun, by a clock that goes on while somebody waits for his moment."""
    moments: list[float] = []

    class Condition(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            clock.sleep(timeout or 0.0)
            return False

    class Pace(_Pace):
        def begin(self) -> bool:
            with self._changed:
                begins = super().begin()
                moments.append(self._last)
            return begins

    own = SimpleNamespace(Condition=Condition, Thread=threading.Thread, Event=threading.Event)
    monkeypatch.setattr(_background, "threading", own)
    monkeypatch.setattr(_background, "_Pace", Pace)
    return moments


def let_begin(clock: Clock, items: int) -> None:
    """Work on them, 4 at a time, with 0.4 s for those to begin.

    Those that work at the same time end at the same time, as those of a hub do that has much to do.
    """
    together = threading.Barrier(4, timeout=HANG)

    def work(number: int) -> int:
        if number < 16:
            together.wait()
        clock.sleep(10)
        return number

    assert each(work, range(items), 4, spread=0.4) == list(range(items))


def test_many_that_take_their_time_begin_one_after_the_other(clock: Clock, moments: list[float]) -> None:
    start = clock.now
    let_begin(clock, 17)
    assert moments[:4] == pytest.approx([start, start + 0.1, start + 0.2, start + 0.3])
    assert len(moments) == 17
    assert all(later - earlier > 0.099 for earlier, later in pairwise(moments))


def test_a_few_begin_together(clock: Clock, moments: list[float]) -> None:
    start = clock.now
    let_begin(clock, 16)
    assert moments[:4] == [start] * 4


def test_nobody_waits_to_begin_where_nothing_is_left() -> None:
    start = time.monotonic()
    for _time in range(200):
        assert each(lambda number: number, range(25), 5, spread=3600) == list(range(25))
    assert time.monotonic() - start < HANG


def test_nobody_waits_to_begin_where_one_has_failed() -> None:
    def work(_number: int) -> None:
        raise ValueError("no")

    start = time.monotonic()
    with pytest.raises(ValueError, match="no"):
        each(work, range(25), 5, spread=3600)
    assert time.monotonic() - start < HANG
