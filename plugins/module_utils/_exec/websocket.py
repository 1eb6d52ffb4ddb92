# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Websockets of a server, opened with the settings of the requests to it, and a kernel's messages over a websocket."""

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
    BINARY_SUBPROTOCOL,
    END_STATES,
    decode,
    get_request_id,
    get_type,
    new_request,
    pack,
)

try:
    import websocket
except ImportError:
    HAS_WEBSOCKET = False
else:
    HAS_WEBSOCKET = True

_REPEAT_AFTER = 2.0
"""Seconds after which a kernel that has not answered is asked again."""


class OutOfTime(Exception):
    """The time for the whole task is over."""


class KernelLost(Exception):
    """The kernel has ended, or the connection to it has. The exception's text says how."""


class ConnectionLost(KernelLost):
    """The connection to the kernel has ended. The kernel itself may still run."""


def require_websocket() -> None:
    """Raise `Invalid` if the library for websockets is missing."""
    if not HAS_WEBSOCKET:
        raise Invalid(
            "The Python library websocket-client is not installed where this task runs.",
            "Install it: pip install websocket-client",
        )


def open_websocket(hub: HubClient, url: str, timeout: float) -> Any:
    """Open a websocket at this address within ``timeout`` seconds, and return it.

    It uses the token, the CAs, the certificate and the proxy that requests to this address use. Raises what the library
    raises, `OSError`, and `Invalid` for a proxy that the library cannot use.
    """
    parts, settings = urlsplit(url), hub.connection
    target = urlunsplit(parts._replace(scheme="wss" if parts.scheme == "https" else "ws"))
    # Without these options, the websocket library trusts other CAs than the library requests.
    trusted = hub.trusted_cas(url)
    options: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    if trusted:
        options = {"ca_cert_path" if os.path.isdir(trusted) else "ca_certs": trusted}
    if settings.client_cert:
        options |= {"certfile": settings.client_cert, "keyfile": settings.client_key}
    connection = websocket.create_connection(
        target,
        timeout=timeout,
        # With the option ``subprotocols``, the library would refuse a server that supports none of them. Such a server
        # uses JSON.
        header={**hub.token_header(target), "Sec-WebSocket-Protocol": BINARY_SUBPROTOCOL},
        # A proxy may send another Host to the server, which would then refuse the Origin. Only browsers need an Origin.
        suppress_origin=True,
        sslopt=options,
        redirect_limit=0,
        **proxy_options(hub.proxy(url)),
    )
    # websocket-client before 1.9 treats a redirect that it does not follow as a connection.
    response = connection.handshake_response
    if response is None or response.status != 101:
        connection.close(timeout=1)
        raise websocket.WebSocketBadStatusException("Handshake status", response.status if response else 0)
    response.subprotocol = response.headers.get("sec-websocket-protocol")
    return connection


def proxy_options(proxy: str | None) -> dict[str, Any]:
    """Return the websocket library's options for this proxy. None means no proxy, whatever the environment says."""
    if not proxy:
        # Without a host, the library would read the environment, by rules of its own.
        return {"http_proxy_host": "none", "http_no_proxy": ["*"]}
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme == "https":
        raise Invalid(
            f"The environment names the proxy https://{parts.hostname}:{parts.port or 443}, and the Python library "
            "websocket-client speaks no TLS to a proxy.",
            "Set http_proxy and https_proxy to an http:// address of the proxy, or name the hub's host in NO_PROXY.",
        )
    proxy_type = parts.scheme if parts.scheme.startswith("socks") else "http"
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return {
        "http_proxy_host": parts.hostname, "http_proxy_port": parts.port or (1080 if proxy_type != "http" else 80),
        # `hub.proxy` has applied the environment's exemptions, so the library must not apply them again.
        "http_proxy_auth": auth, "proxy_type": proxy_type, "http_no_proxy": ["-"],
    }  # fmt: skip


