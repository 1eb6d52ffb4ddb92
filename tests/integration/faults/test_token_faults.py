# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hub_token` over connections that break at any instant, before real hubs.

After each run, whatever became of it, what is kept works; and after one run over a sound connection nothing is left of
all the others. The faults come by chance, from the seeds in the tests' names.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import BY_STATUS, HubError
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_token import MODULE
from support.fakes.cutting_proxy import CuttingProxy, Exchange, Fault, cutting_proxy, fault_for, random_faults
from support.hubs import Hub
from support.runner import FAILURE_KEYS, Runner

NARROW, WIDE = ["read:users:name!user"], ["read:users:name!user", "read:servers!user"]
PATIENT = "120s"  # longer than any sound request takes
IMPATIENT = "0.4s"  # where it does not matter that a sound request may take longer, too
BRIEF = "1s"  # of the requests that this is too short for, none comes through; others are tried again
DELAYED = 0.8  # seconds: later than the impatient wait
CODES = {kind.code for kind in (*HubError.__subclasses__(), *BY_STATUS.values())}

_numbers = itertools.count(1)


def run(hub: Hub, url: str, options: dict[str, Any], timeout: str = PATIENT) -> dict[str, Any]:
    """One task's result, as a door would have it, but in this process."""
    given = {"hub_url": url, "api_token": hub.admin_token, "request_timeout": timeout, **options}
    checked = ArgumentSpecValidator(MODULE.argument_spec, **MODULE.rules).validate(given)
    assert not checked.error_messages, checked.error_messages
    return MODULE.run(checked.validated_parameters, check_mode=False, verbosity=3, report=lambda line: None)


@dataclass
class Identity:
    """A token as its owner keeps it: in a file at ``path``, without one in ``secret``, or in both."""

    runner: Runner
    user: str
    note: str
    keeps: str
    path: Path
    secret: str = ""
    others: set[str] = field(default_factory=set)
    """The ids of the user's tokens that are none of ours."""
    were_kept: list[str] = field(default_factory=list)
    """The ids of ours that were kept, after one run or another."""

    def options(self, **more: Any) -> dict[str, Any]:
        given = {"path": {"path": str(self.path)}, "secret": {"secret": self.secret}}
        keeps = {"both": given["path"] | given["secret"], **given}[self.keeps]
        return {"user": self.user, "note": self.note, "scopes": NARROW, **keeps, **more}

    @property
    def kept(self) -> str:
        if self.keeps != "secret" and self.path.exists():
            return self.path.read_text()
        return self.secret

    def who(self) -> dict[str, Any]:
        """What the hub says to the kept secret; empty where it does not know it."""
        if not self.kept:
            return {}
        headers = {"Authorization": f"token {self.kept.strip()}"}
        answer = requests.get(f"{self.runner.hub.api}/user", headers=headers, timeout=120)
        return answer.json() if answer.ok else {}

    def ours(self) -> list[dict[str, Any]]:
        return [token for token in self.runner.tokens(self.user) if token["id"] not in self.others]

    def take(self, answer: dict[str, Any]) -> None:
        """Keep the secret of a result, as a user without a file would."""
        if self.keeps != "secret":
            assert answer["token"] is None
        else:
            self.secret = answer["token"] or self.secret

    def check(self) -> None:
        """After any run: what was kept works, or something new that is kept does."""
        if self.were_kept or self.kept:
            who = self.who()
            assert who.get("name") == self.user, f"of {self.user} nothing that works is kept: '{self.kept}'"
            self.were_kept.append(who["token_id"])
        if self.keeps == "both":
            self.secret = self.kept.strip()
        # Where nobody knows whether a token is there that was minted, what lies beside the file tells the next run.
        files = list(self.path.parent.iterdir()) if self.path.parent.exists() else []
        assert {file.name for file in files} <= {"token", ".token.new"}
        assert {file.stat().st_mode & 0o777 for file in files} <= {0o600}
        assert self.others <= {token["id"] for token in self.runner.tokens(self.user)}

    def check_end(self, scopes: list[str], overlap: bool = False) -> None:
        """One token is left, and it is the kept one; or with overlap those, too, that were kept before."""
        self.check()
        assert not self.path.parent.exists() or os.listdir(self.path.parent) in ([], ["token"])
        who, left = self.who(), {token["id"] for token in self.ours()}
        assert who["token_id"] in left
        assert left <= ({*self.were_kept} if overlap else {who["token_id"]}), left
        assert {scope.replace("!user", f"!user={self.user}") for scope in scopes} <= set(who["scopes"])


