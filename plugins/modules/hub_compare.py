#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_compare
short_description: Compare a JupyterHub with a snapshot of it
version_added: 1.0.0
description:
  - Compares a snapshot that M(hubops.jupyterhub.hub_snapshot) has written with the hub as it is now, or with another
    snapshot. Use it after an upgrade.
  - Each difference has a severity. V(lost) means that something is not there any more, V(changed) that it is different,
    and V(new) that it was not there before. Each difference is reported once. A user who is gone covers the user's
    memberships, servers and tokens, and a group that is gone covers its members and properties.
  - The module does not fail because of differences. RV(counts) says how many there are.
  - What could be read before and cannot be read now is V(lost), so a token with fewer scopes does not hide a loss.
  - The module changes nothing.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  before:
    description:
      - The path of the first snapshot, or of a folder. Of a folder, the module takes the newest snapshot.
      - The snapshots of a folder are the files in it whose names end in C(.json) and which are snapshots. The module
        ignores all others, and folders below it.
      - The file is on the host on which the task runs.
    type: path
    required: true
  after:
    description:
      - The path of the second snapshot, or of a folder. Of a folder, the module takes the newest snapshot.
      - If not set, the module reads the hub. If set, the module sends no request, and O(hub_url) is not needed.
    type: path
  verification:
    description:
      - The result of a verification of the hub as it is now. It is an item of C(hubs) in the file C(report.json) that
        the role P(hubops.jupyterhub.verify#role) writes.
      - If not set, it is the verification in the snapshot O(after), if there is one.
      - The module compares it with the verification in the snapshot O(before).
    type: dict
  drained:
    description:
      - The path of the record that M(hubops.jupyterhub.hub_drain) has written. A server that the record has and that is
        still to be restored is V(changed) and not V(lost).
      - If there is no such file, nothing was drained. So a playbook may always name the file that it would be. If the
        path is wrong, the servers that were drained are V(lost).
    type: path
  slower_share:
    description:
      - The start of a server is slower if it takes more than this share longer than before, and also more than
        O(slower_seconds) longer. V(0.25) is a quarter.
    type: float
    default: 0.25
  slower_seconds:
    description:
      - See O(slower_share).
    type: float
    default: 2.0
seealso:
  - module: hubops.jupyterhub.hub_snapshot
    description: Writes what a hub has into a file.
  - module: hubops.jupyterhub.hub_drain
    description: Stops the servers of a hub before an upgrade, and records them.
  - name: Role hubops.jupyterhub.upgrade
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/roles/upgrade/README.md
    description: The role P(hubops.jupyterhub.upgrade#role) compares all hubs of an inventory with this module, and
      writes one report.
  - name: Upgrades
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/upgrades.rst
    description: Walks through an upgrade of a hub.
  - name: The report of a comparison
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/compare_report.rst
    description: Describes the files of the report of all hubs.
extends_documentation_fragment:
  - hubops.jupyterhub.hub
  - hubops.jupyterhub.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: The module changes nothing, so there is no difference to show.
  idempotent:
    support: full
notes:
  - The addresses of the hubs are not compared, because an upgraded hub may have a new one. Times of activity, proxy
    routes, and the tokens that a hub issues for servers and OAuth sessions are not compared either.
  - What a token may do is compared by its meaning. JupyterHub 6 splits the scope C(servers) into C(start:servers) and
    C(delete:servers). A token that has C(servers) may do the same as before, so the split is one difference.
  - Use a token with the same scopes for both snapshots. M(hubops.jupyterhub.hub_snapshot) lists the scopes.
"""

EXAMPLES = r"""
- name: Take a snapshot before the upgrade
  hubops.jupyterhub.hub_snapshot:
    path: snapshots/teaching/20261126T180000Z.json

# Upgrade the hub here.

- name: Compare the newest snapshot with the hub as it is now
  hubops.jupyterhub.hub_compare:
    before: snapshots/teaching
  register: comparison

- name: Show what the comparison says
  ansible.builtin.debug:
    var: comparison.summary

- name: Fail if something is lost
  ansible.builtin.assert:
    that: comparison.counts.lost == 0
    fail_msg: "{{ comparison.differences | selectattr('severity', 'eq', 'lost') | map(attribute='message') | list }}"

- name: Do not count the servers that were drained, and tell starts that take twice as long
  hubops.jupyterhub.hub_compare:
    before: snapshots/teaching
    drained: snapshots/teaching/drained.json
    slower_share: 1.0

- name: Compare two snapshots without a hub
  hubops.jupyterhub.hub_compare:
    before: snapshots/teaching/20261126T180000Z.json
    after: snapshots/teaching
"""

RETURN = r"""
before:
  description: The first snapshot.
  returned: success
  type: dict
  sample:
    path: snapshots/teaching/20261126T180000Z.json
    taken: "2026-11-26T18:00:00Z"
    url: https://hub.example.org/
    version: "5.5.4"
  contains:
    path:
      description: The path of the file.
      type: str
    taken:
      description: When it was taken.
      type: str
    url:
      description: The public URL of the hub.
      type: str
    version:
      description: The version of JupyterHub.
      type: str
after:
  description: The second snapshot, or the hub as it is now.
  returned: success
  type: dict
  contains:
    path:
      description: The path of the file. V(null) if the hub was read.
      type: str
    taken:
      description: When it was taken, or when the hub was read.
      type: str
    url:
      description: The public URL of the hub.
      type: str
    version:
      description: The version of JupyterHub.
      type: str
counts:
  description: The number of differences of each severity.
  returned: success
  type: dict
  sample: {lost: 1, changed: 3, new: 0}
differences:
  description: The differences, sorted by severity, kind and name. What is lost comes first.
  returned: success
  type: list
  elements: dict
  sample:
    - severity: lost
      kind: membership
      name: alice
      field: staff
      before: true
      after: false
      message: User 'alice' is no longer in group 'staff'.
  contains:
    severity:
      description: V(lost), V(changed) or V(new).
      type: str
    kind:
      description:
        - What differs. One of V(version), V(authenticator), V(spawner), V(user), V(admin), V(role), V(membership),
          V(group), V(property), V(service), V(scope), V(token), V(server), V(option), V(check), V(start_time),
          V(package), V(kernel) and V(unreadable).
      type: str
    name:
      description:
        - The name of what differs. A server is V(alice/lab), or V(alice) if it is the default server. A token is
          V(alice/a12), with the name of its user and its id. The admins and roles of groups and services have the names
          V(group staff) and V(service news).
      type: str
    field:
      description:
        - The field that differs, such as an option of the server, a property of the group, the name of the group or
          role, or a package. It is empty if the whole thing is lost or new.
      type: str
    before:
      description: The value of the field before. V(null) if there was none. A long value is cut off.
      type: raw
    after:
      description: The value of the field after. V(null) if there is none.
      type: raw
    message:
      description: A sentence for people.
      type: str
servers:
  description: The servers that ran when the first snapshot was taken, by what has become of them.
  returned: success
  type: dict
  sample: {survived: [alice], restarted: [bob/lab], stopped: [], drained: []}
  contains:
    survived:
      description: The servers that have not been stopped since.
      type: list
      elements: str
    restarted:
      description: The servers that were started again.
      type: list
      elements: str
    stopped:
      description: The servers that do not run any more.
      type: list
      elements: str
    drained:
      description: The servers that were drained and are still to be restored.
      type: list
      elements: str
starts:
  description: The starts of servers that both verifications have measured.
  returned: success
  type: list
  elements: dict
  contains:
    check:
      description: The name of the check.
      type: str
    before:
      description: The seconds that the start took before.
      type: float
    after:
      description: The seconds that it takes after.
      type: float
    share:
      description:
        - How much longer it takes, V(0.5) for half as long again. It is below zero if it is faster.
        - V(null) if the start took no time before.
      type: float
not_compared:
  description: What could not be compared, and why.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name, such as V(tokens) or V(users.groups).
      type: str
    message:
      description: A sentence for people.
      type: str
summary:
  description: Lines for people on the two snapshots, on the numbers of differences, and on what is lost.
  returned: success
  type: list
  elements: str
actions:
  description: The list is always empty, because the module changes nothing.
  returned: success
  type: list
  elements: dict
  sample: []
failure:
  description: Why the task failed. The notes describe its keys.
  returned: failure
  type: dict
  sample:
    code: invalid
    message: "'snapshots/teaching.json' is no snapshot: its schema is not hubops.jupyterhub/snapshot."
    status: null
    method: null
    url: null
    hint: Name a file that hub_snapshot has written, and that nobody has changed since.
"""

from typing import Any

from ..module_utils._ansible import HubModule, run_module
from ..module_utils._hub.client import HubClient
from ..module_utils._path.plan import Report
from ..module_utils._snapshot.flow import CompareFlow, CompareSpec
from ..module_utils._snapshot.verification import Slower


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> CompareFlow:
    slower = Slower(options["slower_share"], options["slower_seconds"])
    wanted = CompareSpec(options["before"], options["after"], options["verification"], options["drained"], slower)
    return CompareFlow(hub, wanted, report)


MODULE = HubModule(
    options={
        "before": {"type": "path", "required": True},
        "after": {"type": "path"},
        "verification": {"type": "dict"},
        "drained": {"type": "path"},
        "slower_share": {"type": "float", "default": 0.25},
        "slower_seconds": {"type": "float", "default": 2.0},
    },
    flow=flow,
    works_offline=lambda options: options["after"] is not None,
)


def main() -> None:
    run_module(MODULE)


if __name__ == "__main__":
    main()
