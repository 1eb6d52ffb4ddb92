# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a report of the role verify."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .verify_junit import junit
from .verify_metrics import metrics
from .verify_page import page


def report_json(report: Mapping[str, Any]) -> str:
    """Return the content of ``report.json``. All of it is ASCII, so no program can misread it."""
    return f"{json.dumps(report, indent=1, allow_nan=False)}\n"


def history_json(report: Mapping[str, Any]) -> str:
    """Return the content of ``history.json``: the part of the report that the next run needs.

    The role removes the old report when it begins, and keeps this file. So a run that is killed loses no history.
    """
    kept = {name: report[name] for name in ("schema", "version", "history", "last_success")}
    return f"{json.dumps(kept, indent=1, allow_nan=False)}\n"


FILES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "report.json": report_json,
    "junit.xml": junit,
    "metrics.prom": metrics,
    "index.html": page,
    "history.json": history_json,
}
"""The name of each file, and the function that returns its content."""


def file_content(report: Mapping[str, Any], name: str) -> str:
    """Return the content of the file with one of the names in `FILES`. Raises KeyError for another name."""
    return FILES[name](report)
