# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_cull.flow: the exact requests of a pass, and its result if something has changed since it was listed."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._cull.flow import CullFlow, CullOptions
from ansible_collections.hubops.jupyterhub.plugins.module_utils._cull.policy import (
    KEEP_CODES,
    Limits,
    MaxCulls,
    Policy,
    Rule,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Conflict, Invalid, MissingScope
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from support.fakes.scripted_hub import API, Exchange, scripted_hub, version
from support.fakes.scripted_hub import user as identity

HOUR = 3600.0
Model = dict[str, Any]


pytestmark = pytest.mark.usefixtures("short_polls")


def ago(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() - seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def server(idle: float = 2 * HOUR, **more: Any) -> Model:
    return {"ready": True, "pending": None, "last_activity": ago(idle), "started": ago(9 * HOUR), "url": "/", **more}


def person(name: str, idle: float = 2 * HOUR, **servers: Model) -> Model:
    """A user; ``default`` is the default server."""
    named = {"" if server == "default" else server: model for server, model in servers.items()}
    return {"name": name, "admin": False, "last_activity": ago(idle), "servers": named}


IDLE = person("alice", default=server())
"""An idle user, whose default server is idle."""


SERVICE: Model = {"kind": "service", "name": "culler", "scopes": ["delete:servers", "delete:users", "list:users"]}
"""The token's owner. A pass reads the owner if something has to go."""


def listed(
    *people: Model, state: str = "active", offset: int = 0, limit: int = 200, following: int | None = None
) -> Exchange:
    after = {"offset": following, "limit": limit, "url": "http://elsewhere/"} if following else None
    return Exchange(
        "GET", f"{API}users?state={state}&offset={offset}&limit={limit}",
        {"items": [*people], "_pagination": {"next": after}},
        headers={"Accept": "application/jupyterhub-pagination+json"},
    )  # fmt: skip


def read(name: str, model: Model | None = None) -> Exchange:
    there = model is not None
    return Exchange("GET", f"{API}users/{quote(name)}", model or {"message": "Not Found"}, status=200 if there else 404)


def looked(name: str, model: Model) -> Exchange:
    return Exchange("GET", f"{API}users/{quote(name)}?include_stopped_servers=1", model)


def delete(path: str, status: int = 204, body: Any = None, answer: Any = None) -> Exchange:
    return Exchange("DELETE", f"{API}users/{path}", answer, status=status, body=body)


def cull(
    *script: Exchange,
    limits: Limits | None = None,
    check_mode: bool = False,
    lines: list[str] | None = None,
    owner: Model | None = None,
    reads_owner: bool = True,
    **how: Any,
) -> Model:
    """Run a pass. After the lists, it reads the token's ``owner``, unless ``reads_owner`` is false."""
    lists = sum("/users?state=" in exchange.url for exchange in script)
    question = [Exchange("GET", API + "user", owner or SERVICE)] if reads_owner else []
    report = (lambda line: None) if lines is None else lines.append
    with scripted_hub(*script[:lists], *question, *script[lists:]) as hub:
        policy = Policy(limits or Limits(HOUR))
        return run(CullFlow(hub, policy, CullOptions(concurrency=1, **how), report), check_mode=check_mode)


def kept(result: Model, noun: str = "kept_count") -> Model:
    assert set(result[noun]) == set(KEEP_CODES)
    return {reason: number for reason, number in result[noun].items() if number}


def names(items: list[Model]) -> list[str]:
    return [f"{item['user']}/{item['server_name']}" if "server_name" in item else item["user"] for item in items]


def test_a_pass_that_finds_nothing_is_one_request() -> None:
    result = cull(listed(person("alice", default=server(60))), reads_owner=False)
    assert result["changed"] is False
    assert (result["culled"], result["failures"], result["actions"]) == ([], [], [])
    assert kept(result) == {"active": 1}
    assert result["summary"].startswith("0 of 1 servers culled, 1 server kept, 0 failed, in 0.")


def test_servers_and_users_are_read_again_before_they_go() -> None:
    empty = person("alice")
    lines: list[str] = []
    result = cull(
        listed(person("gone", 9 * HOUR), state="inactive"), listed(IDLE),
        read("alice", IDLE), delete("alice/server"),
        read("gone", person("gone", 9 * HOUR)), delete("gone"), read("alice", empty), delete("alice"),
        cull_users=True, lines=lines,
    )  # fmt: skip
    assert names(result["culled"]) == ["alice/"]
    assert names(result["users_deleted"]) == ["gone", "alice"]
    assert [(action["verb"], action["object"]) for action in result["actions"]] == [
        ("stop", "server of user 'alice'"), ("delete", "user 'gone'"), ("delete", "user 'alice'")
    ]  # fmt: skip
    assert result["diff"]["before"] == {"servers": 1, "users": 2}
    assert result["diff"]["after"] == {"servers": 0, "users": 0}
    assert result["diff"]["prepared"] == (
        "- server of user 'alice' goes: idle 2 h, limit 1 h\n"
        "- user 'gone' goes: idle 9 h, limit 1 h\n"
        "- user 'alice' goes: idle 2 h, limit 1 h\n"
    )
    assert lines == ["2/2 deleted, 0 failed, 0 pending"]


def test_without_recheck_only_the_list_is_read() -> None:
    people = person("alice", default=server(), lab=server(60)), person("bob", lab=server())
    script = listed(*people), delete("alice/server"), delete("bob/servers/lab", body={"remove": True})
    result = cull(*script, recheck=False, remove_named_servers=True)
    assert names(result["culled"]) == ["alice/", "bob/lab"]
    assert [action["verb"] for action in result["actions"]] == ["stop", "remove"]
    assert set(result["culled"][0]) == {"user", "server_name", "idle_seconds", "age_seconds", "rule", "reason"}
    assert result["culled"][0]["idle_seconds"] in (7200, 7201)
    assert result["culled"][0]["age_seconds"] in (32400, 32401)


def test_check_mode_only_lists_and_says_what_would_go() -> None:
    result = cull(listed(IDLE), check_mode=True)
    assert result["changed"] is True
    assert names(result["culled"]) == ["alice/"]
    assert result["summary"].startswith("1 of 1 servers would be culled, 0 servers kept")


def test_pages_are_read_to_the_end_by_their_offsets() -> None:
    first = listed(person("alice", default=server(60)), limit=2, following=2)
    second = listed(person("bob", default=server(60)), limit=2, offset=2)
    assert kept(cull(first, second, page_size=2, reads_owner=False)) == {"active": 2}


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (person("alice", default=server(5)), "used"),
        (person("alice", default=server(pending="stop")), "pending"),
        (person("alice"), "gone"),
        (None, "gone"),
    ],
)
def test_servers_that_are_no_longer_idle_stay(now: Model | None, reason: str) -> None:
    result = cull(listed(IDLE), read("alice", now))
    assert result["changed"] is False
    assert kept(result) == {reason: 1}
    assert (result["culled"], result["actions"], result["failures"]) == ([], [], [])


