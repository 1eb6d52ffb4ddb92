# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of plugins and roles refers to, what roles leave behind, and which options are secrets."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
COLLECTION = "hubops.jupyterhub"
PLUGINS = f"ansible_collections.{COLLECTION}.plugins"
GUIDES = REPOSITORY / "docs" / "docsite" / "rst"
GUIDE = re.compile(r"https://github\.com/hubops/hubops\.jupyterhub/blob/main/docs/docsite/rst/(\w+)\.rst")
ROLE = re.compile(r"https://github\.com/hubops/hubops\.jupyterhub/blob/main/roles/(\w+)/README\.md")
"""How a module refers to a role. The sanity test validate-modules takes no ``plugin_type: role``."""
OTHER_PAGE = re.compile(r"https://jupyterhub\.readthedocs\.io/en/stable/[\w/-]+\.html")
MODULES = sorted(path.stem for path in (REPOSITORY / "plugins" / "modules").glob("hub_*.py"))
ROLES = sorted(path.parent.name for path in (REPOSITORY / "roles").glob("*/tasks"))
PLAYBOOKS = sorted(path.stem for path in (REPOSITORY / "playbooks").glob("*.yml"))

Data = dict[str, Any]


def read_yaml(path: str) -> Any:
    return yaml.safe_load((REPOSITORY / path).read_text(encoding="utf-8"))


SPECS: dict[str, dict[str, Data]] = {
    role: read_yaml(f"roles/{role}/meta/argument_specs.yml")["argument_specs"] for role in ROLES
}
"""The entry points of each role."""
ENTRY_POINTS = [(role, name) for role in ROLES for name in SPECS[role]]


def documentation(plugin: str) -> Data:
    """The documentation of a plugin, such as ``modules.hub_info``, with what its fragments add to ``seealso``."""
    found: Data = yaml.safe_load(importlib.import_module(f"{PLUGINS}.{plugin}").DOCUMENTATION)
    found.setdefault("seealso", [])
    for fragment in found.get("extends_documentation_fragment", []):
        file = importlib.import_module(f"{PLUGINS}.doc_fragments.{fragment.removeprefix(COLLECTION + '.')}")
        found["seealso"] += yaml.safe_load(file.ModuleDocFragment.DOCUMENTATION).get("seealso", [])
    return found


DOCUMENTED: dict[str, Data] = {
    **{f"module {name}": documentation(f"modules.{name}") for name in MODULES},
    "filter printable": documentation("filter.printable"),
    **{f"role {role}, entry point {name}": SPECS[role][name] for role, name in ENTRY_POINTS},
}


def named_modules(seealso: list[Data]) -> set[str]:
    """The modules that ``seealso`` names."""
    return {item["module"].removeprefix(f"{COLLECTION}.") for item in seealso if "module" in item}


def named_roles(seealso: list[Data]) -> set[str]:
    """The roles that ``seealso`` names."""
    linked = {match[1] for item in seealso if (match := ROLE.fullmatch(item.get("link", "")))}
    return linked | {item["plugin"].removeprefix(f"{COLLECTION}.") for item in seealso if "plugin" in item}


