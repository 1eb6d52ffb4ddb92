# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds and reads the files of the reports that the role verify merges. verify_merge.py makes one report of them."""

from __future__ import annotations

import glob
import os
import stat
from typing import Any

from .checks import one_line
from .verify_history import LONGEST_REPORT
from .verify_merge import read_names

NAME = "report.json"
MOST_REPORTS = 1000


def read_reports(places: Any, start_folder: str, merged_folder: str) -> dict[str, str]:
    """Return the content of each ``report.json`` by its path.

    ``places`` is the value of ``verify_reports``: files, patterns of files, and folders that hold a report or whose
    folders do. Relative ones begin in ``start_folder``. The report in ``merged_folder``, which the merge replaces, is
    left out. Raises ValueError with a sentence if a place has no report, or if a file cannot be read.
    """
    start = str(start_folder)
    merged = os.path.realpath(os.path.join(str(merged_folder), NAME))
    paths: dict[str, str] = {}
    names = read_names(places)
    if not names:
        raise ValueError("verify_reports is empty. Give it a list of the folders or files of the reports.")
    for place in names:
        found = [path for path in _find(os.path.join(start, os.path.expanduser(place))) if _real(path) != merged]
        if not found:
            raise ValueError(
                f"verify_reports: there is no report at {one_line(place)}. Look whether the jobs have written reports, "
                "or correct the path."
            )
        paths |= {_real(path): path for path in found}
    if len(paths) > MOST_REPORTS:
        raise ValueError(
            f"verify_reports names {len(paths)} files, and at most {MOST_REPORTS} can be merged at a time."
        )
    return {_show(path, start): _read(path, _show(path, start)) for path in paths.values()}


def _real(path: str) -> str:
    return os.path.realpath(path)


def _find(place: str) -> list[str]:
    """Return the files at a path, a pattern or a folder."""
    matches = [place] if os.path.lexists(place) else sorted(glob.glob(place, recursive=True))
    found = []
    for path in matches:
        if not os.path.isdir(path):
            found.append(path)
            continue
        inside = [os.path.join(path, NAME), *sorted(glob.glob(os.path.join(glob.escape(path), "*", NAME)))]
        found += [file for file in inside if os.path.lexists(file)]
    return found


def _show(path: str, start: str) -> str:
    """Return a path as a person wants to read it."""
    relative = os.path.relpath(path, start)
    return path if relative.startswith("..") else relative


def _read(path: str, name: str) -> str:
    # A pipe would never end, and a device has no size.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError(f"{one_line(name)} is not a file. Correct verify_reports.")
            content = stream.read(LONGEST_REPORT + 1)
    except OSError as error:
        raise ValueError(f"{one_line(name)} cannot be read: {error.strerror}. Correct its permissions.") from None
    if len(content) > LONGEST_REPORT:
        raise ValueError(f"{one_line(name)} is too large for a report. Take the file away.")
    return content.decode(errors="replace")
