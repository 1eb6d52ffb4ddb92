# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Code in a running server: a kernel of its own, one execution, and the kernel is gone again.

The server's side is Jupyter Server's REST API and the kernel's messages over a websocket, see "Messaging in Jupyter"
in the documentation of jupyter_client.

"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Any

from .._hub.client import HubClient
from .._hub.errors import Conflict, HubError, Invalid
from .._path.plan import Action, Flow, Plan, Report, Result
from .._server import model as servers
from .channel import (
    HAS_WEBSOCKET,
    Channel,
    ChannelLost,
    OutOfTime,
)
from .kernel import Kernels, StartedAgain
from .messages import execution, kind_of, parent_of

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_DEAD = ("dead", "restarting", "autorestarting")


@dataclass(frozen=True)
class ExecSpec:
    """The code to run and the server to run it in. ``timeout`` is in seconds, for all of it."""

    user: str
    name: str
    code: str
    timeout: float


@dataclass
class Output:
    """What an execution has said so far, and how far it is."""

    streams: dict[str, list[str]] = field(default_factory=lambda: {"stdout": [], "stderr": []})
    """What was written, piece by piece: a long text that grew with each would take its length for each."""
    result: str | None = None
    error: dict[str, Any] | None = None
    shown: str | None = None
    """What was displayed last, which is the result of a kernel that has no other way to say it."""
    began: bool = False
    """Whether the kernel has taken up the code."""
    replied: bool = False
    idle: bool = False
    lost: str | None = None
    """Why there will be no end: the kernel's last state."""

    @property
    def done(self) -> bool:
        """A kernel is done when it has replied on one channel and gone idle on the other; which comes first varies."""
        return self.replied and self.idle

    @property
    def stdout(self) -> str:
        return "".join(self.streams["stdout"])

    @property
    def stderr(self) -> str:
        return "".join(self.streams["stderr"])

    def take(self, message: dict[str, Any], parent: str) -> None:
        """Take in one message of the kernel's; those of other requests count only where the kernel itself dies."""
        kind, content = kind_of(message), message.get("content") or {}
        if kind == "status" and content.get("execution_state") in _DEAD:
            self.lost = str(content["execution_state"])
        if parent_of(message) != parent:
            return
        self.began = True
        if kind == "stream":
            name = "stderr" if content.get("name") == "stderr" else "stdout"
            self.streams[name].append(str(content.get("text", "")))
        elif kind == "execute_result":
            self.result = _text_of(content)
        elif kind == "display_data":
            self.shown = _text_of(content)
        elif kind == "error" or (kind == "execute_reply" and content.get("status") == "error"):
            self.error = _error(content)
        elif kind == "execute_reply" and content.get("status") != "ok":
            self.error = self.error or {
                "ename": "Aborted",
                "evalue": "the kernel did not run the code",
                "traceback": [],
            }
        if kind == "execute_reply":
            self.replied = True
        elif kind == "status" and content.get("execution_state") == "idle":
            self.idle = True

    def as_result(self) -> dict[str, Any]:
        stdout, stderr = self.stdout, self.stderr
        return {
            "stdout": stdout,
            "stdout_lines": stdout.splitlines(),
            "stderr": stderr,
            "stderr_lines": stderr.splitlines(),
            "result": self.shown if self.result is None else self.result,
            "error": self.error,
            # Jupyter Server's words, since it has no other way to say so.
            "truncated": bool(re.search(r"IOPub (data|message) rate exceeded", stderr)),
        }


def _text_of(content: dict[str, Any]) -> str | None:
    data = content.get("data")
    text = data.get("text/plain") if isinstance(data, dict) else None
    return None if text is None else str(text)


def _error(content: dict[str, Any]) -> dict[str, Any]:
    """An exception in the code, without the colours of a terminal."""
    lines = content.get("traceback")
    return {
        "ename": str(content.get("ename")),
        "evalue": _ANSI.sub("", str(content.get("evalue"))),
        "traceback": [_ANSI.sub("", str(line)) for line in (lines if isinstance(lines, list) else [])],
    }


class ExecFlow(Flow):
    """`hub_exec`: the plan is always the one execution; nothing tells beforehand what code does."""

    def __init__(self, hub: HubClient, wanted: ExecSpec, report: Report) -> None:
        if not HAS_WEBSOCKET:
            raise Invalid(
                "The Python library websocket-client is not installed where this task runs.",
                "Install it: pip install websocket-client",
            )
        self._hub = hub
        self._wanted = wanted
        self._what = servers.server_title(wanted.user, wanted.name)
        # The time is for all of it, from the first look at the server on.
        self._began = time.monotonic()
        self._deadline = self._began + wanted.timeout

    def plan(self) -> Plan:
        self._hub.connection.check_servers()
        found = servers.read(self._hub.with_deadline(self._deadline), self._wanted.user, self._wanted.name)
        picture = {"user": self._wanted.user, "server_name": self._wanted.name}
        action = Action("execute", f"code in the {self._what}", "a task that runs code runs it every time")
        # That it must be running by then is not asked yet: in check mode, nothing has started it.
        before = {**picture, "state": found.state}
        return Plan((action,), before, before, predicted={**Output().as_result(), "seconds": 0.0})

    def apply(self, plan: Plan) -> Result:
        wanted, output = self._wanted, Output()
        try:
            if plan.before["state"] != "ready":
                raise Conflict(
                    f"The {self._what} is {plan.before['state']}, and code needs a running one.",
                    "Start it with hub_server first.",
                    result={"changed": False},
                )
            url = servers.read(self._hub.with_deadline(self._deadline), wanted.user, wanted.name).url
            self._execute(Kernels(self._hub, url, self._what, wanted.timeout, self._deadline), output)
        except HubError as error:
            result = {"changed": True, **output.as_result(), "seconds": self._seconds, **error.result}
            raise error.with_result(result) from None
        return Result({**output.as_result(), "seconds": self._seconds}, plan.actions)

    @property
    def _seconds(self) -> float:
        return round(time.monotonic() - self._began, 3)

    def _execute(self, kernels: Kernels, output: Output) -> None:
        try:
            self._execute_in(kernels, output, is_last=False)
        except StartedAgain:
            self._execute_in(kernels, output, is_last=True)

    def _execute_in(self, kernels: Kernels, output: Output, *, is_last: bool) -> None:
        """Execute the code in one new kernel, and end that."""
        kernel = kernels.start()
        try:
            with kernels.connect(kernel, is_last=is_last) as channel:
                self._talk(channel, output)
            if output.lost:
                raise ChannelLost(output.lost)
        except ChannelLost as lost:
            raise kernels.died(kernel, str(lost), began=output.began) from None
        except OutOfTime:
            raise kernels.late(kernel, began=output.began) from None
        finally:
            kernels.end(kernel)
        if output.error:
            raised = f"{output.error['ename']}: {output.error['evalue']}".rstrip(".: ")
            raise Invalid(
                f"The code raised {raised}.",
                "Mend the code, or what it needs on the server; error.traceback tells where it happened.",
            )

    def _talk(self, channel: Channel, output: Output) -> None:
        """Send the code and take in what the kernel says, until it is done or lost."""
        channel.settle()
        request = execution(self._wanted.code)
        channel.send(request)
        while not (output.done or output.lost):
            output.take(channel.receive(), request["header"]["msg_id"])
