# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The items of the stand-in: finds, shows, creates, changes and deletes them, as the table in `resources` says."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote

from support.fakes.fake_awx.refusals import Item, Refused, forbidden, invalid, not_found
from support.fakes.fake_awx.resources import (
    ENCRYPTED,
    JOB_TYPES,
    RESOURCES,
    SECRET_FIELDS,
    SIGNED,
    SUBLISTS,
    UNION_MODELS,
    UNIONS,
    UPDATES,
    VARIABLES,
)
from support.fakes.fake_awx.rules import CHECKS, secret_names

NO_FILTERS = ("page", "page_size", "order_by", "format", "search", "type")
REVISION = "347e44fea036c94d5f60e544de006453ee5c71ad"


def now() -> str:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


def members(name: str) -> tuple[str, ...]:
    """The resources that a path or a foreign key takes: one, or those of a union."""
    return UNIONS.get(name, (name,))


class Store:
    """The items of all resources. No two items have the same id, whatever their resources."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[int, Item]] = {name: {} for name in RESOURCES}
        self.ids = itertools.count(1)
        self.playbooks: Sequence[str] | None = None
        """The playbooks in each project, or None if a job template may name any."""
        self.updating: set[int] = set()
        """The ids of the projects whose updates began with the request that is being answered."""

    # Finding

    def find(self, to: str, number: Any) -> tuple[str, Item] | None:
        """The item with this id, after its resource. ``to`` is a resource or a union."""
        return next(((name, self.tables[name][number]) for name in members(to) if number in self.tables[name]), None)

    def get(self, to: str, number: Any) -> Item:
        """The item with this id, or an empty one."""
        found = self.find(to, number)
        return found[1] if found else {}

    def locate(self, name: str, text: str) -> Item:
        """The item that the path names by its id or by its names."""
        if text.isdigit():
            found = self.tables[name].get(int(text))
        else:
            named = self.tables[name].values() if RESOURCES[name].has_named_url else ()
            # AWX decodes each part of a named URL, after the server has decoded the path.
            found = next((item for item in named if self.slug(name, item) == unquote(text)), None)
        if found is None:
            raise not_found(RESOURCES[name].model)
        return found

    def slug(self, name: str, item: Item) -> str:
        """The item's name in a named URL, such as `host++inventory++organization`."""
        resource = RESOURCES[name]
        plain = sorted(set(resource.unique) - {resource.identity} - resource.keys.keys())
        parts = ["+".join(str(item[each]).replace("+", "[+]") for each in (resource.identity, *plain))]
        for each in sorted(set(resource.unique) & resource.keys.keys()):
            other = self.find(resource.keys[each].to, item[each])
            parts.append(self.slug(*other) if other else "")
        return "++".join(parts)

    def select(self, to: str, query: dict[str, str]) -> list[tuple[str, Item]]:
        """The items that the query filters, in their order, each after its resource."""
        filters = [one for one in query.items() if one[0] not in NO_FILTERS]
        every = [one for one in filters if not one[0].startswith("or__")]
        any_of = [(key.removeprefix("or__"), value) for key, value in filters if key.startswith("or__")]
        types = query["type"].split(",") if "type" in query else None
        for key, value in every + any_of:
            check_filter(to, key, value)
        found = [
            (name, item)
            for name in members(to)
            for item in self.tables[name].values()
            if types is None or RESOURCES[name].type in types
            if all(self.matches(name, item, *one) for one in every)
            if not any_of or any(self.matches(name, item, *one) for one in any_of)
        ]
        order = query.get("order_by", RESOURCES[members(to)[0]].identity)
        found.sort(key=lambda one: (str(one[1].get(order.lstrip("-"))), one[1]["id"]), reverse=order.startswith("-"))
        return found

    def matches(self, name: str, item: Item, key: str, wanted: str) -> bool:
        negated = key.startswith("not__")
        path = key.removeprefix("not__").split("__")
        lookup = path.pop() if path[-1] in LOOKUPS else "exact"
        return negated != any(LOOKUPS[lookup](value, wanted) for value in self.values(name, item, path))

    def values(self, name: str, item: Item, path: list[str]) -> Iterator[Any]:
        """The values of the field at the end of a path, such as `organization__name`."""
        head, *rest = ("id" if each == "pk" else each for each in path)
        resource = RESOURCES[name]
        if head in resource.lists or (head in resource.keys and rest):
            to = resource.lists[head] if head in resource.lists else resource.keys[head].to
            for number in item[head] if head in resource.lists else [item[head]]:
                other = self.find(to, number)
                yield from self.values(*other, rest or ["id"]) if other else [None]
        elif not rest:
            yield item.get(head)

    # Showing

    def show(self, name: str, item: Item) -> Item:
        """The item as AWX shows it."""
        resource = RESOURCES[name]
        url = f"/api/v2/{name}/{item['id']}/"
        shown = {"id": item["id"], "type": resource.type, "url": url, "related": self.related(name, item, url)}
        shown |= {"summary_fields": self.summary(name, item), "created": item["created"], "modified": item["modified"]}
        keys = [each for each, key in resource.keys.items() if not key.hidden]
        shown |= {each: item[each] for each in (*resource.fields, *keys, *resource.shown, *resource.listed)}
        shown = copy.deepcopy(shown)
        container = shown if name == "users" else shown.get(SECRET_FIELDS.get(name, ""), {})
        for each in secret_names(self, name, item) & container.keys():
            container[each] = ENCRYPTED if container[each] not in ("", "ASK") else container[each]
        return shown | (self.kind_of(item) if name == "credentials" else {})

    def related(self, name: str, item: Item, url: str) -> dict[str, str]:
        resource = RESOURCES[name]
        found = {each: f"{url}{each}/" for each in (*resource.lists, *resource.actions, *self.sublists(name))}
        for each, key in resource.keys.items():
            if other := self.find(key.to, item[each]):
                found[each] = f"/api/v2/{other[0]}/{other[1]['id']}/"
        for each, update in self.updates(name, item).items():
            found[each] = f"/api/v2/{UPDATES[name][0]}/{update['id']}/"
        return found | ({"named_url": f"/api/v2/{name}/{self.slug(name, item)}/"} if resource.has_named_url else {})

    def sublists(self, name: str) -> dict[str, tuple[str, str]]:
        """The lists below an item, by the last part of their path: the resource, and its key that is the item's id."""
        found = {}
        for child, resource in RESOURCES.items():
            keys = [each for each, key in resource.keys.items() if name in members(key.to)]
            path = SUBLISTS.get(child, child)
            if keys and path not in RESOURCES[name].lists:
                found[path] = (child, keys[0])
        return found

    def summary(self, name: str, item: Item) -> Item:
        resource = RESOURCES[name]
        found: Item = {}
        for each, key in resource.keys.items():
            if other := self.find(key.to, item[each]):
                found[each] = self.summarize(*other)
        for each, update in self.updates(name, item).items():
            found[each] = self.summarize(UPDATES[name][0], update) | {"status": update["status"]}
        for each in resource.summarized:
            found[each] = [self.summarize(each, self.get(each, number)) for number in item[each]]
        if "labels" in found:
            found["labels"] = {"count": len(found["labels"]), "results": found["labels"]}
        if item.get("survey_spec"):
            found["survey"] = {"title": item["survey_spec"]["name"], "description": item["survey_spec"]["description"]}
        return found

    def summarize(self, name: str, item: Item) -> Item:
        """What the summary of another item says about this one."""
        fields = ("id", "name", "description", "image", "scm_type")
        found: Item = {each: item[each] for each in fields if each in item}
        if name in members("templates_of_nodes"):
            found["unified_job_type"] = JOB_TYPES.get(name, RESOURCES[name].type.removesuffix("_template"))
        return found | (self.kind_of(item) if name == "credentials" else {})

    def kind_of(self, credential: Item) -> Item:
        kind = self.get("credential_types", credential["credential_type"])
        flags = {each: kind["kind"] == each for each in ("cloud", "kubernetes")}
        return {"kind": kind["namespace"], **flags}

    def updates(self, name: str, item: Item) -> dict[str, Item]:
        """The last update of a project or an inventory source, by the fields that name it."""
        table, key = UPDATES.get(name, ("", ""))
        found = [each for each in self.tables[table].values() if each[key] == item["id"]] if table else []
        fields = ("current_update", "current_job") if item["id"] in self.updating else ("last_update", "last_job")
        return dict.fromkeys(fields, found[-1]) if found else {}

    # Changing

    def create(self, name: str, body: Item, **more: Any) -> Item:
        """A new item. ``more`` are fields that no client can give."""
        resource = RESOURCES[name]
        values = self.read(name, body, {})
        new = {"id": next(self.ids), "created": now(), "modified": now(), **copy.deepcopy(resource.shown), **values}
        new |= {each: [] for each in resource.lists} | more
        self.check(name, new, {}, values)
        self.tables[name][new["id"]] = new
        return new

    def update(self, name: str, item: Item, body: Item) -> None:
        values = self.read(name, body, item)
        new = copy.deepcopy(item) | values
        self.check(name, new, item, values)
        item |= new | {"modified": now()}

    def read(self, name: str, body: Item, old: Item) -> Item:
        """The fields in a body. For a new item, those that are not in it have their defaults."""
        resource = RESOURCES[name]
        values: Item = {}
        for each, fixed in resource.keys.items():
            if old and fixed.fixed and body.get(each, old[each]) != old[each]:
                raise forbidden(f"Unable to change {each} on a {resource.type}.")
        errors: dict[str, list[str]] = {}
        for each, default in {**resource.fields, **dict.fromkeys(resource.keys)}.items():
            key = resource.keys.get(each)
            required = each in resource.required
            if each not in body or (key and (key.inferred or (key.fixed and old))):
                if not old:
                    values[each] = copy.deepcopy(default)
                    errors |= {each: ["This field is required."]} if required else {}
                continue
            try:
                values[each] = self.read_key(key.to, body[each]) if key else read_field(body[each], default, each)
                if required and values[each] in ("", None):
                    raise ValueError(f"This field {'cannot' if body[each] is None else 'may not'} be blank.")
                choices = resource.choices.get(each)
                if choices and values[each] not in (*choices, None, default):
                    raise ValueError(f'"{values[each]}" is not a valid choice.')
            except ValueError as error:
                errors[each] = [str(error)]
        if errors:
            raise Refused(400, errors)
        return values

    def read_key(self, to: str, value: Any) -> int | None:
        if value in (None, ""):
            return None
        if isinstance(value, bool) or not str(value).isdigit():
            raise ValueError(f"Incorrect type. Expected pk value, received {type(value).__name__}.")
        if not self.find(to, int(value)):
            raise ValueError(f'Invalid pk "{value}" - object does not exist.')
        return int(value)

    def check(self, name: str, new: Item, old: Item, given: Item) -> None:
        """Refuse an item that is not valid, and fill in what AWX infers."""
        if name in CHECKS:
            CHECKS[name](self, new, old, given)
        resource = RESOURCES[name]
        key = [new[each] for each in resource.unique]
        twins = [one for one in self.tables[name].values() if [one[each] for each in resource.unique] == key]
        if not resource.unique or all(one["id"] == new["id"] for one in twins):
            return
        labels = [each.replace("_", " ").capitalize() for each in resource.unique]
        if resource.soft:
            raise invalid(f"{resource.model} with this ({', '.join(resource.unique)}) combination already exists.")
        if len(labels) == 1:
            raise invalid(**{resource.unique[0]: f"{resource.label} with this {labels[0]} already exists."})
        if None not in key:
            text = f"{', '.join(labels[:-1])} and {labels[-1]}"
            raise invalid(f"{resource.label} with this {text} already exists.")

    def delete(self, name: str, item: Item) -> None:
        """Delete an item, and with it what depends on it. Other items no longer refer to it."""
        if not self.tables[name].pop(item["id"], None):
            return
        for other, resource in RESOURCES.items():
            for one in list(self.tables[other].values()):
                for each, key in resource.keys.items():
                    if one[each] == item["id"]:
                        one[each] = None
                        if key.cascade:
                            self.delete(other, one)
                for each in resource.lists:
                    one[each] = [number for number in one[each] if number != item["id"]]
        if name == "workflow_job_template_nodes":
            self.delete_approval(item["unified_job_template"])

    def delete_approval(self, template: int | None) -> None:
        """Delete the approval template of a node that is deleted, or that has another template now."""
        self.delete("workflow_approval_templates", {"id": template})

    def run_update(self, name: str, item: Item, status: str) -> Item:
        """Update a project or an inventory source."""
        table, key = UPDATES[name]
        moment, failed = now(), status != "successful"
        job = {"status": status, "failed": failed, "started": moment, "finished": moment}
        more = {key: item["id"], "scm_revision": "" if failed else REVISION}
        item |= {"status": status, "last_job_run": moment, "last_updated": moment}
        item |= {"last_job_failed": failed, "last_update_failed": failed}
        if name == "projects":
            item["scm_revision"] = more["scm_revision"]
        return self.create(table, {"name": item["name"]}, **more, **job)


