# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends requests to one host, with one token and within a deadline, and repeats requests that are safe to repeat.

Nothing here depends on a hub's API. All requests of the collection go through here, except the websocket's. The
websocket takes its address, its token and its CA certificates from here.
"""

from __future__ import annotations

import contextlib
import math
import socket
import time
import warnings
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from copy import copy
from dataclasses import replace
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .connection import (
    Connection,
    invalid_hub_url,
    is_address,
    join_url,
    scheme_and_port,
)
from .errors import (
    HubError,
    Invalid,
    Timeout,
    UnexpectedAnswer,
    quoted,
)
from .masking import MIN_TOKEN_LENGTH
from .responses import (
    connection_failed,
    is_passing,
    is_untrusted_certificate,
    read_retry_after,
    request_timed_out,
)
from .threads import in_background, wait_for

try:
    import requests
    from requests.adapters import HTTPAdapter
    from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy
    from urllib3.exceptions import InsecureRequestWarning, NewConnectionError
    from urllib3.util.retry import Retry
except ImportError:
    HAS_REQUESTS = False
else:
    HAS_REQUESTS = True

    class _Session(requests.Session):
        """Ignores redirects. The library would parse the target of each, and fail if it is not a URL."""

        def get_redirect_target(self, resp: requests.Response) -> str | None:
            return None

    def _count_refusals(absences: list[float]) -> type[Retry]:
        """Return a `Retry` that adds the time of each refused connection to the list. The library does not tell."""

        class CountingRetry(Retry):
            def increment(self, *args: Any, **more: Any) -> Any:
                if isinstance(more.get("error"), NewConnectionError):
                    absences.append(time.monotonic())
                return super().increment(*args, **more)

        return CountingRetry


_SAFE_METHODS = ("GET", "DELETE")
"""Methods that are safe to repeat: the second request changes nothing."""
PAUSE, LONGEST_PAUSE = 0.2, 1.0
"""Seconds to wait before repeating a request that a proxy has answered in the hub's place: the first, and the longest
pause."""
_EDGE_PATIENCE = 5.0
"""Seconds for which a request is repeated while a proxy answers in the hub's place. A GET with a deadline is repeated
up to the deadline."""
_LAST_TIMEOUT = 1.0
"""Seconds that a request may take even at the deadline. The last answer decides what the task reports."""
_BUSY_HUB_TIMEOUT = 5.0
"""Seconds within which a working hub answers, even a busy one. No answer in a shorter time says nothing about the hub.
"""
_PROBE_TIMEOUT = 10.0
"""Seconds to wait for the answer to a probe, which is a request that costs the other side little."""
_MAX_ANSWER_BYTES = 256 << 20
"""The largest answer, in bytes: a thousand times the size of a page of a list."""

R = TypeVar("R")
T = TypeVar("T", bound="Transport")


def _hang_up(response: requests.Response) -> None:
    """End a connection that another thread reads, so that the thread ends. `close` would wait for the thread."""
    connection: Any = response.raw.connection
    with contextlib.suppress(OSError, AttributeError):  # it may have ended meanwhile
        connection.sock.shutdown(socket.SHUT_RDWR)


def read_within(timeout: float, read: Callable[[list[requests.Response]], R]) -> R:
    """Return what ``read`` returns. Raises what it raises, and `FutureTimeout` after ``timeout`` seconds.

    ``read`` adds each answer that it opens to the list. After the timeout their connections are ended. The HTTP
    library's own timeout starts again at each byte and at each repetition, so an answer that arrives slowly would never
    end.
    """
    opened: list[requests.Response] = []
    work = in_background(partial(read, opened))
    try:
        wait_for([work], timeout)
        return work.result(0)
    except FutureTimeout:
        for response in opened:
            _hang_up(response)
        raise


class Transport:
    """Requests to one hub and the servers behind it, with one token. A context manager that closes the connections.

    Each token is added to ``secrets``, so that the caller can mask it in the texts that it shows. Raises `Invalid` if
    the HTTP library is missing, or if it cannot use ``hub_url``.
    """

    def __init__(self, connection: Connection, secrets: set[str] | None = None) -> None:
        if not HAS_REQUESTS:
            raise Invalid(
                "The Python library requests is not installed where this task runs.", "Install it: pip install requests"
            )
        self.connection = connection
        self._secrets = set() if secrets is None else secrets
        self._remember_secret(connection.api_token)
        self.deadline = math.inf
        self.proxy_answers = 0
        """How often a request was repeated because a proxy had answered in the hub's place."""
        self._absences: list[float] = []
        """When the hub gave no answer (`time.monotonic`). All copies of this client share the list."""
        self._session = _Session()
        # Several tokens share a session (`with_token`). A cookie of one would be sent with the requests of another.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        if not connection.validate_certs:
            # The user has turned the check off, so a warning at each request would not help.
            warnings.simplefilter("ignore", InsecureRequestWarning)
        # The library repeats a request if its method is safe, or if there was no connection to send it over. `send`
        # repeats requests because of their answers.
        retry = _count_refusals(self._absences)(
            total=3,
            read=1,
            other=0,
            backoff_factor=0.2,
            allowed_methods=_SAFE_METHODS,
            respect_retry_after_header=False,
        )
        # The start of a server takes up to three connections: for its POST, its progress stream, and a GET of its
        # state.
        adapter = HTTPAdapter(max_retries=retry, pool_maxsize=300)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        if self._normalize_address(self.url) is None:
            raise invalid_hub_url()

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._session.close()

    def with_token(self: T, api_token: str) -> T:
        """Return a client of the same hub with another token. Raises `Invalid` if the text cannot be a token."""
        self._remember_secret(api_token.strip())
        other = copy(self)
        other.connection = replace(self.connection, api_token=api_token)
        return other

    def _remember_secret(self, secret: str) -> None:
        if len(secret) >= MIN_TOKEN_LENGTH:
            self._secrets.add(secret)

    def with_long_request(self: T, deadline: float) -> T:
        """Return a client of the same hub whose single request may take until the ``deadline`` (of `time.monotonic`).

        It is for requests that the other side answers only when its work is done, such as the start of a kernel.
        """
        other = self.with_deadline(deadline)
        left = max(deadline - time.monotonic(), _LAST_TIMEOUT)
        other.connection = replace(self.connection, request_timeout=left)
        return other

    def with_deadline(self: T, deadline: float) -> T:
        """Return a client of the same hub that waits for no answer beyond the ``deadline`` (of `time.monotonic`)."""
        other = copy(self)
        other.deadline = deadline
        return other

    @property
    def url(self) -> str:
        return self.connection.hub_url

    def was_away_since(self, moment: float) -> bool:
        """Return whether the hub, or a server behind it, has left a request without an answer since ``moment``.

        ``moment`` is a time of `time.monotonic`. A hub that restarts may end servers that run.
        """
        return bool(self._absences) and self._absences[-1] >= moment

    def resolve(self, url: str) -> str:
        """Return the address that the hub gives as a path, or, with subdomains, as a whole URL."""
        return join_url(self.url, url)

    def check_address(self, url: str) -> str:
        """Return a server's address from the hub's answer, as the HTTP library reads it.

        Raises `UnexpectedAnswer` if two programs may read two hosts in it, because the wrong one might get the token.
        """
        found = self._normalize_address(url)
        if found is None:
            raise UnexpectedAnswer(
                f"The hub returns the address {quoted(url)}, which is not valid.",
                "Check what sets it: the hub's configuration, its proxy, or the spawner.",
            )
        return found

    @staticmethod
    def _normalize_address(url: str) -> str | None:
        """Return the address in the form in which the HTTP library uses it, or None if it is not an address."""
        try:
            return str(requests.Request("GET", url).prepare().url) if is_address(url) else None
        except (requests.RequestException, ValueError):
            return None

    def token_header(self, url: str) -> dict[str, str]:
        """Return the header with the token, or no header if ``url`` is not at the hub's host or a subdomain of it.

        ``url`` is the address to which the HTTP library connects, see `check_address`.
        """
        hub, other = urlsplit(self.url), urlsplit(url)
        host, home = other.hostname or "", hub.hostname or ""
        same = scheme_and_port(other) == scheme_and_port(hub) and (host == home or host.endswith("." + home))
        token = self.connection.api_token
        return {"Authorization": f"token {token}"} if same and token else {}

    def trusted_cas(self, url: str) -> str:
        """Return the file or folder of CA certificates that requests to this address trust.

        Returns an empty text if requests do not check certificates.
        """
        verify = self._settings(url)["verify"]
        return str(DEFAULT_CA_BUNDLE_PATH if verify is True else verify or "")

    def proxy(self, url: str) -> str | None:
        """Return the address of the proxy that the environment names for requests to this address, or None."""
        return select_proxy(url, self._settings(url)["proxies"])

    def _settings(self, url: str) -> Any:
        """Return the settings that the HTTP library reads from the environment for this address."""
        return self._session.merge_environment_settings(url, {}, None, self.connection.verify, None)

    def send(
        self,
        method: str,
        url: str,
        *,
        token: bool = True,
        body: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        """Send one request and return its answer, whatever its status. Raises `HubError` if no answer arrives.

        A request that is safe to repeat is repeated while a proxy answers in the hub's place, or while the hub asks to
        be called again later.
        """
        patience = self.connection.request_timeout
        # With a deadline, a GET is repeated up to the deadline: the caller waits for something in any case.
        end, pause = time.monotonic() + min(_EDGE_PATIENCE, patience), PAUSE
        end = self.deadline if method == "GET" and self.deadline < math.inf else min(end, self.deadline)
        while True:
            timeout = self._limit_timeout(patience)
            try:
                response = self._send_within(
                    timeout, method, url, token=token, json=body, params=params, headers=headers
                )
            except requests.RequestException as error:
                self._absences.append(time.monotonic())
                raise self._mark_cut_short(connection_failed(error, method, url, timeout), timeout) from None
            except FutureTimeout:
                raise self._mark_cut_short(request_timed_out(method, url, timeout), timeout) from None
            if is_passing(response) and response.status_code != 429:
                self._absences.append(time.monotonic())
            wait = max(read_retry_after(response) or 0.0, pause)
            if response.status_code != 429:
                # A proxy only guesses when the hub is back. A request costs the hub nothing while it is away.
                wait = min(wait, LONGEST_PAUSE)
            if method not in _SAFE_METHODS or not is_passing(response) or time.monotonic() + wait > end:
                return response
            self.proxy_answers += response.status_code != 429  # a 429 means that the hub is there, and busy
            time.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _mark_cut_short(self, failure: HubError, timeout: float) -> HubError:
        """Return the failure with ``is_cut_short``. It is true if the deadline is why the ``timeout`` was so short."""
        patience = min(self.connection.request_timeout, _BUSY_HUB_TIMEOUT)
        return failure.with_cut_short(isinstance(failure, Timeout) and timeout < patience)

    def probe(self, url: str) -> requests.Response | None:
        """Send a GET without the token, at little cost to the other side. Return its answer, or None if none arrives.

        Raises `TlsFailure` for a certificate that is not trusted.
        """
        try:
            return self._send_within(self._limit_timeout(_PROBE_TIMEOUT), "GET", url, token=False)
        except FutureTimeout:
            return None
        except requests.RequestException as error:
            if is_untrusted_certificate(error):
                raise connection_failed(error, "GET", url, _PROBE_TIMEOUT) from None
            return None

    def read_certificate_end(self, url: str) -> str | None:
        """Return when the certificate of this https address ends, as OpenSSL writes it, or None if nothing shows it.

        Sends a request without the token. Raises `HubError` if no answer arrives.
        """
        timeout = self._limit_timeout(_PROBE_TIMEOUT)
        try:
            with self.open("GET", url, timeout=timeout, token=False, stream=True) as response:
                connection: Any = response.raw.connection
                # The library has a dictionary of the certificate only if it has checked it.
                found = connection.sock.getpeercert() if hasattr(connection.sock, "getpeercert") else None
                return str(found["notAfter"]) if found else None
        except requests.RequestException as error:
            raise connection_failed(error, "GET", url, timeout) from None

    def _limit_timeout(self, patience: float) -> float:
        """Return the timeout of the next request, in seconds: ``patience``, or less if the deadline is near."""
        return min(patience, max(self.deadline - time.monotonic(), _LAST_TIMEOUT))

    def _send_within(self, timeout: float, method: str, url: str, **more: Any) -> requests.Response:
        """Send one request. Raises `FutureTimeout` if its whole answer does not arrive within ``timeout`` seconds."""
        return read_within(timeout, lambda opened: self._read_response(opened, method, url, timeout=timeout, **more))

    def _read_response(self, opened: list[requests.Response], method: str, url: str, **more: Any) -> requests.Response:
        """Send one request and read its whole answer. Raises `UnexpectedAnswer` if the answer is too large."""
        response = self.open(method, url, stream=True, **more)
        opened.append(response)
        content = bytearray()
        for piece in response.iter_content(65536):
            content += piece
            if len(content) > _MAX_ANSWER_BYTES:
                response.close()
                raise UnexpectedAnswer(
                    f"{url} answered with more than {_MAX_ANSWER_BYTES >> 20} MiB, which no JupyterHub does.",
                    "Check hub_url, and which program answers there.",
                    status=response.status_code, method=method, url=url,
                )  # fmt: skip
        response._content = bytes(content)
        return response

    def open(
        self,
        method: str,
        url: str,
        *,
        timeout: float,
        token: bool = True,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> requests.Response:
        """Send one request once and return its answer. Raises the HTTP library's exceptions."""

        def authorize(request: Any) -> Any:
            # This is passed as `auth`, because otherwise the HTTP library would prefer the entry of ~/.netrc for the
            # host. It uses the request's own address, because the library connects to the host in that address.
            if token:
                request.headers.update(self.token_header(request.url))
            return request

        target = self.check_address(url)
        try:
            return self._session.request(
                method, target, auth=authorize, timeout=(min(timeout, 10.0), timeout), allow_redirects=False,
                verify=self.connection.verify, cert=self.connection.cert, headers=headers, **more,
            )  # fmt: skip
        except ValueError as error:
            # The target is valid, so the error is about the proxy's address, the only other one that the library reads.
            # Not all such errors are of the library's own class.
            if self.proxy(target):
                raise requests.exceptions.InvalidProxyURL(error) from None
            raise error if isinstance(error, requests.RequestException) else requests.ConnectionError(error) from None
