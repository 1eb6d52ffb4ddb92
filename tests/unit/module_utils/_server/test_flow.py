# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_server: start a server, wait for it, stop it. Only the server itself proves that it runs."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    Conflict,
    HubError,
    HubFailure,
    Invalid,
    MissingScope,
    NotFound,
    RateLimited,
    UnexpectedAnswer,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Timeout as TimedOut
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.versions import DIALECTS
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import start as _start
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.flow import server_batch
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.model import Server, ServerSpec, read
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.verdict import NO_REASON
from support.fakes.fake_clock import FakeClock
from support.fakes.fake_hub_client import PENDING, READY, STOPPING, FakeHubClient, Model, hub_with
from support.fakes.scripted_hub import HUB

URL = HUB + "user/alice/"
START, DEFAULT = ("POST", "users/alice/server", None), "users/alice/server"
STOP = ("DELETE", "users/alice/server", None)
LONG = 120.0
"""Seconds. A task that waits although it should not takes longer than that here. The others take far less."""


@pytest.fixture(autouse=True)
def _short_pauses(short_polls: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_start, "_GRACE", 0.05)


def perform(hub: FakeHubClient, state: str = "started", *, check_mode: bool = False, **more: Any) -> dict[str, Any]:
    lines: list[str] = more.pop("lines", [])
    wanted = ServerSpec("alice", more.pop("name", ""), state, **{"wait_timeout": LONG, **more})
    return run(server_batch(hub, [wanted], lines.append, concurrency=1), check_mode=check_mode)  # type: ignore[arg-type]


def failure(hub: FakeHubClient, state: str = "started", **more: Any) -> tuple[SimpleNamespace, dict[str, Any]]:
    """Run a task that fails. Return its failure, with the whole result, and the answer for its one server."""
    result = perform(hub, state, **more)
    assert result["failed"] is True
    [item] = result["servers"]
    assert item["failure"] == result["failure"]
    return SimpleNamespace(**result["failure"], result=result), item


def event(progress: int, message: str, **more: Any) -> Model:
    return {"progress": progress, "message": message, **more}


READY_EVENT = event(100, "Server ready at /jhub/user/alice/", ready=True)


def failed_event(message: str) -> Model:
    return event(100, message, failed=True)


def show_after_write(hub: FakeHubClient, server: Model | None = PENDING) -> None:
    hub.on_write = lambda method, path, body: hub.set_server(server)


# What the hub's models mean


@pytest.mark.parametrize(
    ("ready", "pending", "state"),
    [
        (True, None, "ready"),
        (False, None, "stopped"),
        (False, "spawn", "pending"),
        (True, "stop", "pending"),
        (True, "check", "pending"),
    ],
)
def test_the_state_of_a_server(ready: bool, pending: str | None, state: str) -> None:
    assert Server("alice", "", ready, pending, "").state == state


def test_a_server_that_the_hub_does_not_list_is_stopped() -> None:
    assert read(hub_with(READY, "gpu"), "alice", "").state == "stopped"  # type: ignore[arg-type]
    assert read(hub_with(READY, "gpu"), "alice", "gpu").url == URL  # type: ignore[arg-type]


def test_a_token_that_may_not_read_servers_is_a_missing_scope() -> None:
    error, _item = failure(FakeHubClient({"name": "alice"}))
    assert (error.code, "'alice'" in error.message) == ("missing_scope", True)
    assert "read:servers!user=alice" in error.hint


def test_an_unknown_user() -> None:
    error, item = failure(FakeHubClient(None))
    assert (error.code, item["state"], item["reason"]) == ("not_found", "failed", "The hub has no user 'alice'.")
    assert error.result["changed"] is False


# The plan, which is all that check mode does


@pytest.mark.parametrize(
    ("wanted", "found", "verbs", "predicted"),
    [
        ("started", None, ["start"], "ready"),
        ("started", PENDING, [], "ready"),
        ("started", READY, [], "ready"),
        ("started", STOPPING, ["start"], "ready"),
        ("stopped", None, [], "stopped"),
        ("stopped", PENDING, ["stop"], "stopped"),
        ("stopped", READY, ["stop"], "stopped"),
        ("stopped", STOPPING, [], "stopped"),
    ],
)
def test_check_mode_plans_and_writes_nothing(
    wanted: str, found: Model | None, verbs: list[str], predicted: str
) -> None:
    hub = hub_with(found)
    result = perform(hub, wanted, check_mode=True)
    assert [action["verb"] for action in result["actions"]] == verbs
    assert result["changed"] is bool(verbs)
    assert result["servers"][0]["state"] == result["diff"]["after"]["servers"][0]["state"] == predicted
    assert hub.writes == []


@pytest.mark.parametrize(("found", "predicted"), [(None, "pending"), (PENDING, "pending"), (READY, "ready")])
def test_check_mode_without_a_wait(found: Model | None, predicted: str) -> None:
    assert perform(hub_with(found), check_mode=True, wait=False)["servers"][0]["state"] == predicted


