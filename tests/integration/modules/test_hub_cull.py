# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hub_cull on real hubs with light servers. A pass is over a whole hub, so each test has an empty one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.fakes.misbehaving_hub import html_page, misbehaving_hub
from support.hub_clock import CLOCK_CONFIG, HOUR, empty_hub, let_time_pass
from support.hubs import Hub, HubPool, running_hub
from support.runner import Runner, assert_failed
from support.waiting import wait_until

# For a server in use: a hub accepts an activity of up to an hour in the future.
AHEAD = timedelta(minutes=50)
HOLD = {"start_timeout": 600}
"""Options of a start that waits at a gate, so that it does not time out."""

DOORS = [pytest.param((door, "6.1"), id=f"{door}-6.1", marks=pytest.mark.doors) for door in ("controller", "module")]
OLDER = [pytest.param(("program", version), id=f"program-{version}") for version in ("5.5", "4.1")]


@pytest.fixture(params=[*DOORS, *OLDER])
def runner(request: pytest.FixtureRequest, pool: HubPool) -> Iterator[Runner]:
    """An empty hub of each supported version in turn, the newest through both doors."""
    for version in ("6.1", "5.5", "4.1"):
        pool.start(version, config=CLOCK_CONFIG)
    door, version = request.param
    yield from _emptied_before_and_after(Runner(door, pool.get(version, config=CLOCK_CONFIG)))


@pytest.fixture
def newest(pool: HubPool) -> Iterator[Runner]:
    """An empty hub of the newest version, for tests in which neither the door nor the version matters."""
    yield from _emptied_before_and_after(Runner("program", pool.get(config=CLOCK_CONFIG)))


def _emptied_before_and_after(runner: Runner) -> Iterator[Runner]:
    empty_hub(runner.hub)  # another test file may have left users
    try:
        yield runner
    finally:
        empty_hub(runner.hub)


def start(runner: Runner, user: str, name: str = "", **options: Any) -> str:
    """Start a server, without waiting for it. Returns its user."""
    body = {"user_options": options} if runner.hub.version.startswith("6") else options
    answer = runner.api_request("POST", f"users/{user}/servers/{name}" if name else f"users/{user}/server", body)
    assert answer.status_code in (201, 202), answer.text
    if "start_gate" not in options:
        wait_until(lambda: (runner.servers(user).get(name) or {}).get("ready"))
    return user


def use(runner: Runner, user: str, name: str = "") -> None:
    """Report an activity of the server in the future."""
    stamp = (datetime.now(timezone.utc) + AHEAD).isoformat()
    answer = runner.api_request("POST", f"users/{user}/activity", {"servers": {name: {"last_activity": stamp}}})
    assert answer.status_code == 200, answer.text


def use_hub(runner: Runner, user: str) -> None:
    stamp = (datetime.now(timezone.utc) + AHEAD).isoformat()
    assert runner.api_request("POST", f"users/{user}/activity", {"last_activity": stamp}).status_code == 200


def stop_in_background(runner: Runner, user: str, gate: Path, meanwhile: Callable[[], Any]) -> threading.Thread:
    """In a thread: wait until the user's server is stopping, call ``meanwhile``, and open the gate."""

    def wait() -> None:
        try:
            wait_until(lambda: (runner.servers(user).get("") or {}).get("pending") == "stop", 120)
            meanwhile()
        finally:
            gate.touch()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def running(runner: Runner) -> set[str]:
    return {f"{user['name']}/{name}" for user in runner.api_request("GET", "users").json() for name in user["servers"]}


