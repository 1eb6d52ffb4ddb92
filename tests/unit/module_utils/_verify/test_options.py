# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.options import parse_check, parse_hub
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.spec import CheckSpec
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_verify import MODULE, read_notebooks


def validated(**options: Any) -> dict[str, Any]:
    checked = ArgumentSpecValidator(MODULE.argument_spec).validate({"hub_url": "http://h/", **options})
    assert not checked.error_messages
    found: dict[str, Any] = checked.validated_parameters
    return found


def check(**options: Any) -> CheckSpec:
    return parse_check({**validated(**options), "api_token": None})


def test_a_check_without_options_starts_and_stops_the_server_of_the_token_s_owner() -> None:
    found = check()
    assert (found.user, found.server_name, found.proofs) == ("", "", ())
    assert (found.wait_timeout, found.timeout, found.warn_after) == (300, 60, None)
    assert (found.if_running, found.keep_running, found.options_format) == ("fail", False, "auto")
    assert found.needed_scopes("alice") == [
        "read:servers!user=alice",
        "start:servers!server=alice/",
        "delete:servers!server=alice/",
        "access:servers!server=alice/",
    ]


def test_the_phases_come_in_a_fixed_order() -> None:
    found = check(
        persist=True, websocket=True, terminal=True, resources={"cpus": 1}, paths=[{"path": "~"}], packages=["pip"],
        code=[{"code": "1"}], page=["lab"], notebooks=[{"path": "a.ipynb", "content": notebook("1")}],
    )  # fmt: skip
    assert found.proofs == (
        "page", "code", "notebooks", "packages", "paths", "resources", "terminal", "websocket", "persist",
    )  # fmt: skip
    assert found.websocket_idle == 30


def notebook(*sources: str) -> str:
    cells = [{"cell_type": "code", "source": source, "metadata": {}} for source in sources]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})


def test_what_a_snippet_leaves_out_is_that_of_its_check() -> None:
    code = [{"code": "1"}, {"code": "2", "timeout": "5s", "kernel_name": "r"}]
    first, second = check(code=code, timeout="2m", kernel_name="python3").snippets
    assert (first.timeout, first.kernel_name, first.expect) == (120, "python3", ())
    assert (second.timeout, second.kernel_name) == (5, "r")


def test_a_notebook_has_times_of_its_own() -> None:
    content = notebook("1")
    first, second = check(
        notebooks=[
            {"path": "a.ipynb", "content": content},
            {"path": "b.ipynb", "content": content, "timeout": "1h", "cell_timeout": "5s", "kernel_name": "r"},
        ]
    ).notebooks
    assert (first.timeout, first.cell_timeout, first.kernel_name) == (600, 60, "")
    assert (second.timeout, second.cell_timeout, second.kernel_name) == (3600, 5, "r")


def test_resources_that_ask_for_nothing_are_no_phase() -> None:
    assert check(resources={}).proofs == check(resources={"disk_path": "/data"}).proofs == ()
    found = check(resources={"memory": "1G", "disk": 1000, "gpus": 1}).resources
    assert found is not None
    assert (found.memory, found.disk, found.cpus, found.gpus, found.disk_path) == (1 << 30, 1000, None, 1, "~")


def test_the_options_of_the_hub() -> None:
    options = validated(expected_version=" 6.1 ", services=["a"], token_min_ttl="7d", show_progress=False)
    found = parse_hub(options, [])
    assert (found.expected_version, found.services, found.token_min_ttl) == ("6.1", ("a",), 604800)
    assert (found.checks, found.shows_progress, found.tls_min_days) == ((), False, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": "x"}, "timeout"),
        ({"warn_after": "x"}, "warn_after"),
        ({"websocket": True, "websocket_idle": "x"}, "websocket_idle"),
        ({"notebooks": [{"path": "a.ipynb", "content": "{}"}]}, "'a.ipynb' is not a notebook"),
        ({"notebooks": [{"path": "a.ipynb"}]}, "'a.ipynb' was not read"),
        ({"resources": {"disk": "x"}}, "resources.disk"),
        ({"paths": [{"path": ""}]}, "paths"),
        ({"code": [{"code": "1", "expect": {"result": {"matches": "["}}}]}, "expect.result.matches"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        check(**options)


# Notebooks of the controller


def test_the_content_of_each_notebook_is_read_once() -> None:
    read: list[str] = []

    def read_file(path: str) -> str:
        read.append(path)
        return f"content of {path}"

    options = {
        "user": "alice",
        "notebooks": [{"path": "a"}, {"path": "b", "content": "given"}],
        "checks": [{"notebooks": [{"path": "c"}]}, {"user": "bob"}],
    }
    assert read_notebooks(options, read_file) == {
        "user": "alice",
        "notebooks": [{"path": "a", "content": "content of a"}, {"path": "b", "content": "given"}],
        "checks": [{"notebooks": [{"path": "c", "content": "content of c"}]}, {"user": "bob"}],
    }
    assert read == ["a", "c"]
    assert options["checks"] == [{"notebooks": [{"path": "c"}]}, {"user": "bob"}]


@pytest.mark.parametrize("odd", ["a.ipynb", [1], [{"path": None}], [{}], {"path": "a"}, None])
def test_what_is_no_list_of_notebooks_is_left_to_the_validation(odd: Any) -> None:
    assert read_notebooks({"notebooks": odd, "checks": odd}, str) == {"notebooks": odd, "checks": odd}
