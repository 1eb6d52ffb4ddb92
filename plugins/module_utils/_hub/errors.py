# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures that people can read and playbooks can act on."""

from __future__ import annotations

from typing import Any, ClassVar

EDGE = frozenset({408, 429, 499, 502, 503, 504, *range(520, 531)})
"""Statuses that a proxy or a cloud's edge gives by itself: it is busy, or waits for a hub that does not answer."""


class HubError(Exception):
    """What went wrong, and what to do next.

    ``code`` is one of few stable words that a playbook may compare. ``message`` and ``hint`` are sentences: what
    happened, and what to do next, printable in one line. ``status``, ``method`` and ``url`` name the request, where
    there was one, and ``reason`` is the hub's own word on it. ``result`` is what the task knows all the same, such as
    the servers that it looked after. ``passing`` tells that it says nothing of what was asked about: there was no
    answer, or none of the hub's, and another look a moment later may get one.
    """

    code: ClassVar[str]
    cut_short = False
    """Whether the deadline of whoever asked left the answer less time than answers get: it says little of the hub."""
    unanswered: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        hint: str,
        *,
        status: int | None = None,
        method: str | None = None,
        url: str | None = None,
        reason: str | None = None,
        result: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        # The one place where what others wrote becomes text for people; `reason` and `result` are data.
        self.message = printable(message)
        self.hint = printable(hint)
        self.status = status
        self.method = method
        self.url = url
        self.reason = reason
        self.result = result or {}
        self.passing = self.unanswered or status in EDGE

    def with_message(self, message: str) -> HubError:
        """The same failure with another message."""
        other = type(self)(message, self.hint)
        other.__dict__.update({**self.__dict__, "message": other.message})
        return other

    def as_failure(self) -> dict[str, Any]:
        """For playbooks: the result's ``failure``."""
        return {
            "code": self.code,
            "message": self.message,
            "status": self.status,
            "method": self.method,
            "url": self.url,
            "hint": self.hint,
        }

    def as_result(self) -> dict[str, Any]:
        """The failed task's result: ``msg`` for people, ``failure`` for playbooks, and what is known besides."""
        msg = f"{self.message} {self.hint}"
        return {**self.result, "failed": True, "msg": msg, "failure": self.as_failure()}


class Unreachable(HubError):
    """No answer: the name is unknown, the connection was refused or broke."""

    code = "unreachable"
    unanswered = True


class TlsFailure(HubError):
    """The hub's certificate is not trusted, or there is no TLS where it was expected."""

    code = "tls"


class Unauthorized(HubError):
    """The hub does not accept the token: there is none, or it is unknown, expired or revoked."""

    code = "unauthorized"


class MissingScope(HubError):
    """The token is valid, and may not do this."""

    code = "missing_scope"


class NotFound(HubError):
    """There is no such thing on the hub, or the token may not see it."""

    code = "not_found"


class Invalid(HubError):
    """What was asked for cannot be done as it was written."""

    code = "invalid"


class Conflict(HubError):
    """What was asked for contradicts what the hub has at the moment."""

    code = "conflict"


class RateLimited(HubError):
    """The hub asks to come back later."""

    code = "rate_limited"
    retry_after: float | None = None
    """In how many seconds, if it says so."""


class SpawnFailed(HubError):
    """A server did not start."""

    code = "spawn_failed"


class KernelFailed(HubError):
    """A server runs, and its kernel does not: there is none, it cannot be started, or it died."""

    code = "kernel_failed"


class Timeout(HubError):
    """Something did not end within the time that it was given."""

    code = "timeout"
    unanswered = True


class HubFailure(HubError):
    """The hub, or a server or kernel behind it, failed by itself."""

    code = "hub_error"


class UnexpectedAnswer(HubError):
    """An answer that no JupyterHub gives: another program, a login page, a proxy's error page."""

    code = "unexpected_answer"


def quoted(name: str) -> str:
    """A name within a sentence."""
    return f"'{printable(name)}'"


def printable(told: object, longest: int = 2000) -> str:
    """Text for people, in one line: control characters as escapes, and no more than ``longest`` characters.

    Others wrote parts of it: a hub, a spawner, a proxy, a user. A line end in them would begin a line that nobody
    wrote, and an escape sequence would write over others.
    """
    text = str(told)
    shown = text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"
    if shown.isprintable():
        return shown
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in shown)


def is_text(text: str) -> bool:
    """Whether it can be written: a string of Python's may hold half a character (a lone surrogate)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def not_understood(error: Exception) -> HubError:
    """Whatever it is, it is not the user's: an answer of a shape that no test has shown us, most likely."""
    return UnexpectedAnswer(
        f"The hub's answer could not be understood ({type(error).__name__}: {error}).",
        "Run it with -vvv and report it with the traceback, after a look at what it shows.",
    )


BY_STATUS: dict[int, type[HubError]] = {400: Invalid, 404: NotFound, 409: Conflict, 429: RateLimited}
"""Which failure an HTTP status means. 401 and 403 need a second look at the token, every 5xx is the hub's own."""
