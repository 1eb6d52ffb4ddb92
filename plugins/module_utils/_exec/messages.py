# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages to and from a kernel, as a Jupyter Server's websocket transports them.

Source: "Messaging in Jupyter" in the documentation of jupyter_client, and "WebSocket kernel wire protocols" in the
documentation of jupyter_server. A server that supports ``v1.kernel.websocket.jupyter.org`` receives and sends binary
frames. Other servers receive and send JSON.
"""

from __future__ import annotations

import json
import struct
import time
import uuid
from itertools import pairwise
from typing import Any

from .._hub.responses import parse_json

BINARY_SUBPROTOCOL = "v1.kernel.websocket.jupyter.org"
END_STATES = ("dead", "restarting", "autorestarting")
"""The values of ``execution_state`` with which a server says that the process of a kernel has ended."""
_PARTS = ("header", "parent_header", "metadata", "content")


def new_request(message_type: str, content: dict[str, Any]) -> dict[str, Any]:
    """Return a request to a kernel, on its shell channel, with a new id."""
    header = {
        "msg_id": uuid.uuid4().hex, "msg_type": message_type, "session": uuid.uuid4().hex, "username": "",
        "version": "5.3", "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip
    return {
        "header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": [],
    }  # fmt: skip


def new_execute_request(
    code: str, *, silent: bool = False, store_history: bool = False, user_expressions: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return a request to run this code. The reply has the values of the ``user_expressions``, by their names."""
    return new_request(
        "execute_request",
        {
            "code": code, "silent": silent, "store_history": store_history,
            "user_expressions": user_expressions or {},
            # Nobody can answer a question, so input() must raise and not wait for ever.
            "allow_stdin": False, "stop_on_error": True,
        },
    )  # fmt: skip


def get_type(message: dict[str, Any]) -> str:
    """Return the type of a message, such as ``status``. It is empty if the message has none."""
    return str(message.get("msg_type") or (message.get("header") or {}).get("msg_type") or "")


def get_request_id(message: dict[str, Any]) -> str:
    """Return the id of the request that a message answers. It is empty if the message answers none."""
    return str((message.get("parent_header") or {}).get("msg_id") or "")


def pack(message: dict[str, Any]) -> bytes:
    """Return a message as one binary frame: the number of offsets, the offsets, the channel, and four parts of JSON."""
    parts = [message["channel"].encode(), *(json.dumps(message[name]).encode() for name in _PARTS)]
    number = len(parts) + 1
    offsets, place = [], 8 * (1 + number)
    for part in parts:
        offsets.append(place)
        place += len(part)
    return struct.pack(f"<{1 + number}Q", number, *offsets, place) + b"".join(parts)


def unpack(frame: bytes) -> dict[str, Any]:
    """Return the message in a binary frame, without its buffers. Raises `ValueError` if the frame is malformed."""
    try:
        (number,) = struct.unpack_from("<Q", frame)
        if not 6 <= number <= len(frame) // 8:
            raise ValueError("it has no such number of parts")
        # The offsets of the channel and of the parts that are read, and the end of the last part. Buffers may follow.
        offsets = struct.unpack_from(f"<{len(_PARTS) + 2}Q", frame, 8)
    except struct.error as error:
        raise ValueError(str(error)) from None
    if list(offsets) != sorted(offsets):
        raise ValueError("its parts overlap")
    parts = [frame[begin:end] for begin, end in pairwise(offsets)]
    found = {name: parse_json(part) for name, part in zip(_PARTS, parts[1:], strict=True)}
    return {"channel": parts[0].decode(), **found}


def decode(frame: str | bytes, *, is_binary: bool) -> dict[str, Any] | None:
    """Return the message in a frame, or None if it holds none.

    ``is_binary`` says whether the server uses `BINARY_SUBPROTOCOL`. If it does not, a binary frame is a message with
    buffers, for example of a widget or a picture. Nothing here waits for such a message.
    """
    if isinstance(frame, bytes) and not is_binary:
        return None
    try:
        message = parse_json(frame) if isinstance(frame, str) else unpack(frame)
    except ValueError:
        return None
    is_sound = isinstance(message, dict) and all(
        isinstance(message.get(name, {}), (dict, type(None))) for name in _PARTS
    )
    return message if is_sound else None
