# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""If a proxy or a cloud's edge answers a GET in the hub's place, each flow repeats the GET until the hub answers."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
import websocket
from ansible_collections.hubops.jupyterhub.plugins.module_utils._cull.flow import CullFlow
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec import kernel_client
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec.kernel_client import KernelClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import polling
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import transport as _transport
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import EDGE
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.threads import in_background
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.flow import server_batch
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.model import ServerSpec
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_cull import MODULE as CULL
from requests.adapters import HTTPAdapter
from support.models import ADMIN, SERVER, USER
from support.waiting import wait_until
from urllib3 import HTTPResponse

HUB = "http://hub.example.org/"
AWAY = 4
"""How many GETs in a row the edge answers. A real edge does that for some seconds."""
STATUSES = sorted([*EDGE, 500])
PAGE = b"<html><title>Origin Error</title></html>"


class EdgeHub:
    """A hub with one server, behind an edge. From the request that ``opens`` on, the edge answers some GETs itself."""

    def __init__(self, status: int, *, runs: bool) -> None:
        self.status = status
        self.state = "ready" if runs else "stopped"
        self.opens: Callable[[str, str], bool] = lambda method, path: False
        """Returns whether the edge starts to answer with this request."""
        self.left: int | None = None
        """How many more GETs the edge answers. None before it starts."""
        self.turned_away: list[str] = []
        self.turns_away_posts = False
        """Whether the edge forwards a POST and then gives its own answer, as after a timeout."""
        self.kernels: set[str] = set()

    def send(self, request: requests.PreparedRequest, **_more: Any) -> requests.Response:
        method, path = str(request.method), str(request.url).partition("?")[0].removeprefix(HUB)
        if self.left is None and self.opens(method, path):
            self.left = AWAY
        if method == "GET" and self.left:
            self.left -= 1
            self.turned_away.append(path)
            return self._answer(request, self.status, PAGE, "text/html")
        status, answer = self._at_hub(method, path, json.loads(request.body or "{}"))
        if method == "POST" and self.turns_away_posts and self.left:
            self.left -= 1
            return self._answer(request, self.status, PAGE, "text/html")
        return self._answer(request, status, json.dumps(answer).encode() if answer is not None else b"")

    def _at_hub(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path.startswith("user/alice/api/kernels"):
            number = path.removeprefix("user/alice/api/kernels").strip("/")
            if method == "POST":
                self.kernels.add(body["kernel_id"])
                return 201, {"id": body["kernel_id"]}
            if method == "GET" and not number:
                return 200, [{"id": each} for each in self.kernels]
            known = number in self.kernels
            if not known:
                return 404, {"message": "no such kernel"}
            if method == "DELETE":
                self.kernels.remove(number)
                return 204, None
            return 200, {"id": number}
        if method == "POST":
            self.state = "spawn"
            return 202, None
        if method == "DELETE":
            self.state = "stop"
            return 202, None
        if path == "hub/api/":
            return 200, {"version": "6.1.1"}
        if path == "hub/api/user":
            return 200, ADMIN
        if path == "user/alice/api":
            return (200, {"version": "2"}) if self.state == "ready" else (404, {"message": "none"})
        if path.endswith("/progress"):
            return 400, {"message": "it is not starting"}
        shown = {**SERVER, "ready": self.state == "ready", "pending": None if self.state == "ready" else self.state}
        user = {**USER, "servers": {} if self.state == "stopped" else {"": shown}}
        # A pending start or stop ends with the second look at it.
        ends = {"spawn": "spawning", "spawning": "ready", "stop": "stopping", "stopping": "stopped"}
        if shown["pending"] in ("spawning", "stopping"):
            shown["pending"] = {"spawning": "spawn", "stopping": "stop"}[str(shown["pending"])]
        self.state = ends.get(self.state, self.state)
        return 200, [user] if path == "hub/api/users" else user

    @staticmethod
    def _answer(request: requests.PreparedRequest, status: int, content: bytes, kind: str = "application/json") -> Any:
        raw = HTTPResponse(io.BytesIO(content), {"Content-Type": kind}, status, preload_content=False)
        return HTTPAdapter().build_response(request, raw)


def client(hub: EdgeHub, monkeypatch: pytest.MonkeyPatch) -> HubClient:
    monkeypatch.setattr(HTTPAdapter, "send", hub.send)
    for name in ("_PAUSE", "_LOOK_PAUSE"):
        monkeypatch.setattr(kernel_client, name, 0.01)
    for module in (polling, _transport):
        monkeypatch.setattr(module, "PAUSE", 0.005)
        monkeypatch.setattr(module, "LONGEST_PAUSE", 0.02)
    return HubClient(Connection(HUB, "a-token-of-a-test"))


def after(method: str) -> Callable[[str, str], bool]:
    """Return an ``opens`` that starts with the first GET after a request of this method."""
    begun: list[str] = []

    def opens(asked: str, _path: str) -> bool:
        begun.extend([asked] if asked == method else [])
        return bool(begun) and asked == "GET"

    return opens


def runner(part: str) -> Callable[[str, str], bool]:
    return lambda method, path: method == "GET" and path.endswith(part)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    ("state", "opens"),
    [
        ("started", runner("users/alice")),
        ("started", after("POST")),
        ("started", runner("/progress")),
        ("started", runner("user/alice/api")),
        ("restarted", after("DELETE")),
        ("stopped", runner("users/alice")),
        ("stopped", after("DELETE")),
    ],
    ids=["plan", "start", "stream", "answer", "restart", "plan of a stop", "stop"],
)
def test_no_wait_for_a_server_ends_with_it(
    status: int, state: str, opens: Callable[[str, str], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = EdgeHub(status, runs=state != "started")
    hub.opens = opens
    hub_client, start_time = client(hub, monkeypatch), time.monotonic()
    flow = server_batch(hub_client, [ServerSpec("alice", "", state)], lambda line: None, concurrency=1)
    result = run(flow, check_mode=False)
    assert len(hub.turned_away) == AWAY
    assert hub_client.was_away_since(start_time) is (status != 429)  # a hub that asks to come back is there
    assert not hub_client.was_away_since(time.monotonic())
    assert result["servers"][0]["failure"] is None, result
    assert result["servers"][0]["state"] == ("stopped" if state == "stopped" else "ready")
    assert result["changed"] is True


def test_a_hub_that_refuses_connections_for_a_moment_was_away() -> None:
    """The HTTP library tries again by itself, and succeeds. The hub may have ended its servers meanwhile."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # a port that refuses connections, because nothing listens yet
        port = listener.getsockname()[1]
        hub, start_time = HubClient(Connection(f"http://127.0.0.1:{port}/", "a-token-of-a-test")), time.monotonic()
        answer = in_background(lambda: hub.with_deadline(time.monotonic() + 60).probe(f"http://127.0.0.1:{port}/"))
        wait_until(lambda: hub.was_away_since(start_time))
        listener.listen()
        connection, _address = listener.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        response = answer.result(60)
        connection.close()
    assert response is not None
    assert response.status_code == 204


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("opens", [runner("api/users"), after("DELETE")], ids=["list", "stop"])
def test_no_cull_ends_with_it(status: int, opens: Callable[[str, str], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    hub = EdgeHub(status, runs=True)
    hub.opens = opens
    options = {name: spec.get("default") for name, spec in CULL.options.items()}
    flow = CULL.flow(client(hub, monkeypatch), {**options, "idle_timeout": "1h"}, lambda line: None)
    assert isinstance(flow, CullFlow)
    result = run(flow, check_mode=False)
    assert len(hub.turned_away) == AWAY
    assert not result["failures"], result
    assert hub.state == "stopped"


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("opens", [runner("api/kernels"), after("DELETE")], ids=["start", "end"])
def test_no_kernel_is_lost_by_it(
    status: int, opens: Callable[[str, str], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = EdgeHub(status, runs=True)
    hub.opens = opens
    kernels = KernelClient(client(hub, monkeypatch), f"{HUB}user/alice/", "server", 60.0, time.monotonic() + 60)
    kernel = kernels.start()
    assert len(hub.kernels) == 1
    assert kernels.delete(kernel)
    assert len(hub.turned_away) == AWAY
    assert hub.kernels == set()


@pytest.mark.parametrize("status", STATUSES)
def test_no_kernel_is_lost_that_was_asked_for(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The edge answers in place of the server that starts the kernel, and then the GETs for the kernel."""
    hub = EdgeHub(status, runs=True)
    hub.opens, hub.turns_away_posts = lambda method, path: method == "POST", True
    kernels = KernelClient(client(hub, monkeypatch), f"{HUB}user/alice/", "server", 60.0, time.monotonic() + 60)
    kernel = kernels.start()
    assert hub.kernels == {kernel.rpartition("/")[2]}
    assert kernels.delete(kernel)
    assert hub.kernels == set()


@pytest.mark.parametrize("status", STATUSES)
def test_no_handshake_of_a_kernel_ends_with_it(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = EdgeHub(status, runs=True)
    asked: list[str] = []

    def handshake(_client: KernelClient, url: str, _timeout: float) -> str:
        asked.append(url)
        if len(asked) <= AWAY:
            raise websocket.WebSocketBadStatusException("Handshake status", status)
        return "the websocket"

    monkeypatch.setattr(KernelClient, "_try_handshake", handshake)
    kernels = KernelClient(client(hub, monkeypatch), f"{HUB}user/alice/", "server", 60.0, time.monotonic() + 60)
    kernel = kernels.start()
    assert kernels._open_websocket(kernel) == "the websocket"
    assert f"{kernel}/channels" in asked
