# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the values of a report: texts, numbers, verdicts and times that somebody else wrote.

No function here raises. A value of another form becomes an empty value. Ansible-core before 2.19 may pass a number or a
boolean as text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ...module_utils._hub.errors import printable
from ...module_utils._verify.phases import FAILED, PASSED, SKIPPED, WARNED
from .checks import is_true

VERDICTS = (PASSED, WARNED, SKIPPED, FAILED)
"""The verdicts, the worst one last."""
LONGEST_NAME = 200
"""Characters of the name of a host, a check or a phase."""
LONGEST_TEXT = 20_000
"""Characters of one text in the details of a phase. A traceback may be longer."""
MOST_ITEMS = 1000
"""Items of one list or dictionary in the details of a phase."""
DEEPEST = 8
"""Levels of lists and dictionaries in the details of a phase."""
LONGEST_TIME = 1e11
"""Seconds that a report can hold, also since 1970."""

_TIME = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_CUT_NAME = re.compile(rf".{{{LONGEST_NAME},{10 * LONGEST_NAME}}}\.\.\. \([0-9]{{1,9}} characters\)")
_HALF_CHARACTERS = re.compile("[\ud800-\udfff]")
_TERMINAL_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


def read_mapping(value: Any) -> dict[str, Any]:
    """Return a dictionary with text as keys, which is empty if the value is none."""
    try:
        return {read_text(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}
    except Exception:
        return {}


def read_list(value: Any) -> list[Any]:
    """Return a list of at most `MOST_ITEMS` items, which is empty if the value is none."""
    return [*value][:MOST_ITEMS] if isinstance(value, list | tuple) else []


def read_text(value: Any) -> str:
    """Return the value as text. None becomes an empty text."""
    try:
        return "" if value is None else str(value)
    except Exception:  # such as that of a number with more digits than Python writes
        return ""


def read_line(value: Any, longest: int = 2000) -> str:
    """Return the value as one printable line. None becomes an empty text."""
    return printable(" ".join(read_text(value).split()), longest)


def read_name(value: Any) -> str:
    """Return the value as a printable name. A name that was cut before stays as it is."""
    text = read_text(value)
    return text if _CUT_NAME.fullmatch(text) and text.isprintable() else printable(text, LONGEST_NAME)


def read_seconds(value: Any) -> float:
    """Return the value as seconds with three digits, 0.0 if it is no number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return round(min(max(number, 0.0), LONGEST_TIME), 3) if math.isfinite(number) else 0.0


def read_boolean(value: Any) -> bool:
    """Return whether the value means yes."""
    return is_true(read_text(value))


def read_verdict(value: Any) -> str:
    """Return the verdict. What is not a verdict is a failure."""
    return text if (text := read_text(value)) in VERDICTS else FAILED


def read_time(value: Any) -> str | None:
    """Return a time in the form ``2026-11-26T18:00:00Z``, None if the value has another form."""
    text = read_text(value)
    if not _TIME.fullmatch(text):
        return None
    try:
        datetime.strptime(text, _TIME_FORMAT)
    except ValueError:
        return None
    return text


def time_text(seconds: Any) -> str:
    """Return a time in seconds since 1970 in the form ``2026-11-26T18:00:00Z``."""
    return datetime.fromtimestamp(read_seconds(seconds), timezone.utc).strftime(_TIME_FORMAT)


def timestamp(text: str) -> int:
    """Return the seconds since 1970 for a time that `read_time` returned."""
    return int(datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=timezone.utc).timestamp())


def read_url(value: Any) -> str:
    """Return an address, empty if it may contain a password beside the address."""
    text = read_line(value, 500)
    return "" if re.search(r"[@?#]", text) else text


def read_data(value: Any, depth: int = 0) -> Any:
    """Return data that JSON can hold and UTF-8 can encode, of a limited size."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 64 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth < DEEPEST and isinstance(value, Mapping):
        items = [*read_mapping(value).items()][:MOST_ITEMS]
        return {read_name(key): read_data(item, depth + 1) for key, item in items}
    if depth < DEEPEST and isinstance(value, list | tuple):
        return [read_data(item, depth + 1) for item in read_list(value)]
    return cut_text(_HALF_CHARACTERS.sub("\ufffd", read_text(value)), LONGEST_TEXT)


def cut_text(text: str, longest: int) -> str:
    """Return a text of about ``longest`` characters. If something is left out, that is in the middle.

    A traceback says at its beginning what the user ran, and at its end what went wrong.
    """
    if len(text) <= longest:
        return text
    start, end = text[: longest // 3], text[-(longest - longest // 3) :]
    return f"{start}\n... ({len(text) - len(start) - len(end)} characters are left out) ...\n{end}"


def readable_lines(value: Any, longest: int = LONGEST_TEXT) -> str:
    """Return a text of several lines for people, without the codes that colour it in a terminal.

    Other control characters, and those that turn the direction of a text, are shown as escapes. A list is a text in
    parts, such as the lines of a traceback.
    """
    text = "\n".join(map(read_text, value)) if isinstance(value, list | tuple) else read_text(value)
    lines = _TERMINAL_CODES.sub("", cut_text(text, 2 * longest)).expandtabs(4).split("\n")
    return cut_text("\n".join(printable(line.rstrip("\r"), longest) for line in lines), longest)
