# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_cull.policy: what is idle, and which policies are refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._cull.policy import (
    KEEP_CODES,
    Decision,
    Limits,
    MaxCulls,
    Policy,
    Rule,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import HubError, Invalid, MissingScope
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import User
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.times import format_duration

NOW = 1_800_000_000.0
HOUR = 3600.0


def ago(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(NOW - seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def server(idle: float | None = 0, age: float | None = 0, **more: Any) -> dict[str, Any]:
    return {"ready": True, "pending": None, "last_activity": ago(idle), "started": ago(age), **more}


def user(name: str = "alice", idle: float | None = 0, age: float | None = None, **more: Any) -> dict[str, Any]:
    model = {"name": name, "admin": False, "groups": [], "last_activity": ago(idle), **more}
    return model if age is None else {**model, "created": ago(age)}


def as_user(model: dict[str, Any]) -> User:
    return User.from_model(model, str)


def rule(number: int = 1, **item: Any) -> Rule:
    nothing = dict.fromkeys(
        ("name", "users", "groups", "servers", "admins", "user_options", "properties", "idle_timeout", "max_age")
    )
    return Rule.from_options(number, {**nothing, "keep": False, **item}, Limits(HOUR, 10 * HOUR))


def decide_server(policy: Policy, name: str = "", *, owner: dict[str, Any] | None = None, **more: Any) -> Decision:
    model = as_user({**(owner or user()), "servers": {name: server(**more)}})
    assert model.servers
    return policy.decide_server(model, model.servers[name], NOW)


ONE_HOUR = Policy(Limits(HOUR))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min 59 s"), (3600, "1 h"),
     (11520, "3 h 12 min"), (11525, "3 h 12 min"), (3605, "1 h"), (86400, "1 d"), (90000, "1 d 1 h"),
     (100 * 86400, "100 d")],
)  # fmt: skip
def test_a_span_has_at_most_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("idle", "age", "limits", "kept", "reason"),
    [
        (HOUR, 0, Limits(HOUR), "", "idle 1 h, limit 1 h"),
        (HOUR - 1, HOUR, Limits(HOUR), "active", "idle 59 min 59 s, limit 1 h"),
        # Without an activity, the time counts from the start.
        (None, HOUR, Limits(HOUR), "", "idle 1 h, limit 1 h"),
        (None, None, Limits(HOUR), "unknown", "the hub does not show the time that a limit needs"),
        (None, None, Limits(None), "active", "there is no limit"),
        (0, 2 * HOUR, Limits(HOUR, 2 * HOUR), "", "age 2 h, limit 2 h"),
        (0, 2 * HOUR, Limits(None, 2 * HOUR), "", "age 2 h, limit 2 h"),
        (HOUR, 2 * HOUR, Limits(HOUR, 2 * HOUR), "", "idle 1 h, limit 1 h"),
        (60, 120, Limits(HOUR, 2 * HOUR), "active", "idle 1 min, limit 1 h, age 2 min, limit 2 h"),
        (60, None, Limits(None, 2 * HOUR), "unknown", "the hub does not show the time that a limit needs"),
        (0, 0, Limits(HOUR, HOUR), "active", "idle 0 s, limit 1 h, age 0 s, limit 1 h"),
        # A clock that is behind the hub's.
        (-60, 0, Limits(HOUR), "active", "idle 0 s, limit 1 h"),
        # Nothing stays idle for no time, whatever the clocks say.
        (0, 60, Limits(0), "", "idle 0 s"),
        (60, 60, Limits(0), "", "idle 1 min"),
        (-60, 0, Limits(0), "", "idle 0 s"),
        (None, None, Limits(0), "", "it runs"),
    ],
)
def test_a_server_goes_when_a_limit_is_reached(
    idle: float | None, age: float | None, limits: Limits, kept: str, reason: str
) -> None:
    decision = decide_server(Policy(limits), idle=idle, age=age)
    assert (decision.keep_code, decision.reason, decision.has_to_go) == (kept, reason, not kept)
    assert not kept or kept in KEEP_CODES


