# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks use nothing that the ansible-core under test has deprecated. tools/matrix runs this on each line."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from support.hubs import Hub
from support.playbooks import hub_environment, run_playbook

pytestmark = pytest.mark.doors

ACCOUNT, ADMIN = "account", "admin"
_numbers = count(1)
RUNS: list[tuple[str, str, list[str]]] = [
    ("service_account", ADMIN, []),
    ("service_account", ADMIN, []),  # with nothing to mint
    ("rotate_tokens", ADMIN, []),
    ("verify", ACCOUNT, ["--check"]),
    ("verify", ACCOUNT, []),
    (
        "merge_reports",
        ACCOUNT,
        ["-e", '{"verify_reports": ["verify-report/report.json"], "verify_report_dir": "merged"}'],
    ),
    ("cull", ADMIN, ["--check", "--diff", "-e", "idle_culler_idle_timeout=1h"]),
    ("snapshot", ADMIN, []),
    ("compare", ADMIN, []),
    ("drain", ADMIN, ["--check"]),  # other tests use the servers of this hub
]


def test_no_playbook_uses_what_is_deprecated(real_hub: Hub, tmp_path: Path) -> None:
    token = tmp_path / "account.token"
    variables = {"service_account_user": f"of-the-playbooks-{next(_numbers)}", "service_account_token_path": str(token)}
    for playbook, who, arguments in RUNS:
        used = real_hub.admin_token if who == ADMIN else token.read_text().strip()
        env = hub_environment(real_hub, used) | {"ANSIBLE_DEPRECATION_WARNINGS": "1"}
        done = run_playbook(f"hubops.jupyterhub.{playbook}", *arguments, folder=tmp_path, env=env, variables=variables)
        assert done.status == 0, (playbook, arguments, done.output)
        assert "deprecat" not in done.output.lower(), (playbook, arguments, done.output)
        assert token.read_text().strip() not in done.output
