# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_group/flow: which writes a group's present state needs, and what other people change meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._group import flow as group_flow
from ansible_collections.hubops.jupyterhub.plugins.module_utils._group import model as group_model
from ansible_collections.hubops.jupyterhub.plugins.module_utils._group.flow import GroupSpec, group_batch
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    Conflict,
    HubError,
    HubFailure,
    Invalid,
    MissingScope,
    NotFound,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Group, User
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run

Model = dict[str, Any]
ALL_SCOPES = ("admin:groups", "groups", "delete:groups", "read:groups", "read:groups:name", "list:users",
              "read:users:name")  # fmt: skip


class HubOfGroups:
    """A hub that carries out each request as JupyterHub does. It records them, except the reads of groups."""

    def __init__(self, users: Sequence[str] = ("alice", "bob", "carol"), held: Sequence[str] = ALL_SCOPES) -> None:
        self.users = list(users)
        self.held_scopes = tuple(held)
        self.groups: dict[str, Model] = {}
        self.requests: list[Any] = []
        self.before_write: Callable[[str, str], None] = lambda method, path: None
        self.after_write: Callable[[str, str], None] = lambda method, path: None
        self.shows: tuple[str, ...] = ("users", "properties")
        self.lookups = 0

    def with_group(self, users: Sequence[str] = (), name: str = "g", **properties: Any) -> HubOfGroups:
        self.groups[name] = {"users": list(users), "properties": properties}
        return self

    def read_version(self) -> None:
        """Nothing depends on it."""

    def read_group(self, name: str, *, scope: str) -> Group:
        assert scope == "read:groups:name"
        if name not in self.groups:
            raise NotFound(f"The hub has no group '{name}'.", "")
        shown = {field: self.groups[name][field] for field in self.shows}
        return Group.from_model({"name": name, **shown})

    def read_user(self, name: str, *, scope: str) -> User:
        self.lookups += 1
        if name not in self.users:
            raise NotFound(f"The hub has no user '{name}'.", "")
        return User.from_model({"name": name}, str)

    def list_users(self, **_more: Any) -> Iterator[User]:
        self.requests.append("list")
        return (User.from_model({"name": name}, str) for name in self.users)

    def write(self, method: str, *path: str, scope: str, what: str, body: Model | None = None) -> tuple[int, Any]:
        self.before_write(method, "/".join(path))
        self.requests.append((method, "/".join(path[1:]), body))
        assert path[0] == "groups"
        assert scope in self.held_scopes
        name, *below = path[1:]
        if method == "POST" and not below:
            if name in self.groups:
                raise Conflict(f"Group {name} already exists", "")
            self.groups[name] = {"users": self._find(body or {"users": []}), "properties": {}}
        elif name not in self.groups:
            raise NotFound(f"The hub has no {what}.", "")
        elif not below:
            del self.groups[name]
        elif below == ["properties"]:
            self.groups[name]["properties"] = body
        else:
            users, members = self._find(body or {}), self.groups[name]["users"]
            members[:] = (
                [*members, *(each for each in users if each not in members)]
                if method == "POST"
                else [each for each in members if each not in users]
            )
        self.after_write(method, "/".join(path))
        return 200, None

    def _find(self, body: Model) -> list[str]:
        for name in body["users"]:
            if name.lower() not in self.users:
                raise Invalid(f"The hub refuses it: No such user: {name.lower()}.", "")
        return [name.lower() for name in body["users"]]


def perform(hub: HubOfGroups, *specs: GroupSpec, check_mode: bool = False, is_single: bool = False) -> Model:
    flow = group_batch(hub, specs, print, concurrency=2, is_single=is_single)  # type: ignore[arg-type]
    return run(flow, check_mode=check_mode)


