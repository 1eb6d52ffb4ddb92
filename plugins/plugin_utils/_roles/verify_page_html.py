# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of the page that shows a report, and how a text, a time or an address gets into it.

Every text of a report may be an attack. It is escaped where it is put into the page (`escape_text`, `escape_lines`),
and the page's own policy forbids scripts and requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Any

from .verify_page_style import STYLE
from .verify_page_svg import SHAPES
from .verify_values import read_line, readable_lines

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"

END = "</main>\n</body>\n</html>\n"
"""What is below the last part of a page."""


def draw_head(title: str) -> str:
    """Return what is above the first part of a page."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f'<meta name="robots" content="noindex">\n<title>{escape_text(title)}</title>\n'
        f'<link rel="icon" href="data:,">\n<style>{STYLE}</style>\n</head>\n<body>\n{SHAPES}\n<main>\n'
    )


def escape_text(value: Any, longest: int = 3000) -> str:
    """Return a text in one line, for any place in the page."""
    return escape(read_line(value, longest), quote=True)


def escape_lines(value: Any, longest: int) -> str:
    """Return a text of several lines, for any place in the page."""
    return escape(readable_lines(value, longest), quote=True)


def select_fitting(forms: Iterable[str], room: int) -> str:
    """Return the first of the forms of a part that has at most ``room`` bytes, or else the last one.

    The forms come from the longest to the shortest.
    """
    drawn = ""
    for drawn in forms:
        if len(drawn.encode()) <= room:
            break
    return drawn


def draw_facts(facts: list[str]) -> str:
    """Return a line of facts, each of which is HTML."""
    return f'<p class="facts">{"".join(f"<span>{fact}</span>" for fact in facts)}</p>' if facts else ""


def draw_link(url: str) -> str:
    """Return a link. An address with another scheme than HTTP's is only shown."""
    shown = escape_text(url)
    return f'<a href="{shown}" rel="noopener noreferrer">{shown}</a>' if re.match("https?://", url) else shown


def draw_moment(time: str) -> str:
    """Return a time, which comes in the form ``2026-11-26T18:00:00Z``."""
    # Not with the name of the month: Ansible sets the user's locale, and the page is in English.
    return f'<time datetime="{escape_text(time)}">{escape_text(f"{time[:10]} {time[11:16]}")} UTC</time>'


def describe_duration(seconds: float) -> str:
    """Return a text such as ``4.1 s``."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
