# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_verify.page: pages of a fake server behind a fake hub, which misbehave in ways that no real one does on request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import loading
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    Invalid,
    MissingScope,
    NotFound,
    UnexpectedAnswer,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify import page as pages
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.page import (
    check_page_path,
    is_below,
    prove_page,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.phases import Finding
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.running_server import RunningServer
from support.fakes.misbehaving_hub import Answer, MisbehavingHub, Request, misbehaving_hub

TOKEN = "s3cr3t-0123456789"
SERVER = "/user/alice/"
SCRIPT = {"Content-Type": "application/javascript", "X-Content-Type-Options": "nosniff"}
STYLE = {"Content-Type": "text/css; charset=utf-8"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat no request."""
    monkeypatch.setattr(pages, "_PATIENCE", 0.0)


class Site:
    """A fake hub with one server. ``answers`` are the answers by path; all others are 404."""

    def __init__(self, fake: MisbehavingHub, answers: dict[str, Answer | None]) -> None:
        self.fake, self.answers = fake, answers
        self.first_answers: list[Answer] = []
        """Answers to the first requests, whatever they ask for."""

    def prove(self, *paths: str, timeout: float = 30) -> Finding:
        with HubClient(Connection(self.fake.url, TOKEN)) as hub:
            server = RunningServer(hub, f"{self.fake.url}user/alice/", "server of user 'alice'", "alice", timeout)
            self.finding = Finding()
            prove_page(server, paths or ("lab",), self.finding)
            return self.finding

    def fail(self, kind: type[HubError], *words: str, path: str = "lab", timeout: float = 30) -> HubError:
        with pytest.raises(HubError) as raised:
            self.prove(path, timeout=timeout)
        error = raised.value
        assert isinstance(error, kind), error.message
        for word in words:
            assert word in f"{error.message} {error.hint}"
        assert self.finding.details["pages"][-1]["problem"] == error.message
        return error

    def with_page(self, body: str, **config: Any) -> Site:
        """A page of JupyterLab with this in it."""
        settings = json.dumps({"baseUrl": SERVER, "hubUser": "alice", **config})
        text = f'<title>JupyterLab</title><script id="jupyter-config-data">{settings}</script>{body}'
        self.answers[SERVER + "lab"] = Answer(text.encode())
        return self


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    def behave(request: Request) -> Answer | None:
        if found.first_answers:
            return found.first_answers.pop(0)
        return found.answers.get(request.path.partition("?")[0], Answer(b"<title>Nothing here</title>", status=404))

    with misbehaving_hub(behave) as fake:
        found = Site(fake, {})
        yield found


@pytest.fixture
def site(shared: Site) -> Site:
    """The site with a page lab as it should be."""
    shared.fake.requests.clear()
    shared.answers = {
        "/hub/api/": Answer({"version": "6.1.1"}),
        "/hub/api/user": Answer({"kind": "user", "name": "bot", "scopes": ["access:servers"]}),
        SERVER + "main.js": Answer(b"1", headers=SCRIPT),
        SERVER + "theme.css": Answer(b"", headers=STYLE),
    }
    return shared.with_page('<script src="main.js"></script><link rel=stylesheet href="theme.css">')


def test_a_whole_page(site: Site) -> None:
    site.answers[SERVER + "git-pull"] = Answer(b"<title>nbgitpuller</title><script src=main.js></script>")
    finding = site.prove("lab", "git-pull?repo=https://bob:secret@example.org/x")
    assert finding.message == "The pages lab, git-pull answer, with 3 scripts and styles."
    assert finding.warnings == []
    first, second = finding.details["pages"]
    assert first == {
        "path": "lab", "url": f"{site.fake.url}user/alice/lab", "status": 200, "title": "JupyterLab", "assets": 2,
        "problem": None,
    }  # fmt: skip
    assert second["title"] == "nbgitpuller"
    assert "secret" not in str(finding)


def test_redirects_within_the_server_are_followed(site: Site) -> None:
    site.answers[SERVER + "start"] = Answer(status=302, headers={"Location": "/user/alice/next?x"})
    site.answers[SERVER + "next"] = Answer(status=307, headers={"Location": "lab#here"})
    finding = site.prove("start")
    assert finding.details["pages"][0]["url"].endswith("/user/alice/lab")


@pytest.mark.parametrize(
    ("location", "kind", "words"),
    [
        ("/hub/login?next=x", UnexpectedAnswer, "A login page is in the way"),
        ("/hub/api/oauth2/authorize", UnexpectedAnswer, "A login page is in the way"),
        ("https://sso.example.org/login", UnexpectedAnswer, "It redirects to https://sso.example.org/login."),
        ("/oauth2/sign_in?rd=/user/alice/lab", UnexpectedAnswer, "A login page is in the way"),
        ("/hub/user/alice/lab", HubFailure, "the hub answers in its place"),
        ("/hub/spawn-pending/alice", HubFailure, "the hub answers in its place"),
        ("/user/bob/lab", HubFailure, "/user/bob/lab, which is not below the server"),
        ("/user/alice/%2e%2e/bob/", HubFailure, "which is not below the server"),
        ("/user/alice/..%2fbob/", HubFailure, "which is not below the server"),
        ("http://[", HubFailure, "no address"),
        ("javascript:alert(1)", HubFailure, "no address"),
        ("lab", HubFailure, "redirects more than 10 times"),
        ("", HubFailure, "redirects more than 10 times"),
    ],
)
def test_redirects_that_lead_elsewhere(site: Site, location: str, kind: type[HubError], words: str) -> None:
    site.answers[SERVER + "lab"] = Answer(status=302, headers={"Location": location})
    site.fail(kind, words)
    assert all(path.startswith((SERVER + "lab", "/hub/api")) for path in (one.path for one in site.fake.requests))


def test_a_login_page_with_200(site: Site) -> None:
    site.answers[SERVER + "lab"] = Answer(b"<title>Welcome</title><form action=/login><input type=password></form>")
    site.fail(UnexpectedAnswer, "A login page is in the way", "It answers with 200 all the same", "'Welcome'")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(b"", status=200), HubFailure, "is empty"),
        (Answer(b"", status=204), HubFailure, "fails with 204"),
        (Answer({"a": 1}), HubFailure, "is application/json, and not a page in HTML"),
        (Answer(b"<title>JupyterLab</title>", status=500), HubFailure, "fails with 500: JupyterLab"),
        (Answer(b"<title>Gone</title>", status=503), HubFailure, "A proxy answers 503 in place of the server"),
        (Answer(b"", status=424), HubFailure, "the hub answers in its place"),
        (Answer(b"", status=404), NotFound, "There is no page lab"),
        (Answer(b"", status=410), HubFailure, "fails with 410"),
        (Answer(b"<title>Blocked</title>", status=403), HubFailure, "is refused with 403: Blocked"),
        (
            Answer(b"<title>Other</title><script src=x.js></script>"),
            HubFailure,
            "not a page of JupyterLab",
        ),
    ],
)
def test_answers_that_are_no_page(site: Site, answer: Answer, kind: type[HubError], words: str) -> None:
    site.answers[SERVER + "lab"] = answer
    site.fail(kind, words)


def test_a_token_without_access(site: Site) -> None:
    site.answers["/hub/api/user"] = Answer({"kind": "user", "name": "bot", "scopes": ["access:servers!user=bob"]})
    site.answers[SERVER + "lab"] = Answer(b"", status=403)
    site.fail(MissingScope, "'access:servers' does not cover server of user 'alice'")


def test_a_page_without_scripts(site: Site) -> None:
    site.with_page("").fail(HubFailure, "loads no script at all")
    site.answers[SERVER + "report"] = Answer(b"<title>Report</title>")
    assert site.prove("report").message == "The page report answers, without any script or style."


def test_a_page_of_another_server(site: Site) -> None:
    page = '<script src="main.js"></script>'
    site.with_page(page, baseUrl="/user/bob/").fail(HubFailure, "is that of another server", "/user/bob/ (baseUrl)")
    site.with_page(page, baseUrl="http://[").fail(HubFailure, "(baseUrl)")
    site.with_page(page, hubUser="mallory").fail(HubFailure, "user 'mallory' (hubUser)")
    site.with_page(page, hubUser="bot", baseUrl="/user/%61lice").prove()
    site.with_page(page, hubUser=7, baseUrl=None).prove()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(b"", status=404, headers=SCRIPT), "404"),
        (Answer(b"<html>"), "text/html in place of a script"),
        (Answer(b"1", headers={**SCRIPT, "Content-Type": "text/plain"}), "text/plain in place of a script"),
        (Answer(b"", headers=SCRIPT), "empty"),
        (Answer(b"", status=302, headers={"Location": "/hub/login"}), "/hub/login"),
        (Answer(b"1", headers={**SCRIPT, "Content-Length": "100"}), "No answer from"),
    ],
)
def test_a_script_that_does_not_load(site: Site, answer: Answer, problem: str) -> None:
    site.answers[SERVER + "main.js"] = answer
    error = site.fail(HubFailure, "1 of the 2 scripts and styles", "/user/alice/main.js (", problem, "blank or broken")
    assert error.url
    assert error.url.endswith("/user/alice/main.js")


def test_a_style_that_does_not_load(site: Site) -> None:
    site.answers[SERVER + "theme.css"] = Answer(b"<html>")
    site.fail(HubFailure, "theme.css (text/html in place of a style)")


def test_a_script_of_a_guessed_type(site: Site) -> None:
    site.answers[SERVER + "main.js"] = Answer(b"1", headers={"Content-Type": "text/plain"})
    site.prove()
    site.with_page('<script type=module src="main.js"></script>').fail(HubFailure, "text/plain in place of a script")


def test_many_scripts_that_do_not_load(site: Site) -> None:
    site.with_page("".join(f'<script src="{number}.js?secret"></script>' for number in range(400)))
    error = site.fail(HubFailure, "300 of the 400", "/0.js (404)", "/2.js (404), and 297 more")
    assert "secret" not in error.message
    assert "names 400 files; only 300 were loaded" in site.finding.warnings[0]


def test_extensions_and_other_hosts_are_warnings(site: Site) -> None:
    extensions = [{"name": "broken", "load": "static/x.js"}]
    with misbehaving_hub(lambda _request: Answer(b"", status=410)) as other:
        foreign = other.url.replace("127.0.0.1", "localhost")
        body = f'<script src="main.js"></script><script src="{foreign}cdn.js"></script>'
        site.with_page(body, fullLabextensionsUrl=SERVER + "lab/extensions", federated_extensions=extensions)
        finding = site.prove()
        assert other.tokens == []
        assert len(other.requests) == 1
    assert finding.warnings == [
        f"Not all extensions of JupyterLab load: {site.fake.url}user/alice/lab/extensions/broken/static/x.js (404).",
        f"Not all scripts and styles of other hosts load: {foreign}cdn.js (410).",
    ]


def test_the_token_goes_to_this_server_only(site: Site) -> None:
    site.answers |= {path: Answer(b"1", headers=SCRIPT) for path in ("/user/bob/a.js", "/services/x/b.js")}
    sources = ("main.js", "/user/bob/a.js", "/services/x/b.js")
    site.with_page("".join(f'<script src="{source}"></script>' for source in sources))
    site.prove()
    assert {one.path: bool(one.token) for one in site.fake.requests if one.path.endswith(".js")} == {
        SERVER + "main.js": True, "/user/bob/a.js": False, "/services/x/b.js": False,
    }  # fmt: skip


def test_a_page_that_never_ends(site: Site) -> None:
    site.answers[SERVER + "slow.js"] = Answer(b"1" * 1000, headers=SCRIPT, pause=0.2)
    site.with_page('<script src="slow.js"></script>').fail(HubFailure, "slow.js (", "did not answer GET", timeout=1)


def test_a_file_that_is_too_large(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_MOST_BYTES", 1000)
    site.answers[SERVER + "main.js"] = Answer(b"1" * 2000, headers=SCRIPT)
    site.fail(HubFailure, "main.js (", "has more than")


def test_a_proxy_that_is_away_for_a_moment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_PATIENCE", 30.0)
    site.first_answers = [Answer(b"", status=502), Answer(b"<title>Error</title>", status=500)]
    site.prove()
    assert [one.path for one in site.fake.requests[:3]] == [SERVER + "lab"] * 3


@pytest.mark.parametrize(
    "path", ["lab", "tree", "lab/tree/a%20b?reset&x=1", "git-pull?repo=https://example.org/x&urlpath=lab/tree/../x"]
)
def test_paths_of_pages(path: str) -> None:
    assert check_page_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "", "/lab", "//example.org/", "https://example.org/", "javascript:x", "../bob/lab", "lab/../../bob", "lab/./x",
        "%2e%2e/bob", "lab/%2E./x", "lab/..%2fx", "lab/%252e%252e/x", "a//b", "a\\b", "a%5cb", "lab x",
        "lab\n", "lab\0", "lab%00", "lab#x", "\ud800", "..", ".", "%2flab", "lab/\x7f", "x\u2028",
    ],
)  # fmt: skip
def test_paths_that_lead_elsewhere(path: str) -> None:
    with pytest.raises(Invalid, match=r"^page: "):
        check_page_path(path)


def test_what_is_below_a_server() -> None:
    folder = "https://hub.example.org/user/alice/"
    below = [folder, folder + "lab?x=../", "https://HUB.example.org:443/user/%61lice/lab"]
    others = [
        "http://hub.example.org/user/alice/", "https://hub.example.org/user/alice", "https://hub.example.org/user/alice2/",
        "https://x.hub.example.org/user/alice/", folder + "../bob/", folder + "%2e%2e/bob", "https://hub.example.org:1/user/alice/",
    ]  # fmt: skip
    assert [is_below(url, folder) for url in below] == [True] * 3
    assert [is_below(url, folder) for url in others] == [False] * 7
