# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""mint: a secret is proven, kept, and only then are its predecessors revoked."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    Invalid,
    MissingScope,
    NotFound,
    Timeout,
    Unauthorized,
    Unreachable,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Owner, Token
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.scopes import expand_self, find_missing
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.threads import in_background
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.versions import DIALECTS
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from ansible_collections.hubops.jupyterhub.plugins.module_utils._token import secret_file
from ansible_collections.hubops.jupyterhub.plugins.module_utils._token.flow import token_batch
from ansible_collections.hubops.jupyterhub.plugins.module_utils._token.model import RenewBefore, TokenSpec
from support.fakes.fake_hub_client import FakeHubClient, Model
from support.fakes.scripted_hub import HUB, TOKEN

NOTE = "nightly"
SCOPES = ("read:users!user",)
EXPANDED = ["read:users!user=alice", "read:users:name!user=alice"]
MINE = TokenSpec("alice", NOTE, scopes=SCOPES)
BORN = "2026-01-01T00:00:{:02}Z"


def token(number: int, note: str | None = None) -> Model:
    """One that this module minted as it is declared, or one with this note. The greater its number, the younger."""
    note = MINE.marked_note() if note is None else note
    return {"id": f"a{number}", "note": note, "scopes": EXPANDED, "created": BORN.format(number), "expires_at": None}


class HubOfTokens(FakeHubClient):
    """Mints and revokes what it is asked to; ``works`` says of each secret which token it belongs to."""

    connection = Connection(HUB, TOKEN)  # type: ignore[assignment]

    def __init__(self, *tokens: Model) -> None:
        super().__init__({"tokens": list(tokens)})
        self.works: dict[str, Any] = {f"secret-of-{each['id']}": self.identity_of(each["id"]) for each in tokens}
        self.numbers = itertools.count(len(tokens) + 1)
        self.on_write = self._write
        self.log: list[str] = []

    @property
    def ids(self) -> list[str]:
        assert self.model is not None
        return [each["id"] for each in self.model["tokens"]]

    def read_token(self, user: str, token_id: str) -> Token:
        assert self.model is not None
        for each in self.model["tokens"]:
            if each["id"] == token_id:
                return Token.from_model(each)
        raise NotFound("The hub has no such token.", "x", status=404)

    def identity_of(self, number: str | None) -> Model:
        return {"kind": "user", "name": "alice", "scopes": EXPANDED, "token_id": number}

    def with_token(self, secret: str) -> Any:
        self.log.append("prove")
        if len(secret.split()) > 1:
            raise Invalid("No token has that.", "x")
        found = self.works.get(secret, Unauthorized("The hub does not accept it.", "x"))
        if isinstance(found, HubError):
            raise found
        held = found.get("scopes") or ()
        return SimpleNamespace(
            owner=Owner.from_model(found),
            held_scopes=held,
            missing_scopes=lambda needed: find_missing([expand_self(scope, "alice") for scope in needed], held),
        )

    def _write(self, method: str, path: str, body: Model | None) -> Model | None:
        assert self.model is not None
        if method == "POST":
            assert body is not None
            minted = token(next(self.numbers), body["note"])
            secret = f"secret-of-{minted['id']}"
            self.log.append(f"mint {minted['id']}")
            self.model["tokens"].append(minted)
            self.works[secret] = self.identity_of(minted["id"])
            return {**minted, "token": secret}
        number = path.rpartition("/")[2]
        self.log.append(f"revoke {number}")
        self.model["tokens"] = [each for each in self.model["tokens"] if each["id"] != number]
        self.works.pop(f"secret-of-{number}", None)
        return None

    def losing(self, error: HubError, *, times: int = 1, minted: bool = True) -> None:
        """The answers to the next ``times`` attempts to mint are lost, after or before the hub did as it was asked."""
        left = iter(range(times))

        def write(method: str, *request: Any) -> Any:
            if method != "POST" or next(left, None) is None:
                return self._write(method, *request)
            if minted:
                self._write(method, *request)
            raise error

        self.on_write = write


def perform(hub: FakeHubClient, *wanted: TokenSpec, check_mode: bool = False, **more: Any) -> dict[str, Any]:
    """The flow for these tokens, or for the one of alice with these options."""
    single = not wanted
    tokens = wanted or (TokenSpec(**{"user": "alice", "note": NOTE, "scopes": SCOPES, **more}),)
    flow = token_batch(hub, tokens, concurrency=2, single=single)  # type: ignore[arg-type]
    return run(flow, check_mode=check_mode)


