# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the start of a server that is seen is the one that a task has asked for. Nothing is asked of the hub here."""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import Any

from .._hub.errors import Conflict, HubError
from .._hub.models import Server
from .starts import Whose, differing, whose_start

_COMING = 0.5
"""Seconds for the answer to a request whose server is ready: it may be about to come."""


class Claim:
    """What one task knows of the starts of its server, from its own requests and from what it has seen since.

    ``options`` are those that it sends, as the hub shows them, and None where any will do. ``asks``: whether the server
    is to have these in the end. ``ran`` is the server where it ran before the task, which has not stopped it: it is not
    the task's then, until somebody starts it.
    """

    def __init__(self, options: dict[str, Any] | None, found: Server, *, asks: bool, ran: bool) -> None:
        self.posted: Future[int] | None = None
        """The answer to the request that the present start can be by."""
        self.lost = False
        """Whether the answer to an earlier request was lost, which may still come to be the start that is seen."""
        self.held = False
        """Whether the hub has answered a look while it kept the request waiting."""
        self._options = options
        self._asks = asks
        self._ran = found if ran else None
        self._before = self._last = found
        """The server before the request."""
        self._started = _begun(found)
        """When the start began that has been seen since."""
        self._alike: str | None = None
        """When a start began that has been seen with the task's options."""
        self._did = False
        """Whether an earlier request of the task may have started it."""

    # What is taken note of

    def ask(self) -> None:
        """The task is about to ask for a start, unless somebody else has."""
        self._give_up()
        self._asks = True
        self._before, self._started = self._last, _begun(self._last)

    def see(self, found: Server, waiting: Future[int] | None) -> bool:
        """Take note of a look, begun while the request was ``waiting``. Whether it shows a start that is new."""
        self.held = self.held or (waiting is not None and waiting is self.posted and not waiting.done())
        is_new = found.started not in (None, self._before.started, self._started)
        if is_new and self._started is not None:  # the request has begun one start at most
            self._give_up()
            self.lost = False
        self._last = found
        self._started = found.started if is_new else self._started
        return is_new

    def _give_up(self) -> None:
        """What is seen from now on is by another request."""
        self._did = self.did_start
        self.posted, self.held, self._started = None, False, None

    # What follows from it

    @property
    def did_start(self) -> bool:
        """Whether it was this task that started it, as far as that can be told."""
        return self._did or self.whose() is not Whose.ANOTHERS

    def whose(self) -> Whose:
        """Whose the start is that was seen last."""
        if self.posted is None:
            return Whose.UNKNOWN if self.lost else Whose.ANOTHERS
        answer: int | HubError | None = None
        if self.posted.done():
            error = self.posted.exception()
            answer = error if isinstance(error, HubError) else None if error else self.posted.result()
        return whose_start(answer, self._last.state, held=self.held, lost=self.lost)

    def runs_on(self, found: Server) -> bool:
        """Whether this is the server that ran before, which nobody has started since."""
        return self._ran is not None and found.state != "stopped" and found.started == self._ran.started

    def shows_options(self, found: Server) -> bool:
        """Whether the hub shows the options of the present start, and has said whose that is.

        Early in a start it shows the options of the last one. It sets the time of the start, ``started``, after them
        (``User.spawn`` of its user.py).
        """
        answered = self.posted is None or self.posted.done()
        return found.state == "ready" or (found.pending == "spawn" and self._started is not None and answered)

    def differing(self, found: Server) -> list[str]:
        """The names of the options in which the server is not what was asked for."""
        if self._options is None or (found.state != "stopped" and (not self._asks or self.runs_on(found))):
            return []
        alone = self._before.state == "stopped" and self.whose() is not Whose.ANOTHERS
        return differing(self._options, found.user_options, additions=alone)

    def check(self, found: Server, title: str) -> None:
        """A start is believed only if it is the task's: raises `Conflict` where the server has other options than were
        sent, and was not started by this task's request."""
        differ = self.differing(found)
        if not differ:
            self._alike = found.started
            return
        if found.started is not None and found.started == self._alike:
            return  # its spawner has changed them since
        if self.posted is not None:
            wait([self.posted], timeout=_COMING)
        whose = self.whose()
        if whose is Whose.OURS:
            return
        first = f"another start came first, at {found.started or 'a time that the hub has not tell'}"
        unless = ", or its spawner has changed them" if whose is Whose.UNKNOWN else ""
        raise Conflict(
            f"The {title} was started with other user_options than this task has sent: {first}{unless}. "
            f"They differ in {', '.join(differ)}.",
            "Run this again with on_options_change: restart, or stop the server first.",
        )

    def is_to_stop(self, found: Server) -> bool:
        """Whether a server that is late is this task's to stop. One that the hub stops or checks was there before."""
        if found.pending not in (None, "spawn") or self.runs_on(found):
            return False
        whose = self.whose()
        return whose is Whose.OURS or (whose is Whose.UNKNOWN and not self.differing(found))


def _begun(found: Server) -> str | None:
    """When a start began that is under way: the hub shows the time of the last one until then."""
    return found.started if found.pending == "spawn" else None
