# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tools/mutation.py: which mutants count, which of them survive, and which explanations are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.programs import load_tool

ROOT = Path(__file__).resolve().parents[2]


mutation = load_tool("mutation")

FILE = "plugins/module_utils/_path/plan.py"
CODE = """\
from __future__ import annotations

LIMIT = 3


class Queue:
    longest = 5


    @property
    def size(self) -> int | None:
        return 1 if self else 2

    def takes(self, *, number: int) -> bool:
        def fits(most: int) -> bool:
            return number < most

        return fits(
            self.longest
        )
"""


def change(old: str, new: str) -> Any:
    assert CODE.count(old) == 1
    return mutation.describe_mutant(FILE, CODE, CODE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("LIMIT = 3", "LIMIT =  4", ("", "LIMIT = 3", "LIMIT = 4")),
        ("longest = 5", "longest = 6", ("Queue", "longest = 5", "longest = 6")),
        # cosmic-ray removes the empty lines before a decorator, too.
        ("\\n\\n\\n    @property\\n", "\\n", ("Queue.size", "@property", "")),
        ("number < most", "number <= most", ("Queue.takes.fits", "return number < most", "return number <= most")),
        ("fits(\\n", "not fits(\\n", ("Queue.takes", "return fits(", "return not fits(")),
    ],
)
def test_a_mutant_is_known_by_its_place_and_its_line(old: str, new: str, key: tuple[str, str, str]) -> None:
    mutant = change(old.replace("\\n", "\n"), new.replace("\\n", "\n"))
    assert mutant.key == (FILE, *key)
    assert CODE.splitlines()[mutant.number - 1].strip() == key[1]


@pytest.mark.parametrize(
    ("old", "new", "is_same"),
    [
        ("int | None", "int & None", True),
        ("number: int)", "number: str)", True),
        ("self, *, number", "self, /, number", True),
        ("number < most", "number > most", False),
        ("LIMIT = 3", "LIMIT = 4", False),
    ],
)
def test_what_no_run_depends_on_is_not_mutated(old: str, new: str, is_same: bool) -> None:
    changed = CODE.replace(old, new)
    assert changed != CODE
    assert (mutation.dump_behaviour(changed) == mutation.dump_behaviour(CODE)) is is_same


@pytest.mark.parametrize(
    ("operator", "operand", "is_used"),
    [
        ("ReplaceBinaryOperator_Add_Sub", "b", True),
        ("ReplaceBinaryOperator_Add_Mul", "b", False),
        ("ReplaceComparisonOperator_Lt_LtE", "b", True),
        ("ReplaceComparisonOperator_Eq_NotEq", "'b'", True),
        ("ReplaceComparisonOperator_Eq_Lt", "0:", True),
        ("ReplaceComparisonOperator_Eq_Lt", "'b'", False),
        ("ReplaceComparisonOperator_Eq_Is", "0", False),
        ("ReplaceComparisonOperator_IsNot_Is", "None", True),
        ("ReplaceComparisonOperator_IsNot_NotEq", "b", True),
        ("ReplaceComparisonOperator_IsNot_Gt", "b", False),
        ("ReplaceAndWithOr", "b", True),
        ("NumberReplacer", "", True),
    ],
)
def test_which_changes_are_made(operator: str, operand: str, is_used: bool) -> None:
    assert mutation.is_wanted(f"core/{operator}", operand) is is_used


def explain(mutant: Any) -> Any:
    return mutation.Explanation(mutant.key, "It makes no difference.")


def test_survivors_need_an_explanation_and_explanations_a_survivor() -> None:
    survivor, explained, killed, missing = (change("LIMIT = 3", f"LIMIT = {number}") for number in range(4, 8))
    explanations = [explain(explained), explain(killed), explain(missing)]
    assert mutation.find_unexplained([survivor, explained], explanations) == [survivor]
    assert mutation.find_stale([survivor, explained, killed], [survivor, explained], explanations) == [
        (explain(killed), "a test notices it"),
        (explain(missing), "there is no such mutant"),
    ]


def test_an_explanation_is_for_one_survivor() -> None:
    """The same line can be in a function twice."""
    survivor = change("LIMIT = 3", "LIMIT = 4")
    assert mutation.find_unexplained([survivor] * 2, [explain(survivor)]) == [survivor]
    assert mutation.find_unexplained([survivor] * 2, [explain(survivor)] * 2) == []
    assert len(mutation.find_stale([survivor], [survivor], [explain(survivor)] * 2)) == 1


def test_the_explanations_are_complete_and_their_lines_exist() -> None:
    explanations = mutation.read_explanations(yaml.safe_load((ROOT / mutation.EXPLAINED).read_text()))
    assert explanations
    for file, place, line, _becomes in (each.key for each in explanations):
        code = (ROOT / file).read_text()
        numbers = [number for number, text in enumerate(code.splitlines(), 1) if " ".join(text.split()) == line]
        assert place in [mutation.name_place(code, number) for number in numbers], f"{file}, {place}: {line}"


ENTRY = {"file": FILE, "place": "run", "line": "a", "becomes": "b", "reason": "It makes no difference."}


@pytest.mark.parametrize("more", [{"reason": " "}, {"file": "plugins/module_utils/other.py"}])
def test_an_explanation_that_says_nothing_is_refused(more: dict[str, str]) -> None:
    assert mutation.read_explanations([ENTRY])
    with pytest.raises(ValueError, match=r"explained\.yml"):
        mutation.read_explanations([ENTRY, {**ENTRY, **more}])


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module with a test, in a folder of their own."""
    (tmp_path / "test_limit.py").write_text("import limit\n\n\ndef test_it():\n    assert limit.LIMIT > 2\n")
    (tmp_path / "limit.py").write_text("LIMIT = 3\n")
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    monkeypatch.setattr(mutation, "TESTS", {"limit.py": "test_limit.py"})
    for name, value in {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "limit.py"


def test_a_mutant_that_no_test_notices_survives(module: Path) -> None:
    code = module.read_text()
    mutants = [
        mutation.describe_mutant("limit.py", code, changed) for changed in ("LIMIT = 2\n", "LIMIT = 4\n", "LIMIT = a\n")
    ]
    assert mutation.find_survivors(mutants) == [mutants[1]]
    assert module.read_text() == code


def test_tests_that_fail_anyway_say_nothing(module: Path) -> None:
    module.write_text("LIMIT = 1\n")
    with pytest.raises(SystemExit, match="fails without any change"):
        mutation.check_baseline("limit.py")


def test_tests_that_do_not_run_say_nothing(module: Path) -> None:
    (module.parent / "test_limit.py").write_text("import limit\n")
    with pytest.raises(RuntimeError, match="status 5"):
        mutation.check_baseline("limit.py")
