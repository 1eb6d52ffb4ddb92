#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_drain
short_description: Stop the servers of a JupyterHub before an upgrade, and record them
version_added: 1.0.0
description:
  - Stops the servers of a hub, and writes each one with its options into a record. M(hubops.jupyterhub.hub_restore)
    starts the servers of the record again.
  - The module writes the record before it stops the first server. If the task is killed, run it again. It goes on, and
    the record loses no server.
  - After the stops, the module lists the servers again, and names those that somebody has started meanwhile.
  - In check mode with C(--diff), the module shows which servers would stop, in which order, which would stay, and why.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  path:
    description:
      - The file of the record. The module creates missing folders with the mode 0700, and the file with the mode 0600,
        because it names people.
      - If the file has a record that is not restored yet, the module adds to it. If a server of the record has been
        started again, its newer options replace the older ones.
      - If all servers of the record are restored, the module renames the file before it writes a new one. The new name
        contains the time of the drain, for example C(drained-20261126T180000Z.json).
    type: path
    required: true
  idle_timeout:
    description:
      - How long a server may be idle, in seconds or with a unit, for example V(30m) or V(1h). The module stops a server
        that has had no activity for this time.
      - V(0) stops all servers. A longer time spares the servers that people use. V(never) only stops what a rule stops.
    type: str
    default: "0"
  order:
    description:
      - The order in which the module stops the servers.
      - V(idle_first) begins with the server that has been idle longest, and V(oldest_first) with the server that has
        run longest. V(name) sorts them by the names of the users and servers.
    type: str
    choices: [idle_first, oldest_first, name]
    default: idle_first
  max_stops:
    description:
      - How many servers the module may stop at most. It is a number, or a percentage such as V(20%) of the servers that
        run.
      - If more servers would stop, the module stops none, and the task fails.
    type: str
  recheck:
    description:
      - Whether to check each server again right before the module stops it. A server that may stay by now then stays.
        If the server has been started again meanwhile, the record gets its new options.
      - This takes one more request for each server.
    type: bool
    default: true
  concurrency:
    description: How many servers the module stops at the same time.
    type: int
    default: 10
