# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_info: what the hub and the token are, and what is there, in exact requests."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import MissingScope, Unauthorized
from ansible_collections.hubops.jupyterhub.plugins.module_utils._info import GATHER, InfoFlow, Wanted
from ansible_collections.hubops.jupyterhub.plugins.module_utils._plan import run
from scripted_hub import API, HUB, TOKEN, Exchange, Model, scripted_hub, user, version

SERVER: Model = {"ready": True, "pending": None, "url": "/jhub/user/alice/", "started": "then", "last_activity": "then"}
ALICE: Model = {"name": "alice", "servers": {"": {**SERVER, "user_options": {"a": 1}}}}
BOB: Model = {"name": "bob", "servers": {}}


def perform(*script: Exchange, token: str = TOKEN, **wanted: Any) -> dict[str, Any]:
    with scripted_hub(*script, token=token) as hub:
        results = run(InfoFlow(hub, Wanted(**wanted), lambda line: None), check_mode=True)
    assert results["changed"] is False
    assert results["actions"] == []
    return results


def listed(what: str, *items: Any) -> Exchange:
    return Exchange("GET", f"{API}{what}?offset=0&limit=200", {"items": list(items), "_pagination": {"next": None}})


def test_the_hub_and_whose_token_it_is() -> None:
    own = Exchange("GET", API + "users/alice/tokens/a1", {"note": "n", "created": "then", "expires_at": "soon"})
    result = perform(version("6.1.1"), user("tokens", "access:servers", token_id="a1", admin=True), own)
    assert result["hub"] == {"url": HUB, "version": "6.1.1"}
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
        ({"token_id": "a1"}, [Exchange("GET", API + "users/alice/tokens/a1", {"message": "no"}, 403)]),
        ({"token_id": "a1"}, [Exchange("GET", API + "users/alice/tokens/a1", {"message": None}, 404)]),
    ],
)
def test_what_the_hub_does_not_tell_of_a_token_is_unknown_and_not_for_ever(
    identity: Model, script: list[Exchange]
) -> None:
    token = perform(version(), user("self", **identity), *script)["token"]
    assert (token["name"], token["expires_at"], token["expiry_known"]) == ("alice", None, False)


def test_without_a_token_there_is_the_version_alone() -> None:
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
