# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hub_drain and hub_restore on real hubs with light servers. A drain is of a whole hub, so tests have an empty hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.service_account import PURPOSES
from support.hub_clock import CLOCK_CONFIG, HOUR, empty_hub, let_time_pass
from support.hubs import HOME, HubPool, crash_hub, running_hub, start_crashed_hub
from support.runner import Runner, assert_failed
from support.waiting import wait_until

HOLD = {"start_timeout": 600}
"""Options of a start that waits at a gate, so that it does not time out."""
DOORS = [pytest.param((door, "6.1"), id=f"{door}-6.1", marks=pytest.mark.doors) for door in ("controller", "module")]
OLDER = [pytest.param(("program", version), id=f"program-{version}") for version in ("5.5", "4.1")]
ANY = [pytest.param(("program", version), id=version) for version in ("6.1", "5.5", "4.1")]


@pytest.fixture(params=[*DOORS, *OLDER])
def runner(request: pytest.FixtureRequest, pool: HubPool) -> Iterator[Runner]:
    """An empty hub of each supported version in turn, the newest through both doors."""
    door, version = request.param
    runner = Runner(door, pool.get(version, config=CLOCK_CONFIG))
    empty_hub(runner.hub)
    try:
        yield runner
    finally:
        empty_hub(runner.hub)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "snapshots" / "drained.json")


def request_start(runner: Runner, user: str, name: str = "", **options: Any) -> str:
    """Begin to start a server. Returns its name in the results."""
    body = {"user_options": options} if runner.hub.version.startswith("6") else options
    answer = runner.api_request("POST", f"users/{user}/servers/{name}" if name else f"users/{user}/server", body)
    assert answer.status_code in (201, 202), answer.text
    return f"{user}/{name}"


def start(runner: Runner, user: str, name: str = "", **options: Any) -> str:
    """Start a server, and wait until it is ready."""
    server = request_start(runner, user, name, **options)
    wait_until(lambda: (runner.servers(user).get(name) or {}).get("ready"))
    return server


def running(runner: Runner) -> dict[str, dict[str, Any]]:
    """The options of all servers that run."""
    return {
        f"{user['name']}/{name}": server["user_options"]
        for user in runner.api_request("GET", "users").json()
        for name, server in user["servers"].items()
    }


