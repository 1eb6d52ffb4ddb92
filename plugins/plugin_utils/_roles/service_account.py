# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role service_account decides: what an account is, what is wrong with it, and what its hub must know of it.

No secret passes through here: of those that the role has, only whether they are given is known.

"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...module_utils._hub.scopes import CULL, CULL_USERS, split_scope
from ...module_utils._hub.versions import (
    find_missing_mint_scope,
    has_service_mint_bug,
    parse_version,
)
from .checks import is_true

PURPOSES: dict[str, tuple[str, ...]] = {
    # The role verify, for the account's own servers, and to see when the token expires.
    "verify": (
        "start:servers!user",
        "delete:servers!user",
        "read:servers!user",
        "access:servers!user",
        "read:tokens!user",
    ),
    # To stop the idle servers of everybody.
    "cull": CULL,
    # And to delete idle users.
    "cull-users": CULL_USERS,
    "custom": (),
}
"""What an account needs for its purpose, as JupyterHub 6 writes it: the modules say it in the hub's own words."""

_PLACES = {"file": "token_path", "vault": "vault_path", "kubernetes": "manifest_path", "tasks": "keep_tasks"}
"""By the way to keep a token, the key that says where."""
_AS_THEY_ARE = (
    "purpose", "create_groups", "expires_in", "renew_before", "overlap", "on_lost", "keep", "vault_variable",
    "kubernetes_namespace", "kubernetes_name", "kubernetes_key",
)  # fmt: skip
KEYS = {
    *_AS_THEY_ARE, *_PLACES.values(), "user", "note", "scopes", "groups", "secret",
}  # fmt: skip
"""All that an account can declare."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KUBERNETES_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_KUBERNETES_KEY = re.compile(r"[-._a-zA-Z0-9]+")

Account = dict[str, Any]


# What an account is


def completed(declared: Sequence[Mapping[str, Any]] | None, settings: Mapping[str, Any]) -> list[Account]:
    """The declared accounts, each with every key; where none are, the one whose ``user`` is in ``settings``.

    ``settings`` are what an account takes where it leaves something out: every key that an account can have but
    ``secret``. Besides, there are ``folder``, where relative paths begin, and ``host``, for the name of a token's file.

    An account's ``number`` is its place in ``declared``, ``place`` is what keeps its token, and where that is a file,
    ``hub_token`` are the options of the module that does so.
    """
    return [_completed(number, each, settings) for number, each in enumerate(_accounts(declared, settings))]


def _accounts(declared: Sequence[Mapping[str, Any]] | None, settings: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return declared or [{"user": settings["user"]}]


def _completed(number: int, declared: Mapping[str, Any], settings: Mapping[str, Any]) -> Account:
    def chosen(key: str) -> Any:
        found = declared.get(key)
        return settings[key] if found is None else found

    def path(key: str) -> str:
        found = str(declared.get(key) or settings[key] or "")
        return os.path.join(settings["folder"], os.path.expanduser(found)) if found else ""

    user, note = str(declared.get("user") or ""), str(chosen("note") or "")
    account: Account = {
        **{key: chosen(key) for key in _AS_THEY_ARE},
        "number": number,
        "user": user,
        "note": note,
        # The purpose that an account has of its own means more than the scopes that all have in common.
        "scopes": _list(declared.get("scopes"))
        or _needed(declared.get("purpose"))
        or _list(settings["scopes"])
        or _needed(chosen("purpose")),
        "groups": _list(declared.get("groups")) or _list(settings["groups"]),
        # On the host where the role runs, which need not be this one: a relative path is the module's to understand.
        "token_path": str(declared.get("token_path") or settings["token_path"] or "")
        or os.path.join(settings["folder"], f"{settings['host']}-{user}.token"),
        **{key: path(key) for key in ("vault_path", "manifest_path", "keep_tasks")},
    }
    place = account[_PLACES[account["keep"]]] if account["keep"] in _PLACES else ""
    return {**account, "place": place, "hub_token": _in_a_file(account) if account["keep"] == "file" else None}


def _in_a_file(account: Account) -> dict[str, Any]:
    """The options with which the module hub_token mints the account's token, keeps and proves it."""
    return {
        **{key: account[key] for key in ("user", "note", "scopes")},
        **{key: account[key] or None for key in ("expires_in", "renew_before", "overlap", "on_lost")},
        "path": account["token_path"],
    }


