# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the role awx comes from what AWX has to what it should have: which objects it removes, and which it applies.

The modules of awx.awx compare the options of an object with AWX. This file decides what they cannot: how to remove an
object whose parent is gone, what a run in check mode would do with objects that use an object which is still to be
created, and whether the configuration of a notification with a secret may have changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ...module_utils._hub.errors import quoted
from .awx import ABSENT, PRESENT, Object, list_objects, read_organization
from .awx_notifications import complete_configuration, could_be_same
from .checks import is_true


class Kind(NamedTuple):
    """Where the API lists the objects of a kind.

    ``keys`` tell one object from another. The first is a key of the object, and the others are in ``summary_fields``,
    with the name of a related object. ``filters`` are those for the objects of one organization.
    """

    resource: str
    keys: tuple[str, ...] = ("name",)
    filters: Mapping[str, str] = MappingProxyType({"organization__name": "{organization}"})


# AWX deletes an inventory in the background. Until then, it and its hosts are still in the lists.
_IN_INVENTORY = {"inventory__organization__name": "{organization}", "inventory__pending_deletion": "false"}

KINDS = {
    "organization": Kind("organizations", filters={"name": "{organization}"}),
    "credential_type": Kind("credential_types", filters={}),
    "credential": Kind("credentials", ("name", "credential_type")),
    "execution_environment": Kind("execution_environments", filters={}),
    "notification_template": Kind("notification_templates"),
    "project": Kind("projects"),
    "inventory": Kind("inventories", filters={"organization__name": "{organization}", "pending_deletion": "false"}),
    "inventory_source": Kind("inventory_sources", ("name", "inventory"), _IN_INVENTORY),
    "host": Kind("hosts", ("name", "inventory"), _IN_INVENTORY),
    "job_template": Kind("job_templates"),
    "workflow_job_template": Kind("workflow_job_templates"),
    "workflow_job_template_node": Kind(
        "workflow_job_template_nodes",
        ("identifier", "workflow_job_template"),
        {"workflow_job_template__organization__name": "{organization}"},
    ),
    "schedule": Kind(
        "schedules",
        ("name", "unified_job_template"),
        {"unified_job_template__organization__name": "{organization}"},
    ),
}
"""The kinds in the order in which AWX can create their objects."""

Found = Sequence[Mapping[str, Any]]
"""What AWX has of a kind: the ``names`` of each object, and ``configured``, whether its configuration may be the wanted
one."""

SECRETS = {"credential": "inputs", "notification_template": "notification_configuration"}
"""The option of a kind that holds secrets. The plan does not have it, because the role keeps the plan."""