def new_identity(hub: Hub, folder: Path, chance: random.Random, keeps: str) -> Identity:
    """An account that has tokens already, none of which is ours, however much they look like it."""
    runner = Runner("controller", hub)
    user = f"faulty{next(_numbers)}"
    assert runner.api_request("POST", f"users/{user}").status_code == 201
    note = chance.choice(["ci", "nightly (a+b) [x]", "a note with 'quotes', ünïcode and \\"])
    for alike in ("another", note, f"{note} too [hubops 0123456789ab-01234567]", f"[hubops] {note}"):
        runner.mint(user, *NARROW, note=alike)
    return Identity(
        runner, user, note, keeps, folder / user / "token", others={each["id"] for each in runner.tokens(user)}
    )


def judge(result: dict[str, Any], proxy: CuttingProxy) -> None:
    """A run ends well, or with a failure of a kind that a user can act on."""
    assert "exception" not in result, result["exception"]
    if not result.get("failed"):
        return
    for failure in (result["failure"], *(item["failure"] for item in result.get("tokens", []) if item["failure"])):
        assert set(failure) == FAILURE_KEYS
        assert failure["code"] in CODES
        assert "Error:" not in failure["message"]


def faulty_run(
    hub: Hub, proxy: CuttingProxy, identities: list[Identity], careful: bool, timeout: str = IMPATIENT, **more: Any
) -> None:
    """One run through the proxy for all of them, and a look at what it left behind."""
    before = len(proxy.exchanges)
    result = one_run(hub, proxy.url, identities, careful, timeout, **more)
    judge(result, proxy)
    bodies = [each.body for each in proxy.exchanges[before:] if each.method == "POST"]
    assert len(bodies) == len(set(bodies)), "the same mint was sent twice"
    for identity in identities:
        identity.check()


def one_run(
    hub: Hub, url: str, identities: list[Identity], careful: bool = True, timeout: str = PATIENT, **more: Any
) -> dict[str, Any]:
    single = len(identities) == 1
    options = [each.options(**more) for each in identities]
    result = run(hub, url, options[0] if single else {"tokens": options}, timeout)
    if careful or not result.get("failed"):
        for identity, answer in zip(identities, result.get("tokens") or [], strict=False):
            assert (answer["user"], answer["note"]) == (identity.user, identity.note)
            identity.take(answer)
    return result


def clean_runs(hub: Hub, identities: list[Identity], **wanted: Any) -> None:
    """Over a sound connection: one run mends everything, and the next one finds nothing to do."""
    # Without a file, a successor that nobody took needs another: the run that mints it cannot revoke its predecessor.
    for _each in range(2 if any(identity.keeps == "secret" for identity in identities) else 1):
        result = one_run(hub, hub.url, identities, **wanted)
        assert not result.get("failed"), result["msg"]
    for identity in identities:
        identity.check_end(wanted["scopes"], overlap="overlap" in wanted)
    again = one_run(hub, hub.url, identities, **wanted)
    assert (again.get("failed", False), again["changed"]) == (False, False), again["actions"]


def one_round(hub: Hub, folder: Path, seed: int) -> None:
    """An account or several, new or with a token; runs that meet faults; and what is there at the end."""
    chance = random.Random(seed)
    count = chance.choice([1, 1, 1, 4])
    keeps = chance.choices(["path", "secret", "both"], [2, 1, 1], k=count)
    identities = [new_identity(hub, folder, chance, each) for each in keeps]
    wish = chance.choice(["there", "rotated", "overlapping", "wider", "new", "new"])
    if wish != "new":
        assert not one_run(hub, hub.url, identities).get("failed")
        for identity in identities:
            identity.check()
    wanted: dict[str, Any] = {"scopes": WIDE if wish == "wider" else NARROW}
    if wish == "overlapping":
        wanted["overlap"] = "1h"
    careful = chance.random() < 0.5  # takes what a run has minted that failed for others
    # What reaches the hub late may be older than what is kept then, and so have the predecessors' time of overlap.
    delay = DELAYED if chance.random() < 0.3 and wish != "overlapping" else 0.0
    with cutting_proxy(hub.url, random_faults(seed, share=chance.choice([0.2, 0.35, 0.5]), seconds=delay)) as proxy:
        try:
            for _each in range(2):
                for identity in identities:
                    if identity.keeps == "both" and chance.random() < 0.5:
                        identity.path.unlink(missing_ok=True)  # as on another machine
                faulty_run(hub, proxy, identities, careful, **wanted, rotate=wish in ("rotated", "overlapping"))
            if chance.random() < 0.2:  # a sound run overtakes what is still on its way to the hub
                one_run(hub, hub.url, identities, **wanted)
                for identity in identities:
                    identity.check()
            proxy.wait_until_idle()
            clean_runs(hub, identities, **wanted)
        except Exception as error:
            users = [each.user for each in identities]
            raise AssertionError(f"seed {seed}, {wish}, of {users}: {error}\n{proxy.log}") from error


@pytest.fixture(params=["6.1", "5.5"])
def hub(request: pytest.FixtureRequest) -> Hub:
    found: Hub = request.getfixturevalue({"6.1": "hub_61", "5.5": "hub_55"}[request.param])
    return found


