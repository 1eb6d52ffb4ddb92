# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import requests
from support.fakes.cutting_proxy import Exchange, cutting_proxy, open_gate, stream_contains
from support.fakes.misbehaving_hub import MisbehavingHub
from support.hubs import Hub
from support.runner import Runner, assert_failed
from support.waiting import wait_until

ITEM = {"user", "server_name", "state", "changed", "url", "seconds", "reason", "events", "user_options", "failure"}


def server(result: dict[str, Any]) -> dict[str, Any]:
    """The only server of a result. Its keys are the same in every result."""
    (item,) = result["servers"]
    assert set(item) == ITEM
    assert all(set(event) == {"seconds", "progress", "message"} for event in item["events"])
    return item


def spawner_options(item: dict[str, Any]) -> dict[str, Any]:
    """The options that the spawner has. A light server answers with them."""
    return requests.get(item["url"], timeout=60).json()["user_options"]


def test_start_and_stop(any_version: Runner) -> None:
    runner, user = any_version, any_version.new_user()
    started, again = runner.run([runner.task("hub_server", user=user)] * 2).results
    item = server(started)
    assert (started["changed"], started["actions"][0]["verb"]) == (True, "start")
    assert (item["user"], item["server_name"], item["state"], item["reason"]) == (user, "", "ready", None)
    assert item["url"] == f"{runner.hub.url}user/{user}/"
    assert item["seconds"] > 0
    assert requests.get(item["url"], timeout=60).json()["user"] == user
    pictures = [started["diff"][when]["servers"] for when in ("before", "after")]
    assert [[each["state"] for each in picture] for picture in pictures] == [["stopped"], ["ready"]]
    assert (again["changed"], again["actions"], server(again)["url"]) == (False, [], item["url"])

    stopped, never_was = runner.run([runner.task("hub_server", user=user, state="stopped")] * 2).results
    assert (stopped["changed"], stopped["actions"][0]["verb"], server(stopped)["state"]) == (True, "stop", "stopped")
    assert (never_was["changed"], server(never_was)["state"]) == (False, "stopped")
    assert runner.servers(user) == {}


def test_a_named_server_beside_the_default_one(any_version: Runner) -> None:
    runner, user = any_version, any_version.new_user()
    runner.api_request("POST", f"users/{user}/server")
    started, stopped, unknown = runner.run(
        [
            runner.task("hub_server", user=user, server_name="lab"),
            runner.task("hub_server", user=user, server_name="lab", state="stopped"),
            runner.task("hub_server", user=user, server_name="never-was", state="stopped"),
        ]
    ).results
    assert (server(started)["server_name"], server(started)["url"]) == ("lab", f"{runner.hub.url}user/{user}/lab/")
    assert (stopped["changed"], unknown["changed"]) == (True, False)
    assert set(runner.servers(user)) == {""}


def test_user_options_reach_the_spawner(any_version: Runner) -> None:
    runner, user = any_version, any_version.new_user()
    chosen = {"image": "ä:1", "cpus": 2, "nested": {"list": [1, None, True]}, "user_options": "a key of that name"}
    seen = []
    for options in ({"user_options": chosen}, {}, {"user_options": {}}):
        # Without options the last ones are used again, on every version. Empty options reset them.
        assert runner("hub_server", user=user, **options)["changed"] is True
        # A light server answers with what it knows about itself.
        seen.append(requests.get(f"{runner.hub.url}user/{user}/", timeout=120).json()["user_options"])
        assert Runner("program", runner.hub)("hub_server", user=user, state="stopped")["changed"] is True
    assert seen == [chosen, chosen, {}]


@pytest.mark.doors
def test_without_waiting_and_then_waiting_for_the_same_spawn(light: Runner, gate: Path) -> None:
    user = light.new_user()
    options = {"start_gate": str(gate)}
    with cutting_proxy(light.hub.url) as proxy:
        # Only a task that waits reads the stream.
        proxy.observer = open_gate(gate, stream_contains("Step 1"))
        there = light.with_url(proxy.url)
        first, again, waited = light.run(
            [
                there.task("hub_server", user=user, user_options=options, wait=False),
                there.task("hub_server", user=user, wait=False),
                there.task("hub_server", user=user),
            ]
        ).results
        # It is the same spawn, with the options of the first task.
        assert spawner_options(server(waited)) == options
    assert (first["changed"], server(first)["state"], server(first)["url"]) == (True, "pending", None)
    assert (again["changed"], server(again)["state"]) == (False, "pending")
    assert (waited["changed"], server(waited)["state"]) == (False, "ready")


