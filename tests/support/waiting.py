# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One function for tests that wait for something they can observe."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any


def wait_until(check: Callable[[], Any], seconds: float = 120) -> Any:
    """Call ``check`` with growing pauses until it returns something true, and return that.

    Raises AssertionError after so many ``seconds``.
    """
    deadline, pause = monotonic() + seconds, 0.02
    while not (result := check()):
        assert monotonic() < deadline, f"still not true after {seconds} s"
        sleep(pause)
        pause = min(pause * 1.5, 0.3)  # a check costs the hub as much as what the test waits for
    return result
