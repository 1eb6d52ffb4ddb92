# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison: each single change is one difference, with the right severity, and nothing else is a difference."""

from __future__ import annotations

import copy
import json
import random
from contextlib import suppress
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain.record import Entry, Record
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.comparison import (
    Comparison,
    compare_snapshots,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.difference import KINDS, is_same
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.verification import Slower
from hypothesis import given, settings
from hypothesis import strategies as st
from support.snapshots import (
    CHANGES,
    HIDDEN,
    LATER,
    LONG_AGO,
    LOSSES,
    ONE_WAY,
    SINCE,
    Content,
    Expected,
    changed,
    content,
    hide,
    snapshot,
    verification,
)

EVERY = {**LOSSES, **CHANGES, **ONE_WAY}


def compare(first: Content, second: Content, **more: Any) -> Comparison:
    return compare_snapshots(snapshot(first), snapshot(second), **more)


def shown(comparison: Comparison) -> list[Expected]:
    for each in comparison.differences:
        assert each.kind in KINDS
        assert each.message.endswith("."), each
        assert each.shown()["message"].isprintable()
    return [(each.severity, each.kind, each.name, each.field) for each in comparison.differences]


def test_a_snapshot_against_itself_says_nothing() -> None:
    compared = compare(content(), content() | {"taken": LATER})
    assert shown(compared) == []
    assert compared.not_compared == []
    assert compared.count() == {"lost": 0, "changed": 0, "new": 0}
    assert compared.servers.shown() == {"survived": ["alice", "bob/gpu"], "restarted": [], "stopped": [], "drained": []}


@pytest.mark.parametrize("name", EVERY)
def test_a_single_change_is_one_difference(name: str) -> None:
    before, after, expected = changed(EVERY[name])
    assert shown(compare(before, after)) == [expected]


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_lost_in_one_direction_is_new_in_the_other(name: str) -> None:
    before, after, (_lost, *what) = changed(LOSSES[name])
    assert shown(compare(after, before)) == [("new", *what)]


@pytest.mark.parametrize("name", CHANGES)
def test_what_has_changed_has_changed_in_the_other_direction(name: str) -> None:
    before, after, expected = changed(CHANGES[name])
    assert shown(compare(after, before)) == [expected]


def test_every_kind_of_difference_occurs_in_these_tests() -> None:
    kinds = {changed(change)[2][1] for change in EVERY.values()}
    assert kinds | {"kernel", "unreadable"} == set(KINDS)


# Contents that are generated

NAMES = st.text("ab-. Ü/\u202e😀'\"", min_size=1, max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-2, 2) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
OPTIONS = st.dictionaries(NAMES, VALUES, max_size=3)
TIMES = st.sampled_from([LONG_AGO, SINCE, "2025-05-05T05:05:05Z"])


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """A hub of whatever form, in which each kind of thing occurs, so that each change can be made."""
    found = content()
    users = draw(st.lists(NAMES, max_size=3, unique=True))
    groups = draw(st.lists(NAMES, max_size=3, unique=True))
    for group in groups:
        found["groups"][group] = {"users": [], "properties": draw(OPTIONS), "roles": draw(st.lists(NAMES, unique=True))}
    number = 100
    for user in users:
        joined = draw(st.lists(st.sampled_from(groups), unique=True)) if groups else []
        is_admin = draw(st.booleans())
        roles = draw(st.lists(NAMES, unique=True, max_size=2)) + ["admin"] * is_admin
        found["users"][user] = {"admin": is_admin, "roles": roles, "groups": joined, "created": draw(TIMES)}
        for group in joined:
            found["groups"][group]["users"].append(user)
        for name in draw(st.lists(st.just("") | NAMES, max_size=2, unique=True)):
            runs = draw(st.booleans())
            started = draw(TIMES) if runs else None
            server = {"ready": runs, "pending": None, "stopped": not runs, "started": started}
            found["servers"].setdefault(user, {})[name] = {**server, "user_options": draw(OPTIONS)}
        for _token in range(draw(st.integers(0, 2))):
            number += 1
            scopes = draw(st.lists(st.sampled_from(["servers", "read:users", "self"]), unique=True))
            found["tokens"].insert(0, {
                "user": user, "id": f"a{number}", "note": draw(NAMES), "scopes": scopes, "created": draw(TIMES),
                "expires_at": None, "issued_for": draw(st.sampled_from(["", "server", "oauth"])),
            })  # fmt: skip
    return found


def shuffle(value: Any, chance: random.Random, key: str = "") -> Any:
    """The same content in another order: of objects, and of the lists whose order means nothing."""
    if isinstance(value, dict):
        names = list(value)
        chance.shuffle(names)
        return {name: shuffle(value[name], chance, name) for name in names}
    if isinstance(value, list) and key in ("roles", "groups", "users", "scopes", "tokens", "routes", "unreadable"):
        items = [shuffle(item, chance) for item in value]
        chance.shuffle(items)
        return items
    return value


@given(contents(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_a_generated_snapshot_against_itself_says_nothing(found: Content, chance: random.Random) -> None:
    other = {**shuffle(found, chance), "taken": LATER, "verification": copy.deepcopy(found["verification"])}
    assert shown(compare(found, other)) == []


@given(contents(), st.sampled_from(sorted(EVERY)))
@settings(max_examples=150, deadline=None)
def test_a_single_change_of_a_generated_snapshot_is_one_difference(found: Content, name: str) -> None:
    before, after, expected = changed(EVERY[name], found)
    assert shown(compare(before, after)) == [expected]
    if name in LOSSES:
        assert shown(compare(after, before)) == [("new", *expected[1:])]
    elif name in CHANGES:
        assert shown(compare(after, before)) == [expected]


@given(contents(), st.lists(st.sampled_from(sorted(EVERY)), min_size=2, max_size=4, unique=True))
@settings(max_examples=60, deadline=None)
def test_many_changes_never_hide_each_other(found: Content, names: list[str]) -> None:
    """Changes that touch the same thing may cover each other. None is reported twice, and what differs is reported."""
    after = copy.deepcopy(found) | {"taken": LATER}
    for name in names:
        with suppress(StopIteration, IndexError, KeyError, AssertionError, ValueError):
            EVERY[name](after)  # unless what it would change is not there any more
    differences = shown(compare(found, after))
    assert len(differences) == len(set(differences))
    same = {**after, "taken": found["taken"]}
    assert bool(differences) is (same != found)
    order = [("lost", "changed", "new").index(severity) for severity, *_rest in differences]
    assert order == sorted(order)


# What one thing covers


def test_a_user_who_is_gone_covers_what_belongs_to_the_user() -> None:
    before, after, expected = changed(LOSSES["a_user"])
    assert shown(compare(before, after)) == [expected]
    # Also if the hub still has the rest of it.
    after = content()
    del after["users"]["alice"]
    assert shown(compare(before, after)) == [("lost", "user", "alice", "")]


def test_a_user_who_was_created_again_covers_nothing() -> None:
    after = content()
    after["users"]["alice"] |= {"created": LATER, "groups": ["staff"]}
    after["groups"]["physics"]["users"] = []
    after["tokens"] = [each for each in after["tokens"] if each["user"] != "alice"]
    assert shown(compare(content(), after)) == [
        ("lost", "membership", "alice", "physics"),
        ("lost", "token", "alice/a1", ""),
        ("lost", "token", "alice/a2", ""),
        ("changed", "user", "alice", "created"),
    ]


def test_a_renamed_user_is_lost_and_new() -> None:
    after = content()
    for part in ("users", "servers"):
        after[part]["alicia"] = after[part].pop("alice")
    for each in after["tokens"]:
        each["user"] = each["user"].replace("alice", "alicia")
    for group in after["groups"].values():
        group["users"] = [user.replace("alice", "alicia") for user in group["users"]]
    assert shown(compare(content(), after)) == [("lost", "user", "alice", ""), ("new", "user", "alicia", "")]


def test_a_group_that_is_gone_covers_its_members_and_a_membership_elsewhere_is_not_covered() -> None:
    after = content()
    del after["groups"]["staff"]
    after["users"]["alice"]["groups"] = []
    after["users"]["bob"]["groups"] = []
    assert shown(compare(content(), after)) == [
        ("lost", "group", "staff", ""),
        ("lost", "membership", "alice", "physics"),
    ]


# What nobody can know


@pytest.mark.parametrize("name", HIDDEN)
def test_what_cannot_be_read_any_more_is_lost_once(name: str) -> None:
    after = content()
    expected = hide(after, name)
    found = compare(content(), after)
    covered = [("lost", "unreadable", "servers", "")] if name == "users" and after["servers"] is None else []
    assert shown(found) == [expected, *covered]
    assert "could be read before" in found.differences[0].message
    if name != "hub":
        assert "It needs read:it." in found.differences[0].message


@pytest.mark.parametrize("name", HIDDEN)
def test_what_could_not_be_read_before_is_not_compared(name: str) -> None:
    before, after = content(), content()
    hide(before, name)
    [missing] = compare(before, after).not_compared
    assert (missing["name"], shown(compare(before, after))) == (name, [])
    assert "Only the second snapshot" in missing["message"]
    hide(after, name)
    [missing] = compare(before, after).not_compared
    assert (missing["name"], shown(compare(before, after))) == (name, [])
    assert "Neither" in missing["message"]


@pytest.mark.parametrize("name", [name for name in HIDDEN if "." in name])
def test_a_field_that_only_some_items_hide_and_that_nobody_has_named_is_lost(name: str) -> None:
    part, _dot, field = name.partition(".")
    after = content()
    item = after[part][0] if part == "tokens" else after[part][sorted(after[part])[-1]]
    item[field] = None
    found = compare(content(), after)
    assert shown(found) == [("lost", "unreadable", name, "")]
    assert f"1 {part} have lost it" in found.differences[0].message


def test_a_part_that_is_missing_without_a_word_is_lost() -> None:
    after = content() | {"tokens": None}
    assert shown(compare(content(), after)) == [("lost", "unreadable", "tokens", "")]
    assert [each["name"] for each in compare(after, content()).not_compared] == ["tokens"]


def test_a_new_user_who_is_an_admin_is_named_as_one() -> None:
    after = content()
    after["users"] |= {"eve": {**after["users"]["carol"], "admin": True}, "frank": after["users"]["carol"]}
    messages = [each.message for each in compare(content(), after).differences]
    assert messages == ["User 'eve' is new and is an admin.", "User 'frank' is new."]


def test_routes_that_cannot_be_read_are_no_difference() -> None:
    """Because routes are not compared at all."""
    routes = {"name": "routes", "scope": "proxy", "message": "The token may not read the routes."}
    hidden = content() | {"routes": None, "unreadable": [routes]}
    for before, after in ((content(), hidden), (hidden, content()), (hidden, hidden)):
        found = compare(before, after)
        assert (shown(found), found.not_compared) == ([], [])


def test_a_part_of_which_only_some_can_be_read_any_more_is_lost_once() -> None:
    after = content()
    only_alice = [{"name": "users", "scope": "list:users", "message": "The token may read only alice."}]
    after |= {"unreadable": only_alice, "users": {"alice": after["users"]["alice"]}}
    assert shown(compare(content(), after)) == [("lost", "unreadable", "users", "")]
    found = compare(after, content())
    assert (shown(found), [each["name"] for each in found.not_compared]) == ([], ["users"])


def test_a_part_of_which_the_same_items_can_be_read_both_times_is_compared() -> None:
    before, after = content(), content()
    for each in (before, after):
        each["unreadable"] = [{"name": "tokens", "scope": "read:tokens", "message": "It may read only some."}]
    after["tokens"] = after["tokens"][1:]
    assert shown(compare(before, after)) == [("lost", "token", "alice/a1", "")]


@pytest.mark.parametrize("part", ["users", "servers", "groups", "services", "tokens"])
def test_a_part_that_was_read_only_in_part_and_not_at_all_now_is_lost(part: str) -> None:
    before, after = content(), content()
    before["unreadable"] = [{"name": part, "scope": f"list:{part}", "message": "It may read only some."}]
    hide(after, part)
    assert ("lost", "unreadable", part, "") in shown(compare(before, after))


def test_a_field_that_some_items_hid_and_more_hide_now_is_lost_once() -> None:
    before, after = content(), content()
    hide(before, "users.groups")
    before["users"]["alice"]["groups"] = ["physics", "staff"]
    hide(after, "users.groups")
    found = compare(before, after)
    assert shown(found) == [("lost", "unreadable", "users.groups", "")]
    assert "1 users have lost it" in found.differences[0].message


def test_memberships_are_found_in_the_groups_if_those_of_users_are_hidden() -> None:
    before, after, expected = changed(LOSSES["a_membership"])
    for each in (before, after):
        hide(each, "users.groups")
    assert shown(compare(before, after)) == [expected]


# Servers


def test_a_drained_server_has_changed_and_is_not_lost() -> None:
    before, after, (_lost, _kind, name, _field) = changed(LOSSES["a_server_that_runs"])
    user, _slash, server = name.partition("/")

    def compare_with(**more: Any) -> tuple[Comparison, list[Expected]]:
        entry = Entry(user, server, **{"user_created": LONG_AGO, "state": "stopped", "restore": "pending", **more})
        found = compare(before, after, record=Record("", "", "", {entry.key: entry}))
        return found, shown(found)

    for restore in ("pending", "restoring"):
        found, differences = compare_with(restore=restore)
        assert differences == [("changed", "server", name, "running")]
        assert found.servers.shown() == {"survived": ["bob/gpu"], "restarted": [], "stopped": [], "drained": [name]}
    for restore, word in (
        ("profile_gone", "its profile is gone: no such image"),
        ("failed", "its restore failed: no such image"),
        ("user_gone", "its user was gone: no such image"),
        ("restored", "was drained and restored"),
        ("already_running", "was drained and restored"),
    ):
        found, differences = compare_with(restore=restore, reason="no such image")
        assert differences == [("lost", "server", name, "running")]
        assert word in found.differences[0].message
        assert found.servers.shown()["stopped"] == [name]
    # The record is of another user of this name.
    assert compare_with(user_created=SINCE)[1] == [("lost", "server", name, "running")]


@pytest.mark.parametrize(
    ("entry", "severity"),
    [
        ({"started": LONG_AGO, "stopped_at": SINCE, "state": "stopped"}, "lost"),
        ({"started": LONG_AGO, "state": "to_stop"}, "lost"),
        ({"started": LONG_AGO, "state": "failed"}, "lost"),
        ({"started": SINCE, "state": "to_stop"}, "changed"),
        ({"started": SINCE, "stopped_at": SINCE, "state": "stopped"}, "changed"),  # the clocks differ
        ({"started": LATER, "stopped_at": LATER, "state": "stopped"}, "changed"),  # started again before its drain
    ],
)
def test_a_server_that_only_an_earlier_drain_has_stopped_is_lost(entry: dict[str, Any], severity: str) -> None:
    before, after, (_lost, _kind, name, _field) = changed(LOSSES["a_server_that_runs"])
    left = Entry(name, "", user_created=LONG_AGO, **entry)
    found = compare(before, after, record=Record("", "", "", {left.key: left}))
    assert shown(found) == [(severity, "server", name, "running")]
    assert found.servers.shown()["stopped" if severity == "lost" else "drained"] == [name]


def test_a_drained_server_that_runs_again_was_started_again() -> None:
    before, after, expected = changed(CHANGES["a_server_started_again"])
    entry = Entry("alice", "", state="stopped", restore="restored")
    found = compare(before, after, record=Record("", "", "", {entry.key: entry}))
    assert shown(found) == [expected]
    assert found.servers.restarted == ["alice"]


def test_a_drained_named_server_that_the_hub_does_not_know_any_more_is_lost() -> None:
    after = content()
    del after["servers"]["bob"]
    entry = Entry("bob", "gpu", state="stopped", restore="pending")
    record = Record("", "", "", {entry.key: entry})
    found = compare(content(), after, record=record)
    assert shown(found) == [("lost", "server", "bob/gpu", "")]
    assert found.differences[0].message.endswith("It was drained, and a restore creates it again.")
    assert found.servers.shown()["drained"] == ["bob/gpu"]


def test_no_restore_starts_the_server_of_a_user_who_has_left() -> None:
    before, after, expected = changed(LOSSES["a_user"])
    user = expected[2]
    entry = Entry(user, "", state="stopped", restore="pending", user_created=LONG_AGO)
    found = compare(before, after, record=Record("", "", "", {entry.key: entry}))
    assert shown(found) == [expected]
    assert found.servers.drained == []


def test_a_server_that_may_only_be_hidden_has_not_stopped() -> None:
    after = content()
    after["unreadable"] = [{"name": "servers", "scope": "read:servers", "message": "It may read only some."}]
    del after["servers"]["bob"]
    found = compare(content(), after)
    assert shown(found) == [("lost", "unreadable", "servers", "")]
    assert found.servers.shown() == {"survived": ["alice"], "restarted": [], "stopped": [], "drained": []}


@pytest.mark.parametrize(
    ("before", "after", "is_lost"),
    [("spawn", "spawn", False), (None, "check", False), (None, "stop", True), ("stop", None, False)],
)
def test_a_server_that_starts_runs_and_one_that_stops_does_not(
    before: str | None, after: str | None, is_lost: bool
) -> None:
    first, second = content(), content()
    first["servers"]["bob"]["gpu"] |= {"ready": before is None, "pending": before, "started": SINCE}
    second["servers"]["bob"]["gpu"] |= {"ready": False, "pending": after, "started": SINCE}
    expected = [("lost", "server", "bob/gpu", "running")] if is_lost else []
    assert shown(compare(first, second)) == expected


def test_one_moment_written_in_two_ways_is_one_moment() -> None:
    after = content()
    after["servers"]["alice"][""]["started"] = "2026-11-01T08:00:00+00:00"
    after["users"]["bob"]["created"] = "2026-01-01T00:00:00Z"
    assert shown(compare(content(), after)) == []


def test_no_options_are_the_same_as_null() -> None:
    after = content()
    after["servers"]["bob"]["gpu"]["user_options"] = None
    assert shown(compare(content(), after)) == shown(compare(after, content())) == []


def test_values_are_compared_as_those_of_json() -> None:
    assert is_same(1, 1.0)
    assert not is_same(1, True)
    assert not is_same([0], [False])
    assert not is_same({"a": {"b": 1}}, {"a": {"b": True}})
    assert not is_same(1, "1")
    assert not is_same(None, 0)
    assert not is_same([1, 2], [2, 1])
    after = content()
    after["servers"]["alice"][""]["user_options"]["cpus"] = "4"
    assert shown(compare(content(), after)) == [("changed", "option", "alice", "cpus")]


# Scopes


def with_versions(before: str, after: str, old: list[str], new: list[str]) -> list[Expected]:
    first, second = content(), content()
    for each, version, scopes in ((first, before, old), (second, after, new)):
        each["hub"]["version"] = version
        each["tokens"][0]["scopes"] = scopes
    found = compare(first, second)
    return [each for each in shown(found) if each[1] != "version"]


SPLIT = [f"{name}!user=alice" for name in ("servers", "read:servers", "delete:servers", "start:servers")]


def test_hub_6_splits_a_scope_and_no_token_is_the_worse_for_it() -> None:
    assert with_versions("5.5.4", "6.1.1", SPLIT[:3], SPLIT) == [("changed", "scope", "servers", "scopes")]
    assert with_versions("4.1.6", "5.5.4", SPLIT[:3], SPLIT[:3]) == []
    assert with_versions("6.0", "6.1.1", SPLIT, SPLIT) == []
    assert with_versions("6.1.1", "5.5.4", SPLIT, SPLIT[:3]) == [("changed", "scope", "servers", "scopes")]
    before, after = content(), content()
    after["hub"]["version"] = "6.1.1"
    after["tokens"][0]["scopes"] += ["start:servers!user=alice", "delete:servers!user=alice"]
    before["tokens"][0]["scopes"] += ["delete:servers!user=alice"]
    [_version, split] = sorted(compare(before, after).differences, key=lambda each: each.kind == "scope")
    assert "splits the scope 'servers' into 'start:servers' and 'delete:servers'" in split.message
    assert "1 token (alice/a1) may do the same as before" in split.message
    assert split.shown()["after"] == ["start:servers", "delete:servers"]


def test_a_token_that_may_do_less_after_the_split_is_lost() -> None:
    found = with_versions("5.5.4", "6.1.1", SPLIT[:3], ["read:servers!user=alice", "delete:servers!user=alice"])
    assert ("lost", "scope", "alice/a1", "scopes") in found
    # The scope that only a hub 6 has is gone from a hub 5.
    rolled_back = with_versions("6.1.1", "5.5.4", ["start:servers!user=alice"], [])
    assert rolled_back == [("lost", "scope", "alice/a1", "scopes")]


def test_scopes_that_come_with_a_version_are_one_difference() -> None:
    first, second = content(), content()
    first["hub"]["version"], second["hub"]["version"] = "4.1.6", "5.5.4"
    for each in second["tokens"]:
        each["scopes"] = [*each["scopes"], f"read:shares!user={each['user']}", f"read:users:shares!user={each['user']}"]
    found = [each for each in compare(first, second).differences if each.kind != "version"]
    assert [(each.severity, each.kind, each.name) for each in found] == [("new", "scope", "hub")]
    assert "(read:shares, read:users:shares). 3 tokens (alice/a1, alice/a2, bob/a3)" in found[0].message


def test_scopes_of_unknown_versions_are_compared_as_they_are() -> None:
    assert with_versions("?", "a\x1b[2J", SPLIT, SPLIT) == []
    assert with_versions("", "9" * 50, SPLIT, SPLIT[1:]) == [("lost", "scope", "alice/a1", "scopes")]


# Verifications


def phase_of(row: Content, name: str) -> Content:
    return next(each for each in row["checks"][0]["phases"] if each["name"] == name)


def test_another_kernel_is_lost_and_new() -> None:
    after = content()
    phase_of(after["verification"], "code")["details"]["snippets"][0]["kernel_name"] = "xeus"
    assert shown(compare(content(), after)) == [("lost", "kernel", "lab", "python3"), ("new", "kernel", "lab", "xeus")]


@pytest.mark.parametrize(
    ("before", "after", "is_slower"),
    [(4.0, 6.1, True), (4.0, 5.9, False), (40, 45, False), (40, 51, True), (0, 3, True), (6, 4, False)],
)
def test_what_is_slower(before: float, after: float, is_slower: bool) -> None:
    first, second = content(), content()
    for each, seconds in ((first, before), (second, after)):
        phase_of(each["verification"], "start")["seconds"] = seconds
    found = compare(first, second)
    assert shown(found) == [("changed", "start_time", "lab", "seconds")] * is_slower
    share = round((after - before) / before, 3) if before else None
    assert found.starts == [{"check": "lab", "before": before, "after": after, "share": share}]
    assert shown(compare(first, second, slower=Slower(share=2.0, seconds=1000))) == []


def test_a_secret_that_has_changed_is_not_shown() -> None:
    before, after = content(), content()
    for each, value in ((before, "hunter1"), (after, "hunter2")):
        each["servers"]["bob"]["gpu"]["user_options"] = {"env": {"DB_PASS": value}}
    [found] = compare(before, after).differences
    assert found.message.endswith("the option 'env' has another value, which is not shown.")
    assert "hunter" not in str(found.shown())


@pytest.mark.parametrize(("expires_at", "severity"), [("04.900Z", "changed"), ("07.000Z", "lost")])
def test_a_token_may_expire_while_the_hub_is_read(expires_at: str, severity: str) -> None:
    before, after = content(), content()
    before["tokens"][0]["expires_at"] = f"2026-11-27T00:00:{expires_at}"
    del after["tokens"][0]
    after |= {"taken": "2026-11-27T00:00:00Z", "seconds": 4.5}
    [found] = compare(before, after).differences
    assert (found.severity, found.kind) == (severity, "token")


@pytest.mark.parametrize(("phase", "kind"), [("packages", "packages"), ("code", "kernels")])
def test_what_the_second_verification_has_not_looked_at_is_not_compared(phase: str, kind: str) -> None:
    after = content()
    phase_of(after["verification"], phase)["verdict"] = "skipped"
    found = compare(content(), after)
    assert (shown(found), [each["name"] for each in found.not_compared]) == ([], [kind])
    assert compare(after, content()).not_compared == []
    after["verification"]["checks"][0]["verdict"] = "failed"
    assert compare(content(), after).not_compared == []  # the check's failure is a loss


def test_the_wait_for_room_is_no_part_of_a_start() -> None:
    after = content()
    start = phase_of(after["verification"], "start")
    start["seconds"] += 100
    start["details"]["waited_for_room"] = 100.0
    assert shown(compare(content(), after)) == []


def test_a_verification_from_before_the_first_snapshot_is_not_compared() -> None:
    """Nobody has verified the hub again, so nothing says that it is as good as before."""
    before, after = content(), {**content(), "taken": LATER}
    before["verification"]["began"] = after["verification"]["began"] = "2000-01-01T00:00:00Z"
    phase_of(after["verification"], "start")["seconds"] += 100
    found = compare(before, after)
    assert shown(found) == []
    [missing] = found.not_compared
    assert missing["message"].endswith("the hub was not verified again since the first snapshot.")
    after["verification"]["began"] = LATER
    found = compare(before, after)
    assert [each[1] for each in shown(found)] == ["start_time"]
    assert found.not_compared == []


def test_a_verification_of_the_old_version_is_not_compared() -> None:
    """It is from between the first snapshot and the upgrade."""
    before, after = content(), {**content(), "taken": LATER}
    after["hub"]["version"] = "6.1.1"
    after["verification"] |= {"began": "2026-11-26T19:00:00Z", "version": before["hub"]["version"]}
    phase_of(after["verification"], "start")["seconds"] += 100
    found = compare(before, after)
    assert "start_time" not in [each[1] for each in shown(found)]
    assert "verified as JupyterHub 5.5.3, and runs 6.1.1 now" in found.not_compared[0]["message"]
    after["verification"]["version"] = "6.1.1"
    assert "start_time" in [each[1] for each in shown(compare(before, after))]


def test_phases_that_were_not_taken_say_nothing_about_packages_and_kernels() -> None:
    after = content()
    for name in ("code", "packages", "resources", "start"):
        phase_of(after["verification"], name).update(verdict="skipped", details={}, seconds=0.0)
    found = compare(content(), after)
    assert (shown(found), found.starts) == ([], [])


def test_a_hub_that_was_not_verified_again_is_lost() -> None:
    after = content()
    after["verification"] |= {"not_verified": "no_result", "verdict": "failed", "phases": [], "checks": []}
    assert shown(compare(content(), after)) == [
        ("lost", "check", "(hub)", "verdict"),
        ("lost", "check", "lab", ""),
    ]


def test_a_verification_that_is_missing_is_said_once() -> None:
    before, after = content(), content()
    after["verification"] = None
    for first, second, word in ((before, after, "none is given"), (after, before, "the first snapshot has none")):
        found = compare(first, second)
        assert shown(found) == []
        [missing] = found.not_compared
        assert missing["name"] == "verification"
        assert word in missing["message"]
    assert compare(after, after).not_compared == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[]), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def broken_verifications(draw: st.DrawFn) -> Any:
    """The row of a hub in which something has been replaced by something else."""
    row: Any = verification()
    place = row
    for _depth in range(draw(st.integers(0, 7))):
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 3)) == 0:
            place[key] = draw(JSON)
            return row
        place = place[key]
    return draw(JSON)


