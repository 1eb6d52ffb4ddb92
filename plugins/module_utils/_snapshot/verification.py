# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares two verifications of a hub: verdicts, the seconds of starts, packages, kernels and resources.

A verification is a row of ``hubs`` in a report (``docs/docsite/rst/verify_report.rst``). It may come from a file that
somebody has changed, so nothing here relies on its form. What has another form is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .._hub.errors import Invalid, printable, quoted
from .._hub.times import parse_time
from .._verify.phases import FAILED, PASSED, WARNED, join_verdicts
from .difference import CHANGED, LOST, NEW, Difference, compare_keys, compare_sets, show

_HUB = "(hub)"
"""The name of the phases of the hub itself, as the summary of a verification has it."""
_SHORTEST = 0.001
"""Seconds. No share is told of a start that took less."""
_RESOURCES = ("memory", "cpus", "gpus")
"""The resources that are compared. The free space of a disk always differs."""


@dataclass(frozen=True)
class Slower:
    """What counts as slower: a start that takes more than this share and more than these seconds longer."""

    share: float
    seconds: float

    def __post_init__(self) -> None:
        if not (0 <= self.share < math.inf and 0 <= self.seconds < math.inf):
            raise Invalid(
                "slower_share and slower_seconds must be numbers that are not below zero.",
                "Leave them out for a quarter and 2 seconds.",
            )

    def is_slower(self, before: float, after: float) -> bool:
        """Return whether a start that took ``before`` seconds and takes ``after`` seconds is slower."""
        return after - before > self.seconds and after - before > self.share * before


USUAL = Slower(share=0.25, seconds=2.0)


@dataclass(frozen=True)
class Verifications:
    """How two verifications differ."""

    differences: list[Difference]
    starts: list[dict[str, Any]]
    """For each check that started a server both times: ``check``, ``before``, ``after`` and ``share``."""
    not_compared: list[dict[str, str]]


def compare_verifications(before: Any, after: Any, slower: Slower) -> Verifications:
    """Return how two verifications differ. One that is None was not given."""
    if before is None and after is None:
        return Verifications([], [], [])
    if before is None or after is None:
        missing = "the first snapshot has none" if before is None else "none is given for the hub as it is after"
        return not_compared(f"Verifications are not compared: {missing}.")
    first, second = _index_checks(before), _index_checks(after)
    differences = [*_compare_checks(first, second)]
    for name in sorted(first.keys() & second.keys()):
        differences += _compare_details(name, first[name], second[name])
    starts = [*_list_starts(first, second)]
    differences += [_describe_start(each) for each in starts if slower.is_slower(each["before"], each["after"])]
    return Verifications(differences, starts, [*_list_not_compared(first, second)])


def not_compared(message: str) -> Verifications:
    """Return that verifications are not compared, for the reason in the message."""
    return Verifications([], [], [{"name": "verification", "message": message}])


def find_start_time(row: Any) -> float | None:
    """Return when a verification began, in seconds since 1970, or None if it does not say so."""
    return parse_time(_as_mapping(row).get("began"))


def find_version(row: Any) -> str:
    """Return the version of JupyterHub that was verified, empty if the verification does not say so."""
    version = _as_mapping(row).get("version")
    return version if isinstance(version, str) else ""


@dataclass(frozen=True)
class _Check:
    verdict: str
    message: str
    phases: dict[str, Mapping[str, Any]]
    """The phases that were taken, by name."""

    def details(self, phase: str) -> Mapping[str, Any]:
        return _as_mapping(self.phases.get(phase, {}).get("details"))


def _index_checks(row: Any) -> dict[str, _Check]:
    """Return the checks of a verification by name, and the phases of the hub itself as one more."""
    row = _as_mapping(row)
    verdicts = [str(phase.get("verdict")) for phase in _list_mappings(row.get("phases"))]
    reason = row.get("not_verified")
    verdict = FAILED if reason else join_verdicts(each for each in verdicts if each)
    message = f"it was not verified ({reason})" if reason else str(row.get("message") or "")
    found = {_HUB: _Check(verdict, message, {})}
    for check in _list_mappings(row.get("checks")):
        phases = {
            str(phase.get("name")): phase
            for phase in _list_mappings(check.get("phases"))
            if phase.get("verdict") in (PASSED, WARNED, FAILED)
        }
        found[str(check.get("name"))] = _Check(str(check.get("verdict")), str(check.get("message") or ""), phases)
    return found


