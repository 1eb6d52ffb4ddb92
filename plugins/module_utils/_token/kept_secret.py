# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the hub's token that the kept secret of a declared token belongs to.

A file or the caller keeps the secret.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._hub.client import HubClient
from .._hub.connection import can_be_token
from .._hub.errors import HubError, Unauthorized
from .._hub.models import Owner, Token
from .._hub.scopes import META_SCOPES
from . import secret_file
from .model import TokenSpec, find_digest, reason_to_replace
from .secret_format import Damaged


@dataclass(frozen=True)
class KeptToken:
    """The token of the hub that the kept secret belongs to, and why it must be replaced."""

    token: Token | None
    """None if no secret is kept, or if the kept secret belongs to none of the listed tokens."""
    flaw: str
    """Why the token must be replaced. Empty if it is good."""
    is_given: bool = False
    """Whether the secret is the one that the caller has given, and not the one in the file."""
    is_damaged: bool = False
    """Whether the file is damaged and held a secret. So the secret was kept here, and not at another place."""


class KeptSecret:
    """The kept secret of one declared token."""

    def __init__(self, hub: HubClient, wanted: TokenSpec) -> None:
        self._hub = hub
        self._wanted = wanted
        self.ambiguous: set[str] = set()
        """The kept secrets that work, but of which the hub does not say to which of its tokens they belong."""

    def find_token(self, present: list[Token], now: float) -> KeptToken:
        """Return the token that the kept secret belongs to, and why it must be replaced.

        The secret in the file comes first. The secret that the caller has given counts if the secret in the file does
        not work. ``present`` are the tokens of the identity, and ``now`` is in seconds since 1970. Raises `HubError`.
        """
        wanted = self._wanted
        if wanted.path is None and wanted.secret is None:
            return self._find_listed(present, now)
        best, in_file = KeptToken(None, "no secret is kept"), ""
        if wanted.path is not None:
            try:
                in_file = secret_file.read(wanted.path, wanted.secret_format)
            except Damaged:
                best = KeptToken(None, "what is kept is damaged", is_damaged=True)
        for is_given, secret in ((False, in_file), (True, (wanted.secret or "").strip())):
            if not secret:
                continue
            token, flaw = self._prove(secret, present, now)
            if not flaw:
                return KeptToken(token, "", is_given)
            if best.token is None:
                best = KeptToken(token, flaw, is_given, best.is_damaged)
        return best

    def _find_listed(self, present: list[Token], now: float) -> KeptToken:
        """Return the youngest listed token that need not be replaced.

        If the declaration does not say where the secret is kept, the hub's list is the only evidence.
        """
        flaw = "the hub does not have it"
        for token in reversed(present):
            if find_digest(token) is not None:
                flaw = reason_to_replace(token, self._wanted, now)
                if not flaw:
                    return KeptToken(token, "")
        return KeptToken(None, flaw)

    def _prove(self, secret: str, present: list[Token], now: float) -> tuple[Token | None, str]:
        """Use the secret at the hub. Return the token that it belongs to, and why the token must be replaced."""
        hub, token, flaw = self._identify(secret, present)
        if hub is None or token is None:
            return None, flaw
        flaw = reason_to_replace(token, self._wanted, now)
        lost = hub.missing_scopes(scope for scope in self._wanted.scopes or () if scope not in META_SCOPES)
        return token, flaw or (f"its owner has lost {', '.join(lost)}" if lost and hub.held_scopes else "")

    def _identify(self, secret: str, present: list[Token]) -> tuple[HubClient | None, Token | None, str]:
        """Use the secret at the hub, and find the listed token that it belongs to.

        Returns a client with the secret, the token, and an empty text. If no single token is found, returns None, None,
        and the reason.
        """
        if not can_be_token(secret):
            return None, None, "what is kept cannot be a token"
        try:
            hub = self._hub.with_token(secret)
            owner = hub.owner
        except Unauthorized:
            return None, None, "the kept secret does not work"
        if (owner.kind, owner.name) != ("user", self._wanted.user):
            return None, None, "the kept secret is of another account"
        candidates = self._find_candidates(owner, present)
        if not candidates:
            return None, None, "the kept secret is of another token"
        if len(candidates) > 1:
            self.ambiguous.add(secret)
            return None, None, "the hub does not say which of its tokens the kept secret belongs to"
        return hub, candidates[0], ""

    def _find_candidates(self, owner: Owner, present: list[Token]) -> list[Token]:
        """Return the listed tokens to which the secret of this ``owner`` can belong.

        JupyterHub 4 does not name the token, so there can be several.
        """
        if self._hub.dialect.has_token_id:
            return [token for token in present if token.id == owner.token_id]
        # Only its scopes distinguish it from the user's other tokens.
        minted_here = [token for token in present if find_digest(token) is not None]
        scopes = owner.scopes
        return [token for token in minted_here if scopes is None or set(token.scopes or ()) == set(scopes)]

    def find_left_over(self, present: list[Token]) -> Token | None:
        """Return the token whose secret a killed run has left beside the file, or None.

        Nobody else has this secret.
        """
        wanted = self._wanted
        secret = secret_file.read_left_over(wanted.path, wanted.secret_format) if wanted.path is not None else ""
        return self._identify(secret, present)[1] if secret else None

    def has(self, secret: str) -> bool:
        """Return whether the file holds this secret."""
        wanted = self._wanted
        try:
            return wanted.path is not None and secret_file.read(wanted.path, wanted.secret_format) == secret
        except (HubError, Damaged):
            return False
