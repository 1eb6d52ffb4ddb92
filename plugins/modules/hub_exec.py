#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_exec
short_description: Run code in a running server of a JupyterHub's user
version_added: 1.0.0
description:
  - Starts a kernel in the server, runs the code in it, and deletes the kernel again, whatever happened.
  - It is done when the kernel has replied and has gone idle. An exception in the code is a failure, and so is a
    kernel that dies. A server whose kernels do not work is told as such, with the code V(kernel_failed), and what its
    kernel spec starts.
  - The kernel is the server's default one.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  user:
    description: Whose server it is. It must be running; see M(hubops.jupyterhub.hub_server).
    type: str
    required: true
  server_name:
    description: The name of a named server. Empty means the user's default server.
    type: str
    default: ""
  code:
    description: The code, in the language of the server's default kernel.
    type: str
    required: true
  timeout:
    description:
      - How long all of it may take, from the first request to the end of the code, in seconds or as V(90s), V(10m). The
        start of the kernel is part of it, however long one request may take otherwise.
    type: str
    default: 1m
requirements:
  - websocket-client
notes:
  - Needs the scope C(read:servers) for the user (not only for the server, or the hub hides the user), and
    C(access:servers) for the server, which is included in no other scope.
  - Nobody answers the code's questions, so C(input()) raises.
  - In check mode no kernel is started and no code runs.
  - A Jupyter server leaves out output that comes too fast. The code goes on and the task does not fail for it, but
    RV(truncated) is true then.
extends_documentation_fragment:
  - hubops.jupyterhub.hub
  - hubops.jupyterhub.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: What code changes cannot be known.
  idempotent:
    support: none
    details: Runs the code each time, as ansible.builtin.command runs its command.
"""

EXAMPLES = r"""
- name: Start the server
  hubops.jupyterhub.hub_server:
    user: alice

- name: Run code in it
  hubops.jupyterhub.hub_exec:
    user: alice
    code: |
      import platform
      print(platform.python_version())
      6 * 7
  register: ran

- name: Compare what it said
  ansible.builtin.assert:
    that:
      - ran.result == "42"
      - ran.stdout is match("3[.]")
"""

RETURN = r"""
stdout:
  description: What the code printed. It is there on failure, too, up to then.
  returned: always
  type: str
stdout_lines:
  description: The same, by line.
  returned: always
  type: list
  elements: str
stderr:
  description: What the code printed to its standard error.
  returned: always
  type: str
stderr_lines:
  description: The same, by line.
  returned: always
  type: list
  elements: str
result:
  description:
    - The value of the code's last expression as plain text (C(text/plain)), or V(null). Of a kernel that does not tell
      it, what was displayed last.
  returned: always
  type: str
error:
  description: The exception that the code raised, or V(null).
  returned: always
  type: dict
  contains:
    ename:
      description: Its class.
      type: str
    evalue:
      description: Its message.
      type: str
    traceback:
      description: Where it happened, line by line, without a terminal's colours.
      type: list
      elements: str
truncated:
  description:
    - Whether the server left output out, because it came too fast (its C(iopub_data_rate_limit), some 3 MB in 3 s).
  returned: always
  type: bool
seconds:
  description: How long it took, the kernel's start included.
  returned: always
  type: float
actions:
  description: What was done, or in check mode would be. The module's notes describe it.
  returned: success
  type: list
  elements: dict
  sample: [{verb: execute, object: "code in the server of user 'alice'", why: a task that runs code runs it every
    time}]
failure:
  description: Why the task failed. The module's notes describe it.
  returned: failure
  type: dict
  sample:
    code: invalid
    message: "The code raised ModuleNotFoundError: No module named 'torch'."
    status: null
    method: null
    url: null
    hint: "Mend the code, or what it needs on the server; error.traceback tells where it happened."
"""

from typing import Any

from ..module_utils._ansible import Program, run_module
from ..module_utils._exec.flow import ExecFlow, ExecSpec
from ..module_utils._hub.client import HubClient
from ..module_utils._hub.connection import seconds
from ..module_utils._path.plan import Report


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> ExecFlow:
    wanted = ExecSpec(
        user=options["user"],
        name=options["server_name"],
        code=options["code"],
        timeout=seconds(options["timeout"], "timeout"),
    )
    return ExecFlow(hub, wanted, report)


PROGRAM = Program(
    options={
        "user": {"type": "str", "required": True},
        "server_name": {"type": "str", "default": ""},
        "code": {"type": "str", "required": True},
        "timeout": {"type": "str", "default": "1m"},
    },
    flow=flow,
)


def main() -> None:
    run_module(PROGRAM)


if __name__ == "__main__":
    main()
