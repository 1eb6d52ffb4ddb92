# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_server: the actions for a desired state, many servers at a time, and hubs that are away for a while."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import polling
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    Conflict,
    HubError,
    HubFailure,
    Invalid,
    MissingScope,
    NotFound,
    RateLimited,
    Unauthorized,
    Unreachable,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Timeout as TimedOut
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import start as _start
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import stop as _stop
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.flow import server_batch
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.model import (
    Server,
    ServerSpec,
    plan_actions,
    predict_server,
    unlisted_server,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.verdict import MOST_LOSSES
from support.fakes.fake_clock import FakeClock
from support.fakes.fake_hub_client import PENDING, READY, STOPPING, FakeHubClient, Model, hub_with

STOPPED: Model = {"ready": False, "pending": None, "stopped": True, "url": "/jhub/user/alice/lab/"}
A, B = {"profile": "a"}, {"profile": "b"}


@pytest.fixture(autouse=True)
def _short_pauses(short_polls: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stop, "_ANSWER_WAIT", 0.05)
    monkeypatch.setattr(_start, "_GRACE", 0.05)


def perform(
    hub: FakeHubClient,
    *wanted: ServerSpec,
    check_mode: bool = False,
    lines: list[str] | None = None,
    concurrency: int = 4,
) -> Model:
    report = (lambda line: None) if lines is None else lines.append
    batch = server_batch(hub, wanted, report, concurrency=concurrency)  # type: ignore[arg-type]
    return run(batch, check_mode=check_mode)


def lab_spec(state: str = "started", **more: Any) -> ServerSpec:
    return ServerSpec("alice", "lab", state, **{"wait_timeout": 120.0, **more})


def server(state: str, options: Model | None = None) -> Server:
    """A server as the hub shows it. ``state`` is ready, stopped, absent, or what is pending: spawn or stop."""
    if state == "absent":
        return unlisted_server("alice", "lab")
    pending = state if state in ("spawn", "stop") else None
    return Server("alice", "lab", state in ("ready", "stop"), pending, "", options)


# The actions


@pytest.mark.parametrize(
    ("wanted", "found", "verbs"),
    [
        (lab_spec("started"), "absent", ["start"]),
        (lab_spec("started"), "stopped", ["start"]),
        (lab_spec("started"), "spawn", []),
        (lab_spec("started"), "ready", []),
        (lab_spec("started"), "stop", ["start"]),
        (lab_spec("stopped"), "absent", []),
        (lab_spec("stopped"), "stopped", []),
        (lab_spec("stopped"), "spawn", ["stop"]),
        (lab_spec("stopped"), "ready", ["stop"]),
        (lab_spec("stopped"), "stop", []),
        (lab_spec("restarted"), "absent", ["start"]),
        (lab_spec("restarted"), "stopped", ["start"]),
        (lab_spec("restarted"), "spawn", ["stop", "start"]),
        (lab_spec("restarted"), "ready", ["stop", "start"]),
        (lab_spec("restarted"), "stop", ["start"]),
        (lab_spec("absent"), "absent", []),
        *((lab_spec("absent"), found, ["remove"]) for found in ("stopped", "spawn", "ready", "stop")),
    ],
)
@pytest.mark.parametrize("wait", [True, False])
def test_the_actions_for_a_state_and_the_predicted_server(
    wanted: ServerSpec, found: str, verbs: list[str], wait: bool
) -> None:
    wanted = lab_spec(wanted.state, wait=wait)
    actions = plan_actions(wanted, server(found), None, has_answered=True)
    assert [action.verb for action in actions] == verbs
    assert all(action.object == "server 'lab' of user 'alice'" and action.why for action in actions)
    after = predict_server(wanted, server(found), None, actions)
    if wait:
        assert after.state == ("ready" if wanted.is_to_run else "stopped")
        assert after.exists is (wanted.state != "absent" and (wanted.is_to_run or found != "absent"))
    else:
        assert after.state == ("pending" if verbs else server(found).state)


@pytest.mark.parametrize("found", ["ready", "spawn"])
def test_a_server_with_other_options(found: str) -> None:
    def verbs(policy: str, wished: Model | None, has: Model | None) -> list[str]:
        wanted = lab_spec(user_options=wished, on_options_change=policy)
        return [action.verb for action in plan_actions(wanted, server(found, has), wished, has_answered=True)]

    assert verbs("ignore", B, A) == []
    assert verbs("restart", B, A) == ["stop", "start"]
    assert verbs("restart", {}, A) == ["stop", "start"]
    # Nothing to do: the same options, no options on both sides, and options that the task does not set.
    assert verbs("restart", A, dict(A)) == verbs("restart", {}, None) == verbs("restart", None, A) == []
    assert verbs("fail", A, A) == verbs("fail", None, A) == []
    with pytest.raises(Conflict, match="other user_options") as error:
        verbs("fail", B, A)
    assert "on_options_change: restart" in error.value.hint


def test_options_of_a_stopped_server_are_no_reason_to_fail() -> None:
    actions = plan_actions(
        lab_spec(user_options=B, on_options_change="fail"), server("stopped", A), B, has_answered=True
    )
    assert [action.verb for action in actions] == ["start"]


def test_a_default_server_cannot_be_removed() -> None:
    with pytest.raises(Invalid, match="default server") as error:
        ServerSpec("alice", "", "absent")
    assert "state: stopped" in error.value.hint


# How they are carried out


def test_a_restart_stops_and_then_starts() -> None:
    hub, lines = hub_with({**READY, "user_options": A}, "lab"), list[str]()

    def written(method: str, _path: str, _body: Any) -> None:
        hub.set_server({**READY, "user_options": B} if method == "POST" else None, "lab")

    hub.on_write = written
    result = perform(hub, lab_spec("restarted", user_options=B), lines=lines)
    assert [method for method, *_more in hub.writes] == ["DELETE", "POST"]
    [item] = result["servers"]
    assert (item["state"], item["changed"], item["user_options"]) == ("ready", True, B)
    assert [line.rpartition(": ")[2] for line in lines] == ["stopping", "asked to start"]
    [before], [after] = (result["diff"][when]["servers"] for when in ("before", "after"))
    assert (before["user_options"], after["user_options"]) == (A, B)


def test_a_restart_whose_stop_fails_starts_nothing() -> None:
    hub = hub_with(READY, "lab")

    def refuses(*_request: Any) -> None:
        raise MissingScope("The token lacks the scope 'delete:servers'.", "x", status=403)

    hub.on_write = refuses
    result = perform(hub, lab_spec("restarted"))
    assert [method for method, *_more in hub.writes] == ["DELETE"]
    assert (result["failure"]["code"], result["changed"]) == ("missing_scope", False)


@pytest.mark.parametrize("refusal", [MissingScope, Invalid])
def test_a_restart_whose_start_is_refused_has_changed_something(refusal: type[HubError]) -> None:
    hub = hub_with(READY, "lab")

    def written(method: str, *_request: Any) -> None:
        hub.set_server(None)
        if method == "POST":
            raise refusal("The token lacks the scope 'start:servers'.", "x", status=403, method="POST")

    hub.on_write = written
    result = perform(hub, lab_spec("restarted"))
    assert (result["failure"]["code"], result["changed"], result["servers"][0]["state"]) == (
        refusal.code, True, "failed",
    )  # fmt: skip


@pytest.mark.parametrize("found", [READY, STOPPED])
def test_absent_stops_and_removes(found: Model) -> None:
    hub = hub_with(found, "lab")

    def written(_method: str, _path: str, body: Any) -> None:
        hub.set_server(None if body else STOPPED, "lab")

    hub.on_write = written
    result = perform(hub, lab_spec("absent"))
    stops = [("DELETE", "users/alice/servers/lab", None)] if found is READY else []
    assert hub.writes == [*stops, ("DELETE", "users/alice/servers/lab", {"remove": True})]
    assert (result["changed"], result["servers"][0]["state"]) == (True, "absent")
    again = perform(hub, lab_spec("absent"))
    assert (again["changed"], again["servers"][0]["state"]) == (False, "absent")


def test_absent_without_a_wait_is_one_request() -> None:
    hub = hub_with(READY, "lab")
    hub.on_write = lambda *_request: hub.set_server(STOPPING, "lab")
    result = perform(hub, lab_spec("absent", wait=False))
    assert hub.writes == [("DELETE", "users/alice/servers/lab", {"remove": True})]
    assert result["servers"][0]["state"] == "pending"


def test_a_server_that_is_not_removed_in_time(clock: FakeClock) -> None:
    hub = hub_with(STOPPED, "lab")
    result = perform(hub, lab_spec("absent", wait_timeout=10.0))
    assert (result["failure"]["code"], result["servers"][0]["state"]) == ("timeout", "pending")
    assert "still listed after 10 s" in result["msg"]


# Many servers


def give_two_servers(hub: FakeHubClient) -> FakeHubClient:
    """Give the hub two servers of Alice's: one is ready, two is stopped."""
    assert hub.model is not None
    hub.model["servers"] = {"one": READY, "two": STOPPED}
    return hub


def spec_named(name: str, state: str = "started", **more: Any) -> ServerSpec:
    return ServerSpec("alice", name, state, **{"wait_timeout": 120.0, **more})


def test_a_user_s_servers_are_read_with_one_request() -> None:
    hub = give_two_servers(hub_with())
    wanted = [spec_named("one"), spec_named("two", "stopped"), spec_named("three"), spec_named("two-more", "absent")]
    result = perform(hub, *wanted, check_mode=True)
    assert hub.looks == 1
    assert [(item["state"], item["changed"]) for item in result["servers"]] == [
        ("ready", False), ("stopped", False), ("ready", True), ("absent", False),
    ]  # fmt: skip
    assert [action["object"] for action in result["actions"]] == ["server 'three' of user 'alice'"]
    assert hub.writes == []


def test_a_server_that_fails_stops_no_other() -> None:
    hub, lines = give_two_servers(hub_with()), list[str]()

    def written(_method: str, path: str, _body: Any) -> None:
        if path.endswith("two"):
            raise HubFailure("The hub failed.", "x", status=500, reason="no such image")
        assert hub.model is not None
        hub.model["servers"] = {**hub.model["servers"], path.rpartition("/")[2]: READY}

    hub.on_write = written
    result = perform(hub, spec_named("one"), spec_named("two"), spec_named("three"), lines=lines)
    assert [(item["state"], item["reason"]) for item in result["servers"]] == [
        ("ready", None), ("failed", "no such image"), ("ready", None),
    ]  # fmt: skip
    assert [item["failure"] and item["failure"]["code"] for item in result["servers"]] == [None, "spawn_failed", None]
    assert result["changed"] is True
    assert set(result) == {"changed", "servers", "actions", "diff", "failed", "msg", "failure"}
    assert result["msg"].startswith("1 of 3 servers failed. The first, server 'two' of user 'alice': The server 'two'")
    # For many servers, the task reports a count instead of each server's messages.
    assert lines == ["2/3 ready, 1 failed, 0 pending"]


@pytest.mark.parametrize(
    ("states", "word"),
    [
        (["started", "restarted"], "ready"),
        (["stopped", "stopped"], "stopped"),
        (["absent", "absent"], "absent"),
        (["started", "stopped"], "done"),
    ],
)
def test_the_count_has_the_word_for_the_final_state(states: list[str], word: str) -> None:
    hub, lines = hub_with(), list[str]()
    perform(hub, *(spec_named(f"n{number}", state, wait=False) for number, state in enumerate(states)), lines=lines)
    assert [line.partition(",")[0].partition(" ")[2] for line in lines] == [word]


def test_an_unknown_user_among_others_has_a_failure_for_each_server() -> None:
    hub = hub_with()

    def get(*path: str, **_more: Any) -> Model:
        if path[1] == "nobody":
            raise NotFound("The hub has no user 'nobody'.", "Check the name.", status=404)
        return {"name": path[1], "servers": {"": READY}}

    hub.get = get  # type: ignore[method-assign]
    lines: list[str] = []
    wanted = [
        ServerSpec("nobody", "", "started"),
        ServerSpec("alice", "", "started"),
        ServerSpec("nobody", "lab", "stopped"),
    ]
    result = perform(hub, *wanted, lines=lines)
    assert [item["failure"] and item["failure"]["code"] for item in result["servers"]] == [
        "not_found", None, "not_found",
    ]  # fmt: skip
    assert [item["server_name"] for item in result["servers"]] == ["", "", "lab"]
    assert lines == ["1/3 done, 2 failed, 0 pending"]


def test_a_server_is_declared_once() -> None:
    with pytest.raises(Invalid, match="server 'one' of user 'alice' is declared twice"):
        server_batch(hub_with(), [spec_named("one"), spec_named("one", "stopped")], print, concurrency=1)  # type: ignore[arg-type]


def test_no_servers_at_all() -> None:
    result = perform(hub_with())
    assert (result["servers"], result["changed"], result["actions"]) == ([], False, [])


# A hub that has no room, is away, or no longer accepts the token


def no_room(retry_after: float | None) -> RateLimited:
    return RateLimited(
        "The hub has no room.", "Try again.", status=429, method="POST", reason="too many", retry_after=retry_after
    )


def test_a_hub_that_says_when_to_come_back_is_asked_again_then() -> None:
    hub, lines, asked = hub_with(), list[str](), list[float]()

    def written(*_request: Any) -> None:
        asked.append(time.monotonic())
        if len(asked) < 3:
            raise no_room(0.1)
        hub.set_server(READY)

    hub.on_write = written
    result = perform(hub, ServerSpec("alice", "", "started"), lines=lines)
    assert result["servers"][0]["state"] == "ready"
    assert len(asked) == 3
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(asked))
    assert "server of user 'alice': the hub has no room, and asks to come back in 0.1 s" in lines


