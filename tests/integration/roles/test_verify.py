# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role verify with real hubs and real servers: its verdict is true, and it leaves nothing behind.

Most cases are hosts of one inventory, so they share one run and one report. Each has its own user and token.
test_verify_report.py tests the report of a fleet.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from junitparser import JUnitXml
from prometheus_client.parser import text_string_to_metric_families
from support.hubs import REPOSITORY, Hub, HubPool, running_hub
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
PHASES = ["hub", "token", "start", "code", "stop"]
FILES = ["report.json", "junit.xml", "metrics.prom", "index.html", "history.json"]

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

    @property
    def report(self) -> dict[str, Any]:
        return read_report(self.folder / "verify-report")

    def row(self, case: str) -> dict[str, Any]:
        """The hub of this case in the report."""
        [row] = [hub for hub in self.report["hubs"] if hub["host"] == case]
        assert isinstance(row, dict)
        return row

    def check(self, case: str) -> dict[str, Any]:
        [check] = self.row(case)["checks"]
        assert isinstance(check, dict)
        return check

    def phases(self, case: str) -> list[dict[str, Any]]:
        return [*self.row(case)["phases"], *self.check(case)["phases"]]

    def phase(self, case: str, name: str) -> dict[str, Any]:
        [phase] = [phase for phase in self.phases(case) if phase["name"] == name]
        return phase

    def verdicts(self, case: str) -> dict[str, str]:
        return {phase["name"]: phase["verdict"] for phase in self.phases(case)}

    def failed(self, case: str, *says: str) -> dict[str, Any]:
        """The only phase that failed. Checks its message, the verdict and the recap."""
        [phase] = [phase for phase in self.phases(case) if phase["verdict"] == "failed"]
        assert self.row(case)["verdict"] == "failed"
        assert self.played.recap[case]["failed"] == 1
        for words in says:
            assert words in phase["message"]
        return phase

    def suite(self, case: str) -> ElementTree.Element:
        [suite] = [each for each in read_junit(self.folder / "verify-report") if each.get("name") == case]
        return suite

    def asked_for_server(self, case: str) -> bool:
        return re.search(rf" POST /jhub/hub/api/users/{case}/servers?[/ ]", self.log) is not None


def verdicts_until(failing: str, after: str = "skipped") -> dict[str, str]:
    """The verdicts of a check whose phase with this name failed."""
    position = PHASES.index(failing)
    return {
        name: "passed" if number < position else "failed" if number == position else after
        for number, name in enumerate(PHASES)
    }


def read_report(folder: Path) -> dict[str, Any]:
    report = json.loads((folder / "report.json").read_text())
    assert isinstance(report, dict)
    return report


def read_junit(folder: Path) -> ElementTree.Element:
    return ElementTree.parse(folder / "junit.xml").getroot()


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
    assert every.report["verdict"] == "failed"
    assert [hub["host"] for hub in every.report["hubs"]] == [*CASES]
    assert {hub["host"] for hub in every.report["hubs"] if hub["verdict"] == "passed"} == PASS


def test_the_table_has_a_line_for_each_check_and_failures_come_last(templates: All) -> None:
    """Each line is one text, whatever is in it."""
    table = shown_table(templates.played.stdout)
    rows = [line.split()[:3] for line in table[:-1]]
    hosts = [hub["host"] for hub in templates.report["hubs"]]
    assert {row[0] for row in rows} == set(hosts)
    words = [next(word for word in ("passed", "skipped", "FAILED") if f" {word} " in line) for line in table[:-1]]
    assert words == sorted(words, key=["passed", "skipped", "FAILED"].index)
    totals = table[-1]
    assert totals.startswith("FAILED in ")
    assert totals.endswith("report in verify-report")


def shown_table(stdout: str) -> list[str]:
    """The lines of the table, from what Ansible's own callback shows as JSON."""
    found = re.search(r"TASK \[[^]]*: Show the verdicts\].*?=> (\{.*?^\})", stdout, re.DOTALL | re.MULTILINE)
    assert found, stdout[-2000:]
    lines = json.loads(found[1])["msg"]
    assert all(isinstance(line, str) and line.isprintable() for line in lines)
    return list(lines)


