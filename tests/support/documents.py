# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the project's documents, and the blocks of code in them that a test runs as a reader would.

for block in blocks("README.md"):
    print(block.language, block.code)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from support.hubs import REPOSITORY

DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *sorted((REPOSITORY / "roles").glob("*/README.md")),
]
FENCED = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^## (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: str
    language: str
    code: str
    section: str = ""
    """The last heading of the second level before it."""

    def __str__(self) -> str:
        return f"{self.document}: {self.code.splitlines()[0]}"


def blocks(name: str | None = None) -> list[Block]:
    """The blocks of all documents, or of the document with this path in the repository, in order."""
    found = []
    for document in DOCUMENTS:
        path = str(document.relative_to(REPOSITORY))
        text = document.read_text() if name in (None, path) else ""
        for match in FENCED.finditer(text):
            indent, language, code = match.groups()
            section = ["", *HEADING.findall(text[: match.start()])][-1]
            found.append(Block(path, language, re.sub(rf"^{indent}", "", code, flags=re.MULTILINE), section))
    return found
