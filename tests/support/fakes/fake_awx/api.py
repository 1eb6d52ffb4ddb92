# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of the stand-in of AWX: what it answers to a request."""

from __future__ import annotations

import base64
import copy
import json
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from support.fakes.fake_awx.refusals import Answer, Item, Refused, forbidden, not_found
from support.fakes.fake_awx.resources import (
    CREDENTIAL_TYPES,
    ENCRYPTED,
    ONLY_BY_ID,
    RESOURCES,
    UPDATES,
    VERSION,
    managed_type_inputs,
)
from support.fakes.fake_awx.rules import check_association, check_survey, is_in_use
from support.fakes.fake_awx.store import Store
from support.fakes.misbehaving_hub import http_listener

PAGE_SIZE, MAX_PAGE_SIZE = 25, 200
READS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Request:
    """A request that the stand-in got. ``path`` is below /api/v2/, without its last slash and without the query."""

    method: str
    path: str
    query: dict[str, str]
    body: Any

    @property
    def is_write(self) -> bool:
        """Whether it changes a resource. To log in and out does not."""
        return self.method not in READS and self.path.split("/")[0] != "tokens"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


NOT_LOGGED_IN = "Authentication credentials were not provided. To establish a login session, visit /api/login/."


class FakeAwx:
    """The stand-in, on the loopback for the time of the block.

    With ``read_only``, each write gets a 403, as from a user who may only look. ``playbooks`` are those in each
    project; without them, a job template may name any.
    """

    username, password = "admin", "secret-of-the-stand-in"

    def __init__(self, read_only: bool = False, playbooks: Sequence[str] | None = None) -> None:
        self.read_only = read_only
        self.requests: list[Request] = []
        """The requests of users who have logged in, in their order."""
        self.update_status = "successful"
        """How the updates of projects and inventory sources end: successful, failed, error or canceled."""
        self.settings: Item = {"TOWER_URL_BASE": "https://towerhost", "DEFAULT_EXECUTION_ENVIRONMENT": None}
        self.url = ""
        self.token = secrets.token_hex(15)
        self._tokens = {0: self.token}
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._store = Store()
        self._store.playbooks = playbooks
        fill(self._store, self.username)

    def __enter__(self) -> FakeAwx:
        self.url = self._stack.enter_context(http_listener(handler_of(self))).rstrip("/")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # For tests

    @property
    def writes(self) -> list[str]:
        """Method and path of each request to change a resource, also of those that were refused."""
        return [str(one) for one in self.requests if one.is_write]

    def items(self, resource: str) -> list[Item]:
        """All items of a resource, as AWX shows them, with the managed ones."""
        with self._lock:
            return [self._store.show(*one) for one in self._store.select(resource, {})]

    def stored(self, resource: str, name: str) -> Item:
        """All that is stored of the only item with this name: with secrets, and with the ids of associated items."""
        identity = RESOURCES[resource].identity
        with self._lock:
            [found] = [one for one in self._store.tables[resource].values() if one[identity] == name]
            return copy.deepcopy(found)

    def linked(self, resource: str, name: str, association: str) -> list[str]:
        """The names of the items that are associated with the only item with this name."""
        to = RESOURCES[resource].lists[association]
        numbers = self.stored(resource, name)[association]
        return [self._store.get(to, number)[RESOURCES[to].identity] for number in numbers]

    # Answering

    def allows(self, authorization: str) -> bool:
        kind, _space, text = authorization.partition(" ")
        login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return (kind == "Bearer" and text in self._tokens.values()) or (kind == "Basic" and text == login)

    def answer(self, request: Request) -> Answer:
        """The status and the JSON that answer a request of a user who has logged in."""
        with self._lock:
            self.requests.append(request)
            self._store.updating.clear()
            try:
                if request.is_write and self.read_only:
                    raise forbidden()
                return self.route(request)
            except Refused as refused:
                return refused.answer

    def route(self, request: Request) -> Answer:
        users = self._store.tables["users"]
        match request.path.split("/"):
            case [""]:
                return 200, {name: f"/api/v2/{name}/" for name in ("ping", "config", "me", "settings", *RESOURCES)}
            case ["ping"]:
                return 200, {"ha": False, "version": VERSION, "active_node": "awx_1", "instances": []}
            case ["config"]:
                return 200, {"version": VERSION, "time_zone": "UTC", "license_info": {"license_type": "open"}}
            case ["me"]:
                return self.page(request, [("users", users[min(users)])])
            case ["settings", _]:
                self.settings |= request.body or {}
                return 200, self.settings
            case ["tokens", *number]:
                return self.answer_token(request, number)
            case [("unified_job_templates" as name)]:
                return self.page(request, self._store.select(name, request.query))
            case [name] if name in RESOURCES:
                return self.collection(request, name)
            case [name, text] if name in RESOURCES:
                return self.item(request, name, self._store.locate(name, unquote(text)))
            case [name, text, below] if name in RESOURCES:
                return self.below(request, name, self._store.locate(name, unquote(text)), below)
        raise not_found()

    def answer_token(self, request: Request, number: list[str]) -> Answer:
        if request.method == "POST" and not number:
            made = next(self._store.ids)
            self._tokens[made] = secrets.token_hex(15)
            return 201, {"id": made, "type": "o_auth2_access_token", "token": self._tokens[made]}
        if request.method == "DELETE" and number and int(number[0]) in self._tokens:
            del self._tokens[int(number[0])]
            return 204, None
        raise not_found()

    def page(self, request: Request, found: list[tuple[str, Item]]) -> Answer:
        """A page of a list, with the paths of the pages before and after it."""
        wanted = request.query.get("page_size", "")
        size = min(int(wanted), MAX_PAGE_SIZE) if wanted.isdigit() and int(wanted) else PAGE_SIZE
        page = request.query.get("page", "1")
        number = int(page) if page.isdigit() else 0
        if number < 1 or (number > 1 and (number - 1) * size >= len(found)):
            raise Refused(404, {"detail": "Invalid page."})

        def link(other: int) -> str:
            return f"/api/v2/{request.path}/?{urlencode(sorted({**request.query, 'page': str(other)}.items()))}"

        return 200, {
            "count": len(found),
            "next": link(number + 1) if number * size < len(found) else None,
            "previous": link(number - 1) if number > 1 else None,
            "results": [self._store.show(*one) for one in found[(number - 1) * size : number * size]],
        }

    def collection(self, request: Request, name: str, **key: int) -> Answer:
        """A list of items. ``key`` is the field that leads to the item above the list, and the id of that item."""
        if request.method == "GET":
            found = self._store.select(name, request.query)
            return self.page(request, [one for one in found if key.items() <= one[1].items()])
        if request.method != "POST" or not RESOURCES[name].may_create:
            raise not_allowed(request)
        if key and "disassociate" in request.body:
            self._store.delete(name, self._store.get(name, request.body.get("id")))
            return 204, None
        item = self._store.create(name, {**request.body, **key})
        self.begin_update(name, item, {})
        return 201, self._store.show(name, item)

    def item(self, request: Request, name: str, item: Item) -> Answer:
        if request.method in ("PATCH", "PUT"):
            if item.get("managed"):
                raise forbidden(f"Modifications not allowed for managed {name.replace('_', ' ')}")
            old = copy.deepcopy(item)
            self._store.update(name, item, request.body)
            self.begin_update(name, item, old)
        elif request.method == "DELETE":
            if item.get("managed"):
                raise forbidden(f"Deletion not allowed for managed {name.replace('_', ' ')}")
            if name == "credential_types" and is_in_use(self._store, item):
                raise forbidden("Credential types that are in use cannot be deleted")
            self._store.delete(name, item)
            return (202 if name == "inventories" else 204), None
        elif request.method != "GET":
            raise not_allowed(request)
        return 200, self._store.show(name, item)

    def below(self, request: Request, name: str, item: Item, below: str) -> Answer:
        """What is below an item: an association, a list of the items that belong to it, or an action."""
        if below in RESOURCES[name].lists:
            return self.association(request, name, item, below)
        if below in RESOURCES[name].actions:
            return ACTIONS[below](self, request, name, item)
        if below in self._store.sublists(name):
            child, key = self._store.sublists(name)[below]
            return self.collection(request, child, **{key: item["id"]})
        raise not_found()

    def association(self, request: Request, name: str, item: Item, below: str) -> Answer:
        to, numbers = RESOURCES[name].lists[below], item[below]
        if request.method == "GET":
            found = [one for one in self._store.select(to, request.query) if one[1]["id"] in numbers]
            if "order_by" not in request.query:
                found.sort(key=lambda one: numbers.index(one[1]["id"]))
            return self.page(request, found)
        if request.method != "POST":
            raise not_allowed(request)
        number = request.body.get("id")
        if not number and "disassociate" in request.body:
            raise Refused(400, {"msg": '"id" is required to disassociate'})
        if number and not isinstance(number, int):
            raise Refused(400, {"msg": '"id" field must be an integer.'})
        if not number and below in ONLY_BY_ID:
            raise Refused(400, {"msg": f"{RESOURCES[to].label.title()} 'id' field is missing."})
        if not number:
            made = self._store.create(to, request.body)
            numbers.append(made["id"])
            return 201, self._store.show(to, made)
        if not self._store.find(to, number):
            raise Refused(400, {"detail": f"{RESOURCES[to].model} matching query does not exist."})
        if "disassociate" in request.body:
            item[below] = [each for each in numbers if each != number]
        elif number not in numbers or below == "credentials":
            check_association(self._store, name, item, below, self._store.get(to, number))
            numbers.append(number)
        return 204, None

    def begin_update(self, name: str, item: Item, old: Item) -> None:
        """Update a project that is new, or that has another source than before."""
        source = ("scm_type", "scm_url", "scm_branch", "scm_refspec")
        if name == "projects" and item["scm_type"] and any(item[each] != old.get(each) for each in source):
            self._store.run_update(name, item, self.update_status)
            self._store.updating.add(item["id"])

    def update_now(self, request: Request, name: str, item: Item) -> Answer:
        """Below a project or an inventory source: whether it can be updated, or the update that a client starts."""
        can_update = bool(item.get("scm_type", True))
        if request.method == "GET":
            return 200, {"can_update": can_update}
        if not can_update:
            raise not_allowed(request)
        update = self._store.run_update(name, item, self.update_status)
        table = UPDATES[name][0]
        return 202, {RESOURCES[table].type: update["id"], **self._store.show(table, update)}

    def list_playbooks(self, request: Request, name: str, item: Item) -> Answer:
        return 200, list(self._store.playbooks or ())

    def survey(self, request: Request, name: str, item: Item) -> Answer:
        """Below a template: its survey, which is empty if it has none."""
        spec: Item = item.setdefault("survey_spec", {})
        if request.method == "GET":
            shown = copy.deepcopy(spec)
            for question in shown.get("spec", []):
                if question["type"] == "password" and question.get("default"):
                    question["default"] = ENCRYPTED
            return 200, shown
        if request.method == "POST":
            check_survey(request.body, spec)
        item["survey_spec"] = copy.deepcopy(request.body) if request.method == "POST" else {}
        return 200, None

    def create_approval(self, request: Request, name: str, item: Item) -> Answer:
        """Below a node: make it an approval node."""
        if request.method == "GET":
            return 200, {}
        made = self._store.create("workflow_approval_templates", request.body)
        self._store.delete_approval(item["unified_job_template"])
        item["unified_job_template"] = made["id"]
        return 201, self._store.show("workflow_approval_templates", made)