def test_an_active_user_stays_although_the_server_is_stopped() -> None:
    # She uses the hub's own pages, and not her server.
    back = {**IDLE, "last_activity": ago(5)}
    result = cull(listed(state="inactive"), listed(IDLE), read("alice", back), delete("alice/server"), cull_users=True)
    assert names(result["culled"]) == ["alice/"]
    assert result["users_deleted"] == []
    assert kept(result, "users_kept_count") == {"used": 1}


def test_a_stop_does_not_count_as_activity_of_the_user() -> None:
    # A hub sets the user's activity at a stop, see the end of `stop` in its user.py.
    two = person("alice", default=server(), lab=server())
    stopped = {**person("alice", lab=server()), "last_activity": ago(0)}
    script = (
        listed(state="inactive"), listed(two), read("alice", two), delete("alice/server"), read("alice", stopped),
        delete("alice/servers/lab"), read("alice", {**person("alice"), "last_activity": ago(0)}), delete("alice"),
    )  # fmt: skip
    assert names(cull(*script, cull_users=True)["users_deleted"]) == ["alice"]


def test_a_user_with_a_server_is_not_deleted() -> None:
    two = person("alice", default=server(), lab=server(60))
    script = listed(state="inactive"), listed(two), read("alice", two), delete("alice/server")
    result = cull(*script, cull_users=True)
    assert kept(result, "users_kept_count") == {"has_servers": 1}
    absent, again = person("bob"), person("bob", default=server(1))
    result = cull(listed(absent, state="inactive"), listed(), read("bob", again), cull_users=True)
    assert kept(result, "users_kept_count") == {"used": 1}
    assert result["changed"] is False


def test_a_slow_stop_is_followed_to_its_end_and_then_the_user_goes() -> None:
    stopping, stopped = server(pending="stop"), server(ready=False, stopped=True)
    result = cull(
        listed(state="inactive"), listed(IDLE), delete("alice/server", 202),
        looked("alice", person("alice", default=stopping)), looked("alice", person("alice", default=stopped)),
        delete("alice"), cull_users=True, recheck=False,
    )  # fmt: skip
    assert (names(result["culled"]), names(result["users_deleted"])) == (["alice/"], ["alice"])


