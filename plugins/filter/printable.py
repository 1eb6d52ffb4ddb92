# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: printable
short_description: Text that others wrote, for people to read
version_added: 1.0.0
description:
  - Control characters and line ends become escapes, and a text that is too long is cut.
  - Such a text can neither begin a line of its own on the screen nor write over others.
  - The role's own. It changes with the roles and without notice, so do not use it elsewhere.
author:
  - hubops.jupyterhub contributors (@hubops)
positional: longest
options:
  _input:
    description:
      - The text.
    type: raw
    required: true
  longest:
    description:
      - How many characters of it are shown.
    type: int
    default: 2000
"""

EXAMPLES = r"""
- name: Show what the hub says that it is
  ansible.builtin.debug:
    msg: "{{ answer.hub.version | hubops.jupyterhub.printable(300) }}"
"""

RETURN = r"""
_value:
  description: The text in one line.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ..module_utils._hub.errors import printable


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"printable": printable}
