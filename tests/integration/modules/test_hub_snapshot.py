# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hub_snapshot and hub_compare on real hubs: what is in a snapshot, and losses that are made on purpose."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.hubs import REPOSITORY, Hub, HubPool, running_hub
from support.runner import DOORS, Runner, assert_failed

SCHEMA = json.loads((REPOSITORY / "docs/snapshot.schema.json").read_text())
Seen = list[tuple[str, str, str, str]]


def populate(runner: Runner) -> dict[str, str]:
    """Create what a test compares, with names of its own. Returns the names, and the secret of a token."""
    user, other = runner.new_user(), runner.new_user(admin=True)
    group = f"group-of-{user}"
    assert runner.api_request("POST", f"groups/{group}", {"users": [user, other]}).status_code == 201
    assert runner.api_request("PUT", f"groups/{group}/properties", {"quota": 10, "shared": True}).ok
    secret = runner.mint(user, "read:users:name!user", note="nightly")
    runner.mint(user, "servers!user" if not is_6(runner) else "start:servers!user", note="for a day", expires_in=86400)
    start(runner, user, "lab", colour="red", size=2)
    start(runner, user, "gpu", colour="blue")
    start(runner, other, "")
    assert runner.api_request("DELETE", f"users/{user}/servers/gpu").ok
    return {"user": user, "other": other, "group": group, "secret": secret}


def is_6(runner: Runner) -> bool:
    return runner.hub.version.startswith("6")


def start(runner: Runner, user: str, name: str, **options: Any) -> None:
    result = runner("hub_server", user=user, server_name=name, user_options=options)
    assert not result["failed"], result["msg"]


def stop(runner: Runner, user: str, name: str) -> None:
    result = runner("hub_server", user=user, server_name=name, state="stopped")
    assert not result["failed"], result["msg"]


def differences(result: dict[str, Any], *names: str) -> Seen:
    """The differences of things that belong to a test, as severity, kind, name and field."""
    assert not result["failed"], result
    found = result["differences"]
    return [
        (each["severity"], each["kind"], each["name"], each["field"])
        for each in found
        if any(name in each["name"] for name in names)
    ]


def take(runner: Runner, path: Path, **more: Any) -> dict[str, Any]:
    result = runner("hub_snapshot", path=str(path), **more)
    assert not result["failed"], result
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


def test_a_snapshot_has_everything_and_no_secret(any_version: Runner, tmp_path: Path) -> None:
    names = populate(any_version)
    user, other, group = names["user"], names["other"], names["group"]
    path = tmp_path / "snapshots" / "one.json"
    result = any_version("hub_snapshot", path=str(path))
    assert (result["changed"], result["path"], result["unreadable"]) == (True, str(path), [])
    text = path.read_text()
    found = json.loads(text)
    assert list(Draft202012Validator(SCHEMA).iter_errors(found)) == []
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]

    assert found["hub"]["version"] == any_version.hub.version
    assert found["hub"]["spawner"]["class"] == "light_spawner.LightSpawner"
    assert (found["reader"]["kind"], found["reader"]["name"]) == ("service", "admin")
    assert (found["users"][user]["groups"], found["users"][user]["admin"]) == ([group], False)
    assert (found["users"][other]["roles"], found["users"][other]["admin"]) == (["admin", "user"], True)
    assert found["groups"][group] == {
        "users": sorted([user, other]), "properties": {"quota": 10, "shared": True}, "roles": [],
    }  # fmt: skip
    assert found["services"]["admin"]["admin"] is True
    servers = found["servers"][user]
    assert {name: (each["ready"], each["user_options"]) for name, each in servers.items()} == {
        "gpu": (False, {"colour": "blue"}),
        "lab": (True, {"colour": "red", "size": 2}),
    }
    tokens = {each["note"]: each for each in found["tokens"] if each["user"] == user}
    assert {each["issued_for"] for note, each in tokens.items() if note.startswith("Server at")} == {"server"}
    assert (tokens["nightly"]["issued_for"], tokens["nightly"]["expires_at"]) == ("", None)
    assert tokens["for a day"]["expires_at"]
    assert f"read:users:name!user={user}" in tokens["nightly"]["scopes"]
    assert result["counts"]["users"] == len(found["users"])
    assert result["counts"]["tokens"] == len(found["tokens"])
    for secret in (names["secret"], any_version.hub.admin_token, '"auth_state"', '"state"', '"command"'):
        assert secret not in text

    # Nothing has happened since.
    compared = any_version("hub_compare", before=str(path))
    assert (compared["changed"], compared["not_compared"]) == (False, [])
    assert differences(compared, user, other, group) == []  # other tests may have changed the database of the hub
    assert {f"{user}/lab", other} <= set(compared["servers"]["survived"])