def test_a_stop_without_an_end_fails_and_its_user_stays() -> None:
    looks = [looked("alice", person("alice", default=server(pending="stop")))]
    result = cull(
        listed(state="inactive"), listed(IDLE), delete("alice/server", 202), *looks,
        cull_users=True, recheck=False, stop_timeout=0.000001,
    )  # fmt: skip
    assert result["failed"] is True
    assert result["changed"] is True
    assert result["failure"]["code"] == "timeout"
    assert "longer with stop_timeout" in result["msg"]
    assert kept(result, "users_kept_count") == {"has_servers": 1}
    [item] = result["failures"]
    assert (item["user"], item["server_name"], item["failure"]) == ("alice", "", result["failure"])
    assert result["culled"] == []


def test_a_failed_stop_does_not_prevent_others() -> None:
    people = [person(name, default=server()) for name in ("alice", "bob", "carol", "dave")]
    denied = {"message": "no"}
    result = cull(
        listed(*people), delete("alice/server", 500, answer=denied), delete("bob/server"),
        delete("carol/server", 400, answer=denied), delete("dave/server", 404, answer=denied),
        read("dave", person("dave")), recheck=False,
    )  # fmt: skip
    assert names(result["culled"]) == ["bob/"]
    assert names(result["failures"]) == ["alice/", "carol/"]
    assert kept(result) == {"gone": 1}
    assert result["failed"] is True
    assert result["failure"]["code"] == "hub_error"
    assert result["msg"].startswith("2 could not be culled. The first, server of user 'alice': The hub failed with 500")
    assert result["summary"].startswith("1 of 4 servers culled, 1 server kept, 2 failed")
    assert [action["object"] for action in result["actions"]] == ["server of user 'bob'"]


def test_refused_requests_change_nothing() -> None:
    refused = delete("alice/server", 403, answer={"message": "no"})
    scopes = version(), identity("list:users", "read:servers")
    result = cull(
        listed(IDLE), refused, *scopes, recheck=False, owner={**SERVICE, "scopes": ["delete:servers!user=bob"]}
    )
    assert (result["failed"], result["changed"]) == (True, False)
    assert result["failure"]["code"] == "missing_scope"
    assert "delete:servers" in result["msg"]


def test_names_are_quoted_as_the_hub_does_it() -> None:
    people = [person(name, lab=server()) for name in ("q?r", "a b", "x/y", "ü#%2F")]
    quoted = "q%3Fr", "a%20b", "x%2Fy", "%C3%BC%23%252F"
    stops = [delete(f"{name}/servers/lab") for name in quoted]
    ends = [delete(name) for name in quoted]
    result = cull(listed(state="inactive"), listed(*people), *stops, *ends, recheck=False, cull_users=True)
    assert names(result["users_deleted"]) == ["q?r", "a b", "x/y", "ü#%2F"]


def test_a_name_that_is_another_resource_is_refused() -> None:
    result = cull(listed(person("alice/server"), state="inactive"), listed(), recheck=False, cull_users=True)
    assert (result["failed"], result["changed"], result["failure"]["code"]) == (True, False, "invalid")


def test_a_user_in_both_lists_counts_once() -> None:
    result = cull(
        listed(IDLE, state="inactive"), listed(person("alice", default=server(1))), cull_users=True, reads_owner=False
    )
    assert (kept(result), kept(result, "users_kept_count")) == ({"active": 1}, {"has_servers": 1})


def test_servers_that_are_not_shown_are_not_taken_for_none() -> None:
    bare = {key: value for key, value in IDLE.items() if key != "servers"}
    with pytest.raises(MissingScope) as refused:
        cull(listed(bare), reads_owner=False)
    assert "read:servers" in refused.value.hint
    # A token may read the servers of some users only.
    result = cull(listed(bare, person("bob", default=server(60))), reads_owner=False)
    assert kept(result) == {"hidden": 1, "active": 1}


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_pass_that_would_take_too_many_takes_none(check_mode: bool) -> None:
    people = [person(name, default=server()) for name in ("alice", "bob", "carol")]
    with pytest.raises(Conflict) as refused:
        cull(listed(*people), max_culls=MaxCulls.parse("50%"), check_mode=check_mode)
    assert refused.value.message == (
        "3 of 3 servers would be culled, more than max_culls (50%) allows. Nothing has been done."
    )
    result = refused.value.as_result()
    assert result["changed"] is False
    assert names(result["culled"]) == ["alice/", "bob/", "carol/"]
    # Users and servers are counted separately.
    absent = [person("dave"), person("erin")]
    with pytest.raises(Conflict, match="2 of 2 users"):
        cull(listed(*absent, state="inactive"), listed(), max_culls=MaxCulls.parse("1"), cull_users=True)