class Channel:
    """A kernel's websocket. Each method raises `OutOfTime` at the ``deadline`` (of `time.monotonic`)."""

    def __init__(self, connection: Any, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._is_binary = getattr(connection, "subprotocol", None) == BINARY_SUBPROTOCOL
        self._alarm = self._set_alarm()

    def _set_alarm(self) -> threading.Timer:
        """Return a running timer that ends the connection at the deadline.

        The library's own timeout starts again with each byte.
        """
        alarm = threading.Timer(max(self._deadline - time.monotonic(), 0.0), self._shut_down)
        alarm.daemon = True
        alarm.start()
        return alarm

    def set_deadline(self, deadline: float) -> None:
        """Replace the deadline. At the deadline, the connection ends for good."""
        self._alarm.cancel()
        self._deadline = deadline
        self._alarm = self._set_alarm()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message. Raises `KernelLost` and `OutOfTime`."""
        self._connection.settimeout(max(self._deadline - time.monotonic(), 0.001))
        try:
            with self._convert_errors():
                if self._is_binary:
                    self._connection.send_binary(pack(message))
                else:
                    self._connection.send(json.dumps(message))
        except websocket.WebSocketTimeoutException:
            raise OutOfTime from None

    def receive(self, timeout: float = float("inf")) -> dict[str, Any]:
        """Return the next message, or an empty one if none comes within ``timeout`` seconds.

        Raises `KernelLost` and `OutOfTime`.
        """
        end = min(self._deadline, time.monotonic() + timeout)
        while True:
            self._connection.settimeout(max(end - time.monotonic(), 0.001))
            try:
                with self._convert_errors():
                    frame = self._connection.recv()
            except websocket.WebSocketTimeoutException:
                if time.monotonic() >= self._deadline:
                    raise OutOfTime from None
                return {}
            if not frame:
                raise ConnectionLost("its connection was closed")
            message = decode(frame, is_binary=self._is_binary)
            if message is not None:
                return message

    def wait_for_kernel(self) -> str:
        """Wait until the kernel answers, and its messages arrive here. Return the kernel's language, or an empty text.

        A server may drop a kernel's messages before the kernel is connected to both channels. So this asks again until
        the kernel has answered on both. Raises `KernelLost` and `OutOfTime`.
        """
        request_ids, answers, language = set[str](), set[str](), ""
        while answers != {"kernel_info_reply", "status"}:
            request = new_request("kernel_info_request", {})
            request_ids.add(request["header"]["msg_id"])
            self.send(request)
            repeat_time = time.monotonic() + _REPEAT_AFTER
            while answers != {"kernel_info_reply", "status"} and (left := repeat_time - time.monotonic()) > 0:
                message = self.receive(left)
                state = (message.get("content") or {}).get("execution_state")
                if get_type(message) == "status" and state in END_STATES:
                    raise KernelLost(str(state))
                if get_request_id(message) in request_ids and get_type(message) in ("kernel_info_reply", "status"):
                    answers.add(get_type(message))
                    info = (message.get("content") or {}).get("language_info")
                    language = str(info.get("name") or "") if isinstance(info, dict) else language
        return language

    @contextlib.contextmanager
    def _convert_errors(self) -> Iterator[None]:
        """Raise `KernelLost` or `OutOfTime` for the library's exceptions within the block, except for its timeout."""
        try:
            yield
        except websocket.WebSocketTimeoutException:
            raise
        except (websocket.WebSocketException, OSError) as error:
            if time.monotonic() >= self._deadline:
                raise OutOfTime from None
            raise ConnectionLost(f"its connection broke: {error}") from None

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, which may be closed already."""
        self._alarm.cancel()
        if time.monotonic() >= self._deadline:
            self._shut_down()  # otherwise `close` would wait for the server's answer
        with contextlib.suppress(websocket.WebSocketException, OSError):
            self._connection.close(timeout=1)