def test_a_hub_that_asks_to_come_back_at_once_is_not_hammered(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "LONGEST_PAUSE", 0.1)
    hub = hub_with()

    def written(*_request: Any) -> None:
        raise no_room(0.0)

    hub.on_write = written
    perform(hub, ServerSpec("alice", "", "started", wait_timeout=0.5))
    assert len(hub.writes) <= 7


@pytest.mark.parametrize(("retry_after", "wait"), [(60.0, True), (60.0, False), (5.0, False), (None, False)])
def test_a_task_that_cannot_or_must_not_wait_for_room_asks_once(retry_after: float | None, wait: bool) -> None:
    hub = hub_with()

    def written(*_request: Any) -> None:
        raise no_room(retry_after)

    hub.on_write = written
    began = time.monotonic()
    result = perform(hub, ServerSpec("alice", "", "started", wait=wait, wait_timeout=59.0))
    assert time.monotonic() - began < 50  # neither as long as wait_timeout, nor as long as the hub asks
    assert (result["failure"]["code"], result["changed"]) == ("rate_limited", False)
    assert result["failure"]["status"] == 429
    assert result["servers"][0]["state"] == "failed"
    assert len(hub.writes) == 1
    assert ("wait: true" in result["failure"]["hint"]) is not wait


def test_a_hub_that_names_no_time_is_asked_with_growing_pauses(clock: FakeClock) -> None:
    hub, asked = hub_with(), list[float]()

    def written(*_request: Any) -> None:
        asked.append(clock.now)
        if len(asked) < 9:
            raise no_room(None)
        hub.set_server(READY)

    hub.on_write = written
    assert perform(hub, ServerSpec("alice", "", "started"))["servers"][0]["state"] == "ready"
    assert [round(after - before) for before, after in pairwise(asked)] == [2, 4, 8, 16, 30, 30, 30, 30]


