# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proofs of `hub_verify` that run code: snippets, notebooks and the websocket, in real servers' kernels."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec.failures import get_cause
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    KernelFailed,
    Timeout,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.code import Snippet, prove_code
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.expect import Expectation
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.kernels import run_code
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.notebook import (
    NotebookRun,
    parse_notebook,
    prove_notebooks,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.phases import Finding
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.running_server import RunningServer
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.websocket_proof import (
    MESSAGE_BYTES,
    prove_websocket,
)
from support.fakes.cutting_proxy import cutting_proxy
from support.fakes.tunnel import Traffic, tunnel
from support.hubs import Hub
from support.runner import Runner

USER, SMALL = "prover", "small-messages"
CONFIG = {
    USER: "",
    # The server itself refuses large messages, as a proxy with such a limit does.
    SMALL: 'c.ServerApp.tornado_settings = {"websocket_max_message_size": 1_000_000}\n',
}
ECHO_KERNEL = """
import sys
from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel

class Echo(Kernel):
    implementation, implementation_version, banner = "echo", "1", "echo"
    language_info = {"name": "echo", "mimetype": "text/plain", "file_extension": ".txt"}

    def do_execute(self, code, silent, store_history=True, user_expressions=None, allow_stdin=False, **more):
        if code == "die":
            import os
            os._exit(1)
        if code == "fail":
            error = {"ename": "Failure", "evalue": "as asked", "traceback": ["somewhere"]}
            self.send_response(self.iopub_socket, "error", error)
            return {"status": "error", "execution_count": self.execution_count, **error}
        self.send_response(self.iopub_socket, "stream", {"name": "stdout", "text": code})
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": {}}

IPKernelApp.launch_instance(argv=["-f", sys.argv[1]], kernel_class=Echo)
"""
PYTHON = ["python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
EXHAUST = "blocks = []\nwhile True:\n    blocks.append(bytearray(b'x' * 10_000_000))"


@pytest.fixture(scope="module")
def hub(real_hub: Hub) -> Hub:
    """A hub on which the servers of all these users run."""
    runner = Runner("program", real_hub)
    for user, config in CONFIG.items():
        home = real_hub.state / "homes" / user
        (home / ".jupyter").mkdir(parents=True)
        (home / ".jupyter" / "jupyter_server_config.py").write_text(f"c = get_config()\n{config}")
        assert runner.api_request("POST", f"users/{user}").status_code == 201
    add_spec(real_hub, "echo", ["python3", "-c", ECHO_KERNEL, "{connection_file}"])
    add_spec(real_hub, "hangs", ["/bin/sh", "-c", "exec sleep 600"])
    add_spec(real_hub, "ends", ["/bin/false", "{connection_file}"])
    result = runner("hub_server", servers=[{"user": user} for user in CONFIG], concurrency=2)
    assert not result["failed"], result["msg"]
    return real_hub


def add_spec(hub: Hub, name: str, command: list[str]) -> None:
    folder = hub.state / "homes" / USER / ".local" / "share" / "jupyter" / "kernels" / name
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({"argv": command, "display_name": name, "language": "x"}))


@contextlib.contextmanager
def server_of(hub: Hub, user: str = USER, url: str = "", timeout: float = 120.0) -> Iterator[RunningServer]:
    """The user's server, reached through the hub at this address. Checks that no kernel is left."""
    hub_url = url or hub.url
    try:
        with HubClient(Connection(hub_url, hub.admin_token)) as client:
            yield RunningServer(client, f"{hub_url}user/{user}/", f"server of user '{user}'", user, timeout)
    finally:
        kernels = f"{hub.url}user/{user}/api/kernels"
        while requests.get(kernels, headers=hub.headers, timeout=120).json():
            time.sleep(0.2)  # after a timeout the kernel may still be ending


@pytest.fixture
def server(hub: Hub) -> Iterator[RunningServer]:
    with server_of(hub) as server:
        yield server


def snippet(code: str, timeout: float = 120.0, kernel_name: str = "", **expected: dict[str, str]) -> Snippet:
    none = dict.fromkeys(("equals", "contains", "matches"))
    expect = Expectation.from_options({name: {**none, **wanted} for name, wanted in expected.items()}, "expect")
    return Snippet(code, expect, timeout, kernel_name)


def fail_code(server: RunningServer, *snippets: Snippet) -> tuple[HubError, list[dict[str, Any]]]:
    """Run snippets of which the last one fails, and return the failure and the details."""
    finding = Finding()
    with pytest.raises(HubError) as error:
        prove_code(server, snippets, finding)
    entries = finding.details["snippets"]
    assert get_cause(error.value) == entries[-1]["reason"]
    assert set(entries[-1]) == {"kernel_name", "seconds", "stdout", "stderr", "result", "error", "reason"}
    return error.value, entries


def test_code_that_writes_what_is_expected(server: RunningServer) -> None:
    finding = Finding()
    snippets = [
        snippet("print('hello')\n6 * 7", result={"equals": "42"}, output={"matches": r"^hello\n42$"}),
        snippet("import sys; print('alas', file=sys.stderr)", stderr={"contains": "alas"}, stdout={"equals": ""}),
        snippet("say this", kernel_name="echo", output={"equals": "say this"}),
    ]
    prove_code(server, snippets, finding)
    assert finding.message == "All 3 snippets wrote what was expected."
    first, second, third = finding.details["snippets"]
    assert (first["stdout"], first["result"], first["error"], first["reason"]) == ("hello\n", "42", None, None)
    assert (first["kernel_name"], second["stderr"], third["kernel_name"]) == ("python3", "alas\n", "echo")
    assert first["seconds"] > 0


def test_code_leaves_no_name_of_ours_in_its_kernel(server: RunningServer) -> None:
    output = run_code(server, "sorted(name for name in dir() if not name.startswith('_'))", "", 120.0)
    assert output.result == "['In', 'Out', 'exit', 'get_ipython', 'open', 'quit']"


def test_the_first_snippet_that_fails_ends_the_phase(server: RunningServer) -> None:
    error, entries = fail_code(server, snippet("1"), snippet("print('so far'); no_such_name"), snippet("2"))
    assert "Snippet 2 of 3: The code raised NameError" in error.message
    assert [entry["reason"] for entry in entries] == [None, "exception"]
    assert (entries[1]["stdout"], entries[1]["error"]["ename"]) == ("so far\n", "NameError")


def test_wrong_output_is_shown(server: RunningServer) -> None:
    error, [entry] = fail_code(server, snippet("'x' * 20_000 + 'end'", result={"equals": "42"}))
    assert "result is ''xxx" in error.message
    assert "expected was '42'" in error.message
    assert (len(entry["result"]), entry["result"][-4:], entry["reason"]) == (10_000, "end'", "wrong_output")


def test_output_that_the_server_dropped_is_told(server: RunningServer) -> None:
    error, _entries = fail_code(server, snippet("print('x' * 8_000_000 + 'end')", stdout={"contains": "end"}))
    assert "dropped output" in error.hint


@pytest.mark.parametrize(
    ("code", "kernel_name", "timeout", "reason", "words"),
    [
        ("import os; os._exit(1)", "", 120, "kernel_died", "died"),
        ("die", "echo", 120, "kernel_died", "died"),
        ("import time; time.sleep(600)", "", 10, "timeout", "did not end within 10 s"),
        ("1", "no-such", 120, "kernel_not_started", "has no kernel spec 'no-such'; it has "),
        ("1", "ends", 120, "kernel_not_started", "/bin/false"),
        ("1", "hangs", 20, "kernel_timeout", "hangs before it is ready"),
        ("fail", "echo", 120, "exception", "raised Failure: as asked"),
    ],
)
def test_each_failure_of_code_has_its_reason(
    code: str, kernel_name: str, timeout: float, reason: str, words: str, server: RunningServer
) -> None:
    error, [entry] = fail_code(server, snippet(code, timeout, kernel_name))
    assert entry["reason"] == reason
    assert words in error.message
    if reason == "kernel_died":
        assert "memory" in error.hint
    if kernel_name == "no-such":
        assert all(f"'{name}'" in error.message for name in ("python3", "echo", "hangs"))
        assert "kernel_name" in error.hint


def test_a_proxy_without_websockets_is_a_reason_of_its_own(hub: Hub) -> None:
    with cutting_proxy(hub.url) as proxy, server_of(hub, url=proxy.url) as server:
        error, [entry] = fail_code(server, snippet("1"))
    assert (entry["reason"], error.code) == ("websocket_refused", "hub_error")


@pytest.mark.skipif(not os.access(MEMORY_GROUPS, os.W_OK), reason="needs a memory controller that may be written")
def test_a_kernel_that_was_killed_for_memory(hub: Hub, tmp_path: Path) -> None:
    group = MEMORY_GROUPS / f"hubops-{os.getpid()}"
    group.mkdir()
    try:
        for limit in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
            if (group / limit).exists():  # the second one exists only where swap is accounted
                (group / limit).write_text("200M")
        into_group = f"echo $$ > {group}/cgroup.procs; exec {' '.join(PYTHON)}"
        add_spec(hub, "small", ["/bin/sh", "-c", into_group])
        for code, reason in ((EXHAUST, "out_of_memory"), ("import os; os._exit(1)", "kernel_died")):
            # The second kernel dies in a group whose counter is above zero.
            with server_of(hub) as server:
                error, [entry] = fail_code(server, snippet(code, kernel_name="small"))
            assert entry["reason"] == reason, error.message
            assert isinstance(error, KernelFailed)
        finding = Finding()
        with server_of(hub) as server, pytest.raises(KernelFailed, match=r"cell 2: .* memory ran out"):
            prove_notebooks(server, [notebook("x = 1", EXHAUST, kernel_name="small")], finding)
        assert finding.details["notebooks"][0]["reason"] == "out_of_memory"
    finally:
        while (group / "cgroup.procs").read_text():
            time.sleep(0.2)
        group.rmdir()


# Notebooks


def notebook(
    *cells: str | dict[str, Any], kernel_name: str = "", timeout: float = 120.0, cell_timeout: float = 60.0
) -> NotebookRun:
    """A notebook with these cells. A text is the source of a code cell."""
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    model = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": kernel_name}} if kernel_name else {},
        "cells": [{**code, "source": cell} if isinstance(cell, str) else {**code, **cell} for cell in cells],
    }
    return NotebookRun(parse_notebook(json.dumps(model), "a.ipynb"), timeout, cell_timeout)


