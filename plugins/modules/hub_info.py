#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_info
short_description: Tell what a JupyterHub is, whom a token belongs to, and what the hub has
version_added: 1.0.0
description:
  - Reads the hub's version and what the presented token is, and on request the hub's users, servers, groups, services,
    proxy routes and API tokens. Lists are read page by page to their end.
  - Changes nothing.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  gather:
    description:
      - What to read besides the hub and the token. What is not asked for is V(null) in the result.
      - V(users) needs the scope C(list:users) and shows of each user what the token may read.
      - V(servers) needs C(list:users) and C(read:servers); it lists the servers that are not stopped.
      - V(groups) needs C(list:groups), V(services) needs C(list:services), V(routes) needs C(proxy).
      - V(tokens) needs C(read:tokens), and C(list:users) unless O(users) is given. It takes one request for each user,
        ten at a time. A hub deletes a user's expired tokens when it lists them, so they are not shown.
    type: list
    elements: str
    choices: [users, servers, groups, services, routes, tokens]
    default: []
  users:
    description:
      - Read only these users, each by name, for V(users), V(servers) and V(tokens) in O(gather). Needs no
        C(list:users).
    type: list
    elements: str
  require_scopes:
    description:
      - Fail with C(missing_scope), naming what is missing, unless the token holds all of these scopes.
      - Written as the hub writes them, with filters, such as V(start:servers!user=alice) or V(read:servers). C(!user)
        alone stands for the token's owner.
      - Write them as JupyterHub 6 knows them. On older hubs V(start:servers) means what it was split from,
        C(servers).
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - hubops.jupyterhub.hub
  - hubops.jupyterhub.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: Changes nothing, so there is no difference to show.
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Ask what the hub and the token are
  hubops.jupyterhub.hub_info:
  register: answer

- name: Show it
  ansible.builtin.debug:
    msg: "JupyterHub {{ answer.hub.version }}; a token of {{ answer.token.kind }} {{ answer.token.name }}"

- name: Ask anonymously, which tells the version alone
  hubops.jupyterhub.hub_info:
    api_token: ""

- name: List all users and what runs
  hubops.jupyterhub.hub_info:
    gather: [users, servers]

- name: Look at one user's servers
  hubops.jupyterhub.hub_info:
    gather: [servers]
    users: [alice]

- name: List all API tokens of all users
  hubops.jupyterhub.hub_info:
    gather: [tokens]
  register: audit

- name: Show those that never expire and were not used for 90 days
  ansible.builtin.debug:
    msg: "{{ forgotten | map(attribute='user') | zip(forgotten | map(attribute='note')) }}"
  vars:
    forgotten: >-
      {{ audit.tokens | rejectattr('expires_at') | rejectattr('idle_seconds', 'none')
         | selectattr('idle_seconds', 'gt', 90 * 86400) }}

- name: Make sure that the token may start and stop servers of alice
  hubops.jupyterhub.hub_info:
    require_scopes:
      - start:servers!user=alice
      - delete:servers!user=alice
"""

RETURN = r"""
hub:
  description: The hub.
  returned: success
  type: dict
  sample:
    url: https://hub.example.org/
    version: "6.1.1"
    authenticator: {class: oauthenticator.github.GitHubOAuthenticator, version: 17.4.0}
    spawner: {class: kubespawner.spawner.KubeSpawner, version: 7.0.0}
    scope_names: {}
  contains:
    url:
      description: Its public address, as it was understood from O(hub_url).
      type: str
    version:
      description: The version of JupyterHub.
      type: str
    authenticator:
      description: The authenticator's class. V(null) where the token does not hold C(read:hub).
      type: dict
      contains:
        class:
          description: Its full name.
          type: str
        version:
          description: The version of its package, or V(null) if the hub does not know it.
          type: str
    spawner:
      description: The spawner's class. V(null) where the token does not hold C(read:hub).
      type: dict
      contains:
        class:
          description: Its full name.
          type: str
        version:
          description: The version of its package, or V(null) if the hub does not know it.
          type: str
    scope_names:
      description:
        - Scopes of JupyterHub 6 that this hub knows under another name, such as C(servers) for C(start:servers) before
          JupyterHub 6. Empty where there are none.
      type: dict
