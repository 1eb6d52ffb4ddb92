# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is special about a resource of AWX: what it infers, and what it refuses."""

from __future__ import annotations

import re
import secrets
import zoneinfo
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from support.fakes.fake_awx.refusals import Item, Refused, forbidden, invalid
from support.fakes.fake_awx.resources import (
    ASKS,
    DEFAULT_MESSAGES,
    ENCRYPTED,
    LAUNCH,
    NODES,
    NOTIFICATION_SECRETS,
    NOTIFICATION_TYPES,
    RESOURCES,
    SECRET_FIELDS,
)

if TYPE_CHECKING:
    from support.fakes.fake_awx.store import Store

Check = Callable[["Store", Item, Item, Item], None]
"""Refuses a new or changed item, and fills in what AWX infers: from the new item, the one before, and the fields that
are given."""


def secret_names(store: Store, name: str, item: Item) -> set[str]:
    """The names of the secrets of an item, in the field of SECRET_FIELDS."""
    if name == "notification_templates":
        return NOTIFICATION_SECRETS & NOTIFICATION_TYPES[item["notification_type"]].keys()
    if name == "credentials":
        fields = store.get("credential_types", item["credential_type"])["inputs"].get("fields", [])
        return {each["id"] for each in fields if each.get("secret")}
    return {"password"} if name == "users" else set()


def keep_secrets(store: Store, name: str, new: Item, old: Item) -> None:
    """Replace `$encrypted$`, which a client sends back, with the secret that is stored."""
    container = new[SECRET_FIELDS[name]]
    for each in secret_names(store, name, new) & container.keys():
        if container[each] == ENCRYPTED:
            container[each] = old[SECRET_FIELDS[name]].get(each, "") if old else ""


# Credentials and their types


def check_credential(store: Store, new: Item, old: Item, given: Item) -> None:
    kind = store.get("credential_types", new["credential_type"])
    hidden = secret_names(store, "credentials", new)
    if not old and not new["organization"] and not new["managed"]:
        raise invalid(detail="Missing 'user', 'team', or 'organization'.")
    if kind["kind"] == "vault" and old and new["inputs"].get("vault_id", "") != old["inputs"].get("vault_id", ""):
        raise invalid(inputs="Vault IDs cannot be changed once they have been created.")
    types = {each["id"]: each["type"] for each in kind["inputs"].get("fields", [])}
    if unknown := [repr(each) for each in new["inputs"] if each not in types]:
        verb = "was" if len(unknown) == 1 else "were"
        raise invalid(inputs=f"Additional properties are not allowed ({', '.join(unknown)} {verb} unexpected)")
    for each, value in list(new["inputs"].items()):
        if not isinstance(value, bool if types[each] == "boolean" else str | None):
            raise Refused(400, {"inputs": {each: [f"{value!r} is not of type '{types[each]}'"]}})
        if each in hidden and value == ENCRYPTED and not old:
            raise invalid(inputs=f"$encrypted$ is a reserved keyword, and cannot be used for {each}.")
        if each in hidden and not value:
            del new["inputs"][each]
    keep_secrets(store, "credentials", new, old)


def is_in_use(store: Store, kind: Item) -> bool:
    return any(one["credential_type"] == kind["id"] for one in store.tables["credentials"].values())


def check_credential_type(store: Store, new: Item, old: Item, given: Item) -> None:
    if old and is_in_use(store, new) and new["inputs"] != old["inputs"]:
        raise forbidden("Modifications to inputs are not allowed for credential types that are in use")
    if "kind" in given and given["kind"] not in ("cloud", "net") and not new["managed"]:
        raise invalid(kind=f"Must be 'cloud' or 'net', not {given['kind']}")
    names: list[str] = []
    for each in new["inputs"].get("fields", []):
        for required in ("id", "label"):
            if required not in each:
                raise invalid(inputs=f"'{required}' is a required property")
        if not re.fullmatch(r"[a-zA-Z_]\w*", each["id"]):
            raise invalid(inputs=f"{each['id']} is an invalid variable name")
        names.append(each["id"])
        each.setdefault("type", "string")
    if twins := sorted({each for each in names if names.count(each) > 1}):
        raise invalid(inputs=f"field IDs must be unique ({', '.join(twins)})")
    for each, text in [pair for part in ("env", "extra_vars") for pair in new["injectors"].get(part, {}).items()]:
        if each.startswith("ANSIBLE_"):
            raise invalid(
                injectors=f"Environment variable {each} may affect Ansible configuration so its use is not allowed in"
                " credentials."
            )
        for used in re.findall(r"{{\s*(\w+)", str(text)):
            if used not in (*names, "tower"):
                raise invalid(injectors=f"{each} uses an undefined field ('{used}' is undefined)")


