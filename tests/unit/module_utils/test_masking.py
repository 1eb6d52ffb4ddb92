# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The secrets that both entry points keep out of a result, however the task ends."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hubops.jupyterhub.plugins.action.hub_user import ActionModule
from ansible_collections.hubops.jupyterhub.plugins.module_utils._ansible import run_module
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_user import MODULE

PASSWORD = "hunter2pw"


def by_module(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    with patch_module_args(options), pytest.raises(SystemExit):
        run_module(MODULE)
    return capsys.readouterr().out


def by_action(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    action = ActionModule.__new__(ActionModule)
    action._task = SimpleNamespace(args=options, check_mode=False, no_log=False, action="hub_user")
    return json.dumps(action._in_process()) + capsys.readouterr().err


@pytest.mark.parametrize("door", [by_module, by_action])
@pytest.mark.parametrize(
    "options", [{}, {"user": "x", "state": "gone"}, {"user": "x", "colour": "red"}, {"user": "x"}],
    ids=["missing", "no choice", "unknown", "sound"],
)  # fmt: skip
@pytest.mark.parametrize("form", ["https://bob:{}@hub/", "bob:{}@hub.example.org", "https://hub/?token={}"])
def test_a_password_in_an_address_is_in_no_result(
    door: Any, options: dict[str, Any], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = door({"hub_url": form.format(PASSWORD), **options}, capsys)
    assert '"failed": true' in shown
    assert '"invocation"' in shown
    assert PASSWORD not in shown
