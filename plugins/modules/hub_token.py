#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_token
short_description: Mint, keep, prove, renew and revoke API tokens of a JupyterHub's users
version_added: 1.0.0
description:
  - Makes sure that users have the declared API tokens, or that they no longer have them.
  - A task with this module can run every hour. The module mints a token only if the token is missing, no longer works
    or is about to expire, or if its declaration has changed.
  - A hub shows a token's secret only once, when it mints the token. With O(path), the module writes the secret to a
    file and does not return it. The option O(format) describes the forms of the file. With O(secret), the module
    returns the secret. The caller keeps the secret and passes it to the next run.
  - With O(path) or O(secret), each run proves that the kept secret works. It sends a request to the hub with this
    secret.
  - If a run ends in the middle, either the old secret still works, or the new secret is kept. If the secret of a new
    token is lost before it is kept, the next attempt or the next run recognizes the token by its note and revokes it.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  user:
    description:
      - The name of the user who owns the token. Exactly one of O(user) and O(tokens) is required.
      - A hub cannot mint tokens for its services. A service account is a user.
    type: str
  note:
    description:
      - What the token is for. It is required with O(user).
      - O(user) and O(note) together identify the token. Choose a note that nobody else uses for this user. Choose a
        different note for each place that keeps a secret.
      - On the hub, the module appends the mark C( [hubops DIGEST-ATTEMPT]) to the note. The notes describe the mark.
    type: str
  state:
    description:
      - The desired state of the token.
      - V(present) mints the token if the hub does not have it as declared.
      - V(absent) revokes every token with this user and note, even if this module did not mint it. It also removes the
        file at O(path).
      - If the hub does not find the user, a task with V(absent) fails. The hub gives the same answer if O(api_token)
        has no access to the user.
    type: str
    choices: [present, absent]
    default: present
  scopes:
    description:
      - The scopes of the token. O(state=present) requires exactly one of O(scopes), O(roles) and O(inherit).
      - The user must hold these scopes. The filter C(!user) without a name stands for the user.
      - If the list is empty, the token can only ask the hub who its owner is.
      - Use the scope names of JupyterHub 6. On older hubs, which do not have V(start:servers), the module asks for
        C(servers) instead. C(servers) includes the same rights.
    type: list
    elements: str
  roles:
    description:
      - The names of roles of the hub. The token gets the scopes of these roles. The hub turns the roles into scopes
        when it mints the token.
    type: list
    elements: str
  inherit:
    description:
      - Whether the token may do everything that its user may do, now and later. A hub mints such a token if a request
        names neither scopes nor roles.
    type: bool
  expires_in:
    description:
      - How long a new token is valid, in seconds or with a unit, for example V(12h) or V(30d).
      - If not set, the token is valid until it is revoked, or as long as the hub permits. The limit of the hub is
        C(token_expires_in_max_seconds) in its configuration.
    type: str
  renew_before:
    description:
      - How long before the token expires the module mints its successor. It is a duration such as V(7d), or a share of
        the token's lifetime such as V(25%).
      - If not set, the module replaces a token only after it has expired.
    type: str
  secret:
    description:
      - The secret that the caller has kept. Pass an empty text if there is none yet.
      - If O(path) is set and holds no secret that works, the module tries O(secret). If O(secret) works, the module
        writes it to O(path).
      - If O(path) is not set, the module returns the secret of a new token. The old token keeps working until a later
        run passes the new secret, which proves that the caller has kept it.
      - JupyterHub 4 does not say which token a secret belongs to. On such a hub, the module revokes the old token at
        once.
    type: str
  path:
    description:
      - The path of the file that keeps the secret. The file is on the host where the task runs, and has mode 0600.
      - Use an absolute path. The folder in which a relative path begins depends on how Ansible runs. If the folder of
        the file does not exist, the module creates it with mode 0700.
      - Use a separate file for each token.
      - If O(format=plain), the module overwrites other content of the file. It does not overwrite a text of 1,024 or
        more characters, or a file that is encrypted by ansible-vault. The task then fails. O(state=absent) removes the
        file only if it holds a single word.
      - With the other values of O(format), the module does not overwrite or remove a file that it did not write. The
        task then fails.
      - If the path is a symbolic link, the module replaces the link with a file. Otherwise, a person who can create
        links in the folder could choose which file the module overwrites.
      - Runs that keep secrets in the same folder wait for each other.
    type: path
  format:
    description:
      - The format of the file at O(path).
      - V(plain) is a text file with the secret in one line.
      - V(vault) is a file of variables that ansible-vault encrypts with O(vault_password). The secret is the value of
        its only variable, O(vault_variable). Ansible can encrypt only on the controller. The task therefore needs a
        local connection, without C(become) and C(async). The controller needs the Python library cryptography.
      - V(kubernetes) is the manifest of a Secret, for C(kubernetes.core.k8s) or C(kubectl apply). The secret in it is
        encoded and not encrypted. It needs O(kubernetes_namespace) and O(kubernetes_name).
      - The module replaces a vault or a manifest that is cut off, a manifest whose secret is damaged, and a file that a
        power failure has filled with zeros. It also replaces the token whose secret was in the file.
    type: str
    choices: [plain, vault, kubernetes]
    default: plain
  vault_variable:
    description: The name of the variable that holds the token. Required for O(format=vault).
    type: str
  vault_password:
    description: The password of the vault. Required for O(format=vault).
    type: str
  kubernetes_namespace:
    description: The namespace of the Secret. Required for O(format=kubernetes).
    type: str
  kubernetes_name:
    description: The name of the Secret. Required for O(format=kubernetes).
    type: str
  kubernetes_key:
    description: The key in the Secret that holds the token.
    type: str
    default: token
  rotate:
    description:
      - Whether to mint a new token now, even if the kept token is valid. A task with V(true) mints a token in every
        run.
    type: bool
    default: false
  overlap:
    description:
      - How long old tokens stay valid after their successor was minted, for example V(1h). Use it for programs that
        read the secret only from time to time.
      - The first run after that time revokes the old tokens.
      - If not set, the module revokes the old tokens as soon as the successor is kept and has worked.
      - If no secret is kept, the module revokes the tokens that were never used as soon as it has minted a new
        one.
      - This option needs JupyterHub 5 or later.
    type: str
  revoke_replaced:
    description:
      - Whether this task revokes the tokens that were replaced. Set it to V(false) if another step must come first, for
        example if the manifest must be applied to a cluster. Run the task again with V(true) after that step.
      - JupyterHub 4 does not say which token a secret belongs to. On such a hub, the module always revokes the replaced
        tokens at once.
    type: bool
    default: true
  prune:
    description:
      - Whether to also revoke the tokens whose note is exactly O(note), without the mark. This module did not mint
        these tokens.
    type: bool
    default: false
  on_lost:
    description:
      - What to do if another machine, folder or job may keep a token with this user and note.
      - The module assumes this if the hub has such a token that has been used, and neither O(path) nor O(secret) has a
        secret that works. It also assumes this if such a token is newer than the kept one.
      - V(fail) fails with the code V(conflict). The message names the token. The module changes nothing.
      - V(replace) mints a new token and revokes the others. It revokes them at once, or when O(overlap) has passed.
        O(rotate=true) has the same effect.
      - A token that was never used is no reason to fail, because nobody keeps it. The module revokes such a token.
    type: str
    choices: [fail, replace]
    default: fail
  tokens:
    description:
      - A list of tokens. The module works on them concurrently.
      - If an item does not set an option, the module uses the task's option with the same name. O(secret) and O(path)
        are exceptions. They cannot be set together with O(tokens).
      - If one token fails, the module continues with the others. The task then fails at its end, and RV(tokens)
        contains the result of each token.
    type: list
    elements: dict
    suboptions:
      user:
        description: See O(user).
        type: str
        required: true
      note:
        description: See O(note).
        type: str
      state:
        description: See O(state).
        type: str
        choices: [present, absent]
      scopes:
        description: See O(scopes). If an item sets one of O(tokens[].scopes), O(tokens[].roles) and
          O(tokens[].inherit), the module uses none of the task's options O(scopes), O(roles) and O(inherit) for it.
        type: list
        elements: str
      roles:
        description: See O(roles).
        type: list
        elements: str
      inherit:
        description: See O(inherit).
        type: bool
      expires_in:
        description: See O(expires_in).
        type: str
      renew_before:
        description: See O(renew_before).
        type: str
      secret:
        description: See O(secret).
        type: str
      path:
        description: See O(path).
        type: path
      format:
        description: See O(format).
        type: str
        choices: [plain, vault, kubernetes]
      vault_variable:
        description: See O(vault_variable).
        type: str
      vault_password:
        description: See O(vault_password).
        type: str
      kubernetes_namespace:
        description: See O(kubernetes_namespace).
        type: str
      kubernetes_name:
        description: See O(kubernetes_name).
        type: str
      kubernetes_key:
        description: See O(kubernetes_key).
        type: str
      rotate:
        description: See O(rotate).
        type: bool
      overlap:
        description: See O(overlap).
        type: str
      revoke_replaced:
        description: See O(revoke_replaced).
        type: bool
      prune:
        description: See O(prune).
        type: bool
      on_lost:
        description: See O(on_lost).
        type: str
        choices: [fail, replace]
  concurrency:
    description: How many of O(tokens) the module works on at the same time.
    type: int
    default: 10
