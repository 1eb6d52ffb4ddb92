# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task with bad input fails with a sentence that says what to do, the same through both doors.

All cases of a door run in one playbook, and each test checks one of them.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import printable
from support.fakes import misbehaving_hub as fakes
from support.fakes.misbehaving_hub import MisbehavingHub, Request, misbehaving_hub
from support.hubs import Hub
from support.runner import Runner, TaskResults, assert_failed
from support.waiting import wait_until

pytestmark = pytest.mark.doors
UNKNOWN = "0123456789abcdef0123456789abcdef"
SECRETS = {
    "newline": "a-secret-of-two\nlines",
    "unicode": "a-sécret-with-an-accent",
    "control": "a-secret-with\x07-a-bell",
}


@dataclass(frozen=True)
class Case:
    """A task that fails with ``code`` and with these words in its message. Hub values are filled in to its strings."""

    code: str
    says: tuple[str, ...] = ()
    module: str = "hub_info"
    url: str = "{url}"
    token: str = "{token}"
    options: dict[str, Any] = field(default_factory=dict)


CASES = {
    # The address
    "no address": Case("invalid", ("hub_url is missing", "JUPYTERHUB_URL"), url=""),
    "no scheme": Case("invalid", ("https://hub.example.org/",), url="hub.invalid/jhub/"),
    "another scheme": Case("invalid", ("https://",), url="ftp://hub.invalid/"),
    "a password in it": Case("invalid", ("api_token",), url="http://me:a-password-in-the-url@{host}/jhub/"),
    "a port that is none": Case("invalid", ("hub_url",), url="http://127.0.0.1:99999/"),
    "unknown host": Case("unreachable", ("hub.invalid", "hub_url"), url="http://hub.invalid/"),
    "refused": Case("unreachable", ("refused", "hub_url"), url="http://127.0.0.1:{closed}/"),
    "base path forgotten": Case("unexpected_answer", ("no JupyterHub", "base path"), url="http://{host}/"),
    "base path wrong": Case("unexpected_answer", ("hub_url",), url="http://{host}/other/"),
    "https for http": Case("tls", ("http://",), url="https://{host}/jhub/"),
    "a server's page, with the wrong base path": Case("unexpected_answer", ("hub_url",), url="http://{host}/user/x/lab"),
    # Something else at the address
    "a page": Case("unexpected_answer", ("no JupyterHub", "text/html"), url="{html_page}"),
    "a page of 50 MB": Case("unexpected_answer", ("no JupyterHub",), url="{huge_page}"),
    "silence": Case("timeout", ("1 s", "request_timeout"), url="{no_answer}", options={"request_timeout": 1}),
    "no room": Case(
        "rate_limited", ("too many are starting", "120 s"), url="{too_many_starts}", options={"gather": ["users"]}
    ),
    # The token
    "no token": Case("unauthorized", ("api_token", "JUPYTERHUB_API_TOKEN"), token="", options={"gather": ["users"]}),
    "unknown token": Case("unauthorized", ("unknown, expired or revoked", "hub_token"), token=UNKNOWN),
    "unknown token, writing": Case("unauthorized", ("hub_token",), "hub_user", token=UNKNOWN, options={"user": "x"}),
    "expired token": Case("unauthorized", ("expired",), token="{expired}"),
    "too few scopes": Case("missing_scope", ("list:users",), token="{weak}", options={"gather": ["users"]}),
    "a token of two lines": Case("invalid", ("api_token",), token=SECRETS["newline"]),
    "a token with an accent": Case("invalid", ("api_token",), token=SECRETS["unicode"]),
    "a token with a bell": Case("invalid", ("api_token",), token=SECRETS["control"]),
    # Files and durations
    "no such CA file": Case("invalid", ("/no/such/ca.crt", "ca_path"), options={"ca_path": "/no/such/ca.crt"}),
    "no such client certificate": Case("invalid", ("client_cert",), options={"client_cert": "/no/such/client.pem"}),
    "request_timeout in words": Case("invalid", ("request_timeout", "90s"), options={"request_timeout": "soon"}),
    "request_timeout 0": Case("invalid", ("request_timeout",), options={"request_timeout": 0}),
    "wait_timeout negative": Case(
        "invalid", ("wait_timeout", "'-1'"), "hub_server", options={"user": "x", "wait_timeout": -1}
    ),
    "timeout with a wrong unit": Case(
        "invalid", ("timeout: '5 weeks'",), "hub_exec", options={"user": "x", "code": "1", "timeout": "5 weeks"}
    ),
    "wait_timeout empty": Case("invalid", ("wait_timeout",), "hub_user", options={"user": "x", "wait_timeout": ""}),
    # Names
    "unknown user": Case("not_found", ("'nobody'", "name"), "hub_server", options={"user": "nobody"}),
    **{
        f"user {name!r}": Case(code, (f"'{printable(name)}'",), "hub_server", options={"user": name})
        for name, code in {
            "..": "invalid", ".": "invalid", "": "invalid", "a/server": "invalid", "../admin": "invalid",
            "a/b": "not_found", "ä": "not_found", "a b": "not_found", "a?b": "not_found", "a#b": "not_found",
            "%2e%2e": "not_found", "a\nb": "not_found",
        }.items()
    },
    "create a user with a slash": Case("invalid", (), "hub_user", options={"user": "a/b"}),
    "group named ..": Case("invalid", ("'..'",), "hub_group", options={"name": ".."}),
    "member a/server": Case("invalid", ("'a/server'",), "hub_group", options={"name": "g", "users": ["a/server"]}),
    "unknown member": Case("not_found", ("'nobody'",), "hub_group", options={"name": "g", "users": ["nobody"]}),
    "no groups at a time": Case("invalid", ("concurrency",), "hub_group", options={"name": "g", "concurrency": 0}),
    "all of some users": Case("invalid", ("all", "users"), options={"gather": ["all"], "users": ["{user}"]}),
    "server named ..": Case("invalid", ("'..'",), "hub_server", options={"user": "{user}", "server_name": ".."}),
}  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """The results of all cases through one door."""

    ran: TaskResults
    secrets: tuple[str, ...]

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.ran.results[list(CASES).index(name)]


