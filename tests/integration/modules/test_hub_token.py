# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.threads import in_background
from support.fakes.misbehaving_hub import Answer, MisbehavingHub, Request, misbehaving_hub
from support.hub_clock import CLOCK_CONFIG, HOUR, let_time_pass
from support.hubs import Hub, HubPool, running_hub
from support.runner import Runner, assert_failed, run_tasks

SCOPES = ["read:users:name!user"]


@pytest.fixture
def timed(door: str, pool: HubPool) -> Runner:
    """As `light`, where time passes as a test says."""
    return Runner(door, pool.get(config=CLOCK_CONFIG))


def owner(runner: Runner, secret: str) -> str | None:
    """Whose token it is, by the hub's word; None if it does not work."""
    answer = requests.get(f"{runner.hub.api}/user", headers={"Authorization": f"token {secret}"}, timeout=60)
    return answer.json()["name"] if answer.ok else None


def ids(runner: Runner, user: str) -> list[str]:
    return [token["id"] for token in runner.tokens(user)]


def why(result: dict[str, Any]) -> str:
    return str(result["actions"][0]["why"])


def verbs(result: dict[str, Any]) -> list[str]:
    return [action["verb"] for action in result["actions"]]


def test_mint_and_revoke(any_version: Runner) -> None:
    runner, user = any_version, any_version.new_user()
    present = runner.task("hub_token", user=user, note="ci", scopes=SCOPES)
    first, second = runner.run([present] * 2).results
    assert (first["changed"], first["minted"], verbs(first)) == (True, True, ["mint"])
    assert owner(runner, first["token"]) == user
    assert f"read:users:name!user={user}" in first["scopes"]
    assert (first["user"], first["note"], first["expires_at"], first["revoked"]) == (user, "ci", None, [])
    assert ids(runner, user) == [first["token_id"]]
    assert runner.tokens(user)[0]["note"].startswith("ci [hubops ")
    # The hub tells a secret once.
    assert (second["changed"], second["minted"], second["token"]) == (False, False, None)
    assert second["token_id"] == first["token_id"]
    assert first["tokens"][0]["token"] == first["token"]
    assert first["tokens"][0].keys() == second["tokens"][0].keys()

    runner.mint(user, *SCOPES, note="ci")
    runner.mint(user, *SCOPES, note="another")
    both = {token["id"] for token in runner.tokens(user) if token["note"].startswith("ci")}
    removed, again = runner.run([runner.task("hub_token", user=user, note="ci", state="absent")] * 2).results
    assert (removed["changed"], set(removed["revoked"]), len(both)) == (True, both, 2)
    assert (again["changed"], again["revoked"]) == (False, [])
    assert [token["note"] for token in runner.tokens(user)] == ["another"]
    assert owner(runner, first["token"]) is None


def test_scopes_of_today_on_any_hub(any_version: Runner) -> None:
    user = any_version.new_user()
    scopes = ["start:servers!user", "delete:servers!user", "read:servers!user"]
    minted = any_version("hub_token", user=user, note="ci", scopes=scopes)
    runner = any_version.with_token(minted["token"])
    start, stop = runner.run(
        [runner.task("hub_server", user=user), runner.task("hub_server", user=user, state="stopped")]
    ).results
    assert (start["servers"][0]["state"], stop["servers"][0]["state"]) == ("ready", "stopped")


def test_a_token_can_do_no_more_than_its_owner(any_version: Runner) -> None:
    user = any_version.new_user()
    result = any_version("hub_token", user=user, note="ci", scopes=["list:users"])
    assert assert_failed(result, "invalid", "list:users", "no more than its owner", "role")["status"] == 400
    assert ids(any_version, user) == []


class Kept:
    """A token that a file keeps, declared again and again while things happen to it."""

    def __init__(self, runner: Runner, folder: Path, **more: Any) -> None:
        self.runner, self.user, self.path = runner, runner.new_user(), folder / "kept" / "token"
        self.options = {"user": self.user, "note": "ci", "scopes": SCOPES, "path": str(self.path), **more}

    @property
    def secret(self) -> str:
        return self.path.read_text().strip()

    def run(self, **more: Any) -> dict[str, Any]:
        return self.runner("hub_token", **{**self.options, **more})

    def stays(self, **more: Any) -> None:
        """Nothing is changed, neither at the hub nor in the file."""
        before = (self.secret, self.path.stat().st_mtime_ns, ids(self.runner, self.user))
        result = self.run(**more)
        assert (result["changed"], result["actions"], result["minted"]) == (False, [], False), result
        assert (self.secret, self.path.stat().st_mtime_ns, ids(self.runner, self.user)) == before

    def refused(self, reason: str, **more: Any) -> None:
        """Somebody may use the token that is there, and keep it elsewhere."""
        before = ids(self.runner, self.user)
        (token,) = [each for each in self.runner.tokens(self.user) if each["note"].startswith("ci")]
        result = self.run(**more)
        assert_failed(result, "conflict", reason, f"token {token['id']}, minted at", "used last at", "on_lost: replace")
        assert (result["changed"], result["minted"], result["revoked"]) == (False, False, [])
        assert ids(self.runner, self.user) == before

    def renewed(self, reason: str, **more: Any) -> dict[str, Any]:
        """Another token is minted, and the only one of the identity."""
        others = {token["id"] for token in self.runner.tokens(self.user) if not token["note"].startswith("ci")}
        old = [number for number in ids(self.runner, self.user) if number not in others]
        result = self.run(**more)
        assert (result["changed"], result["minted"], result["revoked"], result["token"]) == (True, True, old, None), (
            result
        )
        assert reason in why(result)
        assert owner(self.runner, self.secret) == self.user
        assert self.secret not in str(result)
        assert self.path.stat().st_mode & 0o777 == 0o600
        assert os.listdir(self.path.parent) == ["token"]
        assert set(ids(self.runner, self.user)) == {result["token_id"], *others}
        return result


