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
  - Brings one server or many servers to the desired state, and waits until they have reached it.
  - While it waits for a start, the module follows the progress stream of the hub. If the spawn fails, the wait ends at
    once, and the failure contains the hub's reason. If the stream breaks or is not available, the module polls the hub
    instead.
  - A server is ready when the hub says so and the server itself answers at its public address.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  user:
    description: The name of the user who owns the server. Exactly one of O(user) and O(servers) is required.
    type: str
  server_name:
    description: The name of a named server. If not set or empty, the server is the user's default server.
    type: str
  state:
    description:
      - The desired state of the server.
      - V(started) starts the server if it is not running. If the server is already starting, the module waits for that
        start.
      - V(stopped) stops the server if it is running. If the server is starting, the module cancels the start.
      - V(restarted) stops the server if it is running. It then starts the server in any case.
      - V(absent) stops a named server and removes it from the hub, with the state and the options that the hub keeps
        for it. A default server cannot be removed.
    type: str
    choices: [started, stopped, restarted, absent]
    default: started
  user_options:
    description:
      - The options for the spawner, in the form in which the hub's API or the spawner's form passes them. They differ
        between deployments.
      - If not set, the module sends no options, and the hub reuses the options of the server's last start.
      - If it is an empty dictionary, the server starts without any options.
      - Each of these two values has the same effect on every version of JupyterHub.
    type: dict
  options_format:
    description:
      - The format in which the module sends O(user_options).
      - V(auto) uses the format of the hub's version. Since JupyterHub 6, the options are the value of the key
        C(user_options). Before JupyterHub 6, they are the whole request body.
      - V(wrapped) always uses the key C(user_options), and V(flat) always uses the whole body. Use them for a spawner
        that expects another format than its hub.
      - The module always sends an empty dictionary in the format of the hub's version, so that the hub takes it as no
        options.
    type: str
    choices: [auto, wrapped, flat]
    default: auto
  on_options_change:
    description:
      - What to do if the server is running or starting with other options than O(user_options). The module compares
        O(user_options) with the options that the hub shows.
      - V(ignore) leaves a running server as it is. V(restart) stops the server and starts it with the new options.
        V(fail) fails and leaves the server as it is.
      - If somebody else starts the server with other options at the same time, the task fails with the code
        V(conflict). This also applies to a start between the two steps of a restart.
      - The module compares the options in the form in which the hub keeps them, which depends on O(options_format). If
        the spawner changes the options that it receives, V(restart) restarts the server at every run.
    type: str
    choices: [ignore, restart, fail]
    default: ignore
  wait:
    description:
      - Whether to wait until the server is ready, stopped or removed.
      - If V(false), the task ends as soon as the hub has accepted the request. It returns RV(servers[].state=pending)
        for a server that is still starting or stopping. A later task with O(wait=true) waits for the same spawn.
      - If V(false), a restart still waits until the server is stopped.
      - If V(false) and the hub has no room for another start, the task asks once and fails at once with the code
        V(rate_limited).
      - JupyterHub 4 cannot cancel a start. If V(false), a task that must stop or remove a starting server fails on
        JupyterHub 4 with the code V(conflict).
    type: bool
    default: true
  wait_timeout:
    description:
      - How long the whole work on a server may take, in seconds or with a unit, for example V(90s) or V(10m).
      - If O(servers) is set, the time of each server begins when the work on that server begins.
      - This time also limits how long the module waits for a single answer, even if O(request_timeout) is longer. The
        last request to read a server may take up to a second more.
    type: str
    default: 5m
  on_timeout:
    description:
      - What to do with a server that is not ready after O(wait_timeout).
      - V(stop) stops the server, so that the task leaves nothing behind. This takes up to a minute more.
      - V(leave) leaves the server as it is.
      - The module stops only a server that this task has started. It never stops a server that somebody else has
        started, a server that ran before the task and does not answer, or a server that the hub is checking after the
        hub's own restart.
    type: str
    choices: [stop, leave]
    default: stop
  servers:
    description:
      - A list of servers. The module works on them concurrently.
      - If an item does not set an option, the module uses the task's option with the same name.
      - If one server fails, the module continues with the others. The task then fails at its end, and RV(servers)
        contains the result of each server.
    type: list
    elements: dict
    suboptions:
      user:
        description: See O(user).
        type: str
        required: true
      server_name:
        description: See O(server_name).
        type: str
      state:
        description: See O(state).
        type: str
        choices: [started, stopped, restarted, absent]
      user_options:
        description: See O(user_options).
        type: dict
      options_format:
        description: See O(options_format).
        type: str
        choices: [auto, wrapped, flat]
      on_options_change:
        description: See O(on_options_change).
        type: str
        choices: [ignore, restart, fail]
      wait:
        description: See O(wait).
        type: bool
      wait_timeout:
        description: See O(wait_timeout).
        type: str
      on_timeout:
        description: See O(on_timeout).
        type: str
        choices: [stop, leave]
  concurrency:
    description:
      - How many of O(servers) the module works on at the same time. The work on a server lasts from its request until
        the server has reached its state or has failed.
    type: int
    default: 10
