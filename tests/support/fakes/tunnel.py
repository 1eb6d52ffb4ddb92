# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of a real hub that passes bytes on, websockets too, and cuts connections as a test wants.

with tunnel(hub.url, lambda traffic: traffic.sent > 1_000_000) as url:
    ...  # url is the hub's address through it
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

_REQUEST = re.compile(rb"\b(GET|POST|PUT|PATCH|DELETE) (/\S*) HTTP/1\.1\r\n")


@dataclass
class Traffic:
    """What one connection has carried so far, in bytes, and the seconds since its last byte."""

    sent: int = 0
    """From the client to the hub."""
    received: int = 0
    idle: float = 0.0


@contextlib.contextmanager
def tunnel(
    hub_url: str,
    must_cut: Callable[[Traffic], bool],
    on_request: Callable[[str, str], None] = lambda method, path: None,
) -> Iterator[str]:
    """A proxy on the loopback for the time of the block. It cuts a connection when ``must_cut`` says so.

    It calls ``on_request`` with the method and the path of each request, and passes the request on after that. So
    ``on_request`` may hold a request back.
    """
    hub = urlsplit(hub_url)
    ended = threading.Event()

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((str(hub.hostname), hub.port)) as server:
            traffic, last = Traffic(), time.monotonic()
            while not ended.is_set() and not must_cut(traffic):
                readable, _writable, _special = select.select([client, server], [], [], 0.1)
                traffic.idle = time.monotonic() - last
                for source in readable:
                    some = source.recv(65536)
                    if not some:
                        return
                    if source is client:
                        for method, path in _REQUEST.findall(some):
                            on_request(method.decode(), path.decode())
                    (server if source is client else client).sendall(some)
                    traffic.sent += len(some) if source is client else 0
                    traffic.received += len(some) if source is server else 0
                    traffic.idle, last = 0.0, time.monotonic()

    def serve_quietly(client: socket.socket) -> None:
        with contextlib.suppress(OSError):  # one of the two sides has hung up
            serve(client)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = listener.accept()
                threading.Thread(target=serve_quietly, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}{hub.path}"
        finally:
            ended.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
            thread.join(5)
