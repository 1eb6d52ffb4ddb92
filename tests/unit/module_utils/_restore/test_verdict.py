# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_restore.verdict: how a restore has ended, from a failure, a reason, or a server that runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain.hub_identity import is_other_user
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain.record import Entry
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    Conflict,
    HubError,
    HubFailure,
    Invalid,
    NotFound,
    RateLimited,
    SpawnFailed,
    Timeout,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._restore.verdict import (
    is_profile_gone,
    judge_failure,
    judge_running,
)
from hypothesis import given
from hypothesis import strategies as st

ENTRY = Entry("alice", "", user_options={"profile": "gpu", "image": "lab:1"})


@pytest.mark.parametrize(
    "reason",
    [
        "No such profile: gpu. Options include: cpu, large",
        "No such profile: ['gpu']. Options include: cpu",
        "Expected option image for profile gpu, not found in posted form",
        "Received unlisted_choice for image without being enabled.",
        "Received unlisted_choice for image that failed validation regex.",
        "HTTP 400: Bad Request (Image lab:1 not in allowed list: lab:2, lab:3)",
        "'lab:1'",  # the KeyError of KubeSpawner for a choice that is gone
        "Unknown profile gpu",
        "The profile 'gpu' does not exist",
        "profile gpu not found",
    ],
)
def test_a_profile_that_is_gone(reason: str) -> None:
    assert is_profile_gone(reason, ENTRY.user_options)


@pytest.mark.parametrize(
    "reason",
    [
        None,
        "",
        "no node with a GPU is free",
        "Your profile picture could not be loaded from the home, which is full",
        "'lab:2'",
        "lab:1",
        "Image lab:1 could not be pulled",
        "Timeout",
        "pod alice not found in profile namespace",
        'profile gpu: persistentvolumeclaim "claim-alice" not found',
        "failed to load seccomp profile /etc/s.json: file not found",
        "AppArmor profile docker-default does not exist",
        "IAM instance profile arn:aws:x not found, retry later",
        "invalid profile of the kernel",
    ],
)
def test_another_reason(reason: str | None) -> None:
    assert not is_profile_gone(reason, ENTRY.user_options)


def test_options_that_are_nested_deeply() -> None:
    options: dict[str, Any] = {"image": "lab:1"}
    for _number in range(5000):
        options = {"a": [options]}
    assert is_profile_gone("'lab:1'", options)


@given(st.text(), st.none() | st.dictionaries(st.text(), st.recursive(st.text(), st.lists)))
def test_any_reason_has_a_verdict(reason: str, options: dict[str, Any] | None) -> None:
    assert is_profile_gone(reason, options) in (True, False)


NO_PROFILE = "No such profile: gpu."


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotFound("no user", "x"), "user_gone"),
        (Conflict("other options", "x"), "already_running"),
        (SpawnFailed("x", "x", reason=NO_PROFILE), "profile_gone"),
        (SpawnFailed("x", "x", reason="no GPU"), "failed"),
        (Timeout("x", "x", reason=NO_PROFILE), "failed"),
        (HubFailure("x", "x", reason=NO_PROFILE), "failed"),
        (Invalid("Invalid server_name", "x"), "failed"),
        (RateLimited("x", "x"), "failed"),
    ],
)
def test_failures(error: HubError, outcome: str) -> None:
    assert judge_failure(error, ENTRY) == outcome


@pytest.mark.parametrize(
    ("restore", "shown", "has_started", "outcome"),
    [
        ("pending", {"profile": "gpu"}, True, "restored"),
        ("pending", {"profile": "gpu"}, False, "already_running"),
        ("pending", {"profile": "cpu"}, False, "already_running"),
        ("restoring", {"profile": "gpu"}, False, "restored"),
        ("restoring", {"profile": "gpu", "added": 1}, False, "restored"),
        ("restoring", {"profile": "cpu"}, False, "already_running"),
        ("restoring", None, False, "already_running"),
        ("failed", {"profile": "gpu"}, False, "already_running"),
    ],
)
def test_a_server_that_runs(restore: str, shown: dict[str, Any] | None, has_started: bool, outcome: str) -> None:
    entry = replace(ENTRY, restore=restore)
    assert judge_running(entry, {"profile": "gpu"}, shown, has_started=has_started) == outcome


def test_without_recorded_options_any_are_right() -> None:
    assert judge_running(replace(ENTRY, restore="restoring"), None, {"a": 1}, has_started=False) == "restored"


THEN = "2026-01-01T00:00:00.500000Z"


@pytest.mark.parametrize(
    ("recorded", "now", "is_other"),
    [
        (THEN, THEN, False),
        (THEN, "2026-01-01T00:00:00Z", False),  # a database without fractions of a second
        (THEN, "2026-01-02T00:00:00Z", True),
        (None, THEN, False),
        (THEN, None, False),
        (THEN, "soon", False),
    ],
)
def test_a_user_who_was_created_again(recorded: str | None, now: str | None, is_other: bool) -> None:
    assert is_other_user(recorded, now) is is_other
