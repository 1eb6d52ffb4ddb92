# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake of a hub's API, with users and servers that a test writes down, which records the requests that it gets.

with recording_hub() as fake:
    fake.set_users(user_model("alice", server_model(idle=3600)), user_model("bob"))
    ...  # fake.url is its address; then fake.stops, fake.deletions, fake.requests

For culling on hubs of which no test could start hundreds. It pages, filters, unquotes and refuses as JupyterHub 6.1
does (tests/integration/support/test_recording_hub.py compares it with a real hub), and it removes what is stopped or
deleted. A test can choose the answer to a DELETE: `DeleteAnswer`. One listener serves any number of hubs, one after
the other.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from support.fakes.misbehaving_hub import http_listener

Model = dict[str, Any]
Path = tuple[str, ...]

TOKEN = "t0ken-of-the-recording-hub"
DEFAULT_LIMIT, MAX_LIMIT = 50, 200


@dataclass(frozen=True)
class Request:
    """A request that the fake got. ``path`` has the segments below /hub/api/, each of them unquoted."""

    method: str
    path: Path
    query: dict[str, str]
    body: Any

    @property
    def is_removal(self) -> bool:
        """Whether the request to stop a server also asks to remove it."""
        return bool((self.body or {}).get("remove"))

    def __str__(self) -> str:
        return f"{self.method} {'/'.join(self.path)}"


@dataclass(frozen=True)
class DeleteAnswer:
    """The answer to a DELETE.

    It comes after ``delay_seconds``, and not before ``wait_for`` DELETEs have been under way at the same time. After a
    stop that is answered with 202 the server is pending for ``pending_seconds`` and then stopped. With a status of 400
    or more nothing is stopped or deleted.
    """

    status: int = 204
    delay_seconds: float = 0
    pending_seconds: float = 0
    wait_for: int = 0


