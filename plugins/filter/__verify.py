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

from ..plugin_utils._roles import verify


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "_verify_is_due": verify.is_due,
            "_verify_step_result": verify.step_result,
            "_verify_check_hub": verify.check_hub,
            "_verify_check_token": verify.check_token,
            "_verify_required_scopes": verify.required_scopes,
            "_verify_check_not_running": verify.check_not_running,
            "_verify_check_started": verify.check_started,
            "_verify_check_output": verify.check_output,
            "_verify_check_stopped": verify.check_stopped,
            "_verify_check_removed": verify.check_removed,
            "_verify_report": verify.report,
            "_verify_failure_message": verify.failure_message,
            "_verify_summary": verify.summary,
            "_verify_junit": verify.junit,
        }
