# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_server/start and claim: others start, restart, cancel or stop the same server, or the hub checks it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import HubFailure, Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import claim as _claim
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import start as _start
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import stop as _stop
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.flow import server_batch
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.model import ServerSpec
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.verdict import NO_REASON, STOPPED
from support.fakes.fake_clock import FakeClock
from support.fakes.fake_hub_client import PENDING, READY, FakeHubClient, Model, hub_with
from support.fakes.scripted_hub import HUB

OURS, THEIRS = {"profile": "cpu"}, {"profile": "gpu"}
CHECKED: Model = {**READY, "ready": False, "pending": "check"}
UNHANDLED = HubFailure("The hub failed.", "x", status=500, method="POST", reason="Internal Server Error")
RUNS = Invalid("The hub refuses POST.", "x", status=400, method="POST", reason="alice is already running")


@pytest.fixture(autouse=True)
def _short_pauses(short_polls: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stop, "_ANSWER_WAIT", 0.05)
    monkeypatch.setattr(_start, "_GRACE", 0.1)
    monkeypatch.setattr(_claim, "_ANSWER_GRACE", 0.05)


def perform(hub: FakeHubClient, state: str = "started", **more: Any) -> tuple[Model, str | None]:
    """Run the task. Return its answer for its one server, and the code of its failure."""
    wanted = ServerSpec("alice", "", state, **{"wait_timeout": 120.0, **more})
    flow = server_batch(hub, [wanted], lambda line: None, concurrency=1)  # type: ignore[arg-type]
    [item] = run(flow, check_mode=False)["servers"]
    return item, (item["failure"] or {}).get("code")


def methods(hub: FakeHubClient) -> list[str]:
    return [method for method, *_more in hub.writes]


def ready_since(second: int, options: Model | None = None) -> Model:
    return {**READY, "started": f"2026-01-01T00:00:{second:02}Z", "user_options": options}


def starting_since(second: int, options: Model | None = None) -> Model:
    return {**PENDING, "started": f"2026-01-01T00:00:{second:02}Z", "user_options": options}


def stopped(options: Model | None = None) -> Model:
    return {"ready": False, "pending": None, "url": "", "started": None, "user_options": options}


def failed(message: str) -> Model:
    return {"progress": 100, "failed": True, "message": message}


def show(hub: FakeHubClient, *servers: Model | None) -> Callable[[], None]:
    """Have the hub show these servers, one at each read, and the last one from then on."""
    left = list(servers)

    def look() -> None:
        hub.set_server(left.pop(0) if len(left) > 1 else left[0])

    hub.on_look = look
    return look


def answer_starts(
    hub: FakeHubClient, *servers: Model | None, status: int = 202, error: Exception | None = None
) -> None:
    """Have the hub answer a start so, and show these servers from then on. A DELETE stops the server."""
    hub.status = status

    def written(method: str, *_request: Any) -> None:
        if method == "POST":
            show(hub, *servers)
            if error is not None:
                raise error
        else:
            hub.set_server(None)

    hub.on_write = written


def hold_starts(hub: FakeHubClient, *servers: Model) -> None:
    """Have the hub keep a request to start waiting until two reads have shown the first server, and accept it then."""
    hub.status = 202

    def written(*_request: Any) -> None:
        hub.set_server(servers[0])
        seen = hub.looks + 2
        while hub.looks < seen:
            time.sleep(0.005)
        show(hub, *servers)

    hub.on_write = written


# Others start it with other options


def test_a_restart_by_others_with_yet_other_options_is_a_conflict() -> None:
    hub = hub_with()
    show(hub, ready_since(1), ready_since(2, THEIRS))
    item, code = perform(hub, on_options_change="restart", user_options=OURS)
    assert (code, item["changed"], hub.writes) == ("conflict", False, [])
    assert "another start came first, at 2026-01-01T00:00:02Z. They differ in profile." in item["reason"]


