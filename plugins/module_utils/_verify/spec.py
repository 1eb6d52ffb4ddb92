# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verification checks: the validated options as models, and the scopes that they need. Sends no requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._hub.scopes import ACCESS, READ_SERVERS, START, STOP
from .._server.model import ServerSpec
from .code import Snippet
from .notebook import NotebookRun
from .probe import Package, Resources, WantedPath

FAIL, STOP_FIRST, USE = "fail", "stop", "use"
"""What to do about a server that is running before its check (``if_running``)."""
START_PHASE, STOP_PHASE, PERSIST_PHASE = "start", "stop", "persist"


@dataclass(frozen=True)
class CheckSpec:
    """One check: a server, and what to prove in it."""

    name: str
    """The name that the task gives it. It may be empty."""
    api_token: str
    """The token of its account. Empty means the task's token."""
    user: str
    """The owner of the server. Empty means the owner of the token."""
    server_name: str
    user_options: dict[str, Any] | None = None
    options_format: str = "auto"
    wait_timeout: float = 300.0
    """Seconds that the start may take, and that the stop may take."""
    warn_after: float | None = None
    """Seconds after which a start passes with a warning."""
    if_running: str = FAIL
    keep_running: bool = False
    timeout: float = 60.0
    """Seconds that a proof in the server may take, unless it has a limit of its own."""
    kernel_name: str = ""
    pages: tuple[str, ...] = ()
    snippets: tuple[Snippet, ...] = ()
    notebooks: tuple[NotebookRun, ...] = ()
    packages: tuple[Package, ...] = ()
    paths: tuple[WantedPath, ...] = ()
    resources: Resources | None = None
    terminal: bool = False
    websocket_idle: float | None = None
    """Seconds for which a websocket must survive without a message, after a large message. None leaves this out."""
    persist: bool = False

    @property
    def proofs(self) -> tuple[str, ...]:
        """The names of the phases between the start and the stop, in their order."""
        wanted = {
            "page": self.pages,
            "code": self.snippets,
            "notebooks": self.notebooks,
            "packages": self.packages,
            "paths": self.paths,
            "resources": self.resources is not None,
            "terminal": self.terminal,
            "websocket": self.websocket_idle is not None,
            PERSIST_PHASE: self.persist,
        }
        return tuple(name for name, value in wanted.items() if value)

    def server_of(self, user: str) -> ServerSpec:
        """Return the server that the check starts, with this owner. Raises `Invalid` for a name that cannot be."""
        return ServerSpec(
            user,
            self.server_name,
            "started",
            user_options=self.user_options,
            options_format=self.options_format,
            on_options_change="fail",
            wait_timeout=self.wait_timeout,
        )

    def needed_scopes(self, user: str) -> list[str]:
        """Return the scopes that its account needs to start, use and stop the user's server.

        A hub shows servers as a part of their user, and a filter by server would hide the user.
        """
        server = f"{user}/{self.server_name}"
        on_server = [f"{scope}!server={server}" for scope in (START, STOP, ACCESS)]
        return [f"{READ_SERVERS}!user={user}", *on_server]


@dataclass(frozen=True)
class VerifySpec:
    """What to check about a hub, and its checks."""

    checks: tuple[CheckSpec, ...]
    expected_version: str = ""
    login_page: bool = False
    tls_min_days: int | None = None
    services: tuple[str, ...] = ()
    token_min_ttl: float | None = None
    """Seconds. A token that ends sooner is a warning. None leaves this out."""
    concurrency: int = 10
    deadline: float | None = None
    """Seconds after which the whole verification ends, however far it is. None means never."""
    shows_progress: bool = True
    """Whether each phase is reported when it ends. A phase that has failed is always reported."""
