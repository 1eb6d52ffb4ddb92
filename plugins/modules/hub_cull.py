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
  - One pass over all servers that stops those that have been idle, or have run, for longer than a policy allows. It can
    delete idle users as well.
  - It decides as jupyterhub-idle-culler does, once each time it is run. The notes list where it does not.
  - In check mode, with C(--diff), it shows what would go, what would stay, and why.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  idle_timeout:
    description:
      - A server goes that has had no activity for this long, in seconds or as V(90s), V(30m), V(1h), V(1d). V(never) is
        no limit. With O(cull_users), it is the limit of users, too.
      - Where the hub knows of no activity, the time counts from the start of the server, or from the creation of the
        user.
    type: str
    default: 10m
  max_age:
    description:
      - A server goes that was started this long ago, however active it is. With O(cull_users), so does a user who was
        created this long ago, as far as the token may see when that was (C(read:users)).
      - Left out, V(never) or V(0) is no limit.
    type: str
    default: never
  cull_default_servers:
    description: Whether default servers are culled, on whichever ground.
    type: bool
    default: true
  cull_named_servers:
    description: Whether named servers are culled, on whichever ground.
    type: bool
    default: true
  remove_named_servers:
    description: Whether a named server that goes is removed from the hub, with the state and the options that the hub
      keeps of it.
    type: bool
    default: false
  cull_users:
    description: Whether idle users are deleted, once no server of theirs is left. It is meant for hubs whose users are
      temporary.
    type: bool
    default: false
  cull_admin_users:
    description: Whether O(cull_users) deletes admins, too. It does not matter to their servers.
    type: bool
    default: true
  exclude_users:
    description: Users whose servers stay, and who stay themselves. C(*), C(?) and C([ab]) stand for any characters,
      one, and one of these.
    type: list
    elements: str
    default: []
  rules:
    description:
      - Other limits for some. The first rule that matches decides; where none does, O(idle_timeout) and O(max_age) do.
      - A rule matches where all that it names does. Of a list, one item must. A rule that names nothing, or just all
        users, matches everything, and can only be the last.
      - A rule that names O(rules[].servers) or O(rules[].user_options) says nothing of users.
      - A limit that a rule leaves out is the task's own.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What the rule is called in results. Left out, it is its number, V(1) for the first.
        type: str
      users:
        description: Names of users, with C(*), C(?) and C([ab]) as in O(exclude_users).
        type: list
        elements: str
      groups:
        description: Names of groups, one of which the user is a member of, with C(*), C(?) and C([ab]). The token needs
          C(read:users:groups).
        type: list
        elements: str
      servers:
        description: Names of servers, with C(*), C(?) and C([ab]). An empty name is the default server.
        type: list
        elements: str
      admins:
        description: V(true) for admins, V(false) for all others.
        type: bool
      user_options:
        description: Options of the spawner that the server was started with, by their names. A value is equal, or is a
          text with C(*), C(?) and C([ab]), or a list of these one of which fits.
        type: dict
      properties:
        description: Properties of the user as the hub's API shows them, such as C(roles) or C(auth_state), by their
          names, with values as in O(rules[].user_options). The token must be allowed to read them. For C(auth_state),
          each user is read singly.
        type: dict
      idle_timeout:
        description: As O(idle_timeout), for those that match.
        type: str
      max_age:
        description: As O(max_age), for those that match.
        type: str
      keep:
        description: Whether those that match stay in any case. With it, a rule has no limits.
        type: bool
        default: false
  recheck:
    description: Whether each server and each user is looked at again right before it goes, and stays if it has been
      used since the pass began. It is one request more for each that goes.
    type: bool
    default: true
  max_culls:
    description:
      - The most that one pass may take, as a number, or as a percentage such as V(20%) of the servers that run. If the
        policy would take more, nothing is done, and the task fails. That is what a wrong clock looks like, or a hub
        that has lost its record of activity.
      - Servers and users are counted apart. Where the last one that runs is idle, it is V(100%).
    type: str
  stop_timeout:
    description: How long a server may take to stop, in seconds or as V(90s), V(10m). One that takes longer has failed.
    type: str
    default: 2m
  concurrency:
    description: How many servers are stopped, or users deleted, at a time.
    type: int
    default: 10
  page_size:
    description: How many users are listed in one request. A hub gives no more than its C(api_page_max_limit).
    type: int
    default: 200
