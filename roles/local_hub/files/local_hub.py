# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and stop disposable real JupyterHubs on this machine.

    python local_hub.py install --home HOME [--version 6.1]
    python local_hub.py start   --home HOME --state DIR [--version 6.1] [--base-url /jhub/] [--spawner server|light]
                                [--config EXTRA.py] [--timeout 120] [--check]
    python local_hub.py status  --state DIR
    python local_hub.py stop    --state DIR [--check]

Each command prints one JSON object on stdout. With --check it only says whether it would change anything. A hub runs in
its own session and has its own folder DIR, with its database, its log, its users' homes and its admin service's token.
`make verify`, molecule, the tests and the benchmarks start their hubs with this program.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from hub_install import FILES, LocalHubError, clean_environment, exclusive, install, lock_of
from hub_processes import MARK, Process, end_all, marked

ATTEMPTS = 5  # with other ports, if another program takes a port before the hub listens on it
PORT_TAKEN = ("EADDRINUSE", "Address already in use", "Errno 98")


class Interrupted(KeyboardInterrupt):
    """A signal asked this program to end."""


# The record of a running hub


def read_record(state: Path) -> dict:
    try:
        return json.loads((state / "hub.json").read_text())
    except (OSError, ValueError):
        return {}


def hub_process(state: Path, record: dict) -> Process | None:
    """The hub of the record, if that process still runs."""
    process = Process(record.get("pid", 0), record.get("started", 0))
    return process if process in marked(state) else None


def write_file(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


# Asking the hub


def get_json(url: str, token: str = "") -> dict | None:
    """The answer, or None unless it is a JSON object with status 200. Ignores the environment's HTTP proxy."""
    parts = urlsplit(url)
    if parts.scheme == "https":  # a certificate that a test has made, on the loopback
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.netloc, timeout=5, context=trust)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    try:
        connection.request("GET", parts.path, headers={"Authorization": f"token {token}"} if token else {})
        response = connection.getresponse()
        answer = json.loads(response.read()) if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def healthy(url: str, token: str) -> str:
    """The version of this hub, if it answers through its proxy. Empty otherwise, also for another hub on that port."""
    answer = get_json(f"{url}hub/api/")
    ours = answer and get_json(f"{url}hub/api/user", token)
    return str(answer["version"]) if ours and ours.get("kind") == "service" and ours.get("name") == "admin" else ""


# Starting


def start(home: Path, state: Path, wanted: dict, timeout: float, check: bool) -> dict:
    if not Path("/proc/self/environ").exists():
        raise LocalHubError("A local hub needs Linux, where /proc shows which processes belong to it: run it there.")
    if check and not state.is_dir():
        return {"state": str(state), "changed": True}
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with exclusive(state / "lock"):
        record = read_record(state)
        hub = hub_process(state, record)
        if hub and record.get("wanted") == wanted and healthy(record["url"], (state / "admin.token").read_text()):
            return {**record, "changed": False}
        if check:
            return {"state": str(state), "changed": True}
        installed = install(home, wanted["version"])
        end_all(state, hub)
        (state / "hub.json").unlink(missing_ok=True)
        if not (state / "admin.token").exists():
            write_file(state / "admin.token", secrets.token_hex(16))  # 5.5.3 and 6.1.0 refuse longer tokens
        for _attempt in range(ATTEMPTS):
            try:
                record = launch(state, wanted, installed, timeout)
            except BaseException as error:
                time.sleep(0.2)  # a process has the mark of this hub only after its exec
                end_all(state, None)
                if isinstance(error, Interrupted):
                    sentence = (
                        f"Interrupted by {error} before the hub was healthy, and stopped the hub: start it again."
                    )
                    raise LocalHubError(sentence + tail(state)) from None
                raise
            if record:
                return {**record, "changed": True}
        raise LocalHubError(f"Other programs took the hub's ports {ATTEMPTS} times in a row: try again.{tail(state)}")


def launch(state: Path, wanted: dict, installed: dict, timeout: float, ports: dict | None = None) -> dict | None:
    """Start the hub once, on free ports unless some are given. Returns its record, or None if a port was taken."""
    ports = ports or dict(zip(("public", "proxy_api", "hub"), free_ports(3), strict=True))
    parameters = {**wanted, "ports": ports, "proxy_command": installed["proxy_command"]}
    write_file(state / "parameters.json", json.dumps(parameters))
    python = Path(installed["python"])
    environment = {**clean_environment(), MARK: str(state), **own_folders(state)}
    environment["PATH"] = os.pathsep.join([str(python.parent), environment.get("PATH", os.defpath)])
    log = state / "hub.log"
    write_file(log, "")
    with log.open("a") as output:
        process = subprocess.Popen(
            [str(python), "-m", "jupyterhub", "--config", str(FILES / "jupyterhub_config.py")],
            cwd=state,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=0o077,
        )
    token = (state / "admin.token").read_text()
    deadline = time.monotonic() + timeout
    # A hub whose port is taken does not end at once. It tries again for half a minute.
    while process.poll() is None and not port_taken(log) and time.monotonic() < deadline:
        # Before the hub listens, each request makes its proxy log an error.
        for scheme in ("http", "https") if listens(ports["hub"]) else ():  # https if the caller's configuration says so
            url = f"{scheme}://127.0.0.1:{ports['public']}{wanted['base_url']}"
            version = healthy(url, token)
            hub = Process.find(process.pid)
            if version and hub:
                record = describe(state, wanted, url, version, hub)
                write_file(state / "hub.json", json.dumps(record, indent=2) + "\n")
                return record
        time.sleep(0.1)
    ended = process.returncode
    end_all(state, Process.find(process.pid))
    if port_taken(log):
        return None
    what = f"was not healthy within {timeout:g} s" if ended is None else f"ended with status {ended}"
    raise LocalHubError(
        f"The hub {what}: correct what its log {log} says, or give it more time with --timeout.{tail(state)}"
    )


