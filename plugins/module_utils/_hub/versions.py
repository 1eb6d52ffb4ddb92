# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The differences between versions of JupyterHub, in one table: `DIALECTS`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .errors import Invalid


@dataclass(frozen=True)
class Dialect:
    """What is particular to hubs from ``version`` on."""

    version: tuple[int, int]
    has_wrapped_options: bool
    """Whether the body that starts a server is ``{"user_options": {...}}``. For older hubs it is the options alone."""
    scopes: dict[str, str] = field(default_factory=dict)
    """The names that these hubs have for scopes, by the names that the newest hubs have for them."""
    has_token_id: bool = True
    """Whether ``GET /user`` returns the id of the token that the request carries."""
    may_cancel_starts: bool = True
    """Whether DELETE cancels the start of a server. Older hubs refuse it until the start is over."""
    new_scopes: frozenset[str] = frozenset()
    """The scopes that older hubs do not have. A scope that existed before may include them now."""
    split_scopes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The scopes of older hubs that have become several, by their old names."""

    def build_start_body(
        self, user_options: dict[str, Any] | None, options_format: str = "auto"
    ) -> dict[str, Any] | None:
        """Return the body of the request that starts a server with these options.

        Without options (None) there is no body, and the hub uses the options of the last start. ``options_format`` is
        ``wrapped`` or ``flat``, for a spawner that needs another format than its hub, or ``auto`` for the hub's format.
        """
        if user_options is None:
            return None
        # Empty options always have the hub's format. To JupyterHub 6 a bare {} means the options of the last start.
        follows_hub = options_format == "auto" or not user_options
        wraps = self.has_wrapped_options if follows_hub else options_format == "wrapped"
        return {"user_options": user_options} if wraps else user_options

    def predict_user_options(
        self, user_options: dict[str, Any] | None, options_format: str = "auto"
    ) -> dict[str, Any] | None:
        """Return the ``user_options`` that the hub shows after a start with these options, or None without options."""
        body = self.build_start_body(user_options, options_format)
        unwrapped = body.get("user_options") if self.has_wrapped_options and body is not None else None
        return unwrapped if isinstance(unwrapped, dict) else body

    def explain_scopes(self, scopes: Iterable[str]) -> set[str]:
        """Return the scopes that these hubs show for a token, and what they mean in the names of the newest hubs."""
        meanings: dict[str, list[str]] = {}
        for newest, name in self.scopes.items():
            meanings.setdefault(name, []).append(newest)
        found = set(scopes)
        for scope in list(found):
            name, bang, restriction = scope.partition("!")
            found |= {f"{newest}{bang}{restriction}" for newest in meanings.get(name, ())}
        return found

    def translate_scope(self, scope: str) -> str:
        """Return the name that these hubs have for a scope of the newest hubs. Keeps a filter (``!user=alice``)."""
        name, bang, restriction = scope.partition("!")
        return self.scopes.get(name, name) + bang + restriction


DIALECTS = (
    # JupyterHub 6.0 split `servers` into `start:servers` and `delete:servers`. The latter existed before, too.
    Dialect(
        (6, 0),
        has_wrapped_options=True,
        new_scopes=frozenset({"start:servers"}),
        split_scopes={"servers": ("start:servers", "delete:servers")},
    ),
    Dialect(
        (5, 0),
        has_wrapped_options=False,
        scopes={"start:servers": "servers"},
        new_scopes=frozenset(
            {
                "admin:services",
                "groups:shares",
                "read:groups:shares",
                "read:shares",
                "read:users:shares",
                "shares",
                "users:shares",
            }
        ),
    ),
    # Older hubs are not supported: before 3.0 a token could not be given scopes, and had all permissions of its owner.
    Dialect(
        (3, 0),
        has_wrapped_options=False,
        scopes={"start:servers": "servers"},
        has_token_id=False,
        may_cancel_starts=False,
    ),
)


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers at the start of a version: ``17.3.0.dev1`` gives ``(17, 3, 0)``.

    Returns an empty tuple if the text does not start with a number of at most nine digits.
    """
    match = re.match(r"\d{1,9}(?:\.\d{1,9})*(?!\d)", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def has_service_mint_bug(version: str) -> bool:
    """Return whether a hub of this version wrongly asks for a service's scope when a service mints a token for a user.

    Before 5.5.3 and 6.1.0 the hub checks the kind of the requester in place of the user's kind
    (``UserTokenListAPIHandler.post`` in its apihandlers/users.py). So it treats the user NAME as a service NAME. On
    these hubs a service needs the scope ``tokens!service=NAME`` or ``tokens`` to mint a token for the user NAME.
    """
    number = parse_version(version)
    return number < (5, 5, 3) or (6,) <= number < (6, 1)


def find_missing_mint_scope(version: str, kind: str, scopes: Iterable[str], user: str) -> str | None:
    """Return the scope that a service lacks to mint tokens for that user, or None.

    ``kind`` is the kind of the token's owner, and ``scopes`` are those that the token holds.
    """
    scope = f"tokens!service={user}"
    # A filter by group covers users. It does not help here, because the hub treats the user as a service.
    may = {"tokens", scope} & set(scopes)
    return scope if kind == "service" and has_service_mint_bug(version) and not may else None


def find_dialect(version: str) -> Dialect:
    """Return what is particular to hubs of this version. Raises `Invalid` if it is too old, or not a version."""
    number = parse_version(version)
    for dialect in DIALECTS:
        if number >= dialect.version:
            return dialect
    hint = "Upgrade it: JupyterHub 4.1 is the oldest supported one."
    raise Invalid(
        f"The hub runs JupyterHub {version}.",
        hint if number else f"That is not a version of JupyterHub: check hub_url. {hint}",
    )


def explain_scopes(version: str, scopes: Iterable[str]) -> set[str]:
    """Return what `Dialect.explain_scopes` returns for a hub of this version. An unknown version counts as the newest.

    Two sets of scopes from hubs of different versions can be compared then.
    """
    return _dialect_or_newest(version).explain_scopes(scopes)


def find_new_scopes(before: str, after: str) -> frozenset[str]:
    """Return the scopes that a hub of version ``after`` has and a hub of version ``before`` does not have."""
    old, new = _dialect_or_newest(before).version, _dialect_or_newest(after).version
    return frozenset().union(*(dialect.new_scopes for dialect in DIALECTS if old < dialect.version <= new))


def find_split_scopes(before: str, after: str) -> list[tuple[str, tuple[str, ...], bool]]:
    """Return the scopes that are one on one of two hubs and several on the other, from their versions.

    Each has its single name, its other names, and whether the hub of version ``after`` is the one with several.
    """
    first, second = _dialect_or_newest(before).version, _dialect_or_newest(after).version
    between = [each for each in DIALECTS if min(first, second) < each.version <= max(first, second)]
    return [(name, names, first < second) for each in between for name, names in each.split_scopes.items()]


def _dialect_or_newest(version: str) -> Dialect:
    try:
        return find_dialect(version)
    except Invalid:
        return DIALECTS[0]