def test_stop_without_waiting(light: Runner, gate: Path) -> None:
    user, second = light.new_user(), threading.Event()
    light.api_request("POST", f"users/{user}/server", {"user_options": {"stop_gate": str(gate)}})

    def on_line(line: str) -> None:
        if "[Task 1]" in line:
            second.set()

    with cutting_proxy(light.hub.url) as proxy:
        # When the second task has seen that it stops.
        proxy.observer = open_gate(gate, lambda moment, exchange: moment == "answer_sent" and second.is_set())
        there = light.with_url(proxy.url)
        stopping, waited = light.run(
            [
                there.task("hub_server", user=user, state="stopped", wait=False),
                there.task("hub_server", user=user, state="stopped"),
            ],
            on_line=on_line,
        ).results
    assert (stopping["changed"], server(stopping)["state"]) == (True, "pending")
    assert (waited["changed"], server(waited)["state"]) == (False, "stopped")
    assert light.servers(user) == {}


@pytest.mark.doors
def test_events_of_a_slow_start(light: Runner, gate: Path) -> None:
    user, options = light.new_user(), {"start_seconds": 2, "start_gate": str(gate)}
    with cutting_proxy(light.hub.url) as proxy:
        proxy.observer = open_gate(gate, stream_contains("Step 4 of 4"))
        item = server(light.with_url(proxy.url)("hub_server", user=user, user_options=options))
    events = item["events"]
    messages = [event["message"] for event in events]
    assert messages[0] == "Server requested"
    assert any(message.startswith("Step 1 of 4: ") for message in messages)
    assert len(messages) == len(set(messages)) == 6
    times = [event["seconds"] for event in events]
    assert times == sorted(times)
    # They were read as they came, the last step 1.5 s after the first. Read at the end, all would have one time.
    assert times[-1] - times[1] > 0.5
    assert item["seconds"] > 1.5


def test_events_without_a_number(light: Runner, gate: Path) -> None:
    options = {"start_seconds": 1, "start_gate": str(gate), "no_progress_key": True}
    with cutting_proxy(light.hub.url) as proxy:
        proxy.observer = open_gate(gate, stream_contains("Step 2 of 2"))
        there = light.with_url(proxy.url)
        events = server(there("hub_server", user=light.new_user(), user_options=options))["events"]
    assert events[1]["message"].startswith("Step 1 of 2: ")
    assert events[1]["progress"] is None


@pytest.mark.parametrize("seconds", [pytest.param(0, id="0"), pytest.param(1.5, id="3")])  # a hub answers after 1 s
def test_a_spawn_that_fails(any_version: Runner, seconds: float) -> None:
    runner, user = any_version, any_version.new_user()
    options = {"fail": "no node with a GPU is free", "start_seconds": seconds}
    # Twice, since JupyterHub 6 answers 201 to a pending start if the start before it failed.
    tasks = [runner.task("hub_server", user=user, user_options=options)] * 2
    for result in runner.run(
        [*tasks, runner.task("hub_server", user=user, user_options={"start_seconds": 0.5})]
    ).results[:2]:
        assert_failed(result, "spawn_failed", f"user '{user}'", "no node with a GPU is free")
        item = server(result)
        assert (item["state"], item["reason"], item["url"]) == ("failed", "no node with a GPU is free", None)
        assert result["changed"] is True
    # The earlier failures do not affect the start that works.
    assert list(runner.servers(user)) == [""]
    assert runner.servers(user)[""]["ready"] is True


def test_a_spawn_that_fails_while_somebody_else_waits_for_it(light: Runner, gate: Path) -> None:
    user = light.new_user()
    fails = {"fail": "the disk is full", "start_gate": str(gate)}
    light.api_request("POST", f"users/{user}/server", {"user_options": fails})
    with cutting_proxy(light.hub.url) as proxy:
        proxy.observer = open_gate(gate, stream_contains("Step 1"))
        result = light.with_url(proxy.url)("hub_server", user=user)
    assert_failed(result, "spawn_failed", "the disk is full")
    assert result["changed"] is False


def test_a_spawn_that_fails_without_a_message(light: Runner) -> None:
    result = light("hub_server", user=light.new_user(), user_options={"fail_silently": True, "start_seconds": 2})
    assert_failed(result, "spawn_failed", "start_timeout")
    assert server(result)["state"] == "failed"
    assert server(result)["reason"]


