#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_verify
short_description: Verify that a JupyterHub works, from its login page to the code of a user
version_added: 1.0.0
description:
  - Verifies one hub. The task first checks the hub itself, and then starts servers of users and checks what works in
    them. It takes many checks at the same time.
  - Each step is a I(phase) with a verdict. The phases of the hub are V(hub), V(login), V(services) and V(token). The
    phases of a check are V(start), then one for each thing to prove, and V(stop).
  - The phase V(token) reads the scopes of each token. It names all scopes that are missing for all that is asked,
    before anything starts.
  - A phase that fails ends its own check, and no other check. The task fails at its end if a phase has failed.
  - The task stops each server that it has started, whatever happens. See the notes.
  - The options of one check are options of the task. For several checks, use O(checks).
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  <<: &check
    name:
      description:
        - The name of the check in the result and in reports.
        - If not set, it is the name of the server, for example V(alice) or V(alice/gpu).
      type: str
    user:
      description: The name of the user who owns the server. If not set, it is the owner of the token.
      type: str
    server_name:
      description: The name of a named server. If not set or empty, the server is the user's default server.
      type: str
    user_options:
      description:
        - The options for the spawner, as in M(hubops.jupyterhub.hub_server).
        - If not set, the hub reuses the options of the server's last start.
      type: dict
    options_format:
      description:
        - The format in which the module sends O(user_options), as in M(hubops.jupyterhub.hub_server). The default is
          V(auto).
      type: str
      choices: [auto, wrapped, flat]
    wait_timeout:
      description:
        - How long the start of the server may take, and how long its stop may take. The value is in seconds or has a
          unit, for example V(90s) or V(10m). The default is V(5m).
        - If the hub has no room for another start, the start waits its turn within this time.
      type: str
    warn_after:
      description:
        - If the start takes longer than this, the phase V(start) has the verdict V(warned). The value is in seconds or
          has a unit. The time until the hub has room for the start does not count.
      type: str
    if_running:
      description:
        - What to do if the server is already running or starting.
        - V(fail), the default, fails and leaves the server as it is, because a start would prove nothing.
        - V(stop) stops the server, and then starts it. Use it for accounts that nobody else uses.
        - V(use) proves everything in the running server, and leaves it running.
      type: str
      choices: [fail, stop, use]
    keep_running:
      description:
        - Whether to leave the server running at the end of the check. The default is V(false).
      type: bool
    timeout:
      description:
        - How long each proof in the server may take, unless it has a time of its own. The value is in seconds or has a
          unit. The default is V(1m). It includes the start of a kernel.
      type: str
    kernel_name:
      description:
        - The name of the kernel spec for O(code), O(packages), O(paths) and O(resources). If not set, it is the
          server's default kernel.
      type: str
    page:
      description:
        - Paths of pages of the server, such as V(lab), V(tree), or the link of an extension with its query.
        - Each page must answer through the hub's proxy as the page of that user, and not with a login page. The scripts
          and styles that the page names must load. So a blank page is found without a browser.
      type: list
      elements: str
    code:
      description: Code to run, each item in a kernel of its own. The phase fails if the code raises an exception.
      type: list
      elements: dict
      suboptions:
        code:
          description: The code, in the language of the kernel.
          type: str
          required: true
        expect:
          description: What the code must write. If not set, the code must only raise no exception.
          type: dict
          suboptions:
            stdout: &expectation
              description: What this output must be. Surrounding space does not matter for C(equals).
              type: dict
              suboptions:
                equals:
                  description: The whole text.
                  type: str
                contains:
                  description: A part of the text.
                  type: str
                matches:
                  description: A regular expression of Python that matches a part of the text.
                  type: str
            stderr: *expectation
            result: *expectation
            output: *expectation
        timeout:
          description: How long the kernel and the code may take. If not set, it is the timeout of the check.
          type: str
        kernel_name:
          description: The name of the kernel spec. If not set, it is that of the check.
          type: str
    notebooks:
      description:
        - Notebooks to run, cell by cell, each in a kernel of its own. The phase names the first cell that fails, the
          line of its source, and the traceback.
        - A cell with the tag V(raises-exception) may raise an exception. A cell with the tag V(skip-execution) is left
          out.
      type: list
      elements: dict
      suboptions:
        path:
          description:
            - The path of an C(.ipynb) file of format 4 on the controller. The module looks for a relative path as
              M(ansible.builtin.copy) looks for C(src).
          type: str
          required: true
        content:
          description: The text of the notebook. If not set, the task reads it from the file on the controller.
          type: str
        timeout:
          description: How long the whole notebook may take. If not set, it is V(10m).
          type: str
        cell_timeout:
          description: How long each cell may take. If not set, it is the timeout of the check.
          type: str
        kernel_name:
          description: The name of the kernel spec. If not set, it is the one that the notebook names.
          type: str
    packages:
      description:
        - Python packages that must be there, with versions as in PEP 440, for example V(numpy>=1.26,<3). The kernel
          itself is asked.
      type: list
      elements: str
    paths:
      description: Files and folders that must be there.
      type: list
      elements: dict
      suboptions:
        path:
          description: The path on the server. C(~) is the home of its user.
          type: str
          required: true
        writable:
          description: Whether the path must be writable. The check writes a file into a folder, and removes it.
          type: bool
          default: false
    resources:
      description: What the server must have at least, as the kernel sees it within the limits of its container.
      type: dict
      suboptions:
        memory:
          description: The memory, in bytes or with a unit, for example V(512M) or V(2G). A unit is a power of 1024.
          type: str
        disk:
          description: The free space on the disk of O(resources.disk_path), in bytes or with a unit.
          type: str
        disk_path:
          description: A path on the disk whose free space counts.
          type: str
          default: "~"
        cpus:
          description: The number of CPUs, which may be a fraction.
          type: float
        gpus:
          description: The number of GPUs that C(nvidia-smi) lists.
          type: int
    terminal:
      description: Whether a terminal must run a command. The default is V(false).
      type: bool
    websocket:
      description:
        - Whether a message of 10 MB must come through the websocket of a kernel, in both directions, and the same
          connection must survive O(websocket_idle) without a message. The default is V(false).
      type: bool
    websocket_idle:
      description:
        - How long O(websocket) leaves the connection without a message, in seconds or with a unit. The default is
          V(30s). A proxy that closes idle connections closes those of users who think.
      type: str
    persist:
      description:
        - Whether a file must still be there after the server was stopped and started again. The check writes the file,
          and removes it at its end. The default is V(false).
      type: bool
  expected_version:
    description:
      - The version that the hub must have. It is a whole version such as V(6.1.1), the beginning of one such as V(6.1),
        or a specifier such as V(>=6.1,<7).
      - If the hub has another version, the phase V(hub) fails, and the checks go on.
    type: str
    default: ""
  login_page:
    description:
      - Whether to check that the hub says that it is healthy, and that its login page answers to a visitor without a
        token. A redirect to the login page of another host is followed.
    type: bool
    default: false
  tls_min_days:
    description:
      - For how many days the certificate of O(hub_url) must still be valid. If it ends sooner, the phase V(hub) fails.
      - This requires an O(hub_url) that begins with C(https:), and O(validate_certs=true).
    type: int
  services:
    description:
      - The names of the hub's services that must answer at their address, C(/services/NAME/). A service fails if the
        proxy or the hub answers in its place, or if it answers with a server error.
      - To check a link that opens in a user's server, such as that of nbgitpuller, use O(page).
    type: list
    elements: str
    default: []
  token_min_ttl:
    description:
      - If a token ends sooner than this, the phase V(token) has the verdict V(warned). The value is in seconds or has a
        unit, for example V(7d).
      - The hub shows the end of a token only if the token has the scope C(read:tokens) for its owner.
    type: str
  checks:
    description:
      - A list of checks. Each item has the options of one check. If an item does not set an option, the module uses the
        task's option with the same name.
      - Checks of the same server run one after the other, in their order. Checks of different servers run at the same
        time.
      - If not set, there is one check with the task's own options. If it is an empty list, the task checks the hub and
        the token only.
    type: list
    elements: dict
    suboptions:
      <<: *check
      api_token:
        description:
          - The token of the account of this check. If not set, it is the token of the task.
          - If this token ends while the check runs, the task stops the server with its own token, if that may do so.
        type: str
  concurrency:
    description:
      - How many servers the task checks at the same time.
      - If the hub has room for fewer starts at the same time, the others wait their turn. See
        M(hubops.jupyterhub.hub_server).
    type: int
    default: 10
  deadline:
    description:
      - How long the whole verification may take, in seconds or with a unit, for example V(30m). The start and the stop
        of servers count.
      - When this time is over, the task stops each server that it has started, waits at most a minute for that, and
        ends. The phases that were being taken have failed with the code V(timeout), and the phases after them are
        skipped. Results of phases that are over stay as they are.
      - If not set, only the phases have limits, such as O(wait_timeout), O(timeout) and O(request_timeout).
    type: str
  show_progress:
    description:
      - Whether to show a line for each phase as soon as it ends, if the task runs on a local connection. A phase that
        fails is always shown.
    type: bool
    default: true
