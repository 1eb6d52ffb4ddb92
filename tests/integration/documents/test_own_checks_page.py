# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide on checks of one's own: a reader with a hub and an account runs every block, in order.

Each check passes, and each fails if the hub or the server does not have what it asks for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Conflict, HubError, NotFound
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify import spec
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.phases import Finding
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.running_server import RunningServer
from support.documents import GUIDES, PageReader
from support.hubs import REPOSITORY, Hub, lab_config, running_hub
from support.playbooks import (
    ProgramResult,
    api_request,
    bare_environment,
    hub_environment,
    mint,
    run_program,
    scopes_for_verify,
    servers,
    start_server,
)

PAGE = f"{GUIDES}/own_checks.rst"
ACCOUNT = "verify-bot"


class Reader(PageReader):
    """Takes the blocks of the page one after the other, in the folder of an operator."""

    def __init__(self, folder: Path, hub: Hub, token: str) -> None:
        super().__init__(PAGE)
        self.folder, self.hub = folder, hub
        self.env = hub_environment(hub, token)

    def run(self, code: str, **env: str) -> ProgramResult:
        return run_program(["bash", "-euc", code], self.folder, bare_environment(self.folder) | self.env | env)

    def write(self, name: str, language: str, has: str) -> Path:
        (self.folder / name).write_text(self.block(language, has))
        return self.folder / name

    def verify(self, code: str, status: int = 0) -> list[dict[str, Any]]:
        """Run a verification. Returns its checks. No server is left."""
        done = self.run(code)
        assert done.status == status, done.output
        [hub] = json.loads((self.folder / "verify-report/report.json").read_text())["hubs"]
        assert hub["verdict"] == ("failed" if status else "passed")
        assert servers(self.hub, ACCOUNT) == {}
        checks: list[dict[str, Any]] = hub["checks"]
        return checks


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with running_hub(tmp_path_factory.mktemp("hub"), spawner="server", config=lab_config()) as hub:
        yield hub


def test_the_page_from_its_beginning_to_its_end(hub: Hub, tmp_path: Path) -> None:
    reader = Reader(tmp_path, hub, mint(hub, ACCOUNT, scopes_for_verify(hub)))
    runs_code(reader)
    takes_what_there_is(reader)
    runs_a_notebook(reader)
    combines_tasks(reader)
    asks_the_api(reader)
    adds_a_proof(reader)
    assert reader.left == []


def fail_of(checks: list[dict[str, Any]]) -> tuple[str, str]:
    """The phase that has failed, and what it says."""
    [found] = [
        (phase["name"], phase["message"])
        for check in checks
        for phase in check["phases"]
        if phase["verdict"] == "failed"
    ]
    return found


def runs_code(reader: Reader) -> None:
    line = reader.block("shell", "verify_expect")
    [check] = reader.verify(line)
    assert check["phases"][1]["details"]["snippets"][0]["stdout"] == "127.0.0.1\n"
    assert fail_of(reader.verify(line.replace('"127.0.0.1"', '"192.0.2.1"'), 2))[0] == "code"

    file = reader.write("code.yml", "yaml", "kernel_name: python3")
    command = reader.block("shell", "-e @code.yml")
    [check] = reader.verify(command)
    assert [snippet["result"] for snippet in check["phases"][1]["details"]["snippets"]] == ["42", None, None]
    code = file.read_text()
    for right, wrong, said in (
        ('equals: "42"', 'equals: "43"', "43"),
        ("assert os.access(", "assert not os.access(", "the home is read-only"),
    ):
        assert right in code
        file.write_text(code.replace(right, wrong))
        name, message = fail_of(reader.verify(command, 2))
        assert name == "code"
        assert said in message


def takes_what_there_is(reader: Reader) -> None:
    file = reader.write("image.yml", "yaml", "websocket_idle")
    command = reader.block("shell", "-e @image.yml")
    checks = reader.verify(command)
    assert {check["name"]: [phase["name"] for phase in check["phases"]][1:-1] for check in checks} == {
        "image": ["packages", "paths", "resources"],
        "connections": ["page", "terminal", "websocket"],
        "home": ["persist"],
    }
    file.write_text(file.read_text().replace("path: /usr/share", "path: /no/such/mount"))
    name, message = fail_of(reader.verify(command, 2))
    assert name == "paths"
    assert "/no/such/mount" in message


