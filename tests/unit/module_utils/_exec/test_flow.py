# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_exec.flow: what a kernel's messages mean, and that no kernel is left behind."""

from __future__ import annotations

import itertools
import json
import math
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
import websocket
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec import kernel_client
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec import websocket as exec_websocket
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec.flow import ExecFlow, ExecSpec
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec.output import Output
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import polling
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    Conflict,
    HubError,
    HubFailure,
    Invalid,
    KernelFailed,
    NotFound,
    RateLimited,
    Unreachable,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Timeout as TimedOut
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fakes.fake_hub_client import PENDING, READY, FakeHubClient, Model, hub_with
from support.fakes.raw_server import raw_server
from support.fakes.scripted_hub import HUB
from websocket._http import proxy_info
from websocket._url import get_proxy_info

# A busy machine must not fail these tests.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

OURS = "our request"
RED = "\x1b[0;31m"


def message(kind: str, parent: str = OURS, **content: Any) -> Model:
    return {"header": {"msg_type": kind}, "parent_header": {"msg_id": parent}, "content": content}


def status(state: str, parent: str = OURS) -> Model:
    return message("status", parent, execution_state=state)


def stream(name: str, text: str, parent: str = OURS) -> Model:
    return message("stream", parent, name=name, text=text)


def output_of(*messages: Model) -> Output:
    output = Output()
    for each in messages:
        output.add(each, OURS)
    return output


REPLY = message("execute_reply", status="ok")
IDLE = status("idle")
RAISED: Model = {"ename": "ValueError", "evalue": f"{RED}no\x1b[0m", "traceback": [f"{RED}File\x1b[39;49m 1", "two"]}
PLAIN = {"ename": "ValueError", "evalue": "no", "traceback": ["File 1", "two"]}


@pytest.mark.parametrize("order", list(itertools.permutations([REPLY, IDLE, stream("stdout", "42\n")])))
def test_reply_and_idle_state_end_an_execution_in_any_order(order: tuple[Model, ...]) -> None:
    for count in range(3):
        so_far = output_of(*order[:count])
        assert so_far.is_done is (REPLY in order[:count] and IDLE in order[:count])
    whole = output_of(*order)
    assert (whole.is_done, whole.stdout, whole.error, whole.end_state) == (True, "42\n", None, None)


def test_a_long_output_takes_a_time_that_grows_with_it() -> None:
    output, began = Output(), time.monotonic()
    piece = stream("stdout", "x" * 10_000)
    for _number in range(10_000):  # 100 MB. To copy the whole text for each piece would move 500 GB.
        output.add(piece, OURS)
    assert len(output.stdout) == 100_000_000
    assert time.monotonic() - began < 30


@UNHURRIED
@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text()), max_size=8))
def test_output_keeps_its_order_in_each_stream(printed: list[tuple[str, str]]) -> None:
    output = output_of(*(stream(name, text) for name, text in printed))
    assert output.stdout == "".join(text for name, text in printed if name == "stdout")
    assert output.stderr == "".join(text for name, text in printed if name == "stderr")
    assert output.as_result()["stdout_lines"] == output.stdout.splitlines()


@pytest.mark.parametrize(
    "foreign",
    [
        message("execute_reply", "another", status="ok"),
        status("idle", "another"),
        stream("stdout", "not ours", "another"),
        message("error", "another", **RAISED),
        message("execute_result", "another", data={"text/plain": "7"}),
        {"header": {"msg_type": "status"}, "content": {"execution_state": "idle"}},
        {},
    ],
)
def test_answers_to_other_requests_are_ignored(foreign: Model) -> None:
    assert output_of(foreign) == Output()


@pytest.mark.parametrize("state", ["busy", "starting"])
def test_a_kernel_at_work_is_not_done(state: str) -> None:
    assert output_of(REPLY, status(state)).is_done is False


@pytest.mark.parametrize("state", ["dead", "restarting", "autorestarting"])
@pytest.mark.parametrize("parent", [OURS, "another", ""])
def test_a_status_of_any_request_shows_that_the_kernel_died(state: str, parent: str) -> None:
    assert output_of(status(state, parent)).end_state == state


