# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernels of one server: started, connected to, told apart where they fail, and deleted.

The server's side is Jupyter Server's REST API, and its websocket for a kernel's messages.

"""

from __future__ import annotations

import contextlib
import ssl
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from functools import partial
from threading import Event
from typing import Any
from urllib.parse import quote

from .._hub.client import HubClient
from .._hub.errors import (
    EDGE,
    HubError,
    HubFailure,
    NotFound,
    RateLimited,
    Unreachable,
)
from .._hub.polling import poll_until
from .._hub.responses import parse_json
from .._hub.server_client import ServerClient
from .._hub.threads import in_background
from . import diagnosis as _diagnosis
from .channel import (
    Channel,
    ChannelLost,
    OutOfTime,
    opened,
)
from .diagnosis import Facts

try:
    import websocket
except ImportError:
    pass  # `ExecFlow` says so in a sentence before any of it is needed

_CLEANING, _PAUSE = 15.0, 0.2
"""Seconds: how long a kernel may take to be gone, and between two looks."""
_CLAIMED = 3.0
"""Seconds within which whoever starts a kernel is connected to it."""
_LOOK = 1.0
"""Seconds between two looks whether a kernel comes, or is still there."""
_SHORT, _MOMENT = 5.0, 0.8
"""Seconds that a server gets to say why it has no kernel: while there is time, and once there is none."""
_SENT = 0.4
"""Seconds within which a DELETE is on its way. Nobody waits for its answer once the time is over."""
_PATIENT = 1
"""How often a kernel's process may be started again. The first time may have met a port that was taken."""


class StartedAgain(Exception):
    """The server has started the kernel's process again, and still waits for an answer of the first one.

    Jupyter Server asks a kernel once for its information, and opens no websocket before it has the answer, or its
    ``kernel_info_timeout`` of 60 s is over (``request_kernel_info`` in its services/kernels/connection/channels.py). A
    process that found one of its ports taken never answers.
    """


