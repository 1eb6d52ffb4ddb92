# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake of kubernetes.core.k8s that records its calls instead of talking to a cluster.

It appends each call as a line of JSON to the file that RECORDED_KUBERNETES names. A definition that it has recorded
before changes nothing. If REFUSING_KUBERNETES is set, it refuses every other definition.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        path = Path(os.environ["RECORDED_KUBERNETES"])
        call = json.dumps({**self._task.args, "check_mode": bool(self._task.check_mode)})
        calls = path.read_text().splitlines() if path.exists() else []
        if call not in calls and os.environ.get("REFUSING_KUBERNETES"):
            return {**result, "failed": True, "msg": "Forbidden: secrets is forbidden."}
        path.write_text("\n".join([*calls, call]) + "\n")
        return {**result, "changed": call not in calls, "result": {}}
