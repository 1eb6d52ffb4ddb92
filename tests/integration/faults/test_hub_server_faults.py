# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_server` when something fails on the way: a proxy cuts streams and requests, stops take long, hubs have no room,
hubs crash, tokens expire. What the module says of a server is also what the hub says of it then.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import BY_STATUS, HubError
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_server import MODULE
from support.fakes.cutting_proxy import (
    NO_FAULT,
    CuttingProxy,
    Exchange,
    Fault,
    cutting_proxy,
    fault_for,
    open_gate,
    random_faults,
    run_once,
    stream_contains,
)
from support.hubs import SHORT_WAITS, Hub, crash_hub, running_hub, start_crashed_hub
from support.runner import Runner, assert_failed
from support.waiting import wait_until

CODES = {kind.code for kind in (*HubError.__subclasses__(), *BY_STATUS.values())}
ALWAYS = 1000  # times


@pytest.fixture
def runner(hub_61: Hub) -> Runner:
    return Runner("program", hub_61)


@pytest.fixture
def short_timeout_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Wait only for a second for answers to requests of this method. Reads have their usual timeout."""
    patient = HubClient._send_within

    def give_up_soon(short_method: str) -> None:
        def send_with_timeout(self: HubClient, timeout: float, method: str, url: str, **more: Any) -> Any:
            return patient(self, min(timeout, 1.0) if method == short_method else timeout, method, url, **more)

        monkeypatch.setattr(HubClient, "_send_within", send_with_timeout)

    return give_up_soon


def item(result: dict[str, Any]) -> dict[str, Any]:
    (only,) = result["servers"]
    return only


def steps(result: dict[str, Any]) -> list[str]:
    """The messages of the spawner."""
    return [event["message"] for event in item(result)["events"] if event["message"].startswith("Step ")]


def statuses(proxy: CuttingProxy, method: str, end: str) -> list[int | None]:
    """The statuses of the requests with this method and this end of the path."""
    found = [each for each in proxy.exchanges if each.method == method]
    return [each.status for each in found if each.path.partition("?")[0].endswith(end)]


def run_with_progress(runner: Runner, report: Callable[[str], None], **options: Any) -> dict[str, Any]:
    """The result of a task that reports its progress, as through the controller's door."""
    options |= {"hub_url": runner.url or runner.hub.url, "api_token": runner.hub.admin_token}
    checked = ArgumentSpecValidator(MODULE.argument_spec, **MODULE.rules).validate(options)
    return MODULE.run(checked.validated_parameters, check_mode=False, verbosity=0, report=report)


def polled_with_growing_pauses(proxy: CuttingProxy, user: str, result: dict[str, Any]) -> bool:
    """Whether the pauses between polls have grown from a tenth of a second to a second: that makes 7 polls in the first
    2 s. They may begin again once, and the plan polls, too."""
    return len(statuses(proxy, "GET", f"/users/{user}")) <= 16 + item(result)["seconds"]


# Streams


@pytest.mark.parametrize("reset", [False, True])
def test_a_stream_that_is_cut_again_and_again(runner: Runner, gate: Path, reset: bool) -> None:
    user, longer = runner.new_user(), count(2)
    options = {"start_seconds": 2, "start_gate": str(gate)}
    said: list[tuple[str, bool]] = []

    def plan(exchange: Exchange) -> Fault:
        """Cut each stream one event later than the one before it."""
        ends = exchange.path.endswith("/progress")
        return Fault("stream_cut", events=next(longer), reset=reset) if ends else NO_FAULT

    def report(line: str) -> None:
        said.append((line, gate.exists()))
        if "Step 4 of 4" in line:
            gate.touch()

    with cutting_proxy(runner.hub.url, plan) as proxy:
        result = run_with_progress(runner.with_url(proxy.url), report, user=user, user_options=options)
    assert item(result)["state"] == "ready"
    # Each message comes once and in order, although each stream has all messages again.
    assert [int(message.split()[1]) for message in steps(result)] == [1, 2, 3, 4]
    times = [event["seconds"] for event in item(result)["events"]]
    assert times == sorted(times)
    # And it is shown when it comes: the server waits until the last one is shown.
    assert [opened for line, opened in said if "Step " in line] == [False] * 4
    assert 4 <= len(statuses(proxy, "GET", "/progress")) <= 8


