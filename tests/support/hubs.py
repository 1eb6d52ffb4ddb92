# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts real hubs for pytest, with the launcher of the role local_hub.

with running_hub(tmp_path) as hub:
    requests.get(hub.api + "/users", headers=hub.headers)

Most tests share hubs: ``HubPool`` starts each configuration once, and a test brings users of its own.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HOME = REPOSITORY / ".build" / "hubs"  # all runs share what is installed there

# Imported by path: the launcher belongs to the role, which is not a Python package.
sys.path.insert(0, str(REPOSITORY / "roles" / "local_hub" / "files"))

import hub_install  # noqa: E402
import hub_processes  # noqa: E402
import local_hub  # noqa: E402

__all__ = [
    "HOME",
    "ONE_DATABASE",
    "SHORT_WAITS",
    "Hub",
    "HubPool",
    "crash_hub",
    "hub_install",
    "hub_processes",
    "lab_config",
    "local_hub",
    "running_hub",
    "start_crashed_hub",
    "upgrade_database",
    "upgrade_hub",
    "venv",
]

# For `running_hub`. A hub waits up to 10 s before it answers a POST or DELETE with "not yet". Here it waits for 1 s
# only, so that tests see both answers.
SHORT_WAITS = 'c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 1, "slow_stop_timeout": 1}\n'


@functools.cache
def venv(name: str) -> Path:
    """The environment of requirements/NAME.txt, which is installed if it is missing."""
    command = [REPOSITORY / "tools" / "venv", name]
    made = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return REPOSITORY / made.stdout.strip()


def lab_config() -> str:
    """Configuration for `running_hub` with real servers, whose environment also has JupyterLab and terminals."""
    folder = venv("lab") / "bin"
    return f"""
c.Spawner.cmd = ["{folder / "python"}", "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.environment["PATH"] = "{folder}:" + __import__("os").environ["PATH"]
c.Spawner.http_timeout = 300  # many start at once, on a machine that may be busy
"""


@dataclass(frozen=True)
class Hub:
    url: str  # with base path and trailing slash
    version: str
    admin_token: str  # of the service `admin`, which has all scopes
    state: Path
    log: Path
    pid: int

    @property
    def api(self) -> str:
        return self.url + "hub/api"

    @property
    def ports(self) -> dict[str, int]:
        """The hub's ports on the loopback: public, hub (the hub's own, without the proxy), proxy_api."""
        found: dict[str, int] = json.loads((self.state / "parameters.json").read_text())["ports"]
        return found

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"token {self.admin_token}"}


@contextlib.contextmanager
def running_hub(
    tmp_path: Path,
    version: str = "6.1",
    spawner: str = "light",
    base_url: str = "/",
    config: str = "",
    timeout: float = 300,
) -> Iterator[Hub]:
    """A healthy hub for the time of the block. ``config`` is the text of more configuration, which is read last."""
    state = tmp_path / "hub"
    arguments = ["start", "--home", str(HOME), "--state", str(state), "--version", version]
    arguments += ["--spawner", spawner, "--base-url", base_url, "--timeout", str(timeout)]
    if config:
        extra = tmp_path / "extra_config.py"
        extra.write_text(config)
        arguments += ["--config", str(extra)]
    try:
        record = local_hub.perform(local_hub.parse(arguments))
        yield Hub(
            url=record["url"],
            version=record["version"],
            admin_token=Path(record["admin_token_file"]).read_text(),
            state=state,
            log=Path(record["log"]),
            pid=record["pid"],
        )
    finally:
        local_hub.perform(local_hub.parse(["stop", "--state", str(state)]))


class HubPool:
    """The hubs that the tests of one worker share. Each configuration is started once, and stopped after the run.

    A test that takes one of them brings users of its own, and ignores what belongs to other tests.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(8)
        self._hubs: dict[tuple[str, str, str, str], tuple[contextlib.AbstractContextManager[Hub], Future[Hub]]] = {}

    def start(
        self, version: str = "6.1", spawner: str = "light", base_url: str = "/jhub/", config: str = SHORT_WAITS
    ) -> Future[Hub]:
        """Begin to start this hub, unless it is already started. Does not wait for it."""
        key = (version, spawner, base_url, config)
        if key not in self._hubs:
            folder = self._folder / f"{len(self._hubs)}-{version}-{spawner}"
            folder.mkdir()
            running = running_hub(folder, version, spawner, base_url, config)
            self._hubs[key] = running, self._threads.submit(running.__enter__)
        return self._hubs[key][1]

    def get(
        self, version: str = "6.1", spawner: str = "light", base_url: str = "/jhub/", config: str = SHORT_WAITS
    ) -> Hub:
        """This hub, once it is healthy."""
        return self.start(version, spawner, base_url, config).result()

    def close(self) -> None:
        """Stop all hubs in parallel."""
        started = [running for running, future in self._hubs.values() if future.exception() is None]
        stopped = [self._threads.submit(running.__exit__, None, None, None) for running in started]
        self._threads.shutdown()
        for each in stopped:
            each.result()


def crash_hub(hub: Hub) -> None:
    """Kill the hub's process only: its proxy then answers 503 in its place, and real servers go on."""
    process = local_hub.hub_process(hub.state, local_hub.read_record(hub.state))
    assert process, "the hub does not run"
    process.kill(signal.SIGKILL)
    assert hub_processes.wait_until(lambda: not process.alive(), 120)


def start_crashed_hub(hub: Hub, version: str | None = None) -> Hub:
    """Start a hub after `crash_hub`, at the same address, with its database and a new proxy.

    ``version`` is another version of JupyterHub, for a hub with `ONE_DATABASE`.
    """
    record = local_hub.read_record(hub.state)
    wanted = record["wanted"] | ({"version": version} if version else {})
    # The hub ends the old proxy itself. But where process 1 reaps no children, it takes a dead proxy for a live one.
    for process in hub_processes.marked(hub.state):
        with contextlib.suppress(OSError):  # the process may have ended
            if b"configurable-http-proxy" in Path(f"/proc/{process.pid}/cmdline").read_bytes():
                process.kill(signal.SIGKILL)
    (hub.state / "jupyterhub-proxy.pid").unlink(missing_ok=True)
    installed = hub_install.install(HOME, wanted["version"])
    started = local_hub.launch(hub.state, wanted, installed, 300, hub.ports)
    assert started, "its ports are taken"
    return replace(hub, version=started["version"], pid=started["pid"])


ONE_DATABASE = """
import os
c.JupyterHub.db_url = "sqlite:///" + os.environ["LOCAL_HUB_STATE"] + "/jupyterhub.sqlite"
"""
"""For `running_hub`, if another version of JupyterHub goes on with the database. Otherwise each has its own."""


def upgrade_database(hub: Hub, version: str) -> None:
    """Upgrade the database of a hub that does not run, as an operator does."""
    programs = Path(hub_install.install(HOME, version)["python"]).parent
    command = [programs / "jupyterhub", "upgrade-db", f"--db=sqlite:///{hub.state}/jupyterhub.sqlite"]
    env = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}  # jupyterhub runs alembic
    done = subprocess.run(command, cwd=hub.state, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def upgrade_hub(hub: Hub, version: str) -> Hub:
    """Replace a hub that has `ONE_DATABASE` with another version, at the same address. Real servers go on."""
    crash_hub(hub)
    upgrade_database(hub, version)
    return start_crashed_hub(hub, version)
