# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in of AWX does what the published modules of awx.awx, and AWX's own API, let expect of it.

To compare it with a real AWX, run this file with HUBOPS_AWX=http://admin:PASSWORD@HOST:PORT: then most of it sends the
same requests there, and expects the same. It creates objects whose names begin with `fakecheck-`, and deletes all that
have such names.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from support.fakes.fake_awx import FakeAwx
from support.hubs import venv
from support.playbooks import run_playbook
from support.waiting import wait_until

Object = tuple[str, dict[str, Any]]
"""A module of awx.awx, and its options."""

REAL = urlsplit(os.environ.get("HUBOPS_AWX", ""))

RESOURCES = (
    "schedules", "workflow_job_templates", "job_templates", "inventory_sources", "hosts", "inventories", "projects",
    "notification_templates", "execution_environments", "credentials", "credential_types", "labels", "organizations",
)  # fmt: skip
"""In an order in which their items can be deleted."""


@dataclass(frozen=True)
class Awx:
    """The stand-in, or a real AWX."""

    url: str
    login: tuple[str, str]

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request to a path below /api/v2/. Returns the status and the JSON."""
        answer = requests.request(method, f"{self.url}/api/v2/{path}", json=body, auth=self.login, timeout=60)
        return answer.status_code, answer.json() if answer.content else None

    def get(self, path: str) -> Any:
        status, answer = self.send("GET", path)
        assert status == 200, answer
        return answer

    def create(self, resource: str, **body: Any) -> int:
        """Create an item with this body. Returns its id."""
        status, answer = self.send("POST", f"{resource}/", body)
        assert status == 201, answer
        return int(answer["id"])

    def clean(self) -> None:
        """Delete all items that these tests have created, by their names."""
        for resource in RESOURCES:
            for item in self.get(f"{resource}/?name__startswith=fakecheck-&page_size=200")["results"]:
                assert item["name"].startswith("fakecheck-")
                if not item.get("pending_deletion"):
                    self.send("DELETE", f"{resource}/{item['id']}/")


@pytest.fixture(scope="module")
def awx() -> Iterator[Awx]:
    """Any AWX: the stand-in, or the real one of HUBOPS_AWX."""
    with contextlib.ExitStack() as stack:
        if REAL.hostname:
            awx = Awx(f"http://{REAL.hostname}:{REAL.port}", (REAL.username or "", REAL.password or ""))
            awx.clean()
            stack.callback(awx.clean)
        else:
            fake = stack.enter_context(FakeAwx())
            awx = Awx(fake.url, (fake.username, fake.password))
        yield awx


@pytest.fixture
def fake() -> Iterator[FakeAwx]:
    with FakeAwx() as fake:
        yield fake


# The modules of awx.awx

# A real AWX deletes an inventory some time later. Until then, modules find it by its name.
INVENTORY = f"fakecheck-inventory-{os.getpid()}"
ORGANIZATION = {"organization": "fakecheck-org"}
WEBHOOK = {
    "url": "http://127.0.0.1/", "headers": {"A": "b"}, "http_method": "POST", "disable_ssl_verification": False,
    "username": "", "password": "",
}  # fmt: skip
EMAIL = {
    "host": "mail", "port": 25, "username": "hub", "password": "secret", "use_tls": False, "use_ssl": False,
    "sender": "hub@example.org", "recipients": ["admin@example.org"], "timeout": 30,
}  # fmt: skip
SURVEY = {
    "name": "Verify", "description": "What to verify",
    "spec": [
        {"type": "text", "question_name": "Hub", "question_description": "", "variable": "hub", "required": True},
        {"type": "integer", "question_name": "Users", "variable": "users", "required": False, "default": 3},
    ],
}  # fmt: skip
RULE = "DTSTART;TZID=Europe/Berlin:20260101T040000 RRULE:FREQ=DAILY;INTERVAL=1"

OBJECTS: list[Object] = [
    ("organization", {"name": "fakecheck-org", "description": "of hubs", "galaxy_credentials": ["fakecheck-galaxy"]}),
    (
        "credential_type",
        {
            "name": "fakecheck-type", "kind": "cloud",
            "inputs": {
                "fields": [
                    {"id": "token", "type": "string", "label": "Token", "secret": True},
                    {"id": "url", "type": "string", "label": "URL"},
                ],
                "required": ["token"],
            },
            "injectors": {"env": {"JUPYTERHUB_API_TOKEN": "{{ '{{ token }}' }}"}},
        },
    ),
    (
        "credential",
        {
            "name": "fakecheck-hub", "credential_type": "fakecheck-type", **ORGANIZATION,
            "inputs": {"token": "secret of the hub", "url": "http://hub"}, "update_secrets": False,
        },
    ),
    (
        "credential",
        {
            "name": "fakecheck-vault", "credential_type": "Vault", **ORGANIZATION,
            "inputs": {"vault_password": "secret", "vault_id": "prod"}, "update_secrets": False,
        },
    ),
    (
        "credential",
        {
            "name": "fakecheck-registry", "credential_type": "Container Registry", **ORGANIZATION,
            "inputs": {"host": "quay.io", "username": "hub", "password": "secret", "verify_ssl": True},
            "update_secrets": False,
        },
    ),
    (
        "execution_environment",
        {
            "name": "fakecheck-ee", "image": "quay.io/hub/ee:1", "pull": "missing", "credential": "fakecheck-registry",
            **ORGANIZATION,
        },
    ),
    (
        "project",
        {
            "name": "fakecheck-project", "scm_type": "git", "scm_url": "https://example.org/hub.git",
            "scm_branch": "main", "scm_update_on_launch": True, "default_environment": "fakecheck-ee", **ORGANIZATION,
        },
    ),
    ("inventory", {"name": INVENTORY, "variables": {"a": 1}, **ORGANIZATION}),
    (
        "inventory_source",
        {
            "name": "fakecheck-source", "inventory": INVENTORY, "source": "scm",
            "source_project": "fakecheck-project", "source_path": "hosts.yml", "source_vars": {"a": "b"},
            "overwrite": True, "update_on_launch": True, **ORGANIZATION,
        },
    ),
    ("host", {"name": "fakecheck-host", "inventory": INVENTORY, "variables": {"url": "http://hub"}}),
    (
        "notification_template",
        {
            "name": "fakecheck-webhook", "notification_type": "webhook", "notification_configuration": WEBHOOK,
            **ORGANIZATION,
        },
    ),
    (
        "notification_template",
        {
            "name": "fakecheck-slack", "notification_type": "slack", **ORGANIZATION,
            "notification_configuration": {"token": "secret", "channels": ["#hub"]},
            "messages": {
                "started": None, "error": {"message": "{{ '{{ job.name }}' }}"}, "success": None,
                "workflow_approval": None,
            },
        },
    ),
    (
        "notification_template",
        {
            "name": "fakecheck-email", "notification_type": "email", "notification_configuration": EMAIL,
            **ORGANIZATION,
        },
    ),
    (
        "job_template",
        {
            "name": "fakecheck-verify", "project": "fakecheck-project", "inventory": INVENTORY,
            "playbook": "site.yml", "credentials": ["fakecheck-hub", "fakecheck-vault"],
            "execution_environment": "fakecheck-ee", "extra_vars": {"verify_servers": 2}, "verbosity": 1,
            "ask_limit_on_launch": True, "ask_variables_on_launch": True, "allow_simultaneous": True,
            "survey_enabled": True, "survey_spec": SURVEY,
            "notification_templates_success": ["fakecheck-webhook"],
            "notification_templates_error": ["fakecheck-slack", "fakecheck-email"], **ORGANIZATION,
        },
    ),
    (
        "schedule",
        {
            "name": "fakecheck-nightly", "unified_job_template": "fakecheck-verify", "rrule": RULE, "limit": "hub",
            "extra_data": {"hub": "prod"}, **ORGANIZATION,
        },
    ),
    (
        "workflow_job_template",
        {
            "name": "fakecheck-upgrade", "inventory": INVENTORY, "extra_vars": {"a": 1},
            "notification_templates_approvals": ["fakecheck-slack"], **ORGANIZATION,
            "workflow_nodes": [
                {
                    "identifier": "verify", "limit": "hub",
                    "unified_job_template": {
                        "name": "fakecheck-verify", "type": "job_template", "organization": {"name": "fakecheck-org"},
                    },
                    "related": {"success_nodes": [{"identifier": "update"}], "always_nodes": []},
                },
                {
                    "identifier": "update",
                    "unified_job_template": {"name": "fakecheck-project", "type": "project"},
                    "related": {"failure_nodes": [{"identifier": "ask"}]},
                },
                {
                    "identifier": "ask",
                    "unified_job_template": {"name": "fakecheck-ask", "type": "workflow_approval", "timeout": 60},
                },
            ],
        },
    ),
    (
        "workflow_job_template_node",
        {
            "identifier": "approve", "workflow_job_template": "fakecheck-upgrade", **ORGANIZATION,
            "approval_node": {"name": "fakecheck-approve", "description": "Go on?", "timeout": 600},
        },
    ),
    (
        "workflow_job_template_node",
        {
            "identifier": "verify", "workflow_job_template": "fakecheck-upgrade", **ORGANIZATION, "limit": "hub",
            "unified_job_template": "fakecheck-verify", "lookup_organization": "fakecheck-org",
            "success_nodes": ["update"], "failure_nodes": ["approve"], "extra_data": {"hub": "prod"},
        },
    ),
]  # fmt: skip
"""In the order in which they can be created."""

CHANGES: dict[str, dict[str, Any]] = {
    INVENTORY: {"variables": {"a": 2}},
    "fakecheck-verify": {"credentials": ["fakecheck-hub"], "forks": 7},
    "fakecheck-nightly": {"rrule": RULE.replace("DAILY", "WEEKLY")},
}
"""Other options for a few of the objects, by their names."""

ALWAYS_CHANGED = {"fakecheck-slack", "fakecheck-email", "fakecheck-upgrade"}
"""Where the modules report a change each time. They cannot compare a secret, which AWX hides, and only the module
`credential` has an option for that. And they compare an approval node of `workflow_nodes` with fields that it does not
have."""

ABSENT = ("name", "identifier", "organization", "inventory", "credential_type", "workflow_job_template", "image")
"""The options of a task that deletes. Some modules ask for more than the name."""


def name_of(item: Object) -> str:
    return str(item[1].get("name") or item[1]["identifier"])


def absent(item: Object) -> Object:
    module, options = item
    needed = ABSENT if module != "job_template" else ("name",)
    return module, {**{name: value for name, value in options.items() if name in needed}, "state": "absent"}


def play(name: str, objects: list[Object], **keywords: Any) -> dict[str, Any]:
    tasks = [{"name": name_of((module, options)), f"awx.awx.{module}": options} for module, options in objects]
    return {"name": name, "hosts": "localhost", "gather_facts": False, "tasks": tasks, **keywords}


def changed_tasks(folder: Path, awx: Awx, plays: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Run these plays, of which each task must succeed. Returns the tasks that report a change, by play."""
    playbook = folder / "playbook.json"
    playbook.write_text(json.dumps(plays))
    env = {
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "CONTROLLER_HOST": awx.url,
        "CONTROLLER_USERNAME": awx.login[0], "CONTROLLER_PASSWORD": awx.login[1],
    }  # fmt: skip
    done = run_playbook(playbook, folder=folder, env=env, bin_folder=venv("awx") / "bin")
    assert done.status == 0, done.output
    return {
        one["play"]["name"]: [task["task"]["name"] for task in one["tasks"] if task["hosts"]["localhost"]["changed"]]
        for one in json.loads(done.stdout)["plays"]
    }


