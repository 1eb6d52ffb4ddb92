# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the house: who may import whom, and what belongs to a module."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
PACKAGE = "ansible_collections.hubops.jupyterhub.plugins"
FILES = sorted(path for path in PLUGINS.rglob("*.py") if path.name != "__init__.py")
UTILS = [path for path in FILES if path.relative_to(PLUGINS).parts[0] in ("module_utils", "plugin_utils")]
MODULES = sorted(path.stem for path in PLUGINS.glob("modules/*.py") if path.name != "__init__.py")
FILTERS = [path for path in FILES if path.relative_to(PLUGINS).parts[0] == "filter"]
PUBLIC_FILTERS = {"printable"}

KNOW_ANSIBLE = ("module_utils._ansible", "plugin_utils._action")
NOUNS = (
    "_cull", "_drain", "_exec", "_group", "_info", "_restore", "_server", "_snapshot", "_token", "_user", "_verify",
)  # fmt: skip
SHARED = {
    # What several flows use of a noun that has a flow of its own.
    "_server": ("model", "stop"),
    "_info": ("everything",),
    "_group": ("model",),
    "_drain": ("record", "record_file"),
    "_verify": ("phases",),
}
COMPOSED = {"_verify": ("_exec", "_server"), "_drain": ("_cull", "_server"), "_restore": ("_drain", "_server")}
"""Nouns whose flow is made of the flows of other nouns."""
OF_ROLES = ("module_utils._cull.policy", "module_utils._verify.phases")
"""What the roles use of a noun."""
LIBRARIES = {"requests": "_hub", "urllib3": "_hub", "websocket": "_exec", "packaging": "_verify"}
OF_USERS = ("action", "doc_fragments", "filter", "modules")
"""Folders of what Ansible finds by its name."""
LONGEST = 400
"""Lines of code of one file, without its documentation, its docstrings, its comments, and its empty lines."""


def name_of(path: Path) -> str:
    """Such as `module_utils._hub.client`."""
    return ".".join(path.relative_to(PLUGINS).with_suffix("").parts)


