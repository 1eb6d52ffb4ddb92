# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The notifications of AWX: what they say about a job, and what AWX keeps of their configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ENCRYPTED = "$encrypted$"
"""What AWX returns in place of a secret."""

_DEFAULTS: dict[str, dict[str, Any]] = {
    "webhook": {
        "http_method": "POST",
        "headers": {},
        "disable_ssl_verification": False,
        "username": "",
        "password": "",
    },
    "slack": {"hex_color": ""},
    "email": {"username": "", "password": "", "use_tls": False, "use_ssl": False, "timeout": 30},
}
"""The configuration of the types that the guide on AWX shows. Otherwise, a key that a person removes would stay in
AWX."""


def make_messages(notification_type: str, texts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the messages of a notification template.

    ``texts`` are the templates for a ``job`` and for an ``approval``: the ``message`` for services that show nothing
    else, the ``subject`` and the ``body`` of an e-mail, and the ``json`` that a webhook sends.
    """
    message = "subject" if notification_type in ("email", "webhook") else "message"
    body = "json" if notification_type == "webhook" else "body"

    def choose(event: str) -> dict[str, Any]:
        return {"message": texts[event][message], "body": texts[event][body]}

    approvals = {status: choose("approval") for status in ("running", "approved", "timed_out", "denied")}
    return {**{event: choose("job") for event in ("started", "success", "error")}, "workflow_approval": approvals}


def complete_configuration(notification_type: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the defaults of AWX for its type."""
    return {**_DEFAULTS.get(notification_type, {}), **configuration}


def could_be_same(present: Any, wanted: Any) -> bool:
    """Return whether a configuration in AWX may be the wanted one. AWX hides secrets, so these may be the same."""
    if present == ENCRYPTED and isinstance(wanted, str) and wanted:
        return True
    if isinstance(present, Mapping) and isinstance(wanted, Mapping):
        return all(key in present and could_be_same(present[key], value) for key, value in wanted.items())
    return bool(present == wanted)
