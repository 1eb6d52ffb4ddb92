# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_server/verdict: who began a start, with which options, why it failed, and what to do next, from a hub's answers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    Invalid,
    MissingScope,
    RateLimited,
    Timeout,
    Unreachable,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.model import ServerSpec
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.verdict import (
    MOST_LOSSES,
    NO_REASON,
    STOPPED,
    TIMEOUT,
    StartedBy,
    StartRequest,
    Verdict,
    compare_options,
    explain_failure,
    find_starter,
    has_start_failed,
    judge,
)

REFUSED = Invalid("The hub refuses POST.", "x", status=400, method="POST", reason="alice is already running")
FORBIDDEN = MissingScope("The hub forbids POST.", "x", status=403, method="POST")
UNHANDLED = HubFailure("The hub failed.", "x", status=500, method="POST", reason="Internal Server Error")
FAILED = HubFailure("The hub failed.", "x", status=500, method="POST", reason="no such image")
GATEWAY = HubFailure("The hub failed.", "x", status=502, method="POST")
NO_ROOM = RateLimited("The hub has no room.", "x", status=429, method="POST", retry_after=40.0)
OURS, ANOTHERS, UNKNOWN = StartedBy.THIS_TASK, StartedBy.ANOTHER, StartedBy.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "state", "more", "starter"),
    [
        # The hub answers 201 to the request whose start is over, even if JupyterHub 6 still shows it as pending.
        (201, "ready", {}, OURS),
        (201, "pending", {}, OURS),
        (201, "ready", {"is_answer_lost": True}, OURS),
        # 202 after slow_spawn_timeout.
        (202, "pending", {"was_kept_waiting": True}, OURS),
        (202, "ready", {"was_kept_waiting": True}, OURS),
        # 202 at once: from a hub whose slow_spawn_timeout is 0, or to the second request.
        (202, "pending", {}, UNKNOWN),
        (202, "ready", {}, UNKNOWN),
        # No answer yet: with refresh_pre_spawn a hub keeps the second request waiting, too.
        (None, "pending", {"was_kept_waiting": True}, UNKNOWN),
        (None, "ready", {}, UNKNOWN),
        # The answer to the second request, with refresh_pre_spawn.
        (UNHANDLED, "pending", {}, ANOTHERS),
        (UNHANDLED, "ready", {}, ANOTHERS),
        (UNHANDLED, "ready", {"was_kept_waiting": True}, ANOTHERS),
        # The task's own start may fail so: its process has died, and the hub has not given up yet.
        (UNHANDLED, "pending", {"was_kept_waiting": True}, UNKNOWN),
        (FAILED, "stopped", {}, UNKNOWN),
        (UNHANDLED, "ready", {"is_answer_lost": True}, UNKNOWN),
        # A request that the hub refuses begins nothing.
        (REFUSED, "ready", {}, ANOTHERS),
        (FORBIDDEN, "pending", {"was_kept_waiting": True}, ANOTHERS),
        (REFUSED, "ready", {"is_answer_lost": True}, UNKNOWN),
        (NO_ROOM, "ready", {}, ANOTHERS),
        (NO_ROOM, "pending", {"was_kept_waiting": True}, ANOTHERS),
        # A lost answer says nothing.
        (GATEWAY, "ready", {}, UNKNOWN),
        (Unreachable("No answer.", "x"), "pending", {}, UNKNOWN),
        (Timeout("It did not answer.", "x"), "pending", {"was_kept_waiting": True}, UNKNOWN),
    ],
)
def test_who_began_a_start(
    answer: int | HubError | None, state: str, more: dict[str, bool], starter: StartedBy
) -> None:
    assert find_starter(answer, state, **more) is starter


@pytest.mark.parametrize(
    ("sent", "shown", "names"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 1, "added": True}, []),
        ({"a": 1, "b": 2}, {"a": 2}, ["a", "b"]),
        ({"a": 1}, None, ["a"]),
        ({}, {"added": True}, ["added"]),
        ({}, None, []),
    ],
)
def test_compare_options(sent: dict[str, Any], shown: dict[str, Any] | None, names: list[str]) -> None:
    assert compare_options(sent, shown) == names
    assert compare_options(sent, shown, may_have_additions=True) == (names if sent else [])


@pytest.mark.parametrize(
    ("event", "fails", "reason"),
    [
        (None, False, STOPPED),
        ("Spawn cancelled", False, STOPPED),
        ("Spawn failed: ", True, NO_REASON),
        ("Spawn failed", False, STOPPED),
        ("", True, NO_REASON),
        ("Spawn failed: Timeout", True, TIMEOUT),
        ("Spawn failed: no GPU is free.", True, "no GPU is free"),
    ],
)
def test_the_meaning_of_a_stream_s_last_event(event: str | None, fails: bool, reason: str) -> None:
    assert (has_start_failed(event), explain_failure(event)) == (fails, reason)


