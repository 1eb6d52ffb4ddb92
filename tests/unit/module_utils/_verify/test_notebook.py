# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_verify.notebook: which cells a file has, and which line a traceback names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.notebook import (
    Cell,
    find_raising_line,
    parse_notebook,
)


def notebook(*cells: Any, **more: Any) -> str:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **more})


def code(source: Any, *tags: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {"tags": list(tags)}}


def test_the_cells_of_a_notebook() -> None:
    text = notebook(
        {"cell_type": "markdown", "source": "# A title"},
        code(["a = 1\n", "a"]),
        code("  \n"),
        code("left out", "skip-execution"),
        code("1 / 0", "other", "raises-exception"),
        {"cell_type": "raw", "source": "raw"},
        {"cell_type": "code", "source": "no metadata"},
        metadata={"kernelspec": {"name": "ir", "display_name": "R"}},
    )
    found = parse_notebook(text, "a.ipynb")
    assert found.cells == (Cell(2, "a = 1\na"), Cell(5, "1 / 0", may_raise=True), Cell(7, "no metadata"))
    assert (found.name, found.kernel_name) == ("a.ipynb", "ir")


@pytest.mark.parametrize("metadata", [None, [], {}, {"kernelspec": None}, {"kernelspec": {"name": 7}}])
def test_a_notebook_need_not_name_a_kernel(metadata: Any) -> None:
    assert parse_notebook(notebook(metadata=metadata), "a").kernel_name == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("print(1)", "The file 'a b.ipynb' is not a notebook: it is not JSON"),
        ("", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("\ufeff{}", "it is not JSON"),
        ("[]", "it has no nbformat"),
        ("{}", "it has no nbformat"),
        (json.dumps({"nbformat": 3, "worksheets": []}), "has the format '3', and only format 4 can be run"),
        (json.dumps({"nbformat": "4"}), "it has no list of cells"),
        (json.dumps({"nbformat": 4, "cells": {}}), "it has no list of cells"),
        (notebook(7), "it has no list of cells"),
        (notebook(code(7)), "the source of cell 1 is not text"),
        (notebook(code(["a", 7])), "the source of cell 1 is not text"),
    ],
)
def test_a_file_that_is_no_notebook(text: str, words: str) -> None:
    with pytest.raises(Invalid) as error:
        parse_notebook(text, "a b.ipynb")
    expected = "has the format '4'" if '"4"' in text else words
    assert expected in error.value.message
    if "format '3'" in words:
        assert "nbconvert --to notebook --nbformat 4 'a b.ipynb'" in error.value.hint


CELL = Cell(3, "import json\n\nfor n in (1, 0):\n    divide(n)\n")
ARROW = "      1 import json\n      3 for n in (1, 0):\n----> 4     divide(n)"
DIVIDE = "      1 def divide(n):\n----> 2     return 1 / n"
FILE = "File /usr/lib/python3/json/__init__.py:346, in loads(s)\n    345     x\n--> 346     y"


@pytest.mark.parametrize(
    "frames",
    [
        # IPython 8 and 9
        [f"Cell In[3], line 4\n{ARROW}", f"Cell In[2], line 2, in divide(n)\n{DIVIDE}", FILE],
        [f"Cell In [3], line 4\n{ARROW}", f"Cell In [2], line 2, in divide(n)\n{DIVIDE}"],
        [f"Input In [3], in <cell line: 3>()\n{ARROW}", f"Input In [2], in divide(n)\n{DIVIDE}"],
        # IPython 7
        [f"<ipython-input-3-0a1b> in <module>\n{ARROW}", f"<ipython-input-2-0a1b> in divide(n)\n{DIVIDE}"],
        [f"/tmp/ipykernel_12/34.py in <module>\n{ARROW}", f"/usr/lib/python3/a.py in divide(n)\n{DIVIDE}"],
    ],
)
def test_the_line_of_the_cell_that_raised(frames: list[str]) -> None:
    traceback = ["-" * 75, "ZeroDivisionError   Traceback (most recent call last)", *frames, "ZeroDivisionError: no"]
    assert find_raising_line(CELL, traceback, 3) == (4, "divide(n)")


@pytest.mark.parametrize(
    ("traceback", "line"),
    [
        (["  Cell In[3], line 3\n    for n in (1, 0):\n    ^\nSyntaxError: invalid syntax\n"], 3),
        (['  File "<ipython-input-3-0a1b>", line 1\n    import json\n', "SyntaxError: invalid syntax"], 0),
        (["somewhere"], 0),
        ([], 0),
        (["Cell In[3], line 99"], 0),
        (["Cell In[3], line " + "9" * 5000], 0),
        (["-" * 50 + "> " + "9" * 5000], 0),
        (["\x1b[31m"], 0),
    ],
)
def test_other_tracebacks(traceback: list[str], line: int) -> None:
    assert find_raising_line(CELL, traceback, 3) == (line, CELL.line(line))
