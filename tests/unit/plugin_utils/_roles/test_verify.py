# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles import verify

ONE: dict[str, Any] = {
    "user": "", "server_name": "", "user_options": None, "stop_running": False, "wait_timeout": "5m",
    "code": "print(6 * 7)", "expect": "42", "code_timeout": "1m",
}  # fmt: skip


def test_the_variables_of_one_check_are_one_check() -> None:
    snippet = {"code": "print(6 * 7)", "timeout": "1m", "expect": {"output": {"contains": "42"}}}
    assert verify.list_checks(None, ONE, {}, {}) == [{"wait_timeout": "5m", "if_running": "fail", "code": [snippet]}]


@pytest.mark.parametrize("stops", [True, "true", "yes"])
def test_each_variable_of_one_check_counts(stops: Any) -> None:
    variables = {
        **ONE, "user": "alice", "server_name": "gpu", "user_options": {"profile": "x"}, "stop_running": stops,
        "wait_timeout": "10m", "code": "1", "expect": "", "code_timeout": "5s",
    }  # fmt: skip
    assert verify.list_checks(None, variables, {}, {}) == [
        {
            "user": "alice", "server_name": "gpu", "user_options": {"profile": "x"}, "if_running": "stop",
            "wait_timeout": "10m", "code": [{"code": "1", "timeout": "5s"}],
        }
    ]  # fmt: skip


def test_an_expected_number_is_text() -> None:
    [check] = verify.list_checks(None, {**ONE, "expect": 42}, {}, {})
    assert check["code"][0]["expect"] == {"output": {"contains": "42"}}


def test_empty_user_options_are_options() -> None:
    """They mean a start without any options. No options mean those of the last start."""
    assert verify.list_checks(None, {**ONE, "user_options": {}}, {}, {})[0]["user_options"] == {}
    assert "user_options" not in verify.list_checks(None, ONE, {}, {})[0]


def test_checks_take_their_tokens_from_files_and_variables() -> None:
    checks = [
        {"name": "a", "api_token_file": "a.token", "page": ["lab"]},
        {"name": "b", "api_token_var": "b_token", "if_running": "use", "wait_timeout": "1m"},
        {"name": "c", "api_token": "secret-c"},
        {},
    ]
    found = verify.list_checks(
        checks, {**ONE, "stop_running": "yes"}, {"a.token": "secret-a\n"}, {"b_token": "secret-b"}
    )
    assert found == [
        {"name": "a", "api_token": "secret-a", "page": ["lab"], "wait_timeout": "5m", "if_running": "stop"},
        {"name": "b", "api_token": "secret-b", "wait_timeout": "1m", "if_running": "use"},
        {"name": "c", "api_token": "secret-c", "wait_timeout": "5m", "if_running": "stop"},
        {"wait_timeout": "5m", "if_running": "stop"},
    ]


def test_no_checks_are_no_checks() -> None:
    assert verify.list_checks([], ONE, {}, {}) == []


@pytest.mark.parametrize("wrong", ["abc", ["abc", 3], [None], {"name": "a"}])
def test_what_is_no_list_of_checks_goes_to_the_module_as_it_is(wrong: Any) -> None:
    """The module says what is wrong with it."""
    assert verify.list_checks(wrong, ONE, {}, {}) == wrong
