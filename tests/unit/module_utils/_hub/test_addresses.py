# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of servers in a hub's answers: no address makes a client send the token to another host.

The code that checks an address and the code that connects may read two hosts in one text. Here a foreign host listens,
and gets no token by requests, by streams, or by the websocket.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import websocket
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec.kernel_client import KernelClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.client import HubClient
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import Connection
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import HubError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter

TOKEN = "s3cr3t-0123456789"


@dataclass
class Host:
    """Accepts each connection, records the first bytes that it gets, and answers 404."""

    listener: socket.socket
    heard: list[bytes] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        while True:
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    self.heard.append(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                except OSError:
                    pass


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    """The hub's host, and a foreign one."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        home, foreign = Host(one), Host(other)
        threads = [threading.Thread(target=host.serve, daemon=True) for host in (home, foreign)]
        for thread in threads:
            thread.start()
        yield home, foreign
        for listener in (one, other):
            listener.shutdown(socket.SHUT_RDWR)


def request_in_all_ways(hub: HubClient, url: str) -> None:
    """Send a request to a server at this address in all ways that there are."""

    def request() -> None:
        hub.server(url, "server of user 'bob'").request("POST", url, body={})

    def stream() -> None:
        list(hub._read_stream(url))

    def channel() -> None:
        KernelClient(hub, url, "server of user 'bob'", 5.0, time.monotonic() + 5)._try_handshake(url, 5.0).close()

    for request_once in (request, stream, channel, lambda: hub.server(url, "server").answers()):
        # A refusal is a `HubError`. The websocket's library has exceptions of its own, which its caller catches.
        with contextlib.suppress(HubError, websocket.WebSocketException, OSError):
            request_once()


def client_of(home: Host) -> HubClient:
    hub = HubClient(Connection(f"http://127.0.0.1:{home.port}/", TOKEN, request_timeout=5))
    hub._session.mount("http://", HTTPAdapter())  # without another try, as some of the hosts are none
    return hub


FORMS = [
    "{scheme}{evil}{mark}@{home}/",
    "{scheme}{evil}{mark}{home}/",
    "{scheme}{home}{mark}@{evil}/",
    "{scheme}{evil}/{mark}@{home}/",
    "{scheme}127.1{mark}@{evil}{mark}@{home}/",
    "{scheme}{evil}{mark}@{home}/user/bob/",
]
SCHEMES = ["http://", "//", "HTTP://", "http:\\\\", "http:/", "\thttp://"]
MARKS = ["\\", "\\\\", "", "/", "%5C", "#", "?", ";", "\t", "\n", " ", ":", "%40", "\u2028", "\uff20", ":80\\", "\0"]
EVIL = ["127.0.0.1:{port}", "localhost:{port}", "127.1:{port}"]


def test_no_form_of_an_address_takes_the_token_elsewhere(hosts: tuple[Host, Host]) -> None:
    home, foreign = hosts
    foreign.heard.clear()
    number = 0
    with client_of(home) as hub:
        for form, scheme, mark, evil in itertools.product(FORMS, SCHEMES, MARKS, EVIL):
            where = {"evil": evil.format(port=foreign.port), "home": f"127.0.0.1:{home.port}"}
            request_in_all_ways(hub, hub.resolve(form.format(scheme=scheme, mark=mark, **where)))
            number += 1
    assert number > 1800
    assert foreign.heard, "some of them are plain addresses of the foreign host"
    assert not [said for said in foreign.heard if TOKEN.encode() in said]


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from([*MARKS, *SCHEMES, "@", "EVIL", "HOME", "user", "bob", "[", "]"]), min_size=2, max_size=9)
)
def test_none_that_is_made_up_does(hosts: tuple[Host, Host], parts: list[str]) -> None:
    home, foreign = hosts
    foreign.heard.clear()
    url = "".join(parts).replace("EVIL", f"127.0.0.1:{foreign.port}").replace("HOME", f"127.0.0.1:{home.port}")
    with client_of(home) as hub:
        try:
            url = hub.resolve(url)
        except ValueError:
            return
        request_in_all_ways(hub, url)
    assert not [said for said in foreign.heard if TOKEN.encode() in said]
