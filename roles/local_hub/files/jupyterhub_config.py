# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a disposable hub, which local_hub.py starts: it leaves the parameters in the state folder."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from jupyterhub.auth import Authenticator
from sqlalchemy import event
from sqlalchemy.engine import Engine

here = Path(__file__).resolve().parent
state = Path(os.environ["LOCAL_HUB_STATE"])
parameters = json.loads((state / "parameters.json").read_text())
admin_token = (state / "admin.token").read_text().strip()

c = get_config()  # noqa: F821  # pylint: disable=undefined-variable

# Everything listens on the loopback only: the public port, the proxy's API, the hub, the servers.
ports = parameters["ports"]
c.JupyterHub.bind_url = f"http://127.0.0.1:{ports['public']}{parameters['base_url']}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{ports['hub']}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{ports['proxy_api']}"
# Node by its own path: the node that installed the proxy is the one that runs it, whatever is first on PATH.
c.ConfigurableHTTPProxy.command = parameters["proxy_command"]


@event.listens_for(Engine, "connect")
def write_at_once(connection, record):
    """A disposable hub is to survive its own death, not the machine's: nothing waits for the disk."""
    connection.execute("PRAGMA synchronous = OFF")


c.JupyterHub.db_url = f"sqlite:///{state}/jupyterhub-{parameters['version']}.sqlite"
c.JupyterHub.cookie_secret_file = str(state / "cookie_secret")
# Light servers end with the hub: to stop thousands of them one by one first would only take its time.
c.JupyterHub.cleanup_servers = parameters["spawner"] != "light"
c.JupyterHub.cleanup_proxy = True
c.JupyterHub.allow_named_servers = True
c.JupyterHub.trust_user_provided_tokens = True  # ours is random: without 16384 rounds of hashing for each request
admin_service = {"name": "admin", "admin": True, "api_token": admin_token}
c.JupyterHub.services = [admin_service]

# A person may log in under any name. The password keeps other accounts of this machine out: a server runs code as us.
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = admin_token
if "allow_all" in Authenticator.class_trait_names():  # 5.0 closed the door by default, 4.1 does not know the option
    c.Authenticator.allow_all = True

c.Spawner.ip = "127.0.0.1"
c.Spawner.env_keep = ["PATH", "LANG", "LC_ALL", "LOCAL_HUB_STATE"]  # the mark by which `stop` finds servers and kernels
if parameters["spawner"] == "light":
    sys.path.insert(0, str(here))
    c.JupyterHub.spawner_class = "light_spawner.LightSpawner"
else:
    c.JupyterHub.spawner_class = "simple"
    c.SimpleLocalProcessSpawner.home_dir_template = str(state / "homes" / "{username}")
    c.Spawner.http_timeout = 120  # a busy machine takes more than the 30 s that are the default
    c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
    c.Spawner.environment = {"JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"}
    # Kernels and files are what the collection uses; terminals only cost time at the start.
    c.Spawner.args = ["--ServerApp.jpserver_extensions={'jupyter_server_terminals': False}"]
    if os.geteuid() == 0:
        c.Spawner.args.append("--allow-root")

if parameters["config"]:
    extra = Path(parameters["config"])
    # The caller's own file, with the values so far in `c`, which traitlets' load_subconfig would not show it.
    names = {"c": c, "get_config": lambda: c, "__file__": str(extra)}
    exec(compile(extra.read_text(), str(extra), "exec"), names)  # noqa: S102

# If that file has set a list of services of its own, the launcher must not lose its key.
if admin_service not in c.JupyterHub.services:
    c.JupyterHub.services.append(admin_service)
