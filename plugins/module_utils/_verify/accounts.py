# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accounts of a verification: the owner of each token, and whether the token may do what its checks need."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

from .._hub.client import HubClient
from .._hub.errors import HubError, Invalid, MissingScope, Unauthorized, not_understood, quoted
from .._hub.times import parse_time
from .._path.workers import map_concurrently
from .phases import Finding
from .spec import CheckSpec

_MUST_LOG_IN = re.compile(r"log ?in again|auth\w* (has )?expired|must log ?in", re.I)
"""What a hub says to the token of a user who must log in again (``refresh_auth`` of its handlers/base.py)."""


class Account:
    """The account of one token, and the checks that use it. ``hub`` is the client with its token."""

    def __init__(self, hub: HubClient, checks: Sequence[CheckSpec], min_ttl: float | None) -> None:
        self.hub = hub
        self._checks = checks
        self._min_ttl = min_ttl
        self.failure: HubError | None = None
        """Why its checks cannot be taken."""
        self.details: dict[str, Any] = {
            "name": None, "kind": None, "expires_at": None, "missing_scopes": [], "may_log_in": None,
        }  # fmt: skip
        self.sentence = ""
        self.warnings: list[str] = []

    def read(self) -> None:
        """Read the token's owner, its scopes and its end. Sets `failure` if the checks cannot be taken."""
        try:
            self._read()
        except HubError as error:
            self.failure = error
        except Exception as error:  # an answer of an unknown form must not look like a good account
            self.failure = not_understood(error)

    def user_of(self, check: CheckSpec) -> str:
        """Return the owner of the check's server. Raises `Invalid` if it is unknown: a service owns the token."""
        owner = self.hub.owner
        if check.user:
            return check.user
        if owner.kind != "user":
            raise Invalid(
                f"The token belongs to the service {quoted(owner.name)}, which has no servers.",
                "Set user to the user whose server is to start.",
            )
        return owner.name

    def _read(self) -> None:
        hub, details = self.hub, self.details
        try:
            owner = hub.owner
        except Unauthorized as error:
            details["may_log_in"] = False if _MUST_LOG_IN.search(error.reason or error.message) else None
            raise
        details |= {"name": owner.name, "kind": owner.kind}
        needed = [scope for check in self._checks for scope in check.needed_scopes(self.user_of(check))]
        missing = details["missing_scopes"] = hub.missing_scopes(needed)
        if missing:
            held = ", ".join(hub.held_scopes) or "none"
            raise MissingScope(
                f"The token of {owner.title} lacks {', '.join(missing)}; it holds {held}.",
                "Mint it with the missing scopes, or have an admin grant them to its owner.",
            )
        for check in self._checks:
            check.server_of(self.user_of(check))  # an invalid name must fail before anything starts
        self._read_end(owner.title)

    def _read_end(self, title: str) -> None:
        """Read when the token ends, and warn if that is too soon."""
        token = self.hub.read_own_token()
        self.sentence = f"The token of {title} is valid, and the hub does not show when it ends."
        if token is not None:
            self.details["expires_at"] = token.expires_at
            end = f"is valid until {token.expires_at}" if token.expires_at else "does not expire"
            self.sentence = f"The token of {title} {end}."
        if self._min_ttl is None:
            return
        end_time = parse_time(token.expires_at) if token else None
        if token is None:
            self.warnings.append(
                f"The hub does not show when the token of {title} ends. Mint it with read:tokens for its owner, or "
                "leave out token_min_ttl."
            )
        elif end_time is not None and end_time - time.time() < self._min_ttl:
            self.warnings.append(
                f"The token of {title} ends at {token.expires_at}, sooner than token_min_ttl. Mint a new one."
            )


def check_accounts(accounts: Sequence[Account], concurrency: int, finding: Finding) -> None:
    """Read all accounts. Raises the failure of the first one that cannot be used, with a sentence on each of them."""
    map_concurrently(lambda account: account.read(), accounts, concurrency)
    finding.details["accounts"] = [account.details for account in accounts]
    finding.message = " ".join(account.sentence for account in accounts if account.sentence)
    finding.warnings += [warning for account in accounts for warning in account.warnings]
    failures = [account.failure for account in accounts if account.failure is not None]
    if failures:
        first, *others = failures
        more = "".join(f" {error.message}" for error in others)
        raise first.with_message(f"{first.message}{more}")
