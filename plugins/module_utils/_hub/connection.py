# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection options: the hub's address, the token and certificates. They are checked before the first request."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from .errors import Invalid, is_encodable, quoted

_API_OR_PAGE = re.compile(r"/(hub/(api|home|login|logout|token|admin|spawn|spawn-pending)|user/[^/]+)(/.*)?$")
_MAX_SECONDS = 36500 * 86400.0
"""The longest duration, in seconds. It is less than the longest wait of a thread (``threading.TIMEOUT_MAX``)."""
_RESERVED_SEGMENTS = {"", ".", "..", "activity", "admin-access", "progress", "server", "servers", "shared", "tokens"}
"""Path segments that the API has below a user or a server, and dot segments, which HTTP libraries resolve."""
_SECONDS_PER_UNIT = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Connection:
    """The connection options of every module. ``request_timeout`` is in seconds."""

    hub_url: str
    api_token: str = ""
    validate_certs: bool = True
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    request_timeout: float = 30.0
    is_internal: bool = False
    """Whether ``hub_url`` is the hub's internal address behind its proxy, at which no server of a user answers."""

    def check_servers(self) -> None:
        """Raise `Invalid` if users' servers cannot be reached at ``hub_url``."""
        if self.is_internal:
            raise Invalid(
                "The environment names the hub's internal address only (JUPYTERHUB_API_URL), and users' servers cannot "
                "be reached there.",
                "Set hub_url, or JUPYTERHUB_URL in the environment, to the address that a browser shows.",
            )

    def __post_init__(self) -> None:
        # This is the only place that sets fields of the frozen dataclass, so the values stay valid.
        object.__setattr__(self, "hub_url", normalize_hub_url(self.hub_url))
        object.__setattr__(self, "api_token", (self.api_token or "").strip())
        if not can_be_token(self.api_token):
            # The HTTP library would refuse the token, too, but its message would contain the token.
            raise Invalid("The API token has characters that no token has.", "Check where api_token comes from.")
        for option in ("ca_path", "client_cert", "client_key"):
            path = getattr(self, option)
            if path and not os.path.exists(path):
                raise Invalid(f"There is no file '{path}'.", f"Correct {option}.")
        if self.request_timeout <= 0:
            raise Invalid("request_timeout must be more than 0 seconds.", "Leave it out for 30 seconds.")

    @property
    def verify(self) -> bool | str:
        """The HTTP library's ``verify``: False, True, or the path of a CA file."""
        return (self.ca_path or True) if self.validate_certs else False

    @property
    def cert(self) -> str | tuple[str, str] | None:
        """The HTTP library's ``cert``: the client certificate, and its key if that is in a file of its own."""
        if self.client_cert and self.client_key:
            return (self.client_cert, self.client_key)
        return self.client_cert


def can_be_token(text: str) -> bool:
    """Return whether the text has only characters that a token can have, so that a header can contain it."""
    return re.fullmatch(r"[\x21-\x7e]*", text) is not None


def normalize_hub_url(url: str) -> str:
    """Return the hub's address with its base path and one slash at the end.

    ``url`` is that address, the API's (``.../hub/api``), or that of a page in the browser. Raises `Invalid` for
    anything else, and for parts that a hub's address does not have and that may be secret: a password, a query, a
    fragment.
    """
    if not url:
        raise Invalid("hub_url is missing.", "Set hub_url, or JUPYTERHUB_URL in the environment.")
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        # The library's own message may contain a password.
        raise invalid_hub_url() from None
    # The library silently drops some control characters.
    odd = re.search(r"[\x00-\x1f\x7f]", url.strip()) or re.search(r"[\s<>\"{}|\\^`]", parts.netloc + parts.path)
    if parts.scheme not in ("http", "https") or not host or port == 0 or odd:
        raise invalid_hub_url()
    if "@" in parts.netloc:
        raise Invalid("hub_url must not contain a user name or a password.", "Give the token as api_token.")
    if "?" in url or "#" in url:
        raise Invalid(
            "hub_url must not contain a query or a fragment.",
            "Leave out the ? or # and everything after it, and give a token as api_token.",
        )
    path = _API_OR_PAGE.sub("", parts.path.rstrip("/") or "/").rstrip("/")
    found = urlunsplit((parts.scheme, parts.netloc, path + "/", "", ""))
    if not is_address(found):
        raise invalid_hub_url()
    return found


def invalid_hub_url() -> Invalid:
    """Return the failure of an option ``hub_url`` that is not a URL."""
    hint = "Write it as https://hub.example.org/ with the base path, if the hub has one."
    return Invalid("hub_url is not an http or https URL.", hint)


