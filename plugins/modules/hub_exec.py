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
  - Starts a kernel in the server, runs the code in the kernel, and always deletes the kernel at the end.
  - The execution ends when the kernel has replied and is idle.
  - The task fails if the code raises an exception or if the kernel dies.
  - If the kernels of the server do not work, the task fails with the code V(kernel_failed). If the process of the
    kernel does not start, the message names the command that the kernel spec starts.
  - The module uses the default kernel of the server.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  user:
    description:
      - The name of the user who owns the server. The server must be running. To start it, use
        M(hubops.jupyterhub.hub_server).
    type: str
    required: true
  server_name:
    description: The name of a named server. If empty, the server is the user's default server.
    type: str
    default: ""
  code:
    description: The code to run, in the language of the server's default kernel.
    type: str
    required: true
  timeout:
    description:
      - How long the task may take, from the first request to the end of the code, in seconds or with a unit, for
        example V(90s) or V(10m).
      - This time includes the start of the kernel. O(request_timeout) does not limit the start.
    type: str
    default: 1m
requirements:
  - websocket-client
notes:
  - The token needs the scope C(read:servers) for the user. If the token has this scope only for the server, the hub
    hides the user.
  - The token also needs the scope C(access:servers) for the server. No other scope includes C(access:servers).
  - The code cannot read input. C(input()) raises an exception.
  - In check mode, the module starts no kernel and runs no code.
  - A Jupyter server drops output that arrives too fast. The code continues and the task does not fail, but
    RV(truncated) is V(true).
seealso:
  - module: hubops.jupyterhub.hub_server
    description: Starts, stops and removes servers.
  - module: hubops.jupyterhub.hub_verify
    description: Verifies a hub, its tokens, and what works in its servers.
  - name: Write your own check
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/own_checks.rst
    description: Shows how to check what only your hub has.
extends_documentation_fragment:
  - hubops.jupyterhub.hub
  - hubops.jupyterhub.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: The module cannot know what the code changes.
  idempotent:
    support: none
    details: The module runs the code every time, as ansible.builtin.command runs its command.
"""

EXAMPLES = r"""
- name: Start the server
  hubops.jupyterhub.hub_server:
    user: alice

- name: Run code in the server
  hubops.jupyterhub.hub_exec:
    user: alice
    code: |
      import platform
      print(platform.python_version())
      6 * 7
  register: ran

- name: Check the output and the result
  ansible.builtin.assert:
    that:
      - ran.result == "42"
      - ran.stdout is match("3[.]")
"""

RETURN = r"""
stdout:
  description: What the code wrote to its standard output. A failed task returns the output up to the failure.
  returned: always
  type: str
stdout_lines:
  description: The lines of RV(stdout).
  returned: always
  type: list
  elements: str
stderr:
  description: What the code wrote to its standard error.
  returned: always
  type: str
stderr_lines:
  description: The lines of RV(stderr).
  returned: always
  type: list
  elements: str
result:
  description:
    - The value of the last expression of the code as plain text (C(text/plain)).
    - If the kernel does not return this value, the result is the text that the code displayed last. V(null) if there is
      neither.
  returned: always
  type: str
error:
  description: The exception that the code raised. V(null) if it raised none.
  returned: always
  type: dict
  contains:
    ename:
      description: The class of the exception.
      type: str
    evalue:
      description: The message of the exception.
      type: str
    traceback:
      description: The lines of the traceback, without the colour codes of a terminal.
      type: list
      elements: str
truncated:
  description:
    - Whether the server dropped output that arrived too fast. The limit is the server's C(iopub_data_rate_limit), about
      3 MB in 3 s.
  returned: always
  type: bool
seconds:
  description: How long the task took, including the start of the kernel.
  returned: always
  type: float
actions:
  description: What the task did, or what it would do in check mode. The notes describe the items.
  returned: success
  type: list
  elements: dict
  sample: [{verb: execute, object: "code in the server of user 'alice'", why: a task that runs code runs it every
    time}]
failure:
  description: Why the task failed. The notes describe its keys.
  returned: failure
  type: dict
  sample:
    code: invalid
    message: "The code raised ModuleNotFoundError: No module named 'torch'."
    status: null
    method: null
    url: null
    hint: "Fix the code, or what it needs on the server; error.traceback says where it happened."
"""

from typing import Any

from ..module_utils._ansible import HubModule, run_module
from ..module_utils._exec.flow import ExecFlow, ExecSpec
from ..module_utils._hub.client import HubClient
from ..module_utils._hub.connection import parse_duration
from ..module_utils._path.plan import Report


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> ExecFlow:
    wanted = ExecSpec(
        user=options["user"],
        server_name=options["server_name"],
        code=options["code"],
        timeout=parse_duration(options["timeout"], "timeout"),
    )
    return ExecFlow(hub, wanted, report)


MODULE = HubModule(
    options={
        "user": {"type": "str", "required": True},
        "server_name": {"type": "str", "default": ""},
        "code": {"type": "str", "required": True},
        "timeout": {"type": "str", "default": "1m"},
    },
    flow=flow,
)


def main() -> None:
    run_module(MODULE)


if __name__ == "__main__":
    main()
