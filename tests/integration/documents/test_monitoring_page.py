# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide on monitoring: an operator runs every block. A real Prometheus says which alerts fire.

A folder stands for the root of the operator's machine. One hub of two passes, and the other one fails.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import requests
import yaml
from support.documents import blocks, tables
from support.fakes.fake_systemd import unit_settings
from support.hubs import REPOSITORY, Hub
from support.monitoring import FILES, NEEDS_PROMETHEUS, Prometheus, node_exporter, prometheus
from support.playbooks import ProgramResult, ansible_bin, bare_environment, mint, run_program
from support.report_servers import pushgateway
from support.waiting import wait_until

PAGE = "docs/docsite/rst/monitoring.rst"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for rule in yaml.safe_load((FILES / "prometheus-rules.yml").read_text())["groups"][0]["rules"]
}
PUSHED = "http://pushgateway.example.org:9091/"


class Operator:
    """Runs the blocks of the page in order, below a folder."""

    def __init__(self, root: Path, gateway: str) -> None:
        self.root, self.gateway = root, gateway
        self.left = blocks(PAGE)
        self.reports, self.textfiles = root / "var/lib/hubops", root / "var/lib/prometheus/node-exporter"
        self.settings = root / "etc/hubops"
        for folder in (self.reports, self.textfiles, self.settings, root / "etc/prometheus"):
            folder.mkdir(parents=True)
        self.env = bare_environment(root)
        collections = root / "home/.ansible/collections/ansible_collections/hubops"
        collections.mkdir(parents=True)
        (collections / "jupyterhub").symlink_to(REPOSITORY)

    def code(self, language: str, has: str) -> str:
        """The next block, for this machine. Checks that it is the expected one."""
        block = self.left.pop(0)
        assert (block.language, has in block.code) == (language, True), block
        code = re.sub(r"(?<![\w/.~])/(etc|var)/", rf"{self.root}/\1/", block.code)
        return code.replace("/usr/bin/ansible-playbook", str(ansible_bin() / "ansible-playbook")).replace(
            PUSHED, self.gateway
        )

    def shell(self, has: str) -> ProgramResult:
        done = run_program(["bash", "-euc", self.code("shell", has)], self.root, self.env)
        assert done.status == 0, done.output
        return done

    def verify(self, command: str, folder: Path | None = None) -> dict[str, Any]:
        """Run a scheduled verification, which fails because one of the hubs does. Returns its report."""
        done = run_program(["sh", "-c", command], folder or Path("/"), self.env)
        assert done.status == 2, done.output
        assert "FAILED in " in done.stdout
        report = json.loads((self.reports / "verify-report/report.json").read_text())
        assert {row["host"]: row["verdict"] for row in report["hubs"]} == {"teaching": "passed", "research": "failed"}
        assert isinstance(report, dict)
        return report


@pytest.fixture
def operator(hub_61: Hub, tmp_path: Path) -> Iterator[Operator]:
    with TemporaryDirectory() as folder, pushgateway(tmp_path) as gateway:
        root = Path(folder).resolve()
        root.chmod(0o755)  # the node exporter is not root
        operator = Operator(root, gateway)
        checks = {"teaching": {"name": "lab"}, "research": {"name": "gpu", "user_options": {"fail": "no room"}}}
        hosts = {
            host: {
                "hub_url": hub_61.url, "verify_api_token": mint(hub_61, f"{host}-monitored"), "verify_checks": [check],
            }
            for host, check in checks.items()
        }  # fmt: skip
        (operator.settings / "hubs.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
        write_history(operator)
        yield operator


def write_history(operator: Operator) -> None:
    """Of three runs in which the server started at once, and of a hub that is no longer in the inventory."""
    ages = (29 * 3600, 28 * 3600, 27 * 3600)
    times = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - age)) for age in ages]
    runs = [{"began": began, "verdict": "passed", "seconds": 1.0, "checks": {"lab": 0.001}} for began in times]
    (operator.reports / "verify-report").mkdir()
    history = {"teaching": runs, "old": [{**run, "checks": {}} for run in runs]}
    last_success = dict.fromkeys(history, times[-1])
    (operator.reports / "verify-report/history.json").write_text(
        json.dumps({"history": history, "last_success": last_success})
    )


