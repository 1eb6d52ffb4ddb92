# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves that the websocket to a kernel carries a large message both ways, and lives while nothing is sent."""

from __future__ import annotations

import secrets
import time

from .._exec.failures import CodeTimedOut, ConnectionCut
from .._exec.session import KernelSession
from .._exec.websocket import KernelLost, OutOfTime
from .._hub.errors import HubFailure, Timeout
from .kernels import open_kernel
from .phases import Finding
from .running_server import RunningServer

MESSAGE_BYTES = 10_000_000
"""The size of the large message. Jupyter Server accepts 10 MiB, which is the default of its websocket library."""
_TITLE = f"message of {MESSAGE_BYTES // 1_000_000} MB"
_NAME = "_hubops_echo"
_IDLE_HINT = (
    "Raise the time limit for idle connections in the proxies in front of the hub, such as nginx's proxy_read_timeout "
    "and proxy_send_timeout, or the idle timeout of the ingress or the load balancer."
)


def prove_websocket(server: RunningServer, idle_seconds: float, finding: Finding, kernel_name: str = "") -> None:
    """Send a large message to a kernel and get one back, leave the same connection idle, and use it again.

    ``idle_seconds`` may be 0. While the connection is idle, this answers the server's pings, as a browser does. Raises
    `HubFailure` if the connection is cut, `Timeout` if it takes too long, and the failures of `_exec.failures`.
    """
    finding.details |= {"bytes": 0, "seconds": 0.0, "idle_seconds": 0.0}
    with open_kernel(server, kernel_name, server.timeout) as session:
        # The large message and the answer after the idle time may take as long as the kernel's start.
        session.extend(2 * server.timeout + idle_seconds)
        if session.is_python:
            began = time.monotonic()
            _send_large_message(session, server)
            finding.details |= {"bytes": MESSAGE_BYTES, "seconds": round(time.monotonic() - began, 3)}
        else:
            finding.warnings.append(f"No {_TITLE} was sent, because the kernel is no Python kernel.")
        if idle_seconds:
            _leave_idle(session, server, idle_seconds, finding)
    sent = f"A {_TITLE} came through both ways" if finding.details["bytes"] else "The websocket opened"
    idle = f", and the connection lived while it was idle for {idle_seconds:g} s" if idle_seconds else ""
    finding.message = f"{sent}{idle}."


def _send_large_message(session: KernelSession, server: RunningServer) -> None:
    payload = secrets.token_hex(MESSAGE_BYTES // 2)
    try:
        # The value comes back in the reply. A server limits how fast a kernel's output may come, but not its replies.
        output = session.execute(
            f"{_NAME} = '{payload}'", timeout=server.timeout, silent=True, user_expressions={"echo": _NAME}
        )
    except ConnectionCut as error:
        is_there = session.output.has_begun
        way = "came back from" if is_there else "was sent to"
        raise HubFailure(
            f"The connection to the kernel in the {server.title} was cut while a {_TITLE} {way} the kernel: something "
            "on the way limits the size of a websocket message.",
            "Check the limits for websocket messages in the proxies in front of the hub and in the server "
            "(websocket_max_message_size).",
            result=error.result,
        ) from None
    except CodeTimedOut as error:
        way = "come back" if session.output.has_begun else "arrive at the kernel"
        raise Timeout(
            f"A {_TITLE} did not {way} within {server.timeout:g} s in the {server.title}.",
            "Check how fast the connection is and whether a proxy in front of the hub holds large messages back, or "
            "give it longer with timeout.",
            result=error.result,
        ) from None
    echo = output.expression("echo")
    if output.error or echo is None or echo.strip("'\"") != payload:
        raise HubFailure(
            f"A {_TITLE} did not come back from the kernel in the {server.title} as it was sent.",
            "Check whether a proxy in front of the hub changes websocket messages, and the server's own log.",
        )


def _leave_idle(session: KernelSession, server: RunningServer, idle_seconds: float, finding: Finding) -> None:
    began = time.monotonic()
    try:
        session.stay_idle(idle_seconds)
        finding.details["idle_seconds"] = idle_seconds
        session.check_answer(server.timeout)
    except KernelLost as loss:
        error = session.explain_loss(loss)
        if not isinstance(error, ConnectionCut):
            raise error from None
        raise HubFailure(
            f"The connection to the kernel in the {server.title} was cut after it was idle for "
            f"{time.monotonic() - began:.0f} s. It must live for {idle_seconds:g} s (websocket_idle).",
            _IDLE_HINT,
        ) from None
    except OutOfTime:
        raise Timeout(
            f"The connection to the kernel in the {server.title} was idle for {idle_seconds:g} s (websocket_idle), and "
            f"after that no answer came within {server.timeout:g} s.",
            _IDLE_HINT,
        ) from None