@pytest.mark.parametrize(
    ("name", "policy", "more", "kept", "reason"),
    [
        ("", {}, {"pending": "stop"}, "pending", "its stop is pending"),
        ("", {}, {"pending": "spawn", "ready": False}, "pending", "its spawn is pending"),
        ("", {"takes_pending": True}, {"pending": "spawn", "ready": False}, "", "idle 1 d, limit 1 h"),
        ("", {"takes_pending": True}, {"pending": "check"}, "", "idle 1 d, limit 1 h"),
        ("", {"takes_pending": True}, {"pending": "stop"}, "pending", "its stop is pending"),
        ("", {"takes_pending": True}, {"ready": False}, "not_ready", "it is not ready"),
        ("", {}, {"ready": False}, "not_ready", "it is not ready"),
        ("", {"exclude_users": ["ali*"]}, {}, "excluded", "its user is excluded"),
        ("", {"exclude_users": ["Ali*"]}, {}, "", "idle 1 d, limit 1 h"),
        ("", {"cull_default_servers": False}, {}, "switched_off", "default servers are not culled"),
        ("lab", {"cull_default_servers": False}, {}, "", "idle 1 d, limit 1 h"),
        ("lab", {"cull_named_servers": False}, {}, "switched_off", "named servers are not culled"),
        # The switch for users has no effect on servers.
        ("", {"cull_admin_users": False}, {}, "", "idle 1 d, limit 1 h"),
    ],
)
def test_some_servers_stay_whatever_the_limits(
    name: str, policy: dict[str, Any], more: dict[str, Any], kept: str, reason: str
) -> None:
    # Both limits are reached: a switch applies to both.
    decision = decide_server(Policy(Limits(HOUR, HOUR), **policy), name, idle=24 * HOUR, age=24 * HOUR, **more)
    assert (decision.keep_code, decision.reason) == (kept, reason)


ALICE = user(
    groups=["teachers", "staff"],
    admin=True,
    roles=["user", "grader"],
    auth_state={"org": {"unit": "physics"}, "n": 5, "none": None, "text": "None"},
)
OPTIONS = {"profile": "gpu-large", "nodes": 2, "reservation": [""], "exclusive": True}


@pytest.mark.parametrize(
    ("criteria", "matches"),
    [
        ({"users": ["alice"]}, True),
        ({"users": ["bob", "al?c*"]}, True),
        ({"users": ["Alice"]}, False),
        ({"groups": ["students", "teach*"]}, True),
        ({"groups": ["students"]}, False),
        ({"servers": ["lab-*"]}, True),
        ({"servers": [""]}, False),
        ({"admins": True}, True),
        ({"admins": False}, False),
        ({"user_options": {"profile": "gpu-*"}}, True),
        ({"user_options": {"profile": ["cpu", "gpu-large"]}}, True),
        ({"user_options": {"profile": "gpu"}}, False),
        ({"user_options": {"nodes": 2, "exclusive": True}}, True),
        # Ansible's templates turn values into texts.
        ({"user_options": {"nodes": "2", "exclusive": "true"}}, True),
        ({"user_options": {"nodes": 3}}, False),
        ({"user_options": {"nodes": "[1-3]", "exclusive": "True"}}, True),
        ({"user_options": {"exclusive": False}}, False),
        # Ansible splits a text at its commas and keeps the spaces.
        ({"users": ["bob", " alice"]}, True),
        ({"user_options": {"reservation": ""}}, True),
        ({"user_options": {"reservation": ["", "a"]}}, True),
        ({"user_options": {"profile": "gpu-*", "queue": "*"}}, False),
        ({"properties": {"roles": "grader"}}, True),
        ({"properties": {"auth_state": {"org": {"unit": "phys*"}}}}, True),
        ({"properties": {"auth_state": {"org": "physics"}}}, False),
        ({"properties": {"auth_state": {"org": "*"}}}, False),
        ({"properties": {"auth_state": {"n": 5}}}, True),
        ({"properties": {"auth_state": {"none": None}}}, True),
        ({"properties": {"auth_state": {"n": None}}}, False),
        # A value that is missing is no text.
        ({"properties": {"auth_state": {"none": "None"}}}, False),
        ({"properties": {"auth_state": {"text": None}}}, False),
        ({"users": ["alice"], "groups": ["staff"], "servers": ["lab-1"], "admins": True}, True),
        ({"users": ["alice"], "groups": ["nobody"]}, False),
        ({}, True),
    ],
)
def test_a_rule_matches_if_all_its_criteria_match(criteria: dict[str, Any], matches: bool) -> None:
    policy = Policy(Limits(HOUR), [rule(name="it", keep=True, **criteria)])
    decision = decide_server(policy, "lab-1", owner=ALICE, idle=2 * HOUR, user_options=OPTIONS)
    assert (decision.keep_code, decision.rule) == (("rule", "it") if matches else ("", None))
    assert decision.reason == ("rule it keeps it" if matches else "idle 2 h, limit 1 h")