def test_the_artifacts_of_a_job_hold_every_verdict(templates: All) -> None:
    found = re.search(r"CUSTOM STATS: .*?\tRUN: (\{.*?\})\n\n", templates.played.stdout + "\n\n", re.DOTALL)
    assert found, templates.played.stdout[-2000:]
    [(name, stats)] = json.loads(found[1]).items()
    assert (name, stats["verdict"], set(stats)) == ("verify", "failed", {"verdict", "summary", "left_out", "hubs"})
    assert stats["summary"].startswith(f"{len(templates.played.recap)} hubs: ")
    verdicts = {case: "passed" if case in PASS else "failed" for case in templates.played.recap}
    by_host = {host: verdict for verdict, hosts in stats["hubs"].items() for host in hosts}
    assert by_host.items() <= verdicts.items()
    assert len(by_host) + stats["left_out"] == len(verdicts)


@pytest.mark.parametrize("case", sorted(PASS))
def test_every_phase_of_a_good_hub_passes(every: All, case: str) -> None:
    row, check = every.row(case), every.check(case)
    assert every.verdicts(case) == dict.fromkeys(PHASES, "passed")
    assert (row["verdict"], row["not_verified"], row["failure"]) == ("passed", None, None)
    assert (row["url"], row["version"]) == (every.hub.url, every.hub.version)
    user, server_name = (CASES[case].variables.get(f"verify_{name}", "") for name in ("user", "server_name"))
    assert (check["user"], check["server_name"], check["server_left"]) == (user or case, server_name, False)
    assert check["server_name"] not in servers(every.hub, check["user"])


def test_a_number_is_a_number(templates: All) -> None:
    """Before ansible-core 2.19, templates can turn a number into text."""
    report, row, check = templates.report, templates.row("passing"), templates.check("passing")
    parts = (report, row, check, *templates.phases("passing"))
    assert all(isinstance(part["seconds"], float) for part in parts)
    # A server and a kernel take their time, and no phase takes longer than the whole.
    whole = check["seconds"]
    assert all(0.3 < templates.phase("passing", name)["seconds"] < whole for name in ("start", "code"))
    assert whole < row["seconds"] + 0.01 < report["seconds"] + 0.02
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["began"])
    assert templates.phase("passing", "code")["failure"] is None
    assert report["counts"]["hubs"]["total"] == len(templates.played.recap)


def test_the_report_has_the_form_of_its_schema(templates: All) -> None:
    schema = json.loads((REPOSITORY / "docs/verify-report.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(templates.report)


def test_other_parsers_read_the_other_files(templates: All) -> None:
    folder = templates.folder / "verify-report"
    cases = {suite.name: len([*suite]) for suite in JUnitXml.fromfile(str(folder / "junit.xml"))}
    assert cases == dict.fromkeys(templates.played.recap, len(PHASES))
    families = text_string_to_metric_families((folder / "metrics.prom").read_text())
    samples = [sample for family in families for sample in family.samples]
    metrics = {(sample.name, *sample.labels.values()): sample.value for sample in samples}
    for host in templates.played.recap:
        assert metrics["hubops_verify_verdict", host, "passed"] == float(host in PASS)
        assert (("hubops_verify_last_success_timestamp_seconds", host) in metrics) is (host in PASS)
    page = (folder / "index.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("<script") == 0


def test_junit_lists_each_phase(templates: All) -> None:
    suite = templates.suite("passing")
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped", "hostname")} == {
        "tests": "5", "failures": "0", "errors": "0", "skipped": "0", "hostname": "passing",
    }  # fmt: skip
    phases = templates.phases("passing")
    assert [(case.get("name"), float(case.get("time", ""))) for case in suite.iter("testcase")] == [
        (phase["name"], phase["seconds"]) for phase in phases
    ]
    assert [case.findtext("system-out") for case in suite.iter("testcase")] == [
        f"passed: {phase['message']}" for phase in phases
    ]
    assert {each.get("name"): each.get("value") for each in suite.iter("property")} == {
        "hub_url": templates.hub.url, "hub_version": templates.hub.version, "verdict": "passed",
    }  # fmt: skip


def test_junit_tells_failed_from_skipped(every: All) -> None:
    suite = every.suite("hostile_exception")
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "0")
    suite = every.suite("unknown_token")
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "3")
    kinds = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert kinds == {
        "hub": ["system-out"], "token": ["failure"], **{name: ["skipped"] for name in PHASES[2:]},
    }  # fmt: skip
    failure = every.suite("hostile_reason").find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "spawn_failed"


