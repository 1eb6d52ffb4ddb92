# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in of HashiCorp Vault or OpenBao: a key-value store of version 2 at ``secret/``, in memory.

with FakeVault() as vault:
    ...  # vault.url and vault.token are for VAULT_ADDR and VAULT_TOKEN
    vault.secrets["jupyterhub/teaching"]  # all versions of a secret, the newest last

It only reads and writes secrets, and answers as the API's documentation says.
"""

from __future__ import annotations

import json
import secrets
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any

from support.fakes.misbehaving_hub import http_listener

DATA = "/v1/secret/data/"
TIME = "2026-01-01T00:00:00.000000000Z"
Answer = tuple[int, dict[str, Any]]


class FakeVault:
    """The stand-in, on the loopback for the time of the block. With ``read_only``, it refuses each write."""

    def __init__(self) -> None:
        self.secrets: dict[str, list[dict[str, Any]]] = {}
        self.read_only = False
        self.is_sealed = False
        self.token = secrets.token_hex(15)
        self.url = ""
        self._stack = ExitStack()

    def __enter__(self) -> FakeVault:
        vault = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"{}")
                status, answer = vault.answer(self.command, self.path, self.headers.get("X-Vault-Token", ""), body)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = respond  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing."""

        self.url = self._stack.enter_context(http_listener(Handler)).rstrip("/")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def answer(self, method: str, path: str, token: str, body: dict[str, Any]) -> Answer:
        if self.is_sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if token != self.token or (method != "GET" and self.read_only):
            return 403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
        if not path.startswith(DATA):
            return 404, {"errors": ["no handler for route"]}
        versions = self.secrets.setdefault(path.removeprefix(DATA), [])
        if method != "GET":
            versions.append(body["data"])
        elif not versions:
            return 404, {"errors": []}
        metadata = {"created_time": TIME, "deletion_time": "", "destroyed": False, "version": len(versions)}
        return 200, {"data": metadata if method != "GET" else {"data": versions[-1], "metadata": metadata}}
