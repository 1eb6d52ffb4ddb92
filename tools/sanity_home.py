# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepares a HOME for ansible-test, with the pip settings of this environment and with pip itself.

ansible-test creates an environment for each of its tests. For each, it downloads a script from one host, which many
networks do not reach. If its cache contains a file with the name of that script, it uses that file instead. This
program writes such a file. It runs the version of pip that ansible-test asks for, which comes from the package index.

A pre-release of ansible-core may want a package from an address of a source code host. This program has it want the
package from the index. It changes the copy of ansible-test in this environment, which is below .build.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

SCRIPT = """\
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), {wheel!r}))
from pip._internal.cli.main import main
sys.exit(main(["install"] + [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]))
"""


def pip_settings() -> configparser.RawConfigParser:
    """Return the pip settings of this machine, including those in environment variables. pip prints only errors."""
    settings = configparser.RawConfigParser()
    settings.read_dict({"global": {}})
    if bundle := os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE"):
        settings["global"]["cert"] = bundle
    if proxy := os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        settings["global"]["proxy"] = proxy
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    for line in listed.splitlines():
        name, value = line.split("=", 1)
        section, key = name.rsplit(".", 1)
        section = "global" if section == ":env:" else section
        if not settings.has_section(section):
            settings.add_section(section)
        settings[section][key] = ast.literal_eval(value)
    settings["global"]["quiet"] = "2"
    return settings


def without_addresses(requirements: str) -> str:
    """Return the text of a requirements file with only the name of each package that it wants from an address."""
    return re.sub(r"^([\w.-]+) *@ *https?://.*$", r"\1", requirements, flags=re.MULTILINE)


def main(home: Path) -> None:
    from ansible_test._internal.python_requirements import get_venv_packages
    from ansible_test._internal.util import ANSIBLE_TEST_DATA_ROOT

    for path in Path(ANSIBLE_TEST_DATA_ROOT, "requirements").glob("sanity.*.txt"):
        text = path.read_text()
        if text != without_addresses(text):
            path.write_text(without_addresses(text))

    with open(os.open(home / ".config/pip/pip.conf", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        pip_settings().write(file)

    # The function reads only the version of the Python that it receives.
    version = get_venv_packages(SimpleNamespace(version="{}.{}".format(*sys.version_info)))["pip"]
    cache = home / ".ansible/test/cache"
    script, wheel = cache / f"get_pip_{version.replace('.', '_')}.py", cache / f"pip-{version}-py3-none-any.whl"
    if not wheel.exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--dest", cache, f"pip=={version}"],
            check=True,
        )
    script.write_text(SCRIPT.format(wheel=wheel.name))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
