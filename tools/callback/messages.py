# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tools/verify shows of a play: the messages of debug tasks as plain lines, and failures."""

from __future__ import annotations

from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: messages
type: stdout
short_description: Shows messages and failures only
description: Shows the messages of debug tasks, one line each, and failures. It shows no names of tasks and no recap.
"""


class CallbackModule(CallbackBase):
    """Reads only attributes of a result that ansible-core 2.16 has, too."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "messages"

    def v2_runner_on_ok(self, result: Any) -> None:
        if result._task.action not in ("debug", "ansible.builtin.debug"):
            return
        message = result._result.get("msg", "")
        for line in message if isinstance(message, list | tuple) else [message]:
            self._display.display(str(line))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._show_failure(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        if not result._task.ignore_errors:
            self._show_failure(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        if not result._task.ignore_unreachable:
            self._show_failure(result)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._display.display("No host of the inventory is part of the play.", color="red")

    def _show_failure(self, result: Any) -> None:
        message = result._result.get("msg") or result._result.get("censored") or "Run this with -v to see why."
        self._display.display(f"{result._host.get_name()}, {result._task.get_name()}: {message}", color="red")
