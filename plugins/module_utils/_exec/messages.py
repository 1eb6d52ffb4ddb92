# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages to and from a kernel, as they travel over a Jupyter Server's websocket.

Source: "Messaging in Jupyter" in the documentation of jupyter_client, and "WebSocket kernel wire protocols" in that of
jupyter_server. A server that knows ``v1.kernel.websocket.jupyter.org`` takes and sends binary frames; others JSON.

"""

from __future__ import annotations

import json
import struct
import time
import uuid
from itertools import pairwise
from typing import Any

from .._hub.responses import parse_json

V1 = "v1.kernel.websocket.jupyter.org"
"""The subprotocol of binary frames."""
_PARTS = ("header", "parent_header", "metadata", "content")


def request(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """A request to a kernel, on its shell channel, with an id of its own."""
    header = {
        "msg_id": uuid.uuid4().hex, "msg_type": kind, "session": uuid.uuid4().hex, "username": "", "version": "5.3",
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip
    return {
        "header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": [],
    }  # fmt: skip


def execution(code: str) -> dict[str, Any]:
    """The request to run code."""
    return request(
        "execute_request",
        {
            "code": code, "silent": False, "store_history": False, "user_expressions": {},
            # Nobody is there to answer a question: input() raises instead of waiting for ever.
            "allow_stdin": False, "stop_on_error": True,
        },
    )  # fmt: skip


def kind_of(message: dict[str, Any]) -> str:
    """What a message is, such as ``status``."""
    return str(message.get("msg_type") or (message.get("header") or {}).get("msg_type") or "")


def parent_of(message: dict[str, Any]) -> str:
    """The id of the request that a message answers."""
    return str((message.get("parent_header") or {}).get("msg_id") or "")


def packed(message: dict[str, Any]) -> bytes:
    """A message as one binary frame: the number of offsets, the offsets, the channel, and four parts of JSON."""
    parts = [message["channel"].encode(), *(json.dumps(message[name]).encode() for name in _PARTS)]
    number = len(parts) + 1
    offsets, place = [], 8 * (1 + number)
    for part in parts:
        offsets.append(place)
        place += len(part)
    return struct.pack(f"<{1 + number}Q", number, *offsets, place) + b"".join(parts)


def unpacked(frame: bytes) -> dict[str, Any]:
    """The message in a binary frame, without its buffers. Raises `ValueError` for what is none."""
    try:
        (number,) = struct.unpack_from("<Q", frame)
        if not 6 <= number <= len(frame) // 8:
            raise ValueError("it has no such number of parts")
        # Those of the channel and of the parts that are read, and the end of the last one. Buffers may follow.
        offsets = struct.unpack_from(f"<{len(_PARTS) + 2}Q", frame, 8)
    except struct.error as error:
        raise ValueError(str(error)) from None
    if list(offsets) != sorted(offsets):
        raise ValueError("its parts overlap")
    parts = [frame[begin:end] for begin, end in pairwise(offsets)]
    found = {name: parse_json(part) for name, part in zip(_PARTS, parts[1:], strict=True)}
    return {"channel": parts[0].decode(), **found}


def message_of(frame: str | bytes, binary: bool) -> dict[str, Any] | None:
    """The message in a frame; None for one that is none. ``binary`` is whether the server has agreed to `V1`.

    Without that, a binary frame is a message with buffers, of a widget or a picture, and never one that is waited for.
    """
    if isinstance(frame, bytes) and not binary:
        return None
    try:
        found = parse_json(frame) if isinstance(frame, str) else unpacked(frame)
    except ValueError:
        return None
    sound = isinstance(found, dict) and all(isinstance(found.get(name, {}), (dict, type(None))) for name in _PARTS)
    return found if sound else None
