# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_server` where something goes wrong on the way: streams and requests that a proxy cuts, stops that take long,
hubs that have no room or crash, tokens that expire. What is said of a server is what the hub then says of it, too."""

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
from support.doors import Runner, failed, until
from support.fakes.cutting_proxy import (
    NONE,
    CuttingProxy,
    Exchange,
    Fault,
    at_first,
    cutting_proxy,
    dice,
    every,
    opens,
    told,
)
from support.hubs import IMPATIENT, Hub, crash, running_hub, start_again

CODES = {kind.code for kind in (*HubError.__subclasses__(), *BY_STATUS.values())}
ALWAYS = 1000  # times


@pytest.fixture
def runner(hub_61: Hub) -> Runner:
    return Runner("program", hub_61)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have an answer to requests of this method waited for for a second only. Looks get as long as ever."""
    patient = HubClient._send_within

    def give_up_soon(hasty_method: str) -> None:
        def in_time(self: HubClient, timeout: float, method: str, url: str, **more: Any) -> Any:
            return patient(self, min(timeout, 1.0) if method == hasty_method else timeout, method, url, **more)

        monkeypatch.setattr(HubClient, "_send_within", in_time)

    return give_up_soon


def item(result: dict[str, Any]) -> dict[str, Any]:
    (only,) = result["servers"]
    return only


def steps(result: dict[str, Any]) -> list[str]:
    """The spawner's own messages."""
    return [event["message"] for event in item(result)["events"] if event["message"].startswith("Step ")]


def asked(proxy: CuttingProxy, method: str, end: str) -> list[int | None]:
    """The statuses of these requests."""
    found = [each for each in proxy.exchanges if each.method == method]
    return [each.status for each in found if each.path.partition("?")[0].endswith(end)]


def watched(runner: Runner, report: Callable[[str], None], **options: Any) -> dict[str, Any]:
    """The result of a task that tells of its progress, as the controller's door does."""
    options |= {"hub_url": runner.url or runner.hub.url, "api_token": runner.hub.admin_token}
    checked = ArgumentSpecValidator(MODULE.argument_spec, **MODULE.rules).validate(options)
    return MODULE.run(checked.validated_parameters, check_mode=False, verbosity=0, report=report)


def looked_at_ever_more_slowly(proxy: CuttingProxy, user: str, result: dict[str, Any]) -> bool:
    """Pauses between looks grow to a second, from a tenth: that makes 7 looks in the first 2 s. It may begin anew once,
    and a plan looks, too."""
    return len(asked(proxy, "GET", f"/users/{user}")) <= 16 + item(result)["seconds"]


# Streams


@pytest.mark.parametrize("reset", [False, True])
def test_a_stream_that_is_cut_again_and_again(runner: Runner, gate: Path, reset: bool) -> None:
    user, longer = runner.new_user(), count(2)
    options = {"start_seconds": 2, "start_gate": str(gate)}
    said: list[tuple[str, bool]] = []

    def plan(exchange: Exchange) -> Fault:
        """Each stream is cut one event later than the one before it."""
        ends = exchange.path.endswith("/progress")
        return Fault("shortened", events=next(longer), reset=reset) if ends else NONE

    def report(line: str) -> None:
        said.append((line, gate.exists()))
        if "Step 4 of 4" in line:
            gate.touch()

    with cutting_proxy(runner.hub.url, plan) as proxy:
        result = watched(runner.through(proxy.url), report, user=user, user_options=options)
    assert item(result)["state"] == "ready"
    # Each message once and in order, though each stream tells the whole story again.
    assert [int(message.split()[1]) for message in steps(result)] == [1, 2, 3, 4]
    times = [event["seconds"] for event in item(result)["events"]]
    assert times == sorted(times)
    # And as it came: the server was not to go on before the last one was told.
    assert [opened for line, opened in said if "Step " in line] == [False] * 4
    assert 4 <= len(asked(proxy, "GET", "/progress")) <= 8


