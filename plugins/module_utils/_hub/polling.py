# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read something from a hub again and again, until the hub shows what the caller waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .errors import HubError

T = TypeVar("T")

PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between two calls: the first pause is short, for fast hubs. Later pauses are longer, for slow hubs."""


def poll_until(look: Callable[[], T], deadline: float) -> T:
    """Call ``look`` with growing pauses until it returns something truthy, and return that.

    At the ``deadline`` (of `time.monotonic`) this returns the result of the last call. A hub that does not answer may
    be back in a moment, so `is_hub_away` failures do not end the wait. If the last call before the deadline failed so,
    its failure is raised. If only the deadline has cut that call short, the result of an earlier call is returned, if
    there is one.
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
