# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role service_account decides, without a hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.service_account import (
    KEYS,
    PURPOSES,
    complaints,
    complete_accounts,
    hub_config,
)

SETTINGS: dict[str, Any] = {
    "user": "",
    "purpose": "verify",
    "scopes": [],
    "groups": [],
    "create_groups": False,
    "note": "a note",
    "expires_in": "",
    "renew_before": "25%",
    "overlap": "",
    "on_lost": "fail",
    "keep": "file",
    "token_path": "",
    "vault_path": "",
    "vault_variable": "",
    "manifest_path": "",
    "kubernetes_namespace": "",
    "kubernetes_name": "",
    "kubernetes_key": "token",
    "keep_tasks": "",
    "folder": "/run/from",
    "host": "localhost",
    "kubernetes_apply": False,
    "vault_password_given": True,
    "secret_given": False,
}
"""As the role's defaults have them, with a password for vaults."""

HUB: dict[str, Any] = {
    "version": "6.1.1",
    "scope_names": {},
    "authenticator": {"class": "jupyterhub.auth.PAMAuthenticator", "version": "6.1.1"},
}
GENERIC = "oauthenticator.generic.GenericOAuthenticator"
VERIFY, CULL = list(PURPOSES["verify"]), list(PURPOSES["cull"])

# What a path, a scope, a regular expression, a template, YAML or Python might make something else of.
HOSTILE = [
    "../../etc/x",
    "/etc/x",
    "~root",
    "a'b\"c\\n{{ 6 * 7 }}{% x %}\n# \u00fc\u2028\u0085\U0001f600",
    "x!user=person",
    "x!server=y/",
    "self",
    "yes",
    "123",
    "~",
    ".*",
    "user",
    "\u0130",  # in lower case it is two characters
    "z" * 300,
]


class Secretive(dict[str, Any]):
    """An account whose secret may not be read: an expression would be evaluated, and the secret be on its way."""

    def __getitem__(self, key: str) -> Any:
        assert key != "secret"
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        assert key != "secret"
        return super().get(key, default)

    def items(self) -> NoReturn:
        raise AssertionError("who goes through the values comes to the secret")

    values = copy = __or__ = items  # type: ignore[assignment]


