# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_server/gate: starts for which a hub has no room wait their turn, in their order, and none waits for ever."""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import polling
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.threads import in_background
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.gate import Place, StartGate, StartQueue
from hypothesis import given
from hypothesis import strategies as st

LONG = 120.0
"""Seconds. What waits although it should not takes longer than that here."""
LONGEST_PAUSE = 30.0


# The decisions, against a simulated hub with a clock of its own


@dataclass
class SimulatedHub:
    """A hub with room for so many starts at a time, and a task that starts servers on it through a `StartQueue`.

    ``lengths`` are the seconds of each start. ``occupied`` returns how many starts of others are under way at a time.
    ``delay`` returns the seconds that a request or an answer is on its way.
    """

    room: int
    lengths: list[float]
    retry_after: float | None
    occupied: Callable[[float], int] = lambda now: 0
    delay: Callable[[], float] = lambda: 0.0
    fails: set[int] = field(default_factory=set)
    """The starts that the hub refuses for another reason, so that the task does not ask again."""
    queue: StartQueue = field(default_factory=StartQueue)
    under_way: int = 0
    asked: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    end: float = 0.0

    def run(self, longest: float = 100_000.0) -> None:
        """Start all servers. Fails if the task has not ended after so many seconds."""
        gate: Any = None
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.order = count()
        self.ended = 0
        for number in range(len(self.lengths)):
            self.queue.join(Place(gate, number))
        now = 0.0
        while self.ended < len(self.lengths):
            while (place := self.queue.admit(now)) is not None:
                self.ask(place, now)
            times = [self.events[0][0]] if self.events else []
            # The first one wakes up when it may ask for more room.
            times += [self.queue.ask_time] if self.queue.waiting and self.queue.ask_time > now else []
            assert times, "all wait, and nothing will ever happen"
            now = min(times)
            assert now < longest, "a start waits for ever"
            while self.events and self.events[0][0] <= now:
                heapq.heappop(self.events)[2](now)
        self.end = now

    def at(self, when: float, do: Callable[[float], None]) -> None:
        heapq.heappush(self.events, (when, next(self.order), do))

    def ask(self, place: Place, now: float) -> None:
        self.asked.append(place.number)
        self.at(now + self.delay(), lambda then: self.decide(place, then))

    def decide(self, place: Place, now: float) -> None:
        answered = now + self.delay()
        if place.number in self.fails:
            self.at(answered, lambda then: self.finish(place))
        elif self.under_way + self.occupied(now) >= self.room:
            self.at(answered, lambda then: self.refuse(place, then))
        else:
            self.under_way += 1
            self.accepted.append(place.number)
            self.at(answered, lambda then: self.queue.accept(place, then))
            self.at(now + self.lengths[place.number], lambda then: self.release(place, then))

    def refuse(self, place: Place, now: float) -> None:
        self.queue.refuse(place, self.retry_after, now)
        self.queue.join(place)

    def release(self, place: Place, now: float) -> None:
        self.under_way -= 1
        # The task sees the end of a start after the answer to its request.
        self.at(now + self.delay() * 2, lambda then: self.finish(place))

    def finish(self, place: Place) -> None:
        self.queue.leave(place)
        self.ended += 1


def schedule_greedily(room: int, lengths: list[float]) -> float:
    """Return when the last start ends if each begins, in order, as soon as there is room for it."""
    free = [0.0] * room
    for length in lengths:
        heapq.heappush(free, heapq.heappop(free) + length)
    return max(free)


LENGTHS = st.lists(st.floats(0.5, 60.0), min_size=1, max_size=40)
ROOMS = st.integers(1, 8)
RETRIES = st.sampled_from([None, 0.0, 1.0, 45.0, 600.0])


@given(ROOMS, LENGTHS, RETRIES)
def test_starts_follow_each_other_without_a_gap_and_in_their_order(
    room: int, lengths: list[float], retry_after: float | None
) -> None:
    hub = SimulatedHub(room, lengths, retry_after)
    hub.run()
    assert hub.accepted == sorted(hub.accepted) == list(range(len(lengths)))
    assert hub.end == pytest.approx(schedule_greedily(room, lengths))
    # All ask at first. Then each request that is not needed asks for more room, which is seldom.
    refused_at_first = max(0, len(lengths) - room)
    needless = len(hub.asked) - len(lengths) - refused_at_first
    assert needless <= (6 + hub.end / LONGEST_PAUSE if refused_at_first else 0)