notes:
  - The token needs the scopes C(list:users), C(read:users:activity), C(read:servers) and C(delete:servers). With
    C(read:users), the record also contains when each user was created. M(hubops.jupyterhub.hub_restore) then recognizes
    a user who was deleted and created again.
  - The role P(hubops.jupyterhub.service_account#role) mints tokens with these scopes if C(purpose=upgrade).
  - A server that is starting stops, too, unless its user has been active for less than O(idle_timeout). The module
    cancels the start as soon as the hub shows its options. JupyterHub 4 cannot cancel a start, so the module waits
    until the start is over.
  - If somebody else is stopping a server, the module waits until it is stopped. The record does not contain this
    server.
  - The module does not stop what starts after it has listed the servers. RV(started_meanwhile) names these servers. To
    stop them, run the task again. To prevent them, close the hub to its users first.
  - If one server cannot be stopped, the module continues with the others. The task then fails at its end and returns
    everything that it did. The record contains the server with the state C(failed).
  - A hub shows a server as stopped even if its spawner failed to stop it. Only the log of the hub shows this failure.
  - If the task itself runs in a server of the hub, name the user of that server in O(exclude_users).
  - Two tasks on one machine cannot use the same record at the same time. The second one fails with the code
    V(conflict).
  - The module compares times with the clock of the host on which the task runs. The record is on that host, too.
  - On a local connection, the module prints one line every few seconds, for example V(37/200 drained, 2 failed, 10
    pending).
seealso:
  - module: hubops.jupyterhub.hub_restore
    description: Starts the servers again that a drain has stopped.
  - module: hubops.jupyterhub.hub_cull
    description: Stops the servers that have been idle for too long, and deletes idle users.
  - module: hubops.jupyterhub.hub_snapshot
    description: Writes what a hub has into a file.
  - name: Role hubops.jupyterhub.upgrade
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/roles/upgrade/README.md
    description: The role P(hubops.jupyterhub.upgrade#role) drains all hubs of an inventory with this module.
  - name: Upgrades
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/upgrades.rst
    description: Walks through an upgrade of a hub.
extends_documentation_fragment:
  - hubops.jupyterhub.stopping
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
- name: Show which servers would stop, in which order, and which would stay
  hubops.jupyterhub.hub_drain:
    path: snapshots/hub.example.org/drained.json
  check_mode: true
  diff: true

- name: Stop the servers that nobody has used for an hour, but not the long jobs
  hubops.jupyterhub.hub_drain:
    path: snapshots/hub.example.org/drained.json
    idle_timeout: 1h
    rules:
      - name: long jobs
        servers: [batch-*]
        keep: true

- name: Stop all servers, twenty at a time
  hubops.jupyterhub.hub_drain:
    path: snapshots/hub.example.org/drained.json
    concurrency: 20
    max_stops: 500
  register: drain

- name: Show what was started meanwhile
  ansible.builtin.debug:
    msg: "{{ drain.started_meanwhile | map(attribute='user') }}"
"""

RETURN = r"""
path:
  description: The file of the record.
  returned: if the module could read the hub
  type: str
  sample: snapshots/hub.example.org/drained.json
drained:
  description: The servers that the task stopped, or would stop in check mode, in the order of the stops.
  returned: if the module could read the hub
  type: list
  elements: dict
  sample:
    - user: alice
      server_name: gpu
      idle_seconds: 11520
      age_seconds: 86400
      rule: null
      reason: idle 3 h 12 min
      user_options: {profile: gpu-small}
  contains:
    user:
      description: The name of the user who owns the server.
      type: str
    server_name:
      description: The name of the server. It is empty for the default server.
      type: str
    idle_seconds:
      description: How long the server had been idle when the module listed it. V(null) if the hub does not say.
      type: int
    age_seconds:
      description: How long the server had run when the module listed it. V(null) if the hub does not say.
      type: int
    rule:
      description: The name of the rule that decided. V(null) if no rule matched.
      type: str
    reason:
      description: Why the server stops.
      type: str
    user_options:
      description: The options for the spawner with which the server ran. V(null) if the hub does not show them.
      type: dict
kept:
  description:
    - The servers that stay. Each item has the keys of RV(drained) except C(user_options), and the key C(keep_code),
      which is one of the following.
    - C(active) - the server has not reached a limit.
    - C(excluded) - O(exclude_users) names the user.
    - C(rule) - a rule keeps the server.
    - C(used) - the server should stop, but it has been used since the module listed it.
    - C(unknown) - the hub does not say when the server was active or started.
    - C(not_ready) - the server is not ready, although nothing is pending.
    - C(hidden) - the token may not read the servers of the user.
  returned: if the module could read the hub
  type: list
  elements: dict
  sample: []
unreadable:
  description: What the token may read only in part, sorted by name. Servers that it may not see may still run.
  returned: if the module could read the hub
  type: list
  elements: dict
  sample: []
  contains:
    name:
      description: V(servers) or V(users).
      type: str
    scope:
      description: The scope that the token needs.
      type: str
    message:
      description: A sentence for people.
      type: str
kept_count:
  description: How many servers stay, by their C(keep_code).
  returned: if the module could read the hub
  type: dict
  sample: {excluded: 1, rule: 3}
gone:
  description: The servers that somebody else has stopped, or has stopped and started again. Each item has the keys of
    RV(drained), except C(user_options).
  returned: if the module could read the hub
  type: list
  elements: dict
  sample: []
started_meanwhile:
  description: The servers that run after the stops, although the task has neither kept them nor failed to stop them.
    Each item has the keys C(user), C(server_name), C(state) (V(ready) or V(pending)) and C(started). The list is empty
    in check mode.
  returned: if the module could read the hub
  type: list
  elements: dict
  sample: [{user: bob, server_name: "", state: ready, started: "2026-11-26T18:00:07.114Z"}]
failures:
  description: The servers that the task could not stop. Each item has the keys of RV(drained) except C(user_options),
    and the key C(failure). The notes describe the keys of C(failure).
  returned: if the module could read the hub
  type: list
  elements: dict
  sample: []
counts:
  description: How many C(servers) there were, and how many of them were C(drained), C(kept), C(gone) and C(failed).
    Also how many were C(started_meanwhile), and how many servers of the record are still C(to_restore).
  returned: if the module could read the hub
  type: dict
  sample: {servers: 40, drained: 36, kept: 4, gone: 0, failed: 0, started_meanwhile: 1, to_restore: 36}
seconds:
  description: How long the task took.
  returned: if the module could read the hub
  type: float
  sample: 14.217
summary:
  description: A summary of the drain in one line.
  returned: if the module could read the hub
  type: str
  sample: 36 of 40 servers drained, 4 kept, 0 gone, 0 failed, 1 started meanwhile, 36 to restore, in 14.2 s
actions:
  description: What the task did, or what it would do in check mode. The notes describe the items.
  returned: if the module could read the hub
  type: list
  elements: dict
  sample: [{verb: stop, object: "server 'gpu' of user 'alice'", why: idle 3 h 12 min}]
failure:
  description: Why the task failed. If several servers could not be stopped, it describes the first one. The notes
    describe its keys.
  returned: failure
  type: dict
  sample:
    code: timeout
    message: "The server of user 'alice' was told to stop and is still there after 120 s."
    status: null
    method: null
    url: null
    hint: Check the hub's log, or wait longer with stop_timeout.
"""

from typing import Any

from ..module_utils._ansible import HubModule, run_module
from ..module_utils._cull.options import STOPPING_OPTIONS
from ..module_utils._cull.policy import Limits, MaxCulls, Policy, Rule
from ..module_utils._drain.flow import ORDERS, DrainFlow, DrainOptions
from ..module_utils._drain.record_file import RecordFile
from ..module_utils._hub.client import HubClient
from ..module_utils._hub.connection import parse_duration
from ..module_utils._path.plan import Report


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> DrainFlow:
    limits = Limits.from_options({**options, "max_age": "never"}, may_be_zero=True)
    rules = [
        Rule.from_options(number, rule, limits, may_be_zero=True)
        for number, rule in enumerate(options["rules"], start=1)
    ]
    policy = Policy(limits, rules, options["exclude_users"])
    limit = options["max_stops"]
    drain_options = DrainOptions(
        max_stops=None if limit is None else MaxCulls.parse(limit, "max_stops", "drained"),
        stop_timeout=parse_duration(options["stop_timeout"], "stop_timeout"),
        **{name: options[name] for name in ("order", "recheck", "concurrency", "page_size")},
    )
    file = RecordFile(options["path"], options["api_token"] or "")
    return DrainFlow(hub, file, policy, drain_options, report)


MODULE = HubModule(
    options={
        "path": {"type": "path", "required": True},
        "idle_timeout": {"type": "str", "default": "0"},
        **STOPPING_OPTIONS,
        "order": {"type": "str", "choices": [*ORDERS], "default": ORDERS[0]},
        "max_stops": {"type": "str"},
        "recheck": {"type": "bool", "default": True},
        "concurrency": {"type": "int", "default": 10},
    },
    flow=flow,
)


def main() -> None:
    run_module(MODULE)


if __name__ == "__main__":
    main()
