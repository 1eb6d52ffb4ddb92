# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of snapshots, and all kinds of single changes to them with the difference that each must be.

A sample is a new object at each call, so a test may change it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Token, User
from ansible_collections.hubops.jupyterhub.plugins.module_utils._info.everything import Everything, Unreadable
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.model import Snapshot
from support.verify_results import passed, report_of

TAKEN = "2026-11-26T18:00:00Z"
LATER = "2026-11-26T20:00:00Z"
LONG_AGO = "2026-01-01T00:00:00.000000Z"
SINCE = "2026-11-01T08:00:00.000000Z"

Content = dict[str, Any]
"""A snapshot as its fields, such as ``content["users"]["alice"]``."""
Expected = tuple[str, str, str, str]
"""Severity, kind, name and field of a difference."""


def verification(**more: Any) -> Content:
    """Return the row of a hub in the report of a verification."""
    row: Content = report_of({"teaching": {**passed(), **more}})["hubs"][0]
    return row


def content() -> Content:
    """Return a snapshot in which everything occurs."""
    return {
        "taken": TAKEN,
        "seconds": 1.5,
        "hub": {
            "url": "https://hub.example.org/",
            "version": "5.5.3",
            "authenticator": {"class": "oauthenticator.github.GitHubOAuthenticator", "version": "17.4.0"},
            "spawner": {"class": "kubespawner.spawner.KubeSpawner", "version": "7.0.0"},
        },
        "reader": {"kind": "service", "name": "admin", "scopes": ["list:users", "read:users"]},
        "unreadable": [],
        "users": {
            "alice": _user(admin=True, roles=["admin", "reporter", "user"], groups=["physics", "staff"]),
            "bob": _user(groups=["staff"]),
            "carol": _user(),
        },
        "servers": {
            "alice": {
                "": _server(user_options={"profile": "large", "cpus": 4}),
                "lab": _server(ready=False, stopped=True, started=None, user_options={"image": "a:1"}),
            },
            "bob": {"gpu": _server(user_options={})},
        },
        "groups": {
            "staff": {
                "users": ["alice", "bob"],
                "properties": {"quota": 10, "shared": {"a": [1]}},
                "roles": ["grader"],
            },
            "physics": {"users": ["alice"], "properties": {}, "roles": []},
            "empty": {"users": [], "properties": {}, "roles": []},
        },
        "services": {
            "news": {"admin": False, "roles": ["news-role"], "url": "http://127.0.0.1:9", "display": True},
            "admin": {"admin": True, "roles": ["admin"], "url": "", "display": True},
        },
        "tokens": [
            _token("alice", "a1", note="nightly", scopes=["read:users:name!user=alice", "servers!user=alice"]),
            _token("alice", "a2", note="soon over", expires_at="2026-11-26T19:00:00.000000Z"),
            _token("bob", "a3", note="ci", expires_at="2027-01-01T00:00:00.000000Z"),
            _token("bob", "a4", note="Server at /user/bob/gpu/", issued_for="server"),
            _token("carol", "a5", note="", issued_for="oauth"),
        ],
        "routes": [{"routespec": "/user/alice/", "target": "http://127.0.0.1:1", "data": {"user": "alice"}}],
        "verification": verification(),
    }


def _user(**more: Any) -> Content:
    return {"admin": False, "roles": ["user"], "groups": [], "created": LONG_AGO, "last_activity": SINCE, **more}


def _server(**more: Any) -> Content:
    runs = {"ready": True, "pending": None, "stopped": False, "started": SINCE, "last_activity": SINCE}
    return {**runs, "user_options": {}, **more}


def _token(user: str, token_id: str, **more: Any) -> Content:
    times = {"created": LONG_AGO, "expires_at": None, "last_activity": None}
    return {
        "user": user, "id": token_id, "note": "", "scopes": [f"read:users:name!user={user}"], **times, "issued_for": "",
        **more,
    }  # fmt: skip