def states(server: Prometheus) -> dict[tuple[str, ...], str]:
    """The state of each alert, by its name without the prefix, its hub, and the job that the metrics come from."""
    alerts = server.alerts()
    assert all(rule["health"] != "err" for rule in server.rules())
    assert not [alert for alert in alerts if "<error" in str(alert["annotations"])]
    labels = [alert["labels"] for alert in alerts]
    keys = [(each["alertname"].removeprefix("JupyterHub"), each.get("hub", ""), each.get("job", "")) for each in labels]
    return dict(zip(keys, (alert["state"] for alert in alerts), strict=True))


@NEEDS_PROMETHEUS
def test_the_page_from_its_beginning_to_its_end(operator: Operator, tmp_path: Path) -> None:
    schedule(operator)
    with ExitStack() as stack:
        exporter = stack.enter_context(node_exporter(operator.root, operator.textfiles))
        publish(operator, exporter)
        config = configure(operator, exporter)
        server = stack.enter_context(prometheus(operator.root, config))
        look_at_the_alerts(server)
        remove_a_hub(operator, server)
        lose_the_file(operator, server)
    assert operator.left == []


def schedule(operator: Operator) -> None:
    """Run the service, and the line of cron."""
    service, timer = operator.root / "hubops-verify.service", operator.root / "hubops-verify.timer"
    service.write_text(operator.code("ini", "[Service]"))
    timer.write_text(operator.code("ini", "[Timer]"))
    settings = unit_settings(service)
    assert operator.reports.name == settings["StateDirectory"][0]  # systemd creates it, for this user
    operator.verify(settings["ExecStart"][0], Path(settings["WorkingDirectory"][0]))
    if analyze := shutil.which("systemd-analyze"):
        subprocess.run([analyze, "verify", timer], check=True)
    *_when, user, command = operator.code("text", "hubops ").strip().split(" ", 6)
    assert (len(_when), [user]) == (5, settings["User"])
    report = operator.verify(command)
    assert [run["verdict"] for run in report["history"]["research"]] == ["failed", "failed"]


def publish(operator: Operator, exporter: str) -> None:
    """Let the exporter and the Pushgateway have the file."""
    served = f"http://{exporter}/metrics"
    link = operator.textfiles / "hubops.prom"
    operator.shell("ln -s ")
    assert link.is_symlink()
    text = requests.get(served, timeout=60).text
    assert "node_textfile_scrape_error 0" in text
    assert f'node_textfile_mtime_seconds{{file="{link}"}}' in text
    # Debian's exporter looks there, without an option.
    described = subprocess.run(["prometheus-node-exporter", "--help"], capture_output=True, text=True, check=False)
    assert "/var/lib/prometheus/node-exporter" in described.stdout + described.stderr
    # The exporter may not enter the folder, so the operator copies the file.
    operator.reports.chmod(0o700)
    if is_refused := "node_textfile_scrape_error 1" in requests.get(served, timeout=60).text:
        link.unlink()
    operator.shell("hubops.prom.new")
    assert is_refused != link.is_symlink()
    text = requests.get(served, timeout=60).text
    assert 'hubops_verify_failures_in_a_row{hub="research"} 2' in text
    assert "node_textfile_scrape_error 0" in text
    # As AWX does, with a report of its own.
    variables = operator.root / "uploads.yml"
    variables.write_text(operator.code("yaml", "verify_uploads:"))
    playbook = f"{ansible_bin()}/ansible-playbook -i hubs.yml hubops.jupyterhub.verify"
    more = f"-e @{variables} -e verify_report_dir={operator.reports}/verify-report"
    operator.verify(f"{playbook} {more}", operator.settings)
    pushed = requests.get(f"{operator.gateway}metrics", timeout=60).text
    assert 'hubops_verify_failures_in_a_row{hub="research",instance="",job="hubops"} 3' in pushed
    requests.delete(f"{operator.gateway}metrics/job/hubops", timeout=60).raise_for_status()
    operator.shell("curl ")
    pushed = requests.get(f"{operator.gateway}metrics", timeout=60).text
    assert 'hubops_verify_failures_in_a_row{hub="research",instance="",job="hubops"} 3' in pushed


