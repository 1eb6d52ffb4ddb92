# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Service accounts on hubs where people log in through OAuth.

Such a hub refreshes the login of each user who starts a server, and refuses users without a login. With what the role
service_account writes, the hub accepts the service accounts, and no one else without a login.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.hub_configs import render_config
from support.hubs import Hub, running_hub
from support.oidc import Provider, log_in, oauth_config, oidc_python, running_provider
from support.playbooks import api_request, bare_environment, mint, run_program

BOT, SITES_BOT, PERSON = "verify-bot", "sites-bot", "person"
GENERIC = "oauthenticator.generic.GenericOAuthenticator"
# The hub answers only when a server has started or stopped, never with "not yet".
LONG_WAITS = 'c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 120, "slow_stop_timeout": 120}\n'

# A hook that the site already has: it accepts an account of the site, and is a coroutine.
SITES_HOOK = f"""
async def sites_hook(authenticator, user, auth_state):
    return True if user.name == {SITES_BOT!r} else None

c.{{section}}.refresh_user_hook = sites_hook
"""


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with running_provider(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


def start(hub: Hub, user: str, token: str) -> int:
    """The status of the hub's answer when this token starts a server, which is then stopped again."""
    server, headers = f"{hub.api}/users/{user}/server", {"Authorization": f"token {token}"}
    answer = requests.post(server, headers=headers, timeout=180)
    if answer.ok:
        api_request(hub, "DELETE", f"users/{user}/server")
    return answer.status_code


def accounts_work_and_people_log_in(hub: Hub, provider: Provider, tokens: dict[str, str]) -> None:
    for bot in (BOT, SITES_BOT):
        assert start(hub, bot, tokens[bot]) == 201
        assert start(hub, bot, hub.admin_token) == 201

    browser = log_in(hub, PERSON)
    assert f'"{PERSON}"' in browser.get(f"{hub.url}hub/home", timeout=60).text
    token = mint(hub, PERSON)
    assert start(hub, PERSON, token) == 201
    provider.revoke_tokens(PERSON)
    assert start(hub, PERSON, token) == 403, "a person's login is no longer refreshed by the usual rules"
    log_in(hub, PERSON)
    assert start(hub, PERSON, token) == 201


@pytest.mark.parametrize("version", ["5.5", "6.1"])
def test_a_service_account_needs_the_hook(version: str, provider: Provider, tmp_path: Path) -> None:
    oauth = LONG_WAITS + oauth_config(provider)
    with running_hub(tmp_path, version, config=oauth + SITES_HOOK.format(section="OAuthenticator")) as hub:
        tokens = {bot: mint(hub, bot) for bot in (BOT, SITES_BOT)}
        assert start(hub, BOT, tokens[BOT]) == 403
        assert start(hub, BOT, hub.admin_token) == 403
        assert start(hub, SITES_BOT, tokens[SITES_BOT]) == 201
        rendered = render_config(tmp_path, [{"user": BOT}], hub=hub)
        assert rendered.changed == 1  # both files in one task
        assert f"Restart the hub, which then reads {rendered.config}" in rendered.played.stdout
        assert f"Run helm upgrade with --values {rendered.values}" in rendered.played.stdout
        assert "WARNING" not in rendered.played.stdout

    # Both hubs have the same database, and so the same accounts and tokens. Each section has a hook.
    config = oauth + SITES_HOOK.format(section="GenericOAuthenticator") + rendered.as_subconfig()
    with running_hub(tmp_path, version, config=config) as hub:
        accounts_work_and_people_log_in(hub, provider, tokens)

    config = oauth + rendered.as_values(extra={"sites-hook": SITES_HOOK.format(section="OAuthenticator")})
    with running_hub(tmp_path, version, config=config) as hub:
        accounts_work_and_people_log_in(hub, provider, tokens)


def test_jupyterhub_4_gives_a_role_to_a_missing_user(provider: Provider, tmp_path: Path) -> None:
    """OAuthenticators permit a user by name also on this version."""
    about = {"version": "4.1.6", "scope_names": {}, "authenticator": {"class": GENERIC, "version": "17.4.0"}}
    rendered = render_config(tmp_path, [{"user": "cull-bot", "purpose": "cull"}], about=about)
    assert rendered.changed == 1  # both files in one task
    config = oauth_config(provider) + "c.Authenticator.allowed_users = {'person'}\n" + rendered.as_subconfig()
    with running_hub(tmp_path, "4.1", config=config) as hub:
        assert "service-account-cull-bot" in api_request(hub, "GET", "users/cull-bot")["roles"]


# The part of a hub that uses its authenticators' hooks. It loads the configuration first.
LOAD_CONFIG = """
import sys

from traitlets.config import Application

app = Application()
app.load_config_file("config.py", path=sys.argv[1])

from oauthenticator.generic import GenericOAuthenticator, LocalGenericOAuthenticator
from oauthenticator.github import GitHubOAuthenticator
from oauthenticator.oauth2 import OAuthenticator

class User:
    def __init__(self, name):
        self.name = name

[site] = [found for found in OAuthenticator.__subclasses__() if found.__name__ == "SiteOAuthenticator"]
for cls in (GenericOAuthenticator, LocalGenericOAuthenticator, GitHubOAuthenticator, site):
    hook = cls(parent=app).refresh_user_hook
    print(cls.__name__, *(hook(None, User(name), None) for name in ("verify-bot", "person")))
"""
HOOKS = """
from oauthenticator.oauth2 import OAuthenticator

class SiteOAuthenticator(OAuthenticator):
    pass

class lower_case(OAuthenticator):
    pass

c.OAuthenticator.refresh_user_hook = lambda *_: "all's"
c.GenericOAuthenticator.refresh_user_hook = lambda *_: "generic"
c.SiteOAuthenticator.refresh_user_hook = lambda *_: "site's"
"""


def test_a_hook_in_a_section_unknown_to_the_role(tmp_path: Path) -> None:
    """As without the scope read:hub. A file that load_subconfig loads does not see earlier settings."""
    about = {"version": "6.1.1", "scope_names": {}, "authenticator": None}
    rendered = render_config(tmp_path, [{"user": BOT}], about=about)
    assert rendered.changed == 1  # both files in one task
    (tmp_path / "config.py").write_text(HOOKS + rendered.as_subconfig())
    loaded = run_program([oidc_python(), "-c", LOAD_CONFIG, tmp_path], tmp_path, bare_environment(tmp_path))
    assert loaded.stdout.splitlines() == [
        "GenericOAuthenticator True generic",
        "LocalGenericOAuthenticator True generic",
        "GitHubOAuthenticator True all's",
        "SiteOAuthenticator True site's",
    ], loaded.output


AUTHENTICATORS = {
    "old": ({"class": GENERIC, "version": "17.2.0"}, "has oauthenticator 17.2.0, which ignores refresh_user_hook"),
    "new": ({"class": GENERIC, "version": "17.3.0"}, ""),
    "odd": ({"class": GENERIC, "version": "unknown"}, "not checked whether the hub's authenticator"),
    "ours": ({"class": "ours.Authenticator", "version": "1.0"}, "authenticator, ours.Authenticator, asks"),
    "none": ({"class": "jupyterhub.auth.PAMAuthenticator", "version": "6.1.1"}, ""),
    "untold": (None, "not checked whether the hub's authenticator"),
}


def test_the_role_says_whether_the_hub_calls_the_hook(tmp_path: Path) -> None:
    """The hook is written in any case, for use after an upgrade."""
    hosts: dict[str, dict[str, Any]] = {
        name: {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "about": {"version": "6.1.1", "scope_names": {}, "authenticator": authenticator},
        }
        for name, (authenticator, _said) in AUTHENTICATORS.items()
    }
    values = f"{tmp_path}/{{{{ inventory_hostname }}}}.yaml"
    played = render_config(
        tmp_path, [{"user": BOT}], hosts=hosts, service_account_config_path="", service_account_values_path=values
    ).played
    for name, (_authenticator, said) in AUTHENTICATORS.items():
        assert played.recap[name]["changed"] == 1, played.output
        assert (tmp_path / f"{name}.yaml").exists()
        message = re.search(rf'ok: \[{name}\] => {{\s+"msg": "WARNING: (.*)"', played.stdout)
        assert (message is not None) == bool(said), played.output
        assert not message or said in message[1]