def snapshot(changed: Content | None = None, **more: Any) -> Snapshot:
    """Return a snapshot of this content, or of the sample."""
    return Snapshot(**{**(content() if changed is None else changed), **more})


def everything(found: Content) -> Everything:
    """Return what a token that may see everything reads of a hub that has this content."""
    servers = found["servers"]

    def user(name: str, model: Content) -> User:
        those = {each: {"name": each, **server} for each, server in servers.get(name, {}).items()}
        return User.from_model({"kind": "user", "name": name, **model, "servers": those}, lambda url: url)

    return Everything(
        {**found["hub"], "scope_names": {}},
        {**found["reader"], "admin": True, "id": "a9", "note": None},
        tuple(user(name, model) for name, model in found["users"].items()),
        tuple({"kind": "group", "name": name, **model} for name, model in found["groups"].items()),
        tuple(
            {"kind": "service", "name": name, "command": ["s3cr3t"], "pid": 7, "info": {}, "prefix": "/", **model}
            for name, model in found["services"].items()
        ),
        tuple(found["routes"]),
        tuple(
            (each["user"], Token(**{**{k: v for k, v in each.items() if k != "user"}, "scopes": tuple(each["scopes"])}))
            for each in found["tokens"]
        ),
        tuple(Unreadable(**each) for each in found["unreadable"]),
    )


# Single changes. Each function takes a content, changes it, and returns the differences that the change must be.

Change = Callable[[Content], Expected]
LOSSES: dict[str, Change] = {}
"""Changes that take something away. In the other direction, something is new."""
CHANGES: dict[str, Change] = {}
"""Changes that make something different, in either direction."""
ONE_WAY: dict[str, Change] = {}
"""Changes that mean something else, or nothing, in the other direction."""


def _register(table: dict[str, Change]) -> Callable[[Change], Change]:
    def register(change: Change) -> Change:
        table[change.__name__] = change
        return change

    return register


loss, difference, one_way = _register(LOSSES), _register(CHANGES), _register(ONE_WAY)


def _first(items: Content, has: Callable[[Any], Any] = lambda item: True) -> str:
    """Return the name of the first item that has something."""
    return next(name for name in sorted(items) if has(items[name]))


@loss
def a_user(found: Content) -> Expected:
    name = _first(found["users"], lambda user: user["groups"])
    del found["users"][name]
    found["servers"].pop(name, None)
    found["tokens"] = [each for each in found["tokens"] if each["user"] != name]
    for group in found["groups"].values():
        group["users"] = [each for each in group["users"] if each != name]
    return "lost", "user", name, ""


@loss
def an_admin(found: Content) -> Expected:
    name = _first(found["users"], lambda user: user["admin"])
    found["users"][name]["admin"] = False
    found["users"][name]["roles"].remove("admin")
    return "lost", "admin", name, "admin"


@loss
def a_role(found: Content) -> Expected:
    name = _first(found["users"], lambda user: "user" in user["roles"])
    found["users"][name]["roles"].remove("user")
    return "lost", "role", name, "user"


@loss
def a_role_of_a_group(found: Content) -> Expected:
    name = _first(found["groups"], lambda group: group["roles"])
    return "lost", "role", f"group {name}", found["groups"][name]["roles"].pop()


@loss
def a_role_of_a_service(found: Content) -> Expected:
    name = _first(found["services"], lambda service: not service["admin"] and service["roles"])
    return "lost", "role", f"service {name}", found["services"][name]["roles"].pop()


@loss
def an_admin_s_service(found: Content) -> Expected:
    name = _first(found["services"], lambda service: service["admin"])
    found["services"][name]["admin"] = False
    return "lost", "admin", f"service {name}", "admin"


@loss
def a_membership(found: Content) -> Expected:
    name = _first(found["users"], lambda user: user["groups"])
    group = found["users"][name]["groups"].pop()
    found["groups"][group]["users"].remove(name)
    return "lost", "membership", name, group