def names(items: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{item['user']}/{item['server_name']}" for item in items]


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    return {f"{item['user']}/{item['server_name']}": item["outcome"] for item in result["servers"]}


def edit(path: str, server: str, **changes: Any) -> None:
    """Change an entry of the record, as somebody might with an editor."""
    record = json.loads(Path(path).read_text())
    [entry] = [each for each in record["servers"] if f"{each['user']}/{each['server_name']}" == server]
    entry |= changes
    Path(path).write_text(json.dumps(record))


def test_a_drain_and_its_restore(runner: Runner, path: str, tmp_path: Path) -> None:
    one, two, bot, starting = (runner.new_user() for _number in range(4))
    servers = {
        start(runner, one): {},
        start(runner, one, "lab", profile="gpu", n=2): {"profile": "gpu", "n": 2},
        start(runner, two, profile=["a", "b"], start_seconds=0.2): {"profile": ["a", "b"], "start_seconds": 0.2},
    }
    kept = start(runner, bot, profile="bot")
    gate = {"start_gate": str(tmp_path / "go"), **HOLD}
    if not runner.hub.version.startswith("4"):  # which cannot cancel a start
        servers[request_start(runner, starting, profile="late", **gate)] = {"profile": "late", **gate}
    options = {"path": path, "exclude_users": [bot], "order": "name"}
    look, work = runner.task("hub_drain", {"check_mode": True}, **options), runner.task("hub_drain", **options)
    foreseen, done, again = runner.run([look, work, work]).results
    assert [*running(runner)] == [kept]
    for result in (foreseen, done):
        assert not result["failed"], result
        assert names(result["drained"]) == sorted(servers)
        assert {f"{each['user']}/{each['server_name']}": each["user_options"] for each in result["drained"]} == servers
        assert (names(result["kept"]), result["kept_count"]) == ([kept], {"excluded": 1})
        assert (result["changed"], result["failures"], result["gone"], result["started_meanwhile"]) == (
            True,
            [],
            [],
            [],
        )
        assert result["counts"]["to_restore"] == len(servers)
    assert (again["changed"], again["drained"], again["counts"]["to_restore"]) == (False, [], len(servers))
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert Path(path).parent.stat().st_mode & 0o777 == 0o700
    (tmp_path / "go").touch()
    look, work = runner.task("hub_restore", {"check_mode": True}, path=path), runner.task("hub_restore", path=path)
    foreseen, done, again = runner.run([look, work, work]).results
    for result in (foreseen, done, again):
        assert not result["failed"], result
        assert outcomes(result) == dict.fromkeys(servers, "restored")
    assert (foreseen["changed"], done["changed"], again["changed"]) == (True, True, False)
    assert running(runner) == {**servers, kept: {"profile": "bot"}}
    for item in done["servers"]:
        assert requests.get(item["url"], timeout=60).json()["user_options"] == servers[names([item])[0]]


@pytest.mark.parametrize("runner", ANY, indirect=True)
def test_who_need_not_or_cannot_be_restored(runner: Runner, path: str) -> None:
    back, other, left, anew, unlisted, refused, broken, fine = (runner.new_user() for _number in range(8))
    for user in (back, other, left, anew, unlisted, refused, broken, fine):
        start(runner, user, profile="gpu")
    assert len(runner("hub_drain", path=path)["drained"]) == 8
    start(runner, back, profile="gpu")
    start(runner, other, profile="cpu")
    for user in (left, anew):
        assert runner.api_request("DELETE", f"users/{user}").status_code == 204
    runner.api_request("POST", f"users/{anew}")
    let_time_pass(runner.hub, -5, anew)  # the hub's times have whole seconds in some databases
    no_profile = "No such profile: gpu. Options include: cpu, large"
    edit(path, f"{unlisted}/", user_options={"profile": "gpu", "fail": no_profile})
    edit(path, f"{refused}/", user_options={"fail": "Image lab:1 not in allowed list: lab:2", "fail_status": 400})
    edit(path, f"{broken}/", user_options={"fail": "no node is free", "start_seconds": 1.2})
    done = runner("hub_restore", path=path)
    assert outcomes(done) == {
        f"{back}/": "already_running",
        f"{other}/": "already_running",
        f"{left}/": "user_gone",
        f"{anew}/": "user_gone",
        f"{unlisted}/": "profile_gone",
        f"{refused}/": "profile_gone",
        f"{broken}/": "failed",
        f"{fine}/": "restored",
    }
    assert_failed(done, "spawn_failed", "1 of 8 servers failed", broken, "no node is free")
    reasons = {item["user"]: item["reason"] for item in done["servers"]}
    assert reasons[unlisted] == no_profile
    assert "lab:1 not in allowed" in reasons[refused]
    assert "differ in profile" in reasons[other]
    assert "created again" in reasons[anew]
    assert running(runner) == {
        f"{back}/": {"profile": "gpu"}, f"{other}/": {"profile": "cpu"}, f"{fine}/": {"profile": "gpu"}
    }  # fmt: skip
    edit(path, f"{broken}/", user_options={"profile": "gpu"})
    again = runner("hub_restore", path=path)
    assert (again["failed"], outcomes(again)[f"{broken}/"], again["changed"]) == (False, "restored", True)
    start(runner, left := runner.new_user())
    assert names(runner("hub_drain", path=path, exclude_users=[back, other, fine, broken])["drained"]) == [f"{left}/"]
    assert len(list(Path(path).parent.iterdir())) == 2  # the finished record is archived


@pytest.mark.parametrize("runner", ANY, indirect=True)
def test_a_server_that_is_started_again_between_two_drains(runner: Runner, path: str) -> None:
    user, other = runner.new_user(), runner.new_user()
    first, second = start(runner, user, profile="old"), start(runner, other, "lab", profile="x")
    runner("hub_drain", path=path)
    start(runner, user, profile="new")
    assert names(runner("hub_drain", path=path)["drained"]) == [first]
    # The hub forgets what it knows of the server.
    runner.api_request("DELETE", f"users/{other}/servers/lab", {"remove": True})
    assert outcomes(runner("hub_restore", path=path)) == {first: "restored", second: "restored"}
    assert running(runner) == {first: {"profile": "new"}, second: {"profile": "x"}}


@pytest.mark.parametrize("runner", ANY, indirect=True)
def test_a_start_is_cancelled_or_waited_for(runner: Runner, path: str) -> None:
    """JupyterHub 4 cannot cancel a start. In each case the record has the options of the start."""
    user = runner.new_user()
    start(runner, user, profile="old")
    runner.api_request("DELETE", f"users/{user}/server")
    wait_until(lambda: not runner.servers(user))
    server = request_start(runner, user, profile="new", start_seconds=2)
    done = runner("hub_drain", path=path)
    assert names(done["drained"]) == [server], done
    assert done["drained"][0]["user_options"] == {"profile": "new", "start_seconds": 2}
    assert running(runner) == {}
    assert outcomes(runner("hub_restore", path=path)) == {server: "restored"}


@pytest.mark.parametrize("runner", ANY, indirect=True)
def test_a_drain_spares_who_is_active_and_refuses_too_many(runner: Runner, path: str) -> None:
    idle, busy = start(runner, runner.new_user()), runner.new_user()
    let_time_pass(runner.hub, 2 * HOUR)
    start(runner, busy)
    refused = runner("hub_drain", path=path, max_stops="50%")
    assert_failed(refused, "conflict", "2 of 2 servers would be drained", "max_stops")
    assert (len(running(runner)), Path(path).exists()) == (2, False)
    done = runner("hub_drain", path=path, idle_timeout="1h", max_stops="50%")
    assert (names(done["drained"]), names(done["kept"])) == ([idle], [f"{busy}/"])


@pytest.mark.parametrize("runner", ANY, indirect=True)
def test_others_act_during_the_drain(runner: Runner, path: str, tmp_path: Path) -> None:
    """The first server takes longer to stop than the hub waits with its answer (202). Meanwhile others act."""
    slow, idle, newcomer, again = sorted(runner.new_user() for _number in range(4))
    gate = tmp_path / "gate"
    servers = {
        user: start(runner, user, **({"stop_gate": str(gate)} if user == slow else {})) for user in (slow, idle, again)
    }

    def act() -> None:
        wait_until(lambda: (runner.servers(slow).get("") or {}).get("pending") == "stop")
        runner.api_request("DELETE", f"users/{idle}/server")  # as a culler does
        start(runner, newcomer, profile="new")
        runner.api_request("DELETE", f"users/{again}/server")
        wait_until(lambda: not runner.servers(again))
        start(runner, again, profile="newer")
        gate.touch()

    thread = Thread(target=act)
    thread.start()
    done = runner("hub_drain", path=path, order="name", concurrency=1)
    thread.join()
    assert not done["failed"], done
    assert names(done["drained"]) == [servers[slow], servers[again]]
    assert (names(done["gone"]), names(done["started_meanwhile"])) == ([servers[idle]], [f"{newcomer}/"])
    assert [*running(runner)] == [f"{newcomer}/"]
    recorded = {each["user"]: each["user_options"] for each in json.loads(Path(path).read_text())["servers"]}
    assert recorded == {slow: {"stop_gate": str(gate)}, again: {"profile": "newer"}}


@pytest.mark.parametrize("runner", ANY, indirect=True)
def test_a_stop_that_takes_too_long(runner: Runner, path: str, tmp_path: Path) -> None:
    slow, quick = runner.new_user(), runner.new_user()
    server = start(runner, slow, stop_gate=str(tmp_path / "gate"))
    start(runner, quick)
    done = runner("hub_drain", path=path, stop_timeout="2s")
    assert_failed(done, "timeout", slow, "stop_timeout")
    assert (names(done["drained"]), names(done["failures"])) == ([f"{quick}/"], [server])
    assert done["changed"] is True
    (tmp_path / "gate").touch()
    wait_until(lambda: not running(runner))
    again = runner("hub_drain", path=path)
    assert (again["failed"], again["counts"]["to_restore"]) == (False, 2)
    assert {each["state"] for each in json.loads(Path(path).read_text())["servers"]} == {"stopped"}


@pytest.mark.parametrize("runner", ANY, indirect=True)
def test_least_scopes(runner: Runner, path: str) -> None:
    user = runner.new_user()
    server = start(runner, user, profile="a")
    runner.api_request("POST", "users/admin-of-tests", {"admin": True})
    least = ("list:users", "read:users:activity", "read:servers", "delete:servers")
    drains = replace(runner, token=runner.mint("admin-of-tests", *least))
    assert names(drains("hub_drain", path=path)["drained"]) == [server]
    starts = "start:servers" if runner.hub.version.startswith("6") else "servers"
    restores = replace(runner, token=runner.mint("admin-of-tests", "read:servers", starts))
    assert outcomes(restores("hub_restore", path=path)) == {server: "restored"}
    scopes = [{"start:servers": starts}.get(scope, scope) for scope in PURPOSES["upgrade"]]
    upgrades = replace(runner, token=runner.mint("admin-of-tests", *scopes))
    assert names(upgrades("hub_drain", path=path)["drained"]) == [server]
    assert json.loads(Path(path).read_text())["servers"][0]["user_created"]
    assert outcomes(upgrades("hub_restore", path=path)) == {server: "restored"}
    text = Path(path).read_text()
    assert not [each for each in (drains.token, restores.token, runner.hub.admin_token) if str(each) in text]


@pytest.mark.parametrize("runner", [ANY[0], ANY[-1]], indirect=True)
def test_fifty_servers(runner: Runner, path: str) -> None:
    servers = {}
    for number in range(25):
        user = runner.new_user()
        for name in ("", "lab"):
            servers[request_start(runner, user, name, number=number)] = {"number": number}
    wait_until(lambda: len(running(runner)) == 50)
    done = runner("hub_drain", path=path, concurrency=20)
    assert (set(names(done["drained"])), running(runner)) == (set(servers), {}), done
    restored = runner("hub_restore", path=path, concurrency=20)
    assert set(outcomes(restored).values()) == {"restored"}, restored["summary"]
    assert running(runner) == servers


def test_a_named_server_that_hub_6_would_not_create(pool: HubPool, path: str) -> None:
    """Hubs before 6 accept names that JupyterHub 6 only keeps for servers that it already has."""
    runner = Runner("program", pool.get("6.1", config=CLOCK_CONFIG))
    empty_hub(runner.hub)
    user = runner.new_user()
    start(runner, user, "lab")
    runner("hub_drain", path=path)
    edit(path, f"{user}/lab", server_name="My_Lab")
    done = runner("hub_restore", path=path)
    assert_failed(done, "invalid", "server_name")
    assert outcomes(done) == {f"{user}/My_Lab": "failed"}
    empty_hub(runner.hub)


def test_a_hub_that_is_restarted_in_the_middle(tmp_path: Path, path: str) -> None:
    """The proxy answers 503 in the hub's place, and the hub checks its servers when it is back. Light servers do not
    survive, so the drain finds them gone, or stops them; the restore starts all of them."""
    with running_hub(tmp_path) as hub:
        runner = Runner("program", hub)
        user = runner.new_user()
        gate = tmp_path / "gate"
        server = start(runner, user, stop_gate=str(gate), profile="a")

        def restart() -> None:
            wait_until(lambda: runner.servers(user)[""]["pending"] == "stop")
            crash_hub(hub)
            gate.touch()
            start_crashed_hub(hub)

        thread = Thread(target=restart)
        thread.start()
        done = runner("hub_drain", path=path)
        thread.join()
        assert not done["failed"], done
        assert running(runner) == {}
        record = json.loads(Path(path).read_text())
        assert [each["user_options"]["profile"] for each in record["servers"]] == ["a"]
        assert outcomes(runner("hub_restore", path=path)) == {server: "restored"}


def write_record(runner: Runner, path: str, *entries: dict[str, Any]) -> None:
    """Write the record of a drain, for hubs that other tests use at the same time."""
    servers = [{"server_name": "", "state": "stopped", "restore": "pending", **each} for each in entries]
    whole = {"schema": "hubops.jupyterhub/drained", "version": 1, "drained": "2026-11-26T18:00:00Z"}
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(json.dumps({**whole, "hub": {"url": "https://old/", "version": "5.5.4"}, "servers": servers}))


def test_a_hub_that_waits_with_its_answer_to_a_start(any_version: Runner, path: str) -> None:
    """It answers with the failure itself then, in the words of its version. The outcomes are the same."""
    runner = any_version
    unlisted, choice, refused, broken = (runner.new_user() for _number in range(4))
    absent = runner.new_user_name()
    write_record(
        runner,
        path,
        {"user": unlisted, "user_options": {"profile": "gpu", "fail": "No such profile: gpu. Options include: cpu"}},
        {"user": choice, "user_options": {"image": "lab:1", "fail": "'lab:1'"}},
        {"user": refused, "user_options": {"fail": "Image lab:1 not in allowed list: lab:2", "fail_status": 400}},
        {"user": broken, "user_options": {"fail": "no node is free"}},
        {"user": absent, "user_options": {}},
    )
    done = runner("hub_restore", path=path)
    assert outcomes(done) == {
        f"{unlisted}/": "profile_gone",
        f"{choice}/": "profile_gone",
        f"{refused}/": "profile_gone",
        f"{broken}/": "failed",
        f"{absent}/": "user_gone",
    }
    assert_failed(done, "spawn_failed", "1 of 5 servers failed", "no node is free")


BAD = {
    "no path": ({}, "path"),
    "an order that there is not": ({"path": "x", "order": "random"}, "order"),
    "a limit that is no number": ({"path": "x", "max_stops": "many"}, "max_stops"),
    "a rule without effect": ({"path": "x", "rules": [{"users": ["a"]}]}, "Rule 1"),
    "a timeout that is no time": ({"path": "x", "stop_timeout": "0"}, "stop_timeout"),
}


@pytest.mark.doors
def test_bad_options_are_named(light: Runner) -> None:
    results = light.run([light.task("hub_drain", **options) for options, _word in BAD.values()]).results
    for result, (case, (_options, word)) in zip(results, BAD.items(), strict=True):
        assert result["failed"], case
        assert word in result["msg"], case


@pytest.mark.doors
def test_a_record_that_is_none(light: Runner, tmp_path: Path) -> None:
    missing = light("hub_restore", path=str(tmp_path / "drained.json"))
    assert_failed(missing, "invalid", "There is no record of a drain", "drained.json")
    (tmp_path / "drained.json").write_text("[1,")
    for module in ("hub_restore", "hub_drain"):
        assert_failed(light.check(module, path=str(tmp_path / "drained.json")), "invalid", "not JSON")


def test_an_upgraded_hub(tmp_path: Path, path: str) -> None:
    """A hub 5.5 is drained, upgraded to 6.1 with its database, and restored: in another format of requests, and with a
    name that JupyterHub 6 accepts only because the server was there before."""
    options: dict[str, dict[str, Any]] = {"": {"profile": "gpu"}, "My_Lab": {"n": 1}, "plain": {}}
    with running_hub(tmp_path, "5.5") as hub:
        runner = Runner("program", hub)
        user, left = runner.new_user(), runner.new_user()
        servers = {start(runner, user, name, **each): each for name, each in options.items()}
        start(runner, left)
        drained = runner("hub_drain", path=path)
        assert drained["counts"]["to_restore"] == 4, drained
    [database] = hub.state.glob("jupyterhub-5.5*.sqlite")
    upgraded = hub.state / database.name.replace("5.5", "6.1", 1)
    shutil.copy(database, upgraded)
    programs = HOME / "6.1" / "venv" / "bin"  # jupyterhub calls alembic
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    command = [programs / "jupyterhub", "upgrade-db", "--db", f"sqlite:///{upgraded}"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    with running_hub(tmp_path, "6.1") as hub:
        runner = Runner("program", hub)
        assert hub.version.startswith("6.1")
        assert runner.api_request("DELETE", f"users/{left}").status_code == 204
        done = runner("hub_restore", path=path)
        assert not done["failed"], done
        assert outcomes(done) == {**dict.fromkeys(servers, "restored"), f"{left}/": "user_gone"}
        assert running(runner) == servers
