# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook merge_reports: one report of several, with the same files, and no hub is green that nobody verified."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.fakes.misbehaving_hub import Answer, misbehaving_hub
from support.hubs import REPOSITORY, Hub
from support.playbooks import ProgramResult, mint, oldest_ansible_bin, run_playbook

VERIFY = "hubops.jupyterhub.verify"
MERGE = "hubops.jupyterhub.merge_reports"
FILES = ["history.json", "index.html", "junit.xml", "metrics.prom", "report.json"]

_numbers = count(1)


def verify(folder: Path, place: str, hosts: dict[str, dict[str, Any]]) -> ProgramResult:
    """Verify the hubs of these hosts, with a report in this folder."""
    return run_playbook(VERIFY, folder=folder, hosts=hosts, variables={"verify_report_dir": place})


def merge(folder: Path, *arguments: str, hosts: Any = None, **variables: Any) -> ProgramResult:
    more = {"hosts": {host: {} for host in hosts}} if hosts else {}
    bin_folder = variables.pop("bin_folder", None)
    return run_playbook(
        MERGE, *arguments, folder=folder, bin_folder=bin_folder, **more,
        variables={"verify_reports": ["slices"], "verify_report_dir": "merged", **variables},
    )  # fmt: skip


def member(hub: Hub, **variables: Any) -> dict[str, Any]:
    token = mint(hub, f"merge{next(_numbers)}")
    return {"hub_url": hub.url, "verify_api_token": token, "verify_checks": [{"name": "start"}], **variables}


