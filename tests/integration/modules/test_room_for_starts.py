# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many starts on real hubs that have room for few: they wait their turn, and ask the hub as seldom as possible."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.fakes.cutting_proxy import CuttingProxy, Exchange, cutting_proxy
from support.fakes.misbehaving_hub import Answer, Request, forward_to, misbehaving_hub
from support.hubs import Hub, HubPool, crash_hub, running_hub, start_crashed_hub
from support.runner import Runner, assert_failed
from support.waiting import wait_until

MOST_SERVERS = 14
LONG, SHORT = 85, 1
"""Seconds that a hub without room asks to wait. JupyterHub 4.1 answers 500 if they are more than 90."""
SHORTER = "80s"
"""A wait_timeout in which no start can wait for ``LONG`` seconds."""


def narrow_config(seconds: int) -> str:
    """Configuration of a hub with room for two starts at a time, and for `MOST_SERVERS` servers."""
    # The names of tornado_settings cannot be configured: they lack the tag config=True (JupyterHub 6.1 and before).
    return f"""
c.JupyterHub.concurrent_spawn_limit = 2
c.JupyterHub.active_server_limit = {MOST_SERVERS}
c.JupyterHub.tornado_settings = {{
    "slow_spawn_timeout": 1, "slow_stop_timeout": 1, "spawn_throttle_retry_range": ({seconds}, {seconds + 0.5})
}}
"""


@pytest.fixture(
    params=[
        pytest.param(("controller", "6.1"), id="controller-6.1", marks=pytest.mark.doors),
        pytest.param(("module", "6.1"), id="module-6.1", marks=pytest.mark.doors),
        pytest.param(("program", "5.5"), id="program-5.5"),
        pytest.param(("program", "4.1"), id="program-4.1"),
    ]
)
def narrow(request: pytest.FixtureRequest, pool: HubPool) -> Runner:
    """A runner for a hub with room for two starts, which asks to come back after a long time."""
    door, version = request.param
    return Runner(door, pool.get(version, config=narrow_config(LONG)))


@pytest.fixture
def narrow_soon(pool: HubPool) -> Runner:
    """A runner for such a hub that asks to come back after a second."""
    return Runner("program", pool.get(config=narrow_config(SHORT)))


@pytest.fixture
def used(narrow_soon: Runner, gate: Path) -> Iterator[Runner]:
    """The hub of ``narrow_soon``, all of whose room others use until the gate is opened."""
    users = [narrow_soon.new_user() for _number in range(2)]
    for user in users:
        answer = narrow_soon.api_request("POST", f"users/{user}/server", {"user_options": {"start_gate": str(gate)}})
        assert answer.status_code == 202
    yield narrow_soon
    gate.touch()
    stop_all(narrow_soon, users)


def new_users(runner: Runner, number: int) -> list[str]:
    return [runner.new_user() for _number in range(number)]


def stop_all(runner: Runner, users: list[str]) -> None:
    """Stop the servers, so that those of the next test have room."""
    wanted = [{"user": user} for user in users]
    assert not Runner("program", runner.hub)("hub_server", servers=wanted, state="stopped")["failed"]


def states(result: dict[str, Any]) -> list[str]:
    return [item["state"] for item in result["servers"]]


def list_starts(proxy: CuttingProxy) -> list[Exchange]:
    return [one for one in proxy.exchanges if one.method == "POST" and one.path.endswith("/server")]


def count_refused(proxy: CuttingProxy) -> int:
    return sum(one.status == 429 for one in list_starts(proxy))


# hub_server


def test_one_start_follows_another(narrow: Runner) -> None:
    users = new_users(narrow, 12)
    with cutting_proxy(narrow.hub.url) as proxy:
        servers = [{"user": user} for user in users]
        options = {"user_options": {"start_seconds": 0.3}, "wait_timeout": SHORTER}
        result = narrow.with_url(proxy.url)("hub_server", servers=servers, **options)
    assert (result["failed"], set(states(result))) == (False, {"ready"})
    # No start has waited for the time that the hub names. Ten starts ask at first, and those that the hub refuses ask
    # once more.
    assert 1 <= count_refused(proxy) <= 10
    assert len(list_starts(proxy)) == 12 + count_refused(proxy)
    stop_all(narrow, users)


def test_the_active_server_limit_is_told_at_once(narrow: Runner) -> None:
    users = new_users(narrow, MOST_SERVERS + 2)
    result = narrow("hub_server", servers=[{"user": user} for user in users], wait_timeout="30m")
    words = (
        "2 of 16 servers failed",
        "active_server_limit allows. Waiting does not help",
        "Try again when fewer servers",
    )
    failure = assert_failed(result, "rate_limited", *words)
    assert failure["status"] == 429
    assert sorted(states(result)) == ["failed"] * 2 + ["ready"] * MOST_SERVERS
    assert [item["changed"] for item in result["servers"]] == [state == "ready" for state in states(result)]
    stop_all(narrow, users)


def test_a_start_that_does_not_wait_asks_once(used: Runner) -> None:
    users = new_users(used, 3)
    with cutting_proxy(used.hub.url) as proxy:
        servers = [{"user": user} for user in users]
        result = used.with_url(proxy.url)("hub_server", servers=servers, wait=False)
    assert_failed(result, "rate_limited", "3 of 3 servers failed", "With wait: true, the task waits")
    assert (len(list_starts(proxy)), states(result), result["changed"]) == (3, ["failed"] * 3, False)


