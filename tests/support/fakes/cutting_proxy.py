# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy that misbehaves on purpose, in front of a real hub: it cuts connections, and brings answers too late.

    with cutting_proxy(hub.url, dice(seed=7)) as proxy:
        ...  # proxy.url is the hub's address through it, and proxy.exchanges says what became of each request
        proxy.settle()  # until the hub has had everything that is still on its way

What reaches the hub is answered by the hub itself; only the way there and back is bad. As it sees what passes, it also
tells when a light server is to go on:

    proxy.watch = opens(gate, lambda moment, exchange: moment == "done" and exchange.method == "POST")
"""

from __future__ import annotations

import contextlib
import http.client
import math
import random
import re
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Fault:
    """What happens to one exchange.

    ``unheard``: the connection is cut before the request reaches the hub. ``unanswered``: after the hub has done it,
    before any of its answer. ``halved``: when the share ``at`` of the answer's head or body (``part``) has gone out.
    ``hung_up``: right after the whole answer. ``late``: the answer comes after ``seconds``. ``held``: the request
    reaches the hub after ``seconds``, whether anybody still waits or not. With ``math.inf`` s both last until nobody
    does: until whoever asked has hung up. A cut is a FIN, or a RST with ``reset``.

    A stream of events is passed on as it comes. ``shortened``: it is cut after so many ``events``. ``buffered``: it is
    kept back until it ends. Other cuts come before its first byte.
    """

    kind: str = "none"
    part: str = "body"
    runner: float = 0.5
    reset: bool = False
    seconds: float = 0.0
    events: int = 0

    def __str__(self) -> str:
        where = f" at {self.runner:.2f} of the {self.part}" if self.kind == "halved" else ""
        return self.kind + where + (" (RST)" if self.reset else "") + (f" {self.seconds:g} s" if self.seconds else "")


NONE = Fault()
CUTS = ("unheard", "unanswered", "halved", "hung_up")
DELAYS = ("late", "held")


@dataclass
class Exchange:
    """One request, what happened to it, and the status that the hub gave it, if it heard of it."""

    method: str
    path: str
    fault: Fault = NONE
    status: int | None = None
    body: bytes = b""
    content: bytes = b""
    """The body of the hub's answer, as far as it has come."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}: {self.fault} -> {self.status}"


Plan = Callable[[Exchange], Fault]
Watcher = Callable[[str, Exchange], None]
"""Is told, and waited for, at each moment of an exchange: ``asked``, ``done`` by the hub, ``answered``; of a stream,
``asked``, and ``told`` when some of it has come from the hub and, unless it is kept back, been passed on."""


def dice(seed: int, share: float = 0.35, seconds: float = 0.0) -> Plan:
    """Faults by chance: for this ``share`` of the requests, and with delays where ``seconds`` says how long.

    The chance hangs on the request and how often it was made before, not on the order in which requests of several
    threads come in. Writes meet twice as many as reads.
    """
    asked: Counter[tuple[str, str]] = Counter()
    lock = threading.Lock()

    def plan(exchange: Exchange) -> Fault:
        # A token's id is the hub's choice and differs from run to run.
        key = (exchange.method, re.sub(r"/tokens/.*", "/tokens/ID", exchange.path))
        with lock:
            asked[key] += 1
            chance = random.Random(f"{seed} {key} {asked[key]}")
        if chance.random() >= share * (2 if exchange.method != "GET" else 1):
            return NONE
        kind = chance.choice(CUTS + (DELAYS if seconds and exchange.method != "GET" else ()))
        return Fault(
            kind,
            part=chance.choice(("head", "body")),
            runner=chance.random(),
            reset=kind in CUTS and chance.random() < 0.5,
            seconds=seconds if kind in DELAYS else 0.0,
        )

    return plan


def every(method: str, end: str, fault: Fault, times: int = 1) -> Plan:
    """This fault for the first so many requests with this method and this end of the path, and none for others."""
    left = [times]

    def plan(exchange: Exchange) -> Fault:
        if exchange.method != method or not exchange.path.endswith(end) or not left[0]:
            return NONE
        left[0] -= 1
        return fault

    return plan


def at_first(when: Callable[[str, Exchange], Any], do: Callable[[], Any]) -> Watcher:
    """Does this at the first such moment, and no second time."""
    lock, left = threading.Lock(), [do]

    def watch(moment: str, exchange: Exchange) -> None:
        with lock:
            if left and when(moment, exchange):
                left.pop()()

    return watch


def opens(gate: Path, when: Callable[[str, Exchange], Any]) -> Watcher:
    """Lets a light server go on that waits at this gate."""
    return at_first(when, gate.touch)


def told(text: str) -> Callable[[str, Exchange], bool]:
    """The moment when a stream has told this."""
    return lambda moment, exchange: moment == "told" and text.encode() in exchange.content


@dataclass
class CuttingProxy:
    url: str
    plan: Plan
    watch: Watcher = lambda moment, exchange: None
    exchanges: list[Exchange] = field(default_factory=list)
    under_way: int = 0
    """Requests that have come in and are not yet done with."""

    @property
    def log(self) -> str:
        return "\n".join(map(str, self.exchanges))

    def met(self, fault: Fault) -> bool:
        """Whether a request has met it."""
        return any(exchange.fault == fault for exchange in self.exchanges)

    def settle(self, seconds: float = 120) -> None:
        """Wait until nothing is on its way any more."""
        deadline = time.monotonic() + seconds
        while self.under_way:
            assert time.monotonic() < deadline, f"still on its way:\n{self.log}"
            time.sleep(0.01)


