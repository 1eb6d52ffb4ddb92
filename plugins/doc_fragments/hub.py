# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # The connection options of every module; their specification is CONNECTION in module_utils/_module.py.
    DOCUMENTATION = r"""
options:
  hub_url:
    description:
      - The hub's public address as a browser shows it, base path included, such as V(https://hub.example.org/jhub/).
      - An address of the hub's API, ending in C(/hub/api), is understood as well.
      - Without it, the environment variable E(JUPYTERHUB_URL) counts, then E(JUPYTERHUB_PUBLIC_HUB_URL), then
        E(JUPYTERHUB_API_URL). A hub tells its own services the last one, where it answers itself, and no server of a
        user does.
    type: str
  api_token:
    description:
      - An API token of the hub, of a user or of a service. Each module's notes say which scopes it needs.
      - It is sent to the host of O(hub_url) and its subdomains only, whatever redirects say.
      - Without it, the environment variable E(JUPYTERHUB_API_TOKEN) counts.
    type: str
  validate_certs:
    description:
      - Whether the hub's certificate is checked. Set O(ca_path) for a private CA rather than turning this off.
      - Without it, the environment variable E(JUPYTERHUB_VALIDATE_CERTS) counts.
    type: bool
    default: true
  ca_path:
    description:
      - A file with the certificates of the CAs that are trusted, in place of the system's.
      - Without it, the environment variables E(JUPYTERHUB_CA_PATH) and E(REQUESTS_CA_BUNDLE) count.
    type: path
  client_cert:
    description:
      - A file with a client certificate (PEM), for a hub or a proxy before it that asks for one.
      - Without it, the environment variable E(JUPYTERHUB_CLIENT_CERT) counts.
    type: path
  client_key:
    description:
      - The file with the key of O(client_cert), where that does not hold it itself.
      - Without it, the environment variable E(JUPYTERHUB_CLIENT_KEY) counts.
    type: path
  request_timeout:
    description:
      - How long a single request may take, in seconds or as V(90s), V(2m). Waiting for a server has a limit of its
        own.
      - Without it, the environment variable E(JUPYTERHUB_REQUEST_TIMEOUT) counts.
    type: str
    default: 30s
requirements:
  - python >= 3.10
  - requests
notes:
  - On a local connection (C(connection=local), C(delegate_to=localhost), the implicit localhost) the task runs in the
    controller's own process, with the controller's Python. Elsewhere, and with C(async) or C(become), it runs as a
    module on the host. Options, results and failures are the same.
  - Works with JupyterHub 4.1 to 6.
  - RV(ignore:actions) lists what was done, or in check mode would be, as dictionaries with C(verb), C(object) and
    C(why).
  - A failed task has a RV(ignore:msg) for people and a RV(ignore:failure) for playbooks. This has C(code), C(message)
    (what happened), C(hint) (what to do next), and C(status), C(method), C(url) of the request, where there was one.
    The codes are V(unreachable), V(tls), V(unauthorized), V(missing_scope), V(not_found), V(invalid), V(conflict),
    V(rate_limited), V(spawn_failed), V(kernel_failed), V(timeout), V(hub_error), V(unexpected_answer).
"""
