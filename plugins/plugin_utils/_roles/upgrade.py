# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role upgrade decides: the folders of its files, the verification of a hub, and what fails the role.

Ansible-core before 2.19 may pass a number or a boolean as text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from ...module_utils._verify.phases import FAILED, PASSED, WARNED
from .checks import is_true, one_line
from .verify_report import TASK_SKIPPED, read_report
from .verify_values import read_name

LOST, CHANGED, NEW = SEVERITIES = ("lost", "changed", "new")
"""The severities of a difference, the worst one first."""
LONGEST_FOLDER = 200
"""Characters of the name of a folder. Most file systems have room for 255 bytes."""


def name_folder(host: Any) -> str:
    """Return the name of the folder for the files of a host. Two hosts never have the same one.

    Letters and digits of ASCII, hyphens, underscores and dots stay, except for a dot at the beginning. Other characters
    are escaped as in an address.
    """
    name = str(host)
    escaped = quote(name.encode(errors="surrogatepass"), safe="")
    if not escaped or escaped.startswith("."):
        escaped = f"%2E{escaped[1:]}"
    if len(escaped) <= LONGEST_FOLDER:
        return escaped
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"{escaped[: LONGEST_FOLDER - 17]}~{digest}"


def find_verification(content: Any, host: Any, has_to_tell_failures: Any = False) -> dict[str, Any] | None:
    """Return what the report of the role verify says about a host, None if it says nothing about its hub.

    ``content`` is that of ``report.json``. With ``has_to_tell_failures``, a hub that could not be verified has its row,
    too, so that a comparison shows it. If the user has skipped the host, it has none. Raises ValueError if there is a
    content that is no report.
    """
    report = read_report(content)
    if report is None and content:
        raise ValueError(
            "The file of upgrade_verify_report is not a report of the role verify, or one of another version. Verify "
            "the hub again, or remove the file."
        )
    row = next((row for row in report["hubs"] if row["host"] == read_name(host)), None) if report else None
    is_told = row is not None and (
        not row["not_verified"] or (is_true(has_to_tell_failures) and row["not_verified"] != TASK_SKIPPED)
    )
    return row if is_told else None


def read_fail_on(value: Any) -> tuple[list[str], str]:
    """Return the severities that fail the role, and what is wrong with the value of the variable, empty if nothing is.

    A value that is set on a command line is text, with commas or spaces between the severities.
    """
    words = re.findall(r"[^\s,\[\]'\"]+", value) if isinstance(value, str) else value
    # A key without a value in YAML, and an empty field of a survey in AWX, are mistakes. They must not pass every hub.
    if words is None or (isinstance(value, str) and not value.strip()):
        return [], "upgrade_fail_on is empty. Give it a list of lost, changed and new, or [], which fails no hub."
    if not isinstance(words, list | tuple):
        words = [words]
    wrong = [word for word in words if word not in SEVERITIES]
    if wrong:
        return [], f"upgrade_fail_on has '{one_line(wrong[0], 80)}'. Give it a list of lost, changed and new, or []."
    return [severity for severity in SEVERITIES if severity in words], ""


def judge(severities: Iterable[str], fail_on: Iterable[str]) -> str:
    """Return the verdict on a comparison with differences of these severities.

    A loss that does not fail the role is a warning.
    """
    found = {*severities}
    if found & {*fail_on}:
        return FAILED
    return WARNED if LOST in found else PASSED
