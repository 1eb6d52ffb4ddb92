# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that costs nothing, to run as a job: any Python starts it in a second, where jupyter-server takes many.

Like batchspawner-singleuser it chooses a port and sends it to the hub. It answers with what Slurm has told the job.
"""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        inside = self.path.startswith(os.environ["JUPYTERHUB_SERVICE_PREFIX"])
        slurm = {name: value for name, value in os.environ.items() if name.startswith("SLURM_JOB_")}
        body = json.dumps(slurm).encode()
        self.send_response(200 if inside else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
request = Request(
    os.environ["JUPYTERHUB_API_URL"] + "/batchspawner",
    data=json.dumps({"port": server.server_port}).encode(),
    headers={"Authorization": f"token {os.environ['JUPYTERHUB_API_TOKEN']}"},
)
urlopen(request, timeout=30).close()
server.serve_forever()
