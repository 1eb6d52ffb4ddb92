# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the role upgrade: each host has its row, and what people and programs read of it is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.upgrade_files import FILES, file_content
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.upgrade_report import (
    STEPS,
    collect,
    read_hosts,
)
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.upgrade_summary import (
    FEWEST_LINES,
    MOST_LINES,
    host_failure,
    stats,
    table,
)
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_stats import LONGEST_STATS
from support import upgrade_results as sample
from support.verify_results import HOSTILE_TEXTS

SCHEMA = json.loads((Path(__file__).resolve().parents[4] / "docs/compare-report.schema.json").read_text())


def row_of(result: Any, step: str, **more: Any) -> dict[str, Any]:
    facts = {"result": result, "hub_url": "https://given.example.org/", "fail_on": more.pop("fail_on", ["lost"])}
    [row] = collect({"host": facts}, step, 0, **more)["hubs"]
    return row


# The rows


@pytest.mark.parametrize("name", sample.COMPARISONS)
def test_each_comparison_has_the_form_of_the_schema(name: str) -> None:
    report = sample.COMPARISONS[name]()
    text = file_content(report, "compare.json")
    assert text.isascii()
    read = json.loads(text)
    for hub in read["hubs"]:
        del hub["differences"][100:]  # to validate thousands takes long
    jsonschema.Draft202012Validator(SCHEMA).validate(read)


def test_the_schema_knows_each_key() -> None:
    report = sample.each_kind()
    for value, schema in ((report, SCHEMA), (report["hubs"][1], SCHEMA["$defs"]["hub"])):
        assert value.keys() == {*schema["required"]} == schema["properties"].keys()


@pytest.mark.parametrize("step", STEPS)
def test_each_host_has_its_row(step: str) -> None:
    results = {
        "invalid": {"failed": True, "msg": "hub_url is wrong."}, "away": sample.UNREACHABLE_HOST, "missing": None,
        "left-out": sample.SKIPPED_TASK,
    }  # fmt: skip
    report = sample.report_of(results, step)
    found = {hub["host"]: (hub["verdict"], hub["not_run"]) for hub in report["hubs"]}
    assert found == {
        "invalid": ("failed", "task_failed"), "away": ("failed", "host_unreachable"),
        "missing": ("failed", "no_result"), "left-out": ("skipped", "task_skipped"),
    }  # fmt: skip
    assert report["verdict"] == "failed"
    assert "hub_url is wrong." in report["hubs"][0]["message"]
    lines = table(report)
    assert [line.split()[0] for line in lines] == ["left-out", "invalid", "away", "missing", "FAILED."]
    assert {host for hosts in stats(report)["hubs"].values() for host in hosts} == results.keys()
    for host, result in results.items():
        hostvars = {host: {f"upgrade_{step}_result": result}}
        assert bool(host_failure(host, hostvars, step)) == (host != "left-out")


def test_a_loss_fails_a_hub_and_a_change_does_not() -> None:
    assert row_of(sample.compared(), "compare")["verdict"] == "passed"
    assert row_of(sample.with_losses(), "compare")["verdict"] == "failed"
    assert row_of(sample.with_losses(), "compare", fail_on=[])["verdict"] == "warned"
    assert row_of(sample.compared(), "compare", fail_on="changed,new")["verdict"] == "failed"


def test_a_wrong_severity_fails_each_hub_and_hides_nothing() -> None:
    row = row_of(sample.compared(), "compare", fail_on=["gone"])
    assert row["verdict"] == "failed"
    assert row["message"].startswith("upgrade_fail_on has 'gone'.")
    assert row["counts"] == {"lost": 0, "changed": 1, "new": 0}


def test_an_unknown_severity_is_a_loss() -> None:
    result = sample.compared(sample.difference("new", "user", "x", "x"))
    result["differences"][-1]["severity"] = "vanished"
    assert row_of(result, "compare")["counts"] == {"lost": 1, "changed": 1, "new": 0}


