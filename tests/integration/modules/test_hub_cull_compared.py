# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hub_cull and jupyterhub-idle-culler do the same on the same hubs, except where jupyterhub-idle-culler is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes.recording_hub import (
    TOKEN,
    DeleteAnswer,
    Model,
    Path,
    RecordingHub,
    Request,
    recording_hub,
    seconds_ago,
    server_model,
    user_model,
)
from support.idle_culler import IdleCuller, running_idle_culler
from support.runner import run_in_process, task

LIMIT = 3600
IDLE, BUSY = 2 * LIMIT, 60
MARGIN = 30
"""Seconds between a generated time and a limit, so that the time of a pass does not matter."""
IDLE_CULLER_NAMES = {"idle_timeout": "inactive_limit", "page_size": "api_page_size"}


@pytest.fixture(scope="module")
def idle_culler() -> Iterator[IdleCuller]:
    with running_idle_culler() as running:
        yield running


@pytest.fixture(scope="module")
def fake() -> Iterator[RecordingHub]:
    with recording_hub() as running:
        yield running


def run_idle_culler(idle_culler: IdleCuller, fake: RecordingHub, **options: Any) -> list[str]:
    """One pass of jupyterhub-idle-culler, with hub_cull's names of the options. Returns its warnings and errors."""
    options = {"idle_timeout": LIMIT, **options}
    renamed = {IDLE_CULLER_NAMES.get(name, name): value for name, value in options.items()}
    return idle_culler.run_pass(fake.api, TOKEN, **renamed)


def run_hub_cull(fake: RecordingHub, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    options = {"hub_url": fake.url, "api_token": TOKEN, "idle_timeout": LIMIT, **options}
    return run_in_process(task("hub_cull", {"check_mode": check_mode}, **options))


# Generated users and servers. Times are seconds before now, None is null.


@dataclass(frozen=True)
class DrawnServer:
    name: str
    idle: float | None
    age: float | None
    ready: bool
    pending: str | None
    stopped: bool
    status: int
    """Of the answer to its stop."""

    @property
    def model(self) -> Model:
        state = {"ready": self.ready, "pending": self.pending, "stopped": self.stopped}
        return server_model(self.name, self.idle, **state, started=seconds_ago(self.age))


@dataclass(frozen=True)
class DrawnUser:
    name: str
    idle: float | None
    age: float | None
    admin: bool
    groups: list[str]
    servers: list[DrawnServer]
    status: int

    @property
    def model(self) -> Model:
        servers = [one.model for one in self.servers]
        return user_model(
            self.name, *servers, idle=self.idle, created=seconds_ago(self.age), admin=self.admin, groups=self.groups
        )


@dataclass(frozen=True)
class Case:
    options: dict[str, Any]
    users: list[DrawnUser]
    crowd: int = 0
    """The number of busy users before them, so that the list also has pages by default."""

    def set_up(self, fake: RecordingHub) -> None:
        crowd = [user_model(f"busy-{number}", server_model()) for number in range(self.crowd)]
        fake.set_users(*crowd, *(one.model for one in self.users), delete_answers=self.delete_answers)

    @property
    def delete_answers(self) -> dict[Path, DeleteAnswer]:
        servers = {
            path_to(one.name, each.name): DeleteAnswer(each.status) for one in self.users for each in one.servers
        }
        return servers | {path_to(one.name): DeleteAnswer(one.status) for one in self.users}

    def is_read_after(self, one: Request) -> bool:
        """Whether hub_cull reads a user after a DELETE to see how it has ended. jupyterhub-idle-culler does not."""
        unclear = {path[1] for path, answer in self.delete_answers.items() if answer.status in (202, 404)}
        return one.method == "GET" and len(one.path) == 2 and one.path[1] in unclear

    @property
    def refused(self) -> set[Path]:
        return {path for path, answer in self.delete_answers.items() if answer.status >= 400}


# No letter is a hexadecimal digit, so a per cent sign never begins a quoted character.
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
    # jupyterhub-idle-culler's --max-age ignores the switches.
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
        DrawnServer,
        name=st.just("") | names(ODD),
        idle=seconds,
        age=seconds,
        ready=st.sampled_from([True] * 11 + [False]),
        pending=st.sampled_from([None] * 11 + ["spawn", "stop", "check"]),
        stopped=st.sampled_from([False] * 7 + [True]),
        # jupyterhub-idle-culler leaves a user whose server is slow to stop to a later pass.
        status=st.sampled_from([204] * 7 + refusals + [202] * 5 * (not cull_users)),
    )
    users = st.builds(
        DrawnUser,
        # jupyterhub-idle-culler does not quote the names of users that it deletes.
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


def path_to(owner: str, name: str | None = None) -> Path:
    """The API path to a user's server, or without ``name`` to the user."""
    if name is None:
        return ("users", owner)
    return ("users", owner, "servers", name) if name else ("users", owner, "server")


def by_path(items: list[dict[str, Any]]) -> dict[Path, tuple[Any, ...]]:
    """For each culled item its rule and the first word of its reason, by its path."""
    return {path_to(item["user"], item.get("server_name")): (item["rule"], item["reason"].split()[0]) for item in items}


def test_both_cull_the_same(idle_culler: IdleCuller, fake: RecordingHub) -> None:
    seen: Counter[str] = Counter()

    @settings(deadline=None, max_examples=250)
    @given(cases(), st.booleans())
    def same(case: Case, recheck: bool) -> None:
        case.set_up(fake)
        run_idle_culler(idle_culler, fake, **case.options)
        wanted, asked = (fake.stops, fake.deletions), list(fake.requests)
        case.set_up(fake)
        predicted = run_hub_cull(fake, check_mode=True, recheck=recheck, **case.options)
        assert not fake.writes
        case.set_up(fake)
        done = run_hub_cull(fake, recheck=recheck, **case.options)
        assert (fake.stops, fake.deletions) == wanted
        if not recheck:
            assert len([one for one in fake.requests if not case.is_read_after(one)]) <= len(asked)
        # The pass does what check mode predicted, except what the hub refuses.
        servers, users, refused = by_path(predicted["culled"]), by_path(predicted["users_deleted"]), case.refused
        assert sorted(servers) == sorted(path_to(owner, name) for owner, name, _removes in fake.stops)
        owners = {path_to(path[1]) for path in refused & servers.keys()}
        assert by_path(done["culled"]) == {path: why for path, why in servers.items() if path not in refused}
        assert by_path(done["users_deleted"]) == {
            path: why for path, why in users.items() if path not in refused | owners
        }
        assert predicted["failed"] is False
        assert predicted["changed"] is bool(servers or users)
        failures = refused & (servers.keys() | {path for path in users if path not in owners})
        # After a 404, hub_cull reads the server or the user. Here it is still there, so the token may not delete it.
        assert done["failed"] is bool(failures)
        # A further pass has nothing to do, except what the hub refuses.
        fake.requests.clear()
        run_hub_cull(fake, recheck=recheck, **case.options)
        assert {one.path for one in fake.requests if one.method == "DELETE"} <= refused
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
                "followed": sum(case.delete_answers[path].status == 202 for path in servers),
                "kept": sum(predicted["kept_count"].values()),
                "users kept": sum(predicted["users_kept_count"].values()),
                **{reason: predicted["kept_count"][reason] for reason in ("pending", "not_ready", "unknown")},
                "pages": sum(one.path == ("users",) for one in asked) - 1,
                "by age": sum(why == "age" for _rule, why in servers.values()),
            }
        )

    same()
    assert all(seen.values()), f"the generated hubs lack something: {seen}"


