#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_server
short_description: Start, restart, stop and remove servers of a JupyterHub's users
version_added: 1.0.0
description:
  - Brings servers to the desired state and waits until they are there - one, or many in one call.
  - The wait follows the hub's progress stream, so a spawn that fails ends it at once, with the hub's reason. Where a
    stream is cut or cannot be had, the hub is asked again and again instead.
  - A server counts as ready when the hub says so and the server itself answers at its public address.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  user:
    description: Whose server it is. One of O(user) and O(servers) is required.
    type: str
  server_name:
    description: The name of a named server. Left out or empty, it is the user's default server.
    type: str
  state:
    description:
      - V(started) starts the server where it does not run. One that is starting already is waited for.
      - V(stopped) stops it where it runs, and cancels a start that is under way.
      - V(restarted) stops it where it runs, and starts it in any case.
      - V(absent) stops a named server and removes it from the hub, with the state and the options that the hub keeps
        of it. A default server cannot be removed.
    type: str
    choices: [started, stopped, restarted, absent]
    default: started
  user_options:
    description:
      - The spawner's options, as its form or its API would give them. Each deployment has its own.
      - Left out, nothing is sent, and the hub uses the options of the server's last start again.
      - An empty dictionary starts the server without any options. Both mean the same on every version of JupyterHub.
    type: dict
  options_format:
    description:
      - How O(user_options) travel. V(auto) is as the hub's version wants them, within C(user_options) since
        JupyterHub 6, and bare before.
      - V(wrapped) and V(flat) say so whatever the version, for spawners that look for them elsewhere. An empty
        dictionary is always sent so that it means no options.
    type: str
    choices: [auto, wrapped, flat]
    default: auto
  on_options_change:
    description:
      - What happens to a server that runs or starts with other O(user_options) than those that are given, as the hub
        shows them. V(ignore) leaves one that runs, V(restart) stops it and starts it with the new ones, V(fail) fails
        and leaves it.
      - A start that somebody else has asked for at the same moment, with other options, is a failure with the code
        V(conflict), also where this task has restarted the server for its own.
      - What O(options_format) makes of them is compared, as the hub keeps it. With a spawner that changes the options
        that it is given, V(restart) restarts at every run.
    type: str
    choices: [ignore, restart, fail]
    default: ignore
  wait:
    description:
      - Whether to wait until the server is ready, or gone. Without it the answer comes as soon as the hub has taken
        the request up, with RV(servers[].state=pending). A later task with O(wait=true) waits for the same spawn.
      - The stop that comes before another start is waited for in any case. Room on the hub is not, so a start that it
        has none for fails at once; nor is a start that the hub cannot cancel (JupyterHub 4), so to stop or remove such
        a server is a C(conflict).
    type: bool
    default: true
  wait_timeout:
    description:
      - How long all that is done for a server may take, in seconds or as V(90s), V(10m). Of O(servers), the time of
        each begins when the work on it begins.
      - It ends the wait for any single answer, too, whatever O(request_timeout) says. Only the last look at a server
        may take a second more.
    type: str
    default: 5m
  on_timeout:
    description:
      - What happens to a server that is not ready after O(wait_timeout). V(stop) stops it, so that nothing is left
        behind, and takes up to a minute more for that; V(leave) lets it go on.
      - Only what this task has started is stopped. A server that ran before the task and does not answer, one that the
        hub checks after its own restart, and a start that somebody else has asked for, are left in any case.
    type: str
    choices: [stop, leave]
    default: stop
  servers:
    description:
      - Many servers in one call, worked concurrently. What an item leaves out is taken from the options of the same
        name.
      - One that fails ends no other. The task then fails at its end, and RV(servers) has what became of each.
    type: list
    elements: dict
    suboptions:
      user:
        description: As O(user).
        type: str
        required: true
      server_name:
        description: As O(server_name).
        type: str
      state:
        description: As O(state).
        type: str
        choices: [started, stopped, restarted, absent]
      user_options:
        description: As O(user_options).
        type: dict
      options_format:
        description: As O(options_format).
        type: str
        choices: [auto, wrapped, flat]
      on_options_change:
        description: As O(on_options_change).
        type: str
        choices: [ignore, restart, fail]
      wait:
        description: As O(wait).
        type: bool
      wait_timeout:
        description: As O(wait_timeout).
        type: str
      on_timeout:
        description: As O(on_timeout).
        type: str
        choices: [stop, leave]
  concurrency:
    description: How many of O(servers) are worked at a time, each from its request to its end.
    type: int
    default: 10
notes:
  - Needs the scope C(read:servers) for the user (not only for the server, or the hub hides the user), and
    C(start:servers) (before JupyterHub 6 C(servers)) and C(delete:servers) for the server.
  - On a local connection each message of the spawner is shown as it comes, on the standard error stream. With many
    servers it is a line every few seconds instead, such as V(37/200 ready, 2 failed, 61 pending).
  - A hub that has no room for another start may say when to come back (its C(concurrent_spawn_limit)), and is asked
    again then, if O(wait) and O(wait_timeout) allow. Where it does not say when (its C(active_server_limit)), the
    start fails.
  - A hub that does not answer during a wait, because it is started again, or that asks not to be asked so often, is
    waited for, up to O(wait_timeout).
  - A hub takes a server for stopped even where its spawner failed to stop it, and only its log tells. So does this
    module.
extends_documentation_fragment:
  - hubops.jupyterhub.hub
  - hubops.jupyterhub.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: Not with O(state=restarted), which restarts at every run.
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

