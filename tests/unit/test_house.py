# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the house: who may import whom, and what belongs to a module."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
PACKAGE = "ansible_collections.hubops.jupyterhub.plugins"
FILES = sorted(path for path in PLUGINS.glob("*/*.py") if path.name != "__init__.py")
UTILS = [path for path in FILES if path.parent.name in ("module_utils", "plugin_utils")]
MODULES = sorted(path.stem for path in PLUGINS.glob("modules/*.py") if path.name != "__init__.py")
FILTERS = [path for path in FILES if path.parent.name == "filter"]

# From the ground up. A file of module_utils that is not named here is a flow.
GROUND, ANSWERS, TRANSPORT, CLIENT, NOUN, PART, SPAWN, FLOW, PROGRAM, ACTION, DOOR = range(1, 12)
FLOORS = {
    "module_utils._errors": 0,
    "module_utils._background": GROUND,
    "module_utils._connection": GROUND,
    "module_utils._diagnosis": GROUND,
    "module_utils._dialects": GROUND,
    "module_utils._scopes": GROUND,
    "module_utils._secrets": GROUND,
    "module_utils._shapes": GROUND,
    "module_utils._starts": GROUND,
    "module_utils._times": GROUND,
    "module_utils._answers": ANSWERS,
    "module_utils._plan": ANSWERS,
    "module_utils._transport": TRANSPORT,
    "module_utils._client": CLIENT,
    # Nouns that other flows speak of, too.
    "module_utils._servers": NOUN,
    "module_utils._tokens": NOUN,
    "module_utils._policy": NOUN,
    # What a flow is made of.
    "module_utils._counting": PART,
    "module_utils._claims": PART,
    "module_utils._stopping": PART,
    "module_utils._spawning": SPAWN,
    "module_utils._keeping": PART,
    "module_utils._minting": SPAWN,
    "module_utils._messages": NOUN,
    "module_utils._websocket": PART,
    "module_utils._channels": SPAWN,
    "module_utils._module": PROGRAM,
    "plugin_utils._action": ACTION,
    "plugin_utils._idle_culler": PART,
    "plugin_utils._naming": GROUND,
    "plugin_utils._service_accounts": ANSWERS,
}
FLOORS_OF_FOLDERS = {"module_utils": FLOW, "modules": ACTION, "action": DOOR, "doc_fragments": 0, "filter": DOOR}


def name_of(path: Path) -> str:
    return f"{path.parent.name}.{path.stem}"


def floor(name: str) -> int:
    return FLOORS.get(name, FLOORS_OF_FOLDERS.get(name.partition(".")[0], DOOR))


