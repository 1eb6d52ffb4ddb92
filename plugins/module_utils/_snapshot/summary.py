# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a comparison says in a few lines for people. The functions are pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .._hub.errors import printable
from .comparison import Comparison
from .difference import LOST, SEVERITIES
from .model import Snapshot

_MOST_LINES = 20
"""How many differences that are lost the summary names."""
_PLURALS = {"membership": "memberships", "property": "properties", "start_time": "start times", "unreadable": "parts"}
_LONGEST = 300
"""Characters of a line."""


def summarize(before: Snapshot, after: Snapshot, comparison: Comparison) -> list[str]:
    """Return lines on both snapshots, on the numbers of differences, and on each one that is lost, up to a limit."""
    lines = [*_describe_snapshots(before, after), *_describe_servers(comparison)]
    for severity in SEVERITIES:
        kinds = Counter(each.kind for each in comparison.differences if each.severity == severity)
        counted = ", ".join(_count(kind, number) for kind, number in sorted(kinds.items()))
        lines.append(f"{severity}: {counted or 'nothing'}")
    lost = [each.message for each in comparison.differences if each.severity == LOST]
    lines += [f"lost: {message}" for message in lost[:_MOST_LINES]]
    lines += [f"lost: {len(lost) - _MOST_LINES} more"] if len(lost) > _MOST_LINES else []
    lines += [f"not compared: {each['message']}" for each in comparison.not_compared]
    return [printable(line, _LONGEST) for line in lines]


def _describe_snapshots(before: Snapshot, after: Snapshot) -> Iterator[str]:
    for title, snapshot in (("before", before), ("after", after)):
        yield f"{title}: JupyterHub {snapshot.hub.get('version')} at {snapshot.hub.get('url')}, {snapshot.taken}"
    readers = [f"{each.reader.get('kind')} {each.reader.get('name')}" for each in (before, after)]
    if readers[0] != readers[1]:
        yield f"read with another token: before that of {readers[0]}, after that of {readers[1]}"


def _describe_servers(comparison: Comparison) -> Iterator[str]:
    counts = {name: len(names) for name, names in comparison.servers.shown().items()}
    if total := sum(counts.values()):
        shown = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        yield f"servers that ran before: {total}, of them {shown}"


def _count(kind: str, number: int) -> str:
    return f"{number} {kind.replace('_', ' ') if number == 1 else _PLURALS.get(kind, f'{kind}s')}"
