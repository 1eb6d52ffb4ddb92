# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Token
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.scopes import READ_EVERYTHING
from support.fakes.misbehaving_hub import Answer, MisbehavingHub, Request, misbehaving_hub, refuse_writes
from support.runner import Runner, assert_failed


def test_hub(any_version: Runner) -> None:
    result = any_version("hub_info")
    hub, version = result["hub"], any_version.hub.version
    assert hub == {
        "url": any_version.hub.url,
        "version": version,
        "authenticator": {"class": "jupyterhub.auth.DummyAuthenticator", "version": version},
        "spawner": {"class": "light_spawner.LightSpawner", "version": hub["spawner"]["version"]},
        "scope_names": {} if version.startswith("6") else {"start:servers": "servers"},
    }
    assert result["changed"] is False
    assert result["actions"] == []
    assert all(result[noun] is None for noun in ("users", "servers", "groups", "services", "routes", "tokens"))


def test_the_token_of_a_service(light: Runner) -> None:
    token = light("hub_info")["token"]
    assert (token["kind"], token["name"], token["admin"]) == ("service", "admin", True)
    assert {"admin:users", "list:users", "proxy"} <= set(token["scopes"])
    assert (token["expires_at"], token["expiry_known"]) == (None, False)


@pytest.mark.doors
def test_the_token_of_a_user(light: Runner) -> None:
    user = light.new_user()
    forever = light.mint(user, "read:users:name!user", "read:tokens!user", note="for ever")
    for_a_day = light.mint(user, "read:users:name!user", "read:tokens!user", note="for a day", expires_in=86400)
    without_read = light.mint(user, "read:users:name!user")
    asks = [light.with_token(token).task("hub_info") for token in (forever, for_a_day, without_read)]
    first, second, third = (result["token"] for result in light.run(asks).results)

    assert (first["kind"], first["name"], first["note"]) == ("user", user, "for ever")
    assert {f"read:users:name!user={user}", f"read:tokens!user={user}"} <= set(first["scopes"])
    assert first["id"].startswith("a")
    assert first["created"]
    assert (first["expires_at"], first["expiry_known"]) == (None, True)

    assert (second["note"], second["expiry_known"]) == ("for a day", True)
    listed = next(token for token in light.tokens(user) if token["note"] == "for a day")
    assert (second["id"], second["expires_at"]) == (listed["id"], listed["expires_at"])

    # A token that may not read tokens does not know when it expires. That is not the same as never.
    assert (third["expires_at"], third["expiry_known"]) == (None, False)


def test_a_token_on_a_hub_that_does_not_name_its_id(light_41: Runner) -> None:
    user = light_41.new_user()
    token = light_41.mint(user, "read:users:name!user", "read:tokens!user", expires_in=86400)
    answer = light_41.with_token(token)("hub_info")["token"]
    assert (answer["kind"], answer["name"]) == ("user", user)
    assert (answer["id"], answer["expires_at"], answer["expiry_known"]) == (None, None, False)


@pytest.mark.doors
def test_anonymously(light: Runner) -> None:
    anonymous = light.with_token("")
    plain, more, scoped = anonymous.run(
        [
            anonymous.task("hub_info"),
            anonymous.task("hub_info", gather=["users"]),
            anonymous.task("hub_info", require_scopes=["list:users"]),
        ]
    ).results
    assert plain["hub"]["version"] == light.hub.version
    assert plain["token"] is None
    for result in (more, scoped):
        assert_failed(result, "unauthorized", "api_token")


@pytest.mark.doors
def test_gather_all_kinds(light: Runner) -> None:
    user = light.new_user()
    group = f"group-of-{user}"
    light.api_request("POST", f"groups/{group}")
    light.api_request("POST", f"groups/{group}/users", {"users": [user]})
    assert (
        light.api_request("POST", f"users/{user}/servers/one", {"user_options": {"colour": "red"}}).status_code == 201
    )
    result = light("hub_info", gather=["users", "servers", "groups", "services", "routes"])

    assert {"kind": "user", "name": user, "groups": [group]}.items() <= by_name(result["users"])[user].items()
    assert by_name(result["groups"])[group]["users"] == [user]
    assert "admin" in by_name(result["services"])
    assert {"/jhub/", f"/jhub/user/{user}/one/"} <= {route["routespec"] for route in result["routes"]}
    (server,) = [server for server in result["servers"] if server["user"] == user]
    assert server["started"]
    assert server["last_activity"]
    assert {name: server[name] for name in ("server_name", "ready", "pending", "url", "user_options")} == {
        "server_name": "one",
        "ready": True,
        "pending": None,
        "url": f"/jhub/user/{user}/one/",
        "user_options": {"colour": "red"},
    }


