# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Slurm tests own their daemons: however the tests end, none of their processes goes on."""

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
from support.playbooks import processes_using
from support.waiting import wait_until

DEFAULT_SIGNALS = (
    "env",
    "--default-signal=HUP,INT",
)  # also under nohup, or in a script's background


@contextlib.contextmanager
def interrupt_at_end(process: subprocess.Popen, number: signal.Signals) -> Iterator[None]:
    """Send the signal to the whole process group at the block's end, as a terminal and most CIs do."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has already ended, which the caller checks
            os.killpg(process.pid, number)
        try:
            process.wait(180)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)  # the test fails, but the processes must end nevertheless
            process.wait(180)
            raise


def all_run(folder: Path, *programs: str) -> bool:
    found = "".join(processes_using(folder).values())
    return all(program in found for program in programs)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name)
def test_a_cluster_that_is_interrupted_is_gone(number: signal.Signals) -> None:
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}
    command = [*DEFAULT_SIGNALS, sys.executable, "-m", "slurm.cluster"]
    job_that_ignores_term = "#!/bin/sh\n#SBATCH --output=/dev/null\ntrap '' TERM\nwhile :; do sleep 1; done\n"
    with (
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True) as process,
        interrupt_at_end(process, number),
    ):
        line = process.stdout.readline().strip()
        assert line, "the cluster did not start"
        cluster = Cluster(Path(line.removeprefix("export SLURM_CONF=")).parent)
        submit = ["runuser", "-u", "nobody", "--", "sbatch"]
        subprocess.run(submit, input=job_that_ignores_term, env=cluster.environment, cwd="/", check=True, text=True)
        wait_until(
            lambda: all_run(cluster.folder, "munged ", "slurmctld ", "slurmd ", "slurmstepd", "/slurm_script"), 180
        )
    assert process.returncode == 0
    assert processes_using(cluster.folder) == {}
    assert not cluster.folder.exists()


def test_nothing_is_left_of_a_run_after_ctrl_c(tmp_path: Path, hub_61: Hub) -> None:
    """The command of `make test-slurm`, while a server runs as a job. The fixture's hub has installed what it needs."""
    command = [
        *DEFAULT_SIGNALS,
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
        interrupt_at_end(process, signal.SIGINT),
    ):
        wanted = ("jupyterhub --config", "configurable-http-proxy", "tiny_server.py")
        wait_until(lambda: all_run(tmp_path, *wanted) or process.poll() is not None, 300)
        assert process.returncode is None, log.read_text()
        folder = Path(re.search(r"/tmp/hubops-slurm-\w+", "".join(processes_using(tmp_path).values()))[0])
        assert all_run(folder, "munged ", "slurmctld ", "slurmd ")
    assert process.returncode == 2, log.read_text()  # pytest's status for an interruption
    assert processes_using(tmp_path) == {}
    assert processes_using(folder) == {}
    assert not folder.exists()
