# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: printable
short_description: Make text from another source safe to print
version_added: 1.0.0
description:
  - Replaces control characters and line ends with escape sequences, and shortens a long text.
  - A user of the hub chooses the names of servers. A spawner writes the reason of a failure. After this filter, such a
    text cannot begin a new line of the output and cannot send commands to the terminal.
author:
  - hubops.jupyterhub contributors (@hubops)
positional: longest
options:
  _input:
    description:
      - The text. The filter turns any other value into text.
    type: raw
    required: true
  longest:
    description:
      - The number of characters that the filter keeps. If the text is longer, the filter adds C(...) and the length of
        the text.
    type: int
    default: 2000
seealso:
  - module: hubops.jupyterhub.hub_info
    description: Lists what a hub has, and the scopes of a token.
  - name: Write your own check
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/own_checks.rst
    description: Shows how to check what only your hub has.
"""

EXAMPLES = r"""
- name: List the running servers
  hubops.jupyterhub.hub_info:
    gather: [servers]
  register: answer

- name: Show their names
  ansible.builtin.debug:
    msg: "{{ answer.servers | map(attribute='server_name') | map('hubops.jupyterhub.printable', 300) | join(', ') }}"
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
