# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Slurm cluster of one machine, this one, from Debian's packages.

with running_cluster() as cluster:
    cluster.run("sbatch", "--wrap", "hostname")

munged, slurmctld and slurmd are our own children, with their files in one folder and free ports of the loopback: no
service of the system is touched. As a program it is a cluster to play with, up to Ctrl-C:

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

USERS = ("nobody", "root")  # accounts that every Debian has, so that none is made and left
ATTEMPTS = 5  # with other ports, when somebody took ours between our choice and the daemons' start
START_SECONDS = 120.0
POLITE_SECONDS = 1.0  # for the jobs at the end; the rest is killed, which Slurm itself does after 5 s at the earliest
CANCEL_SECONDS = 60.0  # for Slurm to notice

# `config_overrides` has it believe in four CPUs wherever it runs. No cgroups, and no accounting: they would need more
# of the system than its root. CommunicationParameters keep both daemons on the loopback.
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
    """A cluster that takes jobs. What runs in the partition `closed` waits in the queue until it is opened."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """With the mark by which the launcher of the hubs finds what is left of them, and we what is left of this."""
        return {**local_hub.clean_environment(), "SLURM_CONF": str(self.config), hub_processes.MARK: str(self.folder)}

    @property
    def homes(self) -> Path:
        """The homes on this cluster, each named as its user: those of the accounts are left alone."""
        return self.folder / "homes"

    @property
    def watchful(self) -> Path:
        """A file: while it is there, the hubs look by themselves what has become of their jobs."""
        return self.folder / "watchful"

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's programs as the cluster's admin, whatever comes of it."""
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, check=False, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def run(self, *command: str) -> str:
        """Run one of Slurm's programs, which must succeed; its output."""
        done = self.ask(*command)
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def idle(self) -> bool:
        """Whether its one node waits for jobs."""
        return self.ask("sinfo", "--noheader", "--partition=normal", "--format=%T").stdout.strip() == "idle"

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job, also of one that has ended: its Account, JobState, TimeLimit and so on."""
        words = shlex.split(self.run("scontrol", "--oneliner", "show", "job", number))
        return {name: value for name, equals, value in (word.partition("=") for word in words) if equals}

    def queue(self) -> list[str]:
        """The numbers of the jobs that run or wait."""
        return self.run("squeue", "--noheader", "--format=%i").split()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """The hubs find out by themselves what has become of their jobs, within the block."""
        self.watchful.touch()
        try:
            yield
        finally:
            self.watchful.unlink()

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """What waits in `closed` runs, if it comes to run within the block."""
        self.run("scontrol", "update", "partitionname=closed", "state=up")
        try:
            yield
        finally:
            self.run("scontrol", "update", "partitionname=closed", "state=down")

    @contextlib.contextmanager
    def reservation(self, name: str, account: str) -> Iterator[None]:
        """The whole cluster is kept for the jobs of this account, for the time of the block."""
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
    """A cluster for the time of the block, and afterwards no process of it: no daemon, and no job."""
    # Not below pytest's folders: jobs run as somebody else, who must get at it.
    cluster, daemons = Cluster(Path(tempfile.mkdtemp(prefix="hubops-slurm-", dir="/tmp"))), []
    try:
        for _attempt in range(ATTEMPTS):
            if start(cluster, daemons):
                yield cluster
                return
            end(cluster, daemons)
        raise AssertionError(f"The cluster does not start:\n{output_of(cluster)}")
    finally:
        end(cluster, daemons)
        shutil.rmtree(cluster.folder)


def start(cluster: Cluster, daemons: list[subprocess.Popen[bytes]]) -> bool:
    """One try; False where one of them ended, as it does when its port is taken."""
    folder = cluster.folder
    prepare(cluster)

    def launch(*command: str) -> None:
        with (folder / f"{command[0]}.output").open("w") as output:
            daemons.append(
                subprocess.Popen(command, env=cluster.environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=output, start_new_session=True)
            )  # fmt: skip

    def came(sign: Callable[[], bool]) -> bool:
        """Whether the sign was seen while all of them ran."""
        hub_processes.wait_until(lambda: sign() or ended(daemons), START_SECONDS)
        return sign() and not ended(daemons)

    key, log, pid, seed = (f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "log", "pid", "seed"))
    launch("munged", "--foreground", f"--socket={folder}/munge.socket", key, log, pid, seed)
    if not came((folder / "munge.socket").exists):
        return False
    launch("slurmctld", "-D")
    launch("slurmd", "-D")
    return came(cluster.idle)


def prepare(cluster: Cluster) -> None:
    """Everything that the daemons read."""
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


def ended(daemons: list[subprocess.Popen[bytes]]) -> bool:
    """Whether one of them did, or none was started."""
    return not daemons or any(daemon.poll() is not None for daemon in daemons)


def end(cluster: Cluster, daemons: list[subprocess.Popen[bytes]]) -> None:
    """First the jobs, by the cluster's own means if it answers, then whatever is left of them and of the daemons."""
    try:
        if not ended(daemons) and cluster.ask("squeue").returncode == 0 and cluster.queue():
            cluster.run("scancel", *cluster.queue())
            if not hub_processes.wait_until(lambda: not cluster.queue(), POLITE_SECONDS):
                for process in processes_of_jobs(cluster):
                    process.kill(signal.SIGKILL)
                hub_processes.wait_until(lambda: not cluster.queue(), CANCEL_SECONDS)
    finally:
        hub_processes.end_all(cluster.folder, None)
        for daemon in daemons:
            daemon.wait()
        daemons.clear()


def processes_of_jobs(cluster: Cluster) -> list[hub_processes.Process]:
    """What runs as a job, whoever has submitted it. A job gets the environment of its sbatch, and a number."""
    mark, found = os.fsencode(f"SLURM_CONF={cluster.config}"), []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            environment = (entry / "environ").read_bytes().split(b"\0")
            if mark in environment and any(each.startswith(b"SLURM_JOB_ID=") for each in environment):
                found.append(hub_processes.Process.find(int(entry.name)))
    return [process for process in found if process]


def output_of(cluster: Cluster) -> str:
    return "".join(f"{file.name}:\n{file.read_text()}" for file in sorted(cluster.folder.glob("*.output")))


def main() -> None:
    local_hub.heed_signals()
    with contextlib.suppress(local_hub.Interrupted), running_cluster() as cluster:
        print(f"export SLURM_CONF={cluster.config}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
