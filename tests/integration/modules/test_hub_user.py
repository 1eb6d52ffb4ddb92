# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.fakes.misbehaving_hub import MisbehavingHub
from support.hubs import Hub, HubPool
from support.runner import Runner, assert_failed


def verbs(result: dict[str, Any]) -> list[str]:
    return [action["verb"] for action in result["actions"]]


def test_create_twice(light: Runner) -> None:
    # With upper case, since one of the hub's two ways to create a user changes it to lower case.
    user = f"Created-by-{light.door}"
    first, second = light.run([light.task("hub_user", user=user)] * 2).results
    assert first["changed"] is True
    assert verbs(first) == ["create"]
    assert first["diff"]["before"] == {"name": user, "state": "absent", "admin": None, "groups": None}
    assert first["diff"]["after"] == {"name": user, "state": "present", "admin": False, "groups": []}
    model = light.api_request("GET", f"users/{user}").json()
    assert first["user"] == {
        "name": user,
        "state": "present",
        **{key: model[key] for key in ("admin", "groups", "created", "last_activity")},
    }
    assert (second["changed"], second["actions"], second["user"]) == (False, [], first["user"])
    assert second["diff"]["before"] == second["diff"]["after"]


@pytest.mark.doors
def test_admin(light: Runner) -> None:
    user = light.new_user()
    promoted, again, omitted, demoted, born = light.run(
        [
            light.task("hub_user", user=user, admin=True),
            light.task("hub_user", user=user, admin=True),
            light.task("hub_user", user=user),
            light.task("hub_user", user=user, admin=False),
            light.task("hub_user", user=f"admin-of-{user}", admin=True),
        ]
    ).results
    assert (verbs(promoted), promoted["user"]["admin"]) == (["change"], True)
    assert again["changed"] is False
    # Without the option the user stays as it is.
    assert (omitted["changed"], omitted["user"]["admin"]) == (False, True)
    assert (demoted["changed"], demoted["user"]["admin"]) == (True, False)
    assert (verbs(born), born["user"]["admin"]) == (["create"], True)
    assert light.api_request("GET", f"users/{user}").json()["admin"] is False
    assert light.api_request("GET", f"users/admin-of-{user}").json()["admin"] is True


def test_absent_with_running_servers(any_version: Runner) -> None:
    # A hub half-deletes a user whose named server runs: the authenticator loses the user, who cannot come back.
    user = any_version.new_user()
    for path in ("server", "servers/lab"):
        assert any_version.api_request("POST", f"users/{user}/{path}").status_code in (201, 202)
    removed, again, back, usable = any_version.run(
        [
            any_version.task("hub_user", user=user, state="absent"),
            any_version.task("hub_user", user=user, state="absent"),
            any_version.task("hub_user", user=user),
            any_version.task("hub_server", user=user),
        ]
    ).results
    assert verbs(removed) == ["stop", "stop", "delete"]
    assert (removed["changed"], removed["user"]["state"]) == (True, "absent")
    assert (again["changed"], again["actions"]) == (False, [])
    assert verbs(back) == ["create"]
    assert usable["servers"][0]["state"] == "ready"
    assert set(any_version.servers(user)) == {""}


def test_absent_while_a_server_starts_and_another_is_slow_to_stop(light: Runner) -> None:
    user = light.new_user()
    assert light.api_request("POST", f"users/{user}/server", {"user_options": {"never": True}}).status_code == 202
    light.api_request("POST", f"users/{user}/servers/lab", {"user_options": {"stop_seconds": 1.2}})
    assert light("hub_user", user=user, state="absent")["changed"] is True
    assert light.api_request("GET", f"users/{user}").status_code == 404


def test_absent_with_a_server_that_does_not_stop_in_time(light: Runner, tmp_path: Path) -> None:
    user, gate = light.new_user(), tmp_path / "gate"
    light.api_request("POST", f"users/{user}/server", {"user_options": {"stop_gate": str(gate)}})
    try:
        result = light("hub_user", user=user, state="absent", wait_timeout=2)
        assert_failed(result, "timeout", user, "wait_timeout")
        assert light.api_request("GET", f"users/{user}").status_code == 200
    finally:
        gate.touch()


@pytest.mark.doors
def test_check_mode_predicts_and_writes_nothing(light: Runner, read_only_hub: MisbehavingHub) -> None:
    user, other, busy = light.new_user(), light.new_user(), light.new_user()
    light.api_request("POST", f"users/{busy}/servers/lab")
    wishes = [{"user": f"new-{user}"}, {"user": user, "admin": True}, {"user": busy, "state": "absent"}]
    wishes += [{"user": other}, {"user": "nobody-of-that-name", "state": "absent"}]
    groups = {"groups": [f"of-{user}", f"of-{other}"], "create_groups": True}
    light.api_request("POST", f"groups/of-{other}")
    wishes += [
        {"user": f"member-{user}", **groups},
        {"user": f"second-{user}", "admin": True, "groups": [f"of-{other}"]},
    ]
    read_only = light.with_url(read_only_hub.url)
    checks = [read_only.task("hub_user", {"check_mode": True}, **wish) for wish in wishes]
    predicted = light.run(checks).results
    assert read_only_hub.writes == []
    assert len(read_only_hub.requests) >= len(wishes)

    done = light.run([light.task("hub_user", **wish) for wish in wishes]).results
    for before, after in zip(predicted, done, strict=True):
        assert not before["failed"], before["msg"]
        for key in ("changed", "actions", "diff"):
            assert before[key] == after[key]
        for key in ("name", "state", "admin", "groups"):
            assert before["user"][key] == after["user"][key]
    assert [result["changed"] for result in done] == [True, True, True, False, False, True, True]


