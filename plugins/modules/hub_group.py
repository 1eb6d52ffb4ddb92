#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_group
short_description: Create, change and delete groups of a JupyterHub's users
version_added: 1.0.0
description:
  - Creates, changes or deletes one group or many groups. It sets the members and the properties of a group.
  - The module reads the group before and after the change. It writes only what differs.
  - If a user does not exist or the token lacks a scope, the module fails before it changes the group.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  name:
    description: The name of the group. Exactly one of O(name) and O(groups) is required.
    type: str
  state:
    description:
      - The desired state of the group.
      - V(present) creates the group if it does not exist. V(absent) deletes the group, and leaves its members alone.
    type: str
    choices: [present, absent]
    default: present
  users:
    description:
      - The names of the members. The module adds the users who are missing, and removes all other members, unless
        O(append=true). An empty list removes all members.
      - If not set, the module does not change the members.
      - Use this option only for users with lower-case names. A hub looks up the names in lower case, unless its
        authenticator normalizes names in another way. If another user has the same name in lower case, the hub would
        take that other user, so the module fails.
      - If the authenticator of the hub manages groups, the hub may reject the change. Such a hub sets the groups of a
        user again at the next login of the user.
      - The module ignores this option if O(state=absent).
    type: list
    elements: str
  append:
    description: Whether to only add O(users) to the group, and to keep its other members.
    type: bool
    default: false
  properties:
    description:
      - The properties of the group. The module replaces all properties of the group if they differ. An empty dictionary
        removes them.
      - If not set, the module does not change the properties.
      - The result and the diff show the properties. Set C(no_log) on the task if they contain secrets.
      - The module ignores this option if O(state=absent).
    type: dict
  groups:
    description:
      - A list of groups. The module works on them concurrently.
      - If an item does not set an option, the module uses the task's option with the same name.
      - If one group fails, the module continues with the others. The task then fails at its end, and RV(groups)
        contains the result of each group.
    type: list
    elements: dict
    suboptions:
      name:
        description: See O(name).
        type: str
        required: true
      state:
        description: See O(state).
        type: str
        choices: [present, absent]
      users:
        description: See O(users).
        type: list
        elements: str
      append:
        description: See O(append).
        type: bool
      properties:
        description: See O(properties).
        type: dict
  concurrency:
    description: How many of O(groups) the module works on at the same time.
    type: int
    default: 10
notes:
  - The token needs the scope C(read:groups). To change the members or the properties, it needs C(groups), which
    includes C(read:groups). To create a group, it needs C(admin:groups), and to delete one, C(delete:groups). Each
    scope may be restricted to the group, for example as C(groups!group=staff).
  - With the scope C(list:users) or C(read:users:name), the module checks in advance, and in check mode, that the users
    to add exist. Without it, the hub refuses the request that would add an unknown user.
  - Two tasks with different members for the same group do not fight. The task that finds the change of the other one
    fails with the code V(conflict).
seealso:
  - module: hubops.jupyterhub.hub_user
    description: Creates, changes and deletes users.
  - module: hubops.jupyterhub.hub_info
    description: Lists what a hub has, and the scopes of a token.
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
- name: Create a group with exactly these members
  hubops.jupyterhub.hub_group:
    name: staff
    users: [alice, bob]

- name: Add a user to the group, and keep the other members
  hubops.jupyterhub.hub_group:
    name: staff
    users: [carol]
    append: true

- name: Set the properties of the group, and leave the members alone
  hubops.jupyterhub.hub_group:
    name: staff
    properties:
      cpu_limit: 4

- name: Manage many groups in one task
  hubops.jupyterhub.hub_group:
    groups:
      - name: staff
        users: [alice]
      - name: gpu-users
        users: [bob, carol]
        properties: {gpu: true}
      - name: course-2025
        state: absent

- name: Delete the group
  hubops.jupyterhub.hub_group:
    name: staff
    state: absent
"""

RETURN = r"""
group:
  description: The group after the task. V(null) if O(groups) is set. RV(groups) describes the keys.
  returned: always, except for tasks that fail before the module reads the groups
  type: dict
  sample: {name: staff, state: present, users: [alice, bob], properties: {}, changed: true, failure: null}
groups:
  description:
    - The groups after the task, in the order of O(groups). In check mode, the groups as the task would leave them.
    - If O(groups) is not set, the list contains the one group.
  returned: always, except for tasks that fail before the module reads the groups
  type: list
  elements: dict
  sample: [{name: staff, state: present, users: [alice, bob], properties: {}, changed: true, failure: null}]
  contains:
    name:
      description: The name of the group.
      type: str
    state:
      description: V(present) or V(absent). V(null) if the task failed for this group.
      type: str
    users:
      description: The names of all members, sorted. V(null) if there is no group, or if the token may not read them.
      type: list
      elements: str
    properties:
      description: The properties. V(null) if there is no group, or if the token may not read them.
      type: dict
    changed:
      description: Whether the task has changed the group.
      type: bool
    failure:
      description: Why the task failed for this group, with the keys of RV(failure). V(null) if it did not fail.
      type: dict
actions:
  description: What the task did, or what it would do in check mode. The notes describe the items.
  returned: success
  type: list
  elements: dict
  sample: [{verb: add, object: "group 'staff'", why: "it lacks user 'alice'"}]
failure:
  description: Why the task failed. The notes describe its keys.
  returned: failure
  type: dict
  sample:
    code: not_found
    message: "The hub has no user 'alcie', so the task does not change group 'staff'."
    status: null
    method: null
    url: null
    hint: "Check the names, or create the users first, for example with hub_user."
"""

from typing import Any

from ..module_utils._ansible import HubModule, inherit_options, run_module
from ..module_utils._group.flow import GroupSpec, group_batch
from ..module_utils._hub.client import HubClient
from ..module_utils._path.batch import Batch
from ..module_utils._path.plan import Report


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> Batch:
    """Return the flow for the module's validated ``options``. Raises `Invalid`."""
    groups = options["groups"]
    items = [options] if groups is None else [inherit_options(item, options, _SHARED) for item in groups]
    specs = [_spec(item) for item in items]
    return group_batch(hub, specs, report, concurrency=options["concurrency"], is_single=groups is None)


def _spec(options: dict[str, Any]) -> GroupSpec:
    """Return the desired state of one group. Raises `Invalid`."""
    users = options["users"]
    return GroupSpec(
        name=options["name"],
        state=options["state"],
        users=None if users is None else tuple(users),
        append=options["append"],
        properties=options["properties"],
    )


_GROUP: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"]},
    "users": {"type": "list", "elements": "str"},
    "append": {"type": "bool"},
    "properties": {"type": "dict"},
}
_SHARED = tuple(_GROUP)
"""The options that an item of ``groups`` takes from the task if it leaves them out."""
_DEFAULTS = {"state": "present", "append": False}

MODULE = HubModule(
    options={
        "name": {"type": "str"},
        **{name: {**spec, "default": _DEFAULTS.get(name)} for name, spec in _GROUP.items()},
        "groups": {
            "type": "list",
            "elements": "dict",
            "options": {"name": {"type": "str", "required": True}, **_GROUP},
        },
        "concurrency": {"type": "int", "default": 10},
    },
    rules={"required_one_of": [("name", "groups")], "mutually_exclusive": [("name", "groups")]},
    flow=flow,
)


def main() -> None:
    run_module(MODULE)


if __name__ == "__main__":
    main()
