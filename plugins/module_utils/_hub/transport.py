# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How requests travel: to one host, with one token, within a deadline, and again where that is safe.

Knows nothing of a hub's API. Every request of the collection goes through here, those of the websocket excepted, which
takes its address, its token and its CA certificates from here.

"""

from __future__ import annotations

import contextlib
import math
import socket
import time
import warnings
from concurrent.futures import TimeoutError as NotInTime
from copy import copy
from dataclasses import replace
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .connection import (
    Connection,
    is_address,
    joined,
    not_an_address,
    scheme_and_port,
)
from .errors import (
    HubError,
    Invalid,
    Timeout,
    UnexpectedAnswer,
    quoted,
)
from .responses import (
    distrusts,
    is_passing,
    no_answer,
    retry_after_of,
    too_late,
)
from .threads import in_background

try:
    import requests
    from requests.adapters import HTTPAdapter
    from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy
    from urllib3.exceptions import InsecureRequestWarning
    from urllib3.util.retry import Retry
except ImportError:
    HAS_REQUESTS = False
else:
    HAS_REQUESTS = True

    class _Session(requests.Session):
        """Leaves redirects alone: the library would read where one leads, and fail at what is no address."""

        def get_redirect_target(self, resp: requests.Response) -> str | None:
            return None


_SAFE = ("GET", "DELETE")
"""Methods that may be repeated: a second time they change nothing."""
PAUSE, LONGEST_PAUSE = 0.2, 1.0
"""Seconds between two looks where the first has got no answer of the hub: at first, and at most."""
_GRACE = 5.0
"""Seconds for which a request that is safe to repeat is repeated, where a proxy answers in the hub's place."""
_LAST = 1.0
"""Seconds that an answer gets which is asked for at the deadline: the last look is the one that counts."""
_ENOUGH = 5.0
"""Seconds within which a hub that works answers, a busy one, too: no answer in less says nothing of it."""
_PROBE = 10.0
"""Seconds for an answer that costs the other side nothing."""
_LARGEST = 256 << 20
"""Bytes of an answer: a thousand times those of a page of a list."""
_SHORTEST_TOKEN = 8
"""Characters."""

T = TypeVar("T", bound="Transport")


def _hang_up(response: requests.Response) -> None:
    """End a connection that another thread reads, and that thread with it. Closing it would wait for that."""
    connection: Any = response.raw.connection
    with contextlib.suppress(OSError, AttributeError):  # it may have ended meanwhile
        connection.sock.shutdown(socket.SHUT_RDWR)