def times_to_delete(item: Object) -> int:
    """The second time, a module must find nothing. But a real AWX deletes an inventory some time later."""
    return 1 if item[0] == "inventory" and REAL.hostname else 2


def test_the_modules_create_compare_change_and_delete(awx: Awx, tmp_path: Path) -> None:
    """All in one run of Ansible: each of its tasks takes half a second or more."""
    other = awx.create("organizations", name="fakecheck-galaxies")
    [kind] = awx.get("credential_types/?namespace=galaxy_api_token")["results"]
    body = {"organization": other, "credential_type": kind["id"], "inputs": {"url": "https://galaxy.example.org"}}
    awx.create("credentials", name="fakecheck-galaxy", **body)
    # The object before each that changes is for comparison: it does not change.
    others = [
        (module, {**options, **CHANGES.get(name_of((module, options)), {})})
        for (module, options), following in itertools.pairwise([*OBJECTS, OBJECTS[0]])
        if name_of((module, options)) in CHANGES or name_of(following) in CHANGES
    ]
    removals = [absent(item) for item in reversed(OBJECTS) if "identifier" not in item[1]]
    found = changed_tasks(
        tmp_path, awx,
        [
            play("create", OBJECTS),
            play("compare", OBJECTS),
            play("check", others, check_mode=True),
            play("change", others),
            play("delete", [each for item in removals for each in [item] * times_to_delete(item)]),
        ],
    )  # fmt: skip
    names = [name_of(item) for item in OBJECTS]
    assert found["create"] == names
    assert found["compare"] == [name for name in names if name in ALWAYS_CHANGED]
    # The check finds what the next play then changes, so it has written nothing.
    expected = [name_of(item) for item in others if name_of(item) in {*CHANGES, *ALWAYS_CHANGED}]
    assert found["check"] == found["change"] == expected
    assert set(CHANGES) < {name_of(item) for item in others}
    assert found["delete"] == [name_of(item) for item in removals]


