# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a hub itself: its version, its certificate, its login page, and its services."""

from __future__ import annotations

import ssl
import time
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from .._hub.client import HubClient
from .._hub.connection import is_address, join_url
from .._hub.errors import Conflict, HubError, HubFailure, Invalid, UnexpectedAnswer, printable, quoted
from .._hub.responses import is_from_server
from .html_page import read_page
from .phases import Finding
from .probe import version_problem

_MOST_REDIRECTS = 10
_SECONDS_PER_DAY = 86400.0


def check_version(hub: HubClient, expected_version: str, finding: Finding) -> None:
    """Check the hub's version. Raises `Conflict` if it is another one."""
    problem = version_problem(hub.version, expected_version)
    if problem is not None:
        raise Conflict(problem, "Check whether the upgrade is complete, or correct expected_version.")
    finding.message = f"The hub runs JupyterHub {printable(hub.version, 300)}."


def check_certificate(hub: HubClient, min_days: int, finding: Finding) -> None:
    """Check for how many days the hub's certificate is still valid. Raises `Conflict` if it ends too soon."""
    days = _count_days_left(hub)
    finding.details["tls_days_left"] = round(days, 2)
    if days < min_days:
        raise Conflict(
            f"The certificate of {hub.url} ends in {days:.1f} days, and tls_min_days is {min_days}.",
            "Renew the certificate, and check why that was not done automatically.",
        )
    finding.message += f" Its certificate is valid for {days:.0f} days."


def check_tls_options(hub: HubClient, tls_min_days: int | None) -> None:
    """Raise `Invalid` if ``tls_min_days`` is set for a connection that checks no certificate."""
    if tls_min_days is None:
        return
    if not hub.url.startswith("https:"):
        raise Invalid(
            f"tls_min_days needs an https address, and hub_url is {hub.url}.", "Set hub_url to the https address."
        )
    if not hub.connection.validate_certs:
        raise Invalid(
            "tls_min_days needs a certificate that is checked, and validate_certs is false.",
            "Set ca_path to the certificate of the CA in place of validate_certs: false.",
        )


def _count_days_left(hub: HubClient) -> float:
    """Return for how many days the hub's certificate is still valid."""
    end = hub.read_certificate_end(urljoin(hub.url, "hub/api/"))
    if end is None:
        raise UnexpectedAnswer(
            f"The end of the certificate of {hub.url} is not known here.",
            "Leave out tls_min_days, and check it by hand.",
        )
    return (ssl.cert_time_to_seconds(end) - time.time()) / _SECONDS_PER_DAY


def check_login(hub: HubClient, finding: Finding) -> None:
    """Check that the hub says that it is healthy, and that its login page answers to a visitor without a token.

    A hub may send the visitor to the login page of another host. Raises `HubError`.
    """
    health = hub.send("GET", urljoin(hub.url, "hub/health"), token=False)
    if health.status_code != 200:
        raise _page_failed(health, "health page")
    url = urljoin(hub.url, "hub/login")
    for _number in range(_MOST_REDIRECTS):
        page = hub.send("GET", url, token=False)
        finding.details |= {"url": url.partition("?")[0], "status": page.status_code}
        if page.status_code not in (301, 302, 303, 307, 308):
            break
        url = join_url(url, page.headers.get("Location", ""))
        if not is_address(url):
            raise UnexpectedAnswer(
                f"The hub's login page redirects to {quoted(url)}, which is not an address.",
                "Check the configuration of the hub's authenticator.",
            )
    else:
        raise UnexpectedAnswer(
            f"The hub's login page redirects more than {_MOST_REDIRECTS} times.",
            "Check the configuration of the hub's authenticator, and of the proxy in front of the hub.",
        )
    if page.status_code != 200:
        raise _page_failed(page, "login page")
    if "html" not in page.headers.get("Content-Type", "") or not page.content.strip():
        raise UnexpectedAnswer(
            f"The login page at {url.partition('?')[0]} is not an HTML page.", "Check the hub's log, and its templates."
        )
    title = read_page(url, page.text[:1_000_000]).title
    where = "" if urlsplit(url).netloc == urlsplit(hub.url).netloc else f" of {urlsplit(url).netloc}"
    finding.message = f"The login page{where} answers" + (f": {printable(title, 100)}." if title else ".")


def _page_failed(response: Any, what: str) -> HubFailure:
    url = str(response.url).partition("?")[0]
    return HubFailure(
        f"The hub's {what} at {url} answers {response.status_code}.",
        "Check the hub's log and the log of its authenticator. If the status is 502, 503 or 504, check the proxy, too.",
        status=response.status_code,
        method="GET",
        url=url,
    )


def check_services(hub: HubClient, names: tuple[str, ...], finding: Finding) -> None:
    """Check that each service answers at its address. Raises `HubFailure` for those that do not."""
    found = finding.details["services"] = [_look_at_service(hub, name) for name in names]
    problems = [service for service in found if service["problem"]]
    if problems:
        sentences = "; ".join(f"{printable(service['name'], 100)}: {service['problem']}" for service in problems)
        raise HubFailure(
            f"{len(problems)} of {len(found)} services do not answer: {sentences}.",
            "Check whether the service runs, its own log, and the services in the hub's configuration.",
            status=problems[0]["status"],
            method="GET",
            url=problems[0]["url"],
        )
    shown = ", ".join(printable(name, 100) for name in names)
    finding.message = f"The service {shown} answers." if len(names) == 1 else f"The services {shown} answer."


def check_service_names(names: tuple[str, ...]) -> None:
    """Raise `Invalid` for a name that no service can have."""
    for name in names:
        if not name or name in (".", "..") or "/" in name or not name.isprintable():
            raise Invalid(
                f"services: {quoted(name)} is not the name of a service.",
                "Give the names from the hub's configuration, without /services/.",
            )


def _look_at_service(hub: HubClient, name: str) -> dict[str, Any]:
    url = urljoin(hub.url, f"services/{quote(name, safe='@~')}/")
    found: dict[str, Any] = {"name": name, "url": url, "status": None, "problem": None}
    try:
        response = hub.send("GET", url, token=False)
    except HubError as error:
        return {**found, "problem": error.message.rstrip(".")}
    status = found["status"] = response.status_code
    if status in (502, 503, 504):
        found["problem"] = f"the proxy answers {status} in its place"
    elif status >= 500:
        found["problem"] = f"it answers {status}"
    elif "X-JupyterHub-Version" in response.headers and not is_from_server(response, hub.url):
        # The hub answers at all addresses that its proxy does not know. It names its version in each answer
        # (``BaseHandler.prepare`` of its handlers/base.py). A service may answer 404, too, but does not name it.
        found["problem"] = "the hub has no such service, or none with an address"
    return found
