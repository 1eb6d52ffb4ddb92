# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interprets a hub's answers about a start: who began it, with which options, why it failed, and what to do next.

All functions are pure: they send no requests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from html import unescape
from typing import Any

from .._hub.errors import HubError, HubFailure, Invalid, RateLimited, Timeout
from .._hub.polling import is_hub_away
from .model import ServerSpec

NO_REASON = "the hub gave no reason, as it does when a server is not ready within its start_timeout"
TIMEOUT = "Timeout, which is what JupyterHub 4 says when a server is not ready within its start_timeout"
STOPPED = "it stopped while the task waited for it"
_ENDED = ("Spawn cancelled", "Spawn failed")
"""What a hub says when a DELETE ended a start: JupyterHub 5 and 6 the first during the start, and each version the
second, without the colon of a reason, at the end of it (``SpawnProgressAPIHandler`` of apihandlers/users.py). They may
also say nothing."""
_RUNS = " is already running"
"""How a hub ends its refusal to start a server that runs (``UserServerAPIHandler.post`` of apihandlers/users.py)."""
_UNHANDLED = "Internal Server Error"
_IS_FULL = "Active user limit exceeded"
"""How a hub begins its message if its active_server_limit is reached (``spawn_single_user``, handlers/base.py)."""

MOST_LOSSES = 3
"""How many starts may be lost, or ended by others, before the task gives up."""


class StartedBy(Enum):
    """Who sent the request that began a start, as far as a task that sent a request itself can know."""

    THIS_TASK = auto()
    ANOTHER = auto()
    UNKNOWN = auto()


def find_starter(
    answer: int | HubError | None, state: str, *, was_kept_waiting: bool = False, is_answer_lost: bool = False
) -> StartedBy:
    """Return who began the start that a server is in or has had.

    ``answer`` is the hub's answer to this task's last request: a status, a failure, or None if there is none yet.
    ``state`` is the server's state since then. ``was_kept_waiting`` says whether the hub answered another request while
    it kept that one waiting. ``is_answer_lost`` says whether the answer to an earlier request of this task was lost.

    The rules are those of ``UserServerAPIHandler.post`` in the hub's apihandlers/users.py. The hub answers 201 to the
    request whose start is over. It answers 202 at once to each request that arrives while a start is pending. It
    answers 202 to the request that began the start only after its slow_spawn_timeout, so a request that it keeps
    waiting is the one that it works on. With a slow_spawn_timeout of 0, as Zero to JupyterHub sets it, that 202 also
    comes at once, and nothing distinguishes the two. With refresh_pre_spawn the hub answers 500 to the second request.
    """
    if answer == 201 or (answer == 202 and was_kept_waiting):
        return StartedBy.THIS_TASK
    if is_answer_lost or answer is None or isinstance(answer, int) or is_hub_away(answer):
        return StartedBy.UNKNOWN
    if isinstance(answer, HubFailure):
        # A 500 to the request that began a start means that the start has failed. A start that goes on is another one.
        goes_on = state == "ready" or (state == "pending" and not was_kept_waiting)
        return StartedBy.ANOTHER if goes_on else StartedBy.UNKNOWN
    return StartedBy.ANOTHER  # the hub refused this task's request


def compare_options(
    sent: dict[str, Any], shown: dict[str, Any] | None, *, may_have_additions: bool = False
) -> list[str]:
    """Return the names of the options in which a server differs from the options that were sent.

    Options that a spawner adds to the sent ones are no difference. If no options were sent, each option that the hub
    shows is a difference, unless ``may_have_additions`` says that the spawner may have added it.
    """
    shown = shown or {}
    names = sent or ({} if may_have_additions else shown)
    return sorted(str(name) for name in names if shown.get(name) != sent.get(name))


