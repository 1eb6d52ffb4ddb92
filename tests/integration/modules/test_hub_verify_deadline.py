# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option deadline of hub_verify: a verification ends in whatever phase it is, says where, and leaves no server."""

from __future__ import annotations

import time
from typing import Any

import pytest
from support.fakes.misbehaving_hub import misbehaving_hub, no_answer
from support.runner import Runner, assert_failed
from support.waiting import wait_until

ENDLESS = "10m"
"""A time that no run of this file takes."""


def verdicts(part: dict[str, Any]) -> dict[str, str]:
    return {phase["name"]: phase["verdict"] for phase in part["phases"]}


def test_a_start_that_never_ends(light: Runner) -> None:
    """The check before it has passed, and the one after it is not taken."""
    user, other = light.new_user(), light.new_user()
    hangs = {
        "user": user,
        "name": "hangs",
        "user_options": {"never": True, "start_timeout": 600},
        "wait_timeout": ENDLESS,
    }
    checks = [{"user": other, "name": "passes"}, hangs, {**hangs, "name": "waits", "page": ["lab"]}]
    began = time.monotonic()
    result = light("hub_verify", checks=checks, deadline="10s", request_timeout=ENDLESS)
    assert time.monotonic() - began < 120
    assert_failed(result, "timeout", "not over after 10 s", "raise deadline")
    assert (result["hub"]["verdict"], result["hub"]["version"]) == ("passed", light.hub.version)
    passes, stuck, waits = result["checks"]
    assert verdicts(passes) == {"start": "passed", "stop": "passed"}
    assert verdicts(stuck) == {"start": "failed", "stop": "warned"}
    assert stuck["failure"]["code"] == "timeout"
    assert stuck["phases"][0]["seconds"] > 1
    assert stuck["phases"][0]["details"].keys() >= {"url", "events", "waited_for_room"}
    assert verdicts(waits) == {"start": "failed", "page": "skipped", "stop": "skipped"}
    assert not any(check["server_left"] for check in result["checks"])
    wait_until(lambda: light.servers(user) == {})
    assert light.servers(other) == {}


@pytest.mark.doors
def test_a_hub_that_never_answers(light: Runner) -> None:
    with misbehaving_hub(no_answer) as fake:
        silent = light.with_url(fake.url)
        for run in (silent, silent.check):
            began = time.monotonic()
            result = run("hub_verify", checks=[{"user": "a"}, {"user": "b"}], deadline=1, request_timeout=ENDLESS)
            assert time.monotonic() - began < 55  # the fake hangs up after a minute
            assert_failed(result, "timeout", "not over after 1 s", "raise deadline")
            assert verdicts(result["hub"]) == {"hub": "failed", "token": "skipped"}
            assert [verdicts(check) for check in result["checks"]] == [{"start": "failed", "stop": "skipped"}] * 2
            assert (result["hub"]["version"], result["changed"], result["actions"]) == ("", False, [])
        assert fake.writes == []


def test_a_verification_in_time_is_as_without_a_deadline(light: Runner) -> None:
    user = light.new_user()
    result = light("hub_verify", user=user, deadline=ENDLESS)
    assert (result["verdict"], verdicts(result["checks"][0])) == ("passed", {"start": "passed", "stop": "passed"})


@pytest.mark.parametrize("deadline", ["soon", "0", "-1"])
def test_a_wrong_deadline_is_named(light: Runner, deadline: str) -> None:
    assert_failed(light("hub_verify", checks=[], deadline=deadline), "invalid", "deadline:")