def _needed(purpose: Any) -> list[str]:
    return list(PURPOSES.get(purpose, ()))


def _list(value: Any) -> list[str]:
    """A list as Ansible takes it: one text has its items between commas."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",")] if value else []
    return [str(item) for item in value or ()]


# What is wrong with it


def complaints(declared: Sequence[Mapping[str, Any]] | None, settings: Mapping[str, Any]) -> list[str]:
    """What is wrong with the declaration, a sentence each and what to do about it, before the hub hears of anything.

    Takes what `completed` takes; and ``settings`` say whether there is a password for vaults (``vault_password_given``)
    and a secret for accounts that have none of their own (``secret_given``). Looks for the files of tasks on disk.

    Keys and choices are looked at although Ansible can validate them, too: for that it evaluates all secrets.
    """
    if declared and settings["user"]:
        return ["service_account_user and service_accounts are both given. Leave one of them out."]
    if not declared and not settings["user"]:
        return ["No account is declared. Set service_account_user, or list accounts in service_accounts."]
    found: list[str] = []
    identities: set[tuple[str, str]] = set()
    places: set[str] = set()
    for account, own in zip(completed(declared, settings), _accounts(declared, settings), strict=True):
        said = [*_of_itself(account)]
        said += [f"it has a key '{key}', which no account has. Correct or remove it." for key in own if key not in KEYS]
        identity, place = (account["user"], account["note"]), account["place"]
        if identity in identities:
            said.append("it is declared twice with this note. Give each of its tokens a note of its own.")
        elif account["keep"] != "tasks" and place and place in places:
            said.append(f"'{place}' keeps another token already. Give each a file of its own.")
        identities.add(identity)
        places.add(place)
        if account["keep"] == "vault" and not settings["vault_password_given"]:
            said.append("it is kept in a vault, and there is no password. Set service_account_vault_password.")
        if account["keep"] == "tasks" and "secret" not in own and not settings["secret_given"]:
            said.append(
                "it is kept by tasks, and secret is not given. Set it to an expression that reads what they have kept, "
                "and is empty as long as there is nothing."
            )
        found += [f"Service account '{account['user']}' ({account['note']}): {sentence}" for sentence in said]
    return found


def _of_itself(account: Account) -> Iterator[str]:
    """What is wrong with one account, whatever else is declared."""
    if not account["user"].strip():
        yield "user is empty. Give it the name of a hub user."
    if not account["note"].strip():
        yield "note is empty. Say what the token is for, since the note identifies it."
    for key, choices in (("purpose", [*PURPOSES]), ("keep", [*_PLACES])):
        if account[key] not in choices:
            yield f"{key} is '{account[key]}'. Choose one of {', '.join(choices)}."
    if account["purpose"] == "custom" and not account["scopes"]:
        yield "its purpose is custom, and it has no scopes. List in scopes what its token may do."
    if account["keep"] == "vault":
        if not account["vault_path"]:
            yield "it is kept in a vault, and vault_path is not given. Say which file it is."
        if not _VARIABLE.fullmatch(str(account["vault_variable"])):
            yield (
                f"vault_variable is '{account['vault_variable']}'. Give the name of the variable that holds the token, "
                "of letters, digits and underscores."
            )
    elif account["keep"] == "kubernetes":
        if not account["manifest_path"]:
            yield "it is kept in a manifest, and manifest_path is not given. Say which file it is."
        for key in ("kubernetes_namespace", "kubernetes_name"):
            if not _KUBERNETES_NAME.fullmatch(str(account[key])):
                yield f"{key} is '{account[key]}'. Give a name as Kubernetes has it, of a-z, 0-9 and hyphens."
        if not _KUBERNETES_KEY.fullmatch(str(account["kubernetes_key"])):
            yield (
                f"kubernetes_key is '{account['kubernetes_key']}'. Give a key as Kubernetes has it, of letters, "
                "digits, hyphens, dots and underscores."
            )
    elif account["keep"] == "tasks":
        if not account["keep_tasks"]:
            yield "it is kept by tasks, and keep_tasks is not given. Say which file they are in."
        elif not os.path.isfile(account["keep_tasks"]):
            yield f"there is no file '{account['keep_tasks']}'. Correct keep_tasks."


# What its hub must know of it


def hub_config(
    accounts: Iterable[Account],
    hub: Mapping[str, Any],
    service: str | None = None,
    token: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the hub's configuration must say for the accounts, ordered so that the same accounts say the same.

    ``hub`` and ``token`` are what the module hub_info tells of the hub, and of the token that the role runs with.
    ``service`` is the name of a service that may run the role, if any.
    """
    of_user: dict[str, list[Account]] = {}
    for account in accounts:
        of_user.setdefault(account["user"], []).append(account)
    names = sorted(of_user)
    beyond = {name: found for name in names if (found := _beyond_its_own(name, of_user[name], hub["scope_names"]))}
    role_of = {name: _role_name("service-account", name) for name in beyond}
    by_group = _gives_roles_by_group(hub)
    members = [{"user": name, "group": role} for name, role in role_of.items() if by_group]
    roles = [
        {"name": role, "scopes": beyond[name], **({"groups": [role]} if by_group else {"users": [name]})}
        for name, role in role_of.items()
    ]
    if service:
        scopes = {"read:hub", *(f"admin:groups!group={member['group']}" for member in members)}
        scopes |= {scope for name in names for scope in _to_provide(name, of_user[name], hub)}
        roles.append(
            {"name": _role_name("service-accounts-by", service), "scopes": sorted(scopes), "services": [service]}
        )
    return {
        "names": names,
        "sections": list(dict.fromkeys(["OAuthenticator", *_own_section(hub)])),
        "roles": roles,
        "members": members,
        # A hub gives roles to users, and lets them join groups, by their names in lower case.
        "obstacles": [
            f"Service account '{name}' has scopes beyond its own, and a hub gives a role to a user by the name in "
            "lower case, which is another user's. Give the account a name without capitals."
            for name in beyond
            if name != name.lower()
        ],
        "doubt": _doubt(hub),
        "lacking": list(_lacking(names, hub, token or {})),
    }