@pytest.fixture(scope="module")
def answers(door: str, hub_61: Hub) -> Answers:
    runner = Runner(door, hub_61)
    user = runner.new_user()
    expired = runner.mint(user, expires_in=1)
    values = {
        "url": hub_61.url,
        "host": urlsplit(hub_61.url).netloc,
        "token": hub_61.admin_token,
        "user": user,
        "weak": runner.mint(user, "read:users:name!user"),
        "expired": expired,
    }
    wait_until(lambda: runner.with_token(expired).token_works() is False)
    with contextlib.ExitStack() as stack:
        for behave in (fakes.html_page, fakes.huge_page, fakes.no_answer):
            values[behave.__name__] = stack.enter_context(misbehaving_hub(behave)).url
        values["too_many_starts"] = stack.enter_context(misbehaving_hub(fakes.with_version(fakes.too_many_starts))).url
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))  # but does not listen
        values["closed"] = str(closed.getsockname()[1])

        def fill_in(value: Any) -> Any:
            return value.format(**values) if isinstance(value, str) and "{" in value else value

        tasks = [
            runner.task(
                case.module,
                hub_url=fill_in(case.url),
                api_token=fill_in(case.token),
                **{name: fill_in(value) for name, value in case.options.items()},
            )
            for case in CASES.values()
        ]
        ran = runner.run(tasks, arguments=["-vvv"])
    return Answers(ran, (hub_61.admin_token, UNKNOWN, values["weak"], expired, *SECRETS.values()))


@pytest.mark.parametrize("name", CASES)
def test_bad_input(answers: Answers, name: str) -> None:
    case, result = CASES[name], answers[name]
    assert_failed(result, case.code, *case.says)
    assert result["changed"] is False
    assert "Traceback" not in str(result)


def test_no_traceback_and_no_secret_is_shown(answers: Answers) -> None:
    assert "Traceback" not in answers.ran.output
    for secret in answers.secrets:
        assert secret not in answers.ran.output
        assert secret not in str(answers.ran.results)
        assert repr(secret)[1:-1] not in answers.ran.output


def test_a_password_in_the_address_is_not_repeated(answers: Answers) -> None:
    assert "a-password" not in str(answers["a password in it"])


