# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide on culling: a reader with a hub runs every block, in order."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import yaml
from support.documents import blocks, tables
from support.hub_clock import CLOCK_CONFIG, HOUR, let_time_pass
from support.hub_configs import LOAD_SUBCONFIG
from support.hubs import REPOSITORY, Hub, running_hub, venv
from support.playbooks import (
    ProgramResult,
    ansible_bin,
    api_request,
    bare_environment,
    mint,
    run_program,
    servers,
    start_server,
)
from support.waiting import wait_until

PAGE = "docs/docsite/rst/culling.rst"
USERS = ["alice", "bob", "teacher"]


class Reader:
    """Runs the blocks of the page in order. A hub with a clock of its own stands for the hub of the example."""

    def __init__(self, workdir: Path) -> None:
        self.workdir, self.left = workdir, [block for block in blocks(PAGE) if block.language != "text"]
        (workdir / "etc/jupyterhub").mkdir(parents=True)
        # The paths below /etc of the role's defaults are below this folder.
        (workdir / "host_vars").mkdir()
        host_variables = {
            "unit_folder": f"{workdir}/etc",
            "variables_path": f"{workdir}/etc/culler.yml",
            "ansible_playbook": str(ansible_bin() / "ansible-playbook"),
        }
        named = {f"idle_culler_{name}": value for name, value in host_variables.items()}
        (workdir / "host_vars/localhost.yml").write_text(yaml.safe_dump(named))

    def block(self, language: str, has: str, hub: Hub | None = None) -> str:
        """The next block. Checks that it is the expected one."""
        block = self.left.pop(0)
        assert block.language == language, block
        assert has in block.code
        code = re.sub("/etc/", f"{self.workdir}/etc/", block.code)
        return code.replace("https://hub.example.org/", hub.url) if hub else code

    def shell(self, has: str, hub: Hub | None = None, token: str = "") -> ProgramResult:
        env = bare_environment(self.workdir) | {"RECORDED_SYSTEMCTL": str(self.workdir / "asked")}
        env["PATH"] = f"{REPOSITORY / 'tests/support/fakes/fake_systemctl'}:{env['PATH']}"
        code = self.block("shell", has, hub)
        # The reader runs all blocks in one shell.
        if hub and "export JUPYTERHUB_URL" not in code:
            env |= {"JUPYTERHUB_URL": hub.url}
        return run_program(
            ["bash", "-euc", code], self.workdir, env | ({"JUPYTERHUB_API_TOKEN": token} if token else {})
        )

    def write(self, name: str, language: str, has: str, hub: Hub) -> None:
        (self.workdir / name).write_text(self.block(language, has, hub))


def passed(played: ProgramResult) -> str:
    assert played.status == 0, played.output
    return played.stdout


def busy(hub: Hub) -> None:
    """Give a hub three servers that are idle for two hours."""
    for user in USERS:
        mint(hub, user, [])
        if not servers(hub, user):
            start_server(hub, user)
    let_time_pass(hub, 2 * HOUR)


def running(hub: Hub) -> list[str]:
    return [user for user in USERS if servers(hub, user)]


def test_the_page_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    with running_hub(tmp_path, config=CLOCK_CONFIG) as hub:
        looks(reader, hub)
        says_what_is_idle(reader, hub)
        reader.write("accounts.yml", "yaml", "cull-bot", hub)
        first = reader.shell("service_account", hub, hub.admin_token)
        assert first.status == 2
        assert "A token can do no more than its owner" in first.stdout
    # The same hub, restarted.
    with running_hub(
        tmp_path, config=CLOCK_CONFIG + LOAD_SUBCONFIG + f"load_subconfig({str(tmp_path / 'service_accounts.py')!r})"
    ) as hub:
        again(reader, hub)
        by_timer(reader, hub)
        reader.write("managed.yml", "yaml", "idle_culler_mode: managed", hub)
        # The interval of the service depends on the limit.
        managed = tmp_path / "managed.yml"
        managed.write_text(managed.read_text().replace("idle_timeout: 1h", "idle_timeout: 2s"))
        passed(reader.shell("-e @managed.yml"))
    (tmp_path / "idle_culler.py").rename(tmp_path / "etc/jupyterhub/idle_culler.py")
    assert reader.left.pop(0).code == 'load_subconfig("/etc/jupyterhub/idle_culler.py")\n'
    by_the_hub(tmp_path)
    assert reader.left == []


