# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an interrupted verification undoes, and the signals that interrupt it, in processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Conflict, NotFound
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.interruption import LeftOvers, interruptible

LONG = 60.0
"""Seconds that nothing here takes."""


# LeftOvers


def test_only_what_is_held_is_undone() -> None:
    left, undone = LeftOvers(), list[str]()
    with left.hold(lambda: undone.append("over")):
        pass
    with left.hold(lambda: undone.append("outer")), left.hold(lambda: undone.append("inner")):
        left.undo_all(LONG)
        assert sorted(undone) == ["inner", "outer"]
    left.undo_all(LONG)
    assert len(undone) == 2


def test_one_that_fails_or_hangs_keeps_no_other_from_its_end() -> None:
    left, undone, end = LeftOvers(), list[str](), threading.Event()

    def fail() -> None:
        raise NotFound("It is gone.", "Look.")

    with left.hold(fail), left.hold(lambda: end.wait(LONG)), left.hold(lambda: undone.append("this")):
        left.undo_all(0.5)
    end.set()
    assert undone == ["this"]


def test_nothing_is_started_after_an_interruption() -> None:
    left, started = LeftOvers(), list[str]()
    left.undo_all(LONG)
    with pytest.raises(Conflict, match="interrupted"), left.hold(lambda: None):
        started.append("a server")
    with pytest.raises(Conflict, match="interrupted"), left.hold_started(lambda: started.append("a kernel"), print):
        started.append("a block")
    assert started == []


def test_what_is_still_starting_is_ended_when_it_has_started() -> None:
    left, may_start, has_begun, ended = LeftOvers(), threading.Event(), threading.Event(), list[str]()

    def start() -> str:
        has_begun.set()
        assert may_start.wait(LONG)
        return "terminal 7"

    def work() -> None:
        with left.hold_started(start, ended.append):
            assert has_ended.wait(LONG)

    has_ended = threading.Event()
    worker = threading.Thread(target=work)
    worker.start()
    assert has_begun.wait(LONG)
    undoing = threading.Thread(target=left.undo_all, args=(LONG,))
    undoing.start()
    assert ended == []
    may_start.set()
    undoing.join(LONG)
    assert ended == ["terminal 7"]
    has_ended.set()
    worker.join(LONG)


def test_what_has_not_started_is_not_ended() -> None:
    left, ended = LeftOvers(), list[str]()

    def start() -> str:
        raise NotFound("There are no terminals.", "Turn them on.")

    with pytest.raises(NotFound), left.hold_started(start, ended.append):
        raise AssertionError
    with left.hold_started(lambda: "terminal 8", ended.append) as name:
        assert name == "terminal 8"
    left.undo_all(LONG)
    assert ended == []


# Signals

PROGRAM = """
import os, signal, sys, threading, time
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.interruption import interruptible

def clean_up():
    print("cleaning", flush=True)
    sys.stdin.readline()
    print("clean", flush=True)

{before}
try:
    with interruptible(clean_up, {parent}):
        print("working", flush=True)
        {work}
finally:
    print("over", flush=True)
print("went on", flush=True)
"""
SLEEP = f"time.sleep({LONG})"
PARENT = "os.getppid()"


@contextlib.contextmanager
def process(work: str = SLEEP, before: str = "", parent: str = PARENT) -> Iterator[subprocess.Popen[str]]:
    """A process that works within the block, and cleans up until it gets a line."""
    code = PROGRAM.format(work=work, before=before, parent=parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as started:  # fmt: skip
        try:
            yield started
        finally:
            started.kill()


def read_line(started: subprocess.Popen[str]) -> str:
    assert started.stdout
    return started.stdout.readline().strip()


def finish(started: subprocess.Popen[str]) -> tuple[list[str], int]:
    """Let it clean up. Return its last lines and its status."""
    output, _errors = started.communicate("\n", timeout=LONG)
    return output.split("\n")[:-1], started.returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_process_after_the_clean_up_whatever_comes_meanwhile(number: signal.Signals) -> None:
    # Whoever runs the tests may ignore some of the signals, as nohup does.
    before = "for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(each, signal.SIG_DFL)"
    with process(before=before) as started:
        assert read_line(started) == "working"
        started.send_signal(number)
        assert read_line(started) == "cleaning"
        for further in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            started.send_signal(further)
        lines, status = finish(started)
    assert (lines, status) == (["clean"], -number)


def test_the_handler_from_before_gets_the_signal_in_the_end() -> None:
    with process(before="signal.signal(signal.SIGTERM, lambda *_: (print('handled', flush=True), os._exit(7)))") as it:
        assert read_line(it) == "working"
        it.send_signal(signal.SIGTERM)
        assert read_line(it) == "cleaning"
        assert finish(it) == (["clean", "handled"], 7)


def test_the_alarm_of_the_tasks_timeout() -> None:
    """Ansible raises an exception at the alarm, and turns it into the task's failure."""
    before = "def stop(*_): raise TimeoutError\nsignal.signal(signal.SIGALRM, stop)"
    with process(before=before, work=f"signal.setitimer(signal.ITIMER_REAL, 0.01); {SLEEP}") as started:
        assert read_line(started) == "working"
        assert read_line(started) == "cleaning"
        started.send_signal(signal.SIGTERM)
        started.send_signal(signal.SIGALRM)
        assert finish(started) == (["clean", "over"], 1)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """nohup ignores SIGHUP."""
    with process(before="signal.signal(signal.SIGHUP, signal.SIG_IGN)", work="sys.stdin.readline()") as started:
        assert read_line(started) == "working"
        started.send_signal(signal.SIGHUP)
        assert finish(started) == (["over", "went on"], 0)


def test_a_process_whose_parent_has_ended_before() -> None:
    with process(parent="1 << 30") as started:
        assert finish(started) == ([], -signal.SIGTERM)


def test_a_process_whose_parent_ends_meanwhile() -> None:
    before = """
reader, writer = os.pipe()
if os.fork():
    sys.stdin.close()
    os.read(reader, 1)
    os._exit(0)
"""
    with process(before=before, work=f"os.write(writer, b'.'); {SLEEP}") as started:
        assert read_line(started) == "working"
        assert read_line(started) == "cleaning"
        lines, _status = finish(started)
    assert lines == ["clean"]


def test_a_block_that_ends_by_itself_needs_no_clean_up_and_restores_the_handlers() -> None:
    before, cleaned = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}, list[str]()
    with interruptible(lambda: cleaned.append("all"), os.getppid()):
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in before} == before
    assert cleaned == []


def test_a_thread_is_not_interrupted_but_cleans_up_after_an_exception() -> None:
    cleaned: list[str] = []

    def work() -> None:
        with contextlib.suppress(KeyError), interruptible(lambda: cleaned.append("all"), 0):
            raise KeyError

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(LONG)
    assert cleaned == ["all"]
