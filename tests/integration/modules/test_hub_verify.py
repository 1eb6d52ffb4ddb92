# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hub_verify with light servers: the phases of the hub, of tokens, of starts and stops, and what they leave behind."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from support.fakes.misbehaving_hub import MisbehavingHub
from support.runner import Runner, assert_failed
from support.waiting import wait_until

PHASE_KEYS = {"name", "verdict", "began", "seconds", "message", "failure", "details"}
LEAST_SCOPES = ("read:servers!user", "servers!user", "delete:servers!user", "access:servers!user")


def verdicts(phases: list[dict[str, Any]]) -> dict[str, str]:
    assert all(set(phase) == PHASE_KEYS for phase in phases)
    for phase in phases:
        assert (phase["failure"] is None) is (phase["verdict"] != "failed"), phase
        assert phase["verdict"] == "passed" or phase["message"], phase
    return {phase["name"]: phase["verdict"] for phase in phases}


def phase(part: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in part["phases"] if each["name"] == name)


def only_check(result: dict[str, Any]) -> dict[str, Any]:
    [check] = result["checks"]
    return check


def account(runner: Runner, user: str, scopes: tuple[str, ...] = LEAST_SCOPES, **more: Any) -> Runner:
    """A runner with a token of the user that holds these scopes, as the hub's version names them."""
    names = {"servers": "start:servers"} if runner.hub.version.startswith("6") else {}
    parts = [(scope.partition("!")[0], scope) for scope in scopes]
    scopes = tuple(scope.replace(name, names.get(name, name), 1) for name, scope in parts)
    return runner.with_token(runner.mint(user, *scopes, **more))


def test_a_check_starts_and_stops_the_server_of_the_token_s_owner(any_version: Runner) -> None:
    user = any_version.new_user()
    result = account(any_version, user)("hub_verify", user_options={"start_seconds": 0.6, "start_told": 1})
    assert (result["failed"], result["changed"], result["verdict"]) == (False, True, "passed")
    assert (result["hub"]["version"], result["hub"]["url"]) == (any_version.hub.version, any_version.hub.url)
    assert verdicts(result["hub"]["phases"]) == {"hub": "passed", "token": "passed"}
    check = only_check(result)
    assert verdicts(check["phases"]) == {"start": "passed", "stop": "passed"}
    assert (check["name"], check["user"], check["server_name"]) == (user, user, "")
    assert (check["verdict"], check["failure"], check["server_left"]) == ("passed", None, False)
    assert check["url"].endswith(f"/user/{user}/")
    start, stop = check["phases"]
    assert start["seconds"] >= 0.6
    assert stop["began"] >= start["began"] + start["seconds"] - 0.01
    assert any("Server ready" in event["message"] for event in start["details"]["events"])
    assert start["details"]["user_options"] == {"start_seconds": 0.6, "start_told": 1}
    assert [action["verb"] for action in result["actions"]] == ["start", "stop"]
    assert result["summary"] == [f"hub {any_version.hub.url}: passed", f"{user}: passed in {check['seconds']:.1f} s"]
    assert any_version.servers(user) == {}


@pytest.mark.doors
def test_check_mode_takes_only_what_reads(light: Runner, read_only_hub: MisbehavingHub) -> None:
    user = light.new_user()
    result = light.with_url(read_only_hub.url).check("hub_verify", user=user, login_page=True, persist=True)
    assert (result["failed"], result["changed"], result["verdict"]) == (False, True, "skipped")
    assert verdicts(result["hub"]["phases"]) == {"hub": "passed", "login": "passed", "token": "passed"}
    check = only_check(result)
    assert verdicts(check["phases"]) == dict.fromkeys(("start", "persist", "stop"), "skipped")
    assert "would start, then restart, then stop the server of user" in check["phases"][0]["message"]
    assert [action["verb"] for action in result["actions"]] == ["start", "restart", "stop"]
    assert read_only_hub.writes == []


@pytest.mark.doors
def test_a_start_that_fails_is_explained_by_the_spawner(any_version: Runner) -> None:
    user = any_version.new_user()
    # The start fails when the task has got all events.
    options = {"fail": "no node with a GPU", "start_seconds": 0.6, "start_told": 1}
    result = any_version("hub_verify", user=user, user_options=options)
    assert_failed(result, "spawn_failed", f"The phase start of check '{user}' failed", "no node with a GPU")
    check = only_check(result)
    assert verdicts(check["phases"])["start"] == "failed"
    assert check["failure"]["code"] == "spawn_failed"
    assert phase(check, "start")["details"]["events"]
    assert "no node with a GPU" in result["summary"][1]
    assert check["server_left"] is False
    assert any_version.servers(user) == {}