def _lacking(names: Iterable[str], hub: Mapping[str, Any], token: Mapping[str, Any]) -> Iterator[str]:
    """What keeps the service that runs the role from minting tokens on this version of JupyterHub."""
    kind, scopes = str(token.get("kind")), token.get("scopes") or ()
    lacking = list(filter(None, (find_missing_mint_scope(hub["version"], kind, scopes, name) for name in names)))
    if lacking:
        yield (
            f"JupyterHub {hub['version']} lets a service mint a user's tokens only with a scope for a service of the "
            f"user's name. The service '{token.get('name')}' lacks {', '.join(lacking)}. Add that to its role in the "
            "hub's configuration, beside tokens!user, or upgrade the hub to 5.5.3, 6.1.0 or newer, which does not need "
            "it."
        )


def _beyond_its_own(name: str, accounts: Iterable[Account], words: Mapping[str, str]) -> list[str]:
    """The scopes that a user's accounts need from a role, in the hub's words.

    What is the user's own it may do by the hub's role ``user``.
    """
    found = set()
    for scope in (scope for account in accounts for scope in account["scopes"]):
        what, kind, value = split_scope(scope)
        own = (kind == "user" and value in ("", name)) or (kind == "server" and value.startswith(f"{name}/"))
        if not own and scope not in ("self", "inherit"):
            found.add(words.get(what, what) + scope[len(what) :])
    return sorted(found)


