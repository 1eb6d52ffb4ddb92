# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_verify/check at the deadline: the phases say where the check was, and whether its server has stopped."""

from __future__ import annotations

import threading
from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Timeout
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.threads import in_background
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.gate import StartGate
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.check import CheckRun
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.interruption import LeftOvers
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.phases import Recorder
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.spec import CheckSpec
from support.fakes.fake_hub_client import PENDING, READY, STOPPING, FakeHubClient, hub_with
from support.waiting import wait_until

OVERDUE = Timeout("The verification was not over.", "Raise deadline.")
LONG = 120.0


def ended(hub: FakeHubClient, *, after: str, **more: Any) -> dict[str, Any]:
    """The check, as the result shows it, that was ended while the hub worked on the request with this method."""
    gate = StartGate()
    check = CheckRun(hub, hub, CheckSpec("", "", "alice", "", **more), gate, user="alice", why_not="")  # type: ignore[arg-type]
    left_overs, recorder, reached = LeftOvers(), Recorder(0.0, lambda phase: None), threading.Event()
    answer = hub.on_write

    def written(method: str, path: str, body: Any) -> Any:
        if method == after:
            reached.set()
        return answer(method, path, body)

    hub.on_write = written
    outcome = check.plan()
    running = in_background(lambda: check.run(outcome, recorder, left_overs, is_alone=True))
    if after:
        assert reached.wait(LONG)
        wait_until(lambda: check.has_started)
    else:
        running.result(LONG)
    left_overs.undo_all(2.0)
    return check.describe(check.end(recorder, OVERDUE))


def verdicts(check: dict[str, Any]) -> dict[str, str]:
    return {phase["name"]: phase["verdict"] for phase in check["phases"]}


def starting(at_stop: Any) -> FakeHubClient:
    """A hub on which a start never ends, and which shows the server in this state after a request to stop it."""
    hub = hub_with()
    hub.on_write = lambda method, *_request: hub.set_server(at_stop if method == "DELETE" else PENDING)
    return hub


def test_the_server_of_a_start_that_never_ends_is_stopped(short_polls: None) -> None:
    check = ended(starting(None), after="POST", pages=("lab",), wait_timeout=LONG)
    assert verdicts(check) == {"start": "failed", "page": "skipped", "stop": "warned"}
    assert (check["failure"]["code"], check["server_left"]) == ("timeout", False)


def test_a_server_that_does_not_stop_is_named(short_polls: None) -> None:
    check = ended(starting(STOPPING), after="POST", wait_timeout=LONG)
    assert verdicts(check) == {"start": "failed", "stop": "failed"}
    assert check["server_left"] is True
    assert "was asked to stop at the deadline" in check["phases"][-1]["message"]


def test_a_check_that_is_over_stays_as_it_is(short_polls: None) -> None:
    hub = hub_with()
    hub.on_write = lambda method, *_request: hub.set_server(None if method == "DELETE" else READY)
    check = ended(hub, after="")
    assert (verdicts(check), check["verdict"]) == ({"start": "passed", "stop": "passed"}, "passed")