def test_the_last_expression_s_value() -> None:
    assert output_of(message("execute_result", data={"text/plain": "42", "text/html": "<b>42"})).result == "42"
    assert output_of(message("execute_result", data={"image/png": "x"})).result is None


@pytest.mark.parametrize(
    "messages",
    [
        [message("error", **RAISED)],
        [message("execute_reply", status="error", **RAISED)],  # a kernel may send it only once
        [message("error", **RAISED), message("execute_reply", status="error", **RAISED)],
        [message("error", **RAISED), message("execute_reply", status="aborted")],
    ],
)
def test_an_exception_without_a_terminal_s_colours(messages: list[Model]) -> None:
    assert output_of(*messages).error == PLAIN


@pytest.mark.parametrize("reply", ["abort", "aborted", None])
def test_code_that_was_not_run_is_an_error(reply: str | None) -> None:
    error = output_of(message("execute_reply", status=reply)).error
    assert error is not None
    assert error["ename"] == "Aborted"


# The whole flow, with a scripted kernel behind a scripted websocket

KERNEL = HUB + "user/alice/api/kernels/k1"


class ScriptedChannel:
    """A kernel's websocket. It answers whether the kernel is ready, and then sends the messages of its script.

    It raises an exception in the script. It does not answer the first ``deaf`` questions.
    """

    subprotocol = None

    def __init__(self, script: list[Any], deaf: int = 0) -> None:
        self.script = script
        self.deaf = deaf
        self.answers: list[Model] = []
        self.requested: list[str] = []
        self.closed = False

    def settimeout(self, _seconds: float) -> None:
        """It never waits."""

    def send(self, text: str) -> None:
        request = json.loads(text)
        kind, number = request["header"]["msg_type"], request["header"]["msg_id"]
        self.requested.append(kind)
        assert request["channel"] == "shell"
        if kind == "kernel_info_request":
            if self.requested.count(kind) > self.deaf:
                self.answers += [message("kernel_info_reply", number), status("idle", number)]
            return
        self.parent = number
        assert request["content"]["allow_stdin"] is False  # nobody is there to answer a question

    def recv(self) -> Any:
        if self.answers:
            return json.dumps(self.answers.pop(0))
        if self.requested[-1] == "kernel_info_request" and not (self.script and self.script[0] == BEFORE):
            raise websocket.WebSocketTimeoutException
        item = self.script.pop(0)
        if item == BEFORE:
            item = self.script.pop(0)
        if isinstance(item, BaseException):
            raise item
        if isinstance(item, dict):
            if item.get("parent_header", {}).get("msg_id") == OURS:
                item = {**item, "parent_header": {"msg_id": self.parent}}
            return json.dumps(item)
        return item

    def close(self, timeout: float) -> None:
        self.closed = True


class ScriptedEvents:
    """A server's stream of events. It ends after the last event."""

    def __init__(self, events: Sequence[Any]) -> None:
        self.events = list(events)

    def settimeout(self, _seconds: float) -> None:
        """It never waits."""

    def recv(self) -> str:
        if not self.events:
            raise websocket.WebSocketConnectionClosedException
        return json.dumps(self.events.pop(0))

    def close(self) -> None:
        """Nothing is open."""


BEFORE = "sent before the kernel has answered"


