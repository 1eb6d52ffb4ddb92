# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_exec.messages: a kernel's messages in the frames of both wire protocols."""

from __future__ import annotations

import json
import struct
import time
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec.messages import (
    decode,
    new_execute_request,
    new_request,
    pack,
    unpack,
)
from hypothesis import given
from hypothesis import strategies as st


def test_a_message_survives_the_way_in_one_frame() -> None:
    sent = new_execute_request("print('é')")
    found = unpack(pack(sent))
    assert found == {name: value for name, value in sent.items() if name != "buffers"}
    assert decode(pack(sent), is_binary=True) == found


def test_a_frame_is_laid_out_as_the_server_lays_it_out() -> None:
    """Offsets count from the start of the frame. The last one is its end, or the start of the first buffer."""
    frame = pack(new_request("kernel_info_request", {}))
    (number,) = struct.unpack_from("<Q", frame)
    offsets = struct.unpack_from(f"<{number}Q", frame, 8)
    assert (number, offsets[0], offsets[-1]) == (6, 8 * 7, len(frame))
    assert frame[offsets[0] : offsets[1]] == b"shell"
    with_buffer = struct.pack("<8Q", 7, *(offset + 8 for offset in offsets), len(frame) + 8 + 3) + frame[56:] + b"png"
    assert unpack(with_buffer) == unpack(frame)


def test_json_is_understood_in_text_only() -> None:
    text = json.dumps(new_execute_request("1"))
    assert decode(text, is_binary=False) == json.loads(text)
    assert decode(text, is_binary=True) == json.loads(text)
    assert decode(b"\x00" * 100, is_binary=False) is None


@pytest.mark.parametrize(
    "frame",
    ["", "no json", "[]", "7", '{"content": []}', '{"header": 3}', "NaN", b"", b"\x00", struct.pack("<Q", 1 << 60)],
)
def test_frames_without_a_message_are_ignored(frame: Any) -> None:
    assert decode(frame, is_binary=True) is None


def test_a_frame_of_many_offsets_is_not_cut_at_each_of_them() -> None:
    """A part for each offset would copy the frame each time: this frame would take hours, and too much memory."""
    number = 300_000
    frame = struct.pack(f"<{1 + number}Q", number, *(0, 8 * (1 + number)) * (number // 2)) + bytes(1_000_000)
    began = time.monotonic()
    assert decode(frame, is_binary=True) is None
    many = pack(new_request("kernel_info_request", {}))
    offsets = [8 * number + place - 8 * 6 for place in struct.unpack_from("<6Q", many, 8)]
    buffers = struct.pack(f"<{1 + number}Q", number, *offsets, *[offsets[-1]] * (number - 6)) + many[56:]
    assert decode(buffers, is_binary=True) == unpack(many)
    assert time.monotonic() - began < 10


@given(st.binary(max_size=200))
def test_any_frame_can_be_decoded(frame: bytes) -> None:
    found = decode(frame, is_binary=True)
    assert found is None or isinstance(found, dict)
