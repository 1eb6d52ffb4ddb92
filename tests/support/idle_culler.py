# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs passes of the published jupyterhub-idle-culler, which hub_cull is compared with, in an environment of its own.

with running_idle_culler() as idle_culler:
    warnings = idle_culler.run_pass(api, token, inactive_limit=600)

One process runs all passes of the block. It reads each pass as a line of JSON, and answers with another line when the
pass is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.hubs import REPOSITORY, venv


@dataclass(frozen=True)
class IdleCuller:
    process: subprocess.Popen[str]

    def run_pass(self, url: str, api_token: str, **options: Any) -> list[str]:
        """One pass of its `cull_idle`, with its own names of the options. Returns its warnings and errors."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"url": url, "api_token": api_token, **options}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"jupyterhub-idle-culler has ended with {self.process.wait(10)}"
        return json.loads(line)


@contextlib.contextmanager
def running_idle_culler() -> Iterator[IdleCuller]:
    command = [venv("culler") / "bin" / "python", Path(__file__).resolve()]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield IdleCuller(process)
        finally:
            process.kill()


class WarningRecorder(logging.Handler):
    """Records what jupyterhub-idle-culler logs as a warning or an error, with the exception if there is one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info and record.exc_info[1]
        self.lines.append(record.getMessage() + (f": {error!r}" if error else ""))


async def serve() -> None:
    from jupyterhub_idle_culler import cull_idle

    logger = logging.getLogger("idle-culler")
    logger.propagate = False
    for line in sys.stdin:
        logger.handlers = [warnings := WarningRecorder()]
        try:
            await cull_idle(logger=logger, **json.loads(line))
        except Exception as error:
            # Its daemon logs this, and tries again half a timeout later.
            warnings.lines.append(f"The pass ended: {error!r}")
        # If one stop fails, the pass leaves the user's other stops under way. Its daemon's event loop finishes them.
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
        print(json.dumps(warnings.lines), flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
