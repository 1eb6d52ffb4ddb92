# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_drain.flow: which servers stop, in which order, what the record says, and what others do at the same time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._cull.policy import Decision
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain import record_file
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain.flow import sort_decisions
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain.record import Entry, Key, Record
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain.record_file import RecordFile
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    Conflict,
    HubFailure,
    Invalid,
    MissingScope,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Owner
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path import private_file
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_drain import MODULE, flow
from support.fakes.fake_hub_client import HUB
from support.fakes.memory_hub import CREATED, MemoryHub

pytestmark = pytest.mark.usefixtures("short_polls")

ALICE, LAB, BOB = ("alice", ""), ("alice", "lab"), ("bob", "")
GPU, CPU = {"profile": "gpu"}, {"profile": "cpu"}
ALL = {ALICE: GPU, LAB: {}, BOB: CPU}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "drained.json"


def drain(hub: MemoryHub, path: Path, *, check_mode: bool = False, **more: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in MODULE.options.items()}
    options = {**defaults, "api_token": "", "path": str(path), "concurrency": 1, "order": "name", **more}
    return run(flow(hub, options, lambda line: None), check_mode=check_mode)  # type: ignore[arg-type]


def recorded(path: Path) -> dict[Key, Entry]:
    record = RecordFile(str(path)).read()
    assert record is not None
    return dict(record.entries)


def keys(items: list[dict[str, Any]]) -> list[Key]:
    return [(item["user"], item["server_name"]) for item in items]


def keep(**criteria: Any) -> dict[str, Any]:
    names = MODULE.options["rules"]["options"]
    return {**dict.fromkeys(names), "keep": True, **criteria}


def test_everything_stops_and_is_recorded_with_its_options(path: Path) -> None:
    hub = MemoryHub(ALL)
    done = drain(hub, path)
    assert hub.running == {}
    assert keys(done["drained"]) == [ALICE, LAB, BOB]
    assert [each["user_options"] for each in done["drained"]] == [GPU, {}, CPU]
    assert [(action["verb"], action["object"]) for action in done["actions"]] == [
        ("stop", "server of user 'alice'"), ("stop", "server 'lab' of user 'alice'"), ("stop", "server of user 'bob'"),
    ]  # fmt: skip
    assert (done["changed"], done["diff"]["before"], done["diff"]["after"]) == (True, {"servers": 3}, {"servers": 0})
    entries = recorded(path)
    assert {key: entry.user_options for key, entry in entries.items()} == ALL
    assert {(entry.state, entry.restore, entry.user_created) for entry in entries.values()} == {
        ("stopped", "pending", CREATED)
    }
    assert all(entry.stopped_at and entry.started and entry.last_activity for entry in entries.values())
    assert done["summary"].startswith("3 of 3 servers drained, 0 kept, 0 gone, 0 failed, 0 started meanwhile, 3 to")


def test_the_record_is_there_before_the_first_stop(path: Path) -> None:
    hub, seen = MemoryHub(ALL), list[Any]()
    hub.on_write = lambda *_request: seen.append({key: entry.state for key, entry in recorded(path).items()})
    drain(hub, path)
    assert seen[0] == dict.fromkeys(ALL, "to_stop")


def test_check_mode_shows_the_order_and_the_reasons_and_writes_nothing(path: Path) -> None:
    hub = MemoryHub(ALL)
    rules = [keep(name="labs", servers=["lab"])]
    shown = drain(hub, path, check_mode=True, exclude_users=["bob"], rules=rules, order="oldest_first")
    assert (hub.writes, path.exists(), shown["changed"]) == ([], False, True)
    lines = shown["diff"]["prepared"].splitlines()
    assert lines[0].startswith("- server of user 'alice' goes: idle ")
    assert lines[1:] == [
        "  server 'lab' of user 'alice' stays: rule labs keeps it",
        "  server of user 'bob' stays: its user is excluded",
    ]
    assert [(each["user"], each["keep_code"]) for each in shown["kept"]] == [("alice", "rule"), ("bob", "excluded")]
    assert shown["kept_count"] == {"excluded": 1, "rule": 1}
    assert shown["summary"].startswith("1 of 3 servers would be drained, 2 kept, 0 gone, 0 failed, 1 to restore")


