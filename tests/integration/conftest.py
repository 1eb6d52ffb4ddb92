# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hubs of the tests, each started when a test first asks for it, and the doors to reach them through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from doors import DOORS, At
from hubs import IMPATIENT, Hub, running_hub
from misbehaving_hub import Misbehaving, misbehaving_hub, refuses_writes


@pytest.fixture(scope="session", params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def hub_61(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with running_hub(tmp_path_factory.mktemp("6.1"), base_url="/jhub/", config=IMPATIENT) as hub:
        yield hub


@pytest.fixture(scope="session")
def hub_55(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with running_hub(tmp_path_factory.mktemp("5.5"), version="5.5") as hub:
        yield hub


@pytest.fixture(scope="session")
def hub_41(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with running_hub(tmp_path_factory.mktemp("4.1"), version="4.1") as hub:
        yield hub


@pytest.fixture(scope="session")
def real_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """One with real servers: jupyter-server, kernels and all."""
    with running_hub(tmp_path_factory.mktemp("real"), spawner="server") as hub:
        yield hub


@pytest.fixture
def light(door: str, hub_61: Hub) -> At:
    """JupyterHub 6.1 below /jhub/, with servers that cost nothing."""
    return At(door, hub_61)


@pytest.fixture
def light_55(door: str, hub_55: Hub) -> At:
    return At(door, hub_55)


@pytest.fixture
def light_41(door: str, hub_41: Hub) -> At:
    return At(door, hub_41)


@pytest.fixture
def real(door: str, real_hub: Hub) -> At:
    return At(door, real_hub)


# What hubs have different does not depend on the door: the older ones are met without one.
VERSIONS = [
    pytest.param(("controller", "hub_61"), id="controller-6.1", marks=pytest.mark.doors),
    pytest.param(("module", "hub_61"), id="module-6.1", marks=pytest.mark.doors),
    pytest.param(("program", "hub_55"), id="program-5.5"),
    pytest.param(("program", "hub_41"), id="program-4.1"),
]


@pytest.fixture(params=VERSIONS)
def any_version(request: pytest.FixtureRequest) -> At:
    """Each supported version of JupyterHub in turn, with servers that cost nothing."""
    door, hub = request.param
    return At(door, request.getfixturevalue(hub))


@pytest.fixture
def glass(hub_61: Hub) -> Iterator[Misbehaving]:
    """JupyterHub 6.1 as `light` has it, for looking only: every write fails and is recorded."""
    with misbehaving_hub(refuses_writes(hub_61.url)) as fake:
        fake.url += "jhub/"
        yield fake
