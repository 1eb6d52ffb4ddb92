# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_verify.expect: how an output differs from what is expected."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._exec.output import Output
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.code import collect_outputs
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.expect import Expectation

NOTHING: dict[str, Any] = {"equals": None, "contains": None, "matches": None}


@pytest.mark.parametrize(
    ("wanted", "text", "difference"),
    [
        ({"equals": "42"}, "42\n", None),
        ({"equals": "42\n"}, " 42", None),
        ({"equals": ""}, None, None),
        ({"equals": "42"}, "43", "result is '43', expected was '42'"),
        ({"equals": "42"}, None, "result is '', expected was '42'"),
        ({"contains": "b c"}, "a b c", None),
        ({"contains": "x"}, "a\nb", "result is 'a b', which does not contain 'x'"),
        ({"matches": "^b$"}, "a\nb\nc", None),
        ({"matches": "^x"}, "a\x1b[31m", "result is 'a\\x1b[31m', which does not match '^x'"),
        ({"contains": "a", "matches": "z"}, "a", "result is 'a', which does not match 'z'"),
    ],
)
def test_the_difference_to_what_is_expected(wanted: dict[str, str], text: str | None, difference: str | None) -> None:
    [expectation] = Expectation.from_options({"result": {**NOTHING, **wanted}, "stderr": None}, "expect")
    assert expectation.find_difference({"result": text}) == difference


def test_a_long_output_is_cut_in_a_sentence() -> None:
    [expectation] = Expectation.from_options({"stdout": {**NOTHING, "equals": "1"}}, "expect")
    assert len(expectation.find_difference({"stdout": "x" * 10_000_000}) or "") < 500


def test_nothing_is_expected() -> None:
    assert Expectation.from_options(None, "expect") == ()


def test_a_wrong_regular_expression_names_its_option() -> None:
    with pytest.raises(Invalid, match=r"code\[0\]\.expect\.stdout\.matches: '\(' is not a regular expression"):
        Expectation.from_options({"stdout": {**NOTHING, "matches": "("}}, "code[0].expect")


@pytest.mark.parametrize(
    ("stdout", "result", "whole"),
    [("a", "b", "a\nb"), ("a\n", "b", "a\nb"), ("a", None, "a"), ("", "b", "b"), ("", None, "")],
)
def test_the_whole_output_is_what_was_written_and_the_result(stdout: str, result: str | None, whole: str) -> None:
    found = collect_outputs(Output(streams={"stdout": [stdout], "stderr": ["c"]}, result=result))
    assert found == {"stdout": stdout, "stderr": "c", "result": result, "output": whole}