def describe(state: Path, wanted: dict, url: str, version: str, hub: Process) -> dict:
    return {
        "url": url,
        "version": version,
        "pid": hub.pid,
        "started": hub.started,
        "admin_token_file": str(state / "admin.token"),
        "log": str(state / "hub.log"),
        "state": str(state),
        "wanted": wanted,
    }


def own_folders(state: Path) -> dict[str, str]:
    """Folders of Jupyter inside the state folder, so that the settings of the user who starts the hub do not count."""
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    return {name: str(state / "jupyter" / name.lower()) for name in names}


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _number in range(count)]
        for each in sockets:  # all stay bound until the last one is known, so that they differ
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def port_taken(log: Path) -> bool:
    return any(sign in log.read_text(errors="replace") for sign in PORT_TAKEN)


def tail(state: Path, lines: int = 15) -> str:
    try:
        last = (state / "hub.log").read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        return ""
    return "\nThe last lines of the hub's log:\n" + "\n".join(f"  {line}" for line in last) if last else ""


# The other commands


def status(state: Path) -> dict:
    record = read_record(state)
    running = hub_process(state, record) is not None
    return {**(record if running else {}), "state": str(state), "running": running, "changed": False}


def stop(state: Path, check: bool) -> dict:
    if not state.is_dir():
        return {"state": str(state), "changed": False}
    with exclusive(state / "lock"):
        changed = bool(marked(state)) if check else end_all(state, hub_process(state, read_record(state)))
        if not check:
            (state / "hub.json").unlink(missing_ok=True)
    return {"state": str(state), "changed": changed}


# The command line


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="local_hub", description="Disposable real JupyterHubs on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("install", "start", "status", "stop"):
        command = commands.add_parser(name)
        if name != "install":
            command.add_argument("--state", required=True, type=Path, help="the hub's own folder")
        if name in ("install", "start"):
            command.add_argument("--home", required=True, type=Path, help="where hubs are installed, shared by all")
            command.add_argument(
                "--version", default="6.1", help="of JupyterHub: one that has a lock here (%(default)s)"
            )
        if name in ("start", "stop"):
            command.add_argument("--check", action="store_true", help="only say whether anything would change")
        if name == "start":
            command.add_argument("--base-url", default="/")
            command.add_argument("--spawner", choices=("server", "light"), default="server")
            command.add_argument("--config", type=Path, help="a file of more configuration, read last, with `c`")
            command.add_argument("--timeout", type=float, default=120, help="seconds until it is healthy (%(default)s)")
    return parser.parse_args(arguments)


def perform(options: argparse.Namespace) -> dict:
    if options.command == "install":
        return install(options.home.expanduser().resolve(), options.version)
    state = options.state.expanduser().resolve()
    if options.command == "status":
        return status(state)
    if options.command == "stop":
        return stop(state, options.check)
    return start(options.home.expanduser().resolve(), state, wishes(options), options.timeout, options.check)


def wishes(options: argparse.Namespace) -> dict:
    """The properties of the hub that the options ask for. A running hub with the same properties stays as it is."""
    lock_of(options.version)  # fails for an unknown version, with --check, too
    config = options.config and options.config.expanduser().resolve()
    try:
        content = hashlib.sha256(config.read_bytes()).hexdigest() if config else ""
    except OSError as error:
        raise LocalHubError(
            f"Cannot read the configuration {config} ({error.strerror}): name a file with --config."
        ) from error
    return {
        "version": options.version,
        "base_url": "/" + "".join(f"{part}/" for part in options.base_url.split("/") if part),
        "spawner": options.spawner,
        "config": str(config or ""),
        "config_digest": content,
    }


def heed_signals() -> None:
    """Raise Interrupted at the first signal, and ignore later ones, so that the cleanup can end."""
    heeded = [
        each
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(each) is not signal.SIG_IGN  # as nohup sets it
    ]

    def interrupt(number: int, frame: object) -> None:
        for each in heeded:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    for each in heeded:
        signal.signal(each, interrupt)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        heed_signals()
        print(json.dumps(perform(options)))
    except LocalHubError as error:
        print(f"local_hub: {error}", file=sys.stderr)
        return 1
    except (OSError, RuntimeError) as error:  # RuntimeError: a ~ of a user without a home
        print(f"local_hub: {error}: choose other folders, or make room for them.", file=sys.stderr)
        return 1
    except Interrupted as signal_name:
        print(f"local_hub: Interrupted by {signal_name}: run this again to go on.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
