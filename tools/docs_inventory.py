# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs_inventory.py INVENTORY CONF: lets Sphinx resolve references to Ansible's own documentation without the network.

Sphinx would download a list of what they may refer to. INVENTORY becomes such a list, of the modules that ansible-core
has and of the pages below. The configuration of Sphinx in CONF then reads it in place of all others.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import ansible.modules

SITE = "https://docs.ansible.com/projects/ansible/latest/"
PAGES = {
    "action_plugins": "plugins/action.html#action-plugins",
    "ansible_configuration_settings": "reference_appendices/config.html#ansible-configuration-settings",
    "common_return_values": "reference_appendices/common_return_values.html#common-return-values",
}
"""Labels that antsibull-docs writes, or that a guide uses, and where they are on the site."""
HEADER = """\
# Sphinx inventory version 2
# Project: Ansible
# Version:
# The remainder of this file is compressed using zlib.
"""


def inventory() -> bytes:
    """Return the list in the form that Sphinx reads."""
    [folder] = ansible.modules.__path__
    modules = sorted(path.stem for path in Path(folder).glob("[a-z]*.py"))
    pages = PAGES | {
        f"ansible_collections.ansible.builtin.{name}_module": f"collections/ansible/builtin/{name}_module.html"
        for name in modules
    }
    lines = [f"{label} std:label -1 {page} {label}\n" for label, page in pages.items()]
    return HEADER.encode() + zlib.compress("".join(lines).encode())


def main(inventory_file: str, conf: str) -> None:
    Path(inventory_file).write_bytes(inventory())
    with Path(conf).open("a") as file:
        file.write(f"\nintersphinx_mapping = {{'ansible': ({SITE!r}, {inventory_file!r})}}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
