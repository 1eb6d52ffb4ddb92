# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hub_server for many servers in one call, and its states restarted and absent, on real hubs."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from support.fakes.cutting_proxy import cutting_proxy, open_gate, stream_contains
from support.fakes.misbehaving_hub import MisbehavingHub
from support.runner import Runner, assert_failed


def states(result: dict[str, Any]) -> list[str]:
    return [item["state"] for item in result["servers"]]


def changes(result: dict[str, Any]) -> list[bool]:
    return [item["changed"] for item in result["servers"]]


def server_options(item: dict[str, Any]) -> dict[str, Any]:
    """The options that the server itself has."""
    return requests.get(item["url"], timeout=60).json()["user_options"]


def known_names(runner: Runner, user: str) -> set[str]:
    """The names of all servers that the hub knows, also of stopped ones."""
    return set(runner.api_request("GET", f"users/{user}?include_stopped_servers=1").json()["servers"])


def body(runner: Runner, options: dict[str, Any]) -> dict[str, Any]:
    return {"user_options": options} if runner.hub.version.startswith("6") else options


def test_check_mode_then_change_then_no_change(any_version: Runner, request: pytest.FixtureRequest) -> None:
    """The run does what check mode predicts, and a second run has nothing to do."""
    runner, one, two = any_version, any_version.new_user(), any_version.new_user()
    for user, name in ((one, "runs"), (one, "ends"), (two, ""), (two, "goes"), (two, "went"), (two, "others")):
        place = f"users/{user}/servers/{name}" if name else f"users/{user}/server"
        assert runner.api_request("POST", place, body(runner, {"old": True})).status_code == 201
    runner.api_request("DELETE", f"users/{two}/servers/went")
    wanted: list[dict[str, Any]] = [
        {"user": one, "user_options": {"start_seconds": 0.2}},
        {"user": one, "server_name": "runs"},
        {"user": one, "server_name": "ends", "state": "stopped"},
        {"user": one, "server_name": "never-was", "state": "stopped"},
        {"user": two},
        {"user": two, "server_name": "goes", "state": "absent"},
        {"user": two, "server_name": "went", "state": "absent"},
        {"user": two, "server_name": "never-was", "state": "absent"},
        {"user": two, "server_name": "others", "user_options": {"new": True}, "on_options_change": "restart"},
    ]
    verbs = ["start", "stop", "remove", "remove", "stop", "start"]
    before = runner.api_request("GET", "users?include_stopped_servers=1").json()
    predicted = runner.check("hub_server", servers=wanted)
    assert runner.api_request("GET", "users?include_stopped_servers=1").json() == before
    done = runner("hub_server", servers=wanted)
    assert states(done) == ["ready", "ready", "stopped", "stopped", "ready", "absent", "absent", "absent", "ready"]
    assert changes(done) == [True, False, True, False, False, True, True, False, True]
    assert [action["verb"] for action in done["actions"]] == verbs
    for key in ("changed", "actions", "diff"):
        assert predicted[key] == done[key]
    for key in ("user", "server_name", "state", "changed", "user_options", "failure"):
        assert [item[key] for item in predicted["servers"]] == [item[key] for item in done["servers"]], key
    assert [server_options(done["servers"][number]) for number in (0, 1, 4, 8)] == [
        {"start_seconds": 0.2}, {"old": True}, {"old": True}, {"new": True},
    ]  # fmt: skip
    assert known_names(runner, two) == {"", "others"}

    again = runner("hub_server", servers=wanted)
    assert (again["changed"], again["actions"], states(again)) == (False, [], states(done))


@pytest.mark.doors
def test_check_mode_of_many_sends_no_write(light: Runner, read_only_hub: MisbehavingHub) -> None:
    user = light.new_user()
    light.api_request("POST", f"users/{user}/servers/runs")
    wanted = [
        {"user": user},
        *({"user": user, "server_name": "runs", "state": state} for state in ("restarted",)),
        {"user": user, "server_name": "more", "state": "restarted"},
    ]
    result = light.with_url(read_only_hub.url).check("hub_server", servers=wanted)
    assert (result["changed"], states(result), read_only_hub.writes) == (True, ["ready"] * 3, [])