@loss
def a_group(found: Content) -> Expected:
    name = _first(found["groups"], lambda group: group["users"])
    del found["groups"][name]
    for user in found["users"].values():
        user["groups"] = [each for each in user["groups"] if each != name]
    return "lost", "group", name, ""


@loss
def a_property(found: Content) -> Expected:
    name = _first(found["groups"], lambda group: group["properties"])
    return "lost", "property", name, found["groups"][name]["properties"].popitem()[0]


@loss
def a_service(found: Content) -> Expected:
    name = _first(found["services"])
    del found["services"][name]
    return "lost", "service", name, ""


def _minted(found: Content) -> Content:
    """Return the last token that somebody has minted and that has scopes."""
    token: Content = [each for each in found["tokens"] if not each["issued_for"] and each["scopes"]][-1]
    return token


@loss
def a_token(found: Content) -> Expected:
    token = _minted(found)
    found["tokens"].remove(token)
    return "lost", "token", f"{token['user']}/{token['id']}", ""


@loss
def a_scope(found: Content) -> Expected:
    token = _minted(found)
    token["scopes"].pop()
    return "lost", "scope", f"{token['user']}/{token['id']}", "scopes"


def _server_that(found: Content, has: Callable[[str, Content], Any]) -> tuple[str, str, Content]:
    """Return the title of the first server that has something, its name, and the servers of its user."""
    for user, servers in sorted(found["servers"].items()):
        for name, server in sorted(servers.items()):
            if has(name, server):
                return f"{user}/{name}" if name else user, name, servers
    raise AssertionError("there is none")


@loss
def a_named_server(found: Content) -> Expected:
    title, name, servers = _server_that(found, lambda name, server: name)
    del servers[name]
    return "lost", "server", title, ""


@loss
def a_server_that_runs(found: Content) -> Expected:
    title, name, servers = _server_that(found, lambda name, server: server["ready"])
    servers[name] |= {"ready": False, "stopped": True, "started": None}
    return "lost", "server", title, "running"


@loss
def an_option(found: Content) -> Expected:
    title, name, servers = _server_that(found, lambda name, server: server["user_options"])
    return "lost", "option", title, servers[name]["user_options"].popitem()[0]


@loss
def a_check(found: Content) -> Expected:
    return "lost", "check", found["verification"]["checks"].pop()["name"], ""


def _phase(found: Content, name: str) -> Content:
    phases: list[Content] = found["verification"]["checks"][0]["phases"]
    return next(each for each in phases if each["name"] == name)


@loss
def a_package(found: Content) -> Expected:
    del _phase(found, "packages")["details"]["packages"]["numpy"]
    return "lost", "package", found["verification"]["checks"][0]["name"], "numpy"


@difference
def the_version(found: Content) -> Expected:
    found["hub"]["version"] += ".post1"
    return "changed", "version", "hub", "version"


@difference
def the_authenticator(found: Content) -> Expected:
    found["hub"]["authenticator"] = {"class": "a.B", "version": "1"}
    return "changed", "authenticator", "hub", "class"


@difference
def the_version_of_the_spawner(found: Content) -> Expected:
    found["hub"]["spawner"] |= {"version": "8.0.0"}
    return "changed", "spawner", "hub", "version"


@difference
def a_user_created_again(found: Content) -> Expected:
    name = _first(found["users"])
    found["users"][name]["created"] = TAKEN
    return "changed", "user", name, "created"


@difference
def a_property_s_value(found: Content) -> Expected:
    name = _first(found["groups"], lambda group: group["properties"])
    key = sorted(found["groups"][name]["properties"])[0]
    found["groups"][name]["properties"][key] = ["another"]
    return "changed", "property", name, key


@difference
def a_service_s_address(found: Content) -> Expected:
    name = _first(found["services"])
    found["services"][name]["url"] = "http://[::1]:1/"
    return "changed", "service", name, "url"


