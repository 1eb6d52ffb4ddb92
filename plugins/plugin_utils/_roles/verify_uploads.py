# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the role verify sends the files of its report: the requests for ``verify_uploads``, and what became of them.

An item of ``verify_uploads`` may hold a secret in its url (also in the path, as a public share of WebDAV does), its
password and its headers. So a text that this file makes names an item by its number, its file, and the scheme, host and
port of its url. It holds nothing of what the module uri says, apart from the status.

Ansible-core before 2.19 may pass a number or a boolean as text.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from .checks import is_true, one_line
from .verify_files import FILES
from .verify_summary import count_text
from .verify_values import read_list, read_mapping, read_seconds, read_text

KEYS = ("file", "url", "method", "user", "password", "headers", "validate_certs", "ca_path")
METHODS = ("PUT", "POST")
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".xml": "application/xml",
    ".prom": "text/plain; version=0.0.4; charset=utf-8",
}
MOST_ATTEMPTS = 4
"""The ``retries`` of the task that sends the files, and the first attempt."""
BUSY = (429, 502, 503, 504)
"""Statuses after which a PUT is sent again."""

_BOOLEANS = ("0", "1", "f", "false", "n", "no", "off", "on", "t", "true", "y", "yes")
_URL = re.compile("[!-~]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.1
_HEADER_VALUE = re.compile("[\t\x20-\x7e\xa0-\xff]+")
_NO_VALUE = re.compile(r"'\w{1,100}' is undefined|has no attribute '\w{1,100}'|lookup plugin '[\w.]{1,100}'")
_S3_CODE = re.compile("<Code>([A-Za-z]{1,50})</Code>")


# What is wrong with verify_uploads


def find_mistake(uploads: Any, folder: str, is_file: Callable[[str], bool] = os.path.isfile) -> str:
    """Return a sentence on the first mistake in ``verify_uploads``, empty if there is none.

    ``folder`` is where a relative ``ca_path`` begins. ``is_file`` says whether a path is a file.
    """
    try:
        return _find_mistake(uploads, folder, is_file)
    except Exception as error:  # Ansible renders templates now, and one of the user's may fail
        return f"verify_uploads cannot be evaluated{_why_not_evaluated(error)}. Look at its variables and lookups."


def _why_not_evaluated(error: Exception) -> str:
    """Return the part of a message that names a variable or a lookup. Ansible-core 2.16 adds the whole value to it."""
    try:
        found = _NO_VALUE.search(str(error))
    except Exception:
        found = None
    return f": {found.group()}" if found else ""


def _find_mistake(uploads: Any, folder: str, is_file: Callable[[str], bool]) -> str:
    if not isinstance(uploads, list | tuple):
        str(uploads)  # raises if ansible-core before 2.19 found no value for a variable in it
        return "verify_uploads is not a list. Write a list of items, each with file and url."
    written: dict[str, int] = {}
    for number, upload in enumerate(uploads, 1):
        if mistake := _mistake_of(upload, folder, is_file):
            return f"Item {number} of verify_uploads: {mistake}"
        if _method(upload) == "PUT":
            first = written.setdefault(read_text(upload["url"]), number)
            if first != number:
                return f"Items {first} and {number} of verify_uploads have the same url. Let each file have its own."
    return ""


def _mistake_of(upload: Any, folder: str, is_file: Callable[[str], bool]) -> str:
    if not isinstance(upload, Mapping):
        return "it is no dictionary. Write it with the keys file and url."
    if unknown := [key for key in upload if key not in KEYS]:
        return f"the key {one_line(unknown[0], 50)} is unknown. The keys are {', '.join(KEYS)}."
    if _value(upload, "file") not in FILES:
        return f"file is {_shown(_value(upload, 'file'))}. Name one of the files {', '.join(FILES)}."
    method = _method(upload)
    if method not in METHODS:
        return f"method is {_shown(method)}. Use {' or '.join(METHODS)}."
    certs = _value(upload, "validate_certs")
    if certs is not None and certs.lower() not in _BOOLEANS:
        return "validate_certs is neither true nor false."
    ca_path = _value(upload, "ca_path")
    if ca_path is not None and not is_file(_path(ca_path, folder)):
        return f"ca_path is {_shown(ca_path)}, which is no file. Name a file with the certificates of a CA."
    return _mistake_in_url(upload) or _mistake_in_account(upload) or _mistake_in_headers(upload)


def _mistake_in_url(upload: Mapping[str, Any]) -> str:
    """The sentences do not show the url, because it may hold a secret."""
    url = _value(upload, "url")
    if not url:
        return "url is missing or empty. Set it to the complete address of the file on the server."
    try:
        parts = urlsplit(url)
        complete = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete:
        return "url is no complete address. Let it begin with https:// or http:// and a host."
    if not _URL.fullmatch(url):
        return "url has a space or a character that is not ASCII. Encode it, for example with the filter urlencode."
    return ""


def _mistake_in_account(upload: Mapping[str, Any]) -> str:
    user, password = _value(upload, "user"), _value(upload, "password")
    for name, value in (("user", user), ("password", password)):
        if value == "":
            return f"{name} is empty. Set it, or leave it out. The lookup of a variable that is not set is empty."
    if password is not None and user is None:
        return "password is set, but user is not. Set both."
    if user is not None and ":" in user:
        return "user has a colon, which the server would take for the end of the name."
    if user is not None and "@" in urlsplit(read_text(upload["url"])).netloc:
        return "url holds a user, and user is set. Leave one of them out."
    return ""


def _mistake_in_headers(upload: Mapping[str, Any]) -> str:
    headers = upload.get("headers")
    if headers is None:
        return ""
    if not isinstance(headers, Mapping):
        return "headers is no dictionary. Write the name and the value of each header."
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(read_text(name)):
            return "headers has a name that HTTP does not allow."
        if not _HEADER_VALUE.fullmatch(read_text(value)):
            return (
                f"the value of the header {one_line(name, 50)} is empty, or HTTP does not allow one of its characters."
            )
    if _authorization(upload) and "authorization" in [read_text(name).lower() for name in headers]:
        return "there are a user and the header Authorization. Leave one of them out."
    return ""


# The requests


def list_requests(uploads: Any, folder: str) -> list[dict[str, Any]]:
    """Return the request for each item of ``verify_uploads`` in which `find_mistake` found none.

    A request has ``number``, ``place``, ``file``, ``url``, ``method``, ``headers``, ``validate_certs``, and ``ca_path``
    if it is set. The headers have the content type, and the user and the password. A password that a server asks for
    first would come too late: the file would have been sent by then.
    """
    requests = []
    for number, upload in enumerate(read_list(uploads), 1):
        ca_path, certs = _value(upload, "ca_path"), _value(upload, "validate_certs")
        url = _value(upload, "url") or ""
        request = {
            "number": number,
            "place": _place(url),
            "file": _value(upload, "file"),
            "url": _without_account(url),
            "method": _method(upload),
            "headers": _headers(upload),
            "validate_certs": certs is None or is_true(certs),
        }
        requests.append({**request, "ca_path": _path(ca_path, folder)} if ca_path else request)
    return requests


def _headers(upload: Mapping[str, Any]) -> dict[str, str]:
    given = {read_text(name): _text(value) for name, value in read_mapping(upload.get("headers")).items()}
    extension = os.path.splitext(_value(upload, "file") or "")[1]
    ours = {"Content-Type": CONTENT_TYPES[extension]}
    if authorization := _authorization(upload):
        ours["Authorization"] = authorization
    names = [name.lower() for name in given]
    return {name: value for name, value in ours.items() if name.lower() not in names} | given


def _authorization(upload: Mapping[str, Any]) -> str:
    user, password = _value(upload, "user"), _value(upload, "password") or ""
    if user is None:
        account, at, _host = urlsplit(read_text(upload["url"])).netloc.rpartition("@")
        if not at:
            return ""
        user, _colon, password = (unquote(part) for part in account.partition(":"))
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _value(upload: Mapping[str, Any], name: str) -> str | None:
    """Return a value as text, None if it is not set."""
    value = upload.get(name)
    return None if value is None else _text(value)


def _text(value: Any) -> str:
    """Return a value as text. A text stays as it is, so that Ansible does not take one of a lookup for a template."""
    return value if isinstance(value, str) else read_text(value)


def _method(upload: Mapping[str, Any]) -> str:
    return (_value(upload, "method") or METHODS[0]).upper()


def _path(path: str, folder: str) -> str:
    return os.path.join(folder, os.path.expanduser(path))


def _without_account(url: str) -> str:
    """Return a url without its user and password. Nothing else changes, because the url may be signed."""
    account, at, _host = urlsplit(url).netloc.rpartition("@")
    return url.replace(account + at, "", 1) if at else url


def _place(url: str) -> str:
    """Return scheme, host and port. A path or a query may hold a secret."""
    parts = urlsplit(url)
    return one_line(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")


def _shown(value: str | None) -> str:
    return "missing" if value is None else one_line(value, 100) or "empty"


# What became of them


def may_repeat(request: Mapping[str, Any], result: Any) -> bool:
    """Return whether to send a file again. ``result`` is that of the module uri for this attempt.

    A PUT has the same effect if it is sent twice. A POST is repeated only if the server has not got it.
    """
    found = read_mapping(result)
    if _is_sent(found) or read_seconds(found.get("attempts")) >= MOST_ATTEMPTS:
        return False
    reason = _reason(found)
    if reason == REFUSED:
        return True
    return request["method"] == "PUT" and (_status(found) in BUSY or reason == CUT)


def places_text(sent: Any) -> str:
    """Return a text such as ``, sent to https://dav.example.org`` for the end of a line. It is empty without uploads.

    ``sent`` is the registered result of the task that sends the files.
    """
    results = _results(sent)
    bad = {_place_of(result) for result in results if not _is_sent(result)}
    good = {_place_of(result) for result in results} - bad
    texts = [
        f", {what} {', '.join(sorted(places))}" for what, places in (("sent to", good), ("NOT SENT to", bad)) if places
    ]
    return "".join(texts) or (", NOT SENT" if _is_broken(sent) else "")


def add_failure(failure: str, sent: Any, report: Mapping[str, Any]) -> str:
    """Return the sentence with which the role fails for a host, with each upload that failed.

    ``failure`` is the sentence on the hub, empty if the hub has not failed. ``sent`` is as in `places_text`, and
    ``report`` is what the files are made of. The result is empty if nothing failed.
    """
    results = _results(sent)
    sentences = [_sentence(result) for result in results if not _is_sent(result)]
    number = f"{len(sentences)} of {len(results)} uploads failed."
    if _is_broken(sent):
        number = "The report was not sent."
        sentences = ["verify_uploads could be evaluated when the role began, but not any more. Look at its lookups."]
    if not sentences:
        return failure
    verdict = f"The verdict is {report['verdict']} ({count_text(report['counts']['hubs'], 'hub', 'hubs')})."
    return " ".join([*([failure] if failure else []), verdict, number, *sentences])


def _results(sent: Any) -> list[dict[str, Any]]:
    """Return the results of the requests. There are none in check mode, and none without uploads."""
    results = map(read_mapping, read_list(read_mapping(sent).get("results")))
    return [result for result in results if result and not is_true(result.get("skipped"))]


def _is_broken(sent: Any) -> bool:
    """Return whether the task failed before it had a result for any item."""
    return is_true(read_mapping(sent).get("failed")) and not _results(sent)


def _status(result: Mapping[str, Any]) -> int:
    return int(read_seconds(result.get("status")))


def _is_sent(result: Mapping[str, Any]) -> bool:
    return 200 <= _status(result) < 300


def _place_of(result: Mapping[str, Any]) -> str:
    return read_text(read_mapping(result.get("verify_upload")).get("place"))


def _sentence(result: Mapping[str, Any]) -> str:
    request, status = read_mapping(result.get("verify_upload")), _status(result)
    what, place = f"{request.get('method')} of {request.get('file')}", request.get("place")
    attempts = int(read_seconds(result.get("attempts")))
    times = f", {attempts} times" if attempts > 1 else ""
    if status:
        happened, hint = f"{place} answered {_status_text(result)} to the {what}{times}", _status_hint(status)
    else:
        reason = _reason(result)
        happened, hint = f"the {what} to {place} failed{times}, because {reason[0]}", reason[1]
    return f"Item {request.get('number')} of verify_uploads: {happened}. {hint}"


def _status_text(result: Mapping[str, Any]) -> str:
    """Return the status, its phrase, and the code of an error of S3. The rest of such an error shows the signature."""
    status = _status(result)
    phrase = HTTPStatus(status).phrase if status in {*HTTPStatus} else ""
    code = _S3_CODE.search(read_text(result.get("content")))
    return f"{status} {phrase}".strip() + (f" ({code.group(1)})" if code else "")


def _status_hint(status: int) -> str:
    if 300 <= status < 400:
        return "Set url to the address to which the server redirects. The role follows no redirect with a secret."
    if status in _HINTS:
        return _HINTS[status]
    return "Look at the log of that server." if status >= 500 else "Check url and headers."


_HINTS = {
    401: "Check user and password, or the header Authorization.",
    403: "Check that the account may write there. A presigned URL must be for this method, and must not have expired. "
    "If it is for a content type, set that in headers.",
    404: "Check that url is right, and that the folder or the bucket is there.",
    405: "Check that url ends with the name of a file, and that the server takes this method.",
    409: "Create the folder of the file on the server. WebDAV does not create it.",
    413: "Raise the limit of the server for the size of a request.",
    429: "Run the role again later.",
    502: "Check the server behind that proxy.",
    503: "Run the role again when that server is available.",
    507: "Make room on that server.",
}

Reason = tuple[str, str]
"""What happened, and what to do next."""
REFUSED: Reason = ("the connection was refused", "Check host and port of url, and that the server runs.")
CUT: Reason = ("the connection was cut", "Look at the log of that server.")
TIMED_OUT: Reason = (
    "it timed out",
    "Check that this machine reaches the server, and that the server is not overloaded.",
)
NO_CERTIFICATE: Reason = (
    "the certificate of the server is not valid here",
    "Set ca_path to a file with the certificates of its CA.",
)
NO_NAME: Reason = ("the name of the host is not known", "Check the host of url.")
NO_WAY: Reason = ("there is no way to the server", "Check the network of this machine, and its proxy.")
NO_FILE: Reason = (
    "the file is not there any more",
    "Let each run that may overlap with another one have its own verify_report_dir.",
)
UNKNOWN: Reason = (
    "the module uri got no answer",
    "Send the file by hand from this machine, for example with curl --upload-file, to see why.",
)
_REASONS = (
    (REFUSED, ("connection refused",)),
    (CUT, ("connection reset", "broken pipe", "closed connection", "connection was closed", "eof occurred")),
    (NO_FILE, ("unable to open source file",)),
    (TIMED_OUT, ("timed out", "time frame")),
    (NO_CERTIFICATE, ("certificate",)),
    (NO_NAME, ("name or service not known", "name resolution", "no address associated", "getaddrinfo")),
    (NO_WAY, ("unreachable", "no route to host")),
)


def _reason(result: Mapping[str, Any]) -> Reason:
    """Return why there was no answer. The texts of the module may hold a secret, so they are only searched."""
    if _status(result):
        return UNKNOWN
    text = read_text(result.get("msg")).lower()
    return next((reason for reason, parts in _REASONS if any(part in text for part in parts)), UNKNOWN)
