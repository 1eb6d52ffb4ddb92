# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timer that the role idle_culler writes for systemd, and the service that it starts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.fakes.fake_systemd import unit_settings
from support.hubs import REPOSITORY
from support.playbooks import ProgramResult, ansible_bin, run_playbook

NAME = "hubops-idle-culler"
PLAY = """
- name: A timer on this machine
  hosts: "{{ hosts_of_it | default('localhost') }}"
  connection: local
  gather_facts: false
  roles: [hubops.jupyterhub.idle_culler]
"""
RECORDER = REPOSITORY / "tests/support/fakes/fake_systemctl"


def write(
    folder: Path, *arguments: str, hosts: dict[str, dict[str, Any]] | None = None, **variables: Any
) -> ProgramResult:
    """Run the role so that it writes the timer and its files to this folder."""
    (folder / "play.yml").write_text(PLAY)
    if not (folder / "token").exists():
        (folder / "token").touch(0o600)
    given = {
        "mode": "timer",
        "unit_folder": str(folder),
        "token_path": str(folder / "token"),
        "variables_path": str(folder / "variables.yml"),
        "ansible_playbook": str(ansible_bin() / "ansible-playbook"),
        "enable": False,
    }
    chosen = {name: value for name, value in {**given, **variables}.items() if value is not None}
    named = {f"idle_culler_{name}": value for name, value in chosen.items()}
    named |= {"hub_url": "https://hub.example.org/100%25/"} | ({"hosts_of_it": "all"} if hosts else {})
    env = {"PATH": f"{RECORDER}:{os.environ['PATH']}", "RECORDED_SYSTEMCTL": str(folder / "asked")}
    return run_playbook("play.yml", *arguments, folder=folder, variables=named, hosts=hosts, env=env)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ProgramResult]:
    """A folder with the files of the default variables, and the run that wrote them. No test changes them."""
    folder = tmp_path_factory.mktemp("written")
    played = write(folder)
    assert played.status == 0, played.output
    return folder, played


@pytest.fixture(scope="module")
def written(first: tuple[Path, ProgramResult]) -> Path:
    return first[0]


def units(folder: Path) -> list[Path]:
    return [folder / f"{NAME}.{kind}" for kind in ("service", "timer")]


judged_by_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd itself is the judge of units here, and this machine has none: apt-get install systemd brings it",
)


def complaint(*files: Path) -> str:
    """What systemd reports about wrong units. Empty if they are correct."""
    done = subprocess.run(
        ["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    assert (done.returncode == 0) or done.stderr
    return done.stderr


# The files


def test_it_is_foreseen_written_and_then_left_alone(first: tuple[Path, ProgramResult], tmp_path: Path) -> None:
    foreseen = write(tmp_path, "--check", "--diff")
    assert foreseen.status == 0, foreseen.output
    assert "+OnUnitInactiveSec=300" in foreseen.stdout
    assert not (tmp_path / f"{NAME}.timer").exists()
    folder, played = first
    second = write(folder)
    assert f"systemctl enable --now {NAME}.timer" in played.stdout
    assert [each.recap["localhost"]["changed"] for each in (foreseen, played, second)] == [2, 2, 0], second.output
    assert [oct(path.stat().st_mode)[-3:] for path in units(folder)] == ["644", "644"]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"calendar": "Mon..Fri 20:00", "randomized_delay": "5m"},
        {"environment": {"ANSIBLE_COLLECTIONS_PATH": '/opt/100% "ours" \\ $HOME', "B": ""}},
    ],
    ids=["every", "calendar", "environment"],
)
@judged_by_systemd
def test_systemd_takes_the_units(written: Path, tmp_path: Path, variables: dict[str, Any]) -> None:
    folder = tmp_path if variables else written
    if variables:
        played = write(folder, **variables)
        assert played.status == 0, played.output
    assert complaint(*units(folder)) == ""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("OnUnitInactiveSec=300", "OnUnitInactiveSec=often"),
        ("DynamicUser=yes", "DynamicUsers=yes"),
        ("/ansible-playbook ", "/no-ansible-playbook "),
    ],
)
@judged_by_systemd
def test_systemd_would_not_take_bad_ones(written: Path, tmp_path: Path, right: str, wrong: str) -> None:
    """systemd-analyze reports wrong units, so its silence about ours means something."""
    for unit in units(written):
        shutil.copy(unit, tmp_path)
    [bad] = [path for path in units(tmp_path) if right in path.read_text()]
    bad.write_text(bad.read_text().replace(right, wrong))
    assert bad.name in complaint(*units(tmp_path))


