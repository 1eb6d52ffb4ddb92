# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module for tests that writes into a file what it knows of its process and of how it was sent there."""

from __future__ import annotations

import json
import os
import signal
import sys

from ansible.module_utils import basic


def main():
    module = basic.AnsibleModule({"path": {"type": "path", "required": True}})
    umask = os.umask(0)
    os.umask(umask)
    with open(f"/proc/{os.getppid()}/cmdline") as file:
        parent = file.read()
    report = {
        "environment": dict(os.environ),
        "arguments": sys.argv,
        "path": sys.path,
        "flags": str(sys.flags),
        "folder": os.getcwd(),
        "umask": umask,
        "name": module._name,
        "utilities": basic.__file__,
        "main": sys.modules["__main__"].__dict__.get("__file__"),
        "signals": {int(each): str(signal.getsignal(each)) for each in signal.valid_signals()},
        "files": len(os.listdir("/proc/self/fd")),
        "leads": [os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid()],
        "parent": parent,
        "encodings": [sys.stdin.encoding, sys.stdout.encoding, sys.getfilesystemencoding(), sys.stdout.errors],
    }
    with open(module.params["path"], "w") as file:
        json.dump(report, file)
    module.exit_json()


if __name__ == "__main__":
    main()
