# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to this machine that is not called local, so that an action plugin takes it for another host."""

from __future__ import annotations

from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: other_host
short_description: This machine, as if it were another host
description: Works like the local connection, under another name.
author: hubops.jupyterhub contributors (@hubops)
extends_documentation_fragment: connection_pipelining
"""


class Connection(Local):
    transport = "other_host"
