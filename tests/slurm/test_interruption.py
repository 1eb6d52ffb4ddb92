# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""These tests own their daemons: however they end, nothing of theirs runs on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm.cluster import Cluster
from support.hubs import REPOSITORY, Hub
from support.playbooks import eventually, processes_of

HEEDFUL = ("env", "--default-signal=HUP,INT")  # also if these tests run under nohup, or in the background of a script


@contextlib.contextmanager
def interrupted(process: subprocess.Popen, number: signal.Signals) -> Iterator[None]:
    """At the end of the block, whatever comes of it. The whole group, as a terminal does it and most CIs."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself, which the caller is to find
            os.killpg(process.pid, number)
        try:
            process.wait(180)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)  # what this was to prove it did not, but it is to end all the same
            process.wait(180)
            raise


def runs(folder: Path, *programs: str) -> bool:
    found = "".join(processes_of(folder).values())
    return all(program in found for program in programs)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name)
def test_a_cluster_that_is_interrupted_is_gone(number: signal.Signals) -> None:
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}
    command = [*HEEDFUL, sys.executable, "-m", "slurm.cluster"]
    stubborn = "#!/bin/sh\n#SBATCH --output=/dev/null\ntrap '' TERM\nwhile :; do sleep 1; done\n"
    with (
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True) as process,
        interrupted(process, number),
    ):
        said = process.stdout.readline().strip()
        assert said, "the cluster did not start"
        cluster = Cluster(Path(said.removeprefix("export SLURM_CONF=")).parent)
        submit = ["runuser", "-u", "nobody", "--", "sbatch"]
        subprocess.run(submit, input=stubborn, env=cluster.environment, cwd="/", check=True, text=True)
        eventually(lambda: runs(cluster.folder, "munged ", "slurmctld ", "slurmd ", "slurmstepd", "/slurm_script"), 180)
    assert process.returncode == 0
    assert processes_of(cluster.folder) == {}
    assert not cluster.folder.exists()


def test_nothing_is_left_of_a_run_after_ctrl_c(tmp_path: Path, hub_61: Hub) -> None:
    """The command of `make test-slurm`, while a server runs as a job. Our own hub has installed what it needs."""
    command = [
        *HEEDFUL,
        "tools/slurm",
        "tests/slurm/test_slurm.py",
        "-k",
        "left_out and 6.1",
        "--basetemp",
        str(tmp_path / "run"),
    ]
    log = tmp_path / "run.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        ) as process,
        interrupted(process, signal.SIGINT),
    ):
        wanted = ("jupyterhub --config", "configurable-http-proxy", "tiny_server.py")
        eventually(lambda: runs(tmp_path, *wanted) or process.poll() is not None, 300)
        assert process.returncode is None, log.read_text()
        folder = Path(re.search(r"/tmp/hubops-slurm-\w+", "".join(processes_of(tmp_path).values()))[0])
        assert runs(folder, "munged ", "slurmctld ", "slurmd ")
    assert process.returncode == 2, log.read_text()  # pytest's word for an interruption
    assert processes_of(tmp_path) == {}
    assert processes_of(folder) == {}
    assert not folder.exists()
