# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of a hub's API. It sends requests, reads lists and event streams, and returns models or raises failures.

Nothing here depends on Ansible. `versions` has the table of the differences between versions of JupyterHub.
`server_client` sends requests to the servers behind a hub.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any
from urllib.parse import urljoin

from .connection import build_api_path, is_address, join_url, list_likely_hub_urls
from .errors import HubError, MissingScope, Timeout, Unauthorized, UnexpectedAnswer, quoted
from .models import Group, Owner, Token, User
from .responses import (
    check_schema,
    describe_request,
    find_base_path,
    find_content_type,
    find_reason,
    parse_event,
    parse_json,
    request_failed,
    unexpected_answer,
)
from .schemas import GROUP, OBJECT, OWNER, TOKEN, TOKENS, USER, VERSION, ListOf, Schema
from .scopes import ACCESS, expand_self, find_missing, split_scope
from .server_client import ServerClient
from .threads import iterate_until
from .transport import T, Transport
from .versions import Dialect, find_dialect

try:
    import requests
except ImportError:
    pass  # `Transport` reports it before anything here needs it

_PAGES = "application/jupyterhub-pagination+json"
"""Asks for pages. Without it the hub cuts a list at its maximum (200) and does not say so (its apihandlers/base.py)."""
PAGE_SIZE = 200
"""The default number of users in a page. It is the most that a hub returns (its ``api_page_max_limit``)."""
_MOST_PAGES = 20_000
"""The most pages of a list that are read: enough for four million users."""
_MOST_PAGES_WITHOUT_NEWS = 20
"""How many pages in a row may hold only items that earlier pages held."""
_FIRST_SILENCE, _NEXT_SILENCE = 2.0, 10.0
"""Seconds without a line of a stream after which its reader gets None: before the first line, and later. A hub sends
the first event at once, and an empty line every 8 s (``keepalive_interval`` of its apihandlers/users.py)."""
_LONGEST_LINE = 1_000_000
"""Bytes. No event of a stream is that long."""
_STREAM_SILENCE = 20.0
"""Seconds. A hub writes an empty line to a stream every 8 s, so a stream that is silent for longer is dead."""

HIDDEN_CODES = ("missing_scope", "not_found", "unauthorized")
"""The codes of failures that mean that the hub does not show something to this token."""


