# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role idle_culler, as filters for its tasks and templates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...plugin_utils._roles.idle_culler import complaints, files, host_complaints, numbers, service, summary, unit


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "_idle_culler_complaints": complaints,
            "_idle_culler_files": files,
            "_idle_culler_host_complaints": host_complaints,
            "_idle_culler_service": service,
            "_idle_culler_unit": unit,
            "_idle_culler_numbers": numbers,
            "_idle_culler_summary": summary,
        }
