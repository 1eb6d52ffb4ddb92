# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_restore.flow: what starts, with which options, and what becomes of servers that cannot or need not start."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain.record import Entry, Key, Record
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain.record_file import RecordFile
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    Conflict,
    HubFailure,
    Invalid,
    NotFound,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.versions import DIALECTS
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path import private_file
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server import start
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_restore import MODULE, flow
from support.fakes.fake_hub_client import HUB
from support.fakes.memory_hub import CREATED, MemoryHub


@pytest.fixture(autouse=True)
def _short_pauses(short_polls: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_GRACE", 0.05)


ALICE, LAB, BOB = ("alice", ""), ("alice", "lab"), ("bob", "")
GPU, CPU = {"profile": "gpu"}, {"profile": "cpu"}
ENTRIES = [Entry(*ALICE, CREATED, GPU), Entry(*LAB, CREATED, {}), Entry(*BOB, CREATED, CPU)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "drained.json"


def record(path: Path, entries: Sequence[Entry] = tuple(ENTRIES), url: str = HUB) -> None:
    RecordFile(str(path)).write(Record(CREATED, url, "5.5.4").with_entries(entries))


def recorded(path: Path) -> dict[Key, Entry]:
    found = RecordFile(str(path)).read()
    assert found is not None
    return dict(found.entries)


def hub_with_users(*running: Key) -> MemoryHub:
    hub = MemoryHub(dict.fromkeys((ALICE, BOB), CPU))
    for key in (ALICE, BOB):
        if key not in running:
            hub.stop(key)
    hub.stopped.clear()
    return hub


def restore(hub: MemoryHub, path: Path, *, check_mode: bool = False, **more: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in MODULE.options.items()}
    options = {**defaults, "api_token": "", "path": str(path), "concurrency": 1, **more}
    return run(flow(hub, options, lambda line: None), check_mode=check_mode)  # type: ignore[arg-type]


def outcomes(result: dict[str, Any]) -> dict[Key, str]:
    return {(each["user"], each["server_name"]): each["outcome"] for each in result["servers"]}


def test_each_server_starts_with_its_own_options(path: Path) -> None:
    record(path)
    hub = hub_with_users()
    foreseen = restore(hub, path, check_mode=True)
    assert (hub.writes, recorded(path)) == ([], {entry.key: entry for entry in ENTRIES})
    done = restore(hub, path)
    assert hub.options() == {ALICE: GPU, LAB: {}, BOB: CPU}
    assert hub.writes[1] == ("POST", "users/alice/servers/lab", {"user_options": {}})
    assert outcomes(done) == outcomes(foreseen) == dict.fromkeys((ALICE, LAB, BOB), "restored")
    assert (done["changed"], foreseen["changed"]) == (True, True)
    assert [each["state"] for each in done["servers"]] == ["ready"] * 3
    assert set(done["servers"][0]) == {
        "user", "server_name", "outcome", "state", "changed", "url", "seconds", "reason", "events", "user_options",
        "failure",
    }  # fmt: skip
    assert done["summary"].startswith(
        "3 of 3 servers restored, 0 already running, 0 user gone, 0 profile gone, 0 failed"
    )
    assert done["counts"] == {
        "servers": 3, "restored": 3, "already_running": 0, "user_gone": 0, "profile_gone": 0, "failed": 0
    }  # fmt: skip
    assert {entry.restore for entry in recorded(path).values()} == {"restored"}
    requests = len(hub.writes)
    again = restore(hub, path)
    assert (again["changed"], outcomes(again), len(hub.writes)) == (False, outcomes(done), requests)


def test_an_older_hub_gets_its_format(path: Path) -> None:
    record(path, ENTRIES[:1])
    hub = hub_with_users()
    hub.dialect = DIALECTS[1]
    hub.on_write = lambda method, where, body: body.update(user_options=dict(body))
    restore(hub, path)
    assert hub.writes[0][2]["profile"] == "gpu"


def test_options_that_the_drain_could_not_see_are_left_to_the_hub(path: Path) -> None:
    record(path, [Entry(*ALICE, None, None)])
    hub = hub_with_users()
    assert outcomes(restore(hub, path)) == {ALICE: "restored"}
    assert hub.writes == [("POST", "users/alice/server", None)]


def test_the_record_says_that_it_is_restored_before_the_first_start(path: Path) -> None:
    record(path)
    hub, seen = hub_with_users(), list[Any]()
    hub.on_write = lambda *_request: seen.append({entry.restore for entry in recorded(path).values()})
    restore(hub, path)
    assert seen[0] == {"restoring"}


@pytest.mark.parametrize("options", [GPU, CPU])
def test_what_somebody_has_started_is_left(path: Path, options: dict[str, Any]) -> None:
    record(path, ENTRIES[:1])
    hub = hub_with_users()
    hub.start(ALICE, options)
    done = restore(hub, path)
    assert (hub.writes, done["changed"], outcomes(done)) == ([], False, {ALICE: "already_running"})
    assert ("differ in profile" in done["servers"][0]["reason"]) is (options == CPU)
    assert recorded(path)[ALICE].restore == "already_running"
    assert "failed" not in done


def test_what_somebody_starts_with_other_options_at_the_same_moment_is_left(path: Path) -> None:
    record(path, ENTRIES[:1])
    hub = hub_with_users()

    def be_first(*_request: Any) -> None:
        hub.start(ALICE, CPU)
        raise Invalid("alice is already running", "x", status=400, method="POST")

    hub.on_write = be_first
    done = restore(hub, path)
    assert (outcomes(done), done["changed"], hub.options()[ALICE]) == ({ALICE: "already_running"}, False, CPU)
    assert "failed" not in done


@pytest.mark.parametrize("has_users", [True, False])
def test_the_record_of_another_hub_is_left_alone(path: Path, has_users: bool) -> None:
    """Otherwise all users would count as gone, and the next drain would put the record aside."""
    record(path, url="https://other/")
    before, hub = path.read_bytes(), hub_with_users()
    hub.created = dict.fromkeys(hub.created, "2020-01-01T00:00:00Z") if has_users else {}
    with pytest.raises(Conflict, match="is of the hub at https://other/"):
        restore(hub, path)
    assert (path.read_bytes(), hub.writes) == (before, [])


def test_a_hub_with_another_address_is_restored_and_told(path: Path) -> None:
    record(path, url="https://old/")
    done = restore(hub_with_users(), path)
    assert (done["counts"]["restored"], done["other_hub"]) == (3, "https://old/")
    assert ", the record is of the hub at https://old/" in done["summary"]


def test_what_the_token_may_not_start_is_told_in_check_mode(path: Path) -> None:
    record(path)
    hub = hub_with_users()
    hub.missing_scopes = lambda needed: [scope for scope in needed if "=bob/" in scope]  # type: ignore[method-assign]
    foreseen = restore(hub, path, check_mode=True)
    assert outcomes(foreseen) == {ALICE: "restored", LAB: "restored", BOB: "failed"}
    assert (foreseen["failed"], foreseen["failure"]["code"]) == (True, "missing_scope")
    assert "'start:servers' does not cover server of user 'bob'" in foreseen["servers"][2]["reason"]


@pytest.mark.parametrize("has_started", [True, False])
def test_a_start_that_somebody_else_has_begun_decides_at_its_end(path: Path, has_started: bool) -> None:
    record(path, ENTRIES[:1])
    hub = hub_with_users()

    def begin(*_request: Any) -> None:
        hub.start(ALICE, CPU)
        hub.running[ALICE] |= {"ready": False, "pending": "spawn"}
        hub.on_look = end

    def end() -> None:
        looks.append(1)
        if len(looks) > 5:
            hub.start(ALICE, CPU) if has_started else hub.stop(ALICE)

    looks = list[int]()
    hub.on_write = begin
    hub.refuses[ALICE] = Conflict("The server is starting with other user_options.", "x", status=409)
    done = restore(hub, path)
    assert outcomes(done) == {ALICE: "already_running" if has_started else "failed"}
    assert recorded(path)[ALICE].is_finished is has_started  # the next restore tries again


def test_what_a_restart_of_the_hub_has_ended_is_no_success(path: Path) -> None:
    record(path)
    hub = hub_with_users()

    def restart(method: str, where: str, _body: Any) -> None:
        if "bob" in where:
            hub.absences.append(time.monotonic())
            hub.stop(ALICE)

    hub.on_write = restart
    done = restore(hub, path)
    assert outcomes(done) == {ALICE: "failed", LAB: "restored", BOB: "restored"}
    assert "was ready and has stopped again. The hub was away meanwhile." in done["servers"][0]["reason"]
    assert (done["failed"], recorded(path)[ALICE].restore) == (True, "failed")
    hub.on_write = lambda *_request: None
    assert outcomes(restore(hub, path))[ALICE] == "restored"


def test_users_who_have_left_are_told_and_are_no_failure(path: Path) -> None:
    record(path)
    hub = hub_with_users()
    del hub.created["bob"]
    hub.created["alice"] = "2026-06-01T00:00:00Z"
    done = restore(hub, path)
    assert set(outcomes(done).values()) == {"user_gone"}
    assert (done["changed"], hub.writes, "failed" in done) == (False, [], False)
    reasons = [each["reason"] for each in done["servers"]]
    assert "created again" in reasons[0]
    assert "no user 'bob'" in reasons[2]
    hub.created |= {"alice": CREATED, "bob": CREATED}  # it was a mistake, and the users are back
    assert set(outcomes(restore(hub, path)).values()) == {"restored"}


def test_a_user_who_leaves_before_the_start(path: Path) -> None:
    record(path, ENTRIES[:1])
    hub = hub_with_users()

    def leave(*_request: Any) -> None:
        hub.created.pop("alice", None)
        raise NotFound("The hub has no user 'alice'.", "x", status=404, method="POST")

    hub.on_write = leave
    assert outcomes(restore(hub, path)) == {ALICE: "user_gone"}


def test_a_server_that_has_stopped_since_an_earlier_restore_is_told(path: Path) -> None:
    record(path)
    hub = hub_with_users()
    restore(hub, path)
    before = recorded(path)
    hub.stop(BOB)
    hub.writes.clear()
    for check_mode in (True, False):
        again = restore(hub, path, check_mode=check_mode)
        assert (again["changed"], hub.writes, recorded(path)) == (False, [], before)
        assert [each["state"] for each in again["servers"]] == ["ready", "ready", "stopped"]
        assert "does not run any more" in again["servers"][2]["reason"]
        assert ", 1 stopped since an earlier restore, " in again["summary"]


def test_a_user_whom_the_token_may_not_see_has_not_left(path: Path) -> None:
    record(path)
    hub = hub_with_users()
    hub.held_scopes = ("read:servers!group=staff",)
    del hub.created["bob"]  # the hub answers 404 also for those who are not in the group
    done = restore(hub, path)
    assert outcomes(done) == {ALICE: "restored", LAB: "restored", BOB: "failed"}
    assert (done["failed"], done["failure"]["code"]) == (True, "not_found")
    assert "restore with a token" in done["failure"]["hint"]
    assert recorded(path)[BOB].restore == "failed"


def test_a_user_whose_servers_the_token_may_not_start_has_not_left(path: Path) -> None:
    record(path, ENTRIES[:1])
    hub = hub_with_users()

    def hide(*_request: Any) -> None:
        raise NotFound("The hub has no user 'alice'.", "x", status=404, method="POST")

    hub.on_write = hide
    done = restore(hub, path)
    assert (outcomes(done), done["failed"], recorded(path)[ALICE].restore) == ({ALICE: "failed"}, True, "failed")


def test_a_server_whose_user_could_not_be_checked_is_not_started(path: Path) -> None:
    record(path, ENTRIES[:1])
    hub, looks = hub_with_users(), iter(range(99))
    hub.created["alice"] = "2026-06-01T00:00:00Z"  # another user of this name

    def fail_once() -> None:
        if next(looks) == 1:  # after the servers, the users are read
            raise HubFailure("It restarts.", "x", status=503, method="GET")

    hub.on_look = fail_once
    assert (outcomes(restore(hub, path)), hub.writes) == ({ALICE: "failed"}, [])
    assert outcomes(restore(hub, path)) == {ALICE: "user_gone"}


def spawn_failure(text: str) -> HubFailure:
    return HubFailure(text, "x", status=500, method="POST", reason="Unhandled error starting server alice")


def test_a_profile_that_is_gone_is_told_and_a_failure_fails(path: Path) -> None:
    record(path)
    hub = hub_with_users()
    hub.refuses = {ALICE: spawn_failure("x"), BOB: spawn_failure("y")}
    failed = {"progress": 100, "failed": True}
    hub.streams = [
        [{**failed, "message": "Spawn failed: No such profile: gpu. Options include: cpu"}],
        [{**failed, "message": "Spawn failed: no node\nis free"}],
    ]
    done = restore(hub, path)
    assert outcomes(done) == {ALICE: "profile_gone", LAB: "restored", BOB: "failed"}
    assert done["servers"][0]["reason"] == "No such profile: gpu. Options include: cpu"
    assert (done["failed"], done["failure"]["code"], done["changed"]) == (True, "spawn_failed", True)
    assert [bool(each["failure"]) for each in done["servers"]] == [False, False, True]
    assert "1 of 3 servers failed. The first, server of user 'bob'" in done["msg"]
    assert {key: entry.restore for key, entry in recorded(path).items()} == outcomes(done)
    assert recorded(path)[BOB].reason == "no node\\nis free"
    hub.refuses.clear()
    assert set(outcomes(restore(hub, path)).values()) == {"restored"}


def test_a_server_that_cannot_even_be_looked_at_is_recorded_as_failed(path: Path) -> None:
    record(path, [Entry(*ALICE, None, GPU), Entry(*BOB, None, CPU)])
    hub = hub_with_users()
    read = hub.get

    def get(*where: str, **more: Any) -> Any:
        if where[1] == "bob":
            raise HubFailure("It has failed.", "x", status=500, method="GET")
        return read(*where, **more)

    hub.get = get  # type: ignore[method-assign]
    done = restore(hub, path)
    assert outcomes(done) == {ALICE: "restored", BOB: "failed"}
    assert (recorded(path)[BOB].restore, recorded(path)[BOB].reason) == ("failed", "It has failed.")


def test_a_full_disk_does_not_hide_what_was_started(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(path)
    hub = hub_with_users()

    def fail(*_arguments: Any) -> None:
        raise Invalid("No space is left.", "Make room.")

    hub.on_write = lambda *_request: monkeypatch.setattr(private_file, "write", fail)
    done = restore(hub, path)
    assert (done["failed"], done["failure"]["message"], done["changed"]) == (True, "No space is left.", True)
    assert set(outcomes(done).values()) == {"restored"}
    monkeypatch.undo()
    assert set(outcomes(restore(hub, path)).values()) == {"restored"}


def test_what_a_killed_drain_has_not_stopped(path: Path) -> None:
    record(path, [Entry(*ALICE, CREATED, GPU)])
    hub = hub_with_users()
    hub.start(ALICE, GPU)
    [server] = restore(hub, path)["servers"]
    assert (server["outcome"], server["reason"]) == ("already_running", "The drain has not stopped it.")


def test_a_missing_or_broken_record_ends_the_task(path: Path) -> None:
    with pytest.raises(Invalid, match="There is no record of a drain at"):
        restore(hub_with_users(), path)
    path.write_text("{")
    with pytest.raises(Invalid, match="not JSON"):
        restore(hub_with_users(), path)


def test_an_empty_record_is_restored_at_once(path: Path) -> None:
    record(path, [])
    done = restore(hub_with_users(), path)
    assert (done["changed"], done["servers"]) == (False, [])


def test_a_drain_that_runs_keeps_a_restore_out(path: Path) -> None:
    record(path)
    with RecordFile(str(path)).lock(), pytest.raises(Conflict, match="Another run"):
        restore(hub_with_users(), path)


def test_names_that_no_request_can_carry_are_refused(path: Path) -> None:
    record(path, [Entry("alice/server", "")])
    with pytest.raises(Invalid):
        restore(hub_with_users(), path)
