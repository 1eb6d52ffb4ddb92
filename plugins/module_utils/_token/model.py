# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A declared API token: its identity, the mark in its note, when it is due, and which other tokens to revoke.

A hub shows a token's secret once, expands its scopes, and accepts the same note any number of times. So the module
writes a digest of the declaration into the note: ``NOTE [hubops DIGEST-ATTEMPT]``. ATTEMPT is random and differs for
each request that mints. If the answer to a request is lost, the module finds its token by ATTEMPT and revokes it,
because nobody has its secret.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from .._hub.connection import parse_duration
from .._hub.errors import Invalid
from .._hub.models import Token
from .._hub.scopes import expand_self
from .._hub.times import format_time, parse_time
from .secret_format import PLAIN, SecretFormat

_MARK = re.compile(r" \[hubops ([0-9a-f]{12})-([0-9a-f]{8})\]$")
REPLACED = "its successor is kept and works"
LOST = "its secret got lost before it was kept"
_LONGEST_NOTE = 990
"""Characters. The hub's database has room for 1,023, and the mark takes 31."""


@dataclass(frozen=True)
class RenewBefore:
    """How long before it expires a token is due: seconds, or a share of its lifetime. The longer time counts."""

    seconds: float = 0.0
    share: float = 0.0

    @staticmethod
    def parse(text: str | None) -> RenewBefore:
        """Return the time that the option ``renew_before`` means, such as ``7d`` or ``25%``.

        With None, a token is due when it has expired. Raises `Invalid`.
        """
        if text is None:
            return RenewBefore()
        match = re.fullmatch(r"(\d{1,2}(?:\.\d+)?)\s*%", text.strip())
        if match:
            return RenewBefore(share=float(match[1]) / 100)
        return RenewBefore(seconds=parse_duration(text, "renew_before"))

    def is_due(self, token: Token, now: float) -> bool:
        """Return whether it is time to mint the token's successor. ``now`` is in seconds since 1970."""
        ends = parse_time(token.expires_at)
        if ends is None:
            return False
        lifetime = ends - (parse_time(token.created) or ends)
        return ends - now <= max(self.seconds, self.share * lifetime)

    def exceeds_lifetime(self, token: Token) -> bool:
        """Return whether the token was due as soon as it was minted."""
        ends, created_at = parse_time(token.expires_at), parse_time(token.created)
        return ends is not None and created_at is not None and self.seconds >= ends - created_at


@dataclass(frozen=True)
class TokenSpec:
    """A declared token. Its user and its note identify it.

    ``expires_in`` and ``overlap`` are in seconds. ``expires_in`` is None if the token does not expire. ``secret`` is
    the secret that the caller has kept. It is None if the caller does not keep the secret, and empty if the caller has
    none yet.
    """

    user: str
    note: str
    state: str = "present"
    scopes: tuple[str, ...] | None = None
    roles: tuple[str, ...] | None = None
    expires_in: int | None = None
    renew_before: RenewBefore = RenewBefore()
    secret: str | None = None
    path: str | None = None
    secret_format: SecretFormat = PLAIN
    rotate: bool = False
    overlap: float = 0.0
    prune: bool = False
    on_lost: str = "fail"
    """What to do if no secret is kept and somebody uses a token of the identity: ``fail`` or ``replace``."""
    revoke_replaced: bool = True
    """Whether this run revokes the tokens that were replaced. Otherwise a later run does."""

    def __post_init__(self) -> None:
        if not self.note.strip():
            raise Invalid("note is empty.", "Say what the token is for: the note identifies it.")
        if _MARK.search(self.note) or len(self.note) > _LONGEST_NOTE:
            raise Invalid(
                f"The note '{self.note[:60]}' is too long, or ends with a mark like those that this module appends.",
                f"Choose a note of at most {_LONGEST_NOTE} characters, without the part in brackets.",
            )
        if self.state == "present" and (self.scopes is None) is (self.roles is None):
            raise Invalid(
                f"{self.name}: one of scopes, roles and inherit is needed.",
                "Say what the token may do. Without that a hub mints a token that may do everything that its owner "
                "may. If you want such a token, set inherit: true.",
            )
        if self.expires_in is not None and self.renew_before.seconds >= self.expires_in:
            raise Invalid(
                f"{self.name}: renew_before is not less than expires_in, so every run would mint a new token.",
                "Make renew_before shorter, or a share of the lifetime such as 25%.",
            )

    @property
    def name(self) -> str:
        return f"token '{self.note}' of user '{self.user}'"

    @property
    def digest(self) -> str:
        """Twelve hex digits for the scopes or roles, in any order, and the lifetime.

        A token with another digest was declared otherwise, and must be replaced.
        """
        declared = {
            "scopes": sorted({expand_self(scope, self.user) for scope in self.scopes or ()}),
            "roles": sorted(set(self.roles or ())),
            "expires_in": self.expires_in,
        }
        return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()[:12]

    def marked_note(self) -> str:
        """Return the note for one request to mint the token."""
        return f"{self.note} [hubops {self.digest}-{secrets.token_hex(4)}]"


