# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide on service accounts, section AWX: a job keeps tokens in a repository, in an external store, in Kubernetes.

The repository is a real one. HashiCorp Vault and Kubernetes are stand-ins.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
import yaml
from support.fakes.fake_vault import FakeVault
from support.hubs import Hub, HubPool, venv
from support.playbooks import ProgramResult, ansible_bin, bare_environment, run_forked, run_program
from support.service_accounts import exists, kubernetes
from support.token_jobs import DAY, HOUR, SERVICE_TOKEN, TokenJobs, changes, start_two_hubs, take_section

PASSWORD = "of the vault"


@pytest.fixture
def hubs(pool: HubPool) -> dict[str, Hub]:
    return start_two_hubs(pool)


class Repository:
    """A bare repository of git. ``tokens`` are what is in its vaults."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path, self.mirror = folder / "tokens.git", folder / "mirror"
        (folder / "password").write_text(PASSWORD)
        self.git(folder, "init", "--bare", "--initial-branch=main", str(self.path))
        self.git(folder, "clone", str(self.path), str(self.mirror))
        self.commit("README.md")

    def git(self, where: Path, *words: str) -> str:
        identity = ("-c", "user.name=person", "-c", "user.email=person@example.org", "-c", "init.defaultBranch=main")
        done = run_program(["git", *identity, *words], where, bare_environment(self.folder))
        assert done.status == 0, done.output
        return done.stdout

    def commit(self, name: str) -> None:
        """Push another file, as somebody else does."""
        self.pull()
        (self.mirror / name).write_text("of somebody else\n")
        self.git(self.mirror, "add", name)
        self.git(self.mirror, "commit", "--message", name)
        self.git(self.mirror, "push", "origin", "HEAD:main")

    def pull(self) -> None:
        if self.git(self.folder, "ls-remote", "--heads", str(self.path)):
            self.git(self.mirror, "pull", "origin", "main")

    @property
    def tokens(self) -> dict[str, str]:
        self.pull()
        found = {}
        for path in self.mirror.glob("*.yml"):
            assert path.read_text().startswith("$ANSIBLE_VAULT;")
            command = [ansible_bin() / "ansible-vault", "view", "--vault-password-file", self.folder / "password", path]
            viewed = run_forked(command, self.folder, bare_environment(self.folder))
            found[path.stem] = yaml.safe_load(viewed.stdout)["verify_api_token"]
        return found

    @property
    def commits(self) -> int:
        return int(self.git(self.path, "rev-list", "--count", "main"))


def test_a_vault_in_a_repository(hubs: dict[str, Hub], tmp_path: Path) -> None:
    repository, jobs = Repository(tmp_path), TokenJobs(tmp_path, hubs)
    [code] = take_section("A vault file in a repository")["yaml"]
    assert "git@git.example.org:hubs/tokens.git" in code
    assert "delay: 10" in code
    code = code.replace("git@git.example.org:hubs/tokens.git", str(repository.path)).replace("delay: 10", "delay: 0")
    password = tmp_path / "password.yml"
    password.write_text(f"service_account_vault_password: {PASSWORD}\n")
    command = [ansible_bin() / "ansible-vault", "encrypt", "--vault-password-file", "password", password]
    assert run_forked(command, tmp_path, bare_environment(tmp_path)).status == 0
    jobs.project = {"vault.yml": code, "password.yml": password.read_text()}

    def launch(**env: str) -> ProgramResult:
        env = {"JUPYTERHUB_API_TOKEN": SERVICE_TOKEN, **env}
        return jobs.run("vault.yml", env, "--vault-password-file", str(tmp_path / "password"))

    # Both hubs push at the same time, so one of them is refused at first.
    assert all(count > 0 for count in changes(launch()))
    first = repository.tokens
    assert jobs.works(first)
    before = repository.commits
    assert before == 3
    unchanged = launch()
    assert unchanged.status == 0
    assert repository.commits == before
    assert repository.tokens == first

    # The repository takes nothing: the old tokens work, and what was minted in vain is revoked later.
    jobs.let_time_pass(23 * DAY)
    hook = repository.path / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho closed for maintenance\nexit 1\n")
    hook.chmod(0o755)
    refused = launch()
    assert refused.status == 2
    assert "closed for maintenance" in refused.stdout
    assert repository.tokens == first
    assert jobs.works(first)
    hook.unlink()

    # Somebody pushes after the clone and before the push.
    programs = tmp_path / "programs"
    programs.mkdir()
    somebody = programs / "git"
    somebody.write_text(
        f"#!/bin/sh\nPATH={os.environ['PATH']}\n"
        f'if [ "$1" = push ] && mkdir {tmp_path}/pushed 2>/dev/null; then (\n'
        f"cd {repository.mirror} && echo x > late && git add late && git commit -qm late\n"
        "until git pull -q --rebase origin main && git push -q origin HEAD:main; do sleep 0.1; done\n"
        ') >&2; fi\nexec git "$@"\n'
    )
    somebody.chmod(0o755)
    overtaken = launch(PATH=f"{programs}:{bare_environment(tmp_path)['PATH']}")
    assert all(count > 0 for count in changes(overtaken))
    second = repository.tokens
    assert (repository.mirror / "late").exists()
    assert (tmp_path / "pushed").exists()
    assert not set(first.values()) & set(second.values())
    assert jobs.works(first)
    assert jobs.works(second)
    assert jobs.count_tokens() == [3, 3]
    jobs.let_time_pass(3 * HOUR)
    assert launch().status == 0
    assert jobs.count_tokens() == [1, 1]
    assert jobs.works(second)
    assert jobs.find_leaks(*first.values(), *second.values(), SERVICE_TOKEN, PASSWORD) == []
    # Nothing but the encrypted vaults was ever in the repository.
    history = repository.git(repository.path, "log", "--patch", "main")
    assert not [secret for secret in (*first.values(), *second.values(), PASSWORD) if secret in history]


def test_an_external_store(hubs: dict[str, Hub], tmp_path: Path) -> None:
    jobs = TokenJobs(tmp_path, hubs, venv("awx") / "bin")
    section = take_section("An external store")
    jobs.project = dict(zip(("tokens.yml", "keep.yml"), section["yaml"], strict=True))
    [packages] = (venv("awx") / "lib").glob("python3*/site-packages")
    with FakeVault() as vault:
        env = {
            "ANSIBLE_COLLECTIONS_PATH": f"{os.environ['ANSIBLE_COLLECTIONS_PATH']}:{packages}",
            "JUPYTERHUB_API_TOKEN": SERVICE_TOKEN, "VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token,
        }  # fmt: skip

        def launch() -> ProgramResult:
            return jobs.run("tokens.yml", env)

        def kept() -> dict[str, str]:
            return {name: vault.secrets[f"jupyterhub/{name}/verify-bot"][-1]["token"] for name in hubs}

        # Nothing is at the path yet, so a job cannot know whether the store keeps a token.
        unprepared = launch()
        assert unprepared.status == 2
        assert "Invalid or missing path" in unprepared.stdout
        assert not any(exists(hub, "verify-bot") for hub in hubs.values())
        [prepare] = section["shell"]
        for name in hubs:
            outside = bare_environment(tmp_path, venv("awx") / "bin") | env
            done = run_program(["sh", "-euc", prepare.replace("teaching", name)], tmp_path, outside)
            assert done.status == 0, done.output

        assert all(count > 0 for count in changes(launch()))
        first = kept()
        assert jobs.works(first)
        assert changes(launch()) == [0, 0]

        # The store does not answer, and then it refuses what is written: the old tokens work.
        jobs.let_time_pass(23 * DAY)
        for refusal, said in (("is_sealed", "Vault is sealed"), ("read_only", "Permission denied writing to")):
            setattr(vault, refusal, True)
            refused = launch()
            setattr(vault, refusal, False)
            assert refused.status == 2
            assert said in refused.stdout
            assert kept() == first
            assert jobs.works(first)
        assert all(count > 0 for count in changes(launch()))
        second = kept()
        assert jobs.works(first)
        jobs.let_time_pass(3 * HOUR)
        assert changes(launch()) == [1, 1]
        assert jobs.count_tokens() == [1, 1]
        assert jobs.works(second)
        assert {len(versions) for versions in vault.secrets.values()} == {3}
    assert jobs.find_leaks(*first.values(), *second.values(), SERVICE_TOKEN, vault.token) == []


def test_a_secret_of_kubernetes(hubs: dict[str, Hub], tmp_path: Path) -> None:
    jobs, calls = TokenJobs(tmp_path, hubs), tmp_path / "calls"
    section = take_section("A Secret of Kubernetes")
    jobs.project = dict(zip(("tokens.yml", "keep.yml"), section["yaml"], strict=True))

    def launch(**env: str) -> ProgramResult:
        return jobs.run("tokens.yml", {"JUPYTERHUB_API_TOKEN": SERVICE_TOKEN, **kubernetes(calls), **env})

    def kept() -> dict[str, str]:
        applied = [json.loads(line)["definition"] for line in calls.read_text().splitlines()]
        coded = {each["metadata"]["name"].removeprefix("hub-token-"): each["data"]["token"] for each in applied}
        return {name: base64.b64decode(text).decode() for name, text in coded.items()}

    assert all(count > 0 for count in changes(launch()))
    first = kept()
    assert jobs.works(first)
    assert changes(launch()) == [0, 0]
    jobs.let_time_pass(23 * DAY)
    refused = launch(REFUSING_KUBERNETES="1")
    assert refused.status == 2
    assert "Forbidden: secrets is forbidden." in refused.stdout
    assert kept() == first
    assert jobs.works(first)
    assert all(count > 0 for count in changes(launch()))
    second = kept()
    assert jobs.works(first)
    jobs.let_time_pass(3 * HOUR)
    assert changes(launch()) == [1, 1]
    assert jobs.count_tokens() == [1, 1]
    assert jobs.works(second)
    coded = [base64.b64encode(each.encode()).decode() for each in (*first.values(), *second.values())]
    assert jobs.find_leaks(*first.values(), *second.values(), *coded, SERVICE_TOKEN) == []
