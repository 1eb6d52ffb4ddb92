# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the role verify about a fleet: each host has its row, and no old report looks like a new one.

The hubs have light servers. test_verify.py proves the verdicts with real ones.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from junitparser import JUnitXml
from prometheus_client.parser import text_string_to_metric_families
from support.hubs import REPOSITORY, Hub
from support.playbooks import (
    ProgramResult,
    ansible_bin,
    bare_environment,
    mint,
    oldest_ansible_bin,
    run_playbook,
    run_program,
    servers,
    start_server,
)
from support.waiting import wait_until

VERIFY = "hubops.jupyterhub.verify"
FILES = ["history.json", "index.html", "junit.xml", "metrics.prom", "report.json"]
CHECKED_AT_START = ["index.html", "junit.xml", "report.json"]
"""The files that the role removes when it begins."""
NOWHERE = "http://127.0.0.1:9/"  # nothing listens at this port

_numbers = count(1)


def new_user() -> str:
    return f"fleet{next(_numbers)}"


def member(hub: Hub, **variables: Any) -> dict[str, Any]:
    """The variables of a host whose hub passes: one light server of a new user with a token of its own."""
    user = new_user()
    return {"hub_url": hub.url, "verify_api_token": mint(hub, user), "verify_checks": [{"name": "start"}], **variables}


def play(folder: Path, hosts: dict[str, dict[str, Any]], *arguments: str, **more: Any) -> ProgramResult:
    return run_playbook(more.pop("playbook", VERIFY), *arguments, folder=folder, hosts=hosts, **more)


def written(folder: Path, **keywords: Any) -> Path:
    """A playbook of somebody who uses the role, with more keywords for the play."""
    playbook = folder / "playbook.json"
    play = {"hosts": "all", "connection": "local", "gather_facts": False, "roles": [VERIFY], **keywords}
    playbook.write_text(json.dumps([play]))
    return playbook