def test_nothing_to_stop_leaves_a_record_too(path: Path) -> None:
    done = drain(MemoryHub({}), path)
    assert (done["changed"], done["drained"], recorded(path)) == (False, [], {})
    written = path.stat().st_mtime_ns
    drain(MemoryHub({}), path)
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize(("limit", "number"), [("1", "2 of 3"), ("50%", "2 of 3")])
def test_the_limit_refuses_before_anything_is_stopped(path: Path, limit: str, number: str) -> None:
    hub = MemoryHub(ALL)
    with pytest.raises(Conflict) as caught:
        drain(hub, path, max_stops=limit, exclude_users=["bob"])
    assert f"{number} servers would be drained, more than max_stops ({limit}) allows" in caught.value.message
    assert "raise max_stops" in caught.value.hint
    assert (hub.writes, path.exists()) == ([], False)
    assert keys(caught.value.result["drained"]) == [ALICE, LAB]
    assert drain(hub, path, max_stops="67%", exclude_users=["bob"])["changed"]


def test_a_token_that_may_not_stop_is_told_before(path: Path) -> None:
    hub = MemoryHub(ALL)
    hub.owner = Owner("user", "bot", ("list:users", "read:servers"))
    with pytest.raises(MissingScope, match="delete:servers"):
        drain(hub, path)
    assert not path.exists()


@pytest.mark.parametrize("option", ["concurrency", "page_size"])
def test_a_number_below_one_is_refused(path: Path, option: str) -> None:
    with pytest.raises(Invalid, match=option):
        drain(MemoryHub({}), path, **{option: 0})


@pytest.mark.parametrize(("value", "is_refused"), [("0", False), ("0s", False), ("-1", True), ("soon", True)])
def test_idle_timeout(path: Path, value: str, is_refused: bool) -> None:
    if is_refused:
        with pytest.raises(Invalid, match="idle_timeout"):
            drain(MemoryHub({}), path, idle_timeout=value)
    else:
        assert keys(drain(MemoryHub(ALL), path, idle_timeout=value)["drained"]) == [*ALL]


def test_a_time_spares_who_was_active(path: Path) -> None:
    hub = MemoryHub(ALL)
    hub.running[ALICE]["last_activity"] = "2100-01-01T00:00:00.000000Z"
    done = drain(hub, path, idle_timeout="1h")
    assert (keys(done["drained"]), keys(done["kept"])) == ([LAB, BOB], [ALICE])
    assert done["kept"][0]["keep_code"] == "active"
    # 0 stops also what was active in the future, or at a time that the hub does not show.
    hub.running[ALICE] |= {"last_activity": None, "started": None}
    assert drain(hub, path)["drained"][0]["reason"] == "it runs"


def test_options_that_a_user_has_nested_deeply_block_nobody(path: Path) -> None:
    deep: dict[str, Any] = {}
    for _number in range(400):
        deep = {"a": [deep]} if _number % 2 else {"b": deep}
    hub = MemoryHub({ALICE: deep, BOB: CPU})
    assert keys(drain(hub, path)["drained"]) == [ALICE, BOB]
    assert recorded(path)[BOB].user_options == CPU


def test_servers_that_the_token_may_not_see_are_named(path: Path) -> None:
    hub = MemoryHub(ALL)
    hub.owner = Owner("user", "bot", ("delete:servers", "list:users!group=staff", "read:servers!group=staff"))
    for check_mode in (True, False):
        found = drain(hub, path, check_mode=check_mode)["unreadable"]
        assert [(each["name"], each["scope"]) for each in found] == [
            ("servers", "read:servers"),
            ("users", "list:users"),
        ]
    hub.owner = Owner("user", "bot", ("delete:servers", "list:users", "read:servers"))
    assert drain(hub, path)["unreadable"] == []


# What others do at the same time


