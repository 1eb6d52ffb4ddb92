# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role verify decides, without a hub: above all, that nothing but six good steps is a pass."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.scopes import expand_self, find_missing
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles import verify
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.service_account import PURPOSES

ROLE = Path(__file__).resolve().parents[4] / "roles/verify"
STEPS: list[dict[str, Any]] = yaml.safe_load((ROLE / "vars/main/main.yml").read_text())["verify_steps"]
NAMES = [step["name"] for step in STEPS]
HOSTILE = "a\n\x1b[2J\x9b2Jfatal: [localhost]: FAILED!\u202e\x7f\u2028" + "x" * 5000
USER = {"kind": "user", "name": "bot", "expires_at": None, "expiry_known": True}
SERVICE = {**USER, "kind": "service"}


def results(*verdicts: str | None) -> list[dict[str, Any]]:
    """Results of the role's steps with these verdicts; None leaves the verdict out."""
    return [
        {"name": name, "title": name, "seconds": 1.5, "message": f"{name} said", "failure": None}
        | ({} if verdict is None else {"verdict": verdict})
        for name, verdict in zip(NAMES, verdicts, strict=False)
    ]


def report(found: list[dict[str, Any]], steps: list[dict[str, Any]] = STEPS, **given: Any) -> dict[str, Any]:
    facts = {"hub_url": "https://hub/", "version": "6.1.1", "user": "bot", "is_start_requested": True}
    facts |= {name: given.pop(name) for name in [*given] if name in facts}
    arguments = {"given_url": "https://hub/", "server_name": "", "began": 1000, "now": 1012.3456, **given}
    return verify.report(found, steps, facts, **arguments)


PASSED = ("passed",) * 6
IN_CHECK_MODE = ("passed", "passed", *("skipped",) * 4)


# Verdicts


def test_each_step_has_its_tasks() -> None:
    assert [sorted(step) for step in STEPS] == [["name", "requires", "title"]] * 2 + [
        ["name", "requires", "title", "writes"]
    ] * 4
    assert {path.stem for path in (ROLE / "tasks/steps").iterdir()} == set(NAMES)


@pytest.mark.parametrize("is_check_mode", [False, True])
def test_only_six_passed_steps_are_a_pass(is_check_mode: bool) -> None:
    """Every combination of what a step's result can be, good and bad."""
    for verdicts in itertools.product(("passed", "failed", "skipped"), repeat=6):
        verdict = report(results(*verdicts), is_check_mode=is_check_mode)["verdict"]
        assert (verdict == "passed") is (verdicts == PASSED)
        if "failed" in verdicts:
            assert verdict == "failed"


@pytest.mark.parametrize(
    ("found", "steps"),
    [
        ([], STEPS),
        ([], []),
        (results(*PASSED), []),
        (results(*PASSED[:5]), STEPS),  # the last one has no result
        (results(*PASSED)[1:], STEPS),
        ([*results(*PASSED), *results("passed")], STEPS),
        (results(*PASSED)[::-1], STEPS),
        (results(*PASSED[:5], "PASSED"), STEPS),
        (results(*PASSED[:5], "unknown"), STEPS),
        (results(*PASSED[:5], ""), STEPS),
    ],
)
@pytest.mark.parametrize("is_check_mode", [False, True, "False", "True"])
def test_a_missing_or_unknown_result_fails(found: Any, steps: Any, is_check_mode: Any) -> None:
    drawn_up = report(found, steps, is_check_mode=is_check_mode)
    assert drawn_up["verdict"] == "failed"
    assert verify.failure_message(drawn_up).startswith("https://hub/ is not verified, ")


def test_a_result_without_a_verdict_is_none() -> None:
    assert verify._verdict(results(*PASSED[:5], None), NAMES, False) == "failed"


@pytest.mark.parametrize(
    ("is_check_mode", "verdict"), [(True, "incomplete"), ("True", "incomplete"), (False, "failed")]
)
def test_skipped_steps_are_incomplete_in_check_mode_and_a_failure_otherwise(is_check_mode: Any, verdict: str) -> None:
    assert report(results(*IN_CHECK_MODE), is_check_mode=is_check_mode)["verdict"] == verdict
    assert report(results(*["skipped"] * 6), is_check_mode=is_check_mode)["verdict"] == "failed"


# Steps


