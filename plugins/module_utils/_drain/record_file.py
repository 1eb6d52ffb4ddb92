# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of a drain's record: private, complete at any moment, and in the hands of one run on this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

from .._hub.errors import Conflict, HubError, Invalid, quoted
from .._hub.threads import hold_lock
from .._path import private_file
from .record import Entry, Key, Record, parse

_LONGEST = 256 << 20
"""The largest record that is read, in bytes. One of a hundred thousand servers is smaller."""
_PAUSE = 0.5
"""Seconds between two writes while a run works. A killed run loses no more than what happened in this time: its next
run asks the hub."""
_LOCK_PATIENCE = 2.0
"""Seconds to wait for a run that is about to end."""


class RecordFile:
    """The record's file at ``path``. ``secret`` is the task's own token, which never gets into the file."""

    def __init__(self, path: str, secret: str = "") -> None:
        private_file.check(path)
        self.path = path
        """The path as the user has given it."""
        self._target = private_file.resolve(path)
        """The file itself. To rename a file to a link would replace the link, and the next run would lock another."""
        self._secret = secret

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other runs on this machine from draining or restoring with the same record within the block.

        Raises `Conflict` if another run does so at the moment.
        """
        with hold_lock(f"drained {self._target}", _LOCK_PATIENCE) as is_held:
            if not is_held:
                raise Conflict(
                    f"Another run drains or restores with the record {quoted(self.path)} at the moment.",
                    "Run this again when that run has ended.",
                )
            yield

    def read(self) -> Record | None:
        """Return the record, or None if there is no file. Raises `Invalid` if the file is not a sound record."""
        try:
            text = private_file.read(self._target, _LONGEST)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Invalid(
                f"{quoted(self.path)} cannot be read: {error.strerror}.", "Run as its owner, or give another path."
            ) from None
        if len(text) > _LONGEST:
            raise Invalid(
                f"{quoted(self.path)} is larger than {_LONGEST >> 20} MiB, which no record is.", "Check path."
            )
        return parse(text, self.path)

    def write(self, record: Record) -> None:
        """Write the record completely or not at all. Raises `Invalid`."""
        private_file.write(self._target, record.dump(self._secret).encode())

    def archive(self, record: Record) -> str:
        """Rename the file of a finished record, so that a new drain can begin one. Return the new path.

        Raises `Invalid`.
        """
        stem, suffix = os.path.splitext(self._target)
        time = "".join(sign for sign in record.drained.partition(".")[0].removesuffix("Z") if sign.isalnum())[:20]
        number, path = 1, f"{stem}-{time}Z{suffix}"
        while os.path.lexists(path):
            number += 1
            path = f"{stem}-{time}Z-{number}{suffix}"
        try:
            os.rename(self._target, path)
        except OSError as error:
            raise Invalid(
                f"{quoted(self.path)} cannot be renamed to {quoted(path)}: {error.strerror}.",
                "Give path a folder that can be written to.",
            ) from None
        return path


class Ledger:
    """A record that many threads change while its file follows, within a ``with`` block.

    The file is written at the block's beginning and end, and at most twice a second in between, because a write takes
    time if the record is long.
    """

    def __init__(self, file: RecordFile, record: Record, *, is_new: bool = True) -> None:
        """``is_new`` says whether the file does not have this record yet."""
        self._file = file
        self._record = record
        self._entries = dict(record.entries)
        self._is_dirty = is_new
        self._lock, self._write_lock = threading.Lock(), threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._save_regularly, daemon=True)

    @property
    def record(self) -> Record:
        """The record as it is now."""
        with self._lock:
            return self._record.with_entries(self._entries.values())

    def change(self, key: Key, **changes: Any) -> None:
        """Change an entry, if the record has it."""
        with self._lock:
            before = self._entries.get(key)
            if before is not None:
                after = self._entries[key] = replace(before, **changes)
                self._is_dirty = self._is_dirty or after != before

    def put(self, entry: Entry) -> None:
        """Add an entry, or replace the entry of the same server."""
        with self._lock:
            self._is_dirty = self._is_dirty or self._entries.get(entry.key) != entry
            self._entries[entry.key] = entry

    def drop(self, key: Key) -> None:
        """Remove an entry, if the record has it."""
        with self._lock:
            self._is_dirty = self._entries.pop(key, None) is not None or self._is_dirty

    def save(self) -> None:
        """Write the file if the record has changed since it was last written. Raises `Invalid`."""
        with self._write_lock:
            with self._lock:
                was_dirty, self._is_dirty = self._is_dirty, False
            if not was_dirty:
                return
            try:
                self._file.write(self.record)
            except BaseException:
                with self._lock:
                    self._is_dirty = True
                raise

    def __enter__(self) -> Ledger:
        self.save()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        if kind is None:
            self.save()
        else:
            with suppress(HubError):  # the block's own exception says more
                self.save()

    def _save_regularly(self) -> None:
        while not self._is_over.wait(_PAUSE):
            with suppress(HubError):  # the last write raises it
                self.save()
