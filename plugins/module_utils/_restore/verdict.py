# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides how the restore of a server has ended. All functions are pure: they send no requests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .._drain.record import ALREADY_RUNNING, FAILED, PROFILE_GONE, RESTORED, RESTORING, USER_GONE, Entry
from .._hub.errors import Conflict, HubError, NotFound, SpawnFailed
from .._server.verdict import compare_options

_REFUSALS = re.compile(
    # KubeSpawner: "No such profile: gpu. Options include: cpu" (`_get_profile` of its spawner.py).
    r"\bno such profile\b"
    # KubeSpawner: options of a profile that it no longer has, or that has other choices now.
    r"|expected option .{0,200} for profile|received unlisted_choice for"
    # DockerSpawner: an image that it no longer offers (`check_allowed`).
    r"|\bimage\b.{0,500} not in allowed",
    re.IGNORECASE | re.DOTALL,
)
"""What spawners say if they do not have the profile, or one of its options, that a server was started with."""
_BEFORE_NAME = r"\b(unknown|invalid|unsupported) profile:?\s+['\"]?"
_AFTER_NAME = r"['\"]?\s+(does not exist|(is |was )?not found|is (not (available|allowed|known)|unknown))\b"
"""What other spawners say of a profile. The name must be one of the server's options: a security profile of the kernel,
or the profile of an account in a cloud, may be missing, too."""


def is_profile_gone(reason: str | None, user_options: dict[str, Any] | None) -> bool:
    """Return whether a start failed because the spawner no longer has what the options ask for.

    ``reason`` is the hub's reason, without the words that a hub puts before each one. KubeSpawner looks up the choices
    of a profile in a dictionary, so its reason for a choice that is gone is only the name, in quotes (a ``KeyError``).
    """
    text = (reason or "").strip()
    names = [*_list_texts(user_options or {})]
    return bool(_REFUSALS.search(text)) or any(text == repr(name) or _names_profile(text, name) for name in names)


def _names_profile(text: str, name: str) -> bool:
    """Return whether the text says that there is no profile of this name."""
    if not name or "profile" not in text.lower() or name not in text:
        return False
    patterns = f"{_BEFORE_NAME}{re.escape(name)}\\b", f"\\bprofile:?\\s+['\"]?{re.escape(name)}{_AFTER_NAME}"
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)


def _list_texts(value: Any) -> Iterator[str]:
    todo = [value]
    while todo:  # not recursive, because a user may have nested the options deeply
        item = todo.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, (dict, list)):
            todo += item.values() if isinstance(item, dict) else item


def judge_failure(error: HubError, entry: Entry) -> str:
    """Return the outcome of a restore that has failed so: one of the record's ``OUTCOMES``."""
    if isinstance(error, NotFound):
        return USER_GONE
    if isinstance(error, Conflict):
        return ALREADY_RUNNING  # somebody has started it with other options at the same time, or begun to
    if isinstance(error, SpawnFailed) and is_profile_gone(error.reason, entry.user_options):
        return PROFILE_GONE
    return FAILED


def judge_running(
    entry: Entry, wanted: dict[str, Any] | None, shown: dict[str, Any] | None, *, has_started: bool
) -> str:
    """Return the outcome for a server that runs: ``restored``, or ``already_running`` if somebody else started it.

    ``has_started`` says whether this run has started the server. ``wanted`` are the recorded options as the hub shows
    them, and ``shown`` are those of the running server. A restore that was killed has marked the servers that it was
    about to start. One of these that runs with its options counts as restored.
    """
    is_own = has_started or (entry.restore == RESTORING and not find_differences(wanted, shown))
    return RESTORED if is_own else ALREADY_RUNNING


def find_differences(wanted: dict[str, Any] | None, shown: dict[str, Any] | None) -> list[str]:
    """Return the names of the recorded options that the running server has differently."""
    return [] if wanted is None else compare_options(wanted, shown, may_have_additions=True)
