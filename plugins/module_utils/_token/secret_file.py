# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that holds one secret: nobody else may read it, and it is whole at any instant."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence

from .._hub.errors import Conflict, Invalid, printable, quoted

_LONGEST = 1024
"""Characters: more than any token has, and few enough to tell it from other files."""
LONGEST_WAIT = 120.0
"""Seconds that another run gets to end which keeps secrets in the same folder."""
_LOOK = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""How a file is opened to be looked at: a named pipe in its place is no reason to wait for one who writes to it."""
_PAUSE = 0.05
"""Seconds between two tries to lock a folder."""


def check(path: str) -> None:
    """Raise `Invalid` where a secret could not be kept, before there is one to lose."""
    if "\0" in path or os.path.basename(path) in ("", ".", ".."):
        raise Invalid(f"path, '{path}', is not the name of a file.", "Give one, or leave path out.")
    folder = _folder(path)
    while not os.path.lexists(folder):
        folder = _folder(folder)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise Invalid(f"'{folder}' is no folder or cannot be written to.", "Give path a place that can be.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise Invalid(f"'{path}' is not a file.", "Give path the name of a file.")
    if len(os.fsencode(os.path.basename(_beside(path)))) > os.pathconf(folder, "PC_NAME_MAX"):
        raise Invalid(f"The name of '{path}' is too long.", "Give path a shorter one.")


def place(path: str) -> str:
    """The one way to write where a file is: two paths with the same place are the same file."""
    return path if "\0" in path else os.path.realpath(path)


def read(path: str) -> str:
    """The secret; empty where there is none. Raises `Invalid` where the file cannot be read, or is no token's."""
    try:
        return _text(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Invalid(
            f"{quoted(path)} cannot be read: {error.strerror}.", "Run as its owner, or give another path."
        ) from None


def _text(path: str, *, ours: bool = False) -> str:
    """What the file holds; with ``ours``, only one of this user's and no link. Raises `Invalid` and OSError."""
    opened = os.open(path, _LOOK | (os.O_NOFOLLOW if ours else 0))
    try:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode) or (ours and status.st_uid != os.geteuid()):
            raise Invalid(f"{quoted(path)} is not a file.", "Give path the name of a file.")
        secret = os.read(opened, _LONGEST + 1).decode("ascii", "replace").strip()
    finally:
        os.close(opened)
    if len(secret) >= _LONGEST or secret.startswith("$ANSIBLE_VAULT;"):
        raise Invalid(
            f"{quoted(path)} holds something else than a token.",
            "Give the token a file of its own. The role service_account keeps one that is encrypted by ansible-vault.",
        )
    return secret


def exists(path: str) -> bool:
    """Whether there is such a file."""
    return os.path.exists(path)


def is_open(path: str) -> bool:
    """Whether others than the owner may read or write the file."""
    return os.path.exists(path) and bool(os.stat(path).st_mode & 0o077)


def write(path: str, secret: str) -> None:
    """Put it there as a whole or not at all: a file beside it (mode 0600), synced, takes the name. Raises `Invalid`."""
    prepare(path, secret)
    take(path)


def prepare(path: str, secret: str) -> None:
    """Write the file beside it, which `take` gives its name. `left_over` reads it where nobody does.

    A folder that is missing is made, for its owner only. The umask changes nothing of that. Raises `Invalid`.
    """
    folder, temporary = _folder(path), _beside(path)
    try:
        _make(folder)
        discard(path)
        try:
            with os.fdopen(
                os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii"
            ) as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(secret + "\n")
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            discard(path)
            raise
    except OSError as error:
        raise _unwritable(path, error) from None


def take(path: str) -> None:
    """Give the file that `prepare` has written its name. Raises `Invalid`."""
    folder = _folder(path)
    try:
        os.replace(_beside(path), path)
    except BaseException as error:
        discard(path)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from None
        raise
    with contextlib.suppress(OSError):
        # The rename itself survives a power cut only when the folder is synced too. It is there in any case.
        opened = os.open(folder, _LOOK | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _unwritable(path: str, error: OSError) -> Invalid:
    return Invalid(f"{quoted(path)} cannot be written: {error.strerror}.", "Give path a place that can be.")


def _make(folder: str) -> None:
    """Make a folder and those above it that are missing, each for its owner only."""
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = _folder(folder)
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):  # somebody else has made it meanwhile, and its mode is theirs
            os.mkdir(each, 0o700)
            os.chmod(each, 0o700)