def test_a_write_that_the_hub_refuses(light: Runner, read_only_hub: MisbehavingHub) -> None:
    result = light.with_url(read_only_hub.url)("hub_user", user="never-created")
    failure = assert_failed(result, "hub_error", "this hub refuses every write")
    assert (failure["status"], failure["method"]) == (500, "POST")
    assert read_only_hub.writes == ["POST /jhub/hub/api/users/never-created"]  # not repeated, which would not be safe


@pytest.mark.doors
def test_scopes(light: Runner) -> None:
    admin, other = light.new_user(admin=True), light.new_user()
    reader = light.with_token(light.mint(admin, "read:users", "read:servers"))
    creator = light.with_token(light.mint(light.new_user(), "read:users:name!user"))
    create, delete, blind = light.run(
        [
            reader.task("hub_user", user=f"new-{other}"),
            reader.task("hub_user", user=other, state="absent"),
            creator.task("hub_user", user=f"new-{other}"),
        ]
    ).results
    assert_failed(create, "missing_scope", "admin:users")
    assert_failed(delete, "missing_scope", "delete:users")
    assert blind["failed"] is True
    assert light.api_request("GET", f"users/{other}").status_code == 200
    assert light.api_request("GET", f"users/new-{other}").status_code == 404


@pytest.mark.doors
def test_scopes_that_cover_another_user_only(light: Runner) -> None:
    """The hub answers 404 to such a request, as for a user that it does not have."""
    admin, mine, other = light.new_user(admin=True), light.new_user(), light.new_user()
    covering = [f"{scope}!user={mine}" for scope in ("delete:users", "admin:users")]
    partial = light.with_token(light.mint(admin, "read:users", "list:users", "read:servers", *covering))
    delete, change = partial.run(
        [
            partial.task("hub_user", user=other, state="absent"),
            partial.task("hub_user", user=other, admin=True),
        ]
    ).results
    assert_failed(
        delete, "missing_scope", f"'delete:users' does not cover user '{other}'", f"delete:users!user={other}"
    )
    assert_failed(change, "missing_scope", f"'admin:users' does not cover user '{other}'")
    assert light.api_request("GET", f"users/{other}").json()["admin"] is False


# Groups


def members(runner: Runner, group: str) -> list[str] | None:
    """The members of the group, or None if it does not exist."""
    answer = runner.api_request("GET", f"groups/{quote(group, safe='')}")
    return answer.json()["users"] if answer.ok else None


def test_groups(any_version: Runner) -> None:
    user = any_version.new_user()
    there, new, kept = f"there-{user}", f"new-{user}", f"kept-{user}"
    for group in (there, kept):
        any_version.api_request("POST", f"groups/{group}")
    any_version.api_request("POST", f"groups/{kept}/users", {"users": [user]})
    options = {"user": user, "groups": [there, new, there], "create_groups": True}
    unknown, group_results, again, omitted, emptied = any_version.run(
        [
            any_version.task("hub_user", user=user, groups=[there, new]),
            any_version.task("hub_user", **options),
            any_version.task("hub_user", **options),
            any_version.task("hub_user", user=user),
            any_version.task("hub_user", user=user, groups=[]),
        ]
    ).results
    assert_failed(unknown, "not_found", new, "create_groups")
    assert [(action["verb"], action["object"]) for action in group_results["actions"]] == [
        ("create", f"group '{new}'"),
        ("join", f"group '{there}'"),
        ("join", f"group '{new}'"),
    ]
    groups = sorted([there, new, kept])
    assert group_results["user"]["groups"] == group_results["diff"]["after"]["groups"] == groups
    assert group_results["diff"]["before"]["groups"] == [kept]
    assert members(any_version, there) == members(any_version, new) == members(any_version, kept) == [user]
    # Memberships that the task does not name stay.
    for result in (again, omitted, emptied):
        assert (result["changed"], result["actions"], result["user"]["groups"]) == (False, [], groups)


def test_a_new_user_in_a_new_group(any_version: Runner) -> None:
    user = any_version.new_user_name()
    options = {"user": user, "groups": [f"group-of-{user}"], "create_groups": True}
    first, second = any_version.run([any_version.task("hub_user", **options)] * 2).results
    assert verbs(first) == ["create", "create", "join"]
    assert first["user"]["groups"] == [f"group-of-{user}"]
    assert (second["changed"], second["user"]) == (False, first["user"])


