# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts a server: asks the hub, and follows the start until the server itself answers or the start has failed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .._hub import polling
from .._hub.client import HubClient
from .._hub.errors import (
    Conflict,
    HubError,
    Invalid,
    RateLimited,
    SpawnFailed,
    Timeout,
)
from .._hub.models import Server
from .._hub.polling import is_hub_away, poll_until
from .._hub.responses import NO_ROUTE_HINT
from .._hub.scopes import START
from .._hub.server_client import ServerClient
from .._hub.threads import hold_lock, in_background
from . import stop
from .claim import Claim, SentRequest
from .event_log import EventLog
from .gate import Place
from .model import BUSY, ServerSpec, StartOptions, read, server_path
from .verdict import (
    ASKS_AGAIN,
    COUNTS_AS_LOSS,
    StartRequest,
    Verdict,
    explain_failure,
    extract_message,
    judge,
)

_LONGEST_REDIRECT, _LONGEST_REDIRECT_BEFORE = 15.0, 2.0
"""Seconds for which the hub may answer at the address of a server that it calls ready: a server that was just started,
and a server that ran before. The hub's proxy may not have the route of a new server yet."""
_LOCK_PATIENCE = 5.0
"""Seconds to wait for another task on this machine that starts the same server, until the hub has begun that start."""
_STOP_TIMEOUT = 60.0
"""Seconds to wait until the hub has cancelled a start that was not ready in time."""
_GRACE = 2.0
"""Seconds to wait for somebody else who has stopped a server to start it again. Also the seconds to wait until the hub
shows the options of a start."""


