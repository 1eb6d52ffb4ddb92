# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake of `HubClient` with one user in memory, for unit tests of flows, whose requests come at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import NotFound
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Owner
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.versions import DIALECTS, Dialect
from support.fakes.scripted_hub import HUB, TOKEN

Model = dict[str, Any]

PENDING: Model = {"ready": False, "pending": "spawn", "url": "/jhub/user/alice/"}
READY: Model = {"ready": True, "pending": None, "url": "/jhub/user/alice/"}
STOPPING: Model = {"ready": True, "pending": "stop", "url": "/jhub/user/alice/"}


@dataclass(frozen=True)
class FakeServerClient:
    """Replaces `ServerClient`: answers with what its `FakeHubClient` says of the server at this address."""

    hub: FakeHubClient
    url: str
    what: str
    error_status: int | None = None

    def answers(self) -> bool:
        return self.hub.answers(self.url)

    def is_hub_answering(self) -> bool:
        return self.hub.stands_in(self.url)

    def request(self, method: str, path: str, *, body: Model | None = None) -> Any:
        return self.hub.ask_server(method, urljoin(self.url, path), what=self.what, body=body)


class FakeHubClient:
    """Replaces `HubClient`. It has one user ``alice``, whose servers change only when the test changes them."""

    url = HUB
    connection = Connection(HUB, TOKEN)
    version = "6.1.1"

    def __init__(self, model: Model | None = None, dialect: Dialect = DIALECTS[0]) -> None:
        self.model = model
        """The user as the hub shows it, or None if the hub does not have it."""
        self.dialect = dialect
        self.writes: list[tuple[str, str, Any]] = []
        self.on_write: Callable[[str, str, Any], Any] = lambda method, path, body: None
        self.on_look: Callable[[], None] = lambda: None
        self.status = 200
        """The status of the answers to `write`."""
        self.looks = 0
        self.streams: list[list[Model | Callable[[], None]]] = []
        """The events of each progress stream, in order. A callable among them is called at that point."""
        self.last_stream: list[Model | Callable[[], None]] = []
        """The events of every further stream."""
        self.answering = True
        self.standing_in = False
        """Whether the hub answers in place of the server."""
        self.proxy_answers = 0
        self.absences: list[float] = []
        """When the hub gave no answer."""
        self.owner = Owner("user", "alice")

    def get(self, *path: str, scope: str, what: str, **params: str) -> Model:
        self.looks += 1
        self.on_look()
        if self.model is None:
            raise NotFound(f"The hub has no {what}.", "Check the name.", status=404)
        return {"api_tokens": self.model["tokens"]} if path[-1] == "tokens" else dict(self.model)

    def write(self, method: str, *path: str, scope: str, what: str, body: Model | None = None) -> tuple[int, Any]:
        self.writes.append((method, "/".join(path), body))
        return self.status, self.on_write(method, "/".join(path), body)

    def events(self, *path: str, deadline: float) -> Iterator[Model | None]:
        for event in self.streams.pop(0) if self.streams else self.last_stream:
            if callable(event):
                event()
            else:
                yield event

    read_user, read_group, list_tokens = HubClient.read_user, HubClient.read_group, HubClient.list_tokens
    list_users, read_version, held_scopes = HubClient.list_users, HubClient.read_version, HubClient.held_scopes
    read_token, read_own_token = HubClient.read_token, HubClient.read_own_token

    def missing_scopes(self, needed: Any) -> list[str]:
        """The scopes that the token lacks: none, in these tests."""
        return []

    def resolve(self, url: str) -> str:
        return f"https://hub.example.org{url}"

    def server(self, url: str, what: str) -> FakeServerClient:
        return FakeServerClient(self, url, what)

    def ask_server(self, method: str, url: str, *, what: str, body: Model | None = None) -> Any:
        raise NotFound(f"The {what} has no API, in these tests.", "Define ask_server.", status=404)

    def answers(self, url: str) -> bool:
        return self.answering

    def stands_in(self, url: str) -> bool:
        return self.standing_in

    def was_away_since(self, moment: float) -> bool:
        return bool(self.absences) and self.absences[-1] >= moment

    def with_deadline(self, deadline: float) -> FakeHubClient:
        """Ignores the deadline: the fake answers at once, or a test holds a write back."""
        return self

    def set_server(self, server: Model | None, name: str = "") -> None:
        assert self.model is not None
        self.model = {**self.model, "servers": {name: server} if server else {}}


def hub_with(server: Model | None = None, name: str = "", **more: Any) -> FakeHubClient:
    return FakeHubClient({"name": "alice", "admin": False, "servers": {name: server} if server else {}, **more})
