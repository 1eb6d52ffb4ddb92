# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hub_verify on hubs that are broken on purpose: each fails in the phase and for the reason that it should.

One task through each door checks all servers that one hub breaks, `BROKEN_SERVERS`. Other tasks look at hubs behind a
proxy that breaks something, and at hubs that restart. After each task nothing that it started is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.threads import hold_lock
from support.fakes.cutting_proxy import cutting_proxy
from support.fakes.misbehaving_hub import Answer, Behaviour, forward_to, html_page, misbehaving_hub
from support.hub_clock import CLOCK_CONFIG
from support.hubs import REPOSITORY, Hub, HubPool, crash_hub, hub_processes, running_hub, start_crashed_hub, venv
from support.runner import DOORS, Runner, assert_failed
from support.waiting import wait_until

FAILING_SERVER = REPOSITORY / "tests" / "support" / "fakes" / "failing_server.py"
READ_ONLY = "/sys/kernel"  # not even root can write there
MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
HAS_MEMORY_GROUPS = os.access(MEMORY_GROUPS, os.W_OK)
VERSIONS = ("6.1", "5.5", "4.1")
PROXY_TOKEN = "of-the-proxy-in-tests"
NO_NODE = "No node with 512 GB of memory is free."
BREAKS = (
    CLOCK_CONFIG
    + f"""
import asyncio
import os
import sys
import tempfile
from pathlib import Path

c.ConfigurableHTTPProxy.auth_token = {PROXY_TOKEN!r}
c.Spawner.http_timeout = 300  # many start at once, on a machine that may be busy
state = Path(os.environ["LOCAL_HUB_STATE"])
shared = state / "shared"
c.Spawner.environment = {{**c.Spawner.environment, "JUPYTER_PATH": str(shared)}}
LAB = ["LAB_PYTHON", "-m", "jupyterhub.singleuser"]


async def break_server(spawner):
    how = spawner.user_options.get("how", "")
    if how == "refused":
        error = RuntimeError({NO_NODE!r})
        error.jupyterhub_message = {NO_NODE!r}
        raise error
    if how == "never":
        await asyncio.sleep(600)
    while how == "gate" and not os.path.exists(spawner.user_options["gate"]):
        await asyncio.sleep(0.1)
    if how == "answers-500":
        spawner.cmd, spawner.args = [sys.executable, {str(FAILING_SERVER)!r}], []
    if how in ("lab", "blank"):
        spawner.cmd, spawner.args = LAB, ["--allow-root"]
    if how == "blank":
        spawner.args.append(f"--LabApp.app_dir={{shared}}/blank-lab")
    if how == "no-kernels":
        spawner.args = spawner.args + ["--ServerApp.kernel_spec_manager_class=no_kernels.NoKernels"]
        spawner.environment = {{**spawner.environment, "PYTHONPATH": str(shared)}}
    if how == "no-ipykernel":
        spawner.environment = {{**spawner.environment, "PYTHONPATH": str(shared / "without-ipykernel")}}
    if how == "new-home":
        spawner.home_dir = tempfile.mkdtemp(dir=state / "homes")
    if how == "read-only":
        spawner.home_dir = {READ_ONLY!r}
        folders = ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR")
        spawner.environment = {{**spawner.environment, **{{name: tempfile.mkdtemp() for name in folders}}}}


c.Spawner.pre_spawn_hook = break_server
"""
)
SERVICE = 'c.JupyterHub.services = c.JupyterHub.services + [{{"name": "news", "url": "{url}"}}]\n'
# What a server sees in an environment without any kernel.
NO_KERNELS = """
from jupyter_client.kernelspec import KernelSpecManager

class NoKernels(KernelSpecManager):
    def find_kernel_specs(self):
        return {}

    def _find_spec_directory(self, kernel_name):
        return None
"""
EXHAUST = "blocks = []\nwhile True:\n    blocks.append(bytearray(b'x' * 10_000_000))"


@pytest.fixture(scope="module")
def hubs(pool: HubPool) -> dict[str, Hub]:
    """Hubs by their version. The server of the hubs' service news has ended."""
    config = BREAKS.replace("LAB_PYTHON", str(venv("lab") / "bin" / "python"))
    with misbehaving_hub(html_page) as service:  # while it starts, a hub waits for its services
        config += SERVICE.format(url=service.url)
        started = {version: pool.start(version, "server", config=config) for version in VERSIONS}
        return {version: future.result() for version, future in started.items()}


