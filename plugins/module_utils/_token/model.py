# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a declared API token is: its identity, the mark by which it is known again, and when it is due.

A hub tells a token's secret once, expands its scopes, and takes the same note any number of times. So what was declared
travels in the note, as a digest: ``NOTE [hubops DIGEST-ATTEMPT]``. ATTEMPT is random and another one for each request
that mints: when the answer to one is lost, its token can be found, and revoked, since nobody has its secret.

"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._hub.client import HubClient
from .._hub.connection import parse_duration
from .._hub.errors import Invalid, quoted
from .._hub.schemas import TOKENS
from .._hub.scopes import expand_self
from .._hub.times import format_time, parse_time

_MARK = re.compile(r" \[hubops ([0-9a-f]{12})-([0-9a-f]{8})\]$")
REPLACED = "its successor is kept and works"
LOST = "its secret got lost before it was kept"
_LONGEST_NOTE = 990
"""Characters. The hub's database has room for 1,023, and the mark takes 31."""


@dataclass(frozen=True)
class RenewBefore:
    """How long before its end a token is due: seconds, or a share of its lifetime, whichever is longer."""

    seconds: float = 0.0
    share: float = 0.0

    @staticmethod
    def of(text: str | None) -> RenewBefore:
        """``7d``, or ``25%``; None is not before its end. Raises `Invalid`."""
        if text is None:
            return RenewBefore()
        match = re.fullmatch(r"(\d{1,2}(?:\.\d+)?)\s*%", text.strip())
        if match:
            return RenewBefore(share=float(match[1]) / 100)
        return RenewBefore(seconds=parse_duration(text, "renew_before"))

    def due(self, token: Token, now: float) -> bool:
        """Whether the token's successor is to be minted. ``now``: seconds since 1970."""
        ends = parse_time(token.expires_at)
        if ends is None:
            return False
        lifetime = ends - (parse_time(token.created) or ends)
        return ends - now <= max(self.seconds, self.share * lifetime)

    def outlives(self, token: Token) -> bool:
        """Whether the token was due as soon as it was minted."""
        ends, began = parse_time(token.expires_at), parse_time(token.created)
        return ends is not None and began is not None and self.seconds >= ends - began


