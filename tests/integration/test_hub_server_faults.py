# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_server` where something goes wrong on the way: streams and requests that a proxy cuts, stops that take long,
tokens that expire, hubs that crash. What is said of a server is what the hub then says of it, too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import BY_STATUS, HubError
from cutting_proxy import CuttingProxy, Fault, cutting_proxy, dice, every
from doors import At, failed
from hubs import Hub, crash, running_hub, start_again

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


def test_a_start_that_is_answered_when_nobody_listens_any_more(at: At) -> None:
    user = at.new_user()
    with cutting_proxy(at.hub.url, every("POST", "/server", Fault("late", seconds=3))) as proxy:
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


@pytest.fixture(scope="module")
def surviving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[At]:
    """A hub with real servers, which do not end with it."""
    with running_hub(tmp_path_factory.mktemp("surviving"), spawner="server") as hub:
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
    failed(away, "hub_error", "503")
    assert item(away)["reason"]
    start_again(surviving.hub)
    result = surviving("hub_server", user=user)
    assert (result["changed"], item(result)["url"], process_of(surviving, user)) == (False, first["url"], process)
    assert process is not None
