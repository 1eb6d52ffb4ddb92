# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of `hub_cull`: one pass over a hub that stops and deletes the servers and users that are idle."""

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
from .._hub.models import Owner, User
from .._hub.polling import is_hub_away
from .._hub.scopes import READ_SERVERS, STOP, split_scope
from .._path.plan import Action, Flow, Plan, Report, Result
from .._path.progress import Counter
from .._path.workers import SPREAD, catch_failures, map_concurrently
from .._server import stop
from .._server.model import server_path, server_title
from .policy import KEEP_CODES, Decision, MaxCulls, Policy

_DELETE, _ADMIN = "delete:users", "admin:users"


@dataclass(frozen=True)
class CullOptions:
    """How a pass works, apart from its policy. ``stop_timeout`` is in seconds. Raises `Invalid`."""

    cull_users: bool = False
    remove_named_servers: bool = False
    recheck: bool = True
    max_culls: MaxCulls | None = None
    stop_timeout: float = 120.0
    concurrency: int = 10
    page_size: int = PAGE_SIZE

    def __post_init__(self) -> None:
        for option in ("concurrency", "page_size"):
            if getattr(self, option) < 1:
                raise Invalid(f"{option} must be 1 or more.", "Leave it out to use its default.")


@dataclass(frozen=True)
class Outcome:
    """What has happened to a server or a user. ``error`` is why the decision could not be carried out."""

    decision: Decision
    error: HubError | None = None

    @property
    def is_culled(self) -> bool:
        """Whether the server was stopped, or the user was deleted."""
        return self.decision.has_to_go and self.error is None


@dataclass(frozen=True)
class _Decisions:
    """The decisions that the plan of a pass has made."""

    servers: Sequence[Decision]
    users: Sequence[Decision]


