#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_info
short_description: Gather information about a JupyterHub and about an API token
version_added: 1.0.0
description:
  - Returns the hub's version, and the owner and the scopes of the API token.
  - On request, the module also lists the hub's users, servers, groups, services, proxy routes and API tokens. It reads
    each list page by page to its end.
  - The module changes nothing.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  gather:
    description:
      - What to read in addition to the hub and the token. The result contains V(null) for each list that is not
        requested.
      - V(users) needs the scope C(list:users). It returns the properties of each user that the token may read.
      - V(servers) needs C(list:users) and C(read:servers). It returns the servers that are not stopped.
      - V(groups) needs C(list:groups), V(services) needs C(list:services), and V(routes) needs C(proxy).
      - V(tokens) needs C(read:tokens). It also needs C(list:users), unless the option O(users) is set. The module sends
        one request for each user, at most ten at a time.
      - V(tokens) does not return expired tokens. A hub deletes the expired tokens of a user when it lists the user's
        tokens.
      - V(all) reads everything that the token may see, and also the servers that are stopped. The result
        RV(unreadable) names what the token may not see, so the module does not fail for a missing scope. It fails for
        a missing scope only if you name the part beside V(all), for example as V(all,tokens).
      - A token sees everything with the scopes C(list:users), C(read:users), C(read:servers), C(read:tokens),
        C(list:groups), C(read:groups), C(list:services), C(read:services), C(read:roles), C(read:hub) and C(proxy).
    type: list
    elements: str
    choices: [users, servers, groups, services, routes, tokens, all]
    default: []
  users:
    description:
      - The names of the users to read for V(users), V(servers) and V(tokens) in O(gather). The module reads each of
        them by name and does not need C(list:users).
      - If not set, the module reads all users. You cannot use this option with V(all) in O(gather).
    type: list
    elements: str
  require_scopes:
    description:
      - The scopes that the token must have. If one is missing, the module fails with the code V(missing_scope), and the
        message names the missing scopes.
      - Write each scope as the hub writes it, including the filter. Examples are V(read:servers) and
        V(start:servers!user=alice). The filter C(!user) without a name stands for the owner of the token.
      - Use the scope names of JupyterHub 6, which split the scope C(servers) into C(start:servers) and
        C(delete:servers). On older hubs, the module takes V(start:servers) as C(servers).
    type: list
    elements: str
    default: []
