# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests with the mark `doors` run on the newest ansible-core and the oldest, or once on the one that is named."""

from __future__ import annotations

import os
import subprocess
import sys

from support.hubs import REPOSITORY
from support.playbooks import ansible_bin

SMOKE = "tests/integration/modules/test_smoke.py"


def collected(**more: str) -> list[str]:
    """The tests with the mark that pytest finds in a file."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "doors", SMOKE]
    env = {**os.environ, **more}
    done = subprocess.run(command, cwd=REPOSITORY, env=env, check=True, capture_output=True, text=True)
    return sorted(line for line in done.stdout.splitlines() if line.startswith(SMOKE))


def test_each_test_runs_once_on_a_core_that_is_named() -> None:
    both, one = collected(HUBOPS_ANSIBLE_VENV=""), collected(HUBOPS_ANSIBLE_VENV=str(ansible_bin().parent))
    newest = [name for name in both if "oldest" not in name]
    assert len(both) == 2 * len(newest) > 0
    assert one == newest
