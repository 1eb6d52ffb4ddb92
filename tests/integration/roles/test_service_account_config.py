# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role service_account writes for the hub's configuration, as real hubs read it."""

from __future__ import annotations

import ast
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
import yaml
from support.hub_configs import RenderedConfig, render_config
from support.hubs import Hub, HubPool, running_hub
from support.playbooks import api_request

SERVICE, SERVICE_TOKEN = "hubops", "5e27ce0000000000000000000000beef"
# Another user may log in, and these accounts may not: a hub must not want them in that list.
CLOSED = """
from jupyterhub.auth import Authenticator

c.Authenticator.allowed_users = {"person"}
if "allow_all" in Authenticator.class_trait_names():
    c.Authenticator.allow_all = False
c.JupyterHub.load_roles = [{"name": "a-role-of-the-site", "scopes": ["list:users"]}]
"""
# What a string, a comment, a template, YAML or Python might make something else of.
HOSTILE = ["a'b\"c\\n{{ 6 * 7 }}{% x %}\n# \u00fc\u2028\u0085\U0001f600!user=person", "yes", "123", "- x: [y]", "~"]
ACCOUNTS: list[dict[str, Any]] = [
    {"user": "verify-bot", "groups": ["known"]},
    {"user": "cull-bot", "purpose": "cull", "groups": ["new"], "create_groups": True},
    {"user": "start-bot", "scopes": ["start:servers", "read:tokens!user=person", "read:tokens!user=start-bot"]},
]
CULL = {"list:users", "read:users:activity", "read:servers", "delete:servers"}


def named_service(folder: Path) -> dict[str, str]:
    file = folder / "hubops.token"
    file.write_text(SERVICE_TOKEN + "\n")
    return {"service_account_config_service": SERVICE, "service_account_config_service_token_file": str(file)}


@dataclass(frozen=True)
class Configured:
    """A hub that has read one of the files."""

    hub: Hub
    rendered: RenderedConfig

    def ask(self, method: str, path: str, body: Any = None, token: str = SERVICE_TOKEN) -> requests.Response:
        headers = {"Authorization": f"token {token}"}
        return requests.request(method, f"{self.hub.api}/{path}", json=body, headers=headers, timeout=60)

    def held(self, user: str, scopes: set[str]) -> set[str]:
        """What a token of this user holds that the service mints with these scopes."""
        answer = self.ask(
            "POST", f"users/{quote(user, safe='')}/tokens", {"scopes": sorted(scopes), "note": "of a test"}
        )
        assert answer.status_code == 201, answer.text
        owned = self.ask("GET", "user", token=answer.json()["token"]).json()
        assert owned["name"] == user
        return set(owned["scopes"])


@dataclass(frozen=True)
class Learned:
    """What was written for a version of the hub, and the state of the hub that took part in it, if it is to go on."""

    rendered: RenderedConfig
    state: Path | None


@pytest.fixture(scope="module")
def learned(pool: HubPool, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Learned]:
    """What the role writes for a hub of this version, which it asks what it is."""
    accounts = [*ACCOUNTS, *({"user": name, "scopes": ["list:users"]} for name in HOSTILE)]

    @cache
    def write(version: str) -> Learned:
        folder = tmp_path_factory.mktemp("learned")
        if version != "4.1":
            return Learned(render_config(folder, accounts, hub=pool.get(version), **named_service(folder)), None)
        # There the role also lets the accounts join groups, which the hub must not forget.
        with running_hub(folder, version, config=CLOSED) as hub:
            return Learned(render_config(folder, accounts, hub=hub, **named_service(folder)), hub.state)

    return write


@pytest.fixture(scope="module", params=["6.1-snippet", "5.5-values", "4.1-snippet", "4.1-values"])
def place(
    request: pytest.FixtureRequest, learned: Callable[[str], Learned], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Configured]:
    version, form = request.param.split("-")
    rendered, state = learned(version).rendered, learned(version).state
    assert rendered.played.status == 0, rendered.played.output
    folder = tmp_path_factory.mktemp("place")
    if state:
        shutil.copytree(state, folder / state.name)
    loaded = rendered.as_subconfig() if form == "snippet" else rendered.as_values({SERVICE: SERVICE_TOKEN})
    with running_hub(folder, version, config=CLOSED + loaded) as hub:
        api_request(hub, "POST", "groups/known")
        yield Configured(hub, rendered)


def test_the_service_can_do_what_the_accounts_need_and_nothing_else(place: Configured) -> None:
    for name in ("verify-bot", "cull-bot"):
        answer = place.ask("POST", f"users/{name}")
        assert answer.status_code in (201, 409), answer.text
        assert place.ask("GET", f"users/{name}").json()["admin"] is False
    assert place.held("verify-bot", {"read:tokens!user"}) >= {"read:tokens!user=verify-bot"}
    assert place.ask("POST", "groups/known/users", {"users": ["verify-bot"]}).status_code == 200
    assert place.ask("POST", "groups/new").status_code == 201
    assert place.ask("POST", "groups/new/users", {"users": ["cull-bot"]}).status_code == 200
    assert "authenticator" in place.ask("GET", "info").json()

    api_request(place.hub, "POST", "users/somebody")
    for method, path, body in (
        ("POST", "users/nobody", None),
        ("GET", "users/somebody", None),
        ("PATCH", "users/somebody", {"name": "else"}),
        ("POST", "users/somebody/tokens", {}),
        ("GET", "users/somebody/tokens", None),
        ("POST", "users/verify-bot/server", None),
        ("PATCH", "users/verify-bot", {"admin": True}),
        ("POST", "groups/other", None),
        ("DELETE", "groups/known", None),
    ):
        assert place.ask(method, path, body).status_code in (403, 404), f"{method} {path}"
    listed = {user["name"] for user in place.ask("GET", "users").json()}
    assert listed <= {"verify-bot", "cull-bot", "start-bot", *HOSTILE}


def test_accounts_may_do_what_was_declared_for_them(place: Configured) -> None:
    """In this hub's words, and no more than that."""
    assert place.held("cull-bot", CULL) >= CULL
    start = "start:servers" if place.hub.version.startswith("6") else "servers"
    assert place.held("start-bot", {start, "read:tokens!user=person"}) >= {start, "read:tokens!user=person"}
    for user, scope in (("cull-bot", "admin:users"), ("start-bot", "list:users"), ("verify-bot", "list:users")):
        answer = place.ask("POST", f"users/{user}/tokens", {"scopes": [scope]})
        assert answer.status_code == 400, answer.text
    # And the site's own role is still there.
    [database] = place.hub.state.glob("*.sqlite")
    with closing(sqlite3.connect(database)) as found:
        assert ("a-role-of-the-site",) in found.execute("SELECT name FROM roles").fetchall()


@pytest.mark.parametrize("name", HOSTILE)
def test_names_arrive_as_they_are(name: str, place: Configured) -> None:
    answer = place.ask("POST", f"users/{quote(name, safe='')}")
    assert answer.status_code in (201, 409), answer.text
    assert "list:users" in place.held(name, {"list:users"})
    literal = next(
        node.value.args[0]
        for node in ast.parse(place.rendered.config.read_bytes()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
    )
    assert name in ast.literal_eval(literal)
    assert name in yaml.safe_load(place.rendered.values.read_text())["custom"]["serviceAccountUsers"]
