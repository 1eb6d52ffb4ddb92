#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_cull
short_description: Stop the idle servers of a JupyterHub, and delete its idle users
version_added: 1.0.0
description:
  - Stops the servers that have been idle, or have run, for longer than a policy allows. It can also delete idle users.
  - Each run of the task is one pass over all servers.
  - The module decides as jupyterhub-idle-culler does. The notes list the differences.
  - In check mode with C(--diff), the module shows which servers and users would go, which would stay, and why.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  idle_timeout:
    description:
      - How long a server may be idle, in seconds or with a unit, for example V(90s), V(30m), V(1h) or V(1d). The module
        stops a server that has had no activity for this time. V(never) means that there is no limit.
      - If O(cull_users=true), the limit also applies to users.
      - If the hub has recorded no activity, the time counts from the start of the server or from the creation of the
        user.
    type: str
    default: 10m
  max_age:
    description:
      - How long a server may run. The module stops a server that has run for this time, even if the server is active.
        V(never) or V(0) means that there is no limit.
      - If O(cull_users=true), the module also deletes a user who has existed for this time. The token needs the scope
        C(read:users) to read when a user was created. Without this scope, the limit does not apply to users.
    type: str
    default: never
  cull_default_servers:
    description: Whether to stop default servers. If V(false), no limit applies to them.
    type: bool
    default: true
  cull_named_servers:
    description: Whether to stop named servers. If V(false), no limit applies to them.
    type: bool
    default: true
  remove_named_servers:
    description: Whether to also remove a named server from the hub when the module stops it. The hub then deletes the
      state and the options that it keeps for the server.
    type: bool
    default: false
  cull_users:
    description: Whether to delete an idle user when none of the user's servers is left. Use it on hubs whose users are
      temporary.
    type: bool
    default: false
  cull_admin_users:
    description: Whether O(cull_users) also deletes admins. This option does not affect the servers of admins.
    type: bool
    default: true
  recheck:
    description: Whether to check each server and each user again right before the module stops or deletes it. A server
      or user that has been used since the pass began then stays. This takes one more request for each server and user
      that would go.
    type: bool
    default: true
  max_culls:
    description:
      - How many servers one pass may stop at most, and how many users it may delete at most. It is a number, or a
        percentage such as V(20%) of the servers that run.
      - If the policy would stop or delete more, the module changes nothing and the task fails. Typical causes are a
        wrong clock and a hub that has lost its record of activity.
      - The module counts servers and users separately. For users, the percentage is of all users.
      - If only one server runs and this server is idle, it is V(100%) of the servers.
    type: str
  concurrency:
    description: How many servers the module stops at the same time, and how many users it deletes at the same time.
    type: int
    default: 10
