# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Six tasks that ask a hub for the same at the same time: each succeeds, and each gets what it declares."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import start as _spawning
from support.fakes.cutting_proxy import cutting_proxy
from support.hubs import Hub, HubPool
from support.playbooks import mint, run_playbook, servers
from support.runner import Runner, assert_failed
from support.waiting import wait_until

SIX = 6


@pytest.fixture(params=["6.1", "5.5", "4.1"])
def runner(request: pytest.FixtureRequest, pool: HubPool) -> Runner:
    return Runner("program", pool.get(request.param))


def run_in_parallel(
    runner: Runner, module: str, number: int = SIX, each: list[dict[str, Any]] | None = None, **options: Any
) -> Any:
    """Run this task several times at once, each with some options of its own. Returns the results."""
    begin = Barrier(number, timeout=120)

    def one(owned: dict[str, Any]) -> dict[str, Any]:
        begin.wait()
        return runner(module, **options, **owned)

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(one, each or [{}] * number))


def assert_all_succeed(results: list[dict[str, Any]]) -> None:
    assert not [result["msg"] for result in results if result["failed"]]


def count_changed(results: list[dict[str, Any]]) -> int:
    return sum(result["changed"] for result in results)


def test_users(runner: Runner) -> None:
    user, group = runner.new_user_name(), runner.new_user_name()
    there = run_in_parallel(runner, "hub_user", user=user, groups=[group], create_groups=True)
    assert_all_succeed(there)
    assert count_changed(there) >= 1
    assert runner.api_request("GET", f"users/{user}").json()["groups"] == [group]
    removed = run_in_parallel(runner, "hub_user", user=user, state="absent")
    assert_all_succeed(removed)
    assert runner.api_request("GET", f"users/{user}").status_code == 404


def test_groups(runner: Runner) -> None:
    users, group = sorted(runner.new_user() for _number in range(2)), runner.new_user_name()
    wanted = {"name": group, "users": users, "properties": {"a": 1}}
    there = run_in_parallel(runner, "hub_group", **wanted)
    assert_all_succeed(there)
    assert count_changed(there) >= 1
    model = runner.api_request("GET", f"groups/{group}").json()
    assert (sorted(model["users"]), model["properties"]) == (users, {"a": 1})
    removed = run_in_parallel(runner, "hub_group", name=group, state="absent")
    assert_all_succeed(removed)
    assert runner.api_request("GET", f"groups/{group}").status_code == 404


def test_members_of_one_group(runner: Runner) -> None:
    """Each task adds a user. Nobody is lost. With an exact list, each task has its own members, or says that not."""
    users, group = [runner.new_user() for _number in range(SIX)], runner.new_user_name()
    added = run_in_parallel(runner, "hub_group", each=[{"users": [user]} for user in users], name=group, append=True)
    assert_all_succeed(added)
    assert sorted(runner.api_request("GET", f"groups/{group}").json()["users"]) == sorted(users)
    exact = run_in_parallel(runner, "hub_group", each=[{"users": [user]} for user in users], name=group)
    for result, user in zip(exact, users, strict=True):
        if result["failed"]:
            assert_failed(result, "conflict", "not as declared")
        else:
            assert result["group"]["users"] == [user]


def test_starts_and_stops(runner: Runner) -> None:
    user = runner.new_user()
    started = run_in_parallel(runner, "hub_server", user=user)
    assert_all_succeed(started)
    assert count_changed(started) == 1
    stopped = run_in_parallel(runner, "hub_server", user=user, state="stopped")
    assert_all_succeed(stopped)
    assert runner.servers(user) == {}


def test_restarts(runner: Runner) -> None:
    user = runner.new_user()
    assert runner("hub_server", user=user)["changed"]
    results = run_in_parallel(runner, "hub_server", user=user, state="restarted")
    assert_all_succeed(results)
    assert count_changed(results) >= 1
    assert {result["servers"][0]["state"] for result in results} == {"ready"}
    assert runner.servers(user)[""]["ready"]


def test_named_servers_are_removed(runner: Runner) -> None:
    user = runner.new_user()
    assert runner("hub_server", user=user, server_name="lab")["changed"]
    assert_all_succeed(run_in_parallel(runner, "hub_server", user=user, server_name="lab", state="absent"))
    assert runner.servers(user) == {}


