# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hubs that are not at the root of a host: below a path, behind TLS of a private CA, each server on a host of its own.

The hosts are below .localhost, which should resolve on each machine but does not on all of them; see
tests/support/ansible/localhost_resolver.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
import trustme
from support.fakes.misbehaving_hub import Answer, Request, forward_to, misbehaving_hub
from support.hubs import REPOSITORY, SHORT_WAITS, Hub, HubPool, running_hub
from support.runner import Runner, assert_failed

importlib.import_module("support.ansible.localhost_resolver.sitecustomize")  # for this process as well
RESOLVER_ENV = {"PYTHONPATH": str(REPOSITORY / "tests/support/ansible/localhost_resolver")}


def subdomains(scheme: str = "http", port: int | None = None) -> str:
    """Configuration that gives each user a host. ``port`` is the hub's, unless another proxy is in front of the hub."""
    number = port or "urlsplit(c.JupyterHub.bind_url).port"
    return f"""
from urllib.parse import urlsplit
c.JupyterHub.subdomain_host = "{scheme}://hub.localhost:" + str({number})
"""


def address_by_name(hub: Hub) -> str:
    """The hub's address with a host name instead of a number."""
    parts = urlsplit(hub.url)
    return parts._replace(netloc=f"hub.localhost:{parts.port}").geturl()


