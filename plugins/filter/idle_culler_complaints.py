# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: idle_culler_complaints
short_description: What is wrong with the variables of the role idle_culler
version_added: 1.0.0
description:
  - Looks over the variables of the role P(hubops.jupyterhub.idle_culler#role), before anything is written or culled.
  - The role's own. It changes with the role and without notice, so do not use it elsewhere.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  _input:
    description:
      - The role's variables by their names without C(idle_culler_). C(policy) has those that are options of the module
        P(hubops.jupyterhub.hub_cull#module), and C(connection) those that are the other roles', too, by their names
        without C(hub_).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Make sure that the variables are sound
  ansible.builtin.assert:
    that: idle_culler_settings | hubops.jupyterhub.idle_culler_complaints == []
"""

RETURN = r"""
_value:
  description: Sentences, each with what to do about it; none where all is well.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ..plugin_utils._roles.idle_culler import complaints


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"idle_culler_complaints": complaints}