class Transport:
    """Requests to one hub and what runs behind it, with one token. A context manager, which closes the connections.

    ``held`` takes in each secret that it comes to hold, so that whoever shows something can mask them.
    """

    def __init__(self, connection: Connection, held: set[str] | None = None) -> None:
        if not HAS_REQUESTS:
            raise Invalid(
                "The Python library requests is not installed where this task runs.", "Install it: pip install requests"
            )
        self.connection = connection
        self._held = set() if held is None else held
        self._hold(connection.api_token)
        self.deadline = math.inf
        self.missed = 0
        """How often a proxy has answered in the hub's place, and the same was asked again."""
        self._session = _Session()
        # A session is shared by tokens (`holding`): only the token says who asks.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        if not connection.validate_certs:
            # Whoever turned the check off knows, and need not be told at each request.
            warnings.simplefilter("ignore", InsecureRequestWarning)
        # Only what is safe to repeat is repeated. A connection that was never made is, whatever the method. Answers
        # that ask for another try are looked at in `send`.
        retry = Retry(
            total=3, read=1, other=0, backoff_factor=0.2, allowed_methods=_SAFE, respect_retry_after_header=False
        )  # fmt: skip
        # A server that is waited for takes up to three connections: its start, its stream, and a look.
        adapter = HTTPAdapter(max_retries=retry, pool_maxsize=300)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        if self._prepared(self.url) is None:
            raise not_an_address()

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._session.close()

    def with_token(self: T, api_token: str) -> T:
        """The same hub over the same connections with another token. Raises `Invalid` where that can be none."""
        self._hold(api_token.strip())
        other = copy(self)
        other.connection = replace(self.connection, api_token=api_token)
        return other

    def _hold(self, secret: str) -> None:
        # A hub takes no shorter one (``APIToken.new`` in its orm.py). To mask a word would garble what is told.
        if len(secret) >= _SHORTEST_TOKEN:
            self._held.add(secret)

    def patient(self: T, deadline: float) -> T:
        """The same hub for one whose single request may take as long as that, such as one that starts a kernel."""
        other = self.with_deadline(deadline)
        left = max(deadline - time.monotonic(), _LAST)
        other.connection = replace(self.connection, request_timeout=left)
        return other

    def with_deadline(self: T, deadline: float) -> T:
        """The same hub for one who waits no longer than to the ``deadline`` (of `time.monotonic`), for any answer."""
        other = copy(self)
        other.deadline = deadline
        return other

    @property
    def url(self) -> str:
        return self.connection.hub_url

    def resolve(self, url: str) -> str:
        """Return the address that the hub gives as a path, or, with subdomains, as a whole URL."""
        return joined(self.url, url)

    def address(self, url: str) -> str:
        """An address that somebody told, as the HTTP library reads it. Raises `UnexpectedAnswer` where two programs may
        read two hosts in it, since one of them would get the token."""
        found = self._prepared(url)
        if found is None:
            raise UnexpectedAnswer(
                f"The hub tells the address {quoted(url)}, which is none.",
                "Look at what writes it: the hub's configuration, its proxy, or the spawner.",
            )
        return found

    @staticmethod
    def _prepared(url: str) -> str | None:
        """What the HTTP library makes of an address; None for what is none."""
        try:
            return str(requests.Request("GET", url).prepare().url) if is_address(url) else None
        except (requests.RequestException, ValueError):
            return None

    def token_header(self, url: str) -> dict[str, str]:
        """The header that carries the token, for the hub's host and its subdomains; empty for any other.

        ``url`` is what the HTTP library connects to, in its own words: see `address`.
        """
        hub, other = urlsplit(self.url), urlsplit(url)
        host, home = other.hostname or "", hub.hostname or ""
        same = scheme_and_port(other) == scheme_and_port(hub) and (host == home or host.endswith("." + home))
        token = self.connection.api_token
        return {"Authorization": f"token {token}"} if same and token else {}

    def trusted_cas(self, url: str) -> str:
        """The file or folder of CA certificates that requests to this address trust; empty where none are checked."""
        verify = self._settings(url)["verify"]
        return str(DEFAULT_CA_BUNDLE_PATH if verify is True else verify or "")

    def proxy(self, url: str) -> str | None:
        """The address of the proxy that requests to this address go through, by the environment; None for none."""
        return select_proxy(url, self._settings(url)["proxies"])

    def _settings(self, url: str) -> Any:
        """What the HTTP library makes of the environment for this address."""
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
        """One request; every failure to get an answer comes as a `HubError`."""
        patience = self.connection.request_timeout
        # A look of somebody who waits goes on as long as that does. Others would rather know than wait.
        over, pause = time.monotonic() + min(_GRACE, patience), PAUSE
        over = self.deadline if method == "GET" and self.deadline < math.inf else min(over, self.deadline)
        while True:
            timeout = self._time_for(patience)
            try:
                response = self._in_time(timeout, method, url, token=token, json=body, params=params, headers=headers)
            except requests.RequestException as error:
                raise self._ended(no_answer(error, method, url, timeout), timeout) from None
            except NotInTime:
                raise self._ended(too_late(method, url, timeout), timeout) from None
            wait = max(retry_after_of(response) or 0.0, pause)
            if response.status_code != 429:
                # A proxy guesses when the hub is back. One more look costs the hub nothing while it is away.
                wait = min(wait, LONGEST_PAUSE)
            if method not in _SAFE or not is_passing(response) or time.monotonic() + wait > over:
                return response
            self.missed += response.status_code != 429  # the hub is there, and has too much to do
            time.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _ended(self, failure: HubError, timeout: float) -> HubError:
        """The failure, which says whether it is the deadline that has left the answer only this ``timeout`` (s)."""
        patience = min(self.connection.request_timeout, _ENOUGH)
        return failure.with_cut_short(isinstance(failure, Timeout) and timeout < patience)

    def probe(self, url: str) -> requests.Response | None:
        """Send a request without the token that costs the other side nothing. Returns None if no answer comes.

        Raises `TlsFailure` for a certificate that is not trusted.
        """
        try:
            return self._in_time(self._time_for(_PROBE), "GET", url, token=False)
        except NotInTime:
            return None
        except requests.RequestException as error:
            if distrusts(error):
                raise no_answer(error, "GET", url, _PROBE) from None
            return None

    def _time_for(self, patience: float) -> float:
        """How many seconds an answer gets that is usually waited for so long."""
        return min(patience, max(self.deadline - time.monotonic(), _LAST))

    def _in_time(self, timeout: float, method: str, url: str, **more: Any) -> requests.Response:
        # The HTTP library counts from the last byte, and anew where it tries again: an answer that comes drop by drop
        # would never end.
        opened: list[requests.Response] = []
        work = in_background(partial(self._whole, opened, method, url, timeout=timeout, **more))
        try:
            return work.result(timeout)
        except NotInTime:
            for response in opened:
                _hang_up(response)
            raise

    def _whole(self, opened: list[requests.Response], method: str, url: str, **more: Any) -> requests.Response:
        """One request with its answer to the end. Raises `UnexpectedAnswer` for one that is larger than any."""
        response = self.open(method, url, stream=True, **more)
        opened.append(response)
        content = bytearray()
        for piece in response.iter_content(65536):
            content += piece
            if len(content) > _LARGEST:
                response.close()
                raise UnexpectedAnswer(
                    f"{url} answered with more than {_LARGEST >> 20} MiB, which no JupyterHub does.",
                    "Check hub_url, and look at what answers there.",
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
        def authorize(request: Any) -> Any:
            # As `auth`, or the HTTP library would prefer what ~/.netrc has for the host. By the request's own address:
            # the host that the library connects to is the one that is looked at.
            if token:
                request.headers.update(self.token_header(request.url))
            return request

        target = self.address(url)
        try:
            return self._session.request(
                method, target, auth=authorize, timeout=(min(timeout, 10.0), timeout), allow_redirects=False,
                verify=self.connection.verify, cert=self.connection.cert, headers=headers, **more,
            )  # fmt: skip
        except ValueError as error:
            # The address is sound. The library reads no other one but a proxy's, and not all of it in its own terms.
            if self.proxy(target):
                raise requests.exceptions.InvalidProxyURL(error) from None
            raise error if isinstance(error, requests.RequestException) else requests.ConnectionError(error) from None