@pytest.mark.parametrize("retry_after", [None, 20.0])
def test_a_hub_that_never_has_room_is_named_at_the_end(clock: FakeClock, retry_after: float | None) -> None:
    hub = hub_with()

    def written(*_request: Any) -> None:
        raise no_room(retry_after)

    hub.on_write = written
    began = clock.now
    result = perform(hub, ServerSpec("alice", "", "started", wait_timeout=45.0))
    failure = result["failure"]
    assert (failure["code"], failure["status"], result["changed"]) == ("rate_limited", 429, False)
    return_time = ", and asks to come back in 20 s" if retry_after else ""
    assert failure["message"] == (
        f"The hub had no room for the server of user 'alice' within its wait_timeout of 45 s{return_time}: too many. "
        "Other starts of this task that were under way at the end: 0."
    )
    assert "wait_timeout" in failure["hint"]
    assert "concurrent_spawn_limit" in failure["hint"]
    assert ("Try again in 20 s" in failure["hint"]) is bool(retry_after)
    # It ends as soon as the time that is left is too short.
    assert clock.now - began <= 45.0
    assert len(hub.writes) == (5 if retry_after is None else 3)


@pytest.mark.parametrize("wait", [True, False])
def test_a_hub_that_is_full_is_not_waited_for(wait: bool) -> None:
    hub = hub_with()

    def written(*_request: Any) -> None:
        reason = "Active user limit exceeded. Try again in a few minutes"
        raise RateLimited("The hub has no room.", "x", status=429, method="POST", reason=reason)

    hub.on_write = written
    result = perform(hub, *[ServerSpec("alice", name, "started", wait=wait) for name in ("one", "two", "three")])
    assert len(hub.writes) == 3
    for item in result["servers"]:
        assert (item["failure"]["code"], item["changed"], item["state"]) == ("rate_limited", False, "failed")
        assert "active_server_limit allows. Waiting does not help." in item["failure"]["message"]
        assert "hub_cull" in item["failure"]["hint"]