@pytest.mark.doors
def test_a_start_that_never_ends_is_stopped(light: Runner) -> None:
    user = light.new_user()
    result = light("hub_verify", user=user, user_options={"never": True}, wait_timeout="2s", terminal=True)
    assert_failed(result, "timeout", "wait_timeout", "was not ready after 2 s")
    check = only_check(result)
    assert verdicts(check["phases"]) == {"start": "failed", "terminal": "skipped", "stop": "passed"}
    assert light.servers(user) == {}


def test_a_slow_start_is_a_warning(light: Runner) -> None:
    result = light("hub_verify", user=light.new_user(), user_options={"start_seconds": 1.2}, warn_after="1s")
    assert (result["failed"], result["verdict"], only_check(result)["verdict"]) == (False, "warned", "warned")
    assert "longer than warn_after" in result["summary"][1]


# What ran before


@pytest.mark.doors
def test_a_server_that_runs_is_left_alone_unless_the_task_says_otherwise(light: Runner) -> None:
    user = light.new_user()
    assert light("hub_server", user=user)["changed"]
    before = light.servers(user)[""]["started"]
    result = light("hub_verify", user=user)
    assert_failed(result, "conflict", "is ready already", "if_running", "server_name")
    assert verdicts(only_check(result)["phases"]) == {"start": "failed", "stop": "skipped"}
    checked = light.check("hub_verify", user=user)
    assert_failed(checked, "conflict", "is ready already")
    used = light("hub_verify", user=user, if_running="use")
    assert (used["failed"], used["changed"], used["verdict"]) == (False, False, "passed")
    assert "left running" in phase(only_check(used), "stop")["message"]
    assert light.servers(user)[""]["started"] == before
    persisted = light("hub_verify", user=user, if_running="use", persist=True)
    assert_failed(persisted, "conflict", "ran before this check", "persist")
    assert light.servers(user)[""]["started"] == before
    stopped = light("hub_verify", user=user, if_running="stop")
    assert (stopped["verdict"], stopped["changed"]) == ("passed", True)
    assert [action["verb"] for action in stopped["actions"]] == ["stop", "start", "stop"]
    assert light.servers(user) == {}


def test_the_server_can_be_kept(light: Runner) -> None:
    user = light.new_user()
    assert light("hub_verify", user=user, keep_running=True)["verdict"] == "passed"
    assert light.servers(user)[""]["ready"]


def test_a_server_that_others_start_first_is_left_alone(light: Runner, gate: Path) -> None:
    """The second task on this machine says so at once. A start by the API is found when it comes first."""
    user = light.new_user()
    first: list[dict[str, Any]] = []
    options = {"user": user, "user_options": {"start_gate": str(gate)}}
    thread = threading.Thread(target=lambda: first.append(light("hub_verify", **options)))
    thread.start()
    wait_until(lambda: light.servers(user))
    for if_running in ("stop", "use"):
        second = light("hub_verify", user=user, if_running=if_running)
        assert_failed(second, "conflict", "Another task on this machine", "no two runs")
        assert second["changed"] is False
    checks = [{"user": user, "api_token": "0123456789abcdef"}, {"user": user, "if_running": "stop"}]
    after_bad_account = light("hub_verify", checks=checks)
    assert "Another task on this machine" in after_bad_account["checks"][1]["failure"]["message"]
    assert_failed(light("hub_verify", user=user), "conflict", "is pending already")
    gate.touch()
    thread.join()
    assert first[0]["verdict"] == "passed"
    assert light.servers(user) == {}


# Many checks


def test_checks_of_one_server_take_turns_and_others_run_at_once(light: Runner) -> None:
    users = [light.new_user() for _number in range(3)]
    checks = [{"user": user, "user_options": {"start_seconds": 1.5}} for user in users]
    checks += [{"user": users[0], "user_options": {"start_seconds": 0.1}, "name": "again"}]
    checks += [{"user": users[0]}, {"user": users[0], "server_name": "named"}]
    result = light("hub_verify", checks=checks)
    assert result["verdict"] == "passed", result["summary"]
    names = [users[0], users[1], users[2], "again", f"{users[0]} (2)", f"{users[0]}/named"]
    assert [check["name"] for check in result["checks"]] == names
    first, second, third, again, last, named = result["checks"]
    assert again["began"] >= first["began"] + first["seconds"] - 0.01
    assert last["began"] >= again["began"] + again["seconds"] - 0.01
    for each in (second, third, named):
        assert each["began"] < first["began"] + first["seconds"]