def test_more_users_than_a_page_has(light: Runner) -> None:
    # A hub returns 200 users at most, and without pagination it drops the others without a message.
    crowd = {f"crowd{number}" for number in range(230)}
    assert light.api_request("POST", "users", {"usernames": sorted(crowd)}).status_code in (201, 409)
    names = [user["name"] for user in light("hub_info", gather=["users"])["users"]]
    assert crowd <= set(names)
    assert len(names) == len(set(names))
    light.delete_users(crowd)


def test_only_named_users(light: Runner) -> None:
    first, second = light.new_user(), light.new_user()
    light.api_request("POST", f"users/{second}/server")
    named, nobody, none = light.run(
        [
            light.task("hub_info", gather=["users", "servers"], users=[second, first]),
            light.task("hub_info", gather=["users"], users=["nobody-of-that-name"]),
            light.task("hub_info", gather=["users"], users=[]),
        ]
    ).results
    assert [user["name"] for user in named["users"]] == [second, first]
    assert [server["user"] for server in named["servers"]] == [second]
    assert_failed(nobody, "not_found", "nobody-of-that-name")
    assert none["users"] == []


def test_servers_that_the_token_may_not_read(light: Runner) -> None:
    admin = light.new_user(admin=True)
    token = light.mint(admin, "list:users", "read:users:name")
    # Servers that the token may not see are not the same as no servers.
    assert_failed(light.with_token(token)("hub_info", gather=["servers"]), "missing_scope", "read:servers")


def test_require_scopes(any_version: Runner) -> None:
    user = any_version.new_user()
    start = "start:servers" if any_version.hub.version.startswith("6") else "servers"
    token = any_version.mint(user, f"{start}!user", "read:servers!user")
    held = any_version.with_token(token)
    satisfied, missing, another, unknown = held.run(
        [
            held.task("hub_info", require_scopes=["start:servers!user", f"read:servers!user={user}"]),
            held.task("hub_info", require_scopes=["start:servers!user", "access:servers!user", "proxy"]),
            held.task("hub_info", require_scopes=["start:servers!user=somebody-else"]),
            held.task("hub_info", require_scopes=["start:servers"]),
        ]
    ).results
    assert satisfied["token"]["name"] == user
    message = assert_failed(missing, "missing_scope", f"user '{user}'", f"access:servers!user={user}, proxy")["message"]
    assert "lacks access" in message  # and not the scopes that the token has
    assert_failed(another, "missing_scope", f"{start}!user=somebody-else")
    assert_failed(unknown, "missing_scope", start)


@pytest.mark.doors
def test_a_token_without_read_hub(light: Runner) -> None:
    light_token = light.with_token(light.mint(light.new_user(), "read:users:name!user"))
    tokenless = light.with_token("")
    for result in light.run([light_token.task("hub_info"), tokenless.task("hub_info")]).results:
        assert result["failed"] is False
        assert result["hub"] == {
            "url": light.hub.url,
            "version": light.hub.version,
            "authenticator": None,
            "spawner": None,
            "scope_names": {},
        }


def test_the_details_are_requested_only_with_read_hub(light: Runner, read_only_hub: MisbehavingHub) -> None:
    """They need a request of their own."""

    def requested_paths(token: str) -> list[str]:
        read_only_hub.requests.clear()
        light.with_url(read_only_hub.url).with_token(token)("hub_info")
        return [one.path.partition("/hub/api/")[2] for one in read_only_hub.requests]

    assert requested_paths(light.hub.admin_token) == ["", "user", "info"]
    assert requested_paths(light.mint(light.new_user(admin=True), "list:users"))[:2] == ["", "user"]
    assert "info" not in requested_paths(light.mint(light.new_user(admin=True), "list:users"))


