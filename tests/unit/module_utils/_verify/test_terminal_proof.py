# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_verify.terminal_proof: what the answers of a terminals API mean, and that no terminal is left behind."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    NotFound,
    Timeout,
    UnexpectedAnswer,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify import terminal_proof
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.phases import Finding
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.running_server import RunningServer
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.terminal_proof import prove_terminal
from support.fakes.scripted_hub import HUB, Exchange, scripted_hub, user, version

URL = f"{HUB}user/alice/api/terminals"


def server_of(hub: HubClient) -> RunningServer:
    return RunningServer(hub, f"{HUB}user/alice/", "server of user 'alice'", "alice", 1)


def started(name: Any = "7") -> Exchange:
    return Exchange("POST", URL, {"name": name}, 200, body={})


def deleted(status: int = 204, answer: Any = None) -> Exchange:
    return Exchange("DELETE", f"{URL}/7", answer, status)


def use_terminal(monkeypatch: pytest.MonkeyPatch, outcome: HubError | None = None) -> list[tuple[Any, ...]]:
    """Replace the websocket: it shows the command and its answer, or raises a failure. Returns what it was given."""
    calls: list[tuple[Any, ...]] = []

    def run_command(*given: Any) -> str:
        calls.append(given)
        if outcome:
            raise outcome
        return f"$ {given[3]}\n{given[4]}\n"

    monkeypatch.setattr(terminal_proof, "run_command", run_command)
    return calls


def test_a_terminal_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, finding = use_terminal(monkeypatch), Finding()
    with scripted_hub(started(), deleted()) as hub:
        prove_terminal(server_of(hub), finding)
    [(_hub, url, what, command, marker, _deadline)] = calls
    assert (url, what) == (f"{HUB}user/alice/terminals/websocket/7", "server of user 'alice'")
    assert marker not in command
    assert re.fullmatch(r"printf '%s=%s\\n' [0-9a-f]{8} [0-9a-f]{8}", command)
    assert marker in finding.details["output"]
    assert finding.message.startswith("A terminal ran a command and answered within ")
    assert finding.warnings == []


@pytest.mark.parametrize(
    ("status", "answer", "kind", "words"),
    [
        (404, {"message": "Not Found"}, NotFound, "has no terminals"),
        (404, "<title>JupyterLab</title>", NotFound, "has no terminals"),
        (405, None, NotFound, "has no terminals"),
        (507, {"message": "No such file or directory: 'zsh'"}, HubFailure, "cannot start a terminal: No such file"),
        (500, {"message": "Too many terminals"}, HubFailure, "cannot start a terminal: Too many"),
        (424, None, HubFailure, "the hub answers in its place"),
        (502, "<title>Bad Gateway</title>", HubFailure, "A proxy answers 502"),
        (200, "<title>Hello</title>", UnexpectedAnswer, "not as a Jupyter Server does"),
        (200, {"name": "../x"}, UnexpectedAnswer, "not as a Jupyter Server does"),
        (200, {"name": None}, UnexpectedAnswer, "not as a Jupyter Server does"),
    ],
)
def test_terminals_that_do_not_start(status: int, answer: Any, kind: type[HubError], words: str) -> None:
    with scripted_hub(Exchange("POST", URL, answer, status, body={})) as hub, pytest.raises(HubError) as raised:
        prove_terminal(server_of(hub), Finding())
    assert isinstance(raised.value, kind)
    assert words in raised.value.message


def test_terminals_that_are_forbidden() -> None:
    refused = Exchange("POST", URL, {"message": "Forbidden"}, 403, body={})
    with (
        scripted_hub(refused, version(), user("access:servers")) as hub,
        pytest.raises(NotFound, match=r"has no terminals: it answers 403 \(Forbidden\)"),
    ):
        prove_terminal(server_of(hub), Finding())


@pytest.mark.parametrize("outcome", [Timeout("No answer.", "Wait."), HubFailure("Refused.", "Look.", status=400)])
def test_the_terminal_is_deleted_in_any_case(monkeypatch: pytest.MonkeyPatch, outcome: HubError) -> None:
    use_terminal(monkeypatch, outcome)
    with scripted_hub(started(), deleted()) as hub, pytest.raises(type(outcome), match=outcome.message):
        prove_terminal(server_of(hub), Finding())


@pytest.mark.parametrize(
    ("status", "words"), [(404, "The shell of the terminal .* has ended before it ran a command"), (200, "Refused")]
)
def test_a_terminal_that_is_gone(monkeypatch: pytest.MonkeyPatch, status: int, words: str) -> None:
    use_terminal(monkeypatch, HubFailure("Refused.", "Look.", status=404))
    look = Exchange("GET", f"{URL}/7", {}, status)
    with scripted_hub(started(), look, deleted(404)) as hub, pytest.raises(HubFailure, match=words):
        prove_terminal(server_of(hub), Finding())


def test_a_terminal_that_stays_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    use_terminal(monkeypatch)
    finding = Finding()
    with scripted_hub(started(), deleted(500, {"message": "no"})) as hub:
        prove_terminal(server_of(hub), finding)
    assert finding.warnings == ["The terminal 7 could not be deleted: the server answers 500."]
