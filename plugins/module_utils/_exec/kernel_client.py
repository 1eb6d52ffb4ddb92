# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernels of one server: starts a kernel, connects to it, finds out why it failed, and deletes it.

The server's side is Jupyter Server's REST API, and its websocket for a kernel's messages.
"""

from __future__ import annotations

import contextlib
import ssl
import time
import uuid
from concurrent.futures import FIRST_COMPLETED, wait
from functools import partial
from threading import Event, Lock
from typing import Any
from urllib.parse import quote

from .._hub.client import HubClient
from .._hub.errors import (
    Conflict,
    HubError,
    NotFound,
    RateLimited,
)
from .._hub.polling import poll_until
from .._hub.responses import parse_json
from .._hub.server_client import ServerClient
from .._hub.threads import in_background
from . import failures
from .failures import Facts
from .websocket import (
    Channel,
    ConnectionLost,
    KernelLost,
    OutOfTime,
    open_websocket,
)

try:
    import websocket
except ImportError:
    pass  # `require_websocket` reports it before anything here needs it

_DELETE_TIMEOUT, _PAUSE = 15.0, 0.2
"""Seconds: how long a kernel may take to end, and the pause between two requests for its end."""
_CLAIM_TIME = 3.0
"""Seconds within which a client connects to the kernel that it has started."""
_LOOK_PAUSE = 1.0
"""Seconds between two requests that wait for a kernel or watch it."""
_QUERY_TIMEOUT, _LAST_QUERY_TIMEOUT = 5.0, 0.8
"""Seconds to wait for a server to show why it has no kernel: before the deadline, and after it."""
_SEND_TIME = 0.4
"""Seconds to wait until a DELETE is sent. After the deadline, nobody waits for its answer."""
_MAX_RESTARTS = 1
"""How often a kernel's process may be started again. The first process may have failed because a port was in use."""


class KernelRestarted(Exception):
    """The server has started the kernel's process again, but still waits for an answer of the first process.

    Jupyter Server asks a kernel once for its information. It opens no websocket before it has the answer, or before its
    ``kernel_info_timeout`` of 60 s is over (``request_kernel_info`` in its services/kernels/connection/channels.py). A
    process that finds one of its ports in use never answers.
    """


