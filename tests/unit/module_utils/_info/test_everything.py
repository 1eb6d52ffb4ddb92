# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_info.everything: what is read, in how many requests, and what is named because the hub leaves it out."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubFailure,
    Invalid,
    MissingScope,
    Unauthorized,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._info import everything
from ansible_collections.hubops.jupyterhub.plugins.module_utils._info.everything import Everything, read_everything
from ansible_collections.hubops.jupyterhub.plugins.module_utils._info.flow import InfoFlow, InfoSpec
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from ansible_collections.hubops.jupyterhub.plugins.modules import hub_info
from support.fakes.scripted_hub import API, Exchange, scripted_hub, user, version

Model = dict[str, Any]
SCOPES = (
    "list:users", "read:users", "read:users:name", "read:users:groups", "read:users:activity", "read:servers",
    "read:tokens", "list:groups", "read:groups", "read:groups:name", "list:services", "read:services",
    "read:services:name", "read:roles", "read:roles:users", "read:roles:groups", "read:roles:services", "read:hub",
    "proxy",
)  # fmt: skip
"""`READ_EVERYTHING` as the hub expands it."""

RUNS: Model = {"ready": True, "pending": None, "stopped": False, "url": "/u/", "started": "t", "last_activity": "t",
               "user_options": {"a": 1}, "state": {"pid": 7}}  # fmt: skip
STOPPED: Model = {**RUNS, "ready": False, "stopped": True, "started": None}
NEVER_STARTED: Model = {**STOPPED, "last_activity": None, "user_options": {}, "state": {}}
ALICE: Model = {
    "name": "alice", "admin": True, "created": "t", "last_activity": "t", "groups": ["g"], "roles": ["user"],
    "auth_state": {"secret": 1}, "servers": {"": RUNS, "lab": STOPPED},
}  # fmt: skip
BOB: Model = {**ALICE, "name": "bob", "admin": False, "servers": {"": NEVER_STARTED}}
GROUP: Model = {"name": "g", "users": ["alice", "bob"], "properties": {"a": 1}, "roles": []}
SERVICE: Model = {"name": "s", "admin": False, "url": "", "prefix": "", "command": [], "info": {}, "display": True,
                  "roles": []}  # fmt: skip
