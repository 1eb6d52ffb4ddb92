# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate for the starts of one task: if the hub has room for few starts at a time, the others wait their turn.

A hub with a `concurrent_spawn_limit` answers 429 to a start for which it has no room, and so does a proxy that limits
requests. The hub's Retry-After is a guess of 30 to 60 seconds (`spawn_throttle_retry_range` of its app.py). The task
knows better when there is room again: when one of its own starts has ended.
"""

from __future__ import annotations

import threading
import time
from bisect import insort
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import count
from math import inf

from .._hub import polling
from .._hub.threads import wait_for

_LONGEST_PAUSE = 30.0
"""Seconds between two questions for more room, if the hub names no longer time."""
_MOST_DOUBLINGS = 10
"""How often the pause between two questions for more room doubles at most."""


class Place:
    """The place of one start at the gate. Its ``number`` is its rank among those that wait."""

    def __init__(self, gate: StartGate, number: int) -> None:
        self.number = number
        self.ends_before = 0
        """How many starts of the task had ended when this one was last let in."""
        self.changed: Future[None] = Future()
        """Is done when this start may have to act."""
        self.is_cancelled = False
        self.is_refused = False
        """Whether the hub has refused this start since it asked last. It waits already then."""
        self.seconds_waited = 0.0
        """For how long this start has waited for its turn."""
        self._gate = gate

    def wait_for_turn(self, deadline: float) -> bool:
        """Wait until this start may ask the hub. If it was under way, it has ended.

        Returns False if there is no room before the ``deadline`` (of `time.monotonic`), or after `cancel`.
        """
        return self._gate.wait_for_turn(self, deadline)

    def accept(self) -> None:
        """Record that the hub has begun this start."""
        self._gate.accept(self)

    def refuse(self, retry_after: float | None) -> None:
        """Record that the hub has no room for this start. ``retry_after`` is the time that it names, in seconds."""
        self._gate.refuse(self, retry_after)

    def end(self) -> None:
        """Record that this start is over, however it has ended, or that it asks for nothing more."""
        self._gate.end(self)

    def cancel(self) -> None:
        """End the wait of this start at once. Another thread may call this."""
        self._gate.cancel(self)

    def count_others(self) -> int:
        """Return how many other starts of the task are under way."""
        return self._gate.count_others(self)

    def note_change(self) -> None:
        if not self.changed.done():
            self.changed.set_result(None)


class StartQueue:
    """Decides which start asks the hub next. It has no clock: ``now`` is a time of the caller's clock, in seconds.

    Until the hub refuses a start, each start asks at once. Then as many starts may be under way as were under way at
    the refusal, and the next one asks when one of them has ended. Others may use a part of the room. So the first start
    asks for more room after the time that the hub names, or after a growing pause. If the hub has more room, the next
    start asks for more at once.
    """

    def __init__(self) -> None:
        self.waiting: list[Place] = []
        self.under_way = set[Place]()
        """The starts that have asked, and were neither refused nor are over."""
        self.ask_time = -inf
        """From when the first start may ask for more room."""
        self._room = inf
        """How many starts of this task the hub has room for, as far as the task knows."""
        self._ends = 0
        """How many starts of the task have ended."""
        self._probe: Place | None = None
        """The start that asks for more room at the moment."""
        self._failed_probes = 0
        """How often in a row the hub had no more room."""

    def join(self, place: Place) -> None:
        """Let the start wait, before all others with a higher number. If it was under way, it has ended."""
        self.leave(place)
        insort(self.waiting, place, key=lambda one: one.number)

    def admit(self, now: float) -> Place | None:
        """Let the first start ask if it may. Return it, or None."""
        has_room = len(self.under_way) < self._room
        may_probe = self._probe is None and now >= self.ask_time
        if not self.waiting or not (has_room or may_probe):
            return None
        place = self.waiting.pop(0)
        place.ends_before = self._ends
        self.under_way.add(place)
        self._probe = self._probe if has_room else place
        return place

    def accept(self, place: Place, now: float) -> None:
        """Record that the hub has begun this start. If it has asked for more room, the next one may do so at once."""
        if place is self._probe:
            self._probe, self._failed_probes = None, 0
            self._room, self.ask_time = self._room + 1, now

    def refuse(self, place: Place, retry_after: float | None, now: float) -> None:
        """Record that the hub has no room for this start, which has asked. `join` then lets it wait again."""
        was_under_way = place in self.under_way
        self.under_way.discard(place)
        if place is self._probe:
            self._probe = None
            self._failed_probes += 1
        elif was_under_way and self._room < inf:
            self._room -= 1  # others use it
        elif was_under_way:
            # A start that has ended since this one asked may have been under way when the hub refused this one.
            self._room = len(self.under_way) + self._ends - place.ends_before
        # The hub names whole seconds. Its 0 means "soon", and not "again and again without a pause".
        pause = max(retry_after or 0.0, polling.LONGEST_PAUSE)
        if retry_after is None or self.under_way:
            # While starts of this task are under way, their ends show that there is room. So a short time that the hub
            # names does not matter then.
            grown = pause * 2 ** min(self._failed_probes, _MOST_DOUBLINGS)
            pause = max(pause, min(grown, _LONGEST_PAUSE))
        self.ask_time = now + pause

    def leave(self, place: Place) -> None:
        """Record that this start is over, or that it no longer waits."""
        if place in self.under_way:
            self.under_way.remove(place)
            self._ends += 1
        elif place in self.waiting:
            self.waiting.remove(place)
        self._probe = None if place is self._probe else self._probe

    def may_wait(self, place: Place, deadline: float) -> bool:
        """Return whether this start can get its turn before the ``deadline``. It may still wait in vain."""
        is_first = bool(self.waiting) and self.waiting[0] is place
        return not is_first or bool(self.under_way) or self.ask_time < deadline


class StartGate:
    """Lets the starts of one task ask a hub in their order. Many threads use it.

    ``report`` takes a line when the hub refuses a start for the first time.
    """

    def __init__(self, report: Callable[[str], None] | None = None) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._queue = StartQueue()
        self._numbers = count()

    @contextmanager
    def take_place(self) -> Iterator[Place]:
        """Give a start its place for the time of the block, after which it is over."""
        place = Place(self, next(self._numbers))
        try:
            yield place
        finally:
            self.end(place)

    # What a `Place` does

    def wait_for_turn(self, place: Place, deadline: float) -> bool:
        with self._lock:
            if not place.is_refused:
                self._queue.join(place)
            place.is_refused = False
        while True:
            with self._lock:
                self._let_in()
                now = time.monotonic()
                if place in self._queue.under_way and not place.is_cancelled:
                    return True
                if place.is_cancelled or now >= deadline or not self._queue.may_wait(place, deadline):
                    self._queue.leave(place)
                    self._let_in()
                    return False
                place.changed = Future()
                is_first = self._queue.waiting[0] is place
                wake_time = min(deadline, self._queue.ask_time if is_first and now < self._queue.ask_time else inf)
                changed = place.changed
            wait_for([changed], wake_time - now)
            place.seconds_waited += time.monotonic() - now

    def accept(self, place: Place) -> None:
        with self._lock:
            self._queue.accept(place, time.monotonic())
            self._let_in()

    def refuse(self, place: Place, retry_after: float | None) -> None:
        with self._lock:
            self._queue.refuse(place, retry_after, time.monotonic())
            # At once, so that no start behind it asks first.
            self._queue.join(place)
            place.is_refused = True
            self._let_in()
            report, self._report = self._report, None
        if report is not None:
            report("the hub has no room for more starts at the moment, so they wait their turn")

    def end(self, place: Place) -> None:
        with self._lock:
            self._queue.leave(place)
            self._let_in()

    def cancel(self, place: Place) -> None:
        with self._lock:
            place.is_cancelled = True
            place.note_change()

    def count_others(self, place: Place) -> int:
        with self._lock:
            return len(self._queue.under_way - {place})

    def _let_in(self) -> None:
        """Wake those who may ask now, and the first of those who wait, whose time to ask may have changed."""
        now = time.monotonic()
        while (place := self._queue.admit(now)) is not None:
            place.note_change()
        if self._queue.waiting:
            self._queue.waiting[0].note_change()