notes:
  - O(api_token) needs the scopes C(read:tokens) and C(tokens) for O(user). To mint tokens for another user, it needs
    C(tokens!user=NAME), which includes C(read:tokens!user=NAME).
  - A hub never shows a secret again. It accepts the same note any number of times, and it lists scopes in expanded
    form. The module therefore writes a digest of the declaration into the note, as C(NOTE [hubops DIGEST-ATTEMPT]).
  - In this mark, C(DIGEST) is the first twelve hex digits of a SHA-256 of O(expires_in) and of the scopes or roles, in
    any order. C(ATTEMPT) is eight random hex digits that differ for each request to mint a token. If the digest
    differs, the declaration has changed.
  - A token has the mark only if this module minted it. If such a token is newer than the kept one and was never used,
    its secret is lost, and the module revokes it. If such a token is older, the kept one has replaced it, and the
    module revokes it when O(overlap) has passed.
  - If neither O(path) nor O(secret) is set, a token counts as present if the hub lists it, because nobody can prove
    that its secret is kept. If the module mints another token, it revokes the old ones at once.
  - If the user has lost a declared scope, the module replaces the token. The module cannot mint a new token until the
    user has the scope again.
  - If the module must revoke the token in O(api_token), it revokes this token last.
  - Before JupyterHub 5, if several tokens have the same user, note and scopes, the module replaces them with a new
    one.
