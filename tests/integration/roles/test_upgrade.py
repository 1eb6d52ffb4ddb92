# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role upgrade with real hubs: a hub goes from version to version on its own database, and no loss is missed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from junitparser import JUnitXml
from support.hubs import ONE_DATABASE, REPOSITORY, Hub, crash_hub, running_hub, start_crashed_hub, upgrade_hub
from support.playbooks import (
    ProgramResult,
    api_request,
    hub_environment,
    mint,
    oldest_ansible_bin,
    run_playbook,
    servers,
    start_server,
)
from support.waiting import wait_until

STEPS = ("snapshot", "drain", "restore", "compare")
FILES = ["compare.json", "compare.xml", "index.html"]
NOWHERE = "http://127.0.0.1:9/"  # nothing listens at this port
SERVICE = """
c.JupyterHub.services.append({"name": "news", "api_token": "0123456789abcdef0123456789abcdef"})
c.JupyterHub.load_roles = [{"name": "reader", "services": ["news"], "scopes": ["list:users"]}]
"""

_numbers = count(1)


def new_user(hub: Hub) -> str:
    """A user of the hub that no other test has."""
    user = f"upgrade{next(_numbers)}"
    api_request(hub, "POST", f"users/{user}")
    return user


def play(step: str, hub: Hub, folder: Path, *arguments: str, **more: Any) -> ProgramResult:
    """Run a playbook as the hub's admin, for one hub and without an inventory."""
    env = hub_environment(hub, hub.admin_token) | more.pop("env", {})
    return run_playbook(f"hubops.jupyterhub.{step}", *arguments, folder=folder, env=env, **more)


def succeed(step: str, hub: Hub, folder: Path, *arguments: str, **more: Any) -> ProgramResult:
    done = play(step, hub, folder, *arguments, **more)
    assert done.status == 0, done.output
    return done


