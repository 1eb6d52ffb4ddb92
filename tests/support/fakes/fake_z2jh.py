# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake of the chart jupyterhub (Zero to JupyterHub) that applies its values inside a hub without Kubernetes.

It applies values in the order of the chart's jupyterhub_config.py: services, with the tokens of the hub's secret, then
roles, then extraConfig sorted by name. It also provides the chart's module z2jh.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import yaml


def apply(c: Any, path: str, secrets: dict[str, str], extra: dict[str, str]) -> None:
    """Apply the file with values to ``c``. ``secrets`` are tokens by service, ``extra`` more entries of extraConfig."""
    with open(path, encoding="utf-8") as file:
        values = yaml.safe_load(file)

    def get_config(key: str, default: Any = None) -> Any:
        found = values
        for level in key.split("."):
            if not isinstance(found, dict) or level not in found:
                return default
            found = found[level]
        return found

    module = types.ModuleType("z2jh")
    module.get_config = get_config  # type: ignore[attr-defined]
    sys.modules["z2jh"] = module

    for key, service in get_config("hub.services", {}).items():
        service.setdefault("name", key)
        service["api_token"] = secrets[key]
        c.JupyterHub.services.append(service)
    for key, role in get_config("hub.loadRoles", {}).items():
        role.setdefault("name", key)
        c.JupyterHub.load_roles.append(role)
    names = {"c": c, "get_config": get_config}
    for _key, code in sorted({**get_config("hub.extraConfig", {}), **extra}.items()):
        exec(code, names)
