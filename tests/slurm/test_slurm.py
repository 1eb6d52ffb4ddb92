# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that are jobs of a real Slurm: what hub_server says of them is held against what Slurm says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest
import requests
from slurm.cluster import USERS, Cluster
from support.doors import Runner, failed
from support.doors import until as until_within

SEED = {"reservation": [""], "account": ["test-group"], "runtime": ["00:05:00"]}
CLOSED = {"partition": ["closed"]}  # a job there waits in the queue
REFUSED = "sbatch: error: Batch job submission failed: Requested reservation is invalid"
VANISHED = "The Jupyter batch job has disappeared while pending in the queue or died immediately after starting"

_numbers = count(1)


def until(done: Callable[[], Any]) -> Any:
    """A job takes milliseconds to come or to go, and many seconds on a machine that is busy with other things."""
    return until_within(done, 180)


@dataclass(frozen=True)
class Server:
    """One server of the test's own, for which no hub remembers any options yet."""

    runner: Runner
    cluster: Cluster
    user: str
    name: str

    def task(self, **options: Any) -> dict[str, Any]:
        return self.runner.task("hub_server", user=self.user, server_name=self.name, **options)

    def __call__(self, **options: Any) -> dict[str, Any]:
        return self.runner.run([self.task(**options)]).results[0]

    def stop(self) -> dict[str, Any]:
        stopped = self(state="stopped")
        assert (item(stopped)["state"], stopped["changed"]) == ("stopped", True)
        assert not self.listed()
        return stopped

    @contextlib.contextmanager
    def waited_for(self, **options: Any) -> Iterator[Future[dict[str, Any]]]:
        """Somebody starts it and waits, while the block does something else."""
        with ThreadPoolExecutor() as pool:
            yield pool.submit(self, wait_timeout=300, **options)

    def listed(self) -> dict[str, Any] | None:
        """The hub's own picture, if the server runs or is about to."""
        return self.runner.servers(self.user).get(self.name)

    def job(self) -> dict[str, str]:
        """Slurm's picture of its job; the hub tells its admin which one that is."""
        return self.cluster.job(until(lambda: (self.listed() or {}).get("state", {}).get("job_id")))

    def finds(self, job: dict[str, str]) -> str:
        """What has become of a job. (A while after its end Slurm still clears it away.)"""
        return until(lambda: self.cluster.job(job["JobId"])["JobState"].replace("COMPLETING", ""))


@pytest.fixture(params=["program-6.1", "program-5.5"])
def server(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Server]:
    """On JupyterHub 6.1, where options travel wrapped, and on 5.5, where they are the whole body."""
    door, _dash, version = request.param.partition("-")
    runner = Runner(door, request.getfixturevalue(f"hub_{version.replace('.', '')}"))
    runner.api("POST", "users", {"usernames": USERS})
    yield Server(runner, cluster, "nobody", f"test{next(_numbers)}")
    # A test that failed leaves nothing to the next one.
    for user in USERS:
        for name in runner.servers(user):
            Server(replace(runner, door="program"), cluster, user, name)(state="stopped")
    try:
        until(lambda: cluster.queue() == [])
    finally:
        for job in cluster.queue():
            cluster.run("scancel", job)


# As users run it, for what this suite is there for first of all.
playbooks = pytest.mark.parametrize("server", ["controller-6.1", "module-6.1", "program-5.5"], indirect=True)


def item(result: dict[str, Any]) -> dict[str, Any]:
    assert result["failed"] is False, result["msg"]
    [found] = result["servers"]
    return found


@playbooks
def test_the_options_of_the_seed(server: Server) -> None:
    server = replace(server, name="")
    started, again = server.runner.run([server.task(user_options=SEED)] * 2).results
    assert (started["changed"], item(started)["state"], item(started)["reason"]) == (True, "ready", None)
    assert (again["changed"], item(again)["url"]) == (False, item(started)["url"])
    job = server.job()
    assert (job["Account"], job["TimeLimit"], job["Partition"]) == ("test-group", "00:05:00", "normal")
    assert (job["JobState"], job["UserId"].partition("(")[0]) == ("RUNNING", server.user)
    # It is that job which answers at the server's address.
    assert requests.get(item(started)["url"], timeout=120).json()["SLURM_JOB_ID"] == job["JobId"]
    # batchspawner's messages come without a number.
    told = {event["message"]: event["progress"] for event in item(started)["events"]}
    assert (told.pop("Server requested"), told.pop("Server ready at /user/nobody/")) == (0, 100)
    assert told.keys() <= {"Unknown status...", "Pending in queue...", "Cluster job running... waiting to connect"}
    assert set(told.values()) == {None}

    stopped, was_not = server.runner.run([server.task(state="stopped")] * 2).results
    assert (stopped["changed"], item(stopped)["state"]) == (True, "stopped")
    assert (was_not["changed"], item(was_not)["state"]) == (False, "stopped")
    assert server.listed() is None
    assert server.finds(job) == "CANCELLED"


def test_options_that_are_left_out_are_used_again(server: Server) -> None:
    seen = []
    for options in ({"user_options": SEED}, {}, {"user_options": {}}):
        item(server(**options))
        job = server.job()
        seen.append((job["Account"], job["TimeLimit"]))
        server.stop()
    # The last one was given none: it has the partition's time, and no account.
    assert seen == [("test-group", "00:05:00"), ("test-group", "00:05:00"), ("(null)", "00:10:00")]


