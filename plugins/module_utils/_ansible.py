# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the flows meet Ansible: the connection options, a module's specification, and one way to run it.

Both doors use it: the module by itself (`run_module`), the controller through ``plugin_utils/_action.py``.

"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import AnsibleFallbackNotFound

from ._hub.client import HubClient
from ._hub.connection import Connection, seconds, secrets_of
from ._hub.errors import (
    HubError,
    Invalid,
    is_encodable,
    not_understood,
    printable,
)
from ._path.plan import Flow, Report, run

_INTERNAL = "JUPYTERHUB_API_URL"
"""The hub's own address, which it tells its services and servers: those of its users do not answer there."""


def address_of_environment() -> str:
    """The hub's address that the environment names, the public one where it can. Raises `AnsibleFallbackNotFound`."""
    for name in ("JUPYTERHUB_URL", "JUPYTERHUB_PUBLIC_HUB_URL", _INTERNAL):
        value = os.environ.get(name)
        if value:
            # The hub itself is at /hub/ of what it calls its public address (``Hub.public_url`` in its objects.py).
            return value.removesuffix("/").removesuffix("/hub") + "/" if "PUBLIC" in name else value
    raise AnsibleFallbackNotFound


def is_internal(url: str) -> bool:
    """Whether it is the hub's own address, which it tells its services and servers, and no other one is known.

    A hub listens at the port 8081 behind its proxy, unless it is configured otherwise (``hub_port`` in its app.py).
    """
    of_hub = any(name in os.environ for name in ("JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_SERVICE_NAME"))
    return url == os.environ.get(_INTERNAL) and (of_hub or re.match(r"http://[^/]+:8081/", url) is not None)


_PIECE = 4
"""Characters of a secret in a row that are too many to be shown. Fewer are part of many a word."""

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
        without: dict[str, Any] = masked(result, maskable(held, result))
        return without

    def _run(
        self, options: dict[str, Any], held: set[str], *, check_mode: bool, verbosity: int, report: Report
    ) -> dict[str, Any]:
        try:
            _check_text(options)
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

                def report_line(line: str) -> None:
                    report(printable(masked(f"{name}: {line}", held)))

                flow = self.flow(hub, options, report_line)
                return run(flow, check_mode=check_mode)
        except HubError as error:
            return {"changed": False, **error.as_result()}
        except Exception as error:
            unexpected = not_understood(error).as_result()
            if verbosity >= 3:
                unexpected["exception"] = traceback.format_exc()
            return {"changed": False, **unexpected}


def _check_text(value: Any, option: str = "") -> None:
    """Raise `Invalid`, with the option's name, for a text that can be neither written nor sent."""
    if isinstance(value, str) and not is_encodable(value):
        raise Invalid(
            f"{option} holds half a character (a lone surrogate), which can be neither written nor sent.",
            "Check where it comes from: it was not UTF-8 there.",
        )
    if isinstance(value, dict):
        for name, item in value.items():
            _check_text(name, option)
            _check_text(item, f"{option}.{name}" if option else name)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_text(item, f"{option}[{number}]")


def inherit_options(item: dict[str, Any], options: dict[str, Any], shared: Iterable[str]) -> dict[str, Any]:
    """An item of a task's list, which takes from the task what it leaves out of these ``shared`` options."""
    return {**item, **{name: options[name] for name in shared if item[name] is None}}


def maskable(no_log_values: Iterable[str], result: dict[str, Any]) -> set[str]:
    """The values that Ansible is to blank in a result: all that entered as secrets, but none that would blank a secret
    which the result is there to tell. Ansible blanks any text that holds such a value, however short it is."""
    items = [result, *(result.get("tokens") or ())]
    shown = [item["token"] for item in items if isinstance(item, dict) and isinstance(item.get("token"), str)]
    return {value for value in no_log_values if not any(value in secret for secret in shown)}


def masked(value: Any, secrets: set[str]) -> Any:
    """The same without the secrets, and without the piece of one that is left where a text was cut (`printable`)."""
    return _without_pieces(remove_values(value, secrets), secrets)


def _without_pieces(value: Any, secrets: set[str]) -> Any:
    if isinstance(value, str):
        for cut in reversed(list(re.finditer(r"\.{3,}", value))):
            before = value[: cut.start()]
            size = max((_overlap(before, secret) for secret in secrets), default=0)
            if size >= _PIECE:
                value = f"{before[:-size]}{'*' * 8}{value[cut.start() :]}"
        return value
    if isinstance(value, list):
        return [_without_pieces(item, secrets) for item in value]
    if isinstance(value, dict):
        return {name: _without_pieces(item, secrets) for name, item in value.items()}
    return value


def _overlap(text: str, secret: str) -> int:
    """With how many characters of its beginning the secret ends the text."""
    return next((size for size in range(len(secret) - 1, 0, -1) if text.endswith(secret[:size])), 0)


class _Module(AnsibleModule):  # type: ignore[misc]
    """A module that keeps what may be secret in an address out of the log and of its result, which both have the
    invocation; that of a task whose options are refused, too."""

    def _log_invocation(self) -> None:
        self._mask_address()
        super()._log_invocation()

    def _return_formatted(self, kwargs: dict[str, Any]) -> None:
        self._mask_address()
        super()._return_formatted(kwargs)

    def _mask_address(self) -> None:
        self.no_log_values |= secrets_of(str(self.params.get("hub_url") or ""))


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
