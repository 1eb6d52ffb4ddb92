# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page that shows a report of the role verify: one file of HTML without scripts, which loads nothing.

verify_page_html.py says how a text of a report gets into the page. After an upgrade, the page also shows a comparison,
which verify_page_compare.py draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from ...module_utils._verify.phases import FAILED, PASSED, SKIPPED, WARNED, join_verdicts
from .verify_page_compare import describe_comparison, draw_bottom, draw_comparison, draw_top
from .verify_page_html import (
    END,
    describe_duration,
    draw_facts,
    draw_head,
    draw_link,
    draw_moment,
    escape_lines,
    escape_text,
    select_fitting,
)
from .verify_page_svg import axis, icon, phase_bar, share_bar, sparkline, tick_step
from .verify_summary import ORDER, sort_hubs
from .verify_tracebacks import LONGEST, find_tracebacks
from .verify_values import read_line, read_list, read_mapping, read_seconds

LONGEST_PAGE = 1_800_000
"""Bytes. A hub for which there is no room is a row without its details."""
MOST_OPEN = 5
"""Hubs that did not pass and are shown unfolded."""
MOST_EVENTS = 100
"""Events of a start that are listed."""
MOST_RUNS = 30
"""Runs that a line of earlier runs shows."""

Data = Mapping[str, Any]


def page(report: Data | None, comparison: Data | None = None) -> str:
    """Return the content of ``index.html``, for a verification, for a comparison of hubs before and after an upgrade,
    or for both.

    ``report`` is what `collect` in verify_report.py returns, and ``comparison`` the same of upgrade_report.py.
    """
    parts = [*_draw_start(report, comparison)]
    if report:
        file = "report.json of the verification" if comparison else "report.json beside this page"
        parts += _draw_hubs(report, LONGEST_PAGE - sum(len(part.encode()) for part in parts))
        parts.append(_bottom(report, file))
    return "".join([*parts, END])


