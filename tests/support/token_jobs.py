# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the jobs of the guide on service accounts that renew tokens, each in a folder of its own, as AWX does.

jobs = TokenJobs(tmp_path, start_two_hubs(pool))
jobs.project["tokens.yml"] = take_block("tokens.yml", number)
done = jobs.run("tokens.yml", {"JUPYTERHUB_API_TOKEN": SERVICE_TOKEN})
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from support.documents import blocks
from support.hub_clock import CLOCK_CONFIG, let_time_pass
from support.hubs import Hub, HubPool
from support.playbooks import ProgramResult, run_playbook
from support.service_accounts import tokens, whose

SERVICE_TOKEN = "5e27ce0000000000000000000000beef"
# What service_account_config_path gives to the service: it may create this account, and mint its tokens.
SERVICE = f"""
c.JupyterHub.services = [{{"name": "hubops", "api_token": "{SERVICE_TOKEN}"}}]
c.JupyterHub.load_roles = [{{
    "name": "service-accounts-by-hubops",
    "services": ["hubops"],
    "scopes": ["read:hub", "admin:users!user=verify-bot", "tokens!user=verify-bot"],
}}]
"""
HOUR = 3600.0
DAY = 24 * HOUR
ACCOUNT = "verify-bot"


def start_two_hubs(pool: HubPool) -> dict[str, Hub]:
    """Two hubs that accept the same token of the service, by their names in the inventory. They have no account yet."""
    paths = {"teaching": "/teaching/", "research": "/research/"}
    started = {name: pool.start(base_url=path, config=CLOCK_CONFIG + SERVICE) for name, path in paths.items()}
    hubs = {name: future.result() for name, future in started.items()}
    for hub in hubs.values():
        requests.delete(f"{hub.api}/users/{ACCOUNT}", headers=hub.headers, timeout=120)
    return hubs


def take_section(title: str) -> dict[str, list[str]]:
    """The blocks of code below this heading in the section on AWX, by their languages."""
    found: dict[str, list[str]] = {}
    for block in blocks("docs/docsite/rst/service_accounts.rst"):
        if (block.section, block.subsection) == ("AWX", title):
            found.setdefault(block.language, []).append(block.code)
    return found


@dataclass
class TokenJobs:
    """Jobs with the hubs as the hosts of their inventory. ``project`` has the texts of the project's files."""

    folder: Path
    hubs: dict[str, Hub]
    bin_folder: Path | None = None
    project: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    """All that the jobs have shown."""

    def run(self, playbook: str, env: dict[str, str], *arguments: str, **inventory: Any) -> ProgramResult:
        """Run a job as loud as can be. ``inventory`` are the variables of the inventory."""
        folder = self.folder / f"job-{len(self.said)}"
        folder.mkdir()
        for name, text in self.project.items():
            (folder / name).write_text(text)
        # An execution environment has one Python. This machine may have several.
        python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        hosts = {name: {**python, **inventory, "hub_url": hub.url} for name, hub in self.hubs.items()}
        done = run_playbook(
            playbook, "-vvvv", "--diff", *arguments, folder=folder, env=env, hosts=hosts, bin_folder=self.bin_folder
        )
        self.said.append(done.output)
        return done

    def let_time_pass(self, seconds: float) -> None:
        for hub in self.hubs.values():
            let_time_pass(hub, seconds, ACCOUNT)

    def works(self, secrets: dict[str, str]) -> bool:
        """Whether each hub accepts its secret as the account's."""
        return [whose(hub, secrets[name]) for name, hub in self.hubs.items()] == [ACCOUNT] * len(self.hubs)

    def count_tokens(self) -> list[int]:
        """How many tokens the account has on each hub."""
        return [len(tokens(hub, ACCOUNT)) for hub in self.hubs.values()]

    def find_leaks(self, *secrets: str) -> list[str]:
        """The secrets that a job has shown."""
        return [secret for secret in secrets if any(secret in text for text in self.said)]


def changes(done: ProgramResult) -> list[int]:
    """How many tasks of a job that has passed changed something, for each hub."""
    assert done.status == 0, done.output
    return [done.recap[name]["changed"] for name in ("teaching", "research")]