def read_report(folder: Path) -> dict[str, Any]:
    report = json.loads((folder / "merged/report.json").read_text())
    schema = json.loads((REPOSITORY / "docs/verify-report.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(report)
    assert isinstance(report, dict)
    return report


def verdicts(folder: Path) -> dict[str, str]:
    return {hub["host"]: hub["verdict"] for hub in read_report(folder)["hubs"]}


@pytest.mark.parametrize("ansible", ["this ansible-core", "2.16"])
def test_two_reports_become_one(ansible: str, hub_61: Hub, hub_55: Hub, tmp_path: Path) -> None:
    bin_folder = oldest_ansible_bin() if ansible == "2.16" else None
    broken = member(hub_61, verify_checks=[{"user_options": {"fail": "no room"}}])
    assert verify(tmp_path, "slices/one", {"good": member(hub_61), "other": member(hub_55)}).status == 0
    assert verify(tmp_path, "slices/two", {"broken": broken}).status == 2
    done = merge(tmp_path, hosts=["other", "good"], bin_folder=bin_folder, verify_merge_hosts=["good", "other"])
    assert done.status == 2
    assert "1 of 3 hubs are not verified: broken." in done.stdout
    assert "FAILED in " in done.stdout
    assert "report in merged" in done.stdout
    assert verdicts(tmp_path) == {"good": "passed", "other": "passed", "broken": "failed"}
    assert sorted(file.name for file in (tmp_path / "merged").iterdir()) == FILES
    for name in FILES:
        assert "broken" in (tmp_path / "merged" / name).read_text()
    # The broken hub is repaired.
    assert verify(tmp_path, "slices/two", {"broken": member(hub_61)}).status == 0
    done = merge(tmp_path, hosts=["broken", "other", "good"], bin_folder=bin_folder)
    assert done.status == 0, done.output
    assert verdicts(tmp_path) == {"broken": "passed", "other": "passed", "good": "passed"}
    history = read_report(tmp_path)["history"]
    assert {host: [run["verdict"] for run in runs] for host, runs in history.items()} == {
        "good": ["passed"], "other": ["passed"], "broken": ["failed", "passed"],
    }  # fmt: skip
    assert len(done.stdout.splitlines()) < 60


def test_the_statistics_are_those_of_all(hub_61: Hub, tmp_path: Path) -> None:
    verify(tmp_path, "slices/one", {"a": member(hub_61)})
    done = run_playbook(
        MERGE, folder=tmp_path, hosts={"a": {}, "killed": {}}, env={"ANSIBLE_SHOW_CUSTOM_STATS": "true"},
        variables={"verify_reports": ["slices"], "verify_report_dir": "merged"},
    )  # fmt: skip
    assert done.status == 2
    stats = json.loads(done.stdout.partition("CUSTOM STATS: ")[2].partition("RUN: ")[2])["verify"]
    assert (stats["verdict"], stats["hubs"]["failed"]) == ("failed", {"killed": "- no_report - 0.0"})
    assert stats["hubs"]["passed"]["a"].startswith(f"{hub_61.version} ")


def test_what_is_missing_old_or_damaged_is_never_green(hub_61: Hub, tmp_path: Path) -> None:
    assert verify(tmp_path, "slices/one", {"a": member(hub_61)}).status == 0
    assert merge(tmp_path).status == 0
    assert verdicts(tmp_path) == {"a": "passed"}
    done = merge(tmp_path, hosts=["a", "killed"])
    assert done.status == 2
    assert verdicts(tmp_path) == {"a": "passed", "killed": "failed"}
    done = merge(tmp_path, verify_merge_max_age="0.001s")
    assert done.status == 2
    assert [hub["not_verified"] for hub in read_report(tmp_path)["hubs"]] == ["old_report"]
    (tmp_path / "slices/two").mkdir()
    damaged = tmp_path / "slices/two/report.json"
    damaged.write_text((tmp_path / "slices/one/report.json").read_text()[:-300])
    for variables, says in (
        ({}, "slices/two/report.json is not JSON, or is not complete"),
        ({"verify_reports": ["slices/one", "slices/three*"]}, "there is no report at slices/three"),
        ({"verify_reports": []}, "verify_reports is empty"),
        ({"verify_reports": ["slices/one"], "verify_merge_max_age": "soon"}, "verify_merge_max_age: 'soon'"),
    ):
        done = merge(tmp_path, **variables)
        assert done.status == 2
        assert says in " ".join(done.stdout.split()), done.stdout
        # What is left is what tells that the last success is long ago.
        assert sorted(file.name for file in (tmp_path / "merged").iterdir()) == ["history.json", "metrics.prom"]
    damaged.unlink()
    assert merge(tmp_path).status == 0
    assert len(read_report(tmp_path)["history"]["a"]) == 1


def test_the_merged_report_is_sent(hub_61: Hub, tmp_path: Path) -> None:
    assert verify(tmp_path, "slices/one", {"a": member(hub_61)}).status == 0
    with misbehaving_hub(lambda request: Answer(b"", 404 if "junit" in request.path else 201)) as fake:
        uploads = [{"file": file, "url": f"{fake.url}{file}"} for file in ("report.json", "junit.xml")]
        done = merge(tmp_path, verify_uploads=uploads)
    assert done.status == 2
    assert "answered 404 Not Found to the PUT of junit.xml" in done.stdout
    assert json.loads(fake.requests[0].body) == read_report(tmp_path)
    assert verdicts(tmp_path) == {"a": "passed"}
    assert "verify_uploads" in merge(tmp_path, verify_uploads=[{"url": "no address"}]).stdout


def test_the_variables_are_validated(tmp_path: Path) -> None:
    done = run_playbook(MERGE, folder=tmp_path)
    assert done.status == 2
    assert "verify_reports" in done.stdout
    assert not (tmp_path / "verify-report").exists()


def test_in_check_mode_nothing_is_written(hub_61: Hub, tmp_path: Path) -> None:
    assert verify(tmp_path, "slices/one", {"a": member(hub_61)}).status == 0
    done = merge(tmp_path, "--check")
    assert done.status == 0, done.output
    assert "PASSED in " in done.stdout
    assert not (tmp_path / "merged").exists()
