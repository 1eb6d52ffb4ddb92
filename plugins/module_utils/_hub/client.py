# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to talk to a hub: requests, pages and streams in, plain data or a typed failure out.

Knows nothing of Ansible. What differs between versions of JupyterHub stands in one table, `DIALECTS` of `_dialects`.

"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import TimeoutError as NotInTime
from functools import cached_property
from typing import Any
from urllib.parse import urljoin

from .connection import (
    api_path,
    is_address,
    joined,
    likely_addresses,
)
from .errors import (
    HubError,
    MissingScope,
    Timeout,
    Unauthorized,
    UnexpectedAnswer,
)
from .responses import (
    base_path_in,
    content_of,
    distrusts,
    event_of,
    failure_of,
    failure_of_server,
    foreign_host,
    is_from_server,
    json_of,
    misplaced,
    no_answer,
    reason_of,
    request_of,
    server_gone,
    shaped,
    unexpected,
)
from .schemas import OBJECT, OWNER, VERSION, ListOf, Shape
from .scopes import expand_self, missing, split
from .threads import iterate_until
from .transport import T, Transport
from .versions import Dialect, dialect_of

try:
    import requests
except ImportError:
    pass  # `Transport` says so in a sentence before any of it is needed

_PAGES = "application/jupyterhub-pagination+json"
"""Asks for pages. Without it the hub cuts a list silently at its maximum (200), see hub's apihandlers/base.py."""
PAGE_SIZE = 200
"""Users in a page, unless another number is asked for: as many as a hub gives (``api_page_max_limit``)."""
_MOST_PAGES = 20_000
"""Pages of a list: as many as four million users have."""
_MOST_BARREN = 20
"""Pages of a list in a row with nothing in them that was not on one before."""
_PROBE = 10.0
"""Seconds that a server gets to answer a question that costs it nothing."""
_FIRST_SIGN, _FURTHER_SIGN = 2.0, 10.0
"""Seconds without a line of a stream after which its reader is told: the hub's first event comes at once, and an empty
line every 8 s (``keepalive_interval`` of its apihandlers/users.py)."""
_LONGEST_LINE = 1_000_000
"""Bytes of a stream's event: more than any has."""
_SLOW = "Look whether the hub is overloaded, or give it longer."
_STREAM_SILENCE = 20.0
"""Seconds. A hub writes an empty line to a stream every 8 s; one that is silent for longer is dead."""