- name: Have it run with these options, whatever it runs with now
  hubops.jupyterhub.hub_server:
    user: alice
    server_name: gpu
    user_options:
      profile: gpu-large
    on_options_change: restart

- name: Remove it, with all that the hub keeps of it
  hubops.jupyterhub.hub_server:
    user: alice
    server_name: gpu
    state: absent

- name: Start many servers, ten at a time
  hubops.jupyterhub.hub_server:
    servers:
      - user: alice
      - user: alice
        server_name: cpu
      - user: alice
        server_name: gpu
        user_options:
          profile: gpu-small
    wait_timeout: 10m
  register: started

- name: Tell which of them are ready
  ansible.builtin.debug:
    msg: "{{ started.servers | selectattr('state', 'equalto', 'ready') | map(attribute='url') }}"

- name: Stop them all
  hubops.jupyterhub.hub_server:
    servers:
      - user: alice
      - user: alice
        server_name: cpu
      - user: alice
        server_name: gpu
    state: stopped
"""

RETURN = r"""
servers:
  description: One item for each server, in the order of the declaration. It is there on failure, too.
  returned: once the options are found to be sound
  type: list
  elements: dict
  sample:
    - user: alice
      server_name: ""
      state: ready
      changed: true
      url: https://hub.example.org/user/alice/
      seconds: 6.213
      reason: null
      events:
        - {seconds: 0.105, progress: 0, message: Server requested}
        - {seconds: 2.414, progress: 50, message: Pulling image}
        - {seconds: 6.19, progress: 100, message: Server ready at /user/alice/}
      user_options: {profile: small}
      failure: null
  contains:
    user:
      description: Whose server it is.
      type: str
    server_name:
      description: Its name, empty for the default server.
      type: str
    state:
      description:
        - What it is now, V(ready), V(pending), V(stopped), V(absent) or V(failed). In check mode, what it would be.
      type: str
    changed:
      description: Whether something was done, or in check mode would be.
      type: bool
    url:
      description: Its public address, if it is ready.
      type: str
    seconds:
      description: How long this task worked on it.
      type: float
    reason:
      description: Why it failed, or V(null).
      type: str
    events:
      description: The spawner's messages, each with the seconds since the work on it began, and its progress in percent
        or V(null).
      type: list
      elements: dict
    user_options:
      description: The spawner's options as the hub has them, V(null) where it has none of this server.
      type: dict
    failure:
      description: Why it failed, or V(null). The module's notes describe it.
      type: dict
actions:
  description: What was done, or in check mode would be. The module's notes describe it.
  returned: once the options are found to be sound
  type: list
  elements: dict
  sample: [{verb: start, object: "server of user 'alice'", why: it is not running}]
failure:
  description: Why the task failed. With many servers, of the first that did. The module's notes describe it.
  returned: failure
  type: dict
  sample:
    code: spawn_failed
    message: "The server of user 'alice' did not start: no node with a GPU is free."
    status: null
    method: null
    url: null
    hint: "Mend what the reason names, or look into the hub's log and the server's own; then start it again."
"""

from typing import Any

from ..module_utils._ansible import Program, inherit_options, run_module
from ..module_utils._hub.client import HubClient
from ..module_utils._hub.connection import seconds
from ..module_utils._path.batch import Batch
from ..module_utils._path.plan import Report
from ..module_utils._server.flow import server_batch
from ..module_utils._server.model import ServerSpec


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> Batch:
    servers = options["servers"]
    items = [options] if servers is None else [inherit_options(item, options, _SHARED) for item in servers]
    return server_batch(hub, [_wanted(item) for item in items], report, concurrency=options["concurrency"])


def _wanted(options: dict[str, Any]) -> ServerSpec:
    return ServerSpec(
        user=options["user"],
        name=options["server_name"] or "",
        state=options["state"],
        user_options=options["user_options"],
        options_format=options["options_format"],
        on_options_change=options["on_options_change"],
        wait=options["wait"],
        wait_timeout=seconds(options["wait_timeout"], "wait_timeout"),
        on_timeout=options["on_timeout"],
    )


_SERVER: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["started", "stopped", "restarted", "absent"]},
    "user_options": {"type": "dict"},
    "options_format": {"type": "str", "choices": ["auto", "wrapped", "flat"]},
    "on_options_change": {"type": "str", "choices": ["ignore", "restart", "fail"]},
    "wait": {"type": "bool"},
    "wait_timeout": {"type": "str"},
    "on_timeout": {"type": "str", "choices": ["stop", "leave"]},
}
_SHARED = tuple(_SERVER)
"""What the items of ``servers`` take from the task where they leave it out."""
_DEFAULTS = {
    "state": "started",
    "options_format": "auto",
    "on_options_change": "ignore",
    "wait": True,
    "wait_timeout": "5m",
    "on_timeout": "stop",
}

PROGRAM = Program(
    options={
        "user": {"type": "str"},
        "server_name": {"type": "str"},
        **{name: {**spec, "default": _DEFAULTS.get(name)} for name, spec in _SERVER.items()},
        "servers": {
            "type": "list",
            "elements": "dict",
            "options": {
                "user": {"type": "str", "required": True},
                "server_name": {"type": "str"},
                **_SERVER,
            },
        },
        "concurrency": {"type": "int", "default": 10},
    },
    rules={
        "required_one_of": [("user", "servers")],
        "mutually_exclusive": [("servers", "user"), ("servers", "server_name")],
    },
    flow=flow,
)


def main() -> None:
    run_module(PROGRAM)


if __name__ == "__main__":
    main()