def test_a_stream_that_is_kept_back_until_its_end(runner: Runner, gate: Path) -> None:
    """As a proxy does that buffers what it passes on."""
    options = {"start_seconds": 1, "start_gate": str(gate)}
    with cutting_proxy(runner.hub.url, every("GET", "/progress", Fault("buffered"), ALWAYS)) as proxy:
        proxy.watch = opens(gate, told("Step 2 of 2"))
        result = runner.through(proxy.url)("hub_server", user=runner.new_user(), user_options=options)
    assert item(result)["state"] == "ready"
    assert len(steps(result)) == 2
    assert len(asked(proxy, "GET", "/progress")) == 1


@pytest.mark.parametrize("fault", [Fault("unheard"), Fault("shortened", reset=True)], ids=str)
def test_no_stream_at_all(runner: Runner, tmp_path: Path, gate: Path, fault: Fault) -> None:
    user, second = runner.new_user(), tmp_path / "second gate"
    with cutting_proxy(runner.hub.url, every("GET", "/progress", fault, ALWAYS)) as proxy:
        there = runner.through(proxy.url)
        # In the end it is looked at every second.
        proxy.watch = opens(gate, lambda moment, exchange: len(asked(proxy, "GET", f"/users/{user}")) >= 9)
        result = there("hub_server", user=user, user_options={"start_gate": str(gate)})
        assert (item(result)["state"], item(result)["events"]) == ("ready", [])
        assert looked_at_ever_more_slowly(proxy, user, result)
        # The answer to the request says nothing of it.
        proxy.watch = opens(second, lambda moment, exchange: asked(proxy, "POST", "/servers/lab") == [202])
        fails = {"start_gate": str(second), "fail": "no GPU"}
        broken = there("hub_server", user=user, server_name="lab", user_options=fails)
    failed(broken, "spawn_failed", "server 'lab'")
    assert item(broken)["reason"]
    assert second.exists()


# Requests


@pytest.mark.parametrize(
    "fault",
    [Fault("unanswered"), Fault("unanswered", reset=True), Fault("halved", part="head"), Fault("hung_up")],
    ids=str,
)
@pytest.mark.parametrize("waits", [False, True], ids=["0", "3"])
def test_a_start_whose_answer_is_lost(runner: Runner, gate: Path, fault: Fault, waits: bool) -> None:
    user, options = runner.new_user(), {"start_gate": str(gate)} if waits else {}
    with cutting_proxy(runner.hub.url, every("POST", "/server", fault)) as proxy:
        # A look after the hub has said that it is not ready yet.
        proxy.watch = opens(gate, lambda *_: proxy.exchanges[-1].method == "GET" and 202 in asked(proxy, "POST", ""))
        result = runner.through(proxy.url)("hub_server", user=user, user_options=options)
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    assert runner.servers(user)[""]["user_options"] == options


@pytest.mark.parametrize("kind", ["late", "held"])
def test_a_start_that_is_answered_when_nobody_listens_any_more(
    runner: Runner, gate: Path, hasty: Callable[[str], None], kind: str
) -> None:
    user = runner.new_user()
    hasty("POST")
    with cutting_proxy(runner.hub.url, every("POST", "/server", Fault(kind, seconds=math.inf))) as proxy:
        proxy.watch = opens(gate, lambda moment, exchange: moment == "answered" and exchange.fault.kind == kind)
        result = runner.through(proxy.url)("hub_server", user=user, user_options={"start_gate": str(gate)})
        proxy.settle()
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    assert set(runner.servers(user)) == {""}


