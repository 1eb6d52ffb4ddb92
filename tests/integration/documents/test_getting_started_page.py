# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide on the first steps: a reader who has a hub runs every block, in order."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from support.documents import GUIDES, PageReader, references
from support.hubs import REPOSITORY, Hub, running_hub
from support.playbooks import (
    ProgramResult,
    bare_environment,
    copy_checkout,
    hub_environment,
    run_playbook,
    run_program,
    servers,
)

PAGE = f"{GUIDES}/getting_started.rst"
SERVICE_TOKEN = "5e27ce0000000000000000000000dead"


class Reader(PageReader):
    """Takes the blocks of the page one after the other."""

    def __init__(self, folder: Path) -> None:
        super().__init__(PAGE)
        self.folder = folder

    def run(self, code: str, **env: str) -> ProgramResult:
        done = run_program(["bash", "-euc", code], self.folder, bare_environment(self.folder) | env)
        assert done.status == 0, done.output
        return done

    def shell(self, has: str, hub: Hub, **env: str) -> ProgramResult:
        return self.run(self.block("shell", has).replace("https://hub.example.org/", hub.url), **env)


def shape(line: str) -> str:
    """A line without its numbers, the address, and the spaces around them."""
    return re.sub(r" +\d+\.\d+(?= s)|(?<=at )http\S+", " N", line)


def test_the_page_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    install(reader)
    (tmp_path / "hubops.token").write_text(SERVICE_TOKEN + "\n")
    config = reader.block("python", "load_roles")
    assert "/etc/jupyterhub/hubops.token" in config
    config = config.replace("/etc/jupyterhub/hubops.token", str(tmp_path / "hubops.token"))
    with running_hub(tmp_path, spawner="server", config=config) as hub:
        reader.shell("service_account_user=verify-bot", hub)
        token = tmp_path / "verify-bot.token"
        assert token.stat().st_mode & 0o777 == 0o600
        verified = reader.shell("hubops.jupyterhub.verify", hub)
        sample = reader.block("text", "PASSED in ").splitlines()
        shown = re.findall(r'^ +"(localhost .*|PASSED in .*)",?$', verified.stdout, re.MULTILINE)
        assert [shape(line) for line in shown] == [shape(line) for line in sample]
        assert json.loads((tmp_path / "verify-report/report.json").read_text())["verdict"] == "passed"
        assert (tmp_path / "verify-report/index.html").exists()
        environment = hub_environment(hub, token.read_text().strip())
        (tmp_path / "playbook.yml").write_text(reader.block("yaml", "module_defaults:"))
        played = run_playbook("playbook.yml", folder=tmp_path, env=environment)
        assert played.status == 0, played.output
        assert played.recap["localhost"]["changed"] == 3
        assert servers(hub, "verify-bot") == {}
        assert '"servers": []' in reader.shell("ansible localhost -m ", hub, **environment).stdout
    assert reader.left == []


def install(reader: Reader) -> None:
    """From a copy of the checkout, which stands for what Galaxy has."""
    copy_checkout(reader.folder / "galaxy")
    code = reader.block("shell", "ansible-galaxy collection install hubops.jupyterhub\n")
    target = reader.folder / "installed"
    code = code.replace("install hubops.jupyterhub\n", f"install {reader.folder}/galaxy\n")
    reader.run(code, ANSIBLE_COLLECTIONS_PATH=str(target))
    assert (target / "ansible_collections/hubops/jupyterhub/MANIFEST.json").exists()
    libraries = (REPOSITORY / "meta/ee-requirements.txt").read_text().split()
    assert f"pip install {' '.join(json.dumps(each) for each in libraries)}\n" in code


def test_the_page_describes_each_environment_variable() -> None:
    """antsibull-docs must know them, and the manuals of the modules refer to them."""
    known = yaml.safe_load((REPOSITORY / "docs/docsite/config.yml").read_text())["envvar_directives"]
    described = re.findall(r"^\.\. envvar:: (\w+)$", (REPOSITORY / PAGE).read_text(), re.MULTILINE)
    assert sorted(described) == known == sorted(set(known))
    named = {
        name
        for folder in ("plugins", "roles")
        for file in (REPOSITORY / folder).rglob("*")
        if file.suffix in (".py", ".yml")
        for name in re.findall(r"\bE\((\w+)\)", file.read_text())
    }
    assert named == set(known)
    assert set(references(PAGE, "envvar")) <= set(known)
