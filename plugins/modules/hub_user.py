#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_user
short_description: Create, change and delete users of a JupyterHub, and add them to groups
version_added: 1.0.0
description:
  - Creates, changes or deletes a user. It can also make the user an admin and add the user to groups.
  - The module stops the user's servers before it deletes the user. A hub cannot delete a user with an active named
    server. It answers with the status 500, and deletes only a part of the user.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  user:
    description:
      - The name of the user. The module uses the name exactly as it is written. Most authenticators accept only
        lower-case names.
    type: str
    required: true
    aliases: [name]
  state:
    description:
      - The desired state of the user.
      - V(present) creates the user if the user does not exist. V(absent) deletes the user.
    type: str
    choices: [present, absent]
    default: present
  admin:
    description:
      - Whether the user is an admin. If not set, an existing user stays as it is, and a new user is not an admin.
      - Only the token of an admin may change this.
    type: bool
  groups:
    description:
      - The names of the groups that the user must be a member of. The module does not change the user's memberships in
        other groups.
      - If a group does not exist, the module fails with the code V(not_found), unless O(create_groups=true).
      - Use this option only for users with lower-case names. When a hub adds a user to a group, it looks up the name in
        lower case, unless its authenticator normalizes names in another way. The hub therefore rejects a user whose
        name has an upper-case letter. If another user has the same name in lower case, the hub would add that other
        user, so the module fails.
      - If the authenticator of the hub manages groups, the hub may reject the change. Such a hub sets the groups again
        at the next login of the user.
      - The module ignores this option if O(state=absent).
    type: list
    elements: str
    default: []
  create_groups:
    description: Whether to create the groups in O(groups) that do not exist.
    type: bool
    default: false
  wait_timeout:
    description:
      - How long each server of a user may take to stop before the user is deleted, in seconds or with a unit, for
        example V(90s) or V(2m).
    type: str
    default: 2m
notes:
  - The token needs the scopes C(read:users) and C(admin:users). For O(state=absent), it also needs C(delete:users),
    C(read:servers) and C(delete:servers).
  - For the option O(groups), the token also needs the scope C(groups), either for all groups or as
    C(groups!group=NAME) for each group. To create a group, it also needs C(admin:groups) for that group. It needs
    neither of them for a group that the user is already a member of.
seealso:
  - module: hubops.jupyterhub.hub_group
    description: Creates, changes and deletes groups.
  - module: hubops.jupyterhub.hub_token
    description: Mints, renews and revokes API tokens.
  - name: Role hubops.jupyterhub.service_account
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/roles/service_account/README.md
    description: The role P(hubops.jupyterhub.service_account#role) creates accounts for programs with this module,
      and keeps their tokens.
  - name: Service accounts
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/service_accounts.rst
    description: Shows how to declare accounts, and where their tokens are kept.
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
- name: Create a user
  hubops.jupyterhub.hub_user:
    user: alice

- name: Make the user an admin
  hubops.jupyterhub.hub_user:
    user: alice
    admin: true

- name: Remove the admin rights of the user
  hubops.jupyterhub.hub_user:
    user: alice
    admin: false

- name: Add the user to two groups, and create the groups that do not exist
  hubops.jupyterhub.hub_user:
    user: alice
    groups: [staff, gpu-users]
    create_groups: true

- name: Stop the servers of the user and delete the user
  hubops.jupyterhub.hub_user:
    user: alice
    state: absent
"""

RETURN = r"""
user:
  description: The user after the task. In check mode, the user as the task would leave it.
  returned: success
  type: dict
  sample: {name: alice, state: present, admin: false, groups: [], created: "2026-11-22T06:00:00.000000Z",
    last_activity: null}
  contains:
    name:
      description: The name of the user.
      type: str
    state:
      description: V(present) or V(absent).
      type: str
    admin:
      description: Whether the user is an admin.
      type: bool
    groups:
      description: The names of all groups of the user, sorted.
      type: list
      elements: str
    created:
      description: When the user was created.
      type: str
    last_activity:
      description: When the user was last active.
      type: str
actions:
  description: What the task did, or what it would do in check mode. The notes describe the items.
  returned: success
  type: list
  elements: dict
  sample: [{verb: create, object: "user 'alice'", why: the hub does not have it}]
failure:
  description: Why the task failed. The notes describe its keys.
  returned: failure
  type: dict
  sample:
    code: missing_scope
    message: "The token lacks the scope 'admin:users' for user 'alice'; it holds list:users."
    status: 403
    method: POST
    url: https://hub.example.org/hub/api/users/alice
    hint: "Mint it with admin:users, or have an admin grant that scope to its owner."
"""

from typing import Any

from ..module_utils._ansible import HubModule, run_module
from ..module_utils._hub.client import HubClient
from ..module_utils._hub.connection import parse_duration
from ..module_utils._path.plan import Report
from ..module_utils._user.flow import UserFlow, UserSpec


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> UserFlow:
    """Return the flow for the module's validated ``options``. Raises `Invalid`."""
    wanted = UserSpec(
        user=options["user"],
        state=options["state"],
        admin=options["admin"],
        wait_timeout=parse_duration(options["wait_timeout"], "wait_timeout"),
        groups=tuple(options["groups"]),
        create_groups=options["create_groups"],
    )
    return UserFlow(hub, wanted, report)


MODULE = HubModule(
    options={
        "user": {"type": "str", "required": True, "aliases": ["name"]},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "admin": {"type": "bool"},
        "groups": {"type": "list", "elements": "str", "default": []},
        "create_groups": {"type": "bool", "default": False},
        "wait_timeout": {"type": "str", "default": "2m"},
    },
    flow=flow,
)


def main() -> None:
    run_module(MODULE)


if __name__ == "__main__":
    main()
