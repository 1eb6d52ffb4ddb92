# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_drain.flow and _restore.flow, killed at each moment, one after the other, with people who start servers between."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._cull.policy import Limits, Policy
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain import record_file
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain.flow import DrainFlow, DrainOptions
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain.record_file import Ledger, RecordFile
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path import private_file
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from ansible_collections.hubops.jupyterhub.plugins.module_utils._restore.flow import RestoreFlow
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes.memory_hub import Key, Killed, MemoryHub, Options

pytestmark = pytest.mark.usefixtures("short_polls")

KEYS = [("alice", ""), ("alice", "lab"), ("bob", ""), ("Carol", "x y")]
OPTIONS = st.sampled_from([{}, {"profile": "gpu"}, {"profile": "cpu", "n": 1}])
SERVERS = st.dictionaries(st.sampled_from(KEYS), OPTIONS, min_size=1)
MOMENTS = st.integers(0, 24)


@contextmanager
def deadly(hub: MemoryHub, is_eager: bool) -> Iterator[None]:
    """Count each write of the file as a moment, too. ``is_eager`` writes it after each change, else as rarely as can
    be."""
    write, change = private_file.write, Ledger.change

    def mortal_write(path: str, content: bytes) -> None:
        hub.pass_moment()
        write(path, content)
        hub.pass_moment()

    def eager_change(ledger: Ledger, key: Key, **changes: Any) -> None:
        change(ledger, key, **changes)
        if ledger._thread.is_alive():
            ledger.save()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private_file, "write", mortal_write)
        patch.setattr(record_file, "_PAUSE", 600)
        if is_eager:
            patch.setattr(Ledger, "change", eager_change)
        yield


def drain(hub: MemoryHub, path: Path) -> dict[str, Any]:
    options = DrainOptions(concurrency=1, order="name")
    return run(
        DrainFlow(hub, RecordFile(str(path)), Policy(Limits(0.0)), options, lambda line: None),  # type: ignore[arg-type]
        check_mode=False,
    )


def restore(hub: MemoryHub, path: Path) -> dict[str, Any]:
    flow = RestoreFlow(
        hub,  # type: ignore[arg-type]
        RecordFile(str(path)),
        lambda line: None,
        concurrency=1,
        wait_timeout=60,
    )
    return run(flow, check_mode=False)


def live_until(hub: MemoryHub, moments: int, work: Any, path: Path) -> None:
    hub.moments_left = moments
    try:
        work(hub, path)
    except Killed:
        pass
    hub.revive()


@settings(deadline=None, max_examples=60)
@given(servers=SERVERS, first=MOMENTS, second=MOMENTS, later=SERVERS, is_eager=st.booleans())
def test_killed_drains_lose_nobody(
    servers: dict[Key, Options], first: int, second: int, later: dict[Key, Options], is_eager: bool
) -> None:
    hub = MemoryHub(servers)
    with tempfile.TemporaryDirectory() as folder, deadly(hub, is_eager):
        path = Path(folder) / "drained.json"
        live_until(hub, first, drain, path)
        # People start servers again, and others, with options of their own.
        newer = {key: options for key, options in later.items() if key not in hub.running}
        for key, options in newer.items():
            hub.start(key, options)
        live_until(hub, second, drain, path)
        drain(hub, path)
        record = RecordFile(str(path)).read()
        assert record is not None
        assert hub.running == {}
        assert {key: entry.user_options for key, entry in record.entries.items()} == {**servers, **newer}
        assert {(entry.state, entry.restore) for entry in record.entries.values()} == {("stopped", "pending")}
        again = drain(hub, path)
        assert (again["changed"], again["counts"]["to_restore"]) == (False, len(record.entries))
        assert RecordFile(str(path)).read() == record


@settings(deadline=None, max_examples=60)
@given(servers=SERVERS, first=MOMENTS, second=MOMENTS, is_eager=st.booleans())
def test_killed_restores_start_each_server_once(
    servers: dict[Key, Options], first: int, second: int, is_eager: bool
) -> None:
    hub = MemoryHub(servers)
    with tempfile.TemporaryDirectory() as folder, deadly(hub, is_eager):
        path = Path(folder) / "drained.json"
        drain(hub, path)
        hub.stopped.clear()  # a hub that has forgotten the options
        live_until(hub, first, restore, path)
        live_until(hub, second, restore, path)
        done = restore(hub, path)
        assert hub.options() == servers
        assert {(each["user"], each["server_name"]): each["outcome"] for each in done["servers"]} == dict.fromkeys(
            servers, "restored"
        )
        assert sum(method == "POST" for method, _path, _body in hub.writes) == len(servers)
        again = restore(hub, path)
        assert (again["changed"], again["counts"]["restored"]) == (False, len(servers))


@settings(deadline=None, max_examples=60)
@given(servers=SERVERS, first=MOMENTS)
def test_a_restore_follows_a_killed_drain(servers: dict[Key, Options], first: int) -> None:
    hub = MemoryHub(servers)
    with tempfile.TemporaryDirectory() as folder, deadly(hub, is_eager=False):
        path = Path(folder) / "drained.json"
        live_until(hub, first, drain, path)
        if path.exists():
            stopped = set(servers) - set(hub.running)
            done = restore(hub, path)
            outcomes = {(each["user"], each["server_name"]): each["outcome"] for each in done["servers"]}
            assert {key for key, outcome in outcomes.items() if outcome == "restored"} == stopped
            assert {key for key, outcome in outcomes.items() if outcome == "already_running"} == set(servers) - stopped
        assert hub.options() == servers
