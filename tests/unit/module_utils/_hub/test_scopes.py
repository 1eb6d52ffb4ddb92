# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""scopes: whether a token's scopes cover those that a task needs."""

from __future__ import annotations

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.scopes import (
    expand_self,
    find_missing,
    split_scope,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# A busy machine must not make a test fail.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

words = st.text("abcdefgh:", min_size=1)
scopes = st.builds(
    lambda name, restriction: name + restriction,
    words,
    st.one_of(st.just(""), st.builds("!{}={}".format, st.sampled_from(["user", "server", "group"]), words)),
)


@pytest.mark.parametrize(
    ("scope", "parts"),
    [
        ("read:servers", ("read:servers", "", "")),
        ("read:servers!user=alice", ("read:servers", "user", "alice")),
        ("access:servers!server=alice/gpu", ("access:servers", "server", "alice/gpu")),
        ("access:servers!server=alice/", ("access:servers", "server", "alice/")),
        ("read:users!user=a=b!c", ("read:users", "user", "a=b!c")),
        ("servers!user", ("servers", "user", "")),
    ],
)
def test_split(scope: str, parts: tuple[str, str, str]) -> None:
    assert split_scope(scope) == parts


def test_own_writes_the_shorthand_out_and_nothing_else() -> None:
    assert expand_self("servers!user", "alice") == "servers!user=alice"
    for other in ("servers", "servers!user=bob", "servers!group=g"):
        assert expand_self(other, "alice") == other


@pytest.mark.parametrize(
    ("held", "needed", "covered"),
    [
        ("read:servers", "read:servers", True),
        ("read:servers", "read:servers!user=alice", True),
        ("read:servers!user=alice", "read:servers!user=alice", True),
        ("read:servers!user=alice", "read:servers", False),
        ("read:servers!user=alice", "read:servers!user=bob", False),
        ("read:servers!user=alice", "read:servers!user=alice2", False),
        ("read:servers!user=alice", "read:servers!server=alice/gpu", True),
        ("read:servers!user=alice", "read:servers!server=alice2/", False),
        ("read:servers!server=alice/", "read:servers!user=alice", False),
        ("read:servers!server=alice/", "read:servers!server=alice/gpu", False),
        # Only the hub knows who is in a group.
        ("read:servers!group=class", "read:servers!user=alice", True),
        # A scope does not cover the scopes that it includes: the hub expands them, and the code compares.
        ("servers", "read:servers", False),
        ("read:servers", "servers", False),
    ],
)
def test_covered(held: str, needed: str, covered: bool) -> None:
    assert find_missing([needed], [held]) == ([] if covered else [needed])


def test_missing_keeps_the_order_of_what_is_needed() -> None:
    assert find_missing(["c", "a", "b"], ["a"]) == ["c", "b"]


@UNHURRIED
@given(st.lists(scopes), st.lists(scopes))
def test_more_scopes_never_miss_more(needed: list[str], held: list[str]) -> None:
    assert find_missing(needed, needed) == []
    assert find_missing(needed, []) == needed
    assert set(find_missing(needed, held + needed[:1])) <= set(find_missing(needed, held))


@UNHURRIED
@given(st.lists(scopes), st.lists(scopes))
def test_what_is_held_may_be_read_once(needed: list[str], held: list[str]) -> None:
    assert find_missing(needed, iter(held)) == find_missing(needed, held)
