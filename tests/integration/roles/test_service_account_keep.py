# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role service_account keeps tokens where a site keeps secrets: in files, vaults, manifests or by its own tasks.

Kubernetes is a recorder here, and the store of the site's own tasks a folder.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.hubs import Hub
from support.service_accounts import PASSWORD, PLUGINS, Site, asked, exists, logged, passed, tokens, whose, writes


@pytest.fixture
def site(hub_61: Hub, tmp_path: Path) -> Site:
    return Site(hub_61, tmp_path)


@pytest.fixture(params=["new_hub", "old_hub"])
def any_site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(request.getfixturevalue({"new_hub": "hub_61", "old_hub": "hub_55"}[request.param]), tmp_path)


def states(site: Site, name: str) -> dict[str, tuple[bytes, int]]:
    return {user: (path.read_bytes(), path.stat().st_mtime_ns) for user, path in site.files(name).items()}


def test_each_place_keeps_its_token(any_site: Site) -> None:
    """Made, left alone, rotated, lost and made again: at each step exactly one token an account, which works."""
    site, hub = any_site, any_site.hub
    accounts = site.everywhere("bot")
    passed(site.run("service_account", accounts=accounts))
    first = site.works("bot")
    for path in site.files("bot").values():
        assert path.stat().st_mode & 0o777 == 0o600
    assert (site.folder / "kept").stat().st_mode & 0o777 == 0o700
    assert site.files("bot")["bot-vault"].read_bytes().startswith(b"$ANSIBLE_VAULT;1.1;AES256\n")
    assert not site.applied()  # not asked for

    before, position = states(site, "bot"), logged(hub)
    passed(site.run("service_account", accounts=accounts), changed=0)
    assert states(site, "bot") == before
    assert not writes(hub, position)

    rotated = site.everywhere("bot", scopes=["read:users:name!user"])
    position = logged(hub)
    passed(site.run("service_account", "--check", "--diff", accounts=rotated))
    assert states(site, "bot") == before
    assert not writes(hub, position)

    site.files("bot")["bot-vault"].chmod(0o644)
    passed(site.run("service_account", accounts=rotated))
    second = site.works("bot")
    assert not set(first.values()) & set(second.values())
    assert [whose(hub, secret) for secret in first.values()] == [None] * 4

    for path in site.files("bot").values():
        path.unlink()
    # As at another place, which has none of them: whoever uses the tokens keeps them.
    position = logged(hub)
    played = site.run("rotate_tokens", accounts=rotated)
    assert played.status == 2
    for user in second:
        assert f"of user '{user}' may be kept at another place: no secret is kept" in played.stdout
    assert not writes(hub, position)
    assert [whose(hub, secret) for secret in second.values()] == [*second]

    played = site.run("rotate_tokens", accounts=rotated, service_account_on_lost="replace")
    passed(played)
    site.works("bot")
    assert (
        len(re.findall(r"revoked \w+, minted \S+, last used \S+: its successor is kept and works", played.stdout)) == 4
    )
    assert [whose(hub, secret) for secret in second.values()] == [None] * 4


def test_a_file_that_others_may_read_is_taken_from_them(site: Site) -> None:
    accounts = site.everywhere("shy")[:3]
    passed(site.run("service_account", accounts=accounts))
    paths = list(site.files("shy").values())[:3]
    for path in paths:
        path.chmod(0o644)
    passed(site.run("service_account", accounts=accounts), changed=1)  # in one task
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o600] * 3


def test_check_mode_on_a_fresh_site_leaves_nothing(site: Site) -> None:
    position = logged(site.hub)
    everything = {"accounts": site.everywhere("ghost"), "service_account_kubernetes_apply": True}
    passed(site.run("service_account", "--check", "--diff", **everything), changed=1)
    assert not writes(site.hub, position)
    assert not (site.folder / "kept").exists()
    assert not list((site.folder / "store").iterdir())
    assert not site.applied()
    assert not exists(site.hub, "ghost-file")


def test_a_vault_is_what_ansible_reads(site: Site) -> None:
    """With the vault's password also given to the play, as sites have it that use such a file."""
    accounts = site.everywhere("read")[1:2]
    passed(site.run("service_account", accounts=accounts))
    (site.folder / "use.yml").write_text("""
- name: Use the token
  hosts: localhost
  gather_facts: false
  vars_files: [kept/read.vault.yml]
  tasks:
    - name: Ask whose it is
      hubops.jupyterhub.hub_info:
        api_token: "{{ read_token }}"
      register: answer
    - name: Say it
      ansible.builtin.debug:
        msg: "It belongs to {{ answer.token.name }}"
""")
    unlocked = ("--vault-password-file", "password")
    played = site.run("use.yml", *unlocked)
    assert "It belongs to read-vault" in played.stdout, played.output
    passed(site.run("service_account", *unlocked, accounts=accounts), changed=0)
    # And where the play reads the very file whose variable it is.
    played = site.run("service_account", *unlocked, "-e", "@kept/read.vault.yml", accounts=site.everywhere(
        "read", scopes=["read:users:name!user"])[1:2])  # fmt: skip
    passed(played)
    path = site.files("read")["read-vault"]
    assert whose(site.hub, site.unvaulted(path)["read_token"]) == "read-vault"