def change(hub: HubOfGroups, name: str = "g", *, check_mode: bool = False, **wanted: Any) -> Model:
    """Take one group to its state. Raises its failure, and otherwise proves that a second run changes nothing."""
    spec = GroupSpec(name, **wanted)
    result = perform(hub, spec, check_mode=check_mode, is_single=True)
    assert result["groups"] == [result["group"]]
    if result.get("failed"):
        kinds = {kind.code: kind for kind in (Conflict, HubFailure, Invalid, MissingScope, NotFound)}
        raise kinds[result["failure"]["code"]](result["msg"], "").with_result(result)
    if not check_mode:
        again = perform(hub, spec)
        assert (again["changed"], again["actions"], again["groups"][0]["users"]) == (
            False, [], result["group"]["users"],
        )  # fmt: skip
    assert (result["changed"], result["group"]["changed"]) == (bool(result["actions"]),) * 2
    return result


def verbs(result: Model) -> list[str]:
    return [action["verb"] for action in result["actions"]]


def test_create_with_members_and_properties() -> None:
    hub = HubOfGroups()
    wanted = {"users": ("bob", "alice", "bob"), "properties": {"a": 1}}
    predicted = change(hub, check_mode=True, **wanted)
    assert hub.requests == []
    done = change(hub, **wanted)
    assert verbs(done) == verbs(predicted) == ["create", "change"]
    assert hub.requests == [
        # The hub creates no group if it does not know a member, so nothing is half done.
        ("POST", "g", {"users": ["bob", "alice"]}),
        ("PUT", "g/properties", {"a": 1}),
    ]
    assert done["group"] == predicted["group"] == {
        "name": "g", "state": "present", "users": ["alice", "bob"], "properties": {"a": 1}, "changed": True,
        "failure": None,
    }  # fmt: skip
    assert done["diff"] == predicted["diff"]
    assert done["diff"]["before"]["groups"] == [{"name": "g", "state": "absent", "users": None, "properties": None}]
    assert done["diff"]["after"]["groups"][0]["users"] == ["alice", "bob"]


def test_an_empty_group() -> None:
    hub = HubOfGroups()
    assert change(hub)["group"]["users"] == []
    assert hub.requests == [("POST", "g", None)]


def test_members_are_exact() -> None:
    hub = HubOfGroups().with_group(["alice", "bob"], size=1)
    done = change(hub, users=("bob", "carol"))
    assert hub.requests == [("POST", "g/users", {"users": ["carol"]}), ("DELETE", "g/users", {"users": ["alice"]})]
    assert [(action["verb"], action["why"]) for action in done["actions"]] == [
        ("add", "it lacks user 'carol'"),
        ("remove", "it has user 'alice' beside those of the task"),
    ]
    assert (done["group"]["users"], done["group"]["properties"]) == (["bob", "carol"], {"size": 1})
    assert change(hub, users=())["group"]["users"] == []


def test_append_removes_nobody() -> None:
    hub = HubOfGroups().with_group(["alice"])
    assert change(hub, users=("bob",), append=True)["group"]["users"] == ["alice", "bob"]
    assert change(hub, users=(), append=True)["changed"] is False
    assert change(hub, check_mode=True, users=("carol",), append=True)["group"]["users"] == ["alice", "bob", "carol"]


def test_what_the_task_does_not_name_stays() -> None:
    hub = HubOfGroups().with_group(["alice"], size=1)
    assert change(hub)["changed"] is False
    assert verbs(change(hub, properties={})) == ["change"]
    assert hub.groups["g"] == {"users": ["alice"], "properties": {}}


@pytest.mark.parametrize(
    ("present", "wanted", "changes"),
    [
        ({"a": 1}, {"a": True}, True),  # which Python takes as equal
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, False),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}, False),
        ({"1": "a"}, {1: "a"}, False),  # JSON has no other keys than text
    ],
)
def test_properties_are_compared_as_json(present: Model, wanted: Model, changes: bool) -> None:
    hub = HubOfGroups()
    hub.groups["g"] = {"users": [], "properties": present}
    assert change(hub, check_mode=True, properties=wanted)["changed"] is changes