def test_a_server_that_was_started_again_since_the_list_is_recorded_with_its_new_options(path: Path) -> None:
    hub = MemoryHub(ALL)
    seen = []

    def restart() -> None:
        hub.on_look = lambda: None
        hub.stop(BOB)
        hub.start(BOB, GPU)

    hub.on_look = restart
    hub.on_write = lambda *_request: seen.append(recorded(path)[BOB].user_options)
    done = drain(hub, path)
    assert keys(done["drained"]) == [*ALL]
    assert recorded(path)[BOB].user_options == GPU
    assert seen[-1] == GPU  # the file had them before the stop


@pytest.mark.parametrize("has_user", [True, False])
def test_what_somebody_else_stops_is_gone(path: Path, has_user: bool) -> None:
    hub = MemoryHub(ALL)

    def remove() -> None:
        hub.stop(BOB)
        if not has_user:
            hub.created.pop("bob", None)

    hub.on_look = remove
    done = drain(hub, path)
    assert (keys(done["drained"]), keys(done["gone"]), keys(done["started_meanwhile"])) == ([ALICE, LAB], [BOB], [])
    assert [*recorded(path)] == [ALICE, LAB]


def test_what_ends_while_the_hub_is_away_is_recorded(path: Path) -> None:
    """A hub that restarts may end servers, and nobody else starts them again."""
    hub = MemoryHub(ALL)

    def restart() -> None:
        hub.absences.append(time.monotonic())
        hub.stop(BOB)

    hub.on_look = restart
    done = drain(hub, path)
    assert (keys(done["drained"]), keys(done["gone"]), done["counts"]["to_restore"]) == ([ALICE, LAB], [BOB], 3)
    assert {key: entry.state for key, entry in recorded(path).items()} == dict.fromkeys(ALL, "stopped")


def test_the_record_of_another_hub_is_not_mixed_with_this_one(path: Path) -> None:
    RecordFile(str(path)).write(Record(CREATED, "https://other/", "5.5.4").with_entries([Entry(*BOB, CREATED, GPU)]))
    before, hub = path.read_bytes(), MemoryHub(ALL)
    hub.created = dict.fromkeys(hub.created, "2020-01-01T00:00:00Z")
    with pytest.raises(Conflict, match="is of the hub at https://other/"):
        drain(hub, path)
    assert (path.read_bytes(), hub.writes) == (before, [])
    hub.created["bob"] = CREATED  # it is the same hub under another address
    assert drain(hub, path)["counts"]["to_restore"] == 3


def test_a_link_to_the_record_stays_a_link(path: Path) -> None:
    """A run that replaced the link would lock another file than the next run."""
    link = path.parent / "link.json"
    link.symlink_to(path)
    with RecordFile(str(link)).lock(), pytest.raises(Conflict, match="Another run"):
        drain(MemoryHub(ALL), path)
    drain(MemoryHub(ALL), link)
    assert (link.is_symlink(), [*recorded(path)]) == (True, [*ALL])


def test_secrets_in_options_are_in_the_record_and_not_in_the_result(path: Path) -> None:
    done = drain(MemoryHub({ALICE: {"env": {"DB_PASS": "hunter2"}}}), path)
    assert done["drained"][0]["user_options"] == {"env": {"DB_PASS": "********"}}
    assert recorded(path)[ALICE].user_options == {"env": {"DB_PASS": "hunter2"}}


def test_what_starts_meanwhile_is_named_and_not_recorded(path: Path) -> None:
    hub = MemoryHub(ALL)
    hub.on_write = lambda *_request: hub.start(("dave", "new"), CPU)
    done = drain(hub, path, exclude_users=["bob"])
    assert keys(done["started_meanwhile"]) == [("dave", "new")]
    assert done["started_meanwhile"][0]["state"] == "ready"
    assert "1 started meanwhile" in done["summary"]
    assert [*recorded(path)] == [ALICE, LAB]
    assert (done["failures"], done.get("failed")) == ([], None)


def test_what_its_user_starts_again_after_the_stop_is_named(path: Path) -> None:
    hub = MemoryHub({ALICE: GPU, BOB: CPU})
    hub.on_write = lambda method, where, body: hub.start(ALICE, CPU) if "bob" in where else None
    done = drain(hub, path)
    assert keys(done["started_meanwhile"]) == [ALICE]
    again = drain(hub, path)
    assert keys(again["drained"]) == [ALICE]
    assert {key: entry.user_options for key, entry in recorded(path).items()} == {ALICE: CPU, BOB: CPU}