@pytest.mark.parametrize("retry_after", [10.0, 600.0], ids=["in time", "too late"])
def test_somebody_else_starts_a_server_while_it_waits_for_room(clock: FakeClock, retry_after: float) -> None:
    """The task sees that when it would ask again, or before it gives up."""
    hub, looks = hub_with(), list[int]()

    def written(*_request: Any) -> None:
        looks.append(hub.looks)
        raise no_room(retry_after)

    def look() -> None:
        # With the first look after the refusal, the task still finds the server stopped.
        if looks and hub.looks > looks[0] + 1:
            hub.set_server(READY)

    hub.on_write, hub.on_look = written, look
    result = perform(hub, ServerSpec("alice", "", "started", wait_timeout=60.0))
    assert (result["servers"][0]["state"], result["changed"], len(hub.writes)) == ("ready", False, 1)


class NarrowHub(FakeHubClient):
    """A hub with room for so many starts at a time, each of which takes so many looks at the user."""

    def __init__(self, room: int, looks: int) -> None:
        super().__init__({"name": "alice", "admin": False, "servers": {}})
        self.room, self.length = room, looks
        self.left: dict[str, int] = {}
        self.asked: list[str] = []
        self.accepted: list[str] = []
        self.lock = threading.Lock()
        self.on_look, self.on_write = self.move_on, self.start

    def move_on(self) -> None:
        with self.lock:
            self.left = {name: left - 1 for name, left in self.left.items()}
            models = {name: PENDING if left > 0 else READY for name, left in self.left.items()}
            self.model = {"name": "alice", "admin": False, "servers": models}

    def start(self, method: str, path: str, body: Any) -> None:
        name = path.rpartition("/")[2]
        with self.lock:
            self.asked.append(name)
            if sum(left > 0 for left in self.left.values()) >= self.room:
                raise no_room(600.0)
            self.accepted.append(name)
            self.left[name] = self.length


