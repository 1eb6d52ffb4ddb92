# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of `hub_exec`: runs code in a running server, in a kernel that it starts for the code and deletes again.

The server's side is Jupyter Server's REST API and the kernel's messages over a websocket, see "Messaging in Jupyter" in
the documentation of jupyter_client.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from .._hub.client import HubClient
from .._hub.errors import Conflict, HubError
from .._hub.models import Server
from .._path.plan import Action, Flow, Plan, Report, Result
from .._server import model as servers
from . import failures
from .kernel_client import KernelClient
from .output import Output
from .session import open_session
from .websocket import require_websocket


@dataclass(frozen=True)
class ExecSpec:
    """The code to run, and the server to run it in. ``timeout`` is the seconds that the whole task may take."""

    user: str
    server_name: str
    code: str
    timeout: float


class ExecFlow(Flow):
    """Runs the code. The plan is always to run it, because nobody knows beforehand what code does."""

    def __init__(self, hub: HubClient, wanted: ExecSpec, report: Report) -> None:
        require_websocket()
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
        try:
            if plan.before["state"] != "ready":
                raise Conflict(
                    f"The {self._title} is {plan.before['state']}, and code needs a running one.",
                    "Start it with hub_server first.",
                    result={"changed": False},
                )
            output = self._execute(self._read_server().url)
        except HubError as error:
            result = {"changed": True, **Output().as_result(), "seconds": self._seconds, **error.result}
            raise error.with_result(result) from None
        return Result({**output.as_result(), "seconds": self._seconds}, plan.actions)

    def _execute(self, url: str) -> Output:
        """Execute the code in the server at this address. Raises a failure if the code raises an exception."""
        kernels = KernelClient(self._hub, url, self._title, self._wanted.timeout, self._deadline)
        with open_session(kernels) as session:
            output = session.execute(self._wanted.code)
        if output.error:
            raise failures.code_raised(output.error).with_result(output.as_result())
        return output

    def _read_server(self) -> Server:
        return servers.read(self._hub.with_deadline(self._deadline), self._wanted.user, self._wanted.server_name)

    @property
    def _seconds(self) -> float:
        """How long the task has taken so far."""
        return round(time.monotonic() - self._start_time, 3)
