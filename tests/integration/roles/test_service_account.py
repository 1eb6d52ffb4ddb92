# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role service_account: a user, a token that may do little, a file; and the second time nothing.

It works with the token of the service that the README lets into the hub, whose block is loaded into each hub here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from support.hubs import REPOSITORY, Hub, running_hub
from support.playbooks import (
    ProgramResult,
    api_request,
    hub_environment,
    mint,
    run_playbook,
    scopes_for_verify,
    servers,
)
from support.service_accounts import MARK, NOTE, Site, exists, logged, passed, tokens, whose, writes

PLAYBOOK = "hubops.jupyterhub.service_account"
NAMES = ("read:users:groups", "read:users:name")  # a hub adds them to every token
SERVICE_TOKEN = "5e27ce0000000000000000000000cafe"
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_numbers = count(1)


@dataclass(frozen=True)
class Place:
    """A hub, a folder, and an account that nobody else works with."""

    hub: Hub
    folder: Path
    user: str

    @property
    def file(self) -> Path:
        return self.folder / "secrets" / "account.token"

    def run(self, *arguments: str, token: str | None = None, **variables: Any) -> ProgramResult:
        """The playbook with the admin's token, where no other one is given."""
        chosen = {"service_account_user": self.user, "service_account_token_path": str(self.file), **variables}
        env = hub_environment(self.hub, token or self.hub.admin_token)
        return run_playbook(PLAYBOOK, *arguments, folder=self.folder, env=env, variables=chosen)

    def tokens(self) -> list[dict[str, Any]]:
        return tokens(self.hub, self.user)

    def exists(self) -> bool:
        return exists(self.hub, self.user)

    def held(self) -> list[str]:
        """What the token in the file may do, as the hub says of itself."""
        header = {"Authorization": f"token {self.file.read_text().strip()}"}
        answer = requests.get(f"{self.hub.api}/user", headers=header, timeout=60)
        assert answer.ok, answer.text
        assert answer.json()["name"] == self.user
        return sorted(answer.json()["scopes"])


# Who may cull: the hub's configuration gives the user what the purpose needs. And a server may start slowly.
CULLERS = """
c.Spawner.http_timeout = 300
c.JupyterHub.load_roles.append({
    "name": "cullers",
    "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    "users": ["culler"],
})
"""


@contextmanager
def hub_with_service(
    folder: Path, version: str, base_url: str, more: str = CULLERS, without: str = ""
) -> Iterator[Hub]:
    """A real hub with real servers, and with the README's service, but for a part of it."""
    secret = folder / "hubops.token"
    secret.write_text(SERVICE_TOKEN + "\n")
    [block] = CODE.findall((REPOSITORY / "README.md").read_text())
    assert "/etc/jupyterhub/hubops.token" in block
    assert without in block
    config = block.replace(without, "").replace("/etc/jupyterhub/hubops.token", str(secret)) + more
    with running_hub(folder, version=version, spawner="server", base_url=base_url, config=config) as hub:
        yield hub


@pytest.fixture(scope="module")
def new_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub_with_service(tmp_path_factory.mktemp("new"), "6.1", "/jhub/") as hub:
        yield hub


@pytest.fixture(scope="module")
def old_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub_with_service(tmp_path_factory.mktemp("old"), "5.5", "/") as hub:
        yield hub


@pytest.fixture
def place(new_hub: Hub, tmp_path: Path) -> Place:
    return Place(new_hub, tmp_path, f"account{next(_numbers)}")


@pytest.fixture(params=["new_hub", "old_hub"])
def any_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """On a hub that has start:servers, and on one where that is a part of servers."""
    return Place(request.getfixturevalue(request.param), tmp_path, f"account{next(_numbers)}")


def test_creates_the_account_and_then_changes_nothing(any_place: Place) -> None:
    place = any_place
    passed(place.run(), changed=2)  # the user and the token, with its file and folder
    assert api_request(place.hub, "GET", f"users/{place.user}")["admin"] is False
    assert place.file.stat().st_mode & 0o777 == 0o600
    assert place.file.parent.stat().st_mode & 0o777 == 0o700
    [token] = place.tokens()
    assert MARK.sub("", token["note"]) == NOTE != token["note"]
    assert token["expires_at"] is None
    # Exactly these, in the words of this version of the hub.
    names = [*scopes_for_verify(place.hub), *(f"{name}!user" for name in NAMES)]
    assert set(token["scopes"]) == {f"{name}={place.user}" for name in names}

    secret, when = place.file.read_text(), os.stat(place.file).st_mtime_ns
    passed(place.run(), changed=0)
    assert (place.file.read_text(), os.stat(place.file).st_mtime_ns) == (secret, when)
    assert [each["id"] for each in place.tokens()] == [token["id"]]

    position = logged(place.hub)
    passed(place.run("--check"), changed=0)
    assert not writes(place.hub, position)


