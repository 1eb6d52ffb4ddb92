# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of Ansible that fork_server forks does the same as one that is started; all other tests rely on that."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from support import fork_server
from support.playbooks import ProgramResult, ansible_bin, bare_environment, oldest_ansible_bin, run_forked, run_program
from support.waiting import wait_until

REPORT_PLUGINS = Path(__file__).resolve().parents[2] / "support" / "ansible" / "process_report_plugins"
# What differs in each run: its process and its temporary folder.
PER_RUN = re.compile(r"ansible-local-\w+|ansible-tmp-[\w.-]+|(?<=_payload_)\w+|(?<=parent=)\d+")
PLAYS = {
    "passes": "- hosts: localhost\n  gather_facts: false\n  tasks: [{debug: {msg: passed}}]\n",
    "fails": "- hosts: localhost\n  gather_facts: false\n  tasks: [{fail: {msg: with these words}}]\n",
    "is broken": "- hosts: localhost\n  tasks: [{debug: {msg: [}}]\n",
    "is none": "just words\n",
    "warns": "- hosts: elsewhere\n  tasks: []\n",
    "lacks a module": "- hosts: localhost\n  gather_facts: false\n  tasks: [{no.such.module: {}}]\n",
}


@pytest.fixture(params=["newest", "oldest"])
def programs(request: pytest.FixtureRequest) -> Path:
    return ansible_bin() if request.param == "newest" else oldest_ansible_bin()


def start_and_fork(command: list[str | Path], folder: Path, env: dict[str, str]) -> tuple[ProgramResult, ProgramResult]:
    """Run the command twice: started, and forked."""
    return run_program(command, folder, env), run_forked(command, folder, env)


def read_report(result: ProgramResult, path: Path) -> dict[str, Any]:
    assert result.status == 0, result.output
    found: dict[str, Any] = json.loads(PER_RUN.sub("TEMPORARY", path.read_text()).replace(".pyc", ".py"))
    path.unlink()
    return found


@pytest.mark.parametrize("more", [{}, {"ANSIBLE_FORKS": "3", "ANSIBLE_STDOUT_CALLBACK": "minimal"}])
def test_a_task_finds_the_same_process(programs: Path, tmp_path: Path, more: dict[str, str]) -> None:
    (tmp_path / "play.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks: [{report_process: {path: report.json}}]\n"
    )
    env = (
        bare_environment(tmp_path, programs)
        | {"ANSIBLE_ACTION_PLUGINS": str(REPORT_PLUGINS / "action"), "EXTRA": "é"}
        | more
    )
    command = [programs / "ansible-playbook", "-v", "play.yml", "-e", "a=1"]
    started, forked = (
        read_report(each(command, tmp_path, env), tmp_path / "report.json") for each in (run_program, run_forked)
    )  # fmt: skip
    assert started["environment"]["EXTRA"] == "é"
    for each in (started, forked):  # it has searched there for the plugins' option documentation before the fork
        each["loaders"]["fragment_loader"].pop()
    for what in started:
        assert forked[what] == started[what], what


@pytest.mark.parametrize("pipelining", ["1", "0"])
def test_a_module_finds_the_same_process(programs: Path, tmp_path: Path, pipelining: str) -> None:
    """Except for the names of its files: a fork also sends compiled ones, which are packed once for all runs."""
    (tmp_path / "play.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks: [{report_module: {path: report.json}}]\n"
    )
    env = bare_environment(tmp_path, programs) | {"ANSIBLE_LIBRARY": str(REPORT_PLUGINS / "modules"), "EXTRA": "é"}
    env |= {"ANSIBLE_PIPELINING": pipelining, "ANSIBLE_PYTHON_INTERPRETER": str(programs / "python")}
    command = [programs / "ansible-playbook", "play.yml"]
    started, packed, shared = (
        read_report(each(command, tmp_path, env), tmp_path / "report.json")
        for each in (run_program, run_forked, run_forked)
    )
    assert started["environment"]["EXTRA"] == "é"
    # Only its parent differs: a fork's parent is the fork server.
    assert ["fork_server.py" in each.pop("parent") for each in (started, packed, shared)] == [False, True, True]
    assert packed == started
    assert shared == started