@pytest.mark.parametrize("fault", [Fault("unheard"), Fault("unanswered"), Fault("unanswered", reset=True)], ids=str)
def test_a_stop_that_is_cut(runner: Runner, gate: Path, fault: Fault) -> None:
    user = runner.new_user()
    runner.api("POST", f"users/{user}/server", {"user_options": {"stop_gate": str(gate)}})
    with cutting_proxy(runner.hub.url, every("DELETE", "/server", fault)) as proxy:
        # The hub has said that it has begun, whether anybody has heard that or not.
        proxy.watch = opens(gate, lambda *_: 202 in asked(proxy, "DELETE", "/server"))
        result = runner.through(proxy.url)("hub_server", user=user, state="stopped")
    assert (result["changed"], item(result)["state"]) == (True, "stopped")
    assert runner.servers(user) == {}


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_cut_the_answer_is_true(runner: Runner, seed: int) -> None:
    user = runner.new_user()
    # At once, within the second that the hub holds an answer for, and after it.
    options = {"start_seconds": (seed % 3) * 0.6, "stop_seconds": (seed % 2) * 1.2}
    with cutting_proxy(runner.hub.url, dice(seed, share=0.25)) as proxy:
        there = runner.through(proxy.url)
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
            # Whatever has become of it, over a sound connection it comes right.
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

        # Each start has been answered: with its failure, or that it is under way.
        proxy.watch = opens(gate, lambda *_: len(answers()) == len(servers))
        result = runner.through(proxy.url)("hub_server", servers=servers)
    assert answers().count(202) >= 3  # a hub that is slow about its answer says so of one that fails at once, too
    found = runner.api("GET", f"users/{user}?include_stopped_servers=1").json()["servers"]
    assert len([one for one in proxy.exchanges if one.method == "POST"]) == len(servers)
    for one in result["servers"]:
        assert (one["state"], one["changed"], one["failure"]["code"]) == ("failed", True, "spawn_failed")
        assert "quota used up" in one["reason"]
        assert one["user_options"] == found[one["server_name"]]["user_options"]


def test_a_failed_start_whose_answer_came_too_late_is_not_begun_again(
    runner: Runner, gate: Path, hasty: Callable[[str], None]
) -> None:
    options = {"start_gate": str(gate), "fail": "boom"}
    hasty("POST")
    with cutting_proxy(runner.hub.url, every("POST", "/server", Fault("late", seconds=math.inf))) as proxy:
        proxy.watch = opens(gate, lambda moment, exchange: moment == "answered" and exchange.method == "POST")
        result = runner.through(proxy.url)("hub_server", user=runner.new_user(), user_options=options)
        proxy.settle()
    failed(result, "spawn_failed", "boom")
    assert len(asked(proxy, "POST", "/server")) == 1


# A slow stop


def test_a_stop_that_the_hub_has_only_begun(runner: Runner, gate: Path) -> None:
    user = runner.new_user()
    runner.api("POST", f"users/{user}/server", {"user_options": {"stop_gate": str(gate)}})
    with cutting_proxy(runner.hub.url) as proxy:

        def is_seen_again_and_again(moment: str, exchange: Exchange) -> bool:
            methods = [each.method for each in proxy.exchanges if each.status]
            return "DELETE" in methods and methods[methods.index("DELETE") :].count("GET") >= 10

        proxy.watch = opens(gate, is_seen_again_and_again)
        result = runner.through(proxy.url)("hub_server", user=user, state="stopped")
    assert asked(proxy, "DELETE", "/server") == [202]
    assert item(result)["state"] == "stopped"
    assert gate.exists()
    assert looked_at_ever_more_slowly(proxy, user, result)
    assert runner.servers(user) == {}


def test_a_stop_that_the_hub_holds_for_longer_than_anybody_listens(
    hub_55: Hub, gate: Path, hasty: Callable[[str], None]
) -> None:
    """As a hub does that answers a DELETE after 10 s; here nobody waits that long for any answer."""
    runner = Runner("program", hub_55)
    user = runner.new_user()
    runner.api("POST", f"users/{user}/server", {"stop_gate": str(gate)})
    hasty("DELETE")
    with cutting_proxy(runner.hub.url, every("DELETE", "/server", Fault("late", seconds=math.inf))) as proxy:
        proxy.watch = opens(gate, lambda moment, exchange: moment == "answered" and exchange.method == "DELETE")
        result = runner.through(proxy.url)("hub_server", user=user, state="stopped")
    assert (result["changed"], item(result)["state"]) == (True, "stopped")
    assert runner.servers(user) == {}