def imports(path: Path) -> Iterator[str]:
    """What a file imports, at any place in it, by full names of modules."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import is not shipped with a module"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield str(node.module)


def ours(path: Path) -> set[str]:
    """The files of the collection that a file imports, such as `module_utils._client`.

    `from package import _file` names one, too; `from package._file import Class` names it without the class.
    """
    found = (name.removeprefix(PACKAGE + ".") for name in imports(path) if name.startswith(PACKAGE))
    return {name for name in found if name.count(".") == 1}


def ids(paths: list[Path]) -> list[Any]:
    return [pytest.param(path, id=name_of(path)) for path in paths]


def test_the_house_is_found() -> None:
    assert len(MODULES) >= 5
    assert len(FILTERS) >= 3
    assert ours(PLUGINS / "module_utils" / "_accounts.py") >= {"module_utils._servers", "module_utils._client"}


@pytest.mark.parametrize("path", ids(UTILS))
def test_only_the_top_knows_ansible(path: Path) -> None:
    if name_of(path) in ("module_utils._module", "plugin_utils._action"):
        return
    assert not [name for name in imports(path) if name.partition(".")[0] == "ansible"]


@pytest.mark.parametrize("path", ids(FILES))
def test_imports_go_down_only(path: Path) -> None:
    above = {name for name in ours(path) if floor(name) >= floor(name_of(path))}
    assert not above


@pytest.mark.parametrize("path", ids([path for path in FILES if path.parent.name == "action"]))
def test_an_action_only_names_its_module_s_program(path: Path) -> None:
    assert ours(path) == {f"modules.{path.stem}", "plugin_utils._action"}
    action = importlib.import_module(f"{PACKAGE}.action.{path.stem}")
    assert action.ActionModule.program is importlib.import_module(f"{PACKAGE}.modules.{path.stem}").PROGRAM


@pytest.mark.parametrize("path", ids(FILTERS))
def test_a_filter_only_names_a_function_of_the_role_s(path: Path) -> None:
    """It has the name of its file, and takes the options that it documents, in that order."""
    [decisions] = ours(path)
    assert decisions in ("module_utils._errors", "plugin_utils._idle_culler", "plugin_utils._service_accounts")
    source = importlib.import_module(f"{PACKAGE}.filter.{path.stem}")
    documentation = yaml.safe_load(source.DOCUMENTATION)
    [(name, function)] = source.FilterModule().filters().items()
    assert name == path.stem == documentation["name"]
    assert function.__module__ == f"{PACKAGE}.{decisions}"
    assert "The role's own." in str(documentation["description"])
    taken = list(inspect.signature(function).parameters)
    assert ["_input", *taken[1:]] == list(documentation["options"])
    assert documentation.get("positional") == (", ".join(taken[1:]) or None)


@pytest.mark.parametrize("path", ids(UTILS))
def test_requests_are_the_client_s_alone(path: Path) -> None:
    users = {
        "requests": ("_transport", "_client", "_answers"),
        "urllib3": ("_transport", "_answers"),
        "websocket": ("_channels", "_websocket"),
    }
    libraries = {name.partition(".")[0] for name in imports(path)} & users.keys()
    assert all(path.stem in users[library] for library in libraries)


@pytest.mark.parametrize("path", ids(UTILS))
def test_what_is_private_says_so(path: Path) -> None:
    assert path.name.startswith("_")
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert "This file is private to the collection: it may change without notice." in docstring


@pytest.mark.parametrize("path", ids(FILES))
def test_no_file_is_long(path: Path) -> None:
    """The documentation of a module apart, which is as long as it has to be."""
    text = re.sub(r'^[A-Z]+ = r"""\n.*?^"""$', "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(text.splitlines()) <= 400


@pytest.mark.parametrize("path", ids(FILES))
def test_a_file_carries_its_licence(path: Path) -> None:
    assert "SPDX-License-Identifier: GPL-3.0-or-later" in path.read_text(encoding="utf-8")[:400]


def test_every_module_has_both_doors_and_takes_part_in_the_action_group() -> None:
    assert sorted(path.stem for path in PLUGINS.glob("action/*.py") if path.name != "__init__.py") == MODULES
    runtime = yaml.safe_load((PLUGINS.parent / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert runtime["action_groups"]["hub"] == MODULES
    assert runtime["requires_ansible"] == ">=2.16.0"


def documented(module: str) -> dict[str, dict[str, Any]]:
    """A module's documented options, those of its fragments included."""
    documentation = yaml.safe_load(importlib.import_module(f"{PACKAGE}.modules.{module}").DOCUMENTATION)
    options: dict[str, dict[str, Any]] = dict(documentation["options"])
    for fragment in documentation["extends_documentation_fragment"]:
        source = importlib.import_module(f"{PACKAGE}.doc_fragments.{fragment.rpartition('.')[2]}")
        options |= yaml.safe_load(source.ModuleDocFragment.DOCUMENTATION)["options"]
    return options


def specified(module: str) -> dict[str, dict[str, Any]]:
    spec: dict[str, dict[str, Any]] = importlib.import_module(f"{PACKAGE}.modules.{module}").PROGRAM.argument_spec
    return spec


@pytest.mark.parametrize("module", MODULES)
def test_the_documented_options_are_those_that_are_taken(module: str) -> None:
    keys = {"type": "str", "elements": None, "required": False, "default": None, "choices": None, "aliases": []}

    def facts(options: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {name: {key: option.get(key, usual) for key, usual in keys.items()} for name, option in options.items()}

    assert facts(documented(module)) == facts(specified(module))


@pytest.mark.parametrize("module", MODULES)
def test_an_option_that_the_environment_can_set_says_so(module: str) -> None:
    options = documented(module)
    for name, option in specified(module).items():
        for variable in option["fallback"][1] if "fallback" in option else ():
            assert f"E({variable})" in str(options[name]["description"])


@pytest.mark.parametrize("module", MODULES)
def test_secrets_are_masked(module: str) -> None:
    assert specified(module)["api_token"]["no_log"] is True


@pytest.mark.parametrize("module", MODULES)
def test_the_documented_results_have_a_failure_with_all_its_keys(module: str) -> None:
    results = yaml.safe_load(importlib.import_module(f"{PACKAGE}.modules.{module}").RETURN)
    assert {"actions", "failure"} <= results.keys()
    assert results["failure"]["sample"].keys() == {"code", "message", "status", "method", "url", "hint"}
