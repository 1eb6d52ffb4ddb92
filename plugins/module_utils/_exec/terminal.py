# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The websocket of a server's terminal. Its messages are lists in JSON, such as ``["stdout", "text"]`` (terminado)."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from .._hub.client import HubClient
from .._hub.errors import EDGE, HubError, HubFailure, Invalid, Timeout, Unreachable
from .._hub.responses import parse_json
from .._hub.threads import in_background
from .websocket import HAS_WEBSOCKET, open_websocket

try:
    import websocket
except ImportError:
    pass  # `run_command` reports it before anything here needs it

_CONTROL = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)|[ -/]*[0-~])|[\x00-\x08\x0b-\x1f\x7f]"
)
"""Sequences that move the cursor, set colours or the title, and control characters except tabs and line ends."""
_MOST_OUTPUT = 100_000
"""Characters of the output that are kept: its end."""
_PATIENCE = 5.0
"""Seconds for which a connection is tried again while a proxy answers in place of the server."""
_PAUSE = 0.5
_SIZE = ["set_size", 24, 200]
"""Lines and columns. Long lines would be broken in a narrow terminal."""


def run_command(hub: HubClient, url: str, what: str, command: str, marker: str, deadline: float) -> str:
    """Run a command in the terminal with this websocket address, and return the output up to the ``marker``.

    ``what`` is the server's name in a sentence. The ``deadline`` is one of `time.monotonic`. The command must print the
    marker without containing it, because a terminal also shows what is typed. Raises `Invalid` if the library is
    missing, `HubFailure` and `Unreachable` if there is no connection, `HubFailure` if the shell ends, and `Timeout` at
    the deadline.
    """
    if not HAS_WEBSOCKET:
        raise Invalid(
            "The Python library websocket-client is not installed where this task runs.",
            "Install it: pip install websocket-client",
        )
    began = time.monotonic()
    opened: list[Any] = []
    # In the background, because the library's own timeout starts again with each byte.
    connecting = in_background(lambda: opened.append(_connect(hub, url, what, deadline)))
    output = _Output()
    try:
        try:
            connecting.result(max(deadline - time.monotonic(), 0.0))
            work = in_background(lambda: _converse(opened[0], command, output.is_complete(marker), output, what))
            work.result(max(deadline - time.monotonic(), 0.0))
        except (FutureTimeout, _OutOfTime):
            seconds = time.monotonic() - began
            raise _no_answer(what, url, seconds, is_connected=bool(opened), output=output.text) from None
    finally:
        for connection in opened:
            _close(connection)
    return output.text


class _OutOfTime(Exception):
    """The deadline is over."""


class _Output:
    """What a terminal has shown, without what only moves the cursor or sets colours."""

    def __init__(self) -> None:
        self._pieces = ""

    @property
    def text(self) -> str:
        return _CONTROL.sub("", self._pieces.replace("\r\n", "\n"))

    def add(self, piece: str) -> None:
        self._pieces = (self._pieces + piece)[-_MOST_OUTPUT:]

    def is_complete(self, marker: str) -> Callable[[], bool]:
        return lambda: marker in self.text


def _connect(hub: HubClient, url: str, what: str, deadline: float) -> Any:
    """Open the websocket. Tries again for a moment while a proxy answers in place of the server."""
    retry_until = time.monotonic() + _PATIENCE
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _OutOfTime
        try:
            return open_websocket(hub, url, left)
        except websocket.WebSocketTimeoutException:
            raise _OutOfTime from None
        except (websocket.WebSocketException, OSError) as error:
            failure = _explain_handshake_error(error, url, what)
        if not failure.is_passing or time.monotonic() + _PAUSE > min(retry_until, deadline):
            raise failure
        time.sleep(_PAUSE)


def _explain_handshake_error(error: Exception, url: str, what: str) -> HubError:
    if isinstance(error, websocket.WebSocketBadStatusException):
        status = int(error.status_code)
        return HubFailure(
            f"The {what} refuses the terminal's websocket with {status}.",
            "Check whether a proxy in front of the hub lets websockets through.",
            status=status, method="GET", url=url, is_passing=status in EDGE or status == 500,
        )  # fmt: skip
    return Unreachable(
        f"There is no connection to the terminal's websocket of the {what}: {error}.",
        "Check whether a proxy in front of the hub, or a proxy that the environment names (http_proxy, NO_PROXY), "
        "lets websockets through.",
        method="GET", url=url,
    ).with_passing(False)  # fmt: skip


def _converse(connection: Any, command: str, is_complete: Callable[[], bool], output: _Output, what: str) -> None:
    """Type the command, and read what the terminal shows until that is complete.

    Raises `HubFailure` if the shell ends.
    """
    try:
        connection.send(json.dumps(_SIZE))
        connection.send(json.dumps(["stdin", command + "\r"]))
        while not is_complete():
            # The caller's timeout ends this: it closes the connection.
            frame = connection.recv()
            if not frame:
                raise shell_ended(what, output.text)
            kind, text = _decode(frame)
            if kind == "stdout":
                output.add(text)
            elif kind == "disconnect":
                raise shell_ended(what, output.text)
    except websocket.WebSocketTimeoutException:
        raise _OutOfTime from None
    except (websocket.WebSocketException, OSError) as error:
        raise shell_ended(what, output.text, f" ({error})") from None


def _decode(frame: Any) -> tuple[str, str]:
    """Return the kind and the text of a message, both empty for anything else."""
    try:
        kind, *rest = parse_json(frame)
    except (ValueError, TypeError):
        return "", ""
    return (kind, str(rest[0]) if rest else "") if isinstance(kind, str) else ("", "")


def _quote_output(output: str) -> str:
    """Return the end of the output, for a sentence."""
    shown = " ".join(output.split())[-300:]
    return f" It showed: {shown}." if shown else " It showed nothing."


def shell_ended(what: str, output: str = "", how: str = "") -> HubFailure:
    """Return the failure of a terminal whose shell has ended too early. ``how`` says how that was noticed."""
    return HubFailure(
        f"The shell of the terminal in the {what} has ended before it ran a command{how}.{_quote_output(output)}",
        "Check that the server's image has the shell which terminado_settings or the variable SHELL names, and that "
        "the shell's startup files do not end it.",
    )


def _no_answer(what: str, url: str, seconds: float, *, is_connected: bool, output: str) -> Timeout:
    if not is_connected:
        return Timeout(
            f"The terminal's websocket of the {what} has not opened within {seconds:.0f} s.",
            "Check whether a proxy in front of the hub lets websockets through.", method="GET", url=url,
        )  # fmt: skip
    return Timeout(
        f"The terminal in the {what} has not run a command within {seconds:.0f} s.{_quote_output(output)}",
        "Check whether the shell's startup files wait for something, and whether a proxy in front of the hub holds a "
        "websocket's messages back.", method="GET", url=url,
    )  # fmt: skip


def _close(connection: Any) -> None:
    """Close the connection without waiting for the server's answer."""
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(websocket.WebSocketException, OSError):
        connection.close(timeout=0.1)