def check_filter(to: str, key: str, value: str) -> None:
    """Refuse a filter with a field that the resource does not have, or with a value that is no id."""
    path = key.removeprefix("not__").split("__")
    resources = [RESOURCES[name] for name in members(to)]
    model = UNION_MODELS.get(to, resources[0].model)
    known = ({*each.fields, *each.keys, *each.lists, *each.shown} for each in resources)
    if path[0] not in {"id", "pk", "created", "modified"} | set.intersection(*known):
        raise Refused(400, {"detail": f"{model} has no field named '{path[0]}'"})
    if len(path) == 1 and not re.fullmatch(r"\d+|none|null", value, re.IGNORECASE):
        if path[0] in resources[0].keys | resources[0].lists:
            raise Refused(400, {"detail": f"Invalid {path[0]} id: {value}"})
        if path[0] in ("id", "pk"):
            sentence = f"\u201c{value}\u201d value must be an integer."
            raise Refused(400, {"detail": json.dumps([sentence], ensure_ascii=False)})


def read_field(value: Any, default: Any, name: str) -> Any:
    """The value of a field, whose type is that of its default.

    Raises:
        ValueError: the value has another type.
    """
    if isinstance(default, bool):
        known = {"true": True, "1": True, "false": False, "0": False, "none": False, "": False}
        if str(value).lower() not in known:
            raise ValueError("Must be a valid boolean.")
        return known[str(value).lower()]
    if isinstance(default, int):
        if isinstance(value, bool) or not re.fullmatch(r"-?\d+", str(value)):
            raise ValueError("A valid integer is required.")
        if int(value) < 0 and name not in SIGNED:
            raise ValueError("Ensure this value is greater than or equal to 0.")
        return int(value)
    if isinstance(default, str):
        if isinstance(value, bool | dict | list):
            raise ValueError("Not a valid string.")
        text = "" if value is None else str(value).strip()
        if name in VARIABLES and text.startswith(("[", "{")):
            check_variables(text)
        return text
    return copy.deepcopy(value)