def looks(reader: Reader, hub: Hub) -> None:
    (reader.workdir / "admin.token").write_text(hub.admin_token)
    busy(hub)
    api_request(hub, "POST", "groups/teachers")
    api_request(hub, "POST", "groups/teachers/users", {"users": ["teacher"]})
    preview = passed(reader.shell("--check --diff", hub))
    assert re.search(r"^- server of user 'alice' goes: idle 2 h( \d+ min)?, limit 1 h$", preview, re.M)
    assert "3 of 3 servers would be culled, 0 servers kept, 0 failed, in " in preview
    assert running(hub) == USERS
    assert "3 of 3 servers culled" in passed(reader.shell("idle_timeout=1h", hub, hub.admin_token))
    assert running(hub) == []


def says_what_is_idle(reader: Reader, hub: Hub) -> None:
    busy(hub)
    reader.write("culling.yml", "yaml", "idle_culler_rules", hub)
    done = passed(reader.shell("-e @culling.yml", hub, hub.admin_token))
    assert re.search(r"^  server of user 'teacher' stays: idle 2 h( \d+ min)?, limit 12 h, rule teachers$", done, re.M)
    assert re.findall(r"2 of 3 servers (would be culled|culled)", done) == ["would be culled", "culled"]
    assert running(hub) == ["teacher"]


def again(reader: Reader, hub: Hub) -> None:
    """With a hub that knows the account, and a token with only its scopes."""
    accounts = (reader.workdir / "accounts.yml").read_text()
    (reader.workdir / "accounts.yml").write_text(re.sub(r"hub_url: \S+", f"hub_url: {hub.url}", accounts))
    policy = (reader.workdir / "culling.yml").read_text()
    (reader.workdir / "culling.yml").write_text(re.sub(r"hub_url: \S+", f"hub_url: {hub.url}", policy))
    command = ["ansible-playbook", "hubops.jupyterhub.service_account", "-e", "@accounts.yml"]
    passed(
        run_program(
            command, reader.workdir, bare_environment(reader.workdir) | {"JUPYTERHUB_API_TOKEN": hub.admin_token}
        )
    )
    busy(hub)
    assert "2 of 3 servers would be culled" in passed(reader.shell("localhost-cull-bot.token"))
    template = reader.block("yaml", "import_playbook")
    (reader.workdir / "template.yml").write_text(template)
    token = (reader.workdir / "localhost-cull-bot.token").read_text().strip()
    command = ["ansible-playbook", "template.yml", "-e", "@culling.yml", "--check"]
    env = bare_environment(reader.workdir) | {"JUPYTERHUB_API_TOKEN": token}
    assert "2 of 3 servers would be culled" in passed(run_program(command, reader.workdir, env))


def by_timer(reader: Reader, hub: Hub) -> None:
    reader.write("timer.yml", "yaml", "idle_culler_mode: timer", hub)
    done = passed(reader.shell("timer.yml"))
    assert re.findall(r"changed=(\d+)", done) == ["3", "3"]
    assert (reader.workdir / "asked").read_text().splitlines()[-3:] == [
        "enable hubops-idle-culler.timer", "start hubops-idle-culler.timer", "list-timers hubops-idle-culler.timer",
    ]  # fmt: skip
    assert "OnUnitInactiveSec=600" in (reader.workdir / "etc/hubops-idle-culler.timer").read_text()
    assert (reader.workdir / "etc/hubops-idle-culler.token").stat().st_mode & 0o777 == 0o600


def by_the_hub(workdir: Path) -> None:
    """The hub finds the program in another environment."""
    [packages] = venv("culler").glob("lib/python*/site-packages")
    borrows = f'\nc.JupyterHub.services[-1]["environment"] = {{"PYTHONPATH": {str(packages)!r}}}\n'
    loads = f"load_subconfig({str(workdir / 'etc/jupyterhub/idle_culler.py')!r})"
    with running_hub(workdir, config=LOAD_SUBCONFIG + loads + borrows) as hub:
        mint(hub, "alice", [])
        start_server(hub, "alice")
        wait_until(lambda: not servers(hub, "alice"), 120)


def test_the_table_has_every_option_of_the_peer() -> None:
    code = "from jupyterhub_idle_culler import IdleCuller as app; print(*app.aliases, *app.flags)"
    done = subprocess.run(
        [venv("culler") / "bin/python", "-c", code], check=True, capture_output=True, text=True, env={**os.environ}
    )
    [table] = [rows for rows in tables(PAGE) if rows[0][0] == "jupyterhub-idle-culler"]
    text = " ".join(cell for row in table for cell in row)
    assert set(re.findall(r"(?<![\w-])--([a-z-]+)", text)) == set(done.stdout.split())
    ours = yaml.safe_load((REPOSITORY / "roles/idle_culler/meta/argument_specs.yml").read_text())
    known = ours["argument_specs"]["main"]["options"]
    assert {name for name in re.findall(r"\b(?:idle_culler|hub)_\w+", text) if name not in known} == set()