@pytest.mark.parametrize(("door", "hub"), [("controller", "hub_61"), ("program", "hub_55"), ("program", "hub_41")])
def test_a_kept_token_through_its_life(door: str, hub: str, tmp_path: Path, pool: HubPool) -> None:
    """What changes is what had to, on each version of the hub."""
    version = {"hub_61": "6.1", "hub_55": "5.5", "hub_41": "4.1"}[hub]
    kept = Kept(Runner(door, pool.get(version, config=CLOCK_CONFIG)), tmp_path)
    kept.renewed("no secret is kept")
    assert kept.path.parent.stat().st_mode & 0o777 == 0o700
    kept.stays()
    kept.renewed("a new one is asked for", rotate=True)
    kept.stays()
    kept.path.unlink()
    kept.refused("no secret is kept")
    kept.renewed("no secret is kept", on_lost="replace")
    kept.path.write_bytes("not a tökén\nbut two lines\n".encode())
    kept.refused("cannot be a token")
    kept.renewed("cannot be a token", on_lost="replace")
    kept.runner.api_request("DELETE", f"users/{kept.user}/tokens/{ids(kept.runner, kept.user)[0]}")
    kept.renewed("does not work")
    more = {"scopes": [*SCOPES, "read:servers!user"]}
    wide = kept.renewed("declared otherwise", **more)
    assert f"read:servers!user={kept.user}" in wide["scopes"]
    kept.stays(scopes=more["scopes"][::-1])  # their order means nothing
    # Fewer scopes are another token, too: this one may do more than it should.
    narrow = kept.renewed("declared otherwise")
    assert f"read:servers!user={kept.user}" not in narrow["scopes"]
    brief = kept.renewed("declared otherwise", expires_in="1h")
    assert brief["expires_at"]
    let_time_pass(kept.runner.hub, 2 * HOUR, kept.user)
    assert owner(kept.runner, kept.secret) is None
    kept.renewed("does not work", expires_in="1h")
    kept.runner("hub_token", **{**kept.options, "state": "absent"})
    assert (kept.path.exists(), ids(kept.runner, kept.user)) == (False, [])


def test_a_file_that_does_not_belong_to_the_token(hub_61: Hub, tmp_path: Path) -> None:
    light = Runner("program", hub_61)
    kept = Kept(light, tmp_path)
    kept.run()
    kept.path.write_text("")
    kept.refused("no secret is kept")
    kept.renewed("no secret is kept", on_lost="replace")
    kept.path.write_text("0123456789abcdef\n")
    kept.refused("does not work")
    kept.renewed("does not work", on_lost="replace")
    kept.path.write_text(light.mint(light.new_user(), *SCOPES))
    kept.refused("another account")
    kept.renewed("another account", on_lost="replace")
    other = light.mint(kept.user, *SCOPES, note="not the declared one")
    kept.path.write_text(other)
    kept.refused("another token")
    kept.renewed("another token", on_lost="replace")
    assert owner(light, other) == kept.user  # not ours to revoke
    by_hand = light.mint(kept.user, *SCOPES, note="ci")
    kept.path.write_text(by_hand)
    kept.renewed("not minted by this module")
    assert owner(light, by_hand) is None


@pytest.mark.doors
def test_a_file_that_others_may_read(light: Runner, tmp_path: Path) -> None:
    kept = Kept(light, tmp_path)
    kept.run()
    secret = kept.secret
    kept.path.chmod(0o644)
    result = kept.run()
    assert (result["changed"], verbs(result), result["minted"]) == (True, ["protect"], False)
    assert kept.path.stat().st_mode & 0o777 == 0o600
    assert kept.secret == secret


