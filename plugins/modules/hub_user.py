#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_user
short_description: Create, change and delete users of a JupyterHub, and put them into groups
version_added: 1.0.0
description:
  - Makes sure that a user exists or does not, is an admin or is not, and is a member of groups.
  - A user who goes is rid of running servers first. A hub answers 500 to the deletion of a user with an active named
    server, and deletes half of that user all the same.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  user:
    description:
      - The user's name, as the hub has it. It is used to the letter; most authenticators know lower-case names only.
    type: str
    required: true
    aliases: [name]
  state:
    description: Whether the user exists.
    type: str
    choices: [present, absent]
    default: present
  admin:
    description:
      - Whether the user is an admin. Left out, that stays as it is, and a new user is none.
      - Only a token of an admin may change it.
    type: bool
  groups:
    description:
      - The user is to be a member of each of these groups. Memberships in other groups are left alone.
      - A group that does not exist is a failure, C(not_found), unless O(create_groups) is set.
      - A hub looks up whom it adds to a group by the name in lower case, unless its authenticator has it otherwise. It
        refuses a user with a capital in the name; where there is another one without, this module does.
      - A hub whose authenticator manages groups may refuse, and sets the groups anew at the user's next login.
      - Plays no part with O(state=absent).
    type: list
    elements: str
    default: []
  create_groups:
    description: Whether those of O(groups) that do not exist are created.
    type: bool
    default: false
  wait_timeout:
    description: How long each server of a user who goes may take to stop, in seconds or as V(90s), V(2m).
    type: str
    default: 2m
notes:
  - Needs the scopes C(read:users) and C(admin:users); for O(state=absent) also C(delete:users), C(read:servers) and
    C(delete:servers).
  - For O(groups) also C(groups), which holds for all groups or as V(groups!group=NAME) for one, and C(admin:groups) for
    each group that is to be created. A user who is a member already needs neither.
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

- name: Take the admin's rights back
  hubops.jupyterhub.hub_user:
    user: alice
    admin: false

- name: Make the user a member of two groups, and create those that do not exist
  hubops.jupyterhub.hub_user:
    user: alice
    groups: [staff, gpu-users]
    create_groups: true

- name: Delete the user, after stopping what runs
  hubops.jupyterhub.hub_user:
    user: alice
    state: absent
"""

RETURN = r"""
user:
  description: The user as it is now, or in check mode would be.
  returned: success
  type: dict
  sample: {name: alice, state: present, admin: false, groups: [], created: "2026-11-22T06:00:00.000000Z",
    last_activity: null}
  contains:
    name:
      description: The user's name.
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
  description: What was done, or in check mode would be. The module's notes describe it.
  returned: success
  type: list
  elements: dict
  sample: [{verb: create, object: "user 'alice'", why: the hub does not have it}]
failure:
  description: Why the task failed. The module's notes describe it.
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

from ..module_utils._ansible import Program, run_module
from ..module_utils._hub.client import HubClient
from ..module_utils._hub.connection import seconds
from ..module_utils._path.plan import Report
from ..module_utils._user.flow import UserFlow, UserSpec


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> UserFlow:
    wanted = UserSpec(
        user=options["user"],
        state=options["state"],
        admin=options["admin"],
        wait_timeout=seconds(options["wait_timeout"], "wait_timeout"),
        groups=tuple(options["groups"]),
        create_groups=options["create_groups"],
    )
    return UserFlow(hub, wanted, report)


PROGRAM = Program(
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
    run_module(PROGRAM)


if __name__ == "__main__":
    main()
