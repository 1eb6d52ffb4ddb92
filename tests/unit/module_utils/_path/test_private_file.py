# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""private_file: bytes of any kind and size. test_secret_file.py has the tests of locks, modes and failures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path import private_file


def test_bytes_come_back_as_they_were(tmp_path: Path) -> None:
    path, content = str(tmp_path / "new" / "file"), bytes(range(256)) * 5000
    private_file.check(path)
    private_file.write(path, content)
    assert private_file.read(path, 1 << 30) == content
    assert os.listdir(tmp_path / "new") == ["file"]


def test_a_file_that_is_too_long_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    private_file.write(path, b"0123456789")
    assert private_file.read(path, 10) == b"0123456789"
    assert private_file.read(path, 4) == b"01234"


def test_a_link_in_the_place_of_the_temporary_file_is_not_written_through(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    private_file.write(path, b"old")
    # A device that is full, where the temporary file would be.
    os.symlink("/dev/full", private_file.left_over_path(path))
    private_file.write(path, b"new")
    assert private_file.read(path, 10) == b"new"
    with pytest.raises(Invalid, match="is not a file"):
        private_file.read("/dev/full", 10)
