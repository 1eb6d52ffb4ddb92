# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""schemas: which values are models of a hub, and which field of a value is not."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.schemas import (
    EVENT,
    OBJECT,
    OWNER,
    TOKENS,
    USER,
    ListOf,
    Schema,
)

LAB = {"name": "lab", "ready": True, "pending": None, "url": "/user/alice/lab/", "user_options": {}}


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (OBJECT, {"whatever": [1]}),
        (USER, {"name": "alice"}),
        (USER, {"name": "alice", "servers": {"": LAB, "lab": {}}, "admin": False, "auth_state": None, "more": 1}),
        (OWNER, {"kind": "service", "name": "admin", "scopes": []}),
        (TOKENS, {"api_tokens": [{"id": "a1", "note": None, "scopes": ["self"]}]}),
        (EVENT, {"progress": 50, "message": "half"}),
        (EVENT, {}),
        (ListOf(USER), []),
    ],
)
def test_what_a_hub_gives(shape: Schema, value: Any) -> None:
    assert shape.find_mismatch(value) is None


@pytest.mark.parametrize(
    ("shape", "value", "place"),
    [
        (OBJECT, [], ""),
        (OBJECT, None, ""),
        (USER, {}, "name"),
        (USER, {"name": 7}, "name"),
        (USER, {"name": "alice", "servers": [LAB]}, "servers"),
        (USER, {"name": "alice", "servers": {"lab": "up"}}, "servers.lab"),
        (USER, {"name": "alice", "servers": {"lab": {**LAB, "ready": "yes"}}}, "servers.lab.ready"),
        (USER, {"name": "alice", "groups": ["a", None]}, "groups.1"),
        (TOKENS, {"api_tokens": [{"id": "a1"}, {"note": "x"}]}, "api_tokens.1.id"),
        (TOKENS, {"api_tokens": None}, "api_tokens"),
        (EVENT, {"progress": True}, "progress"),
        (EVENT, {"failed": 1}, "failed"),
        (ListOf(USER), [{"name": "a"}, 3], "1"),
        (ListOf(USER), {"0": {"name": "a"}}, ""),
    ],
)
def test_where_something_is_otherwise(shape: Schema, value: Any, place: str) -> None:
    assert shape.find_mismatch(value) == place
