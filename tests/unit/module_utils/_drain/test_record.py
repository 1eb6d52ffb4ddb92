# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_drain.record and _drain.record_file: the record of a drain, its file, and files that somebody else has written."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain import record_file
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain.record import (
    OUTCOMES,
    SCHEMA,
    Entry,
    Record,
    add_drain,
    parse,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain.record_file import Ledger, RecordFile
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Conflict, Invalid
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import wait_until

TIME = "2026-11-26T18:00:00.000000Z"
ALICE = Entry("alice", "", TIME, {"profile": "gpu"}, TIME, TIME)
LAB = Entry("alice", "lab", TIME, {}, TIME, None)


def record_of(*entries: Entry) -> Record:
    return Record(TIME, "https://hub.example.org/", "5.5.4").with_entries(entries)


# The record


def test_the_secret_of_the_task_is_masked_and_the_text_stays_json() -> None:
    """The secret begins with the letter of an escape: as JSON, the text has a backslash before it."""
    entry = replace(ALICE, user_options={"a": ["\nsecret", {"nsecret": "nsecret"}]}, reason="nsecret")
    [found] = parse(record_of(entry).dump("nsecret").encode(), "x").entries.values()
    stars = "*" * 8
    assert (found.user_options, found.reason) == ({"a": ["\nsecret", {stars: stars}]}, stars)


TEXTS = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=5,
)
ENTRIES = st.builds(
    Entry,
    TEXTS,
    TEXTS,
    st.none() | TEXTS,
    st.none() | st.dictionaries(TEXTS, JSON),
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.sampled_from(("to_stop", "stopped", "failed")),
    st.none() | TEXTS,
    st.sampled_from(("pending", "restoring", *OUTCOMES)),
    st.none() | TEXTS,
)


@given(st.lists(ENTRIES, max_size=4, unique_by=lambda entry: entry.key))
def test_what_is_written_is_read(entries: list[Entry]) -> None:
    record = record_of(*entries)
    assert parse(record.dump().encode(), "drained.json") == record


def test_the_file_has_the_documented_form() -> None:
    shown = json.loads(record_of(ALICE).dump())
    assert (shown["schema"], shown["version"], shown["drained"]) == (SCHEMA, 1, TIME)
    assert shown["hub"] == {"url": "https://hub.example.org/", "version": "5.5.4"}
    assert shown["servers"] == [
        {
            "user": "alice", "server_name": "", "user_created": TIME, "user_options": {"profile": "gpu"},
            "started": TIME, "last_activity": TIME, "state": "to_stop", "stopped_at": None, "restore": "pending",
            "reason": None,
        }
    ]  # fmt: skip


def changed(**changes: Any) -> str:
    whole = json.loads(record_of(ALICE, LAB).dump())
    return json.dumps({**whole, **changes})


def with_entry(**changes: Any) -> str:
    whole = json.loads(record_of(ALICE, LAB).dump())
    whole["servers"][1] |= changes
    return json.dumps({name: value for name, value in whole.items() if value is not ...})


