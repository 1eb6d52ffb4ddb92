# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers behind a hub: whether one answers, and requests to its own API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from .errors import EDGE
from .responses import (
    foreign_host,
    is_from_server,
    no_route_to_server,
    server_failed,
    server_not_running,
)
from .scopes import ACCESS

if TYPE_CHECKING:
    from .client import HubClient


class ServerClient:
    """The server at one address. ``what`` is its name in a sentence, for failures.

    Raises `UnexpectedAnswer` if ``url`` is no address.
    """

    def __init__(self, hub: HubClient, url: str, what: str) -> None:
        self._hub = hub
        self._what = what
        self.url = hub.check_address(url)
        self.error_status: int | None = None
        """The status with which the server has failed when `answers` looked last, as far as it was the server's own."""

    def answers(self) -> bool:
        """Return whether the server itself answers. The hub answers in its place if the server does not run.

        Raises `TlsFailure` for a certificate that is not trusted. With subdomains, each server may have another
        certificate.
        """
        response = self._hub.probe(urljoin(self.url, "api"))
        if response is not None and response.status_code == 404:
            # Some programs have no /api. A proxy that has no route yet returns 404 for all addresses of the server.
            response = self._hub.probe(self.url)
        status = 0 if response is None else response.status_code
        self.error_status = status if status >= 500 and status not in EDGE else None
        return response is not None and is_from_server(response, self._hub.url)

    def is_hub_answering(self) -> bool:
        """Return whether the hub itself answers at the server's address, with a redirect to a page of its own."""
        response = self._hub.probe(urljoin(self.url, "api"))
        return response is not None and response.status_code < 400 and not is_from_server(response, self._hub.url)

    def request(self, method: str, path: str, *, body: dict[str, Any] | None = None) -> Any:
        """Send one request to the server's own API, below its address, and return the answer's JSON.

        The token must hold ``access:servers`` for the server.
        """
        hub, what = self._hub, self._what
        response = hub.send(method, urljoin(self.url, path), body=body)
        if response.status_code in (401, 403) and not hub.token_header(str(response.request.url)):
            raise foreign_host(response, what, hub.url)
        if 300 <= response.status_code < 400 and not is_from_server(response, hub.url):
            raise no_route_to_server(response, what)
        kind = response.headers.get("Content-Type", "")
        if response.status_code == 424 or (response.status_code in (403, 503) and "json" not in kind):
            # The hub answers in place of a server that has ended. To a POST it answers 403, because of its XSRF check.
            raise server_not_running(response, what)
        if response.status_code >= 500 and "json" in kind:
            raise server_failed(response, what)
        return hub.read_json(response, scope=ACCESS, what=what)
