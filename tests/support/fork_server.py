# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forks Ansible's programs from a process that has Ansible and the collection imported, instead of starting them.

process = fork_server.start([bin / "ansible-playbook", "play.yml"], cwd, env, (stdin, stdout, stderr))
process.pid, process.wait(), process.kill()

What runs after the imports is the program itself, as its script runs it, with the arguments, the environment and the
folder of this run only. tests/integration/support/test_fork_server.py compares it with a program that was started.

There is one such process for each Python and each set of Ansible's settings, since Ansible reads most settings while it
is imported. The settings in `PER_RUN` are set again for each run. Beside each such process is one for the modules that
its runs send to this machine: a Python that has imported the libraries that modules import, and nothing of Ansible.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import re
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

PER_RUN = ("ANSIBLE_ASYNC_DIR", "ANSIBLE_HOME", "ANSIBLE_INVENTORY", "ANSIBLE_REMOTE_TEMP")
"""Settings that differ in each run, since they name its folder."""
COLLECTION = "ansible_collections.hubops.jupyterhub"
MAX_REQUEST = 1 << 20  # bytes: a request has the arguments and the environment of a run


# Used by the tests


class Process:
    """A forked run. It is not our child, so the fork server sends its process id and its exit status on a socket."""

    def __init__(self, answers: socket.socket) -> None:
        self._answers = answers
        self._status: int | None = None
        self.pid = self._read()

    def _read(self) -> int:
        answer = self._answers.recv(64)
        assert answer, "the fork server has ended"
        return int(answer)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal as in subprocess. Raises TimeoutError after ``timeout`` seconds."""
        if self._status is None:
            self._answers.settimeout(timeout)
            self._status = self._read()
            self._answers.close()
        return self._status

    def kill(self) -> None:
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class ForkServer:
    """A process that forks for one Python and one set of settings: Ansible's programs, or modules (``kind``)."""

    def __init__(self, kind: str, python: str, env: dict[str, str]) -> None:
        self._lock = threading.Lock()
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._requests, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_REQUEST)
        with theirs:
            self._process = subprocess.Popen(
                [python, __file__, kind, str(theirs.fileno())], env=env, cwd="/", pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip

    def start(self, request: dict[str, object], streams: Sequence[int]) -> Process:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, self._lock:
            socket.send_fds(self._requests, [json.dumps(request).encode()], [*streams, theirs.fileno()])
        return Process(ours)

    def close(self) -> None:
        self._requests.close()
        self._process.wait()


_servers: dict[tuple[str, ...], tuple[ForkServer, tempfile.TemporaryDirectory[str]]] = {}
_lock = threading.Lock()


def start(command: Sequence[str], cwd: Path, env: dict[str, str], streams: tuple[int, int, int]) -> Process:
    """Run one of Ansible's programs, given by its path, with exactly this environment.

    ``streams`` are the file descriptors of its stdin, stdout and stderr.
    """
    python = str(Path(command[0]).parent / "python")
    read_at_import = ("ANSIBLE_", "LANG", "LC_", "PYTHON")
    settings = {name: env[name] for name in sorted(env) if name.startswith(read_at_import) and name not in PER_RUN}
    key = (python, *(f"{name}={value}" for name, value in settings.items()))
    with _lock:
        if key not in _servers:
            home = tempfile.TemporaryDirectory(prefix="hubops-fork-server-")
            base = {"HOME": home.name, "PATH": os.defpath, "ANSIBLE_HOME": str(Path(home.name, "ansible"))}
            _servers[key] = ForkServer("programs", python, settings | base), home
        server, _home = _servers[key]
    return server.start({"command": list(command), "cwd": str(cwd), "env": env}, streams)


def close_all() -> None:
    """End all fork servers. The runs that they have forked go on."""
    with _lock:
        for server, home in _servers.values():
            server.close()
            home.cleanup()
        _servers.clear()


# Runs in the fork servers, which can import only what Ansible's own environment has


def plugin_modules(kind: str) -> list[str]:
    """The Python modules of the collection's plugins of this kind, such as "action"."""
    collections = os.environ["ANSIBLE_COLLECTIONS_PATH"].partition(":")[0]
    files = Path(collections, *COLLECTION.split("."), "plugins", kind).glob("*.py")
    return sorted(f"{COLLECTION}.plugins.{kind}.{file.stem}" for file in files)


def import_all() -> None:
    """Import what the run of a play imports, and drop the state that Ansible derives from settings and folders."""
    from ansible.plugins import loader
    from ansible.utils.collection_loader import _collection_finder

    for name in ("ansible.cli.adhoc", "ansible.cli.playbook", "cryptography.fernet", "requests", "websocket"):
        importlib.import_module(name)
    loader.init_plugin_loader()
    # Every run loads all of these, and reads the documentation of those that have options.
    for kind in ("become", "callback", "connection", "filter", "inventory", "shell", "test", "vars"):
        list(getattr(loader, f"{kind}_loader").all(class_only=True))
    for kind, names in {
        "action": ("assert", "command", "copy", "debug", "fail", "include_vars", "set_fact", "set_stats", "template"),
        "cache": ("memory",),
        "connection": ("local",),
        "lookup": ("env", "file"),
        "shell": ("sh",),
        "strategy": ("linear",),
    }.items():
        for name in names:
            getattr(loader, f"{kind}_loader").get(name, class_only=True)
    for name in (*plugin_modules("action"), *plugin_modules("filter")):
        importlib.import_module(name)

    pack_compiled_code()

    # A run searches for plugins and collections itself, also in its own folders.
    for each in vars(loader).values():
        if isinstance(each, loader.PluginLoader):
            each._clear_caches()
            each._searched_paths.clear()
    _collection_finder._AnsibleCollectionFinder._remove()
    for name in [name for name in sys.modules if name.partition(".")[0] == "ansible_collections"]:
        if not name.startswith((COLLECTION, "ansible_collections.ansible.builtin")):
            del sys.modules[name]


def fork_modules(server: ForkServer) -> None:
    """Make the local connection fork a Python where it would start the Python that runs this process."""
    from ansible.plugins.connection import local

    start = local.Connection.exec_command
    # The command as Ansible's shell plugin writes it, with a script unless the connection pipelines the module.
    python = re.compile(rf"/bin/sh -c '{re.escape(sys.executable)}(?: (?P<script>[\w./-]+))? && sleep 0'")

    def exec_command(self, cmd, in_data=None, sudoable=True):  # type: ignore[no-untyped-def]
        found = python.fullmatch(cmd)
        if not found:
            return start(self, cmd, in_data, sudoable)
        folder = os.fsdecode(self.cwd or os.getcwd())
        env = {**os.environ, "PWD": folder}  # as a shell sets it
        command = [found["script"]] if found["script"] else []
        with contextlib.ExitStack() as stack:
            files = (os.fdopen(os.memfd_create("module"), "w+b") for _stream in range(3))
            stdin, stdout, stderr = map(stack.enter_context, files)
            stdin.write(in_data or b"")
            stdin.seek(0)
            request = {"command": command, "cwd": folder, "env": env}
            status = server.start(request, (stdin.fileno(), stdout.fileno(), stderr.fileno())).wait()
            stdout.seek(0)
            stderr.seek(0)
            return status, stdout.read(), stderr.read()

    local.Connection.exec_command = exec_command


def set_own_settings(before: str) -> None:
    """Make Ansible read its settings again, with defaults below the run's ANSIBLE_HOME, which was ``before``."""
    from ansible import constants
    from ansible.config import manager
    from ansible.plugins import loader

    atexit.unregister(manager.cleanup_tmp_file)  # that temporary folder belongs to the fork server
    for name in constants.config.get_configuration_definitions():
        value = constants.config.get_config_value(name, variables=vars(constants))
        constants.set_constant(name, value)
    for each in vars(loader).values():
        if isinstance(each, loader.PluginLoader):
            each.config = [path.replace(before, constants.ANSIBLE_HOME) for path in each.config]


def pack_compiled_code() -> None:
    """Make Ansible also pack a module's compiled code, which the host would otherwise compile each time."""
    from ansible.executor import module_common

    pack = module_common._add_module_to_zip

    def pack_both(packed: zipfile.ZipFile, *more: object) -> None:
        pack(packed, *more)
        for name in packed.namelist():
            code = compile(packed.read(name), name, "exec", dont_inherit=True)
            # Without a date, so that Python uses it unchecked.
            packed.writestr(f"{name}c", importlib._bootstrap_external._code_to_hash_pyc(code, bytes(8), checked=False))

    module_common._add_module_to_zip = pack_both


def link_missing(source: Path, target: Path) -> None:
    """Link the files of one folder into another that lacks them. Other processes may do the same at the same time."""
    target.mkdir(exist_ok=True)
    # No file is incomplete: Ansible writes it under another name and renames it.
    for file in source.glob("*") if source.exists() else ():
        with contextlib.suppress(FileExistsError):
            os.link(file, target / file.name)


def import_libraries() -> None:
    """Import what the collection's modules import, except Ansible, which each module brings with it."""
    # Another process finds out what that is, since importing Ansible changes a Python process.
    names = ", ".join(plugin_modules("modules"))
    program = f"import sys; sys.path += sys.argv[1].split(':'); import websocket, {names}"
    command = [sys.executable, "-c", f"{program}; print(*sys.modules)", os.environ["ANSIBLE_COLLECTIONS_PATH"]]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    for name in found:
        if name.partition(".")[0] not in ("__main__", "ansible", "ansible_collections"):
            with contextlib.suppress(ImportError):  # some are created by other modules, and cannot be imported
                importlib.import_module(name)


def become_process(cwd: str, env: dict[str, str], streams: Sequence[int]) -> None:
    """After the fork: take the streams, folder, environment and signals that a started process would get."""
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None


def run_program(command: list[str], home: str) -> None:
    """Run one of Ansible's programs in this process."""
    from ansible import constants

    sys.argv, sys.path[0] = command, os.path.dirname(command[0])
    set_own_settings(home)
    # The packed modules that Ansible sends to hosts are the same for all runs.
    packed, own_cache = Path(home, "packed"), Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")
    link_missing(packed, own_cache)
    try:
        runpy.run_path(command[0], run_name="__main__")
    finally:
        link_missing(own_cache, packed)


def run_module(command: list[str]) -> None:
    """Run this script as Python does, or without one the script on stdin."""
    if command:
        sys.argv, sys.path[0] = command, os.path.dirname(command[0])
        runpy.run_path(command[0], run_name="__main__")
        return
    sys.argv, sys.path[0] = [""], ""
    script = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(sys.stdin.buffer.read(), "<stdin>", "exec"), vars(script))


