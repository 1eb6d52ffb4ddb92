# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jupyter notebooks: reads the code cells of an ``.ipynb`` file, and proves that they run in a server.

Source of the format: "The Notebook file format" in the documentation of nbformat. Source of the tags: "Executing
notebooks" in the documentation of nbclient.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._exec import failures
from .._exec.failures import get_cause
from .._exec.session import KernelSession
from .._hub.errors import HubError, Invalid, quoted
from .kernels import LONGEST_TEXT, open_kernel, shorten_error
from .phases import Finding
from .running_server import RunningServer

_FORMAT = 4
MAY_RAISE, LEFT_OUT = "raises-exception", "skip-execution"
"""The tags of cells that may raise an exception, and of cells that are not run."""
_FRAME = re.compile(
    r"""\s*(?:
        (?:Cell|Input)\ In\ ?\[(?P<count>\d{1,9})\]     # IPython 8 and later, with or without the line
        (?:.*?\ line:?\ (?P<line>\d{1,9}))?
        | <ipython-input-(?P<old_count>\d{1,9})-\w+>    # IPython 7
        | (?P<temporary>\S*/ipykernel_\d+/\d+\.py)      # IPython 7 in ipykernel 6
        | (?P<foreign>(?:File\ )?\S*[/\\]\S*)
    )""",
    re.X,
)
"""The first line of a frame in the traceback of a Python kernel. A cell is named by its execution's number."""
_ARROW = re.compile(r"-+> *(\d{1,9})")
"""The line that a frame of a Python kernel's traceback was in."""


@dataclass(frozen=True)
class Cell:
    """A code cell. ``number`` is its position among all cells of the notebook, from 1."""

    number: int
    source: str
    may_raise: bool = False

    def line(self, number: int) -> str:
        """Return a line of its source, counted from 1, without spaces around it, or an empty text."""
        lines = self.source.splitlines()
        return lines[number - 1].strip() if 0 < number <= len(lines) else ""


@dataclass(frozen=True)
class Notebook:
    """The code cells of a notebook that are to be run. ``name`` is how the user names the file."""

    name: str
    cells: tuple[Cell, ...]
    kernel_name: str = ""
    """The kernel that the notebook names, or empty."""


@dataclass(frozen=True)
class NotebookRun:
    """A notebook that is run in a kernel of its own. Times are in seconds."""

    notebook: Notebook
    timeout: float
    """From the request for the kernel to the end of the last cell."""
    cell_timeout: float
    """For each cell."""
    kernel_name: str = ""
    """The name of a kernel spec. If it is empty, the notebook's own is used, and then the server's default."""


def parse_notebook(text: str, name: str) -> Notebook:
    """Return the notebook in the text of its file. Raises `Invalid`, with the ``name``, if it is none of format 4."""
    try:
        model = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _not_a_notebook(name, f"it is not JSON ({error})") from None
    if not isinstance(model, dict) or "nbformat" not in model:
        raise _not_a_notebook(name, "it has no nbformat")
    version = model["nbformat"]
    if version != _FORMAT:
        raise Invalid(
            f"The notebook {quoted(name)} has the format {quoted(str(version))}, and only format {_FORMAT} can be run.",
            f"Convert it: jupyter nbconvert --to notebook --nbformat {_FORMAT} {shlex.quote(name)}",
        )
    cells = model.get("cells")
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise _not_a_notebook(name, "it has no list of cells")
    found = [_parse_cell(cell, number, name) for number, cell in enumerate(cells, 1)]
    metadata = model.get("metadata")
    spec = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    kernel = spec.get("name") if isinstance(spec, dict) else None
    return Notebook(name, tuple(cell for cell in found if cell), kernel if isinstance(kernel, str) else "")


def _parse_cell(model: dict[str, Any], number: int, name: str) -> Cell | None:
    """Return a cell that is to be run, or None for any other cell."""
    if model.get("cell_type") != "code":
        return None
    source = model.get("source", "")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise _not_a_notebook(name, f"the source of cell {number} is not text")
    metadata = model.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    tags = tags if isinstance(tags, list) else []
    if LEFT_OUT in tags or not source.strip():
        return None
    return Cell(number, source, MAY_RAISE in tags)