# Projects, inventories, execution environments


def check_environment(store: Store, new: Item, old: Item, given: Item) -> None:
    if old and given.get("organization") and given["organization"] != old["organization"]:
        raise invalid(organization="Cannot change the organization of an execution environment")
    if not re.fullmatch(r"[\w.:/@-]+", new["image"]) or "://" in new["image"]:
        raise invalid(image=f"The container image name {new['image']} is not valid")
    credential = store.get("credentials", new["credential"])
    if credential and store.kind_of(credential)["kind"] != "registry":
        raise invalid(credential="Only Container Registry credentials can be associated with an Execution Environment")


def check_project(store: Store, new: Item, old: Item, given: Item) -> None:
    credential = store.get("credentials", new["credential"])
    users = [one for one in store.tables["job_templates"].values() if one["project"] == new["id"]]
    if old and users and new["organization"] != old["organization"]:
        raise invalid(organization="Organization cannot be changed when in use by job templates.")
    if not new["scm_type"]:
        for each in ("scm_update_on_launch", "scm_delete_on_update", "scm_track_submodules", "scm_clean"):
            if new[each]:
                raise invalid(**{each: "Update options must be set to false for manual projects."})
        return
    if not new["scm_url"]:
        raise invalid(scm_url="SCM URL is required.")
    if credential and store.kind_of(credential)["kind"] != "scm":
        raise invalid(credential="Credential kind must be 'scm'.")
    new["local_path"] = f"_{new['id']}__{re.sub(r'[^a-z0-9]+', '_', new['name'].lower()).strip('_')}"


def check_inventory(store: Store, new: Item, old: Item, given: Item) -> None:
    if old and given.get("kind") and given["kind"] != old["kind"]:
        sentence = 'You cannot turn a regular inventory into a "smart" or "constructed" inventory.'
        raise Refused(405, {"error": sentence})
    if new["kind"] == "smart" and not new["host_filter"]:
        raise invalid(host_filter="Smart inventories must specify host_filter")


def check_inventory_source(store: Store, new: Item, old: Item, given: Item) -> None:
    project = store.get("projects", new["source_project"])
    names = [each for each in ("source_project", "source_path", "scm_branch") if given.get(each)]
    if not new["source"]:
        raise invalid(source='"" is not a valid choice.')
    if new["source"] == "scm" and not project:
        raise invalid(source_project="Project required for scm type sources.")
    if project and not project["scm_type"]:
        raise invalid(source_project="Cannot use manual project for SCM-based inventory.")
    if new["source"] != "scm" and names:
        raise invalid(detail=f"Cannot set {' '.join(names)} if not SCM type.")
    if new["scm_branch"] and not project["allow_override"]:
        raise invalid(scm_branch="Project does not allow overriding branch.")
    new["organization"] = store.get("inventories", new["inventory"])["organization"]


# Notification templates

KINDS_OF_FIELDS = {str: "string", int: "int", bool: "bool", list: "list", dict: "object"}


