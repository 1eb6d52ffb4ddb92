# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's programs without their start: a process has Ansible and the collection imported, and forks for each run.

process = fork_server.start([bin / "ansible-playbook", "play.yml"], cwd, env, stdin, stdout, stderr)
process.pid, process.wait(), process.kill()

What comes after the imports is the program itself, run as its script says, with the arguments, the environment and the
folder of this run alone; tests/integration/test_fork_server.py compares it with a program that was started.

There is one such process for each Python and each set of Ansible's settings, since Ansible reads most of them while it
is imported. Those of `OWN` are set anew in each run.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path

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
    """The process that forks, for one Python and one set of settings."""

    def __init__(self, python: Path, settings: dict[str, str]) -> None:
        self._lock = threading.Lock()
        self._home = tempfile.TemporaryDirectory(prefix="hubops-fork-server-")
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._requests, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
        own = {"HOME": self._home.name, "PATH": os.defpath, "ANSIBLE_HOME": str(Path(self._home.name, "ansible"))}
        with theirs:
            self._process = subprocess.Popen(
                [python, __file__, str(theirs.fileno())], env=settings | own, cwd="/", pass_fds=[theirs.fileno()],
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
        self._home.cleanup()


_servers: dict[tuple[str, ...], ForkServer] = {}
_lock = threading.Lock()


def start(command: Sequence[str], cwd: Path, env: dict[str, str], streams: tuple[int, int, int]) -> Process:
    """Run one of Ansible's programs, named by its path, with exactly this environment and these streams (stdin, stdout,
    stderr)."""
    python = Path(command[0]).parent / "python"
    read_at_import = ("ANSIBLE_", "LANG", "LC_", "PYTHON")
    settings = {name: env[name] for name in sorted(env) if name.startswith(read_at_import) and name not in OWN}
    key = (str(python), *(f"{name}={value}" for name, value in settings.items()))
    with _lock:
        if key not in _servers:
            _servers[key] = ForkServer(python, settings)
        server = _servers[key]
    return server.start({"command": list(command), "cwd": str(cwd), "env": env}, streams)


def close_all() -> None:
    """End the processes that fork. Runs that they have forked go on."""
    with _lock:
        for server in _servers.values():
            server.close()
        _servers.clear()


# The process that forks. It has no more than Ansible's own environment has.


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
    collections = os.environ["ANSIBLE_COLLECTIONS_PATH"].partition(":")[0]
    for kind in ("action", "filter"):
        for file in sorted(Path(collections, *COLLECTION.split("."), "plugins", kind).glob("*.py")):
            importlib.import_module(f"{COLLECTION}.plugins.{kind}.{file.stem}")

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


def run(command: list[str], cwd: str, env: dict[str, str], streams: Sequence[int]) -> int:
    """In a process just forked: be the program."""
    from ansible import constants

    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    home = os.environ["ANSIBLE_HOME"]
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None
    sys.argv, sys.path[0] = command, os.path.dirname(command[0])
    set_own_settings(home)
    # What Ansible packs of a module, to send it to a host, is the same for all runs.
    packed, own = Path(home, "packed"), Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")
    share(packed, own)
    try:
        runpy.run_path(command[0], run_name="__main__")
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        share(own, packed)
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    return status


def serve(requests: socket.socket) -> None:
    """Fork for each request, until nobody can ask any more; tell of each run its process id and its exit status."""
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
                    return
                *streams, answer = handles
                pid = os.fork()
                if pid == 0:
                    status = 1
                    try:
                        os.close(answer)
                        for one in [*selector.get_map().values()]:
                            os.close(one.fd)
                            if one.data:
                                one.data[1].close()
                        selector.close()
                        status = run(**json.loads(request), streams=streams)
                    finally:
                        os._exit(status)
                answers = socket.socket(fileno=answer)
                answers.send(str(pid).encode())
                for stream in streams:
                    os.close(stream)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, answers))


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which then end us
    requests = socket.socket(fileno=int(sys.argv[1]))
    program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
    sys.argv, sys.path[0] = [program], os.path.dirname(program)
    import_all()
    gc.collect()
    gc.freeze()  # or each run would copy all of it
    serve(requests)


if __name__ == "__main__":
    main()
