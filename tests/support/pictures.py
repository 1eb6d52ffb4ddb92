# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the pictures of the guides, in headless Chromium. tools/pictures runs this file.

A picture is of a page. It holds the digest of this page, so a test can see whether the picture shows what the page is.
"""

from __future__ import annotations

import base64
import hashlib
import html
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.awx_jobs import PLAYBOOKS, make_nodes
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.verify_page import page
from support import upgrade_results, verify_results
from support.chromium import running_chromium
from support.hubs import REPOSITORY

FOLDER = REPOSITORY / "docs/docsite/rst/images"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"Source"

# The workflow of an upgrade, as AWX shows one

WIDTH, HEIGHT, STEP = 150, 52, 185
"""Pixels of a node, and from one node to the next."""
PLACES = {
    **{name: (20 + STEP * column, 90) for column, name in enumerate(
        ("snapshot", "drain", "approval", "verify", "compare", "restore")
    )},
    "restore without upgrade": (20 + STEP * 3, 200),
}  # fmt: skip
"""Where each node is, in pixels."""
COLOURS = {"success": "#2e7d32", "failure": "#c62828", "always": "#1565c0"}


def draw_link(kind: str, source: str, target: str) -> str:
    """Return the line of a link, with an arrow at its end. It leads around a node that is in its way."""
    (left, top), (right, bottom) = PLACES[source], PLACES[target]
    if right == left + STEP:
        start, end = (left + WIDTH, top + HEIGHT // 2), (right - 2, bottom + HEIGHT // 2)
        path = f"M{start[0]},{start[1]} C{start[0] + 22},{start[1]} {end[0] - 22},{end[1]} {end[0]},{end[1]}"
    else:
        middle, above = (left + right + WIDTH) // 2, top - 50
        start, end = (left + WIDTH // 2, top), (right + WIDTH // 2, bottom - 2)
        path = f"M{start[0]},{start[1]} Q{middle},{above} {end[0]},{end[1]}"
    return f'<path d="{path}" stroke="{COLOURS[kind]}" marker-end="url(#{kind})"/>'


def draw_workflow() -> str:
    """Return a page with the workflow that the role awx declares: its nodes, and what each of them leads to."""
    nodes = make_nodes({name: playbook.name for name, playbook in PLAYBOOKS.items()}, {})
    titles, links = dict[str, str](), list[str]()
    for node in nodes:
        name, options = node.options["identifier"], node.options
        question = options.get("approval_node")
        title = question["name"] if question else options.get("unified_job_template")
        titles[name] = title or titles[name]
        for kind in COLOURS:
            links += [draw_link(kind, name, target) for target in options.get(f"{kind}_nodes", ())]
    boxes = "".join(
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text x="{x + WIDTH // 2}" y="{y + HEIGHT // 2}">{html.escape(titles[name])}</text>'
        for name, (x, y) in PLACES.items()
    )
    assert set(titles) == set(PLACES)
    arrows = "".join(
        f'<marker id="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" style="fill:{colour}"/></marker>'
        for kind, colour in COLOURS.items()
    )
    words = {"success": "if it succeeds, or is approved", "failure": "if it fails, or is denied", "always": "always"}
    legend = "".join(
        f'<path d="M{20 + 300 * number},300 h40" stroke="{COLOURS[kind]}" marker-end="url(#{kind})"/>'
        f'<text x="{72 + 300 * number}" y="300" class="legend">{said}</text>'
        for number, (kind, said) in enumerate(words.items())
    )
    return (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Workflow</title><style>'
        "body{margin:0;background:#fff}rect{fill:#f5f7fa;stroke:#607d8b}path{fill:none;stroke-width:2}"
        'text{font:13px "DejaVu Sans",sans-serif;fill:#263238;text-anchor:middle;dominant-baseline:middle}'
        "marker path{stroke:none}text.legend{text-anchor:start}</style>"
        f'<svg width="1120" height="320"><defs>{arrows}</defs>{"".join(links)}{boxes}{legend}</svg></html>'
    )


# The pictures


@dataclass(frozen=True)
class Picture:
    """A picture of the upper ``height`` pixels of a page. ``draw`` returns the page as HTML."""

    draw: Callable[[], str]
    width: int
    height: int


PICTURES = {
    "verify_report": Picture(lambda: page(verify_results.three_hubs()), 1000, 985),
    "compare_report": Picture(
        lambda: page(None, upgrade_results.report_of({"teaching": upgrade_results.with_losses()})), 1000, 742
    ),
    "awx_workflow": Picture(draw_workflow, 1120, 320),
}


def make_digest(picture: Picture, text: str) -> str:
    return hashlib.sha256(f"{picture.width} {picture.height} {text}".encode()).hexdigest()


def make_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def add_mark(png: bytes, source: str) -> bytes:
    """Return the picture with the digest of its page, after the header."""
    end = len(SIGNATURE) + 25
    return png[:end] + make_chunk(b"tEXt", KEYWORD + b"\0" + source.encode()) + png[end:]


def read_mark(png: bytes) -> str:
    """Return the digest of the page that the picture was taken of. It is empty if the picture has none."""
    position = len(SIGNATURE)
    while png.startswith(SIGNATURE) and position < len(png):
        size, kind = struct.unpack(">I4s", png[position : position + 8])
        keyword, _zero, text = png[position + 8 : position + 8 + size].partition(b"\0")
        if (kind, keyword) == (b"tEXt", KEYWORD):
            return text.decode()
        position += size + 12
    return ""


def take_all() -> None:
    """Write each picture whose page has changed since it was taken."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, running_chromium(Path(folder)) as chromium:
        for name, picture in PICTURES.items():
            text, file, target = picture.draw(), Path(folder) / f"{name}.html", FOLDER / f"{name}.png"
            if target.exists() and read_mark(target.read_bytes()) == make_digest(picture, text):
                continue
            file.write_text(text)
            with chromium.open_page(file, picture.width, picture.height) as shown:
                area = {"x": 0, "y": 0, "width": picture.width, "height": picture.height, "scale": 1}
                answer = shown.call("Page.captureScreenshot", clip=area)
            target.write_bytes(add_mark(base64.b64decode(answer["data"]), make_digest(picture, text)))
            print(f"{target.name}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    take_all()