def test_a_stream_that_a_proxy_buffers(runner: Runner, gate: Path) -> None:
    """As with a proxy that buffers answers."""
    options = {"start_seconds": 1, "start_gate": str(gate)}
    with cutting_proxy(runner.hub.url, fault_for("GET", "/progress", Fault("stream_buffered"), ALWAYS)) as proxy:
        proxy.observer = open_gate(gate, stream_contains("Step 2 of 2"))
        result = runner.with_url(proxy.url)("hub_server", user=runner.new_user(), user_options=options)
    assert item(result)["state"] == "ready"
    assert len(steps(result)) == 2
    assert len(statuses(proxy, "GET", "/progress")) == 1


@pytest.mark.parametrize("fault", [Fault("request_lost"), Fault("stream_cut", reset=True)], ids=str)
def test_no_stream_at_all(runner: Runner, tmp_path: Path, gate: Path, fault: Fault) -> None:
    user, second = runner.new_user(), tmp_path / "second gate"
    with cutting_proxy(runner.hub.url, fault_for("GET", "/progress", fault, ALWAYS)) as proxy:
        there = runner.with_url(proxy.url)
        # At the end the server is polled every second.
        proxy.observer = open_gate(gate, lambda moment, exchange: len(statuses(proxy, "GET", f"/users/{user}")) >= 9)
        result = there("hub_server", user=user, user_options={"start_gate": str(gate)})
        assert (item(result)["state"], item(result)["events"]) == ("ready", [])
        assert polled_with_growing_pauses(proxy, user, result)
        # The answer to the request does not show the start.
        proxy.observer = open_gate(second, lambda moment, exchange: statuses(proxy, "POST", "/servers/lab") == [202])
        fails = {"start_gate": str(second), "fail": "no GPU"}
        broken = there("hub_server", user=user, server_name="lab", user_options=fails)
    assert_failed(broken, "spawn_failed", "server 'lab'")
    assert item(broken)["reason"]
    assert second.exists()


# Requests


@pytest.mark.parametrize(
    "fault",
    [
        Fault("answer_lost"),
        Fault("answer_lost", reset=True),
        Fault("answer_cut", part="head"),
        Fault("closed_after_answer"),
    ],
    ids=str,
)
@pytest.mark.parametrize("waits", [False, True], ids=["0", "3"])
def test_a_start_whose_answer_is_lost(runner: Runner, gate: Path, fault: Fault, waits: bool) -> None:
    user, options = runner.new_user(), {"start_gate": str(gate)} if waits else {}
    with cutting_proxy(runner.hub.url, fault_for("POST", "/server", fault)) as proxy:
        # A poll after the hub has answered that the server is not ready yet.
        proxy.observer = open_gate(
            gate, lambda *_: proxy.exchanges[-1].method == "GET" and 202 in statuses(proxy, "POST", "")
        )
        result = runner.with_url(proxy.url)("hub_server", user=user, user_options=options)
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    assert runner.servers(user)[""]["user_options"] == options


@pytest.mark.parametrize("kind", ["answer_late", "request_late"])
def test_a_start_whose_answer_comes_after_the_timeout(
    runner: Runner, gate: Path, short_timeout_for: Callable[[str], None], kind: str
) -> None:
    user = runner.new_user()
    short_timeout_for("POST")
    with cutting_proxy(runner.hub.url, fault_for("POST", "/server", Fault(kind, seconds=math.inf))) as proxy:
        proxy.observer = open_gate(
            gate, lambda moment, exchange: moment == "answer_sent" and exchange.fault.kind == kind
        )
        result = runner.with_url(proxy.url)("hub_server", user=user, user_options={"start_gate": str(gate)})
        proxy.wait_until_idle()
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    assert set(runner.servers(user)) == {""}


