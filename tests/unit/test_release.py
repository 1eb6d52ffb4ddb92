# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tools/release.py and tools/audit.py decide, and what the workflows must not forget."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.programs import load_tool

ROOT = Path(__file__).resolve().parents[2]


release, audit = load_tool("release"), load_tool("audit")

FIRST = release.Checkout(branch="main", branches=["main"], version="1.0.0-dev", sections=["minor_changes"])
LATER = replace(
    FIRST, version="1.3.0-dev", released=["1.0.0", "1.2.0"], tags=["1.0.0", "1.2.0"], tags_before=["1.0.0", "1.2.0"]
)


# The version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.0.0", (1, 0, 0)), ("0.10.2", (0, 10, 2)), ("10.0.0", (10, 0, 0)),
        *((text, None) for text in ("", "1", "1.0", "1.0.0-dev", "1.0.0-rc.1", "1.0.0+b", "v1.0.0", "01.0.0", "1.0.0.0",
                                    "1.0.0\n", " 1.0.0", "1.0.x", "\u0661.0.0")),
    ],
)  # fmt: skip
def test_a_version_is_three_numbers(text: str, version: tuple[int, int, int] | None) -> None:
    assert release.read_version(text) == version


def test_the_newest_version_is_the_highest_one() -> None:
    assert release.last_version(["1.9.0", "v1.10.0", "nightly", "1.2.0"]) == (1, 10, 0)
    assert release.last_version(["nightly"]) is None


@pytest.mark.parametrize(
    ("last", "sections", "least"),
    [
        ((1, 2, 3), {"bugfixes"}, (1, 2, 4)),
        ((1, 2, 3), {"security_fixes", "known_issues", "trivial", "release_summary"}, (1, 2, 4)),
        ((1, 2, 3), {"bugfixes", "minor_changes"}, (1, 3, 0)),
        ((1, 2, 3), {"deprecated_features"}, (1, 3, 0)),
        ((1, 2, 3), {"add object.playbook"}, (1, 3, 0)),
        ((1, 2, 3), {"minor_changes", "breaking_changes"}, (2, 0, 0)),
        ((1, 2, 3), {"removed_features"}, (2, 0, 0)),
        ((0, 2, 3), {"breaking_changes"}, (0, 3, 0)),
    ],
)
def test_the_least_version_follows_from_the_changes(last: Any, sections: set[str], least: Any) -> None:
    assert release.least_version(last, sections) == least


@pytest.mark.parametrize(
    ("text", "checkout"),
    [
        ("1.0.0", FIRST),
        ("2.0.0", FIRST),
        ("1.3.0", LATER),
        ("1.3.0", replace(LATER, branch="release/1.3.0", branches=["main", "release/1.3.0"])),
        ("1.3.0", replace(LATER, branch="stable-1")),
        # A version of an older branch, beside newer tags that it does not contain.
        ("1.3.0", replace(LATER, branch="stable-1", tags=["1.0.0", "1.2.0", "2.0.0"])),
        ("1.2.1", replace(LATER, version="1.2.0", sections=["bugfixes"])),
    ],
)
def test_a_release_can_be_made(text: str, checkout: Any) -> None:
    assert release.reason_to_refuse(text, checkout) is None


@pytest.mark.parametrize(
    ("text", "checkout", "reason"),
    [
        ("", FIRST, "make release VERSION=1.0.0"),
        ("1.0.0-dev", FIRST, "is not the version of a release"),
        ("1.0", FIRST, "is not the version of a release"),
        ("1.0.0", replace(FIRST, changed=["a", "b"]), "not committed: a, b"),
        ("1.0.0", replace(FIRST, changed=list("abcdef")), "a, b, c, d, e, ..."),
        ("1.0.0", replace(FIRST, branch="feature"), "The branch is feature"),
        ("1.0.0", replace(FIRST, branch=""), "There is no current branch"),
        ("1.0.0", replace(FIRST, branch="release/1.1.0"), "or from release/1.0.0"),
        ("1.0.0", replace(FIRST, branches=["main", "release/1.0.0"]), "The branch release/1.0.0 exists"),
        ("1.3.0", replace(LATER, branch="stable-2"), "The branch stable-2 has no version 1.3.0"),
        ("1.0.0", replace(FIRST, tags=["1.0.0"]), "The tag 1.0.0 exists"),
        ("1.0.0", replace(FIRST, tags=["v1.0.0"]), "The tag v1.0.0 exists"),
        ("1.2.0", replace(LATER, tags=[]), "1.2.0 is already in changelogs/changelog.yaml"),
        ("0.9.0", FIRST, "galaxy.yml says 1.0.0-dev, so the next release is 1.0.0 or newer"),
        ("1.1.0", replace(LATER, version="1.1.0-dev"), "1.2.0 is released"),
        ("1.1.0", replace(LATER, version="1.1.0-dev", released=[]), "1.2.0 is released"),
        ("1.1.0", replace(LATER, version="1.1.0-dev", tags_before=[]), "1.2.0 is released"),
        ("1.0.0", replace(FIRST, sections=[]), "no fragment"),
        ("1.2.1", replace(LATER, version="1.2.0"), "need version 1.3.0 or newer after 1.2.0"),
        ("1.3.0", replace(LATER, sections=["breaking_changes"]), "need version 2.0.0 or newer"),
    ],
)  # fmt: skip
def test_a_release_is_refused_with_a_sentence(text: str, checkout: Any, reason: str) -> None:
    found = release.reason_to_refuse(text, checkout)
    assert reason in found
    assert "\n" not in found


