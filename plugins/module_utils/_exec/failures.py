# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The failures of a server without a kernel that runs code, each with its reason as far as the server shows it.

Nothing here sends a request. ``what`` is the server's name in a sentence, such as "server of user 'alice'".
"""

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

_LOG = "Check the server's own log"
_SPEC_FOLDER = "the command jupyter kernelspec list shows where the kernel spec is on the server"


@dataclass(frozen=True)
class Facts:
    """What a server shows about a kernel and its kernel specs. What it does not show is None, or empty."""

    kernel: Any = None
    """The kernel as the server's API returns it."""
    specs: dict[str, Any] | None = None
    """The kernel specs by their names."""
    default_spec: str = ""
    """The name of the kernel spec that the server starts."""
    restarts: int = 0
    """How often the server has started the kernel's process again."""

    @staticmethod
    def from_answers(specs: Any, kernel: Any, restarts: int) -> Facts:
        """Return the facts in the server's answers to ``GET api/kernelspecs`` and to ``GET api/kernels/<id>``."""
        if isinstance(specs, dict) and isinstance(specs.get("kernelspecs"), dict):
            return Facts(kernel, dict(specs["kernelspecs"]), str(specs.get("default") or ""), restarts)
        return Facts(kernel, restarts=restarts)

    @property
    def state(self) -> str:
        """The kernel's state, as the server names it: starting, idle, busy, dead, ..."""
        return self._kernel_text("execution_state")

    @property
    def reason(self) -> str:
        """Why the kernel is dead."""
        return " ".join(self._kernel_text("reason").split()).rstrip(".")

    def _kernel_text(self, key: str) -> str:
        return str(self.kernel.get(key) or "") if isinstance(self.kernel, dict) else ""

    @property
    def command(self) -> str | None:
        """The command that the kernel spec starts."""
        entry = (self.specs or {}).get(self.default_spec)
        spec = entry.get("spec") if isinstance(entry, dict) else None
        words = spec.get("argv") if isinstance(spec, dict) else None
        return shlex.join(map(str, words)) if isinstance(words, list) else None

    def describe_spec(self) -> str:
        """Return a sentence about the kernel spec that the server starts."""
        if self.specs is None:
            return "The server does not show its kernel specs."
        if not self.specs:
            return "It has no kernel spec at all."
        if not isinstance(self.specs.get(self.default_spec), dict):
            others = ", ".join(map(quoted, self.specs))
            return f"Its default kernel spec {quoted(self.default_spec)} is not there; it has {others}."
        return f"Its kernel spec {quoted(self.default_spec)} starts {quoted(self.command or 'an unknown command')}."


def died_during_code(what: str, how: str) -> KernelFailed:
    """Return the failure of a kernel that died while the code ran. ``how`` says how it died."""
    return KernelFailed(
        f"The kernel in the {what} died ({how}) before the code ended.",
        "Check whether the code ends its own process, or whether the server has reached its memory limit.",
    )


def code_timed_out(what: str, timeout: float) -> Timeout:
    """Return the failure of code that is still running after ``timeout`` seconds."""
    return Timeout(
        f"The code in the {what} did not end within {timeout:g} s.",
        "Give it longer with timeout, or fix what it waits for. Its kernel was ended.",
    )


def died_before_ready(what: str, how: str, facts: Facts) -> KernelFailed:
    """Return the failure of a kernel that died before it was ready. ``how`` says how it died."""
    if facts.state == "dead" and facts.reason:
        return _start_failed(what, facts.reason, facts)
    if "ipykernel" in (facts.command or ""):
        return KernelFailed(
            f"The kernel in the {what} died before it was ready ({how}). {facts.describe_spec()} Most likely there is "
            "no ipykernel for that Python.",
            f"Install ipykernel there, in the server's image or environment. {_LOG}, which has the output of the "
            "process.",
        )
    return KernelFailed(
        f"The process of the kernel in the {what} ends as soon as it is started ({how}). {facts.describe_spec()}",
        f"{_LOG}, which has the output of the process, and whether the program that the kernel spec starts is "
        "installed in the server's image.",
    )


def kernel_timed_out(what: str, timeout: float, facts: Facts) -> KernelFailed:
    """Return the failure of a kernel that was started and has not answered within ``timeout`` seconds."""
    if facts.state == "dead" or facts.restarts:
        times = f"the server has started its process {facts.restarts + 1} times"
        return died_before_ready(what, times if facts.restarts else "dead", facts)
    if facts.state in ("idle", "busy"):
        return KernelFailed(
            f"The kernel in the {what} is {facts.state}, but no message of it has come within {timeout:g} s.",
            "Check whether a proxy in front of the server holds a websocket's messages back. The kernel was ended.",
        )
    return KernelFailed(
        f"The kernel in the {what} was started and has not answered within {timeout:g} s: it hangs before it is ready. "
        f"{facts.describe_spec()}",
        f"{_LOG}, which has the output of the kernel's process, for what the process waits for, or give it longer with "
        "timeout. Its kernel was ended.",
    )


def start_refused(what: str, error: HubError, facts: Facts) -> HubError:
    """Return the failure of a server that has refused to start a kernel. ``error`` is its answer."""
    request: dict[str, Any] = {"status": error.status, "method": error.method, "url": error.url}
    if facts.specs is None:
        return no_jupyter_server(what) if error.status == 404 else error
    if not facts.specs:
        return KernelFailed(
            f"The {what} has no kernel spec at all, so it has no kernel to start.",
            "Install a kernel, such as ipykernel, into the server's image or environment.", **request,
        )  # fmt: skip
    return _start_failed(what, error.reason or error.message, facts, **request)


def _start_failed(what: str, reason: str, facts: Facts, **request: Any) -> KernelFailed:
    return KernelFailed(
        f"The {what} cannot start its kernel: {reason}. {facts.describe_spec()}",
        f"Check whether the command of the kernel spec exists in the server's image; {_SPEC_FOLDER}. {_LOG}.",
        **request,
    )  # fmt: skip


def no_jupyter_server(what: str) -> UnexpectedAnswer:
    """Return the failure of a server that is not a Jupyter Server."""
    return UnexpectedAnswer(
        f"The {what} answers, but not as a Jupyter Server does.", "Run code in a server that has kernels."
    )


def start_timed_out(
    what: str, timeout: float, error: HubError, *, has_answered: bool, kernel_id: str = ""
) -> KernelFailed:
    """Return the failure of a kernel that the server has not started within ``timeout`` seconds.

    ``error`` is the failure of the request for the kernel. ``has_answered`` says whether the server lists its kernels.
    ``kernel_id`` is the id of a kernel that the server may still start, or empty.
    """
    message = f"The {what} has not started a kernel within {timeout:g} s."
    hint = f"{_LOG} for why its start takes so long, or give it longer with timeout."
    if not has_answered:
        message = f"The kernels API of the {what} does not answer."
        hint = f"{_LOG}: its kernel manager hangs, or the server is overloaded."
    if error.status is not None:
        message += f" The last request for one got {error.status} ({error.reason})."
        hint += " A proxy in front of the server may have given that answer: check the proxy's log, too."
    elif not isinstance(error, Timeout):
        message += f" {error.message}"
    if kernel_id:
        hint += (
            f" The kernel {kernel_id} may still start: it ends when the server culls idle kernels (its option "
            "cull_idle_timeout), or when the server is stopped."
        )
    return KernelFailed(message, hint, status=error.status, method=error.method, url=error.url)