@dataclass(frozen=True)
class Secured:
    """A hub behind TLS, below a path and with subdomains, and the door that tasks for it take."""

    runner: Runner
    ca: str
    other_ca: str

    def task(self, module: str, **options: Any) -> dict[str, Any]:
        return self.runner.task(module, **{"ca_path": self.ca, **options})

    def run(self, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
        return self.runner.run(tasks, env=RESOLVER_ENV).results

    def host(self, name: str) -> str:
        """The address of this user's servers."""
        port = urlsplit(self.runner.hub.url).port
        return f"https://{name}.hub.localhost:{port}/teams/hub/user/"

    def get(self, url: str) -> Any:
        return requests.get(url, verify=self.ca, timeout=60).json()

    def servers(self, user: str) -> set[str]:
        answer = requests.get(
            f"{self.runner.hub.api}/users/{user}", headers=self.runner.hub.headers, verify=self.ca, timeout=60
        )
        return set(answer.json()["servers"])


@contextlib.contextmanager
def secured_hub(folder: Path, spawner: str) -> Iterator[Secured]:
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.crt")
    other.cert_pem.write_to_path(folder / "other.crt")
    # The certificate names two of the users' hosts. Most deployments name all of them with a `*`.
    hosts = ("127.0.0.1", "hub.localhost", "ann.hub.localhost", "xn--zo-ija.hub.localhost")
    certificate = ca.issue_cert(*hosts)
    certificate.private_key_pem.write_to_path(folder / "hub.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "hub.crt")
    config = (
        f"c.JupyterHub.ssl_key = {str(folder / 'hub.key')!r}\nc.JupyterHub.ssl_cert = {str(folder / 'hub.crt')!r}\n"
    )
    config += subdomains("https") + (SHORT_WAITS if spawner == "light" else "")
    with running_hub(folder, spawner=spawner, base_url="/teams/hub/", config=config) as hub:
        yield Secured(
            Runner("controller", hub, url=address_by_name(hub)), str(folder / "ca.crt"), str(folder / "other.crt")
        )


@pytest.fixture(scope="module")
def light_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_hub(tmp_path_factory.mktemp("light"), "light") as secured:
        yield secured


@pytest.fixture(scope="module")
def real_secured_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_hub(tmp_path_factory.mktemp("real"), "server") as secured:
        yield secured


def through_door(door: str, secured: Secured) -> Secured:
    return Secured(Runner(door, secured.runner.hub, url=secured.runner.url), secured.ca, secured.other_ca)


@pytest.mark.doors
def test_start_and_stop(door: str, light_hub: Secured) -> None:
    place, user = through_door(door, light_hub), "zoë"
    options = {"start_seconds": 2, "start_told": 1, "of": door}
    _made, started, again, lab, listed = place.run(
        place.task("hub_user", user=user),
        place.task("hub_server", user=user, user_options=options),
        place.task("hub_server", user=user),
        place.task("hub_server", user=user, server_name="lab"),
        place.task("hub_info", gather=["servers"], users=[user]),
    )
    assert (started["changed"], again["changed"], lab["changed"]) == (True, False, True)
    (item,) = started["servers"]
    url = item["url"]
    assert url.startswith(place.host("xn--zo-ija"))
    assert place.get(url)["user_options"] == options
    assert (again["servers"][0]["url"], lab["servers"][0]["url"]) == (url, url + "lab/")
    assert {server["url"] for server in listed["servers"]} == {url, url + "lab/"}
    # The progress came when it happened, by a stream that trusts the same CA, and not at the end.
    messages, times = zip(*((event["message"], event["seconds"]) for event in item["events"]), strict=True)
    assert sum(message.startswith("Step ") for message in messages) == 4
    assert messages[-1].startswith("Server ready at ")
    assert times[-1] - times[1] > 0.5
    stopped = place.run(
        *(place.task("hub_server", user=user, server_name=name, state="stopped") for name in ("", "lab"))
    )
    assert [result["changed"] for result in stopped] == [True, True]
    assert place.servers(quote(user)) == set()


@pytest.mark.doors
def test_without_the_ca(door: str, light_hub: Secured) -> None:
    place = through_door(door, light_hub)
    _made, *refused, unchecked, stopped = place.run(
        place.task("hub_user", user="ann"),
        place.task("hub_server", user="ann", ca_path=None),
        place.task("hub_server", user="ann", ca_path=place.other_ca),
        place.task("hub_server", user="ann", ca_path=None, validate_certs=False),
        place.task("hub_server", user="ann", state="stopped"),
    )
    for result in refused:
        assert_failed(result, "tls", "hub.localhost", "ca_path")
        assert result["changed"] is False
    assert (unchecked["changed"], unchecked["servers"][0]["state"], stopped["changed"]) == (True, "ready", True)


@pytest.mark.doors
def test_a_certificate_without_the_servers_host(door: str, light_hub: Secured) -> None:
    """The hub is trusted and the server is not. To wait does not help."""
    place = through_door(door, light_hub)
    _made, started = place.run(place.task("hub_user", user="bob"), place.task("hub_server", user="bob"))
    assert started["servers"][0]["seconds"] < 60  # it may wait for 300
    assert_failed(started, "tls", "bob.hub.localhost", "certificate")
    assert "ca_path" not in started["msg"]  # ca_path is right
    assert (started["changed"], started["servers"][0]["state"]) == (True, "failed")
    assert "bob.hub.localhost" in started["servers"][0]["reason"]
    executed, stopped = place.run(
        place.task("hub_exec", user="bob", code="1"), place.task("hub_server", user="bob", state="stopped")
    )
    assert_failed(executed, "tls", "bob.hub.localhost")
    assert stopped["changed"] is True


@pytest.mark.doors
def test_a_real_server(door: str, real_secured_hub: Secured) -> None:
    place = through_door(door, real_secured_hub)
    by_number = place.runner.hub.url
    _made, started, ran, by_number, stopped = place.run(
        place.task("hub_user", user="ann"),
        place.task("hub_server", user="ann"),
        place.task("hub_exec", user="ann", code="import os; os.environ['JUPYTERHUB_USER']"),
        place.task("hub_exec", user="ann", code="1", hub_url=by_number),
        place.task("hub_server", user="ann", state="stopped"),
    )
    assert started["servers"][0]["url"].startswith(place.host("ann"))
    assert ran["result"] == "'ann'"
    # At its numeric address it is the same hub, but the servers' hosts are not below that host.
    assert_failed(by_number, "invalid", "ann.hub.localhost", "hub_url")
    assert stopped["changed"] is True


# Without TLS: which hosts there are, and what is sent to them


@pytest.mark.parametrize("version", ["6.1", "4.1"])
def test_hosts_of_special_names(version: str, pool: HubPool) -> None:
    """JupyterHub 5 has changed how a name becomes a host."""
    names = ["ann", "a b", "x@y.org", "a+b", "100%", "%41", "a?b", "a_b", "zoë", "日本"]
    hub = pool.get(version, config=subdomains())
    runner = Runner("program", hub, url=address_by_name(hub))
    seen = set()
    for name in names:
        assert runner("hub_user", user=name)["changed"] is True
        (item,) = runner("hub_server", user=name, wait_timeout="60s")["servers"]
        assert item["state"] == "ready", item
        parts = urlsplit(item["url"])
        assert str(parts.hostname).endswith(".hub.localhost")
        seen.add(parts.hostname)
        assert requests.get(item["url"], timeout=60).json()["user"] == name
        assert runner("hub_server", user=name, state="stopped")["servers"][0]["state"] == "stopped"
    assert len(seen) == len(names)
    assert runner.api_request("GET", "users?state=active").json() == []


def test_a_host_that_the_hubs_proxy_does_not_find(pool: HubPool) -> None:
    """Since JupyterHub 5 the host of `Ann` is Ann.hub.localhost. HTTP clients send ann.hub.localhost, which is another
    host for the proxy. No client reaches such a server, so the module does not report it as ready."""
    hub = pool.get(config=subdomains())
    runner = Runner("program", hub, url=address_by_name(hub))
    runner("hub_user", user="Ann")
    result = runner("hub_server", user="Ann", wait_timeout="4s")
    assert_failed(result, "invalid", "is ready, but the hub itself answers at the server's address")
    assert runner("hub_server", user="Ann", state="stopped")["changed"]


def test_the_token_goes_to_the_hub_s_host_and_those_below_it(tmp_path: Path) -> None:
    hub_urls: list[str] = []

    def answer(request: Request) -> Answer:
        return forward_to(hub_urls[0])(request)  # known only after the hub has started

    with misbehaving_hub(answer) as front:
        port = urlsplit(front.url).port
        with running_hub(tmp_path, config=subdomains(port=port)) as hub:
            hub_urls.append(hub.url)

            def hosts_that_got_the_token() -> set[str]:
                got = {request.headers["host"] for request in front.requests if request.token}
                front.requests.clear()
                return {host.partition(":")[0] for host in got}

            runner = Runner("program", hub, url=f"http://hub.localhost:{port}/")
            runner("hub_user", user="ann")
            (item,) = runner("hub_server", user="ann")["servers"]
            assert item["url"] == f"http://ann.hub.localhost:{port}/user/ann/"
            # To poll a server needs no token; to run code does.
            assert "ann.hub.localhost" in {request.headers["host"].partition(":")[0] for request in front.requests}
            assert hosts_that_got_the_token() == {"hub.localhost"}
            runner("hub_exec", user="ann", code="1", timeout="5s")
            assert hosts_that_got_the_token() == {"hub.localhost", "ann.hub.localhost"}
            by_number = runner.with_url(f"http://127.0.0.1:{port}/")
            assert by_number("hub_server", user="ann")["servers"][0]["url"] == item["url"]
            by_number("hub_exec", user="ann", code="1", timeout="5s")
            assert hosts_that_got_the_token() == {"127.0.0.1"}