def list_queries(declaration: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what to read from AWX for a declaration: each ``kind``, its ``resource``, and the ``filters``."""
    objects = list_objects(declaration)
    kinds = {each.kind for each in objects}
    organization = read_organization(declaration)
    return [
        {
            "kind": kind,
            "resource": found.resource,
            "filters": {key: text.format(organization=organization) for key, text in found.filters.items()},
        }
        for kind, found in KINDS.items()
        if kind in kinds
    ]


_LOOKUP_OPTIONS = {
    "host": ("controller_host", "tower_host"),
    "username": ("controller_username", "tower_username"),
    "password": ("controller_password", "tower_password"),
    "oauth_token": ("controller_oauthtoken", "tower_oauthtoken"),
    "verify_ssl": ("validate_certs", "tower_verify_ssl"),
    "request_timeout": ("request_timeout",),
}
"""The options of the lookup awx.awx.controller_api, and how the modules of awx.awx call them."""


def name_lookup_options(connection: Mapping[str, Any]) -> dict[str, Any]:
    """Return the connection options of the modules of awx.awx under the names that its lookup has for them.

    Raises ValueError for an option that the lookup does not have.
    """
    names = {name: option for option, modules in _LOOKUP_OPTIONS.items() for name in modules}
    unknown = [name for name in connection if name not in names]
    if unknown:
        raise ValueError(
            f"awx_connection has the unknown key {quoted(str(unknown[0]))}. Its keys are {', '.join(names)}."
        )
    return {names[name]: value for name, value in connection.items()}


def read_present(items: Sequence[Mapping[str, Any]], kind: str, notifications: Any) -> list[dict[str, Any]]:
    """Return what the plan has to know of the objects of a kind that AWX has, without their secrets.

    ``notifications`` are the declared notification templates.
    """
    wanted = {str(each.get("name")): each for each in notifications or [] if isinstance(each, Mapping)}
    return [{"names": [*_identify(kind, item)], "configured": _is_configured(item, wanted)} for item in items]


def _is_configured(item: Mapping[str, Any], wanted: Mapping[str, Mapping[str, Any]]) -> bool:
    declared = wanted.get(str(item.get("name")), {}).get("notification_configuration")
    if not isinstance(declared, Mapping):
        return False
    complete = complete_configuration(str(item.get("notification_type")), declared)
    return could_be_same(item.get("notification_configuration"), complete)


def _identify(kind: str, item: Mapping[str, Any]) -> tuple[str, ...]:
    name, *others = KINDS[kind].keys
    related = item.get("summary_fields") or {}
    return (str(item[name]), *(str((related.get(key) or {}).get("name")) for key in others))


def make_plan(declaration: Mapping[str, Any], found: Mapping[str, Found], checks: bool) -> dict[str, Any]:
    """Return the plan: ``steps``, ``options`` and ``to_create``.

    ``found`` has for each kind what `read_present` returns. Each of the ``steps`` has a ``kind`` and ``labels``, the
    objects of this kind that its module has to look at. ``options`` has the options for each kind and label, and
    ``secrets`` the labels of the objects that also need what `read_secrets` returns. ``checks`` says that the role runs
    in check mode. Then ``to_create`` has the objects that a run would create, and those that use them: the modules look
    up everything that an object uses, and fail if it does not exist.
    """
    objects = list_objects(declaration)
    present = {kind: {tuple(each["names"]): each["configured"] for each in items} for kind, items in found.items()}
    removed = [each for each in objects if each.state == ABSENT and each.names in present.get(each.kind, {})]
    wanted = [each for each in objects if each.state == PRESENT]
    unpredictable: list[Object] = []
    if checks:
        missing = {(each.kind, each.label) for each in wanted if each.names not in present.get(each.kind, {})}
        unpredictable = [each for each in wanted if missing & {(each.kind, each.label), *each.needs}]
    applied = [each for each in wanted if each not in unpredictable]
    options: dict[str, dict[str, Any]] = {}
    for each in [*removed, *applied]:
        options.setdefault(each.kind, {})[each.label] = _list_options(each)
    update_secrets = is_true(declaration.get("update_secrets"))
    return {
        "steps": [*_steps(removed, reversed(KINDS)), *_steps(applied, KINDS)],
        "options": options,
        "secrets": {
            kind: [
                each.label
                for each in applied
                if each.kind == kind and (kind == "credential" or update_secrets or not present[kind].get(each.names))
            ]
            for kind in SECRETS
        },
        "to_create": [f"{each.kind} {each.label}" for each in unpredictable],
    }


def read_secrets(declaration: Mapping[str, Any], plan: Mapping[str, Any], kind: str, label: str) -> dict[str, Any]:
    """Return the option of an object that holds secrets, empty if its module does not need it.

    Without this, awx.awx would call each notification with a secret changed, because AWX does not return the secret.
    """
    if label not in plan["secrets"][kind]:
        return {}
    [found] = [each for each in list_objects(declaration) if (each.kind, each.label) == (kind, label)]
    return {key: value for key, value in found.options.items() if key == SECRETS[kind]}


def _steps(objects: Sequence[Object], kinds: Iterable[str]) -> list[dict[str, Any]]:
    labels = {kind: [each.label for each in objects if each.kind == kind] for kind in kinds}
    return [{"kind": kind, "labels": found} for kind, found in labels.items() if found]


_IDENTIFYING = (
    "name", "identifier", "organization", "credential_type", "inventory", "workflow_job_template",
    "unified_job_template", "state",
)  # fmt: skip
"""The options that find an object to remove. The inventory of a job template does not, but does no harm either."""


def _list_options(each: Object) -> dict[str, Any]:
    if each.state == ABSENT:
        return {key: value for key, value in each.options.items() if key in _IDENTIFYING}
    return {key: value for key, value in each.options.items() if key != SECRETS.get(each.kind)}
