#!/usr/bin/python
# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_token
short_description: Mint and revoke API tokens of a JupyterHub's users
version_added: 1.0.0
description:
  - Makes sure that a user has an API token with a given note, or has none.
  - A hub tells a token's secret once, when it mints it. Without O(path) it is in the result of that one task, as
    RV(token). With O(path) it goes to a file of mode 0600 and nowhere else, and every later run proves it by asking
    the hub with it.
author:
  - hubops.jupyterhub contributors (@hubops)
options:
  user:
    description: Whose token it is. A service of the hub cannot have tokens minted; a service account is a user.
    type: str
    required: true
  note:
    description:
      - What the token is for. With O(user) it is the token's identity, so choose one that nobody else uses for that
        user.
    type: str
    required: true
  state:
    description:
      - V(present) mints the token where there is none. V(absent) revokes every token with O(note), and removes
        O(path).
    type: str
    choices: [present, absent]
    default: present
  scopes:
    description:
      - What the token may do, required for O(state=present). Without scopes a hub would mint a token that may do all
        that its owner may; to have that, write V(inherit).
      - The owner must hold them; C(!user) stands for the owner.
      - Write them as JupyterHub 6 knows them. On older hubs V(start:servers) means what it was split from,
        C(servers).
    type: list
    elements: str
  expires_in:
    description:
      - How long a token that is minted is valid, in seconds or as V(12h), V(30d). Left out, it is valid until it is
        revoked, or as long as the hub permits (its C(token_expires_in_max_seconds)).
    type: str
  path:
    description:
      - A file that keeps the secret, on the host where the task runs. A folder that is missing is made, with mode 0700.
      - The token counts as present when the secret in the file works, belongs to this token and holds O(scopes).
        Otherwise a new one is minted and kept, and then the old ones with the same O(note) are revoked.
      - More scopes than O(scopes) are no reason to mint, V(inherit) and V(self) are not compared, and a token is not
        renewed before it expires.
      - A file of more than 1,000 characters is no token's, and is neither written to nor removed. O(state=absent)
        removes a file only if it holds a single word.
    type: path
notes:
  - Needs the scopes C(read:tokens) and C(tokens) for O(user). To mint for somebody else, that is C(tokens!user=NAME).
  - Without O(path), a token that is there already is left as it is, whatever its scopes and its expiry are.
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
- name: Mint a token, and keep its secret in a file
  hubops.jupyterhub.hub_token:
    user: alice
    note: nightly check
    scopes:
      - start:servers!user
      - delete:servers!user
      - read:servers!user
      - access:servers!user
    expires_in: 30d
    path: "{{ playbook_dir }}/alice.token"

- name: Mint a token, and take its secret from the result
  hubops.jupyterhub.hub_token:
    user: alice
    note: for the vault
    scopes: [read:users:name!user]
  register: minted
  no_log: true

- name: Revoke it
  hubops.jupyterhub.hub_token:
    user: alice
    note: for the vault
    state: absent
"""

RETURN = r"""
token:
  description:
    - The secret, where it was minted by this task and no O(path) keeps it. V(null) at any other time.
  returned: success
  type: str
token_id:
  description: The hub's id of the token. V(null) where there is none, and in check mode where one would be minted.
  returned: success
  type: str
  sample: a12
user:
  description: Whose token it is.
  returned: success
  type: str
note:
  description: The token's note.
  returned: success
  type: str
scopes:
  description: What the token may do. The hub expands what includes other scopes.
  returned: success
  type: list
  elements: str
created:
  description: When it was minted.
  returned: success
  type: str
expires_at:
  description: When it expires, or V(null).
  returned: success
  type: str
minted:
  description: Whether this task minted it.
  returned: success
  type: bool
revoked:
  description: The ids of the tokens that this task revoked.
  returned: success
  type: list
  elements: str
actions:
  description: What was done, or in check mode would be. The module's notes describe it.
  returned: success
  type: list
  elements: dict
  sample: [{verb: mint, object: "token 'nightly check' of user 'alice'", why: no secret is kept}]
failure:
  description: Why the task failed. The module's notes describe it.
  returned: failure
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

from ansible_collections.hubops.jupyterhub.plugins.module_utils._client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._connection import seconds
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._module import Program, run_module
from ansible_collections.hubops.jupyterhub.plugins.module_utils._plan import Report
from ansible_collections.hubops.jupyterhub.plugins.module_utils._tokens import TokenFlow, Wanted


def flow(hub: HubClient, options: dict[str, Any], report: Report) -> TokenFlow:
    expires_in = options["expires_in"]
    if not options["note"].strip():
        raise Invalid("note is empty.", "Say what the token is for: the note identifies it.")
    wanted = Wanted(
        user=options["user"],
        note=options["note"],
        state=options["state"],
        scopes=tuple(options["scopes"] or ()),
        expires_in=None if expires_in is None else ceil(seconds(expires_in, "expires_in")),
        path=options["path"],
    )
    return TokenFlow(hub, wanted, report)


PROGRAM = Program(
    options={
        "user": {"type": "str", "required": True},
        "note": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "scopes": {"type": "list", "elements": "str"},
        "expires_in": {"type": "str"},
        # A path is no secret, whatever its name ends in.
        "path": {"type": "path", "no_log": False},
    },
    rules={"required_if": [("state", "present", ["scopes"])]},
    flow=flow,
)


def main() -> None:
    run_module(PROGRAM)


if __name__ == "__main__":
    main()
