# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: service_accounts
short_description: Service accounts with all their keys, for the role service_account
version_added: 1.0.0
description:
  - Completes the accounts that are declared for the role P(hubops.jupyterhub.service_account#role).
  - The role's own. It changes with the role and without notice, so do not use it elsewhere.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  _input:
    description:
      - The accounts, as the role's variable O(hubops.jupyterhub.service_account#role:main:service_accounts) has
        them. Their secrets are not looked at.
      - Where there are none, the one account is meant whose C(user) is in O(settings).
    type: list
    elements: dict
    required: true
  settings:
    description:
      - What an account takes where it leaves something out - every key of an account but C(secret).
      - Besides, C(folder), where relative paths begin, and C(host), for the name of a file that keeps a token.
    type: dict
    required: true
positional: settings
"""

EXAMPLES = r"""
- name: Show the accounts that the role has
  ansible.builtin.debug:
    msg: "{{ service_accounts | hubops.jupyterhub.service_accounts(service_account_settings) }}"
"""

RETURN = r"""
_value:
  description:
    - The accounts with every key but C(secret).
    - Besides, C(number) is an account's place in the list, C(place) what keeps its token, and C(hub_token) what the
      module P(hubops.jupyterhub.hub_token#module) takes, where that is a file.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ..plugin_utils._roles.service_account import completed


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"service_accounts": completed}