@pytest.mark.parametrize(
    "fault", [Fault("request_lost"), Fault("answer_lost"), Fault("answer_lost", reset=True)], ids=str
)
def test_a_stop_that_is_cut(runner: Runner, gate: Path, fault: Fault) -> None:
    user = runner.new_user()
    runner.api_request("POST", f"users/{user}/server", {"user_options": {"stop_gate": str(gate)}})
    with cutting_proxy(runner.hub.url, fault_for("DELETE", "/server", fault)) as proxy:
        # The hub has answered that the stop has begun, even if the answer is lost.
        proxy.observer = open_gate(gate, lambda *_: 202 in statuses(proxy, "DELETE", "/server"))
        result = runner.with_url(proxy.url)("hub_server", user=user, state="stopped")
    assert (result["changed"], item(result)["state"]) == (True, "stopped")
    assert runner.servers(user) == {}


@pytest.mark.parametrize("seed", range(8))
def test_random_faults(runner: Runner, seed: int) -> None:
    user = runner.new_user()
    # At once, within the second that the hub waits before it answers, and after it.
    options = {"start_seconds": (seed % 3) * 0.6, "stop_seconds": (seed % 2) * 1.2}
    with cutting_proxy(runner.hub.url, random_faults(seed, share=0.25)) as proxy:
        there = runner.with_url(proxy.url)
        for state, end in (("started", "ready"), ("stopped", "stopped")) * 2:
            result = there("hub_server", user=user, state=state, user_options=options, wait_timeout="60s")
            found = runner.servers(user).get("")
            if not result["failed"]:
                assert item(result)["state"] == end, proxy.log
                assert (found is not None and found["ready"]) is (end == "ready"), proxy.log
            else:
                assert result["failure"]["code"] in CODES
                assert "exception" not in result
                assert item(result)["reason"]
            # In any case the next run, without faults, succeeds.
            assert item(runner("hub_server", user=user, state=state, wait_timeout="60s"))["state"] == end, proxy.log


# Failures of the spawner that look like the hub's or a proxy's


@pytest.mark.parametrize("hub", ["hub_61", "hub_55", "hub_41"])
def test_a_spawner_that_fails_with_a_status_of_its_own(hub: str, gate: Path, request: pytest.FixtureRequest) -> None:
    runner = Runner("program", request.getfixturevalue(hub))
    user, options = runner.new_user(), {"fail": "quota used up"}
    at_once = [{**options, "fail_status": code} for code in (403, 429, 503)]
    each = [*at_once, *({**one, "start_gate": str(gate)} for one in at_once)]
    servers = [{"user": user, "server_name": f"s{place}", "user_options": one} for place, one in enumerate(each)]
    with cutting_proxy(runner.hub.url) as proxy:

        def answers() -> list[int]:
            return [one.status for one in proxy.exchanges if one.method == "POST" and one.status]

        # Each start has got its answer: its failure, or that it is under way.
        proxy.observer = open_gate(gate, lambda *_: len(answers()) == len(servers))
        result = runner.with_url(proxy.url)("hub_server", servers=servers)
    assert answers().count(202) >= 3  # a slow hub answers this also for a start that fails at once
    found = runner.api_request("GET", f"users/{user}?include_stopped_servers=1").json()["servers"]
    assert len([one for one in proxy.exchanges if one.method == "POST"]) == len(servers)
    for one in result["servers"]:
        assert (one["state"], one["changed"], one["failure"]["code"]) == ("failed", True, "spawn_failed")
        assert "quota used up" in one["reason"]
        assert one["user_options"] == found[one["server_name"]]["user_options"]


