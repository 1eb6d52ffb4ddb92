# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that only its owner can read, and that is complete at any moment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence

from .._hub.errors import Conflict, Invalid, printable, quoted

LONGEST_WAIT = 120.0
"""How many seconds to wait for another run that writes files in the same folder."""
_READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""How to open a file to read it. With O_NONBLOCK, opening a named pipe does not wait for a process that writes to
it."""
_PAUSE = 0.05
"""Seconds between two tries to lock a folder."""


def check(path: str) -> None:
    """Raise `Invalid` if no file can be written at this path. A flow calls this before there is a content to lose."""
    if "\0" in path or os.path.basename(path) in ("", ".", ".."):
        raise Invalid(f"path, '{path}', is not the name of a file.", "Give path the name of a file.")
    folder = folder_of(path)
    while not os.path.lexists(folder):
        folder = folder_of(folder)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise Invalid(
            f"'{folder}' is not a folder, or cannot be written to.", "Give path a folder that can be written to."
        )
    if os.path.exists(path) and not os.path.isfile(path):
        raise Invalid(f"'{path}' is not a file.", "Give path the name of a file.")
    if len(os.fsencode(os.path.basename(left_over_path(path)))) > os.pathconf(folder, "PC_NAME_MAX"):
        raise Invalid(f"The name of '{path}' is too long.", "Give path a shorter one.")


def resolve(path: str) -> str:
    """Return the absolute path without links. It is the same for all paths of one file."""
    return path if "\0" in path else os.path.realpath(path)


def read(path: str, longest: int, *, is_own: bool = False) -> bytes:
    """Return the content of the file, or its first ``longest`` + 1 bytes, which show that it is too long.

    With ``is_own``, the file must belong to this user and must not be a link. Raises `Invalid` and `OSError`.
    """
    opened = os.open(path, _READ_FLAGS | (os.O_NOFOLLOW if is_own else 0))
    try:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode) or (is_own and status.st_uid != os.geteuid()):
            raise Invalid(f"{quoted(path)} is not a file.", "Give path the name of a file.")
        with os.fdopen(opened, "rb", closefd=False) as file:
            return file.read(longest + 1)
    finally:
        os.close(opened)


def exists(path: str) -> bool:
    """Return whether there is such a file."""
    return os.path.exists(path)


def is_open_to_others(path: str) -> bool:
    """Return whether users other than the owner can read or write the file."""
    return os.path.exists(path) and bool(os.stat(path).st_mode & 0o077)


def write(path: str, content: bytes) -> None:
    """Write the content completely or not at all: write a file beside the file, sync and rename it.

    Two runs that write the same file at the same time must hold the lock of its folder (`lock_folders`). Raises
    `Invalid`.
    """
    prepare(path, content)
    commit(path)


def prepare(path: str, content: bytes) -> None:
    """Write the content to a temporary file beside the file, which `commit` renames.

    The file has mode 0600. A missing folder is created with mode 0700. The umask does not matter. Raises `Invalid`.
    """
    make_folders(path)
    try:
        discard_left_over(path)
        try:
            with os.fdopen(os.open(left_over_path(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            discard_left_over(path)
            raise
    except OSError as error:
        raise _unwritable(path, error) from None


def commit(path: str) -> None:
    """Rename the temporary file that `prepare` has written. Raises `Invalid`."""
    folder = folder_of(path)
    try:
        os.replace(left_over_path(path), path)
    except BaseException as error:
        discard_left_over(path)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from None
        raise
    with contextlib.suppress(OSError):
        # The rename survives a power failure only if the folder is synced, too. Errors do not matter: the file is
        # there.
        opened = os.open(folder, _READ_FLAGS | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _unwritable(path: str, error: OSError) -> Invalid:
    return Invalid(f"{quoted(path)} cannot be written: {error.strerror}.", "Give path a folder that can be written to.")


def make_folders(path: str) -> None:
    """Create the missing folders above the file, with mode 0700. Raises `Invalid`."""
    missing, folder = list[str](), folder_of(path)
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = folder_of(folder)
    try:
        for each in reversed(missing):
            with contextlib.suppress(FileExistsError):  # somebody else has created it meanwhile, and chosen its mode
                os.mkdir(each, 0o700)
                os.chmod(each, 0o700)
    except OSError as error:
        raise _unwritable(path, error) from None


@contextlib.contextmanager
def lock_folders(paths: Sequence[str]) -> Iterator[None]:
    """Keep other runs that call this from writing files in the same folders, within the block.

    This locks the folders themselves. Such a lock leaves no file behind, and ends with the process, however the process
    ends. If a file system has no such locks, this does not wait. Raises `Conflict` if another process holds a lock for
    longer than `LONGEST_WAIT`.
    """
    deadline = time.monotonic() + LONGEST_WAIT
    while True:
        folders = _existing_folders(paths)
        with contextlib.ExitStack() as stack:
            for folder in folders:  # always in the same order, so that two runs never wait for each other
                with contextlib.suppress(OSError):
                    opened = os.open(folder, _READ_FLAGS | os.O_DIRECTORY)
                    stack.callback(os.close, opened)
                    _lock(opened, folder, deadline)
            # The previous holder may have created a missing folder, which other runs lock now. If so, lock again.
            if folders == _existing_folders(paths):
                yield
                return


def _lock(handle: int, folder: str, deadline: float) -> None:
    """Lock an open folder. Raises `Conflict` at the ``deadline``, and `OSError` if the file system has no locks."""
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        if time.monotonic() > deadline:
            raise Conflict(
                f"{_describe_holder(handle)} holds the lock of the folder {quoted(folder)}, and has not released it "
                f"within {LONGEST_WAIT:g} s.",
                "Run this again when that process has ended, or give path another folder.",
            )
        time.sleep(_PAUSE)


def _describe_holder(handle: int) -> str:
    """Return the process that holds the lock of this open file, as the beginning of a sentence.

    Returns "Another process" if the system does not name the process.
    """
    status = os.fstat(handle)
    inode = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError, ValueError, StopIteration):
        with open("/proc/locks", encoding="ascii", errors="replace") as locks:
            fields = [line.split() for line in locks]
        # The line of a process that waits has an arrow after its number.
        pid = int(next(line[4] for line in fields if line[1] == "FLOCK" and inode in line))
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return f"The process {pid} ({printable(_program_name(file.read(4096).split(chr(0))))})"
    return "Another process"


def _program_name(command: Sequence[str]) -> str:
    """Return the name of the program or script that a command runs. Other words of the command may be secret."""
    program = os.path.basename(command[0].split(" ")[0])
    script = command[1] if len(command) > 1 and re.match(r"python|(ba|da|k|z)?sh$", program) else ""
    return program if script.startswith("-") else f"{program} {os.path.basename(script)}".strip()


def _existing_folders(paths: Sequence[str]) -> list[str]:
    """Return the folders of the files, sorted.

    For a missing folder, return the nearest existing folder above it, in which it will be created.
    """
    found = set()
    for path in paths:
        folder = folder_of(resolve(path))
        while not os.path.lexists(folder):
            folder = folder_of(folder)
        found.add(folder)
    return sorted(found)


def has_left_over(path: str) -> bool:
    """Return whether a run that was killed while it wrote the file has left a temporary file beside it."""
    return os.path.lexists(left_over_path(path))


def discard_left_over(path: str) -> None:
    """Remove the temporary file beside the file, if there is one. Raises `Invalid`."""
    remove(left_over_path(path))


def left_over_path(path: str) -> str:
    """Return where the content is written first.

    It is always the same place, so that killed runs do not leave many files.
    """
    return os.path.join(folder_of(path), f".{os.path.basename(path)}.new")


def folder_of(path: str) -> str:
    """Return the folder as the path names it. To resolve a `..` after a link would give another folder."""
    return os.path.dirname(path) or "."


def protect(path: str) -> None:
    """Let only the owner read and write the file. Raises `Invalid`."""
    try:
        os.chmod(path, 0o600)
    except OSError as error:
        raise Invalid(f"'{path}' cannot be changed: {error.strerror}.", "Run as its owner.") from None


def remove(path: str) -> None:
    """Remove the file if it exists. Raises `Invalid`."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Invalid(f"'{path}' cannot be removed: {error.strerror}.", "Run as its owner.") from None