def test_check_mode_and_the_real_run_have_the_same_keys() -> None:
    hub = hub_with(None)
    show_after_write(hub, READY)
    checked, done = perform(hub, check_mode=True), perform(hub)
    assert checked.keys() == done.keys()
    assert checked["servers"][0].keys() == done["servers"][0].keys()


# Starting


def test_a_start_from_the_request_to_the_answering_server() -> None:
    hub, lines = hub_with(None), list[str]()
    show_after_write(hub)
    pulled = event(50, "Pulling image")
    hub.streams = [[event(0, "Server requested"), pulled, lambda: hub.set_server(READY), READY_EVENT]]
    result = perform(hub, lines=lines)
    item = result["servers"][0]
    assert {key: item[key] for key in ("user", "server_name", "state", "url", "reason")} == {
        "user": "alice", "server_name": "", "state": "ready", "url": URL, "reason": None,
    }  # fmt: skip
    assert [(each["progress"], each["message"]) for each in item["events"]] == [
        (0, "Server requested"), (50, "Pulling image"), (100, "Server ready at /jhub/user/alice/"),
    ]  # fmt: skip
    assert sorted(each["seconds"] for each in item["events"]) == [each["seconds"] for each in item["events"]]
    assert 0 <= item["events"][-1]["seconds"] <= item["seconds"]
    assert result["changed"] is True
    assert hub.writes == [START]
    said = ["asked to start", "0% Server requested", "50% Pulling image", "100% Server ready at /jhub/user/alice/"]
    assert lines == [f"server of user 'alice': {text}" for text in said]


@pytest.mark.parametrize(
    ("name", "options", "dialect", "path", "body"),
    [
        ("", None, 0, "users/alice/server", None),
        ("gpu", {"a": 1}, 0, "users/alice/servers/gpu", {"user_options": {"a": 1}}),
        ("gpu", {"a": 1}, 1, "users/alice/servers/gpu", {"a": 1}),
        ("", {}, 0, "users/alice/server", {"user_options": {}}),
        ("", {}, 1, "users/alice/server", {}),
    ],
)
def test_the_path_and_the_body_of_the_request(
    name: str, options: Model | None, dialect: int, path: str, body: Any
) -> None:
    hub = hub_with(None)
    hub.dialect = DIALECTS[dialect]
    hub.on_write = lambda *_request: hub.set_server(READY, name)
    perform(hub, name=name, user_options=options)
    assert hub.writes == [("POST", path, body)]


@pytest.mark.parametrize("found", [READY, PENDING])
def test_a_server_that_runs_or_starts_is_not_started_again(found: Model) -> None:
    hub = hub_with(found)
    hub.streams = [[lambda: hub.set_server(READY), READY_EVENT]]
    result = perform(hub)
    assert (result["changed"], result["servers"][0]["state"], hub.writes) == (False, "ready", [])


def test_a_server_that_is_stopping_is_started_afterwards() -> None:
    hub = hub_with(STOPPING)
    seen: list[Any] = []
    hub.on_look = lambda: hub.set_server(None) if hub.looks == 4 else None

    def posted(*_request: Any) -> None:
        assert hub.model is not None
        seen.append(hub.model["servers"])
        hub.set_server(READY)

    hub.on_write = posted
    assert perform(hub)["servers"][0]["state"] == "ready"
    assert seen == [{}]  # a hub answers 400 "is pending stop" before


def test_a_201_while_the_start_is_pending_is_not_believed() -> None:
    hub = hub_with(None)
    show_after_write(hub)  # the POST succeeds at once
    hub.on_look = lambda: hub.set_server(READY) if hub.looks == 12 else None
    assert perform(hub)["servers"][0]["state"] == "ready"
    assert hub.looks >= 12


def test_a_stream_that_says_ready_is_not_believed() -> None:
    hub = hub_with(PENDING)
    hub.streams = [[READY_EVENT]] * 4  # a stream ends so if somebody cancels the spawn
    hub.on_look = lambda: hub.set_server(None) if hub.looks == 5 else None
    error, item = failure(hub)
    assert error.code == "spawn_failed"
    assert item["state"] == "failed"


def test_a_server_that_does_not_answer_yet_is_not_ready() -> None:
    hub = hub_with(READY)
    hub.answering = False

    def look() -> None:
        hub.answering = hub.looks >= 8

    hub.on_look = look
    assert perform(hub)["servers"][0]["state"] == "ready"
    assert hub.looks >= 8


def test_a_server_that_is_ready_and_never_answers(clock: FakeClock) -> None:
    hub = hub_with(READY)
    hub.answering = False
    error, item = failure(hub, wait_timeout=15.0, on_timeout="leave")
    assert error.code == "timeout"
    assert "the hub says ready, but it does not answer" in error.message
    assert item["url"] is None


