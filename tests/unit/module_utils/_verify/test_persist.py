# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_verify.persist: what the answers of a contents API mean for a user's files."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    KernelFailed,
    MissingScope,
    Timeout,
    UnexpectedAnswer,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify import persist
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.persist import (
    Nonce,
    name_nonce_file,
    read_nonce,
    remove_nonce,
    write_nonce,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.running_server import RunningServer
from support.fakes.misbehaving_hub import misbehaving_hub, no_answer
from support.fakes.scripted_hub import HUB, Exchange, scripted_hub, user, version

NONCE = Nonce("hubops-verify-default.txt", "0123abc")
URL = f"{HUB}user/alice/api/contents/hubops-verify-default.txt"
READ_URL = f"{URL}?type=file&format=text&content=1"
BODY = {
    "type": "file",
    "format": "text",
    "content": "0123abc\nA test of the deployment writes this file and removes it again. It may be deleted.\n",
}
FULL = {"message": "Unexpected error while saving file: x [Errno 28] No space left on device"}


def server_of(hub: HubClient) -> RunningServer:
    return RunningServer(hub, f"{HUB}user/alice/", "server of user 'alice'", "alice", 0.1)


@pytest.fixture(autouse=True)
def known_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persist.secrets, "token_hex", lambda _size: "0123abc")


@pytest.mark.parametrize(
    ("server_name", "expected"),
    [
        ("", "hubops-verify-default.txt"), ("gpu", "hubops-verify-gpu.txt"), ("../x y/é", "hubops-verify-x-y.txt"),
        ("x" * 300, f"hubops-verify-{'x' * 60}.txt"), ("..", "hubops-verify-default.txt"),
    ],
)  # fmt: skip
def test_the_name_of_the_file(server_name: str, expected: str) -> None:
    assert name_nonce_file(server_name) == expected


@pytest.mark.parametrize("status", [200, 201])
def test_a_nonce_is_written(status: int) -> None:
    with scripted_hub(Exchange("PUT", URL, {"path": NONCE.path}, status, body=BODY)) as hub:
        assert write_nonce(server_of(hub), "") == NONCE


@pytest.mark.parametrize(
    ("status", "answer", "kind", "words"),
    [
        (500, FULL, HubFailure, "cannot write the file hubops-verify-default.txt in the user's home: Unexpected error"),
        (400, {"message": "is a directory"}, HubFailure, "is a directory"),
        (507, {"message": "quota"}, HubFailure, "quota"),
        (404, {"message": "Not Found"}, UnexpectedAnswer, "has no contents API"),
        (405, "<title>No</title>", UnexpectedAnswer, "has no contents API"),
        (200, "<title>Hello</title>", UnexpectedAnswer, "has no contents API"),
        (200, ["hello"], UnexpectedAnswer, "has no contents API"),
        (424, None, HubFailure, "the hub answers in its place"),
        (502, "<title>Bad Gateway</title>", HubFailure, "A proxy answers 502 in place of the server of user 'alice'"),
    ],
)
def test_a_nonce_that_is_not_written(status: int, answer: Any, kind: type[HubError], words: str) -> None:
    with scripted_hub(Exchange("PUT", URL, answer, status, body=BODY)) as hub, pytest.raises(HubError) as raised:
        write_nonce(server_of(hub), "")
    assert isinstance(raised.value, kind)
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (404, None, "the hub answers in its place"),
        (200, {"version": "2"}, "A proxy in front of the .* refuses PUT with 403"),
    ],
)
def test_who_forbids_it(status: int, answer: Any, words: str) -> None:
    """The hub does if the server is not there. If the server answers, it is a proxy that knows only some methods."""
    refused = Exchange("PUT", URL, "<title>Forbidden</title>", 403, body=BODY)
    looks = [Exchange("GET", f"{HUB}user/alice/{path}", answer, status, token=None) for path in ("api", "")]
    with (
        scripted_hub(refused, *looks[: 1 if status == 200 else 2]) as hub,
        pytest.raises(HubFailure, match=words),
    ):
        write_nonce(server_of(hub), "")