requirements:
  - websocket-client for O(code), O(notebooks), O(packages), O(paths), O(resources), O(terminal) and O(websocket)
  - packaging for O(packages), and for O(expected_version) with a specifier
notes:
  - For each check, the token needs the scope C(read:servers) for the user, and the scopes C(start:servers),
    C(delete:servers) and C(access:servers) for the server. Before JupyterHub 6, C(start:servers) is called C(servers).
  - In check mode, the task takes the phases of the hub, and reads the servers. It says what the other phases would do,
    and their verdict is V(skipped).
  - If the task is interrupted with Ctrl-C, C(SIGTERM), or by Ansible's C(timeout), it asks the hub within a second to
    stop each server that it has started, and then waits for the end of these servers. JupyterHub 4 cannot cancel a
    start. The task then waits until the start is over. If the interruption comes while O(persist) restarts a server,
    its file stays in the home, because only a running server can remove it.
  - A signal reaches a task on a remote host only if that host's connection passes it on, and the end of Ansible's
    C(timeout) does not reach it. Such a task goes on to its own end. A task that is killed with C(SIGKILL), or whose
    host loses its power, leaves its servers running. The next run stops them if it has O(if_running=stop). It also
    overwrites and removes the file of O(persist).
  - Use an account, or at least a named server, that no person and no other run uses. Two runs that use the same server
    disturb each other. If they run on the same machine, the second one fails before it starts or stops anything.
