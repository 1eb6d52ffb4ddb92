# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role awx wants AWX to have: the objects of a declaration, each with the options of its module of awx.awx.

A declaration has the role's variables, by their names without ``awx_``. What is wrong with it raises ValueError, with a
sentence that names the variable. docs/docsite/rst/awx.rst describes the variables for users.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...module_utils._hub.errors import quoted
from .awx_jobs import PLAYBOOKS, make_nodes, make_survey
from .awx_notifications import complete_configuration, make_messages
from .checks import is_true

PRESENT, ABSENT = STATES = ("present", "absent")

EVENTS = ("started", "success", "error", "approvals")
"""The events for which a template has notification templates."""

_MISSING_SHARED = (
    "{playbook} needs files that outlive a job, and AWX deletes the files of a job. Set awx_shared_dir to a folder on "
    "a volume that each job mounts."
)


@dataclass(frozen=True)
class Object:
    """An object of AWX: its ``kind`` is a module of awx.awx, and ``options`` are those of this module.

    ``label`` is unique for its kind. ``names`` tells the object from others of its kind, by the keys of `IDENTITY` in
    awx_plan.py. ``needs`` are the kinds and labels of declared objects that must exist before it.
    """

    kind: str
    label: str
    options: Mapping[str, Any]
    names: tuple[str, ...]
    needs: tuple[tuple[str, str], ...] = ()
    state: str = PRESENT


def read_organization(declaration: Mapping[str, Any]) -> str:
    """Return the name of the organization of a declaration. Raises ValueError if it has none."""
    return _Reader(declaration).organization


def list_objects(declaration: Mapping[str, Any]) -> list[Object]:
    """Return all objects of a declaration, in the order in which AWX can create them.

    Raises ValueError for a declaration that makes no sense.
    """
    reader = _Reader(declaration)
    return [*reader.read_base(), *reader.read_inventory(), *reader.read_jobs()]