def done(hub: FakeHubClient, *wanted: TokenSpec, **more: Any) -> dict[str, Any]:
    result = perform(hub, *wanted, **more)
    assert "failed" not in result, result["msg"]
    return result


def verbs(result: dict[str, Any]) -> list[str]:
    return [f"{action['verb']} {action['object']}" for action in result["actions"]]


def whys(result: dict[str, Any]) -> list[str]:
    return [action["why"] for action in result["actions"]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "alice.token"


# Where nobody says where the secret is kept


def test_a_token_is_minted_once_and_its_secret_told_once() -> None:
    hub = HubOfTokens(token(1, "another note"))
    first, second = done(hub, expires_in=60), done(hub, expires_in=60)
    assert (first["token"], first["token_id"], first["minted"], first["changed"]) == ("secret-of-a2", "a2", True, True)
    assert (second["token"], second["token_id"], second["minted"], second["changed"]) == (None, "a2", False, False)
    assert first["scopes"] == sorted(EXPANDED)
    [(method, where, body)] = hub.writes
    assert (method, where) == ("POST", "users/alice/tokens")
    assert body["note"].startswith(NOTE + " [hubops ")
    assert {**body, "note": ""} == {"note": "", "scopes": list(SCOPES), "expires_in": 60}
    assert hub.log == ["mint a2", "prove"]


def test_scopes_are_minted_in_the_hub_s_own_words_and_roles_as_they_are() -> None:
    hub = HubOfTokens()
    hub.dialect = DIALECTS[1]
    done(hub, scopes=("start:servers!user", "delete:servers!user"))
    done(hub, scopes=None, roles=("user",), note="other")
    bodies = [body for _method, _path, body in hub.writes]
    assert bodies[0]["scopes"] == ["servers!user", "delete:servers!user"]
    assert (bodies[1]["roles"], "scopes" in bodies[1]) == (["user"], False)


def test_what_was_declared_otherwise_is_replaced() -> None:
    hub = HubOfTokens(token(1))
    result = done(hub, expires_in=60)
    assert whys(result) == ["it was declared otherwise", "its successor is kept and works"]
    assert (hub.ids, result["revoked"], hub.log) == (["a2"], ["a1"], ["mint a2", "prove", "revoke a1"])


def test_somebody_else_s_token_of_the_same_note() -> None:
    hub = HubOfTokens(token(1, NOTE))
    assert done(hub)["revoked"] == []
    assert done(hub)["changed"] is False
    pruned = done(hub, prune=True)
    assert (pruned["minted"], pruned["revoked"], hub.ids) == (False, ["a1"], ["a2"])


def test_absent_revokes_all_of_that_note_and_no_other() -> None:
    hub = HubOfTokens(token(1), token(2, "another note"), token(3, NOTE))
    result = done(hub, state="absent", scopes=None)
    assert verbs(result) == ["revoke token a1", "revoke token a3"]
    assert result["revoked"] == ["a1", "a3"]
    assert hub.log == ["revoke a1", "revoke a3"]
    assert done(hub, state="absent")["changed"] is False


class HubAskedBy(HubOfTokens):
    """Once the token that asks is revoked, it refuses everything."""

    def __init__(self, asker: str, *tokens: Model, reported: bool = True) -> None:
        super().__init__(*tokens)
        self.asker = asker
        self.owner = Owner("user", "alice", token_id=asker if reported else None)

    def _write(self, method: str, path: str, body: Model | None) -> Model | None:
        if f"revoke {self.asker}" in self.log:
            raise Unauthorized("The hub does not accept the API token.", "x", status=403)
        return super()._write(method, path, body)


def test_the_token_that_asks_is_revoked_last() -> None:
    hub = HubAskedBy("a1", token(1), token(2), token(3, NOTE))
    assert done(hub, state="absent")["revoked"] == ["a2", "a3", "a1"]


def test_the_token_that_was_used_last_is_revoked_last_where_a_hub_does_not_say_which_one_asks() -> None:
    used = [{**token(number), "last_activity": BORN.format(50 - number)} for number in (1, 2, 3)]
    hub = HubAskedBy("a1", *used, reported=False)
    assert done(hub, state="absent")["revoked"] == ["a3", "a2", "a1"]


@pytest.mark.parametrize("reported", [True, False])
def test_of_many_the_one_that_asks_is_replaced_last(reported: bool, tmp_path: Path) -> None:
    hub = HubAskedBy("a1", token(1), reported=reported)
    secret_file.write(str(tmp_path / "own"), "secret-of-a1")
    expand_self = TokenSpec("alice", NOTE, scopes=SCOPES, path=str(tmp_path / "own"), rotate=True)
    others = [TokenSpec("alice", str(number), scopes=SCOPES, path=str(tmp_path / str(number))) for number in range(9)]
    result = done(hub, expand_self, *others)
    assert hub.log[-1] == "revoke a1"
    assert result["tokens"][0]["revoked"] == ["a1"]


def test_two_runs_that_keep_a_secret_in_one_place_come_one_after_the_other(path: Path) -> None:
    """Else the second would take the first one's new token, which is not in the file yet, for a lost one."""
    hub = HubOfTokens()
    wanted = TokenSpec("alice", NOTE, scopes=SCOPES, path=str(path))
    first = token_batch(hub, [wanted], concurrency=1, single=True)  # type: ignore[arg-type]
    with first.lock():
        second = in_background(lambda: done(hub, path=str(path)))
        plan = first.plan()
        assert wait([second], 0.3).not_done
        first.apply(plan)
    assert second.result(120)["changed"] is False
    assert (hub.ids, path.read_text()) == (["a1"], "secret-of-a1\n")
    assert os.listdir(path.parent) == ["alice.token"]


def test_a_token_that_went_meanwhile_is_revoked_all_the_same() -> None:
    hub = HubOfTokens(token(1))

    def removed(*_request: Any) -> None:
        hub.model = {"tokens": []}
        raise NotFound("The hub has no such token.", "x", status=404)

    hub.on_write = removed
    assert done(hub, state="absent")["revoked"] == ["a1"]


def test_an_id_that_the_hub_gives_a_second_time_is_not_revoked() -> None:
    """A database may: the predecessor expired between the look and the request to mint."""
    hub = HubOfTokens(token(1))

    def write(method: str, *request: Any) -> Any:
        if method == "POST":
            assert hub.model is not None
            hub.model["tokens"], hub.numbers = [], itertools.count(1)
        return hub._write(method, *request)

    hub.on_write = write
    assert done(hub, rotate=True)["revoked"] == []
    assert hub.ids == ["a1"]


# With a file that keeps the secret


def test_the_successor_is_minted_proven_and_kept_before_its_predecessors_go(path: Path) -> None:
    hub = HubOfTokens(token(1), token(2))

    def write(method: str, *request: Any) -> Any:
        if method == "DELETE":
            assert path.read_text() == "secret-of-a3\n"
        return hub._write(method, *request)

    hub.on_write = write
    result = done(hub, path=str(path))
    assert verbs(result) == ["mint token 'nightly' of user 'alice'", "revoke token a1", "revoke token a2"]
    assert hub.log == ["mint a3", "prove", "revoke a1", "revoke a2"]
    assert (result["token"], result["token_id"], result["revoked"]) == (None, "a3", ["a1", "a2"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert "secret of" not in str(result)


def test_a_kept_secret_that_works_is_left_alone(path: Path) -> None:
    hub = HubOfTokens()
    first, again = done(hub, path=str(path)), done(hub, path=str(path))
    assert (again["changed"], again["token_id"], again["actions"]) == (False, first["token_id"], [])


@pytest.mark.parametrize(
    ("kept", "identity", "why"),
    [
        ("", None, "no secret is kept"),
        ("revoked", None, "the kept secret does not work"),
        ("two words", None, "what is kept cannot be a token"),
        ("kept", {"name": "bob"}, "the kept secret is of another account"),
        ("kept", {"kind": "service"}, "the kept secret is of another account"),
        ("kept", {"token_id": "a7"}, "the kept secret is of another token"),
        ("kept", {}, ""),
        ("kept", {"scopes": ["list:users", "read:users!user=alice"]}, ""),
        ("kept", {"scopes": ["list:users"]}, "its owner has lost read:users!user=alice"),
        ("kept", {"scopes": []}, ""),  # a hub that does not tell
    ],
)
def test_a_row_in_the_hub_s_list_proves_nothing(kept: str, identity: Model | None, why: str, path: Path) -> None:
    hub = HubOfTokens(token(1))
    secret_file.write(str(path), kept)
    if identity is not None:
        hub.works[kept] = {**hub.identity_of("a1"), **identity}
    result = done(hub, path=str(path), check_mode=True)
    assert whys(result)[:1] == ([why] if why else [])
    assert result["changed"] is bool(why)
    assert hub.writes == []
    assert path.read_text() == kept + "\n"


def test_a_kept_token_that_is_about_to_expire_is_renewed(path: Path) -> None:
    hub = HubOfTokens({**token(1), "expires_at": "2026-01-01T01:00:01Z"})  # long ago, by this machine's clock
    secret_file.write(str(path), "secret-of-a1")
    result = done(hub, path=str(path), renew_before=RenewBefore(60))
    assert whys(result)[0] == "it expires at 2026-01-01 01:00:01 UTC"
    assert (hub.ids, path.read_text()) == (["a2"], "secret-of-a2\n")


def test_a_hub_that_cannot_be_asked_about_a_kept_secret_gets_no_new_token(path: Path) -> None:
    hub = HubOfTokens(token(1))
    secret_file.write(str(path), "kept")
    hub.works["kept"] = Unreachable("No answer.", "x")
    assert perform(hub, path=str(path))["failure"]["code"] == "unreachable"
    assert hub.writes == []


def test_a_file_that_others_may_read_is_protected(path: Path) -> None:
    hub = HubOfTokens()
    done(hub, path=str(path))
    path.chmod(0o644)
    assert verbs(done(hub, path=str(path), check_mode=True)) == [f"protect file '{path}'"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert done(hub, path=str(path))["changed"] is True
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(hub.writes) == 1


def test_what_a_killed_run_left_beside_the_file_is_removed(path: Path) -> None:
    hub = HubOfTokens()
    done(hub, path=str(path))
    half = path.with_name(".alice.token.new")
    half.write_text("half of a sec")
    assert verbs(done(hub, path=str(path), check_mode=True)) == [f"clean file '{path}'"]
    assert half.exists()
    assert done(hub, path=str(path))["changed"] is True
    assert list(path.parent.iterdir()) == [path]


def test_a_secret_that_cannot_be_kept_is_not_minted(tmp_path: Path) -> None:
    hub = HubOfTokens(token(1))
    (tmp_path / "file").touch()
    assert "folder" in perform(hub, path=str(tmp_path / "file" / "alice.token"))["msg"]
    assert hub.writes == []


def test_a_secret_that_could_not_be_kept_in_the_end_is_revoked_and_the_old_token_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = HubOfTokens(token(1))

    def full(*_arguments: Any) -> None:
        raise Invalid("No space left.", "x")

    monkeypatch.setattr(secret_file, "prepare", full)
    result = perform(hub, path=str(path))
    assert "No space left" in result["msg"]
    assert hub.log == ["mint a2", "revoke a2"]
    assert "secret of" not in str(result)


def test_a_file_that_was_written_after_all_keeps_its_token(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, commit = HubOfTokens(token(1)), secret_file.commit

    def interrupted(path: str) -> None:
        commit(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(secret_file, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        perform(hub, path=str(path))
    assert (path.read_text(), hub.ids) == ("secret-of-a2\n", ["a1", "a2"])


def test_a_minted_token_that_the_hub_refuses_takes_no_other_s_place(path: Path) -> None:
    """So it is where the owner's authentication cannot be refreshed: the hub mints, and refuses all that it minted."""
    hub = HubOfTokens(token(1))

    def write(method: str, *request: Any) -> Any:
        minted = hub._write(method, *request)
        hub.works.clear()
        return minted

    hub.on_write = write
    result = perform(hub, path=str(path))
    assert result["failure"]["code"] == "hub_error"
    assert "refresh_user_hook" in result["msg"]
    assert hub.log == ["mint a2", "prove", "revoke a2"]
    assert list(path.parent.iterdir()) == []


def test_absent_takes_the_file_too(path: Path) -> None:
    hub = HubOfTokens()
    done(hub, path=str(path))
    checked = done(hub, state="absent", path=str(path), check_mode=True)
    assert verbs(checked) == ["revoke token a1", f"remove file '{path}'"]
    assert path.exists()
    assert verbs(done(hub, state="absent", path=str(path))) == verbs(checked)
    assert not path.exists()


# With a secret that the caller keeps


def test_a_given_secret_that_works_is_left_alone() -> None:
    hub = HubOfTokens(token(1))
    result = done(hub, secret="secret-of-a1")
    assert (result["changed"], result["token"], result["token_id"]) == (False, None, "a1")


def test_the_predecessor_of_a_given_secret_works_until_the_successor_is_brought_along() -> None:
    hub = HubOfTokens(token(1))
    rotated = done(hub, secret="secret-of-a1", rotate=True)
    assert (rotated["token"], rotated["revoked"], hub.ids) == ("secret-of-a2", [], ["a1", "a2"])
    kept = done(hub, secret="secret-of-a2")
    assert (kept["changed"], kept["minted"], kept["revoked"], hub.ids) == (True, False, ["a1"], ["a2"])
    assert done(hub, secret="secret-of-a2")["changed"] is False


def test_a_successor_that_the_caller_never_kept_is_revoked() -> None:
    hub = HubOfTokens(token(1))
    done(hub, secret="secret-of-a1", rotate=True)
    lost = done(hub, secret="secret-of-a1")
    assert (lost["revoked"], whys(lost), hub.ids) == (["a2"], ["its secret got lost before it was kept"], ["a1"])


@pytest.mark.parametrize("secret", ["", "garbage", "\n"])
def test_a_given_secret_that_does_not_work_is_replaced_and_nothing_of_it_stays(secret: str) -> None:
    hub = HubOfTokens(token(1))
    assert done(hub, secret=secret)["token"] == "secret-of-a2"
    assert hub.ids == ["a2"]


def test_a_given_secret_is_kept_in_the_file(path: Path) -> None:
    hub = HubOfTokens(token(1))
    checked = done(hub, secret="secret-of-a1", path=str(path), check_mode=True)
    assert not path.exists()
    result = done(hub, secret=" secret-of-a1\n", path=str(path))
    assert verbs(result) == verbs(checked) == [f"keep file '{path}'"]
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("secret-of-a1\n", 0o600)
    assert (result["minted"], result["token"], hub.writes) == (False, None, [])
    assert done(hub, secret="stale", path=str(path))["changed"] is False  # the file comes first


# Overlap


def test_predecessors_have_their_time(path: Path) -> None:
    hub = HubOfTokens(token(1))  # born long ago, and so is each that this hub mints
    secret_file.write(str(path), "secret-of-a1")
    rotated = done(hub, path=str(path), rotate=True, overlap=10.0)
    assert (rotated["revoked"], hub.ids, path.read_text()) == ([], ["a1", "a2"], "secret-of-a2\n")
    later = done(hub, path=str(path), overlap=10.0)
    assert (later["minted"], later["revoked"], hub.ids) == (False, ["a1"], ["a2"])


def test_a_predecessor_whose_time_is_not_over_stays(path: Path) -> None:
    hub = HubOfTokens(token(1), {**token(2), "created": "2999-01-01T00:00:00Z"})
    secret_file.write(str(path), "secret-of-a2")
    assert done(hub, path=str(path), overlap=10.0)["changed"] is False


# A hub that does not say which token asks


def test_an_old_hub_s_only_token_is_the_kept_one(path: Path) -> None:
    hub = HubOfTokens(token(1))
    hub.dialect, hub.works["kept"] = DIALECTS[2], hub.identity_of(None)
    secret_file.write(str(path), "kept")
    assert done(hub, path=str(path))["changed"] is False


def test_an_old_hub_s_several_tokens_are_all_replaced(path: Path) -> None:
    hub = HubOfTokens(token(1), token(2))
    hub.dialect, hub.works["kept"] = DIALECTS[2], hub.identity_of(None)
    secret_file.write(str(path), "kept")
    assert "does not say which" in whys(done(hub, path=str(path)))[0]
    assert (hub.ids, path.read_text()) == (["a3"], "secret-of-a3\n")


def test_on_an_old_hub_a_given_secret_s_predecessor_goes_at_once_and_there_is_no_overlap() -> None:
    hub = HubOfTokens(token(1))
    hub.dialect, hub.works["kept"] = DIALECTS[2], hub.identity_of(None)
    assert done(hub, secret="kept", rotate=True)["revoked"] == ["a1"]
    assert "JupyterHub 5.0" in perform(hub, secret="kept", overlap=10.0)["msg"]


# Lost answers

LOST = [Unreachable("No answer.", "x"), Timeout("No answer in time.", "x")]


@pytest.mark.parametrize("error", LOST)
@pytest.mark.parametrize("minted", [True, False])
def test_a_lost_answer_costs_another_attempt_and_leaves_no_token(error: HubError, minted: bool, path: Path) -> None:
    hub = HubOfTokens()
    hub.losing(error, times=2, minted=minted)
    result = done(hub, path=str(path))
    assert (hub.ids, path.read_text()) == ([result["token_id"]], f"secret-of-{result['token_id']}\n")
    notes = [body["note"] for method, _path, body in hub.writes if method == "POST"]
    assert len(set(notes)) == 3


@pytest.mark.parametrize("error", LOST)
def test_attempts_end(error: HubError, path: Path) -> None:
    hub = HubOfTokens(token(1))
    hub.losing(error, times=9)
    result = perform(hub, path=str(path))
    assert (result["failure"]["code"], result["changed"]) == (error.code, False)
    assert (hub.ids, path.exists()) == (["a1"], False)
    assert [entry for entry in hub.log if entry.startswith("mint")] == ["mint a2", "mint a3", "mint a4"]


def test_a_hub_that_fails_after_it_has_minted_is_cleaned_up_and_not_asked_again() -> None:
    hub = HubOfTokens()
    hub.losing(HubFailure("The hub failed with 500.", "x", status=500), times=9)
    assert perform(hub)["failure"]["code"] == "hub_error"
    assert hub.log == ["mint a1", "revoke a1"]


def test_a_hub_that_keeps_the_secret_to_itself_is_cleaned_up() -> None:
    hub = HubOfTokens()

    def write(method: str, *request: Any) -> Any:
        return {"id": "a1"} if hub._write(method, *request) else None

    hub.on_write = write
    assert perform(hub)["failure"]["code"] == "unexpected_answer"
    assert hub.ids == []


def test_a_refusal_is_no_lost_answer() -> None:
    hub = HubOfTokens()
    hub.losing(MissingScope("The token lacks 'tokens'.", "x"), minted=False)
    assert perform(hub)["failure"]["code"] == "missing_scope"
    assert len(hub.writes) == 1


def test_where_nobody_can_look_no_further_token_is_minted_and_the_next_run_cleans_up(path: Path) -> None:
    hub = HubOfTokens()
    hub.losing(LOST[0], times=9)
    looks = itertools.count()

    def look() -> None:
        if next(looks):
            raise Unreachable("No answer.", "x")

    hub.on_look = look
    assert perform(hub, path=str(path))["failure"]["code"] == "unreachable"
    assert hub.ids == ["a1"]
    hub.on_look, hub.on_write = lambda: None, hub._write
    assert done(hub, path=str(path))["revoked"] == ["a1"]
    assert hub.ids == ["a2"]


# Many


def test_many_in_one_call_one_of_which_fails(tmp_path: Path) -> None:
    hub = HubOfTokens()
    items = [
        TokenSpec("alice", "one", scopes=SCOPES),
        TokenSpec("alice", "two", scopes=SCOPES, path=str(tmp_path)),  # a folder
        TokenSpec("alice", "three", scopes=SCOPES, path=str(tmp_path / "three")),
    ]
    result = perform(hub, *items)
    one, two, three = result["tokens"]
    assert one["token"].startswith("secret-of-")  # not lost, whatever became of the others
    assert (one["changed"], two["changed"], three["changed"]) == (True, False, True)
    assert (one["failure"], two["failure"]["code"], three["failure"]) == (None, "invalid", None)
    assert one.keys() == two.keys() == three.keys()
    assert (result["changed"], result["failed"], result["minted"]) == (True, True, True)
    assert "1 of 3 tokens failed. The first, token 'two' of user 'alice':" in result["msg"]
    assert (result["token"], result["token_id"]) == (None, None)
    again = perform(hub, items[0], items[2])
    assert ("failed" in again, again["changed"]) == (False, False)


def test_what_fails_late_tells_what_was_done() -> None:
    """The secret that was minted may be nowhere else."""
    hub = HubOfTokens(token(1))

    def write(method: str, *request: Any) -> Any:
        if method == "DELETE":
            raise Unreachable("No answer.", "x")
        return hub._write(method, *request)

    hub.on_write = write
    result = perform(hub, rotate=True)
    assert (result["failed"], result["token"], result["changed"]) == (True, "secret-of-a2", True)


@pytest.mark.parametrize("more", [{"note": "one"}, {"path": "/tmp/x"}])
def test_what_is_declared_twice(more: dict[str, Any]) -> None:
    items = [TokenSpec("alice", **{"note": str(number), "scopes": SCOPES, **more}) for number in range(2)]
    with pytest.raises(Invalid, match="declared twice"):
        perform(HubOfTokens(), *items)


# Check mode


@pytest.mark.parametrize("more", [{}, {"state": "absent"}, {"rotate": True}, {"expires_in": 60}, {"prune": True}])
@pytest.mark.parametrize("notes", [(), (None,), (None, NOTE)])
def test_check_mode_has_the_shape_of_the_real_run_and_writes_nothing(more: dict[str, Any], notes: tuple[Any]) -> None:
    checking, hub = (HubOfTokens(*(token(1 + i, note) for i, note in enumerate(notes))) for _each in range(2))
    checked, real = done(checking, check_mode=True, **more), done(hub, **more)
    assert checking.writes == []
    assert checked.keys() == real.keys()
    for key in ("changed", "actions", "diff"):
        assert checked[key] == real[key]


# A token that somebody uses


def used(number: int, runner: int = 50) -> Model:
    return {**token(number), "last_activity": BORN.format(runner)}


@pytest.mark.parametrize("kept", ["path", "secret"])
def test_a_token_in_use_is_not_taken_by_a_place_that_keeps_nothing(kept: str, path: Path) -> None:
    hub = HubOfTokens(used(1, 40), used(2), token(3))
    place = {"path": str(path)} if kept == "path" else {"secret": ""}
    result = perform(hub, **place)
    assert (result["failure"]["code"], result["changed"], hub.writes) == ("conflict", False, [])
    for says in (
        "token a2",
        "minted at 2026-01-01 00:00:02 UTC",
        "it was used last at ",
        "path or secret",
        "rotate: true",
        "on_lost",
    ):
        assert says in result["msg"]
    assert not path.exists()


def test_nor_by_one_whose_secret_was_revoked_meanwhile(path: Path) -> None:
    path.write_text("secret-of-a1")
    hub = HubOfTokens(used(2))
    assert perform(hub, path=str(path))["failure"]["code"] == "conflict"
    assert (path.read_text(), hub.writes) == ("secret-of-a1", [])


def test_nor_by_one_that_keeps_an_older_one(path: Path) -> None:
    path.write_text("secret-of-a1")
    hub = HubOfTokens(used(1), used(2))
    result = perform(hub, path=str(path))
    assert result["failure"]["code"] == "conflict"
    assert "an older one, a1, is kept" in result["msg"]
    assert hub.writes == []


def test_one_that_was_never_used_is_nobody_s(path: Path) -> None:
    hub = HubOfTokens(token(1))
    assert done(hub, path=str(path))["revoked"] == ["a1"]
    assert hub.ids == ["a2"]


def test_zeros_in_its_place_are_a_secret_that_was_kept_here(path: Path) -> None:
    """A machine that loses its power may leave them."""
    path.write_text("\0" * 33)
    assert done(HubOfTokens(used(1)), path=str(path))["revoked"] == ["a1"]


@pytest.mark.parametrize("content", ["put the token here", "", "\n", "garbage"])
def test_what_is_no_secret_is_no_proof_that_one_was_kept_here(content: str, path: Path) -> None:
    path.write_text(content)
    hub = HubOfTokens(used(1))
    assert perform(hub, path=str(path))["failure"]["code"] == "conflict"
    assert (path.read_text(), hub.writes) == (content, [])


def test_a_file_of_something_else_stays_as_it_is(path: Path) -> None:
    path.write_text("$ANSIBLE_VAULT;1.1;AES256\n3163\n")
    hub = HubOfTokens()
    failed = perform(hub, path=str(path))["failure"]
    assert (failed["code"], hub.writes) == ("invalid", [])
    assert f"'{path}' holds something else than a token." in failed["message"]


def test_a_proxy_that_refuses_the_proof_is_no_proof(path: Path) -> None:
    path.write_text("secret-of-a1")
    hub = HubOfTokens(used(1))
    hub.works["secret-of-a1"] = Invalid("A proxy says 400.", "x", status=400)
    assert perform(hub, path=str(path))["msg"] == "A proxy says 400. x"
    assert (path.read_text(), hub.writes) == ("secret-of-a1", [])


@pytest.mark.parametrize("more", [{"on_lost": "replace"}, {"rotate": True}])
def test_one_that_is_younger_than_the_kept_one_has_its_time_too(more: dict[str, Any], path: Path) -> None:
    path.write_text("secret-of-a1")
    hub = HubOfTokens(used(1), used(2), token(3))
    result = done(hub, path=str(path), overlap=1e9, **more)
    assert (result["minted"], result["revoked"], hub.ids) == (True, ["a3"], ["a1", "a2", "a4"])
    assert done(hub, path=str(path), overlap=1e9)["changed"] is False
    path.write_text("secret-of-a1")
    hub = HubOfTokens(used(1), used(2))
    assert done(hub, path=str(path), **more)["revoked"] == ["a2", "a1"]


def test_what_the_caller_has_yet_to_keep_takes_no_token_from_anybody() -> None:
    hub = HubOfTokens(used(1), token(2))
    first = done(hub, secret="", on_lost="replace")
    assert (first["minted"], first["revoked"], hub.ids) == (True, ["a2"], ["a1", "a3"])
    second = done(hub, secret=first["token"])
    assert (second["minted"], second["revoked"], hub.ids) == (False, ["a1"], ["a3"])


@pytest.mark.parametrize("left_over", [False, True])
def test_a_hub_that_does_not_name_tokens_has_as_many_used_as_work_here(left_over: bool, path: Path) -> None:
    """A run was killed after it had minted, or after it had proven what it minted."""
    hub = HubOfTokens(used(1), used(2) if left_over else token(2))
    hub.dialect = DIALECTS[-1]
    for identity in hub.works.values():
        del identity["token_id"]
    path.write_text("secret-of-a1")
    if left_over:
        (path.parent / f".{path.name}.new").write_text("secret-of-a2\n")
    assert sorted(done(hub, path=str(path))["revoked"]) == ["a1", "a2"]
    assert hub.ids == ["a3"]


def test_there_may_be_one_more_that_somebody_else_uses(path: Path) -> None:
    hub = HubOfTokens(used(1), used(2))
    hub.dialect = DIALECTS[-1]
    for identity in hub.works.values():
        del identity["token_id"]
    path.write_text("secret-of-a1")
    assert perform(hub, path=str(path))["failure"]["code"] == "conflict"
    assert hub.writes == []


@pytest.mark.parametrize("first", [True, False])
def test_of_two_places_that_mint_their_first_token_together_one_has_it(first: bool, path: Path) -> None:
    hub = HubOfTokens()

    def write(method: str, *request: Any) -> Any:
        if method == "POST" and hub.ids == []:
            if first:
                minted = hub._write(method, *request)
                hub._write("POST", "tokens", {"note": MINE.marked_note()})
                return minted
            hub._write("POST", "tokens", {"note": MINE.marked_note()})
        return hub._write(method, *request)

    hub.on_write = write
    result = perform(hub, path=str(path))
    assert hub.ids == (["a1", "a2"] if first else ["a1"])
    if not first:
        assert result["failure"]["code"] == "conflict"
        assert "minted token a1" in result["msg"]
        assert result["revoked"] == ["a2"]
        assert not path.exists()


def test_what_was_minted_in_vain_is_among_what_was_revoked(path: Path) -> None:
    hub = HubOfTokens()
    hub.losing(LOST[0])
    result = done(hub, path=str(path))
    assert (result["token_id"], result["revoked"]) == ("a2", ["a1"])
    assert [each["why"] for each in result["revocations"]] == ["its secret got lost before it was kept"]


@pytest.mark.parametrize("more", [{"on_lost": "replace"}, {"rotate": True}])
def test_who_knows_may_replace_it_and_give_it_its_time(more: dict[str, Any], path: Path) -> None:
    assert done(HubOfTokens(used(1)), path=str(path), **more)["revoked"] == ["a1"]
    path.unlink()
    hub = HubOfTokens(used(1), token(2))
    result = done(hub, path=str(path), overlap=3600.0, **more)
    assert (result["revoked"], hub.ids) == (["a2"], ["a1", "a3"])


def test_what_a_killed_run_has_proven_and_not_kept_is_ours(path: Path) -> None:
    (path.parent / f".{path.name}.new").write_text("secret-of-a1\n")
    hub = HubOfTokens(used(1))
    assert done(hub, path=str(path))["revoked"] == ["a1"]


def test_a_secret_that_the_caller_keeps_is_first_used_when_it_is_brought_along() -> None:
    hub = HubOfTokens()
    minted = done(hub, secret="")["token"]
    assert hub.log == ["mint a1"]
    assert done(hub, secret=minted)["changed"] is False


# A service that mints for a user


@pytest.mark.parametrize(
    ("version", "scope", "may"),
    [
        ("4.1.6", "tokens!user=alice", False),
        ("5.2.1", "tokens!group=bots", False),
        ("4.1.6", "tokens!service=alice", True),
        ("6.0.2", "tokens", True),
        ("6.1.1", "tokens!user=alice", True),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_what_this_hub_wants_of_a_service_is_told_before_anything_is_minted(
    version: str, scope: str, may: bool, check_mode: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = HubOfTokens()
    hub.owner = Owner("service", "ci", (scope,))
    monkeypatch.setattr(hub, "version", version, raising=False)
    result = perform(hub, check_mode=check_mode)
    if may:
        assert "failed" not in result
        return
    assert result["failure"]["code"] == "missing_scope"
    assert f"JupyterHub {version}" in result["failure"]["message"]
    assert "'tokens!service=alice'" in result["failure"]["message"]
    assert hub.writes == []