# Requests without a module

SLACK = {"token": "secret", "channels": ["#hub"]}
DAILY = "DTSTART:20260101T000000Z RRULE:FREQ=DAILY;INTERVAL=1"
QUESTION = {"type": "text", "question_name": "Hub", "variable": "hub", "required": True}


@pytest.fixture(scope="module")
def ids(awx: Awx) -> dict[str, int]:
    """A few items: their ids by short names."""
    create = awx.create
    made = {"org": create("organizations", name="fakecheck-a-org")}
    org = {"organization": made["org"]}
    for name in ("Vault", "Source Control", "Container Registry", "Machine"):
        [kind] = awx.get(f"credential_types/?name={name}")["results"]
        made[name] = kind["id"]
    inputs = {"fields": [{"id": "token", "label": "Token", "secret": True}, {"id": "url", "label": "URL"}]}
    made["type"] = create("credential_types", name="fakecheck-a-type", kind="cloud", inputs=inputs)
    credential = {"credential_type": made["type"], "inputs": {"token": "secret", "url": "http://hub"}, **org}
    made["hub"] = create("credentials", name="fakecheck-a-hub", **credential)
    made["hub2"] = create("credentials", name="fakecheck-a-hub2", **credential)
    made["scm"] = create("credentials", name="fakecheck-a-scm", credential_type=made["Source Control"], **org)
    for name, vault in (("vault", "a"), ("vault2", "b"), ("vault3", "b")):
        body = {"credential_type": made["Vault"], "inputs": {"vault_password": "secret", "vault_id": vault}}
        made[name] = create("credentials", name=f"fakecheck-a-{name}", **body, **org)
    source = {"scm_type": "git", "scm_url": "https://example.org/hub.git", "allow_override": True}
    made["project"] = create("projects", name="fakecheck-a-project", **source, **org)
    made["manual"] = create("projects", name="fakecheck-a-manual", **org)
    made["inventory"] = create("inventories", name="fakecheck-a-inventory", **org)
    made["host"] = create("hosts", name="fakecheck-a-host", inventory=made["inventory"])
    made["slack"] = create(
        "notification_templates", name="fakecheck-a-slack", notification_type="slack",
        notification_configuration=SLACK, **org,
    )  # fmt: skip
    runs = {"inventory": made["inventory"], "project": made["project"], "playbook": "site.yml"}
    made["template"] = create("job_templates", name="fakecheck-a-verify", **runs)
    made["asking"] = create("job_templates", name="fakecheck-a-ask", ask_credential_on_launch=True, **runs)
    made["workflow"] = create("workflow_job_templates", name="fakecheck-a-workflow", **org)
    for name in ("first", "second", "third"):
        body = {"workflow_job_template": made["workflow"], "unified_job_template": made["template"]}
        made[name] = create("workflow_job_template_nodes", identifier=name, **body)
    return made


