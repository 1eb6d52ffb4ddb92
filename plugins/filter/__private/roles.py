# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions that several roles have in common, as filters for their tasks and templates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...plugin_utils._roles import checks


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "_roles_given": checks.given,
        }
