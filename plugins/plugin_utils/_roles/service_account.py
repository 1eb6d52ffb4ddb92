# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role service_account: what an account is, what is wrong with it, and how to configure its hub.

It never handles a secret. It only knows whether a secret is given.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...module_utils._hub.errors import quoted
from ...module_utils._hub.scopes import CULL, CULL_USERS, split_scope
from ...module_utils._hub.versions import (
    find_missing_mint_scope,
    has_service_mint_bug,
    parse_version,
)
from .checks import configuration_files, is_true

PURPOSES: dict[str, tuple[str, ...]] = {
    # For the role verify: to use the account's own servers, and to see when the token expires.
    "verify": (
        "start:servers!user",
        "delete:servers!user",
        "read:servers!user",
        "access:servers!user",
        "read:tokens!user",
    ),
    # To stop the idle servers of everybody.
    "cull": CULL,
    # The same, and to delete idle users.
    "cull-users": CULL_USERS,
    # To take snapshots, and to stop and start everybody's servers. The scope `proxy` is missing: it shows the routes,
    # and it also allows to change the proxy.
    "upgrade": (
        *("list:users", "read:users", "read:servers", "read:tokens", "list:groups", "read:groups"),
        *("list:services", "read:services", "read:roles", "read:hub", "start:servers", "delete:servers"),
    ),
    "custom": (),
}
"""The scopes that an account needs for its purpose. JupyterHub 6 has these names. The modules translate them."""

_PLACES = {"file": "token_path", "vault": "vault_path", "kubernetes": "manifest_path", "tasks": "keep_tasks"}
"""For each value of ``keep``, the key that says where the token is kept."""
_COPIED_KEYS = (
    "purpose", "create_groups", "expires_in", "renew_before", "overlap", "on_lost", "keep", "vault_variable",
    "kubernetes_namespace", "kubernetes_name", "kubernetes_key",
)  # fmt: skip
KEYS = {
    *_COPIED_KEYS, *_PLACES.values(), "user", "note", "scopes", "groups", "secret",
}  # fmt: skip
"""All keys that an account can declare."""
_UNTIL_THEN = "Until then the hub has neither these roles nor the hook, and refuses what needs them."
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KUBERNETES_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_KUBERNETES_KEY = re.compile(r"[-._a-zA-Z0-9]+")

Account = dict[str, Any]


# What an account is


def complete_accounts(declared: Sequence[Mapping[str, Any]] | None, settings: Mapping[str, Any]) -> list[Account]:
    """Return the declared accounts, each with every key. If none is declared, return one for the settings' ``user``.

    ``settings`` has what an account gets if it leaves a key out: every key of an account except ``secret``. It also has
    ``folder``, in which relative paths begin, ``host``, for the name of a token's file, and ``kubernetes_apply``,
    whether the role applies manifests.

    Each account also has its ``number`` in ``declared``, the ``place`` that keeps its token, and in ``hub_token`` the
    options of the module that mints the token.
    """
    return [_complete(number, each, settings) for number, each in enumerate(_accounts(declared, settings))]


