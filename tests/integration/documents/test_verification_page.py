# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide on the verification: an operator with two hubs runs every block, in order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_stats import stats
from support.documents import Block, blocks
from support.hubs import Hub, lab_config, running_hub
from support.playbooks import (
    ProgramResult,
    bare_environment,
    hub_environment,
    mint,
    run_playbook,
    run_program,
    servers,
    start_server,
)
from support.report_servers import s3, webdav

PAGE = "docs/docsite/rst/verification.rst"
NOTEBOOK: dict[str, Any] = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "cells": [
        {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [], "source": "x = 6 * 7"},
        {
            "cell_type": "code", "id": "b", "metadata": {"tags": ["raises-exception"]}, "execution_count": None,
            "outputs": [], "source": "1/0",
        },
        {
            "cell_type": "code", "id": "c", "metadata": {}, "execution_count": None, "outputs": [],
            "source": "assert x == 42",
        },
    ],
}  # fmt: skip


class Reader:
    """Runs the blocks of the page in order. Two hubs stand for those of the example."""

    def __init__(self, folder: Path, teaching: Hub, research: Hub) -> None:
        self.folder, self.teaching, self.research = folder, teaching, research
        self.left = [block for block in blocks(PAGE) if block.language != "text"]

    def block(self, language: str, has: str) -> Block:
        """The next block. Checks that it is the expected one."""
        block = self.left.pop(0)
        assert block.language == language, block
        assert has in block.code
        return block

    def shell(self, has: str, **env: str) -> ProgramResult:
        code = self.block("shell", has).code
        done = run_program(["bash", "-euc", code], self.folder, bare_environment(self.folder) | env)
        assert done.status == 0, done.output
        return done

    def write_inventory(self) -> None:
        code = self.block("yaml", "verify_checks:").code
        for name, hub in (("teaching.example.org/", self.teaching), ("research.example.org/jhub/", self.research)):
            assert f"https://{name}" in code
            code = code.replace(f"https://{name}", hub.url)
        (self.folder / "hubs.yml").write_text(code)

    def report(self) -> dict[str, Any]:
        report = json.loads((self.folder / "verify-report/report.json").read_text())
        assert isinstance(report, dict)
        return report


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, Hub]]:
    with (
        running_hub(tmp_path_factory.mktemp("teaching"), spawner="server", config=lab_config()) as one,
        running_hub(tmp_path_factory.mktemp("research"), version="5.5", spawner="server", base_url="/jhub/") as other,
    ):
        yield one, other


def test_the_page_from_its_beginning_to_its_end(hubs: tuple[Hub, Hub], tmp_path: Path) -> None:
    reader = Reader(tmp_path, *hubs)
    scopes = ("start:servers", "delete:servers", "read:servers", "access:servers", "read:tokens")
    tokens = {
        "teaching": mint(hubs[0], "teaching-bot", [f"{scope}!user" for scope in scopes]),
        "home-bot": mint(hubs[0], "home-bot"),
        "research": mint(hubs[1], "research-bot"),
    }
    for name, token in tokens.items():
        (tmp_path / f"{name}.token").write_text(f"{token}\n")
    (tmp_path / "lecture.ipynb").write_text(json.dumps(NOTEBOOK))
    reader.write_inventory()
    verify_all(reader, tokens)
    done = reader.shell("--limit research")
    assert [hub["host"] for hub in reader.report()["hubs"]] == ["research"]
    assert len(reader.report()["history"]["teaching"]) == 1
    done = reader.shell("--check")
    assert "SKIPPED in " in done.stdout
    start_server(hubs[1], "research-bot")  # a check of this account does not use its default server
    reader.shell("verify_stop_running=true")
    assert [*servers(hubs[1], "research-bot")] == [""]
    send_the_report(reader)
    done = reader.shell("merge_reports")
    merged = json.loads((tmp_path / "merged/report.json").read_text())
    assert {hub["host"]: hub["verdict"] for hub in merged["hubs"]} == {"teaching": "passed", "research": "passed"}
    assert "report in merged" in done.stdout
    artifact = json.loads(reader.block("json", "left_out").code)
    found = stats(merged)
    assert ([*artifact], [*artifact["hubs"]]) == ([*found], [*found["hubs"]])
    assert {len(text.split()) for text in artifact["hubs"]["passed"].values()} == {2}
    run_the_playbook(reader, tokens["teaching"])
    assert reader.left == []


def verify_all(reader: Reader, tokens: dict[str, str]) -> None:
    done = reader.shell("-i hubs.yml")
    report = reader.report()
    assert report["verdict"] == "passed", done.output
    taken = {
        (hub["host"], check["name"]): [phase["name"] for phase in check["phases"]][1:-1]
        for hub in report["hubs"]
        for check in hub["checks"]
    }
    assert taken == {
        ("teaching", "lab"): ["page", "packages", "paths", "resources"],
        ("teaching", "first lecture"): ["notebooks"],
        ("teaching", "connections"): ["terminal", "websocket"],
        ("teaching", "home"): ["persist"],
        ("research", "small"): ["code"],
        ("research", "large"): ["resources"],
    }
    for user in ("teaching-bot", "home-bot"):
        assert servers(reader.teaching, user) == {}
    assert servers(reader.research, "research-bot") == {}
    # The table looks as the page shows it.
    [sample] = [block.code for block in blocks(PAGE) if block.language == "text"]
    shown = re.findall(r'^ +"((?:teaching|research) .*|PASSED in .*)",?$', done.stdout, re.MULTILINE)
    assert [shape(line) for line in shown] == [shape(line) for line in sample.splitlines()]
    assert not [token for token in tokens.values() if token in done.output]


def shape(line: str) -> str:
    """A line without its numbers and the spaces around them."""
    return re.sub(r" +\d+\.\d+", " N", line)


def send_the_report(reader: Reader) -> None:
    code = reader.block("yaml", "verify_uploads:").code
    with webdav(reader.folder, "verify-bot") as files, s3(reader.folder) as bucket:
        (files.folder / "reports").mkdir()
        assert "https://files.example.org/reports/" in code
        code = code.replace("https://files.example.org/", files.url)
        code = code.replace("user: verify-bot", f"user: verify-bot\n    ca_path: {files.ca_path}")
        (reader.folder / "uploads.yml").write_text(code)
        reader.shell(
            "-e @uploads.yml", FILES_PASSWORD=files.password, REPORT_URL=bucket.sign_put("a.xml", "application/xml")
        )
        report = reader.folder / "verify-report"
        assert (files.folder / "reports/hubs-by-hand.html").read_text() == (report / "index.html").read_text()
        assert bucket.read("a.xml")[0] == (report / "junit.xml").read_text()


def run_the_playbook(reader: Reader, token: str) -> None:
    playbook = reader.folder / "upgrade.yml"
    playbook.write_text(reader.block("yaml", "- name: Upgrade").code)
    done = run_playbook(playbook, folder=reader.folder, env=hub_environment(reader.teaching, token))
    assert done.status == 0, done.output
    assert "teaching-bot: passed in" in done.stdout
    assert (done.recap["localhost"]["skipped"], done.recap["localhost"]["ignored"]) == (1, 0)
    # A hub with another version is verified, too, and the playbook goes on to what it does then.
    done = run_playbook(
        playbook,
        folder=reader.folder,
        env=hub_environment(reader.research, (reader.folder / "research.token").read_text().strip()),
    )
    assert (done.recap["localhost"]["skipped"], done.recap["localhost"]["ignored"]) == (0, 1), done.output
    assert "roll back" in done.stdout
