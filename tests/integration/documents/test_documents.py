# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All commands in the documents run here, against real hubs.

A block of shell, Python or YAML that no rule below covers fails a test: a new block needs a rule. Guides that a reader
follows from beginning to end, with a hub of their own, have test files of their own.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from support.documents import GUIDES, Block, blocks, tables
from support.hubs import HOME, REPOSITORY, Hub, lab_config, local_hub, running_hub
from support.playbooks import (
    ProgramResult,
    ansible_bin,
    api_request,
    bare_environment,
    copy_checkout,
    hub_environment,
    mint,
    run_forked,
    run_playbook,
    run_program,
    servers,
)
from support.service_accounts import MARK, tokens, whose

MODULES = sorted(file.stem for file in (REPOSITORY / "plugins/modules").glob("hub_*.py"))
ROLES = sorted(folder.name for folder in (REPOSITORY / "roles").iterdir() if (folder / "meta").is_dir())
# Checks that must not run inside these tests, which they would start again.
CHECKS = ["integration", "--beside", "lint", "sanity", "unit", "molecule", "slurm"]

SERVICE_TOKEN = "5e27ce0000000000000000000000cafe"
# No server starts while this file exists.
FULL = """
def room(spawner):
    import os
    if os.path.exists(os.path.join(os.environ["LOCAL_HUB_STATE"], "full")):
        error = RuntimeError("full")
        error.jupyterhub_message = "there is no room"
        raise error

c.Spawner.pre_spawn_hook = room
c.Spawner.http_timeout = 300
"""


@dataclass(frozen=True)
class Workdir:
    """The folder in which a reader of the documents works, with a hub of their own and another hub.

    Commands of a shell are started as the reader starts them. Playbooks of which no command is shown are forked.
    """

    folder: Path
    hub: Hub
    other: Hub
    light: Hub  # for blocks that start many servers without using them

    def shell(self, code: str, folder: Path | None = None, **more: str) -> ProgramResult:
        """Run a block unchanged, and stop at the first command that fails."""
        where = folder or self.folder
        env = bare_environment(where) | more
        env["PATH"] = f"{ansible_bin()}:{sys.prefix}/bin:{os.environ['PATH']}"
        done = run_program(["bash", "-euc", code], where, env)
        assert done.status == 0, done.output
        return done

    def play(self, code: str, token: str, *arguments: str, hub: Hub | None = None) -> ProgramResult:
        playbook = self.folder / "playbook.yml"
        playbook.write_text(code)
        return run_playbook(playbook, *arguments, folder=self.folder, env=hub_environment(hub or self.hub, token))


@pytest.fixture(scope="module")
def workdir(hub_61: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workdir]:
    folder, away = tmp_path_factory.mktemp("desk"), tmp_path_factory.mktemp("other")
    (folder / "hubops.token").write_text(SERVICE_TOKEN + "\n")
    [service] = [block.code for block in blocks("README.md") if block.language == "python"]
    config = service.replace("/etc/jupyterhub/hubops.token", str(folder / "hubops.token")) + FULL + lab_config()
    with (
        running_hub(folder, spawner="server", config=config) as hub,
        running_hub(away, version="5.5", spawner="server", base_url="/jhub/", config=config) as other,
    ):
        yield Workdir(folder, hub, other, hub_61)


@pytest.fixture(scope="module")
def account(workdir: Workdir) -> Path:
    """The file with the account's token, which the README's commands create."""
    [code] = [block.code for block in blocks("README.md") if "service_account_user=verify-bot" in block.code]
    assert "https://hub.example.org/" in code
    workdir.shell(code.replace("https://hub.example.org/", workdir.hub.url))
    return workdir.folder / "verify-bot.token"


# The rules: each covers one block, which it runs


Rule = Callable[[Block, Workdir, Path], None]
RULES: dict[tuple[str, str], Rule] = {}


def rule(document: str, has: str) -> Callable[[Rule], Rule]:
    """Register how the block of this document with this text is run."""

    def register(function: Rule) -> Rule:
        RULES[document, has] = function
        return function

    return register


