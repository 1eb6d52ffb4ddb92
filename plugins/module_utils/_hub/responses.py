# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer of the hub, or the lack of one, means: the typed failure with a sentence and what to do next."""

from __future__ import annotations

import json
import math
import re
import ssl
from typing import Any
from urllib.parse import urlsplit

from .connection import is_address, joined
from .errors import (
    BY_STATUS,
    EDGE,
    HubError,
    HubFailure,
    Invalid,
    NotFound,
    RateLimited,
    Timeout,
    TlsFailure,
    UnexpectedAnswer,
    Unreachable,
    quoted,
)
from .schemas import EVENT, Shape

try:
    import requests
    from urllib3.exceptions import InvalidHeader, ReadTimeoutError
    from urllib3.util.retry import Retry
except ImportError:
    # `HubClient` says so in a sentence before any of this is called.
    pass


_LONGEST_PAGE = 100_000
"""Characters of a page that are looked at."""


NO_WAY = (
    "Set hub_url to the address that a browser shows, not to the hub's own behind its proxy; if it is that, look into "
    "the proxy's log."
)
"""What to do where the hub answers in place of a server that runs."""


def json_of(text: str | bytes) -> Any:
    """What a text of JSON says. Raises `ValueError` for one that says nothing that JSON can say again, such as NaN.

    Half a character (a lone surrogate), which can neither be written nor sent, becomes U+FFFD.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")  # the library's own way lets half characters through
    try:
        found = json.loads(text, parse_constant=_refused, parse_float=_finite)
        return _written(found) if "\\ud" in text.lower() else found  # only an escape can say it
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON's")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refused(digits[:20])


def _written(value: Any) -> Any:
    """The same of whole characters only."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_written(item) for item in value]
    if isinstance(value, dict):
        return {_written(name): _written(item) for name, item in value.items()}
    return value


def is_passing(response: requests.Response) -> bool:
    """Whether the answer says nothing of what was asked about, and another one may come a moment later.

    A hub says its own 500 in JSON.
    """
    status = response.status_code
    return status in EDGE or (status == 500 and "json" not in content_of(response))


def request_of(response: requests.Response) -> dict[str, Any]:
    """What a failure says of its request. Queries are left out: they are long, and can hold secrets."""
    method, url = response.request.method, str(response.url).partition("?")[0]
    return {"status": response.status_code, "method": method, "url": url, "reason": reason_of(response)}


def failure_of(response: requests.Response, what: str) -> HubError:
    """The failure that a status means, with the hub's own reason."""
    failure = _failure_of(response, what)
    return failure.with_passing(is_passing(response) or failure.is_passing)


def _failure_of(response: requests.Response, what: str) -> HubError:
    status, request = response.status_code, request_of(response)
    reason = request["reason"]
    if status < 400:
        target = joined(str(response.url), response.headers.get("Location", "")).partition("?")[0]
        return UnexpectedAnswer(
            f"{request['url']} redirects to {target}; a token is never sent along.",
            "Set hub_url to the address at which the browser ends.", **request,
        )  # fmt: skip
    if is_passing(response) and "json" not in content_of(response) and status != 429:
        return HubFailure(
            f"A proxy answers {status} for {what}, in place of the hub: {reason}.",
            "Look whether the hub behind it runs and is not overloaded, then at the proxy.", **request,
        )  # fmt: skip
    if status >= 500:
        return HubFailure(f"The hub failed with {status} for {what}: {reason}.", "Look into the hub's log.", **request)
    kind = BY_STATUS.get(status, UnexpectedAnswer)
    if kind is NotFound and "json" not in content_of(response):
        # A hub says it in JSON. A proxy says so of all paths as long as it knows of no hub, such as while one starts.
        return Unreachable(
            f"A proxy answers 404 ({reason}) in place of the hub.",
            "Check hub_url, and that the hub runs.", **request,
        )  # fmt: skip
    if kind is NotFound:
        hint = "Check the name; a token whose scopes do not cover it gets the same answer."
        return NotFound(f"The hub has no {what} ({reason}).", hint, **request)
    if kind is RateLimited:
        wait = retry_after_of(response)
        then = "when fewer servers are running or starting" if wait is None else f"in {wait:.0f} s"
        return RateLimited(
            f"The hub has no room for {what}: {reason}.", f"Try again {then}.", retry_after=wait, **request
        )
    return kind(f"The hub refuses {request['method']} for {what}: {reason}.", "Correct what it names.", **request)