def test_the_numbers_are_those_of_the_differences() -> None:
    """And not those that the module counts, which nobody could check in the report."""
    result = sample.of_a_fleet(3000) | {"counts": {"lost": 0, "changed": 0, "new": 0}}
    row = row_of(result, "compare")
    assert row["counts"] == {"lost": 3000, "changed": 3001, "new": 3000}
    assert len(row["differences"]) == 9001
    assert len(row["servers"]["drained"]) == 3000


def test_each_variable_is_read_for_its_host() -> None:
    hostvars = {
        "own": {"upgrade_compare_result": sample.with_losses(), "upgrade_fail_on": [], "hub_url": "https://own/"},
        "given": {"upgrade_compare_result": sample.with_losses()},
    }
    hosts = read_hosts(hostvars, hostvars, "compare", "https://given/", ["lost"])
    assert hosts["own"] == {"result": sample.with_losses(), "hub_url": "https://own/", "fail_on": []}
    assert hosts["given"] == {"result": sample.with_losses(), "hub_url": "https://given/", "fail_on": ["lost"]}
    assert host_failure("own", hostvars, "compare", "", ["lost"]) == ""
    assert host_failure("given", hostvars, "compare", "", ["lost"]) == (
        "https://hub.example.org/ is not as it was (4 lost, 5 changed, 1 new): lost: User 'bob' is gone, with 2 tokens "
        "and 1 server. And 3 more."
    )


def test_a_wrong_severity_is_the_culprit_and_not_the_hub() -> None:
    hostvars = {"hub": {"upgrade_compare_result": sample.with_losses()}}
    assert host_failure("hub", hostvars, "compare", "", ["lots"]) == (
        "There is no verdict on https://hub.example.org/: upgrade_fail_on has 'lots'. Give it a list of lost, changed "
        "and new, or []."
    )
    for result in (sample.with_losses(), sample.compared()):
        line = table(sample.report_of({"hub": result}, "compare", fail_on=["lots"]))[0]
        assert line.endswith(". upgrade_fail_on has 'lots'. Give it a list of lost, changed and new, or [].")


def test_a_result_of_another_step_says_nothing() -> None:
    hostvars = {"hub": {"upgrade_snapshot_result": sample.snapshot()}}
    assert host_failure("hub", hostvars, "snapshot") == ""
    assert "before its turn" in host_failure("hub", hostvars, "drain")


# What people read


def test_what_is_lost_comes_first() -> None:
    lines = table(sample.report_of({"teaching": sample.with_losses()}), "upgrade-report")
    words = [line.split()[1] for line in lines[1:-1]]
    assert words == ["lost"] * 4 + ["changed"] * 5 + ["new", "servers", "missing", "unknown"]
    assert lines[0] == (
        "teaching  FAILED   4 lost, 5 changed, 1 new, JupyterHub 5.5.4 -> 6.1.1, snapshot of 2026-11-26T18:00:00Z"
    )
    assert "teaching  changed  Check 'lab': the server took 4.1 s to start and takes 9.7 s now, 137% more." in lines
    assert "teaching  missing  alice, bob/lab, frank" in lines
    assert lines[-1] == "FAILED. 1 hub: 1 failed. 4 lost, 5 changed, 1 new, report in upgrade-report"


def test_many_differences_are_few_lines_and_each_is_counted() -> None:
    lines = table(sample.report_of({"teaching": sample.of_a_fleet(5000)}))
    assert len(lines) < 12
    [lost] = [line for line in lines if " lost     " in line]
    shown = lost.partition("times: ")[2]
    assert lost.startswith("teaching  lost     user, 5000 times: student-00000, student-00001")
    assert shown.count("student-") + int(shown.split()[-2]) == 5000


def test_a_fleet_has_a_line_for_each_hub_that_passed() -> None:
    report = sample.hundred_hubs()
    lines = table(report)
    assert sum(" passed   " in line for line in lines) == 97
    assert len(lines) < 100 + MOST_LINES
    assert [line.split()[1] for line in lines[:97]] == ["passed"] * 97
    assert lines[97].split()[1] == "FAILED"