def is_address(url: str) -> bool:
    """Return whether all programs read the same host, port and path in this absolute URL.

    With a backslash, user information, a space or a control character in it, the program that checks the URL may read
    another host than the program that connects.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not (parts.port is None or parts.port > 0):
            return False
        parts.hostname.encode("idna")  # raises for a name with an empty or a too long part
        return not re.search(r"[\x00-\x20\x7f-\xa0\\\s]", url) and "@" not in parts.netloc
    except ValueError:
        return False


def join_url(base: str, url: str) -> str:
    """Return the absolute address of ``url``, which may be relative to ``base``, or ``url`` itself if it is invalid."""
    try:
        return urljoin(base, url)
    except ValueError:
        return url


def list_likely_hub_urls(url: str, location: str) -> list[str]:
    """Return where the hub may be, if it is not at ``url`` and ``url`` redirects to ``location``.

    That is at ``location``, or at a part of the path of ``url``. The list is empty if ``location`` is on another host.
    """
    parts, there = urlsplit(url), urlsplit(location)
    if there.hostname != parts.hostname or there.scheme not in ("http", "https"):
        return []
    path = _API_OR_PAGE.sub("", there.path.rstrip("/") or "/").rstrip("/") + "/"
    found = [urlunsplit((there.scheme, there.netloc, path, "", ""))]
    segments = [segment for segment in parts.path.split("/") if segment]
    for number in reversed(range(len(segments))):
        path = "".join(f"/{segment}" for segment in segments[:number]) + "/"
        found.append(urlunsplit((parts.scheme, parts.netloc, path, "", "")))
    return [other for other in dict.fromkeys(found) if other != url]


def find_secrets_in_url(url: str) -> set[str]:
    """Return the parts of a user's ``hub_url`` that may be secret: user name and password, query and fragment.

    The text may be an invalid URL, and a password may contain a character that ends it in a URL. The parts can be
    masked in any order: after one is masked, no secret piece of another one is left.
    """
    address = re.sub(r"^\s*(https?:)?/*", "", url, flags=re.IGNORECASE)
    user, _at, rest = address.rpartition("@")
    if re.search(r"[?#]", user):  # it is unclear where the password ends, or whether there is one
        return {address}
    tail = re.split(r"[?#]", rest, maxsplit=1)[1:]
    with contextlib.suppress(Invalid):
        if "@" not in normalize_hub_url(url):
            return set()  # the @ is part of a user's name, in the address of that user's page
    return {part for part in (user, user.partition(":")[2], *tail) if part}


def scheme_and_port(url: SplitResult) -> tuple[str, int]:
    """Return the scheme and the port of an address, which may be the default port. ws counts as http, wss as https."""
    scheme = {"ws": "http", "wss": "https"}.get(url.scheme, url.scheme)
    return scheme, url.port or (443 if scheme == "https" else 80)


def build_api_path(*segments: str) -> str:
    """Return a path below the hub's API, quoted as the hub quotes it (``url_escape_path`` in its utils.py).

    Raises `Invalid` if a segment cannot be the name of an object of the hub.
    """
    for above, segment in zip(("", *segments), segments, strict=False):
        # HTTP libraries resolve dot segments: /users/.. would be another resource. A proxy in front of the hub may
        # unquote a slash: the user "alice/server" would become alice's server. A group's name may have a slash.
        first, *below = segment.split("/") if above in ("users", "servers") else [segment]
        if first in ("", ".", "..") or not _RESERVED_SEGMENTS.isdisjoint(below) or not is_encodable(segment):
            raise Invalid(
                f"{quoted(segment)} is not a valid name on a hub.", "Give the name as the hub's admin page shows it."
            )
    return "/".join(quote(segment, safe="@~") for segment in segments)


def check_json(value: Any, what: str) -> None:
    """Raise `Invalid` if no request can carry the value. ``what`` is its name in a sentence."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Invalid(
            f"The {what} cannot be sent as JSON: {error}.",
            "Use text, numbers, lists and dictionaries only. Quote a date to make it text.",
        ) from None


def parse_duration(value: str | int | float, option: str, *, may_be_zero: bool = False) -> float:
    """Return a duration in seconds. ``value`` is a number of seconds, or one like ``90s``, ``30m``, ``2h``, ``1d``.

    Raises `Invalid`, with the option's name, for anything else, and for 0 unless it ``may_be_zero``.
    """
    match = re.fullmatch(r"(\d{1,12}(?:\.\d+)?)\s*([smhd]?)", str(value).strip())
    found = float(match[1]) * _SECONDS_PER_UNIT[match[2]] if match else 0.0
    if not match or found > _MAX_SECONDS or (found == 0 and not may_be_zero):
        raise Invalid(
            f"{option}: '{value}' is not a duration.",
            f"Write a number of seconds{'' if may_be_zero else ' above 0'}, or a duration like 90s, 30m, 2h or 1d, of "
            "at most 36500d.",
        )
    return found