def is_from_server(response: requests.Response, hub_url: str) -> bool:
    """Whether a server itself has answered, and not the hub in its place."""
    if response.status_code in (404, 424) or response.status_code >= 500 or is_passing(response):
        return False
    location = joined(str(response.url), response.headers.get("Location", ""))
    target = urlsplit(location).path if is_address(location) else ""
    hub = urlsplit(hub_url).path + "hub/"
    return not target.startswith(hub) or target.startswith(hub + "api/oauth2/")


def base_path_in(response: requests.Response) -> str:
    """The base path that a JupyterHub's page names which says that there is nothing at this address; or nothing."""
    if response.status_code != 404 or "html" not in response.headers.get("Content-Type", ""):
        return ""
    found = re.search(r'base_url: "(/[^"\s]*)hub/"', response.text[:_LONGEST_PAGE])
    return found[1] if found else ""


def misplaced(response: requests.Response, what: str) -> Invalid:
    """The hub has answered at the address of a server that runs, with a redirect to a page of its own."""
    return Invalid(
        f"The hub answers itself at the address of the {what}: there is no way to it from there.",
        NO_WAY,
        result={"changed": False}, **request_of(response),
    )  # fmt: skip


def server_gone(response: requests.Response, what: str) -> HubFailure:
    """The hub has answered in place of a server that does not run."""
    return HubFailure(
        f"{_begun(what)} does not answer; the hub does in its place.",
        "Start it with hub_server, and look into the hub's log for why it ended; if the hub says that it runs, set "
        "hub_url to the address that a browser shows.", **request_of(response),
    )  # fmt: skip


def failure_of_server(response: requests.Response, what: str) -> HubFailure:
    """A server has failed by itself."""
    request = request_of(response)
    return HubFailure(
        f"{_begun(what)} failed with {response.status_code}: {request['reason']}.",
        "Look into the server's own log.", **request,
    )  # fmt: skip


def foreign_host(response: requests.Response, what: str, hub_url: str) -> Invalid:
    """A server wants a token, and is not where tokens are sent to."""
    there, home = urlsplit(str(response.url)), urlsplit(hub_url)
    return Invalid(
        f"{_begun(what)} is at {there.scheme}://{there.netloc}, where the token is not sent: hub_url says "
        f"{home.scheme}://{home.netloc}, and it goes to that host and its subdomains only.",
        "Set hub_url to the address that a browser shows for the hub.", **request_of(response),
    )  # fmt: skip


def _begun(what: str) -> str:
    """It as the beginning of a sentence."""
    return what[0].upper() + what[1:]


def distrusts(error: requests.RequestException) -> bool:
    """Whether it is a certificate that is not trusted, which time does not mend as it does a broken connection."""
    return isinstance(_root(error), ssl.SSLCertVerificationError)


def no_answer(error: requests.RequestException, method: str, url: str, timeout: float) -> HubError:
    """Why there was no answer, from the HTTP library's exception."""
    host = urlsplit(url).netloc
    request: dict[str, Any] = {"method": method, "url": url}
    cause = _cause(error)
    if isinstance(error, requests.exceptions.SSLError):
        hint = "Set ca_path to the file of the CA that signed it."
        if "wrong version" in cause.lower() or "record layer" in cause.lower():
            hint = "Write hub_url with http://, or the right port."
        elif "mismatch" in cause:
            hint = "Have the certificate name that host, or set hub_url to a name that it has."
        return TlsFailure(f"No trusted connection to {host}: {cause}.", hint, **request)
    if isinstance(_root(error), (requests.exceptions.ReadTimeout, ReadTimeoutError)):
        return too_late(method, url, timeout)
    if isinstance(error, requests.exceptions.InvalidProxyURL):
        # What the library says of it may quote a password.
        return Invalid(
            f"The proxy that the environment names for {host} is not an URL, or of a kind that cannot be used here.",
            "Correct http_proxy, https_proxy or all_proxy in the task's environment; SOCKS takes the Python library "
            "PySocks.", **request,
        )  # fmt: skip
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return Invalid(f"'{url}' is not an URL: {cause}.", "Correct hub_url.", **request)
    hint = "Check hub_url, and that the hub runs and can be reached from here."
    if url.startswith("http:") and "closed" in cause:
        hint = "Write hub_url with https://, if the hub speaks TLS, and see that it runs."
    return Unreachable(f"No answer from {host}: {cause}.", hint, **request)


