# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role service_account does about tokens after each of its tasks, and what it reports, without a hub."""

from __future__ import annotations

from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.service_account import complete_accounts
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.service_account_tokens import progress

from .test_service_account import SETTINGS

FORGED = "a\n\x1b[2J\x9b2Jfatal: [localhost]: FAILED!\u202e\x7f\u2028" + "x" * 5000
REVOKED = {"token_id": "a1", "created": "then", "last_activity": None, "why": "its successor is kept and works"}
DECLARED: list[dict[str, Any]] = [
    {"user": "by-file"},
    {"user": "by-vault", "keep": "vault", "vault_path": "v.yml", "vault_variable": "v"},
    {"user": "by-tasks", "keep": "tasks", "keep_tasks": "t.yml", "secret": "never looked at"},
    {"user": "by-manifest", "keep": "kubernetes", "manifest_path": "m.yml", "kubernetes_namespace": "ns",
     "kubernetes_name": "n"},
]  # fmt: skip
ACCOUNTS = complete_accounts(DECLARED, {**SETTINGS, "kubernetes_apply": True})
FILE, VAULT, TASKS, MANIFEST = range(4)


def item(token_id: str = "a2", **more: Any) -> dict[str, Any]:
    """One of hub_token's tokens, which was there already."""
    return {
        "user": "********", "note": "a note", "state": "present", "changed": False, "token": None, "token_id": token_id,
        "scopes": ["x"], "created": "then", "expires_at": None, "minted": False, "revoked": [], "revocations": [],
        "failure": None, **more,
    }  # fmt: skip


FAILED = item(None, failure={"code": "invalid", "message": "It is wrong.", "hint": "Correct it."})  # type: ignore[arg-type]
MINTED = item("a3", changed=True, minted=True)


def users(accounts: list[dict[str, Any]]) -> list[str]:
    return [account["user"] for account in accounts]


def test_before_any_task_all_that_files_keep_is_minted_in_one_task() -> None:
    found = progress(ACCOUNTS, {})
    assert found["mint"] == [ACCOUNTS[number]["hub_token"] for number in (FILE, VAULT, MANIFEST)]
    assert users(found["by_tasks"]) == ["by-tasks"]
    assert found["needs_vault"] is True
    assert {key: found[key] for key in found if key not in ("mint", "by_tasks", "needs_vault")} == {
        "apply": [], "revoke": [], "prove": [], "tokens": [], "failures": [], "revocations": [], "report": [],
    }  # fmt: skip
    assert progress([ACCOUNTS[FILE]], {})["needs_vault"] is False


def test_a_secret_is_applied_and_only_then_its_predecessor_revoked() -> None:
    minted = {"tokens": [item(), item(), MINTED]}
    first = progress(ACCOUNTS, {"minted": minted})
    assert users(first["apply"]) == ["by-manifest"]
    assert first["revoke"] == []
    applied = {"minted": minted, "applied": [{"number": MANIFEST, "problem": ""}]}
    second = progress(ACCOUNTS, applied)
    [revoke] = second["revoke"]
    assert (revoke["user"], revoke["revoke_replaced"], revoke["renew_before"]) == ("by-manifest", True, None)
    third = progress(
        ACCOUNTS,
        {**applied, "revoked": {"tokens": [item("a3", changed=True, revoked=["a1"], revocations=[REVOKED])]}},
    )
    token = third["tokens"][-1]
    assert (token["user"], token["token_id"], token["minted"], token["revoked"]) == ("by-manifest", "a3", True, ["a1"])
    assert third["report"][-1] == (
        "by-manifest (a note): revoked a1, minted then, never used: its successor is kept and works"
    )


def test_a_cluster_that_refuses_leaves_the_predecessor_and_fails_the_account() -> None:
    found = progress(
        ACCOUNTS, {"minted": {"tokens": [item(), item(), MINTED]}, "applied": [{"number": MANIFEST, "problem": FORGED}]}
    )
    assert (found["revoke"], users(found["tokens"])) == ([], ["by-file", "by-vault"])
    [failure] = found["failures"]
    assert failure.startswith("by-manifest (a note): Its Secret was not applied: a")
    assert failure.isprintable()
    assert users(completed_of(found["prove"])) == ["by-file", "by-vault"]


