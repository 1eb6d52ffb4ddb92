# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Without Prometheus, `make unit` and `make test` say in one line that the tests with it were left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hubs import REPOSITORY
from support.missing_programs import link_programs, run_tool, write_program
from support.monitoring import PROGRAMS

NOT_INSTALLED = "Prometheus is not installed: tools/monitoring --install installs Debian's packages."
PACKAGES = "prometheus prometheus-node-exporter prometheus-pushgateway"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the programs of this machine, except for those of Prometheus and apt-get."""
    return link_programs(tmp_path / "bin", without=PROGRAMS)


def test_what_cannot_be_installed_has_its_reason(programs: Path) -> None:
    looked = run_tool(programs, "tools/monitoring", "--look")
    assert (looked.status, looked.output) == (3, f"{NOT_INSTALLED}\n")
    write_program(programs, "id", "echo 1000")
    done = run_tool(programs, "tools/monitoring", "--install")
    assert (done.status, done.stdout.partition(":")[0]) == (3, "Prometheus cannot be installed without root")
    write_program(programs, "id", "echo 0")
    done = run_tool(programs, "tools/monitoring", "--install")
    assert (done.status, done.stdout.partition(":")[0]) == (3, "Prometheus cannot be installed here")
    write_program(programs, "apt-get", "echo 'E: Unable to locate package prometheus' >&2; exit 100")
    done = run_tool(programs, "tools/monitoring", "--install")
    assert (done.status, done.stdout.partition("(")[0].strip()) == (
        3, f"Prometheus cannot be installed here: apt-get does not get all of {PACKAGES}"
    )  # fmt: skip
    assert "Unable to locate package" in (REPOSITORY / ".build/monitoring-install.log").read_text()


def test_what_is_installed_is_found(programs: Path) -> None:
    """Only if all programs are."""
    for number, name in enumerate(PROGRAMS, 1):
        write_program(programs, name, "exit 0")
        assert run_tool(programs, "tools/monitoring", "--look").status == (0 if number == len(PROGRAMS) else 3)
    assert run_tool(programs, "tools/monitoring", "--install").status == 0


@pytest.mark.parametrize("part", ["unit", "integration"])
def test_the_end_names_the_tests_that_were_left_out(programs: Path, part: str) -> None:
    some = {"unit": "promtool", "integration": "grafana_dashboard and numbers_on_top"}[part]
    done = run_tool(programs, "tools/check", part, PYTEST_ADDOPTS=f"-k '{some}'", WORKERS="1")
    assert done.status == 0, done.output
    end = done.stdout.partition("== all passed")[2].splitlines()
    assert end[0] == ", except for what was left out"
    assert f"{part:12} left out: the tests with Prometheus. {NOT_INSTALLED}" in end
    assert " skipped in " in done.stdout
