# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake of systemd, for machines without it, that runs a service's command with its environment and credentials.

result = run_service(folder / "x.service", folder, {"PATH": "/usr/bin:/bin"})

It knows the settings that the role idle_culler writes. It ignores those that isolate a service from the machine.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from support.playbooks import ProgramResult, run_program


def unit_settings(unit: Path) -> dict[str, list[str]]:
    """All values of each setting, in order. Sections are ignored, since no setting is in two of them."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def run_service(unit: Path, folder: Path, env: Mapping[str, str]) -> ProgramResult:
    """Run the service once, with its runtime folder and its credentials in this folder."""
    settings, runtime, credentials = unit_settings(unit), folder / "run", folder / "credentials"

    def expand(text: str) -> str:
        return re.sub("%(.)", lambda match: {"N": unit.stem, "t": str(runtime), "%": "%"}[match[1]], text)

    home = runtime / expand(settings["RuntimeDirectory"][0])
    home.mkdir(parents=True)
    credentials.mkdir()
    for name, path in (expand(line).split(":", 1) for line in settings["LoadCredential"]):
        shutil.copy(path, credentials / name)
    given = dict(word.split("=", 1) for line in settings["Environment"] for word in shlex.split(expand(line)))
    environment = {**env, **given, "CREDENTIALS_DIRECTORY": str(credentials)}
    command = [
        re.sub(r"\$\$|\$\{(\w+)\}", lambda match: environment[match[1]] if match[1] else "$", word)
        for word in shlex.split(expand(settings["ExecStart"][0]))
    ]
    try:
        return run_program(command, Path("/"), environment)
    finally:
        shutil.rmtree(runtime)
        shutil.rmtree(credentials)