def test_an_event_without_progress_and_one_without_message() -> None:
    hub, lines = hub_with(PENDING), list[str]()
    hub.streams = [[{"message": "no percent"}, {"progress": 7}, lambda: hub.set_server(READY), READY_EVENT]]
    events = perform(hub, lines=lines)["servers"][0]["events"]
    assert [(each["progress"], each["message"]) for each in events[:2]] == [(None, "no percent"), (7, "")]
    assert lines[0] == "server of user 'alice': no percent"


def test_the_spawner_s_messages_are_not_changed() -> None:
    """What shows them makes them printable."""
    hub, lines = hub_with(PENDING), list[str]()
    said, html = event(10, "one\ntwo \x1b[2J"), {"progress": 30, "html_message": "<b>Pulling</b> a &amp; b"}
    hub.streams = [[said, html, lambda: hub.set_server(READY), READY_EVENT]]
    events = perform(hub, lines=lines)["servers"][0]["events"]
    assert [each["message"] for each in events[:2]] == ["one\ntwo \x1b[2J", "Pulling a & b"]
    assert lines[:2] == [f"server of user 'alice': {text}" for text in ("10% one\ntwo \x1b[2J", "30% Pulling a & b")]


@pytest.mark.parametrize("value", [date(2026, 11, 24), float("nan"), {1, 2}])
def test_options_that_cannot_be_sent_fail_before_the_first_request(value: Any) -> None:
    with pytest.raises(Invalid, match="user_options of the server of user 'alice'"):
        ServerSpec("alice", "", "started", user_options={"until": [value]})


def test_events_that_a_new_stream_repeats_are_reported_once() -> None:
    hub, lines = hub_with(PENDING), list[str]()
    first, second = event(0, "Server requested"), event(50, "Pulling image")
    # The first stream is cut after its second event. The same percentage with another message is a new event.
    again = event(50, "Pulled image")
    hub.streams = [[first, second], [first, second, again, lambda: hub.set_server(READY), READY_EVENT]]
    events = perform(hub, lines=lines)["servers"][0]["events"]
    assert [each["message"] for each in events[:3]] == ["Server requested", "Pulling image", "Pulled image"]
    assert len(lines) == len(events) == 4


def test_a_server_that_fails_to_answer_only_once_is_not_started() -> None:
    hub, probes = hub_with(READY), list[str]()

    def answers(url: str) -> bool:
        probes.append(url)
        return len(probes) > 1

    hub.answers = answers  # type: ignore[method-assign]
    result = perform(hub)
    assert (result["changed"], result["servers"][0]["state"], hub.writes) == (False, "ready", [])


def test_a_start_that_the_hub_refuses_because_the_server_runs_is_no_change() -> None:
    hub = hub_with(READY)
    hub.answering = False

    def posted(*_request: Any) -> None:
        hub.answering = True
        raise Invalid("The hub refuses POST.", "x", status=400, method="POST", reason="alice is already running")

    hub.on_write = posted
    result = perform(hub)
    assert (result["servers"][0]["state"], result["servers"][0]["changed"]) == ("ready", False)
    assert (result["changed"], result["actions"]) == (False, [])


def test_wrapped_options_are_compared_as_the_hub_shows_them() -> None:
    sent = {"user_options": {"a": 1}}
    hub = hub_with({**READY, "user_options": sent})
    hub.dialect = DIALECTS[1]
    wanted = {"user_options": {"a": 1}, "options_format": "wrapped", "on_options_change": "fail"}
    assert perform(hub, **wanted)["changed"] is False
    hub.set_server(None)
    assert perform(hub, check_mode=True, **wanted)["servers"][0]["user_options"] == sent


# A start that fails


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Spawn failed: no node with a GPU is free.", "no node with a GPU is free"),
        ("Spawn failed: HTTP 404: no such profile", "HTTP 404: no such profile"),
        # What a hub says when its own start_timeout has passed.
        ("Spawn failed: ", NO_REASON),
        ("", NO_REASON),
    ],
)
def test_a_spawn_that_fails_ends_the_wait_with_the_hub_s_reason(message: str, reason: str) -> None:
    hub, lines = hub_with(None), list[str]()
    show_after_write(hub)
    hub.streams = [[event(0, "Server requested"), lambda: hub.set_server(None), failed_event(message)]]
    hub.last_stream = [failed_event(message)]
    began = time.monotonic()
    error, item = failure(hub, lines=lines, wait_timeout=10 * LONG)
    assert time.monotonic() - began < LONG
    assert error.code == "spawn_failed"
    assert error.message == f"The server of user 'alice' did not start: {reason}."
    assert (item["state"], item["reason"], item["url"]) == ("failed", reason, None)
    assert [each["message"] for each in item["events"]] == ["Server requested"]
    assert error.result["changed"] is True
    assert lines[-1].endswith(f"failed: {reason}")


def test_a_post_that_fails_at_once_gives_its_own_reason_and_request() -> None:
    hub = hub_with(None)

    def posted(*_request: Any) -> None:
        raise HubFailure("The hub failed.", "x", status=500, method="POST", url=HUB, reason="no such image")

    hub.on_write = posted
    error, item = failure(hub)
    assert error.code == "spawn_failed"
    assert (error.status, error.method, error.url, item["reason"]) == (500, "POST", HUB, "no such image")


