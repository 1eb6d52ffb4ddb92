# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_cull`: one pass over a hub's servers and users that stops and deletes what its policy calls idle.

This file is private to the collection: it may change without notice.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.module_utils import _servers, _stopping
from ansible_collections.hubops.jupyterhub.plugins.module_utils._background import SPREAD, each
from ansible_collections.hubops.jupyterhub.plugins.module_utils._client import PAGE_SIZE, HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._counting import Counter
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import (
    Conflict,
    HubError,
    Invalid,
    MissingScope,
    NotFound,
    printable,
    quoted,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._plan import Action, Plan, Report, caught
from ansible_collections.hubops.jupyterhub.plugins.module_utils._policy import KEPT, Fate, Model, Policy, Share
from ansible_collections.hubops.jupyterhub.plugins.module_utils._scopes import READ_SERVERS, STOP, split
from ansible_collections.hubops.jupyterhub.plugins.module_utils._shapes import OWNER, USER

_LIST, _DELETE, _ADMIN = "list:users", "delete:users", "admin:users"


@dataclass(frozen=True)
class Pass:
    """How one pass goes, whatever its policy. ``stop_timeout`` is in seconds."""

    cull_users: bool = False
    remove_named_servers: bool = False
    recheck: bool = True
    max_culls: Share | None = None
    stop_timeout: float = 120.0
    concurrency: int = 10
    page_size: int = PAGE_SIZE

    def __post_init__(self) -> None:
        for option in ("concurrency", "page_size"):
            if getattr(self, option) < 1:
                raise Invalid(f"{option} must be 1 or more.", "Leave it out for what the documentation says.")


@dataclass(frozen=True)
class Outcome:
    """What became of one thing. ``error`` is why it could not be as its fate says."""

    fate: Fate
    error: HubError | None = None

    @property
    def went(self) -> bool:
        return self.fate.goes and self.error is None


class CullFlow:
    """One pass: read who has servers, decide, look again at each that is to go, and end it."""

    def __init__(self, hub: HubClient, policy: Policy, how: Pass, report: Report) -> None:
        self._hub = hub
        self._policy = policy
        self._how = how
        self._report = report
        self._began = 0.0
        self._servers: list[Fate] = []
        self._users: list[Fate] = []
        self._begun: set[str] = set()
        """Users one of whose servers has been told to stop: to the hub, that is an activity of theirs."""
        self._sent: set[tuple[str, str | None]] = set()
        """Servers and users whose end the hub has been told to bring about."""
        self._returned: dict[str, Fate] = {}
        """Users who have become active since they were listed."""

    def plan(self) -> Plan:
        self._began = time.monotonic()
        self._decide(self._read().values(), time.time())
        owner = self._owner() if any(fate.goes for fate in (*self._servers, *self._users)) else {}
        self._users = [_unless_own(fate, owner) for fate in self._users]
        servers, users = [Outcome(fate) for fate in self._servers], [Outcome(fate) for fate in self._users]
        before = {"servers": len(servers), "users": len(users)}
        plan = Plan(
            tuple(self._action(fate) for fate in (*self._servers, *self._users) if fate.goes),
            before,
            {"servers": before["servers"] - _went(servers), "users": before["users"] - _went(users)},
            predicted=self._result(servers, users, "would be "),
            shown="".join(f"{_line(fate)}\n" for fate in (*self._servers, *self._users)),
        )
        refusal = self._too_many(plan) or _lacking(plan, owner)
        if refusal:
            refusal.result = {**plan.predicted, "changed": False, "diff": plan.diff}
            raise refusal
        return plan

    def apply(self, plan: Plan) -> dict[str, Any]:
        servers = self._end(self._servers, self._end_server, "culled")
        # Of a server that has gone meanwhile, a look at the user tells whether that is the last of it.
        looked = ("gone",) if self._how.recheck else ()
        stay = {outcome.fate.user for outcome in servers if not outcome.went and outcome.fate.kept not in looked}
        users = self._end([_unless(fate, stay) for fate in self._users], self._end_user, "deleted")
        return self._result(servers, users, "")

    # What there is

    def _read(self) -> dict[str, Model]:
        """All users who may have something to cull, by name, in as few requests as it takes."""
        # Of `ready` a hub makes pages like of `active`, and leaves those out of them who have a pending server only.
        states = ("inactive", "active") if self._how.cull_users else ("active",)
        # Who has started a server in between is in both lists: the later one is right.
        listed = {
            str(model["name"]): model
            for state in states
            for model in self._hub.pages(
                "users", scope=_LIST, what="list of users", shape=USER, page_size=self._how.page_size, state=state
            )
        }
        if not self._policy.asks_auth_state:
            return listed
        models = each(self._model, list(listed), self._how.concurrency) if listed else []
        return {name: model for name, model in zip(listed, models, strict=True) if model is not None}

    def _owner(self) -> Model:
        """Whom the token belongs to and what it may do; empty where the hub does not tell, for it is no must."""
        try:
            return self._hub.get("user", scope="", what="token's owner", shape=OWNER)
        except HubError:
            return {}

    def _decide(self, models: Iterable[Model], now: float) -> None:
        hidden = []
        for model in models:
            servers = model.get("servers")
            if servers is None:
                # The hub leaves out what a token may not read; an empty mapping would mean that there are none.
                hidden.append(model["name"])
                fates = [Fate(model["name"], "", None, None, None, "hidden", "the token may not read it")]
            else:
                fates = [self._policy.of_server(model, name, server, now) for name, server in servers.items()]
            self._servers += fates
            if self._how.cull_users:
                stay = {model["name"]} if any(not fate.goes for fate in fates) else set()
                self._users.append(_unless(self._policy.of_user(model, now), stay))
        if hidden and len(hidden) == len(self._servers):
            raise MissingScope(
                f"The token may not read the servers of user {quoted(hidden[0])}, or of any other.",
                f"Mint it with {READ_SERVERS}.",
            )

    def _too_many(self, plan: Plan) -> HubError | None:
        allowed = self._how.max_culls
        for noun, number in plan.before.items():
            going = number - plan.after[noun]
            if allowed is not None and not allowed.allows(going, number):
                return Conflict(
                    f"{going} of {number} {noun} would be culled, more than max_culls ({allowed.text}) allows. "
                    "Nothing has been done.",
                    "Look at the policy, at the clocks and at what culled says; raise max_culls if all is right.",
                )
        return None

    # What is done

    def _end(self, fates: Sequence[Fate], end: Callable[[Fate], Fate], word: str) -> list[Outcome]:
        doomed = [fate for fate in fates if fate.goes]
        with Counter(self._report if len(doomed) > 1 else _quiet, len(doomed), word) as counter:

            def work(fate: Fate) -> Fate:
                with counter.one():
                    return end(fate)

            ended = iter(each(caught(work), doomed, self._how.concurrency, SPREAD)) if doomed else iter(())
            return [_outcome(fate, next(ended) if fate.goes else fate) for fate in fates]

    def _end_server(self, fate: Fate) -> Fate:
        """Stop it, unless it has been used since it was listed. Returns what its fate was."""
        name = str(fate.server_name)
        title = _servers.title(fate.user, name)
        if self._how.recheck:
            fate = self._look_again(fate, name)
            if not fate.goes:
                return fate
        body = {"remove": True} if name and self._how.remove_named_servers else None
        path = _servers.path_of(fate.user, name)
        self._begun.add(fate.user)
        try:
            with self._sending(fate):
                status, _answer = self._hub.write("DELETE", *path, scope=STOP, what=title, body=body)
        except NotFound:
            return _gone(fate)
        except HubError as error:
            # A hub holds its answer for as long as its slow_stop_timeout, or has gone with it: the server tells.
            if not _servers.is_away(error):
                raise
            status = 202
        if status == 202:
            try:
                _stopping.see_gone(self._hub, fate.user, name, self._how.stop_timeout, option="stop_timeout")
            except NotFound:
                pass  # its user has gone, and it before
        return fate

    def _look_again(self, fate: Fate, name: str) -> Fate:
        model = self._model(fate.user)
        if model is None:
            return _gone(fate)
        now = time.time()
        if self._how.cull_users and fate.user not in self._begun:
            user = self._policy.of_user(model, now)
            if not user.goes:
                self._returned[fate.user] = user
        server = (model.get("servers") or {}).get(name)
        return _gone(fate) if server is None else _still(fate, self._policy.of_server(model, name, server, now))

    def _end_user(self, fate: Fate) -> Fate:
        """Delete the user, unless there was an activity since the user was listed. Returns what the fate was."""
        if fate.user in self._returned:
            return _still(fate, self._returned[fate.user])
        if self._how.recheck:
            model = self._model(fate.user)
            if model is None:
                return _gone(fate)
            if model.get("servers"):
                # A hub half-deletes a user whose server runs: its authenticator forgets the user, and it fails then.
                return replace(fate, kept="used", reason="the user has started a server meanwhile")
            if fate.user not in self._begun:
                fate = _still(fate, self._policy.of_user(model, time.time()))
                if not fate.goes:
                    return fate
        try:
            with self._sending(fate):
                self._hub.write("DELETE", "users", fate.user, scope=_DELETE, what=_title(fate))
        except NotFound:
            return _gone(fate)
        return fate

    @contextmanager
    def _sending(self, fate: Fate) -> Iterator[None]:
        """The request within the block may change something, unless the hub refuses it."""
        try:
            yield
        except HubError as error:
            if _servers.is_away(error) or (error.status or 0) >= 500:
                self._sent.add((fate.user, fate.server_name))
            raise
        self._sent.add((fate.user, fate.server_name))

    def _model(self, user: str) -> Model | None:
        """The user as the hub has it now, None where it is no longer there."""
        try:
            return self._hub.get("users", user, scope=READ_SERVERS, what=f"user {quoted(user)}", shape=USER)
        except NotFound:
            return None

    # What is told

    def _action(self, fate: Fate) -> Action:
        if fate.server_name is None:
            return Action("delete", _title(fate), fate.reason)
        verb = "remove" if fate.server_name and self._how.remove_named_servers else "stop"
        return Action(verb, _title(fate), fate.reason)

    def _result(self, servers: Sequence[Outcome], users: Sequence[Outcome], would: str) -> dict[str, Any]:
        """``would`` is the verb that turns what was done into what is foreseen."""
        everything = (*servers, *users)
        failed = [(outcome.fate, outcome.error) for outcome in everything if outcome.error]
        seconds = round(time.monotonic() - self._began, 3)
        result = {
            "changed": any(
                outcome.went or (outcome.fate.goes and (outcome.fate.user, outcome.fate.server_name) in self._sent)
                for outcome in everything
            ),
            "culled": [outcome.fate.as_item() for outcome in servers if outcome.went],
            "users_deleted": [outcome.fate.as_item() for outcome in users if outcome.went],
            "kept_count": _kept(servers),
            "users_kept_count": _kept(users),
            "failures": [
                {**fate.as_item(), "server_name": fate.server_name, "failure": error.as_failure()}
                for fate, error in failed
            ],
            "seconds": seconds,
            "summary": self._summary(servers, users, would, seconds),
            "actions": [self._action(outcome.fate).shown() for outcome in everything if outcome.went],
        }
        if not failed:
            return result
        fate, first = failed[0]
        if len(failed) > 1:
            first = first.saying(f"{len(failed)} could not be culled. The first, {_title(fate)}: {first.message}")
        told = first.as_result()
        return {**{key: told[key] for key in ("failed", "msg", "failure")}, **result}

    def _summary(self, servers: Sequence[Outcome], users: Sequence[Outcome], would: str, seconds: float) -> str:
        parts = [f"{_went(servers)} of {len(servers)} servers {would}culled"]
        if self._how.cull_users:
            parts.append(f"{_went(users)} of {len(users)} users {would}deleted")
        kept = sum(_kept(servers).values())
        parts += [f"{kept} server{'' if kept == 1 else 's'} kept", f"{_failed(servers) + _failed(users)} failed"]
        return f"{', '.join(parts)}, in {seconds:.1f} s"


def _unless(fate: Fate, stay: set[str]) -> Fate:
    """A user's fate, which waits for the servers: those who ``stay`` have one that does."""
    if fate.goes and fate.user in stay:
        return replace(fate, kept="has_servers", reason="a server of the user stays")
    return fate


def _unless_own(fate: Fate, owner: Model) -> Fate:
    """A hub lets nobody delete himself."""
    if fate.goes and owner.get("kind") == "user" and owner.get("name") == fate.user:
        return replace(fate, kept="own", reason="the token is the user's own")
    return fate


def _lacking(plan: Plan, owner: Model) -> HubError | None:
    """A scope that the plan takes and the token does not have, for anybody; some, and the hub tells for whom."""
    held = {split(str(scope))[0] for scope in owner.get("scopes") or ()}
    for verbs, needed in ((("stop", "remove"), (STOP, "servers", "admin:servers")), (("delete",), (_DELETE, _ADMIN))):
        if held and held.isdisjoint(needed) and any(plan.does(verb) for verb in verbs):
            return MissingScope(
                f"The token lacks the scope '{needed[0]}'. Nothing has been done.",
                f"Mint it with {needed[0]}, or have an admin grant that scope to its owner.",
            )
    return None


def _outcome(fate: Fate, ended: Fate | HubError) -> Outcome:
    return Outcome(fate, ended) if isinstance(ended, HubError) else Outcome(ended)


def _still(fate: Fate, again: Fate) -> Fate:
    """The fate that something keeps after a second look."""
    return fate if again.goes else replace(again, kept="used" if again.kept == "active" else again.kept)


def _gone(fate: Fate) -> Fate:
    return replace(fate, kept="gone", reason="it has gone meanwhile")


def _title(fate: Fate) -> str:
    return f"user {quoted(fate.user)}" if fate.server_name is None else _servers.title(fate.user, fate.server_name)


def _line(fate: Fate) -> str:
    return printable(f"{'-' if fate.goes else ' '} {_title(fate)} {'goes' if fate.goes else 'stays'}: {fate.reason}")


def _kept(outcomes: Iterable[Outcome]) -> dict[str, int]:
    tally = Tally(outcome.fate.kept for outcome in outcomes)
    return {kept: tally[kept] for kept in KEPT}


def _went(outcomes: Iterable[Outcome]) -> int:
    return sum(outcome.went for outcome in outcomes)


def _failed(outcomes: Iterable[Outcome]) -> int:
    return sum(outcome.error is not None for outcome in outcomes)


def _quiet(_line: str) -> None:
    """No report: of one thing, there is nothing to count."""
