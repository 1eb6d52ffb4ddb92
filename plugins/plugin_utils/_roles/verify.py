# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks that the role verify takes, from its variables, as the option ``checks`` of `hub_verify`.

Ansible-core before 2.19 may pass a number or a boolean as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .checks import given, is_true

_OF_ROLE = ("api_token_file", "api_token_var")
"""The keys of a check that the role replaces with ``api_token``."""


def list_checks(
    checks: Any,
    one_check: Mapping[str, Any],
    token_files: Mapping[str, str],
    token_variables: Mapping[str, Any],
) -> Any:
    """Return the checks of ``verify_checks``, or the one that the variables of one check describe.

    ``checks`` is the value of ``verify_checks``, or None if it is not set. ``one_check`` has the variables of one
    check, by their names without ``verify_``. ``token_files`` and ``token_variables`` have the tokens that the checks
    name, by the paths of their files and by the names of their variables. A check that sets no ``wait_timeout`` or no
    ``if_running`` takes the value from ``one_check``.
    """
    common = {
        "wait_timeout": one_check["wait_timeout"],
        "if_running": "stop" if is_true(one_check["stop_running"]) else "fail",
    }
    if checks is None:
        return [{**common, **_one_check(one_check)}]
    if not isinstance(checks, list | tuple):
        return checks  # the module says what is wrong with it
    return [
        {**common, **_with_token(check, token_files, token_variables)} if isinstance(check, Mapping) else check
        for check in checks
    ]


def _one_check(variables: Mapping[str, Any]) -> dict[str, Any]:
    expected = variables["expect"]
    snippet = {"code": variables["code"], "timeout": variables["code_timeout"]}
    if expected not in ("", None):
        # The code may print the text, or have it as its last value.
        snippet["expect"] = {"output": {"contains": str(expected)}}
    named = given({name: variables[name] for name in ("user", "server_name", "user_options")})
    return {**named, "code": [snippet]}


def _with_token(
    check: Mapping[str, Any], token_files: Mapping[str, str], token_variables: Mapping[str, Any]
) -> dict[str, Any]:
    found = {name: value for name, value in check.items() if name not in _OF_ROLE}
    if "api_token_file" in check:
        found["api_token"] = str(token_files[check["api_token_file"]]).strip()
    if "api_token_var" in check:
        found["api_token"] = token_variables[check["api_token_var"]]
    return found