def test_check_mode_before_there_is_anything_writes_nothing(place: Place) -> None:
    position = logged(place.hub)
    passed(place.run("--check", "--diff"), changed=1)  # the user: the token of nobody cannot be foreseen
    assert not writes(place.hub, position)
    assert not place.exists()
    assert not place.file.parent.exists()
    # The same look at the log sees a write where there is one.
    passed(place.run(), changed=2)
    assert len(writes(place.hub, position)) == 2


def test_check_mode_foresees_what_a_lost_file_means(place: Place) -> None:
    """A secret that is gone may be kept elsewhere; one that is damaged was kept here."""
    passed(place.run(), changed=2)
    place.file.write_text("\0" * 33)
    position = logged(place.hub)
    passed(place.run("--check"), changed=1)
    for lose in (lambda: place.file.write_text(""), place.file.unlink):
        lose()
        played = place.run("--check")
        assert (played.status, "may be kept at another place" in played.stdout) == (2, True)
    assert not writes(place.hub, position)
    assert not place.file.exists()


def test_a_damaged_file_is_repaired_and_the_lost_token_revoked(place: Place) -> None:
    passed(place.run(), changed=2)
    lost = place.file.read_text().strip()
    place.file.write_text("\0" * 33)
    passed(place.run(), changed=1)
    assert place.file.read_text().strip() != lost
    assert place.held()
    assert len(place.tokens()) == 1
    assert place.file.stat().st_mode & 0o777 == 0o600
    header = {"Authorization": f"token {lost}"}
    assert requests.get(f"{place.hub.api}/user", headers=header, timeout=60).status_code == 403


def test_a_revoked_token_is_replaced(place: Place) -> None:
    passed(place.run(), changed=2)
    [token] = place.tokens()
    revoked = place.file.read_text()
    api_request(place.hub, "DELETE", f"users/{place.user}/tokens/{token['id']}")
    passed(place.run(), changed=1)
    assert place.file.read_text() != revoked
    assert place.held()
    assert len(place.tokens()) == 1


def test_scopes_expiry_and_note_are_as_asked_for(place: Place) -> None:
    """And somebody else's folder keeps its mode."""
    place.file.parent.mkdir(mode=0o755)
    place.file.parent.chmod(0o755)
    asked = {"service_account_scopes": ["read:tokens!user"], "service_account_expires_in": "2h"}
    passed(place.run(service_account_note="of the nightly job", **asked), changed=2)
    [token] = place.tokens()
    assert MARK.sub("", token["note"]) == "of the nightly job"
    assert 0 < (datetime.fromisoformat(token["expires_at"]) - datetime.now(timezone.utc)).total_seconds() <= 7200
    names = ("read:tokens", *NAMES)
    assert place.held() == [f"{name}!user={place.user}" for name in names]
    assert place.file.parent.stat().st_mode & 0o777 == 0o755


def test_the_secret_is_shown_nowhere(place: Place) -> None:
    played = place.run("-vvvv", "--diff")
    passed(played, changed=2)
    secret = place.file.read_text().strip()
    assert len(secret) >= 32
    assert secret not in played.output
    assert place.hub.admin_token not in played.output
    assert str(place.file) in played.output


def test_a_token_that_may_not_do_it_is_told_what_it_lacks(place: Place) -> None:
    played = place.run(token=SERVICE_TOKEN)  # its service may create verify-bot only
    assert played.status == 2
    assert "Mint it with read:users!user=" in played.stdout
    assert not place.exists()
    assert not place.file.exists()


