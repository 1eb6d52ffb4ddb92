# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of `hub_cull`: one pass over a hub that stops and deletes the servers and users that are idle."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from .._hub.client import HubClient
from .._hub.errors import HubError, NotFound, not_covered
from .._hub.models import Owner, User
from .._hub.polling import is_hub_away
from .._hub.scopes import STOP
from .._path.plan import Action, Flow, Plan, Report, Result
from .._server import stop
from .._server.model import server_path, server_title
from . import candidates
from .options import StoppingOptions
from .outcome import (
    Outcome,
    carry_out,
    count_done,
    count_kept,
    describe,
    describe_failures,
    first_failure,
    join_decisions,
    keep_as_gone,
    title_of,
)
from .policy import Decision, MaxCulls, Policy

_DELETE, _ADMIN = "delete:users", "admin:users"


@dataclass(frozen=True, kw_only=True)
class CullOptions(StoppingOptions):
    """How a pass works, apart from its policy."""

    cull_users: bool = False
    remove_named_servers: bool = False
    max_culls: MaxCulls | None = None


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
        owner = candidates.read_owner(self._hub) if any(decision.has_to_go for decision in (*servers, *users)) else None
        users = [_keep_token_owner(decision, owner) for decision in users]
        predicted = [Outcome(decision) for decision in servers], [Outcome(decision) for decision in users]
        before = {"servers": len(servers), "users": len(users)}
        result = self._make_result(*predicted, "would be ")
        plan = Plan(
            result.actions,
            before,
            {
                "servers": before["servers"] - count_done(predicted[0]),
                "users": before["users"] - count_done(predicted[1]),
            },
            predicted={**result.answer, "changed": result.changed},
            context=_Decisions(servers, users),
            details="".join(f"{describe(decision)}\n" for decision in (*servers, *users)),
        )
        refusal = self._find_excess(plan) or _find_missing_scope(plan, owner)
        if refusal:
            raise refusal.with_result({**plan.predicted, "changed": False, "diff": plan.diff}, plan.actions)
        return plan

    def apply(self, plan: Plan) -> Result:
        decisions: _Decisions = plan.context
        concurrency, report = self._options.concurrency, self._report
        servers = carry_out(decisions.servers, self._cull_server, concurrency, report, "culled")
        # If somebody else has ended a server, the recheck of its user shows whether the user has another server.
        harmless = ("gone",) if self._options.recheck else ()
        kept = [outcome.decision for outcome in servers if not outcome.is_done]
        users_with_servers = {decision.user for decision in kept if decision.keep_code not in harmless}
        on_users = [_keep_with_servers(decision, users_with_servers) for decision in decisions.users]
        users = carry_out(on_users, self._delete_user, concurrency, report, "deleted")
        return self._make_result(servers, users, "")

    # Reading and deciding

    def _read_users(self) -> list[User]:
        """Return all users who may have something to cull, in as few requests as possible."""
        states = ("inactive", "active") if self._options.cull_users else ("active",)
        how = self._options
        return candidates.list_users(self._hub, self._policy, states, how.page_size, how.concurrency)

    def _decide(self, users: Iterable[User], now: float) -> tuple[list[Decision], list[Decision]]:
        """Return the decisions on the servers, and those on the users."""
        decided = candidates.decide_servers(users, self._policy, now)
        on_users = []
        for user, decisions in decided if self._options.cull_users else ():
            has_servers = any(not decision.has_to_go for decision in decisions)
            on_users.append(
                _keep_with_servers(self._policy.decide_user(user, now), {user.name} if has_servers else set())
            )
        return [decision for _user, decisions in decided for decision in decisions], on_users

    def _find_excess(self, plan: Plan) -> HubError | None:
        """Return the failure of a plan that culls more than ``max_culls`` allows, or None."""
        limit = self._options.max_culls
        if limit is None:
            return None
        found = (limit.find_excess(total - plan.after[noun], total, noun) for noun, total in plan.before.items())
        return next((excess for excess in found if excess is not None), None)

    # Stopping and deleting

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
            # The hub answers the same for a server that the token may not stop.
            user = candidates.read_user(self._hub, decision.user)
            server = (user.servers or {}).get(name) if user else None
            if server is not None and server.state != "stopped":
                raise not_covered(STOP, title, decision.user) from None
            return keep_as_gone(decision)
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
        user = candidates.read_user(self._hub, decision.user)
        if user is None:
            return keep_as_gone(decision)
        now = time.time()
        if self._options.cull_users and decision.user not in self._users_stopped:
            on_user = self._policy.decide_user(user, now)
            if not on_user.has_to_go:
                self._active_again[decision.user] = on_user
        server = (user.servers or {}).get(name)
        if server is None:
            return keep_as_gone(decision)
        return join_decisions(decision, self._policy.decide_server(user, server, now))

    def _delete_user(self, decision: Decision) -> Decision:
        """Delete a user, unless it has been active since it was listed. Return the decision that holds in the end."""
        if decision.user in self._active_again:
            return join_decisions(decision, self._active_again[decision.user])
        if self._options.recheck:
            user = candidates.read_user(self._hub, decision.user)
            if user is None:
                return keep_as_gone(decision)
            if user.servers:
                # A hub deletes only half of a user whose server runs: its authenticator forgets the user, then it
                # fails.
                return replace(decision, keep_code="used", reason="the user has started a server meanwhile")
            if decision.user not in self._users_stopped:
                decision = join_decisions(decision, self._policy.decide_user(user, time.time()))
                if not decision.has_to_go:
                    return decision
        try:
            with self._record_request(decision):
                self._hub.write("DELETE", "users", decision.user, scope=_DELETE, what=title_of(decision))
        except NotFound:
            # The hub answers the same for a user whom the token may not delete.
            if candidates.read_user(self._hub, decision.user) is not None:
                raise not_covered(_DELETE, title_of(decision), decision.user) from None
            return keep_as_gone(decision)
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

    # The result

    def _make_action(self, decision: Decision) -> Action:
        if decision.server_name is None:
            return Action("delete", title_of(decision), decision.reason)
        verb = "remove" if decision.server_name and self._options.remove_named_servers else "stop"
        return Action(verb, title_of(decision), decision.reason)

    def _make_result(self, servers: Sequence[Outcome], users: Sequence[Outcome], would: str) -> Result:
        """Return the result of a pass. ``would`` is "would be " for a prediction, and empty for what was done."""
        outcomes = (*servers, *users)
        seconds = round(time.monotonic() - self._start_time, 3)
        actions = tuple(self._make_action(outcome.decision) for outcome in outcomes if outcome.is_done)
        answer = {
            "culled": [outcome.decision.as_item() for outcome in servers if outcome.is_done],
            "users_deleted": [outcome.decision.as_item() for outcome in users if outcome.is_done],
            "kept_count": count_kept(servers),
            "users_kept_count": count_kept(users),
            "failures": describe_failures(outcomes),
            "seconds": seconds,
            "summary": self._summarize(servers, users, would, seconds),
        }
        failure = first_failure(outcomes, "culled")
        if failure:
            answer = {**failure.as_result(), **answer}
        is_changed = any(outcome.is_done or self._was_requested(outcome.decision) for outcome in outcomes)
        return Result(answer, actions, is_changed)

    def _was_requested(self, decision: Decision) -> bool:
        return decision.has_to_go and (decision.user, decision.server_name) in self._requested

    def _summarize(self, servers: Sequence[Outcome], users: Sequence[Outcome], would: str, seconds: float) -> str:
        parts = [f"{count_done(servers)} of {len(servers)} servers {would}culled"]
        if self._options.cull_users:
            parts.append(f"{count_done(users)} of {len(users)} users {would}deleted")
        kept = sum(count_kept(servers).values())
        parts += [
            f"{kept} server{'' if kept == 1 else 's'} kept",
            f"{sum(outcome.error is not None for outcome in (*servers, *users))} failed",
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
    """Return the failure for a scope that the plan needs and the token does not hold for anybody, or None."""
    is_stopping, is_deleting = plan.has("stop") or plan.has("remove"), plan.has("delete")
    missing = candidates.find_missing_scope(owner, *candidates.TO_STOP) if is_stopping else None
    return missing or (candidates.find_missing_scope(owner, _DELETE, _ADMIN) if is_deleting else None)
