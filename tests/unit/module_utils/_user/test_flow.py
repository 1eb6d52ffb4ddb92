# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_user/flow: which actions a user's present state needs, the stop of servers before a deletion, and groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import polling
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    Conflict,
    HubFailure,
    Invalid,
    MissingScope,
    NotFound,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Timeout as TimedOut
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from ansible_collections.hubops.jupyterhub.plugins.module_utils._user.flow import UserFlow, UserSpec
from support.fakes.fake_hub_client import READY, STOPPING, FakeHubClient, Model

ALICE: Model = {
    "name": "alice",
    "admin": False,
    "groups": ["g"],
    "created": "then",
    "last_activity": None,
    "servers": {},
}
ADMIN = {**ALICE, "admin": True}
POWERFUL = ("groups", "admin:groups", "read:groups:name")
BUSY = {**ALICE, "servers": {"": READY, "gpu": READY}}


def perform(hub: FakeHubClient, state: str = "present", *, check_mode: bool = False, **more: Any) -> dict[str, Any]:
    lines: list[str] = more.pop("lines", [])
    flow = UserFlow(hub, UserSpec("alice", state, **more), lines.append)  # type: ignore[arg-type]
    return run(flow, check_mode=check_mode)


class HubOfUsers(FakeHubClient):
    """A hub that carries out each request."""

    def __init__(self, model: Model | None, groups: Sequence[str] = ("g",), held: Sequence[str] = POWERFUL) -> None:
        super().__init__(model)
        self.on_write = self._write
        self.name = model["name"] if model else "alice"
        self.groups = list(groups)
        self.held = list(held)
        self.others: list[str] = []
        self.asked: list[str] = []
        """The groups and other users that were read."""

    def get(self, *path: str, scope: str, what: str, **params: str) -> Model:
        if path == ("users", self.name):
            return super().get(*path, scope=scope, what=what)
        self.asked.append("/".join(path))
        if path[1] not in (self.groups if path[0] == "groups" else self.others):
            raise NotFound(f"The hub has no {what}.", "Check the name.", status=404)
        return {"name": path[1]}

    @property
    def held_scopes(self) -> tuple[str, ...]:
        return tuple(self.held)

    def _write(self, method: str, path: str, body: Model | None) -> None:
        if path.startswith("groups/"):
            group = path.split("/")[1]
            if path.endswith("/users"):
                assert group in self.groups, "nobody joins a group that does not exist"
                assert self.model is not None, "a user who does not exist joins no group"
                self.model = {**self.model, "groups": [*self.model["groups"], group]}
            elif group in self.groups:
                raise Conflict(f"Group {group} already exists.", "")
            else:
                self.groups.append(group)
        elif method == "DELETE" and path == "users/alice":
            assert self.model is not None
            assert not self.model["servers"], "a hub half-deletes a user whose server runs"
            self.model = None
        elif method == "DELETE":
            assert self.model is not None
            name = path.partition("/servers/")[2]
            left = {other: server for other, server in self.model["servers"].items() if other != name}
            self.model = {**self.model, "servers": left}
        else:
            self.model = {**ALICE, "groups": [], **(self.model or {}), **(body or {})}


@pytest.mark.parametrize(
    ("found", "state", "admin", "verbs", "writes"),
    [
        (None, "present", None, ["create"], [("POST", "users/alice", {"admin": False})]),
        (None, "present", True, ["create"], [("POST", "users/alice", {"admin": True})]),
        (None, "absent", None, [], []),
        (ALICE, "present", None, [], []),
        (ALICE, "present", False, [], []),
        (ALICE, "present", True, ["change"], [("PATCH", "users/alice", {"admin": True})]),
        (ADMIN, "present", None, [], []),
        (ADMIN, "present", True, [], []),
        (ADMIN, "present", False, ["change"], [("PATCH", "users/alice", {"admin": False})]),
        (ALICE, "absent", None, ["delete"], [("DELETE", "users/alice", None)]),
        (
            BUSY, "absent", None, ["stop", "stop", "delete"],
            [
                ("DELETE", "users/alice/server", None),
                ("DELETE", "users/alice/servers/gpu", None),
                ("DELETE", "users/alice", None),
            ],
        ),
    ],
)  # fmt: skip
def test_the_actions_for_a_user_s_present_state(
    found: Model | None, state: str, admin: bool | None, verbs: list[str], writes: list[Any]
) -> None:
    checking, hub = HubOfUsers(found), HubOfUsers(found)
    checked = perform(checking, state, admin=admin, check_mode=True)
    done = perform(hub, state, admin=admin)
    assert checking.writes == []
    assert hub.writes == writes
    assert [action["verb"] for action in done["actions"]] == verbs
    assert done["changed"] is bool(verbs)
    # Check mode predicts what is done, except for what only the hub knows.
    assert {key: checked[key] for key in ("changed", "actions", "diff")} == {
        key: done[key] for key in ("changed", "actions", "diff")
    }
    known = ("name", "state", "admin", "groups")
    assert {key: checked["user"][key] for key in known} == {key: done["user"][key] for key in known}
    assert checked["user"].keys() == done["user"].keys()
    assert done["user"]["state"] == state
    # A second run finds nothing to do.
    assert perform(hub, state, admin=admin)["changed"] is False


