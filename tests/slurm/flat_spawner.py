# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a hub: batchspawner as a computing centre configures it, with options that users may choose.

A value is a list with one item, as a form sends it:
{"account": ["test-group"], "reservation": [""], "runtime": ["00:05:00"]}.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
from typing import Any

from batchspawner import JobStatus, SlurmSpawner
from tornado.ioloop import PeriodicCallback
from tornado.web import HTTPError
from traitlets import Unicode, default

OPTIONS = {
    "account": r"[A-Za-z0-9_-]*",
    "partition": r"[A-Za-z0-9_-]*",
    "reservation": r"[A-Za-z0-9_-]*",
    "runtime": r"(\d\d:\d\d:\d\d)?",
}
POLL_SECONDS = 0.1  # between two polls of a job that is about to change
CANCEL_POLLS = 10
SCRIPT = """#!/bin/sh
#SBATCH --job-name=jupyter
#SBATCH --output={{homedir}}/job-%j.log
#SBATCH --chdir={{homedir}}
#SBATCH --export={{keepvars}}
{% if account %}#SBATCH --account={{account}}
{% endif %}{% if partition %}#SBATCH --partition={{partition}}
{% endif %}{% if reservation %}#SBATCH --reservation={{reservation}}
{% endif %}{% if runtime %}#SBATCH --time={{runtime}}
{% endif %}
exec {{cmd}}
"""


def apply_user_options(spawner: FlatSlurmSpawner, user_options: dict[str, Any]) -> None:
    """Set the variables of the script from the options. A variable without an option is reset to an empty one."""
    unknown = sorted(set(user_options) - set(OPTIONS))
    if unknown:
        raise HTTPError(400, f"unknown option {unknown[0]}")
    for name, pattern in OPTIONS.items():
        given = user_options.get(name, [""])
        if not isinstance(given, list) or len(given) != 1 or not re.fullmatch(pattern, str(given[0])):
            raise HTTPError(400, f"bad value for option {name}")
        setattr(spawner, f"req_{name}", given[0])


class FlatSlurmSpawner(SlurmSpawner):
    ip = Unicode("127.0.0.1").tag(config=True)  # batchspawner uses the default and ignores c.Spawner.ip
    homes = Unicode(help="The folder with the users' homes on the cluster.").tag(config=True)
    jupyter = Unicode(help="The folder with the programs of a real server, which root gets.").tag(config=True)
    tiny_server = Unicode(help="The program that all other users get.").tag(config=True)
    polling_file = Unicode(help="The path of a file. The hub polls its jobs only while it exists.").tag(config=True)

    @default("req_homedir")
    def _homedir(self) -> str:
        return f"{self.homes}/{self.user.name}"

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        return {**super().user_env(env), "HOME": self.req_homedir}

    def state_gethost(self) -> str:
        return "127.0.0.1"

    def cmd_formatted_for_batch(self) -> str:
        command = ["/usr/bin/python3", self.tiny_server]
        if self.user.name == "root":  # only root can reach an environment in any folder
            command = [f"{self.jupyter}/batchspawner-singleuser", f"{self.jupyter}/jupyterhub-singleuser"]
        return shlex.join([*command, *self.get_args()])

    async def query_job_status(self) -> JobStatus:
        # A DELETE that interrupts a start makes batchspawner 1.3.0 kill its squeue, and take this as Slurm's answer
        # that there is no such job. It then forgets the job, which stays in the queue for ever. So squeue must finish.
        return await asyncio.shield(super().query_job_status())

    async def cancel_batch_job(self) -> None:
        # batchspawner polls right after its scancel, and again a second later. Most jobs take some milliseconds to end.
        job_id = self.job_id
        await super().cancel_batch_job()
        for _look in range(CANCEL_POLLS):
            if self.job_id != job_id or await self.query_job_status() != JobStatus.RUNNING:
                break
            await asyncio.sleep(POLL_SECONDS)

    def start_polling(self) -> None:
        """Poll at the poll_interval, but only while a test wants the hub to find out what happened to its servers."""
        self.stop_polling()
        self._poll_callback = PeriodicCallback(self._poll_if_wanted, self.poll_interval * 1000)
        self._poll_callback.start()

    async def _poll_if_wanted(self) -> None:
        if os.path.exists(self.polling_file):
            await self.poll_and_notify()

    async def _get_batch_script(self, **variables: Any) -> str:
        # batchspawner replaces every variable with the user option of its name, unchecked: also the command itself.
        owned = {**variables, **self.get_req_subvars(), "cmd": self.cmd_formatted_for_batch()}
        return await super()._get_batch_script(**owned)


def configure(c: Any, slurm_config: str, homes: str, jupyter: str, tiny_server: str, polling_file: str) -> None:
    """Configure a hub that runs as root and runs each user's jobs as the account of that name."""
    os.environ["SLURM_CONF"] = slurm_config
    c.JupyterHub.spawner_class = FlatSlurmSpawner
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
    c.Spawner.apply_user_options = apply_user_options
    c.Spawner.env_keep = [*c.Spawner.env_keep, "SLURM_CONF"]
    c.Spawner.poll_interval = 1
    c.Spawner.start_timeout = 300
    c.Spawner.http_timeout = 120
    c.BatchSpawnerBase.startup_poll_interval = POLL_SECONDS
    c.BatchSpawnerBase.exec_prefix = "runuser -u {username} --"
    c.SlurmSpawner.batch_script = SCRIPT
    c.FlatSlurmSpawner.homes = homes
    c.FlatSlurmSpawner.jupyter = jupyter
    c.FlatSlurmSpawner.tiny_server = tiny_server
    c.FlatSlurmSpawner.polling_file = polling_file
