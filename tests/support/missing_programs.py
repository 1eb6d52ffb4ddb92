# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the project's tools as on a machine on which some programs are missing.

programs = link_programs(tmp_path / "bin", without=["chromium"])
done = run_tool(programs, "tools/chromium", "--look")
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from support.hubs import REPOSITORY
from support.playbooks import ProgramResult, run_program


def link_programs(folder: Path, without: Iterable[str]) -> Path:
    """Create a folder with the programs of this machine, except for these and apt-get."""
    missing = {*without, "apt-get"}
    folder.mkdir()
    for path in os.environ["PATH"].split(":"):
        for program in Path(path).glob("*"):
            if program.name not in missing and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return folder


def run_tool(programs: Path, *command: str, **more: str) -> ProgramResult:
    """Run a command in the repository with only these programs."""
    return run_program(command, REPOSITORY, {**os.environ, "PATH": str(programs), **more})


def write_program(programs: Path, name: str, script: str) -> None:
    """Replace a program with a script of the shell."""
    (programs / name).unlink(missing_ok=True)
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)