# The changelog

ENTRY = {
    "changes": {"release_summary": "The first one. " * 20},
    "modules": [{"name": "hub_a"}, {"name": "hub_b"}],
    "plugins": {"filter": [{"name": "printable"}]},
    "objects": {"role": [{"name": "verify"}], "playbook": [{"name": "verify"}]},
}
CONTENT = {
    ("module", "hub_a"), ("module", "hub_b"), ("filter", "printable"), ("role", "verify"), ("playbook", "verify"),
}  # fmt: skip


def test_a_complete_changelog_has_no_error() -> None:
    assert release.listed_in(ENTRY) == CONTENT
    assert release.changelog_errors("1.0.0", {"1.0.0": ENTRY}, CONTENT) == []
    # What an earlier release lists is not new, and may be gone.
    assert release.changelog_errors("1.1.0", {"1.0.0": ENTRY, "1.1.0": {}}, CONTENT - {("module", "hub_b")}) == []


@pytest.mark.parametrize(
    ("kind", "hint"),
    [("module", "version_added must be"), ("role", "add object.role"), ("playbook", "add object.playbook")],
)
def test_what_the_changelog_does_not_list_is_an_error(kind: str, hint: str) -> None:
    [error] = release.changelog_errors("1.0.0", {"1.0.0": ENTRY}, CONTENT | {(kind, "new")})
    assert f"the {kind} new" in error
    assert hint in error


@pytest.mark.parametrize("name", ["_verify", "__verify"])
def test_a_private_plugin_in_the_changelog_is_an_error(name: str) -> None:
    entry = ENTRY | {"plugins": {"filter": [{"name": "printable"}, {"name": name}]}}
    [error] = release.changelog_errors("1.0.0", {"1.0.0": entry}, CONTENT)
    assert f"the filter {name}, which is not public" in error


def test_the_content_is_all_that_is_public() -> None:
    found = release.read_content(ROOT)
    assert {("module", "hub_info"), ("filter", "printable"), ("role", "upgrade"), ("playbook", "verify")} <= found
    assert not [name for _kind, name in found if name.startswith("_")]


def test_each_playbook_and_role_is_announced() -> None:
    """In the changelog, in a fragment, or, for a role, by its version_added. A release would refuse to go on later."""
    listed = set[tuple[str, str]]()
    for entry in yaml.safe_load((ROOT / "changelogs/changelog.yaml").read_text())["releases"].values():
        listed |= release.listed_in(entry)
    for path in (ROOT / "changelogs/fragments").glob("*.yml"):
        for section, entries in yaml.safe_load(path.read_text()).items():
            if section.startswith("add object."):
                listed |= {(section.removeprefix("add object."), each["name"]) for each in entries}
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        if "version_added" in yaml.safe_load(path.read_text())["argument_specs"].get("main", {}):
            listed.add(("role", path.parents[1].name))
    assert {(kind, name) for kind, name in release.read_content(ROOT) if kind in ("role", "playbook")} <= listed


# The tag and the artifact


def write_artifact(path: Path, files: dict[str, str], version: str = "1.0.0", folders: tuple[str, ...] = ()) -> Path:
    entries = [{"name": name, "ftype": "file", "chksum_sha256": digest} for name, digest in files.items()]
    entries += [{"name": name, "ftype": "dir", "chksum_sha256": None} for name in folders]
    with tarfile.open(path, "w:gz") as tar:
        for name, value in (
            ("MANIFEST.json", {"collection_info": {"version": version}}),
            ("FILES.json", {"files": entries}),
        ):
            data = json.dumps(value).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_the_digest_is_of_the_contents_only(tmp_path: Path) -> None:
    def digest(*arguments: Any, **more: Any) -> str:
        text: str = release.contents_digest(write_artifact(tmp_path / "a.tar.gz", *arguments, **more))
        return text

    first = digest({"a": "1", "b": "2"})
    assert digest({"b": "2", "a": "1"}, folders=("empty",)) == first
    others = [
        digest({"a": "1"}),
        digest({"a": "2", "b": "2"}),
        digest({"a": "1", "c": "2"}),
        digest({"a": "1", "b": "2"}, "1.0.1"),
    ]
    assert len({first, *others}) == 5