def tagged(source: str, *tags: str) -> dict[str, Any]:
    return {"source": source, "metadata": {"tags": list(tags)}}


TEXT = {"cell_type": "markdown", "source": "# A title"}


def fail_notebook(server: RunningServer, run: NotebookRun) -> tuple[HubError, dict[str, Any]]:
    finding = Finding()
    with pytest.raises(HubError) as error:
        prove_notebooks(server, [run], finding)
    [entry] = finding.details["notebooks"]
    assert get_cause(error.value) == entry["reason"]
    return error.value, entry


def test_a_notebook_runs_in_one_kernel(server: RunningServer) -> None:
    finding = Finding()
    cells = ["x = 1", tagged("1 / 0", "raises-exception"), TEXT, tagged("1 / 0", "skip-execution"), "x += 1", "x", "",
             "assert _ == 2 and Out[4] == 2"]  # fmt: skip
    prove_notebooks(server, [notebook(*cells), notebook("say", kernel_name="echo")], finding)
    assert finding.message == "2 notebooks ran to the end (6 cells)."
    first, second = finding.details["notebooks"]
    assert (first["cells"], first["cells_run"], first["reason"], first["cell"]) == (5, 5, None, None)
    assert (first["path"], first["kernel_name"], second["kernel_name"]) == ("a.ipynb", "python3", "echo")


