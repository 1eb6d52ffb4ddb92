# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns an answer of the hub, or the lack of an answer, into a typed failure that says what to do next.

The functions that return a `HubError` are named after what has happened, such as `request_failed`.
"""

from __future__ import annotations

import json
import math
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from .connection import is_address, join_url
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
from .schemas import EVENT, Schema

try:
    import requests
    from urllib3.exceptions import InvalidHeader, ReadTimeoutError
    from urllib3.util.retry import Retry
except ImportError:
    pass  # `Transport` reports it before anything here needs it


_MAX_PAGE_CHARACTERS = 100_000
"""How many characters of a page are searched."""
MAX_DEPTH = 100
"""How many lists and objects lie within each other in a result. No options that a spawner reads need more than a few.
Ansible ends with a `RecursionError` at 320 (ansible-core 2.16) or 236 (2.19), and earlier in a callback or a template
that makes more calls. A hub accepts 955."""
TOO_DEEP = "(nested too deeply to be shown)"
"""What a result shows in place of a value that lies deeper than `MAX_DEPTH`."""

NO_ROUTE_HINT = (
    "Set hub_url to the address that a browser shows, not to the hub's internal address behind its proxy. If it is "
    "that already, look into the proxy's log."
)
"""What to do if the hub answers at the address of a running server."""


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text. Raises `ValueError` if it is not valid JSON. NaN and infinity are not valid.

    Half a character (a lone surrogate) cannot be encoded as UTF-8. It becomes U+FFFD.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")  # json.loads would let half characters through
    try:
        found = json.loads(text, parse_constant=_reject_constant, parse_float=_parse_finite_float)
        return _replace_surrogates(found) if "\\ud" in text.lower() else found  # only an escape can produce one
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def _parse_finite_float(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _reject_constant(digits[:20])


def _replace_surrogates(value: Any) -> Any:
    """Return the value with each lone surrogate replaced by U+FFFD."""
    return change_texts(value, lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def change_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return a value of JSON with each text in it changed, the names of fields included.

    It does not call itself for what is nested, because a user may have nested the options of a server deeply.
    """
    whole: list[Any] = [None]
    todo: list[tuple[Any, Any, Any]] = [(whole, 0, value)]  # each value, and its place in the copy
    while todo:
        container, place, item = todo.pop()
        if isinstance(item, str):
            container[place] = change(item)
        elif isinstance(item, Mapping):
            named = [(change(name) if isinstance(name, str) else name, each) for name, each in item.items()]
            fields = container[place] = dict[Any, Any].fromkeys(name for name, _each in named)  # in the same order
            todo += [(fields, name, each) for name, each in named]
        elif isinstance(item, (list, tuple)):
            items = container[place] = [None] * len(item)
            todo += [(items, number, each) for number, each in enumerate(item)]
        else:
            container[place] = item
    return whole[0]


def limit_depth(value: Any, levels: int = MAX_DEPTH) -> Any:
    """Return the value with `TOO_DEEP` in place of each list and each object that lies below so many ``levels``.

    Any user may nest the options of a server so deeply that Ansible cannot show them. That must not hide the others.
    """
    if isinstance(value, Mapping):
        return {name: limit_depth(item, levels - 1) for name, item in value.items()} if levels else TOO_DEEP
    if isinstance(value, (list, tuple)):
        return [limit_depth(item, levels - 1) for item in value] if levels else TOO_DEEP
    return value


def is_passing(response: requests.Response) -> bool:
    """Return whether the answer says nothing about the object of the request, so that a later one may differ.

    A hub's own 500 is in JSON. Another 500 is a proxy's.
    """
    status = response.status_code
    return status in EDGE or (status == 500 and "json" not in find_content_type(response))


def describe_request(response: requests.Response) -> dict[str, Any]:
    """Return what a failure says about its request. Queries are left out: they are long, and may contain secrets."""
    method, url = response.request.method, str(response.url).partition("?")[0]
    return {"status": response.status_code, "method": method, "url": url, "reason": find_reason(response)}


def request_failed(response: requests.Response, what: str) -> HubError:
    """Return the failure that a status means, with the hub's own reason. ``what`` is the request's object."""
    failure = _interpret_status(response, what)
    return failure.with_passing(is_passing(response) or failure.is_passing)


