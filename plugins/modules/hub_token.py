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
  - Makes sure that users have the API tokens that are declared, or have them no longer. Run it every hour - it mints
    only what is missing, was declared otherwise, no longer works or is about to expire.
  - A hub tells a token's secret once, when it mints it. With O(path) it goes to a file of mode 0600 and nowhere else.
    With O(secret) it is in the result, to be kept where the caller keeps secrets, and the caller brings it along the
    next time. In both cases every run proves the kept secret by asking the hub with it.
  - Whatever ends a run in the middle, the old secret works or the new one is kept. A token whose secret got lost on
    its way is known by its note, and the next attempt or run revokes it.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  user:
    description: Whose token it is. A service of the hub cannot have tokens minted; a service account is a user.
    type: str
  note:
    description:
      - What the token is for. With O(user) it is the token's identity, so choose one that nobody else uses for that
        user, and one for each place where a secret is kept.
      - On the hub a mark follows it, C( [hubops DIGEST-ATTEMPT]). The notes below tell about it.
    type: str
  state:
    description:
      - V(present) mints the token where it is not there as it is declared.
      - V(absent) revokes every token of the identity, whoever minted it, and removes O(path). A user whom the hub does
        not have is a failure here, too, since it says the same of users whom it may not tell of.
    type: str
    choices: [present, absent]
    default: present
  scopes:
    description:
      - What the token may do. Exactly one of O(scopes), O(roles) and O(inherit) is required for O(state=present).
      - The owner must hold them; C(!user) stands for the owner. An empty list is a token that only says who it is.
      - Write them as JupyterHub 6 knows them. On older hubs V(start:servers) means what it was split from,
        C(servers).
    type: list
    elements: str
  roles:
    description: What the token may do, as names of the hub's roles. The hub turns them into scopes when it mints it.
    type: list
    elements: str
  inherit:
    description: The token may do all that its owner may, now and later, as a hub has it where it is told nothing.
    type: bool
  expires_in:
    description:
      - How long a token that is minted is valid, in seconds or as V(12h), V(30d). Left out, it is valid until it is
        revoked, or as long as the hub permits (its C(token_expires_in_max_seconds)).
    type: str
  renew_before:
    description:
      - A successor is minted when less than this is left, as a duration (V(7d)) or as a share of the token's lifetime
        (V(25%)). Left out, a token is replaced when it has expired.
    type: str
  secret:
    description:
      - The secret that the caller has kept, empty where there is none yet. It counts as the kept one where O(path)
        holds none that does, and is written there then.
      - Without O(path), a new secret is in the result, and its predecessor works on until a later run brings the new
        one along and so proves that it was kept. (On JupyterHub 4, which does not say which token it is that asks,
        the predecessor is revoked at once.)
    type: str
  path:
    description:
      - A file that keeps the secret, on the host where the task runs. Give an absolute path, for where a relative one
        begins depends on how Ansible runs. A folder that is missing is made, with mode 0700.
      - Give the token a file of its own. What else it holds is overwritten, unless it is more than 1,000 characters,
        which are no token's. O(state=absent) removes a file only if it holds a single word.
      - A symbolic link is replaced by the file, lest whoever may lay one chooses what is overwritten. Runs that keep
        secrets in the same folder come one after the other.
    type: path
  rotate:
    description: Mint a new token now, whatever the kept one is like. Such a task changes something at every run.
    type: bool
    default: false
  overlap:
    description:
      - How long predecessors stay valid after their successor was minted, such as V(1h), for those who read the
        secret only now and then. A run after that time revokes them. Left out, they are revoked as soon as the
        successor is kept and has worked, and so they are where the kept secret is gone. Needs JupyterHub 5.
    type: str
  prune:
    description:
      - Also revoke the tokens that have exactly O(note) for their note, without the mark. Somebody else minted them.
    type: bool
    default: false
  on_lost:
    description:
      - What to do where no secret that works is kept at O(path) or in O(secret), and the hub has a token of this
        identity that was used since it was minted. Somebody may keep it at another place, such as another machine,
        another folder, or another job.
      - V(fail) ends the task with the code C(conflict), which names the token, and takes nothing from anybody.
      - V(replace) mints another one. The others are revoked at once, or when O(overlap) has passed.
      - A token that was never used is nobody's, and is revoked in any case. O(rotate) replaces them all, too.
    type: str
    choices: [fail, replace]
    default: fail
  tokens:
    description:
      - Many tokens in one call, worked concurrently. What an item leaves out is taken from the options of the same
        name, except O(secret) and O(path).
      - One that fails ends no other. The task then fails at its end, and RV(tokens) has what became of each.
    type: list
    elements: dict
    suboptions:
      user:
        description: As O(user).
        type: str
        required: true
      note:
        description: As O(note).
        type: str
      state:
        description: As O(state).
        type: str
        choices: [present, absent]
      scopes:
        description: As O(scopes). An item that has one of the three takes none of the others from the task.
        type: list
        elements: str
      roles:
        description: As O(roles).
        type: list
        elements: str
      inherit:
        description: As O(inherit).
        type: bool
      expires_in:
        description: As O(expires_in).
        type: str
      renew_before:
        description: As O(renew_before).
        type: str
      secret:
        description: As O(secret).
        type: str
      path:
        description: As O(path).
        type: path
      rotate:
        description: As O(rotate).
        type: bool
      overlap:
        description: As O(overlap).
        type: str
      prune:
        description: As O(prune).
        type: bool
      on_lost:
        description: As O(on_lost).
        type: str
        choices: [fail, replace]
  concurrency:
    description: How many of O(tokens) are worked at a time.
    type: int
    default: 10
