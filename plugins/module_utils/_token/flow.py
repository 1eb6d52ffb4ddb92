# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of `hub_token`: all the tokens of a task, each in its own flow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from .._hub.client import HubClient
from .._hub.errors import Invalid
from .._path.batch import Batch
from .._path.plan import Plan, find_duplicate
from . import secret_file
from .mint import TokenFlow, may_be_asking_token
from .model import TokenSpec


def token_batch(hub: HubClient, specs: Sequence[TokenSpec], *, concurrency: int, single: bool) -> Batch:
    """Return the flow of `hub_token`: the declared tokens, at most ``concurrency`` at a time.

    With ``single``, the result's top level is that of the one token. Raises `Invalid` for a token or a file that is
    declared twice.
    """
    names = [spec.name for spec in specs]
    files = [f"file '{secret_file.resolve(spec.path)}'" for spec in specs if spec.path is not None]
    for declared in (names, files):
        duplicate = find_duplicate(declared)
        if duplicate is not None:
            raise Invalid(
                f"The {duplicate} is declared twice.", "Declare each token once, and keep it in a file of its own."
            )
    paths = [spec.path for spec in specs if spec.path is not None and "\0" not in spec.path]
    return Batch(
        "tokens",
        [TokenFlow(hub, spec) for spec in specs],
        concurrency,
        runs_last=partial(_may_end_own_token, hub),
        prepare=hub.read_version,
        # Another run that keeps a secret in the same file would treat this run's new token as lost, and revoke it.
        take_lock=partial(secret_file.lock_folders, paths),
        summarize=(lambda answers: answers[0]) if single else _summarize,
    )


def _may_end_own_token(hub: HubClient, plan: Plan) -> bool:
    """Return whether the plan may revoke the token that the task uses. The hub refuses all requests after that."""
    return any(
        action.verb == "revoke" and may_be_asking_token(hub, plan.before["user"], action.target.id)
        for action in plan.actions
    )


def _summarize(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the result says about all tokens together."""
    return {
        **dict.fromkeys(("token", "token_id", "user", "note", "state", "created", "expires_at", "failure")),
        "scopes": [],
        "minted": any(answer["minted"] for answer in answers),
        "revoked": [token_id for answer in answers for token_id in answer["revoked"]],
        "revocations": [revocation for answer in answers for revocation in answer["revocations"]],
    }
