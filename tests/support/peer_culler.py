# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""jupyterhub-idle-culler as it is published, one pass at a time, in a process of its own environment.

with running_peer() as peer:
    complaints = peer.cull(api, token, inactive_limit=600)

The process lives for all passes of the block: it takes one as a line of JSON, and says in another when it is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.hubs import venv


@dataclass(frozen=True)
class Peer:
    process: subprocess.Popen[str]

    def cull(self, url: str, api_token: str, **options: Any) -> list[str]:
        """One pass of its `cull_idle`, with its own names of its options; returns what it warned and complained of."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"url": url, "api_token": api_token, **options}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the peer has ended with {self.process.wait(10)}"
        return json.loads(line)


@contextlib.contextmanager
def running_peer() -> Iterator[Peer]:
    command = [venv("culler") / "bin" / "python", Path(__file__).resolve()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Peer(process)
        finally:
            process.kill()


class Complaints(logging.Handler):
    """What the peer logs from warnings on, with the error where there is one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info and record.exc_info[1]
        self.lines.append(record.getMessage() + (f": {error!r}" if error else ""))


async def serve() -> None:
    from jupyterhub_idle_culler import cull_idle

    logger = logging.getLogger("peer")
    logger.propagate = False
    for line in sys.stdin:
        logger.handlers = [complaints := Complaints()]
        try:
            await cull_idle(logger=logger, **json.loads(line))
        except Exception as error:
            # Its daemon would log it, and try again half a timeout later.
            complaints.lines.append(f"The pass ended: {error!r}")
        # Where one stop fails, it leaves the user's other ones under way; its daemon's loop would see to them.
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
        print(json.dumps(complaints.lines), flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
