# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection to a hub: addresses, TLS and environment variables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from support.hubs import Hub, running_hub
from support.runner import Runner, assert_failed


@dataclass(frozen=True)
class Secured:
    hub: Hub
    ca: str
    other_ca: str


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A hub with real servers, with a certificate from a CA that no system trusts."""
    folder = tmp_path_factory.mktemp("tls")
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.crt")
    other.cert_pem.write_to_path(folder / "other.crt")
    certificate = ca.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "hub.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "hub.crt")
    config = (
        f"c.JupyterHub.ssl_key = {str(folder / 'hub.key')!r}\nc.JupyterHub.ssl_cert = {str(folder / 'hub.crt')!r}\n"
    )
    with running_hub(folder, spawner="server", config=config) as hub:
        assert hub.url.startswith("https://")
        yield Secured(hub, str(folder / "ca.crt"), str(folder / "other.crt"))


SHAPES = ["{}", "{}hub/api", "{}hub/api/", "{}hub/home", "{}hub/spawn/somebody", " {} "]


@pytest.fixture(scope="module")
def results_by_shape(door: str, hub_61: Hub) -> dict[str, dict[str, Any]]:
    """The results of one door, by the shape of the address."""
    runner = Runner(door, hub_61)
    results = runner.run([runner.task("hub_info", hub_url=shape.format(hub_61.url)) for shape in SHAPES]).results
    return dict(zip(SHAPES, results, strict=True))


@pytest.mark.parametrize("shape", SHAPES)
def test_addresses_that_people_copy(light: Runner, results_by_shape: dict[str, dict[str, Any]], shape: str) -> None:
    result = results_by_shape[shape]
    assert (result["hub"]["url"], result["hub"]["version"]) == (light.hub.url, light.hub.version)


@pytest.mark.doors
def test_tls(door: str, secured: Secured) -> None:
    runner = Runner(door, secured.hub)
    port = urlsplit(runner.hub.url).port
    ran = runner.run(
        [
            runner.task("hub_info"),
            runner.task("hub_info", ca_path=secured.other_ca),
            runner.task("hub_info", ca_path=secured.ca, hub_url=f"https://localhost:{port}/"),
            runner.task("hub_info", hub_url=f"http://127.0.0.1:{port}/"),
            runner.task("hub_info", ca_path=secured.ca),
            runner.task("hub_info", validate_certs=False),
            runner.task("hub_info", {"environment": {"JUPYTERHUB_CA_PATH": secured.ca}}),
            runner.task("hub_info", {"environment": {"REQUESTS_CA_BUNDLE": secured.ca}}),
            runner.task("hub_info", {"environment": {"JUPYTERHUB_VALIDATE_CERTS": "no"}}),
        ]
    )
    untrusted, other, mismatch, plain, *trusted = ran.results
    assert_failed(untrusted, "tls", f"127.0.0.1:{port}", "ca_path")
    assert_failed(other, "tls", "certificate verify failed")
    assert_failed(mismatch, "tls", "localhost")
    assert plain["failed"] is True
    assert plain["failure"]["code"] in ("tls", "unreachable")
    assert "https://" in plain["failure"]["hint"]
    for result in trusted:
        assert not result["failed"], result["msg"]
        assert result["token"]["name"] == "admin"
    assert "InsecureRequestWarning" not in ran.output
    assert "Traceback" not in ran.output


def test_all_modules_through_tls(door: str, secured: Secured) -> None:
    runner = Runner(door, secured.hub)
    user, trust = runner.hub.version.replace(".", "") + door, {"ca_path": secured.ca}
    *_others, started, ran, unchecked, refused, stopped, verified = runner.run(
        [
            runner.task("hub_user", user=user, **trust),
            runner.task("hub_server", user=user, **trust),
            runner.task("hub_exec", user=user, code="6 * 7", **trust),
            runner.task("hub_exec", user=user, code="6 * 7", validate_certs=False),
            runner.task("hub_exec", user=user, code="6 * 7"),
            runner.task("hub_server", user=user, state="stopped", **trust),
            runner.task(
                "hub_verify",
                user=user,
                page=["api"],
                websocket=True,
                websocket_idle="1s",
                code=[{"code": "1"}],
                **trust,
            ),
        ]
    ).results
    assert started["servers"][0]["url"] == f"{runner.hub.url}user/{user}/"
    assert (ran["result"], unchecked["result"]) == ("42", "42")
    assert_failed(refused, "tls", "ca_path")
    assert stopped["changed"] is True
    assert verified["verdict"] == "passed", verified["summary"]


def test_the_days_of_the_hub_s_certificate(door: str, secured: Secured) -> None:
    runner, trust = Runner(door, secured.hub), {"ca_path": secured.ca, "checks": []}
    good, soon, unchecked = runner.run(
        [
            runner.task("hub_verify", tls_min_days=1, **trust),
            runner.task("hub_verify", tls_min_days=1_000_000, **trust),
            runner.task("hub_verify", tls_min_days=1, checks=[], validate_certs=False),
        ]
    ).results
    assert good["hub"]["phases"][0]["details"]["tls_days_left"] > 1
    assert "Its certificate is valid for" in good["hub"]["phases"][0]["message"]
    assert_failed(soon, "conflict", "The phase hub failed", "ends in", "tls_min_days is 1000000")
    assert_failed(unchecked, "invalid", "tls_min_days", "validate_certs")


@pytest.mark.doors
def test_the_environment(light: Runner, tmp_path: Path) -> None:
    where = {"JUPYTERHUB_URL": light.hub.url, "JUPYTERHUB_API_TOKEN": light.hub.admin_token}
    api = {"JUPYTERHUB_API_URL": light.hub.api, "JUPYTERHUB_API_TOKEN": light.hub.admin_token}
    module = "hubops.jupyterhub.hub_info"
    of_task, of_api, of_both, options, none = light.run(
        [
            {module: {}, "environment": where},
            {module: {}, "environment": api},
            {module: {}, "environment": {**api, "JUPYTERHUB_URL": "http://hub.invalid/"}},
            {module: {"hub_url": light.hub.url}, "environment": {**where, "JUPYTERHUB_URL": "http://hub.invalid/"}},
            {module: {}},  # without the environment of the tasks before it
        ]
    ).results
    for result in (of_task, of_api, options):
        assert result["token"]["name"] == "admin"
    assert_failed(of_both, "unreachable", "hub.invalid")
    assert_failed(none, "invalid", "hub_url is missing")
    of_process = light.run([{module: {}}], env=where).results[0]
    assert of_process["token"]["name"] == "admin"


def test_a_token_from_a_file_that_ends_in_a_newline(light: Runner) -> None:
    assert light.with_token(light.hub.admin_token + "\n")("hub_info")["token"]["name"] == "admin"
