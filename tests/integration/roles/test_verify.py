# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role verify with real hubs and real servers: its verdict is true, and it leaves nothing behind.

Most cases are hosts of one inventory, so they share one run. Each has its own user, token and report.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from support.hubs import Hub, HubPool, running_hub
from support.playbooks import (
    ProgramResult,
    hub_environment,
    mint,
    oldest_ansible_bin,
    run_playbook,
    scopes_for_verify,
    servers,
    start_server,
)
from support.service_accounts import logged, settle, writes

VERIFY = "hubops.jupyterhub.verify"
STEPS = ["hub", "token", "start", "run", "stop", "gone"]

# Quotes, markup, templates, terminal colours, a bell, the end of a CDATA section, letters that are not ASCII.
HOSTILE = "a \"b\" 'c' <d>&amp; {{ 7*7 }} {% e %} {# f #} \x1b[31mg\x1b[0m \x07 ]]> é 日本"
# The same in an exception, where hub_exec removes the colours.
PALE = HOSTILE.replace("\x1b[31m", "").replace("\x1b[0m", "")
# The same as the report shows them, with escapes.
HOSTILE_SHOWN, PALE_SHOWN = (text.replace("\x1b", "\\x1b").replace("\x07", "\\x07") for text in (HOSTILE, PALE))
# Real servers that fail as their options say. The options hold the text as hexadecimal digits, since Ansible would take
# a variable with the text for a template.
OBEYS = """
import asyncio

async def obey(spawner):
    await asyncio.sleep(float(spawner.user_options.get("pause", 0)))
    if "refuse" in spawner.user_options:
        error = RuntimeError("hostile_reason")
        error.jupyterhub_message = bytes.fromhex(spawner.user_options["refuse"]).decode()
        raise error

c.Spawner.pre_spawn_hook = obey
c.Spawner.http_timeout = 300  # many start at once, on a machine that may be busy
"""


def printing(text: str) -> str:
    """Code that prints the text, without any part of it that Ansible would take for a template."""
    return f"print(bytes.fromhex('{text.encode().hex()}').decode())"


def refusing(reason: str) -> dict[str, Any]:
    """Options with which a server does not start, for this reason."""
    return {"refuse": reason.encode().hex()}


@dataclass(frozen=True)
class Case:
    """A host of the inventory: its variables besides hub, user and token, and its differences from the others."""

    variables: dict[str, Any]
    scopes: tuple[str, ...] | None = None  # of its token, if not the least ones
    token: str | None = None  # in place of a valid token; empty means no token
    running: bool = False  # whether its server runs before the play


