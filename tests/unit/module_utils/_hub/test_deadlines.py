# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every wait ends at its deadline, also if the hub or a proxy delays an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import polling
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import transport as _transport
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    RateLimited,
    Unreachable,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Timeout as TimedOut
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.versions import DIALECTS
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import stop as _stopping
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.flow import server_batch
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.model import ServerSpec
from support.fakes.fake_clock import FakeClock
from support.fakes.fake_hub_client import PENDING, READY, STOPPING, FakeHubClient, Model, hub_with
from support.fakes.raw_server import raw_answer, raw_server

HANGS = None
BUSY = raw_answer("503 Service Unavailable", {"message": "starting"})
LATER = raw_answer("429 Too Many Requests", None, "Retry-After: 200")
LONG = 60.0
"""Seconds. Code that ignores its deadline takes much longer, and code that heeds it takes much less on any machine."""


@pytest.fixture(autouse=True)
def _short_pauses(short_polls: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_transport, "_LAST_TIMEOUT", 0.5)
    monkeypatch.setattr(_stopping, "_ANSWER_WAIT", 0.05)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


# The client


@pytest.mark.parametrize(
    ("answer", "left", "failure"),
    [(HANGS, 0.6, TimedOut), (HANGS, -1.0, TimedOut), (LATER, 3.0, RateLimited), (BUSY, 0.0, HubFailure)],
    ids=["hangs", "hangs at the end", "429", "503"],
)
def test_no_answer_is_waited_for_and_none_asked_for_again_after_the_deadline(
    answer: bytes | None, left: float, failure: type[HubError], monkeypatch: pytest.MonkeyPatch
) -> None:
    if answer is not HANGS:
        monkeypatch.setattr(_transport, "_LAST_TIMEOUT", LONG)  # the answer arrives at once, unless the machine is busy
    began = time.monotonic()
    with raw_server(answer) as server, HubClient(Connection(server.url, "token", request_timeout=600)) as hub:
        with pytest.raises(failure):
            hub.with_deadline(began + left).get("users", "alice", scope="read:users", what="user 'alice'")
        assert answer is HANGS or len(server.seen) == 1
    assert time.monotonic() - began < LONG


@pytest.mark.parametrize("probe", [0.2, 600.0], ids=["0.2", "60.0"])
def test_a_server_that_takes_a_question_and_never_answers(probe: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_transport, "_PROBE_TIMEOUT", probe)
    began = time.monotonic()
    with raw_server(HANGS) as server, HubClient(Connection(server.url, "token")) as hub:
        assert not hub.with_deadline(began + 0.2).server(server.url + "user/alice/", "server").answers()
    assert time.monotonic() - began < LONG