notes:
  - Needs the scopes C(read:tokens) and C(tokens) for O(user). To mint for somebody else, that is C(tokens!user=NAME).
  - A hub cannot give a secret back, takes the same note any number of times, and lists scopes expanded. So what was
    declared travels in the note, as C(NOTE [hubops DIGEST-ATTEMPT]). DIGEST are the first twelve hex digits of a
    SHA-256 over the scopes or roles (in any order) and O(expires_in); ATTEMPT are eight that are random and differ
    for each request that mints. A digest of something else means another token.
  - Tokens with the mark are this module's. Those of the identity that are younger than the kept one are successors
    whose secrets got lost, and are revoked. Older ones are its predecessors, and go when O(overlap) has passed.
  - Without O(path) and O(secret), a token that the hub lists counts as present, for nobody can prove that its secret
    is kept. Where another one is minted, its predecessors are revoked at once.
  - A kept token whose owner has lost what was declared is minted anew, which fails until the owner has it again.
  - The token that the task asks with may be one of those that go, and is the last one then.
  - On a hub before JupyterHub 5, several tokens of an identity are all replaced by a new one.
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
# Every hour, from here on.
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

- name: Prove the token in the vault whose variables this play has read, and mint another one if it does not do
  hubops.jupyterhub.hub_token:
    user: alice
    note: for the vault
    scopes: [read:users:name!user]
    expires_in: 30d
    renew_before: 25%
    secret: "{{ alice_token | default('') }}"
  register: minted
  no_log: true

- name: Keep a new one there; the next run finds it, and revokes the old one
  ansible.builtin.copy:
    dest: "{{ playbook_dir }}/alice.vault.yml"
    content: "{{ {'alice_token': minted.token} | to_json | ansible.builtin.vault(vault_password) }}"
    mode: "0600"
    decrypt: false
  when: minted.token is not none
  no_log: true

# When there is a reason to.
- name: Mint a new token now, and revoke the old one and all that were minted by hand under the same note
  hubops.jupyterhub.hub_token:
    user: bob
    note: reports
    scopes: [read:servers!user]
    expires_in: 14d
    path: "{{ playbook_dir }}/reports-bob.token"
    rotate: true
    prune: true

- name: Revoke what is no longer needed, and remove its file
  hubops.jupyterhub.hub_token:
    user: alice
    note: nightly check
    state: absent
    path: "{{ playbook_dir }}/alice.token"