@pytest.mark.parametrize("error", [None, RUNS])
def test_a_dead_server_that_others_start_with_other_options_is_a_conflict(error: Exception | None) -> None:
    hub = hub_with(ready_since(1))
    hub.answering = False

    def written(*_request: Any) -> None:
        hub.set_server(ready_since(2, THEIRS))
        hub.answering = True
        if error is not None:
            raise error

    hub.on_write, hub.status = written, 202
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"]) == ("conflict", False)


def test_a_server_that_only_seemed_dead_may_have_other_options() -> None:
    hub = hub_with(ready_since(1, THEIRS))
    hub.answering = False

    def written(*_request: Any) -> None:
        hub.answering = True
        raise RUNS

    hub.on_write = written
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"], item["state"]) == (None, False, "ready")


def test_a_dead_server_that_others_have_started_gets_no_request() -> None:
    hub = hub_with()
    show(hub, ready_since(1), starting_since(2), ready_since(2))
    probes: list[str] = []

    def answering(url: str) -> bool:
        probes.append(url)
        return len(probes) > 2  # both probes of the plan fail

    hub.answers = answering  # type: ignore[method-assign]
    item, code = perform(hub)
    assert (code, item["changed"], hub.writes) == (None, False, [])


@pytest.mark.parametrize("asks", [True, False])
def test_other_options_of_a_pending_start_are_a_conflict_at_once(asks: bool) -> None:
    """The task does not wait for that start, and does not stop it."""
    hub = hub_with(None if asks else starting_since(1, THEIRS))
    answer_starts(hub, starting_since(1, THEIRS))
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"], methods(hub)) == ("conflict", False, ["POST"] if asks else [])


def test_the_options_that_the_hub_shows_early_in_a_start_are_not_compared() -> None:
    hub = hub_with(stopped(THEIRS))
    first = {**PENDING, "started": None, "user_options": THEIRS}
    answer_starts(hub, first, first, starting_since(1, OURS), ready_since(1, OURS))
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"]) == (None, True)


def test_without_a_wait_the_options_early_in_a_start_are_not_compared_either() -> None:
    hub = hub_with(stopped(THEIRS))
    first = {**PENDING, "started": None, "user_options": THEIRS}
    answer_starts(hub, first, starting_since(1, OURS))
    item, code = perform(hub, user_options=OURS, wait=False)
    assert (code, item["state"], item["user_options"]) == (None, "pending", OURS)


# The spawner changes the options


def test_the_spawner_may_change_the_options_of_a_request_that_was_kept_waiting() -> None:
    hub = hub_with()
    hold_starts(hub, starting_since(1, THEIRS), ready_since(1, THEIRS))
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"], item["user_options"]) == (None, True, THEIRS)


def test_the_spawner_may_change_options_that_the_hub_has_shown() -> None:
    hub = hub_with()
    answer_starts(hub, starting_since(1, OURS), starting_since(1, THEIRS), ready_since(1, THEIRS))
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"]) == (None, True)


def test_the_message_names_both_causes_if_the_starter_is_unknown() -> None:
    hub = hub_with()
    answer_starts(hub, ready_since(1, THEIRS))
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"]) == ("conflict", False)
    assert "another start came first, at 2026-01-01T00:00:01Z, or its spawner has changed them." in item["reason"]


# Others start it with the same options


def test_a_500_while_another_start_is_pending_is_no_change() -> None:
    """With refresh_pre_spawn."""
    hub = hub_with()
    answer_starts(hub, starting_since(1, OURS), ready_since(1, OURS), error=UNHANDLED)
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"], item["state"]) == (None, False, "ready")


def test_a_500_while_another_start_is_pending_leaves_that_start_alone(clock: FakeClock) -> None:
    hub = hub_with()
    answer_starts(hub, starting_since(1, OURS), error=UNHANDLED)
    item, code = perform(hub, user_options=OURS, wait_timeout=10.0)
    assert (code, item["changed"], item["state"], methods(hub)) == ("timeout", False, "pending", ["POST"])


