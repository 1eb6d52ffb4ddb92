# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of users and servers with special characters: each reaches its own user or server, and no other one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from support.fakes import misbehaving_hub as fakes
from support.hubs import Hub, HubPool
from support.runner import Runner, assert_failed

NAMES = ("a b", "x@y.org", "a+b", "100%", "%41", "zoë", "日本", "Ann", "q?r", "q#r", "~t;u")
ALL_CHARACTERS = "Zoë a+b%41@日本.org"


@pytest.fixture(params=["hub_61", "hub_55", "hub_41"])
def runner(request: pytest.FixtureRequest) -> Runner:
    """Each version of JupyterHub. The door does not affect what happens to a name."""
    return Runner("program", request.getfixturevalue(request.param))


def start_check_and_stop(runner: Runner, *wishes: dict[str, str]) -> list[dict[str, Any]]:
    """Start these servers, check that each answers at the address of its result, and stop them."""
    first = runner.run([runner.task("hub_server", **wish) for wish in wishes]).results
    again = runner.run([runner.task("hub_server", **wish) for wish in wishes]).results
    for wish, result, second in zip(wishes, first, again, strict=True):
        user, name = wish["user"], wish.get("server_name", "")
        assert not result["failed"], result["msg"]
        (item,) = result["servers"]
        assert (item["user"], item["server_name"], item["state"]) == (user, name, "ready")
        path = "".join(f"{quote(part, safe='@~')}/" for part in (user, name) if part)
        assert item["url"] == f"{runner.hub.url}user/{path}"
        who = requests.get(item["url"], timeout=60).json()
        assert (who["user"], who["server_name"]) == (user, name)
        assert (second["changed"], second["servers"][0]["url"]) == (False, item["url"])
    stopped = runner.run([runner.task("hub_server", state="stopped", **wish) for wish in wishes]).results
    assert [result["changed"] for result in stopped] == [True] * len(wishes)
    return first


def test_users(runner: Runner) -> None:
    made = runner.run([runner.task("hub_user", user=name) for name in NAMES]).results
    assert [(result["changed"], result["user"]["name"]) for result in made] == [(True, name) for name in NAMES]
    start_check_and_stop(runner, *({"user": name} for name in NAMES))
    assert set(NAMES) <= {user["name"] for user in runner("hub_info", gather=["users"])["users"]}
    removed = runner.run([runner.task("hub_user", user=name, state="absent") for name in NAMES]).results
    assert [result["changed"] for result in removed] == [True] * len(NAMES)


def test_progress(any_version: Runner) -> None:
    runner, user = any_version, ALL_CHARACTERS + any_version.new_user_name()
    _made, result = runner.run(
        [
            runner.task("hub_user", user=user),
            runner.task("hub_server", user=user, user_options={"start_seconds": 1, "start_told": 1}),
        ]
    ).results
    messages = [event["message"] for event in result["servers"][0]["events"]]
    assert sum(message.startswith("Step ") for message in messages) == 2
    assert messages[-1] == f"Server ready at {urlsplit(runner.hub.url).path}user/{quote(user, safe='@')}/"


@pytest.mark.parametrize("hub", ["hub_55", "hub_41"])
def test_named_servers_before_jupyterhub_6(hub: str, request: pytest.FixtureRequest) -> None:
    runner = Runner("program", request.getfixturevalue(hub))
    user = runner.new_user()
    start_check_and_stop(runner, *({"user": user, "server_name": name} for name in (*NAMES, ALL_CHARACTERS)))
    # Several in one call, with a user whose name is also special.
    assert runner("hub_user", user=ALL_CHARACTERS)["changed"] is True
    start_check_and_stop(
        runner, *({"user": ALL_CHARACTERS, "server_name": name} for name in (" ", "%", "default server"))
    )
    assert runner.servers(user) == {}


def test_named_servers_since_jupyterhub_6(light: Runner) -> None:
    user, refused = light.new_user(), ["a b", "x@y.org", "zoë", "Lab", "a--b", "a" * 31]
    *results, fine = light.run(
        [light.task("hub_server", user=user, server_name=name) for name in (*refused, "a-1")]
    ).results
    for name, result in zip(refused, results, strict=True):
        failure = assert_failed(result, "invalid", f"server '{name}' of user '{user}'", "Invalid server_name")
        assert (failure["status"], result["changed"]) == (400, False)
        assert result["servers"][0]["state"] == "failed"
    assert fine["servers"][0]["state"] == "ready"
    assert set(light.servers(user)) == {"a-1"}