def test_only_the_first_start_asks_while_others_use_the_room(used: Runner, gate: Path) -> None:
    users = new_users(used, 5)
    lock = threading.Lock()
    # When each start was refused, and when it was repeated, until the gate was opened.
    refused: dict[str, list[float]] = defaultdict(list)
    again: dict[str, list[float]] = defaultdict(list)

    def observe(moment: str, exchange: Exchange) -> None:
        with lock:
            if exchange.method != "POST" or gate.exists():
                return
            if moment == "request_received" and refused[exchange.path]:
                again[exchange.path].append(time.monotonic())
            if moment == "hub_answered" and exchange.status == 429:
                refused[exchange.path].append(time.monotonic())
                if max(map(len, refused.values())) == 4:
                    gate.touch()

    with cutting_proxy(used.hub.url) as proxy:
        proxy.observer = observe
        result = used.with_url(proxy.url)("hub_server", servers=[{"user": user} for user in users])
    assert (result["failed"], set(states(result))) == (False, {"ready"})
    [(path, repeated)] = again.items()
    assert len(repeated) == 3
    assert all(back - when >= SHORT for when, back in zip(refused[path], repeated, strict=False))
    stop_all(used, users)


def test_a_hub_without_room_is_named_when_the_time_is_over(used: Runner) -> None:
    users = new_users(used, 2)
    result = used("hub_server", servers=[{"user": user} for user in users], wait_timeout="4s")
    words = (
        "had no room for the server of user",
        "within its wait_timeout of 4 s",
        "under way at the end: 0",
        "concurrent_",
    )
    assert_failed(result, "rate_limited", *words)
    assert (result["changed"], states(result)) == (False, ["failed"] * 2)


def test_a_proxy_that_limits_requests_and_names_no_time(light_program: Runner) -> None:
    users, forward = new_users(light_program, 6), forward_to(light_program.hub.url)
    lock, let_through = threading.Lock(), [0.0]

    def behave(request: Request) -> Answer | None:
        with lock:
            is_start = request.method == "POST" and request.path.endswith("/server")
            if is_start and time.monotonic() - let_through[-1] < 1.0:
                return Answer(b"<html><head><title>429 Too Many Requests</title></head></html>", status=429)
            let_through.extend([time.monotonic()] if is_start else [])
        return forward(request)

    with misbehaving_hub(behave) as fake:
        result = light_program.with_url(fake.url + "jhub/")("hub_server", servers=[{"user": user} for user in users])
        asked = [write for write in fake.writes if write.endswith("/server")]
    assert (result["failed"], set(states(result))) == (False, {"ready"})
    # The proxy refuses the next start also after one has ended. So each start may ask a few times.
    assert len(asked) <= 5 * len(users)


@pytest.fixture
def light_program(hub_61: Hub) -> Runner:
    return Runner("program", hub_61)


def test_a_restart_of_the_hub_loses_no_start(tmp_path: Path, gate: Path) -> None:
    with running_hub(tmp_path, config=narrow_config(LONG)) as hub, cutting_proxy(hub.url) as proxy:
        runner = Runner("program", hub)
        users = new_users(runner, 6)
        servers = [{"user": user, "user_options": {"start_gate": str(gate)}} for user in users]

        def is_half_way() -> bool:
            pending = [user for user in users if runner.servers(user).get("", {}).get("pending") == "spawn"]
            return len(pending) == 2 and count_refused(proxy) > 0

        with ThreadPoolExecutor() as threads:
            running = threads.submit(runner.with_url(proxy.url), "hub_server", servers=servers)
            wait_until(is_half_way)
            crash_hub(hub)
            start_crashed_hub(hub)
            gate.touch()
            result = running.result()
    assert (result["failed"], states(result)) == (False, ["ready"] * 6)


# hub_verify


def test_ten_checks_on_a_hub_with_room_for_two_starts(narrow: Runner) -> None:
    users = new_users(narrow, 10)
    start = "start:servers" if narrow.hub.version.startswith("6") else "servers"
    scopes = ("read:servers!user", f"{start}!user", "delete:servers!user", "access:servers!user")
    # Each check has an account of its own. All of them go through one gate.
    checks = [{"api_token": narrow.mint(user, *scopes)} for user in users]
    with cutting_proxy(narrow.hub.url) as proxy:
        options = {"user_options": {"start_seconds": 0.3}, "warn_after": "4m"}
        result = narrow.with_url(proxy.url)("hub_verify", checks=checks, **options)
    assert (result["failed"], result["verdict"]) == (False, "passed")
    assert 1 <= count_refused(proxy) <= 10
    assert len(list_starts(proxy)) == 10 + count_refused(proxy)
    starts = [check["phases"][0] for check in result["checks"]]
    waited = [each for each in starts if each["details"]["waited_for_room"] > 0]
    # Two at a time, for 0.3 s each: at least those that began last have waited.
    assert len(waited) >= 2
    assert all(each["details"]["waited_for_room"] < each["seconds"] for each in starts)
    assert all("until the hub had room" in each["message"] for each in waited)
