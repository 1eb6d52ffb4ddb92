# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hubs whose users log in through OpenID Connect, with a real provider and a real OAuthenticator.

with running_provider(folder) as provider, running_hub(folder, config=oauth_config(provider)) as hub:
    browser = log_in(hub, "person")
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import requests
from support.hubs import Hub, local_hub, venv
from support.waiting import wait_until

ATTEMPTS = 5  # each with another port, in case another program takes the chosen one before the provider starts
CRYPT_KEY = "c0ffee" * 10 + "cafe"  # 32 bytes in hex


def oidc_python() -> Path:
    return venv("oidc") / "bin" / "python"


@dataclass(frozen=True)
class Provider:
    url: str  # without trailing slash

    def revoke_tokens(self, person: str) -> None:
        """Revoke all tokens that the provider gave this person, as if they had expired."""
        requests.post(f"{self.url}/users/{quote(person, safe='')}/revoke-tokens", timeout=60).raise_for_status()


@contextlib.contextmanager
def running_provider(folder: Path) -> Iterator[Provider]:
    """A provider for the time of the block. It accepts any name, without a password."""
    for _attempt in range(ATTEMPTS):
        [port] = local_hub.free_ports(1)
        with (folder / "provider.log").open("w") as log:
            process = subprocess.Popen(
                [oidc_python(), "-m", "oidc_provider_mock", "--host", "127.0.0.1", "--port", str(port)],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            wait_until(lambda port=port, process=process: process.poll() is not None or local_hub.listens(port), 120)
            if process.poll() is None:
                yield Provider(f"http://127.0.0.1:{port}")
                return
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    raise AssertionError(f"The provider does not start:\n{(folder / 'provider.log').read_text()}")


def oauth_config(provider: Provider) -> str:
    """Configuration for running_hub: GenericOAuthenticator with auth_state enabled."""
    [packages] = oidc_python().parent.parent.glob("lib/python*/site-packages")
    return f"""
import sys

from jupyterhub.auth import Authenticator

sys.path.append({str(packages)!r})  # last, so that only packages that the hub lacks come from there

c.JupyterHub.authenticator_class = "generic-oauth"
c.CryptKeeper.keys = [bytes.fromhex({CRYPT_KEY!r})]
c.Authenticator.enable_auth_state = True
c.OAuthenticator.allow_all = True
c.GenericOAuthenticator.client_id = "hub"
c.GenericOAuthenticator.client_secret = "not checked"
c.GenericOAuthenticator.authorize_url = {provider.url!r} + "/oauth2/authorize"
c.GenericOAuthenticator.token_url = {provider.url!r} + "/oauth2/token"
c.GenericOAuthenticator.userdata_url = {provider.url!r} + "/userinfo"
c.GenericOAuthenticator.scope = ["openid"]
c.GenericOAuthenticator.username_claim = "sub"
if "auth_refresh_strict" in Authenticator.class_trait_names():  # since 6.1; older hubs are always strict
    c.Authenticator.auth_refresh_strict = True
"""


def log_in(hub: Hub, person: str) -> requests.Session:
    """Log this person in through the provider's form. Returns the browser's session with the hub."""
    browser = requests.Session()
    form = browser.get(
        f"{hub.url}hub/oauth_login", params={"next": "/hub/home"}, timeout=60
    )  # without `next` a server starts
    assert "/oauth2/authorize?" in form.url, form.text
    answer = browser.post(form.url, data={"sub": person}, timeout=60)
    shown = f"{answer.url}: {answer.status_code} {answer.text}"
    assert answer.ok, shown
    assert answer.url.startswith(hub.url), shown
    return browser
