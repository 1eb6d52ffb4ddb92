# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several roles need to read their variables and to show text of others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...module_utils._hub.errors import printable


def is_true(value: Any) -> bool:
    """Whether a role's variable means yes, as Ansible's filter bool reads it: on a command line, a value is text."""
    return str(value).lower() in ("1", "on", "t", "true", "y", "yes")


def one_line(value: Any, longest: int = 300) -> str:
    """The value as text in one line of at most ``longest`` characters, with single spaces between its words.

    A hub, a spawner or a user wrote the text. It must not begin a line of its own on the screen.
    """
    return printable(" ".join(str(value).split()), longest)


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that have a value. The module decides about an option that is empty."""
    return {name: value for name, value in options.items() if value not in ("", None)}


def configuration_files(template: str, options: Mapping[str, Any], until_then: str) -> list[dict[str, str]]:
    """The files that configure a hub: the ``template``, the ``path``, and the ``next`` step after the file has changed.

    ``options`` are ``config_path``, for which the template is, ``values_path``, and ``folder``, where relative paths
    begin. Each can be empty. ``until_then`` says what the hub does before that step.
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
    """A path on the host where the role runs, which knows its own home folders.

    Without a folder, Ansible would write a relative path below the folder of the playbook, which is the collection's.
    """
    return path if path.startswith(("/", "~")) else os.path.join(str(options.get("folder") or ""), path)
