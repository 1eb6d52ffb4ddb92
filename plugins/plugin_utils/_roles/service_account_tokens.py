# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role service_account about tokens: what its tasks do step by step, and what it reports.

It never handles a secret. The results of hub_token hold none if a file keeps the secret. If tasks keep the secret, the
role removes it from the results.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...module_utils._hub.errors import printable
from .checks import one_line

Account = dict[str, Any]
Result = dict[str, Any]


def progress(accounts: Sequence[Account], done: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the next tasks work on, and what is known about the tokens, after the tasks in ``done``.

    ``accounts`` are those of `complete_accounts`. ``done`` holds ``check_mode``, whether the play runs in check mode,
    and the results of tasks. A result is empty if its task has not run:

    - ``created``: hub_user, for each account, if the role creates users;
    - ``minted``: hub_token, for the list ``mint``;
    - ``applied``: for each account in ``apply``, its ``number``, and the ``problem`` that the cluster had, empty if it
      accepted the Secret;
    - ``revoked``: hub_token, for the list ``revoke``;
    - ``by_tasks``: for each account in ``by_tasks``, its ``number``, the ``results`` of hub_token without secrets, and
      the ``problem``, which is empty if there was none;
    - ``proven``: hub_token in check mode, for the list ``prove``.

    The result has the lists that are named here, and ``needs_vault``, whether ``mint`` needs the password of vaults. It
    also has what the role returns or shows: ``tokens`` without a known problem, ``failures``, ``revocations``, and
    ``report``.
    """
    check_mode = bool(done.get("check_mode"))
    known = list(_known(accounts, done))
    in_files = [account for account in known if account["keep"] != "tasks"]
    found = _Found(check_mode)
    found.add_results(in_files, done.get("minted") or {})
    to_apply = [
        each for each in in_files if not each["hub_token"].get("revoke_replaced", True) and found.is_sound(each)
    ]
    answers = {each["number"]: each["problem"] for each in done.get("applied") or ()}
    for account in to_apply:
        if answers.get(account["number"]):
            found.add_problem(account, f"Its Secret was not applied: {printable(answers[account['number']])}")
    to_revoke = [each for each in to_apply if each["number"] in answers and found.is_sound(each)]
    found.add_results(to_revoke, done.get("revoked") or {})
    by_tasks = [account for account in known if account["keep"] == "tasks"]
    for account in by_tasks:
        for each in done.get("by_tasks") or ():
            if each["number"] == account["number"]:
                found.results[account["number"]] += each["results"]
                found.add_problem(account, each["problem"])
    to_prove = [account for account in in_files if found.is_sound(account)]
    for account, item in zip(to_prove, (done.get("proven") or {}).get("tokens") or (), strict=False):
        if item["token_id"] != found.results[account["number"]][-1]["token_id"]:
            found.add_problem(
                account,
                f"'{account['place']}' keeps another token by now. Give each account of each host a place of its own.",
            )
    ordered = [account for account in (*in_files, *by_tasks) if found.results[account["number"]]]
    tokens = [
        _token(account, found.results[account["number"]])
        for account in ordered
        if not found.problems[account["number"]]
    ]
    revocations = [
        {**each, "user": account["user"], "note": account["note"]}
        for account in ordered
        for item in found.results[account["number"]]
        for each in item["revocations"]
    ]
    return {
        "mint": [account["hub_token"] for account in in_files],
        "needs_vault": any(account["keep"] == "vault" for account in in_files),
        "apply": to_apply,
        "revoke": [_again(account, revoke_replaced=True) for account in to_revoke],
        "by_tasks": by_tasks,
        "prove": [_again(account) for account in to_prove],
        "tokens": tokens,
        "failures": [*found.general, *(each for account in known for each in found.problems[account["number"]])],
        "revocations": revocations,
        "report": [*map(_line, tokens), *map(_revocation_line, revocations)],
    }


class _Found:
    """The results of hub_token, and the problems, by the numbers of the accounts."""

    def __init__(self, check_mode: bool) -> None:
        self.results: defaultdict[int, list[Result]] = defaultdict(list)
        self.problems: defaultdict[int, list[str]] = defaultdict(list)
        self.general: list[str] = []
        """The failures of tasks as a whole."""
        self._check_mode = check_mode

    def add_results(self, accounts: Sequence[Account], answer: Mapping[str, Any]) -> None:
        """Add the result of a task for these accounts. Its tokens are in the order of the accounts."""
        items = answer.get("tokens") or []
        if accounts and not items and answer.get("msg"):
            self.general.append(str(answer["msg"]))
        for account, item in zip(accounts, items, strict=False):
            self.results[account["number"]].append(item)
            if item["failure"]:
                self.add_problem(account, f"{item['failure']['message']} {item['failure']['hint']}")

    def add_problem(self, account: Account, problem: str) -> None:
        if problem:
            self.problems[account["number"]].append(f"{account['user']} ({account['note']}): {problem}")

    def is_sound(self, account: Account) -> bool:
        """Return whether the file holds the account's token.

        In check mode the file may hold a token that would be replaced.
        """
        results = self.results[account["number"]]
        return (
            bool(results) and not self.problems[account["number"]] and not (self._check_mode and results[-1]["changed"])
        )


def _known(accounts: Iterable[Account], done: Mapping[str, Any]) -> Iterator[Account]:
    """Yield the accounts whose users the hub has.

    In check mode no task creates the other users, and they have no tokens yet.
    """
    created = (done.get("created") or {}).get("results") or () if done.get("check_mode") else ()
    missing = {each["user"]["name"] for each in created if not each["user"]["created"]}
    return (account for account in accounts if account["user"] not in missing)


def _again(account: Account, **more: Any) -> dict[str, Any]:
    """Return the account's options for a task that must not mint a token again.

    Without ``renew_before``, a token that works is not due.
    """
    return {**account["hub_token"], "renew_before": None, **more}


def _token(account: Account, results: Sequence[Result]) -> dict[str, Any]:
    """Return what the role shows about an account and its token.

    The keys of the account come from the account, because Ansible may have masked them in the results.
    """
    return {
        **account,
        **{key: value for key, value in results[-1].items() if key not in account},
        "scopes": results[-1]["scopes"],
        "token": None,
        "changed": any(item["changed"] for item in results),
        "minted": any(item["minted"] for item in results),
        "revoked": [token_id for item in results for token_id in item["revoked"]],
        "revocations": [each for item in results for each in item["revocations"]],
    }


def _line(token: Mapping[str, Any]) -> str:
    return (
        f"{token['user']} ({token['note']}): {'minted' if token['minted'] else 'works'}, kept "
        f"{'by' if token['keep'] == 'tasks' else 'in'} {token['place']}, valid until "
        f"{one_line(token['expires_at'] or 'it is revoked')}"
    )


def _revocation_line(each: Mapping[str, Any]) -> str:
    use = f"last used {one_line(each['last_activity'])}" if each["last_activity"] else "never used"
    return (
        f"{each['user']} ({each['note']}): revoked {one_line(each['token_id'])}, minted {one_line(each['created'])}, "
        f"{use}: {one_line(each['why'])}"
    )