@pytest.mark.doors
def test_renewal_before_the_end(timed: Runner, tmp_path: Path) -> None:
    """A successor is due when a quarter of the hour is left, and not before."""
    kept = Kept(timed, tmp_path, expires_in="1h")
    kept.run(renew_before="25%")
    let_time_pass(timed.hub, HOUR * 0.7, kept.user)
    kept.stays(renew_before="25%")
    kept.stays(renew_before="15m")
    let_time_pass(timed.hub, HOUR * 0.1, kept.user)
    kept.stays()
    kept.renewed("it expires at", renew_before="25%")
    never, odd = timed.run(
        [timed.task("hub_token", **kept.options, renew_before=each) for each in ("1h", "a while")]
    ).results
    assert_failed(never, "invalid", "every run would mint a new token", "25%")
    assert_failed(odd, "invalid", "renew_before")


def test_a_token_that_may_not_be_revoked(light: Runner, tmp_path: Path) -> None:
    """The hub answers 404 for a token that this one may see, and may not revoke."""
    user, other = light.new_user(), light.new_user(admin=True)
    options = {"user": user, "note": "ci", "scopes": SCOPES}
    light("hub_token", path=str(tmp_path / "token"), **options)
    scopes = ("read:users", f"read:tokens!user={user}", f"tokens!user={other}")
    revoked = light.with_token(light.mint(other, *scopes))("hub_token", state="absent", user=user, note="ci")
    assert_failed(revoked, "missing_scope", "'tokens' does not cover", user)
    assert ids(light, user)


def test_a_given_secret(any_version: Runner) -> None:
    """The caller has it from a vault, and takes a new one from the result."""
    runner, user = any_version, any_version.new_user()
    options = {"user": user, "note": "ci", "scopes": SCOPES}
    first = runner("hub_token", secret="", **options)
    assert (first["minted"], owner(runner, first["token"])) == (True, user)
    again = runner("hub_token", secret=first["token"], **options)
    assert (again["changed"], again["token"], again["token_id"]) == (False, None, first["token_id"])

    rotated = runner("hub_token", secret=first["token"], rotate=True, **options)
    assert owner(runner, rotated["token"]) == user
    assert rotated["token"] != first["token"]
    if runner.hub.version.startswith("4."):  # which does not say whose secret the next run would bring along
        assert rotated["revoked"] == [first["token_id"]]
    else:
        # Until the successor is brought along nobody knows that it was kept.
        assert (rotated["revoked"], owner(runner, first["token"])) == ([], user)
        kept = runner("hub_token", secret=rotated["token"], **options)
        assert (kept["changed"], kept["minted"], kept["revoked"]) == (True, False, [first["token_id"]])
    assert runner("hub_token", secret=rotated["token"], **options)["changed"] is False
    assert ids(runner, user) == [rotated["token_id"]]

    # Which may be an old one, and the other one kept elsewhere.
    assert_failed(
        runner("hub_token", secret="changeme", **options), "conflict", f"token {rotated['token_id']}, minted at"
    )
    wrong = runner("hub_token", secret="changeme", on_lost="replace", **options)
    assert (wrong["minted"], owner(runner, wrong["token"])) == (True, user)
    if runner.hub.version.startswith("4."):
        assert wrong["revoked"] == [rotated["token_id"]]
    else:
        assert (wrong["revoked"], owner(runner, rotated["token"])) == ([], user)
        assert runner("hub_token", secret=wrong["token"], **options)["revoked"] == [rotated["token_id"]]


@pytest.mark.doors
@pytest.mark.parametrize("secret", ["a", "0", " ", "e1"])
def test_a_new_secret_survives_the_masking_of_the_given_one(light: Runner, secret: str) -> None:
    """Ansible blanks whatever holds a value that entered as a secret: here, a part of many a token."""
    user = light.new_user()
    options = {"user": user, "scopes": SCOPES, "secret": secret}
    results = light.run([light.task("hub_token", note=f"n{number}", **options) for number in range(3)]).results
    assert [owner(light, result["token"]) for result in results] == [user] * 3
    assert [owner(light, result["tokens"][0]["token"]) for result in results] == [user] * 3


@pytest.mark.doors
def test_a_given_secret_and_a_file(light: Runner, tmp_path: Path) -> None:
    kept = Kept(light, tmp_path)
    kept.run()
    secret = kept.secret
    kept.path.unlink()
    restored = kept.run(secret=secret)
    assert (verbs(restored), restored["minted"], kept.secret) == (["keep"], False, secret)
    assert kept.path.stat().st_mode & 0o777 == 0o600
    kept.stays(secret=secret)
    kept.stays(secret="stale")
    assert secret not in str(restored)


