# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that are jobs of a real Slurm: the results of hub_server agree with what Slurm says about the jobs."""

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
from support import waiting
from support.runner import Runner, assert_failed

SEED = {"reservation": [""], "account": ["test-group"], "runtime": ["00:05:00"]}
CLOSED = {"partition": ["closed"]}  # a job there waits in the queue
REFUSED = "sbatch: error: Batch job submission failed: Requested reservation is invalid"
VANISHED = "The Jupyter batch job has disappeared while pending in the queue or died immediately after starting"

_numbers = count(1)


def wait_until(done: Callable[[], Any]) -> Any:
    """Wait for up to 180 s: a job takes milliseconds to start or end, and many seconds on a busy machine."""
    return waiting.wait_until(done, 180)


@dataclass(frozen=True)
class Server:
    """A server of this test only, for which the hub remembers no options yet."""

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
        assert not self.list_entry()
        return stopped

    @contextlib.contextmanager
    def start_in_background(self, **options: Any) -> Iterator[Future[dict[str, Any]]]:
        """Start the server and wait for it in another thread, while the block does something else."""
        with ThreadPoolExecutor() as pool:
            yield pool.submit(self, wait_timeout=300, **options)

    def list_entry(self) -> dict[str, Any] | None:
        """The hub's model of the server if it runs, starts or stops."""
        return self.runner.servers(self.user).get(self.name)

    def job(self) -> dict[str, str]:
        """What Slurm knows about the server's job, whose number the hub tells its admin."""
        return self.cluster.job(wait_until(lambda: (self.list_entry() or {}).get("state", {}).get("job_id")))

    def job_state(self, job: dict[str, str]) -> str:
        """The state of a job, without Slurm's COMPLETING, which it is in for a while after its end."""
        return wait_until(lambda: self.cluster.job(job["JobId"])["JobState"].replace("COMPLETING", ""))


@pytest.fixture(params=["program-6.1", "program-5.5"])
def server(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Server]:
    """On JupyterHub 6.1, where the body has the options in a key, and on 5.5, where they are the body."""
    door, _dash, version = request.param.partition("-")
    runner = Runner(door, request.getfixturevalue(f"hub_{version.replace('.', '')}"))
    runner.api_request("POST", "users", {"usernames": USERS})
    yield Server(runner, cluster, "nobody", f"test{next(_numbers)}")
    # Clean up for the next test, also after a failure.
    for user in USERS:
        for name in runner.servers(user):
            Server(replace(runner, door="program"), cluster, user, name)(state="stopped")
    try:
        wait_until(lambda: cluster.queue() == [])
    finally:
        for job in cluster.queue():
            cluster.run("scancel", job)


# The most important tests run through both doors.
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
    # That job answers at the server's address.
    assert requests.get(item(started)["url"], timeout=120).json()["SLURM_JOB_ID"] == job["JobId"]
    # batchspawner's messages have no progress.
    progress = {event["message"]: event["progress"] for event in item(started)["events"]}
    assert (progress.pop("Server requested"), progress.pop("Server ready at /user/nobody/")) == (0, 100)
    assert progress.keys() <= {"Unknown status...", "Pending in queue...", "Cluster job running... waiting to connect"}
    assert set(progress.values()) == {None}

    stopped, was_not = server.runner.run([server.task(state="stopped")] * 2).results
    assert (stopped["changed"], item(stopped)["state"]) == (True, "stopped")
    assert (was_not["changed"], item(was_not)["state"]) == (False, "stopped")
    assert server.list_entry() is None
    assert server.job_state(job) == "CANCELLED"


def test_options_that_are_left_out_are_used_again(server: Server) -> None:
    seen = []
    for options in ({"user_options": SEED}, {}, {"user_options": {}}):
        item(server(**options))
        job = server.job()
        seen.append((job["Account"], job["TimeLimit"]))
        server.stop()
    # The last start got an empty dictionary: it has the partition's time, and no account.
    assert seen == [("test-group", "00:05:00"), ("test-group", "00:05:00"), ("(null)", "00:10:00")]


