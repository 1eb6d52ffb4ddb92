# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_kernels: what a kernel's messages mean, and that no kernel is left behind."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
import websocket
from ansible_collections.hubops.jupyterhub.plugins.module_utils import _channels, _kernels, _websocket
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import (
    Conflict,
    HubError,
    HubFailure,
    Invalid,
    KernelFailed,
    NotFound,
    Unreachable,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import Timeout as TimedOut
from ansible_collections.hubops.jupyterhub.plugins.module_utils._kernels import ExecFlow, Output, Wanted
from ansible_collections.hubops.jupyterhub.plugins.module_utils._plan import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_hub import HUB, PENDING, READY, Model, StandInHub, hub_with
from websocket._http import proxy_info
from websocket._url import get_proxy_info

# A machine that is busy with other things is no reason to fail.
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
        output.take(each, OURS)
    return output


REPLY = message("execute_reply", status="ok")
IDLE = status("idle")
RAISED: Model = {"ename": "ValueError", "evalue": f"{RED}no\x1b[0m", "traceback": [f"{RED}File\x1b[39;49m 1", "two"]}
PLAIN = {"ename": "ValueError", "evalue": "no", "traceback": ["File 1", "two"]}


@pytest.mark.parametrize("order", list(itertools.permutations([REPLY, IDLE, stream("stdout", "42\n")])))
def test_it_is_done_with_the_reply_and_idle_in_any_order(order: tuple[Model, ...]) -> None:
    for count in range(3):
        so_far = output_of(*order[:count])
        assert so_far.done is (REPLY in order[:count] and IDLE in order[:count])
    whole = output_of(*order)
    assert (whole.done, whole.stdout, whole.error, whole.lost) == (True, "42\n", None, None)


def test_a_long_output_takes_a_time_that_grows_with_it() -> None:
    output, began = Output(), time.monotonic()
    piece = stream("stdout", "x" * 10_000)
    for _number in range(10_000):  # 100 MB: a copy of all for each piece were 500 GB
        output.take(piece, OURS)
    assert len(output.stdout) == 100_000_000
    assert time.monotonic() - began < 30


@UNHURRIED
@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text()), max_size=8))
def test_what_is_printed_is_kept_in_order_by_stream(printed: list[tuple[str, str]]) -> None:
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
def test_what_answers_another_request_counts_for_nothing(foreign: Model) -> None:
    assert output_of(foreign) == Output()


@pytest.mark.parametrize("state", ["busy", "starting"])
def test_a_kernel_at_work_is_not_done(state: str) -> None:
    assert output_of(REPLY, status(state)).done is False


@pytest.mark.parametrize("state", ["dead", "restarting", "autorestarting"])
@pytest.mark.parametrize("parent", [OURS, "another", ""])
def test_a_kernel_that_dies_is_lost_whatever_it_answered(state: str, parent: str) -> None:
    assert output_of(status(state, parent)).lost == state


def test_the_last_expression_s_value() -> None:
    assert output_of(message("execute_result", data={"text/plain": "42", "text/html": "<b>42"})).result == "42"
    assert output_of(message("execute_result", data={"image/png": "x"})).result is None