def test_the_tokens_of_users(any_version: Runner) -> None:
    user, other = any_version.new_user(), any_version.new_user()
    secret = any_version.mint(user, "read:users:name!user", note="for a day", expires_in=86400)
    unused = any_version.mint(user, "access:servers!user", note="never used")
    assert any_version.with_token(secret).token_works()
    result, nobody, none = any_version.run(
        [
            any_version.task("hub_info", gather=["tokens"], users=[other, user]),
            any_version.task("hub_info", gather=["tokens"], users=["nobody-of-that-name"]),
            any_version.task("hub_info", gather=["tokens"], users=[]),
        ]
    ).results
    assert result["changed"] is False
    assert [token["user"] for token in result["tokens"]] == [user, user]
    by_note = {token["note"]: token for token in result["tokens"]}
    listed = {token["note"]: token for token in any_version.tokens(user)}
    for note, token in by_note.items():
        assert token["token_id"] == listed[note]["id"]
        assert token["scopes"] == sorted(listed[note]["scopes"])
        assert token["created"] == listed[note]["created"]
        assert 0 <= token["age_seconds"] < 60
    day, never = by_note["for a day"], by_note["never used"]
    assert day["expires_at"] == listed["for a day"]["expires_at"]
    assert 86300 < day["expires_in_seconds"] <= 86400
    assert day["last_activity"]
    assert 0 <= day["idle_seconds"] < 60
    keys = ("expires_at", "expires_in_seconds", "last_activity", "idle_seconds")
    assert {never[key] for key in keys} == {None}
    assert secret not in str(result)
    assert unused not in str(result)
    assert_failed(nobody, "not_found", "nobody-of-that-name")
    assert none["tokens"] == []


@pytest.mark.doors
def test_the_tokens_of_all_users(light: Runner) -> None:
    users = [light.new_user() for _number in range(15)]
    for user in users:
        light.mint(user, note=f"of {user}")
    found = light("hub_info", gather=["tokens", "users"])
    # In the order of the users, not of the answers.
    assert [token["note"] for token in found["tokens"] if token["user"] in users] == [f"of {user}" for user in users]
    names = [user["name"] for user in found["users"]]
    assert sorted(found["tokens"], key=lambda token: names.index(token["user"])) == found["tokens"]
    assert light.check("hub_info", gather=["tokens"])["users"] is None


@pytest.mark.doors
def test_the_scopes_that_tokens_need(light: Runner) -> None:
    admin, user = light.new_user(admin=True), light.new_user()
    without, lists, reads, owned = (
        light.with_token(light.mint(admin, *scopes))
        for scopes in (["read:users:name"], ["list:users"], ["read:tokens"], ["read:tokens!user", "list:users"])
    )
    neither, no_tokens, no_list, named, not_covered, only_own = light.run(
        [
            without.task("hub_info", gather=["tokens"]),
            lists.task("hub_info", gather=["tokens"], users=[user]),
            reads.task("hub_info", gather=["tokens"]),
            reads.task("hub_info", gather=["tokens"], users=[user]),
            owned.task("hub_info", gather=["tokens"]),
            owned.task("hub_info", gather=["tokens"], users=[admin]),
        ]
    ).results
    assert_failed(neither, "missing_scope", "read:tokens, list:users")
    assert_failed(no_tokens, "missing_scope", "read:tokens")
    assert_failed(no_list, "missing_scope", "lacks list:users for")
    assert named["tokens"] == []
    assert_failed(not_covered, "missing_scope", "read:tokens")
    assert {token["user"] for token in only_own["tokens"]} == {admin}


@pytest.mark.doors
def test_tokens_of_names_that_no_user_has(light: Runner) -> None:
    names = ["", "..", "nobody/tokens", "ünbekannt"]
    tasks = [light.task("hub_info", gather=["tokens"], users=[name]) for name in names]
    for result, code in zip(light.run(tasks).results, ["invalid", "invalid", "invalid", "not_found"], strict=True):
        assert_failed(result, code)


@pytest.mark.doors
def test_check_mode_gathers_the_same(light: Runner) -> None:
    options = {"gather": ["services"], "require_scopes": ["list:users"]}
    checked = light.check("hub_info", **options)
    assert checked["services"] == light("hub_info", **options)["services"]
    assert checked["changed"] is False


# Everything


PARTS = ("users", "servers", "groups", "services", "routes", "tokens")


def named(result: dict[str, Any]) -> dict[str, str]:
    assert not result["failed"], result["msg"]
    names = [each["name"] for each in result["unreadable"]]
    assert names == sorted(set(names))
    return {each["name"]: each["scope"] for each in result["unreadable"]}


