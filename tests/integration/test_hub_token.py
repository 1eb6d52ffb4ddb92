# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
from doors import At, failed
from misbehaving_hub import Misbehaving

SCOPES = ["read:users:name!user"]


def owner(at: At, secret: str) -> str | None:
    """Whose token it is, by the hub's word; None if it does not work."""
    answer = requests.get(f"{at.hub.api}/user", headers={"Authorization": f"token {secret}"}, timeout=10)
    return answer.json()["name"] if answer.ok else None


def ids(at: At, user: str) -> list[str]:
    return [token["id"] for token in at.tokens(user)]


def verbs(result: dict[str, Any]) -> list[str]:
    return [action["verb"] for action in result["actions"]]


def test_mint_and_revoke(any_version: At) -> None:
    at, user = any_version, any_version.new_user()
    present = at.task("hub_token", user=user, note="ci", scopes=SCOPES)
    first, second = at.run([present] * 2).results
    assert (first["changed"], first["minted"], verbs(first)) == (True, True, ["mint"])
    assert owner(at, first["token"]) == user
    assert f"read:users:name!user={user}" in first["scopes"]
    assert (first["user"], first["note"], first["expires_at"], first["revoked"]) == (user, "ci", None, [])
    assert ids(at, user) == [first["token_id"]]
    assert first["token"] not in str({**first, "token": None})
    # The hub tells a secret once.
    assert (second["changed"], second["minted"], second["token"]) == (False, False, None)
    assert second["token_id"] == first["token_id"]

    at.mint(user, *SCOPES, note="ci")
    at.mint(user, *SCOPES, note="another")
    both = {token["id"] for token in at.tokens(user) if token["note"] == "ci"}
    gone, again = at.run([at.task("hub_token", user=user, note="ci", state="absent")] * 2).results
    assert (gone["changed"], set(gone["revoked"]), len(both)) == (True, both, 2)
    assert (again["changed"], again["revoked"]) == (False, [])
    assert [token["note"] for token in at.tokens(user)] == ["another"]
    assert owner(at, first["token"]) is None


def test_scopes_of_today_on_any_hub(any_version: At) -> None:
    user = any_version.new_user()
    scopes = ["start:servers!user", "delete:servers!user", "read:servers!user"]
    minted = any_version("hub_token", user=user, note="ci", scopes=scopes)
    at = any_version.holding(minted["token"])
    start, stop = at.run([at.task("hub_server", user=user), at.task("hub_server", user=user, state="stopped")]).results
    assert (start["servers"][0]["state"], stop["servers"][0]["state"]) == ("ready", "stopped")


def test_kept_in_a_file(any_version: At, tmp_path: Path) -> None:
    at, user, path = any_version, any_version.new_user(), tmp_path / "token"
    options = {"user": user, "note": "ci", "scopes": SCOPES, "path": str(path)}
    first, second = at.run([at.task("hub_token", **options)] * 2).results
    assert (first["changed"], first["minted"], first["token"]) == (True, True, None)
    assert path.stat().st_mode & 0o777 == 0o600
    secret = path.read_text().strip()
    assert owner(at, secret) == user
    assert secret not in str(first)
    assert (second["changed"], second["actions"], second["token_id"]) == (False, [], first["token_id"])
    assert os.listdir(tmp_path) == ["token"]

    gone = at("hub_token", user=user, note="ci", path=str(path), state="absent")
    assert verbs(gone) == ["revoke", "remove"]
    assert (path.exists(), ids(at, user), owner(at, secret)) == (False, [], None)


def test_a_file_that_no_longer_holds_a_working_secret(light: At, tmp_path: Path) -> None:
    user, path = light.new_user(), tmp_path / "token"
    present = light.task("hub_token", user=user, note="ci", scopes=SCOPES, path=str(path))

    def renewed(why: str) -> None:
        old = ids(light, user)
        result = light.run([present]).results[0]
        assert (result["changed"], result["minted"], result["revoked"]) == (True, True, old), result
        assert why in result["actions"][0]["why"]
        assert owner(light, path.read_text().strip()) == user
        assert path.stat().st_mode & 0o777 == 0o600
        # The new one is the only one of that note.
        assert ids(light, user) == [result["token_id"]]

    renewed("no secret is kept")
    path.unlink()
    renewed("no secret is kept")
    path.write_text("")
    renewed("no secret is kept")
    path.write_text("0123456789abcdef\n")
    renewed("does not work")
    path.write_bytes("not a tökén\nbut two lines\n".encode())
    renewed("is none")
    light.api("DELETE", f"users/{user}/tokens/{ids(light, user)[0]}")
    renewed("does not work")
    path.write_text(light.mint(light.new_user(), *SCOPES))
    renewed("another account")
    other = light.mint(user, *SCOPES, note="not the declared one")
    path.write_text(other)
    result = light.run([present]).results[0]
    assert result["changed"] is True
    assert "another token" in result["actions"][0]["why"]
    assert owner(light, other) == user  # not ours to revoke


@pytest.mark.doors
def test_a_file_that_others_may_read(light: At, tmp_path: Path) -> None:
    path = tmp_path / "token"
    present = light.task("hub_token", user=light.new_user(), note="ci", scopes=SCOPES, path=str(path))
    light.run([present])
    secret = path.read_text()
    path.chmod(0o644)
    result = light.run([present]).results[0]
    assert (result["changed"], verbs(result), result["minted"]) == (True, ["protect"], False)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == secret


