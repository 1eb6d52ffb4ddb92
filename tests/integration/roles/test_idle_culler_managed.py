# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service that the role idle_culler configures: real hubs read the file, start the service, and it culls them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from support.hub_clock import CLOCK_CONFIG, HOUR, let_time_pass
from support.hub_configs import chart_values_code, subconfig_code, unsafe_yaml
from support.hubs import Hub, running_hub, venv
from support.playbooks import ProgramResult, api_request, run_playbook, servers, start_server
from support.waiting import wait_until

SERVICE, SERVICE_TOKEN = "idle-culler", "5e27ce0000000000000000000000c011"
PLAY = """
- name: Write the service of a hub
  hosts: localhost
  gather_facts: false
  roles: [hubops.jupyterhub.idle_culler]
"""
# The configuration of a site before it loads the file of the role.
OF_THE_SITE = """
c.JupyterHub.services.append({"name": "other", "api_token": "5e27ce0000000000000000000000aaaa"})
c.JupyterHub.load_roles = [{"name": "other", "scopes": ["list:users"], "services": ["other"]}]
"""
# A token that the test knows, in place of a random one of the hub.
KNOWN = f'c.JupyterHub.services[-1]["api_token"] = "{SERVICE_TOKEN}"\n'
# The hub of the test is in no pod, so its API has another address.
NO_POD = """
command = c.JupyterHub.services[-1]["command"]
assert command[-1] == "--url=http://localhost:8081/hub/api"
command[-1] = f"--url={c.JupyterHub.hub_bind_url}/hub/api"
"""
STOP = {"list:users", "read:users:activity", "read:servers", "delete:servers"}


def write(folder: Path, *arguments: str, **variables: Any) -> ProgramResult:
    (folder / "play.yml").write_text(PLAY)
    named = {f"idle_culler_{name}": value for name, value in {"mode": "managed", **variables}.items()}
    return run_playbook("play.yml", *arguments, folder=folder, variables=named)


@dataclass(frozen=True)
class Culled:
    hub: Hub
    users: bool  # whether users are culled, too

    def ask(self, token: str) -> dict[str, Any]:
        answer = requests.get(f"{self.hub.api}/user", headers={"Authorization": f"token {token}"}, timeout=120)
        assert answer.ok, answer.text
        found = answer.json()
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module", params=["6.1-snippet", "5.5-values", "4.1-snippet"])
def culled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Culled]:
    """A hub whose service culls servers that are idle for an hour. The services of the older hubs cull users, too."""
    version, form = request.param.split("-")
    folder, users = tmp_path_factory.mktemp("culled"), version != "6.1"
    policy: dict[str, Any] = {"idle_timeout": "1h", "every": "1s", "cull_users": users, "remove_named_servers": True}
    if form == "snippet":
        # With the hub's own Python, which finds the package in another environment.
        [packages] = venv("culler").glob("lib/python*/site-packages")
        written = write(folder, config_path="culler.py", environment={"PYTHONPATH": str(packages)}, **policy)
        loaded = subconfig_code(folder / "culler.py")
    else:
        python = str(venv("culler") / "bin" / "python")
        written = write(folder, values_path="values.yaml", service_python=python, **policy)
        loaded = chart_values_code(folder / "values.yaml", {SERVICE: SERVICE_TOKEN}, {}) + NO_POD
    assert written.status == 0, written.output
    with running_hub(folder, version, config=CLOCK_CONFIG + OF_THE_SITE + loaded + KNOWN) as hub:
        yield Culled(hub, users)


def test_it_may_do_what_it_takes_and_nothing_else(culled: Culled) -> None:
    service = culled.ask(SERVICE_TOKEN)
    assert (service["kind"], service["name"], service["admin"]) == ("service", SERVICE, False)
    held = {scope for scope in service["scopes"] if not scope.startswith("read:users:")} | {"read:users:activity"}
    # The service lists users by list:users; with read:users it may read all of their properties there.
    also = {"read:users", "delete:users", "list:users"} if culled.users else set()
    assert held - {f"read:services!service={SERVICE}", f"read:services:name!service={SERVICE}"} == STOP | also