def test_the_failure_of_an_earlier_spawn_is_not_believed() -> None:
    """Until the hub has begun a new start, the stream shows how the last one ended."""
    hub = hub_with(None)
    hub.last_stream = [failed_event("Spawn failed: the old reason")]

    def posted(*_request: Any) -> None:
        while hub.looks < 3:  # one for the plan, the others while the task waits for the answer
            time.sleep(0.005)
        raise Invalid("The hub refuses.", "x", status=400, reason="the new reason")

    hub.on_write = posted
    _error, item = failure(hub)
    assert item["reason"] == "the new reason"


def test_a_start_that_follows_a_failed_one_can_succeed() -> None:
    hub = hub_with(None)
    hub.last_stream = [failed_event("Spawn failed: the old reason")]

    def posted(*_request: Any) -> None:
        while hub.looks < 3:  # one for the plan, the others while the task waits for the answer
            time.sleep(0.005)
        hub.streams = [[event(0, "Server requested"), lambda: hub.set_server(READY), READY_EVENT]]
        hub.set_server(PENDING)

    hub.on_write = posted
    item = perform(hub)["servers"][0]
    assert (item["state"], item["reason"]) == ("ready", None)


def test_the_stream_of_a_failed_spawn_is_not_read_without_end(clock: FakeClock) -> None:
    """The stream sends its last event at once until the hub has removed the failed spawn."""
    hub = hub_with(PENDING)
    hub.last_stream = [failed_event("Spawn failed: no room")]
    cleared = clock.now + 30
    hub.on_look = lambda: hub.set_server(None) if clock.now > cleared else None
    _error, item = failure(hub)
    assert item["reason"] == "no room"
    # With the pauses of this test, about twenty reads fit into the time.
    assert hub.looks < 30


@pytest.mark.parametrize("kind", [MissingScope, NotFound])
def test_a_start_that_is_not_allowed_keeps_its_code(kind: type[HubError]) -> None:
    hub = hub_with(None)

    def posted(*_request: Any) -> None:
        raise kind("The token lacks the scope 'start:servers'.", "Mint it with that.", status=403)

    hub.on_write = posted
    error, item = failure(hub)
    assert error.code == kind.code
    assert (item["state"], item["reason"]) == ("failed", "The token lacks the scope 'start:servers'.")


def test_the_hub_may_hold_the_request_for_longer_than_the_spawn_takes() -> None:
    hub, release = hub_with(None), threading.Event()

    def posted(*_request: Any) -> None:
        hub.set_server(PENDING)
        release.wait(10 * LONG)

    hub.on_write = posted
    hub.streams = [[event(0, "Server requested"), lambda: hub.set_server(READY), READY_EVENT]]
    began = time.monotonic()
    assert perform(hub, wait_timeout=10 * LONG)["servers"][0]["state"] == "ready"
    assert time.monotonic() - began < LONG
    release.set()


def test_a_request_that_times_out_does_not_end_the_wait() -> None:
    hub = hub_with(None)

    def posted(*_request: Any) -> None:
        hub.set_server(PENDING)
        raise TimedOut("The hub did not answer POST within 1 s.", "x")

    hub.on_write = posted
    hub.on_look = lambda: hub.set_server(READY) if hub.looks == 10 else None
    assert perform(hub)["servers"][0]["state"] == "ready"


def test_the_wait_ends_while_the_hub_holds_the_request() -> None:
    hub, release = hub_with(None), threading.Event()

    def posted(method: str, *_request: Any) -> None:
        if method == "POST":
            hub.set_server(PENDING)
            release.wait(10 * LONG)
        else:
            hub.set_server(None)

    hub.on_write = posted
    began = time.monotonic()
    error, _item = failure(hub, wait_timeout=0.2)
    assert error.code == "timeout"
    assert time.monotonic() - began < LONG
    release.set()


def test_the_wait_ends_while_the_hub_ignores_the_request() -> None:
    hub, release = hub_with(None), threading.Event()
    hub.on_write = lambda *_request: release.wait(10 * LONG)
    began = time.monotonic()
    error, _item = failure(hub, wait_timeout=0.2, on_timeout="leave")
    assert error.code == "timeout"
    assert time.monotonic() - began < LONG
    release.set()


# Without a wait, or with too short a wait


def test_without_a_wait_the_stream_is_not_read() -> None:
    hub = hub_with(None)
    show_after_write(hub)
    hub.streams = [[READY_EVENT]]
    item = perform(hub, wait=False)["servers"][0]
    assert (item["state"], item["url"], item["events"], len(hub.streams)) == ("pending", None, [], 1)


def test_without_a_wait_a_request_that_times_out_is_no_failure() -> None:
    hub = hub_with(None)

    def posted(*_request: Any) -> None:
        raise TimedOut("The hub did not answer POST within 1 s.", "x")

    hub.on_write = posted
    hub.on_look = lambda: hub.set_server(PENDING) if hub.looks >= 3 else None
    assert perform(hub, wait=False)["servers"][0]["state"] == "pending"


