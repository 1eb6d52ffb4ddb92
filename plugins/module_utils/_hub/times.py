# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the times of a hub, and format times and durations for people."""

from __future__ import annotations

import re
from datetime import datetime, timezone

_FIRST, _LAST = -62135596800, 253402300799
"""The first and the last second of Python's calendar, in seconds since 1970."""


def parse_time(text: object) -> float | None:
    """Return a time of the hub, such as ``2026-11-24T08:17:49.877878Z``, in seconds since 1970.

    A time without a zone is in UTC. Returns None if the value is not a time.
    """
    # `fromisoformat` does not accept the Z before Python 3.11.
    match = re.fullmatch(r"(\d+-\d+-\d+)[T ]([\d:]+)(?:\.(\d{1,6})\d*)?(Z|[+-]\d\d:?\d\d)?", str(text))
    if not match:
        return None
    date, clock, fraction, zone = match.groups()
    try:
        return datetime.strptime(f"{date}T{clock}.{fraction or 0}{zone or 'Z'}", "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    except ValueError:
        return None


def whole_seconds(duration: float | None) -> int | None:
    """Return a duration in whole seconds, or None if it is not known.

    The result is never negative: the hub's clock may be ahead of this machine's.
    """
    return None if duration is None else max(0, int(duration))


def format_time(seconds: float) -> str:
    """Return seconds since 1970 as a time for people. A time outside of Python's calendar becomes its first or last."""
    return datetime.fromtimestamp(min(max(seconds, _FIRST), _LAST), timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def format_duration(seconds: float) -> str:
    """Return a duration for people, in its two largest units: ``3 h 12 min``. A negative duration becomes ``0 s``."""
    left, parts = max(0, int(seconds)), list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        elif parts:
            break  # 1 d 5 s would look more exact than it is
    return " ".join(parts[:2])