@pytest.mark.parametrize("name", PLAYS)
def test_output_and_status(programs: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "play.yml").write_text(PLAYS[name])
    started, forked = start_and_fork(
        [programs / "ansible-playbook", "play.yml"], tmp_path, bare_environment(tmp_path, programs)
    )
    assert forked == started
    assert (started.status == 0) is (name in ("passes", "warns"))


@pytest.mark.parametrize(
    "command",
    [
        ["ansible-playbook", "missing.yml"],
        ["ansible-playbook", "--no-such-option"],
        ["ansible", "localhost", "-m", "ping"],
    ],
    ids=["no playbook", "no option", "ad hoc"],
)
def test_other_command_lines(programs: Path, tmp_path: Path, command: list[str]) -> None:
    started, forked = start_and_fork(
        [programs / command[0], *command[1:]], tmp_path, bare_environment(tmp_path, programs)
    )
    assert forked == started


def test_plugins_beside_the_playbook(tmp_path: Path) -> None:
    """A fork finds roles, plugins and collections in its own folder, which was not searched before the fork."""
    action = (REPORT_PLUGINS / "action" / "report_process.py").read_text()
    for folder in (
        "action_plugins",
        "roles/one/action_plugins",
        "collections/ansible_collections/own/one/plugins/action",
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"report_{folder[:5].strip('/')}.py").write_text(action)
    (tmp_path / "roles/one/tasks").mkdir()
    (tmp_path / "roles/one/tasks/main.yml").write_text("- report_roles: {path: role.json}\n")
    (tmp_path / "play.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  roles: [one]\n  tasks:\n"
        "    - report_actio: {path: play.json}\n    - own.one.report_colle: {path: collection.json}\n"
    )
    command = [ansible_bin() / "ansible-playbook", "play.yml"]
    started, forked = start_and_fork(command, tmp_path, bare_environment(tmp_path))
    assert forked == started
    assert started.status == 0, started.output
    assert {each.name for each in tmp_path.glob("*.json")} == {"role.json", "play.json", "collection.json"}


def test_parallel_runs(tmp_path: Path) -> None:
    """Each run waits for the others, and each ends with its own status."""
    (tmp_path / "play.yml").write_text("""
- hosts: localhost
  gather_facts: false
  tasks:
    - copy: {content: "", dest: "here-{{ number }}"}
    - wait_for: {path: "here-{{ item }}", sleep: 1}
      loop: [0, 1, 2]
    - fail: {}
      when: number | int == 1
""")
    statuses: dict[int, int] = {}

    def run_one(number: int) -> None:
        command = [ansible_bin() / "ansible-playbook", "play.yml", "-e", f"number={number}"]
        statuses[number] = run_forked(command, tmp_path, bare_environment(tmp_path)).status

    threads = [threading.Thread(target=run_one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {0: 0, 1: 2, 2: 0}


def test_kill(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks: [{wait_for: {path: never, timeout: 600}}]\n"
    )
    command = [str(ansible_bin() / "ansible-playbook"), "play.yml"]
    with open(os.devnull, "r+") as nothing:
        streams = (nothing.fileno(),) * 3
        process = fork_server.start(command, tmp_path, bare_environment(tmp_path), streams)
    folder = tmp_path / "home" / "ansible" / "tmp"
    wait_until(lambda: folder.is_dir() and any(folder.iterdir()), 120)
    process.kill()
    assert process.wait(120) == -9
    # The fork server has collected its status, so its process id is free again.
    assert not Path(f"/proc/{process.pid}").exists()


def test_a_run_leaves_no_temporary_files(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYS["passes"])
    command = [ansible_bin() / "ansible-playbook", "play.yml"]
    assert run_forked(command, tmp_path, bare_environment(tmp_path)).status == 0
    assert [*(tmp_path / "home" / "ansible" / "tmp").iterdir()] == []