@dataclass(frozen=True)
class TokenSpec:
    """A declared token: who it belongs to and its note identify it.

    ``expires_in`` and ``overlap`` are in seconds; None is never, and at once. ``secret`` is what the caller has kept:
    None if it keeps nothing, empty if it has nothing yet.
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
    rotate: bool = False
    overlap: float = 0.0
    prune: bool = False
    on_lost: str = "fail"
    """What to do where no secret is kept and somebody uses a token of the identity: ``fail`` or ``replace``."""

    def __post_init__(self) -> None:
        if not self.note.strip():
            raise Invalid("note is empty.", "Say what the token is for: the note identifies it.")
        if _MARK.search(self.note) or len(self.note) > _LONGEST_NOTE:
            raise Invalid(
                f"The note '{self.note[:60]}' is too long, or ends as those do that this module writes.",
                f"Choose one of at most {_LONGEST_NOTE} characters, without the part in brackets.",
            )
        if self.state == "present" and (self.scopes is None) is (self.roles is None):
            raise Invalid(
                f"{self.name}: one of scopes, roles and inherit is needed.",
                "Say what it may do. Without that a hub mints a token that may do all that its owner may, which is to "
                "be said with inherit: true.",
            )
        if self.expires_in is not None and self.renew_before.seconds >= self.expires_in:
            raise Invalid(
                f"{self.name}: renew_before is not less than expires_in, so it would be minted anew by every run.",
                "Make renew_before shorter, or a share of the lifetime such as 25%.",
            )

    @property
    def name(self) -> str:
        return f"token '{self.note}' of user '{self.user}'"

    @property
    def digest(self) -> str:
        """Twelve hex digits of what makes another token: its scopes or roles, in any order, and its lifetime."""
        declared = {
            "scopes": sorted({expand_self(scope, self.user) for scope in self.scopes or ()}),
            "roles": sorted(set(self.roles or ())),
            "expires_in": self.expires_in,
        }
        return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()[:12]

    def marked_note(self) -> str:
        """The note as one attempt to mint sends it."""
        return f"{self.note} [hubops {self.digest}-{secrets.token_hex(4)}]"


@dataclass(frozen=True)
class Token:
    """A token as the hub lists it. The hub never gives its secret back."""

    id: str
    note: str
    scopes: tuple[str, ...]
    created: str | None
    expires_at: str | None
    last_activity: str | None = None

    @staticmethod
    def of(model: dict[str, Any]) -> Token:
        return Token(
            id=str(model.get("id") or ""),
            note=str(model.get("note") or ""),
            scopes=tuple(sorted(model.get("scopes") or ())),
            created=model.get("created"),
            expires_at=model.get("expires_at"),
            last_activity=model.get("last_activity"),
        )

    @property
    def plain_note(self) -> str:
        return _MARK.sub("", self.note)

    @property
    def digest(self) -> str | None:
        """What was declared when it was minted; None if somebody else minted it."""
        mark = _MARK.search(self.note)
        return mark[1] if mark else None

    @property
    def born(self) -> float:
        """When it was minted, in seconds since 1970."""
        return parse_time(self.created) or 0.0

    @property
    def used(self) -> float:
        """When it was used last, in seconds since 1970; 0 where it never was."""
        return parse_time(self.last_activity) or 0.0

    @property
    def use(self) -> str:
        """When it was used last, in words."""
        return f"it was used last at {format_time(self.used)}" if self.used else "it was never used"


def why_replace(token: Token, wanted: TokenSpec, now: float) -> str:
    """Why this token, which works, does not do; empty if it does. Raises `Invalid` where none ever would."""
    if wanted.rotate:
        return "a new one is asked for"
    if token.digest is None:
        return "it was not minted by this module"
    if token.digest != wanted.digest:
        return "it was declared otherwise"
    if wanted.renew_before.due(token, now):
        if wanted.renew_before.outlives(token):
            raise Invalid(
                f"The hub lets the {wanted.name} live for a shorter time than renew_before, so it would be minted "
                "anew by every run.",
                "Make renew_before shorter, or a share of the lifetime such as 25%.",
            )
        return f"it expires at {format_time(parse_time(token.expires_at) or now)}"
    return ""


def superseded(
    others: Sequence[Token],
    kept: Token | None,
    wanted: TokenSpec,
    now: float,
    *,
    handed_over: bool = False,
    lost: Token | None = None,
) -> list[tuple[Token, str]]:
    """Which of the identity's ``others`` go now, and why, oldest first. ``kept`` is the one whose secret is kept.

    Older ones were replaced by that, and have the time of ``overlap`` from then on. A younger one that was never used
    is a successor whose secret got lost on its way, and nobody has it. One that was used is kept at another place. The
    token that this run mints replaces it, so its time begins now. Where the secret of that token is ``handed_over`` to
    the caller, which has to keep it first, a later run revokes what it replaces. ``lost`` is one that a run has used
    and that nobody keeps.
    """
    gone = []
    for token in sorted(others, key=lambda token: token.born):
        had, used = kept is not None and token.born <= kept.born, bool(token.used) and token is not lost
        replaced = kept.born if kept is not None and had else now
        if token.digest is None:  # somebody else's, who chose the same note
            if wanted.prune:
                gone.append((token, "it has the same note, and is to be pruned"))
        elif kept is not None and not had and not used:
            gone.append((token, LOST))
        elif now >= replaced + wanted.overlap and (had or not handed_over):
            gone.append((token, REPLACED))
        elif kept is None and not used:
            gone.append((token, LOST))
    return gone


def in_use(others: Sequence[Token], kept: Token | None) -> list[Token]:
    """Those of the identity's tokens that somebody uses whose secret is not kept here, the one used last first.

    Where no secret is kept, each that was ever used may be kept at another place. Where one is, another run has minted
    those that are younger, and somebody has kept them if they were used: a token's first use by this collection comes
    when its secret is kept.
    """
    used = [token for token in others if token.digest is not None and token.used]
    found = [token for token in used if kept is None or token.born > kept.born]
    return sorted(found, key=lambda token: token.used, reverse=True)


def list_of(hub: HubClient, user: str) -> list[dict[str, Any]]:
    """The user's API tokens as the hub shows them. The hub purges the expired ones on this occasion."""
    what = f"user {quoted(user)}"
    found: list[dict[str, Any]] = hub.get("users", user, "tokens", scope="read:tokens", what=what, schema=TOKENS)[
        "api_tokens"
    ]
    return found
