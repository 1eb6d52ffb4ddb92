# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the checks of the matrix on each line of ansible-core, and knows which Pythons each line supports.

    tools/matrix.py run [--minutes N] [LINE ...]    what tools/matrix does
    tools/matrix.py python core-2.20                prints the path of a Python for this environment (tools/venv)
    tools/matrix.py locks                           prints each environment and its oldest Python (tools/lock)

It imports only the standard library, because it runs before any environment exists.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = "hubops.jupyterhub"
FAILED, LEFT_OUT, INTERRUPTED = 1, 3, 130
"""Exit statuses. What was left out has not passed, so it has a status of its own, as in tools/slurm."""


@dataclass(frozen=True)
class Line:
    """A line of ansible-core. ``pythons`` are all that it supports on a controller, the preferred one first."""

    version: str
    pythons: tuple[str, ...]
    sanity: bool = False
    environment: str = ""

    @property
    def name(self) -> str:
        """The name of its file in requirements/."""
        return self.environment or f"core-{self.version}"


# The lines together run on each Python. The oldest line prefers that of Debian, with which `make test` is fastest.
LINES = (
    Line("2.16", ("3.11", "3.10", "3.12"), sanity=True),
    Line("2.17", ("3.10", "3.11", "3.12")),
    Line("2.18", ("3.12", "3.11", "3.13"), sanity=True),
    Line("2.19", ("3.11", "3.12", "3.13"), environment="run"),
    Line("2.20", ("3.12", "3.13", "3.14"), sanity=True),
    Line("2.21", ("3.13", "3.14", "3.12"), sanity=True),
    Line("2.22", ("3.14", "3.13", "3.15"), sanity=True),
)
OLDEST_OF_MODULES = "3.10"
"""The oldest Python that tests/config.yml leaves."""
NEEDS = {
    "environment": "", "install": "environment", "doc": "install", "syntax": "install", "doors": "environment",
    "sanity": "environment", "pythons": "environment",
}  # fmt: skip
"""The parts of a line in their order, each with the part that must have passed before it runs."""
OF_SANITY = ("sanity", "pythons")


@dataclass(frozen=True)
class Outcome:
    """What became of a part: ``state`` is passed, failed or left out. ``why`` says why a part did not run or failed."""

    state: str
    seconds: float = 0
    why: str = ""


@dataclass
class Row:
    """What is known of a line: the versions in its environment, and the outcome of each part."""

    line: Line
    core: str = ""
    python: str = ""
    outcomes: dict[str, Outcome] = field(default_factory=dict)


# What is decided