def test_overlap(pool: HubPool, tmp_path: Path) -> None:
    light = Runner("program", pool.get(config=CLOCK_CONFIG))
    kept = Kept(light, tmp_path)
    first = kept.run()
    secret = kept.secret
    rotated = kept.run(rotate=True, overlap="1h")
    assert (rotated["revoked"], owner(light, secret), owner(light, kept.secret)) == ([], kept.user, kept.user)
    kept.stays(overlap="1h")
    let_time_pass(light.hub, 2 * HOUR, kept.user)
    over = kept.run(overlap="1h")
    assert (over["minted"], over["revoked"], owner(light, secret)) == (False, [first["token_id"]], None)
    kept.stays(overlap="1h")


def test_overlap_needs_a_hub_that_tells_tokens_apart(light_41: Runner) -> None:
    result = light_41("hub_token", user=light_41.new_user(), note="ci", scopes=SCOPES, overlap="1h")
    assert_failed(result, "invalid", "JupyterHub 5.0")


def test_prune(hub_61: Hub, tmp_path: Path) -> None:
    light = Runner("program", hub_61)
    kept = Kept(light, tmp_path)
    kept.run()
    by_hand = [light.mint(kept.user, *SCOPES, note="ci") for _each in range(2)]
    other = light.mint(kept.user, *SCOPES, note="ci too")
    kept.stays()
    result = kept.run(prune=True)
    assert (result["changed"], result["minted"], len(result["revoked"])) == (True, False, 2)
    assert [owner(light, secret) for secret in (*by_hand, other, kept.secret)] == [None, None, kept.user, kept.user]
    kept.stays(prune=True)


def test_absent_with_one_of_the_tokens_that_go(any_version: Runner) -> None:
    runner, user = any_version, any_version.new_user()
    owned = runner.with_token(runner.mint(user, "tokens!user", note="ci"))
    for _each in range(3):
        runner.mint(user, *SCOPES, note="ci")
    assert len(owned("hub_token", user=user, note="ci", state="absent")["revoked"]) == 4
    assert ids(runner, user) == []


def test_a_token_whose_owner_has_lost_what_was_declared(any_version: Runner, tmp_path: Path) -> None:
    runner, user = any_version, any_version.new_user(admin=True)
    options = {"user": user, "note": "ci", "scopes": [*SCOPES, "list:users"], "path": str(tmp_path / "token")}
    first = runner("hub_token", **options)
    assert (first["minted"], runner("hub_token", **options)["changed"]) == (True, False)
    assert runner.api_request("PATCH", f"users/{user}", {"admin": False}).ok
    assert_failed(runner("hub_token", **options), "invalid", "list:users")
    assert ids(runner, user) == [first["token_id"]]
    assert why(runner("hub_token", **{**options, "scopes": SCOPES})) == "it was declared otherwise"


def test_an_old_hub_s_tokens_with_their_files_exchanged(hub_41: Hub, tmp_path: Path) -> None:
    """It does not say which token asks; what each may do does."""
    light_41 = Runner("program", hub_41)
    user, one, two = light_41.new_user(), tmp_path / "one", tmp_path / "two"
    options = [
        {"user": user, "note": "one", "scopes": SCOPES, "path": str(one)},
        {"user": user, "note": "two", "scopes": [*SCOPES, "read:servers!user"], "path": str(two)},
    ]
    for each in options:
        light_41("hub_token", **each)
    one.rename(tmp_path / "three")
    two.rename(one)
    (tmp_path / "three").rename(two)
    assert_failed(light_41("hub_token", **options[0]), "conflict", "the kept secret is of another token")
    whys = [why(light_41("hub_token", on_lost="replace", **each)) for each in options]
    assert whys == ["the kept secret is of another token", "the kept secret does not work"]  # by then
    assert [light_41("hub_token", **each)["changed"] for each in options] == [False, False]


@pytest.mark.parametrize("rotate", [False, True])
def test_many_runs_at_once_for_one_file(hub_61: Hub, tmp_path: Path, rotate: bool) -> None:
    """As a play does that goes over many hosts, and keeps the same token in the same file for each."""
    kept = Kept(Runner("program", hub_61), tmp_path)
    runs = [in_background(lambda: kept.run(rotate=rotate)) for _each in range(4)]
    results = [each.result(300) for each in runs]
    assert [result for result in results if result["failed"]] == []
    assert sum(result["minted"] for result in results) == (4 if rotate else 1)
    assert (owner(kept.runner, kept.secret), len(ids(kept.runner, kept.user))) == (kept.user, 1)


# What the file looks like

PASSWORD = "of the vault"
LONG_PASSWORD = "a-password-that-is-part-of-no-other-text"
FORMATS: dict[str, dict[str, Any]] = {
    "vault": {"format": "vault", "vault_variable": "hub_token", "vault_password": PASSWORD},
    "kubernetes": {"format": "kubernetes", "kubernetes_namespace": "checks", "kubernetes_name": "hub-token"},
}


