# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answers of AWX that are no success."""

from __future__ import annotations

from typing import Any

Item = dict[str, Any]
"""A resource's item, as the stand-in stores it or as AWX shows it."""

Answer = tuple[int, Any]
"""A status, and what is sent as JSON."""


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status, body)
        self.answer: Answer = (status, body)


def not_found(model: str = "") -> Refused:
    """The answer to a path that leads nowhere, or to no item of this model."""
    return Refused(404, {"detail": f"No {model} matches the given query." if model else "Not found."})


def forbidden(detail: str = "You do not have permission to perform this action.") -> Refused:
    return Refused(403, {"detail": detail})


def invalid(*sentences: str, **fields: str) -> Refused:
    """The answer to a body with a wrong field. ``sentences`` are about none of its fields."""
    found = {name: [sentence] for name, sentence in fields.items()}
    return Refused(400, ({"__all__": list(sentences)} if sentences else {}) | found)
