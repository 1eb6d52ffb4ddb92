# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a disposable hub. local_hub.py starts the hub and writes parameters.json to the state folder."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from jupyterhub.auth import Authenticator
from sqlalchemy import event
from sqlalchemy.engine import Engine

folder = Path(__file__).resolve().parent
state = Path(os.environ["LOCAL_HUB_STATE"])
parameters = json.loads((state / "parameters.json").read_text())
admin_token = (state / "admin.token").read_text().strip()

c = get_config()  # noqa: F821  # pylint: disable=undefined-variable

# Everything listens on the loopback only: the public port, the proxy's API, the hub, the servers.
ports = parameters["ports"]
c.JupyterHub.bind_url = f"http://127.0.0.1:{ports['public']}{parameters['base_url']}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{ports['hub']}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{ports['proxy_api']}"
# The command has the full path of node: the node that installed the proxy runs it, not the first one on PATH.
c.ConfigurableHTTPProxy.command = parameters["proxy_command"]


@event.listens_for(Engine, "connect")
def write_at_once(connection, record):
    """Do not wait for the disk. The database must survive the end of the hub, not a crash of the machine."""
    connection.execute("PRAGMA synchronous = OFF")


c.JupyterHub.db_url = f"sqlite:///{state}/jupyterhub-{parameters['version']}.sqlite"
c.JupyterHub.cookie_secret_file = str(state / "cookie_secret")
# Light servers end with the hub. Stopping thousands of them one by one would only take time.
c.JupyterHub.cleanup_servers = parameters["spawner"] != "light"
c.JupyterHub.cleanup_proxy = True
c.JupyterHub.allow_named_servers = True
c.JupyterHub.trust_user_provided_tokens = True  # it is random: no 16384 rounds of hashing for each request
admin_service = {"name": "admin", "admin": True, "api_token": admin_token}
c.JupyterHub.services = [admin_service]

# A person may log in with any name. The password keeps other accounts of this machine out, since a server runs code as
# the user who started the hub.
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = admin_token
if "allow_all" in Authenticator.class_trait_names():  # 5.0 allows nobody by default, 4.1 does not have the option
    c.Authenticator.allow_all = True

c.Spawner.ip = "127.0.0.1"
c.Spawner.env_keep = ["PATH", "LANG", "LC_ALL", "LOCAL_HUB_STATE"]  # by it, `stop` finds servers and kernels
if parameters["spawner"] == "light":
    sys.path.insert(0, str(folder))
    c.JupyterHub.spawner_class = "light_spawner.LightSpawner"
else:
    c.JupyterHub.spawner_class = "simple"
    c.SimpleLocalProcessSpawner.home_dir_template = str(state / "homes" / "{username}")
    c.Spawner.http_timeout = 120  # a busy machine needs more than the default of 30 s
    c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
    c.Spawner.environment = {"JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"}
    # The collection uses kernels and files. Terminals would only make the start slower.
    c.Spawner.args = ["--ServerApp.jpserver_extensions={'jupyter_server_terminals': False}"]
    if os.geteuid() == 0:
        c.Spawner.args.append("--allow-root")

if parameters["config"]:
    extra = Path(parameters["config"])
    # Not load_subconfig of traitlets, since the file could not read the values in `c` then.
    names = {"c": c, "get_config": lambda: c, "__file__": str(extra)}
    exec(compile(extra.read_text(), str(extra), "exec"), names)  # noqa: S102

# The launcher needs its service, also if that file has set another list of services.
if admin_service not in c.JupyterHub.services:
    c.JupyterHub.services.append(admin_service)
