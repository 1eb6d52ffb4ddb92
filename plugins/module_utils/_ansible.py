# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connects the flows with Ansible: the connection options, the definition of a module, and the way to run a module.

Both entry points use it: the module on any host (`run_module`), and the action plugin on the controller
(``plugin_utils/_action.py``).
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback
from ansible.module_utils.common.validation import check_type_dict
from ansible.module_utils.errors import AnsibleFallbackNotFound

try:
    from ansible.module_utils.secrets import register_secrets
except ImportError:  # before 2.22

    def register_secrets(values: Iterable[str], /) -> None:
        """Do nothing: this ansible-core masks nothing that it shows."""


from ._hub.client import HubClient
from ._hub.connection import Connection, find_secrets_in_url, parse_duration
from ._hub.errors import (
    HubError,
    Invalid,
    is_encodable,
    not_understood,
    printable,
)
from ._hub.masking import MIN_TOKEN_LENGTH, mask
from ._path.plan import Flow, Report, run

_INTERNAL_URL_VARIABLE = "JUPYTERHUB_API_URL"
"""The environment variable with the hub's internal address, which the hub sets for its services and servers. The
servers of users do not answer at that address."""


def find_hub_url() -> str:
    """Return the hub's address from the environment, if possible the public one.

    Raises `AnsibleFallbackNotFound` if the environment has none.
    """
    for name in ("JUPYTERHUB_URL", "JUPYTERHUB_PUBLIC_HUB_URL", _INTERNAL_URL_VARIABLE):
        value = os.environ.get(name)
        if value:
            # The hub's "public URL" ends in /hub/ (``Hub.public_url`` in its objects.py). The option hub_url does not.
            return value.removesuffix("/").removesuffix("/hub") + "/" if "PUBLIC" in name else value
    raise AnsibleFallbackNotFound


def is_internal_url(url: str) -> bool:
    """Return whether ``url`` is the internal address that the hub sets in the environment of its services and servers.

    A hub listens on port 8081 behind its proxy, unless it is configured otherwise (``hub_port`` in its app.py).
    """
    is_hub_process = any(name in os.environ for name in ("JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_SERVICE_NAME"))
    has_hub_port = re.match(r"http://[^/]+:8081/", url) is not None
    return url == os.environ.get(_INTERNAL_URL_VARIABLE) and (is_hub_process or has_hub_port)


_RECURSION_LIMIT = 4000
"""Calls within each other while a flow works, in place of Python's 1000. A level of JSON takes one call in most of the
functions that read, write and compare it. A thread's stack has room for several times as many."""

_NO_HUB = "http://localhost/"
"""The address of the hub for a task that sends no request."""

CONNECTION_OPTIONS: dict[str, dict[str, Any]] = {
    "hub_url": {"type": "str", "fallback": (find_hub_url, [])},
    "api_token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["JUPYTERHUB_API_TOKEN"])},
    "validate_certs": {"type": "bool", "default": True, "fallback": (env_fallback, ["JUPYTERHUB_VALIDATE_CERTS"])},
    "ca_path": {"type": "path", "fallback": (env_fallback, ["JUPYTERHUB_CA_PATH"])},
    "client_cert": {"type": "path", "fallback": (env_fallback, ["JUPYTERHUB_CLIENT_CERT"])},
    "client_key": {"type": "path", "fallback": (env_fallback, ["JUPYTERHUB_CLIENT_KEY"])},
    "request_timeout": {"type": "str", "default": "30s", "fallback": (env_fallback, ["JUPYTERHUB_REQUEST_TIMEOUT"])},
}
"""The options of the doc fragment ``hub``. Every module has them."""


