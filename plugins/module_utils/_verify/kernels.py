# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernels for the phases that run code in a server, and why such a kernel died."""

from __future__ import annotations

import ast
import contextlib
import time
from collections.abc import Iterator
from typing import Any

from .._exec import failures
from .._exec.failures import KernelDied
from .._exec.kernel_client import KernelClient
from .._exec.output import Output
from .._exec.session import KernelSession, open_session
from .._hub.errors import HubError
from .running_server import RunningServer

LONGEST_TEXT = 10_000
"""Characters of each text in the details of a phase. The last ones are kept."""
_POST_MORTEM_TIMEOUT = 20.0
"""Seconds that a server may take to show why a kernel died."""

_COUNT_KILLS = '''
def count_kills(files):
    import os

    def find_counter(line):
        """Return the file with the counter of the control group that a line of /proc/self/cgroup names, or None."""
        controllers, group = (line.strip().split(":", 2) + ["", ""])[1:3]
        if controllers not in ("", "memory") and "memory" not in controllers.split(","):
            return None
        root, name = ("/sys/fs/cgroup/memory", "memory.oom_control") if controllers else (
            "/sys/fs/cgroup", "memory.events")
        parts = [part for part in group.split("/") if part]
        # In a container, the path may be that of the host, and the container's own group is the root.
        for size in range(len(parts), -1, -1):
            file = os.path.join(root, *(parts[:size] + [name]))
            if os.path.exists(file):
                return file
        return None

    if files is None:
        with open("/proc/self/cgroup") as lines:
            files = [file for file in map(find_counter, lines) if file]
    counts = {}
    for file in files:
        with open(file) as lines:
            for line in lines:
                words = line.split()
                if words[:1] == ["oom_kill"]:
                    counts[file] = int(words[1])
    return counts
'''
"""Returns how often the system has killed a process of the kernel's own control groups because of their memory, by the
files with the counters: of this kernel, or the given files.

Version 1 of control groups counts a kill in the group of the killed process only. Version 2 counts it in all groups
above, too, where kills of other users' processes count as well. So this reads the innermost group only.
"""
_LONGEST_COUNTS = 10_000
"""Characters of a kernel's answer that can be counters."""


def run_code(server: RunningServer, code: str, kernel_name: str, timeout: float) -> Output:
    """Run code in a kernel of its own and return its output.

    ``kernel_name`` is the name of a kernel spec, or empty for the server's default. ``timeout`` is in seconds, from the
    request for the kernel to the end of the code. Raises `CodeRaised` if the code raises an exception, and the other
    failures of `_exec.failures`, with the output so far in ``result``.
    """
    with open_kernel(server, kernel_name, timeout) as session:
        output = session.execute(code)
    if output.error:
        raise failures.code_raised(output.error).with_result(output.as_result())
    return output


@contextlib.contextmanager
def open_kernel(server: RunningServer, kernel_name: str, timeout: float) -> Iterator[KernelSession]:
    """Start a kernel for the block, which has ``timeout`` seconds in all.

    If the kernel dies within the block, this finds out whether it was killed because of its memory, and raises
    `OutOfMemory` instead of `KernelDied`.
    """
    counts: dict[str, int] = {}
    name = kernel_name
    try:
        kernels = _kernels_of(server, timeout)
        with server.left_overs.hold(kernels.abandon), open_session(kernels, kernel_name) as session:
            name = session.kernel_name
            counts = _count_kills(session)
            yield session
    except KernelDied as death:
        if has_more_kills(counts, _recount_kills(server, name, counts)):
            raise failures.out_of_memory(server.title).with_result(death.result) from None
        raise


def _kernels_of(server: RunningServer, timeout: float) -> KernelClient:
    return KernelClient(server.hub, server.url, server.title, timeout, time.monotonic() + timeout)


def _count_kills(session: KernelSession, files: list[str] | None = None) -> dict[str, int]:
    """Return the counters of a Python kernel, and of other kernels nothing. This leaves no name in the kernel."""
    if not session.is_python:
        return {}
    call = f"(lambda names: (exec({_COUNT_KILLS!r}, names), names['count_kills']({files!r}))[1])({{}})"
    output = session.execute("", silent=True, user_expressions={"counts": call})
    return parse_counts(output.expression("counts"))


def _recount_kills(server: RunningServer, kernel_name: str, before: dict[str, int]) -> dict[str, int]:
    """Return the same counters after a kernel died, from a new kernel. They are empty if there is no answer."""
    if not before:
        return {}
    try:
        kernels = _kernels_of(server, _POST_MORTEM_TIMEOUT)
        # An interrupted task has ended the kernel itself, and must not start another one.
        with server.left_overs.hold(kernels.abandon), open_session(kernels, kernel_name) as session:
            return _count_kills(session, list(before))
    except HubError:
        return {}


def parse_counts(text: str | None) -> dict[str, int]:
    """Return the counters in a kernel's answer. They are empty if it has none."""
    if text is None or len(text) > _LONGEST_COUNTS:
        return {}
    try:
        found: Any = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: count for name, count in found.items() if isinstance(name, str) and isinstance(count, int)}


def has_more_kills(before: dict[str, int], after: dict[str, int]) -> bool:
    """Return whether one of the counters has grown. A counter that is above zero may have been so before."""
    return any(after.get(file, count) > count for file, count in before.items())


def shorten_output(result: dict[str, Any]) -> dict[str, Any]:
    """Return the output of an execution (`Output.as_result`) for the details of a phase, without the beginnings of long
    texts."""
    error = result.get("error")
    value = result.get("result")
    return {
        "stdout": _keep_end(result.get("stdout", "")),
        "stderr": _keep_end(result.get("stderr", "")),
        "result": None if value is None else _keep_end(value),
        "error": shorten_error(error) if error else None,
    }


def shorten_error(error: dict[str, Any]) -> dict[str, Any]:
    """Return an exception (`Output.error`) without the beginnings of long texts."""
    lines: list[str] = []
    left = LONGEST_TEXT
    for line in reversed(error["traceback"]):
        if left <= 0:
            break
        lines.insert(0, line[-left:])
        left -= len(line)
    return {"ename": _keep_end(error["ename"]), "evalue": _keep_end(error["evalue"]), "traceback": lines}


def _keep_end(text: str) -> str:
    return text[-LONGEST_TEXT:]