REQUIRED = ["This field is required."]
NOT_ASKED = ["Field is not configured to prompt on launch."]
REFUSED: list[tuple[str, dict[str, Any], Any]] = [
    ("organizations", {}, {"name": REQUIRED}),
    ("organizations", {"name": " "}, {"name": ["This field may not be blank."]}),
    ("organizations", {"name": {"a": 1}}, {"name": ["Not a valid string."]}),
    ("organizations", {"name": "fakecheck-a-org"}, {"name": ["Organization with this Name already exists."]}),
    ("organizations", {"name": "x", "max_hosts": "many"}, {"max_hosts": ["A valid integer is required."]}),
    (
        "organizations", {"name": "x", "default_environment": 999999},
        {"default_environment": ['Invalid pk "999999" - object does not exist.']},
    ),
    (
        "organizations", {"name": "x", "default_environment": "mine"},
        {"default_environment": ["Incorrect type. Expected pk value, received str."]},
    ),
    (
        "inventories", {"name": "fakecheck-a-inventory", "organization": "{org}"},
        {"__all__": ["Inventory with this Name and Organization already exists."]},
    ),
    ("inventories", {"name": "x", "organization": "{org}", "kind": "big"}, {"kind": ['"big" is not a valid choice.']}),
    (
        "inventories", {"name": "x", "organization": "{org}", "variables": {"a": 1}},
        {"variables": ["Not a valid string."]},
    ),
    ("hosts", {"name": "x", "inventory": "{inventory}", "enabled": "no?"}, {"enabled": ["Must be a valid boolean."]}),
    ("projects", {"name": "x", "organization": "{org}", "scm_type": "git"}, {"scm_url": ["SCM URL is required."]}),
    (
        "projects", {"name": "x", "scm_type": "git", "scm_url": "http://a/b", "credential": "{hub}"},
        {"credential": ["Credential kind must be 'scm'."]},
    ),
    (
        "execution_environments", {"name": "x", "image": "a/b:1", "credential": "{hub}"},
        {"credential": ["Only Container Registry credentials can be associated with an Execution Environment"]},
    ),
    (
        "execution_environments", {"name": "x", "image": "http://a"},
        {"image": ["The container image name http://a is not valid"]},
    ),
    ("credential_types", {"name": "x", "kind": "ssh"}, {"kind": ["Must be 'cloud' or 'net', not ssh"]}),
    (
        "credential_types", {"name": "x", "kind": "cloud", "injectors": {"env": {"A": "{{ b }}"}}},
        {"injectors": ["A uses an undefined field ('b' is undefined)"]},
    ),
    (
        "credentials", {"name": "x", "credential_type": "{type}"},
        {"detail": ["Missing 'user', 'team', or 'organization'."]},
    ),
    (
        "credentials", {"name": "x", "credential_type": "{type}", "organization": "{org}", "inputs": {"user": "a"}},
        {"inputs": ["Additional properties are not allowed ('user' was unexpected)"]},
    ),
    (
        "credentials", {"name": "x", "credential_type": "{type}", "organization": "{org}", "inputs": {"url": 5}},
        {"inputs": {"url": ["5 is not of type 'string'"]}},
    ),
    (
        "credentials",
        {"name": "x", "credential_type": "{type}", "organization": "{org}", "inputs": {"token": "$encrypted$"}},
        {"inputs": ["$encrypted$ is a reserved keyword, and cannot be used for token."]},
    ),
    (
        "credentials", {"name": "fakecheck-a-hub", "credential_type": "{type}", "organization": "{org}"},
        {"__all__": ["Credential with this Organization, Name and Credential type already exists."]},
    ),
    (
        "inventory_sources", {"name": "x", "inventory": "{inventory}", "source": "scm"},
        {"source_project": ["Project required for scm type sources."]},
    ),
    (
        "notification_templates", {"name": "x", "organization": "{org}", "notification_type": "slack"},
        {"__all__": ["Missing required fields for Notification Configuration: ['token', 'channels']."]},
    ),
    (
        "notification_templates",
        {
            "name": "x", "organization": "{org}", "notification_type": "slack",
            "notification_configuration": {"token": 5, "channels": "#hub"},
        },
        {
            "__all__": [
                "Configuration field 'token' incorrect type, expected password.",
                "Configuration field 'channels' incorrect type, expected list.",
            ]
        },
    ),
    ("job_templates", {"name": "x"}, {"project": ["Job Templates must have a project assigned."]}),
    (
        "job_templates", {"name": "x", "project": "{project}"},
        {"inventory": ["You must either set a default value or ask to prompt on launch."]},
    ),
    (
        "job_templates", {"name": "x", "project": "{project}", "inventory": "{inventory}"},
        {"playbook": ["Must select playbook for project."]},
    ),
    (
        "job_templates",
        {"name": "x", "project": "{project}", "inventory": "{inventory}", "playbook": "site.yml", "extra_vars": "[1]"},
        {
            "extra_vars": [
                "Cannot parse as JSON (error: Input type `list` is not a dictionary) or YAML (error: Input type `list`"
                " is not a dictionary)."
            ]
        },
    ),
    ("job_templates/{template}/credentials", {"id": 999999}, {"detail": "Credential matching query does not exist."}),
    ("job_templates/{template}/credentials", {"id": "{scm}"}, {"error": "Cannot assign a Credential of kind `scm`."}),
    ("job_templates/{template}/survey_spec", {"name": "x"}, {"error": "Field 'spec' is missing from survey spec."}),
    (
        "job_templates/{template}/survey_spec", {"name": "x", "description": "", "spec": [{**QUESTION, "default": 3}]},
        {"error": "Default value 3 in survey question 0 expected to be string."},
    ),
    ("organizations/{org}/galaxy_credentials", {}, {"msg": "Credential 'id' field is missing."}),
    (
        "organizations/{org}/galaxy_credentials", {"id": "{scm}"},
        {"msg": "Credential must be a Galaxy credential, not Source Control."},
    ),
    (
        "workflow_job_template_nodes", {"identifier": "first", "workflow_job_template": "{workflow}"},
        {"__all__": ["Workflow job template node with this Identifier and Workflow job template already exists."]},
    ),
    (
        "workflow_job_template_nodes",
        {"workflow_job_template": "{workflow}", "unified_job_template": "{template}", "limit": "hub"},
        {"limit": NOT_ASKED},
    ),
    (
        "workflow_job_template_nodes",
        {"workflow_job_template": "{workflow}", "unified_job_template": "{project}", "limit": "hub"},
        {"limit": ["Field is not allowed on launch."]},
    ),
    (
        "workflow_job_template_nodes/{first}/credentials", {"id": "{hub}"},
        {"msg": "Related template is not configured to accept credentials on launch."},
    ),
    ("workflow_job_template_nodes/{first}/success_nodes", {"id": "{first}"}, {"Error": "Cycle detected."}),
    (
        "schedules", {"name": "x", "unified_job_template": "{template}", "rrule": DAILY.replace("DAILY", "SECONDLY")},
        {"rrule": ["SECONDLY is not supported: RULE:FREQ=SECONDLY;INTERVAL=1"]},
    ),
    (
        "schedules", {"name": "x", "unified_job_template": "{template}", "rrule": DAILY.partition(" ")[0]},
        {"rrule": ["One or more rule required in rrule."]},
    ),
    (
        "schedules", {"name": "x", "unified_job_template": "{template}", "rrule": DAILY, "extra_data": {"a": 1}},
        {
            "extra_data": [
                "Variables a are not allowed on launch. Check the Prompt on Launch setting on the Job Template to"
                " include Extra Variables."
            ]
        },
    ),
    (
        "schedules", {"name": "x", "unified_job_template": "{manual}", "rrule": DAILY},
        {"unified_job_template": ["Manual Project cannot have a schedule set."]},
    ),
]  # fmt: skip
"""Path, body and answer of requests that get a 400. A value `{name}` is an id of `ids`, and `x` is a new name."""


