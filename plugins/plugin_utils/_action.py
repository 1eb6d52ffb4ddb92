# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door for the controller: a module's flow in Ansible's own process, where the task's connection is local.

A module costs a new Python for each task; here a task costs its requests, and its progress is seen while it runs.
Everything else is as the module does it: the same validation, masking, check mode and failures.

"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._ansible import Program, maskable
from ..module_utils._hub.connection import secrets_of
from ._roles.hints import named_in

_display = Display()


class HubAction(ActionBase):
    """Base of the action files, each of which only names its module's ``PROGRAM``."""

    program: ClassVar[Program]
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task, role = self._task, self._task._role
        if self._connection.transport == "local" and not task.async_val and not self._becomes():
            with self._environment():
                result |= self._in_process()
        else:
            wrap_async = task.async_val and not self._connection.has_native_async
            result |= self._execute_module(task_vars=task_vars, wrap_async=wrap_async)
        ours = role is not None and role._role_collection == "hubops.jupyterhub"
        return named_in(role._role_name, result) if ours and result.get("failed") else result

    def _becomes(self) -> bool:
        return bool(self._task.become or self._connection.become)

    @contextmanager
    def _environment(self) -> Iterator[None]:
        """The task's ``environment:`` counts, for the options' fallbacks and for proxies and CA bundles.

        It is set for the time of the task only: a worker goes on to the next item of a loop.
        """
        wanted: dict[str, Any] = {}
        self._compute_environment_string(wanted)
        before = dict(os.environ)
        os.environ.update({name: str(value) for name, value in wanted.items()})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _in_process(self) -> dict[str, Any]:
        program, task = self.program, self._task
        checked = ArgumentSpecValidator(program.argument_spec, **program.rules).validate(task.args)

        # As the module's door does where it logs its invocation.
        checked._no_log_values |= secrets_of(str(checked.validated_parameters.get("hub_url") or ""))

        def mask(value: Any) -> Any:
            return remove_values(value, checked._no_log_values)

        def report(line: str) -> None:
            if not task.no_log:
                # A worker's display speaks while its task runs. What goes to stdout would wait in a buffer where that
                # is no terminal, and stand in the way where it is one JSON document; stderr does neither.
                _display.display(mask(line), stderr=True)

        if checked.error_messages:
            result = {"failed": True, "msg": self._complaint(checked.errors)}
        else:
            result = program.run(
                checked.validated_parameters,
                check_mode=bool(task.check_mode),
                verbosity=_display.verbosity,
                report=report,
            )
        result["invocation"] = {"module_args": checked.validated_parameters}
        masked: dict[str, Any] = remove_values(result, maskable(checked._no_log_values, result))
        return masked

    def _complaint(self, errors: Any) -> str:
        """The first error, in the words in which a module tells it."""
        if isinstance(errors[0], UnsupportedError):
            return f"Unsupported parameters for ({self._task.action}) module: {errors.msg}"
        return str(errors.msg)