notes:
  - Needs the scopes C(list:users), C(read:users:activity), C(read:servers) and C(delete:servers), and C(delete:users)
    to delete users. The role P(hubops.jupyterhub.service_account#role) mints such tokens, with C(purpose=cull) or
    C(purpose=cull-users).
  - Servers that are starting, stopping, or otherwise not ready are left alone.
  - Times are compared by the clock of the host on which the task runs.
  - A server that the hub says is stopping is waited for until it is gone, or until O(stop_timeout).
  - A hub takes a server for stopped even where its spawner failed to stop it, and only its log tells. So does this
    module.
  - One that cannot be stopped ends no other. The task then fails at its end, with all that was done.
  - On a local connection a line such as V(37/200 culled, 2 failed, 10 pending) is shown every few seconds.
  - In jupyterhub-idle-culler, O(idle_timeout) is C(--timeout) and O(page_size) is C(--api-page-size). The files of its
    C(--ssl-enabled) are O(client_cert) C(hub-internal/hub-internal.crt), O(client_key) C(hub-internal/hub-internal.key)
    and O(ca_path) C(hub-ca/hub-ca.crt), below C(--internal-certs-location). Its C(cull_arbiter_hook) is O(rules), and
    whoever schedules the task is its C(--cull-every). All else has the same name. What follows it does otherwise.
  - Version 2.0.0 does not quote the name of a user whom it deletes. With C(q?r) or C(q#r) it deletes the user C(q),
    with C(%41) the user C(A); with a space, or letters beyond ASCII, it fails. It quotes slashes neither there nor in
    the addresses of servers. Here all names are quoted as the hub does it. Only a name such as C(alice/server), which
    is itself an address of the hub's API, is refused.
  - Its C(--max-age) stops servers of a kind that is switched off, and deletes admins although C(--cull-admin-users) is
    off. Here the switches hold for both limits.
  - A server of which neither activity nor start is known ends its work on that user with an error. Here it stays, and
    is counted as C(unknown).
  - It works one user after another, whatever its C(--concurrency). Here O(concurrency) counts servers, of whomever.
  - It tries to delete the user whose token it has, which a hub refuses. Here that user stays.
  - It leaves a user whose server is slow to stop to a later pass. Here the server is waited for, then the user goes.
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
- name: See what would go, what would stay, and why
  hubops.jupyterhub.hub_cull:
    idle_timeout: 1h
  check_mode: true
  diff: true

- name: Stop what has been idle for an hour, or has run for a day
  hubops.jupyterhub.hub_cull:
    idle_timeout: 1h
    max_age: 1d
    exclude_users: [verify-bot]
    max_culls: 100
  register: culling

- name: Say what was done
  ansible.builtin.debug:
    msg: "{{ culling.summary }}"

- name: Have other limits for GPUs and for teachers
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

- name: Delete temporary users who have been away for a day, with their servers
  hubops.jupyterhub.hub_cull:
    idle_timeout: 1d
    cull_users: true
    cull_admin_users: false
    remove_named_servers: true
    exclude_users: ["*-bot"]
"""

RETURN = r"""
culled:
  description: The servers that were stopped, or in check mode would be.
  returned: once the hub has been read
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
      description: Whose server it is.
      type: str
    server_name:
      description: Its name, empty for the default server.
      type: str
    idle_seconds:
      description: For how long it had no activity when it was listed, V(null) where the hub does not tell.
      type: int
    age_seconds:
      description: For how long it had run, V(null) where the hub does not tell.
      type: int
    rule:
      description: The rule that decided, V(null) where none matched.
      type: str
    reason:
      description: Why it goes.
      type: str
users_deleted:
  description: The users who were deleted, or in check mode would be, each as an item of RV(culled) without
    C(server_name).
  returned: once the hub has been read
  type: list
  elements: dict
  sample: [{user: guest-17, idle_seconds: 90000, age_seconds: null, rule: null, reason: "idle 1 d 1 h, limit 1 d"}]
kept_count:
  description:
    - How many servers stay, by the reason, and V(0) for every other reason.
    - C(active), no limit is reached. C(pending), it is starting or stopping. C(not_ready), it is not ready, although
      nothing is pending. C(excluded), O(exclude_users) names its user. C(rule), a rule keeps it. C(switched_off),
      servers of its kind are not culled. C(unknown), the hub tells of no time to measure by. C(used), it was to go and
      has been used since it was listed. C(gone), it was to go and somebody else has ended it. C(hidden), the token may
      not read the user's servers.
    - For users there are C(admin), admins are not culled, C(own), the token is the user's own, and C(has_servers), a
      server of the user stays.
  returned: once the hub has been read
  type: dict
  sample: {active: 12, pending: 1, not_ready: 0, excluded: 1, rule: 3, switched_off: 0, admin: 0, own: 0, unknown: 0,
    has_servers: 0, used: 0, gone: 0, hidden: 0}
users_kept_count:
  description: How many users stay, by the reason, as RV(kept_count). All are 0 without O(cull_users).
  returned: once the hub has been read
  type: dict
failures:
  description: What was to go and could not, each as an item of RV(culled), C(server_name) being V(null) for a user,
    with the C(failure) that the module's notes describe.
  returned: once the hub has been read
  type: list
  elements: dict
  sample: []
seconds:
  description: How long the pass took.
  returned: once the hub has been read
  type: float
  sample: 4.217
summary:
  description: The pass in one line.
  returned: once the hub has been read
  type: str
  sample: 12 of 40 servers culled, 28 servers kept, 0 failed, in 4.2 s
actions:
  description: What was done, or in check mode would be. The module's notes describe it.
  returned: once the hub has been read
  type: list
  elements: dict
  sample: [{verb: stop, object: "server 'gpu' of user 'alice'", why: "idle 3 h 12 min, limit 1 h, rule gpu"}]
failure:
  description: Why the task failed. Where something could not be stopped, of the first. The module's notes describe it.
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

from ..module_utils._ansible import Program, run_module
from ..module_utils._cull.flow import CullFlow, Pass
from ..module_utils._cull.policy import Limits, Policy, Rule, Share
from ..module_utils._hub.client import HubClient
from ..module_utils._hub.connection import seconds
from ..module_utils._path.plan import Report


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> CullFlow:
    limits = Limits.of(options)
    policy = Policy(
        limits=limits,
        rules=[Rule.of(number, rule, limits) for number, rule in enumerate(options["rules"], start=1)],
        **{name: options[name] for name in ("exclude_users", *_SWITCHES)},
    )
    how = Pass(
        max_culls=None if options["max_culls"] is None else Share.of(options["max_culls"]),
        stop_timeout=seconds(options["stop_timeout"], "stop_timeout"),
        **{
            name: options[name]
            for name in ("cull_users", "remove_named_servers", "recheck", "concurrency", "page_size")
        },
    )
    return CullFlow(hub, policy, how, report)


_SWITCHES = ("cull_default_servers", "cull_named_servers", "cull_admin_users")
_NAMES = {"type": "list", "elements": "str"}

PROGRAM = Program(
    options={
        "idle_timeout": {"type": "str", "default": "10m"},
        "max_age": {"type": "str", "default": "never"},
        **{name: {"type": "bool", "default": True} for name in _SWITCHES},
        "remove_named_servers": {"type": "bool", "default": False},
        "cull_users": {"type": "bool", "default": False},
        "exclude_users": {**_NAMES, "default": []},
        "rules": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "name": {"type": "str"},
                "users": _NAMES,
                "groups": _NAMES,
                "servers": _NAMES,
                "admins": {"type": "bool"},
                "user_options": {"type": "dict"},
                "properties": {"type": "dict"},
                "idle_timeout": {"type": "str"},
                "max_age": {"type": "str"},
                "keep": {"type": "bool", "default": False},
            },
        },
        "recheck": {"type": "bool", "default": True},
        "max_culls": {"type": "str"},
        "stop_timeout": {"type": "str", "default": "2m"},
        "concurrency": {"type": "int", "default": 10},
        "page_size": {"type": "int", "default": 200},
    },
    flow=flow,
)


def main() -> None:
    run_module(PROGRAM)


if __name__ == "__main__":
    main()
