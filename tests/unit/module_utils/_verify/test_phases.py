# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid, Timeout
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.phases import (
    Finding,
    Phase,
    Recorder,
    join_verdicts,
)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ("", "skipped"),
        ("passed", "passed"),
        ("passed warned", "warned"),
        ("passed skipped warned", "skipped"),
        ("skipped failed passed", "failed"),
    ],
)
def test_the_verdict_on_a_whole(parts: str, whole: str) -> None:
    """A part that was not taken never counts as passed."""
    assert join_verdicts(parts.split()) == whole


def record(work: Any) -> tuple[bool, Phase]:
    shown: list[Phase] = []
    recorder = Recorder(0.0, shown.append)
    may_go_on = recorder.take("code", work)
    assert recorder.phases == shown
    [phase] = shown
    return may_go_on, phase


def test_a_phase_that_finds_nothing_wrong_passes() -> None:
    def work(finding: Finding) -> None:
        finding.message, finding.details = "It is there.", {"number": 1}

    may_go_on, phase = record(work)
    assert (may_go_on, phase.verdict, phase.message, phase.failure) == (True, "passed", "It is there.", None)
    assert phase.shown()["details"] == {"number": 1}


def test_warnings_are_told_after_the_message() -> None:
    def work(finding: Finding) -> None:
        finding.message = "It is there."
        finding.warnings += ["It is old.", "It is slow."]

    may_go_on, phase = record(work)
    assert (may_go_on, phase.verdict, phase.message) == (True, "warned", "It is there. It is old. It is slow.")


def test_a_failure_keeps_what_was_found_before() -> None:
    def work(finding: Finding) -> None:
        finding.message, finding.details = "not shown", {"number": 1}
        raise Invalid("It is wrong.", "Correct it.")

    may_go_on, phase = record(work)
    assert (may_go_on, phase.verdict, phase.message) == (False, "failed", "It is wrong. Correct it.")
    assert phase.details == {"number": 1}
    assert phase.failure is not None
    assert phase.failure["code"] == "invalid"


def test_an_unexpected_exception_fails_its_phase_only() -> None:
    def work(_finding: Finding) -> None:
        raise KeyError("odd")

    may_go_on, phase = record(work)
    assert (may_go_on, phase.verdict) == (False, "failed")
    assert phase.failure is not None
    assert phase.failure["code"] == "unexpected_answer"


def test_a_message_stays_in_its_line() -> None:
    def work(finding: Finding) -> None:
        finding.message = "one\ntwo\x1b[31m"

    assert record(work)[1].message == "one\\ntwo\\x1b[31m"


def test_a_phase_that_is_not_taken_says_why() -> None:
    recorder = Recorder(0.0, lambda phase: None)
    recorder.skip("code", "Not taken in check mode.")
    recorder.fail("start", Invalid("It is wrong.", "Correct it."))
    assert [(phase.name, phase.verdict) for phase in recorder.phases] == [("code", "skipped"), ("start", "failed")]
    assert recorder.verdict == "failed"


def test_a_series_is_closed_while_a_phase_is_taken() -> None:
    """What the other thread finds afterwards is dropped."""
    shown: list[Phase] = []
    recorder = Recorder(0.0, shown.append)
    recorder.take("start", lambda finding: None)
    error = Timeout("It was not over.", "Wait longer.")
    closed: list[Recorder] = []

    def work(finding: Finding) -> None:
        finding.details["number"] = 1
        closed.append(recorder.close(["start", "page", "code", "stop"], error, "Too late."))
        finding.details["number"] = 2

    recorder.take("page", work)
    recorder.skip("code", "Not taken.")
    [other] = closed
    assert [phase.name for phase in recorder.phases] == ["start"]
    assert [(phase.name, phase.verdict) for phase in other.phases] == [
        ("start", "passed"), ("page", "failed"), ("code", "skipped"), ("stop", "skipped"),
    ]  # fmt: skip
    page = other.phases[1]
    assert (page.details, page.message, (page.failure or {})["code"]) == (
        {"number": 1}, "It was not over. Wait longer.", "timeout",
    )  # fmt: skip
    assert other.phases[2].message == "Too late."
    assert shown == other.phases


def test_a_series_is_closed_before_its_first_phase_and_after_its_last_one() -> None:
    error = Timeout("It was not over.", "Wait longer.")
    before = Recorder(0.0, lambda phase: None).close(["start", "stop"], error, "Too late.")
    assert [phase.verdict for phase in before.phases] == ["failed", "skipped"]
    recorder = Recorder(0.0, lambda phase: None)
    recorder.take("start", lambda finding: None)
    assert recorder.close(["start"], error, "Too late.").verdict == "passed"
