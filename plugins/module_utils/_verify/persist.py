# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves that a user's files are still there after the server was stopped and started again.

The caller writes a nonce, starts the server again, reads the nonce, and removes it.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin

from .._hub.errors import HubError, HubFailure, Timeout, UnexpectedAnswer, quoted
from .._hub.responses import describe_request, find_content_type, find_reason, parse_json
from .refusals import explain_refusal, proxy_answers
from .running_server import RunningServer

_LONGEST_NAME = 60
"""Characters of the server's name in the file's name."""
_HOME_HINT = (
    "Check the volume of the user's home: that it is mounted, that the user may write to it, and that neither the disk "
    "nor a quota is full."
)
_REMOVE = """
def _hubops_remove(path, nonce):
    import os
    with open(path) as file:
        if nonce in file.read():
            os.unlink(path)
            print("hubops-removed")
try:
    _hubops_remove({path!r}, {nonce!r})
finally:
    del _hubops_remove
"""


@dataclass(frozen=True)
class Nonce:
    """A text that no other run writes, and the file with it. ``path`` is below the folder that the server shows."""

    path: str
    text: str


def name_nonce_file(server_name: str) -> str:
    """Return the name of the file. It is always the same, so that a run overwrites what a killed run has left."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", server_name).strip("-")[:_LONGEST_NAME]
    return f"hubops-verify-{plain or 'default'}.txt"


def write_nonce(server: RunningServer, server_name: str) -> Nonce:
    """Write a new nonce through the server's contents API, and return it.

    ``server_name`` is empty for the default server. Raises `HubFailure` if the server cannot write the file, and
    `UnexpectedAnswer` if it has no contents API.
    """
    nonce = Nonce(name_nonce_file(server_name), secrets.token_hex(16))
    content = f"{nonce.text}\nA test of the deployment writes this file and removes it again. It may be deleted.\n"
    body = {"type": "file", "format": "text", "content": content}
    response = _send(server, "PUT", nonce, body=body)
    if response.status_code in (200, 201):
        if not isinstance(_read_model(response).get("path"), str):
            raise _no_contents_api(server, response)
        return nonce
    raise _explain(server, response) or HubFailure(
        f"The {server.title} cannot write the file {nonce.path} in the user's home: {find_reason(response)}.",
        _HOME_HINT, **describe_request(response),
    )  # fmt: skip


def read_nonce(server: RunningServer, nonce: Nonce) -> None:
    """Prove that the nonce is still there.

    Raises `HubFailure` if it is gone, if it is another one, or if it cannot be read.
    """
    response = _send(server, "GET", nonce, params={"type": "file", "format": "text", "content": "1"})
    request = describe_request(response)
    if response.status_code == 404:
        raise HubFailure(
            f"The home of the {server.title} does not persist: the file {nonce.path} is gone after the restart.",
            "Check that the home is on a volume, and that each start of the server mounts the same one.", **request,
        )  # fmt: skip
    if response.status_code != 200:
        raise _explain(server, response) or HubFailure(
            f"The file {nonce.path} cannot be read after the restart of the {server.title}: {find_reason(response)}.",
            "Check the owner and the mode of the files on the volume of the user's home, and whether each start of the "
            "server runs as the same user id.", **request,
        )  # fmt: skip
    content = _read_model(response).get("content")
    if not isinstance(content, str):
        raise _no_contents_api(server, response)
    if content.partition("\n")[0] != nonce.text:
        raise HubFailure(
            f"The home of the {server.title} does not persist: the file {nonce.path} has another content after the "
            "restart.",
            "Check whether each start of the server mounts the same volume and no older copy of it, and whether "
            "another server of this user uses the same home at the same time.", **request,
        )  # fmt: skip


def remove_nonce(server: RunningServer, nonce: Nonce, run: Callable[[str], Any] | None = None) -> None:
    """Remove the file. It is all right if it is gone. Raises `HubError` if the server does not remove it.

    A Jupyter Server moves a deleted file to the user's trash, unless its administrator has turned that off. So give
    ``run`` if there is a Python kernel: it runs code, and its result has ``stdout``. Then nothing stays in the trash.
    """
    if run is not None and _remove_by_code(nonce, run):
        return
    response = _send(server, "DELETE", nonce)
    if response.status_code not in (200, 204, 404):
        raise _explain(server, response) or HubFailure(
            f"The {server.title} does not remove the file {nonce.path}: {find_reason(response)}.",
            "Remove it by hand.", **describe_request(response),
        )  # fmt: skip


def _remove_by_code(nonce: Nonce, run: Callable[[str], Any]) -> bool:
    """Remove the file in a kernel, whose working folder is the one that the server shows. Return whether it did."""
    try:
        return "hubops-removed" in str(run(_REMOVE.format(path=nonce.path, nonce=nonce.text)).stdout)
    except HubError:
        return False


def _send(server: RunningServer, method: str, nonce: Nonce, **more: Any) -> Any:
    hub = server.hub.with_deadline(time.monotonic() + server.timeout)
    try:
        return hub.send(method, urljoin(server.url, f"api/contents/{quote(nonce.path)}"), **more)
    except Timeout as error:
        # Most likely a network's file system hangs, and not the hub.
        message = f"The {server.title} does not answer for the file {nonce.path} in time: {error.message}"
        raise error.with_message(message).with_hint(_HOME_HINT) from None


def _explain(server: RunningServer, response: Any) -> HubError | None:
    """Return the failure that has nothing to do with the file, or None."""
    refusal = explain_refusal(server, response)
    if refusal is None and response.status_code in (404, 405, 501):
        may_be_proxy = response.status_code == 404 and "json" not in find_content_type(response)
        if may_be_proxy and not server.hub.server(server.url, server.title).answers():
            return proxy_answers(server, response)  # a proxy has no route to a server while it restarts
        return _no_contents_api(server, response)
    return refusal


def _no_contents_api(server: RunningServer, response: Any) -> UnexpectedAnswer:
    request = describe_request(response)
    return UnexpectedAnswer(
        f"The {server.title} has no contents API: {quoted(request['url'])} answers {request['status']}.",
        "Ask for persist only of servers of Jupyter, or leave persist out.", **request,
    )  # fmt: skip


def _read_model(response: Any) -> dict[str, Any]:
    """Return the file as the contents API describes it, or an empty description if another program answers."""
    try:
        found = parse_json(response.content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
