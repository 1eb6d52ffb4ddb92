# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page that shows a report of the role verify: what it says, and that no text becomes a part of the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_page import LONGEST_PAGE, page
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_page_svg import (
    axis,
    phase_bar,
    sparkline,
    tick_step,
)
from support import verify_results as sample

ATTRIBUTES = {
    "html": "lang", "head": "", "body": "", "main": "", "meta": "charset name content http-equiv", "title": "",
    "link": "rel href", "style": "", "header": "class", "footer": "class", "section": "class", "div": "class",
    "h1": "", "h2": "", "h3": "", "p": "class", "span": "class", "b": "", "bdi": "", "ol": "class style", "li": "class",
    "details": "class open", "summary": "", "pre": "", "time": "datetime", "a": "href rel", "defs": "",
    "svg": "class width height style role aria-hidden aria-label", "use": "href", "text": "x y text-anchor",
    "rect": "class x y width height style", "circle": "cx cy r stroke-dasharray", "path": "class d",
    "pattern": "id width height patternunits patterntransform", "symbol": "id viewbox",
}  # fmt: skip
"""Each element that a page may have, and its attributes."""
VOID = ("meta", "link")


class Reader(HTMLParser):
    """Reads a page, and checks that it is closed properly and has only what it may have."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert {name for name, _value in attrs} <= set(ATTRIBUTES[tag].split()), (tag, attrs)
        assert len({name for name, _value in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def all_of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("name", sample.REPORTS)
def test_a_page_is_well_formed_and_asks_for_nothing(name: str) -> None:
    text = page(sample.REPORTS[name]())
    read = Reader(text)
    assert read.all_of("html") == [{"lang": "en"}]
    assert len(read.all_of("title")) == len(read.all_of("main")) == len(read.all_of("h1")) == 1
    assert read.all_of("link") == [{"rel": "icon", "href": "data:,"}]
    assert {use["href"] for use in read.all_of("use")} <= {"#passed", "#warned", "#skipped", "#failed"}
    assert all(re.match("https?://", str(link["href"])) for link in read.all_of("a"))
    assert re.findall(r"url\(.*?\)|@import", text) == ["url(#hatched)"]
    levels = [int(tag[1]) for tag, _attributes in read.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in zip([0, *levels], levels, strict=False))
    assert len(text.encode()) < 2_000_000


@pytest.mark.parametrize("text", sample.HOSTILE_TEXTS)
def test_no_text_becomes_a_part_of_the_page(text: str) -> None:
    """Also if a report did not come from `collect`."""

    def tags(report: dict[str, Any]) -> list[str]:
        # An address is shown as a link, as a text, or not at all.
        return [tag for tag, _attributes in Reader(page(report)).elements if tag not in ("a", "p", "span")]

    report = sample.report_of({"a": sample.hostile_result(text)})
    assert tags(report) == tags(sample.report_of({"a": sample.hostile_result("x")}))
    report["hubs"][0] |= {"host": text, "url": text, "version": text, "message": text}
    report["ansible_version"] = text
    report["history"] = {text: report["history"]["a"]}
    drawn = page(report)
    Reader(drawn).text.encode()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", drawn)


def test_the_page_says_what_happened_and_what_to_do_next() -> None:
    read = Reader(page(sample.three_hubs()))
    hubs = [attributes for attributes in read.all_of("details") if "hub" in str(attributes["class"]).split()]
    assert [(hub["class"], "open" in hub) for hub in hubs] == [
        ("hub failed", True), ("hub warned", True), ("hub passed", False),
    ]  # fmt: skip
    for part in (
        "1 of 3 hubs failed", "Cell 3 of course/01-intro.ipynb raises ModuleNotFoundError: No module named 'torch'.",
        "What to do next: Install the package in the image of the profile", "----> 2 import torch",
        "packages, resources, terminal, persist. Not taken, since a phase before it failed.", "4 events of the spawner",
        "[Normal] Pulled: Container image already present", "JupyterHub 5.5.3", "start 6.", "in 10 runs",
    ):  # fmt: skip
        assert part in read.text, part
    assert "\x1b" not in read.text
    bars = [str(svg["aria-label"]) for svg in read.all_of("svg") if svg.get("class") == "line" and "role" in svg]
    assert "notebooks failed, from 12.8 s to 15.4 s" in bars


@pytest.mark.parametrize(
    ("results", "heading"),
    [
        ([], "No hub was verified"),
        ([sample.passed], "a passed"),
        ([sample.warned], "a works, with a warning"),
        ([sample.spawn_failed], "a failed"),
        ([sample.in_check_mode], "a was not verified"),
        ([sample.passed, sample.passed], "All 2 hubs passed"),
        ([sample.passed, sample.warned], "All 2 hubs work, 1 with a warning"),
        ([sample.passed, sample.in_check_mode], "1 of 2 hubs was not verified"),
        ([sample.passed, sample.spawn_failed, sample.warned], "1 of 3 hubs failed"),
    ],
)
def test_the_heading_is_the_result(results: list[Any], heading: str) -> None:
    report = sample.report_of({host: result() for host, result in zip("abc", results, strict=False)})
    assert f"<title>{heading} - JupyterHub verification</title>" in page(report)


def test_each_host_has_its_row_and_its_reason() -> None:
    read = Reader(page(sample.each_kind()))
    for hub in sample.each_kind()["hubs"]:
        assert hub["host"] in read.text
        assert hub["message"][:200] in read.text
    assert "Hubs that were not part of this run" in read.text
    assert "elsewhere" in read.text


def test_a_reason_that_no_phase_shows_is_shown() -> None:
    result = sample.passed() | {"failed": True, "msg": "The verification was interrupted."}
    text = page(sample.report_of({"a": result}))
    assert '<div class="next"><p>The verification was interrupted.</p>' in text
    assert 'class="next"' not in page(sample.report_of({"a": sample.passed()}))


def test_a_page_has_a_limit() -> None:
    """The hubs that failed keep their details, and each hub keeps its row."""
    results: dict[str, Any] = {f"good-{number}": sample.passed() for number in range(300)}
    results["bad"] = sample.failed_with_traceback(["x" * 100_000])
    text = page(sample.report_of(results))
    assert len(text.encode()) < LONGEST_PAGE + 100_000
    read = Reader(text)
    assert len([1 for attributes in read.all_of("details") if attributes["class"] == "hub failed"]) == 1
    assert len(read.all_of("h2")) == 301
    assert 'class="bare"' in text


# Drawings


def test_an_axis_has_few_round_ticks() -> None:
    assert [tick_step(seconds) for seconds in (0, 0.4, 1, 5, 14.9, 61, 600)] == [
        0.0002, 0.1, 0.2, 1, 5, 20, 200,
    ]  # fmt: skip
    assert re.findall(">([^<]*)</text>", axis(14.9)) == ["0 s", "5", "10"]
    assert re.findall(">([^<]*)</text>", axis(0.4)) == ["0 s", "0.1", "0.2", "0.3"]


def test_a_bar_is_to_scale() -> None:
    start = sample.phase(
        "start", 5, 10, details={"events": [{"seconds": 2.5}, {"seconds": 99}, None, {"seconds": "x"}]}
    )
    drawn = phase_bar(start, 20)
    assert 'class="bar" x="25.00%" y="50%" width="50.00%"' in drawn
    assert re.findall('class="event" x="(.*?)%"', drawn) == ["37.50"]
    beyond = phase_bar(sample.phase("stop", 50, 10), 20)
    assert 'x="100.00%" y="50%" width="0.00%"' in beyond
    assert "rect" not in phase_bar({**start, "verdict": "skipped"}, 20)


def test_earlier_runs_are_a_line_if_there_are_two() -> None:
    assert sparkline([("passed", 4.0)], "Seconds") == sparkline([("failed", None), ("passed", 4.0)], "Seconds") == ""
    drawn = sparkline([("passed", 4.0), ("failed", None), ("passed", 2.0)], "Seconds")
    assert "Seconds of the last 3 runs, from 2.0 s to 4.0 s" in drawn
    assert drawn.count('class="cross failed"') == drawn.count("<circle") == 1
    assert "<circle" not in sparkline([("passed", 4.0), ("failed", 2.0)], "Seconds")
