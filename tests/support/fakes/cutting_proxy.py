# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of a real hub that cuts connections and delays answers, as a test wants.

    with cutting_proxy(hub.url, random_faults(seed=7)) as proxy:
        ...  # proxy.url is the hub's address through it, and proxy.exchanges says what happened to each request
        proxy.wait_until_idle()  # until the hub has got everything that is still on its way

The hub itself answers what reaches it; only the way there and back has faults. As the proxy sees each request, it can
also open the gate at which a light server waits:

    proxy.observer = open_gate(gate, lambda moment, exchange: moment == "hub_answered" and exchange.method == "POST")
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
    """What happens to one exchange. Its ``kind`` is one of these:

    * `none`: nothing.
    * `request_lost`: the connection is cut before the request reaches the hub.
    * `answer_lost`: it is cut after the hub has carried out the request, before any of the answer is sent.
    * `answer_cut`: it is cut when ``share_sent`` of the answer's ``part``, "head" or "body", has been sent.
    * `closed_after_answer`: it is cut right after the whole answer.
    * `answer_late`: the answer is sent after ``seconds``.
    * `request_late`: the request reaches the hub after ``seconds``, even if the client has hung up by then.
    * `stream_cut`: a stream of events is cut after so many ``events``.
    * `stream_buffered`: a stream of events is sent when it has ended.

    With ``seconds`` of `math.inf` a delay lasts until the client hangs up. A cut is a FIN, or with ``reset`` a RST. A
    stream of events is sent as it comes, and other cuts than `stream_cut` come before its first byte.
    """

    kind: str = "none"
    part: str = "body"
    share_sent: float = 0.5
    reset: bool = False
    seconds: float = 0.0
    events: int = 0

    def __str__(self) -> str:
        where = f" at {self.share_sent:.2f} of the {self.part}" if self.kind == "answer_cut" else ""
        return self.kind + where + (" (RST)" if self.reset else "") + (f" {self.seconds:g} s" if self.seconds else "")


NO_FAULT = Fault()
CUTS = ("request_lost", "answer_lost", "answer_cut", "closed_after_answer")
DELAYS = ("answer_late", "request_late")


