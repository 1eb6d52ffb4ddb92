# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel's messages over its server's websocket, up to a deadline.

This file is private to the collection: it may change without notice.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.module_utils._messages import (
    V1,
    kind_of,
    message_of,
    packed,
    parent_of,
    request,
)

try:
    import websocket
except ImportError:
    pass  # `ExecFlow` says so in a sentence before any of it is needed

_NUDGE = 2.0
"""Seconds until a kernel that has not answered is asked again."""


class OutOfTime(Exception):
    """The time for all of it is over."""


class ChannelLost(Exception):
    """The connection has ended; its text says how."""


class Channel:
    """A kernel's websocket. Whatever it does ends at the deadline, with `OutOfTime`."""

    def __init__(self, connection: Any, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._binary = getattr(connection, "subprotocol", None) == V1
        # The library's own time counts from the last byte, and begins anew with each.
        self._alarm = threading.Timer(max(deadline - time.monotonic(), 0.0), self._end)
        self._alarm.daemon = True
        self._alarm.start()

    def send(self, message: dict[str, Any]) -> None:
        """Raises `ChannelLost`."""
        with self._watched():
            if self._binary:
                self._connection.send_binary(packed(message))
            else:
                self._connection.send(json.dumps(message))

    def receive(self, patience: float = float("inf")) -> dict[str, Any]:
        """The next message; empty where none has come within ``patience`` s. Raises `ChannelLost` and `OutOfTime`."""
        until = min(self._deadline, time.monotonic() + patience)
        while True:
            self._connection.settimeout(max(until - time.monotonic(), 0.001))
            try:
                with self._watched():
                    frame = self._connection.recv()
            except websocket.WebSocketTimeoutException:
                if time.monotonic() >= self._deadline:
                    raise OutOfTime from None
                return {}
            if not frame:
                raise ChannelLost("its connection was closed")
            message = message_of(frame, self._binary)
            if message is not None:
                return message

    def settle(self) -> None:
        """Wait until the kernel answers, and its messages come through here.

        A server may drop what a kernel says before both are connected, so it is asked again until it has answered on
        both of its channels. Raises `ChannelLost` and `OutOfTime`.
        """
        asked, heard = set[str](), set[str]()
        while heard != {"kernel_info_reply", "status"}:
            question = request("kernel_info_request", {})
            asked.add(question["header"]["msg_id"])
            self.send(question)
            again = time.monotonic() + _NUDGE
            while heard != {"kernel_info_reply", "status"} and (left := again - time.monotonic()) > 0:
                message = self.receive(left)
                state = (message.get("content") or {}).get("execution_state")
                if kind_of(message) == "status" and state in ("dead", "restarting", "autorestarting"):
                    raise ChannelLost(str(state))
                if parent_of(message) in asked and kind_of(message) in ("kernel_info_reply", "status"):
                    heard.add(kind_of(message))

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except websocket.WebSocketTimeoutException:
            raise
        except (websocket.WebSocketException, OSError) as error:
            if time.monotonic() >= self._deadline:
                raise OutOfTime from None
            raise ChannelLost(f"its connection broke: {error}") from None

    def _end(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, which may be closed already."""
        self._alarm.cancel()
        with contextlib.suppress(websocket.WebSocketException, OSError):
            self._connection.close(timeout=1)
