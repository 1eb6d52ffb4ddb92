# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs whole playbooks and other programs as a user does, and sends a test's own requests to the hub.

result = run_playbook("hubops.jupyterhub.verify", folder=tmp_path, env=hub_environment(hub, token))
assert result.status == 0, result.output
assert result.recap["localhost"]["failed"] == 0
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import requests
from support import fork_server
from support.hubs import REPOSITORY, Hub, venv
from support.waiting import wait_until

DEADLINE = 600.0  # seconds, for one program: a program that hangs fails, and the failure shows its output
_RECAP = re.compile(r"^(\S+)\s+: (ok=\d.*)$", re.MULTILINE)


@dataclass(frozen=True)
class ProgramResult:
    """What a user sees of a program that ran."""

    status: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """The numbers of the play recap by host: ok, changed, failed and so on."""
        pairs = ((host, (number.split("=") for number in line.split())) for host, line in _RECAP.findall(self.stdout))
        return {host: {name: int(value) for name, value in numbers} for host, numbers in pairs}


def ansible_bin() -> Path:
    """The folder of the programs of the Ansible under test: of this environment, or of HUBOPS_ANSIBLE_VENV."""
    return Path(os.environ.get("HUBOPS_ANSIBLE_VENV") or sys.prefix).absolute() / "bin"


def oldest_ansible_bin() -> Path:
    """The same for the oldest ansible-core that the collection supports, which is installed if it is missing."""
    return venv("core-2.16") / "bin"


def bare_environment(folder: Path, bin_folder: Path | None = None) -> dict[str, str]:
    """An environment for a program that runs in this folder, with nothing of the person who runs the tests.

    ``bin_folder`` has the programs of an Ansible other than the one under test.
    """
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {
        "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "ANSIBLE_CONFIG": os.environ["ANSIBLE_CONFIG"],
        "ANSIBLE_HOME": str(home / "ansible"),
        # As on a machine that has no inventory: a default path at which there is no file.
        "ANSIBLE_INVENTORY": str(home / "no-hosts"),
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{bin_folder or ansible_bin()}:{os.environ['PATH']}",
        "PWD": str(folder),  # as a shell sets it
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def hub_environment(hub: Hub, token: str) -> dict[str, str]:
    return {"JUPYTERHUB_URL": hub.url, "JUPYTERHUB_API_TOKEN": token}


def run_program(command: Sequence[str | Path], folder: Path, env: dict[str, str]) -> ProgramResult:
    """Run a program in this folder, with exactly this environment."""
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=env, check=False, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", timeout=DEADLINE,
    )  # fmt: skip
    return ProgramResult(done.returncode, done.stdout, done.stderr)


def run_forked(command: Sequence[str | Path], folder: Path, env: dict[str, str]) -> ProgramResult:
    """The same for one of Ansible's programs, in a process that `fork_server` forks."""
    with open(os.devnull) as nothing, TemporaryFile() as stdout, TemporaryFile() as stderr:
        streams = (nothing.fileno(), stdout.fileno(), stderr.fileno())
        process = fork_server.start([str(word) for word in command], folder, env, streams)
        try:
            status = process.wait(DEADLINE)
        finally:
            process.kill()
        texts = []
        for stream in (stdout, stderr):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
        return ProgramResult(status, *texts)


def run_playbook(
    playbook: str | Path,
    *arguments: str,
    folder: Path,
    env: dict[str, str] | None = None,
    variables: dict[str, Any] | None = None,
    hosts: dict[str, dict[str, Any]] | None = None,
    bin_folder: Path | None = None,
) -> ProgramResult:
    """Run a playbook in this folder. ``hosts`` become an inventory; without them there is none, as on a new machine.

    ``bin_folder`` has the programs of an Ansible other than the one under test.
    """
    more: list[str] = []
    if hosts is not None:
        inventory = folder / "inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
        more += ["-i", str(inventory)]
    if variables:
        more += ["-e", json.dumps(variables)]
    programs = bin_folder or ansible_bin()
    command = [programs / "ansible-playbook", playbook, *more, *arguments]
    return run_forked(command, folder, bare_environment(folder, programs) | (env or {}))


def copy_checkout(target: Path) -> None:
    """Copy the checkout's files, tracked and new ones, into another folder."""
    command = ["git", "ls-files", "-coz", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, listed)):
        if (REPOSITORY / name).exists():  # a file whose removal is not committed yet is still listed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)


def processes_using(folder: Path) -> dict[int, str]:
    """The command lines, by process id, of the processes that use this folder.

    A process uses it if its arguments or its environment name the folder, or if its working directory is in it.
    """
    mark, found = os.fsencode(folder), {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            ended = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "ZX"
            command = (entry / "cmdline").read_bytes()
            traces = (
                command + b"\0" + (entry / "environ").read_bytes() + b"\0" + os.fsencode(os.readlink(entry / "cwd"))
            )
        except OSError:  # it ended meanwhile, or is somebody else's
            continue
        if mark in traces and not ended and int(entry.name) != os.getpid():
            found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


# Requests that a test sends to the hub itself, as its admin


def api_request(hub: Hub, method: str, path: str, body: Any = None) -> Any:
    """Send a request that must succeed. Returns the answer's JSON, or None if it has no body."""
    answer = requests.request(method, f"{hub.api}/{path}", json=body, headers=hub.headers, timeout=120)
    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


def scopes_for_verify(hub: Hub) -> list[str]:
    """The scopes that the role verify needs for the token's owner, with the names that this version of the hub uses."""
    start = "start:servers" if int(hub.version.partition(".")[0]) >= 6 else "servers"
    return [f"{name}!user" for name in (start, "delete:servers", "read:servers", "access:servers", "read:tokens")]


def mint(hub: Hub, user: str, scopes: Sequence[str] | None = None) -> str:
    """A new token for a user, who is created if missing. Without ``scopes`` it has those that the role verify needs."""
    requests.post(f"{hub.api}/users/{user}", headers=hub.headers, timeout=120)
    wanted = scopes_for_verify(hub) if scopes is None else list(scopes)
    return str(api_request(hub, "POST", f"users/{user}/tokens", {"note": "of a test", "scopes": wanted})["token"])


def servers(hub: Hub, user: str) -> dict[str, dict[str, Any]]:
    """The user's servers that run, start or stop, by name."""
    found = api_request(hub, "GET", f"users/{user}")["servers"]
    assert isinstance(found, dict)
    return found


def start_server(hub: Hub, user: str) -> dict[str, Any]:
    """Start the user's default server and wait for it. Returns the server as the hub lists it."""
    api_request(hub, "POST", f"users/{user}/server")
    return wait_until(lambda: next((found for found in servers(hub, user).values() if found["ready"]), None))
