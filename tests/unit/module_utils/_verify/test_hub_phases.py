# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the phases of a hub make of its answers. Their fake hub answers as no healthy hub does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import HubError, Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.accounts import Account
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.hub_phases import (
    check_login,
    check_service_names,
    check_services,
    check_tls_options,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.phases import Finding
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.spec import CheckSpec
from support.fakes.misbehaving_hub import Answer, Behaviour, Request, misbehaving_hub

HTML = {"Content-Type": "text/html"}
LOGIN = Answer(b"<title>Sign in</title><form action='/hub/login'><input type=password></form>", headers=HTML)
OF_HUB = {"X-JupyterHub-Version": "6.1.1"}


def answers(**paths: Answer) -> Behaviour:
    """Answer these paths, whose slashes are written as two underscores, and with 404 otherwise."""
    known = {name.replace("__", "/"): answer for name, answer in paths.items()}
    return lambda request: known.get(request.path.strip("/"), Answer(status=404))


def look(behaviour: Behaviour, check: Callable[[HubClient, Finding], None]) -> tuple[Finding, HubError | None]:
    finding = Finding()
    with misbehaving_hub(behaviour) as fake, HubClient(Connection(fake.url, "0123456789", request_timeout=1)) as hub:
        try:
            check(hub, finding)
        except HubError as error:
            return finding, error
        finally:
            assert fake.tokens == []  # nobody is logged in
    return finding, None


def test_a_login_page_that_answers() -> None:
    finding, error = look(answers(hub__health=Answer(), hub__login=LOGIN), check_login)
    assert error is None
    assert finding.message == "The login page answers: Sign in."
    assert finding.details["status"] == 200


@pytest.mark.parametrize(
    ("health", "login", "words"),
    [
        (Answer(status=500), LOGIN, "health page at .* answers 500"),
        (Answer(), Answer(status=500, headers=HTML), "login page at .* answers 500"),
        (Answer(), Answer(status=404), "login page at .* answers 404"),
        (Answer(), Answer(b"", headers=HTML), "is not an HTML page"),
        (Answer(), Answer({"ok": True}), "is not an HTML page"),
        (Answer(), Answer(status=302, headers={"Location": "/hub/login"}), "redirects more than 10 times"),
        (Answer(), Answer(status=302, headers={"Location": "http://[x"}), "which is not an address"),
        (Answer(), Answer(status=302, headers={"Location": "http://127.0.0.1:9/auth"}), "127.0.0.1:9"),
    ],
)
def test_a_login_page_that_is_broken(health: Answer, login: Answer, words: str) -> None:
    _finding, error = look(answers(hub__health=health, hub__login=login), check_login)
    assert error is not None
    with pytest.raises(HubError, match=words):
        raise error.with_message(error.message)
    assert error.hint


def check_them(*names: str) -> Callable[[HubClient, Finding], None]:
    return lambda hub, finding: check_services(hub, names, finding)


def test_services_that_answer() -> None:
    behaviour = answers(
        services__open=Answer({"ok": True}),
        services__oauth=Answer(status=302, headers={"Location": "/hub/api/oauth2/authorize?client_id=x", **OF_HUB}),
        services__closed=Answer(status=403),
        services__empty=Answer(status=404),  # its own 404 does not name the hub's version
    )
    names = ("open", "oauth", "closed", "empty")
    finding, error = look(behaviour, check_them(*names))
    assert error is None
    assert [service["name"] for service in finding.details["services"]] == [*names]
    assert finding.message == "The services open, oauth, closed, empty answer."


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(status=503), "the proxy answers 503 in its place"),
        (Answer({"message": "x"}, status=500), "it answers 500"),
        (Answer(status=302, headers={"Location": "/hub/services/a/", **OF_HUB}), "the hub has no such service"),
        (Answer(status=404, headers=OF_HUB), "the hub has no such service"),
        (None, "did not answer GET within"),
    ],
)
def test_a_service_that_is_down(answer: Answer | None, problem: str) -> None:
    finding, error = look(lambda request: answer, check_them("a"))
    assert error is not None
    assert problem in error.message
    assert problem in finding.details["services"][0]["problem"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\n"])
def test_what_cannot_be_a_service_is_invalid(name: str) -> None:
    with pytest.raises(Invalid, match="services"):
        check_service_names(("good", name))


def test_days_of_a_certificate_need_a_certificate() -> None:
    with HubClient(Connection("http://h/")) as hub:
        check_tls_options(hub, None)
        with pytest.raises(Invalid, match="https"):
            check_tls_options(hub, 1)
    with (
        HubClient(Connection("https://h/", validate_certs=False)) as hub,
        pytest.raises(Invalid, match="validate_certs"),
    ):
        check_tls_options(hub, 1)


# Accounts


def read_account(user_answer: Answer, check: CheckSpec | None = None) -> Account:
    def behave(request: Request) -> Answer:
        path = request.path.strip("/")
        return {"hub/api": Answer({"version": "6.1.1"}), "hub/api/user": user_answer}.get(path, Answer(status=404))

    with misbehaving_hub(behave) as fake, HubClient(Connection(fake.url, "0123456789")) as hub:
        account = Account(hub, [check or CheckSpec("", "", "", "")], 60.0)
        account.read()
    return account


@pytest.mark.parametrize(
    ("reason", "may_log_in"),
    [
        ("Your login has expired. Please log in again.", False),
        ("auth has expired for alice, login again", False),
        ("Forbidden", None),
    ],
)
def test_whether_the_account_may_log_in(reason: str, may_log_in: Any) -> None:
    account = read_account(Answer({"message": reason}, status=403))
    assert account.failure is not None
    assert account.failure.code == "unauthorized"
    assert account.details["may_log_in"] is may_log_in


def test_all_missing_scopes_of_an_account_are_named() -> None:
    scopes = ["read:servers!user=alice", "start:servers!user=alice"]
    account = read_account(Answer({"kind": "user", "name": "alice", "scopes": scopes}))
    assert account.failure is not None
    assert account.details["missing_scopes"] == ["delete:servers!server=alice/", "access:servers!server=alice/"]


def test_the_owner_of_the_server_must_be_known() -> None:
    service = Answer({"kind": "service", "name": "s", "scopes": ["read:servers", "start:servers"]})
    assert "service 's', which has no servers" in str(read_account(service).failure)
    assert "lacks delete:servers!server=bob/" in str(read_account(service, CheckSpec("", "", "bob", "")).failure)


def test_an_answer_of_an_unknown_form_is_no_good_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Account, "_read", lambda account: {}["odd"])
    assert "could not be understood" in str(read_account(Answer()).failure)
