# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""secret_file: nobody else may read the file, and it is whole at any instant."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Conflict, Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.threads import in_background
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path import private_file
from ansible_collections.hubops.jupyterhub.plugins.module_utils._token import secret_file

SECRET = "s3cr3t"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "alice.token"


def test_what_is_written_can_be_read(path: Path) -> None:
    secret_file.write(str(path), SECRET)
    assert secret_file.read(str(path)) == SECRET
    assert path.read_bytes() == SECRET.encode() + b"\n"


def test_only_the_owner_may_read_it_from_the_first_byte_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    opened = os.fdopen

    def look_then_open(handle: int, *more: Any, **options: Any) -> Any:
        assert os.fstat(handle).st_size == 0
        modes.append(stat.S_IMODE(os.fstat(handle).st_mode))
        return opened(handle, *more, **options)

    monkeypatch.setattr(os, "fdopen", look_then_open)
    path.write_text("old\n")
    path.chmod(0o644)
    before = os.umask(0)  # the mode is not the umask's doing
    try:
        secret_file.write(str(path), SECRET)
    finally:
        os.umask(before)
    assert modes == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_the_umask_decides_over_nothing(path: Path, umask: int) -> None:
    place = path.parent / "new" / "and" / "below" / "token"
    before = os.umask(umask)
    try:
        secret_file.write(str(place), SECRET)
    finally:
        os.umask(before)
    assert secret_file.read(str(place)) == SECRET
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in list(place.parents)[:3]] == [0o700] * 3


