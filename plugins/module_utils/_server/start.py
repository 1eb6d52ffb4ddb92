# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One start of a server: asked for, followed until it answers or has failed, and judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as NotInTime
from typing import Any

from .._hub import polling
from .._hub.client import HubClient
from .._hub.errors import (
    HubError,
    HubFailure,
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
from .claim import Claim
from .model import BUSY, ServerSpec, read, server_path
from .starts import is_failure, reason_of, words_of

_QUICK = 0.5
"""Seconds within which many a hub has answered the request to start a server, so that no look at it is needed."""
_LOST_REQUESTS = 3
"""How many starts may be lost, or ended by others, before this one is given up."""
_STANDING_IN, _STOOD_IN = 15.0, 2.0
"""Seconds for which the hub may answer in place of a server that it calls ready: its proxy may be about to know of one
that has just been started, and knows of one that ran before."""
_QUEUE = 5.0
"""Seconds that others on this machine get, which start the same server, until the hub has taken theirs up."""
_CLEANING = 60.0
"""Seconds that a cancelled spawn gets to be gone."""
_GRACE = 2.0
"""Seconds that somebody else who has stopped a server gets to start it again."""


class Spawn:
    """What becomes of one server that is to run, from the request to start it, if there is one, to its own answer.

    Times are those of `time.monotonic`, and count from ``began``. ``events`` are the spawner's messages so far, and
    ``last`` is what the hub said of the server when it was asked last.
    """

    def __init__(
        self, hub: HubClient, wanted: ServerSpec, found: Server, say: Callable[[str], None], began: float, claim: Claim
    ) -> None:
        self._hub = hub
        self._wanted = wanted
        self._say = say
        self._claim = claim
        self._began = began
        self._deadline = self._began + wanted.wait_timeout
        self._looking = hub.with_deadline(self._deadline)
        self._rounds = 0
        """How often it has been asked for again."""
        self._stopping = False
        """Whether it has been seen stopping or checked since it was asked for: the hub refuses a start then."""
        self._taken = False
        """Whether it has been seen starting since it was asked for: what becomes of the request says nothing then."""
        self._missed = False
        """Whether the hub was away since it was asked for."""
        self._absent_since: float | None = None
        """Since when the hub calls it ready, and it does not answer."""
        self._reason: str | None = None
        """What the stream said last of a start that failed."""
        self._away: HubError | None = None
        self.events: list[dict[str, Any]] = []
        self._noted: set[tuple[Any, str]] = set()
        self.last = found

    def ask(self) -> None:
        """Ask the hub to start it, and go on when the hub has taken that up or refused.

        Not where somebody else has done so: a hub says "accepted" to each that asks for a start that is under way.
        """
        if self.last.pending in BUSY:
            poll_until(lambda: self._look().pending not in BUSY, self._deadline)
        with hold_lock(f"{self.last.user_created or self._hub.url} {self._wanted.title}", _QUEUE):
            found = self._glance()
            self._claim.ask()
            # What the hub calls ready, and does not answer, it looks after when it is asked to start it.
            dead = found is not None and found.state == "ready" and self._claim.runs_on(found)
            if dead and self._server_at(self.last.url).is_hub_answering():
                return  # the hub would do nothing: there is no way to it from here
            if found is None or found.state == "stopped" or found.pending in BUSY or dead:
                self._ask()

    def _ask(self) -> None:
        self._say("asked to start")
        self._reason = None
        # The hub holds a POST for up to 10 s (its slow_spawn_timeout); the messages are wanted meanwhile.
        posted = self._claim.posted = in_background(self._post)
        try:
            posted.exception(timeout=min(_QUICK, max(0.0, self._deadline - time.monotonic())))
        except NotInTime:
            # The stream still tells of an earlier spawn that failed until the hub has taken up this one.
            poll_until(lambda: posted.done() or self._look().state != "stopped", self._deadline)

    def result(self) -> Server:
        """What the hub has made of the request by now, for those who do not wait. Raises what refused it."""
        while True:
            found = self._look()
            if found.state == "ready" or found.pending == "spawn":
                return self._with_options(found)
            posted = self._claim.posted
            if found.pending is not None if posted is None else not posted.done():
                return found
            if not self._asked_again():
                if posted is None or self._taken:
                    raise self._failure()
                self._judge()
                return found

    def _with_options(self, found: Server) -> Server:
        """What the hub shows when it shows the options of the present start, or does not so for a while."""
        claim = self._claim
        if self._wanted.user_options is not None and not claim.shows_options(found):
            moment = min(self._deadline, time.monotonic() + _GRACE)
            poll_until(lambda: claim.shows_options(self._look()) or claim.held or self.last.state == "stopped", moment)
        if claim.shows_options(self.last):
            claim.check(self.last, self._wanted.title)
        return self.last

    def watch(self) -> Server:
        """Look at the server, and follow the progress stream between two looks, until it answers or has failed.

        Nothing but the server itself is believed: a POST's 201 can come while it is still pending (JupyterHub 6), and
        a stream that a DELETE ended closes with "ready".
        """
        pause = 0.0
        while True:
            found = self._glance()
            if found is not None and self._claim.shows_options(found):
                self._claim.check(found, self._wanted.title)
            if found is not None and found.state == "ready":
                if self._server_at(found.url).answers():
                    return found
                self._check_place(found)
            elif found is not None:
                self._absent_since = None
            posted = self._claim.posted
            if found is not None and found.state == "stopped" and (posted is None or posted.done()):
                if self._asked_again():
                    continue
                if posted is not None or time.monotonic() < self._deadline:
                    raise self._failure()
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise self._misplaced(self.last) if self._is_misplaced() else self._timeout()
            # The first stream needs no pause before it; another one does, or a stream that is cut at once would be
            # asked for again and again.
            time.sleep(min(pause, left))
            pause = min(max(pause * 1.5, polling.PAUSE), polling.LONGEST_PAUSE)
            if self._reason is None:
                self._reason = self._listen()

    @property
    def did_start(self) -> bool:
        """Whether it was this task that started it, as far as that can be told."""
        return self._claim.did_start

    def _check_place(self, found: Server) -> None:
        """Raises `Invalid` where the hub stands in for a server that it calls ready, and has for long."""
        self._absent_since = self._absent_since or time.monotonic()
        patience = _STOOD_IN if self._claim.runs_on(found) else _STANDING_IN
        if time.monotonic() - self._absent_since > patience and self._server_at(found.url).is_hub_answering():
            raise self._misplaced(found)

    def _is_misplaced(self) -> bool:
        return self.last.state == "ready" and self._away is None and self._server_at(self.last.url).is_hub_answering()

    def _misplaced(self, found: Server) -> Invalid:
        message = (
            f"The hub says that the {self._wanted.title} is ready, and answers itself at the server's address "
            f"{found.url}: there is no way to it from there."
        )
        return Invalid(
            message,
            f"{NO_ROUTE_HINT} The server was left as it is.",
            result={"changed": self.did_start, "state": "ready", "reason": message},
        )

    # How it is asked for

    def _post(self) -> int:
        wanted, hub = self._wanted, self._hub
        body = hub.dialect.build_start_body(wanted.user_options, wanted.options_format)
        path = server_path(wanted.user, wanted.name)
        return hub.write("POST", *path, scope=START, what=wanted.title, body=body)[0]

    def _asked_again(self) -> bool:
        """Ask once more where the answer says that this can help. To start twice is safe: a hub starts one."""
        posted = self._claim.posted
        error = posted.exception() if posted is not None else None
        left = self._deadline - time.monotonic()
        waits = self._wanted.wait
        if waits and isinstance(error, RateLimited) and error.retry_after is not None and error.retry_after < left:
            self._say(f"the hub has no room, and asks to come back in {error.retry_after:g} s")
            # Whole seconds are told: 0 is "soon", and not "again and again without a pause".
            time.sleep(min(max(error.retry_after, polling.LONGEST_PAUSE), left))
        elif isinstance(error, Invalid) and self._stopping:
            pass  # somebody else was stopping it
        elif self._is_undone(error):
            ours_ended = not (posted is None or self._wanted.state == "restarted" or self._missed)
            if ours_ended or not self._again(left):
                return ours_ended and self._is_started_again()
        elif isinstance(error, HubError) and self._is_lost(error) and self._again(left):
            self._claim.lost = True
        else:
            return False
        self._reason, self._stopping, self._taken, self._missed = None, False, False, False
        self.ask()
        return True

    def _is_undone(self, error: BaseException | None) -> bool:
        """Whether others have ended the start by what is no failure: another restart, or one of the hub. Nothing tells
        of a failure then, or only of that of another start, with other options."""
        if is_failure(None, error):
            return False
        self._reason = self._listen() if self._reason is None else self._reason
        return not is_failure(self._reason) or (self._claim.posted is None and bool(self._claim.differing(self.last)))

    def _is_started_again(self) -> bool:
        """Whether somebody else, who has ended our start, begins another one."""
        poll_until(lambda: self._look().state != "stopped", min(self._deadline, time.monotonic() + _GRACE))
        return self.last.state != "stopped"

    def _again(self, left: float) -> bool:
        self._rounds += 1
        return self._rounds <= _LOST_REQUESTS and left > 0

    def _is_lost(self, error: HubError) -> bool:
        """Whether the request never came to be a spawn. Nothing is under way when this is asked."""
        # A spawner may fail with 503 by itself: then the stream says the same.
        return is_hub_away(error) and not self._taken and not self._is_told(error)

    def _is_told(self, error: HubError) -> bool:
        """Whether the stream gives the same reason: then it is the spawner's, and not one of the hub to refuse it."""
        return bool(error.reason) and str(error.reason) in (self._reason or self._listen() or "")

    def _server_at(self, url: str) -> ServerClient:
        return self._looking.server(url, self._wanted.title)

    # How it is followed

    def _look(self) -> Server:
        proxy_answers, posted = self._looking.proxy_answers, self._claim.posted
        self.last = read(self._looking, self._wanted.user, self._wanted.name)
        if self._looking.proxy_answers > proxy_answers:
            self._lose_sight()
        if self._claim.see(self.last, posted):
            self._reason = None  # it was that of an earlier start
        self._stopping = self._stopping or self.last.pending in BUSY
        self._taken = self._taken or self.last.pending == "spawn"
        return self.last

    def _glance(self) -> Server | None:
        """A look; None while the hub gives no answer, as it may be back in a moment, and the server with it."""
        try:
            found = self._look()
        except HubError as error:
            if not is_hub_away(error):
                raise
            # A look that only the deadline has ended says nothing of the hub.
            if not error.is_cut_short:
                self._away = error
                if error.status != 429:  # one that is only asked too often goes on
                    self._lose_sight()
            return None
        self._away = None
        return found

    def _lose_sight(self) -> None:
        """The hub was away: where it was started again, a spawn has ended with it."""
        self._taken, self._missed = False, True

    def _listen(self) -> str | None:
        """Take in the stream's events up to its end; the reason where the last one says that the spawn failed."""
        path = server_path(self._wanted.user, self._wanted.name)
        for event in self._hub.events(*path, "progress", deadline=self._deadline):
            if event is None:
                # Nothing comes, as where a proxy holds it back: the server tells what the stream does not.
                found = self._glance()
                if found is not None and found.state != "pending":
                    return None
                continue
            message = words_of(event)
            if event.get("failed"):
                return message
            self._note(event.get("progress"), message)
            if event.get("ready"):
                break
        return None

    def _note(self, progress: Any, message: str) -> None:
        """Keep an event that was not there before: the hub tells the whole story again on each new stream."""
        if (progress, message) in self._noted:
            return
        self._noted.add((progress, message))
        passed = round(time.monotonic() - self._began, 3)
        self.events.append({"seconds": passed, "progress": progress, "message": message})
        self._say(f"{progress}% {message}" if isinstance(progress, (int, float)) else message)

    # How it is judged

    def _failure(self) -> HubError:
        """Why it does not run: the POST's own verdict, or the stream's."""
        try:
            self._judge()
        except HubError as error:
            return error
        if self._reason is None:
            self._reason = self._listen()
        return self._failed(self._reason)

    def _judge(self) -> None:
        """The POST's own verdict: nothing, or a failure in the words of the stream where it has some."""
        if self._claim.posted is None:
            return
        try:
            self._claim.posted.result()
        except HubError as error:
            if is_hub_away(error) and self._taken:
                return  # only the answer was lost; the server tells the rest
            if isinstance(error, Timeout) and self._rounds < _LOST_REQUESTS:
                return  # the hub's slow_spawn_timeout is longer than our patience
            if isinstance(error, HubFailure):
                # Before JupyterHub 6 the answer says no more than "error"; the stream has the spawner's words.
                raise self._failed(self._reason or self._listen() or error.reason or "", error) from None
            # Refused, or failed at once: then the stream says the same. What else it says is of an earlier start.
            if self._is_told(error):
                failed = self._failed(error.reason, error)
                raise failed.with_result({"changed": True}) from None  # the hub has begun it
            raise

    def _failed(self, event: str | None, cause: HubError | None = None) -> SpawnFailed:
        said = reason_of(event)
        self._say(f"failed: {said}")
        return SpawnFailed(
            f"The {self._wanted.title} did not start: {said}.",
            "Mend what the reason names, or look into the hub's log and the server's own; then start it again.",
            reason=said,
            status=cause.status if cause else None,
            method=cause.method if cause else None,
            url=cause.url if cause else None,
        )

    def _timeout(self) -> Timeout:
        """It is late: what it is now, and what has become of it."""
        told = (
            "the hub says ready, but it does not answer" if self.last.state == "ready" else f"it is {self.last.state}"
        )
        if self.last.pending == "check":
            told = stop.CHECKING
        if self._away is not None:
            told = f"the hub does not answer: {self._away.message.rstrip('.')}"
        last = self.events[-1]["message"] if self.events else "none"
        begun = f"The {self._wanted.title} was not ready after {self._wanted.wait_timeout:g} s: {told}"
        hint = "Give it longer with wait_timeout, or look into the hub's log for what it waits for."
        after, result = self._left()
        message = f"{begun}; last message: {last}. {after}"
        return Timeout(message, hint, result={**result, "reason": message})

    def _left(self) -> tuple[str, dict[str, Any]]:
        """What becomes of a server that is late, in words and for the result."""
        wanted, posted = self._wanted, self._claim.posted
        left = "It was left as it is."
        if wanted.on_timeout == "leave" or not self._claim.is_to_stop(self.last):
            return left, {"state": "pending" if self.last.pending else "failed"}
        try:
            over = time.monotonic() + _CLEANING
            self._looking = self._hub.with_deadline(over)
            if posted is not None:
                # A request to start that is still on its way would otherwise arrive after the one to stop.
                poll_until(lambda: posted.done() or self._look().state != "stopped", over)
                self._look()
            if not self._claim.is_to_stop(self.last):
                return left, {"state": "pending" if self.last.pending else "failed"}
            seconds = max(1.0, round(over - time.monotonic()))
            self.last = stop.stop(self._hub, wanted.user, wanted.name, seconds)
        except HubError as error:
            state = "pending" if self.last.pending else "failed"
            return f"It could not be stopped: {error.message}", {"state": state}
        return "It was stopped.", {"changed": True, "state": "failed"}
