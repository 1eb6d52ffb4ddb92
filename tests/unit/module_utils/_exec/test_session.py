# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_exec.session: several executions in one kernel, and what their failures say."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec import failures
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec.failures import get_cause
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec.kernel_client import KernelClient, KernelRestarted
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec.session import open_session
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec.websocket import (
    ConnectionLost,
    KernelLost,
    OutOfTime,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    Invalid,
    KernelFailed,
    Timeout,
)
from support.fakes.fake_hub_client import READY, FakeHubClient, hub_with

Model = dict[str, Any]
URL = "https://hub.example.org/user/alice/"


class ScriptedChannel:
    """A connection that answers each request with the next of these scripts.

    It raises an exception in a script, and calls a function.
    """

    def __init__(self, *scripts: list[Any]) -> None:
        self.scripts = list(scripts)
        self.requests: list[Model] = []
        self.messages: list[Any] = []
        self.deadlines: list[float] = []
        self.lost: Exception | None = None
        self.closed = False

    def set_deadline(self, deadline: float) -> None:
        self.deadlines.append(deadline)

    def wait_for_kernel(self) -> str:
        if self.lost:
            raise self.lost
        return "python"

    def send(self, request: Model) -> None:
        self.requests.append(request)
        for item in self.scripts.pop(0):
            if isinstance(item, dict):
                item = {**item, "parent_header": {"msg_id": request["header"]["msg_id"]}}
            self.messages.append(item)

    def receive(self, timeout: float = math.inf) -> Model:
        item: Any = self.messages.pop(0) if self.messages else {}
        if isinstance(item, Exception):
            return fail(item)
        if callable(item):
            return item() or {}
        return item  # type: ignore[no-any-return]

    def close(self) -> None:
        self.closed = True


def fail(error: Exception) -> Model:
    raise error


def message(kind: str, **content: Any) -> Model:
    return {"header": {"msg_type": kind}, "content": content}


BUSY, IDLE = (message("status", execution_state=state) for state in ("busy", "idle"))
REPLY = message("execute_reply", status="ok", execution_count=3)
RAISED = message("error", ename="ValueError", evalue="no", traceback=[])


class Server(FakeHubClient):
    """A server whose kernels are always in the same state."""

    def __init__(self, state: str = "dead") -> None:
        super().__init__(hub_with(READY).model)
        self.state = state
        self.kernels: list[str] = []
        self.bodies: list[Model | None] = []

    def with_long_request(self, deadline: float) -> Server:
        return self

    def check_address(self, url: str) -> str:
        return url

    def ask_server(self, method: str, url: str, *, what: str, body: Model | None = None) -> Any:
        if method == "POST":
            self.bodies.append(body)
            if body and body.get("name") == "no-such":
                raise HubFailure("x", "x", status=500, method="POST")
            self.kernels.append(f"k{len(self.bodies)}")
            return {"id": self.kernels[-1], "name": (body or {}).get("name", "python3")}
        if method == "DELETE":
            self.kernels.remove(url.rpartition("/")[2])
            raise HubFailure("gone", "x", status=404)
        if url.endswith("api/kernelspecs"):
            return {"default": "python3", "kernelspecs": {"python3": {}, "ir": {}}}
        return [] if url.endswith("api/kernels") else {"execution_state": self.state}


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server, ScriptedChannel], KernelClient]:
    def connect(server: Server, channel: Any, *, restarts: bool = False) -> KernelClient:
        def answer(_client: Any, kernel: str, *, is_last: bool) -> Any:
            if restarts and not is_last:
                raise KernelRestarted
            return channel

        monkeypatch.setattr(KernelClient, "connect", answer)
        deadline = time.monotonic() + 600
        return KernelClient(server, URL, "server of user 'alice'", 600.0, deadline)  # type: ignore[arg-type]

    return connect


def test_several_executions_in_one_kernel(connect: Any) -> None:
    server = Server()
    value = message("execute_reply", status="ok", user_expressions={"a": {"status": "ok", "data": {"text/plain": "7"}}})
    channel = ScriptedChannel([BUSY, REPLY, IDLE], [BUSY, RAISED, REPLY, IDLE], [value, IDLE])
    with open_session(connect(server, channel), "ir") as session:
        assert (session.kernel_name, session.is_python, server.kernels) == ("ir", True, ["k1"])
        assert session.execute("1", store_history=True).execution_count == 3
        output = session.execute("2", timeout=5.0)
        assert (output.error or {})["ename"] == "ValueError"
        session.extend(30.0)
        output = session.execute("", silent=True, user_expressions={"a": "7", "b": "8"})
        assert (output.expression("a"), output.expression("b")) == ("7", None)
    assert (server.kernels, channel.closed) == ([], True)
    assert server.bodies[0] is not None
    assert server.bodies[0]["name"] == "ir"
    first, _second, third = [request["content"] for request in channel.requests]
    assert (first["code"], first["silent"], first["store_history"], first["user_expressions"]) == ("1", False, True, {})
    assert (third["silent"], third["user_expressions"]) == (True, {"a": "7", "b": "8"})
    before, during, after = channel.deadlines
    assert (during < before, after - before) == (True, pytest.approx(30.0))