def rules_of(block: Block) -> list[Rule]:
    return [function for (document, has), function in RULES.items() if document == block.document and has in block.code]


def token_of(account: Path) -> str:
    return account.read_text().strip()


def lines_of(document: str) -> list[str]:
    return [line for block in blocks(document) for line in block.code.splitlines()]


def makes(target: str) -> list[str]:
    """The commands of a target of the Makefile. It is not made, since it would run these tests again."""
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", target], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    return done.stdout.split("\n")[:-1]


@rule("README.md", "make verify")
def make_verify(block: Block, workdir: Workdir, account: Path) -> None:
    """Run by test_make_verify.py."""
    assert block.code == "make verify\n"
    assert makes("verify") == ["tools/verify"]


@rule("README.md", "make test")
def make_test(block: Block, workdir: Workdir, account: Path) -> None:
    assert block.code == "make test\n"
    assert makes("test") == [f"tools/check {' '.join(CHECKS)}"]
    assert makes("test-slurm") == ["tools/slurm"]  # which the last check runs, too
    runs = (REPOSITORY / ".ci/run").read_text().splitlines()
    assert [line for line in runs if not line.startswith("#")] == [
        "set -euo pipefail", 'cd "$(dirname "$0")/.."', "tools/slurm --install || [ $? = 3 ]",
        "tools/chromium --install || [ $? = 3 ]", "tools/monitoring --install || [ $? = 3 ]", "make test",
        "left=$((68 - SECONDS / 60))", "tools/matrix --minutes $((left > 0 ? left : 0)) || [ $? = 3 ]",
    ]  # fmt: skip


@rule("README.md", "ansible-galaxy collection install")
def install(block: Block, workdir: Workdir, account: Path) -> None:
    clone = workdir.folder / "clone"
    copy_checkout(clone)
    workdir.shell(block.code, clone, ANSIBLE_COLLECTIONS_PATH=str(clone / "home" / "installed"))
    [installed] = (clone / "home").glob("installed/ansible_collections/hubops/jupyterhub/MANIFEST.json")
    assert json.loads(installed.read_text())["collection_info"]["name"] == "jupyterhub"


@rule("README.md", "hubops.jupyterhub.awx")
def awx(block: Block, workdir: Workdir, account: Path) -> None:
    """Run by test_awx_page.py, with the declaration of that page."""
    assert block.code.strip() in [line.replace(" -e @vault.yml", "") for line in lines_of(f"{GUIDES}/awx.rst")]


@rule("roles/awx/README.md", "ansible.builtin.import_role")
def awx_role(block: Block, workdir: Workdir, account: Path) -> None:
    """Run by test_awx_page.py."""


@rule("README.md", "load_roles")
def load_roles(block: Block, workdir: Workdir, account: Path) -> None:
    """Both hubs have loaded it, and give the service these scopes."""
    for hub in (workdir.hub, workdir.other):
        answer = requests.get(f"{hub.api}/user", headers={"Authorization": f"token {SERVICE_TOKEN}"}, timeout=60)
        assert (answer.json()["kind"], answer.json()["name"]) == ("service", "hubops")
        assert "tokens!user=verify-bot" in answer.json()["scopes"]
        # Limited to that user, whoever it is.
        limits = {scope.partition("!")[2] for scope in answer.json()["scopes"]}
        assert limits <= {"user=verify-bot", "service=verify-bot", "service=hubops"}


@rule("README.md", "service_account_user=verify-bot")
def service_account(block: Block, workdir: Workdir, account: Path) -> None:
    assert account.stat().st_mode & 0o777 == 0o600
    header = {"Authorization": f"token {token_of(account)}"}
    assert requests.get(f"{workdir.hub.api}/user", headers=header, timeout=60).json()["name"] == "verify-bot"


@rule("README.md", 'export JUPYTERHUB_API_TOKEN="$(cat verify-bot.token)"')
def verify(block: Block, workdir: Workdir, account: Path) -> None:
    workdir.shell(block.code, JUPYTERHUB_URL=workdir.hub.url)
    assert json.loads((workdir.folder / "verify-report/report.json").read_text())["verdict"] == "passed"
    # The files that the README names.
    for name in ("index.html", "junit.xml", "metrics.prom"):
        assert (workdir.folder / "verify-report" / name).exists()