class HubWithKernel(FakeHubClient):
    def __init__(self) -> None:
        super().__init__(hub_with(READY).model)
        self.kernels: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.answers_to_delete: list[HubError] = []
        self.answer_to_post: HubError | None = None
        self.takes_ids: bool | None = None
        """Whether a kernel whose answer is lost has the requested id. None means that there is no such kernel."""
        self.models: dict[str, Model] = {}
        """What the server shows of a kernel apart from its state."""
        self.comes_after = 0
        """How often the kernels are listed before the kernel appears whose answer was lost."""
        self.coming: set[str] = set()
        self.specs: Any = {"default": "python3", "kernelspecs": {"python3": {"spec": {"argv": ["python", "-m", "k"]}}}}

    def with_long_request(self, deadline: float) -> HubWithKernel:
        return self

    def check_address(self, url: str) -> str:
        return url

    def ask_server(self, method: str, url: str, *, what: str, body: Model | None = None) -> Any:
        self.requests.append((method, url))
        if method == "GET" and url.endswith("/api/kernels"):
            if self.coming:
                self.comes_after -= 1
            if self.coming and self.comes_after < 0:
                self.kernels |= self.coming
                self.coming = set()
            return [{"id": kernel.rpartition("/")[2], "connections": 0} for kernel in self.kernels]
        if method == "POST":
            failure = self.answer_to_post
            if failure is not None:
                if self.takes_ids is not None:
                    assert body
                    self.coming = {KERNEL.replace("k1", body["kernel_id"] if self.takes_ids else "k7")}
                raise failure
            self.kernels.add(KERNEL)
            return {"id": "k1"}
        if url.endswith("/api/kernelspecs"):
            return self.specs
        if method == "DELETE":
            for failure in self.answers_to_delete:
                self.answers_to_delete.remove(failure)
                raise failure
        if url not in self.kernels:
            raise NotFound("no such kernel", "x", status=404)
        if method == "DELETE":
            self.kernels.remove(url)
        return {"execution_state": "starting", **self.models.get("all", {})}


@pytest.fixture
def hub() -> HubWithKernel:
    return HubWithKernel()


def execute(
    hub: FakeHubClient,
    monkeypatch: pytest.MonkeyPatch,
    *script: Any,
    check_mode: bool = False,
    deaf: int = 0,
    timeout: float = 60.0,
    handshakes: Sequence[Any] = (),
    events: Sequence[Any] = (),
) -> dict[str, Any]:
    """Run code. The websocket's first handshakes end with ``handshakes``, of which ``math.inf`` hangs."""
    channel, before = ScriptedChannel(list(script), deaf), list(handshakes)

    def handshake(_client: Any, url: str, _timeout: float) -> Any:
        if url.endswith("/api/events/subscribe"):
            return ScriptedEvents(events)
        assert url in {kernel + "/channels" for kernel in hub.kernels}  # type: ignore[attr-defined]
        if not before:
            return channel
        end = before[0] if len(before) == 1 else before.pop(0)
        if end == math.inf:
            time.sleep(timeout + 60)
        if isinstance(end, Exception):
            raise end
        return channel

    monkeypatch.setattr(kernel_client.KernelClient, "_try_handshake", handshake)
    for name in ("_PAUSE", "_LOOK_PAUSE", "_LAST_QUERY_TIMEOUT", "_SEND_TIME"):
        monkeypatch.setattr(kernel_client, name, 0.02)
    monkeypatch.setattr(polling, "PAUSE", 0.001)
    monkeypatch.setattr(exec_websocket, "_REPEAT_AFTER", 0.001)
    flow = ExecFlow(hub, ExecSpec("alice", "", "6 * 7", timeout=timeout), lambda line: None)  # type: ignore[arg-type]
    return run(flow, check_mode=check_mode)


