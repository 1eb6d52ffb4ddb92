# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts Prometheus and its node exporter, as Debian has them, and asks Prometheus.

with node_exporter(folder, textfiles) as address, prometheus(folder, {"scrape_configs": [...]}) as server:
    wait_until(lambda: server.query("up == 1"))
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from support.hubs import REPOSITORY
from support.report_servers import running_server
from support.waiting import wait_until

PROGRAMS = ("prometheus", "promtool", "prometheus-node-exporter", "prometheus-pushgateway")
FILES = REPOSITORY / "docs/monitoring"
NEEDS_PROMETHEUS = pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)), reason="Prometheus is not installed: run tools/monitoring --install"
)
NOBODY = "65534"


@dataclass(frozen=True)
class Prometheus:
    url: str

    def _ask(self, path: str, **params: Any) -> Any:
        answer = requests.get(f"{self.url}api/v1/{path}", params=params, timeout=60)
        assert answer.ok, answer.text
        return answer.json()["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The labels and the value of each sample that an expression has now."""
        result = self._ask("query", query=expression)["result"]
        return [(sample["metric"], float(sample["value"][1])) for sample in result]

    def query_range(self, expression: str, seconds: float = 60) -> list[dict[str, str]]:
        """The labels of each series that an expression has in the last seconds."""
        now = time.time()
        result = self._ask("query_range", query=expression, start=now - seconds, end=now, step=1)["result"]
        return [series["metric"] for series in result]

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that fire or will fire, each with its labels, annotations and state."""
        found: list[dict[str, Any]] = self._ask("alerts")["alerts"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]


@contextmanager
def prometheus(folder: Path, config: dict[str, Any]) -> Iterator[Prometheus]:
    """Prometheus with this configuration, which scrapes and looks at the rules each second."""
    home = folder / "prometheus"
    home.mkdir()
    every_second = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (home / "prometheus.yml").write_text(yaml.safe_dump({"global": every_second, **config}))
    with running_server(
        home,
        lambda port: [
            "prometheus", f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
    ) as port:  # fmt: skip
        url = f"http://127.0.0.1:{port}/"
        wait_until(lambda: requests.get(f"{url}-/ready", timeout=60).ok)
        yield Prometheus(url)


@contextmanager
def node_exporter(folder: Path, textfiles: Path) -> Iterator[str]:
    """A node exporter that reads the files in a folder. Yields its address.

    As the one of a system, it is not root. If the tests are, it runs as the user nobody.
    """
    home = folder / f"exporter-of-{textfiles.name}"
    home.mkdir()
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    with running_server(
        home,
        lambda port: [
            *user, "prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
            f"--collector.textfile.directory={textfiles}", f"--web.listen-address=127.0.0.1:{port}",
        ],
    ) as port:  # fmt: skip
        yield f"127.0.0.1:{port}"