def test_a_server_that_somebody_is_stopping_is_waited_for(path: Path) -> None:
    hub = MemoryHub(ALL)
    hub.running[BOB]["pending"] = "stop"
    shown = drain(hub, path, check_mode=True)
    looks = []

    def look() -> None:
        looks.append(1)
        if len(looks) > 9:
            hub.stop(BOB)

    hub.on_look = look
    done = drain(hub, path)
    assert keys(shown["drained"]) == keys(done["drained"]) == [ALICE, LAB]
    assert keys(shown["gone"]) == keys(done["gone"]) == [BOB]
    assert "- server of user 'bob' goes: it is stopping" in done["diff"]["prepared"]
    assert BOB not in recorded(path)
    assert len(looks) > 9


def test_a_start_is_cancelled_when_the_hub_shows_its_options(path: Path) -> None:
    hub = MemoryHub({ALICE: GPU})
    hub.running[ALICE] |= {"ready": False, "pending": "spawn", "started": None}
    looks = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 4:
            hub.running[ALICE] |= {"started": "2026-03-01T00:00:00Z", "user_options": CPU}

    hub.on_look = look
    done = drain(hub, path)
    assert keys(done["drained"]) == [ALICE]
    assert recorded(path)[ALICE].user_options == CPU
    assert hub.writes == [("DELETE", "users/alice/server", None)]


def test_a_start_is_spared_if_its_user_is_to_be(path: Path) -> None:
    hub = MemoryHub({ALICE: GPU})
    now = "2100-01-01T00:00:00Z"
    hub.running[ALICE] |= {"ready": False, "pending": "spawn", "started": now, "last_activity": now}
    assert drain(hub, path, idle_timeout="10m")["kept"][0]["keep_code"] == "active"


def test_a_failed_stop_fails_the_task_and_stops_no_other(path: Path) -> None:
    hub = MemoryHub(ALL)
    hub.refuses[LAB] = Invalid("The hub refuses it.", "Ask it.", status=400, method="DELETE")
    done = drain(hub, path)
    assert (keys(done["drained"]), keys(done["failures"])) == ([ALICE, BOB], [LAB])
    assert (done["failed"], done["failure"]["code"]) == (True, "invalid")
    assert (recorded(path)[LAB].state, recorded(path)[LAB].reason) == ("failed", "The hub refuses it.")
    assert done["started_meanwhile"] == []  # the task names it already
    hub.refuses.clear()
    assert keys(drain(hub, path)["drained"]) == [LAB]
    assert recorded(path)[LAB].state == "stopped"


def test_a_stop_that_takes_too_long_names_the_option(path: Path) -> None:
    hub = MemoryHub({ALICE: GPU})
    hub.stop = lambda key: None  # type: ignore[method-assign]
    done = drain(hub, path, stop_timeout="1")
    assert done["failure"]["code"] == "timeout"
    assert "stop_timeout" in done["failure"]["hint"]
    assert done["changed"] is True


def test_a_hub_that_does_not_answer_at_the_end_fails_the_task_with_what_was_done(path: Path) -> None:
    hub = MemoryHub(ALL)

    def go_away(*_request: Any) -> None:
        if len(hub.writes) == len(ALL):
            hub.pages = fail  # type: ignore[method-assign]

    def fail(*_path: Any, **_more: Any) -> Any:
        raise HubFailure("It is away.", "Wait.", status=503, method="GET")

    hub.on_write = go_away
    done = drain(hub, path)
    assert "could not be listed" in done["msg"]
    assert keys(done["drained"]) == [*ALL]
    assert {entry.state for entry in recorded(path).values()} == {"stopped"}


# The record of an earlier drain


def finish(path: Path) -> None:
    path.write_text(path.read_text().replace('"pending"', '"restored"'))


