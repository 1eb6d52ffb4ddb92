# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of one declared token: mints the token, proves it, keeps its secret, and only then revokes its predecessors.

One of the secrets works at any moment: the old secret until the new one is kept, and then the new one. If a run ends in
the middle, it leaves at most one token. The next run recognizes that token by its mark and revokes it.
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
    not_covered,
    quoted,
)
from .._hub.models import Token
from .._hub.schemas import TOKEN
from .._hub.times import format_time
from .._hub.versions import find_missing_mint_scope
from .._path.batch import Item
from .._path.plan import Action, Plan, Result
from . import secret_file
from .kept_secret import KeptSecret, KeptToken
from .model import (
    LOST,
    REPLACED,
    TokenSpec,
    describe_use,
    find_digest,
    find_plain_note,
    select_revocations,
    select_used_elsewhere,
)
from .secret_format import Damaged

_ATTEMPTS = 3
_UNANSWERED = ("unreachable", "timeout")
"""Failures after which the hub may have minted a token, and another attempt can help."""
_DOUBTFUL = (*_UNANSWERED, "hub_error", "unexpected_answer")
"""Failures after which the hub may have minted a token."""


@dataclass(frozen=True)
class _Context:
    """What the plan of a token passes to its ``apply``."""

    known: Set[str]
    """The ids of the identity's tokens before the plan."""
    is_first_here: bool
    """Whether no token is kept here, and none is in use elsewhere. Then another place may also mint its first token
    now."""


