# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared tokens to their desired state: minted once, proven, kept, and only then their predecessors revoked.

At any instant one of the secrets works: the old one until the new one is kept, and then that. Whatever ends a run in
the middle leaves at most a token that the next run knows by its mark, and revokes.

"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any

from .._hub.client import HubClient
from .._hub.errors import (
    Conflict,
    HubError,
    HubFailure,
    Invalid,
    MissingScope,
    NotFound,
    Unauthorized,
    UnexpectedAnswer,
    quoted,
)
from .._hub.schemas import TOKEN
from .._hub.times import format_time
from .._hub.versions import find_missing_mint_scope
from .._path.batch import Item
from .._path.plan import Action, Plan, Result
from . import secret_file as _secrets
from .kept import Keeper, Kept
from .model import (
    LOST,
    REPLACED,
    Token,
    TokenSpec,
    in_use,
    list_of,
    superseded,
)

_ATTEMPTS = 3
_UNANSWERED = ("unreachable", "timeout")
"""Failures after which a token may have been minted, and another attempt can help."""
_DOUBTFUL = (*_UNANSWERED, "hub_error", "unexpected_answer")
"""Failures after which a token may have been minted."""


@dataclass(frozen=True)
class _Context:
    """What the plan of a token has found, for its apply."""

    known: Set[str]
    """The ids of the identity's tokens before the plan."""
    is_first_here: bool
    """Whether no token is known to be kept here, so that another place may mint its first one at the same time."""


