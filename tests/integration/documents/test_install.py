# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as a user has it: built, installed, and run from where it is installed.

Each program is started, not forked, since it must find its collection by itself.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.hubs import Hub
from support.playbooks import (
    ProgramResult,
    ansible_bin,
    bare_environment,
    copy_checkout,
    hub_environment,
    mint,
    run_program,
    servers,
)

# The content that a user of the collection needs, and the files that every artifact has.
CONTENT = {
    ".ansible-lint", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "FILES.json", "LICENSE", "LICENSES",
    "MANIFEST.json", "README.md", "RELEASING.md", "REUSE.toml", "changelogs", "docs", "execution-environment.yml",
    "meta", "playbooks", "plugins", "roles",
}  # fmt: skip


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact as a developer builds it, from a checkout with other files in it."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    copy_checkout(source)
    for trace in (".build/hubs/6.1/stamp.json", ".git/config", ".ansible/cache", "hubops-jupyterhub-0.9.0.tar.gz"):
        (source / trace).parent.mkdir(parents=True, exist_ok=True)
        (source / trace).write_text("of a developer\n")
    command = [ansible_bin() / "ansible-galaxy", "collection", "build", "--output-path", folder, source]
    done = run_program(command, folder, bare_environment(folder))
    assert done.status == 0, done.output
    [built] = folder.glob("*.tar.gz")
    return built


@dataclass(frozen=True)
class Installed:
    """A folder in which the collection is installed, and programs that know nothing of the checkout."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "collections"

    def __call__(self, program: str, *arguments: str | Path, **more: str) -> ProgramResult:
        env = bare_environment(self.folder) | {"ANSIBLE_COLLECTIONS_PATH": str(self.path)} | more
        del env["ANSIBLE_CONFIG"]
        return run_program([ansible_bin() / program, *arguments], self.folder, env)


@pytest.fixture(scope="module")
def installed(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    here = Installed(tmp_path_factory.mktemp("user"))
    done = here("ansible-galaxy", "collection", "install", "--offline", "-p", here.path, artifact)
    assert done.status == 0, done.output
    return here


def test_the_artifact_has_only_what_a_user_needs(artifact: Path) -> None:
    with tarfile.open(artifact) as tar:
        names = [name for name in tar.getnames() if name]
    assert {name.partition("/")[0] for name in names} <= CONTENT
    assert {"plugins", "roles", "playbooks", "meta", "docs", "LICENSE", "README.md"} <= set(names)
    assert "roles/local_hub/files/requirements-6.1.txt" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".tar.gz"))]


def test_verify_from_the_installed_collection(installed: Installed, real_hub: Hub) -> None:
    token = mint(real_hub, "installed-user")
    done = installed("ansible-playbook", "hubops.jupyterhub.verify", "-vv", **hub_environment(real_hub, token))
    assert done.status == 0, done.output
    assert f"task path: {installed.path}/ansible_collections/hubops/jupyterhub/roles/verify/tasks/" in done.stdout
    report = json.loads((installed.folder / "verify-report" / "report.json").read_text())
    assert report["verdict"] == "passed"
    assert servers(real_hub, "installed-user") == {}


def test_service_account_from_the_installed_collection(installed: Installed, real_hub: Hub) -> None:
    env = hub_environment(real_hub, real_hub.admin_token)
    done = installed(
        "ansible-playbook", "hubops.jupyterhub.service_account", "-e", "service_account_user=installed-bot", **env
    )
    assert done.status == 0, done.output
    assert (installed.folder / "localhost-installed-bot.token").stat().st_mode & 0o777 == 0o600


def test_ad_hoc(installed: Installed, real_hub: Hub) -> None:
    mint(real_hub, "somebody")
    arguments = ("localhost", "-m", "hubops.jupyterhub.hub_info", "-a", "gather=users")
    done = installed("ansible", *arguments, **hub_environment(real_hub, real_hub.admin_token))
    assert done.status == 0, done.output
    said, _sign, answer = done.stdout.partition(" => ")
    assert said == "localhost | SUCCESS"
    found = json.loads(answer)
    assert "somebody" in [user["name"] for user in found["users"]]
    assert (found["hub"]["url"], found["hub"]["version"]) == (real_hub.url, real_hub.version)
    assert found["changed"] is False


def test_ad_hoc_without_a_token(installed: Installed, real_hub: Hub) -> None:
    arguments = ("localhost", "-m", "hubops.jupyterhub.hub_info", "-a", "gather=users")
    done = installed("ansible", *arguments, JUPYTERHUB_URL=real_hub.url)
    assert done.status == 2
    assert "JUPYTERHUB_API_TOKEN" in done.output
    assert "Traceback" not in done.output
