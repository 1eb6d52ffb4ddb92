# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide on service accounts, followed from its beginning to its end by a reader with a hub of their own."""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path

import yaml
from support.documents import blocks
from support.hub_configs import LOAD_SUBCONFIG
from support.hubs import Hub, running_hub
from support.playbooks import (
    ProgramResult,
    api_request,
    bare_environment,
    hub_environment,
    mint,
    run_playbook,
    run_program,
)
from support.service_accounts import tokens, whose
from support.waiting import wait_until

PAGE = "docs/docsite/rst/service_accounts.rst"
ACCOUNTS = ["verify-bot", "cull-bot", "report-bot"]


class Reader:
    """Takes the blocks of the page one after the other, with folders of the test in place of the machine's."""

    def __init__(self, workdir: Path) -> None:
        self.workdir, self.folder = workdir, workdir / "srv" / "hub"
        # test_service_accounts_awx.py and test_service_accounts_stores.py follow the section on AWX.
        self.left = [block for block in blocks(PAGE) if block.section != "AWX"]
        self.folder.mkdir(parents=True)
        for name in ("etc/jupyterhub", "srv/store"):
            (workdir / name).mkdir(parents=True)

    def block(self, language: str, has: str) -> str:
        """The next block, which must have this language and this text."""
        block = self.left.pop(0)
        assert block.language == language, block
        assert has in block.code
        return re.sub("/(etc/jupyterhub|srv)/", rf"{self.workdir}/\1/", block.code)

    def shell(self, has: str, token: str = "") -> ProgramResult:
        return self.run(self.block("shell", has), {"JUPYTERHUB_API_TOKEN": token} if token else {})

    def run(self, code: str, env: dict[str, str]) -> ProgramResult:
        return run_program(["sh", "-euc", code], self.folder, bare_environment(self.folder) | env)

    def declare(self, code: str, hub: Hub) -> None:
        assert "https://hub.example.org/" in code
        (self.folder / "accounts.yml").write_text(code.replace("https://hub.example.org/", hub.url))

    def secret(self, user: str) -> str:
        return (self.folder / f"localhost-{user}.token").read_text().strip()


def test_the_page_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    with running_hub(tmp_path) as hub:
        api_request(hub, "POST", "users/setup-admin", {"admin": True})
        admin = mint(hub, "setup-admin", ["inherit"])
        accounts = begins(reader, hub, admin)
    with running_hub(tmp_path, config=LOAD_SUBCONFIG + reader.block("python", "load_subconfig")) as hub:
        reader.declare(accounts, hub)
        goes_on(reader, hub, admin)
        keeps_tokens_elsewhere(reader, hub)
        reader.declare(accounts, hub)
        renews(reader, hub)
        audits(reader, hub)
    assert reader.left == []


def begins(reader: Reader, hub: Hub, admin: str) -> str:
    """All that is possible before the hub has loaded the configuration."""
    accounts = reader.block("yaml", "cull-bot")
    reader.declare(accounts, hub)
    (reader.folder / "admin.token").write_text(admin)
    done = reader.shell("admin.token")
    assert done.status == 2, done.output
    verdict = done.stdout.rpartition("Fail if an account failed")[2]
    assert "cull-bot" in verdict
    assert "A token can do no more than its owner" in verdict
    assert [whose(hub, reader.secret(user)) for user in ("verify-bot", "report-bot")] == ["verify-bot", "report-bot"]
    assert not (reader.folder / "localhost-cull-bot.token").exists()
    assert [user["name"] for user in [api_request(hub, "GET", "users/report-bot")] if user["groups"] == ["robots"]]

    written = reader.folder / "service_accounts.py"
    assert not [secret for secret in (admin, reader.secret("verify-bot")) if secret in written.read_text()]
    shutil.copy(written, reader.workdir / "etc/jupyterhub")
    service = secrets.token_hex(16)
    for file in (reader.workdir / "etc/jupyterhub/hubops.token", reader.folder / "hubops.token"):
        file.write_text(service + "\n")
    return accounts


def goes_on(reader: Reader, hub: Hub, admin: str) -> None:
    """What is possible after the hub has loaded it."""
    done = reader.shell("service_account_demote", admin)
    assert done.status == 0, done.output
    assert api_request(hub, "GET", "users/setup-admin")["admin"] is False
    assert [whose(hub, reader.secret(user)) for user in ACCOUNTS] == ACCOUNTS
    assert done.recap["localhost"]["changed"] == 2  # the token of cull-bot, and the admin
    done = reader.shell("hubops.token")
    assert done.status == 0, done.output
    assert done.recap["localhost"]["changed"] == 0


def keeps_tokens_elsewhere(reader: Reader, hub: Hub) -> None:
    reader.declare(reader.block("yaml", "vault_variable"), hub)
    (reader.folder / "keep.yml").write_text(reader.block("yaml", "service_account_new_secret"))
    (reader.folder / "home").mkdir(exist_ok=True)
    (reader.folder / "home" / ".vault-password").write_text("of the vault\n")
    env = hub_environment(hub, hub.admin_token)
    for changes in (True, False):
        done = run_playbook("hubops.jupyterhub.service_account", "-e", "@accounts.yml", folder=reader.folder, env=env)
        assert done.status == 0, done.output
        assert (done.recap["localhost"]["changed"] > 0) is changes
    assert whose(hub, (reader.workdir / "srv/checks/hub.token").read_text().strip()) == "file-bot"
    assert whose(hub, (reader.workdir / "srv/store/store-bot").read_text()) == "store-bot"
    assert (reader.folder / "vault-bot.yml").read_text().startswith("$ANSIBLE_VAULT;")
    assert yaml.safe_load((reader.folder / "pod-bot.yml").read_text())["kind"] == "Secret"


def renews(reader: Reader, hub: Hub) -> None:
    """Renew tokens as cron does, once an hour."""
    minute, *other, command = reader.block("text", "rotate_tokens").strip().split(" ", 5)
    assert re.fullmatch(r"[0-5]?\d", minute)
    assert other == ["*"] * 4
    kept = {user: reader.secret(user) for user in ACCOUNTS}
    [token] = tokens(hub, "cull-bot")
    api_request(hub, "DELETE", f"users/cull-bot/tokens/{token['id']}")
    wait_until(lambda: whose(hub, kept["cull-bot"]) is None)
    done = reader.run(f"cd / && {command}", {"SHELL": "/bin/sh", "PWD": "/"})
    assert done.status == 0, done.output
    assert done.recap["localhost"]["changed"] == 1
    assert [user for user in ACCOUNTS if reader.secret(user) != kept[user]] == ["cull-bot"]
    assert whose(hub, reader.secret("cull-bot")) == "cull-bot"


def audits(reader: Reader, hub: Hub) -> None:
    """No token is old enough. With another limit the tokens are shown that never expire."""
    code = reader.block("yaml", "gather: [tokens]")
    assert "90 * 86400" in code
    for limit, shown in (("90 * 86400", []), ("-1", ["setup-admin"])):
        (reader.folder / "audit.yml").write_text(code.replace("90 * 86400", limit))
        done = run_playbook("audit.yml", folder=reader.folder, env=hub_environment(hub, hub.admin_token))
        assert done.status == 0, done.output
        assert re.findall(r'"msg": "([^:]*): of a test, minted', done.stdout) == shown
