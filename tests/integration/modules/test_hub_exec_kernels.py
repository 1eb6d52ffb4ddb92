# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_exec` on real servers whose kernels are broken: each is told apart, and named as the server's, not the hub's."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import requests
from support.doors import Runner, failed
from support.fakes.cutting_proxy import Fault, cutting_proxy, every
from support.hubs import Hub

# A server starts a kernel that ends again every 3 s, and gives up after five times.
DEFAULT = 'c.MultiKernelManager.default_kernel_name = "broken"\nc.KernelRestarter.time_to_dead = 0.5\n'
SPECS = """
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

class Nothing(KernelSpecManager):
    def find_kernel_specs(self):
        return {}

    def get_kernel_spec(self, name):
        raise NoSuchKernel(name)  # as without ipykernel, whose own spec is always found

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
# The first process takes the only question of the server and ends. So it is where a kernel of another server has one of
# its ports, and gets the question.
SWALLOWED = """
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
    # By user: the server's configuration, and the command of a kernel spec that it has besides.
    "without-ipykernel": (DEFAULT, ["python3", "-I", "-S", "-m", "ipykernel_launcher", "-f", "{connection_file}"]),
    "stale-spec": (DEFAULT, ["/no/such/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]),
    "without-specs": (SPECS, None),
    "dies-at-once": (DEFAULT, ["/bin/false", "{connection_file}"]),
    # As servers are: it takes 15 s until the server gives it up.
    "dies-slowly": (DEFAULT.replace("0.5", "3"), ["/bin/false", "{connection_file}"]),
    "hangs": (DEFAULT, ["/bin/sh", "-c", "exec sleep 600"]),
    "api-hangs": (MANAGER.format(before=0, after=0, listing=40), None),
    "slow": (MANAGER.format(before=4, after=0, listing=0), None),
    "too-slow": (MANAGER.format(before=10, after=0, listing=0), None),
    "slow-answer": (MANAGER.format(before=0, after=15, listing=0), None),
    "sound": ("", None),
    "port-taken": (DEFAULT.replace("0.5", "3"), ["python3", "-c", SWALLOWED, "{connection_file}"]),
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
    """The servers of all these users run."""
    runner = Runner("program", real_hub)
    for user, (config, command) in BROKEN.items():
        home = real_hub.state / "homes" / user
        (home / ".jupyter").mkdir(parents=True)
        (home / ".jupyter" / "jupyter_server_config.py").write_text(f"c = get_config()\n{config}")
        if command:
            spec = home / ".local" / "share" / "jupyter" / "kernels" / "broken"
            spec.mkdir(parents=True)
            (spec / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "Broken", "language": "x"}))
        assert runner.api("POST", f"users/{user}").status_code == 201
    result = runner("hub_server", servers=[{"user": user} for user in BROKEN], concurrency=3)
    assert not result["failed"], result["msg"]
    return runner


def kernels(runner: Runner, user: str) -> list[dict[str, Any]]:
    url = f"{runner.hub.url}user/{user}/api/kernels"
    return requests.get(url, headers=runner.hub.headers, timeout=120).json()


def without_kernels(runner: Runner, user: str) -> None:
    """Wait until the server has ended what it was asked to end."""
    while kernels(runner, user):
        time.sleep(0.2)


@pytest.mark.parametrize("user", SAYS)
def test_what_is_broken(broken: Runner, user: str) -> None:
    result = broken("hub_exec", user=user, code="6 * 7", timeout=TIMEOUTS.get(user, "1m"))
    failure = failed(result, "kernel_failed", *SAYS[user])
    assert f"user '{user}'" in failure["message"]
    assert "hub" not in failure["hint"].lower()
    assert result["seconds"] < 60
    if user != "api-hangs":
        without_kernels(broken, user)


def test_each_has_a_sentence_of_its_own() -> None:
    assert len({says[0] for user, says in SAYS.items() if user != "dies-slowly"}) == len(SAYS) - 1


def test_a_kernel_that_the_server_has_started_again_is_not_waited_for(broken: Runner) -> None:
    """The server still waits for the first process to answer, and opens no websocket for a minute."""
    result = broken("hub_exec", user="port-taken", code="6 * 7", timeout="50s")
    assert (result["failed"], result["result"]) == (False, "42"), result["msg"]
    assert kernels(broken, "port-taken") == []


def test_a_kernel_that_takes_long_is_waited_for(broken: Runner) -> None:
    """For as long as timeout says, and not for as long as one request may take."""
    result = broken("hub_exec", user="slow", code="6 * 7", timeout="2m", request_timeout="1s")
    assert (result["failed"], result["result"]) == (False, "42")
    assert kernels(broken, "slow") == []


def test_the_timeout_is_for_all_of_it(broken: Runner) -> None:
    result = broken("hub_exec", user="slow-answer", code="6 * 7", timeout="4s")
    failed(result, "kernel_failed", "has not started a kernel within 4 s")
    assert result["seconds"] < 12
    assert "may still start" not in result["failure"]["hint"]
    without_kernels(broken, "slow-answer")


def test_a_kernel_that_comes_after_the_time_is_named(broken: Runner) -> None:
    """A server lists none before it is ready, and nobody can call off its start."""
    result = broken("hub_exec", user="too-slow", code="6 * 7", timeout="4s")
    failure = failed(result, "kernel_failed", "has not started a kernel within 4 s", "may still start")
    assert result["seconds"] < 9
    while not kernels(broken, "too-slow"):
        time.sleep(0.2)
    [kernel] = kernels(broken, "too-slow")
    assert kernel["id"] in failure["hint"]


def test_a_server_that_speaks_json_only(broken: Runner) -> None:
    result = broken("hub_exec", user="json-only", code="6 * 7")
    assert (result["failed"], result["result"]) == (False, "42"), result["msg"]


def test_a_kernel_is_used_whose_answer_a_proxy_gave(broken: Runner) -> None:
    with cutting_proxy(broken.hub.url, every("POST", "/api/kernels", Fault("unanswered"))) as proxy:
        result = Runner("program", broken.hub, url=proxy.url)("hub_exec", user="slow", code="6 * 7", timeout="2m")
    # It has come to the websocket, which this proxy does not let through.
    failed(result, "hub_error", "refuses the kernel's websocket with 400")
    assert kernels(broken, "slow") == []


def test_what_is_displayed_is_a_result(broken: Runner) -> None:
    result = broken("hub_exec", user="sound", code="from IPython.display import display\ndisplay(42)")
    assert (result["failed"], result["result"]) == (False, "42")
    both = broken("hub_exec", user="sound", code="from IPython.display import display\ndisplay(42)\n43")
    assert both["result"] == "43"


@pytest.mark.parametrize("no_proxy", ["localhost:{port}", "LOCALHOST"])
def test_the_websocket_obeys_what_requests_obey(broken: Runner, no_proxy: str) -> None:
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
    failed(refused, "unreachable")
