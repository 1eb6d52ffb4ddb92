# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes each event's whole result into the file RECORDED_EVENTS: what any callback of a user's would get to see."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: every_event
type: notification
short_description: Every event and its whole result, as JSON
description: Writes one line of JSON for each event into the file that RECORDED_EVENTS names.
author: hubops.jupyterhub contributors (@hubops)
requirements: [that it is enabled]
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "every_event"
    CALLBACK_NEEDS_ENABLED = True

    def v2_on_any(self, *args, **kwargs):
        for event in args:
            result = getattr(event, "_result", None)
            if result is not None:
                line = json.dumps({"task": event._task.get_name(), "result": result}, default=repr)
                with open(os.environ["RECORDED_EVENTS"], "a", encoding="utf-8") as file:
                    file.write(line + "\n")
