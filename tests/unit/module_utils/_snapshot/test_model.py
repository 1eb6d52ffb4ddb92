# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of the hub's models in a snapshot."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Token, User
from ansible_collections.hubops.jupyterhub.plugins.module_utils._info.everything import Everything, Unreadable
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.comparison import compare_snapshots
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.formats import (
    decode_snapshot,
    encode_snapshot,
    hide_secret,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.model import build_snapshot, is_running
from support.models import GROUP, SERVICE, USER
from support.snapshots import TAKEN, content, everything


def test_everything_is_in_it_and_no_secret() -> None:
    found = build_snapshot(everything(content()), TAKEN, 1.5, content()["verification"])
    expected = content()
    expected["tokens"].sort(key=lambda each: (each["user"], each["id"]))
    assert vars(found) == expected
    assert b"s3cr3t" not in encode_snapshot(found)
    assert found.count() == {
        "users": 3, "servers": 3, "running": 2, "groups": 3, "services": 2, "tokens": 5, "routes": 1,
    }  # fmt: skip
    assert found.describe_hub() == {"taken": TAKEN, "url": "https://hub.example.org/", "version": "5.5.3"}


def nothing() -> Everything:
    hub = {"url": "http://hub/", "version": "6.1.1", "authenticator": None, "spawner": None}
    hidden = (Unreadable("users", "list:users", "The token may not read the users."),)
    return Everything(hub, {"kind": "user", "name": "bob", "scopes": []}, None, None, None, None, None, hidden)


def test_what_the_token_may_not_read_is_null_and_named() -> None:
    found = build_snapshot(nothing(), TAKEN, 0.0)
    assert set(found.count().values()) == {None}
    assert found.servers is None
    assert found.unreadable == [
        {"name": "users", "scope": "list:users", "message": "The token may not read the users."}
    ]
    assert decode_snapshot(encode_snapshot(found), "x") == found


def test_a_field_that_the_hub_does_not_show_is_null_and_not_false() -> None:
    user = User.from_model({"kind": "user", "name": "bob"}, lambda url: url)
    found = build_snapshot(
        replace(nothing(), users=(user,), groups=({"name": "staff"},), services=({"name": "ci"},)), TAKEN, 0.0
    )
    assert found.users == {"bob": dict.fromkeys(("admin", "roles", "groups", "created", "last_activity"))}
    assert found.groups == {"staff": {"users": None, "properties": None, "roles": None}}
    assert found.services == {"ci": {"admin": None, "roles": None, "url": None, "display": None}}
    assert found.servers is None


def test_servers_that_only_some_users_show() -> None:
    shown = User.from_model(USER, lambda url: url)
    hidden = User.from_model({"kind": "user", "name": "bob"}, lambda url: url)
    without = User.from_model({"kind": "user", "name": "carol", "servers": {}}, lambda url: url)
    found = build_snapshot(replace(nothing(), users=(shown, hidden, without)), TAKEN, 0.0)
    assert found.servers is not None
    assert list(found.servers) == ["alice"]
    assert found.servers["alice"][""]["user_options"] == {"profile": "small"}
    assert "url" not in found.servers["alice"][""]
    assert build_snapshot(replace(nothing(), users=()), TAKEN, 0.0).servers == {}


def test_a_group_of_an_old_hub_has_no_properties() -> None:
    found = build_snapshot(replace(nothing(), groups=({**GROUP, "properties": None},)), TAKEN, 0.0)
    assert found.groups == {"staff": {"users": ["alice"], "properties": {}, "roles": []}}


def test_the_address_of_a_service_shows_no_password() -> None:
    service = {**SERVICE, "url": "http://user:s3cr3t@127.0.0.1:9/a@b", "command": ["run", "--token=s3cr3t"]}
    found = build_snapshot(replace(nothing(), services=(service,)), TAKEN, 0.0)
    assert found.services is not None
    assert found.services["admin"]["url"] == "http://127.0.0.1:9/a@b"
    assert b"s3cr3t" not in encode_snapshot(found)


@pytest.mark.parametrize(
    ("server", "runs"),
    [
        ({"ready": True, "pending": None}, True),
        ({"ready": False, "pending": "spawn"}, True),
        ({"ready": True, "pending": "check"}, True),
        ({"ready": False, "pending": "stop"}, False),
        ({"ready": False, "pending": None}, False),
        ({}, False),
    ],
)
def test_which_servers_run(server: dict[str, object], runs: bool) -> None:
    assert is_running(server) is runs


def test_a_big_hub_is_written_read_and_compared_in_no_time() -> None:
    """5,000 users with 500 servers and 5,000 tokens: far below a second each. The limit only ends a mistake."""
    users = tuple(
        User.from_model({**USER, "name": f"u{n}", "servers": USER["servers"] if n % 10 == 0 else {}}, lambda url: url)
        for n in range(5000)
    )
    scopes = tuple(f"{name}!user=somebody" for name in ("servers", "read:users", "tokens", "access:servers") * 8)
    tokens = tuple((f"u{n}", Token(f"a{n}", "note", scopes, TAKEN, None)) for n in range(5000))
    began = time.process_time()
    first = build_snapshot(replace(nothing(), users=users, tokens=tokens, unreadable=()), TAKEN, 1.0)
    text = encode_snapshot(hide_secret(first, "s3cr3t"))
    second = decode_snapshot(text, "x")
    assert compare_snapshots(first, second).differences == []
    assert time.process_time() - began < 60