def test_the_diff_of_a_change() -> None:
    diff = perform(HubOfUsers(ALICE), admin=True, check_mode=True)["diff"]
    assert diff["before"] == {"name": "alice", "state": "present", "admin": False, "groups": ["g"]}
    assert diff["after"] == {"name": "alice", "state": "present", "admin": True, "groups": ["g"]}


def test_an_admin_right_that_the_token_may_not_read_is_a_missing_scope() -> None:
    hub = HubOfUsers({"name": "alice", "servers": {}})
    assert perform(hub)["user"]["admin"] is None
    with pytest.raises(MissingScope, match="admin"):
        perform(hub, admin=True)
    assert hub.writes == []


def test_a_user_whose_servers_cannot_be_read_is_not_deleted() -> None:
    hub = HubOfUsers({"name": "alice", "admin": False})
    with pytest.raises(MissingScope, match="servers"):
        perform(hub, "absent")
    assert hub.writes == []


def test_a_user_whose_server_does_not_stop_is_not_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "PAUSE", 0.005)
    hub, lines = HubOfUsers(BUSY), list[str]()
    hub.on_write = lambda *_request: hub.set_server(STOPPING)
    with pytest.raises(TimedOut):
        perform(hub, "absent", wait_timeout=0.05, lines=lines)
    assert hub.writes == [("DELETE", "users/alice/server", None)]
    assert lines == ["user 'alice': stopping the server of user 'alice'"]


@pytest.mark.parametrize(
    ("found", "state", "outcome"), [(None, "present", "does not exist"), (ALICE, "absent", "still exists")]
)
def test_a_hub_that_accepts_a_change_and_does_nothing(found: Model | None, state: str, outcome: str) -> None:
    hub = FakeHubClient(found)
    with pytest.raises(Conflict, match=f"user 'alice' {outcome}"):
        perform(hub, state)


def join_request(group: str, user: str = "alice") -> Any:
    return ("POST", f"groups/{group}/users", {"users": [user]})


CREATE_ALICE = ("POST", "users/alice", {"admin": False})


@pytest.mark.parametrize(
    ("found", "wanted", "verbs", "writes", "groups"),
    [
        (ALICE, {"groups": ("g",)}, [], [], ["g"]),
        (ALICE, {"groups": ()}, [], [], ["g"]),
        # Other memberships are left alone, and a name that is given twice counts once.
        (ALICE, {"groups": ("b", "b", "g")}, ["join"], [join_request("b")], ["b", "g"]),
        (
            ALICE, {"groups": ("new", "b"), "create_groups": True}, ["create", "join", "join"],
            [("POST", "groups/new", None), join_request("new"), join_request("b")], ["b", "g", "new"],
        ),
        # Neither the user nor the group exists: the user is created first.
        (
            None, {"groups": ("new",), "create_groups": True}, ["create", "create", "join"],
            [CREATE_ALICE, ("POST", "groups/new", None), join_request("new")], ["new"],
        ),
        (None, {"groups": ("b",)}, ["create", "join"], [CREATE_ALICE, join_request("b")], ["b"]),
        (
            ALICE, {"groups": ("b",), "admin": True}, ["change", "join"],
            [("PATCH", "users/alice", {"admin": True}), join_request("b")], ["b", "g"],
        ),
        # A group may have the same name as the user.
        (
            ALICE, {"groups": ("alice",), "create_groups": True}, ["create", "join"],
            [("POST", "groups/alice", None), join_request("alice")], ["alice", "g"],
        ),
    ],
)  # fmt: skip
def test_memberships(
    found: Model | None, wanted: dict[str, Any], verbs: list[str], writes: list[Any], groups: list[str]
) -> None:
    checking, hub = HubOfUsers(found, ["g", "b"]), HubOfUsers(found, ["g", "b"])
    checked, done = perform(checking, check_mode=True, **wanted), perform(hub, **wanted)
    assert checking.writes == []
    assert hub.writes == writes
    assert [action["verb"] for action in done["actions"]] == verbs
    for key in ("changed", "actions", "diff"):
        assert checked[key] == done[key]
    assert checked["user"]["groups"] == done["user"]["groups"] == done["diff"]["after"]["groups"] == groups
    assert done["diff"]["before"]["groups"] == (found["groups"] if found else None)
    assert perform(hub, **wanted)["changed"] is False


