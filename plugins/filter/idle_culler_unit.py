# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: idle_culler_unit
short_description: The systemd units that cull, for the role idle_culler
version_added: 1.0.0
description:
  - Says what the templates of the role P(hubops.jupyterhub.idle_culler#role) write for systemd.
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
- name: Show how many seconds are between two passes
  ansible.builtin.debug:
    msg: "{{ (idle_culler_settings | hubops.jupyterhub.idle_culler_unit).every }}"
"""

RETURN = r"""
_value:
  description: What the units must say, quoted as they have it.
  type: dict
  contains:
    every:
      description: Seconds from one pass to the next, 0 where a calendar says when they are.
      type: int
    calendar:
      description: The calendar, empty where there is none.
      type: str
    delay:
      description: Up to how many seconds later a pass may begin.
      type: int
    program:
      description: The path of C(ansible-playbook).
      type: str
    url:
      description: The hub's address.
      type: str
    credentials:
      description: The paths of files that only the service gets to read, by the names that they have for it.
      type: dict
    environment:
      description: Assignments to environment variables.
      type: list
      elements: str
    variables:
      description: Lines of YAML, with the variables of a pass.
      type: list
      elements: str
"""

from collections.abc import Callable
from typing import Any

from ..plugin_utils._roles.idle_culler import unit


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"idle_culler_unit": unit}
