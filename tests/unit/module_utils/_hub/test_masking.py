# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How secrets are masked in a result."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.masking import WHOLE_SECRET, mask

STARS = "*" * 8


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("hunter2pw", WHOLE_SECRET),
        ("is hunter2pw, or hunter2pw", f"is {STARS}, or {STARS}"),
        ("hunter2pwhunter2pw", STARS * 2),
        ("hunter", "hunter"),
        ("hunter2pw-and-more!", f"{STARS}!"),
        (["hunter2pw", ("hunter2pw",)], [WHOLE_SECRET, [WHOLE_SECRET]]),
        ({"hunter2pw": {"a": "x hunter2pw"}}, {"hunter2pw": {"a": f"x {STARS}"}}),
        (4711, WHOLE_SECRET),
        (47.11, 47.11),
        (3.4711, WHOLE_SECRET),
        (True, True),
        (None, None),
        ("", ""),
        # `printable` cuts long texts
        ("the key hunter2...", f"the key {STARS}..."),
        ("the key hun...", "the key hun..."),
        ("hunte.... and hunter...", f"{STARS}.... and {STARS}..."),
    ],
)  # fmt: skip
def test_a_secret_is_masked(value: Any, masked: Any) -> None:
    assert mask(value, {"hunter2pw", "hunter2pw-and-more", "4711", ""}) == masked


def test_a_value_without_a_secret_stays_the_same() -> None:
    value = {"a": [1, 2.5, True, None, "text..."], "b": {"c": []}}
    assert mask(value, set()) == value
    assert mask(value, {"hunter2pw"}) == value


def test_a_deep_value_is_masked() -> None:
    deep: Any = "hunter2pw"
    for _level in range(100_000):
        deep = [deep]
    assert "hunter2pw" not in str(mask(deep, {"hunter2pw"}))
