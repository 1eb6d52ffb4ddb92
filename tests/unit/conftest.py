# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that several unit tests share."""

from __future__ import annotations

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import polling
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import event_log, flow, gate, start, stop
from support.fakes.fake_clock import FakeClock


@pytest.fixture
def short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again after milliseconds while a flow waits for the hub."""
    monkeypatch.setattr(polling, "PAUSE", 0.005)
    monkeypatch.setattr(polling, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of the server flows, for tests in which a wait reaches its deadline: only their pauses move it.

    Not for a hub that answers from another thread after some polls, since the flow then does not wait for that thread.
    """
    clock = FakeClock()
    for module in (polling, event_log, flow, gate, start, stop):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(gate, "wait_for", clock.wait_for)
    monkeypatch.setattr(polling, "PAUSE", 0.5)
    monkeypatch.setattr(polling, "LONGEST_PAUSE", 2.0)
    return clock