@pytest.mark.parametrize(
    ("scopes", "kind", "words"),
    [
        (
            ["access:servers"],
            HubFailure,
            "in the user's home: Permission denied",
        ),
        (["access:servers!user=alice"], HubFailure, "Permission denied"),
        (["access:servers!user=bob"], MissingScope, "does not cover"),
        ([], MissingScope, "lacks the scope"),
    ],
)
def test_a_server_that_forbids_it(scopes: list[str], kind: type[HubError], words: str) -> None:
    """A contents API answers 403 if the file's folder is read-only, and the server answers 403 to a wrong token."""
    refused = Exchange("PUT", URL, {"message": "Permission denied: x"}, 403, body=BODY)
    with scripted_hub(refused, version(), user(*scopes)) as hub, pytest.raises(HubError) as raised:
        write_nonce(server_of(hub), "")
    assert isinstance(raised.value, kind)
    assert words in raised.value.message


def test_a_nonce_that_persists() -> None:
    with scripted_hub(Exchange("GET", READ_URL, {"content": BODY["content"]})) as hub:
        read_nonce(server_of(hub), NONCE)


@pytest.mark.parametrize(
    ("status", "answer", "kind", "words"),
    [
        (404, {"message": "No such file"}, HubFailure, "does not persist: the file hubops-verify-default.txt is gone"),
        (200, {"content": "4567def\n"}, HubFailure, "does not persist: the file hubops-verify-default.txt has another"),
        (200, {"content": ""}, HubFailure, "another content"),
        (200, {"content": None}, UnexpectedAnswer, "has no contents API"),
        (400, {"message": "not UTF-8"}, HubFailure, "cannot be read after the restart"),
        (507, {"message": "Input/output error"}, HubFailure, "cannot be read after the restart"),
        (502, "<title>Bad Gateway</title>", HubFailure, "A proxy answers 502"),
    ],
)
def test_a_nonce_that_does_not(status: int, answer: Any, kind: type[HubError], words: str) -> None:
    with scripted_hub(Exchange("GET", READ_URL, answer, status)) as hub, pytest.raises(HubError) as raised:
        read_nonce(server_of(hub), NONCE)
    assert isinstance(raised.value, kind)
    assert words in raised.value.message


def test_a_home_that_hangs() -> None:
    with misbehaving_hub(no_answer) as fake, HubClient(Connection(fake.url, "s3cr3t-0123456789")) as hub:
        server = RunningServer(hub, f"{fake.url}user/alice/", "server of user 'alice'", "alice", 0.1)
        with pytest.raises(Timeout, match=r"does not answer for the file hubops-verify-gpu.txt in time") as raised:
            write_nonce(server, "gpu")
    assert "volume" in raised.value.hint


@pytest.mark.parametrize("status", [204, 404])
def test_a_nonce_is_removed(status: int) -> None:
    with scripted_hub(Exchange("DELETE", URL, status=status)) as hub:
        remove_nonce(server_of(hub), NONCE)


def test_a_nonce_that_is_not_removed() -> None:
    refused = Exchange("DELETE", URL, {"message": "send2trash failed"}, 400)
    with (
        scripted_hub(refused) as hub,
        pytest.raises(HubFailure, match=r"does not remove the file .*: send2trash failed"),
    ):
        remove_nonce(server_of(hub), NONCE)


def test_code_in_a_kernel_removes_it(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / NONCE.path

    def run(code: str) -> Any:
        names: dict[str, Any] = {}
        exec(code, names)
        assert names.keys() == {"__builtins__"}
        return SimpleNamespace(stdout=capsys.readouterr().out)

    file.write_text(BODY["content"])
    with scripted_hub() as hub:
        remove_nonce(server_of(hub), NONCE, run)
    assert not file.exists()
    file.write_text("of somebody else")
    with scripted_hub(Exchange("DELETE", URL, status=204)) as hub:
        remove_nonce(server_of(hub), NONCE, run)
    assert file.exists()


def test_a_kernel_that_fails_does_not_matter() -> None:
    def run(code: str) -> Any:
        raise KernelFailed("It died.", "Look.")

    with scripted_hub(Exchange("DELETE", URL, status=204)) as hub:
        remove_nonce(server_of(hub), NONCE, run)