# Where jupyterhub-idle-culler is wrong, and hub_cull does something else


@pytest.mark.parametrize(("name", "other"), [("q?r", "q"), ("q#r", "q"), ("%71", "q")])
def test_idle_culler_deletes_another_user(name: str, other: str, idle_culler: IdleCuller, fake: RecordingHub) -> None:
    hub = (user_model(name, idle=IDLE), user_model(other, server_model(idle=BUSY), idle=BUSY))
    fake.set_users(*hub)
    assert run_idle_culler(idle_culler, fake, cull_users=True) == []
    assert (fake.deletions, list(fake.users)) == ([other], [name])
    fake.set_users(*hub)
    assert by_path(run_hub_cull(fake, cull_users=True)["users_deleted"]).keys() == {("users", name)}
    assert (fake.deletions, list(fake.users)) == ([name], [other])


@pytest.mark.parametrize("name", ["a b", "zoë"])
def test_idle_culler_cannot_delete_a_user(name: str, idle_culler: IdleCuller, fake: RecordingHub) -> None:
    fake.set_users(user_model(name, idle=IDLE))
    [warning] = run_idle_culler(idle_culler, fake, cull_users=True)
    assert warning.startswith(f"Error processing {name}: HTTP 40")
    assert list(fake.users) == [name]
    fake.set_users(user_model(name, idle=IDLE))
    assert run_hub_cull(fake, cull_users=True)["failed"] is False
    assert (fake.deletions, list(fake.users)) == ([name], [])


def test_a_user_name_like_the_path_to_a_server(idle_culler: IdleCuller, fake: RecordingHub) -> None:
    hub = (user_model("alice", server_model(idle=BUSY), idle=BUSY), user_model("alice/server", idle=IDLE))
    fake.set_users(*hub)
    assert run_idle_culler(idle_culler, fake, cull_users=True) == []
    assert fake.stops == [("alice", "", False)]
    fake.set_users(*hub)
    result = run_hub_cull(fake, cull_users=True)
    assert fake.writes == []
    [failure] = result["failures"]
    assert (failure["user"], failure["server_name"], failure["failure"]["code"]) == ("alice/server", None, "invalid")
    assert (result["failed"], result["users_deleted"]) == (True, [])