GROUPS = [
    "with space",
    "ünïcödé 😀",
    "a/b",
    "a%2Fb",
    "a?b#c",
    "Capital",
    "...",
    "+&=;,",
    "back\\slash",
    "'\"",
    " edge ",
]
Twice = tuple[str, str, dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def group_results(door: str, hub_61: Hub) -> dict[str, Twice]:
    """For each name, a user who is added twice to the group of that name, the group, and both results."""
    runner = Runner(door, hub_61)
    pairs = [(runner.new_user(), f"{name}{door if name != '...' else ''}") for name in GROUPS]
    tasks = [runner.task("hub_user", user=user, groups=[group], create_groups=True) for user, group in pairs]
    results = runner.run([task for task in tasks for _time in range(2)]).results
    return {
        name: (*pair, *twice)
        for name, pair, twice in zip(GROUPS, pairs, zip(results[::2], results[1::2], strict=True), strict=True)
    }


@pytest.mark.parametrize("name", GROUPS)
def test_names_of_groups(light: Runner, group_results: dict[str, Twice], name: str) -> None:
    user, group, first, second = group_results[name]
    assert first["user"]["groups"] == [group], first.get("msg")
    assert light.api_request("GET", f"users/{user}").json()["groups"] == [group]
    assert second["changed"] is False


@pytest.mark.doors
def test_names_that_no_group_has(light: Runner) -> None:
    user = light.new_user()
    names = ["", ".", ".."]
    tasks = [
        light.task("hub_user", user=f"new-{user}", groups=[f"good-{user}", name], create_groups=True) for name in names
    ]
    for result, name in zip(light.run(tasks).results, names, strict=True):
        assert_failed(result, "invalid", f"'{name}' is not a valid name")
    # Nothing is half done either.
    assert light.api_request("GET", f"users/new-{user}").status_code == 404
    assert members(light, f"good-{user}") is None


@pytest.mark.doors
def test_scopes_for_groups(light: Runner) -> None:
    admin, user = light.new_user(admin=True), light.new_user()
    group, other, new = f"group-{user}", f"other-{user}", f"new-{user}"
    for each in (group, other):
        light.api_request("POST", f"groups/{each}")

    def with_token(*scopes: str) -> Runner:
        return light.with_token(light.mint(admin, "read:users", "admin:users", *scopes))

    none, names, joins, filtered = (
        with_token(*scopes)
        for scopes in ([], ["read:groups:name"], ["groups"], [f"groups!group={group}"])
    )  # fmt: skip
    blind = light.with_token(light.mint(admin, "read:users:name", "groups"))
    without = light.with_token(light.mint(user, "read:users:name!user"))
    fresh = {"user": f"new-{user}", "create_groups": True}
    tasks = [
        none.task("hub_user", **fresh, groups=[group]),
        names.task("hub_user", **fresh, groups=[group]),
        joins.task("hub_user", **fresh, groups=[group, new]),
        filtered.task("hub_user", **fresh, groups=[group, other]),
        blind.task("hub_user", user=user, groups=[group]),
        without.task("hub_user", user=user, groups=[group]),
    ]
    checks = [{**task, "check_mode": True} for task in tasks]
    results = light.run([*tasks, *checks]).results
    says = ["read:groups:name", "'groups'", "'admin:groups'", f"group '{other}'", "read:users", "read:groups:name"]
    for result, words in zip(results, says * 2, strict=True):
        assert_failed(result, "missing_scope", words)
    # Nothing is half done: the user is not created without the groups.
    assert light.api_request("GET", f"users/new-{user}").status_code == 404
    assert (members(light, group), members(light, new)) == ([], None)
    # A scope for the groups in question is enough.
    assert verbs(filtered("hub_user", user=user, groups=[group])) == ["join"]


@pytest.mark.doors
def test_a_user_with_capitals(light: Runner) -> None:
    """A hub that is asked to add `Alice` to a group adds `alice`."""
    user = light.new_user()
    big, lonely, group = user.upper(), f"Lonely-{user}", f"group-{user}"
    light.api_request("POST", f"groups/{group}")
    light.api_request("POST", f"users/{big}")
    wrong, refused = light.run(
        [
            light.task("hub_user", user=big, groups=[group]),
            light.task("hub_user", user=lonely, groups=[group]),
        ]
    ).results
    assert_failed(wrong, "conflict", f"user '{user}'", big)
    assert_failed(refused, "invalid", f"No such user: {lonely.lower()}")
    assert members(light, group) == []


def test_a_hub_whose_authenticator_manages_groups(door: str, pool: HubPool) -> None:
    """Up to JupyterHub 5.2 it refuses to change groups."""
    runner = Runner(door, pool.get("4.1", config="c.Authenticator.manage_groups = True"))
    failure = assert_failed(
        runner("hub_user", user=runner.new_user(), groups=["staff"], create_groups=True),
        "invalid", "Group management via API is disabled", "authenticator",
    )  # fmt: skip
    assert (failure["status"], failure["method"]) == (400, "POST")