def names(items: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{item['user']}/{item['server_name']}" if "server_name" in item else item["user"] for item in items]


def kept(result: dict[str, Any], noun: str = "kept_count") -> dict[str, int]:
    return {reason: number for reason, number in result[noun].items() if number}


def test_idle_servers_are_culled(runner: Runner, tmp_path: Path) -> None:
    idle, used, starting, both = runner.new_user(), runner.new_user(), runner.new_user(), runner.new_user()
    gate = {"start_gate": str(tmp_path / "go"), **HOLD}
    start(runner, idle)
    start(runner, used)
    start(runner, both)
    start(runner, both, "lab")
    start(runner, starting)
    start(runner, starting, "slow", **gate)
    only = start(runner, runner.new_user(), **gate)
    let_time_pass(runner.hub, 2 * HOUR)
    use(runner, used)
    use(runner, both)
    assert running(runner) == {
        f"{idle}/",
        f"{used}/",
        f"{both}/",
        f"{both}/lab",
        f"{starting}/",
        f"{starting}/slow",
        f"{only}/",
    }
    # If check mode had changed something, the pass would find less.
    options = {"idle_timeout": "1h", "remove_named_servers": True}
    one = runner.task("hub_cull", **options)
    foreseen, done, again = runner.run([runner.task("hub_cull", {"check_mode": True}, **options), one, one]).results
    assert running(runner) == {f"{used}/", f"{both}/", f"{starting}/slow", f"{only}/"}
    assert names(done["culled"]) == names(foreseen["culled"]) == [f"{idle}/", f"{starting}/", f"{both}/lab"]
    for result in (foreseen, done):
        assert result["changed"] is True
        assert kept(result) == {"active": 2, "pending": 2}
        assert [action["verb"] for action in result["actions"]] == ["stop", "stop", "remove"]
        assert (result["failures"], result["users_deleted"]) == ([], [])
        assert result["culled"][0]["rule"] is None
        assert result["culled"][0]["reason"].startswith("idle 2 h")
        assert result["culled"][0]["reason"].endswith(", limit 1 h")
    assert foreseen["summary"].startswith("3 of 7 servers would be culled, 4 servers kept, 0 failed, in ")
    assert done["summary"].startswith("3 of 7 servers culled, 4 servers kept, 0 failed, in ")
    # Removed, not only stopped.
    assert "lab" not in runner.api_request("GET", f"users/{both}?include_stopped_servers=1").json()["servers"]
    assert (again["changed"], again["culled"], kept(again)["active"]) == (False, [], 2)


def test_users_are_deleted_after_their_servers_stop(runner: Runner, tmp_path: Path) -> None:
    with_server, without, slow, admin, used, back = (runner.new_user(admin=number == 3) for number in range(6))
    start(runner, with_server)
    start(runner, slow, stop_gate=str(tmp_path / "go"))
    start(runner, used, "lab")
    let_time_pass(runner.hub, 2 * HOUR)
    use(runner, used, "lab")
    use_hub(runner, back)
    options = {"idle_timeout": "1h", "cull_users": True, "cull_admin_users": False}
    one = runner.task("hub_cull", **options)
    # It takes longer to stop than the hub waits with its answer, which is then 202.
    logged = len(runner.hub.log.read_text())
    thread = stop_in_background(
        runner,
        slow,
        tmp_path / "go",
        lambda: wait_until(lambda: f"{slow}: server is slow to stop" in log(runner, logged), 60),
    )
    foreseen, done, again = runner.run([runner.task("hub_cull", {"check_mode": True}, **options), one, one]).results
    thread.join()
    assert {user["name"] for user in runner.api_request("GET", "users").json()} == {admin, used, back}
    for result in (foreseen, done):
        assert set(names(result["culled"])) == {f"{with_server}/", f"{slow}/"}
        assert set(names(result["users_deleted"])) == {with_server, without, slow}
        assert kept(result, "users_kept_count") == {"active": 1, "admin": 1, "has_servers": 1}
    assert again["changed"] is False


def log(runner: Runner, position: int) -> str:
    """What the hub has logged since this position."""
    return runner.hub.log.read_text()[position:]


def test_a_server_that_is_used_after_the_list_was_read_is_kept(runner: Runner, tmp_path: Path) -> None:
    slow, used, removed = runner.new_user(), runner.new_user(), runner.new_user()
    start(runner, slow, stop_gate=str(tmp_path / "go"))
    start(runner, used)
    start(runner, removed)
    let_time_pass(runner.hub, 2 * HOUR)

    def meanwhile() -> None:
        # The first server is stopping, so the list has been read.
        use(runner, used)
        runner.api_request("DELETE", f"users/{removed}/server")

    thread = stop_in_background(runner, slow, tmp_path / "go", meanwhile)
    done = runner("hub_cull", idle_timeout="1h", concurrency=1)
    thread.join()
    assert names(done["culled"]) == [f"{slow}/"]
    assert kept(done) == {"used": 1, "gone": 1}
    assert running(runner) == {f"{used}/"}
    assert [action["object"] for action in done["actions"]] == [f"server of user '{slow}'"]


def test_a_server_that_does_not_stop_fails_the_pass(runner: Runner, tmp_path: Path) -> None:
    slow, quick = runner.new_user(), runner.new_user()
    start(runner, slow, stop_gate=str(tmp_path / "go"))
    start(runner, quick)
    let_time_pass(runner.hub, 2 * HOUR)
    done = runner("hub_cull", idle_timeout="1h", stop_timeout="2s", cull_users=True)
    assert_failed(done, "timeout", f"server of user '{slow}'", "stop_timeout")
    assert done["changed"] is True
    assert names(done["culled"]) == [f"{quick}/"]
    assert names(done["users_deleted"]) == [quick]
    assert names(done["failures"]) == [f"{slow}/"]
    assert done["failures"][0]["failure"] == done["failure"]
    assert kept(done, "users_kept_count") == {"has_servers": 1}
    assert "1 failed" in done["summary"]


def test_a_pass_over_its_limit_culls_nothing(runner: Runner) -> None:
    users = [start(runner, runner.new_user()) for _number in range(2)]
    let_time_pass(runner.hub, 2 * HOUR)
    use(runner, users[0])
    refused, foreseen, done = runner.run(
        [
            runner.task("hub_cull", idle_timeout="1h", max_culls="49%"),
            runner.task("hub_cull", {"check_mode": True}, idle_timeout="1h", max_culls=0),
            # Both servers are still there: one of two is half of them.
            runner.task("hub_cull", idle_timeout="1h", max_culls="50%"),
        ]
    ).results
    for result in (refused, foreseen):
        assert_failed(result, "conflict", "1 of 2 servers", "max_culls")
        assert result["changed"] is False
        assert names(result["culled"]) == [f"{users[1]}/"]
    assert done["summary"].startswith("1 of 2 servers culled")
    assert names(done["culled"]) == [f"{users[1]}/"]


def test_rules(newest: Runner) -> None:
    runner = newest
    teacher, gpu, admin, other, member = (runner.new_user(admin=number == 2) for number in range(5))
    assert runner("hub_user", user=teacher, groups=["teachers"], create_groups=True)["changed"]
    start(runner, teacher)
    start(runner, gpu, profile="gpu-large")
    start(runner, gpu, "lab", profile="cpu")
    start(runner, admin)
    start(runner, other)
    start(runner, member, "batch-7")
    let_time_pass(runner.hub, 2 * HOUR)
    rules = [
        {"name": "teachers", "groups": ["teach*"], "keep": True},
        {"name": "gpu", "user_options": {"profile": "gpu-*"}, "max_age": "1h", "idle_timeout": "never"},
        {"name": "batch", "servers": ["batch-*"], "idle_timeout": "1d"},
        {"name": "admins", "admins": True, "idle_timeout": "1d"},
        {"name": "no such role", "properties": {"roles": "nobody"}, "keep": True},
    ]
    done = runner("hub_cull", idle_timeout="1h", rules=rules)
    assert names(done["culled"]) == [f"{gpu}/", f"{gpu}/lab", f"{other}/"]
    assert [item["rule"] for item in done["culled"]] == ["gpu", None, None]
    assert done["culled"][0]["reason"].startswith("age 2 h")
    assert done["culled"][0]["reason"].endswith(", limit 1 h, rule gpu")
    assert kept(done) == {"rule": 1, "active": 2}
    runner("hub_cull", idle_timeout="1h", exclude_users=["*"])
    assert running(runner) == {f"{teacher}/", f"{admin}/", f"{member}/batch-7"}


def test_least_scopes(runner: Runner) -> None:
    bot, idle = runner.new_user(), start(runner, runner.new_user())
    let_time_pass(runner.hub, 2 * HOUR)
    least = ("list:users", "read:users:activity", "read:servers", "delete:servers")

    def culls(*scopes: str, **options: Any) -> dict[str, Any]:
        options = {"idle_timeout": "1h", "exclude_users": [bot], **options}
        return replace(runner, door="program", token=runner.mint("admin-of-tests", *scopes))("hub_cull", **options)

    assert runner.api_request("POST", "users/admin-of-tests", {"admin": True}).status_code == 201
    assert_failed(culls(*least[1:]), "missing_scope", "list:users")
    assert_failed(culls("list:users", "read:users:activity"), "missing_scope", "read:servers")
    missing = culls(*least[:3])
    assert_failed(missing, "missing_scope", "delete:servers")
    assert (missing["changed"], names(missing["culled"])) == (False, [f"{idle}/"])
    asks = {"rules": [{"groups": ["a"], "keep": True}]}
    assert_failed(culls(*least, **asks), "missing_scope", "read:users:groups")
    assert kept(culls(*least, "read:users:groups", max_culls="100%", **asks)) == {}
    assert running(runner) == set()
    let_time_pass(runner.hub, 2 * HOUR, idle)  # the stop counts as an activity of the user
    assert_failed(culls(*least, cull_users=True), "missing_scope", "delete:users")
    assert names(culls(*least, "delete:users", cull_users=True)["users_deleted"]) == [idle]


@pytest.mark.parametrize("recheck", [True, False])
def test_a_token_for_some_of_the_users(runner: Runner, recheck: bool) -> None:
    """The hub answers 404 for servers and users that the token may see, and may not stop or delete."""
    mine, other = (start(runner, runner.new_user()) for _user in range(2))
    bystander = runner.new_user()
    let_time_pass(runner.hub, 2 * HOUR)
    assert runner.api_request("POST", "users/admin-of-tests", {"admin": True}).status_code == 201
    deletes = (f"delete:servers!user={mine}", f"delete:users!user={mine}")
    scopes = ("list:users", "read:users", "read:servers", *deletes)
    some = runner.with_token(runner.mint("admin-of-tests", *scopes))
    done = some("hub_cull", idle_timeout="1h", recheck=recheck, cull_users=True)
    assert_failed(done, "missing_scope", "'delete:servers' does not cover", other)
    assert (names(done["culled"]), running(runner)) == ([f"{mine}/"], {f"{other}/"})
    failed = {(each["user"], each["server_name"], each["failure"]["code"]) for each in done["failures"]}
    assert failed == {(other, "", "missing_scope"), (bystander, None, "missing_scope")}


@pytest.mark.parametrize("runner", DOORS, indirect=True)
def test_output(runner: Runner) -> None:
    """Check mode shows the reasons, and the controller's door shows a progress line."""
    idle, used = start(runner, runner.new_user()), start(runner, runner.new_user())
    start(runner, used, "lab")
    let_time_pass(runner.hub, 2 * HOUR)
    use(runner, used)
    looks = runner.run([runner.task("hub_cull", {"check_mode": True}, idle_timeout="1h")], arguments=["--diff"])
    assert f"- server of user '{idle}' goes: idle 2 h" in looks.stdout
    assert f"- server 'lab' of user '{used}' goes: idle 2 h" in looks.stdout
    assert f"  server of user '{used}' stays: idle 0 s, limit 1 h" in looks.stdout
    done = runner.run([runner.task("hub_cull", idle_timeout="1h")])
    assert ("2/2 culled, 0 failed, 0 pending" in done.stderr) is (runner.door == "controller")


BAD = {
    "a negative timeout": ({"idle_timeout": "-5"}, "idle_timeout"),
    "no timeout": ({"idle_timeout": "0"}, "idle_timeout"),
    "a negative age": ({"max_age": "-1h"}, "max_age"),
    "an unknown key": ({"idle_time": "1h"}, "idle_time"),
    "an unknown key of a rule": ({"rules": [{"user": ["a"], "keep": True}]}, "user"),
    "keep and a limit": ({"rules": [{"keep": True, "idle_timeout": "1h"}]}, "Rule 1"),
    "a rule without an effect": ({"rules": [{"users": ["a"]}]}, "Rule 1"),
    "a rule that matches nothing": ({"rules": [{"users": [], "keep": True}]}, "users"),
    "a rule after one for all": ({"rules": [{"keep": True}, {"name": "x", "max_age": "1h"}]}, "rule x"),
    "a name twice": ({"rules": [{"name": "x", "users": ["a"], "keep": True}, {"name": "x", "keep": True}]}, "'x'"),
    "more than all": ({"max_culls": "200%"}, "max_culls"),
    "a negative number": ({"max_culls": "-1"}, "max_culls"),
    "nobody at a time": ({"concurrency": 0}, "concurrency"),
    "empty pages": ({"page_size": 0}, "page_size"),
    "no time to stop": ({"stop_timeout": "0s"}, "stop_timeout"),
    "a word for a switch": ({"cull_users": "perhaps"}, "cull_users"),
}


@pytest.mark.doors
def test_a_bad_policy_fails_before_any_request(door: str) -> None:
    with misbehaving_hub(html_page) as fake:
        runner = Runner(door, Hub(fake.url, "6.1", "t0ken", *[None] * 3))  # type: ignore[arg-type]
        results = runner.run([runner.task("hub_cull", **options) for options, _word in BAD.values()]).results
        assert fake.requests == []
    for (name, (_options, word)), result in zip(BAD.items(), results, strict=True):
        assert result["failed"] is True, name
        assert word in result["msg"], name
        assert "traceback" not in result["msg"].lower(), name


def test_a_hub_with_internal_ssl(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As jupyterhub-idle-culler with --ssl-enabled: at the hub's own address, with the hub's own certificates."""
    folder = tmp_path_factory.mktemp("internal-ssl")
    certificates = folder / "certs"
    config = f"""{CLOCK_CONFIG}
c.JupyterHub.internal_ssl = True
c.JupyterHub.internal_certs_location = {str(certificates)!r}
c.ConfigurableHTTPProxy.api_url = c.ConfigurableHTTPProxy.api_url.replace("http:", "https:")
c.JupyterHub.hub_bind_url = c.JupyterHub.hub_bind_url.replace("http:", "https:")
"""
    with running_hub(folder, spawner="server", config=config) as hub:
        inner = f"https://127.0.0.1:{hub.ports['hub']}/hub/api"
        runner = Runner("program", hub)
        user = start(runner, runner.new_user())
        let_time_pass(hub, 2 * HOUR)
        trusting = {"hub_url": inner, "ca_path": str(certificates / "hub-ca" / "hub-ca.crt"), "idle_timeout": "1h"}
        assert_failed(runner("hub_cull", **trusting), "tls")
        owned = certificates / "hub-internal"
        certified = {"client_cert": str(owned / "hub-internal.crt"), "client_key": str(owned / "hub-internal.key")}
        assert names(runner("hub_cull", **trusting, **certified)["culled"]) == [f"{user}/"]
        assert running(runner) == set()