def test_it_is_synced_before_it_takes_the_name_and_its_folder_after(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(handle: int) -> None:
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync file")
        real_sync(handle)

    def replace(source: str, target: str) -> None:
        assert Path(source).parent == path.parent  # a rename is atomic within one file system
        assert Path(source).read_text() == SECRET + "\n"
        steps.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    secret_file.write(str(path), SECRET)
    assert steps == ["sync file", "rename", "sync folder"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(
    failing: str, error: BaseException, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_file.write(str(path), "old")

    def fails(*_arguments: Any) -> None:
        raise error

    monkeypatch.setattr(os, failing, fails)
    kind = Invalid if isinstance(error, OSError) else type(error)
    with pytest.raises(kind) as raised:
        secret_file.write(str(path), SECRET)
    assert path.read_text() == "old\n"
    assert os.listdir(path.parent) == [path.name]
    assert SECRET not in str(raised.value)
    if isinstance(raised.value, Invalid):
        assert "No space left" in raised.value.message


def test_a_folder_that_may_not_be_written_to(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Refused by hand: root, who runs many a test, may write anywhere.
    def refuses(*_arguments: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuses)
    with pytest.raises(Invalid, match="Permission denied"):
        secret_file.write(str(path), SECRET)
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    with pytest.raises(Invalid, match="cannot be written to"):
        secret_file.check(str(path))


@pytest.mark.parametrize("place", ["file/alice.token", "file/deeper/alice.token", "link/alice.token"])
def test_a_folder_that_is_none(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for refused in (secret_file.check, lambda path: secret_file.write(path, SECRET)):
        with pytest.raises(Invalid):
            refused(str(tmp_path / place))


def test_a_folder_that_is_missing_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "newer" / "alice.token"
    secret_file.check(str(path))
    assert not (tmp_path / "new").exists()
    secret_file.write(str(path), SECRET)
    assert secret_file.read(str(path)) == SECRET
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_path_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for refused in (secret_file.check, secret_file.read, lambda path: secret_file.write(path, SECRET)):
        with pytest.raises(Invalid):
            refused(str(tmp_path / "folder"))
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("path", ["", ".", "..", "new/", "new/..", "a\0b"])
def test_a_path_that_names_no_file(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found out before there is a secret that could not be written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Invalid, match="not the name of a file"):
        secret_file.check(path)


@pytest.mark.parametrize("folder", [".", "missing"])
def test_a_name_that_leaves_no_room_for_the_file_beside_it(folder: str, tmp_path: Path) -> None:
    secret_file.check(str(tmp_path / folder / ("n" * 250)))
    with pytest.raises(Invalid, match="too long"):
        secret_file.check(str(tmp_path / folder / ("\u00fc" * 126)))


@pytest.mark.parametrize("path", ["missing/../alice.token", "link/../alice.token"])
def test_a_path_leads_where_it_says(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is for reading and writing the same, and not what is left of it without its dots."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere" / "deeper").mkdir(parents=True)
    (tmp_path / "link").symlink_to("elsewhere/deeper")
    secret_file.check(path)
    secret_file.write(path, SECRET)
    assert secret_file.read(path) == SECRET
    found = tmp_path / ("elsewhere" if path.startswith("link") else "") / "alice.token"
    assert found.read_text() == SECRET + "\n"
    assert not list(tmp_path.rglob("*.new"))


def test_one_file_has_one_place_however_it_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    path.touch()
    (path.parent / "link").symlink_to(path.name)
    for other in ("alice.token", "./alice.token", f"{path.parent}//alice.token", "link"):
        assert secret_file.resolve(other) == secret_file.resolve(str(path))
    assert secret_file.resolve("bob.token") != secret_file.resolve(str(path))
    assert secret_file.resolve("a\0b")  # no place at all, as `check` tells


def test_a_path_without_a_folder_is_in_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    secret_file.check("alice.token")
    secret_file.write("alice.token", SECRET)
    assert (tmp_path / "alice.token").read_text() == SECRET + "\n"


def test_a_link_is_replaced_and_what_it_points_to_is_left_as_it_is(path: Path) -> None:
    """Else whoever may lay a link in the folder decides which file is overwritten."""
    target = path.parent / "target"
    target.write_text("not a secret\n")
    path.symlink_to(target)
    secret_file.write(str(path), SECRET)
    assert target.read_text() == "not a secret\n"
    assert not path.is_symlink()
    assert path.read_text() == SECRET + "\n"


def test_a_link_that_leads_nowhere_is_no_secret_and_can_be_replaced(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")
    secret_file.check(str(path))
    assert secret_file.read(str(path)) == ""
    secret_file.write(str(path), SECRET)
    assert secret_file.read(str(path)) == SECRET
    assert sorted(os.listdir(path.parent)) == [path.name]


@pytest.mark.parametrize(
    ("content", "secret"), [(b"", ""), (b"\n", ""), (b" s3cr3t\r\n", SECRET), (b"\xff\xfe", "\ufffd\ufffd")]
)
def test_what_a_file_of_somebody_else_s_making_holds(content: bytes, secret: str, path: Path) -> None:
    path.write_bytes(content)
    assert secret_file.read(str(path)) == secret


def test_a_file_that_is_not_there_holds_nothing_and_is_not_open(path: Path) -> None:
    assert secret_file.read(str(path)) == ""
    assert secret_file.is_open_to_others(str(path)) is False
    secret_file.remove(str(path))


@pytest.mark.parametrize(
    ("mode", "is_open"), [(0o600, False), (0o400, False), (0o700, False), (0o640, True), (0o604, True), (0o620, True)]
)
def test_whether_others_may_read_or_write_it(mode: int, is_open: bool, path: Path) -> None:
    path.touch()
    path.chmod(mode)
    assert secret_file.is_open_to_others(str(path)) is is_open
    secret_file.protect(str(path))
    assert secret_file.is_open_to_others(str(path)) is False


def test_it_can_be_removed(path: Path) -> None:
    secret_file.write(str(path), SECRET)
    secret_file.remove(str(path))
    assert os.listdir(path.parent) == []


def test_what_a_killed_run_left_is_found_discarded_and_no_hindrance(path: Path) -> None:
    half = path.with_name(".alice.token.new")
    assert not secret_file.has_left_over(str(path))
    half.write_text("half of a sec")
    half.chmod(0o644)
    assert secret_file.has_left_over(str(path))
    secret_file.discard_left_over(str(path))
    assert not half.exists()
    half.symlink_to("/dev/full")
    secret_file.write(str(path), SECRET)
    assert (secret_file.read(str(path)), path.is_symlink(), half.is_symlink()) == (SECRET, False, False)


def test_two_come_one_after_the_other_wherever_they_write_the_same_folder(path: Path) -> None:
    link = path.parent / "link"
    link.symlink_to(path.parent)
    with secret_file.lock_folders([str(path), str(path.parent / "new" / "token")]):
        other = in_background(lambda: secret_file.lock_folders([str(link / "other.token")]).__enter__())
        assert wait([other], 0.3).not_done
        with secret_file.lock_folders([str(path.parent / "link" / ".." / "elsewhere")]):  # another folder
            pass
    other.result(120)


def test_a_lock_that_another_program_keeps_is_told_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeps = (
        "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), 2); print('locked', flush=True); sys.stdin.read()"
    )
    monkeypatch.setattr(private_file, "LONGEST_WAIT", 0.1)
    command = [sys.executable, "-c", keeps, str(path.parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(Conflict, match=rf"The process {holder.pid} \(\S*python.* holds the lock") as error:
            secret_file.lock_folders([str(path)]).__enter__()
        assert repr(str(path.parent)) in error.value.message
        holder.communicate()
    with secret_file.lock_folders([str(path)]):
        pass


def test_a_folder_that_cannot_be_locked_is_no_hindrance(path: Path) -> None:
    with secret_file.lock_folders(["/proc/self/nothing/token", str(path)]):
        secret_file.write(str(path), SECRET)


@pytest.mark.parametrize(
    ("command", "reported"),
    [
        (["/usr/bin/python3", "/usr/bin/ansible-playbook", "-e", "password=s3cr3t"], "python3 ansible-playbook"),
        (["python3.12", "-c", "s3cr3t"], "python3.12"),
        (["/bin/bash", "/opt/backup.sh", "s3cr3t"], "bash backup.sh"),
        (["curl", "https://bob:s3cr3t@hub/"], "curl"),
        (["/usr/bin/flock", "/tmp"], "flock"),
        (["ansible-playbook -e password=s3cr3t"], "ansible-playbook"),
        (["python3 ansible-playbook -e password=s3cr3t", ""], "python3"),
        ([""], ""),
    ],
)  # fmt: skip
def test_of_a_stranger_s_command_only_the_program_is_told(command: list[str], reported: str) -> None:
    assert private_file._program_name(command) == reported


@pytest.mark.parametrize("place", ["alice.token", "folder/alice.token"])
def test_a_named_pipe_is_no_file_and_nobody_waits_for_it(place: str, tmp_path: Path) -> None:
    """Whoever opens one waits for somebody who writes to it."""
    os.mkfifo(tmp_path / place.partition("/")[0])
    for refused in (secret_file.check, secret_file.read, lambda path: secret_file.write(path, SECRET)):
        if "/" in place or refused in (secret_file.check, secret_file.read):
            with pytest.raises(Invalid, match=str(tmp_path / place.partition("/")[0])):
                in_background(lambda refused=refused: refused(str(tmp_path / place))).result(30)  # type: ignore[misc]


def test_a_named_pipe_where_the_folder_is_to_be_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "folder")
    in_background(lambda: secret_file.lock_folders([str(tmp_path / "folder" / "token")]).__enter__()).result(30)


def test_a_named_pipe_beside_it_is_no_secret_and_makes_room(path: Path) -> None:
    os.mkfifo(path.with_name(".alice.token.new"))
    assert in_background(lambda: secret_file.read_left_over(str(path))).result(30) == ""
    secret_file.write(str(path), SECRET)
    assert [secret_file.read(str(path)), os.listdir(path.parent)] == [SECRET, [path.name]]


def test_what_another_user_left_beside_it_is_no_secret_of_ours(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.with_name(".alice.token.new").write_text(SECRET)
    assert secret_file.read_left_over(str(path)) == SECRET
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert secret_file.read_left_over(str(path)) == ""
