# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role verify, as filters for its tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...plugin_utils._roles import (
    verify,
    verify_files,
    verify_merge,
    verify_merge_files,
    verify_report,
    verify_stats,
    verify_summary,
    verify_uploads,
)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "_verify_list_checks": verify.list_checks,
            "_verify_read_hosts": verify_report.read_hosts,
            "_verify_collect": verify_report.collect,
            "_verify_file": verify_files.file_content,
            "_verify_stats": verify_stats.stats,
            "_verify_table": verify_summary.table,
            "_verify_read_reports": verify_merge_files.read_reports,
            "_verify_merge": verify_merge.merge,
            "_verify_merge_failure": verify_merge.merge_failure,
            "_verify_host_failure": verify_summary.host_failure,
            "_verify_uploads_mistake": verify_uploads.find_mistake,
            "_verify_uploads_list": verify_uploads.list_requests,
            "_verify_uploads_repeat": verify_uploads.may_repeat,
            "_verify_uploads_places": verify_uploads.places_text,
            "_verify_uploads_failure": verify_uploads.add_failure,
        }
