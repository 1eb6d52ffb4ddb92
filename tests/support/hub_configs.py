# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role service_account writes for the hub's configuration, and how hubs read what roles write.

rendered = render(folder, [{"user": "verify-bot"}], hub=hub)
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
from support.playbooks import Played, hub_environment, play

# The launcher reads the configuration of tests by itself, and has no load_subconfig for it.
LOADER = """
import os
from traitlets.config.loader import PyFileConfigLoader

def load_subconfig(path):
    c.merge(PyFileConfigLoader(os.path.basename(path), path=os.path.dirname(path)).load_config())

"""
PLAY = """
- name: Write the configuration of a hub
  hosts: "{{ hosts_of_it | default('localhost') }}"
  gather_facts: false
  vars_files: [accounts.yml]
  tasks:
    - name: Ask what the hub is
      hubops.jupyterhub.hub_info:
      register: asked
      when: about is not defined

    - name: Write it
      ansible.builtin.include_role:
        name: hubops.jupyterhub.service_account
        tasks_from: config
      vars:
        service_account_hub: "{{ {'hub': about} if about is defined else asked }}"
"""


@dataclass(frozen=True)
class Rendered:
    """The two files, and what the run that wrote them said."""

    folder: Path
    played: Played

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
        return subconfig(self.config)

    def as_values(self, secrets: dict[str, str] | None = None, extra: dict[str, str] | None = None) -> str:
        return values(self.values, secrets or {}, extra or {})


def subconfig(snippet: Path) -> str:
    """Configuration that loads the snippet as load_subconfig does: by a loader whose `c` is empty, then merged."""
    return f"""
from traitlets.config.loader import PyFileConfigLoader

c.merge(PyFileConfigLoader({snippet.name!r}, path={str(snippet.parent)!r}).load_config())
"""


def values(file: Path, secrets: dict[str, str], extra: dict[str, str]) -> str:
    """Configuration that takes the values as the chart does, beside more entries of extraConfig."""
    return f"""
import sys

sys.path.append({str(REPOSITORY / "tests")!r})
from support.fakes import z2jh_stand_in

z2jh_stand_in.apply(c, {str(file)!r}, {secrets!r}, {extra!r})
"""


def unsafe(name: str) -> str:
    """As YAML that Ansible takes for data: what is in it might be a template. (The tag makes a boolean of "yes".)"""
    return "!unsafe " * ("{" in name) + yaml.safe_dump(name, default_style='"', width=float("inf")).strip()


def render(
    folder: Path,
    accounts: Sequence[dict[str, Any]],
    *arguments: str,
    hub: Hub | None = None,
    token: str = "",
    hosts: dict[str, dict[str, Any]] | None = None,
    **variables: Any,
) -> Rendered:
    """Run the role's tasks. Without a hub the variable ``about`` says what hub_info would tell of it."""
    declared = [
        "{"
        + ", ".join(f"{key}: {unsafe(value) if key == 'user' else json.dumps(value)}" for key, value in one.items())
        + "}"
        for one in accounts
    ]
    (folder / "accounts.yml").write_text("service_accounts:\n" + "".join(f"  - {one}\n" for one in declared))
    (folder / "render.yml").write_text(PLAY)
    rendered = {"service_account_config_path": "service_accounts.py", "service_account_values_path": "values.yaml"}
    given = {name: str(folder / file) for name, file in rendered.items()}
    given |= ({"hosts_of_it": "all"} if hosts else {}) | variables
    env = hub_environment(hub, token or hub.admin_token) if hub else None
    played = play("render.yml", *arguments, folder=folder, variables=given, env=env, hosts=hosts)
    return Rendered(folder, played)
