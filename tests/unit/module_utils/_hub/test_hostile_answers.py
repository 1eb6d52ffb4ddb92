# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a hub answers, each module ends with its result or with a failure that says what is wrong.

The answers of a sound hub, in which something generated stands in the place of something else. `make test` tries some;
`HUBOPS_EXAMPLES=100000 pytest tests/unit/module_utils/_hub/test_hostile_answers.py` tries as many as are asked for.
"""

from __future__ import annotations

import copy
import importlib
import io
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import polling
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.snapshot_file import read_snapshot
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from support.models import ADMIN, ALICE, GROUP, INFO, MINTED, ROUTE, SERVICE, TOKEN, USER
from urllib3 import HTTPResponse

EXAMPLES = int(os.environ.get("HUBOPS_EXAMPLES", "300"))
FOLDER = tempfile.TemporaryDirectory(prefix="hubops-hostile-")
GOLDEN = Path(__file__).resolve().parents[1] / "_snapshot" / "golden" / "snapshot-1.json"
DOCUMENTED = Path(__file__).resolve().parents[4] / "docs" / "docsite" / "rst" / "failures.rst"
CODES = set(re.findall(r"^   \* - ``(\w+)``$", DOCUMENTED.read_text().partition("     - When\n")[2], re.M))

SOUND: list[tuple[str, str, Any]] = [
    ("GET", r"hub/api/", {"version": "6.1.1"}),
    ("GET", r"hub/api/user", ADMIN),
    ("GET", r"hub/api/info", INFO),
    ("GET", r"hub/api/users", [USER]),
    ("GET", r"hub/api/groups", [GROUP]),
    ("GET", r"hub/api/services", {"admin": SERVICE}),
    ("GET", r"hub/api/proxy", {"/user/alice/": ROUTE}),
    ("GET", r"hub/api/users/\w+", USER),
    ("GET", r"hub/api/users/\w+/tokens", {"api_tokens": [TOKEN]}),
    ("POST", r"hub/api/users/\w+/tokens", {**TOKEN, "id": "a9", "token": MINTED}),
    ("GET", r"hub/api/groups/\w+", GROUP),
    ("GET", r".*/progress", {"progress": 50, "message": "Pulling image"}),
    ("GET", r"user/alice/api", {"version": "2.17.0"}),
    ("POST", r"hub/api/groups/\w+/users", GROUP),
    ("PUT", r"hub/api/groups/\w+/properties", GROUP),
    ("PATCH", r"hub/api/users/\w+", USER),
]
"""The answers of a working hub, by method and by the path below its address."""

TASKS: list[tuple[str, dict[str, Any]]] = [
    ("hub_info", {"gather": ["users", "servers", "groups", "services", "routes", "tokens"]}),
    ("hub_info", {"gather": ["all"]}),
    ("hub_group", {"name": "staff", "users": ["alice", "bob"], "properties": {"a": 1}}),
    ("hub_group", {"groups": [{"name": "staff", "state": "absent"}, {"name": "new", "users": ["alice"]}]}),
    ("hub_info", {"require_scopes": ["read:servers!user"]}),
    ("hub_user", {"user": "alice", "admin": True, "groups": ["staff", "new"], "create_groups": True}),
    ("hub_user", {"user": "alice", "state": "absent", "wait_timeout": "0.05"}),
    ("hub_token", {"user": "alice", "note": "ci", "scopes": ["read:servers!user"], "rotate": True}),
    ("hub_token", {"user": "alice", "note": "ci", "state": "absent"}),
    ("hub_server", {"user": "alice", "wait_timeout": "0.05", "user_options": {"profile": "large"},
                    "on_options_change": "restart"}),
    ("hub_server", {"user": "alice", "state": "stopped", "wait_timeout": "0.05"}),
    ("hub_cull", {"idle_timeout": "1h", "cull_users": True, "stop_timeout": "0.05"}),
    ("hub_snapshot", {"path": str(Path(FOLDER.name) / "snapshot.json")}),
    ("hub_compare", {"before": str(GOLDEN)}),
]  # fmt: skip

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["\x1b[2Jfatal: [localhost]: FAILED!", "a\nfatal: b", "\ud800", "\u2028x", "x" * 3000, "../..", ""]
    ),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
RAW = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b"", b"NaN", b'{"version": 1e999}', b'"\\ud800"', b"[" * 100_000, b"{" + b'"a":{' * 5000, b"\xff"]
    ),
)
STATUSES = st.sampled_from(
    [201, 202, 204, 301, 302, 400, 401, 403, 404, 408, 409, 418, 429, 499, 500, 502, 503, 504, 520]
)
CHANGES = st.one_of(
    st.tuples(st.just("whole"), VALUES),
    st.tuples(st.just("place"), st.integers(0, 200), VALUES),
    st.tuples(st.just("without"), st.integers(0, 200)),
    st.tuples(st.just("raw"), RAW),
    st.tuples(st.just("status"), STATUSES, st.booleans()),
    st.tuples(st.just("header"), st.sampled_from(["Retry-After", "Location", "Content-Type"]), TEXTS),
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return each place in the value, as its container and its key."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [found for key, item in pairs for found in [(value, key), *places(item)]]


class HostileHub:
    """Answers as a working hub does, except for the answers in ``changes``, by their number."""

    def __init__(self, changes: dict[int, tuple[Any, ...]]) -> None:
        self.changes = changes
        self.number = 0

    def send(self, request: requests.PreparedRequest, **_more: Any) -> requests.Response:
        path = str(request.url).partition("?")[0].removeprefix("http://hub.example.org/")
        found = [answer for method, form, answer in SOUND if request.method == method and re.fullmatch(form, path)]
        if MINTED in request.headers.get("Authorization", ""):
            found = [ALICE if answer is ADMIN else answer for answer in found]
        answer, status = copy.deepcopy(found[0] if found else None), 200 if request.method == "GET" else 201
        headers = {"Content-Type": "application/json"}
        change = self.changes.get(self.number, ("none",))
        self.number += 1
        content = None
        if change[0] == "whole":
            answer = change[1]
        elif change[0] in ("place", "without"):
            there = places(answer)
            if there:
                holder, key = there[change[1] % len(there)]
                if change[0] == "place":
                    holder[key] = change[2]
                else:
                    del holder[key]
        elif change[0] == "raw":
            content = change[1]
        elif change[0] == "status":
            status = change[1]
            content, headers = (b"<title>no</title>", {"Content-Type": "text/html"}) if change[2] else (None, headers)
        elif change[0] == "header":
            headers[change[1]] = re.sub(r"[^\x20-\x7e]", "", change[2])
        if content is None:
            content = json.dumps(answer).encode() if answer is not None or change[0] == "whole" else b""
            if path.endswith("/progress"):
                content = b"data: " + content + b"\n\n"
        raw = HTTPResponse(io.BytesIO(content), headers, status, preload_content=False)
        return HTTPAdapter().build_response(request, raw)


def perform(module: str, options: dict[str, Any]) -> dict[str, Any]:
    program = importlib.import_module(f"ansible_collections.hubops.jupyterhub.plugins.modules.{module}").MODULE
    options = {
        "hub_url": "http://hub.example.org/",
        "api_token": "a-token-of-a-test",
        "request_timeout": "0.1s",
        **options,
    }
    checked = ArgumentSpecValidator(program.argument_spec, **program.rules).validate(options)
    assert not checked.error_messages
    result: dict[str, Any] = program.run(
        checked.validated_parameters, check_mode=False, verbosity=0, report=lambda line: str(line).encode()
    )
    return result


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "PAUSE", 0.001)
    monkeypatch.setattr(polling, "LONGEST_PAUSE", 0.01)


@pytest.mark.parametrize("task", TASKS, ids=[f"{number}-{name}" for number, (name, _options) in enumerate(TASKS)])
def test_a_sound_hub_is_understood(task: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    hub = HostileHub({})
    monkeypatch.setattr(HTTPAdapter, "send", hub.send)
    result = perform(*task)
    assert (result.get("failure") or {}).get("code") in (None, "timeout", "conflict", "missing_scope"), result


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate] if EXAMPLES > 1000 else list(Phase),
)  # fmt: skip
@given(task=st.sampled_from(TASKS), changes=st.dictionaries(st.integers(0, 7), CHANGES, min_size=1, max_size=3))
def test_any_answer_ends_in_a_result_or_in_a_clear_failure(
    task: tuple[str, dict[str, Any]], changes: dict[int, tuple[Any, ...]]
) -> None:
    hub = HostileHub(changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HTTPAdapter, "send", hub.send)
        result = perform(*task)
    json.dumps(result, allow_nan=False, ensure_ascii=False).encode()
    failures = [result.get("failure"), *(item.get("failure") for item in result.get("failures") or [])]
    for failure in filter(None, failures):
        assert failure["code"] in CODES
        assert "could not be understood" not in failure["message"], (failure, task, changes)
        for text in (failure["message"], failure["hint"]):
            assert text.isprintable()
            assert len(text) < 5000
    if result.get("failed"):
        assert result["msg"].isprintable()
    elif task[0] == "hub_snapshot":
        read_snapshot(result["path"])  # what is written can be read again
    for action in result.get("actions") or []:
        assert all(text.isprintable() for text in action.values())
