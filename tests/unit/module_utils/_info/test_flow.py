# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_info.flow: the exact requests for the hub, the token, and what the hub has."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubFailure,
    MissingScope,
    NotFound,
    Unauthorized,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Owner
from ansible_collections.hubops.jupyterhub.plugins.module_utils._info import flow as info_flow
from ansible_collections.hubops.jupyterhub.plugins.module_utils._info.flow import GATHER, InfoFlow, InfoSpec
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from support.fakes.fake_hub_client import FakeHubClient, Model
from support.fakes.scripted_hub import API, HUB, TOKEN, Exchange, scripted_hub, user, version

SERVER: Model = {"ready": True, "pending": None, "url": "/jhub/user/alice/", "started": "then", "last_activity": "then"}
ALICE: Model = {"name": "alice", "servers": {"": {**SERVER, "user_options": {"a": 1}}}}
BOB: Model = {"name": "bob", "servers": {}}


def perform(*script: Exchange, token: str = TOKEN, **wanted: Any) -> dict[str, Any]:
    with scripted_hub(*script, token=token) as hub:
        results = run(InfoFlow(hub, InfoSpec(**wanted), lambda line: None), check_mode=True)
    assert results["changed"] is False
    assert results["actions"] == []
    return results


def listed(what: str, *items: Any) -> Exchange:
    return Exchange("GET", f"{API}{what}?offset=0&limit=200", {"items": list(items), "_pagination": {"next": None}})


def test_the_hub_and_whose_token_it_is() -> None:
    owned = Exchange(
        "GET", API + "users/alice/tokens/a1", {"id": "a1", "note": "n", "created": "then", "expires_at": "soon"}
    )
    result = perform(version("6.1.1"), user("tokens", "access:servers", token_id="a1", admin=True), owned)
    assert result["hub"] == {
        "url": HUB, "version": "6.1.1", "authenticator": None, "spawner": None, "scope_names": {},
    }  # fmt: skip
    assert result["token"] == {
        "kind": "user", "name": "alice", "admin": True, "scopes": ["access:servers", "tokens"], "id": "a1",
        "note": "n", "created": "then", "expires_at": "soon", "expiry_known": True,
    }  # fmt: skip
    assert [result[key] for key in GATHER] == [None] * len(GATHER)


@pytest.mark.parametrize(
    ("identity", "script"),
    [
        ({"kind": "service"}, []),
        ({}, []),  # before JupyterHub 5.0 there is no token_id
        ({"token_id": "a1"}, [Exchange("GET", API + "users/alice/tokens/a1", {"message": "no"}, 403), user("self")]),
        ({"token_id": "a1"}, [Exchange("GET", API + "users/alice/tokens/a1", {"message": None}, 404)]),
    ],
)
def test_a_hidden_expiry_is_unknown(identity: Model, script: list[Exchange]) -> None:
    token = perform(version(), user("self", **identity), *script)["token"]
    assert (token["name"], token["expires_at"], token["expiry_known"]) == ("alice", None, False)


def test_without_a_token_only_the_version_is_read() -> None:
    assert perform(version(), token="")["token"] is None
    with pytest.raises(Unauthorized):
        perform(version(), token="", gather=("users",))


def test_scopes_that_are_missing_are_named_once_and_in_the_hub_s_words() -> None:
    needed = ("start:servers!user", "delete:servers!user", "read:servers!user=alice", "servers!user=alice")
    with pytest.raises(MissingScope) as error:
        perform(version("5.5.4"), user("delete:servers!user=alice"), require_scopes=needed)
    assert "user 'alice' lacks servers!user=alice, read:servers!user=alice; it holds" in error.value.message


def test_scopes_that_are_there() -> None:
    result = perform(version(), user("start:servers!user=alice"), require_scopes=("start:servers!user",))
    assert result["token"]["name"] == "alice"


def test_users_and_their_servers_are_read_in_one_go() -> None:
    result = perform(version(), user(), listed("users", ALICE, BOB), gather=("users", "servers"))
    assert result["users"] == [ALICE, BOB]
    assert result["servers"] == [{"user": "alice", "server_name": "", **SERVER, "user_options": {"a": 1}}]


