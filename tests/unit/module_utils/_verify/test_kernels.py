# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_verify.kernels: the counters of kills, and what is kept of an output."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.kernels import (
    _COUNT_KILLS,
    LONGEST_TEXT,
    has_more_kills,
    parse_counts,
    shorten_error,
    shorten_output,
)

CGROUP = "/proc/self/cgroup"
V1_COUNTER = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"
V2_COUNTER = "low 0\nhigh 0\nmax 7\noom 3\noom_kill 3\noom_group_kill 0\n"


def count_kills(files: dict[str, str], wanted: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the code of `_COUNT_KILLS` where these are all files."""
    monkeypatch.setattr(os.path, "exists", files.__contains__)

    def open_file(name: str) -> io.StringIO:
        if name not in files:
            raise FileNotFoundError(name)
        return io.StringIO(files[name])

    names: dict[str, Any] = {"open": open_file}
    exec(_COUNT_KILLS, names)
    return names["count_kills"](wanted)


@pytest.mark.parametrize(
    ("groups", "counter", "text", "count"),
    [
        ("4:cpu:/a\n3:memory:/a/b\n0::/a\n", "/sys/fs/cgroup/memory/a/b/memory.oom_control", V1_COUNTER, 2),
        ("3:memory:/docker/of-the-host\n", "/sys/fs/cgroup/memory/memory.oom_control", V1_COUNTER, 2),
        ("3:cpu,memory:/a\n", "/sys/fs/cgroup/memory/a/memory.oom_control", V1_COUNTER, 2),
        ("0::/user.slice/a\n", "/sys/fs/cgroup/user.slice/a/memory.events", V2_COUNTER, 3),
        ("0::/\n", "/sys/fs/cgroup/memory.events", V2_COUNTER, 3),
    ],
)
def test_the_counter_of_a_kernel_s_own_group(
    groups: str, counter: str, text: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {CGROUP: groups, counter: text}
    assert count_kills(files, None, monkeypatch) == {counter: count}
    assert count_kills(files, [counter], monkeypatch) == {counter: count}


def test_a_group_above_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    inner, above = "/sys/fs/cgroup/a/b/memory.events", "/sys/fs/cgroup/a/memory.events"
    files = {CGROUP: "0::/a/b\n", inner: "oom_kill 0\n", above: "oom_kill 9\n"}
    assert count_kills(files, None, monkeypatch) == {inner: 0}


def test_a_system_without_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_kills({CGROUP: "0::/\n5:devices:/a\n"}, None, monkeypatch) == {}
    with pytest.raises(FileNotFoundError):
        count_kills({CGROUP: "0::/\n"}, ["/gone"], monkeypatch)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("{'/a': 1, '/b': 0}", {"/a": 1, "/b": 0}),
        ("{'/a': 'x', 3: 4}", {}),
        (None, {}),
        ("", {}),
        ("[1]", {}),
        ("{[]: 1}", {}),
        ("__import__('os').getpid()", {}),
        ("(" * 9_000, {}),
        ("-" * 9_000 + "1", {}),
        ("{'/a': " + "1" * 9_000 + "}", {}),
        ("{'/a': 1}" + " " * 100_000, {}),
        ("\x00", {}),
    ],
)
def test_counters_in_a_kernel_s_answer(text: str | None, counts: dict[str, int]) -> None:
    assert parse_counts(text) == counts


@pytest.mark.parametrize(
    ("before", "after", "has_more"),
    [
        ({"a": 0}, {"a": 1}, True),
        ({"a": 1}, {"a": 1}, False),
        ({"a": 1}, {}, False),
        ({}, {"a": 1}, False),
        ({"a": 1, "b": 0}, {"a": 0, "b": 2}, True),
    ],
)
def test_only_a_counter_that_has_grown_is_certain(
    before: dict[str, int], after: dict[str, int], has_more: bool
) -> None:
    assert has_more_kills(before, after) is has_more


def test_the_ends_of_long_texts_are_kept() -> None:
    long = "x" * LONGEST_TEXT + "end"
    error = {"ename": long, "evalue": long, "traceback": ["first", *["y" * 4_000] * 3, "last"]}
    kept = shorten_output({"stdout": long, "stderr": "e", "result": None, "error": error, "truncated": False})
    assert set(kept) == {"stdout", "stderr", "result", "error"}
    assert (len(kept["stdout"]), kept["stdout"][-3:], kept["stderr"], kept["result"]) == (10_000, "end", "e", None)
    assert {len(kept["error"][key]) for key in ("ename", "evalue")} == {10_000}
    traceback = kept["error"]["traceback"]
    assert (traceback[-1], sum(map(len, traceback)), "first" in traceback) == ("last", 10_000, False)
    assert shorten_error({"ename": "E", "evalue": "", "traceback": []})["traceback"] == []
