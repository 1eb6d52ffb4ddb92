# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves that a terminal runs a command and answers."""

from __future__ import annotations

import re
import secrets
import time
from functools import partial
from typing import Any
from urllib.parse import urljoin

from .._exec.terminal import run_command, shell_ended
from .._hub.errors import HubError, HubFailure, NotFound, UnexpectedAnswer, printable
from .._hub.responses import describe_request, find_reason, parse_json
from .phases import Finding
from .refusals import explain_refusal
from .running_server import RunningServer

_QUERY_TIMEOUT = 10.0
"""Seconds that the server may take to show or to end the terminal, also at the deadline."""
_SHOWN = 2000
"""Characters of the output that the details keep."""


def prove_terminal(server: RunningServer, finding: Finding) -> None:
    """Prove that a new terminal runs a command and answers. The terminal is deleted in any case.

    Details: ``seconds``, and ``output``, what the terminal has shown. Raises `NotFound` if the server has no terminals,
    `HubFailure` if no shell starts or if the websocket is refused, and `Timeout` if no answer comes.
    """
    began = time.monotonic()
    deadline = began + server.timeout
    finding.details |= {"seconds": None, "output": ""}
    first, second = secrets.token_hex(4), secrets.token_hex(4)
    # What is typed is shown, too, and does not contain the marker. All shells have printf.
    command, marker = f"printf '%s=%s\\n' {first} {second}", f"{first}={second}"
    delete = partial(_delete_terminal, server, finding)
    with server.left_overs.hold_started(partial(_start_terminal, server, deadline), delete) as name:
        url = urljoin(server.url, f"terminals/websocket/{name}")
        try:
            output = run_command(server.hub, url, server.title, command, marker, deadline)
        except HubFailure as error:
            # The server forgets a terminal whose shell has ended.
            if error.status == 404 and not _has_terminal(server, name):
                raise shell_ended(server.title) from None
            raise
        finally:
            delete(name)
    seconds = round(time.monotonic() - began, 3)
    finding.details |= {"seconds": seconds, "output": printable(output[-_SHOWN:], _SHOWN)}
    finding.message = f"A terminal ran a command and answered within {seconds:.1f} s."


def _start_terminal(server: RunningServer, deadline: float) -> str:
    """Start a terminal and return its name."""
    hub = server.hub.with_long_request(deadline)
    response = hub.send("POST", urljoin(server.url, "api/terminals"), body={})
    if response.status_code in (200, 201):
        return _read_name(server, response)
    refusal = explain_refusal(server, response)
    if refusal:
        raise refusal
    request = describe_request(response)
    if response.status_code in (403, 404, 405):
        raise NotFound(
            f"The {server.title} has no terminals: it answers {response.status_code} ({request['reason']}).",
            "Turn them on (terminals_enabled) and install terminado in the server's image, or leave out terminal.",
            **request,
        )  # fmt: skip
    raise HubFailure(
        f"The {server.title} cannot start a terminal: {find_reason(response)}.",
        "Check that the server's image has the shell which terminado_settings or the variable SHELL names, and look "
        "into the server's own log.", **request,
    )  # fmt: skip


def _read_name(server: RunningServer, response: Any) -> str:
    try:
        name = parse_json(response.content)["name"]
    except (ValueError, TypeError, KeyError):
        name = None
    if not isinstance(name, str) or not re.fullmatch(r"\w{1,100}", name, re.ASCII):
        raise UnexpectedAnswer(
            f"The {server.title} answers, but not as a Jupyter Server does.", "Leave out terminal for this server.",
            **describe_request(response),
        )  # fmt: skip
    return name


def _has_terminal(server: RunningServer, name: str) -> bool:
    """Return whether the server still has the terminal."""
    hub = server.hub.with_deadline(time.monotonic() + _QUERY_TIMEOUT)
    return bool(hub.send("GET", urljoin(server.url, f"api/terminals/{name}")).status_code != 404)


def _delete_terminal(server: RunningServer, finding: Finding, name: str) -> None:
    """End the terminal. It is all right if it is gone."""
    hub = server.hub.with_deadline(time.monotonic() + _QUERY_TIMEOUT)
    try:
        status = hub.send("DELETE", urljoin(server.url, f"api/terminals/{name}")).status_code
    except HubError as error:
        finding.warnings.append(f"The terminal {name} could not be deleted: {error.message}")
        return
    if status not in (200, 204, 404):
        finding.warnings.append(f"The terminal {name} could not be deleted: the server answers {status}.")
