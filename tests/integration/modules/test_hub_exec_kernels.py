# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_exec` on real servers with broken kernels: each failure has its own message, which blames the server."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import requests
from support.fakes.cutting_proxy import Fault, cutting_proxy, fault_for
from support.hubs import Hub
from support.runner import Runner, assert_failed

# A server restarts a kernel that ends, every 3 s, and gives up after five times.
DEFAULT = 'c.MultiKernelManager.default_kernel_name = "broken"\nc.KernelRestarter.time_to_dead = 0.5\n'
SPECS = """
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

class Nothing(KernelSpecManager):
    def find_kernel_specs(self):
        return {}

    def get_kernel_spec(self, name):
        raise NoSuchKernel(name)  # as without ipykernel, whose spec is always found

c.ServerApp.kernel_spec_manager_class = Nothing
"""
MANAGER = """
import asyncio
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

class Manager(AsyncMappingKernelManager):
    async def _async_start_kernel(self, **options):
        await asyncio.sleep({before})
        number = await super()._async_start_kernel(**options)
        await asyncio.sleep({after})
        return number
    start_kernel = _async_start_kernel

    def list_kernels(self):
        import time
        time.sleep({listing})
        return super().list_kernels()

c.ServerApp.kernel_manager_class = Manager
"""
# The first process receives the server's only request and ends. The same happens where a kernel of another server has
# one of its ports, and gets the request.
SWALLOWED_REQUEST = """
import json, os, sys, zmq
try:
    os.mkdir(os.path.expanduser("~/begun"))
except FileExistsError:
    os.execvp("python3", ["python3", "-m", "ipykernel_launcher", "-f", sys.argv[1]])
shell = zmq.Context().socket(zmq.ROUTER)
shell.bind("tcp://127.0.0.1:" + str(json.load(open(sys.argv[1]))["shell_port"]))
shell.recv_multipart()
sys.exit(1)
"""
BROKEN: dict[str, tuple[str, list[str] | None]] = {
    # By user: the server's configuration, and the command of a further kernel spec.
    "without-ipykernel": (DEFAULT, ["python3", "-I", "-S", "-m", "ipykernel_launcher", "-f", "{connection_file}"]),
    "stale-spec": (DEFAULT, ["/no/such/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]),
    "without-specs": (SPECS, None),
    "dies-at-once": (DEFAULT, ["/bin/false", "{connection_file}"]),
    # The server's default: it takes 15 s until the server gives the kernel up.
    "dies-slowly": (DEFAULT.replace("0.5", "3"), ["/bin/false", "{connection_file}"]),
    "hangs": (DEFAULT, ["/bin/sh", "-c", "exec sleep 600"]),
    "api-hangs": (MANAGER.format(before=0, after=0, listing=40), None),
    "slow": (MANAGER.format(before=4, after=0, listing=0), None),
    "too-slow": (MANAGER.format(before=10, after=0, listing=0), None),
    "slow-answer": (MANAGER.format(before=0, after=15, listing=0), None),
    "sound": ("", None),
    "port-taken": (DEFAULT.replace("0.5", "3"), ["python3", "-c", SWALLOWED_REQUEST, "{connection_file}"]),
    "json-only": ('c.ZMQChannelsWebsocketConnection.kernel_ws_protocol = ""\n', None),
}  # fmt: skip
SAYS: dict[str, list[str]] = {
    "without-ipykernel": ["died before it was ready", "no ipykernel for that Python", "Install ipykernel"],
    "stale-spec": ["cannot start its kernel", "/no/such/python", "kernel spec"],
    "without-specs": ["has no kernel spec at all", "ipykernel"],
    "dies-at-once": ["ends as soon as it is started", "/bin/false", "the server's own log"],
    "dies-slowly": ["ends as soon as it is started", "/bin/false"],
    "hangs": ["has not answered within 8 s", "it hangs", "sleep 600"],
    "api-hangs": ["kernels API", "does not answer", "the server's own log"],
}
TIMEOUTS = {"hangs": "8s", "api-hangs": "8s", "dies-slowly": "10s"}


@pytest.fixture(scope="module")
def broken(real_hub: Hub) -> Runner:
    """A hub on which the servers of all these users run."""
    runner = Runner("program", real_hub)
    for user, (config, command) in BROKEN.items():
        home = real_hub.state / "homes" / user
        (home / ".jupyter").mkdir(parents=True)
        (home / ".jupyter" / "jupyter_server_config.py").write_text(f"c = get_config()\n{config}")
        if command:
            spec = home / ".local" / "share" / "jupyter" / "kernels" / "broken"
            spec.mkdir(parents=True)
            (spec / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "Broken", "language": "x"}))
        assert runner.api_request("POST", f"users/{user}").status_code == 201
    result = runner("hub_server", servers=[{"user": user} for user in BROKEN], concurrency=3)
    assert not result["failed"], result["msg"]
    return runner


