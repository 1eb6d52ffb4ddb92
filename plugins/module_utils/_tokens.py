# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API tokens of users: minted once, kept, proven, revoked.

This file is private to the collection: it may change without notice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.module_utils import _secrets
from ansible_collections.hubops.jupyterhub.plugins.module_utils._client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._errors import (
    HubError,
    Invalid,
    NotFound,
    Unauthorized,
    UnexpectedAnswer,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._plan import Action, Plan, Report
from ansible_collections.hubops.jupyterhub.plugins.module_utils._scopes import missing, own

_READ, _WRITE = "read:tokens", "tokens"


@dataclass(frozen=True)
class Wanted:
    """A declared token: who it belongs to and its note identify it. ``expires_in`` is in seconds, None is never."""

    user: str
    note: str
    state: str
    scopes: tuple[str, ...] = ()
    expires_in: int | None = None
    path: str | None = None


@dataclass(frozen=True)
class Token:
    """A token as the hub lists it. The hub never gives its secret back."""

    id: str
    note: str
    scopes: tuple[str, ...]
    created: str | None
    expires_at: str | None

    @staticmethod
    def of(model: dict[str, Any]) -> Token:
        return Token(
            id=str(model.get("id") or ""),
            note=str(model.get("note") or ""),
            scopes=tuple(sorted(model.get("scopes") or ())),
            created=model.get("created"),
            expires_at=model.get("expires_at"),
        )


def list_of(hub: HubClient, user: str) -> list[dict[str, Any]]:
    """The user's API tokens as the hub shows them. The hub purges the expired ones on this occasion."""
    answer = hub.get("users", user, "tokens", scope=_READ, what=f"user '{user}'")
    return [model for model in answer.get("api_tokens") or [] if isinstance(model, dict)]


class TokenFlow:
    """`hub_token`: one declared token, there or gone."""

    def __init__(self, hub: HubClient, wanted: Wanted, report: Report) -> None:
        self._hub = hub
        self._wanted = wanted
        self._report = report
        self._what = f"token '{wanted.note}' of user '{wanted.user}'"

    def plan(self) -> Plan:
        wanted, path = self._wanted, self._wanted.path
        secret = ""
        if path is not None:
            _secrets.check(path)
            secret = _secrets.read(path)
        present = [token for token in map(Token.of, list_of(self._hub, wanted.user)) if token.note == wanted.note]
        if wanted.state == "absent":
            actions = [_revoke(token, "it is declared absent") for token in present]
            if len(secret.split()) > 1:
                raise Invalid(f"'{path}' holds something else than a token.", "Remove it yourself, if it may go.")
            if secret:
                actions.append(Action("remove", f"file '{path}'", "its token is declared absent"))
            return self._planned(actions, present, [], None)
        if path is not None:
            return self._plan_kept(path, secret, present)
        if present:
            return self._planned([], present, [token.id for token in present], present[0])
        return self._planned([Action("mint", self._what, "the hub does not have it")], present, ["(new)"], None)

    def _plan_kept(self, path: str, secret: str, present: list[Token]) -> Plan:
        """A token whose secret is kept in a file is there when that secret works; a row in the list is no proof."""
        proven, why = self._prove(secret, present, self._wanted.scopes)
        if not why:
            actions = []
            if _secrets.is_open(path):
                actions.append(Action("protect", f"file '{path}'", "others than its owner may read it"))
            return self._planned(actions, present, [token.id for token in present], proven)
        # The predecessors go last: at any instant one of the secrets works.
        revoked = [_revoke(token, "its successor is kept and works") for token in present]
        return self._planned([Action("mint", self._what, why), *revoked], present, ["(new)"], None)

    def _prove(self, secret: str, present: list[Token], scopes: tuple[str, ...]) -> tuple[Token | None, str]:
        """The listed token that a kept secret belongs to, and an empty string; or why it does not do."""
        if not secret:
            return None, "no secret is kept"
        try:
            with HubClient(replace(self._hub.connection, api_token=secret)) as kept:
                identity = kept.identity
        except Unauthorized:
            return None, "the kept secret does not work"
        except HubError as error:
            if error.code == "invalid":  # the file holds what no token can be
                return None, "the kept secret is none"
            raise
        if identity.get("kind") != "user" or identity.get("name") != self._wanted.user:
            return None, "the kept secret is of another account"
        needed = [own(self._hub.dialect.scope(scope), self._wanted.user) for scope in scopes]
        lacking = missing(needed, identity.get("scopes") or ())
        if lacking and not {"inherit", "self"} & set(needed):
            return None, f"the kept token lacks {', '.join(lacking)}"
        # Hubs before 5.0 do not say which token it is that asks.
        number = identity.get("token_id")
        found = [token for token in present if number in (None, token.id)]
        return (found[0], "") if found else (None, "the kept secret is of another token")

    def apply(self, plan: Plan) -> dict[str, Any]:
        if not plan.changed:
            return plan.predicted
        wanted, answer = self._wanted, plan.predicted
        if plan.does("protect"):
            _secrets.protect(str(wanted.path))
        if plan.does("mint"):
            answer = self._mint()
        for token_id in plan.before["tokens"] if plan.does("revoke") else ():
            self._revoke(token_id)
        if plan.does("remove"):
            _secrets.remove(str(wanted.path))
        return {**answer, "revoked": plan.before["tokens"] if plan.does("revoke") else []}

    def _mint(self) -> dict[str, Any]:
        wanted = self._wanted
        body: dict[str, Any] = {
            "note": wanted.note,
            "scopes": [self._hub.dialect.scope(scope) for scope in wanted.scopes],
        }
        if wanted.expires_in is not None:
            body["expires_in"] = wanted.expires_in
        _status, model = self._hub.write(
            "POST", "users", wanted.user, "tokens", scope=_WRITE, what=f"a token of user '{wanted.user}'", body=body
        )
        secret = model.get("token") if isinstance(model, dict) else None
        if not secret:
            raise UnexpectedAnswer("The hub minted a token and did not say its secret.", "Look into the hub's log.")
        token = Token.of(model)
        if wanted.path is None:
            return _answer(token, wanted, secret=secret, minted=True)
        try:
            # Proven before it takes the old one's place, so that whatever the file holds has worked. That it has its
            # scopes is the hub's own word: it would have refused others, and may write them in another way.
            _proven, why = self._prove(secret, [token], scopes=())
            if why:
                raise UnexpectedAnswer(f"The hub minted a token, but {why}.", "Look into the hub's log, and try again.")
            _secrets.write(wanted.path, secret)
        except BaseException:
            self._revoke(token.id)  # nobody has its secret
            raise
        return _answer(token, wanted, secret=None, minted=True)

    def _revoke(self, token_id: str) -> None:
        try:
            self._hub.write("DELETE", "users", self._wanted.user, "tokens", token_id, scope=_WRITE, what=self._what)
        except NotFound:
            pass  # it went meanwhile

    def _planned(self, actions: list[Action], present: list[Token], after: list[str], token: Token | None) -> Plan:
        """The plan with its pictures: the tokens that the hub lists, and the file, where one is declared."""
        wanted, verbs = self._wanted, {action.verb for action in actions}
        before: dict[str, Any] = {"user": wanted.user, "note": wanted.note, "tokens": [token.id for token in present]}
        picture = {**before, "tokens": after}
        if wanted.path is not None:
            kept, is_open = _secrets.exists(wanted.path), _secrets.is_open(wanted.path)
            before |= {"path": wanted.path, "kept": kept, "private": kept and not is_open}
            stays = "remove" not in verbs and (kept or "mint" in verbs)
            private = stays and (not is_open or bool({"mint", "protect"} & verbs))
            picture |= {"path": wanted.path, "kept": stays, "private": private}
        predicted = _answer(token, wanted, secret=None, minted=False)
        return Plan(tuple(actions), before, picture, predicted={**predicted, "revoked": []})


def _revoke(token: Token, why: str) -> Action:
    return Action("revoke", f"token {token.id}", why)


def _answer(token: Token | None, wanted: Wanted, *, secret: str | None, minted: bool) -> dict[str, Any]:
    return {
        "token": secret,
        "token_id": token.id if token else None,
        "user": wanted.user,
        "note": wanted.note,
        "scopes": list(token.scopes) if token else [],
        "created": token.created if token else None,
        "expires_at": token.expires_at if token else None,
        "minted": minted,
    }