def runs_a_notebook(reader: Reader) -> None:
    file = reader.write("lecture.ipynb", "json", "raises-exception")
    reader.write("notebook.yml", "yaml", "lecture.ipynb")
    command = reader.block("shell", "-e @notebook.yml")
    [check] = reader.verify(command)
    [notebook] = check["phases"][1]["details"]["notebooks"]
    assert (notebook["cells_run"], notebook["reason"]) == (3, None)
    file.write_text(file.read_text().replace("== 3", "== 4"))
    name, message = fail_of(reader.verify(command, 2))
    assert name == "notebooks"
    assert "lecture.ipynb" in message


def combines_tasks(reader: Reader) -> None:
    file = reader.write("check.yml", "yaml", "ansible.builtin.assert")
    command = reader.block("shell", "check.yml")
    code = file.read_text()
    assert "float < 60\n" in code
    file.write_text(code.replace("float < 60\n", "float < 86400\n"))  # this machine may do much else
    done = reader.run(command)
    assert done.status == 0, done.output
    assert done.recap["localhost"]["changed"] == 3  # started, run, stopped
    assert servers(reader.hub, ACCOUNT) == {}
    file.write_text(code.replace("float < 60\n", "float < 0\n"))
    done = reader.run(command)
    assert done.status == 2
    assert "Is the storage overloaded?" in done.stdout, done.output
    assert servers(reader.hub, ACCOUNT) == {}


def asks_the_api(reader: Reader) -> None:
    reader.write("api.yml", "yaml", "ansible.builtin.uri")
    command = reader.block("shell", "api.yml")
    done = reader.run(command)
    assert done.status == 0, done.output
    assert "All assertions passed" in done.stdout
    # An admin may do too much, and its token is not shown.
    api_request(reader.hub, "POST", "users/boss", {"admin": True})
    token = mint(reader.hub, "boss")
    done = reader.run(command, JUPYTERHUB_API_TOKEN=token)
    assert done.status == 2
    assert "The token of boss may do too much" in done.stdout
    assert token not in done.output


def adds_a_proof(reader: Reader) -> None:
    """The module imports as a file beside the other proofs does."""
    module: dict[str, Any] = {"__name__": f"{spec.__package__}.kernel_specs", "__package__": spec.__package__}
    exec(compile(reader.block("python", "def prove_kernel_specs("), PAGE, "exec"), module)
    prove = module["prove_kernel_specs"]
    start_server(reader.hub, ACCOUNT)
    with HubClient(Connection(reader.hub.url, reader.env["JUPYTERHUB_API_TOKEN"])) as client:
        url = f"{client.url}user/{ACCOUNT}/"
        server = RunningServer(client, url, f"server of user '{ACCOUNT}'", ACCOUNT, 60)
        finding = Finding()
        prove(server, ["python3"], finding)
        assert finding.message == "The server offers python3."
        assert "python3" in finding.details["kernel_specs"]
        with pytest.raises(NotFound, match=r"does not offer ir\. It offers python3"):
            prove(server, ["python3", "ir"], Finding())
        api_request(reader.hub, "DELETE", f"users/{ACCOUNT}/server")
        with pytest.raises(HubError) as raised:
            prove(server, ["python3"], Finding())
        assert not isinstance(raised.value, Conflict | NotFound)
    # The steps that make it a phase name files that are there.
    text = (REPOSITORY / PAGE).read_text()
    for path in (
        "plugins/modules/hub_verify.py", "tests/integration/modules/test_hub_verify_proofs.py", "changelogs/fragments/",
    ):  # fmt: skip
        assert f"``{path}``" in text
        assert (REPOSITORY / path).exists()
    assert isinstance(spec.CheckSpec.proofs, property)