class KeptIn(Kept):
    """A token that a vault or a manifest keeps, in which others find the secret by their own means."""

    @property
    def secret(self) -> str:
        text = self.path.read_bytes()
        if self.options["format"] == "vault":
            text = VaultLib([("default", VaultSecret(PASSWORD.encode()))]).decrypt(text)
            return str(yaml.safe_load(text)["hub_token"])
        manifest = yaml.safe_load(text)
        assert manifest["metadata"] == {"name": "hub-token", "namespace": "checks"}
        return base64.b64decode(manifest["data"]["token"]).decode()


@pytest.fixture(params=FORMATS)
def secret_format(request: pytest.FixtureRequest) -> dict[str, Any]:
    return FORMATS[request.param]


def test_a_token_in_a_vault_or_a_manifest_through_its_life(
    hub_61: Hub, secret_format: dict[str, Any], tmp_path: Path
) -> None:
    kept = KeptIn(Runner("controller", hub_61), tmp_path, **secret_format)
    kept.renewed("no secret is kept")
    kept.stays()
    kept.renewed("a new one is asked for", rotate=True)
    kept.stays()
    whole = kept.path.read_bytes()
    for damaged in (whole[:-20], whole[:-20] + bytes(20), bytes(33)):
        kept.path.write_bytes(damaged)
        kept.renewed("damaged")
    kept.path.unlink()
    kept.refused("no secret is kept")
    kept.renewed("no secret is kept", on_lost="replace")
    secret = kept.secret
    kept.path.unlink()
    restored = kept.run(secret=secret)
    assert (verbs(restored), kept.secret) == (["keep"], secret)
    kept.path.chmod(0o644)
    assert verbs(kept.run()) == ["protect"]
    with_half = kept.path.with_name(".token.new")
    with_half.write_bytes(kept.path.read_bytes()[:50])
    assert verbs(kept.run()) == ["clean"]
    kept.stays()

    # What is somebody else's is neither overwritten nor removed.
    text = kept.path.read_bytes()
    for other in (b"password: x\n", b"words"):
        kept.path.write_bytes(other)
        for more in ({}, {"rotate": True}, {"state": "absent"}):
            assert_failed(kept.run(**more), "invalid", str(kept.path))
            assert kept.path.read_bytes() == other
    kept.path.write_bytes(text)
    checked = kept.runner.check("hub_token", **{**kept.options, "state": "absent"})
    assert (verbs(checked), kept.path.exists()) == (["revoke", "remove"], True)
    assert verbs(kept.run(state="absent")) == ["revoke", "remove"]
    assert (os.listdir(kept.path.parent), ids(kept.runner, kept.user)) == ([], [])


@pytest.mark.parametrize("rotate", [False, True])
def test_many_runs_at_once_for_one_vault_or_manifest(
    hub_61: Hub, secret_format: dict[str, Any], rotate: bool, tmp_path: Path
) -> None:
    """Each run in a process of its own."""
    kept = KeptIn(Runner("controller", hub_61), tmp_path, **secret_format)
    runs = [in_background(lambda: kept.run(rotate=rotate)) for _each in range(3)]
    results = [each.result(300) for each in runs]
    assert [result for result in results if result["failed"]] == []
    assert sum(result["minted"] for result in results) == (3 if rotate else 1)
    assert (owner(kept.runner, kept.secret), len(ids(kept.runner, kept.user))) == (kept.user, 1)


@pytest.mark.doors
def test_only_the_controller_writes_a_vault(light: Runner, tmp_path: Path) -> None:
    """One token that cannot be kept ends no other."""
    user = light.new_user()
    tokens = [
        {"user": user, "note": name, "path": str(tmp_path / name), **options}
        for name, options in {**FORMATS, "plain": {}}.items()
    ]
    tasks = [light.task("hub_token", {"check_mode": check}, tokens=tokens, scopes=SCOPES) for check in (True, False)]
    for result in light.run(tasks).results:
        failures = [token["failure"] for token in result["tokens"]]
        if light.door == "controller":
            assert failures == [None] * 3
        else:
            assert_failed(
                result, "invalid", "Only the controller can encrypt", "connection: local", "without become and async"
            )
            assert [failure and failure["code"] for failure in failures] == ["invalid", None, None]
    assert sorted(os.listdir(tmp_path)) == ["kubernetes", "plain", "vault"][: 2 + (light.door == "controller")]


def test_a_task_with_async_cannot_write_a_vault(light_controller: Runner, tmp_path: Path) -> None:
    kept = KeptIn(light_controller, tmp_path, **FORMATS["vault"])
    task = kept.runner.task("hub_token", {"async": 300, "poll": 1}, **kept.options)
    assert_failed(kept.runner.run([task]).results[0], "invalid", "Only the controller can encrypt")
    assert not kept.path.exists()


@pytest.fixture
def light_controller(hub_61: Hub) -> Runner:
    return Runner("controller", hub_61)


