# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells whether a record is of the hub of the task. Another hub may have users with the same names.

The address alone does not tell: a hub may get another one, or have several. So the users of the record are looked up. A
hub shows when a user was created.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from .._hub.client import HubClient
from .._hub.errors import Conflict, HubError, NotFound, printable, quoted
from .._hub.models import User
from .._hub.scopes import READ_SERVERS
from .._hub.times import parse_time
from .._path.workers import catch_failures, map_concurrently
from .record import Entry, Record

Users = Mapping[str, User | HubError]
"""Users by name, as the hub shows them now, or why it does not."""
MOST_USERS = 50
"""How many users `check_hub` looks up."""


def read_users(hub: HubClient, entries: Iterable[Entry], concurrency: int) -> dict[str, User | HubError]:
    """Return the users of whom the entries know when they were created, as they are now."""
    names = list(dict.fromkeys(entry.user for entry in entries if entry.user_created is not None))
    read = catch_failures(partial(hub.read_user, scope=READ_SERVERS))
    return dict(zip(names, map_concurrently(read, names, concurrency), strict=True))


def check_hub(hub: HubClient, record: Record, path: str, concurrency: int, users: Users | None = None) -> None:
    """Raise `Conflict` if the record of the file at ``path`` is of another hub than that of the task.

    That is so if its address is another and none of its users is there. ``users`` are those that the task has read. If
    it is None, this reads some of them. Without a user of whom both the record and the hub tell the time, nothing is
    certain.
    """
    if record.hub_url == hub.url:
        return
    known = [entry for entry in record.entries.values() if entry.user_created is not None and not entry.is_finished]
    if users is None:
        known = known[:MOST_USERS]
        users = read_users(hub, known, concurrency)
    pairs = [(entry, users[entry.user]) for entry in known if entry.user in users]
    if pairs and not any(_may_be_same(hub, entry, user) for entry, user in pairs):
        raise Conflict(
            f"The record {quoted(path)} is of the hub at {printable(record.hub_url)}. This is another hub: it has none "
            "of the record's users.",
            "Check hub_url and path.",
        )


def _may_be_same(hub: HubClient, entry: Entry, user: User | HubError) -> bool:
    if isinstance(user, User):
        return not is_other_user(entry.user_created, user.created)
    return not (isinstance(user, NotFound) and may_see_all_users(hub))


def is_other_user(recorded: str | None, created: str | None) -> bool:
    """Return whether a user was deleted and created again, from the two times at which it was created.

    Returns False if one of the times is not known.
    """
    then, now = parse_time(recorded), parse_time(created)
    return then is not None and now is not None and abs(now - then) >= 1


def may_see_all_users(hub: HubClient) -> bool:
    """Return whether a user whom the hub does not show has gone. It answers 404 for a hidden one, too."""
    return READ_SERVERS in hub.held_scopes
