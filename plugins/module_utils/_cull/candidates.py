# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the users and servers that a policy decides on. `hub_cull` and `hub_drain` use it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._hub.client import HubClient
from .._hub.errors import HubError, MissingScope, NotFound, quoted
from .._hub.models import Owner, User
from .._hub.scopes import READ_SERVERS, STOP, split_scope
from .._path.workers import map_concurrently
from .policy import Decision, Policy


def list_users(hub: HubClient, policy: Policy, states: Sequence[str], page_size: int, concurrency: int) -> list[User]:
    """Return the users in these ``states`` of the hub's API, in as few requests as possible."""
    # The state `ready` would not help: the hub makes pages of it as of `active`, and then leaves out the users who only
    # have a pending server. A user who starts a server between two requests is in both lists. The later list is right.
    users = {user.name: user for state in states for user in hub.list_users(page_size=page_size, state=state)}
    if not policy.needs_auth_state:
        return list(users.values())
    found = map_concurrently(lambda name: read_user(hub, name), list(users), concurrency)
    return [user for user in found if user is not None]


def read_user(hub: HubClient, name: str) -> User | None:
    """Return the user as the hub has it now, or None if the user does not exist any more."""
    try:
        return hub.read_user(name, scope=READ_SERVERS)
    except NotFound:
        return None


def read_owner(hub: HubClient) -> Owner | None:
    """Return the token's owner, or None if the hub does not show it. A pass does not depend on it."""
    try:
        return hub.read_owner()
    except HubError:
        return None


def decide_servers(users: Iterable[User], policy: Policy, now: float) -> list[tuple[User, list[Decision]]]:
    """Return each user with the decisions on the user's servers. ``now`` is in seconds since 1970.

    Raises `MissingScope` if the token may not read the servers of any user.
    """
    decided, hidden = list[tuple[User, list[Decision]]](), list[str]()
    for user in users:
        if user.servers is None:
            # The hub leaves out what a token may not read. An empty mapping would mean that there are no servers.
            hidden.append(user.name)
            decisions = [Decision(user.name, "", None, None, None, "hidden", "the token may not read it")]
        else:
            decisions = [policy.decide_server(user, server, now) for server in user.servers.values()]
        decided.append((user, decisions))
    if hidden and len(hidden) == sum(len(decisions) for _user, decisions in decided):
        raise MissingScope(
            f"The token may not read the servers of user {quoted(hidden[0])}, or of any other.",
            f"Mint it with {READ_SERVERS}.",
        )
    return decided


def find_missing_scope(owner: Owner | None, *needed: str) -> MissingScope | None:
    """Return the failure if the token holds none of the ``needed`` scopes for anybody, or None.

    If the token holds one of them for some users, the hub itself says for whom.
    """
    held = {split_scope(scope)[0] for scope in owner.scopes or ()} if owner else set()
    if not held or not held.isdisjoint(needed):
        return None
    return MissingScope(
        f"The token lacks the scope '{needed[0]}'. Nothing has been done.",
        f"Mint it with {needed[0]}, or have an admin grant that scope to its owner.",
    )


TO_STOP = (STOP, "servers", "admin:servers")
"""The scopes of which each allows a token to stop servers."""
