# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tools/matrix.py: which Python a line of ansible-core gets, what runs in which order, and what the end says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.programs import load_tool

ROOT = Path(__file__).resolve().parents[2]


matrix = load_tool("matrix")
LINES = {line.version: line for line in matrix.LINES}
PASSED = matrix.Outcome("passed", 12.4)
BROKEN = matrix.Outcome("failed", 3.6, "pytest ended with status 1")
NO_TIME = matrix.Outcome("left out", why="the time of 20 minutes was over")


def row_of(version: str, **outcomes: matrix.Outcome) -> matrix.Row:
    """A row of which all parts have passed, except for these."""
    line = LINES[version]
    return matrix.Row(line, f"{version}.1", "3.13.0", dict.fromkeys(matrix.list_parts(line), PASSED) | outcomes)


# The lines


def test_the_lines_and_those_with_sanity() -> None:
    assert list(LINES) == [f"2.{minor}" for minor in range(16, 23)]
    assert [version for version, line in LINES.items() if line.sanity] == ["2.16", "2.18", "2.20", "2.21", "2.22"]


def test_each_line_has_a_lock_of_its_own_ansible_core() -> None:
    for line in LINES.values():
        lock = (ROOT / "requirements" / f"{line.name}.txt").read_text()
        assert re.search(
            rf"^ansible-core=={re.escape(line.version)}\.[\w.]+ \\\n    --hash=sha256:", lock, re.MULTILINE
        )
    assert {line.name for line in LINES.values()} == {
        *(path.stem for path in ROOT.glob("requirements/core-*.in")),
        "run",
    }


def test_the_lock_of_a_line_begins_with_its_oldest_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert matrix.main(["locks"]) == 0
    assert capsys.readouterr().out.split() == [
        "core-2.16", "3.10", "core-2.17", "3.10", "core-2.18", "3.11", "core-2.20", "3.12", "core-2.21", "3.12",
        "core-2.22", "3.13",
    ]  # fmt: skip


def test_the_oldest_python_of_modules_is_that_of_the_settings_of_ansible_test() -> None:
    assert f'python_requires: ">={matrix.OLDEST_OF_MODULES}"' in (ROOT / "tests" / "config.yml").read_text()


# Pythons


@pytest.mark.parametrize(
    ("pythons", "found", "wanted", "chosen"),
    [
        (["3.11", "3.10", "3.12"], ["3.10", "3.11", "3.12", "3.13"], None, "3.11"),
        (["3.11", "3.10", "3.12"], ["3.12", "3.10"], None, "3.10"),
        (["3.14", "3.13"], ["3.10", "3.13"], None, "3.13"),
        (["3.12", "3.13"], ["3.10", "3.11"], None, None),
        (["3.12", "3.13"], [], None, None),
        (["3.12", "3.13"], ["3.12", "3.13"], "3.13", "3.13"),
        # It does not fit, or it is not there.
        (["3.12", "3.13"], ["3.11", "3.12"], "3.11", "3.12"),
        (["3.12", "3.13"], ["3.12"], "3.13", "3.12"),
    ],
)
def test_which_python_a_line_gets(pythons: list[str], found: list[str], wanted: str | None, chosen: str | None) -> None:
    assert matrix.choose_python(pythons, found, wanted) == chosen


def test_the_lines_together_run_on_each_python() -> None:
    found = ["3.10", "3.11", "3.12", "3.13", "3.14"]
    assert {matrix.choose_python(line.pythons, found) for line in LINES.values()} == set(found)


def test_the_other_pythons_of_modules() -> None:
    assert matrix.other_pythons(LINES["2.16"], "3.11") == ["3.10", "3.12"]
    assert matrix.other_pythons(LINES["2.20"], "3.12") == ["3.10", "3.11", "3.13", "3.14"]


