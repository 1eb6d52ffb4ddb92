# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What `hub_cull` and `hub_drain` have in common: which servers stay, and how servers are listed and stopped."""

    DOCUMENTATION = r"""
options:
  exclude_users:
    description: The names of the users to keep, with all of their servers. In a name, C(*) matches any number of
      characters, C(?) matches one character, and C([ab]) matches one of the characters in the brackets.
    type: list
    elements: str
    default: []
  rules:
    description:
      - A list of rules that set other limits for some servers, or keep them. The first rule that matches decides. If no
        rule matches, the limits of the task apply.
      - A rule matches if all of its criteria match. If a criterion is a list, one of its items must match.
      - The criteria are O(rules[].users), O(rules[].groups), O(rules[].servers), O(rules[].admins),
        O(rules[].user_options) and O(rules[].properties).
      - A rule matches everything if it has no criteria, or if its only criterion is O(rules[].users) with the item
        C(*). Such a rule must be the last one.
      - If the module also deletes users, the rules apply to them, too. A rule with O(rules[].servers) or
        O(rules[].user_options) applies only to servers, and not to users.
      - If a rule sets only one of the limits, the other one is that of the task.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the rule in the results. If not set, it is the number of the rule. The first rule is
          V(1).
        type: str
      users:
        description: Names of users. C(*), C(?) and C([ab]) work as in O(exclude_users).
        type: list
        elements: str
      groups:
        description: Names of groups. The user must be a member of one of them. C(*), C(?) and C([ab]) work as in
          O(exclude_users). The token needs the scope C(read:users:groups).
        type: list
        elements: str
      servers:
        description: Names of servers. C(*), C(?) and C([ab]) work as in O(exclude_users). An empty name matches the
          default server.
        type: list
        elements: str
      admins:
        description: Whether the user is an admin. V(true) matches admins, and V(false) matches all other users.
        type: bool
      user_options:
        description: Spawner options that the server was started with. The keys are the names of the options. Each value
          is an exact value, a text with C(*), C(?) and C([ab]) as in O(exclude_users), or a list of these. One item of
          a list must match.
        type: dict
      properties:
        description: Properties of the user as the hub's API shows them, for example C(roles) or C(auth_state). The keys
          are the names of the properties, and the values work as in O(rules[].user_options). The token must be allowed
          to read the properties. For C(auth_state), the module sends one request for each user.
        type: dict
      idle_timeout:
        description: The O(idle_timeout) of what matches.
        type: str
      max_age:
        description: How old what matches may get, even if it is active. V(never) or V(0) means that there is no limit.
        type: str
      keep:
        description: Whether to keep what matches in any case. Such a rule cannot set limits.
        type: bool
        default: false
  stop_timeout:
    description: How long a server may take to stop, in seconds or with a unit, for example V(90s) or V(10m). If a
      server takes longer, the module reports it in RV(failures).
    type: str
    default: 2m
  page_size:
    description: How many users the module lists in one request. A hub returns at most its C(api_page_max_limit).
    type: int
    default: 200
"""