def read_report(folder: Path) -> dict[str, Any]:
    """The report, whose form is checked."""
    report = json.loads((folder / "upgrade-report/compare.json").read_text())
    schema = json.loads((REPOSITORY / "docs/compare-report.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(report)
    assert isinstance(report, dict)
    return report


def only_row(folder: Path) -> dict[str, Any]:
    [row] = read_report(folder)["hubs"]
    assert isinstance(row, dict)
    return row


def found(folder: Path) -> list[tuple[str, str, str, str]]:
    """The differences on the only hub of the report: severity, kind, name and field."""
    return [(each["severity"], each["kind"], each["name"], each["field"]) for each in only_row(folder)["differences"]]


def fill(hub: Hub) -> None:
    """Give a hub users, tokens, a group, and a named server that does not run."""
    for user in ("alice", "bob", "carol"):
        api_request(hub, "POST", f"users/{user}")
    api_request(hub, "PATCH", "users/alice", {"admin": True})
    api_request(hub, "POST", "groups/staff")
    api_request(hub, "POST", "groups/staff/users", {"users": ["alice", "bob"]})
    api_request(hub, "PUT", "groups/staff/properties", {"quota": 10})
    api_request(hub, "POST", "users/bob/tokens", {"note": "reports", "scopes": ["read:users!user"]})
    api_request(hub, "POST", "users/carol/tokens", {"note": "backup"})
    run_once(hub, "alice", "lab", {"profile": "large", "gpus": 2})


def run_once(hub: Hub, user: str, name: str, options: dict[str, Any]) -> None:
    """Start a named server with these options, and stop it."""
    api_request(hub, "POST", f"users/{user}/servers/{name}", options)
    wait_until(lambda: servers(hub, user)[name]["ready"])
    api_request(hub, "DELETE", f"users/{user}/servers/{name}")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A light hub whose tests run one after the other, and which they may restart."""
    with running_hub(tmp_path_factory.mktemp("hub"), config=ONE_DATABASE + SERVICE) as hub:
        fill(hub)
        yield hub


# From version to version


@pytest.mark.parametrize("way", [("4.1", "5.5", "6.1"), ("5.5", "6.1")], ids="-".join)
def test_an_upgrade_loses_nothing(way: tuple[str, ...], tmp_path: Path) -> None:
    """Real servers survive the first restart, and are drained and restored at the second one."""
    with running_hub(tmp_path, way[0], "server", config=ONE_DATABASE + SERVICE) as hub:
        fill(hub)
        start_server(hub, "bob")
        started = servers(hub, "bob")[""]["started"]
        succeed("snapshot", hub, tmp_path)
        hub = upgrade_hub(hub, way[1])
        done = succeed("compare", hub, tmp_path)
        row = only_row(tmp_path)
        assert row["before"]["version"].startswith(way[0])
        assert row["version"].startswith(way[1])
        assert row["servers"] == {"survived": ["bob"], "restarted": [], "stopped": [], "drained": []}, done.output
        assert servers(hub, "bob")[""]["started"] == started
        assert row["counts"]["lost"] == 0, done.output
        assert ("changed", "version") in [each[:2] for each in found(tmp_path)]
        assert ("changed", "scope") in [each[:2] for each in found(tmp_path)] or way[1] != "6.1"
        for version in way[2:]:
            succeed("snapshot", hub, tmp_path)
            succeed("drain", hub, tmp_path)
            assert servers(hub, "bob") == {}
            hub = upgrade_hub(hub, version)
            done = succeed("compare", hub, tmp_path)
            assert only_row(tmp_path)["servers"]["drained"] == ["bob"]
            assert "missing  bob" in done.stdout
            done = succeed("restore", hub, tmp_path)
            assert "1 restored" in done.stdout
            assert servers(hub, "bob")[""]["ready"]
            succeed("compare", hub, tmp_path)
            assert only_row(tmp_path)["servers"]["restarted"] == ["bob"]


def test_a_hub_that_has_not_changed_has_no_difference(hub: Hub, tmp_path: Path) -> None:
    start_server(hub, new_user(hub))
    succeed("snapshot", hub, tmp_path)
    done = succeed("compare", hub, tmp_path)
    assert found(tmp_path) == []
    assert "PASSED. 1 hub: 1 passed. no difference, report in upgrade-report" in done.stdout


# Losses on purpose


def lose_user(hub: Hub, user: str) -> None:
    api_request(hub, "DELETE", f"users/{user}")


def lose_token(hub: Hub, user: str) -> None:
    tokens = api_request(hub, "GET", f"users/{user}/tokens")["api_tokens"]
    [token] = [each for each in tokens if each["note"] == "reports"]  # the other one is of the user's server
    api_request(hub, "DELETE", f"users/{user}/tokens/{token['id']}")


def lose_group(hub: Hub, user: str) -> None:
    api_request(hub, "DELETE", f"groups/of-{user}")


def lose_membership(hub: Hub, user: str) -> None:
    api_request(hub, "DELETE", f"groups/of-{user}/users", {"users": [user]})


def lose_option(hub: Hub, user: str) -> None:
    run_once(hub, user, "lab", {"profile": "large"})


def lose_named_server(hub: Hub, user: str) -> None:
    api_request(hub, "DELETE", f"users/{user}/servers/lab", {"remove": True})


def lose_running_server(hub: Hub, user: str) -> None:
    api_request(hub, "DELETE", f"users/{user}/server")


LOSSES: list[tuple[Callable[[Hub, str], None], str, str, str]] = [
    (lose_user, "user", "{}", ""),
    (lose_token, "token", "{}/", ""),
    (lose_group, "group", "of-{}", ""),
    (lose_membership, "membership", "{}", "of-{}"),
    (lose_option, "option", "{}/lab", "gpus"),
    (lose_named_server, "server", "{}/lab", ""),
    (lose_running_server, "server", "{}", "running"),
]


@pytest.mark.parametrize(("lose", "kind", "name", "field"), LOSSES, ids=[each[0].__name__ for each in LOSSES])
def test_a_loss_is_found(
    lose: Callable[[Hub, str], None], kind: str, name: str, field: str, hub: Hub, tmp_path: Path
) -> None:
    user = new_user(hub)
    api_request(hub, "POST", f"users/{user}/tokens", {"note": "reports", "scopes": ["read:users!user"]})
    api_request(hub, "POST", f"groups/of-{user}")
    api_request(hub, "POST", f"groups/of-{user}/users", {"users": [user]})
    run_once(hub, user, "lab", {"profile": "large", "gpus": 2})
    start_server(hub, user)
    succeed("snapshot", hub, tmp_path)
    lose(hub, user)
    done = play("compare", hub, tmp_path)
    assert done.status == 2, done.output
    [(severity, *what)] = found(tmp_path)
    assert severity == "lost"
    assert what[0] == kind
    assert what[1].startswith(name.format(user))
    assert what[2] == field.format(user)
    assert only_row(tmp_path)["verdict"] == "failed"
    assert done.stdout.count("localhost  lost     ") == 1
    # What does not fail the role is still shown.
    done = succeed("compare", hub, tmp_path, "-e", "upgrade_fail_on=changed,new")
    assert only_row(tmp_path)["verdict"] == "warned"
    assert "localhost  warned   1 lost" in done.stdout


def test_a_service_that_is_gone_is_found(hub: Hub, tmp_path: Path) -> None:
    succeed("snapshot", hub, tmp_path)
    config = Path(json.loads((hub.state / "parameters.json").read_text())["config"])
    before = config.read_text()
    crash_hub(hub)
    config.write_text(ONE_DATABASE)
    start_crashed_hub(hub)
    done = play("compare", hub, tmp_path)
    assert done.status == 2, done.output
    lost = [each for each in found(tmp_path) if each[0] == "lost"]
    assert ("lost", "service", "news", "") in lost
    assert {each[1] for each in lost} <= {"service", "server", "role"}  # light servers end with their hub
    crash_hub(hub)
    config.write_text(before)
    start_crashed_hub(hub)


@pytest.mark.parametrize(
    ("value", "status"), [("new", 2), ("lost", 0), ("[]", 0), ("lost, changed", 0), ('["new", "lost"]', 2)]
)
def test_what_fails_the_play(value: str, status: int, hub: Hub, tmp_path: Path) -> None:
    succeed("snapshot", hub, tmp_path)
    new_user(hub)
    done = play("compare", hub, tmp_path, "-e", f"upgrade_fail_on='{value}'")
    assert done.status == status, done.output
    assert [each[:2] for each in found(tmp_path)] == [("new", "user")]


def test_a_wrong_severity_is_told(hub: Hub, tmp_path: Path) -> None:
    succeed("snapshot", hub, tmp_path)
    done = play("compare", hub, tmp_path, variables={"upgrade_fail_on": ["gone"]})
    assert done.status == 2
    assert "upgrade_fail_on has 'gone'. Give it a list of lost, changed and new, or []." in done.stdout


# The files


def test_only_the_owner_reads_the_files(hub: Hub, tmp_path: Path) -> None:
    succeed("snapshot", hub, tmp_path)
    succeed("compare", hub, tmp_path)
    folder = tmp_path / "snapshots/localhost"
    [snapshot] = folder.iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z\.json", snapshot.name)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "snapshots", folder, snapshot)] == [
        0o700, 0o700, 0o600,
    ]  # fmt: skip
    report = tmp_path / "upgrade-report"
    assert sorted(file.name for file in report.iterdir()) == FILES
    assert [path.stat().st_mode & 0o777 for path in (report, *report.iterdir())] == [0o700, *[0o600] * 3]
    for file in (snapshot, *report.iterdir()):
        assert hub.admin_token not in file.read_text()


def test_two_snapshots_are_compared_without_a_hub(hub: Hub, tmp_path: Path) -> None:
    succeed("snapshot", hub, tmp_path, "-e", "upgrade_dir=before")
    user = new_user(hub)
    succeed("snapshot", hub, tmp_path, "-e", "upgrade_dir=after")
    env = {"JUPYTERHUB_URL": NOWHERE, "JUPYTERHUB_API_TOKEN": ""}
    folders = ["-e", "upgrade_before=before/localhost", "-e", "upgrade_after=after/localhost"]
    succeed("compare", hub, tmp_path, *folders, env=env)
    assert found(tmp_path) == [("new", "user", user, "")]
    assert only_row(tmp_path)["after"]["path"].startswith(str(tmp_path / "after/localhost"))


def test_the_last_report_is_removed_first(hub: Hub, tmp_path: Path) -> None:
    """No old report looks like a new one, also if the comparison itself fails."""
    folder = tmp_path / "upgrade-report"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text("old")
    done = play("compare", hub, tmp_path)
    assert done.status == 2
    assert "There is no snapshot" in done.stdout
    assert "or check upgrade_dir, upgrade_before and upgrade_after." in done.stdout
    assert (only_row(tmp_path)["not_run"], only_row(tmp_path)["verdict"]) == ("task_failed", "failed")
    assert "was not compared" in (folder / "index.html").read_text()
    (tmp_path / "file").touch()
    done = play("compare", hub, tmp_path, "-e", "upgrade_report_dir=file/report")
    assert done.status == 2
    assert "Compare the hub with its snapshot" not in done.stdout


# Drain and restore


def test_a_drain_and_a_restore_tell_who_is_who(hub: Hub, tmp_path: Path) -> None:
    users = {name: new_user(hub) for name in ("stopped", "kept", "clicks", "leaves", "profile")}
    for user in users.values():
        start_server(hub, user)
    variables = {"upgrade_exclude_users": [users["kept"]], "upgrade_max_stops": 2, "upgrade_rules": [
        {"users": ["upgrade*"], "idle_timeout": 0}, {"keep": True},
    ]}  # fmt: skip
    done = play("drain", hub, tmp_path, variables=variables)
    assert done.status == 2
    assert "upgrade_max_stops (2)" in done.stdout
    assert "would stop" in done.stdout
    assert all(servers(hub, user) for user in users.values())
    done = succeed("drain", hub, tmp_path, variables=variables | {"upgrade_max_stops": ""})
    assert re.search(rf"stays +1  [^:]*exclude[^:]*: {users['kept']}", done.stdout)
    assert [name for name, user in users.items() if servers(hub, user)] == ["kept"]
    start_server(hub, users["clicks"])
    api_request(hub, "DELETE", f"users/{users['leaves']}")
    done = play("restore", hub, tmp_path)
    for outcome, name in (("restored", "stopped"), ("already running", "clicks"), ("user gone", "leaves")):
        assert re.search(rf"localhost  {outcome} +\d+  .*{users[name]}\b", done.stdout), done.stdout
    assert done.status == 0
    assert [name for name, user in users.items() if name != "leaves" and not servers(hub, user)] == []


def test_options_that_are_wrong_are_named_as_variables(hub: Hub, tmp_path: Path) -> None:
    for step, variable in (
        ("drain", "upgrade_idle_timeout=soon"), ("drain", "upgrade_max_stops=many"), ("drain", "upgrade_concurrency=0"),
        ("drain", "upgrade_stop_timeout=soon"), ("restore", "upgrade_wait_timeout=soon"),
        ("compare", "upgrade_slower_share=-1"),
    ):  # fmt: skip
        if step == "restore":
            succeed("drain", hub, tmp_path, "-e", '{"upgrade_rules": [{"keep": true}]}')
        done = play(step, hub, tmp_path, "-e", variable)
        assert done.status == 2, done.output
        [line] = [line for line in done.stdout.splitlines() if "localhost  FAILED" in line]
        assert variable.partition("=")[0] in line


def test_check_mode_changes_nothing(hub: Hub, tmp_path: Path) -> None:
    user = new_user(hub)
    start_server(hub, user)
    succeed("snapshot", hub, tmp_path, "-e", "upgrade_dir=kept")
    before = sorted(tmp_path.rglob("*"))
    for step in STEPS:
        if step == "restore":
            succeed("drain", hub, tmp_path, "-e", "upgrade_dir=kept", "-e", '{"upgrade_rules": [{"keep": true}]}')
            before = sorted(tmp_path.rglob("*"))
        folder = "snapshots" if step in ("snapshot", "drain") else "kept"
        done = succeed(step, hub, tmp_path, "--check", "--diff", "-e", f"upgrade_dir={folder}")
        assert sorted(tmp_path.rglob("*")) == before
        assert servers(hub, user)[""]["ready"]
        assert done.recap["localhost"]["failed"] == 0
        if step == "drain":
            assert f"server of user '{user}' goes" in done.stdout
            assert "would stop" in done.stdout


# The verification


def test_slower_starts_are_found_and_the_page_shows_both(hub: Hub, tmp_path: Path) -> None:
    user = new_user(hub)
    token = mint(hub, user)
    for seconds in (0.5, 4):
        checks = [{"name": "lab", "user_options": {"start_seconds": seconds}}]
        variables = {"verify_checks": checks, "verify_api_token": token}
        succeed("verify", hub, tmp_path, variables=variables)
        if seconds == 0.5:
            succeed("snapshot", hub, tmp_path)
    done = succeed("compare", hub, tmp_path)
    assert ("changed", "start_time", "lab", "seconds") in found(tmp_path)
    [start] = only_row(tmp_path)["starts"]
    assert start["after"] > start["before"] + 2
    page = (tmp_path / "upgrade-report/index.html").read_text()
    assert "Verification: localhost passed" in page
    assert "1 slower" in page
    succeed("compare", hub, tmp_path, "-e", "upgrade_slower_seconds=60")
    assert "start_time" not in [each[1] for each in found(tmp_path)], done.output


# Many hubs


@pytest.mark.parametrize("ansible", ["this ansible-core", "2.16"])
def test_each_host_of_an_inventory_has_its_row(ansible: str, hub_61: Hub, hub_55: Hub, tmp_path: Path) -> None:
    bin_folder = oldest_ansible_bin() if ansible == "2.16" else None
    hosts: dict[str, dict[str, Any]] = {
        name: {"hub_url": each.url, "upgrade_api_token": each.admin_token}
        for name, each in (("good", hub_61), ("loses", hub_55), ("../é /x", hub_61))
    }
    hosts |= {
        "away": {"hub_url": NOWHERE, "upgrade_api_token": "of-no-hub"},
        "unreachable": {
            **hosts["good"], "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9,
        },
        "tolerant": {**hosts["loses"], "upgrade_fail_on": []},
    }  # fmt: skip
    user = new_user(hub_55)
    more: dict[str, Any] = {"folder": tmp_path, "hosts": hosts, "bin_folder": bin_folder}
    done = run_playbook("hubops.jupyterhub.snapshot", **more)
    assert done.status == 2, done.output
    folders = {"good", "loses", "%2E.%2F%C3%A9%20%2Fx", "tolerant"}
    assert {path.parent.name for path in (tmp_path / "snapshots").rglob("*.json")} == folders
    api_request(hub_55, "DELETE", f"users/{user}")
    done = run_playbook("hubops.jupyterhub.compare", **more)
    assert done.status == 2, done.output
    report = read_report(tmp_path)
    assert {row["host"]: (row["verdict"], row["not_run"]) for row in report["hubs"]} == {
        "good": ("passed", None), "loses": ("failed", None), "../é /x": ("passed", None),
        "away": ("failed", "task_failed"), "unreachable": ("failed", "host_unreachable"), "tolerant": ("warned", None),
    }  # fmt: skip
    assert report["counts"]["differences"] == {"lost": 2, "changed": 0, "new": 0}
    failed = {host: numbers["failed"] for host, numbers in done.recap.items()}
    assert failed == {"good": 0, "loses": 1, "away": 1, "unreachable": 1, "tolerant": 0} | {
        host: 0 for host in failed if "x" in host
    }
    suites = {suite.name: suite.failures for suite in JUnitXml.fromfile(str(tmp_path / "upgrade-report/compare.xml"))}
    assert suites == {"good": 0, "loses": 1, "../é /x": 0, "away": 1, "unreachable": 1, "tolerant": 0}
    # Each host has a few lines of output, and the table ends with the totals.
    assert "FAILED. 6 hubs: 3 failed, 1 warned, 2 passed. 2 lost, report in upgrade-report" in done.stdout


def test_each_entry_point_passes_its_verdict_on(hub: Hub, tmp_path: Path) -> None:
    """AWX shows the statistics of a play as the artifacts of its job."""
    start_server(hub, new_user(hub))
    expected = {
        "snapshot": "users", "drain": "stopped", "restore": "restored", "compare": "1 changed",
    }  # fmt: skip
    succeed("snapshot", hub, tmp_path)
    for step, text in expected.items():
        done = succeed(step, hub, tmp_path, env={"ANSIBLE_SHOW_CUSTOM_STATS": "true"})
        shown = done.stdout.partition("CUSTOM STATS: ")[2].partition("RUN: ")[2]
        stats = json.loads(shown)["upgrade"]
        assert stats.keys() == {"verdict", "summary", "left_out", "hubs"}
        assert stats["hubs"]["passed"].keys() == {"localhost"}
        assert text in stats["hubs"]["passed"]["localhost"] or step == "compare"
        assert stats["verdict"] == "passed"


def test_the_role_asks_for_an_entry_point(hub: Hub, tmp_path: Path) -> None:
    playbook = tmp_path / "playbook.json"
    role = {"hosts": "localhost", "gather_facts": False, "roles": ["hubops.jupyterhub.upgrade"]}
    playbook.write_text(json.dumps([role]))
    done = run_playbook(playbook, folder=tmp_path, env=hub_environment(hub, hub.admin_token))
    assert done.status == 2
    assert "snapshot, drain, restore or compare" in done.stdout