@pytest.mark.doors
def test_a_start_that_never_ends(light: Runner) -> None:
    user = light.new_user()
    stopped, left = light.run(
        [
            light.task("hub_server", user=user, user_options={"never": True}, wait_timeout="4s"),
            light.task("hub_server", user=user, server_name="lab", user_options={"never": True}, wait_timeout=4,
                       on_timeout="leave"),
        ]
    ).results  # fmt: skip
    assert_failed(stopped, "timeout", "4 s", "It was stopped", "last message: Step", "wait_timeout")
    assert_failed(left, "timeout", "It was left as it is")
    assert (server(stopped)["state"], server(left)["state"]) == ("failed", "pending")
    found = light.servers(user)
    assert set(found) == {"lab"}
    assert found["lab"]["pending"] == "spawn"
    # To stop a server that still starts cancels the start.
    cancelled = light("hub_server", user=user, server_name="lab", state="stopped")
    assert (cancelled["changed"], server(cancelled)["state"]) == (True, "stopped")
    assert light.servers(user) == {}


def test_a_dead_server_that_the_hub_lists_as_ready(light: Runner) -> None:
    user = light.new_user()
    result = light("hub_server", user=user, user_options={"dead": True}, wait_timeout=3)
    assert_failed(result, "timeout", "does not answer")
    assert light.servers(user) == {}


def test_a_slow_stop_is_waited_for(any_version: Runner) -> None:
    runner, user = any_version, any_version.new_user()
    # Longer than the second that these hubs wait before they answer.
    runner.api_request("POST", f"users/{user}/server", {"user_options": {"stop_seconds": 1.5}, "stop_seconds": 1.5})
    result = runner("hub_server", user=user, state="stopped")
    assert server(result)["state"] == "stopped"
    assert server(result)["seconds"] > 1.4
    assert runner.servers(user) == {}


def test_a_stop_that_takes_too_long(light: Runner, gate: Path) -> None:
    user = light.new_user()
    light.api_request("POST", f"users/{user}/server", {"user_options": {"stop_gate": str(gate)}})
    result = light("hub_server", user=user, state="stopped", wait_timeout=2)
    assert_failed(result, "timeout", "2 s", "wait_timeout")
    assert server(result)["state"] == "pending"


def test_a_start_right_after_a_stop(light: Runner, gate: Path) -> None:
    # A hub refuses to start a server that is still stopping.
    user = light.new_user()
    light.api_request("POST", f"users/{user}/server", {"user_options": {"stop_gate": str(gate)}})
    assert light.api_request("DELETE", f"users/{user}/server").status_code == 202
    with cutting_proxy(light.hub.url) as proxy:

        def is_stop_listed(moment: str, exchange: Exchange) -> bool:
            return moment == "answer_sent" and b'"pending": "stop"' in exchange.content

        proxy.observer = open_gate(gate, is_stop_listed)
        result = light.with_url(proxy.url)("hub_server", user=user, user_options={"again": True})
        assert spawner_options(server(result)) == {"again": True}
    assert gate.exists()
    assert (result["changed"], server(result)["state"]) == (True, "ready")


def test_missing_scopes(any_version: Runner) -> None:
    runner, user = any_version, any_version.new_user()
    start = "start:servers" if runner.hub.version.startswith("6") else "servers"
    reader = runner.with_token(runner.mint(user, "read:servers!user", "read:users:name!user"))
    blind = runner.with_token(runner.mint(user, "read:users:name!user"))
    cannot_start, cannot_see = runner.run([each.task("hub_server", user=user) for each in (reader, blind)]).results
    assert_failed(cannot_start, "missing_scope", f"'{start}'")
    assert_failed(cannot_see, "missing_scope", "read:servers")
    runner.api_request("POST", f"users/{user}/server")
    assert_failed(reader("hub_server", user=user, state="stopped"), "missing_scope", "'delete:servers'")
    assert set(runner.servers(user)) == {""}


def test_a_token_for_the_server_of_somebody_else(any_version: Runner) -> None:
    """The hub answers 404 for a server that the token may see, and may not stop."""
    runner, user, other = any_version, any_version.new_user(), any_version.new_user(admin=True)
    runner.api_request("POST", f"users/{user}/server")
    scopes = (f"read:servers!user={user}", f"delete:servers!user={other}")
    stopped = runner.with_token(runner.mint(other, *scopes))("hub_server", user=user, state="stopped")
    assert_failed(stopped, "missing_scope", f"'delete:servers' does not cover server of user '{user}'")
    assert set(runner.servers(user)) == {""}


