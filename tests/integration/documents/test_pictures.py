# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of the guides show what the pages are now."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from support import pictures as subject
from support.chromium import find_chromium
from support.documents import DOCUMENTS, GUIDES, pictures
from support.hubs import REPOSITORY

GUIDE_PATHS = [str(path.relative_to(REPOSITORY)) for path in DOCUMENTS if GUIDES in str(path)]


@pytest.mark.parametrize("name", subject.PICTURES)
def test_a_picture_is_of_the_page_as_it_is_now(name: str) -> None:
    picture, png = subject.PICTURES[name], (subject.FOLDER / f"{name}.png").read_bytes()
    hint = "The page has changed since the picture was taken: run tools/pictures."
    assert subject.read_mark(png) == subject.make_digest(picture, picture.draw()), hint
    assert struct.unpack(">II", png[16:24]) == (picture.width, picture.height), hint
    assert len(png) < 150_000


def test_each_picture_is_in_a_guide() -> None:
    shown = {address.rpartition("/")[2] for path in GUIDE_PATHS for address in pictures(path)}
    assert shown == {f"{name}.png" for name in subject.PICTURES} == {path.name for path in subject.FOLDER.iterdir()}


@pytest.mark.skipif(not find_chromium(), reason="Chromium is not installed: run tools/chromium --install")
def test_only_a_picture_whose_page_has_changed_is_taken_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subject, "FOLDER", tmp_path)
    pages = {"first": "<p>one</p>", "second": "<p>two</p>"}
    taken = {name: subject.Picture(lambda name=name: pages[name], 200, 100) for name in pages}  # type: ignore[misc]
    monkeypatch.setattr(subject, "PICTURES", taken)
    subject.take_all()
    before = {name: (tmp_path / f"{name}.png").read_bytes() for name in pages}
    assert all(png.startswith(subject.SIGNATURE) for png in before.values())
    pages["second"] = "<p>another</p>"
    capsys.readouterr()
    subject.take_all()
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["second.png"]
    assert subject.read_mark((tmp_path / "second.png").read_bytes()) == subject.make_digest(
        taken["second"], "<p>another</p>"
    )
    assert (tmp_path / "first.png").read_bytes() == before["first"]
    assert subject.read_mark(b"no picture") == ""