def test_the_failing_cell_and_its_line_are_told(server: RunningServer) -> None:
    helper = "def divide(n):\n    # of another cell\n    return 1 / n"
    run = notebook(TEXT, helper, "import json\nn = 0\n\nfor n in (1, 0):\n    divide(n)", "never = 1")
    error, entry = fail_notebook(server, run)
    assert (entry["cell"], entry["line"], entry["source"], entry["cells_run"]) == (3, 5, "divide(n)", 1)
    assert entry["error"]["ename"] == "ZeroDivisionError"
    assert "return 1 / n" in "\n".join(entry["error"]["traceback"])
    assert "Notebook 'a.ipynb', cell 3: The code raised ZeroDivisionError: division by zero." in error.message
    assert "Line 5 of the cell is 'divide(n)'." in error.message


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        ("x = 1\nx = = 2", 2, "x = = 2"),
        ("import json\njson.loads('{')", 2, "json.loads('{')"),
        ("%%bash\nexit 3", 1, "%%bash"),
        ("raise SystemExit(2)", 0, ""),  # IPython shows no line
    ],
)
def test_the_line_of_other_exceptions(source: str, line: int, text: str, server: RunningServer) -> None:
    _error, entry = fail_notebook(server, notebook("1", source))
    assert (entry["line"], entry["source"]) == (line, text), entry["error"]["traceback"]
    assert entry["reason"] == "exception"


def test_a_notebook_in_another_language_has_no_line(server: RunningServer) -> None:
    error, entry = fail_notebook(server, notebook("say", "fail", kernel_name="echo"))
    assert (entry["cell"], entry["line"], entry["source"], entry["reason"]) == (2, 0, "", "exception")
    assert "cell 2: The code raised Failure: as asked." in error.message


def test_the_limits_of_a_notebook(server: RunningServer) -> None:
    error, entry = fail_notebook(server, notebook("1", "import time\ntime.sleep(600)", cell_timeout=2.0))
    assert (entry["cell"], entry["reason"], isinstance(error, Timeout)) == (2, "timeout", True)
    assert "did not end within 2 s" in error.message
    assert "Give it longer with cell_timeout" in error.hint
    error, entry = fail_notebook(server, notebook("1", "import time\ntime.sleep(600)", timeout=15.0))
    assert (entry["cell"], entry["reason"]) == (2, "timeout")
    assert "did not end within 15 s" in error.message
    assert "Give it longer with timeout" in error.hint