def test_the_default_kernel_has_no_name_in_the_request(connect: Any) -> None:
    server = Server()
    with open_session(connect(server, ScriptedChannel())) as session:
        assert session.kernel_name == "python3"
    assert set(server.bodies[0] or {}) == {"kernel_id"}


def test_a_restarted_kernel_is_replaced_once(connect: Any) -> None:
    server = Server()
    with open_session(connect(server, ScriptedChannel(), restarts=True)):
        assert server.kernels == ["k2"]
    assert server.kernels == []


def test_a_kernel_spec_that_is_not_there(connect: Any) -> None:
    with (
        pytest.raises(KernelFailed, match="has no kernel spec 'no-such'; it has 'python3', 'ir'") as error,
        open_session(connect(Server(), ScriptedChannel()), "no-such"),
    ):
        pass
    assert "kernel_name" in error.value.hint
    assert get_cause(error.value) == "kernel_not_started"


@pytest.mark.parametrize(
    ("lost", "cause"), [(KernelLost("dead"), "kernel_not_started"), (OutOfTime(), "kernel_not_started")]
)
def test_a_kernel_that_is_not_ready_is_deleted(lost: Exception, cause: str, connect: Any) -> None:
    server, channel = Server(), ScriptedChannel()
    channel.lost = lost
    with pytest.raises(KernelFailed) as error, open_session(connect(server, channel)):
        pass
    assert (get_cause(error.value), server.kernels, channel.closed) == (cause, [], True)


@pytest.mark.parametrize(
    ("state", "script", "cause", "words"),
    [
        ("idle", [BUSY, ConnectionLost("closed")], "other", r"connection .* was cut \(closed\) .* still ran"),
        ("dead", [BUSY, ConnectionLost("closed")], "kernel_died", r"died \(closed\)"),
        ("idle", [BUSY, message("status", execution_state="restarting")], "kernel_died", r"died \(restarting\)"),
        ("idle", [KernelLost("dead")], "kernel_died", r"died \(dead\)"),  # before it could say that it has begun
    ],
)
def test_a_loss_while_code_runs(state: str, script: list[Any], cause: str, words: str, connect: Any) -> None:
    channel = ScriptedChannel([BUSY, message("stream", name="stdout", text="so far"), *script])
    with (
        pytest.raises(KernelFailed, match=words) as error,
        open_session(connect(Server(state), channel)) as session,
    ):
        session.execute("1")
    assert (get_cause(error.value), error.value.result["stdout"]) == (cause, "so far")


def test_a_timeout_names_its_option(connect: Any) -> None:
    with (
        pytest.raises(Timeout, match=r"did not end within 5 s") as error,
        open_session(connect(Server(), ScriptedChannel([OutOfTime()]))) as session,
    ):
        session.execute("1", timeout=5.0, option="cell_timeout")
    assert (get_cause(error.value), "longer with cell_timeout" in error.value.hint) == ("timeout", True)


def test_the_end_of_the_whole_time_is_not_the_cell_s(connect: Any) -> None:
    def end_time() -> None:
        kernels.deadline = time.monotonic()

    kernels = connect(Server(), ScriptedChannel([BUSY, end_time, OutOfTime()]))
    with pytest.raises(Timeout, match=r"did not end within 600 s") as error, open_session(kernels) as session:
        session.execute("1", timeout=5.0, option="cell_timeout")
    assert "longer with timeout" in error.value.hint


def test_an_idle_connection_notices_the_kernel_s_end(connect: Any) -> None:
    channel = ScriptedChannel()
    channel.messages = [IDLE, message("status", execution_state="dead")]
    with open_session(connect(Server(), channel)) as session:
        with pytest.raises(KernelLost, match="dead"):
            session.stay_idle(60.0)
        session.stay_idle(0.0)
        session.check_answer(5.0)


CLASSES = [
    failures.KernelNotStarted, failures.KernelSilent, failures.KernelDied, failures.OutOfMemory, failures.ConnectionCut,
    failures.WebsocketRefused, failures.WebsocketUnreachable, failures.CodeTimedOut, failures.CodeRaised,
]  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES)
def test_a_copy_of_a_failure_keeps_its_cause(kind: type[HubError]) -> None:
    error = kind("What.", "Hint.").with_message("Else.").with_result({"stdout": ""})
    assert get_cause(error) == kind.cause  # type: ignore[attr-defined]
    assert get_cause(Invalid("x", "x")) == "other"
