# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers of several roles: they read the roles' variables, and show text that others wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...module_utils._hub.errors import printable


def is_true(value: Any) -> bool:
    """Return whether a role's variable means yes, as Ansible's filter ``bool`` reads it.

    A value that is set on a command line is text.
    """
    return str(value).lower() in ("1", "on", "t", "true", "y", "yes")


def one_line(value: Any, longest: int = 300) -> str:
    """Return the value as text in one line of at most ``longest`` characters, with single spaces between its words.

    A hub, a spawner or a user wrote the text. It must not begin a line of its own on the screen.
    """
    return printable(" ".join(str(value).split()), longest)


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that have a value. The module has its own defaults for the others."""
    return {name: value for name, value in options.items() if value not in ("", None)}


def configuration_files(template: str, options: Mapping[str, Any], until_then: str) -> list[dict[str, str]]:
    """Return the files that configure a hub: ``template``, ``path``, and ``next``, the step after the file has changed.

    ``template`` is the template for ``config_path``. ``options`` are ``config_path``, ``values_path``, and ``folder``,
    in which relative paths begin. Each can be empty. ``until_then`` says what the hub does before the next step.
    """
    config, values = (str(options.get(name) or "") for name in ("config_path", "values_path"))
    files = []
    if config:
        restart = f"Restart the hub, which then reads {config} (The Littlest JupyterHub: tljh-config reload hub)."
        files.append({"template": template, "path": _path_on_host(config, options), "next": f"{restart} {until_then}"})
    if values:
        upgrade = f"Run helm upgrade with --values {values}."
        path = _path_on_host(values, options)
        files.append({"template": "values.yaml.j2", "path": path, "next": f"{upgrade} {until_then}"})
    return files


def _path_on_host(path: str, options: Mapping[str, Any]) -> str:
    """Return a path on the host where the role runs. Only that host can expand ``~``.

    Without a folder, Ansible would write a relative path below the folder of the playbook, which is the collection's.
    """
    return path if path.startswith(("/", "~")) else os.path.join(str(options.get("folder") or ""), path)
