# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hides secrets in values of JSON: a known one, and what users call secret in options and properties."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .responses import MAX_DEPTH, TOO_DEEP, change_texts

STARS = "*" * 8
"""Stands for a secret."""
_SECRET = re.compile(
    r"passw|pass(phrase|code)|pwd|pgpass|(^|[^a-z])pass($|[^a-z])|secret|token|credential"
    r"|(^|[^a-z])auth(orization)?($|[^a-z])|(api|access|private|ssh|encryption|signing)[-_ ]?key",
    re.IGNORECASE,
)
"""Keys whose values are secret."""
_IN_TEXT = re.compile(
    r"(?P<before>://[^/\s:@]*:)[^@/\s]+(?P<after>@)"
    r"|(?P<name>\b[\w-]*(?:passw\w*|passphrase|secret|token|pwd|api[-_]?key)[\"']?\s*[=:]\s*)[^\s,;&]+",
    re.IGNORECASE,
)
"""The password in an address, and the value of an argument such as ``--password=``."""


def hide_secrets(value: Any, _level: int = 0) -> Any:
    """Return a value of JSON with stars for what its keys and texts call a secret.

    A result or a difference is shown to many people, and logs keep it. What lies deeper than `MAX_DEPTH` is left out.
    """
    if isinstance(value, str):
        return _IN_TEXT.sub(_hide_match, value)
    if not isinstance(value, Mapping | list):
        return value
    if _level >= MAX_DEPTH:
        return TOO_DEEP
    if isinstance(value, list):
        return [hide_secrets(each, _level + 1) for each in value]
    # The list of a container's environment in Kubernetes has objects with a name and a value.
    is_pair = isinstance(value.get("name"), str) and _SECRET.search(value["name"]) is not None
    return {
        key: STARS
        if each not in (None, "") and (_SECRET.search(str(key)) or (is_pair and key == "value"))
        else hide_secrets(each, _level + 1)
        for key, each in value.items()
    }


def mask_secret(value: Any, secret: str) -> Any:
    """Return a value of JSON with stars for the secret, wherever a text has it."""
    return change_texts(value, lambda text: text.replace(secret, STARS))


def _hide_match(match: re.Match[str]) -> str:
    if match["name"] is not None:
        return f"{match['name']}{STARS}"
    return f"{match['before']}{STARS}{match['after']}"