@pytest.mark.parametrize(("path", "body", "expected"), REFUSED)
def test_a_wrong_body_is_refused(
    awx: Awx, ids: dict[str, int], path: str, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    def filled(value: Any) -> Any:
        is_id = isinstance(value, str) and value[:1] + value[-1:] == "{}"
        return ids[value[1:-1]] if is_id else "fakecheck-x" if value == "x" else value

    sent = {name: filled(value) for name, value in body.items()}
    assert awx.send("POST", f"{path.format(**ids)}/", sent) == (400, expected)


def names(page: dict[str, Any]) -> list[str]:
    return [item.get("name") or item["identifier"] for item in page["results"]]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("job_templates/?name=fakecheck-a-verify", ["verify"]),
        ("job_templates/?name__iexact=FAKECHECK-A-VERIFY", ["verify"]),
        ("job_templates/?name__startswith=fakecheck-a-&order_by=-name", ["verify", "ask"]),
        ("job_templates/?or__name=fakecheck-a-verify&or__name__endswith=a-ask", ["ask", "verify"]),
        ("job_templates/?name__startswith=fakecheck-a-&not__name__contains=ask", ["verify"]),
        ("job_templates/?name__startswith=fakecheck-a-&organization={org}", ["ask", "verify"]),
        ("job_templates/?name__startswith=fakecheck-a-&organization=None", []),
        ("job_templates/?organization__name=fakecheck-a-org&ask_credential_on_launch=true", ["ask"]),
        ("job_templates/?id__in={template},{asking}", ["ask", "verify"]),
        ("unified_job_templates/?name__startswith=fakecheck-a-&type=project,workflow_job_template", [
            "manual", "project", "workflow",
        ]),
        ("unified_job_templates/?type=workflow_approval", []),
        ("inventories/{inventory}/hosts/", ["host"]),
        ("organizations/{org}/projects/?order_by=name", ["manual", "project"]),
        ("workflow_job_templates/{workflow}/workflow_nodes/?order_by=identifier", ["first", "second", "third"]),
    ],
)  # fmt: skip
def test_a_list_is_filtered(awx: Awx, ids: dict[str, int], path: str, expected: list[str]) -> None:
    found = awx.get(path.format(**ids))
    assert [name.removeprefix("fakecheck-a-") for name in names(found)] == expected
    assert (found["count"], found["next"], found["previous"]) == (len(expected), None, None)


