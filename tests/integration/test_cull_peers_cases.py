# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What jupyterhub-idle-culler 2.0.0 is tested with, asked of hub_cull: the same five cases, on a real hub.

Its hook, a function in its configuration, decides for each server. Here that is a rule. Its tests set the clock ten
minutes ahead; through a door there is no other clock, so the second limit is a second.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Iterator

import pytest
from doors import At, ansible_bin, environment, until, watch
from hubs import Hub, running_hub

pytestmark = pytest.mark.doors


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Nobody else's: a pass is over all of it."""
    with running_hub(tmp_path_factory.mktemp("peers")) as running:
        yield running


@pytest.fixture
def at(door: str, hub: Hub) -> Iterator[At]:
    at = At(door, hub)
    assert active(at) == set()
    yield at
    for user in active(at):
        assert at.api("DELETE", f"users/{user}/server").status_code == 204


def active(at: At) -> set[str]:
    """Users with servers."""
    return {user["name"] for user in at.api("GET", "users?state=active").json()}


def start_users(at: At, number: int) -> set[str]:
    """So many users with a server each, that have been idle for more than a second."""
    users = {at.new_user() for _number in range(number)}
    for user in users:
        assert at.api("POST", f"users/{user}/server").status_code == 201
    assert until(lambda: active(at) == users)
    time.sleep(1.1)
    return users


def test_alive(at: At) -> None:
    """The hub answers. Here: a pass over it that finds nothing."""
    result = at("hub_cull")
    assert (result["failed"], result["changed"]) == (False, False)
    assert (result["culled"], result["failures"], sum(result["kept_count"].values())) == ([], [], 0)


def test_cull_idle(at: At) -> None:
    users = start_users(at, 3)
    result = at("hub_cull", idle_timeout="5m")
    assert (result["changed"], result["culled"], result["kept_count"]["active"]) == (False, [], 3)
    assert active(at) == users
    result = at("hub_cull", idle_timeout="1s")
    assert result["changed"] is True
    assert {(item["user"], item["server_name"]) for item in result["culled"]} == {(user, "") for user in users}
    assert active(at) == set()


def test_custom_cull_arbiter(at: At) -> None:
    """It says yes to each, whatever the limit."""
    start_users(at, 3)
    assert at("hub_cull", idle_timeout="5m")["culled"] == []
    result = at("hub_cull", idle_timeout="5m", rules=[{"name": "arbiter", "idle_timeout": "1s"}])
    assert [item["rule"] for item in result["culled"]] == ["arbiter"] * 3
    assert active(at) == set()


def test_async_custom_cull_arbiter(at: At) -> None:
    """It says no to each, at its leisure."""
    users = start_users(at, 3)
    result = at("hub_cull", idle_timeout="1s", rules=[{"name": "arbiter", "keep": True}])
    assert (result["changed"], result["culled"], result["kept_count"]["rule"]) == (False, [], 3)
    assert active(at) == users


def test_help(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its --help is printed. Here that is the manual page, and it has every option."""
    folder = tmp_path_factory.mktemp("help")
    command = [str(ansible_bin() / "ansible-doc"), "-j", "-t", "module", "hubops.jupyterhub.hub_cull"]
    page = watch(command, environment(folder, {}))
    assert page.status == 0, page.output
    program = importlib.import_module("ansible_collections.hubops.jupyterhub.plugins.modules.hub_cull").PROGRAM
    options = json.loads(page.stdout)["hubops.jupyterhub.hub_cull"]["doc"]["options"]
    assert options.keys() == program.argument_spec.keys()
    assert {"idle_timeout", "max_age", "cull_users", "cull_admin_users", "concurrency"} <= options.keys()
