# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role awx, with the real modules of awx.awx and a stand-in of AWX's API."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from support.awx import changes, find, names_of, run_awx
from support.fakes.fake_awx import FakeAwx
from support.hubs import Hub, venv
from support.playbooks import mint, run_playbook
from support.runner_jobs import run_job

SECRETS = ("token-of-teaching", "password-of-a-test")
SMALL: dict[str, Any] = {
    "awx_organization": "Hubs",
    "awx_execution_environment": {"image": "hubops:1"},
    "awx_hubs": [
        {"name": "teaching", "url": "https://teaching.example.org/", "variables": {"verify_user_options": {"a": "b"}}}
    ],
    "awx_credentials": [{"name": "Tokens/50%+", "tokens": {"teaching": "token-of-teaching"}}],
    "awx_notification_templates": [
        {
            "name": "Chat",
            "notification_type": "webhook",
            "notification_configuration": {"url": "https://chat.example.org/", "password": "password-of-a-test"},
        }
    ],
    "awx_job_templates": [
        {
            "playbook": "verify",
            "credentials": ["Tokens/50%+"],
            "notification_templates_error": ["Chat"],
            "schedule": "DTSTART;TZID=Europe/Berlin:20260101T030000 RRULE:FREQ=DAILY;INTERVAL=1",
        }
    ],
}


def test_changes_and_removals(tmp_path: Path) -> None:
    """Each run writes what has changed in the declaration, and nothing else."""
    with FakeAwx() as awx:

        def written_by(declaration: dict[str, Any], *arguments: str) -> list[str]:
            before = len(awx.writes)
            expects_writes = "--check" not in arguments
            changed = changes(run_awx(awx, tmp_path, declaration, *arguments))
            found = [write.partition("/")[0] for write in awx.writes[before:]]
            assert bool(found) == bool(changed) or not expects_writes
            assert changed
            return found

        written_by(SMALL)

        second = copy.deepcopy(SMALL)
        second["awx_hubs"][0]["url"] = "https://teaching.example.org/jhub/"
        second["awx_notification_templates"][0]["notification_configuration"]["url"] = "https://chat.example.org/new"
        second["awx_job_templates"][0]["extra_vars"] = {"verify_expected_version": "6.1"}
        second["awx_job_templates"][0]["schedule"] = {
            "rrule": "DTSTART:20260101T030000Z RRULE:FREQ=WEEKLY;INTERVAL=1",
            "enabled": False,
        }
        second["awx_credentials"].append({"name": "Token", "token": "token-of-research"})
        second["awx_job_templates"].append({"playbook": "cull", "credentials": ["Token"], "name": "Stop idle servers"})
        assert written_by(second, "--check") == []
        assert written_by(second) == [
            "POST credentials", "PATCH notification_templates", "PATCH hosts", "PATCH job_templates",
            "POST job_templates", "POST job_templates", "POST job_templates", "POST job_templates", "PATCH schedules",
        ]  # fmt: skip
        assert awx.stored("credentials", "Token")["inputs"] == {"token": "token-of-research"}
        assert find(awx, "schedules", "Verify: schedule")["enabled"] is False

        # A new secret is sent when the user says so.
        third = copy.deepcopy(second)
        third["awx_credentials"][1]["token"] = "token-of-teaching"
        assert changes(run_awx(awx, tmp_path, third)) == 0
        assert written_by({**third, "awx_update_secrets": True})[0] == "PATCH credentials"
        assert awx.stored("credentials", "Token")["inputs"] == {"token": "token-of-teaching"}

        # What is absent goes, also if it is gone already.
        fourth = copy.deepcopy(third)
        fourth["awx_hubs"].append({"name": "old", "state": "absent"})
        fourth["awx_job_templates"][0]["schedule"]["state"] = "absent"
        fourth["awx_job_templates"][1]["state"] = "absent"
        fourth["awx_credentials"][1] = {"name": "Token", "token": "", "state": "absent"}
        fourth["awx_notification_templates"].append({"name": "never", "state": "absent"})
        assert written_by(fourth, "--check") == []
        assert written_by(fourth) == ["DELETE schedules", "DELETE job_templates", "DELETE credentials"]
        assert changes(run_awx(awx, tmp_path, fourth)) == 0

        # Somebody has removed the inventory by hand.
        whole = {**fourth, "awx_state": "absent"}
        assert set(written_by(whole)) == {
            "DELETE job_templates", "DELETE hosts", "DELETE inventories", "DELETE projects", "DELETE credentials",
            "DELETE notification_templates", "DELETE execution_environments",
        }  # fmt: skip
        assert changes(run_awx(awx, tmp_path, whole)) == 0
        assert "Hubs" in names_of(awx, "organizations")
        assert written_by({**whole, "awx_organization": {"name": "Hubs", "state": "absent"}}) == [
            "DELETE organizations"
        ]


