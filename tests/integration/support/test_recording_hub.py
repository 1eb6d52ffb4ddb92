# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fake hub of the tests of culling answers as a real hub does: its lists, its pages, and its answers to DELETE."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.fakes.recording_hub import TOKEN, DeleteAnswer, RecordingHub, recording_hub
from support.hub_clock import CLOCK_CONFIG, empty_hub
from support.hubs import HubPool
from support.runner import Runner
from support.waiting import wait_until


@pytest.fixture
def runner(pool: HubPool) -> Iterator[Runner]:
    """An empty hub, since all of its users are compared."""
    hub = pool.get(config=CLOCK_CONFIG)
    empty_hub(hub)
    yield Runner("program", hub)
    empty_hub(hub)


@pytest.fixture
def fake() -> Iterator[RecordingHub]:
    with recording_hub() as running:
        yield running


def test_same_answers_as_a_real_hub(runner: Runner, fake: RecordingHub, tmp_path: Path) -> None:
    names = [runner.new_user() for _number in range(7)]
    gate = tmp_path / "go"  # keeps one server stopping until the end of the test
    starts = [(0, ""), (0, "lab"), (2, "lab"), (3, ""), (5, "")]
    for number, name in starts:
        options = {3: {"never": True, "start_timeout": 600}, 5: {"stop_gate": str(gate)}}.get(number, {})
        path = f"users/{names[number]}/" + (f"servers/{name}" if name else "server")
        assert runner.api_request("POST", path, {"user_options": options}).status_code in (201, 202)
    wait_until(lambda: all(runner.servers(names[number])[name]["ready"] for number, name in starts if number != 3))
    assert runner.api_request("DELETE", f"users/{names[2]}/servers/lab").status_code == 204
    runner.api_request("POST", "users/odd%3Fname")
    everybody = "users?limit=200&include_stopped_servers=1"
    pages = {**runner.hub.headers, "Accept": "application/jupyterhub-pagination+json"}
    fake.set_users(*requests.get(f"{runner.hub.api}/{everybody}", headers=pages, timeout=120).json()["items"])

    def answers(method: str, path: str, body: Any = None) -> list[tuple[int, Any]]:
        """The answers of the real hub and of the fake, without addresses, times of stops, and messages of refusals."""
        both = []
        for api, headers in ((runner.hub.api, pages), (fake.api, {**pages, "Authorization": f"token {TOKEN}"})):
            answer = requests.request(method, f"{api}/{path}", headers=headers, json=body, timeout=120)
            text = re.sub(r'("last_activity": )"[^"]+"', r"\1true", answer.text.replace(api, ""))
            both.append((answer.status_code, json.loads(text or "null") if answer.ok else None))
        return both

    states = ("", "&state=ready", "&state=active", "&state=inactive")
    ranges = ("", "&offset=1&limit=3", "&offset=4&limit=2", "&limit=1000", "&offset=90", "&limit=0")
    for state, part in itertools.product(states, ranges):
        real, faked = answers("GET", f"users?x=1{state}{part}")
        assert faked == real
    for method, path, body in (
        ("GET", "", None),
        ("GET", f"users/{names[0]}", None),
        ("GET", f"users/{names[2]}?include_stopped_servers=1", None),
        ("GET", "users/odd%3Fname", None),
        ("GET", "users/odd?name", None),
        ("DELETE", "users/odd?name", None),
        ("DELETE", f"users/{names[0]}", None),
        ("DELETE", f"users/{names[0]}/servers/other", None),
        ("DELETE", f"users/{names[0]}/servers/lab/more", None),
        ("DELETE", f"users/{names[0]}/server", {"remove": True}),
        ("DELETE", f"users/{names[0]}/server", None),
        ("DELETE", f"users/{names[0]}/servers/lab", {"remove": True}),
        ("GET", f"users/{names[0]}?include_stopped_servers=1", None),
        ("DELETE", f"users/{names[2]}/servers/lab", None),
        ("DELETE", f"users/{names[2]}", None),
        ("GET", f"users/{names[2]}", None),
        ("DELETE", "users/odd%3Fname", None),
    ):
        real, faked = answers(method, path, body)
        assert faked == real, (method, path)
    # A stop that goes on.
    slow = f"users/{names[5]}/server"
    fake.delete_answers = {tuple(slow.split("/")): DeleteAnswer(202, pending_seconds=3600)}
    for method, path in (("DELETE", slow), ("GET", f"users/{names[5]}"), ("DELETE", slow)):
        real, faked = answers(method, path)
        assert faked == real, (method, path)
