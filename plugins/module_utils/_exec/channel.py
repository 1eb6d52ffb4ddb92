# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A websocket of a server's, opened as requests are made, and a kernel's messages over it, up to a deadline."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from .._hub.client import HubClient
from .._hub.errors import Invalid
from .messages import (
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
    HAS_WEBSOCKET = False  # `ExecFlow` says so in a sentence before any of it is needed
else:
    HAS_WEBSOCKET = True

_NUDGE = 2.0
"""Seconds until a kernel that has not answered is asked again."""


class OutOfTime(Exception):
    """The time for all of it is over."""


class ChannelLost(Exception):
    """The connection has ended; its text says how."""


def opened(hub: HubClient, url: str, timeout: float) -> Any:
    """A websocket at this address, with the token, the CAs, the certificate and the proxy that requests to it have.

    Raises what the library raises, `OSError`, and `Invalid` for a proxy that the library cannot speak to.
    """
    parts, connection = urlsplit(url), hub.connection
    target = urlunsplit(parts._replace(scheme="wss" if parts.scheme == "https" else "ws"))
    # The same CAs as for requests, which the websocket's library would choose otherwise.
    trusted = hub.trusted_cas(url)
    options: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    if trusted:
        options = {"ca_cert_path" if os.path.isdir(trusted) else "ca_certs": trusted}
    if connection.client_cert:
        options |= {"certfile": connection.client_cert, "keyfile": connection.client_key}
    made = websocket.create_connection(
        target,
        timeout=timeout,
        # The library refuses a server that takes none of its ``subprotocols``, and such a server speaks JSON.
        header={**hub.token_header(target), "Sec-WebSocket-Protocol": V1},
        # A proxy may give the server another Host than this; there is no browser whose origin would matter.
        suppress_origin=True,
        sslopt=options,
        redirect_limit=0,
        **through(hub.proxy(url)),
    )
    # websocket-client before 1.9 takes a redirect that it does not follow for a connection.
    answer = made.handshake_response
    if answer is None or answer.status != 101:
        made.close(timeout=1)
        raise websocket.WebSocketBadStatusException("Handshake status", answer.status if answer else 0)
    answer.subprotocol = answer.headers.get("sec-websocket-protocol")
    return made


def through(proxy: str | None) -> dict[str, Any]:
    """The websocket library's options for this proxy, or for none whatever the environment says."""
    if not proxy:
        # Without a host, the library asks the environment, by rules of its own.
        return {"http_proxy_host": "none", "http_no_proxy": ["*"]}
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme == "https":
        raise Invalid(
            f"The environment names the proxy https://{parts.hostname}:{parts.port or 443}, and the Python library "
            "websocket-client speaks no TLS to a proxy.",
            "Set http_proxy and https_proxy to an http:// address of the proxy, or name the hub's host in NO_PROXY.",
        )
    kind = parts.scheme if parts.scheme.startswith("socks") else "http"
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return {
        "http_proxy_host": parts.hostname, "http_proxy_port": parts.port or (1080 if kind != "http" else 80),
        # Not what the environment exempts, which has been looked at.
        "http_proxy_auth": auth, "proxy_type": kind, "http_no_proxy": ["-"],
    }  # fmt: skip


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
        if time.monotonic() >= self._deadline:
            self._end()  # or the server's goodbye would be waited for
        with contextlib.suppress(websocket.WebSocketException, OSError):
            self._connection.close(timeout=1)