def test_the_first_matching_rule_decides_with_the_task_s_other_limits() -> None:
    rules = [
        rule(1, name="gpu", servers=["gpu*"], idle_timeout="30m"),
        rule(2, servers=["gpu-*", "big"], max_age="never"),
        rule(3, name="none", servers=["none"], idle_timeout="never", max_age="0"),
        rule(4, idle_timeout="1d"),
    ]
    policy = Policy(Limits(HOUR, 10 * HOUR), rules)

    def decide(name: str, idle: float, age: float) -> tuple[str, str | None, str]:
        decision = decide_server(policy, name, idle=idle, age=age)
        return decision.keep_code, decision.rule, decision.reason

    assert decide("gpu-1", 1800, 1800) == ("", "gpu", "idle 30 min, limit 30 min, rule gpu")
    assert decide("gpu-1", 0, 11 * HOUR) == ("", "gpu", "age 11 h, limit 10 h, rule gpu")
    assert decide("big", 1800, 11 * HOUR) == ("active", "2", "idle 30 min, limit 1 h, rule 2")
    assert decide("none", 99 * HOUR, 99 * HOUR) == ("active", "none", "there is no limit, rule none")
    assert decide("other", 23 * HOUR, HOUR) == ("active", "4", "idle 23 h, limit 1 d, age 1 h, limit 10 h, rule 4")


def test_a_rule_without_criteria_matches_everything_and_keeps_nothing() -> None:
    policy = Policy(Limits(24 * HOUR), [Rule("it", Limits(HOUR))])
    assert decide_server(policy, "lab", idle=2 * HOUR).reason == "idle 2 h, limit 1 h, rule it"
    assert policy.decide_user(as_user(user(idle=2 * HOUR)), NOW).has_to_go


@pytest.mark.parametrize(
    ("criteria", "name", "scope"),
    [
        ({"groups": ["a"]}, "groups", "read:users:groups"),
        ({"admins": True}, "admin", "read:users"),
        ({"properties": {"auth_state": {}}}, "auth_state", "admin:auth_state"),
        ({"properties": {"colour": "red"}}, "colour", "read:users"),
    ],
)
def test_a_property_that_a_rule_needs_must_be_readable(criteria: dict[str, Any], name: str, scope: str) -> None:
    policy = Policy(Limits(HOUR), [rule(name="it", keep=True, **criteria)])
    with pytest.raises(MissingScope) as refused:
        decide_server(policy, owner={"name": "alice"})
    assert refused.value.message == f"The hub does not show the property '{name}' of user 'alice', which rule it needs."
    assert f"{scope}," in refused.value.hint