def write_python(path: Path, version: str, status: int = 0) -> str:
    """A program that answers as a Python of this version, or that ends with a status as a shim of pyenv does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version.replace('.', ' ')} /real/python{version}\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


def test_pythons_are_found_on_path_and_below_pyenv(tmp_path: Path) -> None:
    write_python(tmp_path / "bin" / "python3.12", "3.98")
    write_python(tmp_path / "root" / "versions" / "3.97.1" / "bin" / "python3", "3.97")
    write_python(tmp_path / "home" / ".pyenv" / "versions" / "3.96.1" / "bin" / "python3", "3.96")
    write_python(tmp_path / "home" / ".pyenv" / "versions" / "3.97.2" / "bin" / "python3", "3.97")
    env = {"PATH": str(tmp_path / "bin"), "PYENV_ROOT": str(tmp_path / "root"), "HOME": str(tmp_path / "home")}
    found, wanted = matrix.find_pythons(env)
    assert {version: path for version, path in found.items() if version in ("3.96", "3.97", "3.98")} == {
        version: f"/real/python{version}" for version in ("3.96", "3.97", "3.98")
    }
    assert wanted is None


def test_a_python_that_does_not_run_does_not_count(tmp_path: Path) -> None:
    write_python(tmp_path / "python3.13", "3.99", status=127)
    (tmp_path / "python3.12").symlink_to(tmp_path / "nothing")
    found, _wanted = matrix.find_pythons({"PATH": str(tmp_path), "HOME": str(tmp_path)})
    assert "3.99" not in found


def test_the_python_of_the_user_comes_first(tmp_path: Path) -> None:
    theirs = write_python(tmp_path / "python", "3.99")
    found, wanted = matrix.find_pythons({"PYTHON": theirs, "PATH": "", "HOME": str(tmp_path)})
    assert (found["3.99"], wanted) == ("/real/python3.99", "3.99")
    assert next(iter(found)) == "3.99"
    broken = write_python(tmp_path / "broken", "3.99", status=1)
    assert matrix.find_pythons({"PYTHON": broken, "PATH": "", "HOME": str(tmp_path)})[1] is None


def test_this_python_is_found_by_its_real_path() -> None:
    version, path = matrix.inspect_python(sys.executable)
    assert version == "{}.{}".format(*sys.version_info)
    program = "import sys; print(sys.prefix == sys.base_prefix)"
    assert subprocess.run([path, "-c", program], check=True, capture_output=True, text=True).stdout == "True\n"


def test_an_environment_for_which_there_is_no_python(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(matrix, "find_pythons", lambda _environ: ({"3.10": "/a/python3.10", "3.9": "/b"}, None))
    assert matrix.main(["python", "core-2.17"]) == 0
    assert capsys.readouterr().out == "/a/python3.10\n"
    assert matrix.main(["python", "core-2.22"]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("ansible-core 2.22 needs Python 3.13, 3.14, 3.15; this machine has 3.9, 3.10. Install")


# Order and time


def test_the_newest_line_comes_first_and_then_the_oldest() -> None:
    def order(versions: Sequence[str]) -> list[str]:
        return [line.version for line in matrix.order_lines(LINES[version] for version in versions)]

    assert order(list(LINES)) == ["2.22", "2.16", "2.21", "2.20", "2.19", "2.18", "2.17"]
    assert order(["2.18", "2.20", "2.19"]) == ["2.20", "2.18", "2.19"]
    assert order(["2.18", "2.20"]) == ["2.20", "2.18"]
    assert order(["2.18"]) == ["2.18"]


def test_a_part_needs_another_and_time() -> None:
    outcomes = {"environment": PASSED, "install": BROKEN}
    assert matrix.reason_to_leave_out("environment", {}, 0, None) is None
    assert matrix.reason_to_leave_out("doors", outcomes, 1e9, None) is None
    assert matrix.reason_to_leave_out("doors", outcomes, 1199.9, 20) is None
    assert matrix.reason_to_leave_out("doors", outcomes, 1200, 20) == NO_TIME.why
    assert matrix.reason_to_leave_out("environment", {}, 0, 0) == "the time of 0 minutes was over"
    assert matrix.reason_to_leave_out("doc", outcomes, 0, 20) == "it needs the part install"
    assert matrix.reason_to_leave_out("doors", {"environment": NO_TIME}, 0, None) == "it needs the part environment"


def run_fake(
    monkeypatch: pytest.MonkeyPatch,
    *arguments: str,
    broken: Sequence[str] = (),
    found: Sequence[str] = ("3.11", "3.13"),
) -> tuple[int, list[str]]:
    """Run the matrix with parts that do nothing. Returns the exit status and the parts that ran."""
    ran = []

    def run_part(parts: matrix.Parts, part: str) -> matrix.Outcome:
        ran.append(f"{parts.row.line.version} {part} {parts.python}")
        return BROKEN if ran[-1] in broken else PASSED

    monkeypatch.setattr(matrix, "run_part", run_part)
    monkeypatch.setattr(matrix, "find_pythons", lambda _environ: (dict.fromkeys(found, "/"), None))
    return matrix.main(["run", *arguments]), ran


def test_a_part_that_fails_stops_only_those_that_need_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, ran = run_fake(monkeypatch, "2.22", "2.18", broken=["2.22 install 3.13"])
    assert status == 1
    assert ran == [
        *(f"2.22 {part} 3.13" for part in ("environment", "install", "doors", "sanity", "pythons")),
        *(f"2.18 {part} 3.11" for part in ("environment", "install", "doc", "syntax", "doors", "sanity", "pythons")),
    ]
    shown = capsys.readouterr().out
    assert "== FAILED\n" in shown
    assert (
        "\n2.22 install failed: pytest ended with status 1\n2.22 doc, syntax left out: it needs the part install\n"
        in shown
    )


def test_without_time_nothing_runs_and_nothing_looks_passed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, ran = run_fake(monkeypatch, "--minutes", "0")
    assert (status, ran) == (3, [])
    shown = capsys.readouterr().out
    assert "== all passed, except for what was left out\n" in shown
    assert shown.count("environment left out: the time of 0 minutes was over") == len(LINES)
    assert " s " not in shown.partition("line ")[2].partition("\n2.22 environment")[0]


def test_a_line_without_a_python_is_left_out_and_fails_if_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, ran = run_fake(monkeypatch, found=["3.10", "3.11"])
    assert status == 3
    assert {each.split()[0] for each in ran} == {"2.16", "2.17", "2.18", "2.19"}
    shown = capsys.readouterr().out
    for version in ("2.20", "2.21", "2.22"):
        assert f"\n{version} environment left out: ansible-core {version} needs Python 3." in shown
    status, ran = run_fake(monkeypatch, "2.20", found=["3.10", "3.11"])
    assert (status, ran) == (1, [])
    assert "\n2.20 environment failed: ansible-core 2.20 needs Python 3.12, 3.13, 3.14; this" in capsys.readouterr().out


def test_all_passes_and_the_pythons_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _ran = run_fake(monkeypatch, "2.20", found=["3.10", "3.12", "3.13"])
    assert status == 0
    shown = capsys.readouterr().out
    assert "== all passed\n" in shown
    assert shown.endswith("\n2.20 pythons: Python 3.11, 3.14 is not on this machine\n")


def test_without_another_python_that_part_does_not_look_passed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, ran = run_fake(monkeypatch, "2.20", found=["3.9", "3.12"])
    assert (status, ran[-1]) == (3, "2.20 sanity 3.12")
    assert "\n2.20 pythons left out: this machine has no other Python of its modules\n" in capsys.readouterr().out


def test_a_line_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        matrix.main(["run", "2.15"])
    assert ended.value.code == 2
    assert "no such line: 2.15; the lines are 2.16, 2.17" in capsys.readouterr().err


def test_after_ctrl_c_the_table_shows_what_ran(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(parts: matrix.Parts, part: str) -> matrix.Outcome:
        if part == "doors":
            raise KeyboardInterrupt
        return PASSED

    monkeypatch.setattr(matrix, "run_part", interrupt)
    monkeypatch.setattr(matrix, "find_pythons", lambda _environ: ({"3.12": "/"}, None))
    assert matrix.main(["run", "2.20"]) == 130
    table = capsys.readouterr().out.partition("== interrupted\n")[2]
    assert table.splitlines()[1].split() == ["2.20", "-", "-", *(["12", "s"] * 4), *("-" * 3)]


# The end


def test_the_exit_status() -> None:
    assert matrix.decide_status([row_of("2.16"), row_of("2.17")]) == 0
    assert matrix.decide_status([row_of("2.16"), row_of("2.17", doors=NO_TIME)]) == 3
    assert matrix.decide_status([row_of("2.16", doors=NO_TIME), row_of("2.17", doors=BROKEN)]) == 1
    assert matrix.decide_status([row_of("2.16"), matrix.Row(LINES["2.17"])]) == 3


def test_the_table() -> None:
    rows = [row_of("2.22", doors=BROKEN), row_of("2.19", doors=NO_TIME)]
    assert matrix.format_table(rows) == (
        "line  ansible-core  Python  environment  install  doc   syntax  doors       sanity  pythons\n"
        "2.22  2.22.1        3.13.0  12 s         12 s     12 s  12 s    FAILED 4 s  12 s    12 s\n"
        "2.19  2.19.1        3.13.0  12 s         12 s     12 s  12 s    left out    -       -"
    )


def test_why_parts_did_not_pass() -> None:
    rows = [row_of("2.22", doors=NO_TIME, sanity=NO_TIME, syntax=BROKEN), row_of("2.16"), row_of("2.19", doors=NO_TIME)]
    assert matrix.list_reasons(rows) == [
        "2.22 syntax failed: pytest ended with status 1",
        "2.22 doors, sanity left out: the time of 20 minutes was over",
        "2.19 doors left out: the time of 20 minutes was over",
    ]


def test_what_ansible_doc_shows_nothing_of() -> None:
    modules = {"a.b.c": {"doc": {"description": []}}, "a.b.d": {"doc": None}}
    assert matrix.list_undocumented("module", ["a.b.c", "a.b.d", "a.b.e"], modules) == ["a.b.d", "a.b.e"]
    roles = {"a.b.r": {"entry_points": {"main": {}}}, "a.b.s": {"entry_points": {}}, "a.b.t": {"error": "no such file"}}
    assert matrix.list_undocumented("role", [*roles], roles) == ["a.b.s", "a.b.t"]


def test_the_names_are_those_in_the_checkout() -> None:
    assert "hubops.jupyterhub.hub_user" in matrix.names_of("plugins/modules/*.py")
    assert matrix.names_of("plugins/filter/[!_]*.py") == ["hubops.jupyterhub.printable"]
    assert {"hubops.jupyterhub.verify", "hubops.jupyterhub.local_hub"} <= {
        *matrix.names_of("roles/*/meta/argument_specs.yml")
    }
    assert "hubops.jupyterhub.verify" in matrix.names_of("playbooks/*.yml")


def test_a_program_that_fails_fails_its_part(capfd: pytest.CaptureFixture[str]) -> None:
    row = matrix.Row(LINES["2.19"])
    parts = matrix.Parts(row, "3.11", {})
    parts.syntax = lambda: matrix.read(["sh", "-c", "echo shown; exit 4"], {"PATH": "/usr/bin:/bin"})
    outcome = matrix.run_part(parts, "syntax")
    assert (outcome.state, outcome.why) == ("failed", "sh ended with status 4")
    parts.doors = lambda: matrix.run(["sh", "-c", "echo seen; exit 5"], {"PATH": "/usr/bin:/bin"})
    assert matrix.run_part(parts, "doors").why == "sh ended with status 5"
    shown = capfd.readouterr().out
    assert "shown" in shown
    assert "seen" in shown
    parts.doc = lambda: matrix.read(["sh", "-c", "exit 0"], {"PATH": "/usr/bin:/bin"})
    assert matrix.run_part(parts, "doc").state == "passed"


def test_an_environment_with_another_ansible_core_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([".build/venv-2.20\n", "2.19.14 3.12.1\n"])
    monkeypatch.setattr(matrix, "read", lambda _command, _env: next(answers))
    outcome = matrix.run_part(matrix.Parts(matrix.Row(LINES["2.20"]), "3.12", {"3.12": "/"}), "environment")
    assert (outcome.state, outcome.why) == ("failed", "the environment has ansible-core 2.19.14")


# What ansible-test installs


def test_a_package_from_an_address_comes_from_the_index() -> None:
    wanted = "# edit\nastroid==4.0.1\ndill @ https://example.org/archive/23.zip#sha256=09\nisort==6.0.1\n"
    assert load_tool("sanity_home").without_addresses(wanted) == "# edit\nastroid==4.0.1\ndill\nisort==6.0.1\n"