@pytest.mark.doors
def test_formats_that_cannot_be(light: Runner, tmp_path: Path) -> None:
    options = {"user": light.new_user(), "note": "ci", "scopes": SCOPES, "path": str(tmp_path / "token")}
    kubernetes = {"format": "kubernetes", "kubernetes_namespace": "checks"}
    results = light.run([
        light.task("hub_token", **options, format="vault", vault_password=PASSWORD),
        light.task("hub_token", **options, format="vault", vault_variable="x"),
        light.task("hub_token", **options, **kubernetes),
        light.task("hub_token", **options, **kubernetes, kubernetes_name="x", kubernetes_key="a b"),
        light.task("hub_token", **{**options, "path": None}, **FORMATS["kubernetes"]),
    ]).results  # fmt: skip
    says = ("vault_variable", "vault_password", "kubernetes_name", "kubernetes_key", "there is no path")
    for result, words in zip(results, says, strict=True):
        assert_failed(result, "invalid", words)
    assert os.listdir(tmp_path) == []


def test_what_was_replaced_can_wait(any_version: Runner, tmp_path: Path) -> None:
    """Until the file was carried to where others read it. JupyterHub 4 does not tell the two tokens apart."""
    kept = Kept(any_version, tmp_path)
    first = kept.run()
    secret = kept.secret
    let_time_pass = kept.run(rotate=True, revoke_replaced=False)
    if any_version.hub.version.startswith("4."):
        assert let_time_pass["revoked"] == [first["token_id"]]
        return
    assert (let_time_pass["revoked"], owner(any_version, secret), owner(any_version, kept.secret)) == (
        [],
        *[kept.user] * 2,
    )
    kept.stays(revoke_replaced=False)
    assert kept.run()["revoked"] == [first["token_id"]]
    kept.stays()


@pytest.mark.doors
def test_rights(light: Runner, tmp_path: Path) -> None:
    user, path = light.new_user(), str(tmp_path / "token")
    shared = {"user": user, "note": "ci"}
    inherit, again, named, none, both, other, without = light.run(
        [
            light.task("hub_token", inherit=True, path=path, **shared),
            light.task("hub_token", inherit=True, path=path, **shared),
            light.task("hub_token", roles=["user"], path=path, **shared),
            light.task("hub_token", scopes=[], user=user, note="who am I"),
            light.task("hub_token", scopes=SCOPES, inherit=True, **shared),
            light.task("hub_token", scopes=SCOPES, roles=["user"], inherit=False, **shared),
            light.task("hub_token", **shared),
        ]
    ).results
    assert (inherit["changed"], again["changed"]) == (True, False)
    assert f"tokens!user={user}" in inherit["scopes"]
    assert (named["minted"], f"tokens!user={user}" in named["scopes"]) == (True, True)
    assert (none["minted"], f"tokens!user={user}" in none["scopes"]) == (True, False)
    assert_failed(both, "invalid", "scopes and inherit exclude each other")
    assert_failed(other, "invalid", "scopes and roles exclude each other")
    # Without scopes a hub would mint a token that may do all that its owner may.
    assert_failed(without, "invalid", "scopes", "inherit: true")


def test_expiry(light: Runner) -> None:
    user, before = light.new_user(), datetime.now(timezone.utc)
    result = light("hub_token", user=user, note="ci", scopes=SCOPES, expires_in="2h")
    expires = datetime.fromisoformat(result["expires_at"].replace("Z", "+00:00"))
    assert before <= expires - timedelta(hours=2) <= datetime.now(timezone.utc)


def test_a_lifetime_above_the_hub_s_maximum(tmp_path: Path) -> None:
    with running_hub(tmp_path, config="c.JupyterHub.token_expires_in_max_seconds = 3600") as hub:
        runner = Runner("program", hub)
        user = runner.new_user()
        shared = {"user": user, "note": "ci", "scopes": SCOPES}
        beyond, capped, never = runner.run(
            [
                runner.task("hub_token", expires_in="2h", **shared),
                runner.task("hub_token", **shared),
                runner.task("hub_token", renew_before="1d", **shared),
            ]
        ).results
        assert_failed(beyond, "invalid", "7200", "3600")
        assert capped["expires_at"] is not None
        assert_failed(never, "invalid", "shorter time than renew_before", "25%")


