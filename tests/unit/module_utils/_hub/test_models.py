# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_hub.models: what a model says that the hub does not say in so many words."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.models import Group, Token


@pytest.mark.parametrize(
    ("note", "client", "issued_for"),
    [
        ("Server at /user/alice/", "JupyterHub", "server"),
        ("Server at /jhub/user/alice/lab/", "JupyterHub", "server"),
        ("Server at home", "JupyterHub", ""),  # people may write what they like
        ("my server", "JupyterHub", ""),
        (None, None, ""),
        ("", "jupyterhub", ""),
        ("", "Server at /user/alice/", "oauth"),
        (None, "JupyterHub service grafana", "oauth"),
        ("", "service-without-description", "oauth"),
    ],
)
def test_what_a_token_was_issued_for(note: str | None, client: str | None, issued_for: str) -> None:
    assert Token.from_model({"id": "a1", "note": note, "oauth_client": client}).issued_for == issued_for


@pytest.mark.parametrize(
    ("shown", "properties"),
    [({}, None), ({"properties": None}, {}), ({"properties": {}}, {}), ({"properties": {"a": 1}}, {"a": 1})],
)
def test_properties_that_are_hidden_are_not_empty(shown: dict[str, Any], properties: dict[str, Any] | None) -> None:
    assert Group.from_model({"name": "g", **shown}).properties == properties
