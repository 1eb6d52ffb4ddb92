# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_token`: all the tokens of a task, each in its own flow."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from .._hub.client import HubClient
from .._hub.errors import Invalid
from .._path.plan import Many, Plan, repeated
from . import secret_file as _secrets
from .model import TokenSpec
from .token import TokenFlow, id_of, may_ask


class TokensFlow:
    """`hub_token`: the declared tokens, worked concurrently. The result of a single one also stands at its top."""

    def __init__(self, hub: HubClient, wanted: Sequence[TokenSpec], *, concurrency: int, single: bool) -> None:
        names = [each.name for each in wanted]
        places = [f"file '{_secrets.place(each.path)}'" for each in wanted if each.path is not None]
        for values in (names, places):
            twice = repeated(values)
            if twice is not None:
                raise Invalid(
                    f"The {twice} is declared twice.", "Declare each token once, and keep it in a file of its own."
                )
        self._hub = hub
        items = [TokenFlow(hub, each) for each in wanted]
        self._many = Many("tokens", items, concurrency, late=self._may_end_the_token_that_asks)
        self._single = single
        self._paths = [each.path for each in wanted if each.path is not None and "\0" not in each.path]

    def alone(self) -> AbstractContextManager[None]:
        """Another run that keeps a secret in the same place would take this one's for lost, and revoke it."""
        return _secrets.lock_folders(self._paths)

    def _may_end_the_token_that_asks(self, plan: Plan) -> bool:
        return any(
            action.verb == "revoke" and may_ask(self._hub, plan.before["user"], id_of(action))
            for action in plan.actions
        )

    def plan(self) -> Plan:
        self._hub.dialect  # noqa: B018 - asked for once, before many ask for it at the same time
        plan = self._many.plan()
        return replace(plan, predicted=self._result(plan.predicted))

    def apply(self, plan: Plan) -> dict[str, Any]:
        return self._result(self._many.apply(plan))

    def _result(self, result: dict[str, Any]) -> dict[str, Any]:
        items = result["tokens"]
        top = items[0] if self._single else {
            **dict.fromkeys(("token", "token_id", "user", "note", "state", "created", "expires_at")),
            "scopes": [],
            "minted": any(item["minted"] for item in items),
            "revoked": [token_id for item in items for token_id in item["revoked"]],
            "revocations": [each for item in items for each in item["revocations"]],
        }  # fmt: skip
        return {**top, "failure": None, **result}