def test_a_member_needs_no_further_request() -> None:
    hub = HubOfUsers(ALICE)
    perform(hub, groups=("g",))
    assert (hub.looks, hub.asked) == (1, [])


def test_the_groups_of_a_user_to_delete_do_not_matter() -> None:
    hub = HubOfUsers(ALICE)
    assert perform(hub, "absent", groups=("none",), create_groups=True)["user"]["state"] == "absent"
    assert hub.writes == [("DELETE", "users/alice", None)]


def test_a_group_that_does_not_exist() -> None:
    for found in (ALICE, None):
        hub = HubOfUsers(found)
        with pytest.raises(NotFound, match="no group 'none'") as error:
            perform(hub, groups=("none",))
        assert "create_groups" in error.value.hint
        assert hub.writes == []  # and no user is created without their groups


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_an_impossible_name_of_a_group_fails_before_the_first_request(name: str) -> None:
    hub = HubOfUsers(ALICE)
    with pytest.raises(Invalid):
        perform(hub, groups=("g", name), create_groups=True)
    assert (hub.looks, hub.asked, hub.writes) == (0, [], [])


@pytest.mark.parametrize(
    ("groups", "held", "says"),
    [
        (("b",), ["read:groups:name"], "'groups' for group 'b'; it holds read:groups:name"),
        (("b",), ["groups!group=other", "read:groups:name"], "'groups' for group 'b'"),
        (("new",), ["groups", "read:groups:name"], "'admin:groups' for group 'new'"),
        (("new",), ["groups", "read:groups:name", "admin:groups!group=other"], "'admin:groups' for group 'new'"),
        # A group that the token may not see may exist, even if the token may see another group.
        (("new",), ["groups", "admin:groups"], "may not see group 'new'"),
        (("new",), ["groups", "admin:groups", "read:groups:name!group=other"], "may not see group 'new'"),
    ],
)
def test_missing_scopes_fail_before_anything_is_written(groups: tuple[str, ...], held: list[str], says: str) -> None:
    for check_mode in (True, False):
        hub = HubOfUsers(None, ["b"], held)
        with pytest.raises(MissingScope, match=says):
            perform(hub, groups=groups, create_groups=True, check_mode=check_mode)
        assert hub.writes == []


def test_scopes_for_one_group_are_enough_for_it() -> None:
    hub = HubOfUsers(ALICE, [], ["groups!group=new", "admin:groups!group=new", "read:groups:name!group=new"])
    assert perform(hub, groups=("new",), create_groups=True)["user"]["groups"] == ["g", "new"]


def test_memberships_that_the_token_may_not_read_are_a_missing_scope() -> None:
    hub = HubOfUsers({"name": "alice", "admin": False})
    with pytest.raises(MissingScope, match="groups of user 'alice'"):
        perform(hub, groups=("g",))
    assert hub.writes == []
    assert perform(hub)["user"]["groups"] is None


def test_check_mode_does_not_predict_what_the_token_may_not_read() -> None:
    found = {"name": "alice", "groups": []}
    checked = perform(HubOfUsers(found), groups=("g",), check_mode=True)
    assert checked["diff"]["after"]["admin"] is None
    assert checked["actions"]
    found = {"name": "alice", "admin": False}
    checked = perform(HubOfUsers(found), admin=True, check_mode=True)
    assert checked["diff"]["after"]["groups"] is None