def test_the_readme_s_service_can_do_all_that_is_needed(any_place: Place) -> None:
    """Twice with its token; then the account's token is enough to verify the hub."""
    bot = Place(any_place.hub, any_place.folder, "verify-bot")
    passed(bot.run(token=SERVICE_TOKEN), changed=2)
    passed(bot.run(token=SERVICE_TOKEN), changed=0)
    secret = bot.file.read_text().strip()
    played = run_playbook("hubops.jupyterhub.verify", folder=bot.folder, env=hub_environment(bot.hub, secret))
    assert played.status == 0, played.output
    assert servers(bot.hub, "verify-bot") == {}
    [row] = json.loads((bot.folder / "verify-report" / "report.json").read_text())["hubs"]
    assert row["checks"][0]["user"] == "verify-bot"
    # Repaired with it, too.
    bot.file.write_text("\0" * 33)
    passed(bot.run(token=SERVICE_TOKEN), changed=1)
    assert bot.held()


def test_the_readme_s_service_on_jupyterhub_4(tmp_path: Path) -> None:
    """The hub takes the user for a service, see `has_service_mint_bug`. Without the scope, the task names it."""
    scope = '"tokens!service=verify-bot",'
    for without, status in (("", 0), (scope, 2)):
        folder = tmp_path / str(status)
        folder.mkdir()
        with hub_with_service(folder, "4.1", "/", "", without) as hub:
            bot = Place(hub, folder, "verify-bot")
            for arguments in (("--check",), ()):
                played = bot.run(*arguments, token=SERVICE_TOKEN)
                assert played.status == status, played.output
            users = [user["name"] for user in api_request(hub, "GET", "users")]
            assert ("verify-bot" in users) is (status == 0)  # nothing is done by halves
    assert "JupyterHub 4.1.6 lets a service mint a user's tokens only with a scope for a service" in played.stdout
    assert "lacks tokens!service=verify-bot." in played.stdout


def test_each_hub_of_an_inventory_gets_an_account(place: Place) -> None:
    """With an admin's token of its own, and the default place of the file: below the current folder.

    A host that is not the implicit localhost would have its Python looked for on PATH, and any may be there.
    """
    programs = place.folder / "programs"
    programs.mkdir()
    for minor in range(8, 20):
        (programs / f"python3.{minor}").write_text("#!/bin/sh\nexit 127\n")
        (programs / f"python3.{minor}").chmod(0o755)
    hosts = {
        name: {
            "hub_url": place.hub.url,
            "service_account_admin_token": place.hub.admin_token,
            "service_account_user": f"{place.user}-{name}",
        }
        for name in ("first", "second")
    }
    env = {"PATH": f"{programs}:{os.environ['PATH']}"}
    played = run_playbook(PLAYBOOK, folder=place.folder, hosts=hosts, env=env)
    assert played.status == 0, played.output
    for name in hosts:
        file = place.folder / f"{name}-{place.user}-{name}.token"
        assert file.stat().st_mode & 0o777 == 0o600
        header = {"Authorization": f"token {file.read_text().strip()}"}
        owner = requests.get(f"{place.hub.api}/user", headers=header, timeout=60).json()["name"]
        assert owner == f"{place.user}-{name}"


@pytest.fixture
def site(new_hub: Hub, tmp_path: Path) -> Site:
    return Site(new_hub, tmp_path)


@pytest.fixture(params=["new_hub", "old_hub"])
def any_site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(request.getfixturevalue(request.param), tmp_path)


def test_many_accounts_each_for_its_purpose(any_site: Site) -> None:
    """Exactly the scopes of the purpose, in the words of this version of the hub; groups; names of all kinds."""
    site, hub = any_site, any_site.hub
    odd = 'it\'s "an" odd {one}, zoë'
    accounts = [
        {"user": "of-many", "groups": ["robots", "checkers"], "create_groups": True},
        {"user": "of-many", "note": 'reads "only"', "purpose": "custom", "scopes": ["read:users:name!user"],
         "token_path": "second.token"},
        {"user": "culler", "purpose": "cull", "expires_in": "30d"},
        {"user": odd, "note": "a 'note' with [brackets]", "scopes": ["start:servers!user"]},
    ]  # fmt: skip
    # Where the playbook is run, as all that the role writes.
    files = {"service_account_config_path": "hub.py", "service_account_values_path": "values.yaml"}
    # The users, their groups and their tokens, and both files: a task each.
    passed(site.run("service_account", accounts=accounts, **files), changed=3)
    assert all((site.folder / file).exists() for file in files.values())
    owner = {scope.partition("!")[0]: scope.replace("!user", "!user=of-many") for scope in scopes_for_verify(hub)}
    first, second = sorted(tokens(hub, "of-many"), key=lambda token: str(token["note"]))
    assert set(first["scopes"]) == {*owner.values(), *(f"{name}!user=of-many" for name in NAMES)}
    assert set(second["scopes"]) == {f"{name}!user=of-many" for name in NAMES}
    assert [MARK.sub("", token["note"]) for token in (first, second)] == [NOTE, 'reads "only"']
    [cull] = tokens(hub, "culler")
    held = {"list:users", "read:users:activity", "read:servers", "delete:servers"}
    assert {scope for scope in cull["scopes"] if scope.partition("!")[0] not in NAMES} == held
    assert cull["expires_at"]
    kept = [site.folder / f"localhost-{user}.token" for user in ("of-many", "culler", odd)]
    assert [whose(hub, file.read_text().strip()) for file in kept] == ["of-many", "culler", odd]
    assert sorted(api_request(hub, "GET", "users/of-many")["groups"]) == ["checkers", "robots"]

    position = logged(hub)
    passed(site.run("service_account", accounts=accounts, **files), changed=0)
    assert not writes(hub, position)