@rule("README.md", "ansible-playbook hubops.jupyterhub.cull")
def culling(block: Block, workdir: Workdir, account: Path) -> None:
    """No server here is idle for that long."""
    done = workdir.shell(block.code, **hub_environment(workdir.hub, workdir.hub.admin_token))
    assert [bool(would) for would in re.findall(r'"0 of \d+ servers (would be )?culled', done.stdout)] == [True, False]


@rule("README.md", "ansible localhost -m hubops.jupyterhub.hub_info")
def one_question(block: Block, workdir: Workdir, account: Path) -> None:
    done = workdir.shell(block.code, **hub_environment(workdir.hub, token_of(account)))
    assert '"servers": []' in done.stdout


@rule("CONTRIBUTING.md", "make unit")
def one_test(block: Block, workdir: Workdir, account: Path) -> None:
    """The unit tests of one file run. The other command would run these tests again, so it only collects them."""
    subprocess.run([REPOSITORY / "tools/venv", "test"], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    whole, one, chosen = block.code.splitlines()
    assert whole == "make unit"
    assert makes("unit") == ["tools/check unit"]
    env = bare_environment(workdir.folder) | {"PWD": str(REPOSITORY)}
    for command, proof in ((one, " passed"), (chosen + " --collect-only -q", "::test_")):
        assert command.startswith(".build/venv-test/bin/pytest tests/")
        done = run_program(["bash", "-euc", command], REPOSITORY, env)
        assert done.status == 0, done.output
        assert proof in done.stdout


@rule("CONTRIBUTING.md", ".build/playground")
def playground(block: Block, workdir: Workdir, account: Path) -> None:
    clone = workdir.folder / "contributor"
    copy_checkout(clone)
    (clone / ".build").mkdir()
    for name in ("hubs", "venv-test"):
        (clone / ".build" / name).symlink_to(REPOSITORY / ".build" / name)
    subprocess.run([clone / "tools/link"], cwd=clone, check=True, stdout=subprocess.DEVNULL)
    try:
        done = workdir.shell(block.code, clone)
    finally:
        stopped = local_hub.perform(local_hub.parse(["stop", "--state", str(clone / ".build/playground")]))
    assert done.stdout.count("CHANGED") == 2
    assert '"state": "ready"' in done.stdout
    assert stopped["changed"] is False  # the block's last line has stopped it


@rule(f"{GUIDES}/failures.rst", "- name: A server, if there is room for it")
def failures(block: Block, workdir: Workdir, account: Path) -> None:
    room = workdir.play(block.code, token_of(account))
    assert room.status == 0, room.output
    assert "there is no room" not in room.stdout
    assert servers(workdir.hub, "verify-bot")[""]["ready"]
    api_request(workdir.hub, "DELETE", "users/verify-bot/server")
    full = workdir.hub.state / "full"
    full.touch()
    try:
        none = workdir.play(block.code, token_of(account))
    finally:
        full.unlink()
    assert none.status == 0, none.output
    assert "there is no room" in none.stdout
    # Any other failure still fails the task.
    other = workdir.play(block.code, "0123456789abcdef0123456789abcdef")
    assert other.status == 2


@rule("roles/service_account/README.md", "- name: An account for a program")
def account_for_a_program(block: Block, workdir: Workdir, account: Path) -> None:
    done = workdir.play(block.code, workdir.hub.admin_token)
    assert done.status == 0, done.output
    secret = (workdir.folder / "program-bot.token").read_text().strip()
    assert whose(workdir.hub, secret) == "program-bot"
    assert "program-bot has token a" in done.stdout
    assert secret not in done.output


@rule("README.md", "ansible-playbook hubops.jupyterhub.snapshot")
def around_an_upgrade(block: Block, workdir: Workdir, account: Path) -> None:
    """Without an upgrade, nothing is lost. One server is drained and restored."""
    api_request(workdir.hub, "POST", "users/verify-bot/server")
    done = workdir.shell(block.code, **hub_environment(workdir.hub, workdir.hub.admin_token))
    assert "PASSED. 1 hub: 1 passed. 1 changed, report in upgrade-report" in done.stdout
    assert "1 restored" in done.stdout
    api_request(workdir.hub, "DELETE", "users/verify-bot/server")


@rule("roles/upgrade/README.md", "- name: Before an upgrade")
def before_an_upgrade(block: Block, workdir: Workdir, account: Path) -> None:
    done = workdir.play(block.code, workdir.hub.admin_token)
    assert done.status == 0, done.output
    assert "1 snapshot" in done.stdout


@rule("roles/idle_culler/README.md", "- name: Cull at night")
def at_night(block: Block, workdir: Workdir, account: Path) -> None:
    done = workdir.play(block.code, workdir.hub.admin_token)
    assert done.status == 0, done.output
    assert len(re.findall(r'"msg": "0 of \d+ servers culled', done.stdout)) == 1


@rule("roles/verify/README.md", "- name: After an upgrade")
def after_an_upgrade(block: Block, workdir: Workdir, account: Path) -> None:
    api_request(workdir.hub, "POST", "users/verify-bot/server")
    done = workdir.play(block.code, token_of(account))
    assert done.status == 0, done.output
    assert servers(workdir.hub, "verify-bot") == {}
    assert json.loads((workdir.folder / "verify-report/report.json").read_text())["verdict"] == "passed"


@rule("roles/local_hub/README.md", "- name: Start a hub for experiments")
def hub_to_play_with(block: Block, workdir: Workdir, account: Path) -> None:
    """With the hub that is already installed. Other tests check the default folder of the installation."""
    state = workdir.folder / "home/.cache/hubops-jupyterhub/hub"
    try:
        done = workdir.play(block.code, "", "-e", f"local_hub_home={HOME}")
    finally:
        stopped = local_hub.perform(local_hub.parse(["stop", "--state", str(state)]))
    assert done.status == 0, done.output
    assert stopped["changed"] is True


WALKED = [
    f"{GUIDES}/{name}.rst"
    for name in (
        "awx", "culling", "getting_started", "monitoring", "own_checks", "service_accounts", "upgrades", "verification",
    )
]  # fmt: skip
"""Guides that a reader follows from beginning to end, such as that on culling, which test_culling_page.py runs."""
RUN = [block for block in blocks() if block.document not in WALKED and block.language not in ("", "text")]


@pytest.mark.parametrize("block", RUN, ids=str)
def test_a_block_does_what_it_says(block: Block, workdir: Workdir, account: Path) -> None:
    assert block.language in ("shell", "python", "yaml"), "say which language it is in, as the others do"
    found = rules_of(block)
    assert len(found) == 1, f"{len(found)} rules of this file cover this block; there must be one:\n{block.code}"
    found[0](block, workdir, account)


def test_each_rule_has_a_block() -> None:
    covered = {function for block in blocks() for function in rules_of(block)}
    assert set(RULES.values()) == covered


def test_a_block_without_a_language_is_none_to_run() -> None:
    """A block that is not run is marked as text, so that no command without a language is overlooked."""
    assert [str(block) for block in blocks() if block.language == ""] == []


def test_the_lines_of_awx_run(workdir: Workdir, account: Path) -> None:
    """In check mode, since they run the same playbooks. test_verify.py checks that artifacts have the verdict."""
    playbooks = ("verify", "rotate_tokens", "cull", "snapshot")
    verifies, rotates, culls, snapshots = (f"- import_playbook: hubops.jupyterhub.{name}" for name in playbooks)
    page = (REPOSITORY / GUIDES / "awx.rst").read_text()
    assert f"``{verifies}``" in page
    assert all(f"``{name}``" in page for name in playbooks)
    done = workdir.play(verifies, token_of(account), "--check")
    assert done.status == 0, done.output
    assert "SKIPPED in " in done.stdout
    declared = ["-e", f"service_account_user=verify-bot service_account_token_path={account}"]
    done = workdir.play(rotates, SERVICE_TOKEN, "--check", *declared)
    assert done.status == 0, done.output
    assert done.recap["localhost"]["changed"] == 0
    done = workdir.play(culls, workdir.hub.admin_token, "--check", "-e", "idle_culler_idle_timeout=1h")
    assert done.status == 0, done.output
    assert "servers would be culled" in done.stdout
    done = workdir.play(snapshots, workdir.hub.admin_token, "--check")
    assert done.status == 0, done.output
    assert "1 snapshot" in done.stdout


# Tables


def test_the_list_of_failures_is_complete() -> None:
    errors = importlib.import_module("ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors")
    kinds = errors.HubError.__subclasses__()
    [(_header, *rows)] = [rows for rows in tables(f"{GUIDES}/failures.rst") if rows[0] == ["code", "When"]]
    listed = [code for code, _when in rows]
    assert len(listed) == len(set(listed))
    assert set(listed) == {kind.code for kind in kinds}


def test_the_readme_lists_every_module() -> None:
    order = ["hub_info", "hub_user", "hub_group", "hub_token", "hub_server", "hub_cull", "hub_snapshot", "hub_compare"]
    order += ["hub_drain", "hub_restore", "hub_exec", "hub_verify"]
    listed = re.findall(r"^\| `(hub_\w+)` \|", (REPOSITORY / "README.md").read_text(), re.M)
    assert listed == sorted(MODULES, key=order.index)


# Manual pages


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    def ask(*arguments: str) -> str:
        folder = tmp_path_factory.mktemp("pages")
        done = run_forked([ansible_bin() / "ansible-doc", *arguments], folder, bare_environment(folder))
        assert done.status == 0, done.output
        return re.sub(r"\x1b\[\d*m", "", done.stdout)

    return ask


def test_every_module_has_a_manual_page(pages: Callable[..., str]) -> None:
    names = [f"hubops.jupyterhub.{module}" for module in MODULES]
    text = pages("-t", "module", *names)
    data = json.loads(pages("-j", "-t", "module", *names))
    for name in names:
        assert name in text.lower()  # ansible-core before 2.17 writes a title in capitals
        page = data[name]
        assert yaml.safe_load(page["examples"])
        assert {"hub_url", "api_token"} <= set(page["doc"]["options"])
        # Each page has all its options; a connection option that the fragment lost would be missing here.
        assert all(option["description"] for option in page["doc"]["options"].values())
        assert {"actions", "failure"} <= set(page["return"])


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_manual_page(pages: Callable[..., str], role: str) -> None:
    text = pages("-t", "role", f"hubops.jupyterhub.{role}")
    for name in specification(role):
        assert re.search(rf"^ *[-=]? *{name}\b", text, re.M), f"{name} is not on the page"


def specification(role: str) -> dict[str, Any]:
    """The options of all entry points of a role. An option of several is the same in them, but for its description."""
    found = yaml.safe_load((REPOSITORY / f"roles/{role}/meta/argument_specs.yml").read_text())
    options: dict[str, Any] = {}
    for entry_point in found["argument_specs"].values():
        for name, option in entry_point["options"].items():
            other = options.setdefault(name, option)
            assert {**other, "description": ""} == {**option, "description": ""}
    return options


@pytest.mark.parametrize("role", ROLES)
def test_the_defaults_of_a_role_are_those_of_its_page(role: str) -> None:
    options = specification(role)
    defaults = yaml.safe_load((REPOSITORY / f"roles/{role}/defaults/main.yml").read_text())
    variables = REPOSITORY / f"roles/{role}/vars/main/main.yml"
    constants = yaml.safe_load(variables.read_text()) if variables.exists() else {}
    assert set(defaults) == {name for name, option in options.items() if "default" in option}
    assert not [name for name in defaults if options[name].get("required")]
    for name, value in defaults.items():
        constant = re.fullmatch(r"{{ (\w+) }}", str(value))
        known = constants.get(constant[1], value) if constant else value
        if "{{" not in str(known):
            assert known == options[name]["default"], name
            assert type(known) is type(options[name]["default"]), name
    # A role's own variables begin with its name; the others are the connection, which all roles share.
    assert {name.split("_")[0] for name in options if not name.startswith(role)} <= {"hub"}


def test_the_roles_share_one_connection() -> None:
    """Its options and their descriptions are the same in all roles, and the options are those of the modules."""
    shared = [
        {name: option for name, option in specification(role).items() if name.startswith("hub_")}
        for role in ("verify", "service_account", "idle_culler", "upgrade")
    ]
    assert all(options == shared[0] for options in shared)
    module = importlib.import_module("ansible_collections.hubops.jupyterhub.plugins.module_utils._ansible")
    names = {name if name.startswith("hub_") else f"hub_{name}" for name in module.CONNECTION_OPTIONS} - {
        "hub_api_token"
    }
    assert set(shared[0]) == names


# Examples of the modules


def play_examples(workdir: Workdir, hub: Hub, module: str, *arguments: str, token: str | None = None) -> dict[str, int]:
    """The numbers of the play recap. Without a ``token``, the examples run as the hub's admin."""
    found = importlib.import_module(f"ansible_collections.hubops.jupyterhub.plugins.modules.{module}")
    tasks = yaml.safe_load(found.EXAMPLES)
    assert tasks
    playbook = [{"name": module, "hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    done = workdir.play(json.dumps(playbook), token or hub.admin_token, *arguments, hub=hub)
    assert done.status == 0, done.output
    numbers = done.recap["localhost"]
    assert (numbers["ok"] + numbers["skipped"], numbers["failed"], numbers["ignored"]) == (len(tasks), 0, 0)
    return numbers


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"hub_token"}))
def test_the_examples_of_a_module_run(workdir: Workdir, module: str) -> None:
    hub = workdir.light if module == "hub_server" else workdir.hub
    # hub_user creates alice itself.
    with_users(hub, *{"hub_user": [], "hub_group": ["alice", "bob", "carol"]}.get(module, ["alice"]))
    # The first examples of hub_verify check a server of the token's owner.
    token = mint(hub, "alice") if module == "hub_verify" else None
    assert play_examples(workdir, hub, module, token=token)["skipped"] == 0
    # No server that an example starts is left, except the one that the example on code leaves to its reader.
    if module == "hub_exec":
        api_request(hub, "DELETE", "users/alice/server")
    elif module != "hub_user":
        assert servers(hub, "alice") == {}