def test_a_filter_that_makes_no_sense_is_refused(awx: Awx) -> None:
    found = {query: awx.send("GET", f"labels/?{query}") for query in ("color=red", "organization=mine", "page=99")}
    assert found == {
        "color=red": (400, {"detail": "Label has no field named 'color'"}),
        "organization=mine": (400, {"detail": "Invalid organization id: mine"}),
        "page=99": (404, {"detail": "Invalid page."}),
    }


def test_a_list_has_pages(awx: Awx) -> None:
    path = "credential_types/?managed=true&order_by=name&page_size=2"
    first = awx.get(path)
    assert len(first["results"]) == 2 < first["count"]
    assert (first["next"], first["previous"]) == (f"/api/v2/{path.replace('page_size', 'page=2&page_size')}", None)
    second = awx.get(first["next"].removeprefix("/api/v2/"))
    assert second["previous"] == first["next"].replace("page=2", "page=1")
    every = awx.get("credential_types/?managed=true&order_by=name&page_size=200")
    assert names(every)[:4] == [*names(first), *names(second)]
    assert every["next"] is None
    assert len(awx.get("credential_types/?page_size=1")["results"]) == 1


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("organizations/fakecheck-a-org", "org"),
        ("job_templates/fakecheck-a-verify++fakecheck-a-org", "template"),
        ("hosts/fakecheck-a-host++fakecheck-a-inventory++fakecheck-a-org", "host"),
        ("credentials/fakecheck-a-scm++Source%20Control+scm++fakecheck-a-org", "scm"),
        ("workflow_job_template_nodes/first++fakecheck-a-workflow++fakecheck-a-org", "first"),
    ],
)
def test_an_item_has_a_named_url(awx: Awx, ids: dict[str, int], path: str, name: str) -> None:
    item = awx.get(f"{path}/")
    assert item["id"] == ids[name]
    assert item["related"]["named_url"].replace(" ", "%20") == f"/api/v2/{path}/"
    assert awx.send("GET", f"{path}x/")[0] == 404


def test_an_item_has_what_modules_read_of_it(awx: Awx, ids: dict[str, int]) -> None:
    item = awx.get(f"job_templates/{ids['template']}/")
    assert (item["type"], item["url"]) == ("job_template", f"/api/v2/job_templates/{ids['template']}/")
    assert (item["organization"], item["extra_vars"], item["forks"]) == (ids["org"], "", 0)
    assert item["related"]["survey_spec"] == f"{item['url']}survey_spec/"
    assert item["related"]["inventory"] == f"/api/v2/inventories/{ids['inventory']}/"
    assert item["summary_fields"]["project"]["name"] == "fakecheck-a-project"
    assert item["summary_fields"]["credentials"] == []
    node = awx.get(f"workflow_job_template_nodes/{ids['first']}/")
    assert "name" not in node
    assert node["related"]["unified_job_template"] == item["url"]
    assert node["summary_fields"]["unified_job_template"]["unified_job_type"] == "job"
    assert awx.send("GET", "job_templates/999999/") == (404, {"detail": "No JobTemplate matches the given query."})


def test_a_user_logs_in(awx: Awx) -> None:
    def send(method: str, path: str, **more: Any) -> requests.Response:
        return requests.request(method, f"{awx.url}/api/v2/{path}", timeout=60, **more)

    assert send("GET", "ping/").json()["version"] == "24.6.1"
    for more in ({}, {"auth": ("admin", "wrong")}, {"headers": {"Authorization": "Bearer wrong"}}):
        answer = send("GET", "organizations/", **more)
        assert (answer.status_code, answer.headers["X-API-Product-Name"]) == (401, "AWX")
        assert answer.json()["detail"].startswith("Authentication credentials were not provided.")
    made = send("POST", "tokens/", auth=awx.login, json={"scope": "write"})
    assert made.status_code == 201
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    answer = send("GET", "me/", headers=headers)
    assert answer.json()["results"][0]["username"] == awx.login[0]
    assert answer.headers["X-API-Product-Version"] == "24.6.1"
    statuses = [send("DELETE", f"tokens/{made.json()['id']}/", auth=awx.login).status_code for _time in range(2)]
    assert statuses == [204, 404]
    assert send("GET", "me/", headers=headers).status_code == 401
    assert requests.get(f"{awx.url}/api/gateway/v1/tokens/", auth=awx.login, timeout=60).status_code == 404


