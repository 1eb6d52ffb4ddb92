# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs published programs that hub_verify is compared with, each in an environment of its own.

    with start_peer("peer-jhub-client", "jhubctl", "run", ..., folder=tmp_path) as process:
        process.wait()

hucl needs Python 3.13, but only for how it writes its types. With an older Python, this file is its launcher: it takes
these out of the source while Python imports it. The code that runs is the published one.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TYPES = (
    (re.compile(rb"^type (\w+).*", re.M), rb"\1 = None"),
    (re.compile(rb"^class (\w+)\[\*\*P, T\]\(Protocol\)", re.M), rb"class \1(Protocol[P, T])"),
)


@contextlib.contextmanager
def start_peer(environment: str, *command: str, folder: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    """The running program, with ``folder`` for its home and ``more`` in its environment. It is killed at the end."""
    from support.hubs import venv

    bin_folder = venv(environment) / "bin"
    start = [str(bin_folder / "python"), __file__] if command[0] == "hucl" else [str(bin_folder / command[0])]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **more}
    env["PYTHONPYCACHEPREFIX"] = str(folder)  # pip has compiled some files with their types
    process = subprocess.Popen(
        [*start, *command[1:]], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def without_types(source: Any) -> Any:
    for pattern, text in TYPES:
        source = pattern.sub(text, source)
    return b"from __future__ import annotations\n" + source


def launch_hucl() -> None:
    loader = importlib.machinery.SourceFileLoader
    original = loader.source_to_code

    def source_to_code(self: Any, data: Any, path: Any, **more: Any) -> Any:
        is_hucl = "hucl" in Path(os.fspath(path)).parts
        return original(self, without_types(data) if is_hucl else data, path, **more)

    if sys.version_info < (3, 13):
        loader.source_to_code = source_to_code  # type: ignore[method-assign]
    from hucl.cli import hucl

    hucl()


if __name__ == "__main__":
    launch_hucl()
