# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several of the unit tests share."""

from __future__ import annotations

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import polling
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import flow, start, stop
from support.fakes.scripted_hub import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the flows of servers, for waits that come to their end: it is only their pauses that take time.

    A hub that answers from another thread, after so many looks, is no such case: nobody waits for that thread then.
    """
    clock = Clock()
    for module in (polling, flow, start, stop):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(polling, "PAUSE", 0.5)
    monkeypatch.setattr(polling, "LONGEST_PAUSE", 2.0)
    return clock
