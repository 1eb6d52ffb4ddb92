# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of snapshots: written for their owner only, read again, and the newest one of a folder."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass

from .._hub.errors import HubError, Invalid, quoted
from .._hub.responses import parse_json
from .._hub.times import parse_time
from .._path import private_file
from .formats import SCHEMA, decode_snapshot, encode_snapshot, is_snapshot
from .model import Snapshot

LONGEST = 1 << 30
"""The largest snapshot that is read, in bytes: one of a hub with half a million users."""
_HEADER = re.compile(
    rb'\s*\{\s*"schema"\s*:\s*"(?P<schema>[^"]*)"\s*,\s*"version"\s*:\s*\d+\s*,\s*"taken"\s*:\s*"(?P<taken>[^"]*)"'
)
_HEADER_SIZE = 512
"""Bytes at the beginning of a file that show whether it is a snapshot and when it was taken."""


@dataclass(frozen=True)
class Newest:
    """The newest snapshot of a folder."""

    path: str
    ignored: tuple[str, ...] = ()
    """The paths of files whose names end in ``.json`` and that are not JSON."""


def write_snapshot(path: str, snapshot: Snapshot) -> None:
    """Write the file completely or not at all. Its owner alone can read it. Raises `Invalid` and `Conflict`."""
    content = encode_snapshot(snapshot)
    private_file.make_folders(path)  # a run that finds a new folder would lock it, and not the one above it
    with private_file.lock_folders([path]):
        private_file.write(path, content)


def read_snapshot(path: str) -> Snapshot:
    """Return the snapshot in the file. Raises `Invalid`, which says what is wrong with the file."""
    return decode_snapshot(read_file(path, "snapshot"), path)


def read_file(path: str, what: str) -> bytes:
    """Return the content of a file. ``what`` is its name in a sentence. Raises `Invalid` if it cannot be read."""
    try:
        text = private_file.read(path, LONGEST)
    except FileNotFoundError:
        raise Invalid(f"There is no {what} {quoted(path)}.", "Check the path.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Invalid(
            f"{quoted(path)} cannot be read: {reason}.", "Run as its owner, or give the path of another."
        ) from None
    if len(text) > LONGEST:
        raise Invalid(f"{quoted(path)} has more than {LONGEST >> 30} GiB.", f"Give the path of a {what}.")
    return text


def find_newest(path: str) -> Newest:
    """Return the newest snapshot if ``path`` is a folder, and otherwise the file itself. Raises `Invalid`.

    Snapshots of the folder are the files in it whose names end in ``.json`` and whose schema is that of a snapshot.
    """
    if not os.path.isdir(path):
        return Newest(path)
    try:
        names = sorted(name for name in os.listdir(path) if name.endswith(".json") and not name.startswith("."))
    except OSError as error:
        raise Invalid(f"{quoted(path)} cannot be read: {error.strerror}.", "Run as its owner.") from None
    times = {each: _find_time(each) for each in (os.path.join(path, name) for name in names)}
    found = [(taken, each) for each, taken in times.items() if taken is not None and taken > -math.inf]
    if not found:
        raise Invalid(
            f"The folder {quoted(path)} has no snapshot.", "Take one with hub_snapshot, or give the path of another."
        )
    return Newest(max(found)[1], tuple(each for each, taken in times.items() if taken == -math.inf))


def _find_time(path: str) -> float | None:
    """Return when a snapshot was taken, in seconds since 1970.

    Returns None if the file is something else, and minus infinity if it cannot be read or is not JSON.
    """
    try:
        header = _HEADER.match(private_file.read(path, _HEADER_SIZE))
        if header is not None:
            schema, taken = header["schema"].decode("utf-8", "replace"), header["taken"].decode("utf-8", "replace")
            return (parse_time(taken) or 0.0) if schema == SCHEMA else None
        content = parse_json(private_file.read(path, LONGEST))  # somebody has written it in another form
    except (HubError, OSError, ValueError):
        return -math.inf
    return (parse_time(content.get("taken")) or 0.0) if is_snapshot(content) else None
