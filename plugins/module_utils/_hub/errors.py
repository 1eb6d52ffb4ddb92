# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures that people can read and playbooks can act on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

EDGE = frozenset({408, 429, 499, 502, 503, 504, *range(520, 531)})
"""Statuses that a proxy or a cloud's edge returns by itself, because it is busy or its hub does not answer."""

E = TypeVar("E", bound="HubError")


class HubError(Exception):
    """What went wrong, and what to do next. It does not change after it is raised: see the ``with_`` methods.

    ``message`` says what happened and ``hint`` what to do next; both are printable sentences in one line. ``status``,
    ``method`` and ``url`` are those of the request, if there was one, and ``reason`` is the hub's own message.
    ``is_passing`` means that the answer says nothing about the object of the request, and that a second request a
    moment later may get another answer. ``is_cut_short`` means that the caller's deadline left the request less time
    than a working hub needs, so the lack of an answer says little about the hub. ``retry_after`` is the number of
    seconds after which the hub asks to be called again. ``result`` is what the task knows in spite of the failure, and
    ``actions`` are the actions that it has carried out.
    """

    code: ClassVar[str]
    """A stable word that playbooks may compare."""
    is_unanswered: ClassVar[bool] = False
    """Whether the class means that no answer arrived."""

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
        is_passing: bool = False,
        is_cut_short: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        # Text of a hub, a proxy or a user becomes printable only here. `reason` and `result` are data, and stay as they
        # are.
        self.message = printable(message)
        self.hint = printable(hint)
        self.status = status
        self.method = method
        self.url = url
        self.reason = reason
        self.result = result or {}
        self.actions: tuple[Any, ...] = ()
        self.is_passing = is_passing or self.is_unanswered or status in EDGE
        self.is_cut_short = is_cut_short
        self.retry_after = retry_after

    def with_message(self: E, message: str) -> E:
        """Return the same failure with another message."""
        return self._copy(message=printable(message))

    def with_hint(self: E, hint: str) -> E:
        """Return the same failure with another hint."""
        return self._copy(hint=printable(hint))

    def with_result(self: E, result: dict[str, Any], actions: Iterable[Any] = ()) -> E:
        """Return the same failure with what the task knows, and the actions that it has carried out."""
        return self._copy(result=result, actions=tuple(actions))

    def with_passing(self: E, is_passing: bool) -> E:
        """Return the same failure with another ``is_passing``."""
        return self._copy(is_passing=is_passing)

    def with_cut_short(self: E, is_cut_short: bool) -> E:
        """Return the same failure with another ``is_cut_short``."""
        return self._copy(is_cut_short=is_cut_short)

    def _copy(self: E, **changes: Any) -> E:
        other = type(self)(self.message, self.hint)
        other.__dict__.update({**self.__dict__, **changes})
        return other.with_traceback(self.__traceback__)

    def as_failure(self) -> dict[str, Any]:
        """Return the result's ``failure``, for playbooks."""
        return {
            "code": self.code,
            "message": self.message,
            "status": self.status,
            "method": self.method,
            "url": self.url,
            "hint": self.hint,
        }

    def as_result(self) -> dict[str, Any]:
        """Return the failed task's result: ``msg`` for people, ``failure`` for playbooks, and what the task knows."""
        actions = {"actions": [action.shown() for action in self.actions]} if self.actions else {}
        msg = f"{self.message} {self.hint}"
        return {**self.result, **actions, "failed": True, "msg": msg, "failure": self.as_failure()}


class Unreachable(HubError):
    """No answer: the name is unknown, the connection was refused or broke."""

    code = "unreachable"
    is_unanswered = True


class TlsFailure(HubError):
    """The hub's certificate is not trusted, or there is no TLS where it was expected."""

    code = "tls"


class Unauthorized(HubError):
    """The hub does not accept the token: there is none, or it is unknown, expired or revoked."""

    code = "unauthorized"


class MissingScope(HubError):
    """The token is valid, but may not do this."""

    code = "missing_scope"


def not_covered(scope: str, what: str, user: str) -> MissingScope:
    """Return the failure of a token whose ``scope`` does not cover ``what``, which is the user or belongs to the user.

    The hub answers 404 for it (``needs_scope`` of its scopes.py), as for what does not exist.
    """
    return MissingScope(
        f"The token's scope '{scope}' does not cover {what}.",
        f"Mint it with {scope}, or with {scope}!user={user}.",
    )


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
    """The hub asks the client to try again later."""

    code = "rate_limited"


class SpawnFailed(HubError):
    """A server did not start."""

    code = "spawn_failed"


class KernelFailed(HubError):
    """A server runs, but its kernel does not: there is none, it cannot be started, or it died."""

    code = "kernel_failed"


class Timeout(HubError):
    """Something did not end within the time that it was given."""

    code = "timeout"
    is_unanswered = True


class HubFailure(HubError):
    """The hub, or a server or kernel behind it, failed by itself."""

    code = "hub_error"


class UnexpectedAnswer(HubError):
    """An answer that no JupyterHub gives: another program, a login page, a proxy's error page."""

    code = "unexpected_answer"


def quoted(name: str) -> str:
    """Return the name in quotes, for a sentence."""
    return f"'{printable(name)}'"


def printable(text: object, longest: int = 2000) -> str:
    """Return text for people in one line: control characters as escapes, and at most ``longest`` characters.

    A hub, a spawner, a proxy or a user may have written parts of the text. A line end in it would begin a new line of
    the output, and an escape sequence could overwrite other lines of a terminal.
    """
    whole = str(text)
    shown = whole if len(whole) <= longest else f"{whole[:longest]}... ({len(whole)} characters)"
    if shown.isprintable():
        return shown
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in shown)


def is_encodable(text: str) -> bool:
    """Return whether the text can be written as UTF-8. A Python string may hold half a character (a lone surrogate)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def not_understood(error: Exception) -> HubError:
    """Return the failure for an unexpected exception. Its cause is most likely an answer of an unknown form."""
    return UnexpectedAnswer(
        f"The hub's answer could not be understood ({type(error).__name__}: {error}).",
        "Run the task with -vvv, check what the traceback shows, and report it.",
    )


BY_STATUS: dict[int, type[HubError]] = {400: Invalid, 404: NotFound, 409: Conflict, 429: RateLimited}
"""The failure that an HTTP status means. For 401 and 403 the token must be checked; every 5xx is the hub's failure."""
