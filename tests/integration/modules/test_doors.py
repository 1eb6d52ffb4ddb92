# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task does the same through both doors."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support.hubs import Hub
from support.playbooks import ansible_bin
from support.runner import DOORS, Runner, TaskResults, assert_failed, run_streaming, runner_environment

pytestmark = pytest.mark.doors
MODULES = ("hub_exec", "hub_group", "hub_info", "hub_server", "hub_token", "hub_user")
# What differs in each run, or shows that the module is another program.
VOLATILE = {
    "seconds", "created", "last_activity", "expires_at", "started", "token", "token_id", "id", "ansible_facts",
    "ansible_parsed",
}  # fmt: skip


def without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_volatile(item) for key, item in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [without_volatile(item) for item in value]
    return value


def run_through_both(hub: Hub, tasks: list[dict[str, Any]], **more: Any) -> tuple[TaskResults, TaskResults]:
    controller, module = (Runner(door, hub).run(tasks, **more) for door in DOORS)
    return controller, module


def test_each_door_runs_its_own_code(light: Runner) -> None:
    ran = light.run([light.task("hub_info")], arguments=["-vvv"])
    assert ("Using module file" in ran.stdout) is (light.door == "module")


def test_the_same_results(hub_61: Hub) -> None:
    runner = Runner("controller", hub_61)
    user, weak = runner.new_user(), runner.with_token(runner.mint(runner.new_user(), "read:users:name!user"))
    removed = {"user": f"of-both-{user}", "state": "absent"}
    tasks = [
        runner.task("hub_info", gather=["services", "groups"], require_scopes=["list:users"]),
        runner.task("hub_info", api_token=""),
        runner.task("hub_user", user=removed["user"]),
        runner.task("hub_user", {"diff": True}, user=removed["user"], admin="yes"),
        runner.task("hub_user", {"check_mode": True}, **removed),
        runner.task("hub_user", **removed),
        runner.task("hub_group", {"diff": True}, name=f"of-{user}", users=[user], properties={"a": [1, None]}),
        runner.task("hub_group", groups=[{"name": f"of-{user}", "state": "absent"}, {"name": f"of-{user}/2"}]),
        runner.task("hub_group", groups=[{"name": f"of-{user}/2", "state": "absent"}, {"name": "x", "users": ["no"]}]),
        runner.task("hub_info", gather=["all"], users=["x"]),
        runner.task("hub_group", name="x", groups=[]),
        runner.task("hub_token", user=user, note="of both doors", scopes="read:users:name!user"),
        runner.task("hub_token", user=user, note="of both doors", state="absent", expires_in=5),
        runner.task("hub_server", user=user, server_name="lab", user_options={"a": [1, {"b": None}]}),
        runner.task("hub_server", user=user, server_name="lab", state="absent"),
        runner.task("hub_server", user=user, server_name="fails", user_options={"fail": "no node is free"}),
        # So that the second door does not find the options of the first one.
        runner.task("hub_server", user=user, server_name="fails", state="absent"),
        runner.task("hub_exec", user=user, code="1"),
        weak.task("hub_user", user=user, admin=True),
        # Tasks that Ansible itself refuses
        runner.task("hub_user"),
        runner.task("hub_user", user=user, colour="red"),
        runner.task("hub_user", user=user, state="gone"),
        runner.task("hub_token", user=user, note="x"),
        runner.task("hub_info", gather="users,nothing"),
        runner.task("hub_server", user={"a": "dictionary"}),
    ]
    controller, module = run_through_both(hub_61, tasks)
    for ours, theirs, task in zip(controller.results, module.results, tasks, strict=True):
        # The events of a start depend on how long each request takes.
        for result in (ours, theirs):
            for server in result.get("servers") or []:
                server.pop("events", None)
        revoked = [result.pop("revoked", None) or [] for result in (ours, theirs)]
        assert len(revoked[0]) == len(revoked[1])
        ours, theirs = (without_token_ids(without_volatile(result)) for result in (ours, theirs))
        assert ours == theirs, task


