# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hubs for which a test says what time has passed: nothing has to be waited for until it is idle, due or over.

    hub = pool.get(config=CLOCK)
    later(hub, 2 * HOUR, "alice")   # whatever the hub knows of alice is now two hours older
    empty(hub)                      # nobody is left: a pass over the whole hub sees what this test brings

The tests of culling share such hubs, `pool.get(version, config=CLOCK)`, and each leaves its hub empty.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from support.hubs import Hub

HOUR = 3600.0

CLOCK = '''
# It never holds a POST, and a DELETE for a second only, before it says "not yet".
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0, "slow_stop_timeout": 1}
# The proxy would tell every five minutes when a server was really used.
c.JupyterHub.last_activity_interval = 0


def _with_a_clock():
    from datetime import timedelta

    from jupyterhub import orm
    from jupyterhub.apihandlers.base import APIHandler
    from jupyterhub.scopes import needs_scope

    class LaterHandler(APIHandler):
        """All that the hub knows of these users, of all where none is named, becomes so many seconds older."""

        @needs_scope("admin:users")
        def post(self):
            body = self.get_json_body()
            users = self.db.query(orm.User)
            if body["users"]:
                users = users.filter(orm.User.name.in_(body["users"]))
            for user in users.all():
                for kind in (orm.Spawner, orm.APIToken):
                    for each in self.db.query(kind).filter_by(user_id=user.id).all():
                        self.age(each, body["seconds"])
                self.age(user, body["seconds"])
            self.db.commit()
            self.set_status(204)

        def age(self, thing, seconds):
            for name in ("created", "started", "last_activity", "expires_at"):
                if getattr(thing, name, None) is not None:
                    setattr(thing, name, getattr(thing, name) - timedelta(seconds=seconds))

    c.JupyterHub.extra_handlers = [(r"/api/later", LaterHandler)]


_with_a_clock()
'''


def later(hub: Hub, seconds: float, *users: str) -> None:
    """So many seconds later, for these users, or without any for all of them: with their servers and their tokens."""
    answer = requests.post(
        f"{hub.api}/later", json={"users": users, "seconds": seconds}, headers=hub.headers, timeout=60
    )
    assert answer.status_code == 204, answer.text


def empty(hub: Hub) -> None:
    """No user is left, nor a group. What waits at a gate is let go: it would hold its DELETE, or survive it."""
    users = _ask(hub, "GET", "users").json()
    for user in users:
        for server in user["servers"].values():
            _open(server)
    deadline = time.monotonic() + 120
    for user in users:
        path = f"users/{quote(user['name'], safe='')}"
        while _ask(hub, "DELETE", path).status_code not in (204, 404):
            assert time.monotonic() < deadline, f"'{user['name']}' does not go"
            for name in _ask(hub, "GET", path).json().get("servers", ()):
                _ask(hub, "DELETE", f"{path}/servers/{quote(name, safe='')}" if name else f"{path}/server")
            time.sleep(0.05)
    for group in _ask(hub, "GET", "groups").json():
        _ask(hub, "DELETE", f"groups/{quote(group['name'], safe='')}")


def _open(server: dict[str, Any]) -> None:
    options = server.get("user_options") or {}
    for name in ("start_gate", "stop_gate"):
        gate = options.get(name)
        if gate and Path(gate).parent.exists():
            Path(gate).touch()


def _ask(hub: Hub, method: str, path: str) -> requests.Response:
    return requests.request(method, f"{hub.api}/{path}", headers=hub.headers, timeout=60)
