# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: service_account_hub_config
short_description: What a hub must be configured with for its service accounts, for the role service_account
version_added: 1.0.0
description:
  - Says what the templates of the role P(hubops.jupyterhub.service_account#role) write. The same accounts say the same.
  - The role's own. It changes with the role and without notice, so do not use it elsewhere.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  _input:
    description: The accounts, as the filter P(hubops.jupyterhub.service_accounts#filter) returns them.
    type: list
    elements: dict
    required: true
  hub:
    description: What RV(hubops.jupyterhub.hub_info#module:hub) tells.
    type: dict
    required: true
  service:
    description: The name of a service of the hub that may run the role. Empty means none.
    type: str
  token:
    description: What RV(hubops.jupyterhub.hub_info#module:token) tells of the token that the role runs with.
    type: dict
positional: hub, service, token
"""

EXAMPLES = r"""
- name: Ask what the hub is
  hubops.jupyterhub.hub_info:
  register: about

- name: Show the roles of the hub that the accounts need
  ansible.builtin.debug:
    msg: "{{ (service_account_list | hubops.jupyterhub.service_account_hub_config(about.hub)).roles }}"
"""

RETURN = r"""
_value:
  description: What the configuration must say.
  type: dict
  contains:
    names:
      description: The accounts' users.
      type: list
      elements: str
    sections:
      description: The classes of authenticators whose C(refresh_user_hook) is to be set, as far as the hub tells.
      type: list
      elements: str
    roles:
      description:
        - The hub's roles, with C(name), C(scopes), and one of C(users), C(groups) and C(services), which have them.
      type: list
      elements: dict
    members:
      description: Who is to be in which of those groups, each with C(user) and C(group).
      type: list
      elements: dict
    obstacles:
      description: Why this cannot be configured, a sentence each and what to do about it.
      type: list
      elements: str
    lacking:
      description: What the service that runs the role cannot do, a sentence each and what to do about it.
      type: list
      elements: str
    doubt:
      description: Why the hub's authenticator might not ask the hook. Empty where it does, or need not.
      type: str
"""

from collections.abc import Callable
from typing import Any

from ..plugin_utils._roles.service_account import hub_config


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"service_account_hub_config": hub_config}
