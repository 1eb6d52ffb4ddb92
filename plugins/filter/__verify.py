# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role verify, as filters for its tasks.

The two underscores in the file's name keep it out of the lists of ansible-doc and of the plugin index. The underscore
in a filter's name marks the filter as private.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plugin_utils._roles import verify, verify_files, verify_report, verify_summary


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "_verify_list_checks": verify.list_checks,
            "_verify_read_hosts": verify_report.read_hosts,
            "_verify_collect": verify_report.collect,
            "_verify_file": verify_files.file_content,
            "_verify_stats": verify_summary.stats,
            "_verify_table": verify_summary.table,
            "_verify_host_failure": verify_summary.host_failure,
        }