def test_names_with_a_slash(idle_culler: IdleCuller, fake: RecordingHub) -> None:
    """JupyterHub itself accepts no slash in a user's name, but an authenticator may."""
    hub = (
        user_model("alice", server_model("a/b", idle=IDLE)),
        user_model("x/y", server_model(idle=IDLE), server_model("z", idle=IDLE), idle=IDLE),
    )
    fake.set_users(*hub)
    # jupyterhub-idle-culler names the first of a user's servers that fails.
    assert [warning.partition(": ")[0] for warning in run_idle_culler(idle_culler, fake, cull_users=True)] == [
        "Error processing alice",
        "Error processing x/y",
    ]
    assert sorted(fake.writes) == [
        "DELETE users/alice/servers/a/b",
        "DELETE users/x/y/server",
        "DELETE users/x/y/servers/z",
    ]
    assert [len([one for one in each["servers"].values() if one["ready"]]) for each in fake.users.values()] == [1, 2]
    fake.set_users(*hub)
    assert run_hub_cull(fake, cull_users=True)["failed"] is False
    assert fake.stops == [("alice", "a/b", False), ("x/y", "", False), ("x/y", "z", False)]
    assert fake.deletions == ["x/y"]
    assert not fake.users["alice"]["servers"]["a/b"]["ready"]


@pytest.mark.parametrize(("name", "switch"), [("", "cull_default_servers"), ("lab", "cull_named_servers")])
def test_max_age_and_server_switches(name: str, switch: str, idle_culler: IdleCuller, fake: RecordingHub) -> None:
    hub = (user_model("alice", server_model(name, idle=BUSY, age=IDLE)),)
    fake.set_users(*hub)
    assert run_idle_culler(idle_culler, fake, max_age=LIMIT, **{switch: False}) == []
    assert fake.stops == [("alice", name, False)]
    fake.set_users(*hub)
    result = run_hub_cull(fake, max_age=LIMIT, **{switch: False})
    assert fake.writes == []
    assert result["kept_count"]["switched_off"] == 1


def test_max_age_and_cull_admin_users(idle_culler: IdleCuller, fake: RecordingHub) -> None:
    hub = (user_model("root", idle=BUSY, age=IDLE, admin=True),)
    options = {"max_age": LIMIT, "cull_users": True, "cull_admin_users": False}
    fake.set_users(*hub)
    assert run_idle_culler(idle_culler, fake, **options) == []
    assert fake.deletions == ["root"]
    fake.set_users(*hub)
    assert run_hub_cull(fake, **options)["users_kept_count"]["admin"] == 1
    assert fake.writes == []


def test_a_server_without_any_time(idle_culler: IdleCuller, fake: RecordingHub) -> None:
    hub = (user_model("alice", server_model(idle=None), server_model("lab", idle=IDLE), idle=IDLE),)
    fake.set_users(*hub)
    [warning] = run_idle_culler(idle_culler, fake, cull_users=True)
    assert warning.startswith("Error processing alice: AttributeError")
    assert fake.stops == [("alice", "lab", False)]
    fake.set_users(*hub)
    result = run_hub_cull(fake, cull_users=True)
    assert result["failed"] is False
    assert result["kept_count"]["unknown"] == 1
    assert result["users_kept_count"]["has_servers"] == 1
    assert (fake.stops, fake.deletions) == ([("alice", "lab", False)], [])


def test_a_user_whose_server_is_slow_to_stop(idle_culler: IdleCuller, fake: RecordingHub) -> None:
    hub = (user_model("alice", server_model(idle=IDLE), idle=IDLE),)
    slow = {("users", "alice", "server"): DeleteAnswer(202, pending_seconds=0.5)}
    fake.set_users(*hub, delete_answers=slow)
    assert run_idle_culler(idle_culler, fake, cull_users=True) == ["Server alice is slow to stop"]
    assert (fake.stops, fake.deletions) == ([("alice", "", False)], [])
    fake.set_users(*hub, delete_answers=slow)
    assert len(run_hub_cull(fake, cull_users=True)["users_deleted"]) == 1
    assert (fake.stops, fake.deletions) == ([("alice", "", False)], ["alice"])


def test_concurrency(idle_culler: IdleCuller, fake: RecordingHub) -> None:
    owners = [f"user-{number}" for number in range(8)]
    hub = [user_model(owner, server_model(idle=IDLE)) for owner in owners]

    def slow(concurrent: int) -> dict[Path, DeleteAnswer]:
        """Answers that wait for ``concurrent`` DELETEs, and leave time for one more to come."""
        return {("users", owner, "server"): DeleteAnswer(delay_seconds=0.1, wait_for=concurrent) for owner in owners}

    fake.set_users(*hub, delete_answers=slow(1))
    assert run_idle_culler(idle_culler, fake, concurrency=8) == []
    assert (len(fake.stops), fake.max_concurrent_deletes) == (8, 1)
    for concurrency in (8, 3):
        fake.set_users(*hub, delete_answers=slow(concurrency))
        assert len(run_hub_cull(fake, concurrency=concurrency)["culled"]) == 8
        assert fake.max_concurrent_deletes == concurrency
