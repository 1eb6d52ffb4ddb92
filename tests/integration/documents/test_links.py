# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No link from a document to a file of this repository is dead, and no reference from a guide to another.

`make docs` checks the references, too. This test needs no site, and it also checks the links between files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from support.documents import DOCUMENTS, GUIDES, LABEL_PREFIX, anchors, labels, links, pictures, references
from support.hubs import REPOSITORY

OURS = re.compile(
    r"https://(?:github\.com/hubops/hubops\.jupyterhub/(?:blob|tree)|raw\.githubusercontent\.com/hubops/hubops\.jupyterhub)"
    r"/main/"
)
PATHS = [str(document.relative_to(REPOSITORY)) for document in DOCUMENTS]
GUIDE_PATHS = [path for path in PATHS if path.startswith(GUIDES)]
# Texts that name a page, such as a unit of systemd or a comment.
OTHERS = [
    path
    for folder in ("docs", "playbooks", "plugins", "roles", "tools", "changelogs", ".github")
    for path in (REPOSITORY / folder).rglob("*")
    if path.is_file() and path.suffix in (".py", ".yml", ".yaml", ".j2", ".json", ".md", ".rst", "")
]
NAMED = re.compile(r"(?<![\w./-])docs/[\w/.-]+\.(?:rst|md|json|yml|png)")


def find_target(document: str, link: str) -> tuple[Path, str] | None:
    """Return the file of this repository that a link leads to, and the fragment. None if it leads elsewhere."""
    path, _hash, fragment = link.partition("#")
    if match := OURS.match(path):
        return REPOSITORY / unquote(path[match.end() :]), fragment
    if re.match(r"[a-z]+:", link):
        return None
    file = (REPOSITORY / document).parent / unquote(path) if path else REPOSITORY / document
    return Path(os.path.normpath(file)), fragment


def find_dead(document: str) -> list[str]:
    dead = []
    for link in links(document):
        target, fragment = find_target(document, link) or (REPOSITORY, "")
        known = anchors(str(target.relative_to(REPOSITORY))) if fragment and target in DOCUMENTS else set[str]()
        if not target.exists() or (fragment and fragment not in known):
            dead.append(link)
    return dead


@pytest.mark.parametrize("document", PATHS)
def test_no_link_is_dead(document: str) -> None:
    assert find_dead(document) == []


@pytest.mark.parametrize("document", GUIDE_PATHS)
def test_no_reference_between_guides_is_dead(document: str) -> None:
    known = {label for path in GUIDE_PATHS for label in labels(path)}
    assert f"{LABEL_PREFIX}{Path(document).stem}" in labels(document)
    assert [label for label in references(document, "ref") if label not in known] == []


def test_a_dead_link_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = "https://github.com/hubops/hubops.jupyterhub/blob/main"
    wrong = [
        "missing.md",
        "README.md#missing",
        f"{ours}/docs/missing.rst",
        f"{ours}/{GUIDES}/awx.rst#missing",
        "#missing",
    ]
    right = ["LICENSE", "README.md", f"{ours}/{GUIDES}/awx.rst#jobs", "https://example.org/missing"]
    monkeypatch.setitem(globals(), "links", lambda document: [*wrong, *right])
    assert find_dead("README.md") == wrong


def test_no_file_names_a_document_that_is_not_there() -> None:
    texts = {path: path.read_text(errors="replace") for path in OTHERS}
    named = {(path, name) for path, text in texts.items() for name in NAMED.findall(text)}
    named |= {(path, name) for path, text in texts.items() for name in re.findall(OURS.pattern + r"([\w/.-]*\w)", text)}
    assert len(named) > 20
    assert sorted(f"{path}: {name}" for path, name in named if not (REPOSITORY / name).exists()) == []


def test_each_guide_is_in_the_index() -> None:
    index = yaml.safe_load((REPOSITORY / "docs/docsite/extra-docs.yml").read_text())
    listed = [name for section in index["sections"] for name in section["toctree"]]
    assert sorted(listed) == sorted(Path(path).stem for path in GUIDE_PATHS)


@pytest.mark.parametrize("document", GUIDE_PATHS)
def test_each_picture_has_a_text_for_those_who_do_not_see_it(document: str) -> None:
    """Its address is complete, since docs.ansible.com takes no pictures from a collection."""
    for address, text in pictures(document).items():
        assert OURS.match(address), address
        assert len(text) > 40, address
