# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads of a report of the role upgrade: in the terminal, in a notification, and in a failed task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from ...module_utils._verify.phases import FAILED, PASSED, SKIPPED, WARNED
from .checks import one_line
from .upgrade import SEVERITIES
from .upgrade_report import COMPARE, DRAIN, RESTORE, SNAPSHOT, collect, count_differences, read_hosts
from .verify_stats import Hub, fit_stats
from .verify_summary import ORDER, count_text, cut

Report = Mapping[str, Any]
"""What `collect` in upgrade_report.py returns."""
Row = Mapping[str, Any]

MOST_LINES = 200
"""Lines of the table for all hubs together, not counting the first line of each hub."""
FEWEST_LINES = 4
"""Lines that each hub with something to tell has in any case."""
MOST_WHOLE = 5
"""Hubs of a play up to which a hub that passed has more than one line."""
MOST_OF_KIND = 5
"""Differences of one kind that have a line each. Of more, the names are listed."""
WIDTH = 300
"""Characters of a line that others wrote."""
WIDTH_OF_NAMES = 100
"""Characters of a line with names."""
LONGEST_COLUMN = 32


def table(report: Report, path: Any = "") -> list[str]:
    """Return the lines that end a run in the terminal: those of each hub, failures last, then the totals.

    ``path`` is where the report of a comparison lies, empty if it was not written.
    """
    hubs = sorted(report["hubs"], key=lambda hub: ORDER.index(hub["verdict"]), reverse=True)
    longest = min(max((len(hub["host"]) for hub in hubs), default=0), LONGEST_COLUMN)
    lines, room = [], MOST_LINES
    for number, hub in enumerate(hubs):
        name = f"{cut(hub['host'], longest):<{longest}}"
        lines.append(cut(f"{name}  {_SHOWN[hub['verdict']]:<7}  {_describe(hub, report['step'])}", 2 * WIDTH))
        if hub["not_run"] or (hub["verdict"] == PASSED and len(hubs) > MOST_WHOLE):
            continue
        details = [*_LINES[report["step"]](hub)]
        most = max(room // (len(hubs) - number), FEWEST_LINES)
        shown = details if len(details) <= most else [*details[: most - 1], f"and {len(details) - most + 1} more lines"]
        room -= len(shown)
        lines += [f"{name}  {line}" for line in shown]
    place = f", report in {one_line(path)}" if path else ""
    hubs_text = count_text(report["counts"]["hubs"], "hub", "hubs", "none reached")
    return [*lines, f"{report['verdict'].upper()}. {hubs_text}. {_totals(report)}{place}"]


_SHOWN = {FAILED: "FAILED", WARNED: "warned", SKIPPED: "skipped", PASSED: "passed"}


def _describe(hub: Row, step: str) -> str:
    """Return what the first line about a hub says."""
    if hub["not_run"]:
        return str(hub["message"])
    if step != COMPARE:
        return f"{_what_was_done(hub, step)}{'. ' if hub['message'] else ''}{hub['message']}"
    before, after = hub["before"], hub["after"]
    versions = dict.fromkeys(version or "?" for version in (before["version"], after["version"]))
    places = dict.fromkeys((before["url"], after["url"])) if before["url"] != after["url"] else {}
    # What is lost has lines of its own. A wrong upgrade_fail_on has none, and only then is the list empty.
    why = f". {hub['message']}" if hub["verdict"] == FAILED and not hub["fail_on"] else ""
    return (
        f"{count_differences(hub['counts'])}, JupyterHub {' -> '.join(versions)}, snapshot of "
        f"{before['taken'] or 'an unknown time'}{' at ' if places else ''}{' -> '.join(places)}{why}"
    )


def _totals(report: Report) -> str:
    number = sum(not hub["not_run"] for hub in report["hubs"])
    if report["step"] == COMPARE:
        return count_differences(report["counts"]["differences"]) if number else "Nothing was compared"
    if report["step"] == SNAPSHOT:
        return f"{number} snapshot{'' if number == 1 else 's'}"
    return f"Servers: {_count_servers(group for hub in report['hubs'] for group in hub['groups'])}"


def _count_servers(groups: Iterable[Row], nothing: str = "none") -> str:
    numbers = Counter[str]()
    for group in groups:
        numbers[group["outcome"]] += len(group["servers"])
    return ", ".join(f"{number} {outcome}" for outcome, number in numbers.items()) or nothing


# More lines about one hub


def _snapshot_lines(hub: Row) -> Iterator[str]:
    yield hub["path"]
    for each in hub["unreadable"]:
        yield cut(f"{each['name']}: {each['message'].rstrip('.')}, which needs {each['scope']}", WIDTH)


def _server_lines(hub: Row) -> Iterator[str]:
    """Yield the names of servers, by what happened to them and why."""
    width = max((len(group["outcome"]) for group in hub["groups"]), default=0)
    for group in hub["groups"]:
        reason = f"{cut(group['reason'].rstrip('.'), WIDTH)}: " if group["reason"] else ""
        head = f"{group['outcome']:<{width}}  {len(group['servers']):>4}  "
        for line, names in enumerate(_wrap(group["servers"], 5)):
            yield f"{head}{reason}{names}" if line == 0 else f"{' ' * len(head)}{names}"


def _difference_lines(hub: Row) -> Iterator[str]:
    """Yield the differences, what is lost first."""
    for severity in SEVERITIES:
        kinds: dict[str, list[Row]] = {}
        for each in hub["differences"]:
            if each["severity"] == severity:
                kinds.setdefault(each["kind"], []).append(each)
        for kind, found in kinds.items():
            if len(found) <= MOST_OF_KIND:
                yield from (cut(f"{severity:<7}  {each['message']}", WIDTH) for each in found)
            else:
                # A name may be there several times, such as a user of whom several roles are gone.
                names = [*dict.fromkeys(each["name"] for each in found)]
                yield f"{severity:<7}  {kind}, {len(found)} times: {_wrap(names, 1)[0]}"
    counts = ", ".join(f"{len(names)} {name}" for name, names in hub["servers"].items() if names)
    if counts:
        yield f"servers  {counts}"
    if missing := list_missing(hub["servers"]):
        yield f"missing  {_wrap(missing, 1)[0]}"
    if hub["not_compared"]:
        names = [*dict.fromkeys(each["name"] for each in hub["not_compared"])]
        yield f"unknown  {_wrap(names, 1)[0]}"


def _wrap(names: list[str], most: int) -> list[str]:
    """Return the names in at most this many lines, and say at their end how many are left out."""
    lines = [""]
    for number, name in enumerate(names):
        if lines[-1] and len(lines[-1]) + len(name) > WIDTH_OF_NAMES:
            if len(lines) == most:
                lines[-1] = f"{lines[-1].rstrip(', ')} and {len(names) - number} more"
                return lines
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        lines[-1] += f"{name}, "
    lines[-1] = lines[-1].removesuffix(", ")
    return lines


def list_missing(servers: Mapping[str, list[str]]) -> list[str]:
    """Return the servers that ran before and do not run now: those that were drained, and those that just stopped."""
    return [*servers["drained"], *servers["stopped"]]


def describe_start(start: Mapping[str, Any]) -> str:
    """Return a text such as ``4.1 s -> 6.2 s (+51 %)``."""
    shown = [f"{start[key]:.1f} s" if start[key] is not None else "?" for key in ("before", "after")]
    share = f" ({100 * start['share']:+.0f} %)" if start["share"] is not None else ""
    return f"{shown[0]} -> {shown[1]}{share}"


_LINES: dict[str, Callable[[Row], Iterable[str]]] = {
    SNAPSHOT: _snapshot_lines,
    DRAIN: _server_lines,
    RESTORE: _server_lines,
    COMPARE: _difference_lines,
}


# In a notification


def stats(report: Report) -> dict[str, Any]:
    """Return the verdict and a summary for all hubs, and for each of them a sentence, for the statistics of a job."""
    hubs = []
    for hub in report["hubs"]:
        sentence = hub["message"] or _what_was_done(hub, report["step"])
        hubs.append(Hub(hub["host"], hub["verdict"], sentence, partial(cut, sentence)))
    return fit_stats(report["verdict"], report["counts"]["hubs"], hubs)


def _what_was_done(hub: Row, step: str) -> str:
    if step == COMPARE:
        return count_differences(hub["counts"])
    if step == SNAPSHOT:
        return ", ".join(f"{name} {number}" for name, number in hub["counts"].items())
    return _count_servers(hub["groups"], "no server")


# In a failed task


def host_failure(host: str, hostvars: Mapping[str, Any], step: str, given_url: Any = "", fail_on: Any = ()) -> str:
    """Return the sentence with which the role fails for a host. It is empty if the host has not failed.

    This reads the variables of the one host. To render the whole report for each host takes long.
    """
    [hub] = collect(read_hosts([host], hostvars, step, given_url, fail_on), step, 0)["hubs"]
    if hub["verdict"] != FAILED:
        return ""
    url = hub["url"] or "the hub"
    if step == COMPARE and not hub["not_run"] and not hub["fail_on"]:
        return f"There is no verdict on {url}: {hub['message']}"  # the variable upgrade_fail_on is wrong
    if step == COMPARE and not hub["not_run"]:
        return f"{url} is not as it was ({count_differences(hub['counts'])}): {hub['message']}"
    return f"{_NOT_DONE[step]} {url}: {hub['message']}"


_NOT_DONE = {
    SNAPSHOT: "There is no new snapshot of",
    DRAIN: "There is no complete drain of",
    RESTORE: "Not all servers are restored on",
    COMPARE: "There is no comparison of",
}
