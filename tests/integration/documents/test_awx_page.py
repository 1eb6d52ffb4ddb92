# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide on AWX: a reader writes the declaration and runs the commands, with a stand-in of AWX's API."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from support.awx import awx_environment, changes, find, names_of
from support.documents import Block, blocks
from support.fakes.fake_awx import FakeAwx
from support.hubs import REPOSITORY, venv
from support.playbooks import ProgramResult, bare_environment, run_playbook, run_program

PAGE = "docs/docsite/rst/awx.rst"
VAULT = {
    "vault_verify_teaching": "verify-token-of-teaching",
    "vault_verify_research": "verify-token-of-research",
    "vault_upgrade_teaching": "upgrade-token-of-teaching",
    "vault_upgrade_research": "upgrade-token-of-research",
    "vault_slack_token": "xoxb-of-a-test",
}
RESOURCES = (
    "organizations", "credential_types", "credentials", "execution_environments", "projects", "inventories", "hosts",
    "notification_templates", "job_templates", "workflow_job_templates", "workflow_job_template_nodes", "schedules",
)  # fmt: skip


def find_block(has: str) -> Block:
    [found] = [block for block in blocks(PAGE) if has in block.code]
    return found


def links(awx: FakeAwx, node: str) -> dict[str, list[str]]:
    kinds = ("success", "failure", "always")
    found = {kind: awx.linked("workflow_job_template_nodes", node, f"{kind}_nodes") for kind in kinds}
    return {kind: sorted(names) for kind, names in found.items() if names}


def test_the_declaration(tmp_path: Path) -> None:
    (tmp_path / "awx.yml").write_text(find_block("awx_hubs:").code)
    (tmp_path / "vault.yml").write_text(json.dumps(VAULT))
    commands = find_block("-e @vault.yml --check").code.splitlines()
    assert [command.endswith("--check") for command in commands] == [True, False]

    with FakeAwx() as awx:

        def run(command: str) -> ProgramResult:
            program, *arguments = command.split()
            programs = venv("awx") / "bin"
            env = bare_environment(tmp_path, programs) | awx_environment(awx)
            return run_program([programs / program, *arguments], tmp_path, env)

        predicted = run(commands[0])
        assert changes(predicted) > 0
        assert "workflow_job_template Upgrade the hubs" in predicted.stdout
        assert awx.writes == []

        assert changes(run(commands[1])) > 0
        names = {resource: names_of(awx, resource) for resource in RESOURCES}
        assert "Hubs" in names["organizations"]
        assert {"JupyterHub token", "JupyterHub tokens"} <= {*names["credential_types"]}
        assert names["hosts"] == ["research", "teaching"]
        templates = ["Compare", "Cull", "Cull (check)", "Drain", "Restore", "Snapshot", "Verify"]
        assert names["job_templates"] == templates
        assert names["workflow_job_templates"] == ["Upgrade the hubs"]
        assert {"Verify: schedule", "Cull: schedule"} <= {*names["schedules"]}
        credential = awx.stored("credentials", "JupyterHub tokens for verification")
        assert json.loads(credential["inputs"]["tokens"]) == {
            "teaching": "verify-token-of-teaching",
            "research": "verify-token-of-research",
        }
        # What a person sees in AWX has no secret.
        assert not any(secret in json.dumps([*map(awx.items, RESOURCES)]) for secret in VAULT.values())
        assert awx.linked("job_templates", "Verify", "credentials") == ["JupyterHub tokens for verification"]
        assert awx.linked("job_templates", "Verify", "notification_templates_error") == ["Hub team on Slack"]
        verify = find(awx, "job_templates", "Verify")
        assert verify["playbook"] == "playbooks/verify.yml"
        assert json.loads(verify["extra_vars"]) == {"verify_report_dir": "/var/lib/hubops/verify-report"}
        # The project is this repository.
        paths = {item["name"]: item["playbook"] for item in awx.items("job_templates")}
        assert [path for path in paths.values() if not (REPOSITORY / path).exists()] == []
        nodes = ("snapshot", "drain", "approval", "verify", "compare", "restore", "restore without upgrade")
        assert {node: links(awx, node) for node in nodes} == {
            "snapshot": {"success": ["drain"]},
            "drain": {"success": ["approval"]},
            "approval": {"success": ["verify"], "failure": ["restore without upgrade"]},
            "verify": {"success": ["restore"], "always": ["compare"]},
            "compare": {"success": ["restore"]},
            "restore": {},
            "restore without upgrade": {},
        }

        written = len(awx.writes)
        again = run(commands[1])
        assert changes(again) == 0
        assert awx.writes[written:] == []
        assert not any(secret in predicted.output + again.output for secret in VAULT.values())


def test_the_readme_of_the_role(tmp_path: Path) -> None:
    [block] = blocks("roles/awx/README.md")
    (tmp_path / "playbook.yml").write_text(block.code)
    (tmp_path / "verify-bot.token").write_text("token-of-a-test\n")
    with FakeAwx() as awx:
        env, programs = awx_environment(awx), venv("awx") / "bin"
        result = run_playbook(tmp_path / "playbook.yml", folder=tmp_path, env=env, bin_folder=programs)
        assert changes(result) > 0
        assert awx.stored("credentials", "JupyterHub token for verification")["inputs"] == {"token": "token-of-a-test"}
        assert names_of(awx, "job_templates") == ["Verify"]


def test_the_execution_environment(tmp_path: Path) -> None:
    """Only `create` runs here, because `build` needs a container engine. `build` begins with it."""
    block = find_block("ansible-builder build")
    assert "--tag registry.example.org/hubops:1.0.0" in block.code
    definition, programs = REPOSITORY / "execution-environment.yml", venv("builder") / "bin"
    env = bare_environment(tmp_path, programs)
    create = [programs / "ansible-builder", "create", "--file", definition, "--context", "context"]
    created = run_program(create, tmp_path, env)
    assert created.status == 0, created.output
    galaxy = yaml.safe_load((tmp_path / "context/_build/requirements.yml").read_text())
    assert [each["name"] for each in galaxy["collections"]] == ["hubops.jupyterhub", "awx.awx"]
    [file] = [path for path in (tmp_path / "context").iterdir() if path.is_file()]  # for docker or for podman
    assert "ansible-core>=2.16" in file.read_text()
    # What a build finds out about the collection when it has installed it.
    collections = tmp_path / "installed/ansible_collections/hubops/jupyterhub"
    (collections / "meta").mkdir(parents=True)
    for name in ("meta/execution-environment.yml", "meta/ee-requirements.txt", "galaxy.yml"):
        (collections / name).write_text((REPOSITORY / name).read_text())
    found = run_program([programs / "ansible-builder", "introspect", tmp_path / "installed"], tmp_path, env)
    assert found.status == 0, found.output
    requirements = yaml.safe_load(found.stdout)["python"]
    assert [requirement.split(">")[0] for requirement in requirements] == ["requests", "websocket-client"]
