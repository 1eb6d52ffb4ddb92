# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""responses: what an answer, or the lack of one, means."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
import requests
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.responses import (
    MAX_DEPTH,
    TOO_DEEP,
    change_texts,
    connection_failed,
    describe_request,
    find_reason,
    limit_depth,
    parse_json,
    request_failed,
    unexpected_answer,
)
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError, ReadTimeoutError

URL = "https://hub.example.org/hub/api/users/alice"
SECRET = "s3cr3t"


def answer(status: int, body: Any = None, *, url: str = URL, method: str = "GET", **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code, response.url, response.reason = status, url, "the status line's word"
    response.request = requests.Request(method, url).prepare()
    response._content = (body if isinstance(body, str) else json.dumps(body)).encode()
    response.headers["Content-Type"] = "text/html; charset=utf-8" if isinstance(body, str) else "application/json"
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (301, "unexpected_answer"), (302, "unexpected_answer"), (400, "invalid"), (404, "not_found"),
        (405, "unexpected_answer"), (409, "conflict"), (413, "unexpected_answer"), (418, "unexpected_answer"),
        (429, "rate_limited"), (500, "hub_error"), (502, "hub_error"), (503, "hub_error"), (504, "hub_error"),
        (599, "hub_error"),
    ],
)  # fmt: skip
def test_what_a_status_means(status: int, code: str) -> None:
    error = request_failed(answer(status, {"message": "so it is"}, Location="/hub/login"), "user 'alice'")
    assert (error.code, error.status, error.method, error.url) == (code, status, "GET", URL)
    assert error.reason == "so it is"
    assert error.hint.endswith(".")
    if status >= 400:
        assert "user 'alice'" in error.message
        assert "so it is" in error.message


def test_a_page_that_is_not_found_is_a_proxy_s_word_and_not_the_hub_s() -> None:
    """While a hub starts, its proxy returns 404 for all paths. That says nothing about a user."""
    error = request_failed(answer(404, "<html><title>404 Not Found</title>"), "user 'alice'")
    assert (error.code, error.status, error.reason) == ("unreachable", 404, "404 Not Found")
    assert "user" not in error.message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"status": 400, "message": "Already running."}, "Already running"),
        ({"message": "two\n  lines"}, "two lines"),
        # JupyterHub 6.1 sends null if it has no message.
        ({"status": 404, "message": None}, "the status line's word"),
        ({"message": ""}, "the status line's word"),
        ({"no": "message"}, "the status line's word"),
        (["no", "mapping"], "the status line's word"),
        (None, "the status line's word"),
        ("", "the status line's word"),
        ("<html><head><TITLE>\n 502 Bad Gateway </TITLE></head>", "502 Bad Gateway"),
        ("<html>no title</html>", "the status line's word"),
        ("{not json", "the status line's word"),
    ],
)
def test_the_reason_is_the_hub_s_word_or_a_page_s_title(body: Any, reason: str) -> None:
    assert find_reason(answer(400, body)) == reason


def test_an_answer_without_any_words_has_its_status_for_a_reason() -> None:
    silent = answer(599, "")
    silent.reason = ""
    assert find_reason(silent) == "599"


def test_a_redirect_names_both_addresses_without_their_queries() -> None:
    location = f"/hub/login?next=%2Fhub%2Fapi&token={SECRET}"
    error = request_failed(answer(302, "", url=f"{URL}?token={SECRET}", Location=location), "user 'alice'")
    assert error.message.startswith(f"{URL} redirects to https://hub.example.org/hub/login;")
    assert SECRET not in str(error.as_result())


def test_no_failure_shows_a_query() -> None:
    response = answer(200, "<html>", url=f"{URL}?token={SECRET}", Content_Type="text/html; charset=utf-8")
    assert describe_request(response)["url"] == URL
    assert SECRET not in str(unexpected_answer(response).as_result())
    assert "200 text/html that no JupyterHub gives" in unexpected_answer(response).message


def test_rate_limits_say_when_to_come_back() -> None:
    assert "30 s" in request_failed(answer(429, {}, Retry_After="30"), "server").hint
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(hours=1))
    assert re.search(r"in 3\d\d\d s", request_failed(answer(429, {}, Retry_After=soon), "server").hint)
    for none in ("9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT", "Fri, 31 Dec 9999999999999999 23:59:59 GMT", "x"):
        assert "fewer servers" in request_failed(answer(429, {}, Retry_After=none), "server").hint
    # active_server_limit sends no Retry-After, so the time is unknown.
    assert "fewer servers" in request_failed(answer(429, {}), "server").hint