def has_start_failed(event: str | None, error: BaseException | None = None) -> bool:
    """Return whether a start failed by itself or was refused. A start that somebody else ended did not fail.

    ``event`` is the message of the stream's last event, if that says that the start failed. An empty message counts: a
    hub sends it when its start_timeout has passed. ``error`` is the failure that answered the request, if any.
    """
    if isinstance(error, HubFailure) and not error.is_passing:
        # The hub answers this after an exception of its own, and also to the request whose start a DELETE ended.
        error = None if error.reason in (None, _UNHANDLED) else error
    return error is not None or event not in (None, *_ENDED)


def explain_failure(event: str | None) -> str:
    """Return why a start failed, without the words that a hub puts before each reason.

    ``event`` is that of `has_start_failed`.
    """
    if event is None or event in _ENDED:
        return STOPPED
    reason = event.removeprefix("Spawn failed").lstrip(": ").rstrip(". ")
    return {"": NO_REASON, "Timeout": TIMEOUT}.get(reason, reason)


def extract_message(event: dict[str, Any]) -> str:
    """Return the message of a stream's event as text. Some spawners send it as HTML only."""
    return str(event.get("message") or "") or unescape(re.sub("<[^>]*>", "", str(event.get("html_message") or "")))


@dataclass(frozen=True)
class StartRequest:
    """What a task has seen since it last asked for a start of its server, or since it began to follow another's."""

    losses: int = 0
    """How many starts before it were lost, or ended by others."""
    was_busy: bool = False
    """Whether the server was seen while the hub stopped or checked it. The hub refuses a start then."""
    was_starting: bool = False
    """Whether the server was seen starting, and the hub was not away since then."""
    was_hub_away: bool = False
    """Whether the hub was away. If it was restarted, a start has ended with it."""
    failure_event: str | None = None
    """The message of the stream's last event, if that says that the start failed."""
    has_waited_for_others: bool = False
    """Whether somebody else ended the start, and the task has waited in vain for them to begin another one."""


class Verdict(Enum):
    """What a task does about a server that does not run although its start was asked for."""

    READ_STREAM = auto()
    """Read the progress stream to its end, and judge again."""
    WAIT_FOR_OTHERS = auto()
    """Somebody else ended the start. Wait a moment, because they may begin another one, and judge again."""
    FOLLOW = auto()
    """Somebody else has begun another start. Follow that start."""
    ASK_WHEN_THERE_IS_ROOM = auto()
    """Ask again when there is room for another start, see `gate.StartGate`."""
    ASK_AFTER_STOP = auto()
    """Ask again: the hub refused the start because somebody else stopped the server, or because the hub checked it."""
    ASK_AFTER_END = auto()
    """Ask again: others, or a restart of the hub, ended the start."""
    ASK_AFTER_LOSS = auto()
    """Ask again: the request was lost before the hub began a start."""
    REPORT_STATE = auto()
    """Report the server as it is: the task does not wait, and nothing says that the start failed."""
    FAIL_BY_STREAM = auto()
    """Fail with the stream's reason."""
    FAIL_BY_ANSWER = auto()
    """Fail with the stream's reason, or else with the reason of the answer."""
    FAIL_BY_SPAWNER = auto()
    """Fail with the reason of the answer. The spawner gave it, so the hub had begun the start."""
    FAIL_BY_LIMIT = auto()
    """Fail at once: as many servers run as the hub's active_server_limit allows."""
    RAISE_ANSWER = auto()
    """Raise the answer: the hub refused the request."""


ASKS_AGAIN = (Verdict.ASK_WHEN_THERE_IS_ROOM, Verdict.ASK_AFTER_STOP, Verdict.ASK_AFTER_END, Verdict.ASK_AFTER_LOSS)
COUNTS_AS_LOSS = (Verdict.ASK_AFTER_END, Verdict.ASK_AFTER_LOSS)


