# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role service_account, as filters for its tasks and templates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...plugin_utils._roles.service_account import complaints, complete_accounts, hub_config
from ...plugin_utils._roles.service_account_tokens import progress


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "_service_account_complaints": complaints,
            "_service_account_hub_config": hub_config,
            "_service_account_progress": progress,
            "_service_accounts": complete_accounts,
        }
