# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_verify/check on a hub that has no room for a start: the wait is no part of the start, and can be interrupted."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import RateLimited
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.threads import in_background
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.gate import StartGate
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify import check as _check
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.check import CheckRun
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.interruption import LeftOvers
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.phases import Recorder
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.spec import CheckSpec
from support.fakes.fake_clock import FakeClock
from support.fakes.fake_hub_client import READY, FakeHubClient, hub_with
from support.waiting import wait_until

LONG = 120.0
"""Seconds. A check that waits although it should not takes longer than that here."""


def new_check(hub: FakeHubClient, **more: Any) -> CheckRun:
    gate = StartGate()
    return CheckRun(hub, hub, CheckSpec("", "", "alice", "", **more), gate, user="alice", why_not="")  # type: ignore[arg-type]


def no_room(retry_after: float) -> RateLimited:
    return RateLimited("No room.", "x", status=429, method="POST", reason="too many", retry_after=retry_after)


def test_the_wait_for_room_is_no_part_of_the_start(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_check, "time", clock)
    hub = hub_with()

    def written(method: str, *_request: Any) -> None:
        hub.set_server(None if method == "DELETE" else READY)
        if len(hub.writes) == 1:
            hub.set_server(None)
            raise no_room(100.0)

    hub.on_write = written
    check, recorder = new_check(hub, warn_after=50.0), Recorder(clock.now, lambda phase: None)
    check.run(check.plan(), recorder, LeftOvers(), is_alone=True)
    start, stop = recorder.phases
    assert (start.verdict, stop.verdict) == ("passed", "passed")
    # A pause of another thread moves the clock, too.
    waited = start.details["waited_for_room"]
    assert 100 <= waited < 150
    assert f"Before that, it waited {waited:.1f} s until the hub had room for its start." in start.message
    assert [method for method, _path, _body in hub.writes] == ["POST", "POST", "DELETE"]


def test_a_check_that_waits_for_room_can_be_interrupted(short_polls: None) -> None:
    """It leaves alone a server that somebody else has started meanwhile."""
    hub, refused = hub_with(), threading.Event()

    def written(*_request: Any) -> None:
        refused.set()
        raise no_room(LONG)

    hub.on_write = written
    check, recorder = new_check(hub, wait_timeout=10 * LONG), Recorder(0.0, lambda phase: None)
    left_overs = LeftOvers()
    running = in_background(lambda: check.run(check.plan(), recorder, left_overs, is_alone=True))
    assert refused.wait(LONG)
    wait_until(lambda: check._gate._queue.waiting)
    hub.set_server(READY)
    left_overs.undo_all(LONG)
    running.result(LONG / 2)
    start, stop = recorder.phases
    assert (start.verdict, stop.verdict) == ("failed", "skipped")
    assert "was cancelled" in start.message
    assert [method for method, _path, _body in hub.writes] == ["POST"]