@pytest.mark.parametrize("version", ["4.1", "5.5", "6.1"])
def test_losses_made_on_purpose_are_found(pool: HubPool, version: str, tmp_path: Path) -> None:
    runner = Runner("program", pool.get(version))
    names = populate(runner)
    user, other, group = names["user"], names["other"], names["group"]
    departed = runner.new_user()
    runner.mint(departed, note="goes with its owner")
    has_services = not runner.hub.version.startswith("4")
    if has_services:
        body = {"url": "http://127.0.0.1:9"}
        assert runner.api_request("POST", f"services/news-{user}", body).status_code == 201
    before = take(runner, tmp_path / "before.json")

    [token] = [each for each in runner.tokens(user) if each["note"] == "nightly"]
    lose = {
        "a user": lambda: runner.api_request("DELETE", f"users/{departed}"),
        "a token": lambda: runner.api_request("DELETE", f"users/{user}/tokens/{token['id']}"),
        "a member": lambda: runner.api_request("DELETE", f"groups/{group}/users", {"users": [other]}),
        "a property": lambda: runner.api_request("PUT", f"groups/{group}/properties", {"quota": 20}),
        "an admin": lambda: runner.api_request("PATCH", f"users/{other}", {"admin": False}),
        "a server": lambda: runner.api_request("DELETE", f"users/{user}/servers/gpu", {"remove": True}),
        "a server that runs": lambda: runner.api_request("DELETE", f"users/{other}/server"),
    }
    assert {what: change().ok for what, change in lose.items()} == dict.fromkeys(lose, True)
    stop(runner, user, "lab")
    start(runner, user, "lab", colour="green")
    if has_services:
        assert runner.api_request("DELETE", f"services/news-{user}").ok

    expected = [
        ("lost", "admin", other, "admin"),
        ("lost", "membership", other, group),
        ("lost", "option", f"{user}/lab", "size"),
        ("lost", "property", group, "shared"),
        ("lost", "server", f"{user}/gpu", ""),
        ("lost", "server", other, "running"),
        *[("lost", "service", f"news-{user}", "")] * has_services,
        ("lost", "token", f"{user}/{token['id']}", ""),
        ("lost", "user", departed, ""),
        ("changed", "option", f"{user}/lab", "colour"),
        ("changed", "property", group, "quota"),
        ("changed", "server", f"{user}/lab", "started"),
    ]
    compared = runner("hub_compare", before=str(tmp_path / "before.json"))
    assert sorted(differences(compared, user, other, group, departed)) == sorted(expected)
    assert compared["servers"] == {**compared["servers"], "restarted": [f"{user}/lab"], "stopped": [other]}
    assert compared["counts"]["lost"] == sum(severity == "lost" for severity, *_what in expected)
    assert f"lost: User '{departed}' is gone." in compared["summary"]

    # A group covers its members and properties. In the other direction, all of it is new.
    assert runner.api_request("DELETE", f"groups/{group}").ok
    after = take(runner, tmp_path / "after.json")
    offline = runner.with_url("http://127.0.0.1:9/")
    pair = {"before": str(tmp_path / "before.json"), "after": str(tmp_path / "after.json")}
    lost = differences(offline("hub_compare", **pair), group)
    assert lost == [("lost", "group", group, "")]
    new = offline("hub_compare", before=pair["after"], after=pair["before"])
    assert ("new", "user", departed, "") in differences(new, departed)
    assert differences(new, group) == [("new", "group", group, "")]
    assert before["users"].keys() - after["users"].keys() == {departed}


