# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drawings on the page that shows a report of the role verify, as SVG inside of HTML.

Places on a time axis are percentages, so a drawing is as wide as its column and its text keeps its size. A verdict has
a shape of its own in each drawing, because not everybody can tell the colours apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from ...module_utils._verify.phases import FAILED, SKIPPED
from .verify_summary import ORDER
from .verify_values import read_list, read_mapping, read_seconds

MOST_EVENTS = 50
"""Events that are drawn on a bar."""
MOST_TICKS = 5
WIDTH, HEIGHT = 112, 26
"""Pixels of a line of earlier runs."""

SHAPES = """<svg width="0" height="0" aria-hidden="true" style="position:absolute"><defs>
<pattern id="hatched" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="6" height="6"/><path d="M0 0V6"/></pattern>
<symbol id="passed" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7"/><path d="M4.8 8.3l2.2 2.2 4.2-4.6"/></symbol>
<symbol id="warned" viewBox="0 0 16 16"><path d="M8 1.6L15 14.2H1z"/><path d="M8 6v4M8 11.3v1.5"/></symbol>
<symbol id="failed" viewBox="0 0 16 16"><path class="full" d="M5 1h6l4 4v6l-4 4H5l-4-4V5z"/>
<path class="on-full" d="M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6"/></symbol>
<symbol id="skipped" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" stroke-dasharray="2.4 2"/>
<path d="M5 8h6"/></symbol>
<symbol id="changed" viewBox="0 0 16 16"><path d="M2 5.5h11M10 2.5l3 3-3 3M14 10.5H3M6 7.5l-3 3 3 3"/></symbol>
<symbol id="new" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7"/><path d="M8 4.6v6.8M4.6 8h6.8"/></symbol>
</defs></svg>"""
"""What the drawings of a page refer to. It is on the page once."""


def icon(verdict: str) -> str:
    """Return the sign of a verdict. The word must stand beside it."""
    return f'<svg class="icon {verdict}" aria-hidden="true"><use href="#{verdict}"/></svg>'


def share_bar(counts: Mapping[str, int]) -> str:
    """Return a bar that shows how many hubs have each verdict. The numbers must stand beside it."""
    parts, place = [], 0.0
    for verdict in ORDER:
        share = 100 * counts[verdict] / (counts["total"] or 1)
        if share:
            parts.append(
                f'<rect class="{verdict}" style="fill:var(--bar)" x="{place:.3f}%" width="{share:.3f}%" height="8"/>'
            )
        place += share
    return f'<svg class="share" aria-hidden="true">{"".join(parts)}</svg>'


def pair_bar(before: float | None, after: float | None, longest: float) -> str:
    """Return two bars, for what took ``before`` and ``after`` seconds. The numbers must stand beside them."""
    scale = 100 / max(longest, 1e-3)
    bars = "".join(
        f'<rect class="{name}" y="{place}" width="{min(max(seconds, 0.0) * scale, 100.0):.2f}%" height="7"/>'
        for name, place, seconds in (("before", 1, before), ("after", 10, after))
        if seconds is not None
    )
    return f'<svg class="pair" aria-hidden="true">{bars}</svg>'


# The time axis


def tick_step(seconds: float) -> float:
    """Return the seconds between two ticks of an axis of this length: 1, 2 or 5, times a power of ten."""
    least = max(seconds, 1e-3) / MOST_TICKS
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * 0.999)


def axis(seconds: float) -> str:
    """Return the labels of an axis that begins at 0 and has this length."""
    step = tick_step(seconds)
    labels = []
    for number in range(MOST_TICKS + 1):
        place = 100 * number * step / max(seconds, 1e-3)
        if place <= 94:  # a label further right would not fit
            unit = " s" if number == 0 else ""
            anchor = "" if number == 0 else ' text-anchor="middle"'
            labels.append(f'<text x="{place:.2f}%" y="12"{anchor}>{number * step:.4g}{unit}</text>')
    return f'<svg width="100%" height="16" aria-hidden="true">{"".join(labels)}</svg>'


def phase_bar(phase: Mapping[str, Any], seconds: float) -> str:
    """Return the bar of a phase on an axis of this length, with the spawner's events as gaps in it."""
    scale = 100 / max(seconds, 1e-3)
    verdict, began = phase["verdict"], min(phase["began"], seconds)
    if verdict == SKIPPED:
        return '<svg class="line" aria-hidden="true"></svg>'
    width = min(phase["seconds"], seconds - began) * scale
    what = f"{phase['name']} {verdict}, from {began:.1f} s to {began + phase['seconds']:.1f} s"
    drawn = f'<rect class="bar" x="{began * scale:.2f}%" y="50%" width="{width:.2f}%"/>'
    for event in read_list(phase["details"].get("events"))[:MOST_EVENTS]:
        after = read_seconds(read_mapping(event).get("seconds"))
        # A gap at an end of the bar would look like another end.
        if 0.04 < after / max(phase["seconds"], 1e-3) < 0.96:
            drawn += f'<rect class="event" x="{(began + after) * scale:.2f}%" y="50%"/>'
    return f'<svg class="line" role="img" aria-label="{escape(what)}">{drawn}</svg>'


# Earlier runs


def sparkline(runs: Iterable[tuple[str, float | None]], what: str) -> str:
    """Return a line through the seconds of some runs above zero, the newest one last.

    A run is its verdict and its seconds, None if it has none. ``what`` is counted, for those who do not see the line.
    Return an empty text if there is nothing to compare.
    """
    points = [*runs]
    known = [seconds for _verdict, seconds in points if seconds is not None]
    if len(known) < 2:
        return ""
    bottom, top, left = HEIGHT - 3, max(*known, 1e-3), 4.0
    gap = (WIDTH - 2 * left) / (len(points) - 1)
    places = [
        (left + number * gap, bottom - (HEIGHT - 7) * (seconds or 0.0) / top, verdict, seconds is not None)
        for number, (verdict, seconds) in enumerate(points)
    ]
    line = [(x, y) for x, y, _verdict, is_known in places if is_known]
    crosses = "".join(
        f"M{x - 2.5:.1f} {y - 2.5:.1f}l5 5m0-5l-5 5" for x, y, verdict, _is_known in places if verdict == FAILED
    )
    area = (
        f"M{line[0][0]:.1f} {bottom:.1f}{''.join(f'L{x:.1f} {y:.1f}' for x, y in line)}L{line[-1][0]:.1f} {bottom:.1f}z"
    )
    path = f"M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in line)}"
    drawn = f'<path class="area" d="{area}"/><path class="run" d="{path}"/>'
    if places[-1][2] != FAILED:
        drawn += f'<circle cx="{line[-1][0]:.1f}" cy="{line[-1][1]:.1f}" r="2.5"/>'
    drawn += f'<path class="cross failed" d="{crosses}"/>' if crosses else ""
    label = f"{what} of the last {len(points)} runs, from {min(known):.1f} s to {max(known):.1f} s"
    return f'<svg class="runs" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(label)}">{drawn}</svg>'
