# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fakes that refuse, record or misbehave on purpose, where a real hub would not.

with misbehaving_hub(html_page) as fake:
    ...  # fake.url; and fake.asked, what it was asked
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
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization")


@dataclass(frozen=True)
class Answer:
    """``body`` is sent as it is; anything but bytes as JSON. ``pause``: seconds before each of its bytes."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0


Behaviour = Callable[[Asked], Answer | None]
"""None is no answer: the connection stays open and silent."""


@dataclass
class Misbehaving:
    url: str
    asked: list[Asked] = field(default_factory=list)

    @property
    def writes(self) -> list[str]:
        return [f"{one.method} {one.path}" for one in self.asked if one.method != "GET"]

    @property
    def tokens(self) -> list[str]:
        return [one.token for one in self.asked if one.token]


class Listener(ThreadingHTTPServer):
    request_queue_size = 128  # whoever is concurrent comes at once


@contextlib.contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """An HTTP listener on the loopback for the time of the block; its URL."""
    server = Listener(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def misbehaving_hub(behave: Behaviour) -> Iterator[Misbehaving]:
    """An HTTP listener on the loopback that answers every request as ``behave`` says, and records it."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            fake.asked.append(asked)
            answer = behave(asked)
            if answer is None:
                ended.wait(60)
                return
            content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            kind = "text/html" if isinstance(answer.body, bytes) else "application/json"
            for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # whoever asked may have had enough
                if not answer.pause:
                    self.wfile.write(content)
                while answer.pause and content and not ended.wait(answer.pause):
                    self.wfile.write(content[:1])
                    content = content[1:]

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: `asked` has it all."""

    with listening(Handler) as url:
        fake = Misbehaving(url)
        try:
            yield fake
        finally:
            ended.set()


# Behaviours


def html_page(asked: Asked) -> Answer:
    return Answer(b"<html><head><title>Welcome</title></head><body>A company's front page</body></html>")


def too_much(asked: Asked) -> Answer:
    return Answer(b"<html>" + bytes(50_000_000))


def drop_by_drop(asked: Asked) -> Answer:
    """Always about to say something: no pause of it is longer than half a second."""
    return Answer({"version": "6.1.1", "more": "and more"}, pause=0.5)


def no_room(asked: Asked) -> Answer:
    return Answer({"status": 429, "message": "too many are starting"}, status=429, headers={"Retry-After": "120"})


def silence(asked: Asked) -> None:
    """Takes the request and never answers."""


def like_a_hub(special: Behaviour) -> Behaviour:
    """Tells a version as a hub does, so that whoever asks goes on to send the token, and then behaves as told."""
    return lambda asked: Answer({"version": "6.1.1"}) if asked.path.endswith("/hub/api/") else special(asked)


def redirects_to(target: str) -> Behaviour:
    return lambda asked: Answer(status=302, headers={"Location": target + asked.path.lstrip("/")})


def refuses_writes(hub_url: str) -> Behaviour:
    """A real hub to look at through glass: what only reads gets the hub's answer, all else fails with 500."""

    def behave(asked: Asked) -> Answer:
        if asked.method != "GET":
            return Answer({"status": 500, "message": "this hub refuses every write"}, status=500)
        origin = urlsplit(hub_url)
        headers = {name: value for name, value in asked.headers.items() if name in ("authorization", "accept")}
        url = f"{origin.scheme}://{origin.netloc}{asked.path}"
        answer = requests.get(url, headers=headers, timeout=30, allow_redirects=False)
        passed = {name: answer.headers[name] for name in ("Content-Type", "Location") if name in answer.headers}
        return Answer(answer.content, answer.status_code, passed)

    return behave


def passes_on(hub_url: str) -> Behaviour:
    """A real hub, asked in the same words and for the same host as we are, so that all of it is recorded."""
    origin = urlsplit(hub_url)
    hop = ("connection", "transfer-encoding", "content-length", "content-encoding")

    def behave(asked: Asked) -> Answer:
        url = f"{origin.scheme}://{origin.netloc}{asked.path}"
        headers = {name: value for name, value in asked.headers.items() if name not in hop}
        answer = requests.request(
            asked.method, url, headers=headers, data=asked.body, timeout=60, allow_redirects=False
        )
        passed = {name: value for name, value in answer.headers.items() if name.lower() not in hop}
        return Answer(answer.content, answer.status_code, passed)

    return behave