def due(found: list[dict[str, Any]], is_start_requested: Any = False, is_check_mode: Any = False) -> list[str]:
    return [step["name"] for step in STEPS if verify.is_due(step, found, is_start_requested, is_check_mode)]


def test_a_failure_ends_the_run_but_for_what_stops_the_server() -> None:
    assert due([]) == ["hub", "token", "start", "run"]
    assert due(results("passed", "passed"), True) == NAMES
    assert due(results("passed", "failed")) == []
    assert due(results("passed", "passed", "failed"), True) == ["stop", "gone"]
    assert due(results("passed", "passed", "failed"), "False") == []
    assert due(results("passed", "skipped")) == due(results("passed", "unknown")) == []


@pytest.mark.parametrize("is_check_mode", [True, "True"])
def test_check_mode_takes_no_step_that_writes(is_check_mode: Any) -> None:
    assert due([], True, is_check_mode) == due(results("passed"), False, is_check_mode) == ["hub", "token"]


GOOD = {"problem": "", "message": "all is well"}


def ended(is_due: Any, finding: Any, failed: Mapping[str, Any] | None = None, **given: Any) -> tuple[str, str]:
    found = verify.step_result(STEPS[0], is_due, finding, failed, began=10, now=12.3456789, **given)
    assert (found["name"], found["title"]) == ("hub", "The hub answers")
    assert found["seconds"] == (0.0 if found["verdict"] == "skipped" else 2.346)
    return found["verdict"], found["message"]


def test_a_step_passes_only_with_a_finding_and_without_a_failure() -> None:
    assert ended(True, GOOD) == ("passed", "all is well")
    assert ended("True", {"problem": "", "message": ""}) == ("passed", "")  # of code that prints nothing
    assert ended(True, {"problem": "broken", "message": "fine"}) == ("failed", "broken")
    assert ended(True, GOOD, {"msg": "refused"}) == ("failed", "refused")
    assert ended(True, GOOD, {"changed": False}) == ("failed", "It failed without a message.")
    for nothing in ({}, None):
        verdict, message = ended(True, nothing)
        assert (verdict, message[:24]) == ("failed", "It ended without a findi")


@pytest.mark.parametrize("is_due", [False, "False", None, ""])
def test_a_step_that_was_not_taken_is_skipped_whatever_is_known_of_it(is_due: Any) -> None:
    assert ended(is_due, GOOD) == ("skipped", "Not taken, since a step before it failed.")
    assert ended(is_due, GOOD, is_check_mode=True) == ("skipped", "Not taken in check mode.")


def test_a_failed_step_keeps_the_failure_of_the_module() -> None:
    failure = {"code": "spawn_failed"}
    failed = verify.step_result(STEPS[0], True, {}, {"msg": "no room", "failure": failure}, "10.0", "11.5")
    assert (failed["failure"], failed["seconds"]) == (failure, 1.5)
    assert verify.step_result(STEPS[0], True, GOOD, {}, 10, 11)["failure"] is None


# Findings


def test_the_version_may_be_whole_or_a_beginning() -> None:
    def problem(version: str, expected: Any) -> str:
        return verify.check_hub({"hub": {"version": version, "url": "https://hub/"}}, expected)["problem"]

    assert [problem("6.1.1", expected) for expected in ("", "6", "6.1", 6.1, 6, "6.1.1")] == [""] * 6
    assert all("expected was" in problem("6.1.1", expected) for expected in ("6.", "6.1.", "5", "6.1.10", ".", " "))
    assert problem("16.1", "6.1") != ""
    assert "correct verify_expected_version" in problem("", "6")


def test_a_token_has_an_owner_with_servers() -> None:
    assert verify.check_token({"token": USER}, "")["message"] == "user bot, does not expire"
    assert verify.check_token({"token": {**USER, "expiry_known": False}}, "")["message"] == "user bot, expiry not known"
    expiring = {**SERVICE, "expires_at": "2030-01-01T00:00:00Z"}
    assert (
        verify.check_token({"token": expiring}, "alice")["message"] == "service bot, valid until 2030-01-01T00:00:00Z"
    )
    assert "Set verify_user" in verify.check_token({"token": SERVICE}, "")["problem"]
    for user in ("", "alice"):
        assert "Set verify_api_token" in verify.check_token({"token": None}, user)["problem"]


