# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hubs that integration tests share, and the runners that reach them through each door."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fakes.misbehaving_hub import MisbehavingHub, misbehaving_hub, refuse_writes
from support.hubs import Hub, HubPool
from support.playbooks import oldest_ansible_bin
from support.runner import DOORS, Runner

# The files that take longest. They begin first, so that all workers end at about the same time.
LONGEST = (
    "hub_verify_matrix", "hub_verify_peers", "hub_verify_signals", "hub_verify_kernels", "hub_verify_proofs",
    "hub_verify", "many_servers", "upgrade", "verification_page", "upgrades_page", "service_account_keep", "hub_server",
    "documents", "verify", "verify_report", "verify_uploads", "service_accounts_stores", "service_accounts_awx", "awx",
    "fleet", "awx_page", "fake_awx", "merge_reports", "hub_verify_deadline", "verify_runner", "hub_server_faults",
    "room_for_starts", "hub_drain", "bad_input", "hub_token", "hub_exec", "token_faults", "leaks", "hub_cull",
    "drain_kill", "rotate_tokens",
    "service_account", "hub_info", "hub_user", "hub_group", "hub_snapshot", "doors", "hub_places", "local_hub",
    "make_verify", "hub_names", "idle_culler_timer", "culling_page", "connection", "token_kill", "fork_server",
    "hub_cull_compared", "standard_commands", "docs_site", "own_checks_page", "release",
    "refresh", "monitoring_page", "service_accounts_page", "idle_culler", "install",
)  # fmt: skip


OLDEST = "oldest"
"""The ansible-core that tests marked `doors` run on, besides the newest one."""
CORES = [pytest.param("", id=pytest.HIDDEN_PARAM)]
# tools/matrix.py names the environment of the one ansible-core that a run tests. The fixture `core` sets the same
# variable, but only while tests run, which is after this.
if not os.environ.get("HUBOPS_ANSIBLE_VENV"):
    CORES.append(pytest.param(OLDEST, id=OLDEST))


def pytest_report_header() -> str | None:
    programs = os.environ.get("HUBOPS_ANSIBLE_VENV")
    return f"ansible-core of {programs}" if programs else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on both. Marks of parameters are not known yet, so the next function drops what does not apply."""
    metafunc.parametrize("core", CORES, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    oldest = [item for item in items if hasattr(item, "callspec") and item.callspec.params.get("core")]
    dropped = {item for item in oldest if not item.get_closest_marker("doors")}
    config.hook.pytest_deselected(items=[*dropped])
    items[:] = [item for item in items if item not in dropped]
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session", autouse=True)
def core(request: pytest.FixtureRequest) -> Iterator[None]:
    """The ansible-core under test: the newest one, and for tests marked `doors` also the oldest one.

    If HUBOPS_ANSIBLE_VENV is set, it is the one of that environment.
    """
    with pytest.MonkeyPatch.context() as patch:
        if request.param == OLDEST:
            patch.setenv("HUBOPS_ANSIBLE_VENV", str(oldest_ansible_bin().parent))
        yield


@pytest.fixture(scope="session", params=DOORS)
def door(core: None, request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def pool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubPool]:
    """The hubs that this worker's tests share. The first test that asks for one starts all versions in parallel."""
    hubs = HubPool(tmp_path_factory.mktemp("hubs"))
    used = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    try:
        for version in ("6.1", "5.5", "4.1"):
            if used & {"hub_" + version.replace(".", ""), "any_version"}:
                hubs.start(version)
        yield hubs
    finally:
        hubs.close()


@pytest.fixture(scope="session")
def hub_61(pool: HubPool) -> Hub:
    return pool.get()


@pytest.fixture(scope="session")
def hub_55(pool: HubPool) -> Hub:
    return pool.get("5.5")


@pytest.fixture(scope="session")
def hub_41(pool: HubPool) -> Hub:
    return pool.get("4.1")


@pytest.fixture(scope="session")
def real_hub(pool: HubPool) -> Hub:
    """A hub whose servers are real: jupyter-server with kernels."""
    return pool.get(spawner="server")


@pytest.fixture
def light(door: str, hub_61: Hub) -> Runner:
    """A runner for JupyterHub 6.1 below /jhub/, with light servers."""
    return Runner(door, hub_61)


@pytest.fixture
def light_55(door: str, hub_55: Hub) -> Runner:
    return Runner(door, hub_55)


@pytest.fixture
def light_41(door: str, hub_41: Hub) -> Runner:
    return Runner(door, hub_41)


@pytest.fixture
def real(door: str, real_hub: Hub) -> Runner:
    return Runner(door, real_hub)


# How hubs differ does not depend on the door, so the older versions are tested without one.
VERSIONS = [
    pytest.param(("controller", "hub_61"), id="controller-6.1", marks=pytest.mark.doors),
    pytest.param(("module", "hub_61"), id="module-6.1", marks=pytest.mark.doors),
    pytest.param(("program", "hub_55"), id="program-5.5"),
    pytest.param(("program", "hub_41"), id="program-4.1"),
]


@pytest.fixture(params=VERSIONS)
def any_version(request: pytest.FixtureRequest) -> Runner:
    """A runner for each supported version of JupyterHub in turn, with light servers."""
    door, hub = request.param
    return Runner(door, request.getfixturevalue(hub))


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """The gate at which a light server's start or stop waits. It is opened at the test's end at the latest."""
    yield tmp_path / "gate"
    (tmp_path / "gate").touch()


@pytest.fixture
def read_only_hub(hub_61: Hub) -> Iterator[MisbehavingHub]:
    """The hub of `light`, with every write refused and recorded."""
    with misbehaving_hub(refuse_writes(hub_61.url)) as fake:
        fake.url += "jhub/"
        yield fake
