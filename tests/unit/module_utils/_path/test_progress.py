# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""progress: a line on the work on many items."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.progress import Counter


def test_what_is_done_failed_and_under_way_is_counted() -> None:
    lines: list[str] = []
    with Counter(lines.append, 5, "ready", failed=1, seconds=600) as counter:
        assert counter.line == "0/5 ready, 1 failed, 0 pending"
        with counter.count_one(), counter.count_one():
            assert counter.line == "0/5 ready, 1 failed, 2 pending"
        with pytest.raises(ValueError, match="no room"), counter.count_one():
            raise ValueError("no room")
    # The last line is reported in any case, and once.
    assert lines == ["2/5 ready, 2 failed, 0 pending"]


def test_a_line_every_few_seconds_and_none_afterwards() -> None:
    lines: list[str] = []
    before, meanwhile, after = (f"{numbers} pending" for numbers in (
        "0/1 stopped, 0 failed, 0", "0/1 stopped, 0 failed, 1", "1/1 stopped, 0 failed, 0"
    ))  # fmt: skip
    third = threading.Event()

    def report(line: str) -> None:
        lines.append(line)
        if lines.count(meanwhile) == 3:
            third.set()

    with Counter(report, 1, "stopped", seconds=0.01) as counter, counter.count_one():
        assert third.wait(60)
    # The number of lines before the work starts and after it has ended depends on the machine.
    assert lines == sorted(lines, key=[before, meanwhile, after].index)
    assert lines[-1] == after
    assert not counter._thread.is_alive()