seealso:
  - module: hubops.jupyterhub.hub_snapshot
    description: Writes what a hub has into a file.
  - module: hubops.jupyterhub.hub_user
    description: Creates, changes and deletes users.
  - module: hubops.jupyterhub.hub_server
    description: Starts, stops and removes servers.
  - module: hubops.jupyterhub.hub_token
    description: Mints, renews and revokes API tokens.
  - name: Role hubops.jupyterhub.service_account
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/roles/service_account/README.md
    description: The role P(hubops.jupyterhub.service_account#role) checks with this module that a new token works.
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
"""

EXAMPLES = r"""
- name: Read the hub's version and the owner of the token
  hubops.jupyterhub.hub_info:
  register: answer

- name: Show the version and the owner
  ansible.builtin.debug:
    msg: "JupyterHub {{ answer.hub.version }}; a token of {{ answer.token.kind }} {{ answer.token.name }}"

- name: Read the hub's version without a token
  hubops.jupyterhub.hub_info:
    api_token: ""

- name: List all users and all servers that are not stopped
  hubops.jupyterhub.hub_info:
    gather: [users, servers]

- name: List the servers of one user
  hubops.jupyterhub.hub_info:
    gather: [servers]
    users: [alice]

- name: List the API tokens of all users
  hubops.jupyterhub.hub_info:
    gather: [tokens]
  register: audit

- name: Show the tokens that never expire and have not been used for 90 days
  ansible.builtin.debug:
    msg: "{{ forgotten | map(attribute='user') | zip(forgotten | map(attribute='note')) }}"
  vars:
    forgotten: >-
      {{ audit.tokens | rejectattr('expires_at') | rejectattr('idle_seconds', 'none')
         | selectattr('idle_seconds', 'gt', 90 * 86400) }}

- name: Read everything that the token may see
  hubops.jupyterhub.hub_info:
    gather: [all]
  register: everything

- name: Show what the token may not see, and the scopes that it lacks
  ansible.builtin.debug:
    msg: "{{ everything.unreadable | map(attribute='name') | zip(everything.unreadable | map(attribute='scope')) }}"

- name: Fail unless the token may start and stop the servers of alice
  hubops.jupyterhub.hub_info:
    require_scopes:
      - start:servers!user=alice
      - delete:servers!user=alice
"""

RETURN = r"""
hub:
  description: Information about the hub.
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
      description: The public URL of the hub, as the module understood O(hub_url).
      type: str
    version:
      description: The version of JupyterHub.
      type: str
    authenticator:
      description: The hub's authenticator. V(null) if the token does not have the scope C(read:hub).
      type: dict
      contains:
        class:
          description: The full name of the class.
          type: str
        version:
          description: The version of the package that contains the class. V(null) if the hub does not know it.
          type: str
    spawner:
      description: The hub's spawner. V(null) if the token does not have the scope C(read:hub).
      type: dict
      contains:
        class:
          description: The full name of the class.
          type: str
        version:
          description: The version of the package that contains the class. V(null) if the hub does not know it.
          type: str
    scope_names:
      description:
        - The scopes of JupyterHub 6 that have another name on this hub. The keys are the names in JupyterHub 6, and the
          values are the names on this hub. Before JupyterHub 6, C(start:servers) is called C(servers).
        - It is empty if there are no such scopes.
      type: dict
token:
  description: Information about the API token. V(null) if the task has no token.
  returned: success
  type: dict
  contains:
    kind:
      description: The kind of the owner of the token, V(user) or V(service).
      type: str
    name:
      description: The name of the owner.
      type: str
    admin:
      description: Whether the owner is an admin. V(null) if the token may not read it.
      type: bool
    scopes:
      description: The scopes of the token. The hub expands a scope that includes other scopes.
      type: list
      elements: str
    id:
      description: The id of the token. V(null) before JupyterHub 5.
      type: str
    note:
      description: The note of the token. V(null) if RV(token.expiry_known=false).
      type: str
    created:
      description: When the token was minted. V(null) if RV(token.expiry_known=false).
      type: str
    expires_at:
      description:
        - When the token expires.
        - If RV(token.expiry_known=true), V(null) means that the token never expires.
        - If RV(token.expiry_known=false), the value is always V(null), and the time is unknown.
      type: str
    expiry_known:
      description:
        - Whether the hub has returned the note and the times of the token. JupyterHub 5 and later return them for the
          token of a user if the token has the scope C(read:tokens).
      type: bool
users:
  description: The users as the hub returns them, if O(gather) contains V(users) or V(all).
  returned: success
  type: list
  elements: dict
servers:
  description:
    - The servers that are not stopped, if O(gather) contains V(servers).
    - If O(gather) contains V(all), the list also has the servers that are stopped and that the hub knows from their
      last start.
  returned: success
  type: list
  elements: dict
  contains:
    user:
      description: The name of the user who owns the server.
      type: str
    server_name:
      description: The name of the server. It is empty for the default server.
      type: str
    ready:
      description: Whether the server is ready.
      type: bool
    pending:
      description: The change that is in progress, for example C(spawn) or C(stop). V(null) if there is none.
      type: str
    url:
      description: The address of the server. It is a path on the hub's host, or a URL if the hub uses subdomains.
      type: str
    started:
      description: When the server was started.
      type: str
    last_activity:
      description: When the server was last used.
      type: str
    user_options:
      description: The spawner options that the server was started with.
      type: dict
    stopped:
      description: Whether the server is stopped. Only if O(gather) contains V(all).
      type: bool
groups:
  description: The groups as the hub returns them, if O(gather) contains V(groups) or V(all).
  returned: success
  type: list
  elements: dict
services:
  description: The services as the hub returns them, if O(gather) contains V(services) or V(all).
  returned: success
  type: list
  elements: dict
routes:
  description: The routes of the hub's proxy, if O(gather) contains V(routes) or V(all).
  returned: success
  type: list
  elements: dict
tokens:
  description:
    - The API tokens in the order of the users, if O(gather) contains V(tokens).
    - The list does not contain the secrets of the tokens, because a hub does not store them.
    - The module calculates all durations with the clock of the machine on which the task runs.
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
      description: The name of the user who owns the token.
      type: str
    token_id:
      description: The id of the token. The hub's API uses this id to revoke a token.
      type: str
    note:
      description: The note of the token.
      type: str
    scopes:
      description: The scopes of the token as the hub expands them, sorted.
      type: list
      elements: str
    created:
      description: When the token was minted.
      type: str
    age_seconds:
      description: The age of the token in whole seconds.
      type: int
    expires_at:
      description: When the token expires. V(null) if it never expires.
      type: str
    expires_in_seconds:
      description: The time until the token expires, in whole seconds. V(null) if it never expires.
      type: int
    last_activity:
      description: When the token was last used. V(null) if it was never used. A hub updates this at most every 30
        seconds.
      type: str
    idle_seconds:
      description: The time since the token was last used, in whole seconds. V(null) if it was never used.
      type: int
unreadable:
  description:
    - What the token may not read, sorted by name. It is empty if the token has read everything.
    - A part that is missing as a whole is V(null). A part that is named here and is not V(null) has only what the
      token may see of it.
  returned: success, if O(gather) contains V(all)
  type: list
  elements: dict
  sample:
    - name: tokens
      scope: read:tokens
      message: The token may not read the tokens.
  contains:
    name:
      description:
        - A part, which is C(hub), C(users), C(servers), C(groups), C(services), C(routes) or C(tokens), or a field of a
          part, for example C(users.groups).
        - C(hub) stands for the authenticator and the spawner of the hub.
      type: str
    scope:
      description: The scope that the token needs.
      type: str
    message:
      description: What the token may not read.
      type: str
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
    code: unauthorized
    message: "The hub does not accept the API token: Forbidden."
    status: 403
    method: GET
    url: https://hub.example.org/hub/api/user
    hint: "It is unknown, expired or revoked, its owner must log in again, or it is that of a service which the hub's
      configuration does not name yet. Mint a new one with hub_token."
"""

from typing import Any

from ..module_utils._ansible import HubModule, run_module
from ..module_utils._hub.client import HubClient
from ..module_utils._hub.errors import Invalid
from ..module_utils._info.flow import ALL, GATHER, InfoFlow, InfoSpec
from ..module_utils._path.plan import Report


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> InfoFlow:
    """Return the flow for the module's validated ``options``. Raises `Invalid`."""
    if ALL in options["gather"] and options["users"] is not None:
        raise Invalid("gather has all, which reads all users.", "Leave users out, or name the parts in gather.")
    wanted = InfoSpec(
        gather=tuple(options["gather"]),
        users=None if options["users"] is None else tuple(options["users"]),
        require_scopes=tuple(options["require_scopes"]),
    )
    return InfoFlow(hub, wanted, report)


MODULE = HubModule(
    options={
        "gather": {"type": "list", "elements": "str", "choices": [*GATHER, ALL], "default": []},
        "users": {"type": "list", "elements": "str"},
        "require_scopes": {"type": "list", "elements": "str", "default": []},
    },
    flow=flow,
)


def main() -> None:
    run_module(MODULE)


if __name__ == "__main__":
    main()