def test_a_group_that_others_create_after_the_plan() -> None:
    hub = HubOfUsers(ALICE, [])
    flow = UserFlow(hub, UserSpec("alice", "present", groups=("new",), create_groups=True), print)  # type: ignore[arg-type]
    plan = flow.plan()
    hub.groups.append("new")
    assert flow.apply(plan).answer["user"]["groups"] == ["g", "new"]


def test_a_name_with_capitals_does_not_add_another_user_to_the_group() -> None:
    """A hub changes the names of users that it adds to a group to lower case, and no other names."""

    def perform_as_written(*others: str) -> HubOfUsers:
        hub = HubOfUsers({**ALICE, "name": "Alice"}, ["b"])
        hub.others = list(others)
        run(UserFlow(hub, UserSpec("Alice", "present", groups=("b",)), print), check_mode=False)  # type: ignore[arg-type]
        return hub

    with pytest.raises(Conflict, match="would take user 'alice' in place of user 'Alice' for its groups"):
        perform_as_written("alice")
    # An authenticator may have names with capitals. The hub answers whether it has.
    assert perform_as_written().writes == [join_request("b", "Alice")]


def test_a_hub_that_accepts_a_membership_and_ignores_it() -> None:
    hub = HubOfUsers(ALICE, ["b"])
    hub.on_write = lambda *_request: None
    with pytest.raises(Conflict, match="user 'alice' is not in group 'b'"):
        perform(hub, groups=("g", "b"))


def test_the_hub_s_own_words_for_a_refusal_are_kept() -> None:
    hub = HubOfUsers(ALICE, ["b"])

    def refuse(*_request: Any) -> None:
        raise Invalid("The hub refuses POST: Group management via API is disabled.", "", status=400, method="POST")

    hub.on_write = refuse
    with pytest.raises(Invalid, match="Group management via API is disabled") as error:
        perform(hub, groups=("b",))
    assert "authenticator" in error.value.hint
    assert (error.value.status, error.value.method) == (400, "POST")


# Others do the same at the same time


def be_late_for(hub: HubOfUsers, method: str, error: Exception, model: Model | None) -> HubOfUsers:
    """Have somebody else be faster than the first such request: it fails, and the user is this model now."""
    done = iter((True,))

    def write(*request: Any) -> None:
        if request[0] == method and next(done, False):
            hub.model = model
            raise error
        hub._write(*request)

    hub.on_write = write
    return hub


THERE = Conflict("User alice already exists.", "", status=409, method="POST")
DELETED = NotFound("The hub has no user 'alice'.", "", status=404, method="DELETE")


def test_a_user_that_others_create_first() -> None:
    hub = be_late_for(HubOfUsers(None), "POST", THERE, {**ALICE, "groups": []})
    result = perform(hub, groups=("g",))
    assert (result["user"]["state"], result["user"]["groups"]) == ("present", ["g"])
    assert [action["verb"] for action in result["actions"]] == ["join"]
    hub = be_late_for(HubOfUsers(None), "POST", THERE, ALICE)
    result = perform(hub)
    assert (result["changed"], result["actions"], result["user"]["state"]) == (False, [], "present")


def test_a_user_that_others_create_first_with_another_right() -> None:
    hub = be_late_for(HubOfUsers(None), "POST", THERE, ALICE)
    result = perform(hub, admin=True)
    assert (result["changed"], result["user"]["admin"]) == (True, True)
    assert [request[0] for request in hub.writes] == ["POST", "PATCH"]


@pytest.mark.parametrize("error", [DELETED, HubFailure("The hub failed with 500.", "", status=500, method="DELETE")])
def test_a_user_that_others_delete_first(error: Exception) -> None:
    result = perform(be_late_for(HubOfUsers(ALICE), "DELETE", error, None), "absent")
    assert (result["changed"], result["actions"], result["user"]["state"]) == (False, [], "absent")


def test_a_user_that_others_delete_during_the_plan() -> None:
    hub = HubOfUsers(ALICE)

    def looked() -> None:
        if hub.looks == 2:
            hub.model = None

    hub.on_look = looked
    result = perform(hub, "absent")
    assert (result["changed"], result["user"]["state"], hub.writes) == (False, "absent", [])


def test_a_deletion_that_fails() -> None:
    error = HubFailure("The hub failed with 500.", "", status=500, method="DELETE")
    with pytest.raises(HubFailure):
        perform(be_late_for(HubOfUsers(ALICE), "DELETE", error, ALICE), "absent")
