# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role awx decides: the objects of a declaration, mistakes in it, the plan, and the messages of AWX."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles import awx_failures
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.awx import list_objects
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.awx_notifications import (
    complete_configuration,
    could_be_same,
    make_messages,
)
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.awx_plan import (
    KINDS,
    list_queries,
    make_plan,
    name_lookup_options,
    read_present,
    read_secrets,
)
from jinja2 import ChainableUndefined, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from support.hubs import REPOSITORY

SLACK = {"name": "n", "notification_type": "slack", "notification_configuration": {}}
UPGRADE = ("snapshot", "drain", "verify", "compare", "restore")
RRULE = "DTSTART:20260101T030000Z RRULE:FREQ=DAILY;INTERVAL=1"


class Loader(yaml.SafeLoader):
    """Reads the role's variables, with texts that Ansible must not render as plain texts."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))
VARIABLES = yaml.load((REPOSITORY / "roles/awx/vars/main.yml").read_text(), Loader)


def declare(**variables: Any) -> dict[str, Any]:
    """The variables of the role, by their names without ``awx_``."""
    defaults = yaml.safe_load((REPOSITORY / "roles/awx/defaults/main.yml").read_text())
    constants = {name: VARIABLES[f"awx_{name}"] for name in ("credential_types", "inventory_variables", "messages")}
    variables_of_role = {name.removeprefix("awx_"): value for name, value in defaults.items()}
    return {**variables_of_role, "organization": "Hubs", **constants, **variables}


def options_of(declaration: dict[str, Any], kind: str) -> dict[str, Any]:
    return {each.label: each.options for each in list_objects(declaration) if each.kind == kind}


def present(*objects: tuple[str, str], **more: Any) -> dict[str, Any]:
    """What AWX has: objects of a kind, each with its name and those of related objects."""
    found: dict[str, Any] = {kind: [] for kind in KINDS}
    for kind, *names in objects:
        found[kind].append({"names": names, "configured": more.get("configured", False)})
    return found


# Objects


def test_the_smallest_declaration() -> None:
    found = [(each.kind, each.label) for each in list_objects(declare())]
    assert found == [
        ("organization", "Hubs"),
        ("credential_type", "JupyterHub token"),
        ("credential_type", "JupyterHub tokens"),
        ("project", "JupyterHub playbooks"),
        ("inventory", "JupyterHubs"),
    ]


def test_objects_come_in_the_order_in_which_awx_can_create_them() -> None:
    declaration = declare(
        shared_dir="/shared",
        execution_environment={"image": "hubops:1"},
        hubs=[{"name": "a", "url": "https://a/"}],
        credentials=[{"name": "t", "tokens": {"a": "secret"}}],
        inventory_source={"source_path": "all.yml"},
        notification_templates=[SLACK],
        job_templates=[{"playbook": playbook, "schedule": RRULE} for playbook in UPGRADE],
        workflow={"name": "Upgrade"},
    )  # fmt: skip
    objects = list_objects(declaration)
    assert {each.kind for each in objects} == {*KINDS}
    known: set[tuple[str, str]] = set()
    # The plan groups the objects by their kinds.
    for kind in KINDS:
        for each in (each for each in objects if each.kind == kind):
            declared = {(other.kind, other.label) for other in objects}
            assert {*each.needs} & declared <= known
            known.add((each.kind, each.label))
    assert len(known) == len(objects)  # labels are unique


@pytest.mark.parametrize(
    ("playbook_dir", "playbook", "path"),
    [
        ("playbooks", "verify", "playbooks/verify.yml"),
        ("", "verify", "verify.yml"),
        ("a/b/", "cull", "a/b/cull.yml"),
        ("playbooks", "own/verify-lab.yml", "own/verify-lab.yml"),
    ],
)
def test_the_path_of_a_playbook(playbook_dir: str, playbook: str, path: str) -> None:
    declaration = declare(playbook_dir=playbook_dir, job_templates=[{"playbook": playbook, "name": "x"}])
    assert options_of(declaration, "job_template")["x"]["playbook"] == path


def test_a_template_in_slices_has_a_folder_for_each_slice() -> None:
    templates = [{"playbook": "verify", "name": "one"}, {"playbook": "verify", "name": "many", "job_slice_count": 4}]
    found = options_of(declare(shared_dir="/shared/", job_templates=templates), "job_template")
    assert found["one"]["extra_vars"] == {"verify_report_dir": "/shared/verify-report"}
    assert found["many"]["extra_vars"] == {"jupyterhub_slices_dir": "/shared/verify-slices"}
    merge = options_of(declare(shared_dir="/shared", job_templates=[{"playbook": "merge_reports"}]), "job_template")
    assert merge["Merge reports"]["extra_vars"] == {
        "verify_report_dir": "/shared/verify-report",
        "verify_reports": ["/shared/verify-slices/*/report.json"],
    }


def test_a_survey_suggests_what_the_template_sets() -> None:
    """AWX lets the default of a survey win over the variables of the template."""
    template = {"playbook": "cull", "extra_vars": {"idle_culler_idle_timeout": "12h"}}
    found = options_of(declare(job_templates=[template]), "job_template")["Cull"]
    assert [question["default"] for question in found["survey_spec"]["spec"]] == ["12h"]
    compare = {"playbook": "compare", "extra_vars": {"upgrade_fail_on": ["lost", "changed"]}}
    found = options_of(declare(shared_dir="/shared", job_templates=[compare]), "job_template")["Compare"]
    assert [question["default"] for question in found["survey_spec"]["spec"]] == ["lost\nchanged"]


def test_options_of_the_user_win() -> None:
    template = {"playbook": "verify", "forks": 3, "survey_spec": {}, "inventory": "Others", "description": "mine"}
    found = options_of(declare(job_templates=[template]), "job_template")["Verify"]
    assert {key: found[key] for key in template if key != "playbook"} == {
        key: value for key, value in template.items() if key != "playbook"
    }


def test_the_state_of_all() -> None:
    declaration = declare(
        state="absent", hubs=[{"name": "a", "state": "present"}], job_templates=[{"playbook": "drain"}]
    )
    objects = list_objects(declaration)
    assert {each.state for each in objects} == {"absent"}
    # Others may use these.
    assert not {"organization", "credential_type", "execution_environment"} & {each.kind for each in objects}
    declaration["organization"] = {"name": "Hubs", "state": "absent"}
    assert [each.label for each in list_objects(declaration) if each.kind == "organization"] == ["Hubs"]


@pytest.mark.parametrize(
    ("organization", "name", "reference"),
    [
        ("Hubs", "Tokens", "Tokens++JupyterHub tokens+cloud++Hubs"),
        ("Hubs", "One", "One++JupyterHub token+cloud++Hubs"),
        ("Hubs", "Kept", "Kept++JupyterHub tokens+cloud++Hubs"),
        ("Hubs", "Git", "Git"),
        ("Hubs", "of others", "of others"),
        ("Hubs", "a/b", "a%2Fb++JupyterHub token+cloud++Hubs"),
        ("R+D 100%", "Tokens", "Tokens++JupyterHub tokens+cloud++R[+]D 100%25"),
    ],
)
def test_a_reference_is_to_the_object_of_the_organization(organization: str, name: str, reference: str) -> None:
    """Another organization of AWX may have a credential with the same name."""
    declaration = declare(
        organization=organization,
        credentials=[
            {"name": "Tokens", "tokens": {"a": "x"}},
            {"name": "One", "token": "x"},
            {"name": "a/b", "token": "x"},
            {"name": "Kept", "credential_type": "JupyterHub tokens", "inputs": {"tokens": "{}"}},
            {"name": "Git", "credential_type": "Source Control"},
        ],
        job_templates=[{"playbook": "verify", "credentials": [name]}],
    )  # fmt: skip
    found = options_of(declaration, "job_template")["Verify"]
    assert found["credentials"] == [reference]
    assert found["inventory"] == f"JupyterHubs++{reference.rpartition('++')[2] if '++' in reference else organization}"


# Mistakes


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"organization": None}, "awx_organization is missing."),
        ({"organization": {"name": "Hubs", "state": "absent"}}, "Set awx_state: absent as well."),
        ({"state": "gone"}, "awx_state is 'gone'. Set it to present or absent."),
        ({"project": "x"}, "awx_project is not a mapping."),
        ({"hubs": {"a": {}}}, "awx_hubs is not a list of mappings."),
        ({"hubs": ["a"]}, "awx_hubs is not a list of mappings."),
        ({"hubs": [{"url": "https://a/"}]}, "awx_hubs, entry 1 has no name."),
        ({"hubs": [{"name": "a", "url": "u"}, {"name": "a", "url": "u"}]}, "awx_hubs, entry 2 has the name 'a' of"),
        ({"hubs": [{"name": "a", "hub_url": "u"}]}, "awx_hubs, entry 1 has the unknown key 'hub_url'. Its keys are"),
        ({"hubs": [{"name": "a", "state": "off"}]}, "state of awx_hubs, entry 1 is 'off'."),
        ({"credentials": [{"name": "c"}]}, "awx_credentials, 'c' needs one of token, tokens, and"),
        ({"credentials": [{"name": "c", "token": "x", "tokens": {}}]}, "awx_credentials, 'c' needs one of token,"),
        ({"credentials": [{"name": "c", "token": ""}]}, "The token of awx_credentials, 'c' is empty"),
        ({"credentials": [{"name": "c", "tokens": {"a": None}}]}, "The token of awx_credentials, 'c', 'a' is empty"),
        ({"credentials": [{"name": "c", "tokens": ["x"]}]}, "awx_credentials, 'c': tokens is not a mapping."),
        (
            {"hubs": [{"name": "a", "url": "u"}], "credentials": [{"name": "c", "tokens": {"b": "x"}}]},
            "awx_credentials, 'c' has a token for 'b', which is not in awx_hubs.",
        ),
        ({"notification_templates": [{"name": "n"}]}, "awx_notification_templates, 'n' needs notification_type"),
        ({"job_templates": [{"name": "x"}]}, "awx_job_templates, entry 1 needs a playbook."),
        ({"job_templates": [{"playbook": "own.yml"}]}, "awx_job_templates, entry 1 has no name."),
        ({"job_templates": [{"playbook": "verify"}] * 2}, "awx_job_templates, entry 2 has the name 'Verify' of"),
        ({"job_templates": [{"playbook": "compare"}]}, "compare needs files that outlive a job"),
        ({"job_templates": [{"playbook": "verify", "schedule": "daily"}]}, "schedule of 'Verify' needs an rrule"),
        ({"job_templates": [{"playbook": "verify", "schedule": 7}]}, "schedule of 'Verify' is neither text nor"),
        (
            {"job_templates": [{"playbook": "verify", "schedule": "DTSTART:20260101T030000Z RRULE:FREQ=DAILY"}]},
            "AWX refuses RULE:FREQ=DAILY in the schedule of 'Verify'. Each rule needs INTERVAL",
        ),
        ({"workflow": {"name": "w"}}, "awx_workflow needs a job template for the playbook snapshot."),
    ],
)
def test_a_mistake_has_a_sentence(variables: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"awx_|AWX|files|schedule") as failure:
        list_objects(declare(**variables))
    assert sentence in str(failure.value)
    assert str(failure.value).endswith(".")


def test_a_mistake_shows_no_secret() -> None:
    for variables in (
        {"credentials": [{"name": "c", "tokens": "secret-of-a-test"}]},
        {"credentials": [{"name": "c", "token": "secret-of-a-test", "tokens": {"a": "secret-of-a-test"}}]},
        {"notification_templates": [{"name": "n", "notification_configuration": {"token": "secret-of-a-test"}}]},
    ):
        with pytest.raises(ValueError, match=r"^awx_") as failure:
            list_objects(declare(**variables))
        assert "secret-of-a-test" not in str(failure.value)


def test_the_options_of_the_connection() -> None:
    given = {"controller_host": "h", "controller_oauthtoken": "t", "validate_certs": False, "request_timeout": 3}
    assert name_lookup_options(given) == {"host": "h", "oauth_token": "t", "verify_ssl": False, "request_timeout": 3}
    with pytest.raises(ValueError, match=r"^awx_connection has the unknown key 'host'\. Its keys are "):
        name_lookup_options({"host": "h"})


# The plan


def test_the_plan_for_an_empty_awx() -> None:
    declaration = declare(hubs=[{"name": "a", "url": "https://a/"}])
    plan = make_plan(declaration, present(), False)
    assert [step["kind"] for step in plan["steps"]] == [
        "organization",
        "credential_type",
        "project",
        "inventory",
        "host",
    ]
    assert plan["to_create"] == []
    checked = make_plan(declaration, present(), True)
    assert checked["steps"] == []
    assert checked["to_create"][-1] == "host a"


def test_check_mode_predicts_what_uses_something_new() -> None:
    declaration = declare(
        credentials=[{"name": "new", "token": "x"}], job_templates=[{"playbook": "verify", "credentials": ["new"]}]
    )
    found = present(
        ("organization", "Hubs"), ("credential_type", "JupyterHub token"), ("credential_type", "JupyterHub tokens"),
        ("project", "JupyterHub playbooks"), ("inventory", "JupyterHubs"), ("job_template", "Verify"),
    )  # fmt: skip
    plan = make_plan(declaration, found, True)
    assert plan["to_create"] == ["credential new", "job_template Verify"]
    assert [step["kind"] for step in plan["steps"]] == ["organization", "credential_type", "project", "inventory"]


def test_what_is_absent_goes_in_the_opposite_order_if_it_is_there() -> None:
    declaration = declare(
        state="absent", hubs=[{"name": "a"}, {"name": "b"}], credentials=[{"name": "c", "token": "x"}, {"name": "d"}]
    )
    found = present(
        ("organization", "Hubs"), ("credential_type", "JupyterHub tokens"), ("inventory", "JupyterHubs"),
        ("host", "b", "JupyterHubs"), ("host", "a", "of others"), ("credential", "d", "JupyterHub tokens"),
    )  # fmt: skip
    plan = make_plan(declaration, found, False)
    assert [(step["kind"], step["labels"]) for step in plan["steps"]] == [
        ("host", ["b"]),
        ("inventory", ["JupyterHubs"]),
        ("credential", ["d (JupyterHub tokens)"]),
    ]
    assert plan["options"]["host"]["b"] == {"name": "b", "inventory": "JupyterHubs++Hubs", "state": "absent"}


def test_the_plan_has_no_secret() -> None:
    declaration = declare(
        credentials=[{"name": "c", "tokens": {"a": "secret-of-a-test"}}, {"name": "d", "token": "secret-of-a-test"}],
        notification_templates=[{**SLACK, "notification_configuration": {"token": "secret-of-a-test"}}],
    )
    plan = make_plan(declaration, present(), False)
    assert "secret-of-a-test" not in json.dumps(plan)
    assert read_secrets(declaration, plan, "credential", "d") == {"inputs": {"token": "secret-of-a-test"}}
    assert "secret-of-a-test" in json.dumps(read_secrets(declaration, plan, "notification_template", "n"))


def test_a_notification_that_awx_has_already_keeps_its_secret() -> None:
    declaration = declare(notification_templates=[SLACK])
    for configured, update, sends in ((False, False, True), (True, False, False), (True, True, True)):
        found = present(("notification_template", "n"), configured=configured)
        plan = make_plan({**declaration, "update_secrets": update}, found, False)
        assert bool(read_secrets(declaration, plan, "notification_template", "n")) == sends


def test_the_queries_are_for_the_organization() -> None:
    queries = {query["kind"]: query for query in list_queries(declare(hubs=[{"name": "a", "url": "u"}]))}
    assert queries["host"] == {
        "kind": "host", "resource": "hosts",
        "filters": {"inventory__organization__name": "Hubs", "inventory__pending_deletion": "false"},
    }  # fmt: skip
    assert "schedule" not in queries


def test_what_awx_has_is_read_by_names() -> None:
    item = {"name": "a", "summary_fields": {"inventory": {"name": "JupyterHubs"}}}
    assert read_present([item], "host", []) == [{"names": ["a", "JupyterHubs"], "configured": False}]
    node = {"identifier": "verify", "summary_fields": {"workflow_job_template": {"name": "w"}}}
    assert read_present([node], "workflow_job_template_node", [])[0]["names"] == ["verify", "w"]


@pytest.mark.parametrize(
    ("awx", "declared", "same"),
    [
        ({"token": "$encrypted$", "channels": ["#a"], "hex_color": ""}, {"token": "x", "channels": ["#a"]}, True),
        ({"token": "$encrypted$", "channels": ["#a"], "hex_color": ""}, {"token": "x", "channels": ["#b"]}, False),
        ({"token": "$encrypted$", "channels": ["#a"], "hex_color": "#fff"}, {"token": "x", "channels": ["#a"]}, False),
        ({"token": "", "channels": ["#a"], "hex_color": ""}, {"token": "x", "channels": ["#a"]}, False),
        ({"token": "$encrypted$", "channels": ["#a"], "hex_color": ""}, {"token": "", "channels": ["#a"]}, False),
    ],
)
def test_the_configuration_of_a_notification(awx: dict[str, Any], declared: dict[str, Any], same: bool) -> None:
    assert could_be_same(awx, complete_configuration("slack", declared)) is same


def test_a_refusal_shows_no_secret() -> None:
    declared = [{"name": "n", "notification_configuration": {"token": "secret", "headers": {"Authorization": "key-1"}}}]
    registered = {"results": [{"item": "m"}, {"item": "n", "failed": True, "msg": "no secret, key-1 or pass\n!"}]}
    assert awx_failures.describe(registered, declared, {"controller_password": "pass"}) == (
        "AWX refuses the notification template 'n': no ***, *** or *** ! Correct it in awx_notification_templates."
    )
    assert awx_failures.describe({"results": [{"item": "n"}]}, declared, {}) == ""


# What AWX makes of the messages


JOB = {"id": 42, "name": 'Verify "all"', "status": "failed", "artifacts": {}}
CONTEXT: dict[str, Any] = {
    "job": JOB, "job_friendly_name": "Job", "url": "https://awx.example.org/#/jobs/42",
    "approval_status": "approved", "approval_node_name": "The hub is upgraded", "workflow_url": "https://awx.example.org/#/2",
}  # fmt: skip
VERIFY = {"verdict": "failed", "summary": '2 hubs: 1 failed, 1 passed\nteaching failed: "no <room>"'}


def render(text: str, context: dict[str, Any], undefined: type = ChainableUndefined) -> str:
    return ImmutableSandboxedEnvironment(undefined=undefined).from_string(text).render(**context)


def texts_of(messages: Any) -> list[str]:
    if isinstance(messages, dict):
        return [text for each in messages.values() for text in texts_of(each)]
    return [messages]


@pytest.mark.parametrize("notification_type", ["slack", "email", "webhook", "mattermost"])
def test_awx_accepts_the_messages(notification_type: str) -> None:
    """AWX renders each for a job without artifacts, and takes no message with more than one line."""
    messages = make_messages(notification_type, VARIABLES["awx_messages"])
    for text in texts_of(messages):
        assert render(text, CONTEXT, StrictUndefined)
    assert "\n" not in messages["error"]["message"]
    assert {*messages} == {"started", "success", "error", "workflow_approval"}


def test_what_a_person_reads() -> None:
    context = {**CONTEXT, "job": {**JOB, "artifacts": {"verify": VERIFY}}}
    messages = {kind: make_messages(kind, VARIABLES["awx_messages"]) for kind in ("slack", "email", "webhook")}
    assert render(messages["slack"]["error"]["message"], context) == (
        'Verify "all": 2 hubs: 1 failed, 1 passed\nteaching failed: "no <room>" https://awx.example.org/#/jobs/42'
    )
    assert render(messages["email"]["error"]["message"], context) == 'Verify "all": failed'
    body = render(messages["email"]["error"]["body"], context)
    assert body.startswith(VERIFY["summary"])
    assert body.endswith("Job #42: https://awx.example.org/#/jobs/42")
    sent = json.loads(render(messages["webhook"]["error"]["body"], context))
    assert (sent["name"], sent["status"], sent["artifacts"]) == ('Verify "all"', "failed", {"verify": VERIFY})
    for artifact in ("upgrade", "idle_culler_hubs"):
        other = {**CONTEXT, "job": {**JOB, "artifacts": {artifact: {"verdict": "passed", "summary": "well"}}}}
        assert "well" in render(messages["slack"]["success"]["message"], other)
    # A workflow has no artifacts.
    workflow = {**CONTEXT, "job": {key: value for key, value in JOB.items() if key != "artifacts"}}
    assert render(messages["slack"]["error"]["message"], workflow).startswith('Verify "all": failed')
    assert json.loads(render(messages["webhook"]["error"]["body"], workflow))["artifacts"] == {}
    approval = make_messages("webhook", VARIABLES["awx_messages"])["workflow_approval"]["running"]["body"]
    assert json.loads(render(approval, CONTEXT))["approval"] == "The hub is upgraded"