@given(ROOMS, LENGTHS, RETRIES, st.lists(st.tuples(st.floats(1.0, 200.0), st.integers(0, 8)), max_size=5))
def test_no_start_waits_for_ever_if_others_use_the_room(
    room: int, lengths: list[float], retry_after: float | None, uses: list[tuple[float, int]]
) -> None:
    """``uses`` are the seconds for which others use so many places, one after the other. Then they use none."""

    def occupied(now: float) -> int:
        for seconds, places in uses:
            if now < seconds:
                return places
            now -= seconds
        return 0

    hub = SimulatedHub(room, lengths, retry_after, occupied)
    hub.run()
    assert sorted(hub.accepted) == list(range(len(lengths)))
    busy = sum(seconds for seconds, _places in uses)
    # As soon as nobody else uses it, the task learns of the whole room within one pause.
    longest_pause = max(retry_after or 0.0, LONGEST_PAUSE)
    assert hub.end <= busy + longest_pause + schedule_greedily(room, lengths) + max(lengths)
    # Each request that is refused came after an own start that has ended, or after a pause.
    pauses = hub.end / max(retry_after or 0.0, polling.LONGEST_PAUSE)
    assert len(hub.asked) <= 2 * len(lengths) + pauses + 2


@given(ROOMS, LENGTHS, RETRIES, st.integers(), st.sets(st.integers(0, 39)))
def test_answers_that_are_late_and_starts_that_fail_leave_nobody_behind(
    room: int, lengths: list[float], retry_after: float | None, seed: int, fails: set[int]
) -> None:
    chance = random.Random(seed)
    hub = SimulatedHub(room, lengths, retry_after, delay=lambda: chance.random() * 3.0, fails=fails)
    hub.run()
    assert sorted([*hub.accepted, *(fails & set(range(len(lengths))))]) == list(range(len(lengths)))
    assert not hub.queue.under_way
    assert not hub.queue.waiting
    # Before the first refusal is known, all may have asked. Then each start asks when another one has ended.
    pauses = hub.end / max(retry_after or 0.0, polling.LONGEST_PAUSE)
    assert len(hub.asked) <= 2 * len(lengths) + pauses + 2


def test_a_hub_with_room_for_all_is_asked_at_once() -> None:
    hub = SimulatedHub(1000, [5.0] * 300, None)
    hub.run()
    assert (hub.end, len(hub.asked)) == (5.0, 300)


def test_a_refused_start_is_the_first_to_ask_again() -> None:
    queue, gate = StartQueue(), Any
    first, second, third = (Place(gate, number) for number in range(3))  # type: ignore[arg-type]
    for place in (first, second, third):
        queue.join(place)
    assert [queue.admit(0.0), queue.admit(0.0)] == [first, second]
    queue.accept(second, 0.0)
    queue.refuse(first, 40.0, 1.0)
    queue.join(first)
    assert queue.waiting == [first, third]
    assert queue.admit(40.9) is None
    # After the time that the hub has named, the first one asks whether there is more room.
    assert queue.admit(41.0) is first
    assert queue.admit(41.0) is None
    queue.accept(first, 42.0)
    assert queue.admit(42.0) is third
    queue.refuse(third, 40.0, 43.0)
    queue.join(third)
    assert queue.admit(44.0) is None
    queue.leave(second)
    assert queue.admit(44.0) is third


def test_a_start_that_ends_while_a_refusal_is_on_its_way_leaves_room() -> None:
    queue, gate = StartQueue(), Any
    first, second = (Place(gate, number) for number in range(2))  # type: ignore[arg-type]
    for place in (first, second):
        queue.join(place)
        assert queue.admit(0.0) is place
    queue.accept(first, 1.0)
    queue.leave(first)
    queue.refuse(second, 600.0, 2.0)
    queue.join(second)
    assert queue.admit(2.0) is second


# The gate itself, with threads