class Kernels:
    """Those of the server at this address, for one who waits up to the ``deadline``, ``timeout`` s in all."""

    def __init__(self, hub: HubClient, url: str, what: str, timeout: float, deadline: float) -> None:
        self._hub = hub
        self._url = hub.check_address(url) if url else url
        self._what = what
        self._timeout = timeout
        self._deadline = deadline
        self._restarts = 0
        self._last_restart = 0.0
        """When the server did so last, by `time.monotonic`."""

    @property
    def _left(self) -> float:
        return max(self._deadline - time.monotonic(), 0.0)

    def _server(self, hub: HubClient) -> ServerClient:
        """Return the server as this client of its hub reaches it, with its deadline."""
        return hub.server(self._url, self._what)

    # From its start to its end

    def start(self) -> str:
        """The address of a new kernel of our own. Raises `KernelFailed`, or what the hub says."""
        # An older Jupyter Server does not take this id, and gives one of its own.
        number, hub = str(uuid.uuid4()), self._hub.with_long_request(self._deadline)
        self._restarts = 0
        before = self._kernels_before(hub)
        try:
            model = self._asked_for(hub, number)
        except HubError as error:
            if error.is_passing:
                return self._awaited(number, before, error)
            if error.status == 500:
                self.end(self._address(number))
            raise self._refused(error) from None
        if not isinstance(model, dict) or not isinstance(model.get("id"), str):
            raise _diagnosis.unlike(self._what)
        return self._address(model["id"])

    def _kernels_before(self, hub: HubClient) -> set[str]:
        """The ids of the kernels that the server has already."""

        def look() -> tuple[set[str]]:
            try:
                return (set(self._listed(hub)),)
            except HubError as error:
                # A program without kernels answers 404, as a proxy does.
                raise error.with_passing(error.is_passing and error.status != 404) from None

        try:
            return poll_until(look, self._deadline)[0]
        except HubError as error:
            if error.is_passing:
                raise _diagnosis.not_come(self._what, self._timeout, error, answers=False) from None
            raise self._refused(error) from None

    def _refused(self, error: HubError) -> HubError:
        """What it means that the server gives this failure, which is no proxy's."""
        return _diagnosis.refused(self._what, error, self._facts()) if error.status in (400, 404, 500, 501) else error

    def _asked_for(self, hub: HubClient, number: str) -> Any:
        while True:
            try:
                return self._server(hub).request("POST", "api/kernels", body={"kernel_id": number})
            except RateLimited as error:  # whoever says that has begun nothing
                pause = max(error.retry_after or 0.0, _LOOK)
                if pause > self._left:
                    raise
            time.sleep(pause)

    def _listed(self, hub: HubClient) -> dict[str, dict[str, Any]]:
        """The server's kernels, by their ids."""
        found = self._server(hub).request("GET", "api/kernels")
        models = found if isinstance(found, list) else []
        return {str(model.get("id")): model for model in models if isinstance(model, dict)}

    def _awaited(self, number: str, before: set[str], error: HubError) -> str:
        """The kernel that was asked for, as soon as it comes. The answer was lost, or a proxy gave one (``error``).

        A server that starts it may not list it before it is ready.
        """
        over, first = max(self._deadline, time.monotonic() + _MOMENT), dict[str, float]()
        hub, found = self._hub.with_deadline(over), ""
        while True:
            answers = True
            try:
                found = self._ours(self._listed(hub), number, before, first)
            except HubError as failure:
                if not failure.is_passing:
                    raise
                answers = False
            if found or time.monotonic() >= over:
                break
            time.sleep(min(_LOOK, max(over - time.monotonic(), 0.001)))
        if found and self._left:
            return self._address(found)
        self.end(self._address(found or number))
        awaited = "" if found else number
        raise _diagnosis.not_come(self._what, self._timeout, error, answers=answers, number=awaited) from None

    def _ours(self, listed: dict[str, dict[str, Any]], number: str, before: set[str], first: dict[str, float]) -> str:
        """The id of the kernel that was asked for, if it is among these; ``first`` is when others were seen first."""
        if number in listed:
            return number
        unused = [other for other in listed.keys() - before if listed[other].get("connections") == 0]
        # Not one that somebody else has started at the same moment: that is soon connected to.
        if len(unused) == 1 and time.monotonic() - first.setdefault(unused[0], time.monotonic()) >= _CLAIMED:
            return unused[0]
        return ""

    def _address(self, number: str) -> str:
        return f"{self._url}api/kernels/{quote(number)}"

    @contextlib.contextmanager
    def connect(self, kernel: str, *, is_last: bool = True) -> Iterator[Channel]:
        """Speak to a kernel within the block. Raises `StartedAgain`, unless it ``is_last``."""
        channel = Channel(self._connected(kernel, is_last=is_last), self._deadline)
        try:
            yield channel
        finally:
            channel.close()

    def end(self, kernel: str) -> None:
        """Delete the kernel, and see it gone while there is time. Once there is none, it is enough to have asked."""
        wait([in_background(partial(self.delete, kernel))], min(max(self._left, _SENT), _CLEANING))

    def delete(self, kernel: str, patience: float = _CLEANING) -> bool:
        """Delete the kernel and see it gone, for ``patience`` s; whether it was there.

        While a server restarts a kernel that died, it answers 500 to a DELETE, and has a new kernel a moment later.
        """
        over, deleted = time.monotonic() + patience, False
        hub = self._hub.with_long_request(over)  # it ends when the kernel has ended
        while time.monotonic() < over:
            try:
                self._server(hub).request("DELETE", kernel)
                deleted = True
                self._server(hub).request("GET", kernel)
            except HubError as error:
                if error.status != 500:
                    break  # it is gone, or its server is
            time.sleep(_PAUSE)
        return deleted

    # Its websocket

    def _connected(self, kernel: str, *, is_last: bool = True) -> Any:
        """The kernel's websocket, which a server opens when the kernel is ready."""
        url, left, pause, began = f"{kernel}/channels", Event(), _PAUSE, 0.0
        refusal: HubError | None = None
        watched = in_background(partial(self._watched, kernel, left))
        in_background(partial(self._count_restarts, kernel, left))
        try:
            while self._left:
                began = time.monotonic()
                # In the background, for a handshake that comes byte by byte would have no end.
                handshake = in_background(partial(self._handshake, url, self._left))
                while not wait([handshake, watched], min(self._left, _LOOK), FIRST_COMPLETED).done and self._left:
                    if not is_last and self._restarts and time.monotonic() - self._last_restart > _SHORT:
                        raise StartedAgain
                if handshake.done():
                    try:
                        return handshake.result()
                    except (websocket.WebSocketException, OSError) as error:
                        refusal = self._refusal(error, url)
                if watched.done() or refusal:
                    end = watched.result() if watched.done() else self._end_of(kernel)
                    if end:
                        raise ChannelLost(end)
                if refusal and not refusal.is_passing:
                    raise refusal
                time.sleep(min(pause, self._left))
                pause = min(pause * 1.5, _LOOK)
            if refusal and time.monotonic() - began < _SHORT:
                raise refusal
            raise OutOfTime
        finally:
            left.set()

    def _watched(self, kernel: str, left: Event) -> str | None:
        """Why there will be no kernel, once that is sure; None where nobody waits any more."""
        while not left.wait(_LOOK) and self._left:
            end = self._end_of(kernel)
            if end:
                return end
            if self._restarts > _PATIENT:
                return f"the server has started it {self._restarts + 1} times"
        return None

    def _count_restarts(self, kernel: str, left: Event) -> None:
        """Count how often the server starts the kernel's process again, by its events (Jupyter Server 2 has them).

        It calls a kernel whose process ends at once ``starting``, as it does one that hangs.
        """
        if left.wait(_LOOK):
            return
        with contextlib.closing(self._handshake(f"{self._url}api/events/subscribe", _SHORT)) as events:
            while self._left and not left.is_set():
                events.settimeout(_LOOK)
                with contextlib.suppress(websocket.WebSocketTimeoutException):
                    event = parse_json(events.recv())
                    if event.get("action") == "restart" and event.get("kernel_id") == kernel.rpartition("/")[2]:
                        self._restarts, self._last_restart = self._restarts + 1, time.monotonic()

    def _end_of(self, kernel: str) -> str | None:
        """Why a kernel will never be ready; None for one that may be."""
        try:
            hub = self._hub.with_deadline(min(self._deadline, time.monotonic() + _SHORT))
            state = Facts(self._server(hub).request("GET", kernel)).state
        except HubError as error:
            return "the server has given it up" if isinstance(error, NotFound) else None
        return state if state == "dead" else None

    def _handshake(self, url: str, timeout: float) -> Any:
        return opened(self._hub, url, timeout)

    def _refusal(self, error: Exception, url: str) -> HubError:
        """What it says that there is no websocket. It is ``passing`` where another try may get one."""
        hint = "Look whether a proxy before the hub lets websockets through."
        if isinstance(error, websocket.WebSocketBadStatusException):
            status = error.status_code
            message = f"The {self._what} refuses the kernel's websocket with {status}."
            # A proxy's 500 and the server's own look the same: both come as a page.
            is_passing = status in EDGE or status == 500
            return HubFailure(message, hint, status=status, method="GET", url=url, is_passing=is_passing)
        refusal = Unreachable(
            f"There is no connection to the kernel's websocket of the {self._what}: {error}.",
            "Look whether a proxy before the hub, or one of the environment (http_proxy, NO_PROXY), lets websockets "
            "through.",
            method="GET", url=url,
        )  # fmt: skip
        broken = (OSError, websocket.WebSocketConnectionClosedException, websocket.WebSocketAddressException)
        is_distrusted = isinstance(error, ssl.SSLCertVerificationError)
        return refusal.with_passing(isinstance(error, broken) and not is_distrusted)

    # Why there is none

    def died(self, kernel: str, how: str, *, began: bool) -> HubError:
        """A kernel that has gone, before the code began or after."""
        if began:
            return _diagnosis.died_at_work(self._what, how)
        return _diagnosis.died_early(self._what, how, self._facts(kernel))

    def late(self, kernel: str, *, began: bool) -> HubError:
        """The time is over."""
        if began:
            return _diagnosis.late_at_work(self._what, self._timeout)
        return _diagnosis.late_early(self._what, self._timeout, self._facts(kernel))

    def _facts(self, kernel: str | None = None) -> Facts:
        """What the server says of its kernel specs and this kernel, asked both at once, and for a moment only."""
        patience = min(max(self._left, _MOMENT), _SHORT)
        server = self._server(self._hub.with_deadline(time.monotonic() + patience))
        asked = [in_background(partial(server.request, "GET", url)) for url in ("api/kernelspecs", kernel) if url]
        wait(asked, patience)
        told = [one.result() if one.done() and not one.exception() else None for one in asked]
        return _diagnosis.facts_of(told[0], told[1] if kernel else None, self._restarts)