def test_the_oldest_ansible_core(tmp_path: Path) -> None:
    """It would render the templates for AWX if they were not marked as unsafe."""
    declaration = copy.deepcopy(SMALL)
    declaration["awx_hubs"][0]["variables"] = {"greeting": {"__ansible_unsafe": "{{ for_awx }}"}}
    with FakeAwx() as awx:
        assert changes(run_awx(awx, tmp_path, declaration, bin_folder=venv("core-2.16") / "bin")) > 0
        messages = find(awx, "notification_templates", "Chat")["messages"]
        assert "{{ job.id }}" in messages["error"]["body"]
        ours = find(awx, "credential_types", "JupyterHub token")
        assert ours["injectors"] == {"env": {"JUPYTERHUB_API_TOKEN": "{{ token }}"}}
        assert "lookup(" in json.loads(find(awx, "inventories", "JupyterHubs")["variables"])["jupyterhub_token"]
        assert json.loads(find(awx, "hosts", "teaching")["variables"])["greeting"] == "{{ for_awx }}"
        assert changes(run_awx(awx, tmp_path, declaration, bin_folder=venv("core-2.16") / "bin")) == 0


def test_what_others_have(tmp_path: Path) -> None:
    """The role leaves it: an organization, an execution environment, and objects with the same names elsewhere."""
    declaration = copy.deepcopy(SMALL)
    declaration["awx_execution_environment"] = {"name": "AWX EE (latest)"}
    declaration["awx_organization"] = "Default"
    with FakeAwx() as awx:
        before = names_of(awx, "organizations")
        assert "Default" in before
        assert changes(run_awx(awx, tmp_path, declaration)) > 0
        assert names_of(awx, "organizations") == before
        assert not [write for write in awx.writes if "execution_environments" in write or "organizations" in write]
        others = copy.deepcopy(declaration)
        others["awx_organization"] = "Others"
        others["awx_hubs"][0]["url"] = "https://others.example.org/"
        assert changes(run_awx(awx, tmp_path, others)) > 0
        assert names_of(awx, "hosts") == ["teaching", "teaching"]
        assert changes(run_awx(awx, tmp_path, declaration)) == 0


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"awx_organization": ""}, "awx_organization is missing."),
        ({"awx_hubs": [{"name": "teaching"}]}, "awx_hubs, 'teaching' has no url."),
        ({"awx_job_templates": [{"playbook": "verfy"}]}, "awx_job_templates, entry 1 needs a playbook."),
        ({"awx_job_templates": [{"playbook": "drain"}]}, "Set awx_shared_dir"),
        ({"awx_connection": {"controller_url": "x"}}, "awx_connection.controller_url. Supported parameters include"),
    ],
)
def test_a_mistake_in_the_declaration(tmp_path: Path, variables: dict[str, Any], sentence: str) -> None:
    with FakeAwx() as awx:
        result = run_awx(awx, tmp_path, {**SMALL, **variables})
        assert result.status == 2
        assert sentence in " ".join(result.output.split())
        assert awx.writes == []
        assert not any(secret in result.output for secret in SECRETS)


