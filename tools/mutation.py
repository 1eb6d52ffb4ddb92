# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs unit tests on mutants of the modules that decide. Changes files of the folder that it is in.

cosmic-ray makes the mutants. Its own runner is not used, because it takes every failure to run the tests for a test
that noticed the mutant.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXPLAINED = "tests/mutation/explained.yml"
TESTS = {
    "plugins/module_utils/_cull/policy.py": "tests/unit/module_utils/_cull/test_policy.py",
    "plugins/module_utils/_path/plan.py": "tests/unit/module_utils/_path/test_plan.py",
    "plugins/module_utils/_server/model.py": "tests/unit/module_utils/_server/test_model.py",
    "plugins/module_utils/_token/model.py": "tests/unit/module_utils/_token/test_model.py",
}
"""The modules, and the tests that must notice a change of them."""

# No plugin, no conftest.py and no details of failed asserts, which nobody needs here. So a mutant takes half a second.
PYTEST = (
    "-m",
    "pytest",
    "-c",
    "/dev/null",
    "--rootdir=.",
    "--noconftest",
    "-p",
    "no:cacheprovider",
    "--assert=plain",
    "-x",
    "-q",
)
PASSED, FAILED, NOT_IMPORTED = 0, 1, 2
"""Exit statuses of pytest. With any other it could not run."""
LONGEST_RUN = 600
"""Seconds. None of the modules has a loop that a change can make endless."""

