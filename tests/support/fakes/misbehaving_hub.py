# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake hub that answers as a test wants, or not at all, and records the requests that it gets.

with misbehaving_hub(html_page) as fake:
    ...  # fake.url is its address, fake.requests are the requests that it got
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import requests


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str | None:
        """The Authorization header."""
        return self.headers.get("authorization")


@dataclass(frozen=True)
class Answer:
    """What the fake sends. A ``body`` that is not bytes is sent as JSON. It pauses so many seconds before each byte."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0


Behaviour = Callable[[Request], Answer | None]
"""From a request to its answer. None is no answer: the connection stays open."""


@dataclass
class MisbehavingHub:
    url: str
    requests: list[Request] = field(default_factory=list)

    @property
    def writes(self) -> list[str]:
        """Method and path of each request that is not a GET."""
        return [f"{one.method} {one.path}" for one in self.requests if one.method != "GET"]

    @property
    def tokens(self) -> list[str]:
        """The Authorization header of each request that had one."""
        return [one.token for one in self.requests if one.token]


class Listener(ThreadingHTTPServer):
    request_queue_size = 128  # concurrent clients connect at the same time


@contextlib.contextmanager
def http_listener(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Listen for HTTP on the loopback for the time of the block. Yields the URL."""
    server = Listener(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def misbehaving_hub(behave: Behaviour) -> Iterator[MisbehavingHub]:
    """A fake hub on the loopback, for the time of the block, that answers each request with what ``behave`` returns."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(
                self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body
            )
            fake.requests.append(request)
            answer = behave(request)
            if answer is None:
                ended.wait(60)
                return
            content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            kind = "text/html" if isinstance(answer.body, bytes) else "application/json"
            for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # the client may have hung up
                if not answer.pause:
                    self.wfile.write(content)
                while answer.pause and content and not ended.wait(answer.pause):
                    self.wfile.write(content[:1])
                    content = content[1:]

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing: `requests` has all of it."""

    with http_listener(Handler) as url:
        fake = MisbehavingHub(url)
        try:
            yield fake
        finally:
            ended.set()


# Behaviours: what `misbehaving_hub` can be given


def html_page(request: Request) -> Answer:
    return Answer(b"<html><head><title>Welcome</title></head><body>A company's front page</body></html>")


def huge_page(request: Request) -> Answer:
    return Answer(b"<html>" + bytes(50_000_000))


def slow_answer(request: Request) -> Answer:
    """An answer of which a byte comes every half a second, so that no single read times out."""
    return Answer({"version": "6.1.1", "more": "and more"}, pause=0.5)


def too_many_starts(request: Request) -> Answer:
    return Answer({"status": 429, "message": "too many are starting"}, status=429, headers={"Retry-After": "120"})


def no_answer(request: Request) -> None:
    """Accept the request and never answer it."""


def with_version(behave: Behaviour) -> Behaviour:
    """Answer the request for the version as a hub does, so that the client then sends its token; then ``behave``."""
    return lambda request: Answer({"version": "6.1.1"}) if request.path.endswith("/hub/api/") else behave(request)


def redirect_to(target: str) -> Behaviour:
    """Redirect each request to the same path below ``target``, a URL with a slash at its end."""
    return lambda request: Answer(status=302, headers={"Location": target + request.path.lstrip("/")})


def refuse_writes(hub_url: str) -> Behaviour:
    """Forward each GET to a real hub, and answer any other request with 500."""

    def behave(request: Request) -> Answer:
        if request.method != "GET":
            return Answer({"status": 500, "message": "this hub refuses every write"}, status=500)
        origin = urlsplit(hub_url)
        headers = {name: value for name, value in request.headers.items() if name in ("authorization", "accept")}
        url = f"{origin.scheme}://{origin.netloc}{request.path}"
        answer = requests.get(url, headers=headers, timeout=30, allow_redirects=False)
        kept = {name: answer.headers[name] for name in ("Content-Type", "Location") if name in answer.headers}
        return Answer(answer.content, answer.status_code, kept)

    return behave


def forward_to(hub_url: str) -> Behaviour:
    """Forward each request, with its headers and its Host, to a real hub: the fake records all requests to that hub."""
    origin = urlsplit(hub_url)
    hop_by_hop = ("connection", "transfer-encoding", "content-length", "content-encoding")

    def behave(request: Request) -> Answer:
        url = f"{origin.scheme}://{origin.netloc}{request.path}"
        headers = {name: value for name, value in request.headers.items() if name not in hop_by_hop}
        answer = requests.request(
            request.method, url, headers=headers, data=request.body, timeout=60, allow_redirects=False
        )
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in hop_by_hop}
        return Answer(answer.content, answer.status_code, kept)

    return behave