@dataclass
class Exchange:
    """One request, its fault, and the status of the hub's answer if the request reached the hub."""

    method: str
    path: str
    fault: Fault = NO_FAULT
    status: int | None = None
    body: bytes = b""
    content: bytes = b""
    """The body of the hub's answer, as far as the proxy has read it."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}: {self.fault} -> {self.status}"


ChooseFault = Callable[[Exchange], Fault]
Observer = Callable[[str, Exchange], None]
"""The proxy calls it, and waits for it, at these moments of an exchange: `request_received`, `hub_answered` and
`answer_sent`. For a stream of events these are `request_received`, and `stream_read` each time after some of it has
come from the hub and, unless it is buffered, been sent on."""


def random_faults(seed: int, share: float = 0.35, seconds: float = 0.0) -> ChooseFault:
    """Random faults for this ``share`` of the reads and twice this share of the writes.

    Delays are among them only if ``seconds`` says how long they last. The fault depends on the request and on how often
    it was sent before, not on the order in which requests of several threads arrive.
    """
    times_sent: Counter[tuple[str, str]] = Counter()
    lock = threading.Lock()

    def choose_fault(exchange: Exchange) -> Fault:
        # The hub chooses a token's id, so it differs in each run.
        key = (exchange.method, re.sub(r"/tokens/.*", "/tokens/ID", exchange.path))
        with lock:
            times_sent[key] += 1
            chance = random.Random(f"{seed} {key} {times_sent[key]}")
        if chance.random() >= share * (2 if exchange.method != "GET" else 1):
            return NO_FAULT
        kind = chance.choice(CUTS + (DELAYS if seconds and exchange.method != "GET" else ()))
        return Fault(
            kind,
            part=chance.choice(("head", "body")),
            share_sent=chance.random(),
            reset=kind in CUTS and chance.random() < 0.5,
            seconds=seconds if kind in DELAYS else 0.0,
        )

    return choose_fault


def fault_for(method: str, end: str, fault: Fault, times: int = 1) -> ChooseFault:
    """This fault for the first so many requests with this method and a path with this ``end``, and none for others."""
    left = [times]

    def choose_fault(exchange: Exchange) -> Fault:
        if exchange.method != method or not exchange.path.endswith(end) or not left[0]:
            return NO_FAULT
        left[0] -= 1
        return fault

    return choose_fault


def run_once(when: Callable[[str, Exchange], Any], do: Callable[[], Any]) -> Observer:
    """Call ``do`` the first time that ``when`` returns something true."""
    lock, left = threading.Lock(), [do]

    def observe(moment: str, exchange: Exchange) -> None:
        with lock:
            if left and when(moment, exchange):
                left.pop()()

    return observe


def open_gate(gate: Path, when: Callable[[str, Exchange], Any]) -> Observer:
    """Open the gate at which a light server waits, the first time that ``when`` returns something true."""
    return run_once(when, gate.touch)


def stream_contains(text: str) -> Callable[[str, Exchange], bool]:
    """For `run_once` and `open_gate`: the moment at which the proxy has read this text from a stream."""
    return lambda moment, exchange: moment == "stream_read" and text.encode() in exchange.content


@dataclass
class CuttingProxy:
    url: str
    choose_fault: ChooseFault
    observer: Observer = lambda moment, exchange: None
    exchanges: list[Exchange] = field(default_factory=list)
    under_way: int = 0
    """The number of requests that have come in and are not yet finished."""

    @property
    def log(self) -> str:
        return "\n".join(map(str, self.exchanges))

    def has_caused(self, fault: Fault) -> bool:
        """Whether this fault has happened to a request."""
        return any(exchange.fault == fault for exchange in self.exchanges)

    def wait_until_idle(self, seconds: float = 120) -> None:
        """Wait until no request is under way."""
        deadline = time.monotonic() + seconds
        while self.under_way:
            assert time.monotonic() < deadline, f"still under way:\n{self.log}"
            time.sleep(0.01)


@contextlib.contextmanager
def cutting_proxy(hub_url: str, choose_fault: ChooseFault = lambda exchange: NO_FAULT) -> Iterator[CuttingProxy]:
    """A proxy on the loopback, in front of the hub at this address, for the time of the block."""
    hub = urlsplit(hub_url)
    ended = threading.Event()
    lock = threading.Lock()
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        proxy = CuttingProxy(f"http://127.0.0.1:{listener.getsockname()[1]}{hub.path}", choose_fault)

        def serve(client: socket.socket) -> None:
            with client, contextlib.suppress(OSError), client.makefile("rb") as stream:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while exchange_one(client, stream):
                    pass

        def exchange_one(client: socket.socket, stream: socket.SocketIO) -> bool:
            """Forward one request. Returns whether the connection stays open."""
            request = stream.readline().split()
            if len(request) != 3:
                return False
            headers = http.client.parse_headers(stream)
            body = stream.read(int(headers.get("Content-Length") or 0))
            with lock:
                exchange = Exchange(request[0].decode(), request[1].decode(), body=body)
                exchange.fault = proxy.choose_fault(exchange)
                proxy.exchanges.append(exchange)
                proxy.under_way += 1
            try:
                return forward(client, exchange, dict(headers.items()))
            finally:
                with lock:
                    proxy.under_way -= 1

        def forward(client: socket.socket, exchange: Exchange, headers: dict[str, str]) -> bool:
            fault = exchange.fault
            proxy.observer("request_received", exchange)
            if fault.kind == "request_lost":
                return cut(client, fault)
            if fault.kind == "request_late":
                pause(client, fault)
            connection = http.client.HTTPConnection(str(hub.hostname), hub.port, timeout=120)
            with contextlib.closing(connection):
                answer = send_to_hub(connection, exchange, headers)
                streams = answer.headers.get_content_type() == "text/event-stream"
                if streams and fault.kind != "stream_buffered":
                    return forward_stream(client, exchange, answer)
                head, content = read_answer(exchange, answer, streams)
            proxy.observer("hub_answered", exchange)
            if fault.kind == "answer_late":
                pause(client, fault)
            if fault.kind == "answer_lost":
                return cut(client, fault)
            answer = head + content
            if fault.kind == "answer_cut":
                # Never all of it: at least the last byte of the part is missing.
                part = head if fault.part == "head" or not content else content
                answer = answer[: (0 if part is head else len(head)) + int(fault.share_sent * len(part))]
            with contextlib.suppress(OSError):  # the client may have hung up, or have been killed
                client.sendall(answer)
            proxy.observer("answer_sent", exchange)
            return fault.kind not in CUTS or cut(client, fault)

        def pause(client: socket.socket, fault: Fault) -> None:
            if fault.seconds < math.inf:
                ended.wait(fault.seconds)
                return
            while not ended.is_set() and not has_hung_up(client, 0.1):
                pass

        def send_to_hub(
            connection: http.client.HTTPConnection, exchange: Exchange, headers: dict[str, str]
        ) -> http.client.HTTPResponse:
            connection.request(exchange.method, exchange.path, exchange.body or None, headers | {"Connection": "close"})
            answer = connection.getresponse()
            exchange.status = answer.status
            return answer

        def render_head(answer: http.client.HTTPResponse, *more: str) -> bytes:
            lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
            hop = ("connection", "transfer-encoding", "content-length", "keep-alive")
            lines += [f"{name}: {value}" for name, value in answer.getheaders() if name.lower() not in hop]
            return "\r\n".join([*lines, *more, "", ""]).encode("latin-1")

        def read_answer(exchange: Exchange, answer: http.client.HTTPResponse, streams: bool) -> tuple[bytes, bytes]:
            while some := answer.read1(65536):
                exchange.content += some
                if streams:
                    proxy.observer("stream_read", exchange)
            length = [f"Content-Length: {len(exchange.content)}"] if answer.status != 204 else []
            return render_head(answer, *length), exchange.content

        def forward_stream(client: socket.socket, exchange: Exchange, answer: http.client.HTTPResponse) -> bool:
            """Send a stream on as it comes. Returns False: the connection does not stay open."""
            fault = exchange.fault
            if fault.kind in CUTS:
                return cut(client, fault)
            end = fault.events if fault.kind == "stream_cut" else math.inf

            def is_over() -> bool:
                events = exchange.content.count(b"data:")
                return events == end and (not events or exchange.content.endswith(b"\n\n"))

            with contextlib.suppress(OSError):  # one of the two sides has hung up
                client.sendall(render_head(answer, "Connection: close"))
                while not is_over() and (some := answer.readline(65536)):
                    exchange.content += some
                    client.sendall(some)
                    proxy.observer("stream_read", exchange)
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
    """Whether the client closes the connection within so many seconds."""
    readable, _writable, _special = select.select([client], [], [], seconds)
    try:
        return bool(readable) and client.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def cut(client: socket.socket, fault: Fault) -> bool:
    """Cut the connection at once. Returns False: it does not stay open."""
    if fault.reset:
        # Without lingering the system sends a RST, and the client loses what it has not read yet.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    else:
        client.shutdown(socket.SHUT_RDWR)
    return False