@contextlib.contextmanager
def lock_folders(paths: Sequence[str]) -> Iterator[None]:
    """Within the block, nobody else who asks for this keeps secrets in the same folders.

    The folders themselves are locked: that leaves no file behind, and ends with the process, however that ends. Where a
    file system has no such locks, nothing is waited for. Raises `Conflict` where another process holds one for longer
    than `LONGEST_WAIT`.
    """
    deadline = time.monotonic() + LONGEST_WAIT
    while True:
        folders = _folders(paths)
        with contextlib.ExitStack() as stack:
            for folder in folders:  # in one order, lest two wait for each other
                with contextlib.suppress(OSError):
                    opened = os.open(folder, _LOOK | os.O_DIRECTORY)
                    stack.callback(os.close, opened)
                    _lock(opened, folder, deadline)
            if folders == _folders(paths):  # or whoever was waited for has made the folder, which others lock now
                yield
                return


def _lock(handle: int, folder: str, deadline: float) -> None:
    """Lock an open folder. Raises `Conflict` at the ``deadline``, and OSError where there are no locks."""
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        if time.monotonic() > deadline:
            raise Conflict(
                f"{_holder(handle)} holds the lock of the folder {quoted(folder)}, and has not given it back within "
                f"{LONGEST_WAIT:g} s.",
                "Run this again when that has ended, or keep the secrets in another folder.",
            )
        time.sleep(_PAUSE)


def _holder(handle: int) -> str:
    """Who holds the lock of this open file, as the beginning of a sentence; as far as the system tells."""
    status = os.fstat(handle)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError, ValueError, StopIteration):
        with open("/proc/locks", encoding="ascii", errors="replace") as locks:
            fields = [line.split() for line in locks]
        # A line of one that waits has an arrow after its number.
        pid = int(next(line[4] for line in fields if line[1] == "FLOCK" and place in line))
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return f"The process {pid} ({printable(_program(file.read(4096).split(chr(0))))})"
    return "Another process"


def _program(command: Sequence[str]) -> str:
    """What a command runs, by name. Its further words may hold secrets, of whoever runs it."""
    program = os.path.basename(command[0].split(" ")[0])
    script = command[1] if len(command) > 1 and re.match(r"python|(ba|da|k|z)?sh$", program) else ""
    return program if script.startswith("-") else f"{program} {os.path.basename(script)}".strip()


def _folders(paths: Sequence[str]) -> list[str]:
    """Where they are; of a folder that is missing, where it will be made."""
    found = set()
    for path in paths:
        folder = _folder(place(path))
        while not os.path.lexists(folder):
            folder = _folder(folder)
        found.add(folder)
    return sorted(found)


def left_over(path: str) -> bool:
    """Whether a run that was killed while it wrote the file left its half beside it."""
    return os.path.lexists(_beside(path))


def read_left_over(path: str) -> str:
    """What such a run has left there: a secret, a part of one, or nothing. It has left a file, and a file of ours."""
    try:
        return _text(_beside(path), ours=True)
    except (Invalid, OSError):
        return ""


def discard(path: str) -> None:
    """Remove that half, if there is one. Raises `Invalid`."""
    remove(_beside(path))


def _beside(path: str) -> str:
    """Where the file is written before it takes its name: always the same place, lest killed runs leave many."""
    return os.path.join(_folder(path), f".{os.path.basename(path)}.new")


def _folder(path: str) -> str:
    """Where the file is, in the words of its path: a `..` after a link is not what it seems to be."""
    return os.path.dirname(path) or "."


def protect(path: str) -> None:
    """Take the file from everybody but its owner. Raises `Invalid`."""
    try:
        os.chmod(path, 0o600)
    except OSError as error:
        raise Invalid(f"'{path}' cannot be changed: {error.strerror}.", "Run as its owner.") from None


def remove(path: str) -> None:
    """Remove the file, if it is there. Raises `Invalid`."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Invalid(f"'{path}' cannot be removed: {error.strerror}.", "Run as its owner.") from None