def completed_of(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [account for account in ACCOUNTS if account["user"] in users(options)]


def test_what_is_not_asked_for_is_not_applied() -> None:
    accounts = complete_accounts(DECLARED, SETTINGS)
    assert progress(accounts, {"minted": {"tokens": [item(), item(), item()]}})["apply"] == []


def test_one_account_that_fails_ends_no_other() -> None:
    found = progress(ACCOUNTS, {"minted": {"tokens": [item(), FAILED, FAILED], "msg": "2 of 3 tokens failed."}})
    assert found["failures"] == [f"{user} (a note): It is wrong. Correct it." for user in ("by-vault", "by-manifest")]
    assert (found["apply"], users(found["tokens"]), users(found["prove"])) == ([], ["by-file"], ["by-file"])


def test_a_task_that_says_nothing_of_its_tokens_fails_as_a_whole() -> None:
    found = progress(ACCOUNTS, {"minted": {"msg": "No hub answers."}})
    assert (found["failures"], found["tokens"]) == (["No hub answers."], [])
    assert progress(ACCOUNTS[TASKS : TASKS + 1], {"minted": {"skipped": True, "msg": "skipped"}})["failures"] == []


def test_what_tasks_keep() -> None:
    both = [MINTED, item("a3", changed=True, revoked=["a1"], revocations=[REVOKED])]
    by_tasks = [{"number": TASKS, "problem": "", "results": both}]
    found = progress(ACCOUNTS, {"by_tasks": by_tasks})
    [token] = found["tokens"]
    assert (token["user"], token["minted"], token["changed"], token["token"]) == ("by-tasks", True, True, None)
    assert token["revoked"] == ["a1"]
    assert found["report"][0] == "by-tasks (a note): minted, kept by /run/from/t.yml, valid until it is revoked"
    delayed = progress(ACCOUNTS, {"by_tasks": [{**by_tasks[0], "problem": "It does not work."}]})
    assert (delayed["tokens"], delayed["failures"]) == ([], ["by-tasks (a note): It does not work."])
    # What was revoked before it failed is told all the same.
    assert [each["token_id"] for each in delayed["revocations"]] == ["a1"]


def test_a_file_that_another_host_has_overwritten() -> None:
    minted = {"tokens": [item(), item(), item()]}
    proven = {"tokens": [item(), item("other"), item()]}
    found = progress(ACCOUNTS, {"minted": minted, "proven": proven})
    [failure] = found["failures"]
    assert failure.startswith("by-vault (a note): '/run/from/v.yml' keeps another token by now.")
    assert users(found["tokens"]) == ["by-file", "by-manifest"]


def test_in_check_mode_nothing_is_done_with_what_is_not_there_yet() -> None:
    users_of_hub = {"by-file": None, "by-vault": "then", "by-tasks": None, "by-manifest": "then"}
    created = {"results": [{"user": {"name": user, "created": each}} for user, each in users_of_hub.items()]}
    checked = {"check_mode": True, "created": created}
    found = progress(ACCOUNTS, checked)
    assert (users(found["mint"]), found["by_tasks"]) == (["by-vault", "by-manifest"], [])
    would = progress(ACCOUNTS, {**checked, "minted": {"tokens": [item(), item(None, changed=True)]}})  # type: ignore[arg-type]
    assert (would["apply"], users(would["prove"])) == ([], ["by-vault"])
    # A run that is no check has created them.
    assert len(progress(ACCOUNTS, {**checked, "check_mode": False})["mint"]) == 3


def test_a_name_that_ansible_has_masked_in_a_result_is_the_account_s() -> None:
    """Ansible blanks whatever holds the password of a vault, however short that is."""
    token = progress(ACCOUNTS, {"minted": {"tokens": [item(), item(), item()]}})["tokens"][0]
    assert (token["user"], token["note"], token["scopes"], token["token_id"]) == ("by-file", "a note", ["x"], "a2")


def test_no_line_of_the_report_is_forged() -> None:
    removed = dict.fromkeys(REVOKED, FORGED)
    found = progress(ACCOUNTS[:1], {"minted": {"tokens": [item(expires_at=FORGED, revocations=[removed])]}})
    assert len(found["report"]) == 2
    for line in found["report"]:
        assert line.isprintable()
        assert "fatal:" in line
        assert len(line) < 2000