def test_everything(any_version: Runner) -> None:
    """With the scopes that the page of the module lists, nothing is unreadable."""
    runner = any_version
    user, admin = runner.new_user(), runner.new_user(admin=True)
    secret = runner.mint(user, "read:users:name!user", note="a job", expires_in=86400)
    runner("hub_group", name=f"of-{user}", users=[user], properties={"size": 1})
    for name in ("", "lab", "old"):
        started = runner("hub_server", user=user, server_name=name, user_options={"option": name}, wait_timeout="2m")
        assert started["servers"][0]["state"] == "ready", started["msg"]
    runner("hub_server", user=user, server_name="old", state="stopped")
    reader = runner.with_token(runner.mint(admin, *READ_EVERYTHING))
    found = reader("hub_info", gather=["all"])

    assert found["unreadable"] == []
    assert found["hub"]["spawner"]["class"] == "light_spawner.LightSpawner"
    assert (found["token"]["kind"], found["token"]["name"]) == ("user", admin)
    model = by_name(found["users"])[user]
    assert (model["admin"], model["groups"], model["roles"]) == (False, [f"of-{user}"], ["user"])
    assert {"created", "last_activity"} <= model.keys()
    group = by_name(found["groups"])[f"of-{user}"]
    assert (group["users"], group["properties"], group["roles"]) == ([user], {"size": 1}, [])
    service = by_name(found["services"])["admin"]
    assert service["roles"]
    assert "url" in service
    servers = {one["server_name"]: one for one in found["servers"] if one["user"] == user}
    assert {name: (one["ready"], one["stopped"]) for name, one in servers.items()} == {
        "": (True, False), "lab": (True, False), "old": (False, True),
    }  # fmt: skip
    assert {name: one["user_options"] for name, one in servers.items()} == {
        name: {"option": name} for name in servers
    }  # fmt: skip
    assert f"/jhub/user/{user}/lab/" in {route["routespec"] for route in found["routes"]}
    issued_for = {Token.from_model(model).issued_for for model in runner.tokens(user)}
    assert issued_for == {"", "server"}, "the hub issues a token for each server"
    assert "a job" in {token["note"] for token in found["tokens"] if token["user"] == user}
    assert secret not in str(found)
    # No user has a default server that was never started, and nobody's secrets are shown to the hub's admin either.
    as_admin = runner("hub_info", gather=["all"])
    for one in as_admin["users"]:
        assert "auth_state" not in one
        assert not any("state" in server for server in one["servers"].values())
    assert [one for one in as_admin["servers"] if one["user"] == admin] == []
    assert as_admin["unreadable"] == []


def test_what_each_scope_hides(any_version: Runner) -> None:
    """Without one of the scopes, what it shows is named, and nothing else."""
    runner = any_version
    user, admin = runner.new_user(), runner.new_user(admin=True)
    runner("hub_group", name=f"of-{user}", users=[user])
    names = {
        "list:users": {"users": "list:users", "servers": "list:users", "tokens": "list:users"},
        "read:users": {
            "users.created": "read:users", "users.groups": "read:users:groups",
            "users.last_activity": "read:users:activity",
        },
        "read:servers": {"servers": "read:servers"},
        "read:tokens": {"tokens": "read:tokens"},
        "list:groups": {"groups": "list:groups"},
        "read:groups": {"groups.properties": "read:groups", "groups.users": "read:groups"},
        "list:services": {"services": "list:services"},
        "read:services": {
            f"services.{field}": "read:services" for field in ("command", "display", "info", "prefix", "url")
        },
        "read:roles": {"groups.roles": "read:roles:groups", "services.roles": "read:roles:services"},
        "read:hub": {"hub": "read:hub"},
        "proxy": {"routes": "proxy"},
    }  # fmt: skip
    assert names.keys() == set(READ_EVERYTHING)
    tasks = []
    for scope in READ_EVERYTHING:
        token = runner.mint(admin, *(each for each in READ_EVERYTHING if each != scope))
        tasks.append(runner.with_token(token).task("hub_info", gather=["all"]))
    for scope, result in zip(READ_EVERYTHING, runner.run(tasks).results, strict=True):
        assert named(result) == names[scope], scope
        whole = {name for name in names[scope] if "." not in name}
        assert {part for part in PARTS if result[part] is None} == whole - {"hub"}
        assert (result["hub"]["spawner"] is None) is ("hub" in whole)


