# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""If a role prints text of others, it is one line and no command to the terminal.

The tests of the roles' functions, in tests/unit/plugin_utils/_roles, check the same for what Python prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import printable
from jinja2 import ChainableUndefined, Environment

ROLES = Path(__file__).resolve().parents[3] / "roles"
FORGED = "a\n\x1b[2J\x9b2Jfatal: [localhost]: FAILED!\u202e\x7f\u2028" + "x" * 5000
VARIABLES: dict[str, Any] = {
    "service_account_hub_config": {"obstacles": [FORGED, FORGED], "doubt": FORGED},
}  # fmt: skip

JINJA = Environment(undefined=ChainableUndefined, trim_blocks=True)
JINJA.filters |= {
    "hubops.jupyterhub.printable": printable, "split": str.split, "regex_replace": lambda text, *_more: text,
    "regex_escape": str,
}  # fmt: skip
JINJA.tests["changed"] = bool


def sentences(value: Any, key: str = "") -> Iterator[str]:
    """The messages in the YAML of a role's tasks."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from sentences(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from sentences(item, key)
    elif isinstance(value, str) and key in ("msg", "fail_msg") and "lookup(" not in value:
        yield value


TASKS = [
    pytest.param(text, id=f"{path.relative_to(ROLES)}-{number}")
    for path in sorted(ROLES.glob("*/tasks/**/*.yml"))
    for number, text in enumerate(sentences(yaml.safe_load(path.read_text(encoding="utf-8"))))
    if any(f"{name}." in text or f"{name} " in text for name in VARIABLES)
]


def is_harmless(text: str) -> bool:
    return (
        text.replace("\n", "").isprintable()
        and not any(line.startswith("fatal:") for line in text.splitlines())
        and all(len(line) < 6000 for line in text.splitlines())
    )


@pytest.mark.parametrize("text", TASKS)
def test_no_sentence_of_a_task_is_forged(text: str) -> None:
    assert is_harmless(JINJA.from_string(text).render(VARIABLES))


def test_the_sentences_are_found() -> None:
    assert TASKS
