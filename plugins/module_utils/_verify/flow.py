# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of `hub_verify`: checks a hub, and servers on it, many at a time, and never leaves a server behind.

The plan takes the phases of the hub, which only read, and reads the servers. `apply` takes the checks.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Semaphore
from typing import Any

from .._exec.websocket import require_websocket
from .._hub.client import HubClient
from .._hub.errors import Invalid, Timeout, printable
from .._hub.threads import hold_lock, in_background, wait_for
from .._path.plan import Flow, Plan, Report, Result, find_duplicate
from .._path.workers import catch_failures, map_concurrently
from .._server.gate import StartGate
from .accounts import Account, check_accounts
from .check import AFTER_DEADLINE, CheckRun, Outcome
from .hub_phases import (
    check_certificate,
    check_login,
    check_service_names,
    check_services,
    check_tls_options,
    check_version,
)
from .interruption import LeftOvers, interruptible
from .phases import FAILED, Finding, Phase, Recorder, join_verdicts
from .probe import version_problem
from .spec import CheckSpec, VerifySpec
from .summary import describe_failure, summarize

_NEEDS_WEBSOCKET = ("code", "notebooks", "packages", "paths", "resources", "terminal", "websocket")
_NO_HUB = "Not taken, because the phase hub failed."
_NO_ACCOUNT = "Not taken, because the phase token failed for the account of this check."
_LEAST_UNDO_SECONDS = 60.0
"""Seconds that an interrupted task waits at least for the end of its servers. At the deadline, it waits no longer."""
_LEAST_SECONDS = 1.0
"""Seconds for checks that have nothing to do, although the deadline has passed."""


class _DeadlinePassed(Exception):
    """The verification has taken longer than it may."""


