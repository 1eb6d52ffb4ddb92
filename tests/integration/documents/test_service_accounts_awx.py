# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide on service accounts, section AWX: a job renews tokens, and keeps them in a credential of AWX.

The role awx creates the job template in a stand-in of AWX, from the declaration of the page. Each job then gets the
inventory and the credentials as the stand-in has them, which is what AWX does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from support.awx import awx_environment, run_awx
from support.fakes.fake_awx import FakeAwx
from support.hubs import HubPool, venv
from support.playbooks import ProgramResult
from support.service_accounts import logged, writes
from support.token_jobs import DAY, HOUR, SERVICE_TOKEN, TokenJobs, changes, start_two_hubs, take_section

CREDENTIAL = "Tokens for verification"
OF_AWX = {
    f"{prefix}_{name}": f"{{{{ {name.lower()} }}}}"
    for prefix in ("TOWER", "CONTROLLER")
    for name in ("HOST", "USERNAME", "PASSWORD", "OAUTH_TOKEN")
}
"""What AWX 24.6.1 sets in a job for a credential for itself. Inputs that have no value are empty there."""


class Controller:
    """AWX, with the job template of the page."""

    def __init__(self, awx: FakeAwx, folder: Path, jobs: TokenJobs) -> None:
        tokens, keep, declaration = take_section("A credential of AWX")["yaml"]
        self.awx, self.folder, self.jobs = awx, folder, jobs
        jobs.project = {"tokens.yml": tokens, "keep.yml": keep}
        assert "https://awx.example.org/" in declaration
        for name, hub in jobs.hubs.items():
            assert f"https://{name}.example.org/" in declaration
            declaration = declaration.replace(f"https://{name}.example.org/", hub.url)
        wanted = yaml.safe_load(declaration.replace("https://awx.example.org/", awx.url))
        wanted |= {"vault_hubops": SERVICE_TOKEN, "vault_awx": awx.token}
        done = run_awx(awx, folder, {**wanted, "awx_execution_environment": {"image": "registry.example.org/hubops:1"}})
        assert done.status == 0, done.output

    def launch(self, **changed: str) -> ProgramResult:
        """Run a job of the template, with the environment that AWX makes of its credentials, and with ``changed``."""
        template = self.awx.stored("job_templates", "Renew the tokens")
        assert json.loads(template["extra_vars"] or "{}") == {}
        env = awx_environment(self.awx)
        for name in self.awx.linked("job_templates", "Renew the tokens", "credentials"):
            env |= self.inject(self.awx.stored("credentials", name))
        inventory = self.awx.stored("inventories", "JupyterHubs")["variables"]
        return self.jobs.run(template["playbook"], {**env, **changed}, **yaml.safe_load(inventory))

    def inject(self, credential: dict[str, Any]) -> dict[str, str]:
        """As `inject_credential` of AWX does."""
        [kind] = [each for each in self.awx.items("credential_types") if each["id"] == credential["credential_type"]]
        injectors = {"env": OF_AWX} if kind["namespace"] == "controller" else kind["injectors"]
        values = {each["id"]: credential["inputs"].get(each["id"], "") for each in kind["inputs"]["fields"]}
        if "file" in injectors:
            path = self.folder / f"injected-{len(self.jobs.said)}"
            path.write_text(jinja2.Template(injectors["file"]["template"]).render(values))
            path.chmod(0o600)
            values["tower"] = {"filename": str(path)}
        return {name: jinja2.Template(text).render(values) for name, text in injectors["env"].items()}

    @property
    def kept(self) -> dict[str, str]:
        """The tokens in the credential, which AWX shows to nobody."""
        found: dict[str, str] = json.loads(self.awx.stored("credentials", CREDENTIAL)["inputs"]["tokens"])
        return found


@pytest.fixture
def controller(pool: HubPool, tmp_path: Path) -> Iterator[Controller]:
    hubs = start_two_hubs(pool)
    with ExitStack() as stack:
        awx = stack.enter_context(FakeAwx())
        yield Controller(awx, tmp_path, TokenJobs(tmp_path, hubs, venv("awx") / "bin"))


def test_a_job_keeps_its_tokens_in_a_credential(controller: Controller) -> None:
    awx, jobs = controller.awx, controller.jobs
    both = jobs.hubs
    assert controller.kept == {}
    jobs.hubs = {"teaching": both["teaching"]}
    assert controller.launch().status == 0
    assert list(controller.kept) == ["teaching"]
    # Another hub keeps the tokens of the others.
    jobs.hubs = both
    of_teaching, of_research = changes(controller.launch())
    assert (of_teaching, of_research > 0) == (0, True)
    first = controller.kept
    assert jobs.works(first)

    positions, position = {name: logged(hub) for name, hub in both.items()}, len(awx.writes)
    assert changes(controller.launch()) == [0, 0]
    assert awx.writes[position:] == []
    assert [writes(hub, positions[name]) for name, hub in both.items()] == [[], []]

    jobs.let_time_pass(23 * DAY)
    does_not_take_new_tokens(controller, first)
    # The successors are in the credential. Other jobs may still use the old tokens.
    assert all(count > 0 for count in changes(controller.launch()))
    second = controller.kept
    assert not set(first.values()) & set(second.values())
    assert jobs.works(first)
    assert jobs.works(second)
    jobs.let_time_pass(3 * HOUR)
    assert changes(controller.launch()) == [1, 1]
    assert jobs.count_tokens() == [1, 1]
    assert jobs.works(second)
    assert changes(controller.launch()) == [0, 0]
    assert controller.kept == second
    assert jobs.find_leaks(*first.values(), *second.values(), SERVICE_TOKEN, awx.token) == []


def does_not_take_new_tokens(controller: Controller, kept: dict[str, str]) -> None:
    """AWX refuses what a job writes, and then it does not answer. The old tokens work after each of these jobs."""
    awx, jobs = controller.awx, controller.jobs
    # Nothing listens at this port, which is reserved.
    for said, changed in (
        ("You don't have permission to PATCH", {}),
        ("Connection refused", {"CONTROLLER_HOST": "http://127.0.0.1:1"}),
    ):
        awx.read_only = not changed
        done = controller.launch(**changed)
        awx.read_only = False
        assert done.status == 2
        verdict = done.stdout.rpartition("Fail if an account failed")[2]
        assert len(re.findall(r"FAILED! => \{\s*.changed.: false,\s*.msg.: .verify-bot \(", verdict)) == 2, verdict
        assert said in verdict
        assert controller.kept == kept
        assert jobs.works(kept)