def test_a_check_that_fails_stops_no_other(light: Runner) -> None:
    good, bad = light.new_user(), light.new_user()
    checks = [{"user": bad, "user_options": {"fail": "boom"}}, {"user": good, "if_running": "stop"}]
    result = light("hub_verify", checks=checks, concurrency=1)
    assert_failed(result, "spawn_failed", "boom")
    assert [check["verdict"] for check in result["checks"]] == ["failed", "passed"]


def test_fifty_checks_at_once(light: Runner) -> None:
    users = [light.new_user() for _number in range(50)]
    result = light("hub_verify", checks=[{"user": user} for user in users], concurrency=50)
    assert result["verdict"] == "passed", [line for line in result["summary"] if "passed" not in line]
    assert all(light.servers(user) == {} for user in users)


# The hub


def test_the_hub_and_its_token_without_a_check(light: Runner) -> None:
    result = light("hub_verify", checks=[], login_page=True, expected_version=">=6.1,<7")
    assert (result["failed"], result["changed"], result["verdict"], result["checks"]) == (False, False, "passed", [])
    assert verdicts(result["hub"]["phases"]) == {"hub": "passed", "login": "passed", "token": "passed"}
    nobody = light.with_token("")("hub_verify", checks=[])
    assert verdicts(nobody["hub"]["phases"]) == {"hub": "passed"}


@pytest.mark.parametrize("expected", ["5.5", "6.1.", "6", "6.1.10", ">=5,<6", "==6.1.0"])
def test_another_version_fails_its_phase_and_the_checks_go_on(light: Runner, expected: str) -> None:
    result = light("hub_verify", user=light.new_user(), expected_version=expected)
    if expected == "6":
        assert result["verdict"] == "passed"
        return
    assert_failed(result, "conflict", "The phase hub failed", "JupyterHub 6.1.", f"expected was {expected}")
    assert only_check(result)["verdict"] == "passed"


def test_a_hub_that_does_not_answer_ends_everything(light: Runner) -> None:
    result = light.with_url("http://127.0.0.1:1/")("hub_verify", user="alice", login_page=True, services=["x"])
    assert_failed(result, "unreachable", "The phase hub failed", "hub_url")
    skipped = {"hub": "failed", "login": "skipped", "services": "skipped", "token": "skipped"}
    assert verdicts(result["hub"]["phases"]) == skipped
    assert set(verdicts(only_check(result)["phases"]).values()) == {"skipped"}
    assert (result["hub"]["version"], result["changed"]) == ("", False)


def test_services_that_do_not_answer(light: Runner) -> None:
    result = light("hub_verify", checks=[], services=["admin", "no-such-service"])
    assert_failed(result, "hub_error", "The phase services failed", "no-such-service: the hub has no such service")
    found = phase(result["hub"], "services")["details"]["services"]
    assert [service["name"] for service in found] == ["admin", "no-such-service"]


# Tokens


@pytest.mark.doors
def test_missing_scopes_are_all_named_before_anything_starts(light: Runner) -> None:
    user, other = light.new_user(), light.new_user()
    poor = account(light, user, ("read:servers!user", "servers!user"))
    result = poor("hub_verify", checks=[{}, {"server_name": "x"}, {"user": other, "api_token": light.hub.admin_token}])
    assert_failed(result, "missing_scope", "The phase token failed")
    token = phase(result["hub"], "token")
    servers = [f"{user}/", f"{user}/x"]
    missing = [f"{name}!server={server}" for server in servers for name in ("delete:servers", "access:servers")]
    assert sorted(token["details"]["accounts"][0]["missing_scopes"]) == sorted(missing)
    assert all(scope in token["message"] for scope in missing)
    assert [check["verdict"] for check in result["checks"]] == ["skipped", "skipped", "passed"]
    assert "phase token failed" in result["checks"][0]["phases"][0]["message"]


def test_a_service_s_token_needs_a_user(light: Runner) -> None:
    result = light("hub_verify")
    assert_failed(result, "invalid", "service 'admin', which has no servers", "Set user")


