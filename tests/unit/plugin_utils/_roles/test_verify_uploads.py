# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
from http import HTTPStatus
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles import verify_uploads
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_files import FILES

SECRET = "s3cret"
URL = f"https://dav.example.org:8443/{SECRET}/page.html?key={SECRET}"
PLACE = "https://dav.example.org:8443"
REPORT: dict[str, Any] = {
    "verdict": "passed",
    "counts": {"hubs": {"total": 2, "passed": 2, "warned": 0, "skipped": 0, "failed": 0}},
}


def item(**more: Any) -> dict[str, Any]:
    return {"file": "index.html", "url": URL, **more}


def mistake(*uploads: Any) -> str:
    return verify_uploads.find_mistake([*uploads], "/start", lambda path: path == "/start/ca.pem")


def request(**more: Any) -> dict[str, Any]:
    [found] = verify_uploads.list_requests([item(**more)], "/start")
    return found


# What is wrong with verify_uploads


@pytest.mark.parametrize(
    "upload",
    [
        item(),
        item(method="post"),
        item(user="me", password=SECRET),
        item(user="token-of-an-account"),
        item(user=None, password=None, headers=None, validate_certs=None, ca_path=None, method=None),
        item(headers={"X-Key": SECRET, "X-Number": 3, "Authorization": f"Bearer {SECRET}"}),
        item(validate_certs=False),
        item(validate_certs="no"),
        item(ca_path="ca.pem"),
        item(ca_path="/start/ca.pem"),
        item(url="HTTP://[::1]:80/a"),
        item(url=f"https://me:{SECRET}@dav.example.org/page.html"),
        *(item(file=name) for name in FILES),
    ],
)
def test_what_is_right(upload: Any) -> None:
    assert mistake(upload) == ""


@pytest.mark.parametrize("uploads", [None, "", URL, {"file": "index.html"}, 3])
def test_uploads_are_a_list(uploads: Any) -> None:
    found = verify_uploads.find_mistake(uploads, "/start")
    assert found == "verify_uploads is not a list. Write a list of items, each with file and url."


def test_no_uploads_are_right() -> None:
    assert mistake() == ""


@pytest.mark.parametrize(
    ("upload", "says"),
    [
        (URL, "it is no dictionary"),
        (item(pasword=SECRET), "the key pasword is unknown"),
        ({"url": URL}, "file is missing. Name one of the files report.json,"),
        (item(file=""), "file is empty"),
        (item(file="../token"), "file is ../token. Name one of"),
        ({"file": "index.html"}, "url is missing or empty"),
        (item(url=""), "url is missing or empty"),
        (item(url=f"dav.example.org/{SECRET}"), "url is no complete address. Let it begin with https:// or http://"),
        (item(url=f"ftp://dav.example.org/{SECRET}"), "url is no complete address"),
        (item(url=f"https:///{SECRET}"), "url is no complete address"),
        (item(url=f"https://a:port/{SECRET}"), "url is no complete address"),
        (item(url=f"https://[a/{SECRET}"), "url is no complete address"),
        (item(url=f"https://a/{SECRET} b"), "url has a space or a character that is not ASCII"),
        (item(url=f"https://a/{SECRET}ü"), "url has a space or a character that is not ASCII"),
        (item(url=f"{URL}\n"), "url has a space"),
        (item(method="GET"), "method is GET. Use PUT or POST."),
        (item(user="me", password=""), "password is empty"),
        (item(user="", password=SECRET), "user is empty"),
        (item(password=SECRET), "password is set, but user is not"),
        (item(user="me:you", password=SECRET), "user has a colon"),
        (item(url=f"https://me:{SECRET}@a/", user="me"), "url holds a user, and user is set"),
        (item(headers=[SECRET]), "headers is no dictionary"),
        (item(headers={"X Key": SECRET}), "headers has a name that HTTP does not allow"),
        (item(headers={"X-Key": ""}), "the value of the header X-Key is empty"),
        (item(headers={"X-Key": f"{SECRET}\n"}), "the value of the header X-Key"),
        (item(headers={"X-Key": f"{SECRET}\u2028"}), "the value of the header X-Key"),
        (item(headers={"authorization": SECRET}, user="me"), "there are a user and the header Authorization"),
        (item(validate_certs="maybe"), "validate_certs is neither true nor false"),
        (item(ca_path="no-such.pem"), "ca_path is no-such.pem, which is no file"),
    ],
)
def test_a_mistake_names_the_item_and_shows_no_secret(upload: Any, says: str) -> None:
    found = mistake(item(), upload)
    assert found.startswith("Item 2 of verify_uploads: ")
    assert says in found
    assert SECRET not in found