def test_rules_for_servers_do_not_match_users() -> None:
    rules = [
        rule(1, servers=["*"], keep=True),
        rule(2, user_options={"a": "b"}, keep=True),
        rule(3, users=["bot"], keep=True),
    ]
    policy = Policy(Limits(HOUR, 10 * HOUR), rules, exclude_users=["root"], cull_admin_users=False)

    def decide(model: dict[str, Any]) -> tuple[str, str]:
        decision = policy.decide_user(as_user(model), NOW)
        assert decision.server_name is None
        return decision.keep_code, decision.reason

    assert decide(user(idle=HOUR)) == ("", "idle 1 h, limit 1 h")
    assert decide(user(idle=0, age=11 * HOUR)) == ("", "age 11 h, limit 10 h")
    assert decide(user(idle=None, age=HOUR)) == ("", "idle 1 h, limit 1 h")
    assert decide(user(idle=None)) == ("unknown", "the hub does not show the time that a limit needs")
    assert decide(user(idle=60)) == ("active", "idle 1 min, limit 1 h")
    assert decide(user("bot", idle=HOUR)) == ("rule", "rule 3 keeps it")
    assert decide(user("root", idle=HOUR)) == ("excluded", "the user is excluded")
    # The switch applies to both limits.
    assert decide(user(idle=0, age=11 * HOUR, admin=True)) == ("admin", "admins are not culled")
    assert Policy(Limits(HOUR)).decide_user(as_user(user(idle=HOUR, admin=True)), NOW).has_to_go


@pytest.mark.parametrize("criterion", [{"servers": ["*"]}, {"user_options": {"a": "b"}}])
def test_rules_for_servers_need_no_property_of_a_user(criterion: dict[str, Any]) -> None:
    policy = Policy(Limits(HOUR), [rule(groups=["staff"], keep=True, **criterion)])
    assert policy.decide_user(as_user({"name": "alice", "last_activity": ago(HOUR)}), NOW).has_to_go


def test_users_cannot_be_decided_on_without_their_activity() -> None:
    with pytest.raises(MissingScope) as refused:
        ONE_HOUR.decide_user(as_user({"name": "alice", "admin": False}), NOW)
    assert "read:users:activity" in refused.value.hint


@pytest.mark.parametrize(
    ("properties", "is_needed"), [({"auth_state": {"n": 5}}, True), ({"roles": "grader"}, False), (None, False)]
)
def test_only_rules_on_auth_state_need_it(properties: dict[str, Any] | None, is_needed: bool) -> None:
    rules = [rule(1, users=["bob"], keep=True), rule(2, properties=properties, keep=True)]
    assert Policy(Limits(HOUR), rules).needs_auth_state is is_needed


def test_a_decision_as_the_result_shows_it() -> None:
    policy = Policy(Limits(HOUR), [rule(name="bots", users=["bot"], keep=True)])
    shown = {"user": "bot", "idle_seconds": 60, "age_seconds": 90, "rule": "bots", "reason": "rule bots keeps it"}
    owner = user("bot", idle=60, age=90.5)
    assert policy.decide_user(as_user(owner), NOW).as_item() == shown
    assert decide_server(policy, "lab", owner=owner, idle=60, age=90.5).as_item() == {**shown, "server_name": "lab"}
    # The default server has a name, too.
    assert decide_server(policy, owner=owner, idle=60, age=90.5).as_item() == {**shown, "server_name": ""}


