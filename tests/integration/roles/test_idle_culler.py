# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook cull with real hubs: its output before and after a pass, and a pass that a systemd unit starts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fakes.fake_systemd import run_service
from support.hub_clock import CLOCK_CONFIG, HOUR, empty_hub, let_time_pass
from support.hubs import Hub, HubPool
from support.playbooks import (
    ProgramResult,
    ansible_bin,
    api_request,
    hub_environment,
    mint,
    oldest_ansible_bin,
    run_playbook,
    servers,
)
from support.waiting import wait_until

CULL = "hubops.jupyterhub.cull"
SCOPES = ["list:users", "read:users:activity", "read:servers", "delete:servers"]


@pytest.fixture
def new_hub(pool: HubPool) -> Iterator[Hub]:
    """A hub that is empty before and after the test, since a pass is over a whole hub."""
    yield from _emptied(pool.get(config=CLOCK_CONFIG))


@pytest.fixture
def old_hub(pool: HubPool) -> Iterator[Hub]:
    yield from _emptied(pool.get("5.5", config=CLOCK_CONFIG))


def _emptied(hub: Hub) -> Iterator[Hub]:
    empty_hub(hub)
    yield hub
    empty_hub(hub)


def give(hub: Hub, *users: str, second: str | None = None, **options: Any) -> None:
    """Give each user a server with these options that has been idle for two hours, and one user a second server."""
    for user in users:
        mint(hub, user, [])
        api_request(hub, "POST", f"users/{user}/server", {"user_options": options} if options else None)
    if second:
        api_request(hub, "POST", f"users/{second}/servers/second")
    wait_until(lambda: all(server["ready"] for user in users for server in servers(hub, user).values()), 120)
    let_time_pass(hub, 2 * HOUR)


def cull(
    hub: Hub, folder: Path, *arguments: str, token: str = "", bin_folder: Path | None = None, **variables: Any
) -> ProgramResult:
    named = {f"idle_culler_{name}": value for name, value in {"idle_timeout": "1h", **variables}.items()}
    env = hub_environment(hub, token or hub.admin_token) | {"ANSIBLE_SHOW_CUSTOM_STATS": "true"}
    return run_playbook(CULL, *arguments, folder=folder, variables=named, env=env, bin_folder=bin_folder)


def summary_lines(played: ProgramResult) -> list[str]:
    """The lines of the summary."""
    task = r'^TASK \[[\w.]+ : Show the summary\].*\nok: \[\w+\] => \{\n    "msg": (\[.*?\n    \])'
    [found] = re.findall(task, played.stdout, re.M | re.S)
    lines = json.loads(found)
    assert isinstance(lines, list)
    return lines


def numbers(played: ProgramResult) -> dict[str, Any]:
    """The artifact of the job in AWX."""
    found = re.search(r"RUN: (\{.*\})", played.stdout)
    assert found, played.output
    of_hubs = json.loads(found[1])["idle_culler_hubs"]
    assert isinstance(of_hubs, dict)
    return of_hubs


@pytest.mark.parametrize("oldest", [False, True], ids=["this-ansible", "oldest-ansible"])
def test_a_preview_says_why_and_the_pass_does_just_that(new_hub: Hub, tmp_path: Path, oldest: bool) -> None:
    give(new_hub, "alice", "bob")
    programs = oldest_ansible_bin() if oldest else None
    rules = [{"name": "staff", "users": ["b*"], "keep": True}]
    preview = cull(new_hub, tmp_path, "--check", bin_folder=programs, rules=rules)
    assert preview.status == 0, preview.output
    goes, stays, kept, summary = summary_lines(preview)
    assert re.fullmatch(r"- server of user 'alice' goes: idle 2 h( \d+ min)?, limit 1 h", goes)
    assert stays == "  server of user 'bob' stays: rule staff keeps it"
    assert kept == "servers kept: 1 rule"
    assert summary.startswith("1 of 2 servers would be culled, 1 server kept, 0 failed")
    assert servers(new_hub, "alice")
    differs = cull(new_hub, tmp_path, "--check", "--diff", bin_folder=programs, rules=rules)
    assert differs.stdout.count("server of user 'alice' goes: ") == 1  # once: Ansible shows it, so the role does not
    done = cull(new_hub, tmp_path, bin_folder=programs, rules=rules)
    assert done.status == 0, done.output
    assert [re.sub(r" \d+ min,", ",", line) for line in summary_lines(done)[:2]] == [
        "stopped: server of user 'alice', idle 2 h, limit 1 h",
        "servers kept: 1 rule",
    ]
    assert (servers(new_hub, "alice"), len(servers(new_hub, "bob"))) == ({}, 1)
    [mine] = numbers(done).values()
    assert {name: mine[name] for name in ("verdict", "culled", "users_deleted", "kept", "failed")} == {
        "verdict": "passed", "culled": 1, "users_deleted": 0, "kept": 1, "failed": 0,
    }  # fmt: skip
    assert mine["summary"] == summary_lines(done)[-1]
    # If a pass would cull nothing, Ansible shows no difference, and the role still says why.
    again = cull(new_hub, tmp_path, "--check", "--diff", bin_folder=programs, rules=rules)
    assert summary_lines(again)[0] == stays