def test_starts_that_were_refused_follow_when_others_have_ended() -> None:
    hub, names = NarrowHub(room=2, looks=20), [f"s{number}" for number in range(12)]
    lines: list[str] = []
    # The hub asks to come back in ten minutes, but each start that ends leaves room.
    result = perform(hub, *[ServerSpec("alice", name, "started", wait_timeout=1200.0) for name in names], lines=lines)
    assert [item["state"] for item in result["servers"]] == ["ready"] * 12
    assert sorted(hub.accepted) == sorted(names)
    # Four workers: two starts are refused at first. Then each asks when there is room.
    assert len(hub.asked) <= 12 + 4
    assert lines.count("the hub has no room for more starts at the moment, so they wait their turn") == 1


def test_a_server_that_a_restart_of_the_hub_has_ended_is_no_success() -> None:
    hub = hub_with()

    def written(_method: str, path: str, _body: Any) -> None:
        hub.set_server(
            READY, path.rpartition("/")[2]
        )  # the hub shows only the last server: the restart ends the others
        hub.absences.append(time.monotonic())

    hub.on_write = written
    result = perform(hub, *[ServerSpec("alice", name, "started") for name in ("a", "b")], concurrency=1)
    assert [(item["state"], item["changed"]) for item in result["servers"]] == [("failed", True), ("ready", True)]
    assert "server 'a' of user 'alice' was ready and has stopped again" in result["servers"][0]["reason"]
    assert result["failed"] is True