@pytest.mark.doors
def test_a_token_that_may_read_less(light: Runner, tmp_path: Path) -> None:
    admin, user = light.new_user(admin=True), light.new_user()
    weak = light.with_token(light.mint(admin, "list:users", "read:users:name"))
    full, less = light.run([
        light.task("hub_snapshot", path=str(tmp_path / "full.json")),
        weak.task("hub_snapshot", path=str(tmp_path / "less.json")),
    ]).results  # fmt: skip
    assert full["unreadable"] == []
    named = {each["name"] for each in less["unreadable"]}
    assert {"groups", "hub", "routes", "servers", "services", "tokens", "users.groups"} <= named
    assert (less["counts"]["users"] > 0, less["counts"]["groups"]) == (True, None)
    found = json.loads((tmp_path / "less.json").read_text())
    assert list(Draft202012Validator(SCHEMA).iter_errors(found)) == []
    assert (found["tokens"], found["users"][user]["groups"]) == (None, None)

    now_less, was_less = light.run([
        weak.task("hub_compare", before=str(tmp_path / "full.json")),
        light.task("hub_compare", before=str(tmp_path / "less.json")),
    ]).results  # fmt: skip
    lost = {each["name"] for each in now_less["differences"] if each["severity"] == "lost"}
    assert {"groups", "hub", "servers", "services", "tokens", "users.groups"} <= lost
    assert {each["kind"] for each in now_less["differences"]} == {"unreadable"}
    assert (was_less["differences"], now_less["failed"]) == ([], False)
    assert {"tokens", "users.groups"} <= {each["name"] for each in was_less["not_compared"]}


@pytest.mark.doors
def test_both_doors_do_the_same(hub_61: Hub, tmp_path: Path) -> None:
    answers = []
    for door in DOORS:
        runner, folder = Runner(door, hub_61), tmp_path / door
        checked, done, compared, missing, no_path, offline = runner.run([
            runner.task("hub_snapshot", {"check_mode": True}, path=str(folder / "one.json")),
            runner.task("hub_snapshot", path=str(folder / "one.json"), verification={"checks": [{"name": "lab"}]}),
            runner.task("hub_compare", {"check_mode": True}, before=str(folder), drained=str(folder / "none.json")),
            runner.task("hub_compare", before=str(folder / "missing.json")),
            runner.task("hub_snapshot"),
            runner.task("hub_compare", before=str(folder), after=str(folder), hub_url="", slower_share=-1),
        ]).results  # fmt: skip
        assert (checked["changed"], done["changed"], compared["changed"]) == (True, True, False)
        assert {key: checked[key] for key in ("counts", "hub", "path")} == {
            key: done[key] for key in ("counts", "hub", "path")
        }
        assert (compared["differences"], compared["before"]["path"]) == ([], str(folder / "one.json"))
        assert [each["name"] for each in compared["not_compared"]] == ["verification"]
        assert_failed(missing, "invalid", "There is no snapshot")
        assert "path" in no_path["msg"]
        assert_failed(offline, "invalid", "slower_share")
        assert json.loads((folder / "one.json").read_text())["verification"] == {"checks": [{"name": "lab"}]}
        assert os.listdir(folder) == ["one.json"]
        keys = ("actions", "counts", "before", "after", "differences", "summary", "failure", "msg", "diff")
        text = json.dumps([{key: each.get(key) for key in keys} for each in (done, compared, missing)])
        answers.append(text.replace(str(folder), "FOLDER"))
    times = [{word for word in answer.split() if '"202' in word or "2026-" in word} for answer in answers]
    for answer, those in zip(answers, times, strict=True):
        answers[answers.index(answer)] = " ".join(word for word in answer.split() if word not in those)
    assert answers[0] == answers[1]


def test_check_mode_writes_no_file(light: Runner, tmp_path: Path) -> None:
    assert light.check("hub_snapshot", path=str(tmp_path / "new" / "one.json"))["changed"] is True
    assert os.listdir(tmp_path) == []


