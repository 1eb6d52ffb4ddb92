# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hundred hubs, verified by the slices of a job as AWX makes them, and merged into one page.

Most of the hubs are one hub under many names, each name with an account of its own. One hub never answers, one does not
listen, and the machine of one is not reached.
"""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.fakes.misbehaving_hub import misbehaving_hub, no_answer
from support.hubs import REPOSITORY, Hub
from support.playbooks import api_request, mint, run_playbook, servers
from support.runner_jobs import Hosts, Job, run_job, slice_hosts

VERIFY, MERGE = "hubops.jupyterhub.verify", "hubops.jupyterhub.merge_reports"
NOWHERE = "http://127.0.0.1:9/"  # nothing listens at this port
SIZE, SLICES = 100, 4
ENDLESS = "10m"
"""A time that no run of this file takes."""
LONGEST_ARTIFACT = 4000

_numbers = count(1)


@dataclass(frozen=True)
class Fleet:
    """A fleet that was verified in slices and merged, and what is left of the jobs."""

    hosts: Hosts
    accounts: dict[str, tuple[Hub, str]]
    """The hub of each host with a real hub, and the user of its account."""
    slices: list[Job]
    merged: Job

    @property
    def tokens(self) -> list[str]:
        return [variables["verify_api_token"] for variables in self.hosts.values()]

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {hub["host"]: hub for hub in self.read_report()["hubs"]}

    def read_report(self) -> dict[str, Any]:
        report = json.loads((self.merged.report / "report.json").read_text())
        schema = json.loads((REPOSITORY / "docs/verify-report.schema.json").read_text())
        jsonschema.Draft202012Validator(schema).validate(report)
        assert isinstance(report, dict)
        return report


def member(hub: Hub, user: str, **more: Any) -> dict[str, Any]:
    return {"hub_url": hub.url, "verify_api_token": mint(hub, user), "verify_checks": [{"name": "start"}], **more}


def new_user() -> str:
    return f"fleet-user{next(_numbers)}"


@pytest.fixture(scope="module")
def fleet(hub_61: Hub, hub_55: Hub, hub_41: Hub, real_hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    folder = tmp_path_factory.mktemp("fleet")
    hubs = {f"hub-teach-{number:02}": hub_61 for number in range(SIZE - 7)}
    hubs |= {"hub-older-55": hub_55, "hub-older-41": hub_41, "hub-real-one": real_hub, "hub-no-room0": hub_61}
    accounts = {host: (hub, new_user()) for host, hub in hubs.items()}
    with ThreadPoolExecutor(8) as threads, misbehaving_hub(no_answer) as silent:
        hosts = dict(zip(accounts, threads.map(lambda account: member(*account), accounts.values()), strict=True))
        hosts["hub-real-one"]["verify_checks"] = [{"name": "code", "code": [{"code": "print(6 * 7)"}]}]
        hosts["hub-no-room0"]["verify_checks"] = [{"name": "start", "user_options": {"fail": "no room"}}]
        token = "ab" * 16
        hosts |= {
            "hub-silent-0": {
                "hub_url": silent.url, "verify_api_token": token, "hub_request_timeout": ENDLESS, "verify_deadline": 5,
            },
            "hub-refused0": {"hub_url": NOWHERE, "verify_api_token": token, "verify_checks": [{}]},
            "hub-far-away": {
                "hub_url": NOWHERE, "verify_api_token": token, "ansible_connection": "ssh",
                "ansible_host": "127.0.0.1", "ansible_port": 9,
            },
        }  # fmt: skip
        assert len(hosts) == SIZE
        # Each slice of a job has the same variables, and a folder of its own by the name of its first host.
        place = f"{folder}/reports/{{{{ ansible_play_hosts_all | first }}}}"
        slices = [*threads.map(partial(run_slice, folder, hosts, place), range(1, SLICES + 1))]
    merged = run_merge(folder / "merge", hosts, folder / "reports")
    return Fleet(hosts, accounts, slices, merged)


def run_slice(folder: Path, hosts: Hosts, place: str, number: int) -> Job:
    part = slice_hosts(hosts, number, SLICES)
    own_folder = folder / f"slice{number}"
    own_folder.mkdir()
    return run_job(
        own_folder, VERIFY, {}, {"verify_report_dir": place}, "--forks=10",
        hosts=part, report=folder / "reports" / min(part),
    )  # fmt: skip


def run_merge(folder: Path, hosts: Hosts, reports: Path) -> Job:
    folder.mkdir()
    return run_job(folder, MERGE, {}, {"verify_reports": [str(reports)]}, hosts=hosts)


def test_each_hub_of_each_slice_has_its_row(fleet: Fleet) -> None:
    bad = {"hub-no-room0", "hub-silent-0", "hub-refused0", "hub-far-away"}
    expected = {host: "failed" if host in bad else "passed" for host in fleet.hosts}
    assert {host: row["verdict"] for host, row in fleet.rows.items()} == expected
    in_slices = {}
    for job in fleet.slices:
        report = json.loads((job.report / "report.json").read_text())
        assert len(report["hubs"]) == SIZE / SLICES
        in_slices |= {hub["host"]: hub for hub in report["hubs"]}
        is_bad = bool(bad & {hub["host"] for hub in report["hubs"]})
        assert (job.status, job.rc) == (("failed", 2) if is_bad else ("successful", 0)), job.stdout
    assert in_slices == fleet.rows
    assert (fleet.merged.status, fleet.merged.rc) == ("failed", 2)
    report = fleet.read_report()
    assert report["history"].keys() == expected.keys()
    assert {row["version"] for row in fleet.rows.values()} == {
        "", *(hub.version for hub, _user in fleet.accounts.values()),
    }  # fmt: skip


def test_who_is_not_reached_says_why(fleet: Fleet) -> None:
    rows = fleet.rows
    assert rows["hub-far-away"]["not_verified"] == "host_unreachable"
    assert rows["hub-refused0"]["failure"]["code"] == "unreachable"
    assert "no room" in rows["hub-no-room0"]["message"]


def test_a_hub_that_hangs_holds_nobody_up(fleet: Fleet) -> None:
    """Its verification ends at the deadline, long before the end of its request, and that of the others has ended."""
    row = fleet.rows["hub-silent-0"]
    assert (row["failure"]["code"], row["phases"][0]["verdict"]) == ("timeout", "failed")
    assert "verify_deadline" in row["message"]
    assert 5 <= row["seconds"] < 60
    for job in fleet.slices:
        assert json.loads((job.report / "report.json").read_text())["seconds"] < 300


def test_the_artifacts_have_each_hub(fleet: Fleet) -> None:
    for job in (*fleet.slices, fleet.merged):
        stats = job.artifacts["verify"]
        assert len(json.dumps(job.artifacts)) <= LONGEST_ARTIFACT
        assert stats["left_out"] == 0
        rows = {host: text for hosts in stats["hubs"].values() for host, text in hosts.items()}
        assert len(rows) == (SIZE if job is fleet.merged else SIZE / SLICES)
    failed = fleet.merged.artifacts["verify"]["hubs"]["failed"]
    beginnings = {
        "hub-far-away": "- host_unreachable - ",
        "hub-no-room0": "start start spawn_failed 6.1.1 ",
        "hub-refused0": "hub unreachable - ",
        "hub-silent-0": "hub timeout - ",
    }
    assert failed.keys() == beginnings.keys()
    assert all(text.startswith(beginnings[host]) for host, text in failed.items())


def test_no_token_is_shown(fleet: Fleet) -> None:
    tokens = fleet.tokens
    shown = [
        (job.folder.name, where)
        for job in (*fleet.slices, fleet.merged)
        for where, text in job.texts.items()
        if any(token in text for token in tokens)
    ]
    assert shown == []


def test_no_server_is_left(fleet: Fleet) -> None:
    assert {user: found for hub, user in fleet.accounts.values() if (found := servers(hub, user))} == {}
    for hub in {hub.url: hub for hub, _user in fleet.accounts.values()}.values():
        users = {user["name"]: user for user in api_request(hub, "GET", "users")}
        assert not [name for name in users if name.startswith("fleet-user") and users[name]["servers"]]


def test_a_slice_that_died_is_not_green(fleet: Fleet, tmp_path: Path) -> None:
    """Its report is gone, because the role removes it at its beginning."""
    reports = fleet.slices[0].report.parent
    shutil.copytree(reports, tmp_path / "reports")
    died = fleet.slices[1]
    os.unlink(tmp_path / "reports" / died.report.name / "report.json")
    done = run_playbook(
        MERGE, folder=tmp_path, hosts={host: {} for host in fleet.hosts},
        variables={"verify_reports": ["reports"], "verify_report_dir": "merged"},
    )  # fmt: skip
    assert done.status == 2
    hubs = json.loads((tmp_path / "merged/report.json").read_text())["hubs"]
    missing = {hub["host"] for hub in hubs if hub["not_verified"] == "no_report"}
    assert missing == {*slice_hosts(fleet.hosts, 2, SLICES)}
    assert {hub["verdict"] for hub in hubs if hub["host"] in missing} == {"failed"}
