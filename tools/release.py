# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a release of the collection: its commit, its artifact, its checksums and the message of its tag.

Everything is made in a worktree of git below .build/release. The branch of the release and the checkout change only in
the last step, so a run that fails or is interrupted leaves both as they were. Nothing is published.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
RELEASES = ROOT / ".build/release"
CHECKS = "lint sanity unit"
"""The checks that run if --checks names no others: those that take minutes."""
NO_CHECKS = "none"
PROJECT = "https://github.com/hubops/hubops.jupyterhub"
LEFT_OUT = 3
"""The status of a tool that needs a program that is not installed. The tool prints the reason."""

BREAKING = {"breaking_changes", "removed_features"}
"""Sections of a changelog fragment that need a new major version."""
FEATURES = {"major_changes", "minor_changes", "deprecated_features"}
"""Sections that need a new minor version, at least. So does a new module, plugin, role or playbook."""

Version = tuple[int, int, int]
Content = set[tuple[str, str]]
"""Pairs of a kind and a name, such as ("module", "hub_info")."""


class Refused(Exception):
    """A release cannot be made. The message says what to do."""


# What decides


@dataclass(frozen=True)
class Checkout:
    """What the git repository and its files say before a release."""

    branch: str
    """The name of the current branch, or an empty text without one."""
    branches: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """The paths with changes that are not committed."""
    tags: list[str] = field(default_factory=list)
    """All tags."""
    tags_before: list[str] = field(default_factory=list)
    """The tags that the current commit contains."""
    released: list[str] = field(default_factory=list)
    """The versions in changelogs/changelog.yaml."""
    version: str = ""
    """The version in galaxy.yml."""
    sections: list[str] = field(default_factory=list)
    """The sections of all changelog fragments."""


def read_version(text: str) -> Version | None:
    """Return the numbers of the version of a release, such as 1.0.0, or None for any other text."""
    found = re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", text, re.ASCII)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def last_version(texts: list[str]) -> Version | None:
    """Return the newest version of these texts. Texts that are no version of a release do not count."""
    return max(filter(None, (read_version(text.removeprefix("v")) for text in texts)), default=None)


def write_version(version: Version) -> str:
    return ".".join(map(str, version))


def least_version(last: Version, sections: set[str]) -> Version:
    """Return the least version that may follow ``last`` with changes in these sections (https://semver.org/)."""
    major, minor, patch = last
    if sections & BREAKING and major:
        return (major + 1, 0, 0)
    if sections & (BREAKING | FEATURES) or any(section.startswith("add ") for section in sections):
        return (major, minor + 1, 0)
    return (major, minor, patch + 1)


def reason_to_refuse(text: str, checkout: Checkout) -> str | None:
    """Say why the version cannot be released from this checkout, and what to do, or return None."""
    if not text:
        return "Say which version to release: make release VERSION=1.0.0"
    version = read_version(text)
    if not version:
        return f"VERSION={text} is not the version of a release. Give three numbers, such as VERSION=1.0.0."
    branch = f"release/{text}"
    if text in checkout.released:
        return (
            f"{text} is already in changelogs/changelog.yaml. A released version does not change: release a newer one."
        )
    if found := {text, f"v{text}"} & set(checkout.tags):
        return f"The tag {min(found)} exists. A released version does not change: release a newer one."
    if checkout.changed:
        listed = ", ".join(checkout.changed[:5]) + (", ..." if len(checkout.changed) > 5 else "")
        return f"The checkout has changes that are not committed: {listed}. Commit or remove them."
    stable = re.fullmatch(r"stable-(\d+)", checkout.branch)
    if checkout.branch != branch:
        if checkout.branch != "main" and not stable:
            found = f"The branch is {checkout.branch}." if checkout.branch else "There is no current branch."
            return f"{found} A release is made from main, from stable-N, or from {branch}: git switch main"
        if branch in checkout.branches:
            return (
                f"The branch {branch} exists. To use it: git switch {branch}. To make the release again: "
                f"git branch -D {branch}"
            )
    if stable and version[0] != int(stable[1]):
        return f"The branch {checkout.branch} has no version {text}. Its versions begin with {stable[1]}."
    developed = re.fullmatch(r"([\d.]+)(-.+)?", checkout.version)
    planned = read_version(developed[1]) if developed else None
    if planned and version < planned:
        return f"galaxy.yml says {checkout.version}, so the next release is {write_version(planned)} or newer."
    last = last_version([*checkout.released, *checkout.tags_before])
    if last and version <= last:
        return f"{write_version(last)} is released. The next release is newer than that."
    if not checkout.sections:
        return "There is no change to release: changelogs/fragments has no fragment."
    if last and version < (least := least_version(last, set(checkout.sections))):
        return (
            f"The fragments have changes that need version {write_version(least)} or newer after {write_version(last)} "
            f"(semantic versioning): {', '.join(sorted(set(checkout.sections)))}."
        )
    return None


