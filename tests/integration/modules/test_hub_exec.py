# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from support.runner import Runner, assert_failed

USER = "coder"


@pytest.fixture
def coder(real: Runner) -> Runner:
    """A hub on which the server of the user `coder` runs, for all tests."""
    if real.api_request("GET", f"users/{USER}").status_code == 404:
        assert real.api_request("POST", f"users/{USER}").status_code == 201
    if not real.servers(USER):
        assert real("hub_server", user=USER)["changed"] is True
    return real


def kernels(runner: Runner) -> list[dict[str, Any]]:
    return requests.get(f"{runner.hub.url}user/{USER}/api/kernels", headers=runner.hub.headers, timeout=60).json()


def execute(runner: Runner, *codes: str, **options: Any) -> list[dict[str, Any]]:
    """Run each code, and check that no kernel is left. After a timeout the kernel may still be ending."""
    results = runner.run([runner.task("hub_exec", user=USER, code=code, **options) for code in codes]).results
    while "timeout" in options and kernels(runner):
        time.sleep(0.2)
    assert kernels(runner) == []
    for result in results:
        assert {"stdout", "stdout_lines", "stderr", "stderr_lines", "result", "error", "seconds"} <= set(result)
    return results


@pytest.mark.doors
def test_output_of_code(coder: Runner) -> None:
    plain, silent, unicode, delayed = execute(
        coder,
        "import sys; print('out'); print('more'); print('err', file=sys.stderr)\n6 * 7",
        "x = 1",
        "print('ä€😀'); 'naïve'",
        "import threading, time\nfor n in range(3):\n    print(n, flush=True); time.sleep(.2)\nNone",
    )
    assert (plain["failed"], plain["changed"], plain["result"], plain["error"]) == (False, True, "42", None)
    assert (plain["stdout"], plain["stdout_lines"]) == ("out\nmore\n", ["out", "more"])
    assert (plain["stderr"], plain["stderr_lines"]) == ("err\n", ["err"])
    assert plain["actions"][0]["verb"] == "execute"
    assert plain["seconds"] > 0
    assert (silent["stdout"], silent["stderr"], silent["result"]) == ("", "", None)
    assert (unicode["stdout"], unicode["result"]) == ("ä€😀\n", "'naïve'")
    assert delayed["stdout_lines"] == ["0", "1", "2"]


@pytest.mark.doors
def test_code_that_fails(coder: Runner) -> None:
    raised, wrong, exited, asked = execute(
        coder,
        "print('so far')\nimport sys; print('alas', file=sys.stderr)\nimport no_such_module",
        "this is no Python",
        "import sys; sys.exit(3)",
        "input('who is there? ')",
    )
    assert_failed(raised, "invalid", "ModuleNotFoundError", "no_such_module", "error.traceback")
    assert (raised["stdout"], raised["stderr"]) == ("so far\n", "alas\n")
    assert set(raised["error"]) == {"ename", "evalue", "traceback"}
    assert raised["error"]["ename"] == "ModuleNotFoundError"
    assert "no_such_module" in "".join(raised["error"]["traceback"])
    assert "\x1b" not in str(raised["error"])
    assert_failed(wrong, "invalid", "SyntaxError")
    assert_failed(exited, "invalid", "SystemExit: 3")
    assert_failed(asked, "invalid", "StdinNotImplementedError")


def test_code_that_does_not_end(coder: Runner) -> None:
    (result,) = execute(coder, "print('so far', flush=True)\nimport time; time.sleep(600)", timeout="12s")
    assert_failed(result, "timeout", "12 s", "timeout")
    assert result["stdout"] == "so far\n"
    assert result["seconds"] < 120


@pytest.mark.doors
def test_a_kernel_that_dies(coder: Runner) -> None:
    # The pause lets the kernel send its output, which it does five times a second.
    (result,) = execute(coder, "print('so far', flush=True)\nimport os, time; time.sleep(1); os.kill(os.getpid(), 9)")
    assert_failed(result, "kernel_failed", "died")
    assert result["stdout"] == "so far\n"


def test_a_kernel_that_dies_at_once(coder: Runner) -> None:
    """It has no time to say that it has begun."""
    (result,) = execute(coder, "import os; os._exit(1)")
    assert_failed(result, "kernel_failed", "before the code ended")


def test_a_lot_of_output(coder: Runner) -> None:
    line = "0123456789" * 10
    # In one piece, which is quick also on a slow machine.
    lots, too_much = execute(coder, f"for n in range(20_000): print('{line}')", f"print('{line}' * 80_000)")
    assert len(lots["stdout"]) == 20_000 * (len(line) + 1)
    assert set(lots["stdout_lines"]) == {line}
    # A server passes 3 MB in 3 s on, and then says that it drops output.
    assert "IOPub data rate exceeded" in too_much["stderr"]


def test_two_tasks_at_the_same_time(coder: Runner) -> None:
    codes = [f"import time; time.sleep(1); print('{name}')" for name in ("one", "two")]
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(coder, "hub_exec", user=USER, code=code) for code in codes]
        results = [answer.result() for answer in answers]
    assert [(result["stdout"], result.get("msg")) for result in results] == [("one\n", None), ("two\n", None)]
    assert kernels(coder) == []


@pytest.mark.doors
def test_check_mode_runs_nothing(coder: Runner) -> None:
    mark = f"/tmp/of-{coder.door}"
    result = coder.check("hub_exec", user=USER, code=f"import os; os.environ['MARK'] = {mark!r}; print('ran')")
    assert (result["failed"], result["changed"], result["stdout"]) == (False, True, "")
    assert result["actions"][0]["verb"] == "execute"
    assert kernels(coder) == []


def test_no_running_server(coder: Runner) -> None:
    stopped, named, nobody, checked = coder.run(
        [
            coder.task("hub_exec", user=coder.new_user(), code="1"),
            coder.task("hub_exec", user=USER, server_name="never-was", code="1"),
            coder.task("hub_exec", user="nobody-of-that-name", code="1"),
            coder.task("hub_exec", {"check_mode": True}, user=USER, server_name="never-was", code="1"),
        ]
    ).results
    assert_failed(stopped, "conflict", "hub_server")
    assert_failed(named, "conflict", "never-was")
    assert_failed(nobody, "not_found", "nobody-of-that-name")
    # In check mode an earlier task has not started the server, so this task must not fail.
    assert (checked.get("failed", False), checked["changed"], checked["stdout"]) == (False, True, "")


def test_scopes(coder: Runner) -> None:
    least = coder.with_token(coder.mint(USER, "read:servers!user", "access:servers!user"))
    without_access = coder.with_token(coder.mint(USER, "read:servers!user", "start:servers!user"))
    other_user = coder.new_user(admin=True)
    filtered = coder.with_token(
        coder.mint(other_user, "read:servers", f"access:servers!user={other_user}", "read:users:name")
    )
    enough, lacking, other = coder.run(
        [each.task("hub_exec", user=USER, code="1 + 1") for each in (least, without_access, filtered)]
    ).results
    assert enough["result"] == "2"
    assert_failed(lacking, "missing_scope", "'access:servers'")
    assert_failed(other, "missing_scope", "access:servers")
    assert kernels(coder) == []


def test_a_server_without_kernels(light: Runner) -> None:
    # A light server answers every request with a JSON object, so it is not Jupyter.
    user = light.new_user()
    light.api_request("POST", f"users/{user}/server")
    result = light("hub_exec", user=user, code="1", timeout="5s")
    assert result["failed"] is True
    assert set(result["failure"]) >= {"code", "hint"}
    assert "exception" not in result or "Traceback" not in str(result["exception"])