def used_modules(role: str) -> set[str]:
    """The modules of this collection that the tasks of a role run."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "roles" / role / "tasks").glob("*.yml"))
    return set(re.findall(rf"^\s*(?:- )?{re.escape(COLLECTION)}\.(hub_\w+):", text, re.M))


@pytest.mark.parametrize("name", DOCUMENTED)
def test_it_refers_to_what_there_is(name: str) -> None:
    seealso = DOCUMENTED[name].get("seealso", [])
    assert named_modules(seealso) | named_roles(seealso)
    assert named_modules(seealso) <= set(MODULES)
    assert named_roles(seealso) <= set(ROLES)
    guides = set()
    for item in seealso:
        kinds = [{"module"}, {"plugin", "plugin_type"}, {"name", "link"}]
        assert item.keys() - {"description"} in kinds, item
        assert item.get("plugin_type", "role") == "role", item
        assert str(item.get("module") or item.get("plugin") or f"{COLLECTION}.").startswith(f"{COLLECTION}."), item
        # One plain sentence
        assert re.fullmatch(r"[A-Z].*\w\)?\.", item["description"]), item
        assert ". " not in item["description"], item
        if "link" in item and (guide := GUIDE.fullmatch(item["link"])):
            guides.add(guide[1])
        elif "link" in item and (role := ROLE.fullmatch(item["link"])):
            assert item["name"] == f"Role {COLLECTION}.{role[1]}"
        elif "link" in item:
            assert OTHER_PAGE.fullmatch(item["link"]), item
    assert guides
    assert guides <= {path.stem for path in GUIDES.glob("*.rst")}
    assert len({str(item) for item in seealso}) == len(seealso)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_it_says_since_when_it_exists(name: str) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", DOCUMENTED[name].get("version_added", ""))
    assert DOCUMENTED[name].get("author")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_and_its_modules_refer_to_each_other(role: str) -> None:
    used = used_modules(role)
    named_by_role = set().union(*(named_modules(entry.get("seealso", [])) for entry in SPECS[role].values()))
    assert used <= named_by_role
    assert used == {name for name in MODULES if role in named_roles(DOCUMENTED[f"module {name}"]["seealso"])}


def test_most_roles_use_modules() -> None:
    assert {role for role in ROLES if not used_modules(role)} == {"awx", "local_hub"}


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_an_entry_point_says_which_playbook_runs_it(playbook: str) -> None:
    [play] = read_yaml(f"playbooks/{playbook}.yml")
    if "roles" in play:
        [item] = play["roles"]
        role, entry_point = item["role"], "main"
    else:
        [task] = play["tasks"]
        item = task["ansible.builtin.import_role"]
        role, entry_point = item["name"], item.get("tasks_from", "main").removesuffix(".yml")
    role = role.removeprefix(f"{COLLECTION}.")
    sentence = rf"The playbook C\({re.escape(COLLECTION)}\.{playbook}\) runs this (entry point|role) "
    assert re.search(sentence, " ".join(SPECS[role][entry_point]["description"]))
    assert f"`{COLLECTION}.{playbook}`" in (REPOSITORY / "roles" / role / "README.md").read_text(encoding="utf-8")


# What a role leaves behind. Role argument specs have no place for it, and ansible-core before 2.22 shows only the
# description of a role. So each value is a paragraph there that begins in the same way.

RETURNED = re.compile(
    r"B\(Returned (fact|variable|statistic)\) C\((\w+)\), a (?:dictionary|list of dictionaries), .*\.|"
    r"B\(Returned facts\) None\. .*\.|B\(Written files\) .*\."
)


def returned(role: str, entry_point: str, kind: str) -> set[str]:
    found = [RETURNED.fullmatch(text) for text in SPECS[role][entry_point]["description"]]
    return {match[2] for match in found if match and match[1] == kind}


def keys_of(role: str, action: str) -> Iterator[str]:
    """The names that the tasks of a role give to set_stats or register."""

    def walk(data: Any) -> Iterator[str]:
        if isinstance(data, list):
            for item in data:
                yield from walk(item)
        elif isinstance(data, Mapping):
            if action == "register" and "register" in data:
                yield data["register"]
            if action in data and action != "register":
                yield from data[action].get("data", data[action])
            for key in ("block", "rescue", "always"):
                yield from walk(data.get(key, []))

    for path in sorted((REPOSITORY / "roles" / role / "tasks").glob("*.yml")):
        yield from walk(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("role", "entry_point"), ENTRY_POINTS)
def test_an_entry_point_says_what_it_leaves_behind(role: str, entry_point: str) -> None:
    texts = [text for text in SPECS[role][entry_point]["description"] if text.startswith("B(")]
    assert texts
    assert [text for text in texts if not RETURNED.fullmatch(text)] == []


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_leaves_behind_is_what_its_tasks_set(role: str) -> None:
    def documented(kind: str) -> set[str]:
        return set().union(*(returned(role, entry_point, kind) for entry_point in SPECS[role]))

    assert documented("statistic") == set(keys_of(role, "ansible.builtin.set_stats"))
    assert documented("fact") <= set(keys_of(role, "ansible.builtin.set_fact"))
    assert documented("variable") == {name for name in keys_of(role, "register") if name.endswith("_result")}
    page = (REPOSITORY / "roles" / role / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for kind in ("statistic", "fact", "variable") for name in documented(kind))


# Secrets

SECRET = re.compile(r"(?:^|_)(?:\w*tokens?|passwords?|secrets?|passphrase|key|url|headers|inputs|\w+_configuration)$")
"""The names of options that may hold a secret. A path holds none, nor does a boolean."""
NO_SECRET = {
    "awx_hubs.url": "The address of the hub is shown everywhere.",
    "hub_url": "The address of the hub is shown everywhere. The modules take a password out of it.",
    "idle_culler_service_url": "An address of the hub's API",
    "local_hub_base_url": "The path of a hub",
    "service_accounts.kubernetes_key": "The name of a key",
    "service_account_kubernetes_key": "The name of a key",
}


def options(role: str) -> dict[str, Data]:
    """The options of all entry points of a role, and the nested ones with a dot."""

    def walk(prefix: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, Data]]:
        for name, option in spec.items():
            yield prefix + name, option
            yield from walk(f"{prefix}{name}.", option.get("options", {}))

    return {path: option for entry in SPECS[role].values() for path, option in walk("", entry["options"])}


@pytest.mark.parametrize("role", ROLES)
def test_secrets_are_marked(role: str) -> None:
    may_be_secret = {
        path
        for path, option in options(role).items()
        if SECRET.search(path.rpartition(".")[2]) and option["type"] not in ("path", "bool")
    }
    assert {path for path, option in options(role).items() if option.get("no_log")} == may_be_secret - set(NO_SECRET)


def test_each_exception_is_needed() -> None:
    known = {path: option for role in ROLES for path, option in options(role).items()}
    assert [path for path in NO_SECRET if path not in known or not SECRET.search(path.rpartition(".")[2])] == []


@pytest.mark.parametrize("role", ROLES)
def test_only_the_secret_part_of_an_option_is_marked(role: str) -> None:
    """ansible-core 2.22 masks each text and each number in such an option, such as the state ``present``, wherever it
    shows."""
    for path, option in options(role).items():
        assert option.get("no_log", True) is True, f"{path} does not need no_log"
        assert not (option.get("no_log") and "options" in option), f"Mark the options of {path}"