def listed_in(release: Mapping[str, Any]) -> Content:
    """Return what the entry of a release in changelogs/changelog.yaml lists as new."""
    found = {("module", each["name"]) for each in release.get("modules", [])}
    for kinds in (release.get("plugins", {}), release.get("objects", {})):
        found |= {(kind, each["name"]) for kind, entries in kinds.items() for each in entries}
    return found


def changelog_errors(text: str, releases: Mapping[str, Any], content: Content) -> list[str]:
    """Say what the changelog lacks, and what the release with this version must not list."""
    listed = set[tuple[str, str]]().union(*map(listed_in, releases.values()))
    errors = []
    for kind, name in sorted(content - listed):
        how = {
            "role": "its argument_specs.yml needs version_added, or a fragment the section 'add object.role'",
            "playbook": "a fragment needs it in the section 'add object.playbook'",
        }.get(kind, f"its version_added must be {text}")
        errors.append(f"The changelog does not list the {kind} {name}: {how}.")
    for kind, name in sorted(listed_in(releases[text]) - content):
        errors.append(f"The changelog lists the {kind} {name}, which is not public or does not exist.")
    return errors


def tag_message(text: str, release: Mapping[str, Any], digest: str) -> str:
    """Return the message of the tag. Its last line lets ``--rebuild`` compare an artifact."""
    summary = release.get("changes", {}).get("release_summary", "")
    new = listed_in(release)
    kinds = sorted({kind for kind, _name in new})
    parts = [f"hubops.jupyterhub {text}"]
    if summary:
        parts.append(textwrap.fill(summary, 79))
    if new:
        parts.append("\n".join(f"New {kind}s: {sum(each == kind for each, _name in new)}" for kind in kinds))
    parts.append(f"Changes: {PROJECT}/blob/{text}/CHANGELOG.md")
    parts.append(f"Contents: sha256:{digest}")
    return "\n\n".join(parts) + "\n"


