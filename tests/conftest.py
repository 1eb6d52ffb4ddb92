# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets plain pytest import the collection by Ansible's name for it, from a checkout at any path."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import fork_server

ROOT = Path(__file__).resolve().parent.parent

collections = subprocess.run([ROOT / "tools" / "link"], check=True, capture_output=True, text=True).stdout.strip()
sys.path.insert(0, collections)
os.environ["ANSIBLE_COLLECTIONS_PATH"] = collections
os.environ["ANSIBLE_CONFIG"] = str(ROOT / "tools" / "ansible.cfg")
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / ".build" / "hypothesis"))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Stop the hubs that are left after Ctrl-C, for which a worker has only a few seconds."""
    if exitstatus == pytest.ExitCode.INTERRUPTED and not hasattr(session.config, "workerinput"):
        from support.hubs import local_hub

        for file in session.config._tmp_path_factory.getbasetemp().rglob("parameters.json"):
            local_hub.stop(file.parent, check=False)


@pytest.fixture(scope="session", autouse=True)
def _fork_servers() -> Iterator[None]:
    """Ends the fork servers after the tests."""
    yield
    fork_server.close_all()
