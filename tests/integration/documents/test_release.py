# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make release` as RELEASING.md describes it, in clones with no history.

The clones have a tools/check and a tools/sbom that only record that they ran, because both take minutes and install
packages. Everything else is real: git, the changelog, the artifact and its installation.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from support.hubs import REPOSITORY
from support.playbooks import ProgramResult, ansible_bin, bare_environment, copy_checkout, run_program
from support.waiting import wait_until

VERSION = "1.0.0"
IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A Releaser"), ("EMAIL", "releaser@example.org"))
}
RECORDER = """#!/usr/bin/env bash
echo "${{0##*/}} $*" >>"{log}"
{then}
"""
WRITE_SBOM = """printf '{}' >"$1/python.cdx.json"; echo 'npm is not installed'; exit 3"""


class Clone:
    """A clone in which somebody makes a release."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder.parent / f"{folder.name}-of"
        self.home.mkdir()
        self.env = bare_environment(self.home) | IDENTITY | {"GIT_CONFIG_NOSYSTEM": "1", "PWD": str(folder)}
        self.log = self.home / "log"

    def git(self, *arguments: str) -> str:
        done = run_program(["git", *arguments], self.folder, self.env)
        assert done.status == 0, done.output
        return done.stdout

    def record(self, tool: str, then: str) -> None:
        """Replace a tool by one that records its call, and then runs this line of a shell."""
        (self.folder / "tools" / tool).write_text(RECORDER.format(log=self.log, then=then))
        self.git("commit", "--all", "--allow-empty", "--message", f"{tool} of a test")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "tools/release.py", *arguments]

    def release(self, *arguments: str, **more: str) -> ProgramResult:
        return run_program(self.command(*(arguments or (VERSION,))), self.folder, self.env | more)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def state(self) -> dict[str, str]:
        """All that a release could change, apart from .build."""
        return {
            "head": (self.folder / ".git/HEAD").read_text(),
            "refs": self.git("for-each-ref"),
            "changes": self.git("status", "--porcelain"),
            "worktrees": str(len(self.git("worktree", "list").splitlines())),
            "config": (self.folder / ".git/config").read_text(),
            "files": str(
                sorted(path.name for path in (self.folder / ".build/release").glob("*") if path.name != "lock")
            ),
        }


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("origin") / "a repository"
    copy_checkout(folder)
    env = bare_environment(folder.parent) | IDENTITY | {"GIT_CONFIG_NOSYSTEM": "1"}
    for command in (
        ["init", "--quiet", "--initial-branch", "main"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "All files"],
    ):
        done = run_program(["git", *command], folder, env)
        assert done.status == 0, done.output
    return folder


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Clone:
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(origin), str(folder)], check=True)
    made = Clone(folder)
    made.record("check", "true")
    made.record("sbom", WRITE_SBOM)
    return made


def test_make_calls_it() -> None:
    """With the checks that RELEASING.md names, if somebody names them."""
    for arguments, words in (
        (["VERSION=1.0.0"], '"1.0.0"'),
        (["VERSION=1.0.0", "CHECKS=lint unit"], '"1.0.0" --checks "lint unit"'),
    ):
        command = ["make", "--no-print-directory", "-n", "release", *arguments]
        done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
        assert done.stdout.strip() == f"tools/release {words}"
    lines = (REPOSITORY / "tools/release").read_text().splitlines()
    assert lines[-1] == 'exec "$venv/bin/python" tools/release.py "$@"'


def test_a_release(clone: Clone) -> None:
    before = clone.git("rev-parse", "main")
    done = clone.release()
    assert done.status == 0, done.output
    made = clone.folder / ".build/release" / VERSION
    assert clone.calls()[0] == "check lint sanity unit"
    assert "Checks that passed: lint sanity unit." in done.stdout
    assert "A part of the SBOM is left out" in done.stdout

    # The branch of the release has one commit more than main, and is checked out.
    assert clone.git("branch", "--show-current") == f"release/{VERSION}\n"
    assert clone.git("rev-parse", "main") == before
    assert clone.git("log", "--format=%s %an", "main..HEAD") == f"Release {VERSION} A Releaser\n"
    assert clone.git("status", "--porcelain") == ""
    assert len(clone.git("worktree", "list").splitlines()) == 1
    assert yaml.safe_load((clone.folder / "galaxy.yml").read_text())["version"] == VERSION
    assert [path.name for path in (clone.folder / "changelogs/fragments").iterdir()] == [".keep"]

    # The changelog lists what is public, and only that.
    text = (clone.folder / "CHANGELOG.md").read_text().replace("\\", "")
    listed = {
        part.partition("\n")[0]: set(re.findall(r"^\* hubops\.jupyterhub\.(\w+) - \S", part, re.MULTILINE))
        for part in re.split(r"^#{3,4} ", text, flags=re.MULTILINE)
    }
    stems = {
        folder: {path.stem for path in (REPOSITORY / folder).glob(pattern)}
        for folder, pattern in (("plugins/modules", "*.py"), ("playbooks", "*.yml"), ("plugins/filter", "[!_]*.py"))
    }
    assert listed["New Modules"] == stems["plugins/modules"]
    assert listed["New Playbooks"] == stems["playbooks"]
    assert listed["New Roles"] == {path.parent.name for path in (REPOSITORY / "roles").glob("*/meta")}
    assert listed["Filter"] == stems["plugins/filter"]

    # The artifact is what is committed.
    assert sorted(path.name for path in made.iterdir()) == [
        "SHA256SUMS", "hubops-jupyterhub-1.0.0.tar.gz", "python.cdx.json", "tag-message.txt",
    ]  # fmt: skip
    run = run_program(["sha256sum", "--check", "--strict", "SHA256SUMS"], made, clone.env)
    assert run.status == 0, run.output
    assert run.stdout.count(": OK\n") == 2
    with tarfile.open(made / "hubops-jupyterhub-1.0.0.tar.gz") as tar:
        names = set(tar.getnames())
        manifest = json.load(tar.extractfile("MANIFEST.json"))  # type: ignore[arg-type]
    assert manifest["collection_info"]["version"] == VERSION
    files = {name for name in names if "." in name.rpartition("/")[2] and name not in ("MANIFEST.json", "FILES.json")}
    assert files <= set(clone.git("ls-files").splitlines()) | {name for name in names if (clone.folder / name).is_dir()}

    where = clone.home / "collections"
    galaxy = [ansible_bin() / "ansible-galaxy", "collection"]
    run = run_program([*galaxy, "install", "--offline", "-p", where, *made.glob("*.tar.gz")], clone.home, clone.env)
    assert run.status == 0, run.output
    run = run_program([*galaxy, "list", "-p", where, "hubops.jupyterhub"], clone.home, clone.env)
    assert re.search(rf"hubops\.jupyterhub +{re.escape(VERSION)}\b", run.stdout), run.output

    # The commands that it prints are those that publish. The tag is enough to build the same artifact again.
    commands = re.findall(r"^  (git|ansible-galaxy) (.*)$", done.stdout, re.MULTILINE)
    assert [program for program, _words in commands] == ["git", "git", "git", "ansible-galaxy"]
    assert (clone.folder / commands[3][1].split()[-1]).is_file()
    clone.git(*commands[1][1].split())
    assert clone.git("rev-parse", f"{VERSION}^{{commit}}") == clone.git("rev-parse", "HEAD")
    clone.git("switch", "--quiet", "main")
    again = clone.release(VERSION, "--rebuild")
    assert again.status == 0, again.output
    assert not (clone.home / "home/.gitconfig").exists()

    # A tag with another message is found out.
    message = clone.git("tag", "--list", VERSION, "--format=%(contents)")
    clone.git("tag", "--force", "--annotate", VERSION, "--message", re.sub("sha256:.", "sha256:", message) + "\n")
    other = clone.release(VERSION, "--rebuild")
    assert other.status == 1
    assert "no tag 1.0.0 whose message has the line" in other.stderr
    wrong = re.sub("sha256:.*", "sha256:" + "0" * 64, message)
    clone.git("tag", "--force", "--annotate", VERSION, f"release/{VERSION}", "--message", wrong)
    other = clone.release(VERSION, "--rebuild")
    assert other.status == 1
    assert "does not have the contents" in other.stderr


def test_a_second_release_says_what_to_do(clone: Clone) -> None:
    clone.git("switch", "--quiet", "--create", f"release/{VERSION}")
    first = clone.release(VERSION, "--checks", "none")
    assert first.status == 0, first.output
    assert "No check was run." in first.stdout
    assert not [call for call in clone.calls() if call.startswith("check")]
    state = clone.state()
    for branch, reason in (
        (f"release/{VERSION}", "is already in changelogs"),
        ("main", "The branch release/1.0.0 exists"),
    ):
        clone.git("switch", "--quiet", branch)
        again = clone.release()
        assert again.status == 1
        assert reason in again.stderr
        assert "Traceback" not in again.output
    assert clone.state() == {**state, "head": "ref: refs/heads/main\n"}


@pytest.mark.parametrize("arguments", [["1.0.0-dev"], ["0.9.0"], [""]])
def test_a_wrong_version_is_refused(clone: Clone, arguments: list[str]) -> None:
    done = clone.release(*arguments)
    assert (done.status, len(done.stderr.splitlines()), done.stdout) == (1, 1, "")


def test_changes_that_are_not_committed_are_refused(clone: Clone) -> None:
    (clone.folder / "notes.txt").write_text("of a developer\n")
    done = clone.release()
    assert done.status == 1
    assert "not committed: notes.txt" in done.stderr
    assert (clone.folder / "notes.txt").exists()


def test_somebody_must_make_the_commit(clone: Clone) -> None:
    unknown = dict.fromkeys(IDENTITY, "")
    done = clone.release(VERSION, **unknown)
    assert done.status == 1
    assert "git config user.name" in done.stderr


@pytest.mark.parametrize("tool", ["check", "sbom"])
def test_a_run_that_fails_changes_nothing(clone: Clone, tool: str) -> None:
    clone.record(tool, "exit 1")
    before = clone.state()
    done = clone.release()
    assert done.status == 1
    assert f"The command failed with status 1: tools/{tool}" in done.stderr
    assert clone.state() == before


def test_a_playbook_that_nobody_announces_is_found(clone: Clone) -> None:
    (clone.folder / "playbooks/brand_new.yml").write_text("---\n- hosts: localhost\n")
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "--message", "A playbook")
    before = clone.state()
    done = clone.release()
    assert done.status == 1
    assert "The changelog does not list the playbook brand_new" in done.stderr
    assert clone.state() == before


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_interrupted_changes_nothing(clone: Clone, sent: signal.Signals) -> None:
    """After a kill, the next run removes what is left."""
    clone.record("sbom", "exec sleep 600")
    before = clone.state()
    process = subprocess.Popen(
        clone.command(VERSION), cwd=clone.folder, env=clone.env, start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: any(call.startswith("sbom") for call in clone.calls()))
        os.killpg(process.pid, sent)
        output, _nothing = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode != 0
    assert "Traceback" not in output
    if sent != signal.SIGKILL:
        assert clone.state() == before
        return
    clone.record("sbom", WRITE_SBOM)
    done = clone.release()
    assert done.status == 0, done.output
    assert len(clone.git("worktree", "list").splitlines()) == 1
    assert not (clone.folder / ".build/release/work").exists()
