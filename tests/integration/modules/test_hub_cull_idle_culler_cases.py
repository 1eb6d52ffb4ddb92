# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The five test cases of jupyterhub-idle-culler 2.0.0, run with hub_cull on a real hub.

Its hook, a function in its configuration, decides for each server; here a rule does. Its tests set the clock ten
minutes ahead; these tests do so on the hub, which both doors reach.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator

import pytest
from support.hub_clock import CLOCK_CONFIG, empty_hub, let_time_pass
from support.hubs import HubPool
from support.playbooks import ansible_bin
from support.runner import Runner, run_streaming, runner_environment
from support.waiting import wait_until

pytestmark = pytest.mark.doors


@pytest.fixture
def runner(door: str, pool: HubPool) -> Iterator[Runner]:
    """An empty hub, since a pass is over the whole hub."""
    hub = pool.get(config=CLOCK_CONFIG)
    empty_hub(hub)
    yield Runner(door, hub)
    empty_hub(hub)


def active(runner: Runner) -> set[str]:
    """The users with a server that runs, starts or stops."""
    return {user["name"] for user in runner.api_request("GET", "users?state=active").json()}


def ready(runner: Runner) -> set[str]:
    """The users with a server that is ready."""
    return {user["name"] for user in runner.api_request("GET", "users?state=ready").json()}


def start_users(runner: Runner, number: int) -> set[str]:
    """Create so many users, each with a server that has been idle for ten minutes."""
    users = {runner.new_user() for _number in range(number)}
    for user in users:
        assert runner.api_request("POST", f"users/{user}/server").status_code in (201, 202)
    wait_until(lambda: ready(runner) == users)
    let_time_pass(runner.hub, 600)
    assert active(runner) == users
    return users


def test_alive(runner: Runner) -> None:
    """Its test requests a page of the hub. Here a pass finds nothing."""
    result = runner("hub_cull")
    assert (result["failed"], result["changed"]) == (False, False)
    assert (result["culled"], result["failures"], sum(result["kept_count"].values())) == ([], [], 0)


def test_cull_idle(runner: Runner) -> None:
    users = start_users(runner, 3)
    first, delayed = runner.run([runner.task("hub_cull", idle_timeout=timeout) for timeout in ("1h", "5m")]).results
    # All servers were still there for the second pass.
    assert (first["changed"], first["culled"], first["kept_count"]["active"]) == (False, [], 3)
    assert delayed["changed"] is True
    assert {(item["user"], item["server_name"]) for item in delayed["culled"]} == {(user, "") for user in users}
    assert active(runner) == set()


def test_custom_cull_arbiter(runner: Runner) -> None:
    """Its arbiter culls each server, whatever the limit is."""
    start_users(runner, 3)
    rules = [{"name": "arbiter", "idle_timeout": "1s"}]
    without, result = runner.run(
        [runner.task("hub_cull", idle_timeout="1h", rules=each) for each in ([], rules)]
    ).results
    assert without["culled"] == []
    assert [item["rule"] for item in result["culled"]] == ["arbiter"] * 3
    assert active(runner) == set()


def test_async_custom_cull_arbiter(runner: Runner) -> None:
    """Its asynchronous arbiter keeps each server."""
    users = start_users(runner, 3)
    result = runner("hub_cull", idle_timeout="1s", rules=[{"name": "arbiter", "keep": True}])
    assert (result["changed"], result["culled"], result["kept_count"]["rule"]) == (False, [], 3)
    assert active(runner) == users


def test_help(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its test prints --help. Here the manual page has every option."""
    folder = tmp_path_factory.mktemp("help")
    command = [str(ansible_bin() / "ansible-doc"), "-j", "-t", "module", "hubops.jupyterhub.hub_cull"]
    page = run_streaming(command, runner_environment(folder, {}))
    assert page.status == 0, page.output
    program = importlib.import_module("ansible_collections.hubops.jupyterhub.plugins.modules.hub_cull").MODULE
    options = json.loads(page.stdout)["hubops.jupyterhub.hub_cull"]["doc"]["options"]
    assert options.keys() == program.argument_spec.keys()
    assert {"idle_timeout", "max_age", "cull_users", "cull_admin_users", "concurrency"} <= options.keys()
