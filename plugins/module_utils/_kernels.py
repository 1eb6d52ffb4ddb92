# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Code in a running server: a kernel of its own, one execution, and the kernel is gone again.

The server's side is Jupyter Server's REST API and the kernel's messages over a websocket, see "Messaging in Jupyter"
in the documentation of jupyter_client.

This file is private to the collection: it may change without notice.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import time
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from ansible_collections.hubops.jupyterhub.plugins.module_utils import _servers
from ansible_collections.hubops.jupyterhub.plugins.module_utils._answers import json_of
from ansible_collections.hubops.jupyterhub.plugins.module_utils._client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import (
    Conflict,
    HubError,
    HubFailure,
    Invalid,
    Timeout,
    UnexpectedAnswer,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._plan import Action, Plan, Report

try:
    import websocket
except ImportError:
    HAS_WEBSOCKET = False
else:
    HAS_WEBSOCKET = True

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CLEANING, _PAUSE = 15.0, 0.2
"""Seconds: how long a kernel may take to be gone, and between two looks."""
_DEAD = ("dead", "restarting", "autorestarting")


@dataclass(frozen=True)
class Wanted:
    """The code to run and the server to run it in. ``timeout`` is in seconds, for all of it."""

    user: str
    name: str
    code: str
    timeout: float


@dataclass
class Output:
    """What an execution has said so far, and how far it is."""

    stdout: str = ""
    stderr: str = ""
    result: str | None = None
    error: dict[str, Any] | None = None
    replied: bool = False
    idle: bool = False
    lost: str | None = None
    """Why there will be no end: the kernel's last state."""

    @property
    def done(self) -> bool:
        """A kernel is done when it has replied on one channel and gone idle on the other; which comes first varies."""
        return self.replied and self.idle

    def take(self, message: dict[str, Any], parent: str) -> None:
        """Take in one message of the kernel's; those of other requests count only where the kernel itself dies."""
        kind, content = (
            message.get("msg_type") or message.get("header", {}).get("msg_type"),
            message.get("content") or {},
        )
        if kind == "status" and content.get("execution_state") in _DEAD:
            self.lost = str(content["execution_state"])
        if message.get("parent_header", {}).get("msg_id") != parent:
            return
        if kind == "stream":
            name = "stderr" if content.get("name") == "stderr" else "stdout"
            setattr(self, name, getattr(self, name) + str(content.get("text", "")))
        elif kind == "execute_result":
            self.result = content.get("data", {}).get("text/plain")
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
        return {
            "stdout": self.stdout,
            "stdout_lines": self.stdout.splitlines(),
            "stderr": self.stderr,
            "stderr_lines": self.stderr.splitlines(),
            "result": self.result,
            "error": self.error,
            # Jupyter Server's words, since it has no other way to say so.
            "truncated": bool(re.search(r"IOPub (data|message) rate exceeded", self.stderr)),
        }


def _error(content: dict[str, Any]) -> dict[str, Any]:
    """An exception in the code, without the colours of a terminal."""
    traceback = [_ANSI.sub("", str(line)) for line in content.get("traceback") or []]
    return {
        "ename": str(content.get("ename")),
        "evalue": _ANSI.sub("", str(content.get("evalue"))),
        "traceback": traceback,
    }


class ExecFlow:
    """`hub_exec`: the plan is always the one execution; nothing tells beforehand what code does."""

    def __init__(self, hub: HubClient, wanted: Wanted, report: Report) -> None:
        if not HAS_WEBSOCKET:
            raise Invalid(
                "The Python library websocket-client is not installed where this task runs.",
                "Install it: pip install websocket-client",
            )
        self._hub = hub
        self._wanted = wanted
        self._what = _servers.title(wanted.user, wanted.name)

    def plan(self) -> Plan:
        found = _servers.read(self._hub, self._wanted.user, self._wanted.name)
        picture = {"user": self._wanted.user, "server_name": self._wanted.name}
        action = Action("execute", f"code in the {self._what}", "a task that runs code runs it every time")
        # That it must be running by then is not asked yet: in check mode, nothing has started it.
        before = {**picture, "state": found.state}
        return Plan((action,), before, before, predicted={**Output().as_result(), "seconds": 0.0})

    def apply(self, plan: Plan) -> dict[str, Any]:
        wanted, began, output = self._wanted, time.monotonic(), Output()
        try:
            if plan.before["state"] != "ready":
                raise Conflict(
                    f"The {self._what} is {plan.before['state']}, and code needs a running one.",
                    "Start it with hub_server first.",
                    result={"changed": False},
                )
            url = _servers.read(self._hub, wanted.user, wanted.name).url
            self._execute(url, output, began + wanted.timeout)
        except HubError as error:
            told = {**output.as_result(), "seconds": round(time.monotonic() - began, 3)}
            error.result = {"changed": True, **told, **error.result}
            raise
        return {**output.as_result(), "seconds": round(time.monotonic() - began, 3)}

    def _execute(self, url: str, output: Output, deadline: float) -> None:
        model = self._hub.ask_server("POST", f"{url}api/kernels", what=self._what, body={})
        if not isinstance(model, dict) or not model.get("id"):
            raise UnexpectedAnswer(
                f"The {self._what} answers, but not as a Jupyter Server does.", "Run code in one that has kernels."
            )
        kernel = f"{url}api/kernels/{quote(str(model['id']))}"
        try:
            self._talk(kernel, output, deadline)
        finally:
            self._delete(kernel)
        if output.lost:
            raise HubFailure(
                f"The kernel in the {self._what} died ({output.lost}) before the code ended.",
                "Look whether the code ends its own process, or the server's memory limit was reached.",
            )
        if output.error:
            raised = f"{output.error['ename']}: {output.error['evalue']}".rstrip(".: ")
            raise Invalid(
                f"The code raised {raised}.",
                "Mend the code, or what it needs on the server; error.traceback tells where it happened.",
            )

    def _delete(self, kernel: str) -> None:
        """Delete the kernel and see it gone.

        While a server restarts a kernel that died, it answers 500 to a DELETE, and has a new kernel a moment later.
        """
        deadline = time.monotonic() + _CLEANING
        while time.monotonic() < deadline:
            try:
                self._hub.ask_server("DELETE", kernel, what=self._what)
                self._hub.ask_server("GET", kernel, what=self._what)
            except HubError as error:
                if error.status != 500:
                    return  # it is gone, or its server is
            time.sleep(_PAUSE)

    def _talk(self, kernel: str, output: Output, deadline: float) -> None:
        """Send the code and take in what the kernel says, until it is done or lost."""
        parent = uuid.uuid4().hex
        try:
            channel = self._connect(f"{kernel}/channels", deadline)
            try:
                channel.send(json.dumps(_request(parent, self._wanted.code)))
                while not (output.done or output.lost):
                    channel.settimeout(max(deadline - time.monotonic(), 0.001))
                    frame = channel.recv()
                    if isinstance(frame, str) and frame:
                        # A binary frame is a message with buffers: a widget's or a picture's, never one of these.
                        output.take(json_of(frame), parent)
                    elif not frame:
                        output.lost = "its connection was closed"
            finally:
                channel.close(timeout=1)
        except websocket.WebSocketTimeoutException:
            raise Timeout(
                f"The code in the {self._what} did not end within {self._wanted.timeout:g} s.",
                "Give it longer with timeout, or mend what it waits for. Its kernel was ended.",
            ) from None
        except websocket.WebSocketBadStatusException as error:
            raise HubFailure(
                f"The {self._what} refuses the kernel's websocket with {error.status_code}.",
                "Look whether a proxy before the hub lets websockets through.",
                status=error.status_code, method="GET", url=f"{kernel}/channels",
            ) from None  # fmt: skip
        except (websocket.WebSocketException, OSError) as error:
            output.lost = f"its connection broke: {error}"

    def _connect(self, url: str, deadline: float) -> Any:
        # In the words of the library that requests are sent with, where a host stands in one place only.
        parts, connection = urlsplit(self._hub.address(url)), self._hub.connection
        target = urlunsplit(parts._replace(scheme="wss" if parts.scheme == "https" else "ws"))
        # The same CAs as for requests, which the websocket's library would choose otherwise.
        trusted = self._hub.trusted_cas(url)
        options: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
        if trusted:
            options = {"ca_cert_path" if os.path.isdir(trusted) else "ca_certs": trusted}
        if connection.client_cert:
            options |= {"certfile": connection.client_cert, "keyfile": connection.client_key}
        return websocket.create_connection(
            target,
            timeout=max(deadline - time.monotonic(), 0.001),
            header=self._hub.token_header(target),
            # A proxy may give the server another Host than this; there is no browser whose origin would matter.
            suppress_origin=True,
            sslopt=options,
            redirect_limit=0,
        )


def _request(parent: str, code: str) -> dict[str, Any]:
    header = {
        "msg_id": parent, "msg_type": "execute_request", "session": uuid.uuid4().hex, "username": "", "version": "5.3",
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip
    content = {
        "code": code, "silent": False, "store_history": False, "user_expressions": {},
        # Nobody is there to answer a question: input() raises instead of waiting for ever.
        "allow_stdin": False, "stop_on_error": True,
    }  # fmt: skip
    return {
        "header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": [],
    }  # fmt: skip