class Spawn:
    """A server that is to run, from the request to start it to the server's own answer. The task may send no request.

    ``server`` is the server as the task has read it last. ``start_time`` is when the task began (of `time.monotonic`).
    The server's ``wait_timeout`` counts from then. ``place`` is that of the start at the gate of the task. ``report``
    takes one line on the progress.
    """

    def __init__(
        self,
        hub: HubClient,
        wanted: ServerSpec,
        options: StartOptions,
        server: Server,
        claim: Claim,
        *,
        start_time: float,
        place: Place,
        report: Callable[[str], None],
    ) -> None:
        self.server = server
        """The server as the hub has shown it last."""
        self._hub = hub
        self._wanted = wanted
        self._options = options
        self._claim = claim
        self._place = place
        self._report = report
        self._log = EventLog(start_time, report)
        self._deadline = start_time + wanted.wait_timeout
        self._reader = hub.with_deadline(self._deadline)
        """The client for all requests that only read."""
        self._request = StartRequest()
        self._post_lock = threading.Lock()
        """Held while a request to start is created, so that none is sent after `cancel`."""
        self._is_cancelled = False
        self._refusal: RateLimited | None = None
        """The last answer by which the hub refused the start because it had no room."""
        self._silence_start: float | None = None
        """Since when the hub calls the server ready although the server does not answer."""
        self._error_status: int | None = None
        """The status with which the server itself failed when this looked last."""
        self._hub_failure: HubError | None = None
        """Why the hub did not answer the last request, or None if it did."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """The spawner's messages so far, for the result."""
        return self._log.events

    @property
    def has_started(self) -> bool:
        """Whether this task started the server, as far as the task can know."""
        return self._claim.has_started

    @property
    def seconds_waited(self) -> float:
        """For how long the start has waited for its turn at the gate."""
        return self._place.seconds_waited

    def request(self, losses: int = 0) -> None:
        """Ask the hub to start the server, when it is this server's turn. Return when the hub has begun the start or
        refused it.

        Sends no request if somebody else has started the server: a hub answers "accepted" to each request that arrives
        while a start is pending. ``losses`` are the starts before this one that were lost, or ended by others.
        """
        self._request = StartRequest(losses)
        if self.server.pending in BUSY:
            poll_until(lambda: self._read().pending not in BUSY, self._deadline)
        if not self._wait_for_turn():
            self._claim.begin_request()
            return  # somebody else has started it meanwhile
        with hold_lock(f"{self.server.user_created or self._hub.url} {self._wanted.title}", _LOCK_PATIENCE):
            server = self._try_to_read()
            self._claim.begin_request()
            # If a server that the hub calls ready does not answer, a request to start it makes the hub check it.
            may_be_dead = server is not None and server.state == "ready" and self._claim.is_running_since_before(server)
            # But it would do nothing if the server only cannot be reached from this machine.
            is_misplaced = may_be_dead and self._server_at(self.server.url).is_hub_answering()
            is_needed = server is None or server.state == "stopped" or server.pending in BUSY or may_be_dead
            if is_needed and not is_misplaced:
                self._send_request()
        if self._claim.sent is None:
            self._place.end()

    def _wait_for_turn(self) -> bool:
        """Wait until this server may be started. Return False if somebody else has started it meanwhile.

        Raises `RateLimited` if the hub has no room before the deadline.
        """
        # A task that does not wait asks once for each server, whatever else is under way.
        if not self._wanted.wait or self._place.wait_for_turn(self._deadline):
            return True
        if self._is_cancelled:
            raise self._cancelled()
        server = self._try_to_read()
        if server is None or server.state == "stopped" or server.pending in BUSY:
            raise self._no_room()
        return False

    def _send_request(self) -> None:
        self._report("asked to start")
        # The hub holds a POST for up to 10 s (its slow_spawn_timeout). In a background thread the POST does not keep
        # the task from reading the server and the stream. The client's own thread for each request does not help here:
        # it only limits the time of the request. `write` also may send a second request, which reads the token's scopes
        # after a 403.
        with self._post_lock:
            if self._is_cancelled:
                raise self._cancelled()
            sent = self._claim.sent = SentRequest(in_background(self._post))
        # Until the hub has begun the start, the stream shows the failure of an earlier one. So do not read it yet.
        stop.wait_for_answer(sent.answer, lambda: self._read().state != "stopped", self._deadline)
        if self._claim.is_answered and sent.answer.exception() is None:
            self._place.accept()

    def _cancelled(self) -> Conflict:
        return Conflict(f"The start of the {self._wanted.title} was cancelled.", "Run the task again.")

    def _post(self) -> int:
        wanted = self._wanted
        path = server_path(wanted.user, wanted.name)
        status, _answer = self._hub.write("POST", *path, scope=START, what=wanted.title, body=self._options.body)
        return status

    def read_result(self) -> Server:
        """Return the server as it is when the hub has begun the start, for a task that does not wait.

        Raises the failure of a request that the hub has refused, and of a start that has failed.
        """
        while True:
            server = self._read()
            if server.state == "ready" or server.pending == "spawn":
                return self._wait_for_options(server)
            sent = self._claim.sent
            if not self._claim.is_answered or (sent is None and server.pending is not None):
                return server
            verdict = self._decide()
            if verdict is Verdict.REPORT_STATE:
                return server
            self._proceed(verdict)

    def _wait_for_options(self, server: Server) -> Server:
        """Wait a moment until the hub shows the options of the present start, check them, and return the server."""
        claim = self._claim
        if self._wanted.user_options is not None and not claim.shows_current_options(server):

            def may_return() -> bool:
                if claim.shows_current_options(self._read()) or self.server.state == "stopped":
                    return True
                return claim.sent is not None and claim.sent.was_kept_waiting

            poll_until(may_return, min(self._deadline, time.monotonic() + _GRACE))
        if claim.shows_current_options(self.server):
            claim.check_options(self.server, self._wanted.title)
        return self.server

    def wait_until_ready(self) -> Server:
        """Wait until the server itself answers, and return it. Raises the failure of a start that has failed.

        Reads the server, and follows the progress stream between two reads. Only an answer of the server itself proves
        that it is ready: the hub may answer 201 while the start is still pending (JupyterHub 6), and a stream that a
        DELETE ended closes with "ready".
        """
        pause = 0.0
        while True:
            server = self._try_to_read()
            if server is not None and self._claim.shows_current_options(server):
                self._claim.check_options(server, self._wanted.title)
            if server is not None and server.state == "ready":
                client = self._server_at(server.url)
                if client.answers():
                    return server
                self._error_status = client.error_status
                self._check_address(server)
            elif server is not None:
                self._silence_start = None
            if server is not None and server.state == "stopped" and self._claim.is_answered:
                is_own_start = self._claim.sent is not None
                verdict = self._decide()
                may_go_on = verdict is Verdict.FOLLOW or verdict in ASKS_AGAIN
                # If somebody else's start ends at the deadline, this task has not failed to start a server. It has
                # timed out.
                if may_go_on or is_own_start or self._seconds_left > 0:
                    self._proceed(verdict)
                    continue
            if self._seconds_left <= 0:
                raise self._misplaced() if self._is_misplaced() else self._timeout()
            # Read the first stream without a pause. Pause before each other one: a stream that ends at once would
            # otherwise be requested without end.
            time.sleep(min(pause, max(0.0, self._seconds_left)))
            pause = min(max(pause * 1.5, polling.PAUSE), polling.LONGEST_PAUSE)
            if self._request.failure_event is None:
                self._read_failure_event()

    @property
    def _seconds_left(self) -> float:
        return self._deadline - time.monotonic()

    # The server's address

    def _server_at(self, url: str) -> ServerClient:
        return self._reader.server(url, self._wanted.title)

    def _check_address(self, server: Server) -> None:
        """Raise `Invalid` if the hub has answered for too long at the address of a server that it calls ready."""
        self._silence_start = self._silence_start or time.monotonic()
        is_known = self._claim.is_running_since_before(server)
        longest = _LONGEST_REDIRECT_BEFORE if is_known else _LONGEST_REDIRECT
        if time.monotonic() - self._silence_start > longest and self._server_at(server.url).is_hub_answering():
            raise self._misplaced()

    def _is_misplaced(self) -> bool:
        is_ready = self.server.state == "ready" and self._hub_failure is None
        return is_ready and self._server_at(self.server.url).is_hub_answering()

    def _misplaced(self) -> Invalid:
        message = (
            f"The hub says that the {self._wanted.title} is ready, but the hub itself answers at the server's address "
            f"{self.server.url}: the server cannot be reached from here."
        )
        return Invalid(
            message,
            f"{NO_ROUTE_HINT} The server was left as it is.",
            result={"changed": self.has_started, "state": "ready", "reason": message},
        )

    # Deciding about a server that does not run

    def _decide(self) -> Verdict:
        """Return what to do now, see `judge`. Reads the stream, and waits for others, if the decision needs that."""
        answer, seconds_left, is_stream_read = self._claim.answer, self._seconds_left, False
        while True:
            verdict = judge(
                self._request,
                None if answer is None else answer.exception(),
                self._wanted,
                has_request=answer is not None,
                seconds_left=seconds_left,
                is_stream_read=is_stream_read,
                has_foreign_options=self._claim.sent is None and bool(self._claim.compare_options(self.server)),
            )
            if verdict is Verdict.READ_STREAM:
                self._read_failure_event()
                is_stream_read = True
            elif verdict is Verdict.WAIT_FOR_OTHERS:
                if self._is_started_by_others():
                    return Verdict.FOLLOW
                self._request = replace(self._request, has_waited_for_others=True)
                is_stream_read = False
            else:
                return verdict

    def _is_started_by_others(self) -> bool:
        """Wait a moment, and return whether somebody else who has ended this task's start begins another one."""
        poll_until(lambda: self._read().state != "stopped", min(self._deadline, time.monotonic() + _GRACE))
        return self.server.state != "stopped"

    def _proceed(self, verdict: Verdict) -> None:
        """Carry out the verdict. Raises the failure that it names."""
        if verdict is Verdict.FOLLOW:
            return
        if verdict not in ASKS_AGAIN:
            raise self._failure(verdict)
        if verdict is Verdict.ASK_WHEN_THERE_IS_ROOM:
            self._note_refusal()
        self._claim.is_answer_lost = self._claim.is_answer_lost or verdict is Verdict.ASK_AFTER_LOSS
        self.request(self._request.losses + (verdict in COUNTS_AS_LOSS))

    def _note_refusal(self) -> None:
        error = None if self._claim.answer is None else self._claim.answer.exception()
        self._refusal = error if isinstance(error, RateLimited) else None
        seconds = self._refusal.retry_after if self._refusal else None
        time_to_return = "" if seconds is None else f", and asks to come back in {seconds:g} s"
        self._report(f"the hub has no room{time_to_return}")
        self._place.refuse(seconds)

    # Following the start

    def _read(self) -> Server:
        """Read the server, and record what it shows. Raises `HubError`."""
        proxy_answers, sent = self._reader.proxy_answers, self._claim.sent
        self.server = read(self._reader, self._wanted.user, self._wanted.name)
        if self._reader.proxy_answers > proxy_answers:
            self._note_hub_away()
        is_new_start = self._claim.see(self.server, sent)
        self._note_room()
        request = self._request
        self._request = replace(
            request,
            was_busy=request.was_busy or self.server.pending in BUSY,
            was_starting=request.was_starting or self.server.pending == "spawn",
            failure_event=None if is_new_start else request.failure_event,
        )
        return self.server

    def _note_room(self) -> None:
        """Tell the gate whether the start that the task has asked for is under way or over."""
        sent = self._claim.sent
        if sent is None:
            return
        if self.server.pending == "spawn":
            self._place.accept()
        elif self.server.state == "ready" or (
            sent.answer.done() and not isinstance(sent.answer.exception(), RateLimited)
        ):
            self._place.end()

    def _try_to_read(self) -> Server | None:
        """Read the server. Return None if the hub does not answer, because hub and server may be back in a moment."""
        try:
            server = self._read()
        except HubError as error:
            if not is_hub_away(error):
                raise
            # A request that only the deadline has ended says nothing about the hub.
            if not error.is_cut_short:
                self._hub_failure = error
                if error.status != 429:  # a hub that answers 429 still works
                    self._note_hub_away()
            return None
        self._hub_failure = None
        return server

    def _note_hub_away(self) -> None:
        self._request = replace(self._request, was_starting=False, was_hub_away=True)

    def _read_failure_event(self) -> None:
        """Read the stream to its end, and keep its last message if the message says that the start failed."""
        event = self._read_stream()
        self._request = replace(self._request, failure_event=event)

    def _read_stream(self) -> str | None:
        """Log the stream's events up to its end. Return the last message if it says that the start failed, or None."""
        path = server_path(self._wanted.user, self._wanted.name)
        for event in self._hub.events(*path, "progress", deadline=self._deadline):
            if event is None:
                # Nothing arrives, for example because a proxy holds the stream back. So read the server itself.
                server = self._try_to_read()
                if server is not None and server.state != "pending":
                    return None
                continue
            message = extract_message(event)
            if event.get("failed"):
                return message
            self._log.add(event.get("progress"), message)
            if event.get("ready"):
                break
        return None

    # Failures

    def _failure(self, verdict: Verdict) -> BaseException:
        """Return the failure that the verdict names."""
        error = None if self._claim.answer is None else self._claim.answer.exception()
        if isinstance(error, RateLimited) and verdict is Verdict.FAIL_BY_LIMIT:
            return error.with_message(
                f"The hub has no room for the {self._wanted.title}: as many servers run as its active_server_limit "
                "allows. Waiting does not help."
            ).with_hint(
                "Try again when fewer servers are running. Stop servers that nobody uses, for example with hub_cull, "
                "or raise active_server_limit in the hub's configuration."
            )
        if isinstance(error, RateLimited) and verdict is Verdict.RAISE_ANSWER and not self._wanted.wait:
            return error.with_hint(f"{error.hint} With wait: true, the task waits until the hub has room.")
        if error is not None and verdict is Verdict.RAISE_ANSWER:
            return error
        cause = error if isinstance(error, HubError) and verdict is not Verdict.FAIL_BY_STREAM else None
        if cause is not None and verdict is Verdict.FAIL_BY_SPAWNER:
            # The hub has begun the start.
            return self._spawn_failed(cause.reason, cause).with_result({"changed": True})
        if self._request.failure_event is None:
            self._read_failure_event()
        event = self._request.failure_event
        if cause is not None:
            # Before JupyterHub 6 the answer only says "error". The stream has the spawner's message.
            event = event or cause.reason or ""
        return self._spawn_failed(event, cause)

    def _spawn_failed(self, event: str | None, cause: HubError | None) -> SpawnFailed:
        reason = explain_failure(event)
        self._report(f"failed: {reason}")
        return SpawnFailed(
            f"The {self._wanted.title} did not start: {reason}.",
            "Fix what the reason names, or check the hub's log and the server's own. Then start it again.",
            reason=reason,
            status=cause.status if cause else None,
            method=cause.method if cause else None,
            url=cause.url if cause else None,
        )

    def _no_room(self) -> RateLimited:
        """Return the failure of a start for which the hub has no room within its time."""
        refusal, others = self._refusal, self._place.count_others()
        seconds = refusal.retry_after if refusal else None
        return_time = f", and asks to come back in {seconds:.0f} s" if seconds else ""
        reason = f": {refusal.reason}" if refusal and refusal.reason else ""
        message = (
            f"The hub had no room for the {self._wanted.title} within its wait_timeout of "
            f"{self._wanted.wait_timeout:g} s{return_time}{reason}. Other starts of this task that were under way at "
            f"the end: {others}."
        )
        again = f"Try again in {seconds:.0f} s, or give" if seconds else "Give"
        hint = (
            f"{again} it longer with wait_timeout, start fewer servers in one task, or raise concurrent_spawn_limit in "
            "the hub's configuration."
        )
        if refusal is None:
            return RateLimited(message, hint)
        return refusal.with_message(message).with_hint(hint)

    def _timeout(self) -> Timeout:
        """Stop a server that is not ready in time, if the task may, and return the failure."""
        state = f"it is {self.server.state}"
        if self.server.state == "ready":
            fault = "does not answer" if self._error_status is None else f"answers {self._error_status}"
            state = f"the hub says ready, but it {fault}"
        if self.server.pending == "check":
            state = stop.CHECKING
        if self._hub_failure is not None:
            state = f"the hub does not answer: {self._hub_failure.message.rstrip('.')}"
        last_message = self.events[-1]["message"] if self.events else "none"
        outcome, result = self._stop_late_server()
        message = (
            f"The {self._wanted.title} was not ready after {self._wanted.wait_timeout:g} s: {state}; "
            f"last message: {last_message}. {outcome}"
        )
        hint = "Give it longer with wait_timeout, or check the hub's log for what it waits for."
        return Timeout(message, hint, result={**result, "reason": message})

    def cancel(self, timeout: float) -> None:
        """Stop the server if this task has started it, within ``timeout`` seconds, and request no further start.

        The server may be starting or ready. Another thread may call this while the start is followed.
        """
        with self._post_lock:
            self._is_cancelled = True
        self._place.cancel()
        deadline, wanted = time.monotonic() + timeout, self._wanted
        hub, answer = self._hub.with_deadline(deadline), self._claim.answer
        with contextlib.suppress(HubError):
            if answer is not None:
                # A request to start that is still on its way would otherwise arrive after the request to stop.
                poll_until(lambda: answer.done() or read(hub, wanted.user, wanted.name).state != "stopped", deadline)
            # Early in a start the hub shows the options of the last one. So they do not show here whose start it is.
            if self.has_started:
                stop.stop(hub, wanted.user, wanted.name, max(1.0, deadline - time.monotonic()))

    def _stop_late_server(self) -> tuple[str, dict[str, Any]]:
        """Stop the server if the task has started it. Return a sentence, and a part of the result."""
        left = "It was left as it is."
        if self._wanted.on_timeout == "leave" or not self._claim.may_stop(self.server):
            return left, {"state": self._state_of_late_server()}
        try:
            deadline = time.monotonic() + _STOP_TIMEOUT
            self._reader = self._hub.with_deadline(deadline)
            answer = self._claim.answer
            if answer is not None:
                # A request to start that is still on its way would otherwise arrive after the request to stop.
                poll_until(lambda: answer.done() or self._read().state != "stopped", deadline)
                self._read()
            if not self._claim.may_stop(self.server):
                return left, {"state": self._state_of_late_server()}
            seconds = max(1.0, round(deadline - time.monotonic()))
            self.server = stop.stop(self._hub, self._wanted.user, self._wanted.name, seconds)
        except HubError as error:
            return f"It could not be stopped: {error.message}", {"state": self._state_of_late_server()}
        return "It was stopped.", {"changed": True, "state": "failed"}

    def _state_of_late_server(self) -> str:
        return "pending" if self.server.pending else "failed"