def check_variables(text: str) -> None:
    """Refuse a text that is not an object. AWX also reads YAML."""
    try:
        parsed = json.loads(text)
    except ValueError as error:
        problem = str(error)
    else:
        problem = "" if isinstance(parsed, dict) else f"Input type `{type(parsed).__name__}` is not a dictionary"
    if problem:
        raise ValueError(f"Cannot parse as JSON (error: {problem}) or YAML (error: {problem}).")


def as_text(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def is_equal(value: Any, wanted: str) -> bool:
    if isinstance(value, str):
        return value == wanted
    return as_text(value) == wanted.lower().replace("null", "none")


LOOKUPS: dict[str, Callable[[Any, str], bool]] = {
    "exact": is_equal,
    "iexact": lambda value, wanted: as_text(value).lower() == wanted.lower(),
    "contains": lambda value, wanted: wanted in as_text(value),
    "icontains": lambda value, wanted: wanted.lower() in as_text(value).lower(),
    "startswith": lambda value, wanted: as_text(value).startswith(wanted),
    "istartswith": lambda value, wanted: as_text(value).lower().startswith(wanted.lower()),
    "endswith": lambda value, wanted: as_text(value).endswith(wanted),
    "iendswith": lambda value, wanted: as_text(value).lower().endswith(wanted.lower()),
    "regex": lambda value, wanted: bool(re.search(wanted, as_text(value))),
    "iregex": lambda value, wanted: bool(re.search(wanted, as_text(value), re.IGNORECASE)),
    "in": lambda value, wanted: any(is_equal(value, each) for each in wanted.split(",")),
    "isnull": lambda value, wanted: (value is None) == (wanted.lower() in ("true", "1")),
    "gt": lambda value, wanted: value is not None and value > type(value)(wanted),
    "lt": lambda value, wanted: value is not None and value < type(value)(wanted),
}