def version_key(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def choose_python(pythons: Sequence[str], found: Iterable[str], wanted: str | None = None) -> str | None:
    """Return the version of Python for a line: the one that the user wants if it fits, else the preferred one.

    ``found`` are the versions on this machine. Returns None if none of them fits.
    """
    usable = [version for version in pythons if version in set(found)]
    return wanted if wanted in usable else next(iter(usable), None)


def other_pythons(line: Line, python: str) -> list[str]:
    """Return the Pythons that a line's modules support in addition to the one of its environment."""
    minors = range(version_key(OLDEST_OF_MODULES)[1], max(map(version_key, line.pythons))[1] + 1)
    return [version for version in (f"3.{minor}" for minor in minors) if version != python]


def order_lines(lines: Iterable[Line]) -> list[Line]:
    """Return the newest line, then the oldest, then the others from new to old."""
    newest, *others = sorted(lines, key=lambda line: version_key(line.version), reverse=True)
    return [newest, *others[-1:], *others[:-1]]


def list_parts(line: Line) -> list[str]:
    return [part for part in NEEDS if line.sanity or part not in OF_SANITY]


def reason_to_leave_out(
    part: str, outcomes: Mapping[str, Outcome], elapsed: float, minutes: float | None
) -> str | None:
    """Return why a part cannot run now, or None. ``elapsed`` is in seconds; without ``minutes`` there is no limit."""
    needed = NEEDS[part]
    if needed and outcomes[needed].state != "passed":
        return f"it needs the part {needed}"
    if minutes is not None and elapsed >= minutes * 60:
        return f"the time of {minutes:g} minutes was over"
    return None


def decide_status(rows: Iterable[Row]) -> int:
    """Return the exit status: 1 if a part failed, else 3 if one was left out or is missing, else 0."""
    states = {
        row.outcomes[part].state if part in row.outcomes else "left out"
        for row in rows
        for part in list_parts(row.line)
    }
    return FAILED if "failed" in states else LEFT_OUT if "left out" in states else 0


def list_undocumented(kind: str, names: Iterable[str], documents: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Return the names of which ``ansible-doc --json`` shows nothing."""
    key = "entry_points" if kind == "role" else "doc"
    return [name for name in names if not documents.get(name, {}).get(key)]


def format_cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    return {"passed": "", "failed": "FAILED "}.get(outcome.state, "left out") + (
        f"{outcome.seconds:.0f} s" if outcome.state != "left out" else ""
    )


def format_table(rows: Sequence[Row]) -> str:
    """Return a table with a row for each line. A part that is not run on a line is a dash."""
    cells = [["line", "ansible-core", "Python", *NEEDS]]
    for row in rows:
        outcomes = (format_cell(row.outcomes.get(part)) for part in NEEDS)
        cells.append([row.line.version, row.core or "-", row.python or "-", *outcomes])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def list_reasons(rows: Iterable[Row]) -> list[str]:
    """Return a sentence for each group of parts that failed or were left out for the same reason."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for part, outcome in row.outcomes.items():
            if outcome.state != "passed":
                groups.setdefault((row.line.version, outcome.state, outcome.why), []).append(part)
    return [f"{version} {', '.join(parts)} {state}: {why}" for (version, state, why), parts in groups.items()]


# What is on this machine


def python_candidates(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the paths of what may be a Python: the user's, the distribution's, those on PATH, and those of pyenv."""
    names = ["python3", *(f"python3.{minor}" for minor in range(15, 9, -1))]
    if environ.get("PYTHON"):
        yield shutil.which(environ["PYTHON"], path=environ.get("PATH")) or environ["PYTHON"]
    for folder in ("/usr/bin", *environ.get("PATH", "").split(os.pathsep)):
        yield from (path for name in names if (path := shutil.which(name, path=folder or os.curdir)))
    roots = [environ.get("PYENV_ROOT", ""), os.path.join(environ.get("HOME", ""), ".pyenv")]
    for root in dict.fromkeys(filter(None, roots)):
        yield from sorted(map(str, Path(root).glob("versions/*/bin/python3")), reverse=True)


def inspect_python(path: str) -> tuple[str, str] | None:
    """Return the version of a Python, such as 3.12, and its path, or None if it does not run or makes no environments.

    A shim of pyenv runs only if its version is selected. The path is that of the Python that it runs.
    """
    program = (
        "import ensurepip, venv, sys; print(*sys.version_info[:2], getattr(sys, '_base_executable', sys.executable))"
    )
    try:
        done = subprocess.run([path, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor, found = done.stdout.rstrip("\n").split(" ", 2)
    return f"{major}.{minor}", found


def find_pythons(environ: Mapping[str, str]) -> tuple[dict[str, str], str | None]:
    """Return the Pythons of this machine by version, the first candidate of each, and the version of PYTHON."""
    found: dict[str, str] = {}
    wanted = None
    for path in dict.fromkeys(python_candidates(environ)):
        inspected = inspect_python(path)
        if inspected:
            found.setdefault(*inspected)
        if environ.get("PYTHON") and wanted is None:
            wanted = inspected[0] if inspected else ""
    return found, wanted or None


def no_python_fits(line: Line, found: Iterable[str]) -> str:
    wanted, here = (sorted(versions, key=version_key) for versions in (line.pythons, found))
    return (
        f"ansible-core {line.version} needs Python {', '.join(wanted)}; this machine has {', '.join(here) or 'none'}. "
        "Install one, or name one with PYTHON=/path/to/python3."
    )


# The parts


class Failure(Exception):
    """A part has failed. The message says why."""


def run(command: Sequence[str | Path], env: Mapping[str, str]) -> None:
    """Run a program whose output the user sees. Ctrl-C reaches it too, and this waits until it has ended."""
    sys.stdout.flush()
    with subprocess.Popen(
        [str(word) for word in command], cwd=ROOT, env=dict(env), stdin=subprocess.DEVNULL
    ) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise
    if status:
        raise Failure(f"{Path(command[0]).name} ended with status {status}")


def read(command: Sequence[str | Path], env: Mapping[str, str]) -> str:
    """Run a program and return its output. If it fails, the user sees the output."""
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, env=dict(env), check=False, stdin=subprocess.DEVNULL,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        print(done.stdout, done.stderr, sep="")
        raise Failure(f"{Path(command[0]).name} ended with status {done.returncode}")
    return done.stdout


def names_of(pattern: str) -> list[str]:
    """Return the full names of what is in the checkout, such as `hubops.jupyterhub.hub_user`."""
    names = [path.relative_to(ROOT).parts[pattern.count("/", 0, pattern.index("*"))] for path in ROOT.glob(pattern)]
    return sorted(f"{COLLECTION}.{name.partition('.')[0]}" for name in names)


class Parts:
    """The parts of one line. Each method is a part, and raises `Failure`."""

    def __init__(self, row: Row, python: str, found: Mapping[str, str]) -> None:
        """``python`` is the version for the line, and ``found`` are the Pythons of this machine by version."""
        self.row, self.python, self.found = row, python, found
        self.folder = ROOT / ".build" / "matrix" / row.line.version
        self.bin = Path()

    @property
    def env(self) -> dict[str, str]:
        """The environment of Ansible's programs: nothing of the user's, and only the installed artifact."""
        return {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "installed"),
            "ANSIBLE_CONFIG": str(ROOT / "tools" / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_INVENTORY": os.devnull,
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
        }

    def environment(self) -> None:
        line = self.row.line
        venv = read(["tools/venv", line.name], {**os.environ, "PYTHON": self.found[self.python]})
        self.bin = ROOT / venv.strip() / "bin"
        program = "import importlib.metadata as m, platform as p; print(m.version('ansible-core'), p.python_version())"
        self.row.core, self.row.python = read([self.bin / "python", "-c", program], os.environ).split()
        if not self.row.core.startswith(f"{line.version}."):
            raise Failure(f"the environment has ansible-core {self.row.core}")

    def install(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        galaxy = [self.bin / "ansible-galaxy", "collection"]
        copy = read(["tools/copy"], os.environ).strip()
        read([*galaxy, "build", "--output-path", self.folder, copy], self.env)
        [artifact] = self.folder.glob("*.tar.gz")
        read([*galaxy, "install", "--offline", "-p", self.folder / "installed", artifact], self.env)

    def doc(self) -> None:
        patterns = {"module": "plugins/modules/*.py", "role": "roles/*/meta/argument_specs.yml"}
        patterns["filter"] = "plugins/filter/[!_]*.py"  # an underscore begins the names of the private ones
        for kind, pattern in patterns.items():
            names, command = names_of(pattern), [self.bin / "ansible-doc", "--type", kind]
            read([*command, *names], self.env)
            documents = json.loads(read([*command, "--json", *names], self.env))
            if undocumented := list_undocumented(kind, names, documents):
                raise Failure(f"ansible-doc shows nothing of {', '.join(undocumented)}")

    def syntax(self) -> None:
        names = names_of("playbooks/*.yml")
        shown = read([self.bin / "ansible-playbook", "--syntax-check", *names], self.env)
        if unread := [name for name in names if f"/{name.rpartition('.')[2]}.yml\n" not in shown]:
            raise Failure(f"ansible-playbook did not read {', '.join(unread)}")

    def doors(self) -> None:
        options = ["-n", os.environ.get("WORKERS") or "3", "--dist", "loadfile", "--no-loadscope-reorder"]
        run(
            ["pytest", *options, "-m", "doors", "tests/integration"],
            {**os.environ, "HUBOPS_ANSIBLE_VENV": str(self.bin.parent)},
        )

    def sanity(self) -> None:
        run(["tools/sanity", "--core", self.row.line.name], os.environ)

    def pythons(self) -> None:
        """Compile and import the modules with the other Pythons of this machine."""
        for version in other_pythons(self.row.line, self.python):
            if version in self.found:
                print(f"-- Python {version}")
                where = ["--path", Path(self.found[version]).parent]
                tests = ["--test", "compile", "--test", "import", "--python", version]
                run(["tools/sanity", "--core", self.row.line.name, *where, *tests], os.environ)


def run_part(parts: Parts, part: str) -> Outcome:
    start = time.monotonic()
    state, why = "passed", ""
    try:
        getattr(parts, part)()
    except Failure as failure:
        state, why = "failed", str(failure)
        print(f"FAILED: {parts.row.line.version} {part}: {why}")
    return Outcome(state, time.monotonic() - start, why)


def run_lines(lines: Sequence[Line], rows: list[Row], minutes: float | None, explicit: bool) -> list[str]:
    """Run the parts of each line and put what becomes of them into ``rows``.

    ``explicit`` says that the user named the lines: then, a line without a Python has failed. Returns what else is to
    be said at the end.
    """
    begin, notes = time.monotonic(), []
    found, wanted = find_pythons(os.environ)
    rows += [Row(line) for line in order_lines(lines)]
    for row in rows:
        python = choose_python(row.line.pythons, found, wanted)
        if python is None:
            why = no_python_fits(row.line, found)
            row.outcomes["environment"] = Outcome("failed" if explicit else "left out", why=why)
        parts = Parts(row, python or "", found)
        for part in list_parts(row.line):
            if part in row.outcomes:
                continue
            why = reason_to_leave_out(part, row.outcomes, time.monotonic() - begin, minutes)
            if part == "pythons" and not why and not {*other_pythons(row.line, python or "")} & found.keys():
                why = "this machine has no other Python of its modules"
            if why:
                row.outcomes[part] = Outcome("left out", why=why)
                continue
            print(f"\n== ansible-core {row.line.version}: {part}")
            row.outcomes[part] = run_part(parts, part)
        if row.line.sanity and python:
            missing = [version for version in other_pythons(row.line, python) if version not in found]
            if missing:
                notes.append(f"{row.line.version} pythons: Python {', '.join(missing)} is not on this machine")
    return notes


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tools/matrix.py")
    commands = parser.add_subparsers(dest="command", required=True)
    by_version, by_name = {line.version: line for line in LINES}, {line.name: line for line in LINES}
    runs = commands.add_parser(
        "run", prog="tools/matrix", description="Run the checks of the matrix on lines of ansible-core."
    )
    runs.add_argument("lines", metavar="LINE", nargs="*", help="such as 2.20; without a line, all")
    runs.add_argument("--minutes", type=float, help="start nothing after this time")
    commands.add_parser("python").add_argument("name", choices=by_name)
    commands.add_parser("locks")
    options = parser.parse_args(arguments)

    if options.command == "locks":
        print(
            *(f"{line.name} {min(line.pythons, key=version_key)}" for line in LINES if not line.environment), sep="\n"
        )
        return 0
    if options.command == "python":
        line = by_name[options.name]
        found, wanted = find_pythons(os.environ)
        python = choose_python(line.pythons, found, wanted)
        print(found[python] if python else no_python_fits(line, found), file=sys.stdout if python else sys.stderr)
        return 0 if python else LEFT_OUT

    if unknown := [version for version in options.lines if version not in by_version]:
        runs.error(f"no such line: {', '.join(unknown)}; the lines are {', '.join(by_version)}")
    lines = [line for line in LINES if line.version in options.lines or not options.lines]
    rows: list[Row] = []
    notes: list[str] = []
    try:
        notes = run_lines(lines, rows, options.minutes, explicit=bool(options.lines))
        status = decide_status(rows)
    except KeyboardInterrupt:
        status = INTERRUPTED
    heading = {0: "all passed", LEFT_OUT: "all passed, except for what was left out", FAILED: "FAILED"}
    print(f"\n== {heading.get(status, 'interrupted')}\n{format_table(rows)}", *list_reasons(rows), *notes, sep="\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
