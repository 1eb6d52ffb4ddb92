# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaces the options of a role's tasks with the role's variables, in the failures of the role.

The user has set the variables, and does not know the options.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_CONNECTION = {
    name: f"hub_{name}" for name in ("validate_certs", "ca_path", "client_cert", "client_key", "request_timeout")
}


def _prefixed(role: str, *options: str) -> dict[str, str]:
    return {option: f"{role}_{option}" for option in options}


_TOKEN_PATHS = "service_account_token_path (service_account_vault_path, service_account_manifest_path)"
"""The variables for a token's file. Each way to keep a token has a variable of its own."""

_SNAPSHOT_MISSING = "Take one with the entry point snapshot, or check upgrade_dir, upgrade_before and upgrade_after."

VARIABLES: dict[str, dict[str, str]] = {
    "verify": {
        **_CONNECTION,
        **_prefixed(
            "verify", "api_token", "server_name", "user_options", "wait_timeout", "expected_version", "login_page",
            "tls_min_days", "token_min_ttl",
        ),
        "with timeout": "with verify_code_timeout",
        # hub_verify has no such option. Somebody else has started the server.
        "Run this again with on_options_change: restart, or stop the server first.": (
            "Let no two runs use this account at the same time, or set verify_stop_running."
        ),
        "timeout:": "verify_code_timeout:",
        "raise deadline": "raise verify_deadline",
        "deadline:": "verify_deadline:",
        "services:": "verify_services:",
        "concurrency must": "verify_concurrency must",
        "argument 'concurrency'": "argument 'verify_concurrency'",
        "set if_running to stop or use": "set verify_stop_running",
        "with kernel_name": "with kernel_name in verify_checks",
        "Set user to": "Set verify_user to",
    },
    "service_account": {
        **_CONNECTION,
        **_prefixed(
            "service_account", "expires_in", "renew_before", "overlap", "create_groups", "on_lost", "vault_variable",
            "vault_password", "kubernetes_namespace", "kubernetes_name", "kubernetes_key",
        ),
        "api_token": "service_account_admin_token",
        # The role has no option rotate. To set on_lost: replace for one run does the same.
        "rotate: true or on_lost": "service_account_on_lost",
        "Give path or secret": f"Give {_TOKEN_PATHS} or service_account_secret",
        "Give path": f"Give {_TOKEN_PATHS}",
        "path, '": f"{_TOKEN_PATHS}, '",
        "set format: vault": "set service_account_keep: vault",
        "Choose format: plain": "Choose service_account_keep: file",
        "another format": "another service_account_keep",
        "leave path out": "leave service_account_token_path out",
        "give another path": "give another service_account_token_path",
        "another note": "another service_account_note",
        "scopes:": "service_account_scopes:",
    },
    "idle_culler": {
        **_CONNECTION,
        **_prefixed(
            "idle_culler", "api_token", "idle_timeout", "max_age", "cull_users", "cull_admin_users", "exclude_users",
            "cull_default_servers", "cull_named_servers", "remove_named_servers", "max_culls", "stop_timeout",
            "page_size",
        ),
        "concurrency": "idle_culler_concurrency",
        "module: rules": "module: idle_culler_rules",
    },
    "upgrade": {
        **_CONNECTION,
        **_prefixed(
            "upgrade", "api_token", "idle_timeout", "exclude_users", "max_stops", "stop_timeout", "wait_timeout",
            "slower_share", "slower_seconds",
        ),
        "concurrency": "upgrade_concurrency",
        "value of order": "value of upgrade_order",
        "module: rules": "module: upgrade_rules",
        # The role makes the paths of files from this folder and the name of the host.
        "Give path": "Give upgrade_dir",
        "give path": "give upgrade_dir",
        "give another path": "give upgrade_dir another folder",
        "or give the path of another": "or check upgrade_dir, upgrade_before and upgrade_after",
        "give path another file": "give upgrade_dir another folder",
        "Check path. hub_drain": "Check upgrade_dir. The entry point drain",
        "Check the path.": _SNAPSHOT_MISSING,
        "Take one with hub_snapshot, or give the path of another.": _SNAPSHOT_MISSING,
    },
}  # fmt: skip
"""For each role, how the sentences of a failure name an option, and the variable that replaces it. If an option is also
an English word, the words beside it make it unambiguous."""

_OPTIONS_OF_A_CHECK = frozenset(
    {
        "server_name", "user_options", "wait_timeout", "with timeout", "timeout:", "set if_running to stop or use",
        "with kernel_name", "Set user to",
    }
)  # fmt: skip
"""What stays as it is if the user has written the options of the module themselves, in ``verify_checks``."""


def named_in(role: str, result: dict[str, Any], given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the result of a failed task of the role, with variables in its sentences. Other data stay as they are.

    ``given`` are the variables of the task.
    """
    has_checks = role == "verify" and (given or {}).get("verify_checks") is not None
    left_out = _OPTIONS_OF_A_CHECK if has_checks else ()
    variables = {option: name for option, name in VARIABLES.get(role, {}).items() if option not in left_out}
    if not variables:
        return result
    longest_first = sorted(variables, key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<![\w.]){re.escape(option)}(?!\w)" for option in longest_first))

    def named(value: Any, key: str = "") -> Any:
        if isinstance(value, str):
            if key not in ("msg", "message", "hint"):
                return value
            # Ansible lists the names that an item of a list may have, such as a rule. Those are the user's own.
            sentence, listed, names = value.partition("Supported parameters include: ")
            return pattern.sub(lambda match: variables[match[0]], sentence) + listed + names
        if isinstance(value, list):
            return [named(item) for item in value]
        if isinstance(value, dict):
            # The details of a phase are data, such as what a spawner has said.
            return {name: item if name == "details" else named(item, name) for name, item in value.items()}
        return value

    sentences = ("msg", "failure", "failures", "tokens", "servers", "hub", "checks")
    return {name: named(value, name) if name in sentences else value for name, value in result.items()}