def test_null_properties_are_none() -> None:
    """As a hub shows those of a group from before JupyterHub 3."""
    hub = HubOfGroups()
    hub.groups["g"] = {"users": [], "properties": None}
    assert change(hub, properties={})["group"]["properties"] == {}


def test_delete() -> None:
    hub = HubOfGroups().with_group(["alice"])
    done = change(hub, state="absent", users=("nobody",), properties={"a": 1})
    assert (verbs(done), hub.requests) == (["delete"], [("DELETE", "g", None)])
    assert done["group"]["state"] == "absent"
    assert done["group"]["users"] is done["group"]["properties"] is None


# What must not happen


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_no_group_has(name: str) -> None:
    with pytest.raises(Invalid, match="not a valid name"):
        GroupSpec(name)
    with pytest.raises(Invalid, match="not a valid name"):
        GroupSpec("g", users=(name,))


def test_properties_that_no_request_can_carry() -> None:
    with pytest.raises(Invalid, match="properties of group 'g' cannot be sent as JSON"):
        GroupSpec("g", properties={"a": float("nan")})


def test_a_group_is_declared_once() -> None:
    with pytest.raises(Invalid, match="group 'g' is declared twice"):
        perform(HubOfGroups(), GroupSpec("g"), GroupSpec("g", users=()))


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("exists", [True, False])
def test_nothing_is_written_if_a_user_does_not_exist(exists: bool, check_mode: bool) -> None:
    hub = HubOfGroups().with_group(["alice"]) if exists else HubOfGroups()
    with pytest.raises(NotFound, match="The hub has no users 'dave', 'eve', so the task does not change group 'g'"):
        change(hub, users=("bob", "dave", "eve"), properties={"a": 1}, check_mode=check_mode)
    assert hub.requests == []


def test_a_member_need_not_be_visible() -> None:
    """Only users who are to be added are looked up."""
    hub = HubOfGroups(users=["bob"]).with_group(["hidden"])
    assert change(hub, users=("hidden", "bob"))["group"]["users"] == ["bob", "hidden"]


def test_without_the_right_to_see_users_the_hub_decides() -> None:
    hub = HubOfGroups(held=("groups", "read:groups", "read:groups:name", "read:users:name!user=alice")).with_group()
    assert change(hub, users=("alice", "bob"))["group"]["users"] == ["alice", "bob"]
    assert hub.lookups == 1
    with pytest.raises(Invalid, match="No such user: dave"):
        change(hub, users=("dave",), append=True)


