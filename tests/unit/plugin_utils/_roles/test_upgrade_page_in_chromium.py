# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page that shows a comparison of hubs before and after an upgrade, looked at in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_page import page
from support import upgrade_results as sample
from support import verify_results
from support.chromium import Chromium, find_chromium, running_chromium

from .test_verify_page_in_chromium import CUT_OFF, OVERFLOW, UNFOLD, assert_readable

pytestmark = pytest.mark.skipif(not find_chromium(), reason="Chromium is not installed: run tools/chromium --install")

NAMES = [*sample.COMPARISONS, "with-verification"]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with running_chromium(tmp_path_factory.mktemp("chromium")) as chromium:
        yield chromium


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file of each comparison's page."""
    folder = tmp_path_factory.mktemp("pages")
    files = {name: folder / f"{name}.html" for name in NAMES}
    for name, make in sample.COMPARISONS.items():
        files[name].write_text(page(None, make()))
    files["with-verification"].write_text(page(verify_results.each_kind(), sample.each_kind()))
    return files


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize("name", NAMES)
def test_a_page_can_be_read_everywhere(chromium: Chromium, pages: dict[str, Path], name: str, scheme: str) -> None:
    """On a screen and on a phone, in both schemes, and on paper: also with everything unfolded."""
    wanted = 718 if scheme == "print" else 390  # A4 without its margins, and a phone
    with chromium.open_page(pages[name], width=wanted, scheme="dark" if scheme == "dark" else "light") as shown:
        assert_readable(shown, wanted, scheme)
        assert shown.requests == [pages[name].as_uri()]
        assert shown.complaints == []


@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_a_screen(chromium: Chromium, pages: dict[str, Path], name: str) -> None:
    with chromium.open_page(pages[name]) as shown:
        shown.evaluate(UNFOLD)
        width, room = shown.evaluate(OVERFLOW)
        assert width <= room == 1280
        assert shown.evaluate(CUT_OFF) == []
        assert (shown.requests, shown.complaints) == ([pages[name].as_uri()], [])


def test_a_page_does_not_run_what_a_text_says(chromium: Chromium, pages: dict[str, Path]) -> None:
    with chromium.open_page(pages["hostile"]) as shown:
        assert "9 hubs: " in shown.evaluate("document.title")
        wrong = "document.querySelectorAll('script, img, iframe, object, [onload], [onerror]').length"
        assert shown.evaluate(wrong) == 0


def test_the_severities_differ_without_their_colours(chromium: Chromium, pages: dict[str, Path]) -> None:
    with chromium.open_page(pages["losses"]) as shown:
        signs = shown.evaluate("[...document.querySelectorAll('.check > header use')].map((e) => e.href.baseVal)")
        assert signs[:3] == ["#failed", "#changed", "#new"]