class HubClient(Transport):
    """What a hub's API says to one token, and the servers behind it."""

    def with_token(self: T, api_token: str) -> T:
        """The same hub over the same connections with another token. Raises `Invalid` where that can be none."""
        other = super().with_token(api_token)
        other.__dict__.pop("identity", None)
        return other

    # What the hub and the token are

    @cached_property
    def version(self) -> str:
        """The hub's version, the one thing it tells anybody. Proves that a JupyterHub answers."""
        url = urljoin(self.url, "hub/api/")
        response = self._send("GET", url, token=False)
        if 300 <= response.status_code < 400 or response.status_code >= 500 or base_path_in(response):
            raise self._failure_of(response, "its version")
        try:
            answer = json_of(response.content)
            answer["version"]
        except (ValueError, TypeError, KeyError):
            raise UnexpectedAnswer(
                f"There is no JupyterHub at {self.url}: it answered {response.status_code} {content_of(response)}.",
                "Check hub_url: it is what a browser shows before /hub/, base path included.",
                status=response.status_code, method="GET", url=url,
            ) from None  # fmt: skip
        return str(shaped(answer, VERSION, response)["version"])

    def _failure_of(self, response: requests.Response, what: str) -> HubError:
        """What `failure_of` says, or where the hub is, if it is at another path."""
        failure, other = failure_of(response, what), self._other_address(response)
        if other is None:
            return failure
        message = (
            failure.message
            if response.status_code < 400
            else (f"There is no JupyterHub at {self.url}: its base path is another one.")
        )
        return UnexpectedAnswer(
            message, f"Set hub_url to {other}: a JupyterHub answers there.", **request_of(response)
        )  # fmt: skip

    def _other_address(self, response: requests.Response) -> str | None:
        """Where the hub is, if the answer redirects or is a hub's page, and one answers at a likely place. No token is
        sent there."""
        told = response.headers.get("Location", "") if response.status_code < 400 else base_path_in(response)
        location = joined(str(response.url), told)
        if not told or not is_address(location):
            return None
        for url in likely_addresses(self.url, location):
            answer = self._probe(urljoin(url, "hub/api/"))
            with contextlib.suppress(ValueError, TypeError, KeyError):
                if answer is not None and answer.status_code == 200 and json_of(answer.content)["version"]:
                    return url
        return None

    @cached_property
    def dialect(self) -> Dialect:
        return dialect_of(self.version)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Whom the token belongs to and what it may do: the hub's answer to GET /user. Raises `Unauthorized`."""
        self.version  # noqa: B018 - a wrong hub_url is to be told as such, not as a token that is refused
        if not self.connection.api_token:
            raise Unauthorized(
                "There is no API token.", "Give api_token, or set JUPYTERHUB_API_TOKEN in the environment."
            )
        url = urljoin(self.url, "hub/api/user")
        response = self._send("GET", url)
        if response.status_code in (401, 403):
            raise Unauthorized(
                f"The hub does not accept the API token: {reason_of(response)}.",
                "It is unknown, expired or revoked, its owner must log in again, or it is that of a service which the "
                "hub's configuration does not name yet. Mint a new one with hub_token.",
                status=response.status_code, method="GET", url=url,
            )  # fmt: skip
        owner: dict[str, Any] = shaped(self._judged(response, scope="", what="token's owner"), OWNER, response)
        return owner

    def lacking(self, needed: Iterable[str]) -> tuple[list[str], list[str]]:
        """Those of the scopes that the token does not hold, in this hub's words, and those that it holds."""
        held = sorted(str(scope) for scope in self.identity.get("scopes") or ())
        wanted = [expand_self(self.dialect.scope(scope), str(self.identity["name"])) for scope in needed]
        return list(dict.fromkeys(missing(wanted, held))), held

    # Requests to the hub's API

    def get(self, *path: str, scope: str, what: str, shape: Shape = OBJECT, **params: str) -> dict[str, Any]:
        """One object of this shape. ``scope`` is what reading it needs and ``what`` its name in a sentence, both for
        failures."""
        response = self._send("GET", self._api(*path), params=params or None)
        found: dict[str, Any] = shaped(self._judged(response, scope=scope, what=what), shape, response)
        return found

    def write(
        self, method: str, *path: str, scope: str, what: str, body: dict[str, Any] | None = None
    ) -> tuple[int, Any]:
        """One POST, PATCH or DELETE; returns the status and the answer's JSON, None where it has none."""
        response = self._send(method, self._api(*path), body=body)
        return response.status_code, self._judged(response, scope=scope, what=what)

    def pages(
        self, *path: str, scope: str, what: str, shape: Shape = OBJECT, page_size: int = PAGE_SIZE, **filters: str
    ) -> Iterator[Any]:
        """All items of a list, each of this shape, page by page to the end. A list that is a mapping on the hub gives
        its values."""
        offset, barren, seen = 0, 0, set[str]()
        for _number in range(_MOST_PAGES):
            params = {**filters, "offset": str(offset), "limit": str(page_size)}
            response = self._send("GET", self._api(*path), params=params, headers={"Accept": _PAGES})
            answer = self._judged(response, scope=scope, what=what)
            items, following, total = answer, None, None
            if isinstance(answer, dict) and isinstance(answer.get("_pagination"), dict):
                # The hub filters `ready` after paging and takes `next.url` from the Host header: the offset is true.
                items, following = answer.get("items"), answer["_pagination"].get("next")
                total = answer["_pagination"].get("total")
            found = shaped(list(items.values()) if isinstance(items, dict) else items, ListOf(shape), response)
            yield from found
            if not following:
                return
            next_offset = following.get("offset") if isinstance(following, dict) else None
            # What is created or deleted meanwhile moves others to another page: some may come twice.
            names = {str(item.get("name", item)) for item in found}
            barren = barren + 1 if names <= seen else 0
            seen |= names
            end = total if isinstance(total, int) else math.inf  # a hub has no next page that begins there
            if not isinstance(next_offset, int) or not offset < next_offset < end or barren > _MOST_BARREN:
                raise unexpected(response, "_pagination.next")
            if time.monotonic() > self._deadline:
                raise Timeout(f"The {what} has not come to its end in time.", _SLOW, **request_of(response))
            offset = next_offset
        raise unexpected(response, "_pagination.next")

    def events(self, *path: str, deadline: float) -> Iterator[dict[str, Any] | None]:
        """The events of a progress stream as they come, up to the ``deadline`` (of `time.monotonic`).

        Ends where the stream ends or breaks, or if there is none: whoever watches looks at the server all the same.
        None is among them each time that nothing comes for a while, as where a proxy holds the stream back.
        """
        signs = iterate_until(deadline, self._stream(self._api(*path), deadline), _FIRST_SIGN, _FURTHER_SIGN)
        return (sign for sign in signs if sign is None or sign)

    def _stream(self, url: str, deadline: float = math.inf) -> Iterator[dict[str, Any]]:
        """Its events, and an empty one for each other line, which is a sign of life."""
        headers = {"Accept": "text/event-stream"}
        try:
            with self._request("GET", url, stream=True, headers=headers, timeout=_STREAM_SILENCE) as response:
                if response.status_code != 200:
                    return
                line = bytearray()
                # As a hub sends it; without such chunks byte by byte, or events are held back until there are enough.
                for piece in response.iter_content(_LONGEST_LINE if response.raw.chunked else 1):
                    first, *others = re.split(rb"[\r\n]", piece)
                    line += first
                    for other in others:
                        yield event_of(bytes(line)) or {}
                        line = bytearray(other)
                    if len(line) > _LONGEST_LINE or time.monotonic() > deadline:
                        return
                yield event_of(bytes(line)) or {}
        except requests.RequestException:
            return

    # Requests to what runs behind the hub

    def server_url(self, url: str) -> str:
        """The address of a server, which the hub gives as a path, or with subdomains as a whole URL."""
        return joined(self.url, url)

    def answers(self, url: str) -> bool:
        """Whether a server itself answers at its public address. The hub answers in its place where it does not run.

        Raises `TlsFailure` for a certificate that is not trusted: with subdomains, each server may show another one.
        """
        url = self.address(url)
        response = self._probe(urljoin(url, "api"))
        if response is not None and response.status_code == 404:
            # Some programs have no /api. A proxy that has no route yet says the same of all that is there.
            response = self._probe(url)
        return response is not None and is_from_server(response, self.url)

    def stands_in(self, url: str) -> bool:
        """Whether the hub itself answers at a server's address, with a redirect to a page of its own."""
        response = self._probe(urljoin(self.address(url), "api"))
        return response is not None and response.status_code < 400 and not is_from_server(response, self.url)

    def _probe(self, url: str) -> requests.Response | None:
        try:
            return self._in_time(self._time_for(_PROBE), "GET", url, token=False)
        except NotInTime:
            return None
        except requests.RequestException as error:
            if distrusts(error):
                raise no_answer(error, "GET", url, _PROBE) from None
            return None

    def ask_server(self, method: str, url: str, *, what: str, body: dict[str, Any] | None = None) -> Any:
        """One request to a server's own REST API with the token, which must hold ``access:servers`` for it."""
        response = self._send(method, url, body=body)
        if response.status_code in (401, 403) and not self.token_header(str(response.request.url)):
            raise foreign_host(response, what, self.url)
        if 300 <= response.status_code < 400 and not is_from_server(response, self.url):
            raise misplaced(response, what)
        kind = response.headers.get("Content-Type", "")
        if response.status_code == 424 or (response.status_code in (403, 503) and "json" not in kind):
            # What the hub answers in place of a server that has gone, to a POST with a complaint on XSRF.
            raise server_gone(response, what)
        if response.status_code >= 500 and "json" in kind:
            raise failure_of_server(response, what)
        return self._judged(response, scope="access:servers", what=what)

    # How a request is made, and its answer judged

    def _api(self, *path: str) -> str:
        return urljoin(self.url, "hub/api/" + api_path(*path))

    def _judged(self, response: requests.Response, *, scope: str, what: str) -> Any:
        """The answer's JSON, None where it has no body; a typed failure for everything but success."""
        status = response.status_code
        if status in (401, 403):
            raise self._forbidden(response, scope, what)
        if status >= 300:
            raise self._failure_of(response, what)
        if not response.content.strip():
            return None
        try:
            return json_of(response.content)
        except ValueError:
            raise unexpected(response) from None

    def _forbidden(self, response: requests.Response, scope: str, what: str) -> HubError:
        """A 403 says little: the token itself, asked about, tells whether it is bad or only holds too little."""
        self.__dict__.pop("identity", None)  # it may have been good when it was asked about before
        try:
            held = [str(name) for name in self.identity.get("scopes", [])]
        except HubError as error:
            return error
        request = request_of(response)
        needed = self.dialect.scope(scope)
        name = split(needed)[0]
        if scope and (missing([needed], held) and not any(split(have)[0] == name for have in held)):
            return MissingScope(
                f"The token lacks the scope '{needed}' for {what}; it holds {', '.join(held) or 'none'}.",
                f"Mint it with {needed}, or have an admin grant that scope to its owner.", **request,
            )  # fmt: skip
        if scope and name == "access:servers":
            return MissingScope(
                f"The token's scope '{needed}' does not cover {what}; it holds {', '.join(held)}.",
                f"Mint it with {needed} for that server.", **request,
            )  # fmt: skip
        return MissingScope(
            f"The hub forbids {request['method']} for {what}: {request['reason']}.",
            "The scope is there; look at what the hub says, and at the hub's log.", **request,
        )  # fmt: skip