def test_the_message_of_the_tag_survives_git() -> None:
    """git removes lines that begin with #, and --rebuild reads the last line."""
    text = release.tag_message("1.0.0", ENTRY, "ab" * 32)
    assert text.splitlines()[0] == "hubops.jupyterhub 1.0.0"
    assert "New modules: 2\n" in text
    assert max(map(len, text.partition("New ")[0].splitlines())) <= 79
    cleaned = subprocess.run(["git", "stripspace", "-s"], input=text, capture_output=True, text=True, check=True).stdout
    assert cleaned == text
    assert text.endswith(f"\nContents: sha256:{'ab' * 32}\n")


def test_the_metadata_is_what_galaxy_takes() -> None:
    """As its importer checks: some limits, and one of the tags that it asks for."""
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    assert all(len(author) <= 64 for author in galaxy["authors"])
    assert len(galaxy["tags"]) <= 20
    assert all(re.fullmatch(r"[a-z0-9]{1,64}", tag) for tag in galaxy["tags"])
    categories = {
        "application", "cloud", "database", "eda", "infrastructure", "linux", "monitoring", "networking", "security",
        "storage", "tools", "windows",
    }  # fmt: skip
    assert categories & set(galaxy["tags"])
    assert all(galaxy[name].startswith("https://") for name in ("repository", "documentation", "homepage", "issues"))


# The audit

SOUND = {"name": "requests", "version": "2.32.0", "vulns": []}
BAD = {
    "name": "urllib3",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.0"]}, {"id": "X", "fix_versions": []}],
}
SKIPPED = {"name": "idna", "skip_reason": "Dependency not found on PyPI and could not be audited: idna (3.0)"}


def test_a_report_of_pip_audit() -> None:
    assert audit.read_pip_audit({"dependencies": [SOUND]}) == ([], [])
    assert audit.read_pip_audit({"dependencies": [SOUND, BAD, SKIPPED]}) == (
        ["urllib3 1.0: PYSEC-1, fixed in 2.0", "urllib3 1.0: X"],
        ["idna"],
    )


def test_a_report_of_npm_audit() -> None:
    assert audit.read_npm_audit({"vulnerabilities": {}}) == ([], [])
    assert audit.read_npm_audit({"vulnerabilities": {"ws": {"severity": "high"}}}) == (["ws: high"], [])
    for report in ({}, {"message": "405"}, {"error": {"summary": "no network"}}):
        found, unknown = audit.read_npm_audit(report)
        assert (found, len(unknown)) == ([], 1)


def test_no_answer_is_no_good_answer() -> None:
    assert [audit.status_of(*lists) for lists in (([], []), ([], ["a"]), (["a"], []), (["a"], ["b"]))] == [0, 2, 1, 1]


# The workflows

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTION = re.compile(r"^\s*(?:- )?uses: +(\S+)(.*)$", re.MULTILINE)


def test_there_are_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["certification", "release", "supply-chain", "tests"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_trusts_little(path: Path) -> None:
    text = path.read_text()
    for action, comment in ACTION.findall(text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # (v[\d.]+|main)", comment), action
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    assert "group" in workflow["concurrency"]
    for job in workflow["jobs"].values():
        assert "uses" in job or job["timeout-minutes"]
        for step in job.get("steps", []):
            # An expression in a script is a way in. It belongs into a variable of the environment.
            assert "${{" not in step.get("run", "")
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_the_workflows_call_what_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for step in job.get("steps", []):
                for tool in re.findall(r"(?<![\w/.])(?:tools|\.ci)/\w+", step.get("run", "")):
                    assert (ROOT / tool).is_file(), tool
                for target in re.findall(r"^make (\w+)", step.get("run", ""), re.MULTILINE):
                    assert re.search(rf"^{target}: ##", makefile, re.MULTILINE), target


def test_the_matrix_of_the_workflow_is_that_of_the_tool() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        lines = {line.version for line in load_tool("matrix").LINES}
    finally:
        sys.path.remove(str(ROOT / "tools"))
    rows = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]["matrix"]["strategy"]["matrix"][
        "include"
    ]
    assert [row["line"] for row in rows][:2] == [max(lines), min(lines)]
    assert {row["line"] for row in rows} == lines
    assert {row["python"] for row in rows} == {"3.10", "3.11", "3.12", "3.13", "3.14"}
