# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole playbooks of the collection, as a user runs them.

played = play("hubops.jupyterhub.verify", folder=tmp_path, env=hub_environment(hub, token))
assert played.status == 0, played.output
assert played.recap["localhost"]["failed"] == 0
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic, sleep
from typing import Any

import requests
from support import fork_server
from support.hubs import REPOSITORY, Hub, venv

DEADLINE = 600.0  # seconds, for one program: a hang is to end in a failure that shows the output
_RECAP = re.compile(r"^(\S+)\s+: (ok=\d.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Played:
    """What a user sees of a program that ran."""

    status: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """By host, the numbers of the play recap: ok, changed, failed and so on."""
        pairs = ((host, (number.split("=") for number in line.split())) for host, line in _RECAP.findall(self.stdout))
        return {host: {name: int(value) for name, value in numbers} for host, numbers in pairs}


def ansible_bin() -> Path:
    """The programs of the Ansible under test: this environment's, or those of another one that is named."""
    return Path(os.environ.get("HUBOPS_ANSIBLE_VENV") or sys.prefix).absolute() / "bin"


def oldest_ansible_bin() -> Path:
    """Those of the oldest ansible-core that the collection supports; installed if they are not there yet."""
    return venv("core-2.16") / "bin"


def environment(folder: Path, bin_folder: Path | None = None) -> dict[str, str]:
    """A bare environment for a program that runs in this folder: nothing of whoever runs the tests decides over it."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {
        "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "ANSIBLE_CONFIG": os.environ["ANSIBLE_CONFIG"],
        "ANSIBLE_HOME": str(home / "ansible"),
        # As on a machine that has no inventory: the default one, but nowhere.
        "ANSIBLE_INVENTORY": str(home / "no-hosts"),
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{bin_folder or ansible_bin()}:{os.environ['PATH']}",
        "PWD": str(folder),  # as a shell sets it
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def hub_environment(hub: Hub, token: str) -> dict[str, str]:
    return {"JUPYTERHUB_URL": hub.url, "JUPYTERHUB_API_TOKEN": token}


def run(command: Sequence[str | Path], folder: Path, env: dict[str, str]) -> Played:
    """Run a program in this folder, with exactly this environment."""
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=env, check=False, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", timeout=DEADLINE,
    )  # fmt: skip
    return Played(done.returncode, done.stdout, done.stderr)


def run_forked(command: Sequence[str | Path], folder: Path, env: dict[str, str]) -> Played:
    """The same for one of Ansible's programs, without its start."""
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
        return Played(status, *texts)


def play(
    playbook: str | Path,
    *arguments: str,
    folder: Path,
    env: dict[str, str] | None = None,
    variables: dict[str, Any] | None = None,
    hosts: dict[str, dict[str, Any]] | None = None,
    bin_folder: Path | None = None,
    cold: str = "",
) -> Played:
    """Run a playbook in this folder. ``hosts`` are an inventory; without it there is none, as on a new machine.

    ``cold`` says why the program is started for it, and not forked.
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
    return (run if cold else run_forked)(command, folder, environment(folder, programs) | (env or {}))


def copy_checkout(target: Path) -> None:
    """The checkout's own files, tracked or new, at another place."""
    command = ["git", "ls-files", "-coz", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, listed)):
        if (REPOSITORY / name).exists():  # one that is removed, but not yet committed so, is still listed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)


def processes_of(folder: Path) -> dict[int, str]:
    """Whatever runs and names this folder: in its arguments or its environment, or by working in it."""
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


def eventually(look: Callable[[], Any], seconds: float = 120) -> Any:
    """Look until there is something to see, and return it."""
    deadline, pause = monotonic() + seconds, 0.02
    while not (seen := look()):
        assert monotonic() < deadline, f"it did not come to pass within {seconds} s"
        sleep(pause)
        pause = min(pause * 1.5, 0.3)  # looks cost the hub as much as what they wait for
    return seen


# What a test does at the hub itself, as its admin


def api(hub: Hub, method: str, path: str, body: Any = None) -> Any:
    """One request that must succeed; the answer's JSON, None where it has none."""
    answer = requests.request(method, f"{hub.api}/{path}", json=body, headers=hub.headers, timeout=120)
    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


def least_scopes(hub: Hub) -> list[str]:
    """What the role verify needs, in the words of this hub, for the token's owner."""
    start = "start:servers" if int(hub.version.partition(".")[0]) >= 6 else "servers"
    return [f"{name}!user" for name in (start, "delete:servers", "read:servers", "access:servers", "read:tokens")]


def mint(hub: Hub, user: str, scopes: Sequence[str] | None = None) -> str:
    """A token for a user, who is created where needed. Without scopes, with the least ones of the role verify."""
    requests.post(f"{hub.api}/users/{user}", headers=hub.headers, timeout=120)
    wanted = least_scopes(hub) if scopes is None else list(scopes)
    return str(api(hub, "POST", f"users/{user}/tokens", {"note": "of a test", "scopes": wanted})["token"])


def servers(hub: Hub, user: str) -> dict[str, dict[str, Any]]:
    """The user's servers that run, or are about to."""
    found = api(hub, "GET", f"users/{user}")["servers"]
    assert isinstance(found, dict)
    return found


def start_server(hub: Hub, user: str) -> dict[str, Any]:
    """A running default server of this user, as the hub lists it."""
    api(hub, "POST", f"users/{user}/server")
    return eventually(lambda: next((found for found in servers(hub, user).values() if found["ready"]), None))
