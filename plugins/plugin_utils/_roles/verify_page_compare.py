# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part "before and after" of the page that shows a verification: what an upgrade has changed on each hub."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...module_utils._verify.phases import FAILED, PASSED, SKIPPED, WARNED
from .upgrade import LOST, SEVERITIES
from .upgrade_report import count_differences
from .upgrade_summary import describe_start, list_missing
from .verify_page_html import draw_facts, draw_link, draw_moment, escape_text, select_fitting
from .verify_page_svg import icon, pair_bar, share_bar
from .verify_summary import ORDER, sort_hubs

MOST_OPEN = 5
"""Hubs that did not pass and are shown unfolded."""
MOST_ROWS = (300, 30, 5)
"""Rows of one table. If the page has no room for a hub, its tables get fewer rows."""
START_TIME = "start_time"
"""The kind of the differences that say which starts are slower."""
ARROW = "\u2192"
LONGEST_WHY = 300
"""Characters of the reason in the heading of a hub."""
LONGEST_VALUE = 200
"""Characters of a value before or after."""

Data = Mapping[str, Any]


def describe_comparison(comparison: Data) -> str:
    """Return the result of a comparison in one line."""
    counts, hubs = comparison["counts"]["hubs"], comparison["hubs"]
    total, differences = counts["total"], count_differences(comparison["counts"]["differences"])
    if not total:
        return "No hub was compared"
    if total == 1:
        [hub] = hubs
        if hub["not_run"]:
            return f"{hub['host']} was not compared"
        return f"{hub['host']}: {differences}"
    missing = sum(bool(hub["not_run"]) for hub in hubs)
    if missing:
        were = "was" if missing == 1 else "were"
        return f"{missing} of {total} hubs {were} not compared, {differences} on the others"
    return f"{total} hubs: {differences}"


def draw_top(comparison: Data, heading: str, verdict: str) -> str:
    """Return the top of a page that shows a comparison. ``verdict`` is the one on everything on the page."""
    counts = comparison["counts"]["hubs"]
    legend = "".join(f"<li>{icon(each)}{counts[each]} {each}</li>" for each in ORDER if counts[each])
    facts = [draw_moment(comparison["written"])]
    if comparison["ansible_version"]:
        facts.append(escape_text(f"ansible-core {comparison['ansible_version']}"))
    overview = f'{share_bar(counts)}<ol class="legend">{legend}</ol>' if counts["total"] > 1 else ""
    return (
        f'<header class="top">\n<p class="kind">JupyterHub upgrade: before and after</p>\n'
        f"<h1>{icon(verdict)}<span>{escape_text(heading)}</span></h1>\n"
        f"{draw_facts(facts)}\n{overview}</header>\n"
    )


def draw_comparison(comparison: Data, room: int) -> Iterator[str]:
    """Yield the part "before and after", in at most ``room`` bytes, except that each hub has its row in any case."""
    yield '<section class="hubs" aria-label="Before and after">\n'
    hubs, number_open = sort_hubs(comparison), 0
    for number, hub in enumerate(hubs):
        is_open = len(hubs) == 1 or (hub["verdict"] != PASSED and number_open < MOST_OPEN)
        number_open += is_open
        # A hub with many differences leaves room for the hubs after it.
        own_room = room // min(len(hubs) - number, 4)
        drawn = select_fitting((_draw_hub(hub, is_open, most) for most in (*MOST_ROWS, 0)), own_room)
        room -= len(drawn.encode())
        yield drawn
    yield "</section>\n"


def draw_bottom(comparison: Data) -> str:
    """Return the end of the part."""
    return (
        f'<footer class="bottom">\n<p>Lost is what the hub had before and does not have now. Changed is what is '
        f"different, and new is what was not there. compare.json beside this page has all differences, in version "
        f"{comparison['version']} of its schema.</p>\n</footer>\n"
    )


# A hub


def _draw_hub(hub: Data, is_open: bool, most: int) -> str:
    """Return a hub. ``most`` is the number of rows of a table. If it is 0, only the row of the hub is drawn."""
    verdict = hub["verdict"]
    versions = [hub[side]["version"] for side in ("before", "after")] if not hub["not_run"] else []
    shown = f" {ARROW} ".join(dict.fromkeys(version for version in versions if version))
    why = hub["message"] if hub["not_run"] or not any(hub["counts"].values()) else count_differences(hub["counts"])
    line = (
        f'<span class="verdict large">{icon(verdict)}{verdict}</span>'
        f"<h2><bdi>{escape_text(hub['host'])}</bdi></h2>"
        f'<span class="why">{escape_text(why or "no difference", LONGEST_WHY)}</span>'
        f'<span class="versions">{escape_text(shown)}</span>'
    )
    if not most:
        return f'<div class="hub compared {verdict}"><div class="bare">{line}</div></div>\n'
    return (
        f'<details class="hub compared {verdict}"{" open" if is_open else ""}>\n<summary>{line}</summary>\n'
        f'<div class="body">\n{"".join(_draw_body(hub, most))}</div>\n</details>\n'
    )


