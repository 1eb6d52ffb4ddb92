# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers without processes: one HTTP listener inside the hub answers for all of them.

The user_options of a server choose what it does wrong:

    start_seconds    how long the start takes, with a progress event every half second
    start_gate       the path of a file; after start_seconds, the start waits until the file exists
    start_told       a number; after the gate, the start waits until so many listeners got all events of the progress
    never            the server never becomes ready, until start_timeout or a stop
    fail             the start fails with this message, after start_seconds
    fail_status      the failure is an HTTP error with this status
    fail_silently    the start runs into its timeout (start_seconds, or 1 s); the hub gives an empty reason
    start_timeout    the timeout of this start, in seconds
    no_progress_key  progress events have only a message
    dead             the hub says ready, but the server's URL does not answer
    stop_seconds     how long the stop takes
    stop_gate        the path of a file; after stop_seconds, the stop waits until the file exists
    stop_fails       the stop raises an exception

A value may have its own type, be text, or be a list of one item, since HTML forms send lists.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from urllib.parse import unquote

from jupyterhub import __version__
from jupyterhub.spawner import Spawner
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

EVENT_SECONDS = 0.5
POLL_SECONDS = 0.05  # between two checks for the file of a gate
PHASES = ("waiting for a node", "pulling image", "mounting volumes", "starting container")


class LightSpawnError(Exception):
    """A failure whose text the hub repeats in the progress. JupyterHub 6.1 also repeats it to a request that waits."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.jupyterhub_message = message


class Listener:
    """The HTTP listener of all servers. The first start opens it."""

    def __init__(self) -> None:
        self.servers: dict[str, LightSpawner] = {}  # by base path
        self.port = 0

    def url(self) -> str:
        if not self.port:
            sockets = bind_sockets(0, "127.0.0.1")
            server = HTTPServer(Application([(".*", ServerHandler)], log_function=lambda handler: None))
            server.add_sockets(sockets)
            self.port = sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{self.port}"

    def at(self, path: str) -> LightSpawner | None:
        """The server with the longest base path that the path begins with, or None."""
        parts = unquote(path).strip("/").split("/")
        for length in range(len(parts), 0, -1):
            spawner = self.servers.get("/".join(parts[:length]))
            if spawner is not None:
                return spawner
        return None


LISTENER = Listener()


class ServerHandler(RequestHandler):
    """Answers for every active light server."""

    def prepare(self) -> None:
        spawner = LISTENER.at(self.request.path)
        if spawner is None:
            self.send_error(404)
        elif spawner.hung_up:
            self.request.connection.stream.close()
            self._finished = True  # tornado must not write an answer to a closed connection
        else:
            # A dead server answers once, so that the hub calls it ready.
            spawner.hung_up = spawner.flag("dead")
            self.set_header("X-JupyterHub-Version", __version__)
            answer = {"version": "light", "user": spawner.user.name, "server_name": spawner.name}
            self.finish({**answer, "user_options": spawner.user_options})

    def check_xsrf_cookie(self) -> None:
        """Accept requests without a token against forgery."""

    def write_error(self, status_code: int, **kwargs) -> None:
        self.finish({"status": status_code, "message": "no such light server"})


class LightSpawner(Spawner):
    """A spawner without processes."""

    began = 0.0
    path = ""
    alive = False
    hung_up = False
    informed = 0  # listeners that got all events of the progress

    # The options of the user

    def option(self, name: str):
        value = self.user_options.get(name)
        if isinstance(value, (list, tuple)):
            value = value[0] if value else None
        return value

    def flag(self, name: str) -> bool:
        value = self.option(name)
        return value.lower() in ("true", "yes", "on", "1") if isinstance(value, str) else bool(value)

    def number(self, name: str, default: float = 0) -> float:
        value = self.option(name)
        if value is None or value == "":
            return default
        try:
            return float(value)
        except (TypeError, ValueError):
            raise LightSpawnError(f"{name} must be a number, not {value!r}") from None

    async def pass_gate(self, name: str) -> None:
        """Wait until the file of this gate exists. Without a gate, return at once."""
        path = self.option(name)
        while path and not os.path.exists(str(path)):
            await asyncio.sleep(POLL_SECONDS)

    # Methods that the hub calls

    def start(self):
        # Not a coroutine: the hub reads start_timeout when this returns, before a coroutine would have run.
        silent, pause = self.flag("fail_silently"), self.number("start_seconds")
        timeout = self.number("start_timeout", (pause or 1) if silent else 0)
        if timeout:
            self.start_timeout = max(1, math.ceil(timeout))
        self.began, self.alive, self.hung_up, self.informed = time.monotonic(), True, False, 0
        return self.become_ready(math.inf if silent or self.flag("never") else pause)

    async def become_ready(self, pause: float) -> str:
        if pause == math.inf:
            await asyncio.Event().wait()
        await asyncio.sleep(pause)
        await self.pass_gate("start_gate")
        while self.informed < self.number("start_told"):
            await asyncio.sleep(POLL_SECONDS)
        if self.option("fail"):
            self.alive = False
            status = int(self.number("fail_status"))
            raise HTTPError(status, str(self.option("fail"))) if status else LightSpawnError(str(self.option("fail")))
        self.path = unquote(self.server.base_url).strip("/")
        LISTENER.servers[self.path] = self
        return LISTENER.url()

    async def progress(self):
        """All events since the start, then the next ones as they come. A listener that comes late misses none."""
        steps = max(1, math.ceil(self.number("start_seconds") / EVENT_SECONDS))
        if self.flag("never") or self.flag("fail_silently"):
            steps = max(steps, math.ceil(self.start_timeout / EVENT_SECONDS))
        for step in range(1, steps + 1):
            await asyncio.sleep(max(0, self.began + (step - 1) * EVENT_SECONDS - time.monotonic()))
            event = {"message": f"Step {step} of {steps}: {PHASES[(step - 1) % len(PHASES)]}"}
            if not self.flag("no_progress_key"):
                event["progress"] = 90 * step // steps
            yield event
        self.informed += 1  # the hub asks for one more event after it has sent the last one

    async def poll(self) -> int | None:
        return None if self.alive else 0

    async def stop(self, now: bool = False) -> None:
        await asyncio.sleep(self.number("stop_seconds"))
        await self.pass_gate("stop_gate")
        if self.flag("stop_fails"):
            raise LightSpawnError("The light server does not stop")  # it goes on answering, like a real server
        self.alive = False
        if LISTENER.servers.get(self.path) is self:
            del LISTENER.servers[self.path]
