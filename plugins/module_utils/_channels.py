# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernels of one server: started, connected to, told apart where they fail, and deleted.

The server's side is Jupyter Server's REST API, and its websocket for a kernel's messages.

This file is private to the collection: it may change without notice.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import ssl
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import wait
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from ansible_collections.hubops.jupyterhub.plugins.module_utils._background import in_background
from ansible_collections.hubops.jupyterhub.plugins.module_utils._client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import (
    HubError,
    HubFailure,
    KernelFailed,
    NotFound,
    Timeout,
    UnexpectedAnswer,
    Unreachable,
    quoted,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._messages import V1
from ansible_collections.hubops.jupyterhub.plugins.module_utils._websocket import Channel, ChannelLost, OutOfTime

try:
    import websocket
except ImportError:
    HAS_WEBSOCKET = False
else:
    HAS_WEBSOCKET = True

_CLEANING, _PAUSE = 15.0, 0.2
"""Seconds: how long a kernel may take to be gone, and between two looks."""
_CLAIMED = 3.0
"""Seconds within which whoever starts a kernel is connected to it."""
_LOOK = 1.0
"""Seconds between two looks whether a kernel is still there that is not ready yet."""
_SHORT = 5.0
"""Seconds that a server gets to say what its kernels are, or to end one, once they have failed."""
_LOG = "Look into the server's own log"


class Kernels:
    """Those of the server at this address, for one who waits up to the ``deadline``, ``timeout`` s in all."""

    def __init__(self, hub: HubClient, url: str, what: str, timeout: float, deadline: float) -> None:
        self._hub = hub
        self._url = hub.address(url) if url else url
        self._what = what
        self._timeout = timeout
        self._deadline = deadline

    # From its start to its end

    def start(self) -> str:
        """The address of a kernel of our own. Raises `KernelFailed`, `Timeout`, or what the hub says."""
        # An older Jupyter Server does not take this id, and gives one of its own.
        number, hub, before = str(uuid.uuid4()), self._hub.patient(self._deadline), None
        try:
            before = set(self._listed(hub))
            model = hub.ask_server("POST", f"{self._url}api/kernels", what=self._what, body={"kernel_id": number})
        except HubError as error:
            if before is not None and (error.passing or error.status == 500):
                self._delete_lost(number, before)
            raise self._why_not(error) from None
        if not isinstance(model, dict) or not isinstance(model.get("id"), str):
            raise self._unlike()
        return self._address(model["id"])

    def _unlike(self) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            f"The {self._what} answers, but not as a Jupyter Server does.", "Run code in one that has kernels."
        )

    def _listed(self, hub: HubClient) -> dict[str, dict[str, Any]]:
        """The server's kernels, by their ids."""
        found = hub.ask_server("GET", f"{self._url}api/kernels", what=self._what)
        models = found if isinstance(found, list) else []
        return {str(model.get("id")): model for model in models if isinstance(model, dict)}

    def _delete_lost(self, number: str, before: set[str]) -> None:
        """Delete the kernel that was started and whose answer was lost, if there is one."""
        if self.delete(self._address(number), _SHORT):
            return
        hub = self._hub.by(time.monotonic() + _SHORT)
        lost = self._unused(hub) - before
        # Not one that somebody else has started at the same moment: that is soon connected to.
        if len(lost) == 1:
            time.sleep(_CLAIMED)
            for other in lost & self._unused(hub):
                self.delete(self._address(other))

    def _unused(self, hub: HubClient) -> set[str]:
        """The ids of the kernels that nobody is connected to."""
        try:
            return {number for number, model in self._listed(hub).items() if model.get("connections") == 0}
        except HubError:
            return set()

    def _address(self, number: str) -> str:
        return f"{self._url}api/kernels/{quote(number)}"

    @contextlib.contextmanager
    def connect(self, kernel: str) -> Iterator[Channel]:
        """Speak to a kernel within the block."""
        channel = Channel(self._connected(kernel), self._deadline)
        try:
            yield channel
        finally:
            channel.close()

    def delete(self, kernel: str, patience: float = _CLEANING) -> bool:
        """Delete the kernel and see it gone, for ``patience`` s; whether it was there.

        While a server restarts a kernel that died, it answers 500 to a DELETE, and has a new kernel a moment later.
        """
        over, deleted = time.monotonic() + patience, False
        hub = self._hub.by(over)
        while time.monotonic() < over:
            try:
                hub.ask_server("DELETE", kernel, what=self._what)
                deleted = True
                hub.ask_server("GET", kernel, what=self._what)
            except HubError as error:
                if error.status != 500:
                    break  # it is gone, or its server is
            time.sleep(_PAUSE)
        return deleted

    def _connected(self, kernel: str) -> Any:
        """The kernel's websocket, which a server opens when the kernel is ready.

        One whose process ends at once is started again some times, and is gone then. The server tells nothing else.
        """
        url = f"{kernel}/channels"
        # In the background, for a handshake that comes byte by byte would have no end.
        handshake = in_background(partial(self._handshake, url, max(self._deadline - time.monotonic(), 0.001)))
        while not wait([handshake], max(min(self._deadline - time.monotonic(), _LOOK), 0.001)).done:
            if time.monotonic() >= self._deadline:
                raise OutOfTime
            if self._is_gone(kernel):
                raise ChannelLost("its process ended as often as the server started it")
        try:
            return handshake.result()
        except websocket.WebSocketTimeoutException:
            raise OutOfTime from None
        except websocket.WebSocketBadStatusException as error:
            raise HubFailure(
                f"The {self._what} refuses the kernel's websocket with {error.status_code}.",
                "Look whether a proxy before the hub lets websockets through.",
                status=error.status_code, method="GET", url=url,
            ) from None  # fmt: skip
        except (websocket.WebSocketException, OSError) as error:
            raise Unreachable(
                f"There is no connection to the kernel's websocket of the {self._what}: {error}.",
                "Look whether a proxy before the hub, or one of the environment (http_proxy, NO_PROXY), lets "
                "websockets through.",
                method="GET", url=url,
            ) from None  # fmt: skip

    def _is_gone(self, kernel: str) -> bool:
        try:
            self._hub.by(min(self._deadline, time.monotonic() + _SHORT)).ask_server("GET", kernel, what=self._what)
        except HubError as error:
            return isinstance(error, NotFound)
        return False

    def _handshake(self, url: str, timeout: float) -> Any:
        parts, connection = urlsplit(url), self._hub.connection
        target = urlunsplit(parts._replace(scheme="wss" if parts.scheme == "https" else "ws"))
        # The same CAs as for requests, which the websocket's library would choose otherwise.
        trusted = self._hub.trusted_cas(url)
        options: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
        if trusted:
            options = {"ca_cert_path" if os.path.isdir(trusted) else "ca_certs": trusted}
        if connection.client_cert:
            options |= {"certfile": connection.client_cert, "keyfile": connection.client_key}
        return websocket.create_connection(
            target,
            timeout=timeout,
            header=self._hub.token_header(target),
            subprotocols=[V1],
            # A proxy may give the server another Host than this; there is no browser whose origin would matter.
            suppress_origin=True,
            sslopt=options,
            redirect_limit=0,
            **_through(self._hub.proxy(url)),
        )

    # Why there is none

    def died(self, how: str, *, began: bool) -> KernelFailed:
        """A kernel that has gone, before the code began or after."""
        if began:
            return KernelFailed(
                f"The kernel in the {self._what} died ({how}) before the code ended.",
                "Look whether the code ends its own process, or the server's memory limit was reached.",
            )
        return KernelFailed(
            f"The kernel in the {self._what} died before it was ready ({how}). {self._said()}",
            f"{_LOG}, which has what the process said, and whether what it starts is installed in the server's image.",
        )

    def late(self, *, began: bool) -> HubError:
        """The time is over."""
        if began:
            return Timeout(
                f"The code in the {self._what} did not end within {self._timeout:g} s.",
                "Give it longer with timeout, or mend what it waits for. Its kernel was ended.",
            )
        return KernelFailed(
            f"The kernel in the {self._what} was started and has not answered within {self._timeout:g} s: it hangs, or "
            f"ends again and again, before it is ready. {self._said()}",
            f"{_LOG}, or give it longer with timeout. Its kernel was ended.",
        )

    def _why_not(self, error: HubError) -> HubError:
        """Why the server has started none."""
        late = time.monotonic() >= self._deadline or isinstance(error, Timeout)
        if late:
            try:
                self._ask_shortly("api/kernels")
            except HubError:
                return KernelFailed(
                    f"The kernels API of the {self._what} does not answer.",
                    f"{_LOG}: its manager of kernels hangs, or the server has no time.",
                    status=error.status, method=error.method, url=error.url,
                )  # fmt: skip
            return KernelFailed(
                f"The {self._what} has not started a kernel within {self._timeout:g} s.",
                f"{_LOG}, or give it longer with timeout.", method=error.method, url=error.url,
            )  # fmt: skip
        if error.status not in (400, 404, 500, 501):
            return error
        specs = self._specs()
        if specs is None and error.status == 404:
            return self._unlike()
        if specs is None:
            return error
        if not specs:
            return KernelFailed(
                f"The {self._what} has no kernel spec at all, so it has no kernel to start.",
                "Install a kernel, such as ipykernel, into the server's image or environment.",
                status=error.status, method=error.method, url=error.url,
            )  # fmt: skip
        return KernelFailed(
            f"The {self._what} cannot start its kernel: {error.reason or error.message}. {self._said()}",
            f"{_LOG}. Look whether the command of the kernel spec is there in the server's image.",
            status=error.status, method=error.method, url=error.url,
        )  # fmt: skip

    def _ask_shortly(self, path: str) -> Any:
        return self._hub.by(time.monotonic() + _SHORT).ask_server("GET", f"{self._url}{path}", what=self._what)

    def _specs(self) -> dict[str, Any] | None:
        """The server's kernel specs by name; None where it does not tell."""
        with contextlib.suppress(HubError):
            found = self._ask_shortly("api/kernelspecs")
            if isinstance(found, dict) and isinstance(found.get("kernelspecs"), dict):
                self._default = str(found.get("default") or "")
                return dict(found["kernelspecs"])
        return None

    _default = ""

    def _said(self) -> str:
        """What the kernel spec that is started says, in a sentence."""
        specs = self._specs()
        if not specs:
            return "The server does not tell its kernel specs." if specs is None else "It has no kernel spec at all."
        model = specs.get(self._default)
        if not isinstance(model, dict):
            return (
                f"Its default kernel spec {quoted(self._default)} is not there; it has {', '.join(map(quoted, specs))}."
            )
        spec = model.get("spec")
        command = spec.get("argv") if isinstance(spec, dict) else None
        words = shlex.join(map(str, command)) if isinstance(command, list) else "an unknown command"
        return f"Its kernel spec {quoted(self._default)} starts {quoted(words)}."


def _through(proxy: str | None) -> dict[str, Any]:
    """The websocket library's options for this proxy, or for none whatever the environment says."""
    if not proxy:
        # Without a host, the library asks the environment, by rules of its own.
        return {"http_proxy_host": "none", "http_no_proxy": ["*"]}
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    kind = parts.scheme if parts.scheme.startswith("socks") else "http"
    auth = (parts.username, parts.password or "") if parts.username else None
    return {
        "http_proxy_host": parts.hostname, "http_proxy_port": parts.port or 80, "http_proxy_auth": auth,
        # Not what the environment exempts, which has been looked at.
        "proxy_type": kind, "http_no_proxy": ["-"],
    }  # fmt: skip