def find_digest(token: Token) -> str | None:
    """Return the digest of the declaration with which the token was minted, or None if this module did not mint it."""
    mark = _MARK.search(token.note or "")
    return mark[1] if mark else None


def find_plain_note(token: Token) -> str:
    """Return the declared note, without the mark that this module appends."""
    return _MARK.sub("", token.note or "")


def describe_use(token: Token) -> str:
    """Return when the token was used last, for a sentence."""
    return f"it was used last at {format_time(token.last_used)}" if token.last_used else "it was never used"


def reason_to_replace(token: Token, wanted: TokenSpec, now: float) -> str:
    """Return why this token, which works, must be replaced. Return an empty text if it is good.

    ``now`` is in seconds since 1970. Raises `Invalid` if every new token would have to be replaced, too.
    """
    if wanted.rotate:
        return "a new one is asked for"
    if find_digest(token) is None:
        return "it was not minted by this module"
    if find_digest(token) != wanted.digest:
        return "it was declared otherwise"
    if wanted.renew_before.is_due(token, now):
        if wanted.renew_before.exceeds_lifetime(token):
            raise Invalid(
                f"The hub lets the {wanted.name} live for a shorter time than renew_before, so every run would mint a "
                "new token.",
                "Make renew_before shorter, or a share of the lifetime such as 25%.",
            )
        return f"it expires at {format_time(parse_time(token.expires_at) or now)}"
    return ""


def select_revocations(
    others: Sequence[Token],
    kept: Token | None,
    wanted: TokenSpec,
    now: float,
    *,
    caller_keeps: bool = False,
    left_over: Token | None = None,
) -> list[tuple[Token, str]]:
    """Return the tokens to revoke now, and why, the oldest first.

    ``others`` are the identity's tokens except the one whose secret is kept here, which is ``kept``.

    - The kept token has replaced the tokens that are older. Their time of ``overlap`` began when it was minted.
    - A younger token that was never used is a successor whose secret got lost. Nobody has the secret.
    - A younger token that was used is kept at another place. The token that this run mints replaces it, so its time of
      ``overlap`` begins now. If the caller keeps the new secret (``caller_keeps``), the caller must keep it before the
      old token is revoked. So a later run revokes what the new token replaces.

    ``left_over`` is a token that a killed run has used, and whose secret nobody keeps. ``now`` is in seconds since
    1970.
    """
    found = []
    for token in sorted(others, key=lambda token: token.created_at):
        is_older = kept is not None and token.created_at <= kept.created_at
        is_in_use = bool(token.last_used) and token is not left_over
        replaced_at = kept.created_at if kept is not None and is_older else now
        if find_digest(token) is None:  # somebody else chose the same note
            if wanted.prune:
                found.append((token, "it has the same note, and is to be pruned"))
        elif kept is not None and not is_older and not is_in_use:
            found.append((token, LOST))
        elif now >= replaced_at + wanted.overlap and (is_older or not caller_keeps):
            found.append((token, REPLACED))
        elif kept is None and not is_in_use:
            found.append((token, LOST))
    return found


def select_used_elsewhere(others: Sequence[Token], kept: Token | None) -> list[Token]:
    """Return the identity's tokens that somebody uses and whose secret is not kept here. The last used one comes first.

    If no secret is kept here, any token that was ever used can be kept at another place. If one is kept here, another
    run has minted the younger tokens. A younger token that was used is kept somewhere, because this collection first
    uses a token when its secret is kept.
    """
    used = [token for token in others if find_digest(token) is not None and token.last_used]
    found = [token for token in used if kept is None or token.created_at > kept.created_at]
    return sorted(found, key=lambda token: token.last_used, reverse=True)
