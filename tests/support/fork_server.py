# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's programs without their start: a process has Ansible and the collection imported, and forks for each run.

process = fork_server.start([bin / "ansible-playbook", "play.yml"], cwd, env, stdin, stdout, stderr)
process.pid, process.wait(), process.kill()

What comes after the imports is the program itself, run as its script says, with the arguments, the environment and the
folder of this run alone; tests/integration/test_fork_server.py compares it with a program that was started.

There is one such process for each Python and each set of Ansible's settings, since Ansible reads most of them while it
is imported. Those of `OWN` are set anew in each run. Beside it is one for the modules that such a run sends to this
machine: a Python that has imported the libraries that modules import, and nothing of Ansible.
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

OWN = ("ANSIBLE_ASYNC_DIR", "ANSIBLE_HOME", "ANSIBLE_INVENTORY", "ANSIBLE_REMOTE_TEMP")
"""Settings that differ from run to run, for they name its folder."""
COLLECTION = "ansible_collections.hubops.jupyterhub"
LONGEST = 1 << 20  # bytes of a request: arguments and environment


# The side of the tests


class Process:
    """A run that was forked. Its parent is not we, so it tells by a socket who it is, and how it ended."""

    def __init__(self, answers: socket.socket) -> None:
        self._answers = answers
        self._status: int | None = None
        self.pid = self._read()

    def _read(self) -> int:
        answer = self._answers.recv(64)
        assert answer, "the process that forks Ansible's runs has ended"
        return int(answer)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status; negative for the signal that ended it, as subprocess has it. TimeoutError after seconds."""
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
    """The process that forks, for one Python and one set of settings: Ansible's programs, or modules."""

    def __init__(self, kind: str, python: str, env: dict[str, str]) -> None:
        self._lock = threading.Lock()
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._requests, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
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
    """Run one of Ansible's programs, named by its path, with exactly this environment and these streams (stdin, stdout,
    stderr)."""
    python = str(Path(command[0]).parent / "python")
    read_at_import = ("ANSIBLE_", "LANG", "LC_", "PYTHON")
    settings = {name: env[name] for name in sorted(env) if name.startswith(read_at_import) and name not in OWN}
    key = (python, *(f"{name}={value}" for name, value in settings.items()))
    with _lock:
        if key not in _servers:
            home = tempfile.TemporaryDirectory(prefix="hubops-fork-server-")
            own = {"HOME": home.name, "PATH": os.defpath, "ANSIBLE_HOME": str(Path(home.name, "ansible"))}
            _servers[key] = ForkServer("programs", python, settings | own), home
        server, _home = _servers[key]
    return server.start({"command": list(command), "cwd": str(cwd), "env": env}, streams)


def close_all() -> None:
    """End the processes that fork. Runs that they have forked go on."""
    with _lock:
        for server, home in _servers.values():
            server.close()
            home.cleanup()
        _servers.clear()


# The processes that fork. They have no more than Ansible's own environment has.


def plugins(kind: str) -> list[str]:
    """The collection's files of this kind, as modules of Python."""
    collections = os.environ["ANSIBLE_COLLECTIONS_PATH"].partition(":")[0]
    files = Path(collections, *COLLECTION.split("."), "plugins", kind).glob("*.py")
    return sorted(f"{COLLECTION}.plugins.{kind}.{file.stem}" for file in files)


def import_all() -> None:
    """What a run of a play imports, without any of the state that it makes of its settings and its folders."""
    from ansible.plugins import loader
    from ansible.utils.collection_loader import _collection_finder

    for name in ("ansible.cli.adhoc", "ansible.cli.playbook", "cryptography.fernet", "requests", "websocket"):
        importlib.import_module(name)
    loader.init_plugin_loader()
    # Of these every run looks at all, and reads their documentation, where their options are described.
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
    for name in (*plugins("action"), *plugins("filter")):
        importlib.import_module(name)

    pack_compiled()

    # A run looks for plugins and collections by itself, in its own folders too.
    for each in vars(loader).values():
        if isinstance(each, loader.PluginLoader):
            each._clear_caches()
            each._searched_paths.clear()
    _collection_finder._AnsibleCollectionFinder._remove()
    for name in [name for name in sys.modules if name.partition(".")[0] == "ansible_collections"]:
        if not name.startswith((COLLECTION, "ansible_collections.ansible.builtin")):
            del sys.modules[name]


