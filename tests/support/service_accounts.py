# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks of the role service_account in a folder of their own, and what they leave at a hub and on disk.

site = Site(hub, tmp_path)
site.run("service_account", accounts=site.everywhere("bot"))
site.works("bot")
"""

from __future__ import annotations

import base64
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml
from support.hubs import Hub
from support.playbooks import (
    ProgramResult,
    ansible_bin,
    api_request,
    bare_environment,
    hub_environment,
    run_forked,
    run_playbook,
)

PLUGINS = Path(__file__).resolve().parent / "ansible"
NOTE = "hubops.jupyterhub service account"
MARK = re.compile(r" \[hubops [0-9a-f]{12}-[0-9a-f]{8}\]$")
LOOK = {"look": "of-a-test"}
PASSWORD = 'nobody\'s "own" words'
STORE = """
- name: Keep the secret of {{ service_account.user }}
  ansible.builtin.copy:
    dest: "SITE/store/{{ service_account.user }}"
    content: "{{ service_account_new_secret }}"
    mode: "0600"
  no_log: true
"""


def passed(played: ProgramResult, changed: int | None = None, host: str = "localhost") -> None:
    """The run ended well; with so many tasks that changed something, or at least one where that is None."""
    assert played.status == 0, played.output
    found = played.recap[host]["changed"]
    assert found > 0 if changed is None else found == changed, played.output


def settle(hub: Hub) -> None:
    """Have all that was answered so far in the hub's log: it may log a request a moment after its answer, but before
    it takes up another one."""
    for _look in range(2):
        requests.get(hub.api, params=LOOK, timeout=60).raise_for_status()


def logged(hub: Hub) -> int:
    """A place in the hub's log."""
    settle(hub)
    return hub.log.stat().st_size


def asked(hub: Hub, position: int) -> list[str]:
    """What the hub was asked since this place in its log. Our own look at it is among that."""
    settle(hub)
    log = hub.log.read_bytes()[position:].decode()
    return re.findall(r"\b(?:GET|HEAD|POST|PUT|PATCH|DELETE) /\S*hub/api\S*", log)


def writes(hub: Hub, position: int) -> list[str]:
    """What the hub was asked to change since this place in its log."""
    return [request for request in asked(hub, position) if not request.startswith(("GET ", "HEAD "))]


def tokens(hub: Hub, user: str) -> list[dict[str, Any]]:
    found = api_request(hub, "GET", f"users/{user}/tokens")["api_tokens"]
    assert isinstance(found, list)
    return found


def exists(hub: Hub, user: str) -> bool:
    return requests.get(f"{hub.api}/users/{user}", headers=hub.headers, timeout=60).ok


def whose(hub: Hub, secret: str) -> str | None:
    """The owner of the token, None where it does not work."""
    answer = requests.get(f"{hub.api}/user", headers={"Authorization": f"token {secret}"}, timeout=60)
    return str(answer.json()["name"]) if answer.ok else None


def kubernetes(calls: Path) -> dict[str, str]:
    """The environment in which kubernetes.core is a recorder, which writes into this file.

    It is found at one and the same place in all runs: they share what Ansible has loaded.
    """
    found = f"{os.environ['ANSIBLE_COLLECTIONS_PATH']}:{PLUGINS / 'fake_kubernetes_collection'}"
    return {"ANSIBLE_COLLECTIONS_PATH": found, "RECORDED_KUBERNETES": str(calls)}