@pytest.mark.parametrize(
    "messages",
    [
        [message("error", **RAISED)],
        [message("execute_reply", status="error", **RAISED)],  # a kernel need not tell it twice
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


# The whole of it, with a scripted kernel behind a scripted websocket

KERNEL = HUB + "user/alice/api/kernels/k1"


class ScriptedChannel:
    """A kernel's websocket that answers whether the kernel is ready, and then says what is in its script: messages as
    they are, or raised. ``deaf`` is how many questions it does not answer."""

    subprotocol = None

    def __init__(self, script: list[Any], deaf: int = 0) -> None:
        self.script = script
        self.deaf = deaf
        self.answers: list[Model] = []
        self.asked: list[str] = []
        self.closed = False

    def settimeout(self, _seconds: float) -> None: ...

    def send(self, text: str) -> None:
        request = json.loads(text)
        kind, number = request["header"]["msg_type"], request["header"]["msg_id"]
        self.asked.append(kind)
        assert request["channel"] == "shell"
        if kind == "kernel_info_request":
            if self.asked.count(kind) > self.deaf:
                self.answers += [message("kernel_info_reply", number), status("idle", number)]
            return
        self.parent = number
        assert request["content"]["allow_stdin"] is False  # nobody is there to answer a question

    def recv(self) -> Any:
        if self.answers:
            return json.dumps(self.answers.pop(0))
        if self.asked[-1] == "kernel_info_request" and not (self.script and self.script[0] == BEFORE):
            raise websocket.WebSocketTimeoutException
        said = self.script.pop(0)
        if said == BEFORE:
            said = self.script.pop(0)
        if isinstance(said, BaseException):
            raise said
        if isinstance(said, dict):
            if said.get("parent_header", {}).get("msg_id") == OURS:
                said = {**said, "parent_header": {"msg_id": self.parent}}
            return json.dumps(said)
        return said

    def close(self, timeout: float) -> None:
        self.closed = True


BEFORE = "said before the kernel has answered"


class HubWithKernel(StandInHub):
    def __init__(self) -> None:
        super().__init__(hub_with(READY).model)
        self.kernels: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.answers_to_delete: list[HubError] = []
        self.answer_to_post: HubError | None = None
        self.takes_ids: bool | None = None
        """Whether a kernel whose answer is lost has the id that was asked for; None: there is none."""
        self.specs: Any = {"default": "python3", "kernelspecs": {"python3": {"spec": {"argv": ["python", "-m", "k"]}}}}

    def patient(self, deadline: float) -> HubWithKernel:
        return self

    def address(self, url: str) -> str:
        return url

    def ask_server(self, method: str, url: str, *, what: str, body: Model | None = None) -> Any:
        self.asked.append((method, url))
        if method == "GET" and url.endswith("/api/kernels"):
            return [{"id": kernel.rpartition("/")[2], "connections": 0} for kernel in self.kernels]
        if method == "POST":
            failure = self.answer_to_post
            if failure is not None:
                if self.takes_ids is not None:
                    assert body
                    self.kernels.add(KERNEL.replace("k1", body["kernel_id"] if self.takes_ids else "k7"))
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
        return None


@pytest.fixture
def hub() -> HubWithKernel:
    return HubWithKernel()


def execute(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch, *script: Any, check_mode: bool = False, deaf: int = 0
) -> dict[str, Any]:
    channel = ScriptedChannel(list(script), deaf)

    def handshake(_kernels: Any, url: str, _timeout: float) -> Any:
        assert url == KERNEL + "/channels"
        if script and isinstance(script[0], (websocket.WebSocketBadStatusException, ConnectionError)):
            raise script[0]
        return channel

    monkeypatch.setattr(_channels.Kernels, "_handshake", handshake)
    monkeypatch.setattr(_channels, "_PAUSE", 0.001)
    monkeypatch.setattr(_websocket, "_NUDGE", 0.001)
    flow = ExecFlow(hub, Wanted("alice", "", "6 * 7", timeout=500.0), lambda line: None)  # type: ignore[arg-type]
    return run(flow, check_mode=check_mode)


def test_code_is_run_and_its_kernel_is_gone(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    value = message("execute_result", data={"text/plain": "42"})
    # A binary frame carries buffers, of a picture or a widget.
    result = execute(hub, monkeypatch, status("busy"), b"\x00buffers", stream("stdout", "hi\n"), value, REPLY, IDLE)
    expected = {"changed": True, "stdout": "hi\n", "stdout_lines": ["hi"], "stderr": "", "result": "42", "error": None}
    assert {key: result[key] for key in expected} == expected
    assert ("POST", HUB + "user/alice/api/kernels") in hub.asked
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
def test_each_end_that_is_none_is_a_failure_with_the_output_so_far_and_no_kernel_left(
    script: list[Any], kind: type[HubError], words: str, hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(kind, match=words) as error:
        execute(hub, monkeypatch, *script)
    assert (error.value.result["stdout"], error.value.result["changed"]) == ("so far", True)
    assert hub.kernels == set()


def test_a_proxy_that_lets_no_websocket_through(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = websocket.WebSocketBadStatusException("Handshake status %d %s", 403)
    with pytest.raises(HubFailure, match="websocket with 403") as error:
        execute(hub, monkeypatch, refused)
    assert error.value.status == 403
    assert hub.kernels == set()


def test_a_kernel_that_is_being_restarted_is_deleted_when_it_can_be(
    hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.answers_to_delete = [HubFailure("busy", "x", status=500), HubFailure("busy", "x", status=500)]
    with pytest.raises(KernelFailed, match="died"):
        execute(hub, monkeypatch, status("restarting", ""))
    assert hub.kernels == set()


@pytest.mark.parametrize(("server", "state"), [(None, "stopped"), (PENDING, "pending")])
def test_code_needs_a_running_server(server: Model | None, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Conflict, match=state) as error:
        execute(hub_with(server), monkeypatch)
    assert (error.value.result["changed"], error.value.result["stdout"]) == (False, "")
    # In check mode the task that would start it has not.
    assert execute(hub_with(server), monkeypatch, check_mode=True)["changed"] is True


def test_output_that_the_server_left_out_is_told(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    said = stream("stderr", "IOPub data rate exceeded.\nThe Jupyter server will ...")
    assert execute(hub, monkeypatch, said, REPLY, IDLE)["truncated"] is True
    assert execute(hub, monkeypatch, REPLY, IDLE)["truncated"] is False


def test_check_mode_runs_nothing(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = execute(hub, monkeypatch, check_mode=True)
    assert hub.asked == []
    assert (checked["changed"], checked["actions"][0]["verb"]) == (True, "execute")
    assert checked.keys() == execute(hub, monkeypatch, REPLY, IDLE).keys()


def test_without_the_websocket_library_there_is_a_sentence(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernels, "HAS_WEBSOCKET", False)
    with pytest.raises(Invalid, match="websocket-client is not installed"):
        execute(hub, monkeypatch)


# A kernel that never comes to be


def test_a_kernel_whose_first_answer_is_lost_is_asked_again(
    hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert execute(hub, monkeypatch, REPLY, IDLE, deaf=3)["error"] is None


def test_a_kernel_that_dies_before_it_is_ready(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KernelFailed, match="died before it was ready") as error:
        execute(hub, monkeypatch, BEFORE, status("restarting", ""), deaf=9)
    assert "kernel spec 'python3' starts 'python -m k'" in error.value.message
    assert "server's own log" in error.value.hint
    assert hub.kernels == set()


def test_a_connection_that_was_never_made_is_no_dead_kernel(
    hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unreachable, match="no connection to the kernel's websocket") as error:
        execute(hub, monkeypatch, ConnectionRefusedError("Connection refused"))
    assert "NO_PROXY" in error.value.hint
    assert hub.kernels == set()


@pytest.mark.parametrize(
    ("specs", "says"),
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
    specs: Model, says: str, hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "No such file or directory: '/old/python'"
    hub.answer_to_post = HubFailure("The hub failed with 500.", "x", status=500, method="POST", reason=reason)
    hub.specs = specs
    with pytest.raises(KernelFailed) as error:
        execute(hub, monkeypatch)
    assert says in error.value.message
    assert error.value.status == 500


@pytest.mark.parametrize("hangs", [True, False])
def test_a_server_that_does_not_answer_for_its_kernels(
    hangs: bool, hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.answer_to_post = TimedOut("The hub did not answer POST.", "x", method="POST")
    asked = hub.ask_server

    def ask(method: str, url: str, **more: Any) -> Any:
        if url.endswith("/api/kernels") and method == "GET":
            if hangs:
                raise TimedOut("The hub did not answer GET.", "x", method="GET")
            return []
        return asked(method, url, **more)

    monkeypatch.setattr(hub, "ask_server", ask)
    says = "kernels API of the server of user 'alice' does not answer" if hangs else "has not started a kernel within"
    with pytest.raises(KernelFailed, match=says):
        execute(hub, monkeypatch)


def test_what_is_displayed_is_the_result_of_a_kernel_that_has_no_other() -> None:
    shown = message("display_data", data={"text/plain": "[1] 42"})
    assert output_of(shown).as_result()["result"] == "[1] 42"
    assert output_of(shown, message("execute_result", data={"text/plain": "7"})).as_result()["result"] == "7"
    assert output_of(message("display_data", data=[])).as_result()["result"] is None


@pytest.mark.parametrize(
    ("proxy", "host", "port", "kind"),
    [
        ("http://proxy:3128", "proxy", 3128, "http"),
        ("proxy:3128", "proxy", 3128, "http"),
        ("socks5h://user:word@proxy:1080", "proxy", 1080, "socks5h"),
    ],
)
def test_the_websocket_goes_through_the_proxy_of_the_requests(
    proxy: str, host: str, port: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = _channels._through(proxy)
    assert (options["http_proxy_host"], options["http_proxy_port"], options["proxy_type"]) == (host, port, kind)
    assert options["http_proxy_auth"] == (("user", "word") if "@" in proxy else None)
    # The library itself says what it makes of that.
    monkeypatch.setenv("http_proxy", "http://of-the-environment:3128")
    monkeypatch.setenv("NO_PROXY", "hub.example.org")
    for said, goes in ((options, host), (_channels._through(None), None)):
        info = proxy_info(**said)
        asked = (info.proxy_host, info.proxy_port, info.auth, info.no_proxy, info.proxy_protocol)
        assert get_proxy_info("hub.example.org", False, *asked)[0] == goes


@pytest.mark.parametrize("takes_ids", [True, False])
def test_a_kernel_whose_id_was_lost_with_the_answer_is_found_and_deleted(
    takes_ids: bool, hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_channels, "_CLAIMED", 0.001)
    theirs = KERNEL.replace("k1", "k5")
    hub.kernels, hub.takes_ids = {theirs}, takes_ids
    hub.answer_to_post = Unreachable("No answer.", "x", method="POST")
    with pytest.raises(HubError, match="No answer"):
        execute(hub, monkeypatch)
    assert hub.kernels == {theirs}


def test_kernels_that_may_be_somebody_else_s_are_left(hub: HubWithKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_channels, "_CLAIMED", 0.001)
    hub.takes_ids, hub.answer_to_post = False, Unreachable("No answer.", "x", method="POST")
    other = KERNEL.replace("k1", "k6")
    ask = hub.ask_server

    def asked(method: str, url: str, *, what: str, body: Model | None = None) -> Any:
        if method == "POST":
            hub.kernels.add(other)  # started by a person at the same moment
        return ask(method, url, what=what, body=body)

    monkeypatch.setattr(hub, "ask_server", asked)
    with pytest.raises(HubError, match="No answer"):
        execute(hub, monkeypatch)
    assert hub.kernels == {other, KERNEL.replace("k1", "k7")}