class VerifyFlow(Flow):
    """Verifies one hub. Raises `Invalid` for options that no hub can fulfil."""

    def __init__(self, hub: HubClient, spec: VerifySpec, report: Report) -> None:
        self._hub = hub
        self._spec = spec
        self._report = report
        self._start_time = time.monotonic()
        self._parent = os.getppid()
        """The process that this one was started for, see `interruptible`."""
        self._began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._is_hub_usable = False
        self._gate = StartGate(report if spec.shows_progress else None)
        self._check_options()
        self._recorder = Recorder(self._start_time, partial(self._report_phase, ""))

    def _check_options(self) -> None:
        spec = self._spec
        if spec.concurrency < 1:
            raise Invalid("concurrency must be 1 or more.", "Leave it out for 10.")
        duplicate = find_duplicate([check.name for check in spec.checks if check.name])
        if duplicate is not None:
            raise Invalid(
                f"Two checks have the name {printable(duplicate, 100)}.", "Give each check a name of its own."
            )
        needs = any(name in _NEEDS_WEBSOCKET for check in spec.checks for name in check.proofs)
        if needs:
            require_websocket()
        if spec.checks:
            self._hub.connection.check_servers()
        version_problem("0", spec.expected_version)  # raises for what is not a version
        check_service_names(spec.services)
        check_tls_options(self._hub, spec.tls_min_days)

    def _report_phase(self, name: str, phase: Phase) -> None:
        """Report a phase of the check with this name, or of the hub if it is empty."""
        if self._spec.shows_progress or phase.verdict == FAILED:
            self._report(f"{name} {phase.name}: {phase.message}".lstrip())

    # The plan: the phases of the hub, and what each check will do

    def plan(self) -> Plan:
        if self._spec.deadline is None:
            return self._make_plan(self._plan_checks())
        planning = in_background(self._plan_checks)
        if wait_for([planning], self._seconds_left()):
            return self._make_plan(planning.result())
        # Nothing is started yet, so the thread may go on by itself.
        self._recorder = self._recorder.close(self._list_phases(), self._overdue(), AFTER_DEADLINE)
        runs = [
            CheckRun(self._hub, self._hub, check, self._gate, user=check.user, why_not="")
            for check in self._spec.checks
        ]
        _choose_names(runs)
        return self._make_plan([(run, self._overdue()) for run in runs])

    def _seconds_left(self) -> float:
        deadline = self._spec.deadline
        return math.inf if deadline is None else self._start_time + deadline - time.monotonic()

    def _overdue(self) -> Timeout:
        return Timeout(
            f"The verification of the hub was not over after {self._spec.deadline:g} s, and ended in this phase.",
            "Look into the hub's log for what takes so long, or raise deadline.",
        )

    def _plan_checks(self) -> list[tuple[CheckRun, Outcome]]:
        accounts = self._take_hub_phases()
        runs = [self._prepare_check(check, accounts) for check in self._spec.checks]
        _choose_names(runs)
        outcomes = map_concurrently(catch_failures(lambda run: run.plan()), runs, self._spec.concurrency)
        return list(zip(runs, outcomes, strict=True))

    def _make_plan(self, planned: list[tuple[CheckRun, Outcome]]) -> Plan:
        silent = [Recorder(self._start_time, lambda phase: None) for _run in planned]
        predicted = [run.predict(outcome, recorder) for (run, outcome), recorder in zip(planned, silent, strict=True)]
        actions = tuple(action for _run, outcome in planned if isinstance(outcome, tuple) for action in outcome)
        return Plan(actions, {}, {}, predicted=self._answer(predicted), context=planned)

    def _take_hub_phases(self) -> dict[str, Account]:
        """Take the phases of the hub. Return the accounts by their tokens, or none if the hub cannot be used."""
        hub, spec, recorder = self._hub, self._spec, self._recorder
        recorder.take("hub", self._check_hub)
        accounts = self._list_accounts() if self._is_hub_usable else {}
        phases: dict[str, Callable[[Finding], None]] = {
            "login": partial(check_login, hub),
            "services": partial(check_services, hub, spec.services),
            "token": partial(check_accounts, list(accounts.values()), spec.concurrency),
        }
        for name in self._list_phases()[1:]:
            if self._is_hub_usable:
                recorder.take(name, phases[name])
            else:
                recorder.skip(name, _NO_HUB)
        return accounts

    def _list_phases(self) -> list[str]:
        """Return the names of the phases of the hub that are wanted."""
        spec = self._spec
        is_wanted = {
            "hub": True,
            "login": spec.login_page,
            "services": bool(spec.services),
            "token": bool(spec.checks or self._hub.connection.api_token),
        }
        return [name for name, wanted in is_wanted.items() if wanted]

    def _check_hub(self, finding: Finding) -> None:
        finding.details |= {"version": "", "tls_days_left": None}
        finding.details["version"] = self._hub.version
        self._hub.read_version()
        self._is_hub_usable = True
        check_version(self._hub, self._spec.expected_version, finding)
        if self._spec.tls_min_days is not None:
            check_certificate(self._hub, self._spec.tls_min_days, finding)

    def _list_accounts(self) -> dict[str, Account]:
        """Return the accounts of all checks by their tokens. Without checks, return that of the task's own token."""
        checks_of: dict[str, list[CheckSpec]] = {}
        for check in self._spec.checks:
            checks_of.setdefault(self._token_of(check), []).append(check)
        if not self._spec.checks:
            checks_of[self._hub.connection.api_token] = []
        return {
            token: Account(self._hub.with_token(token), checks, self._spec.token_min_ttl)
            for token, checks in checks_of.items()
        }

    def _token_of(self, check: CheckSpec) -> str:
        return check.api_token.strip() or self._hub.connection.api_token

    def _prepare_check(self, check: CheckSpec, accounts: dict[str, Account]) -> CheckRun:
        """Return the check with its account."""
        account = accounts.get(self._token_of(check))
        why_not = _NO_HUB if account is None else _NO_ACCOUNT if account.failure else ""
        user = check.user if account is None or account.failure else account.user_of(check)
        hub = account.hub if account else self._hub
        return CheckRun(hub, self._hub, check, self._gate, user=user, why_not=why_not)

    # The checks

    def apply(self, plan: Plan) -> Result:
        planned: list[tuple[CheckRun, Outcome]] = plan.context
        recorders = [Recorder(self._start_time, partial(self._report_phase, run.name)) for run, _outcome in planned]
        groups: dict[tuple[str, str], list[int]] = {}
        for position, (run, _outcome) in enumerate(planned):
            groups.setdefault(run.key, []).append(position)
        left_overs, workers = LeftOvers(), Semaphore(self._spec.concurrency)

        def take_checks(positions: list[int]) -> None:
            """Take the checks of one server, one after the other."""
            # The first check may have an account that cannot be used, so that it has read nothing.
            lock_name = next(filter(None, (planned[position][0].lock_name for position in positions)), "")
            with workers, hold_lock(lock_name, 0.0) as is_alone:
                for position in positions:
                    run, outcome = planned[position]
                    run.run(outcome, recorders[position], left_overs, is_alone=is_alone)

        longest_stop = max([check.wait_timeout for check in self._spec.checks], default=0.0)
        is_overdue = threading.Event()

        def undo() -> None:
            seconds = _LEAST_UNDO_SECONDS if is_overdue.is_set() else max(longest_stop, _LEAST_UNDO_SECONDS)
            left_overs.undo_all(seconds)

        try:
            # A signal, the end of the task's own timeout, or the deadline leaves the block.
            with interruptible(undo, self._parent):
                # In the background, because a signal must not raise an exception in the middle of a check.
                running = [in_background(partial(take_checks, positions)) for positions in groups.values()]
                if not wait_for(running, max(self._seconds_left(), _LEAST_SECONDS)):
                    is_overdue.set()
                    raise _DeadlinePassed
        except _DeadlinePassed:
            runs = [run for run, _outcome in planned]
            recorders = self._end_checks(list(zip(runs, recorders, strict=True)))
        else:
            for each in running:
                each.result()
        answers = [run.describe(recorder) for (run, _outcome), recorder in zip(planned, recorders, strict=True)]
        changed = [outcome for run, outcome in planned if run.has_changed and isinstance(outcome, tuple)]
        return Result(self._answer(answers), tuple(action for actions in changed for action in actions), bool(changed))

    def _end_checks(self, running: list[tuple[CheckRun, Recorder]]) -> list[Recorder]:
        """End all checks at the deadline. Return a recorder for each of them, with all of its phases."""
        error = self._overdue()
        return map_concurrently(lambda pair: pair[0].end(pair[1], error), running, self._spec.concurrency)

    def _answer(self, checks: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the task's result, with its failure if the verdict is one."""
        recorder = self._recorder
        answer: dict[str, Any] = {
            "verdict": join_verdicts([recorder.verdict, *(check["verdict"] for check in checks)]),
            "hub": {
                "url": self._hub.url,
                "version": recorder.phases[0].details.get("version", ""),
                "verdict": recorder.verdict,
                "phases": [phase.shown() for phase in recorder.phases],
            },
            "checks": checks,
            "began": self._began,
            "seconds": round(time.monotonic() - self._start_time, 3),
        }
        return {**answer, "summary": summarize(answer), **describe_failure(answer)}


def _choose_names(runs: Sequence[CheckRun]) -> None:
    """Give each check that the task has not named the name of its server, with a number if that is taken."""
    taken = {run.name for run in runs if run.name}
    for position, run in enumerate(runs, 1):
        if run.name:
            continue
        server = "/".join(part for part in run.key if part)
        first, number = server or f"check {position}", 1
        run.name = first
        while run.name in taken:
            number += 1
            run.name = f"{first} ({number})"
        taken.add(run.name)