# A hub without room


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """One start at a time, and three servers at most."""
    folder = tmp_path_factory.mktemp("narrow")
    config = f"""
{IMPATIENT}
import json
from pathlib import Path


class Range:
    \"""When to come back, as it is just now.\"""

    def __iter__(self):
        return iter(json.loads(Path({str(folder / "range.json")!r}).read_text()))


# The option of that name is none: it lacks the mark of those that can be configured (JupyterHub 6.1 and before).
c.JupyterHub.tornado_settings["spawn_throttle_retry_range"] = Range()
c.JupyterHub.concurrent_spawn_limit = 1
c.JupyterHub.active_server_limit = 3
"""
    with running_hub(folder, config=config) as hub:
        yield Runner("program", hub)


def comes_back_in(narrow: Runner, seconds: float) -> None:
    """What the hub says to whoever finds no room. It rounds down."""
    (narrow.hub.state.parent / "range.json").write_text(json.dumps([seconds, seconds + 0.5]))


@pytest.fixture
def starting(narrow: Runner, gate: Path) -> Iterator[Runner]:
    """Another server is about to start, up to the opening of the gate."""
    user = narrow.new_user()
    options = {"user_options": {"start_gate": str(gate)}}
    assert narrow.api("POST", f"users/{user}/server", options).status_code == 202
    yield narrow
    gate.touch()
    narrow("hub_server", user=user, state="stopped")


def test_no_room_now_and_no_time_to_come_back(starting: Runner) -> None:
    user = starting.new_user()
    comes_back_in(starting, 100)
    result = starting("hub_server", user=user, wait_timeout="90s")
    failure = failed(result, "rate_limited", f"server of user '{user}'", "Try again in ")
    assert failure["status"] == 429
    assert (result["changed"], item(result)["state"]) == (False, "failed")
    assert item(result)["seconds"] < 60
    assert starting.servers(user) == {}


def test_no_room_now_but_soon(starting: Runner, gate: Path) -> None:
    user = starting.new_user()
    comes_back_in(starting, 1)
    with cutting_proxy(starting.hub.url) as proxy:
        proxy.watch = opens(gate, lambda *_: 429 in asked(proxy, "POST", "/server"))
        result = starting.through(proxy.url)("hub_server", user=user, wait_timeout="120s")
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    assert item(result)["seconds"] >= 1
    starting("hub_server", user=user, state="stopped")


def test_no_room_until_somebody_makes_some(narrow: Runner) -> None:
    busy, user = narrow.new_user(), narrow.new_user()
    for name in ("a", "b", "c"):
        assert narrow("hub_server", user=busy, server_name=name)["changed"] is True
    result = narrow("hub_server", user=user, wait_timeout="10m")
    failure = failed(result, "rate_limited", "fewer servers")
    assert failure["status"] == 429
    assert item(result)["seconds"] < 60
    assert (result["changed"], narrow.servers(user)) == (False, {})
    narrow("hub_server", user=busy, server_name="a", state="stopped")
    assert item(narrow("hub_server", user=user))["state"] == "ready"
    for one, name in ((busy, "b"), (busy, "c"), (user, "")):
        narrow("hub_server", user=one, server_name=name, state="stopped")


# A token that expires


OWN = {"6": "start:servers!user", "5": "servers!user", "4": "servers!user"}


def expire(runner: Runner, user: str) -> None:
    """Have the user's tokens expired now. The hub compares the time in its database, whenever one is shown to it."""
    (database,) = runner.hub.state.glob("jupyterhub-*.sqlite")
    now = "UPDATE api_tokens SET expires_at = created WHERE user_id = (SELECT id FROM users WHERE name = ?)"
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.execute(now, (user,))
        connection.commit()