@dataclass
class RecordingHub:
    url: str
    version: str = "6.1.1"
    users: dict[str, Model] = field(default_factory=dict)
    delete_answers: Mapping[Path, DeleteAnswer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    deletes_under_way: int = 0
    max_concurrent_deletes: int = 0
    """The most DELETEs that were under way at the same time."""
    lock: threading.Condition = field(default_factory=threading.Condition)
    stopping: dict[tuple[str, str], tuple[float, bool]] = field(default_factory=dict)
    """For each server that is being stopped, the time (`time.monotonic`) at which it is stopped, and whether it is then
    removed."""

    @property
    def api(self) -> str:
        return self.url + "hub/api"

    def set_users(self, *users: Model, delete_answers: Mapping[Path, DeleteAnswer] | None = None) -> None:
        """Become another hub, with these users and no recorded request.

        ``delete_answers`` are by path, such as ("users", "alice", "server").
        """
        # A copy, since the fake removes from it what is stopped or deleted.
        copies: list[Model] = json.loads(json.dumps(users))
        with self.lock:
            self.users = {one["name"]: one for one in copies}
            self.delete_answers, self.requests, self.stopping = delete_answers or {}, [], {}
            self.max_concurrent_deletes = 0

    # The recorded requests

    @property
    def writes(self) -> list[str]:
        """Method and path of each request that is not a GET."""
        return [str(one) for one in self.requests if one.method != "GET"]

    @property
    def stops(self) -> list[tuple[str, str, bool]]:
        """User, server name and whether to remove it, of each request to stop a server; sorted."""
        return sorted(
            (one.path[1], one.path[3] if one.path[2] == "servers" else "", one.is_removal)
            for one in self.requests
            if one.method == "DELETE" and len(one.path) > 2
        )

    @property
    def deletions(self) -> list[str]:
        """The users whose deletion was requested; sorted."""
        return sorted(one.path[1] for one in self.requests if one.method == "DELETE" and len(one.path) == 2)

    # The answers: status and JSON

    def answer(self, request: Request, pages: bool, host: str) -> tuple[int, Any]:
        with self.lock:
            self.requests.append(request)
        if request.method == "DELETE":
            with self.count_delete():
                return self.delete(request.path, request.is_removal)
        with self.lock:
            self.finish_due_stops()
            match request.path:
                case ("",):
                    return 200, {"version": self.version}
                case ("user",):
                    return 200, {"kind": "service", "name": "culler", "admin": False, "scopes": []}
                case ("users",):
                    return self.list_users(request.query, pages, host)
                case ("users", name) if name in self.users:
                    return 200, visible_model(self.users[name], "include_stopped_servers" in request.query)
        return 404, None

    def list_users(self, query: dict[str, str], pages: bool, host: str) -> tuple[int, Any]:
        state = query.get("state")
        found = [one for one in self.users.values() if not state or bool(active_servers(one)) == (state != "inactive")]
        offset = int(query.get("offset", 0))
        limit = max(1, min(int(query.get("limit", DEFAULT_LIMIT if pages else MAX_LIMIT)), MAX_LIMIT))
        page = [
            # The hub filters by `ready` after paging.
            visible_model(one)
            for one in found[offset : offset + limit]
            if state != "ready" or any(each["ready"] and not each["pending"] for each in one["servers"].values())
        ]
        if not pages:
            return 200, page
        following = None
        if offset + limit < len(found):
            more = urlencode({**query, "offset": offset + limit, "limit": limit})
            url = f"http://{host}/hub/api/users?{more}"
            following = {"offset": offset + limit, "limit": limit, "url": url}
        about = {"offset": offset, "limit": limit, "total": len(found), "next": following}
        return 200, {"items": page, "_pagination": about}

    def delete(self, path: Path, remove: bool) -> tuple[int, Any]:
        answer = self.delete_answers.get(path, DeleteAnswer())
        with self.lock:
            self.lock.wait_for(lambda: self.max_concurrent_deletes >= answer.wait_for, 120)
        time.sleep(answer.delay_seconds)
        with self.lock:
            self.finish_due_stops()
            match path:
                case ("users", name) if name in self.users:
                    if answer.status >= 400:
                        return answer.status, None
                    # The hub stops the default server before it deletes the user. It fails if another one is active.
                    if any(server or one["pending"] for server, one in active_servers(self.users[name]).items()):
                        return 500, None
                    del self.users[name]
                    return answer.status, None
                case ("users", name, "server") if name in self.users:
                    return 400 if remove else self.stop_server(name, "", answer), None
                case ("users", name, "servers", server) if server in self.users.get(name, NO_USER)["servers"]:
                    return self.stop_server(name, server, answer, remove), None
                case ("users", _, "servers", _, "progress"):
                    return 405, None
        return 404, None

    def stop_server(self, name: str, server: str, answer: DeleteAnswer, remove: bool = False) -> int:
        found = self.users[name]["servers"].get(server)
        if answer.status >= 400 or found is None:
            return answer.status
        if found["pending"] == "stop" or answer.status == 202:
            found |= {"pending": "stop", "ready": False}
            self.stopping.setdefault((name, server), (time.monotonic() + answer.pending_seconds, remove))
            return 202
        self.mark_stopped(name, server, remove)
        return answer.status

    @contextlib.contextmanager
    def count_delete(self) -> Iterator[None]:
        with self.lock:
            self.deletes_under_way += 1
            self.max_concurrent_deletes = max(self.max_concurrent_deletes, self.deletes_under_way)
            self.lock.notify_all()
        try:
            yield
        finally:
            with self.lock:
                self.deletes_under_way -= 1

    def finish_due_stops(self) -> None:
        """Mark the servers as stopped whose time to stop has come."""
        for (name, server), (when, remove) in list(self.stopping.items()):
            if when <= time.monotonic():
                del self.stopping[name, server]
                self.mark_stopped(name, server, remove)

    def mark_stopped(self, name: str, server: str, remove: bool) -> None:
        user = self.users[name]
        found = user["servers"][server]
        if remove:
            del user["servers"][server]
        if found["stopped"]:
            return
        # The hub counts a stop as activity of the server and of the user.
        user["last_activity"] = seconds_ago(0)
        found |= {"ready": False, "pending": None, "stopped": True, "started": None, "last_activity": seconds_ago(0)}


NO_USER: Model = {"servers": {}}


def active_servers(model: Model) -> dict[str, Model]:
    """A user's servers that run, start or stop, by name."""
    return {name: one for name, one in model["servers"].items() if not one["stopped"]}


def visible_model(model: Model, stopped: bool = False) -> Model:
    """The user as the hub shows it, with stopped servers if ``stopped`` is set."""
    servers = model["servers"] if stopped else active_servers(model)
    default = servers.get("", {})
    runs = default.get("ready") and not default["pending"]
    return {
        **model,
        "server": default["url"] if runs else None,
        "pending": default.get("pending"),
        "servers": servers,
    }


# Models of users and servers, for tests


def seconds_ago(seconds: float | None) -> str | None:
    """The time so many seconds ago, as the hub writes it. None stays None."""
    if seconds is None:
        return None
    return (datetime.now(timezone.utc) - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def server_model(name: str = "", idle: float | None = 0, age: float | None = None, **more: Any) -> Model:
    """A running server, last used ``idle`` seconds ago and started ``age`` seconds ago (by default the same)."""
    started = seconds_ago(idle if age is None else age)
    model = {"name": name, "last_activity": seconds_ago(idle), "started": started, "ready": True, "pending": None}
    return {**model, "stopped": False, "url": "/user/of-whom/", "user_options": {}, **more}


def user_model(name: str, *servers: Model, idle: float | None = 0, age: float | None = None, **more: Any) -> Model:
    """A user, last active ``idle`` seconds ago and created ``age`` seconds ago (by default the same)."""
    created = seconds_ago(idle if age is None else age)
    model = {"kind": "user", "name": name, "admin": False, "roles": ["user"], "groups": [], "created": created}
    return {**model, "last_activity": seconds_ago(idle), "servers": {one["name"]: one for one in servers}, **more}


# The listener


@contextlib.contextmanager
def recording_hub() -> Iterator[RecordingHub]:
    """A fake hub on the loopback for the time of the block, at first without users."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer is one packet

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _rest, query = self.path.partition("?")
            segments = tuple(unquote(segment) for segment in path.split("/"))
            allowed = segments[3:] == ("",) or self.headers.get("Authorization") == f"token {TOKEN}"
            if segments[:3] != ("", "hub", "api") or not allowed:
                status, answer = (403 if not allowed else 404), None
            else:
                request = Request(self.command, segments[3:], dict(parse_qsl(query, True)), json.loads(body or "null"))
                pages = self.headers.get("Accept") == "application/jupyterhub-pagination+json"
                status, answer = fake.answer(request, pages, self.headers["Host"])
            self.respond(status, answer)

        do_GET = do_DELETE = do_POST = do_PUT = do_PATCH = handle_any  # noqa: N815 - the library's names

        def respond(self, status: int, answer: Any) -> None:
            if answer is None and status >= 400:
                answer = {"status": status, "message": self.responses[status][0]}
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing: `requests` has all of it."""

    with http_listener(Handler) as url:
        fake = RecordingHub(url)
        yield fake
