# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake of `HubClient` with many users in memory, whose servers start and stop at once. It can be killed at any write.

hub = MemoryHub({("alice", "lab"): {"profile": "gpu"}})
hub.moments_left = 3   # the third moment from now kills the run
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import NotFound
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Owner
from support.fakes.fake_hub_client import FakeHubClient

Key = tuple[str, str]
Options = dict[str, Any]
CREATED = "2026-01-01T00:00:00.000000Z"


class Killed(BaseException):
    """The run is killed. Unlike an exception of Ansible, nothing catches this."""


class MemoryHub(FakeHubClient):
    """A hub with these running servers, by their options."""

    held_scopes: tuple[str, ...] = ("list:users", "read:servers")

    def __init__(self, running: Mapping[Key, Options]) -> None:
        super().__init__(None)
        self.running: dict[Key, dict[str, Any]] = {}
        self.stopped: dict[Key, dict[str, Any]] = {}
        self.created = {user: CREATED for user, _name in running}
        self.moments_left: int | None = None
        """How many writes are left until the run is killed. A write counts twice: before it, and after it."""
        self.is_killed = False
        self.refuses: dict[Key, Exception] = {}
        """The failures of starts and stops."""
        self._numbers = count(1)
        self._lock = threading.RLock()
        for key, options in running.items():
            self.start(key, options)

    # What people do

    def start(self, key: Key, options: Options | None) -> None:
        with self._lock:
            started = f"2026-02-01T00:00:00.{next(self._numbers):06d}Z"
            options = self.stopped.get(key, {}).get("user_options", {}) if options is None else options
            self.created.setdefault(key[0], CREATED)
            self.running[key] = {
                "name": key[1],
                "ready": True,
                "pending": None,
                "url": f"/user/{key[0]}/{key[1]}",
                "started": started,
                "last_activity": started,
                "user_options": options,
            }
            self.stopped.pop(key, None)

    def stop(self, key: Key) -> None:
        with self._lock:
            server = self.running.pop(key, None)
            if server:
                self.stopped[key] = {**server, "ready": False, "pending": None, "started": None}

    def options(self) -> dict[Key, Options]:
        """The options of what runs."""
        return {key: server["user_options"] for key, server in self.running.items()}

    # What a run does

    def pass_moment(self) -> None:
        """Kill the run if this is its last moment. A killed run does nothing more."""
        with self._lock:
            if self.moments_left is not None:
                self.moments_left -= 1
                self.is_killed = self.is_killed or self.moments_left < 0
            if self.is_killed:
                raise Killed

    def revive(self) -> None:
        """Let the next run live."""
        self.moments_left, self.is_killed = None, False

    def read_owner(self) -> Owner:
        return self.owner

    def get(self, *path: str, scope: str, what: str, **params: str) -> dict[str, Any]:
        self.on_look()
        return self._model(path[1], with_stopped="include_stopped_servers" in params)

    def pages(self, *path: str, **_more: Any) -> Iterator[dict[str, Any]]:
        with self._lock:
            users = sorted({user for user, _name in self.running})
        yield from (self._model(user) for user in users)

    def _model(self, user: str, *, with_stopped: bool = False) -> dict[str, Any]:
        with self._lock:
            if user not in self.created:
                raise NotFound(f"The hub has no user '{user}'.", "Check the name.", status=404, method="GET")
            known = {**(self.stopped if with_stopped else {}), **self.running}
            servers = {name: dict(server) for (owner, name), server in known.items() if owner == user}
            return {"name": user, "created": self.created[user], "servers": servers}

    def write(
        self, method: str, *path: str, scope: str, what: str, body: dict[str, Any] | None = None
    ) -> tuple[int, Any]:
        key = (path[1], path[3] if len(path) > 3 else "")
        self.pass_moment()
        self.writes.append((method, "/".join(path), body))
        self.on_write(method, "/".join(path), body)
        if key in self.refuses:
            raise self.refuses[key]
        if method == "DELETE":
            self.stop(key)
        else:
            self.start(key, None if body is None else body["user_options"])
        self.pass_moment()
        return (204 if method == "DELETE" else 201), None
