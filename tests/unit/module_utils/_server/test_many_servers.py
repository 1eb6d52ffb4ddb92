# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_servers and _server_flows: what a desired state takes, many at a time, and hubs that are away for a while."""

from __future__ import annotations

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
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import start as _spawning
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.flow import server_batch
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.model import (
    Server,
    ServerSpec,
    foreseen,
    none_of,
    steps,
)
from support.fakes.scripted_hub import PENDING, READY, STOPPING, Clock, Model, StandInHub, hub_with

STOPPED: Model = {"ready": False, "pending": None, "stopped": True, "url": "/jhub/user/alice/lab/"}
A, B = {"profile": "a"}, {"profile": "b"}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "PAUSE", 0.005)
    monkeypatch.setattr(polling, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(_spawning, "_QUICK", 0.05)
    monkeypatch.setattr(_spawning, "_GRACE", 0.05)


def perform(hub: StandInHub, *wanted: ServerSpec, check_mode: bool = False, lines: list[str] | None = None) -> Model:
    report = (lambda line: None) if lines is None else lines.append
    return run(server_batch(hub, wanted, report, concurrency=4), check_mode=check_mode)  # type: ignore[arg-type]


def lab(state: str = "started", **more: Any) -> ServerSpec:
    return ServerSpec("alice", "lab", state, **{"wait_timeout": 120.0, **more})


def server(state: str, options: Model | None = None) -> Server:
    """As the hub shows it: ready, spawn or stop (what is pending), stopped, or nothing of it."""
    if state == "absent":
        return none_of("alice", "lab")
    pending = state if state in ("spawn", "stop") else None
    return Server("alice", "lab", state in ("ready", "stop"), pending, "", options)


# What it takes


@pytest.mark.parametrize(
    ("wanted", "found", "verbs"),
    [
        (lab("started"), "absent", ["start"]),
        (lab("started"), "stopped", ["start"]),
        (lab("started"), "spawn", []),
        (lab("started"), "ready", []),
        (lab("started"), "stop", ["start"]),
        (lab("stopped"), "absent", []),
        (lab("stopped"), "stopped", []),
        (lab("stopped"), "spawn", ["stop"]),
        (lab("stopped"), "ready", ["stop"]),
        (lab("stopped"), "stop", []),
        (lab("restarted"), "absent", ["start"]),
        (lab("restarted"), "stopped", ["start"]),
        (lab("restarted"), "spawn", ["stop", "start"]),
        (lab("restarted"), "ready", ["stop", "start"]),
        (lab("restarted"), "stop", ["start"]),
        (lab("absent"), "absent", []),
        *((lab("absent"), found, ["remove"]) for found in ("stopped", "spawn", "ready", "stop")),
    ],
)
@pytest.mark.parametrize("wait", [True, False])
def test_what_a_state_takes_and_what_comes_of_it(wanted: ServerSpec, found: str, verbs: list[str], wait: bool) -> None:
    wanted = lab(wanted.state, wait=wait)
    actions = steps(wanted, server(found), answers=True)
    assert [action.verb for action in actions] == verbs
    assert all(action.object == "server 'lab' of user 'alice'" and action.why for action in actions)
    after = foreseen(wanted, server(found), set(verbs))
    if wait:
        assert after.state == ("ready" if wanted.runs else "stopped")
        assert after.exists is (wanted.state != "absent" and (wanted.runs or found != "absent"))
    else:
        assert after.state == ("pending" if verbs else server(found).state)


@pytest.mark.parametrize("found", ["ready", "spawn"])
def test_a_server_with_other_options(found: str) -> None:
    def verbs(policy: str, wished: Model | None, has: Model | None) -> list[str]:
        wanted = lab(user_options=wished, on_options_change=policy)
        return [action.verb for action in steps(wanted, server(found, has), answers=True)]

    assert verbs("ignore", B, A) == []
    assert verbs("restart", B, A) == ["stop", "start"]
    assert verbs("restart", {}, A) == ["stop", "start"]
    # The same ones, none on either side, and none said: nothing to do.
    assert verbs("restart", A, dict(A)) == verbs("restart", {}, None) == verbs("restart", None, A) == []
    assert verbs("fail", A, A) == verbs("fail", None, A) == []
    with pytest.raises(Conflict, match="other user_options") as error:
        verbs("fail", B, A)
    assert "on_options_change: restart" in error.value.hint


def test_options_of_a_stopped_server_are_no_reason_to_fail() -> None:
    actions = steps(lab(user_options=B, on_options_change="fail"), server("stopped", A), answers=True)
    assert [action.verb for action in actions] == ["start"]


def test_a_default_server_cannot_be_removed_and_that_is_told_first() -> None:
    with pytest.raises(Invalid, match="default server") as error:
        ServerSpec("alice", "", "absent")
    assert "state: stopped" in error.value.hint


# How it is done


def test_a_restart_stops_and_then_starts() -> None:
    hub, lines = hub_with({**READY, "user_options": A}, "lab"), list[str]()

    def written(method: str, _path: str, _body: Any) -> None:
        hub.set_server({**READY, "user_options": B} if method == "POST" else None, "lab")

    hub.on_write = written
    result = perform(hub, lab("restarted", user_options=B), lines=lines)
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
    result = perform(hub, lab("restarted"))
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
    result = perform(hub, lab("restarted"))
    assert (result["failure"]["code"], result["changed"], result["servers"][0]["state"]) == (
        refusal.code, True, "failed",
    )  # fmt: skip


@pytest.mark.parametrize("found", [READY, STOPPED])
def test_absent_stops_and_removes(found: Model) -> None:
    hub = hub_with(found, "lab")

    def written(_method: str, _path: str, body: Any) -> None:
        hub.set_server(None if body else STOPPED, "lab")

    hub.on_write = written
    result = perform(hub, lab("absent"))
    stops = [("DELETE", "users/alice/servers/lab", None)] if found is READY else []
    assert hub.writes == [*stops, ("DELETE", "users/alice/servers/lab", {"remove": True})]
    assert (result["changed"], result["servers"][0]["state"]) == (True, "absent")
    again = perform(hub, lab("absent"))
    assert (again["changed"], again["servers"][0]["state"]) == (False, "absent")


def test_absent_without_a_wait_is_one_request() -> None:
    hub = hub_with(READY, "lab")
    hub.on_write = lambda *_request: hub.set_server(STOPPING, "lab")
    result = perform(hub, lab("absent", wait=False))
    assert hub.writes == [("DELETE", "users/alice/servers/lab", {"remove": True})]
    assert result["servers"][0]["state"] == "pending"


def test_what_is_not_removed_in_time_is_told(clock: Clock) -> None:
    hub = hub_with(STOPPED, "lab")
    result = perform(hub, lab("absent", wait_timeout=10.0))
    assert (result["failure"]["code"], result["servers"][0]["state"]) == ("timeout", "pending")
    assert "still listed after 10 s" in result["msg"]


# Many


def three(hub: StandInHub) -> StandInHub:
    """Alice's servers: one ready, one stopped."""
    assert hub.model is not None
    hub.model["servers"] = {"one": READY, "two": STOPPED}
    return hub


def named(name: str, state: str = "started", **more: Any) -> ServerSpec:
    return ServerSpec("alice", name, state, **{"wait_timeout": 120.0, **more})


def test_a_user_s_servers_are_planned_from_one_look() -> None:
    hub = three(hub_with())
    wanted = [named("one"), named("two", "stopped"), named("three"), named("two-more", "absent")]
    result = perform(hub, *wanted, check_mode=True)
    assert hub.looks == 1
    assert [(item["state"], item["changed"]) for item in result["servers"]] == [
        ("ready", False), ("stopped", False), ("ready", True), ("absent", False),
    ]  # fmt: skip
    assert [action["object"] for action in result["actions"]] == ["server 'three' of user 'alice'"]
    assert hub.writes == []


def test_one_that_fails_ends_no_other() -> None:
    hub, lines = three(hub_with()), list[str]()

    def written(_method: str, path: str, _body: Any) -> None:
        if path.endswith("two"):
            raise HubFailure("The hub failed.", "x", status=500, reason="no such image")
        assert hub.model is not None
        hub.model["servers"] = {**hub.model["servers"], path.rpartition("/")[2]: READY}

    hub.on_write = written
    result = perform(hub, named("one"), named("two"), named("three"), lines=lines)
    assert [(item["state"], item["reason"]) for item in result["servers"]] == [
        ("ready", None), ("failed", "no such image"), ("ready", None),
    ]  # fmt: skip
    assert [item["failure"] and item["failure"]["code"] for item in result["servers"]] == [None, "spawn_failed", None]
    assert result["changed"] is True
    assert set(result) == {"changed", "servers", "actions", "diff", "failed", "msg", "failure"}
    assert result["msg"].startswith("1 of 3 servers failed. The first, server 'two' of user 'alice': The server 'two'")
    # Of many, a count is told instead of each one's messages.
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
def test_the_count_has_the_word_for_what_is_wanted(states: list[str], word: str) -> None:
    hub, lines = hub_with(), list[str]()
    perform(hub, *(named(f"n{number}", state, wait=False) for number, state in enumerate(states)), lines=lines)
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
        server_batch(hub_with(), [named("one"), named("one", "stopped")], print, concurrency=1)  # type: ignore[arg-type]


def test_no_servers_at_all() -> None:
    result = perform(hub_with())
    assert (result["servers"], result["changed"], result["actions"]) == ([], False, [])


# A hub that has no room, is away, or forgets who asks


def no_room(retry_after: float | None) -> RateLimited:
    error = RateLimited("The hub has no room.", "Try again.", status=429)
    error.retry_after = retry_after
    return error


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


def test_a_hub_that_asks_to_come_back_at_once_is_not_hammered(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "LONGEST_PAUSE", 0.1)
    hub = hub_with()

    def written(*_request: Any) -> None:
        raise no_room(0.0)

    hub.on_write = written
    perform(hub, ServerSpec("alice", "", "started", wait_timeout=0.5))
    assert len(hub.writes) <= 7


@pytest.mark.parametrize("retry_after", [None, 60.0])
@pytest.mark.parametrize("wait", [True, False])
def test_a_hub_that_does_not_or_too_late_is_not_waited_for(retry_after: float | None, wait: bool) -> None:
    hub = hub_with()

    def written(*_request: Any) -> None:
        raise no_room(retry_after)

    hub.on_write = written
    began = time.monotonic()
    result = perform(hub, ServerSpec("alice", "", "started", wait=wait, wait_timeout=59.0))
    assert time.monotonic() - began < 50  # and not as long as the wait, nor as long as it was told to
    assert (result["failure"]["code"], result["changed"]) == ("rate_limited", False)
    assert result["servers"][0]["state"] == "failed"
    assert len(hub.writes) == 1


AWAY = [
    Unreachable("No answer.", "Check hub_url."),
    TimedOut("It did not answer GET within 30 s.", "x"),
    HubFailure("The hub failed with 503.", "x", status=503),
]


@pytest.mark.parametrize("failure", AWAY, ids=["unreachable", "timeout", "503"])
@pytest.mark.parametrize("comes_back_as", [READY, PENDING])
def test_a_hub_that_is_away_for_a_while_is_waited_for(failure: Exception, comes_back_as: Model) -> None:
    """And its server with it, which may have lived on."""
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
def test_a_hub_that_loses_every_start_is_given_up(failure: Exception, wait: bool) -> None:
    hub = hub_with()

    def written(*_request: Any) -> None:
        raise failure

    hub.on_write = written
    result = perform(hub, ServerSpec("alice", "", "started", wait=wait, wait_timeout=120.0))
    assert result["failed"] is True
    assert len(hub.writes) == 1 + _spawning._LOST_REQUESTS


@pytest.mark.parametrize("failure", AWAY, ids=["unreachable", "timeout", "503"])
@pytest.mark.parametrize("reason", ["no GPU is free", None])
def test_a_start_that_was_taken_up_is_not_asked_for_again(failure: Exception, reason: str | None) -> None:
    """Its answer is lost, and it is gone: it failed, or somebody has cancelled it."""
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
    assert result["servers"][0]["reason"] == (reason or "it stopped while it was waited for")


def test_a_start_that_was_taken_up_and_lost_with_the_hub_is_asked_for_again() -> None:
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


def test_a_spawner_that_fails_as_a_proxy_would_is_not_taken_for_one() -> None:
    hub = hub_with()
    hub.last_stream = [{"progress": 100, "failed": True, "message": "Spawn failed: HTTP 503: quota used up"}]

    def written(*_request: Any) -> None:
        raise HubFailure("The hub failed with 503.", "x", status=503, method="POST", reason="quota used up")

    hub.on_write = written
    result = perform(hub, ServerSpec("alice", "", "started"))
    assert (result["failure"]["code"], result["failure"]["status"], len(hub.writes)) == ("spawn_failed", 503, 1)
    assert result["servers"][0]["reason"] == "HTTP 503: quota used up"


def test_a_hub_that_stays_away_is_told_of_at_the_end(clock: Clock) -> None:
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


def test_a_stop_that_the_hub_does_not_come_back_from_is_told_as_that(clock: Clock) -> None:
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
    # What it is now nobody may ask; it was starting when it was seen last.
    assert (result["failure"]["code"], result["servers"][0]["state"]) == ("unauthorized", "pending")


@pytest.mark.parametrize("wait", [True, False])
def test_a_stop_of_somebody_else_is_waited_for_and_the_start_asked_for_again(wait: bool) -> None:
    """400 "is pending stop": it began between our look and our request."""
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
def test_a_start_by_somebody_else_is_as_good(wait: bool) -> None:
    """400 "is already running"."""
    hub = hub_with()

    def written(*_request: Any) -> None:
        hub.set_server(READY)
        raise Invalid("The hub refuses POST.", "x", status=400, reason="alice is already running")

    hub.on_write = written
    result = perform(hub, ServerSpec("alice", "", "started", wait=wait))
    assert (result["servers"][0]["state"], result.get("failed")) == ("ready", None)


# What a refused look says of the request before it: nothing


REFUSALS = [
    MissingScope("The hub forbids GET.", "x", status=403, method="GET"),
    NotFound("The hub has no user 'alice'.", "x", status=404, method="GET"),
    RateLimited("The hub has no room.", "x", status=429, method="GET"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=["403", "404", "429"])
@pytest.mark.parametrize("state", ["started", "stopped"])
def test_a_look_that_is_refused_does_not_undo_the_request(refusal: Exception, state: str, clock: Clock) -> None:
    hub = hub_with(READY if state == "stopped" else None)
    hub.on_write = lambda *_request: hub.set_server(PENDING if state == "started" else STOPPING)

    def look() -> None:
        if hub.looks > 3:
            raise refusal

    hub.on_look = look
    result = perform(hub, ServerSpec("alice", "", state, wait_timeout=30.0, on_timeout="leave"))
    assert (result["failed"], result["changed"], result["servers"][0]["state"]) == (True, True, "pending")


@pytest.mark.parametrize("state", ["started", "stopped"])
def test_too_many_looks_are_no_reason_to_give_up(state: str) -> None:
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