def test_tokens_are_revoked(runner: Runner) -> None:
    user = runner.new_user()
    runner.mint(user, note="ci")
    assert_all_succeed(run_in_parallel(runner, "hub_token", user=user, note="ci", state="absent"))
    assert [token for token in runner.tokens(user) if token["note"] == "ci"] == []


def test_starts_with_different_options(runner: Runner, gate: Path) -> None:
    """One gets what it asked for, the others fail because another start came first."""
    user = runner.new_user()
    options = [{"user_options": {"start_gate": str(gate), "size": number}} for number in range(3)]
    with ThreadPoolExecutor(1) as thread:
        answers = thread.submit(run_in_parallel, runner, "hub_server", 3, options, user=user)
        wait_until(lambda: runner.servers(user))
        gate.touch()
        results = answers.result()
    won = [result for result in results if not result["failed"]]
    assert len(won) == 1
    assert won[0]["changed"] is True
    assert runner.servers(user)[""]["user_options"] == won[0]["servers"][0]["user_options"]
    for result in results:
        if result["failed"]:
            assert_failed(result, "conflict", "another start came first", "They differ in size.")
            assert result["changed"] is False


@pytest.fixture
def without_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each task acts as on a machine of its own: none waits for the request of another."""
    monkeypatch.setattr(_spawning, "hold_lock", lambda name, patience: nullcontext())


@pytest.mark.usefixtures("without_lock")
def test_starts_with_different_options_from_several_machines(runner: Runner, gate: Path) -> None:
    test_starts_with_different_options(runner, gate)


@pytest.mark.usefixtures("without_lock")
def test_restarts_from_several_machines(runner: Runner) -> None:
    test_restarts(runner)


def test_a_second_task_does_not_stop_the_start_of_the_first(runner: Runner, gate: Path) -> None:
    """With different options the second task fails during the start, and one that times out leaves the start alone."""
    user, mine = runner.new_user(), {"start_gate": str(gate), "size": 1}
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(runner, "hub_server", user=user, user_options=mine, wait_timeout="10m")
        wait_until(lambda: runner.servers(user).get("", {}).get("started"))
        other = runner("hub_server", user=user, user_options={**mine, "size": 2}, wait_timeout="5m")
        delayed = runner("hub_server", user=user, wait_timeout=1)
        assert runner.servers(user)[""]["pending"] == "spawn"
        gate.touch()
        assert first.result()["changed"] is True
    assert_failed(other, "conflict", "another start came first", "They differ in size.")
    assert_failed(delayed, "timeout", "It was left as it is.")
    assert (other["changed"], delayed["changed"]) == (False, False)


def test_one_restart_that_fails_is_one_start(runner: Runner) -> None:
    user, silent = runner.new_user(), {"fail_silently": True, "start_seconds": 1.5}
    assert runner("hub_server", user=user)["changed"]
    with cutting_proxy(runner.hub.url) as proxy:
        result = runner.with_url(proxy.url)("hub_server", user=user, state="restarted", user_options=silent)
    assert_failed(result, "spawn_failed", "not ready within its start_timeout")
    assert [exchange.method for exchange in proxy.exchanges].count("POST") == 1


@pytest.mark.parametrize("version", ["6.1", "5.5", "4.1"])
def test_two_verifications_with_different_options(version: str, pool: HubPool, tmp_path: Path) -> None:
    """For one account: one passes; the other fails because another start came first, and leaves the server alone."""
    hub: Hub = pool.get(version, spawner="server")
    user = f"both{version.replace('.', '')}"
    token = mint(hub, user)
    common = {"hub_url": hub.url, "verify_api_token": token}
    hosts = {name: {**common, "verify_user_options": {"profile": name}} for name in ("first", "second")}
    played = run_playbook("hubops.jupyterhub.verify", folder=tmp_path, hosts=hosts)
    assert played.status == 2
    rows = json.loads((tmp_path / "verify-report/report.json").read_text())["hubs"]
    assert sorted(row["verdict"] for row in rows) == ["failed", "passed"], played.output
    [lost] = [row["checks"][0] for row in rows if row["verdict"] == "failed"]
    [phase] = [phase for phase in lost["phases"] if phase["verdict"] == "failed"]
    assert phase["name"] == "start"
    assert "first" in phase["message"] or "already" in phase["message"] or "Another task" in phase["message"]
    assert lost["server_left"] is False
    assert servers(hub, user) == {}