def test_a_restart_without_room_says_that_the_server_does_not_run() -> None:
    hub = hub_with(READY, "lab")

    def written(method: str, _path: str, _body: Any) -> None:
        if method == "POST":
            raise no_room(600.0)
        hub.set_server(None)

    hub.on_write = written
    result = perform(hub, lab_spec("restarted", wait_timeout=0.5))
    assert (result["changed"], result["failure"]["code"]) == (True, "rate_limited")
    assert "The task has stopped it before, so it does not run now." in result["msg"]


AWAY = [
    Unreachable("No answer.", "Check hub_url."),
    TimedOut("It did not answer GET within 30 s.", "x"),
    HubFailure("The hub failed with 503.", "x", status=503),
]


@pytest.mark.parametrize("failure", AWAY, ids=["unreachable", "timeout", "503"])
@pytest.mark.parametrize("comes_back_as", [READY, PENDING])
def test_a_hub_that_is_away_for_a_while_is_waited_for(failure: Exception, comes_back_as: Model) -> None:
    """Its server is away with it, and may have survived."""
    hub = hub_with(PENDING)

    def look() -> None:
        if 3 <= hub.looks < 7:
            raise failure
        hub.set_server(PENDING if hub.looks < 3 else comes_back_as if hub.looks < 12 else READY)

    hub.on_look = look
    assert perform(hub, ServerSpec("alice", "", "started"))["servers"][0]["state"] == "ready"
    assert hub.writes == []


@pytest.mark.parametrize("failure", AWAY, ids=["unreachable", "timeout", "503"])
def test_a_start_that_was_lost_with_the_hub_is_asked_for_again(failure: Exception) -> None:
    hub = hub_with()

    def written(*_request: Any) -> None:
        if len(hub.writes) == 1:
            raise failure
        hub.set_server(READY)

    hub.on_write = written
    result = perform(hub, ServerSpec("alice", "", "started", wait_timeout=120.0))
    assert (result["servers"][0]["state"], len(hub.writes)) == ("ready", 2)


