# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One user nests the options of a server as deeply as the hub accepts. Tasks for the whole hub work all the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.responses import TOO_DEEP
from support.hub_clock import empty_hub
from support.hubs import SHORT_WAITS, HubPool
from support.runner import DOORS, Runner
from support.waiting import wait_until


@pytest.fixture(params=[pytest.param(door, marks=pytest.mark.doors) for door in DOORS])
def runner(request: pytest.FixtureRequest, pool: HubPool) -> Iterator[Runner]:
    """An empty hub, because the tasks are of a whole hub. This process can read its deepest options, too."""
    runner, limit = Runner(request.param, pool.get("6.1", config=SHORT_WAITS)), sys.getrecursionlimit()
    sys.setrecursionlimit(3000)
    try:
        empty_hub(runner.hub)
        yield runner
    finally:
        empty_hub(runner.hub)
        sys.setrecursionlimit(limit)


def start(runner: Runner, user: str, token: str, options: str) -> None:
    """Start a server with options in JSON, as the user."""
    headers = {"Authorization": f"token {token}"}
    body = f'{{"user_options": {options}}}'.encode()
    assert requests.post(f"{runner.hub.api}/users/{user}/server", body, headers=headers, timeout=60).ok
    wait_until(lambda: (runner.servers(user).get("") or {}).get("ready"))


def find_options(runner: Runner) -> dict[str, str]:
    """The options of all servers that run, as JSON."""
    found = json.loads(runner.api_request("GET", "users").content)
    return {each["name"]: json.dumps(each["servers"][""]["user_options"]) for each in found if each["servers"]}


@pytest.mark.parametrize("depth", [480, 900, 955])
def test_tasks_for_the_whole_hub(runner: Runner, depth: int, tmp_path: Path) -> None:
    deep, usual = runner.new_user(), runner.new_user()
    nested = "[" * depth + "]" * depth
    start(runner, deep, runner.mint(deep, "inherit"), f'{{"x": {nested}, "note": "\\ud83d\\ude00"}}')
    start(runner, usual, runner.mint(usual, "inherit"), '{"profile": "gpu"}')
    wanted = find_options(runner)
    assert nested in wanted[deep]
    before, record = str(tmp_path / "before.json"), str(tmp_path / "drained.json")

    def run(module: str, keywords: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        ran = runner.run([runner.task(module, keywords, **options)], arguments=["--diff", "-v"])
        [result] = ran.results
        assert not result["failed"], result
        assert "ecursion" not in ran.output
        assert "omitted" not in ran.output
        return result

    run("hub_snapshot", path=before)
    assert nested in Path(before).read_text()
    found = run("hub_info", gather=["users", "servers"])
    assert TOO_DEEP in json.dumps([each["user_options"] for each in found["servers"] if each["user"] == deep])
    assert {"profile": "gpu"} in [each["user_options"] for each in found["servers"]]
    assert TOO_DEEP in json.dumps(run("hub_info", gather=["all"]))
    assert run("hub_compare", before=before)["differences"] == []
    assert run("hub_cull", {"check_mode": True}, idle_timeout="1h")["culled"] == []
    foreseen = run("hub_drain", {"check_mode": True}, path=record)
    assert (foreseen["counts"]["drained"], find_options(runner)) == (2, wanted)

    done = run("hub_drain", path=record)
    assert ({each["user"] for each in done["drained"]}, find_options(runner)) == ({deep, usual}, {})
    assert TOO_DEEP in json.dumps(done["drained"])
    assert nested in Path(record).read_text()
    drained = run("hub_compare", before=before, drained=record)
    assert (drained["counts"]["lost"], len(drained["servers"]["drained"])) == (0, 2)
    assert run("hub_restore", {"check_mode": True}, path=record)["counts"]["restored"] == 2
    assert find_options(runner) == {}
    assert run("hub_restore", path=record)["counts"]["restored"] == 2
    assert find_options(runner) == wanted
    after = run("hub_compare", before=before, drained=record)
    assert [each for each in after["differences"] if each["kind"] == "option"] == []


def test_a_deep_difference_is_told(runner: Runner, tmp_path: Path) -> None:
    """The innermost values differ. The report says so, although it shows neither."""
    user, before, depth = runner.new_user(), str(tmp_path / "before.json"), 900
    token = runner.mint(user, "inherit")
    for number in (1, 2):
        start(runner, user, token, f'{{"x": {"[" * depth}{number}{"]" * depth}}}')
        if number == 1:
            assert not runner("hub_snapshot", path=before)["failed"]
            assert runner.api_request("DELETE", f"users/{user}/server").ok
            wait_until(lambda: not runner.servers(user))
    found = runner("hub_compare", before=before)
    assert not found["failed"], found
    differences = [each for each in found["differences"] if each["kind"] == "option"]
    assert [(each["name"], each["field"]) for each in differences] == [(user, "x")]
