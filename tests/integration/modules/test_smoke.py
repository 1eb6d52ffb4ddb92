# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each module once through each door, on one hub with real servers. `make check` runs it after the unit tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.hubs import REPOSITORY
from support.runner import Runner

pytestmark = pytest.mark.doors


def test_every_module(real: Runner, tmp_path: Path) -> None:
    # Other files have left servers on the hub, and a drain takes all that are not excluded. No other user's name begins
    # with 0.
    user, record, others = f"0-smoke-{real.door}", str(tmp_path / "drained.json"), ["[!0]*"]
    steps: dict[str, dict[str, Any]] = {
        "there is a user": real.task("hub_user", user=user),
        "in a group": real.task("hub_group", name=user, users=[user], properties={"of": "smoke"}),
        "with a token": real.task("hub_token", user=user, note="smoke", scopes=["read:users:name!user"]),
        "with a server": real.task("hub_server", user=user, wait_timeout="5m"),
        "that runs code": real.task("hub_exec", user=user, code="6 * 7", timeout="5m"),
        "and is listed": real.task("hub_info", gather=["servers"], users=[user]),
        "with everything": real.task("hub_info", gather=["all"]),
        "and is not culled": real.task("hub_cull", idle_timeout="never", rules=[{"users": [user], "keep": True}]),
        "is drained": real.task("hub_drain", path=record, exclude_users=others),
        "and restored": real.task("hub_restore", path=record),
        "until it stops": real.task("hub_server", user=user, state="stopped", wait_timeout="5m"),
        "and is written down": real.task("hub_snapshot", path=f"{tmp_path}/one.json"),
        "and is verified": real.task("hub_verify", user=user, code=[{"code": "6 * 7"}]),
        "and compared": real.task("hub_compare", before=str(tmp_path)),
        "and the group": real.task("hub_group", name=user, state="absent"),
        "nobody is left": real.task("hub_user", user=user, state="absent"),
    }
    results = dict(zip(steps, real.run(list(steps.values())).results, strict=True))
    for name, result in results.items():
        assert not result["failed"], (name, result)
    changed = {name: result["changed"] for name, result in results.items()}
    assert [name for name, each in changed.items() if not each] == [
        "and is listed",
        "with everything",
        "and is not culled",
        "and compared",
    ]
    assert results["that runs code"]["result"] == "42"
    assert results["with a server"]["servers"][0]["state"] == "ready"
    assert [server["user"] for server in results["and is listed"]["servers"]] == [user]
    assert results["in a group"]["group"]["users"] == [user]
    assert results["with everything"]["unreadable"] == []
    assert results["and is not culled"]["kept_count"]["rule"] == 1
    assert [server["user"] for server in results["is drained"]["drained"]] == [user]
    assert [server["outcome"] for server in results["and restored"]["servers"]] == ["restored"]
    assert results["and is verified"]["verdict"] == "passed"
    assert results["and compared"]["counts"]["lost"] == 0
    modules = {next(iter(step)).rpartition(".")[2] for step in steps.values()}
    assert modules == {path.stem for path in (REPOSITORY / "plugins" / "modules").glob("hub_*.py")}
