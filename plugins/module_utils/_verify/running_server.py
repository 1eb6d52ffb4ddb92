# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server that a check has started, for the phases that prove something in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._hub.client import HubClient
from .interruption import LeftOvers


@dataclass(frozen=True)
class RunningServer:
    """A server that answers at its address."""

    hub: HubClient
    """The client with the token of the check's account."""
    url: str
    """The server's address. It ends in a slash."""
    title: str
    """The server's name in a sentence, such as "server of user 'alice'"."""
    user: str
    """The name of its owner."""
    timeout: float
    """Seconds that each proof in the server may take, unless it has a limit of its own."""
    left_overs: LeftOvers = field(default_factory=LeftOvers)
    """What the proofs must not leave behind in the server if the task is interrupted."""