def test_without_a_wait_a_refusal_is_a_failure() -> None:
    hub = hub_with(None)

    def posted(*_request: Any) -> None:
        raise Invalid("The hub refuses.", "x", status=400, reason="no such profile")

    hub.on_write = posted
    error, item = failure(hub, wait=False)
    assert error.code == "invalid"
    assert (item["reason"], error.result["changed"]) == ("no such profile", False)


@pytest.mark.parametrize("kind", [Invalid, MissingScope, NotFound, Conflict, RateLimited, UnexpectedAnswer])
def test_a_refusal_with_the_stream_s_reason_is_a_failed_spawn(kind: type[HubError]) -> None:
    """A spawner and its hooks may answer with any status."""
    hub = hub_with(None)
    hub.last_stream = [failed_event("Spawn failed: HTTP 4xx: no such profile")]

    def posted(*_request: Any) -> None:
        raise kind("The hub refuses.", "x", status=400, method="POST", reason="no such profile")

    hub.on_write = posted
    error, item = failure(hub)
    assert (error.code, item["reason"], error.result["changed"]) == ("spawn_failed", "no such profile", True)


def test_a_server_that_is_late_is_stopped(clock: FakeClock) -> None:
    hub = hub_with(None)
    hub.on_write = lambda method, path, body: hub.set_server(PENDING if method == "POST" else None)
    hub.streams = [[event(30, "Still pulling")]]
    error, item = failure(hub, wait_timeout=15.0)
    assert error.code == "timeout"
    assert error.message.endswith("it is pending; last message: Still pulling. It was stopped.")
    assert hub.writes == [START, STOP]
    assert item["state"] == "failed"


def test_a_server_that_is_late_and_cannot_be_stopped_is_still_starting(clock: FakeClock) -> None:
    """JupyterHub 4 cannot cancel a start."""
    hub = hub_with(None)

    def written(method: str, *_request: Any) -> None:
        hub.set_server(PENDING)
        if method == "DELETE":
            raise MissingScope("The token lacks the scope 'delete:servers'.", "x", status=403, method=method)

    hub.on_write = written
    error, item = failure(hub, wait_timeout=15.0)
    assert (error.code, item["state"]) == ("timeout", "pending")


def test_a_failed_server_has_the_options_that_the_hub_keeps_of_it() -> None:
    hub, options = hub_with(None), {"a": 1}
    kept = {"ready": False, "pending": None, "url": "", "user_options": options}
    hub.on_write = lambda *_request: hub.set_server({**PENDING, "user_options": options})
    hub.streams = [[lambda: hub.set_server(kept), failed_event("Spawn failed: no GPU is free")]]
    _error, item = failure(hub, user_options=options)
    assert (item["state"], item["user_options"]) == ("failed", options)


def test_a_server_that_is_late_is_left_alone_with_on_timeout_leave(clock: FakeClock) -> None:
    hub = hub_with(PENDING)
    error, item = failure(hub, wait_timeout=15.0, on_timeout="leave")
    assert error.code == "timeout"
    assert error.message.endswith("last message: none. It was left as it is.")
    assert hub.writes == []
    assert item["state"] == "pending"  # the state that it has now, as the module's documentation says


def test_a_server_that_ran_before_and_does_not_answer_is_not_stopped(clock: FakeClock) -> None:
    """The task asks for a start, because a hub then notices a server that has died. This one goes on running."""
    hub = hub_with(READY)
    hub.answering = False
    error, item = failure(hub, wait_timeout=15.0)
    assert error.code == "timeout"
    assert error.message.endswith("It was left as it is.")
    assert (hub.writes, item["state"]) == ([START], "failed")


def test_a_server_that_has_died_is_started_again() -> None:
    hub = hub_with(READY)
    hub.answering = False

    def posted(*_request: Any) -> None:
        hub.answering = True

    hub.on_write = posted
    result = perform(hub)
    assert (result["changed"], result["servers"][0]["state"], hub.writes) == (True, "ready", [START])


def test_the_stop_waits_for_a_start_request_that_is_on_its_way() -> None:
    hub, on_its_way = hub_with(None), threading.Event()

    def written(method: str, *_request: Any) -> None:
        if method == "POST":
            on_its_way.wait(LONG)
            hub.set_server(READY)
        else:
            hub.set_server(None)

    hub.on_write = written
    hub.on_look = lambda: on_its_way.set() if hub.looks > 6 else None
    hub.answering = False
    failure(hub, wait_timeout=0.05)
    assert hub.writes == [START, STOP]
    assert hub.model is not None
    assert hub.model["servers"] == {}