def test_each_bad_hub_has_some_lines_and_says_what_is_left_out() -> None:
    results = {f"hub-{number}": sample.with_losses() for number in range(200)}
    lines = table(sample.report_of(results))
    of_last = [line for line in lines if line.startswith("hub-199 ")]
    assert len(of_last) == 1 + FEWEST_LINES
    assert of_last[-1].endswith("and 10 more lines")


@pytest.mark.parametrize("name", sample.COMPARISONS)
def test_the_statistics_are_short(name: str) -> None:
    report = sample.COMPARISONS[name]()
    found = stats(report)
    assert found.keys() == {"verdict", "summary", "left_out", "hubs"}
    assert found["verdict"] == report["verdict"]
    assert sum(map(len, found["hubs"].values())) + found["left_out"] == report["counts"]["hubs"]["total"]
    assert len(json.dumps(found)) <= LONGEST_STATS


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_no_text_of_others_begins_a_line(text: str) -> None:
    reports = [
        sample.report_of({text: sample.hostile_comparison(text)}),
        sample.report_of({"hub": sample.snapshot() | {"path": text, "unreadable": [{"name": text, "scope": text}]}},
                         "snapshot"),
        *(sample.report_of({"hub": sample.hostile_servers(text)}, step) for step in ("drain", "restore")),
    ]  # fmt: skip
    for report in reports:
        for line in [*table(report, text), *(hub["message"] for hub in report["hubs"])]:
            assert line.isprintable()
            assert len(line) < 5000
        for name in FILES:
            if report["step"] == "compare":
                file_content(report, name).encode()


@pytest.mark.parametrize("value", [None, 7, "x", [], {}, [None], [7], [[]], {"a": 1}, float("nan"), [{"user": 7}]])
def test_a_result_of_another_form_is_read(value: Any) -> None:
    results = {
        "compare": sample.with_losses(), "drain": sample.drained(), "restore": sample.restored(),
        "snapshot": sample.snapshot(),
    }  # fmt: skip
    for step, whole in results.items():
        for key in whole:
            report = sample.report_of({"hub": whole | {key: value}}, step)
            json.dumps(report, allow_nan=False)
            assert table(report)
            stats(report)


def test_what_was_not_compared_is_a_warning() -> None:
    """Something may be lost in it. But nobody has to verify a hub."""
    hidden, unverified = ({"name": name, "message": "why"} for name in ("tokens", "verification"))
    row = row_of(sample.compared() | {"not_compared": [hidden, unverified]}, "compare")
    assert (row["verdict"], row["message"]) == ("warned", "Not compared: tokens.")
    assert row_of(sample.compared() | {"not_compared": [unverified]}, "compare")["verdict"] == "passed"


# Snapshots, drains and restores


def test_a_server_that_has_stopped_since_an_earlier_restore_is_a_warning() -> None:
    servers = [{"user": "ann", "server_name": "lab", "outcome": "restored", "state": "stopped", "reason": "x"}]
    row = row_of({"servers": servers}, "restore")
    assert (row["verdict"], row["message"]) == ("warned", "1 server was restored before, and stopped since then.")
    assert [(group["outcome"], group["servers"]) for group in row["groups"]] == [("stopped since", ["ann/lab"])]


def test_a_drain_that_does_not_see_every_server_is_a_warning() -> None:
    hidden = [{"name": "users", "scope": "list:users", "message": "The token may read only some of the users."}]
    row = row_of({"drained": [], "unreadable": hidden}, "drain")
    assert (row["verdict"], row["message"]) == ("warned", "The token may read only some of the users.")
    kept = [{"user": "ann", "server_name": "", "keep_code": "hidden", "reason": "the token may not read it"}]
    row = row_of({"drained": [], "kept": kept}, "drain")
    assert (row["verdict"], row["message"]) == ("warned", "the token may not read it")


