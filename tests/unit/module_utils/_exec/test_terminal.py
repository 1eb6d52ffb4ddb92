# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_exec.terminal: what a terminal's messages mean, and every way in which no answer comes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import websocket
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec import terminal
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec.terminal import run_command
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    Invalid,
    Timeout,
    Unreachable,
)
from hypothesis import given
from hypothesis import strategies as st

WHAT = "server of user 'alice'"
URL = "https://hub.example.org/user/alice/terminals/websocket/1"
COMMAND = "printf '%s=%s' a b"


class FakeConnection:
    """A terminal's websocket that sends these frames, and then nothing until it is closed."""

    def __init__(self, *frames: Any) -> None:
        self.frames, self.sent, self.closed = list(frames), list[Any](), threading.Event()
        self.sock = self

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    def recv(self) -> Any:
        if not self.frames:
            self.closed.wait(60)
            raise websocket.WebSocketConnectionClosedException("closed here")
        frame = self.frames.pop(0)
        if isinstance(frame, Exception):
            raise frame
        return json.dumps(frame) if isinstance(frame, list) else frame

    def shutdown(self, _how: int) -> None:
        self.closed.set()

    def close(self, timeout: float) -> None:
        self.closed.set()


def run(monkeypatch: pytest.MonkeyPatch, opened: Callable[[], Any], seconds: float = 60) -> str:
    monkeypatch.setattr(terminal, "open_websocket", lambda *_given: opened())
    monkeypatch.setattr(terminal, "_PAUSE", 0.01)
    hub: Any = None
    return run_command(hub, URL, WHAT, COMMAND, "a=b", time.monotonic() + seconds)


def run_frames(monkeypatch: pytest.MonkeyPatch, *frames: Any, seconds: float = 60) -> tuple[str, FakeConnection]:
    connection = FakeConnection(*frames)
    try:
        return run(monkeypatch, lambda: connection, seconds), connection
    finally:
        assert connection.closed.is_set()


def test_a_command_and_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    output, connection = run_frames(
        monkeypatch,
        ["setup", {}], ["stdout", "\x1b]0;title\x07\x1b[?2004h$ "], ["stdout", f"{COMMAND}\r\n"], "no JSON", "[]", "7",
        [7], ["stdout"], ["stdout", "\x1b[32ma"], ["stdout", "=b\x1b[0m"], ["stdout", "too late"],
    )  # fmt: skip
    assert output == f"$ {COMMAND}\na=b"
    assert connection.sent == [["set_size", 24, 200], ["stdin", COMMAND + "\r"]]


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (
            [["stdout", "no such\x1b[0m user"], ["disconnect", 1]],
            "ran a command. It showed: no such user.",
        ),
        ([""], "It showed nothing"),
        ([websocket.WebSocketConnectionClosedException("gone")], "ran a command (gone)"),
        ([ConnectionResetError("reset")], "ran a command (reset)"),
    ],
)
def test_a_shell_that_ends(monkeypatch: pytest.MonkeyPatch, frames: list[Any], words: str) -> None:
    with pytest.raises(HubFailure) as raised:
        run_frames(monkeypatch, *frames)
    assert words in raised.value.message


def test_the_echo_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Timeout, match=r"has not run a command within .* It showed: printf"):
        run_frames(monkeypatch, ["stdout", COMMAND + "\r\n"], seconds=0.2)


def test_a_library_that_times_out_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Timeout, match="has not run a command"):
        run_frames(monkeypatch, websocket.WebSocketTimeoutException())


def test_a_websocket_that_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    with pytest.raises(Timeout, match="websocket of the server of user 'alice' has not opened within"):
        run(monkeypatch, lambda: ended.wait(60), seconds=0.2)
    ended.set()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (websocket.WebSocketBadStatusException("x", 400), HubFailure, "refuses the terminal's websocket with 400"),
        (websocket.WebSocketBadStatusException("x", 502), HubFailure, "with 502"),
        (ConnectionRefusedError("refused"), Unreachable, "no connection to the terminal's websocket"),
        (websocket.WebSocketProxyException("no"), Unreachable, "no connection"),
        (Invalid("The proxy.", "Set it."), Invalid, "The proxy."),
        (websocket.WebSocketTimeoutException(), Timeout, "has not opened"),
    ],
)
def test_a_websocket_that_is_refused(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[HubError], words: str
) -> None:
    def refuse() -> Any:
        raise error

    monkeypatch.setattr(terminal, "_PATIENCE", 0.05)
    with pytest.raises(HubError) as raised:
        run(monkeypatch, refuse)
    assert isinstance(raised.value, kind)
    assert words in raised.value.message


def test_a_proxy_that_is_away_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [502, 500]

    def open_later() -> Any:
        if answers:
            raise websocket.WebSocketBadStatusException("x", answers.pop())
        return FakeConnection(["stdout", "a=b"])

    assert run(monkeypatch, open_later) == "a=b"


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "HAS_WEBSOCKET", False)
    with pytest.raises(Invalid, match="websocket-client is not installed"):
        run(monkeypatch, FakeConnection)


def test_a_flood_of_output(monkeypatch: pytest.MonkeyPatch) -> None:
    output, _connection = run_frames(monkeypatch, *[["stdout", "x" * 50_000]] * 50, ["stdout", "a=b"])
    assert len(output) <= 100_000


@given(st.text(alphabet="\x1b]\x07[;?0m\\\r\nab=(", max_size=200))
def test_nothing_that_a_terminal_shows_stays_a_control_character(text: str) -> None:
    output = terminal._Output()
    output.add(text)
    assert "\x1b" not in output.text
    assert "\r" not in output.text