class CullFlow(Flow):
    """One pass: lists servers and users, decides, reads each one to cull again, and stops or deletes it."""

    def __init__(self, hub: HubClient, policy: Policy, options: CullOptions, report: Report) -> None:
        self._hub = hub
        self._policy = policy
        self._options = options
        self._report = report
        self._start_time = time.monotonic()
        self._users_stopped: set[str] = set()
        """Users of whom this pass has stopped a server. The hub counts that as an activity of the user."""
        self._requested: set[tuple[str, str | None]] = set()
        """Servers and users that this pass has asked the hub to stop or delete."""
        self._active_again: dict[str, Decision] = {}
        """The decisions to keep users who have been active since they were listed, by the users' names."""

    def plan(self) -> Plan:
        self._start_time = time.monotonic()
        servers, users = self._decide(self._read_users(), time.time())
        owner = self._read_owner() if any(decision.has_to_go for decision in (*servers, *users)) else None
        users = [_keep_token_owner(decision, owner) for decision in users]
        predicted = [Outcome(decision) for decision in servers], [Outcome(decision) for decision in users]
        before = {"servers": len(servers), "users": len(users)}
        result = self._make_result(*predicted, "would be ")
        plan = Plan(
            result.actions,
            before,
            {
                "servers": before["servers"] - _count_culled(predicted[0]),
                "users": before["users"] - _count_culled(predicted[1]),
            },
            predicted={**result.answer, "changed": result.changed},
            context=_Decisions(servers, users),
            details="".join(f"{_line(decision)}\n" for decision in (*servers, *users)),
        )
        refusal = self._find_excess(plan) or _find_missing_scope(plan, owner)
        if refusal:
            raise refusal.with_result({**plan.predicted, "changed": False, "diff": plan.diff}, plan.actions)
        return plan

    def apply(self, plan: Plan) -> Result:
        decisions: _Decisions = plan.context
        servers = self._cull_all(decisions.servers, self._cull_server, "culled")
        # If somebody else has ended a server, the recheck of its user shows whether the user has another server.
        harmless = ("gone",) if self._options.recheck else ()
        kept = [outcome.decision for outcome in servers if not outcome.is_culled]
        users_with_servers = {decision.user for decision in kept if decision.keep_code not in harmless}
        users = self._cull_all(
            [_keep_with_servers(decision, users_with_servers) for decision in decisions.users],
            self._delete_user,
            "deleted",
        )
        return self._make_result(servers, users, "")

    # Reading and deciding

    def _read_users(self) -> list[User]:
        """Return all users who may have something to cull, in as few requests as possible."""
        # The state `ready` would not help: the hub makes pages of it as of `active`, and then leaves out the users who
        # only have a pending server.
        states = ("inactive", "active") if self._options.cull_users else ("active",)
        # A user who starts a server between the two requests is in both lists. The later list is right.
        users = {
            user.name: user
            for state in states
            for user in self._hub.list_users(page_size=self._options.page_size, state=state)
        }
        if not self._policy.needs_auth_state:
            return list(users.values())
        found = map_concurrently(self._read_user, list(users), self._options.concurrency)
        return [user for user in found if user is not None]

    def _read_owner(self) -> Owner | None:
        """Return the token's owner, or None if the hub does not show it. A pass does not depend on it."""
        try:
            return self._hub.read_owner()
        except HubError:
            return None

    def _decide(self, users: Iterable[User], now: float) -> tuple[list[Decision], list[Decision]]:
        """Return the decisions on the servers, and those on the users."""
        on_servers, on_users = list[Decision](), list[Decision]()
        hidden = []
        for user in users:
            if user.servers is None:
                # The hub leaves out what a token may not read. An empty mapping would mean that there are no servers.
                hidden.append(user.name)
                decisions = [Decision(user.name, "", None, None, None, "hidden", "the token may not read it")]
            else:
                decisions = [self._policy.decide_server(user, server, now) for server in user.servers.values()]
            on_servers += decisions
            if self._options.cull_users:
                has_servers = any(not decision.has_to_go for decision in decisions)
                decision = self._policy.decide_user(user, now)
                on_users.append(_keep_with_servers(decision, {user.name} if has_servers else set()))
        if hidden and len(hidden) == len(on_servers):
            raise MissingScope(
                f"The token may not read the servers of user {quoted(hidden[0])}, or of any other.",
                f"Mint it with {READ_SERVERS}.",
            )
        return on_servers, on_users

    def _find_excess(self, plan: Plan) -> HubError | None:
        """Return the failure of a plan that culls more than ``max_culls`` allows, or None."""
        limit = self._options.max_culls
        for noun, total in plan.before.items():
            number = total - plan.after[noun]
            if limit is not None and not limit.allows(number, total):
                return Conflict(
                    f"{number} of {total} {noun} would be culled, more than max_culls ({limit.text}) allows. "
                    "Nothing has been done.",
                    "Look at the policy, at the clocks and at what culled says; raise max_culls if all is right.",
                )
        return None

    # Stopping and deleting

    def _cull_all(
        self, decisions: Sequence[Decision], cull: Callable[[Decision], Decision], verb: str
    ) -> list[Outcome]:
        """Carry out the decisions with ``cull``, and report the progress with ``verb``, such as "deleted".

        ``cull`` stops or deletes one object. It returns the decision that holds in the end.
        """
        todo = [decision for decision in decisions if decision.has_to_go]
        with Counter(self._report if len(todo) > 1 else None, len(todo), verb) as counter:

            def work(decision: Decision) -> Decision:
                with counter.count_one():
                    return cull(decision)

            results = iter(map_concurrently(catch_failures(work), todo, self._options.concurrency, SPREAD))
            return [_outcome(decision, next(results) if decision.has_to_go else decision) for decision in decisions]

    def _cull_server(self, decision: Decision) -> Decision:
        """Stop a server, unless it has been used since it was listed. Return the decision that holds in the end."""
        name = str(decision.server_name)
        title = server_title(decision.user, name)
        if self._options.recheck:
            decision = self._recheck_server(decision, name)
            if not decision.has_to_go:
                return decision
        body = {"remove": True} if name and self._options.remove_named_servers else None
        path = server_path(decision.user, name)
        self._users_stopped.add(decision.user)
        try:
            with self._record_request(decision):
                status, _answer = self._hub.write("DELETE", *path, scope=STOP, what=title, body=body)
        except NotFound:
            return _keep_as_gone(decision)
        except HubError as error:
            # A hub holds its answer back for its slow_stop_timeout, and may go away in that time. So read the server.
            if not is_hub_away(error):
                raise
            status = 202
        if status == 202:
            try:
                stop.wait_until_stopped(
                    self._hub, decision.user, name, self._options.stop_timeout, option="stop_timeout"
                )
            except NotFound:
                pass  # the user does not exist any more, so the server does not either
        return decision

    def _recheck_server(self, decision: Decision, name: str) -> Decision:
        """Read the server again, and return the decision on it now. Record a user who is active again."""
        user = self._read_user(decision.user)
        if user is None:
            return _keep_as_gone(decision)
        now = time.time()
        if self._options.cull_users and decision.user not in self._users_stopped:
            on_user = self._policy.decide_user(user, now)
            if not on_user.has_to_go:
                self._active_again[decision.user] = on_user
        server = (user.servers or {}).get(name)
        if server is None:
            return _keep_as_gone(decision)
        return _recheck(decision, self._policy.decide_server(user, server, now))

    def _delete_user(self, decision: Decision) -> Decision:
        """Delete a user, unless it has been active since it was listed. Return the decision that holds in the end."""
        if decision.user in self._active_again:
            return _recheck(decision, self._active_again[decision.user])
        if self._options.recheck:
            user = self._read_user(decision.user)
            if user is None:
                return _keep_as_gone(decision)
            if user.servers:
                # A hub deletes only half of a user whose server runs: its authenticator forgets the user, then it
                # fails.
                return replace(decision, keep_code="used", reason="the user has started a server meanwhile")
            if decision.user not in self._users_stopped:
                decision = _recheck(decision, self._policy.decide_user(user, time.time()))
                if not decision.has_to_go:
                    return decision
        try:
            with self._record_request(decision):
                self._hub.write("DELETE", "users", decision.user, scope=_DELETE, what=_title(decision))
        except NotFound:
            return _keep_as_gone(decision)
        return decision

    @contextmanager
    def _record_request(self, decision: Decision) -> Iterator[None]:
        """Record that the request within the block may change something, unless the hub refuses it."""
        try:
            yield
        except HubError as error:
            if is_hub_away(error) or (error.status or 0) >= 500:
                self._requested.add((decision.user, decision.server_name))
            raise
        self._requested.add((decision.user, decision.server_name))

    def _read_user(self, name: str) -> User | None:
        """Return the user as the hub has it now, or None if the user does not exist any more."""
        try:
            return self._hub.read_user(name, scope=READ_SERVERS)
        except NotFound:
            return None

    # The result

    def _make_action(self, decision: Decision) -> Action:
        if decision.server_name is None:
            return Action("delete", _title(decision), decision.reason)
        verb = "remove" if decision.server_name and self._options.remove_named_servers else "stop"
        return Action(verb, _title(decision), decision.reason)

    def _make_result(self, servers: Sequence[Outcome], users: Sequence[Outcome], would: str) -> Result:
        """Return the result of a pass. ``would`` is "would be " for a prediction, and empty for what was done."""
        outcomes = (*servers, *users)
        failed = [(outcome.decision, outcome.error) for outcome in outcomes if outcome.error]
        seconds = round(time.monotonic() - self._start_time, 3)
        actions = tuple(self._make_action(outcome.decision) for outcome in outcomes if outcome.is_culled)
        answer = {
            "culled": [outcome.decision.as_item() for outcome in servers if outcome.is_culled],
            "users_deleted": [outcome.decision.as_item() for outcome in users if outcome.is_culled],
            "kept_count": _count_kept(servers),
            "users_kept_count": _count_kept(users),
            "failures": [
                {**decision.as_item(), "server_name": decision.server_name, "failure": error.as_failure()}
                for decision, error in failed
            ],
            "seconds": seconds,
            "summary": self._summarize(servers, users, would, seconds),
        }
        if failed:
            decision, first = failed[0]
            if len(failed) > 1:
                first = first.with_message(
                    f"{len(failed)} could not be culled. The first, {_title(decision)}: {first.message}"
                )
            answer = {**first.with_result({}).as_result(), **answer}
        is_changed = any(outcome.is_culled or self._was_requested(outcome.decision) for outcome in outcomes)
        return Result(answer, actions, is_changed)

    def _was_requested(self, decision: Decision) -> bool:
        return decision.has_to_go and (decision.user, decision.server_name) in self._requested

    def _summarize(self, servers: Sequence[Outcome], users: Sequence[Outcome], would: str, seconds: float) -> str:
        parts = [f"{_count_culled(servers)} of {len(servers)} servers {would}culled"]
        if self._options.cull_users:
            parts.append(f"{_count_culled(users)} of {len(users)} users {would}deleted")
        kept = sum(_count_kept(servers).values())
        parts += [
            f"{kept} server{'' if kept == 1 else 's'} kept",
            f"{_count_failed(servers) + _count_failed(users)} failed",
        ]
        return f"{', '.join(parts)}, in {seconds:.1f} s"