@pytest.mark.parametrize("hub", ["hub_61", "hub_55", "hub_41"])
def test_a_token_that_expires_during_the_wait(hub: str, gate: Path, request: pytest.FixtureRequest) -> None:
    runner = Runner("program", request.getfixturevalue(hub))
    user = runner.new_user()
    scopes = ("read:servers!user", "delete:servers!user", OWN[runner.hub.version[0]])
    short = runner.with_token(runner.mint(user, *scopes, expires_in=3600))
    with cutting_proxy(runner.hub.url) as proxy:

        def time_passes() -> None:
            expire(runner, user)
            gate.touch()

        proxy.watch = at_first(told("Step 1"), time_passes)
        waiting = short.through(proxy.url)
        options = {"start_gate": str(gate)}
        result = waiting("hub_server", user=user, user_options=options, wait_timeout="120s")
    assert not short.works()
    failed(result, "unauthorized", "expired", "hub_token")
    assert result["changed"] is True
    assert item(result)["state"] in ("failed", "pending")
    assert "token" in item(result)["reason"]
    # What was asked for goes on, and one who may looks after it.
    assert set(runner.servers(user)) == {""}
    assert item(runner("hub_server", user=user))["state"] == "ready"


def test_a_token_that_has_expired_when_the_server_is_to_be_stopped_for_being_late(runner: Runner) -> None:
    user = runner.new_user()
    scopes = ("read:servers!user", "delete:servers!user", OWN["6"])
    short = runner.with_token(runner.mint(user, *scopes, expires_in=3600))
    with cutting_proxy(runner.hub.url) as proxy:
        proxy.watch = at_first(told("Step 1"), lambda: expire(runner, user))
        waiting = short.through(proxy.url)
        result = waiting("hub_server", user=user, user_options={"never": True}, wait_timeout="5s")
    failed(result, "unauthorized", "expired")
    assert "stopped" not in item(result)["reason"]
    assert runner.servers(user)[""]["pending"] == "spawn"
    assert item(runner("hub_server", user=user, state="stopped"))["state"] == "stopped"


def test_a_token_that_expires_while_the_server_stops(runner: Runner, gate: Path) -> None:
    user = runner.new_user()
    runner.api("POST", f"users/{user}/server", {"user_options": {"stop_gate": str(gate)}})
    short = runner.with_token(runner.mint(user, "read:servers!user", "delete:servers!user", expires_in=3600))
    with cutting_proxy(runner.hub.url) as proxy:
        proxy.watch = at_first(lambda *_: 202 in asked(proxy, "DELETE", "/server"), lambda: expire(runner, user))
        result = short.through(proxy.url)("hub_server", user=user, state="stopped")
    failed(result, "unauthorized", "expired")
    assert (result["changed"], item(result)["state"]) == (True, "pending")
    gate.touch()
    assert item(runner("hub_server", user=user, state="stopped"))["state"] == "stopped"


# Somebody else


def test_somebody_stops_what_is_waited_for(runner: Runner, gate: Path) -> None:
    """The stream then ends with "ready", and for a moment the hub has a server that is none."""
    user, options = runner.new_user(), {"start_gate": str(gate)}
    with cutting_proxy(runner.hub.url) as proxy, ThreadPoolExecutor() as pool:

        def under_way(moment: str, exchange: Exchange) -> bool:
            tells = any(b"Step 1" in each.content for each in proxy.exchanges)
            return tells and asked(proxy, "POST", "/server") == [202]

        proxy.watch = at_first(under_way, lambda: pool.submit(runner.api, "DELETE", f"users/{user}/server"))
        result = runner.through(proxy.url)("hub_server", user=user, user_options=options, wait_timeout="10m")
    failed(result, "spawn_failed", "it stopped while the task waited for it")
    assert item(result)["seconds"] < 60
    assert runner.servers(user) == {}


# A hub that crashes and is started again

