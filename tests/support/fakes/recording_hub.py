# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake of a hub's API that records what it is asked: for passes over hubs that no test could start by the hundred.

with recording_hub() as fake:
    fake.show(user("alice", server(idle=3600)), user("bob"))
    ...  # fake.url; then fake.stops, fake.deletions, fake.recorded

It pages, filters, unquotes and refuses as JupyterHub 6.1 does, and what is stopped or deleted is gone. What a
DELETE is answered can be chosen: `Reply`. One listener serves any number of hubs, one after the other.
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

from support.fakes.misbehaving_hub import listening

Model = dict[str, Any]
Path = tuple[str, ...]

TOKEN = "t0ken-of-the-recording-hub"
DEFAULT_LIMIT, MAX_LIMIT = 50, 200


@dataclass(frozen=True)
class Recorded:
    """A request. ``path`` is what stands below /hub/api/, its segments unquoted one by one."""

    method: str
    path: Path
    query: dict[str, str]
    body: Any

    @property
    def removes(self) -> bool:
        """Whether a server is to be removed, too."""
        return bool((self.body or {}).get("remove"))

    def __str__(self) -> str:
        return f"{self.method} {'/'.join(self.path)}"


@dataclass(frozen=True)
class Reply:
    """What a DELETE is answered, after so many ``seconds``, and not before so many were under way ``at_once``. A server
    whose stop is answered with 202 goes then, and is pending for as long as it ``lasts``; from 400 on nothing happens
    to it."""

    status: int = 204
    seconds: float = 0
    lasts: float = 0
    at_once: int = 0