class KernelClient:
    """The kernels of the server at ``url``. The methods identify a kernel by its address.

    ``what`` is the server's name in a sentence, for failures. The task has ``timeout`` seconds in all, and ends at the
    ``deadline`` (of `time.monotonic`).
    """

    def __init__(self, hub: HubClient, url: str, what: str, timeout: float, deadline: float) -> None:
        self._hub = hub
        self._url = hub.check_address(url) if url else url
        self._what = what
        self._timeout = timeout
        self.deadline = deadline
        """The end of the task. `KernelSession.extend` may move it."""
        self.kernel_name = ""
        """The name of the kernel spec that was started last, or empty if the server has not said it."""
        self._wanted_name = ""
        self._last_kernel = ""
        """The address of the kernel that was requested last."""
        self._lock = Lock()
        """Held while a kernel is about to be requested, so that none is requested after `abandon`."""
        self._has_answer = Event()
        """Set when the last request for a kernel was answered, or has failed."""
        self._is_abandoned = False
        self._restarts = 0
        self._last_restart = 0.0
        """When the server last started the process again, by `time.monotonic`."""

    @property
    def _seconds_left(self) -> float:
        return max(self.deadline - time.monotonic(), 0.0)

    def _server(self, hub: HubClient) -> ServerClient:
        """Return the server as this client of its hub reaches it, with its deadline."""
        return hub.server(self._url, self._what)

    # From a kernel's start to its end

    def start(self, kernel_name: str = "") -> str:
        """Start a new kernel and return its address. Raises `KernelFailed`, or the failure that the hub answers.

        ``kernel_name`` is the name of a kernel spec. If it is empty, the server starts its default.
        """
        # An older Jupyter Server ignores this id and chooses one.
        kernel_id, hub = str(uuid.uuid4()), self._hub.with_long_request(self.deadline)
        self._restarts = 0
        self._wanted_name = self.kernel_name = kernel_name
        earlier_ids = self._read_earlier_ids(hub)
        with self._lock:
            if self._is_abandoned:
                raise Conflict("The task was interrupted.", "Run it again.")
            self._has_answer.clear()
            self._last_kernel = self._address_of(kernel_id)
        try:
            return self._start(hub, kernel_id, earlier_ids)
        finally:
            self._has_answer.set()

    def _start(self, hub: HubClient, kernel_id: str, earlier_ids: set[str]) -> str:
        """Start the kernel with this id, and return its address."""
        try:
            model = self._request_kernel(hub, kernel_id)
        except HubError as error:
            if error.is_passing:
                return self._wait_for_kernel(kernel_id, earlier_ids, error)
            if error.status == 500:
                self.clean_up(self._address_of(kernel_id))
            raise self._explain_refusal(error) from None
        if not isinstance(model, dict) or not isinstance(model.get("id"), str):
            raise failures.no_jupyter_server(self._what)
        self.kernel_name = str(model.get("name") or self._wanted_name)
        self._last_kernel = self._address_of(model["id"])
        return self._last_kernel

    def _read_earlier_ids(self, hub: HubClient) -> set[str]:
        """Return the ids of the kernels that the server has before a new one is started."""

        def look() -> tuple[set[str]]:
            try:
                return (set(self._list_kernels(hub)),)
            except HubError as error:
                # A program without kernels answers 404, as a proxy does.
                raise error.with_passing(error.is_passing and error.status != 404) from None

        try:
            return poll_until(look, self.deadline)[0]
        except HubError as error:
            if error.is_passing:
                raise failures.start_timed_out(self._what, self._timeout, error, has_answered=False) from None
            raise self._explain_refusal(error) from None

    def _explain_refusal(self, error: HubError) -> HubError:
        """Return the failure for an answer with which the server itself, and no proxy, refuses a request."""
        if error.status in (400, 404, 500, 501):
            return failures.start_refused(self._what, error, self._read_facts())
        return error

    def _request_kernel(self, hub: HubClient, kernel_id: str) -> Any:
        """Send the request for a new kernel, and return the server's answer."""
        body = {"kernel_id": kernel_id, **({"name": self._wanted_name} if self._wanted_name else {})}
        while True:
            try:
                return self._server(hub).request("POST", "api/kernels", body=body)
            except RateLimited as error:  # a server that answers 429 has started nothing
                pause = max(error.retry_after or 0.0, _LOOK_PAUSE)
                if pause > self._seconds_left:
                    raise
            time.sleep(pause)

    def _list_kernels(self, hub: HubClient) -> dict[str, dict[str, Any]]:
        """Return the server's kernels by their ids."""
        answer = self._server(hub).request("GET", "api/kernels")
        models = answer if isinstance(answer, list) else []
        return {str(model.get("id")): model for model in models if isinstance(model, dict)}

    def _wait_for_kernel(self, kernel_id: str, earlier_ids: set[str], error: HubError) -> str:
        """Wait until the server lists the kernel that was requested, and return its address.

        ``error`` says that the answer to the request was lost, or that a proxy answered it. A server that starts the
        kernel may not list it before it is ready.
        """
        end, first_seen = max(self.deadline, time.monotonic() + _LAST_QUERY_TIMEOUT), dict[str, float]()
        hub, found_id = self._hub.with_deadline(end), ""
        while True:
            has_answered = True
            try:
                found_id = self._find_own_kernel(self._list_kernels(hub), kernel_id, earlier_ids, first_seen)
            except HubError as failure:
                if not failure.is_passing:
                    raise
                has_answered = False
            if found_id or time.monotonic() >= end:
                break
            time.sleep(min(_LOOK_PAUSE, max(end - time.monotonic(), 0.001)))
        if found_id and self._seconds_left:
            return self._address_of(found_id)
        self.clean_up(self._address_of(found_id or kernel_id))
        missing_id = "" if found_id else kernel_id
        raise failures.start_timed_out(
            self._what, self._timeout, error, has_answered=has_answered, kernel_id=missing_id
        ) from None

    def _find_own_kernel(
        self, kernels: dict[str, dict[str, Any]], kernel_id: str, earlier_ids: set[str], first_seen: dict[str, float]
    ) -> str:
        """Return the id of the kernel that was requested, or an empty text if it is not among these ``kernels``.

        ``first_seen`` has the time at which this function first saw a kernel with another id. This function updates it.
        """
        if kernel_id in kernels:
            return kernel_id
        unused_ids = [other for other in kernels.keys() - earlier_ids if kernels[other].get("connections") == 0]
        # Somebody else may have started a kernel at the same moment. A client soon connects to such a kernel.
        if len(unused_ids) == 1:
            (only_id,) = unused_ids
            if time.monotonic() - first_seen.setdefault(only_id, time.monotonic()) >= _CLAIM_TIME:
                return only_id
        return ""

    def _address_of(self, kernel_id: str) -> str:
        return f"{self._url}api/kernels/{quote(kernel_id)}"

    def connect(self, kernel: str, *, is_last: bool = True) -> Channel:
        """Connect to a kernel. Raises `KernelRestarted`, unless this is the last try (``is_last``).

        Raises `KernelLost`, `OutOfTime`, or a failure of the websocket.
        """
        return Channel(self._open_websocket(kernel, is_last=is_last), self.deadline)

    def clean_up(self, kernel: str) -> None:
        """Delete the kernel, and wait for its end until the deadline. After the deadline, only send the request."""
        wait(
            [in_background(partial(self.delete, kernel))],
            min(max(self._seconds_left, _SEND_TIME), _DELETE_TIMEOUT),
        )

    def abandon(self) -> None:
        """Delete the kernel that was requested last, whatever has become of it, and start no further one.

        Another thread may call this. It waits for the answer to a request for a kernel, because a server that is still
        starting the kernel does not know it yet.
        """
        with self._lock:
            self._is_abandoned = True
        if self._last_kernel:
            self._has_answer.wait(_DELETE_TIMEOUT)
            self.delete(self._last_kernel)

    def delete(self, kernel: str, timeout: float = _DELETE_TIMEOUT) -> bool:
        """Delete the kernel and wait for its end, at most ``timeout`` seconds. Return whether it existed.

        While a server restarts a kernel that died, it answers 500 to a DELETE, and has a new kernel a moment later.
        """
        end, is_deleted = time.monotonic() + timeout, False
        hub = self._hub.with_long_request(end)  # the server answers when the kernel has ended
        while time.monotonic() < end:
            try:
                self._server(hub).request("DELETE", kernel)
                is_deleted = True
                self._server(hub).request("GET", kernel)
            except HubError as error:
                if error.status != 500:
                    break  # the kernel does not exist any more, or its server does not
            time.sleep(_PAUSE)
        return is_deleted

    # A kernel's websocket

    def _open_websocket(self, kernel: str, *, is_last: bool = True) -> Any:
        """Return the kernel's websocket, which the server opens when the kernel is ready."""
        url, stop, pause, began = f"{kernel}/channels", Event(), _PAUSE, 0.0
        refusal: HubError | None = None
        watcher = in_background(partial(self._watch_for_end, kernel, stop))
        in_background(partial(self._count_restarts, kernel, stop))
        try:
            while self._seconds_left:
                began = time.monotonic()
                # In the background, because a handshake that arrives byte by byte would never time out.
                handshake = in_background(partial(self._try_handshake, url, self._seconds_left))
                while (
                    not wait([handshake, watcher], min(self._seconds_left, _LOOK_PAUSE), FIRST_COMPLETED).done
                    and self._seconds_left
                ):
                    if not is_last and self._restarts and time.monotonic() - self._last_restart > _QUERY_TIMEOUT:
                        raise KernelRestarted
                if handshake.done():
                    try:
                        return handshake.result()
                    except (websocket.WebSocketException, OSError) as error:
                        refusal = self._explain_handshake_error(error, url)
                if watcher.done() or refusal:
                    reason = watcher.result() if watcher.done() else self._find_end(kernel)
                    if reason:
                        raise KernelLost(reason)
                if refusal and not refusal.is_passing:
                    raise refusal
                time.sleep(min(pause, self._seconds_left))
                pause = min(pause * 1.5, _LOOK_PAUSE)
            if refusal and time.monotonic() - began < _QUERY_TIMEOUT:
                raise refusal
            raise OutOfTime
        finally:
            stop.set()

    def _watch_for_end(self, kernel: str, stop: Event) -> str | None:
        """Watch the kernel until it is certain that it will never be ready, and return why.

        Returns None when ``stop`` is set, or at the deadline.
        """
        while not stop.wait(_LOOK_PAUSE) and self._seconds_left:
            reason = self._find_end(kernel)
            if reason:
                return reason
            if self._restarts > _MAX_RESTARTS:
                return f"the server has started it {self._restarts + 1} times"
        return None

    def _count_restarts(self, kernel: str, stop: Event) -> None:
        """Count how often the server starts the kernel's process again, from its events (Jupyter Server 2 has them).

        The server's API does not show restarts: a kernel whose process ends at once is ``starting`` there, like a
        kernel that hangs.
        """
        if stop.wait(_LOOK_PAUSE):
            return
        url = f"{self._url}api/events/subscribe"
        with contextlib.closing(self._try_handshake(url, _QUERY_TIMEOUT)) as events:
            while self._seconds_left and not stop.is_set():
                events.settimeout(_LOOK_PAUSE)
                with contextlib.suppress(websocket.WebSocketTimeoutException):
                    event = parse_json(events.recv())
                    if event.get("action") == "restart" and event.get("kernel_id") == kernel.rpartition("/")[2]:
                        self._restarts, self._last_restart = self._restarts + 1, time.monotonic()

    def _find_end(self, kernel: str) -> str | None:
        """Return why a kernel will never be ready, or None if it may be."""
        try:
            hub = self._hub.with_deadline(min(self.deadline, time.monotonic() + _QUERY_TIMEOUT))
            state = Facts(self._server(hub).request("GET", kernel)).state
        except HubError as error:
            return "the server has given it up" if isinstance(error, NotFound) else None
        return state if state == "dead" else None

    def _try_handshake(self, url: str, timeout: float) -> Any:
        return open_websocket(self._hub, url, timeout)

    def _explain_handshake_error(self, error: Exception, url: str) -> HubError:
        """Return what a failed handshake means. The failure ``is_passing`` if another try may succeed."""
        if isinstance(error, websocket.WebSocketBadStatusException):
            return failures.websocket_refused(self._what, error.status_code, url)
        broken = (OSError, websocket.WebSocketConnectionClosedException, websocket.WebSocketAddressException)
        is_untrusted = isinstance(error, ssl.SSLCertVerificationError)
        is_passing = isinstance(error, broken) and not is_untrusted
        return failures.no_websocket(self._what, error, url).with_passing(is_passing)

    # Why there is no result

    def explain_loss(self, kernel: str, loss: KernelLost, *, has_begun: bool) -> HubError:
        """Return the failure of a kernel that was lost, before the code began or after (``has_begun``)."""
        if has_begun and isinstance(loss, ConnectionLost):
            facts = self._read_facts(kernel)
            if facts.state in ("idle", "busy"):
                return failures.connection_cut(self._what, str(loss))
            if facts.specs is None:  # for example, the hub and its proxy restart
                return failures.server_lost(self._what, str(loss))
        if has_begun:
            return failures.died_during_code(self._what, str(loss))
        return failures.died_before_ready(self._what, str(loss), self._read_facts(kernel))

    def explain_timeout(
        self, kernel: str, *, has_begun: bool, timeout: float | None = None, option: str = "timeout"
    ) -> HubError:
        """Return the failure at the deadline, before the code began or after (``has_begun``).

        ``timeout`` is the limit of the execution, if it was not the limit of the whole task that is over. ``option``
        is the option with the limit.
        """
        if has_begun:
            return failures.code_timed_out(self._what, self._timeout if timeout is None else timeout, option)
        return failures.kernel_timed_out(self._what, self._timeout, self._read_facts(kernel))

    def _read_facts(self, kernel: str | None = None) -> Facts:
        """Return what the server shows of its kernel specs and of this kernel. Both requests go out at once."""
        timeout = min(max(self._seconds_left, _LAST_QUERY_TIMEOUT), _QUERY_TIMEOUT)
        server = self._server(self._hub.with_deadline(time.monotonic() + timeout))
        requests = [in_background(partial(server.request, "GET", url)) for url in ("api/kernelspecs", kernel) if url]
        wait(requests, timeout)
        answers = [each.result() if each.done() and not each.exception() else None for each in requests]
        return Facts.from_answers(answers[0], answers[1] if kernel else None, self._restarts, self._wanted_name)