def test_two_files_do_not_replace_each_other() -> None:
    says = "Items 1 and 3 of verify_uploads have the same url. Let each file have its own."
    assert mistake(item(), item(url="https://a/"), item(file="junit.xml")) == says
    assert mistake(item(method="POST"), item(method="POST", file="junit.xml")) == ""


class Failing(dict[str, Any]):
    """Stands for a dictionary of which Ansible renders a value when somebody asks for it."""

    def __init__(self, message: str) -> None:
        super().__init__(item())
        self.message = message

    def get(self, name: str, default: Any = None) -> Any:
        raise ValueError(self.message)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("'dav_password' is undefined", ": 'dav_password' is undefined"),
        (f"[{{'password': '{SECRET}'}}]: 'no_value' is undefined. 'no_value' is", ": 'no_value' is undefined"),
        (f"{SECRET}: 'dict object' has no attribute 'url'. {SECRET}", ": has no attribute 'url'"),
        (f"while running the lookup plugin 'ansible.builtin.pipe': {SECRET}", ": lookup plugin 'ansible.builtin.pipe'"),
        (SECRET, ""),
    ],
)
def test_what_cannot_be_evaluated_is_a_mistake(message: str, shown: str) -> None:
    says = f"verify_uploads cannot be evaluated{shown}. Look at its variables and lookups."
    assert mistake(Failing(message)) == says


# The requests


def test_a_request_has_what_the_module_needs() -> None:
    assert request() == {
        "number": 1, "place": PLACE, "file": "index.html", "url": URL, "method": "PUT", "validate_certs": True,
        "headers": {"Content-Type": "text/html; charset=utf-8"},
    }  # fmt: skip
    found = request(method="post", validate_certs="no", ca_path="ca.pem")
    assert (found["method"], found["validate_certs"], found["ca_path"]) == ("POST", False, "/start/ca.pem")


def test_each_file_has_its_content_type() -> None:
    types = {name: request(file=name)["headers"]["Content-Type"] for name in FILES}
    assert types == {
        "report.json": "application/json", "history.json": "application/json", "junit.xml": "application/xml",
        "metrics.prom": "text/plain; version=0.0.4; charset=utf-8", "index.html": "text/html; charset=utf-8",
    }  # fmt: skip


def test_headers_of_the_user_come_first() -> None:
    assert request(headers={"content-type": "text/html", "X-Number": 3})["headers"] == {
        "content-type": "text/html", "X-Number": "3",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("upload", "account"),
    [
        (item(user="me", password="a:b"), "me:a:b"),
        (item(user="me"), "me:"),
        (item(user="mé", password=7), "mé:7"),
        (item(url="https://me%40home:a%3Ab@dav.example.org:8443/x?a#b"), "me@home:a:b"),
        (item(url="https://me@home:a@dav.example.org:8443/x?a#b"), "me@home:a"),
    ],
)
def test_an_account_is_sent_at_once(upload: dict[str, Any], account: str) -> None:
    """In a header, and not in the address."""
    [found] = verify_uploads.list_requests([upload], "/start")
    assert base64.b64decode(found["headers"]["Authorization"].removeprefix("Basic ")).decode() == account
    assert found["place"] == PLACE
    assert found["url"] in (URL, f"{PLACE}/x?a#b")


# What became of them


def result(status: int = -1, msg: str = "", **more: Any) -> dict[str, Any]:
    """What the module uri returns. It shows secrets where it can."""
    shown = {"msg": f"Status code was {status} and not [200]: {msg} {URL}", "url": URL, "invocation": {"url": URL}}
    return {"status": status, "failed": False, "verify_upload": request(), "content": SECRET, **shown, **more}


def sent(*results: dict[str, Any]) -> dict[str, Any]:
    return {"results": [*results], "failed": False}


REFUSED = "Request failed: <urlopen error [Errno 111] Connection refused>"
RESET = "Connection failure: [Errno 104] Connection reset by peer"


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize(
    ("found", "repeated"),
    [
        (result(201), ()),
        (result(404), ()),
        (result(500), ()),
        (result(503), ("PUT",)),
        (result("429"), ("PUT",)),  # type: ignore[arg-type]
        (result(-1, REFUSED), ("PUT", "POST")),
        (result(-1, RESET), ("PUT",)),
        (result(-1, "timed out"), ()),
        (result(-1, REFUSED, attempts=3), ("PUT", "POST")),
        (result(-1, REFUSED, attempts=4), ()),
        ({}, ()),
    ],
)
def test_what_may_be_repeated(method: str, found: Any, repeated: tuple[str, ...]) -> None:
    assert verify_uploads.may_repeat({"method": method}, found) == (method in repeated)