@pytest.mark.doors
def test_the_result_has_every_server_even_if_some_fail(light: Runner) -> None:
    user, nobody = light.new_user(), "nobody-of-that-name"
    wanted: list[dict[str, Any]] = [
        {"user": user, "user_options": {"start_seconds": 0.5}},
        {"user": user, "server_name": "fails", "user_options": {"fail": "no GPU is free", "start_seconds": 0.5}},
        {"user": nobody},
        {"user": user, "server_name": "never", "user_options": {"never": True}, "wait_timeout": "2s"},
        {"user": user, "server_name": "silent", "user_options": {"fail_silently": True}},
        {"user": user, "server_name": "Not A Name", "user_options": {}},
        {"user": user, "server_name": "last"},
    ]
    result = light("hub_server", servers=wanted)
    assert_failed(result, "spawn_failed", "5 of 7 servers failed. The first, server 'fails'", "no GPU is free")
    assert result["changed"] is True
    assert states(result) == ["ready", "failed", "failed", "failed", "failed", "failed", "ready"]
    codes = [item["failure"] and item["failure"]["code"] for item in result["servers"]]
    assert codes == [None, "spawn_failed", "not_found", "timeout", "spawn_failed", "invalid", None]
    assert [bool(item["reason"]) for item in result["servers"]] == [code is not None for code in codes]
    assert set(light.servers(user)) == {"", "last"}  # no other server is left
    for item, asked in zip(result["servers"], wanted, strict=True):
        assert (item["user"], item["server_name"]) == (asked["user"], asked.get("server_name", ""))
        assert set(item) == set(result["servers"][0])


@pytest.mark.doors
@pytest.mark.parametrize("door", ["controller"], indirect=True)
def test_a_count_is_shown_instead_of_messages(light: Runner, gate: Path) -> None:
    user = light.new_user()
    slow = {"user_options": {"start_gate": str(gate)}}
    wanted = [{"user": user, "server_name": f"of{number}", **(slow if number else {})} for number in range(4)]
    host = light.hub.url.partition("://")[2].rstrip("/")
    shown: list[str] = []

    def on_line(line: str) -> None:
        if line.startswith(f"{host}: 1/4 ready, 0 failed, 3 pending"):
            shown.append(line)
        if len(shown) == 2:
            gate.touch()

    began = time.monotonic()
    ran = light.run([light.task("hub_server", servers=wanted, concurrency=3)], on_line=on_line, merge_stderr=True)
    seconds = time.monotonic() - began
    counts = re.findall(rf"^{re.escape(host)}: (\d+)/4 ready, (\d+) failed, (\d+) pending$", ran.output, re.MULTILINE)
    assert ("1", "0", "3") in counts
    assert counts[-1] == ("4", "0", "0")
    # A line every three seconds, and one at the end.
    assert 3 <= len(counts) <= 1 + seconds / 3
    assert "Step " not in ran.output


def test_start_without_waiting_and_then_wait(light: Runner, gate: Path) -> None:
    users = [light.new_user() for _number in range(12)]
    wanted = {"servers": [{"user": user} for user in users], "user_options": {"start_gate": str(gate)}}
    with cutting_proxy(light.hub.url) as proxy:
        # Only a task that waits reads streams. By then all starts are under way, also those beyond the first ten.
        proxy.observer = open_gate(gate, stream_contains("Step 1"))
        there = light.with_url(proxy.url)
        asked, waited = light.run(
            [there.task("hub_server", **wanted, wait=False), there.task("hub_server", **wanted)]
        ).results
    assert (asked["changed"], states(asked)) == (True, ["pending"] * 12)
    assert (waited["changed"], states(waited)) == (False, ["ready"] * 12)


def test_an_item_inherits_options_of_the_task(light: Runner) -> None:
    one, two = light.new_user(), light.new_user()
    result = light(
        "hub_server", servers=[{"user": one}, {"user": two, "user_options": {"own": 1}, "state": "restarted"}],
        user_options={"common": 1}, state="started",
    )  # fmt: skip
    assert [server_options(item) for item in result["servers"]] == [{"common": 1}, {"own": 1}]
    stopped = light("hub_server", servers=[{"user": one}, {"user": two, "state": "started"}], state="stopped")
    assert states(stopped) == ["stopped", "ready"]