# What is started of servers does not answer before the gate is open, though its process is there at once. The hub is
# not to be long about it when it starts again.
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
def surviving(tmp_path_factory: pytest.TempPathFactory, slow_gate: Path) -> Iterator[Runner]:
    """A hub with real servers, which do not end with it, and start when the gate is open."""
    config = SLOW.format(gate=slow_gate)
    with running_hub(tmp_path_factory.mktemp("surviving"), spawner="server", config=config) as hub:
        yield Runner("program", hub)


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A hub whose light servers end with it."""
    with running_hub(tmp_path_factory.mktemp("mortal"), config=IMPATIENT) as hub:
        yield Runner("program", hub)


def process_of(runner: Runner, user: str) -> int | None:
    """The server's, as the hub keeps it in its database."""
    return runner.servers(user).get("", {}).get("state", {}).get("pid")


def test_a_server_that_is_ready_and_survives_the_hub(surviving: Runner, slow_gate: Path) -> None:
    user = surviving.new_user()
    slow_gate.touch()
    (first,) = surviving("hub_server", user=user)["servers"]
    process = process_of(surviving, user)
    crash(surviving.hub)
    away = surviving("hub_server", user=user)
    start_again(surviving.hub)
    failed(away, "hub_error", "503")
    assert item(away)["reason"]
    result = surviving("hub_server", user=user)
    assert (result["changed"], item(result)["url"], process_of(surviving, user)) == (False, first["url"], process)
    assert process is not None


def wait_through(
    runner: Runner,
    user: str,
    task: Callable[[], dict[str, Any]],
    crash_when: Callable[[], Any],
    then: Callable[[], Any],
) -> dict[str, Any]:
    """The result of a task during which the hub crashes and is started again, and then something happens."""
    with ThreadPoolExecutor() as pool:
        result = pool.submit(task)
        until(crash_when, 120)
        crash(runner.hub)
        # A look is repeated thrice before it is given up: each of them finds a proxy without a hub, who notes it.
        look = f"503 GET /hub/api/users/{user} "
        until(lambda: runner.hub.log.read_text().count(look) > 4, 120)
        start_again(runner.hub)
        then()
        return result.result()


def test_a_server_that_starts_and_survives_the_hub(surviving: Runner, slow_gate: Path) -> None:
    user, processes = surviving.new_user(), []
    slow_gate.unlink(missing_ok=True)

    def start() -> dict[str, Any]:
        return surviving("hub_server", user=user, wait_timeout="280s")

    def is_there() -> bool:
        process = process_of(surviving, user)
        processes.extend([process] if process else [])
        return bool(processes)

    result = wait_through(surviving, user, start, is_there, slow_gate.touch)
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    assert process_of(surviving, user) == processes[0]


def test_a_start_that_ends_with_the_hub(mortal: Runner, gate: Path) -> None:
    user, options, said = mortal.new_user(), {"start_gate": str(gate)}, []

    def start() -> dict[str, Any]:
        return watched(mortal, said.append, user=user, user_options=options, wait_timeout="280s")

    def under_way() -> bool:
        answered = f"202 POST /hub/api/users/{user}/server " in mortal.hub.log.read_text()
        return answered and any("Step 1" in line for line in said)

    result = wait_through(mortal, user, start, under_way, gate.touch)
    # Nobody has refused it: it is asked for again.
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    assert steps(result)
    assert mortal.servers(user)[""]["ready"]


def test_a_stop_that_ends_with_the_hub(mortal: Runner, gate: Path) -> None:
    user = mortal.new_user()
    mortal.api("POST", f"users/{user}/server", {"user_options": {"stop_gate": str(gate)}})

    def stop() -> dict[str, Any]:
        return mortal("hub_server", user=user, state="stopped", wait_timeout="280s")

    def under_way() -> bool:
        return mortal.servers(user)[""]["pending"] == "stop"

    result = wait_through(mortal, user, stop, under_way, gate.touch)
    assert (result["changed"], item(result)["state"]) == (True, "stopped")
