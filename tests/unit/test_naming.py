# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_naming: a role's failures name the role's variables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._naming import VARIABLES, named_in

ROLES = Path(__file__).resolve().parents[2] / "roles"


@pytest.mark.parametrize("role", VARIABLES)
def test_the_role_has_each_variable(role: str) -> None:
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    options = {name for spec in specs.values() for name in spec["options"]}
    named = {word for text in VARIABLES[role].values() for word in re.findall(rf"\b(?:{role}|hub)_\w+", text)}
    assert named
    assert named <= options


@pytest.mark.parametrize(
    ("role", "hint", "shown"),
    [
        ("verify", "Give it longer with wait_timeout.", "Give it longer with verify_wait_timeout."),
        ("verify", "Give it longer with timeout, or mend it.", "Give it longer with verify_code_timeout, or mend it."),
        ("verify", "Look whether a timeout or the user's path is wrong.", None),
        ("verify", "Set hub_url, and api_token, too.", "Set hub_url, and verify_api_token, too."),
        ("verify", "error.api_token and my_wait_timeout are others.", None),
        ("service_account", "raise request_timeout", "raise hub_request_timeout"),
        (
            "service_account",
            "Give path or secret; set rotate: true or on_lost: replace; choose another note.",
            "Give service_account_token_path or service_account_secret; set service_account_on_lost: replace; choose "
            "another service_account_note.",
        ),
        ("idle_culler", "Correct idle_timeout.", "Correct idle_culler_idle_timeout."),
        ("of somebody", "Correct idle_timeout.", None),
    ],
)
def test_a_hint_names_the_variable(role: str, hint: str, shown: str | None) -> None:
    failure = Invalid("Something is wrong.", hint)
    item = {"failure": failure.as_failure(), "reason": hint, "events": [{"message": hint}]}
    named = named_in(role, {**failure.as_result(), "servers": [{**item, "events": []}], "stdout": hint})
    wanted = shown or hint
    assert named["failure"]["hint"] == named["servers"][0]["failure"]["hint"] == wanted
    assert named["msg"] == f"Something is wrong. {wanted}"
    assert named["stdout"] == named["servers"][0]["reason"] == hint