_ARITHMETIC = {
    "Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_Mul", "Pow_Mul",
    "RShift_LShift", "LShift_RShift", "BitOr_BitAnd", "BitAnd_BitOr", "BitXor_BitOr",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A changed version of a module. A mutant is known by the changed line, not by its number."""

    file: str
    place: str
    """The class and function that the line is in, such as ``Rule.matches``. Empty outside of both."""
    line: str
    becomes: str
    """The changed line. Empty if the line is removed. Spaces do not count in either."""
    number: int
    code: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.file, self.place, self.line, self.becomes


@dataclass(frozen=True)
class Explanation:
    """Why nobody can notice a mutant."""

    key: tuple[str, str, str, str]
    reason: str


def is_wanted(operator: str, operand: str) -> bool:
    """Return whether to use an operator of cosmic-ray, such as ``core/ReplaceBinaryOperator_Add_Sub``, at a place.

    ``operand`` is the code that follows the place.

    - One replacement is enough for each arithmetic operator. A test that notices a sum in place of a difference also
      notices a product.
    - ``<`` and its like replace ``==`` and ``!=`` only before a number. Texts and mappings have no order that the code
      uses, and their alphabet would decide whether a test can notice it.
    - ``is`` does not replace ``==``. Whether two equal texts are one object is up to the interpreter. ruff finds it.
    """
    name = operator.removeprefix("core/")
    if name.startswith("ReplaceBinaryOperator_"):
        return name.removeprefix("ReplaceBinaryOperator_") in _ARITHMETIC
    if re.fullmatch(r"ReplaceComparisonOperator_(Eq|NotEq|Lt|LtE|Gt|GtE)_(Is|IsNot)", name):
        return False
    if re.fullmatch(r"ReplaceComparisonOperator_(Eq|NotEq|Is|IsNot)_(Lt|LtE|Gt|GtE)", name):
        return operand[:1].isdigit()
    return True


def dump_behaviour(code: str) -> str:
    """Return the syntax tree of the code as text, without what no run of the code depends on. Raises `SyntaxError`.

    Python does not evaluate annotations, because of ``from __future__ import annotations``. Whether an argument may be
    passed by its position or only by its name does not matter to a caller that passes it correctly. cosmic-ray takes
    the sign ``*`` between the arguments for a product.
    """
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.arguments):
            node.args = node.posonlyargs + node.args + node.kwonlyargs
            node.defaults += [default for default in node.kw_defaults if default]
            node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
    return ast.dump(tree)


def name_place(code: str, number: int) -> str:
    """Return the class and function that a line is in. A decorator is in what it decorates."""

    def find(body: Iterable[ast.AST]) -> list[str]:
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                begin = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                if begin <= number <= (node.end_lineno or node.lineno):
                    return [node.name, *find(node.body)]
        return []

    return ".".join(find(ast.parse(code).body))


def describe_mutant(file: str, code: str, mutated: str) -> Mutant:
    """Return the mutant. Lines that are changed together count as one line."""
    before, after = code.splitlines(), mutated.splitlines()
    begin = next(place for place, (old, new) in enumerate(zip(before, after, strict=False)) if old != new)
    same = 0
    while same < min(len(before), len(after)) - begin and before[-1 - same] == after[-1 - same]:
        same += 1
    line, becomes = (" ".join(" ".join(lines[begin : len(lines) - same]).split()) for lines in (before, after))
    number = next(place for place, text in enumerate(before[begin:], begin + 1) if text.strip())
    return Mutant(file, name_place(code, number), line, becomes, number, mutated)


def list_mutants(file: str, code: str) -> Iterator[Mutant]:
    """Make the mutants of a module, except for those that cannot behave otherwise, or that are no Python."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    seen = {dump_behaviour(code)}
    lines = code.splitlines()
    nodes = list(ast_nodes(get_ast(code)))
    for name in operator_names():
        if get_operator(name).arguments():  # It replaces names that somebody lists for it.
            continue
        operator = get_operator(name)()
        ends = [end for node in nodes for _start, end in operator.mutation_positions(node)]
        for occurrence, (number, column) in enumerate(ends):
            if not is_wanted(name, lines[number - 1][column:].strip()):
                continue
            mutated = mutate_code(code, operator, occurrence)
            try:
                behaviour = dump_behaviour(mutated)
            except SyntaxError:
                continue
            if behaviour not in seen:
                seen.add(behaviour)
                yield describe_mutant(file, code, mutated)


def read_explanations(items: Iterable[Mapping[str, Any]]) -> list[Explanation]:
    """Return the explanations in the data of `EXPLAINED`. Raises `KeyError` and `ValueError` if one is not complete."""
    found = []
    for item in items:
        key = tuple(" ".join(str(item[name]).split()) for name in ("file", "place", "line", "becomes"))
        reason = str(item["reason"]).strip()
        if not reason or key[0] not in TESTS:
            raise ValueError(f"{EXPLAINED}: an entry has no reason, or names none of the modules: {item}")
        found.append(Explanation(key, reason))
    return found


def find_unexplained(survivors: Iterable[Mutant], explanations: Iterable[Explanation]) -> list[Mutant]:
    """Return the survivors that nothing explains. An explanation is for one survivor."""
    left = Counter(each.key for each in explanations)
    found = []
    for mutant in survivors:
        if left[mutant.key] <= 0:
            found.append(mutant)
        left[mutant.key] -= 1
    return found


def find_stale(
    mutants: Iterable[Mutant], survivors: Iterable[Mutant], explanations: Iterable[Explanation]
) -> list[tuple[Explanation, str]]:
    """Return the explanations that are not needed, and why."""
    made, left = (Counter(mutant.key for mutant in group) for group in (mutants, survivors))
    found = []
    for each in explanations:
        if left[each.key] <= 0:
            found.append((each, "a test notices it" if made[each.key] else "there is no such mutant"))
        left[each.key] -= 1
    return found


def run_tests(file: str) -> bool:
    """Return whether the tests of a module pass. Raises `RuntimeError` if they cannot run."""
    run = subprocess.run(
        [sys.executable, *PYTEST, TESTS[file]],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=LONGEST_RUN,
    )
    if run.returncode not in (PASSED, FAILED, NOT_IMPORTED):
        raise RuntimeError(f"pytest ended with status {run.returncode}:\n{run.stdout}{run.stderr}")
    return run.returncode == PASSED


def check_baseline(file: str) -> None:
    """End the program if the tests fail without any change. Then they would notice every mutant."""
    if not run_tests(file):
        sys.exit(f"{TESTS[file]} fails without any change, so it says nothing on mutants.")


def find_survivors(mutants: Sequence[Mutant]) -> list[Mutant]:
    """Run the tests on each mutant of one module."""
    file = ROOT / mutants[0].file
    code = file.read_text()
    survivors = []
    check_baseline(mutants[0].file)
    for mutant in mutants:
        file.write_text(mutant.code)
        if run_tests(mutant.file):
            survivors.append(mutant)
            print(f"  survives: {mutant.file}:{mutant.number}", file=sys.stderr)
    file.write_text(code)
    check_baseline(mutants[0].file)
    return survivors


def show_mutant(mutant: Mutant) -> str:
    return f"{mutant.file}:{mutant.number}, in {mutant.place}\n  - {mutant.line}\n  + {mutant.becomes}"


def main(files: Sequence[str]) -> int:
    import yaml

    if not set(files) <= set(TESTS):
        sys.exit(f"Name some of these: {' '.join(TESTS)}")
    explanations = read_explanations(yaml.safe_load((ROOT / EXPLAINED).read_text()))
    rows, unexplained, stale = [], [], []
    for file in files or TESTS:
        begin = time.monotonic()
        mutants = list(list_mutants(file, (ROOT / file).read_text()))
        print(f"{file}: {len(mutants)} mutants", file=sys.stderr)
        survivors = find_survivors(mutants)
        own = [each for each in explanations if each.key[0] == file]
        left = find_unexplained(survivors, own)
        unexplained += left
        stale += find_stale(mutants, survivors, own)
        killed, seconds = len(mutants) - len(survivors), round(time.monotonic() - begin)
        rows.append((file, len(mutants), killed, len(survivors), len(survivors) - len(left), seconds))
    for row in [("module", "mutants", "killed", "survived", "explained", "seconds"), *rows]:
        print("{:<40}{:>9}{:>9}{:>10}{:>11}{:>9}".format(*row))
    for mutant in unexplained:
        print(f"\nNo test notices this change, and {EXPLAINED} does not explain it:\n{show_mutant(mutant)}")
    for each, why in stale:
        print(f"\nRemove this entry from {EXPLAINED}, because {why}:\n  " + "\n  ".join(each.key))
    return 1 if unexplained or stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