@pytest.mark.doors
def test_many_in_one_call(light: Runner, tmp_path: Path) -> None:
    users = [light.new_user() for _each in range(3)]
    items: list[dict[str, Any]] = [{"user": user, "path": str(tmp_path / user)} for user in users]
    items[2] = {"user": users[2], "note": "its own", "inherit": True, "secret": ""}
    shared = {"note": "ci", "scopes": SCOPES}
    first = light("hub_token", tokens=items, **shared)
    assert (first["changed"], first["minted"], first["token"], len(first["actions"])) == (True, True, None, 3)
    assert [(item["user"], item["note"], item["changed"]) for item in first["tokens"]] == [
        (users[0], "ci", True), (users[1], "ci", True), (users[2], "its own", True),
    ]  # fmt: skip
    items[2]["secret"] = first["tokens"][2]["token"]
    assert [item["token"] is None for item in first["tokens"]] == [True, True, False]
    assert owner(light, items[2]["secret"]) == users[2]
    assert [owner(light, (tmp_path / user).read_text().strip()) for user in users[:2]] == users[:2]

    # One fails, the others go on; nothing is minted twice.
    (tmp_path / users[0]).write_text("\0" * 33)  # as a machine leaves it that lost its power
    bad = light("hub_token", tokens=[{"user": "nobody-of-that-name"}, *items], **shared)
    assert_failed(bad, "not_found", "1 of 4 tokens failed", "nobody-of-that-name")
    assert [item["changed"] for item in bad["tokens"]] == [False, True, False, False]
    assert [item["failure"] is None for item in bad["tokens"]] == [False, True, True, True]
    assert bad["changed"] is True

    removed = light("hub_token", tokens=items, state="absent", note="ci")
    assert [len(ids(light, user)) for user in users] == [0, 0, 0], removed
    assert not list(tmp_path.iterdir())
    assert light("hub_token", tokens=[])["changed"] is False


@pytest.mark.doors
def test_many_that_cannot_be(light: Runner, tmp_path: Path) -> None:
    user = light.new_user()
    item = {"user": user, "note": "ci", "scopes": SCOPES}
    paths = [str(tmp_path / "t"), f"{tmp_path}/./t"]
    twice, one_file, other_name, bad_item, both_forms, no_workers, no_note, nobody, no_name = light.run(
        [
            light.task("hub_token", tokens=[item, item]),
            light.task("hub_token", tokens=[{**item, "note": str(n), "path": paths[0]} for n in range(2)]),
            light.task("hub_token", tokens=[{**item, "note": path, "path": path} for path in paths]),
            light.task("hub_token", tokens=[item, {**item, "note": " "}]),
            light.task("hub_token", tokens=[item], user=user),
            light.task("hub_token", tokens=[item], concurrency=0),
            light.task("hub_token", user=user, scopes=SCOPES),
            # What a variable gives that was declared and left empty.
            light.task("hub_token", user=None, note="ci", scopes=SCOPES),
            light.task("hub_token", tokens=[{**item, "user": None}]),
        ]
    ).results
    assert_failed(twice, "invalid", "declared twice")
    for same in (one_file, other_name):
        assert_failed(same, "invalid", "declared twice", paths[0])
    assert_failed(nobody, "invalid", "user", "tokens")
    # Ansible 2.16 refuses it by itself, newer ones make an empty text of it.
    assert no_name["failed"] is True
    assert any(words in no_name["msg"] for words in ("not a valid name on a hub", "argument 'user'"))
    assert_failed(bad_item, "invalid", "note is empty")
    assert "mutually exclusive" in both_forms["msg"]
    assert_failed(no_workers, "invalid", "concurrency")
    assert "note" in no_note["msg"]
    assert ids(light, user) == []


@pytest.mark.doors
def test_what_cannot_be(light: Runner, tmp_path: Path) -> None:
    user = light.new_user()
    note = {"note": "ci", "scopes": SCOPES}
    (tmp_path / "no-folder").touch()
    folder = str(tmp_path / "no-folder" / "token")
    beyond, unknown, nobody, nowhere, is_folder, forever, marked = light.run(
        [
            light.task("hub_token", user=user, note="ci", scopes=["admin:users"]),
            light.task("hub_token", user=user, note="ci", scopes=["no:such:scope"]),
            light.task("hub_token", user="nobody-of-that-name", **note),
            light.task("hub_token", user=user, path=folder, **note),
            light.task("hub_token", user=user, path=str(tmp_path), **note),
            light.task("hub_token", user=user, expires_in="for ever", **note),
            light.task("hub_token", user=user, note="ci [hubops 0123456789ab-01234567]", scopes=SCOPES),
        ]
    ).results
    assert assert_failed(beyond, "invalid", "admin:users")["status"] == 400
    assert_failed(unknown, "invalid", "no:such:scope")
    assert_failed(nobody, "not_found", "nobody-of-that-name")
    assert_failed(nowhere, "invalid", "no-folder", "path")
    assert_failed(is_folder, "invalid", str(tmp_path))
    assert_failed(forever, "invalid", "expires_in", "2h")
    assert_failed(marked, "invalid", "brackets")
    assert ids(light, user) == []


@pytest.mark.doors
def test_a_hub_too_old_for_scopes(door: str) -> None:
    def old(asked: Request) -> Answer:
        return Answer({"version": "2.3.1"})

    with misbehaving_hub(old) as fake:
        task = {"hub_url": fake.url, "api_token": "0123456789", "user": "alice", "note": "ci", "scopes": SCOPES}
        [result] = run_tasks(door, [{"hubops.jupyterhub.hub_token": task}]).results
    assert_failed(result, "invalid", "2.3.1", "4.1")
    assert fake.writes == []