def test_a_failed_start_whose_answer_is_late_is_not_repeated(
    runner: Runner, gate: Path, short_timeout_for: Callable[[str], None]
) -> None:
    options = {"start_gate": str(gate), "fail": "boom"}
    short_timeout_for("POST")
    with cutting_proxy(runner.hub.url, fault_for("POST", "/server", Fault("answer_late", seconds=math.inf))) as proxy:
        proxy.observer = open_gate(gate, lambda moment, exchange: moment == "answer_sent" and exchange.method == "POST")
        result = runner.with_url(proxy.url)("hub_server", user=runner.new_user(), user_options=options)
        proxy.wait_until_idle()
    assert_failed(result, "spawn_failed", "boom")
    assert len(statuses(proxy, "POST", "/server")) == 1


# A slow stop


def test_a_stop_that_the_hub_has_only_begun(runner: Runner, gate: Path) -> None:
    user = runner.new_user()
    runner.api_request("POST", f"users/{user}/server", {"user_options": {"stop_gate": str(gate)}})
    with cutting_proxy(runner.hub.url) as proxy:

        def is_polled_often(moment: str, exchange: Exchange) -> bool:
            methods = [each.method for each in proxy.exchanges if each.status]
            return "DELETE" in methods and methods[methods.index("DELETE") :].count("GET") >= 10

        proxy.observer = open_gate(gate, is_polled_often)
        result = runner.with_url(proxy.url)("hub_server", user=user, state="stopped")
    assert statuses(proxy, "DELETE", "/server") == [202]
    assert item(result)["state"] == "stopped"
    assert gate.exists()
    assert polled_with_growing_pauses(proxy, user, result)
    assert runner.servers(user) == {}


def test_a_stop_whose_answer_comes_after_the_timeout(
    hub_55: Hub, gate: Path, short_timeout_for: Callable[[str], None]
) -> None:
    """A hub may answer a DELETE after 10 s. Here the module does not wait that long for it."""
    runner = Runner("program", hub_55)
    user = runner.new_user()
    runner.api_request("POST", f"users/{user}/server", {"stop_gate": str(gate)})
    short_timeout_for("DELETE")
    with cutting_proxy(runner.hub.url, fault_for("DELETE", "/server", Fault("answer_late", seconds=math.inf))) as proxy:
        proxy.observer = open_gate(
            gate, lambda moment, exchange: moment == "answer_sent" and exchange.method == "DELETE"
        )
        result = runner.with_url(proxy.url)("hub_server", user=user, state="stopped")
    assert (result["changed"], item(result)["state"]) == (True, "stopped")
    assert runner.servers(user) == {}


# A hub without room


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A hub with one start at a time, and three servers at most."""
    folder = tmp_path_factory.mktemp("narrow")
    config = f"""
{SHORT_WAITS}
import json
from pathlib import Path


class Range:
    \"""The range of Retry-After, which a test can change.\"""

    def __iter__(self):
        return iter(json.loads(Path({str(folder / "range.json")!r}).read_text()))


# That name cannot be configured: it lacks the tag config=True (JupyterHub 6.1 and before).
c.JupyterHub.tornado_settings["spawn_throttle_retry_range"] = Range()
c.JupyterHub.concurrent_spawn_limit = 1
c.JupyterHub.active_server_limit = 3
"""
    with running_hub(folder, config=config) as hub:
        yield Runner("program", hub)


def set_retry_after(narrow: Runner, seconds: float) -> None:
    """Set the Retry-After of a hub without room. The hub rounds it down."""
    (narrow.hub.state.parent / "range.json").write_text(json.dumps([seconds, seconds + 0.5]))


@pytest.fixture
def starting(narrow: Runner, gate: Path) -> Iterator[Runner]:
    """A hub on which another server starts until the gate is opened."""
    user = narrow.new_user()
    options = {"user_options": {"start_gate": str(gate)}}
    assert narrow.api_request("POST", f"users/{user}/server", options).status_code == 202
    yield narrow
    gate.touch()
    narrow("hub_server", user=user, state="stopped")


