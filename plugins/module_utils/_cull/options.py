# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that `hub_cull` and `hub_drain` have in common. The fragment ``stopping`` describes them to users."""

from __future__ import annotations

from typing import Any

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
