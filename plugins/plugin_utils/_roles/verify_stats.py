# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statistics of a play, which AWX shows as the artifact of a job and passes on to workflows and notifications.

They have room for a hundred hubs, so each hub is one short text, below its verdict.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from ...module_utils._verify.phases import PASSED
from .verify_report import find_phase
from .verify_summary import ORDER, count_text, cut

LONGEST_STATS = 4000
"""Characters of the statistics as JSON. A notification may have room for little more."""
_LENGTHS = ((200, 200), (80, 80), (40, 40), (0, 20))
"""Characters of a sentence in the summary and of the text on a hub, shorter each time that the statistics are too long.
The longest ones that fit are taken."""
_MOST_SENTENCES = 3
_LONGEST_WORD = 40
_NONE = "-"
"""Stands for a word that is not known."""


class Hub(NamedTuple):
    """A hub of the statistics."""

    host: str
    verdict: str
    sentence: str
    """What the summary says if the hub has not passed."""
    describe: Callable[[int], str]
    """Returns the text on the hub, of about this many characters."""


def stats(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdicts of a report of the role verify, and for each hub the facts in one text.

    The text on a hub that passed is its version and its seconds. Before them, that on another one has the first phase
    with the verdict of the hub and the reason. The last three words are always the reason, the version and the seconds.
    """
    hubs = [Hub(hub["host"], hub["verdict"], hub["message"], partial(_describe, hub)) for hub in report["hubs"]]
    return fit_stats(report["verdict"], report["counts"]["hubs"], hubs)


def _describe(hub: Mapping[str, Any], longest: int) -> str:
    seconds = hub["seconds"]
    facts = [_word(hub["version"], longest), f"{seconds:.{0 if seconds >= 10 else 1}f}"]
    if hub["verdict"] == PASSED:
        return " ".join(facts)
    groups = [("", hub["phases"]), *((check["name"], check["phases"]) for check in hub["checks"])]
    place, _phase = find_phase(groups, hub["verdict"])
    reason = (hub["failure"] or {}).get("code") or hub["not_verified"]
    # The name of the phase comes after that of the check.
    shown = place if len(place) <= longest else f"...{place[3 - longest :].lstrip()}"
    return " ".join([shown or _NONE, _word(reason, longest), *facts])


def _word(value: Any, longest: int) -> str:
    return cut("_".join(str(value or _NONE).split()), min(longest, _LONGEST_WORD))


def fit_stats(verdict: str, counts: Mapping[str, int], hubs: Sequence[Hub]) -> dict[str, Any]:
    """Return statistics of at most `LONGEST_STATS` characters.

    If there are too many hubs, texts are cut first. Then hubs are left out, those that passed before all others.
    """
    ordered = sorted(hubs, key=lambda hub: ORDER.index(hub.verdict))
    found: dict[str, Any] = {}
    for of_sentence, of_text in _LENGTHS:
        summary = _summarize(counts, [hub for hub in ordered if hub.verdict != PASSED], of_sentence)
        found = {"verdict": verdict, "summary": summary, "left_out": 0, "hubs": {each: {} for each in ORDER}}
        for hub in ordered:
            found["hubs"][hub.verdict][hub.host] = hub.describe(of_text)
        if _size(found) <= LONGEST_STATS:
            return found
    return _leave_out(found, [(hub.verdict, hub.host) for hub in ordered])


def _summarize(counts: Mapping[str, int], bad: list[Hub], longest: int) -> str:
    lines = [count_text(counts, "hub", "hubs")]
    if longest:
        lines += [f"{hub.host} {hub.verdict}: {cut(hub.sentence, longest)}" for hub in bad[:_MOST_SENTENCES]]
        if len(bad) > _MOST_SENTENCES:
            lines.append(f"and {len(bad) - _MOST_SENTENCES} more that did not pass")
    return "\n".join(lines)


def _leave_out(whole: Mapping[str, Any], hosts: list[tuple[str, str]]) -> dict[str, Any]:
    """Return the statistics without the last hosts, which stand below their verdicts. The first ones matter most."""
    groups = whole["hubs"]
    shown: dict[str, Any] = {**whole, "hubs": {verdict: {} for verdict in groups}}
    room = LONGEST_STATS - _size(shown) - 150  # for the last line of the summary
    number = 0
    for verdict, host in hosts:
        room -= _size({host: groups[verdict][host]})
        if room < 0:
            break
        shown["hubs"][verdict][host] = groups[verdict][host]
        number += 1
    missing = Counter(verdict for verdict, _host in hosts[number:])
    parts = ", ".join(f"{missing[verdict]} {verdict}" for verdict in ORDER if missing[verdict])
    shown["left_out"] = missing.total()
    shown["summary"] += f"\n{missing.total()} of the hubs are left out here: {parts}"
    return shown


def _size(data: Any) -> int:
    return len(json.dumps(data))
