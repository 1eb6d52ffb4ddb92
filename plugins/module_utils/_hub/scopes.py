# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's permission scopes: which ones a task needs, and whether a token holds them.

Source of the rules: JupyterHub's documentation of scopes, and ``jupyterhub/scopes.py``.

"""

from __future__ import annotations

from collections.abc import Iterable

START = "start:servers"
STOP = "delete:servers"
READ_SERVERS = "read:servers"
ACCESS = "access:servers"

CULL = ("list:users", "read:users:activity", READ_SERVERS, STOP)
"""What it takes to stop idle servers of everybody. All supported hubs have these names."""
CULL_USERS = ("list:users", "read:users", READ_SERVERS, STOP, "delete:users")
"""What it takes to delete idle users, too. No lesser scope than ``read:users`` shows when a user was created: how old
one is, and since when one is idle who was never active."""


META = ("inherit", "self")
"""What stands for other scopes, and is none itself: the hub shows those instead (``expand_scopes``)."""


def split(scope: str) -> tuple[str, str, str]:
    """``read:servers!user=alice`` -> ``("read:servers", "user", "alice")``; no filter gives empty strings."""
    name, _bang, restriction = scope.partition("!")
    kind, _equals, value = restriction.partition("=")
    return name, kind, value


def expand_self(scope: str, user: str) -> str:
    """The scope with the hub's shorthand ``!user`` (the token's owner) written out."""
    return f"{scope}={user}" if scope.endswith("!user") else scope


def missing(needed: Iterable[str], held: Iterable[str]) -> list[str]:
    """Those of the ``needed`` scopes that ``held`` does not cover, in the order in which they are needed.

    ``held`` is what the hub says of a token: expanded, so that every scope that another one includes stands there by
    itself. A filter ``!group=`` is taken to cover: only the hub knows who is in the group.
    """
    held = list(held)
    return [scope for scope in needed if not any(_covers(have, scope) for have in held)]


def _covers(have: str, need: str) -> bool:
    have_name, have_kind, have_value = split(have)
    name, kind, value = split(need)
    if have_name != name:
        return False
    if (have_kind, have_value) in (("", ""), (kind, value)) or have_kind == "group":
        return True
    # The filter of a server is `server=USER/NAME`; a user's filter covers all servers of that user.
    return have_kind == "user" and kind == "server" and value.partition("/")[0] == have_value
