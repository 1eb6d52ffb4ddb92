# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the project's documents, and the blocks of code, the tables, the links and the pictures in them.

for block in blocks("README.md"):
    print(block.language, block.code)

The guides in docs/docsite/rst are RST, and the other documents are Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import Directive, directives, roles
from support.hubs import REPOSITORY

GUIDES = "docs/docsite/rst"
LABEL_PREFIX = "ansible_collections.hubops.jupyterhub.docsite."
DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / GUIDES).glob("*.rst")),
    *sorted((REPOSITORY / "roles").glob("*/README.md")),
]
FENCED = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
ROLES = ("ref", "envvar", "anscollection", "ansopt", "ansoptref", "ansplugin", "ansretval", "ansretvalref", "ansenvvar")
"""Roles of Sphinx and of antsibull-docs, which docutils does not know."""


@dataclass(frozen=True)
class Block:
    """A block of code in a document."""

    document: str
    language: str
    code: str
    section: str = ""
    """The last heading of the second level before it."""
    subsection: str = ""
    """The last heading of the third level before it, in the same section. Only for a guide."""

    def __str__(self) -> str:
        return f"{self.document}: {self.code.splitlines()[0]}"


class Described(Directive):
    """The directive ``envvar`` of Sphinx, whose content is a description."""

    has_content = True
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        found = nodes.container()
        self.state.nested_parse(self.content, self.content_offset, found)
        return [found]


def keep_role(name: str, raw: str, text: str, *_more: Any, **_others: Any) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """Keep the text of a role, and what it refers to."""
    titled = re.fullmatch(r"(.+?)\s*<(.+)>", text, re.DOTALL)
    title, target = (titled[1], titled[2]) if titled else (text, text)
    return [nodes.inline(raw, title, role=name, target=target)], []


@cache
def read_guide(path: str) -> nodes.document:
    """Read a guide. Raises `docutils.utils.SystemMessage` if it is no valid RST."""
    directives.register_directive("envvar", Described)
    for name in ROLES:
        roles.register_local_role(name, keep_role)
    settings = {
        "doctitle_xform": False, "halt_level": 2, "report_level": 5, "syntax_highlight": "none",
        "file_insertion_enabled": False, "raw_enabled": False, "_disable_config": True,
    }  # fmt: skip
    return publish_doctree((REPOSITORY / path).read_text(), path, settings_overrides=settings)


def blocks(name: str | None = None) -> list[Block]:
    """The blocks of all documents, or of the document with this path in the repository, in order."""
    paths = [str(document.relative_to(REPOSITORY)) for document in DOCUMENTS]
    assert name in (None, *paths), f"{name} is not a document"
    return [block for path in paths if name in (None, path) for block in _find_blocks(path)]


def _find_blocks(path: str) -> Iterator[Block]:
    if path.endswith(".rst"):
        for node in read_guide(path).findall(nodes.literal_block):
            language = " ".join(each for each in node["classes"] if each != "code")
            yield Block(path, language, node.astext() + "\n", *_find_headings(node)[1:3])
        return
    text = (REPOSITORY / path).read_text()
    for match in FENCED.finditer(text):
        indent, language, code = match.groups()
        section = ["", *HEADING.findall(text[: match.start()])][-1]
        yield Block(path, language, re.sub(rf"^{indent}", "", code, flags=re.MULTILINE), section)


def _find_headings(node: nodes.Node) -> list[str]:
    """The headings above a node of a guide, from that of the page on."""
    found: list[str] = []
    while node.parent is not None:
        node = node.parent
        if isinstance(node, nodes.section):
            found.insert(0, node[0].astext())
    return found


class PageReader:
    """Takes the blocks of a document one after the other, as a reader does who follows it from start to end."""

    def __init__(self, name: str) -> None:
        self.left = blocks(name)

    def block(self, language: str, has: str) -> str:
        """The code of the next block. Checks that it is the expected one."""
        block = self.left.pop(0)
        assert block.language == language, block
        assert has in block.code
        return block.code


def tables(name: str) -> list[list[list[str]]]:
    """The tables of a guide: for each its rows, and for each row the texts of its cells. A header is the first row."""
    return [
        [[cell.astext() for cell in row.findall(nodes.entry)] for row in table.findall(nodes.row)]
        for table in read_guide(name).findall(nodes.table)
    ]


def references(name: str, role: str) -> list[str]:
    """What the uses of this role in a guide refer to."""
    return [node["target"] for node in read_guide(name).findall(nodes.inline) if node.get("role") == role]


def labels(name: str) -> set[str]:
    """The labels of a guide that other documents can refer to."""
    return set(re.findall(r"^\.\. _(.+):$", (REPOSITORY / name).read_text(), re.MULTILINE))


def anchors(name: str) -> set[str]:
    """The fragments of addresses that lead into this document on GitHub."""
    if name.endswith(".rst"):
        return {anchor for section in read_guide(name).findall(nodes.section) for anchor in section["ids"]}
    text = FENCED.sub("", (REPOSITORY / name).read_text())
    titles = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


def links(name: str) -> list[str]:
    """The addresses that a document links to, and those of its pictures."""
    if name.endswith(".rst"):
        document = read_guide(name)
        found = [node["refuri"] for node in document.findall(nodes.reference) if "refuri" in node]
        return found + [node["uri"] for node in document.findall(nodes.image)]
    text = FENCED.sub("", (REPOSITORY / name).read_text())
    return [one or other for one, other in re.findall(r"\]\(([^)\s]+)\)|<(https?://[^>\s]+)>", text)]


def pictures(name: str) -> dict[str, str]:
    """The pictures of a guide: their addresses, and what they show for those who do not see them."""
    return {node["uri"]: node.get("alt", "") for node in read_guide(name).findall(nodes.image)}
