# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel that was started for several pieces of code, from its start to its end."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

from .._hub.errors import HubError
from .kernel_client import KernelClient, KernelRestarted
from .messages import END_STATES, get_type, new_execute_request
from .output import Output
from .websocket import Channel, KernelLost, OutOfTime


@contextlib.contextmanager
def open_session(kernels: KernelClient, kernel_name: str = "") -> Iterator[KernelSession]:
    """Start a kernel for the block, and delete it at the block's end.

    ``kernel_name`` is the name of a kernel spec, or empty for the server's default. If the server restarts the kernel
    before it is ready, this tries once more with another kernel. Raises the failures of `_exec.failures`, and those of
    the hub.
    """
    with contextlib.ExitStack() as stack:
        try:
            session = stack.enter_context(_start(kernels, kernel_name, is_last=False))
        except KernelRestarted:
            session = stack.enter_context(_start(kernels, kernel_name, is_last=True))
        yield session


@contextlib.contextmanager
def _start(kernels: KernelClient, kernel_name: str, *, is_last: bool) -> Iterator[KernelSession]:
    """Start a kernel and connect to it. Raises `KernelRestarted`, unless this is the last try (``is_last``)."""
    kernel = kernels.start(kernel_name)
    with contextlib.ExitStack() as stack:
        stack.callback(kernels.clean_up, kernel)
        try:
            channel = kernels.connect(kernel, is_last=is_last)
            stack.callback(channel.close)
            language = channel.wait_for_kernel()
        except KernelLost as loss:
            raise kernels.explain_loss(kernel, loss, has_begun=False) from None
        except OutOfTime:
            raise kernels.explain_timeout(kernel, has_begun=False) from None
        yield KernelSession(kernels, kernel, channel, language)


class KernelSession:
    """A kernel with an open connection on which it answers. `open_session` makes it.

    Failures of its methods carry the output so far in their ``result``. After a failure, the session is of no use.
    """

    def __init__(self, kernels: KernelClient, kernel: str, channel: Channel, language: str) -> None:
        self._kernels = kernels
        self._kernel = kernel
        self._channel = channel
        self._executions = 0
        self.kernel_name = kernels.kernel_name
        """The name of the kernel's spec."""
        self.language = language
        """The kernel's language as it names it itself, such as ``python``, or empty."""
        self.output = Output()
        """The output of the last execution. It is also there after the execution has failed."""

    @property
    def is_python(self) -> bool:
        return self.language.lower() == "python"

    def extend(self, seconds: float) -> None:
        """Give the whole session more time, for what comes next."""
        self._kernels.deadline += seconds

    def execute(
        self,
        code: str,
        *,
        timeout: float = math.inf,
        option: str = "timeout",
        silent: bool = False,
        store_history: bool = False,
        user_expressions: dict[str, str] | None = None,
    ) -> Output:
        """Execute code and return its output, also if the code has raised an exception (``error`` of the output).

        ``timeout`` is in seconds, besides the time that the whole session has, and ``option`` is the option that sets
        it, for the failure's hint. After a timeout the session is over, and its end is the kernel's end. ``silent`` and
        ``user_expressions`` are those of an ``execute_request``.
        """
        self.output = output = Output()
        self._executions += 1
        request = new_execute_request(
            code, silent=silent, store_history=store_history, user_expressions=user_expressions
        )
        try:
            self._set_deadline(timeout)
            self._channel.send(request)
            while not (output.is_done or output.end_state):
                output.add(self._channel.receive(), request["header"]["msg_id"])
            if output.end_state:
                raise KernelLost(output.end_state)
        except KernelLost as loss:
            raise self.explain_loss(loss).with_result(output.as_result()) from None
        except OutOfTime:
            if time.monotonic() < self._kernels.deadline:
                failure = self._kernels.explain_timeout(self._kernel, has_begun=True, timeout=timeout, option=option)
            else:
                has_begun = output.has_begun or self._executions > 1
                failure = self._kernels.explain_timeout(self._kernel, has_begun=has_begun)
            raise failure.with_result(output.as_result()) from None
        return output

    def stay_idle(self, seconds: float) -> None:
        """Send nothing for this time, but answer the server's pings, as a browser does.

        Raises `ConnectionLost` if the connection ends, and `KernelLost` if the kernel does.
        """
        self._set_deadline()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            message = self._channel.receive(left)
            state = (message.get("content") or {}).get("execution_state")
            if get_type(message) == "status" and state in END_STATES:
                raise KernelLost(str(state))

    def check_answer(self, timeout: float) -> None:
        """Wait until the kernel answers on this connection. Raises `KernelLost`, and `OutOfTime` after the timeout."""
        self._set_deadline(timeout)
        self._channel.wait_for_kernel()

    def explain_loss(self, loss: KernelLost) -> HubError:
        """Return the failure for a loss after the kernel was ready.

        A kernel that dies at the first line of its code may not have said that it has begun.
        """
        return self._kernels.explain_loss(self._kernel, loss, has_begun=True)

    def _set_deadline(self, timeout: float = math.inf) -> None:
        """Let the connection live for this time, or as long as the whole session may take."""
        self._channel.set_deadline(min(self._kernels.deadline, time.monotonic() + timeout))