def test_each_variable_reaches_the_module(new_hub: Hub, tmp_path: Path) -> None:
    give(new_hub, "carol", "dave", second="carol")
    keeps = cull(new_hub, tmp_path, "--check", exclude_users=["carol"], cull_default_servers=False, max_age="1h")
    assert summary_lines(keeps)[-2] == "servers kept: 2 excluded, 1 switched_off"
    # -e gives values as text.
    named = ["-e", "idle_culler_cull_named_servers=no", "-e", "idle_culler_recheck=no", "-e", "idle_culler_page_size=1"]
    named += ["-e", "idle_culler_concurrency=1", "-e", "idle_culler_stop_timeout=10s"]
    done = cull(new_hub, tmp_path, *named, idle_timeout="never", max_age="1h", exclude_users="dave")
    assert done.status == 0, done.output
    assert list(servers(new_hub, "carol")) == ["second"]
    let_time_pass(new_hub, 2 * HOUR)  # the stop of a server is an activity of its user
    removed = cull(new_hub, tmp_path, remove_named_servers=True, cull_users=True, exclude_users=["[!cd]*"])
    assert removed.status == 0, removed.output
    assert "stopped and removed: server 'second' of user 'carol'" in removed.stdout
    assert "deleted: user 'carol'" in removed.stdout
    names = {user["name"] for user in api_request(new_hub, "GET", "users")}
    assert not names & {"carol", "dave"}


def test_the_scopes_of_the_purpose_do_and_what_is_missing_is_named(new_hub: Hub, tmp_path: Path) -> None:
    give(new_hub, "erin")
    api_request(new_hub, "POST", "users/cull-bot", {"admin": True})
    token = mint(new_hub, "cull-bot", SCOPES)
    by_group = cull(new_hub, tmp_path, token=token, rules=[{"groups": ["students"], "keep": True}])
    assert by_group.status == 2
    assert "read:users:groups" in by_group.stdout
    assert len(servers(new_hub, "erin")) == 1
    assert numbers(by_group)["localhost"]["verdict"] == "failed"
    done = cull(new_hub, tmp_path, token=token)
    assert done.status == 0, done.output
    assert servers(new_hub, "erin") == {}


def test_what_is_refused_or_fails_is_told_after_all(new_hub: Hub, tmp_path: Path) -> None:
    give(new_hub, "grace")
    give(new_hub, "frank", stop_gate=str(tmp_path / "go"))
    refused = cull(new_hub, tmp_path, max_culls="50%")
    assert refused.status == 2
    assert len([line for line in summary_lines(refused) if line.startswith("not stopped: server of user")]) == 2
    [mine] = numbers(refused).values()
    assert (mine["verdict"], mine["culled"]) == ("failed", 0)
    failed = cull(new_hub, tmp_path, stop_timeout="2s")
    assert failed.status == 2
    lines = summary_lines(failed)
    assert [line for line in lines if line.startswith("stopped: server of user 'grace'")]
    assert [line for line in lines if line.startswith("failed: default server of 'frank': ")]
    [mine] = numbers(failed).values()
    assert {name: mine[name] for name in ("verdict", "culled", "failed")} == {
        "verdict": "failed",
        "culled": 1,
        "failed": 1,
    }
    unknown = cull(new_hub, tmp_path, token="5e27ce0000000000000000000000dead")
    assert unknown.status == 2
    assert "does not accept the API token" in numbers(unknown)["localhost"]["summary"]


def test_an_inventory_of_hubs(new_hub: Hub, old_hub: Hub, tmp_path: Path) -> None:
    hosts = {}
    for name, hub in (("new", new_hub), ("old", old_hub)):
        give(hub, "heidi")
        hosts[name] = {"hub_url": hub.url, "idle_culler_api_token": hub.admin_token, "idle_culler_idle_timeout": "1h"}
    hosts["old"]["idle_culler_idle_timeout"] = "1d"
    played = run_playbook(CULL, folder=tmp_path, hosts=hosts, env={"ANSIBLE_SHOW_CUSTOM_STATS": "true"})
    assert played.status == 0, played.output
    assert {name: mine["culled"] for name, mine in numbers(played).items()} == {"new": 1, "old": 0}
    assert (servers(new_hub, "heidi"), len(servers(old_hub, "heidi"))) == ({}, 1)


def test_the_unit_culls_with_the_policy_and_the_token_that_it_was_given(new_hub: Hub, tmp_path: Path) -> None:
    """As systemd starts it: in another folder, without the environment of its author, with another inventory."""
    give(new_hub, "ivan", "judy")
    token, units = tmp_path / "token", tmp_path / "units"
    units.mkdir()
    token.touch(0o600)
    written = cull(
        new_hub, tmp_path, mode="timer", enable=False, unit_folder=str(units), token_path=str(token),
        variables_path=str(tmp_path / "variables.yml"), ansible_playbook=str(ansible_bin() / "ansible-playbook"),
        environment={"ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
        rules=[{"users": ["j*"], "keep": True}],
    )  # fmt: skip
    assert written.status == 0, written.output
    assert len(servers(new_hub, "ivan")) == 1
    token.write_text(new_hub.admin_token + "\n")  # renewed after the units were written
    (tmp_path / "hosts").write_text("somewhere.example.org\n")
    bare = {
        "PATH": "/usr/bin:/bin",
        "ANSIBLE_INVENTORY": str(tmp_path / "hosts"),
        "ANSIBLE_CONFIG": os.environ["ANSIBLE_CONFIG"],
    }
    done = run_service(units / "hubops-idle-culler.service", tmp_path, bare)
    assert done.status == 0, done.output
    assert "stopped: server of user 'ivan'" in done.stdout
    assert (servers(new_hub, "ivan"), len(servers(new_hub, "judy"))) == ({}, 1)
    assert list(done.recap) == ["localhost"]
    assert new_hub.admin_token not in done.output