def test_faults_by_chance(hub: Hub, tmp_path: Path) -> None:
    seeds = range(*map(int, os.environ.get("HUBOPS_SEEDS", "0-60").split("-")))
    # Side by side, as much of a round is waiting; each has accounts and a proxy of its own.
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda seed: one_round(hub, tmp_path / str(seed), seed), seeds))


FAULTS = [
    Fault("request_lost"),
    Fault("request_lost", reset=True),
    Fault("answer_lost"),
    Fault("answer_lost", reset=True),
    Fault("answer_cut", part="head", share_sent=0.3),
    Fault("answer_cut", part="head", share_sent=0.9),
    Fault("answer_cut", part="body", share_sent=0.0),
    Fault("answer_cut", part="body", share_sent=0.95, reset=True),
    Fault("closed_after_answer", reset=True),
    Fault("answer_late", seconds=math.inf),
    Fault("request_late", seconds=math.inf),
]
POINTS = {"mint": ("POST", "/tokens"), "prove": ("GET", "/user"), "look": ("GET", "/tokens"), "revoke": ("DELETE", "")}


@pytest.mark.parametrize("keeps", ["path", "secret"])
def test_each_fault_at_each_point_of_a_rotation(hub_61: Hub, tmp_path: Path, keeps: str) -> None:
    def one(where: tuple[str, Fault]) -> None:
        point, fault = where
        identity = new_identity(hub_61, tmp_path, random.Random(0), keeps)
        one_run(hub_61, hub_61.url, [identity])
        identity.check_end(NARROW)
        timeout = BRIEF if fault.seconds else PATIENT
        # As often as a read or a DELETE is tried again.
        with cutting_proxy(hub_61.url, fault_for(*POINTS[point], fault, times=4)) as proxy:
            try:
                faulty_run(hub_61, proxy, [identity], careful=True, timeout=timeout, rotate=True)
                # What a run without a file has minted replaces the old one when it comes back.
                faulty_run(hub_61, proxy, [identity], careful=True, timeout=timeout)
                assert proxy.has_caused(fault)
                proxy.wait_until_idle()
                clean_runs(hub_61, [identity], scopes=NARROW)
            except Exception as error:
                raise AssertionError(f"{point}: {fault}, of {identity.user}: {error}\n{proxy.log}") from error

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(one, itertools.product(POINTS, FAULTS)))


def test_a_late_answer(hub: Hub, tmp_path: Path) -> None:
    """Nobody waits for the new token's secret any more: the next run revokes the token, if this one cannot."""
    identity = new_identity(hub, tmp_path, random.Random(0), "path")
    delayed = fault_for("POST", "/tokens", Fault("answer_late", seconds=math.inf), times=9)

    def and_then_gone(exchange: Exchange) -> Fault:
        after = any(each.method == "POST" for each in proxy.exchanges)
        return Fault("request_lost") if after and exchange.method == "GET" else delayed(exchange)

    with cutting_proxy(hub.url, delayed) as proxy:
        result = one_run(hub, proxy.url, [identity], timeout=BRIEF)
        assert (result["failed"], result["failure"]["code"]) == (True, "timeout")
        proxy.wait_until_idle()
        assert (identity.kept, identity.ours()) == ("", [])
        proxy.exchanges.clear()
        proxy.choose_fault = and_then_gone
        result = one_run(hub, proxy.url, [identity], timeout=BRIEF)
        assert (result["failed"], result["failure"]["code"]) == (True, "timeout")
        proxy.wait_until_idle()
    (lost,) = identity.ours()
    assert identity.kept == ""
    mended = one_run(hub, hub.url, [identity])
    assert (mended["minted"], mended["revoked"]) == (True, [lost["id"]])
    identity.check_end(NARROW)


def test_a_request_that_reaches_the_hub_late(hub: Hub, tmp_path: Path) -> None:
    """The token of an attempt that was given up is minted after the next one's, and the next run revokes it."""
    identity = new_identity(hub, tmp_path, random.Random(0), "path")
    lets_go, first = threading.Event(), itertools.count()

    def watch(moment: str, exchange: Exchange) -> None:
        """The first one reaches the hub when the run is long over."""
        if moment == "request_received" and exchange.method == "POST" and next(first) == 0:
            lets_go.wait(300)

    with cutting_proxy(hub.url) as proxy:
        proxy.observer = watch
        try:
            result = one_run(hub, proxy.url, [identity], timeout=BRIEF)
            assert (result["minted"], result["revoked"]) == (True, [])
            identity.check_end(NARROW)
        finally:
            lets_go.set()
        proxy.wait_until_idle()
    (lost,) = {token["id"] for token in identity.ours()} - {result["token_id"]}
    mended = one_run(hub, hub.url, [identity])
    assert (mended["minted"], mended["revoked"]) == (False, [lost])
    identity.check_end(NARROW)
