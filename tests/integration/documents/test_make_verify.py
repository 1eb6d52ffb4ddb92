# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make verify` as a newcomer types it: in a copy of the checkout, below a path with a space.

The copy links to the installations in the checkout's .build, so that a run takes as long as a second run. tools/verify
starts every program of a run; the tests check that, and what happens to the programs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from support.hubs import HOME, REPOSITORY, Hub, HubPool
from support.playbooks import ProgramResult, copy_checkout, hub_environment, mint, processes_using, run_program, servers
from support.waiting import wait_until

SAMPLES = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAMPLE_BEGINS = re.compile(r"localhost +\(hub\) +passed ")
PHASES = {"hub": ["hub", "token"], "verify-bot": ["start", "code", "stop"]}
FILES = ["index.html", "report.json", "junit.xml", "metrics.prom"]
MOST_LINES = 24
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


def read_report(checkout: Path) -> dict[str, Any]:
    report = json.loads((checkout / ".build/verify/report/report.json").read_text())
    assert isinstance(report, dict)
    return report


def verdicts(checkout: Path) -> dict[str, dict[str, str]]:
    """The verdict of each phase of the only hub in the last run, by the names of its checks."""
    [hub] = read_report(checkout)["hubs"]
    groups = [("hub", hub["phases"]), *((check["name"], check["phases"]) for check in hub["checks"])]
    return {name: {phase["name"]: phase["verdict"] for phase in phases} for name, phases in groups}


def all_passed(user: str = "verify-bot") -> dict[str, dict[str, str]]:
    names = {"hub": PHASES["hub"], user: PHASES["verify-bot"]}
    return {name: dict.fromkeys(phases, "passed") for name, phases in names.items()}


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
    assert re.search(r"^PASSED in \d+\.\d s\. .* report in \.build/verify/report$", done.stdout, re.MULTILINE)
    folder = checkout / ".build/verify/report"
    assert done.stdout.splitlines()[-len(FILES) :] == [f"Report: {folder / name}" for name in FILES]
    assert all((folder / name).stat().st_size for name in FILES)
    assert verdicts(checkout) == all_passed()
    assert len(list(ElementTree.parse(folder / "junit.xml").iter("testcase"))) == 5


def test_a_good_run_is_short(embedded: ProgramResult) -> None:
    """The lines of progress count, which a terminal shows, too. Ansible's names of tasks are not shown."""
    lines = embedded.output.splitlines()
    assert len(lines) <= MOST_LINES, embedded.output
    assert not [line for line in lines if re.match(r"(TASK|PLAY|ok:|changed:|included:)", line)]


def test_the_readme_shows_a_summary_as_it_prints(embedded: ProgramResult) -> None:
    [sample] = [code for code in SAMPLES.findall((REPOSITORY / "README.md").read_text()) if SAMPLE_BEGINS.search(code)]
    lines = embedded.stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if SAMPLE_BEGINS.search(line))
    real = "\n".join(lines[first : first + len(sample.splitlines())])
    assert shape(real) == shape(sample)


def test_code_that_raises_is_the_verdict(checkout: Path) -> None:
    done = make_verify(checkout, VERIFY_ARGS="-e verify_code=1/0 -e 'verify_server_name=second'")
    assert done.status != 0
    expected = all_passed("verify-bot/second")
    expected["verify-bot/second"]["code"] = "failed"
    assert verdicts(checkout) == expected
    assert re.search(r"^localhost +verify-bot/second +FAILED .* code: .*ZeroDivisionError", done.stdout, re.MULTILINE)
    # The output still says where the report is.
    assert f"Report: {checkout / '.build/verify/report/index.html'}\n" in done.stdout
    assert len(done.output.splitlines()) <= MOST_LINES


def test_everything_is_shown_with_v(checkout: Path) -> None:
    """In check mode, which starts no server."""
    done = make_verify(checkout, VERIFY_ARGS="--check -vv")
    assert done.status == 0, done.output
    assert "TASK [hubops.jupyterhub.verify : Verify the hub] ***" in done.stdout
    assert "PLAY RECAP" in done.stdout
    assert "SKIPPED in " in done.stdout
    assert "Report: " not in done.stdout  # there is none


def test_a_task_that_fails_is_shown_without_v(checkout: Path) -> None:
    """Any task, not only those of the roles' verdicts."""
    done = make_verify(checkout, VERIFY_ARGS="-e verify_report_dir=/dev/null/report")
    assert done.status != 0
    assert re.search(r"^localhost, .* : Create the folder of the report: .*/dev/null", done.stdout, re.MULTILINE)


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


def test_the_hub_outlives_a_worker_of_killed_ansible(checkout: Path) -> None:
    """The worker notices that Ansible has ended and stops its server, for which it needs the hub."""
    command = ["make", "verify"]
    with subprocess.Popen(
        command, cwd=checkout, env=environment(checkout, {"VERIFY_ARGS": SLEEPING}), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            wait_until(lambda: any("ipykernel_launcher" in each for each in processes_using(checkout).values()), 300)
            ansible = min(pid for pid, each in processes_using(checkout).items() if "ansible-playbook hubops" in each)
            os.kill(ansible, signal.SIGKILL)
            assert process.wait(180) != 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


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
    assert verdicts(checkout) == all_passed("somebody")
    [found] = read_report(checkout)["hubs"]
    assert (found["url"], found["checks"][0]["user"]) == (hub.url, "somebody")
    assert found["version"].startswith("5.5")
    assert "embedded" not in done.stdout
    assert token not in done.output
    assert servers(hub, "somebody") == {}
    fails(hub, checkout)


def fails(hub: Hub, checkout: Path) -> None:
    """The same hub with an unknown token. The exit status is the verdict, too."""
    done = make_verify(checkout, **hub_environment(hub, "0123456789abcdef0123456789abcdef"))
    assert done.status != 0
    assert verdicts(checkout)["hub"]["token"] == "failed"