def test_before_jupyterhub_6_only_the_stream_has_the_reason() -> None:
    hub = hub_with(None)
    hub.streams = [[failed_event("Spawn failed: no GPU is free")]]

    def posted(*_request: Any) -> None:
        raise HubFailure("The hub failed with 500.", "x", status=500, reason="error")

    hub.on_write = posted
    error, item = failure(hub)
    assert (error.code, item["reason"]) == ("spawn_failed", "no GPU is free")


@pytest.mark.parametrize("becomes", [READY, None])
def test_a_stop_waits_for_a_start_that_the_hub_cannot_cancel(becomes: Model | None) -> None:
    """JupyterHub 4 answers 400 to the DELETE of a server that is starting."""
    hub = hub_with(PENDING)

    def deleted(*_request: Any) -> None:
        assert hub.model is not None
        if hub.model["servers"].get("", {}).get("pending"):
            raise Invalid("The hub refuses DELETE.", "x", status=400)
        hub.set_server(None)

    hub.on_write = deleted
    hub.on_look = lambda: hub.set_server(becomes) if hub.looks == 6 else None
    assert perform(hub, "stopped")["servers"][0]["state"] == "stopped"
    assert hub.writes == ([STOP, STOP] if becomes else [STOP])


@pytest.mark.parametrize("failures", [1, 2])
def test_a_stop_at_the_end_of_a_start_is_repeated(failures: int) -> None:
    """JupyterHub 6 answers 500 to the DELETE, and the server is ready a moment later. It answers 500 only once."""
    hub, deletions = hub_with(PENDING), list[str]()

    def deleted(method: str, *_request: Any) -> None:
        deletions.append(method)
        if len(deletions) <= failures:
            hub.set_server(READY)
            raise HubFailure("The hub failed with 500.", "x", status=500, method="DELETE")
        hub.set_server(None)

    hub.on_write = deleted
    state = perform(hub, "stopped")["servers"][0]["state"]
    assert (state == "stopped") is (failures == 1)
    assert hub.writes == [STOP, STOP]


def test_a_late_server_that_somebody_else_starts_is_left_alone(clock: FakeClock) -> None:
    hub = hub_with(PENDING)
    show_after_write(hub, None)
    error, item = failure(hub, wait_timeout=10.0)
    assert hub.writes == []
    assert (error.result["changed"], item["state"]) == (False, "pending")
    assert error.message.endswith("It was left as it is.")


def test_a_late_server_that_cannot_be_stopped_is_in_the_message(clock: FakeClock) -> None:
    hub = hub_with(None)

    def refuses(method: str, *_request: Any) -> None:
        hub.set_server(PENDING)
        if method == "DELETE":
            raise MissingScope("The token lacks the scope 'delete:servers'.", "x")

    hub.on_write = refuses
    error, _item = failure(hub, wait_timeout=10.0)
    assert error.code == "timeout"
    assert "It could not be stopped: The token lacks the scope 'delete:servers'." in error.message


# Stopping


@pytest.mark.parametrize(("name", "path"), [("", "users/alice/server"), ("gpu", "users/alice/servers/gpu")])
def test_a_stop_is_over_when_the_server_has_stopped(name: str, path: str) -> None:
    hub = hub_with(READY, name)
    hub.on_write = lambda *_request: hub.set_server(STOPPING, name)  # as after a 202
    hub.on_look = lambda: hub.set_server(None) if hub.looks == 8 else None
    result = perform(hub, "stopped", name=name)
    assert (result["changed"], result["servers"][0]["state"]) == (True, "stopped")
    assert hub.writes == [("DELETE", path, None)]
    assert hub.looks >= 8


def test_a_stop_of_a_server_that_others_have_removed() -> None:
    hub = hub_with(READY, "gpu")

    def removed(*_request: Any) -> None:
        hub.set_server(None)
        raise NotFound("The hub has no such server.", "x", status=404)

    hub.on_write = removed
    assert perform(hub, "stopped", name="gpu")["servers"][0]["state"] == "stopped"


def test_a_server_that_does_not_stop_in_time(clock: FakeClock) -> None:
    hub = hub_with(READY)
    show_after_write(hub, STOPPING)
    error, item = failure(hub, "stopped", wait_timeout=15.0)
    assert error.code == "timeout"
    assert "still there after 15 s" in error.message
    assert item["state"] == "pending"


def test_a_stop_without_a_wait() -> None:
    hub = hub_with(READY)
    show_after_write(hub, STOPPING)
    assert perform(hub, "stopped", wait=False)["servers"][0]["state"] == "pending"
    assert hub.writes == [STOP]


def test_a_stopped_server_is_left_alone() -> None:
    hub = hub_with(None)
    assert perform(hub, "stopped")["changed"] is False
    assert hub.writes == []


def test_a_server_that_is_stopping_gets_no_second_request() -> None:
    """The plan is empty, so the task is not changed, and must not write anything."""
    hub = hub_with(STOPPING)
    hub.on_look = lambda: hub.set_server(None) if hub.looks == 6 else None
    result = perform(hub, "stopped")
    assert (result["changed"], result["servers"][0]["state"]) == (False, "stopped")
    assert hub.writes == []