@pytest.mark.parametrize("options", [OURS, None])
def test_the_failure_of_a_start_by_others_is_a_failure_without_a_change(options: Model | None) -> None:
    hub = hub_with()
    show(hub, None, starting_since(1, OURS), starting_since(1, OURS), stopped(OURS))
    hub.last_stream = [failed("Spawn failed: no GPU is free")]
    item, code = perform(hub, user_options=options)
    assert (code, item["reason"], item["changed"], hub.writes) == ("spawn_failed", "no GPU is free", False, [])


def test_after_a_failed_start_by_others_with_other_options_the_task_starts_it() -> None:
    hub = hub_with()
    show(hub, PENDING, stopped(THEIRS))
    hub.last_stream = [failed("Spawn failed: no GPU is free")]
    hub.on_write = lambda *_request: show(hub, ready_since(2, OURS))
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"], methods(hub)) == (None, True, ["POST"])


@pytest.mark.parametrize("created", ["2025-01-01T00:00:00Z", None])
def test_the_lock_does_not_depend_on_the_hub_s_address(created: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    @contextmanager
    def hold_lock(name: str, patience: float) -> Iterator[None]:
        names.append(name)
        yield

    monkeypatch.setattr(_start, "hold_lock", hold_lock)
    for url in (HUB, "https://10.0.0.7/jhub/"):
        hub = hub_with(stopped(), created=created)
        hub.url = url
        answer_starts(hub, ready_since(1))
        perform(hub)
    assert len(set(names)) == (1 if created else 2)


# Others stop or restart it


@pytest.mark.parametrize("wait", [True, False])
def test_a_server_that_stops_after_the_plan_is_started(wait: bool) -> None:
    hub = hub_with()
    show(hub, ready_since(1), None)
    answer_starts(hub, ready_since(2))
    hub.answering = wait
    probed: list[str] = []
    hub.answers = lambda url: not probed.append(url)  # type: ignore[method-assign,func-returns-value]
    item, code = perform(hub, wait=wait)
    assert (code, item["changed"], item["state"], methods(hub)) == (None, True, "ready", ["POST"])


def test_a_start_by_others_that_is_cancelled_is_asked_for() -> None:
    hub = hub_with()
    show(hub, starting_since(1), starting_since(1), None)
    hub.last_stream = [failed("Spawn cancelled")]
    answer_starts(hub, ready_since(2))
    item, code = perform(hub)
    assert (code, item["changed"], methods(hub)) == (None, True, ["POST"])


def test_a_start_of_the_task_that_others_cancel_is_not_asked_for_again() -> None:
    hub = hub_with()
    show(hub, starting_since(1), None)
    answer_starts(hub, starting_since(2), None)
    item, code = perform(hub)
    assert (code, item["reason"], methods(hub)) == ("spawn_failed", STOPPED, ["POST"])


@pytest.mark.parametrize("state", ["restarted", "started"])
@pytest.mark.parametrize("event", [[failed("Spawn cancelled")], []])
@pytest.mark.parametrize("error", [UNHANDLED, None])
def test_a_restart_by_others_replaces_the_task_s_start(state: str, event: list[Model], error: Exception | None) -> None:
    hub = hub_with(ready_since(1) if state == "restarted" else None)
    hub.streams = [event]
    answer_starts(hub, starting_since(2), None, starting_since(3), ready_since(3), error=error)
    item, code = perform(hub, state)
    assert (code, item["state"], item["changed"]) == (None, "ready", True)
    assert methods(hub) == (["DELETE", "POST"] if state == "restarted" else ["POST"])


def test_the_options_of_a_restart_by_others_are_compared() -> None:
    hub = hub_with(ready_since(1))
    hold_starts(hub, starting_since(2, OURS), starting_since(2, OURS), starting_since(3, THEIRS))
    held = hub.on_write
    hub.on_write = lambda method, *more: hub.set_server(None) if method == "DELETE" else held(method, *more)
    item, code = perform(hub, "restarted", user_options=OURS)
    assert (code, item["changed"], methods(hub)) == ("conflict", True, ["DELETE", "POST"])


def test_a_newer_start_fails_with_its_own_reason() -> None:
    hub = hub_with()
    answer_starts(hub, starting_since(1), starting_since(1), starting_since(2), None)
    hub.streams = [[failed("Spawn failed: the old reason")]]
    hub.last_stream = [failed("Spawn failed: the new reason")]
    item, code = perform(hub)
    assert (code, item["reason"]) == ("spawn_failed", "the new reason")


@pytest.mark.parametrize("state", ["started", "restarted"])
@pytest.mark.parametrize("missed", [0, 1])
def test_a_start_that_exceeds_the_hub_s_timeout_is_not_asked_for_again(state: str, missed: int) -> None:
    """Not even if a proxy has answered one of the reads with 502."""
    hub = hub_with(ready_since(1) if state == "restarted" else None)
    answer_starts(hub, starting_since(2), starting_since(2), None)

    def reported() -> None:
        hub.proxy_answers += missed

    hub.last_stream = [reported, failed("Spawn failed: ")]
    item, code = perform(hub, state)
    assert (code, item["reason"], methods(hub).count("POST")) == ("spawn_failed", NO_REASON, 1)


def test_a_start_that_cannot_be_cancelled_may_be_over_at_the_next_read() -> None:
    """JupyterHub 4 refuses to stop a server that is starting."""
    hub = hub_with(ready_since(1))

    def written(method: str, *_request: Any) -> None:
        if methods(hub) == ["DELETE"]:
            raise Invalid("The hub refuses DELETE.", "x", status=400, method=method, reason="alice is pending spawn")
        hub.set_server(None if method == "DELETE" else ready_since(2))

    hub.on_write = written
    item, code = perform(hub, "restarted")
    assert (code, item["changed"], methods(hub)) == (None, True, ["DELETE", "DELETE", "POST"])


def test_a_stop_that_is_refused_for_another_reason_fails() -> None:
    hub = hub_with(ready_since(1))

    def written(method: str, *_request: Any) -> None:
        raise Invalid("The hub refuses DELETE.", "x", status=400, method=method)

    hub.on_write = written
    item, code = perform(hub, "restarted")
    assert (code, item["changed"], methods(hub)) == ("invalid", False, ["DELETE", "DELETE"])


# The hub checks the server, because the hub was restarted


def test_a_server_that_is_checked_for_too_long_is_left_alone(clock: FakeClock) -> None:
    hub, began = hub_with(CHECKED), clock.now
    item, code = perform(hub, wait_timeout=5.0)
    assert (code, item["changed"], item["state"], hub.writes) == ("timeout", False, "pending", [])
    assert "the hub was restarted, and still checks whether the server has survived that" in item["reason"]
    assert clock.now - began < 7  # the check counts as part of wait_timeout


def test_a_server_that_the_hub_s_check_finds_dead_is_started() -> None:
    hub = hub_with()
    show(hub, starting_since(1), CHECKED, CHECKED, None)
    answer_starts(hub, ready_since(2))
    item, code = perform(hub)
    assert (code, item["changed"], methods(hub)) == (None, True, ["POST"])


@pytest.mark.parametrize("state", ["stopped", "restarted"])
def test_a_stop_ends_in_time_while_the_hub_checks(state: str, clock: FakeClock) -> None:
    hub, began = hub_with(READY), clock.now

    def written(*_request: Any) -> None:
        hub.set_server(CHECKED)
        raise HubFailure("The hub failed with 500.", "x", status=500, method="DELETE")

    hub.on_write = written
    item, code = perform(hub, state, wait_timeout=10.0)
    assert (code, methods(hub)) == ("timeout", ["DELETE"])
    assert "still checks whether the server has survived that" in item["reason"]
    assert clock.now - began < 13