def check_notification_template(store: Store, new: Item, old: Item, given: Item) -> None:
    if new["notification_type"] not in NOTIFICATION_TYPES:
        raise invalid(notification_type=f'"{new["notification_type"]}" is not a valid choice.')
    configuration, missing, problems = new["notification_configuration"], [], []
    for each, expected in NOTIFICATION_TYPES[new["notification_type"]].items():
        kind = expected if isinstance(expected, type) else type(expected)
        if each not in configuration and isinstance(expected, type):
            missing.append(each)
            continue
        value = configuration.setdefault(each, expected)
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):  # a boolean is no number
            name = "password" if each in NOTIFICATION_SECRETS else KINDS_OF_FIELDS[kind]
            problems.append(f"Configuration field '{each}' incorrect type, expected {name}.")
        elif value == []:
            problems.append(f"No values specified for field '{each}'")
        elif each == "http_method" and str(value).lower() not in ("put", "post"):
            problems.append("HTTP method must be either 'POST' or 'PUT'.")
    if missing:
        raise invalid(f"Missing required fields for Notification Configuration: {missing}.")
    if problems:
        raise invalid(*problems)
    if new["messages"] is not None:
        for each in new["messages"].keys() - DEFAULT_MESSAGES.keys():
            known = "'started', 'success', 'error', or 'workflow_approval'"
            raise invalid(messages=f"Event '{each}' invalid, must be one of {known}")
        # A message stays if no other replaces it.
        before = (old and old["messages"]) or DEFAULT_MESSAGES
        new["messages"] = {each: new["messages"].get(each) or before[each] for each in DEFAULT_MESSAGES}
    keep_secrets(store, "notification_templates", new, old)


# Templates, and what starts them


def check_job_template(store: Store, new: Item, old: Item, given: Item) -> None:
    project = store.get("projects", new["project"])
    if new["host_config_key"] and not new["inventory"]:
        raise invalid(host_config_key="Cannot enable provisioning callback without an inventory set.")
    if not project:
        raise invalid(project="Job Templates must have a project assigned.")
    if not new["inventory"] and not new["ask_inventory_on_launch"]:
        raise invalid(inventory="You must either set a default value or ask to prompt on launch.")
    if not new["playbook"]:
        raise invalid(playbook="Must select playbook for project.")
    if new["playbook"] not in (store.playbooks or [new["playbook"]]) and not project["allow_override"]:
        raise invalid(playbook="Playbook not found for project.")
    for each in ("scm_branch", "ask_scm_branch_on_launch"):
        if new[each] and not project["allow_override"]:
            raise invalid(**{each: "Project does not allow overriding branch."})
    new["organization"] = project["organization"]


def check_launch(store: Store, new: Item, given: Item, needs_answers: bool) -> None:
    """Refuse what a schedule or a node sets, and what its template does not ask for on launch.

    ``needs_answers`` is whether the required questions of the survey must be answered.
    """
    name, template = store.find("templates_of_nodes", new["unified_job_template"]) or ("", {})
    set_here = {each: given[each] for each in LAUNCH_FIELDS if given.get(each) not in (None, {})}
    errors: dict[str, Any] = {}
    if name not in ("job_templates", "workflow_job_templates"):
        errors = {each: ["Field is not allowed on launch."] for each in set_here}
    elif given.keys() & LAUNCH_FIELDS:
        for each, value in set_here.items():
            if each != "extra_data" and value != template.get(each) and not template.get(ASKS[each]):
                errors[each] = ["Field is not configured to prompt on launch."]
        spec: Item = template.get("survey_spec", {}) if template["survey_enabled"] else {}
        questions = {one["variable"]: one["required"] for one in spec.get("spec", [])}
        unknown = [each for each in new["extra_data"] if each not in questions]
        if unknown and not template["ask_variables_on_launch"]:
            errors["extra_data"] = [
                f"Variables {', '.join(unknown)} are not allowed on launch. Check the Prompt on Launch setting on the"
                f" {RESOURCES[name].label.title()} to include Extra Variables."
            ]
        open_questions = [each for each, required in questions.items() if required and each not in new["extra_data"]]
        if open_questions and needs_answers:
            errors["variables_needed_to_start"] = [f"'{each}' value missing" for each in open_questions]
        if name == "job_templates" and not template["inventory"] and not new["inventory"]:
            errors["resources_needed_to_start"] = ["Job Template inventory is missing or undefined."]
    if errors:
        raise Refused(400, errors)


LAUNCH_FIELDS = (*LAUNCH, "inventory", "execution_environment")


def check_node(store: Store, new: Item, old: Item, given: Item) -> None:
    new["identifier"] = new["identifier"] or secrets.token_hex(16)
    if not new["unified_job_template"]:
        new |= {each: LAUNCH.get(each) for each in LAUNCH_FIELDS}
    elif not store.find("workflow_approval_templates", new["unified_job_template"]):
        check_launch(store, new, given, needs_answers=False)
    if old and new["unified_job_template"] != old["unified_job_template"]:
        store.delete_approval(old["unified_job_template"])