def test_scopes_with_filters(any_version: Runner) -> None:
    runner = any_version
    user, other, admin = runner.new_user(), runner.new_user(), runner.new_user(admin=True)
    for name in (user, other):
        runner.mint(name, note=f"of {name}")
        runner("hub_server", user=name, wait=True)
    runner("hub_group", groups=[{"name": f"of-{user}"}, {"name": f"of-{other}"}], users=[user])
    filters = {
        "read:tokens": (f"!user={user}", {"tokens": "read:tokens"}),
        "read:servers": (f"!user={user}", {"servers": "read:servers"}),
        "list:groups": (f"!group=of-{user}", {"groups": "list:groups"}),
        "list:users": (
            f"!user={user}", {"servers": "list:users", "tokens": "list:users", "users": "list:users"},
        ),
        "list:services": ("!service=admin", {"services": "list:services"}),
    }  # fmt: skip
    tasks = []
    for scope, (restriction, _named) in filters.items():
        scopes = [each + (restriction if each == scope else "") for each in READ_EVERYTHING]
        tasks.append(runner.with_token(runner.mint(admin, *scopes)).task("hub_info", gather=["all"]))
    found = dict(zip(filters, runner.run(tasks).results, strict=True))
    for scope, (restriction, expected) in filters.items():
        assert named(found[scope]) == expected, scope
        assert any(restriction in each["message"] for each in found[scope]["unreadable"])
    assert {token["user"] for token in found["read:tokens"]["tokens"]} == {user}
    assert {server["user"] for server in found["read:servers"]["servers"]} == {user}
    assert {group["name"] for group in found["list:groups"]["groups"]} == {f"of-{user}"}
    assert [one["name"] for one in found["list:users"]["users"]] == [user]
    assert {token["user"] for token in found["list:users"]["tokens"]} == {user}
    assert [one["name"] for one in found["list:services"]["services"]] == ["admin"]


def test_a_user_sees_only_the_user(any_version: Runner) -> None:
    """A token with all rights of a user without rights."""
    user = any_version.new_user()
    found = any_version.with_token(any_version.mint(user, "self"))("hub_info", gather=["all"])
    assert {"users", "servers", "tokens", "groups", "services", "routes", "hub"} <= named(found).keys()
    assert [one["name"] for one in found["users"]] == [user]
    assert [token["user"] for token in found["tokens"]] == [user]
    assert (found["groups"], found["services"], found["routes"]) == (None, None, None)


@pytest.mark.doors
def test_everything_through_both_doors(light: Runner) -> None:
    blind = light.with_token(light.mint(light.new_user(admin=True), "list:users"))
    all_of_it, nothing, required, nobody, some = light.run(
        [
            light.task("hub_info", {"check_mode": True}, gather="all"),
            blind.task("hub_info", gather=["all"]),
            blind.task("hub_info", gather=["all", "groups"]),
            light.with_token("").task("hub_info", gather=["all"]),
            light.task("hub_info", gather=["all"], users=["x"]),
        ]
    ).results
    assert all_of_it["unreadable"] == []
    assert all(all_of_it[part] is not None for part in PARTS)
    assert {"tokens", "groups", "servers"} <= named(nothing).keys()
    assert_failed(required, "missing_scope", "list:groups")
    assert_failed(nobody, "unauthorized", "api_token")
    assert_failed(some, "invalid", "all users")


@pytest.mark.doors
def test_a_hub_that_fails_in_the_middle_is_not_a_missing_scope(light: Runner) -> None:
    relay = refuse_writes(light.hub.url)
    for path in ("info", "users?", "groups", "services", "proxy", "tokens"):

        def behave(request: Request, path: str = path) -> Answer | None:
            if path in request.path.partition("/hub/api/")[2]:
                return Answer({"message": "broken"}, 500)
            return relay(request)

        with misbehaving_hub(behave) as broken:
            result = light.with_url(broken.url + "jhub/")("hub_info", gather=["all"])
        assert_failed(result, "hub_error", "500")


def test_users_who_come_and_go_while_everything_is_read(light: Runner) -> None:
    """Users are deleted between two pages. Each user who is there all the time is found."""
    names, leaving = [f"stays{number}" for number in range(40)], [f"leaves{number}" for number in range(20)]
    light.api_request("POST", "users", {"usernames": [*leaving, *names]})
    relay, pages = refuse_writes(light.hub.url), []

    def behave(request: Request) -> Answer | None:
        small = replace(request, path=request.path.replace("limit=200", "limit=9"))
        answer = relay(small)
        found = answer.body if answer else b""
        if b'"leaves' in found and b'"stays0"' not in found:
            pages.append(request.path)
            for name in leaving[len(pages) * 6 - 6 : len(pages) * 6]:
                assert light.api_request("DELETE", f"users/{name}").ok
        return answer

    with misbehaving_hub(behave) as changing:
        found = light.with_url(changing.url + "jhub/")("hub_info", gather=["all"])
    assert found["unreadable"] == []
    assert pages
    assert set(names) <= {one["name"] for one in found["users"]}
    assert not set(leaving[:6]) & {one["name"] for one in found["users"]}
    light.delete_users([*leaving, *names])


def by_name(models: list[dict]) -> dict[str, dict]:
    return {model["name"]: model for model in models}
