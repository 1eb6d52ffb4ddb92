# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""versions: the API of each version of JupyterHub."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.versions import (
    explain_scopes,
    find_dialect,
    find_new_scopes,
    find_split_scopes,
    has_service_mint_bug,
)

WRAPPED, FLAT = {"user_options": {"a": 1}}, {"a": 1}


@pytest.mark.parametrize(
    ("version", "options", "options_format", "body"),
    [
        ("6.1.1", {"a": 1}, "auto", WRAPPED),
        ("6.0.0", {"a": 1}, "wrapped", WRAPPED),
        ("6.1.1", {"a": 1}, "flat", FLAT),
        ("5.5.4", {"a": 1}, "auto", FLAT),
        ("5.5.4", {"a": 1}, "wrapped", WRAPPED),
        ("4.1.6", {"a": 1}, "flat", FLAT),
        # No body at all: the options of the last start.
        *((version, None, form, None) for version in ("6.1.1", "5.5.4") for form in ("auto", "wrapped", "flat")),
        # Empty options, whatever the format: JupyterHub 6 takes a bare {} for the options of the last start, and older
        # hubs take a wrapped one for an option named user_options.
        *(("6.1.1", {}, form, {"user_options": {}}) for form in ("auto", "wrapped", "flat")),
        *(("5.5.4", {}, form, {}) for form in ("auto", "wrapped", "flat")),
    ],
)
def test_the_body_that_starts_a_server(version: str, options: Any, options_format: str, body: Any) -> None:
    assert find_dialect(version).build_start_body(options, options_format) == body


@pytest.mark.parametrize(
    ("version", "options", "options_format", "kept"),
    [
        ("6.1.1", {"a": 1}, "auto", FLAT),
        ("6.1.1", {"a": 1}, "wrapped", FLAT),
        ("6.1.1", {"a": 1}, "flat", FLAT),
        ("6.1.1", WRAPPED, "flat", FLAT),
        ("6.1.1", WRAPPED, "auto", WRAPPED),
        ("5.5.4", {"a": 1}, "auto", FLAT),
        ("5.5.4", {"a": 1}, "wrapped", WRAPPED),
        ("5.5.4", WRAPPED, "auto", WRAPPED),
        *((version, {}, "wrapped", {}) for version in ("6.1.1", "5.5.4")),
        ("6.1.1", None, "auto", None),
    ],
)
def test_what_the_hub_then_shows_of_the_options(version: str, options: Any, options_format: str, kept: Any) -> None:
    assert find_dialect(version).predict_user_options(options, options_format) == kept


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("7.0", "start:servers!user"),
        ("6.0.0b1", "start:servers!user"),
        ("5.5.4", "servers!user"),
        ("3.0", "servers!user"),
    ],
)
def test_scopes_are_said_in_the_hub_s_words(version: str, said: str) -> None:
    assert find_dialect(version).translate_scope("start:servers!user") == said
    assert find_dialect(version).translate_scope("delete:servers") == "delete:servers"


@pytest.mark.parametrize(
    ("version", "does"),
    [("4.1.6", True), ("5.5.2", True), ("5.5.3", False), ("5.6.0", False), ("6.0.3", True), ("6.1.0", False)],
)
def test_whether_a_user_is_looked_for_among_services(version: str, does: bool) -> None:
    assert has_service_mint_bug(version) is does


@pytest.mark.parametrize("version", ["2.3.1", "1.5", "0.9", "", "of no number"])
def test_a_hub_that_is_too_old(version: str) -> None:
    with pytest.raises(Invalid, match="JupyterHub") as error:
        find_dialect(version)
    assert "4.1" in error.value.hint


def test_a_number_that_no_version_has_is_no_surprise() -> None:
    with pytest.raises(Invalid) as error:
        find_dialect("9" * 5000)
    assert "hub_url" in error.value.hint
    assert find_dialect("6.0." + "1" * 5000).version == (6, 0)


SPLIT = {"servers!user=a", "start:servers!user=a", "delete:servers!user=a"}


@pytest.mark.parametrize(
    ("version", "shown", "means"),
    [
        ("5.5.4", ["servers!user=a", "delete:servers!user=a"], SPLIT),
        ("4.1.6", ["servers", "tokens"], {"servers", "start:servers", "tokens"}),
        ("6.1.1", ["servers!user=a"], {"servers!user=a"}),
        ("6.1.1", sorted(SPLIT), SPLIT),
        ("of no number", ["servers"], {"servers"}),
        ("5.5.4", ["start:servers", "servers:x", "read:servers"], {"start:servers", "servers:x", "read:servers"}),
    ],
)
def test_what_a_scope_means_in_the_names_of_the_newest_hubs(version: str, shown: list[str], means: set[str]) -> None:
    assert explain_scopes(version, shown) == means


def test_which_scopes_come_with_a_version() -> None:
    assert find_new_scopes("4.1.6", "4.1.7") == find_new_scopes("6.0.0", "6.1.1") == frozenset()
    assert find_new_scopes("6.1.1", "5.5.4") == frozenset()
    assert find_new_scopes("5.5.4", "6.1.1") == {"start:servers"}
    assert {"shares", "read:shares", "start:servers"} < find_new_scopes("4.1.6", "6.1.1")
    assert "start:servers" not in find_new_scopes("4.1.6", "5.5.4")


def test_which_scope_is_split_between_two_versions() -> None:
    split = ("servers", ("start:servers", "delete:servers"))
    assert find_split_scopes("5.5.4", "6.1.1") == find_split_scopes("4.1.6", "6.0") == [(*split, True)]
    assert find_split_scopes("6.1.1", "4.1.6") == [(*split, False)]
    assert find_split_scopes("4.1.6", "5.5.4") == find_split_scopes("6.0", "6.1") == find_split_scopes("?", "6.1") == []