def check_schedule(store: Store, new: Item, old: Item, given: Item) -> None:
    if "rrule" in given:
        check_rule(new)
    name, template = store.find("unified_job_templates", new["unified_job_template"]) or ("", {})
    if name == "projects" and not template["scm_type"]:
        raise invalid(unified_job_template="Manual Project cannot have a schedule set.")
    if given != {"enabled": False}:
        check_launch(store, new, given, needs_answers=True)


def check_rule(schedule: Item) -> None:
    """Look at the rule of a schedule roughly. AWX also parses it."""
    rule, problems = schedule["rrule"], []
    starts = re.findall(r"DTSTART(?:;TZID=([^:]+))?:[0-9]+T[0-9]+(Z?)", rule)
    if not starts:
        problems.append("Valid DTSTART required in rrule. Value should start with: DTSTART:YYYYMMDDTHHMMSSZ")
    if re.search(r"DTSTART:[0-9]+T[0-9]+ ", rule):
        problems.append("DTSTART cannot be a naive datetime.  Specify ;TZINFO= or YYYYMMDDTHHMMSSZZ.")
    if len(starts) > 1:
        problems.append("Multiple DTSTART is not supported.")
    if "rrule:" not in rule.lower():
        problems.append("One or more rule required in rrule.")
    for each in re.findall(r"RULE:\S*", rule):
        found = [
            ("INTERVAL required in rrule", "INTERVAL" not in each),
            ("SECONDLY is not supported", "INTERVAL" in each and "SECONDLY" in each),
            ("BYDAY with numeric prefix not supported", re.search(r"BYDAY[:=][0-9]+[a-zA-Z]{2}", each)),
            ("RRULE may not contain both COUNT and UNTIL", "COUNT" in each and "UNTIL" in each),
            ("COUNT > 999 is unsupported", re.search(r"COUNT=[0-9]{4}", each)),
        ]
        problems += [f"{problem}: {each}" for problem, is_there in found if is_there]
    frequencies = re.findall(r"FREQ=(\w+)", rule)
    known = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
    zone, is_utc = starts[0] if starts else ("", "")
    if unknown := [each for each in frequencies if each not in known]:
        problems.append(f"rrule parsing failed validation: invalid 'FREQ': {unknown[0]}")
    elif frequencies and not is_utc and zone not in zoneinfo.available_timezones():
        problems.append("rrule parsing failed validation: A valid TZID must be provided (e.g., America/New_York)")
    if problems:
        raise Refused(400, {"rrule": problems})
    schedule["timezone"] = zone or "UTC"


CHECKS: dict[str, Check] = {
    "credential_types": check_credential_type,
    "credentials": check_credential,
    "execution_environments": check_environment,
    "inventories": check_inventory,
    "inventory_sources": check_inventory_source,
    "job_templates": check_job_template,
    "notification_templates": check_notification_template,
    "projects": check_project,
    "schedules": check_schedule,
    "workflow_job_template_nodes": check_node,
}

QUESTIONS: dict[str, type | tuple[type, ...]] = {
    "text": str, "textarea": str, "password": str, "multiplechoice": str, "multiselect": str, "integer": int,
    "float": (int, float),
}  # fmt: skip
"""The types of the questions of a survey, and of their defaults."""