seealso:
  - module: hubops.jupyterhub.hub_exec
    description: Runs code in a running server.
  - module: hubops.jupyterhub.hub_server
    description: Starts, stops and removes servers.
  - module: hubops.jupyterhub.hub_token
    description: Mints, renews and revokes API tokens.
  - name: Role hubops.jupyterhub.verify
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/roles/verify/README.md
    description: The role P(hubops.jupyterhub.verify#role) verifies all hubs of an inventory with this module, and
      writes one report.
  - name: Verification
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/verification.rst
    description: Shows what you can verify and how.
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
    details: The module leaves the hub as it was, except with O(keep_running=true).
  idempotent:
    support: none
    details: The module starts its servers every time, because only a start proves that servers start.
"""

EXAMPLES = r"""
- name: Verify that a server of the token's owner starts, runs code, and stops
  hubops.jupyterhub.hub_verify:
    code:
      - code: print(6 * 7)
        expect:
          stdout:
            equals: "42"
  register: verified

- name: Show one line for the hub and one for each check
  ansible.builtin.debug:
    msg: "{{ verified.summary }}"

- name: Check only the hub, its version and its login page
  hubops.jupyterhub.hub_verify:
    expected_version: ">=4.1,<7"
    login_page: true
    checks: []

- name: Verify two images at the same time, and what is in them
  hubops.jupyterhub.hub_verify:
    if_running: stop # only this task uses the account
    wait_timeout: 10m
    warn_after: 3m
    checks:
      - name: small
        server_name: verify-small
        page: [lab]
        packages: ["ipykernel>=6"]
        paths:
          - path: "~"
            writable: true
        persist: true
      - name: terminal
        server_name: verify-terminal
        terminal: true
        resources:
          memory: 256M
          cpus: 1
"""

RETURN = r"""
verdict:
  description:
    - The verdict on the hub and all checks. It is V(failed) if a phase has failed. Otherwise it is V(skipped) if a
      phase was not taken, V(warned) if a phase has a warning, or V(passed).
  returned: if the options are valid
  type: str
hub:
  description: The hub, and its phases.
  returned: if the options are valid
  type: dict
  contains:
    url:
      description: The address of the hub.
      type: str
    version:
      description: The version of the hub. It is empty if the hub does not answer.
      type: str
    verdict:
      description: The verdict on the phases of the hub.
      type: str
    phases:
      description: The phases of the hub, as in RV(checks[].phases).
      type: list
      elements: dict
checks:
  description: One item for each check, in the order of the task's options.
  returned: if the options are valid
  type: list
  elements: dict
  contains:
    name:
      description: The name of the check. If the task sets none, it is the name of the server.
      type: str
    user:
      description: The name of the user who owns the server. It is empty if it is not known.
      type: str
    server_name:
      description: The name of the server. It is empty for the default server.
      type: str
    url:
      description: The address of the server. V(null) if the server was never ready.
      type: str
    verdict:
      description: The verdict on the phases of the check.
      type: str
    began:
      description: When the check began, in seconds since the task began.
      type: float
    seconds:
      description: How long the check took.
      type: float
    server_left:
      description: Whether a server that the check has started may still be running, although O(keep_running=false).
      type: bool
    failure:
      description: The first failure of the check. V(null) if no phase has failed. The notes describe its keys.
      type: dict
    phases:
      description: The phases of the check, in their order.
      type: list
      elements: dict
      contains:
        name:
          description: The name of the phase.
          type: str
        verdict:
          description: V(passed), V(warned), V(failed), or V(skipped) if the phase was not taken.
          type: str
        began:
          description: When the phase began, in seconds since the task began.
          type: float
        seconds:
          description: How long the phase took.
          type: float
        message:
          description: A sentence about what the phase has found.
          type: str
        failure:
          description: Why the phase failed. V(null) if it did not fail. The notes describe its keys.
          type: dict
        details:
          description:
            - What the phase has found, for programs. The keys depend on the phase.
            - V(hub) has C(version) and C(tls_days_left). V(login) has C(url) and C(status). V(services) has
              C(services).
            - V(token) has C(accounts), each with C(name), C(kind), C(expires_at), C(missing_scopes), and
              C(may_log_in). The latter is V(false) if the hub says that the user must log in again, and V(null) if that
              is not known.
            - V(start) has C(url), the C(events) of the spawner, C(user_options), and C(waited_for_room). The latter is
              the part of the phase's seconds for which the start waited until the hub had room for it.
            - V(page) has C(pages). V(code) has C(snippets), and V(notebooks) has C(notebooks). Both name the C(reason)
              of a failure, which is one of V(exception), V(wrong_output), V(timeout), V(kernel_died),
              V(out_of_memory), V(kernel_not_started), V(kernel_timeout), V(websocket_refused) and V(other).
            - V(packages) has C(python) and C(packages). V(paths) has C(paths). V(resources) has C(memory), C(disk),
              C(cpus) and C(gpus).
            - V(terminal) has C(seconds) and C(output). V(websocket) has C(bytes), C(seconds) and C(idle_seconds).
              V(persist) has C(path).
          type: dict
began:
  description: When the task began, in UTC.
  returned: if the options are valid
  type: str
  sample: "2026-11-26T18:00:00Z"
seconds:
  description: How long the task took.
  returned: if the options are valid
  type: float
summary:
  description: One line for the hub and one for each check, with its first failure or warning.
  returned: if the options are valid
  type: list
  elements: str
  sample:
    - "hub https://hub.example.org/: passed"
    - "verify-bot: failed in 3.2 s, start: The server of user 'verify-bot' did not start: no node is free. Fix what the
      reason names, or check the hub's log and the server's own. Then start it again."
actions:
  description: What the task did, or what it would do in check mode. The notes describe the items.
  returned: if the options are valid
  type: list
  elements: dict
  sample:
    - {verb: start, object: "server of user 'verify-bot'", why: the check needs it}
    - {verb: stop, object: "server of user 'verify-bot'", why: the check is over}
failure:
  description: Why the task failed. It describes the first phase that has failed. The notes describe its keys.
  returned: failure
  type: dict
  sample:
    code: spawn_failed
    message: "The phase start of check 'verify-bot' failed: The server of user 'verify-bot' did not start: no node is
      free."
    status: null
    method: null
    url: null
    hint: "Fix what the reason names, or check the hub's log and the server's own. Then start it again."
"""

from collections.abc import Callable
from typing import Any

from ..module_utils._ansible import HubModule, inherit_options, run_module
from ..module_utils._hub.client import HubClient
from ..module_utils._path.plan import Report
from ..module_utils._verify.flow import VerifyFlow
from ..module_utils._verify.options import parse_check, parse_hub


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> VerifyFlow:
    """Return the flow for the module's validated ``options``. Raises `Invalid`."""
    checks = options["checks"]
    items = (
        [{**options, "api_token": None}]
        if checks is None
        else [inherit_options(item, options, _CHECK) for item in checks]
    )
    return VerifyFlow(hub, parse_hub(options, [parse_check(item) for item in items]), report)


def read_notebooks(options: dict[str, Any], read: Callable[[str], str]) -> dict[str, Any]:
    """Return the task's options with the content of each notebook. ``read`` returns the text of a file."""

    def read_into(item: Any) -> Any:
        is_path_only = isinstance(item, dict) and isinstance(item.get("path"), str) and item.get("content") is None
        return {**item, "content": read(item["path"])} if is_path_only else item

    def embed(item: Any) -> Any:
        notebooks = item.get("notebooks") if isinstance(item, dict) else None
        return {**item, "notebooks": [*map(read_into, notebooks)]} if isinstance(notebooks, list) else item

    checks = options.get("checks")
    return {**embed(options), **({"checks": [*map(embed, checks)]} if isinstance(checks, list) else {})}


_TEXT: dict[str, Any] = {"type": "str"}
_FLAG: dict[str, Any] = {"type": "bool"}
_EXPECTATION = {"type": "dict", "options": {"equals": _TEXT, "contains": _TEXT, "matches": _TEXT}}
_CHECK: dict[str, dict[str, Any]] = {
    "name": _TEXT,
    "user": _TEXT,
    "server_name": _TEXT,
    "user_options": {"type": "dict"},
    "options_format": {"type": "str", "choices": ["auto", "wrapped", "flat"]},
    "wait_timeout": _TEXT,
    "warn_after": _TEXT,
    "if_running": {"type": "str", "choices": ["fail", "stop", "use"]},
    "keep_running": _FLAG,
    "timeout": _TEXT,
    "kernel_name": _TEXT,
    "page": {"type": "list", "elements": "str"},
    "code": {
        "type": "list",
        "elements": "dict",
        "options": {
            "code": {"type": "str", "required": True},
            "expect": {
                "type": "dict",
                "options": dict.fromkeys(("stdout", "stderr", "result", "output"), _EXPECTATION),
            },
            "timeout": _TEXT,
            "kernel_name": _TEXT,
        },
    },
    "notebooks": {
        "type": "list",
        "elements": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "content": _TEXT,
            "timeout": _TEXT,
            "cell_timeout": _TEXT,
            "kernel_name": _TEXT,
        },
    },
    "packages": {"type": "list", "elements": "str"},
    "paths": {
        "type": "list",
        "elements": "dict",
        "options": {"path": {"type": "str", "required": True}, "writable": {"type": "bool", "default": False}},
    },
    "resources": {
        "type": "dict",
        "options": {
            "memory": _TEXT,
            "disk": _TEXT,
            "disk_path": {"type": "str", "default": "~"},
            "cpus": {"type": "float"},
            "gpus": {"type": "int"},
        },
    },
    "terminal": _FLAG,
    "websocket": _FLAG,
    "websocket_idle": _TEXT,
    "persist": _FLAG,
}
"""The options of one check."""

MODULE = HubModule(
    options={
        **_CHECK,
        "expected_version": {"type": "str", "default": ""},
        "login_page": {"type": "bool", "default": False},
        "tls_min_days": {"type": "int"},
        "services": {"type": "list", "elements": "str", "default": []},
        "token_min_ttl": {"type": "str", "no_log": False},
        "checks": {
            "type": "list",
            "elements": "dict",
            "options": {**_CHECK, "api_token": {"type": "str", "no_log": True}},
        },
        "concurrency": {"type": "int", "default": 10},
        "deadline": _TEXT,
        "show_progress": {"type": "bool", "default": True},
    },
    flow=flow,
    line_format="{hub} {line}",
    read_files=read_notebooks,
)


def main() -> None:
    run_module(MODULE)


if __name__ == "__main__":
    main()