@dataclass(frozen=True)
class HubModule:
    """The definition of a module, for both entry points."""

    options: dict[str, dict[str, Any]]
    """The argument spec of the module's own options."""
    flow: Callable[..., Flow]
    """Builds the flow from the `HubClient`, the validated options and a `Report`."""
    rules: dict[str, Any] = field(default_factory=dict)
    """Rules between options, such as ``required_if``, as `ArgumentSpecValidator` takes them."""
    line_format: str = "{hub}: {line}"
    """How a line of the report is shown. ``{hub}`` is the hub's address without its scheme."""
    read_files: Callable[[dict[str, Any], Callable[[str], str]], dict[str, Any]] | None = None
    """Returns the task's options with the content of files of the controller, before they are validated. It takes the
    options, and a function that returns the text of a file."""
    works_offline: Callable[[dict[str, Any]], bool] = lambda options: False
    """Returns whether a task with these options sends no request, so that it needs no ``hub_url``."""
    takes_cipher: bool = False
    """Whether ``flow`` takes the keyword ``cipher``, see `run`."""

    @property
    def argument_spec(self) -> dict[str, dict[str, Any]]:
        """The argument spec of all options."""
        return {**CONNECTION_OPTIONS, **self.options}

    def run(
        self,
        options: dict[str, Any],
        *,
        check_mode: bool,
        verbosity: int,
        report: Report,
        secrets: set[str] | None = None,
        cipher: Any = None,
    ) -> dict[str, Any]:
        """Run the flow with validated options and return the task's result. A failure has ``failed`` and ``failure``.

        ``secrets`` are the secrets among the options. The run adds each secret that it gets from the hub. The result
        and the lines of ``report`` show none of them, except a new token in the key of the result that is meant for it.

        ``cipher`` is Ansible's vault (`Cipher` in ``_token/secret_format.py``), or None if only the controller has it.
        """
        secrets = set() if secrets is None else secrets
        extra = {"cipher": cipher} if self.takes_cipher else {}
        with _deep_values():
            result = self._run(options, secrets, extra, check_mode=check_mode, verbosity=verbosity, report=report)
        _register(secrets | set(_list_shown_tokens(result)))
        masked: dict[str, Any] = mask(result, exclude_shown_secrets(secrets, result))
        return masked

    def _run(
        self,
        options: dict[str, Any],
        secrets: set[str],
        extra: dict[str, Any],
        *,
        check_mode: bool,
        verbosity: int,
        report: Report,
    ) -> dict[str, Any]:
        try:
            _check_text(options)
            hub_url = options["hub_url"] or (_NO_HUB if self.works_offline(options) else "")
            connection = Connection(
                hub_url=hub_url,
                is_internal=is_internal_url(hub_url),
                api_token=options["api_token"] or "",
                validate_certs=options["validate_certs"],
                ca_path=options["ca_path"],
                client_cert=options["client_cert"],
                client_key=options["client_key"],
                request_timeout=parse_duration(options["request_timeout"], "request_timeout"),
            )
            with HubClient(connection, secrets) as hub:
                name = hub.url.partition("://")[2].rstrip("/")

                def report_line(line: str) -> None:
                    shown = self.line_format.format(hub=name, line=line)
                    report(printable(mask(shown, set(secrets))))  # a copy: other threads add to the set

                flow = self.flow(hub, options, report_line, **extra)
                return run(flow, check_mode=check_mode)
        except HubError as error:
            return {"changed": False, **error.as_result()}
        except Exception as error:
            unexpected = not_understood(error).as_result()
            if verbosity >= 3:
                unexpected["exception"] = traceback.format_exc()
            return {"changed": False, **unexpected}


@contextmanager
def _deep_values() -> Iterator[None]:
    """Let the block work on all values that a hub accepts, however deeply they are nested.

    A hub accepts as many levels as its Python allows, less its own calls within each other. Ansible makes more of these
    before it comes to the block, so it could not read or write what any user of the hub may have sent.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _RECURSION_LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _check_text(value: Any, option: str = "") -> None:
    """Raise `Invalid`, with the option's name, if a text in the value cannot be encoded as UTF-8."""
    if isinstance(value, str) and not is_encodable(value):
        raise Invalid(
            f"{option} holds half a character (a lone surrogate), which cannot be encoded as UTF-8.",
            "Check where the text comes from: it was not UTF-8 there.",
        )
    if isinstance(value, dict):
        for name, item in value.items():
            _check_text(name, option)
            _check_text(item, f"{option}.{name}" if option else name)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_text(item, f"{option}[{number}]")


def inherit_options(item: dict[str, Any], options: dict[str, Any], shared: Iterable[str]) -> dict[str, Any]:
    """Return the item of a task's list, with the task's value for each ``shared`` option that the item leaves out."""
    return {**item, **{name: options[name] for name in shared if item[name] is None}}