BAD = {
    "empty": ("", "not JSON"),
    "cut": (record_of(ALICE).dump()[:-20], "not JSON"),
    "zeros": ("\0" * 100, "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
    "a list": ("[]", "its schema is not"),
    "a snapshot": (changed(schema="hubops.jupyterhub/snapshot"), "its schema is not"),
    "newer": (changed(version=2), "version '2'"),
    "no servers": (changed(servers=None), "'servers'"),
    "no hub": (changed(hub={"url": "x"}), "'hub.version'"),
    "a user that is a number": (with_entry(user=7), "'servers.1.user'"),
    "options that are a list": (with_entry(user_options=[]), "'servers.1.user_options'"),
    "an unknown state": (with_entry(state="away"), "'servers.1.state'"),
    "a state that is a list": (with_entry(state=[]), "'servers.1.state'"),
    "an unknown outcome": (with_entry(restore="lost"), "'servers.1.restore'"),
    "a server twice": (with_entry(server_name=""), "twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_no_record_is_refused_with_a_sentence(case: str, tmp_path: Path) -> None:
    text, words = BAD[case]
    path = tmp_path / "drained.json"
    path.write_text(text)
    with pytest.raises(Invalid) as caught:
        RecordFile(str(path)).read()
    assert "drained.json'" in caught.value.message
    assert words in caught.value.message
    assert caught.value.hint
    assert path.read_text() == text


@given(st.binary(max_size=200))
def test_no_bytes_crash_it(content: bytes) -> None:
    with pytest.raises(Invalid):
        parse(content, "drained.json")


def test_a_newer_drain_wins_and_a_killed_one_is_completed() -> None:
    stopped = replace(ALICE, state="stopped", stopped_at=TIME)
    newer = replace(ALICE, user_options={"profile": "cpu"}, started="later")

    def add(old: Entry, to_stop: list[Entry], hidden: tuple[str, ...] = (), **running: bool) -> list[Entry]:
        names = {("alice", "" if name == "default" else name): is_kept for name, is_kept in running.items()}
        return list(add_drain([old], to_stop, names, hidden, "now").values())

    assert add(stopped, [newer], default=False) == [newer]
    assert add(ALICE, []) == [replace(ALICE, state="stopped", stopped_at="now")]
    assert add(replace(ALICE, state="failed", reason="slow"), []) == [replace(ALICE, state="stopped", stopped_at="now")]
    assert add(ALICE, [], default=True) == []  # it runs, and this drain keeps it
    assert add(stopped, [], default=True) == [stopped]  # its user has started it again
    assert add(ALICE, [], ("alice",)) == [ALICE]  # nobody knows whether it runs
    assert add(stopped, [LAB], lab=False) == [stopped, LAB]


def test_entries_are_in_the_order_of_the_stops() -> None:
    old = [replace(each, state="stopped") for each in (ALICE, LAB)]
    running = {ALICE.key: False}
    assert [*add_drain(old, [ALICE], running, (), "now")] == [LAB.key, ALICE.key]


# Its file


def test_the_file_is_private_and_has_no_token(tmp_path: Path) -> None:
    path = tmp_path / "new" / "drained.json"
    file = RecordFile(str(path), "s3cr3t-token")
    leaky = replace(ALICE, user_options={"env": ["TOKEN=s3cr3t-token"], "s3cr3t-token": 1}, reason="a s3cr3t-token")
    file.write(record_of(leaky))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert "s3cr3t-token" not in path.read_text()
    assert "TOKEN=********" in path.read_text()
    assert os.listdir(path.parent) == ["drained.json"]


def test_a_missing_file_is_no_record(tmp_path: Path) -> None:
    assert RecordFile(str(tmp_path / "drained.json")).read() is None


@pytest.mark.parametrize("path", ["", "folder/", "folder", "a\0b"])
def test_a_path_that_cannot_be_a_file_is_refused_before_anything_is_stopped(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(Invalid):
        RecordFile(path)


def test_a_pipe_in_its_place_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "drained.json"
    file = RecordFile(str(path))
    os.mkfifo(path)
    with pytest.raises(Invalid):
        file.read()


def test_one_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_file, "_LOCK_PATIENCE", 0.05)
    (tmp_path / "link").symlink_to(tmp_path)
    first, second = (RecordFile(str(tmp_path / name)) for name in ("drained.json", "link/drained.json"))
    with first.lock(), pytest.raises(Conflict) as caught, second.lock():
        pytest.fail("two runs have the lock")
    assert "Another run" in caught.value.message
    with second.lock():
        pass


def test_an_archive_takes_no_other_file_s_place(tmp_path: Path) -> None:
    path = tmp_path / "drained.json"
    file = RecordFile(str(path))
    for _number in range(2):
        file.write(record_of(ALICE))
        file.archive(record_of(ALICE))
    assert sorted(os.listdir(tmp_path)) == ["drained-20261126T180000Z-2.json", "drained-20261126T180000Z.json"]


def test_an_archive_of_a_record_with_an_odd_time_stays_in_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "drained.json"
    file = RecordFile(str(path))
    file.write(record_of(ALICE))
    file.archive(replace(record_of(ALICE), drained="/../../x" + "9" * 500))
    assert len(os.listdir(tmp_path)) == 1


def test_the_file_follows_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_file, "_PAUSE", 0.01)
    file = RecordFile(str(tmp_path / "drained.json"))
    with Ledger(file, record_of(ALICE, LAB)) as ledger:
        assert file.read() == record_of(ALICE, LAB)
        ledger.change(ALICE.key, state="stopped")
        wait_until(lambda: file.read() == record_of(replace(ALICE, state="stopped"), LAB))
        ledger.drop(LAB.key)
        ledger.change(("nobody", ""), state="stopped")
    assert file.read() == ledger.record == record_of(replace(ALICE, state="stopped"))


def test_five_hundred_changes_are_a_few_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[Record] = []
    file = RecordFile(str(tmp_path / "drained.json"))
    monkeypatch.setattr(file, "write", writes.append)
    entries = [Entry(f"user{number}", "") for number in range(500)]
    with Ledger(file, record_of(*entries)) as ledger:
        threads = [
            threading.Thread(target=lambda: [ledger.change(each.key, state="stopped") for each in entries])
            for _number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(writes) < 100
    assert {entry.state for entry in writes[-1].entries.values()} == {"stopped"}


def test_a_record_that_does_not_change_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RecordFile(str(tmp_path / "drained.json"))
    monkeypatch.setattr(file, "write", lambda record: pytest.fail("it was written"))
    with Ledger(file, record_of(ALICE), is_new=False) as ledger:
        ledger.change(ALICE.key, state="to_stop")
        ledger.put(ALICE)


def test_a_full_disk_is_told_at_the_end_and_does_not_hide_another_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RecordFile(str(tmp_path / "drained.json"))

    def fail(record: Record) -> None:
        raise Invalid("no space", "Make room.")

    def work(*then: BaseException) -> None:
        with Ledger(file, record_of(ALICE)) as ledger:
            monkeypatch.setattr(file, "write", fail)
            ledger.drop(ALICE.key)
            for each in then:
                raise each

    with pytest.raises(Invalid, match="no space"):
        work()
    monkeypatch.undo()
    with pytest.raises(KeyboardInterrupt):
        work(KeyboardInterrupt())
