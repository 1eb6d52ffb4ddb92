# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on a socket that sends raw bytes or hangs up, for tests of what the HTTP library does by itself."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


def raw_answer(status: str, body: Any = None, *headers: str) -> bytes:
    """The bytes of an HTTP answer after which the connection is closed."""
    content = json.dumps(body).encode() if body is not None else b""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class HeldOpen(bytes):
    """The bytes of an answer after which the server keeps the connection open."""


@dataclass
class RawServer:
    url: str
    seen: list[str] = field(default_factory=list)
    """The first line of each request that came in."""
    listen: Callable[[], None] = lambda: None
    """Call it to accept connections, if the server does not listen from the beginning."""


@contextmanager
def raw_server(*answers: bytes | None, listens: bool = True) -> Iterator[RawServer]:
    """A server that sends one of the answers to each connection, in order, and then closes the connection.

    An empty answer closes it without an answer, None keeps it open without one. The last answer is also for all further
    connections. If it does not listen, connections are refused until `listen` is called.
    """
    ended, listening = threading.Event(), threading.Event()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        running = RawServer(f"http://127.0.0.1:{server.getsockname()[1]}/")

        def answer_one(connection: socket.socket, answer: bytes | None) -> None:
            with connection:
                request = b""
                # Read to the end of the headers; the first message of a TLS client has none.
                while b"\r\n\r\n" not in request and request[:1] != b"\x16":
                    request += connection.recv(4096) or b"\r\n\r\n"
                running.seen.append(request.decode(errors="replace").partition(" HTTP/")[0])
                connection.sendall(answer or b"")
                if answer is None or isinstance(answer, HeldOpen):
                    ended.wait(600)

        def listen() -> None:
            server.listen()
            listening.set()

        def serve() -> None:
            listening.wait()
            left = list(answers)
            while not ended.is_set():
                try:
                    connection, _address = server.accept()
                except OSError:
                    return
                answer = left.pop(0) if len(left) > 1 else left[0]
                threading.Thread(target=answer_one, args=(connection, answer), daemon=True).start()

        running.listen = listen
        if listens:
            listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield running
        finally:
            ended.set()
            listening.set()
            try:
                server.shutdown(socket.SHUT_RDWR)  # wakes `accept`
            except OSError:
                pass  # it never listened
            thread.join(60)