def run_and_exit(run: Callable[[], None]) -> NoReturn:
    """Run this and exit as Python does, but without tearing down all that is imported."""
    status = 1
    try:
        run()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def serve(requests: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork for each request until the socket is closed. Send each run's process id and exit status to the tests.

    In a fork it returns the request and the run's streams, in the fork server None at the end.
    """
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _events in selector.select():
                if key.fileobj is not requests:
                    pid, answers = key.data
                    _pid, status = os.waitpid(pid, 0)
                    selector.unregister(key.fileobj)
                    os.close(key.fd)
                    with contextlib.suppress(OSError), answers:  # the test may have stopped waiting
                        answers.send(str(os.waitstatus_to_exitcode(status)).encode())
                    continue
                request, handles, _flags, _address = socket.recv_fds(requests, MAX_REQUEST, 4)
                if not request:
                    return None
                *streams, answer = handles
                pid = os.fork()
                if pid == 0:
                    os.close(answer)
                    for one in [*selector.get_map().values()]:
                        os.close(one.fd)
                        if one.data:
                            one.data[1].close()
                    requests.detach()
                    return json.loads(request), streams
                answers = socket.socket(fileno=answer)
                answers.send(str(pid).encode())
                for stream in streams:
                    os.close(stream)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, answers))


def main(kind: str, handle: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which then end this process
    requests, env = socket.socket(fileno=int(handle)), dict(os.environ)
    if kind == "programs":
        modules = ForkServer("modules", sys.executable, env)  # it ends with the last of this server's runs
        program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
        sys.argv, sys.path[0] = [program], os.path.dirname(program)
        import_all()
        fork_modules(modules)
    else:
        import_libraries()
    gc.collect()
    gc.freeze()  # else each run would copy all of it
    forked = serve(requests)
    if forked is None:
        return
    request, streams = forked

    def run() -> None:
        become_process(request["cwd"], request["env"], streams)
        if kind == "programs":
            run_program(request["command"], env["ANSIBLE_HOME"])
        else:
            run_module(request["command"])

    run_and_exit(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