def test_a_notebook_whose_kernel_dies_or_is_missing(server: RunningServer) -> None:
    error, entry = fail_notebook(server, notebook("1", TEXT, "import os; os._exit(1)"))
    assert (entry["cell"], entry["reason"], entry["cells_run"]) == (3, "kernel_died", 1)
    error, entry = fail_notebook(server, notebook("1", kernel_name="no-such"))
    assert (entry["cell"], entry["reason"]) == (None, "kernel_not_started")
    assert "Notebook 'a.ipynb': The server of user 'prover' has no kernel spec 'no-such'" in error.message


# The websocket


def test_a_large_message_and_an_idle_connection(server: RunningServer) -> None:
    finding = Finding()
    prove_websocket(server, 2.0, finding)
    assert "10 MB came through both ways, and the connection lived while it was idle for 2 s" in finding.message
    assert (finding.details["bytes"], finding.details["idle_seconds"]) == (MESSAGE_BYTES, 2.0)


def test_another_language_echoes_nothing(server: RunningServer) -> None:
    finding = Finding()
    prove_websocket(server, 0.0, finding, "echo")
    assert (finding.details["bytes"], len(finding.warnings)) == (0, 1)


def test_a_server_that_takes_only_small_messages(hub: Hub) -> None:
    with server_of(hub, SMALL) as server, pytest.raises(HubFailure, match="cut while a message of 10 MB was sent to"):
        prove_websocket(server, 1.0, Finding())


CUTS = [
    (lambda traffic: traffic.sent > MESSAGE_BYTES // 2, 5.0, "cut while a message of 10 MB was sent to"),
    (lambda traffic: traffic.received > MESSAGE_BYTES // 2, 5.0, "cut while a message of 10 MB came back from"),
    (lambda traffic: traffic.received > MESSAGE_BYTES and traffic.idle > 1, 600.0, "cut after it was idle for"),
]


@pytest.mark.parametrize(("must_cut", "idle_seconds", "words"), CUTS, ids=["there", "back", "idle"])
def test_a_proxy_that_cuts_websockets(must_cut: Any, idle_seconds: float, words: str, hub: Hub) -> None:
    finding = Finding()
    with (
        tunnel(hub.url, must_cut) as url,
        server_of(hub, url=url) as server,
        pytest.raises(HubFailure, match=words) as error,
    ):
        prove_websocket(server, idle_seconds, finding)
    if idle_seconds == 600:
        assert "(websocket_idle)" in error.value.message
        assert "proxy_read_timeout" in error.value.hint
        assert finding.details["bytes"] == MESSAGE_BYTES


@pytest.mark.parametrize("is_idle", [False, True])
def test_a_proxy_that_stops_to_pass_bytes_on(is_idle: bool, hub: Hub) -> None:
    """As a firewall does that forgets a connection."""
    ended, finding = threading.Event(), Finding()

    def hold(traffic: Traffic) -> bool:
        has_echo = finding.details.get("bytes") == MESSAGE_BYTES
        is_due = has_echo and traffic.received > MESSAGE_BYTES if is_idle else traffic.sent > MESSAGE_BYTES // 2
        return is_due and ended.wait(300)

    timeout = 30.0 if is_idle else 8.0  # seconds; a busy machine needs some of them for the echo
    words = "after that no answer came within 30 s" if is_idle else "10 MB did not arrive at the kernel within 8 s"
    with tunnel(hub.url, hold) as url, server_of(hub, url=url, timeout=timeout) as server:
        try:
            with pytest.raises(Timeout, match=words):
                prove_websocket(server, 2.0, finding)
        finally:
            ended.set()
    assert finding.details["bytes"] == (MESSAGE_BYTES if is_idle else 0)


def test_a_connection_that_is_cut_while_code_runs_is_no_dead_kernel(hub: Hub) -> None:
    def is_quiet(traffic: Traffic) -> bool:
        return traffic.idle > 3

    with tunnel(hub.url, is_quiet) as url, server_of(hub, url=url) as server:
        error, [entry] = fail_code(server, snippet("print('so far', flush=True)\nimport time; time.sleep(600)"))
    assert "connection to the kernel" in error.message
    assert "the kernel still ran" in error.message
    assert (entry["reason"], entry["stdout"]) == ("other", "so far\n")


def test_a_tunnel_that_cuts_nothing(hub: Hub) -> None:
    def never(traffic: Traffic) -> bool:
        return False

    with tunnel(hub.url, never) as url, server_of(hub, url=url) as server:
        assert run_code(server, "6 * 7", "", 120.0).result == "42"
