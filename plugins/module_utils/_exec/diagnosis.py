# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a server has no kernel that runs code, in a sentence, from what the server tells. Nothing here asks anything."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from .._hub.errors import (
    HubError,
    KernelFailed,
    Timeout,
    UnexpectedAnswer,
    quoted,
)

LOG = "Look into the server's own log"
_SPEC = "the command jupyter kernelspec list tells its place on the server"


@dataclass(frozen=True)
class Facts:
    """What a server tells of a kernel and of its kernel specs. What it does not tell is None, or empty."""

    model: Any = None
    specs: dict[str, Any] | None = None
    """By name."""
    default: str = ""
    """The name of the kernel spec that is started."""
    restarts: int = 0
    """How often the server has started the kernel's process again."""

    @property
    def state(self) -> str:
        """The server's word for the kernel: starting, idle, busy, dead, ..."""
        return self._told("execution_state")

    @property
    def reason(self) -> str:
        """Why the kernel is dead."""
        return " ".join(self._told("reason").split()).rstrip(".")

    def _told(self, name: str) -> str:
        return str(self.model.get(name) or "") if isinstance(self.model, dict) else ""

    @property
    def command(self) -> str | None:
        """What the kernel spec starts."""
        entry = (self.specs or {}).get(self.default)
        spec = entry.get("spec") if isinstance(entry, dict) else None
        words = spec.get("argv") if isinstance(spec, dict) else None
        return shlex.join(map(str, words)) if isinstance(words, list) else None

    def said(self) -> str:
        """What the kernel spec that is started says, in a sentence."""
        if not self.specs:
            told = "The server does not tell its kernel specs."
            return told if self.specs is None else "It has no kernel spec at all."
        if not isinstance(self.specs.get(self.default), dict):
            others = ", ".join(map(quoted, self.specs))
            return f"Its default kernel spec {quoted(self.default)} is not there; it has {others}."
        return f"Its kernel spec {quoted(self.default)} starts {quoted(self.command or 'an unknown command')}."


def facts_of(answer: Any, model: Any, restarts: int) -> Facts:
    """What ``api/kernelspecs`` has answered, and the rest as it is."""
    if isinstance(answer, dict) and isinstance(answer.get("kernelspecs"), dict):
        return Facts(model, dict(answer["kernelspecs"]), str(answer.get("default") or ""), restarts)
    return Facts(model, restarts=restarts)


def died_at_work(what: str, how: str) -> KernelFailed:
    """The kernel has gone while the code ran."""
    return KernelFailed(
        f"The kernel in the {what} died ({how}) before the code ended.",
        "Look whether the code ends its own process, or the server's memory limit was reached.",
    )


def late_at_work(what: str, timeout: float) -> Timeout:
    """The time is over, and the code runs."""
    return Timeout(
        f"The code in the {what} did not end within {timeout:g} s.",
        "Give it longer with timeout, or mend what it waits for. Its kernel was ended.",
    )


def died_early(what: str, how: str, facts: Facts) -> KernelFailed:
    """The kernel has gone before it was ready."""
    if facts.state == "dead" and facts.reason:
        return _not_startable(what, facts.reason, facts)
    if "ipykernel" in (facts.command or ""):
        return KernelFailed(
            f"The kernel in the {what} died before it was ready ({how}). {facts.said()} Most likely there is no "
            "ipykernel for that Python.",
            f"Install ipykernel there, in the server's image or environment. {LOG}, which has what the process said.",
        )
    return KernelFailed(
        f"The process of the kernel in the {what} ends as soon as it is started ({how}). {facts.said()}",
        f"{LOG}, which has what the process said, and whether what it starts is installed in the server's image.",
    )


def late_early(what: str, timeout: float, facts: Facts) -> KernelFailed:
    """The time is over, and the kernel was started and has not answered."""
    if facts.state == "dead" or facts.restarts:
        times = f"the server has started its process {facts.restarts + 1} times"
        return died_early(what, times if facts.restarts else "dead", facts)
    if facts.state in ("idle", "busy"):
        return KernelFailed(
            f"The kernel in the {what} is {facts.state}, but no message of it has come within {timeout:g} s.",
            "Look whether a proxy before the server holds a websocket's messages back. The kernel was ended.",
        )
    return KernelFailed(
        f"The kernel in the {what} was started and has not answered within {timeout:g} s: it hangs before it is ready. "
        f"{facts.said()}",
        f"{LOG}, which has what the kernel's process said and waits for, or give it longer with timeout. Its kernel "
        "was ended.",
    )


def refused(what: str, error: HubError, facts: Facts) -> HubError:
    """The server has refused to start a kernel, with this failure."""
    request: dict[str, Any] = {"status": error.status, "method": error.method, "url": error.url}
    if facts.specs is None:
        return unlike(what) if error.status == 404 else error
    if not facts.specs:
        return KernelFailed(
            f"The {what} has no kernel spec at all, so it has no kernel to start.",
            "Install a kernel, such as ipykernel, into the server's image or environment.", **request,
        )  # fmt: skip
    return _not_startable(what, error.reason or error.message, facts, **request)


def _not_startable(what: str, reason: str, facts: Facts, **request: Any) -> KernelFailed:
    return KernelFailed(
        f"The {what} cannot start its kernel: {reason}. {facts.said()}",
        f"Look whether the command of the kernel spec is there in the server's image; {_SPEC}. {LOG}.", **request,
    )  # fmt: skip


def unlike(what: str) -> UnexpectedAnswer:
    """It is no Jupyter Server."""
    return UnexpectedAnswer(
        f"The {what} answers, but not as a Jupyter Server does.", "Run code in one that has kernels."
    )


def not_come(what: str, timeout: float, error: HubError, *, answers: bool, number: str = "") -> KernelFailed:
    """The time is over, and a kernel was asked for and has not come. ``error`` is what became of the request.

    ``answers`` is whether the server tells its kernels; ``number`` is the id of a kernel that may still come.
    """
    message = f"The {what} has not started a kernel within {timeout:g} s."
    hint = f"{LOG} for why its start takes so long, or give it longer with timeout."
    if not answers:
        message = f"The kernels API of the {what} does not answer."
        hint = f"{LOG}: its manager of kernels hangs, or the server has no time."
    if error.status is not None:
        message += f" The last request for one got {error.status} ({error.reason})."
        hint += " A proxy before the server may have given that answer: look at the proxy's log, too."
    elif not isinstance(error, Timeout):
        message += f" {error.message}"
    if number:
        hint += (
            f" The kernel {number} may still come: it goes when the server culls idle kernels (its option "
            "cull_idle_timeout), or when the server is stopped."
        )
    return KernelFailed(message, hint, status=error.status, method=error.method, url=error.url)