@playbooks
def test_a_refused_reservation(server: Server) -> None:
    # Twice, since JupyterHub 6 answers 201 to a pending start if the start before it failed.
    refused = server.task(user_options={**SEED, "reservation": ["nobodys"]})
    first, second, corrected = server.runner.run([refused, refused, server.task(user_options=SEED)]).results
    for result in (first, second):
        assert_failed(result, "spawn_failed", f"did not start: {REFUSED}.")
        [found] = result["servers"]
        assert (found["state"], found["reason"], found["url"]) == ("failed", REFUSED, None)
    assert item(corrected)["state"] == "ready"
    assert server.job()["JobState"] == "RUNNING"
    assert len(server.cluster.queue()) == 1
    server.stop()


def test_a_reservation_for_one_account(server: Server) -> None:
    with server.cluster.reservation("course", account="test-group"):
        others = server(user_options={"reservation": ["course"], "account": ["others"]})
        assert_failed(others, "spawn_failed", "Access denied to requested reservation")
        item(server(user_options={**SEED, "reservation": ["course"]}))
        assert server.job()["Reservation"] == "course"
        server.stop()


def test_an_option_that_the_hub_refuses(server: Server) -> None:
    result = server(user_options={**SEED, "runtime": ["five minutes"]})
    assert_failed(result, "spawn_failed", "bad value for option runtime")
    assert server.list_entry() is None
    assert server.cluster.queue() == []


# In the queue


@playbooks
def test_a_job_that_waits_in_the_queue_and_is_stopped(server: Server) -> None:
    result = server(user_options=CLOSED, wait=False)
    assert (result["changed"], item(result)["state"], item(result)["url"]) == (True, "pending", None)
    job = wait_until(lambda: (job := server.job())["Reason"] != "None" and job)
    assert (job["JobState"], job["Reason"]) == ("PENDING", "PartitionDown")
    assert server.stop()["actions"][0]["why"] == "it is pending"
    assert server.job_state(job) == "CANCELLED"


def test_somebody_stops_what_is_waited_for(server: Server) -> None:
    """The hub then ends the stream with "ready", and for a second it lists the server as ready."""
    with server.start_in_background(user_options=CLOSED) as answer:
        job = server.job()
        server.stop()
        assert_failed(answer.result(), "spawn_failed", "it stopped while the task waited for it")
    assert server.job_state(job) == "CANCELLED"


def test_a_job_that_waits_in_the_queue_and_then_runs(server: Server) -> None:
    item(server(user_options=CLOSED, wait=False))
    job = server.job()
    with server.cluster.open_closed_partition():
        waited = server()
    assert (waited["changed"], item(waited)["state"]) == (False, "ready")
    assert server.job()["JobId"] == job["JobId"]
    assert server.job_state(job) == "RUNNING"
    server.stop()


def test_a_job_that_waits_in_the_queue_for_too_long(server: Server) -> None:
    for seconds in (2, 8, 32, 128):  # until the hub has reported the queue, which takes longer on a slow machine
        left = server(user_options=CLOSED, wait_timeout=seconds, on_timeout="leave")
        if "last message: Pending in queue..." in left["msg"]:
            break
        server(state="stopped")
    assert_failed(left, "timeout", f"{seconds} s", "last message: Pending in queue...", "It was left as it is")
    job = server.job()
    assert job["JobState"] == "PENDING"
    assert_failed(server(wait_timeout=1), "timeout", "It was left as it is")  # another task has started it
    assert server.job()["JobState"] == "PENDING"
    server(state="stopped")
    assert server.job_state(job) == "CANCELLED"
    assert server.list_entry() is None


def test_a_job_that_is_cancelled_in_the_queue(server: Server) -> None:
    with server.start_in_background(user_options=CLOSED) as answer:
        server.cluster.run("scancel", server.job()["JobId"])
        result = answer.result()
    assert_failed(result, "spawn_failed", VANISHED)
    assert result["servers"][0]["reason"] == VANISHED
    assert server.list_entry() is None


# Running


@pytest.mark.parametrize("seen", [False, True], ids=["before the hub sees it", "after the hub saw it"])
def test_a_job_that_is_cancelled_under_a_running_server(server: Server, seen: bool) -> None:
    item(server(user_options=SEED))
    first = server.job()
    server.cluster.run("scancel", first["JobId"])
    wait_until(lambda: server.cluster.queue() == [])
    if seen:
        with server.cluster.let_hubs_poll():
            wait_until(lambda: server.list_entry() is None)
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
    assert server.job_state(job) == "CANCELLED"