@pytest.mark.parametrize(
    ("lacks", "wanted", "exists"),
    [
        ("admin:groups", {"users": ("alice",)}, False),
        ("groups", {"users": ("alice",)}, True),
        ("groups", {"users": ()}, True),
        ("groups", {"properties": {}}, True),
        ("groups", {"properties": {"a": 1}}, False),
        ("delete:groups", {"state": "absent"}, True),
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_nothing_is_written_if_a_scope_is_missing(lacks: str, wanted: Model, exists: bool, check_mode: bool) -> None:
    def hub_with(*extra: str) -> HubOfGroups:
        hub = HubOfGroups(held=[*(scope for scope in ALL_SCOPES if scope != lacks), *extra])
        return hub.with_group(["bob"], size=1) if exists else hub

    hub = hub_with(f"{lacks}!group=other")
    with pytest.raises(MissingScope, match=f"lacks the scope '{lacks}' for group 'g'"):
        change(hub, check_mode=check_mode, **wanted)
    assert hub.requests == []
    # A scope for this group is enough.
    hub = hub_with(f"{lacks}!group=g")
    hub.write = lambda *path, **more: (200, None)  # type: ignore[method-assign]
    assert perform(hub, GroupSpec("g", **wanted), check_mode=True)["changed"] is True


def test_a_scope_is_not_needed_for_what_is_there() -> None:
    hub = HubOfGroups(held=["read:groups", "read:groups:name"]).with_group(["alice"], size=1)
    assert change(hub, users=("alice",), properties={"size": 1})["changed"] is False
    assert change(HubOfGroups(held=["read:groups:name"]), state="absent")["changed"] is False


def test_what_the_token_may_not_read() -> None:
    hub = HubOfGroups(held=["read:groups:name"]).with_group()
    hub.shows = ()
    assert change(hub)["group"]["users"] is None
    for wanted, word in (({"users": ()}, "users"), ({"properties": {}}, "properties")):
        with pytest.raises(MissingScope, match=f"may not read the {word} of group 'g'"):
            change(hub, **wanted)
    blind = HubOfGroups(held=["read:groups:name!group=other"])
    with pytest.raises(MissingScope, match="may not see group 'g'"):
        change(blind, state="absent")


def test_a_name_with_capitals() -> None:
    """The hub would take alice for Alice."""
    hub = HubOfGroups(users=["alice", "Alice", "Bob"]).with_group(["Alice"])
    for wanted in ({"users": ("ALICE",)}, {"users": ()}):
        with pytest.raises(Conflict, match=r"would take user 'alice' in place of user '(ALICE|Alice)'"):
            change(hub, **wanted)
    assert hub.requests == []
    assert change(hub, users=("Alice",))["changed"] is False
    with pytest.raises(Invalid, match=r"No such user: bob"):
        change(hub, users=("Alice", "Bob"))


# Many


def test_big_groups_take_few_requests() -> None:
    crowd = [f"u{number}" for number in range(1250)]
    hub = HubOfGroups(users=crowd)
    change(hub, users=tuple(crowd))
    assert hub.requests[0] == "list"
    assert [(method, path, len(body["users"])) for method, path, body in hub.requests[1:]] == [
        ("POST", "g", 500), ("POST", "g/users", 500), ("POST", "g/users", 250),
    ]  # fmt: skip
    assert hub.lookups == 0
    hub.requests.clear()
    done = change(hub, users=tuple(crowd[:100]))
    assert [len(body["users"]) for _method, _path, body in hub.requests] == [500, 500, 150]
    assert done["actions"][0]["why"] == ("it has users 'u100', 'u101', 'u102' and 497 more beside those of the task")


def test_all_groups_of_a_task_read_the_list_of_users_once() -> None:
    crowd = [f"u{number}" for number in range(300)]
    hub = HubOfGroups(users=crowd)
    perform(hub, *(GroupSpec(f"g{number}", users=tuple(crowd)) for number in range(5)))
    assert hub.requests.count("list") == 1
    with pytest.raises(NotFound, match="no user 'dave'"):
        change(hub, users=(*crowd, "dave"))


def test_a_group_that_fails_stops_no_other() -> None:
    hub = HubOfGroups().with_group(["alice"], name="old")
    result = perform(
        hub, GroupSpec("new", users=("alice",)), GroupSpec("bad", users=("dave",)), GroupSpec("old", state="absent")
    )
    assert result["failed"] is True
    assert "1 of 3 groups failed. The first, group 'bad': The hub has no user 'dave'" in result["msg"]
    assert [(one["name"], one["state"], one["changed"]) for one in result["groups"]] == [
        ("new", "present", True), ("bad", None, False), ("old", "absent", True),
    ]  # fmt: skip
    assert {tuple(one) for one in result["groups"]} != set()
    assert len({frozenset(one) for one in result["groups"]}) == 1, "each item has the same keys"
    assert result["group"] is None


# Other people


def test_somebody_else_creates_the_group_meanwhile() -> None:
    hub = HubOfGroups()
    hub.before_write = lambda method, path: None if "g" in hub.groups else hub.with_group(["bob"]) and None
    done = change(hub, users=("alice",))
    assert verbs(done) == ["add", "remove"]
    assert done["group"]["users"] == ["alice"]


def test_somebody_else_does_the_same_meanwhile() -> None:
    hub = HubOfGroups()
    hub.before_write = lambda method, path: None if "g" in hub.groups else hub.with_group(["alice"]) and None
    done = change(hub, users=("alice",))
    assert (verbs(done), done["changed"]) == ([], False)


def test_somebody_else_deletes_the_group_meanwhile() -> None:
    hub = HubOfGroups().with_group(["alice"])
    hub.before_write = lambda method, path: hub.groups.clear() if path == "groups/g/users" else None
    done = change(hub, users=("alice", "bob"))
    assert (verbs(done), done["group"]["users"]) == (["create"], ["alice", "bob"])
    hub = HubOfGroups().with_group()
    hub.before_write = lambda method, path: hub.groups.clear()
    assert change(hub, state="absent")["changed"] is False


def test_a_member_is_deleted_meanwhile() -> None:
    """The hub refuses the whole request because of a user who does not exist. The other users are still removed."""
    hub = HubOfGroups().with_group(["alice", "bob", "carol"])

    def delete_bob(method: str, path: str) -> None:
        if "bob" in hub.users:
            hub.users.remove("bob")
            hub.groups["g"]["users"].remove("bob")

    hub.before_write = delete_bob
    assert change(hub, users=("carol",))["group"]["users"] == ["carol"]


def test_a_user_who_is_to_be_added_is_deleted_meanwhile() -> None:
    hub = HubOfGroups().with_group(["alice"])
    hub.before_write = lambda method, path: hub.users.remove("bob") if "bob" in hub.users else None
    with pytest.raises(NotFound, match="no user 'bob'"):
        change(hub, users=("alice", "bob"))


def test_two_tasks_do_not_fight() -> None:
    hub = HubOfGroups().with_group(["alice"])
    hub.after_write = lambda method, path: hub.groups["g"]["users"].clear()
    with pytest.raises(Conflict, match="not as declared: it lacks user 'bob'") as error:
        change(hub, users=("bob",), append=True)
    assert len(hub.requests) == 1
    assert verbs(error.value.result) == ["add"]


def test_a_group_that_changes_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_flow, "_ATTEMPTS", 3)
    hub, others = HubOfGroups(users=[f"u{number}" for number in range(9)]).with_group(), iter(range(9))
    hub.after_write = lambda method, path: hub.groups["g"]["users"].append(f"u{next(others)}")
    with pytest.raises(Conflict, match="it has user"):
        change(hub, users=("u8",))
    assert len(hub.requests) == 3


def test_a_failure_in_the_middle_says_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = HubOfGroups().with_group(["alice"])

    def fail(method: str, path: str) -> None:
        if method == "DELETE":
            raise HubFailure("The hub failed with 500.", "")

    hub.before_write = fail
    with pytest.raises(HubFailure) as error:
        change(hub, users=("bob",))
    assert verbs(error.value.result) == ["add"]
    assert error.value.result["groups"][0]["changed"] is True


def test_the_same_refusal_again_is_the_failure() -> None:
    hub = HubOfGroups()

    def refuse(method: str, path: str) -> None:
        raise Invalid("The hub refuses it: Group management via API is disabled.", "")

    hub.before_write = refuse
    with pytest.raises(Invalid, match="disabled"):
        change(hub, users=("alice",))


def test_a_refusal_says_that_the_authenticator_may_manage_groups() -> None:
    hub = HubOfGroups().with_group()
    for write in (
        lambda: group_model.create_group(hub, "new", ["dave"]),  # type: ignore[arg-type]
        lambda: group_model.change_members(hub, "POST", "g", ["dave"]),  # type: ignore[arg-type]
    ):
        with pytest.raises(HubError) as error:
            write()
        assert "authenticator" in error.value.hint
