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
  - Makes sure that users have the declared API tokens, or that they no longer have them. Run it every hour. It mints a
    token only if the token is missing, was declared otherwise, no longer works or is about to expire.
  - A hub shows a token's secret once, when it mints the token. With O(path), the module writes the secret to a file and
    does not return it. The file can be plain, encrypted by ansible-vault, or the manifest of a Kubernetes Secret, see
    O(format). With O(secret), the module returns the secret, and the caller keeps it and passes it to the next run. In
    both cases each run asks the hub with the kept secret and so proves that it works.
  - If a run ends in the middle, the old secret still works, or the new one is kept. If a token's secret got lost before
    it was kept, the next attempt or the next run recognizes the token by its note and revokes it.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  user:
    description:
      - The user whom the token belongs to. A hub cannot mint tokens for its services. A service account is a user.
    type: str
  note:
    description:
      - What the token is for. O(user) and O(note) together identify the token. Choose a note that nobody else uses for
        this user, and a different note for each place that keeps a secret.
      - On the hub, the module appends a mark to the note, C( [hubops DIGEST-ATTEMPT]). The notes below describe it.
    type: str
  state:
    description:
      - V(present) mints the token if it is not there as it is declared.
      - V(absent) revokes every token with this user and note, whoever minted it, and removes the file at O(path). The
        task fails if the hub does not find the user, because the hub answers the same if the token that asks has no
        access to the user.
    type: str
    choices: [present, absent]
    default: present
  scopes:
    description:
      - What the token may do. O(state=present) requires exactly one of O(scopes), O(roles) and O(inherit).
      - The user must hold these scopes. C(!user) stands for the user. A token with an empty list can only tell who it
        is.
      - Write scopes as JupyterHub 6 names them. On a hub that does not have V(start:servers) yet, the module asks for
        C(servers), which includes it.
    type: list
    elements: str
  roles:
    description:
      - What the token may do, as names of the hub's roles. The hub turns the roles into scopes when it mints the token.
    type: list
    elements: str
  inherit:
    description:
      - Whether the token may do everything that its user may do, now and later. Hubs mint such a token if they are
        asked for neither scopes nor roles.
    type: bool
  expires_in:
    description:
      - How long a new token is valid, in seconds or as V(12h), V(30d). Without it, the token is valid until it is
        revoked, or as long as the hub permits (C(token_expires_in_max_seconds) in the hub's configuration).
    type: str
  renew_before:
    description:
      - The module mints a successor when the token is valid for no longer than this, as a duration (V(7d)) or as a
        share of the token's lifetime (V(25%)). Without it, the module replaces a token after it has expired.
    type: str
  secret:
    description:
      - The secret that the caller has kept. Pass an empty text if there is none yet. If O(path) holds no secret that
        works, the module tries this one, and writes it to O(path) if it works.
      - Without O(path), the module returns a new secret. The old token keeps working until a later run passes the new
        secret, which proves that it was kept. JupyterHub 4 does not say which token asks, so there the module revokes
        the old token at once.
    type: str
  path:
    description:
      - A file that keeps the secret, with mode 0600, on the host where the task runs. Give an absolute path, because
        where a relative path begins depends on how Ansible runs. The module creates a missing folder with mode 0700.
      - Give each token a file of its own. With O(format=plain), the module overwrites what else the file holds, unless
        that has more than 1,000 characters, and O(state=absent) removes the file only if it holds a single word. With
        the other formats, the module leaves a file alone that it did not write, and the task fails.
      - If the path is a symbolic link, the module replaces the link by a file. Otherwise a person who can create links
        in the folder could choose which file is overwritten.
      - Runs that keep secrets in the same folder wait for each other.
    type: path
  format:
    description:
      - What the file at O(path) looks like.
      - V(plain) is the secret in a line.
      - V(vault) is a file of variables that ansible-vault encrypts with O(vault_password). The secret is its only
        variable, O(vault_variable). Ansible can encrypt on the controller only, so the task needs a local connection,
        without C(become) and C(async). The controller needs the Python library cryptography.
      - V(kubernetes) is the manifest of a Secret, for C(kubernetes.core.k8s) or C(kubectl apply). Its value is encoded
        and not encrypted. It needs O(kubernetes_namespace) and O(kubernetes_name).
      - The module replaces a vault or a manifest that is cut off or damaged, and the token that was in it.
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
      - Whether to mint a new token now, even if the kept one is good. Such a task changes something in every run.
    type: bool
    default: false
  overlap:
    description:
      - How long old tokens stay valid after their successor was minted, such as V(1h), for programs that read the
        secret only now and then. A run after that time revokes them. Without it, the module revokes them as soon as
        the successor is kept and has worked. If no secret is kept any more, it revokes them as soon as it has minted a
        new one. Needs JupyterHub 5.
    type: str
  revoke_replaced:
    description:
      - Whether this task revokes the tokens that were replaced. Set it to V(false) if something must happen with the
        file first, for example if a manifest must be applied to a cluster, and run the task again with V(true)
        afterwards.
      - JupyterHub 4 does not say which token asks, so there the module revokes them at once in any case.
    type: bool
    default: true
  prune:
    description:
      - Whether to revoke the tokens, too, whose note is exactly O(note), without the mark. This module did not mint
        them.
    type: bool
    default: false
  on_lost:
    description:
      - What to do if no secret that works is kept at O(path) or in O(secret), and the hub has a token with this user
        and note that was used since it was minted. Another machine, folder or job may keep that token.
      - V(fail) ends the task with the code C(conflict). The message names the token. The module changes nothing.
      - V(replace) mints a new token and revokes the others, at once or when O(overlap) has passed.
      - The module revokes a token that was never used in any case, because nobody keeps it. O(rotate) replaces all
        tokens, too.
    type: str
    choices: [fail, replace]
    default: fail
  tokens:
    description:
      - Many tokens in one task. The module works on them concurrently. An item takes what it leaves out from the task's
        option of the same name, except O(secret) and O(path).
      - If one token fails, the module still works on the others. The task then fails at its end, and RV(tokens) says
        what happened to each token.
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
        description: See O(scopes). An item that has one of scopes, roles and inherit takes none of them from the task.
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
  - Needs the scopes C(read:tokens) and C(tokens) for O(user). To mint tokens for another user, that is
    C(tokens!user=NAME).
  - A hub never shows a secret again, accepts the same note any number of times, and lists scopes expanded. So the
    module writes what was declared into the note, as C(NOTE [hubops DIGEST-ATTEMPT]). DIGEST is the first twelve hex
    digits of a SHA-256 of the scopes or roles (in any order) and O(expires_in). ATTEMPT is eight random hex digits,
    and each request that mints has another one. If the digest differs, another token was declared.
  - This module minted the tokens with the mark. If such a token is younger than the kept one and was never used, its
    secret got lost, and the module revokes it. Older ones were replaced by the kept one, and the module revokes them
    when O(overlap) has passed.
  - Without O(path) and O(secret), a token counts as present if the hub lists it, because nobody can prove that its
    secret is kept. If the module mints another one, it revokes the old ones at once.
  - If the user has lost a declared scope, the module replaces the token. Minting fails until the user has the scope
    again.
  - If the token that the task asks with must be revoked, too, the module revokes it last.
  - On a hub before JupyterHub 5, the module replaces several tokens with the same user and note by a new one.
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
- name: Mint a new token now, and revoke the old one and all that were minted by hand under the same note
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
  description: What happened to each token, in the order of the declaration. A single token is here, too.
  returned: if the options are valid
  type: list
  elements: dict
  contains:
    user: {description: The user whom the token belongs to., type: str}
    note: {description: The declared note., type: str}
    state: {description: The declared state., type: str}
    changed: {description: "Whether the module changed something, or would change something in check mode.", type: bool}
    token:
      description:
        - The secret, if this task minted the token and no O(path) keeps the secret. V(null) otherwise.
      type: str
    token_id:
      description:
        - The hub's id of the token. V(null) if there is no token, and in check mode if one would be minted.
      type: str
    scopes:
      description: What the token may do. The hub expands scopes that include other scopes.
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
      description: Details on the tokens that this task revoked.
      type: list
      elements: dict
      contains:
        token_id: {description: The hub's id of the token., type: str}
        created: {description: When the token was minted., type: str}
        last_activity: {description: "When the token was last used. V(null) if it was never used.", type: str}
        why: {description: Why the module revoked the token., type: str}
    failure:
      description: Why the token failed. V(null) if it did not fail. The module's notes describe it.
      type: dict
token:
  description:
    - The secret, if this task minted the token and no O(path) keeps the secret. V(null) otherwise.
    - This value and the following ones describe a single token. With O(tokens) they are V(null), except RV(minted),
      RV(revoked) and RV(revocations), which then describe all tokens.
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
  description: Details on all tokens that this task revoked, see RV(tokens[].revocations).
  returned: success
  type: list
  elements: dict
actions:
  description: What the module did, or would do in check mode. The module's notes describe it.
  returned: success
  type: list
  elements: dict
  sample: [{verb: mint, object: "token 'nightly check' of user 'alice'", why: no secret is kept}]
failure:
  description: Why the task failed. V(null) if it did not fail. The module's notes describe it.
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
            f"format is {chosen}, and there is no path: without a file there is nothing to write so.",
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
