# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of a verification: phases and their verdicts, and what they say together. Sends no requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .._hub.errors import HubError, not_understood, printable

PASSED, WARNED, FAILED, SKIPPED = "passed", "warned", "failed", "skipped"
"""The verdicts. A phase is skipped if it was not taken."""


@dataclass
class Finding:
    """What a phase has found so far. The phase fills it in while it works, so a failure loses nothing."""

    message: str = ""
    """A sentence for people."""
    details: dict[str, Any] = field(default_factory=dict)
    """The same for programs. The keys depend on the phase."""
    warnings: list[str] = field(default_factory=list)
    """Sentences about what is wrong although the phase does not fail."""


@dataclass(frozen=True)
class Phase:
    """One phase of a verification. ``began`` is in seconds since the task began."""

    name: str
    verdict: str
    message: str
    began: float = 0.0
    seconds: float = 0.0
    failure: dict[str, Any] | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """Return the phase as the result shows it."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "began": self.began,
            "seconds": self.seconds,
            "message": self.message,
            "failure": self.failure,
            "details": self.details,
        }


class Recorder:
    """Takes phases one after the other, and keeps their results.

    ``start_time`` is when the task began (of `time.monotonic`). ``report`` takes a line for each phase.
    """

    def __init__(self, start_time: float, report: Callable[[Phase], None]) -> None:
        self.phases: list[Phase] = []
        self._start_time = start_time
        self._report = report
        self._lock = threading.Lock()
        self._is_closed = False
        self._present: tuple[str, float, Finding] | None = None
        """The phase that is being taken: its name, when it began, and what it has found so far."""

    @property
    def verdict(self) -> str:
        return join_verdicts(phase.verdict for phase in self.phases)

    def take(self, name: str, work: Callable[[Finding], None]) -> bool:
        """Take a phase. ``work`` fills in the finding, and raises `HubError` if the phase fails. Return whether it did
        not fail."""
        began, finding = time.monotonic(), Finding()
        self._present = (name, began, finding)
        error: HubError | None = None
        try:
            work(finding)
        except HubError as raised:
            error = raised
        except Exception as raised:  # an answer of an unknown form must fail its phase only
            error = not_understood(raised)
        seconds = time.monotonic() - began
        if error is not None:
            self._add_failure(name, error, finding, began, seconds)
        else:
            message = " ".join([finding.message, *finding.warnings]).strip()
            self._add(name, WARNED if finding.warnings else PASSED, message, began, seconds, details=finding.details)
        return error is None

    def fail(self, name: str, error: HubError) -> None:
        """Record that a phase failed before it was taken."""
        self._add_failure(name, error, Finding(), time.monotonic())

    def close(self, names: Iterable[str], error: HubError, why: str) -> Recorder:
        """End a series of phases that another thread is still taking. What that thread finds from now on is dropped.

        Return a recorder for what is still to be recorded, which has the phases so far. Of ``names``, which are all
        phases of the series in their order, the first one that is not over has failed by the ``error``, and the others
        are skipped, for the reason ``why``.
        """
        with self._lock:
            self._is_closed = True
        other = Recorder(self._start_time, self._report)
        other.phases = [*self.phases]
        taken = {phase.name for phase in other.phases}
        left = [name for name in names if name not in taken]
        if left:
            name, began, finding = self._present or ("", 0.0, Finding())
            if name != left[0]:
                began, finding = time.monotonic(), Finding()
            so_far = Finding(details={**finding.details})
            other._add_failure(left[0], error, so_far, began, time.monotonic() - began)
        for name in left[1:]:
            other.skip(name, why)
        return other

    def skip(self, name: str, why: str) -> None:
        """Record that a phase is not taken. ``why`` is a sentence."""
        self._add(name, SKIPPED, why, time.monotonic())

    def _add_failure(self, name: str, error: HubError, finding: Finding, began: float, seconds: float = 0.0) -> None:
        message, failure = f"{error.message} {error.hint}", error.as_failure()
        self._add(name, FAILED, message, began, seconds, failure=failure, details=finding.details)

    def _add(self, name: str, verdict: str, message: str, began: float, seconds: float = 0.0, **more: Any) -> None:
        """Keep and report a phase. ``began`` is by `time.monotonic`."""
        since = round(began - self._start_time, 3)
        phase = Phase(name, verdict, printable(message), since, round(seconds, 3), **more)
        with self._lock:
            if self._is_closed:
                return
            self.phases.append(phase)
        self._report(phase)


def join_verdicts(verdicts: Iterable[str]) -> str:
    """Return the verdict on a whole from those on its parts.

    A whole with a part that was not taken is skipped at best, because nobody knows whether that part works.
    """
    found = set(verdicts)
    return next((verdict for verdict in (FAILED, SKIPPED, WARNED, PASSED) if verdict in found), SKIPPED)
