# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With this folder on PYTHONPATH, what Python would write to the system's log goes to the file RECORDED_SYSLOG."""

from __future__ import annotations

import os
import syslog

_ident = ""


def openlog(ident="", logoption=0, facility=0):
    global _ident
    _ident = ident


def record(*arguments):
    with open(os.environ["RECORDED_SYSLOG"], "a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f"{_ident}: {arguments[-1]}\n")


if "RECORDED_SYSLOG" in os.environ:
    syslog.openlog, syslog.syslog = openlog, record
