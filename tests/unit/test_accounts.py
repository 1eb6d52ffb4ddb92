# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_accounts: which actions a user's present state asks for, and that a deletion stops the servers first."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils import _servers
from ansible_collections.hubops.jupyterhub.plugins.module_utils._accounts import UserFlow, Wanted
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import Conflict, MissingScope
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import Timeout as TimedOut
from ansible_collections.hubops.jupyterhub.plugins.module_utils._plan import run
from scripted_hub import READY, STOPPING, Model, StandInHub

ALICE: Model = {
    "name": "alice",
    "admin": False,
    "groups": ["g"],
    "created": "then",
    "last_activity": None,
    "servers": {},
}
ADMIN = {**ALICE, "admin": True}
BUSY = {**ALICE, "servers": {"": READY, "gpu": READY}}


def perform(hub: StandInHub, state: str = "present", *, check_mode: bool = False, **more: Any) -> dict[str, Any]:
    lines: list[str] = more.pop("lines", [])
    flow = UserFlow(hub, Wanted("alice", state, **more), lines.append)  # type: ignore[arg-type]
    return run(flow, check_mode=check_mode)


class HubOfUsers(StandInHub):
    """Does what it is asked."""

    def __init__(self, model: Model | None) -> None:
        super().__init__(model)
        self.on_write = self._write

    def _write(self, method: str, path: str, body: Model | None) -> None:
        if method == "DELETE" and path == "users/alice":
            assert self.model is not None
            assert not self.model["servers"], "a hub half-deletes a user whose server runs"
            self.model = None
        elif method == "DELETE":
            assert self.model is not None
            name = path.partition("/servers/")[2]
            left = {other: server for other, server in self.model["servers"].items() if other != name}
            self.model = {**self.model, "servers": left}
        else:
            self.model = {**ALICE, **(self.model or {}), **(body or {})}


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
def test_what_a_present_state_asks_for(
    found: Model | None, state: str, admin: bool | None, verbs: list[str], writes: list[Any]
) -> None:
    checking, hub = HubOfUsers(found), HubOfUsers(found)
    checked = perform(checking, state, admin=admin, check_mode=True)
    done = perform(hub, state, admin=admin)
    assert checking.writes == []
    assert hub.writes == writes
    assert [action["verb"] for action in done["actions"]] == verbs
    assert done["changed"] is bool(verbs)
    # What check mode promises is what is done, but for what only the hub knows.
    assert {key: checked[key] for key in ("changed", "actions", "diff")} == {
        key: done[key] for key in ("changed", "actions", "diff")
    }
    known = ("name", "state", "admin")
    assert {key: checked["user"][key] for key in known} == {key: done["user"][key] for key in known}
    assert checked["user"].keys() == done["user"].keys()
    assert done["user"]["state"] == state
    # And a second run finds nothing left to do.
    assert perform(hub, state, admin=admin)["changed"] is False


def test_the_diff_of_a_change() -> None:
    diff = perform(HubOfUsers(ALICE), admin=True, check_mode=True)["diff"]
    assert diff["before"] == {"name": "alice", "state": "present", "admin": False}
    assert diff["after"] == {"name": "alice", "state": "present", "admin": True}


def test_what_the_token_may_not_read_is_not_guessed() -> None:
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
    monkeypatch.setattr(_servers, "_PAUSE", 0.005)
    hub, lines = HubOfUsers(BUSY), list[str]()
    hub.on_write = lambda *_request: hub.set_server(STOPPING)
    with pytest.raises(TimedOut):
        perform(hub, "absent", wait_timeout=0.05, lines=lines)
    assert hub.writes == [("DELETE", "users/alice/server", None)]
    assert lines == ["user 'alice': stopping the server of user 'alice'"]


@pytest.mark.parametrize(("found", "state", "word"), [(None, "present", "not"), (ALICE, "absent", "still")])
def test_a_hub_that_says_yes_and_does_nothing(found: Model | None, state: str, word: str) -> None:
    hub = StandInHub(found)
    with pytest.raises(Conflict, match=f"is {word} there"):
        perform(hub, state)
