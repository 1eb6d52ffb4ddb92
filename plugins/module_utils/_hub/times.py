# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's times."""

from __future__ import annotations

import re
from datetime import datetime, timezone

_FIRST, _LAST = -62135596800, 253402300799
"""Seconds since 1970: the ends of Python's calendar."""


def moment(text: object) -> float | None:
    """The hub's ``2026-11-24T08:17:49.877878Z`` in seconds since 1970; None for anything that is no time.

    Without a zone it is in UTC.
    """
    # Before Python 3.11 `fromisoformat` knows no Z.
    match = re.fullmatch(r"(\d+-\d+-\d+)[T ]([\d:]+)(?:\.(\d{1,6})\d*)?(Z|[+-]\d\d:?\d\d)?", str(text))
    if not match:
        return None
    date, clock, fraction, zone = match.groups()
    try:
        return datetime.strptime(f"{date}T{clock}.{fraction or 0}{zone or 'Z'}", "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    except ValueError:
        return None


def stamp(seconds: float) -> str:
    """Seconds since 1970 as a time that people read; the first or the last one of the calendar for what is beyond."""
    return datetime.fromtimestamp(min(max(seconds, _FIRST), _LAST), timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(seconds: float) -> str:
    """A duration as people say it, in its two largest units: ``3 h 12 min``. None is shorter than ``0 s``."""
    left, parts = max(0, int(seconds)), list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        elif parts:
            break  # 1 d 5 s would seem to be more exact than it is
    return " ".join(parts[:2])
