# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""client: which requests are repeated. With real sockets, because the HTTP library repeats some of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
import urllib3.util.retry
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import client as _client
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import transport as _transport
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    EDGE,
    HubError,
    HubFailure,
    RateLimited,
    TlsFailure,
    Unreachable,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Timeout as TimedOut
from support.fakes.fake_clock import FakeClock
from support.fakes.raw_server import HeldOpen, RawServer, raw_answer, raw_server

GOOD = raw_answer("200 OK", {"name": "alice"})
BUSY = raw_answer("503 Service Unavailable", {"message": "starting"})
HANGS_UP = b""
HANGS = None
GET, POST, DELETE = ("GET /hub/api/users/alice",), ("POST /hub/api/users/alice",), ("DELETE /hub/api/users/alice",)


LONG = 60.0
"""Seconds. A wait for something that never comes takes much longer, and everything else takes much less."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of the client and of its library, with which their pauses take no time."""
    clock = FakeClock()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(_transport, "time", clock)
    monkeypatch.setattr(urllib3.util.retry, "time", clock)
    return clock


def client(server: RawServer, request_timeout: float = LONG) -> HubClient:
    return HubClient(Connection(server.url, "token", request_timeout=request_timeout))


def get(hub: HubClient) -> object:
    return hub.get("users", "alice", scope="read:users", what="user 'alice'")


def write(hub: HubClient, method: str) -> object:
    return hub.write(method, "users", "alice", scope="admin:users", what="user 'alice'")


@pytest.mark.parametrize(
    "answers",
    [
        (HANGS_UP, GOOD),
        (BUSY, BUSY, GOOD),
        (raw_answer("502 Bad Gateway"), raw_answer("504 Gateway Timeout"), GOOD),
        (raw_answer("429 Too Many Requests", None, "Retry-After: 0"), GOOD),
        (raw_answer("429 Too Many Requests"), GOOD),
        (raw_answer("429 Too Many Requests", None, "Retry-After: soon"), GOOD),
    ],
)
def test_reading_is_tried_again(answers: tuple[bytes, ...]) -> None:
    with raw_server(*answers) as server, client(server) as hub:
        assert get(hub) == {"name": "alice"}
    assert server.seen == list(GET * len(answers))


@pytest.mark.parametrize("answers", [(HANGS_UP, raw_answer("204 No Content")), (BUSY, raw_answer("204 No Content"))])
def test_deleting_is_tried_again(answers: tuple[bytes, ...]) -> None:
    with raw_server(*answers) as server, client(server) as hub:
        assert write(hub, "DELETE") == (204, None)
    assert server.seen == list(DELETE * 2)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (HANGS_UP, Unreachable),
        (BUSY, HubFailure),
        (raw_answer("429 Too Many Requests", None, "Retry-After: 0"), RateLimited),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_may_have_reached_the_hub_is_not_sent_again(method: str, answer: bytes, failure: type[HubError]) -> None:
    with raw_server(answer, GOOD) as server, client(server) as hub, pytest.raises(failure):
        write(hub, method)
    assert server.seen == [f"{method} /hub/api/users/alice"]


def test_a_post_that_never_left_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = []
    with raw_server(raw_answer("201 Created", {}), listens=False) as server, client(server) as hub:

        def pause(_retry: object, *_more: object) -> None:
            """Replaces the library's pause between two attempts. The hub is there at the third attempt."""
            refused.append(list(server.seen))
            if len(refused) == 2:
                server.listen()

        monkeypatch.setattr(urllib3.util.retry.Retry, "sleep", pause)
        assert write(hub, "POST") == (201, {})
    assert (server.seen, refused) == (list(POST), [[], []])


