# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from support.fakes.misbehaving_hub import MisbehavingHub
from support.hubs import HubPool
from support.runner import Runner, assert_failed


def verbs(result: dict[str, Any]) -> list[str]:
    return [action["verb"] for action in result["actions"]]


def read(runner: Runner, group: str) -> dict[str, Any] | None:
    """The group on the hub, or None if it does not exist."""
    answer = runner.api_request("GET", f"groups/{quote(group, safe='')}")
    return {**answer.json(), "users": sorted(answer.json()["users"])} if answer.ok else None


def test_the_life_of_a_group(any_version: Runner) -> None:
    runner = any_version
    alice, bob, carol = sorted(runner.new_user() for _number in range(3))
    name = f"group-of-{alice}"
    wanted = {"name": name, "users": [bob, alice, alice], "properties": {"cpu": 4, "deep": {"list": [1, None]}}}
    steps = [
        runner.task("hub_group", {"check_mode": True}, **wanted),
        runner.task("hub_group", **wanted),
        runner.task("hub_group", **wanted),
        runner.task("hub_group", name=name, users=[carol], append=True),
        runner.task("hub_group", name=name, users=[carol, bob]),
        runner.task("hub_group", name=name),
        runner.task("hub_group", name=name, properties={"cpu": True}),
        runner.task("hub_group", name=name, users=[], properties={}),
    ]
    planned, created, again, added, exact, same, changed, emptied = runner.run(steps).results
    assert verbs(planned) == verbs(created) == ["create", "change"]
    assert planned["group"] == created["group"]
    assert planned["diff"] == created["diff"]
    assert created["group"] == {
        "name": name, "state": "present", "users": [alice, bob], "properties": wanted["properties"], "changed": True,
        "failure": None,
    }  # fmt: skip
    assert created["groups"] == [created["group"]]
    assert (again["changed"], again["actions"]) == (False, [])
    assert (verbs(added), added["group"]["users"]) == (["add"], [alice, bob, carol])
    assert (verbs(exact), exact["group"]["users"]) == (["remove"], [bob, carol])
    assert (same["changed"], same["group"]["users"]) == (False, [bob, carol])
    assert (verbs(changed), changed["group"]["properties"]) == (["change"], {"cpu": True})
    assert (emptied["group"]["users"], emptied["group"]["properties"]) == ([], {})
    planned, removed, absent = runner.run(
        [
            runner.task("hub_group", {"check_mode": True}, name=name, state="absent"),
            runner.task("hub_group", name=name, state="absent"),
            runner.task("hub_group", name=name, state="absent"),
        ]
    ).results
    assert verbs(planned) == verbs(removed) == ["delete"]
    assert (removed["group"]["state"], removed["group"]["users"], absent["changed"]) == ("absent", None, False)
    assert read(runner, name) is None


def test_a_member_s_other_groups_stay(any_version: Runner) -> None:
    user = any_version.new_user()
    first, second = f"first-{user}", f"second-{user}"
    done, with_hub_user = any_version.run(
        [
            any_version.task("hub_group", groups=[{"name": first}, {"name": second}], users=[user]),
            any_version.task("hub_user", user=user, groups=[first]),
        ]
    ).results
    assert [group["users"] for group in done["groups"]] == [[user], [user]]
    assert with_hub_user["changed"] is False
    assert any_version("hub_group", name=first, users=[])["changed"] is True
    assert any_version.api_request("GET", f"users/{user}").json()["groups"] == [second]


@pytest.mark.doors
def test_many_groups(light: Runner) -> None:
    user = light.new_user()
    names = [f"many-{number}-{user}" for number in range(25)]
    groups = [{"name": name, "users": [user]} for name in names]
    first, second, removed = light.run(
        [
            light.task("hub_group", groups=groups, properties={"a": 1}, concurrency=5),
            light.task("hub_group", groups=[*groups, {"name": f"bad-{user}", "users": ["nobody"]}], append=True),
            light.task("hub_group", groups=[{"name": name} for name in names], state="absent"),
        ]
    ).results
    assert [group["name"] for group in first["groups"]] == names
    assert first["group"] is None
    assert all(group["properties"] == {"a": 1} for group in first["groups"])
    assert_failed(second, "not_found", "1 of 26 groups failed", "user 'nobody'")
    assert [group["changed"] for group in second["groups"]] == [False] * 26
    assert second["groups"][-1].keys() == second["groups"][0].keys()
    assert (len(removed["actions"]), read(light, names[0])) == (25, None)


