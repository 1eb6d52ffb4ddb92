# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the hub is and how to talk to it, checked before the first request."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from .errors import Invalid, is_encodable, quoted

_API_OR_PAGE = re.compile(r"/(hub/(api|home|login|logout|token|admin|spawn|spawn-pending)|user/[^/]+)(/.*)?$")
_LONGEST = 36500 * 86400.0
"""Seconds: more than anybody waits, and less than a thread can."""
_RESOURCES = {"", ".", "..", "activity", "admin-access", "progress", "server", "servers", "shared", "tokens"}
"""What the API has below a user or a server, and what HTTP libraries take for another place."""
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


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
    internal: bool = False
    """Whether it is the hub's own address, behind its proxy: no server of a user answers there."""

    def check_servers(self) -> None:
        """Raise `Invalid` where users' servers cannot be reached."""
        if self.internal:
            raise Invalid(
                "The environment names the hub's internal address only (JUPYTERHUB_API_URL), and users' servers cannot "
                "be reached there.",
                "Set hub_url, or JUPYTERHUB_URL in the environment, to the address that a browser shows.",
            )

    def __post_init__(self) -> None:
        # A frozen dataclass is written once, here: what travels afterwards is known to be sound.
        object.__setattr__(self, "hub_url", base_url(self.hub_url))
        object.__setattr__(self, "api_token", (self.api_token or "").strip())
        if not can_be_token(self.api_token):
            # The HTTP library would say so too, with the token in its message.
            raise Invalid("The API token has characters that no token has.", "Check where api_token comes from.")
        for option in ("ca_path", "client_cert", "client_key"):
            path = getattr(self, option)
            if path and not os.path.exists(path):
                raise Invalid(f"There is no file '{path}'.", f"Correct {option}.")
        if self.request_timeout <= 0:
            raise Invalid("request_timeout must be more than 0 seconds.", "Leave it out for 30 seconds.")

    @property
    def verify(self) -> bool | str:
        """What the HTTP library calls ``verify``: no, yes, or yes with this CA."""
        return (self.ca_path or True) if self.validate_certs else False

    @property
    def cert(self) -> str | tuple[str, str] | None:
        """What the HTTP library calls ``cert``: the client's certificate, with its key where that is a file apart."""
        if self.client_cert and self.client_key:
            return (self.client_cert, self.client_key)
        return self.client_cert


def can_be_token(text: str) -> bool:
    """Whether the text has only characters that a token can have, so that a header can carry it."""
    return re.fullmatch(r"[\x21-\x7e]*", text) is not None


def base_url(url: str) -> str:
    """The hub's public address with its base path and one slash at the end.

    Takes what people have at hand: the address itself, the API's (``.../hub/api``), a page's from the browser. Raises
    `Invalid` for everything else, and for parts that may be secret and lead nowhere.
    """
    if not url:
        raise Invalid("hub_url is missing.", "Set hub_url, or JUPYTERHUB_URL in the environment.")
    try:
        parts = urlsplit(url.strip())
        host, _port = parts.hostname, parts.port
    except ValueError:
        # What the library says of it may quote a password.
        raise not_an_address() from None
    # The library drops some control characters without a word.
    odd = re.search(r"[\x00-\x1f\x7f]", url.strip()) or re.search(r"[\s<>\"{}|\\^`]", parts.netloc + parts.path)
    if parts.scheme not in ("http", "https") or not host or odd:
        raise not_an_address()
    if "@" in parts.netloc:
        raise Invalid("hub_url must not hold a user name or a password.", "Give the token as api_token.")
    if "?" in url or "#" in url:
        raise Invalid(
            "hub_url must not hold a query or a fragment: an address ends before its ? or #.",
            "Leave out what follows there, and give a token as api_token.",
        )
    path = _API_OR_PAGE.sub("", parts.path.rstrip("/") or "/").rstrip("/")
    found = urlunsplit((parts.scheme, parts.netloc, path + "/", "", ""))
    if not is_address(found):
        raise not_an_address()
    return found


def not_an_address() -> Invalid:
    """What is wrong with a hub_url that leads nowhere."""
    shape = "Write it as https://hub.example.org/ with the base path, if the hub has one."
    return Invalid("hub_url is not an http or https URL.", shape)


def is_address(url: str) -> bool:
    """Whether every program reads the same host, port and path in this absolute URL.

    A backslash, user information, a space or a control character lets two programs read two hosts in one text: the
    one that checks it, and the one that connects.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not (parts.port is None or parts.port > 0):
            return False
        parts.hostname.encode("idna")  # a name with an empty part, or a long one, is none
        return not re.search(r"[\x00-\x20\x7f-\xa0\\\s]", url) and "@" not in parts.netloc
    except ValueError:
        return False


def joined(base: str, url: str) -> str:
    """An address that somebody told, relative to another one; as it is where it can be none."""
    try:
        return urljoin(base, url)
    except ValueError:
        return url


def likely_addresses(url: str, location: str) -> list[str]:
    """Where a hub may be that is not at ``url``, which redirects to ``location``: there, or at a part of the path. All
    are on the same host; none where it redirects to another one."""
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


def secrets_of(url: str) -> set[str]:
    """What may be secret in an address that somebody gave: what stands where a password, a query or a fragment does.

    A password may hold what would end it, and the address need not be one. No part that is masked parts another one.
    """
    address = re.sub(r"^\s*(https?:)?/*", "", url, flags=re.IGNORECASE)
    user, _at, rest = address.rpartition("@")
    if re.search(r"[?#]", user):  # nobody can tell where the password ends, or whether there is one
        return {address}
    tail = re.split(r"[?#]", rest, maxsplit=1)[1:]
    with contextlib.suppress(Invalid):
        if "@" not in base_url(url):
            return set()  # the page of a user whose name holds one
    return {part for part in (user, user.partition(":")[2], *tail) if part}


def scheme_and_port(url: SplitResult) -> tuple[str, int]:
    """Scheme and port of an address, with what is left out filled in; a websocket has the door of its page."""
    scheme = {"ws": "http", "wss": "https"}.get(url.scheme, url.scheme)
    return scheme, url.port or (443 if scheme == "https" else 80)


def api_path(*segments: str) -> str:
    """A path below the hub's API. Segments are quoted as the hub quotes them (``url_escape_path`` in its utils.py)."""
    for above, segment in zip(("", *segments), segments, strict=False):
        # HTTP libraries resolve dot segments: /users/.. would be another resource. Proxies before a hub may undo the
        # quoting of a slash: /users/alice%2Fserver would be another user's server. A group can have that in its name.
        first, *below = segment.split("/") if above in ("users", "servers") else [segment]
        if first in ("", ".", "..") or not _RESOURCES.isdisjoint(below) or not is_encodable(segment):
            raise Invalid(
                f"{quoted(segment)} is no name that a hub can have.", "Give the name as the hub's admin page shows it."
            )
    return "/".join(quote(segment, safe="@~") for segment in segments)


def seconds(value: str | int | float, option: str) -> float:
    """A duration in seconds: a number, or ``90s``, ``30m``, ``2h``, ``1d``. Raises `Invalid` where it is neither."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d+)?)\s*([smhd]?)", str(value).strip())
    found = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < found <= _LONGEST:
        raise Invalid(
            f"{option}: '{value}' is not a duration.",
            "Write a number of seconds above 0, or one like 90s, 30m, 2h, 1d, and no more than 36500d.",
        )
    return found
