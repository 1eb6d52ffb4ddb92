# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hub_verify beside published programs that start servers or run code, on the same hub.

| What is wrong | The other program | hub_verify |
| --- | --- | --- |
| every cell of a notebook raises | jhub-client 0.1.7: success, with --validate, too | notebooks: exception in cell 1 |
| code needs what only an old kernel has | jupyterhub-exec 0.1.4: success, in the old kernel | code: exception |
| nothing, but the server takes no token in an address | jupyterhub-exec 0.1.4: failure (403) | passed |
| the server answers 500 | hucl 0.0.4: success, with the server's address | start: it answers 500 |
| the spawner fails | hucl 0.0.4: never ends, at full speed | start: the spawner's reason |

A test that fails here may mean that the other program is mended.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import requests
from support.hubs import REPOSITORY, SHORT_WAITS, Hub, HubPool
from support.peers import start_peer
from support.runner import Runner, assert_failed
from support.waiting import wait_until

NO_NODE = "No node is free."
CONFIG = (
    SHORT_WAITS
    + f"""
import asyncio
import sys

async def break_server(spawner):
    if "answers-500" in spawner.user.name:
        spawner.cmd = [sys.executable, {str(REPOSITORY / "tests" / "support" / "fakes" / "failing_server.py")!r}]
        spawner.args = []
    if "token-in-url" in spawner.user.name:
        spawner.environment = {{**spawner.environment, "JUPYTERHUB_ALLOW_TOKEN_IN_URL": "1"}}
    if "refused" in spawner.user.name:
        await asyncio.sleep(3)  # longer than the hub holds its answer to a POST
        error = RuntimeError({NO_NODE!r})
        error.jupyterhub_message = {NO_NODE!r}
        raise error

c.Spawner.pre_spawn_hook = break_server
"""
)


@pytest.fixture(scope="module")
def hub(pool: HubPool) -> Hub:
    # jupyterhub-exec takes no other base path.
    return pool.get(spawner="server", base_url="/", config=CONFIG)


@pytest.fixture
def runner(hub: Hub) -> Runner:
    return Runner("program", hub)


def add_user(runner: Runner, name: str) -> str:
    assert runner.api_request("POST", f"users/{name}").status_code == 201
    return name


def failed_phase(result: dict[str, Any], name: str) -> dict[str, Any]:
    [check] = result["checks"]
    [phase] = [each for each in check["phases"] if each["verdict"] == "failed"]
    assert phase["name"] == name
    assert check["server_left"] is False
    assert isinstance(phase, dict)
    return phase


def test_jhub_client_passes_a_notebook_whose_every_cell_raises(runner: Runner, tmp_path: Path) -> None:
    user = add_user(runner, "notebook-raises")
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [{**empty, "source": "import no_such_module"}, {**empty, "source": "1 / 0"}]
    notebook = tmp_path / "lesson.ipynb"
    notebook.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}))
    command = ["run", "--hub", runner.hub.url, "-u", user, "-n", str(notebook), "--stop-server", "--validate"]
    token = runner.hub.admin_token
    with start_peer("peer-jhub-client", "jhubctl", *command, folder=tmp_path, JUPYTERHUB_API_TOKEN=token) as process:
        _output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "no_such_module" not in errors

    wait_until(lambda: runner.servers(user) == {})
    result = runner("hub_verify", user=user, notebooks=[{"path": "lesson.ipynb", "content": notebook.read_text()}])
    assert_failed(result, "invalid", "lesson.ipynb", "cell 1", "ModuleNotFoundError", "no_such_module")
    [entry] = failed_phase(result, "notebooks")["details"]["notebooks"]
    assert (entry["reason"], entry["cell"]) == ("exception", 1)


def test_jupyterhub_exec_runs_code_in_the_kernel_that_it_has_left(runner: Runner, tmp_path: Path) -> None:
    user = add_user(runner, "kernel-left-token-in-url")
    assert not runner("hub_server", user=user)["failed"]
    options = ["--host", runner.hub.url, "--user", user, "--token", runner.hub.admin_token]
    for code, output in (("data = 42", ""), ("print(data)", "42\n")):
        with start_peer("peer-jupyterhub-exec", "jh-exec", *options, "exec", code, folder=tmp_path) as process:
            found, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert found in (output, "")  # it sometimes ends before the output has come

    result = runner("hub_verify", user=user, if_running="use", code=[{"code": "print(data)"}])
    assert_failed(result, "invalid", "NameError", "data")
    [snippet] = failed_phase(result, "code")["details"]["snippets"]
    assert snippet["reason"] == "exception"
    kernels = requests.get(f"{runner.hub.url}user/{user}/api/kernels", headers=runner.hub.headers, timeout=60).json()
    assert len(kernels) == 1  # that of jupyterhub-exec
    assert not runner("hub_server", user=user, state="stopped")["failed"]


def test_jupyterhub_exec_fails_on_a_sound_server(runner: Runner, tmp_path: Path) -> None:
    """It sends the token in the address, which JupyterHub does not allow by default."""
    user = add_user(runner, "sound")
    assert not runner("hub_server", user=user)["failed"]
    options = ["--host", runner.hub.url, "--user", user, "--token", runner.hub.admin_token]
    with start_peer("peer-jupyterhub-exec", "jh-exec", *options, "exec", "6 * 7", folder=tmp_path) as process:
        _output, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "HTTP Error 403" in errors

    result = runner("hub_verify", user=user, if_running="stop", code=[{"code": "6 * 7"}])
    assert result["verdict"] == "passed"
    assert runner.servers(user) == {}


def test_hucl_is_content_with_a_server_that_answers_500(runner: Runner, tmp_path: Path) -> None:
    user = add_user(runner, "answers-500")
    command = ["server", "start", runner.hub.api, runner.hub.admin_token, "--user", user]
    with start_peer("peer-hucl", "hucl", *command, folder=tmp_path) as process:
        output, errors = process.communicate(timeout=300)
    assert (process.returncode, output.strip()) == (0, f"'/user/{user}/'"), errors
    assert requests.get(f"{runner.hub.url}user/{user}/api", timeout=60).status_code == 500

    result = runner("hub_verify", user=user, if_running="stop", wait_timeout="10s")
    assert_failed(result, "timeout", "the hub says ready, but it answers 500")
    failed_phase(result, "start")
    assert runner.servers(user) == {}


def test_hucl_does_not_see_that_a_spawn_has_failed(runner: Runner, tmp_path: Path) -> None:
    user = add_user(runner, "refused")
    command = ["server", "start", runner.hub.api, runner.hub.admin_token, "--user", user]
    with start_peer("peer-hucl", "hucl", *command, folder=tmp_path) as process:
        wait_until(lambda: runner.servers(user) or process.poll() is not None)
        wait_until(lambda: not runner.servers(user))
        # It reads the end of the stream again and again.
        before = cpu_seconds(process.pid)
        wait_until(lambda: process.poll() is not None or cpu_seconds(process.pid) > before + 1)
        assert process.poll() is None

        result = runner("hub_verify", user=user)
        assert process.poll() is None
    assert_failed(result, "spawn_failed", NO_NODE)
    failed_phase(result, "start")
    assert runner.servers(user) == {}


def cpu_seconds(pid: int) -> float:
    """The CPU time that this process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
