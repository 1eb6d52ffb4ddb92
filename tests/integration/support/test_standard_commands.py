# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of ansible-test work in a clone at ansible_collections/hubops/jupyterhub, as people try a collection."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.hubs import HOME, REPOSITORY, venv
from support.playbooks import ProgramResult, ansible_bin, bare_environment, copy_checkout, processes_using, run_program

PYTHON = "{}.{}".format(*sys.version_info)
INSTALLING = ["--requirements", "--venv", "--python", PYTHON]
# ansible-test runs each test in a fork, so all unit tests take minutes, and each test with Chromium starts it again.
# These use what a fork changes: fixtures of a module, threads, and files beside the tests.
UNITS = [
    "tests/unit/roles/",
    "tests/unit/module_utils/_hub/test_addresses.py",
    "tests/unit/module_utils/_path/test_workers.py",
]
MODULES = sorted(file.stem for file in (REPOSITORY / "plugins/modules").glob("hub_*.py"))


class Clone:
    """A clone and a home in a folder, in which nothing is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "ansible_collections/hubops/jupyterhub"
        copy_checkout(self.path)
        subprocess.run(["git", "init", "--quiet"], cwd=self.path, check=True)
        self.env = bare_environment(folder)
        for name in [name for name in self.env if name.startswith("ANSIBLE_")]:
            del self.env[name]
        home = Path(self.env["HOME"])
        (home / ".config/pip").mkdir(parents=True)
        subprocess.run([ansible_bin() / "python", REPOSITORY / "tools/sanity_home.py", home], check=True)
        # The hubs are those of the other tests, since an installation takes minutes.
        given = {"local_hub_home": str(HOME), "setup_hub_lab_folder": str(venv("lab"))}
        (self.path / "tests/integration/integration_config.yml").write_text(json.dumps(given))

    def run(self, command: str, *arguments: str) -> ProgramResult:
        return run_program([ansible_bin() / "ansible-test", command, *arguments], self.path, self.env)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("clone"))


def count(output: str) -> int:
    """The number of tests that pytest has collected."""
    [found] = re.findall(r"(\d+) tests collected", output)
    return int(found)


def test_units(clone: Clone) -> None:
    done = clone.run("units", *INSTALLING, *UNITS)
    assert done.status == 0, done.output
    assert re.search(r"\d+ passed", done.output)
    assert processes_using(clone.folder) == {}


def test_units_finds_each_unit_test(clone: Clone) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n0", "tests/unit"]
    # In the same environment, because some tests run once for each Python that is found.
    plain = subprocess.run(command, cwd=REPOSITORY, env=clone.env, check=True, capture_output=True, text=True)
    done = clone.run("units", *INSTALLING, "--collect-only")
    assert done.status == 0, done.output
    assert count(done.output) == count(plain.stdout)


def test_sanity(clone: Clone) -> None:
    """The command and the clone fit each other. tools/sanity runs all tests of it."""
    done = clone.run("sanity", "--python", PYTHON, "--test", "shebang", "--test", "symlinks")
    assert done.status == 0, done.output


def test_integration_has_a_target_for_each_module(clone: Clone) -> None:
    done = clone.run("integration", "--list-targets")
    assert done.status == 0, done.output
    assert sorted(done.stdout.split()) == MODULES  # setup_hub is hidden


def test_integration(clone: Clone) -> None:
    done = clone.run("integration", *INSTALLING, "hub_token")
    assert done.status == 0, done.output
    # One of the examples.
    assert "TASK [setup_hub : Revoke a token that is no longer needed, and remove its file]" in done.output
    assert processes_using(clone.folder) == {}


def test_integration_fails_for_a_module_without_an_example(clone: Clone) -> None:
    module = clone.path / "plugins/modules/hub_group.py"
    whole = module.read_text()
    without = 'EXAMPLES = r"""\n- ansible.builtin.meta: noop\n"""'
    module.write_text(re.sub(r'EXAMPLES = r""".*?"""', without, whole, flags=re.DOTALL))
    try:
        done = clone.run("integration", *INSTALLING, "hub_group")
    finally:
        module.write_text(whole)
    assert done.status != 0
    assert "setup_hub_name in setup_hub_examples" in done.output
    assert processes_using(clone.folder) == {}
