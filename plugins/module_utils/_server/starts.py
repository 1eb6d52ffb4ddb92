# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the answers of a hub say of a start: whose it was, with which options, and why it failed.

Nothing here asks the hub.
"""

from __future__ import annotations

import re
from enum import Enum
from html import unescape
from typing import Any

from .._hub.errors import HubError, HubFailure

NO_REASON = "the hub gave no reason, which is what it says where a server was not ready within its start_timeout"
TIMEOUT = "Timeout, which is what JupyterHub 4 says where a server was not ready within its start_timeout"
STOPPED = "it stopped while it was waited for"
_CANCELLED = "Spawn cancelled"
"""How JupyterHub 5 and 6 tell that a DELETE ended a start, if they tell it at all."""
_UNHANDLED = "Internal Server Error"


class Whose(Enum):
    """Whose request began a start, as far as the one who sent one can tell."""

    OURS = "ours"
    ANOTHERS = "another's"
    UNKNOWN = "unknown"


def whose_start(answer: int | HubError | None, state: str, *, held: bool = False, lost: bool = False) -> Whose:
    """Whose request began the start that a server is in or has had.

    ``answer`` is what the hub said to our last request: a status, a failure, or nothing yet. ``state`` is the server's
    since. ``held``: the hub answered a look at the server while it kept that request waiting. ``lost``: the answer to
    an earlier request of ours was lost.

    The hub (``UserServerAPIHandler.post`` of its apihandlers/users.py) says 201 to the one whose start is over. It says
    202 at once to each who asks while a start is pending. To the one who began it the hub says 202 after its
    slow_spawn_timeout: a request that it keeps waiting is one that it works on. With a slow_spawn_timeout of 0, as Zero
    to JupyterHub sets it, that comes at once, too, and nothing tells the two apart. With refresh_pre_spawn the hub
    answers 500 to the one who comes second.
    """
    if answer == 201 or (answer == 202 and held):
        return Whose.OURS
    if lost or answer is None or isinstance(answer, int) or answer.is_passing:
        return Whose.UNKNOWN
    if isinstance(answer, HubFailure):
        # The start of one who is told 500 has failed. This one has not.
        return Whose.ANOTHERS if state == "ready" or (state == "pending" and not held) else Whose.UNKNOWN
    return Whose.ANOTHERS  # the hub has refused ours


def differing(sent: dict[str, Any], shown: dict[str, Any] | None, *, additions: bool = False) -> list[str]:
    """The names of the options in which a server differs from those that were sent.

    What a spawner adds to some is no difference. What is there beside none at all is one, unless it is known to be such
    ``additions``.
    """
    shown = shown or {}
    names = sent or ({} if additions else shown)
    return sorted(str(name) for name in names if shown.get(name) != sent.get(name))


def is_failure(event: str | None, error: BaseException | None = None) -> bool:
    """Whether a start has failed by itself, or was refused, and was not ended by others.

    ``event`` is what the stream said last, if it told of a failure. An empty one does: that is what a hub says when its
    start_timeout has passed. ``error`` is the answer to the request, if it is one.
    """
    if isinstance(error, HubFailure) and not error.is_passing:
        # The hub says this of an exception of its own, and also to the one whose start a DELETE ended.
        error = None if error.reason in (None, _UNHANDLED) else error
    return error is not None or event not in (None, _CANCELLED)


def reason_of(event: str | None) -> str:
    """Why a start failed, without what a hub says before each reason."""
    if event is None or event == _CANCELLED:
        return STOPPED
    said = event.removeprefix("Spawn failed").lstrip(": ").rstrip(". ")
    return {"": NO_REASON, "Timeout": TIMEOUT}.get(said, said)


def words_of(event: dict[str, Any]) -> str:
    """What an event of the stream says. Some spawners say it in HTML only."""
    return str(event.get("message") or "") or unescape(re.sub("<[^>]*>", "", str(event.get("html_message") or "")))