def _to_provide(name: str, accounts: Iterable[Account], hub: Mapping[str, Any]) -> Iterator[str]:
    """The scopes that let a service create the user, let it join its groups, and mint its tokens."""
    for account in accounts:
        scope = "admin:groups" if is_true(account["create_groups"]) else "groups"
        yield from (f"{scope}!group={group}" for group in account["groups"])
    yield f"admin:users!user={name}"
    yield f"tokens!user={name}"
    # No service has that name, or tokens of its own to be had by that scope. The one alternative would be `tokens`,
    # which mints for admins, too.
    if has_service_mint_bug(hub["version"]):
        yield f"tokens!service={name}"


def _gives_roles_by_group(hub: Mapping[str, Any]) -> bool:
    """Whether a role goes to a group of its own, whose members the hub's API sets, rather than to users by name.

    A role's users are given to it by name since JupyterHub 5, whether they exist or not. JupyterHub 4 does not start
    when one of them neither exists nor stands in Authenticator.allowed_users ("Username X is not in
    Authenticator.allowed_users", app.py, init_role_assignment), and to put the account there would let it log in.
    OAuthenticators let the role pass at JupyterHub 4, too (oauth2.py, check_allowed), and are those that often manage
    groups, which closes that API.
    """
    return parse_version(hub["version"]) < (5,) and not _own_section(hub)


def _own_section(hub: Mapping[str, Any]) -> list[str]:
    """The section of the configuration that an OAuthenticator's own class has."""
    module, _dot, name = _authenticator(hub)["class"].rpartition(".")
    return [name] if module.partition(".")[0] == "oauthenticator" else []


def _doubt(hub: Mapping[str, Any]) -> str:
    """Why the hub's authenticator might not ask refresh_user_hook, and what that means; empty where it does, or need
    not."""
    authenticator = _authenticator(hub)
    name, version = authenticator["class"], authenticator["version"]
    if name.startswith("jupyterhub."):
        return ""
    has_section = bool(_own_section(hub))
    if name and not has_section:
        return (
            f"not checked whether the hub's authenticator, {name}, asks refresh_user_hook. It does if it is derived "
            "from OAuthenticator of oauthenticator 17.3 or newer, and needs it with enable_auth_state. Set a "
            "hook of your own as c.OAuthenticator.refresh_user_hook: in the section of its own class it may win over "
            "that of these accounts."
        )
    if not has_section or not parse_version(version):
        return (
            "not checked whether the hub's authenticator asks refresh_user_hook, for the role's token may not see "
            "which one it is. Let it have read:hub, and run again. An OAuthenticator asks the hook since "
            "oauthenticator 17.3, and needs it with enable_auth_state. In the section of a class of "
            "another package, a hook of your own may win over that of these accounts."
        )
    if parse_version(version) < (17, 3):
        return (
            f"the hub has oauthenticator {version}, which ignores refresh_user_hook. With enable_auth_state it refuses "
            "the servers of service accounts (403) whatever is configured here: upgrade it to 17.3 or newer."
        )
    return ""


def _authenticator(hub: Mapping[str, Any]) -> dict[str, str]:
    """Its ``class`` and ``version``, empty where the hub does not tell."""
    told = hub.get("authenticator") or {}
    return {key: str(told.get(key) or "") for key in ("class", "version")}


def _role_name(prefix: str, name: str) -> str:
    """A role's name as the hub has it: 3 to 255 of a-z 0-9 - _ . ~, with a letter first.

    A tilde marks the name that could not stay.
    """
    slug = re.sub(r"[^a-z0-9._-]+", "-", name.lower())[:100].strip("._-")
    digest = "" if slug == name else "~" + hashlib.sha256(name.encode()).hexdigest()[:12]
    return (f"{prefix}-{slug}" if slug else prefix) + digest