class TokenFlow(Item):
    """One declared token, present or absent."""

    def __init__(self, hub: HubClient, wanted: TokenSpec) -> None:
        self._hub = hub
        self._wanted = wanted
        self._kept = KeptSecret(hub, wanted)
        self._revocations: list[dict[str, Any]] = []
        """The tokens that this run has revoked, for the result."""
        self.name = wanted.name

    def initial_answer(self) -> dict[str, Any]:
        return self._answer(None)

    def plan(self) -> Plan:
        wanted = self._wanted
        if wanted.path is not None:
            wanted.secret_format.check()
            secret_file.check(wanted.path)
        if wanted.overlap and not self._hub.dialect.has_token_id:
            raise Invalid(
                "overlap needs JupyterHub 5.0: an older one does not say which of two tokens a secret belongs to.",
                "Leave overlap out, or upgrade the hub.",
            )
        present = self._list_tokens()
        return self._plan_absent(present) if wanted.state == "absent" else self._plan_present(present)

    def _list_tokens(self) -> list[Token]:
        """Return the tokens of this identity, the oldest first."""
        wanted = self._wanted
        tokens = [each for each in self._hub.list_tokens(wanted.user) if find_plain_note(each) == wanted.note]
        return sorted(tokens, key=lambda token: token.created_at)

    def _plan_absent(self, present: list[Token]) -> Plan:
        path = self._wanted.path
        actions = self._plan_revocations([(token, "it is declared absent") for token in present])
        if path is not None:
            try:
                secret, is_damaged = secret_file.read(path, self._wanted.secret_format), False
            except Damaged:
                secret, is_damaged = "", True
            if len(secret.split()) > 1:
                raise Invalid(f"'{path}' holds something else than a token.", "Remove it yourself if nobody needs it.")
            if secret or is_damaged:
                actions.append(Action("remove", f"file '{path}'", "its token is declared absent"))
        return self._make_plan(actions, present, None)

    def _plan_present(self, present: list[Token]) -> Plan:
        wanted, now = self._wanted, time.time()
        kept = self._kept.find_token(present, now)
        actions = []
        others = [token for token in present if token is not kept.token]
        left_over = self._kept.find_left_over(present) if self._is_kept_somewhere() else None
        used = self._find_used_elsewhere([token for token in others if token is not left_over], kept)
        if used and not kept.flaw:
            kept = replace(kept, flaw=f"a younger one, {used[0].id}, is used at another place")
        is_first_here = bool(self._is_kept_somewhere() and kept.token is None and not used)
        caller_keeps = bool(kept.flaw) and self._caller_keeps()
        to_revoke = select_revocations(others, kept.token, wanted, now, caller_keeps=caller_keeps, left_over=left_over)
        if wanted.path is not None and (kept.flaw or kept.is_given):
            wanted.secret_format.check_encoding()
        if not wanted.revoke_replaced and self._hub.dialect.has_token_id:
            to_revoke = [(token, why) for token, why in to_revoke if why != REPLACED]
        if kept.flaw:
            self._check_service()
            actions.append(Action("mint", self.name, kept.flaw))
            if kept.token is not None and not self._predecessor_stays():
                to_revoke.append((kept.token, REPLACED))
        elif kept.is_given and wanted.path is not None:
            actions.append(
                Action("keep", f"file '{wanted.path}'", "the given secret works, and it holds none that does")
            )
        elif wanted.path is not None and secret_file.is_open_to_others(wanted.path):
            actions.append(Action("protect", f"file '{wanted.path}'", "others than its owner may read it"))
        actions += self._plan_revocations(to_revoke)
        return self._make_plan(actions, present, None if kept.flaw else kept.token, is_first_here=is_first_here)

    def _is_kept_somewhere(self) -> bool:
        """Return whether the declaration says where the secret is kept: in a file, or by the caller."""
        return self._wanted.path is not None or self._wanted.secret is not None

    def _find_used_elsewhere(self, others: list[Token], kept: KeptToken) -> list[Token]:
        """Return the tokens that somebody uses and whose secrets are not here.

        A secret that is not here need not be lost: another machine, folder or job may keep it. So this raises
        `Conflict`, unless the declaration says that these tokens are to be replaced.
        """
        wanted = self._wanted
        if not self._is_kept_somewhere() or kept.is_damaged:
            return []
        used = select_used_elsewhere(others, kept.token)
        # JupyterHub 4 does not say which token a secret belongs to. Each secret that works here is of one used token.
        if len(used) <= len(self._kept.ambiguous):
            return []
        if wanted.rotate or wanted.on_lost == "replace":
            return used
        token = used[0]
        here = kept.flaw if kept.token is None else f"here an older one, {kept.token.id}, is kept"
        raise Conflict(
            f"The {self.name} may be kept at another place: {here}, and the hub has token {token.id}, minted at "
            f"{format_time(token.created_at)}; {describe_use(token)}.",
            "Give path or secret of the place that keeps it, or run this only there. To replace it anyway, set "
            "rotate: true or on_lost: replace. To have a separate token here, choose another note.",
        )

    def _check_service(self) -> None:
        """Raise `MissingScope` if the task runs with a service's token that may not mint tokens for this user."""
        hub = self._hub
        scope = find_missing_mint_scope(hub.version, hub.owner.kind, hub.held_scopes, self._wanted.user)
        if scope is not None:
            raise MissingScope(
                f"JupyterHub {hub.version} lets a service mint tokens for user {quoted(self._wanted.user)} only with "
                f"the scope '{scope}'; the service {quoted(hub.owner.name)} lacks it.",
                "Add it to the service's role in the hub's configuration, beside tokens!user, or upgrade the hub to "
                "5.5.3, 6.1.0 or newer, which does not need it.",
            )

    def _plan_revocations(self, to_revoke: list[tuple[Token, str]]) -> list[Action]:
        """Return the actions that revoke these tokens, each with its reason.

        The token that the task uses comes last, because the hub refuses all requests after it is revoked.
        """
        if len(to_revoke) > 1:
            # JupyterHub 4 does not say which token the task uses. It is the one that was used last.
            asks = {token.id: may_be_asking_token(self._hub, self._wanted.user, token.id) for token, _why in to_revoke}
            to_revoke = sorted(
                to_revoke, key=lambda each: (asks[each[0].id], each[0].last_used if asks[each[0].id] else 0)
            )
        return [Action("revoke", f"token {token.id}", why, token) for token, why in to_revoke]

    def _predecessor_stays(self) -> bool:
        """Return whether the old token must work after this run.

        It must if it has a time of overlap, if a later task revokes it, or if the caller keeps the new secret.
        """
        wanted = self._wanted
        is_left = not wanted.revoke_replaced and self._hub.dialect.has_token_id
        return bool(wanted.overlap) or is_left or self._caller_keeps()

    def _caller_keeps(self) -> bool:
        """Return whether the caller keeps the new secret, and a later run can prove that."""
        wanted = self._wanted
        return wanted.path is None and wanted.secret is not None and self._hub.dialect.has_token_id

    def apply(self, plan: Plan) -> Result:
        wanted, answer, done = self._wanted, plan.predicted, list[Action]()
        try:
            for action in plan.actions:
                if action.verb == "mint":
                    answer = self._mint(plan.context)
                elif action.verb == "keep":
                    secret_file.write(str(wanted.path), str(wanted.secret).strip(), wanted.secret_format)
                elif action.verb == "protect":
                    secret_file.protect(str(wanted.path))
                elif action.verb == "revoke":
                    # The hub may give the id of a token that expired meanwhile to the new one.
                    if action.target.id != answer["token_id"]:
                        self._revoke(action.target, action.why)
                elif action.verb == "remove":
                    secret_file.remove(str(wanted.path))
                elif action.verb == "clean":
                    secret_file.discard_left_over(str(wanted.path))
                done.append(action)
        except HubError as error:
            # The result of a failure says what was done. It may hold the only copy of a secret.
            raise error.with_result({**self._with_revocations(answer), "changed": bool(done)}, done) from None
        return Result(self._with_revocations(answer), tuple(done))

    def _mint(self, context: _Context) -> dict[str, Any]:
        """Mint the token, write its secret beside the file, prove the secret, rename the file, and return the answer.

        So the file only ever holds a secret that has worked. The secret must be on disk before it is proven: to prove a
        secret is to use the token, and later runs assume that somebody keeps the secret of a used token. If the caller
        keeps the secret, a later run proves it, when the caller gives the secret to that run.
        """
        wanted = self._wanted
        token, secret = self._request_token()
        try:
            if context.is_first_here:
                self._check_first(token, context.known)
            if wanted.path is not None:
                secret_file.prepare(wanted.path, secret, wanted.secret_format)
            if wanted.path is not None or wanted.secret is None:
                self._prove_new(token, secret)
            if wanted.path is not None:
                secret_file.commit(wanted.path)
        except BaseException:
            # Nobody has the secret. If the token cannot be revoked, the next run finds the secret beside the file.
            if not self._kept.has(secret) and self._revoke_lost(token.note) and wanted.path is not None:
                with contextlib.suppress(HubError):
                    secret_file.discard_left_over(wanted.path)
            raise
        return self._answer(token, secret=secret if wanted.path is None else None, minted=True)

    def _check_first(self, minted: Token, known: Set[str]) -> None:
        """Raise `Conflict` if another place has minted its first token at the same time, and before this run.

        Each place lists the tokens after it has minted its own, so the place that minted later sees the other token.
        Only the place that minted first keeps its token.
        """
        for token in self._list_tokens():
            if find_digest(token) is not None and token.id not in known and _mint_order(token) < _mint_order(minted):
                raise Conflict(
                    f"Another run has minted token {token.id} at {format_time(token.created_at)}, at the same time, "
                    f"and keeps the {self.name} at another place.",
                    "Run this at one place only, or choose another note here. The token that this run had minted is "
                    "revoked.",
                )

    def _request_token(self) -> tuple[Token, str]:
        """Mint a token, and return it with its secret.

        If the answer to a request is lost, this revokes its token before it requests another one.
        """
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
                    return Token.from_model(model), str(model["token"])
                raise UnexpectedAnswer(
                    "The hub minted a token and did not return its secret.", "Look into the hub's log."
                )
            except Invalid as error:
                if "not held" not in (error.reason or ""):
                    raise
                raise error.with_hint(
                    "A token can do no more than its owner. Leave these scopes out, or give the user a role with these "
                    "scopes in the hub's configuration."
                ) from None
            except HubError as error:
                cleaned = error.code not in _DOUBTFUL or self._revoke_lost(note)
                if error.code not in _UNANSWERED or not attempts_left or not cleaned:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _prove_new(self, token: Token, secret: str) -> None:
        try:
            owner = self._hub.with_token(secret).owner
        except Unauthorized as error:
            raise HubFailure(
                f"The hub refuses the token that it has just minted for user '{self._wanted.user}': {error.message}",
                "If the hub's authenticator keeps auth_state, exclude this user from it. The role service_account "
                "writes a refresh_user_hook for that.",
                status=error.status, method=error.method, url=error.url,
            ) from None  # fmt: skip
        if owner.name != self._wanted.user or owner.token_id not in (None, token.id):
            raise UnexpectedAnswer(
                "The hub minted a token, and says that it is another one.", "Look into the hub's log, and try again."
            )

    def _revoke_lost(self, note: str | None) -> bool:
        """Revoke the token with this note, if the request to mint it has succeeded.

        Return whether no such token is left. If one is left, the next run recognizes it.
        """
        try:
            for token in self._hub.list_tokens(self._wanted.user):
                if token.note == note:
                    self._revoke(token, LOST)
        except HubError:
            return False
        return True

    def _revoke(self, token: Token, why: str) -> None:
        user, scope = self._wanted.user, "tokens"
        try:
            self._hub.write("DELETE", "users", user, "tokens", token.id, scope=scope, what=self.name)
        except NotFound:
            # Somebody else has revoked it meanwhile. The hub answers the same for one that this token may not revoke.
            with contextlib.suppress(NotFound):
                self._hub.read_token(user, token.id)
                raise not_covered(scope, self.name, user) from None
        self._revocations.append(
            {"token_id": token.id, "created": token.created, "last_activity": token.last_activity, "why": why}
        )

    def _make_plan(
        self, actions: list[Action], present: list[Token], token: Token | None, *, is_first_here: bool = False
    ) -> Plan:
        """Return the plan, with the listed tokens and the declared file before and after the actions."""
        wanted = self._wanted
        if wanted.path is not None and secret_file.has_left_over(wanted.path):
            actions = [Action("clean", f"file '{wanted.path}'", "a killed run left a file beside it"), *actions]
        verbs = {action.verb for action in actions}
        revoked = {action.target.id for action in actions if action.verb == "revoke"}
        before: dict[str, Any] = {"user": wanted.user, "note": wanted.note, "tokens": [token.id for token in present]}
        remaining = [token.id for token in present if token.id not in revoked]
        after = {**before, "tokens": [*remaining, "(new)"] if "mint" in verbs else remaining}
        if wanted.path is not None:
            exists, is_open = secret_file.exists(wanted.path), secret_file.is_open_to_others(wanted.path)
            before |= {"path": wanted.path, "kept": exists, "private": exists and not is_open}
            writes = bool({"mint", "keep"} & verbs)
            stays = "remove" not in verbs and (exists or writes)
            after |= {
                "path": wanted.path, "kept": stays, "private": stays and (not is_open or writes or "protect" in verbs)
            }  # fmt: skip
        context = _Context(frozenset(token.id for token in present), is_first_here)
        return Plan(tuple(actions), before, after, predicted=self._answer(token), context=context)

    def _answer(self, token: Token | None, *, secret: str | None = None, minted: bool = False) -> dict[str, Any]:
        return {
            "token": secret,
            "token_id": token.id if token else None,
            "user": self._wanted.user,
            "note": self._wanted.note,
            "state": self._wanted.state,
            "scopes": list(token.scopes or ()) if token else [],
            "created": token.created if token else None,
            "expires_at": token.expires_at if token else None,
            "minted": minted,
            "revoked": [],
            "revocations": [],
        }

    def _with_revocations(self, answer: dict[str, Any]) -> dict[str, Any]:
        revoked = [each["token_id"] for each in self._revocations]
        return {**answer, "revoked": revoked, "revocations": list(self._revocations)}


def _mint_order(token: Token) -> tuple[float, int, str]:
    """Return a key that sorts tokens in the order in which the hub minted them. An id is a letter and a number."""
    return (token.created_at, len(token.id), token.id)


def may_be_asking_token(hub: HubClient, user: str, token_id: str) -> bool:
    """Return whether this may be the token that the task uses.

    A hub before JupyterHub 5 does not say which token that is. Then this returns whether the token has the same owner.
    """
    owner = hub.owner
    return (owner.kind, owner.name) == ("user", user) and owner.token_id in (None, token_id)
