# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page that shows a report of the role verify, looked at in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_page import page
from support import verify_results as sample
from support.chromium import Chromium, Page, find_chromium, running_chromium

pytestmark = pytest.mark.skipif(not find_chromium(), reason="Chromium is not installed: run tools/chromium --install")

CONTRASTS = """
(() => {
  const channels = (colour) => {
    const numbers = (colour.match(/[0-9.]+/g) || []).map(Number);
    if (!/^rgba?[(]/.test(colour)) throw new Error("unknown colour " + colour);
    return numbers.length === 3 ? [...numbers, 1] : numbers;
  };
  const luminance = (colour) => {
    const [red, green, blue] = channels(colour).slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const style = getComputedStyle(each);
      if (style.opacity !== "1") throw new Error("an opacity hides the colour of " + each.outerHTML);
      const alpha = channels(style.backgroundColor)[3];
      if (alpha === 1) return style.backgroundColor;
      if (alpha !== 0) throw new Error("half a background behind " + each.outerHTML);
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.data.trim() || element.closest("defs, script, style")) continue;
    const style = getComputedStyle(element), text = element.closest("svg") ? style.fill : style.color;
    const lights = [luminance(text), luminance(behind(element))].sort((one, other) => other - one);
    found.push([(lights[0] + 0.05) / (lights[1] + 0.05), node.data.slice(0, 60), text, behind(element)]);
  }
  return found.sort((one, other) => one[0] - other[0]).slice(0, 3).concat([[found.length]]);
})()
"""
"""The three texts with the lowest contrast, and the number of texts."""
OVERFLOW = "[document.scrollingElement.scrollWidth, window.innerWidth]"
CUT_OFF = """
[...document.querySelectorAll("main *")].filter((element) => element.checkVisibility() && !element.closest("svg, .word")
  && element.getBoundingClientRect().right > window.innerWidth + 1).map((element) => element.outerHTML.slice(0, 200))
"""
UNFOLD = "document.querySelectorAll('details').forEach((details) => { details.open = true; })"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with running_chromium(tmp_path_factory.mktemp("chromium")) as chromium:
        yield chromium


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file of each report's page."""
    folder = tmp_path_factory.mktemp("pages")
    files = {name: folder / f"{name}.html" for name in sample.REPORTS}
    for name, file in files.items():
        file.write_text(page(sample.REPORTS[name]()))
    return files


def assert_readable(shown: Page, wanted: int, scheme: str) -> None:
    """Assert that nothing of a page is wider than ``wanted`` pixels or cut off, and that its texts have contrast."""
    if scheme == "print":
        shown.call("Emulation.setEmulatedMedia", media="print")
    for unfold in (False, True):
        if unfold:
            shown.evaluate(UNFOLD)
        width, room = shown.evaluate(OVERFLOW)
        assert width <= room == wanted
        assert shown.evaluate(CUT_OFF) == []
    *lowest, [number] = shown.evaluate(CONTRASTS)
    assert number > 3
    assert all(contrast >= 4.5 for contrast, *_text in lowest), lowest


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize("name", sample.REPORTS)
def test_a_page_can_be_read_everywhere(chromium: Chromium, pages: dict[str, Path], name: str, scheme: str) -> None:
    """On a screen and on a phone, in both schemes, and on paper: also with everything unfolded."""
    file = pages[name]
    wanted = 718 if scheme == "print" else 390  # A4 without its margins, and a phone
    with chromium.open_page(file, width=wanted, scheme="dark" if scheme == "dark" else "light") as shown:
        assert_readable(shown, wanted, scheme)
        # The smallest text can be read: the browser's own default is 16 pixels.
        smallest = (
            "Math.min(...[...document.querySelectorAll('main *')].map((e) => parseFloat(getComputedStyle(e).fontSize)))"
        )
        assert shown.evaluate(smallest) >= (10 if scheme == "print" else 11)
        assert shown.requests == [file.as_uri()]
        assert shown.complaints == []


@pytest.mark.parametrize("name", sample.REPORTS)
def test_a_page_fits_a_screen(chromium: Chromium, pages: dict[str, Path], name: str) -> None:
    with chromium.open_page(pages[name]) as shown:
        shown.evaluate(UNFOLD)
        width, room = shown.evaluate(OVERFLOW)
        assert width <= room == 1280
        assert shown.evaluate(CUT_OFF) == []
        assert (shown.requests, shown.complaints) == ([pages[name].as_uri()], [])


def test_a_page_does_not_run_what_a_text_says(chromium: Chromium, pages: dict[str, Path]) -> None:
    """And if a script got in, the page's policy would stop it."""
    with chromium.open_page(pages["hostile"]) as shown:
        assert shown.evaluate("document.title") == "9 of 9 hubs failed - JupyterHub verification"
        assert (
            shown.evaluate("document.querySelectorAll('script, img, iframe, object, [onload], [onerror]').length") == 0
        )
        shown.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 1'}))"
        )
        assert shown.evaluate("document.title").startswith("9 of 9")
        assert "Content Security Policy" in shown.complaints[0]


def test_a_failed_bar_differs_from_others_without_its_colour(chromium: Chromium, pages: dict[str, Path]) -> None:
    with chromium.open_page(pages["three-hubs"]) as shown:
        fill = "getComputedStyle(document.querySelector('.phases > .{} .bar')).fill"
        assert 'url("#hatched")' in shown.evaluate(fill.format("failed"))
        assert "url" not in shown.evaluate(fill.format("passed"))
        height = "document.querySelector('.phases > .{} .bar').getBoundingClientRect().height"
        assert shown.evaluate(height.format("warned")) < shown.evaluate(height.format("passed"))


def test_a_page_of_a_fleet_is_loaded_at_once(chromium: Chromium, pages: dict[str, Path]) -> None:
    """The hubs that are not well can be seen first, and the others are rows."""
    with chromium.open_page(pages["hundred-hubs"]) as shown:
        assert shown.evaluate("document.querySelectorAll('.hub').length") == 100
        assert shown.evaluate("document.querySelectorAll('.hub.passed[open]').length") == 0
        verdicts = shown.evaluate("[...document.querySelectorAll('.hub')].map((hub) => hub.className.slice(4))")
        assert verdicts == ["failed"] * 3 + ["warned"] + ["passed"] * 96
