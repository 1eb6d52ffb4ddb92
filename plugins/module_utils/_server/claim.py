# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides whether the start of a server that the hub shows is the one that a task has requested. Sends no requests."""

from __future__ import annotations

from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from .._hub.errors import Conflict, HubError
from .._hub.models import Server
from .verdict import StartedBy, compare_options, find_starter

_ANSWER_GRACE = 0.5
"""Seconds to wait for the answer to a request after its server is ready."""


@dataclass
class SentRequest:
    """A request to start a server that the task has sent."""

    answer: Future[int]
    """The status, or the failure."""
    was_kept_waiting: bool = False
    """Whether the hub answered another request while it kept this one waiting."""


class Claim:
    """A task's claim that it has started its server: the task's own request, and what the hub has shown since.

    ``options`` are those that the task sends, as the hub shows them. None accepts any options. ``must_match`` says
    whether the server must have these options in the end. ``ran_before`` says whether ``server`` ran before the task,
    and the task has not stopped it. The task does not count such a server as its own until a new start is seen.
    """

    def __init__(self, options: dict[str, Any] | None, server: Server, *, must_match: bool, ran_before: bool) -> None:
        self.sent: SentRequest | None = None
        """The task's request, if the present start can be that of the request."""
        self.is_answer_lost = False
        """Whether the answer to an earlier request was lost. The hub may still begin that start."""
        self._options = options
        self._must_match = must_match
        self._running_before = server if ran_before else None
        self._before_request = self._last_seen = server
        self._start_time = _pending_start_time(server)
        """The time of the start that was seen since the request."""
        self._matching_start_time: str | None = None
        """The time of a start that was seen with the task's options."""
        self._may_have_started_before = False
        """Whether an earlier request of the task may have started the server."""

    # Recording what happens

    def begin_request(self) -> None:
        """Record that the task is about to request a start, unless somebody else has started the server."""
        self._drop_request()
        self._must_match = True
        self._before_request, self._start_time = self._last_seen, _pending_start_time(self._last_seen)

    def see(self, server: Server, sent: SentRequest | None) -> bool:
        """Record the server as the hub shows it now. Return whether a new start has begun.

        ``sent`` is the request that the task had sent before it read the server, or None.
        """
        if sent is not None and not sent.answer.done():
            sent.was_kept_waiting = True
        is_new = server.started not in (None, self._before_request.started, self._start_time)
        if is_new and self._start_time is not None:  # the request can have begun only one start
            self._drop_request()
            self.is_answer_lost = False
        self._last_seen = server
        self._start_time = server.started if is_new else self._start_time
        return is_new

    def _drop_request(self) -> None:
        """Record that the next start that is seen belongs to another request."""
        self._may_have_started_before = self.has_started
        self.sent, self._start_time = None, None

    # Drawing conclusions from the records

    @property
    def answer(self) -> Future[int] | None:
        """The answer to the task's request, if the present start can be that of the request."""
        return None if self.sent is None else self.sent.answer

    @property
    def is_answered(self) -> bool:
        """Whether no answer to a request of the task is outstanding."""
        return self.sent is None or self.sent.answer.done()

    @property
    def has_started(self) -> bool:
        """Whether this task started the server, as far as the task can know."""
        return self._may_have_started_before or self.find_starter() is not StartedBy.ANOTHER

    def find_starter(self) -> StartedBy:
        """Return who began the start that was seen last."""
        if self.sent is None:
            return StartedBy.UNKNOWN if self.is_answer_lost else StartedBy.ANOTHER
        answer: int | HubError | None = None
        if self.sent.answer.done():
            error = self.sent.answer.exception()
            answer = error if isinstance(error, HubError) else None if error else self.sent.answer.result()
        return find_starter(
            answer,
            self._last_seen.state,
            was_kept_waiting=self.sent.was_kept_waiting,
            is_answer_lost=self.is_answer_lost,
        )

    def is_running_since_before(self, server: Server) -> bool:
        """Return whether this server ran before the task, and nobody has started it since."""
        before = self._running_before
        return before is not None and server.state != "stopped" and server.started == before.started

    def shows_current_options(self, server: Server) -> bool:
        """Return whether the hub shows the options of the present start, and the task knows who began it.

        Early in a start the hub shows the options of the last one. It sets the time of the start, ``started``, after
        the options (``User.spawn`` of its user.py).
        """
        is_starting = server.pending == "spawn" and self._start_time is not None
        return server.state == "ready" or (is_starting and self.is_answered)

    def compare_options(self, server: Server) -> list[str]:
        """Return the names of the options in which the server differs from what the task wants."""
        may_differ = not self._must_match or self.is_running_since_before(server)
        if self._options is None or (server.state != "stopped" and may_differ):
            return []
        may_have_additions = self._before_request.state == "stopped" and self.find_starter() is not StartedBy.ANOTHER
        return compare_options(self._options, server.user_options, may_have_additions=may_have_additions)

    def check_options(self, server: Server, title: str) -> None:
        """Check that the server has the task's options, or that the task's own request began its start.

        ``title`` is the server's name in a sentence. Raises `Conflict` if somebody else has started it with other
        options.
        """
        differences = self.compare_options(server)
        if not differences:
            self._matching_start_time = server.started
            return
        if server.started is not None and server.started == self._matching_start_time:
            return  # the spawner has changed the options since
        if self.sent is not None:
            wait([self.sent.answer], timeout=_ANSWER_GRACE)
        starter = self.find_starter()
        if starter is StartedBy.THIS_TASK:
            return
        first = f"another start came first, at {server.started or 'a time that the hub does not show'}"
        or_spawner = ", or its spawner has changed them" if starter is StartedBy.UNKNOWN else ""
        raise Conflict(
            f"The {title} was started with other user_options than this task has sent: {first}{or_spawner}. "
            f"They differ in {', '.join(differences)}.",
            "Run this again with on_options_change: restart, or stop the server first.",
        )

    def may_stop(self, server: Server) -> bool:
        """Return whether the task may stop a server that is not ready in time. The task must have started the server.

        A server that the hub stops or checks was there before.
        """
        if server.pending not in (None, "spawn") or self.is_running_since_before(server):
            return False
        starter = self.find_starter()
        return starter is StartedBy.THIS_TASK or (starter is StartedBy.UNKNOWN and not self.compare_options(server))


def _pending_start_time(server: Server) -> str | None:
    """Return the time of the start that is under way, or None.

    If no start is under way, the hub shows the time of the last start.
    """
    return server.started if server.pending == "spawn" else None
