# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of what a hub of version 6.1 answers for each kind of thing, which tests copy and change."""

from __future__ import annotations

SERVER = {
    "name": "", "ready": True, "pending": None, "url": "/user/alice/", "started": "2026-01-01T00:00:00.000000Z",
    "last_activity": "2026-01-01T00:00:00.000000Z", "user_options": {"profile": "small"}, "stopped": False,
    "progress_url": "/hub/api/users/alice/server/progress", "full_name": "alice",
}  # fmt: skip
USER = {
    "kind": "user", "name": "alice", "admin": False, "groups": ["staff"], "roles": ["user"], "server": "/user/alice/",
    "pending": None, "created": "2026-01-01T00:00:00.000000Z", "last_activity": "2026-01-01T00:00:00.000000Z",
    "servers": {"": SERVER},
}  # fmt: skip
TOKEN = {
    "id": "a1", "kind": "api_token", "user": "alice", "note": "ci [hubops 0123456789ab-01234567]", "roles": [],
    "scopes": ["read:servers!user=alice"], "created": "2026-01-01T00:00:00.000000Z", "expires_at": None,
    "last_activity": None, "session_id": None, "oauth_client": "JupyterHub",
}  # fmt: skip
ADMIN = {
    "kind": "service", "name": "admin", "admin": True, "token_id": "a2", "session_id": None,
    "scopes": [
        "admin:groups", "admin:users", "delete:servers", "delete:users", "groups", "list:groups", "list:services",
        "list:users", "proxy", "read:groups", "read:groups:name", "read:hub", "read:servers", "read:services",
        "read:tokens", "read:users", "read:users:activity", "read:users:name", "start:servers", "tokens",
    ],
}  # fmt: skip
MINTED = "0123456789abcdef"
ALICE = {"kind": "user", "name": "alice", "token_id": "a9", "scopes": ["read:servers!user=alice"]}
GROUP = {"kind": "group", "name": "staff", "users": ["alice"], "roles": [], "properties": {}}
SERVICE = {"kind": "service", "name": "admin", "admin": True, "roles": [], "url": "", "pid": 0, "info": {}}
ROUTE = {"routespec": "/user/alice/", "target": "http://127.0.0.1:1", "data": {"user": "alice"}}
INFO = {"version": "6.1.1", "python": "3.11", "sys_executable": "python3", "spawner": {"class": "a.B", "version": "1"},
        "authenticator": {"class": "a.C", "version": "1"}}  # fmt: skip
