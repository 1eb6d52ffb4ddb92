# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_spawning and _claims: one starts a server while others start, restart, cancel or stop it, or the hub checks it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import polling
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import HubFailure, Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import claim as _claims
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import start as _spawning
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.flow import server_batch
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.model import ServerSpec
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.starts import NO_REASON, STOPPED
from support.fakes.scripted_hub import HUB, PENDING, READY, Clock, Model, StandInHub, hub_with

OURS, THEIRS = {"profile": "cpu"}, {"profile": "gpu"}
CHECKED: Model = {**READY, "ready": False, "pending": "check"}
UNHANDLED = HubFailure("The hub failed.", "x", status=500, method="POST", reason="Internal Server Error")
RUNS = Invalid("The hub refuses POST.", "x", status=400, method="POST", reason="alice is already running")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "PAUSE", 0.005)
    monkeypatch.setattr(polling, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(_spawning, "_QUICK", 0.05)
    monkeypatch.setattr(_spawning, "_GRACE", 0.1)
    monkeypatch.setattr(_claims, "_COMING", 0.05)


def perform(hub: StandInHub, state: str = "started", **more: Any) -> tuple[Model, str | None]:
    """The result of the task for its one server, and the code of its failure."""
    wanted = ServerSpec("alice", "", state, **{"wait_timeout": 120.0, **more})
    flow = server_batch(hub, [wanted], lambda line: None, concurrency=1)  # type: ignore[arg-type]
    [item] = run(flow, check_mode=False)["servers"]
    return item, (item["failure"] or {}).get("code")


def methods(hub: StandInHub) -> list[str]:
    return [method for method, *_more in hub.writes]


def ready(runner: int, options: Model | None = None) -> Model:
    return {**READY, "started": f"2026-01-01T00:00:{runner:02}Z", "user_options": options}


def starting(runner: int, options: Model | None = None) -> Model:
    return {**PENDING, "started": f"2026-01-01T00:00:{runner:02}Z", "user_options": options}


def stopped(options: Model | None = None) -> Model:
    return {"ready": False, "pending": None, "url": "", "started": None, "user_options": options}


def failed(message: str) -> Model:
    return {"progress": 100, "failed": True, "message": message}


def shows(hub: StandInHub, *servers: Model | None) -> Callable[[], None]:
    """From the next look on it shows these, one a look, and the last one for good."""
    left = list(servers)

    def look() -> None:
        hub.set_server(left.pop(0) if len(left) > 1 else left[0])

    hub.on_look = look
    return look


def answers(hub: StandInHub, *servers: Model | None, status: int = 202, error: Exception | None = None) -> None:
    """To a start it says that, and shows these from then on."""
    hub.status = status

    def written(method: str, *_request: Any) -> None:
        if method == "POST":
            shows(hub, *servers)
            if error is not None:
                raise error
        else:
            hub.set_server(None)

    hub.on_write = written


def holds(hub: StandInHub, *servers: Model) -> None:
    """It keeps a request to start waiting, shows the first of these meanwhile, and says "accepted" after two looks."""
    hub.status = 202

    def written(*_request: Any) -> None:
        hub.set_server(servers[0])
        seen = hub.looks + 2
        while hub.looks < seen:
            time.sleep(0.005)
        shows(hub, *servers)

    hub.on_write = written


# Others start it with other options


def test_a_restart_for_other_options_is_not_done_by_another_one_with_yet_others() -> None:
    hub = hub_with()
    shows(hub, ready(1), ready(2, THEIRS))
    item, code = perform(hub, on_options_change="restart", user_options=OURS)
    assert (code, item["changed"], hub.writes) == ("conflict", False, [])
    assert "another start came first, at 2026-01-01T00:00:02Z. They differ in profile." in item["reason"]


@pytest.mark.parametrize("error", [None, RUNS])
def test_a_dead_server_that_another_starts_with_other_options_is_not_ours(error: Exception | None) -> None:
    hub = hub_with(ready(1))
    hub.answering = False

    def written(*_request: Any) -> None:
        hub.set_server(ready(2, THEIRS))
        hub.answering = True
        if error is not None:
            raise error

    hub.on_write, hub.status = written, 202
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"]) == ("conflict", False)


def test_one_that_only_seemed_dead_may_have_other_options() -> None:
    hub = hub_with(ready(1, THEIRS))
    hub.answering = False

    def written(*_request: Any) -> None:
        hub.answering = True
        raise RUNS

    hub.on_write = written
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"], item["state"]) == (None, False, "ready")


def test_a_dead_server_that_another_has_started_by_now_is_not_asked_for() -> None:
    hub = hub_with()
    shows(hub, ready(1), starting(2), ready(2))
    probes: list[str] = []

    def answering(url: str) -> bool:
        probes.append(url)
        return len(probes) > 2  # both of those of the plan fail

    hub.answers = answering  # type: ignore[method-assign]
    item, code = perform(hub)
    assert (code, item["changed"], hub.writes) == (None, False, [])


@pytest.mark.parametrize("asks", [True, False])
def test_other_options_are_seen_while_it_starts(asks: bool) -> None:
    """It is not waited for then, and not stopped in the end."""
    hub = hub_with(None if asks else starting(1, THEIRS))
    answers(hub, starting(1, THEIRS))
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"], methods(hub)) == ("conflict", False, ["POST"] if asks else [])


def test_early_in_a_start_the_options_are_those_of_the_last_one() -> None:
    hub = hub_with(stopped(THEIRS))
    early = {**PENDING, "started": None, "user_options": THEIRS}
    answers(hub, early, early, starting(1, OURS), ready(1, OURS))
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"]) == (None, True)


def test_and_so_they_are_for_one_who_does_not_wait() -> None:
    hub = hub_with(stopped(THEIRS))
    early = {**PENDING, "started": None, "user_options": THEIRS}
    answers(hub, early, starting(1, OURS))
    item, code = perform(hub, user_options=OURS, wait=False)
    assert (code, item["state"], item["user_options"]) == (None, "pending", OURS)


# Its spawner changes the options


def test_what_a_spawner_makes_of_our_options_is_ours_where_the_hub_kept_us_waiting() -> None:
    hub = hub_with()
    holds(hub, starting(1, THEIRS), ready(1, THEIRS))
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"], item["user_options"]) == (None, True, THEIRS)


def test_and_where_ours_were_seen_before() -> None:
    hub = hub_with()
    answers(hub, starting(1, OURS), starting(1, THEIRS), ready(1, THEIRS))
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"]) == (None, True)


def test_where_nothing_tells_whose_it_is_both_are_named() -> None:
    hub = hub_with()
    answers(hub, ready(1, THEIRS))
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"]) == ("conflict", False)
    assert "another start came first, at 2026-01-01T00:00:01Z, or its spawner has changed them." in item["reason"]


# Others start it with the same options


def test_who_is_told_500_while_another_s_start_is_pending_has_not_started_it() -> None:
    """With refresh_pre_spawn."""
    hub = hub_with()
    answers(hub, starting(1, OURS), ready(1, OURS), error=UNHANDLED)
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"], item["state"]) == (None, False, "ready")


def test_and_does_not_stop_it_where_it_is_late(clock: Clock) -> None:
    hub = hub_with()
    answers(hub, starting(1, OURS), error=UNHANDLED)
    item, code = perform(hub, user_options=OURS, wait_timeout=10.0)
    assert (code, item["changed"], item["state"], methods(hub)) == ("timeout", False, "pending", ["POST"])


@pytest.mark.parametrize("options", [OURS, None])
def test_the_failure_of_another_s_start_is_one_and_no_change(options: Model | None) -> None:
    hub = hub_with()
    shows(hub, None, starting(1, OURS), starting(1, OURS), stopped(OURS))
    hub.last_stream = [failed("Spawn failed: no GPU is free")]
    item, code = perform(hub, user_options=options)
    assert (code, item["reason"], item["changed"], hub.writes) == ("spawn_failed", "no GPU is free", False, [])


def test_the_failure_of_another_s_start_with_other_options_is_not_ours() -> None:
    hub = hub_with()
    shows(hub, PENDING, stopped(THEIRS))
    hub.last_stream = [failed("Spawn failed: no GPU is free")]
    hub.on_write = lambda *_request: shows(hub, ready(2, OURS))
    item, code = perform(hub, user_options=OURS)
    assert (code, item["changed"], methods(hub)) == (None, True, ["POST"])


@pytest.mark.parametrize("created", ["2025-01-01T00:00:00Z", None])
def test_who_starts_one_server_by_two_addresses_waits_for_the_other(
    created: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    @contextmanager
    def hold_lock(name: str, patience: float) -> Iterator[None]:
        names.append(name)
        yield

    monkeypatch.setattr(_spawning, "hold_lock", hold_lock)
    for url in (HUB, "https://10.0.0.7/jhub/"):
        hub = hub_with(stopped(), created=created)
        hub.url = url
        answers(hub, ready(1))
        perform(hub)
    assert len(set(names)) == (1 if created else 2)


# Others stop or restart it


@pytest.mark.parametrize("wait", [True, False])
def test_one_that_stops_while_it_is_looked_at_is_started(wait: bool) -> None:
    hub = hub_with()
    shows(hub, ready(1), None)
    answers(hub, ready(2))
    hub.answering = wait
    probed: list[str] = []
    hub.answers = lambda url: not probed.append(url)  # type: ignore[method-assign,func-returns-value]
    item, code = perform(hub, wait=wait)
    assert (code, item["changed"], item["state"], methods(hub)) == (None, True, "ready", ["POST"])


def test_a_start_of_another_that_is_cancelled_is_no_reason_not_to_ask() -> None:
    hub = hub_with()
    shows(hub, starting(1), starting(1), None)
    hub.last_stream = [failed("Spawn cancelled")]
    answers(hub, ready(2))
    item, code = perform(hub)
    assert (code, item["changed"], methods(hub)) == (None, True, ["POST"])


def test_it_is_asked_for_so_often_and_no_more() -> None:
    hub = hub_with()
    shows(hub, starting(1), None)
    answers(hub, starting(2), None)
    item, code = perform(hub)
    assert (code, item["reason"], methods(hub)) == ("spawn_failed", STOPPED, ["POST"])


@pytest.mark.parametrize("state", ["restarted", "started"])
@pytest.mark.parametrize("event", [[failed("Spawn cancelled")], []])
@pytest.mark.parametrize("error", [UNHANDLED, None])
def test_a_start_that_another_restart_ends_is_done_by_that(
    state: str, event: list[Model], error: Exception | None
) -> None:
    hub = hub_with(ready(1) if state == "restarted" else None)
    hub.streams = [event]
    answers(hub, starting(2), None, starting(3), ready(3), error=error)
    item, code = perform(hub, state)
    assert (code, item["state"], item["changed"]) == (None, "ready", True)
    assert methods(hub) == (["DELETE", "POST"] if state == "restarted" else ["POST"])


def test_the_options_of_that_are_compared() -> None:
    hub = hub_with(ready(1))
    holds(hub, starting(2, OURS), starting(2, OURS), starting(3, THEIRS))
    held = hub.on_write
    hub.on_write = lambda method, *more: hub.set_server(None) if method == "DELETE" else held(method, *more)
    item, code = perform(hub, "restarted", user_options=OURS)
    assert (code, item["changed"], methods(hub)) == ("conflict", True, ["DELETE", "POST"])


def test_the_reason_of_an_earlier_start_is_not_that_of_a_newer_one() -> None:
    hub = hub_with()
    answers(hub, starting(1), starting(1), starting(2), None)
    hub.streams = [[failed("Spawn failed: the old reason")]]
    hub.last_stream = [failed("Spawn failed: the new reason")]
    item, code = perform(hub)
    assert (code, item["reason"]) == ("spawn_failed", "the new reason")


@pytest.mark.parametrize("state", ["started", "restarted"])
@pytest.mark.parametrize("missed", [0, 1])
def test_a_start_that_runs_into_its_timeout_is_not_asked_for_again(state: str, missed: int) -> None:
    """Also where one of the looks at it met a proxy's 502."""
    hub = hub_with(ready(1) if state == "restarted" else None)
    answers(hub, starting(2), starting(2), None)

    def told() -> None:
        hub.proxy_answers += missed

    hub.last_stream = [told, failed("Spawn failed: ")]
    item, code = perform(hub, state)
    assert (code, item["reason"], methods(hub).count("POST")) == ("spawn_failed", NO_REASON, 1)


def test_a_start_that_cannot_be_cancelled_may_be_over_when_it_is_looked_at() -> None:
    """JupyterHub 4 refuses to stop what is starting."""
    hub = hub_with(ready(1))

    def written(method: str, *_request: Any) -> None:
        if methods(hub) == ["DELETE"]:
            raise Invalid("The hub refuses DELETE.", "x", status=400, method=method, reason="alice is pending spawn")
        hub.set_server(None if method == "DELETE" else ready(2))

    hub.on_write = written
    item, code = perform(hub, "restarted")
    assert (code, item["changed"], methods(hub)) == (None, True, ["DELETE", "DELETE", "POST"])


def test_a_stop_that_is_refused_for_another_reason_is_told() -> None:
    hub = hub_with(ready(1))

    def written(method: str, *_request: Any) -> None:
        raise Invalid("The hub refuses DELETE.", "x", status=400, method=method)

    hub.on_write = written
    item, code = perform(hub, "restarted")
    assert (code, item["changed"], methods(hub)) == ("invalid", False, ["DELETE", "DELETE"])


# The hub checks it, since it was started again


def test_a_server_that_is_checked_for_too_long_is_left_alone(clock: Clock) -> None:
    hub, began = hub_with(CHECKED), clock.now
    item, code = perform(hub, wait_timeout=5.0)
    assert (code, item["changed"], item["state"], hub.writes) == ("timeout", False, "pending", [])
    assert "the hub has been restarted, and still checks whether it has outlived that" in item["reason"]
    assert clock.now - began < 7  # the check is counted in


def test_one_that_turns_out_to_be_dead_is_started() -> None:
    hub = hub_with()
    shows(hub, starting(1), CHECKED, CHECKED, None)
    answers(hub, ready(2))
    item, code = perform(hub)
    assert (code, item["changed"], methods(hub)) == (None, True, ["POST"])


@pytest.mark.parametrize("state", ["stopped", "restarted"])
def test_a_stop_ends_in_time_while_the_hub_checks(state: str, clock: Clock) -> None:
    hub, began = hub_with(READY), clock.now

    def written(*_request: Any) -> None:
        hub.set_server(CHECKED)
        raise HubFailure("The hub failed with 500.", "x", status=500, method="DELETE")

    hub.on_write = written
    item, code = perform(hub, state, wait_timeout=10.0)
    assert (code, methods(hub)) == ("timeout", ["DELETE"])
    assert "still checks whether it has outlived that" in item["reason"]
    assert clock.now - began < 13