class HubClient(Transport):
    """The API of one hub, as the owner of one token sees it."""

    def with_token(self: T, api_token: str) -> T:
        """Return a client of the same hub with another token. Raises `Invalid` if the text cannot be a token."""
        other = super().with_token(api_token)
        other.__dict__.pop("owner", None)
        return other

    def server(self, url: str, what: str) -> ServerClient:
        """Return a client of the server at this address. ``what`` is the server's name in a sentence, for failures."""
        return ServerClient(self, url, what)

    # What the hub and the token are

    @cached_property
    def version(self) -> str:
        """The hub's version. The hub shows it without a token. Raises `UnexpectedAnswer` if no JupyterHub answers."""
        url = urljoin(self.url, "hub/api/")
        response = self.send("GET", url, token=False)
        if 300 <= response.status_code < 400 or response.status_code >= 500 or find_base_path(response):
            raise self._request_failed(response, "its version")
        try:
            answer = parse_json(response.content)
            answer["version"]
        except (ValueError, TypeError, KeyError):
            given = f"{response.status_code} {find_content_type(response)}"
            raise UnexpectedAnswer(
                f"There is no JupyterHub at {self.url}: it answered {given}.",
                "Check hub_url: it is what a browser shows before /hub/, base path included. The login page of a proxy "
                "in front of the hub is such an answer, too: have the proxy let requests with an API token through.",
                status=response.status_code, method="GET", url=url,
            ) from None  # fmt: skip
        return str(check_schema(answer, VERSION, response)["version"])

    def _request_failed(self, response: requests.Response, what: str) -> HubError:
        """Return the failure that the answer means. If the hub is at another path, the failure names its address."""
        failure, other = request_failed(response, what), self._find_hub(response)
        if other is None:
            return failure
        redirects = response.status_code < 400
        message = failure.message if redirects else f"There is no JupyterHub at {self.url}: its base path is another."
        return UnexpectedAnswer(
            message, f"Set hub_url to {other}: a JupyterHub answers there.", **describe_request(response)
        )  # fmt: skip

    def _find_hub(self, response: requests.Response) -> str | None:
        """Return the address of a hub near the address of this answer, or None. Sends no token.

        Looks for a hub only if the answer is a redirect or a JupyterHub's page.
        """
        is_redirect = response.status_code < 400
        target = response.headers.get("Location", "") if is_redirect else find_base_path(response)
        location = join_url(str(response.url), target)
        if not target or not is_address(location):
            return None
        for url in list_likely_hub_urls(self.url, location):
            answer = self.probe(urljoin(url, "hub/api/"))
            with contextlib.suppress(ValueError, TypeError, KeyError):
                if answer is not None and answer.status_code == 200 and parse_json(answer.content)["version"]:
                    return url
        return None

    @cached_property
    def dialect(self) -> Dialect:
        """What is particular to the hub's version. Raises `Invalid` if the version is too old."""
        return find_dialect(self.version)

    def read_version(self) -> None:
        """Read and cache the hub's version before many threads need it. Raises what `dialect` raises."""
        self.dialect  # noqa: B018 - reading the property caches its value

    @cached_property
    def owner(self) -> Owner:
        """The token's owner and what the token may do. Raises `Unauthorized` if the hub does not accept the token."""
        self.version  # noqa: B018 - a wrong hub_url must be reported as such, and not as a token that is refused
        if not self.connection.api_token:
            raise Unauthorized(
                "There is no API token.", "Give api_token, or set JUPYTERHUB_API_TOKEN in the environment."
            )
        url = urljoin(self.url, "hub/api/user")
        response = self.send("GET", url)
        if response.status_code in (401, 403):
            raise Unauthorized(
                f"The hub does not accept the API token: {find_reason(response)}.",
                "It is unknown, expired or revoked, its owner must log in again, or it is that of a service which the "
                "hub's configuration does not name yet. Mint a new one with hub_token.",
                status=response.status_code, method="GET", url=url,
            )  # fmt: skip
        return Owner.from_model(check_schema(self.read_json(response, scope="", what="token's owner"), OWNER, response))

    def read_owner(self) -> Owner:
        """Return the token's owner and what the token may do now.

        Sends one request each time. Unlike `owner`, it reads nothing else and caches nothing.
        """
        return Owner.from_model(self.get("user", scope="", what="token's owner", schema=OWNER))

    @property
    def held_scopes(self) -> tuple[str, ...]:
        """The scopes that the token holds, sorted. Raises what `owner` raises."""
        return self.owner.scopes or ()

    def missing_scopes(self, needed: Iterable[str]) -> list[str]:
        """Return the ``needed`` scopes that the token does not hold, as the hub's version names them."""
        scopes = [expand_self(self.dialect.translate_scope(scope), self.owner.name) for scope in needed]
        return list(dict.fromkeys(find_missing(scopes, self.held_scopes)))

    # Models

    def read_user(self, name: str, *, scope: str, include_stopped_servers: bool = False) -> User:
        """Return a user. ``scope`` is the scope that the caller needs, for failures.

        Raises `NotFound` if there is no such user, or if the token may not see it.
        """
        params = {"include_stopped_servers": "1"} if include_stopped_servers else {}
        what = f"user {quoted(name)}"
        return User.from_model(self.get("users", name, scope=scope, what=what, schema=USER, **params), self.resolve)

    def list_users(self, *, page_size: int = PAGE_SIZE, overlaps: bool = False, **filters: str) -> Iterator[User]:
        """Yield the users, page by page. ``filters`` are the API's, such as ``state="active"``. See `pages`."""
        scope, what = "list:users", "list of users"
        for model in self.pages(
            "users", scope=scope, what=what, schema=USER, page_size=page_size, overlaps=overlaps, **filters
        ):
            yield User.from_model(model, self.resolve)

    def list_tokens(self, user: str) -> list[Token]:
        """Return the user's tokens. The hub removes expired tokens when it is asked for the list.

        Raises `NotFound` if there is no such user, or if the token may not see its tokens.
        """
        what = f"user {quoted(user)}"
        found = self.get("users", user, "tokens", scope="read:tokens", what=what, schema=TOKENS)
        return [Token.from_model(model) for model in found["api_tokens"]]

    def read_token(self, user: str, token_id: str) -> Token:
        """Return one token of the user. Raises `NotFound` if the user has no such token."""
        path = ("users", user, "tokens", token_id)
        return Token.from_model(self.get(*path, scope="read:tokens", what="the token", schema=TOKEN))

    def read_own_token(self) -> Token | None:
        """Return this client's token as the hub lists it, or None if the hub does not show it.

        The hub shows no service's token, no token before JupyterHub 5.0, and no token that may not read the tokens of
        its owner.
        """
        owner = self.owner
        if owner.kind != "user" or not owner.token_id:
            return None
        try:
            return self.read_token(owner.name, owner.token_id)
        except HubError as error:
            if error.code in HIDDEN_CODES:
                return None
            raise

    def read_group(self, name: str, *, scope: str) -> Group:
        """Return a group. Raises `NotFound` if there is no such group, or if the token may not see it."""
        return Group.from_model(self.get("groups", name, scope=scope, what=f"group '{name}'", schema=GROUP))

    # Requests

    def get(self, *path: str, scope: str, what: str, schema: Schema = OBJECT, **params: str) -> dict[str, Any]:
        """Return one object of this schema.

        ``scope`` is the scope that the request needs and ``what`` the object's name in a sentence, both for failures.
        """
        response = self.send("GET", self._api_url(*path), params=params or None)
        found: dict[str, Any] = check_schema(self.read_json(response, scope=scope, what=what), schema, response)
        return found

    def write(
        self, method: str, *path: str, scope: str, what: str, body: dict[str, Any] | None = None
    ) -> tuple[int, Any]:
        """Send one POST, PATCH or DELETE. Returns the status and the answer's JSON, None if it has none."""
        response = self.send(method, self._api_url(*path), body=body)
        return response.status_code, self.read_json(response, scope=scope, what=what)

    def pages(
        self,
        *path: str,
        scope: str,
        what: str,
        schema: Schema = OBJECT,
        page_size: int = PAGE_SIZE,
        overlaps: bool = False,
        **filters: str,
    ) -> Iterator[Any]:
        """Yield all items of a list, each of this schema, page by page. If the list is a mapping, yields its values.

        An item that is deleted meanwhile moves those after it to an earlier page, which has been read by then. With
        ``overlaps``, each page starts with the last item of the page before it. If it does not, the page before it is
        read again. So no item is missed, and some are yielded twice.
        """
        offset, step, pages_without_news, seen = 0, 0, 0, set[str]()
        for _number in range(_MOST_PAGES):
            params = {**filters, "offset": str(offset), "limit": str(page_size)}
            response = self.send("GET", self._api_url(*path), params=params, headers={"Accept": _PAGES})
            answer = self.read_json(response, scope=scope, what=what)
            items, following, total = answer, None, None
            if isinstance(answer, dict) and isinstance(answer.get("_pagination"), dict):
                # The hub filters `ready` after it has cut the list into pages, and it builds `next.url` from the Host
                # header. So only the offset is reliable.
                items, following = answer.get("items"), answer["_pagination"].get("next")
                total = answer["_pagination"].get("total")
            found = check_schema(list(items.values()) if isinstance(items, dict) else items, ListOf(schema), response)
            names = [str(item.get("name", item)) for item in found]
            next_offset: Any
            has_gap = overlaps and offset > 0 and (not names or names[0] not in seen)
            if has_gap:
                next_offset = max(0, offset - step)
            else:
                yield from found
                if not following:
                    return
                next_offset = following.get("offset") if isinstance(following, dict) else None
                end = total if isinstance(total, int) else math.inf  # a hub's next page starts before this offset
                if not isinstance(next_offset, int) or not offset < next_offset < end:
                    raise unexpected_answer(response, "_pagination.next")
                step = next_offset - offset
                next_offset -= 1 if overlaps and step > 1 else 0
            # An item that is created or deleted meanwhile moves others to another page, so some may occur twice.
            pages_without_news = pages_without_news + 1 if has_gap or seen.issuperset(names) else 0
            seen.update(names if not has_gap else ())
            if pages_without_news > _MOST_PAGES_WITHOUT_NEWS:
                raise unexpected_answer(response, "_pagination.next")
            if time.monotonic() > self.deadline:
                hint = "Check whether the hub is overloaded, or give it longer."
                raise Timeout(f"The {what} has not come to its end in time.", hint, **describe_request(response))
            offset = next_offset
        raise unexpected_answer(response, "_pagination.next")

    def events(self, *path: str, deadline: float) -> Iterator[dict[str, Any] | None]:
        """Yield the events of a progress stream as they arrive, until the ``deadline`` (of `time.monotonic`).

        Ends if the stream ends or breaks, or if there is no stream, because the caller reads the server in any case.
        Yields None each time that nothing arrives for a while, for example because a proxy holds the stream back.
        """
        stream = self._read_stream(self._api_url(*path), deadline)
        events = iterate_until(deadline, stream, _FIRST_SILENCE, _NEXT_SILENCE)
        return (event for event in events if event is None or event)

    def _read_stream(self, url: str, deadline: float = math.inf) -> Iterator[dict[str, Any]]:
        """Yield the stream's events, and an empty event for each other line, which shows that the stream is alive."""
        headers = {"Accept": "text/event-stream"}
        try:
            with self.open("GET", url, stream=True, headers=headers, timeout=_STREAM_SILENCE) as response:
                if response.status_code != 200:
                    return
                line = bytearray()
                # Read chunks as the hub sends them. Read a stream without chunks byte by byte, because otherwise the
                # library would hold events back.
                for piece in response.iter_content(_LONGEST_LINE if response.raw.chunked else 1):
                    first, *others = re.split(rb"[\r\n]", piece)
                    line += first
                    for other in others:
                        yield parse_event(bytes(line)) or {}
                        line = bytearray(other)
                    if len(line) > _LONGEST_LINE or time.monotonic() > deadline:
                        return
                yield parse_event(bytes(line)) or {}
        except requests.RequestException:
            return

    def _api_url(self, *path: str) -> str:
        return urljoin(self.url, "hub/api/" + build_api_path(*path))

    def read_json(self, response: requests.Response, *, scope: str, what: str) -> Any:
        """Return the answer's JSON, or None if it has no body.

        Raises the failure that a status means, if the status does not mean success. ``scope`` and ``what`` are those of
        `get`.
        """
        status = response.status_code
        if status in (401, 403):
            raise self._forbidden(response, scope, what)
        if status >= 300:
            raise self._request_failed(response, what)
        if not response.content.strip():
            return None
        try:
            return parse_json(response.content)
        except ValueError:
            raise unexpected_answer(response) from None

    def _forbidden(self, response: requests.Response, scope: str, what: str) -> HubError:
        """Return the failure that a 401 or a 403 means.

        Reads the token's owner again, which shows whether the token is bad or holds too few scopes.
        """
        self.__dict__.pop("owner", None)  # the cached owner may be from before the token was revoked
        try:
            held = self.held_scopes
        except HubError as error:
            return error
        request = describe_request(response)
        needed = self.dialect.translate_scope(scope)
        name = split_scope(needed)[0]
        if scope and (find_missing([needed], held) and not any(split_scope(have)[0] == name for have in held)):
            return MissingScope(
                f"The token lacks the scope '{needed}' for {what}; it holds {', '.join(held) or 'none'}.",
                f"Mint it with {needed}, or have an admin grant that scope to its owner.", **request,
            )  # fmt: skip
        if scope and name == ACCESS:
            return MissingScope(
                f"The token's scope '{needed}' does not cover {what}; it holds {', '.join(held)}.",
                f"Mint it with {needed} for that server.", **request,
            )  # fmt: skip
        return MissingScope(
            f"The hub forbids {request['method']} for {what}: {request['reason']}.",
            "The scope is there. Check what the hub says, and the hub's log.", **request,
        )  # fmt: skip