def test_no_room_now_and_no_time_to_come_back(starting: Runner) -> None:
    user = starting.new_user()
    set_retry_after(starting, 100)
    result = starting("hub_server", user=user, wait_timeout="90s")
    failure = assert_failed(result, "rate_limited", f"server of user '{user}'", "Try again in ")
    assert failure["status"] == 429
    assert (result["changed"], item(result)["state"]) == (False, "failed")
    assert item(result)["seconds"] < 60
    assert starting.servers(user) == {}


def test_no_room_now_but_soon(starting: Runner, gate: Path) -> None:
    user = starting.new_user()
    set_retry_after(starting, 1)
    with cutting_proxy(starting.hub.url) as proxy:
        proxy.observer = open_gate(gate, lambda *_: 429 in statuses(proxy, "POST", "/server"))
        result = starting.with_url(proxy.url)("hub_server", user=user, wait_timeout="120s")
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    assert item(result)["seconds"] >= 1
    starting("hub_server", user=user, state="stopped")


def test_no_room_until_a_server_stops(narrow: Runner) -> None:
    busy, user = narrow.new_user(), narrow.new_user()
    for name in ("a", "b", "c"):
        assert narrow("hub_server", user=busy, server_name=name)["changed"] is True
    result = narrow("hub_server", user=user, wait_timeout="10m")
    failure = assert_failed(result, "rate_limited", "fewer servers")
    assert failure["status"] == 429
    assert item(result)["seconds"] < 60
    assert (result["changed"], narrow.servers(user)) == (False, {})
    narrow("hub_server", user=busy, server_name="a", state="stopped")
    assert item(narrow("hub_server", user=user))["state"] == "ready"
    for one, name in ((busy, "b"), (busy, "c"), (user, "")):
        narrow("hub_server", user=one, server_name=name, state="stopped")


# A token that expires


START_SCOPE = {"6": "start:servers!user", "5": "servers!user", "4": "servers!user"}


def query_database(runner: Runner, query: str, user: str) -> list[Any]:
    """The rows that a query with the user's name as its parameter gives. A change is committed."""
    (database,) = runner.hub.state.glob("jupyterhub-*.sqlite")
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection:
        rows = connection.execute(query, (user,)).fetchall()
        connection.commit()
    return rows


def expire(runner: Runner, user: str) -> None:
    """Make the user's tokens expire now. The hub compares the time in its database each time it gets a token."""
    now = "UPDATE api_tokens SET expires_at = created WHERE user_id = (SELECT id FROM users WHERE name = ?)"
    query_database(runner, now, user)


@pytest.mark.parametrize("hub", ["hub_61", "hub_55", "hub_41"])
def test_a_token_that_expires_during_the_wait(hub: str, gate: Path, request: pytest.FixtureRequest) -> None:
    runner = Runner("program", request.getfixturevalue(hub))
    user = runner.new_user()
    scopes = ("read:servers!user", "delete:servers!user", START_SCOPE[runner.hub.version[0]])
    short = runner.with_token(runner.mint(user, *scopes, expires_in=3600))
    with cutting_proxy(runner.hub.url) as proxy:

        def let_token_expire() -> None:
            expire(runner, user)
            gate.touch()

        proxy.observer = run_once(stream_contains("Step 1"), let_token_expire)
        waiting = short.with_url(proxy.url)
        options = {"start_gate": str(gate)}
        result = waiting("hub_server", user=user, user_options=options, wait_timeout="120s")
    assert not short.token_works()
    assert_failed(result, "unauthorized", "expired", "hub_token")
    assert result["changed"] is True
    assert item(result)["state"] in ("failed", "pending")
    assert "token" in item(result)["reason"]
    # The start goes on, and a task with a valid token waits for it.
    assert set(runner.servers(user)) == {""}
    assert item(runner("hub_server", user=user))["state"] == "ready"


