# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's permission scopes: which ones a task needs, and whether a token holds them.

Source of the rules: JupyterHub's documentation of scopes, and its scopes.py.
"""

from __future__ import annotations

from collections.abc import Iterable

START = "start:servers"
STOP = "delete:servers"
READ_SERVERS = "read:servers"
ACCESS = "access:servers"

CULL = ("list:users", "read:users:activity", READ_SERVERS, STOP)
"""The scopes to stop the idle servers of all users. All supported hubs have these names."""
CULL_USERS = ("list:users", "read:users", READ_SERVERS, STOP, "delete:users")
"""The scopes to delete idle users, too. Only ``read:users`` shows when a user was created. The age of a user depends on
that time, and so does the idle time of a user who was never active."""

READ_EVERYTHING = (
    *("list:users", "read:users", READ_SERVERS, "read:tokens", "list:groups", "read:groups"),
    *("list:services", "read:services", "read:roles", "read:hub", "proxy"),
)
"""The scopes to read everything that a hub's API shows. There is no scope only to read the proxy's routes."""

META_SCOPES = ("inherit", "self")
"""Names that stand for other scopes. The hub shows those scopes in their place (``expand_scopes``)."""


def split_scope(scope: str) -> tuple[str, str, str]:
    """Return the name of a scope, and the kind and the value of its filter.

    ``read:servers!user=alice`` gives ``("read:servers", "user", "alice")``. Without a filter, the last two are empty.
    """
    name, _bang, restriction = scope.partition("!")
    kind, _equals, value = restriction.partition("=")
    return name, kind, value


def expand_self(scope: str, user: str) -> str:
    """Return the scope with the hub's shorthand ``!user``, which means the token's owner, written out."""
    return f"{scope}={user}" if scope.endswith("!user") else scope


def find_missing(needed: Iterable[str], held: Iterable[str]) -> list[str]:
    """Return the ``needed`` scopes that the ``held`` scopes do not cover, in the order of ``needed``.

    ``held`` are the scopes that the hub shows for a token. The hub has expanded them: they list each scope that another
    scope includes. A filter ``!group=`` counts as covering, because only the hub knows who is in the group.
    """
    held = list(held)
    return [scope for scope in needed if not any(_covers(have, scope) for have in held)]


def _covers(have: str, need: str) -> bool:
    have_name, have_kind, have_value = split_scope(have)
    name, kind, value = split_scope(need)
    if have_name != name:
        return False
    if (have_kind, have_value) in (("", ""), (kind, value)) or have_kind == "group":
        return True
    # The filter for a server is `server=USER/NAME`. A filter for a user covers all servers of that user.
    return have_kind == "user" and kind == "server" and value.partition("/")[0] == have_value
