# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide on upgrades: an operator upgrades a hub with running servers from 5.5 to 6.1, and runs every block."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from support.documents import Block, blocks
from support.hubs import (
    HOME,
    ONE_DATABASE,
    Hub,
    crash_hub,
    hub_install,
    running_hub,
    start_crashed_hub,
)
from support.playbooks import ProgramResult, api_request, bare_environment, mint, run_program, servers, start_server
from support.waiting import wait_until

PAGE = "docs/docsite/rst/upgrades.rst"


class Reader:
    """Runs the blocks of the page in order, in a folder of an operator."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self.folder, self.hub = folder, hub
        self.left = blocks(PAGE)

    def block(self, language: str, has: str) -> Block:
        """The next block. Checks that it is the expected one."""
        block = self.left.pop(0)
        assert block.language == language, block
        assert has in block.code
        return block

    def shell(self, has: str, **more: str) -> ProgramResult:
        """Run the next block, and stop at the first command that fails."""
        code = self.block("shell", has).code
        env = bare_environment(self.folder) | more
        done = run_program(["bash", "-euc", code], self.folder, env)
        assert done.status == 0, done.output
        return done

    def output(self, done: ProgramResult) -> None:
        """Check that the last lines of the output look as the page shows them."""
        sample = self.block("text", "teaching ").code.splitlines()
        shown = re.findall(r'^ +"((?:teaching  |PASSED\.).*?)",?$', done.stdout, re.MULTILINE)
        assert [shape(line) for line in shown[-len(sample) :]] == [shape(line) for line in sample], done.stdout

    def report(self) -> dict[str, Any]:
        [row] = json.loads((self.folder / "upgrade-report/compare.json").read_text())["hubs"]
        assert isinstance(row, dict)
        return row


def shape(line: str) -> str:
    """A line without its times, patch versions and ids of tokens."""
    return re.sub(r"\d+-\d+-\d+T[\d:]+Z|(?<=\d\.\d\.)\d+|(?<=/a)\d+", "N", line)


@pytest.fixture
def reader(tmp_path: Path) -> Any:
    config = ONE_DATABASE + "c.Spawner.http_timeout = 300\n"
    with running_hub(tmp_path, "5.5", "server", config=config) as hub:
        for user in ("alice", "bob", "carol"):
            api_request(hub, "POST", f"users/{user}")
        api_request(hub, "POST", "groups/staff")
        api_request(hub, "POST", "groups/staff/users", {"users": ["alice", "carol"]})
        api_request(hub, "POST", "users/carol/tokens", {"note": "reports", "scopes": ["read:users!user"]})
        api_request(hub, "POST", "users/carol/servers/lab", {"profile": "large"})
        api_request(hub, "POST", "users/bob/servers/gpu", {"profile": "gpu", "memory": 4})
        start_server(hub, "alice")
        wait_until(lambda: servers(hub, "carol")["lab"]["ready"] and servers(hub, "bob")["gpu"]["ready"])
        api_request(hub, "DELETE", "users/carol/servers/lab")
        (tmp_path / "admin.token").write_text(hub.admin_token)
        scopes = ("servers", "access:servers", "read:tokens")
        (tmp_path / "verify-bot.token").write_text(mint(hub, "verify-bot", [f"{scope}!user" for scope in scopes]))
        yield Reader(tmp_path, hub)


def test_the_page_from_its_beginning_to_its_end(reader: Reader) -> None:
    code = reader.block("yaml", "upgrade_api_token").code
    assert "https://teaching.example.org/" in code
    # How long a start takes depends on what else this machine does.
    patient = code.replace("      verify_stop_running", "      upgrade_slower_seconds: 3600\n      verify_stop_running")
    (reader.folder / "hubs.yml").write_text(patient.replace("https://teaching.example.org/", reader.hub.url))
    reader.shell("hubops.jupyterhub.snapshot")
    assert len([*(reader.folder / "snapshots/teaching").iterdir()]) == 1
    done = reader.shell("hubops.jupyterhub.drain --check --diff")
    assert "server 'gpu' of user 'bob' goes" in done.stdout
    assert "2 stopped" in done.stdout
    assert [servers(reader.hub, user) for user in ("alice", "bob")] == [{}, {}]
    upgrade(reader)
    done = reader.shell("verify_expected_version=6.1")
    reader.output(done)
    assert reader.report()["counts"]["lost"] == 0
    assert [start["check"] for start in reader.report()["starts"]] == ["python"]
    page = (reader.folder / "upgrade-report/index.html").read_text()
    assert "Verification: teaching passed" in page
    reader.output(reader.shell("hubops.jupyterhub.restore --check --diff"))
    assert servers(reader.hub, "bob")["gpu"]["user_options"] == {"profile": "gpu", "memory": 4}
    assert servers(reader.hub, "alice")[""]["ready"]
    reader.shell("upgrade_fail_on")
    assert reader.report()["fail_on"] == ["lost", "new"]
    assert reader.report()["servers"]["restarted"] == ["alice", "bob/gpu"]
    reader.shell("upgrade_after=later/teaching")
    assert reader.report()["after"]["path"].startswith(str(reader.folder / "later/teaching"))
    assert reader.report()["version"].startswith("6.1")
    assert reader.left == []


def upgrade(reader: Reader) -> None:
    """With the programs of the new version, in the folder of a configuration that names the hub's database."""
    crash_hub(reader.hub)
    programs = Path(hub_install.install(HOME, "6.1")["python"]).parent
    database = reader.hub.state / "jupyterhub.sqlite"
    (reader.hub.state / "jupyterhub_config.py").write_text(f'c.JupyterHub.db_url = "sqlite:///{database}"\n')
    [block] = [block for block in reader.left if "upgrade-db" in block.code]
    assert "cd /srv/jupyterhub\n" in block.code
    place = reader.left.index(block)
    changed = block.code.replace("/srv/jupyterhub", str(reader.hub.state))
    reader.left[place] = Block(block.document, block.language, changed)
    reader.shell("jupyterhub upgrade-db", PATH=f"{programs}:{os.environ['PATH']}")
    assert len([*reader.hub.state.glob("jupyterhub.sqlite.*")]) == 1  # the copy that upgrade-db makes
    reader.hub = start_crashed_hub(reader.hub, "6.1")
    assert reader.hub.version.startswith("6.1")
