# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_tokens and _times: the mark, what is due, and which tokens have had their time."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Token
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.times import format_time, parse_time
from ansible_collections.hubops.jupyterhub.plugins.module_utils._token.model import (
    RenewBefore,
    TokenSpec,
    find_digest,
    find_plain_note,
    reason_to_replace,
    select_revocations,
)

NOW = 1_800_000_000.0


def iso(seconds: float) -> str:
    return format_time(seconds).replace(" UTC", "Z").replace(" ", "T")


def wanted(**more: Any) -> TokenSpec:
    return TokenSpec(**{"user": "alice", "note": "ci", "scopes": ("read:servers!user", "list:users"), **more})


def token(number: str = "a1", *, age: float = 0, left: float | None = None, note: str | None = None) -> Token:
    """One of the declared kind, ``age`` seconds old, with ``left`` seconds to go."""
    expires = None if left is None else iso(NOW + left)
    return Token(number, note or wanted().marked_note(), (), iso(NOW - age), expires)


# Times


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01", 1.0),
        ("1970-01-01T00:00:01.5+00:00", 1.5),
        ("1970-01-01T00:00:01.123456789Z", 1.123456),
        ("1970-01-01 00:00:01", 1.0),
        ("1970-01-01T01:00:01+01:00", 1.0),
        ("1970-01-01T01:00:01.5+0100", 1.5),
        ("yesterday", None),
        ("1970-01-01", None),
        ("1970-02-30T00:00:01Z", None),
        ("", None),
        (None, None),
        (1.5, None),
    ],
)
def test_the_hub_s_times(text: object, seconds: float | None) -> None:
    assert parse_time(text) == pytest.approx(seconds)


# The mark in the note


def test_the_note_says_what_was_declared_and_each_attempt_differs() -> None:
    first, second = (wanted().marked_note() for _each in range(2))
    assert re.fullmatch(r"ci \[hubops [0-9a-f]{12}-[0-9a-f]{8}\]", first)
    assert first != second
    found = token(note=first)
    assert (find_plain_note(found), find_digest(found)) == ("ci", wanted().digest)
    assert (find_plain_note(token(note="ci")), find_digest(token(note="ci"))) == ("ci", None)


@pytest.mark.parametrize(
    ("more", "same"),
    [
        ({"scopes": ("list:users", "read:servers!user")}, True),
        ({"scopes": ("list:users", "read:servers!user=alice", "list:users")}, True),
        (
            {"renew_before": RenewBefore(60), "overlap": 60, "prune": True, "path": "x", "secret": "y", "note": "cd"},
            True,
        ),
        ({"scopes": ("list:users",)}, False),
        ({"scopes": ()}, False),
        ({"scopes": None, "roles": ("list:users", "read:servers!user")}, False),
        ({"expires_in": 60}, False),
    ],
)
def test_the_digest_is_of_what_makes_another_token(more: dict[str, Any], same: bool) -> None:
    assert (wanted(**more).digest == wanted().digest) is same


def test_the_digest_is_documented_and_stays() -> None:
    """Another one would have every token of every site minted anew."""
    assert wanted().digest == "85374798ba2f"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"note": " "}, "note is empty"),
        ({"note": "x" * 991}, "too long"),
        ({"note": "ci [hubops 0123456789ab-01234567]"}, "brackets"),
        ({"scopes": None}, "one of scopes, roles and inherit"),
        ({"roles": ("user",)}, "one of scopes, roles and inherit"),
        ({"expires_in": 60, "renew_before": RenewBefore(60)}, "every run would mint a new token"),
    ],
)
def test_what_cannot_be_declared(more: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid) as error:
        wanted(**more)
    assert says in str(error.value.as_result()["msg"])


def test_absent_needs_no_scopes() -> None:
    assert wanted(scopes=None, state="absent")


# When a token is due


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (None, RenewBefore()),
        ("1h", RenewBefore(seconds=3600)),
        ("90", RenewBefore(seconds=90)),
        ("25%", RenewBefore(share=0.25)),
        (" 2.5 % ", RenewBefore(share=0.025)),
    ],
)
def test_how_early(text: str | None, first: RenewBefore) -> None:
    assert RenewBefore.parse(text) == first


@pytest.mark.parametrize("text", ["", "soon", "100%", "-5%", "-1h", "0", "%"])
def test_how_early_never(text: str) -> None:
    with pytest.raises(Invalid, match="renew_before"):
        RenewBefore.parse(text)


@pytest.mark.parametrize(
    ("first", "left", "due"),
    [
        (RenewBefore(), 1, False),
        (RenewBefore(), -1, True),
        (RenewBefore(60), 61, False),
        (RenewBefore(60), 60, True),
        (RenewBefore(share=0.25), 101, False),  # of a life of 401 s, 300 of them gone
        (RenewBefore(share=0.25), 99, True),
        (RenewBefore(60, share=0.9), None, False),
    ],
)
def test_due(first: RenewBefore, left: float | None, due: bool) -> None:
    assert first.is_due(token(age=300, left=left), NOW) is due


@pytest.mark.parametrize(
    ("found", "more", "why"),
    [
        (token(), {}, ""),
        (token(left=10), {}, ""),
        (token(), {"rotate": True}, "a new one is asked for"),
        (token(note="ci"), {}, "it was not minted by this module"),
        (token(), {"scopes": ("list:users",)}, "it was declared otherwise"),
        (token(age=100, left=10), {"renew_before": RenewBefore(10)}, f"it expires at {format_time(NOW + 10)}"),
    ],
)
def test_what_is_wrong_with_a_token_that_works(found: Token, more: dict[str, Any], why: str) -> None:
    assert reason_to_replace(found, wanted(**more), NOW) == why


def test_a_hub_that_gives_less_time_than_renewal_takes() -> None:
    with pytest.raises(Invalid, match="shorter time than renew_before"):
        reason_to_replace(token(age=1, left=59), wanted(renew_before=RenewBefore(3600)), NOW)


# Which tokens have had their time

KEPT = token("kept", age=100)
OLDER, YOUNGER, FOREIGN = token("older", age=200), token("younger", age=50), token("foreign", age=150, note="ci")


@pytest.mark.parametrize(
    ("kept", "more", "removed"),
    [
        (KEPT, {}, ["older", "younger"]),
        (KEPT, {"prune": True}, ["older", "foreign", "younger"]),
        # The kept one is 100 s old: so long have its predecessors been replaced.
        (KEPT, {"overlap": 101}, ["younger"]),
        (KEPT, {"overlap": 100}, ["older", "younger"]),
        (KEPT, {"overlap": 101, "prune": True}, ["foreign", "younger"]),
        (None, {}, ["older", "younger"]),
        (None, {"overlap": 1}, ["older", "younger"]),
    ],
)
def test_which_go(kept: Token | None, more: dict[str, Any], removed: list[str]) -> None:
    found = select_revocations([YOUNGER, FOREIGN, OLDER], kept, wanted(**more), NOW)
    assert [each.id for each, _why in found] == removed