def _not_a_notebook(name: str, why: str) -> Invalid:
    return Invalid(f"The file {quoted(name)} is not a notebook: {why}.", "Give an .ipynb file that Jupyter has saved.")


def find_raising_line(cell: Cell, traceback: Sequence[str], execution_count: int | None) -> tuple[int, str]:
    """Return the number and the text of the cell's line that raised, from the traceback of a Python kernel.

    It is the innermost line of the cell itself: the cell may call a function of another cell or of a file.
    ``execution_count`` is the number that the kernel gave to the cell. Returns 0 and an empty text if the traceback
    does not say.
    """
    found, is_in_cell = 0, True  # a traceback without frames is that of an error in the cell's syntax
    for line in "\n".join(traceback).splitlines():
        arrow, frame = _ARROW.match(line), _FRAME.match(line)
        if arrow:
            found = int(arrow[1]) if is_in_cell else found
        elif frame:
            count = frame["count"] or frame["old_count"]
            is_in_cell = bool(frame["temporary"]) or (count is not None and execution_count in (None, int(count)))
            found = int(frame["line"]) if is_in_cell and frame["line"] else found
    text = cell.line(found)
    return (found, text) if text else (0, "")


def prove_notebooks(server: RunningServer, notebook_runs: Sequence[NotebookRun], finding: Finding) -> None:
    """Run the notebooks one after the other. The first one that fails ends the phase.

    Raises `CodeRaised` and the other failures of `_exec.failures`.
    """
    entries: list[dict[str, Any]] = []
    finding.details["notebooks"] = entries
    for run in notebook_runs:
        entry: dict[str, Any] = {
            "path": run.notebook.name,
            "kernel_name": run.kernel_name or run.notebook.kernel_name,
            "cells": len(run.notebook.cells),
            "cells_run": 0,
            "seconds": 0.0,
            **dict.fromkeys(("reason", "cell", "line", "source", "error")),
        }
        entries.append(entry)
        began = time.monotonic()
        try:
            _run(server, run, entry)
        except HubError as error:
            entry["reason"] = get_cause(error)
            raise _name_cell(error, entry) from None
        finally:
            entry["seconds"] = round(time.monotonic() - began, 3)
    cells = sum(entry["cells_run"] for entry in entries)
    finding.message = f"{_count(len(entries), 'notebook')} ran to the end ({_count(cells, 'cell')})."


def _run(server: RunningServer, run: NotebookRun, entry: dict[str, Any]) -> None:
    """Run the cells of one notebook, and fill in its entry of the details."""
    with open_kernel(server, entry["kernel_name"], run.timeout) as session:
        entry["kernel_name"] = session.kernel_name
        for cell in run.notebook.cells:
            # What is known of a cell at work is what a failure of its kernel leaves.
            entry["cell"] = cell.number
            _run_cell(session, cell, run.cell_timeout, entry)
            entry |= {"cell": None, "cells_run": entry["cells_run"] + 1}


def _run_cell(session: KernelSession, cell: Cell, timeout: float, entry: dict[str, Any]) -> None:
    # With the history, as people run it: cells may use Out and _, and tracebacks number the cells.
    output = session.execute(cell.source, timeout=timeout, option="cell_timeout", store_history=True)
    if not output.error or cell.may_raise:
        return
    line, source = find_raising_line(cell, output.error["traceback"], output.execution_count)
    entry |= {"line": line, "source": source[:LONGEST_TEXT], "error": shorten_error(output.error)}
    raise failures.code_raised(output.error)


def _name_cell(error: HubError, entry: dict[str, Any]) -> HubError:
    """Return the failure with the notebook, the cell and the line in its message."""
    where = f"Notebook {quoted(entry['path'])}"
    if not entry["cell"]:
        return error.with_message(f"{where}: {error.message}")
    line = f" Line {entry['line']} of the cell is {quoted(entry['source'])}." if entry["line"] else ""
    hint = f"{error.hint} Cells are counted from 1, and text cells count, too."
    return error.with_message(f"{where}, cell {entry['cell']}: {error.message}{line}").with_hint(hint)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