def _interpret_status(response: requests.Response, what: str) -> HubError:
    status, request = response.status_code, describe_request(response)
    reason = request["reason"]
    if status < 400:
        target = join_url(str(response.url), response.headers.get("Location", "")).partition("?")[0]
        return UnexpectedAnswer(
            f"{request['url']} redirects to {target}; the token is not sent there.",
            "Set hub_url to the address that a browser shows in the end. If that is the login page of a proxy in front "
            "of the hub, have the proxy let requests with an API token through.", **request,
        )  # fmt: skip
    if is_passing(response) and "json" not in find_content_type(response) and status != 429:
        return HubFailure(
            f"A proxy answers {status} for {what}, in place of the hub: {reason}.",
            "Check that the hub behind it runs and is not overloaded, then check the proxy.", **request,
        )  # fmt: skip
    if status >= 500:
        return HubFailure(f"The hub failed with {status} for {what}: {reason}.", "Look into the hub's log.", **request)
    kind = BY_STATUS.get(status, UnexpectedAnswer)
    if kind is NotFound and "json" not in find_content_type(response):
        # A hub's own 404 is in JSON. A proxy without a route to a hub returns 404 for all paths, for example while the
        # hub starts.
        return Unreachable(
            f"A proxy answers 404 ({reason}) in place of the hub.",
            "Check hub_url, and that the hub runs.", **request,
        )  # fmt: skip
    if kind is NotFound:
        hint = "Check the name; a token whose scopes do not cover it gets the same answer."
        return NotFound(f"The hub has no {what} ({reason}).", hint, **request)
    if kind is RateLimited:
        wait = read_retry_after(response)
        then = "when fewer servers are running or starting" if wait is None else f"in {wait:.0f} s"
        return RateLimited(
            f"The hub has no room for {what}: {reason}.", f"Try again {then}.", retry_after=wait, **request
        )
    return kind(f"The hub refuses {request['method']} for {what}: {reason}.", "Correct what it names.", **request)


def is_from_server(response: requests.Response, hub_url: str) -> bool:
    """Return whether a server itself has answered, and not the hub in its place."""
    if response.status_code in (404, 424) or response.status_code >= 500 or is_passing(response):
        return False
    location = join_url(str(response.url), response.headers.get("Location", ""))
    target = urlsplit(location).path if is_address(location) else ""
    hub = urlsplit(hub_url).path + "hub/"
    return not target.startswith(hub) or target.startswith(hub + "api/oauth2/")


def find_base_path(response: requests.Response) -> str:
    """Return the hub's base path if the answer is a JupyterHub's page for a wrong address, else an empty text."""
    if response.status_code != 404 or "html" not in response.headers.get("Content-Type", ""):
        return ""
    found = re.search(r'base_url: "(/[^"\s]*)hub/"', response.text[:_MAX_PAGE_CHARACTERS])
    return found[1] if found else ""


def no_route_to_server(response: requests.Response, what: str) -> HubFailure:
    """Return the failure if the hub answers at a running server's address, with a redirect to a page of its own."""
    return HubFailure(
        f"The hub itself answers at the address of the {what}, so that requests do not reach it.",
        f"The server may have ended, or the hub's proxy may have lost its route: check both logs. {NO_ROUTE_HINT}",
        result={"changed": False}, **describe_request(response),
    )  # fmt: skip


def server_not_running(response: requests.Response, what: str) -> HubFailure:
    """Return the failure if the hub answers in place of a server, because the server does not run."""
    return HubFailure(
        f"{_capitalize(what)} does not answer; the hub answers in its place.",
        "Start it with hub_server, and look into the hub's log for why it ended. If the hub says that it runs, set "
        "hub_url to the address that a browser shows.", **describe_request(response),
    )  # fmt: skip


def server_failed(response: requests.Response, what: str) -> HubFailure:
    """Return the failure of a server that answers with an error of its own."""
    request = describe_request(response)
    return HubFailure(
        f"{_capitalize(what)} failed with {response.status_code}: {request['reason']}.",
        "Look into the server's own log.", **request,
    )  # fmt: skip


def foreign_host(response: requests.Response, what: str, hub_url: str) -> Invalid:
    """Return the failure of a server that asks for a token, but is at a host to which the token is not sent."""
    there, home = urlsplit(str(response.url)), urlsplit(hub_url)
    return Invalid(
        f"{_capitalize(what)} is at {there.scheme}://{there.netloc}. The token is sent to hub_url, "
        f"{home.scheme}://{home.netloc}, and its subdomains only.",
        "Set hub_url to the address that a browser shows for the hub.", **describe_request(response),
    )  # fmt: skip


def _capitalize(what: str) -> str:
    return what[0].upper() + what[1:]


def is_untrusted_certificate(error: requests.RequestException) -> bool:
    """Return whether a certificate is not trusted. Unlike a broken connection, this does not pass with time."""
    return isinstance(_find_root_error(error), ssl.SSLCertVerificationError)