CASES = {
    "passing": Case({"verify_expected_version": "6.1"}),
    # Without quotes in YAML, this version and this text are numbers.
    "named": Case(
        {
            "verify_server_name": "second-one",
            "verify_expected_version": 6.1,
            "verify_code": "6 * 7",
            "verify_expect": 42,
        }
    ),
    "hostile_reason": Case({"verify_user_options": refusing(HOSTILE)}),
    "hostile_output": Case({"verify_code": printing(HOSTILE), "verify_expect": "]]> é 日本"}),
    "hostile_exception": Case({"verify_code": printing(HOSTILE).replace("print", "raise ValueError")}),
    "hostile_contrast": Case({"verify_code": printing(HOSTILE), "verify_expect": "49"}),
    "slow": Case({"verify_user_options": {"pause": 600}, "verify_wait_timeout": 2}),
    "endless": Case({"verify_code": "import time; time.sleep(600)", "verify_code_timeout": "4s"}),
    "wrong_version": Case({"verify_expected_version": "5.5"}),
    "half_version": Case({"verify_expected_version": "6."}),
    "no_token": Case({}, token=""),
    "unknown_token": Case({}, token="0123456789abcdef0123456789abcdef"),
    "lacking_access": Case({}, scopes=("start:servers!user", "delete:servers!user", "read:servers!user")),
    "lacking_most": Case({}, scopes=("read:tokens!user",)),
    "lacking_other": Case({"verify_user": "passing"}),
    "service": Case({}, token="ADMIN"),
    "service_for_user": Case({"verify_user": "passing", "verify_server_name": "third"}, token="ADMIN"),
    "running": Case({}, running=True),
    "running_stopped": Case({"verify_stop_running": True}, running=True),
}
# Cases that depend on how Ansible evaluates templates, which changed with ansible-core 2.19.
TEMPLATES = ["passing", "named", "hostile_reason", "hostile_output", "hostile_exception", "hostile_contrast"]
PASS = {"passing", "named", "hostile_output", "service_for_user", "running_stopped"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with running_hub(tmp_path_factory.mktemp("hub"), spawner="server", base_url="/jhub/", config=OBEYS) as hub:
        yield hub


@dataclass(frozen=True)
class All:
    """One run with all the cases."""

    hub: Hub
    played: ProgramResult
    folder: Path
    secrets: list[str]
    before: dict[str, Any]  # the servers that ran beforehand
    log: str  # of the hub, during the run

    def report(self, case: str) -> dict[str, Any]:
        return read_report(self.folder / "verify-report" / case)

    def step(self, case: str, name: str) -> dict[str, Any]:
        return next(step for step in self.report(case)["steps"] if step["name"] == name)

    def failed(self, case: str, *says: str) -> dict[str, Any]:
        """The only step that failed. Checks its message, the verdict and the recap."""
        report = self.report(case)
        [step] = [step for step in report["steps"] if step["verdict"] == "failed"]
        assert report["verdict"] == "failed"
        assert self.played.recap[case]["failed"] == 1
        for words in says:
            assert words in step["message"]
        return step

    def asked_for_server(self, case: str) -> bool:
        return re.search(rf" POST /jhub/hub/api/users/{case}/servers?[/ ]", self.log) is not None


def read_report(folder: Path) -> dict[str, Any]:
    report = json.loads((folder / "report.json").read_text())
    assert isinstance(report, dict)
    return report


def read_junit(folder: Path) -> ElementTree.Element:
    suite = ElementTree.parse(folder / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    return suite


def run_all(hub: Hub, folder: Path, cases: Iterable[str], bin_folder: Path | None = None) -> All:
    hosts, before, secrets = {}, {}, [hub.admin_token]
    for name in cases:
        case = CASES[name]
        token = mint(hub, name, case.scopes) if case.token is None else case.token.replace("ADMIN", hub.admin_token)
        if token:
            secrets.append(token)
        if case.running:
            before[name] = start_server(hub, name)
        hosts[name] = {"hub_url": hub.url, "verify_api_token": token, **case.variables}
    position = logged(hub)
    # -vvvv, as a user runs it to find an error. It must not show secrets, either.
    env = {"ANSIBLE_SHOW_CUSTOM_STATS": "1"}  # AWX shows them as the artifacts of a job
    played = run_playbook(VERIFY, "-vvvv", folder=folder, hosts=hosts, env=env, bin_folder=bin_folder)
    settle(hub)
    return All(hub, played, folder, secrets, before, hub.log.read_bytes()[position:].decode())


@pytest.fixture(scope="module")
def every(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> All:
    return run_all(hub, tmp_path_factory.mktemp("every"), CASES)


@pytest.fixture(scope="module", params=["this ansible-core", "2.16"])
def templates(request: pytest.FixtureRequest, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> All:
    """The cases that depend on templates, on this ansible-core and on the oldest one."""
    if request.param == "2.16":
        return run_all(hub, tmp_path_factory.mktemp("templates"), TEMPLATES, oldest_ansible_bin())
    return request.getfixturevalue("every")


def test_the_exit_status_and_the_recap_tell_the_verdicts(every: All) -> None:
    assert every.played.status == 2, every.played.output
    failed = {case for case, numbers in every.played.recap.items() if numbers["failed"] or numbers["unreachable"]}
    assert set(CASES) - failed == PASS


def test_the_artifacts_of_a_job_hold_every_verdict(templates: All) -> None:
    found = re.search(r"CUSTOM STATS: .*?\tRUN: (\{.*?\})\n\n", templates.played.stdout + "\n\n", re.DOTALL)
    assert found, templates.played.stdout[-2000:]
    verdicts = {case: "passed" if case in PASS else "failed" for case in templates.played.recap}
    assert json.loads(found[1]) == {"verify_hubs": verdicts}


@pytest.mark.parametrize("case", sorted(PASS))
def test_every_step_of_a_good_hub_passes(every: All, case: str) -> None:
    report = every.report(case)
    assert report["verdict"] == "passed"
    assert [(step["name"], step["verdict"]) for step in report["steps"]] == [(name, "passed") for name in STEPS]
    assert report["hub_url"] == every.hub.url
    assert report["hub_version"] == every.hub.version
    assert report["server_name"] == CASES[case].variables.get("verify_server_name", "")
    assert report["user"] == CASES[case].variables.get("verify_user", case)
    assert report["server_name"] not in servers(every.hub, report["user"])


def test_a_number_is_a_number(templates: All) -> None:
    """Before ansible-core 2.19, templates can turn a number into text."""
    report = templates.report("passing")
    assert all(isinstance(part["seconds"], float) for part in (report, *report["steps"]))
    # A server and a kernel take their time, and no step takes longer than the whole.
    assert all(0.3 < templates.step("passing", name)["seconds"] < report["seconds"] for name in ("start", "run"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["began"])
    assert templates.step("passing", "run")["failure"] is None


def test_junit_lists_each_step(templates: All) -> None:
    suite = read_junit(templates.folder / "verify-report" / "passing")
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped", "hostname")} == {
        "tests": "6", "failures": "0", "errors": "0", "skipped": "0", "hostname": "passing",
    }  # fmt: skip
    steps = templates.report("passing")["steps"]
    assert [(case.get("name"), float(case.get("time", ""))) for case in suite.iter("testcase")] == [
        (step["name"], step["seconds"]) for step in steps
    ]
    assert [case.findtext("system-out") for case in suite.iter("testcase")] == [step["message"] for step in steps]
    assert {each.get("name"): each.get("value") for each in suite.iter("property")} == {
        "hub_url": templates.hub.url, "hub_version": templates.hub.version, "user": "passing", "server_name": "",
    }  # fmt: skip


def test_junit_tells_failed_from_skipped(every: All) -> None:
    suite = read_junit(every.folder / "verify-report" / "hostile_exception")
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "0")
    suite = read_junit(every.folder / "verify-report" / "wrong_version")
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "5")
    kinds = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert kinds == {"hub": ["failure"], **{name: ["skipped"] for name in STEPS[1:]}}
    failure = read_junit(every.folder / "verify-report" / "hostile_reason").find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "spawn_failed"


def test_spawn_that_fails(every: All) -> None:
    step = every.failed("hostile_reason", HOSTILE_SHOWN)
    assert step["name"] == "start"
    assert step["failure"]["code"] == "spawn_failed"
    assert {name: every.step("hostile_reason", name)["verdict"] for name in STEPS} == {
        "hub": "passed", "token": "passed", "start": "failed", "run": "skipped", "stop": "passed", "gone": "passed",
    }  # fmt: skip
    assert servers(every.hub, "hostile_reason") == {}
    assert "step 'start' failed: " in every.played.stdout


def test_spawn_that_never_becomes_ready(every: All) -> None:
    step = every.failed("slow")
    assert (step["name"], step["failure"]["code"]) == ("start", "timeout")
    assert servers(every.hub, "slow") == {}


@pytest.mark.parametrize(
    ("case", "code", "says"),
    [
        ("hostile_exception", "invalid", ["ValueError", PALE_SHOWN]),
        ("endless", "timeout", []),
        ("hostile_contrast", None, ["'49'", HOSTILE_SHOWN]),
    ],
)
def test_code_that_does_not_do_what_it_should(every: All, case: str, code: str | None, says: list[str]) -> None:
    """The role stops the server, and the server is gone."""
    step = every.failed(case, *says)
    assert step["name"] == "run"
    assert (step["failure"] or {}).get("code") == code
    assert [every.step(case, name)["verdict"] for name in STEPS] == ["passed"] * 3 + ["failed"] + ["passed"] * 2
    assert every.step(case, "stop")["message"] == "stopped"
    assert servers(every.hub, case) == {}


@pytest.mark.parametrize(
    ("case", "step", "says"),
    [
        ("wrong_version", "hub", ["6.1", "expected was 5.5"]),
        ("half_version", "hub", ["expected was 6."]),
        ("no_token", "token", ["verify_api_token", "JUPYTERHUB_API_TOKEN"]),
        ("unknown_token", "token", ["does not accept the API token"]),
        ("lacking_access", "token", ["lacks access:servers!server=lacking_access/;"]),
        ("lacking_most", "token", ["read:servers!", "start:servers!", "delete:servers!", "access:servers!"]),
        (
            "lacking_other",
            "token",
            ["read:servers!user=passing", "start:servers!server=passing/", "user 'lacking_other'"],
        ),
        ("service", "token", ["service admin", "verify_user"]),
    ],
)
def test_what_is_missing_is_named_before_anything_is_started(every: All, case: str, step: str, says: list[str]) -> None:
    assert every.failed(case, *says)["name"] == step
    verdicts = [each["verdict"] for each in every.report(case)["steps"]]
    assert verdicts == ["passed"] * STEPS.index(step) + ["failed"] + ["skipped"] * (5 - STEPS.index(step))
    assert not every.asked_for_server(case)
    # The same check finds a start in the log if there was one.
    assert every.asked_for_server("passing")


def test_a_running_server_is_left_alone(every: All) -> None:
    step = every.failed("running", "ready already", "verify_stop_running")
    assert step["name"] == "start"
    assert [each["verdict"] for each in every.report("running")["steps"]][3:] == ["skipped"] * 3
    assert servers(every.hub, "running")[""]["started"] == every.before["running"]["started"]
    assert not every.asked_for_server("running")


def test_a_running_server_is_stopped_first_if_that_is_asked_for(every: All) -> None:
    """Another test shows that it passed and left nothing. Here, the role started a server, so it verified that one."""
    assert every.asked_for_server("running_stopped")


@pytest.mark.parametrize(
    ("case", "name", "text"),
    [
        ("hostile_reason", "start", HOSTILE_SHOWN),
        ("hostile_output", "run", HOSTILE_SHOWN),
        ("hostile_exception", "run", PALE_SHOWN),
        # If Ansible evaluated the output, it would contain the expected 49.
        ("hostile_contrast", "run", HOSTILE_SHOWN),
    ],
)
def test_hostile_text_survives_in_the_reports(templates: All, case: str, name: str, text: str) -> None:
    assert text in templates.step(case, name)["message"]
    testcase = read_junit(templates.folder / "verify-report" / case).find(f"testcase[@name='{name}']")
    assert testcase is not None
    failure = testcase.find("failure")
    assert (failure is None) is (case == "hostile_output")
    text_in_junit = testcase.findtext("system-out") if failure is None else failure.get("message")
    assert text in str(text_in_junit)


def test_no_token_is_shown_anywhere(templates: All) -> None:
    reports = list((templates.folder / "verify-report").rglob("*.*"))
    assert len(reports) == 2 * len(templates.played.recap)
    for text in (templates.played.output, *(file.read_text() for file in reports)):
        assert not [secret for secret in templates.secrets if secret in text]


# Runs of their own


@pytest.fixture(scope="module")
def old_hub(pool: HubPool) -> Hub:
    return pool.get("5.5", spawner="server")


def test_without_an_inventory_the_environment_names_the_hub(old_hub: Hub, tmp_path: Path) -> None:
    token = mint(old_hub, "alone")
    played = run_playbook(VERIFY, folder=tmp_path, env=hub_environment(old_hub, token))
    assert played.status == 0, played.output
    assert played.recap["localhost"]["failed"] == 0
    report = read_report(tmp_path / "verify-report")
    assert report["hub_version"].startswith("5.5")
    assert [(step["name"], step["verdict"]) for step in report["steps"]] == [(name, "passed") for name in STEPS]
    assert read_junit(tmp_path / "verify-report").get("tests") == "6"
    # The summary has a line for each step, and the verdict with the relative path of the report.
    for step in report["steps"]:
        assert re.search(rf"{step['verdict']} +{step['name']} +{step['seconds']:.2f} s  ", played.stdout)
    assert re.search(r"PASSED in \d+\.\d s, report in verify-report\b", played.stdout)
    assert servers(old_hub, "alone") == {}
    assert token not in played.output


def test_check_mode_starts_nothing_and_reports_to_no_file(old_hub: Hub, tmp_path: Path) -> None:
    token = mint(old_hub, "careful")
    position = logged(old_hub)
    played = run_playbook(VERIFY, "--check", folder=tmp_path, env=hub_environment(old_hub, token))
    assert played.status == 0, played.output
    assert re.search(r"skipped +start ", played.stdout)
    assert "INCOMPLETE" in played.stdout
    assert not (tmp_path / "verify-report").exists()
    assert not writes(old_hub, position)


def test_check_mode_fails_where_the_run_would(old_hub: Hub, tmp_path: Path) -> None:
    token = mint(old_hub, "careless", [scope for scope in scopes_for_verify(old_hub) if "access" not in scope])
    played = run_playbook(VERIFY, "--check", folder=tmp_path, env=hub_environment(old_hub, token))
    assert played.status == 2
    assert "access:servers" in played.stdout


def test_a_good_and_a_bad_hub_have_a_report_each(hub: Hub, old_hub: Hub, tmp_path: Path) -> None:
    hosts: dict[str, dict[str, Any]] = {
        "good": {"hub_url": old_hub.url, "verify_api_token": mint(old_hub, "one")},
        # Another token, of a user who exists only on the other hub.
        "bad": {
            "hub_url": hub.url,
            "verify_api_token": mint(hub, "two"),
            "verify_user_options": refusing("the disk is full"),
        },
        # Nothing listens at this port.
        "away": {"hub_url": "http://127.0.0.1:9/", "verify_api_token": "of-no-hub"},
    }
    reports = tmp_path / "a place" / "reports"
    played = run_playbook(VERIFY, folder=tmp_path, hosts=hosts, variables={"verify_report_dir": str(reports)})
    assert played.status == 2
    verdicts = {name: read_report(reports / name) for name in hosts}
    assert {name: report["verdict"] for name, report in verdicts.items()} == {
        "good": "passed", "bad": "failed", "away": "failed",
    }  # fmt: skip
    assert verdicts["good"]["hub_url"] == old_hub.url
    assert "the disk is full" in json.dumps(verdicts["bad"])
    assert verdicts["away"]["hub_url"] == "http://127.0.0.1:9/"
    assert verdicts["away"]["steps"][0]["failure"]["code"] == "unreachable"
    assert {name: len(list(read_junit(reports / name).iter("testcase"))) for name in hosts} == dict.fromkeys(hosts, 6)
    assert servers(old_hub, "one") == servers(hub, "two") == {}


def test_a_relative_report_folder_is_where_the_run_was_started(tmp_path: Path) -> None:
    """Not the folder in PWD: AWX, systemd and Python programs change folders and leave PWD as it is."""
    started_in, named_by_pwd = tmp_path / "here", tmp_path / "there"
    started_in.mkdir()
    named_by_pwd.mkdir()
    env = {"JUPYTERHUB_URL": "http://127.0.0.1:9/", "PWD": str(named_by_pwd)}
    played = run_playbook(VERIFY, folder=started_in, env=env)
    assert played.status == 2
    assert list(named_by_pwd.iterdir()) == []
    assert read_report(started_in / "verify-report")["verdict"] == "failed"


def test_the_reports_are_for_everybody_to_read(every: All) -> None:
    """CI often collects them with another account. They hold no secret."""
    for file in (every.folder / "verify-report" / "passing").iterdir():
        assert os.stat(file).st_mode & 0o777 == 0o644