def test_two_runs_at_once(hub_61: Hub, tmp_path: Path) -> None:
    """Two jobs of the same playbook. Both files are whole, and so is the one that both write."""
    path = tmp_path / "new" / "one.json"
    with ThreadPoolExecutor(4) as threads:
        runs = [threads.submit(Runner(door, hub_61), "hub_snapshot", path=str(path)) for door in DOORS * 2]
    assert [run.result()["failed"] for run in runs] == [False] * 4
    assert list(Draft202012Validator(SCHEMA).iter_errors(json.loads(path.read_text()))) == []
    assert os.listdir(path.parent) == ["one.json"]


@pytest.mark.doors
def test_files_that_cannot_be_written_or_read(light: Runner, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "damaged.json").write_text('{"schema": "hubops.jupyterhub/snapshot", "version": 1, "taken": ""}')
    (tmp_path / "newer.json").write_text('{"schema": "hubops.jupyterhub/snapshot", "version": 99}')
    below_file, folder, damaged, newer, empty = light.run([
        light.task("hub_snapshot", path=str(tmp_path / "file" / "one.json")),
        light.task("hub_snapshot", path=str(tmp_path)),
        light.task("hub_compare", before=str(tmp_path / "damaged.json")),
        light.task("hub_compare", before=str(tmp_path / "newer.json")),
        light.task("hub_compare", before="/dev/null"),
    ]).results  # fmt: skip
    assert_failed(below_file, "invalid", "is not a folder")
    assert_failed(folder, "invalid", "is not")
    assert_failed(damaged, "invalid", "damaged.json' is damaged", "'seconds'")
    assert_failed(newer, "invalid", "version '99'")
    assert_failed(empty, "invalid", "is not a file")


def test_a_hub_that_repeats_the_task_s_token(light: Runner, tmp_path: Path) -> None:
    user = light.new_user()
    start(light, user, "", token=light.hub.admin_token, nested=[{light.hub.admin_token: 1}])
    text = json.dumps(take(light, tmp_path / "one.json"))
    assert light.hub.admin_token not in text
    assert '{"token": "********", "nested": [{"********": 1}]}' in text
    assert light.hub.admin_token not in json.dumps(light("hub_compare", before=str(tmp_path / "one.json")))
    assert light.api_request("DELETE", f"users/{user}").ok or light("hub_user", user=user, state="absent")


def test_an_upgrade_of_a_hub_with_its_own_database(tmp_path: Path) -> None:
    """4.1 to 5.5 to 6.1: only the versions and the scopes are different, and what was lost on the way is found."""
    config = f"c.JupyterHub.upgrade_db = True\nc.JupyterHub.db_url = 'sqlite:///{tmp_path / 'hub.sqlite'}'\n"
    results: dict[str, dict[str, Any]] = {}
    for version in ("4.1", "5.5", "6.1"):
        with running_hub(tmp_path, version, config=config) as hub:
            runner = Runner("program", hub)
            if version == "4.1":
                names = populate(runner)
                runner.api_request("POST", f"users/{names['other']}/tokens", {"note": "everything"})
                stop(runner, names["user"], "lab")
                stop(runner, names["other"], "")
            else:
                results[version] = runner("hub_compare", before=str(tmp_path / "snapshots"))
            if version == "5.5":  # a loss in the second upgrade
                take(runner, tmp_path / "snapshots" / f"{version}.json")
                assert runner.api_request("DELETE", f"groups/{names['group']}").ok
            else:
                take(runner, tmp_path / "snapshots" / f"{version}.json")

    def kinds(version: str) -> Seen:
        found = results[version]["differences"]
        return [(each["severity"], each["kind"], each["name"], each["field"]) for each in found]

    assert kinds("5.5") == [("changed", "version", "hub", "version"), ("new", "scope", "hub", "scopes")]
    assert kinds("6.1") == [
        ("lost", "group", names["group"], ""),
        ("changed", "scope", "servers", "scopes"),
        ("changed", "version", "hub", "version"),
    ]
    [split] = [each for each in results["6.1"]["differences"] if each["kind"] == "scope"]
    assert "splits the scope 'servers' into 'start:servers' and 'delete:servers'" in split["message"]
    assert results["6.1"]["before"]["path"] == str(tmp_path / "snapshots" / "5.5.json")
