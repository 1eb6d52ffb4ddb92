# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Slurm cluster with one node, this machine, from Debian's packages.

with running_cluster() as cluster:
    cluster.run("sbatch", "--wrap", "hostname")

munged, slurmctld and slurmd are child processes of the tests, with their files in one folder and with free ports of the
loopback. No service of the system is touched. As a program it starts a cluster to play with, until Ctrl-C:

    PYTHONPATH=tests python -m slurm.cluster
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from support.hubs import hub_processes, local_hub

USERS = ("nobody", "root")  # accounts that every Debian has, so that the tests create none
ATTEMPTS = 5  # each with other ports, in case another program takes the chosen ones before the daemons start
START_SECONDS = 120.0
POLITE_SECONDS = 1.0  # for the jobs at the end; then they are killed, which Slurm itself does after 5 s at the earliest
CANCEL_SECONDS = 60.0  # for Slurm to notice that jobs are killed

# With `config_overrides` Slurm takes the machine for one with four CPUs. There are no cgroups and no accounting, which
# need more of the system than root. CommunicationParameters keep both daemons on the loopback.
CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
ReturnToService=2
StateSaveLocation={folder}/slurmctld
SlurmdSpoolDir={folder}/slurmd
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=5
SlurmdParameters=config_overrides
MpiDefault=none
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=normal Nodes=ALL Default=YES MaxTime=01:00:00 DefaultTime=00:10:00 State=UP
PartitionName=closed Nodes=ALL MaxTime=01:00:00 State=DOWN
"""


@dataclass(frozen=True)
class Cluster:
    """A cluster that accepts jobs. A job in the partition `closed` waits in the queue until the partition is opened."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of Slurm's programs, with the mark by which leftover processes of the cluster are found."""
        return {**local_hub.clean_environment(), "SLURM_CONF": str(self.config), hub_processes.MARK: str(self.folder)}

    @property
    def homes(self) -> Path:
        """The users' homes on this cluster, each named like its user. The homes of the accounts are not used."""
        return self.folder / "homes"

    @property
    def polling_file(self) -> Path:
        """The path of a file. While it exists, the hubs poll their jobs."""
        return self.folder / "polling"

    def run_unchecked(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's programs as the cluster's admin. It may fail."""
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, check=False, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def run(self, *command: str) -> str:
        """Run one of Slurm's programs, which must succeed. Returns its output."""
        done = self.run_unchecked(*command)
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def is_idle(self) -> bool:
        """Whether the node waits for jobs."""
        return self.run_unchecked("sinfo", "--noheader", "--partition=normal", "--format=%T").stdout.strip() == "idle"

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows about a job, also after its end: its Account, JobState, TimeLimit and so on."""
        words = shlex.split(self.run("scontrol", "--oneliner", "show", "job", number))
        return {name: value for name, equals, value in (word.partition("=") for word in words) if equals}

    def queue(self) -> list[str]:
        """The numbers of the jobs that run or wait."""
        return self.run("squeue", "--noheader", "--format=%i").split()

    @contextlib.contextmanager
    def let_hubs_poll(self) -> Iterator[None]:
        """For the time of the block the hubs poll their jobs."""
        self.polling_file.touch()
        try:
            yield
        finally:
            self.polling_file.unlink()

    @contextlib.contextmanager
    def open_closed_partition(self) -> Iterator[None]:
        """Open the partition `closed` for the time of the block."""
        self.run("scontrol", "update", "partitionname=closed", "state=up")
        try:
            yield
        finally:
            self.run("scontrol", "update", "partitionname=closed", "state=down")

    @contextlib.contextmanager
    def reservation(self, name: str, account: str) -> Iterator[None]:
        """Reserve the whole cluster for the jobs of this account, for the time of the block."""
        self.run(
            "scontrol", "create", "reservation", f"reservationname={name}", f"accounts={account}", "nodes=ALL",
            "starttime=now", "duration=10",
        )  # fmt: skip
        try:
            yield
        finally:
            self.run("scontrol", "delete", f"reservationname={name}")


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster for the time of the block. Afterwards no daemon and no job of it runs."""
    # Not below pytest's folders: jobs run as another user, who must be able to read it.
    cluster, daemons = Cluster(Path(tempfile.mkdtemp(prefix="hubops-slurm-", dir="/tmp"))), []
    try:
        for _attempt in range(ATTEMPTS):
            if start(cluster, daemons):
                yield cluster
                return
            end(cluster, daemons)
        raise AssertionError(f"The cluster does not start:\n{read_output(cluster)}")
    finally:
        end(cluster, daemons)
        shutil.rmtree(cluster.folder)


def start(cluster: Cluster, daemons: list[subprocess.Popen[bytes]]) -> bool:
    """Try once to start the daemons. Returns False if one of them ended, as it does when its port is taken."""
    folder = cluster.folder
    prepare(cluster)

    def launch(*command: str) -> None:
        with (folder / f"{command[0]}.output").open("w") as output:
            daemons.append(
                subprocess.Popen(command, env=cluster.environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=output, start_new_session=True)
            )  # fmt: skip

    def is_up(sign: Callable[[], bool]) -> bool:
        """Wait for the sign. Returns whether it came while all daemons ran."""
        hub_processes.wait_until(lambda: sign() or has_ended(daemons), START_SECONDS)
        return sign() and not has_ended(daemons)

    key, log, pid, seed = (f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "log", "pid", "seed"))
    launch("munged", "--foreground", f"--socket={folder}/munge.socket", key, log, pid, seed)
    if not is_up((folder / "munge.socket").exists):
        return False
    launch("slurmctld", "-D")
    launch("slurmd", "-D")
    return is_up(cluster.is_idle)