@pytest.mark.parametrize(("error", "fails"), [(UNHANDLED, False), (FAILED, True), (GATEWAY, True), (REFUSED, True)])
def test_the_meaning_of_a_failed_answer(error: HubError, fails: bool) -> None:
    """JupyterHub 5 and 6 answer 500 "Internal Server Error" to a request whose start a DELETE ends."""
    assert has_start_failed(None, error) is fails


# What a task does about a server that does not run

NO_GPU, CANCELLED = "Spawn failed: no GPU is free", "Spawn cancelled"
LOST, DELAYED = Unreachable("No answer.", "x"), Timeout("It did not answer POST within 30 s.", "x")
EXHAUSTED = MOST_LOSSES


def no_room(retry_after: float | None) -> RateLimited:
    return RateLimited("The hub has no room.", "x", status=429, method="POST", retry_after=retry_after)


FULL = RateLimited(
    "The hub has no room.", "x", status=429, method="POST",
    reason="Active user limit exceeded. Try again in a few minutes",
)  # fmt: skip


def spawner_failed(status: int, kind: type[HubError] = HubFailure) -> HubError:
    """The answer of a spawner whose stream ends with `NO_GPU`."""
    return kind("The hub failed.", "x", status=status, method="POST", reason="no GPU is free")


@pytest.mark.parametrize(
    ("request_", "error", "more", "verdict"),
    [
        # The hub has no room for another start, and says when to come back.
        ({}, no_room(5.0), {}, Verdict.ASK_WHEN_THERE_IS_ROOM),
        ({"losses": EXHAUSTED}, no_room(0.0), {}, Verdict.ASK_WHEN_THERE_IS_ROOM),
        ({}, no_room(60.0), {}, Verdict.ASK_WHEN_THERE_IS_ROOM),  # an own start may end sooner, and the gate knows it
        ({}, no_room(5.0), {"wait": False}, Verdict.RAISE_ANSWER),
        # It does not say when. The reason may be that of the spawner, and the stream shows that.
        ({}, no_room(None), {}, Verdict.ASK_WHEN_THERE_IS_ROOM),
        ({}, no_room(None), {"wait": False}, Verdict.RAISE_ANSWER),
        ({}, spawner_failed(429, RateLimited), {}, Verdict.READ_STREAM),
        ({}, spawner_failed(429, RateLimited), {"is_stream_read": True}, Verdict.ASK_WHEN_THERE_IS_ROOM),
        ({"failure_event": NO_GPU}, spawner_failed(429, RateLimited), {}, Verdict.FAIL_BY_SPAWNER),
        (
            {"failure_event": "Spawn failed: an old reason"},
            spawner_failed(429, RateLimited),
            {},
            Verdict.ASK_WHEN_THERE_IS_ROOM,
        ),
        # It is full, so it does not help to wait.
        ({}, FULL, {}, Verdict.FAIL_BY_LIMIT),
        ({}, FULL, {"wait": False}, Verdict.FAIL_BY_LIMIT),
        # Somebody else stops the server, or the hub checks it.
        ({"was_busy": True, "losses": EXHAUSTED}, REFUSED, {}, Verdict.ASK_AFTER_STOP),
        ({"was_busy": True}, FORBIDDEN, {}, Verdict.RAISE_ANSWER),
        # The request began a start that is over, and nothing says that it failed.
        ({}, None, {}, Verdict.READ_STREAM),
        ({}, None, {"is_stream_read": True}, Verdict.WAIT_FOR_OTHERS),
        ({"failure_event": CANCELLED}, None, {}, Verdict.WAIT_FOR_OTHERS),
        ({"failure_event": CANCELLED}, UNHANDLED, {}, Verdict.WAIT_FOR_OTHERS),
        ({"failure_event": CANCELLED, "has_waited_for_others": True}, None, {}, Verdict.FAIL_BY_STREAM),
        ({"failure_event": CANCELLED, "has_waited_for_others": True}, UNHANDLED, {}, Verdict.FAIL_BY_ANSWER),
        ({"has_waited_for_others": True}, None, {}, Verdict.READ_STREAM),
        (
            {"failure_event": CANCELLED, "has_waited_for_others": True, "was_hub_away": True},
            None,
            {},
            Verdict.FAIL_BY_STREAM,
        ),
        # A restart wants it to run, whoever ends the start. So does a task whose hub was restarted.
        ({"failure_event": CANCELLED}, None, {"state": "restarted"}, Verdict.ASK_AFTER_END),
        ({"failure_event": CANCELLED, "was_hub_away": True}, None, {}, Verdict.ASK_AFTER_END),
        ({"failure_event": CANCELLED, "losses": EXHAUSTED - 1}, None, {"state": "restarted"}, Verdict.ASK_AFTER_END),
        ({"failure_event": CANCELLED, "losses": EXHAUSTED}, None, {"state": "restarted"}, Verdict.FAIL_BY_STREAM),
        ({"failure_event": CANCELLED}, None, {"state": "restarted", "seconds_left": 0.0}, Verdict.FAIL_BY_STREAM),
        # The task has followed somebody else's start.
        ({"failure_event": CANCELLED}, None, {"has_request": False}, Verdict.ASK_AFTER_END),
        ({"failure_event": NO_GPU}, None, {"has_request": False}, Verdict.FAIL_BY_STREAM),
        ({"failure_event": NO_GPU}, None, {"has_request": False, "wait": False}, Verdict.FAIL_BY_STREAM),
        (
            {"failure_event": NO_GPU},
            None,
            {"has_request": False, "has_foreign_options": True},
            Verdict.ASK_AFTER_END,
        ),
        # Somebody else had started it before the request came, and has stopped it since.
        ({}, REFUSED, {}, Verdict.READ_STREAM),
        ({}, REFUSED, {"is_stream_read": True}, Verdict.WAIT_FOR_OTHERS),
        ({}, REFUSED, {"is_stream_read": True, "state": "restarted"}, Verdict.ASK_AFTER_END),
        ({"losses": EXHAUSTED}, REFUSED, {"is_stream_read": True, "state": "restarted"}, Verdict.RAISE_ANSWER),
        # The start failed by itself.
        ({"failure_event": NO_GPU}, None, {}, Verdict.FAIL_BY_STREAM),
        ({"failure_event": ""}, None, {}, Verdict.FAIL_BY_STREAM),
        ({"failure_event": NO_GPU, "was_starting": True}, None, {"wait": False}, Verdict.FAIL_BY_STREAM),
        ({"failure_event": NO_GPU}, None, {"wait": False}, Verdict.REPORT_STATE),
        ({"failure_event": NO_GPU}, UNHANDLED, {}, Verdict.FAIL_BY_ANSWER),
        ({}, FAILED, {}, Verdict.FAIL_BY_ANSWER),
        # The request was lost, or only its answer.
        ({}, LOST, {}, Verdict.ASK_AFTER_LOSS),
        ({}, GATEWAY, {"wait": False}, Verdict.ASK_AFTER_LOSS),
        ({"losses": EXHAUSTED}, LOST, {}, Verdict.RAISE_ANSWER),
        ({"losses": EXHAUSTED}, GATEWAY, {}, Verdict.FAIL_BY_ANSWER),
        ({}, LOST, {"seconds_left": 0.0}, Verdict.RAISE_ANSWER),
        ({"was_starting": True}, LOST, {}, Verdict.FAIL_BY_STREAM),
        ({"was_starting": True}, LOST, {"wait": False}, Verdict.FAIL_BY_STREAM),
        # The hub's slow_spawn_timeout is longer than the task waits for an answer.
        ({}, DELAYED, {"seconds_left": 0.0}, Verdict.FAIL_BY_STREAM),
        ({}, DELAYED, {"seconds_left": 0.0, "wait": False}, Verdict.REPORT_STATE),
        ({"losses": EXHAUSTED - 1}, DELAYED, {"seconds_left": 0.0}, Verdict.RAISE_ANSWER),
        # The spawner answers with a status of its own.
        ({}, spawner_failed(503), {}, Verdict.READ_STREAM),
        ({}, spawner_failed(503), {"is_stream_read": True}, Verdict.ASK_AFTER_LOSS),
        ({"failure_event": NO_GPU}, spawner_failed(503), {}, Verdict.FAIL_BY_ANSWER),
        ({}, spawner_failed(400, Invalid), {}, Verdict.READ_STREAM),
        ({"failure_event": NO_GPU}, spawner_failed(400, Invalid), {}, Verdict.FAIL_BY_SPAWNER),
        ({"failure_event": NO_GPU}, REFUSED, {}, Verdict.RAISE_ANSWER),
        ({}, spawner_failed(400, Invalid), {"is_stream_read": True}, Verdict.RAISE_ANSWER),
        ({}, FORBIDDEN, {}, Verdict.RAISE_ANSWER),
        # Not a failure of the hub.
        ({}, ZeroDivisionError(), {}, Verdict.RAISE_ANSWER),
    ],
)
def test_what_to_do_about_a_server_that_does_not_run(
    request_: dict[str, Any], error: Exception | None, more: dict[str, Any], verdict: Verdict
) -> None:
    more = {"has_request": True, "seconds_left": 30.0, **more}
    wanted = ServerSpec("alice", "", more.pop("state", "started"), wait=more.pop("wait", True))
    assert judge(StartRequest(**request_), error, wanted, **more) is verdict
