# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  action_group:
    description: Is part of the action group, so that C(module_defaults) can set the connection options of all modules.
    support: full
    membership:
      - hubops.jupyterhub.hub
  async:
    description: Supports being used with the C(async) keyword.
    support: full
  check_mode:
    description: Can run in check mode and return what it would change, without changing it.
  diff_mode:
    description: In diff mode, returns what it changed, or what it would change in check mode.
  idempotent:
    description: Changes nothing if it runs a second time with the same options. This does not apply to check mode.
"""