@pytest.fixture(scope="module")
def hub(hubs: dict[str, Hub]) -> Hub:
    """The hub that breaks servers."""
    hub = hubs["6.1"]
    shared = hub.state / "shared"
    shutil.copytree(venv("lab") / "share" / "jupyter" / "lab", shared / "blank-lab")
    for script in (shared / "blank-lab" / "static").glob("*.js"):
        script.unlink()
    (shared / "no_kernels.py").write_text(NO_KERNELS)
    # In a server's PYTHONPATH, this hides the ipykernel of its environment.
    (shared / "without-ipykernel").mkdir()
    (shared / "without-ipykernel" / "ipykernel.py").write_text("raise ModuleNotFoundError('ipykernel')")
    return hub


# The servers that one hub breaks

ASK = """
import json, urllib.request

def ask(method, url, token, body=None):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Authorization": "token " + token}, method=method)
    urllib.request.urlopen(request, timeout=60).read()

"""
REMOVE_ROUTE = ASK + "ask('DELETE', 'PROXY_API/api/routes/jhub/user/USER', 'PROXY_TOKEN')"
REVOKE = ASK + "ask('DELETE', 'HUB_API/users/USER/tokens/TOKEN_ID', 'ADMIN_TOKEN')"
EXPIRE = ASK + "ask('POST', 'HUB_API/let-time-pass', 'ADMIN_TOKEN', {'users': ['USER'], 'seconds': 7200})"


def code(source: str, **more: Any) -> dict[str, Any]:
    return {"code": [{"code": source, **more}]}


def notebook(*sources: str) -> dict[str, Any]:
    cells = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": source}
        for source in sources
    ]
    content = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
    return {"notebooks": [{"path": "lesson.ipynb", "content": content}]}


def broken(how: str, **more: Any) -> dict[str, Any]:
    return {"user_options": {"how": how}, **more}


@dataclass(frozen=True)
class Case:
    """A check, the phase that fails, and what the failure must say. A check with a token has a token of its own."""

    options: dict[str, Any]
    phase: str
    failure_code: str
    words: tuple[str, ...]
    reason: str | None = None
    token: dict[str, Any] | None = None
    """The body with which it is minted."""
    is_possible: bool = True