def test_a_wrong_token(light: Runner) -> None:
    result = light.with_token("0123456789abcdef")("hub_verify")
    assert_failed(result, "unauthorized", "The phase token failed", "hub_token")
    assert only_check(result)["name"] == "check 1"


def test_a_token_that_ends_soon_is_a_warning(light: Runner) -> None:
    user = light.new_user()
    shown = account(light, user, (*LEAST_SCOPES, "read:tokens!user"), expires_in=3600)
    assert shown("hub_verify", token_min_ttl="30m")["verdict"] == "passed"
    warned = shown("hub_verify", token_min_ttl="2h")
    assert (warned["failed"], warned["verdict"], warned["hub"]["verdict"]) == (False, "warned", "warned")
    assert "sooner than token_min_ttl" in warned["summary"][0]
    hidden = account(light, user)("hub_verify", token_min_ttl="2h")
    assert (hidden["verdict"], "read:tokens" in hidden["summary"][0]) == ("warned", True)


def test_a_token_that_ends_in_the_middle_is_replaced_by_the_task_s_to_stop_the_server(
    light: Runner, gate: Path
) -> None:
    user = light.new_user()
    token = light.mint(user, "read:servers!user", "start:servers!user", "delete:servers!user", "access:servers!user")
    results: list[dict[str, Any]] = []
    check = {"api_token": token, "user_options": {"start_gate": str(gate)}}
    thread = threading.Thread(target=lambda: results.append(light("hub_verify", checks=[check])))
    thread.start()
    wait_until(lambda: light.servers(user))
    [token_id] = [each["id"] for each in light.tokens(user) if each["note"] == "of a test"]
    assert light.api_request("DELETE", f"users/{user}/tokens/{token_id}").status_code == 204
    gate.touch()
    thread.join()
    [result] = results
    assert_failed(result, "unauthorized", "The phase start of check")
    assert verdicts(only_check(result)["phases"]) == {"start": "failed", "stop": "passed"}
    assert only_check(result)["server_left"] is False
    assert light.servers(user) == {}


# Wrong options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"expected_version": "<>7"}, ("expected_version", "'<>7'")),
        ({"concurrency": 0}, ("concurrency",)),
        ({"checks": [{"api_token": ""}]}, ("The token of a check is empty",)),
        ({"checks": [{"name": "a"}, {"name": "a"}]}, ("Two checks have the name a",)),
        ({"wait_timeout": "soon"}, ("wait_timeout", "'soon'")),
        ({"tls_min_days": 3}, ("tls_min_days", "https")),
        ({"services": ["../users"]}, ("services", "'../users'")),
        ({"user": ".."}, ("'..' is not a valid name",)),
        ({"packages": ["numpy >= x"]}, ("packages", "numpy >= x")),
        ({"resources": {"memory": "much"}}, ("resources.memory", "'much'")),
        ({"code": [{"code": "1", "expect": {"stdout": {"matches": "("}}}]}, ("matches", "regular expression")),
        ({"notebooks": [{"path": "x.ipynb", "content": "no JSON"}]}, ("'x.ipynb' is not a notebook",)),
        ({"page": ["/../../hub/admin"]}, ("page",)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_options_fail_before_anything_starts(light: Runner, options: dict[str, Any], words: Any) -> None:
    user = light.new_user()
    result = light("hub_verify", **{"user": user, **options})
    assert_failed(result, "invalid", *words)
    assert result["changed"] is False


@pytest.mark.doors
def test_a_notebook_that_the_controller_does_not_have(light: Runner) -> None:
    result = light("hub_verify", user="alice", notebooks=[{"path": "no-such.ipynb"}])
    assert result["failed"]
    assert "no-such.ipynb" in result["msg"]


def test_lines_of_progress_name_hub_check_and_phase(hub_61: Any) -> None:
    runner = Runner("controller", hub_61)
    good, bad = runner.new_user(), runner.new_user()
    checks = [{"user": good, "name": "good"}, {"user": bad, "name": "bad", "user_options": {"fail": "boom"}}]
    place = hub_61.url.partition("://")[2].rstrip("/")
    shown = runner.run([runner.task("hub_verify", checks=checks)]).stderr
    assert f"{place} hub: The hub runs JupyterHub 6.1." in shown
    assert f"{place} good start: The server was ready after" in shown
    assert f"{place} bad start: The server of user '{bad}' did not start: boom." in shown
    quiet = runner.run([runner.task("hub_verify", checks=checks, show_progress=False)]).stderr
    assert f"{place} bad start: The server" in quiet
    assert "good start" not in quiet
