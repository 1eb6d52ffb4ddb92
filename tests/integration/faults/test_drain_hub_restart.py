# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hub that crashes and starts again while hub_drain or hub_restore is at work. Its light servers end with it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from support.hubs import SHORT_WAITS, crash_hub, running_hub, start_crashed_hub
from support.runner import Runner
from support.waiting import wait_until


def read_record(path: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of the record by user."""
    return {each["user"]: each for each in json.loads(path.read_text())["servers"]} if path.exists() else {}


def test_no_server_is_lost_and_none_counts_as_restored_that_does_not_run(tmp_path: Path) -> None:
    path, gate = tmp_path / "drained.json", tmp_path / "gate"
    with running_hub(tmp_path, config=SHORT_WAITS) as hub, ThreadPoolExecutor(1) as threads:
        runner = Runner("program", hub)
        users = [runner.new_user() for _number in range(3)]
        first, second, third = users
        options: dict[str, dict[str, Any]] = {
            first: {"stop_seconds": 30},
            second: {"start_gate": str(gate), "start_timeout": 600},
            third: {"colour": "red"},
        }
        gate.touch()
        for user in users:
            body = {"user_options": options[user]}
            assert runner.api_request("POST", f"users/{user}/server", body).status_code in (201, 202)
        wait_until(lambda: all((runner.servers(user).get("") or {}).get("ready") for user in users))

        common = {"path": str(path), "concurrency": 1}
        drained = threads.submit(runner, "hub_drain", order="name", **common)
        wait_until(lambda: (runner.servers(first).get("") or {}).get("pending") == "stop")
        crash_hub(hub)
        hub = start_crashed_hub(hub)
        result = drained.result(120)
        assert (result["failed"], result["counts"]["to_restore"]) == (False, 3), result
        assert {user: entry["user_options"] for user, entry in read_record(path).items()} == options

        gate.unlink()
        runner = Runner("program", hub)
        restored = threads.submit(runner, "hub_restore", **common)
        wait_until(lambda: (runner.servers(second).get("") or {}).get("pending") == "spawn")
        assert read_record(path)[first]["restore"] in ("restoring", "restored")
        crash_hub(hub)
        gate.touch()
        hub = start_crashed_hub(hub)
        result = restored.result(120)
        outcomes = {each["user"]: each["outcome"] for each in result["servers"]}
        assert outcomes == {first: "failed", second: "restored", third: "restored"}, result
        assert "was ready and has stopped again" in result["msg"]

        runner = Runner("program", hub)
        again = runner("hub_restore", **common)
        assert not again["failed"], again
        assert {user: runner.servers(user)[""]["user_options"] for user in users} == options
