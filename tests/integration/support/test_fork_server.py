# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of all the others stand on: a run of Ansible that is forked is the run that a person starts."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from support import fork_server
from support.playbooks import Played, ansible_bin, environment, eventually, oldest_ansible_bin, run, run_forked

TELLING = Path(__file__).resolve().parents[2] / "support" / "ansible" / "telling_plugins"
# What no two runs have in common: the process and its temporary folder.
PASSING = re.compile(r"ansible-local-\w+|ansible-tmp-[\w.-]+|(?<=_payload_)\w+|(?<=parent=)\d+")
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


def both(command: list[str | Path], folder: Path, env: dict[str, str]) -> tuple[Played, Played]:
    """One run that is started, and one that is forked."""
    return run(command, folder, env), run_forked(command, folder, env)


def told(played: Played, path: Path) -> dict[str, Any]:
    assert played.status == 0, played.output
    found: dict[str, Any] = json.loads(PASSING.sub("TEMPORARY", path.read_text()).replace(".pyc", ".py"))
    path.unlink()
    return found


@pytest.mark.parametrize("more", [{}, {"ANSIBLE_FORKS": "3", "ANSIBLE_STDOUT_CALLBACK": "minimal"}])
def test_a_task_cannot_tell_which_it_is_in(programs: Path, tmp_path: Path, more: dict[str, str]) -> None:
    (tmp_path / "play.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks: [{tell_process: {path: told.json}}]\n"
    )
    env = environment(tmp_path, programs) | {"ANSIBLE_ACTION_PLUGINS": str(TELLING / "action"), "EXTRA": "é"} | more
    command = [programs / "ansible-playbook", "-v", "play.yml", "-e", "a=1"]
    started, forked = (
        told(each(command, tmp_path, env), tmp_path / "told.json") for each in (run, run_forked)
    )  # fmt: skip
    assert started["environment"]["EXTRA"] == "é"
    for each in (started, forked):  # where it has looked for what plugins say of their options: before the fork
        each["loaders"]["fragment_loader"].pop()
    for what in started:
        assert forked[what] == started[what], what


@pytest.mark.parametrize("pipelining", ["1", "0"])
def test_a_module_cannot_tell_who_has_sent_it(programs: Path, tmp_path: Path, pipelining: str) -> None:
    """But for the names of its files: a fork sends the compiled ones, too, which are packed once for all."""
    (tmp_path / "play.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks: [{tell_module: {path: told.json}}]\n"
    )
    env = environment(tmp_path, programs) | {"ANSIBLE_LIBRARY": str(TELLING / "modules"), "EXTRA": "é"}
    env |= {"ANSIBLE_PIPELINING": pipelining, "ANSIBLE_PYTHON_INTERPRETER": str(programs / "python")}
    command = [programs / "ansible-playbook", "play.yml"]
    started, packed, shared = (
        told(each(command, tmp_path, env), tmp_path / "told.json") for each in (run, run_forked, run_forked)
    )
    assert started["environment"]["EXTRA"] == "é"
    # Its parent is all that tells: a fork's is the process that forks.
    assert ["fork_server.py" in each.pop("parent") for each in (started, packed, shared)] == [False, True, True]
    assert packed == started
    assert shared == started


@pytest.mark.parametrize("name", PLAYS)
def test_what_a_person_sees(programs: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "play.yml").write_text(PLAYS[name])
    started, forked = both([programs / "ansible-playbook", "play.yml"], tmp_path, environment(tmp_path, programs))
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
    started, forked = both([programs / command[0], *command[1:]], tmp_path, environment(tmp_path, programs))
    assert forked == started


def test_a_run_finds_what_lies_beside_its_playbook(tmp_path: Path) -> None:
    """Roles, plugins and collections of its own folder: nothing of that was looked for before the fork."""
    action = (TELLING / "action" / "tell_process.py").read_text()
    for folder in (
        "action_plugins",
        "roles/one/action_plugins",
        "collections/ansible_collections/own/one/plugins/action",
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"tell_{folder[:5].strip('/')}.py").write_text(action)
    (tmp_path / "roles/one/tasks").mkdir()
    (tmp_path / "roles/one/tasks/main.yml").write_text("- tell_roles: {path: role.json}\n")
    (tmp_path / "play.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  roles: [one]\n  tasks:\n"
        "    - tell_actio: {path: play.json}\n    - own.one.tell_colle: {path: collection.json}\n"
    )
    command = [ansible_bin() / "ansible-playbook", "play.yml"]
    started, forked = both(command, tmp_path, environment(tmp_path))
    assert forked == started
    assert started.status == 0, started.output
    assert {each.name for each in tmp_path.glob("*.json")} == {"role.json", "play.json", "collection.json"}


def test_runs_beside_each_other(tmp_path: Path) -> None:
    """Each of them waits for the other ones; each ends with its own status."""
    (tmp_path / "play.yml").write_text("""
- hosts: localhost
  gather_facts: false
  tasks:
    - copy: {content: "", dest: "here-{{ me }}"}
    - wait_for: {path: "here-{{ item }}", sleep: 1}
      loop: [0, 1, 2]
    - fail: {}
      when: me | int == 1
""")
    statuses: dict[int, int] = {}

    def one(me: int) -> None:
        command = [ansible_bin() / "ansible-playbook", "play.yml", "-e", f"me={me}"]
        statuses[me] = run_forked(command, tmp_path, environment(tmp_path)).status

    threads = [threading.Thread(target=one, args=(me,)) for me in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {0: 0, 1: 2, 2: 0}


def test_a_run_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks: [{wait_for: {path: never, timeout: 600}}]\n"
    )
    command = [str(ansible_bin() / "ansible-playbook"), "play.yml"]
    with open(os.devnull, "r+") as nothing:
        streams = (nothing.fileno(),) * 3
        process = fork_server.start(command, tmp_path, environment(tmp_path), streams)
    folder = tmp_path / "home" / "ansible" / "tmp"
    eventually(lambda: folder.is_dir() and any(folder.iterdir()), 120)
    process.kill()
    assert process.wait(120) == -9
    # Its own process id is free again, and nobody waits for it: the process that forks has taken the status.
    assert not Path(f"/proc/{process.pid}").exists()


def test_nothing_is_left_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYS["passes"])
    command = [ansible_bin() / "ansible-playbook", "play.yml"]
    assert run_forked(command, tmp_path, environment(tmp_path)).status == 0
    assert [*(tmp_path / "home" / "ansible" / "tmp").iterdir()] == []