class _Reader:
    """Reads the variables of one declaration."""

    def __init__(self, declaration: Mapping[str, Any]) -> None:
        self._declaration = declaration
        self._state = _choose_state("awx_state", declaration.get("state"))
        self._types: Mapping[str, Mapping[str, Any]] = declaration["credential_types"]
        organization = declaration.get("organization")
        entry = {"name": organization} if isinstance(organization, str) else organization
        if not isinstance(entry, Mapping) or not entry.get("name"):
            raise ValueError(
                "awx_organization is missing. Set it to the name of an organization of AWX, existing or new."
            )
        self._organization_entry = entry
        self.organization = str(entry["name"])
        self.project = self._one("project", {"name": "JupyterHub playbooks"})
        self.inventory = self._one("inventory", {"name": "JupyterHubs", "kind": ""})
        self.environment = self._one("execution_environment", {"name": "JupyterHub operations"})
        types = {key: f"{each['name']}+{each['kind']}" for key, each in self._types.items()}
        types |= {str(each["name"]): types[key] for key, each in self._types.items()}
        self._declared: dict[str, dict[str, str]] = {
            "inventory": {str(self.inventory["name"]): ""},
            "notification_template": {str(each["name"]): "" for each in self._many("notification_templates")},
            "credential": {
                str(each["name"]): types[key]
                for each in self._many("credentials")
                for key in types
                if key in each or key == each.get("credential_type")
            },
        }
        """For each kind, the names, and the part of the named URL between the name and the organization."""

    # Entries

    def _one(self, variable: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
        entry = self._declaration.get(variable) or {}
        if not isinstance(entry, Mapping):
            raise ValueError(
                f"awx_{variable} is not a mapping. Give it keys and values, such as name: {defaults['name']}."
            )
        return {**defaults, **entry, "state": self._state_of(f"awx_{variable}", entry)}

    def _many(self, variable: str, allowed: Sequence[str] = (), named: bool = True) -> Iterator[dict[str, Any]]:
        entries = self._declaration.get(variable) or []
        if not isinstance(entries, list | tuple) or not all(isinstance(entry, Mapping) for entry in entries):
            raise ValueError(f"awx_{variable} is not a list of mappings. Begin each entry with '- name:'.")
        seen = set()
        for number, entry in enumerate(entries, start=1):
            where = f"awx_{variable}, entry {number}"
            if named:
                name = entry.get("name")
                if not name or not isinstance(name, str):
                    raise ValueError(f"{where} has no name. Give it the name that AWX shows.")
                if name in seen:
                    raise ValueError(
                        f"{where} has the name {quoted(name)} of an earlier entry. Give each entry its own."
                    )
                seen.add(name)
            unknown = [key for key in entry if allowed and key not in allowed]
            if unknown:
                raise ValueError(
                    f"{where} has the unknown key {quoted(str(unknown[0]))}. Its keys are {', '.join(allowed)}."
                )
            yield {**entry, "state": self._state_of(where, entry)}

    def _state_of(self, where: str, entry: Mapping[str, Any]) -> str:
        state = _choose_state(f"state of {where}", entry.get("state"))
        # What is absent as a whole has no part that is present.
        return ABSENT if self._state == ABSENT else state

    def _object(self, kind: str, entry: Mapping[str, Any], *needs: tuple[str, str], **more: Any) -> Object:
        """Return an object of the organization."""
        options = {**entry, "organization": self.organization}
        return _make(kind, options, (str(entry["name"]),), ("organization", self.organization), *needs, **more)

    # References

    def _refer(self, kind: str, name: str) -> str:
        """Return what tells an object of the declaration from others of AWX with the same name: its named URL.

        The modules of awx.awx look for the name in all organizations, and fail if they find two. They accept a named
        URL. An object that the declaration does not have keeps its name.
        """
        middle = self._declared[kind].get(name)
        if middle is None:
            return name
        parts = [_escape(name), *([middle] if middle else []), _escape(self.organization)]
        return "++".join(parts)

    def _refer_to_all(self, template: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a template with references to the objects of the declaration."""
        options = dict(template)
        if options.get("inventory"):
            options["inventory"] = self._refer("inventory", str(options["inventory"]))
        lists = {f"notification_templates_{event}": "notification_template" for event in EVENTS}
        for option, kind in {"credentials": "credential", **lists}.items():
            if option in options:
                options[option] = [self._refer(kind, str(name)) for name in options[option] or []]
        return options

    # The parts

    def read_base(self) -> Iterator[Object]:
        entry = self._organization_entry
        state = _choose_state("state of awx_organization", entry.get("state"))
        if state == ABSENT and self._state != ABSENT:
            raise ValueError(
                "awx_organization is absent, but the rest of the declaration is not. Set awx_state: absent as well. "
                "AWX then also deletes what others have in this organization."
            )
        # Others may use the organization and the credential types, too.
        if self._state == PRESENT or state == ABSENT:
            yield _make("organization", {**entry, "state": state}, (self.organization,))
        if self._state == PRESENT:
            for credential_type in self._types.values():
                yield _make("credential_type", {**credential_type, "state": PRESENT}, (str(credential_type["name"]),))
        yield from self._read_credentials()
        # Without an image, it belongs to somebody else.
        if self.environment.get("image"):
            yield self._object("execution_environment", {"pull": "missing", **self.environment})
        for entry in self._many("notification_templates"):
            yield self._object("notification_template", self._complete_notification(entry))
        # AWX refuses a job template whose playbook it has not seen yet in the project, unless the project allows that
        # a job chooses another branch. A new project is not synchronized at once.
        yield self._object("project", {"scm_type": "git", "allow_override": True, "wait": False, **self.project})

    def _read_credentials(self) -> Iterator[Object]:
        allowed = ("name", "token", "tokens", "credential_type", "inputs", "description", "state")
        ours = {key: str(each["name"]) for key, each in self._types.items()}
        for entry in self._many("credentials", allowed):
            if entry["state"] == ABSENT:
                inputs = None
                types = [str(entry["credential_type"])] if "credential_type" in entry else [*ours.values()]
            else:
                credential_type, inputs = self._read_inputs(entry)
                types = [credential_type]
            rest: dict[str, Any] = {key: entry[key] for key in ("name", "description", "state") if key in entry}
            for credential_type in types:
                options: dict[str, Any] = {
                    **rest,
                    "credential_type": credential_type,
                    # AWX returns no secret, so nothing can tell whether it is another one.
                    "update_secrets": is_true(self._declaration.get("update_secrets")),
                }
                if inputs:
                    options["inputs"] = inputs
                needs = [("credential_type", credential_type)] if credential_type in ours.values() else []
                label = entry["name"] if len(types) == 1 else f"{entry['name']} ({credential_type})"
                yield self._object("credential", options, *needs, also=(credential_type,), label=label)

    def _read_inputs(self, entry: Mapping[str, Any]) -> tuple[str, Any]:
        """Return the type and the inputs of a credential."""
        where = f"awx_credentials, {quoted(entry['name'])}"
        if len([key for key in ("token", "tokens", "credential_type") if key in entry]) != 1:
            raise ValueError(f"{where} needs one of token, tokens, and credential_type with inputs.")
        if "credential_type" in entry:
            return str(entry["credential_type"]), entry.get("inputs")
        if "token" in entry:
            return str(self._types["token"]["name"]), {"token": _secret(entry["token"], where)}
        tokens = entry["tokens"]
        if not isinstance(tokens, Mapping) or not tokens:
            raise ValueError(f"{where}: tokens is not a mapping. Give it the token of each host of the inventory.")
        hubs = [str(hub.get("name")) for hub in self._declaration.get("hubs") or []]
        strangers = [str(host) for host in tokens if hubs and str(host) not in hubs]
        if strangers and not self._declaration.get("inventory_source"):
            raise ValueError(
                f"{where} has a token for {quoted(strangers[0])}, which is not in awx_hubs. Add this hub, or remove "
                "the token."
            )
        found = {str(host): _secret(token, f"{where}, {quoted(str(host))}") for host, token in tokens.items()}
        return str(self._types["tokens"]["name"]), {"tokens": json.dumps(found, indent=1, sort_keys=True)}

    def _complete_notification(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        if entry["state"] == ABSENT:
            return {"name": entry["name"], "state": ABSENT}
        where, notification_type = (
            f"awx_notification_templates, {quoted(entry['name'])}",
            entry.get("notification_type"),
        )
        if not notification_type or not isinstance(entry.get("notification_configuration"), Mapping):
            raise ValueError(f"{where} needs notification_type, such as slack, and notification_configuration.")
        configuration = complete_configuration(str(notification_type), entry["notification_configuration"])
        messages = make_messages(str(notification_type), self._declaration["messages"])
        return {"messages": messages, **entry, "notification_configuration": configuration}

    def read_inventory(self) -> Iterator[Object]:
        variables = {**self._declaration["inventory_variables"], **(self.inventory.get("variables") or {})}
        inventory = {**self.inventory, "variables": variables}
        name = str(inventory["name"])
        yield self._object("inventory", inventory)
        if self._declaration.get("inventory_source"):
            defaults = {
                "name": "Hubs of the project", "source": "scm", "source_project": self.project["name"],
                "source_path": "hubs.yml", "overwrite": True, "update_on_launch": True,
            }  # fmt: skip
            source = {**self._one("inventory_source", defaults), "inventory": name}
            needs = (("inventory", name), ("project", str(source["source_project"])))
            yield self._object("inventory_source", source, *needs, also=(name,))
        for entry in self._many("hubs", ("name", "url", "variables", "description", "enabled", "state")):
            if entry["state"] == PRESENT and not entry.get("url"):
                raise ValueError(f"awx_hubs, {quoted(entry['name'])} has no url. Give it the public URL of the hub.")
            hub = {key: value for key, value in entry.items() if key not in ("url", "variables")}
            of_host = {"hub_url": entry.get("url"), **(entry.get("variables") or {})}
            options = {"enabled": True, **hub, "inventory": self._refer("inventory", name), "variables": of_host}
            yield _make("host", options, (entry["name"], name), ("inventory", name))

    def read_jobs(self) -> Iterator[Object]:
        schedules: list[Object] = []
        templates: dict[str, dict[str, Any]] = {}
        for number, entry in enumerate(self._many("job_templates", named=False), start=1):
            template = self._complete_template(number, entry)
            if template["name"] in {other["name"] for other in templates.values()}:
                raise ValueError(
                    f"awx_job_templates, entry {number} has the name {quoted(template['name'])} of an earlier entry."
                )
            if template["state"] == PRESENT and template["job_type"] == "run":
                templates.setdefault(str(entry.get("playbook")), template)
            schedules += self._read_schedule("job_template", template)
            yield self._object("job_template", self._refer_to_all(template), *self._needs_of(template))
        if self._declaration.get("workflow"):
            workflow = self._one("workflow", {"name": "Upgrade the hubs", "ask_limit_on_launch": True})
            schedules += self._read_schedule("workflow_job_template", workflow)
            yield from self._read_workflow(workflow, templates)
        yield from schedules

    def _complete_template(self, number: int, entry: Mapping[str, Any]) -> dict[str, Any]:
        where = f"awx_job_templates, entry {number}"
        playbook, job_type = str(entry.get("playbook") or ""), str(entry.get("job_type") or "run")
        known = PLAYBOOKS.get(playbook)
        if not known and not playbook.endswith((".yml", ".yaml")):
            names = ", ".join(PLAYBOOKS)
            raise ValueError(f"{where} needs a playbook. Set it to one of {names}, or to a .yml file of the project.")
        name = entry.get("name") or (known and known.name + (" (check)" if job_type == "check" else ""))
        if not name:
            raise ValueError(f"{where} has no name. Give it the name that AWX shows.")
        template = {
            "job_type": job_type,
            "inventory": self.inventory["name"],
            "project": self.project["name"],
            "forks": 20,
            "ask_limit_on_launch": True,
            "diff_mode": job_type == "check",
        }
        if self._declaration.get("execution_environment"):  # otherwise AWX has a default
            template["execution_environment"] = self.environment["name"]
        variables = dict(entry.get("extra_vars") or {})
        if known:
            shared = str(self._declaration.get("shared_dir") or "").rstrip("/")
            if known.needs_shared and not shared and not {*known.paths} & {*variables} and entry["state"] == PRESENT:
                raise ValueError(f"{where}: {_MISSING_SHARED.format(playbook=playbook)}")
            variables = {**known.list_paths(shared, int(entry.get("job_slice_count") or 1)), **variables}
            folder = str(self._declaration.get("playbook_dir") or "").rstrip("/")
            template["description"] = known.description
            template["playbook"] = f"{folder}/{playbook}.yml" if folder else f"{playbook}.yml"
            if known.questions and "survey_spec" not in entry:
                template |= {"survey_spec": make_survey(known, variables), "survey_enabled": True}
        given = {key: value for key, value in entry.items() if key != "playbook" or not known}
        return {**template, **given, "name": str(name), "extra_vars": variables}

    def _needs_of(self, template: Mapping[str, Any]) -> list[tuple[str, str]]:
        needs = [
            (kind, str(template[kind]))
            for kind in ("inventory", "project", "execution_environment")
            if template.get(kind)
        ]
        needs += [("credential", str(name)) for name in template.get("credentials") or []]
        for event in EVENTS:
            needs += [
                ("notification_template", str(name)) for name in template.get(f"notification_templates_{event}") or []
            ]
        return needs

    def _read_schedule(self, kind: str, template: dict[str, Any]) -> list[Object]:
        """Take the schedule out of a template's options, and return it as an object."""
        entry = template.pop("schedule", None)
        if not entry:
            return []
        name, where = str(template["name"]), f"schedule of {quoted(str(template['name']))}"
        entry = {"rrule": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, Mapping):
            raise ValueError(f"{where} is neither text nor a mapping. Give it an rrule.")
        state = ABSENT if template["state"] == ABSENT else self._state_of(where, entry)
        if state == PRESENT:
            _check_rrule(where, entry.get("rrule"))
        options = {
            "name": f"{name}: schedule", "enabled": True, **entry, "state": state, "unified_job_template": name,
            "organization": self.organization,
        }  # fmt: skip
        return [_make("schedule", options, (options["name"], name), (kind, name))]

    def _read_workflow(self, workflow: dict[str, Any], templates: Mapping[str, Mapping[str, Any]]) -> Iterator[Object]:
        name, approval = str(workflow["name"]), workflow.pop("approval", None) or {}
        needs = self._needs_of({**workflow, "inventory": "", "project": ""})
        yield self._object("workflow_job_template", self._refer_to_all(workflow), *needs)
        if workflow["state"] == ABSENT:
            return  # AWX deletes the nodes of a workflow together with it
        missing = [
            playbook for playbook in ("snapshot", "drain", "verify", "compare", "restore") if playbook not in templates
        ]
        if missing:
            raise ValueError(
                f"awx_workflow needs a job template for the playbook {missing[0]}. Add one to awx_job_templates."
            )
        for node in make_nodes({playbook: str(template["name"]) for playbook, template in templates.items()}, approval):
            used = (
                [("job_template", node.options["unified_job_template"])]
                if "unified_job_template" in node.options
                else []
            )
            options = {
                **node.options, "workflow_job_template": name, "organization": self.organization,
                **({"lookup_organization": self.organization} if used else {}), "state": PRESENT,
            }  # fmt: skip
            links = [("workflow_job_template_node", child) for child in node.children]
            yield _make(
                "workflow_job_template_node", options, (node.options["identifier"], name),
                ("workflow_job_template", name), *used, *links, label=node.label,
            )  # fmt: skip


def _make(
    kind: str, options: Mapping[str, Any], names: tuple[str, ...], *needs: tuple[str, str], **more: Any
) -> Object:
    also, label = more.get("also", ()), more.get("label") or names[0]
    return Object(kind, str(label), options, (*names, *also), needs, str(options["state"]))


def _choose_state(where: str, state: Any) -> str:
    if state not in (None, *STATES):
        raise ValueError(f"{where} is {quoted(str(state))}. Set it to present or absent.")
    return str(state or PRESENT)


def _escape(name: str) -> str:
    """Return a name as a part of a named URL, which awx.awx quotes once more (`_encode_uri` of AWX)."""
    return name.replace("%", "%25").replace("/", "%2F").replace("+", "[+]")


def _secret(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"The token of {where} is empty, or is no text. Give it the token, for example from a vault.")
    return value.strip()


def _check_rrule(where: str, rrule: Any) -> None:
    """Raise ValueError if AWX would refuse a rule, as `SchedulePreviewSerializer.validate_rrule` of AWX does."""
    text = rrule if isinstance(rrule, str) else ""
    example = "such as DTSTART;TZID=Europe/Berlin:20260101T030000 RRULE:FREQ=DAILY;INTERVAL=1"
    if not re.search(r"DTSTART(;[^:]+)?:\d+T\d+Z?", text) or "RRULE:" not in text:
        raise ValueError(f"The {where} needs an rrule with DTSTART and RRULE, {example}.")
    for rule in re.findall(r"RULE:\S*", text):
        if "INTERVAL" not in rule or "SECONDLY" in rule:
            raise ValueError(
                f"AWX refuses {rule} in the {where}. Each rule needs INTERVAL, and SECONDLY is not possible, {example}."
            )