@pytest.mark.parametrize(
    "value", [Limits(HOUR), MaxCulls.parse("1"), rule(keep=True), ONE_HOUR, decide_server(ONE_HOUR)]
)
def test_a_policy_and_its_decisions_do_not_change(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        value.name = "other"


@pytest.mark.parametrize(
    ("options", "more", "limits"),
    [
        (("1h", "1d"), {}, Limits(HOUR, 24 * HOUR)),
        (("never", "never"), {}, Limits(None)),
        ((None, None), {}, Limits(None)),
        ((None, None), {"default": Limits(60, 90)}, Limits(60, 90)),
        (("1h", "never"), {"default": Limits(60, 90)}, Limits(HOUR)),
        # As in jupyterhub-idle-culler, an age of 0 is no limit, and a timeout of 0 lets nothing stay.
        (("0", " 0 "), {"may_be_zero": True}, Limits(0)),
    ],
)
def test_the_limits_of_a_task(options: tuple[str | None, ...], more: dict[str, Any], limits: Limits) -> None:
    assert Limits.from_options(dict(zip(("idle_timeout", "max_age"), options, strict=True)), **more) == limits


@pytest.mark.parametrize(
    ("idle_timeout", "max_age", "more", "option"),
    [("0", None, {}, "idle_timeout"), ("0s", "0s", {"may_be_zero": True}, "max_age"), (None, "soon", {}, "max_age")],
)
def test_invalid_limits_are_refused(
    idle_timeout: str | None, max_age: str | None, more: dict[str, Any], option: str
) -> None:
    with pytest.raises(Invalid) as refused:
        Limits.from_options({"idle_timeout": idle_timeout, "max_age": max_age}, **more)
    assert refused.value.message.startswith(f"{option}: ")


@pytest.mark.parametrize(
    ("text", "number", "total", "is_allowed"),
    [
        ("2", 2, 9, True),
        ("2", 3, 9, False),
        ("0", 0, 1, True),
        ("0", 1, 1, False),
        ("101", 101, 200, True),
        ("50%", 2, 4, True),
        ("50%", 1, 4, True),
        ("50%", 2, 3, False),
        ("12.5%", 1, 8, True),
        ("0%", 1, 9, False),
        (" 100 %", 200, 200, True),
        ("99%", 199, 200, False),
    ],
)
def test_a_pass_may_cull_a_number_or_a_share(text: str, number: int, total: int, is_allowed: bool) -> None:
    limit = MaxCulls.parse(text)
    assert limit.allows(number, total) is is_allowed
    assert (limit.find_excess(number, total, "servers") is None) is is_allowed


def test_what_a_limit_does_not_allow_is_named() -> None:
    excess = MaxCulls.parse(" 50%", "max_stops", "drained").find_excess(3, 4, "servers")
    assert excess
    assert excess.message.startswith("3 of 4 servers would be drained, more than max_stops (50%) allows.")
    assert "max_stops" in excess.hint


@pytest.mark.parametrize("text", ["", "%", "-1", "101%", "1.5", "a", "1e3", "5%%", "٣", "1.2.3%", "."])
def test_what_is_no_number_and_no_share_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="max_culls"):
        MaxCulls.parse(text)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"keep": True, "idle_timeout": "1h"}, "Rule 1 has a limit, but it keeps all that it matches."),
        ({"keep": True, "max_age": "never"}, "Rule 1 has a limit, but it keeps all that it matches."),
        ({}, "Rule 1 has neither a limit nor keep."),
        ({"users": ["a"]}, "Rule 1 has neither a limit nor keep."),
        ({"name": "gpu", "users": [], "keep": True}, "Rule gpu matches nothing, because its users are empty."),
        ({"user_options": {}, "keep": True}, "Rule 1 matches nothing, because its user_options are empty."),
        (
            {"properties": {"roles": []}, "keep": True},
            "Rule 1 matches nothing, because 'roles' of its properties is an empty list.",
        ),
        ({"idle_timeout": "-5"}, "rule 1, idle_timeout: '-5' is not a duration."),
        ({"name": "gpu", "max_age": "soon"}, "rule gpu, max_age: 'soon' is not a duration."),
        ({"idle_timeout": "0"}, "rule 1, idle_timeout: '0' is not a duration."),
    ],
)
def test_rules_without_effect_are_refused(item: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid) as refused:
        rule(**item)
    assert refused.value.message == message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([{"name": "a", "users": ["x"]}, {"name": "a", "users": ["y"]}], "Two rules have the name 'a'."),
        ([{"name": "2", "users": ["x"]}, {"users": ["y"]}], "Two rules have the name '2'."),
        ([{}, {"name": "late", "users": ["y"]}], "Rule 1 matches everything, so rule late never decides."),
        ([{"users": ["x", "*"]}, {"users": ["y"]}], "Rule 1 matches everything, so rule 2 never decides."),
        (
            [{"users": ["x"]}, {}, {"users": ["y"]}, {"users": ["z"]}],
            "Rule 2 matches everything, so rule 3 never decides.",
        ),
        (
            [{"users": ["x"]}, {"groups": ["x"]}, {"name": "late", "users": ["x"]}],
            "Rule late matches what rule 1 matches first, so it never decides.",
        ),
    ],
)
def test_rules_that_contradict_each_other_are_refused(rules: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(HubError) as refused:
        Policy(Limits(HOUR), [rule(number, keep=True, **item) for number, item in enumerate(rules, start=1)])
    assert isinstance(refused.value, Invalid)
    assert refused.value.message == message
