# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The failures of a server without a kernel that runs code, each with its reason as far as the server shows it.

Nothing here sends a request. ``what`` is the server's name in a sentence, such as "server of user 'alice'".
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any, ClassVar

from .._hub.errors import (
    EDGE,
    HubError,
    HubFailure,
    Invalid,
    KernelFailed,
    Timeout,
    UnexpectedAnswer,
    Unreachable,
    quoted,
)

_LOG = "Check the server's own log"
_SPEC_FOLDER = "the command jupyter kernelspec list shows where the kernel spec is on the server"

OTHER = "other"
"""The cause of all failures that are not one of the following classes."""


class KernelNotStarted(KernelFailed):
    """The server has not started a kernel, or the kernel's process ends before it is ready."""

    cause: ClassVar[str] = "kernel_not_started"


class KernelSilent(KernelFailed):
    """The kernel was started and never answers."""

    cause: ClassVar[str] = "kernel_timeout"


class KernelDied(KernelFailed):
    """The kernel died while it ran code."""

    cause: ClassVar[str] = "kernel_died"


class OutOfMemory(KernelFailed):
    """The system killed the kernel because its memory was exhausted."""

    cause: ClassVar[str] = "out_of_memory"


class ConnectionCut(KernelFailed):
    """The connection to a kernel ended, and nothing shows that the kernel itself has ended."""

    cause: ClassVar[str] = OTHER


class WebsocketRefused(HubFailure):
    """The server, or a proxy in front of it, does not open a websocket."""

    cause: ClassVar[str] = "websocket_refused"


class WebsocketUnreachable(Unreachable):
    """There is no connection for a websocket."""

    cause: ClassVar[str] = "websocket_refused"


class CodeTimedOut(Timeout):
    """The code did not end in time."""

    cause: ClassVar[str] = "timeout"


class CodeRaised(Invalid):
    """The code raised an exception."""

    cause: ClassVar[str] = "exception"


def get_cause(error: HubError) -> str:
    """Return the stable word for why code did not run to its end."""
    return str(getattr(error, "cause", OTHER))


@dataclass(frozen=True)
class Facts:
    """What a server shows about a kernel and its kernel specs. What it does not show is None, or empty."""

    kernel: Any = None
    """The kernel as the server's API returns it."""
    specs: dict[str, Any] | None = None
    """The kernel specs by their names."""
    default_spec: str = ""
    """The name of the kernel spec that the server starts if the task names none."""
    restarts: int = 0
    """How often the server has started the kernel's process again."""
    wanted_spec: str = ""
    """The name of the kernel spec that the task asked for. It is empty for the server's default."""

    @staticmethod
    def from_answers(specs: Any, kernel: Any, restarts: int, wanted_spec: str = "") -> Facts:
        """Return the facts in the server's answers to ``GET api/kernelspecs`` and to ``GET api/kernels/<id>``."""
        if isinstance(specs, dict) and isinstance(specs.get("kernelspecs"), dict):
            default = str(specs.get("default") or "")
            return Facts(kernel, dict(specs["kernelspecs"]), default, restarts, wanted_spec)
        return Facts(kernel, restarts=restarts, wanted_spec=wanted_spec)

    @property
    def spec(self) -> str:
        """The name of the kernel spec that is started."""
        return self.wanted_spec or self.default_spec

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
        entry = (self.specs or {}).get(self.spec)
        spec = entry.get("spec") if isinstance(entry, dict) else None
        words = spec.get("argv") if isinstance(spec, dict) else None
        return shlex.join(map(str, words)) if isinstance(words, list) else None

    def describe_spec(self) -> str:
        """Return a sentence about the kernel spec that the server starts."""
        if self.specs is None:
            return "The server does not show its kernel specs."
        if not self.specs:
            return "It has no kernel spec at all."
        if not isinstance(self.specs.get(self.spec), dict):
            return f"Its default kernel spec {quoted(self.spec)} is not there; it has {self.list_specs()}."
        return f"Its kernel spec {quoted(self.spec)} starts {quoted(self.command or 'an unknown command')}."

    def list_specs(self) -> str:
        """Return the names of the kernel specs, for a sentence."""
        return ", ".join(map(quoted, self.specs or ()))


def code_raised(error: dict[str, Any]) -> CodeRaised:
    """Return the failure of code that raised this exception, see ``error`` of the result."""
    shown = f"{error['ename']}: {error['evalue']}".rstrip(".: ")
    return CodeRaised(
        f"The code raised {shown}.",
        "Fix the code, or what it needs on the server; error.traceback says where it happened.",
    )