@pytest.mark.parametrize(
    ("results", "text"),
    [
        (sent(), ""),
        ({"skipped": True, "results": [{"skipped": True, "verify_upload": request()}]}, ""),
        ({"skipped": True}, ""),
        (None, ""),
        (sent(result(200), result(204)), f", sent to {PLACE}"),
        (sent(result(200), result(503)), f", NOT SENT to {PLACE}"),
        (
            sent(result(503), result(200, verify_upload=request(url="http://a/b"))),
            f", sent to http://a, NOT SENT to {PLACE}",
        ),
        ({"failed": True, "msg": SECRET}, ", NOT SENT"),
    ],
)
def test_the_places_end_a_line(results: Any, text: str) -> None:
    assert verify_uploads.places_text(results) == text


@pytest.mark.parametrize("failure", ["", "The hub is not verified."])
@pytest.mark.parametrize("results", [None, sent(), sent(result(201)), {"skipped": True}])
def test_nothing_is_added_if_no_upload_failed(failure: str, results: Any) -> None:
    assert verify_uploads.add_failure(failure, results, REPORT) == failure


def test_a_failure_says_what_the_verdict_was() -> None:
    results = sent(result(200), result(409), result(-1, REFUSED, attempts=4))
    assert verify_uploads.add_failure("", results, REPORT) == (
        "The verdict is passed (2 hubs: 2 passed). 2 of 3 uploads failed. "
        f"Item 1 of verify_uploads: {PLACE} answered 409 Conflict to the PUT of index.html. Create the folder of the "
        "file on the server. WebDAV does not create it. "
        f"Item 1 of verify_uploads: the PUT of index.html to {PLACE} failed, 4 times, because the connection was "
        "refused. Check host and port of url, and that the server runs."
    )
    failure = verify_uploads.add_failure("The hub is not verified, because.", results, REPORT)
    assert failure.startswith("The hub is not verified, because. The verdict is passed ")


def test_a_failure_before_the_first_request_is_named() -> None:
    failure = verify_uploads.add_failure("", {"failed": True, "msg": SECRET}, REPORT)
    assert (
        "The report was not sent. verify_uploads could be evaluated when the role began, but not any more." in failure
    )
    assert SECRET not in failure


@pytest.mark.parametrize("status", [*HTTPStatus, 299 + 1, 520, 999])
def test_each_status_has_a_next_step(status: int) -> None:
    failure = verify_uploads.add_failure("", sent(result(int(status))), REPORT)
    if 200 <= status < 300:
        assert failure == ""
        return
    assert f" answered {int(status)}" in failure
    assert failure.endswith(".")
    assert failure.count(". ") >= 3
    assert SECRET not in failure


@pytest.mark.parametrize(
    ("msg", "says"),
    [
        (REFUSED, "the connection was refused"),
        (RESET, "the connection was cut"),
        ("Connection failure: Remote end closed connection without response", "the connection was cut"),
        ("Request failed: <urlopen error timed out>", "it timed out"),
        ("The uri action failed to execute in the expected time frame (9) and was terminated", "it timed out"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer", "the certificate"),
        ("<urlopen error [Errno -2] Name or service not known>", "the name of the host is not known"),
        ("<urlopen error [Errno -3] Temporary failure in name resolution>", "the name of the host is not known"),
        ("<urlopen error [Errno 113] No route to host>", "there is no way to the server"),
        ("Unable to open source file /a/index.html", "the file is not there any more"),
        ("An unknown error occurred", "the module uri got no answer"),
        ("", "the module uri got no answer"),
    ],
)
def test_a_reason_shows_nothing_of_the_module(msg: str, says: str) -> None:
    failure = verify_uploads.add_failure("", sent(result(-1, msg)), REPORT)
    assert f"failed, because {says}" in failure
    assert SECRET not in failure


def test_an_error_of_s3_shows_its_code_only() -> None:
    content = f"<Error><Code>SignatureDoesNotMatch</Code><SignatureProvided>{SECRET}</SignatureProvided></Error>"
    failure = verify_uploads.add_failure("", sent(result(403, content=content)), REPORT)
    assert "answered 403 Forbidden (SignatureDoesNotMatch) to the PUT" in failure
    assert SECRET not in failure
    content = f"<Code>{SECRET}</Code>"  # no code of S3 has a digit
    assert SECRET not in verify_uploads.add_failure("", sent(result(403, content=content)), REPORT)


@pytest.mark.parametrize(
    "results",
    [3, "x", [], {"results": 3}, {"results": [3, None, "x"]}, {"results": [{"verify_upload": 3, "status": "many"}]}],
)
def test_results_of_another_form_raise_nothing(results: Any) -> None:
    verify_uploads.places_text(results)
    verify_uploads.add_failure("", results, REPORT)