def too_late(method: str, url: str, timeout: float) -> Timeout:
    """No whole answer within ``timeout`` s."""
    hint = "Look whether the hub is overloaded, or raise request_timeout, or what the whole wait may take."
    return Timeout(
        f"{urlsplit(url).netloc} did not answer {method} within {round(timeout, 3):g} s.", hint, method=method, url=url
    )


def _root(error: BaseException) -> BaseException:
    """The innermost of the HTTP libraries' nested exceptions."""
    inner = getattr(error, "reason", None) or next((arg for arg in error.args if isinstance(arg, BaseException)), None)
    return _root(inner) if isinstance(inner, BaseException) else error


def _cause(error: BaseException) -> str:
    """Why it failed, without the names of the libraries' classes."""
    root = _root(error)
    text = str(getattr(root, "strerror", None) or getattr(root, "reason", None) or root)
    text = re.sub(r"^<[^>]*>: |^\w+\(.*?\): |\[SSL: \w+\] | \(_ssl\.c:\d+\)", "", text)
    return re.sub(r"^Failed to establish a new connection: (\[.*?\] )?", "", text).strip(" .") or type(error).__name__


def content_of(response: requests.Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0] or "without content"


def reason_of(response: requests.Response) -> str:
    """The reason that an answer gives: the hub's message, a page's title, or the status line's word."""
    try:
        message = json_of(response.content)["message"]
    except (ValueError, TypeError, KeyError):
        # Not `text`, which guesses the encoding of all of it.
        page = response.content[:10000].decode("utf-8", "replace")
        title = re.search(r"<title>(.*?)</title>", page, re.S | re.I)
        message = title[1] if title else ""
    # JupyterHub 6.1 sends a message of null where there is nothing to say.
    return " ".join(str(message or response.reason or response.status_code).split()).rstrip(".")


def shaped(answer: Any, shape: Shape, response: requests.Response) -> Any:
    """The answer, or a part of it, where it is of this shape. Raises `UnexpectedAnswer` where it is not."""
    place = shape.misfit(answer)
    if place is not None:
        raise unexpected(response, place)
    return answer


def unexpected(response: requests.Response, field: str = "") -> UnexpectedAnswer:
    """An answer that no JupyterHub gives, as a whole or in this ``field``."""
    request = request_of(response)
    whole = f"{request['url']} answered {response.status_code} {content_of(response)}"
    return UnexpectedAnswer(
        f"{whole} whose field {quoted(field)} is not what a JupyterHub gives."
        if field
        else f"{whole} that no JupyterHub gives.",
        "Check hub_url, and whether a login page or another proxy stands before the hub.", **request,
    )  # fmt: skip


def retry_after_of(response: requests.Response) -> float | None:
    """In how many seconds the answer says to come back, given as a number or a date; None where it does not."""
    try:
        return float(Retry().parse_retry_after(response.headers["Retry-After"]))
    except (KeyError, InvalidHeader, ValueError, OverflowError):  # a year or a number that no clock has, too
        return None


def event_of(line: bytes) -> dict[str, Any] | None:
    """One line of a stream: ``data: {...}``; anything else, such as the empty lines between, is no event."""
    if not line.startswith(b"data:"):
        return None
    try:
        event = json_of(line[5:])
    except ValueError:
        return None
    return event if EVENT.misfit(event) is None else None