def connection_failed(error: requests.RequestException, method: str, url: str, timeout: float) -> HubError:
    """Return why no answer arrived, from the HTTP library's exception. ``timeout`` is in seconds."""
    host = urlsplit(url).netloc
    request: dict[str, Any] = {"method": method, "url": url}
    cause = _describe_cause(error)
    if isinstance(error, requests.exceptions.SSLError):
        hint = "Set ca_path to the certificate of the CA that signed it."
        if "wrong version" in cause.lower() or "record layer" in cause.lower():
            hint = "Write hub_url with http://, or with the port that uses TLS."
        elif "mismatch" in cause:
            hint = "Add that host to the certificate, or set hub_url to a host name in the certificate."
        return TlsFailure(f"No trusted connection to {host}: {cause}.", hint, **request)
    if isinstance(_find_root_error(error), (requests.exceptions.ReadTimeout, ReadTimeoutError)):
        return request_timed_out(method, url, timeout)
    if isinstance(error, requests.exceptions.InvalidProxyURL):
        # The library's own message may contain a password.
        return Invalid(
            f"The proxy that the environment names for {host} is not a URL, or its type is not supported here.",
            "Correct http_proxy, https_proxy or all_proxy in the task's environment. SOCKS requires the Python library "
            "PySocks.", **request,
        )  # fmt: skip
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return Invalid(f"'{url}' is not a URL: {cause}.", "Correct hub_url.", **request)
    hint = "Check hub_url, and that the hub runs and can be reached from here."
    if url.startswith("http:") and "closed" in cause:
        hint = "Write hub_url with https:// if the hub uses TLS, and check that it runs."
    return Unreachable(f"No answer from {host}: {cause}.", hint, **request)


def request_timed_out(method: str, url: str, timeout: float) -> Timeout:
    """Return the failure of a request that has no complete answer within ``timeout`` seconds."""
    hint = "Check whether the hub is overloaded, or raise request_timeout, or the time limit of the whole task."
    return Timeout(
        f"{urlsplit(url).netloc} did not answer {method} within {round(timeout, 3):g} s.", hint, method=method, url=url
    )


def _find_root_error(error: BaseException) -> BaseException:
    """Return the innermost of the HTTP libraries' nested exceptions."""
    inner = getattr(error, "reason", None) or next((arg for arg in error.args if isinstance(arg, BaseException)), None)
    return _find_root_error(inner) if isinstance(inner, BaseException) else error


def _describe_cause(error: BaseException) -> str:
    """Return why a request failed, without the names of the libraries' classes."""
    root = _find_root_error(error)
    text = str(getattr(root, "strerror", None) or getattr(root, "reason", None) or root)
    text = re.sub(r"^<[^>]*>: |^\w+\(.*?\): |\[SSL: \w+\] | \(_ssl\.c:\d+\)", "", text)
    return re.sub(r"^Failed to establish a new connection: (\[.*?\] )?", "", text).strip(" .") or type(error).__name__


def find_content_type(response: requests.Response) -> str:
    """Return the answer's media type, or "without content" if it has none."""
    return response.headers.get("Content-Type", "").partition(";")[0] or "without content"


def find_reason(response: requests.Response) -> str:
    """Return the reason that an answer gives: the hub's message, a page's title, or the reason in the status line."""
    try:
        message = parse_json(response.content)["message"]
    except (ValueError, TypeError, KeyError):
        # Not `response.text`, which guesses the encoding from the whole content.
        page = response.content[:10000].decode("utf-8", "replace")
        title = re.search(r"<title>(.*?)</title>", page, re.S | re.I)
        message = title[1] if title else ""
    # JupyterHub 6.1 sends null if it has no message.
    return " ".join(str(message or response.reason or response.status_code).split()).rstrip(".")


def check_schema(answer: Any, schema: Schema, response: requests.Response) -> Any:
    """Return the answer, or a part of it, unchanged. Raises `UnexpectedAnswer` if it does not fit the schema."""
    field = schema.find_mismatch(answer)
    if field is not None:
        raise unexpected_answer(response, field)
    return answer


def unexpected_answer(response: requests.Response, field: str = "") -> UnexpectedAnswer:
    """Return the failure if an answer, or this ``field`` of it, is not one that a JupyterHub gives."""
    request = describe_request(response)
    whole = f"{request['url']} answered {response.status_code} {find_content_type(response)}"
    return UnexpectedAnswer(
        f"{whole} whose field {quoted(field)} is not what a JupyterHub gives."
        if field
        else f"{whole} that no JupyterHub gives.",
        "Check hub_url, and whether a login page or another proxy is in front of the hub.", **request,
    )  # fmt: skip


def read_retry_after(response: requests.Response) -> float | None:
    """Return after how many seconds the hub asks to be called again, from a number or a date in the header, or None."""
    try:
        return float(Retry().parse_retry_after(response.headers["Retry-After"]))
    except (KeyError, InvalidHeader, ValueError, OverflowError):  # also for a year or a number that is too large
        return None


def parse_event(line: bytes) -> dict[str, Any] | None:
    """Return the event in one line of a stream (``data: {...}``), or None for any other line, such as an empty one."""
    if not line.startswith(b"data:"):
        return None
    try:
        event = parse_json(line[5:])
    except ValueError:
        return None
    return event if EVENT.find_mismatch(event) is None else None
