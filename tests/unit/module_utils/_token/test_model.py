# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_tokens and _times: the mark, what is due, and which tokens have had their time."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Token
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.times import format_time, parse_time
from ansible_collections.hubops.jupyterhub.plugins.module_utils._token.model import (
    LOST,
    REPLACED,
    RenewBefore,
    TokenSpec,
    describe_use,
    find_digest,
    find_plain_note,
    reason_to_replace,
    select_revocations,
    select_used_elsewhere,
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


def test_the_digest_of_roles() -> None:
    def find(*roles: str) -> str:
        return wanted(scopes=None, roles=roles).digest

    assert find("user", "admin") == find("admin", "user", "admin")
    assert len({find(), find("user"), find("user", "admin")}) == 3


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
        ({"expires_in": 60, "renew_before": RenewBefore(61)}, "every run would mint a new token"),
    ],
)
def test_what_cannot_be_declared(more: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid) as error:
        wanted(**more)
    assert says in str(error.value.as_result()["msg"])


def test_what_cannot_be_declared_names_the_token() -> None:
    with pytest.raises(Invalid, match=r"^token 'ci' of user 'alice': renew_before is not less than expires_in"):
        wanted(expires_in=60, renew_before=RenewBefore(60))


def test_absent_needs_no_scopes() -> None:
    assert wanted(scopes=None, state="absent")


@pytest.mark.parametrize(
    "more",
    [
        {"note": "x" * 990},
        {"scopes": None, "roles": ("user",)},
        {"expires_in": 60, "renew_before": RenewBefore(59)},
        {"expires_in": 60},
        {"renew_before": RenewBefore(60)},  # and a token that does not expire
    ],
)
def test_what_can_just_be_declared(more: dict[str, Any]) -> None:
    assert find_digest(token(note=wanted(**more).marked_note())) == wanted(**more).digest


def test_the_longest_note_is_named_and_a_longer_one_is_shown_in_part() -> None:
    with pytest.raises(Invalid) as refused:
        wanted(note="x" * 60 + "y" * 931)
    assert f"'{'x' * 60}' is too long" in refused.value.message
    assert "at most 990 characters" in refused.value.hint


def test_a_declaration_that_only_says_what_the_token_may_do() -> None:
    spec = TokenSpec("alice", "ci", scopes=())
    assert (spec.state, spec.rotate, spec.prune, spec.overlap, spec.on_lost) == ("present", False, False, 0.0, "fail")
    assert (spec.renew_before, spec.revoke_replaced) == (RenewBefore(seconds=0.0, share=0.0), True)
    with pytest.raises(FrozenInstanceError):
        spec.rotate = True  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        spec.renew_before.seconds = 1.0  # type: ignore[misc]


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


def test_a_share_of_a_lifetime_that_the_hub_does_not_show() -> None:
    def is_due(left: float) -> bool:
        return RenewBefore(share=0.9).is_due(replace(token(left=left), created=None), NOW)

    assert (is_due(1), is_due(0)) == (False, True)


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


@pytest.mark.parametrize(
    ("found", "seconds", "exceeds"),
    [
        (token(age=1, left=59), 61, True),
        (token(age=1, left=59), 60, True),
        (token(age=1, left=59), 59, False),
        (token(age=1), 61, False),
        (replace(token(left=59), created=None), 61, False),
    ],
)
def test_a_token_that_is_due_as_soon_as_it_is_minted(found: Token, seconds: float, exceeds: bool) -> None:
    assert RenewBefore(seconds).exceeds_lifetime(found) is exceeds


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


USED_OLDER = replace(OLDER, id="used_older", last_activity=iso(NOW - 10))
USED_YOUNGER = replace(YOUNGER, id="used_younger", last_activity=iso(NOW - 20))
SIMULTANEOUS = replace(KEPT, id="simultaneous", last_activity=iso(NOW - 30))


@pytest.mark.parametrize(
    ("other", "kept", "overlap", "more", "why"),
    [
        (OLDER, KEPT, 0, {}, REPLACED),
        (USED_OLDER, KEPT, 0, {}, REPLACED),
        (USED_OLDER, KEPT, 101, {}, None),
        # The kept secret works already, so nothing more has to be kept.
        (USED_OLDER, KEPT, 0, {"caller_keeps": True}, REPLACED),
        # A token of the same second counts as older.
        (SIMULTANEOUS, KEPT, 100, {}, REPLACED),
        (YOUNGER, KEPT, 0, {}, LOST),
        (YOUNGER, KEPT, 101, {"caller_keeps": True}, LOST),
        # Its overlap begins now, and not when the kept one was minted.
        (USED_YOUNGER, KEPT, 0, {}, REPLACED),
        (USED_YOUNGER, KEPT, 60, {}, None),
        (USED_YOUNGER, KEPT, 0, {"caller_keeps": True}, None),
        (USED_YOUNGER, KEPT, 60, {"left_over": USED_YOUNGER}, LOST),
        (USED_YOUNGER, KEPT, 60, {"left_over": USED_OLDER}, None),
        (OLDER, None, 0, {}, REPLACED),
        (OLDER, None, 1, {}, LOST),
        (OLDER, None, 0, {"caller_keeps": True}, LOST),
        (USED_OLDER, None, 0, {}, REPLACED),
        (USED_OLDER, None, 1, {}, None),
        (USED_OLDER, None, 0, {"caller_keeps": True}, None),
        (USED_OLDER, None, 1, {"left_over": USED_OLDER}, LOST),
    ],
)
def test_why_a_token_goes(
    other: Token, kept: Token | None, overlap: float, more: dict[str, Any], why: str | None
) -> None:
    found = select_revocations([other], kept, wanted(overlap=overlap), NOW, **more)
    assert found == ([(other, why)] if why else [])


USED_FOREIGN = replace(FOREIGN, last_activity=iso(NOW))


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        (None, ["used_older", "used_younger", "simultaneous"]),
        (KEPT, ["used_younger"]),
        (replace(KEPT, created=iso(NOW - 300)), ["used_older", "used_younger", "simultaneous"]),
    ],
)
def test_which_tokens_are_used_elsewhere(kept: Token | None, found: list[str]) -> None:
    others = [SIMULTANEOUS, USED_YOUNGER, YOUNGER, USED_OLDER, OLDER, USED_FOREIGN]
    assert [each.id for each in select_used_elsewhere(others, kept)] == found


def test_when_a_token_was_used_last() -> None:
    assert describe_use(token()) == "it was never used"
    assert describe_use(USED_OLDER) == f"it was used last at {format_time(NOW - 10)}"
