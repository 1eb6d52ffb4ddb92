# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a hub again and again, until something is there to see."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .errors import HubError

T = TypeVar("T")

PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between two looks: short at first, for fast hubs, and then longer, for slow ones."""


def poll_until(look: Callable[[], T], deadline: float) -> T:
    """Call ``look`` with growing pauses until it returns something truthy, and return that.

    At the ``deadline`` (of `time.monotonic`) it returns the result of the last look. A hub that does not answer may be
    back in a moment. If it is not back at the deadline, its last failure is raised. A look that only the deadline has
    cut short does not count: the look before it does.
    """
    pause, last = PAUSE, list[T]()
    while True:
        failure = None
        try:
            found = look()
            if found:
                return found
            last = [found]
        except HubError as error:
            if not is_hub_away(error):
                raise
            failure = error
            last = last if error.is_cut_short else []
        left = deadline - time.monotonic()
        if left <= 0:
            if failure is not None and not last:
                raise failure
            return last[0]
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE)


def is_hub_away(error: HubError) -> bool:
    """Return whether the hub gave no answer, for example while it restarts, or asks to be called again later."""
    # A 429 for a request that changes something is the hub's own answer: it has no room.
    return error.is_passing and (error.status != 429 or error.method == "GET")
