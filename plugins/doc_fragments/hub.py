# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # The connection options of every module. Their argument spec is CONNECTION in module_utils/_ansible.py.
    DOCUMENTATION = r"""
options:
  hub_url:
    description:
      - The public URL of the hub as a browser shows it, including the base path. An example is
        V(https://hub.example.org/jhub/).
      - The module also accepts the URL of the hub's API, which ends in C(/hub/api).
      - If not set, the module uses the first of the environment variables E(JUPYTERHUB_URL),
        E(JUPYTERHUB_PUBLIC_HUB_URL) and E(JUPYTERHUB_API_URL) that is set.
      - A hub sets E(JUPYTERHUB_API_URL) for its own services. The hub answers at this address, but the servers of its
        users do not.
    type: str
  api_token:
    description:
      - An API token of the hub. It belongs to a user or to a service.
      - The notes of each module list the scopes that the token needs.
      - The module sends the token only to the host of O(hub_url) and to subdomains of that host. It does not send the
        token to another host, even if the hub redirects to it.
      - If not set, the module uses the environment variable E(JUPYTERHUB_API_TOKEN).
    type: str
  validate_certs:
    description:
      - Whether to check the hub's certificate.
      - If a private CA has signed the certificate, set O(ca_path) instead of turning this check off.
      - If not set, the module uses the environment variable E(JUPYTERHUB_VALIDATE_CERTS).
    type: bool
    default: true
  ca_path:
    description:
      - The path of a file with the certificates of the CAs to trust. They replace the CAs of the system.
      - If not set, the module uses the first of the environment variables E(JUPYTERHUB_CA_PATH) and
        E(REQUESTS_CA_BUNDLE) that is set.
    type: path
  client_cert:
    description:
      - The path of a file with a client certificate in PEM format. Set it if the hub, or a proxy in front of the hub,
        requires one.
      - If not set, the module uses the environment variable E(JUPYTERHUB_CLIENT_CERT).
    type: path
  client_key:
    description:
      - The path of the file with the private key of O(client_cert). It is not needed if the file O(client_cert) also
        contains the key.
      - If not set, the module uses the environment variable E(JUPYTERHUB_CLIENT_KEY).
    type: path
  request_timeout:
    description:
      - How long a single request may take, in seconds or with a unit, for example V(90s) or V(2m).
      - This option does not limit how long a module waits for a server. The modules that wait have another option for
        that.
      - If not set, the module uses the environment variable E(JUPYTERHUB_REQUEST_TIMEOUT).
    type: str
    default: 30s
requirements:
  - python >= 3.10
  - requests
notes:
  - On a local connection, the task runs in Ansible's own process on the controller, with the controller's Python. Local
    connections are C(connection=local), C(delegate_to=localhost) and the implicit localhost.
  - On any other connection, and with C(async) or C(become), the task runs as a module on the host. Options, results and
    failures are the same.
  - The module works with JupyterHub 4.1 to 6.
  - RV(ignore:actions) lists what the task did, or what it would do in check mode. Each item is a dictionary with the
    keys C(verb), C(object) and C(why).
  - A failed task returns RV(ignore:msg) for people and RV(ignore:failure) for playbooks. RV(ignore:failure) is a
    dictionary with the keys C(code), C(message), C(hint), C(status), C(method) and C(url).
  - In RV(ignore:failure), C(message) says what happened, and C(hint) says what to do next. C(status), C(method) and
    C(url) describe the request that failed. They are V(null) if no request failed.
  - The codes are V(unreachable), V(tls), V(unauthorized), V(missing_scope), V(not_found), V(invalid), V(conflict),
    V(rate_limited), V(spawn_failed), V(kernel_failed), V(timeout), V(hub_error) and V(unexpected_answer).
seealso:
  - name: Getting started
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/getting_started.rst
    description: Shows how to install the collection and how to reach a hub.
  - name: Failures
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/failures.rst
    description: Lists what the codes of a failure mean and what to do next.
  - name: Scopes of JupyterHub
    link: https://jupyterhub.readthedocs.io/en/stable/rbac/scopes.html
    description: Lists what each scope of a token allows.
  - name: The REST API of JupyterHub
    link: https://jupyterhub.readthedocs.io/en/stable/reference/rest-api.html
    description: Describes the requests that the modules send.
"""
