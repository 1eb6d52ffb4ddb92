# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hubs that are none: they say what a test has written down, so that it can be wrong in ways that no real hub is.

``scripted_hub`` answers a list of exact requests below the HTTP library, in that order and nothing else.
``misbehaving_server`` is a socket that answers raw bytes, or hangs up: for what the library does by itself.
``StandInHub`` stands in for the whole client, above HTTP: for flows, whose requests come at any time.
"""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import requests
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import NotFound
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Owner
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.versions import DIALECTS, Dialect
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

HUB = "https://hub.example.org/jhub/"
API = HUB + "hub/api/"
TOKEN = "s3cr3t-0123456789"


class Clock:
    """In place of the module `time` of those under test: it goes on only while somebody sleeps, or a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds
            self.slept.append(seconds)
        time.sleep(0.001)  # what goes on in other threads goes on meanwhile


@dataclass(frozen=True)
class Exchange:
    """One request as it must be, and the answer to it. ``answer`` is JSON, or a page if it is a string."""

    method: str
    url: str
    answer: Any = None
    status: int = 200
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str | None = TOKEN
    """The token that must come along; None: none may."""


def version(number: str = "6.1.1") -> Exchange:
    return Exchange("GET", API, {"version": number}, token=None)


def user(*scopes: str, **more: Any) -> Exchange:
    return Exchange("GET", API + "user", {"kind": "user", "name": "alice", "scopes": list(scopes), **more})


class ScriptedAdapter(HTTPAdapter):
    """Answers the requests of a script. A request that is not the next one of the script fails the test."""

    def __init__(self, script: list[Exchange]) -> None:
        super().__init__()
        self.script = script

    def send(self, request: requests.PreparedRequest, *_args: Any, **_more: Any) -> requests.Response:
        assert self.script, f"nothing more was to be asked: {request.method} {request.url}"
        expected = self.script.pop(0)
        assert (request.method, request.url) == (expected.method, expected.url)
        body = json.loads(request.body) if request.body else None
        assert body == expected.body
        assert request.headers.get("Authorization") == (f"token {expected.token}" if expected.token else None)
        assert {name: request.headers.get(name) for name in expected.headers} == expected.headers
        page = isinstance(expected.answer, str)
        content = expected.answer if page else json.dumps(expected.answer) if expected.answer is not None else ""
        headers = {"Content-Type": "text/html; charset=utf-8" if page else "application/json"}
        raw = HTTPResponse(
            io.BytesIO(content.encode()), {**headers, **expected.answer_headers}, expected.status, preload_content=False
        )
        return self.build_response(request, raw)


@contextmanager
def scripted_hub(*script: Exchange, url: str = HUB, token: str = TOKEN) -> Iterator[HubClient]:
    """A client whose hub expects exactly this script, to its end."""
    adapter = ScriptedAdapter(list(script))
    with HubClient(Connection(url, token)) as hub:
        hub._session.mount("https://", adapter)
        hub._session.mount("http://", adapter)
        yield hub
        assert not adapter.script, "this was to be asked, too"


def http(status: str, body: Any = None, *headers: str) -> bytes:
    """A raw answer, after which the connection is closed."""
    content = json.dumps(body).encode() if body is not None else b""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class Held(bytes):
    """A raw answer after which the connection is held open."""


@dataclass
class MisbehavingServer:
    url: str
    seen: list[str] = field(default_factory=list)
    """The first line of each request that came in."""
    listen: Callable[[], None] = lambda: None
    """From then on it takes connections, if it has not done so from the beginning."""


@contextmanager
def misbehaving_server(*answers: bytes | None, listens: bool = True) -> Iterator[MisbehavingServer]:
    """Gives each connection its answer and closes it: empty means not a word, None hangs without one.

    The last answer is for all connections that follow. Where it does not listen, connections are refused until it is
    told to.
    """
    ended, listening = threading.Event(), threading.Event()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        served = MisbehavingServer(f"http://127.0.0.1:{server.getsockname()[1]}/")

        def one(connection: socket.socket, answer: bytes | None) -> None:
            with connection:
                asked = b""
                # To the end of the headers; a TLS client's first words have none.
                while b"\r\n\r\n" not in asked and asked[:1] != b"\x16":
                    asked += connection.recv(4096) or b"\r\n\r\n"
                served.seen.append(asked.decode(errors="replace").partition(" HTTP/")[0])
                connection.sendall(answer or b"")
                if answer is None or isinstance(answer, Held):
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
                threading.Thread(target=one, args=(connection, answer), daemon=True).start()

        served.listen = listen
        if listens:
            listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            ended.set()
            listening.set()
            try:
                server.shutdown(socket.SHUT_RDWR)  # wakes `accept`
            except OSError:
                pass  # it never listened
            thread.join(60)


