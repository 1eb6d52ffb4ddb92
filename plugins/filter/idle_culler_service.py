# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: idle_culler_service
short_description: The service of a hub that culls, for the role idle_culler
version_added: 1.0.0
description:
  - Says what the templates of the role P(hubops.jupyterhub.idle_culler#role) write for a hub.
  - The same variables say the same.
  - The role's own. It changes with the role and without notice, so do not use it elsewhere.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  _input:
    description:
      - As the filter P(hubops.jupyterhub.idle_culler_complaints#filter) takes them.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what the service may do
  ansible.builtin.debug:
    msg: "{{ (idle_culler_settings | hubops.jupyterhub.idle_culler_service).scopes }}"
"""

RETURN = r"""
_value:
  description: What the hub's configuration must say.
  type: dict
  contains:
    scopes:
      description: The scopes of the service's role.
      type: list
      elements: str
    arguments:
      description: The options of jupyterhub-idle-culler.
      type: list
      elements: str
    chart_arguments:
      description: The same where Zero to JupyterHub runs the hub.
      type: list
      elements: str
"""

from collections.abc import Callable
from typing import Any

from ..plugin_utils._roles.idle_culler import service


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"idle_culler_service": service}
