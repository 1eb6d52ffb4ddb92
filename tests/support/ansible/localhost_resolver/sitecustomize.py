# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With this folder on PYTHONPATH, Python resolves every host below .localhost to the loopback.

Browsers and systemd's resolver do so (RFC 6761); the plain C library does not.
"""

from __future__ import annotations

import socket

_system_getaddrinfo = socket.getaddrinfo


def getaddrinfo(host, *arguments, **more):
    name = host.decode() if isinstance(host, bytes) else str(host)
    return _system_getaddrinfo("127.0.0.1" if name.lower().endswith(".localhost") else host, *arguments, **more)


socket.getaddrinfo = getaddrinfo