def test_spawn_that_fails(every: All) -> None:
    phase = every.failed("hostile_reason", HOSTILE_SHOWN)
    assert (phase["name"], phase["failure"]["code"]) == ("start", "spawn_failed")
    verdicts = every.verdicts("hostile_reason")
    assert (verdicts["code"], verdicts["hub"], verdicts["token"]) == ("skipped", "passed", "passed")
    assert every.check("hostile_reason")["server_left"] is False
    assert servers(every.hub, "hostile_reason") == {}


def test_spawn_that_never_becomes_ready(every: All) -> None:
    phase = every.failed("slow", "verify_wait_timeout")
    assert (phase["name"], phase["failure"]["code"]) == ("start", "timeout")
    assert servers(every.hub, "slow") == {}


@pytest.mark.parametrize(
    ("case", "code", "reason", "says"),
    [
        ("hostile_exception", "invalid", "exception", ["ValueError", PALE_SHOWN]),
        ("endless", "timeout", "timeout", ["verify_code_timeout"]),
        ("hostile_contrast", "invalid", "wrong_output", ["49", HOSTILE_SHOWN]),
    ],
)
def test_code_that_does_not_do_what_it_should(every: All, case: str, code: str, reason: str, says: list[str]) -> None:
    """The role stops the server, and the server is gone."""
    phase = every.failed(case, *says)
    assert (phase["name"], phase["failure"]["code"]) == ("code", code)
    assert phase["details"]["snippets"][0]["reason"] == reason
    assert every.verdicts(case) == {**dict.fromkeys(PHASES, "passed"), "code": "failed"}
    assert every.phase(case, "stop")["message"] == "The server was stopped."
    assert servers(every.hub, case) == {}


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("no_token", ["verify_api_token", "JUPYTERHUB_API_TOKEN"]),
        ("unknown_token", ["does not accept the API token"]),
        ("lacking_access", ["lacks access:servers!server=lacking_access/;"]),
        ("lacking_most", ["read:servers!", "start:servers!", "delete:servers!", "access:servers!"]),
        ("lacking_other", ["read:servers!user=passing", "start:servers!server=passing/", "user 'lacking_other'"]),
        ("service", ["service 'admin'", "Set verify_user"]),
    ],
)
def test_what_is_missing_is_named_before_anything_is_started(every: All, case: str, says: list[str]) -> None:
    assert every.failed(case, *says)["name"] == "token"
    assert every.verdicts(case) == verdicts_until("token")
    assert not every.asked_for_server(case)
    # The same check finds a start in the log if there was one.
    assert every.asked_for_server("passing")


@pytest.mark.parametrize(("case", "expected"), [("wrong_version", "5.5"), ("half_version", "6.")])
def test_a_wrong_version_fails_and_the_check_is_still_taken(every: All, case: str, expected: str) -> None:
    phase = every.failed(case, "6.1", f"expected was {expected}", "verify_expected_version")
    assert (phase["name"], every.check(case)["verdict"]) == ("hub", "passed")


def test_a_running_server_is_left_alone(every: All) -> None:
    assert every.failed("running", "ready already", "verify_stop_running", "verify_server_name")["name"] == "start"
    assert every.verdicts("running") == verdicts_until("start")
    assert servers(every.hub, "running")[""]["started"] == every.before["running"]["started"]
    assert not every.asked_for_server("running")


def test_a_running_server_is_stopped_first_if_that_is_asked_for(every: All) -> None:
    """Another test shows that it passed and left nothing. Here, the role started a server, so it verified that one."""
    assert every.asked_for_server("running_stopped")