@pytest.mark.doors
def test_wrong_declarations_fail_before_any_request(light: Runner) -> None:
    nowhere = light.with_url("http://127.0.0.1:9/")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"servers": [{"user": "a"}, {"user": "a", "state": "stopped"}]}, "is declared twice"),
        ({"user": "a", "state": "absent"}, "default server, which a hub cannot remove"),
        ({"servers": [{"user": "a", "state": "absent"}]}, "default server, which a hub cannot remove"),
        ({"servers": [{"user": "a"}], "user": "b"}, "mutually exclusive"),
        ({"servers": [{"user": "a"}], "server_name": "b"}, "mutually exclusive"),
        ({}, "one of the following is required: user, servers"),
        ({"servers": [{"server_name": "b"}]}, "missing required arguments: user"),
        ({"servers": [{"user": "a", "colour": "red"}]}, "colour"),
        ({"servers": [{"user": "a", "state": "asleep"}]}, "started, stopped, restarted, absent"),
        ({"servers": [{"user": "a"}], "concurrency": 0}, "concurrency must be 1 or more"),
        ({"servers": [{"user": "a", "wait_timeout": "soon"}]}, "wait_timeout"),
        ({"servers": [{"user": ""}]}, "'' is not a valid name on a hub"),
    ]
    results = light.run([nowhere.task("hub_server", **options) for options, _said in cases]).results
    for result, (options, said) in zip(results, cases, strict=True):
        assert result["failed"] is True, options
        assert said in result["msg"], options
    assert light("hub_server", servers=[])["servers"] == []


def test_servers_that_misbehave(any_version: Runner) -> None:
    """In all ways that a light server can misbehave, in parallel, on each version."""
    runner, user = any_version, any_version.new_user()
    uncancelled = runner.hub.version.startswith("4")
    ways: dict[str, tuple[dict[str, Any], str, str]] = {
        "slow": ({"start_seconds": 1.5}, "ready", ""),
        "mute": ({"start_seconds": 1, "no_progress_key": True}, "ready", ""),
        "fails": ({"fail": "no GPU is free"}, "failed", "no GPU is free"),
        "failslater": ({"fail": "no disk is free", "start_seconds": 1.5}, "failed", "no disk is free"),
        "silent": (
            {"fail_silently": True, "start_seconds": 2},
            "failed",
            "imeout",
        ),  # by the hub, or by the module
        # On a hub that cannot cancel a start, it ends by itself, but after the task has given up.
        "never": ({"never": True, "start_timeout": 16 if uncancelled else 300}, "failed", "was not ready after 8 s"),
        "dead": ({"dead": True}, "failed", "it does not answer"),
        "slowstop": ({"stop_seconds": 1.5}, "ready", ""),
        "nostop": ({"stop_fails": True}, "ready", ""),
    }
    impatient = {"never": "8s", "dead": "8s"}
    wanted = [
        {"user": user, "server_name": name, "user_options": options, "wait_timeout": impatient.get(name, "1m")}
        for name, (options, _state, _reason) in ways.items()
    ]
    started = runner("hub_server", servers=wanted)
    for item in started["servers"]:
        _options, state, reason = ways[item["server_name"]]
        assert item["state"] == state, item
        assert reason in (item["reason"] or ""), item
        assert bool(item["url"]) is (state == "ready"), item
    assert set(runner.servers(user)) == {name for name, (_options, state, _reason) in ways.items() if state == "ready"}

    stopped = runner("hub_server", servers=[{"user": user, "server_name": name} for name in ways], state="stopped")
    # A server that the spawner failed to stop is stopped for the hub, which only logs the failure.
    assert (stopped["failed"], set(states(stopped)), runner.servers(user)) == (False, {"stopped"}, {})
    assert changes(stopped) == [item["state"] == "ready" for item in started["servers"]]
    assert next(item["seconds"] for item in stopped["servers"] if item["server_name"] == "slowstop") > 1.4


# One server: restarted, absent, other options


def test_a_restart(any_version: Runner) -> None:
    runner, user = any_version, any_version.new_user()
    first, second = runner.run(
        [runner.task("hub_server", user=user, state="restarted", user_options={"run": n}) for n in (1, 2)]
    ).results
    assert [[action["verb"] for action in result["actions"]] for result in (first, second)] == [
        ["start"], ["stop", "start"],
    ]  # fmt: skip
    assert server_options(second["servers"][0]) == {"run": 2}
    third = runner("hub_server", user=user, state="restarted")
    assert server_options(third["servers"][0]) == {"run": 2}  # without options: those of the last start


