# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at pages in headless Chromium, through its DevTools protocol.

with running_chromium(folder) as chromium:
    with chromium.open_page(file, width=390, scheme="dark") as page:
        page.evaluate("document.title")
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket
from support.waiting import wait_until

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """Return the path of the program, None if it is not installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """A page in a tab of its own. ``requests`` are the addresses that it asked for, and ``complaints`` what the console
    shows."""

    def __init__(self, chromium: Chromium, session: str) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._chromium, self._session = chromium, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._chromium.call(method, session=self._session, **params)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in JavaScript."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """Write a picture of the whole page."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(answer["data"]))

    def print_pdf(self, file: Path) -> None:
        answer = self.call("Page.printToPDF", printBackground=False)
        file.write_bytes(base64.b64decode(answer["data"]))

    def notice(self, method: str, params: dict[str, Any]) -> None:
        """Keep what Chromium says about the page."""
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.complaints.append(json.dumps(params))


class Chromium:
    """A connection to a Chromium that runs."""

    def __init__(self, address: str) -> None:
        # Chromium refuses a connection that names an origin.
        self._socket = websocket.create_connection(address, suppress_origin=True, timeout=120)
        self._number = 0
        self._pages: dict[str, Page] = {}

    def close(self) -> None:
        self._socket.close()

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Return the answer to a command of the protocol."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": params}
        self._socket.send(json.dumps(command | ({"sessionId": session} if session else {})))
        while True:
            message = self._read()
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result

    def _read(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv())
        page = self._pages.get(message.get("sessionId", ""))
        if page and "method" in message:
            page.notice(message["method"], message["params"])
        return message

    @contextmanager
    def open_page(self, file: Path, width: int = 1280, height: int = 900, scheme: str = "light") -> Iterator[Page]:
        """Open a file, and wait until it is loaded. ``scheme`` is what the user prefers: light or dark."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Network", "Log", "Runtime"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.call("Page.navigate", url=file.as_uri())
        wait_until(lambda: page.evaluate(f"location.href == {file.as_uri()!r} && document.readyState == 'complete'"))
        try:
            yield page
        finally:
            self.call("Target.closeTarget", targetId=target)
            del self._pages[session]


@contextmanager
def running_chromium(folder: Path) -> Iterator[Chromium]:
    """Start Chromium with an empty profile in a folder, and stop it at the end."""
    program = find_chromium()
    assert program
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to run as root with one
    command = [
        program, "--headless=new", *sandbox, "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
        "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
    ]  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        port_file = folder / "DevToolsActivePort"

        def find_address() -> str | None:
            assert process.poll() is None, (folder / "log").read_text()
            lines = port_file.read_text().splitlines() if port_file.exists() else []
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}" if len(lines) == 2 else None

        chromium = Chromium(wait_until(find_address))
        try:
            yield chromium
        finally:
            chromium.close()
    finally:
        process.terminate()
        process.wait(60)