@dataclass(frozen=True)
class Site:
    """A folder in which playbooks run: with a vault's password, a folder for a store, and a recorder."""

    hub: Hub
    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "store").mkdir()
        (self.folder / "password").write_text(PASSWORD + "\n")
        (self.folder / "keep.yml").write_text(STORE.replace("SITE", str(self.folder)))

    def run(
        self,
        playbook: str,
        *arguments: str,
        accounts: list[dict[str, Any]] | None = None,
        token: str | None = None,
        hosts: dict[str, dict[str, Any]] | None = None,
        env: dict[str, str] | None = None,
        **variables: Any,
    ) -> ProgramResult:
        """A playbook of the collection, or a file, with the admin's token where no other one is given."""
        password = f"{{{{ lookup('ansible.builtin.file', '{self.folder}/password') }}}}"
        (self.folder / "variables.yml").write_text(
            yaml.safe_dump(
                {
                    # An extra variable would win over those of a host.
                    **({"service_account_vault_password": password} if hosts is None else {}),
                    **({"service_accounts": accounts} if accounts is not None else {}),
                    **variables,
                },
                sort_keys=False,
            )
        )
        name = playbook if playbook.endswith(".yml") else f"hubops.jupyterhub.{playbook}"
        return run_playbook(
            name, "-e", "@variables.yml", *arguments, folder=self.folder, hosts=hosts,
            env=hub_environment(self.hub, token or self.hub.admin_token) | kubernetes(self.calls) | (env or {}),
        )  # fmt: skip

    @property
    def calls(self) -> Path:
        """Where the recorder notes what it is asked to apply."""
        return self.folder / "calls"

    def everywhere(self, name: str, **more: Any) -> list[dict[str, Any]]:
        """Four accounts, one for each place where a token can be kept."""
        lookup = f"lookup('ansible.builtin.file', '{self.folder}/store/{name}-tasks')"
        runner: list[dict[str, Any]] = [
            {"keep": "file", "token_path": f"kept/{name}.token"},
            {"keep": "vault", "vault_path": f"kept/{name}.vault.yml", "vault_variable": f"{name}_token"},
            {
                "keep": "kubernetes",
                "manifest_path": f"kept/{name}.secret.yml",
                "kubernetes_namespace": "hub",
                "kubernetes_name": name,
            },
            {
                "keep": "tasks",
                "keep_tasks": "keep.yml",
                "secret": f"{{{{ {lookup} if '{self.folder}/store/{name}-tasks' is exists else '' }}}}",
            },
        ]
        return [{"user": f"{name}-{place['keep']}", **place, **more} for place in runner]

    def files(self, name: str) -> dict[str, Path]:
        """What `everywhere` keeps them in, by the user."""
        kept = self.folder / "kept"
        return {
            f"{name}-file": kept / f"{name}.token",
            f"{name}-vault": kept / f"{name}.vault.yml",
            f"{name}-kubernetes": kept / f"{name}.secret.yml",
            f"{name}-tasks": self.folder / "store" / f"{name}-tasks",
        }

    def secrets(self, name: str) -> dict[str, str]:
        """What is kept there, each read as whoever needs it would."""
        files = self.files(name)
        manifest = yaml.safe_load(files[f"{name}-kubernetes"].read_text())
        assert {key: manifest[key] for key in ("apiVersion", "kind", "type", "metadata")} == {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {"name": name, "namespace": "hub"},
        }
        return {
            f"{name}-file": files[f"{name}-file"].read_text().strip(),
            f"{name}-vault": self.unvaulted(files[f"{name}-vault"])[f"{name}_token"],
            f"{name}-kubernetes": base64.b64decode(manifest["data"]["token"]).decode(),
            f"{name}-tasks": files[f"{name}-tasks"].read_text(),
        }

    def unvaulted(self, path: Path) -> dict[str, str]:
        command = [ansible_bin() / "ansible-vault", "view", "--vault-password-file", self.folder / "password", path]
        viewed = run_forked(command, self.folder, bare_environment(self.folder))
        assert viewed.status == 0, viewed.output
        found = yaml.safe_load(viewed.stdout)
        assert isinstance(found, dict)
        return found

    def applied(self) -> list[dict[str, Any]]:
        """What the recorder was asked to apply, check mode included."""
        return [json.loads(line) for line in self.calls.read_text().splitlines()] if self.calls.exists() else []

    def secrets_of(self, name: str, keep: str) -> str:
        """What one of these places keeps, of an account that was declared without the others."""
        path = self.files(name)[f"{name}-{keep}"]
        if keep == "kubernetes":
            return base64.b64decode(yaml.safe_load(path.read_text())["data"]["token"]).decode()
        return path.read_text().strip()

    def works(self, name: str) -> dict[str, str]:
        """The kept secrets, each of which is its account's only token and works."""
        found = self.secrets(name)
        for user, secret in found.items():
            assert whose(self.hub, secret) == user
            assert len(tokens(self.hub, user)) == 1
        return found
