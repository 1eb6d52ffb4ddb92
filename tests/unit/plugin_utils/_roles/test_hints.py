# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The failures of a role name the role's variables."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_compare import MODULE as COMPARE
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_cull import MODULE as CULL
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_drain import MODULE as DRAIN
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_info import MODULE as INFO
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_restore import MODULE as RESTORE
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_snapshot import MODULE as SNAPSHOT
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_token import MODULE as TOKEN
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_user import MODULE as USER
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_verify import MODULE as VERIFY
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.hints import VARIABLES, named_in

ROLES = Path(__file__).resolve().parents[4] / "roles"


@pytest.mark.parametrize("role", VARIABLES)
def test_the_role_has_each_variable(role: str) -> None:
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    options = {name for spec in specs.values() for name in spec["options"]}
    named = {word for text in VARIABLES[role].values() for word in re.findall(rf"\b(?:{role}|hub)_\w+", text)}
    assert named
    assert named <= options


PROGRAMS = {
    "verify": (VERIFY,),
    "service_account": (TOKEN, USER, INFO),
    "idle_culler": (CULL,),
    "upgrade": (SNAPSHOT, DRAIN, RESTORE, COMPARE),
}
UNREACHABLE = {
    # Options that a role does not offer, or that only its tasks set. Those of verify are only in verify_checks.
    "verify": {"options_format", "if_running", "keep_running", "kernel_name", "warn_after", "websocket_idle"},
    "service_account": {"wait_timeout"},  # it deletes no user, so it waits for no server
    "idle_culler": set[str](),
    "upgrade": {"page_size"},
}


@pytest.mark.parametrize("role", VARIABLES)
def test_no_sentence_of_a_flow_names_an_option_that_the_role_does_not_have(role: str) -> None:
    """Checks options of two words, since an option of one word may be a word of the sentence."""
    options = {name for program in PROGRAMS[role] for name in program.options if "_" in name} - UNREACHABLE[role]
    texts = [
        node.value
        for path in (ROLES.parent / "plugins" / "module_utils").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    sentences = {text for text in texts if " " in text and "\n" not in text}
    left = {}
    for sentence in sentences:
        shown = named_in(role, {"msg": sentence})["msg"]
        found = {name for name in options if re.search(rf"(?<![\w.]){name}(?!\w)", shown)}
        if found:
            left[shown] = found
    assert left == {}


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
            "Give service_account_token_path (service_account_vault_path, service_account_manifest_path) or "
            "service_account_secret; set service_account_on_lost: replace; choose another service_account_note.",
        ),
        (
            "service_account",
            "path, '/', is no file.",
            "service_account_token_path (service_account_vault_path, service_account_manifest_path), '/', is no file.",
        ),
        (
            "service_account",
            "Set vault_password, or choose another format.",
            "Set service_account_vault_password, or choose another service_account_keep.",
        ),
        (
            "verify",
            "Run this again with on_options_change: restart, or stop the server first.",
            "Let no two runs use this account at the same time, or set verify_stop_running.",
        ),
        (
            "upgrade",
            "Check the path.",
            "Take one with the entry point snapshot, or check upgrade_dir, upgrade_before and upgrade_after.",
        ),
        (
            "upgrade",
            "Run as its owner, or give the path of another.",
            "Run as its owner, or check upgrade_dir, upgrade_before and upgrade_after.",
        ),
        ("upgrade", "Correct it, or give path another file.", "Correct it, or give upgrade_dir another folder."),
        (
            "upgrade",
            "Unsupported parameters for (x) module: rules.grops. Supported parameters include: groups, idle_timeout.",
            "Unsupported parameters for (x) module: upgrade_rules.grops. Supported parameters include: groups, "
            "idle_timeout.",
        ),
        (
            "upgrade",
            "value of order must be one of: name, got: x.",
            "value of upgrade_order must be one of: name, got: x.",
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


def test_who_writes_the_options_reads_of_the_options() -> None:
    hint = "Give it longer with wait_timeout, set if_running to stop or use, or correct expected_version."
    result = {"msg": hint, "summary": [hint]}
    with_variables = (
        "Give it longer with verify_wait_timeout, set verify_stop_running, or correct verify_expected_version."
    )
    for given in ({}, {"verify_checks": None}):
        assert named_in("verify", result, given)["msg"] == with_variables
    with_options = hint.replace("expected_version", "verify_expected_version")
    assert named_in("verify", result, {"verify_checks": []})["msg"] == with_options


def test_phases_are_renamed_and_their_details_are_data() -> None:
    phase = {"message": "Correct expected_version.", "details": {"events": [{"message": "expected_version"}]}}
    named = named_in("verify", {"hub": {"phases": [phase]}, "checks": [{"phases": [phase]}]})
    for part in (named["hub"], named["checks"][0]):
        assert part["phases"] == [{**phase, "message": "Correct verify_expected_version."}]
