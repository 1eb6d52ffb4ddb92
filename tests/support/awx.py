# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs playbooks that use the collection awx.awx, which comes with the community package `ansible`.

with FakeAwx() as awx:
    result = run_awx(awx, tmp_path, {"awx_organization": "Hubs"}, "--check")
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from support.fakes.fake_awx import FakeAwx
from support.hubs import venv
from support.playbooks import ProgramResult, run_playbook


def awx_environment(awx: FakeAwx) -> dict[str, str]:
    """What AWX's own credential type for itself sets in a job, and where Ansible finds awx.awx."""
    [packages] = (venv("awx") / "lib").glob("python3*/site-packages")
    return {
        "ANSIBLE_COLLECTIONS_PATH": f"{os.environ['ANSIBLE_COLLECTIONS_PATH']}:{packages}",
        "CONTROLLER_HOST": awx.url,
        "CONTROLLER_OAUTH_TOKEN": awx.token,
    }


def run_awx(
    awx: FakeAwx, folder: Path, declaration: dict[str, Any], *arguments: str, bin_folder: Path | None = None
) -> ProgramResult:
    """Run the playbook of the role awx with this declaration.

    With ``-vvvv``, Ansible shows variables that are in its arguments, but not those of a file.
    """
    file = folder / "awx.json"
    file.write_text(json.dumps(declaration))
    return run_playbook(
        "hubops.jupyterhub.awx", "-e", f"@{file}", *arguments, folder=folder, env=awx_environment(awx),
        bin_folder=bin_folder or venv("awx") / "bin",
    )  # fmt: skip


def changes(result: ProgramResult) -> int:
    """The number of changes of a playbook on localhost, which must not have failed."""
    assert result.status == 0, result.output
    return result.recap["localhost"]["changed"]


def names_of(awx: FakeAwx, resource: str) -> list[str]:
    return sorted(item.get("name") or item["identifier"] for item in awx.items(resource))


def find(awx: FakeAwx, resource: str, name: str) -> dict[str, Any]:
    [found] = [item for item in awx.items(resource) if item["name"] == name]
    return found
