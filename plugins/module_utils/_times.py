# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's times.

This file is private to the collection: it may change without notice.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone


def moment(text: object) -> float | None:
    """A time as the hub writes it (ISO 8601, UTC) in seconds since 1970; None where it is none.

    Python 3.10 reads neither the Z nor a fraction of other than three or six digits.
    """
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|\+00:00)?", str(text))
    if not match:
        return None
    try:
        whole = datetime.fromisoformat(match[1]).replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None
    return whole + float(match[2] or 0)


def stamp(seconds: float) -> str:
    """Seconds since 1970 as a time that people read."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
