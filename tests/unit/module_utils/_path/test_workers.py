# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many items, worked on concurrently."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path import workers
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.workers import _Pace, map_concurrently
from support.fakes.fake_clock import FakeClock

HANG = 60.0
"""Seconds after which a hang becomes a failure."""


def test_each_is_worked_within_the_limit_and_the_results_are_in_order() -> None:
    running, most, lock = 0, 0, threading.Lock()
    four = threading.Barrier(4, timeout=HANG)  # no item ends before four work at the same time

    def work(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        four.wait()
        with lock:
            running -= 1
        return item * item

    assert map_concurrently(work, range(20), 4) == [item * item for item in range(20)]
    assert most == 4
    assert map_concurrently(work, [], 4) == []


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
        map_concurrently(work, range(100), 2)
    assert ended == [1]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(workers, "time", clock)
    return clock


@pytest.fixture
def moments(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each item has started, by a clock that moves on while a worker waits for its start."""
    moments: list[float] = []

    class Condition(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            clock.sleep(timeout or 0.0)
            return False

    class Pace(_Pace):
        def wait_for_start(self) -> bool:
            with self._changed:
                may_start = super().wait_for_start()
                moments.append(self._last_start)
            return may_start

    fake_threading = SimpleNamespace(Condition=Condition, Thread=threading.Thread, Event=threading.Event)
    monkeypatch.setattr(workers, "threading", fake_threading)
    monkeypatch.setattr(workers, "_Pace", Pace)
    return moments


def let_begin(clock: FakeClock, items: int) -> None:
    """Work on this many items, 4 at a time, of which the first 4 start within 0.4 s.

    Items that run at the same time end at the same time, as requests to a busy hub do.
    """
    together = threading.Barrier(4, timeout=HANG)

    def work(number: int) -> int:
        if number < 16:
            together.wait()
        clock.sleep(10)
        return number

    assert map_concurrently(work, range(items), 4, spread=0.4) == list(range(items))


def test_many_that_take_their_time_begin_one_after_the_other(clock: FakeClock, moments: list[float]) -> None:
    start = clock.now
    let_begin(clock, 17)
    assert moments[:4] == pytest.approx([start, start + 0.1, start + 0.2, start + 0.3])
    assert len(moments) == 17
    assert all(later - earlier > 0.099 for earlier, later in pairwise(moments))


def test_a_few_begin_together(clock: FakeClock, moments: list[float]) -> None:
    start = clock.now
    let_begin(clock, 16)
    assert moments[:4] == [start] * 4


def test_nobody_waits_to_begin_where_nothing_is_left() -> None:
    start = time.monotonic()
    for _time in range(200):
        assert map_concurrently(lambda number: number, range(25), 5, spread=3600) == list(range(25))
    assert time.monotonic() - start < HANG


def test_nobody_waits_to_begin_where_one_has_failed() -> None:
    def work(_number: int) -> None:
        raise ValueError("no")

    start = time.monotonic()
    with pytest.raises(ValueError, match="no"):
        map_concurrently(work, range(25), 5, spread=3600)
    assert time.monotonic() - start < HANG