def kernels(runner: Runner, user: str) -> list[dict[str, Any]]:
    url = f"{runner.hub.url}user/{user}/api/kernels"
    return requests.get(url, headers=runner.hub.headers, timeout=120).json()


def wait_until_no_kernel(runner: Runner, user: str) -> None:
    """Wait until the server has ended all kernels."""
    while kernels(runner, user):
        time.sleep(0.2)


@pytest.mark.parametrize("user", SAYS)
def test_broken_servers(broken: Runner, user: str) -> None:
    result = broken("hub_exec", user=user, code="6 * 7", timeout=TIMEOUTS.get(user, "1m"))
    failure = assert_failed(result, "kernel_failed", *SAYS[user])
    assert f"user '{user}'" in failure["message"]
    assert "hub" not in failure["hint"].lower()
    assert result["seconds"] < 60
    if user != "api-hangs":
        wait_until_no_kernel(broken, user)


def test_each_failure_has_its_own_message() -> None:
    assert len({says[0] for user, says in SAYS.items() if user != "dies-slowly"}) == len(SAYS) - 1


def test_a_restarted_kernel_is_not_waited_for(broken: Runner) -> None:
    """The server still waits for an answer of the first process, and opens no websocket for a minute."""
    result = broken("hub_exec", user="port-taken", code="6 * 7", timeout="50s")
    assert (result["failed"], result["result"]) == (False, "42"), result["msg"]
    assert kernels(broken, "port-taken") == []


def test_a_slow_kernel_is_waited_for(broken: Runner) -> None:
    """It waits up to `timeout`, not only up to `request_timeout`."""
    result = broken("hub_exec", user="slow", code="6 * 7", timeout="2m", request_timeout="1s")
    assert (result["failed"], result["result"]) == (False, "42")
    assert kernels(broken, "slow") == []


def test_the_timeout_covers_the_whole_task(broken: Runner) -> None:
    result = broken("hub_exec", user="slow-answer", code="6 * 7", timeout="4s")
    assert_failed(result, "kernel_failed", "has not started a kernel within 4 s")
    assert result["seconds"] < 12
    assert "may still start" not in result["failure"]["hint"]
    wait_until_no_kernel(broken, "slow-answer")


def test_a_kernel_that_starts_after_the_timeout_is_named(broken: Runner) -> None:
    """A server lists a kernel only when it is ready, and its start cannot be cancelled."""
    result = broken("hub_exec", user="too-slow", code="6 * 7", timeout="4s")
    failure = assert_failed(result, "kernel_failed", "has not started a kernel within 4 s", "may still start")
    assert result["seconds"] < 9
    while not kernels(broken, "too-slow"):
        time.sleep(0.2)
    [kernel] = kernels(broken, "too-slow")
    assert kernel["id"] in failure["hint"]


def test_a_server_that_speaks_json_only(broken: Runner) -> None:
    result = broken("hub_exec", user="json-only", code="6 * 7")
    assert (result["failed"], result["result"]) == (False, "42"), result["msg"]


def test_a_kernel_is_used_although_its_answer_was_lost(broken: Runner) -> None:
    with cutting_proxy(broken.hub.url, fault_for("POST", "/api/kernels", Fault("answer_lost"))) as proxy:
        result = Runner("program", broken.hub, url=proxy.url)("hub_exec", user="slow", code="6 * 7", timeout="2m")
    # The task has reached the websocket, which this proxy does not forward.
    assert_failed(result, "hub_error", "refuses the kernel's websocket with 400")
    assert kernels(broken, "slow") == []


def test_displayed_data_is_a_result(broken: Runner) -> None:
    result = broken("hub_exec", user="sound", code="from IPython.display import display\ndisplay(42)")
    assert (result["failed"], result["result"]) == (False, "42")
    both = broken("hub_exec", user="sound", code="from IPython.display import display\ndisplay(42)\n43")
    assert both["result"] == "43"


@pytest.mark.parametrize("no_proxy", ["localhost:{port}", "LOCALHOST"])
def test_the_websocket_obeys_the_proxy_variables(broken: Runner, no_proxy: str) -> None:
    port = broken.hub.ports["public"]
    env = {
        "http_proxy": "http://127.0.0.1:1/",
        "ALL_PROXY": "http://127.0.0.1:1/",
        "NO_PROXY": no_proxy.format(port=port),
    }
    door = Runner("module", broken.hub, url=broken.hub.url.replace("127.0.0.1", "localhost"))
    [result] = door.run([door.task("hub_exec", user="sound", code="6 * 7")], env=env).results
    assert (result["failed"], result.get("result")) == (False, "42"), result["msg"]
    [refused] = door.run([door.task("hub_exec", user="sound", code="6 * 7")], env={**env, "NO_PROXY": "other"}).results
    assert_failed(refused, "unreachable")