def _draw_body(hub: Data, most: int) -> Iterable[str]:
    before, after = hub["before"], hub["after"]
    facts = []
    for name, side in (("before", before), ("after", after)):
        known = [draw_moment(side["taken"])] if side["taken"] else []
        known += [draw_link(side["url"])] if side["url"] and (name == "after" or side["url"] != after["url"]) else []
        facts += [f"{name}: {' '.join(known)}"] if known else []
    yield draw_facts(facts)
    is_explained = hub["fail_on"] and any(hub["counts"].values()) and not hub["failure"]
    is_in_heading = bool(hub["not_run"]) and len(hub["message"]) <= LONGEST_WHY
    if hub["verdict"] == FAILED and not is_explained and not is_in_heading:
        yield f'<div class="next"><p>{escape_text(hub["message"])}</p></div>'
    for severity in SEVERITIES:
        found = [each for each in hub["differences"] if each["severity"] == severity]
        if found:
            yield _draw_differences(severity, found, hub["counts"][severity], hub["fail_on"], most)
    yield from _draw_servers(hub["servers"], most)
    if hub["starts"]:
        slower = {each["name"] for each in hub["differences"] if each["kind"] == START_TIME}
        yield _draw_starts(hub["starts"], slower, most)
    if hub["not_compared"]:
        rows = "".join(
            f"<li><b>{escape_text(each['name'])}</b> {escape_text(each['message'])}</li>\n"
            for each in hub["not_compared"][:most]
        )
        yield _draw_section(SKIPPED, "Not compared", len(hub["not_compared"]), f'<ol class="list">\n{rows}</ol>', most)


def _draw_differences(severity: str, found: list[Data], number: int, fail_on: list[str], most: int) -> str:
    """Return the table of the differences of one severity. A column that would be empty is left out."""
    sides = [side for side in ("before", "after") if any(each[side] is not None for each in found)]
    titles = {"before": "Before", "after": "After"}
    heads = "".join(f'<th scope="col">{title}</th>' for title in ("Kind", "What", *(titles[side] for side in sides)))
    rows = "".join(
        f'<tr><td class="kind">{escape_text(each["kind"])}</td><td>{escape_text(each["message"], 500)}</td>'
        f"{''.join(_draw_value(side, each[side]) for side in sides)}</tr>\n"
        for each in found[:most]
    )
    verdict = FAILED if severity in fail_on else WARNED if severity == LOST else PASSED
    mark = verdict if verdict != PASSED else severity
    table = f"<table><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table>"
    return _draw_section(mark, severity.capitalize(), number, table, most)


def _draw_section(mark: str, title: str, number: int, content: str, most: int) -> str:
    more = f'<p class="soft">And {number - most} more.</p>' if number > most else ""
    return (
        f'<section class="check {mark}"><header>{icon(mark)}<h3>{escape_text(title)}</h3>'
        f"{draw_facts([str(number)])}</header>\n{content}{more}</section>\n"
    )


def _draw_value(side: str, value: Any) -> str:
    shown = value or "" if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f'<td class="value" data-side="{side}">{escape_text(shown, LONGEST_VALUE)}</td>'


def _draw_servers(servers: Mapping[str, list[str]], most: int) -> Iterator[str]:
    counts = [f"{len(names)} {name}" for name, names in servers.items() if names]
    if not counts:
        return
    parts = []
    for name, hint in (
        ("drained", "The playbook restore starts them again."),
        ("stopped", "They ran before. The playbook restore does not start them."),
    ):
        if servers[name]:
            names = ", ".join(f"<bdi>{escape_text(each)}</bdi>" for each in servers[name][:most])
            left = f" and {len(servers[name]) - most} more" if len(servers[name]) > most else ""
            parts.append(f"<p><b>{name.capitalize()}:</b> {names}{left}. {hint}</p>")
    number = len(list_missing(servers))
    title = f"Servers to restore ({number})" if number else "Servers"
    yield (
        f'<section class="check"><header>{icon(WARNED if number else PASSED)}<h3>{title}</h3>'
        f"{draw_facts(counts)}</header>\n{''.join(parts)}</section>\n"
    )


def _draw_starts(starts: list[Data], slower: set[str], most: int) -> str:
    """Return the table of starts. ``slower`` are the checks whose start counts as slower, which come first."""
    longest = max((each[side] or 0.0 for each in starts for side in ("before", "after")), default=0.0)
    found = sorted(starts, key=lambda each: each["check"] not in slower)
    rows = "".join(
        f'<tr class="{WARNED if each["check"] in slower else PASSED}"><td>{escape_text(each["check"])}</td>'
        f"<td>{pair_bar(each['before'], each['after'], longest)}</td>"
        f'<td class="number">{escape_text(describe_start(each).replace("->", ARROW))}</td></tr>\n'
        for each in found[:most]
    )
    heads = "".join(f'<th scope="col">{title}</th>' for title in ("Check", "Before and after", "Seconds"))
    table = f'<table class="starts"><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table>'
    number = sum(each["check"] in slower for each in starts)
    more = f'<p class="soft">And {len(starts) - most} more.</p>' if len(starts) > most else ""
    mark = WARNED if number else PASSED
    return (
        f'<section class="check {mark}"><header>{icon(mark)}<h3>Starts</h3>'
        f"{draw_facts([f'{number} slower'])}</header>\n{table}{more}</section>\n"
    )
