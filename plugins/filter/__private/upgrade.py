# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role upgrade, as filters for its tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...plugin_utils._roles import upgrade, upgrade_files, upgrade_report, upgrade_summary


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "_upgrade_folder": upgrade.name_folder,
            "_upgrade_verification": upgrade.find_verification,
            "_upgrade_read_hosts": upgrade_report.read_hosts,
            "_upgrade_collect": upgrade_report.collect,
            "_upgrade_file": upgrade_files.file_content,
            "_upgrade_stats": upgrade_summary.stats,
            "_upgrade_table": upgrade_summary.table,
            "_upgrade_host_failure": upgrade_summary.host_failure,
        }
