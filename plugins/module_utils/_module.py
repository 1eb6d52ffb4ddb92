# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the flows meet Ansible: the connection options, a module's specification, and one way to run it.

Both doors use it: the module by itself (`run_module`), the controller through ``plugin_utils/_action.py``.

This file is private to the collection: it may change without notice.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import AnsibleFallbackNotFound
from ansible_collections.hubops.jupyterhub.plugins.module_utils._client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._connection import Connection, seconds, secrets_of
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import (
    HubError,
    not_understood,
    printable,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._plan import Flow, Report, run

_INTERNAL = "JUPYTERHUB_API_URL"
"""The hub's own address, which it tells its services and servers: those of its users do not answer there."""


def address_of_environment() -> str:
    """The hub's address that the environment names, the public one where it can. Raises `AnsibleFallbackNotFound`."""
    for name in ("JUPYTERHUB_URL", "JUPYTERHUB_PUBLIC_HUB_URL", _INTERNAL):
        value = os.environ.get(name)
        if value:
            # The hub itself is at /hub/ of what it calls its public address (``Hub.public_url`` in its objects.py).
            return value.removesuffix("/").removesuffix("/hub") + "/" if name.endswith("HUB_URL") else value
    raise AnsibleFallbackNotFound


def is_internal(url: str) -> bool:
    """Whether it is the address that a hub tells a service or a server of its own, and no other one is known."""
    return url == os.environ.get(_INTERNAL) and any(
        name in os.environ for name in ("JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_SERVICE_NAME")
    )


CONNECTION: dict[str, dict[str, Any]] = {
    "hub_url": {"type": "str", "fallback": (address_of_environment, [])},
    "api_token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["JUPYTERHUB_API_TOKEN"])},
    "validate_certs": {"type": "bool", "default": True, "fallback": (env_fallback, ["JUPYTERHUB_VALIDATE_CERTS"])},
    "ca_path": {"type": "path", "fallback": (env_fallback, ["JUPYTERHUB_CA_PATH"])},
    "client_cert": {"type": "path", "fallback": (env_fallback, ["JUPYTERHUB_CLIENT_CERT"])},
    "client_key": {"type": "path", "fallback": (env_fallback, ["JUPYTERHUB_CLIENT_KEY"])},
    "request_timeout": {"type": "str", "default": "30s", "fallback": (env_fallback, ["JUPYTERHUB_REQUEST_TIMEOUT"])},
}
"""The options of the doc fragment ``hub``, which every module has."""


@dataclass(frozen=True)
class Program:
    """A module: its own options, their rules (`ArgumentSpecValidator`'s), and what makes its flow of them."""

    options: dict[str, dict[str, Any]]
    flow: Callable[[HubClient, dict[str, Any], Report], Flow]
    rules: dict[str, Any] = field(default_factory=dict)

    @property
    def argument_spec(self) -> dict[str, dict[str, Any]]:
        return {**CONNECTION, **self.options}

    def run(self, options: dict[str, Any], *, check_mode: bool, verbosity: int, report: Report) -> dict[str, Any]:
        """Take validated options the one path; the result is the task's, a failure with ``failed`` and ``failure``.

        No secret that the flow comes to hold is in it or in a report, but those that the result is there to tell.
        """
        held: set[str] = set()
        result = self._run(options, held, check_mode=check_mode, verbosity=verbosity, report=report)
        masked: dict[str, Any] = remove_values(result, maskable(held, result))
        return masked

    def _run(
        self, options: dict[str, Any], held: set[str], *, check_mode: bool, verbosity: int, report: Report
    ) -> dict[str, Any]:
        try:
            connection = Connection(
                hub_url=options["hub_url"] or "",
                internal=is_internal(options["hub_url"] or ""),
                api_token=options["api_token"] or "",
                validate_certs=options["validate_certs"],
                ca_path=options["ca_path"],
                client_cert=options["client_cert"],
                client_key=options["client_key"],
                request_timeout=seconds(options["request_timeout"], "request_timeout"),
            )
            with HubClient(connection, held) as hub:
                name = hub.url.partition("://")[2].rstrip("/")

                def tell(line: str) -> None:
                    report(remove_values(printable(f"{name}: {line}"), held))

                flow = self.flow(hub, options, tell)
                return run(flow, check_mode=check_mode)
        except HubError as error:
            return {"changed": False, **error.as_result()}
        except Exception as error:
            unexpected = not_understood(error).as_result()
            if verbosity >= 3:
                unexpected["exception"] = traceback.format_exc()
            return {"changed": False, **unexpected}


def completed(item: dict[str, Any], options: dict[str, Any], shared: Iterable[str]) -> dict[str, Any]:
    """An item of a task's list, which takes from the task what it leaves out of these ``shared`` options."""
    return {**item, **{name: options[name] for name in shared if item[name] is None}}


def maskable(no_log_values: Iterable[str], result: dict[str, Any]) -> set[str]:
    """The values that Ansible is to blank in a result: all that entered as secrets, but none that would blank a secret
    which the result is there to tell. Ansible blanks any text that holds such a value, however short it is."""
    items = [result, *(result.get("tokens") or ())]
    told = [item["token"] for item in items if isinstance(item, dict) and isinstance(item.get("token"), str)]
    return {value for value in no_log_values if not any(value in secret for secret in told)}


class _Module(AnsibleModule):  # type: ignore[misc]
    """A module that keeps what may be secret in an address out of the log, where its invocation is written down."""

    def _log_invocation(self) -> None:
        self.no_log_values |= secrets_of(str(self.params["hub_url"] or ""))
        super()._log_invocation()


def run_module(program: Program) -> None:
    """The door for any host: a module's ``main()``."""
    module = _Module(argument_spec=program.argument_spec, supports_check_mode=True, **program.rules)
    result = program.run(
        module.params, check_mode=module.check_mode, verbosity=module._verbosity, report=lambda line: None
    )
    module.no_log_values = maskable(module.no_log_values, result)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)