ROUTE: Model = {"routespec": "/", "target": "http://hub"}
INFO: Model = {"authenticator": {"class": "a.B", "version": "1"}, "spawner": {"class": "c.D", "version": "1"}}
TOKEN: Model = {"id": "a1", "note": "n", "scopes": ["b", "a"], "created": "t", "oauth_client": "JupyterHub"}


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the requests for tokens come in the order of the script."""
    monkeypatch.setattr(everything, "_CONCURRENCY", 1)


def get(path: str, answer: Any, status: int = 200) -> Exchange:
    return Exchange("GET", API + path, answer, status)


def listed(part: str, *items: Model, offset: int = 0, following: int | None = None, total: int = 0) -> Exchange:
    pagination = {"next": None if following is None else {"offset": following}, "total": total or len(items)}
    stopped = "include_stopped_servers=1&" if part == "users" else ""
    path = f"{part}?{stopped}offset={offset}&limit=200"
    return get(path, {"items": list(items), "_pagination": pagination})


def tokens(name: str, *items: Model) -> Exchange:
    return get(f"users/{name}/tokens", {"api_tokens": list(items)})


def service(*scopes: str) -> Exchange:
    return user(*scopes, kind="service", name="audit")


USERS = listed("users", ALICE, BOB)
GROUPS = listed("groups", GROUP)
SERVICES = get("services?offset=0&limit=200", {"s": SERVICE})
ROUTES = get("proxy?offset=0&limit=200", {"/": ROUTE})
NO_GROUPS, NO_SERVICES = listed("groups"), get("services?offset=0&limit=200", {})
HIDDEN: Model = {"message": "Action is not authorized with current scopes"}


def read(*script: Exchange) -> Everything:
    with scripted_hub(version(), *script) as hub:
        return read_everything(hub)


def named(found: Everything) -> dict[str, str]:
    """What is unreadable, and the scope that each needs."""
    assert [each.name for each in found.unreadable] == sorted({each.name for each in found.unreadable})
    return {each.name: each.scope for each in found.unreadable}


def without(*names: str) -> list[str]:
    return [scope for scope in SCOPES if scope not in names]


def test_everything_in_as_few_requests_as_it_takes() -> None:
    found = read(
        service(*SCOPES), get("info", INFO), USERS, GROUPS, SERVICES, ROUTES, tokens("alice", TOKEN), tokens("bob")
    )  # fmt: skip
    assert found.unreadable == ()
    assert found.hub["authenticator"] == {"class": "a.B", "version": "1"}
    assert (found.token["kind"], found.token["name"], found.token["scopes"]) == ("service", "audit", sorted(SCOPES))
    assert found.users is not None
    alice, bob = found.users
    assert (alice.admin, alice.groups, alice.model["roles"]) == (True, ("g",), ["user"])
    assert alice.servers is not None
    assert {name: server.state for name, server in alice.servers.items()} == {"": "ready", "lab": "stopped"}
    assert bob.servers == {}, "a default server that was never started tells nothing"
    assert (found.groups, found.services, found.routes) == ((GROUP,), (SERVICE,), (ROUTE,))
    assert found.tokens is not None
    assert [(name, token.id) for name, token in found.tokens] == [("alice", "a1")]


def test_no_secrets_of_users_and_spawners() -> None:
    found = read(service(*SCOPES), get("info", INFO), USERS, GROUPS, SERVICES, ROUTES, tokens("alice"), tokens("bob"))
    assert found.users is not None
    for one in found.users:
        assert "auth_state" not in one.model
        assert not any("state" in server for server in one.model["servers"].values())


def test_a_token_that_may_see_nothing() -> None:
    hidden = [get(path, HIDDEN, 403) for path in (
        "users?include_stopped_servers=1&offset=0&limit=200", "groups?offset=0&limit=200",
        "services?offset=0&limit=200", "proxy?offset=0&limit=200",
    )]  # fmt: skip
    found = read(service(), *(each for exchange in hidden for each in (exchange, service())))
    assert (found.users, found.groups, found.services, found.routes, found.tokens) == (None,) * 5
    assert named(found) == {
        "groups": "list:groups", "hub": "read:hub", "routes": "proxy", "servers": "read:servers",
        "services": "list:services", "tokens": "read:tokens", "users": "list:users",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("part", "field", "scope"),
    [(part, field, scope) for part, fields in everything._FIELDS.items() for field, scope in fields.items()],
)
def test_a_field_that_the_hub_leaves_out_is_named(part: str, field: str, scope: str) -> None:
    """Also if it leaves it out for only one of many."""

    def leave_out(model: Model) -> Model:
        return {name: value for name, value in model.items() if name != field}

    users = listed("users", ALICE, leave_out(BOB)) if part == "users" else USERS
    groups = listed("groups", leave_out(GROUP)) if part == "groups" else GROUPS
    services = get("services?offset=0&limit=200", {"s": leave_out(SERVICE)}) if part == "services" else SERVICES
    found = read(
        service(*without(scope)), get("info", INFO), users, groups, services, ROUTES, tokens("alice"), tokens("bob")
    )
    assert named(found) == {f"{part}.{field}": scope}
    assert found.unreadable[0].message == f"The token may not read the field {field} of {part}."


def test_a_field_of_no_item_is_named_by_the_scope_alone() -> None:
    """A hub without groups would hide that the token may not read their properties."""
    script = (get("info", INFO), USERS, NO_GROUPS, SERVICES, ROUTES, tokens("alice"), tokens("bob"))
    assert named(read(service(*without("read:groups")), *script)) == {
        "groups.properties": "read:groups", "groups.users": "read:groups",
    }  # fmt: skip
    assert named(read(service(*SCOPES), *script)) == {}


def test_servers_that_the_hub_leaves_out() -> None:
    blind = {name: value for name, value in BOB.items() if name != "servers"}
    filtered = [*without("read:servers"), "read:servers!user=alice"]
    rest = (GROUPS, SERVICES, ROUTES, tokens("alice"), tokens("bob"))
    found = read(service(*filtered), get("info", INFO), listed("users", ALICE, blind), *rest)
    assert named(found) == {"servers": "read:servers"}
    assert found.unreadable[0].message == (
        "The token may read only some of the servers: it holds read:servers!user=alice."
    )
    assert [one.servers is None for one in found.users or ()] == [False, True]
    # With the filter for one server, the hub shows a user's `servers`, but not all of them.
    one_server = [*without("read:servers"), "read:servers!server=alice/lab"]
    assert named(read(service(*one_server), get("info", INFO), USERS, *rest)) == {"servers": "read:servers"}
    # A filter by group that covers all users hides nothing.
    all_groups = [*without("read:servers"), "read:servers!group=g"]
    assert named(read(service(*all_groups), get("info", INFO), USERS, *rest)) == {}
    none = read(service(*without("read:servers")), get("info", INFO), listed("users"), GROUPS, SERVICES, ROUTES)
    assert named(none) == {"servers": "read:servers"}


def test_tokens_of_one_user_only() -> None:
    """One request, because the hub would answer 404 for each other user."""
    filtered = [*without("read:tokens"), "read:tokens!user=bob"]
    found = read(service(*filtered), get("info", INFO), USERS, GROUPS, SERVICES, ROUTES, tokens("bob", TOKEN))
    assert named(found) == {"tokens": "read:tokens"}
    assert "it holds read:tokens!user=bob" in found.unreadable[0].message
    assert found.tokens is not None
    assert [name for name, _token in found.tokens] == ["bob"]


def test_tokens_of_a_group_only() -> None:
    filtered = [*without("read:tokens"), "read:tokens!group=g"]
    hidden = get("users/alice/tokens", HIDDEN, 404)
    found = read(service(*filtered), get("info", INFO), USERS, GROUPS, SERVICES, ROUTES, hidden, tokens("bob", TOKEN))
    assert named(found) == {"tokens": "read:tokens"}
    assert [name for name, _token in found.tokens or ()] == ["bob"]
    assert len(found.users or ()) == 2, "alice is not deleted, but hidden"


def test_tokens_without_a_list_of_users() -> None:
    no_list = without("list:users", "read:servers")
    hidden = get("users?include_stopped_servers=1&offset=0&limit=200", HIDDEN, 403)
    found = read(service(*no_list), get("info", INFO), hidden, service(*no_list), GROUPS, SERVICES, ROUTES)
    assert (found.users, found.tokens) == (None, None)
    assert named(found) == {"servers": "read:servers", "tokens": "list:users", "users": "list:users"}


def test_a_list_with_a_filter_is_named() -> None:
    """The hub filters the lists of users, groups and services, and says nothing about the others."""
    names = ("list:users", "list:groups", "list:services")
    filtered = [*without(*names), "list:users!user=alice", "list:groups!group=g", "list:services!service=s"]
    found = read(
        service(*filtered), get("info", INFO), listed("users", ALICE), GROUPS, SERVICES, ROUTES, tokens("alice")
    )
    assert named(found) == {
        "groups": "list:groups", "servers": "list:users", "services": "list:services", "tokens": "list:users",
        "users": "list:users",
    }  # fmt: skip
    assert len(found.users or ()) == 1


def test_what_the_scopes_name_is_read_by_its_name() -> None:
    """A user without rights may read only the user itself, its servers and its tokens."""
    held = [f"{scope}!user=alice" for scope in SCOPES if "users" in scope and scope.startswith("read:")]
    held += ["read:servers!user=alice", "read:tokens!user=alice", "read:groups!group=g", "read:groups!group=gone"]

    def forbid(part: str) -> list[Exchange]:
        stopped = "include_stopped_servers=1&" if part == "users" else ""
        return [get(f"{part}?{stopped}offset=0&limit=200", HIDDEN, 403), user(*held)]

    found = read(
        user(*held), *forbid("users"), get("users/alice?include_stopped_servers=1", ALICE),
        *forbid("groups"), get("groups/g", GROUP), get("groups/gone", HIDDEN, 404), *forbid("services"),
        *forbid("proxy"), tokens("alice", TOKEN),
    )  # fmt: skip
    assert [one.name for one in found.users or ()] == ["alice"]
    assert found.groups == (GROUP,)
    assert len(found.tokens or ()) == 1
    assert named(found) == {
        "groups": "list:groups", "hub": "read:hub", "routes": "proxy", "servers": "read:servers",
        "services": "list:services", "tokens": "read:tokens", "users": "list:users",
    }  # fmt: skip
    messages = {each.name: each.message for each in found.unreadable}
    assert messages["users"] == "The token may read only some of the users."
    assert messages["services"] == "The token may not read the services."


def test_a_user_who_is_deleted_meanwhile_is_left_out() -> None:
    found = read(
        service(*SCOPES), get("info", INFO), USERS, GROUPS, SERVICES, ROUTES, tokens("alice", TOKEN),
        get("users/bob/tokens", {"message": "No such user: bob"}, 404),
    )  # fmt: skip
    assert [one.name for one in found.users or ()] == ["alice"]
    assert named(found) == {}


def crowd(*numbers: int) -> list[Model]:
    return [{**ALICE, "name": f"u{number}", "servers": {}} for number in numbers]


def test_no_user_is_missed_if_others_are_deleted_meanwhile() -> None:
    """A deletion moves the users after it to a page that has been read by then."""
    page = range(200)
    rest = [number for number in range(201, 400) if number != 250]
    users = [
        listed("users", *crowd(*page), following=200, total=401),
        # u3 is deleted: the page does not start with u199, so u200 may be missed.
        listed("users", *crowd(*range(200, 399)), offset=199, following=399, total=400),
        listed("users", *crowd(*[number for number in range(201) if number != 3]), following=200, total=400),
        listed("users", *crowd(200, *rest), offset=199, total=399),
    ]
    names = [one["name"] for one in crowd(*range(201), *rest)]
    deleted = Exchange("GET", f"{API}users/u3/tokens", {"message": "No such user: u3"}, 404)
    asked = [deleted if name == "u3" else tokens(name) for name in names]
    found = read(service(*SCOPES), get("info", INFO), *users, GROUPS, SERVICES, ROUTES, *asked)
    assert [one.name for one in found.users or ()] == [name for name in names if name != "u3"]


@pytest.mark.parametrize("position", range(7))
@pytest.mark.parametrize(("status", "failure"), [(500, HubFailure), (400, Invalid)])
def test_a_failure_that_is_not_about_permission_fails(position: int, status: int, failure: type[Exception]) -> None:
    script = [get("info", INFO), USERS, GROUPS, SERVICES, ROUTES, tokens("alice"), tokens("bob")]
    broken = [*script[:position], Exchange("GET", script[position].url, {"message": "broken"}, status)]
    with pytest.raises(failure):
        read(service(*SCOPES), *broken)


def test_a_token_that_is_revoked_meanwhile_is_no_missing_scope() -> None:
    revoked = [get("groups?offset=0&limit=200", HIDDEN, 403), get("user", HIDDEN, 403)]
    with pytest.raises(Unauthorized):
        read(service(*SCOPES), get("info", INFO), USERS, *revoked)


# hub_info gather: [all]


def perform(*script: Exchange, **wanted: Any) -> dict[str, Any]:
    with scripted_hub(version(), *script) as hub:
        return run(InfoFlow(hub, InfoSpec(**wanted), print), check_mode=True)


def test_gather_all() -> None:
    script = (get("info", INFO), USERS, GROUPS, SERVICES, ROUTES, tokens("alice", TOKEN), tokens("bob"))
    result = perform(service(*SCOPES), *script, gather=("all",))
    assert [one["name"] for one in result["users"]] == ["alice", "bob"]
    assert [(one["user"], one["server_name"], one["ready"], one["stopped"]) for one in result["servers"]] == [
        ("alice", "", True, False),
        ("alice", "lab", False, True),
    ]
    assert [(one["user"], one["token_id"], one["scopes"]) for one in result["tokens"]] == [("alice", "a1", ["a", "b"])]
    assert (result["groups"], result["services"], result["routes"]) == ([GROUP], [SERVICE], [ROUTE])
    assert (result["unreadable"], result["changed"]) == ([], False)


def test_gather_all_names_what_is_missing_and_shows_null_for_it() -> None:
    blind = [{name: value for name, value in one.items() if name != "servers"} for one in (ALICE, BOB)]
    held = without("read:servers", "read:tokens")
    result = perform(
        service(*held), get("info", INFO), listed("users", *blind), GROUPS, SERVICES, ROUTES, gather=("all",)
    )
    assert (result["servers"], result["tokens"]) == (None, None)
    assert result["unreadable"] == [
        {"name": "servers", "scope": "read:servers", "message": "The token may not read the servers."},
        {"name": "tokens", "scope": "read:tokens", "message": "The token may not read the tokens."},
    ]


def test_a_hub_without_users_groups_and_tokens_has_empty_lists() -> None:
    script = (get("info", INFO), listed("users"), NO_GROUPS, NO_SERVICES, ROUTES)
    result = perform(service(*SCOPES), *script, gather=("all",))
    assert [result[part] for part in ("users", "servers", "groups", "services", "tokens", "unreadable")] == [[]] * 6


def test_a_part_that_is_named_beside_all_must_be_readable() -> None:
    script = (get("info", INFO), USERS, GROUPS, SERVICES, ROUTES)
    with pytest.raises(MissingScope, match="may not read the tokens") as error:
        perform(service(*without("read:tokens")), *script, gather=("all", "tokens"))
    assert "read:tokens" in error.value.hint
    assert perform(service(*without("read:tokens")), *script, gather=("all", "users"))["tokens"] is None


def test_required_scopes_come_first() -> None:
    with pytest.raises(MissingScope, match="lacks read:tokens"):
        perform(service(), gather=("all",), require_scopes=("read:tokens",))


def test_all_takes_no_names_of_users() -> None:
    options = {"gather": ["all"], "users": ["alice"], "require_scopes": []}
    with pytest.raises(Invalid, match="all users"):
        hub_info.flow(None, options, print)  # type: ignore[arg-type]