def one(declared: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """The one account, complete_accounts."""
    [account] = complete_accounts([{"user": "bot", **(declared or {})}], {**SETTINGS, **settings})
    return account


def said(*declared: dict[str, Any], **settings: Any) -> str:
    return "\n".join(complaints(declared, {**SETTINGS, **settings}))


def config(*declared: dict[str, Any], service: str = "", **hub: Any) -> dict[str, Any]:
    return hub_config(complete_accounts(declared, SETTINGS), {**HUB, **hub}, {"service": service})


# What a service lacks that runs the role


@pytest.mark.parametrize(
    ("version", "scope", "lacks"),
    [
        ("5.2.1", "tokens!user=bot", True),
        ("5.2.1", "tokens!group=bots", True),
        ("5.2.1", "tokens!service=bot", False),
        ("5.2.1", "tokens", False),
        ("6.1.1", "tokens!user=bot", False),
    ],
)
def test_what_a_service_lacks_on_this_version(version: str, scope: str, lacks: bool) -> None:
    token = {"kind": "service", "name": "ci", "scopes": [scope]}
    accounts = complete_accounts([{"user": "bot"}], SETTINGS)
    said = hub_config(accounts, {**HUB, "version": version}, token=token)["lacking"]
    assert [("tokens!service=bot" in each, "5.5.3" in each) for each in said] == [(True, True)] * lacks
    assert hub_config(accounts, {**HUB, "version": version}, token={**token, "kind": "user"})["lacking"] == []


# What an account is


def test_an_account_has_every_key() -> None:
    path = "/run/from/localhost-bot.token"
    asked = {"expires_in": None, "renew_before": "25%", "overlap": None, "on_lost": "fail"}
    given = ("kubernetes_apply", "vault_password_given", "secret_given", "folder", "host")
    assert one() == {
        **{key: value for key, value in SETTINGS.items() if key not in given},
        "number": 0,
        "user": "bot",
        "scopes": VERIFY,
        "token_path": path,
        "place": path,
        "hub_token": {"user": "bot", "note": "a note", "scopes": VERIFY, **asked, "path": path},
    }


def test_the_module_keeps_a_token_wherever_a_file_does() -> None:
    asked = {"user": "bot", "note": "a note", "scopes": VERIFY, "expires_in": "30d", "renew_before": "25%",
             "overlap": None, "on_lost": "fail"}  # fmt: skip
    shared = {"expires_in": "30d", "overlap": ""}
    vault = {"keep": "vault", "vault_path": "v.yml", "vault_variable": "v", **shared}
    assert one(vault)["hub_token"] == {**asked, "path": "/run/from/v.yml", "format": "vault", "vault_variable": "v"}
    names = {"kubernetes_namespace": "ns", "kubernetes_name": "n", "kubernetes_key": "k"}
    manifest = {"keep": "kubernetes", "manifest_path": "m.yml", **names, **shared}
    for apply, waits in ((False, False), (True, True), ("yes", True)):
        assert one(manifest, kubernetes_apply=apply)["hub_token"] == {
            **asked, "path": "/run/from/m.yml", "format": "kubernetes", **names, "revoke_replaced": not waits,
        }  # fmt: skip
    assert one({"keep": "tasks", "keep_tasks": "t.yml", **shared})["hub_token"] == asked


def test_without_a_list_there_is_one_account() -> None:
    for nothing in ([], None):
        [account] = complete_accounts(nothing, {**SETTINGS, "user": "single"})
        assert (account["user"], account["number"]) == ("single", 0)
    assert [each["number"] for each in complete_accounts([{"user": "x"}, {"user": "y"}], SETTINGS)] == [0, 1]


@pytest.mark.parametrize("key", ["note", "expires_in", "renew_before", "overlap", "vault_variable", "kubernetes_key"])
def test_what_an_account_leaves_out_is_taken_from_the_settings(key: str) -> None:
    assert one(**{key: "common"})[key] == "common"
    assert one({key: None}, **{key: "common"})[key] == "common"
    assert one({key: "own"}, **{key: "common"})[key] == "own"
    # Nothing is something to say, too: a token without an end among others that have one.
    assert one({key: ""}, **{key: "common"})[key] == ""


def test_what_is_false_is_said_all_the_same() -> None:
    assert one({"create_groups": False}, create_groups=True)["create_groups"] is False
    assert one(create_groups=True)["create_groups"] is True


SCOPES = {
    "by default": ({}, {}, VERIFY),
    "own scopes": ({"scopes": ["x"], "purpose": "cull"}, {"scopes": ["y"]}, ["x"]),
    "own purpose before common scopes": ({"purpose": "cull"}, {"scopes": ["y"]}, CULL),
    "common scopes": ({}, {"scopes": ["y"], "purpose": "cull"}, ["y"]),
    "common purpose": ({}, {"purpose": "cull"}, CULL),
    "an upgrade": ({"purpose": "upgrade"}, {}, list(PURPOSES["upgrade"])),
    "custom has the common scopes": ({"purpose": "custom"}, {"scopes": ["y"]}, ["y"]),
    "custom has no other purpose's": ({"purpose": "custom"}, {}, []),
    "a text, as from the command line": ({}, {"scopes": "list:users, read:servers"}, ["list:users", "read:servers"]),
}


@pytest.mark.parametrize(("declared", "settings", "scopes"), SCOPES.values(), ids=SCOPES)
def test_scopes(declared: dict[str, Any], settings: dict[str, Any], scopes: list[str]) -> None:
    account = one(declared, **settings)
    assert account["scopes"] == account["hub_token"]["scopes"] == scopes


def test_no_two_accounts_share_what_may_be_changed() -> None:
    first, second = complete_accounts([{"user": "x"}, {"user": "y"}], {**SETTINGS, "groups": ["g"]})
    first["scopes"].append("list:users")
    first["groups"].append("other")
    assert (second["scopes"], second["groups"]) == (VERIFY, ["g"])
    assert list(PURPOSES["verify"]) == VERIFY


PATHS = {"vault": "vault_path", "kubernetes": "manifest_path", "tasks": "keep_tasks"}


@pytest.mark.parametrize(("keep", "key"), PATHS.items())
def test_places_on_the_controller(keep: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/of/me")
    for path, found in {"x/y": "/run/from/x/y", "/x": "/x", "~/x": "/of/me/x", "": ""}.items():
        account = one({"keep": keep, key: path})
        assert (account[key], account["place"]) == (found, found)
    assert one({"keep": keep}, **{key: "common"})["place"] == "/run/from/common"


def test_a_token_s_file_is_on_the_host_where_the_role_runs() -> None:
    """Whose folders and homes are its own."""
    assert one({"token_path": "~/x"})["place"] == "~/x"
    assert one({"token_path": ""}, token_path="common")["place"] == "common"
    assert one(host="first")["place"] == "/run/from/first-bot.token"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_stays_what_it_is(name: str) -> None:
    account = one({"user": name, "note": name})
    assert (account["user"], account["note"]) == (name, name)
    assert (account["hub_token"]["user"], account["hub_token"]["note"]) == (name, name)
    assert account["place"] == f"/run/from/localhost-{name}.token"


def test_a_number_is_a_name() -> None:
    """YAML makes one of it."""
    account = one({"user": 123, "note": 2026})
    assert (account["user"], account["note"]) == ("123", "2026")
    assert config({"user": 123, "scopes": ["list:users"]})["roles"][0]["users"] == ["123"]


def test_a_secret_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "keep.yml").touch()
    declared = Secretive(user="bot", keep="tasks", keep_tasks=str(tmp_path / "keep.yml"), secret="a secret")
    assert not complaints([declared], SETTINGS)
    assert "a secret" not in str(complete_accounts([declared], SETTINGS))


def test_the_documented_keys_are_those_that_are_taken() -> None:
    path = Path(__file__).resolve().parents[4] / "roles" / "service_account" / "meta" / "argument_specs.yml"
    options = yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    assert set(options["service_accounts"]["options"]) == KEYS
    assert tuple(options["service_account_purpose"]["choices"]) == tuple(PURPOSES)
    assert {f"service_account_{key}" for key in KEYS} <= set(options)


# What is wrong with it

IN_VAULT = {"keep": "vault", "vault_variable": "v"}


def test_a_sound_declaration(tmp_path: Path) -> None:
    (tmp_path / "keep.yml").touch()
    manifest = {"kubernetes_namespace": "my-ns", "kubernetes_name": "a.b-c", "kubernetes_key": "a_B.c-1"}
    tasks = {"keep": "tasks", "keep_tasks": str(tmp_path / "keep.yml")}
    accounts = [
        {"user": "x"},
        {"user": "x", "note": "other", "token_path": "other"},
        {"user": "x", "note": "third", "keep": "vault", "vault_path": "v", "vault_variable": "_v1"},
        {"user": "y", "keep": "kubernetes", "manifest_path": "m", **manifest},
        # Tasks tell their accounts apart by themselves.
        {"user": "z", **tasks, "secret": ""},
        {"user": "zz", **tasks, "secret": ""},
    ]
    assert said(*accounts) == ""
    assert said({"user": "z", **tasks}, secret_given=True) == ""


@pytest.mark.parametrize(
    ("declared", "settings", "sentence"),
    [
        ([], {}, "No account is declared. Set"),
        ([{"user": "x"}], {"user": "y"}, "are both given. Leave one"),
        ([{"user": " "}], {}, "Service account ' ' (a note): user is empty."),
        ([], {"user": " "}, "user is empty. Give it"),
        ([{}], {}, "user is empty. Give it"),
        ([{"user": "x", "note": "\n"}], {}, "note is empty. Say what"),
        ([{"user": "x", "purpose": "custom"}], {}, "List in scopes what"),
        ([{"user": "x", "purpose": "play"}], {}, "is 'play'. Choose one of verify, cull, cull-users, upgrade, custom."),
        ([{"user": "x"}], {"keep": "drawer"}, "keep is 'drawer'. Choose one of file, vault, kubernetes, tasks."),
        ([{"user": "x", "colour": "red"}], {}, "it has a key 'colour', which no account has."),
        ([{"user": "x"}, {"user": "x", "token_path": "y"}], {}, "Service account 'x' (a note): it is declared twice"),
        ([{"user": "x"}, {"user": "y"}], {"token_path": "z"}, "'z' keeps another token already."),
        (
            [{"user": "x", "token_path": "./z"}, {"user": "y", **IN_VAULT, "vault_path": "z"}],
            {},
            "'/run/from/z' keeps another token already.",
        ),
    ],
)  # fmt: skip
def test_an_unsound_declaration(declared: list[dict[str, Any]], settings: dict[str, Any], sentence: str) -> None:
    found = complaints(declared, {**SETTINGS, **settings})
    assert len(found) == 1
    assert sentence in found[0]


def test_all_that_is_wrong_is_said_at_once() -> None:
    found = complaints([{"user": "x", "keep": "vault"}, {"keep": "kubernetes"}, {"user": "y", "keep": "tasks"}], {
        **SETTINGS, "vault_password_given": False,
    })  # fmt: skip
    of_whom = [re.match(r"Service account '(.*)' \(a note\): ", sentence) for sentence in found]
    assert [match and match[1] for match in of_whom] == ["x"] * 3 + [""] * 4 + ["y"] * 2


@pytest.mark.parametrize("name", ["", "1x", "a-b", "a.b", "a b", "x\n", "\u00e9", "{{ x }}", 'x": "y'])
def test_a_vault_s_variable_is_one(name: str) -> None:
    assert f"vault_variable is '{name}'. Give the name" in said({
        "user": "x", "keep": "vault", "vault_path": "v", "vault_variable": name
    })  # fmt: skip


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a\n", "a/b", '"', "{{ x }}"])
def test_kubernetes_names_are_as_it_has_them(name: str) -> None:
    manifest = {"manifest_path": "m", "kubernetes_namespace": name, "kubernetes_name": name}
    found = said({"user": "x", "keep": "kubernetes", **manifest})
    assert f"kubernetes_namespace is '{name}'. Give a name" in found
    assert f"kubernetes_name is '{name}'. Give a name" in found


@pytest.mark.parametrize("key", ["", 'a"b', "a b", "a\n", "a:b"])
def test_a_kubernetes_key_is_as_it_has_them(key: str) -> None:
    manifest = {"manifest_path": "m", "kubernetes_namespace": "a", "kubernetes_name": "a", "kubernetes_key": key}
    assert f"kubernetes_key is '{key}'. Give a key" in said({"user": "x", "keep": "kubernetes", **manifest})


def test_the_files_of_tasks_must_be_there(tmp_path: Path) -> None:
    for missing in (tmp_path, tmp_path / "nowhere.yml"):
        tasks = {"keep": "tasks", "keep_tasks": str(missing), "secret": ""}
        assert said({"user": "x", **tasks}).endswith(f"there is no file '{missing}'. Correct keep_tasks.")


# What its hub must know of it


def test_an_account_for_itself_needs_no_role() -> None:
    owned = ["self", "inherit", "read:tokens!user", "read:tokens!user=bot", "access:servers!server=bot/x"]
    assert config({"user": "bot"}, {"user": "bot", "note": "other", "scopes": owned}) == {
        "names": ["bot"],
        "sections": ["OAuthenticator"],
        "roles": [],
        "members": [],
        "files": [],
        "obstacles": [],
        "doubt": "",
        "lacking": [],
    }


def test_what_is_beyond_the_account_is_a_role_s() -> None:
    beyond = [
        "list:users", "read:tokens!user=bots", "access:servers!server=bots/x", "access:servers!server=bot",
        "list:users!group=bot", "list:users",
    ]  # fmt: skip
    found = config({"user": "bot", "scopes": [*beyond, "list:users!user"]}, {"user": "bot", "scopes": ["proxy"]})
    assert found["roles"] == [
        {"name": "service-account-bot", "scopes": sorted({*beyond, "proxy"}), "users": ["bot"]}
    ]  # fmt: skip


def test_the_same_accounts_say_the_same() -> None:
    accounts = [{"user": name, "purpose": "cull", "groups": ["h", "g"]} for name in ("b", "a", "c")]
    there, back = (config(*order, service="s") for order in (accounts, accounts[::-1]))
    assert there == back
    assert [role["name"] for role in there["roles"]] == [
        "service-account-a", "service-account-b", "service-account-c", "service-accounts-by-s"
    ]  # fmt: skip


def test_a_role_is_in_the_hub_s_words() -> None:
    words = {"start:servers": "servers", "delete:servers": "delete:servers"}
    scopes = ["start:servers!user=x", "start:servers", "delete:servers", "start:servers-like"]
    [role] = config({"user": "bot", "scopes": scopes}, version="5.5.0", scope_names=words)["roles"]
    assert role["scopes"] == ["delete:servers", "servers", "servers!user=x", "start:servers-like"]


@pytest.mark.parametrize(
    ("version", "authenticator", "by_group"),
    [
        ("4.1.6", "jupyterhub.auth.PAMAuthenticator", True),
        ("4.1.6", None, True),
        ("4.1.6", GENERIC, False),
        ("5.0.0", "jupyterhub.auth.PAMAuthenticator", False),
        ("10.0.0", None, False),
    ],
)
def test_jupyterhub_4_gives_a_role_by_group(version: str, authenticator: str | None, by_group: bool) -> None:
    about = authenticator and {"class": authenticator, "version": "17.4.0"}
    found = config({"user": "bot", "purpose": "cull"}, service="s", version=version, authenticator=about)
    [role, service] = found["roles"]
    assert ("groups" in role, "users" in role) == (by_group, not by_group)
    assert role.get("groups", ["service-account-bot"]) == ["service-account-bot"]
    assert found["members"] == ([{"user": "bot", "group": "service-account-bot"}] if by_group else [])
    assert ("admin:groups!group=service-account-bot" in service["scopes"]) == by_group


def test_a_service_may_provide_the_accounts_and_nothing_else() -> None:
    found = config(
        {"user": "a", "groups": ["g"]}, {"user": "b", "groups": ["h", "g"], "create_groups": "yes"}, service="s"
    )
    assert found["roles"] == [{
        "name": "service-accounts-by-s",
        "services": ["s"],
        "scopes": [
            "admin:groups!group=g", "admin:groups!group=h", "admin:users!user=a", "admin:users!user=b",
            "groups!group=g", "read:hub", "tokens!user=a", "tokens!user=b",
        ],
    }]  # fmt: skip


@pytest.mark.parametrize(
    ("version", "taken_for_one"),
    [("4.1.6", True), ("5.5.2", True), ("5.5.3", False), ("5.10.0", False), ("6.0.0", True), ("6.0.5", True),
     ("6.1.0", False), ("6.1.0b1", False), ("7.0.0", False)],
)  # fmt: skip
def test_a_user_is_taken_for_a_service_by_some_hubs(version: str, taken_for_one: bool) -> None:
    [role] = config({"user": "bot"}, service="s", version=version)["roles"]
    assert ("tokens!service=bot" in role["scopes"]) == taken_for_one


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_gets_a_role_of_its_own(name: str) -> None:
    """By a name that a hub takes, and that tells it from names that look alike."""
    found = config({"user": name, "scopes": ["list:users"]}, {"user": "other", "scopes": ["list:users"]}, service=name)
    names = [role["name"] for role in found["roles"]]
    assert len(set(names)) == 3
    for role in names:
        assert re.fullmatch(r"[a-z][a-z0-9._~-]{2,254}", role)
        assert role[-1] not in "-_"
    assert name in found["names"]
    assert [role["users"] for role in found["roles"] if role.get("users") != ["other"] and "users" in role] == [[name]]
    assert found["roles"][-1]["services"] == [name]
    assert f"tokens!user={name}" in found["roles"][-1]["scopes"]


def test_role_names_tell_apart_what_looks_alike() -> None:
    alike = ["a b", "a-b", "a  b", "A-b", "-a-b", "a-b.", "\u00e9", "\u00e8", "", "-"]
    found = config(*({"user": name, "scopes": ["list:users"]} for name in alike))
    names = {role["users"][0]: role["name"] for role in found["roles"]}
    assert len(set(names.values())) == len(alike)
    assert names["a-b"] == "service-account-a-b"
    assert re.fullmatch("service-account-a-b~[0-9a-f]{12}", names["a b"])
    assert re.fullmatch("service-account~[0-9a-f]{12}", names["\u00e9"])


def test_capitals_are_in_the_way_of_a_role_alone() -> None:
    assert config({"user": "Bot"})["obstacles"] == []
    [obstacle] = config({"user": "Bot", "purpose": "cull"})["obstacles"]
    assert obstacle.startswith("Service account 'Bot' has scopes beyond its own")
    assert obstacle.endswith("Give the account a name without capitals.")


@pytest.mark.parametrize(
    ("path", "place"), [("hub.py", "/run/from/hub.py"), ("a/b", "/run/from/a/b"), ("/etc/x", "/etc/x"), ("~/x", "~/x")]
)
def test_the_files_of_the_configuration(path: str, place: str) -> None:
    """A home folder is one of the host where the role runs."""
    options = {"config_path": path, "values_path": None, "folder": "/run/from"}
    [file] = hub_config([], HUB, options)["files"]
    assert (file["template"], file["path"]) == ("service_accounts.py.j2", place)
    assert file["next"].startswith(f"Restart the hub, which then reads {path} (The Littlest JupyterHub: tljh-config")
    both = hub_config([], HUB, {**options, "values_path": "values.yaml"})["files"]
    assert both[0] == file
    assert (both[1]["template"], both[1]["path"]) == ("values.yaml.j2", "/run/from/values.yaml")
    assert both[1]["next"].startswith("Run helm upgrade with --values values.yaml. Until then")


@pytest.mark.parametrize(
    ("options", "lacks"),
    [
        ({"service": "s", "config_path": "x", "service_token_file": ""}, True),
        ({"service": "s", "config_path": "x", "service_token_file": "/t"}, False),
        ({"service": "s", "values_path": "x"}, False),  # the chart creates the token
        ({"service": "", "config_path": "x"}, False),
        ({"service": None, "config_path": None}, False),
    ],
)
def test_a_service_needs_a_token(options: dict[str, Any], lacks: bool) -> None:
    found = hub_config([], HUB, options)["obstacles"]
    assert ["The service 's' has no token. Set" in each for each in found] == [True] * lacks


UNTOLD = "may not see which one it is. Give the token read:hub, and run this again."


@pytest.mark.parametrize(
    ("name", "version", "section", "doubt"),
    [
        (GENERIC, "17.3.0", "GenericOAuthenticator", ""),
        (GENERIC, "18.0.0.dev0", "GenericOAuthenticator", ""),
        (GENERIC, "17.2.9", "GenericOAuthenticator", "has oauthenticator 17.2.9, which ignores"),
        (GENERIC, "9.9", "GenericOAuthenticator", "has oauthenticator 9.9, which ignores"),
        (GENERIC, None, "GenericOAuthenticator", UNTOLD),
        ("oauthenticator.oauth2.OAuthenticator", "17.4.0", None, ""),
        ("oauthenticators.X", "17.4.0", None, "authenticator, oauthenticators.X, asks"),
        ("ours.Authenticator", None, None, "authenticator, ours.Authenticator, asks"),
        ("jupyterhub.auth.DummyAuthenticator", "6.1.1", None, ""),
        (None, "17.4.0", None, UNTOLD),
    ],
)
def test_whether_the_hook_is_asked(name: str | None, version: str | None, section: str | None, doubt: str) -> None:
    found = config({"user": "bot"}, authenticator={"class": name, "version": version})
    assert found["sections"] == ["OAuthenticator", *([section] if section else [])]
    assert bool(found["doubt"]) == bool(doubt)
    assert doubt in found["doubt"]


def test_a_token_that_may_not_see_the_authenticator() -> None:
    found = config({"user": "bot"}, authenticator=None)
    assert found["sections"] == ["OAuthenticator"]
    assert UNTOLD in found["doubt"]