def judge(
    request: StartRequest,
    error: BaseException | None,
    wanted: ServerSpec,
    *,
    has_request: bool,
    seconds_left: float,
    is_stream_read: bool = False,
    has_foreign_options: bool = False,
) -> Verdict:
    """Return what to do about a server that does not run. To ask again is safe: a hub begins only one start.

    ``error`` is the failure that answered the task's request, if any. ``has_request`` says whether the present start
    can be that of the task's own request, which is answered. Otherwise the task follows somebody else's start.
    ``is_stream_read`` says whether the stream was read to its end just now. ``has_foreign_options`` says whether the
    task follows somebody else's start, which had other options than the task wants. ``seconds_left`` is the task's
    remaining time.
    """
    event, may_ask_again = request.failure_event, request.losses < MOST_LOSSES and seconds_left > 0
    if is_full(error):
        return Verdict.FAIL_BY_LIMIT
    may_wait_for_room = isinstance(error, RateLimited) and wanted.wait
    if isinstance(error, RateLimited) and may_wait_for_room and error.retry_after is not None:
        return Verdict.ASK_WHEN_THERE_IS_ROOM
    if isinstance(error, Invalid) and request.was_busy:
        return Verdict.ASK_AFTER_STOP
    # A hub refuses to start a server that runs. Somebody else has started it first, and has stopped it since.
    has_run = isinstance(error, Invalid) and str(error.reason).endswith(_RUNS)
    if has_run or not has_start_failed(None, error):
        if event is None and not is_stream_read:
            return Verdict.READ_STREAM
        # The stream may only know of the failure of another start.
        was_ended = not has_start_failed(event) or has_foreign_options
        if was_ended and not request.has_waited_for_others:
            # Somebody who ends this task's start may want the server stopped, so wait for them first. Do not wait in
            # three cases: the task restarts the server, a restart of the hub may have ended the start, or the task has
            # followed somebody else's start.
            if has_request and wanted.state != "restarted" and not request.was_hub_away:
                return Verdict.WAIT_FOR_OTHERS
            if may_ask_again:
                return Verdict.ASK_AFTER_END
    if not isinstance(error, HubError):
        return _fail_by_stream(request, wanted, has_request) if error is None else Verdict.RAISE_ANSWER
    is_lost = is_hub_away(error)
    if is_lost and request.was_starting:
        return _fail_by_stream(request, wanted, has_request)  # only the answer was lost
    # A spawner may choose any status for its failure, also 503. The stream gives the same reason then.
    if error.reason and not event and not is_stream_read and (is_lost or not isinstance(error, HubFailure)):
        return Verdict.READ_STREAM
    is_of_spawner = bool(error.reason) and str(error.reason) in (event or "")
    if is_lost and not is_of_spawner and may_ask_again:
        return Verdict.ASK_AFTER_LOSS
    if isinstance(error, Timeout) and request.losses + 1 < MOST_LOSSES:
        return _fail_by_stream(request, wanted, has_request)  # the hub's slow_spawn_timeout is longer than the task's
    if isinstance(error, HubFailure):
        return Verdict.FAIL_BY_ANSWER
    if is_of_spawner:
        return Verdict.FAIL_BY_SPAWNER
    return Verdict.ASK_WHEN_THERE_IS_ROOM if may_wait_for_room else Verdict.RAISE_ANSWER


def is_full(error: BaseException | None) -> bool:
    """Return whether a hub refuses a start because its active_server_limit is reached. Waiting does not help then."""
    return isinstance(error, RateLimited) and error.retry_after is None and str(error.reason).startswith(_IS_FULL)


def _fail_by_stream(request: StartRequest, wanted: ServerSpec, has_request: bool) -> Verdict:
    """Return the verdict on a start if only the stream can say why it failed.

    A task that does not wait, and that has not seen its start, cannot know whether the start failed.
    """
    is_unseen = has_request and not request.was_starting
    return Verdict.REPORT_STATE if is_unseen and not wanted.wait else Verdict.FAIL_BY_STREAM