def test_awx_refuses(tmp_path: Path) -> None:
    """The failure names the object, and no secret shows with as much output as Ansible can give."""
    declaration = copy.deepcopy(SMALL)
    declaration["awx_notification_templates"][0]["notification_configuration"]["http_method"] = 7
    with FakeAwx() as awx:
        result = run_awx(awx, tmp_path, declaration, "-vvvv")
    assert result.status == 2
    assert "AWX refuses the notification template 'Chat'" in result.output
    assert "Correct it in awx_notification_templates." in result.output
    assert not any(secret in result.output for secret in SECRETS)
    with FakeAwx(read_only=True) as awx:
        result = run_awx(awx, tmp_path, SMALL, "-vvvv")
    assert result.status == 2
    assert "permission" in result.output
    assert not any(secret in result.output for secret in SECRETS)


def test_awx_is_not_there_or_refuses_the_token(tmp_path: Path) -> None:
    with FakeAwx() as awx:
        result = run_awx(awx, tmp_path, {**SMALL, "awx_connection": {"controller_oauthtoken": "wrong-token-of-a-test"}})
        assert result.status == 2
        assert "401" in result.output
        assert result.output.count("fatal:") + result.output.count("failed: [") == 1
        assert "wrong-token-of-a-test" not in result.output
    result = run_awx(awx, tmp_path, SMALL)
    assert result.status == 2
    assert "Connection refused" in result.output
    assert result.output.count("fatal:") + result.output.count("failed: [") == 1


def test_without_the_collection_awx_awx(tmp_path: Path) -> None:
    result = run_playbook("hubops.jupyterhub.awx", folder=tmp_path, variables=SMALL)
    assert result.status != 0
    assert "awx.awx" in result.output


def test_the_jobs_of_a_declaration_have_their_tokens(real_hub: Hub, tmp_path: Path) -> None:
    """A job gets its inventory and its credential as AWX gives them, and ansible-runner runs it as AWX does."""
    tokens = {"one": mint(real_hub, "awx-one"), "two": mint(real_hub, "awx-two")}
    declaration = {
        "awx_organization": "Hubs",
        "awx_hubs": [{"name": name, "url": real_hub.url} for name in ("one", "two", "three")],
        "awx_credentials": [{"name": "Tokens", "tokens": tokens}],
        "awx_job_templates": [{"playbook": "verify", "credentials": ["Tokens"], "job_slice_count": 2}],
        "awx_shared_dir": str(tmp_path / "shared"),
    }
    with FakeAwx() as awx:
        assert changes(run_awx(awx, tmp_path, declaration)) > 0
        of_all = json.loads(find(awx, "inventories", "JupyterHubs")["variables"])
        hosts = {host["name"]: {**of_all, **json.loads(host["variables"])} for host in awx.items("hosts")}
        kind = find(awx, "credential_types", "JupyterHub tokens")["injectors"]
        secret = awx.stored("credentials", "Tokens")["inputs"]["tokens"]
        extra_vars = json.loads(find(awx, "job_templates", "Verify")["extra_vars"])
    assert kind == {"file": {"template": "{{ tokens }}"}, "env": {"JUPYTERHUB_TOKENS_FILE": "{{ tower.filename }}"}}
    injected = tmp_path / "injected"
    injected.write_text(secret)
    env = {"JUPYTERHUB_TOKENS_FILE": str(injected)}
    report = tmp_path / "shared/verify-slices" / min(hosts)  # each slice has a folder by the name of its first host
    variables = {**extra_vars, "verify_report_dir": None}
    job = run_job(
        tmp_path, "hubops.jupyterhub.verify", env, variables, hosts=dict(sorted(hosts.items())), report=report
    )
    assert job.rc == 2, job.stdout
    assert (report / "index.html").exists()
    hubs = job.artifacts["verify"]["hubs"]
    assert ({*hubs["passed"]}, {*hubs["failed"]}) == ({"one", "two"}, {"three"})
    assert "The credential of the job has no token for the host three. Add one." in job.stdout
    assert not any(job.find(token) for token in tokens.values())
