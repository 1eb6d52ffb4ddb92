# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_starts: whose start it was, with which options, and why it failed, from what a hub says."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    Invalid,
    MissingScope,
    Timeout,
    Unreachable,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._server.starts import (
    NO_REASON,
    STOPPED,
    TIMEOUT,
    Whose,
    differing,
    is_failure,
    reason_of,
    whose_start,
)

REFUSED = Invalid("The hub refuses POST.", "x", status=400, method="POST", reason="alice is already running")
FORBIDDEN = MissingScope("The hub forbids POST.", "x", status=403, method="POST")
UNHANDLED = HubFailure("The hub failed.", "x", status=500, method="POST", reason="Internal Server Error")
FAILED = HubFailure("The hub failed.", "x", status=500, method="POST", reason="no such image")
GATEWAY = HubFailure("The hub failed.", "x", status=502, method="POST")
OURS, ANOTHERS, UNKNOWN = Whose.OURS, Whose.ANOTHERS, Whose.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "state", "more", "whose"),
    [
        # "Created" is said to the one whose start is over, whatever JupyterHub 6 shows as pending then.
        (201, "ready", {}, OURS),
        (201, "pending", {}, OURS),
        (201, "ready", {"lost": True}, OURS),
        # "Accepted", after slow_spawn_timeout.
        (202, "pending", {"held": True}, OURS),
        (202, "ready", {"held": True}, OURS),
        # "Accepted" at once: by a hub whose slow_spawn_timeout is 0, or to the one who comes second.
        (202, "pending", {}, UNKNOWN),
        (202, "ready", {}, UNKNOWN),
        # No answer yet: with refresh_pre_spawn a hub keeps the one who comes second waiting, too.
        (None, "pending", {"held": True}, UNKNOWN),
        (None, "ready", {}, UNKNOWN),
        # The one who comes second, with refresh_pre_spawn.
        (UNHANDLED, "pending", {}, ANOTHERS),
        (UNHANDLED, "ready", {}, ANOTHERS),
        (UNHANDLED, "ready", {"held": True}, ANOTHERS),
        # A start of ours may fail with it: its process has died, and the hub has not given up yet.
        (UNHANDLED, "pending", {"held": True}, UNKNOWN),
        (FAILED, "stopped", {}, UNKNOWN),
        (UNHANDLED, "ready", {"lost": True}, UNKNOWN),
        # Nothing is begun by what is refused.
        (REFUSED, "ready", {}, ANOTHERS),
        (FORBIDDEN, "pending", {"held": True}, ANOTHERS),
        (REFUSED, "ready", {"lost": True}, UNKNOWN),
        # An answer that is lost says nothing.
        (GATEWAY, "ready", {}, UNKNOWN),
        (Unreachable("No answer.", "x"), "pending", {}, UNKNOWN),
        (Timeout("It did not answer.", "x"), "pending", {"held": True}, UNKNOWN),
    ],
)
def test_whose_start_it_was(answer: int | HubError | None, state: str, more: dict[str, bool], whose: Whose) -> None:
    assert whose_start(answer, state, **more) is whose


@pytest.mark.parametrize(
    ("sent", "shown", "names"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 1, "added": True}, []),
        ({"a": 1, "b": 2}, {"a": 2}, ["a", "b"]),
        ({"a": 1}, None, ["a"]),
        ({}, {"added": True}, ["added"]),
        ({}, None, []),
    ],
)
def test_the_options_that_differ(sent: dict[str, Any], shown: dict[str, Any] | None, names: list[str]) -> None:
    assert differing(sent, shown) == names
    assert differing(sent, shown, additions=True) == (names if sent else [])


@pytest.mark.parametrize(
    ("event", "fails", "reason"),
    [
        (None, False, STOPPED),
        ("Spawn cancelled", False, STOPPED),
        ("Spawn failed: ", True, NO_REASON),
        ("Spawn failed", True, NO_REASON),
        ("", True, NO_REASON),
        ("Spawn failed: Timeout", True, TIMEOUT),
        ("Spawn failed: no GPU is free.", True, "no GPU is free"),
    ],
)
def test_what_the_last_event_of_a_stream_says(event: str | None, fails: bool, reason: str) -> None:
    assert (is_failure(event), reason_of(event)) == (fails, reason)


@pytest.mark.parametrize(("error", "fails"), [(UNHANDLED, False), (FAILED, True), (GATEWAY, True), (REFUSED, True)])
def test_what_the_answer_to_a_request_says(error: HubError, fails: bool) -> None:
    """JupyterHub 5 and 6 answer 500 "Internal Server Error" to the one whose start a DELETE ends."""
    assert is_failure(None, error) is fails
