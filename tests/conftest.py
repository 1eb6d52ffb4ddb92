# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets tests import the collection by Ansible's name for it, and the helpers in tests/ by theirs.

With plain pytest, the checkout can be at any path. `ansible-test units` imports the collection itself, from a checkout
at a path ansible_collections/hubops/jupyterhub, and reads no settings of pytest in pyproject.toml.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The plugin of ansible-test that lets pytest import collections.
IN_ANSIBLE_TEST = "ansible_pytest_collections" in sys.modules

sys.path.insert(0, str(ROOT / "tests"))
if not IN_ANSIBLE_TEST:
    collections = subprocess.run([ROOT / "tools" / "link"], check=True, capture_output=True, text=True).stdout.strip()
    sys.path.insert(0, collections)
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = collections
    os.environ["ANSIBLE_CONFIG"] = str(ROOT / "tools" / "ansible.cfg")
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / ".build" / "hypothesis"))


if IN_ANSIBLE_TEST:
    # It runs each test in a fork of the process that has collected the tests.

    def pytest_sessionstart(session: pytest.Session) -> None:
        """Create the folder for temporary files. Otherwise, each test would remove and create it."""
        session.config._tmp_path_factory.getbasetemp()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(item: pytest.Item) -> None:
        """End the fixtures of the module and of the session, too: no other test uses them, and some start programs."""
        item.session._setupstate.teardown_exact(None)


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
    from support import fork_server

    yield
    fork_server.close_all()