notes:
  - The token needs the scopes C(list:users), C(read:users:activity), C(read:servers) and C(delete:servers). To delete
    users, it also needs C(delete:users). With O(cull_users=true) and O(cull_admin_users=false), or for a rule with
    O(rules[].admins), it also needs C(read:users).
  - The role P(hubops.jupyterhub.service_account#role) mints tokens with these scopes if C(purpose=cull) or
    C(purpose=cull-users).
  - The module does not stop a server that is starting, that is stopping, or that is not ready for another reason.
  - The module compares times with the clock of the host on which the task runs.
  - If the hub answers that a server is stopping, the module waits until the server is stopped, up to O(stop_timeout).
  - A hub shows a server as stopped even if its spawner failed to stop it. Only the log of the hub shows this failure.
    The module therefore reports such a server as stopped, too.
  - If one server cannot be stopped, the module continues with the others. The task then fails at its end and returns
    everything that it did.
  - On a local connection, the module prints one line every few seconds, for example V(37/200 culled, 2 failed, 10
    pending).
  - Most options have the same names as in jupyterhub-idle-culler. The exceptions are O(idle_timeout), which is
    C(--timeout) there, and O(page_size), which is C(--api-page-size). O(rules) replaces C(cull_arbiter_hook), and the
    schedule of the task replaces C(--cull-every).
  - For C(--ssl-enabled) of jupyterhub-idle-culler, set O(client_cert) to C(hub-internal/hub-internal.crt),
    O(client_key) to C(hub-internal/hub-internal.key) and O(ca_path) to C(hub-ca/hub-ca.crt). These files are in the
    folder that its option C(--internal-certs-location) names.
  - The next notes list what version 2.0.0 of jupyterhub-idle-culler does differently.
  - jupyterhub-idle-culler does not quote the name of a user that it deletes. For C(q?r) or C(q#r) it deletes the user
    C(q), and for C(%41) it deletes the user C(A). It fails for a name with a space or with letters that are not ASCII.
    It also does not quote slashes in these names and in the addresses of servers. This module quotes all names as the
    hub does. It rejects only a name such as C(alice/server), which is itself an address of the hub's API.
  - In jupyterhub-idle-culler, C(--max-age) also stops servers of a kind that is switched off. It also deletes admins if
    C(--cull-admin-users) is off. In this module, O(cull_default_servers), O(cull_named_servers) and
    O(cull_admin_users) apply to both limits.
  - If neither the activity nor the start of a server is known, jupyterhub-idle-culler stops its work on that user with
    an error. This module keeps the server and counts it as C(unknown).
  - jupyterhub-idle-culler always works on one user after another, even with a high C(--concurrency). In this module,
    O(concurrency) counts the servers of all users together.
  - jupyterhub-idle-culler tries to delete the user who owns its token, and the hub rejects this. This module keeps that
    user.
  - If a server is slow to stop, jupyterhub-idle-culler leaves its user to a later pass. This module waits for the
    server and then deletes the user.
seealso:
  - module: hubops.jupyterhub.hub_drain
    description: Stops the servers of a hub before an upgrade, and records them.
  - module: hubops.jupyterhub.hub_server
    description: Starts, stops and removes servers.
  - name: Role hubops.jupyterhub.idle_culler
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/roles/idle_culler/README.md
    description: The role P(hubops.jupyterhub.idle_culler#role) takes passes with this module, now or by a timer.
  - name: Culling
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/culling.rst
    description: Describes all steps from the first preview to schedules.
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
- name: Show which servers would go, which would stay, and why
  hubops.jupyterhub.hub_cull:
    idle_timeout: 1h
  check_mode: true
  diff: true

- name: Stop the servers that have been idle for an hour or have run for a day
  hubops.jupyterhub.hub_cull:
    idle_timeout: 1h
    max_age: 1d
    exclude_users: [verify-bot]
    max_culls: 100
  register: culling

- name: Show the summary
  ansible.builtin.debug:
    msg: "{{ culling.summary }}"

- name: Set other limits for GPUs, teachers and long jobs
  hubops.jupyterhub.hub_cull:
    idle_timeout: 4h
    rules:
      - name: gpu
        user_options:
          profile: gpu-*
        idle_timeout: 30m
      - name: teachers
        groups: [teachers]
        max_age: never
        idle_timeout: 12h
      - name: long jobs
        servers: [batch-*]
        keep: true

- name: Delete temporary users who have been idle for a day, with their servers
  hubops.jupyterhub.hub_cull:
    idle_timeout: 1d
    cull_users: true
    cull_admin_users: false
    remove_named_servers: true
    exclude_users: ["*-bot"]
"""

RETURN = r"""
culled:
  description: The servers that the task stopped, or would stop in check mode.
  returned: if the module could read the hub
  type: list
  elements: dict
  sample:
    - user: alice
      server_name: gpu
      idle_seconds: 11520
      age_seconds: 86400
      rule: gpu
      reason: idle 3 h 12 min, limit 1 h, rule gpu
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
      description: Why the server goes.
      type: str
users_deleted:
  description: The users whom the task deleted, or would delete in check mode. Each item has the keys of RV(culled),
    except C(server_name).
  returned: if the module could read the hub
  type: list
  elements: dict
  sample: [{user: guest-17, idle_seconds: 90000, age_seconds: null, rule: null, reason: "idle 1 d 1 h, limit 1 d"}]
kept_count:
  description:
    - How many servers stay, by the reason. The dictionary contains every reason, and the number is V(0) if a reason
      does not apply.
    - C(active) - the server has not reached a limit.
    - C(pending) - the server is starting or stopping.
    - C(not_ready) - the server is not ready, although nothing is pending.
    - C(excluded) - O(exclude_users) names the user.
    - C(rule) - a rule keeps the server.
    - C(switched_off) - O(cull_default_servers) or O(cull_named_servers) is V(false) for this kind of server.
    - C(unknown) - the hub does not say when the server was active or started.
    - C(used) - the server should go, but it has been used since the module listed it.
    - C(gone) - the server should go, but somebody else has stopped it.
    - C(hidden) - the token may not read the servers of the user.
    - C(admin) - admins are not deleted. This reason applies only to users.
    - C(own) - the user owns the token. This reason applies only to users.
    - C(has_servers) - a server of the user stays. This reason applies only to users.
  returned: if the module could read the hub
  type: dict
  sample: {active: 12, pending: 1, not_ready: 0, excluded: 1, rule: 3, switched_off: 0, admin: 0, own: 0, unknown: 0,
    has_servers: 0, used: 0, gone: 0, hidden: 0}
users_kept_count:
  description: How many users stay, by the reason. The keys are those of RV(kept_count). All numbers are V(0) if
    O(cull_users=false).
  returned: if the module could read the hub
  type: dict
failures:
  description: The servers and users that the task could not stop or delete. Each item has the keys of RV(culled), and
    the key C(failure). The notes describe the keys of C(failure). For a user, C(server_name) is V(null).
  returned: if the module could read the hub
  type: list
  elements: dict
  sample: []
seconds:
  description: How long the pass took.
  returned: if the module could read the hub
  type: float
  sample: 4.217
summary:
  description: A summary of the pass in one line.
  returned: if the module could read the hub
  type: str
  sample: 12 of 40 servers culled, 28 servers kept, 0 failed, in 4.2 s
actions:
  description: What the task did, or what it would do in check mode. The notes describe the items.
  returned: if the module could read the hub
  type: list
  elements: dict
  sample: [{verb: stop, object: "server 'gpu' of user 'alice'", why: "idle 3 h 12 min, limit 1 h, rule gpu"}]
failure:
  description: Why the task failed. If several servers or users could not be stopped or deleted, it describes the first
    one. The notes describe its keys.
  returned: failure
  type: dict
  sample:
    code: conflict
    message: "380 of 400 servers would be culled, more than max_culls (100) allows. Nothing has been done."
    status: null
    method: null
    url: null
    hint: Look at the policy, at the clocks and at what culled says; raise max_culls if all is right.
"""

from typing import Any

from ..module_utils._ansible import HubModule, run_module
from ..module_utils._cull.flow import CullFlow, CullOptions
from ..module_utils._cull.options import STOPPING_OPTIONS
from ..module_utils._cull.policy import Limits, MaxCulls, Policy, Rule
from ..module_utils._hub.client import HubClient
from ..module_utils._hub.connection import parse_duration
from ..module_utils._path.plan import Report


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> CullFlow:
    limits = Limits.from_options(options)
    policy = Policy(
        limits=limits,
        rules=[Rule.from_options(number, rule, limits) for number, rule in enumerate(options["rules"], start=1)],
        **{name: options[name] for name in ("exclude_users", *_SWITCHES)},
    )
    cull_options = CullOptions(
        max_culls=None if options["max_culls"] is None else MaxCulls.parse(options["max_culls"]),
        stop_timeout=parse_duration(options["stop_timeout"], "stop_timeout"),
        **{
            name: options[name]
            for name in ("cull_users", "remove_named_servers", "recheck", "concurrency", "page_size")
        },
    )
    return CullFlow(hub, policy, cull_options, report)


_SWITCHES = ("cull_default_servers", "cull_named_servers", "cull_admin_users")

MODULE = HubModule(
    options={
        "idle_timeout": {"type": "str", "default": "10m"},
        "max_age": {"type": "str", "default": "never"},
        **{name: {"type": "bool", "default": True} for name in _SWITCHES},
        "remove_named_servers": {"type": "bool", "default": False},
        "cull_users": {"type": "bool", "default": False},
        **STOPPING_OPTIONS,
        "recheck": {"type": "bool", "default": True},
        "max_culls": {"type": "str"},
        "concurrency": {"type": "int", "default": 10},
    },
    flow=flow,
)


def main() -> None:
    run_module(MODULE)


if __name__ == "__main__":
    main()