@given(broken_verifications(), broken_verifications())
@settings(max_examples=200, deadline=None)
def test_a_verification_of_whatever_form_breaks_nothing(before: Any, after: Any) -> None:
    found = compare(content() | {"verification": before}, content() | {"verification": after})
    shown(found)
    json.dumps(found.starts, allow_nan=False)


def test_a_start_that_took_no_time_has_no_share() -> None:
    before = content()
    phase_of(before["verification"], "start")["seconds"] = 1e-300
    assert compare(before, content()).starts[0]["share"] is None


def test_the_addresses_of_the_hubs_are_not_compared() -> None:
    after = content()
    after["hub"]["url"] = "https://new.example.org/jhub/"
    after["routes"] = []
    assert shown(compare(content(), after)) == []


def test_the_versions_of_jupyterhub_s_own_classes_are_the_hub_s() -> None:
    before, after = content(), content()
    for each, version in ((before, "5.5.4"), (after, "5.5.5")):
        each["hub"] |= {"version": version, "authenticator": {"class": "jupyterhub.auth.Dummy", "version": version}}
    assert shown(compare(before, after)) == [("changed", "version", "hub", "version")]


def test_a_long_value_is_cut_off() -> None:
    after = content()
    after["servers"]["alice"][""]["user_options"]["profile"] = ["x" * 100_000]
    [difference] = compare(content(), after).differences
    assert len(difference.shown()["after"]) < 2100
    assert len(difference.message) < 1000
