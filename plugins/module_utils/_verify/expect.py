# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a snippet of code is expected to write. Sends no requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._hub.errors import Invalid, printable, quoted

SOURCES = ("stdout", "stderr", "result", "output")
"""What can be expected. ``output`` is stdout, and the result after it."""
_SHOWN = 300
"""Characters of an output that a sentence shows."""


@dataclass(frozen=True)
class Expectation:
    """What one of the `SOURCES` must be. What is None is not checked."""

    source: str
    equals: str | None = None
    contains: str | None = None
    matches: str | None = None

    @staticmethod
    def from_options(options: Mapping[str, Any] | None, option: str) -> tuple[Expectation, ...]:
        """Return the expectations of an option ``expect``. Raises `Invalid` for a wrong regular expression."""
        found = []
        for source in SOURCES:
            wanted = (options or {}).get(source)
            if wanted is not None:
                found.append(Expectation(source, wanted["equals"], wanted["contains"], wanted["matches"]))
                _check_pattern(wanted["matches"], f"{option}.{source}.matches")
        return tuple(found)

    def find_difference(self, outputs: Mapping[str, str | None]) -> str | None:
        """Return a sentence on how the output differs from this, or None if it does not. Surrounding space is ignored
        by ``equals``."""
        text = outputs[self.source] or ""
        shown = f"{self.source} is '{printable(' '.join(text.split()), _SHOWN)}'"
        if self.equals is not None and text.strip() != self.equals.strip():
            return f"{shown}, expected was '{printable(self.equals, _SHOWN)}'"
        if self.contains is not None and self.contains not in text:
            return f"{shown}, which does not contain '{printable(self.contains, _SHOWN)}'"
        if self.matches is not None and not re.search(self.matches, text, re.M):
            return f"{shown}, which does not match '{printable(self.matches, _SHOWN)}'"
        return None


def _check_pattern(pattern: str | None, option: str) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise Invalid(
            f"{option}: {quoted(pattern or '')} is not a regular expression: {error}.", "Correct it, or use contains."
        ) from None
