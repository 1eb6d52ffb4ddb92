# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_tokens: a secret is kept, proven, and only then are its predecessors revoked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils import _secrets, _tokens
from ansible_collections.hubops.jupyterhub.plugins.module_utils._client import _DIALECTS
from ansible_collections.hubops.jupyterhub.plugins.module_utils._connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import (
    Invalid,
    NotFound,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._plan import run
from ansible_collections.hubops.jupyterhub.plugins.module_utils._tokens import TokenFlow, Wanted
from scripted_hub import HUB, TOKEN, Model, StandInHub

NOTE, SECRET = "nightly", "s3cr3t-new"
SCOPES = ("read:users!user",)
EXPANDED = ["read:users!user=alice", "read:users:name!user=alice"]


def token(number: str, note: str = NOTE) -> Model:
    return {"id": number, "note": note, "scopes": EXPANDED, "created": "then", "expires_at": None}


class HubOfTokens(StandInHub):
    """Mints and revokes what it is asked to; ``works`` says of each secret whose token it is."""

    connection = Connection(HUB, TOKEN)  # type: ignore[assignment]

    def __init__(self, *tokens: Model) -> None:
        super().__init__({"tokens": list(tokens)})
        self.works: dict[str, Model] = {}
        self.on_write = self._write
        self.log: list[str] = []

    def identity_of(self, number: str | None) -> Model:
        return {"kind": "user", "name": "alice", "scopes": EXPANDED, "token_id": number}

    def _write(self, method: str, path: str, body: Model | None) -> Model | None:
        assert self.model is not None
        if method == "POST":
            self.log.append("mint")
            assert body is not None
            minted = {**token("a9", body["note"]), "token": SECRET}
            self.model["tokens"].append(token("a9", body["note"]))
            self.works[SECRET] = self.identity_of("a9")
            return minted
        number = path.rpartition("/")[2]
        self.log.append(f"revoke {number}")
        self.model["tokens"] = [each for each in self.model["tokens"] if each["id"] != number]
        return None


@pytest.fixture
def second_client(monkeypatch: pytest.MonkeyPatch) -> Callable[[HubOfTokens], None]:
    """A kept secret is tried out with a client of its own: this one asks the stand-in."""

    def for_hub(hub: HubOfTokens) -> None:
        class Client:
            def __init__(self, connection: Connection) -> None:
                assert connection.hub_url == HUB
                self.secret = connection.api_token

            def __enter__(self) -> Any:
                hub.log.append("prove")
                if self.secret not in hub.works:
                    raise Unauthorized("The hub does not accept it.", "x")
                if isinstance(hub.works[self.secret], Exception):
                    raise hub.works[self.secret]
                return SimpleNamespace(identity=hub.works[self.secret])

            def __exit__(self, *_exc: object) -> None: ...

        monkeypatch.setattr(_tokens, "HubClient", Client)

    return for_hub


def perform(hub: HubOfTokens, state: str = "present", *, check_mode: bool = False, **more: Any) -> dict[str, Any]:
    wanted = Wanted("alice", NOTE, state, **{"scopes": SCOPES, **more})
    return run(TokenFlow(hub, wanted, lambda line: None), check_mode=check_mode)  # type: ignore[arg-type]


def verbs(result: dict[str, Any]) -> list[str]:
    return [f"{action['verb']} {action['object']}" for action in result["actions"]]


# Without a file


def test_a_token_is_minted_once_and_its_secret_given_once() -> None:
    hub = HubOfTokens(token("a1", "another note"))
    first, second = perform(hub, expires_in=60), perform(hub)
    assert (first["token"], first["token_id"], first["minted"], first["changed"]) == (SECRET, "a9", True, True)
    assert (second["token"], second["token_id"], second["minted"], second["changed"]) == (None, "a9", False, False)
    assert first["scopes"] == sorted(EXPANDED)
    assert hub.writes == [
        ("POST", "users/alice/tokens", {"note": NOTE, "scopes": list(SCOPES), "expires_in": 60}),
    ]


def test_scopes_are_minted_in_the_hub_s_own_words() -> None:
    hub = HubOfTokens()
    hub.dialect = _DIALECTS[1]
    perform(hub, scopes=("start:servers!user", "delete:servers!user"))
    assert hub.writes[0][2] == {"note": NOTE, "scopes": ["servers!user", "delete:servers!user"]}


def test_absent_revokes_all_of_that_note_and_no_other() -> None:
    hub = HubOfTokens(token("a1"), token("a2", "another note"), token("a3"))
    result = perform(hub, "absent")
    assert verbs(result) == ["revoke token a1", "revoke token a3"]
    assert result["revoked"] == ["a1", "a3"]
    assert hub.log == ["revoke a1", "revoke a3"]
    assert perform(hub, "absent")["changed"] is False


def test_a_token_that_went_meanwhile_is_revoked_all_the_same() -> None:
    hub = HubOfTokens(token("a1"))

    def gone(*_request: Any) -> None:
        raise NotFound("The hub has no such token.", "x", status=404)

    hub.on_write = gone
    assert perform(hub, "absent")["revoked"] == ["a1"]


def test_a_hub_that_keeps_the_secret_to_itself() -> None:
    hub = HubOfTokens()
    hub.on_write = lambda *_request: {"id": "a9"}
    with pytest.raises(UnexpectedAnswer):
        perform(hub)


# With a file that keeps the secret


def test_the_successor_is_minted_kept_and_proven_before_its_predecessors_go(
    tmp_path: Path, second_client: Callable[[HubOfTokens], None]
) -> None:
    hub, path = HubOfTokens(token("a1"), token("a2")), tmp_path / "alice.token"
    second_client(hub)
    revoking = hub.on_write

    def write(method: str, *request: Any) -> Any:
        if method == "DELETE":
            assert path.read_text() == SECRET + "\n"
        return revoking(method, *request)

    hub.on_write = write
    result = perform(hub, path=str(path))
    assert verbs(result) == ["mint token 'nightly' of user 'alice'", "revoke token a1", "revoke token a2"]
    assert hub.log == ["mint", "prove", "revoke a1", "revoke a2"]
    assert (result["token"], result["token_id"], result["revoked"]) == (None, "a9", ["a1", "a2"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert SECRET not in str(result)


def test_a_kept_secret_that_works_is_left_alone(tmp_path: Path, second_client: Callable[[HubOfTokens], None]) -> None:
    hub, path = HubOfTokens(), str(tmp_path / "alice.token")
    second_client(hub)
    perform(hub, path=path)
    again = perform(hub, path=path)
    assert (again["changed"], again["token_id"], again["actions"]) == (False, "a9", [])


@pytest.mark.parametrize(
    ("kept", "identity", "why"),
    [
        ("", None, "no secret is kept"),
        ("revoked", None, "the kept secret does not work"),
        ("two words", None, "the kept secret is none"),
        ("kept", {"name": "bob"}, "the kept secret is of another account"),
        ("kept", {"kind": "service"}, "the kept secret is of another account"),
        ("kept", {"scopes": ["read:users:name!user=alice"]}, "the kept token lacks read:users!user=alice"),
        ("kept", {"token_id": "a7"}, "the kept secret is of another token"),
        ("kept", {}, ""),
        ("kept", {"scopes": ["read:users"]}, ""),
        # Before JupyterHub 5.0 the hub does not say which token it is that asks.
        ("kept", {"token_id": None}, ""),
    ],
)
def test_a_row_in_the_hub_s_list_proves_nothing(
    kept: str, identity: Model | None, why: str, tmp_path: Path, second_client: Callable[[HubOfTokens], None]
) -> None:
    hub, path = HubOfTokens(token("a1")), tmp_path / "alice.token"
    second_client(hub)
    _secrets.write(str(path), kept)
    if identity is not None:
        hub.works[kept] = {**hub.identity_of("a1"), **identity}
    result = perform(hub, path=str(path), check_mode=True)
    assert [action["why"] for action in result["actions"][:1]] == ([why] if why else [])
    assert result["changed"] is bool(why)
    assert hub.writes == []
    assert path.read_text() == kept + "\n"


def test_a_hub_that_cannot_be_asked_about_a_kept_secret_gets_no_new_token(
    tmp_path: Path, second_client: Callable[[HubOfTokens], None]
) -> None:
    hub, path = HubOfTokens(token("a1")), str(tmp_path / "alice.token")
    second_client(hub)
    _secrets.write(path, "kept")
    hub.works["kept"] = Unreachable("No answer.", "x")  # type: ignore[assignment]
    with pytest.raises(Unreachable):
        perform(hub, path=path)
    assert hub.writes == []


def test_a_file_that_others_may_read_is_protected(tmp_path: Path, second_client: Callable[[HubOfTokens], None]) -> None:
    hub, path = HubOfTokens(), tmp_path / "alice.token"
    second_client(hub)
    perform(hub, path=str(path))
    path.chmod(0o644)
    assert verbs(perform(hub, path=str(path), check_mode=True)) == [f"protect file '{path}'"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert perform(hub, path=str(path))["changed"] is True
    assert path.stat().st_mode & 0o777 == 0o600
    assert hub.log.count("mint") == 1


def test_a_secret_that_cannot_be_kept_is_not_minted(tmp_path: Path) -> None:
    hub = HubOfTokens(token("a1"))
    (tmp_path / "file").touch()
    with pytest.raises(Invalid, match="folder"):
        perform(hub, path=str(tmp_path / "file" / "alice.token"))
    assert hub.writes == []


def test_a_secret_that_could_not_be_kept_in_the_end_is_revoked_and_the_old_token_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second_client: Callable[[HubOfTokens], None]
) -> None:
    hub = HubOfTokens(token("a1"))
    second_client(hub)

    def full(path: str, secret: str) -> None:
        raise Invalid("No space left.", "x")

    monkeypatch.setattr(_secrets, "write", full)
    with pytest.raises(Invalid, match="No space left") as error:
        perform(hub, path=str(tmp_path / "alice.token"))
    assert hub.log == ["mint", "prove", "revoke a9"]
    assert SECRET not in str(error.value.as_result())


def test_a_minted_token_that_does_not_work_takes_no_other_s_place(
    tmp_path: Path, second_client: Callable[[HubOfTokens], None]
) -> None:
    hub = HubOfTokens(token("a1"))
    second_client(hub)
    minting = hub.on_write

    def write(method: str, *request: Any) -> Any:
        minted = minting(method, *request)
        hub.works.clear()
        return minted

    hub.on_write = write
    with pytest.raises(UnexpectedAnswer, match="does not work"):
        perform(hub, path=str(tmp_path / "alice.token"))
    assert hub.log == ["mint", "prove", "revoke a9"]
    assert list(tmp_path.iterdir()) == []


def test_absent_takes_the_file_too(tmp_path: Path, second_client: Callable[[HubOfTokens], None]) -> None:
    hub, path = HubOfTokens(), tmp_path / "alice.token"
    second_client(hub)
    perform(hub, path=str(path))
    checked = perform(hub, "absent", path=str(path), check_mode=True)
    assert verbs(checked) == ["revoke token a9", f"remove file '{path}'"]
    assert path.exists()
    assert verbs(perform(hub, "absent", path=str(path))) == verbs(checked)
    assert not path.exists()


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("present", [(), ("a1",)])
def test_check_mode_has_the_shape_of_the_real_run_and_writes_nothing(state: str, present: tuple[str, ...]) -> None:
    checking, hub = (HubOfTokens(*map(token, present)) for _each in range(2))
    checked, done = perform(checking, state, check_mode=True), perform(hub, state)
    assert checking.writes == []
    assert checked.keys() == done.keys()
    assert {key: checked[key] for key in ("changed", "actions", "diff")} == {
        key: done[key] for key in ("changed", "actions", "diff")
    }
