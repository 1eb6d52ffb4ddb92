# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""client: the requests that it sends, and what it makes of the answers. Each test is a script of exact requests."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import transport as _transport
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    Invalid,
    MissingScope,
    Unauthorized,
    UnexpectedAnswer,
)
from support.fakes.scripted_hub import API, HUB, TOKEN, Exchange, scripted_hub, user, version

PAGES = "application/jupyterhub-pagination+json"
ALICE = API + "users/alice"


def page_of(*names: str, following: int | None = None) -> dict[str, object]:
    # `next.url` is made from the Host header, and wrong behind many proxies.
    following_page = following and {"offset": following, "limit": 200, "url": "http://wrong.example.org/?offset=9"}
    return {"items": [{"name": name} for name in names], "_pagination": {"offset": 0, "next": following_page}}


# What the hub and the token are


def test_the_version_is_asked_for_once_and_without_the_token() -> None:
    with scripted_hub(version("6.1.1")) as hub:
        assert (hub.version, hub.version) == ("6.1.1", "6.1.1")


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, "<html>Welcome!</html>"),
        (404, "not here"),
        (200, []),
        (200, {"name": "another API"}),
        (200, None),
    ],
)
def test_what_is_no_hub_is_told_as_such(status: int, answer: object) -> None:
    with (
        scripted_hub(Exchange("GET", API, answer, status, token=None)) as hub,
        pytest.raises(UnexpectedAnswer, match="no JupyterHub at https://hub") as error,
    ):
        hub.owner  # noqa: B018 - a token must not be blamed for a wrong address
    assert "hub_url" in error.value.hint


@pytest.mark.parametrize("number", [None, [1], 6, {}])
def test_a_version_that_is_no_text_is_told_with_its_field(number: object) -> None:
    answer = Exchange("GET", API, {"version": number}, token=None)
    with scripted_hub(answer) as hub, pytest.raises(UnexpectedAnswer, match="field 'version'"):
        hub.version  # noqa: B018


@pytest.mark.parametrize("location", ["http://[", "\xff", "http://evil\\@hub/", "http://hub..x/", ""])
def test_a_redirect_to_what_is_no_address_is_told_as_one(location: str) -> None:
    url = "https://hub.example.org/"
    redirect = Exchange("GET", f"{url}hub/api/", "", 302, {"Location": location}, token=None)
    with scripted_hub(redirect, url=url) as hub, pytest.raises(UnexpectedAnswer, match="redirects to"):
        hub.version  # noqa: B018


@pytest.mark.parametrize("url", ["http://*.example.org/", "http://\u00ad/"])
def test_a_hub_url_that_the_http_library_takes_for_none_is_the_user_s(url: str) -> None:
    with pytest.raises(Invalid, match="hub_url is not"):
        HubClient(Connection(url))


@pytest.mark.parametrize("url", ["http://hub..example.org/user/a/", f"https://{'a' * 64}.example.org/", "http://a:0/"])
def test_a_server_s_address_that_is_none_is_the_hub_s(url: str) -> None:
    with scripted_hub() as hub, pytest.raises(UnexpectedAnswer, match="returns the address"):
        hub.server(url, "server")