def test_named_users_need_no_list_of_all() -> None:
    one = Exchange("GET", API + "users/alice", ALICE)
    result = perform(version(), user(), one, gather=("servers",), users=("alice",))
    assert (len(result["servers"]), result["users"]) == (1, None)


def test_no_users_at_all_is_not_all_users() -> None:
    assert perform(version(), user(), gather=("users",), users=())["users"] == []


def test_servers_that_may_not_be_read_are_not_taken_for_none() -> None:
    with pytest.raises(MissingScope, match="servers"):
        perform(version(), user(), listed("users", ALICE, {"name": "bob"}), gather=("servers",))


def test_the_other_lists() -> None:
    routes = Exchange("GET", API + "proxy?offset=0&limit=200", {"/": {"target": "x"}})
    result = perform(
        version(), user(), listed("groups", {"name": "g"}), listed("services", {"name": "s"}), routes,
        gather=("routes", "services", "groups"),
    )  # fmt: skip
    assert (result["groups"], result["services"], result["routes"]) == (
        [{"name": "g"}],
        [{"name": "s"}],
        [{"target": "x"}],
    )


# The hub's details


def info(answer: Any, status: int = 200) -> Exchange:
    return Exchange("GET", API + "info", answer, status)


def test_details_of_the_hub_need_a_scope() -> None:
    answer = {
        "version": "6.1.1", "python": "3.13", "sys_executable": "/secret/path",
        "authenticator": {"class": "a.B", "version": "1.2"}, "spawner": {"class": "c.D", "version": "unknown"},
    }  # fmt: skip
    hub = perform(version(), user("read:hub"), info(answer))["hub"]
    assert hub["authenticator"] == {"class": "a.B", "version": "1.2"}
    assert hub["spawner"] == {"class": "c.D", "version": None}
    assert hub.keys() == {"url", "version", "authenticator", "spawner", "scope_names"}


@pytest.mark.parametrize(
    "script",
    [
        [user("self")],  # the token lacks the scope, so there is no request
        [user("read:hub"), info({"message": "no"}, 403), user("read:hub")],
        [user("read:hub"), info({"message": "no"}, 404)],
        [user("read:hub"), info({"version": "6.1.1", "authenticator": "a.B", "spawner": None})],
    ],
)
def test_hidden_details_are_no_failure(script: list[Exchange]) -> None:
    hub = perform(version(), *script)["hub"]
    assert (hub["authenticator"], hub["spawner"]) == (None, None)


def test_a_failed_request_for_details_is_a_failure() -> None:
    with pytest.raises(HubFailure):
        perform(version(), user("read:hub"), info({"message": "broken"}, 500))


@pytest.mark.parametrize(
    ("number", "names"), [("6.1.1", {}), ("5.5.4", {"start:servers": "servers"}), ("2.3.1", {})]
)  # fmt: skip
def test_the_names_of_scopes(number: str, names: dict[str, str]) -> None:
    assert perform(version(number), token="")["hub"]["scope_names"] == names


# Tokens


NOW = datetime(2026, 11, 24, 12, 0, 0, 500000, tzinfo=timezone.utc)


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info_flow.time, "time", NOW.timestamp)


def tokens(name: str, *items: Any) -> Exchange:
    return Exchange("GET", f"{API}users/{name}/tokens", {"api_tokens": list(items)})


@pytest.mark.usefixtures("noon")
def test_the_tokens_of_named_users() -> None:
    used: Model = {
        "user": "alice", "id": "a1", "kind": "api_token", "note": "n", "scopes": ["b", "a"], "roles": [],
        "created": "2026-11-24T11:00:00.400000Z", "expires_at": "2026-11-24T12:00:10Z",
        "last_activity": "2026-11-24T11:59:00.500000Z", "session_id": None, "oauth_client": "JupyterHub",
    }  # fmt: skip
    never = {**used, "id": "a2", "expires_at": None, "last_activity": None}
    # A user who is named twice is read once, and there is no request for a list of users.
    result = perform(
        version(), user("read:tokens"), tokens("alice", used, never), gather=("tokens",), users=("alice", "alice")
    )
    first, second = result["tokens"]
    assert first == {
        "user": "alice", "token_id": "a1", "note": "n", "scopes": ["a", "b"],
        "created": "2026-11-24T11:00:00.400000Z", "age_seconds": 3600,
        "expires_at": "2026-11-24T12:00:10Z", "expires_in_seconds": 9,
        "last_activity": "2026-11-24T11:59:00.500000Z", "idle_seconds": 60,
    }  # fmt: skip
    assert [second[key] for key in ("expires_at", "expires_in_seconds", "last_activity", "idle_seconds")] == [None] * 4
    assert result["users"] is None