def test_a_name_that_looks_like_a_template_is_a_name(site: Site) -> None:
    """In YAML such a text is marked as `!unsafe`."""
    (site.folder / "odd.yml").write_text("service_account_user: !unsafe 'odd {{ 7 * 7 }}'\n")
    passed(site.run("service_account", "-e", "@odd.yml", service_account_token_path="odd.token"), changed=2)
    assert whose(site.hub, (site.folder / "odd.token").read_text().strip()) == "odd {{ 7 * 7 }}"


def test_one_account_that_fails_ends_no_other(site: Site) -> None:
    for name in ("a-folder", "another-folder"):
        (site.folder / name).mkdir()
    accounts = [
        {"user": "before", "keep": "vault", "vault_path": "a-folder", "vault_variable": "before"},
        {"user": "between", "token_path": "another-folder"},
        {"user": "after"},
        {"user": "behind", "keep": "kubernetes", "manifest_path": "behind.yml", "kubernetes_namespace": "hub",
         "kubernetes_name": "behind"},
    ]  # fmt: skip
    played = site.run("service_account", accounts=accounts, service_account_demote=["nobody-is-demoted"])
    assert played.status == 2  # an admin whom the hub does not know, before anything is done
    assert "nobody-is-demoted" in played.stdout
    assert not exists(site.hub, "before")

    admin = f"admin{next(_numbers)}"
    api_request(site.hub, "POST", f"users/{admin}", {"admin": True})
    played = site.run("service_account", accounts=accounts, service_account_demote=[admin])
    assert played.status == 2, played.output
    verdict = played.stdout.rpartition("Fail if an account failed")[2]
    assert "before (" in verdict
    assert "a-folder' is not a file" in verdict
    assert "between" in verdict
    assert not re.search("after|behind", verdict)
    assert [len(tokens(site.hub, user)) for user in ("before", "between", "after", "behind")] == [0, 0, 1, 1]
    assert api_request(site.hub, "GET", f"users/{admin}")["admin"] is True  # who is to repair it needs the rights


def test_a_group_that_is_not_there_is_a_failure_unless_it_may_be_created(site: Site) -> None:
    played = site.run("service_account", accounts=[{"user": "lonely", "groups": ["nowhere"]}])
    assert played.status == 2
    assert "nowhere" in played.stdout
    assert not (site.folder / "localhost-lonely.token").exists()


@pytest.mark.parametrize("check", [False, True])
def test_the_admin_s_rights_go_last_even_those_of_the_role_s_own_token(site: Site, check: bool) -> None:
    owned, other, user = (f"{name}{next(_numbers)}" for name in ("own", "other", "account"))
    for admin in (owned, other):
        api_request(site.hub, "POST", f"users/{admin}", {"admin": True})
    token = mint(site.hub, owned, ["inherit"])
    arguments = {"service_account_user": user, "service_account_demote": [owned, other]}
    if check:
        position = logged(site.hub)
        passed(site.run("service_account", "--check", token=token, **arguments))
        assert not writes(site.hub, position)
        return
    passed(site.run("service_account", token=token, **arguments), changed=3)
    assert [api_request(site.hub, "GET", f"users/{admin}")["admin"] for admin in (owned, other)] == [False, False]
    assert whose(site.hub, (site.folder / f"localhost-{user}.token").read_text().strip()) == user
    # With rights of its own, it finds that nothing is left to do.
    passed(site.run("service_account", **arguments), changed=0)