def _keep_with_servers(decision: Decision, users_with_servers: set[str]) -> Decision:
    """Return the decision on a user. A user of ``users_with_servers`` stays, because one of its servers stays."""
    if decision.has_to_go and decision.user in users_with_servers:
        return replace(decision, keep_code="has_servers", reason="a server of the user stays")
    return decision


def _keep_token_owner(decision: Decision, owner: Owner | None) -> Decision:
    """Return the decision on a user. The token's owner stays, because a hub lets no user delete itself."""
    if decision.has_to_go and owner is not None and (owner.kind, owner.name) == ("user", decision.user):
        return replace(decision, keep_code="own", reason="the token is the user's own")
    return decision


def _find_missing_scope(plan: Plan, owner: Owner | None) -> HubError | None:
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


def _outcome(decision: Decision, result: Decision | HubError) -> Outcome:
    return Outcome(decision, result) if isinstance(result, HubError) else Outcome(result)


def _recheck(decision: Decision, second: Decision) -> Decision:
    """Return the first decision, unless the ``second`` one, which is newer, is to keep the server or the user."""
    if second.has_to_go:
        return decision
    return replace(second, keep_code="used" if second.keep_code == "active" else second.keep_code)


def _keep_as_gone(decision: Decision) -> Decision:
    """Return the decision on a server or a user that somebody else has stopped or deleted."""
    return replace(decision, keep_code="gone", reason="it has gone meanwhile")


def _title(decision: Decision) -> str:
    """Return the name of the server or the user in a sentence."""
    if decision.server_name is None:
        return f"user {quoted(decision.user)}"
    return server_title(decision.user, decision.server_name)


def _line(decision: Decision) -> str:
    """Return the line of the diff for a server or a user."""
    sign, verb = ("-", "goes") if decision.has_to_go else (" ", "stays")
    return printable(f"{sign} {_title(decision)} {verb}: {decision.reason}")


def _count_kept(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Return how many servers or users stay, for each of the `KEEP_CODES`."""
    tally = Tally(outcome.decision.keep_code for outcome in outcomes)
    return {code: tally[code] for code in KEEP_CODES}


def _count_culled(outcomes: Iterable[Outcome]) -> int:
    return sum(outcome.is_culled for outcome in outcomes)


def _count_failed(outcomes: Iterable[Outcome]) -> int:
    return sum(outcome.error is not None for outcome in outcomes)