def test_an_account_gets_the_scopes_that_the_role_requires() -> None:
    """A hub writes out `!user`, and a filter by user covers all of the user's servers."""
    for server_name in ("", "lab"):
        held = [expand_self(scope, "bot") for scope in PURPOSES["verify"]]
        required = verify.required_scopes("bot", server_name)
        assert find_missing(required, held) == []
        assert find_missing(required, held[1:]) != []


def test_a_server_that_runs_already_proves_nothing() -> None:
    assert verify.check_not_running({"actions": [{}], "servers": []})["problem"] == ""
    running = verify.check_not_running({"actions": [], "servers": [{"state": "ready"}]})
    assert running["problem"].startswith("The server is ready already")
    assert verify.check_started({"changed": True, "servers": [{"url": "/user/bot/"}]})["message"] == "/user/bot/"
    assert verify.check_started({"changed": False, "servers": [{"url": "/"}]})["problem"].startswith("Somebody else")


def test_the_output_contains_what_is_expected() -> None:
    answer = {"stdout": "one\ntwo\n", "result": None}
    assert [verify.check_output(answer, text)["problem"] for text in ("", "two", "one\ntwo")] == [""] * 3
    assert verify.check_output(answer, "")["message"] == "one two"
    assert verify.check_output({"stdout": "", "result": "42"}, 42)["problem"] == ""
    assert "it is 'one two'. Fix" in verify.check_output(answer, "three")["problem"]
    assert verify.check_output({"stdout": "", "result": None}, "None")["problem"] != ""


def test_the_server_is_gone_only_if_the_hub_does_not_list_it() -> None:
    listed = {"servers": [{"server_name": ""}, {"server_name": "second"}]}
    assert verify.check_removed(listed, "third")["problem"] == ""
    assert all("still lists" in verify.check_removed(listed, name)["problem"] for name in ("", "second"))
    assert verify.check_stopped({"changed": True})["message"] == "stopped"
    assert verify.check_stopped({"changed": False})["message"] == "was not running any more"


@pytest.mark.parametrize(
    ("check", "given"),
    [
        (verify.check_hub, [""]), (verify.check_token, [""]), (verify.check_not_running, []),
        (verify.check_started, []), (verify.check_output, [""]), (verify.check_stopped, []),
        (verify.check_removed, [""]),
    ],
)  # fmt: skip
def test_an_answer_without_its_keys_is_no_finding(check: Any, given: list[Any]) -> None:
    with pytest.raises(KeyError):
        check({}, *given)


def test_no_text_of_others_begins_a_line() -> None:
    token = {**USER, "name": HOSTILE, "expires_at": HOSTILE}
    findings = [
        verify.check_hub({"hub": {"version": HOSTILE, "url": "https://hub/"}}, "6"),
        verify.check_hub({"hub": {"version": HOSTILE, "url": "https://hub/"}}, ""),
        verify.check_token({"token": token}, ""),
        verify.check_token({"token": {**token, "kind": "service"}}, ""),
        verify.check_started({"changed": True, "servers": [{"url": HOSTILE}]}),
        verify.check_output({"stdout": HOSTILE, "result": HOSTILE}, "nothing"),
        verify.check_output({"stdout": HOSTILE, "result": HOSTILE}, ""),
    ]
    for text in (text for finding in findings for text in finding.values()):
        assert text.isprintable()
        assert len(text) < 1000
    drawn_up = report(
        [{**result, "message": HOSTILE} for result in results("passed", "failed")],
        version=HOSTILE, hub_url=HOSTILE, user=HOSTILE,
    )  # fmt: skip
    assert verify.failure_message(drawn_up).isprintable()
    lines = verify.summary(drawn_up, "verify-report")
    assert len(lines) == 5
    assert all(line.isprintable() and len(line) < 3000 for line in lines)


# The report


def test_the_report_has_what_programs_read() -> None:
    assert report(results(*PASSED)) == {
        "verdict": "passed", "hub_url": "https://hub/", "hub_version": "6.1.1", "user": "bot", "server_name": "",
        "began": "1970-01-01T00:16:40Z", "seconds": 12.346, "server_left": False, "steps": results(*PASSED),
    }  # fmt: skip
    assert report(results(*PASSED), began="1000.5", now="1001.0")["seconds"] == 0.5


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://127.0.0.1:9/", "http://127.0.0.1:9/"),
        ("https://me:secret@hub/", ""),
        ("https://hub/?token=1", ""),
        ("#", ""),
    ],
)
def test_an_address_that_no_hub_answered_at_is_shown_only_if_it_holds_no_secret(given: str, shown: str) -> None:
    assert report(results("failed"), hub_url="", given_url=given)["hub_url"] == shown


