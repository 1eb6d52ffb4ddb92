#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_server
short_description: Start and stop servers of a JupyterHub's users
version_added: 1.0.0
description:
  - Brings a user's server to the desired state and waits until it is there.
  - The wait follows the hub's progress stream, so a spawn that fails ends it at once, with the hub's reason. Where a
    stream is cut or cannot be had, the hub is asked again and again instead.
  - A server counts as ready when the hub says so and the server itself answers at its public address.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  user:
    description: Whose server it is.
    type: str
    required: true
  server_name:
    description: The name of a named server. Empty means the user's default server.
    type: str
    default: ""
  state:
    description:
      - V(started) starts the server where it does not run. One that is starting already is waited for; one that runs
        is left as it is, whatever O(user_options) say.
      - V(stopped) stops it where it runs, and cancels a start that is under way.
    type: str
    choices: [started, stopped]
    default: started
  user_options:
    description:
      - The spawner's options, as its form or its API would give them. Each deployment has its own.
      - Left out, nothing is sent, and the hub uses the options of the server's last start again.
      - An empty dictionary starts the server without any options. Both mean the same on every version of JupyterHub.
    type: dict
  wait:
    description:
      - Whether to wait until the server is ready, or gone. Without it the answer comes as soon as the hub has taken
        the request up, with RV(servers[].state=pending). A later task with O(wait=true) waits for the same spawn.
    type: bool
    default: true
  wait_timeout:
    description: How long the wait may take in all, in seconds or as V(90s), V(10m).
    type: str
    default: 5m
  on_timeout:
    description:
      - What happens to a server that is not ready after O(wait_timeout). V(stop) stops it, so that nothing is left
        behind; V(leave) lets it go on. A server that ran before the task, and does not answer, is left in any case.
    type: str
    choices: [stop, leave]
    default: stop
notes:
  - Needs the scope C(read:servers) for the user (not only for the server, or the hub hides the user), and
    C(start:servers) (before JupyterHub 6 C(servers)) and C(delete:servers) for the server.
  - On a local connection each message of the spawner is shown as it comes, on the standard error stream.
extends_documentation_fragment:
  - hubops.jupyterhub.hub
  - hubops.jupyterhub.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Start a user's default server and wait until it is ready
  hubops.jupyterhub.hub_server:
    user: alice
    wait_timeout: 10m
  register: started

- name: Tell where it is
  ansible.builtin.debug:
    msg: "{{ started.servers[0].url }} after {{ started.servers[0].seconds }} s"

- name: Stop it and see it gone
  hubops.jupyterhub.hub_server:
    user: alice
    state: stopped

- name: Start a named server with options of the spawner, and do not wait
  hubops.jupyterhub.hub_server:
    user: alice
    server_name: gpu
    user_options:
      profile: gpu-small
    wait: false

- name: Wait for that very spawn
  hubops.jupyterhub.hub_server:
    user: alice
    server_name: gpu

- name: Stop that, too
  hubops.jupyterhub.hub_server:
    user: alice
    server_name: gpu
    state: stopped
"""

RETURN = r"""
servers:
  description: One item for each server. It is there on failure, too.
  returned: always
  type: list
  elements: dict
  sample:
    - user: alice
      server_name: ""
      state: ready
      url: https://hub.example.org/user/alice/
      seconds: 6.213
      reason: null
      events:
        - {seconds: 0.105, progress: 0, message: Server requested}
        - {seconds: 2.414, progress: 50, message: Pulling image}
        - {seconds: 6.19, progress: 100, message: Server ready at /user/alice/}
  contains:
    user:
      description: Whose server it is.
      type: str
    server_name:
      description: Its name, empty for the default server.
      type: str
    state:
      description: What it is now, V(ready), V(pending), V(stopped) or V(failed). In check mode, what it would be.
      type: str
    url:
      description: Its public address, if it is ready.
      type: str
    seconds:
      description: How long this task waited for it.
      type: float
    reason:
      description: Why it failed, or V(null).
      type: str
    events:
      description: The spawner's messages, each with the seconds since the task began, and its progress in percent or
        V(null).
      type: list
      elements: dict
actions:
  description: What was done, or in check mode would be. The module's notes describe it.
  returned: success
  type: list
  elements: dict
  sample: [{verb: start, object: "server of user 'alice'", why: it is not running}]
failure:
  description: Why the task failed. The module's notes describe it.
  returned: failure
  type: dict
  sample:
    code: spawn_failed
    message: "The server of user 'alice' did not start: no node with a GPU is free."
    status: null
    method: null
    url: null
    hint: "Mend what the reason names, or look into the hub's log; then start it again."
"""

from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.module_utils._client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._connection import seconds
from ansible_collections.hubops.jupyterhub.plugins.module_utils._module import Program, run_module
from ansible_collections.hubops.jupyterhub.plugins.module_utils._plan import Report
from ansible_collections.hubops.jupyterhub.plugins.module_utils._servers import ServerFlow, Wanted


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> ServerFlow:
    wanted = Wanted(
        user=options["user"],
        name=options["server_name"],
        state=options["state"],
        user_options=options["user_options"],
        wait=options["wait"],
        wait_timeout=seconds(options["wait_timeout"], "wait_timeout"),
        on_timeout=options["on_timeout"],
    )
    return ServerFlow(hub, wanted, report)


PROGRAM = Program(
    options={
        "user": {"type": "str", "required": True},
        "server_name": {"type": "str", "default": ""},
        "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
        "user_options": {"type": "dict"},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "str", "default": "5m"},
        "on_timeout": {"type": "str", "choices": ["stop", "leave"], "default": "stop"},
    },
    flow=flow,
)


def main() -> None:
    run_module(PROGRAM)


if __name__ == "__main__":
    main()
