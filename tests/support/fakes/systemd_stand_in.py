# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for systemd, where it does not run: starts a service's command with its environment and credentials.

done = start(folder / "x.service", folder, {"PATH": "/usr/bin:/bin"})

It knows what the role idle_culler writes. Whatever keeps a service away from the rest of the machine it leaves out.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from support.playbooks import Played, run


def settings(unit: Path) -> dict[str, list[str]]:
    """All values of each setting, in their order. The names of sections say nothing here: no setting is in two."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def start(unit: Path, folder: Path, env: Mapping[str, str]) -> Played:
    """Run the service once, with its runtime and its credentials in this folder."""
    said, runtime, credentials = settings(unit), folder / "run", folder / "credentials"

    def specified(text: str) -> str:
        return re.sub("%(.)", lambda match: {"N": unit.stem, "t": str(runtime), "%": "%"}[match[1]], text)

    home = runtime / specified(said["RuntimeDirectory"][0])
    home.mkdir(parents=True)
    credentials.mkdir()
    for name, path in (specified(line).split(":", 1) for line in said["LoadCredential"]):
        shutil.copy(path, credentials / name)
    given = dict(word.split("=", 1) for line in said["Environment"] for word in shlex.split(specified(line)))
    environment = {**env, **given, "CREDENTIALS_DIRECTORY": str(credentials)}
    command = [
        re.sub(r"\$\$|\$\{(\w+)\}", lambda match: environment[match[1]] if match[1] else "$", word)
        for word in shlex.split(specified(said["ExecStart"][0]))
    ]
    try:
        return run(command, Path("/"), environment)
    finally:
        shutil.rmtree(runtime)
        shutil.rmtree(credentials)
