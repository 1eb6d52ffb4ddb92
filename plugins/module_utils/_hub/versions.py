# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between versions of JupyterHub, in one table: `DIALECTS`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .errors import Invalid


@dataclass(frozen=True)
class Dialect:
    """How hubs since ``version`` want things said."""

    version: tuple[int, int]
    wraps_user_options: bool
    """Options of a spawner travel as ``{"user_options": {...}}``; older hubs take the whole body for the options."""
    scopes: dict[str, str] = field(default_factory=dict)
    """Scopes of today that these hubs know under another name."""
    names_token: bool = True
    """GET /user says which token it is that asks."""
    cancels_starts: bool = True
    """DELETE of a server that is starting cancels that; older hubs refuse it until the start is over."""

    def body(self, user_options: dict[str, Any] | None, options_format: str = "auto") -> dict[str, Any] | None:
        """The body that starts a server with these options. None asks for the hub's own choice: the last ones used.

        ``options_format`` is ``wrapped`` or ``flat``, for a spawner that wants them otherwise than its hub (``auto``).
        """
        if user_options is None:
            return None
        # No options at all are said as the hub wants it: JupyterHub 6 takes a bare {} for the last ones, too.
        follows_hub = options_format == "auto" or not user_options
        wraps = self.wraps_user_options if follows_hub else options_format == "wrapped"
        return {"user_options": user_options} if wraps else user_options

    def kept(self, user_options: dict[str, Any] | None, options_format: str = "auto") -> dict[str, Any] | None:
        """What these hubs show of the options when they have been sent so; None where none are."""
        body = self.body(user_options, options_format)
        inside = body.get("user_options") if self.wraps_user_options and body is not None else None
        return inside if isinstance(inside, dict) else body

    def scope(self, scope: str) -> str:
        """A scope of today's hubs in the words of this one."""
        name, bang, restriction = scope.partition("!")
        return self.scopes.get(name, name) + bang + restriction


DIALECTS = (
    Dialect((6, 0), wraps_user_options=True),
    # JupyterHub 6.0 split `servers` into `start:servers` and `delete:servers`; the latter stood alone before, too.
    Dialect((5, 0), wraps_user_options=False, scopes={"start:servers": "servers"}),
    # Before 3.0 a token could not be given scopes: such hubs mint all-powerful ones, so they are not talked to.
    Dialect(
        (3, 0), wraps_user_options=False, scopes={"start:servers": "servers"}, names_token=False, cancels_starts=False
    ),
)


def version_of(text: str) -> tuple[int, ...]:
    """``17.3.0.dev1`` -> ``(17, 3, 0)``; empty for what begins with no number, or with one that no version has."""
    match = re.match(r"\d{1,9}(?:\.\d{1,9})*(?!\d)", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def mints_by_kind(version: str) -> bool:
    """Whether a hub compares the user for whom a service mints a token with the names of services.

    Before 5.5.3 and 6.1.0 it passes the kind of who asks in place of the user's (``UserTokenListAPIHandler.post`` in
    its apihandlers/users.py). There it takes ``tokens!service=NAME`` or ``tokens`` to mint one for the user NAME.
    """
    number = version_of(version)
    return number < (5, 5, 3) or (6,) <= number < (6, 1)


def lacked_to_mint(version: str, kind: str, scopes: Iterable[str], user: str) -> str | None:
    """Return the scope that a service lacks to mint tokens for that user, or None.

    ``kind`` is the kind of the token's owner, and ``scopes`` are those that the token holds.
    """
    scope = f"tokens!service={user}"
    # A filter by group would do for a user, and does nothing for what the hub takes for a service.
    may = {"tokens", scope} & set(scopes)
    return scope if kind == "service" and mints_by_kind(version) and not may else None


def dialect_of(version: str) -> Dialect:
    """How a hub of this version wants things said. Raises `Invalid` for one that is too old."""
    number = version_of(version)
    for dialect in DIALECTS:
        if number >= dialect.version:
            return dialect
    hint = "Upgrade it: JupyterHub 4.1 is the oldest supported one."
    raise Invalid(
        f"The hub runs JupyterHub {version}.",
        hint if number else f"That is no version of JupyterHub's: check hub_url. {hint}",
    )