def test_case_matters(runner: Runner) -> None:
    """At login a hub changes names to lower case, but its API does not."""
    small, capital = "upper", "Upper"
    runner.api_request("POST", f"users/{small}")
    assert_failed(runner("hub_server", user=capital), "not_found", f"'{capital}'")
    assert runner("hub_user", user=capital)["user"]["name"] == capital
    both = runner.run(
        [runner.task("hub_server", user=capital), runner.task("hub_server", user=small, state="stopped")]
    ).results
    assert [result["changed"] for result in both] == [True, False]
    assert (set(runner.servers(capital)), runner.servers(small)) == ({""}, {})


def test_a_name_that_begins_like_another_name(runner: Runner) -> None:
    user = runner.new_user()
    runner.api_request("POST", f"users/{user}/server")
    others = [user + ending for ending in ("?r", "#r", "%2Fserver", ";r", "\\server", "%00", "%")]
    stop = [runner.task("hub_server", user=name, state="stopped") for name in others]
    make = [runner.task("hub_user", user=name) for name in others]
    delete = [runner.task("hub_user", user=name, state="absent") for name in others]
    results = runner.run([*stop, *make, *stop, *delete]).results
    for result in results[: len(others)]:
        assert_failed(result, "not_found")
    changed = [result["changed"] for result in results]
    assert changed == [each for each in (False, True, False, True) for _name in others]
    assert runner.servers(user)[""]["ready"] is True


PATHS = ["/", "alice/", "/alice", "alice/server", "alice/servers/lab", "x/../alice", "../users/alice", "..", ".", ""]


def test_a_name_that_is_a_path_is_never_sent(hub_61: Hub) -> None:
    """A hub has no such names. Quoted they are harmless, but many proxies in front of hubs unquote paths."""
    with fakes.misbehaving_hub(fakes.with_version(lambda request: fakes.Answer({"servers": {}}))) as hub:
        there = Runner("program", hub_61, url=hub.url)
        tasks = [
            there.task(module, user=way, **options)
            for way in PATHS
            for module, options in (
                ("hub_server", {}),
                ("hub_server", {"state": "stopped"}),
                ("hub_user", {"state": "absent"}),
                ("hub_exec", {"code": "1"}),
            )
        ]
        tasks += [
            there.task("hub_server", user="bob", server_name=way, state=state)
            for way in PATHS
            if way
            for state in ("started", "stopped")
        ]
        tasks += [there.task("hub_group", name="staff", users=[way]) for way in PATHS]
        for result, task in zip(there.run(tasks).results, tasks, strict=True):
            assert_failed(result, "invalid", "not a valid name on a hub")
            assert result["changed"] is False, task
        assert [request.path for request in hub.requests if "users" in request.path] == []


def test_least_scopes(runner: Runner) -> None:
    start = "start:servers" if runner.hub.version.startswith("6") else "servers"
    for name in (f"{ALL_CHARACTERS}?", "a=b!user=c"):
        runner("hub_user", user=name)
        owned = runner.mint(quote(name), "read:servers!user", f"{start}!user", "delete:servers!user")
        blind = runner.mint(quote(name), "read:servers!user", "read:users:name!user")
        refused, ready, stopped = runner.run(
            [
                runner.with_token(blind).task("hub_server", user=name),
                runner.with_token(owned).task("hub_server", user=name),
                runner.with_token(owned).task("hub_server", user=name, state="stopped"),
            ]
        ).results
        assert_failed(refused, "missing_scope", f"'{start}'")
        assert (ready["servers"][0]["state"], stopped["servers"][0]["state"]) == ("ready", "stopped")


# Real servers, with kernels

WHOSE_SERVER = "import os; os.environ['JUPYTERHUB_USER'] + '/' + os.environ['JUPYTERHUB_SERVER_NAME']"


@pytest.fixture(scope="module")
def real_55(pool: HubPool) -> Hub:
    return pool.get("5.5", spawner="server")


@pytest.mark.parametrize(("hub", "server"), [("real_hub", "lab"), ("real_55", "My lab: 100%+ö")])
def test_code_in_such_a_server(hub: str, server: str, request: pytest.FixtureRequest) -> None:
    runner = Runner("program", request.getfixturevalue(hub))
    wish = {"user": ALL_CHARACTERS, "server_name": server}
    _made, ready, ran, stopped = runner.run(
        [
            runner.task("hub_user", user=ALL_CHARACTERS),
            runner.task("hub_server", **wish),
            runner.task("hub_exec", code=WHOSE_SERVER, **wish),
            runner.task("hub_server", state="stopped", **wish),
        ]
    ).results
    assert ready["servers"][0]["url"] == f"{runner.hub.url}user/{quote(ALL_CHARACTERS, safe='@')}/{quote(server)}/"
    assert ran["result"] == repr(f"{ALL_CHARACTERS}/{server}")
    assert stopped["servers"][0]["state"] == "stopped"
