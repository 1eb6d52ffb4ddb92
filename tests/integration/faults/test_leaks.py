# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret appears anywhere but where a task was told to put it.

Every module does its work and fails at it, with as much output as Ansible can give. Then everything that was printed or
written is searched: the screen, what callbacks get, JUnit's files, the logs of Ansible, the system and the hub, the
command lines of all processes, registered results, facts, and all files that are left behind.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from support.fakes.cutting_proxy import CuttingProxy, Exchange, cutting_proxy
from support.hubs import Hub
from support.playbooks import ansible_bin, run_program
from support.runner import CONNECTIONS, Runner, runner_environment
from support.service_accounts import kubernetes, logged, settle

PLUGINS = Path(__file__).resolve().parents[2] / "support" / "ansible"
SCOPES = ["read:users:name!user"]
MIN_LENGTH = 12
"""A text with so many consecutive characters of a secret shows the secret. No other text has them by chance."""

_numbers = count(1)


# What is searched, and for what


@dataclass
class Evidence:
    """All that a playbook printed and left behind: texts by the place where they were found."""

    texts: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The registered results by the name of their task."""

    def add(self, where: str, output: Any) -> None:
        self.texts[where] = output if isinstance(output, bytes) else str(output).encode(errors="surrogateescape")

    def add_folder(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                self.add(str(path.relative_to(folder)), path.read_bytes())

    def find(self, secret: str) -> list[str]:
        """The places that have a part of the secret: as it is (also in JSON, XML and URLs) or as base64."""
        pieces = encodings(secret)
        return [where for where, text in self.texts.items() if any(piece in text for piece in pieces)]


def encodings(secret: str) -> set[bytes]:
    raw = secret.encode()
    shapes = [raw, raw[::-1], raw.hex().encode()]
    # A base64 character has bits of two characters, so those at the ends depend on the text around the secret.
    shapes += [base64.b64encode(bytes(shift) + raw)[4 if shift else 0 : -4] for shift in range(3)]
    return {shape[runner : runner + MIN_LENGTH] for shape in shapes for runner in range(len(shape) - MIN_LENGTH + 1)}


def test_the_search_finds_secrets() -> None:
    secret, evidence = "0123456789abcdefghijklmnopqrstuvwxyz", Evidence()
    evidence.add("whole", f'{{"token": "{secret}"}}')
    evidence.add("in part", f"it begins with {secret[:14]}...")
    for before in ("", "x", "xy"):
        evidence.add(f"encoded after {before!r}", base64.b64encode(f"{before}{secret}\n".encode()))
    evidence.add("harmless", f"{secret[:8]}...")
    assert evidence.find(secret) == [where for where in evidence.texts if where != "harmless"]


@contextmanager
def process_list(evidence: Evidence) -> Iterator[None]:
    """Record what every user of the machine can see of the processes that begin within the block."""
    ended, seen, before = threading.Event(), set(), set(os.listdir("/proc"))

    def look() -> None:
        while not ended.wait(0.02):
            now = set(os.listdir("/proc"))
            before.intersection_update(now)  # the number of a process that has ended may be used again
            for name in now - before:
                if name.isdigit():
                    try:
                        seen.add(Path("/proc", name, "cmdline").read_bytes())
                    except OSError:
                        pass  # the process has ended

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(60)
        evidence.add("process list", b"\n".join(seen))


@dataclass
class Stage:
    """Where a playbook runs: a folder for what it leaves (searched), and one for secrets (not searched)."""

    folder: Path
    door: str

    def __post_init__(self) -> None:
        for name in ("left/tmp", "kept", "private", "play"):
            (self.folder / name).mkdir(parents=True)

    def kept(self, name: str) -> str:
        return str(self.folder / "kept" / name)

    def secret(self, value: str) -> str:
        """A lookup for a playbook whose value comes from outside, as from a vault."""
        path = self.folder / "private" / f"secret{next(_numbers)}"
        path.write_text(value)
        return f"{{{{ lookup('ansible.builtin.file', '{path}') }}}}"

    def env(self, hub: Hub, more: dict[str, str]) -> dict[str, str]:
        left = self.folder / "left"
        return runner_environment(
            left,
            {
                "PYTHONPATH": str(PLUGINS / "syslog_recorder"),
                "RECORDED_SYSLOG": str(left / "syslog"),
                "RECORDED_EVENTS": str(left / "events"),
                "TMPDIR": str(left / "tmp"),
                "ANSIBLE_LOG_PATH": str(left / "ansible.log"),
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "json" if self.door == "controller" else "yaml",
                "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS / "event_recorder" / "callback"),
                "ANSIBLE_CALLBACKS_ENABLED": "record_events,ansible.builtin.junit",
                "JUNIT_OUTPUT_DIR": str(left / "junit"),
                "JUPYTERHUB_URL": hub.url,
                "JUPYTERHUB_API_TOKEN": hub.admin_token,
                **more,
            },
        )

    def play(self, hub: Hub, tasks: list[dict[str, Any]], secretive: tuple[str, ...] = (), **env: str) -> Evidence:
        """Run all tasks, also after failures. ``secretive`` are the names of variables that may hold a secret."""
        evidence, private = Evidence(), self.folder / "private"
        keep = {"path": str(private / "hostvars.json"), "results": "{{ hostvars[inventory_hostname] }}"}
        steps = [{"ignore_errors": True, **task} for task in tasks]
        steps.append({"name": "Keep all variables", "write_results": keep, "no_log": True})
        playbook, hosts = self.folder / "play" / "playbook.json", self.folder / "play" / "hosts"
        playbook.write_text(json.dumps([{"hosts": self.door, "gather_facts": False, "tasks": steps}], indent=1))
        hosts.write_text(f"{self.door} ansible_connection={CONNECTIONS[self.door]}\n")
        command = [ansible_bin() / "ansible-playbook", "-i", hosts, "-vvvv", "--diff", playbook]
        position = logged(hub)  # the hub is shared, so its log has other tests' requests
        with process_list(evidence):
            # Started, not forked, since what its process shows is searched, too.
            ran = run_program(command, self.folder / "play", self.env(hub, env))
        assert (private / "hostvars.json").exists(), ran.output[-3000:]
        variables = json.loads((private / "hostvars.json").read_text())
        for task in tasks:
            if "register" in task:
                evidence.results[task["register"]] = variables[task["register"]]
        evidence.add("screen", ran.output)
        evidence.add("variables", json.dumps({name: each for name, each in variables.items() if name not in secretive}))
        evidence.add("facts", json.dumps(variables.get("ansible_facts", {})))
        evidence.add_folder(self.folder / "left")
        evidence.add_folder(self.folder / "play")
        settle(hub)
        evidence.add("hub.log", hub.log.read_bytes()[position:])
        return evidence


@pytest.fixture
def stage(door: str, tmp_path: Path) -> Stage:
    return Stage(tmp_path / "stage", door)


def task(module: str, register: str, keywords: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    named = {"name": f"The task {register}", f"hubops.jupyterhub.{module}": options, "register": register}
    return {**named, **(keywords or {})}


def minted_secrets(proxy: CuttingProxy) -> set[str]:
    """The secrets that the hub has minted."""
    minted = [each for each in proxy.exchanges if each.method == "POST" and each.path.endswith("/tokens")]
    return {json.loads(each.content)["token"] for each in minted if each.status == 201}


def assert_no_secret(evidence: Evidence, *secrets: str) -> None:
    assert len(secrets) == len(set(secrets)) > 0
    assert all(len(secret) > 20 for secret in secrets)
    found = {secret: places for secret in secrets if (places := evidence.find(secret))}
    assert not found, "\n".join(f"{secret} is in {', '.join(places)}" for secret, places in found.items())


def assert_recorded(evidence: Evidence, tasks: list[dict[str, Any]], door: str) -> None:
    """Each recorder has recorded the run, so the search had something to search."""
    names = [task["register"] for task in tasks]
    for where in ("screen", "events", "ansible.log"):
        assert all(f"The task {name}".encode() in evidence.texts[where] for name in names), where
    assert b"VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in evidence.texts["screen"]
    assert any(where.startswith("junit/") and b"The task" in text for where, text in evidence.texts.items())
    if door == "module":
        assert b"Invoked with" in evidence.texts["syslog"]
        assert b"hub_token" in evidence.texts["syslog"]
    assert b"ansible-playbook" in evidence.texts["process list"]
    assert b"/api/users/" in evidence.texts["hub.log"]


# The playbooks

NO_LOG = {"no_log": True}
CHECK_MODE = {"check_mode": True}


def test_tokens(hub_61: Hub, stage: Stage) -> None:
    """Every way to keep a token, and every way in which it can fail."""
    runner = Runner(stage.door, hub_61)
    user, other = runner.new_user(), runner.new_user()
    kept, listed, lost, in_async = (stage.kept(name) for name in ("kept", "listed", "lost/token", "async"))
    revoked, unknown = runner.mint(user, *SCOPES), token_hex(16)
    runner.api_request("DELETE", f"users/{user}/tokens/{runner.tokens(user)[0]['id']}")
    revoked_one, unknown_one, strange_one, words = (
        stage.secret(each) for each in (revoked, unknown, unknown + "\u00e9", unknown + " and more")
    )

    def replace_folder_by_file(moment: str, exchange: Exchange) -> None:
        """When the token is minted, replace the folder of its file by a file."""
        if moment == "hub_answered" and exchange.method == "POST" and b"to be lost" in exchange.content:
            Path(lost).parent.rmdir()
            Path(lost).parent.touch()

    with cutting_proxy(hub_61.url) as proxy:
        proxy.observer = replace_folder_by_file
        Path(lost).parent.mkdir()
        via: dict[str, Any] = {"hub_url": proxy.url, "user": user, "scopes": SCOPES}
        in_file, in_hand = {**via, "note": "in a file", "path": kept}, {**via, "note": "in hand"}
        by_wrong = {**via, "note": "wrong", "secret": unknown_one}
        wrong_item = {"user": user, "note": "wrong", "scopes": SCOPES, "secret": unknown_one}
        items = [
            {"user": user, "note": "in a file", "scopes": SCOPES, "path": kept},
            {"user": other, "note": "listed", "scopes": SCOPES, "path": listed},
            {"user": user, "note": "in hand", "scopes": SCOPES, "secret": "{{ second.token }}"},
        ]
        tasks = [
            task("hub_token", "in_check_mode", CHECK_MODE, **in_file),
            task("hub_token", "minted", **in_file),
            task("hub_token", "there", **in_file),
            task("hub_token", "rotated", rotate=True, **in_file),
            task("hub_token", "overlapping", rotate=True, overlap="1h", expires_in="2h", **in_file),
            task("hub_token", "back", **in_file),
            task("hub_token", "first", NO_LOG, **in_hand),
            task("hub_token", "second", NO_LOG, secret="{{ first.token }}", rotate=True, **in_hand),
            task("hub_token", "proven", secret="{{ second.token }}", **in_hand),
            task("hub_token", "many", hub_url=proxy.url, tokens=items),
            task("hub_token", "many_again", hub_url=proxy.url, tokens=items),
            task("hub_token", "third", NO_LOG, **by_wrong),
            task("hub_token", "wrong", CHECK_MODE, **by_wrong),
            task("hub_token", "wrong_listed", CHECK_MODE, hub_url=proxy.url, tokens=[wrong_item]),
            task("hub_token", "words", CHECK_MODE, **{**by_wrong, "secret": words}),
            task("hub_token", "async", {"async": 60, "poll": 1}, **{**via, "note": "async", "path": in_async}),
            task("hub_token", "FAILS_lost", **{**via, "note": "to be lost", "path": lost}),
            task("hub_token", "FAILS_revoked", api_token=revoked_one, **in_file),
            task("hub_token", "FAILS_revoked_listed", hub_url=proxy.url, api_token=revoked_one, tokens=items),
            task("hub_token", "FAILS_strange", api_token=strange_one, **in_hand),
            task("hub_token", "FAILS_option", **{**by_wrong, "no_such_option": 1}),
            task("hub_token", "FAILS_option_listed", tokens=[{**wrong_item, "no_such_option": 1}]),
            task("hub_token", "FAILS_nobody", hub_url=proxy.url, tokens=[{**wrong_item, "user": "nobody-so-named"}]),
            task("hub_token", "FAILS_scope", **{**by_wrong, "scopes": ["no:such:scope"]}),
            task("hub_token", "gone", **{**in_file, "state": "absent"}),
        ]
        evidence = stage.play(hub_61, tasks, secretive=("first", "second", "third"))
        minted = minted_secrets(proxy)
    check_failures(evidence)
    assert {Path(listed).read_text().strip(), Path(in_async).read_text().strip()} < minted
    assert {evidence.results[name]["token"] for name in ("first", "second", "third")} < minted
    assert len(minted) == 10
    assert not any("to be lost" in token["note"] for token in runner.tokens(user))
    assert_recorded(evidence, tasks, stage.door)
    assert_no_secret(evidence, hub_61.admin_token, revoked, unknown, *minted)


def test_all_other_modules(real_hub: Hub, stage: Stage) -> None:
    """The admin's token and a refused one, with each module's work and failures."""
    runner, unknown = Runner(stage.door, real_hub), token_hex(16)
    user = runner.new_user()
    # With a token that may do it, not the one from the environment.
    held = runner.mint(user, "start:servers!user", "delete:servers!user", "read:servers!user", "access:servers!user")
    held_token, wrong = stage.secret(held), stage.secret(unknown)
    modules: dict[str, dict[str, Any]] = {
        "hub_info": {"gather": ["all"]},
        "hub_user": {"user": user, "groups": ["leaky"], "create_groups": True},
        "hub_group": {"name": "leaky", "users": [user], "append": True, "properties": {"a": 1}},
        "hub_token": {"user": user, "note": "for all", "scopes": SCOPES, "path": stage.kept("for all")},
        "hub_server": {"user": user},
        "hub_exec": {"user": user, "code": "6 * 7"},
    }
    tasks = [task(module, module, **options) for module, options in modules.items()]
    tasks += [
        task("hub_info", "held_info", api_token=held_token),
        task("hub_server", "held_start", api_token=held_token, user=user),
        task("hub_exec", "FAILS_exec", api_token=held_token, user=user, code="raise ValueError('of the test')"),
        task("hub_exec", "held_exec", api_token=held_token, user=user, code="6 * 7"),
    ]
    tasks += [task(module, f"FAILS_{module}", api_token=wrong, **options) for module, options in modules.items()]
    # Ansible finds no secret in options of which one has no dictionary where it should.
    tasks.append(task("hub_server", "FAILS_type", api_token=wrong, servers=["a text"]))
    tasks.append(task("hub_token", "FAILS_type_listed", api_token=wrong, tokens=[{"secret": held_token}, "a text"]))
    tasks.append(
        task("hub_info", "FAILS_nowhere", api_token=held_token, hub_url="http://127.0.0.1:9/", request_timeout="1s")
    )
    tasks.append(task("hub_server", "held_stop", api_token=held_token, user=user, state="stopped"))
    evidence = stage.play(real_hub, tasks)
    check_failures(evidence)
    assert_recorded(evidence, tasks, stage.door)
    assert_no_secret(evidence, real_hub.admin_token, held, unknown, Path(stage.kept("for all")).read_text().strip())


def test_hub_verify(real_hub: Hub, stage: Stage) -> None:
    """The tokens of the task and of its checks, in servers whose code tells them, and in failures of every kind."""
    runner, unknown = Runner(stage.door, real_hub), token_hex(16)
    scopes = ("start:servers!user", "delete:servers!user", "read:servers!user", "access:servers!user")
    held: dict[str, str] = {}
    for user in (runner.new_user() for _number in range(3)):
        held[user] = runner.mint(user, *scopes)
        home = real_hub.state / "homes" / user
        home.mkdir(parents=True)
        (home / "token").write_text(held[user])
    (first, *others), wrong = held, stage.secret(unknown)
    tokens = {user: stage.secret(token) for user, token in held.items()}
    show, fail = "print(open('token').read())", "raise ValueError(open('token').read())"
    prints_token = [{"code": show, "expect": {"stdout": {"matches": r"^\w+$"}}}]
    notebook = {"path": "a.ipynb", "content": json.dumps(notebook_of(show, fail)), "kernel_name": "python3"}
    listed = [
        {"name": "tells", "api_token": tokens[others[0]], "code": prints_token},
        {"name": "raises", "api_token": tokens[others[1]], "code": [{"code": fail}]},
        {"name": "refused", "api_token": wrong},
    ]
    nowhere = {"hub_url": "http://127.0.0.1:9/", "request_timeout": "1s"}
    tasks = [
        task("hub_token", "minted", user=first, note="beside", scopes=SCOPES, path=stage.kept("beside")),
        task("hub_verify", "shown", api_token=tokens[first], code=prints_token),
        task("hub_verify", "in_check_mode", CHECK_MODE, api_token=tokens[first], checks=listed[:2]),
        task("hub_verify", "async", {"async": 120, "poll": 1}, api_token=tokens[first], checks=listed[:1]),
        task("hub_verify", "FAILS_raised", api_token=tokens[first], notebooks=[notebook]),
        task("hub_verify", "FAILS_listed", api_token=tokens[first], checks=listed),
        task("hub_verify", "FAILS_wrong", api_token=wrong, checks=[{}, listed[2]]),
        task("hub_verify", "FAILS_option", api_token=tokens[first], no_such_option=1),
        task("hub_verify", "FAILS_option_listed", checks=[{**listed[0], "no_such_option": 1}]),
        task("hub_verify", "FAILS_type_listed", checks=[{**listed[0], "code": tokens[others[0]]}]),
        task("hub_verify", "FAILS_nowhere", api_token=tokens[first], checks=listed, **nowhere),
    ]
    evidence = stage.play(real_hub, tasks)
    check_failures(evidence)
    assert_recorded(evidence, tasks, stage.door)
    # The code has printed its token, and the result shows that it was masked.
    [entry] = evidence.results["shown"]["checks"][0]["phases"][1]["details"]["snippets"]
    assert entry["stdout"].strip() == "*" * 8
    kept = Path(stage.kept("beside")).read_text().strip()
    assert_no_secret(evidence, real_hub.admin_token, unknown, kept, *held.values())


def notebook_of(*cells: str) -> dict[str, Any]:
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{**cell, "source": each} for each in cells]}


@pytest.mark.parametrize("door", ["controller"])
def test_role_service_account(hub_61: Hub, stage: Stage) -> None:
    """Every place where the role keeps tokens: new and rotated ones, and one that is lost after it was minted."""
    password, store, calls = token_hex(16), stage.folder / "kept" / "store", stage.folder / "private" / "calls"
    keep = {
        "name": "Keep it in the store",
        "ansible.builtin.copy": {"dest": str(store), "content": "{{ service_account_new_secret }}", "mode": "0600"},
        **NO_LOG,
    }
    (stage.folder / "private" / "keep.yml").write_text(json.dumps([keep]))
    in_store = f"{{{{ lookup('ansible.builtin.file', '{store}') if '{store}' is exists else '' }}}}"
    manifest = {"manifest_path": stage.kept("secret.yml"), "kubernetes_namespace": "hub", "kubernetes_name": "bot"}
    accounts: list[dict[str, Any]] = [
        {"user": "leak-file", "keep": "file", "token_path": stage.kept("leak-file")},
        {"user": "leak-vault", "keep": "vault", "vault_path": stage.kept("vault.yml"), "vault_variable": "bot"},
        {"user": "leak-kubernetes", "keep": "kubernetes", **manifest},
        {"user": "leak-tasks", "keep": "tasks", "keep_tasks": f"{stage.folder}/private/keep.yml", "secret": in_store},
    ]
    lost = Path(stage.kept("lost")) / "vault.yml"
    lost.parent.mkdir(mode=0o700)
    loser = {"user": "leak-lost", "keep": "vault", "vault_path": str(lost), "vault_variable": "bot"}

    def replace_folder_by_file(moment: str, exchange: Exchange) -> None:
        if moment == "hub_answered" and exchange.method == "POST" and "/leak-lost/tokens" in exchange.path:
            lost.parent.rmdir()
            lost.parent.touch()

    def provide(name: str, accounts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        variables = {
            "service_accounts": accounts,
            "hub_url": proxy.url,
            "service_account_admin_token": stage.secret(hub_61.admin_token),
            "service_account_vault_password": stage.secret(password),
            "service_account_kubernetes_apply": True,
            **more,
        }
        role = {"name": "hubops.jupyterhub.service_account"}
        included = {"name": f"The task {name}", "ansible.builtin.include_role": role, "vars": variables}
        survived = {"name": "Survive", "ansible.builtin.meta": "noop"}
        return {"name": name, "block": [included], "rescue": [survived], "ignore_errors": False}

    with cutting_proxy(hub_61.url) as proxy:
        proxy.observer = replace_folder_by_file
        plays = [
            provide("made", [*accounts, loser]),
            provide("rotated", [{**account, "expires_in": "1h"} for account in accounts]),
        ]
        evidence = stage.play(hub_61, plays, **kubernetes(calls))
        minted = minted_secrets(proxy)
    screen = evidence.texts["screen"].decode()
    assert (len(minted), screen.count("rescued=1 ")) == (9, 1), screen[-3000:]
    assert b"Fail if an account failed" in evidence.texts["events"]
    # No module that logs runs on the host. The log of modules is searched by the other tests.
    assert Path(stage.kept("leak-file")).read_text().strip() in minted
    assert store.read_text() in minted
    assert len(calls.read_text().splitlines()) == 2  # each run applies the secret that it keeps
    assert_no_secret(evidence, hub_61.admin_token, password, *minted)


def check_failures(evidence: Evidence) -> None:
    """Exactly the tasks fail whose name says so."""
    failed = {name: result.get("msg") for name, result in evidence.results.items() if result.get("failed")}
    assert set(failed) == {name for name in evidence.results if name.startswith("FAILS")}, failed