@pytest.mark.doors
def test_nothing_is_written_if_a_user_does_not_exist(light: Runner) -> None:
    user = light.new_user()
    there, new = f"there-{user}", f"new-{user}"
    light.api_request("POST", f"groups/{there}")
    tasks = [light.task("hub_group", name=name, users=[user, "nobody"], properties={"a": 1}) for name in (there, new)]
    for result in light.run([*tasks, *({**task, "check_mode": True} for task in tasks)]).results:
        assert_failed(result, "not_found", "no user 'nobody'")
    model = read(light, there)
    assert model is not None
    assert (model["users"], model["properties"], read(light, new)) == ([], {}, None)


def test_a_token_that_sees_no_users(any_version: Runner) -> None:
    """The hub names the user whom it does not know, and has changed nothing."""
    user, admin = any_version.new_user(), any_version.new_user(admin=True)
    group, new = f"group-{user}", f"new-{user}"
    any_version.api_request("POST", f"groups/{group}")
    held = any_version.with_token(any_version.mint(admin, f"groups!group={group}", f"admin:groups!group={new}"))
    unknown, created, added = held.run(
        [
            held.task("hub_group", name=group, users=[user, "nobody"], properties={"a": 1}),
            held.task("hub_group", name=new, users=[user, "nobody"]),
            held.task("hub_group", name=group, users=[user]),
        ]
    ).results
    assert_failed(unknown, "invalid", "No such user: nobody")
    assert_failed(created, "invalid", "No such user: nobody")
    assert read(any_version, new) is None
    assert (added["changed"], added["group"]["users"], added["group"]["properties"]) == (True, [user], {})


@pytest.mark.doors
def test_scopes(light: Runner) -> None:
    admin, user = light.new_user(admin=True), light.new_user()
    group, other, new = f"group-{user}", f"other-{user}", f"new-{user}"
    for each in (group, other):
        light.api_request("POST", f"groups/{each}")

    def with_scopes(*scopes: str) -> Runner:
        return light.with_token(light.mint(admin, "read:users:name", *scopes))

    none, names, reads = with_scopes(), with_scopes("read:groups:name"), with_scopes("read:groups")
    changes, filtered = with_scopes("groups"), with_scopes(f"groups!group={group}")
    restricted = with_scopes(f"read:groups:name!group={other}")
    cases: list[tuple[Runner, dict[str, Any], str]] = [
        (none, {"name": group}, "read:groups:name"),
        (restricted, {"name": new, "state": "absent"}, f"may not see group '{new}'"),
        (names, {"name": group, "users": []}, "may not read the users"),
        (names, {"name": group, "properties": {}}, "may not read the properties"),
        (reads, {"name": group, "users": [user]}, "'groups'"),
        (reads, {"name": group, "properties": {"a": 1}}, "'groups'"),
        (changes, {"name": new, "users": [user]}, "'admin:groups'"),
        (changes, {"name": group, "state": "absent"}, "'delete:groups'"),
        (filtered, {"name": other, "users": [user]}, f"group '{other}'"),
    ]
    tasks = [runner.task("hub_group", **options) for runner, options, _words in cases]
    results = light.run([*tasks, *({**task, "check_mode": True} for task in tasks)]).results
    for result, (_runner, _options, words) in zip(results, [*cases, *cases], strict=True):
        assert_failed(result, "missing_scope", words)
    model = read(light, group)
    assert model is not None
    assert (model["users"], model["properties"], read(light, new)) == ([], {}, None)
    # Scopes that are not needed are not asked for, and a scope for this group is enough.
    assert names("hub_group", name=group)["changed"] is False
    assert reads("hub_group", name=group, users=[])["changed"] is False
    assert verbs(filtered("hub_group", name=group, users=[user])) == ["add"]


