# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks known secrets in the result of a task, the same on every ansible-core and through both entry points.

Up to ansible-core 2.21, a module's result is masked with ``remove_values``. From 2.22 on, Ansible masks what it shows,
and does not change a result. Ansible 2.25 has no ``remove_values``. A registered result is often written into files,
so it must not contain a secret on any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .responses import limit_depth
from .secret_values import STARS

WHOLE_SECRET = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
"""Stands for a value that is a secret and nothing else. Users know this text of Ansible's from other modules."""

MIN_TOKEN_LENGTH = 8
"""Characters. A hub accepts no shorter token (``APIToken.new`` in its orm.py). A shorter secret may be a word, and to
mask a word would make other texts unreadable."""

_MIN_PIECE = 4
"""Characters. `mask` masks a piece of a secret that has at least this length. A shorter piece occurs in many words."""


def mask(value: Any, secrets: Iterable[str]) -> Any:
    """Return the value as a result shows it: with the secrets masked, and no deeper than `limit_depth` allows.

    Keys of dictionaries stay as they are, because tasks look results up by them.

    `printable` may cut a text in the middle of a secret, and writes ``...`` there. The piece of the secret before the
    ``...`` is masked, too.
    """
    # A secret may be a part of another one, so the longest comes first.
    return _mask_value(limit_depth(value), sorted(filter(None, secrets), key=len, reverse=True))


def _mask_value(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        return _mask_text(value, secrets)
    if isinstance(value, list):
        return [_mask_value(item, secrets) for item in value]
    if isinstance(value, dict):
        return {name: _mask_value(item, secrets) for name, item in value.items()}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # A password of digits may come back as a number.
        return WHOLE_SECRET if any(secret in str(value) for secret in secrets) else value
    return value


def _mask_text(text: str, secrets: list[str]) -> str:
    if text in secrets:
        return WHOLE_SECRET
    for secret in secrets:
        text = text.replace(secret, STARS)
    for cut in reversed(list(re.finditer(r"\.{3,}", text))):
        before = text[: cut.start()]
        size = max((_count_overlap(before, secret) for secret in secrets), default=0)
        if size >= _MIN_PIECE:
            text = f"{before[:-size]}{STARS}{text[cut.start() :]}"
    return text


def _count_overlap(text: str, secret: str) -> int:
    """Return how many of the secret's first characters the text ends with. It does not count the whole secret."""
    return next((size for size in range(len(secret) - 1, 0, -1) if text.endswith(secret[:size])), 0)