def test_a_finished_record_is_archived_when_there_is_a_new_one(path: Path) -> None:
    hub = MemoryHub(ALL)
    drain(hub, path)
    finish(path)
    assert drain(hub, path)["counts"]["to_restore"] == 0
    assert os.listdir(path.parent) == ["drained.json"]
    hub.start(BOB, GPU)
    drain(hub, path, check_mode=True)
    assert os.listdir(path.parent) == ["drained.json"]
    done = drain(hub, path)
    assert {key: entry.user_options for key, entry in recorded(path).items()} == {BOB: GPU}
    assert done["counts"]["to_restore"] == 1
    [archived] = set(os.listdir(path.parent)) - {"drained.json"}
    assert archived.startswith("drained-2")
    assert [*recorded(path.parent / archived)] == [*ALL]


def test_a_drain_adds_to_what_is_not_restored(path: Path) -> None:
    hub = MemoryHub({ALICE: GPU})
    drain(hub, path)
    hub.start(BOB, CPU)
    assert keys(drain(hub, path)["drained"]) == [BOB]
    assert {key: entry.user_options for key, entry in recorded(path).items()} == {ALICE: GPU, BOB: CPU}


def test_what_a_killed_drain_has_told_to_stop_counts_as_drained_when_it_has_gone(path: Path) -> None:
    """Its request was on its way when the next drain listed the server."""
    hub = MemoryHub({BOB: CPU})
    server = hub.running[BOB]
    entry = Entry(*BOB, CREATED, CPU, server["started"], server["last_activity"])
    RecordFile(str(path)).write(Record(CREATED, HUB, "5.5.4").with_entries([entry]))
    hub.on_look = lambda: hub.stop(BOB)
    done = drain(hub, path)
    assert (keys(done["gone"]), done["counts"]["to_restore"]) == ([BOB], 1)
    assert (recorded(path)[BOB].state, recorded(path)[BOB].user_options) == ("stopped", CPU)


def test_what_an_earlier_drain_has_stopped_stays_in_the_record_if_this_one_spares_it(path: Path) -> None:
    hub = MemoryHub({BOB: CPU})
    drain(hub, path)
    before = recorded(path)
    hub.start(BOB, GPU)
    hub.on_look = lambda: hub.running[BOB].update(last_activity="2100-01-01T00:00:00Z")
    assert drain(hub, path, idle_timeout="1h")["kept"][0]["keep_code"] == "used"
    assert recorded(path) == before


def test_an_empty_record_is_no_archive(path: Path) -> None:
    drain(MemoryHub({}), path)
    drain(MemoryHub({BOB: CPU}), path)
    assert os.listdir(path.parent) == ["drained.json"]


@pytest.mark.parametrize("number", [1, 2])
def test_a_full_disk(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a record nothing is stopped. If it cannot be written to its end, the result still says what was done."""
    hub, writes = MemoryHub(ALL), []
    really = private_file.write

    def write(where: str, content: bytes) -> None:
        writes.append(content)
        if len(writes) >= number:
            raise Invalid("No space is left.", "Make room.")
        really(where, content)

    monkeypatch.setattr(private_file, "write", write)
    monkeypatch.setattr(record_file, "_PAUSE", 600)
    if number == 1:
        with pytest.raises(Invalid, match="No space"):
            drain(hub, path)
        assert hub.options() == ALL
    else:
        done = drain(hub, path)
        assert (done["failed"], done["failure"]["message"]) == (True, "No space is left.")
        assert keys(done["drained"]) == [*ALL]
        assert {entry.state for entry in recorded(path).values()} == {"to_stop"}


def test_a_broken_record_ends_the_task_before_anything_is_stopped(path: Path) -> None:
    hub = MemoryHub(ALL)
    path.write_text("{}")
    with pytest.raises(Invalid, match="schema"):
        drain(hub, path)
    assert (hub.writes, path.read_text()) == ([], "{}")


# The order


def decision(user: str, idle: float | None, age: float | None, name: str = "") -> Decision:
    return Decision(user, name, idle, age, None, "", "")


@pytest.mark.parametrize(("order", "users"), [("idle_first", "bacd"), ("oldest_first", "cabd"), ("name", "abcd")])
def test_orders(order: str, users: str) -> None:
    given = [decision("d", None, None), decision("c", 1, 9), decision("b", 3, 2), decision("a", 2, 3)]
    assert "".join(each.user for each in sort_decisions(given, order)) == users
