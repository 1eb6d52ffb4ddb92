# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Without Chromium, `make unit` says in one line that the tests in a browser were left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chromium import NAMES
from support.hubs import REPOSITORY
from support.missing_programs import link_programs, run_tool, write_program

NOT_INSTALLED = "Chromium is not installed: tools/chromium --install installs Debian's package."


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the programs of this machine, except for Chromium and apt-get."""
    return link_programs(tmp_path / "bin", without=NAMES)


def test_what_cannot_be_installed_has_its_reason(programs: Path) -> None:
    looked = run_tool(programs, "tools/chromium", "--look")
    assert (looked.status, looked.output) == (3, f"{NOT_INSTALLED}\n")
    write_program(programs, "id", "echo 1000")
    done = run_tool(programs, "tools/chromium", "--install")
    assert (done.status, done.stdout.partition(":")[0]) == (3, "Chromium cannot be installed without root")
    write_program(programs, "id", "echo 0")
    done = run_tool(programs, "tools/chromium", "--install")
    assert (done.status, done.stdout.partition(":")[0]) == (3, "Chromium cannot be installed here")
    write_program(programs, "apt-get", "echo 'E: Unable to locate package chromium' >&2; exit 100")
    done = run_tool(programs, "tools/chromium", "--install")
    assert (done.status, done.stdout.partition("(")[0].strip()) == (
        3, "Chromium cannot be installed here: apt-get does not get all of chromium fonts-dejavu-core"
    )  # fmt: skip
    assert "Unable to locate package" in (REPOSITORY / ".build/chromium-install.log").read_text()


def test_what_is_installed_is_found(programs: Path) -> None:
    for name in NAMES:
        write_program(programs, name, "exit 0")
        assert [run_tool(programs, "tools/chromium", way).status for way in ("--look", "--install")] == [0, 0]
        (programs / name).unlink()


def test_the_end_names_the_tests_that_were_left_out(programs: Path) -> None:
    done = run_tool(programs, "tools/check", "unit", PYTEST_ADDOPTS="-k in_chromium")
    assert done.status == 0, done.output
    end = done.stdout.partition("== all passed")[2].splitlines()
    assert end[0] == ", except for what was left out"
    assert end[1] == f"unit         left out: the tests with Chromium. {NOT_INSTALLED}"
    assert " skipped in " in done.stdout
