# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a server does not do what it is asked for, as far as the reason has nothing to do with what that is."""

from __future__ import annotations

from typing import Any

from .._hub.errors import EDGE, HubError, HubFailure
from .._hub.responses import (
    describe_request,
    find_content_type,
    find_reason,
    foreign_host,
    is_from_server,
    no_route_to_server,
    server_not_running,
)
from .._hub.scopes import ACCESS
from .running_server import RunningServer


def explain_refusal(server: RunningServer, response: Any) -> HubError | None:
    """Return why the server's API has not even looked at a request, or None if it has.

    ``response`` is an answer of `HubClient.send`. The reasons are: the server does not run, the hub or a proxy answers
    in its place, or the token is not accepted.
    """
    status, is_json = response.status_code, "json" in find_content_type(response)
    if 300 <= status < 400 and not is_from_server(response, server.hub.url):
        return no_route_to_server(response, server.title)
    if status == 403 and not is_json and server.hub.server(server.url, server.title).answers():
        return _proxy_refuses(server, response)
    if status == 424 or (status in (403, 503) and not is_json):
        # The hub answers in place of a server that has ended. To a POST it answers 403, because of its XSRF check.
        return server_not_running(response, server.title)
    if status in (401, 403):
        return explain_forbidden(server, response)
    if status in EDGE and not is_json:
        return proxy_answers(server, response)
    return None


def explain_forbidden(server: RunningServer, response: Any) -> HubError | None:
    """Return what is wrong with the token that got this 401 or 403, or None if the token may access the server."""
    hub = server.hub
    if not hub.token_header(server.url):
        return foreign_host(response, server.title, hub.url)
    try:
        hub.read_json(response, scope=ACCESS, what=server.title)
    except HubError as error:
        try:
            # The token's owner was read again just now, so this is what the token may do at the moment.
            is_allowed = not hub.missing_scopes([f"{ACCESS}!user={server.user}"])
        except HubError:
            is_allowed = False
        return None if is_allowed else error
    return None


def _proxy_refuses(server: RunningServer, response: Any) -> HubFailure:
    """Return the failure if a proxy refuses a request to a server that answers others. The server would send JSON."""
    request = describe_request(response)
    return HubFailure(
        f"A proxy in front of the {server.title} refuses {request['method']} with {request['status']}: "
        f"{find_reason(response)}.",
        "Have the proxy let requests of all methods through, as JupyterHub's documentation shows.", **request,
    )  # fmt: skip


def proxy_answers(server: RunningServer, response: Any) -> HubFailure:
    """Return the failure if a proxy answers in place of the server."""
    request = describe_request(response)
    return HubFailure(
        f"A proxy answers {request['status']} in place of the {server.title}: {find_reason(response)}.",
        "Look into the hub's log for whether the server has ended, and into the server's own log for why. If it runs, "
        "check the proxy.", **request,
    )  # fmt: skip