def without_token_ids(result: dict[str, Any]) -> dict[str, Any]:
    """The result without the ids of tokens in `diff` and `actions`: each door minted its own token."""
    for picture in (result.get("diff") or {}).values():
        if "tokens" in picture:
            picture["tokens"] = len(picture["tokens"])
    for action in result.get("actions") or []:
        if action["verb"] == "revoke":
            action["object"] = "token"
    return result


def test_invocation_is_masked_the_same(hub_61: Hub) -> None:
    runner = Runner("controller", hub_61)
    wrong = {"user": "x", "wait_timeout": "0"}
    tasks = [
        runner.task("hub_info"),
        runner.task("hub_server", **wrong),
        runner.task("hub_user", colour=runner.hub.admin_token),
    ]
    # Since ansible-core 2.21, results have the invocation only with this setting.
    controller, module = run_through_both(hub_61, tasks, arguments=["-vvv"], env={"ANSIBLE_INJECT_INVOCATION": "1"})
    ours, theirs = (shown_invocations(ran.stdout) for ran in (controller, module))
    assert len(ours) == len(tasks)
    assert ours == theirs
    assert ours[0]["module_args"]["api_token"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    for ran in (controller, module):
        assert hub_61.admin_token not in ran.output
        assert hub_61.admin_token not in str(ran.results)


def shown_invocations(stdout: str) -> list[dict[str, Any]]:
    """The options as -vvv shows them. Registered results do not have them."""
    found = re.findall(r'"invocation": (\{.*?\n    \})', stdout, re.S)
    return [json.loads(each) for each in found]


def test_a_secret_is_masked_everywhere(light: Runner) -> None:
    token = light.hub.admin_token
    user = light.new_user()
    ran = light.run(
        [light.task("hub_server", user=user, user_options={"fail": f"the key {token} is wrong"})], arguments=["-vvv"]
    )
    assert "the key ******** is wrong" in ran.results[0]["msg"]
    assert token not in ran.output


def test_a_password_in_the_address_is_in_no_registered_result(light: Runner) -> None:
    scheme, _separator, rest = light.hub.url.partition("://")
    task = light.task("hub_info", hub_url=f"{scheme}://bob:a-password@{rest}")
    for env in ({}, {"ANSIBLE_INJECT_INVOCATION": "1"}):
        ran = light.run([task], arguments=["-vvv"], env=env)
        assert ran.results[0]["failed"] is True
        assert "a-password" not in str(ran.results)
        assert "a-password" not in ran.output


def test_ansible_masks_a_minted_token_in_what_it_shows(light: Runner) -> None:
    """ansible-core 2.22 can, in the output of all tasks. Older ones show a result as it is."""
    mint = light.task("hub_token", user=light.new_user(), note="ci", scopes=["read:users:name!user"])
    ran = light.run([mint], arguments=["-v"])
    secret = ran.results[0]["token"]
    assert len(secret) > 20
    python = [ansible_bin() / "python", "-c", "import ansible.module_utils.secrets"]
    can_mask = subprocess.run(python, check=False, capture_output=True).returncode == 0
    assert (secret in ran.output) is not can_mask
    assert ("$REDACTED$" in ran.output) is can_mask


def test_no_deprecated_part_of_ansible_is_used(light: Runner, tmp_path: Path) -> None:
    user = light.new_user()
    tasks = [
        light.task("hub_info"),
        light.task("hub_token", user=user, note="ci", scopes=["read:users:name!user"], path=str(tmp_path / "token")),
        light.task("hub_server", user=user),
        light.task("hub_server", user=user, state="stopped"),
        light.task("hub_user", user=user, colour="red"),
        light.task("hub_user", user="nobody-of-that-name", state="present", admin="perhaps"),
    ]
    ran = light.run(tasks, env={"ANSIBLE_DEPRECATION_WARNINGS": "1"})
    assert [result["failed"] for result in ran.results] == [False] * 4 + [True] * 2
    assert "deprecat" not in ran.output.lower()
    for result in ran.results:
        assert "deprecations" not in result


def test_no_log_on_the_task(light: Runner) -> None:
    task = light.task("hub_token", {"no_log": True}, user=light.new_user(), note="ci", scopes=["read:users:name!user"])
    ran = light.run([task], arguments=["-vvv"])
    secret = ran.results[0]["token"]
    assert secret
    assert secret not in ran.output


def test_module_defaults_of_the_group(light: Runner) -> None:
    connection = {"hub_url": light.hub.url, "api_token": light.hub.admin_token}
    user = light.new_user()
    options = {
        "hub_exec": {"user": user, "code": "1"},
        "hub_group": {"name": f"of-{user}", "users": [user]},
        "hub_info": {},
        "hub_server": {"user": user, "state": "stopped"},
        "hub_token": {"user": user, "note": "x", "state": "absent"},
        "hub_user": {"user": user},
    }
    tasks = [{f"hubops.jupyterhub.{module}": options[module]} for module in MODULES]
    ran = light.run(tasks, play={"module_defaults": {"group/hubops.jupyterhub.hub": connection}})
    assert_failed(ran.results[0], "conflict")
    for result in ran.results[1:]:
        assert not result["failed"], result["msg"]


def test_a_task_that_takes_too_long(light: Runner) -> None:
    user = light.new_user()
    began = time.monotonic()
    ran = light.run([light.task("hub_server", {"timeout": 2}, user=user, user_options={"never": True})])
    assert time.monotonic() - began < 100  # it would wait for 300
    assert ran.results[0]["failed"] is True
    assert "2" in ran.results[0]["msg"]
    light.api_request("DELETE", f"users/{user}/server")


def test_async(light: Runner) -> None:
    user = light.new_user()
    started, missing = light.run(
        [
            light.task("hub_server", {"async": 60, "poll": 1}, user=user, user_options={"start_seconds": 0.5}),
            light.task("hub_server", {"async": 60, "poll": 1}, user="nobody"),
        ]
    ).results
    assert started["servers"][0]["state"] == "ready"
    assert started["finished"]
    assert_failed(missing, "not_found", "nobody")
    assert set(light.servers(user)) == {""}


def test_async_status(light: Runner) -> None:
    user = light.new_user()
    later = light.task("hub_server", {"async": 60, "poll": 0}, user=user, user_options={"start_seconds": 0.5})
    look = {
        "ansible.builtin.async_status": {"jid": "{{ result_0.ansible_job_id }}"},
        "until": "result_1 is finished",
        "retries": 400,
        "delay": 0.2,
    }
    _started, found = light.run([later, look]).results
    assert found["servers"][0]["state"] == "ready"


def test_delegated_to_the_controller(hub_61: Hub) -> None:
    runner = Runner("module", hub_61)
    task = runner.task("hub_info", {"delegate_to": "localhost"})
    ran = runner.run([task], arguments=["-vvv"])
    assert ran.results[0]["token"]["name"] == "admin"
    assert "Using module file" not in ran.stdout


def test_ad_hoc(hub_61: Hub, tmp_path: Path) -> None:
    """Without a playbook and without an inventory, as in the README."""
    env = {"JUPYTERHUB_URL": hub_61.url, "JUPYTERHUB_API_TOKEN": hub_61.admin_token}
    command = ["ansible", "localhost", "-m", "hubops.jupyterhub.hub_info", "-a", "gather=users"]
    ran = run_streaming(command, runner_environment(tmp_path, env))
    assert ran.status == 0, ran.output
    assert f'"version": "{hub_61.version}"' in ran.stdout
    assert hub_61.admin_token not in ran.output