def test_other_scopes_need_another_token(light: At, tmp_path: Path) -> None:
    user, path = light.new_user(), tmp_path / "token"
    more = [*SCOPES, "read:servers!user"]
    options = {"user": user, "note": "ci", "path": str(path)}
    narrow, wide, again = light.run(
        [light.task("hub_token", scopes=scopes, **options) for scopes in (SCOPES, more, more)]
    ).results
    assert (wide["changed"], wide["revoked"]) == (True, [narrow["token_id"]])
    assert f"read:servers!user={user}" in wide["scopes"]
    assert again["changed"] is False


def test_all_that_the_owner_may(light: At, tmp_path: Path) -> None:
    user, path = light.new_user(), tmp_path / "token"
    first, second = light.run(
        [light.task("hub_token", user=user, note="ci", path=str(path), scopes=["inherit"])] * 2
    ).results
    assert (first["changed"], second["changed"]) == (True, False)
    assert owner(light, path.read_text().strip()) == user


def test_expiry(light: At) -> None:
    user = light.new_user()
    result = light("hub_token", user=user, note="ci", scopes=SCOPES, expires_in="2h")
    expires = datetime.fromisoformat(result["expires_at"].replace("Z", "+00:00"))
    assert abs(expires - datetime.now(timezone.utc) - timedelta(hours=2)) < timedelta(minutes=1)


@pytest.mark.doors
def test_what_cannot_be(light: At, tmp_path: Path) -> None:
    user = light.new_user()
    note = {"note": "ci", "scopes": SCOPES}
    (tmp_path / "no-folder").touch()
    folder = str(tmp_path / "no-folder" / "token")
    beyond, unknown, nobody, nowhere, is_folder, forever, without = light.run(
        [
            light.task("hub_token", user=user, note="ci", scopes=["admin:users"]),
            light.task("hub_token", user=user, note="ci", scopes=["no:such:scope"]),
            light.task("hub_token", user="nobody-of-that-name", **note),
            light.task("hub_token", user=user, path=folder, **note),
            light.task("hub_token", user=user, path=str(tmp_path), **note),
            light.task("hub_token", user=user, expires_in="for ever", **note),
            light.task("hub_token", user=user, note="ci"),
        ]
    ).results
    assert failed(beyond, "invalid", "admin:users")["status"] == 400
    failed(unknown, "invalid", "no:such:scope")
    failed(nobody, "not_found", "nobody-of-that-name")
    failed(nowhere, "invalid", "no-folder", "path")
    failed(is_folder, "invalid", str(tmp_path))
    failed(forever, "invalid", "expires_in", "2h")
    # Without scopes a hub would mint a token that may do all that its owner may.
    assert without["failed"] is True
    assert "scopes" in without["msg"]
    assert ids(light, user) == []


def test_a_token_that_may_not_mint(light: At) -> None:
    user = light.new_user()
    reader = light.holding(light.mint(user, "read:tokens!user"))
    blind = light.holding(light.mint(user, "read:users:name!user"))
    cannot_mint, cannot_see = light.run(
        [each.task("hub_token", user=user, note="ci", scopes=SCOPES) for each in (reader, blind)]
    ).results
    failed(cannot_mint, "missing_scope", "'tokens'")
    failed(cannot_see, "missing_scope", "read:tokens")


@pytest.mark.doors
def test_check_mode_predicts_and_mints_nothing(light: At, glass: Misbehaving, tmp_path: Path) -> None:
    user = light.new_user()
    light.mint(user, *SCOPES, note="old")
    kept, lost = tmp_path / "kept", tmp_path / "lost"
    light("hub_token", user=user, note="kept", scopes=SCOPES, path=str(kept))
    light("hub_token", user=user, note="lost", scopes=SCOPES, path=str(lost))
    kept.chmod(0o640)
    lost.unlink()
    wishes: list[dict[str, Any]] = [
        {"note": "new", "scopes": SCOPES},
        {"note": "old", "scopes": SCOPES},
        {"note": "old", "state": "absent"},
        {"note": "kept", "scopes": SCOPES, "path": str(kept)},
        {"note": "lost", "scopes": SCOPES, "path": str(lost)},
    ]
    before = ids(light, user)
    through_glass = light.through(glass.url)
    foretold = light.run(
        [through_glass.task("hub_token", {"check_mode": True}, user=user, **wish) for wish in wishes]
    ).results
    assert glass.writes == []
    assert ids(light, user) == before
    assert (kept.stat().st_mode & 0o777, lost.exists()) == (0o640, False)

    done = light.run([light.task("hub_token", user=user, **wish) for wish in wishes]).results
    for then, now in zip(foretold, done, strict=True):
        assert not then["failed"], then["msg"]
        assert (then["token"], then["minted"]) == (None, False)
        for key in ("changed", "actions", "diff"):
            assert then[key] == now[key]
    assert [result["changed"] for result in done] == [True, False, True, True, True]


@pytest.mark.doors
def test_no_secret_is_shown(light: At, tmp_path: Path) -> None:
    user, path = light.new_user(), tmp_path / "token"
    present = light.task("hub_token", user=user, note="ci", scopes=SCOPES, path=str(path))
    broken = light.task("hub_token", user="nobody-of-that-name", note="ci", scopes=SCOPES)
    ran = light.run([present, present, broken], arguments=["-vvvv", "--diff"])
    assert [result["failed"] for result in ran.results] == [False, False, True]
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in ran.stdout
    for secret in (light.hub.admin_token, path.read_text().strip()):
        assert len(secret) > 20
        assert secret not in ran.output
        assert secret not in str(ran.results)