@difference
def a_token_s_note(found: Content) -> Expected:
    token = _minted(found)
    token["note"] += " and more"
    return "changed", "token", f"{token['user']}/{token['id']}", "note"


@difference
def a_token_s_expiry(found: Content) -> Expected:
    token = _minted(found)
    token["expires_at"] = "2033-01-01T00:00:00Z"
    return "changed", "token", f"{token['user']}/{token['id']}", "expires_at"


@difference
def a_token_minted_again(found: Content) -> Expected:
    """With other scopes: it is another token, and the program that has the first one cannot use it."""
    token = _minted(found)
    token |= {"created": TAKEN, "scopes": ["list:users"]}
    return "lost", "token", f"{token['user']}/{token['id']}", "created"


@difference
def a_server_started_again(found: Content) -> Expected:
    title, name, servers = _server_that(found, lambda name, server: server["ready"])
    servers[name]["started"] = TAKEN
    return "changed", "server", title, "started"


@difference
def an_option_s_value(found: Content) -> Expected:
    title, name, servers = _server_that(found, lambda name, server: server["user_options"])
    key = sorted(servers[name]["user_options"])[0]
    servers[name]["user_options"][key] = {"another": None}
    return "changed", "option", title, key


@difference
def a_package_s_version(found: Content) -> Expected:
    _phase(found, "packages")["details"]["packages"]["numpy"] = "1.0"
    return "changed", "package", found["verification"]["checks"][0]["name"], "numpy"


@difference
def a_verdict(found: Content) -> Expected:
    found["verification"]["checks"][0]["verdict"] = "warned"
    return "changed", "check", found["verification"]["checks"][0]["name"], "verdict"


@difference
def a_server_s_memory(found: Content) -> Expected:
    _phase(found, "resources")["details"]["memory"] -= 1
    return "changed", "check", found["verification"]["checks"][0]["name"], "memory"


@one_way
def a_check_that_fails(found: Content) -> Expected:
    found["verification"]["checks"][0]["verdict"] = "failed"
    return "lost", "check", found["verification"]["checks"][0]["name"], "verdict"


@one_way
def a_slower_start(found: Content) -> Expected:
    _phase(found, "start")["seconds"] += 100
    return "changed", "start_time", found["verification"]["checks"][0]["name"], "seconds"


@one_way
def an_expired_token(found: Content) -> Expected:
    token = _minted(found)
    found["tokens"].remove(token)
    return "changed", "token", f"{token['user']}/{token['id']}", ""


def hide(found: Content, name: str) -> Expected:
    """Hide a part, or a field of all items of a part, as from a token that may not read it."""
    part, _dot, field = name.partition(".")
    found["unreadable"] = [{"name": name, "scope": "read:it", "message": f"The token may not read {name}."}]
    if name == "hub":
        found["hub"] |= {"authenticator": None, "spawner": None}
    elif not field:
        found[part] = None
    else:
        items = found[part] if part == "tokens" else found[part].values()
        for item in items:
            item[field] = None
    return "lost", "unreadable", name, ""


HIDDEN = (
    "hub", "users", "servers", "groups", "services", "tokens", "users.admin", "users.created", "users.groups",
    "users.roles", "groups.properties", "groups.roles", "groups.users", "services.admin", "services.display",
    "services.roles", "services.url", "tokens.created", "tokens.scopes",
)  # fmt: skip
"""What a token may not be able to read, except the routes, which are not compared."""


def changed(change: Change, found: Content | None = None) -> tuple[Content, Content, Expected]:
    """Return a content before and after a change, and the difference that it must be."""
    before = content() if found is None else found
    after = copy.deepcopy(before)
    after["taken"] = LATER
    expected = change(after)
    if change is ONE_WAY["an_expired_token"]:
        key = expected[2]
        for token in before["tokens"]:
            if f"{token['user']}/{token['id']}" == key:
                token["expires_at"] = "2026-11-26T19:00:00.000000Z"
    return before, after, expected