def test_a_manifest_is_applied_so_that_a_lost_secret_comes_back(site: Site) -> None:
    accounts = site.everywhere("kube")[2:3]
    apply: dict[str, Any] = {"service_account_kubernetes_apply": True}
    passed(site.run("service_account", accounts=accounts, **apply))
    manifest = site.files("kube")["kube-kubernetes"].read_text()
    [call] = site.applied()
    assert call["state"] == "present"
    assert call["definition"].strip() == manifest.strip()
    # Unchanged, and all the same applied; nothing in check mode, which the recorder is told.
    passed(site.run("rotate_tokens", accounts=accounts, **apply), changed=0)
    passed(site.run("rotate_tokens", "--check", accounts=accounts, **apply))
    assert [each["check_mode"] for each in site.applied()] == [False, False, True]

    # A cluster that refuses: the old token works on, and the next run ends it.
    old = site.secrets_of("kube", "kubernetes")
    other = site.everywhere("kube", scopes=["read:users:name!user"])[2:3]
    played = site.run("rotate_tokens", accounts=other, env={"REFUSING_KUBERNETES": "1"}, **apply)
    assert played.status == 2
    assert "was not applied: Forbidden: secrets is forbidden." in played.stdout
    assert whose(site.hub, old) == "kube-kubernetes"
    assert site.secrets_of("kube", "kubernetes") != old  # the new one is kept, and is applied the next time
    passed(site.run("rotate_tokens", accounts=other, **apply))
    assert whose(site.hub, old) is None
    assert whose(site.hub, site.secrets_of("kube", "kubernetes")) == "kube-kubernetes"
    assert base64.b64encode(site.secrets_of("kube", "kubernetes").encode()).decode() in site.applied()[-1]["definition"]