def test_what_the_site_has_stays(culled: Culled) -> None:
    assert "list:users" in culled.ask("5e27ce0000000000000000000000aaaa")["scopes"]
    assert culled.ask(culled.hub.admin_token)["name"] == "admin"


def test_it_culls_what_is_idle_and_leaves_what_is_not(culled: Culled) -> None:
    hub = culled.hub
    for user in ("busy", "idle", "never"):
        api_request(hub, "POST", f"users/{user}")
    start_server(hub, "busy")
    api_request(hub, "POST", "users/idle/servers/second")
    start_server(hub, "idle")
    wait_until(lambda: all(each["ready"] for each in servers(hub, "idle").values()), 120)
    let_time_pass(hub, 2 * HOUR, "idle", "never")

    def names() -> set[str]:
        return {user["name"] for user in api_request(hub, "GET", "users")}

    if culled.users:
        # A user who was never active is idle since the creation, which the service may read.
        wait_until(lambda: names() == {"busy"}, 120)
    else:
        wait_until(lambda: not servers(hub, "idle"), 120)
        assert api_request(hub, "GET", "users/idle?include_stopped_servers=1")["servers"].keys() <= {""}
        before = passes(hub)
        wait_until(lambda: passes(hub) > before + 1, 120)  # the service has taken a complete pass
        assert names() == {"busy", "idle", "never"}
    assert servers(hub, "busy")[""]["ready"]
    assert "] 403 " not in hub.log.read_text()  # the service asks for nothing that it may not read


def passes(hub: Hub) -> int:
    """How often the service has asked the hub for its users."""
    return len(re.findall(rf" GET /hub/api/users\?\S* \({SERVICE}@", hub.log.read_text()))


def test_the_same_variables_write_the_same(tmp_path: Path) -> None:
    given = {"config_path": "culler.py", "values_path": "values.yaml", "environment": {"B": "2", "A": "1"}}
    foreseen = write(tmp_path, "--check", "--diff", **given)
    assert foreseen.status == 0, foreseen.output
    assert foreseen.recap["localhost"]["changed"] == 1  # one task writes both files
    assert '+            "--timeout=600",' in foreseen.stdout
    assert not (tmp_path / "culler.py").exists()
    first, second = write(tmp_path, **given), write(tmp_path, **given)
    assert "Restart the hub" in first.stdout
    assert "helm upgrade with --values values.yaml" in first.stdout
    assert second.recap["localhost"]["changed"] == 0
    assert yaml.safe_load((tmp_path / "values.yaml").read_text())["cull"] == {"enabled": False}


def test_what_arrives_is_what_was_given(tmp_path: Path) -> None:
    """No part of a value becomes code, markup or another value."""
    hostile = "a'b\"c\\n{{ 6 * 7 }}{% x %} # \u00fc\U0001f600 !x: [y]"
    (tmp_path / "hostile.yml").write_text(f"idle_culler_environment: {{A: {unsafe_yaml(hostile)}}}\n")
    written = write(tmp_path, "-e", "@hostile.yml", config_path="culler.py", values_path="values.yaml")
    assert written.status == 0, written.output
    chart = yaml.safe_load((tmp_path / "values.yaml").read_text())
    assert chart["hub"]["services"][SERVICE]["environment"] == {"A": hostile}
    names: dict[str, Any] = {"c": Config()}
    exec((tmp_path / "culler.py").read_text(), names)
    assert names["c"].JupyterHub.services[0]["environment"] == {"A": hostile}


def test_a_policy_that_the_service_would_not_keep_to_is_refused(tmp_path: Path) -> None:
    played = write(tmp_path, config_path="culler.py", rules=[{"users": ["a"], "keep": True}], max_culls="5")
    assert played.status == 2
    assert "has no option for rules" in played.stdout
    assert "has no option for max_culls" in played.stdout
    assert not (tmp_path / "culler.py").exists()


class Config:
    """The part of traitlets' Config that the file uses."""

    def __init__(self) -> None:
        self.JupyterHub = self
        self.services: list[dict[str, Any]] = []
        self.load_roles: list[dict[str, Any]] = []
