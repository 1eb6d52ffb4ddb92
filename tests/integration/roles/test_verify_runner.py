# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role verify in ansible-runner, as AWX runs its jobs: a job is transmitted, worked on elsewhere, and processed.

AWX shows the events of a job to everybody who may see the job, and passes its artifacts on to workflows and
notifications.
"""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path

import pytest
from support.fakes.misbehaving_hub import Answer, Request, misbehaving_hub
from support.hubs import Hub
from support.playbooks import hub_environment, mint, servers
from support.runner_jobs import run_job
from support.service_accounts import logged, settle

VERIFY = "hubops.jupyterhub.verify"
# What a check knows of its own account must not show, either: each server finds its token in its home.
PRINT_TOKEN = "token = open('token').read()\nprint(token)\n"


def test_a_job_that_passes(real_hub: Hub, tmp_path: Path) -> None:
    token = mint(real_hub, "awx-passes")
    job = run_job(tmp_path, VERIFY, hub_environment(real_hub, token), {"verify_expected_version": "6.1"})
    assert (job.status, job.rc) == ("successful", 0), job.stdout
    assert set(job.artifacts) == {"verify"}
    verify = job.artifacts["verify"]
    assert set(verify) == {"verdict", "summary", "left_out", "hubs"}
    assert (verify["verdict"], set(verify["hubs"]["passed"])) == ("passed", {"the-hub"})
    assert verify["hubs"]["passed"]["the-hub"].startswith("6.1.")
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
    job = run_job(tmp_path, VERIFY, hub_environment(real_hub, tokens["awx-own"]), variables, "--cmdline=-vvvv")
    settle(real_hub)
    assert (job.status, job.rc) == ("failed", 2), job.stdout
    verify = job.artifacts["verify"]
    assert (verify["verdict"], set(verify["hubs"]["failed"])) == ("failed", {"the-hub"})
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
    job = run_job(tmp_path, VERIFY, env, {})
    assert (job.status, job.rc) == ("failed", 2), job.stdout
    verify = job.artifacts["verify"]
    assert (verify["verdict"], set(verify["hubs"]["failed"])) == ("failed", {"the-hub"})
    assert job.find("ab" * 16) == []


def test_a_job_that_sends_its_report_shows_no_secret(real_hub: Hub, tmp_path: Path) -> None:
    """Neither in its events, nor in the command line of a process that runs while the server gets a file."""
    token = mint(real_hub, "awx-sends")
    secrets = {name: f"{name}-{'ab' * 8}" for name in ("path", "query", "header", "password")}
    command_lines = set[str]()

    def behave(request: Request) -> Answer:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                command_lines.add(path.read_bytes().decode(errors="replace"))
        if "junit" in request.path:
            return Answer(b"<Code>NoSuchKey</Code>" + request.path.encode(), 404)
        return Answer(request.path.encode(), 503)

    with misbehaving_hub(behave) as fake:
        uploads = [
            {"file": file, "url": f"{fake.url}{secrets['path']}/{file}?{secrets['query']}", "user": "reporter",
             "password": secrets["password"], "headers": {"X-Key": secrets["header"]}}
            for file in ("index.html", "junit.xml")
        ]  # fmt: skip
        variables = {"verify_checks": [], "verify_uploads": uploads, "verify_upload_pause": 0}
        job = run_job(tmp_path, VERIFY, hub_environment(real_hub, token), variables, "--cmdline=-vvvv")
    assert (job.status, job.rc) == ("failed", 2), job.stdout
    assert job.artifacts["verify"]["verdict"] == "passed"
    place = fake.url.rstrip("/")
    assert f"{place} answered 503 Service Unavailable to the PUT of index.html, 4 times." in job.stdout
    assert f"{place} answered 404 Not Found (NoSuchKey) to the PUT of junit.xml." in job.stdout
    assert [secrets["path"] in one.path for one in fake.requests] == [True] * 5
    secrets["basic"] = base64.b64encode(f"reporter:{secrets['password']}".encode()).decode()
    assert {one.token for one in fake.requests} == {f"Basic {secrets['basic']}"}
    places = {name: job.find(secret) for name, secret in secrets.items()}
    assert not any(places.values()), places
    assert any("ansible-playbook" in line for line in command_lines)
    assert [line for line in command_lines if any(secret in line for secret in secrets.values())] == []
