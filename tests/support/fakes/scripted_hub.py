# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hub client for unit tests below which a script, in place of HTTP, answers the requests that the test expects."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

HUB = "https://hub.example.org/jhub/"
API = HUB + "hub/api/"
TOKEN = "s3cr3t-0123456789"


@dataclass(frozen=True)
class Exchange:
    """A request that the test expects, and the answer to it. A string is sent as a page, anything else as JSON."""

    method: str
    url: str
    answer: Any = None
    status: int = 200
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str | None = TOKEN
    """The token that the request must carry, or None if it must not carry any."""


def version(number: str = "6.1.1") -> Exchange:
    """The request for the hub's version."""
    return Exchange("GET", API, {"version": number}, token=None)


def user(*scopes: str, **more: Any) -> Exchange:
    """The request for the token's owner and scopes."""
    return Exchange("GET", API + "user", {"kind": "user", "name": "alice", "scopes": list(scopes), **more})


class ScriptedAdapter(HTTPAdapter):
    """Answers the requests of a script. Any request but the next one of the script fails the test."""

    def __init__(self, script: list[Exchange]) -> None:
        super().__init__()
        self.script = script

    def send(self, request: requests.PreparedRequest, *_args: Any, **_more: Any) -> requests.Response:
        assert self.script, f"unexpected request: {request.method} {request.url}"
        expected = self.script.pop(0)
        assert (request.method, request.url) == (expected.method, expected.url)
        body = json.loads(request.body) if request.body else None
        assert body == expected.body
        assert request.headers.get("Authorization") == (f"token {expected.token}" if expected.token else None)
        assert {name: request.headers.get(name) for name in expected.headers} == expected.headers
        page = isinstance(expected.answer, str)
        content = expected.answer if page else json.dumps(expected.answer) if expected.answer is not None else ""
        headers = {"Content-Type": "text/html; charset=utf-8" if page else "application/json"}
        raw = HTTPResponse(
            io.BytesIO(content.encode()), {**headers, **expected.answer_headers}, expected.status, preload_content=False
        )
        return self.build_response(request, raw)


@contextmanager
def scripted_hub(*script: Exchange, url: str = HUB, token: str = TOKEN) -> Iterator[HubClient]:
    """A client whose hub expects exactly the requests of this script, in this order."""
    adapter = ScriptedAdapter(list(script))
    with HubClient(Connection(url, token)) as hub:
        hub._session.mount("https://", adapter)
        hub._session.mount("http://", adapter)
        yield hub
        assert not adapter.script, "the client did not send these requests"