@pytest.mark.parametrize(
    ("stamp", "age"),
    [
        ("2026-11-24T12:00:00.5Z", 0),
        ("2026-11-24T11:59:59Z", 1),
        ("2026-11-24T12:00:07Z", 0),  # the hub's clock is ahead
        ("yesterday", None),
        (None, None),
    ],
)
@pytest.mark.usefixtures("noon")
def test_ages(stamp: Any, age: int | None) -> None:
    odd = {"id": "a1", "created": stamp, "last_activity": stamp, "expires_at": stamp}
    result = perform(version(), user("read:tokens"), tokens("alice", odd), gather=("tokens",), users=("alice",))
    (token,) = result["tokens"]
    assert (token["created"], token["age_seconds"], token["idle_seconds"]) == (stamp, age, age)
    assert (token["expires_in_seconds"] is None) is (age is None)
    assert (token["note"], token["scopes"]) == (None, None)


def test_a_past_expiry_is_zero_seconds_away() -> None:
    then = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
    past = {"id": "a1", "expires_at": then}
    result = perform(version(), user("read:tokens"), tokens("alice", past), gather=("tokens",), users=("alice",))
    assert result["tokens"][0]["expires_in_seconds"] == 0


def test_the_tokens_of_all_users_in_their_order() -> None:
    """The token lists the users whom it may see. Then it reads the tokens of several users at the same time."""
    names = [f"user{number}" for number in range(25)]

    class Hub(FakeHubClient):
        working = most = 0
        lock = threading.Lock()
        five = threading.Barrier(5, timeout=60)  # no request is answered before five have come

        held_scopes = ("list:users", "read:tokens")

        def pages(self, *_path: str, **_more: Any) -> list[Model]:
            return [{"name": name} for name in names]

        def get(self, *path: str, **_more: Any) -> Model:
            with self.lock:
                self.working += 1
                self.most = max(self.most, self.working)
            self.five.wait()
            with self.lock:
                self.working -= 1
            if path[1] == "user7":
                raise NotFound("Deleted meanwhile.", "")
            return {"api_tokens": [{"id": f"{path[1]}-{number}"} for number in (1, 2)]}

    hub = Hub()
    hub.owner = Owner("service", "s")
    result = run(InfoFlow(hub, InfoSpec(gather=("tokens", "users")), print), check_mode=True)  # type: ignore[arg-type]
    assert [token["token_id"] for token in result["tokens"]] == [
        f"{name}-{number}" for name in names if name != "user7" for number in (1, 2)
    ]
    assert len(result["users"]) == 25
    assert 5 <= hub.most <= 10


@pytest.mark.parametrize(
    ("held", "users", "message"),
    [
        (["read:users"], None, "lacks read:tokens, list:users for the list of tokens; it holds read:users"),
        (["read:tokens"], None, "lacks list:users for"),
        (["list:users"], None, "lacks read:tokens for"),
        (["list:users"], ("alice",), "lacks read:tokens for"),
        ([], (), "lacks read:tokens for the list of tokens; it holds none"),
    ],
)
def test_scopes_that_the_tokens_need(held: list[str], users: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(MissingScope, match=message):
        perform(version(), user(*held), gather=("tokens",), users=users)


@pytest.mark.parametrize(
    ("held", "failure"),
    [
        ("read:tokens", NotFound),
        ("read:tokens!user=bob", NotFound),
        ("read:tokens!user=alice", MissingScope),
        ("read:tokens!group=g", MissingScope),
    ],
)
def test_a_named_user_whom_the_hub_does_not_show(held: str, failure: type[Exception]) -> None:
    none = Exchange("GET", API + "users/bob/tokens", {"message": "No access to resources or resources not found"}, 404)
    with pytest.raises(failure, match="user 'bob'"):
        perform(version(), user(held), none, gather=("tokens",), users=("bob",))
