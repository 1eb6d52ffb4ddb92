# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stream's line, a list or an answer that never ends does not make the client run forever."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import client as _client
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import transport as _transport
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Timeout as TimedOut
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import UnexpectedAnswer
from requests.adapters import HTTPAdapter
from support.fakes.raw_server import raw_server
from support.fakes.scripted_hub import HUB
from urllib3 import HTTPResponse


class Endless(io.RawIOBase):
    """The same byte forever."""

    def __init__(self, byte: bytes = b"x") -> None:
        self.byte = byte
        self.given = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.given += max(size, 1)
        return self.byte * max(size, 1)


def client(monkeypatch: pytest.MonkeyPatch, body: Any, **more: Any) -> HubClient:
    def send(adapter: HTTPAdapter, request: requests.PreparedRequest, **_more: Any) -> requests.Response:
        raw = HTTPResponse(body, {"Content-Type": "application/json"}, 200, preload_content=False)
        return adapter.build_response(request, raw)

    monkeypatch.setattr(HTTPAdapter, "send", send)
    return HubClient(Connection(HUB, "a-token-of-a-test", **more))


class ListingHub:
    """A list of users. The test makes its pages."""

    def __init__(self, page: Callable[[int, int], tuple[list[str], int | None, int | None]]) -> None:
        self.page = page
        """Takes an offset and the number of earlier pages. Returns the names, the next offset, and the total."""
        self.asked = 0

    def send(self, request: requests.PreparedRequest, **_more: Any) -> requests.Response:
        [offset] = parse_qs(urlsplit(str(request.url)).query)["offset"]
        names, following, total = self.page(int(offset), self.asked)
        self.asked += 1
        about = {"next": None if following is None else {"offset": following}, "total": total}
        content = json.dumps({"items": [{"name": name} for name in names], "_pagination": about}).encode()
        raw = HTTPResponse(io.BytesIO(content), {"Content-Type": "application/json"}, 200, preload_content=False)
        return HTTPAdapter().build_response(request, raw)

    def names(self, monkeypatch: pytest.MonkeyPatch, deadline: float | None = None) -> list[str]:
        monkeypatch.setattr(HTTPAdapter, "send", lambda _self, request, **more: self.send(request, **more))
        with HubClient(Connection(HUB, "a-token-of-a-test")) as hub:
            asking = hub if deadline is None else hub.with_deadline(deadline)
            return [user["name"] for user in asking.pages("users", scope="list:users", what="list of users")]


@pytest.mark.parametrize(
    ("page", "most"),
    [
        (lambda offset, number: ([], offset + 1, None), 50),
        (lambda offset, number: (["alice"], offset + 1, None), 50),
        (lambda offset, number: ([], offset + 1, 10**9), 50),
        (lambda offset, number: ([f"user{number}"], offset + 1, 1), 1),
        (lambda offset, number: ([f"user{number}"], offset + 1, offset + 2), 150),
    ],
    ids=["empty pages", "the same user", "empty pages of many", "more than there are", "ever new ones"],
)  # fmt: skip
def test_a_list_that_never_ends_is_unexpected(page: Any, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "_MOST_PAGES", 150)
    hub = ListingHub(page)
    with pytest.raises(UnexpectedAnswer, match="next"):
        hub.names(monkeypatch)
    assert hub.asked <= most


def test_users_who_come_and_go_meanwhile_are_no_surprise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub sorts by creation. A deleted user moves the others forward, and a new user comes last."""
    users = [f"user{number}" for number in range(1000)]

    def page(offset: int, number: int) -> tuple[list[str], int | None, int]:
        if number % 3 == 0:
            del users[:40]
        elif number % 3 == 1:
            users.extend(f"new{number}-{each}" for each in range(60))
        else:
            users[:0] = [f"moved{number}-{each}" for each in range(20)]  # as in a list of servers, when one starts
        found = users[offset : offset + 20]
        return found, offset + 20 if offset + 20 < len(users) else None, len(users)

    hub = ListingHub(page)
    found = hub.names(monkeypatch)
    assert found[-1] == users[-1]
    assert hub.asked > 50


def test_a_list_ends_with_the_time_of_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = ListingHub(lambda offset, number: ([f"user{number}"], offset + 1, 10**9))
    with pytest.raises(TimedOut, match="list of users has not come to its end"):
        hub.names(monkeypatch, time.monotonic() + 0.2)


def test_an_answer_that_never_ends_is_unexpected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_transport, "_MAX_ANSWER_BYTES", 1 << 20)
    body = Endless(b" ")
    with client(monkeypatch, body) as hub, pytest.raises(UnexpectedAnswer, match="more than 1 MiB"):
        hub.version  # noqa: B018
    assert body.given < 3 << 20


def test_whoever_sends_too_slowly_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would occupy a thread and a connection for as long as it likes."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _address = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            with contextlib.suppress(OSError):
                while True:
                    connection.sendall(b" ")
                    time.sleep(0.02)
            ended.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with HubClient(Connection(url, request_timeout=0.5)) as hub:
            hub._session.mount("http://", HTTPAdapter())
            with pytest.raises(TimedOut):
                hub.version  # noqa: B018
            assert ended.wait(60)


def test_an_endless_line_of_a_stream_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "_LONGEST_LINE", 20_000)
    body = Endless()
    with client(monkeypatch, body) as hub:
        assert list(hub._read_stream(HUB)) == []
    assert body.given < 30_000


def test_an_endless_line_of_a_stream_is_not_read_beyond_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with client(monkeypatch, Endless()) as hub:
        began = time.monotonic()
        assert list(hub._read_stream(HUB, began)) == []
    assert time.monotonic() - began < 1


def test_a_long_line_of_a_stream_takes_a_time_that_grows_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """To copy the whole line at each byte would copy 400 GB."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    pieces = [b'data: {"message": "', *[b"x" * 1000] * 900, b'"}\n\ndata: {"progress"', b": 1}", b""]
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    with raw_server(answer) as server, HubClient(Connection(server.url)) as hub:
        began = time.monotonic()
        events = [event for event in hub._read_stream(server.url) if event]
    assert events == [{"message": "x" * 900_000}, {"progress": 1}]
    assert time.monotonic() - began < 20
