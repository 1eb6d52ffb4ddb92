# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_hub.loading: whole answers of which only the beginning is kept, and clients for other hosts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub import loading
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    Timeout,
    UnexpectedAnswer,
    Unreachable,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.loading import Loaded, become_stranger, load
from support.fakes.misbehaving_hub import Answer, Behaviour, misbehaving_hub, no_answer

TOKEN = "s3cr3t-0123456789"


def load_from(behave: Behaviour, *, keep: int = 10, seconds: float = 30, token: bool = True) -> Loaded:
    with misbehaving_hub(behave) as fake, HubClient(Connection(fake.url, TOKEN)) as hub:
        now = time.monotonic()
        url = f"{fake.url}x?secret"
        return load(hub, url, token=token, keep=keep, deadline=now + seconds, retry_until=now)


def test_the_beginning_is_kept() -> None:
    loaded = load_from(lambda _request: Answer(b"0123456789abcdef" * 10_000))
    assert (loaded.status, loaded.size, loaded.text) == (200, 160_000, "0123456789")
    assert loaded.url.endswith("/x?secret")
    assert load_from(lambda _request: Answer(b"\xff" * 20), keep=2).text == "\ufffd\ufffd"


@pytest.mark.parametrize("token", [True, False])
def test_the_token_is_sent_if_that_is_asked_for(token: bool) -> None:
    loaded = load_from(lambda request: Answer((request.token or "none").encode()), keep=100, token=token)
    assert loaded.text == (f"token {TOKEN}" if token else "none")


def test_answers_that_do_not_arrive_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Timeout) as raised:
        load_from(no_answer, seconds=0)
    assert "secret" not in f"{raised.value.message} {raised.value.url}"
    with pytest.raises(Timeout):
        load_from(lambda _request: Answer(b"1" * 1000, pause=0.1), seconds=0)
    with pytest.raises(Unreachable):
        load_from(lambda _request: Answer(b"1", headers={"Content-Length": "100"}))
    monkeypatch.setattr(loading, "_MOST_BYTES", 10)
    with pytest.raises(UnexpectedAnswer, match="has more than"):
        load_from(lambda _request: Answer(b"1" * 100_000))


def test_a_stranger_has_nothing_of_the_hubs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = str(tmp_path / "file")
    connection = Connection("https://hub.example.org/", TOKEN, ca_path=path, client_cert=path, client_key=path)
    with HubClient(connection) as hub:
        stranger = become_stranger(hub)
        assert stranger.token_header("https://hub.example.org/") == {}
        assert (stranger.connection.verify, stranger.connection.cert) == (True, None)
        assert hub.connection is connection
        unsafe = become_stranger(HubClient(Connection("https://hub.example.org/", validate_certs=False)))
        assert unsafe.connection.verify is False
