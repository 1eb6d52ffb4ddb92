# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that holds one secret. `private_file` writes it, so only its owner can read it, and it is complete at any
moment."""

from __future__ import annotations

from .._hub.errors import Invalid, quoted
from .._path import private_file
from .._path.private_file import (
    check,
    commit,
    discard_left_over,
    exists,
    has_left_over,
    is_open_to_others,
    left_over_path,
    lock_folders,
    protect,
    remove,
    resolve,
)
from .secret_format import PLAIN, Damaged, Foreign, SecretFormat

__all__ = [
    "check",
    "commit",
    "discard_left_over",
    "exists",
    "has_left_over",
    "is_open_to_others",
    "lock_folders",
    "prepare",
    "protect",
    "read",
    "read_left_over",
    "remove",
    "resolve",
    "write",
]


def read(path: str, secret_format: SecretFormat = PLAIN) -> str:
    """Return the secret in the file, or an empty text if there is none.

    Raises `Invalid` if the file cannot be read or is not a token's, and `Damaged` if it held a secret.
    """
    try:
        return secret_format.decode(_text(path, secret_format.longest))
    except Foreign as error:
        raise Invalid(f"{quoted(path)} {error.problem}", error.hint) from None
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Invalid(
            f"{quoted(path)} cannot be read: {error.strerror}.", "Run as its owner, or give another path."
        ) from None


def read_left_over(path: str, secret_format: SecretFormat = PLAIN) -> str:
    """Return the secret in the temporary file that a killed run has left beside the file.

    Returns an empty text if there is no such file, or if it is incomplete or belongs to another user.
    """
    try:
        return secret_format.decode(_text(left_over_path(path), secret_format.longest, is_own=True))
    except (Invalid, Foreign, Damaged, OSError):
        return ""


def _text(path: str, longest: int, *, is_own: bool = False) -> str:
    """Return the text of the file as `private_file.read` does."""
    return private_file.read(path, longest, is_own=is_own).decode("ascii", "replace")


def write(path: str, secret: str, secret_format: SecretFormat = PLAIN) -> None:
    """Write the secret completely or not at all. Raises `Invalid`."""
    prepare(path, secret, secret_format)
    commit(path)


def prepare(path: str, secret: str, secret_format: SecretFormat = PLAIN) -> None:
    """Write the secret to a temporary file beside the file, which `commit` renames. `read_left_over` reads it.

    Raises `Invalid`.
    """
    private_file.prepare(path, secret_format.encode(secret).encode("ascii"))