def contents_digest(artifact: Path) -> str:
    """Return a digest of an artifact's files and metadata. Times do not count: a second build has the same digest."""
    with tarfile.open(artifact) as tar:
        manifest, files = (json.load(tar.extractfile(name) or io.BytesIO()) for name in ("MANIFEST.json", "FILES.json"))
    entries = sorted(f"{each['chksum_sha256']} {each['name']}" for each in files["files"] if each["ftype"] == "file")
    text = json.dumps([manifest["collection_info"], entries], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


# What acts


def say(text: str) -> None:
    print(text, flush=True)


def environment() -> dict[str, str]:
    """Return the environment of Ansible's programs: those of this Python, and no settings of the user."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return kept | {
        "ANSIBLE_COLLECTIONS_PATH": str(RELEASES / "work"),
        "ANSIBLE_CONFIG": str(ROOT / "tools/ansible.cfg"),
        "ANSIBLE_HOME": str(ROOT / ".build/ansible"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run(*command: str | Path, folder: Path = ROOT, accept: tuple[int, ...] = (0,)) -> int:
    """Run a program, whose output goes to the terminal."""
    words = [str(word) for word in command]
    status = subprocess.run(words, cwd=folder, env=environment(), check=False).returncode
    if status not in accept:
        raise Refused(f"The command failed with status {status}: {shlex.join(words)}")
    return status


def ask(*command: str | Path, folder: Path = ROOT) -> str:
    """Run a program, and return what it prints."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=environment(), check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"The command failed: {shlex.join(words)}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def lines_of(*command: str | Path) -> list[str]:
    return ask(*command).splitlines()


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def read_checkout() -> Checkout:
    fragments = [read_yaml(path) for path in sorted((ROOT / "changelogs/fragments").glob("*.y*ml"))]
    return Checkout(
        branch=ask("git", "branch", "--show-current").strip(),
        branches=lines_of("git", "branch", "--format=%(refname:short)"),
        changed=[line[3:] for line in lines_of("git", "status", "--porcelain")],
        tags=lines_of("git", "tag"),
        tags_before=lines_of("git", "tag", "--merged", "HEAD"),
        released=sorted(read_yaml(ROOT / "changelogs/changelog.yaml")["releases"] or {}),
        version=read_yaml(ROOT / "galaxy.yml")["version"],
        sections=sorted({section for fragment in fragments for section in fragment or {}}),
    )


def read_content(tree: Path) -> Content:
    """Return what the changelog has to list: all that a user can name. A private name begins with _."""
    found = {("module", path.stem) for path in tree.glob("plugins/modules/*.py")}
    found |= {("filter", path.stem) for path in tree.glob("plugins/filter/*.py")}
    found |= {("role", path.parent.name) for path in tree.glob("roles/*/meta")}
    found |= {("playbook", path.stem) for path in tree.glob("playbooks/*.yml")}
    return {(kind, name) for kind, name in found if not name.startswith("_")}


def identity() -> str:
    """Return who makes the commit, such as `A Name <a@example.org>`."""
    try:
        ask("git", "var", "GIT_COMMITTER_IDENT")
        return ask("git", "var", "GIT_AUTHOR_IDENT").rpartition(">")[0] + ">"
    except Refused as error:
        raise Refused(
            "git does not know who makes the commit. Set it: git config user.name NAME; git config user.email ADDRESS"
        ) from error


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """Yield a folder with the files of a commit, where Ansible finds the collection. It is removed at the end."""
    work = RELEASES / "work"
    RELEASES.mkdir(parents=True, exist_ok=True)
    with open(RELEASES / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused("Another release is being made in this checkout. Wait until it ends.") from error

        def remove() -> None:
            shutil.rmtree(work, ignore_errors=True)
            ask("git", "worktree", "prune")

        remove()  # what a killed run has left
        try:
            tree = work / "ansible_collections/hubops/jupyterhub"
            ask("git", "worktree", "add", "--detach", tree, commit)
            yield tree
        finally:
            remove()


def build(tree: Path, made: Path) -> Path:
    """Build the artifact of ``tree`` into the folder ``made``, install it as a user does, and return its path."""
    ask("ansible-galaxy", "collection", "build", "--output-path", made, tree)
    [artifact] = made.glob("*.tar.gz")
    ask("ansible-galaxy", "collection", "install", "--offline", "-p", RELEASES / "work/installed", artifact)
    return artifact


def write_changelog(tree: Path, text: str) -> Mapping[str, Any]:
    """Set the version, and make the changelog of the release. Return its entry."""
    galaxy = tree / "galaxy.yml"
    changed, count = re.subn(
        r"^version: .*$", f"version: {text}", galaxy.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    if count != 1:
        raise Refused("galaxy.yml must have one line with the version.")
    galaxy.write_text(changed, encoding="utf-8")
    ask("antsibull-changelog", "release", "--version", text, "--reload-plugins", folder=tree)
    ask("antsibull-changelog", "lint-changelog-yaml", "changelogs/changelog.yaml", folder=tree)
    releases = read_yaml(tree / "changelogs/changelog.yaml")["releases"]
    if errors := changelog_errors(text, releases, read_content(tree)):
        raise Refused("\n".join(errors))
    entry: Mapping[str, Any] = releases[text]
    return entry


def finish(made: Path, final: Path) -> str:
    """Write the SBOM and the checksums, and move the folder to its place. Return what was left out, if anything."""
    left_out = run("tools/sbom", made, accept=(0, LEFT_OUT)) == LEFT_OUT
    files = sorted(path for path in made.iterdir() if path.name != "tag-message.txt")
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (made / "SHA256SUMS").write_text(sums)
    shutil.rmtree(final, ignore_errors=True)
    made.rename(final)
    return "A part of the SBOM is left out; the output above says why." if left_out else ""


def make_release(text: str, checks: str) -> None:
    checkout = read_checkout()
    if reason := reason_to_refuse(text, checkout):
        raise Refused(reason)
    author = identity()
    start = ask("git", "rev-parse", "HEAD").strip()
    parts = [] if checks == NO_CHECKS else checks.split()
    if parts:
        run("tools/check", *parts)
    final, branch = RELEASES / text, f"release/{text}"
    with worktree(start) as tree:
        say(f"\n== release {text}")
        release = write_changelog(tree, text)
        ask("git", "add", "--all", folder=tree)
        # The checks have run. Hooks of the checkout are for its tree, not for this one.
        ask("git", "commit", "--no-verify", "--message", f"Release {text}", folder=tree)
        commit = ask("git", "rev-parse", "HEAD", folder=tree).strip()
        made = RELEASES / "work/made"
        made.mkdir()
        artifact = build(tree, made)
        (made / "tag-message.txt").write_text(tag_message(text, release, contents_digest(artifact)), encoding="utf-8")
        note = finish(made, final)
        try:
            if checkout.branch == branch:
                ask("git", "merge", "--ff-only", commit)
            else:
                ask("git", "switch", "--create", branch, commit)
        except BaseException:
            shutil.rmtree(final)
            raise
    say(f"{text} is commit {commit[:12]} by {author}, on the branch {branch}.")
    say(f"Its files are in {final.relative_to(ROOT)}:")
    for path in sorted(final.iterdir()):
        say(f"  {path.name}")
    say(f"Checks that passed: {' '.join(parts)}." if parts else "No check was run.")
    if note:
        say(note)
    folder = final.relative_to(ROOT)
    say("\nNothing is published. RELEASING.md explains the commands that publish it:")
    say(f"  git push origin {branch}")
    say(f"  git tag --annotate {text} --file {folder}/tag-message.txt {commit[:12]}")
    say(f"  git push origin {text}")
    say("The workflow `release` of the pushed tag builds the artifact again, and publishes it. Without the workflow:")
    say(f"  ansible-galaxy collection publish {folder}/{artifact.name}")


def rebuild(text: str) -> None:
    """Build the artifact of a tag, and prove that it is the one of which the tag's message has the digest."""
    message = ask("git", "tag", "--list", text, "--format=%(contents)")
    [wanted] = re.findall(r"^Contents: sha256:([0-9a-f]{64})$", message, re.MULTILINE) or [""]
    if not wanted:
        raise Refused(f"There is no tag {text} whose message has the line `Contents:` of a release.")
    final = RELEASES / text
    with worktree(f"{text}^{{commit}}") as tree:
        version = read_yaml(tree / "galaxy.yml")["version"]
        if version != text:
            raise Refused(f"The tag {text} has galaxy.yml with the version {version}.")
        made = RELEASES / "work/made"
        made.mkdir()
        artifact = build(tree, made)
        if contents_digest(artifact) != wanted:
            raise Refused(
                f"The artifact of the tag {text} does not have the contents of which the tag's message has the digest."
            )
        (made / "tag-message.txt").write_text(message, encoding="utf-8")
        note = finish(made, final)
    say(f"The artifact of the tag {text} has the contents that its message names: {final.relative_to(ROOT)}")
    if note:
        say(note)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/release", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("version", nargs="?", default="")
    parser.add_argument("--checks", default=CHECKS, help=f"parts of tools/check, or {NO_CHECKS}; default: {CHECKS}")
    parser.add_argument("--rebuild", action="store_true", help="build the artifact of a tag again")
    options = parser.parse_args()
    # An interrupted run ends through `finally`, which removes the worktree.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if options.rebuild:
            rebuild(options.version)
        else:
            make_release(options.version, options.checks)
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The checkout is as it was.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
