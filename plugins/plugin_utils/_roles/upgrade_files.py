# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the report of a comparison."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .upgrade_junit import junit
from .verify_page import page
from .verify_report import read_report


def compare_json(report: Mapping[str, Any], verify_report: Any = "") -> str:
    """Return the content of ``compare.json``. All of it is ASCII, so no program can misread it."""
    return f"{json.dumps(report, indent=1, allow_nan=False)}\n"


def compare_xml(report: Mapping[str, Any], verify_report: Any = "") -> str:
    """Return the content of ``compare.xml``."""
    return junit(report)


def index_html(report: Mapping[str, Any], verify_report: Any = "") -> str:
    """Return the content of ``index.html``, with the verification of the same hubs if there is one."""
    return page(read_report(verify_report), report)


FILES: dict[str, Callable[[Mapping[str, Any], Any], str]] = {
    "compare.json": compare_json,
    "compare.xml": compare_xml,
    "index.html": index_html,
}
"""The name of each file, and the function that returns its content."""


def file_content(report: Mapping[str, Any], name: str, verify_report: Any = "") -> str:
    """Return the content of the file with one of the names in `FILES`. Raises KeyError for another name.

    ``verify_report`` is the content of the ``report.json`` of the role verify, or empty.
    """
    return FILES[name](report, verify_report)
