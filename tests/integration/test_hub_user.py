# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from doors import At, failed
from misbehaving_hub import Misbehaving


def verbs(result: dict[str, Any]) -> list[str]:
    return [action["verb"] for action in result["actions"]]


def test_create_and_again(light: At) -> None:
    # Upper case on purpose: one of the hub's two ways to create a user changes it to lower case.
    user = f"Created-by-{light.door}"
    first, second = light.run([light.task("hub_user", user=user)] * 2).results
    assert first["changed"] is True
    assert verbs(first) == ["create"]
    assert first["diff"]["before"] == {"name": user, "state": "absent", "admin": None}
    assert first["diff"]["after"] == {"name": user, "state": "present", "admin": False}
    model = light.api("GET", f"users/{user}").json()
    assert first["user"] == {
        "name": user,
        "state": "present",
        **{key: model[key] for key in ("admin", "groups", "created", "last_activity")},
    }
    assert (second["changed"], second["actions"], second["user"]) == (False, [], first["user"])
    assert second["diff"]["before"] == second["diff"]["after"]


@pytest.mark.doors
def test_admin(light: At) -> None:
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
    # Left out, it stays as it is.
    assert (omitted["changed"], omitted["user"]["admin"]) == (False, True)
    assert (demoted["changed"], demoted["user"]["admin"]) == (True, False)
    assert (verbs(born), born["user"]["admin"]) == (["create"], True)
    assert light.api("GET", f"users/{user}").json()["admin"] is False
    assert light.api("GET", f"users/admin-of-{user}").json()["admin"] is True


def test_absent_with_running_servers(any_version: At) -> None:
    # A hub half-deletes a user whose named server runs: it is gone from the authenticator, and cannot come back.
    user = any_version.new_user()
    for path in ("server", "servers/lab"):
        assert any_version.api("POST", f"users/{user}/{path}").status_code in (201, 202)
    gone, again, back, usable = any_version.run(
        [
            any_version.task("hub_user", user=user, state="absent"),
            any_version.task("hub_user", user=user, state="absent"),
            any_version.task("hub_user", user=user),
            any_version.task("hub_server", user=user),
        ]
    ).results
    assert verbs(gone) == ["stop", "stop", "delete"]
    assert (gone["changed"], gone["user"]["state"]) == (True, "absent")
    assert (again["changed"], again["actions"]) == (False, [])
    assert verbs(back) == ["create"]
    assert usable["servers"][0]["state"] == "ready"
    assert set(any_version.servers(user)) == {""}


def test_absent_while_a_server_starts_and_another_is_slow_to_stop(light: At) -> None:
    user = light.new_user()
    assert light.api("POST", f"users/{user}/server", {"user_options": {"never": True}}).status_code == 202
    light.api("POST", f"users/{user}/servers/lab", {"user_options": {"stop_seconds": 2}})
    assert light("hub_user", user=user, state="absent")["changed"] is True
    assert light.api("GET", f"users/{user}").status_code == 404


def test_absent_of_a_user_whose_server_does_not_stop_in_time(light: At) -> None:
    user = light.new_user()
    light.api("POST", f"users/{user}/server", {"user_options": {"stop_seconds": 20}})
    result = light("hub_user", user=user, state="absent", wait_timeout=2)
    failed(result, "timeout", user, "wait_timeout")
    assert light.api("GET", f"users/{user}").status_code == 200


@pytest.mark.doors
def test_check_mode_predicts_and_writes_nothing(light: At, glass: Misbehaving) -> None:
    user, other, busy = light.new_user(), light.new_user(), light.new_user()
    light.api("POST", f"users/{busy}/servers/lab")
    wishes = [{"user": f"new-{user}"}, {"user": user, "admin": True}, {"user": busy, "state": "absent"}]
    wishes += [{"user": other}, {"user": "nobody-of-that-name", "state": "absent"}]
    through_glass = light.through(glass.url)
    checks = [through_glass.task("hub_user", {"check_mode": True}, **wish) for wish in wishes]
    foretold = light.run(checks).results
    assert glass.writes == []
    assert len(glass.asked) >= len(wishes)

    done = light.run([light.task("hub_user", **wish) for wish in wishes]).results
    for before, after in zip(foretold, done, strict=True):
        assert not before["failed"], before["msg"]
        for key in ("changed", "actions", "diff"):
            assert before[key] == after[key]
        for key in ("name", "state", "admin"):
            assert before["user"][key] == after["user"][key]
    assert [result["changed"] for result in done] == [True, True, True, False, False]


def test_a_write_that_the_hub_refuses(light: At, glass: Misbehaving) -> None:
    result = light.through(glass.url)("hub_user", user="never-created")
    failure = failed(result, "hub_error", "this hub refuses every write")
    assert (failure["status"], failure["method"]) == (500, "POST")
    assert glass.writes == ["POST /jhub/hub/api/users/never-created"]  # not repeated: it is not safe to


@pytest.mark.doors
def test_scopes(light: At) -> None:
    admin, other = light.new_user(admin=True), light.new_user()
    reader = light.holding(light.mint(admin, "read:users", "read:servers"))
    creator = light.holding(light.mint(light.new_user(), "read:users:name!user"))
    create, delete, blind = light.run(
        [
            reader.task("hub_user", user=f"new-{other}"),
            reader.task("hub_user", user=other, state="absent"),
            creator.task("hub_user", user=f"new-{other}"),
        ]
    ).results
    failed(create, "missing_scope", "admin:users")
    failed(delete, "missing_scope", "delete:users")
    assert blind["failed"] is True
    assert light.api("GET", f"users/{other}").status_code == 200
    assert light.api("GET", f"users/new-{other}").status_code == 404
