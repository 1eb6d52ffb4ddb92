# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action plugin for tests that writes into a file all that a task can know of the process it runs in."""

from __future__ import annotations

import gc
import json
import locale
import os
import signal
import sys
import tempfile
import threading

from ansible import constants, context
from ansible.plugins import loader
from ansible.plugins.action import ActionBase
from ansible.utils.collection_loader import AnsibleCollectionConfig
from ansible.utils.display import Display


def as_text(value):
    """The value as text. Sets are sorted, since their order differs between processes."""
    return repr(sorted(map(repr, value)) if isinstance(value, (set, frozenset)) else value)


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        display = Display()
        umask = os.umask(0)
        os.umask(umask)
        report = {
            "environment": dict(os.environ),
            "arguments": sys.argv,
            "path": sys.path,
            "executable": sys.executable,
            "flags": str(sys.flags),
            "main": sys.modules["__main__"].__name__,
            "folder": os.getcwd(),
            "temporary": tempfile.gettempdir(),
            "umask": umask,
            "signals": {
                each.name: str(signal.getsignal(each))
                for each in signal.valid_signals()
                if each in signal.Signals.__members__.values()
            },
            "blocked": sorted(map(str, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
            "locale": locale.setlocale(locale.LC_ALL),
            "limits": {"recursion": sys.getrecursionlimit(), "gc": gc.get_threshold(), "collects": gc.isenabled()},
            "threads": threading.active_count(),
            "leads": os.getsid(0) == os.getpid(),
            "settings": {name: as_text(value) for name, value in vars(constants).items() if name.isupper()},
            "command_line": {name: as_text(value) for name, value in context.CLIARGS.items()},
            "loaders": {
                name: [each.config, each._extra_dirs, sorted(each._searched_paths)]
                for name, each in vars(loader).items()
                if isinstance(each, loader.PluginLoader)
            },
            "collections": [AnsibleCollectionConfig.collection_paths, AnsibleCollectionConfig.playbook_paths],
            "display": [display.columns, display.verbosity],
        }
        with open(self._task.args["path"], "w") as file:
            json.dump(report, file)
        return {"changed": False}