POOL = HTTPConnectionPool("hub.example.org")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (requests.ConnectionError(
            MaxRetryError(POOL, "/hub/api/", NewConnectionError(POOL, "[Errno 111] Connection refused"))),  # type: ignore[arg-type]
         "unreachable", "Connection refused"),
        (requests.ConnectionError(
            MaxRetryError(POOL, "/hub/api/", NameResolutionError("hub.x", POOL, OSError(-2, "unknown name")))),  # type: ignore[arg-type]
         "unreachable", "hub.x"),
        (requests.ConnectionError(("Connection aborted.", ConnectionResetError(104, "Connection reset by peer"))),
         "unreachable", "Connection reset by peer"),
        (requests.exceptions.ConnectTimeout("slow"), "unreachable", "slow"),
        (requests.exceptions.ReadTimeout("Read timed out."), "timeout", "within 30 s"),
        # The library repeats a GET, and raises the last timeout as a failed connection.
        (requests.ConnectionError(MaxRetryError(POOL, "/", ReadTimeoutError(POOL, "/", "Read timed out."))),
         "timeout", "within 30 s"),
        (requests.exceptions.SSLError("certificate verify failed: self-signed certificate"), "tls", "self-signed"),
        (requests.exceptions.SSLError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), "tls", "wrong version"),
        (requests.exceptions.InvalidURL("Failed to parse"), "invalid", "Failed to parse"),
        (requests.exceptions.ChunkedEncodingError("cut"), "unreachable", "cut"),
        (requests.RequestException(), "unreachable", "RequestException"),
    ],
)  # fmt: skip
def test_why_there_was_no_answer(error: requests.RequestException, code: str, words: str) -> None:
    failure = connection_failed(error, "GET", URL, 30.0)
    assert (failure.code, failure.status, failure.method, failure.url) == (code, None, "GET", URL)
    assert words in failure.message
    # A message contains neither a library's class nor an object's address.
    assert " object at 0x" not in failure.message
    assert "Pool(" not in failure.message


def test_tls_hints_tell_a_private_ca_from_no_tls_at_all() -> None:
    def hint(text: str) -> str:
        return connection_failed(requests.exceptions.SSLError(text), "GET", URL, 1).hint

    assert "ca_path" in hint("certificate verify failed: unable to get local issuer certificate")
    assert "http://" in hint("[SSL: WRONG_VERSION_NUMBER] wrong version number")
    mismatch = "certificate verify failed: Hostname mismatch, certificate is not valid for 'alice.hub'"
    assert "ca_path" not in hint(mismatch)
    assert "name" in hint(mismatch)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999", "[" * 5000, "{", "", "9" * 5000])
def test_what_json_cannot_say_again_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
    with pytest.raises(ValueError, match=r"."):
        parse_json(text.encode())


@pytest.mark.parametrize("text", [r'"a\ud800b"', r'{"\uDC00": ["\ud83d"]}', r'"\ud83d\ude00 \ud800"'])
def test_half_a_character_can_be_written(text: str) -> None:
    found = parse_json(text)
    assert parse_json(text.encode()) == found
    assert "\ufffd" in str(found)
    json.dumps(found, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "content", [b'"\xed\xa0\x80"', b'{"a": "\xff"}', '"\ud800"'.encode("utf-16", "surrogatepass"), b'"\xc3"']
)
def test_what_is_no_utf_8_says_nothing(content: bytes) -> None:
    """`json.loads` accepts half characters in bytes."""
    with pytest.raises(ValueError, match=r"decode"):
        parse_json(content)


def test_whole_characters_stay() -> None:
    assert parse_json(r'["\ud83d\ude00", "\u00e9", 1.5, 10, null, true]') == ["\U0001f600", "\xe9", 1.5, 10, None, True]


def nest(depth: int, text: str = "x") -> Any:
    """A text within so many lists and objects."""
    value: Any = text
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


def count_levels(value: Any) -> tuple[int, Any]:
    """How many lists and objects are around the innermost value, and that value."""
    depth = 0
    while isinstance(value, (list, dict)):
        value, depth = value[0] if isinstance(value, list) else value["a"], depth + 1
    return depth, value


@pytest.mark.parametrize("depth", [0, 1, 50, MAX_DEPTH])
def test_what_a_result_can_show_stays(depth: int) -> None:
    assert limit_depth(nest(depth)) == nest(depth)


@pytest.mark.parametrize("depth", [101, 480, 900, 5000])
def test_what_lies_too_deep_is_replaced_and_what_is_beside_it_stays(depth: int) -> None:
    value = nest(depth)
    assert count_levels(limit_depth(value)) == (MAX_DEPTH, TOO_DEEP)
    assert count_levels(value) == (depth, "x")
    beside = {"deep": (value, 1), "other": [{"b": None}], "text": "y"}
    shown = limit_depth(beside)
    assert (shown["other"], shown["text"], shown["deep"][1]) == ([{"b": None}], "y", 1)


@pytest.mark.parametrize("depth", [50, 101, 480, 900])
def test_one_emoji_does_not_make_a_deep_answer_unreadable(depth: int) -> None:
    """Half of an emoji may be missing. So each text of the answer is looked at."""
    found = parse_json(json.dumps({"name": "\U0001f600 \ud800", "options": nest(depth, "\ud800")}))
    assert found["name"] == "\U0001f600 \ufffd"
    assert count_levels(found["options"]) == (depth, "\ufffd")


def test_texts_are_changed_in_a_copy_of_the_same_order() -> None:
    value = {"b": ["x", 1, None, {"c": ("y", True)}], "a": {}, "d": [], "e": "x"}
    changed = change_texts(value, str.upper)
    assert json.dumps(changed) == '{"B": ["X", 1, null, {"C": ["Y", true]}], "A": {}, "D": [], "E": "X"}'
    assert value["b"][3] == {"c": ("y", True)}  # type: ignore[index]
    assert change_texts("x", str.upper) == "X"
    assert change_texts(5000 * "x", str.upper) == 5000 * "X"