# A hub that was restarted and checks whether its servers have survived that


def checking_hub(found: Model | None, looks: int = 3) -> FakeHubClient:
    """A hub that checks its servers. At the read of this number it has finished, and shows ``found``."""
    hub = hub_with({**READY, "ready": False, "pending": "check"})

    def looked() -> None:
        if hub.looks == looks:
            hub.set_server(found)

    hub.on_look = looked
    return hub


@pytest.mark.parametrize("state", ["started", "stopped", "restarted"])
@pytest.mark.parametrize("found", [READY, None])
def test_the_plan_waits_for_the_hub_s_check_of_a_server(found: Model | None, state: str) -> None:
    hub = checking_hub(found)
    hub.on_write = lambda method, *_request: hub.set_server(READY if method == "POST" else None)
    result = perform(hub, state)
    asked = {"started": ["POST"] if found is None else [], "stopped": [] if found is None else ["DELETE"]}
    both = ["POST"] if found is None else ["DELETE", "POST"]
    assert [request[0] for request in hub.writes] == asked.get(state, both)
    assert result["changed"] is bool(hub.writes)


def test_a_stop_that_the_hub_refuses_during_a_check_is_asked_for_again() -> None:
    hub = hub_with(READY)

    def written(*_request: Any) -> None:
        if len(hub.writes) == 1:
            hub.set_server({**READY, "ready": False, "pending": "check"})
            hub.on_look = lambda: hub.set_server(READY) if hub.looks == 4 else None
            raise HubFailure("The hub failed with 500.", "x", status=500, method="DELETE")
        hub.set_server(None)

    hub.on_write = written
    assert perform(hub, "stopped")["servers"][0]["state"] == "stopped"
    assert len(hub.writes) == 2


# Two tasks that start or restart the same server at the same time


def hub_with_start_by_others(options: Model, status: int = 202) -> FakeHubClient:
    """A hub that has begun somebody else's start when the task's request arrives, and accepts that one, too."""
    hub = hub_with(None)

    def written(*_request: Any) -> None:
        hub.set_server({**READY, "user_options": options, "started": "2026-01-01T00:00:00Z"})

    hub.on_write = written
    return hub


def test_a_start_with_other_options_is_not_ours() -> None:
    found, result = failure(
        hub_with_start_by_others({"profile": "gpu", "size": 1}), user_options={"profile": "cpu", "size": 1}
    )
    assert (found.code, result["state"]) == ("conflict", "failed")
    assert "another start came first, at 2026-01-01T00:00:00Z" in found.message
    assert "They differ in profile." in found.message
    assert perform(hub_with_start_by_others({"profile": "gpu"}), user_options={"profile": "cpu"})["changed"] is False


@pytest.mark.parametrize("more", [{"user_options": {"profile": "gpu"}}, {}])
def test_another_start_with_the_same_options_succeeds(more: dict[str, Any]) -> None:
    assert perform(hub_with_start_by_others({"profile": "gpu"}), **more)["servers"][0]["state"] == "ready"


def test_options_that_a_spawner_adds_are_no_difference() -> None:
    hub = hub_with_start_by_others({"profile": "gpu", "added": True})
    assert perform(hub, user_options={"profile": "gpu"})["servers"][0]["state"] == "ready"
    assert perform(hub_with_start_by_others({"added": True}), user_options={})["servers"][0]["state"] == "ready"


def test_options_of_another_start_differ_from_empty_ones() -> None:
    hub = hub_with(None)
    hub.on_look = lambda: (
        hub.set_server({**ready_since(1), "user_options": {"added": True}}) if hub.looks == 2 else None
    )
    error, _item = failure(hub, user_options={})
    assert (error.code, hub.writes) == ("conflict", [])


def test_a_start_with_201_may_have_other_options() -> None:
    hub = hub_with_start_by_others({"profile": "small"})
    hub.status = 201
    result = perform(hub, user_options={"profile": "default"})
    assert (result["changed"], result["servers"][0]["state"]) == (True, "ready")


def test_a_server_that_runs_may_have_other_options() -> None:
    hub = hub_with({**READY, "user_options": {"profile": "gpu"}})
    assert perform(hub, user_options={"profile": "cpu"})["changed"] is False


def ready_since(second: int, options: Model | None = None) -> Model:
    return {**READY, "started": f"2026-01-01T00:00:{second:02}Z", "user_options": options}


def starting_since(second: int, options: Model | None = None) -> Model:
    return {**ready_since(second, options), "ready": False, "pending": "spawn"}


def test_a_restart_by_others_before_the_stop_is_enough() -> None:
    hub = hub_with(ready_since(1))
    hub.on_look = lambda: hub.set_server(ready_since(2)) if hub.looks == 2 else None
    result = perform(hub, "restarted")
    assert (result["changed"], result["servers"][0]["state"], hub.writes) == (False, "ready", [])


