# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The launcher with real hubs: it leaves nothing behind, and its light servers misbehave as their options say."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support.hubs import HOME, Hub, hub_install, local_hub, running_hub
from support.waiting import wait_until

PROGRAM = local_hub.FILES / "local_hub.py"
QUICK_ANSWERS = "c.JupyterHub.tornado_settings = {'slow_spawn_timeout': 0.3, 'slow_stop_timeout': 0.3}"


def launch(*arguments) -> subprocess.Popen:
    # The launcher must handle signals even if these tests run under nohup or in the background of a script.
    command = ["env", "--default-signal=HUP,INT", sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def launcher(*arguments) -> tuple[int, dict, str]:
    """Run the launcher once. Returns exit status, JSON and stderr."""
    process = launch(*arguments)
    out, err = process.communicate(timeout=300)
    return process.returncode, json.loads(out or "{}"), err


def processes_in(state: Path) -> dict[int, str]:
    """The processes that work in this folder or name it. The launcher finds them in another way."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            folder = os.readlink(entry / "cwd")
            ended = (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        except OSError:
            continue
        if not ended and (folder.startswith(str(state)) or f"{state}/" in command):
            found[int(entry.name)] = command
    return found


def start_arguments(state: Path, *more) -> list:
    return ["start", "--home", HOME, "--state", state, "--spawner", "light", *more]


# A hub's life


def test_a_hub_starts_once_and_stops_once(tmp_path):
    state = tmp_path / "hub"
    start = start_arguments(state, "--base-url", "/jhub")
    assert launcher(*start, "--check") == (0, {"state": str(state), "changed": True}, "")
    assert not state.exists()
    try:
        status, first, _err = launcher(*start)
        assert (status, first["changed"], first["version"]) == (0, True, "6.1.1")
        assert first["url"].startswith("http://127.0.0.1:")
        assert first["url"].endswith("/jhub/")
        assert requests.get(first["url"] + "hub/api/", timeout=60).json() == {"version": "6.1.1"}
        assert json.loads((state / "hub.json").read_text()) == {k: v for k, v in first.items() if k != "changed"}

        assert launcher(*start) == (0, {**first, "changed": False}, "")
        assert launcher(*start, "--check") == (0, {**first, "changed": False}, "")
        assert launcher("status", "--state", state) == (0, {**first, "running": True, "changed": False}, "")

        status, second, _err = launcher(*start_arguments(state))  # another base URL: another hub
        assert (status, second["changed"]) == (0, True)
        assert second["pid"] != first["pid"]
        assert first["pid"] not in processes_in(state)

        assert launcher("stop", "--state", state, "--check") == (0, {"state": str(state), "changed": True}, "")
        assert second["pid"] in processes_in(state)
        assert launcher("stop", "--state", state) == (0, {"state": str(state), "changed": True}, "")
        assert processes_in(state) == {}
        assert launcher("stop", "--state", state) == (0, {"state": str(state), "changed": False}, "")
        assert launcher("status", "--state", state)[1]["running"] is False
    finally:
        launcher("stop", "--state", state)


def test_the_admins_token_is_seen_nowhere(hub):
    assert len(hub.admin_token) == 32
    assert (hub.state / "admin.token").stat().st_mode & 0o777 == 0o600
    assert hub.state.stat().st_mode & 0o777 == 0o700
    processes = processes_in(hub.state)
    assert len(processes) >= 2, "the hub and its proxy"
    assert not [line for line in processes.values() if hub.admin_token in line]
    for name in ("hub.json", "parameters.json", "hub.log"):
        assert hub.admin_token not in (hub.state / name).read_text()
    assert (hub.state / "hub.log").stat().st_mode & 0o777 == 0o600


def test_all_ports_are_the_loopbacks(hub):
    ours = processes_in(hub.state)
    sockets = {
        os.readlink(link)[8:-1]
        for pid in ours
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if os.readlink(link).startswith("socket:[")
    }
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    listening = [fields[1].split(":") for fields in lines if fields[3] == "0A" and fields[9] in sockets]
    assert {address for address, _port in listening} == {"0100007F"}
    # No port is a default of JupyterHub, since a second hub would need the same one.
    chosen = json.loads((hub.state / "parameters.json").read_text())["ports"]
    assert {int(port, 16) for _address, port in listening} >= set(chosen.values())


def test_a_password_keeps_other_accounts_of_the_machine_out(hub):
    def login(password: str) -> str:
        with requests.Session() as session:
            session.get(hub.url + "hub/login", timeout=60)
            form = {"username": "eve", "password": password, "_xsrf": session.cookies["_xsrf"]}
            return session.post(hub.url + "hub/login", data=form, allow_redirects=False, timeout=60).status_code

    assert login("") == 403
    assert login("guess") == 403
    assert login(hub.admin_token) == 302


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_start_leaves_nothing(tmp_path, number):
    state, extra = tmp_path / "hub", tmp_path / "extra.py"
    extra.write_text("import subprocess; subprocess.run(['sleep', '60'])")  # the start of the hub takes long
    process = launch(*start_arguments(state, "--config", extra))
    try:
        wait_until(lambda: "sleep 60" in processes_in(state).values(), 120)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 1
        assert out == ""
        assert err.startswith(f"local_hub: Interrupted by {signal.Signals(number).name} before the hub was healthy")
        assert "Traceback" not in err
        assert processes_in(state) == {}
    finally:
        process.kill()
        launcher("stop", "--state", state)


def test_a_hub_that_ends_at_once_says_why(tmp_path):
    state, extra = tmp_path / "hub", tmp_path / "extra.py"
    extra.write_text("raise SystemExit('the reason stands here')")
    status, answer, err = launcher(*start_arguments(state, "--config", extra))
    assert (status, answer) == (1, {})
    assert "The hub ended with status 1" in err
    assert err.splitlines()[-1].strip() == "the reason stands here"
    assert "Traceback" not in err
    assert processes_in(state) == {}


def test_a_hub_that_is_not_healthy_in_time_is_ended(tmp_path):
    state, extra = tmp_path / "hub", tmp_path / "extra.py"
    extra.write_text("import time; time.sleep(60)")
    status, _answer, err = launcher(*start_arguments(state, "--config", extra, "--timeout", 2))
    assert status == 1
    assert "was not healthy within 2 s" in err
    assert processes_in(state) == {}


@pytest.mark.parametrize("taken", [0, 2], ids=["public", "hub"])
def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path, monkeypatch, taken):
    choices = []
    free_ports = local_hub.free_ports

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))

        def choose(count: int) -> list[int]:
            ports = free_ports(count)
            if not choices:
                ports[taken] = other.getsockname()[1]
            choices.append(ports)
            return ports

        monkeypatch.setattr(local_hub, "free_ports", choose)
        with running_hub(tmp_path) as hub:
            assert len(choices) == 2
            assert f":{choices[1][0]}/" in hub.url
            assert requests.get(hub.api + "/", timeout=60).ok


def test_the_callers_configuration_is_read_last(tmp_path):
    """TLS, and another list of services. The launcher keeps its own service."""
    config = f"""
from certipy import Certipy
authority = Certipy(store_dir={str(tmp_path / "tls")!r})
authority.create_ca("authority")
pair = authority.create_signed_pair("hub", "authority", alt_names=["IP:127.0.0.1"])
c.JupyterHub.ssl_key, c.JupyterHub.ssl_cert = pair["files"]["key"], pair["files"]["cert"]
assert c.JupyterHub.services  # the values before this file
c.JupyterHub.services = [{{"name": "another", "api_token": "another-token"}}]
"""
    with running_hub(tmp_path, config=config) as hub:
        assert hub.url.startswith("https://")
        trusted = str(tmp_path / "tls/authority/authority.crt")
        services = requests.get(hub.api + "/services", headers=hub.headers, verify=trusted, timeout=60).json()
        assert set(services) == {"admin", "another"}


# Light servers, as the hub reports them


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(tmp_path_factory.mktemp("light"), base_url="/jhub/", config=QUICK_ANSWERS) as hub:
        yield hub


def start_server(hub: Hub, user: str, options: dict, name: str = "") -> requests.Response:
    requests.post(f"{hub.api}/users/{user}", headers=hub.headers, timeout=60)
    body = {"user_options": options} if hub.version >= "6" else options
    path = f"/users/{user}/servers/{name}" if name else f"/users/{user}/server"
    return requests.post(hub.api + path, headers=hub.headers, json=body, timeout=60)


def stop_server(hub: Hub, user: str) -> int:
    return requests.delete(f"{hub.api}/users/{user}/server", headers=hub.headers, timeout=60).status_code


def servers(hub: Hub, user: str) -> dict:
    return requests.get(f"{hub.api}/users/{user}", headers=hub.headers, timeout=60).json()["servers"]


def events(hub: Hub, user: str) -> list[dict]:
    url = f"{hub.api}/users/{user}/server/progress"
    with requests.get(url, headers=hub.headers, stream=True, timeout=60) as answer:
        assert answer.status_code == 200
        return [json.loads(line[5:]) for line in answer.iter_lines(decode_unicode=True) if line.startswith("data:")]


def visit(hub: Hub, path: str) -> requests.Response:
    return requests.get(hub.url + "user/" + path, headers=hub.headers, timeout=60)


@pytest.mark.parametrize("version", ["6.1", "5.5", "4.1"])
def test_a_slow_start_speaks_and_its_options_arrive(version, hub, tmp_path, request):
    if version != "6.1":
        older = running_hub(tmp_path, version=version, base_url="/jhub/", config=QUICK_ANSWERS)
        hub = older.__enter__()
        request.addfinalizer(lambda: older.__exit__(None, None, None))
    assert hub.version.startswith(version)

    options = {"start_seconds": ["1.2"], "start_told": 1, "image": "small"}
    assert start_server(hub, "slow", options).status_code == 202
    assert servers(hub, "slow")[""]["pending"] == "spawn"
    received = events(hub, "slow")
    assert [event["progress"] for event in received] == [0, 30, 60, 90, 100]
    assert received[2]["message"] == "Step 2 of 3: pulling image"
    assert received[-1]["ready"] is True
    answer = visit(hub, "slow/any/path")
    assert answer.json() == {"version": "light", "user": "slow", "server_name": "", "user_options": options}

    start_server(hub, "fails", {"fail": "no such image", "start_seconds": 0.6})
    assert events(hub, "fails")[-1] == {"progress": 100, "failed": True, "message": "Spawn failed: no such image"}
    assert servers(hub, "fails") == {}

    start_server(hub, "silent", {"fail_silently": True})
    reason = "Spawn failed: Timeout" if version == "4.1" else "Spawn failed: "
    assert events(hub, "silent")[-1]["message"] == reason


def test_the_light_spawner_hides_nothing_of_jupyterhubs():
    """A light spawner must not override attributes of Spawner, such as active and port."""
    program = """
import light_spawner, jupyterhub.spawner
names = {name for name in vars(light_spawner.LightSpawner) if not name.startswith("_")}
print(*sorted(name for name in names if hasattr(jupyterhub.spawner.Spawner, name)))
"""
    for version in ("6.1", "5.5", "4.1"):
        python = hub_install.install(HOME, version)["python"]
        command = [python, "-B", "-c", program]
        printed = subprocess.run(
            command, cwd=local_hub.FILES, check=True, capture_output=True, text=True, timeout=60
        ).stdout
        assert printed.split() == ["poll", "progress", "start", "stop"]


def test_a_server_answers_below_its_own_path_only(hub):
    assert start_server(hub, "ann@home", {}).status_code == 201
    assert start_server(hub, "ann@home", {"size": 2}, "named").status_code == 201
    assert visit(hub, "ann@home/api").json()["server_name"] == ""
    assert visit(hub, "ann%40home/named/api").json()["user_options"] == {"size": 2}
    # Ask the listener of all servers directly.
    base = direct(hub, "ann@home")
    assert requests.get(f"{base}/jhub/user/ann@home/x", timeout=60).json()["user"] == "ann@home"
    assert requests.post(f"{base}/jhub/user/ann@home/x", timeout=60).status_code == 200
    for path in ("/", "/jhub/", "/jhub/user/ann@hom/", "/jhub/user/ann@home2/", "/jhub/user/nobody/"):
        assert requests.get(base + path, timeout=60).status_code == 404, path
    assert stop_server(hub, "ann@home") == 204
    assert requests.get(f"{base}/jhub/user/ann@home/x", timeout=60).status_code == 404
    assert requests.get(f"{base}/jhub/user/ann@home/named/x", timeout=60).status_code == 200


def direct(hub: Hub, user: str) -> str:
    routes = requests.get(hub.api + "/proxy", headers=hub.headers, timeout=60).json()
    return next(route["target"] for path, route in routes.items() if path == f"/jhub/user/{user}/")


def test_a_server_that_never_comes_can_be_stopped(hub):
    assert start_server(hub, "never", {"never": 1}).status_code == 202
    assert servers(hub, "never")[""]["pending"] == "spawn"
    assert stop_server(hub, "never") == 204
    assert servers(hub, "never") == {}


def test_a_start_waits_for_its_gate(hub, tmp_path):
    gate = tmp_path / "gate"
    assert start_server(hub, "gated", {"start_gate": [str(gate)]}).status_code == 202
    assert servers(hub, "gated")[""]["pending"] == "spawn"
    gate.touch()
    wait_until(lambda: servers(hub, "gated")[""]["ready"])
    # A gate that is open delays nothing.
    assert stop_server(hub, "gated") == 204
    assert start_server(hub, "gated", {"start_gate": str(gate), "stop_gate": str(gate)}).status_code == 201
    assert stop_server(hub, "gated") == 204


def test_a_start_that_is_not_to_come_can_be_stopped_at_its_gate(hub, tmp_path):
    assert start_server(hub, "shut", {"start_gate": str(tmp_path / "gate")}).status_code == 202
    assert stop_server(hub, "shut") == 204
    assert servers(hub, "shut") == {}


def test_a_start_waits_for_those_who_listen(hub):
    assert start_server(hub, "told", {"start_told": "2"}).status_code == 202
    with ThreadPoolExecutor() as pool:
        first = pool.submit(events, hub, "told")
        assert servers(hub, "told")[""]["pending"] == "spawn"
        second = pool.submit(events, hub, "told")
        for received in (first.result(), second.result()):
            assert [event["progress"] for event in received] == [0, 90, 100]


def test_a_start_has_its_own_timeout(hub):
    began = time.monotonic()
    start_server(hub, "late", {"never": True, "start_timeout": "1"})
    assert events(hub, "late")[-1]["failed"] is True
    assert 0.8 < time.monotonic() - began < 50, "a hub's own is 60 s"


def test_a_progress_without_a_number(hub):
    start_server(hub, "mute", {"start_seconds": 1, "start_told": 1, "no_progress_key": "yes"})
    assert [sorted(event) for event in events(hub, "mute")[1:-1]] == [["message"], ["message"]]


def test_a_start_that_fails_at_once_answers_with_its_reason(hub):
    answer = start_server(hub, "hopeless", {"fail": "no such image"})
    assert (answer.status_code, answer.json()["message"]) == (500, "no such image")


def test_a_bad_option_is_a_reason(hub):
    start_server(hub, "wrong", {"start_seconds": "soon"})
    assert events(hub, "wrong")[-1]["message"] == "Spawn failed: start_seconds must be a number, not 'soon'"


def test_a_dead_server_is_ready_for_the_hub_only(hub):
    assert start_server(hub, "dead", {"dead": "true"}).status_code == 201
    assert servers(hub, "dead")[""]["ready"] is True
    for _visit in range(2):
        assert visit(hub, "dead/api").status_code == 503
    assert servers(hub, "dead")[""]["ready"] is True
    assert stop_server(hub, "dead") == 204


def test_a_stop_may_be_slow(hub, tmp_path):
    gate = tmp_path / "gate"
    start_server(hub, "slowstop", {"stop_seconds": 1, "stop_gate": str(gate)})
    began = time.monotonic()
    assert stop_server(hub, "slowstop") == 202
    assert servers(hub, "slowstop")[""]["pending"] == "stop"
    gate.touch()
    wait_until(lambda: servers(hub, "slowstop") == {})
    assert time.monotonic() - began > 0.9


def test_a_stop_may_fail_and_the_hub_says_nothing(hub):
    start_server(hub, "stubborn", {"stop_fails": True})
    base = direct(hub, "stubborn")
    assert stop_server(hub, "stubborn") == 204
    assert servers(hub, "stubborn") == {}
    assert requests.get(f"{base}/jhub/user/stubborn/api", timeout=60).status_code == 200


# Real servers


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "after the hub was killed"])
def test_nothing_is_left_of_a_hub_with_servers_and_kernels(tmp_path, killed):
    with running_hub(tmp_path, spawner="server") as hub:
        assert start_server(hub, "alice", {}).status_code in (201, 202)
        wait_until(lambda: servers(hub, "alice")[""]["ready"], 120)
        kernel = requests.post(hub.url + "user/alice/api/kernels", headers=hub.headers, json={}, timeout=60)
        assert kernel.status_code == 201
        ready = hub.url + "user/alice/api/kernels/" + kernel.json()["id"]
        assert requests.get(ready, headers=hub.headers, timeout=60).json()["name"] == "python3"
        running = wait_until(
            lambda: "ipykernel" in "".join(processes_in(hub.state).values()) and processes_in(hub.state)
        )
        for program in ("jupyterhub --config", "configurable-http-proxy", "jupyterhub.singleuser", "ipykernel"):
            assert program in "".join(running.values())
        if killed:
            os.kill(hub.pid, signal.SIGKILL)
            assert wait_until(lambda: hub.pid not in processes_in(hub.state))
            assert len(processes_in(hub.state)) >= 3, "they outlive their hub"
            assert launcher("status", "--state", hub.state)[1]["running"] is False
        assert launcher("stop", "--state", hub.state) == (0, {"state": str(hub.state), "changed": True}, "")
        # It had the time to end by itself, and took no longer.
        assert killed or "...done" in hub.log.read_text()
        assert processes_in(hub.state) == {}
        assert not [pid for pid in running if Path(f"/proc/{pid}/cmdline").exists() and alive(pid)]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
