# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_server` where something goes wrong on the way: streams and requests that a proxy cuts, stops that take long,
hubs that have no room or crash, tokens that expire. What is said of a server is what the hub then says of it, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import BY_STATUS, HubError
from cutting_proxy import CuttingProxy, Fault, cutting_proxy, dice, every
from doors import At, failed, until
from hubs import IMPATIENT, Hub, crash, running_hub, start_again

CODES = {kind.code for kind in (*HubError.__subclasses__(), *BY_STATUS.values())}
ALWAYS = 1000  # times


@pytest.fixture
def at(hub_61: Hub) -> At:
    return At("program", hub_61)


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


# Streams


@pytest.mark.parametrize("reset", [False, True])
def test_a_stream_that_is_cut_again_and_again(at: At, reset: bool) -> None:
    user, fault = at.new_user(), Fault("shortened", seconds=1, reset=reset)
    with cutting_proxy(at.hub.url, every("GET", "/progress", fault, ALWAYS)) as proxy:
        result = at.through(proxy.url)("hub_server", user=user, user_options={"start_seconds": 4})
    assert item(result)["state"] == "ready"
    # Each message once and in order, though each stream tells the whole story again. The last ones may be missing, for
    # a server that is ready is not asked for its story any more.
    numbers = [int(message.split()[1]) for message in steps(result)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert 5 <= len(numbers) <= 8
    times = [event["seconds"] for event in item(result)["events"]]
    assert times[-1] - times[1] > 1.5
    assert item(result)["seconds"] < 8
    assert 2 <= len(asked(proxy, "GET", "/progress")) <= 8


def test_a_stream_that_is_kept_back_until_its_end(at: At) -> None:
    """As a proxy does that buffers what it passes on."""
    with cutting_proxy(at.hub.url, every("GET", "/progress", Fault("buffered"), ALWAYS)) as proxy:
        result = at.through(proxy.url)("hub_server", user=at.new_user(), user_options={"start_seconds": 3})
    assert item(result)["state"] == "ready"
    assert len(steps(result)) == 6
    assert item(result)["seconds"] < 7


@pytest.mark.parametrize("fault", [Fault("unheard"), Fault("shortened", reset=True)], ids=str)
def test_no_stream_at_all(at: At, fault: Fault) -> None:
    user = at.new_user()
    with cutting_proxy(at.hub.url, every("GET", "/progress", fault, ALWAYS)) as proxy:
        there = at.through(proxy.url)
        result = there("hub_server", user=user, user_options={"start_seconds": 4})
        assert (item(result)["state"], item(result)["events"]) == ("ready", [])
        assert item(result)["seconds"] < 8
        # It is looked at ever more slowly.
        assert len(asked(proxy, "GET", f"/users/{user}")) < 25
        broken = there("hub_server", user=user, server_name="lab", user_options={"start_seconds": 3, "fail": "no GPU"})
    failed(broken, "spawn_failed", "server 'lab'")
    assert item(broken)["reason"]
    assert item(broken)["seconds"] < 8


# Requests


@pytest.mark.parametrize(
    "fault",
    [Fault("unanswered"), Fault("unanswered", reset=True), Fault("halved", part="head"), Fault("hung_up")],
    ids=str,
)
@pytest.mark.parametrize("seconds", [0, 3])
def test_a_start_whose_answer_is_lost(at: At, fault: Fault, seconds: int) -> None:
    user, options = at.new_user(), {"start_seconds": seconds}
    with cutting_proxy(at.hub.url, every("POST", "/server", fault)) as proxy:
        result = at.through(proxy.url)("hub_server", user=user, user_options=options)
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    assert at.servers(user)[""]["user_options"] == options


@pytest.mark.parametrize("kind", ["late", "held"])
def test_a_start_that_is_answered_when_nobody_listens_any_more(at: At, kind: str) -> None:
    user = at.new_user()
    with cutting_proxy(at.hub.url, every("POST", "/server", Fault(kind, seconds=3))) as proxy:
        result = at.through(proxy.url)("hub_server", user=user, request_timeout=2, user_options={"start_seconds": 1})
        proxy.settle()
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    assert set(at.servers(user)) == {""}


@pytest.mark.parametrize("fault", [Fault("unheard"), Fault("unanswered"), Fault("unanswered", reset=True)], ids=str)
def test_a_stop_that_is_cut(at: At, fault: Fault) -> None:
    user = at.new_user()
    at.api("POST", f"users/{user}/server", {"user_options": {"stop_seconds": 3}})
    with cutting_proxy(at.hub.url, every("DELETE", "/server", fault)) as proxy:
        result = at.through(proxy.url)("hub_server", user=user, state="stopped")
    assert (result["changed"], item(result)["state"]) == (True, "stopped")
    assert at.servers(user) == {}


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_cut_the_answer_is_true(at: At, seed: int) -> None:
    user = at.new_user()
    options = {"start_seconds": seed % 3, "stop_seconds": seed % 2}
    with cutting_proxy(at.hub.url, dice(seed, share=0.25)) as proxy:
        there = at.through(proxy.url)
        for state, end in (("started", "ready"), ("stopped", "stopped")) * 2:
            result = there("hub_server", user=user, state=state, user_options=options, wait_timeout="60s")
            found = at.servers(user).get("")
            if not result["failed"]:
                assert item(result)["state"] == end, proxy.log
                assert (found is not None and found["ready"]) is (end == "ready"), proxy.log
            else:
                assert result["failure"]["code"] in CODES
                assert "exception" not in result
                assert item(result)["reason"]
            # Whatever has become of it, over a sound connection it comes right.
            assert item(at("hub_server", user=user, state=state, wait_timeout="60s"))["state"] == end, proxy.log


# Failures of the spawner that look like the hub's or a proxy's


@pytest.mark.parametrize("hub", ["hub_61", "hub_55", "hub_41"])
def test_a_spawner_that_fails_with_a_status_of_its_own(hub: str, request: pytest.FixtureRequest) -> None:
    at = At("program", request.getfixturevalue(hub))
    user, options = at.new_user(), {"fail": "quota used up"}
    each = [{**options, "fail_status": code, "start_seconds": when} for code in (403, 429, 503) for when in (0, 2)]
    servers = [{"user": user, "server_name": f"s{place}", "user_options": one} for place, one in enumerate(each)]
    with cutting_proxy(at.hub.url) as proxy:
        result = at.through(proxy.url)("hub_server", servers=servers)
    found = at.api("GET", f"users/{user}?include_stopped_servers=1").json()["servers"]
    assert len([one for one in proxy.exchanges if one.method == "POST"]) == len(servers)
    for one in result["servers"]:
        assert (one["state"], one["changed"], one["failure"]["code"]) == ("failed", True, "spawn_failed")
        assert "quota used up" in one["reason"]
        assert one["user_options"] == found[one["server_name"]]["user_options"]


def test_a_failed_start_whose_answer_came_too_late_is_not_begun_again(at: At) -> None:
    options = {"start_seconds": 3, "fail": "boom"}
    with cutting_proxy(at.hub.url, every("POST", "/server", Fault("late", seconds=4))) as proxy:
        result = at.through(proxy.url)("hub_server", user=at.new_user(), user_options=options, request_timeout=2)
        proxy.settle()
    failed(result, "spawn_failed", "boom")
    assert len(asked(proxy, "POST", "/server")) == 1


# A slow stop


def test_a_stop_that_the_hub_has_only_begun(at: At) -> None:
    user = at.new_user()
    at.api("POST", f"users/{user}/server", {"user_options": {"stop_seconds": 4}})
    with cutting_proxy(at.hub.url) as proxy:
        result = at.through(proxy.url)("hub_server", user=user, state="stopped")
    assert asked(proxy, "DELETE", "/server") == [202]
    assert item(result)["state"] == "stopped"
    assert item(result)["seconds"] > 3
    assert len(asked(proxy, "GET", f"/users/{user}")) < 15
    assert at.servers(user) == {}


def test_a_stop_that_the_hub_holds_for_longer_than_anybody_listens(hub_55: Hub) -> None:
    """A hub answers a DELETE after 10 s at the latest; here nobody waits that long for any answer."""
    at = At("program", hub_55)
    user = at.new_user()
    at.api("POST", f"users/{user}/server", {"stop_seconds": 5})
    result = at("hub_server", user=user, state="stopped", request_timeout=2)
    assert (result["changed"], item(result)["state"]) == (True, "stopped")
    assert at.servers(user) == {}


# A hub without room


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[At]:
    """One start at a time, and three servers at most."""
    config = f"""
{IMPATIENT}
# The option of that name is none: it lacks the mark of those that can be configured (JupyterHub 6.1 and before).
c.JupyterHub.tornado_settings["spawn_throttle_retry_range"] = (3, 4)
c.JupyterHub.concurrent_spawn_limit = 1
c.JupyterHub.active_server_limit = 3
"""
    with running_hub(tmp_path_factory.mktemp("narrow"), config=config) as hub:
        yield At("program", hub)


@pytest.fixture
def starting(narrow: At) -> Iterator[At]:
    """Another server is about to start, for 5 s."""
    user = narrow.new_user()
    assert narrow.api("POST", f"users/{user}/server", {"user_options": {"start_seconds": 5}}).status_code == 202
    yield narrow
    narrow("hub_server", user=user, state="stopped")


def test_no_room_now_and_no_time_to_come_back(starting: At) -> None:
    user = starting.new_user()
    result = starting("hub_server", user=user, wait_timeout="1s")
    failure = failed(result, "rate_limited", f"server of user '{user}'", "Try again in ")
    assert failure["status"] == 429
    assert (result["changed"], item(result)["state"]) == (False, "failed")
    assert starting.servers(user) == {}


def test_no_room_now_but_soon(starting: At) -> None:
    user = starting.new_user()
    result = starting("hub_server", user=user, wait_timeout="60s")
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    starting("hub_server", user=user, state="stopped")


def test_no_room_until_somebody_makes_some(narrow: At) -> None:
    busy, user = narrow.new_user(), narrow.new_user()
    for name in ("a", "b", "c"):
        assert narrow("hub_server", user=busy, server_name=name)["changed"] is True
    began = time.monotonic()
    result = narrow("hub_server", user=user, wait_timeout="5s")
    failure = failed(result, "rate_limited", "fewer servers")
    assert failure["status"] == 429
    assert time.monotonic() - began < 15
    assert (result["changed"], narrow.servers(user)) == (False, {})
    narrow("hub_server", user=busy, server_name="a", state="stopped")
    assert item(narrow("hub_server", user=user))["state"] == "ready"
    for one, name in ((busy, "b"), (busy, "c"), (user, "")):
        narrow("hub_server", user=one, server_name=name, state="stopped")


# A token that expires


OWN = {"6": "start:servers!user", "5": "servers!user", "4": "servers!user"}


@pytest.mark.parametrize("hub", ["hub_61", "hub_55", "hub_41"])
def test_a_token_that_expires_during_the_wait(hub: str, request: pytest.FixtureRequest) -> None:
    at = At("program", request.getfixturevalue(hub))
    user = at.new_user()
    scopes = ("read:servers!user", "delete:servers!user", OWN[at.hub.version[0]])
    short = at.holding(at.mint(user, *scopes, expires_in=4))
    result = short("hub_server", user=user, user_options={"start_seconds": 8}, wait_timeout="60s")
    assert not short.works()
    failed(result, "unauthorized", "expired", "hub_token")
    assert result["changed"] is True
    assert item(result)["state"] in ("failed", "pending")
    assert "token" in item(result)["reason"]
    # What was asked for goes on, and one who may looks after it.
    assert set(at.servers(user)) == {""}
    assert item(at("hub_server", user=user))["state"] == "ready"


def test_a_token_that_has_expired_when_the_server_is_to_be_stopped_for_being_late(at: At) -> None:
    user = at.new_user()
    scopes = ("read:servers!user", "delete:servers!user", OWN["6"])
    short = at.holding(at.mint(user, *scopes, expires_in=3))
    result = short("hub_server", user=user, user_options={"never": True}, wait_timeout="5s")
    failed(result, "unauthorized", "expired")
    assert "stopped" not in item(result)["reason"]
    assert at.servers(user)[""]["pending"] == "spawn"
    assert item(at("hub_server", user=user, state="stopped"))["state"] == "stopped"


def test_a_token_that_expires_while_the_server_stops(at: At) -> None:
    user = at.new_user()
    at.api("POST", f"users/{user}/server", {"user_options": {"stop_seconds": 6}})
    short = at.holding(at.mint(user, "read:servers!user", "delete:servers!user", expires_in=3))
    result = short("hub_server", user=user, state="stopped")
    failed(result, "unauthorized", "expired")
    assert (result["changed"], item(result)["state"]) == (True, "pending")
    assert item(at("hub_server", user=user, state="stopped"))["state"] == "stopped"


# Somebody else


def test_somebody_stops_what_is_waited_for(at: At) -> None:
    """The stream then ends with "ready", and for a moment the hub has a server that is none."""
    user = at.new_user()
    cancel = threading.Timer(3, at.api, ("DELETE", f"users/{user}/server"))
    cancel.start()
    result = at("hub_server", user=user, user_options={"start_seconds": 10}, wait_timeout="60s")
    cancel.join()
    failed(result, "spawn_failed", "it stopped while it was waited for")
    assert 2 < item(result)["seconds"] < 9
    assert at.servers(user) == {}


# A hub that crashes and is started again

SLOW = """
# A server that begins to answer after some seconds, though its process is there at once.
c.Spawner.cmd = ["/bin/sh", "-c", 'sleep 5; exec "$0" "$@"', *c.Spawner.cmd]
"""


@pytest.fixture(scope="module")
def surviving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[At]:
    """A hub with real servers, which do not end with it, and take some seconds to start."""
    with running_hub(tmp_path_factory.mktemp("surviving"), spawner="server", config=SLOW) as hub:
        yield At("program", hub)


def process_of(at: At, user: str) -> int | None:
    """The server's, as the hub keeps it in its database."""
    return at.servers(user).get("", {}).get("state", {}).get("pid")


def test_a_server_that_is_ready_and_survives_the_hub(surviving: At) -> None:
    user = surviving.new_user()
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


def wait_through(at: At, crash_when: Callable[[], Any], **options: Any) -> dict[str, Any]:
    """The result of a task during which the hub crashes and is started again."""
    with ThreadPoolExecutor() as pool:
        result = pool.submit(at, "hub_server", wait_timeout="100s", **options)
        until(crash_when)
        crash(at.hub)
        time.sleep(3)  # longer than any request is repeated
        start_again(at.hub)
        return result.result()


def test_a_server_that_starts_and_survives_the_hub(surviving: At) -> None:
    user, processes = surviving.new_user(), []

    def is_there() -> bool:
        process = process_of(surviving, user)
        processes.extend([process] if process else [])
        return bool(processes)

    result = wait_through(surviving, is_there, user=user)
    assert (result["changed"], item(result)["state"]) == (True, "ready")
    assert process_of(surviving, user) == processes[0]


def test_a_start_that_ends_with_the_hub(tmp_path: Path) -> None:
    """A light server lives in the hub."""
    with running_hub(tmp_path, config=IMPATIENT) as hub:
        at = At("program", hub)
        user, began = at.new_user(), time.monotonic()

        def under_way() -> bool:
            return time.monotonic() > began + 3 and at.servers(user)[""]["pending"] == "spawn"

        result = wait_through(at, under_way, user=user, user_options={"start_seconds": 60})
        failed(result, "spawn_failed", "it stopped while it was waited for")
        assert steps(result)
        assert at.servers(user) == {}


def test_a_stop_that_ends_with_the_hub(tmp_path: Path) -> None:
    with running_hub(tmp_path, config=IMPATIENT) as hub:
        at = At("program", hub)
        user = at.new_user()
        at.api("POST", f"users/{user}/server", {"user_options": {"stop_seconds": 60}})
        result = wait_through(at, lambda: at.servers(user)[""]["pending"] == "stop", user=user, state="stopped")
        assert (result["changed"], item(result)["state"]) == (True, "stopped")
