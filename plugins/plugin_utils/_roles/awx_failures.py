# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role awx says if AWX refuses a notification template: a sentence without the secrets in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...module_utils._hub.errors import quoted
from .checks import one_line

SHORTEST_SECRET = 3
"""Characters. To hide each letter would hide the sentence."""


def describe(registered: Mapping[str, Any], notifications: Any, connection: Mapping[str, Any]) -> str:
    """Return the sentence for the first result of a loop that failed, empty if none has failed.

    ``registered`` is what the task with the loop registered. ``notifications`` are the declared notification templates,
    and ``connection`` are the options of the connection. Their texts do not show.
    """
    failed = [each for each in registered.get("results") or [] if each.get("failed")]
    if not failed:
        return ""
    result = failed[0]
    name = str(result.get("item"))
    message = str(result.get("msg") or "The module gave no reason.")
    declared = [each for each in notifications or [] if isinstance(each, Mapping) and each.get("name") == name]
    hidden = [each.get("notification_configuration") for each in declared] + [dict(connection)]
    for text in sorted({*_texts(hidden)}, key=len, reverse=True):
        message = message.replace(text, "***")
    return one_line(
        f"AWX refuses the notification template {quoted(name)}: {message} Correct it in awx_notification_templates.",
        600,
    )


def _texts(value: Any) -> Iterator[str]:
    """All texts of a value that are long enough to hide."""
    if isinstance(value, str):
        yield from [value] if len(value) >= SHORTEST_SECRET else []
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
