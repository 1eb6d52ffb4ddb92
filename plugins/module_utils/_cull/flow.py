# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_cull`: one pass over a hub's servers and users that stops and deletes what its policy calls idle."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from .._hub.client import PAGE_SIZE, HubClient
from .._hub.errors import (
    Conflict,
    HubError,
    Invalid,
    MissingScope,
    NotFound,
    printable,
    quoted,
)
from .._hub.schemas import OWNER, USER
from .._hub.scopes import READ_SERVERS, STOP, split
from .._hub.threads import SPREAD, each
from .._path.plan import Action, Plan, Report, caught
from .._path.progress import Counter
from .._server import model as _servers
from .._server import stop as _stopping
from .policy import KEPT, Decision, Model, Policy, Share

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

    decision: Decision
    error: HubError | None = None

    @property
    def went(self) -> bool:
        return self.decision.goes and self.error is None


class CullFlow:
    """One pass: read who has servers, decide, look again at each that is to go, and end it."""

    def __init__(self, hub: HubClient, policy: Policy, how: Pass, report: Report) -> None:
        self._hub = hub
        self._policy = policy
        self._how = how
        self._report = report
        self._began = 0.0
        self._servers: list[Decision] = []
        self._users: list[Decision] = []
        self._begun: set[str] = set()
        """Users one of whose servers has been told to stop: to the hub, that is an activity of theirs."""
        self._sent: set[tuple[str, str | None]] = set()
        """Servers and users whose end the hub has been told to bring about."""
        self._returned: dict[str, Decision] = {}
        """Users who have become active since they were listed."""

    def plan(self) -> Plan:
        self._began = time.monotonic()
        self._decide(self._read().values(), time.time())
        owner = self._owner() if any(decision.goes for decision in (*self._servers, *self._users)) else {}
        self._users = [_unless_own(decision, owner) for decision in self._users]
        servers, users = (
            [Outcome(decision) for decision in self._servers],
            [Outcome(decision) for decision in self._users],
        )
        before = {"servers": len(servers), "users": len(users)}
        plan = Plan(
            tuple(self._action(decision) for decision in (*self._servers, *self._users) if decision.goes),
            before,
            {"servers": before["servers"] - _went(servers), "users": before["users"] - _went(users)},
            predicted=self._result(servers, users, "would be "),
            shown="".join(f"{_line(decision)}\n" for decision in (*self._servers, *self._users)),
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
        stay = {
            outcome.decision.user for outcome in servers if not outcome.went and outcome.decision.kept not in looked
        }
        users = self._end([_unless(decision, stay) for decision in self._users], self._end_user, "deleted")
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
                decisions = [Decision(model["name"], "", None, None, None, "hidden", "the token may not read it")]
            else:
                decisions = [self._policy.decide_server(model, name, server, now) for name, server in servers.items()]
            self._servers += decisions
            if self._how.cull_users:
                stay = {model["name"]} if any(not decision.goes for decision in decisions) else set()
                self._users.append(_unless(self._policy.decide_user(model, now), stay))
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

    def _end(self, decisions: Sequence[Decision], end: Callable[[Decision], Decision], word: str) -> list[Outcome]:
        doomed = [decision for decision in decisions if decision.goes]
        with Counter(self._report if len(doomed) > 1 else _quiet, len(doomed), word) as counter:

            def work(decision: Decision) -> Decision:
                with counter.one():
                    return end(decision)

            ended = iter(each(caught(work), doomed, self._how.concurrency, SPREAD)) if doomed else iter(())
            return [_outcome(decision, next(ended) if decision.goes else decision) for decision in decisions]

    def _end_server(self, decision: Decision) -> Decision:
        """Stop it, unless it has been used since it was listed. Returns what its fate was."""
        name = str(decision.server_name)
        title = _servers.title(decision.user, name)
        if self._how.recheck:
            decision = self._look_again(decision, name)
            if not decision.goes:
                return decision
        body = {"remove": True} if name and self._how.remove_named_servers else None
        path = _servers.path_of(decision.user, name)
        self._begun.add(decision.user)
        try:
            with self._sending(decision):
                status, _answer = self._hub.write("DELETE", *path, scope=STOP, what=title, body=body)
        except NotFound:
            return _gone(decision)
        except HubError as error:
            # A hub holds its answer for as long as its slow_stop_timeout, or has gone with it: the server tells.
            if not _servers.is_away(error):
                raise
            status = 202
        if status == 202:
            try:
                _stopping.wait_until_stopped(
                    self._hub, decision.user, name, self._how.stop_timeout, option="stop_timeout"
                )
            except NotFound:
                pass  # its user has gone, and it before
        return decision

    def _look_again(self, decision: Decision, name: str) -> Decision:
        model = self._model(decision.user)
        if model is None:
            return _gone(decision)
        now = time.time()
        if self._how.cull_users and decision.user not in self._begun:
            user = self._policy.decide_user(model, now)
            if not user.goes:
                self._returned[decision.user] = user
        server = (model.get("servers") or {}).get(name)
        return (
            _gone(decision)
            if server is None
            else _still(decision, self._policy.decide_server(model, name, server, now))
        )

    def _end_user(self, decision: Decision) -> Decision:
        """Delete the user, unless there was an activity since the user was listed. Returns what the fate was."""
        if decision.user in self._returned:
            return _still(decision, self._returned[decision.user])
        if self._how.recheck:
            model = self._model(decision.user)
            if model is None:
                return _gone(decision)
            if model.get("servers"):
                # A hub half-deletes a user whose server runs: its authenticator forgets the user, and it fails then.
                return replace(decision, kept="used", reason="the user has started a server meanwhile")
            if decision.user not in self._begun:
                decision = _still(decision, self._policy.decide_user(model, time.time()))
                if not decision.goes:
                    return decision
        try:
            with self._sending(decision):
                self._hub.write("DELETE", "users", decision.user, scope=_DELETE, what=_title(decision))
        except NotFound:
            return _gone(decision)
        return decision

    @contextmanager
    def _sending(self, decision: Decision) -> Iterator[None]:
        """The request within the block may change something, unless the hub refuses it."""
        try:
            yield
        except HubError as error:
            if _servers.is_away(error) or (error.status or 0) >= 500:
                self._sent.add((decision.user, decision.server_name))
            raise
        self._sent.add((decision.user, decision.server_name))

    def _model(self, user: str) -> Model | None:
        """The user as the hub has it now, None where it is no longer there."""
        try:
            return self._hub.get("users", user, scope=READ_SERVERS, what=f"user {quoted(user)}", shape=USER)
        except NotFound:
            return None

    # What is told

    def _action(self, decision: Decision) -> Action:
        if decision.server_name is None:
            return Action("delete", _title(decision), decision.reason)
        verb = "remove" if decision.server_name and self._how.remove_named_servers else "stop"
        return Action(verb, _title(decision), decision.reason)

    def _result(self, servers: Sequence[Outcome], users: Sequence[Outcome], would: str) -> dict[str, Any]:
        """``would`` is the verb that turns what was done into what is foreseen."""
        everything = (*servers, *users)
        failed = [(outcome.decision, outcome.error) for outcome in everything if outcome.error]
        seconds = round(time.monotonic() - self._began, 3)
        result = {
            "changed": any(
                outcome.went
                or (outcome.decision.goes and (outcome.decision.user, outcome.decision.server_name) in self._sent)
                for outcome in everything
            ),
            "culled": [outcome.decision.as_item() for outcome in servers if outcome.went],
            "users_deleted": [outcome.decision.as_item() for outcome in users if outcome.went],
            "kept_count": _kept(servers),
            "users_kept_count": _kept(users),
            "failures": [
                {**decision.as_item(), "server_name": decision.server_name, "failure": error.as_failure()}
                for decision, error in failed
            ],
            "seconds": seconds,
            "summary": self._summary(servers, users, would, seconds),
            "actions": [self._action(outcome.decision).shown() for outcome in everything if outcome.went],
        }
        if not failed:
            return result
        decision, first = failed[0]
        if len(failed) > 1:
            first = first.with_message(
                f"{len(failed)} could not be culled. The first, {_title(decision)}: {first.message}"
            )
        told = first.as_result()
        return {**{key: told[key] for key in ("failed", "msg", "failure")}, **result}

    def _summary(self, servers: Sequence[Outcome], users: Sequence[Outcome], would: str, seconds: float) -> str:
        parts = [f"{_went(servers)} of {len(servers)} servers {would}culled"]
        if self._how.cull_users:
            parts.append(f"{_went(users)} of {len(users)} users {would}deleted")
        kept = sum(_kept(servers).values())
        parts += [f"{kept} server{'' if kept == 1 else 's'} kept", f"{_failed(servers) + _failed(users)} failed"]
        return f"{', '.join(parts)}, in {seconds:.1f} s"


def _unless(decision: Decision, stay: set[str]) -> Decision:
    """A user's fate, which waits for the servers: those who ``stay`` have one that does."""
    if decision.goes and decision.user in stay:
        return replace(decision, kept="has_servers", reason="a server of the user stays")
    return decision


def _unless_own(decision: Decision, owner: Model) -> Decision:
    """A hub lets nobody delete himself."""
    if decision.goes and owner.get("kind") == "user" and owner.get("name") == decision.user:
        return replace(decision, kept="own", reason="the token is the user's own")
    return decision


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


def _outcome(decision: Decision, ended: Decision | HubError) -> Outcome:
    return Outcome(decision, ended) if isinstance(ended, HubError) else Outcome(ended)


def _still(decision: Decision, again: Decision) -> Decision:
    """The fate that something keeps after a second look."""
    return decision if again.goes else replace(again, kept="used" if again.kept == "active" else again.kept)


def _gone(decision: Decision) -> Decision:
    return replace(decision, kept="gone", reason="it has gone meanwhile")


def _title(decision: Decision) -> str:
    return (
        f"user {quoted(decision.user)}"
        if decision.server_name is None
        else _servers.title(decision.user, decision.server_name)
    )


def _line(decision: Decision) -> str:
    return printable(
        f"{'-' if decision.goes else ' '} {_title(decision)} {'goes' if decision.goes else 'stays'}: {decision.reason}"
    )


def _kept(outcomes: Iterable[Outcome]) -> dict[str, int]:
    tally = Tally(outcome.decision.kept for outcome in outcomes)
    return {kept: tally[kept] for kept in KEPT}


def _went(outcomes: Iterable[Outcome]) -> int:
    return sum(outcome.went for outcome in outcomes)


def _failed(outcomes: Iterable[Outcome]) -> int:
    return sum(outcome.error is not None for outcome in outcomes)


def _quiet(_line: str) -> None:
    """No report: of one thing, there is nothing to count."""