def _draw_start(report: Data | None, comparison: Data | None) -> Iterator[str]:
    """Yield what is above the hubs of the verification."""
    verified = _heading(report["counts"]["hubs"], report["hubs"]) if report else ""
    if comparison is None:
        yield draw_head(f"{verified} - JupyterHub verification")
        yield _top(report, verified) if report else ""
        return
    heading = describe_comparison(comparison)
    verdicts = [comparison["verdict"], *([report["verdict"]] if report else [])]
    if report and report["verdict"] in (FAILED, SKIPPED):
        heading += f". Verification: {verified}"
    yield draw_head(f"{heading} - JupyterHub upgrade")
    yield draw_top(comparison, heading, join_verdicts(verdicts))
    yield from draw_comparison(comparison, LONGEST_PAGE // 2 if report else LONGEST_PAGE)
    yield draw_bottom(comparison)
    if report:
        yield (
            f'<h2 class="part">{icon(report["verdict"])}<span>Verification: {escape_text(verified)}</span></h2>\n'
            f"{draw_facts([draw_moment(report['began'])])}\n"
        )


def _draw_hubs(report: Data, room: int) -> Iterator[str]:
    """Yield the hubs of a verification, in at most ``room`` bytes, except that each hub has its row in any case."""
    yield '<div class="hubs">\n'
    number_open = 0
    hubs = sort_hubs(report)
    for hub in hubs:
        is_open = len(hubs) == 1 or (hub["verdict"] != PASSED and number_open < MOST_OPEN)
        number_open += is_open
        drawn = select_fitting((_hub(hub, report, is_open, longest) for longest in (LONGEST, 1000, 0)), room)
        room -= len(drawn.encode())
        yield drawn
    yield "</div>\n"


def _heading(counts: Mapping[str, int], hubs: list[Data]) -> str:
    total = counts["total"]
    if not total:
        return "No hub was verified"
    if total == 1:
        words = {PASSED: "passed", WARNED: "works, with a warning", FAILED: "failed", SKIPPED: "was not verified"}
        return f"{hubs[0]['host']} {words[hubs[0]['verdict']]}"
    if counts[FAILED]:
        return f"{counts[FAILED]} of {total} hubs failed"
    if counts[SKIPPED]:
        return f"{counts[SKIPPED]} of {total} hubs {'was' if counts[SKIPPED] == 1 else 'were'} not verified"
    return f"All {total} hubs work, {counts[WARNED]} with a warning" if counts[WARNED] else f"All {total} hubs passed"


def _top(report: Data, heading: str) -> str:
    counts = report["counts"]["hubs"]
    legend = "".join(f"<li>{icon(verdict)}{counts[verdict]} {verdict}</li>" for verdict in ORDER if counts[verdict])
    facts = [draw_moment(report["began"]), escape_text(f"took {describe_duration(report['seconds'])}")]
    if report["ansible_version"]:
        facts.append(escape_text(f"ansible-core {report['ansible_version']}"))
    overview = f'{share_bar(counts)}<ol class="legend">{legend}</ol>' if counts["total"] > 1 else ""
    return (
        f'<header class="top">\n<p class="kind">JupyterHub verification</p>\n'
        f"<h1>{icon(report['verdict'])}<span>{escape_text(heading)}</span></h1>\n"
        f"{draw_facts(facts)}\n{overview}</header>\n"
    )


# A hub


def _hub(hub: Data, report: Data, is_open: bool, longest: int) -> str:
    """Return a hub. ``longest`` is the number of characters of its long texts. If it is 0, only the row is drawn."""
    runs = report["history"].get(hub["host"], [])[-MOST_RUNS:]
    starts = [(run["verdict"], max(run["checks"].values(), default=None)) for run in runs]
    line = (
        f'<span class="verdict large">{icon(hub["verdict"])}{hub["verdict"]}</span>'
        f"<h2><bdi>{escape_text(hub['host'])}</bdi></h2>"
        f'<span class="why">{escape_text(hub["message"] or _what_passed(hub), 300)}</span>'
        f'<span class="trend">{sparkline(starts, "Seconds of the longest start")}</span>'
        f'<span class="number">{"" if hub["not_verified"] else describe_duration(hub["seconds"])}</span>'
    )
    if not longest:
        return f'<div class="hub {hub["verdict"]}"><div class="bare">{line}</div></div>\n'
    body = "".join(_hub_body(hub, report, runs, longest))
    return (
        f'<details class="hub {hub["verdict"]}"{" open" if is_open else ""}>\n<summary>{line}</summary>\n'
        f'<div class="body">\n{body}</div>\n</details>\n'
    )


def _what_passed(hub: Data) -> str:
    number = len(hub["checks"])
    version = f"JupyterHub {hub['version']}, " if hub["version"] else ""
    return f"{version}{number} check{'' if number == 1 else 's'}"


def _hub_body(hub: Data, report: Data, runs: list[Data], longest: int) -> Iterable[str]:
    facts = [draw_link(hub["url"])] if hub["url"] else []
    facts += [escape_text(f"JupyterHub {hub['version']}")] if hub["version"] else []
    facts.append(draw_moment(hub["began"]))
    success = report["last_success"].get(hub["host"])
    if hub["verdict"] not in (PASSED, WARNED):
        facts.append(f"last success {draw_moment(success)}" if success else "no earlier success is known")
    yield draw_facts(facts)
    every = [*hub["phases"], *(phase for check in hub["checks"] for phase in check["phases"])]
    if hub["verdict"] not in (PASSED, *(phase["verdict"] for phase in every)):  # no phase shows the reason
        yield f'<div class="next">{_what_happened(hub["failure"], hub["message"])}</div>'
    seconds = max([hub["seconds"], *(phase["began"] + phase["seconds"] for phase in every)])
    if hub["phases"]:
        verdict = join_verdicts([phase["verdict"] for phase in hub["phases"]])
        yield _timeline(verdict, "The hub", [], "", hub["phases"], seconds, longest)
    for check in hub["checks"]:
        facts = [escape_text(f"user {check['user']}")] if check["user"] else []
        facts += [escape_text(f"server {check['server_name']}")] if check["server_name"] else []
        if check["server_left"]:
            facts.append('<span class="left">Its server may still run: stop it with hub_server</span>')
        name = check["name"] or "(without a name)"
        yield _timeline(check["verdict"], name, facts, _trend(check, runs), check["phases"], seconds, longest)


def _trend(check: Data, runs: list[Data]) -> str:
    starts = [(run["verdict"], run["checks"].get(check["name"])) for run in runs]
    line = sparkline(starts, "Seconds of the start")
    if not line:
        return ""
    known = [seconds for _verdict, seconds in starts if seconds is not None]
    text = f"start {min(known):.1f} to {max(known):.1f} s in {len(known)} runs"
    return f'<div class="trend">{line}<span>{text}</span></div>'


# The phases


def _timeline(
    verdict: str, name: str, facts: list[str], trend: str, phases: list[Data], seconds: float, longest: int
) -> str:
    mark = f'{icon(verdict)}<span class="word">{verdict}:</span>'
    step = 100 * tick_step(seconds) / max(seconds, 1e-3)
    rows = [f'<li class="axis">{axis(seconds)}</li>\n']
    for (each, message), group in groupby(phases, key=lambda phase: (phase["verdict"], phase["message"])):
        found = [*group]
        if each == SKIPPED and len(found) > 1:
            names = ", ".join(phase["name"] for phase in found)
            rows.append(
                f'<li class="skipped"><span class="name">{icon(SKIPPED)}{len(found)} skipped</span>'
                f'<p class="said wide">{escape_text(names)}. {escape_text(message)}</p></li>\n'
            )
        else:
            rows += [_phase(phase, seconds, longest) for phase in found]
    title = f"<h3><bdi>{escape_text(name)}</bdi></h3>"
    return (
        f'<section class="check"><header>{mark}{title}{draw_facts(facts)}{trend}</header>\n'
        f'<ol class="phases" style="--step:{step:.3f}%">\n{"".join(rows)}</ol></section>\n'
    )


def _phase(phase: Data, seconds: float, longest: int) -> str:
    verdict = phase["verdict"]
    word = f'<span class="word">{verdict}:</span>'
    took = "" if verdict == SKIPPED else describe_duration(phase["seconds"])
    said = "" if verdict == FAILED else escape_text(phase["message"])
    more = _more(phase, longest)
    if verdict == FAILED:
        more = f'<div class="next">{_what_happened(phase["failure"], phase["message"])}{more}</div>'
    elif more:
        more = f'<div class="wide">{more}</div>'
    return (
        f'<li class="{verdict}"><span class="name">{icon(verdict)}{word}{escape_text(phase["name"])}</span>'
        f'{phase_bar(phase, seconds)}<span class="number">{took}</span><p class="said">{said}</p>{more}</li>\n'
    )


def _what_happened(failure: Data | None, message: str) -> str:
    if not failure or not failure["message"]:
        return f"<p>{escape_text(message)}</p>"
    parts = [f"<p>{escape_text(failure['message'])}</p>"]
    if failure["hint"]:
        parts.append(f"<p><b>What to do next:</b> {escape_text(failure['hint'])}</p>")
    request = " ".join(read_line(failure[key], 500) for key in ("method", "url") if failure[key])
    status = f", answered with {failure['status']}" if failure["status"] else ""
    request = f": {request}" if request else ""
    words = f"Failure code {failure['code']}{request}{status}"
    parts.append(f'<p class="request">{escape_text(words)}</p>')
    return "".join(parts)


def _more(phase: Data, longest: int) -> str:
    """Return what a phase has in addition to its sentence: events, problems and tracebacks."""
    details = phase["details"]
    parts = []
    events = [*map(read_mapping, read_list(details.get("events")))]
    if events:
        rows = "".join(
            f'<li><span class="number">{describe_duration(read_seconds(event.get("seconds")))}</span>'
            f"<span>{escape_text(event.get('message'), 500)}</span></li>"
            for event in events[:MOST_EVENTS]
        )
        title = f"{len(events)} event{'' if len(events) == 1 else 's'} of the spawner"
        parts.append(_fold(title, f'<ol class="events">{rows}</ol>', phase["verdict"] == FAILED))
    for key, name in (("services", "name"), ("pages", "path"), ("paths", "path")):
        parts += [
            f"<p>{escape_text(item.get(name), 200)}: {escape_text(item['problem'], 500)}</p>"
            for item in map(read_mapping, read_list(details.get(key))[:MOST_EVENTS])
            if item.get("problem")
        ]
    for title, text in find_tracebacks(phase, longest):
        parts.append(_fold(title, f"<pre>{escape_lines(text, longest)}</pre>"))
    return "".join(parts)


def _fold(title: str, content: str, is_open: bool = False) -> str:
    shown = escape_text(title, 300)
    return f'<details class="more"{" open" if is_open else ""}><summary>{shown}</summary>{content}</details>'


# The end of the page


def _bottom(report: Data, file: str) -> str:
    present = {hub["host"] for hub in report["hubs"]}
    absent = [(host, runs[-1]) for host, runs in report["history"].items() if host not in present and runs]
    rows = "".join(
        f"<li>{icon(run['verdict'])}<bdi>{escape_text(host)}</bdi><span>{run['verdict']}</span>{draw_moment(run['began'])}</li>\n"
        for host, run in absent[:200]
    )
    others = f"<h2>Hubs that were not part of this run</h2>\n<ol>\n{rows}</ol>\n" if rows else ""
    return (
        f'<footer class="bottom">\n{others}<p>A timeline begins when the verification of its hub began. A cross '
        f"on a line of earlier runs is a run that failed. {file} has all details, in version "
        f"{report['version']} of its schema.</p>\n</footer>\n"
    )
