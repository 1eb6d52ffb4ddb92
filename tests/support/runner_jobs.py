# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs playbooks in ansible-runner, as AWX runs its jobs: a job is transmitted, worked on elsewhere, and processed.

job = run_job(tmp_path, "hubops.jupyterhub.verify", hub_environment(hub, token), variables={})
assert job.rc == 0, job.stdout
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.hubs import venv
from support.playbooks import DEADLINE, bare_environment

Hosts = dict[str, dict[str, Any]]


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

    @property
    def texts(self) -> dict[str, str]:
        """All that people may read of the job, by where it is."""
        texts = {f"event {each['counter']}, {each['event']}": json.dumps(each) for each in self.events}
        texts |= {"stdout": self.stdout, "artifacts": json.dumps(self.artifacts)}
        return texts | {path.name: path.read_text() for path in self.report.rglob("*") if path.is_file()}

    def find(self, secret: str) -> list[str]:
        """The places that show the secret."""
        return [where for where, text in self.texts.items() if secret in text]


def slice_hosts(hosts: Hosts, number: int, count: int) -> Hosts:
    """The hosts of one slice of a job, as AWX chooses them (`get_sliced_hosts` in its models/inventory.py)."""
    names = sorted(hosts)[number - 1 :: count]
    return {name: hosts[name] for name in names}


def run_job(
    folder: Path,
    playbook: str,
    env: dict[str, str],
    variables: dict[str, Any],
    *arguments: str,
    hosts: Hosts | None = None,
    report: Path | None = None,
) -> Job:
    """Run the three programs of a job, one after the other, each in a folder of its own.

    Without ``hosts`` there is one, without variables. ``report`` is the folder to which the job writes its report. A
    variable that is None is not set.
    """
    given, worked, processed = (folder / name for name in ("given", "worked", "processed"))
    for part in ("project", "inventory", "env"):
        (given / part).mkdir(parents=True)
    worked.mkdir()
    programs = venv("runner") / "bin"
    outside = bare_environment(folder, programs)
    report = report or folder / "report"
    (given / "project" / "job.yml").write_text(f"- import_playbook: {playbook}\n")
    # AWX writes the inventory as a program, too.
    found = {"the-hub": {}} if hosts is None else hosts
    inventory = {"all": {"hosts": [*found]}, "_meta": {"hostvars": found}}
    script = given / "inventory" / "hosts"
    script.write_text(f"#! /usr/bin/env python3\n# -*- coding: utf-8 -*-\nprint({json.dumps(inventory)!r})\n")
    script.chmod(0o700)
    (given / "env" / "envvars").write_text(json.dumps({**outside, **env}))
    given_variables = {"verify_report_dir": str(report), **variables}
    extra_vars = {name: value for name, value in given_variables.items() if value is not None}
    (given / "env" / "extravars").write_text(json.dumps(extra_vars))
    sent, came = folder / "sent", folder / "came"

    def run(source: Path | None, target: Path | None, *command: str | Path) -> int:
        with (source or Path("/dev/null")).open("rb") as stdin, (target or Path("/dev/null")).open("wb") as stdout:
            done = subprocess.run(
                [programs / "ansible-runner", *command], check=False, stdin=stdin, stdout=stdout, cwd=folder,
                env=outside, timeout=DEADLINE,
            )  # fmt: skip
        return done.returncode

    assert run(None, sent, "transmit", given, "-p", "job.yml", "-i", "job", *arguments) == 0
    status = run(sent, came, "worker", "--private-data-dir", worked)
    assert run(came, None, "process", processed, "-i", "job") == 0
    left = processed / "artifacts" / "job"
    events = [json.loads(path.read_text()) for path in (left / "job_events").glob("*.json")]
    assert events, (left / "stdout").read_text()
    events.sort(key=lambda each: each["counter"])
    stdout = (left / "stdout").read_text()
    assert int((left / "rc").read_text()) == status
    return Job(folder, events, stdout, (left / "status").read_text(), status, report)
