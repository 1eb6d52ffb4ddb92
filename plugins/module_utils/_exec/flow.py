# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of `hub_exec`: runs code in a running server, in a kernel that it starts for the code and deletes again.

The server's side is Jupyter Server's REST API and the kernel's messages over a websocket, see "Messaging in Jupyter" in
the documentation of jupyter_client.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Any

from .._hub.client import HubClient
from .._hub.errors import Conflict, HubError, Invalid
from .._hub.models import Server
from .._path.plan import Action, Flow, Plan, Report, Result
from .._server import model as servers
from .kernel_client import KernelClient, KernelRestarted
from .messages import END_STATES, get_request_id, get_type, new_execute_request
from .websocket import (
    HAS_WEBSOCKET,
    Channel,
    KernelLost,
    OutOfTime,
)

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True)
class ExecSpec:
    """The code to run, and the server to run it in. ``timeout`` is the seconds that the whole task may take."""

    user: str
    server_name: str
    code: str
    timeout: float


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
        elif message_type == "status" and content.get("execution_state") == "idle":
            self.is_idle = True

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


class ExecFlow(Flow):
    """Runs the code. The plan is always to run it, because nobody knows beforehand what code does."""

    def __init__(self, hub: HubClient, wanted: ExecSpec, report: Report) -> None:
        if not HAS_WEBSOCKET:
            raise Invalid(
                "The Python library websocket-client is not installed where this task runs.",
                "Install it: pip install websocket-client",
            )
        self._hub = hub
        self._wanted = wanted
        self._title = servers.server_title(wanted.user, wanted.server_name)
        # The timeout is for the whole task, including its first request.
        self._start_time = time.monotonic()
        self._deadline = self._start_time + wanted.timeout

    def plan(self) -> Plan:
        self._hub.connection.check_servers()
        server = self._read_server()
        action = Action("execute", f"code in the {self._title}", "a task that runs code runs it every time")
        # This does not check whether the server runs: in check mode, an earlier task has only predicted its start.
        before = {"user": self._wanted.user, "server_name": self._wanted.server_name, "state": server.state}
        return Plan((action,), before, before, predicted={**Output().as_result(), "seconds": 0.0})

    def apply(self, plan: Plan) -> Result:
        output = Output()
        try:
            if plan.before["state"] != "ready":
                raise Conflict(
                    f"The {self._title} is {plan.before['state']}, and code needs a running one.",
                    "Start it with hub_server first.",
                    result={"changed": False},
                )
            url = self._read_server().url
            self._execute(KernelClient(self._hub, url, self._title, self._wanted.timeout, self._deadline), output)
        except HubError as error:
            result = {"changed": True, **output.as_result(), "seconds": self._seconds, **error.result}
            raise error.with_result(result) from None
        return Result({**output.as_result(), "seconds": self._seconds}, plan.actions)

    def _read_server(self) -> Server:
        return servers.read(self._hub.with_deadline(self._deadline), self._wanted.user, self._wanted.server_name)

    @property
    def _seconds(self) -> float:
        """How long the task has taken so far."""
        return round(time.monotonic() - self._start_time, 3)

    def _execute(self, kernels: KernelClient, output: Output) -> None:
        """Execute the code. If the server restarts the kernel before the code begins, try once more with another."""
        try:
            self._execute_in_new_kernel(kernels, output, is_last=False)
        except KernelRestarted:
            self._execute_in_new_kernel(kernels, output, is_last=True)

    def _execute_in_new_kernel(self, kernels: KernelClient, output: Output, *, is_last: bool) -> None:
        """Start a kernel, execute the code in it, and delete it."""
        kernel = kernels.start()
        try:
            with kernels.connect(kernel, is_last=is_last) as channel:
                self._run_code(channel, output)
            if output.end_state:
                raise KernelLost(output.end_state)
        except KernelLost as loss:
            raise kernels.explain_loss(kernel, str(loss), has_begun=output.has_begun) from None
        except OutOfTime:
            raise kernels.explain_timeout(kernel, has_begun=output.has_begun) from None
        finally:
            kernels.clean_up(kernel)
        if output.error:
            error = f"{output.error['ename']}: {output.error['evalue']}".rstrip(".: ")
            raise Invalid(
                f"The code raised {error}.",
                "Fix the code, or what it needs on the server; error.traceback says where it happened.",
            )

    def _run_code(self, channel: Channel, output: Output) -> None:
        """Send the code, and add the kernel's messages to the output, until the kernel is done or has ended."""
        channel.wait_for_kernel()
        request = new_execute_request(self._wanted.code)
        channel.send(request)
        while not (output.is_done or output.end_state):
            output.add(channel.receive(), request["header"]["msg_id"])
