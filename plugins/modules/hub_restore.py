#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_restore
short_description: Start the servers of a JupyterHub again that a drain has stopped
version_added: 1.0.0
description:
  - Starts the servers again that M(hubops.jupyterhub.hub_drain) has stopped, each with its own options, and waits until
    they are ready.
  - The options come from the record of the drain, also if the hub has forgotten them. The hub may have another version
    than at the time of the drain.
  - A server that somebody has started by now is left as it is.
  - The module records what it does. If the task is killed, run it again. It goes on with the servers that are not
    restored yet.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  path:
    description: The file of the record, as in O(hubops.jupyterhub.hub_drain#module:path).
    type: path
    required: true
  concurrency:
    description: How many servers the module starts at the same time.
    type: int
    default: 10
  wait_timeout:
    description:
      - How long the work on one server may take, in seconds or with a unit, for example V(90s) or V(10m). The time of
        each server begins when the work on that server begins.
      - If a server is not ready after this time, the module stops it and reports it as V(failed). It stops only what it
        has started itself.
    type: str
    default: 5m
notes:
  - The token needs the scopes C(read:servers) and C(start:servers) (C(servers) before JupyterHub 6). With
    C(delete:servers), the module can stop a server that is not ready in time. With C(read:users), it recognizes a user
    who was deleted and created again, if the record contains when each user was created.
  - The role P(hubops.jupyterhub.service_account#role) mints tokens with these scopes if C(purpose=upgrade).
  - The task fails only if the outcome of a server is V(failed). The other outcomes are no failures, because nothing
    that the module could do would help. RV(counts) and RV(summary) contain them.
  - A second run tries the servers again whose outcome is V(failed), V(user_gone) or V(profile_gone), and returns the
    outcomes of the others as they are in the record.
  - If a drain was killed, the record may contain servers that still run. Their outcome is V(already_running).
  - Two tasks on one machine cannot use the same record at the same time. The second one fails with the code
    V(conflict).
  - On a local connection, the module prints one line every few seconds, for example V(37/200 done, 2 failed, 10
    pending).
seealso:
  - module: hubops.jupyterhub.hub_drain
    description: Stops the servers of a hub before an upgrade, and records them.
  - module: hubops.jupyterhub.hub_server
    description: Starts, stops and removes servers.
  - name: Role hubops.jupyterhub.upgrade
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/roles/upgrade/README.md
    description: The role P(hubops.jupyterhub.upgrade#role) restores the servers of all hubs of an inventory with
      this module.
  - name: Upgrades
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/upgrades.rst
    description: Walks through an upgrade of a hub.
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
- name: Stop all servers before the upgrade
  hubops.jupyterhub.hub_drain:
    path: snapshots/hub.example.org/drained.json

- name: Start them again after the upgrade, twenty at a time
  hubops.jupyterhub.hub_restore:
    path: snapshots/hub.example.org/drained.json
    concurrency: 20
    wait_timeout: 10m
  register: restore

- name: Show whose profile does not exist any more
  ansible.builtin.debug:
    msg: "{{ restore.servers | selectattr('outcome', 'equalto', 'profile_gone') | map(attribute='user') }}"
"""

RETURN = r"""
servers:
  description: One item for each server of the record. A failed task returns this list, too.
  returned: if the module could read the record
  type: list
  elements: dict
  sample:
    - user: alice
      server_name: gpu
      outcome: restored
      state: ready
      changed: true
      url: https://hub.example.org/user/alice/gpu/
      seconds: 6.213
      reason: null
      events: []
      user_options: {profile: gpu-small}
      failure: null
  contains:
    user:
      description: The name of the user who owns the server.
      type: str
    server_name:
      description: The name of the server. It is empty for the default server.
      type: str
    outcome:
      description:
        - V(restored) - the server runs again. In check mode, the module would start it.
        - V(already_running) - somebody has started the server by now, with the same options or with others.
        - V(user_gone) - the user does not exist any more, or was deleted and created again.
        - V(profile_gone) - the spawner does not have the profile any more, or one of the options. In check mode, the
          module cannot know this.
        - V(failed) - the server did not start, or the token may not see the user.
      type: str
    state:
      description: The state of the server as M(hubops.jupyterhub.hub_server) returns it. V(stopped) for a server that
        an earlier task has restored, and that does not run any more. V(null) if this run did not look at the server.
      type: str
    changed:
      description: Whether the task started the server, or would start it in check mode.
      type: bool
    url:
      description: The public address of the server, if it is ready.
      type: str
    seconds:
      description: How long the task worked on the server.
      type: float
    reason:
      description: Why the server is not restored. V(null) if it is.
      type: str
    events:
      description: The messages of the spawner, as M(hubops.jupyterhub.hub_server) returns them.
      type: list
      elements: dict
    user_options:
      description: The options of the record.
      type: dict
    failure:
      description: Why the server failed. V(null) if it did not fail. The notes describe its keys.
      type: dict
path:
  description: The file of the record.
  returned: if the module could read the record
  type: str
  sample: snapshots/hub.example.org/drained.json
other_hub:
  description: The URL of the hub of the record, if the task has another one. V(null) if both are the same. The module
    restores the servers in both cases, because a hub may get another address.
  returned: if the module could read the record
  type: str
  sample: null
counts:
  description: How many C(servers) the record has, and how many of them have each outcome.
  returned: if the module could read the record
  type: dict
  sample: {servers: 36, restored: 33, already_running: 2, user_gone: 0, profile_gone: 1, failed: 0}
seconds:
  description: How long the task took.
  returned: if the module could read the record
  type: float
  sample: 48.91
summary:
  description: A summary of the restore in one line.
  returned: if the module could read the record
  type: str
  sample: 33 of 36 servers restored, 2 already running, 0 user gone, 1 profile gone, 0 failed, in 48.9 s
actions:
  description: What the task did, or what it would do in check mode. The notes describe the items.
  returned: if the module could read the record
  type: list
  elements: dict
  sample: [{verb: start, object: "server 'gpu' of user 'alice'", why: it is not running}]
failure:
  description: Why the task failed. If several servers failed, it describes the first one. The notes describe its keys.
  returned: failure
  type: dict
  sample:
    code: invalid
    message: "There is no record of a drain at 'drained.json'."
    status: null
    method: null
    url: null
    hint: Check path. hub_drain writes the record, also if it has nothing to stop.
"""

from typing import Any

from ..module_utils._ansible import HubModule, run_module
from ..module_utils._drain.record_file import RecordFile
from ..module_utils._hub.client import HubClient
from ..module_utils._hub.connection import parse_duration
from ..module_utils._path.plan import Report
from ..module_utils._restore.flow import RestoreFlow


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> RestoreFlow:
    return RestoreFlow(
        hub,
        RecordFile(options["path"], options["api_token"] or ""),
        report,
        concurrency=options["concurrency"],
        wait_timeout=parse_duration(options["wait_timeout"], "wait_timeout"),
    )


MODULE = HubModule(
    options={
        "path": {"type": "path", "required": True},
        "concurrency": {"type": "int", "default": 10},
        "wait_timeout": {"type": "str", "default": "5m"},
    },
    flow=flow,
)


def main() -> None:
    run_module(MODULE)


if __name__ == "__main__":
    main()