def imports(path: Path) -> Iterator[str]:
    """What a file imports, at any place in it, by full names of modules."""
    package = [PACKAGE, *path.relative_to(PLUGINS).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
            yield module


def ours(path: Path) -> set[str]:
    """The files of the collection that a file imports, such as `module_utils._hub.client`."""
    names = {name.removeprefix(PACKAGE + ".") for name in imports(path) if name.startswith(PACKAGE + ".")}
    return names & {name_of(file) for file in FILES}


def ids(paths: list[Path]) -> list[Any]:
    return [pytest.param(path, id=name_of(path)) for path in paths]


def is_private(path: Path) -> bool:
    """Whether ansible-doc leaves the filters of a file out of its lists."""
    return path.parent.name == "__private"


def may_import(user: str, used: str) -> bool:
    """The four rules of the house, for two files of the collection by their names."""
    kind, folder = [*user.split("."), ""][:2]
    used_kind, used_folder, *used_file = [*used.split("."), ""]
    if used_folder == "_hub":
        return folder != "_path" or used_file[0] in ("errors", "threads")
    if kind == "module_utils" and folder == "_hub":
        return False
    if used_kind == "module_utils" and used_folder == "_path":
        return True
    if kind == "module_utils" and folder == "_path":
        return False
    if used_kind == "module_utils" and used_folder in NOUNS and kind != "modules":
        of_roles = kind == "plugin_utils" and used in OF_ROLES
        return (
            of_roles
            or used_folder in (folder, *COMPOSED.get(folder, ()))
            or (folder in NOUNS and used_file[0] in SHARED.get(used_folder, ()))
        )
    return kind in ("modules", "action", "filter", "plugin_utils") or user in KNOW_ANSIBLE


def test_the_house_is_found() -> None:
    assert len(MODULES) >= 5
    assert {path.stem for path in FILTERS if not is_private(path)} == PUBLIC_FILTERS
    assert ours(PLUGINS / "module_utils/_user/flow.py") >= {"module_utils._server.model", "module_utils._hub.client"}
    assert {path.name for path in (PLUGINS / "module_utils").iterdir() if path.is_dir()} - {"__pycache__"} == {
        "_hub", "_path", *NOUNS,
    }  # fmt: skip


@pytest.mark.parametrize("path", ids(FILES))
def test_a_file_imports_only_what_its_folder_may(path: Path) -> None:
    assert [name for name in ours(path) if not may_import(name_of(path), name)] == []


@pytest.mark.parametrize("path", ids(UTILS))
def test_only_the_entry_points_know_ansible(path: Path) -> None:
    if name_of(path) in KNOW_ANSIBLE:
        return
    assert not [name for name in imports(path) if name.partition(".")[0] == "ansible"]


@pytest.mark.parametrize("path", ids(FILES))
def test_a_library_is_used_in_one_folder(path: Path) -> None:
    libraries = {name.partition(".")[0] for name in imports(path)} & LIBRARIES.keys()
    assert all(LIBRARIES[library] == path.parent.name for library in libraries)


@pytest.mark.parametrize("path", ids([path for path in FILES if path.parent.name == "action"]))
def test_an_action_only_names_its_module_s_program(path: Path) -> None:
    assert ours(path) == {f"modules.{path.stem}", "plugin_utils._action"}
    action = importlib.import_module(f"{PACKAGE}.action.{path.stem}")
    assert action.ActionModule.module is importlib.import_module(f"{PACKAGE}.modules.{path.stem}").MODULE


@pytest.mark.parametrize("path", ids([path for path in FILTERS if not is_private(path)]))
def test_a_public_filter_documents_the_options_that_it_takes(path: Path) -> None:
    source = importlib.import_module(f"{PACKAGE}.filter.{path.stem}")
    documentation = yaml.safe_load(source.DOCUMENTATION)
    [(name, function)] = source.FilterModule().filters().items()
    assert name == path.stem == documentation["name"]
    assert [function.__module__] == [f"{PACKAGE}.{used}" for used in ours(path)]
    taken = list(inspect.signature(function).parameters)
    assert ["_input", *taken[1:]] == list(documentation["options"])
    assert documentation.get("positional") == (", ".join(taken[1:]) or None)


@pytest.mark.parametrize("path", ids([path for path in FILTERS if is_private(path)]))
def test_a_private_filter_names_its_role_and_a_function_of_the_role_s(path: Path) -> None:
    """`verify.py` has the filters `_verify_...`, which are functions of `_roles/verify*.py`, and no DOCUMENTATION.

    `roles.py` has those that several roles use.
    """
    source = importlib.import_module(f"{PACKAGE}.filter.__private.{path.stem}")
    role = path.stem
    home = "checks" if role == "roles" else role
    assert role == "roles" or (PLUGINS.parent / "roles" / role).is_dir()
    for name, function in source.FilterModule().filters().items():
        assert name.startswith(f"_{role}")
        assert function.__module__.startswith(f"{PACKAGE}.plugin_utils._roles.{home}")
        assert function.__doc__
    assert not hasattr(source, "DOCUMENTATION")


@pytest.mark.parametrize("path", ids([path for path in FILES if path.relative_to(PLUGINS).parts[0] in OF_USERS]))
def test_galaxy_takes_the_name(path: Path) -> None:
    """The rule of galaxy-importer (``CONTENT_NAME_REGEXP`` in its constants.py) for the file of each plugin."""
    assert re.fullmatch(r"(?!.*__)[a-z_][0-9a-z_]*", path.stem)


@pytest.mark.parametrize("path", ids(UTILS))
def test_what_is_private_says_so(path: Path) -> None:
    """Ansible has no other way to say it than an underscore."""
    assert any(part.startswith("_") for part in path.relative_to(PLUGINS).parts[1:])


def lines_of_code(text: str) -> int:
    """The lines of a Python file on which code stands."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    code = {
        number
        for token in tokens
        if token.type not in (*_NO_CODE, tokenize.ENDMARKER)
        for number in range(token.start[0], token.end[0] + 1)
    }
    # A string that stands by itself is documentation, and so is what Ansible reads of a plugin.
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr | ast.Assign) and isinstance(node.value, ast.Constant):
            is_documentation = isinstance(node, ast.Expr) or "\n" in str(node.value.value)
            code -= set(range(node.lineno, int(node.end_lineno or 0) + 1)) if is_documentation else set()
    return len(code)


_NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)


def test_documentation_is_no_code() -> None:
    assert lines_of_code('"""Doc\nstring."""\n\nDOCUMENTATION = r"""\na\nb\n"""\n# why\na = (\n    1\n)\n') == 3


@pytest.mark.parametrize("path", ids(FILES))
def test_no_file_is_long(path: Path) -> None:
    assert lines_of_code(path.read_text(encoding="utf-8")) <= LONGEST


RIDDLES = {
    "alone", "by", "desk", "early", "elsewhere", "fate", "flaw_of", "gone", "glass", "holding", "late", "of_server",
    "own", "saying", "see_gone", "tell", "told", "until",
}  # fmt: skip
"""Names that say nothing to a reader who has not seen the file. They were there once."""


def names_in(path: Path) -> set[str]:
    """The names of functions, classes, parameters, variables and attributes in a file, without leading underscores."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for field in ("name", "asname", "arg", "id", "attr"):
            name = getattr(node, field, None)
            found |= {name.strip("_").lower()} if isinstance(name, str) else set()
    return found


def test_no_name_is_a_riddle() -> None:
    """In plugins, and in tests."""
    tests = PLUGINS.parent / "tests"
    # ansible-test installs what it needs into tests/output.
    files = [*FILES, *(path for path in tests.rglob("*.py") if not path.is_relative_to(tests / "output"))]
    assert {path.name: found for path in files if (found := names_in(path) & RIDDLES)} == {}


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
    spec: dict[str, dict[str, Any]] = importlib.import_module(f"{PACKAGE}.modules.{module}").MODULE.argument_spec
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


SUPPORT = Path(__file__).resolve().parents[1] / "support"


def test_each_helper_and_fake_has_its_line_in_the_readme() -> None:
    lines = re.findall(r"^\| `(.+?)` \| .", (SUPPORT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    files = [path for folder in (SUPPORT, SUPPORT / "fakes", SUPPORT / "ansible") for path in folder.iterdir()]
    ignored = ("README.md", "__pycache__", "fakes", "ansible")
    names = [path.name + "/" * path.is_dir() for path in files if path.name not in ignored]
    assert sorted(lines) == sorted(names)
    assert all(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in SUPPORT.rglob("*.py"))
