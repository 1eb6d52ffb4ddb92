# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads pages and the files that they name, as a browser does: whole, but keeping only their beginning."""

from __future__ import annotations

import time
from concurrent.futures import TimeoutError as FutureTimeout
from copy import copy
from dataclasses import dataclass, replace

from .errors import UnexpectedAnswer
from .responses import connection_failed, is_passing, request_timed_out
from .transport import LONGEST_PAUSE, PAUSE, T, Transport, read_within

try:
    import requests
except ImportError:
    pass  # `Transport` reports it before anything here needs it

_MOST_BYTES = 64 << 20
"""The largest file that is loaded, in bytes. JupyterLab's largest script has a tenth of it."""
_LEAST_TIMEOUT = 1.0
"""Seconds that a request may take even at the deadline."""


@dataclass(frozen=True)
class Loaded:
    """An answer of which the whole body has arrived."""

    response: requests.Response
    """The answer. Its content is the beginning of the body."""
    size: int
    """The bytes of the whole body."""

    @property
    def url(self) -> str:
        return str(self.response.url)

    @property
    def status(self) -> int:
        return int(self.response.status_code)

    @property
    def text(self) -> str:
        """The beginning of the body. Pages of Jupyter are in UTF-8."""
        return self.response.content.decode("utf-8", "replace")


def load(hub: Transport, url: str, *, token: bool, keep: int, deadline: float, retry_until: float) -> Loaded:
    """Return the answer to a GET of this address, whatever its status.

    ``token`` says whether the request may carry the token, and ``keep`` how many bytes of the body are kept. The
    ``deadline`` and ``retry_until`` are times of `time.monotonic`. A request that a proxy answers in place of the
    server is repeated until ``retry_until``. Raises `HubError` if the answer does not arrive whole, and
    `UnexpectedAnswer` for one that is too large.
    """
    pause = PAUSE
    while True:
        loaded = _load_once(hub, url, token=token, keep=keep, deadline=deadline)
        if not is_passing(loaded.response) or time.monotonic() + pause > min(retry_until, deadline):
            return loaded
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def _load_once(hub: Transport, url: str, *, token: bool, keep: int, deadline: float) -> Loaded:
    timeout = min(hub.connection.request_timeout, max(deadline - time.monotonic(), _LEAST_TIMEOUT))

    def read(opened: list[requests.Response]) -> Loaded:
        response = hub.open("GET", url, timeout=timeout, token=token, stream=True)
        opened.append(response)
        kept, size = bytearray(), 0
        for piece in response.iter_content(65536):
            size += len(piece)
            kept += piece[: max(keep - len(kept), 0)]
            if size > _MOST_BYTES:
                response.close()
                raise UnexpectedAnswer(
                    f"{url.partition('?')[0]} has more than {_MOST_BYTES >> 20} MiB.",
                    "Check which program answers there.", status=response.status_code, method="GET",
                    url=url.partition("?")[0],
                )  # fmt: skip
        response._content = bytes(kept)
        return Loaded(response, size)

    try:
        return read_within(timeout, read)
    except FutureTimeout:
        raise request_timed_out("GET", url.partition("?")[0], timeout) from None
    except requests.RequestException as error:
        raise connection_failed(error, "GET", url.partition("?")[0], timeout) from None


def become_stranger(hub: T) -> T:
    """Return a client for hosts that have nothing to do with the hub: it has no token and no certificate of its own,
    and trusts the CAs that everybody trusts."""
    other = copy(hub)
    other.connection = replace(hub.connection, api_token="", ca_path=None, client_cert=None, client_key=None)
    return other
