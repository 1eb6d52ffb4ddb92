# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback plugin for tests that writes the whole result of each event to the file that RECORDED_EVENTS names."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: record_events
type: notification
short_description: Every event and its whole result, as JSON
description: Writes one line of JSON for each event into the file that RECORDED_EVENTS names.
author: hubops.jupyterhub contributors (@hubops)
requirements: [that it is enabled]
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "record_events"
    CALLBACK_NEEDS_ENABLED = True

    def record(self, result, **_more):
        line = json.dumps({"task": result._task.get_name(), "result": result._result}, default=repr)
        with open(os.environ["RECORDED_EVENTS"], "a", encoding="utf-8") as file:
            file.write(line + "\n")

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_skipped = v2_runner_on_unreachable = record
    v2_runner_item_on_ok = v2_runner_item_on_failed = v2_runner_item_on_skipped = v2_runner_retry = record
    v2_runner_on_async_poll = v2_runner_on_async_ok = v2_runner_on_async_failed = v2_on_file_diff = record