def test_a_token_that_expires_before_a_late_server_is_stopped(runner: Runner) -> None:
    user = runner.new_user()
    scopes = ("read:servers!user", "delete:servers!user", START_SCOPE["6"])
    short = runner.with_token(runner.mint(user, *scopes, expires_in=3600))
    with cutting_proxy(runner.hub.url) as proxy:
        proxy.observer = run_once(stream_contains("Step 1"), lambda: expire(runner, user))
        waiting = short.with_url(proxy.url)
        result = waiting("hub_server", user=user, user_options={"never": True}, wait_timeout="5s")
    assert_failed(result, "unauthorized", "expired")
    assert "stopped" not in item(result)["reason"]
    assert runner.servers(user)[""]["pending"] == "spawn"
    assert item(runner("hub_server", user=user, state="stopped"))["state"] == "stopped"


def test_a_token_that_expires_while_the_server_stops(runner: Runner, gate: Path) -> None:
    user = runner.new_user()
    runner.api_request("POST", f"users/{user}/server", {"user_options": {"stop_gate": str(gate)}})
    short = runner.with_token(runner.mint(user, "read:servers!user", "delete:servers!user", expires_in=3600))
    with cutting_proxy(runner.hub.url) as proxy:
        proxy.observer = run_once(lambda *_: 202 in statuses(proxy, "DELETE", "/server"), lambda: expire(runner, user))
        result = short.with_url(proxy.url)("hub_server", user=user, state="stopped")
    assert_failed(result, "unauthorized", "expired")
    assert (result["changed"], item(result)["state"]) == (True, "pending")
    gate.touch()
    assert item(runner("hub_server", user=user, state="stopped"))["state"] == "stopped"


# Somebody else


def test_somebody_stops_what_is_waited_for(runner: Runner, gate: Path) -> None:
    """The stream then ends with "ready", and for a moment the hub lists a server that has stopped."""
    user, options = runner.new_user(), {"start_gate": str(gate)}
    with cutting_proxy(runner.hub.url) as proxy, ThreadPoolExecutor() as pool:

        def under_way(moment: str, exchange: Exchange) -> bool:
            tells = any(b"Step 1" in each.content for each in proxy.exchanges)
            return tells and statuses(proxy, "POST", "/server") == [202]

        proxy.observer = run_once(under_way, lambda: pool.submit(runner.api_request, "DELETE", f"users/{user}/server"))
        result = runner.with_url(proxy.url)("hub_server", user=user, user_options=options, wait_timeout="10m")
    assert_failed(result, "spawn_failed", "it stopped while the task waited for it")
    assert item(result)["seconds"] < 60
    assert runner.servers(user) == {}


# A hub that crashes and is started again

# A server's process starts at once, but does not answer before the gate is open. A hub that starts again must not wait
# long for it.
SLOW = """
wait = 'until [ -e "{gate}" ]; do sleep 0.1; done; exec "$0" "$@"'
c.Spawner.cmd = ["/bin/sh", "-c", wait, *c.Spawner.cmd]
c.Spawner.http_timeout = c.Spawner.start_timeout = 300
c.JupyterHub.init_spawners_timeout = 1
"""


@pytest.fixture(scope="module")
def slow_gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slow") / "gate"


@pytest.fixture(scope="module")
def real_runner(tmp_path_factory: pytest.TempPathFactory, slow_gate: Path) -> Iterator[Runner]:
    """A hub with real servers, which go on without it, and start when the gate is open."""
    config = SLOW.format(gate=slow_gate)
    with running_hub(tmp_path_factory.mktemp("surviving"), spawner="server", config=config) as hub:
        yield Runner("program", hub)


