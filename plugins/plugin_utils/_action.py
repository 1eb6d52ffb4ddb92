# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entry point on the controller: runs a module's flow in Ansible's own process, if the task's connection is local.

A module starts a new Python process for each task. Here a task takes only the time of its requests, and shows its
progress while it runs. Validation, masking, check mode and failures are the same as in the module.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import UnsupportedError
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._ansible import HubModule, exclude_shown_secrets, find_all_secrets
from ..module_utils._hub.masking import mask
from ._roles.hints import named_in

_display = Display()


class VaultCipher:
    """Ansible's vault, for a flow that keeps a secret in one. Raises ValueError, without the text or the password."""

    def encrypt(self, text: str, password: str) -> str:
        """Return the encrypted text, as ``ansible-vault encrypt`` writes it without a vault id."""
        try:
            return str(VaultLib().encrypt(text, VaultSecret(password.encode())).decode())
        except Exception as error:
            raise ValueError(type(error).__name__) from None

    def decrypt(self, text: str, password: str) -> str:
        """Return the decrypted text.

        The password decides. The vault id of the text does not matter, even if Ansible is configured to compare vault
        ids.
        """
        vault_id = (text.partition("\n")[0].split(";")[3:4] or ["default"])[0].strip()
        try:
            return str(VaultLib([(vault_id, VaultSecret(password.encode()))]).decrypt(text).decode())
        except Exception as error:
            # The library raises errors of its own, and others for a valid vault that does not hold text.
            raise ValueError(type(error).__name__) from None


class HubAction(ActionBase):
    """Base class of the action plugins. Each of them only sets ``module``, the definition of its module."""

    module: ClassVar[HubModule]
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task = self._task
        if self.module.read_files is not None:
            task.args = self.module.read_files(task.args, self._read_file)
        if self._connection.transport == "local" and not task.async_val and not self._becomes():
            with self._environment():
                result |= self._in_process(task_vars)
        else:
            wrap_async = task.async_val and not self._connection.has_native_async
            result |= self._execute_module(task_vars=task_vars, wrap_async=wrap_async)
        # A warning of a verification is no failure, and names options, too.
        needs_names = result.get("failed") or "verdict" in result
        return self._name_variables(result, task_vars) if needs_names else result

    def _name_variables(self, result: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Return a result with the variables of the role in its sentences, if the task is one of this collection's."""
        role = self._task._role
        is_ours = role is not None and role._role_collection == "hubops.jupyterhub"
        return named_in(role._role_name, result, task_vars) if is_ours else result

    def _read_file(self, path: str) -> str:
        """Return the text of a file of the controller, which is looked for as `ansible.builtin.copy` looks for it.

        Raises `AnsibleActionFail`.
        """
        try:
            with open(self._loader.get_real_file(self._find_needle("files", path)), encoding="utf-8") as file:
                return file.read()
        except (AnsibleError, OSError, UnicodeDecodeError) as error:
            raise AnsibleActionFail(f"The file '{path}' cannot be read on the controller: {error}") from None

    def _becomes(self) -> bool:
        return bool(self._task.become or self._connection.become)

    @contextmanager
    def _environment(self) -> Iterator[None]:
        """Set the task's ``environment:`` within the block, for the fallbacks of options, for proxies and CA bundles.

        The environment is restored afterwards, because the same worker process runs the next item of a loop.
        """
        variables: dict[str, Any] = {}
        self._compute_environment_string(variables)
        before = dict(os.environ)
        os.environ.update({name: str(value) for name, value in variables.items()})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _in_process(self, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module's flow in this process and return the task's result."""
        module, task = self.module, self._task
        checked = ArgumentSpecValidator(module.argument_spec, **module.rules).validate(task.args)
        options = checked.validated_parameters
        secrets = find_all_secrets(module.argument_spec, options)

        def report(line: str) -> None:
            if not task.no_log:
                # The display of a worker process writes while its task runs. On stdout, the lines would wait in a
                # buffer if stdout is no terminal, and would break the output of a callback that writes JSON. So use
                # stderr.
                _display.display(self._name_variables({"msg": line}, task_vars)["msg"], stderr=True)

        result: dict[str, Any]
        if checked.error_messages:
            result = mask({"failed": True, "msg": self._describe_error(checked.errors)}, secrets)
        else:
            result = module.run(
                options,
                check_mode=bool(task.check_mode),
                verbosity=_display.verbosity,
                report=report,
                secrets=secrets,
                cipher=VaultCipher(),
            )
        if self._wants_invocation(task_vars):
            result["invocation"] = mask({"module_args": options}, exclude_shown_secrets(secrets, result))
        return result

    def _wants_invocation(self, task_vars: dict[str, Any] | None) -> bool:
        """Return whether a module would put the options into its result, for ``-vvv`` and for whoever registers it."""
        try:
            return bool(constants.config.get_config_value("INJECT_INVOCATION", variables=task_vars))
        except AnsibleError:
            return True  # this setting is new in ansible-core 2.21, whose default is false

    def _describe_error(self, errors: Any) -> str:
        """Return the first error, as a module would word it."""
        if isinstance(errors[0], UnsupportedError):
            return f"Unsupported parameters for ({self._task.action}) module: {errors.msg}"
        return str(errors.msg)