def test_the_examples_of_hub_token_run_every_hour(workdir: Workdir) -> None:
    with_users(workdir.hub, "alice", "bob")
    requests.post(
        f"{workdir.hub.api}/users/bob/tokens", json={"note": "reports"}, headers=workdir.hub.headers, timeout=60
    )
    given = ["-e", "vault_password=of-the-vault"]
    first = play_examples(workdir, workdir.hub, "hub_token", *given)
    assert (first["changed"], first["skipped"]) == (6, 0)
    secrets = {user: (workdir.folder / f"reports-{user}.token").read_text().strip() for user in ("alice", "bob")}
    encoded = {name: (workdir.folder / name).read_bytes() for name in ("alice.vault.yml", "alice-secret.yml")}
    again = play_examples(workdir, workdir.hub, "hub_token", *given)
    # Only what is minted or revoked in any case changes something.
    assert (again["changed"], again["skipped"]) == (3, 0)
    assert {name: (workdir.folder / name).read_bytes() for name in encoded} == encoded
    assert (workdir.folder / "reports-alice.token").read_text().strip() == secrets["alice"]
    assert (workdir.folder / "reports-bob.token").read_text().strip() != secrets["bob"]
    assert not (workdir.folder / "alice.token").exists()
    notes = {user: [token["note"] for token in tokens(workdir.hub, user)] for user in secrets}
    assert sorted(MARK.sub("", note) for note in notes["alice"]) == ["for the cluster", "for the vault", "reports"]
    assert [MARK.sub("", note) for note in notes["bob"]] == ["reports"]


def with_users(hub: Hub, *names: str) -> None:
    """Delete the users of the examples, and create only these."""
    for name in ("alice", "bob", "carol"):
        requests.delete(f"{hub.api}/users/{name}", headers=hub.headers, timeout=60)
        if name in names:
            api_request(hub, "POST", f"users/{name}")