def test_secrets_are_hidden_and_kept(awx: Awx, ids: dict[str, int]) -> None:
    path = f"credentials/{ids['hub2']}/"
    assert awx.get(path)["inputs"] == {"token": "$encrypted$", "url": "http://hub"}
    status, answer = awx.send("PATCH", path, {"inputs": {"token": "$encrypted$", "url": "http://other"}})
    assert (status, answer["inputs"]) == (200, {"token": "$encrypted$", "url": "http://other"})
    assert awx.send("PATCH", path, {"inputs": {"token": "", "url": ""}})[1]["inputs"] == {"url": ""}
    path = f"notification_templates/{ids['slack']}/"
    configuration = {"token": "$encrypted$", "channels": ["#other"]}
    status, answer = awx.send("PATCH", path, {"notification_configuration": configuration})
    assert (status, answer["notification_configuration"]) == (200, configuration)
    kind = f"credential_types/{ids['type']}/"
    in_use = "Credential types that are in use cannot be deleted"
    assert awx.send("DELETE", kind) == (403, {"detail": in_use})
    in_use = "Modifications to inputs are not allowed for credential types that are in use"
    assert awx.send("PATCH", kind, {"inputs": {}}) == (403, {"detail": in_use})
    managed = "Deletion not allowed for managed credential types"
    assert awx.send("DELETE", f"credential_types/{ids['Vault']}/") == (403, {"detail": managed})


def test_items_are_associated(awx: Awx, ids: dict[str, int]) -> None:
    path = f"job_templates/{ids['template']}/credentials/"
    assert [awx.send("POST", path, {"id": ids[name]})[0] for name in ("hub", "vault", "vault2")] == [204] * 3
    assert names(awx.get(f"{path}?order_by=name")) == [f"fakecheck-a-{name}" for name in ("hub", "vault", "vault2")]
    error = "Cannot assign multiple fakecheck-a-type credentials."
    assert awx.send("POST", path, {"id": ids["hub2"]}) == (400, {"error": error})
    error = "Cannot assign multiple Vault (id=b) credentials."
    assert awx.send("POST", path, {"id": ids["vault3"]}) == (400, {"error": error})
    assert awx.send("POST", path, {"disassociate": True}) == (400, {"msg": '"id" is required to disassociate'})
    removal = {"id": ids["hub"], "disassociate": True}
    assert [awx.send("POST", path, removal) for _time in range(2)] == [(204, None)] * 2
    assert len(awx.get(path)["results"]) == 2
    assert awx.send("POST", f"workflow_job_template_nodes/{ids['first']}/labels/", {"id": 999999})[0] == 400


def test_nodes_are_linked(awx: Awx, ids: dict[str, int]) -> None:
    def link(parent: str, child: str, event: str = "success") -> tuple[int, Any]:
        path = f"workflow_job_template_nodes/{ids[parent]}/{event}_nodes/"
        return awx.send("POST", path, {"id": ids[child]})

    assert (link("first", "second"), link("second", "third", "always")) == ((204, None), (204, None))
    assert link("first", "second", "failure") == (400, {"Error": "Relationship not allowed."})
    assert link("third", "first") == (400, {"Error": "Cycle detected."})
    assert awx.get(f"workflow_job_template_nodes/{ids['first']}/")["success_nodes"] == [ids["second"]]


def test_a_node_asks_for_approval(awx: Awx, ids: dict[str, int]) -> None:
    node = awx.create("workflow_job_template_nodes", workflow_job_template=ids["workflow"], identifier="approval")
    path = f"workflow_job_template_nodes/{node}/"
    assert awx.send("POST", f"{path}create_approval_template/", {}) == (400, {"name": REQUIRED})
    made = awx.create(f"{path}create_approval_template", name="fakecheck-a-approval", timeout=60)
    url = awx.get(path)["related"]["unified_job_template"]
    assert url == f"/api/v2/workflow_approval_templates/{made}/"
    item = awx.get(url.removeprefix("/api/v2/"))
    assert (item["type"], item["name"], item["timeout"]) == ("workflow_approval_template", "fakecheck-a-approval", 60)
    assert awx.send("DELETE", path)[0] == 204
    assert awx.send("GET", url.removeprefix("/api/v2/"))[0] == 404


def test_a_template_has_a_survey(awx: Awx, ids: dict[str, int]) -> None:
    path = f"job_templates/{ids['asking']}/survey_spec/"
    assert awx.get(path) == {}
    password = {"type": "password", "question_name": "Key", "variable": "key", "required": False, "default": "secret"}
    survey = {"name": "Verify", "description": "", "spec": [QUESTION, password]}
    hidden = {**survey, "spec": [QUESTION, {**password, "default": "$encrypted$"}]}
    for body in (survey, hidden):
        assert awx.send("POST", path, body)[0] == 200
        assert awx.get(path) == hidden
    awx.send("PATCH", f"job_templates/{ids['asking']}/", {"survey_enabled": True})
    schedule = {"name": "fakecheck-a-schedule", "unified_job_template": ids["asking"], "rrule": DAILY}
    missing = {"variables_needed_to_start": ["'hub' value missing"]}
    assert awx.send("POST", "schedules/", schedule) == (400, missing)
    awx.create("schedules", **schedule, extra_data={"hub": "prod"})
    assert (awx.send("DELETE", path)[0], awx.get(path)) == (200, {})


