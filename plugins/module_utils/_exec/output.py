# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of an execution, gathered from a kernel's messages. Sends nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from .messages import END_STATES, get_request_id, get_type

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass
class Output:
    """The output of an execution so far, and how far the execution is."""

    streams: dict[str, list[str]] = field(default_factory=lambda: {"stdout": [], "stderr": []})
    """The pieces that the code has written. They are joined in the end, because one growing text would be copied each
    time."""
    result: str | None = None
    error: dict[str, Any] | None = None
    displayed: str | None = None
    """What was displayed last. It is the result of a kernel that sends no result."""
    expressions: dict[str, Any] = field(default_factory=dict)
    """The kernel's answers to the request's ``user_expressions``, by their names."""
    execution_count: int | None = None
    """The number that the kernel gave to the execution. Tracebacks of a Python kernel name a cell by it."""
    has_begun: bool = False
    """Whether the kernel has taken up the code."""
    has_reply: bool = False
    is_idle: bool = False
    end_state: str | None = None
    """The kernel's last state, if the kernel has ended."""

    @property
    def is_done(self) -> bool:
        """Whether the kernel has replied on one channel and gone idle on the other. Either can come first."""
        return self.has_reply and self.is_idle

    @property
    def stdout(self) -> str:
        return "".join(self.streams["stdout"])

    @property
    def stderr(self) -> str:
        return "".join(self.streams["stderr"])

    def add(self, message: dict[str, Any], request_id: str) -> None:
        """Add one message of the kernel.

        Messages that do not answer this request are ignored, unless they say that the kernel itself has ended.
        """
        message_type, content = get_type(message), message.get("content") or {}
        if message_type == "status" and content.get("execution_state") in END_STATES:
            self.end_state = str(content["execution_state"])
        if get_request_id(message) != request_id:
            return
        self.has_begun = True
        if message_type == "stream":
            name = "stderr" if content.get("name") == "stderr" else "stdout"
            self.streams[name].append(str(content.get("text", "")))
        elif message_type == "execute_result":
            self.result = _read_text(content)
        elif message_type == "display_data":
            self.displayed = _read_text(content)
        elif message_type == "error" or (message_type == "execute_reply" and content.get("status") == "error"):
            self.error = _read_error(content)
        elif message_type == "execute_reply" and content.get("status") != "ok":
            self.error = self.error or {
                "ename": "Aborted",
                "evalue": "the kernel did not run the code",
                "traceback": [],
            }
        if message_type == "execute_reply":
            self.has_reply = True
            count, expressions = content.get("execution_count"), content.get("user_expressions")
            self.execution_count = count if isinstance(count, int) else None
            self.expressions = expressions if isinstance(expressions, dict) else {}
        elif message_type == "status" and content.get("execution_state") == "idle":
            self.is_idle = True

    def expression(self, name: str) -> str | None:
        """Return the value of one of the request's ``user_expressions`` as text, or None if the kernel gave none."""
        answer = self.expressions.get(name)
        return _read_text(answer) if isinstance(answer, dict) and answer.get("status") == "ok" else None

    def as_result(self) -> dict[str, Any]:
        """Return the output as the task's result shows it."""
        stdout, stderr = self.stdout, self.stderr
        return {
            "stdout": stdout,
            "stdout_lines": stdout.splitlines(),
            "stderr": stderr,
            "stderr_lines": stderr.splitlines(),
            "result": self.displayed if self.result is None else self.result,
            "error": self.error,
            # Jupyter Server shows it only by these words.
            "truncated": bool(re.search(r"IOPub (data|message) rate exceeded", stderr)),
        }


def _read_text(content: dict[str, Any]) -> str | None:
    """Return a message's plain text, or None if it has none."""
    data = content.get("data")
    text = data.get("text/plain") if isinstance(data, dict) else None
    return None if text is None else str(text)


def _read_error(content: dict[str, Any]) -> dict[str, Any]:
    """Return an exception that the code raised, without the colours of a terminal."""
    lines = content.get("traceback")
    return {
        "ename": str(content.get("ename")),
        "evalue": _ANSI.sub("", str(content.get("evalue"))),
        "traceback": [_ANSI.sub("", str(line)) for line in (lines if isinstance(lines, list) else [])],
    }
