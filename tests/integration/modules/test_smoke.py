# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each module once through each door, on one hub with real servers. `make check` runs it after the unit tests."""

from __future__ import annotations

from typing import Any

import pytest
from support.hubs import REPOSITORY
from support.runner import Runner

pytestmark = pytest.mark.doors


def test_every_module(real: Runner) -> None:
    user = f"smoke-{real.door}"
    steps: dict[str, dict[str, Any]] = {
        "there is a user": real.task("hub_user", user=user),
        "with a token": real.task("hub_token", user=user, note="smoke", scopes=["read:users:name!user"]),
        "with a server": real.task("hub_server", user=user, wait_timeout="5m"),
        "that runs code": real.task("hub_exec", user=user, code="6 * 7", timeout="5m"),
        "and is listed": real.task("hub_info", gather=["servers"], users=[user]),
        "and is not culled": real.task("hub_cull", idle_timeout="never", rules=[{"users": [user], "keep": True}]),
        "until it stops": real.task("hub_server", user=user, state="stopped", wait_timeout="5m"),
        "and is verified": real.task("hub_verify", user=user, code=[{"code": "6 * 7"}]),
        "nobody is left": real.task("hub_user", user=user, state="absent"),
    }
    results = dict(zip(steps, real.run(list(steps.values())).results, strict=True))
    for name, result in results.items():
        assert not result["failed"], (name, result)
    changed = {name: result["changed"] for name, result in results.items()}
    assert [name for name, each in changed.items() if not each] == ["and is listed", "and is not culled"]
    assert results["that runs code"]["result"] == "42"
    assert results["with a server"]["servers"][0]["state"] == "ready"
    assert [server["user"] for server in results["and is listed"]["servers"]] == [user]
    assert results["and is not culled"]["kept_count"]["rule"] == 1
    assert results["and is verified"]["verdict"] == "passed"
    modules = {next(iter(step)).rpartition(".")[2] for step in steps.values()}
    assert modules == {path.stem for path in (REPOSITORY / "plugins" / "modules").glob("hub_*.py")}
