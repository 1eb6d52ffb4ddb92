# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the tracebacks, outputs and other long texts in the details of a phase, for what shows a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .verify_values import read_line, read_list, read_mapping, readable_lines

LONGEST = 8000
"""Characters of one text that is shown. ``report.json`` has more."""
MOST = 10
"""Texts of one phase."""


def find_tracebacks(phase: Mapping[str, Any], longest: int = LONGEST) -> list[tuple[str, str]]:
    """Return pairs of a title and a text of several lines, for code and notebooks that did not do what they should."""
    return [*_tracebacks(read_mapping(phase["details"]), longest)][:MOST]


def _tracebacks(details: dict[str, Any], longest: int) -> Iterator[tuple[str, str]]:
    for number, snippet in enumerate(map(read_mapping, read_list(details.get("snippets"))), 1):
        if not snippet.get("reason") and not snippet.get("error"):
            continue
        name = f"Snippet {number}"
        yield from _texts(name, snippet, ("stdout", "stderr", "result"), longest)
    for notebook in map(read_mapping, read_list(details.get("notebooks"))):
        if not notebook.get("reason") and not notebook.get("error"):
            continue
        cell = notebook.get("cell")
        place = f", cell {read_line(cell, 20)}" if cell is not None else ""
        yield from _texts(f"{read_line(notebook.get('path'), 200)}{place}", notebook, ("source",), longest)


def _texts(name: str, found: dict[str, Any], keys: tuple[str, ...], longest: int) -> Iterator[tuple[str, str]]:
    error = read_mapping(found.get("error"))
    if error:
        title = f"{name}: {read_line(error.get('ename'), 100)}: {read_line(error.get('evalue'), 200)}"
        yield title, readable_lines(error.get("traceback") or title, longest)
    for key in keys:
        if found.get(key):
            yield f"{name}: {key}", readable_lines(found[key], longest)
