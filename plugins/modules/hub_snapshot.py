#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_snapshot
short_description: Write down what a JupyterHub has, to compare it later
version_added: 1.0.0
description:
  - Reads everything that the API token may see of a hub, and writes it into one file. The file has the hub's version,
    its users, servers, groups, services, tokens and proxy routes.
  - Take a snapshot before an upgrade. Afterwards, M(hubops.jupyterhub.hub_compare) says what is gone, what has changed
    and what is new.
  - The file contains no secret of the hub. It has no token, only the notes and the scopes of tokens. It has no
    authentication state, no state of a spawner, and no command of a service. It names people, and it has the options
    of their servers, so only the owner of the file can read it.
  - The file is complete or it is not written at all.
  - What the token may not read is named in the file and in the result.
  - The module changes nothing on the hub.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  path:
    description:
      - The path of the file to write. A file that is already there is replaced.
      - The file has the mode 0600. The module creates the folders that are missing, with the mode 0700.
      - The file is on the host on which the task runs.
    type: path
    required: true
  verification:
    description:
      - The result of a verification, to compare the seconds of starts, the versions of packages and the kernels later.
      - It is an item of C(hubs) in the file C(report.json) that the role P(hubops.jupyterhub.verify#role) writes.
    type: dict
seealso:
  - module: hubops.jupyterhub.hub_compare
    description: Says what a hub has lost since a snapshot, what has changed, and what is new.
  - module: hubops.jupyterhub.hub_info
    description: Lists what a hub has, and the scopes of a token.
  - name: Role hubops.jupyterhub.upgrade
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/roles/upgrade/README.md
    description: The role P(hubops.jupyterhub.upgrade#role) takes a snapshot of each hub of an inventory with this
      module.
  - name: Upgrades
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/upgrades.rst
    description: Walks through an upgrade of a hub.
  - name: Snapshots
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/snapshots.rst
    description: Describes the file of a snapshot.
extends_documentation_fragment:
  - hubops.jupyterhub.hub
  - hubops.jupyterhub.attributes
attributes:
  check_mode:
    support: full
    details: The module reads the hub in check mode, too, and does not write the file.
  diff_mode:
    support: partial
    details: The difference shows how many items of each kind the snapshot has.
  idempotent:
    support: none
    details: Each run writes a new snapshot.
notes:
  - A token without a scope still gets a snapshot, of what it may see. To read everything, it needs C(list:users),
    C(read:users), C(read:roles), C(read:servers), C(read:tokens), C(list:groups), C(read:groups), C(list:services),
    C(read:services), C(read:hub) and C(proxy).
  - The module sends one request for the tokens of each user, at most ten at a time.
"""

EXAMPLES = r"""
- name: Take a snapshot before the upgrade
  hubops.jupyterhub.hub_snapshot:
    path: snapshots/teaching/{{ now(utc=true).strftime('%Y%m%dT%H%M%SZ') }}.json
  register: snapshot

- name: Show how many users, servers and tokens it has
  ansible.builtin.debug:
    var: snapshot.counts

- name: Fail unless the token may read everything
  ansible.builtin.assert:
    that: snapshot.unreadable == []
    fail_msg: "{{ snapshot.unreadable | map(attribute='message') | join(' ') }}"

- name: Take a snapshot that says how long servers take to start
  hubops.jupyterhub.hub_snapshot:
    path: snapshots/teaching/with-verification.json
    verification:
      verdict: passed
      checks:
        - name: lab
          verdict: passed
          phases: [{name: start, verdict: passed, seconds: 4.1, details: {}}]
"""

RETURN = r"""
path:
  description: The absolute path of the file.
  returned: success
  type: str
  sample: /srv/snapshots/teaching/20261126T180000Z.json
counts:
  description: How many items of each kind the snapshot has. A value is V(null) if the token may not read any of them.
  returned: success
  type: dict
  sample: {users: 512, servers: 640, running: 37, groups: 12, services: 3, tokens: 801, routes: 39}
  contains:
    users:
      description: The number of users.
      type: int
    servers:
      description: The number of servers that the hub knows. Servers that are stopped are among them.
      type: int
    running:
      description: The number of servers that run or start.
      type: int
    groups:
      description: The number of groups.
      type: int
    services:
      description: The number of services.
      type: int
    tokens:
      description: The number of tokens. Those that the hub has issued for servers and OAuth sessions are among them.
      type: int
    routes:
      description: The number of routes of the proxy.
      type: int
unreadable:
  description: What the token may not read, or only in part, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: A kind of things such as V(tokens), or a field of them such as V(users.groups).
      type: str
    scope:
      description: The scope that the token needs.
      type: str
    message:
      description: A sentence for people.
      type: str
hub:
  description: The hub.
  returned: success
  type: dict
  contains:
    url:
      description: The public URL of the hub.
      type: str
    version:
      description: The version of JupyterHub.
      type: str
    authenticator:
      description: The C(class) and the C(version) of the authenticator. V(null) without the scope C(read:hub).
      type: dict
    spawner:
      description: The C(class) and the C(version) of the spawner. V(null) without the scope C(read:hub).
      type: dict
actions:
  description: The file that was written, or that would be written in check mode.
  returned: success
  type: list
  elements: dict
  sample:
    - verb: write
      object: snapshot 'snapshots/teaching/20261126T180000Z.json'
      why: there is none yet
failure:
  description: Why the task failed. The notes describe its keys.
  returned: failure
  type: dict
  sample:
    code: invalid
    message: "'/srv/snapshots/teaching.json' cannot be written: No space left on device."
    status: null
    method: null
    url: null
    hint: Give path a folder that can be written to.
"""

from typing import Any

from ..module_utils._ansible import HubModule, run_module
from ..module_utils._hub.client import HubClient
from ..module_utils._path.plan import Report
from ..module_utils._snapshot.flow import SnapshotFlow, SnapshotSpec


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> SnapshotFlow:
    return SnapshotFlow(hub, SnapshotSpec(options["path"], options["verification"]), report)


MODULE = HubModule(
    options={"path": {"type": "path", "required": True}, "verification": {"type": "dict"}},
    flow=flow,
)


def main() -> None:
    run_module(MODULE)


if __name__ == "__main__":
    main()
