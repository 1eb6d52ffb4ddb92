# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hubs on which a test can let time pass, so that no test waits until something is idle, due or expired.

    hub = pool.get(config=CLOCK_CONFIG)
    let_time_pass(hub, 2 * HOUR, "alice")   # all times that the hub knows of alice are now two hours older
    empty_hub(hub)                          # no user is left, so a pass over the whole hub finds only this test's users

The tests of culling share such hubs, `pool.get(version, config=CLOCK_CONFIG)`, and each test leaves its hub empty.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from support.hubs import Hub

HOUR = 3600.0

CLOCK_CONFIG = '''
# The hub answers a POST with "not yet" at once, and a DELETE after a second.
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0, "slow_stop_timeout": 1}
# Else the hub would ask the proxy every five minutes when a server was really used.
c.JupyterHub.last_activity_interval = 0


def _add_clock():
    from datetime import timedelta

    from jupyterhub import orm
    from jupyterhub.apihandlers.base import APIHandler
    from jupyterhub.scopes import needs_scope

    class AgingHandler(APIHandler):
        """Makes the times of these users, or of all users if none is named, so many seconds older."""

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

    c.JupyterHub.extra_handlers = [(r"/api/let-time-pass", AgingHandler)]


_add_clock()
'''


def let_time_pass(hub: Hub, seconds: float, *users: str) -> None:
    """Make all times of these users, or of all users, so many seconds older, with their servers and tokens."""
    answer = requests.post(
        f"{hub.api}/let-time-pass", json={"users": users, "seconds": seconds}, headers=hub.headers, timeout=60
    )
    assert answer.status_code == 204, answer.text


def empty_hub(hub: Hub) -> None:
    """Delete all users and groups. Open all gates first: a server that waits at one delays or survives its DELETE."""
    while users := _request(hub, "GET", "users").json():  # a hub cuts the list at 200 users
        _delete_users(hub, users)
    while groups := _request(hub, "GET", "groups").json():
        for group in groups:
            _request(hub, "DELETE", f"groups/{quote(group['name'], safe='')}")


def _delete_users(hub: Hub, users: list[dict[str, Any]]) -> None:
    for user in users:
        for server in user["servers"].values():
            _open_gates(server)
    deadline = time.monotonic() + 120
    for user in users:
        path = f"users/{quote(user['name'], safe='')}"
        while _request(hub, "DELETE", path).status_code not in (204, 404):
            assert time.monotonic() < deadline, f"'{user['name']}' cannot be deleted"
            for name in _request(hub, "GET", path).json().get("servers", ()):
                _request(hub, "DELETE", f"{path}/servers/{quote(name, safe='')}" if name else f"{path}/server")
            time.sleep(0.05)


def _open_gates(server: dict[str, Any]) -> None:
    options = server.get("user_options") or {}
    for name in ("start_gate", "stop_gate"):
        gate = options.get(name)
        if gate and Path(gate).parent.exists():
            Path(gate).touch()


def _request(hub: Hub, method: str, path: str) -> requests.Response:
    return requests.request(method, f"{hub.api}/{path}", headers=hub.headers, timeout=60)
