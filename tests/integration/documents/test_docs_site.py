# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make docs` builds the site, and a warning of Sphinx or of antsibull-docs fails it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml
from support.documents import DOCUMENTS, GUIDES
from support.hubs import REPOSITORY
from support.playbooks import ProgramResult, bare_environment, copy_checkout, run_program

MODULES = sorted(file.stem for file in (REPOSITORY / "plugins/modules").glob("hub_*.py"))
ROLES = sorted(folder.name for folder in (REPOSITORY / "roles").iterdir() if (folder / "meta").is_dir())
WRONG = {
    f"{GUIDES}/awx.rst": (
        "An :ref:`unknown label <ansible_collections.hubops.jupyterhub.docsite.unknown>`.\n"
        "A :ref:`label of another project <ansible_collections.ansible.builtin.unknown_module>`.\n"
        "A ``literal without an end.\n"
    ),
    f"{GUIDES}/culling.rst": (
        ".. image:: https://raw.githubusercontent.com/hubops/hubops.jupyterhub/main/docs/docsite/rst/images/unknown.png\n"
    ),
    f"{GUIDES}/monitoring.rst": "An unknown module: :ansplugin:`hubops.jupyterhub.hub_unknown#module`.\n",
    f"{GUIDES}/upgrades.rst": ".. code-block:: no-language\n\n   text\n",
}
SAID = (
    "undefined label: 'ansible_collections.hubops.jupyterhub.docsite.unknown'",
    "undefined label: 'ansible_collections.ansible.builtin.unknown_module'",
    "Inline literal start-string without end-string",
    "image file not readable: docsite/images/unknown.png",
    "undefined label: 'ansible_collections.hubops.jupyterhub.hub_unknown_module'",
    "Pygments lexer name 'no-language' is not known",
    "'envvar' reference target not found: JUPYTERHUB_CA_PATH",
)


def build(folder: Path, *collections: Path) -> ProgramResult:
    return run_program([REPOSITORY / "tools/docs", folder / "site", *collections], folder, bare_environment(folder))


def test_the_target_runs_the_tool() -> None:
    command = ["make", "--no-print-directory", "-n", "docs"]
    assert subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout == "tools/docs\n"


def test_the_site(tmp_path: Path) -> None:
    done = build(tmp_path)
    assert done.status == 0, done.output
    pages = tmp_path / "site/html"
    assert f"open {pages}/index.html" in done.stdout
    guides = sorted(path.stem for path in DOCUMENTS if GUIDES in str(path))
    assert sorted(path.stem for path in (pages / "docsite").glob("*.html")) == guides
    index = (pages / "index.html").read_text()
    assert all(f'href="docsite/{guide}.html"' in index for guide in guides)
    assert all((pages / f"{module}_module.html").exists() for module in MODULES)
    assert all((pages / f"{role}_role.html").exists() for role in ROLES)
    assert not [path for path in pages.glob("_*") if path.suffix == ".html"]  # no filter of the roles
    shown = {path.name for path in (pages / "_images").iterdir()}
    assert shown == {path.name for path in (REPOSITORY / GUIDES / "images").iterdir()}
    assert "raw.githubusercontent.com" not in (pages / "docsite/getting_started.html").read_text()
    # A reference to Ansible's own documentation, a reference to an option, and one to an environment variable.
    checks = (pages / "docsite/own_checks.html").read_text()
    assert "https://docs.ansible.com/projects/ansible/latest/collections/ansible/builtin/uri_module.html" in checks
    assert 'href="../hub_verify_module.html' in checks
    assert 'href="docsite/getting_started.html#envvar-JUPYTERHUB_URL"' in (pages / "hub_info_module.html").read_text()
    links = yaml.safe_load((REPOSITORY / "docs/docsite/links.yml").read_text())
    forum = [forum["url"] for forum in links["communication"]["forums"]]
    assert all(url in index for url in (*forum, *(link["url"] for link in links["extra_links"])))


def test_each_mistake_fails_the_build(tmp_path: Path) -> None:
    """Several at once, since a build takes a while. All of them are shown."""
    collections = tmp_path / "collections"
    copy = collections / "ansible_collections/hubops/jupyterhub"
    copy_checkout(copy)
    for path, text in WRONG.items():
        with (copy / path).open("a") as file:
            file.write(f"\n{text}")
    start = copy / GUIDES / "getting_started.rst"
    start.write_text(start.read_text().replace(".. envvar:: JUPYTERHUB_CA_PATH", ".. envvar:: JUPYTERHUB_CA"))
    done = build(tmp_path, collections)
    assert done.status != 0
    assert "The site is complete" not in done.stdout
    assert [said for said in SAID if said not in done.stderr] == []
