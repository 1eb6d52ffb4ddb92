# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Slurm cluster, and hubs whose servers are jobs of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from slurm.cluster import Cluster, running_cluster
from support.hubs import Hub, HubPool, local_hub, venv

HERE = Path(__file__).resolve().parent
StartHub = Callable[[str], Future[Hub]]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    # Whatever signal ends pytest, it finishes its fixtures first.
    local_hub.heed_signals()
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def start_hub(
    cluster: Cluster, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartHub]:
    """A function that begins to start the hub of a version, once. All hubs that the run needs start in parallel."""
    hubs = HubPool(tmp_path_factory.mktemp("hubs"))
    start = functools.partial(hubs.start, spawner="server", base_url="/", config=hub_config(cluster))
    try:
        for version in ("6.1", "5.5"):
            if any(version in item.name for item in request.session.items):
                start(version)
        yield start
    finally:
        hubs.close()


def hub_config(cluster: Cluster) -> str:
    machine = venv("slurm")
    [packages] = machine.glob("lib/python3*/site-packages")
    tiny_server = cluster.folder / "tiny_server.py"  # in a folder where every user's job can read it
    tiny_server.write_text((HERE / tiny_server.name).read_text())
    tiny_server.chmod(0o644)
    return f"""
import sys

sys.path += [{str(HERE)!r}, {str(packages)!r}]  # last, so that only packages that the hub lacks come from there
import flat_spawner

flat_spawner.configure(
    c, {str(cluster.config)!r}, {str(cluster.homes)!r}, {str(machine / "bin")!r}, {str(tiny_server)!r},
    {str(cluster.polling_file)!r},
)
"""


@pytest.fixture(scope="session")
def hub_61(start_hub: StartHub) -> Hub:
    return start_hub("6.1").result()


@pytest.fixture(scope="session")
def hub_55(start_hub: StartHub) -> Hub:
    return start_hub("5.5").result()
