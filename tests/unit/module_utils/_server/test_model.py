# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_server.model: which actions take a server to its desired state, and what the server is like after them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Conflict, Invalid, MissingScope
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Server
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.versions import DIALECTS
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import Action
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.model import (
    ServerSpec,
    StartOptions,
    list_running,
    plan_actions,
    predict_server,
    read,
    server_path,
    unlisted_server,
)

CPU, GPU = {"profile": "cpu"}, {"profile": "gpu"}
READY = Server("alice", "lab", True, None, "http://hub/user/alice/lab/", CPU)
STARTING = replace(READY, ready=False, pending="spawn", url="")
STOPPING = replace(READY, pending="stop")
CHECKED = replace(READY, pending="check")
STOPPED = replace(READY, ready=False, url="")
"""The hub still lists it, with the options and the state of its last start."""
UNLISTED = unlisted_server("alice", "lab")

START, STOP = "start", "stop"
NOT_RUNNING, SILENT = "it is not running", "the hub says that it is ready, but it does not answer"
ASKED = "a restart is asked for"


def wanted(state: str = "started", **more: Any) -> ServerSpec:
    return ServerSpec("alice", "lab", state, **more)


def list_actions(
    spec: ServerSpec, server: Server, options: dict[str, Any] | None = None, *, has_answered: bool = True, **more: Any
) -> list[tuple[str, str]]:
    actions = plan_actions(spec, server, options, has_answered=has_answered, **more)
    assert {action.object for action in actions} <= {"server 'lab' of user 'alice'"}
    return [(action.verb, action.why) for action in actions]


# The plan


@pytest.mark.parametrize(
    ("state", "server", "actions"),
    [
        ("started", UNLISTED, [(START, NOT_RUNNING)]),
        ("started", STOPPED, [(START, NOT_RUNNING)]),
        ("started", STARTING, []),
        ("started", CHECKED, []),
        ("started", READY, []),
        ("started", STOPPING, [(START, "it is stopping")]),
        ("restarted", STOPPED, [(START, NOT_RUNNING)]),
        ("restarted", STARTING, [(STOP, ASKED), (START, ASKED)]),
        ("restarted", READY, [(STOP, ASKED), (START, ASKED)]),
        ("restarted", STOPPING, [(START, "it is stopping")]),
        ("stopped", UNLISTED, []),
        ("stopped", STOPPED, []),
        ("stopped", STARTING, [(STOP, "it is pending")]),
        ("stopped", READY, [(STOP, "it is ready")]),
        ("stopped", STOPPING, []),
        ("absent", UNLISTED, []),
        ("absent", STOPPED, [("remove", "it is stopped, and its state is kept")]),
        ("absent", STARTING, [("remove", "it is pending")]),
        ("absent", READY, [("remove", "it is ready")]),
        ("absent", STOPPING, [("remove", "it is pending")]),
    ],
)
def test_the_actions_between_two_states(state: str, server: Server, actions: list[tuple[str, str]]) -> None:
    assert list_actions(wanted(state), server) == actions


@pytest.mark.parametrize(("server", "actions"), [(READY, [(START, SILENT)]), (STARTING, []), (CHECKED, [])])
def test_only_a_ready_server_that_does_not_answer_is_started_again(
    server: Server, actions: list[tuple[str, str]]
) -> None:
    assert list_actions(wanted(), server, has_answered=False) == actions


@pytest.mark.parametrize(
    ("reaction", "options", "server", "why"),
    [
        ("restart", GPU, READY, "it is ready with other user_options"),
        ("restart", GPU, STARTING, "it is pending with other user_options"),
        ("restart", CPU, READY, ""),
        ("restart", {}, READY, "it is ready with other user_options"),
        # A hub that shows no options has none.
        ("restart", {}, replace(READY, user_options=None), ""),
        ("restart", GPU, replace(READY, user_options=None), "it is ready with other user_options"),
        # None leaves the options to the hub.
        ("restart", None, READY, ""),
        ("ignore", GPU, READY, ""),
        ("fail", CPU, READY, ""),
        ("fail", None, READY, ""),
    ],
)
def test_other_options_restart_a_server_if_the_task_says_so(
    reaction: str, options: dict[str, Any] | None, server: Server, why: str
) -> None:
    assert list_actions(wanted(on_options_change=reaction), server, options) == (
        [(STOP, why), (START, why)] if why else []
    )


def test_other_options_can_fail_the_task() -> None:
    with pytest.raises(Conflict, match="'lab' of user 'alice' is ready with other user_options"):
        list_actions(wanted(on_options_change="fail"), READY, GPU)
    # A server that does not run starts with the new ones.
    assert list_actions(wanted(on_options_change="fail"), STOPPED, GPU) == [(START, NOT_RUNNING)]