def _accounts(declared: Sequence[Mapping[str, Any]] | None, settings: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return declared or [{"user": settings["user"]}]


def _complete(number: int, declared: Mapping[str, Any], settings: Mapping[str, Any]) -> Account:
    def chosen(key: str) -> Any:
        found = declared.get(key)
        return settings[key] if found is None else found

    def path(key: str) -> str:
        found = str(declared.get(key) or settings[key] or "")
        return os.path.join(settings["folder"], os.path.expanduser(found)) if found else ""

    user, note = str(declared.get("user") or ""), str(chosen("note") or "")
    account: Account = {
        **{key: chosen(key) for key in _COPIED_KEYS},
        "number": number,
        "user": user,
        "note": note,
        # An account's own purpose has precedence over the scopes that all accounts have in common.
        "scopes": _list(declared.get("scopes"))
        or _scopes_of_purpose(declared.get("purpose"))
        or _list(settings["scopes"])
        or _scopes_of_purpose(chosen("purpose")),
        "groups": _list(declared.get("groups")) or _list(settings["groups"]),
        # The role may run on another host, and the path is a path on that host. So the module resolves it.
        "token_path": str(declared.get("token_path") or settings["token_path"] or "")
        or os.path.join(settings["folder"], f"{settings['host']}-{user}.token"),
        **{key: path(key) for key in ("vault_path", "manifest_path", "keep_tasks")},
    }
    account["place"] = account[_PLACES[account["keep"]]] if account["keep"] in _PLACES else ""
    return {**account, "hub_token": _hub_token(account, is_applied=is_true(settings["kubernetes_apply"]))}


def _hub_token(account: Account, *, is_applied: bool) -> dict[str, Any]:
    """Return the options of hub_token for the account's token, except the secret and the password of vaults."""
    keep = account["keep"]
    options = {
        **{key: account[key] for key in ("user", "note", "scopes")},
        **{key: account[key] or None for key in ("expires_in", "renew_before", "overlap", "on_lost")},
    }
    if keep == "tasks":
        return options
    options["path"] = account["place"]
    if keep == "vault":
        options |= {"format": "vault", "vault_variable": account["vault_variable"]}
    elif keep == "kubernetes":
        options |= {
            "format": "kubernetes",
            **{key: account[key] for key in ("kubernetes_namespace", "kubernetes_name", "kubernetes_key")},
            # The cluster still has the old token until the manifest is applied.
            "revoke_replaced": not is_applied,
        }
    return options


def _scopes_of_purpose(purpose: Any) -> list[str]:
    return list(PURPOSES.get(purpose, ()))


def _list(value: Any) -> list[str]:
    """Return a list as Ansible reads it: it splits a text at its commas."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",")] if value else []
    return [str(item) for item in value or ()]


# What is wrong with it


def complaints(declared: Sequence[Mapping[str, Any]] | None, settings: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the declaration and what to do about it, a text for each problem.

    The parameters are those of `complete_accounts`. ``settings`` also says whether there is a password for vaults
    (``vault_password_given``), and a secret for accounts that have none of their own (``secret_given``). This checks on
    disk whether the files of tasks exist.

    Ansible can validate keys and choices, too, but it would evaluate all secrets for that.
    """
    if declared and settings["user"]:
        return ["service_account_user and service_accounts are both given. Leave one of them out."]
    if not declared and not settings["user"]:
        return ["No account is declared. Set service_account_user, or list accounts in service_accounts."]
    found: list[str] = []
    identities: set[tuple[str, str]] = set()
    files: set[str] = set()
    for account, keys in zip(complete_accounts(declared, settings), _accounts(declared, settings), strict=True):
        problems = [*_check_account(account)]
        problems += [
            f"it has a key '{key}', which no account has. Correct or remove it." for key in keys if key not in KEYS
        ]
        identity, place = (account["user"], account["note"]), account["place"]
        file = os.path.normpath(os.path.join(settings["folder"], place))
        if identity in identities:
            problems.append("it is declared twice with this note. Give each of its tokens a note of its own.")
        elif account["keep"] != "tasks" and place and file in files:
            problems.append(f"'{place}' keeps another token already. Give each a file of its own.")
        identities.add(identity)
        files.add(file)
        if account["keep"] == "vault" and not settings["vault_password_given"]:
            problems.append("it is kept in a vault, and there is no password. Set service_account_vault_password.")
        if account["keep"] == "tasks" and "secret" not in keys and not settings["secret_given"]:
            problems.append(
                "it is kept by tasks, and secret is not given. Set it to an expression that reads what the tasks have "
                "kept, and that is empty if there is nothing."
            )
        found += [f"Service account '{account['user']}' ({account['note']}): {sentence}" for sentence in problems]
    return found


def _check_account(account: Account) -> Iterator[str]:
    """Yield what is wrong with one account, apart from conflicts with other accounts."""
    if not account["user"].strip():
        yield "user is empty. Give it the name of a hub user."
    if not account["note"].strip():
        yield "note is empty. Say what the token is for, because the note identifies it."
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
                yield f"{key} is '{account[key]}'. Give a name that Kubernetes accepts, of a-z, 0-9 and hyphens."
        if not _KUBERNETES_KEY.fullmatch(str(account["kubernetes_key"])):
            yield (
                f"kubernetes_key is '{account['kubernetes_key']}'. Give a key that Kubernetes accepts, of letters, "
                "digits, hyphens, dots and underscores."
            )
    elif account["keep"] == "tasks":
        if not account["keep_tasks"]:
            yield "it is kept by tasks, and keep_tasks is not given. Say which file they are in."
        elif not os.path.isfile(account["keep_tasks"]):
            yield f"there is no file '{account['keep_tasks']}'. Correct keep_tasks."


# How to configure its hub


def hub_config(
    accounts: Iterable[Account],
    hub: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    token: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the hub's configuration must say for the accounts. The order is the same for the same accounts.

    ``hub`` and ``token`` are hub_info's results for the hub, and for the token that the role runs with. ``options`` are
    the role's: ``service``, the name of a service that may run the role, ``service_token_file``, ``config_path`` and
    ``values_path``, the files to write, and ``folder``, in which relative paths begin. Each can be empty.
    """
    options = options or {}
    service = options.get("service")
    accounts_of: dict[str, list[Account]] = {}
    for account in accounts:
        accounts_of.setdefault(account["user"], []).append(account)
    names = sorted(accounts_of)
    found = {name: _foreign_scopes(name, accounts_of[name], hub["scope_names"]) for name in names}
    foreign = {name: scopes for name, scopes in found.items() if scopes}
    role_of = {name: _role_name("service-account", name) for name in foreign}
    by_group = _gives_roles_by_group(hub)
    members = [{"user": name, "group": role} for name, role in role_of.items() if by_group]
    roles = [
        {"name": role, "scopes": foreign[name], **({"groups": [role]} if by_group else {"users": [name]})}
        for name, role in role_of.items()
    ]
    if service:
        scopes = {"read:hub", *(f"admin:groups!group={member['group']}" for member in members)}
        scopes |= {scope for name in names for scope in _scopes_to_provide(name, accounts_of[name], hub)}
        roles.append(
            {"name": _role_name("service-accounts-by", service), "scopes": sorted(scopes), "services": [service]}
        )
    return {
        "names": names,
        "sections": list(dict.fromkeys(["OAuthenticator", *_own_section(hub)])),
        "roles": roles,
        "members": members,
        "files": configuration_files("service_accounts.py.j2", options, _UNTIL_THEN),
        "obstacles": list(_obstacles(foreign, options)),
        "doubt": _doubt(hub),
        "lacking": list(_lacking(names, hub, token or {})),
    }


def _obstacles(foreign: Iterable[str], options: Mapping[str, Any]) -> Iterator[str]:
    """Yield why the hub cannot be configured so, and what to do about it.

    ``foreign`` are the users that need a role. ``options`` are those of `hub_config`.
    """
    for name in foreign:
        # A hub gives roles to users, and adds them to groups, by their names in lower case.
        if name != name.lower():
            yield (
                f"Service account {quoted(name)} has scopes beyond its own, and a hub gives a role to a user by the "
                "name in lower case, which is another user's. Give the account a name without capitals."
            )
    if options.get("service") and options.get("config_path") and not options.get("service_token_file"):
        yield (
            f"The service {quoted(options['service'])} has no token. Set service_account_config_service_token_file to "
            "the file on the hub's host that holds it, or leave service_account_config_service empty."
        )


def _lacking(names: Iterable[str], hub: Mapping[str, Any], token: Mapping[str, Any]) -> Iterator[str]:
    """Yield which scopes the service that runs the role lacks to mint tokens on this version of JupyterHub."""
    kind, scopes = str(token.get("kind")), token.get("scopes") or ()
    lacking = list(filter(None, (find_missing_mint_scope(hub["version"], kind, scopes, name) for name in names)))
    if lacking:
        yield (
            f"JupyterHub {hub['version']} lets a service mint a user's tokens only with a scope for a service of the "
            f"user's name. The service '{token.get('name')}' lacks {', '.join(lacking)}. Add that to its role in the "
            "hub's configuration, beside tokens!user, or upgrade the hub to 5.5.3, 6.1.0 or newer, which does not need "
            "it."
        )


def _foreign_scopes(name: str, accounts: Iterable[Account], words: Mapping[str, str]) -> list[str]:
    """Return the scopes that a user's accounts need from a role, as the hub names them.

    The hub's role ``user`` already has the scopes for what belongs to the user itself. ``words`` are the hub's names
    for scopes, by the names that JupyterHub 6 has for them.
    """
    found = set()
    for scope in (scope for account in accounts for scope in account["scopes"]):
        what, kind, value = split_scope(scope)
        is_own = (kind == "user" and value in ("", name)) or (kind == "server" and value.startswith(f"{name}/"))
        if not is_own and scope not in ("self", "inherit"):
            found.add(words.get(what, what) + scope[len(what) :])
    return sorted(found)


def _scopes_to_provide(name: str, accounts: Iterable[Account], hub: Mapping[str, Any]) -> Iterator[str]:
    """Yield the scopes that a service needs to create the user, to add it to its groups, and to mint its tokens."""
    for account in accounts:
        scope = "admin:groups" if is_true(account["create_groups"]) else "groups"
        yield from (f"{scope}!group={group}" for group in account["groups"])
    yield f"admin:users!user={name}"
    yield f"tokens!user={name}"
    # No service has that name, so this scope gives no access to a service's tokens. The only alternative is `tokens`,
    # which mints tokens for admins, too.
    if has_service_mint_bug(hub["version"]):
        yield f"tokens!service={name}"


def _gives_roles_by_group(hub: Mapping[str, Any]) -> bool:
    """Return whether to give a role to a group of its own, whose members the hub's API sets, and not to users by name.

    Since JupyterHub 5 a role can name users that do not exist. JupyterHub 4 does not start if one of a role's users
    neither exists nor is in Authenticator.allowed_users ("Username X is not in Authenticator.allowed_users", app.py,
    init_role_assignment). To add the account to allowed_users would let it log in. With an OAuthenticator, JupyterHub 4
    starts with such a role (oauth2.py, check_allowed). An OAuthenticator also often manages groups, and then the hub's
    API cannot set the members.
    """
    return parse_version(hub["version"]) < (5,) and not _own_section(hub)


def _own_section(hub: Mapping[str, Any]) -> list[str]:
    """Return the name of the configuration section of the hub's class of authenticator, in a list.

    The list is empty if the class is not in the package oauthenticator.
    """
    module, _dot, name = _authenticator(hub)["class"].rpartition(".")
    return [name] if module.partition(".")[0] == "oauthenticator" else []


def _doubt(hub: Mapping[str, Any]) -> str:
    """Return why the hub's authenticator might not call refresh_user_hook, and what that means.

    Returns an empty text if it calls the hook, or does not need to.
    """
    authenticator = _authenticator(hub)
    name, version = authenticator["class"], authenticator["version"]
    if name.startswith("jupyterhub."):
        return ""
    has_section = bool(_own_section(hub))
    if name and not has_section:
        return (
            f"not checked whether the hub's authenticator, {name}, asks refresh_user_hook. It does if it is derived "
            "from OAuthenticator of oauthenticator 17.3 or newer, and needs it with enable_auth_state. Set a "
            "hook of your own as c.OAuthenticator.refresh_user_hook. In the section of its own class it may win over "
            "the hook of these accounts."
        )
    if not has_section or not parse_version(version):
        return (
            "not checked whether the hub's authenticator asks refresh_user_hook, because the role's token may not see "
            "which one it is. Give the token read:hub, and run this again. An OAuthenticator asks the hook since "
            "oauthenticator 17.3, and needs it with enable_auth_state. In the section of a class of "
            "another package, a hook of your own may win over the hook of these accounts."
        )
    if parse_version(version) < (17, 3):
        return (
            f"the hub has oauthenticator {version}, which ignores refresh_user_hook. With enable_auth_state it refuses "
            "the servers of service accounts (403), whatever is configured here. Upgrade it to 17.3 or newer."
        )
    return ""


def _authenticator(hub: Mapping[str, Any]) -> dict[str, str]:
    """Return the ``class`` and ``version`` of the hub's authenticator. They are empty if the hub does not show them."""
    authenticator = hub.get("authenticator") or {}
    return {key: str(authenticator.get(key) or "") for key in ("class", "version")}


def _role_name(prefix: str, name: str) -> str:
    """Return a role's name that the hub accepts: 3 to 255 of a-z 0-9 - _ . ~, with a letter first.

    If ``name`` had to change, a digest follows it after a tilde.
    """
    slug = re.sub(r"[^a-z0-9._-]+", "-", name.lower())[:100].strip("._-")
    digest = "" if slug == name else "~" + hashlib.sha256(name.encode()).hexdigest()[:12]
    return (f"{prefix}-{slug}" if slug else prefix) + digest