def read_report(folder: Path) -> dict[str, Any]:
    """The report, whose form is checked."""
    report = json.loads((folder / "verify-report/report.json").read_text())
    schema = json.loads((REPOSITORY / "docs/verify-report.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(report)
    assert isinstance(report, dict)
    return report


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {hub["host"]: hub for hub in read_report(folder)["hubs"]}


def metrics(folder: Path) -> dict[tuple[str, ...], float]:
    """The values by the name without its prefix, and the values of the labels."""
    families = text_string_to_metric_families((folder / "verify-report/metrics.prom").read_text())
    samples = [sample for family in families for sample in family.samples]
    return {(s.name.removeprefix("hubops_verify_"), *s.labels.values()): s.value for s in samples}


def lines_of(host: str, stdout: str) -> list[str]:
    """The lines about a host. The line of an included file names many hosts."""
    return [line for line in stdout.splitlines() if re.search(rf"\b{host}\b", line) and "included:" not in line]


# The hosts of a play


@pytest.mark.parametrize("ansible", ["this ansible-core", "2.16"])
def test_every_host_has_its_row(ansible: str, hub_61: Hub, hub_55: Hub, tmp_path: Path) -> None:
    hosts = {
        "good": member(hub_61),
        "other": member(hub_55),
        "broken": member(hub_61, verify_checks=[{"user_options": {"fail": "no room"}}]),
        "away": {"hub_url": NOWHERE, "verify_api_token": "of-no-hub"},
        "unreachable": {
            **member(hub_61), "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9,
        },
        "failed_before": member(hub_61, is_broken=True),
        "no_such_file": member(hub_61, verify_checks=[{"api_token_file": str(tmp_path / "no-such.token")}]),
        "no_such_option": member(hub_61, verify_checks=[{"pages": ["lab"]}]),
    }  # fmt: skip
    before = {"ansible.builtin.fail": {"msg": "this host is broken"}, "when": "is_broken | default(false)"}
    bin_folder = oldest_ansible_bin() if ansible == "2.16" else None
    done = play(tmp_path, hosts, playbook=written(tmp_path, pre_tasks=[before]), bin_folder=bin_folder)
    assert done.status == 2, done.output
    found = rows(tmp_path)
    assert [*found] == [*hosts]
    assert {host: row["verdict"] for host, row in found.items()} == {
        **dict.fromkeys(hosts, "failed"), "good": "passed", "other": "passed",
    }  # fmt: skip
    assert {host: row["not_verified"] for host, row in found.items() if row["not_verified"]} == {
        "unreachable": "host_unreachable", "failed_before": "no_result", "no_such_file": "task_failed",
        "no_such_option": "task_failed",
    }  # fmt: skip
    says = {
        "broken": "no room", "away": NOWHERE.strip("/").partition("//")[2], "unreachable": "port 9",
        "failed_before": "before its turn", "no_such_file": "no-such.token", "no_such_option": "checks.pages",
    }  # fmt: skip
    for host, text in says.items():
        assert text in found[host]["message"], host
        assert done.recap[host]["failed"] == 1
        assert f"{host} " in done.stdout.partition("Show the verdicts")[2].partition("End the role")[0]
    assert (found["away"]["url"], found["away"]["phases"][0]["failure"]["code"]) == (NOWHERE, "unreachable")
    assert (found["other"]["version"], found["good"]["version"]) == (hub_55.version, hub_61.version)
    folder = tmp_path / "verify-report"
    assert {suite.name for suite in JUnitXml.fromfile(str(folder / "junit.xml"))} == {*hosts}
    assert {key[1] for key in metrics(tmp_path) if key[0] == "verdict"} == {*hosts}
    assert all(host in (folder / "index.html").read_text() for host in hosts)


def test_a_hub_that_passed_has_two_lines_of_output(hub_61: Hub, tmp_path: Path) -> None:
    """Its task and its recap, and one line of the table for each check."""
    hosts = {f"light-{number}": member(hub_61) for number in range(10)}
    done = play(tmp_path, hosts)
    assert done.status == 0, done.output
    last_tasks = done.stdout.partition("Show the verdicts")[2]
    table = last_tasks.partition("End the role")[0]
    rest = done.stdout.replace(table, "")
    run_once = "light-0"
    for host in hosts:
        assert len(lines_of(host, table)) == 1 or host == run_once
        assert len(lines_of(host, rest)) == 2 or host == run_once, host
    assert len(done.stdout.splitlines()) < 3 * len(hosts) + 51
    # With this many hubs, phases that pass have no line while the role runs.
    assert done.stderr == ""


def test_a_play_for_one_host_keeps_the_history_of_the_others(hub_61: Hub, tmp_path: Path) -> None:
    hosts = {"one": member(hub_61), "two": member(hub_61)}
    assert play(tmp_path, hosts).status == 0
    first = read_report(tmp_path)
    assert {host: len(runs) for host, runs in first["history"].items()} == {"one": 1, "two": 1}
    assert play(tmp_path, hosts, "-l", "two").status == 0
    second = read_report(tmp_path)
    assert [hub["host"] for hub in second["hubs"]] == ["two"]
    assert {host: len(runs) for host, runs in second["history"].items()} == {"one": 1, "two": 2}
    assert second["history"]["one"] == first["history"]["one"]
    assert second["last_success"]["one"] == first["last_success"]["one"]
    assert second["last_success"]["two"] > first["last_success"]["two"]
    # An alert on the age of the last success of the other hub does not end.
    assert {key[1] for key in metrics(tmp_path) if key[0] == "last_success_timestamp_seconds"} == {"one", "two"}


def test_the_history_grows_and_is_kept_to_a_number(hub_61: Hub, tmp_path: Path) -> None:
    hosts = {"hub": member(hub_61, verify_history=2, verify_checks=[{"name": "start", "user_options": {}}])}
    broken = {"hub": {**hosts["hub"], "verify_checks": [{"name": "start", "user_options": {"fail": "no room"}}]}}
    lengths, verdicts = [], []
    for variables in (hosts, broken, hosts):
        play(tmp_path, variables)
        history = read_report(tmp_path)["history"]["hub"]
        lengths.append(len(history))
        verdicts = [run["verdict"] for run in history]
        assert history[-1]["checks"].keys() == ({"start"} if verdicts[-1] == "passed" else set())
    assert (lengths, verdicts) == ([1, 2, 2], ["failed", "passed"])
    # The next run reads the history if only that file is left, as after a run that was killed.
    for name in CHECKED_AT_START:
        (tmp_path / "verify-report" / name).unlink()
    play(tmp_path, hosts)
    assert [run["verdict"] for run in read_report(tmp_path)["history"]["hub"]] == ["passed", "passed"]


def test_with_serial_the_last_batch_writes_the_whole_report(hub_61: Hub, tmp_path: Path) -> None:
    hosts = {"one": member(hub_61), "two": member(hub_61)}
    show = {"ANSIBLE_SHOW_CUSTOM_STATS": "true"}
    done = play(tmp_path, hosts, playbook=written(tmp_path, serial=1), env=show)
    assert done.status == 0, done.output
    artifact = json.loads(done.stdout.partition("CUSTOM STATS: ")[2].partition("RUN: ")[2])["verify"]
    assert {verdict: [*found] for verdict, found in artifact["hubs"].items() if found} == {"passed": ["one", "two"]}
    report = read_report(tmp_path)
    assert (report["verdict"], [hub["host"] for hub in report["hubs"]]) == ("passed", ["one", "two"])
    # A host whose turn was still to come has made no run.
    assert {host: [run["verdict"] for run in runs] for host, runs in report["history"].items()} == {
        "one": ["passed"], "two": ["passed"],
    }  # fmt: skip


def test_the_strategy_of_the_user_s_settings_does_not_matter(hub_61: Hub, tmp_path: Path) -> None:
    """With the strategy free, each host would write a report in which others are missing."""
    done = play(tmp_path, {"one": member(hub_61), "two": member(hub_61)}, env={"ANSIBLE_STRATEGY": "free"})
    assert done.status == 0, done.output
    assert done.stdout.count("PASSED in ") == 1
    assert {host: row["verdict"] for host, row in rows(tmp_path).items()} == {"one": "passed", "two": "passed"}


# What is left of the last report


def test_a_run_that_is_killed_leaves_no_report_that_looks_new(hub_61: Hub, tmp_path: Path) -> None:
    """And the next run takes its server over. A test of SIGKILL starts Ansible, because it ends the process itself."""
    gate, user = tmp_path / "gate", new_user()
    token = mint(hub_61, user)
    hosts = {"hub": {"hub_url": hub_61.url, "verify_api_token": token, "verify_checks": [{}]}}
    assert play(tmp_path, hosts).status == 0
    folder = tmp_path / "verify-report"
    assert sorted(file.name for file in folder.iterdir()) == FILES
    hosts["hub"]["verify_checks"] = [{"user_options": {"start_gate": str(gate)}}]
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    command = [ansible_bin() / "ansible-playbook", VERIFY, "-i", "inventory.json"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=bare_environment(tmp_path), start_new_session=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        wait_until(lambda: servers(hub_61, user))
        assert sorted(file.name for file in folder.iterdir()) == sorted({*FILES} - {*CHECKED_AT_START})
        kill_group(process)
    gate.touch()
    wait_until(lambda: servers(hub_61, user)[""]["ready"])
    # The next run has the history of the first one, and starts by stopping what is left.
    hosts["hub"] |= {"verify_checks": [{"user_options": {}}], "verify_stop_running": True}
    done = play(tmp_path, hosts)
    assert done.status == 0, done.output
    assert [run["verdict"] for run in read_report(tmp_path)["history"]["hub"]] == ["passed", "passed"]
    assert servers(hub_61, user) == {}


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill Ansible and its workers, some of which have a session of their own."""
    pids = [process.pid]
    for pid in pids:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pids += [int(child) for child in children]
    for pid in pids:
        os.kill(pid, 9)
    process.wait(60)


def test_a_folder_that_cannot_be_written_fails_before_anything_starts(hub_61: Hub, tmp_path: Path) -> None:
    user = new_user()
    hosts = {"hub": {"hub_url": hub_61.url, "verify_api_token": mint(hub_61, user), "verify_checks": [{}]}}
    (tmp_path / "file").touch()
    done = play(tmp_path, hosts, variables={"verify_report_dir": f"{tmp_path}/file/report"})
    assert done.status == 2
    assert "Verify the hub" not in done.stdout
    assert f"{tmp_path}/file" in done.stdout
    assert servers(hub_61, user) == {}


def test_a_history_that_somebody_has_damaged_is_left_out(hub_61: Hub, tmp_path: Path) -> None:
    (tmp_path / "verify-report").mkdir()
    (tmp_path / "verify-report/report.json").write_text('{"history": {"hub": [{{ 7 * 7 }}]}')
    assert play(tmp_path, {"hub": member(hub_61)}).status == 0
    assert len(read_report(tmp_path)["history"]["hub"]) == 1


def test_the_folder_may_have_a_space_and_be_absolute(hub_61: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "a place" / "verify-report"
    done = play(tmp_path, {"hub": member(hub_61)}, variables={"verify_report_dir": str(folder)})
    assert done.status == 0, done.output
    assert sorted(file.name for file in folder.iterdir()) == FILES
    assert "report in a place/verify-report" in done.stdout  # relative to where the run was started


# Accounts


def test_checks_use_accounts_of_their_own(hub_61: Hub, tmp_path: Path) -> None:
    """Their tokens are in a file, in a file that ansible-vault has encrypted, and in a variable. None is shown."""
    users = [new_user() for _number in range(4)]
    tokens = [mint(hub_61, user) for user in users]
    (tmp_path / "password").write_text("of the vault\n")
    for name, token in (("plain.token", tokens[1]), ("vault.token", tokens[2])):
        (tmp_path / name).write_text(f"{token}\n")
    command = ["ansible-vault", "encrypt", "--vault-password-file", "password", "vault.token"]
    encrypted = run_program([ansible_bin() / command[0], *command[1:]], tmp_path, bare_environment(tmp_path))
    assert encrypted.status == 0, encrypted.output
    checks: list[dict[str, Any]] = [
        {},
        {"api_token_file": str(tmp_path / "plain.token")},
        {"api_token_file": "{{ inventory_dir }}/vault.token"},
        {"api_token_var": "token_of_another", "server_name": "second", "user_options": {"start_seconds": 0.2}},
    ]
    hosts = {
        "hub": {
            "hub_url": hub_61.url, "verify_api_token": tokens[0], "token_of_another": tokens[3],
            "verify_checks": checks,
        }
    }  # fmt: skip
    done = play(tmp_path, hosts, "-vvvv", "--vault-password-file", str(tmp_path / "password"))
    assert done.status == 0, done.output
    found = rows(tmp_path)["hub"]["checks"]
    assert [(check["user"], check["name"]) for check in found] == [
        (users[0], users[0]), (users[1], users[1]), (users[2], users[2]), (users[3], f"{users[3]}/second"),
    ]  # fmt: skip
    for file in (tmp_path / "verify-report").iterdir():
        assert not [token for token in tokens if token in file.read_text()]
    assert not [token for token in tokens if token in done.output]


def test_an_empty_file_is_no_token_of_the_role(hub_61: Hub, tmp_path: Path) -> None:
    """Its check would start the server of another account, and pass."""
    (tmp_path / "empty.token").touch()
    checks = [{"api_token_file": str(tmp_path / "empty.token")}]
    done = play(tmp_path, {"hub": member(hub_61, verify_checks=checks)})
    assert done.status == 2
    assert "The token of a check is empty" in rows(tmp_path)["hub"]["message"]


def test_without_a_check_only_the_hub_is_looked_at(hub_61: Hub, tmp_path: Path) -> None:
    options = {"verify_checks": [], "verify_login_page": True, "verify_expected_version": ">=6.1,<7"}
    done = play(tmp_path, {"hub": member(hub_61, **options)})
    assert done.status == 0, done.output
    row = rows(tmp_path)["hub"]
    assert (row["verdict"], row["checks"]) == ("passed", [])
    assert [phase["name"] for phase in row["phases"]] == ["hub", "login", "token"]


def test_a_warning_does_not_fail_the_role(hub_61: Hub, tmp_path: Path) -> None:
    """The token does not show its end, because it has no scope for that."""
    variables = member(hub_61, verify_token_min_ttl="7d")
    scopes = [f"{name}!user" for name in ("start:servers", "delete:servers", "read:servers", "access:servers")]
    variables["verify_api_token"] = mint(hub_61, new_user(), scopes)
    done = play(tmp_path, {"hub": variables})
    assert done.status == 0, done.output
    row = rows(tmp_path)["hub"]
    assert row["verdict"] == "warned"
    assert "verify_token_min_ttl" in row["message"]
    assert ("last_success_timestamp_seconds", "hub") in metrics(tmp_path)


def test_who_writes_checks_reads_the_names_of_their_options(hub_61: Hub, tmp_path: Path) -> None:
    """And who sets the variables of one check reads theirs, also in the lines while the role runs."""
    user = new_user()
    common = {"hub_url": hub_61.url, "verify_api_token": mint(hub_61, user)}
    start_server(hub_61, user)
    done = play(tmp_path, {"checks": {**common, "verify_checks": [{}]}, "variables": common})
    assert done.status == 2
    found = {host: row["message"] for host, row in rows(tmp_path).items()}
    assert "set if_running to stop or use" in found["checks"]
    assert "set verify_stop_running" in found["variables"]
    assert "if_running" not in found["variables"]
    assert "set verify_stop_running" in done.stderr


# Wrong variables


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"verify_checks": "lab"}, "dict"),
        ({"verify_checks": ["lab"]}, "dict"),
        ({"verify_concurrency": "many"}, "verify_concurrency"),
        ({"verify_tls_min_days": 3}, "verify_tls_min_days needs an https address"),
        ({"verify_checks": [{"name": "a"}, {"name": "a"}]}, "Two checks have the name a"),
        ({"verify_checks": [{"api_token_var": "no_such_variable"}]}, "no_such_variable"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_variables_are_named(hub_61: Hub, tmp_path: Path, variables: dict[str, Any], says: str) -> None:
    """The playbook saves the validation by Ansible, so the module validates them. The host keeps its row."""
    done = play(tmp_path, {"hub": member(hub_61, **variables)})
    assert done.status == 2
    row = rows(tmp_path)["hub"]
    assert (row["verdict"], row["not_verified"]) == ("failed", "task_failed")
    assert says in row["message"]


def test_the_role_validates_its_variables_in_a_play(hub_61: Hub, tmp_path: Path) -> None:
    done = play(tmp_path, {"hub": member(hub_61, verify_history="many")}, playbook=written(tmp_path))
    assert done.status == 2
    assert "verify_history" in done.stdout
    assert not (tmp_path / "verify-report").exists()