@pytest.mark.parametrize("option", ["concurrency", "page_size"])
def test_numbers_below_one_are_refused(option: str) -> None:
    with pytest.raises(Invalid) as refused:
        CullOptions(**{option: 0})
    assert option in refused.value.message


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("lacks", ["delete:servers", "delete:users"])
def test_a_missing_scope_is_reported_before_anything_is_done(lacks: str, check_mode: bool) -> None:
    owner = {**SERVICE, "scopes": [scope for scope in SERVICE["scopes"] if scope != lacks]}
    with pytest.raises(MissingScope) as refused:
        cull(listed(state="inactive"), listed(IDLE), owner=owner, check_mode=check_mode, cull_users=True)
    assert lacks in refused.value.message
    result = refused.value.as_result()
    assert (result["changed"], names(result["culled"])) == (False, ["alice/"])
    assert result["diff"]["prepared"].startswith("- server of user 'alice' goes: ")


def test_a_hub_that_does_not_show_the_token_s_owner() -> None:
    unknown = Exchange("GET", API + "user", {"message": "Not Found"}, status=404)
    result = cull(listed(IDLE), unknown, delete("alice/server"), recheck=False, reads_owner=False)
    assert names(result["culled"]) == ["alice/"]


def test_the_token_s_own_user_is_not_deleted() -> None:
    owner = {**SERVICE, "kind": "user", "name": "alice"}
    result = cull(listed(person("alice"), state="inactive"), listed(), owner=owner, cull_users=True)
    assert (result["changed"], kept(result, "users_kept_count")) == (False, {"own": 1})


def test_without_recheck_an_unknown_server_keeps_its_user() -> None:
    script = listed(state="inactive"), listed(IDLE), delete("alice/server", 404, answer={"message": "no"})
    result = cull(*script, cull_users=True, recheck=False)
    assert (result["changed"], kept(result, "users_kept_count")) == (False, {"has_servers": 1})


def test_a_server_that_somebody_else_has_stopped_keeps_no_user() -> None:
    stopped = person("alice")
    script = listed(state="inactive"), listed(IDLE), read("alice", stopped), read("alice", stopped), delete("alice")
    result = cull(*script, cull_users=True)
    assert kept(result) == {"gone": 1}
    assert names(result["users_deleted"]) == ["alice"]


def test_a_failed_recheck_changes_nothing() -> None:
    failing = Exchange("GET", f"{API}users/alice", {"message": "no"}, status=500)
    result = cull(listed(IDLE), failing)
    assert (result["failed"], result["changed"]) == (True, False)
    sent = cull(listed(IDLE), delete("alice/server", 500, answer={"message": "no"}), recheck=False)
    assert (sent["failed"], sent["changed"]) == (True, True)


def test_auth_state_is_read_user_by_user() -> None:
    gold = Rule("gold", Limits(HOUR), keep=True, properties={"auth_state": {"plan": "gold"}})
    people = [{**person(name, default=server()), "auth_state": None} for name in ("alice", "bob", "carol")]
    states = [{**people[0], "auth_state": {"plan": "gold"}}, {**people[1], "auth_state": None}, None]
    reads = [read(model["name"], state) for model, state in zip(people, states, strict=True)]
    lists, stop = listed(*people), delete("bob/server")
    with scripted_hub(lists, *reads, Exchange("GET", API + "user", SERVICE), stop) as hub:
        flow = CullFlow(hub, Policy(Limits(HOUR), [gold]), CullOptions(concurrency=1, recheck=False), lambda line: None)
        result = run(flow, check_mode=False)
    assert (names(result["culled"]), kept(result)) == (["bob/"], {"rule": 1})


def test_a_name_cannot_write_a_line_of_its_own() -> None:
    name = "x\n- server of user 'root' goes\x1b[2J\u2028"
    result = cull(listed(person("mallory", **{name: server()})), check_mode=True)
    assert result["diff"]["prepared"].splitlines() == [
        "- server 'x\\n- server of user 'root' goes\\x1b[2J\\u2028' of user 'mallory' goes: idle 2 h, limit 1 h"
    ]
    assert result["culled"][0]["server_name"] == name
    assert result["actions"][0]["object"].isprintable()


def test_no_word_of_the_hub_s_forges_a_line_of_the_diff() -> None:
    forged = server(pending="spawn\n- user 'root' goes\x1b[2J\x9b\u202e")
    result = cull(listed(person("alice", default=forged)), reads_owner=False, check_mode=True)
    shown = result["diff"]["prepared"]
    assert [shown.count("\n"), shown.replace("\n", "").isprintable()] == [1, True]
    assert "spawn\\n- user 'root' goes\\x1b[2J" in shown
