# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboard for Grafana: its form, and what a Prometheus answers to each of its queries."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_metrics import metrics
from support import verify_results as sample
from support.monitoring import FILES, NEEDS_PROMETHEUS, Prometheus, node_exporter, prometheus
from support.waiting import wait_until

DASHBOARD: dict[str, Any] = json.loads((FILES / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
TARGETS = {(panel["title"], target["refId"]): target for panel in PANELS for target in panel["targets"]}
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

NAMES = ['quo"ted', "back\\slash", "two\nlines", "{{ braces }}", ".*|a+", "\u65e5\u672c é \u202e", "${hub} $instance"]
"""Names of hubs that Ansible, Prometheus or Grafana could take for something else."""


# Its form


def test_the_form_is_that_of_the_current_grafana() -> None:
    assert DASHBOARD["schemaVersion"] == 42  # of Grafana 12 and 13
    assert re.fullmatch("[a-z-]{1,40}", DASHBOARD["uid"])
    assert DASHBOARD["id"] is None  # Grafana chooses it
    assert (DASHBOARD["time"]["from"], DASHBOARD["refresh"]) == ("now-30d", "5m")
    assert all(DASHBOARD[key] for key in ("title", "tags", "description"))
    assert [*VARIABLES] == ["datasource", "hub", "instance"]
    assert VARIABLES["datasource"]["query"] == "prometheus"
    # A provisioned dashboard has no inputs, and asks nobody for them.
    assert "__inputs" not in DASHBOARD


def test_each_panel_has_its_place() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    taken = set[tuple[int, int]]()
    for panel in PANELS:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        cells = {
            *itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len(taken) == 24 * (max(row for _column, row in taken) + 1), "there is a gap between the panels"


def test_each_panel_asks_the_chosen_data_source() -> None:
    for panel in PANELS:
        assert panel["datasource"] == SOURCE
        assert panel["description"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
        for target in panel["targets"]:
            assert target["datasource"] == SOURCE
            assert target["instant"] is not target["range"]
            assert target["instant"] == (panel["type"] in ("stat", "table"))
    assert all(VARIABLES[name]["datasource"] == SOURCE for name in ("hub", "instance"))
    # Nothing is named that Grafana does not know.
    names = {*VARIABLES}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) <= names | {"__all"}


@pytest.mark.parametrize(
    "panel", [panel for panel in PANELS if panel["type"] == "table"], ids=lambda each: each["title"]
)
def test_the_columns_of_a_table_are_those_of_its_queries(panel: dict[str, Any]) -> None:
    labels = re.search(r"by \((.*?)\)", panel["targets"][0]["expr"])
    assert labels
    several = len(panel["targets"]) > 1
    values = {f"Value #{target['refId']}" if several else "Value" for target in panel["targets"]}
    columns = {"Time", *labels[1].split(", "), *values}
    [organize] = [each["options"] for each in panel["transformations"] if each["id"] == "organize"]
    renamed, hidden = organize["renameByName"], organize["excludeByName"]
    assert {*renamed} | {*hidden} == columns
    assert [*renamed] == sorted(renamed, key=organize["indexByName"].__getitem__)
    titles = {*renamed.values()}
    assert {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]} <= titles
    assert {each["displayName"] for each in panel["options"]["sortBy"]} <= titles


# Its queries


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """One with each kind of result, with names of hubs that are hard to quote, and with starts that are slow."""
    hosts = {**sample.each_kind()["history"], **dict.fromkeys(NAMES)}
    earlier = sample.history_of([*hosts])
    earlier["history"]["raises"][-1]["verdict"] = "failed"
    results = {
        "passes": sample.passed(slowness=4), "warns": sample.warned(), "raises": sample.failed_with_traceback(),
        "no-room": sample.spawn_failed(), "checked": sample.in_check_mode(), "away": sample.UNREACHABLE_HOST,
        "lost": None, **{name: sample.failed_with_traceback() for name in NAMES},
    }  # fmt: skip
    return sample.report_of(results, earlier)


@pytest.fixture(scope="module")
def server(report: dict[str, Any]) -> Iterator[Prometheus]:
    """Prometheus that has read this report from two nodes."""
    # The exporter is not root, and pytest's own folders are private.
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        targets = []
        for node in ("a", "b"):
            (folder / node).mkdir()
            (folder / node / "hubops.prom").write_text(metrics(report))
            address = stack.enter_context(node_exporter(folder, folder / node))
            targets.append({"targets": [address], "labels": {"instance": node}})
        config = {"scrape_configs": [{"job_name": "node", "static_configs": targets}]}
        with prometheus(folder, config) as running:
            wait_until(lambda: len(running.query("count by (instance) (hubops_verify_seconds)")) == 2)
            assert {value for _labels, value in running.query("node_textfile_scrape_error")} == {0}
            yield running


def chosen(expression: str, hub: str = ".*", instance: str = ".*") -> str:
    """The query that Grafana makes of an expression. It escapes the values of variables twice, except those of All."""

    def escape(value: str) -> str:
        return value if value == ".*" else re.sub(r"([$^*{}\[\]'+?.()|])", r"\\\\\1", value.replace("\\", "\\\\\\\\"))

    values = {"hub": escape(hub).replace('"', '\\"'), "instance": escape(instance)}
    return re.sub(r"\$(\w+)", lambda match: values[match[1]], expression)


def ask(server: Prometheus, title: str, reference: str = "A", hub: str = ".*") -> dict[tuple[str, ...], float]:
    """The values on node `a`, by the labels that a panel shows."""
    found = {}
    for labels, value in server.query(chosen(TARGETS[title, reference]["expr"], hub, "a")):
        key = tuple(labels[name] for name in ("hub", "check", "phase", "verdict") if name in labels)
        assert key not in found
        found[key] = value
    return found


@NEEDS_PROMETHEUS
@pytest.mark.parametrize("panel", PANELS, ids=lambda each: each["title"])
def test_each_query_has_a_result(server: Prometheus, panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        found = server.query(chosen(target["expr"]))
        assert found, target["expr"]
        if panel["type"] == "stat":
            assert [labels for labels, _value in found] == [{}]
            continue
        assert {labels["instance"] for labels, _value in found} == {"a", "b"}
        shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
        if panel["type"] == "table":
            # Rows of several queries are merged by their labels, of which the name of the metric is none.
            assert not [labels for labels, _value in found if "__name__" in labels]
        else:
            series = server.query_range(chosen(target["expr"]))
            legends = [tuple(labels.get(name) for name in shown) for labels in series]
            assert len({*legends}) == len(legends) >= len(found), "two series have the same legend"


@NEEDS_PROMETHEUS
def test_each_hub_can_be_chosen(server: Prometheus, report: dict[str, Any]) -> None:
    hubs = [*report["history"]]
    assert len({*hubs}) > len(NAMES)
    for hub in hubs:
        assert [*ask(server, "Failures in a row", hub=hub)] == [(hub,)]
        assert {labels[0] for labels in ask(server, "Hubs", hub=hub)} == {hub}
    # What the variables offer.
    values = {labels["hub"] for labels, _value in server.query(label_values("hub"))}
    assert values == {*hubs, "lost"}
    assert {labels["instance"] for labels, _value in server.query(label_values("instance"))} == {"a", "b"}


def label_values(name: str) -> str:
    asked = re.fullmatch(rf"label_values\((.*), {name}\)", VARIABLES[name]["query"]["query"])
    assert asked
    return f"group by ({name}) ({chosen(asked[1])})"


@NEEDS_PROMETHEUS
def test_the_table_of_hubs_is_the_report(server: Prometheus, report: dict[str, Any]) -> None:
    runs = {host: found[-1] for host, found in report["history"].items()}
    verdicts = {labels[0]: labels[1] for labels in ask(server, "Hubs", "A")}
    assert verdicts == {**{host: run["verdict"] for host, run in runs.items()}, "lost": "failed"}
    ages = ask(server, "Hubs", "B")
    assert {labels[0] for labels in ages} == {*verdicts}
    assert {labels[0] for labels, age in ages.items() if age == -1} == {*verdicts} - {*report["last_success"]}
    assert {labels[0] for labels in ask(server, "Hubs", "C")} == {*verdicts}
    assert {labels[0]: value for labels, value in ask(server, "Hubs", "D").items()} == {
        **{host: run["seconds"] for host, run in runs.items()}, "lost": 0,
    }  # fmt: skip
    failures = ask(server, "Hubs", "E")
    assert (failures["raises",], failures["passes",], failures["warns",]) == (2, 0, 0)


@NEEDS_PROMETHEUS
def test_the_codes_of_verdicts_are_those_that_the_panel_maps(server: Prometheus) -> None:
    [panel] = [each for each in PANELS if each["type"] == "state-timeline"]
    [mapping] = panel["fieldConfig"]["defaults"]["mappings"]
    codes = {code: shown["text"] for code, shown in mapping["options"].items()}
    found = {labels[0]: codes[f"{value:.0f}"] for labels, value in ask(server, "Verdicts").items()}
    assert found == {labels[0]: labels[1] for labels in ask(server, "Hubs", "A")}
    assert {*found.values()} == {"passed", "warned", "skipped", "failed"} == {*codes.values()}


@NEEDS_PROMETHEUS
def test_the_phases_that_failed_are_those_of_the_report(server: Prometheus, report: dict[str, Any]) -> None:
    expected = {
        (hub["host"], *([check] if check else []), phase["name"])
        for hub in report["hubs"]
        for check, phases in [("", hub["phases"]), *((check["name"], check["phases"]) for check in hub["checks"])]
        for phase in phases
        if phase["verdict"] == "failed"
    }
    assert {*ask(server, "Failed phases")} == expected
    assert len(expected) == 9


@NEEDS_PROMETHEUS
def test_the_numbers_on_top_are_those_of_the_hubs(server: Prometheus) -> None:
    ages = ask(server, "Hubs", "B").values()
    stale = [age for age in ages if age == -1 or age > 26 * 3600]
    assert ask(server, "Not verified for 26 hours") == {(): len(stale)}
    assert abs(ask(server, "Last good verification")[()] - max(ages)) < 600
    failures = ask(server, "Failures in a row")
    assert ask(server, "Failing twice in a row") == {(): sum(value >= 2 for value in failures.values())}
    starts, medians = ask(server, "Start of servers"), ask(server, "Start of servers", "B")
    slow = [key for key, seconds in starts.items() if key in medians and seconds > 2 * medians[key]]
    assert ("passes", "lab") in slow
    assert ask(server, "Slow starts") == {(): len(slow)}


@NEEDS_PROMETHEUS
def test_the_numbers_on_top_are_zero_if_there_is_nothing(server: Prometheus) -> None:
    for title in ("Not verified for 26 hours", "Failing twice in a row", "Slow starts"):
        assert ask(server, title, hub="no-such-hub") == {(): 0}