# Stopping


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set after the test: then the hub sends the answer that it has delayed."""
    event = threading.Event()
    yield event
    event.set()


def perform(hub: FakeHubClient, state: str, *, check_mode: bool = False, **more: Any) -> Model:
    wanted = ServerSpec("alice", more.pop("name", ""), state, **{"wait_timeout": 20.0, **more})
    return run(server_batch(hub, [wanted], lambda line: None, concurrency=1), check_mode=check_mode)  # type: ignore[arg-type]


def slow_hub(released: threading.Event, name: str = "", gone_at: int | None = None) -> FakeHubClient:
    """A hub that stops a server at once, and answers only after ``released``. From look ``gone_at`` on, it is gone."""
    hub, begun = hub_with(READY, name), threading.Event()

    def written(*_request: Any) -> None:
        hub.set_server(STOPPING, name)
        begun.set()
        released.wait(600)

    def looked() -> None:
        if hub.looks > 1:  # the first one is for the plan; what follows comes after the request, also on a slow machine
            begun.wait(LONG)
        if hub.looks == gone_at:
            hub.set_server(None)

    hub.on_write, hub.on_look = written, looked
    return hub


def test_a_stop_is_looked_after_while_the_hub_holds_its_answer(released: threading.Event) -> None:
    hub = slow_hub(released, gone_at=6)
    began = time.monotonic()
    assert perform(hub, "stopped", wait_timeout=500.0)["servers"][0]["state"] == "stopped"
    assert (time.monotonic() - began < LONG, len(hub.writes)) == (True, 1)


def test_the_time_for_a_stop_is_over_though_the_hub_holds_its_answer(released: threading.Event) -> None:
    hub = slow_hub(released)
    began = time.monotonic()
    result = perform(hub, "stopped", wait_timeout=0.2)
    assert time.monotonic() - began < LONG
    assert (result["failure"]["code"], result["servers"][0]["state"]) == ("timeout", "pending")
    assert "still there after 0.2 s" in result["msg"]


def is_cut_short() -> TimedOut:
    error = TimedOut("The hub did not answer GET within 0.5 s.", "x", method="GET")
    error.is_cut_short = True
    return error


@pytest.mark.parametrize(
    ("state", "found", "says"),
    [
        ("stopped", STOPPING, "still there after 0.2 s"),
        ("started", PENDING, "was not ready after 0.2 s: it is pending"),
    ],
)
def test_a_last_look_that_the_deadline_ends_is_no_failure_of_the_hub(state: str, found: Model, says: str) -> None:
    """On a busy machine, the answer arrives too late."""
    hub = hub_with(found)

    def looked() -> None:
        if hub.looks > 2:
            raise is_cut_short()

    hub.on_look = looked
    result = perform(hub, state, wait_timeout=0.2, on_timeout="leave")
    assert result["failure"]["code"] == "timeout"
    assert says in result["msg"]


def test_a_hub_that_has_not_answered_at_all_is_the_failure() -> None:
    def never() -> None:
        raise is_cut_short()

    with pytest.raises(TimedOut, match="did not answer GET"):
        polling.poll_until(never, time.monotonic())


def test_nor_does_a_look_count_after_which_the_hub_was_away() -> None:
    looks = iter((False, Unreachable("No answer from the hub.", "x"), is_cut_short()))

    def look() -> bool:
        found = next(looks)
        if isinstance(found, HubError):
            raise found
        return found

    with pytest.raises(HubError):  # the one or the other, as it comes
        polling.poll_until(look, time.monotonic() + 0.01)


@pytest.mark.parametrize(("left", "cut"), [(0.6, True), (600.0, False)])
def test_whose_deadline_it_was(left: float, cut: bool) -> None:
    with raw_server(HANGS) as server:
        hub = HubClient(Connection(server.url, "token", request_timeout=0.7))
        with pytest.raises(TimedOut) as error:
            hub.with_deadline(time.monotonic() + left).get("users", "alice", scope="read:users", what="user 'alice'")
    assert error.value.is_cut_short is cut


@pytest.mark.parametrize("state", ["stopped", "absent"])
def test_without_a_wait_a_look_that_shows_the_stop_is_enough(state: str, released: threading.Event) -> None:
    hub = slow_hub(released, "lab")
    began = time.monotonic()
    result = perform(hub, state, name="lab", wait=False, wait_timeout=500.0)
    assert time.monotonic() - began < LONG
    assert (result["changed"], result["servers"][0]["state"], len(hub.writes)) == (True, "pending", 1)


@pytest.mark.parametrize("state", ["stopped", "absent"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_where_a_hub_cannot_cancel_a_start_nothing_is_promised_without_a_wait(state: str, check_mode: bool) -> None:
    """JupyterHub 4 can stop the server only after the start has ended."""
    hub = hub_with(PENDING, "lab")
    hub.dialect = DIALECTS[-1]
    result = perform(hub, state, name="lab", wait=False, check_mode=check_mode)
    assert (result["failure"]["code"], result["changed"], hub.writes) == ("conflict", False, [])


# A hub that asks to be called again later


def no_room(retry_after: float | None) -> RateLimited:
    error = RateLimited("The hub has no room.", "Try again.", status=429, method="DELETE")
    error.retry_after = retry_after
    return error


@pytest.mark.parametrize("retry_after", [None, 0.0, 0.03])
def test_a_stop_is_asked_for_again_when_the_hub_has_time_for_it(retry_after: float | None) -> None:
    hub = hub_with(READY)

    def written(*_request: Any) -> None:
        if len(hub.writes) < 4:
            raise no_room(retry_after)
        hub.set_server(None)

    hub.on_write = written
    result = perform(hub, "stopped")
    assert (result["servers"][0]["state"], len(hub.writes)) == ("stopped", 4)


@pytest.mark.parametrize(
    ("found", "state", "wait", "retry_after"),
    [(READY, "stopped", True, 60.0), (READY, "stopped", False, 0.1), (None, "started", False, 0.1)],
)
def test_who_has_no_time_to_come_back_is_told_at_once(
    found: Model | None, state: str, wait: bool, retry_after: float
) -> None:
    hub = hub_with(found)

    def written(*_request: Any) -> None:
        raise no_room(retry_after)

    hub.on_write = written
    result = perform(hub, state, wait=wait)
    assert (result["failure"]["code"], result["changed"], len(hub.writes)) == ("rate_limited", False, 1)


def test_a_stop_whose_requests_are_all_lost_does_not_hammer_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, clock = hub_with(READY), FakeClock()
    monkeypatch.setattr(polling, "time", clock)
    monkeypatch.setattr(_stopping, "time", clock)
    monkeypatch.setattr(_stopping, "_ANSWER_WAIT", LONG)
    monkeypatch.setattr(polling, "PAUSE", 1.0)
    monkeypatch.setattr(polling, "LONGEST_PAUSE", 4.0)

    def written(*_request: Any) -> None:
        raise HubFailure("The hub failed with 502.", "x", status=502, method="DELETE")

    hub.on_write = written
    assert perform(hub, "stopped", wait_timeout=60.0)["failure"]["code"] == "hub_error"
    # So many requests fit into 60 s with pauses of 1, 1.5, 2.25 and so on up to 4 s.
    assert len(hub.writes) == 17
    assert clock.slept[:3] == [1.0, 1.5, 2.25]