@pytest.fixture(scope="module")
def light_runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A hub whose light servers end when it ends."""
    with running_hub(tmp_path_factory.mktemp("mortal"), config=SHORT_WAITS) as hub:
        yield Runner("program", hub)


def server_pid(runner: Runner, user: str) -> int | None:
    """The server's process id, as the hub keeps it in its database.

    The hub's API shows a process a moment before the hub commits it. A hub that crashes in that moment forgets it.
    """
    kept = "SELECT spawners.state FROM spawners JOIN users ON users.id = user_id WHERE users.name = ?"
    for (state,) in query_database(runner, kept, user):
        return json.loads(state or "{}").get("pid")
    return None


def test_a_server_that_is_ready_and_survives_the_hub(real_runner: Runner, slow_gate: Path) -> None:
    user = real_runner.new_user()
    slow_gate.touch()
    (first,) = real_runner("hub_server", user=user)["servers"]
    process = server_pid(real_runner, user)
    crash_hub(real_runner.hub)
    away = real_runner("hub_server", user=user)
    start_crashed_hub(real_runner.hub)
    assert_failed(away, "hub_error", "503")
    assert item(away)["reason"]
    result = real_runner("hub_server", user=user)
    assert (result["changed"], item(result)["url"], server_pid(real_runner, user)) == (
        False,
        first["url"],
        process,
    )
    assert process is not None


def run_during_crash(
    runner: Runner,
    user: str,
    task: Callable[[], dict[str, Any]],
    crash_when: Callable[[], Any],
    then: Callable[[], Any],
) -> dict[str, Any]:
    """The result of a task during which the hub crashes and is started again, and something happens after that."""
    with ThreadPoolExecutor() as pool:
        result = pool.submit(task)
        wait_until(crash_when, 120)
        crash_hub(runner.hub)
        # A read is repeated three times before the module gives up. Each time a proxy without a hub gets and logs it.
        look = f"503 GET /hub/api/users/{user} "
        wait_until(lambda: runner.hub.log.read_text().count(look) > 4, 120)
        start_crashed_hub(runner.hub)
        then()
        return result.result()


def test_a_server_that_starts_and_survives_the_hub(real_runner: Runner, slow_gate: Path) -> None:
    user, processes = real_runner.new_user(), []
    slow_gate.unlink(missing_ok=True)

    def start() -> dict[str, Any]:
        return real_runner("hub_server", user=user, wait_timeout="280s")

    def is_there() -> bool:
        process = server_pid(real_runner, user)
        processes.extend([process] if process else [])
        return bool(processes)

    result = run_during_crash(real_runner, user, start, is_there, slow_gate.touch)
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    assert server_pid(real_runner, user) == processes[0]


def test_a_start_that_ends_with_the_hub(light_runner: Runner, gate: Path) -> None:
    user, options, said = light_runner.new_user(), {"start_gate": str(gate)}, []

    def start() -> dict[str, Any]:
        return run_with_progress(light_runner, said.append, user=user, user_options=options, wait_timeout="280s")

    def under_way() -> bool:
        answered = f"202 POST /hub/api/users/{user}/server " in light_runner.hub.log.read_text()
        return answered and any("Step 1" in line for line in said)

    result = run_during_crash(light_runner, user, start, under_way, gate.touch)
    # The start was not refused, so it is requested again.
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    assert steps(result)
    assert light_runner.servers(user)[""]["ready"]


def test_a_stop_that_ends_with_the_hub(light_runner: Runner, gate: Path) -> None:
    user = light_runner.new_user()
    light_runner.api_request("POST", f"users/{user}/server", {"user_options": {"stop_gate": str(gate)}})

    def stop() -> dict[str, Any]:
        return light_runner("hub_server", user=user, state="stopped", wait_timeout="280s")

    def under_way() -> bool:
        return light_runner.servers(user)[""]["pending"] == "stop"

    result = run_during_crash(light_runner, user, stop, under_way, gate.touch)
    assert (result["changed"], item(result)["state"]) == (True, "stopped")
