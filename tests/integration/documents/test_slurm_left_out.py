# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the Slurm tests cannot run, `make test` says so in one line, and counts them as neither failed nor passed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.hubs import REPOSITORY
from support.playbooks import ProgramResult, run_program

PACKAGES = "munge python3 slurm-client slurmctld slurmd"
NOT_ROOT = f"Slurm's tests need root, and Debian's packages {PACKAGES}: run sudo make test-slurm.\n"


class Machine:
    """This machine, but a test decides about Slurm, apt-get and root."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        programs.mkdir()
        for folder in os.environ["PATH"].split(":"):
            for program in Path(folder).glob("*"):
                if program.name not in ("sbatch", "apt-get", "id") and not (programs / program.name).exists():
                    (programs / program.name).symlink_to(program)
        self.has("id", "echo 0")

    def has(self, program: str, script: str) -> None:
        (self.programs / program).unlink(missing_ok=True)  # not through the link, which would change the real program
        (self.programs / program).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / program).chmod(0o755)

    def run(self, *command: str, **more: str) -> ProgramResult:
        return run_program(command, REPOSITORY, {**os.environ, "PATH": str(self.programs), **more})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "bin")


@pytest.mark.parametrize("arguments", [[], ["--install"], ["--look"]])
def test_without_root(machine: Machine, arguments: list[str]) -> None:
    machine.has("id", "echo 1000")
    done = machine.run("tools/slurm", *arguments)
    assert (done.status, done.output) == (3, NOT_ROOT)


def test_without_a_package_manager(machine: Machine) -> None:
    looked, installed = machine.run("tools/slurm", "--look"), machine.run("tools/slurm", "--install")
    sentence = f"Slurm is not installed: make test-slurm installs Debian's packages {PACKAGES}.\n"
    assert (looked.status, looked.output) == (3, sentence)
    sentence = "Slurm cannot be installed here: there is no apt-get. Run this on a Debian.\n"
    assert (installed.status, installed.output) == (3, sentence)


def test_without_the_packages(machine: Machine) -> None:
    machine.has("apt-get", "echo 'E: Unable to locate package slurmd' >&2; exit 100")
    done = machine.run("tools/slurm", "--install")
    assert (done.status, done.stderr) == (3, f"Installing {PACKAGES} ...\n")
    assert done.stdout.startswith("Slurm cannot be installed here: apt-get does not get all of ")
    assert "Unable to locate package" in (REPOSITORY / ".build/slurm-install.log").read_text()


def test_make_test_goes_on_and_says_what_was_left_out(machine: Machine) -> None:
    machine.has("id", "echo 1000")
    done = machine.run("tools/check", "slurm")
    assert done.status == 0, done.output
    end = done.stdout.partition("== all passed")[2].splitlines()
    assert end[0] == ", except for what was left out"
    assert end[1] == f"slurm        left out: {NOT_ROOT.strip()}"


def test_a_failure_is_a_failure(machine: Machine) -> None:
    """Slurm seems to be installed, but does not run."""
    for program in ("munged", "sbatch", "slurmctld", "slurmd"):
        machine.has(program, "exit 1")
    done = machine.run("tools/check", "slurm", PYTEST_ADDOPTS="-k seed")
    assert done.status == 1, done.output
    assert "The cluster does not start" in done.output
    assert "== all passed" not in done.output
