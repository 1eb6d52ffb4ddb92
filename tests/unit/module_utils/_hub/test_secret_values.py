# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_hub.secret_values: which values of options and properties nobody shows."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.responses import TOO_DEEP
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.secret_values import hide_secrets
from hypothesis import given
from hypothesis import strategies as st

HIDDEN = "*" * 8


@pytest.mark.parametrize(
    "key",
    [
        "password", "db_password", "PASSWD", "pwd", "PASS", "smtp_pass", "PGPASS", "passcode", "passphrase", "api_key",
        "apiKey", "ssh_key", "auth", "http.auth", "authorization", "secret", "client-secret", "token", "credentials",
    ],
)  # fmt: skip
def test_secret_keys(key: str) -> None:
    assert hide_secrets({"a": [{key: "x"}]}) == {"a": [{key: HIDDEN}]}
    assert hide_secrets({key: {"inner": 1}}) == {key: HIDDEN}
    assert hide_secrets({key: ""}) == {key: ""}


@pytest.mark.parametrize("key", ["profile", "image", "author", "compass", "bypass", "key", "cpus", "passes"])
def test_other_keys(key: str) -> None:
    assert hide_secrets({key: "x"}) == {key: "x"}


def test_the_environment_of_a_container() -> None:
    found = hide_secrets([{"name": "DB_PASSWORD", "value": "x"}, {"name": "LANG", "value": "C"}])
    assert found == [{"name": "DB_PASSWORD", "value": HIDDEN}, {"name": "LANG", "value": "C"}]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://u:x@db/a", f"postgres://u:{HIDDEN}@db/a"),
        ("--password=x --cpus=2", f"--password={HIDDEN} --cpus=2"),
        ("DB_TOKEN: x", f"DB_TOKEN: {HIDDEN}"),
        ("https://hub.example.org:8443/@x", "https://hub.example.org:8443/@x"),
        ("a passage of text", "a passage of text"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    assert hide_secrets([text]) == [shown]


@pytest.mark.parametrize("levels", [101, 100_000])
def test_what_is_nested_deeply_is_left_out(levels: int) -> None:
    value: Any = "x"
    for _level in range(levels):
        value = [value]
    assert TOO_DEEP in str(hide_secrets(value))


SIMPLE = st.none() | st.booleans() | st.integers() | st.text()
JSON = st.recursive(SIMPLE, lambda each: st.lists(each) | st.dictionaries(st.text(), each))


@given(JSON)
def test_the_form_stays(value: Any) -> None:
    shown = hide_secrets(value)
    assert isinstance(shown, type(value))
    assert hide_secrets(shown) == shown
