# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tokens cost: `hub_token` with one account, with ten accounts, in ten calls of a loop, and `ansible.builtin.uri`.

All sides run in turn, against the same hub. The ratios count. `make bench` prints the table.
"""

from __future__ import annotations

import itertools
import re
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
from calls import loop_seconds
from support.hubs import Hub, running_hub

ROUNDS, ACCOUNTS = 5, 10
SCOPES = ["read:users:name!user", "read:tokens!user"]
API = "{{ lookup('env', 'JUPYTERHUB_URL') }}hub/api"
ADMIN = "{{ lookup('env', 'JUPYTERHUB_API_TOKEN') }}"
# Only the requests of the sides: those that recreate the users may be logged a moment late.
REQUEST = re.compile(
    r"^\[I (\S+ \S+) JupyterHub log:\d+\] \d+ \w+ /hub/api/(?:user|users/\w+/tokens\S*)? \(\S+\) ([\d.]+)ms$",
    re.MULTILINE,
)
_marks = itertools.count(1)


@dataclass(frozen=True)
class Side:
    """A way that is compared. A job is ``calls`` calls for ``accounts`` accounts each; a run does ``jobs`` of them."""

    name: str
    jobs: int
    calls: int = 1
    accounts: int = 1
    uri: bool = False


SIDES = [
    Side("hub_token, one account", jobs=30),
    Side("hub_token, ten accounts", jobs=10, accounts=ACCOUNTS),
    Side("hub_token, ten calls in a loop", jobs=3, calls=ACCOUNTS),
    Side("uri, ten calls in a loop", jobs=1, calls=ACCOUNTS, uri=True),
]


def mint_task(side: Side, folder: Path) -> dict[str, Any]:
    """A task that mints a new token in each call. `hub_token` also proves it and keeps it in a file; `uri` does not."""
    note = f"{next(_marks)}-{{{{ item if {side.accounts} > 1 else item // {ACCOUNTS} }}}}"
    if not side.uri:
        return hub_token(side, "mint", note, folder)
    body = {"note": note, "scopes": SCOPES}
    return uri(f"users/mint{{{{ item % {ACCOUNTS} }}}}/tokens", ADMIN, method="POST", body=body, status_code=201)


def prove_task(side: Side, folder: Path) -> dict[str, Any]:
    """A task that proves the kept tokens."""
    if not side.uri:
        return hub_token(side, "prove", "kept", folder)
    return uri("user", f"{{{{ lookup('file', '{folder}/kept-prove' ~ item % {ACCOUNTS}) }}}}")


def hub_token(side: Side, name: str, note: str, folder: Path) -> dict[str, Any]:
    numbers = range(ACCOUNTS) if side.accounts > 1 else [f"{{{{ item % {ACCOUNTS} }}}}"]
    tokens = [{"user": f"{name}{number}", "path": f"{folder}/{note}-{name}{number}"} for number in numbers]
    options = {"tokens": tokens} if side.accounts > 1 else tokens[0]
    return {"hubops.jupyterhub.hub_token": {"note": note, "scopes": SCOPES, **options}}


def uri(path: str, token: str, **more: Any) -> dict[str, Any]:
    headers = {"Authorization": f"token {token}"}
    return {"ansible.builtin.uri": {"url": f"{API}/{path}", "headers": headers, "body_format": "json", **more}}


def recreate_users(hub: Hub, name: str) -> None:
    for number, method in itertools.product(range(ACCOUNTS), (requests.delete, requests.post)):
        method(f"{hub.api}/users/{name}{number}", headers=hub.headers, timeout=60)


@dataclass(frozen=True)
class Cost:
    """What a job costs: its seconds, the seconds in which the hub worked on its requests, and their number."""

    seconds: float
    hub: float
    requests: float

    @property
    def rest(self) -> float:
        return self.seconds - self.hub


def hub_time(log: str) -> tuple[float, int]:
    """The seconds in which the hub worked on requests, and the number of requests, by its log.

    The log has the end of each request and how long it took. The hub works on one request at a time, so the time in
    which a request waits for another one counts only once.
    """
    total = wait_until = 0.0
    ends = [(datetime.fromisoformat(stamp).timestamp(), float(took) / 1000) for stamp, took in REQUEST.findall(log)]
    for begin, end in sorted((end - took, end) for end, took in ends):
        total += max(0.0, end - max(begin, wait_until))
        wait_until = max(wait_until, end)
    return total, len(ends)


def measure_cost(hub: Hub, folder: Path, side: Side, task: Callable[[Side, Path], dict[str, Any]]) -> Cost:
    """Both runs have the start of Ansible. The difference is the jobs after the first call."""
    runs = []
    for calls in (1, 1 + side.jobs * side.calls):
        recreate_users(hub, "mint")
        position = hub.log.stat().st_size
        took = loop_seconds(hub, folder, "controller", task(side, folder / "kept"), calls)
        runs.append((took, *hub_time(hub.log.read_text()[position:])))
    return Cost(*((many - one) / side.jobs for one, many in zip(*runs, strict=True)))


def main() -> None:
    jobs = {"mint": mint_task, "prove": prove_task}
    costs: dict[tuple[str, Side], list[Cost]] = {(job, side): [] for job in jobs for side in SIDES}
    with tempfile.TemporaryDirectory() as name, running_hub(Path(name)) as hub:
        recreate_users(hub, "prove")
        loop_seconds(hub, Path(name), "controller", prove_task(SIDES[1], Path(name) / "kept"), 1)
        for _round in range(ROUNDS):
            for (job, task), side in itertools.product(jobs.items(), SIDES):
                costs[job, side].append(measure_cost(hub, Path(name), side, task))
    print(f"Tokens, median of {ROUNDS} rounds. The hub's time is that in which it worked on a request, by its log.\n")
    print(f"| {'':5} | {'side':30} | ms a job | the hub's | the rest | times the first | requests |")
    print(f"| {'-' * 5} | {'-' * 30} | -------: | --------: | -------: | --------------: | -------: |")
    for job, side in itertools.product(jobs, SIDES):
        took, share, rest = (median(costs[job, side], what) * 1000 for what in ("seconds", "hub", "rest"))
        times, sent = rest / 1000 / median(costs[job, SIDES[0]], "rest"), median(costs[job, side], "requests")
        row = f"{took:8.0f} | {share:9.0f} | {rest:8.0f} | {times:15.1f} | {sent:8.0f}"
        print(f"| {job:5} | {side.name:30} | {row} |")
    print()
    for job in jobs:
        one, ten = (costs[job, side] for side in SIDES[:2])
        more = median(ten, "hub") - median(one, "hub")
        times = median(ten, "seconds") / (median(one, "seconds") + more)
        print(f"To {job} ten in one call takes {times:.2f} times what one takes and the hub needs for the other nine.")


def median(found: list[Cost], what: str) -> float:
    return statistics.median(getattr(each, what) for each in found)


if __name__ == "__main__":
    main()