def died_during_code(what: str, how: str) -> KernelDied:
    """Return the failure of a kernel that died while the code ran. ``how`` says how it died."""
    return KernelDied(
        f"The kernel in the {what} died ({how}) before the code ended.",
        "Check whether the code ends its own process, or whether the server has reached its memory limit.",
    )


def out_of_memory(what: str) -> OutOfMemory:
    """Return the failure of a kernel that the system has killed because of its memory."""
    return OutOfMemory(
        f"The kernel in the {what} was killed because its memory ran out: the system's counter of such kills has grown "
        "while the code ran.",
        "Give the server more memory (the spawner's mem_limit, or a larger profile), or let the code need less.",
    )


def connection_cut(what: str, how: str) -> ConnectionCut:
    """Return the failure of a connection that ended while the kernel behind it runs. ``how`` says how it ended."""
    return ConnectionCut(
        f"The connection to the kernel in the {what} was cut ({how}) before the code ended, and the kernel still ran.",
        "Check the time limits and the logs of the proxies in front of the hub. The kernel was ended.",
    )


def server_lost(what: str, how: str) -> ConnectionCut:
    """Return the failure of a connection that ended, after which the server itself did not answer either."""
    return ConnectionCut(
        f"The connection to the kernel in the {what} was cut ({how}) before the code ended, and the server did not "
        "answer after that.",
        "Check whether the hub, its proxy or the server was restarted or has ended, for example because the server has "
        "reached its memory limit.",
    )


def code_timed_out(what: str, timeout: float, option: str = "timeout") -> CodeTimedOut:
    """Return the failure of code that is still running after ``timeout`` seconds. ``option`` is the option with the
    limit."""
    return CodeTimedOut(
        f"The code in the {what} did not end within {timeout:g} s.",
        f"Give it longer with {option}, or fix what it waits for. Its kernel was ended.",
    )


def websocket_refused(what: str, status: int, url: str) -> WebsocketRefused:
    """Return the failure of a websocket that was refused. It ``is_passing`` if another try may succeed."""
    return WebsocketRefused(
        f"The {what} refuses the kernel's websocket with {status}.",
        "Check whether a proxy in front of the hub lets websockets through.",
        status=status, method="GET", url=url,
        # A proxy's 500 and the server's own look the same: both come as a page.
        is_passing=status in EDGE or status == 500,
    )  # fmt: skip


def no_websocket(what: str, error: Exception, url: str) -> WebsocketUnreachable:
    """Return the failure of a websocket to which there is no connection."""
    return WebsocketUnreachable(
        f"There is no connection to the kernel's websocket of the {what}: {error}.",
        "Check whether a proxy in front of the hub, or a proxy that the environment names (http_proxy, NO_PROXY), lets "
        "websockets through.",
        method="GET", url=url,
    )  # fmt: skip


def died_before_ready(what: str, how: str, facts: Facts) -> KernelNotStarted:
    """Return the failure of a kernel that died before it was ready. ``how`` says how it died."""
    if facts.state == "dead" and facts.reason:
        return _start_failed(what, facts.reason, facts)
    if "ipykernel" in (facts.command or ""):
        return KernelNotStarted(
            f"The kernel in the {what} died before it was ready ({how}). {facts.describe_spec()} Most likely there is "
            "no ipykernel for that Python.",
            f"Install ipykernel there, in the server's image or environment. {_LOG}, which has the output of the "
            "process.",
        )
    return KernelNotStarted(
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
        return KernelSilent(
            f"The kernel in the {what} is {facts.state}, but no message of it has come within {timeout:g} s.",
            "Check whether a proxy in front of the server holds a websocket's messages back. The kernel was ended.",
        )
    return KernelSilent(
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
        return KernelNotStarted(
            f"The {what} has no kernel spec at all, so it has no kernel to start.",
            "Install a kernel, such as ipykernel, into the server's image or environment.", **request,
        )  # fmt: skip
    if facts.wanted_spec and facts.wanted_spec not in facts.specs:
        return KernelNotStarted(
            f"The {what} has no kernel spec {quoted(facts.wanted_spec)}; it has {facts.list_specs()}.",
            "Name one of these with kernel_name, or install the kernel into the server's image or environment.",
            **request,
        )  # fmt: skip
    return _start_failed(what, error.reason or error.message, facts, **request)


def _start_failed(what: str, reason: str, facts: Facts, **request: Any) -> KernelNotStarted:
    return KernelNotStarted(
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
) -> KernelNotStarted:
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
    return KernelNotStarted(message, hint, status=error.status, method=error.method, url=error.url)