token:
  description: What the presented token is. V(null) where none was given.
  returned: success
  type: dict
  contains:
    kind:
      description: Whether it belongs to a C(user) or a C(service).
      type: str
    name:
      description: Name of that user or service.
      type: str
    admin:
      description: Whether that is an admin; V(null) where the token may not read it.
      type: bool
    scopes:
      description: What the token may do. The hub expands what includes other scopes.
      type: list
      elements: str
    id:
      description: The token's id, or V(null) before JupyterHub 5.
      type: str
    note:
      description: The token's note, if it can be read; see RV(token.expiry_known).
      type: str
    created:
      description: When it was minted, if that can be read.
      type: str
    expires_at:
      description: When it expires. V(null) means never if RV(token.expiry_known), else unknown.
      type: str
    expiry_known:
      description:
        - Whether the hub tells about the token itself. It does from JupyterHub 5 on, for a user's token with
          C(read:tokens).
      type: bool
users:
  description: The users as the hub shows them, with V(users) in O(gather).
  returned: success
  type: list
  elements: dict
servers:
  description: The servers that are not stopped, with V(servers) in O(gather).
  returned: success
  type: list
  elements: dict
  contains:
    user:
      description: Whose server it is.
      type: str
    server_name:
      description: Its name, empty for the default server.
      type: str
    ready:
      description: Whether it is ready.
      type: bool
    pending:
      description: What is under way, such as C(spawn) or C(stop), or V(null).
      type: str
    url:
      description: Its address below the hub's host.
      type: str
    started:
      description: When it was started.
      type: str
    last_activity:
      description: When it was last used.
      type: str
    user_options:
      description: The options that it was started with.
      type: dict
groups:
  description: The groups as the hub shows them, with V(groups) in O(gather).
  returned: success
  type: list
  elements: dict
services:
  description: The services as the hub shows them, with V(services) in O(gather).
  returned: success
  type: list
  elements: dict
routes:
  description: The proxy's routes, with V(routes) in O(gather).
  returned: success
  type: list
  elements: dict
tokens:
  description:
    - The API tokens, with V(tokens) in O(gather), in the order of the users. Never their secrets, which a hub does not
      keep.
    - Times count from the clock of the machine where the task runs.
  returned: success
  type: list
  elements: dict
  sample:
    - user: alice
      token_id: a12
      note: nightly build
      scopes: [access:servers!user=alice, read:users:name!user=alice]
      created: "2026-11-22T06:00:00.000000Z"
      age_seconds: 7200
      expires_at: "2026-12-22T06:00:00.000000Z"
      expires_in_seconds: 2584800
      last_activity: null
      idle_seconds: null
  contains:
    user:
      description: Whose token it is.
      type: str
    token_id:
      description: Its id, by which it can be revoked.
      type: str
    note:
      description: Its note.
      type: str
    scopes:
      description: What it may do, as the hub expands it, sorted.
      type: list
      elements: str
    created:
      description: When it was minted.
      type: str
    age_seconds:
      description: Whole seconds since then.
      type: int
    expires_at:
      description: When it expires, or V(null) if never.
      type: str
    expires_in_seconds:
      description: Whole seconds until then, or V(null) if never.
      type: int
    last_activity:
      description: When it was last used, or V(null) if never. Hubs note that once in 30 seconds.
      type: str
    idle_seconds:
      description: Whole seconds since then, or V(null) if it was never used.
      type: int
actions:
  description: What was done, or in check mode would be. The module's notes describe it.
  returned: success
  type: list
  elements: dict
  sample: []
failure:
  description: Why the task failed. The module's notes describe it.
  returned: failure
  type: dict
  sample:
    code: unauthorized
    message: "The hub does not accept the API token: Forbidden."
    status: 403
    method: GET
    url: https://hub.example.org/hub/api/user
    hint: "It is unknown, expired or revoked, its owner must log in again, or it is that of a service which the hub's
      configuration does not name yet. Mint a new one with hub_token."
"""

from typing import Any

from ..module_utils._ansible import Program, run_module
from ..module_utils._hub.client import HubClient
from ..module_utils._info.flow import GATHER, InfoFlow, InfoSpec
from ..module_utils._path.plan import Report


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> InfoFlow:
    wanted = InfoSpec(
        gather=tuple(options["gather"]),
        users=None if options["users"] is None else tuple(options["users"]),
        require_scopes=tuple(options["require_scopes"]),
    )
    return InfoFlow(hub, wanted, report)


PROGRAM = Program(
    options={
        "gather": {"type": "list", "elements": "str", "choices": list(GATHER), "default": []},
        "users": {"type": "list", "elements": "str"},
        "require_scopes": {"type": "list", "elements": "str", "default": []},
    },
    flow=flow,
)


def main() -> None:
    run_module(PROGRAM)


if __name__ == "__main__":
    main()