@pytest.mark.parametrize(
    ("verdicts", "is_start_requested", "is_left"),
    [
        (("passed", "failed"), False, False),
        (("passed", "passed", "failed", "skipped", "failed", "passed"), True, False),
        (("passed", "passed", "passed", "passed", "passed", "failed"), True, True),
        (("passed", "passed", "passed", "passed", "failed", "skipped"), "True", True),
        ((), True, True),
    ],
)
def test_a_server_is_left_unless_the_hub_says_that_it_is_gone(
    verdicts: tuple[str, ...], is_start_requested: Any, is_left: bool
) -> None:
    drawn_up = report(results(*verdicts), is_start_requested=is_start_requested)
    assert drawn_up["server_left"] is is_left
    sentence = "erver may still be running: stop it with hub_server."
    assert (sentence in verify.failure_message(drawn_up)) is is_left
    assert any(sentence in line for line in verify.summary(drawn_up, "")) is is_left


def test_the_failure_names_the_first_step_that_failed() -> None:
    drawn_up = report(results("passed", "failed", "skipped", "skipped", "skipped", "failed"))
    assert verify.failure_message(drawn_up).startswith("https://hub/ is not verified, step 'token' failed: token said")
    drawn_up = report(results("failed"), hub_url="", given_url="", is_start_requested=False)
    assert verify.failure_message(drawn_up) == "The hub is not verified, step 'hub' failed: hub said"


def test_the_summary_has_a_line_for_each_step() -> None:
    lines = verify.summary(report(results(*PASSED), hub_url="", given_url=""), "verify-report")
    assert lines[:2] == ["JupyterHub 6.1.1 at (unknown), user bot", "passed   hub       1.50 s  hub said"]
    assert lines[7:] == ["PASSED in 12.3 s, report in verify-report"]
    assert verify.summary(report(results(*IN_CHECK_MODE), is_check_mode=True), "")[-1].startswith(
        "INCOMPLETE in 12.3 s"
    )


def cases(drawn_up: dict[str, Any]) -> dict[str, str]:
    suite = ElementTree.fromstring(verify.junit(drawn_up, "host")).find("testsuite")
    assert suite is not None
    tags = {str(case.get("name")): [child.tag for child in case] for case in suite.iter("testcase")}
    counted = {"failures": "failure", "skipped": "skipped"}
    for attribute, tag in counted.items():
        assert suite.get(attribute) == str([found for [found] in tags.values()].count(tag))
    assert suite.get("tests") == str(len(tags))
    return {name: tag for name, [tag] in tags.items()}


def test_junit_shows_nothing_as_passed_that_did_not_pass() -> None:
    verdicts = ("passed", "failed", "skipped", "unknown", "", "passed")
    assert list(cases(report(results(*verdicts))).values()) == [
        "system-out", "failure", "skipped", "failure", "failure", "system-out",
    ]  # fmt: skip
    assert cases(report([])) == {}


def test_junit_holds_any_text() -> None:
    hostile = "<a b='\"'>&amp; ]]> {{ 7*7 }} \x00\x07\x1b[31m \ud800 \ufffe \u00e9 \U0001f600 \u65e5"
    found = [{**result, "message": hostile} for result in results("passed", "failed")]
    found[1]["failure"] = {"code": "spawn_failed"}
    suite = ElementTree.fromstring(verify.junit(report(found, user=hostile, server_name=hostile), hostile))
    kept = "<a b='\"'>&amp; ]]> {{ 7*7 }} [31m   \u00e9 \U0001f600 \u65e5"
    assert suite.findtext("testsuite/testcase/system-out") == kept
    failure = suite.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.attrib == {"type": "spawn_failed", "message": kept}
    assert {each.get("name"): each.get("value") for each in suite.iter("property")} == {
        "hub_url": "https://hub/", "hub_version": "6.1.1", "user": kept, "server_name": kept,
    }  # fmt: skip
    testsuite = suite.find("testsuite")
    assert testsuite is not None
    assert (testsuite.get("timestamp"), testsuite.get("time")) == ("1970-01-01T00:16:40", "12.346")