Model = dict[str, Any]
Stream = Callable[[], Iterator[Model]]

PENDING: Model = {"ready": False, "pending": "spawn", "url": "/jhub/user/alice/"}
READY: Model = {"ready": True, "pending": None, "url": "/jhub/user/alice/"}
STOPPING: Model = {"ready": True, "pending": "stop", "url": "/jhub/user/alice/"}


@dataclass(frozen=True)
class StandInServer:
    """In place of `ServerClient`: what its `StandInHub` says of the server at this address."""

    hub: StandInHub
    url: str
    what: str

    def answers(self) -> bool:
        return self.hub.answers(self.url)

    def is_hub_answering(self) -> bool:
        return self.hub.stands_in(self.url)

    def request(self, method: str, path: str, *, body: Model | None = None) -> Any:
        return self.hub.ask_server(method, urljoin(self.url, path), what=self.what, body=body)


class StandInHub:
    """In memory, in place of `HubClient`: one user ``alice``, whose servers change when the test's script says so."""

    url = HUB
    connection = Connection(HUB, TOKEN)
    version = "6.1.1"

    def __init__(self, model: Model | None = None, dialect: Dialect = DIALECTS[0]) -> None:
        self.model = model
        """What the hub says of the user; None: it does not know her."""
        self.dialect = dialect
        self.writes: list[tuple[str, str, Any]] = []
        self.on_write: Callable[[str, str, Any], Any] = lambda method, path, body: None
        self.on_look: Callable[[], None] = lambda: None
        self.status = 200
        """Of the answers to what is written."""
        self.looks = 0
        self.streams: list[list[Model | Callable[[], None]]] = []
        """The events of one progress stream after another; what is callable there happens at that moment."""
        self.last_stream: list[Model | Callable[[], None]] = []
        """What every further stream says."""
        self.answering = True
        self.standing_in = False
        """Whether the hub answers in place of a server that does not."""
        self.proxy_answers = 0
        self.owner = Owner("user", "alice")

    def get(self, *path: str, scope: str, what: str, **params: str) -> Model:
        self.looks += 1
        self.on_look()
        if self.model is None:
            raise NotFound(f"The hub has no {what}.", "Check the name.", status=404)
        return {"api_tokens": self.model["tokens"]} if path[-1] == "tokens" else dict(self.model)

    def write(self, method: str, *path: str, scope: str, what: str, body: Model | None = None) -> tuple[int, Any]:
        self.writes.append((method, "/".join(path), body))
        return self.status, self.on_write(method, "/".join(path), body)

    def events(self, *path: str, deadline: float) -> Iterator[Model | None]:
        for event in self.streams.pop(0) if self.streams else self.last_stream:
            if callable(event):
                event()
            else:
                yield event

    read_user, read_group = HubClient.read_user, HubClient.read_group
    list_users, read_version, held_scopes = HubClient.list_users, HubClient.read_version, HubClient.held_scopes

    def missing_scopes(self, needed: Any) -> list[str]:
        """The token holds all scopes, in these tests."""
        return []

    def resolve(self, url: str) -> str:
        return f"https://hub.example.org{url}"

    def server(self, url: str, what: str) -> StandInServer:
        return StandInServer(self, url, what)

    def ask_server(self, method: str, url: str, *, what: str, body: Model | None = None) -> Any:
        raise NotFound(f"The {what} has no API, in these tests.", "Define ask_server.", status=404)

    def answers(self, url: str) -> bool:
        return self.answering

    def stands_in(self, url: str) -> bool:
        return self.standing_in

    def with_deadline(self, deadline: float) -> StandInHub:
        """It answers at once, or holds a write: whoever waits has to see to the time."""
        return self

    def set_server(self, server: Model | None, name: str = "") -> None:
        assert self.model is not None
        self.model = {**self.model, "servers": {name: server} if server else {}}


def hub_with(server: Model | None = None, name: str = "", **more: Any) -> StandInHub:
    return StandInHub({"name": "alice", "admin": False, "servers": {name: server} if server else {}, **more})
