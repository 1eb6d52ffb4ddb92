# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make verify` as a newcomer types it: in a copy of the checkout, below a path with a space.

The copy links to the installations in the checkout's .build, so that a run takes as long as a second run. tools/verify
starts every program of a run; the tests check that, and what happens to the programs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.hubs import HOME, REPOSITORY, Hub, HubPool
from support.playbooks import ProgramResult, copy_checkout, hub_environment, mint, processes_using, run_program, servers
from support.waiting import wait_until

SAMPLES = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAMPLE_BEGINS = re.compile(r"JupyterHub \S+ at \S+, user ")
STEPS = ["hub", "token", "start", "run", "stop", "gone"]
# JSON: Ansible would split a plain name=value at the spaces.
SLEEPING = """-e '{"verify_code": "import time; time.sleep(600)"}'"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("make") / "a check out"
    copy_checkout(copy)
    build = copy / ".build"
    build.mkdir()
    HOME.mkdir(parents=True, exist_ok=True)
    (build / "hubs").symlink_to(HOME)
    # A virtual environment contains its own path, so the copy has a new one with the same content and its own stamp.
    made = subprocess.run(
        [REPOSITORY / "tools/venv", "run"], check=True, cwd=REPOSITORY, capture_output=True, text=True
    )
    original, venv = REPOSITORY / made.stdout.strip(), build / "venv"
    venv.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (venv / name).symlink_to(original / name)
    lock = hashlib.sha256((copy / "requirements/run.txt").read_bytes()).hexdigest()
    (venv / ".complete").write_text(f"{lock}  - {venv}\n")
    return copy


def environment(checkout: Path, more: dict[str, str]) -> dict[str, str]:
    """The environment of a newcomer, with an empty home."""
    home = checkout.parent / "home"
    home.mkdir(exist_ok=True)
    # Keep the settings with which this machine reaches its package index.
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "npm_config_"))}
    return {**kept, "PATH": os.environ["PATH"], "HOME": str(home), "PYTHON": sys.executable, **more}


def make_verify(checkout: Path, **more: str) -> ProgramResult:
    return run_program(["make", "verify"], checkout, environment(checkout, more))


@pytest.fixture(autouse=True)
def nothing_is_left(checkout: Path) -> Iterator[None]:
    """Nothing is left of a run: no hub, server, kernel or playbook, and no secret of the hub."""
    yield
    assert processes_using(checkout) == {}
    assert not (checkout / ".build/verify/hub").exists()
    assert not (checkout / ".build/verify/verify-bot.token").exists()


def report(checkout: Path) -> dict[str, str]:
    """The verdict of each step in the last run."""
    found = json.loads((checkout / ".build/verify/report/report.json").read_text())
    return {step["name"]: step["verdict"] for step in found["steps"]}


def shape(summary: str) -> list[str]:
    """The lines of a text, without numbers and the spaces around them, which differ from run to run."""
    return [re.sub(r" *\d+(\.\d+)*", " N", line) for line in summary.splitlines()]


@pytest.fixture(scope="module")
def embedded(checkout: Path) -> ProgramResult:
    return make_verify(checkout)


def test_an_embedded_hub_is_verified(checkout: Path, embedded: ProgramResult) -> None:
    done = embedded
    assert done.status == 0, done.output
    assert "Installing" not in done.output
    assert re.search(r"PASSED in \d+\.\d s, report in \.build/verify/report\b", done.stdout)
    assert all(re.search(rf"passed +{step} +\d+\.\d\d s ", done.stdout) for step in STEPS)
    folder = checkout / ".build/verify/report"
    for name in ("report.json", "junit.xml"):
        assert f"Report: {folder / name}\n" in done.stdout
    assert report(checkout) == dict.fromkeys(STEPS, "passed")
    assert len(list(ElementTree.parse(folder / "junit.xml").iter("testcase"))) == len(STEPS)


def test_the_readme_shows_a_summary_as_it_prints(embedded: ProgramResult) -> None:
    [sample] = [code for code in SAMPLES.findall((REPOSITORY / "README.md").read_text()) if SAMPLE_BEGINS.search(code)]
    lines = embedded.stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if SAMPLE_BEGINS.search(line))
    real = "\n".join(lines[first : first + len(sample.splitlines())])
    assert shape(real) == shape(sample)


def test_code_that_raises_is_the_verdict(checkout: Path) -> None:
    done = make_verify(checkout, VERIFY_ARGS="-e verify_code=1/0 -e 'verify_server_name=second'")
    assert done.status != 0
    assert report(checkout) == {**dict.fromkeys(STEPS, "passed"), "run": "failed"}
    assert "step 'run' failed: " in done.stdout
    assert "ZeroDivisionError" in done.stdout
    # The output still says where the report is.
    assert "report.json" in done.stdout


@pytest.mark.parametrize(
    ("sign", "more"),
    [
        ("-m jupyterhub --config", {}),
        ("ipykernel_launcher", {"VERIFY_ARGS": SLEEPING}),
    ],
    ids=["while the hub starts", "while code runs"],
)
def test_ctrl_c_stops_everything(checkout: Path, sign: str, more: dict[str, str]) -> None:
    log = checkout.parent / "interrupted.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            ["make", "verify"], cwd=checkout, env=environment(checkout, more), stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True,
        ) as process,
    ):  # fmt: skip
        try:
            wait_until(lambda: any(sign in command for command in processes_using(checkout).values()), 300)
            # A terminal sends the signal to every process of the foreground's group.
            os.killpg(process.pid, signal.SIGINT)
            status = process.wait(180)
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(180)
            print(log.read_text())
            raise
    assert status != 0
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("name", ["JUPYTERHUB_URL", "JUPYTERHUB_API_TOKEN"])
def test_half_of_what_names_a_hub_is_no_hub(checkout: Path, name: str) -> None:
    other = {"JUPYTERHUB_URL": "JUPYTERHUB_API_TOKEN", "JUPYTERHUB_API_TOKEN": "JUPYTERHUB_URL"}[name]
    done = make_verify(checkout, **{name: "of-somebody"})
    assert done.status == 2
    assert f"{name} is set, {other} is not: " in done.stderr
    assert "==" not in done.stdout  # the script has started nothing


def test_a_hub_of_somebody_is_verified_and_nothing_is_started(checkout: Path, pool: HubPool) -> None:
    hub = pool.get("5.5", spawner="server")
    token = mint(hub, "somebody")
    done = make_verify(checkout, **hub_environment(hub, token))
    assert done.status == 0, done.output
    assert report(checkout) == dict.fromkeys(STEPS, "passed")
    found = json.loads((checkout / ".build/verify/report/report.json").read_text())
    assert (found["hub_url"], found["user"]) == (hub.url, "somebody")
    assert found["hub_version"].startswith("5.5")
    assert "embedded" not in done.stdout
    assert token not in done.output
    assert servers(hub, "somebody") == {}
    fails(hub, checkout)


def fails(hub: Hub, checkout: Path) -> None:
    """The same hub with an unknown token. The exit status is the verdict, too."""
    done = make_verify(checkout, **hub_environment(hub, "0123456789abcdef0123456789abcdef"))
    assert done.status != 0
    assert report(checkout)["token"] == "failed"