ACTIONS: dict[str, Callable[[FakeAwx, Request, str, Item], Answer]] = {
    "create_approval_template": FakeAwx.create_approval,
    "playbooks": FakeAwx.list_playbooks,
    "survey_spec": FakeAwx.survey,
    "update": FakeAwx.update_now,
}


def not_allowed(request: Request) -> Refused:
    return Refused(405, {"detail": f'Method "{request.method}" not allowed.'})


def handler_of(awx: FakeAwx) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer is one packet

        def handle_any(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _mark, query = self.path.partition("?")
            below = path.removeprefix("/api/v2/")
            if path == "/api/":
                self.respond(200, {"current_version": "/api/v2/", "available_versions": {"v2": "/api/v2/"}})
            elif below == path:
                self.respond(404, {"detail": "The requested resource could not be found."})
            elif below not in ("", "ping/") and not awx.allows(self.headers.get("Authorization", "")):
                self.respond(401, {"detail": NOT_LOGGED_IN})
            else:
                body = json.loads(content) if content else {}
                request = Request(self.command, below.removesuffix("/"), dict(parse_qsl(query, True)), body)
                self.respond(*awx.answer(request))

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - the library's names

        def respond(self, status: int, answer: Any) -> None:
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("X-API-Product-Name", "AWX")
            self.send_header("X-API-Product-Version", VERSION)
            self.send_header("Content-Type", "application/json")
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing: `requests` has all of it."""

    return Handler


def fill(store: Store, username: str) -> None:
    """Create what a new AWX has."""
    store.create("users", {"username": username, "password": "x", "is_superuser": True})
    for name, namespace, kind, inputs in CREDENTIAL_TYPES:
        body = {"name": name, "kind": kind, "inputs": managed_type_inputs(inputs)}
        store.create("credential_types", body, namespace=namespace, managed=True)
    default = store.create("organizations", {"name": "Default"})
    for name in ("controlplane", "default"):
        store.create("instance_groups", {"name": name})
    image = "quay.io/ansible/awx-ee:latest"
    store.create("execution_environments", {"name": "AWX EE (latest)", "image": image})
    store.create(
        "execution_environments", {"name": "Control Plane Execution Environment", "image": image}, managed=True
    )
    [[_name, galaxy]] = store.select("credential_types", {"namespace": "galaxy_api_token"})
    body = {"name": "Ansible Galaxy", "credential_type": galaxy["id"], "inputs": {"url": "https://galaxy.ansible.com/"}}
    default["galaxy_credentials"] = [store.create("credentials", body, managed=True)["id"]]