def test_a_snapshot_says_what_is_not_in_it() -> None:
    row = row_of(sample.snapshot(), "snapshot")
    assert (row["verdict"], row["message"]) == ("passed", "")
    routes = {"name": "routes", "scope": "proxy", "message": "The token may not read it."}
    row = row_of(sample.snapshot() | {"unreadable": [routes]}, "snapshot")  # they are not compared
    assert (row["verdict"], row["unreadable"]) == ("passed", [routes])
    hidden = [{"name": "users.admin", "scope": "admin:users", "message": "The token may not read it."}]
    row = row_of(sample.snapshot() | {"unreadable": hidden}, "snapshot")
    assert row["verdict"] == "warned"
    assert "users.admin" in row["message"]
    lines = table(sample.report_of({"hub": sample.snapshot() | {"unreadable": hidden}}, "snapshot"))
    assert lines[2] == "hub  users.admin: The token may not read it, which needs admin:users"
    assert lines[-1] == "WARNED. 1 hub: 1 warned. 1 snapshot"


def test_a_drain_says_who_was_stopped_and_who_stays_and_why() -> None:
    lines = table(sample.report_of({"hub": sample.drained()}, "drain"))
    assert lines == [
        "hub  FAILED   12 stopped, 3 stays, 1 gone, 1 started meanwhile, 1 failed. 1 of 18 servers failed.",
        f"hub  stopped              12  {', '.join(f'user-{number:02}' for number in range(11))},",
        "hub                           user-11/lab",
        "hub  stays                 2  excluded: monitor-bot, verify-bot",
        "hub  stays                 1  idle 4 min, limit 1 h: alice",
        "hub  gone                  1  bob",
        "hub  started meanwhile     1  carol",
        "hub  failed                1  The server did not stop within 2 min: dave/gpu",
        "FAILED. 1 hub: 1 failed. Servers: 12 stopped, 3 stays, 1 gone, 1 started meanwhile, 1 failed",
    ]


def test_five_hundred_servers_are_few_lines() -> None:
    for step, result in (("drain", sample.drained(500)), ("restore", sample.restored(500))):
        lines = table(sample.report_of({"hub": result}, step))
        assert len(lines) < 20
        assert all(len(line) < 250 for line in lines)
        assert any(line.endswith(" more") for line in lines)


def test_what_was_not_done_is_not_said_to_be_done() -> None:
    """In check mode, and if the drain is refused."""
    assert row_of(sample.drained(), "drain", is_check_mode=True)["groups"][0]["outcome"] == "would stop"
    refused = {**sample.drained(), "failures": [], "changed": False, "started_meanwhile": []}
    row = row_of(refused, "drain")
    assert (row["verdict"], row["groups"][0]["outcome"]) == ("failed", "would stop")
    assert row_of(sample.restored(), "restore", is_check_mode="True")["groups"][0]["outcome"] == "would start"
    before = {**sample.restored(), "servers": [{"user": "alice", "outcome": "restored", "changed": False}]}
    for mode in ("True", "False"):  # an earlier run has restored it
        assert row_of(before, "restore", is_check_mode=mode)["groups"][0]["outcome"] == "done before"


def test_a_hub_without_servers_is_said_to_have_none() -> None:
    idle = {**sample.drained(0), "kept": [], "gone": [], "started_meanwhile": [], "failures": [], "failure": None}
    assert table(sample.report_of({"hub": idle}, "drain"))[0] == "hub  passed   no server"


def test_a_server_that_was_started_meanwhile_is_a_warning() -> None:
    result = sample.drained() | {"failures": [], "failure": None}
    row = row_of(result, "drain")
    assert (row["verdict"], row["message"]) == ("warned", "1 server was started meanwhile. Run this again.")


def test_a_restore_tells_who_is_who() -> None:
    lines = table(sample.report_of({"hub": sample.restored()}, "restore"))
    assert lines[1:] == [
        "hub  restored            1  user-10",
        "hub  already running     1  Somebody has started it meanwhile: user-01",
        "hub  user gone           1  user-02",
        "hub  profile gone        1  There is no profile 'gpu': user-03",
        "hub  failed              1  There is no room: user-04",
        "FAILED. 1 hub: 1 failed. Servers: 1 restored, 1 already running, 1 user gone, 1 profile gone, 1 failed",
    ]
    row = row_of({**sample.restored(), "failure": None, "failed": False}, "restore")
    assert row["verdict"] == "warned"
    assert "1 server has a profile" in row["message"]