def test_the_request_is_named(answers: Answers, hub_61: Hub) -> None:
    failure = answers["unknown user"]["failure"]
    assert failure["url"] == f"{hub_61.api}/users/nobody"
    assert (failure["status"], failure["method"]) == (404, "GET")
    unsent = answers["no scheme"]["failure"]
    assert (unsent["status"], unsent["method"], unsent["url"]) == (None, None, None)


def test_wrong_options(light: Runner) -> None:
    """Ansible's own checks report them, as for every module."""
    missing, unknown, choice = light.run(
        [
            light.task("hub_user"),
            light.task("hub_user", user="x", colour="red"),
            light.task("hub_user", user="x", state="gone"),
        ]
    ).results
    for result, word in ((missing, "user"), (unknown, "colour"), (choice, "gone")):
        assert result["failed"] is True
        assert word in result["msg"]


def test_names_are_not_changed(light: Runner) -> None:
    names = [name + light.door for name in ("ä", "a b", "a@b.c", "a%2Fb", "q?r", "q#r", "a+b", "A;B")]
    tasks = [light.task("hub_user", user=name, state=state) for name in names for state in ("present", "absent")]
    results = light.run(tasks).results
    for name, created, removed in zip(names, results[::2], results[1::2], strict=True):
        assert (created["changed"], created["user"]["name"]) == (True, name), created
        assert (removed["changed"], removed["actions"][0]["object"]) == (True, f"user '{name}'")


def hub_with_version(behave: fakes.Behaviour) -> contextlib.AbstractContextManager[MisbehavingHub]:
    return misbehaving_hub(fakes.with_version(behave))


def test_a_redirect_to_another_host_gets_no_token(light: Runner) -> None:
    with misbehaving_hub(fakes.html_page) as other:
        redirect = fakes.redirect_to(other.url)
        with misbehaving_hub(redirect) as at_once, hub_with_version(redirect) as later:
            results = light.run(
                [
                    light.task("hub_info", hub_url=at_once.url),
                    light.task("hub_info", hub_url=later.url),
                    light.task("hub_user", hub_url=later.url, user="x"),
                    light.task("hub_token", hub_url=later.url, user="x", note="ci", scopes=["self"]),
                    light.task("hub_server", hub_url=later.url, user="x"),
                ]
            ).results
            assert later.tokens  # the hub itself got it
        assert other.tokens == []
    for result in results:
        assert_failed(result, "unexpected_answer", other.url.rstrip("/"), "hub_url")


def test_a_server_on_another_host_gets_no_token(light: Runner) -> None:
    with misbehaving_hub(lambda request: fakes.Answer(status=404)) as other:

        def name_another_host(request: Request) -> fakes.Answer:
            server = {"name": "", "ready": True, "pending": None, "url": f"{other.url}user/x/"}
            return fakes.Answer({"kind": "user", "name": "x", "scopes": [], "servers": {"": server}})

        with hub_with_version(name_another_host) as hub:
            result = light("hub_exec", hub_url=hub.url, user="x", code="1", timeout="5s")
            assert hub.tokens
        assert result["failed"] is True
        assert other.tokens == []


def test_an_answer_that_comes_byte_by_byte(light: Runner) -> None:
    with misbehaving_hub(fakes.slow_answer) as hub:
        result = light("hub_info", hub_url=hub.url, request_timeout=2)
    assert_failed(result, "timeout", "2 s", "request_timeout")


def test_the_hub_goes_away_in_the_middle(light: Runner) -> None:
    # The first requests are answered, then the connection is closed without an answer.
    def hang_up(request: Request) -> fakes.Answer:
        raise ConnectionAbortedError

    with hub_with_version(hang_up) as hub:
        result = light("hub_info", hub_url=hub.url, gather=["users"])
    assert_failed(result, "unreachable", "hub_url")


def test_netrc_is_ignored(light: Runner, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\ndefault login no password body\n")
    netrc.chmod(0o600)
    user = light.new_user()
    held = light.with_token(light.mint(user, "read:users:name!user"))
    ran = light.run([held.task("hub_info"), held.task("hub_info", api_token="")], env={"HOME": str(tmp_path)})
    mine, anonymous = ran.results
    assert mine["token"]["name"] == user
    assert anonymous["token"] is None
