# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook rotate_tokens: renews what is due, proves the rest, and does nothing else."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from support.hub_clock import CLOCK_CONFIG, let_time_pass
from support.hubs import Hub, HubPool
from support.playbooks import api_request
from support.service_accounts import Site, exists, logged, passed, tokens, whose, writes
from support.waiting import wait_until

ROTATOR_TOKEN = "5e27ce0000000000000000000000f00d"
# May mint tokens for these users, and nothing else: not even create them.
ROTATOR = f"""
c.JupyterHub.services = [{{"name": "rotator", "api_token": "{ROTATOR_TOKEN}"}}]
c.JupyterHub.load_roles = [{{
    "name": "rotator",
    "services": ["rotator"],
    "scopes": ["tokens!user=least-" + keep for keep in ("file", "vault", "kubernetes", "tasks")],
}}]
"""


MINUTE = 60.0


@pytest.fixture(scope="module")
def new_hub(pool: HubPool) -> Hub:
    old_hub_of(pool)  # side by side
    return pool.get(config=CLOCK_CONFIG + ROTATOR)


@pytest.fixture(scope="module")
def old_hub(pool: HubPool) -> Hub:
    return old_hub_of(pool).result()


def old_hub_of(pool: HubPool) -> Future[Hub]:
    return pool.start("5.5", base_url="/", config=CLOCK_CONFIG + ROTATOR)


@pytest.fixture(params=["new_hub", "old_hub"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(request.getfixturevalue(request.param), tmp_path)


@pytest.fixture
def new_site(new_hub: Hub, tmp_path: Path) -> Site:
    return Site(new_hub, tmp_path)


def test_mints_only_what_is_due_and_with_the_least_rights(site: Site) -> None:
    """In every place: not due, then due, then not due again. The note of the declaration finds its token each time."""
    hub = site.hub
    lasting = site.everywhere("least", expires_in="1h")
    passed(site.run("service_account", accounts=lasting))
    first = site.works("least")

    position = logged(hub)
    passed(site.run("rotate_tokens", accounts=lasting, token=ROTATOR_TOKEN), changed=0)
    assert not writes(hub, position)
    assert site.works("least") == first

    # Due as half of the hour has passed, said without touching the token's identity.
    due = site.everywhere("least", expires_in="1h", renew_before="30m")
    let_time_pass(hub, 31 * MINUTE, *first)
    position = logged(hub)
    passed(site.run("rotate_tokens", "--check", accounts=due, token=ROTATOR_TOKEN))
    assert not writes(hub, position)
    assert site.works("least") == first
    passed(site.run("rotate_tokens", accounts=due, token=ROTATOR_TOKEN))
    second = site.works("least")
    assert not set(first.values()) & set(second.values())
    assert [whose(hub, secret) for secret in first.values()] == [None] * 4

    passed(site.run("rotate_tokens", accounts=lasting, token=ROTATOR_TOKEN), changed=0)
    assert site.works("least") == second


def test_a_quarter_of_the_lifetime_is_early_enough_by_default(new_site: Site) -> None:
    site = new_site
    accounts = [{"user": "short", "expires_in": "40m", "token_path": "short.token"}]
    passed(site.run("service_account", accounts=accounts), changed=2)
    first = (site.folder / "short.token").read_text().strip()
    let_time_pass(site.hub, 28 * MINUTE, "short")
    passed(site.run("rotate_tokens", accounts=accounts), changed=0)
    let_time_pass(site.hub, 3 * MINUTE, "short")
    assert whose(site.hub, first) == "short"  # it works still, and is renewed all the same
    passed(site.run("rotate_tokens", accounts=accounts), changed=1)
    assert whose(site.hub, (site.folder / "short.token").read_text().strip()) == "short"
    assert whose(site.hub, first) is None


def test_a_predecessor_may_stay_for_a_while(new_site: Site) -> None:
    """For programs that read the secret now and then; a later run revokes it."""
    site, hub = new_site, new_site.hub
    lasting: dict[str, Any] = {"expires_in": "2h", "overlap": "30m"}
    passed(site.run("service_account", accounts=site.everywhere("lap", **lasting)))
    first = site.secrets("lap")
    let_time_pass(hub, 31 * MINUTE, *first)
    due = site.everywhere("lap", renew_before="90m", **lasting)
    passed(site.run("rotate_tokens", accounts=due))
    second = site.secrets("lap")
    for user in first:
        assert [whose(hub, secret) for secret in (first[user], second[user])] == [user, user]
    passed(site.run("rotate_tokens", accounts=site.everywhere("lap", **lasting)), changed=0)
    let_time_pass(hub, 31 * MINUTE, *first)
    # One task for all that files keep, and one for the one that tasks keep.
    passed(site.run("rotate_tokens", accounts=site.everywhere("lap", **lasting)), changed=2)
    assert site.works("lap") == second


def test_neither_users_nor_admins_nor_the_hub_s_configuration_are_its_business(new_site: Site) -> None:
    """And one account that cannot be renewed ends no other."""
    site, hub = new_site, new_site.hub
    api_request(hub, "POST", "users/boss", {"admin": True})
    known = [{"user": "known", "groups": ["of-known"], "create_groups": True}]
    passed(site.run("service_account", accounts=known), changed=2)
    api_request(hub, "DELETE", "groups/of-known")
    secret = site.folder / "localhost-known.token"
    lost = secret.read_text().strip()
    secret.write_text("\0" * 33)  # as a machine leaves it that lost its power
    played = site.run(
        "rotate_tokens",
        accounts=[{"user": "unknown", "note": "of nobody"}, *known, {"user": "stranger", **_vault("stranger")}],
        service_account_demote=["boss"],
        service_account_config_path="config.py",
        service_account_values_path="values.yaml",
    )
    assert played.status == 2
    verdict = played.stdout.rpartition("Fail if an account failed")[2]
    for user in ("unknown", "stranger"):
        assert f"'{user}'" in verdict
        assert not exists(hub, user)
    assert whose(hub, secret.read_text().strip()) == "known"
    assert whose(hub, lost) is None
    assert api_request(hub, "GET", "users/boss")["admin"] is True
    assert api_request(hub, "GET", "groups") == []
    assert not (site.folder / "config.py").exists()
    assert not (site.folder / "values.yaml").exists()


def test_a_token_that_somebody_revoked_is_replaced(new_site: Site) -> None:
    site = new_site
    accounts = site.everywhere("gone")
    passed(site.run("service_account", accounts=accounts))
    for account in accounts:
        [token] = tokens(site.hub, account["user"])
        api_request(site.hub, "DELETE", f"users/{account['user']}/tokens/{token['id']}")
    revoked = site.secrets("gone")
    wait_until(lambda: not any(whose(site.hub, secret) for secret in revoked.values()), 120)
    passed(site.run("rotate_tokens", accounts=accounts))
    assert not set(site.works("gone").values()) & set(revoked.values())


def _vault(name: str) -> dict[str, str]:
    return {"keep": "vault", "vault_path": f"{name}.yml", "vault_variable": name}
