# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hub_cull and jupyterhub-idle-culler are shown the same hubs, and do the same, but for where the peer is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import doors
from support.fakes.recording_hub import (
    TOKEN,
    Model,
    Path,
    Recorded,
    RecordingHub,
    Reply,
    ago,
    recording_hub,
    server,
    user,
)
from support.peer_culler import Peer, running_peer

LIMIT = 3600
IDLE, BUSY = 2 * LIMIT, 60
MARGIN = 30
"""Seconds that generated times keep off the limits: the moment of a pass must not matter."""
THEIR_NAMES = {"idle_timeout": "inactive_limit", "page_size": "api_page_size"}


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with running_peer() as running:
        yield running


@pytest.fixture(scope="module")
def fake() -> Iterator[RecordingHub]:
    with recording_hub() as running:
        yield running


def theirs(peer: Peer, fake: RecordingHub, **options: Any) -> list[str]:
    """A pass of the peer's, with options by our names; returns what it complained of."""
    options = {"idle_timeout": LIMIT, **options}
    return peer.cull(fake.api, TOKEN, **{THEIR_NAMES.get(name, name): value for name, value in options.items()})


def ours(fake: RecordingHub, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    options = {"hub_url": fake.url, "api_token": TOKEN, "idle_timeout": LIMIT, **options}
    return doors.perform(doors.task("hub_cull", {"check_mode": check_mode}, **options))


# What is generated: times in seconds before now, None for null


@dataclass(frozen=True)
class AServer:
    name: str
    idle: float | None
    age: float | None
    ready: bool
    pending: str | None
    stopped: bool
    status: int
    """What its stop is answered."""

    @property
    def model(self) -> Model:
        state = {"ready": self.ready, "pending": self.pending, "stopped": self.stopped}
        return server(self.name, self.idle, **state, started=ago(self.age))


@dataclass(frozen=True)
class AUser:
    name: str
    idle: float | None
    age: float | None
    admin: bool
    groups: list[str]
    servers: list[AServer]
    status: int

    @property
    def model(self) -> Model:
        servers = [one.model for one in self.servers]
        return user(self.name, *servers, idle=self.idle, created=ago(self.age), admin=self.admin, groups=self.groups)


@dataclass(frozen=True)
class Case:
    options: dict[str, Any]
    users: list[AUser]
    crowd: int = 0
    """So many busy users come before them, so that the list has pages by default, too."""

    def show(self, fake: RecordingHub) -> None:
        crowd = [user(f"busy-{number}", server()) for number in range(self.crowd)]
        fake.show(*crowd, *(one.model for one in self.users), replies=self.replies)

    @property
    def replies(self) -> dict[Path, Reply]:
        servers = {path_of(one.name, each.name): Reply(each.status) for one in self.users for each in one.servers}
        return servers | {path_of(one.name): Reply(one.status) for one in self.users}

    def follows(self, one: Recorded) -> bool:
        """Whether it is a look at a server that was slow to stop, for which the peer does not look."""
        slow = {path[1] for path, reply in self.replies.items() if reply.status == 202}
        return one.method == "GET" and len(one.path) == 2 and one.path[1] in slow

    @property
    def refused(self) -> set[Path]:
        return {path for path, reply in self.replies.items() if reply.status >= 400}


# No letter of these is a hexadecimal digit, so that a per cent sign is one.
PLAIN = "gkzGKZ@+%~_-'."
ODD = PLAIN + " ?#&=;:,éß日🐍"


def names(alphabet: str) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    timeout = draw(st.integers(60, 20_000))
    max_age = draw(st.just(0) | st.integers(60, 20_000))
    limits = [timeout, max_age] if max_age else [timeout]
    cull_users = draw(st.sampled_from([True, True, False]))
    # Its --max-age knows no switches.
    switch = st.just(True) if max_age else st.sampled_from([True, True, True, False])
    options = {
        "idle_timeout": timeout,
        "max_age": max_age,
        "cull_users": cull_users,
        **{f"cull_{noun}": draw(switch) for noun in ("admin_users", "default_servers", "named_servers")},
        "remove_named_servers": draw(st.booleans()),
        "concurrency": draw(st.integers(1, 12)),
    }
    if draw(st.booleans()):
        options["page_size"] = draw(st.sampled_from([1, 2, 3, 7, 50, 200, 1000]))
    near = [limit + distance for limit in limits for distance in (-MARGIN, MARGIN)]
    long = st.integers(max(limits) + MARGIN, 50_000)
    seconds = long | long | st.none() | st.sampled_from([-120, 0, *near]) | st.integers(-120, 50_000)
    seconds = seconds.filter(lambda drawn: drawn is None or all(abs(drawn - limit) >= MARGIN for limit in limits))
    refusals = [400, 404, 500]
    servers = st.builds(
        AServer,
        name=st.just("") | names(ODD),
        idle=seconds,
        age=seconds,
        ready=st.sampled_from([True] * 11 + [False]),
        pending=st.sampled_from([None] * 11 + ["spawn", "stop", "check"]),
        stopped=st.sampled_from([False] * 7 + [True]),
        # It leaves a user whose server is slow to stop to a later pass.
        status=st.sampled_from([204] * 7 + refusals + [202] * 5 * (not cull_users)),
    )
    users = st.builds(
        AUser,
        # It does not quote the names of users whom it deletes.
        name=names(PLAIN if cull_users else ODD),
        idle=seconds,
        age=seconds,
        admin=st.booleans(),
        groups=st.lists(st.sampled_from(["staff", "gpu"]), unique=True),
        servers=st.lists(servers, max_size=4, unique_by=lambda one: one.name),
        status=st.sampled_from([204] * 12 + refusals),
    )
    found = draw(st.lists(users, min_size=1, max_size=10, unique_by=lambda one: one.name))
    return Case(options, found, draw(st.sampled_from([0, 0, 0, 0, 0, 70])))


def path_of(owner: str, name: str | None = None) -> Path:
    """Of a server, or without one of a user."""
    if name is None:
        return ("users", owner)
    return ("users", owner, "servers", name) if name else ("users", owner, "server")


def named(items: list[dict[str, Any]]) -> dict[Path, tuple[Any, ...]]:
    """What went, by its path, and on what ground."""
    return {path_of(item["user"], item.get("server_name")): (item["rule"], item["reason"].split()[0]) for item in items}


def test_both_do_the_same(peer: Peer, fake: RecordingHub) -> None:
    seen: Counter[str] = Counter()

    @settings(deadline=None, max_examples=250)
    @given(cases(), st.booleans())
    def same(case: Case, recheck: bool) -> None:
        case.show(fake)
        theirs(peer, fake, **case.options)
        wanted, asked = (fake.stops, fake.deletions), list(fake.recorded)
        case.show(fake)
        predicted = ours(fake, check_mode=True, recheck=recheck, **case.options)
        assert not fake.writes
        case.show(fake)
        done = ours(fake, recheck=recheck, **case.options)
        assert (fake.stops, fake.deletions) == wanted
        if not recheck:
            assert len([one for one in fake.recorded if not case.follows(one)]) <= len(asked)
        # What was predicted was done, but for what the hub refused.
        servers, users, refused = named(predicted["culled"]), named(predicted["users_deleted"]), case.refused
        assert sorted(servers) == sorted(path_of(owner, name) for owner, name, _removes in fake.stops)
        owners = {path_of(path[1]) for path in refused & servers.keys()}
        assert named(done["culled"]) == {path: why for path, why in servers.items() if path not in refused}
        assert named(done["users_deleted"]) == {
            path: why for path, why in users.items() if path not in refused | owners
        }
        assert predicted["failed"] is False
        assert predicted["changed"] is bool(servers or users)
        failures = refused & (servers.keys() | {path for path in users if path not in owners})
        assert done["failed"] is any(case.replies[path].status != 404 for path in failures)
        # And nothing is left to do, but for what was refused.
        fake.recorded.clear()
        ours(fake, recheck=recheck, **case.options)
        assert {one.path for one in fake.recorded if one.method == "DELETE"} <= refused
        stops, deletions = wanted
        stopped = Counter(owner for owner, _server, _removes in stops)
        seen.update(
            {
                "deletions after stops": sum(stopped[owner] > 1 for owner in deletions),
                "spared by a refusal": len(owners & users.keys()) if not recheck else 0,
                "stops": len(stops),
                "removals": sum(removes for _user, _server, removes in stops),
                "deletions": len(deletions),
                "refused": len(failures),
                "followed": sum(case.replies[path].status == 202 for path in servers),
                "kept": sum(predicted["kept_count"].values()),
                "users kept": sum(predicted["users_kept_count"].values()),
                **{reason: predicted["kept_count"][reason] for reason in ("pending", "not_ready", "unknown")},
                "pages": sum(one.path == ("users",) for one in asked) - 1,
                "by age": sum(why == "age" for _rule, why in servers.values()),
            }
        )

    same()
    assert all(seen.values()), f"they were shown too little: {seen}"


# What the peer does otherwise, and wrong


@pytest.mark.parametrize(("name", "other"), [("q?r", "q"), ("q#r", "q"), ("%71", "q")])
def test_the_peer_deletes_a_user_for_another(name: str, other: str, peer: Peer, fake: RecordingHub) -> None:
    hub = (user(name, idle=IDLE), user(other, server(idle=BUSY), idle=BUSY))
    fake.show(*hub)
    assert theirs(peer, fake, cull_users=True) == []
    assert (fake.deletions, list(fake.users)) == ([other], [name])
    fake.show(*hub)
    assert named(ours(fake, cull_users=True)["users_deleted"]).keys() == {("users", name)}
    assert (fake.deletions, list(fake.users)) == ([name], [other])


@pytest.mark.parametrize("name", ["a b", "zoë"])
def test_the_peer_cannot_delete_a_user(name: str, peer: Peer, fake: RecordingHub) -> None:
    fake.show(user(name, idle=IDLE))
    [complaint] = theirs(peer, fake, cull_users=True)
    assert complaint.startswith(f"Error processing {name}: HTTP 40")
    assert list(fake.users) == [name]
    fake.show(user(name, idle=IDLE))
    assert ours(fake, cull_users=True)["failed"] is False
    assert (fake.deletions, list(fake.users)) == ([name], [])


def test_a_user_s_name_that_is_another_s_server(peer: Peer, fake: RecordingHub) -> None:
    hub = (user("alice", server(idle=BUSY), idle=BUSY), user("alice/server", idle=IDLE))
    fake.show(*hub)
    assert theirs(peer, fake, cull_users=True) == []
    assert fake.stops == [("alice", "", False)]
    fake.show(*hub)
    result = ours(fake, cull_users=True)
    assert fake.writes == []
    [failure] = result["failures"]
    assert (failure["user"], failure["server_name"], failure["failure"]["code"]) == ("alice/server", None, "invalid")
    assert (result["failed"], result["users_deleted"]) == (True, [])


def test_slashes(peer: Peer, fake: RecordingHub) -> None:
    """A hub has no user with a slash in the name by itself; its authenticator may have one."""
    hub = (user("alice", server("a/b", idle=IDLE)), user("x/y", server(idle=IDLE), server("z", idle=IDLE), idle=IDLE))
    fake.show(*hub)
    # Of a user's servers, the first that fails is told.
    assert [complaint.partition(": ")[0] for complaint in theirs(peer, fake, cull_users=True)] == [
        "Error processing alice",
        "Error processing x/y",
    ]
    assert sorted(fake.writes) == [
        "DELETE users/alice/servers/a/b",
        "DELETE users/x/y/server",
        "DELETE users/x/y/servers/z",
    ]
    assert [len([one for one in each["servers"].values() if one["ready"]]) for each in fake.users.values()] == [1, 2]
    fake.show(*hub)
    assert ours(fake, cull_users=True)["failed"] is False
    assert fake.stops == [("alice", "a/b", False), ("x/y", "", False), ("x/y", "z", False)]
    assert fake.deletions == ["x/y"]
    assert not fake.users["alice"]["servers"]["a/b"]["ready"]


@pytest.mark.parametrize(("name", "switch"), [("", "cull_default_servers"), ("lab", "cull_named_servers")])
def test_max_age_and_the_kinds_of_servers(name: str, switch: str, peer: Peer, fake: RecordingHub) -> None:
    hub = (user("alice", server(name, idle=BUSY, age=IDLE)),)
    fake.show(*hub)
    assert theirs(peer, fake, max_age=LIMIT, **{switch: False}) == []
    assert fake.stops == [("alice", name, False)]
    fake.show(*hub)
    result = ours(fake, max_age=LIMIT, **{switch: False})
    assert fake.writes == []
    assert result["kept_count"]["switched_off"] == 1


def test_max_age_and_admins(peer: Peer, fake: RecordingHub) -> None:
    hub = (user("root", idle=BUSY, age=IDLE, admin=True),)
    options = {"max_age": LIMIT, "cull_users": True, "cull_admin_users": False}
    fake.show(*hub)
    assert theirs(peer, fake, **options) == []
    assert fake.deletions == ["root"]
    fake.show(*hub)
    assert ours(fake, **options)["users_kept_count"]["admin"] == 1
    assert fake.writes == []


def test_a_server_of_which_nothing_is_known(peer: Peer, fake: RecordingHub) -> None:
    hub = (user("alice", server(idle=None), server("lab", idle=IDLE), idle=IDLE),)
    fake.show(*hub)
    [complaint] = theirs(peer, fake, cull_users=True)
    assert complaint.startswith("Error processing alice: AttributeError")
    assert fake.stops == [("alice", "lab", False)]
    fake.show(*hub)
    result = ours(fake, cull_users=True)
    assert result["failed"] is False
    assert result["kept_count"]["unknown"] == 1
    assert result["users_kept_count"]["has_servers"] == 1
    assert (fake.stops, fake.deletions) == ([("alice", "lab", False)], [])


def test_a_user_whose_server_is_slow_to_stop(peer: Peer, fake: RecordingHub) -> None:
    hub = (user("alice", server(idle=IDLE), idle=IDLE),)
    slow = {("users", "alice", "server"): Reply(202, lasts=0.5)}
    fake.show(*hub, replies=slow)
    assert theirs(peer, fake, cull_users=True) == ["Server alice is slow to stop"]
    assert (fake.stops, fake.deletions) == ([("alice", "", False)], [])
    fake.show(*hub, replies=slow)
    assert len(ours(fake, cull_users=True)["users_deleted"]) == 1
    assert (fake.stops, fake.deletions) == ([("alice", "", False)], ["alice"])


def test_stops_one_after_another(peer: Peer, fake: RecordingHub) -> None:
    owners = [f"user-{number}" for number in range(8)]
    hub = [user(owner, server(idle=IDLE)) for owner in owners]

    def slow(at_once: int) -> dict[Path, Reply]:
        """Time for one more, where so many are allowed."""
        return {("users", owner, "server"): Reply(seconds=0.1, at_once=at_once) for owner in owners}

    fake.show(*hub, replies=slow(1))
    assert theirs(peer, fake, concurrency=8) == []
    assert (len(fake.stops), fake.most_at_once) == (8, 1)
    for concurrency in (8, 3):
        fake.show(*hub, replies=slow(concurrency))
        assert len(ours(fake, concurrency=concurrency)["culled"]) == 8
        assert fake.most_at_once == concurrency
