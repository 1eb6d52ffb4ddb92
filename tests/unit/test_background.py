# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_background: work beside the caller, who stays in charge of the time."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._background import each, in_background, until


def test_the_answer_is_there_when_the_work_is_done() -> None:
    go = threading.Event()
    future = in_background(lambda: go.wait(5))
    assert not future.done()
    go.set()
    assert future.result(5) is True


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_what_the_work_raises_is_raised_where_the_answer_is_asked_for(error: BaseException) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        in_background(work).result(5)
    assert raised.value is error


def test_nobody_waits_for_work_that_is_not_wanted_any_more() -> None:
    threads: list[threading.Thread] = []
    in_background(lambda: threads.append(threading.current_thread())).result(5)
    assert threads[0].daemon


def test_items_come_as_they_come() -> None:
    assert list(until(time.monotonic() + 5, iter([1, None, 3]))) == [1, None, 3]


def test_the_deadline_ends_it_while_an_item_is_awaited() -> None:
    never = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        never.wait(10)
        yield 2

    began = time.monotonic()
    assert list(until(began + 0.2, items())) == [1]
    assert 0.15 < time.monotonic() - began < 2
    never.set()


def test_the_deadline_ends_it_though_items_keep_coming() -> None:
    def items() -> Iterator[float]:
        while True:
            yield time.monotonic()
            time.sleep(0.01)

    began = time.monotonic()
    assert all(item < began + 0.5 for item in until(began + 0.2, items()))
    assert time.monotonic() - began < 2


def test_after_the_deadline_there_is_nothing() -> None:
    assert list(until(time.monotonic() - 1, iter([1, 2]))) == []


def test_a_source_that_breaks_ends() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("cut")

    began = time.monotonic()
    assert list(until(began + 10, items())) == [1]
    assert time.monotonic() - began < 5


def test_a_source_that_is_not_wanted_any_more_is_read_no_further() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            for number in range(10**9):
                yield number
                time.sleep(0.001)
        finally:
            closed.set()

    for item in until(time.monotonic() + 5, items()):
        assert item == 0
        break
    assert closed.wait(5)


def test_each_is_worked_within_the_limit_and_the_results_are_in_order() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return item * item

    assert each(work, range(20), 4) == [item * item for item in range(20)]
    assert 1 < most <= 4
    assert each(work, [], 4) == []


def test_an_exception_of_one_is_raised_again_when_those_that_run_have_ended() -> None:
    ended = []

    def work(item: int) -> None:
        if not item:
            time.sleep(0.05)  # by then the other one has begun
            raise OSError("broken")
        time.sleep(0.1)
        ended.append(item)

    with pytest.raises(OSError, match="broken"):
        each(work, range(100), 2)
    assert ended == [1]


def began(items: int, concurrency: int) -> list[float]:
    """When each of them began, since the first, with 0.4 s for those who work on them to begin.

    Those that work at the same time end at the same time, as those of a hub do that has much to do.
    """
    moments: list[float] = []

    def work(number: int) -> int:
        moments.append(time.monotonic())
        time.sleep(1 - (moments[-1] - moments[0]) % 0.5)
        return number

    assert each(work, range(items), concurrency, spread=0.4) == list(range(items))
    return [moment - min(moments) for moment in sorted(moments)]


def test_many_that_take_their_time_begin_one_after_the_other() -> None:
    found = began(17, 4)
    # Most of them, on a machine that may be busy.
    assert statistics.median(later - earlier for earlier, later in pairwise(found)) > 0.04
    assert found[3] < 0.7


def test_a_few_begin_together() -> None:
    assert began(16, 4)[3] < 0.2


def test_nobody_waits_to_begin_where_nothing_is_left() -> None:
    start = time.monotonic()
    for _time in range(200):
        assert each(lambda number: number, range(25), 5, spread=60) == list(range(25))
    assert time.monotonic() - start < 30


def test_nobody_waits_to_begin_where_one_has_failed() -> None:
    def work(_number: int) -> None:
        raise ValueError("no")

    start = time.monotonic()
    with pytest.raises(ValueError, match="no"):
        each(work, range(25), 5, spread=60)
    assert time.monotonic() - start < 30