@pytest.mark.parametrize(
    ("case", "name", "text"),
    [
        ("hostile_reason", "start", HOSTILE_SHOWN),
        ("hostile_exception", "code", PALE_SHOWN),
        # If Ansible evaluated the output, it would contain the expected 49.
        ("hostile_contrast", "code", HOSTILE_SHOWN),
    ],
)
def test_hostile_text_survives_in_the_reports(templates: All, case: str, name: str, text: str) -> None:
    assert text in templates.phase(case, name)["message"]
    failure = templates.suite(case).find(f"testcase[@name='{name}']/failure")
    assert failure is not None
    assert text in failure.get("message", "")
    assert text in html.unescape((templates.folder / "verify-report/index.html").read_text())


def test_hostile_output_of_code_that_passes_is_only_data(templates: All) -> None:
    """As the code printed it. JSON escapes it."""
    snippet = templates.phase("hostile_output", "code")["details"]["snippets"][0]
    assert snippet["stdout"].rstrip("\n") == HOSTILE


def test_no_token_is_shown_anywhere(templates: All) -> None:
    reports = sorted((templates.folder / "verify-report").iterdir())
    assert [file.name for file in reports] == sorted(FILES)
    for text in (templates.played.output, *(file.read_text() for file in reports)):
        assert not [secret for secret in templates.secrets if secret in text]


def test_the_reports_are_for_everybody_to_read(every: All) -> None:
    """CI often collects them with another account. They hold no secret."""
    for file in (every.folder / "verify-report").iterdir():
        assert os.stat(file).st_mode & 0o777 == 0o644


# Runs of their own


@pytest.fixture(scope="module")
def old_hub(pool: HubPool) -> Hub:
    return pool.get("5.5", spawner="server")


def test_without_an_inventory_the_environment_names_the_hub(old_hub: Hub, tmp_path: Path) -> None:
    token = mint(old_hub, "alone")
    played = run_playbook(VERIFY, folder=tmp_path, env=hub_environment(old_hub, token))
    assert played.status == 0, played.output
    assert played.recap["localhost"]["failed"] == 0
    [row] = read_report(tmp_path / "verify-report")["hubs"]
    assert (row["host"], row["url"], row["checks"][0]["name"]) == ("localhost", old_hub.url, "alone")
    assert row["version"].startswith("5.5")
    assert {phase["verdict"] for phase in (*row["phases"], *row["checks"][0]["phases"])} == {"passed"}
    assert len([*read_junit(tmp_path / "verify-report").iter("testcase")]) == 5
    # The table has a line for the hub and one for its check, and the verdict with the relative path of the report.
    hub, check, totals = shown_table(played.stdout)
    assert re.fullmatch(rf"localhost  \(hub\)  passed +\d\.\d s  JupyterHub 5\.5\S+ at {old_hub.url}", hub)
    assert re.fullmatch(r"localhost  alone  passed +\d+\.\d s", check)
    assert re.fullmatch(r"PASSED in .* 1 hub: 1 passed\. 1 check: 1 passed, report in verify-report", totals)
    assert servers(old_hub, "alone") == {}
    assert token not in played.output


def test_check_mode_starts_nothing_and_reports_to_no_file(old_hub: Hub, tmp_path: Path) -> None:
    token = mint(old_hub, "careful")
    position = logged(old_hub)
    played = run_playbook(VERIFY, "--check", folder=tmp_path, env=hub_environment(old_hub, token))
    assert played.status == 0, played.output
    *rows, totals = shown_table(played.stdout)
    assert any(re.match("localhost  careful  skipped ", row) for row in rows)
    assert totals.startswith("SKIPPED in ")
    assert "report in" not in totals
    assert not (tmp_path / "verify-report").exists()
    assert not writes(old_hub, position)


def test_check_mode_leaves_the_last_report(old_hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "verify-report"
    folder.mkdir()
    (folder / "report.json").write_text("{}")
    played = run_playbook(VERIFY, "--check", folder=tmp_path, env=hub_environment(old_hub, mint(old_hub, "careful")))
    assert played.status == 0, played.output
    assert [(file.name, file.read_text()) for file in folder.iterdir()] == [("report.json", "{}")]


def test_check_mode_fails_where_the_run_would(old_hub: Hub, tmp_path: Path) -> None:
    token = mint(old_hub, "careless", [scope for scope in scopes_for_verify(old_hub) if "access" not in scope])
    played = run_playbook(VERIFY, "--check", folder=tmp_path, env=hub_environment(old_hub, token))
    assert played.status == 2
    assert "access:servers" in played.stdout


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