def _compare_checks(before: Mapping[str, _Check], after: Mapping[str, _Check]) -> Iterator[Difference]:
    """Yield checks whose verdict differs, and those that were made only once."""
    lost, new = compare_sets(before, after)
    for name in lost:
        yield Difference(LOST, "check", name, f"Check {quoted(name)} is not made any more.")
    for name in new:
        yield Difference(NEW, "check", name, f"Check {quoted(name)} is new; it has {after[name].verdict}.")
    for name in sorted(before.keys() & after.keys()):
        old, new_verdict = before[name].verdict, after[name].verdict
        if old != new_verdict:
            severity = LOST if new_verdict == FAILED else CHANGED
            why = f": {after[name].message}" if new_verdict == FAILED and after[name].message else ""
            message = f"Check {quoted(name)} was {old} and is {new_verdict} now{printable(why, 500).rstrip('.')}."
            yield Difference(severity, "check", name, message, "verdict", old, new_verdict)


def _compare_details(name: str, before: _Check, after: _Check) -> Iterator[Difference]:
    """Yield the packages, kernels and resources that differ, if both verifications have looked at them."""
    title = f"Check {quoted(name)}"
    old, new = (_list_packages(each) for each in (before, after))
    if old and new:
        yield from compare_keys("package", name, f"{title}: package", old, new)
    for severity, kernels in zip((LOST, NEW), compare_sets(_list_kernels(before), _list_kernels(after)), strict=True):
        for kernel in kernels:
            message = f"{title}: kernel {quoted(kernel)} is {'gone' if severity == LOST else 'new'}."
            yield Difference(severity, "kernel", name, message, kernel)
    resources = before.details("resources"), after.details("resources")
    for field in _RESOURCES:
        amounts = [_as_number(each.get(field)) for each in resources]
        if None not in amounts and amounts[0] != amounts[1]:
            message = f"{title}: the server had {show(amounts[0])} {field} and has {show(amounts[1])} now."
            yield Difference(CHANGED, "check", name, message, field, *amounts)


def _list_not_compared(before: Mapping[str, _Check], after: Mapping[str, _Check]) -> Iterator[dict[str, str]]:
    """Yield what only the first verification has looked at. A check that has failed now says itself how far it came."""
    for name in sorted(before.keys() & after.keys()):
        for kind, find in (("packages", _list_packages), ("kernels", _list_kernels)):
            if find(before[name]) and not find(after[name]) and after[name].verdict != FAILED:
                message = f"Check {quoted(name)} looked at {kind} before, and does not now."
                yield {"name": kind, "message": message}


def _list_packages(check: _Check) -> dict[str, str]:
    """Return the versions of the packages that are installed, and of Python."""
    details = check.details("packages")
    versions = {**_as_mapping(details.get("packages")), "python": details.get("python")}
    return {name: version for name, version in versions.items() if isinstance(version, str)}


def _list_kernels(check: _Check) -> list[str] | None:
    """Return the names of the kernels that have run code, or None if no code was run."""
    entries = [
        *_list_mappings(check.details("code").get("snippets")),
        *_list_mappings(check.details("notebooks").get("notebooks")),
    ]
    return [name for each in entries if isinstance(name := each.get("kernel_name"), str) and name] or None


def _list_starts(before: Mapping[str, _Check], after: Mapping[str, _Check]) -> Iterator[dict[str, Any]]:
    for name in sorted(before.keys() & after.keys()):
        old, new = _start_seconds(before[name]), _start_seconds(after[name])
        if old is not None and new is not None:
            share = round((new - old) / old, 3) if old >= _SHORTEST else None
            yield {"check": name, "before": old, "after": new, "share": share}


def _start_seconds(check: _Check) -> float | None:
    """Return the seconds of a start, without those in which the task waited until the hub had room for it."""
    start = check.phases.get("start", {})
    seconds = _as_number(start.get("seconds")) if start.get("verdict") in (PASSED, WARNED) else None
    waited = _as_number(check.details("start").get("waited_for_room")) or 0
    return None if seconds is None else round(max(0, seconds - waited), 3)


def _describe_start(start: Mapping[str, Any]) -> Difference:
    more = f", {start['share']:.0%} more" if start["share"] is not None else ""
    message = f"Check {quoted(start['check'])}: the server took {start['before']:.1f} s to start"
    return Difference(
        CHANGED, "start_time", start["check"], f"{message} and takes {start['after']:.1f} s now{more}.", "seconds",
        start["before"], start["after"],
    )  # fmt: skip


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list_mappings(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list | tuple) else []


def _as_number(value: Any) -> float | int | None:
    """Return a number that is not negative, or None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and 0 <= value < 1 << 62 else None  # NaN and infinity are no amounts
