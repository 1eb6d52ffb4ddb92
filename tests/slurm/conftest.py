# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Slurm cluster, and hubs that start servers on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hubs import Hub, local_hub, running_hub, venv
from slurm.cluster import Cluster, running_cluster

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    # Ended by whatever signal, pytest is to come to the end of the fixtures.
    local_hub.heed_signals()
    with running_cluster() as cluster:
        yield cluster


@contextlib.contextmanager
def slurm_hub(cluster: Cluster, folder: Path, version: str) -> Iterator[Hub]:
    machine = venv("slurm")
    [packages] = machine.glob("lib/python3*/site-packages")
    tiny_server = cluster.folder / "tiny_server.py"  # where any user's job can read it
    tiny_server.write_text((HERE / tiny_server.name).read_text())
    tiny_server.chmod(0o644)
    config = f"""
import sys

sys.path += [{str(HERE)!r}, {str(packages)!r}]  # last: only what the hub's own environment lacks comes from there
import flat_spawner

flat_spawner.configure(
    c, {str(cluster.config)!r}, {str(cluster.homes)!r}, {str(machine / "bin")!r}, {str(tiny_server)!r}
)
"""
    with running_hub(folder, version=version, spawner="server", config=config) as hub:
        yield hub


@pytest.fixture(scope="session")
def hub_61(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with slurm_hub(cluster, tmp_path_factory.mktemp("6.1"), "6.1") as hub:
        yield hub


@pytest.fixture(scope="session")
def hub_55(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with slurm_hub(cluster, tmp_path_factory.mktemp("5.5"), "5.5") as hub:
        yield hub
