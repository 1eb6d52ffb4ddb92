# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role awx, as filters for its tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...plugin_utils._roles import awx_failures, awx_plan


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "_awx_queries": awx_plan.list_queries,
            "_awx_lookup": awx_plan.name_lookup_options,
            "_awx_present": awx_plan.read_present,
            "_awx_plan": awx_plan.make_plan,
            "_awx_secrets": awx_plan.read_secrets,
            "_awx_failure": awx_failures.describe,
        }
