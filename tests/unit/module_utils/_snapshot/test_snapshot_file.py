# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots in files: private, whole, and the newest one of a folder."""

from __future__ import annotations

import errno
import json
import os
import resource
import stat
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.threads import in_background
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path import private_file
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot import snapshot_file
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.snapshot_file import (
    find_newest,
    read_snapshot,
    write_snapshot,
)
from support.snapshots import snapshot


def take(path: Path, taken: str) -> str:
    write_snapshot(str(path), snapshot(taken=taken))
    return str(path)


def test_it_is_for_its_owner_only_and_so_are_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "snapshots" / "teaching" / "one.json"
    umask = os.umask(0)
    try:
        write_snapshot(str(path), snapshot())
    finally:
        os.umask(umask)
    assert read_snapshot(str(path)) == snapshot()
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, *list(path.parents)[:2])] == [0o600, 0o700, 0o700]
    assert os.listdir(path.parent) == ["one.json"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_snapshot_and_no_half_file(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "one.json"
    old = Path(take(path, "2026-01-01T00:00:00Z")).read_bytes()

    def is_full(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, failing, is_full)
    with pytest.raises(Invalid, match="cannot be written: No space left on device"):
        take(path, "2026-02-02T00:00:00Z")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (old, ["one.json"])


def test_two_runs_at_once_leave_one_whole_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "new" / "one.json"
    times = [f"2026-01-01T00:00:{number:02}Z" for number in range(20)]
    runs = [in_background(lambda taken=taken: take(path, taken)) for taken in times]  # type: ignore[misc]
    assert not wait(runs, 120).not_done
    assert {run.result() for run in runs} == {str(path)}
    assert read_snapshot(str(path)).taken in times
    assert os.listdir(path.parent) == ["one.json"]


def test_a_file_that_is_missing_or_none(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="There is no snapshot"):
        read_snapshot(str(tmp_path / "missing.json"))
    with pytest.raises(Invalid, match=r"cannot be read: Is a directory|is not a file"):
        read_snapshot(str(tmp_path))
    with pytest.raises(Invalid, match="cannot be read: embedded null"):
        read_snapshot("a\0b")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(Invalid, match="is not a file"):
        in_background(lambda: read_snapshot(str(tmp_path / "pipe.json"))).result(30)


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = take(tmp_path / "one.json", "2026-01-01T00:00:00Z")
    monkeypatch.setattr(snapshot_file, "LONGEST", 1000)
    with pytest.raises(Invalid, match="has more than"):
        read_snapshot(path)


def test_the_newest_of_a_folder_is_the_one_that_was_taken_last(tmp_path: Path) -> None:
    take(tmp_path / "b.json", "2026-01-01T00:00:00Z")
    last = take(tmp_path / "a.json", "2026-03-03T00:00:00Z")
    take(tmp_path / "c.json", "2026-02-02T00:00:00Z")
    # What else is in such a folder.
    (tmp_path / "drained.json").write_text('{"schema": "hubops.jupyterhub/drained", "version": 1, "taken": "2027"}')
    (tmp_path / "report.json").write_text("[]")
    (tmp_path / "notes.txt").write_text("{")
    (tmp_path / "d.json").mkdir()
    (tmp_path / ".e.json.new").write_text("{")
    newest = find_newest(str(tmp_path))
    assert (newest.path, newest.ignored) == (last, (str(tmp_path / "d.json"),))
    assert find_newest(last).path == last


def test_a_snapshot_that_somebody_has_formatted_counts_too(tmp_path: Path) -> None:
    take(tmp_path / "a.json", "2026-01-01T00:00:00Z")
    path = Path(take(tmp_path / "b.json", "2026-02-02T00:00:00Z"))
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4, sort_keys=True))
    assert find_newest(str(tmp_path)).path == str(path)
    assert read_snapshot(str(path)).taken == "2026-02-02T00:00:00Z"


def test_the_newest_one_is_taken_also_if_it_is_damaged(tmp_path: Path) -> None:
    """An older one in its place would hide what has changed between the two."""
    take(tmp_path / "a.json", "2026-01-01T00:00:00Z")
    path = Path(take(tmp_path / "b.json", "2026-02-02T00:00:00Z"))
    path.write_bytes(path.read_bytes()[:1000])
    assert find_newest(str(tmp_path)).path == str(path)
    with pytest.raises(Invalid, match=r"b\.json' is no snapshot: it is not JSON"):
        read_snapshot(str(path))


def test_a_file_of_which_nothing_is_left_is_named(tmp_path: Path) -> None:
    last = take(tmp_path / "a.json", "2026-01-01T00:00:00Z")
    (tmp_path / "b.json").touch()
    (tmp_path / "c.json").symlink_to("nowhere")
    newest = find_newest(str(tmp_path))
    assert (newest.path, newest.ignored) == (last, (str(tmp_path / "b.json"), str(tmp_path / "c.json")))


def test_a_folder_without_a_snapshot(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(Invalid, match="has no snapshot"):
        find_newest(str(tmp_path))


def test_the_beginning_of_a_file_shows_that_it_is_a_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder may have a hundred of them, of many megabytes each."""
    take(tmp_path / "a.json", "2026-01-01T00:00:00Z")
    sizes: list[int] = []
    real = private_file.read

    def read(path: str, longest: int) -> bytes:
        sizes.append(longest)
        return real(path, longest)

    monkeypatch.setattr(private_file, "read", read)
    find_newest(str(tmp_path))
    assert sizes == [512]


def test_a_disk_that_has_no_room_for_the_whole_file(tmp_path: Path) -> None:
    """A limit on the size of files refuses a write as a full disk does: after the first bytes are written."""
    old = Path(take(tmp_path / "one.json", "2026-01-01T00:00:00Z")).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(Invalid, match="cannot be written: File too large"):
            take(tmp_path / "one.json", "2026-02-02T00:00:00Z")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ((tmp_path / "one.json").read_bytes(), os.listdir(tmp_path)) == (old, ["one.json"])