def check_survey(spec: Item, old: Item) -> None:
    """Refuse a survey that is not valid. Puts the defaults that are hidden into it, as they are in the one before."""

    def refuse(sentence: str) -> Refused:
        return Refused(400, {"error": sentence})

    for each, kind, label in (("spec", list, "list of items"), ("description", str, "string"), ("name", str, "string")):
        if each not in spec:
            raise refuse(f"Field '{each}' is missing from survey spec.")
        if not isinstance(spec[each], kind):
            raise refuse(f"Expected {label} for field '{each}', received {type(spec[each]).__name__} type.")
    if not spec["spec"]:
        raise refuse("'spec' doesn't contain any items.")
    defaults = {one["variable"]: one["default"] for one in old.get("spec", []) if "default" in one}
    variables = set[str]()
    for index, one in enumerate(spec["spec"]):
        for each in ("type", "question_name", "variable", "required"):
            if each not in one:
                raise refuse(f"'{each}' missing from survey question {index}")
            if not isinstance(one[each], bool if each == "required" else str):
                label = "boolean" if each == "required" else "string"
                raise refuse(f"'{each}' in survey question {index} expected to be {label}.")
        if one["variable"] in variables:
            raise refuse(f"'variable' '{one['variable']}' duplicated in survey question {index}.")
        variables.add(one["variable"])
        if one["type"] not in QUESTIONS:
            known = ", ".join(QUESTIONS)
            raise refuse(f"'{one['type']}' in survey question {index} is not one of '{known}' allowed question types.")
        default = one.get("default", "")
        if default != "" and not isinstance(default, QUESTIONS[one["type"]]):
            label = one["type"] if one["type"] in ("integer", "float") else "string"
            raise refuse(f"Default value {default} in survey question {index} expected to be {label}.")
        if one["type"].startswith("multi") and "choices" not in one:
            raise refuse(f"Survey question {index} of type {one['type']} must specify choices.")
        if default == ENCRYPTED:
            if one["variable"] not in defaults:
                raise refuse(f"$encrypted$ is a reserved keyword, may not be used for new default in position {index}.")
            one["default"] = defaults[one["variable"]]


# Associations


def check_association(store: Store, name: str, item: Item, below: str, other: Item) -> None:
    """Refuse an item that cannot be associated with this one."""
    if below == "galaxy_credentials":
        kind = store.get("credential_types", other["credential_type"])
        if kind["namespace"] != "galaxy_api_token":
            raise Refused(400, {"msg": f"Credential must be a Galaxy credential, not {kind['name']}."})
    if below == "credentials":
        check_credential_of(store, name, item, other)
    if below in NODES:
        check_link(store, item, below, other)


def check_credential_of(store: Store, name: str, item: Item, credential: Item) -> None:
    """Refuse a credential that a job template, a schedule or a node cannot have."""

    def mark(one: Item) -> tuple[Any, Any]:
        return one["credential_type"], one["inputs"].get("vault_id")

    kind = store.get("credential_types", credential["credential_type"])
    vault = credential["inputs"].get("vault_id")
    label = f"{kind['name']} (id={vault})" if vault else kind["name"]
    is_taken = mark(credential) in [mark(store.get("credentials", number)) for number in item["credentials"]]
    if name == "job_templates":
        if is_taken:
            raise Refused(400, {"error": f"Cannot assign multiple {label} credentials."})
        if kind["kind"] not in ("ssh", "vault", "cloud", "net", "kubernetes"):
            raise Refused(400, {"error": f"Cannot assign a Credential of kind `{kind['kind']}`."})
        return
    template = store.get("templates_of_nodes", item["unified_job_template"])
    if not template.get("ask_credential_on_launch"):
        raise Refused(400, {"msg": "Related template is not configured to accept credentials on launch."})
    if is_taken:
        raise Refused(400, {"msg": f"This launch configuration already provides a {label} credential."})
    if credential["id"] in template["credentials"]:
        raise Refused(400, {"msg": f"Related template already uses {credential['name']} credential."})


def check_link(store: Store, node: Item, below: str, child: Item) -> None:
    """Refuse a link between two nodes. As AWX, this does not see a cycle that no other node leads to."""
    if child["workflow_job_template"] != node["workflow_job_template"]:
        raise forbidden()
    if child["id"] == node["id"]:
        raise Refused(400, {"Error": "Cycle detected."})
    if any(child["id"] in node[each] for each in NODES if each != below):
        raise Refused(400, {"Error": "Relationship not allowed."})
    table = store.tables["workflow_job_template_nodes"].values()
    nodes = [one for one in table if one["workflow_job_template"] == node["workflow_job_template"]]
    children = {one["id"]: {number for each in NODES for number in one[each]} for one in nodes}
    children[node["id"]].add(child["id"])
    roots = children.keys() - set().union(*children.values())

    def leads_to_a_cycle(number: int, path: tuple[int, ...]) -> bool:
        return number in path or any(leads_to_a_cycle(each, (*path, number)) for each in children[number])

    if not roots or any(leads_to_a_cycle(root, ()) for root in roots):
        raise Refused(400, {"Error": "Cycle detected."})