def test_a_restart_by_others_between_the_stop_and_the_start_is_enough() -> None:
    hub = hub_with(ready_since(1))
    hub.on_write = lambda method, *_request: hub.set_server(ready_since(2))
    result = perform(hub, "restarted")
    assert (result["servers"][0]["state"], [request[0] for request in hub.writes]) == ("ready", ["DELETE"])


def test_a_restart_by_others_is_enough_if_the_hub_has_shown_no_time_of_the_start_before() -> None:
    """A hub shows when a start began after the hooks that come before it."""
    hub = hub_with({**starting_since(1), "started": None})
    hub.on_write = lambda method, *_request: hub.set_server(ready_since(2))
    result = perform(hub, "restarted")
    assert (result["servers"][0]["state"], [request[0] for request in hub.writes]) == ("ready", ["DELETE"])


def test_a_start_that_another_restart_has_stopped_is_asked_for_again() -> None:
    hub = hub_with(ready_since(1))

    def written(method: str, *_request: Any) -> None:
        number = len(hub.writes)
        hub.set_server(None if method == "DELETE" or number < 3 else ready_since(number))

    hub.on_write = written
    result = perform(hub, "restarted")
    assert (result["changed"], result["servers"][0]["state"]) == (True, "ready")
    assert [request[0] for request in hub.writes] == ["DELETE", "POST", "POST"]


def test_only_one_of_two_tasks_has_started_a_server() -> None:
    """A hub says "accepted" to both of them."""
    hub, both = hub_with(None), threading.Barrier(2, timeout=LONG)
    hub.on_look = lambda: both.wait() if hub.looks <= 2 else None  # until both have planned to start it
    show_after_write(hub)
    hub.streams = [[lambda: hub.set_server(READY), READY_EVENT]] * 2
    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(lambda _number: perform(hub), range(2)))
    assert sorted(result["changed"] for result in results) == [False, True]
    assert [result["servers"][0]["state"] for result in results] == ["ready"] * 2
    assert hub.writes == [START]


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize(("options", "code"), [({"profile": "gpu"}, None), ({"profile": "cpu"}, "conflict")])
def test_a_start_by_others_after_the_plan_is_followed(wait: bool, options: Model, code: str | None) -> None:
    hub, theirs = hub_with(None), {"user_options": {"profile": "gpu"}}
    hub.on_look = lambda: hub.set_server({**starting_since(1), **theirs}) if hub.looks == 2 else None
    hub.streams = [[lambda: hub.set_server({**READY, **theirs}), READY_EVENT]]
    result = perform(hub, user_options=options, wait=wait)
    assert (result["changed"], (result.get("failure") or {}).get("code"), hub.writes) == (False, code, [])


# A proxy that holds the stream back, a hub that restarts, a hub that answers at a server's address


def fail_if_read() -> None:
    raise AssertionError("nobody reads the stream any longer")


@pytest.mark.parametrize(("becomes", "state"), [(READY, "ready"), (None, "failed")])
def test_a_silent_stream_makes_the_task_read_the_server(becomes: Model | None, state: str) -> None:
    hub = hub_with(PENDING)
    hub.streams = [
        [None, None, lambda: hub.set_server(becomes), None, fail_if_read],
        [None, fail_if_read],
        [None, fail_if_read],
    ]
    result = perform(hub)
    assert result["servers"][0]["state"] == state


def test_a_start_that_a_restart_of_the_hub_ended_is_asked_for_again() -> None:
    hub = hub_with(None)

    def written(*_request: Any) -> None:
        hub.set_server(PENDING if len(hub.writes) == 1 else READY)

    def looked() -> None:
        if hub.looks == 5:  # for a while a proxy answers that the hub is away
            hub.proxy_answers += 3
            hub.set_server(None)

    hub.on_write, hub.on_look = written, looked
    result = perform(hub)
    assert (result["changed"], result["servers"][0]["state"], hub.writes) == (True, "ready", [START, START])


def test_a_spawn_that_somebody_cancels_is_not_asked_for_again() -> None:
    hub = hub_with(None)
    show_after_write(hub)
    hub.on_look = lambda: hub.set_server(None) if hub.looks == 5 else None
    error, _item = failure(hub)
    assert (error.code, hub.writes) == ("spawn_failed", [START])


@pytest.mark.parametrize("ran_before", [True, False])
@pytest.mark.parametrize("wait_timeout", [LONG, 10.0])
def test_a_ready_server_whose_address_leads_to_the_hub_is_left_alone(
    ran_before: bool, wait_timeout: float, clock: FakeClock
) -> None:
    """For example because hub_url is the hub's own port, behind its proxy."""
    hub = hub_with(READY if ran_before else None)
    hub.answering, hub.standing_in = False, True
    hub.on_write = lambda *_request: hub.set_server(READY)
    began = clock.now
    error, item = failure(hub, wait_timeout=wait_timeout)
    assert (clock.now - began < 5) is ran_before
    assert (error.code, item["state"]) == ("invalid", "ready")
    assert "hub_url" in error.hint
    assert error.result["changed"] is not ran_before
    assert hub.writes == ([] if ran_before else [START])