NAMES = [
    "with space", "ünïcödé 😀", "a/b", "a%2Fb", "a?b#c", "Capital", "...", "+&=;,", "back\\slash", "'\"", " edge ",
    "x" * 255,
]  # fmt: skip


@pytest.mark.doors
def test_names(light: Runner) -> None:
    users = [f"{name.lower()}{light.door}"[:255] for name in ("a b", "ä", "q?r", "a%2fb", "it's", '"quoted"')]
    for user in users:
        light.api_request("POST", f"users/{quote(user, safe='')}")
    tasks = [light.task("hub_group", name=name, users=users, properties={name: name}) for name in NAMES]
    for name, result in zip(NAMES, light.run(tasks).results, strict=True):
        assert result["group"]["users"] == sorted(users), result.get("msg")
        model = read(light, name)
        assert model is not None
        assert (model["name"], model["users"], model["properties"]) == (name, sorted(users), {name: name})
    removed = light("hub_group", groups=[{"name": name, "state": "absent"} for name in NAMES])
    assert [group["changed"] for group in removed["groups"]] == [True] * len(NAMES)
    assert [read(light, name) for name in NAMES] == [None] * len(NAMES)


@pytest.mark.doors
def test_a_member_with_capitals(light: Runner) -> None:
    """A hub that is asked to add `Alice` to a group adds `alice`."""
    user = light.new_user()
    big, lonely, group = user.upper(), f"Lonely-{user}", f"group-{user}"
    for name in (big, lonely):
        light.api_request("POST", f"users/{name}")
    wrong, refused = light.run(
        [
            light.task("hub_group", name=group, users=[big]),
            light.task("hub_group", name=group, users=[lonely]),
        ]
    ).results
    assert_failed(wrong, "conflict", f"user '{user}'", big)
    assert_failed(refused, "invalid", f"No such user: {lonely.lower()}")
    assert read(light, group) is None


def test_a_hub_whose_authenticator_manages_groups(door: str, pool: HubPool) -> None:
    """Up to JupyterHub 5.2 it refuses to change groups. It still shows them, and sets their properties."""
    runner = Runner(door, pool.get("4.1", config="c.Authenticator.manage_groups = True"))
    result = runner("hub_group", name="staff", users=[runner.new_user()])
    failure = assert_failed(result, "invalid", "Group management via API is disabled", "authenticator")
    assert (failure["status"], failure["method"]) == (400, "POST")


@pytest.mark.parametrize("version", ["4.1", "6.1"])
def test_a_big_group(pool: HubPool, version: str) -> None:
    """It takes several requests."""
    runner = Runner("program", pool.get(version))
    crowd = [f"crowd{number}" for number in range(520)]
    assert runner.api_request("POST", "users", {"usernames": crowd}).status_code in (201, 409)
    group = f"crowd-of-{runner.new_user_name()}"
    filled, again, halved, nobody = runner.run(
        [
            runner.task("hub_group", name=group, users=crowd),
            runner.task("hub_group", name=group, users=crowd),
            runner.task("hub_group", name=group, users=crowd[::2]),
            runner.task("hub_group", name=group, users=[*crowd, "nobody"]),
        ]
    ).results
    assert filled["group"]["users"] == sorted(crowd), filled.get("msg")
    assert again["changed"] is False
    assert halved["group"]["users"] == sorted(crowd[::2])
    assert_failed(nobody, "not_found", "user 'nobody'")
    model = read(runner, group)
    assert model is not None
    assert model["users"] == sorted(crowd[::2])
    runner.delete_users(crowd)


def test_a_write_that_the_hub_refuses(light: Runner, read_only_hub: MisbehavingHub) -> None:
    result = light.with_url(read_only_hub.url)("hub_group", name="never-created")
    failure = assert_failed(result, "hub_error", "this hub refuses every write")
    assert (failure["status"], failure["method"]) == (500, "POST")
    assert read_only_hub.writes == ["POST /jhub/hub/api/groups/never-created"]  # not repeated
    assert (result["changed"], result["group"]["state"]) == (False, None)
