# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""times: any text that the hub returns for a time can be shown."""

from __future__ import annotations

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.times import format_time, parse_time


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-24T08:17:49.877878Z", "2026-11-24 08:17:49 UTC"),
        ("2026-11-24T08:17:49", "2026-11-24 08:17:49 UTC"),
        # In UTC it is outside of Python's calendar.
        ("9999-12-31T23:59:59-01:00", "9999-12-31 23:59:59 UTC"),
        ("0001-01-01T00:00:00+23:59", "0001-01-01 00:00:00 UTC"),
    ],
)
def test_a_time_of_the_hub_s_can_be_shown(text: str, shown: str) -> None:
    found = parse_time(text)
    assert found is not None
    assert format_time(found).zfill(len(shown)) == shown  # some systems leave out the zeros of a year


def test_a_time_that_is_counted_on_can_be_shown() -> None:
    assert format_time(1e15).startswith("9999")