def test_in_the_end_the_hub_s_own_answer_counts(clock: FakeClock) -> None:
    with raw_server(BUSY) as server, client(server) as hub, pytest.raises(HubFailure, match=r"503.*starting"):
        get(hub)
    assert server.seen == list(GET * 7)
    assert clock.slept == [0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def test_a_look_of_somebody_who_waits_goes_on_for_as_long(clock: FakeClock) -> None:
    with raw_server(*[BUSY] * 30, GOOD) as server, client(server) as hub:
        assert get(hub.with_deadline(clock.now + 60)) == {"name": "alice"}
    assert len(server.seen) == 31


def test_and_no_longer(clock: FakeClock) -> None:
    with raw_server(BUSY) as server, client(server) as hub, pytest.raises(HubFailure):
        get(hub.with_deadline(clock.now + 10))
    assert 9 < sum(clock.slept) <= 10


@pytest.mark.parametrize("status", sorted(EDGE))
def test_what_an_edge_says_is_no_word_of_the_hub_s(status: int) -> None:
    with raw_server(raw_answer(f"{status} X"), GOOD) as server, client(server) as hub:
        assert get(hub) == {"name": "alice"}
    assert len(server.seen) == 2


def test_nor_is_a_page_that_says_500() -> None:
    page = raw_answer("500 X", None, "Content-Type: text/html")
    with raw_server(page, GOOD) as server, client(server) as hub:
        assert get(hub) == {"name": "alice"}
    broken = raw_answer("500 X", {"message": "broken"}, "Content-Type: application/json")
    with (
        raw_server(broken, GOOD) as server,
        client(server) as hub,
        pytest.raises(HubFailure, match="broken"),
    ):
        get(hub)


@pytest.mark.parametrize("call", [get, lambda hub: write(hub, "POST")], ids=["GET", "POST"])
def test_a_hub_that_never_answers_is_a_timeout(call: object) -> None:
    with (
        raw_server(HANGS) as server,
        client(server, 0.1) as hub,
        pytest.raises(TimedOut, match=r"within 0\.1 s"),
    ):
        call(hub)  # type: ignore[operator]


def test_a_time_to_come_back_that_is_longer_than_a_request_may_take_is_told_not_slept_through(
    clock: FakeClock,
) -> None:
    later = raw_answer("429 Too Many Requests", None, "Retry-After: 64")
    with raw_server(later, GOOD) as server, client(server, 60.0) as hub, pytest.raises(RateLimited) as error:
        get(hub)
    assert (clock.slept, len(server.seen)) == ([], 1)
    assert "64 s" in error.value.hint


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which no program listens or can listen."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def test_nobody_there(closed_port: int) -> None:
    with HubClient(Connection(f"http://127.0.0.1:{closed_port}/")) as hub, pytest.raises(Unreachable) as error:
        hub.version  # noqa: B018
    assert f"127.0.0.1:{closed_port}: Connection refused." in error.value.message


def test_no_tls_where_it_was_expected() -> None:
    with (
        raw_server(raw_answer("400 Bad Request")) as server,
        HubClient(Connection(server.url.replace("http:", "https:"))) as hub,
        pytest.raises(TlsFailure) as error,
    ):
        hub.version  # noqa: B018
    assert "http://" in error.value.hint


def test_an_answer_that_is_no_http() -> None:
    with raw_server(b"SSH-2.0-OpenSSH_9.2\r\n") as server, client(server) as hub, pytest.raises(Unreachable):
        hub.version  # noqa: B018


def test_a_stream_ends_at_the_deadline_though_the_hub_keeps_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "_STREAM_SILENCE", 600.0)
    began = time.monotonic()
    with raw_server(HANGS) as server, client(server) as hub:
        assert list(hub.events("users", "alice", "server", "progress", deadline=began + 0.2)) == []
    assert time.monotonic() - began < LONG


@pytest.mark.parametrize(
    "said",
    [
        b'Connection: close\r\n\r\ndata: {"progress": 1}\n\n',
        b'Transfer-Encoding: chunked\r\n\r\n17\r\ndata: {"progress": 1}\n\n\r\n',
    ],
)
def test_an_event_comes_when_it_is_said_not_when_there_are_enough_of_them(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_client, "_STREAM_SILENCE", 600.0)
    began = time.monotonic()
    with raw_server(HeldOpen(b"HTTP/1.1 200 OK\r\n" + said)) as server, client(server) as hub:
        assert next(hub.events("users", "alice", "server", "progress", deadline=began + 600)) == {"progress": 1}
    assert time.monotonic() - began < LONG


def test_a_stream_that_breaks_is_one_that_ended() -> None:
    cut = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n15\r\ndata: {"progress": 1}\r\n2\r\n\n\n\r\n9\r\nda'
    with raw_server(cut) as server, client(server) as hub:
        found = list(hub.events("users", "alice", "server", "progress", deadline=time.monotonic() + LONG))
    assert found == [{"progress": 1}]
