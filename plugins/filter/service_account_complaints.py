# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: service_account_complaints
short_description: What is wrong with declared service accounts, for the role service_account
version_added: 1.0.0
description:
  - Looks over the accounts that are declared for the role P(hubops.jupyterhub.service_account#role), before its hub
    hears of anything.
  - The role's own. It changes with the role and without notice, so do not use it elsewhere.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  _input:
    description:
      - The accounts, as the role's variable O(hubops.jupyterhub.service_account#role:main:service_accounts) has
        them. Of their secrets only that they are given is looked at.
    type: list
    elements: dict
    required: true
  settings:
    description:
      - As the filter P(hubops.jupyterhub.service_accounts#filter) takes them.
      - Besides, C(vault_password_given) and C(secret_given), whether the role's variables have a password for vaults,
        and a secret for the accounts that have none of their own.
    type: dict
    required: true
positional: settings
"""

EXAMPLES = r"""
- name: Make sure that the declaration is sound
  ansible.builtin.assert:
    that: service_accounts | hubops.jupyterhub.service_account_complaints(service_account_settings) == []
"""

RETURN = r"""
_value:
  description: Sentences, each with what to do about it; none where all is well.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ..plugin_utils._roles.service_account import complaints


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"service_account_complaints": complaints}