def find_all_secrets(argument_spec: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> set[str]:
    """Return the values of all secret options, and the parts of ``hub_url`` that may be secret."""
    return find_secrets(argument_spec, options) | find_secrets_in_url(str(options.get("hub_url") or ""))


def find_secrets(argument_spec: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> set[str]:
    """Return the values of all options that are secret, also within lists, and also if other options are wrong.

    Ansible itself finds none at all if there is no dictionary where an option should have one
    (``_list_no_log_values`` of its common/parameters.py). Then it would show all of them with the failure.
    """
    found: set[str] = set()
    for name, option in argument_spec.items():
        value = options.get(name)
        if option.get("no_log"):
            found |= {str(each) for each in _flatten(value)}
        for item in _flatten(value) if "options" in option else ():
            found |= _find_secrets_in_item(option["options"], item)
    return found - {""}


def _find_secrets_in_item(argument_spec: Mapping[str, Mapping[str, Any]], item: Any) -> set[str]:
    if isinstance(item, str):
        try:
            item = check_type_dict(item)
        except TypeError:
            # Nobody knows where in this text the secret is.
            names = [name for name, option in argument_spec.items() if option.get("no_log")]
            return {piece for piece in (item, *item.split(",")) if any(name in piece for name in names)}
    return find_secrets(argument_spec, item) if isinstance(item, Mapping) else set()


def _flatten(value: Any) -> list[Any]:
    """Return the items of a list, or any other value as the only item. None is no item."""
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def exclude_shown_secrets(no_log_values: Iterable[str], result: dict[str, Any]) -> set[str]:
    """Return the values to mask in the result: all ``no_log_values`` but those that are part of a token in the result.

    Ansible masks each text that contains such a value, however short the value is. So it would mask a new token that
    the result is meant to show.
    """
    shown = _list_shown_tokens(result)
    # A copy, because threads that nobody waits for may still add to the set.
    return {value for value in set(no_log_values) if not any(value in token for token in shown)}


def _list_shown_tokens(result: dict[str, Any]) -> list[str]:
    items = [result, *(result.get("tokens") or ())]
    return [item["token"] for item in items if isinstance(item, dict) and isinstance(item.get("token"), str)]


def _register(secrets: Iterable[str]) -> None:
    """Let Ansible mask the secrets in all that it shows from now on. ansible-core has offered this since 2.22."""
    register_secrets([secret for secret in secrets if len(secret) >= MIN_TOKEN_LENGTH])


class _AnsibleModule(AnsibleModule):  # type: ignore[misc]
    """Masks the secret options and the parts of ``hub_url`` that may be secret, in the log and in the result.

    Both contain the invocation, even if the options of the task are invalid.
    """

    params: dict[str, Any]

    def find_secrets(self) -> set[str]:
        """Return the secrets among the options, as they are before or after their validation."""
        return find_all_secrets(self.argument_spec, self.params)

    def _log_invocation(self) -> None:
        options = self.params
        # ansible-core 2.22 writes the options as they are, except the secret ones. The log must not contain a password
        # of hub_url either.
        self.params = mask(options, self.find_secrets())
        try:
            super()._log_invocation()
        finally:
            self.params = options

    def _return_formatted(self, kwargs: dict[str, Any]) -> None:
        secrets = exclude_shown_secrets(self.find_secrets(), kwargs)
        # Before 2.22, ansible-core masks the result once more, with these.
        self.no_log_values = secrets
        super()._return_formatted(mask({"invocation": {"module_args": self.params}, **kwargs}, secrets))


def run_module(module: HubModule) -> None:
    """Run a module on any host. A module's ``main()`` calls this."""
    ansible = _AnsibleModule(argument_spec=module.argument_spec, supports_check_mode=True, **module.rules)
    result = module.run(
        ansible.params,
        check_mode=ansible.check_mode,
        verbosity=ansible._verbosity,
        report=lambda line: None,
        secrets=ansible.find_secrets(),
    )
    if result.get("failed"):
        ansible.fail_json(**result)
    ansible.exit_json(**result)