@judged_by_systemd
def test_the_service_is_kept_away_from_the_rest_of_the_machine(written: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", units(written)[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout  # out of 100, for a service without such settings


def test_no_secret_is_anywhere_but_in_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("5e27ce0000000000000000000000dead")
    (tmp_path / "token").chmod(0o600)
    played = write(tmp_path, "--diff", "-vvv", api_token="5e27ce0000000000000000000000beef")
    assert played.status == 0, played.output
    written = [*units(tmp_path), tmp_path / "variables.yml"]
    for text in (played.output.split("PLAY [", 1)[1], *(path.read_text() for path in written)):
        assert "5e27ce" not in text
    assert unit_settings(units(tmp_path)[0])["LoadCredential"][0] == f"token:{tmp_path}/token"


@pytest.mark.parametrize(("mode", "says"), [(0o644, "Everybody on this host can read"), (None, "There is no file")])
def test_a_token_that_is_not_kept_well_is_told(tmp_path: Path, mode: int | None, says: str) -> None:
    path = tmp_path / "other"
    if mode:
        path.touch()
        path.chmod(mode)
    played = write(tmp_path, token_path=str(path))
    assert played.status == 2
    assert f"{says} {path}" in played.stdout
    assert not units(tmp_path)[0].exists()
    # In check mode, an earlier task may not have written it yet.
    assert write(tmp_path, "--check", token_path=str(path)).status == (2 if mode else 0)


@judged_by_systemd
def test_a_calendar_that_systemd_does_not_understand_is_told(tmp_path: Path) -> None:
    played = write(tmp_path, "--check", calendar="every now and then")
    assert played.status == 2
    assert "idle_culler_calendar is 'every now and then', which systemd does not understand" in played.stdout


def test_each_hub_of_an_inventory_has_a_timer_of_its_own(tmp_path: Path) -> None:
    variables_of_host = {
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "idle_culler_variables_path": str(tmp_path / "{{ idle_culler_unit }}.yml"),
    }
    played = write(tmp_path, hosts={"one": variables_of_host, "two": variables_of_host}, variables_path=None)
    assert played.status == 0, played.output
    names = [f"{NAME}-{host}.{kind}" for host in ("one", "two") for kind in ("service", "timer", "yml")]
    assert sorted(path.name for path in tmp_path.glob(f"{NAME}*")) == names


# systemd itself


def test_systemd_is_told_to_start_it_again_and_again(tmp_path: Path) -> None:
    foreseen = write(tmp_path, "--check", enable=True)
    assert foreseen.status == 0, foreseen.output
    assert not (tmp_path / "asked").exists()
    assert foreseen.recap["localhost"]["changed"] == 3
    played = write(tmp_path, enable=True)
    assert played.status == 0, played.output

    def asked() -> list[str]:
        found = (tmp_path / "asked").read_text().splitlines()
        return [line for line in found if line != "daemon-reload"]

    begun = [f"enable {NAME}.timer", f"start {NAME}.timer"]
    assert asked() == begun
    assert (tmp_path / "asked").read_text().startswith("daemon-reload\n")
    again = write(tmp_path, enable=True)
    assert again.recap["localhost"]["changed"] == 0, again.output
    assert asked() == begun
    # An active timer would not take up the new unit.
    assert write(tmp_path, enable=True, every="1h").status == 0
    assert asked() == [*begun, f"restart {NAME}.timer"]