BROKEN_SERVERS = {
    "spawn fails": Case(broken("refused"), "start", "spawn_failed", (NO_NODE,)),
    "never ready": Case(broken("never", wait_timeout="4s"), "start", "timeout", ("not ready after 4 s",)),
    "server answers 500": Case(broken("answers-500", wait_timeout="10s"), "start", "timeout", ("answers 500",)),
    "kernel spec missing": Case(
        code("1", kernel_name="julia"), "code", "kernel_failed", ("has no kernel spec 'julia'", "'python3'"),
        "kernel_not_started",
    ),
    "no kernel": Case(
        broken("no-kernels", **code("1")), "code", "kernel_failed", ("has no kernel spec at all", "ipykernel"),
        "kernel_not_started",
    ),
    "ipykernel missing": Case(
        broken("no-ipykernel", **code("1")), "code", "kernel_failed",
        ("kernel spec 'python3'", "there is no ipykernel for that Python", "Install ipykernel"), "kernel_not_started",
    ),
    "code raises": Case(
        code("import no_such_module"), "code", "invalid", ("raised ModuleNotFoundError", "no_such_module"), "exception"
    ),
    "notebook raises": Case(
        notebook("x = 1", "x = 2\nx / 0"), "notebooks", "invalid", ("lesson.ipynb", "cell 2", "Line 2", "'x / 0'"),
        "exception",
    ),
    "wrong output": Case(
        code("print(6 * 9)", expect={"stdout": {"equals": "42"}}), "code", "invalid", ("'54'", "expected was '42'"),
        "wrong_output",
    ),
    "kernel killed": Case(
        code("import os; os.kill(os.getpid(), 9)"), "code", "kernel_failed", ("died",), "kernel_died"
    ),
    "killed for memory": Case(
        code(EXHAUST, kernel_name="small"), "code", "kernel_failed", ("memory ran out",), "out_of_memory",
        is_possible=HAS_MEMORY_GROUPS,
    ),
    "home not writable": Case(
        broken("read-only", paths=[{"path": "~", "writable": True}]), "paths", "hub_error", ("'~' is not writable",)
    ),
    "files not writable": Case(
        broken("read-only", persist=True), "persist", "hub_error", ("cannot write the file", "volume")
    ),
    "home is new at each start": Case(
        broken("new-home", persist=True), "persist", "hub_error", ("does not persist", "is gone after the restart")
    ),
    "blank page": Case(
        broken("blank", page=["lab"]), "page", "hub_error", ("do not load", "/static/lab/", "(404)", "blank")
    ),
    "proxy route missing": Case(
        {**code(REMOVE_ROUTE), "packages": ["ipykernel"]}, "packages", "hub_error", ("lost its route",)
    ),
    "token revoked": Case(
        {**code(REVOKE), "persist": True}, "persist", "unauthorized", ("unknown, expired or revoked",), token={}
    ),
    "token expired": Case(
        {**code(EXPIRE), "persist": True}, "persist", "unauthorized", ("unknown, expired or revoked",),
        token={"expires_in": 3600},
    ),
}  # fmt: skip
ALL_PROOFS: dict[str, Any] = {
    "user_options": {"how": "lab"},
    "page": ["tree", "lab"],
    **code("print(6 * 7)", expect={"stdout": {"equals": "42"}}),
    **notebook("x = 40", "assert x + 2 == 42"),
    "packages": ["ipykernel>=6", "jupyterlab>=4"],
    "paths": [{"path": "~", "writable": True}],
    "resources": {"memory": "16M", "disk": "1M", "cpus": 0.1},
    "terminal": True,
    "websocket": True,
    "websocket_idle": "1s",
    "persist": True,
}
SOUND = Case(ALL_PROOFS, "", "", ())
PROOFS = ["page", "code", "notebooks", "packages", "paths", "resources", "terminal", "websocket", "persist"]


def fill_in(hub: Hub, user: str, options: dict[str, Any], **more: str) -> dict[str, Any]:
    """The options with the addresses and the secrets that their code needs."""
    text = json.dumps(options)
    proxy = f"http://127.0.0.1:{hub.ports['proxy_api']}"
    names = {"HUB_API": hub.api, "PROXY_API": proxy, "PROXY_TOKEN": PROXY_TOKEN, "ADMIN_TOKEN": hub.admin_token}
    for name, value in {**names, "USER": user, **more}.items():
        text = text.replace(name, value)
    filled: dict[str, Any] = json.loads(text)
    return filled


def prepare_check(runner: Runner, name: str, case: Case) -> dict[str, Any]:
    """The check of a case, with a user of its own."""
    user = f"{name} {runner.door}".replace(" ", "-")
    assert runner.api_request("POST", f"users/{user}").status_code == 201
    check: dict[str, Any] = {"name": name, "user": user}
    token_id = ""
    if case.token is not None:
        body = {"scopes": ["read:servers!user", "start:servers!user", "delete:servers!user", "access:servers!user"]}
        minted = runner.api_request("POST", f"users/{user}/tokens", {**body, **case.token}).json()
        check["api_token"], token_id = minted["token"], minted["id"]
    return {**check, **fill_in(runner.hub, user, case.options, TOKEN_ID=token_id)}


