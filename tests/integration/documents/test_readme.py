# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The README has what Ansible's community and Red Hat's certification ask for, and agrees with the metadata.

Galaxy and Automation Hub show it outside the repository. test_documents.py runs its blocks, and test_links.py follows
its links to files of the repository.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from support.documents import links
from support.hubs import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
FULL_URL = re.compile(r"https://[\w.-]+(/|$)")
MOST_LINES = 199


def section(name: str) -> str:
    """The text below a heading of the second level."""
    [text] = re.findall(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    return text


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)+", text)


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= MOST_LINES


def test_all_links_are_full_urls() -> None:
    found = links("README.md")
    assert len(found) > 20
    assert [link for link in found if not FULL_URL.match(link)] == []


@pytest.mark.parametrize(
    "link", ["docs/page.md", "#support", "http://example.org/", "/LICENSE", "mailto:a@example.org"]
)
def test_another_link_is_no_full_url(link: str) -> None:
    assert not FULL_URL.match(link)


def test_it_has_the_sections_that_are_asked_for() -> None:
    """In the order in which a reader needs them."""
    wanted = [
        "Requirements", "Installation", "Verify your own hub", "Guides", "Roles and playbooks", "Modules", "Testing",
        "Support", "Communication", "Release notes, versions and deprecations", "Licence",
    ]  # fmt: skip
    assert [name for name in re.findall(r"^## (.*)$", README, re.MULTILINE) if name in wanted] == wanted


def test_the_requirements_are_those_of_the_metadata() -> None:
    lines = section("Requirements").splitlines()
    runtime = yaml.safe_load((REPOSITORY / "meta/runtime.yml").read_text())
    [core] = [line for line in lines if "ansible-core" in line]
    assert [f">={number}.0" for number in numbers(core)] == [runtime["requires_ansible"]]
    [python] = [line for line in lines if "- Python " in line]
    tested = yaml.safe_load((REPOSITORY / "tests/config.yml").read_text())
    assert [f">={number}" for number in numbers(python)] == [tested["modules"]["python_requires"]]
    [libraries] = [line for line in lines if "requests" in line]
    needed = (REPOSITORY / "meta/ee-requirements.txt").read_text().split()
    assert [f"{name}>={least}" for name, least in re.findall(r"([\w-]+) \(([\d.]+) or newer\)", libraries)] == needed
    assert all(f'"{line}"' in section("Installation") for line in needed)


def test_the_installation_is_from_galaxy_first() -> None:
    """Without a command that installs Ansible, which the certification forbids."""
    text = section("Installation")
    commands = ["install hubops.jupyterhub\n", "install -r requirements.yml", "--upgrade", ":==", "install --force ."]
    places = [text.index(command) for command in commands]
    assert places == sorted(places)
    assert not re.search(r"pip3? install .*ansible", README)


def test_the_table_of_playbooks_is_complete() -> None:
    rows = re.findall(r"^\| .* \| `hubops\.jupyterhub\.(\w+)` \|", section("Roles and playbooks"), re.MULTILINE)
    assert sorted(rows) == sorted(path.stem for path in (REPOSITORY / "playbooks").glob("*.yml"))
    roles = re.findall(r"^\| \[(\w+)\]", section("Roles and playbooks"), re.MULTILINE)
    assert sorted(roles) == sorted(path.parent.name for path in (REPOSITORY / "roles").glob("*/meta"))


def test_it_links_every_guide() -> None:
    guides = sorted(path.stem for path in (REPOSITORY / "docs/docsite/rst").glob("*.rst"))
    assert guides
    assert sorted(Path(link).stem for link in links("README.md") if "/docs/docsite/rst/" in link) == guides


def test_it_says_where_to_ask() -> None:
    text = section("Communication")
    assert "[Get Help](https://forum.ansible.com/c/help/6)" in text
    assert "(https://forum.ansible.com/tag/jupyterhub)" in text
    issues = yaml.safe_load((REPOSITORY / "galaxy.yml").read_text())["issues"]
    assert issues in section("Support")


def test_it_names_the_licence_of_the_metadata() -> None:
    [licence] = yaml.safe_load((REPOSITORY / "galaxy.yml").read_text())["license"]
    assert licence in section("Licence")
