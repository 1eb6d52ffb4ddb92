# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role verify in ansible-runner, as AWX runs its jobs: a job is transmitted, worked on elsewhere, and processed.

AWX shows the events of a job to everybody who may see the job, and passes its artifacts on to workflows and
notifications.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.hubs import Hub, venv
from support.playbooks import DEADLINE, bare_environment, hub_environment, mint, servers
from support.service_accounts import logged, settle

PROJECT = "- import_playbook: hubops.jupyterhub.verify\n"
# What a check knows of its own account must not show, either: each server finds its token in its home.
PRINT_TOKEN = "token = open('token').read()\nprint(token)\n"


@dataclass(frozen=True)
class Job:
    """What is left of a job where AWX processes it."""

    folder: Path
    events: list[dict[str, Any]]
    stdout: str
    status: str
    rc: int
    report: Path

    @property
    def artifacts(self) -> dict[str, Any]:
        """The artifacts, which come with the event at the end of the playbook."""
        [stats] = [each for each in self.events if each["event"] == "playbook_on_stats"]
        artifacts = stats["event_data"]["artifact_data"]
        assert isinstance(artifacts, dict)
        return artifacts

    def find(self, secret: str) -> list[str]:
        """The places that show the secret."""
        texts = {f"event {each['counter']}, {each['event']}": json.dumps(each) for each in self.events}
        texts |= {"stdout": self.stdout, "artifacts": json.dumps(self.artifacts)}
        texts |= {path.name: path.read_text() for path in self.report.rglob("*") if path.is_file()}
        return [where for where, text in texts.items() if secret in text]


def run_job(folder: Path, env: dict[str, str], variables: dict[str, Any], *arguments: str) -> Job:
    """Run the three programs of a job, one after the other, each in a folder of its own."""
    given, worked, processed = (folder / name for name in ("given", "worked", "processed"))
    for part in ("project", "inventory", "env"):
        (given / part).mkdir(parents=True)
    worked.mkdir()
    programs = venv("runner") / "bin"
    outside = bare_environment(folder, programs)
    report = folder / "report"
    variables = {"verify_report_dir": str(report), **variables}
    (given / "project" / "verify.yml").write_text(PROJECT)
    (given / "inventory" / "hosts").write_text("the-hub\n")
    (given / "env" / "envvars").write_text(json.dumps({**outside, **env}))
    (given / "env" / "extravars").write_text(json.dumps(variables))
    sent, came = folder / "sent", folder / "came"

    def run(source: Path | None, target: Path | None, *command: str | Path) -> int:
        with (source or Path("/dev/null")).open("rb") as stdin, (target or Path("/dev/null")).open("wb") as stdout:
            done = subprocess.run(
                [programs / "ansible-runner", *command], check=False, stdin=stdin, stdout=stdout, cwd=folder,
                env=outside, timeout=DEADLINE,
            )  # fmt: skip
        return done.returncode

    assert run(None, sent, "transmit", given, "-p", "verify.yml", "-i", "job", *arguments) == 0
    status = run(sent, came, "worker", "--private-data-dir", worked)
    assert run(came, None, "process", processed, "-i", "job") == 0
    left = processed / "artifacts" / "job"
    events = [json.loads(path.read_text()) for path in (left / "job_events").glob("*.json")]
    assert events, (left / "stdout").read_text()
    events.sort(key=lambda each: each["counter"])
    stdout = (left / "stdout").read_text()
    assert int((left / "rc").read_text()) == status
    return Job(folder, events, stdout, (left / "status").read_text(), status, report)


def test_a_job_that_passes(real_hub: Hub, tmp_path: Path) -> None:
    token = mint(real_hub, "awx-passes")
    job = run_job(tmp_path, hub_environment(real_hub, token), {"verify_expected_version": "6.1"})
    assert (job.status, job.rc) == ("successful", 0), job.stdout
    assert set(job.artifacts) == {"verify"}
    verify = job.artifacts["verify"]
    assert set(verify) == {"verdict", "summary", "hubs"}
    assert (verify["verdict"], set(verify["hubs"])) == ("passed", {"the-hub"})
    assert verify["hubs"]["the-hub"]["verdict"] == "passed"
    assert json.loads((job.report / "report.json").read_text())["verdict"] == "passed"
    assert job.find(token) == []
    assert servers(real_hub, "awx-passes") == {}


def test_a_job_with_hostile_checks_shows_no_token(real_hub: Hub, tmp_path: Path) -> None:
    """The tokens are those of the job and of the checks, with as much output as Ansible can give."""
    users = ("awx-own", "awx-written", "awx-file", "awx-variable", "awx-refused")
    tokens = {user: mint(real_hub, user) for user in users}
    for user, token in tokens.items():
        home = real_hub.state / "homes" / user
        home.mkdir(parents=True)
        (home / "token").write_text(token)
    file = tmp_path / "token"
    file.write_text(f"{tokens['awx-file']}\n")
    refused = "ab" * 16
    code = [{"code": PRINT_TOKEN + "raise ValueError(token)"}]
    checks = [
        {"name": "own", "code": code},
        {"name": "written", "api_token": tokens["awx-written"], "code": code},
        {"name": "from a file", "api_token_file": str(file), "code": [{"code": PRINT_TOKEN, "expect": {}}]},
        {"name": "from a variable", "api_token_var": "bot_token", "code": code, "user_options": {"a": "b"}},
        {"name": "refused", "api_token": refused, "code": code},
    ]
    variables = {"verify_checks": checks, "bot_token": tokens["awx-variable"]}
    position = logged(real_hub)
    job = run_job(tmp_path, hub_environment(real_hub, tokens["awx-own"]), variables, "--cmdline=-vvvv")
    settle(real_hub)
    assert (job.status, job.rc) == ("failed", 2), job.stdout
    verify = job.artifacts["verify"]
    assert (verify["verdict"], verify["hubs"]["the-hub"]["verdict"]) == ("failed", "failed")
    found = json.loads((job.report / "report.json").read_text())
    [hub] = found["hubs"]
    verdicts = {check["name"]: check["verdict"] for check in hub["checks"]}
    raising = dict.fromkeys(("own", "written", "from a variable"), "failed")
    assert verdicts == {**raising, "from a file": "passed", "refused": "skipped"}
    assert "ValueError" in job.stdout
    places = {user: job.find(token) for user, token in {**tokens, "refused": refused}.items()}
    assert not any(places.values()), places
    log = real_hub.log.read_bytes()[position:].decode()
    assert not any(token in log for token in (*tokens.values(), refused))
    assert all(servers(real_hub, user) == {} for user in users)


@pytest.mark.parametrize("why", ["no token", "unreachable"])
def test_a_job_that_cannot_begin(real_hub: Hub, tmp_path: Path, why: str) -> None:
    env = hub_environment(real_hub, "ab" * 16)
    env = {"JUPYTERHUB_URL": real_hub.url} if why == "no token" else {**env, "JUPYTERHUB_URL": "http://127.0.0.1:9/"}
    job = run_job(tmp_path, env, {})
    assert (job.status, job.rc) == ("failed", 2), job.stdout
    verify = job.artifacts["verify"]
    assert (verify["verdict"], verify["hubs"]["the-hub"]["verdict"]) == ("failed", "failed")
    assert job.find("ab" * 16) == []