def configure(operator: Operator, exporter: str) -> dict[str, Any]:
    """Check the alerts and the configuration as the page says. Returns the configuration for these ports."""
    operator.shell("cp ~/.ansible/")
    code = operator.code("yaml", "scrape_configs:")
    (operator.root / "etc/prometheus/prometheus.yml").write_text(code)
    done = operator.shell("promtool check config")
    assert f"{len(RULES)} rules found" in done.output
    operator.shell("promtool test rules")
    for port, address in (("9100", exporter), ("9091", operator.gateway.strip("/").rpartition("/")[2])):
        assert f"localhost:{port}" in code
        code = code.replace(f"localhost:{port}", address)
    config = yaml.safe_load(code)
    assert isinstance(config, dict)
    return config


def look_at_the_alerts(server: Prometheus) -> None:
    """The exporter and the Pushgateway have the same hubs. Each has its own alerts."""
    expected = {
        ("Failing", "research"): "firing",
        ("NeverVerified", "research"): "pending",  # for 15 minutes
        ("StartsSlowly", "teaching"): "firing",
        ("NotVerified", "old"): "firing",
    }
    both = {(*alert, job): state for alert, state in expected.items() for job in ("node", "hubops")}
    wait_until(lambda: states(server) == both)
    alerts = [alert for alert in server.alerts() if alert["labels"]["alertname"] == "JupyterHubFailing"]
    assert {(alert["annotations"]["summary"], alert["annotations"]["description"]) for alert in alerts} == {
        (
            f"The hub research has failed {number} verifications in a row.",
            "Failed phases of the last one: start of the check gpu. Open index.html of the report, which says why, and "
            "what to do next.",
        )
        for number in (2, 3)
    }


def remove_a_hub(operator: Operator, server: Prometheus) -> None:
    """The next run leaves its metrics out, and so does the Pushgateway."""
    operator.shell("python3 - old")
    command = f"{ansible_bin()}/ansible-playbook -i hubs.yml hubops.jupyterhub.verify"
    uploads = f"-e @{operator.root}/uploads.yml -e verify_report_dir={operator.reports}/verify-report"
    report = operator.verify(f"{command} {uploads}", operator.settings)
    assert {*report["history"]} == {*report["last_success"], "research"} == {"teaching", "research"}
    shutil.copy(operator.reports / "verify-report/metrics.prom", operator.textfiles / "hubops.prom")
    missing = {("MetricsMissing", "old", job): "pending" for job in ("node", "hubops")}
    wait_until(lambda: states(server).items() >= missing.items())
    assert {key for key in states(server) if key[1] == "old" or key[0] == "MetricsMissing"} == {*missing}


def lose_the_file(operator: Operator, server: Prometheus) -> None:
    """The exporter cannot read the file, and the group of the Pushgateway is removed."""
    (operator.textfiles / "hubops.prom").write_text("hubops_verify_seconds{\n")
    wait_until(lambda: server.query('node_textfile_scrape_error{job="node"} == 1'))
    requests.delete(f"{operator.gateway}metrics/job/hubops", timeout=60).raise_for_status()
    hubs = ("teaching", "research", "old")
    expected = {("MetricsMissing", hub, job): "pending" for hub in hubs for job in ("node", "hubops")}
    wait_until(lambda: states(server) == {**expected, ("NoMetrics", "", ""): "pending"})


def test_the_page_lists_each_alert_and_what_it_waits_for() -> None:
    [(_header, *rows)] = [rows for rows in tables(PAGE) if rows[0] == ["Alert", "Severity", "Fires"]]
    listed = {name: (severity, fires) for name, severity, fires in rows}
    assert [*listed] == [*RULES]
    for name, rule in RULES.items():
        severity, fires = listed[name]
        assert rule["labels"] == {"severity": severity}
        assert rule.get("for") == ("15m" if "15 minutes" in fires else None)
        assert {*rule["annotations"]} == {"summary", "description"}


def test_the_readers_of_the_metrics_know_each_of_them() -> None:
    """Each metric of the alerts and the dashboard is one that the page of the report lists."""
    listed = {row[0] for rows in tables("docs/docsite/rst/verify_report.rst") for row in rows if rows[0][0] == "Metric"}
    used = {name for file in FILES.iterdir() for name in re.findall(r"hubops_verify_\w+", file.read_text())}
    assert used <= listed
    assert len(used) == 8