def prepare(cluster: Cluster) -> None:
    """Write everything that the daemons read."""
    folder = cluster.folder
    folder.chmod(0o755)
    for user in USERS:
        (cluster.homes / user).mkdir(parents=True, exist_ok=True)
        shutil.chown(cluster.homes / user, user)
    for name in ("slurmctld", "slurmd"):
        (folder / name).mkdir(exist_ok=True)
    with os.fdopen(os.open(folder / "munge.key", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as key:
        key.write(os.urandom(64))
    ctld_port, slurmd_port = local_hub.free_ports(2)
    host = socket.gethostname().partition(".")[0]
    config = CONFIG.format(folder=folder, host=host, ctld_port=ctld_port, slurmd_port=slurmd_port)
    cluster.config.write_text(config.lstrip())


def has_ended(daemons: list[subprocess.Popen[bytes]]) -> bool:
    """Whether one of the daemons has ended, or none was started."""
    return not daemons or any(daemon.poll() is not None for daemon in daemons)


def end(cluster: Cluster, daemons: list[subprocess.Popen[bytes]]) -> None:
    """End the jobs, through Slurm if it answers, and then all that is left of them and of the daemons."""
    try:
        if not has_ended(daemons) and cluster.run_unchecked("squeue").returncode == 0 and cluster.queue():
            cluster.run("scancel", *cluster.queue())
            if not hub_processes.wait_until(lambda: not cluster.queue(), POLITE_SECONDS):
                for process in find_job_processes(cluster):
                    process.kill(signal.SIGKILL)
                hub_processes.wait_until(lambda: not cluster.queue(), CANCEL_SECONDS)
    finally:
        hub_processes.end_all(cluster.folder, None)
        for daemon in daemons:
            daemon.wait()
        daemons.clear()


def find_job_processes(cluster: Cluster) -> list[hub_processes.Process]:
    """The processes that run as jobs. A job gets the environment of its sbatch, and its number in SLURM_JOB_ID."""
    mark, found = os.fsencode(f"SLURM_CONF={cluster.config}"), []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has ended
            environment = (entry / "environ").read_bytes().split(b"\0")
            if mark in environment and any(each.startswith(b"SLURM_JOB_ID=") for each in environment):
                found.append(hub_processes.Process.find(int(entry.name)))
    return [process for process in found if process]


def read_output(cluster: Cluster) -> str:
    return "".join(f"{file.name}:\n{file.read_text()}" for file in sorted(cluster.folder.glob("*.output")))


def main() -> None:
    local_hub.heed_signals()
    with contextlib.suppress(local_hub.Interrupted), running_cluster() as cluster:
        print(f"export SLURM_CONF={cluster.config}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