@pytest.mark.parametrize("state", ["stopped", "absent"])
def test_a_start_that_a_hub_cannot_cancel_must_end_first(state: str) -> None:
    with pytest.raises(Conflict, match="cannot cancel a start"):
        list_actions(wanted(state, wait=False), STARTING, can_cancel_starts=False)
    # The task waits, the hub can cancel, the server is to run anyway, or nothing starts.
    assert len(list_actions(wanted(state), STARTING, can_cancel_starts=False)) == 1
    assert len(list_actions(wanted(state, wait=False), STARTING)) == 1
    assert len(list_actions(wanted(state, wait=False), READY, can_cancel_starts=False)) == 1
    assert list_actions(wanted(wait=False), STARTING, can_cancel_starts=False) == []


# The prediction


@pytest.mark.parametrize(
    ("spec", "server", "options", "verbs", "after"),
    [
        (wanted(), UNLISTED, GPU, [START], replace(UNLISTED, ready=True, user_options=GPU, exists=True)),
        (wanted(wait=False), STOPPED, GPU, [START], replace(STOPPED, pending="spawn", user_options=GPU)),
        # The hub uses the options of the last start, if there was one.
        (wanted(), STOPPED, None, [START], replace(STOPPED, ready=True)),
        (wanted(), UNLISTED, None, [START], replace(UNLISTED, ready=True, user_options={}, exists=True)),
        (wanted("restarted"), READY, GPU, [STOP, START], replace(READY, user_options=GPU)),
        (wanted(), STARTING, None, [], replace(STARTING, ready=True, pending=None)),
        (wanted(wait=False), STARTING, None, [], STARTING),
        (wanted("stopped"), READY, None, [STOP], replace(READY, ready=False)),
        (wanted("stopped", wait=False), READY, None, [STOP], STOPPING),
        (wanted("stopped", wait=False), STOPPED, None, [], STOPPED),
        (wanted("stopped"), STOPPING, None, [], replace(STOPPING, ready=False, pending=None)),
        (wanted("absent"), READY, None, ["remove"], UNLISTED),
        (wanted("absent", wait=False), READY, None, ["remove"], STOPPING),
    ],
)
def test_the_server_after_the_actions(
    spec: ServerSpec, server: Server, options: dict[str, Any] | None, verbs: list[str], after: Server
) -> None:
    assert predict_server(spec, server, options, [Action(verb, "it", "why") for verb in verbs]) == after


# What is declared, and what the hub has


def test_only_named_servers_can_be_absent() -> None:
    with pytest.raises(Invalid, match="server of user 'alice' is a default server"):
        ServerSpec("alice", "", "absent")
    assert ServerSpec("alice", "", "stopped").title == "server of user 'alice'"
    assert wanted("absent").title == "server 'lab' of user 'alice'"


def test_a_task_waits_five_minutes_unless_it_says_otherwise() -> None:
    assert (wanted().wait, wanted().wait_timeout) == (True, 300.0)


def test_a_declaration_does_not_change() -> None:
    spec = wanted(user_options=CPU)
    for value in (spec, StartOptions.of_spec(spec, DIALECTS[0])):
        with pytest.raises(FrozenInstanceError):
            value.body = GPU  # type: ignore[union-attr, misc]
    assert StartOptions.of_spec(spec, DIALECTS[0]) == StartOptions({"user_options": CPU}, CPU)


def test_the_paths_of_servers() -> None:
    assert server_path("alice", "") == ("users", "alice", "server")
    assert server_path("alice", "lab") == ("users", "alice", "servers", "lab")


class HubOf:
    """Shows these servers of a user, the stopped ones only on request."""

    def __init__(self, *servers: Server, is_readable: bool = True) -> None:
        self._servers = servers if is_readable else None

    def read_user(self, user: str, *, scope: str, include_stopped_servers: bool = False) -> SimpleNamespace:
        if self._servers is None:
            return SimpleNamespace(servers=None)
        shown = [server for server in self._servers if include_stopped_servers or server.state != "stopped"]
        return SimpleNamespace(servers={server.name: server for server in shown})


def test_a_server_that_the_hub_does_not_list_is_stopped() -> None:
    gpu = replace(STOPPED, name="gpu")
    hub: Any = HubOf(READY, gpu)
    assert read(hub, "alice", "lab") == READY
    assert read(hub, "alice", "gpu") == gpu
    missing = read(hub, "alice", "other")
    assert missing == Server("alice", "other", ready=False, pending=None, url="", exists=False)
    assert missing.state == "stopped"


def test_the_servers_that_run() -> None:
    hub: Any = HubOf(READY, replace(STOPPED, name="old"), replace(STARTING, name="new"))
    assert list_running(hub, "alice") == ["lab", "new"]


def test_servers_that_the_token_may_not_read_are_not_taken_for_none() -> None:
    hub: Any = HubOf(is_readable=False)
    with pytest.raises(MissingScope, match="servers of user 'alice'"):
        list_running(hub, "alice")
    assert list_running(HubOf(), "alice") == []  # type: ignore[arg-type]