def test_a_token_that_may_not_mint(light: Runner) -> None:
    user = light.new_user()
    reader = light.with_token(light.mint(user, "read:tokens!user"))
    blind = light.with_token(light.mint(user, "read:users:name!user"))
    cannot_mint, cannot_see = light.run(
        [each.task("hub_token", user=user, note="ci", scopes=SCOPES) for each in (reader, blind)]
    ).results
    assert_failed(cannot_mint, "missing_scope", "'tokens'")
    assert_failed(cannot_see, "missing_scope", "read:tokens")


def test_an_account_that_renews_its_own_token(light: Runner, tmp_path: Path) -> None:
    """With the very secret that is replaced: its token goes last."""
    kept = Kept(light, tmp_path, scopes=["tokens!user"])
    kept.run()
    owned = light.with_token(kept.secret)
    result = owned("hub_token", **kept.options, rotate=True)
    assert (result["minted"], len(result["revoked"])) == (True, 1)
    assert (owner(light, str(owned.token)), owner(light, kept.secret)) == (None, kept.user)


@pytest.mark.doors
def test_check_mode_predicts_and_mints_nothing(light: Runner, read_only_hub: MisbehavingHub, tmp_path: Path) -> None:
    user = light.new_user()
    light.mint(user, *SCOPES, note="foreign")
    paths = {name: str(tmp_path / name) for name in ("kept", "lost", "rotated", "otherwise")}
    declared = [{"note": name, "scopes": SCOPES, "path": path} for name, path in paths.items()]
    light.run([light.task("hub_token", user=user, **each) for each in [*declared, {"note": "old", "scopes": SCOPES}]])
    (tmp_path / "kept").chmod(0o640)
    (tmp_path / "lost").unlink()
    declared[1]["on_lost"] = "replace"
    kept, lost, rotated, otherwise = declared
    wishes: list[dict[str, Any]] = [
        {"note": "new", "scopes": SCOPES},
        {"note": "old", "scopes": SCOPES},
        {"note": "old", "state": "absent"},
        {"note": "foreign", "scopes": SCOPES, "prune": True},
        kept,
        lost,
        {**rotated, "rotate": True},
        {**otherwise, "expires_in": "1h"},
    ]
    wishes = [{"user": user, **wish} for wish in wishes]
    wishes.append({"tokens": [{"note": "first", "user": user}, {"note": "second", "user": user}], "inherit": True})
    before = ids(light, user)
    read_only = light.with_url(read_only_hub.url)
    foretold = light.run([read_only.task("hub_token", {"check_mode": True}, **wish) for wish in wishes]).results
    assert read_only_hub.writes == []
    assert ids(light, user) == before
    assert ((tmp_path / "kept").stat().st_mode & 0o777, (tmp_path / "lost").exists()) == (0o640, False)

    done = light.run([light.task("hub_token", **wish) for wish in wishes]).results
    for then, now in zip(foretold, done, strict=True):
        assert not then["failed"], then["msg"]
        assert (then["token"], then["minted"]) == (None, False)
        for key in ("changed", "actions", "diff"):
            assert then[key] == now[key]
    assert [result["changed"] for result in done] == [True, False, True, True, True, True, True, True, True]


@pytest.mark.doors
def test_no_secret_is_shown(light: Runner, tmp_path: Path) -> None:
    user, path = light.new_user(), tmp_path / "token"
    present = light.task("hub_token", user=user, note="ci", scopes=SCOPES, path=str(path))
    broken = light.task("hub_token", user="nobody-of-that-name", note="ci", scopes=SCOPES)
    vault = KeptIn(light, tmp_path, **FORMATS["vault"] | {"vault_password": LONG_PASSWORD})
    in_vault = light.task("hub_token", **vault.options)
    wrong = light.task("hub_token", **vault.options | {"vault_password": LONG_PASSWORD[::-1]})
    # Since ansible-core 2.21, the output has the options of a task only with this setting.
    shown = {"arguments": ["-vvvvv", "--diff"], "env": {"ANSIBLE_INJECT_INVOCATION": "1"}}
    ran = light.run([present, present, broken, in_vault, wrong], **shown)
    assert [result["failed"] for result in ran.results][:3] == [False, False, True]
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in ran.stdout
    secrets = {light.hub.admin_token, path.read_text().strip(), LONG_PASSWORD, LONG_PASSWORD[::-1]}
    if light.door == "controller":
        assert_failed(ran.results[4], "invalid", "cannot be decrypted")
        text = VaultLib([("default", VaultSecret(LONG_PASSWORD.encode()))]).decrypt(vault.path.read_bytes())
        secrets.add(str(yaml.safe_load(text)["hub_token"]))
    for secret in secrets:
        assert len(secret) > 20
        assert secret not in ran.output
        assert secret not in str(ran.results)
