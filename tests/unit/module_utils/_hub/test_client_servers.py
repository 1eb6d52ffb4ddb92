# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""server_client: what answers at a server's address: the server, the hub in its place, or nothing."""

from __future__ import annotations

from ssl import SSLCertVerificationError, SSLEOFError
from typing import Any

import pytest
import requests
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    Invalid,
    NotFound,
    TlsFailure,
)
from requests.adapters import HTTPAdapter
from support.fakes.scripted_hub import HUB, Exchange, scripted_hub

DISTRUSTED = SSLCertVerificationError(1, "certificate verify failed: Hostname mismatch")


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (424, {"message": "not running"}, HubFailure),
        (503, "<html>not running", HubFailure),
        (403, "<html>'_xsrf' argument missing from POST", HubFailure),
        (404, {"message": "no such kernel"}, NotFound),
        (500, {"message": "bad kernelspec"}, HubFailure),
    ],
)
def test_what_the_hub_answers_in_a_server_s_place(status: int, answer: object, kind: type[HubError]) -> None:
    url = HUB + "user/alice/api/kernels"
    with scripted_hub(Exchange("POST", url, answer, status)) as hub, pytest.raises(kind) as error:
        hub.server(url, "server of user 'alice'").request("POST", url)
    assert ("the hub answers in its place" in error.value.message) is (status in (424, 503, 403))


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_elsewhere_that_wants_the_token_is_no_matter_of_scopes(status: int) -> None:
    url = "https://alice.notebooks.example.org/user/alice/api/kernels"
    script = Exchange("POST", url, {"message": "Forbidden"}, status, token=None)
    with scripted_hub(script) as hub, pytest.raises(Invalid, match=r"alice\.notebooks\.example\.org") as error:
        hub.server(url, "server of user 'alice'").request("POST", url)
    assert "https://hub.example.org" in error.value.message
    assert "hub_url" in error.value.hint


@pytest.mark.parametrize(
    ("status", "headers", "answers"),
    [
        (200, {}, True),
        (403, {}, True),  # a server that wants to know who asks is one
        (302, {"Location": "/jhub/hub/api/oauth2/authorize?client_id=x"}, True),
        (302, {"Location": "/jhub/user/alice/lab"}, True),
        (302, {"Location": "/jhub/hub/user/alice/"}, False),
        (302, {"Location": "https://hub.example.org/jhub/hub/login"}, False),
        (424, {}, False),
        (500, {}, False),
        (503, {}, False),
    ],
)
def test_whether_a_server_answers(status: int, headers: dict[str, str], answers: bool) -> None:
    with scripted_hub(Exchange("GET", HUB + "user/alice/api", "", status, headers, token=None)) as hub:
        server = hub.server(HUB + "user/alice/", "server")
        assert server.answers() is answers
        assert server.error_status == (500 if status == 500 else None)


@pytest.mark.parametrize(
    ("status", "headers", "answers"),
    [
        (200, {}, True),  # some programs have no /api
        (302, {"Location": "/jhub/hub/api/oauth2/authorize?client_id=x"}, True),
        (302, {"Location": "/jhub/hub/login"}, False),
        (404, {}, False),  # a proxy that has no route yet
        (404, {"X-JupyterHub-Version": "6.1.1"}, False),
    ],
)
def test_what_is_not_found_is_asked_for_at_the_server_s_own_address(
    status: int, headers: dict[str, str], answers: bool
) -> None:
    url = HUB + "user/alice/"
    missing = Exchange("GET", url + "api", "404 page not found", 404, token=None)
    with scripted_hub(missing, Exchange("GET", url, "", status, headers, token=None)) as hub:
        assert hub.server(url, "server").answers() is answers


class BrokenAdapter(HTTPAdapter):
    """Gives no answer to any request."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def send(self, *_args: Any, **_more: Any) -> requests.Response:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("refused"),
        requests.ReadTimeout("late"),
        requests.exceptions.SSLError(SSLEOFError(8, "EOF occurred in violation of protocol")),
    ],
)
def test_a_server_that_cannot_be_reached_may_be_in_a_moment(error: Exception) -> None:
    with scripted_hub() as hub:
        hub._session.mount("https://", BrokenAdapter(error))
        assert not hub.server(HUB + "user/alice/", "server").answers()


def test_a_server_whose_certificate_is_not_trusted_is_not_waited_for() -> None:
    """With subdomains, a server can have another certificate than the hub."""
    url = "https://alice.hub.example.org/user/alice/"
    with scripted_hub() as hub:
        hub._session.mount("https://", BrokenAdapter(requests.exceptions.SSLError(DISTRUSTED)))
        with pytest.raises(TlsFailure, match=r"alice\.hub\.example\.org") as error:
            hub.server(url, "server").answers()
    assert error.value.url == url + "api"