seealso:
  - module: hubops.jupyterhub.hub_user
    description: Creates, changes and deletes users.
  - module: hubops.jupyterhub.hub_info
    description: Lists what a hub has, and the scopes of a token.
  - name: Role hubops.jupyterhub.service_account
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/roles/service_account/README.md
    description: The role P(hubops.jupyterhub.service_account#role) creates accounts for programs with this module,
      and keeps their tokens.
  - name: Service accounts
    link: https://github.com/hubops/hubops.jupyterhub/blob/main/docs/docsite/rst/service_accounts.rst
    description: Shows how to declare accounts, and where their tokens are kept.
extends_documentation_fragment:
  - hubops.jupyterhub.hub
  - hubops.jupyterhub.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
# Run these every hour.
- name: Keep a token in a file, and mint its successor when a quarter of its time is left
  hubops.jupyterhub.hub_token:
    user: alice
    note: nightly check
    scopes: [start:servers!user, delete:servers!user, read:servers!user, access:servers!user]
    expires_in: 30d
    renew_before: 25%
    path: "{{ playbook_dir }}/alice.token"

- name: Keep tokens of many users, each in a file of its own; the old ones work for an hour after each renewal
  hubops.jupyterhub.hub_token:
    note: reports
    scopes: [read:servers!user]
    expires_in: 7d
    renew_before: 1d
    overlap: 1h
    tokens:
      - user: alice
        path: "{{ playbook_dir }}/reports-alice.token"
      - user: bob
        path: "{{ playbook_dir }}/reports-bob.token"
        expires_in: 14d

- name: Keep a token in a vault, as a variable that plays read from vars_files or group_vars
  hubops.jupyterhub.hub_token:
    user: alice
    note: for the vault
    scopes: [read:users:name!user]
    expires_in: 30d
    renew_before: 25%
    path: "{{ playbook_dir }}/alice.vault.yml"
    format: vault
    vault_variable: alice_token
    vault_password: "{{ vault_password }}"

- name: Keep a token in the manifest of a Secret
  hubops.jupyterhub.hub_token:
    user: alice
    note: for the cluster
    scopes: [read:users:name!user]
    expires_in: 30d
    renew_before: 25%
    path: "{{ playbook_dir }}/alice-secret.yml"
    format: kubernetes
    kubernetes_namespace: checks
    kubernetes_name: hub-token

# Run these when there is a reason to.
- name: Mint a new token now, and revoke the old token and all tokens that were minted by hand with the same note
  hubops.jupyterhub.hub_token:
    user: bob
    note: reports
    scopes: [read:servers!user]
    expires_in: 14d
    path: "{{ playbook_dir }}/reports-bob.token"
    rotate: true
    prune: true

- name: Revoke a token that is no longer needed, and remove its file
  hubops.jupyterhub.hub_token:
    user: alice
    note: nightly check
    state: absent
    path: "{{ playbook_dir }}/alice.token"
"""

RETURN = r"""
tokens:
  description: One item for each token, in the order of the task's options. If O(user) is set, it is the only item. A
    failed task returns this list, too.
  returned: if the options are valid
  type: list
  elements: dict
  contains:
    user: {description: The name of the user who owns the token., type: str}
    note: {description: "The note as declared, without the mark.", type: str}
    state: {description: The declared state., type: str}
    changed: {description: "Whether the task changed something, or would change something in check mode.", type: bool}
    token:
      description:
        - The secret, if this task minted the token and no O(path) keeps the secret. V(null) otherwise.
      type: str
    token_id:
      description:
        - The id of the token. V(null) if there is no token. In check mode, also V(null) if the task would mint one.
      type: str
    scopes:
      description: The scopes of the token. The hub expands a scope that includes other scopes.
      type: list
      elements: str
    created: {description: When the token was minted., type: str}
    expires_at: {description: "When the token expires. V(null) if it does not expire.", type: str}
    minted: {description: Whether this task minted the token., type: bool}
    revoked:
      description: The ids of the tokens that this task revoked.
      type: list
      elements: str
    revocations:
      description: Details of the tokens that this task revoked.
      type: list
      elements: dict
      contains:
        token_id: {description: The id of the token., type: str}
        created: {description: When the token was minted., type: str}
        last_activity: {description: "When the token was last used. V(null) if it was never used.", type: str}
        why: {description: Why the module revoked the token., type: str}
    failure:
      description: Why the token failed. V(null) if it did not fail. The notes describe its keys.
      type: dict
token:
  description:
    - The secret, if this task minted the token and no O(path) keeps the secret. V(null) otherwise.
    - This value and the following ones describe the token of O(user). If O(tokens) is set, they are V(null), and
      RV(scopes) is an empty list. RV(minted), RV(revoked) and RV(revocations) then describe all tokens.
  returned: success
  type: str
token_id: {description: "See RV(tokens[].token_id).", returned: success, type: str, sample: a12}
user: {description: "See RV(tokens[].user).", returned: success, type: str}
note: {description: "See RV(tokens[].note).", returned: success, type: str}
state: {description: "See RV(tokens[].state).", returned: success, type: str}
scopes: {description: "See RV(tokens[].scopes).", returned: success, type: list, elements: str}
created: {description: "See RV(tokens[].created).", returned: success, type: str}
expires_at: {description: "See RV(tokens[].expires_at).", returned: success, type: str}
minted: {description: Whether this task minted any token., returned: success, type: bool}
revoked: {description: The ids of all tokens that this task revoked., returned: success, type: list, elements: str}
revocations:
  description: Details of all tokens that this task revoked. See RV(tokens[].revocations).
  returned: success
  type: list
  elements: dict
actions:
  description: What the task did, or what it would do in check mode. The notes describe the items.
  returned: success
  type: list
  elements: dict
  sample: [{verb: mint, object: "token 'nightly check' of user 'alice'", why: no secret is kept}]
failure:
  description: Why the task failed. V(null) if it did not fail. If several tokens failed, it describes the first one.
    The notes describe its keys.
  returned: always
  type: dict
  sample:
    code: not_found
    message: "The hub has no user 'alice' (Not Found)."
    status: 404
    method: GET
    url: https://hub.example.org/hub/api/users/alice/tokens
    hint: "Check the name; a token whose scopes do not cover it gets the same answer."
"""

from math import ceil
from typing import Any

from ..module_utils._ansible import HubModule, inherit_options, run_module
from ..module_utils._hub.client import HubClient
from ..module_utils._hub.connection import parse_duration
from ..module_utils._hub.errors import Invalid
from ..module_utils._path.batch import Batch
from ..module_utils._path.plan import Report
from ..module_utils._token.flow import token_batch
from ..module_utils._token.model import RenewBefore, TokenSpec
from ..module_utils._token.secret_format import FORMATS, PLAIN, Cipher, Kubernetes, SecretFormat, Vault

_RIGHTS = ("scopes", "roles", "inherit")
_SHARED = (
    "note", "state", *_RIGHTS, "expires_in", "renew_before", "rotate", "overlap", "revoke_replaced", "prune", "on_lost",
    "format", "vault_variable", "vault_password", "kubernetes_namespace", "kubernetes_name", "kubernetes_key",
)  # fmt: skip
"""The options that an item of ``tokens`` takes from the task if it leaves them out."""


def flow(hub: HubClient, options: dict[str, Any], report: Report, *, cipher: Cipher | None = None) -> Batch:
    items = options["tokens"]
    if items is None and not options["user"]:
        raise Invalid("Neither user nor tokens says whose token it is.", "Give one of them.")
    declared = [options] if items is None else [_inherit(item, options) for item in items]
    specs = [_token_spec(each, cipher) for each in declared]
    return token_batch(hub, specs, concurrency=options["concurrency"], single=items is None)


def _inherit(item: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    has_rights = any(item[name] is not None for name in _RIGHTS)
    return inherit_options(item, options, [name for name in _SHARED if not (has_rights and name in _RIGHTS)])


def _token_spec(options: dict[str, Any], cipher: Cipher | None) -> TokenSpec:
    expires_in, overlap, scopes, roles = (options[name] for name in ("expires_in", "overlap", "scopes", "roles"))
    given = [name for name in _RIGHTS if options[name] is not None and options[name] is not False]
    if len(given) > 1:
        raise Invalid(f"{' and '.join(given)} exclude each other.", "Leave all but one of them out.")
    if options["inherit"]:
        scopes = ["inherit"]
    return TokenSpec(
        user=options["user"],
        note=options["note"] or "",
        state=options["state"],
        scopes=None if scopes is None else tuple(scopes),
        roles=None if roles is None else tuple(roles),
        expires_in=None if expires_in is None else ceil(parse_duration(expires_in, "expires_in")),
        renew_before=RenewBefore.parse(options["renew_before"]),
        secret=options["secret"],
        path=options["path"],
        secret_format=_secret_format(options, cipher),
        rotate=options["rotate"],
        overlap=0.0 if overlap is None else parse_duration(overlap, "overlap"),
        revoke_replaced=options["revoke_replaced"],
        prune=options["prune"],
        on_lost=options["on_lost"],
    )


def _secret_format(options: dict[str, Any], cipher: Cipher | None) -> SecretFormat:
    chosen = options["format"]
    if chosen == "plain":
        return PLAIN
    if options["path"] is None:
        raise Invalid(
            f"format is {chosen}, but there is no path: the format is that of a file.",
            "Give path, or leave format out.",
        )
    if chosen == "vault":
        return Vault(options["vault_variable"] or "", options["vault_password"] or "", cipher)
    return Kubernetes(
        options["kubernetes_namespace"] or "", options["kubernetes_name"] or "", options["kubernetes_key"] or ""
    )


_TOKEN: dict[str, dict[str, Any]] = {
    "user": {"type": "str"},
    "note": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"]},
    "scopes": {"type": "list", "elements": "str"},
    "roles": {"type": "list", "elements": "str"},
    "inherit": {"type": "bool"},
    "expires_in": {"type": "str"},
    "renew_before": {"type": "str"},
    "secret": {"type": "str", "no_log": True},
    # A path is no secret, whatever its name ends in.
    "path": {"type": "path", "no_log": False},
    "format": {"type": "str", "choices": list(FORMATS)},
    "vault_variable": {"type": "str"},
    "vault_password": {"type": "str", "no_log": True},
    "kubernetes_namespace": {"type": "str"},
    "kubernetes_name": {"type": "str"},
    # The name of a key, not a key.
    "kubernetes_key": {"type": "str", "no_log": False},
    "rotate": {"type": "bool"},
    "overlap": {"type": "str"},
    "revoke_replaced": {"type": "bool"},
    "prune": {"type": "bool"},
    "on_lost": {"type": "str", "choices": ["fail", "replace"]},
}
_DEFAULTS = {
    "state": "present", "rotate": False, "revoke_replaced": True, "prune": False, "on_lost": "fail", "format": "plain",
    "kubernetes_key": "token",
}  # fmt: skip

MODULE = HubModule(
    options={
        **{name: {**spec, "default": _DEFAULTS[name]} if name in _DEFAULTS else spec for name, spec in _TOKEN.items()},
        "tokens": {
            "type": "list",
            "elements": "dict",
            "no_log": False,
            "options": {**_TOKEN, "user": {"type": "str", "required": True}},
        },
        "concurrency": {"type": "int", "default": 10},
    },
    rules={
        "required_one_of": [("user", "tokens")],
        "required_by": {"user": ["note"]},
        "mutually_exclusive": [("tokens", "user"), ("tokens", "secret"), ("tokens", "path")],
    },
    flow=flow,
    takes_cipher=True,
)


def main() -> None:
    run_module(MODULE)


if __name__ == "__main__":
    main()