def fork_modules(server: ForkServer) -> None:
    """Have the connection to this machine fork a Python where it would start the one that we are."""
    from ansible.plugins.connection import local

    start = local.Connection.exec_command
    # As Ansible's shell plugin writes it; with a script unless the connection pipelines the module.
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
    """Have Ansible read its settings again, those whose defaults are below ANSIBLE_HOME, formerly ``before``, too."""
    from ansible import constants
    from ansible.config import manager
    from ansible.plugins import loader

    atexit.unregister(manager.cleanup_tmp_file)  # that temporary folder is of the process that forks
    for name in constants.config.get_configuration_definitions():
        value = constants.config.get_config_value(name, variables=vars(constants))
        constants.set_constant(name, value)
    for each in vars(loader).values():
        if isinstance(each, loader.PluginLoader):
            each.config = [path.replace(before, constants.ANSIBLE_HOME) for path in each.config]


def pack_compiled() -> None:
    """Have Ansible pack the compiled code of a module, too. A host compiles all of it each time otherwise."""
    from ansible.executor import module_common

    pack = module_common._add_module_to_zip

    def pack_both(packed: zipfile.ZipFile, *more: object) -> None:
        pack(packed, *more)
        for name in packed.namelist():
            code = compile(packed.read(name), name, "exec", dont_inherit=True)
            # Of no date, so that Python takes it as it is.
            packed.writestr(f"{name}c", importlib._bootstrap_external._code_to_hash_pyc(code, bytes(8), checked=False))

    module_common._add_module_to_zip = pack_both


def share(source: Path, target: Path) -> None:
    """Link what is in one folder, and not yet in the other, into that one. Others may do the same at the same time."""
    target.mkdir(exist_ok=True)
    for file in source.glob("*") if source.exists() else ():  # each is written under another name, then renamed
        with contextlib.suppress(FileExistsError):
            os.link(file, target / file.name)


def import_libraries() -> None:
    """What the collection's modules import, but for the Ansible that each of them brings with it."""
    # Another process finds out what that is: Ansible changes the Python that it is imported into.
    program = f"import sys; sys.path += sys.argv[1].split(':'); import websocket, {', '.join(plugins('modules'))}"
    command = [sys.executable, "-c", f"{program}; print(*sys.modules)", os.environ["ANSIBLE_COLLECTIONS_PATH"]]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    for name in found:
        if name.partition(".")[0] not in ("__main__", "ansible", "ansible_collections"):
            with contextlib.suppress(ImportError):  # some are made by others, and not to be found
                importlib.import_module(name)


def take_place(cwd: str, env: dict[str, str], streams: Sequence[int]) -> None:
    """In a process just forked: take what a process that is started is given."""
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None


def run_program(command: list[str], home: str) -> None:
    """Be one of Ansible's programs."""
    from ansible import constants

    sys.argv, sys.path[0] = command, os.path.dirname(command[0])
    set_own_settings(home)
    # What Ansible packs of a module, to send it to a host, is the same for all runs.
    packed, own = Path(home, "packed"), Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")
    share(packed, own)
    try:
        runpy.run_path(command[0], run_name="__main__")
    finally:
        share(own, packed)


def run_module(command: list[str]) -> None:
    """Be a Python with this script, or with the one that it reads."""
    if command:
        sys.argv, sys.path[0] = command, os.path.dirname(command[0])
        runpy.run_path(command[0], run_name="__main__")
        return
    sys.argv, sys.path[0] = [""], ""
    script = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(sys.stdin.buffer.read(), "<stdin>", "exec"), vars(script))


def end_with(run: Callable[[], None]) -> NoReturn:
    """Run this and end as Python ends, but that nothing of all that was imported is taken apart."""
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
    """Fork for each request, until nobody can ask any more; tell of each run its process id and its exit status.

    It returns in each fork, with the request and the run's streams, and None at the end.
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
                    with contextlib.suppress(OSError), answers:  # nobody may wait for it
                        answers.send(str(os.waitstatus_to_exitcode(status)).encode())
                    continue
                request, handles, _flags, _address = socket.recv_fds(requests, LONGEST, 4)
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which then end us
    requests, env = socket.socket(fileno=int(handle)), dict(os.environ)
    if kind == "programs":
        modules = ForkServer("modules", sys.executable, env)  # it ends when none of our runs can ask it any more
        program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
        sys.argv, sys.path[0] = [program], os.path.dirname(program)
        import_all()
        fork_modules(modules)
    else:
        import_libraries()
    gc.collect()
    gc.freeze()  # or each run would copy all of it
    forked = serve(requests)
    if forked is None:
        return
    request, streams = forked

    def run() -> None:
        take_place(request["cwd"], request["env"], streams)
        if kind == "programs":
            run_program(request["command"], env["ANSIBLE_HOME"])
        else:
            run_module(request["command"])

    end_with(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