class TokenFlow(Item):
    """One declared token, there or gone."""

    def __init__(self, hub: HubClient, wanted: TokenSpec) -> None:
        self._hub = hub
        self._wanted = wanted
        self._keeper = Keeper(hub, wanted)
        self._revocations: list[dict[str, Any]] = []
        """What this run has revoked, as the result tells it."""
        self.name = wanted.name

    def initial_answer(self) -> dict[str, Any]:
        return self._answer(None)

    def plan(self) -> Plan:
        wanted = self._wanted
        if wanted.path is not None:
            _secrets.check(wanted.path)
        if wanted.overlap and not self._hub.dialect.has_token_id:
            raise Invalid(
                "overlap needs JupyterHub 5.0: an older one does not say which of two tokens a secret belongs to.",
                "Leave overlap out, or upgrade the hub.",
            )
        present = self._list()
        return self._plan_absent(present) if wanted.state == "absent" else self._plan_present(present)

    def _list(self) -> list[Token]:
        """The tokens of this identity, the oldest first."""
        wanted = self._wanted
        found = [token for token in map(Token.of, list_of(self._hub, wanted.user)) if token.plain_note == wanted.note]
        return sorted(found, key=lambda token: token.born)

    def _plan_absent(self, present: list[Token]) -> Plan:
        path = self._wanted.path
        actions = self._revokes([(token, "it is declared absent") for token in present])
        if path is not None:
            secret = _secrets.read(path)
            if len(secret.split()) > 1:
                raise Invalid(f"'{path}' holds something else than a token.", "Remove it yourself, if it may go.")
            if secret:
                actions.append(Action("remove", f"file '{path}'", "its token is declared absent"))
        return self._planned(actions, present, None)

    def _plan_present(self, present: list[Token]) -> Plan:
        wanted, now = self._wanted, time.time()
        kept = self._keeper.find(present, now)
        actions = []
        others = [token for token in present if token is not kept.token]
        lost = self._keeper.left_over(present) if self._declares_place() else None
        used = self._used_elsewhere([token for token in others if token is not lost], kept)
        if used and not kept.flaw:
            kept = replace(kept, flaw=f"a younger one, {used[0].id}, is used at another place")
        is_first_here = bool(self._declares_place() and kept.token is None and not used)
        handed_over = bool(kept.flaw) and self._is_handed_over()
        gone = superseded(others, kept.token, wanted, now, handed_over=handed_over, lost=lost)
        if kept.flaw:
            self._check_service()
            actions.append(Action("mint", self.name, kept.flaw))
            if kept.token is not None and not self._outlasts():
                gone.append((kept.token, REPLACED))
        elif kept.given and wanted.path is not None:
            actions.append(
                Action("keep", f"file '{wanted.path}'", "the given secret works, and it holds none that does")
            )
        elif wanted.path is not None and _secrets.is_open(wanted.path):
            actions.append(Action("protect", f"file '{wanted.path}'", "others than its owner may read it"))
        actions += self._revokes(gone)
        return self._planned(actions, present, None if kept.flaw else kept.token, is_first_here=is_first_here)

    def _declares_place(self) -> bool:
        return self._wanted.path is not None or self._wanted.secret is not None

    def _used_elsewhere(self, others: list[Token], kept: Kept) -> list[Token]:
        """The tokens that somebody uses whose secrets are not here. Raises `Conflict` unless they are to be replaced.

        A secret that is not here is no proof that it is lost: another machine, folder or job may keep it.
        """
        wanted = self._wanted
        if not self._declares_place() or kept.damaged:
            return []
        used = in_use(others, kept.token)
        # JupyterHub 4 does not say whose the secrets are that work here. There is one for each that was used.
        if len(used) <= len(self._keeper.undecided):
            return []
        if wanted.rotate or wanted.on_lost == "replace":
            return used
        token = used[0]
        here = kept.flaw if kept.token is None else f"here an older one, {kept.token.id}, is kept"
        raise Conflict(
            f"The {self.name} may be kept at another place: {here}, and the hub has token {token.id}, minted at "
            f"{format_time(token.born)}; {token.use}.",
            "Give path or secret of the place that keeps it, or run this only there. To replace it all the same, set "
            "rotate: true or on_lost: replace; to have a token of its own here, choose another note.",
        )

    def _check_service(self) -> None:
        """Raise `MissingScope` where this hub would not let the service that asks mint a token for this user."""
        hub = self._hub
        scope = find_missing_mint_scope(hub.version, hub.owner.kind, hub.held_scopes, self._wanted.user)
        if scope is not None:
            raise MissingScope(
                f"JupyterHub {hub.version} lets a service mint tokens for user {quoted(self._wanted.user)} only with "
                f"the scope '{scope}'; the service {quoted(hub.owner.name)} lacks it.",
                "Add it to the service's role in the hub's configuration, beside tokens!user, or upgrade the hub to "
                "5.5.3, 6.1.0 or newer, which does not need it.",
            )

    def _revokes(self, gone: list[tuple[Token, str]]) -> list[Action]:
        """The token that asks goes last: without it the hub would refuse whatever comes after it."""
        if len(gone) > 1:
            # JupyterHub 4 does not say which one that is: then it is the one that was used last.
            asks = {token.id: may_ask(self._hub, self._wanted.user, token.id) for token, _why in gone}
            gone = sorted(gone, key=lambda each: (asks[each[0].id], each[0].used if asks[each[0].id] else 0))
        return [Action("revoke", f"token {token.id}", why, token) for token, why in gone]

    def _outlasts(self) -> bool:
        """Whether a predecessor that works outlasts this run: it has its time of overlap, or its successor is only kept
        when the caller has taken it from the result, and a later run brings it along."""
        return bool(self._wanted.overlap) or self._is_handed_over()

    def _is_handed_over(self) -> bool:
        """Whether the caller keeps the new secret, and a later run can tell that it does."""
        wanted = self._wanted
        return wanted.path is None and wanted.secret is not None and self._hub.dialect.has_token_id

    def apply(self, plan: Plan) -> Result:
        wanted, answer, done = self._wanted, plan.predicted, list[Action]()
        try:
            for action in plan.actions:
                if action.verb == "mint":
                    answer = self._mint(plan.context)
                elif action.verb == "keep":
                    _secrets.write(str(wanted.path), str(wanted.secret).strip())
                elif action.verb == "protect":
                    _secrets.protect(str(wanted.path))
                elif action.verb == "revoke":
                    # A token that has expired meanwhile may have left its id to the new one.
                    if action.target.id != answer["token_id"]:
                        self._revoke(action.target, action.why)
                elif action.verb == "remove":
                    _secrets.remove(str(wanted.path))
                elif action.verb == "clean":
                    _secrets.discard(str(wanted.path))
                done.append(action)
        except HubError as error:
            # What was done is told all the same: it may be the only place where a secret is.
            raise error.with_result({**self._with_revocations(answer), "changed": bool(done)}, done) from None
        return Result(self._with_revocations(answer), tuple(done))

    def _mint(self, context: _Context) -> dict[str, Any]:
        """Mint, write beside the file, prove, keep: whatever the file holds has worked.

        To prove it is to use it, and what was used may be somebody's: so that comes when the secret cannot get lost any
        more. A secret that the caller keeps is proven by the run that brings it along.
        """
        wanted = self._wanted
        token, secret = self._post()
        try:
            if context.is_first_here:
                self._check_first(token, context.known)
            if wanted.path is not None:
                _secrets.prepare(wanted.path, secret)
            if wanted.path is not None or wanted.secret is None:
                self._prove_new(token, secret)
            if wanted.path is not None:
                _secrets.take(wanted.path)
        except BaseException:
            # Nobody has it. Where it may be there all the same, what lies beside the file tells the next run so.
            if not self._keeper.has(secret) and self._forget(token.note) and wanted.path is not None:
                with contextlib.suppress(HubError):
                    _secrets.discard(wanted.path)
            raise
        return self._answer(token, secret=secret if wanted.path is None else None, minted=True)

    def _check_first(self, minted: Token, known: Set[str]) -> None:
        """Of several places that mint their first token at the same time, one has it. Raises `Conflict` at the others.

        Each of them lists the tokens after it has minted its own, so the one who minted later sees the other's.
        """
        for token in self._list():
            if token.digest is not None and token.id not in known and _order(token) < _order(minted):
                raise Conflict(
                    f"Another run has minted token {token.id} at {format_time(token.born)}, at the same time, and "
                    f"keeps the {self.name} at another place.",
                    "Run this at one place only, or choose another note here. The token that this run had minted is "
                    "revoked.",
                )

    def _post(self) -> tuple[Token, str]:
        """The new token and its secret. Where the answer is lost, its token is revoked before another one is minted."""
        wanted, dialect = self._wanted, self._hub.dialect
        body: dict[str, Any] = {"expires_in": wanted.expires_in} if wanted.expires_in is not None else {}
        if wanted.roles is not None:
            body["roles"] = list(wanted.roles)
        else:
            body["scopes"] = [dialect.translate_scope(scope) for scope in wanted.scopes or ()]
        for attempts_left in reversed(range(_ATTEMPTS)):
            note = wanted.marked_note()
            try:
                _status, model = self._hub.write(
                    "POST", "users", wanted.user, "tokens", scope="tokens", what=f"a token of user '{wanted.user}'",
                    body={**body, "note": note},
                )  # fmt: skip
                if TOKEN.find_mismatch(model) is None and model.get("token"):
                    return Token.of(model), str(model["token"])
                raise UnexpectedAnswer("The hub minted a token and did not say its secret.", "Look into the hub's log.")
            except Invalid as error:
                if "not held" not in (error.reason or ""):
                    raise
                raise Invalid(
                    error.message,
                    "A token can do no more than its owner. Leave these scopes out, or give the user a role with them "
                    "in the hub's configuration.",
                    status=error.status, method=error.method, url=error.url, reason=error.reason,
                ) from None  # fmt: skip
            except HubError as error:
                cleaned = error.code not in _DOUBTFUL or self._forget(note)
                if error.code not in _UNANSWERED or not attempts_left or not cleaned:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _prove_new(self, token: Token, secret: str) -> None:
        try:
            owner = self._hub.with_token(secret).owner
        except Unauthorized as error:
            raise HubFailure(
                f"The hub refuses the token that it has just minted for user '{self._wanted.user}': {error.message}",
                "If its authenticator keeps auth_state, have it leave this user alone: the role service_account "
                "renders the refresh_user_hook for that.",
                status=error.status, method=error.method, url=error.url,
            ) from None  # fmt: skip
        if owner.name != self._wanted.user or owner.token_id not in (None, token.id):
            raise UnexpectedAnswer(
                "The hub minted a token, and takes it for another one.", "Look into the hub's log, and try again."
            )

    def _forget(self, note: str) -> bool:
        """Revoke what an attempt with this note has minted, if it has, and say whether that is certain. The next run
        knows such a token, too."""
        try:
            for token in map(Token.of, list_of(self._hub, self._wanted.user)):
                if token.note == note:
                    self._revoke(token, LOST)
        except HubError:
            return False
        return True

    def _revoke(self, token: Token, why: str) -> None:
        with contextlib.suppress(NotFound):  # it went meanwhile
            self._hub.write("DELETE", "users", self._wanted.user, "tokens", token.id, scope="tokens", what=self.name)
        self._revocations.append(
            {"token_id": token.id, "created": token.created, "last_activity": token.last_activity, "why": why}
        )

    def _planned(
        self, actions: list[Action], present: list[Token], token: Token | None, *, is_first_here: bool = False
    ) -> Plan:
        """The plan with its pictures: the tokens that the hub lists, and the file, where one is declared."""
        wanted = self._wanted
        if wanted.path is not None and _secrets.left_over(wanted.path):
            actions = [Action("clean", f"file '{wanted.path}'", "a run that was killed left a half of it"), *actions]
        verbs = {action.verb for action in actions}
        revoked = {action.target.id for action in actions if action.verb == "revoke"}
        before: dict[str, Any] = {"user": wanted.user, "note": wanted.note, "tokens": [token.id for token in present]}
        after = [token.id for token in present if token.id not in revoked]
        picture = {**before, "tokens": [*after, "(new)"] if "mint" in verbs else after}
        if wanted.path is not None:
            exists, is_open = _secrets.exists(wanted.path), _secrets.is_open(wanted.path)
            before |= {"path": wanted.path, "kept": exists, "private": exists and not is_open}
            writes = bool({"mint", "keep"} & verbs)
            stays = "remove" not in verbs and (exists or writes)
            picture |= {
                "path": wanted.path, "kept": stays, "private": stays and (not is_open or writes or "protect" in verbs)
            }  # fmt: skip
        context = _Context(frozenset(token.id for token in present), is_first_here)
        return Plan(tuple(actions), before, picture, predicted=self._answer(token), context=context)

    def _answer(self, token: Token | None, *, secret: str | None = None, minted: bool = False) -> dict[str, Any]:
        return {
            "token": secret,
            "token_id": token.id if token else None,
            "user": self._wanted.user,
            "note": self._wanted.note,
            "state": self._wanted.state,
            "scopes": list(token.scopes) if token else [],
            "created": token.created if token else None,
            "expires_at": token.expires_at if token else None,
            "minted": minted,
            "revoked": [],
            "revocations": [],
        }

    def _with_revocations(self, answer: dict[str, Any]) -> dict[str, Any]:
        revoked = [each["token_id"] for each in self._revocations]
        return {**answer, "revoked": revoked, "revocations": list(self._revocations)}


def _order(token: Token) -> tuple[float, int, str]:
    """The order in which a hub has minted them. Its ids are a letter and a number."""
    return (token.born, len(token.id), token.id)


def may_ask(hub: HubClient, user: str, token_id: str) -> bool:
    """Whether it is the token that the hub is asked with; before JupyterHub 5, whether it is one of its owner's."""
    owner = hub.owner
    return (owner.kind, owner.name) == ("user", user) and owner.token_id in (None, token_id)