@pytest.fixture(scope="module")
def small_kernel(hub: Hub) -> Iterator[None]:
    """A kernel spec whose kernels may use so little memory that the system kills them."""
    if not HAS_MEMORY_GROUPS:
        yield
        return
    group = MEMORY_GROUPS / f"hubops-matrix-{os.getpid()}"
    group.mkdir()
    for limit in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
        if (group / limit).exists():  # the second one exists only where swap is accounted
            (group / limit).write_text("200M")
    folder = hub.state / "shared" / "kernels" / "small"
    folder.mkdir(parents=True)
    start = f"echo $$ > {group}/cgroup.procs; exec python3 -m ipykernel_launcher -f {{connection_file}}"
    spec = {"argv": ["/bin/sh", "-c", start], "display_name": "small", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    yield
    wait_until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


@dataclass(frozen=True)
class Taken:
    """One task, and what it has left on the hub."""

    result: dict[str, Any]
    servers_left: dict[str, dict[str, Any]]
    """By user."""
    processes_left: list[str]

    def check(self, name: str) -> dict[str, Any]:
        [found] = [check for check in self.result["checks"] if check["name"] == name]
        assert isinstance(found, dict)
        return found


def take(runner: Runner, **options: Any) -> Taken:
    result = runner("hub_verify", **options)
    users = {check["user"] for check in result["checks"]}
    servers = {user: Runner("program", runner.hub).servers(user) for user in users}
    with contextlib.suppress(AssertionError):  # a kernel may take a moment to end after its server
        wait_until(lambda: any(servers.values()) or not list_processes(runner.hub, users), 30)
    return Taken(result, servers, list_processes(runner.hub, users))


def list_processes(hub: Hub, users: set[str]) -> list[str]:
    """The command lines of these users' servers, kernels and terminals."""
    found = []
    for process in hub_processes.marked(hub.state):
        with contextlib.suppress(OSError):  # it may have ended
            environment = Path(f"/proc/{process.pid}/environ").read_bytes().decode(errors="replace").split("\0")
            if any(f"JUPYTERHUB_USER={user}" in environment for user in users):
                found.append(Path(f"/proc/{process.pid}/cmdline").read_text().replace("\0", " "))
    return found


def is_locked(hub: Hub, check: dict[str, Any]) -> bool:
    """Whether a run on this machine still holds the lock of the check's server."""
    created = Runner("program", hub).api_request("GET", f"users/{check['user']}").json()["created"]
    with hold_lock(f"verify {created} {(check['user'], check['server_name'])}", 0.0) as is_free:
        return not is_free


def assert_nothing_left(taken: Taken, hub: Hub, check: dict[str, Any]) -> None:
    assert check["server_left"] is False
    assert taken.servers_left[check["user"]] == {}
    assert not is_locked(hub, check)


def assert_only(check: dict[str, Any], case: Case) -> None:
    """Assert that this phase of the check fails, for this reason, and no other phase."""
    verdicts = {phase["name"]: phase["verdict"] for phase in check["phases"]}
    names = list(verdicts)
    place = names.index(case.phase)
    expected = dict.fromkeys(names[:place], "passed") | {case.phase: "failed"}
    expected |= dict.fromkeys(names[place + 1 : -1], "skipped") | {"stop": "passed"}
    assert verdicts == expected, check["failure"]
    phase = check["phases"][place]
    assert check["failure"] == phase["failure"]
    assert phase["failure"]["code"] == case.failure_code, phase["message"]
    for words in case.words:
        assert words in f"{phase['failure']['message']} {phase['failure']['hint']}"
    if case.reason is not None:
        assert phase["details"]["snippets" if case.phase == "code" else "notebooks"][-1]["reason"] == case.reason


@pytest.fixture(scope="module")
def broken_servers(door: str, hub: Hub, small_kernel: None) -> Taken:
    """One task that checks all of them, and a sound one."""
    runner = Runner(door, hub)
    checks = [prepare_check(runner, name, case) for name, case in BROKEN_SERVERS.items() if case.is_possible]
    return take(
        runner,
        checks=[prepare_check(runner, "sound", SOUND), *checks],
        concurrency=10,
        services=["news"],
        login_page=True,
    )


@pytest.mark.parametrize("name", BROKEN_SERVERS)
def test_a_broken_server_fails_in_its_phase(broken_servers: Taken, hub: Hub, name: str) -> None:
    case = BROKEN_SERVERS[name]
    if not case.is_possible:
        pytest.skip("needs a memory controller that may be written")
    check = broken_servers.check(name)
    assert_only(check, case)
    assert_nothing_left(broken_servers, hub, check)
    assert any(
        line.startswith(f"{name}: failed") and f" {case.phase}: " in line for line in broken_servers.result["summary"]
    )


def test_a_sound_server_passes_among_broken_ones(broken_servers: Taken, hub: Hub) -> None:
    check = broken_servers.check("sound")
    assert_passed(check)
    assert_nothing_left(broken_servers, hub, check)


def assert_passed(check: dict[str, Any]) -> None:
    assert check["verdict"] == "passed", [phase["message"] for phase in check["phases"]]
    assert [phase["name"] for phase in check["phases"]] == ["start", *PROOFS, "stop"]
    assert {phase["verdict"] for phase in check["phases"]} == {"passed"}


def test_a_service_that_does_not_run(broken_servers: Taken) -> None:
    verdicts = {phase["name"]: phase["verdict"] for phase in broken_servers.result["hub"]["phases"]}
    assert verdicts == {"hub": "passed", "login": "passed", "services": "failed", "token": "passed"}
    assert_failed(broken_servers.result, "hub_error", "The phase services failed", "news: the proxy answers 503")


def test_no_process_is_left(broken_servers: Taken) -> None:
    assert broken_servers.processes_left == []


def take_sound(hub: Hub) -> Taken:
    runner = Runner("program", hub)
    return take(runner, checks=[prepare_check(runner, "sound", SOUND)], login_page=True)


def test_a_sound_server_passes_on_older_versions(hubs: dict[str, Hub]) -> None:
    """JupyterLab's environment has a newer JupyterHub, as images often have."""
    older = [hub for version, hub in hubs.items() if version != "6.1"]
    with ThreadPoolExecutor() as threads:
        for hub, taken in zip(older, threads.map(take_sound, older), strict=True):
            assert taken.result["hub"]["version"] == hub.version
            assert_passed(taken.check("sound"))
            assert_nothing_left(taken, hub, taken.check("sound"))
            assert taken.processes_left == []


# Tokens


def test_the_task_s_only_token_ends(door: str, hub: Hub) -> None:
    """Nobody can stop the server then. The result says so, and the next run takes it over."""
    runner = Runner(door, hub)
    check = prepare_check(runner, "only token", Case(code(REVOKE), "stop", "unauthorized", (), token={}))
    taken = take(runner.with_token(check.pop("api_token")), **check)
    found = taken.check("only token")
    verdicts = {phase["name"]: phase["verdict"] for phase in found["phases"]}
    assert verdicts == {"start": "passed", "code": "passed", "stop": "failed"}
    assert_failed(taken.result, "unauthorized", "The phase stop of check 'only token'", "expired or revoked")
    assert found["server_left"] is True
    assert "may still be running: stop it with hub_server" in taken.result["summary"][1]
    assert list(taken.servers_left[found["user"]]) == [""]
    again = take(runner, user=found["user"], if_running="stop")
    assert again.result["verdict"] == "passed"
    assert_nothing_left(again, hub, again.result["checks"][0])
    assert again.processes_left == []


def test_a_token_without_access(door: str, hub: Hub) -> None:
    runner = Runner(door, hub)
    user = runner.new_user()
    poor = runner.with_token(runner.mint(user, "read:servers!user", "start:servers!user", "delete:servers!user"))
    taken = take(poor, user=user, code=[{"code": "1"}])
    assert_failed(taken.result, "missing_scope", "The phase token failed", f"access:servers!server={user}/")
    assert {phase["verdict"] for phase in taken.result["checks"][0]["phases"]} == {"skipped"}
    assert taken.result["changed"] is False
    assert_nothing_left(taken, hub, taken.result["checks"][0])


# A proxy in front of the hub

LOGIN = b"<html><title>Sign in</title><form action=/login><input type=password name=password></form></html>"


def ask_for_login(status: int) -> Behaviour:
    """A proxy that shows its login page to everybody, or redirects to it."""
    return lambda request: Answer(LOGIN, status, {"Location": "/sign-in"} if status == 302 else {})


def ask_users_for_login(status: int, hub: Hub) -> Behaviour:
    """A proxy that does so only for the addresses of servers, and lets the hub's own pass."""
    forward, refuse = forward_to(hub.url), ask_for_login(status)
    return lambda request: refuse(request) if request.path.startswith("/jhub/user/") else forward(request)


@pytest.mark.parametrize("status", [200, 302])
def test_a_login_page_in_front_of_the_hub(door: str, hub: Hub, status: int) -> None:
    with misbehaving_hub(ask_for_login(status)) as fake:
        result = Runner(door, hub).with_url(fake.url + "jhub/")("hub_verify", user="alice", login_page=True)
    words = "it answered 200 text/html" if status == 200 else "redirects to"
    assert_failed(result, "unexpected_answer", "The phase hub failed", words, "login page", "hub_url")
    assert {phase["verdict"] for phase in result["checks"][0]["phases"]} == {"skipped"}
    assert fake.tokens == []
    assert fake.writes == []


@pytest.mark.parametrize("status", [200, 302])
def test_a_login_page_in_front_of_servers(door: str, hub: Hub, status: int) -> None:
    with misbehaving_hub(ask_users_for_login(status, hub)) as fake:
        runner = Runner(door, hub)
        taken = take(runner.with_url(fake.url + "jhub/"), user=runner.new_user(), page=["api"])
    assert_only(
        taken.result["checks"][0], Case({}, "page", "unexpected_answer", ("A login page is in the way", "API token"))
    )
    assert_nothing_left(taken, hub, taken.result["checks"][0])
    assert taken.processes_left == []


def test_a_proxy_that_refuses_websockets(door: str, hub: Hub) -> None:
    with cutting_proxy(hub.url) as proxy:
        runner = Runner(door, hub)
        taken = take(runner.with_url(proxy.url), user=runner.new_user(), code=[{"code": "1"}])
    assert_only(taken.result["checks"][0], Case({}, "code", "hub_error", ("websocket",), "websocket_refused"))
    assert_nothing_left(taken, hub, taken.result["checks"][0])
    assert taken.processes_left == []


# A hub that restarts in the middle

LOST_CONNECTION = Case({}, "code", "kernel_failed", ("connection to the kernel", "was cut"), "other")
WAIT = """
import pathlib, time
pathlib.Path("{gate}.USER").touch()
while not pathlib.Path("{gate}").exists():
    time.sleep(0.1)
"""


def test_a_hub_that_restarts_in_the_middle(tmp_path: Path) -> None:
    """A check waits for the hub, unless the new proxy has cut its websocket. It is the same through both doors."""
    gates = first, second = tmp_path / "first", tmp_path / "second"
    wait_first, wait_second = (code(WAIT.format(gate=gate)) for gate in gates)
    cases = {
        "stops": wait_first,
        "persists": {**wait_first, "persist": True},
        "runs code": wait_second,
        "starts": {"user_options": {"how": "gate", "gate": str(second)}},
    }
    with (
        running_hub(tmp_path, spawner="server", base_url="/jhub/", config=BREAKS) as hub,
        ThreadPoolExecutor() as threads,
    ):
        runners, tasks, users = [Runner(door, hub) for door in DOORS], [], dict[str, list[str]]()
        for runner in runners:
            checks = [prepare_check(runner, name, Case(options, "", "", ())) for name, options in cases.items()]
            for check in checks:
                users.setdefault(check["name"], []).append(check["user"])
            tasks.append(threads.submit(take, runner, checks=checks, wait_timeout="5m", timeout="5m"))
        wait_until(lambda: len([file for gate in gates for file in tmp_path.glob(f"{gate.name}.*")]) == 6)
        wait_until(lambda: all(runners[0].servers(user) for user in users["starts"]))
        crash_hub(hub)
        position = len(hub.log.read_text())
        first.touch()
        # Servers know the token for some minutes. The proxy logs what it cannot pass on to the hub.
        stopping = [*users["stops"], *users["persists"]]
        wait_until(lambda: all(f"/api/users/{user} " in hub.log.read_text()[position:] for user in stopping))
        start_crashed_hub(hub)
        second.touch()
        for task in tasks:
            taken = task.result()
            checks = [taken.check(name) for name in cases]
            assert [check["verdict"] for check in checks] == ["passed", "passed", "failed", "passed"], taken.result[
                "summary"
            ]
            assert_only(taken.check("runs code"), LOST_CONNECTION)
            for check in checks:
                assert_nothing_left(taken, hub, check)
            assert taken.processes_left == []
        assert list((hub.state / "homes").glob("*/hubops-verify-*")) == []
