# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of two snapshots of a hub: what is lost, changed and new. It is a pure function of the snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._drain.record import Record
from .._hub.errors import printable
from .._hub.times import parse_time
from .classes import compare_classes
from .difference import SEVERITIES, Difference, Pair, sort_differences
from .model import Snapshot
from .people import compare_groups, compare_memberships, compare_services, compare_users
from .readability import compare_readability, list_not_compared
from .servers import Servers, compare_servers
from .tokens import compare_scopes, compare_tokens
from .verification import (
    USUAL,
    Slower,
    Verifications,
    compare_verifications,
    find_start_time,
    find_version,
    not_compared,
)


@dataclass(frozen=True)
class Comparison:
    """How two snapshots differ."""

    differences: list[Difference]
    """Sorted: what is lost first."""
    servers: Servers
    starts: list[dict[str, Any]]
    not_compared: list[dict[str, str]]

    def count(self) -> dict[str, int]:
        """Return how many differences have each severity."""
        found = [each.severity for each in self.differences]
        return {severity: found.count(severity) for severity in SEVERITIES}

    def shown(self) -> dict[str, Any]:
        """Return the comparison as the result of a task has it."""
        return {
            "counts": self.count(),
            "differences": [each.shown() for each in self.differences],
            "servers": self.servers.shown(),
            "starts": self.starts,
            "not_compared": self.not_compared,
        }


def compare_snapshots(
    before: Snapshot, after: Snapshot, *, record: Record | None = None, slower: Slower = USUAL
) -> Comparison:
    """Return how two snapshots differ.

    ``record`` is that of a drain between them, if there was one. ``slower`` says what counts as a slower start.
    """
    pair = Pair(before, after)
    servers = compare_servers(pair, record)
    verifications = _compare_verifications(pair, slower)
    differences = [
        *compare_readability(pair),
        *compare_classes(pair),
        *compare_users(pair),
        *compare_memberships(pair),
        *compare_groups(pair),
        *compare_services(pair),
        *compare_tokens(pair),
        *compare_scopes(pair),
        *servers.differences,
        *verifications.differences,
    ]
    return Comparison(
        sort_differences(differences),
        servers,
        verifications.starts,
        [*list_not_compared(pair), *verifications.not_compared],
    )


def _compare_verifications(pair: Pair, slower: Slower) -> Verifications:
    """Compare the verifications, unless the second one is of the hub as it was before.

    That happens if nobody has verified the hub again. The comparison would find nothing then.
    """
    before, after = pair.before, pair.after
    began, first, second = find_start_time(after.verification), parse_time(before.taken), parse_time(after.taken)
    if began is not None and first is not None and second is not None and began < first < second:
        return not_compared("Verifications are not compared: the hub was not verified again since the first snapshot.")
    old, new = str(before.hub.get("version")), str(after.hub.get("version"))
    if find_version(after.verification) == old != new:
        message = f"it was verified as JupyterHub {printable(old, 50)}, and runs {printable(new, 50)} now"
        return not_compared(f"Verifications are not compared: the hub was not verified again; {message}.")
    return compare_verifications(before.verification, after.verification, slower)