def test_a_project_is_updated(awx: Awx, ids: dict[str, int]) -> None:
    path = f"projects/{ids['project']}/"
    status, update = awx.send("POST", f"{path}update/")
    assert (status, update["type"], update["project_update"]) == (202, "project_update", update["id"])
    assert update["project"] == ids["project"]
    update = wait_until(lambda: (found := awx.get(f"project_updates/{update['id']}/"))["finished"] and found)
    assert (update["status"], update["failed"]) == ("successful", False)
    project = wait_until(lambda: (found := awx.get(path))["scm_revision"] and found)
    assert (project["scm_revision"], project["status"]) == (update["scm_revision"], "successful")
    status, project = awx.send("PATCH", path, {"scm_branch": "other"})
    assert project["summary_fields"]["current_update"]["id"] > update["id"]
    assert awx.send("PATCH", path, {"description": "the same source"})[0] == 200
    assert awx.get(f"projects/{ids['manual']}/update/") == {"can_update": False}
    assert awx.send("POST", f"projects/{ids['manual']}/update/")[0] == 405


def test_what_depends_on_an_item_goes_with_it(awx: Awx) -> None:
    org = {"organization": awx.create("organizations", name="fakecheck-b-org")}
    source = {"scm_type": "git", "scm_url": "https://example.org/hub.git", "allow_override": True}
    project = awx.create("projects", name="fakecheck-b-project", **source, **org)
    inventory = awx.create("inventories", name="fakecheck-b-inventory", **org)
    runs = {"inventory": inventory, "project": project, "playbook": "site.yml"}
    template = awx.create("job_templates", name="fakecheck-b-verify", **runs)
    workflow = awx.create("workflow_job_templates", name="fakecheck-b-workflow", **org)
    links = {"workflow_job_template": workflow, "unified_job_template": template}
    node = awx.create("workflow_job_template_nodes", identifier="a", **links)
    schedule = awx.create("schedules", name="fakecheck-b-schedule", unified_job_template=template, rrule=DAILY)
    label = awx.create("labels", name="fakecheck-b-label", **org)
    assert awx.send("DELETE", f"job_templates/{template}/") == (204, None)
    assert awx.send("GET", f"schedules/{schedule}/")[0] == 404
    assert awx.get(f"workflow_job_template_nodes/{node}/")["unified_job_template"] is None
    assert awx.send("DELETE", f"organizations/{org['organization']}/") == (204, None)
    assert awx.send("GET", f"labels/{label}/")[0] == 404
    kept = [awx.get(f"{path}/") for path in (f"projects/{project}", f"workflow_job_templates/{workflow}")]
    assert [item["organization"] for item in kept] == [None, None]
    for item in kept:
        assert awx.send("DELETE", item["url"].removeprefix("/api/v2/")) == (204, None)
    assert awx.send("GET", f"workflow_job_template_nodes/{node}/")[0] == 404


# What only the stand-in can do


def client(fake: FakeAwx) -> Awx:
    return Awx(fake.url, (fake.username, fake.password))


def test_the_stand_in_records_and_keeps(fake: FakeAwx) -> None:
    awx = client(fake)
    org = awx.create("organizations", name="hubs")
    [kind] = awx.get("credential_types/?name=Vault")["results"]
    secret = {"vault_password": "secret", "vault_id": "prod"}
    made = awx.create("credentials", name="vault", organization=org, credential_type=kind["id"], inputs=secret)
    awx.send("PATCH", f"credentials/{made}/", {"inputs": {"vault_password": "$encrypted$", "vault_id": "prod"}})
    awx.create("tokens", scope="write")
    assert fake.stored("credentials", "vault")["inputs"] == secret
    [shown] = [item for item in fake.items("credentials") if not item["managed"]]
    assert shown["inputs"] == {"vault_password": "$encrypted$", "vault_id": "prod"}
    assert fake.linked("organizations", "Default", "galaxy_credentials") == ["Ansible Galaxy"]
    assert fake.writes == ["POST organizations", "POST credentials", f"PATCH credentials/{made}"]
    assert (str(fake.requests[1]), fake.requests[1].query) == ("GET credential_types", {"name": "Vault"})
    assert fake.requests[0].body == {"name": "hubs"}


def test_the_stand_in_refuses_writes() -> None:
    with FakeAwx(read_only=True) as fake:
        refused = {"detail": "You do not have permission to perform this action."}
        assert client(fake).send("POST", "organizations/", {"name": "hubs"}) == (403, refused)
        headers = {"Authorization": f"Bearer {fake.token}"}
        found = requests.get(f"{fake.url}/api/v2/organizations/", headers=headers, timeout=60).json()
        assert names(found) == ["Default"]
        assert fake.writes == ["POST organizations"]


def test_the_stand_in_knows_the_playbooks() -> None:
    with FakeAwx(playbooks=["site.yml"]) as fake:
        awx = client(fake)
        fake.update_status = "failed"
        project = awx.create("projects", name="hubs", scm_type="git", scm_url="https://example.org/hub.git")
        assert awx.get(f"projects/{project}/")["status"] == "failed"
        assert awx.get(f"projects/{project}/playbooks/") == ["site.yml"]
        body = {"name": "verify", "project": project, "ask_inventory_on_launch": True, "playbook": "other.yml"}
        unknown = {"playbook": ["Playbook not found for project."]}
        assert awx.send("POST", "job_templates/", body) == (400, unknown)
        awx.create("job_templates", **{**body, "playbook": "site.yml"})
