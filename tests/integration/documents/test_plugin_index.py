# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's index lists what a user is meant to use, and nothing of the roles' own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.playbooks import ansible_bin, oldest_ansible_bin

COLLECTION = "hubops.jupyterhub"
FILTERS = [f"{COLLECTION}.printable"]


@pytest.fixture(params=["this-ansible", "oldest-ansible"])
def programs(request: pytest.FixtureRequest) -> Path:
    return oldest_ansible_bin() if request.param == "oldest-ansible" else ansible_bin()


def ansible_doc(programs: Path, *arguments: str) -> Any:
    command = [programs / "ansible-doc", *arguments, COLLECTION]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_ansible_doc_lists_only_public_filters(programs: Path) -> None:
    assert list(ansible_doc(programs, "--type", "filter", "--list", "--json")) == FILTERS


def test_the_documentation_that_sites_are_built_from_has_only_public_plugins(programs: Path) -> None:
    """antsibull-docs takes its index from this dump."""
    plugins = ansible_doc(programs, "--metadata-dump")["all"]
    assert list(plugins["filter"]) == FILTERS
    assert not [name for names in plugins.values() for name in names if name.split(".")[-1].startswith("_")]


def test_a_private_filter_works_all_the_same(programs: Path) -> None:
    message = "msg={{ {'mode': 'pass'} | hubops.jupyterhub.__private._idle_culler_complaints }}"
    command = [programs / "ansible", "localhost", "-m", "ansible.builtin.debug", "-a", message]
    assert '"msg": []' in subprocess.run(command, check=True, capture_output=True, text=True).stdout