@pytest.fixture
def place() -> Iterator[Place]:
    with StartGate().take_place() as place:
        yield place


@pytest.mark.usefixtures("short_polls")
def test_many_threads_start_servers_where_there_is_room_for_three() -> None:
    gate, hub, total = StartGate(), threading.Semaphore(3), 60
    asked, done = list[int](), list[int]()

    def start(number: int) -> None:
        chance = random.Random(number)
        with gate.take_place() as place:
            while True:
                if not place.wait_for_turn(time.monotonic() + LONG):
                    raise AssertionError("there was room")
                asked.append(number)
                if hub.acquire(blocking=False):
                    break
                place.refuse(60.0)
            if number % 7 == 0:
                hub.release()
                raise ZeroDivisionError
            place.accept()
            time.sleep(chance.random() * 0.02)
            hub.release()
            place.end()
            done.append(number)

    works = [in_background(lambda number=number: start(number)) for number in range(total)]  # type: ignore[misc]
    failures = [work.exception(LONG) for work in works]
    assert [type(failure) for failure in failures if failure] == [ZeroDivisionError] * 9
    assert sorted(done) == [number for number in range(total) if number % 7]
    assert len(asked) <= 3 * total


def test_a_start_waits_in_vain_up_to_its_deadline_only() -> None:
    gate = StartGate()
    with gate.take_place() as first, gate.take_place() as second:
        assert first.wait_for_turn(time.monotonic() + LONG)
        first.accept()
        assert second.wait_for_turn(time.monotonic() + LONG)
        second.refuse(LONG)
        assert not second.wait_for_turn(time.monotonic() + 0.05)
        assert second.count_others() == 1
        # It has left the queue, so that others get their turn.
        with gate.take_place() as third:
            first.end()
            assert third.wait_for_turn(time.monotonic() + LONG)
        assert 0 < second.seconds_waited < LONG


def test_nobody_waits_if_the_time_is_too_short_anyway(place: Place) -> None:
    assert place.wait_for_turn(time.monotonic() + LONG)
    place.refuse(2 * LONG)
    began = time.monotonic()
    assert not place.wait_for_turn(began + LONG)
    assert time.monotonic() - began < LONG / 2


def test_the_next_ones_do_not_wait_either_if_the_time_is_too_short() -> None:
    gate = StartGate()
    found: list[bool] = []
    with gate.take_place() as first:
        assert first.wait_for_turn(time.monotonic() + LONG)

        def wait() -> None:
            with gate.take_place() as place:
                found.append(place.wait_for_turn(time.monotonic() + LONG))

        first.refuse(2 * LONG)
        waiting = [in_background(wait) for _number in range(5)]
        assert not first.wait_for_turn(time.monotonic() + LONG)
        for each in waiting:
            each.result(LONG / 2)
    assert found == [False] * 5


def test_a_wait_that_is_cancelled_ends_at_once(place: Place) -> None:
    assert place.wait_for_turn(time.monotonic() + LONG)
    place.refuse(None)
    waiting = in_background(lambda: place.wait_for_turn(time.monotonic() + LONG))
    place.cancel()
    assert waiting.result(LONG / 4) is False
    # Nor does it get another turn.
    assert place.wait_for_turn(time.monotonic() + LONG) is False
    assert place.count_others() == 0


def test_an_exception_makes_room() -> None:
    gate = StartGate()

    def fail() -> None:
        with gate.take_place() as place:
            assert place.wait_for_turn(time.monotonic() + LONG)
            place.accept()
            raise ZeroDivisionError

    with gate.take_place() as place:
        failing = in_background(fail)
        assert isinstance(failing.exception(LONG), ZeroDivisionError)
        assert place.wait_for_turn(time.monotonic() + LONG)
        place.refuse(LONG / 2)
        assert place.count_others() == 0


def test_the_first_refusal_of_the_task_is_reported_once() -> None:
    lines: list[str] = []
    gate = StartGate(lines.append)
    for _number in range(3):
        with gate.take_place() as place:
            assert place.wait_for_turn(time.monotonic() + LONG)
            place.refuse(0.0)
    assert lines == ["the hub has no room for more starts at the moment, so they wait their turn"]