@contextlib.contextmanager
def cutting_proxy(hub_url: str, plan: Plan = lambda exchange: NONE) -> Iterator[CuttingProxy]:
    """Listens on the loopback, in front of the hub at this address, until the block ends."""
    home = urlsplit(hub_url)
    ended = threading.Event()
    lock = threading.Lock()
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        proxy = CuttingProxy(f"http://127.0.0.1:{listener.getsockname()[1]}{home.path}", plan)

        def serve(client: socket.socket) -> None:
            with client, contextlib.suppress(OSError), client.makefile("rb") as asked:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while exchange_one(client, asked):
                    pass

        def exchange_one(client: socket.socket, asked: socket.SocketIO) -> bool:
            """Whether the connection goes on."""
            request = asked.readline().split()
            if len(request) != 3:
                return False
            headers = http.client.parse_headers(asked)
            body = asked.read(int(headers.get("Content-Length") or 0))
            with lock:
                exchange = Exchange(request[0].decode(), request[1].decode(), body=body)
                exchange.fault = proxy.plan(exchange)
                proxy.exchanges.append(exchange)
                proxy.under_way += 1
            try:
                return carry(client, exchange, dict(headers.items()))
            finally:
                with lock:
                    proxy.under_way -= 1

        def carry(client: socket.socket, exchange: Exchange, headers: dict[str, str]) -> bool:
            fault = exchange.fault
            proxy.watch("asked", exchange)
            if fault.kind == "unheard":
                return cut(client, fault)
            if fault.kind == "held":
                pause(client, fault)
            connection = http.client.HTTPConnection(str(home.hostname), home.port, timeout=120)
            with contextlib.closing(connection):
                answer = ask_the_hub(connection, exchange, headers)
                streams = answer.headers.get_content_type() == "text/event-stream"
                if streams and fault.kind != "buffered":
                    return pass_on(client, exchange, answer)
                head, content = whole(exchange, answer, streams)
            proxy.watch("done", exchange)
            if fault.kind == "late":
                pause(client, fault)
            if fault.kind == "unanswered":
                return cut(client, fault)
            answer = head + content
            if fault.kind == "halved":
                # Never the whole: at least the last byte of the part is missing.
                part = head if fault.part == "head" or not content else content
                answer = answer[: (0 if part is head else len(head)) + int(fault.runner * len(part))]
            with contextlib.suppress(OSError):  # whoever asked may have had enough, or be dead
                client.sendall(answer)
            proxy.watch("answered", exchange)
            return fault.kind not in CUTS or cut(client, fault)

        def pause(client: socket.socket, fault: Fault) -> None:
            if fault.seconds < math.inf:
                ended.wait(fault.seconds)
                return
            while not ended.is_set() and not has_hung_up(client, 0.1):
                pass

        def ask_the_hub(
            connection: http.client.HTTPConnection, exchange: Exchange, headers: dict[str, str]
        ) -> http.client.HTTPResponse:
            connection.request(exchange.method, exchange.path, exchange.body or None, headers | {"Connection": "close"})
            answer = connection.getresponse()
            exchange.status = answer.status
            return answer

        def head_of(answer: http.client.HTTPResponse, *more: str) -> bytes:
            lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
            hop = ("connection", "transfer-encoding", "content-length", "keep-alive")
            lines += [f"{name}: {value}" for name, value in answer.getheaders() if name.lower() not in hop]
            return "\r\n".join([*lines, *more, "", ""]).encode("latin-1")

        def whole(exchange: Exchange, answer: http.client.HTTPResponse, streams: bool) -> tuple[bytes, bytes]:
            while some := answer.read1(65536):
                exchange.content += some
                if streams:
                    proxy.watch("told", exchange)
            length = [f"Content-Length: {len(exchange.content)}"] if answer.status != 204 else []
            return head_of(answer, *length), exchange.content

        def pass_on(client: socket.socket, exchange: Exchange, answer: http.client.HTTPResponse) -> bool:
            """A stream, as it comes. Says that the connection does not go on."""
            fault = exchange.fault
            if fault.kind in CUTS:
                return cut(client, fault)
            end = fault.events if fault.kind == "shortened" else math.inf

            def is_over() -> bool:
                events = exchange.content.count(b"data:")
                return events == end and (not events or exchange.content.endswith(b"\n\n"))

            with contextlib.suppress(OSError):  # nobody listens any more, on one side or the other
                client.sendall(head_of(answer, "Connection: close"))
                while not is_over() and (some := answer.readline(65536)):
                    exchange.content += some
                    client.sendall(some)
                    proxy.watch("told", exchange)
            return cut(client, fault)

        def accept() -> None:
            while not ended.is_set():
                try:
                    client, _address = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            ended.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
            thread.join(5)


def has_hung_up(client: socket.socket, seconds: float) -> bool:
    """Whether the other side ends the connection, within so many seconds."""
    readable, _writable, _special = select.select([client], [], [], seconds)
    try:
        return bool(readable) and client.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def cut(client: socket.socket, fault: Fault) -> bool:
    """End the connection, at once; says that it does not go on."""
    if fault.reset:
        # No lingering: the system answers with RST, and what the other side has not read yet is lost to it.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    else:
        client.shutdown(socket.SHUT_RDWR)
    return False
