# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the hub configuration that the role service_account writes, and gives it to hubs as they read it.

rendered = render_config(folder, [{"user": "verify-bot"}], hub=hub)
with running_hub(folder, config=rendered.as_subconfig()) as hub:
    ...
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from support.hubs import REPOSITORY, Hub
from support.playbooks import ProgramResult, hub_environment, run_playbook

# The launcher reads a test's configuration with a loader of its own, which has no load_subconfig.
LOAD_SUBCONFIG = """
import os
from traitlets.config.loader import PyFileConfigLoader

def load_subconfig(path):
    c.merge(PyFileConfigLoader(os.path.basename(path), path=os.path.dirname(path)).load_config())

"""
PLAYBOOK = """
- name: Write the configuration of a hub
  hosts: "{{ config_hosts | default('localhost') }}"
  gather_facts: false
  vars_files: [accounts.yml]
  tasks:
    - name: Gather facts about the hub
      hubops.jupyterhub.hub_info:
      register: gathered
      when: about is not defined

    - name: Write the configuration
      ansible.builtin.include_role:
        name: hubops.jupyterhub.service_account
        tasks_from: config
      vars:
        service_account_hub: "{{ {'hub': about} if about is defined else gathered }}"
"""


@dataclass(frozen=True)
class RenderedConfig:
    """The two rendered files, and the output of the run that wrote them."""

    folder: Path
    played: ProgramResult

    @property
    def config(self) -> Path:
        return self.folder / "service_accounts.py"

    @property
    def values(self) -> Path:
        return self.folder / "values.yaml"

    @property
    def changed(self) -> int:
        assert self.played.status == 0, self.played.output
        return self.played.recap["localhost"]["changed"]

    def as_subconfig(self) -> str:
        return subconfig_code(self.config)

    def as_values(self, secrets: dict[str, str] | None = None, extra: dict[str, str] | None = None) -> str:
        return chart_values_code(self.values, secrets or {}, extra or {})


def subconfig_code(snippet: Path) -> str:
    """Configuration that loads the snippet as load_subconfig does: with an empty `c` that is then merged."""
    return f"""
from traitlets.config.loader import PyFileConfigLoader

c.merge(PyFileConfigLoader({snippet.name!r}, path={str(snippet.parent)!r}).load_config())
"""


def chart_values_code(file: Path, secrets: dict[str, str], extra: dict[str, str]) -> str:
    """Configuration that applies the chart's values. ``extra`` are more entries of hub.extraConfig."""
    return f"""
import sys

sys.path.append({str(REPOSITORY / "tests")!r})
from support.fakes import fake_z2jh

fake_z2jh.apply(c, {str(file)!r}, {secrets!r}, {extra!r})
"""


def unsafe_yaml(name: str) -> str:
    """The name as YAML that Ansible takes as data, since a name may look like a template.

    Only a name with a brace gets the tag !unsafe: it would turn "yes" into a boolean.
    """
    return "!unsafe " * ("{" in name) + yaml.safe_dump(name, default_style='"', width=float("inf")).strip()


def render_config(
    folder: Path,
    accounts: Sequence[dict[str, Any]],
    *arguments: str,
    hub: Hub | None = None,
    token: str = "",
    hosts: dict[str, dict[str, Any]] | None = None,
    **variables: Any,
) -> RenderedConfig:
    """Run the role's tasks. Without ``hub`` the variable ``about`` has what hub_info would return as `hub`."""
    declared = [
        "{"
        + ", ".join(
            f"{key}: {unsafe_yaml(value) if key == 'user' else json.dumps(value)}" for key, value in one.items()
        )
        + "}"
        for one in accounts
    ]
    (folder / "accounts.yml").write_text("service_accounts:\n" + "".join(f"  - {one}\n" for one in declared))
    (folder / "render.yml").write_text(PLAYBOOK)
    rendered = {"service_account_config_path": "service_accounts.py", "service_account_values_path": "values.yaml"}
    given = {name: str(folder / file) for name, file in rendered.items()}
    given |= ({"config_hosts": "all"} if hosts else {}) | variables
    env = hub_environment(hub, token or hub.admin_token) if hub else None
    played = run_playbook("render.yml", *arguments, folder=folder, variables=given, env=env, hosts=hosts)
    return RenderedConfig(folder, played)
