# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves that code runs in a server and writes what is expected."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .._exec import failures
from .._exec.failures import get_cause
from .._exec.output import Output
from .._hub.errors import HubError, Invalid
from .expect import Expectation
from .kernels import open_kernel, shorten_output
from .phases import Finding
from .running_server import RunningServer

_TRUNCATED_HINT = (
    "The server dropped output that came too fast: write less, or raise the server's iopub_data_rate_limit."
)


@dataclass(frozen=True)
class Snippet:
    """Code that is run in a kernel of its own, and what it must write."""

    code: str
    expect: tuple[Expectation, ...]
    timeout: float
    """Seconds from the request for the kernel to the end of the code."""
    kernel_name: str = ""
    """The name of a kernel spec, or empty for the server's default."""


class WrongOutput(Invalid):
    """The code ran, and did not write what was expected."""

    cause: ClassVar[str] = "wrong_output"


def prove_code(server: RunningServer, snippets: Sequence[Snippet], finding: Finding) -> None:
    """Run the snippets one after the other. The first one that fails ends the phase.

    Raises `CodeRaised`, `WrongOutput`, and the other failures of `_exec.failures`.
    """
    entries: list[dict[str, Any]] = []
    finding.details["snippets"] = entries
    for number, snippet in enumerate(snippets, 1):
        entry = {"kernel_name": snippet.kernel_name, "seconds": 0.0, **shorten_output({}), "reason": None}
        entries.append(entry)
        began = time.monotonic()
        try:
            _run(server, snippet, entry)
        except HubError as error:
            entry |= {**shorten_output(error.result), "reason": get_cause(error)}
            where = f"Snippet {number} of {len(snippets)}: " if len(snippets) > 1 else ""
            raise error.with_message(f"{where}{error.message}") from None
        finally:
            entry["seconds"] = round(time.monotonic() - began, 3)
    finding.message = _describe(snippets)


def _run(server: RunningServer, snippet: Snippet, entry: dict[str, Any]) -> None:
    """Run one snippet, and fill in its entry of the details. A failure holds the output in its ``result``."""
    with open_kernel(server, snippet.kernel_name, snippet.timeout) as session:
        entry["kernel_name"] = session.kernel_name
        output = session.execute(snippet.code)
    result = output.as_result()
    entry |= shorten_output(result)
    if output.error:
        raise failures.code_raised(output.error).with_result(result)
    found = collect_outputs(output)
    for expectation in snippet.expect:
        difference = expectation.find_difference(found)
        if difference:
            raise WrongOutput(
                f"The code did not write what was expected: {difference}.",
                _TRUNCATED_HINT if result["truncated"] else "Check what differs on the server, or correct expect.",
                result=result,
            )


def collect_outputs(output: Output) -> Mapping[str, str | None]:
    """Return what can be expected (`expect.SOURCES`): ``output`` is stdout, and the result after it."""
    shown = output.as_result()
    stdout, result = shown["stdout"], shown["result"]
    between = "\n" if stdout and result and not stdout.endswith("\n") else ""
    return {
        "stdout": stdout,
        "stderr": shown["stderr"],
        "result": result,
        "output": f"{stdout}{between}{result or ''}",
    }


def _describe(snippets: Sequence[Snippet]) -> str:
    """Return the sentence for snippets that all ran well."""
    subject = "The code" if len(snippets) == 1 else f"All {len(snippets)} snippets"
    checked = sum(bool(snippet.expect) for snippet in snippets)
    if not checked:
        return f"{subject} ran."
    if checked == len(snippets):
        return f"{subject} wrote what was expected."
    return f"{subject} ran, and {checked} with an expectation wrote what was expected."