@pytest.mark.parametrize("failure", AWAY, ids=["unreachable", "timeout", "503"])
@pytest.mark.parametrize("wait", [True, False])
def test_the_task_gives_up_if_every_start_is_lost(failure: Exception, wait: bool) -> None:
    hub = hub_with()

    def written(*_request: Any) -> None:
        raise failure

    hub.on_write = written
    result = perform(hub, ServerSpec("alice", "", "started", wait=wait, wait_timeout=120.0))
    assert result["failed"] is True
    assert len(hub.writes) == 1 + MOST_LOSSES


@pytest.mark.parametrize("failure", AWAY, ids=["unreachable", "timeout", "503"])
@pytest.mark.parametrize("reason", ["no GPU is free", None])
def test_a_start_that_the_hub_has_begun_is_not_asked_for_again(failure: Exception, reason: str | None) -> None:
    """Its answer is lost, and the server has stopped: the start failed, or somebody has cancelled it."""
    hub = hub_with()

    def written(*_request: Any) -> None:
        hub.set_server(PENDING)
        seen = hub.looks + 2  # the one after the next: the next one has seen it starting then
        while hub.looks < seen:
            time.sleep(0.005)
        hub.set_server(None)
        hub.last_stream = [{"progress": 100, "failed": True, "message": f"Spawn failed: {reason}"}] if reason else []
        raise failure

    hub.on_write = written
    result = perform(hub, ServerSpec("alice", "", "started", wait_timeout=120.0))
    assert (result["failure"]["code"], result["changed"], len(hub.writes)) == ("spawn_failed", True, 1)
    assert result["servers"][0]["reason"] == (reason or "it stopped while the task waited for it")


def test_a_start_that_ended_while_the_hub_was_away_is_asked_for_again() -> None:
    hub = hub_with()

    def written(*_request: Any) -> None:
        if len(hub.writes) > 1:
            hub.set_server(READY)
            return
        hub.set_server(PENDING)
        while hub.looks < 6:
            time.sleep(0.005)
        raise AWAY[0]

    def look() -> None:
        if 4 <= hub.looks < 8:
            raise AWAY[2]
        if hub.looks == 8:
            hub.set_server(None)

    hub.on_write, hub.on_look = written, look
    result = perform(hub, ServerSpec("alice", "", "started", wait_timeout=120.0))
    assert (result["servers"][0]["state"], len(hub.writes)) == ("ready", 2)


def test_a_503_of_a_spawner_is_not_that_of_a_proxy() -> None:
    hub = hub_with()
    hub.last_stream = [{"progress": 100, "failed": True, "message": "Spawn failed: HTTP 503: quota used up"}]

    def written(*_request: Any) -> None:
        raise HubFailure("The hub failed with 503.", "x", status=503, method="POST", reason="quota used up")

    hub.on_write = written
    result = perform(hub, ServerSpec("alice", "", "started"))
    assert (result["failure"]["code"], result["failure"]["status"], len(hub.writes)) == ("spawn_failed", 503, 1)
    assert result["servers"][0]["reason"] == "HTTP 503: quota used up"


def test_a_hub_that_stays_away_is_in_the_message(clock: FakeClock) -> None:
    hub = hub_with(PENDING)

    def look() -> None:
        if hub.looks > 2:
            raise AWAY[0]

    hub.on_look = look
    result = perform(hub, ServerSpec("alice", "", "started", wait_timeout=20.0, on_timeout="leave"))
    assert (result["failure"]["code"], result["servers"][0]["state"]) == ("timeout", "pending")
    assert "the hub does not answer: No answer" in result["msg"]


def test_a_stop_outlasts_a_hub_that_is_away() -> None:
    hub = hub_with(READY)
    hub.on_write = lambda *_request: hub.set_server(STOPPING)

    def look() -> None:
        if hub.looks in (3, 4, 5):
            raise AWAY[0]
        if hub.looks > 6:
            hub.set_server(None)

    hub.on_look = look
    result = perform(hub, ServerSpec("alice", "", "stopped"))
    assert (result["servers"][0]["state"], len(hub.writes)) == ("stopped", 1)


