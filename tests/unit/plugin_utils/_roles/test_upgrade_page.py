# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part "before and after" of the page: what it says, and that no text becomes a part of the page."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.upgrade_files import file_content
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_page import LONGEST_PAGE, page
from support import upgrade_results as sample
from support import verify_results
from support.verify_results import HOSTILE_TEXTS

from . import test_verify_page


class Reader(test_verify_page.Reader):
    """Reads a page that may also have what only a comparison has."""

    MORE: dict[str, str] = {  # noqa: RUF012
        "section": "class aria-label", "h2": "class", "table": "class", "thead": "", "tbody": "", "tr": "class",
        "th": "scope", "td": "class data-side",
    }  # fmt: skip


@pytest.fixture(autouse=True)
def more_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_verify_page, "ATTRIBUTES", test_verify_page.ATTRIBUTES | Reader.MORE)


@pytest.mark.parametrize("with_verification", [False, True])
@pytest.mark.parametrize("name", sample.COMPARISONS)
def test_a_page_is_well_formed_and_asks_for_nothing(name: str, with_verification: bool) -> None:
    text = page(verify_results.three_hubs() if with_verification else None, sample.COMPARISONS[name]())
    read = Reader(text)
    assert len(read.all_of("title")) == len(read.all_of("main")) == len(read.all_of("h1")) == 1
    assert read.all_of("link") == [{"rel": "icon", "href": "data:,"}]
    signs = {f"#{name}" for name in ("passed", "warned", "skipped", "failed", "lost", "changed", "new")}
    assert {use["href"] for use in read.all_of("use")} <= signs
    assert {str(use["href"])[1:] for use in read.all_of("use")} <= set(re.findall('symbol id="([a-z]+)"', text))
    assert all(re.match("https?://", str(link["href"])) for link in read.all_of("a"))
    assert re.findall(r"url\(.*?\)|@import", text) == ["url(#hatched)"]
    levels = [int(tag[1]) for tag, _attributes in read.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in zip([0, *levels], levels, strict=False))
    assert len(text.encode()) < 2_000_000


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_no_text_becomes_a_part_of_the_page(text: str) -> None:
    def tags(report: dict[str, Any]) -> list[str]:
        return [
            tag for tag, _attributes in Reader(page(None, report)).elements if tag not in ("a", "p", "span", "time")
        ]

    report = sample.report_of({"a": sample.hostile_comparison(text)})
    assert tags(report) == tags(sample.report_of({"a": sample.hostile_comparison("x")}))
    report["hubs"][0] |= {"host": text, "url": text, "version": text, "message": text}
    report["ansible_version"] = text
    drawn = page(None, report)
    Reader(drawn).text.encode()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", drawn)


def test_the_page_says_what_is_lost_and_who_has_to_get_their_server_back() -> None:
    read = Reader(page(None, sample.report_of({"teaching": sample.with_losses()})))
    for part in (
        "teaching: 4 lost, 5 changed, 1 new", "5.5.4 \u2192 6.1.1", "User 'bob' is gone, with 2 tokens and 1 server.",
        "JupyterHub 6 splits this scope.", '{"disk": 10, "gpus": [1, 2]}', "User 'erin' is new.",
        "Servers to restore (3)", "Drained: alice, bob/lab. The playbook restore starts them again.",
        "Stopped: frank.", "2 survived", "4.1 s \u2192 9.7 s (+137 %)", "Starts1 slower",
        "users.auth_state Neither token may read it",
    ):  # fmt: skip
        assert part in read.text, part
    order = [read.text.index(f"{severity}") for severity in ("Lost4", "Changed5", "New1")]
    assert order == sorted(order)


def test_a_table_has_no_empty_column() -> None:
    read = Reader(page(None, sample.report_of({"teaching": sample.with_losses()})))
    heads = re.findall("KindWhat((?:Before|After)*)", read.text)
    assert heads == ["Before", "BeforeAfter", ""]


def test_a_wrong_severity_is_told_beside_the_differences() -> None:
    read = Reader(page(None, sample.report_of({"teaching": sample.with_losses()}, fail_on=["lots"])))
    assert "upgrade_fail_on has 'lots'." in read.text


def test_a_loss_that_fails_the_role_looks_worse_than_one_that_does_not() -> None:
    def signs(fail_on: list[str]) -> list[str]:
        text = page(None, sample.report_of({"teaching": sample.with_losses()}, fail_on=fail_on))
        return re.findall(r'<section class="check ([a-z]+)">', text)[:3]

    assert signs(["lost"]) == ["failed", "changed", "new"]
    assert signs([]) == ["warned", "changed", "new"]
    assert signs(["lost", "new"]) == ["failed", "changed", "failed"]


@pytest.mark.parametrize(
    ("results", "heading"),
    [
        ([], "No hub was compared"),
        ([sample.compared], "a: 1 changed"),
        ([lambda: sample.compared() | {"differences": []}], "a: no difference"),
        ([sample.compare_failed], "a was not compared"),
        ([sample.compared, sample.with_losses], "2 hubs: 4 lost, 6 changed, 1 new"),
        ([sample.compared, sample.compare_failed], "1 of 2 hubs was not compared, 1 changed on the others"),
    ],
)
def test_the_heading_is_the_result(results: list[Any], heading: str) -> None:
    report = sample.report_of({host: result() for host, result in zip("abc", results, strict=False)})
    assert f"<title>{heading} - JupyterHub upgrade</title>" in page(None, report)


def test_the_page_of_a_verification_gets_the_part() -> None:
    verified = verify_results.three_hubs()
    comparison = sample.report_of({"teaching": sample.compared()})
    text = file_content(comparison, "index.html", json.dumps(verified))
    read = Reader(text)
    assert "<title>teaching: 1 changed. Verification: 1 of 3 hubs failed - JupyterHub upgrade</title>" in text
    # The worst verdict of both is at the top.
    assert '<h1><svg class="icon failed"' in text
    for part in ("Verification: 1 of 3 hubs failed", "JupyterHub was 5.5.4", "No module named 'torch'", "gpu"):
        assert part in read.text
    assert "report.json of the verification" in read.text
    assert "report.json beside this page" not in read.text
    # Each hub of the verification is drawn as it is without a comparison.
    without = page(verified)
    body = without[without.index('<div class="hubs">') : without.index('<footer class="bottom">')]
    assert body in text


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]", '{"schema": "hubops.jupyterhub/verify-report"}'])
def test_what_is_no_report_of_a_verification_is_left_out(content: str) -> None:
    comparison = sample.report_of({"teaching": sample.compared()})
    assert file_content(comparison, "index.html", content) == page(None, comparison)


def test_a_page_has_a_limit_and_says_what_is_left_out() -> None:
    results = {f"hub-{number}": sample.of_a_fleet(1000) for number in range(30)}
    verified = verify_results.hundred_hubs()
    text = page(verified, sample.report_of(results))
    assert len(text.encode()) < LONGEST_PAGE + 200_000
    read = Reader(text)
    for host in results:
        assert host in read.text
    assert "And 700 more." in read.text or "And 970 more." in read.text
    assert "1000 lost, 1001 changed, 1000 new" in read.text
