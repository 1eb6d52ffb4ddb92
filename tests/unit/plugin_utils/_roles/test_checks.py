# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several roles decide in the same way."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.checks import (
    configuration_files,
    given,
    is_true,
    one_line,
)


@pytest.mark.parametrize("value", [True, 1, "1", "yes", "Yes", "on", "true", "True", "y", "t"])
def test_what_means_yes(value: Any) -> None:
    assert is_true(value)


@pytest.mark.parametrize("value", [False, None, 0, 2, "", "no", "off", "false", "False", "n", [], {}])
def test_what_does_not(value: Any) -> None:
    assert not is_true(value)


def test_text_of_others_is_one_line() -> None:
    assert one_line(" a\n b\t\u2028 c ") == "a b c"
    assert one_line("a\x1b[2J\x07") == "a\\x1b[2J\\x07"
    assert one_line("x" * 400).startswith("x" * 300 + "...")
    assert one_line(None, 2).startswith("No...")


def test_an_option_without_a_value_is_left_to_the_module() -> None:
    assert given({"a": "", "b": None, "c": False, "d": 0, "e": [], "f": "x"}) == {"c": False, "d": 0, "e": [], "f": "x"}


@pytest.mark.parametrize(
    ("path", "written"), [("a.py", "/here/a.py"), ("b/a.py", "/here/b/a.py"), ("/etc/a", "/etc/a"), ("~/a", "~/a")]
)
def test_a_relative_file_is_where_the_run_was_started(path: str, written: str) -> None:
    options = {"folder": "/here", "config_path": path, "values_path": path}
    assert [file["path"] for file in configuration_files("a.j2", options, "")] == [written, written]


def test_each_file_has_its_next_step() -> None:
    options = {"folder": "/here", "config_path": "a.py", "values_path": "v.yaml"}
    config, values = configuration_files("a.j2", options, "Until then nothing changes.")
    assert config["template"] == "a.j2"
    assert config["next"] == (
        "Restart the hub, which then reads a.py (The Littlest JupyterHub: tljh-config reload hub). "
        "Until then nothing changes."
    )
    assert values["template"] == "values.yaml.j2"
    assert values["next"] == "Run helm upgrade with --values v.yaml. Until then nothing changes."


@pytest.mark.parametrize("empty", ["", None])
def test_a_file_that_nobody_asks_for_is_not_written(empty: str | None) -> None:
    files = configuration_files("a.j2", {"config_path": empty, "values_path": empty}, "")
    assert files == []
    assert [file["path"] for file in configuration_files("a.j2", {"config_path": "/a", "values_path": empty}, "")] == [
        "/a"
    ]
