# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the stand-in of AWX's API until a folder is removed. Writes its address and a token into awx.json there."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "tests"))

from support.fakes.fake_awx import FakeAwx

folder = Path(sys.argv[1])
with FakeAwx() as awx:
    (folder / "awx.new").write_text(json.dumps({"url": awx.url, "token": awx.token}))
    (folder / "awx.new").rename(folder / "awx.json")
    while folder.exists():
        time.sleep(0.2)