def test_on_another_host_everything_but_a_vault_is_kept_there(site: Site) -> None:
    """The account in the vault fails with a sentence, and the others go on. The manifest is applied from there."""
    accounts = [{**each, "token_path": str(site.folder / "kept/far.token")} for each in site.everywhere("far")[:3]]
    far = {
        "ansible_connection": "other_host", "ansible_python_interpreter": sys.executable, "service_accounts": accounts,
        "service_account_vault_password": PASSWORD, "service_account_kubernetes_apply": True,
    }  # fmt: skip
    env = {"ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS / "runner_plugins" / "connection")}
    for failures in (1, 0):
        played = site.run("service_account", hosts={"far": far}, env=env)
        assert (played.status, played.recap["far"]["failed"]) == (2 if failures else 0, failures), played.output
        verdict = played.stdout.rpartition("Fail if an account failed]")[2]
        if failures:
            assert "far-vault (" in verdict
            assert "Only the controller can encrypt and decrypt a vault" in verdict
            assert "or choose another service_account_keep." in verdict
            assert not re.search("far-file|far-kubernetes", verdict)
        assert (len(tokens(site.hub, "far-vault")), site.files("far")["far-vault"].exists()) == (0, False)
        assert whose(site.hub, site.secrets_of("far", "file")) == "far-file"
        assert whose(site.hub, site.secrets_of("far", "kubernetes")) == "far-kubernetes"
        assert {call["definition"] for call in site.applied()} == {site.files("far")["far-kubernetes"].read_text()}
        del accounts[1]


def test_without_kubernetes_core_nothing_is_minted(site: Site) -> None:
    env = {"ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    accounts = site.everywhere("none")[2:3]
    position = logged(site.hub)
    played = site.run("service_account", accounts=accounts, env=env, service_account_kubernetes_apply=True)
    assert played.status != 0
    assert "couldn't resolve module/action 'kubernetes.core.k8s'" in played.output
    assert not writes(site.hub, position)
    # Only to write the manifest needs no such collection.
    passed(site.run("service_account", accounts=accounts, env=env))


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut-vault": lambda whole: whole[:-20],
    "zeroed-vault": lambda whole: whole[:-20] + bytes(20),
    "hit-kubernetes": lambda whole: whole[:-12] + b"!!!!" + whole[-8:],
    "half-kubernetes": lambda whole: whole[: len(whole) // 2],
}


def test_a_damaged_file_is_made_anew(site: Site) -> None:
    """As a disk that was full leaves it, or a machine that lost its power. Nothing of it is applied."""
    names = [user.partition("-")[0] for user in DAMAGES]
    accounts = [account for name in names for account in site.everywhere(name) if account["user"] in DAMAGES]
    paths = {user: site.files(name)[user] for name, user in zip(names, DAMAGES, strict=True)}
    passed(site.run("service_account", accounts=accounts))
    for user, path in paths.items():
        path.write_bytes(DAMAGES[user](path.read_bytes()))
    passed(site.run("rotate_tokens", accounts=accounts, service_account_kubernetes_apply=True))
    for name, (user, path) in zip(names, paths.items(), strict=True):
        in_vault = user.endswith("vault")
        secret = site.unvaulted(path)[f"{name}_token"] if in_vault else site.secrets_of(name, "kubernetes")
        assert whose(site.hub, secret) == user
        assert len(tokens(site.hub, user)) == 1
    manifests = [paths[user].read_text().strip() for user in ("hit-kubernetes", "half-kubernetes")]
    assert [call["definition"].strip() for call in site.applied()] == manifests
    passed(site.run("rotate_tokens", accounts=accounts), changed=0)


def test_tasks_that_do_not_keep_the_secret_are_found_out(site: Site) -> None:
    """The old token works on, and what was minted in vain is revoked by the next run that works."""
    accounts = site.everywhere("lazy")[3:]
    passed(site.run("service_account", accounts=accounts))
    old = site.secrets_of("lazy", "tasks")
    rotated = site.everywhere("lazy", scopes=["read:users:name!user"])[3:]
    (site.folder / "idle.yml").write_text("- name: Keep nothing\n  ansible.builtin.meta: noop\n")
    played = site.run("service_account", accounts=[{**rotated[0], "keep_tasks": "idle.yml"}])
    assert played.status == 2
    assert "what is kept is another one" in played.stdout
    assert "If another run kept its own at the same time, run this once more." in played.stdout
    assert whose(site.hub, old) == "lazy-tasks"
    assert len(tokens(site.hub, "lazy-tasks")) == 2
    passed(site.run("service_account", accounts=rotated))
    assert whose(site.hub, site.secrets_of("lazy", "tasks")) == "lazy-tasks"
    assert len(tokens(site.hub, "lazy-tasks")) == 1


def test_another_run_that_revokes_the_new_token_meanwhile(site: Site) -> None:
    """It cannot know whose the token is. Here the tasks stand for it."""
    [account] = site.everywhere("race")[3:]
    other = """
- name: Take the token for one that was lost
  hubops.jupyterhub.hub_token:
    user: "{{ service_account.user }}"
    note: "{{ service_account.note }}"
    state: absent
"""
    (site.folder / "both.yml").write_text((site.folder / "keep.yml").read_text() + other)
    played = site.run("service_account", accounts=[{**account, "keep_tasks": "both.yml"}])
    assert played.status == 2
    assert "If another run replaced it at the same time, run this once more." in played.stdout
    passed(site.run("rotate_tokens", accounts=[account]))
    assert whose(site.hub, site.secrets_of("race", "tasks")) == "race-tasks"
    assert len(tokens(site.hub, "race-tasks")) == 1


def test_a_file_that_another_host_of_the_play_overwrites_is_found_out(site: Site) -> None:
    """Each host finds that the kept secret is another account's, and a secret that was never used is nobody's."""
    hosts = {
        name: {"service_accounts": [{"user": f"shared-{name}", "token_path": str(site.folder / "shared.token")}]}
        for name in ("one", "two")
    }
    played = site.run("service_account", hosts=hosts)
    assert played.status == 2
    assert sorted(host["failed"] for host in played.recap.values()) == [0, 1]
    assert "shared.token' keeps another token by now. Give each account of each host a place" in played.stdout
    owner = whose(site.hub, (site.folder / "shared.token").read_text().strip())
    assert owner is not None
    assert played.recap[owner.removeprefix("shared-")]["failed"] == 0


def test_a_single_account_takes_the_variables_of_the_role(site: Site) -> None:
    [account] = site.everywhere("single")[3:]
    variables = {f"service_account_{key}": value for key, value in account.items()}
    passed(site.run("service_account", **variables))
    passed(site.run("service_account", **variables), changed=0)
    assert whose(site.hub, site.secrets_of("single", "tasks")) == "single-tasks"


def test_no_secret_is_shown_or_left_in_a_variable(site: Site) -> None:
    """As loud as can be, at the first run, at a rotation, and where it fails."""
    (site.folder / "play.yml").write_text("""
- name: Provide and look
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Provide
      ansible.builtin.include_role:
        name: hubops.jupyterhub.service_account
  # Whatever became of it.
    - name: Look
      record_variables:
        path: "{{ playbook_dir }}/variables.json"
""")
    env = {"ANSIBLE_ACTION_PLUGINS": str(PLUGINS / "variable_recorder" / "action")}
    loud = ("-vvvv", "--diff")
    apply: dict[str, Any] = {"service_account_kubernetes_apply": True}
    said = []
    seen: set[str] = set()
    for more in ({}, {"scopes": ["read:users:name!user"]}):
        played = site.run("play.yml", *loud, accounts=site.everywhere("quiet", **more), env=env, **apply)
        passed(played)
        seen |= set(site.works("quiet").values())
        said += [played.output, (site.folder / "variables.json").read_text()]
    rotated = site.everywhere("quiet")
    played = site.run("play.yml", *loud, accounts=rotated, env={**env, "REFUSING_KUBERNETES": "1"}, **apply)
    assert played.status == 2
    said.append(played.output)
    seen |= set(site.secrets("quiet").values())
    (site.folder / "password").write_text("another password")
    played = site.run("play.yml", *loud, accounts=rotated, env=env, **apply)
    assert played.status == 2
    said.append(played.output)
    variables = json.loads(said[1])
    assert len(variables["service_account_tokens"]) == 4  # the recorder sees what there is to see
    assert len(seen) == 12
    for secret in (*seen, site.hub.admin_token, PASSWORD):
        for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("=")):
            assert not [text for text in said if form in text]


# What is wrong is said before anything is done: by Ansible, which validates what comes through the role's entry points,
# or by the role


UNSOUND: dict[str, tuple[dict[str, Any], str]] = {
    "nobody": ({}, "No account is declared. Set service_account_user"),
    "both": ({"service_account_user": "x", "service_accounts": [{"user": "y"}]}, "are both given. Leave one"),
    "empty-user": ({"service_accounts": [{"user": " "}]}, "user is empty. Give it the name"),
    "no-user": ({"service_accounts": [{"note": "x"}]}, "missing required arguments: user|user is empty. Give"),
    "no-note": ({"service_account_user": "x", "service_account_note": ""}, "note is empty. Say what"),
    "custom": ({"service_account_user": "x", "service_account_purpose": "custom"}, "List in scopes what its"),
    "twice": ({"service_accounts": [{"user": "x"}, {"user": "x", "token_path": "y"}]}, "declared twice with this note"),
    "one-place": ({"service_accounts": [{"user": "x"}, {"user": "x", "note": "other"}]}, "keeps another token already"),
    "one-role-wide-place": (
        {"service_accounts": [{"user": "x"}, {"user": "y"}], "service_account_token_path": "z"},
        "keeps another token already",
    ),
    "unknown-key": ({"service_accounts": [{"user": "x", "colour": "red"}]}, "colour"),
    "unknown-purpose": ({"service_account_user": "x", "service_account_purpose": "play"}, "upgrade, custom"),
    "unknown-keep": ({"service_account_user": "x", "service_account_keep": "drawer"}, "file, vault, kubernetes, tasks"),
    "no-vault": ({"service_account_user": "x", "service_account_keep": "vault"}, "vault_path is not given. Say which"),
    "no-variable": (
        {"service_accounts": [{"user": "x", "keep": "vault", "vault_path": "v", "vault_variable": "no-name"}]},
        "vault_variable is 'no-name'. Give the name",
    ),
    "no-password": (
        {"service_accounts": [{"user": "x", "keep": "vault", "vault_path": "v", "vault_variable": "v"}],
         "service_account_vault_password": ""},
        "there is no password. Set service_account_vault_password",
    ),
    "no-manifest": ({"service_account_user": "x", "service_account_keep": "kubernetes"}, "manifest_path is not given"),
    "no-namespace": (
        {"service_accounts": [{"user": "x", "keep": "kubernetes", "manifest_path": "m", "kubernetes_name": "x"}]},
        "kubernetes_namespace is ''. Give a name",
    ),
    "odd-key": (
        {"service_accounts": [{"user": "x", "keep": "kubernetes", "manifest_path": "m", "kubernetes_name": "x",
                               "kubernetes_namespace": "y", "kubernetes_key": 'a"b'}]},
        "Give a key that Kubernetes accepts",
    ),
    "no-tasks": ({"service_account_user": "x", "service_account_keep": "tasks"}, "keep_tasks is not given. Say"),
    "no-such-tasks": (
        {"service_accounts": [{"user": "x", "keep": "tasks", "keep_tasks": "nowhere.yml", "secret": ""}]},
        "nowhere.yml'. Correct keep_tasks",
    ),
    "no-secret": (
        {"service_accounts": [{"user": "x", "keep": "tasks", "keep_tasks": "keep.yml"}]},
        "secret is not given. Set it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("playbook", ["service_account", "rotate_tokens"])
def test_an_unsound_declaration_is_told_before_any_request(site: Site, playbook: str) -> None:
    position = logged(site.hub)
    hosts = {name: variables for name, (variables, _said) in UNSOUND.items()}
    played = site.run(playbook, hosts=hosts)
    assert played.status == 2
    failures = dict(
        re.findall(
            r"^fatal: \[(\S+)\]: FAILED! => (.*(?:\n(?!TASK|fatal|PLAY|ok:|skipping|\[).*)*)",
            played.stdout,
            re.MULTILINE,
        )
    )
    assert set(failures) == set(UNSOUND)
    wanted = {name: said for name, (_variables, said) in UNSOUND.items()}
    missing = {name: failures[name] for name, said in wanted.items() if not re.search(said, failures[name])}
    assert not missing
    [ours] = set(asked(site.hub, position))
    assert "?look=" in ours


def test_what_is_somebody_else_s_is_left_alone_and_nothing_is_minted(site: Site) -> None:
    passed(site.run("service_account", accounts=site.everywhere("host")[1:3]))
    vault, manifest = (site.files("host")[f"host-{keep}"] for keep in ("vault", "kubernetes"))
    (site.folder / "plain.yml").write_text("vault_token: x\n")
    (site.folder / "other.yml").write_text(manifest.read_text().replace("host", "guest"))
    (site.folder / "more.yml").write_text(manifest.read_text() + '  "password": "c2VjcmV0"\n')
    (site.folder / "cut.yml").write_text(manifest.read_text().replace('"token": "', '"password": "')[:-10])
    (site.folder / "long.yml").write_text(vault.read_text()[:-20] * 3)
    in_vault = {"keep": "vault", "vault_variable": "host_token"}
    in_manifest = {"keep": "kubernetes", "kubernetes_namespace": "hub", "kubernetes_name": "host"}
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "plain": ({**in_vault, "vault_path": "plain.yml"}, "is not encrypted by ansible-vault"),
        "locked": ({**in_vault, "vault_path": str(vault)}, "cannot be decrypted with service_account_vault_password"),
        "renamed": ({**in_vault, "vault_path": str(vault), "vault_variable": "other"}, "holds something else than"),
        "no-folder": ({**in_vault, "vault_path": "plain.yml/below/vault.yml"}, "plain.yml"),
        "is-folder": ({**in_vault, "vault_path": "store"}, "is not a file"),
        "long": ({**in_vault, "vault_path": "long.yml"}, "cannot be decrypted with service_account_vault_password"),
        "cut": ({**in_manifest, "manifest_path": "cut.yml"}, "holds something else than the Secret"),
        "other": ({**in_manifest, "manifest_path": "other.yml"}, "holds something else than the Secret"),
        "more": ({**in_manifest, "manifest_path": "more.yml"}, "holds something else than the Secret"),
        "broken": (
            {"keep": "tasks", "keep_tasks": "keep.yml", "secret": "{{ lookup('ansible.builtin.file', '/nowhere') }}"},
            "cannot be looked up, so nothing was minted",
        ),
    }
    kept = {path: path.read_bytes() for path in site.folder.rglob("*.yml") if path.name != "variables.yml"}
    hosts: dict[str, dict[str, Any]] = {
        name: {"service_accounts": [{"user": "host-vault", "note": f"of {name}", **account}]}
        for name, (account, _said) in cases.items()
    }
    hosts["locked"]["service_account_vault_password"] = "wrong"
    position = logged(site.hub)
    played = site.run("rotate_tokens", hosts={
        name: {"service_account_vault_password": PASSWORD, **variables} for name, variables in hosts.items()
    })  # fmt: skip
    assert played.status == 2
    verdicts = played.stdout.rpartition("Fail if an account failed]")[2]
    for name, (_account, said) in cases.items():
        [verdict] = re.findall(rf"^fatal: \[{name}\]: FAILED! => (.*)$", verdicts, re.MULTILINE)
        assert said in verdict, name
        assert f"host-vault (of {name}): " in verdict
    assert not writes(site.hub, position)
    assert {path: path.read_bytes() for path in kept} == kept
