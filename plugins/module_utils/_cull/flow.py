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
from .._hub.models import Model, Owner
from .._hub.polling import is_hub_away
from .._hub.scopes import READ_SERVERS, STOP, split_scope
from .._path.plan import Action, Flow, Plan, Report, Result
from .._path.progress import Counter
from .._path.workers import SPREAD, catch_failures, map_concurrently
from .._server import stop
from .._server.model import server_path, server_title
from .policy import KEPT, Decision, Policy, Share

_DELETE, _ADMIN = "delete:users", "admin:users"


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


@dataclass(frozen=True)
class _Decided:
    """What the plan of a pass has decided."""

    servers: Sequence[Decision]
    users: Sequence[Decision]


class CullFlow(Flow):
    """One pass: read who has servers, decide, look again at each object that is to go, and end it."""

    def __init__(self, hub: HubClient, policy: Policy, how: Pass, report: Report) -> None:
        self._hub = hub
        self._policy = policy
        self._how = how
        self._report = report
        self._start_time = time.monotonic()
        self._users_stopped: set[str] = set()
        """Users one of whose servers this pass has told to stop. The hub counts that as an activity of the user."""
        self._requested: set[tuple[str, str | None]] = set()
        """Servers and users that the hub has been told to stop or delete."""
        self._active_again: dict[str, Decision] = {}
        """Users who have been active since they were listed."""

    def plan(self) -> Plan:
        self._start_time = time.monotonic()
        servers, users = self._decide(self._read().values(), time.time())
        owner = self._read_owner() if any(decision.goes for decision in (*servers, *users)) else None
        users = [_unless_own(decision, owner) for decision in users]
        foreseen = [Outcome(decision) for decision in servers], [Outcome(decision) for decision in users]
        before = {"servers": len(servers), "users": len(users)}
        result = self._result(*foreseen, "would be ")
        plan = Plan(
            result.actions,
            before,
            {"servers": before["servers"] - _went(foreseen[0]), "users": before["users"] - _went(foreseen[1])},
            predicted={**result.answer, "changed": result.changed},
            context=_Decided(servers, users),
            details="".join(f"{_line(decision)}\n" for decision in (*servers, *users)),
        )
        refusal = self._too_many(plan) or _missing_scope(plan, owner)
        if refusal:
            raise refusal.with_result({**plan.predicted, "changed": False, "diff": plan.diff}, plan.actions)
        return plan

    def apply(self, plan: Plan) -> Result:
        decided: _Decided = plan.context
        servers = self._end(decided.servers, self._end_server, "culled")
        # If a server has gone meanwhile, a look at its user tells whether that was the user's last server.
        looked = ("gone",) if self._how.recheck else ()
        kept = [outcome.decision for outcome in servers if not outcome.went]
        stay = {decision.user for decision in kept if decision.kept not in looked}
        users = self._end([_unless(decision, stay) for decision in decided.users], self._end_user, "deleted")
        return self._result(servers, users, "")

    # What there is

    def _read(self) -> dict[str, Model]:
        """Return all users who may have something to cull, by name, in as few requests as possible."""
        # A hub makes pages of `ready` as of `active`, and leaves out the users who have a pending server only.
        states = ("inactive", "active") if self._how.cull_users else ("active",)
        # A user who has started a server in between is in both lists, and the later one is right.
        listed = {
            user.name: user.model
            for state in states
            for user in self._hub.list_users(page_size=self._how.page_size, state=state)
        }
        if not self._policy.asks_auth_state:
            return listed
        models = map_concurrently(self._read_model, list(listed), self._how.concurrency)
        return {name: model for name, model in zip(listed, models, strict=True) if model is not None}

    def _read_owner(self) -> Owner | None:
        """Return the token's owner, or None if the hub does not tell: a pass does not depend on it."""
        try:
            return self._hub.read_owner()
        except HubError:
            return None

    def _decide(self, models: Iterable[Model], now: float) -> tuple[list[Decision], list[Decision]]:
        """Return what is to happen to the servers, and to the users."""
        of_servers, of_users = list[Decision](), list[Decision]()
        hidden = []
        for model in models:
            servers = model.get("servers")
            if servers is None:
                # The hub leaves out what a token may not read. An empty mapping would mean that there are no servers.
                hidden.append(model["name"])
                decisions = [Decision(model["name"], "", None, None, None, "hidden", "the token may not read it")]
            else:
                decisions = [self._policy.decide_server(model, name, server, now) for name, server in servers.items()]
            of_servers += decisions
            if self._how.cull_users:
                stay = {model["name"]} if any(not decision.goes for decision in decisions) else set()
                of_users.append(_unless(self._policy.decide_user(model, now), stay))
        if hidden and len(hidden) == len(of_servers):
            raise MissingScope(
                f"The token may not read the servers of user {quoted(hidden[0])}, or of any other.",
                f"Mint it with {READ_SERVERS}.",
            )
        return of_servers, of_users

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
        with Counter(self._report if len(doomed) > 1 else None, len(doomed), word) as counter:

            def work(decision: Decision) -> Decision:
                with counter.count_one():
                    return end(decision)

            ended = iter(map_concurrently(catch_failures(work), doomed, self._how.concurrency, SPREAD))
            return [_outcome(decision, next(ended) if decision.goes else decision) for decision in decisions]

    def _end_server(self, decision: Decision) -> Decision:
        """Stop it, unless it has been used since it was listed. Returns what its fate was."""
        name = str(decision.server_name)
        title = server_title(decision.user, name)
        if self._how.recheck:
            decision = self._look_again(decision, name)
            if not decision.goes:
                return decision
        body = {"remove": True} if name and self._how.remove_named_servers else None
        path = server_path(decision.user, name)
        self._users_stopped.add(decision.user)
        try:
            with self._request(decision):
                status, _answer = self._hub.write("DELETE", *path, scope=STOP, what=title, body=body)
        except NotFound:
            return _gone(decision)
        except HubError as error:
            # A hub holds its answer for as long as its slow_stop_timeout, or has gone with it: the server tells.
            if not is_hub_away(error):
                raise
            status = 202
        if status == 202:
            try:
                stop.wait_until_stopped(self._hub, decision.user, name, self._how.stop_timeout, option="stop_timeout")
            except NotFound:
                pass  # its user has gone, and it before
        return decision

    def _look_again(self, decision: Decision, name: str) -> Decision:
        model = self._read_model(decision.user)
        if model is None:
            return _gone(decision)
        now = time.time()
        if self._how.cull_users and decision.user not in self._users_stopped:
            user = self._policy.decide_user(model, now)
            if not user.goes:
                self._active_again[decision.user] = user
        server = (model.get("servers") or {}).get(name)
        return (
            _gone(decision)
            if server is None
            else _still(decision, self._policy.decide_server(model, name, server, now))
        )

    def _end_user(self, decision: Decision) -> Decision:
        """Delete the user, unless there was an activity since the user was listed. Returns what the fate was."""
        if decision.user in self._active_again:
            return _still(decision, self._active_again[decision.user])
        if self._how.recheck:
            model = self._read_model(decision.user)
            if model is None:
                return _gone(decision)
            if model.get("servers"):
                # A hub half-deletes a user whose server runs: its authenticator forgets the user, and it fails then.
                return replace(decision, kept="used", reason="the user has started a server meanwhile")
            if decision.user not in self._users_stopped:
                decision = _still(decision, self._policy.decide_user(model, time.time()))
                if not decision.goes:
                    return decision
        try:
            with self._request(decision):
                self._hub.write("DELETE", "users", decision.user, scope=_DELETE, what=_title(decision))
        except NotFound:
            return _gone(decision)
        return decision

    @contextmanager
    def _request(self, decision: Decision) -> Iterator[None]:
        """The request within the block may change something, unless the hub refuses it."""
        try:
            yield
        except HubError as error:
            if is_hub_away(error) or (error.status or 0) >= 500:
                self._requested.add((decision.user, decision.server_name))
            raise
        self._requested.add((decision.user, decision.server_name))

    def _read_model(self, user: str) -> Model | None:
        """The user as the hub has it now, None where it is no longer there."""
        try:
            return self._hub.read_user(user, scope=READ_SERVERS).model
        except NotFound:
            return None

    # What is told

    def _action(self, decision: Decision) -> Action:
        if decision.server_name is None:
            return Action("delete", _title(decision), decision.reason)
        verb = "remove" if decision.server_name and self._how.remove_named_servers else "stop"
        return Action(verb, _title(decision), decision.reason)

    def _result(self, servers: Sequence[Outcome], users: Sequence[Outcome], would: str) -> Result:
        """Return the result of a pass. ``would`` stands before what is foreseen, and is empty for what was done."""
        everything = (*servers, *users)
        failed = [(outcome.decision, outcome.error) for outcome in everything if outcome.error]
        seconds = round(time.monotonic() - self._start_time, 3)
        actions = tuple(self._action(outcome.decision) for outcome in everything if outcome.went)
        answer = {
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
        }
        if failed:
            decision, first = failed[0]
            if len(failed) > 1:
                first = first.with_message(
                    f"{len(failed)} could not be culled. The first, {_title(decision)}: {first.message}"
                )
            answer = {**first.with_result({}).as_result(), **answer}
        return Result(answer, actions, any(outcome.went or self._was_requested(outcome) for outcome in everything))

    def _was_requested(self, outcome: Outcome) -> bool:
        decision = outcome.decision
        return decision.goes and (decision.user, decision.server_name) in self._requested

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


def _unless_own(decision: Decision, owner: Owner | None) -> Decision:
    """Return the decision on a user. A hub lets no user delete itself."""
    if decision.goes and owner is not None and (owner.kind, owner.name) == ("user", decision.user):
        return replace(decision, kept="own", reason="the token is the user's own")
    return decision


def _missing_scope(plan: Plan, owner: Owner | None) -> HubError | None:
    """Return the failure for a scope that the plan needs and the token does not hold for anybody, or None.

    If the token holds the scope for some users, the hub itself says for whom.
    """
    held = {split_scope(scope)[0] for scope in owner.scopes or ()} if owner else set()
    for verbs, needed in ((("stop", "remove"), (STOP, "servers", "admin:servers")), (("delete",), (_DELETE, _ADMIN))):
        if held and held.isdisjoint(needed) and any(plan.has(verb) for verb in verbs):
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
        else server_title(decision.user, decision.server_name)
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
