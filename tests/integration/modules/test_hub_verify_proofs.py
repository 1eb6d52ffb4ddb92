# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What proves pages, terminals, files and kernels, on real servers with JupyterLab, sound ones and broken ones."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    KernelFailed,
    MissingScope,
    NotFound,
    Timeout,
    Unauthorized,
    UnexpectedAnswer,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.page import prove_page
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.persist import (
    read_nonce,
    remove_nonce,
    write_nonce,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.phases import Finding
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.probe import (
    Package,
    Probe,
    Resources,
    WantedPath,
    prove_packages,
    prove_paths,
    prove_resources,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.running_server import RunningServer
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.terminal_proof import prove_terminal
from support.fakes.misbehaving_hub import Answer, Request, forward_to, misbehaving_hub
from support.hubs import SHORT_WAITS, Hub, HubPool, lab_config, venv
from support.runner import Runner
from support.waiting import wait_until

BROKEN_EXTENSION = {"name": "broken", "version": "1", "jupyterlab": {"_build": {"load": "static/remoteEntry.1.js"}}}
SERVERS: dict[str, str] = {
    # By user: the server's configuration.
    "sound": "",
    "blank": 'c.LabApp.app_dir = "{home}/lab"\n',
    "no-extension": "",
    "without-terminals": "c.ServerApp.terminals_enabled = False\n",
    "without-shell": 'c.ServerApp.terminado_settings = {"shell_command": ["/no/such/shell"]}\n',
    "shell-ends": 'c.ServerApp.terminado_settings = {"shell_command": ["/bin/false"]}\n',
    "shell-hangs": 'c.ServerApp.terminado_settings = {"shell_command": ["/bin/sleep", "600"]}\n',
    "read-only": 'c.ServerApp.root_dir = "/sys/kernel"\n',
}


@pytest.fixture(scope="module")
def lab(pool: HubPool) -> Hub:
    """A hub on which the servers of all these users run, each with JupyterLab."""
    folder = venv("lab")
    hub = pool.get(spawner="server", config=SHORT_WAITS + lab_config())
    runner = Runner("program", hub)
    for user, config in SERVERS.items():
        home = hub.state / "homes" / user
        (home / ".jupyter").mkdir(parents=True)
        text = config.replace("{home}", str(home))
        (home / ".jupyter" / "jupyter_server_config.py").write_text(f"c = get_config()\n{text}")
        assert runner.api_request("POST", f"users/{user}").status_code == 201
    break_lab(folder / "share" / "jupyter" / "lab", hub.state / "homes" / "blank" / "lab")
    extension = hub.state / "homes" / "no-extension" / ".local" / "share" / "jupyter" / "labextensions" / "broken"
    extension.mkdir(parents=True)
    (extension / "package.json").write_text(json.dumps(BROKEN_EXTENSION))
    result = runner("hub_server", servers=[{"user": user} for user in SERVERS], concurrency=3)
    assert not result["failed"], result["msg"]
    return hub


def break_lab(source: Path, target: Path) -> None:
    """Copy JupyterLab, as a broken image has it: without its main script."""
    shutil.copytree(source, target)
    [script] = (target / "static").glob("main.*.js")
    script.unlink()


@pytest.fixture(scope="module")
def client(lab: Hub) -> Iterator[HubClient]:
    with HubClient(Connection(lab.url, lab.admin_token)) as hub:
        yield hub


def server_of(hub: HubClient, user: str, timeout: float = 60) -> RunningServer:
    return RunningServer(hub, f"{hub.url}user/{user}/", f"server of user '{user}'", user, timeout)


def fails(kind: type[HubError], work: Callable[[], Any], *words: str) -> HubError:
    """Assert that this work fails with this class, and with these words in its message and hint."""
    with pytest.raises(HubError) as raised:
        work()
    error = raised.value
    assert isinstance(error, kind), error.message
    for word in words:
        assert word in f"{error.message} {error.hint}"
    return error


# Pages


def page_fails(kind: type[HubError], hub: HubClient, user: str, path: str, *words: str) -> HubError:
    return fails(kind, lambda: prove_page(server_of(hub, user), [path], Finding()), *words)


def test_the_pages_of_jupyterlab_and_of_the_notebook_load(client: HubClient) -> None:
    finding = Finding()
    prove_page(server_of(client, "sound"), ["lab", "tree", "lab/tree/folder?reset", "api/status"], finding)
    assert finding.warnings == []
    lab, tree, _folder, api = finding.details["pages"]
    assert (lab["title"], lab["status"], lab["problem"]) == ("JupyterLab", 200, None)
    assert lab["assets"] >= 3
    assert tree["assets"] >= 3
    assert (api["assets"], api["problem"]) == (0, None)
    assert "with " in finding.message


def test_a_blank_page_is_found_without_a_browser(client: HubClient) -> None:
    finding = Finding()
    error = fails(
        HubFailure,
        lambda: prove_page(server_of(client, "blank"), ["lab"], finding),
        "1 of the ", "do not load", "/user/blank/static/lab/main.", "(404)", "blank",
    )  # fmt: skip
    [page] = finding.details["pages"]
    assert (page["status"], page["problem"]) == (200, error.message)


def test_an_extension_that_does_not_load_is_a_warning(client: HubClient) -> None:
    finding = Finding()
    prove_page(server_of(client, "no-extension"), ["lab"], finding)
    [warning] = finding.warnings
    assert "Not all extensions of JupyterLab load" in warning
    assert "extensions/broken/static/remoteEntry.1.js (404)" in warning


def test_a_page_that_is_not_there(client: HubClient) -> None:
    fails(
        NotFound,
        lambda: prove_page(server_of(client, "sound"), ["rstudio"], Finding()),
        "no page rstudio",
        "option page",
    )


def test_the_page_of_a_server_that_does_not_run(lab: Hub, client: HubClient) -> None:
    Runner("program", lab).api_request("POST", "users/stopped")
    fails(
        HubFailure, lambda: prove_page(server_of(client, "stopped"), ["lab"], Finding()), "the hub answers in its place"
    )


def test_the_page_of_a_server_that_was_killed(lab: Hub, client: HubClient) -> None:
    runner = Runner("program", lab)
    (lab.state / "homes" / "killed").mkdir(parents=True)
    runner.api_request("POST", "users/killed")
    assert not runner("hub_server", user="killed")["failed"]
    pid = runner("hub_exec", user="killed", code="import os; print(os.getppid())")["stdout"]
    os.kill(int(pid), signal.SIGKILL)
    error = page_fails(HubFailure, client, "killed", "lab")
    assert error.status in (503, 424, 302)
    assert "in place of the server of user 'killed'" in error.message or "in its place" in error.message


@pytest.mark.parametrize("scope", ["read:users!user=limited", "access:servers!user=limited"])
def test_a_token_that_may_not_access_the_server(lab: Hub, client: HubClient, scope: str) -> None:
    Runner("program", lab).api_request("POST", "users/limited")
    url, body = f"{lab.api}/users/limited/tokens", {"scopes": [scope]}
    token = requests.post(url, headers=lab.headers, json=body, timeout=60).json()["token"]
    limited = client.with_token(token)
    page_fails(MissingScope, limited, "sound", "lab", "access:servers")
    fails(MissingScope, lambda: write_nonce(server_of(limited, "sound"), ""), "access:servers")
    fails(MissingScope, lambda: prove_terminal(server_of(limited, "sound"), Finding()), "access:servers")


def test_the_page_with_a_token_that_nobody_knows(client: HubClient) -> None:
    unknown = client.with_token("0123456789abcdef")
    fails(
        Unauthorized, lambda: prove_page(server_of(unknown, "sound"), ["lab"], Finding()), "unknown, expired or revoked"
    )


def test_a_proxy_that_answers_with_pages_in_place_of_scripts(lab: Hub, client: HubClient) -> None:
    """As a proxy does that asks for a login, or one in front of another application."""
    forward = forward_to(lab.url)

    def behave(request: Request) -> Answer | None:
        if "/static/" in request.path:
            return Answer(b"<html><title>Welcome</title>")
        return forward(request)

    with misbehaving_hub(behave) as fake, HubClient(Connection(fake.url + "jhub/", lab.admin_token)) as hub:
        fails(
            HubFailure,
            lambda: prove_page(server_of(hub, "sound"), ["lab"], Finding()),
            "text/html in place of a script",
        )


# Terminals


def list_terminals(hub: HubClient, user: str) -> list[Any]:
    headers = {"Authorization": f"token {hub.connection.api_token}"}
    return list(requests.get(f"{hub.url}user/{user}/api/terminals", headers=headers, timeout=60).json())


def test_a_terminal_runs_a_command(client: HubClient) -> None:
    finding = Finding()
    prove_terminal(server_of(client, "sound"), finding)
    assert finding.warnings == []
    assert finding.details["seconds"] > 0
    assert "printf" in finding.details["output"]
    assert list_terminals(client, "sound") == []


@pytest.mark.parametrize(
    ("user", "kind", "words"),
    [
        ("without-terminals", NotFound, ["has no terminals", "terminals_enabled"]),
        ("without-shell", HubFailure, ["shell"]),
        ("shell-ends", HubFailure, ["has ended before it ran a command"]),
        ("shell-hangs", Timeout, ["has not run a command within 5 s"]),
    ],
)
def test_terminals_that_do_not_work(client: HubClient, user: str, kind: type[HubError], words: list[str]) -> None:
    finding = Finding()
    timeout = 5 if user == "shell-hangs" else 60
    fails(kind, lambda: prove_terminal(server_of(client, user, timeout), finding), *words)
    assert finding.warnings == []
    if user != "without-terminals":
        wait_until(lambda: list_terminals(client, user) == [])


def test_a_proxy_without_websockets(lab: Hub, client: HubClient) -> None:
    with (
        misbehaving_hub(forward_to(lab.url)) as fake,
        HubClient(Connection(fake.url + "jhub/", lab.admin_token)) as hub,
    ):
        fails(
            HubFailure,
            lambda: prove_terminal(server_of(hub, "sound"), Finding()),
            "refuses the terminal's websocket with 4", "lets websockets through",
        )  # fmt: skip
    assert list_terminals(client, "sound") == []


# Files


def restart(lab: Hub, user: str) -> None:
    result = Runner("program", lab)("hub_server", user=user, state="restarted")
    assert not result["failed"], result["msg"]


def test_files_persist(lab: Hub, client: HubClient) -> None:
    runner, server, home = Runner("program", lab), server_of(client, "keeper"), lab.state / "homes" / "keeper"
    home.mkdir(parents=True)
    runner.api_request("POST", "users/keeper")
    assert not runner("hub_server", user="keeper")["failed"]
    write_nonce(server, "")  # a run that was killed afterwards
    nonce = write_nonce(server, "")
    restart(lab, "keeper")
    read_nonce(server, nonce)
    file = home / nonce.path
    assert file.read_text().startswith(nonce.text)
    # In a kernel, so that nothing stays in the trash.
    remove_nonce(server, nonce, lambda code: SimpleNamespace(**runner("hub_exec", user="keeper", code=code)))
    assert not file.exists()
    assert not (home / ".local" / "share" / "Trash").exists()
    remove_nonce(server, nonce)
    nonce = write_nonce(server, "")
    remove_nonce(server, nonce)
    assert not file.exists()
    nonce = write_nonce(server, "")
    file.unlink()
    fails(HubFailure, lambda: read_nonce(server, nonce), "does not persist", "is gone after the restart")
    file.write_text("of yesterday")
    fails(HubFailure, lambda: read_nonce(server, nonce), "does not persist", "another content")
    file.unlink()
    file.symlink_to(file)
    fails(HubFailure, lambda: read_nonce(server, nonce))
    file.unlink()


def test_a_home_that_is_read_only(client: HubClient) -> None:
    fails(HubFailure, lambda: write_nonce(server_of(client, "read-only"), ""), "cannot write the file", "volume")


@pytest.mark.parametrize("version", ["5.5", "4.1"])
def test_older_hubs(pool: HubPool, version: str) -> None:
    hub = pool.get(version, spawner="server", config=SHORT_WAITS + 'c.Spawner.args = ["--allow-root"]\n')
    runner = Runner("program", hub)
    runner.api_request("POST", "users/older")
    assert not runner("hub_server", user="older")["failed"]
    with HubClient(Connection(hub.url, hub.admin_token)) as client:
        server = server_of(client, "older")
        nonce = write_nonce(server, "")
        read_nonce(server, nonce)
        remove_nonce(server, nonce)
        prove_terminal(server, Finding())
        prove_page(server, ["api/status"], Finding())
        page_fails(NotFound, client, "older", "lab", "There is no page lab", "install")
        unknown = client.with_token("0123456789abcdef")
        page_fails(Unauthorized, unknown, "older", "api/contents", "unknown, expired or revoked")
        assert not runner("hub_server", user="older", state="stopped")["failed"]
        page_fails(HubFailure, client, "older", "lab", "the hub answers in its place")
        fails(HubFailure, lambda: write_nonce(server, ""), "the hub answers in its place")
        fails(HubFailure, lambda: prove_terminal(server, Finding()), "the hub answers in its place")


# What a kernel shows


def test_a_kernel_says_what_the_server_has(lab: Hub, client: HubClient) -> None:
    runner = Runner("program", lab)
    home = str(lab.state / "homes" / "sound")
    codes = []

    def run(code: str) -> Any:
        codes.append(code)
        result = runner("hub_exec", user="sound", code=code)
        return SimpleNamespace(stdout=result["stdout"], error=result["error"])

    packages = [Package.parse("jupyterlab>=4"), Package.parse("ipykernel")]
    paths = [WantedPath("~", is_writable=True), WantedPath(home)]
    resources = Resources(memory=1 << 20, disk=1 << 10, cpus=0.1)
    probe, finding = Probe(packages, paths, resources, run), Finding()
    prove_packages(probe, packages, finding)
    assert finding.details["packages"]["jupyterlab"].startswith("4.")
    prove_paths(probe, paths, Finding())
    prove_resources(probe, resources, Finding())
    assert len(codes) == 1
    with pytest.raises(HubFailure, match="no-such-package is not installed"):
        prove_packages(probe, [Package.parse("no-such-package")], Finding())


def test_a_kernel_that_is_no_python(lab: Hub, client: HubClient) -> None:
    """A kernel that takes each line for something else raises an exception of its own."""
    runner = Runner("program", lab)

    def run(code: str) -> Any:
        result = runner("hub_exec", user="sound", code="%%no_such_language\n" + code)
        return SimpleNamespace(stdout=result["stdout"], error=result["error"] or result["msg"])

    fails(KernelFailed, lambda: prove_paths(Probe([], [], None, run), [], Finding()), "cannot say", "kernel_name")


# A server that is no Jupyter server


def test_a_light_server_has_none_of_it(hub_61: Hub) -> None:
    runner = Runner("program", hub_61)
    runner.api_request("POST", "users/light-proofs")
    assert not runner("hub_server", user="light-proofs")["failed"]
    with HubClient(Connection(hub_61.url, hub_61.admin_token)) as hub:
        server = server_of(hub, "light-proofs", timeout=20)
        fails(UnexpectedAnswer, lambda: write_nonce(server, ""), "has no contents API")
        with pytest.raises(HubError) as raised:
            prove_terminal(server, Finding())
        assert "light-proofs" in raised.value.message
        with pytest.raises(HubError):
            prove_page(server, ["lab"], Finding())
        prove_page(server, ["api"], Finding())