@playbooks
def test_a_refused_reservation(server: Server) -> None:
    # Twice: JupyterHub 6 answers 201 to a start that is pending, where the start before it failed.
    refused = server.task(user_options={**SEED, "reservation": ["nobodys"]})
    first, second, mended = server.runner.run([refused, refused, server.task(user_options=SEED)]).results
    for result in (first, second):
        failed(result, "spawn_failed", f"did not start: {REFUSED}.")
        [found] = result["servers"]
        assert (found["state"], found["reason"], found["url"]) == ("failed", REFUSED, None)
    assert item(mended)["state"] == "ready"
    assert server.job()["JobState"] == "RUNNING"
    assert len(server.cluster.queue()) == 1
    server.stop()


def test_a_reservation_for_one_account(server: Server) -> None:
    with server.cluster.reservation("course", account="test-group"):
        others = server(user_options={"reservation": ["course"], "account": ["others"]})
        failed(others, "spawn_failed", "Access denied to requested reservation")
        item(server(user_options={**SEED, "reservation": ["course"]}))
        assert server.job()["Reservation"] == "course"
        server.stop()


def test_an_option_that_the_hub_refuses(server: Server) -> None:
    result = server(user_options={**SEED, "runtime": ["five minutes"]})
    failed(result, "spawn_failed", "bad value for option runtime")
    assert server.listed() is None
    assert server.cluster.queue() == []


# In the queue


@playbooks
def test_a_job_that_waits_in_the_queue_and_is_stopped(server: Server) -> None:
    told = server(user_options=CLOSED, wait=False)
    assert (told["changed"], item(told)["state"], item(told)["url"]) == (True, "pending", None)
    job = until(lambda: (job := server.job())["Reason"] != "None" and job)
    assert (job["JobState"], job["Reason"]) == ("PENDING", "PartitionDown")
    assert server.stop()["actions"][0]["why"] == "it is pending"
    assert server.finds(job) == "CANCELLED"


def test_somebody_stops_what_is_waited_for(server: Server) -> None:
    """The hub ends the stream with "ready" then, and for a second it lists the server as ready."""
    with server.waited_for(user_options=CLOSED) as answer:
        job = server.job()
        server.stop()
        failed(answer.result(), "spawn_failed", "it stopped while the task waited for it")
    assert server.finds(job) == "CANCELLED"


def test_a_job_that_waits_in_the_queue_and_then_runs(server: Server) -> None:
    item(server(user_options=CLOSED, wait=False))
    job = server.job()
    with server.cluster.opened():
        waited = server()
    assert (waited["changed"], item(waited)["state"]) == (False, "ready")
    assert server.job()["JobId"] == job["JobId"]
    assert server.finds(job) == "RUNNING"
    server.stop()


def test_a_job_that_waits_in_the_queue_for_too_long(server: Server) -> None:
    for seconds in (2, 8, 32, 128):  # as long as this machine takes until the hub tells of the queue
        left = server(user_options=CLOSED, wait_timeout=seconds, on_timeout="leave")
        if "last message: Pending in queue..." in left["msg"]:
            break
        server(state="stopped")
    failed(left, "timeout", f"{seconds} s", "last message: Pending in queue...", "It was left as it is")
    job = server.job()
    assert job["JobState"] == "PENDING"
    failed(server(wait_timeout=1), "timeout", "It was left as it is")  # that start is another task's
    assert server.job()["JobState"] == "PENDING"
    server(state="stopped")
    assert server.finds(job) == "CANCELLED"
    assert server.listed() is None


def test_a_job_that_is_cancelled_in_the_queue(server: Server) -> None:
    with server.waited_for(user_options=CLOSED) as answer:
        server.cluster.run("scancel", server.job()["JobId"])
        result = answer.result()
    failed(result, "spawn_failed", VANISHED)
    assert result["servers"][0]["reason"] == VANISHED
    assert server.listed() is None


# Running


@pytest.mark.parametrize("seen", [False, True], ids=["before the hub sees it", "after the hub saw it"])
def test_a_job_that_is_cancelled_under_a_running_server(server: Server, seen: bool) -> None:
    item(server(user_options=SEED))
    first = server.job()
    server.cluster.run("scancel", first["JobId"])
    until(lambda: server.cluster.queue() == [])
    if seen:
        with server.cluster.watched():
            until(lambda: server.listed() is None)
        assert server(state="stopped")["changed"] is False
    started = server()
    assert (started["changed"], item(started)["state"]) == (True, "ready")
    second = server.job()
    assert (second["JobState"], second["Account"]) == ("RUNNING", "test-group")
    assert second["JobId"] != first["JobId"]
    server.stop()


@pytest.mark.parametrize("server", ["controller-6.1"], indirect=True)
def test_a_real_server_runs_code_in_its_job(server: Server) -> None:
    server = replace(server, user="root", name="")
    code = "import os; print(os.environ['SLURM_JOB_ID'])"
    started, ran = server.runner.run(
        [server.task(user_options=SEED), server.runner.task("hub_exec", user="root", code=code)]
    ).results
    assert item(started)["state"] == "ready"
    job = server.job()
    assert ran["stdout"].strip() == job["JobId"]
    server.stop()
    assert server.finds(job) == "CANCELLED"