@dataclass
class RecordingHub:
    url: str
    version: str = "6.1.1"
    users: dict[str, Model] = field(default_factory=dict)
    replies: Mapping[Path, Reply] = field(default_factory=dict)
    recorded: list[Recorded] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    """So many DELETEs were under way at the same time."""
    lock: threading.Condition = field(default_factory=threading.Condition)
    going: dict[tuple[str, str], tuple[float, bool]] = field(default_factory=dict)
    """Servers that are being stopped: when (`time.monotonic`) they are, and whether they are removed then."""

    @property
    def api(self) -> str:
        return self.url + "hub/api"

    def show(self, *users: Model, replies: Mapping[Path, Reply] | None = None) -> None:
        """Be another hub, that has been asked nothing yet. ``replies`` are by path: ("users", "alice", "server")."""
        # A copy of its own: what goes is gone from this hub, and not from the test's.
        copies: list[Model] = json.loads(json.dumps(users))
        with self.lock:
            self.users = {one["name"]: one for one in copies}
            self.replies, self.recorded, self.going, self.most_at_once = replies or {}, [], {}, 0

    # What it was asked

    @property
    def writes(self) -> list[str]:
        return [str(one) for one in self.recorded if one.method != "GET"]

    @property
    def stops(self) -> list[tuple[str, str, bool]]:
        """Stops of servers in order: user, server name, and whether it was to be removed."""
        return sorted(
            (one.path[1], one.path[3] if one.path[2] == "servers" else "", one.removes)
            for one in self.recorded
            if one.method == "DELETE" and len(one.path) > 2
        )

    @property
    def deletions(self) -> list[str]:
        """Users whose deletion was asked for, in order."""
        return sorted(one.path[1] for one in self.recorded if one.method == "DELETE" and len(one.path) == 2)

    # What it answers: status and JSON

    def answer(self, asked: Recorded, pages: bool, host: str) -> tuple[int, Any]:
        with self.lock:
            self.recorded.append(asked)
        if asked.method == "DELETE":
            with self.one_more():
                return self.delete(asked.path, asked.removes)
        with self.lock:
            self.settle()
            match asked.path:
                case ("",):
                    return 200, {"version": self.version}
                case ("user",):
                    return 200, {"kind": "service", "name": "culler", "admin": False, "scopes": []}
                case ("users",):
                    return self.list(asked.query, pages, host)
                case ("users", name) if name in self.users:
                    return 200, shown(self.users[name], "include_stopped_servers" in asked.query)
        return 404, None

    def list(self, query: dict[str, str], pages: bool, host: str) -> tuple[int, Any]:
        state = query.get("state")
        found = [one for one in self.users.values() if not state or bool(active(one)) == (state != "inactive")]
        offset = int(query.get("offset", 0))
        limit = max(1, min(int(query.get("limit", DEFAULT_LIMIT if pages else MAX_LIMIT)), MAX_LIMIT))
        page = [
            # The hub filters `ready` after paging.
            shown(one)
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
        reply = self.replies.get(path, Reply())
        with self.lock:
            self.lock.wait_for(lambda: self.most_at_once >= reply.at_once, 120)
        time.sleep(reply.seconds)
        with self.lock:
            self.settle()
            match path:
                case ("users", name) if name in self.users:
                    if reply.status >= 400:
                        return reply.status, None
                    # The hub stops a default server on the way, and fails over any other.
                    if any(server or one["pending"] for server, one in active(self.users[name]).items()):
                        return 500, None
                    del self.users[name]
                    return reply.status, None
                case ("users", name, "server") if name in self.users:
                    return 400 if remove else self.stop(name, "", reply), None
                case ("users", name, "servers", server) if server in self.users.get(name, NOBODY)["servers"]:
                    return self.stop(name, server, reply, remove), None
                case ("users", _, "servers", _, "progress"):
                    return 405, None
        return 404, None

    def stop(self, name: str, server: str, reply: Reply, remove: bool = False) -> int:
        found = self.users[name]["servers"].get(server)
        if reply.status >= 400 or found is None:
            return reply.status
        if found["pending"] == "stop" or reply.status == 202:
            found |= {"pending": "stop", "ready": False}
            self.going.setdefault((name, server), (time.monotonic() + reply.lasts, remove))
            return 202
        self.end(name, server, remove)
        return reply.status

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.lock.notify_all()
        try:
            yield
        finally:
            with self.lock:
                self.at_once -= 1

    def settle(self) -> None:
        """See off the servers whose time has come."""
        for (name, server), (when, remove) in list(self.going.items()):
            if when <= time.monotonic():
                del self.going[name, server]
                self.end(name, server, remove)

    def end(self, name: str, server: str, remove: bool) -> None:
        user = self.users[name]
        found = user["servers"][server]
        if remove:
            del user["servers"][server]
        if found["stopped"]:
            return
        # The hub takes a stop for activity, of the user too.
        user["last_activity"] = ago(0)
        found |= {"ready": False, "pending": None, "stopped": True, "started": None, "last_activity": ago(0)}


NOBODY: Model = {"servers": {}}


def active(model: Model) -> dict[str, Model]:
    """A user's servers that run, or are about to begin or to end."""
    return {name: one for name, one in model["servers"].items() if not one["stopped"]}


def shown(model: Model, stopped: bool = False) -> Model:
    """The user as the hub shows it."""
    servers = model["servers"] if stopped else active(model)
    default = servers.get("", {})
    runs = default.get("ready") and not default["pending"]
    return {
        **model,
        "server": default["url"] if runs else None,
        "pending": default.get("pending"),
        "servers": servers,
    }


# How a test writes down users and servers


def ago(seconds: float | None) -> str | None:
    """That moment as the hub writes it; None for none."""
    if seconds is None:
        return None
    return (datetime.now(timezone.utc) - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def server(name: str = "", idle: float | None = 0, age: float | None = None, **more: Any) -> Model:
    """A server that runs, last used ``idle`` and started ``age`` seconds ago (left out: as long ago)."""
    started = ago(idle if age is None else age)
    model = {"name": name, "last_activity": ago(idle), "started": started, "ready": True, "pending": None}
    return {**model, "stopped": False, "url": "/user/of-whom/", "user_options": {}, **more}


def user(name: str, *servers: Model, idle: float | None = 0, age: float | None = None, **more: Any) -> Model:
    """A user, last active ``idle`` and created ``age`` seconds ago (left out: as long ago)."""
    created = ago(idle if age is None else age)
    model = {"kind": "user", "name": name, "admin": False, "roles": ["user"], "groups": [], "created": created}
    return {**model, "last_activity": ago(idle), "servers": {one["name"]: one for one in servers}, **more}


# The listener


@contextlib.contextmanager
def recording_hub() -> Iterator[RecordingHub]:
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
                asked = Recorded(self.command, segments[3:], dict(parse_qsl(query, True)), json.loads(body or "null"))
                pages = self.headers.get("Accept") == "application/jupyterhub-pagination+json"
                status, answer = fake.answer(asked, pages, self.headers["Host"])
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
            """Say nothing: `recorded` has it all."""

    with listening(Handler) as url:
        fake = RecordingHub(url)
        yield fake