def test_code_is_run_and_its_kernel_is_deleted(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    value = message("execute_result", data={"text/plain": "42"})
    # A binary frame carries buffers, of a picture or a widget.
    result = execute(hub, monkeypatch, status("busy"), b"\x00buffers", stream("stdout", "hi\n"), value, REPLY, IDLE)
    expected = {"changed": True, "stdout": "hi\n", "stdout_lines": ["hi"], "stderr": "", "result": "42", "error": None}
    assert {key: result[key] for key in expected} == expected
    assert ("POST", HUB + "user/alice/api/kernels") in hub.requests
    assert hub.kernels == set()


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ([stream("stdout", "so far"), message("error", **RAISED), REPLY, IDLE], Invalid, "raised ValueError: no."),
        ([stream("stdout", "so far"), status("dead", "")], KernelFailed, r"died \(dead\)"),
        ([stream("stdout", "so far"), ""], KernelFailed, "connection was closed"),
        ([stream("stdout", "so far"), OSError("reset")], KernelFailed, "connection broke: reset"),
    ],
)
def test_failures_hold_the_output_so_far_and_leave_no_kernel(
    script: list[Any], kind: type[HubError], words: str, hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(kind, match=words) as error:
        execute(hub, monkeypatch, *script)
    assert (error.value.result["stdout"], error.value.result["changed"]) == ("so far", True)
    assert hub.kernels == set()


def test_a_kernel_s_end_is_waited_for_longer_than_one_request(
    hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient: list[float] = []
    monkeypatch.setattr(hub, "with_long_request", lambda deadline: patient.append(deadline) or hub)
    execute(hub, monkeypatch, REPLY, IDLE)
    assert len(patient) == 2  # for its start, and for its end
    assert hub.kernels == set()


def test_a_kernel_that_is_being_restarted_is_deleted_when_it_can_be(
    hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.answers_to_delete = [HubFailure("busy", "x", status=500), HubFailure("busy", "x", status=500)]
    with pytest.raises(KernelFailed, match=r"died \(restarting\) before the code ended"):
        execute(hub, monkeypatch, status("restarting", ""))
    assert hub.kernels == set()


@pytest.mark.parametrize(("server", "state"), [(None, "stopped"), (PENDING, "pending")])
def test_code_needs_a_running_server(server: Model | None, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Conflict, match=state) as error:
        execute(hub_with(server), monkeypatch)
    assert (error.value.result["changed"], error.value.result["stdout"]) == (False, "")
    # In check mode, the task that starts the server has not started it.
    assert execute(hub_with(server), monkeypatch, check_mode=True)["changed"] is True


def test_truncated_output_is_reported(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    warning = stream("stderr", "IOPub data rate exceeded.\nThe Jupyter server will ...")
    assert execute(hub, monkeypatch, warning, REPLY, IDLE)["truncated"] is True
    assert execute(hub, monkeypatch, REPLY, IDLE)["truncated"] is False


def test_check_mode_runs_nothing(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = execute(hub, monkeypatch, check_mode=True)
    assert hub.requests == []
    assert (checked["changed"], checked["actions"][0]["verb"]) == (True, "execute")
    assert checked.keys() == execute(hub, monkeypatch, REPLY, IDLE).keys()


def test_a_missing_websocket_library_is_reported(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_websocket, "HAS_WEBSOCKET", False)
    with pytest.raises(Invalid, match="websocket-client is not installed"):
        execute(hub, monkeypatch)


# A kernel that never gets ready


def test_a_kernel_whose_first_answer_is_lost_is_asked_again(
    hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert execute(hub, monkeypatch, REPLY, IDLE, deaf=3)["error"] is None


def test_a_kernel_that_dies_before_it_is_ready(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KernelFailed, match="ends as soon as it is started") as error:
        execute(hub, monkeypatch, BEFORE, status("restarting", ""), deaf=9)
    assert "kernel spec 'python3' starts 'python -m k'" in error.value.message
    assert "server's own log" in error.value.hint
    assert hub.kernels == set()


RESTART = {"action": "restart", "kernel_id": "k1"}


@pytest.mark.parametrize(
    ("state", "argv", "events", "words", "hint"),
    [
        ({}, ["sleep"], [], "hangs before it is ready", "for what the process waits for"),
        ({}, ["false"], [RESTART], "process of the kernel in the server of user 'alice' ends as soon", "own log"),
        ({}, ["python", "-m", "ipykernel_launcher"], [RESTART], "no ipykernel for that Python", "Install ipykernel"),
        ({}, ["sleep"], [{**RESTART, "kernel_id": "k2"}, {**RESTART, "action": "start"}], "hangs before", "own log"),
        ({"execution_state": "dead", "reason": "No such file: '/x'"}, ["/x"], [], "cannot start", "kernelspec list"),
        ({"execution_state": "idle"}, ["python"], [], "is idle, but no message", "holds a websocket's messages back"),
    ],
)
def test_a_kernel_that_is_not_ready_in_time(
    state: Model,
    argv: list[str],
    events: list[Model],
    words: str,
    hint: str,
    hub: HubWithKernel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.models, hub.specs = {"all": state}, {"default": "x", "kernelspecs": {"x": {"spec": {"argv": argv}}}}
    with pytest.raises(KernelFailed) as error:
        execute(hub, monkeypatch, timeout=1.0 if events else 0.3, handshakes=[math.inf], events=events)
    assert words in error.value.message
    assert hint in error.value.hint
    assert error.value.result["seconds"] < 20


def test_a_kernel_that_restarts_repeatedly_is_given_up(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KernelFailed, match="the server has started it 3 times"):
        execute(hub, monkeypatch, handshakes=[math.inf], events=[RESTART, RESTART])
    assert hub.kernels == set()


# The websocket's handshake


def refused(status: int) -> Exception:
    return websocket.WebSocketBadStatusException("Handshake status %d %s", status)


def test_a_proxy_that_lets_no_websocket_through(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HubFailure, match="websocket with 403") as error:
        execute(hub, monkeypatch, handshakes=[refused(403)])
    assert error.value.status == 403
    assert hub.kernels == set()


PASSING = [
    *(refused(status) for status in (500, 502, 503, 429, 520)),
    ConnectionRefusedError("Connection refused"),
    websocket.WebSocketConnectionClosedException("Connection to remote host was lost."),
]


@pytest.mark.parametrize("passing", PASSING, ids=repr)
def test_a_handshake_is_repeated(passing: Exception, hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert execute(hub, monkeypatch, REPLY, IDLE, handshakes=[passing, passing, None])["error"] is None


@pytest.mark.parametrize("passing", [PASSING[1], PASSING[-1]], ids=repr)
def test_a_handshake_that_never_succeeds_is_blamed_on_a_proxy(
    passing: Exception, hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((HubFailure, Unreachable), match="websocket") as error:
        execute(hub, monkeypatch, timeout=1.0, handshakes=[passing])
    assert "lets websockets through" in error.value.hint
    assert hub.kernels == set()


@pytest.mark.parametrize(
    "final", [ssl.SSLCertVerificationError("not trusted"), websocket.WebSocketException("Redirect limit exhausted")]
)
def test_permanent_errors_are_reported_at_once(
    final: Exception, hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unreachable, match="no connection to the kernel's websocket") as error:
        execute(hub, monkeypatch, handshakes=[final])
    assert "NO_PROXY" in error.value.hint
    assert hub.kernels == set()


@pytest.mark.parametrize("status", [404, 500])
@pytest.mark.parametrize("state", [{"execution_state": "dead"}, None])
def test_a_handshake_that_a_dead_kernel_ends(
    status: int, state: Model | None, hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.models = {"all": state or {}}
    original = hub.ask_server

    def answer(method: str, url: str, **more: Any) -> Any:
        if state is None and url == KERNEL:
            hub.kernels.clear()
        return original(method, url, **more)

    monkeypatch.setattr(hub, "ask_server", answer)
    with pytest.raises(KernelFailed, match="ends as soon as it is started"):
        execute(hub, monkeypatch, handshakes=[refused(status)])


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_no_websocket(status: int) -> None:
    """Some versions of the library take it for a connection."""
    head = f"HTTP/1.1 {status} Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".encode()
    with (
        raw_server(head) as server,
        HubClient(Connection(server.url)) as client,
        pytest.raises(websocket.WebSocketException),
    ):
        exec_websocket.open_websocket(client, server.url, 10.0)


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ({"default": "python3", "kernelspecs": {}}, "has no kernel spec at all"),
        ({"default": "python3", "kernelspecs": {"ir": {}}}, "default kernel spec 'python3' is not there; it has 'ir'"),
        (
            {"default": "python3", "kernelspecs": {"python3": {"spec": {"argv": ["/old/python", "-m", "k"]}}}},
            "cannot start its kernel: No such file or directory: '/old/python'. Its kernel spec 'python3' starts",
        ),
        ({"default": "x", "kernelspecs": {"x": {"spec": None}}}, "starts 'an unknown command'"),
    ],
)
def test_why_a_server_starts_no_kernel(
    specs: Model, words: str, hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "No such file or directory: '/old/python'"
    hub.answer_to_post = HubFailure("The hub failed with 500.", "x", status=500, method="POST", reason=reason)
    hub.specs = specs
    with pytest.raises(KernelFailed) as error:
        execute(hub, monkeypatch)
    assert words in error.value.message
    assert error.value.status == 500


@pytest.mark.parametrize("hangs", [True, False])
def test_a_server_that_does_not_answer_for_its_kernels(
    hangs: bool, hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.answer_to_post = TimedOut("The hub did not answer POST.", "x", method="POST")
    original = hub.ask_server

    def answer(method: str, url: str, **more: Any) -> Any:
        if url.endswith("/api/kernels") and method == "GET":
            if hangs:
                raise TimedOut("The hub did not answer GET.", "x", method="GET")
            return []
        return original(method, url, **more)

    monkeypatch.setattr(hub, "ask_server", answer)
    words = "kernels API of the server of user 'alice' does not answer" if hangs else "has not started a kernel within"
    with pytest.raises(KernelFailed, match=words) as error:
        execute(hub, monkeypatch, timeout=0.2)
    posted = ("POST", HUB + "user/alice/api/kernels") in hub.requests
    assert posted is not hangs
    assert ("may still start" in error.value.hint) is posted
    assert "hub" not in (error.value.message + error.value.hint).lower()


def test_displayed_data_is_the_result_if_there_is_no_other() -> None:
    shown = message("display_data", data={"text/plain": "[1] 42"})
    assert output_of(shown).as_result()["result"] == "[1] 42"
    assert output_of(shown, message("execute_result", data={"text/plain": "7"})).as_result()["result"] == "7"
    assert output_of(message("display_data", data=[])).as_result()["result"] is None


@pytest.mark.parametrize(
    ("proxy", "host", "port", "kind"),
    [
        ("http://proxy:3128", "proxy", 3128, "http"),
        ("proxy:3128", "proxy", 3128, "http"),
        ("proxy", "proxy", 80, "http"),
        ("http://us%40er:w%2Frd@proxy:3128", "proxy", 3128, "http"),
        ("socks5h://us%40er:w%2Frd@proxy", "proxy", 1080, "socks5h"),
    ],
)
def test_the_websocket_goes_through_the_proxy_of_the_requests(
    proxy: str, host: str, port: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = exec_websocket.proxy_options(proxy)
    assert (options["http_proxy_host"], options["http_proxy_port"], options["proxy_type"]) == (host, port, kind)
    # The library requests reads a proxy's user and password in the same way.
    assert options["http_proxy_auth"] == (("us@er", "w/rd") if "@" in proxy else None)
    # The library shows how it reads these options.
    monkeypatch.setenv("http_proxy", "http://of-the-environment:3128")
    monkeypatch.setenv("NO_PROXY", "hub.example.org")
    for proxy_settings, expected in ((options, host), (exec_websocket.proxy_options(None), None)):
        info = proxy_info(**proxy_settings)
        settings_read = (info.proxy_host, info.proxy_port, info.auth, info.no_proxy, info.proxy_protocol)
        assert get_proxy_info("hub.example.org", False, *settings_read)[0] == expected


@pytest.mark.parametrize(("proxy", "port"), [("https://user:word@proxy", 443), ("https://proxy:3129", 3129)])
def test_a_proxy_with_tls_is_refused(proxy: str, port: int) -> None:
    with pytest.raises(Invalid, match=f"the proxy https://proxy:{port}, .* no TLS") as error:
        exec_websocket.proxy_options(proxy)
    assert "word" not in error.value.message


# A request for a kernel whose answer is lost, or comes from a proxy

LOST = [
    Unreachable("No answer.", "x", method="POST"),
    HubFailure("A proxy answers 504.", "x", status=504, method="POST", reason="Gateway Time-out"),
    HubFailure("It does not answer; the hub does.", "x", status=503, method="POST", reason="Service Unavailable"),
]


@pytest.mark.parametrize("lost", LOST, ids=repr)
@pytest.mark.parametrize("takes_ids", [True, False])
def test_a_kernel_whose_id_was_lost_with_the_answer_is_found_and_used(
    takes_ids: bool, lost: HubError, hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_client, "_CLAIM_TIME", 0.001)
    theirs = KERNEL.replace("k1", "k5")
    hub.kernels, hub.takes_ids, hub.answer_to_post, hub.comes_after = {theirs}, takes_ids, lost, 3
    assert execute(hub, monkeypatch, REPLY, IDLE)["error"] is None
    assert hub.kernels == {theirs}


@pytest.mark.parametrize("lost", LOST, ids=repr)
def test_a_kernel_that_does_not_come_in_time_may_come_later(
    lost: HubError, hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.answer_to_post = lost
    with pytest.raises(KernelFailed, match="has not started a kernel within") as error:
        execute(hub, monkeypatch, timeout=0.2)
    number = next(url.rpartition("/")[2] for method, url in hub.requests if method == "DELETE")
    assert f"The kernel {number} may still start" in error.value.hint
    assert "cull_idle_timeout" in error.value.hint
    assert (error.value.status, "504 (Gateway Time-out)" in error.value.message) == (lost.status, lost.status == 504)


def test_a_kernel_that_comes_with_the_end_of_the_time_is_deleted(
    hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.takes_ids, hub.answer_to_post = True, LOST[0]
    original = hub.ask_server

    def answer(method: str, url: str, *, what: str, body: Model | None = None) -> Any:
        if method == "POST":
            time.sleep(0.3)
        return original(method, url, what=what, body=body)

    monkeypatch.setattr(hub, "ask_server", answer)
    with pytest.raises(KernelFailed, match="has not started a kernel within") as error:
        execute(hub, monkeypatch, timeout=0.2)
    assert "may still start" not in error.value.hint
    assert hub.kernels == set()


def test_a_rate_limited_start_is_repeated(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = [RateLimited("no room", "x", status=429), RateLimited("no room", "x", status=429)]
    original = hub.ask_server

    def answer(method: str, url: str, *, what: str, body: Model | None = None) -> Any:
        if method == "POST" and limited:
            raise limited.pop()
        return original(method, url, what=what, body=body)

    monkeypatch.setattr(hub, "ask_server", answer)
    assert execute(hub, monkeypatch, REPLY, IDLE)["error"] is None


def test_kernels_of_other_clients_are_left_alone(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_client, "_CLAIM_TIME", 0.001)
    hub.takes_ids, hub.answer_to_post = False, LOST[0]
    other = KERNEL.replace("k1", "k6")
    original = hub.ask_server

    def answer(method: str, url: str, *, what: str, body: Model | None = None) -> Any:
        if method == "POST":
            hub.kernels.add(other)  # started by a person at the same moment
        return original(method, url, what=what, body=body)

    monkeypatch.setattr(hub, "ask_server", answer)
    with pytest.raises(KernelFailed, match="No answer"):
        execute(hub, monkeypatch, timeout=0.2)
    assert hub.kernels == {other, KERNEL.replace("k1", "k7")}


# The timeout is for the whole task


def test_the_first_request_counts_for_the_timeout(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[float] = []

    def with_deadline(deadline: float) -> HubWithKernel:
        deadlines.append(deadline)
        return hub

    monkeypatch.setattr(hub, "with_deadline", with_deadline)
    flow = ExecFlow(hub, ExecSpec("alice", "", "1", timeout=60.0), lambda line: None)  # type: ignore[arg-type]
    flow.plan()
    assert deadlines == [flow._deadline]


def test_after_the_deadline_a_hanging_server_is_not_waited_for(
    hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, original = threading.Event(), hub.ask_server

    def answer(method: str, url: str, *, what: str, body: Model | None = None) -> Any:
        if method == "DELETE" or url.endswith("/api/kernelspecs"):
            hangs.wait(60)
        return original(method, url, what=what, body=body)

    monkeypatch.setattr(hub, "ask_server", answer)
    with pytest.raises(KernelFailed, match=r"hangs before it is ready\. The server does not show its kernel specs"):
        execute(hub, monkeypatch, timeout=0.2, handshakes=[math.inf])
    assert ("DELETE", KERNEL) not in hub.requests  # the request was sent, and the server has not answered it
    hangs.set()