def test_a_hub_that_stays_away_during_a_stop_is_the_failure(clock: FakeClock) -> None:
    hub = hub_with(READY)

    def look() -> None:
        if hub.looks > 1:
            raise Unreachable("No answer.", "Check hub_url.")

    hub.on_look = look
    result = perform(hub, ServerSpec("alice", "", "stopped", wait_timeout=10.0))
    assert result["failure"]["code"] == "unreachable"


def test_a_token_that_expires_in_the_middle_ends_the_wait() -> None:
    hub = hub_with(PENDING)

    def look() -> None:
        if hub.looks > 3:
            raise Unauthorized("The hub does not accept the API token.", "Mint a new one.", status=403)

    hub.on_look = look
    began = time.monotonic()
    result = perform(hub, ServerSpec("alice", "", "started", wait_timeout=600.0))
    assert time.monotonic() - began < 60
    # The token may not read the server any longer. It was starting when it was read last.
    assert (result["failure"]["code"], result["servers"][0]["state"]) == ("unauthorized", "pending")


@pytest.mark.parametrize("wait", [True, False])
def test_a_start_that_a_stop_by_others_prevents_is_asked_for_again(wait: bool) -> None:
    """400 "is pending stop": the stop began between the read and the request."""
    hub = hub_with()

    def written(*_request: Any) -> None:
        if len(hub.writes) == 1:
            hub.set_server(STOPPING)
            raise Invalid("The hub refuses POST.", "x", status=400, reason="alice is pending stop")
        hub.set_server(READY)

    hub.on_write = written
    hub.on_look = lambda: hub.set_server(None) if hub.looks == 6 else None
    result = perform(hub, ServerSpec("alice", "", "started", wait=wait))
    assert (result["servers"][0]["state"], len(hub.writes)) == ("ready", 2)


@pytest.mark.parametrize("wait", [True, False])
def test_a_start_by_others_succeeds(wait: bool) -> None:
    """400 "is already running"."""
    hub = hub_with()

    def written(*_request: Any) -> None:
        hub.set_server(READY)
        raise Invalid("The hub refuses POST.", "x", status=400, reason="alice is already running")

    hub.on_write = written
    result = perform(hub, ServerSpec("alice", "", "started", wait=wait))
    assert (result["servers"][0]["state"], result.get("failed")) == ("ready", None)


# A refused read says nothing about the request before it


REFUSALS = [
    MissingScope("The hub forbids GET.", "x", status=403, method="GET"),
    NotFound("The hub has no user 'alice'.", "x", status=404, method="GET"),
    RateLimited("The hub has no room.", "x", status=429, method="GET"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=["403", "404", "429"])
@pytest.mark.parametrize("state", ["started", "stopped"])
def test_a_refused_read_does_not_undo_the_request(refusal: Exception, state: str, clock: FakeClock) -> None:
    hub = hub_with(READY if state == "stopped" else None)
    hub.on_write = lambda *_request: hub.set_server(PENDING if state == "started" else STOPPING)

    def look() -> None:
        if hub.looks > 3:
            raise refusal

    hub.on_look = look
    result = perform(hub, ServerSpec("alice", "", state, wait_timeout=30.0, on_timeout="leave"))
    assert (result["failed"], result["changed"], result["servers"][0]["state"]) == (True, True, "pending")


@pytest.mark.parametrize("state", ["started", "stopped"])
def test_a_429_for_a_read_is_no_reason_to_give_up(state: str) -> None:
    hub = hub_with(READY if state == "stopped" else None)
    hub.on_write = lambda *_request: hub.set_server(PENDING if state == "started" else STOPPING)

    def look() -> None:
        if 3 < hub.looks < 8:
            raise REFUSALS[2]
        if hub.looks == 8:
            hub.set_server(READY if state == "started" else None)

    hub.on_look = look
    result = perform(hub, ServerSpec("alice", "", state))
    assert (result["servers"][0]["state"], len(hub.writes)) == ("ready" if state == "started" else "stopped", 1)
