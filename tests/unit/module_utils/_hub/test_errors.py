# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""errors: the codes that playbooks compare, and the result of a failed task."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from ansible_collections.hubops.jupyterhub.plugins.doc_fragments.hub import ModuleDocFragment
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import errors as _errors
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import HubError

# Written out, not computed: a change here breaks somebody's playbook.
CODES = {
    "unreachable", "tls", "unauthorized", "missing_scope", "not_found", "invalid", "conflict", "rate_limited",
    "spawn_failed", "kernel_failed", "timeout", "hub_error", "unexpected_answer",
}  # fmt: skip


def classes(of: type[HubError] = HubError) -> Iterator[type[HubError]]:
    for each in of.__subclasses__():
        yield each
        yield from classes(each)


def test_the_codes_are_exactly_the_contract_s() -> None:
    """A class below one of these says more about the cause. It has the same code."""
    assert sorted(each.code for each in HubError.__subclasses__()) == sorted(CODES)
    assert [each for each in classes() if each not in HubError.__subclasses__() and "code" in vars(each)] == []


def test_the_documentation_lists_exactly_these_codes() -> None:
    note = ModuleDocFragment.DOCUMENTATION.partition("The codes are")[2]
    assert set(re.findall(r"V\((\w+)\)", note)) == CODES


@pytest.mark.parametrize("failure", [pytest.param(each, id=each.code) for each in classes()])
def test_a_failure_as_a_task_s_result(failure: type[HubError]) -> None:
    error = failure(
        "It broke.",
        "Fix it.",
        status=500,
        method="GET",
        url="https://hub/",
        reason="tired",
        result={"servers": [], "failed": False},
    )
    assert str(error) == "It broke."
    assert error.as_result() == {
        "servers": [],
        "failed": True,
        "msg": "It broke. Fix it.",
        "failure": {
            "code": failure.code,
            "message": "It broke.",
            "status": 500,
            "method": "GET",
            "url": "https://hub/",
            "hint": "Fix it.",
        },
    }


def test_a_failure_without_a_request_has_all_keys_all_the_same() -> None:
    failure = _errors.Invalid("No.", "Yes.").as_result()["failure"]
    assert failure == {
        "code": "invalid", "message": "No.", "status": None, "method": None, "url": None, "hint": "Yes.",
    }  # fmt: skip


def test_statuses_with_one_meaning() -> None:
    assert {status: kind.code for status, kind in _errors.BY_STATUS.items()} == {
        400: "invalid", 404: "not_found", 409: "conflict", 429: "rate_limited",
    }  # fmt: skip