def test_least_scopes(any_version: Runner) -> None:
    runner, user = any_version, any_version.new_user()
    start = "start:servers" if runner.hub.version.startswith("6") else "servers"
    least = runner.with_token(runner.mint(user, "read:servers!user", f"{start}!user", "delete:servers!user"))
    started, stopped = runner.run(
        [least.task("hub_server", user=user), least.task("hub_server", user=user, state="stopped")]
    ).results
    assert (server(started)["state"], server(stopped)["state"]) == ("ready", "stopped")


@pytest.mark.doors
def test_check_mode_predicts_and_writes_nothing(light: Runner, read_only_hub: MisbehavingHub) -> None:
    user, busy = light.new_user(), light.new_user()
    light.api_request("POST", f"users/{busy}/server")
    wishes: list[dict[str, Any]] = [
        {"user": user, "user_options": {"start_seconds": 0.2}},
        {"user": busy},
        {"user": busy, "state": "stopped"},
        {"user": user, "server_name": "never-was", "state": "stopped"},
    ]
    read_only = light.with_url(read_only_hub.url)
    predicted = light.run([read_only.task("hub_server", {"check_mode": True}, **wish) for wish in wishes]).results
    assert read_only_hub.writes == []
    done = light.run([light.task("hub_server", **wish) for wish in wishes]).results
    for before, after in zip(predicted, done, strict=True):
        assert not before["failed"], before["msg"]
        for key in ("changed", "actions", "diff"):
            assert before[key] == after[key]
        assert server(before)["state"] == server(after)["state"]
    assert [result["changed"] for result in done] == [True, False, True, False]


def test_two_tasks_start_the_same_server(light: Runner, gate: Path) -> None:
    user, results = light.new_user(), []
    options = {"start_gate": str(gate)}
    with cutting_proxy(light.hub.url) as proxy:
        there = light.with_url(proxy.url)

        def both_listen(moment: str, exchange: Exchange) -> bool:
            return sum(b"Step 1" in each.content for each in proxy.exchanges) >= 2

        proxy.observer = open_gate(gate, both_listen)
        threads = [
            threading.Thread(target=lambda: results.append(there("hub_server", user=user, user_options=options)))
            for _number in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [server(result)["state"] for result in results] == ["ready", "ready"]


@pytest.mark.doors
@pytest.mark.parametrize("door", ["controller"], indirect=True)
def test_progress_is_shown_while_the_spawn_runs(light: Runner, gate: Path) -> None:
    user = light.new_user()
    still_pending: list[bool] = []

    def on_line(line: str) -> None:
        if "Step " in line:
            still_pending.append(light.servers(user)[""]["pending"] == "spawn")
        if "Step 4 of 4" in line:
            gate.touch()

    options = {"start_seconds": 2, "start_gate": str(gate)}
    ran = light.run([light.task("hub_server", user=user, user_options=options)], on_line=on_line, merge_stderr=True)
    assert still_pending == [True] * 4
    shown = [(when, line) for when, line in ran.lines if "Step " in line]
    assert len(shown) == 4
    ready = next(when for when, line in ran.lines if line.startswith("changed:"))
    assert ready > shown[-1][0]
    host = light.hub.url.partition("://")[2].rstrip("/")
    assert shown[0][1].startswith(f"{host}: server of user '{user}': ")


@pytest.mark.doors
@pytest.mark.parametrize("door", ["controller"], indirect=True)
def test_progress_is_not_shown_with_no_log(light: Runner) -> None:
    task = light.task("hub_server", {"no_log": True}, user=light.new_user(), user_options={"start_seconds": 1})
    assert "Step " not in light.run([task]).output


def test_a_real_server(real: Runner, real_hub: Hub) -> None:
    user = real.new_user()
    started, status, stopped = real.run(
        [
            real.task("hub_server", user=user),
            {"ansible.builtin.uri": {"url": f"{real.hub.url}user/{user}/api/status",
                                     "headers": {"Authorization": f"token {real_hub.admin_token}"}}},
            real.task("hub_server", user=user, state="stopped"),
        ]
    ).results  # fmt: skip
    assert server(started)["state"] == "ready"
    assert status["json"]["kernels"] == 0
    assert server(stopped)["state"] == "stopped"
    wait_until(lambda: real.servers(user) == {})
