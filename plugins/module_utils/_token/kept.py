# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a declared token: its secret, in a file or by the caller, and which of the hub's tokens that is."""

from __future__ import annotations

from dataclasses import dataclass

from .._hub.client import HubClient
from .._hub.connection import can_be_token
from .._hub.errors import HubError, Unauthorized
from .._hub.models import Owner
from .._hub.scopes import META_SCOPES
from . import secret_file as _secrets
from .model import Token, TokenSpec, why_replace


@dataclass(frozen=True)
class Kept:
    """The listed token that the kept secret belongs to, if there is one, and why it does not do, if it does not."""

    token: Token | None
    flaw: str
    given: bool = False
    """Whether it is the secret that the caller gave, rather than the file's."""
    damaged: bool = False
    """Whether zeros are in the place of the secret, as a machine leaves them that lost its power: it was kept here."""


class Keeper:
    """The place of one declared token's secret."""

    def __init__(self, hub: HubClient, wanted: TokenSpec) -> None:
        self._hub = hub
        self._wanted = wanted
        self.undecided: set[str] = set()
        """The secrets that work and are here, and of which the hub does not say which of its tokens they belong to."""

    def find(self, present: list[Token], now: float) -> Kept:
        """What is there already. The file comes first; a secret that is given is looked at where the file's fails."""
        wanted = self._wanted
        if wanted.path is None and wanted.secret is None:
            return self._listed(present, now)
        best = Kept(None, "no secret is kept")
        in_file = _secrets.read(wanted.path) if wanted.path is not None else ""
        for given, secret in ((False, in_file), (True, (wanted.secret or "").strip())):
            if not secret:
                continue
            token, flaw = self._prove(secret, present, now)
            if not flaw:
                return Kept(token, "", given)
            if best.token is None:
                best = Kept(token, flaw, given, damaged="\0" in secret)
        return best

    def _listed(self, present: list[Token], now: float) -> Kept:
        """Where no secret is at hand, a row of the hub's list is all the proof there is."""
        flaw = "the hub does not have it"
        for token in reversed(present):
            if token.digest is not None:
                flaw = why_replace(token, self._wanted, now)
                if not flaw:
                    return Kept(token, "")
        return Kept(None, flaw)

    def _prove(self, secret: str, present: list[Token], now: float) -> tuple[Token | None, str]:
        """The listed token that a secret belongs to, by the hub's word, and why it does not do; empty if it does."""
        held, token, flaw = self._recognize(secret, present)
        if held is None or token is None:
            return None, flaw
        flaw = why_replace(token, self._wanted, now)
        lost = held.missing_scopes(scope for scope in self._wanted.scopes or () if scope not in META_SCOPES)
        return token, flaw or (f"its owner has lost {', '.join(lost)}" if lost and held.held_scopes else "")

    def _recognize(self, secret: str, present: list[Token]) -> tuple[HubClient | None, Token | None, str]:
        """The hub as it answers to a secret and the listed token that this belongs to; or why there is none."""
        if not can_be_token(secret):
            return None, None, "what is kept cannot be a token"
        try:
            held = self._hub.with_token(secret)
            owner = held.owner
        except Unauthorized:
            return None, None, "the kept secret does not work"
        if (owner.kind, owner.name) != ("user", self._wanted.user):
            return None, None, "the kept secret is of another account"
        found = self._that_it_may_be(owner, present)
        if not found:
            return None, None, "the kept secret is of another token"
        if len(found) > 1:
            self.undecided.add(secret)
            return None, None, "the hub does not say which of its tokens the kept secret belongs to"
        return held, found[0], ""

    def _that_it_may_be(self, owner: Owner, present: list[Token]) -> list[Token]:
        """Which of the listed tokens has this identity. JupyterHub 4 does not say so: there it may be several."""
        if self._hub.dialect.has_token_id:
            return [token for token in present if token.id == owner.token_id]
        # What it may do is all there is to tell it from others of the user.
        scopes = owner.scopes
        return [
            token
            for token in present
            if token.digest is not None and set(token.scopes) == set(token.scopes if scopes is None else scopes)
        ]

    def left_over(self, present: list[Token]) -> Token | None:
        """The token whose secret a run that was killed left beside the file: nobody else has that."""
        secret = _secrets.read_left_over(self._wanted.path) if self._wanted.path is not None else ""
        return self._recognize(secret, present)[1] if secret else None

    def has(self, secret: str) -> bool:
        """Whether the file holds this secret."""
        try:
            return self._wanted.path is not None and _secrets.read(self._wanted.path) == secret
        except HubError:
            return False