"""

RETURN = r"""
tokens:
  description: What became of each, in the order of the declaration; a single one is here, too.
  returned: once the options are found to be sound
  type: list
  elements: dict
  contains:
    user: {description: Whose token it is., type: str}
    note: {description: The declared note., type: str}
    state: {description: The declared state., type: str}
    changed: {description: "Whether something was done, or in check mode would be.", type: bool}
    token:
      description: The secret, where it was minted by this task and no O(path) keeps it. V(null) at any other time.
      type: str
    token_id:
      description: The hub's id of the token. V(null) where there is none, and in check mode where one would be minted.
      type: str
    scopes:
      description: What the token may do. The hub expands what includes other scopes.
      type: list
      elements: str
    created: {description: When it was minted., type: str}
    expires_at: {description: "When it expires, or V(null).", type: str}
    minted: {description: Whether this task minted it., type: bool}
    revoked:
      description: The ids of the tokens that this task revoked.
      type: list
      elements: str
    revocations:
      description: The same tokens, with what they were.
      type: list
      elements: dict
      contains:
        token_id: {description: The hub's id of the token., type: str}
        created: {description: When it was minted., type: str}
        last_activity: {description: "When it was used last, or V(null).", type: str}
        why: {description: Why it was revoked., type: str}
    failure: {description: "Why it failed, or V(null). The module's notes describe it.", type: dict}
token:
  description:
    - The secret, where it was minted by this task and no O(path) keeps it. V(null) at any other time.
    - This and the following tell of a single token. With O(tokens) they are V(null), but for RV(minted) and
      RV(revoked), which then tell of all.
  returned: success
  type: str
token_id: {description: "As RV(tokens[].token_id).", returned: success, type: str, sample: a12}
user: {description: "As RV(tokens[].user).", returned: success, type: str}
note: {description: "As RV(tokens[].note).", returned: success, type: str}
state: {description: "As RV(tokens[].state).", returned: success, type: str}
scopes: {description: "As RV(tokens[].scopes).", returned: success, type: list, elements: str}
created: {description: "As RV(tokens[].created).", returned: success, type: str}
expires_at: {description: "As RV(tokens[].expires_at).", returned: success, type: str}
minted: {description: "As RV(tokens[].minted); whether any was.", returned: success, type: bool}
revoked: {description: "As RV(tokens[].revoked); all of them.", returned: success, type: list, elements: str}
revocations:
  description: As RV(tokens[].revocations); all of them.
  returned: success
  type: list
  elements: dict
actions:
  description: What was done, or in check mode would be. The module's notes describe it.
  returned: success
  type: list
  elements: dict
  sample: [{verb: mint, object: "token 'nightly check' of user 'alice'", why: no secret is kept}]
failure:
  description: Why the task failed, V(null) if it did not. The module's notes describe it.
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

_RIGHTS = ("scopes", "roles", "inherit")
_SHARED = ("note", "state", *_RIGHTS, "expires_in", "renew_before", "rotate", "overlap", "prune", "on_lost")
"""What the items of ``tokens`` take from the task where they leave it out."""


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> Batch:
    items = options["tokens"]
    if items is None and not options["user"]:
        raise Invalid("Neither user nor tokens says whose token it is.", "Give one of them.")
    wanted = [_wanted(options)] if items is None else [_wanted(_completed(item, options)) for item in items]
    return token_batch(hub, wanted, concurrency=options["concurrency"], single=items is None)


def _completed(item: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    own = any(item[name] is not None for name in _RIGHTS)
    return inherit_options(item, options, [name for name in _SHARED if not (own and name in _RIGHTS)])


def _wanted(options: dict[str, Any]) -> TokenSpec:
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
        renew_before=RenewBefore.of(options["renew_before"]),
        secret=options["secret"],
        path=options["path"],
        rotate=options["rotate"],
        overlap=0.0 if overlap is None else parse_duration(overlap, "overlap"),
        prune=options["prune"],
        on_lost=options["on_lost"],
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
    "rotate": {"type": "bool"},
    "overlap": {"type": "str"},
    "prune": {"type": "bool"},
    "on_lost": {"type": "str", "choices": ["fail", "replace"]},
}
_DEFAULTS = {"state": "present", "rotate": False, "prune": False, "on_lost": "fail"}

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
)


def main() -> None:
    run_module(MODULE)


if __name__ == "__main__":
    main()
