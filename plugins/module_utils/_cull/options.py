# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that `hub_cull` and `hub_drain` have in common. The fragment ``stopping`` describes them to users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._hub.client import PAGE_SIZE
from .._hub.errors import Invalid

_NAMES = {"type": "list", "elements": "str"}

STOPPING_OPTIONS: dict[str, dict[str, Any]] = {
    "exclude_users": {**_NAMES, "default": []},
    "rules": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str"},
            "users": _NAMES,
            "groups": _NAMES,
            "servers": _NAMES,
            "admins": {"type": "bool"},
            "user_options": {"type": "dict"},
            "properties": {"type": "dict"},
            "idle_timeout": {"type": "str"},
            "max_age": {"type": "str"},
            "keep": {"type": "bool", "default": False},
        },
    },
    "stop_timeout": {"type": "str", "default": "2m"},
    "page_size": {"type": "int", "default": 200},
}
"""Their argument spec."""


@dataclass(frozen=True, kw_only=True)
class StoppingOptions:
    """How a task stops servers, apart from its policy. ``stop_timeout`` is in seconds. Raises `Invalid`."""

    recheck: bool = True
    stop_timeout: float = 120.0
    concurrency: int = 10
    page_size: int = PAGE_SIZE

    def __post_init__(self) -> None:
        for option in ("concurrency", "page_size"):
            if getattr(self, option) < 1:
                raise Invalid(f"{option} must be 1 or more.", "Leave it out to use its default.")