def test_a_start_that_never_ends_can_be_restarted(any_version: Runner) -> None:
    runner, user = any_version, any_version.new_user()
    runner("hub_server", user=user, user_options={"never": True, "start_timeout": 4}, wait=False)
    result = runner("hub_server", user=user, user_options={"better": True}, state="restarted")
    assert states(result) == ["ready"]
    assert server_options(result["servers"][0]) == {"better": True}


def test_absent_removes_a_named_server_and_its_options(any_version: Runner) -> None:
    runner, user = any_version, any_version.new_user()
    lab = {"user": user, "server_name": "lab"}
    runner.run(
        [runner.task("hub_server", **lab, user_options={"a": 1}), runner.task("hub_server", **lab, state="stopped")]
    )
    assert known_names(runner, user) >= {"lab"}
    removed, again = runner.run([runner.task("hub_server", **lab, state="absent")] * 2).results
    assert (removed["changed"], states(removed), again["changed"], states(again)) == (
        True,
        ["absent"],
        False,
        ["absent"],
    )
    assert "lab" not in known_names(runner, user)
    # Its options are gone: a new server of that name starts without any.
    started = runner("hub_server", **lab)
    assert server_options(started["servers"][0]) == {}
    assert states(runner("hub_server", **lab, state="absent")) == ["absent"]
    assert "lab" not in known_names(runner, user)


def test_absent_while_it_starts_and_while_it_stops(any_version: Runner) -> None:
    runner, user = any_version, any_version.new_user()
    starts = {"user_options": {"never": True, "start_timeout": 4}, "wait": False}
    stops = {"user_options": {"stop_seconds": 1.5}}
    runner.run(
        [
            runner.task("hub_server", user=user, server_name="one", **starts),
            runner.task("hub_server", user=user, server_name="two", **stops),
        ]
    )
    runner("hub_server", user=user, server_name="two", state="stopped", wait=False)
    result = runner(
        "hub_server", servers=[{"user": user, "server_name": name} for name in ("one", "two")], state="absent"
    )
    assert (states(result), changes(result)) == (["absent", "absent"], [True, True])
    assert not known_names(runner, user) & {"one", "two"}


@pytest.mark.doors
def test_other_options(light: Runner) -> None:
    user = light.new_user()
    light("hub_server", user=user, user_options={"a": 1})

    def ask(policy: str, options: dict[str, Any], **more: Any) -> dict[str, Any]:
        return light.task("hub_server", {"check_mode": more.pop("check", False)}, user=user, user_options=options,
                          on_options_change=policy, **more)  # fmt: skip

    ignored, refused, predicted, restarted, same = light.run(
        [
            ask("ignore", {"a": 2}), ask("fail", {"a": 2}), ask("restart", {"a": 2}, check=True),
            ask("restart", {"a": 2}), ask("fail", {"a": 2}),
        ]
    ).results  # fmt: skip
    assert (ignored["changed"], ignored["servers"][0]["user_options"]) == (False, {"a": 1})
    assert_failed(refused, "conflict", "other user_options", "on_options_change: restart")
    assert (refused["changed"], states(refused)) == (False, ["failed"])
    assert (predicted["actions"], predicted["diff"]) == (restarted["actions"], restarted["diff"])
    [before], [after] = (restarted["diff"][when]["servers"] for when in ("before", "after"))
    assert (before["user_options"], after["user_options"]) == ({"a": 1}, {"a": 2})
    assert server_options(restarted["servers"][0]) == {"a": 2}
    assert (same["changed"], same["failed"]) == (False, False)


@pytest.mark.parametrize("options_format", ["auto", "wrapped", "flat"])
def test_the_format_of_the_options(any_version: Runner, options_format: str) -> None:
    """The options as the spawner gets them. Only with a format that is not the hub's own they arrive in another way."""
    runner, user = any_version, any_version.new_user()
    nested = options_format == "wrapped" and not runner.hub.version.startswith("6")
    started = runner("hub_server", user=user, user_options={"a": 1}, options_format=options_format)
    assert server_options(started["servers"][0]) == ({"user_options": {"a": 1}} if nested else {"a": 1})
    # Without options the last ones, with empty options none.
    reused = runner("hub_server", user=user, state="restarted", options_format=options_format)
    assert server_options(reused["servers"][0]) == server_options(started["servers"][0])
    cleared = runner("hub_server", user=user, state="restarted", user_options={}, options_format=options_format)
    assert server_options(cleared["servers"][0]) == {}