notes:
  - The token needs the scope C(read:servers) for the user. If the token has this scope only for the server, the hub
    hides the user.
  - The token also needs the scopes C(start:servers) and C(delete:servers) for the server. Before JupyterHub 6,
    C(start:servers) is called C(servers).
  - On a local connection, the module prints each message of the spawner to the standard error stream as soon as it
    arrives. For many servers, it prints one line every few seconds instead, for example V(37/200 ready, 2 failed, 61
    pending).
  - A hub that has reached its C(concurrent_spawn_limit) has no room for another start. A proxy that limits requests
    looks the same. Starts that are refused wait their turn in their order, each up to its O(wait_timeout). The next one
    asks as soon as another start of the task has ended. If others use the room, the first one asks again at the time
    that the hub names, or with growing pauses. So O(concurrency) may be larger than the limit of the hub.
  - If the hub has no room within O(wait_timeout), the start fails with the code V(rate_limited).
  - If a hub has reached its C(active_server_limit), waiting does not help. The start then fails at once with the code
    V(rate_limited).
  - If the hub does not answer during a wait because it is restarting, the module waits for it, up to O(wait_timeout).
    It does the same if the hub asks for fewer requests.
  - A hub shows a server as stopped even if its spawner failed to stop it. Only the log of the hub shows this failure.
    The module therefore reports such a server as stopped, too.
seealso:
  - module: hubops.jupyterhub.hub_exec
    description: Runs code in a running server.
  - module: hubops.jupyterhub.hub_cull
    description: Stops the servers that have been idle for too long, and deletes idle users.
  - module: hubops.jupyterhub.hub_drain
    description: Stops the servers of a hub before an upgrade, and records them.
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
    support: full
  idempotent:
    support: partial
    details: A task with O(state=restarted) restarts the server at every run.
"""

EXAMPLES = r"""
- name: Start a user's default server and wait until it is ready
  hubops.jupyterhub.hub_server:
    user: alice
    wait_timeout: 10m
  register: started

- name: Show the address of the server and the time of its start
  ansible.builtin.debug:
    msg: "{{ started.servers[0].url }} after {{ started.servers[0].seconds }} s"

- name: Stop the server and wait until it is stopped
  hubops.jupyterhub.hub_server:
    user: alice
    state: stopped

- name: Start a named server with options for the spawner, and do not wait
  hubops.jupyterhub.hub_server:
    user: alice
    server_name: gpu
    user_options:
      profile: gpu-small
    wait: false

- name: Wait for the same spawn
  hubops.jupyterhub.hub_server:
    user: alice
    server_name: gpu

- name: Make sure that the server runs with these options, and restart it if it runs with others
  hubops.jupyterhub.hub_server:
    user: alice
    server_name: gpu
    user_options:
      profile: gpu-large
    on_options_change: restart

- name: Remove the server and everything that the hub keeps for it
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

- name: Show the addresses of the servers that are ready
  ansible.builtin.debug:
    msg: "{{ started.servers | selectattr('state', 'equalto', 'ready') | map(attribute='url') }}"

- name: Stop all of these servers
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
  description: One item for each server, in the order of the task's options. A failed task returns this list, too.
  returned: if the options are valid
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
      description: The name of the user who owns the server.
      type: str
    server_name:
      description: The name of the server. It is empty for the default server.
      type: str
    state:
      description:
        - The state of the server after the task, or the state that it would have in check mode. It is one of V(ready),
          V(pending), V(stopped), V(absent) and V(failed).
      type: str
    changed:
      description: Whether the task changed the server, or would change it in check mode.
      type: bool
    url:
      description: The public address of the server, if it is ready.
      type: str
    seconds:
      description: How long the task worked on the server.
      type: float
    reason:
      description: Why the server failed. V(null) if it did not fail.
      type: str
    events:
      description:
        - The messages of the spawner. Each has the C(message), the C(seconds) since the work on the server began, and
          the C(progress) in percent or V(null).
      type: list
      elements: dict
    user_options:
      description: The options for the spawner as the hub keeps them. V(null) if the hub has none for this server.
      type: dict
    failure:
      description: Why the server failed. V(null) if it did not fail. The notes describe its keys.
      type: dict
actions:
  description: What the task did, or what it would do in check mode. The notes describe the items.
  returned: if the options are valid
  type: list
  elements: dict
  sample: [{verb: start, object: "server of user 'alice'", why: it is not running}]
failure:
  description: Why the task failed. If several servers failed, it describes the first one. The notes describe its keys.
  returned: failure
  type: dict
  sample:
    code: spawn_failed
    message: "The server of user 'alice' did not start: no node with a GPU is free."
    status: null
    method: null
    url: null
    hint: "Fix what the reason names, or check the hub's log and the server's own. Then start it again."
"""

from typing import Any

from ..module_utils._ansible import HubModule, inherit_options, run_module
from ..module_utils._hub.client import HubClient
from ..module_utils._hub.connection import parse_duration
from ..module_utils._path.batch import Batch
from ..module_utils._path.plan import Report
from ..module_utils._server.flow import server_batch
from ..module_utils._server.model import ServerSpec


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> Batch:
    """Return the flow for the module's validated ``options``. Raises `Invalid`."""
    servers = options["servers"]
    items = [options] if servers is None else [inherit_options(item, options, _SHARED) for item in servers]
    return server_batch(hub, [_spec(item) for item in items], report, concurrency=options["concurrency"])


def _spec(options: dict[str, Any]) -> ServerSpec:
    """Return the desired state of one server. Raises `Invalid`."""
    return ServerSpec(
        user=options["user"],
        name=options["server_name"] or "",
        state=options["state"],
        user_options=options["user_options"],
        options_format=options["options_format"],
        on_options_change=options["on_options_change"],
        wait=options["wait"],
        wait_timeout=parse_duration(options["wait_timeout"], "wait_timeout"),
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
"""The options that an item of ``servers`` takes from the task if it leaves them out."""
_DEFAULTS = {
    "state": "started",
    "options_format": "auto",
    "on_options_change": "ignore",
    "wait": True,
    "wait_timeout": "5m",
    "on_timeout": "stop",
}

MODULE = HubModule(
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
    run_module(MODULE)


if __name__ == "__main__":
    main()