@pytest.mark.parametrize(
    "proxy", ["http://bob:hunter2pw@[", "http://proxy..x:3128", "http://bob:hunter2pw@:3128", "socks9://x"]
)
def test_a_proxy_that_is_no_address_is_the_environment_s(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with (
        HubClient(Connection("http://hub.example.org/")) as hub,
        pytest.raises(Invalid, match="proxy that the environment names") as error,
    ):
        hub.version  # noqa: B018
    assert "hunter2pw" not in str(error.value.as_result())


@pytest.mark.parametrize(
    ("status", "headers", "kind", "words"),
    [
        (
            302,
            {"Location": "https://sso.example.org/?next=x"},
            UnexpectedAnswer,
            r"redirects to https://sso\.example\.org/;",
        ),
        (500, {}, HubFailure, "failed with 500"),
    ],
)
def test_a_hub_behind_a_login_and_one_that_is_broken_are_told_apart_from_none(
    status: int, headers: dict[str, str], kind: type[HubError], words: str
) -> None:
    first = Exchange("GET", API, "<html>" if status < 500 else {"message": "x"}, status, headers, token=None)
    with scripted_hub(first) as hub, pytest.raises(kind, match=words):
        hub.version  # noqa: B018


@pytest.mark.parametrize(
    ("url", "location", "asked"),
    [
        ("https://hub.example.org/", "/jhub/hub/api/", [API]),
        ("https://hub.example.org/", "https://hub.example.org/jhub/hub/login?next=x", [API]),
        (
            "https://hub.example.org/jhub/jhub/",
            "/jhub/hub/jhub/hub/api/",
            ["https://hub.example.org/jhub/hub/jhub/hub/api/", API],
        ),
    ],
)
def test_an_address_that_redirects_to_the_hub_is_told_with_the_one_that_works(
    url: str, location: str, asked: list[str]
) -> None:
    first = Exchange("GET", url + "hub/api/", "", 302, {"Location": location}, token=None)
    others = [Exchange("GET", other, "", 404, token=None) for other in asked[:-1]]
    with (
        scripted_hub(first, *others, version(), url=url) as hub,
        pytest.raises(UnexpectedAnswer, match="redirects to") as error,
    ):
        hub.version  # noqa: B018
    assert error.value.hint == f"Set hub_url to {HUB}: a JupyterHub answers there."


PAGE_OF_A_HUB = '<html><title>JupyterHub</title><script>window.jhdata = { base_url: "/jhub/hub/", }</script></html>'
"""The page of a hub below /jhub/ for a path that it does not have."""


@pytest.mark.parametrize("path", ["hub/api/", "hub/api/users/alice"])
@pytest.mark.parametrize("url", ["https://hub.example.org/", "https://hub.example.org/jhub/hub/"])
def test_a_page_of_a_hub_tells_where_it_is(url: str, path: str) -> None:
    """Also if hub_url is what the hub itself calls its public address, which ends in /hub/."""
    is_first = path == "hub/api/"
    kind = {"Content-Type": "text/html"}
    page = Exchange("GET", url + path, PAGE_OF_A_HUB, 404, kind, token=None if is_first else TOKEN)
    with scripted_hub(page, version(), url=url) as hub:
        options = {"scope": "read:users", "what": "user 'alice'"}
        with pytest.raises(UnexpectedAnswer) as error:
            str(hub.version if is_first else hub.get("users", "alice", **options))
    assert error.value.message == f"There is no JupyterHub at {url}: its base path is another."
    assert error.value.hint == f"Set hub_url to {HUB}: a JupyterHub answers there."


def test_a_hub_that_stands_in_for_a_server_is_told_as_that() -> None:
    url = f"{HUB}user/alice/api/kernels"
    there = {"Location": "/jhub/hub/user/alice/api/kernels"}
    with scripted_hub(Exchange("GET", url, "", 302, there)) as hub, pytest.raises(HubFailure) as error:
        hub.server(url, "server of user 'alice'").request("GET", url)
    assert "The hub itself answers at the address of the server of user 'alice'" in error.value.message
    assert error.value.result == {"changed": False}


def test_so_it_is_whatever_is_asked_for_first() -> None:
    moved = {"Location": "/jhub/hub/api/users/alice"}
    url = "https://hub.example.org/"
    first = Exchange("GET", url + "hub/api/users/alice", "", 302, moved)
    with scripted_hub(first, version(), url=url) as hub, pytest.raises(UnexpectedAnswer) as error:
        hub.get("users", "alice", scope="read:users", what="user 'alice'")
    assert error.value.hint == f"Set hub_url to {HUB}: a JupyterHub answers there."


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_the_hub_does_not_know(status: int) -> None:
    refusal = Exchange("GET", API + "user", {"message": "Missing or invalid credentials."}, status)
    with scripted_hub(version(), refusal) as hub, pytest.raises(Unauthorized, match="invalid credentials") as error:
        hub.owner  # noqa: B018
    assert error.value.status == status
    assert TOKEN not in str(error.value.as_result())


def test_without_a_token_nothing_is_asked_in_its_name() -> None:
    with scripted_hub(version(), token="") as hub, pytest.raises(Unauthorized, match="no API token"):
        hub.owner  # noqa: B018


@pytest.mark.parametrize(
    ("number", "body", "scope"),
    [
        ("4.1.6", {"gpu": 1}, "servers!user=alice"),
        ("5.5.4", {"gpu": 1}, "servers!user=alice"),
        ("6.0.0", {"user_options": {"gpu": 1}}, "start:servers!user=alice"),
        ("6.1.1", {"user_options": {"gpu": 1}}, "start:servers!user=alice"),
        ("6.2.0.dev0", {"user_options": {"gpu": 1}}, "start:servers!user=alice"),
        ("7.0.0.dev", {"user_options": {"gpu": 1}}, "start:servers!user=alice"),
        ("10.0.0", {"user_options": {"gpu": 1}}, "start:servers!user=alice"),
    ],
)
def test_dialects(number: str, body: object, scope: str) -> None:
    with scripted_hub(version(number)) as hub:
        assert hub.dialect.build_start_body({"gpu": 1}) == body
        # No body at all reuses the last options on every hub; an empty one clears them (JupyterHub 6: in the wrapper).
        assert hub.dialect.build_start_body(None) is None
        assert hub.dialect.build_start_body({}) == ({"user_options": {}} if int(number.split(".")[0]) >= 6 else {})
        assert hub.dialect.translate_scope("start:servers!user=alice") == scope
        assert hub.dialect.translate_scope("delete:servers") == "delete:servers"


@pytest.mark.parametrize("number", ["2.3.1", "1.5.0", "unknown"])
def test_hubs_that_mint_all_powerful_tokens_are_not_talked_to(number: str) -> None:
    with scripted_hub(version(number)) as hub, pytest.raises(Invalid, match=number):
        hub.dialect  # noqa: B018


# Requests


def test_names_travel_quoted_as_the_hub_quotes_them() -> None:
    url = API + "users/zo%C3%AB@example.org%3F~%25/servers/a%20b"
    with scripted_hub(Exchange("GET", url, {"name": "x"})) as hub:
        assert hub.get("users", "zoë@example.org?~%", "servers", "a b", scope="", what="x") == {"name": "x"}


def test_writing_gives_the_status_and_the_json_or_nothing() -> None:
    script = [
        Exchange("POST", ALICE, {"name": "alice"}, 201, body={"admin": False}),
        Exchange("POST", ALICE + "/server", None, 202),
        Exchange("DELETE", ALICE, None, 204),
    ]
    with scripted_hub(*script) as hub:
        written = [
            hub.write("POST", "users", "alice", scope="admin:users", what="user", body={"admin": False}),
            hub.write("POST", "users", "alice", "server", scope="start:servers", what="server"),
            hub.write("DELETE", "users", "alice", scope="delete:users", what="user"),
        ]
    assert written == [(201, {"name": "alice"}), (202, None), (204, None)]


@pytest.mark.parametrize("answer", [["no", "mapping"], None, "<html>", 7])
def test_an_object_that_is_none_is_no_hub_s_answer(answer: object) -> None:
    with scripted_hub(Exchange("GET", ALICE, answer)) as hub, pytest.raises(UnexpectedAnswer):
        hub.get("users", "alice", scope="read:users", what="user 'alice'")


def test_a_redirect_is_not_followed() -> None:
    moved = Exchange("GET", ALICE, "", 302, {"Location": f"https://elsewhere.example.org/x?token={TOKEN}"})
    with (
        scripted_hub(moved) as hub,
        pytest.raises(UnexpectedAnswer, match=r"elsewhere\.example\.org/x;") as error,
    ):
        hub.get("users", "alice", scope="read:users", what="user 'alice'")
    assert TOKEN not in str(error.value.as_result())


def test_the_password_file_of_other_programs_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine hub.example.org login alice password elsewhere\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    # The script compares the Authorization header: the token's, or none.
    with scripted_hub(version(), user(), Exchange("GET", HUB + "user/alice/api", {}, token=None)) as hub:
        assert hub.owner.name == "alice"
        assert hub.server(HUB + "user/alice/", "server").answers()


# Lists


def test_the_same_hub_with_another_token_asks_for_the_version_no_second_time() -> None:
    other = Exchange("GET", API + "user", {"kind": "user", "name": "bob"}, token="other")
    with scripted_hub(version(), user(), other, user()) as hub:
        assert hub.owner.name == "alice"
        held = hub.with_token("other")
        assert (held.owner.name, held.version) == ("bob", "6.1.1")
        assert hub.with_token(TOKEN).owner.name == hub.owner.name == "alice"
        with pytest.raises(Invalid):
            hub.with_token("two words")


def test_cookies_are_not_kept_for_they_would_speak_for_another_token() -> None:
    setting = Exchange("GET", API, {"version": "6.1.1"}, token=None, answer_headers={"Set-Cookie": "who=alice; Path=/"})
    with scripted_hub(setting, user()) as hub:
        assert hub.owner
        assert not hub._session.cookies


def test_a_list_is_read_to_its_end_by_the_offsets_that_the_hub_gives() -> None:
    accept = {"Accept": PAGES}  # exactly: a `;q=` would be another type to the hub
    script = [
        Exchange("GET", API + "users?state=ready&offset=0&limit=200", page_of("a", "b", following=200), headers=accept),
        # The hub filters `ready` after paging: a page can be short, even empty, and not the last.
        Exchange("GET", API + "users?state=ready&offset=200&limit=200", page_of(following=317), headers=accept),
        Exchange("GET", API + "users?state=ready&offset=317&limit=200", page_of("c"), headers=accept),
    ]
    with scripted_hub(*script) as hub:
        found = list(hub.pages("users", scope="list:users", what="list of users", state="ready"))
    assert [item["name"] for item in found] == ["a", "b", "c"]


@pytest.mark.parametrize("answer", [[{"name": "a"}], {"a": {"name": "a"}}])
def test_a_list_without_pages_is_taken_as_it_is_and_a_mapping_by_its_values(answer: object) -> None:
    with scripted_hub(Exchange("GET", API + "services?offset=0&limit=200", answer)) as hub:
        assert list(hub.pages("services", scope="list:services", what="list")) == [{"name": "a"}]


@pytest.mark.parametrize("following", [{"offset": 0}, {"offset": -1}, {"offset": None}, {"offset": "200"}, {}, 7, "x"])
def test_a_list_that_would_never_end(following: object) -> None:
    answer = {"items": [{"name": "a"}], "_pagination": {"next": following or {"limit": 200}}}
    listed = Exchange("GET", API + "users?offset=0&limit=200", answer)
    with scripted_hub(listed) as hub, pytest.raises(UnexpectedAnswer):
        list(hub.pages("users", scope="list:users", what="list"))


@pytest.mark.parametrize("answer", [None, 7, {"items": None, "_pagination": {"next": None}}])
def test_a_list_that_is_none(answer: object) -> None:
    with (
        scripted_hub(Exchange("GET", API + "users?offset=0&limit=200", answer)) as hub,
        pytest.raises(UnexpectedAnswer),
    ):
        list(hub.pages("users", scope="list:users", what="list"))


# Where the token goes


@pytest.mark.parametrize(
    ("hub_url", "url", "goes"),
    [
        (HUB, HUB + "hub/api/user", True),
        (HUB, "https://hub.example.org/elsewhere", True),
        (HUB, "wss://hub.example.org/jhub/user/alice/api/kernels/1/channels", True),
        (HUB, "https://alice.hub.example.org/user/alice/", True),
        (HUB, "https://HUB.example.org/", True),
        # The default port of a scheme is the same port, whether it is written or not.
        (HUB, "https://alice.hub.example.org:443/", True),
        ("https://hub.example.org:443/", "https://alice.hub.example.org/", True),
        ("http://hub.example.org/", "ws://hub.example.org:80/user/alice/", True),
        (HUB, "http://hub.example.org/", False),
        (HUB, "ws://hub.example.org/", False),
        (HUB, "https://hub.example.org:8443/", False),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8001/", False),
        (HUB, "https://example.org/", False),
        (HUB, "https://evilhub.example.org/", False),
        (HUB, "https://hub.example.org.evil.com/", False),
        (HUB, "https://evil.com/hub.example.org/", False),
        (HUB, "https://hub.example.org@evil.com/", False),
        (HUB, "https://evil.com/?.hub.example.org", False),
        (HUB, "/user/alice/", False),
    ],
)
def test_the_token_goes_to_the_hub_and_its_subdomains_only(hub_url: str, url: str, goes: bool) -> None:
    header = HubClient(Connection(hub_url, TOKEN)).token_header(url)
    assert header == ({"Authorization": f"token {TOKEN}"} if goes else {})


def test_without_a_token_there_is_no_header() -> None:
    assert HubClient(Connection(HUB)).token_header(HUB) == {}


def test_a_server_elsewhere_is_asked_without_the_token() -> None:
    script = Exchange("GET", "https://evil.com/api/kernels/1", {"id": "1"}, token=None)
    with scripted_hub(script) as hub:
        server = hub.server("https://evil.com/", "server")
        assert server.request("GET", "api/kernels/1") == {"id": "1"}


def test_a_server_s_address_is_a_path_or_with_subdomains_a_whole_one() -> None:
    hub = HubClient(Connection(HUB))
    assert hub.resolve("/jhub/user/alice/") == HUB + "user/alice/"
    assert hub.resolve("https://alice.hub.example.org/user/alice/") == "https://alice.hub.example.org/user/alice/"


# 403: the client reads the token's owner


def forbidden(message: str | None = "Action is not authorized with current scopes") -> Exchange:
    return Exchange("GET", ALICE, {"status": 403, "message": message}, 403)


def refused(*script: Exchange, scope: str = "read:users") -> HubError:
    with scripted_hub(*script) as hub, pytest.raises(HubError) as error:
        hub.get("users", "alice", scope=scope, what="user 'alice'")
    assert TOKEN not in str(error.value.as_result())
    return error.value


def test_a_refusal_names_the_scope_that_is_missing_and_those_that_are_there() -> None:
    error = refused(forbidden(), version(), user("tokens", "list:users"))
    assert isinstance(error, MissingScope)
    assert "'read:users' for user 'alice'; it holds list:users, tokens" in error.message
    assert "read:users" in error.hint
    assert (error.status, error.method, error.url) == (403, "GET", ALICE)


def test_a_refusal_names_the_scope_in_the_hub_s_own_words() -> None:
    error = refused(forbidden(), version("5.5.4"), user(), scope="start:servers")
    assert "lacks the scope 'servers'" in error.message
    assert "it holds none" in error.message


def test_a_refusal_of_a_token_that_is_bad_is_the_token_s() -> None:
    bad = Exchange("GET", API + "user", {"message": "Forbidden"}, 403)
    error = refused(forbidden(), version(), bad)
    assert isinstance(error, Unauthorized)
    assert error.url == API + "user"


def test_a_token_that_was_good_before_may_have_expired_since() -> None:
    bad = Exchange("GET", API + "user", {"message": "Forbidden"}, 403)
    with scripted_hub(version(), user("read:users"), forbidden(), bad) as hub:
        assert hub.owner
        with pytest.raises(Unauthorized):
            hub.get("users", "alice", scope="read:users", what="user 'alice'")


def test_a_refusal_though_the_scope_is_there_is_told_in_the_hub_s_words() -> None:
    error = refused(forbidden("auth has expired for alice, login again"), version(), user("read:users!user=alice"))
    assert isinstance(error, MissingScope)
    assert "auth has expired for alice" in error.message


def test_a_refusal_by_a_server_whose_scope_covers_others_only() -> None:
    url = HUB + "user/alice/api/kernels"
    no = Exchange("POST", url, {"message": "Forbidden"}, 403, body={})
    with scripted_hub(no, version(), user("access:servers!user=bob")) as hub, pytest.raises(MissingScope) as error:
        hub.server(url, "server of user 'alice'").request("POST", url, body={})
    assert "does not cover server of user 'alice'" in error.value.message


# The progress stream


def test_a_stream_gives_its_events_and_nothing_of_what_stands_between() -> None:
    text = ': hello\n\ndata: {"progress": 0}\n\n\ndata:{"progress": 50}\ndata: [1]\ndata: {cut\nevent: x\n\n'
    stream = Exchange("GET", ALICE + "/server/progress", text, headers={"Accept": "text/event-stream"})
    with scripted_hub(stream) as hub:
        found = list(hub.events("users", "alice", "server", "progress", deadline=time.monotonic() + 60))
    assert found == [{"progress": 0}, {"progress": 50}]


@pytest.mark.parametrize("status", [302, 400, 404, 500])
def test_a_stream_that_cannot_be_had_is_an_empty_one(status: int) -> None:
    stream = Exchange("GET", ALICE + "/server/progress", 'data: {"failed": true}\n\n', status)
    with scripted_hub(stream) as hub:
        assert list(hub.events("users", "alice", "server", "progress", deadline=time.monotonic() + 60)) == []


def test_without_the_http_library_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_transport, "HAS_REQUESTS", False)
    with pytest.raises(Invalid, match="requests is not installed") as error:
        HubClient(Connection(HUB))
    assert "pip install requests" in error.value.hint
